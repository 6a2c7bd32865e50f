"""One table of names: complete, and careful about what leaves."""

from __future__ import annotations

from dataclasses import fields

import pytest

from membrain.genai import GENAI, ON_A_SPAN, attributes, named, operation, who
from membrain.records import Attempt, AuditRecord, Outcome


def a_record(**given: object) -> AuditRecord:
    """An answered exchange."""
    fields = {"caller": "aider", "key_id": "k1", "user": "ada@example.org", "outcome": Outcome.ANSWERED}
    fields |= {"answered_model": "gpt-4o-2024-08-06", "provider": "openai", "first_ms": 250.0, "pii_labels": ("EMAIL",)}
    return AuditRecord("x1", "2026-11-22T06:00:00.000Z", "chat", "/v1", "gpt-4o", **{**fields, **given})  # type: ignore[arg-type]  # of mixed kinds


def test_every_field_of_a_record_has_a_name_and_no_two_share_one() -> None:
    assert set(GENAI) == {field.name for field in fields(AuditRecord)}
    assert len(set(GENAI.values())) == len(GENAI)


def test_the_names_are_those_of_the_conventions() -> None:
    assert [GENAI[name] for name in ("model", "answered_model", "provider", "prompt_tokens", "cached_tokens")] == [
        "gen_ai.request.model",
        "gen_ai.response.model",
        "gen_ai.provider.name",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.cache_read.input_tokens",
    ]


def test_what_has_no_name_there_is_marked_as_ours() -> None:
    known = ("gen_ai.", "membrain.", "error.", "http.", "url.", "user.")
    assert all(name.startswith(known) for name in GENAI.values())


def test_times_are_told_in_seconds() -> None:
    found = named({"ms": 1_500.0, "first_ms": None, "cost_micros": 1_500})
    assert found == {
        "gen_ai.client.operation.duration": 1.5,
        "gen_ai.response.time_to_first_chunk": None,
        "membrain.cost.micros": 1_500,
    }


def test_a_span_says_what_was_asked_and_not_by_whom() -> None:
    found = attributes(a_record())
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.response.model"] == "gpt-4o-2024-08-06"
    assert found["gen_ai.response.time_to_first_chunk"] == 0.25
    assert not {"caller", "key_id", "user", "findings", "decision"} & set(ON_A_SPAN)
    assert not {"aider", "k1", "ada@example.org"} & {str(value) for value in found.values()}


def test_what_is_not_known_is_left_out() -> None:
    found = attributes(a_record())
    assert "gen_ai.usage.input_tokens" not in found
    assert "error.type" not in found
    assert None not in found.values()


def test_somebody_is_always_named_as_the_provider() -> None:
    tried = (Attempt("ollama", "llama3", 1.0, "timeout"), Attempt("anthropic", "claude", 2.0, "overloaded"))
    assert who(a_record()) == "openai"
    assert who(a_record(provider=None, attempts=tried)) == "anthropic"
    assert who(a_record(provider=None)) == "membrain"


@pytest.mark.parametrize(
    ("dialect", "named"),
    [("chat", "chat"), ("messages", "chat"), ("completions", "text_completion"), ("embeddings", "embeddings")],
)
def test_an_operation_is_named_by_what_was_asked_for(dialect: str, named: str) -> None:
    record = AuditRecord(id="1", time="2026-11-22T00:00:00Z", dialect=dialect, path="/v1/x", model="m")
    assert operation(record) == attributes(record)["gen_ai.operation.name"] == named
