"""The route table: what models are asked for goes straight to its handler, everything else through Starlette.

Every path of OpenAI's and Anthropic's that cannot be looked into is refused by name (`surface`), with or without a
WebSocket; none is passed on.
"""

from __future__ import annotations

import logging

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Router

from membrain.api import admin
from membrain.api.guard import Guard, Scope
from membrain.api.park import QUIET_SECONDS
from membrain.api.speak import Speak
from membrain.api.surface import bodiless, not_covered, plain, spellings, words_for
from membrain.api.wire import (
    CLOSE,
    JSON,
    Body,
    Message,
    Receive,
    Send,
    Told,
    error_headers,
    id_headers,
    new_id,
    place_of,
    send_body,
)
from membrain.dialects.base import Dialect
from membrain.dialects.table import BY_PATH
from membrain.errors import MembrainError, MethodNotAllowed, NotCovered, NotFound
from membrain.gateway import Gateway

log = logging.getLogger("membrain.api")


def create_app(gateway: Gateway, guard: Guard) -> App:
    """The gateway as an ASGI application."""
    return App(gateway, guard)


class App:
    """Guard, then route. The hot paths are one dictionary look-up away."""

    def __init__(self, gateway: Gateway, guard: Guard, *, quiet: float = QUIET_SECONDS) -> None:
        """*quiet* is how long a stream may be silent, in seconds."""
        self._guard = guard
        spoken = {path: Speak(gateway, guard, dialect, quiet=quiet) for path, dialect in BY_PATH.items()}
        self._spoken = {each: speak for path, speak in spoken.items() for each in spellings(path)}
        self._rest = Router(admin.routes(gateway))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http":
            speak = self._spoken.get(scope["path"])
            if speak is not None and scope["method"] == "POST":
                await speak(scope, receive, send)
            else:
                await self._other(scope, receive, send)
        elif scope["type"] == "websocket":
            await _decline(scope, receive, send)

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        id, body, told, path = new_id(), Body(receive, self._guard), Told(send), plain(scope["path"])
        words = words_for(path, scope)
        try:
            await self._answer({**scope, "path": path}, body, _with_id(told, id))
        except ClientDisconnect:
            return
        except HTTPException as error:
            await _refuse(told, body, id, _ours(error), words)
        except MembrainError as error:
            await _refuse(told, body, id, error, words)
        except Exception as error:  # noqa: BLE001  # the last place where a fault of ours becomes an answer
            log.error("request %s broke with %s at %s", id, type(error).__name__, place_of(error))
            fault = MembrainError("Something broke in the gateway.", hint="membrain logs")
            await _refuse(told, body, id, fault, words)

    async def _answer(self, scope: Scope, body: Body, send: Send) -> None:
        """Answer what is no question for a model, or raise why not."""
        path = scope["path"]
        is_spoken = path in self._spoken
        self._guard.check(scope, bodiless=not is_spoken and bodiless(path))
        if is_spoken:
            raise MethodNotAllowed("Ask this with POST.", headers={"allow": "POST"})
        if (refusal := not_covered(path)) is not None:
            raise refusal
        scope["app"] = self  # so that the router raises what it does not find, instead of answering
        await self._rest(scope, body.receive, send)


async def _decline(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a WebSocket before it is one: with a status where the server can do that."""
    await receive()
    path = plain(scope["path"])
    error = not_covered(path) or NotCovered(
        "Membrain does not speak over WebSockets, so nothing of this was passed on."
    )
    if "websocket.http.response" in scope.get("extensions", {}):
        head = [JSON, *id_headers(new_id()), *error_headers(error)]
        await send({"type": "websocket.http.response.start", "status": error.status, "headers": head})
        await send({"type": "websocket.http.response.body", "body": words_for(path, scope).error(error)})
    else:
        await send({"type": "websocket.close", "code": _POLICY})


_POLICY = 1008
"""The code of a WebSocket that is closed because of what was asked; before the handshake it becomes a 403."""


def _ours(error: HTTPException) -> MembrainError:
    if error.status_code == 405:
        return MethodNotAllowed("This route is not asked like that.", headers=dict(error.headers or {}))
    return NotFound("There is no such route.", hint="membrain help, or GET /v1/models")


def _with_id(send: Send, id: str) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            message.setdefault("headers", []).extend(id_headers(id))
        await send(message)

    return told


async def _refuse(told: Told, body: Body, id: str, error: MembrainError, words: Dialect) -> None:
    if told.anything:
        return  # an answer that had begun is cut
    await body.drain()
    headers = [*id_headers(id), *error_headers(error), *([CLOSE] if body.more else ())]
    await send_body(told, error.status, words.error(error), headers)
