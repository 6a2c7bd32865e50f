"""Ollama: OpenAI's wire under our own prefix, and proof that it is on this machine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from time import monotonic
from typing import Any

from membrain.dialects.base import Chunk
from membrain.egress import Upstream
from membrain.errors import MembrainError, PrivateRefused
from membrain.providers.base import Ask
from membrain.providers.openai import OpenAIProvider
from membrain.records import ProviderState

PREFIX = "ollama/"
_FRESH_SECONDS = 10.0
_PROBE_SECONDS = 2.0


class OllamaProvider(OpenAIProvider):
    """Talks to `URL/v1`. Knows which of its models are really here: names of its cloud are not local."""

    def __init__(self, upstream: Upstream, tags: Upstream) -> None:
        """*upstream* is at `URL/v1` for the answers, *tags* at `URL` for Ollama's own list."""
        super().__init__(upstream, prefix=PREFIX)
        self._tags = tags
        self._seen: tuple[float, dict[str, bool]] = (float("-inf"), {})

    def own_name(self, model: str) -> str:
        return model.removeprefix(PREFIX).removeprefix("ollama:")

    async def answer(self, ask: Ask) -> AsyncGenerator[Chunk, None]:
        """As OpenAI's, but a private exchange only if this very model is on this machine."""
        if ask.passport.private and not await self.has_here(ask.model):
            raise PrivateRefused(f"This request is private, and {ask.model} is not known to be on this machine.")
        async with aclosing(super().answer(ask)) as answer:
            async for chunk in answer:
                yield chunk

    async def has_here(self, model: str) -> bool:
        """Whether *model*'s weights are on this machine."""
        if not self.is_local:
            return False  # and nobody beyond this machine is asked
        name = self.own_name(model)
        here = await self._tagged()
        return here.get(name) or here.get(f"{name}:latest") or False

    async def ping(self) -> None:
        await self._tagged()

    async def models(self) -> Sequence[str]:
        """What is pulled, as `ollama/NAME`, those on this machine first."""
        tagged = await self._tagged()
        return [PREFIX + name for name in sorted(tagged, key=lambda name: not tagged[name])]

    async def state(self) -> ProviderState:
        where = self._upstream.where
        try:
            models = await self.models()
        except MembrainError:
            return ProviderState(self.name, up=False, where=where, note="not running", remedy="ollama serve")
        return ProviderState(
            self.name,
            up=bool(models),
            where=where,
            models=tuple(models),
            note="" if models else "no models",
            remedy="" if models else "ollama pull llama3",
            local=self.is_local,
        )

    async def close(self) -> None:
        await super().close()
        await self._tags.close()

    async def _tagged(self) -> dict[str, bool]:
        """Each model's name, and whether it runs here. Asked anew after ten seconds."""
        seen, tagged = self._seen
        if monotonic() - seen > _FRESH_SECONDS:
            listing = await self._tags.get("/api/tags", seconds=_PROBE_SECONDS)
            rows = listing.get("models") if isinstance(listing, dict) else None
            tagged = {row["name"]: _runs_here(row) for row in rows or () if _is_row(row)}
            self._seen = (monotonic(), tagged)
        return tagged


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("name"), str)


def _runs_here(row: dict[str, Any]) -> bool:
    """Ollama proxies some names, and aliases of them, to its cloud through the same port."""
    name = row["name"]
    return not (row.get("remote_host") or row.get("remote_model") or name.endswith(("-cloud", ":cloud")))
