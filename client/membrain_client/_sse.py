"""Bytes → events → chunks: server-sent events as the standard has them, and what they mean for a chat.

No network and no waiting: whoever has the bytes feeds them in, sync or async. Only LF, CR and CRLF end a
line, so that U+2028 and its kin may stand unescaped inside JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx

from membrain_client._types import ChatCompletionChunk

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class StreamError(httpx.RemoteProtocolError):
    """The gateway reported an error in mid-stream. What came before it was good, the rest will not come.

    One of httpx's own family: `except httpx.HTTPError` catches it, like all that this client raises.
    """

    def __init__(self, body: Any, *, request: httpx.Request | None = None) -> None:
        said = body.get("message") if isinstance(body, dict) else body
        super().__init__(str(said or "the stream ended with an error"), request=request)
        self.body = body
        """The `error` object as it was sent: usually a dict with message, type, param and code."""


class Event(NamedTuple):
    """One server-sent event. `name` is "" for the usual, unnamed kind; `data` lines are joined with LF."""

    name: str
    data: bytes


class EventDecoder:
    """Bytes in, in pieces of any size; events out, as soon as each is complete."""

    def __init__(self) -> None:
        self._partial: list[bytes] = []
        self._after_cr = False
        self._at_start = True
        self._name = ""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes, give the events they complete."""
        if self._after_cr and data:
            # The CR before has already ended its line; an LF now is the rest of a CRLF.
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if not data:
            return []
        self._after_cr = data.endswith(b"\r")
        first, *others = _LINE_END.split(data)
        self._partial.append(first)
        if not others:
            return []
        lines = [b"".join(self._partial), *others[:-1]]
        self._partial = [others[-1]]
        return [event for line in lines if (event := self._take(line))]

    def close(self) -> list[Event]:
        """Say that no more bytes come. Gives the last event, if the blank line after it was missing."""
        rest, self._partial = b"".join(self._partial), []
        events = (self._take(rest), self._take(b""))
        return [event for event in events if event]

    def _take(self, line: bytes) -> Event | None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        return None  # comments (no field name), id and retry say nothing to us

    def _dispatch(self) -> Event | None:
        event = Event(self._name, b"\n".join(self._data))
        self._name, self._data = "", []
        return event if event.data else None


class ChunkReader:
    """Bytes in, chunks out, and a clear error when the stream is not what it should be.

    with_empty  give chunks without choices too (usage reports); else they are passed over, so that
                `chunk.choices[0]` always works
    """

    def __init__(self, request: httpx.Request, *, with_empty: bool = False) -> None:
        self.done = False
        """[DONE] was read; nothing of interest follows."""
        self._request = request
        self._with_empty = with_empty
        self._decoder = EventDecoder()
        self._begun: set[int] = set()
        self._finished: set[int] = set()

    def feed(self, data: bytes) -> Iterator[ChatCompletionChunk]:
        """Take the next bytes. Raises StreamError for an error frame, RemoteProtocolError for nonsense."""
        return self._chunks(self._decoder.feed(data))

    def close(self) -> Iterator[ChatCompletionChunk]:
        """Say that the connection ended. Raises RemoteProtocolError if the answer is not complete."""
        yield from self._chunks(self._decoder.close())
        if not self.done and (not self._finished or self._begun - self._finished):
            raise self._broken("the stream ended before the answer did")

    def _chunks(self, events: list[Event]) -> Iterator[ChatCompletionChunk]:
        for event in events:
            self.done = self.done or event.data.strip() == b"[DONE]"
            if self.done:
                return
            chunk = self._read(event)
            self._begun.update(choice.index for choice in chunk.choices)
            self._finished.update(choice.index for choice in chunk.choices if choice.finish_reason)
            if chunk.choices or self._with_empty:
                yield chunk

    def _read(self, event: Event) -> ChatCompletionChunk:
        try:
            data = json.loads(event.data.decode())
        except (ValueError, RecursionError) as error:
            raise self._broken("an event of the stream is not JSON") from error
        if not isinstance(data, dict):
            raise self._broken("an event of the stream is not a JSON object")
        if data.get("error") or event.name == "error":
            raise StreamError(data.get("error") or data, request=self._request)
        return ChatCompletionChunk.from_dict(data)

    def _broken(self, what: str) -> httpx.RemoteProtocolError:
        return httpx.RemoteProtocolError(what, request=self._request)
