"""The questions one may ask of the gateway itself. Each handler reads parameters, asks `Gateway`, and writes JSON."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from hashlib import sha256
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from membrain import sse
from membrain.api import holds as held
from membrain.api.guard import credential_of, headers_of
from membrain.api.peer import same_user
from membrain.errors import BadRequest, Forbidden, Unauthorized
from membrain.filters import moment, query_from
from membrain.gateway import Gateway
from membrain.records import ANONYMOUS, AuditRecord, Caller

Handler = Callable[[Gateway, Request, Caller], Awaitable[Response]]

_MAX_CHALLENGE = 256
_MASKING = ("redact", "confirm")
"""What is on record of a value that leaves as its placeholder."""


def routes(gateway: Gateway) -> list[Route]:
    """Every route of this door. `/health` is open to whoever passed the guard; the rest wants a caller."""
    return [
        Route("/health", _open(gateway, health), methods=["GET"]),
        *(
            Route(path, _known(gateway, handler), methods=[method])
            for method, path, handler in (
                ("GET", "/v1/models", models),
                ("GET", "/v1/models/{id:path}", model),
                ("GET", "/api/models", model_rows),
                ("GET", "/api/tiers", tiers),
                ("POST", "/api/route", route),
                ("GET", "/api/audit", audit),
                ("GET", "/api/audit/{id}", audit_one),
                ("GET", "/api/sent/{id}", sent),
                ("GET", "/api/live", live),
                ("GET", "/api/usage", usage),
                ("GET", "/api/keys", keys),
                ("POST", "/api/keys", issue),
                ("DELETE", "/api/keys/{which}", revoke),
                ("POST", "/api/providers/{name}/test", test_provider),
                ("POST", "/api/reload", reload),
                ("GET", "/api/holds", holds),
                ("GET", "/api/holds/{which}", hold),
                ("POST", "/api/holds/{which}", decide),
            )
        ),
    ]


def _open(gateway: Gateway, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            caller = _caller(gateway, request)
        except Unauthorized:
            caller = ANONYMOUS
        return await handler(gateway, request, caller)

    return endpoint


def _known(gateway: Gateway, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await handler(gateway, request, _caller(gateway, request))

    return endpoint


def _caller(gateway: Gateway, request: Request) -> Caller:
    credential = credential_of(headers_of(request.scope))
    local = same_user(request.scope["client"], request.scope["server"]) if credential is None else None
    return gateway.identify(credential, local)


def _json(data: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(data), status, media_type="application/json")


def _admin(caller: Caller) -> None:
    if not caller.admin:
        raise Forbidden("This key may not do that.", hint="Use this machine's own key, or membrain on the machine.")


async def health(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Is it up, and is it ours; what it knows is for callers that it knows."""
    challenge = request.query_params.get("challenge")
    if challenge is not None and len(challenge) > _MAX_CHALLENGE:
        raise BadRequest("The challenge is too long.", param="challenge")
    return _json({**gateway.alive(challenge), **({} if caller is ANONYMOUS else await gateway.health())})


async def models(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """What one may ask for by name."""
    cards = await gateway.models()
    return _json({"object": "list", "data": [card.model_dump() for card in cards]})


async def model(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """One model."""
    return _json((await gateway.model(request.path_params["id"])).model_dump())


async def model_rows(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """What each provider really has, with prices, as a bare array."""
    return _json(await gateway.model_rows())


async def tiers(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """What `auto` chooses among."""
    return _json(gateway.tiers())


async def route(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """What would become of a request, and why. Nothing is sent."""
    return _json(await gateway.explain(await _body(request), caller))


async def audit(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The exchanges that match, newest first, as a bare array."""
    asked = dict(request.query_params)
    if not caller.admin:
        asked["project"] = caller.project  # a key sees its own project only, whatever it asks
    return _json(await gateway.stores.audit.list(query_from(asked)))


async def audit_one(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """One exchange, by its id or the beginning of it."""
    return _json(await gateway.audit_one(request.path_params["id"], caller))


async def sent(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """What left with one exchange, as it was handed to the provider, and what was found in what was asked."""
    _admin(caller)
    record = await gateway.audit_one(request.path_params["id"], caller)
    body = gateway.sent.get(record.id)
    told = {"id": record.id, "sha256": sha256(body).hexdigest(), "bytes": len(body), "findings": record.findings}
    return _json({**told, "masked": _masked(record), "body": msgspec.Raw(body)})


async def live(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Each exchange as it ends and a snapshot a second, for as long as the caller listens."""
    _admin(caller)

    async def events() -> AsyncGenerator[bytes, None]:
        async with aclosing(gateway.live.watch()) as watching:
            async for name, record in watching:
                yield sse.encode(msgspec.json.encode(record), name)

    return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-cache"})


async def usage(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Totals since a time, of one key or of all."""
    params = request.query_params
    key_id = params.get("key_id") if caller.admin else caller.key_id
    since = params.get("since")
    return _json(await gateway.stores.audit.totals(moment(since, "since") if since else None, key_id))


async def keys(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The client keys, without what could recognise them."""
    _admin(caller)
    return _json([_shown(key.to_dict()) for key in await gateway.stores.keys.all() if key.revoked is None])


async def issue(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """A new client key; the only answer that ever holds it."""
    _admin(caller)
    data = await _body(request)
    key, row = await gateway.auth.issue(_text(data, "name", ""), _text(data, "project", "default"))
    return _json({"key": key, **_shown(row.to_dict())}, 201)


async def revoke(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Revoke a client key by its id or name."""
    _admin(caller)
    return _json(_shown((await gateway.auth.revoke(request.path_params["which"])).to_dict()))


async def test_provider(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Whether a provider answers, and its key works."""
    _admin(caller)
    return _json(await gateway.test_provider(request.path_params["name"]))


async def reload(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Read the provider keys again."""
    _admin(caller)
    await gateway.reload()
    return _json({"providers": await gateway.registry.states()})


async def holds(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The requests that wait for a person, oldest first, as a bare array."""
    _admin(caller)
    return _json(held.listed(gateway.holds))


async def hold(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """One of them, by its id or the beginning of it, with the text around what was found."""
    _admin(caller)
    return _json(held.shown(gateway.holds, request.path_params["which"]))


async def decide(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Let one of them go on, or not."""
    _admin(caller)
    return _json(held.decided(gateway.holds, request.path_params["which"], await _body(request)))


def _masked(record: AuditRecord) -> int | None:
    """How many values were masked; None where others were let through, as the record has one number for all."""
    masked = {finding.action in _MASKING for finding in record.findings if finding.place != "answer"}
    return None if len(masked) > 1 else 0 if masked == {False} else record.pii_findings_count


def _shown(key: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in key.items() if name != "digest"}


def _text(data: dict[str, Any], name: str, default: str) -> str:
    value = data.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"`{name}` must be a string.", param=name)
    return value or default


async def _body(request: Request) -> dict[str, Any]:
    try:
        data = msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise BadRequest("The body must be a JSON object.")
    return data
