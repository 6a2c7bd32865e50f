"""Keeps a caller's connection alive while their request waits for a person.

A stream that is held says nothing for `QUIET_SECONDS`, so that a decision which comes soon is still told by a proper
status. Then its head goes out, and a comment line each `QUIET_SECONDS`, which SDKs skip and which keeps their clocks,
and those of proxies, from running out; a refusal after that is an error event.

Whole answers are not for this room. JSON may begin with blanks, so a 200 and a blank now and then would keep a
connection alive too, but the refusal that follows would be a 200: OpenAI's SDK takes it for an answer without choices.
Cutting the connection instead makes the SDK ask twice more, which is two more holds. So who wants a whole answer
waits in silence and is told in time, by a proper status (`membrain.holds.patience`).

It decides nothing. A stream that is never held pays for one small object: no task, no timer, no wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable

from membrain.api.wire import Header, Told
from membrain.dialects.base import Chunk
from membrain.holds import Change, Held

QUIET_SECONDS = 10.0
"""The longest silence: few comment lines, as some clients choke on them, but proxies bear half a minute at least."""

COMMENT = b": waiting\n\n"
"""An event without data, which is none: lines that begin with a colon are comments."""


class Park:
    """The waiting of one stream, which is told to its caller through *told*.

    *head* gives the headers of the answer when they are needed. Only one side speaks at a time: the door, or this
    from the moment the exchange is held until `leave` has returned. *quiet* is in seconds.
    """

    __slots__ = ("_beat", "_head", "_over", "_quiet", "_told")

    def __init__(self, told: Told, head: Callable[[], Iterable[Header]], quiet: float = QUIET_SECONDS) -> None:
        self._told = told
        self._head = head
        self._quiet = quiet
        self._beat: asyncio.Task[None] | None = None
        self._over: asyncio.Event | None = None

    @property
    def waits(self) -> bool:
        """Whether there is something to `leave`."""
        return self._beat is not None

    def held(self, change: Change) -> None:
        """The exchange begins to wait for a person, or does so no longer.

        Once the head is out the beat goes on after a decision, because the first piece of the answer may be slow too;
        before that it stops, because the answer may still turn out to be an error with a status of its own.
        """
        if isinstance(change, Held):
            if self._beat is None:
                self._over = asyncio.Event()
                self._beat = asyncio.create_task(self._keep_alive(self._over))
        elif self._beat is not None and not self._told.anything:
            self._beat.cancel()  # it sleeps: it has said nothing yet
            self._beat = None

    async def begin(self) -> None:
        """Send the head of the answer, unless it is out."""
        if not self._told.anything:
            await self._told({"type": "http.response.start", "status": 200, "headers": list(self._head())})

    async def leave(self) -> None:
        """Fall silent. What was being sent is sent to its end first; raises what sending raised."""
        beat, self._beat = self._beat, None
        if beat is not None and self._over is not None:
            self._over.set()
            await beat

    async def _keep_alive(self, over: asyncio.Event) -> None:
        while not await _within(over, self._quiet):
            await self.begin()
            await self._told({"type": "http.response.body", "body": COMMENT, "more_body": True})


async def first_or_parked(answer: AsyncGenerator[Chunk, None], park: Park) -> Chunk:
    """The first piece of *answer*, the caller being kept alive if it is held before there is one.

    Raises what *answer* raised. Either way *park* is silent when this is over, and its `begin` has the head go out
    if that is still to do.
    """
    try:
        return await anext(answer)
    finally:
        if park.waits:
            await park.leave()


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether *event* happens within *seconds*."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
