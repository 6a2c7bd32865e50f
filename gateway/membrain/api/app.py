"""The route table: what models are asked for goes straight to its handler, everything else through Starlette."""

from __future__ import annotations

import logging

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Router

from membrain.api import admin
from membrain.api.guard import Guard, Scope
from membrain.api.speak import Speak
from membrain.api.wire import CLOSE, Body, Message, Receive, Send, Told, error_headers, new_id, place_of, send_body
from membrain.dialects.base import Dialect
from membrain.dialects.chat import Chat
from membrain.errors import MembrainError, MethodNotAllowed, NotFound
from membrain.gateway import Gateway

log = logging.getLogger("membrain.api")

SPOKEN: dict[str, type[Dialect]] = {"/v1/chat/completions": Chat}
"""Path → the dialect spoken there."""

_ERRORS = Chat()
"""Whose words are used for errors where no dialect is spoken."""


def create_app(gateway: Gateway, guard: Guard) -> App:
    """The gateway as an ASGI application."""
    return App(gateway, guard)


class App:
    """Guard, then route. The hot paths are one dictionary look-up away."""

    def __init__(self, gateway: Gateway, guard: Guard) -> None:
        self._guard = guard
        self._spoken = {path: Speak(gateway, guard, dialect()) for path, dialect in SPOKEN.items()}
        self._rest = Router(admin.routes(gateway))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        speak = self._spoken.get(scope["path"])
        if speak is not None and scope["method"] == "POST":
            await speak(scope, receive, send)
        else:
            await self._other(scope, receive, send)

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        id, body, told = new_id(), Body(receive, self._guard), Told(send)
        try:
            self._guard.check(scope)
            if scope["path"] in self._spoken:
                raise MethodNotAllowed("Ask this with POST.", headers={"allow": "POST"})
            scope["app"] = self  # so that the router raises what it does not find, instead of answering
            await self._rest(scope, body.receive, _with_id(told, id))
        except ClientDisconnect:
            return
        except HTTPException as error:
            await _refuse(told, body, id, _ours(error))
        except MembrainError as error:
            await _refuse(told, body, id, error)
        except Exception as error:  # noqa: BLE001  # the last place where a fault of ours becomes an answer
            log.error("request %s broke with %s at %s", id, type(error).__name__, place_of(error))
            await _refuse(told, body, id, MembrainError("Something broke in the gateway.", hint="membrain logs"))


def _ours(error: HTTPException) -> MembrainError:
    if error.status_code == 405:
        return MethodNotAllowed("This route is not asked like that.", headers=dict(error.headers or {}))
    return NotFound("There is no such route.", hint="membrain help, or GET /v1/models")


def _with_id(send: Send, id: str) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            message.setdefault("headers", []).append((b"x-request-id", id.encode()))
        await send(message)

    return told


async def _refuse(told: Told, body: Body, id: str, error: MembrainError) -> None:
    if told.anything:
        return  # an answer that had begun is cut
    await body.drain()
    headers = [(b"x-request-id", id.encode()), *error_headers(error), *([CLOSE] if body.more else ())]
    await send_body(told, error.status, _ERRORS.error(error), headers)
