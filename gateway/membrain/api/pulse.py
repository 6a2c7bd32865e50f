"""Keeps a stream's connection alive while its upstream says nothing.

After each silence of `QUIET_SECONDS` the caller is sent a comment line, which every client skips and which keeps its
clock, and those of proxies, from running out. What else is sent are whole events, so a comment never falls into one.

Not for the time before a stream's head is out: until then the answer may still be an error with a status (`park`).
A stream pays for one timer, and for each piece that it sends with one look at the clock; no task, no wait.
"""

from __future__ import annotations

import asyncio
from typing import Self

from membrain.api.park import QUIET_SECONDS
from membrain.api.wire import Send

COMMENT = b": ping\n\n"
"""An event without data, which is none: lines that begin with a colon are comments."""


class Pulse:
    """The pulse of one stream, which is sent through *send*. Used as a context; *quiet* is in seconds."""

    __slots__ = ("_comment", "_loop", "_quiet", "_send", "_timer", "clock", "last")

    def __init__(self, send: Send, quiet: float = QUIET_SECONDS) -> None:
        self._send = send
        self._quiet = quiet
        self._loop = asyncio.get_running_loop()
        self._comment: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.clock = self._loop.time
        self.last = 0.0
        """When the last byte went, by `clock`. The door sets it."""

    def __enter__(self) -> Self:
        self.last = self.clock()
        self._timer = self._loop.call_at(self.last + self._quiet, self._look)
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is said from now on, not even what waits for a slow reader: that is nothing anybody misses."""
        if self._timer is not None:
            self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()

    def _look(self) -> None:
        due = self.last + self._quiet
        if (now := self.clock()) >= due:
            due = now + self._quiet
            if self._comment is None:  # else the reader is slow, and has enough to read
                self._comment = asyncio.ensure_future(self._say())
        self._timer = self._loop.call_at(due, self._look)

    async def _say(self) -> None:
        try:
            await self._send({"type": "http.response.body", "body": COMMENT, "more_body": True})
        except OSError:
            return  # the connection is gone: the door learns of it by itself
        finally:
            self._comment = None
        self.last = self.clock()
