"""A provider on the other side of HTTP: the caller's own bytes there, the upstream's bytes back.

What each of them speaks, and where, is a table; how a dialect is read is the dialect's to know.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar

import msgspec

from membrain import sse
from membrain.dialects.base import Chunk, Json, Reader
from membrain.dialects.sealed import without_sealed
from membrain.dialects.table import DIALECTS
from membrain.egress import HOP_HEADER, Reply, Upstream
from membrain.errors import MembrainError, ProviderFailed
from membrain.providers.base import PROBE_SECONDS, Ask, NativeProvider, expect_ok, expect_type, refusal
from membrain.records import ProviderState


class HttpProvider(NativeProvider):
    """Hands the caller's bytes to its upstream, in every dialect that this speaks."""

    paths: ClassVar[Mapping[str, str]]
    """Where each dialect is spoken, from the upstream's address on."""
    forwarded: ClassVar[Sequence[str]]
    """The caller's headers that the upstream goes by."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    @property
    def is_local(self) -> bool:
        return self._upstream.is_local

    def own_name(self, model: str) -> str:
        """*model* as the upstream knows it."""
        return model

    def more(self, ask: Ask) -> dict[str, Any]:
        """What a request has to say besides what the caller said."""
        lengths = DIALECTS[ask.said.dialect].lengths
        return ask.limit(lengths[-1]) if lengths else {}

    @abstractmethod
    def failed(self, told: Json) -> MembrainError:
        """What the upstream says instead of an answer, though its status was good, as our error."""

    async def answer(self, ask: Ask) -> AsyncGenerator[Chunk, None]:
        """One whole chunk, or the upstream's events as they came."""
        said, words = without_sealed(ask.said), DIALECTS[ask.said.dialect]
        passed = (*self.forwarded, HOP_HEADER)
        reply = await self._upstream.post(
            f"{self.paths[said.dialect]}{ask.query}",
            words.request_body(said, self.own_name(ask.model), self.more(ask)),
            ask.passport,
            stream=said.stream,
            headers={name: ask.headers[name] for name in passed if name in ask.headers},
        )
        try:
            await expect_ok(self.name, reply)
            if said.stream:
                expect_type(self.name, reply, "text/event-stream")
                async with aclosing(self._events(reply, words.reader(said, self.failed))) as events:
                    async for chunk in events:
                        yield chunk
            else:
                expect_type(self.name, reply, "application/json")
                yield words.whole(await reply.read(), self.failed)
        finally:
            reply.close()

    async def _events(self, reply: Reply, reader: Reader) -> AsyncGenerator[Chunk, None]:
        splitter = sse.EventSplitter(max_event=self._upstream.egress.limits.event_bytes)
        early = _Early()
        try:
            while piece := await reply.piece():
                if not (raw := splitter.feed(piece)):
                    continue
                if speaks := reader.speaks(raw):
                    reply.heard()
                for chunk in reader.feed(early.before(raw, speaks=speaks)):
                    yield chunk
                if reader.ended:
                    reply.leave()
                    return
            rest = _closed(splitter.flush())
        except sse.EventTooLarge:
            raise ProviderFailed(f"{self.name} sent an event over the cap.", provider=self.name) from None
        if rest:
            for chunk in reader.feed(early.before(rest, speaks=True)):
                yield chunk
        if not reader.over:
            raise ProviderFailed(f"{self.name} broke off in the middle.", provider=self.name)

    async def close(self) -> None:
        await self._upstream.close()

    async def listed(self, path: str) -> Sequence[str]:
        """The ids of the models that *path* lists."""
        listing = await self._upstream.get(path, seconds=PROBE_SECONDS)
        rows = listing.get("data") if isinstance(listing, dict) else None
        return [row["id"] for row in rows or () if isinstance(row, dict) and isinstance(row.get("id"), str)]

    async def state(self) -> ProviderState:
        return ProviderState(self.name, up=True, where=self._upstream.where, local=self.is_local)


class _Early:
    """Keeps what comes before the first event: a comment is no answer, so until then there is still a second try."""

    __slots__ = ("_held", "_over")
    MOST = 64 << 10
    """Bytes that are kept; whoever only sends comments is not listened to for ever."""

    def __init__(self) -> None:
        self._held = b""
        self._over = False

    def before(self, raw: bytes, *, speaks: bool) -> bytes:
        """*raw*, with all that was kept before it once an event *speaks*; nothing until then."""
        if self._over:
            return raw
        held = self._held + raw if speaks or len(self._held) < self.MOST else self._held
        self._held, self._over = (b"", True) if speaks else (held, False)
        return held if speaks else b""


def _closed(rest: bytes) -> bytes:
    """What a stream left behind without its blank line, as an event; empty if it breaks off in the middle of one."""
    events = sse.parse(rest)
    return rest.rstrip(b"\r\n") + b"\n\n" if events and all(_is_whole(event.data) for event in events) else b""


def _is_whole(data: bytes) -> bool:
    try:
        return data.startswith(b"[DONE]") or isinstance(msgspec.json.decode(data), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def spoken_badly(name: str, told: Json) -> ProviderFailed:
    """What an upstream that speaks as OpenAI does says instead of an answer: in an object of its own, or an event."""
    error = told.get("error")
    if not error and told.get("type") == "error":
        error = {each: told.get(each) for each in ("message", "code", "param")}
    if error:
        return refusal(name, 502, msgspec.json.encode({"error": error}), {})
    problem = "failed, and did not say why" if told.get("status") == "failed" else "did not answer in JSON"
    return ProviderFailed(f"{name} {problem}.", provider=name)
