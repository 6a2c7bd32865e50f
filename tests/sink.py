"""A fake upstream for tests: a real TCP server on 127.0.0.1 that keeps every byte it is sent.

It speaks just enough OpenAI, Anthropic and Ollama to be talked to by their own SDKs, and misbehaves on
request. It runs a loop of its own in a thread, so sync tests, async tests and gateways in other processes
can all use it. It is a fake: it knows no model, checks no key, and nothing outside tests/ may import it.

    with Sink() as sink:
        ...post to sink.url + "/v1/chat/completions"...
        sink.wait_for(1)[0].json()["model"]

What it does is chosen by words in the *model name*, at any place, divided by anything but letters and digits:

    echo                the answer is the text of the last user message
    slow-50             50 ms between the pieces of a stream (or before a whole answer)
    chunks-200          200 content pieces
    crlf                CRLF line ends, comments and pings in a stream
    no-done             the stream finishes, but its last frame ([DONE], message_stop) never comes
    u2028               the text holds a raw U+2028 and U+0085
    a name in INSTEAD   the answer is replaced: reset, stall, garbage, status-429, huge, ...
    a name in MIDWAY    the first half of the answer, then trouble: reset-mid, stall-mid, cut-mid, ...

or by `sink.script(path, Reply(...), ...)`, which goes before the model name.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Self

from tests.sink_says import (
    WORDS,
    Answer,
    Frames,
    anthropic_frames,
    anthropic_model,
    anthropic_whole,
    as_bytes,
    completions_frames,
    completions_whole,
    compose,
    data_frame,
    embeddings_whole,
    event,
    has_word,
    moderations_whole,
    number_after,
    ollama_model,
    openai_frames,
    openai_model,
    openai_whole,
    responses_frames,
    responses_whole,
)

LIMIT = 64 * 1024 * 1024
"""Bytes of one header block or one line; bodies are not limited."""

SSE = {"content-type": "text/event-stream", "cache-control": "no-cache"}
JSON = {"content-type": "application/json"}


# --- what a test sees ------------------------------------------------------------------------------------


@dataclass(eq=False)
class Recorded:
    """One request as it arrived. `path` has its query; `at` is monotonic seconds when the body had come."""

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    at: float
    closed: threading.Event
    """Set once the peer has closed the connection this request came on."""

    @property
    def header(self) -> dict[str, str]:
        """Headers by lower-cased name; of a repeated one, the last."""
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.headers}

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """One scripted answer.

    body    bytes as they are, text as UTF-8, anything else as JSON
    chunks  sent one by one with chunked transfer, instead of `body`
    pause   seconds before the answer, and between chunks
    behave  words as a model name may have them ("reset", "status-503", "echo-chunks-3"), instead of all these
    """

    status: int = 200
    body: object = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: Sequence[bytes] = ()
    pause: float = 0.0
    behave: str = ""


class Sink:
    """The server. Use as a context manager; it listens from `__enter__` to `__exit__`.

    models       names listed by GET /v1/models, for OpenAI's SDK and Anthropic's
    ollama       names listed by GET /api/tags; one that ends in "cloud" is shown as a remote alias
    redirect_to  base URL that `redirect-NNN` points at
    says         the text of plain answers; `{said}` in it stands for the text of the last user message
    """

    def __init__(
        self,
        *,
        models: Sequence[str] = ("gpt-4o-mini", "echo"),
        ollama: Sequence[str] = ("llama3:latest", "qwen2.5:0.5b"),
        redirect_to: str = "",
        says: str = WORDS,
    ) -> None:
        self.models = list(models)
        self.ollama = list(ollama)
        self.redirect_to = redirect_to
        self.says = says
        self.requests: list[Recorded] = []
        self.connections = 0
        """How many TCP connections were accepted."""
        self.url = ""
        self.serial = count(1)
        self.faults: list[BaseException] = []
        """What went wrong here, malformed HTTP from the peer too. Leaving the `with` raises the first."""
        self._raw: list[bytes] = []
        self._scripts: dict[str, tuple[list[Reply], bool]] = {}
        self._news = threading.Condition()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="sink", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the sink did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        if self.faults and error is None:
            raise self.faults[0]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def script(self, path: str, *replies: Reply, forever: bool = False) -> None:
        """Answer the next requests to `path` (no query) with these in turn; `forever` repeats the last."""
        with self._news:
            self._scripts[path] = (list(replies), forever)

    def wait_for(self, n: int = 1, timeout: float = 5.0) -> list[Recorded]:
        """The requests so far, as soon as there are `n`. Raises TimeoutError after `timeout` seconds."""
        with self._news:
            if not self._news.wait_for(lambda: len(self.requests) >= n, timeout):
                raise TimeoutError(f"the sink saw {len(self.requests)} requests, not {n}, in {timeout} s")
            return list(self.requests)

    def clear(self) -> None:
        """Forget requests, bytes and scripts; connections stay."""
        with self._news:
            self.requests.clear()
            self._raw.clear()
            self._scripts.clear()

    def bytes_seen(self) -> bytes:
        """All that was received, on every connection, request lines and headers too, in order of arrival."""
        return b"".join(self._raw)

    # Below: the server's own thread.

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._calls: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = self._loop.create_task(Connection(self, reader, writer).run())
        self._calls[task] = writer
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        # Here and not in the task, which may be cancelled in its last lines, or before its first.
        self._calls.pop(task).transport.abort()
        if not task.cancelled() and (fault := task.exception()):
            self.faults.append(fault)

    def heard(self, data: bytes) -> None:
        self._raw.append(data)

    def record(self, request: Recorded) -> None:
        with self._news:
            self.requests.append(request)
            self._news.notify_all()

    def next_reply(self, path: str) -> Reply | None:
        with self._news:
            replies, forever = self._scripts.get(path, ([], False))
            if not replies:
                return None
            return replies[0] if forever and len(replies) == 1 else replies.pop(0)


# --- HTTP/1.1, by hand ------------------------------------------------------------------------------------


class Connection:
    """One connection. It reads ahead all the time, to notice a peer who leaves during an answer."""

    def __init__(self, sink: Sink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sink, self._reader, self._wire = sink, reader, Wire(writer)
        self._inbox = asyncio.StreamReader(limit=LIMIT)
        self._gone = asyncio.Event()
        self._closed = threading.Event()

    async def run(self) -> None:
        """Serve until the peer leaves, an answer closes, or the sink stops."""
        pump = asyncio.create_task(self._pump())
        try:
            await self._serve()
        except ConnectionError:
            self._peer_left()
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def _pump(self) -> None:
        try:
            while data := await self._reader.read(65536):
                self._sink.heard(data)
                self._inbox.feed_data(data)
        except ConnectionError:
            pass  # a reset is also a way of leaving
        self._peer_left()

    def _peer_left(self) -> None:
        if not self._wire.closing:
            self._closed.set()
        self._gone.set()
        self._inbox.feed_eof()

    async def _serve(self) -> None:
        while request := await self._read_request():
            self._sink.record(request)
            self._wire.bodyless = request.method == "HEAD"
            await self._while_here(answer(Call(self._sink, request, self._wire, json_object(request.body))))
            if self._wire.closing:
                await self._wire.close()
                return

    async def _while_here(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work, but stop as soon as the peer has left."""
        tasks = asyncio.create_task(work), asyncio.create_task(self._gone.wait())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                tasks[0].result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_request(self) -> Recorded | None:
        try:
            head = await self._inbox.readuntil(b"\r\n\r\n")
            first, *lines = head[:-4].split(b"\r\n")
            method, path, _ = first.decode("latin-1").split(" ", 2)
            headers = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
            body = await self._read_body({name.lower(): value for name, value in headers})
        except asyncio.IncompleteReadError:
            return None
        return Recorded(method, path, headers, body, time.monotonic(), self._closed)

    async def _read_body(self, headers: Mapping[bytes, bytes]) -> bytes:
        if headers.get(b"transfer-encoding", b"").lower() != b"chunked":
            return await self._inbox.readexactly(int(headers.get(b"content-length", b"0")))
        parts: list[bytes] = []
        while size := int((await self._inbox.readuntil(b"\n")).partition(b";")[0], 16):
            parts.append((await self._inbox.readexactly(size + 2))[:-2])
        while (await self._inbox.readuntil(b"\n")).strip():
            continue  # trailers
        return b"".join(parts)


class Wire:
    """The way back: whole answers, chunked ones, raw bytes and broken connections."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.closing = False
        """We are the ones who close, after this answer."""
        self.bodyless = False
        """The request was a HEAD."""

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [
            f"HTTP/1.1 {status} {http.client.responses.get(status, 'Unnamed')}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        await self.raw("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        await self.head(status, {**headers, "content-length": str(len(body))})
        await self.raw(b"" if self.bodyless else body)

    async def start(self, headers: Mapping[str, str], status: int = 200) -> None:
        """Begin a chunked answer."""
        await self.head(status, {**headers, "transfer-encoding": "chunked"})

    async def send(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def finish(self) -> None:
        await self.raw(b"0\r\n\r\n")

    async def close(self) -> None:
        """Close in order, so that all written bytes arrive first."""
        self._writer.close()
        await self._writer.wait_closed()

    def reset(self) -> None:
        """Send an RST: the peer sees "connection reset", not an end."""
        peer: socket.socket = self._writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.closing = True
        self.abort()

    def abort(self) -> None:
        self._writer.transport.abort()


# --- one call, and who answers it --------------------------------------------------------------------------


@dataclass
class Call:
    sink: Sink
    request: Recorded
    wire: Wire
    said: dict[str, Any] | None
    """The body, if it is a JSON object."""
    words: str = ""
    """Where behaviours are looked for: the model name, or a script's `behave`."""

    def __post_init__(self) -> None:
        self.words = self.words or str((self.said or {}).get("model", ""))

    @property
    def route(self) -> str:
        return self.request.path.partition("?")[0]

    @property
    def is_anthropic(self) -> bool:
        return "/messages" in self.route

    @property
    def frames(self) -> Callable[[Answer], Frames]:
        """What makes a stream of an answer on this route."""
        for end, frames in (("/responses", responses_frames), ("/chat/completions", openai_frames)):
            if self.route.endswith(end):
                return partial(frames, self.said or {})
        return anthropic_frames if self.is_anthropic else partial(completions_frames, self.said or {})

    def asked(self, word: str) -> bool:
        return has_word(self.words, word)

    def number(self, word: str, otherwise: int = 0) -> int:
        return number_after(self.words, word, otherwise)

    def compose(self) -> Answer:
        return compose(self.said or {}, self.words, next(self.sink.serial), self.sink.says)


def json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


async def answer(call: Call) -> None:
    """Script first, then a behaviour named by the model, then the honest answer."""
    if reply := call.sink.next_reply(call.route):
        if not reply.behave:
            await play(call, reply)
            return
        call.words = reply.behave
    for name, behaviour in INSTEAD.items():
        if call.asked(name) and not call.asked(name + "-mid"):
            await behaviour(call)
            return
    await ROUTES.get((call.request.method, call.route), elsewhere)(call)


async def play(call: Call, reply: Reply) -> None:
    await asyncio.sleep(reply.pause)
    if not reply.chunks:
        kind = {} if isinstance(reply.body, bytes | str) else JSON
        await call.wire.whole(reply.status, {**kind, **reply.headers}, as_bytes(reply.body))
        return
    await call.wire.start(reply.headers, reply.status)
    for chunk in reply.chunks:
        await call.wire.send(chunk)
        await asyncio.sleep(reply.pause)
    await call.wire.finish()


# --- misbehaviours -----------------------------------------------------------------------------------------


async def reset(call: Call) -> None:
    call.wire.reset()


async def stall(call: Call) -> None:
    """Hold the connection open and say nothing more; ends when the peer leaves or the sink stops."""
    await asyncio.Event().wait()


async def cut(call: Call) -> None:
    """End in good order although there should be more."""
    call.wire.closing = True
    await call.wire.finish()


async def sse_error(call: Call) -> None:
    shape = {"type": "overloaded_error", "message": "The sink gave up in mid-stream."}
    if call.is_anthropic:
        await call.wire.send(event("error", {"type": "error", "error": shape}))
    elif call.route.endswith("/responses"):
        told = {"type": "error", "code": "overloaded", "message": shape["message"], "param": None}
        await call.wire.send(event("error", {**told, "sequence_number": 9}))
    else:
        await call.wire.send(data_frame({"error": {**shape, "param": None, "code": "overloaded"}}))
    await cut(call)


async def error_instead(call: Call) -> None:
    """A good status, and then nothing but an error: as the first event, or as the body."""
    if (call.said or {}).get("stream"):
        await call.wire.start(SSE)
        await sse_error(call)
        return
    error = {"type": "overloaded_error", "message": "The sink gave up.", "param": None, "code": "overloaded"}
    await call.wire.whole(200, JSON, as_bytes({"error": error}))


async def garbage(call: Call) -> None:
    call.wire.closing = True
    await call.wire.raw(b"\x00\x01\xfe\xffthis is not HTTP\r\n\r\n\x00")


async def html(call: Call) -> None:
    page = b"<!doctype html><title>Sign in</title><p>A captive portal was here."
    await call.wire.whole(200, {"content-type": "text/html; charset=utf-8"}, page)


async def bad_json(call: Call) -> None:
    await call.wire.whole(200, JSON, b'{"id": "chatcmpl-sink", "choices": [')


async def truncated(call: Call) -> None:
    call.wire.closing = True
    await call.wire.head(200, {**JSON, "content-length": "4096"})
    await call.wire.raw(b'{"id": "chatcmpl-sink",')


async def empty(call: Call) -> None:
    await call.wire.whole(200, SSE if (call.said or {}).get("stream") else JSON, b"")


async def status(call: Call) -> None:
    await refuse(call, call.number("status", 500))


async def redirect(call: Call) -> None:
    target = (call.sink.redirect_to or call.sink.url) + call.request.path
    await call.wire.whole(call.number("redirect", 307), {"location": target}, b"")


async def huge(call: Call) -> None:
    """A body without end: one JSON string, or as a stream one content piece after the other."""
    if (call.said or {}).get("stream"):
        await call.wire.start(SSE)
        pieces = call.frames(Answer("sink-huge", call.words, ["a" * 65536]))
        await call.wire.send(b"".join(pieces.opening))
        await without_end(call, pieces.middle[0])
        return
    await call.wire.start(JSON)
    await call.wire.send(b'{"choices": "')
    await without_end(call, b"a" * 65536)


async def huge_event(call: Call) -> None:
    await call.wire.start(SSE)
    await call.wire.send(b"data: ")
    await without_end(call, b"a" * 65536)


async def gzip_bomb(call: Call) -> None:
    """A thousandfold: each kilobyte on the wire unpacks to a megabyte of blanks, for ever."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    opening = packer.compress(b'{"choices": "') + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush nothing refers back, so one packed block may be repeated as often as one likes.
    block = packer.compress(b" " * 1024 * 1024) + packer.flush(zlib.Z_FULL_FLUSH)
    await call.wire.start({**JSON, "content-encoding": "gzip"})
    await call.wire.send(opening)
    await without_end(call, block)


async def without_end(call: Call, block: bytes) -> None:
    while True:
        await call.wire.send(block)
        await asyncio.sleep(0)  # lets the pump notice that the peer has left


Behaviour = Callable[[Call], Awaitable[None]]

INSTEAD: dict[str, Behaviour] = {
    "reset": reset,
    "stall": stall,
    "sse-error": error_instead,
    "garbage": garbage,
    "html": html,
    "bad-json": bad_json,
    "truncated": truncated,
    "empty": empty,
    r"status-\d+": status,
    r"redirect-\d+": redirect,
    "huge-event": huge_event,
    "huge": huge,
    "gzip-bomb": gzip_bomb,
}
"""Word (a pattern) in the model name → what is done instead of an answer. The first that fits counts."""

MIDWAY: dict[str, Behaviour] = {
    "reset-mid": reset,
    "stall-mid": stall,
    "cut-mid": cut,
    "sse-error-mid": sse_error,
}
"""Word in the model name → what is done after half of the answer."""

ERRORS: dict[int, tuple[str, str, str]] = {
    400: ("invalid_request_error", "invalid_request", "invalid_request_error"),
    401: ("invalid_request_error", "invalid_api_key", "authentication_error"),
    402: ("insufficient_quota", "insufficient_quota", "billing_error"),
    403: ("invalid_request_error", "permission_denied", "permission_error"),
    404: ("invalid_request_error", "model_not_found", "not_found_error"),
    413: ("invalid_request_error", "request_too_large", "request_too_large"),
    429: ("requests", "rate_limit_exceeded", "rate_limit_error"),
    503: ("server_error", "service_unavailable", "overloaded_error"),
    529: ("server_error", "overloaded", "overloaded_error"),
}
"""Status → OpenAI's type, OpenAI's code, Anthropic's type."""


async def refuse(call: Call, number: int) -> None:
    """An error in the shape of the endpoint."""
    kind, code, anthropic_kind = ERRORS.get(number, ("server_error", "server_error", "api_error"))
    text = f"The sink was asked for a {number}."
    body: object = {"error": {"message": text, "type": kind, "param": None, "code": code}}
    if call.is_anthropic:
        body = {"type": "error", "error": {"type": anthropic_kind, "message": text}, "request_id": "req_sink"}
    headers = {**JSON, "x-request-id": "req_sink"} | ({"retry-after": "7"} if number == 429 else {})
    await call.wire.whole(number, headers, as_bytes(body))


# --- honest answers -----------------------------------------------------------------------------------------


async def give(call: Call, whole: object, frames: Frames) -> None:
    """Say it whole or streamed, at the pace, in the manner and with the ending that the words ask for."""
    ending = next((MIDWAY[name] for name in MIDWAY if call.asked(name)), None)
    pause = call.number("slow") / 1000
    if not (call.said or {}).get("stream"):
        await asyncio.sleep(pause)
        await give_whole(call, as_bytes(whole), ending)
        return
    await call.wire.start(SSE)
    for frame in shaped(call, frames, half=ending is not None):
        await call.wire.send(frame)
        await asyncio.sleep(pause)
    await (ending or finish)(call)


async def finish(call: Call) -> None:
    await call.wire.finish()


async def give_whole(call: Call, body: bytes, ending: Behaviour | None) -> None:
    if ending is None or ending is sse_error:
        await call.wire.whole(200, {**JSON, "x-request-id": "req_sink"}, body)
        return
    await call.wire.start(JSON)
    await call.wire.send(body[: len(body) // 2])
    await ending(call)


def shaped(call: Call, frames: Frames, *, half: bool) -> Iterable[bytes]:
    middle = frames.middle[: len(frames.middle) // 2] if half else frames.middle
    closing = [] if half else frames.closing[:-1] if call.asked("no-done") else frames.closing
    sent = [*frames.opening, *middle, *closing]
    if not call.asked("crlf"):
        return sent
    return [b": ping\r\n\r\n" + frame.replace(b"\n", b"\r\n") for frame in sent]


async def openai_chat(call: Call) -> None:
    if call.said is None:
        await refuse(call, 400)
        return
    said, composed = call.said, call.compose()
    await give(call, openai_whole(said, composed), openai_frames(said, composed))


async def anthropic_messages(call: Call) -> None:
    if call.said is None:
        await refuse(call, 400)
        return
    composed = call.compose()
    await give(call, anthropic_whole(composed), anthropic_frames(composed))


async def openai_responses(call: Call) -> None:
    if call.said is None:
        await refuse(call, 400)
        return
    said, composed = call.said, call.compose()
    await give(call, responses_whole(said, composed), responses_frames(said, composed))


async def openai_completions(call: Call) -> None:
    if call.said is None:
        await refuse(call, 400)
        return
    said, composed = call.said, call.compose()
    await give(call, completions_whole(said, composed), completions_frames(said, composed))


async def openai_embeddings(call: Call) -> None:
    await call.wire.whole(200, JSON, as_bytes(embeddings_whole(call.said or {})))


async def openai_moderations(call: Call) -> None:
    await call.wire.whole(200, JSON, as_bytes(moderations_whole(call.said or {})))


async def anthropic_count(call: Call) -> None:
    await call.wire.whole(200, JSON, as_bytes({"input_tokens": len(call.request.body) // 4 + 1}))


async def list_models(call: Call) -> None:
    if "anthropic-version" not in call.request.header:
        entries = [openai_model(name) for name in call.sink.models]
        await call.wire.whole(200, JSON, as_bytes({"object": "list", "data": entries}))
        return
    entries = [anthropic_model(name) for name in call.sink.models]
    ends = {"first_id": entries[0]["id"], "last_id": entries[-1]["id"]} if entries else {}
    await call.wire.whole(200, JSON, as_bytes({"data": entries, "has_more": False, **ends}))


async def ollama_tags(call: Call) -> None:
    await call.wire.whole(200, JSON, as_bytes({"models": [ollama_model(name) for name in call.sink.ollama]}))


async def ollama_version(call: Call) -> None:
    await call.wire.whole(200, JSON, as_bytes({"version": "0.12.0"}))


async def ollama_show(call: Call) -> None:
    said = call.said or {}
    name = str(said.get("model") or said.get("name") or "")
    known = next((entry for entry in call.sink.ollama if entry in (name, f"{name}:latest")), None)
    if known is None:
        await call.wire.whole(404, JSON, as_bytes({"error": f"model '{name}' not found"}))
        return
    shown = {
        **ollama_model(known),
        "capabilities": ["completion"],
        "model_info": {"llama.context_length": 8192},
    }
    await call.wire.whole(200, JSON, as_bytes(shown))


async def root(call: Call) -> None:
    await call.wire.whole(200, {"content-type": "text/plain"}, b"Ollama is running")


async def elsewhere(call: Call) -> None:
    """GET /v1/models/{id}, or a 404 in the shape of the endpoint."""
    name = call.route.partition("/models/")[2]
    if call.request.method != "GET" or name not in call.sink.models:
        await refuse(call, 404)
        return
    shape = anthropic_model if "anthropic-version" in call.request.header else openai_model
    await call.wire.whole(200, JSON, as_bytes(shape(name)))


ROUTES: dict[tuple[str, str], Behaviour] = {
    ("POST", "/v1/chat/completions"): openai_chat,
    ("POST", "/chat/completions"): openai_chat,
    ("POST", "/v1/messages"): anthropic_messages,
    ("POST", "/v1/messages/count_tokens"): anthropic_count,
    ("POST", "/v1/responses"): openai_responses,
    ("POST", "/v1/completions"): openai_completions,
    ("POST", "/v1/embeddings"): openai_embeddings,
    ("POST", "/v1/moderations"): openai_moderations,
    ("GET", "/v1/models"): list_models,
    ("GET", "/models"): list_models,
    ("GET", "/api/tags"): ollama_tags,
    ("GET", "/api/version"): ollama_version,
    ("POST", "/api/show"): ollama_show,
    ("GET", "/"): root,
    ("HEAD", "/"): root,
}


@contextmanager
def nobody_picks_up() -> Iterator[int]:
    """A port of this machine where a connection is neither made nor refused: the queue before it is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            with suppress(BlockingIOError):
                caller.connect(listener.getsockname())
        yield listener.getsockname()[1]
