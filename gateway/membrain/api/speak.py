"""One handler for every dialect: reads a request, and writes the answer that the pipeline gives.

Plain ASGI, because this is the road that every byte takes. No status line is written before the first chunk is in hand,
so a refusal is a proper status whether a stream was asked or not, unless a stream waited long for a person (`park`);
and the terminal event is written only after the pipeline has ended, so what is acknowledged is on record.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial

from membrain.api.guard import Guard, Scope, credential_of, wants_private
from membrain.api.park import QUIET_SECONDS, Park, first_or_parked
from membrain.api.peer import same_user
from membrain.api.pulse import Pulse
from membrain.api.stored import check_previous
from membrain.api.wire import (
    CLOSE,
    JSON,
    Body,
    HangUp,
    Header,
    Receive,
    Send,
    Told,
    Watch,
    error_headers,
    id_headers,
    new_id,
    place_of,
    send_body,
)
from membrain.dialects.base import Chunk, Dialect, unbroken
from membrain.dialects.table import NO_TEXT
from membrain.errors import BadRequest, MembrainError, ShuttingDown
from membrain.exchange import Exchange
from membrain.gateway import Gateway
from membrain.records import Hints, Outcome

log = logging.getLogger("membrain.api")

_MAX_USER = 128
_EVENTS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
_BETA = "?beta=true"
"""The one query that goes on: Anthropic's own tools send it. Any other could hold anything."""
_WITH_BETA = frozenset({"messages", "count_tokens"})


class Speak:
    """Answers one route in one dialect."""

    def __init__(self, gateway: Gateway, guard: Guard, dialect: Dialect, *, quiet: float = QUIET_SECONDS) -> None:
        """A stream is never silent for longer than *quiet* seconds, once its head is out."""
        self._gateway = gateway
        self._guard = guard
        self._dialect = dialect
        self._quiet = quiet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, from its body to its last byte, and whatever goes wrong in the dialect's words for it."""
        id, body, told, watch = new_id(), Body(receive, self._guard), Told(send), Watch(receive)
        exchange: Exchange | None = None
        self._gateway.running[id] = watch
        try:
            exchange = await self._read(id, scope, body)
            check_previous(self._gateway, exchange)
            watch.exchange = exchange
            watch.begin()
            await (self._stream(exchange, told, watch) if exchange.said.stream else self._whole(exchange, told))
        except HangUp:
            return
        except MembrainError as error:
            await body.drain()
            await self._tell(error, told, body, exchange or id)
        except asyncio.CancelledError:
            if watch.gone:
                return
            if watch.reason is None:
                raise
            await self._tell(watch.reason, told, body, exchange or id)
        except Exception as error:  # noqa: BLE001  # the last place where a fault of ours becomes an answer
            log.error("exchange %s broke with %s at %s", id, type(error).__name__, place_of(error))
            fault = MembrainError("Something broke in the gateway.", hint="membrain logs")
            await self._tell(fault, told, body, exchange or id)
        finally:
            watch.stop()
            del self._gateway.running[id]

    async def _read(self, id: str, scope: Scope, body: Body) -> Exchange:
        """The exchange that the request makes; raises before anything is recorded if it makes none."""
        headers = self._guard.check(scope)
        if self._gateway.draining:
            raise ShuttingDown("The gateway is shutting down.", headers={"retry-after": "2"})
        said = self._dialect.read(await body.read(), depth=self._gateway.depth)
        credential = credential_of(headers)
        return Exchange(
            id=id,
            time=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            path=scope["path"],
            said=said,
            hints=hints_of(headers, said.dialect),
            credential=credential,
            user=headers.get("x-membrain-user-id", "")[:_MAX_USER],
            project=headers.get("x-membrain-project", "").strip(),
            same_user=same_user(scope["client"], scope["server"]) if credential is None else None,
            forwarded=headers,
            query=_query_of(scope, said.dialect),
        )

    async def _whole(self, exchange: Exchange, send: Send) -> None:
        body = b""
        async with aclosing(self._gateway.answer(exchange)) as answer:
            async for chunk in answer:
                body = body + chunk.raw if body else chunk.raw
        head = [JSON, (b"content-length", b"%d" % len(body)), *_receipt(exchange)]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, exchange: Exchange, send: Told, watch: Watch) -> None:
        park = Park(send, partial(_events_head, exchange), self._quiet)
        watch.on_hold = park.held
        async with aclosing(self._gateway.answer(exchange)) as answer:
            chunk: Chunk | None = await first_or_parked(answer, park)
            await park.begin()
            end = self._dialect.end()
            with Pulse(send, self._quiet) as pulse:
                while chunk is not None:
                    if chunk.last:  # not before the outcome is on record
                        end = chunk.raw
                    else:
                        await send({"type": "http.response.body", "body": unbroken(chunk.raw), "more_body": True})
                        pulse.last = pulse.clock()
                    chunk = await anext(answer, None)
        await send({"type": "http.response.body", "body": unbroken(end)})

    async def _tell(self, error: MembrainError, told: Told, body: Body, about: Exchange | str) -> None:
        """Tell of *error*: as a status while there is none, and as an event once a stream has begun."""
        if not told.anything:
            receipt = id_headers(about) if isinstance(about, str) else _receipt(about)
            headers = [*receipt, *error_headers(error), *([CLOSE] if body.more else ())]
            await send_body(told, error.status, self._dialect.error(error), headers)
        elif isinstance(about, Exchange) and about.said.stream:
            # The event, and then no proper end: a stream that broke must look broken.
            event = self._dialect.error_event(error)
            await told({"type": "http.response.body", "body": event, "more_body": True})


def hints_of(headers: dict[str, str], dialect: str = "chat") -> Hints:
    """What the routing headers ask for."""
    cost = headers.get("x-membrain-max-cost")
    return Hints(
        tier=headers.get("x-membrain-tier") or None,
        private=wants_private(headers),
        max_cost=None if cost is None else _dollars(cost),
        serves=dialect if dialect in NO_TEXT else None,
    )


def _query_of(scope: Scope, dialect: str) -> str:
    """What of the request's query goes on."""
    asked = dialect in _WITH_BETA and _BETA[1:].encode() in scope["query_string"].split(b"&")
    return _BETA if asked else ""


def _dollars(text: str) -> float:
    try:
        dollars = float(text)
    except ValueError:
        dollars = -1.0
    if not 0 <= dollars < float("inf"):
        raise BadRequest(
            "x-membrain-max-cost must be US dollars for 1K tokens, like 0.01.", param="x-membrain-max-cost"
        )
    return dollars


def _events_head(exchange: Exchange) -> list[Header]:
    return [*_EVENTS, *_receipt(exchange)]


def _cost(micros: int | None) -> bytes:
    """US dollars; what is unknown is never shown as nothing."""
    return b"unknown" if micros is None else b"%d.%06d" % divmod(micros, 1_000_000)


def _receipt(exchange: Exchange) -> list[Header]:
    """Who answered, or was asked last, and under which id it is on record."""
    headers = id_headers(exchange.id)
    if exchange.attempts:
        last = exchange.attempts[-1]
        provider, model = exchange.provider or last.provider, exchange.answered_model or last.model
        headers += [
            (b"x-membrain-provider", provider.encode()),
            (b"x-membrain-model", model.encode("ascii", "replace")),
        ]
        headers.append((b"x-membrain-attempts", b"%d" % len(exchange.attempts)))
    elif exchange.cached and exchange.answered_model:
        headers.append((b"x-membrain-model", exchange.answered_model.encode("ascii", "replace")))
    if exchange.outcome is Outcome.ANSWERED:  # a stream's head is sent before it is known what the stream costs
        headers.append((b"x-membrain-cost", _cost(exchange.cost_micros)))
    headers += [(name.encode(), value.encode("latin-1", "replace")) for name, value in exchange.headers.items()]
    return headers
