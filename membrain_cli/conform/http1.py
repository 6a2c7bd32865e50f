"""HTTP/1.1 by hand, for both ends of the suite: what a library would tidy up is what the checks are about.

Reads heads and bodies as they came, and tells a body that was finished from one that was cut. Not for: redirects,
compression, trailers, `Expect`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus

Header = tuple[str, str]
Listener = Callable[[bytes], None]

LIMIT = 1 << 22
"""Bytes that a reader may hold: more than any head or chunk of the suite has."""
_PIECE = 1 << 16


class Malformed(Exception):
    """What arrived is no HTTP/1.1 message."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request's or an answer's first line and its headers, names in lower case."""

    first: str
    headers: tuple[Header, ...]

    def get(self, name: str) -> str:
        """The header *name*; "" if there is none, its values joined by commas if there are several."""
        return ", ".join(self.all(name))

    def all(self, name: str) -> list[str]:
        """Every value of the header *name*."""
        return [value for each, value in self.headers if each == name]


@dataclass(frozen=True, slots=True)
class Body:
    """A body as far as it came; `whole` if it came to the end that was announced."""

    raw: bytes
    whole: bool


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head; None if the peer left before its first byte. `Malformed` for anything else than a head."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as broken:
        if broken.partial:
            raise Malformed("the head broke off") from None
        return None
    except asyncio.LimitOverrunError:
        raise Malformed("the head has no end") from None
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    return Head(first, tuple(_header(line) for line in lines))


def _header(line: str) -> Header:
    name, colon, value = line.partition(":")
    if not colon or not name or name != name.strip():
        raise Malformed("a header is malformed")
    return name.lower(), value.strip()


async def read_body(
    head: Head, reader: asyncio.StreamReader, *, until_close: bool, listen: Listener | None = None
) -> Body:
    """The body behind *head*; *listen* is told each piece as it comes. *until_close*: it may last as long as that."""
    pieces: list[bytes] = []

    def took(piece: bytes) -> None:
        pieces.append(piece)
        if listen is not None:
            listen(piece)

    try:
        if "chunked" in head.get("transfer-encoding").lower():
            await _chunks(reader, took)
        elif length := head.get("content-length"):
            await _counted(reader, int(length), took)
        elif until_close:
            await _all(reader, took)
    except (asyncio.IncompleteReadError, ConnectionError):
        return Body(b"".join(pieces), whole=False)
    except (ValueError, asyncio.LimitOverrunError):
        raise Malformed("the body is not framed as its head says") from None
    return Body(b"".join(pieces), whole=True)


async def _chunks(reader: asyncio.StreamReader, took: Listener) -> None:
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        await _counted(reader, size, took)
        if await reader.readexactly(2) != b"\r\n":
            raise ValueError("a chunk is longer than it says")
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass


async def _counted(reader: asyncio.StreamReader, size: int, took: Listener) -> None:
    while size:
        piece = await reader.read(min(size, _PIECE))
        if not piece:
            raise asyncio.IncompleteReadError(b"", size)
        size -= len(piece)
        took(piece)


async def _all(reader: asyncio.StreamReader, took: Listener) -> None:
    while piece := await reader.read(_PIECE):
        took(piece)


def request(method: str, target: str, headers: Iterable[Header], body: bytes = b"") -> bytes:
    """A request in bytes. The caller says `host`; the length is said here."""
    sized = [*headers, ("content-length", str(len(body)))] if body else [*headers]
    return _message(f"{method} {target} HTTP/1.1", sized) + body


def answer_head(status: int, headers: Iterable[Header]) -> bytes:
    """An answer's head in bytes, with the reason that goes with *status*."""
    known = status in HTTPStatus.__members__.values()
    return _message(f"HTTP/1.1 {status} {HTTPStatus(status).phrase if known else 'Other'}", headers)


def _message(first: str, headers: Iterable[Header]) -> bytes:
    return "".join([f"{first}\r\n", *(f"{name}: {value}\r\n" for name, value in headers), "\r\n"]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """*data* as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
