"""A small gateway that hands everything on as it should, and one fault at a time that it can be given.

    async with bench_before(FAULTS["drops a header"]) as bench:
        failed = await failing(bench, "messages")

So each check is shown to pass where it should, and to fail where it must.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from membrain_cli.conform import http1
from membrain_cli.conform.bench import Bench, Target
from membrain_cli.conform.client import Address
from membrain_cli.conform.dialects import error_body, written
from membrain_cli.conform.openai_scripts import PACKED
from membrain_cli.conform.suite import rows
from membrain_cli.conform.upstream import Upstream, models_listed

KEY = "ck_live_of_the_caller"
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4-20250514"}
OWN = {"authorization", "x-api-key", "cookie", "host", "content-length"}
"""Headers of a caller that are not handed on."""
CRLF = b"\r\n"

Edit = Callable[[bytes], bytes]


def same(raw: bytes) -> bytes:
    """Nothing changed."""
    return raw


@dataclass(frozen=True)
class Fault:
    """What a gateway does wrong; without any it does all right. `seen` are the checks that must notice."""

    seen: tuple[str, ...] = ()
    group: str = "chat"
    """The group in which it is looked for."""
    request: Edit = same
    answer: Edit = same
    """Whole bodies and streams alike, as one."""
    events: Callable[[bytes], Sequence[bytes]] | None = None
    """Streams: events taken apart by someone who knows the rules badly."""
    chunk: Edit = same
    collects: bool = False
    head_bytes: int = 1 << 20
    body_bytes: int = 1 << 30
    query: bool = True
    keeps: frozenset[str] = frozenset(OWN)
    drops: frozenset[str] = frozenset()
    jar: bool = False
    sets_cookies: bool = False
    stays: bool = False
    """It does not notice that the caller has gone."""
    follows: bool = False
    plain_errors: bool = False
    one_status: bool = False
    mends: bytes = b""
    """What it writes at the end of a broken stream, to make it whole."""
    closes: bool = False
    doors: bool = True
    elsewhere: str = ""
    """Where it asks the provider instead."""
    refuses: int = 0


class Relay:
    """A gateway before the provider at *port*, with one *fault*."""

    def __init__(self, port: int, fault: Fault) -> None:
        self._provider, self._fault = port, fault
        self._cookies: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen, and give the port."""

        def opened(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._serve(reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._server = await asyncio.start_server(opened, "127.0.0.1", 0, limit=http1.LIMIT)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await http1.read_head(reader)) is not None:
                body = await http1.read_body(head, reader, until_close=False)
                if not await self._one(head, body.raw, reader, writer) or self._fault.closes:
                    break
        except (ConnectionError, http1.Malformed):
            return
        finally:
            writer.transport.abort()

    async def _one(
        self, head: http1.Head, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        method, target, _ = head.first.split(" ")
        vendor = "anthropic" if head.get("anthropic-version") else "openai"
        answering = asyncio.ensure_future(self._answer(method, target, head, body, vendor, writer))
        watching = asyncio.ensure_future(_gone(reader))
        try:
            await asyncio.wait([answering, *([] if self._fault.stays else [watching])], return_when="FIRST_COMPLETED")
            return answering.done() and answering.result()
        finally:
            for task in (answering, watching):
                task.cancel()
            await asyncio.gather(answering, watching, return_exceptions=True)

    async def _answer(
        self, method: str, target: str, head: http1.Head, body: bytes, vendor: str, writer: asyncio.StreamWriter
    ) -> bool:
        fault = self._fault
        if method != "POST":
            return self._door(method, target, vendor, writer)
        if fault.refuses or _size(head) > fault.head_bytes or len(body) > fault.body_bytes:
            return whole(writer, fault.refuses or 413, written(error_body("openai", "too_large", "Too large.")))
        try:
            provider = await self._ask(target, head, fault.request(body))
        except (ConnectionError, http1.Malformed):
            return not fault.plain_errors and whole(writer, 502, _failed(vendor))
        return await self._hand_on(*provider, vendor, writer)

    def _door(self, method: str, target: str, vendor: str, writer: asyncio.StreamWriter) -> bool:
        if not self._fault.doors:
            return whole(writer, 404, b"" if method == "HEAD" else b"{}")
        listed = models_listed([*MODELS.values()], anthropic=vendor == "anthropic")
        return whole(writer, 200, b"" if method == "HEAD" else written(listed))

    async def _ask(
        self, target: str, head: http1.Head, body: bytes, port: int = 0
    ) -> tuple[http1.Head, asyncio.StreamReader, asyncio.StreamWriter]:
        fault = self._fault
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self._provider, limit=http1.LIMIT)
        kept = [each for each in head.headers if each[0] not in fault.keeps | fault.drops]
        cookies = [("cookie", "; ".join(self._cookies.values()))] if fault.jar and self._cookies else []
        path = fault.elsewhere or (target if fault.query else target.partition("?")[0])
        try:
            writer.write(http1.request("POST", path, [("host", "provider"), *kept, *cookies], body))
            answered = await http1.read_head(reader)
            if answered is None:
                raise ConnectionError
        except BaseException:
            writer.transport.abort()
            raise
        self._cookies.update({each: each.partition(";")[0] for each in answered.all("set-cookie")})
        if fault.follows and (there := re.search(r":(\d+)/", answered.get("location"))):
            writer.transport.abort()
            return await self._ask(target, head, body, int(there[1]))
        return answered, reader, writer

    async def _hand_on(
        self,
        answered: http1.Head,
        reader: asyncio.StreamReader,
        provider: asyncio.StreamWriter,
        vendor: str,
        writer: asyncio.StreamWriter,
    ) -> bool:
        try:
            status = int(answered.first.split(" ")[1])
            if _size(answered) > self._fault.head_bytes:
                return whole(writer, 502, _failed(vendor))
            if status == 200 and answered.get("content-type").startswith("text/event-stream"):
                return await self._stream(answered, reader, writer)
            body = await http1.read_body(answered, reader, until_close=True)
            return self._whole(status, answered, body.raw, vendor, writer)
        finally:
            provider.transport.abort()

    def _whole(self, status: int, head: http1.Head, body: bytes, vendor: str, writer: asyncio.StreamWriter) -> bool:
        fault = self._fault
        if not fault.plain_errors and (status in {401, 307} or not body.strip().startswith(b"{")):
            status, body = 502, _failed(vendor)
        if fault.one_status and status != 200:
            status, body = 500, _failed(vendor)
        again = [] if fault.one_status else [("retry-after", each) for each in head.all("retry-after")]
        cookies = [("set-cookie", each) for each in head.all("set-cookie")] if fault.sets_cookies else []
        return whole(writer, status, fault.answer(body), [*again, *cookies])

    async def _stream(self, head: http1.Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        fault = self._fault
        kind = ("content-type", "text/event-stream")
        writer.write(http1.answer_head(200, [kind, ("transfer-encoding", "chunked")]))
        together = fault.collects or fault.events is not None or fault.answer is not same
        pass_on = None if together else lambda piece: _chunk(writer, fault.chunk(piece))
        body = await http1.read_body(head, reader, until_close=False, listen=pass_on)
        for piece in (fault.events or _one_piece)(fault.answer(body.raw)) if together else ():
            _chunk(writer, piece)
        if not body.whole and not fault.mends:
            await writer.drain()
            return False
        _chunk(writer, b"" if _ended(body.raw) else fault.mends)
        writer.write(http1.LAST_CHUNK)
        await writer.drain()
        return True


def _one_piece(raw: bytes) -> Sequence[bytes]:
    return [raw]


def _ended(raw: bytes) -> bool:
    return any(mark in raw for mark in (b"[DONE]", b"message_stop", b"response.completed"))


def _chunk(writer: asyncio.StreamWriter, piece: bytes) -> None:
    if piece:
        writer.write(http1.chunk(piece))


def _failed(vendor: str) -> bytes:
    return written(error_body("anthropic" if vendor == "anthropic" else "openai", "api_error", "The provider failed."))


def _size(head: http1.Head) -> int:
    return sum(len(name) + len(value) for name, value in head.headers)


async def _gone(reader: asyncio.StreamReader) -> None:
    while not reader.at_eof() and reader.exception() is None:  # noqa: ASYNC110  # reading might eat the next request
        await asyncio.sleep(0.005)


def whole(writer: asyncio.StreamWriter, status: int, body: bytes, headers: Sequence[http1.Header] = ()) -> bool:
    """A whole JSON answer."""
    sized = [("content-type", "application/json"), ("content-length", str(len(body))), *headers]
    writer.write(http1.answer_head(status, sized) + body)
    return True


@asynccontextmanager
async def bench_before(fault: Fault | None = None, **more: Any) -> AsyncIterator[Bench]:
    """A bench at whose gateway *fault* is; *more* are fields of its target."""
    async with Upstream(0, [*MODELS.values()]) as upstream:
        relay = Relay(upstream.port, fault or Fault())
        address = Address("127.0.0.1", await relay.start(), tls=False, prefix="")
        try:
            yield Bench(replace(Target(address, MODELS, KEY, (), 5.0), **more), upstream)  # type: ignore[arg-type]  # vendors
        finally:
            await relay.stop()


async def failing(bench: Bench, *only: str) -> dict[str, str]:
    """The checks that fail there, and what they say."""
    return {row.check: row.instead async for row in rows(bench, only) if row.state == "FAIL"}


# --- faults ------------------------------------------------------------------------------------------------


def replaced(old: bytes, new: bytes) -> Edit:
    return lambda raw: raw.replace(old, new)


def encoded_anew(change: Callable[[dict[str, Any]], None] = lambda _: None, **how: Any) -> Edit:
    """JSON read and written again, after *change*."""

    def edit(raw: bytes) -> bytes:
        if not raw.lstrip().startswith(b"{"):
            return raw
        data = json.loads(raw, **how)
        change(data)
        return json.dumps(data).encode()

    return edit


def without(name: str) -> Callable[[Any], None]:
    """Takes every member *name* away."""

    def change(data: Any) -> None:
        if isinstance(data, dict):
            data.pop(name, None)
        for each in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
            change(each)

    return change


def naive(raw: bytes, blank: bytes = b"\n\n") -> Iterator[bytes]:
    """Events as those read them who have only seen the simplest; the rest is dropped."""
    *whole_ones, _ = raw.split(blank)
    for each in whole_ones:
        lines = each.split(b"\n")
        if all(line.startswith((b"data: ", b"event: ")) for line in lines) and each.count(b"data: ") == 1:
            yield each + b"\n\n"


def by_lines_of_text(raw: bytes) -> Iterator[bytes]:
    """Lines as `str.splitlines` has them."""
    for line in raw.decode().splitlines():
        if line.startswith(("data: {", "data: [DONE]", "event: ")) and (line[:5] == "event" or line[-1] in "}]"):
            yield f"{line}\n{'' if line.startswith('event') else chr(10)}".encode()


def piece_by_piece(raw: bytes) -> bytes:
    """Takes each piece of the network for a whole event."""
    return raw if raw.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")) or len(raw) > 40 else b""


def second_lost(raw: bytes) -> list[bytes]:
    first, _, *rest = raw.split(b"\n\n")
    return [b"\n\n".join([first, *rest])]


def only_known(raw: bytes) -> list[bytes]:
    new = b'conform_new_member":{"kept":true}}'
    return [each + b"\n\n" for each in raw.split(b"\n\n") if each and new not in each]


def wants_usage(data: dict[str, Any]) -> None:
    if data.get("stream"):
        data["stream_options"] = {"include_usage": True}


FAULTS: dict[str, Fault] = {
    "adds a member to answers": Fault(("whole.json",), answer=encoded_anew(lambda data: data.update(provider="us"))),
    "writes answers anew": Fault(("whole.bytes",), answer=encoded_anew()),
    "drops what it does not know": Fault(("whole.unknown",), answer=encoded_anew(without("conform_new_member"))),
    "reads numbers as floats": Fault(("whole.numbers",), answer=encoded_anew(parse_int=float)),
    "forgets what was cached": Fault(
        ("whole.usage", "stream.usage"), answer=replaced(b'"cached_tokens":1920', b'"cached_tokens":0')
    ),
    "changes a signature": Fault(
        ("whole.thinking", "stream.thinking"), "messages", answer=replaced(b"Signed0", b"Signed1")
    ),
    "changes a seal": Fault(("whole.thinking", "stream.thinking"), "responses", answer=replaced(b"Sealed", b"sealed")),
    "unpacks vectors": Fault(
        ("whole.base64",), "embeddings", answer=replaced(b'"' + PACKED.encode() + b'"', b"[0.1,0.2]")
    ),
    "has small buffers for heads": Fault(("whole.headers", "request.headers"), head_bytes=8_192),
    "loses an event": Fault(("stream.events",), events=second_lost),
    "writes streams anew": Fault(("stream.bytes",), answer=replaced(b"data: ", b"data:")),
    "collects streams": Fault(("stream.live",), collects=True),
    "takes pieces for events": Fault(("stream.cuts",), chunk=piece_by_piece),
    "knows only simple events": Fault(
        (
            "stream.crlf",
            "stream.cr",
            "stream.bom",
            "stream.tight",
            "stream.lines",
            "stream.comments",
            "stream.fields",
            "stream.open",
        ),
        events=lambda raw: [*naive(raw)],
    ),
    "falls over pings": Fault(("stream.ping",), "messages", events=lambda raw: [] if b"event: ping" in raw else [raw]),
    "ends lines where text does": Fault(("stream.u2028",), events=lambda raw: [*by_lines_of_text(raw)]),
    "has small buffers for events": Fault(("stream.big",), events=lambda raw: [raw[: 1 << 17]]),
    "drops events it does not know": Fault(("stream.unknown",), events=only_known),
    "unescapes twice": Fault(("stream.arguments", "stream.parallel_tools"), answer=replaced(b"\\\\", b"/")),
    "counts tools from nought": Fault(("stream.parallel_tools",), answer=replaced(b'{"index":1,', b'{"index":0,')),
    "shows usage that it asked for": Fault(
        ("stream.usage_unasked", "stream.usage_null"), request=encoded_anew(wants_usage)
    ),
    "ends twice": Fault(("stream.end",), answer=replaced(b"data: [DONE]\n\n", b"data: [DONE]\n\ndata: [DONE]\n\n")),
    "adds a member to requests": Fault(("request.json",), request=encoded_anew(lambda data: data.update(user="us"))),
    "writes requests anew": Fault(("request.bytes",), request=encoded_anew()),
    "drops options it does not know": Fault(("request.unknown",), request=encoded_anew(without("conform_new_option"))),
    "drops marks for the cache": Fault(("request.history",), request=encoded_anew(without("cache_control"))),
    "trims signatures": Fault(("request.history",), "messages", request=replaced(b"abcdefABCDEF==", b"abcdefABCDEF")),
    "refuses long requests": Fault(("request.long",), body_bytes=65_536),
    "drops the query": Fault(("request.query",), "messages", query=False),
    "drops a header": Fault(("request.beta",), "messages", drops=frozenset({"anthropic-beta"})),
    "hands the key on": Fault(("request.key",), keeps=frozenset(OWN - {"authorization"})),
    "hands cookies on": Fault(("request.cookie",), keeps=frozenset(OWN - {"cookie"})),
    "has one jar for all": Fault(("cookies.jar",), jar=True),
    "sets the provider's cookies": Fault(("cookies.caller",), sets_cookies=True),
    "does not notice who has gone": Fault(("hangup.whole", "hangup.stream"), stays=True),
    "follows redirects": Fault(("redirect",), follows=True),
    "mixes streams": Fault(("parallel",), answer=replaced(b"number 7 of", b"number 8 of")),
    "closes without saying so": Fault(("keepalive",), closes=True),
    "has no other doors": Fault(("head", "models.openai", "models.anthropic"), "gateway", doors=False),
    "passes errors as they are": Fault(("error.reset", "error.html", "error.empty", "error.401"), plain_errors=True),
    "knows one error": Fault(("error.400", "error.retry_after", "error.code"), one_status=True),
    "knows no 529": Fault(("error.529",), "messages", one_status=True),
    "mends what broke": Fault(("broken.cut", "broken.short"), mends=b"data: [DONE]\n\n"),
    "hides an error in mid-stream": Fault(
        ("broken.event",), answer=replaced(b'data: {"error":{"message":"The server had', b'data: {"x":{"message":"No')
    ),
}
"""What gateways do wrong, each by its name."""


def faults_of(checks: Sequence[Any]) -> list[Any]:
    """The faults that must be seen by some of *checks*, as parameters; those that show in time only are slow."""
    names = {check.name for check in checks}
    found = {name: fault for name, fault in FAULTS.items() if names & set(fault.seen)}
    return [
        pytest.param(name, marks=[pytest.mark.slow] if fault.stays or fault.collects else [])
        for name, fault in found.items()
    ]


async def seen(name: str) -> tuple[set[str], dict[str, str]]:
    """The checks that must notice the fault *name*, and those that did."""
    fault = FAULTS[name]
    async with bench_before(fault) as bench:
        return set(fault.seen), await failing(bench, *(f"{fault.group}.{each}" for each in fault.seen))
