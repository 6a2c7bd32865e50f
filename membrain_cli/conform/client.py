"""The client of the suite: says a request to the gateway byte for byte, and keeps the answer as it came.

Follows no redirect, keeps no cookie, decodes nothing, retries nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from membrain_cli.conform import http1
from membrain_cli.conform.compare import Event, events_of, parsed


class Silent(Exception):
    """The gateway did not answer in time, or closed without a word."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the gateway is: what stands before every path is kept."""

    host: str
    port: int
    tls: bool
    prefix: str

    @classmethod
    def of(cls, url: str) -> Self:
        """The address in *url*; `ValueError` if it is none."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
            raise ValueError("not the address of a gateway")
        tls = parts.scheme == "https"
        prefix = parts.path.rstrip("/").removesuffix("/v1")
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls, prefix)

    @property
    def host_header(self) -> str:
        """What the `Host` header says."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Got:
    """An answer as it came. `whole` is false if it was cut before its announced end."""

    status: int
    head: http1.Head = field(repr=False)
    body: bytes = field(repr=False)
    whole: bool

    @property
    def data(self) -> Any:
        """The body as JSON; a text if it is none."""
        return parsed(self.body)

    @property
    def events(self) -> list[Event]:
        """The events in the body."""
        return events_of(self.body)


class Connection:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, address: Address) -> Self:
        """Connect; `OSError` if nobody is there."""
        context = ssl.create_default_context() if address.tls else None
        return cls(*await asyncio.open_connection(address.host, address.port, ssl=context, limit=http1.LIMIT))

    async def ask(self, request: bytes, listen: http1.Listener | None = None) -> Got:
        """Say *request*, and read its answer; *listen* is told each piece of its body as it comes."""
        self._writer.write(request)
        try:
            await self._writer.drain()
            head = await http1.read_head(self._reader)
            if head is None:
                raise Silent("the connection was closed without an answer")
            status = _status(head)
            if request.startswith(b"HEAD "):
                return Got(status, head, b"", whole=True)
            body = await http1.read_body(head, self._reader, until_close=True, listen=listen)
        except http1.Malformed as error:
            raise Silent(f"the answer is no HTTP: {error}") from None
        except ConnectionError:
            raise Silent("the connection was reset without an answer") from None
        return Got(status, head, body.raw, body.whole)

    def leave(self) -> None:
        """Hang up."""
        self._writer.transport.abort()


def _status(head: http1.Head) -> int:
    words: Sequence[str] = head.first.split(" ")
    if len(words) < 2 or not words[1].isdecimal():
        raise http1.Malformed("the first line has no status")
    return int(words[1])


async def ask(address: Address, request: bytes, seconds: float, listen: http1.Listener | None = None) -> Got:
    """One request on a connection of its own. `Silent` after *seconds*, or if there is no answer."""
    connection: Connection | None = None
    try:
        async with asyncio.timeout(seconds):
            connection = await Connection.open(address)
            return await connection.ask(request, listen)
    except TimeoutError:
        raise Silent(f"no answer within {seconds:g} s") from None
    finally:
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.leave()
