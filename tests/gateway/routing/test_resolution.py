"""Which providers may serve a model, by its name: the documented table, row by row."""

from __future__ import annotations

import pytest

from membrain.routing.resolution import CATCH_ALL, rule_for


@pytest.mark.parametrize(
    ("model", "providers"),
    [
        ("ollama/llama3", ("ollama",)),
        ("ollama:llama3", ("ollama",)),
        ("gpt-4o", ("openai", "litellm")),
        ("gpt", ("openai", "litellm")),
        ("o1", ("openai", "litellm")),
        ("o1-preview", ("openai", "litellm")),
        ("o3-mini", ("openai", "litellm")),
        ("claude-sonnet-4-20250514", ("anthropic", "claude_cli")),
        ("auto", ("claude_cli", "anthropic")),
        ("default", ("claude_cli", "anthropic")),
        ("sonnet", ("claude_cli", "anthropic")),
        ("opus", ("claude_cli", "anthropic")),
        ("haiku", ("claude_cli", "anthropic")),
        ("gemini/gemini-pro", ("litellm", "openai", "claude_cli")),
        ("bedrock/anthropic.claude-3-sonnet", ("litellm", "openai", "claude_cli")),
        ("azure/gpt-4", ("litellm", "openai", "claude_cli")),
        ("auto-complete", ("litellm", "openai", "claude_cli")),
        ("ollama", ("litellm", "openai", "claude_cli")),
        ("GPT-4o", ("litellm", "openai", "claude_cli")),
        ("", ("litellm", "openai", "claude_cli")),
        ("local/default", ("local",)),
        ("local/anything", ("local",)),
    ],
)
def test_a_name_falls_under_its_row(model: str, providers: tuple[str, ...]) -> None:
    assert rule_for(model).providers == providers


def test_the_last_row_catches_what_no_other_does() -> None:
    assert rule_for("something-else") is CATCH_ALL
    assert "local" not in CATCH_ALL.providers
    assert "ollama" not in CATCH_ALL.providers
