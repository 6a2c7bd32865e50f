"""OpenAI, and whatever speaks its chat completions at another address."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from membrain import sse
from membrain.dialects import chat as words
from membrain.dialects.base import Chunk
from membrain.egress import HOP_HEADER, Reply, Upstream
from membrain.errors import ProviderFailed
from membrain.providers.base import (
    FORWARDED,
    PROBE_SECONDS,
    Ask,
    NativeProvider,
    expect_ok,
    expect_type,
    refusal,
)
from membrain.records import ProviderState

_FORWARDED = (*FORWARDED["chat"], HOP_HEADER)

_LENGTH = {"openai": "max_completion_tokens"}
"""What a provider calls the length of an answer, where that is not the older `max_tokens`, which is all that most know;
OpenAI's own newer models refuse it."""


class OpenAIProvider(NativeProvider):
    """Hands the caller's bytes to `/chat/completions` and the upstream's bytes back."""

    def __init__(self, upstream: Upstream, *, prefix: str = "", models: Sequence[str] = ()) -> None:
        """*prefix* is what our names for its models begin with (`ollama/`) and its own do not."""
        self.name = upstream.name  # type: ignore[misc]  # the one provider of which there are several
        self._upstream = upstream
        self._prefix = prefix
        self._listed = tuple(models)

    @property
    def is_local(self) -> bool:
        return self._upstream.is_local

    def own_name(self, model: str) -> str:
        """*model* without our prefix."""
        return model.removeprefix(self._prefix)

    async def answer(self, ask: Ask) -> AsyncGenerator[Chunk, None]:
        """One whole chunk, or the upstream's events as they came, without `[DONE]`."""
        said = ask.said
        reply = await self._upstream.post(
            "/chat/completions",
            words.request_body(said, self.own_name(ask.model), ask.limit(_LENGTH.get(self.name, "max_tokens"))),
            ask.passport,
            stream=said.stream,
            headers={name: ask.headers[name] for name in _FORWARDED if name in ask.headers},
        )
        try:
            await expect_ok(self.name, reply)
            if said.stream:
                expect_type(self.name, reply, "text/event-stream")
                async with aclosing(self._events(reply, hide=not words.wants_usage(said))) as events:
                    async for chunk in events:
                        yield chunk
            else:
                yield await self._whole(reply)
        finally:
            reply.close()

    async def _whole(self, reply: Reply) -> Chunk:
        expect_type(self.name, reply, "application/json")
        raw = await reply.read()
        try:
            data = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            data = None
        if not isinstance(data, dict):
            raise ProviderFailed(f"{self.name} did not answer in JSON.", provider=self.name)
        if data.get("error") and not data.get("choices"):
            raise refusal(self.name, 502, raw, {})
        return Chunk(raw, whole=True, tokens=words.tokens_of(data.get("usage")), model=words.model_of(data))

    async def _events(self, reply: Reply, *, hide: bool) -> AsyncGenerator[Chunk, None]:
        splitter = sse.EventSplitter(max_event=self._upstream.egress.limits.event_bytes)
        begun = finished = False
        try:
            while piece := await reply.piece():
                raw, ended = words.without_end(splitter.feed(piece))
                if b"data:" in raw:
                    reply.heard()
                    begun = True
                    finished = finished or words.finishes(raw)
                if raw and begun:  # a comment is no answer: before the first event there is still a second try
                    yield self._chunk(raw, hide=hide)
                if ended:
                    reply.leave()
                    return
        except sse.EventTooLarge:
            raise ProviderFailed(f"{self.name} sent an event over the cap.", provider=self.name) from None
        raw, ended = words.without_end(splitter.flush())
        if raw:
            yield self._chunk(raw + b"\n\n", hide=hide)
        if not (ended or finished or words.finishes(raw)):
            raise ProviderFailed(f"{self.name} broke off in the middle.", provider=self.name)

    def _chunk(self, raw: bytes, *, hide: bool) -> Chunk:
        if (told := words.error_in(raw)) is not None:
            raise refusal(self.name, 502, msgspec.json.encode({"error": told}), {})
        raw, tokens = words.usage_in(raw, hide=hide)
        return Chunk(raw, tokens=tokens)

    async def close(self) -> None:
        await self._upstream.close()

    async def ping(self) -> None:
        await self._upstream.get("/models", seconds=PROBE_SECONDS)  # also where the settings list its models

    async def models(self) -> Sequence[str]:
        """What `/models` lists, or what the settings say it serves."""
        if self._listed:
            return self._listed
        listing = await self._upstream.get("/models", seconds=PROBE_SECONDS)
        rows = listing.get("data") if isinstance(listing, dict) else None
        return [row["id"] for row in rows or () if isinstance(row, dict) and isinstance(row.get("id"), str)]

    async def state(self) -> ProviderState:
        return ProviderState(self.name, up=True, where=self._upstream.where, models=self._listed, local=self.is_local)
