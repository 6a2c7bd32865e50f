"""Anthropic: messages on the wire, chat's words towards the gateway, streamed natively both ways."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from time import time
from typing import Any, ClassVar

import msgspec

from membrain import sse
from membrain.dialects import chat as words
from membrain.dialects import chat_from_messages as messages
from membrain.dialects.base import Chunk
from membrain.dialects.chat_to_messages import DEFAULT_MAX_TOKENS
from membrain.egress import HOP_HEADER, Reply, Upstream
from membrain.errors import ProviderFailed
from membrain.providers.base import (
    FORWARDED,
    PROBE_SECONDS,
    Ask,
    NativeProvider,
    expect_ok,
    expect_type,
)
from membrain.records import ProviderState

VERSION = "2023-06-01"
"""Of the API we speak, sent as `anthropic-version`."""

_FORWARDED = (*FORWARDED["messages"], HOP_HEADER)


def _limit(ask: Ask) -> dict[str, int]:
    """The limit of the answer's length, if it is below what the translation says anyway."""
    return ask.limit() if (ask.most_tokens or DEFAULT_MAX_TOKENS) < DEFAULT_MAX_TOKENS else {}


class AnthropicProvider(NativeProvider):
    """Translates a chat request once, and each event of the answer as it arrives."""

    name: ClassVar[str] = "anthropic"

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    @property
    def is_local(self) -> bool:
        return self._upstream.is_local

    async def answer(self, ask: Ask) -> AsyncGenerator[Chunk, None]:
        """One whole chunk, or chat events made of Anthropic's."""
        said = ask.said
        body = messages.request_from_chat({**said.data, "model": ask.model, **_limit(ask)})
        headers = {name: ask.headers[name] for name in _FORWARDED if name in ask.headers}
        reply = await self._upstream.post(
            "/v1/messages", msgspec.json.encode(body), ask.passport, stream=said.stream, headers=headers
        )
        try:
            await expect_ok(self.name, reply)
            if said.stream:
                expect_type(self.name, reply, "text/event-stream")
                async with aclosing(self._events(reply, hide=not words.wants_usage(said))) as events:
                    async for chunk in events:
                        yield chunk
            else:
                expect_type(self.name, reply, "application/json")
                yield self._whole(await reply.read())
        finally:
            reply.close()

    def _whole(self, raw: bytes) -> Chunk:
        data = self._object(raw)
        if data.get("error"):
            raise messages.failure(data)
        answer = messages.chat_from_message(data, created=int(time()))
        encoded = msgspec.json.encode(answer)
        return Chunk(encoded, whole=True, tokens=words.tokens_of(answer.get("usage")), model=words.model_of(answer))

    async def _events(self, reply: Reply, *, hide: bool) -> AsyncGenerator[Chunk, None]:
        splitter = sse.EventSplitter(max_event=self._upstream.egress.limits.event_bytes)
        translator = messages.ToChatChunks(created=int(time()))
        try:
            while piece := await reply.piece():
                events = sse.parse(splitter.feed(piece))
                if any(event.name != "ping" for event in events):
                    reply.heard()
                if (chunk := self._translated(translator, events, hide=hide)) is not None:
                    yield chunk
                if translator.ended:
                    reply.leave()
                    return
            events = sse.parse(splitter.flush())
        except sse.EventTooLarge:
            raise ProviderFailed(f"{self.name} sent an event over the cap.", provider=self.name) from None
        if (chunk := self._translated(translator, events, hide=hide)) is not None:
            yield chunk
        if not translator.ended:
            raise ProviderFailed(f"{self.name} broke off in the middle.", provider=self.name)

    def _translated(
        self, translator: messages.ToChatChunks, events: Sequence[sse.Event], *, hide: bool
    ) -> Chunk | None:
        """All chat chunks that *events* give, as one piece."""
        tokens, written = None, []
        for event in events:
            for data in translator.feed(event.name, self._object(event.data)):
                tokens = words.tokens_of(data.get("usage")) or tokens
                if data["choices"] or not hide:
                    written.append(sse.encode(msgspec.json.encode(data)))
        return Chunk(b"".join(written), tokens=tokens) if written or tokens else None

    def _object(self, raw: bytes) -> dict[str, Any]:
        try:
            data = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            data = None
        if not isinstance(data, dict):
            raise ProviderFailed(f"{self.name} did not answer in JSON.", provider=self.name)
        return data

    async def close(self) -> None:
        await self._upstream.close()

    async def models(self) -> Sequence[str]:
        """What `/v1/models` lists for this key."""
        listing = await self._upstream.get("/v1/models", seconds=PROBE_SECONDS)
        rows = listing.get("data") if isinstance(listing, dict) else None
        return [row["id"] for row in rows or () if isinstance(row, dict) and isinstance(row.get("id"), str)]

    async def state(self) -> ProviderState:
        return ProviderState(self.name, up=True, where=self._upstream.where, local=self.is_local)
