"""OpenAI, and whatever speaks as it does at another address."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Final

from membrain.dialects.base import Json
from membrain.egress import Upstream
from membrain.errors import ProviderFailed
from membrain.providers.base import FORWARDED, PROBE_SECONDS, Ask, expect_ok, expect_type
from membrain.providers.http import HttpProvider, spoken_badly
from membrain.records import Passport, ProviderState

NATIVE: Final = ("chat", "responses", "completions", "embeddings", "moderations")
"""What OpenAI speaks, the best first."""

COMPATIBLE: Final = ("chat", "completions", "embeddings")
"""What others that speak like OpenAI are taken to speak."""

_LENGTH: Final = {"openai": "max_completion_tokens"}
"""What a provider calls the length of an answer in chat, where that is not the older `max_tokens`, which is all that
most know; OpenAI's own newer models refuse it."""

_SEALED: Final = frozenset({"thinking_blocks", "reasoning_items"})
_UNKNOWN: Final = {"openai": _SEALED | {"reasoning_content"}}
"""Members of a translated message that nobody can use there; by provider, where it is more than what others sealed."""

_RESPONSES_ONLY: Final = (
    "gpt-*-codex*",
    "codex-*",
    "gpt-*-pro*",
    "o1-pro*",
    "o3-pro*",
    "*-deep-research*",
    "computer-use-*",
)
"""OpenAI's models that speak nothing but responses."""


class OpenAIProvider(HttpProvider):
    """Hands the caller's bytes on, in every dialect of OpenAI's that this upstream speaks."""

    paths: ClassVar[Mapping[str, str]] = {
        "chat": "/chat/completions",
        "responses": "/responses",
        "completions": "/completions",
        "embeddings": "/embeddings",
        "moderations": "/moderations",
        "messages": "/messages",
    }
    forwarded: ClassVar[Sequence[str]] = FORWARDED["chat"]

    def __init__(
        self,
        upstream: Upstream,
        *,
        prefix: str = "",
        models: Sequence[str] = (),
        speaks: Collection[str] = COMPATIBLE,
    ) -> None:
        """*prefix* is what our names for its models begin with (`ollama/`) and its own do not; *speaks* are the
        dialects that it understands.
        """
        super().__init__(upstream)
        self.name = upstream.name  # type: ignore[misc]  # the one provider of which there are several
        self._prefix = prefix
        self._listed = tuple(models)
        self._speaks = tuple(speaks)
        if "messages" in speaks:
            self.forwarded = (*FORWARDED["chat"], *FORWARDED["messages"])  # type: ignore[misc]  # as few of them do

    def speaks(self, model: str) -> Collection[str]:
        if self.name == "openai" and any(fnmatchcase(model, each) for each in _RESPONSES_ONLY):
            return ("responses",)
        return self._speaks

    def own_name(self, model: str) -> str:
        """*model* without our prefix."""
        return model.removeprefix(self._prefix)

    def more(self, ask: Ask) -> dict[str, Any]:
        return ask.limit(_LENGTH.get(self.name, "max_tokens")) if ask.said.dialect == "chat" else super().more(ask)

    def adapted(self, dialect: str, request: Json) -> Json:
        """Less what only Anthropic or responses can read again; OpenAI refuses members that it does not know."""
        if dialect != "chat":
            return request
        unknown = _UNKNOWN.get(self.name, _SEALED)
        told = [{name: each[name] for name in each if name not in unknown} for each in request["messages"]]
        length = _LENGTH.get(self.name, "max_tokens")
        return {
            length if name == "max_tokens" else name: value for name, value in {**request, "messages": told}.items()
        }

    def failed(self, told: Json) -> ProviderFailed:
        return spoken_badly(self.name, told)

    async def stored(self, method: str, which: str, passport: Passport) -> bytes:
        """What it says to *method* about a response that it keeps: *which* is its id, and what stands behind that."""
        reply = await self._upstream.ask(method, f"{self.paths['responses']}/{which}", passport)
        try:
            await expect_ok(self.name, reply)
            expect_type(self.name, reply, "application/json")
            return await reply.read()
        finally:
            reply.close()

    async def ping(self) -> None:
        await self._upstream.get("/models", seconds=PROBE_SECONDS)  # also where the settings list its models

    async def models(self) -> Sequence[str]:
        """What `/models` lists, or what the settings say it serves."""
        if self._listed:
            return self._listed
        return await self.listed("/models")

    async def state(self) -> ProviderState:
        return ProviderState(self.name, up=True, where=self._upstream.where, models=self._listed, local=self.is_local)
