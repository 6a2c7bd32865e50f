"""A gateway's day as the dashboard is told of it: exchanges, figures, budgets, holds; and a feed that tells them.

All of it is invented, and happens at fixed moments, so that a screen can be compared with one that was kept.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from membrain.records import Attempt, AuditRecord, Candidate, Decision, Finding, Snapshot, Step
from membrain_cli import console
from membrain_cli.console import CommandError, Console
from membrain_cli.top.state import Start

NOW = datetime(2026, 11, 21, 14, 2, 15, tzinfo=UTC)
"""When everything here is looked at."""

HEALTH = {
    "status": "ok",
    "pid": 48213,
    "url": "http://127.0.0.1:8001",
    "auth": "token",
    "masking": "standard",
    "up_seconds": 8040.0,
    "budget_day_micros": 5_000_000,
    "providers": [
        {"name": "openai", "up": True, "where": "api.openai.com"},
        {"name": "anthropic", "up": True, "where": "api.anthropic.com"},
        {"name": "ollama", "up": True, "where": "localhost:11434", "local": True},
        {"name": "claude_cli", "up": True, "where": "claude on PATH"},
        {"name": "litellm", "up": False, "where": "", "note": "not installed"},
    ],
}

BUDGETS = [
    {"owner": "machine", "period": "day", "limit_micros": 5_000_000, "spent_micros": 1_830_000},
    {"owner": "machine", "period": "month", "limit_micros": 60_000_000, "spent_micros": 12_600_000},
]

SNAPSHOT = Snapshot(
    time="2026-11-21T14:02:15.000Z",
    up_seconds=8040.0,
    running=2,
    today=1204,
    per_minute=18.4,
    p50_ms=412.0,
    p99_ms=2200.0,
    first_p50_ms=180.0,
    cost_today_micros=1_830_000,
    masked_today=63,
    cached_today=445,
).to_dict()

HOLD = {
    "id": "a91f04c2",
    "caller": "aider",
    "project": "web",
    "seconds": 3.0,
    "labels": {"CREDIT_CARD": 1, "EMAIL": 2},
    "model": "gpt-4o",
    "places": ["messages[0].content"],
    "contexts": [
        {"place": "messages[0].content", "label": "EMAIL", "before": "mail to ", "after": " about it", "tail": "rg"},
        {
            "place": "messages[2].content",
            "label": "CREDIT_CARD",
            "before": "the card ",
            "after": ", please",
            "tail": "42",
        },
    ],
}

STEPS = tuple(
    Step(room, ms, note)
    for room, ms, note in (
        ("audit", 0.1, ""),
        ("auth", 0.2, ""),
        ("pii", 1.9, "2 found"),
        ("rate_limit", 0.1, "59 left"),
        ("budget", 0.4, "$1.83 of $5.00"),
        ("cache", 0.6, "not known"),
        ("dispatch", 188.0, ""),
    )
)

DECISION = Decision(
    "auto",
    "balanced",
    private=False,
    candidates=(
        Candidate("gpt-4o", "openai", kept=True, reason="fastest of the 2 kept"),
        Candidate("claude-sonnet-4", "anthropic", kept=True, reason="next by p50"),
        Candidate("ollama/llama3", "ollama", kept=False, reason="in no tier; by name or --private", local=True),
    ),
)


def exchange(id: str, seconds: float, model: str = "gpt-4o-mini", **more: Any) -> dict[str, Any]:
    """An exchange that came in *seconds* before `NOW` and was answered by OpenAI, unless *more* says otherwise."""
    came = NOW - timedelta(seconds=seconds)
    given: dict[str, Any] = {
        "dialect": "chat",
        "path": "/v1/chat/completions",
        "outcome": "answered",
        "status": 200,
        "provider": "openai",
        "answered_model": model,
        "ms": 388.0,
        "first_ms": 180.0,
        "prompt_tokens": 310,
        "completion_tokens": 160,
        "cost_micros": 200,
        "caller": "aider",
        "project": "web",
    }
    given |= more
    if "attempts" not in given and given["provider"] and not given.get("cached"):
        given["attempts"] = (Attempt(given["provider"], model, given["ms"]),)
    record = AuditRecord(id=id.ljust(32, "0"), time=came.isoformat(timespec="milliseconds"), model=model, **given)
    return as_told(record)


def as_told(record: AuditRecord) -> dict[str, Any]:
    """A record as JSON gives it."""
    import json

    told: dict[str, Any] = json.loads(json.dumps(record.to_dict()))
    return told


def found(*labels: str) -> dict[str, Any]:
    """The fields of an exchange in which *labels* were found, each once."""
    findings = tuple(Finding(label, "messages[0].content", "redact") for label in labels)
    return {"pii_findings_count": len(labels), "pii_labels": tuple(dict.fromkeys(labels)), "findings": findings}


FELL = (Attempt("openai", "gpt-4o", 1900.0, "provider_failed"), Attempt("anthropic", "claude-sonnet-4", 300.0))

LATELY = (
    exchange(
        "7f3a9c", 4, "claude-haiku-4-5", provider="anthropic", ms=412.0, cost_micros=900, steps=STEPS,
        decision=DECISION, **found("EMAIL", "EMAIL"),
    ),
    exchange("c02b11", 6),
    exchange("5d10ee", 11, provider="openai", cached=True, ms=3.0, cost_micros=0, saved_micros=900, **found("PHONE")),
    exchange("a91f04", 17, "ollama/llama3", provider="ollama", local=True, ms=1900.0, cost_micros=0, **found("SSN")),
    exchange("0be77d", 24, "claude-sonnet-4", provider="anthropic", ms=2200.0, cost_micros=14_100, attempts=FELL),
    exchange(
        "e4c2a8", 35, "o1", outcome="refused", error="budget_exceeded", status=402, provider=None, answered_model=None,
        ms=1.0, first_ms=None, cost_micros=None, prompt_tokens=None, completion_tokens=None, caller="ci",
    ),
    exchange("91aa07", 42, **found("CREDIT_CARD", "EMAIL")),
    exchange(
        "77b3d1", 58, outcome="failed", error="all_providers_failed", status=502, answered_model=None,
        attempts=(Attempt("openai", "gpt-4o-mini", 95.0, "provider_failed"),), cost_micros=None, first_ms=None,
    ),
    exchange("3c5e90", 71, outcome="aborted", error="client_left", ms=958.0),
    *(exchange(f"{number:06x}", 90 + number * 9, ms=300.0 + 37 * (number % 11)) for number in range(80)),
)  # fmt: skip
"""The newest first."""


def start(**more: Any) -> Start:
    """What is read when the gateway is found."""
    given: dict[str, Any] = {
        "health": HEALTH, "usage": {"saved_micros": 140_000, "budgets": BUDGETS}, "recent": LATELY, "holds": ()
    }  # fmt: skip
    return Start(**{**given, **more})


class Screen(io.StringIO):
    """A stream that says it is a terminal, of some encoding."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Ascii(Screen):
    """One that is not UTF-8."""

    encoding = "ascii"


def shell(environ: Mapping[str, str] | None = None, *, kind: type[Screen] = Screen) -> Console:
    """A console on a terminal, at `NOW`; from now on it is the current one."""
    made = Console(kind(), kind(), kind(), environ or {})
    made.clock = lambda: NOW
    console.use(made)
    return made


class Told:
    """A feed that tells what it is told to, and remembers what it was asked."""

    def __init__(self, *events: tuple[str, Any]) -> None:
        self.events: list[tuple[str, Any]] = [*events]
        self.asked: list[tuple[Any, ...]] = []
        self.holds: dict[str, Any] = {HOLD["id"]: HOLD}  # type: ignore[dict-item]  # its id is a text

    def start(self) -> None:
        """It needs no start."""

    def stop(self, seconds: float = 0.0) -> None:
        """Nor an end."""

    def drain(self) -> Iterable[tuple[str, Any]]:
        """What it was told, once."""
        told, self.events = self.events, []
        return told

    def tell(self, *events: tuple[str, Any]) -> None:
        """Have it tell *events*."""
        self.events += events

    def bring_up(self) -> None:
        """As if it started the gateway."""
        self.asked.append(("start",))
        self.tell(("up", start()))

    def hold(self, id: str) -> Any:
        """A request that waits."""
        if id not in self.holds:
            raise CommandError("It waits no longer.", [], 1)
        return self.holds[id]

    def decide(self, id: str, decision: str, *, always: bool) -> Any:
        """Remember what was decided."""
        self.asked.append((id, decision, always))
        self.tell(("held", {"id": id, "decision": decision, "always": always}))
