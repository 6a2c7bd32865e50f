"""Anthropic: messages on the wire, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from membrain.dialects.base import Json
from membrain.dialects.chat_from_messages import failure
from membrain.dialects.chat_to_messages import DEFAULT_MAX_TOKENS
from membrain.errors import ProviderFailed
from membrain.providers.base import FORWARDED, Ask
from membrain.providers.http import HttpProvider

VERSION = "2023-06-01"
"""Of the API we speak, sent as `anthropic-version` where the caller does not say."""


class AnthropicProvider(HttpProvider):
    """Hands the caller's bytes on, in messages; what was said in another dialect is translated before."""

    name: ClassVar[str] = "anthropic"
    paths: ClassVar[Mapping[str, str]] = {"messages": "/v1/messages", "count_tokens": "/v1/messages/count_tokens"}
    forwarded: ClassVar[Sequence[str]] = FORWARDED["messages"]

    def speaks(self, model: str) -> Collection[str]:  # noqa: ARG002  # all of its models do
        return self.paths

    def more(self, ask: Ask) -> dict[str, Any]:
        """The limit of the answer's length, if it is below what a translation says anyway."""
        return super().more(ask) if (ask.most_tokens or DEFAULT_MAX_TOKENS) < DEFAULT_MAX_TOKENS else {}

    def failed(self, told: Json) -> ProviderFailed:
        if told.get("error"):
            return failure(told)
        return ProviderFailed("anthropic did not answer in JSON.", provider=self.name)

    async def models(self) -> Sequence[str]:
        """What `/v1/models` lists for this key."""
        return await self.listed("/v1/models")
