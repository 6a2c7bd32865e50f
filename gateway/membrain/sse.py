"""Server-sent events, at the level of bytes.

For: cutting a stream of bytes at event boundaries without touching a byte (`EventSplitter`), reading events
out of such a piece (`parse`) and writing one (`encode`). Lines end at LF, CR or CRLF and nowhere else:
U+2028, U+2029, U+0085 and whatever else text libraries take for line ends are ordinary content here.

Not for: opening connections, reconnecting (`id` and `retry` are ignored), or JSON. Whoever writes JSON for
clients that split at U+2028 or U+0085 escapes those in the JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

MAX_EVENT = 1 << 20
"""Bytes that one event may have if nobody says otherwise, its blank line not counted: 1 MiB."""

_BOM = b"\xef\xbb\xbf"
_BLANK_LINES = (b"\n\n", b"\n\r", b"\r\r")
"""The byte pairs that can only mean: a line ended here, and the next one was empty. CR LF is one line end."""

_BLANK_LINE = re.compile(rb"(?>\r\n?|\n)(?>\r\n?|\n)")
_LINE_ENDS = re.compile(rb"[\r\n]*")


class EventTooLarge(ValueError):
    """One event is longer than the cap; the stream cannot be followed any further."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name (None where the stream gave none) and its data, lines joined by LF."""

    name: str | None
    data: bytes


class EventSplitter:
    """Passes whole events on, byte for byte, and holds back what is not complete yet.

    `max_event` caps one event in bytes, blank line not counted. However the stream is cut into reads, the
    same events pass and the same ones raise `EventTooLarge`. After that error the splitter is of no more use.
    """

    __slots__ = ("_held", "_max", "_size")

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._held: list[bytes] = []
        self._max = max_event
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        """Take one read; return all that is complete by now, or b"" if nothing is.

        The result ends at an event boundary. A read that ends at one while nothing is held back comes out as
        the very same object.
        """
        if data.endswith(b"\n\n") and not self._size and len(data) <= self._max:
            return data
        return self._feed(data)

    def flush(self) -> bytes:
        """What is left when the stream has ended: b"", or an event that never got its blank line."""
        rest = b"".join(self._held)
        if len(rest.rstrip(b"\r\n")) > self._max:
            raise EventTooLarge(f"an event is larger than {self._max} bytes")
        self._forget()
        return rest

    def _feed(self, data: bytes) -> bytes:
        """The general case of `feed`. Looks only at *data* and its seam, so many small reads stay linear."""
        end = _after_last_blank_line(data) or self._seam(data)
        if not end:
            self._hold(data)
            return b""
        self._held.append(data[:end])
        whole = b"".join(self._held)
        if len(whole) > self._max:
            self._measure(whole)
        self._forget()
        self._hold(data[end:])
        return whole

    def _seam(self, data: bytes) -> int:
        """How many bytes at the start of *data* complete a blank line that began before it: 0, 1 or 2."""
        # With nothing held we stand at the start of a line, which is where a LF would have left us.
        before = self._held[-1][-1:] if self._held else b"\n"
        if before + data[:1] not in _BLANK_LINES:
            return 0
        return 2 if data[:2] == b"\r\n" else 1

    def _hold(self, data: bytes) -> None:
        if not data:
            return
        self._held.append(data)
        self._size += len(data)
        if self._size > self._max + len(b"\r\n"):  # the held bytes may end with the event's last line end
            raise EventTooLarge(f"an event is larger than {self._max} bytes")

    def _forget(self) -> None:
        self._held = []
        self._size = 0

    def _measure(self, block: bytes) -> None:
        """Refuse *block*, some complete events, if one of them is over the cap."""
        start = 0
        for blank in _BLANK_LINE.finditer(block):
            # Line ends before an event are not part of it: other cuts would have passed them on alone.
            ends = _LINE_ENDS.match(block, start)
            start = ends.end() if ends else start
            if blank.start() - start > self._max:
                raise EventTooLarge(f"an event is larger than {self._max} bytes")
            start = blank.end()


def _after_last_blank_line(data: bytes) -> int:
    """The offset just behind the last blank line that lies wholly within *data*; 0 if there is none."""
    if b"\r" not in data:
        # Backwards, one byte is searched thirty times as fast as two; so first to the last line end, then on.
        return data.rfind(b"\n\n", 0, data.rfind(b"\n") + 1) + 2 if b"\n\n" in data else 0
    at = -1
    for pair in _BLANK_LINES:
        at = max(at, data.rfind(pair, at + 1))
    if at < 0:
        return 0
    return at + 3 if data[at + 1 : at + 3] == b"\r\n" else at + 2


def blocks(raw: bytes) -> list[bytes]:
    """The single events in *raw*, each in its own bytes with its blank line, comments before it included."""
    if b"\r" not in raw:
        pieces = raw.split(b"\n\n")
        found = [piece + b"\n\n" for piece in pieces[:-1]]
        return [*found, pieces[-1]] if pieces[-1] else found
    ends = [0, *(blank.end() for blank in _BLANK_LINE.finditer(raw)), len(raw)]
    return [raw[start:end] for start, end in pairwise(ends) if end > start]


def closed(block: bytes) -> bytes:
    """The last *block* that is read of a stream, with the LF of its CRLF if that had not come yet.

    A CR is a line end, so the block is out before it is known whether a LF belongs to it.
    """
    return block + b"\n" if block.endswith(b"\r\n\r") else block


def _is_one_plain_event(block: bytes) -> bool:
    """Whether *block* is one `data: …` line and a blank one: nearly every chunk of nearly every upstream."""
    if not (block.startswith(b"data: ") and block.endswith(b"\n\n")):
        return False
    return block.find(b"\n") == len(block) - 2 and b"\r" not in block


def parse(block: bytes, *, at_start: bool = True) -> list[Event]:
    """The events in *block*, by the WHATWG rules.

    Comments, unknown fields, `id` and `retry` are ignored; several `data` lines are joined by LF; one blank
    after the colon is not part of the value; an event without a `data` line is none. A byte order mark is
    skipped only where the stream begins: pass `at_start=False` for the later blocks of a stream.

    One deviation: a last event without its blank line is given too. A browser would drop it, but upstreams do
    close right behind their last line, and what would be lost is what matters most: an error, or `[DONE]`.
    """
    if _is_one_plain_event(block):
        return [Event(None, block[6:-2])]
    events: list[Event] = []
    name: str | None = None
    lines: list[bytes] = []
    text = block.removeprefix(_BOM) if at_start else block
    for line in (text + b"\n\n").splitlines():  # bytes know only LF, CR and CRLF as line ends, unlike str
        field, _, value = line.partition(b":")
        if field == b"data":
            lines.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ").decode("utf-8", "replace") or None
        elif not line:
            if lines:
                events.append(Event(name, b"\n".join(lines)))
            name, lines = None, []
    return events


def encode(data: bytes, name: str | None = None) -> bytes:
    """One event in bytes, blank line included.

    Data with line ends in it goes out as several `data` lines; readers join them by LF, so CR and CRLF come
    back as LF. Raises `ValueError` for a name with a line end in it, which would let it write other fields.
    """
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    if name is None:
        return b"data: " + data + b"\n\n"
    if "\n" in name or "\r" in name:
        raise ValueError("the name of an event is one line")
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
