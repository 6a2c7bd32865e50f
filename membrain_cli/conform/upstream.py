"""The fake provider: plays the script that a request's token names, to the byte, and remembers what it was asked.

A plain TCP server, so that a cut, a reset, a silence or an odd framing is exactly what it says. Which script is played
is said by a token in the request's own text, which every gateway hands on. A second port is where redirects point.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from membrain_cli.conform import http1
from membrain_cli.conform.anthropic_scripts import COUNT, MESSAGES
from membrain_cli.conform.compare import Event, events_of, parsed
from membrain_cli.conform.dialects import STAMP, Dialect, Json, blocks, error_body, written
from membrain_cli.conform.openai_scripts import CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES

DIALECTS: tuple[Dialect, ...] = (CHAT, MESSAGES, RESPONSES, COMPLETIONS, EMBEDDINGS, COUNT)
"""What is spoken, in the order of the report."""

HOST = "127.0.0.1"
GREETING = "Hello from the upstream of conform."
PATIENCE = 30.0
"""Seconds after which a silence ends by itself, and a gate opens."""

_TOKEN = re.compile(rb"conform(\d{6})")
_LINGER = struct.pack("ii", 1, 0)
"""Close with a reset, at once."""


def token(number: int) -> str:
    """The word that names exchange *number* in a text."""
    return f"conform{number:06}"


@dataclass(frozen=True, slots=True)
class Play:
    """An answer as it goes over the wire: `pieces` one after the other, and how it ends.

    `cut` closes before the announced end, `reset` resets the connection, `silence` says no more until the peer leaves.
    With `head` false not a byte is sent before that. Before the piece numbered `gate[0]` it waits for the event.
    """

    pieces: Sequence[bytes] = ()
    status: int = 200
    kind: str = "application/json"
    headers: Sequence[http1.Header] = ()
    framing: Literal["length", "chunked"] = "length"
    end: Literal["whole", "cut", "reset", "silence"] = "whole"
    head: bool = True
    gate: tuple[int, asyncio.Event] | None = None
    pause: float = 0.0

    @property
    def body(self) -> bytes:
        """All that is sent after the head."""
        return b"".join(self.pieces)

    @property
    def events(self) -> list[Event]:
        """The events in it."""
        return events_of(self.body)


def whole(data: Any, status: int = 200, **more: Any) -> Play:
    """A whole JSON answer; *data* as it is if it is bytes."""
    return Play([data if isinstance(data, bytes) else written(data)], status, **more)


def stream(pieces: Sequence[bytes], **more: Any) -> Play:
    """A stream of events, each piece a chunk of its own."""
    return Play(pieces, kind="text/event-stream; charset=utf-8", framing="chunked", **more)


@dataclass
class Heard:
    """One request as the fake provider received it."""

    method: str
    target: str
    head: http1.Head = field(repr=False)
    body: bytes = field(repr=False)
    trap: bool = False
    """It came to the port where redirects point."""
    played: Play | None = field(default=None, repr=False)
    left: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """The peer closed the connection while it was answered."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def data(self) -> Json:
        """The body as JSON; {} if it is no object."""
        data = parsed(self.body)
        return data if isinstance(data, dict) else {}

    @property
    def dialect(self) -> Dialect | None:
        """In which dialect it was asked, whatever stands before the path."""
        fits = [dialect for dialect in DIALECTS if self.path.endswith(dialect.path.removeprefix("/v1"))]
        return max(fits, key=lambda each: len(each.path), default=None)


Script = Callable[[Heard], Play]


class PortTaken(Exception):
    """Another program listens where the fake provider should."""


class Upstream:
    """The fake provider, listening while the context lasts. `scripts` and `heard` go by the exchange's number."""

    def __init__(self, port: int, models: Sequence[str] = ()) -> None:
        self.port = port
        self.trap_port = 0
        self.scripts: dict[int, Script] = {}
        self.heard: dict[int, list[Heard]] = {}
        self._models = models
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen; `PortTaken` if somebody else does."""
        for port, trap in ((self.port, False), (0, True)):
            try:
                server = await asyncio.start_server(self._door(trap=trap), HOST, port, limit=http1.LIMIT)
            except OSError:
                raise PortTaken(f"{HOST}:{port}") from None
            self._servers.append(server)
        self.port, self.trap_port = (server.sockets[0].getsockname()[1] for server in self._servers)
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _door(self, *, trap: bool) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def opened(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._serve(reader, writer, trap))
            self._open.add(task)
            task.add_done_callback(self._open.discard)

        return opened

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, trap: bool) -> None:
        try:
            while (heard := await _received(reader, trap)) is not None:
                heard.played = self._script(heard)
                if not await perform(heard.played, heard, reader, writer):
                    return
        except (ConnectionError, http1.Malformed):
            return  # the peer left, which the exchange that was going on has noted
        finally:
            writer.transport.abort()

    def _script(self, heard: Heard) -> Play:
        """What to play for *heard*, which is noted under its number."""
        numbers = _TOKEN.findall(heard.body)
        number = int(numbers[-1]) if numbers else -1
        self.heard.setdefault(number, []).append(heard)
        script = self.scripts.get(number)
        dialect = heard.dialect
        if dialect is None:
            return self._listing(heard)
        if script is None or heard.method != "POST":
            return plain(heard)
        return script(heard)

    def _listing(self, heard: Heard) -> Play:
        if not heard.path.endswith("/models"):
            return whole(error_body("openai", "invalid_request_error", "Nothing is here."), 404)
        return whole(models_listed(self._models, anthropic=bool(heard.head.get("anthropic-version"))))


async def _received(reader: asyncio.StreamReader, trap: bool) -> Heard | None:
    head = await http1.read_head(reader)
    if head is None:
        return None
    method, target, *_ = [*head.first.split(" "), "", ""]
    body = await http1.read_body(head, reader, until_close=False)
    return Heard(method, target, head, body.raw, trap)


def models_listed(names: Sequence[str], *, anthropic: bool) -> Json:
    """A list of models, as either vendor has it."""
    if not anthropic:
        rows = [{"id": name, "object": "model", "created": STAMP, "owned_by": "conform"} for name in names]
        return {"object": "list", "data": rows}
    made = {"type": "model", "created_at": "2025-05-14T00:00:00Z"}
    ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
    return {"data": [{**made, "id": name, "display_name": name} for name in names], "has_more": False, **ends}


def plain(heard: Heard, pieces: Sequence[str] = (GREETING[:6], GREETING[6:])) -> Play:
    """The ordinary answer in the dialect that was asked, streamed if that was asked."""
    dialect = heard.dialect
    assert dialect is not None, "only asked where a dialect is spoken"
    if dialect.stream is not None and heard.data.get("stream") is True:
        return stream(blocks(dialect.stream(heard.data, pieces)))
    return whole(dialect.whole(heard.data, "".join(pieces)))


# --- over the wire -------------------------------------------------------------------------------------------


async def perform(play: Play, heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Play it, and say whether the connection can be used again. Notes in *heard* if the peer leaves meanwhile."""
    with _watching(heard, reader) as watch:
        sending = asyncio.ensure_future(_send(play, writer))
        try:
            await asyncio.wait([sending, watch], return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
        return sending.done() and _sent(sending, heard) and play.end == "whole"


def _sent(sending: asyncio.Future[None], heard: Heard) -> bool:
    """Whether all was sent; the peer may have left in the middle."""
    if isinstance(error := sending.exception(), ConnectionError):
        heard.left.set()
        return False
    if error is not None:
        raise error
    return True


@contextlib.contextmanager
def _watching(heard: Heard, reader: asyncio.StreamReader) -> Iterator[asyncio.Task[None]]:
    async def watch() -> None:
        while not reader.at_eof() and reader.exception() is None:  # noqa: ASYNC110  # reading might eat the next request
            await asyncio.sleep(0.005)
        heard.left.set()

    task = asyncio.ensure_future(watch())
    try:
        yield task
    finally:
        task.cancel()


async def _send(play: Play, writer: asyncio.StreamWriter) -> None:
    if play.head:
        writer.write(_head_of(play))
        await _pieces(play, writer)
    if play.end == "silence":
        await writer.drain()
        await asyncio.sleep(PATIENCE)
    elif play.end != "whole":
        await writer.drain()
        await asyncio.sleep(0.03)  # so that what was said before is read before the end is noticed
        if play.end == "reset":
            _reset_on_close(writer)
        writer.transport.abort()
    else:
        writer.write(http1.LAST_CHUNK if play.framing == "chunked" else b"")
        await writer.drain()


def _head_of(play: Play) -> bytes:
    sized = ("content-length", str(len(play.body))) if play.framing == "length" else ("transfer-encoding", "chunked")
    return http1.answer_head(play.status, [("content-type", play.kind), sized, *play.headers])


async def _pieces(play: Play, writer: asyncio.StreamWriter) -> None:
    for number, piece in enumerate(play.pieces):
        if play.gate is not None and play.gate[0] == number:
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(play.gate[1].wait(), PATIENCE)
        writer.write(http1.chunk(piece) if play.framing == "chunked" else piece)
        await writer.drain()
        await asyncio.sleep(play.pause)


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
