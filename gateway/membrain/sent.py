"""What left this machine: the last requests as they were handed to a provider, for the person who asked to look at.

In memory only: they are gone with the process, and no file ever holds them. Kept is what left and never the caller's
own text, so with masking on there is nothing in it that did not leave anyway. Belongs to the event loop, locks nothing,
and finds out nothing itself: it is told what left.
"""

from __future__ import annotations

from membrain.errors import NotFound

_ENTRIES = 100
_SIZE = 8 << 20


class NotKept(NotFound):
    """What left with this exchange is not kept: it is too old or too large, or nothing left at all."""

    code = "not_kept"


class Sent:
    """The bodies of the last *entries* exchanges, of *size* bytes together at the most; the newest win."""

    __slots__ = ("_bytes", "_entries", "_kept", "_size")

    def __init__(self, entries: int = _ENTRIES, size: int = _SIZE) -> None:
        if entries < 1 or size < 1:
            raise ValueError("Room for one entry of one byte is the least.")
        self._entries, self._size = entries, size
        self._kept: dict[str, bytes | None] = {}
        """None for a body that was larger than all the room there is."""
        self._bytes = 0

    def __repr__(self) -> str:
        return f"Sent({len(self._kept)} of {self._entries} exchanges, {self._bytes} of {self._size} bytes)"

    def __len__(self) -> int:
        """How many exchanges are remembered, those that were too large to be kept too."""
        return len(self._kept)

    def keep(self, id: str, body: bytes) -> None:
        """Keep *body* as what left with the exchange *id*, in the place of what was kept for it before."""
        kept = self._kept
        if id in kept:
            self._forget(id)
        if len(body) > self._size:
            kept[id] = None
        else:
            kept[id] = body
            self._bytes += len(body)
        while len(kept) > self._entries or self._bytes > self._size:
            self._forget(next(iter(kept)))

    def get(self, id: str) -> bytes:
        """What left with the exchange *id*, byte for byte; `NotKept` says why it is not there."""
        body = self._kept.get(id)
        if body is not None:
            return body
        if id in self._kept:
            raise NotKept(f"What left with this exchange was over {_told(self._size)}, so it was not kept.")
        raise NotKept(
            "Nothing is kept of what left with this exchange, if anything did.",
            hint=f"It is kept in memory only, for the last {self._entries} exchanges that left.",
        )

    def find(self, id: str) -> bytes | None:
        """What left with the exchange *id*; None if nothing did, or it is not kept."""
        return self._kept.get(id)

    def _forget(self, id: str) -> None:
        self._bytes -= len(self._kept.pop(id) or b"")


def _told(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size:,} bytes"
