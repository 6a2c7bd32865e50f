"""The little ASGI that the doors share: bodies in, bodies out, and noticing that a caller hung up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import traceback
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from random import Random
from typing import Any

from membrain.api.guard import Guard
from membrain.errors import MembrainError
from membrain.exchange import Exchange
from membrain.holds import Change

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON = (b"content-type", b"application/json")

_DRAIN_SECONDS = 2.0
_DRAIN_FACTOR = 4
"""How long, and how many times the cap, we still read of a body that was refused."""

CLOSE = (b"connection", b"close")
"""Sent where a body was not read to its end, so that the rest of it is not taken for another request."""

_PATIENCE_SECONDS = 0.05
"""An answer that takes longer than this is worth a task that watches for a hang-up."""


class HangUp(Exception):  # not an error: the caller left before the body was here
    """The caller is gone."""


_ids = Random(os.urandom(32))  # noqa: S311  # ids are names and no secrets; asking the system each time is a switch of threads


def new_id() -> str:
    """An exchange's id: 24 hex digits."""
    return f"{_ids.getrandbits(96):024x}"


def id_headers(id: str) -> list[Header]:
    """The id under the names that OpenAI's and Anthropic's SDKs look for."""
    return [(b"x-request-id", id.encode()), (b"request-id", id.encode())]


class Body:
    """A request's body on its way in: counts it, and knows whether there is more of it."""

    __slots__ = ("_guard", "_receive", "_size", "more")

    def __init__(self, receive: Receive, guard: Guard) -> None:
        self._receive = receive
        self._guard = guard
        self._size = 0
        self.more = True
        """The caller may still be sending."""

    async def receive(self) -> Message:
        """The next message, as ASGI has it. `TooLarge` as soon as the body is over the cap."""
        message = await self._next()
        if self._size > self._guard.body_bytes:
            raise self._guard.too_large()
        return message

    async def _next(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        self.more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def read(self) -> bytes:
        """The whole body."""
        pieces: list[bytes] = []
        while self.more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise HangUp
            pieces.append(message.get("body", b""))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def drain(self) -> None:
        """Read and forget what is left, within reason, so that a caller who is still sending hears the refusal."""
        most = self._size + self._guard.body_bytes * _DRAIN_FACTOR
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while self.more and self._size < most:
                    await self._next()


class Told:
    """`send`, remembering whether the caller was told anything yet."""

    __slots__ = ("_send", "anything")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.anything = False

    async def __call__(self, message: Message) -> None:
        self.anything = True
        await self._send(message)


async def send_body(send: Send, status: int, body: bytes, headers: Iterable[Header] = (), kind: Header = JSON) -> None:
    """A whole answer."""
    head = [kind, (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def error_headers(error: MembrainError) -> list[Header]:
    """What *error* adds to an answer's headers, with `x-should-retry` where asking again is pointless or wise."""
    headers = dict(error.headers)
    if error.retry is not None:
        headers.setdefault("x-should-retry", "true" if error.retry else "false")
    return [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]


def place_of(error: BaseException) -> str:
    """Where *error* was raised, as file and line. Never its text, which may quote what was sent."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "nowhere"


class Watch:
    """Cancels the task that made it when `end` is called, or after `begin` when the caller hangs up.

    Most answers are over before it listens, so they cost a timer and no task.
    """

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._receive = receive
        self._listener: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.gone = False
        """The caller hung up."""
        self.reason: MembrainError | None = None
        """Why we ended it, if we did."""
        self.exchange: Exchange | None = None
        """What is watched, once the request was read."""
        self.on_hold: Callable[[Change], None] | None = None
        """What keeps the caller alive while the exchange is held; None for whole answers."""

    def begin(self) -> None:
        """The request was read to its end: watch for a hang-up soon."""
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, self._start)

    def _start(self) -> None:
        self._listener = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self._task.cancel()

    def end(self, reason: MembrainError) -> None:
        """End the exchange now, and tell the caller *reason*."""
        self.reason = reason
        if self.exchange is not None:
            self.exchange.end(reason)
        self._task.cancel()

    def held(self, change: Change) -> None:
        """The exchange waits for a person, or does so no longer."""
        if self.on_hold is not None:
            self.on_hold(change)

    def stop(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()
