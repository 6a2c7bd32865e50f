"""The questions one may ask of the gateway itself. Each handler reads parameters, asks `Gateway`, and writes JSON."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from membrain import __version__, sse
from membrain.api import holds as held
from membrain.api import keys as held_keys
from membrain.api import stored
from membrain.api import usage as summed
from membrain.api.guard import credential_of, headers_of
from membrain.api.models import anthropics, listed, page
from membrain.api.peer import same_user
from membrain.api.surface import is_anthropics
from membrain.errors import BadRequest, Refused
from membrain.filters import moment, query_from
from membrain.gateway import Gateway
from membrain.records import ANONYMOUS, AuditRecord, Caller

Handler = Callable[[Gateway, Request, Caller], Awaitable[Response]]

_MAX_CHALLENGE = 256
_MASKING = ("redact", "confirm")
"""What is on record of a value that leaves as its placeholder."""


def routes(gateway: Gateway) -> list[Route]:
    """Every route of this door. `/` and `/health` are open to whoever passed the guard; the rest wants a caller."""
    return [
        Route("/", _open(gateway, root), methods=["GET"]),
        Route("/health", _open(gateway, health), methods=["GET"]),
        *(Route(path, _known(gateway, handler, scopes), methods=[method]) for method, path, scopes, handler in ROUTES),
    ]


def _open(gateway: Gateway, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            caller = _caller(gateway, request)
        except Refused:
            caller = ANONYMOUS
        return await handler(gateway, request, caller)

    return endpoint


def _known(gateway: Gateway, handler: Handler, scopes: Scopes) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await handler(gateway, request, _caller(gateway, request, scopes))

    return endpoint


def _caller(gateway: Gateway, request: Request, scopes: Scopes = ()) -> Caller:
    headers = headers_of(request.scope)
    credential = credential_of(headers)
    local = same_user(request.scope["client"], request.scope["server"]) if credential is None else None
    return gateway.identify(credential, local, headers.get("x-membrain-project", "").strip(), scopes)


def _json(data: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(data), status, media_type="application/json")


async def root(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Who this is: some tools ask nothing but that before they begin."""
    return _json({"name": "membrain", "version": __version__})


async def health(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Is it up, and is it ours; what it knows is for callers that it knows."""
    challenge = request.query_params.get("challenge")
    if challenge is not None and len(challenge) > _MAX_CHALLENGE:
        raise BadRequest("The challenge is too long.", param="challenge")
    return _json({**gateway.alive(challenge), **({} if caller is ANONYMOUS else await gateway.health())})


async def models(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """What one may ask for by name."""
    cards = await gateway.models(caller)
    return _json(page(cards, request.query_params) if is_anthropics(request.scope) else listed(cards))


async def model(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """One model."""
    card = await gateway.model(request.path_params["id"], caller)
    return _json(anthropics(card) if is_anthropics(request.scope) else card.model_dump())


async def model_rows(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """What each provider really has, with prices, as a bare array."""
    return _json(await gateway.model_rows(caller))


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
    record = await gateway.audit_one(request.path_params["id"], caller)
    body = gateway.sent.get(record.id)
    told = {"id": record.id, "sha256": sha256(body).hexdigest(), "bytes": len(body), "findings": record.findings}
    return _json({**told, "masked": _masked(record), "body": msgspec.Raw(body)})


async def live(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Each exchange as it ends and a snapshot a second, for as long as the caller listens."""

    async def events() -> AsyncGenerator[bytes, None]:
        async with aclosing(gateway.live.watch()) as watching:
            async for name, record in watching:
                yield sse.encode(msgspec.json.encode(record), name)

    return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-cache"})


async def usage(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Totals since a time, of one key or of all; or sums by model, provider, key, project or day, with the budgets."""
    params = dict(request.query_params)
    if summed.wants_rows(params):
        return _json(await summed.sums(gateway.stores.usage, gateway.balances, params, caller, datetime.now(UTC)))
    since, key_id = params.get("since"), params.get("key_id") if caller.admin else caller.key_id
    return _json(await gateway.stores.audit.totals(moment(since, "since") if since else None, key_id))


async def metrics(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The page that Prometheus reads."""
    accept = request.headers.get("accept", "")
    page, kind = await summed.scrape(gateway.metrics, gateway.balances, datetime.now(UTC), accept)
    return Response(page, media_type=kind)


async def keys(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The client keys, without what could recognise them."""
    return _json(await held_keys.listed(gateway))


async def issue(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """A new client key; the only answer that ever holds it."""
    return _json(await held_keys.issued(gateway, await _body(request)), 201)


async def rotate(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Another string for a client key."""
    return _json(await held_keys.rotated(gateway, request.path_params["which"], await _body(request)))


async def revoke(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Revoke a client key by its id or name."""
    return _json(await held_keys.revoked(gateway, request.path_params["which"]))


async def test_provider(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Whether a provider answers, and its key works."""
    return _json(await gateway.test_provider(request.path_params["name"]))


async def reload(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Read the provider keys again."""
    await gateway.reload()
    return _json({"providers": await gateway.registry.states()})


async def holds(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The requests that wait for a person, oldest first, as a bare array."""
    return _json(held.listed(gateway.holds))


async def hold(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """One of them, by its id or the beginning of it, with the text around what was found."""
    return _json(held.shown(gateway.holds, request.path_params["which"]))


async def decide(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Let one of them go on, or not."""
    return _json(held.decided(gateway.holds, request.path_params["which"], await _body(request)))


def _masked(record: AuditRecord) -> int | None:
    """How many values were masked; None where others were let through, as the record has one number for all."""
    masked = {finding.action in _MASKING for finding in record.findings if finding.place != "answer"}
    return None if len(masked) > 1 else 0 if masked == {False} else record.pii_findings_count


async def _body(request: Request) -> dict[str, Any]:
    try:
        data = msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise BadRequest("The body must be a JSON object.")
    return data


Scopes = tuple[str, ...]

ANY, ASK, READ, ADMIN = ("ask", "read"), ("ask",), ("read",), ("admin",)
"""For what a key must have been issued; who is an admin may do everything."""

ROUTES: tuple[tuple[str, str, Scopes, Handler], ...] = (
    ("GET", "/v1/models", ANY, models),
    ("GET", "/v1/models/{id:path}", ANY, model),
    ("GET", "/v1/responses/{id}", ASK, stored.response),
    ("DELETE", "/v1/responses/{id}", ASK, stored.response),
    ("GET", "/v1/responses/{id}/input_items", ASK, stored.input_items),
    ("POST", "/v1/responses/{id}/cancel", ASK, stored.cancel),
    ("GET", "/api/models", ANY, model_rows),
    ("GET", "/api/tiers", ANY, tiers),
    ("POST", "/api/route", ANY, route),
    ("GET", "/api/audit", READ, audit),
    ("GET", "/api/audit/{id}", READ, audit_one),
    ("GET", "/api/usage", READ, usage),
    ("GET", "/metrics", READ, metrics),
    ("GET", "/api/sent/{id}", ADMIN, sent),
    ("GET", "/api/live", ADMIN, live),
    ("GET", "/api/keys", ADMIN, keys),
    ("POST", "/api/keys", ADMIN, issue),
    ("POST", "/api/keys/{which}/rotate", ADMIN, rotate),
    ("DELETE", "/api/keys/{which}", ADMIN, revoke),
    ("POST", "/api/providers/{name}/test", ADMIN, test_provider),
    ("POST", "/api/reload", ADMIN, reload),
    ("GET", "/api/holds", ADMIN, holds),
    ("GET", "/api/holds/{which}", ADMIN, hold),
    ("POST", "/api/holds/{which}", ADMIN, decide),
)
"""Method, path, for what the key must have been issued, and who answers."""
