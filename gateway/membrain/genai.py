"""Our record's fields in the words of OpenTelemetry's conventions for generative AI: one table, for all who speak them.

The conventions still move, so their names stand here and nowhere else. What has no name there has one of ours, which
begins with `membrain.`. Knows neither the SDK nor a wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from membrain.records import AuditRecord

OPERATION: Final = "gen_ai.operation.name"
_CHAT: Final = "chat"
_OPERATIONS: Final[Mapping[str, str]] = {
    "completions": "text_completion",
    "embeddings": "embeddings",
    "moderations": "moderations",
    "count_tokens": "count_tokens",
}
"""What an exchange is, by its dialect, where it is no chat. The last two have no name in the conventions."""
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  # the name of an attribute
NOBODY: Final = "membrain"
"""Who answered, where no provider did: we did, from the cache or with a refusal."""

DURATIONS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Upper bounds of the buckets for times, in seconds, as the conventions advise."""
SIZES: Final = tuple(4**power for power in range(14))
"""Upper bounds of the buckets for counts of tokens, likewise."""

GENAI: Mapping[str, str] = {
    "id": "membrain.exchange.id",
    "time": "membrain.time",
    "dialect": "membrain.dialect",
    "path": "url.path",
    "model": "gen_ai.request.model",
    "stream": "gen_ai.request.stream",
    "private": "membrain.private",
    "tier": "membrain.tier",
    "caller": "membrain.caller",
    "key_id": "membrain.key.id",
    "project": "membrain.project",
    "user": "user.id",
    "answered_model": "gen_ai.response.model",
    "provider": "gen_ai.provider.name",
    "local": "membrain.local",
    "outcome": "membrain.outcome",
    "status": "http.response.status_code",
    "error": "error.type",
    "ms": "gen_ai.client.operation.duration",
    "first_ms": "gen_ai.response.time_to_first_chunk",
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "written_tokens": "gen_ai.usage.cache_creation.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "estimated": "membrain.usage.estimated",
    "cost_micros": "membrain.cost.micros",
    "cached": "membrain.cache.hit",
    "saved_micros": "membrain.cache.saved_micros",
    "reserved_micros": "membrain.budget.reserved_micros",
    "sent_sha256": "membrain.sent.sha256",
    "pii_findings_count": "membrain.pii.findings",
    "pii_labels": "membrain.pii.labels",
    "findings": "membrain.pii.places",
    "answer_labels": "membrain.pii.answer_labels",
    "attempts": "membrain.attempts",
    "steps": "membrain.steps",
    "decision": "membrain.decision",
}
"""Each field of `AuditRecord`, and its name there."""

SECONDS: frozenset[str] = frozenset({"ms", "first_ms"})
"""Fields in milliseconds that the conventions tell in seconds."""

ON_A_SPAN: tuple[str, ...] = (
    *("id", "dialect", "model", "stream", "private", "tier", "project", "answered_model", "provider", "local"),
    *("outcome", "status", "error", "first_ms", "prompt_tokens", "completion_tokens", "cached_tokens"),
    *("written_tokens", "reasoning_tokens", "estimated", "cost_micros", "cached", "saved_micros"),
    *("pii_findings_count", "pii_labels"),
)
"""What leaves with a trace. Not who asked: neither the key, nor its name, nor the caller's own label."""


def named(row: Mapping[str, Any]) -> dict[str, Any]:
    """A record's data (`AuditRecord.to_dict`) under the names of the conventions, times in their units."""
    return {
        GENAI[name]: value / 1000 if name in SECONDS and value is not None else value for name, value in row.items()
    }


def attributes(record: AuditRecord) -> dict[str, Any]:
    """What a span says of *record*; what is not known is left out."""
    row = {name: value for name in ON_A_SPAN if (value := getattr(record, name)) is not None}
    return {OPERATION: operation(record), **named(row), GENAI["provider"]: who(record)}


def operation(record: AuditRecord) -> str:
    """What was asked for; a chat, in whatever dialect of those that chat."""
    return _OPERATIONS.get(record.dialect, _CHAT)


def who(record: AuditRecord) -> str:
    """The provider that answered, else the one that was tried last, else ourselves."""
    return record.provider or (record.attempts[-1].provider if record.attempts else NOBODY)
