"""Who may serve a model, by its name: one table, read by the router and by the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """Names that *matches* accepts are served by the first of *providers* that is registered."""

    matches: Callable[[str], bool]
    providers: tuple[str, ...]


def _begins(*prefixes: str) -> Callable[[str], bool]:
    return lambda model: model.startswith(prefixes)


def _is(*names: str) -> Callable[[str], bool]:
    return lambda model: model in names


def _any(_: str) -> bool:
    return True


RESOLUTION: tuple[Rule, ...] = (
    Rule(_begins("ollama/", "ollama:"), ("ollama",)),
    Rule(_begins("local/"), ("local",)),
    Rule(_begins("gpt", "o1", "o3"), ("openai", "litellm")),
    Rule(_begins("claude"), ("anthropic", "claude_cli")),
    Rule(_is("auto", "default", "sonnet", "opus", "haiku"), ("claude_cli", "anthropic")),
    Rule(_any, ("litellm", "openai", "claude_cli")),
)
"""First match wins. The last row catches every other name."""

CATCH_ALL = RESOLUTION[-1]


def rule_for(model: str) -> Rule:
    """The row that *model* falls under."""
    return next(rule for rule in RESOLUTION if rule.matches(model))
