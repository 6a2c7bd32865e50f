"""Records made up for the tests of the stores."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from membrain.places import Places
from membrain.records import Attempt, AuditRecord, Candidate, ClientKey, Decision, Outcome, Step

KEY = b"k" * 32
"""What the audit is sealed with."""

DAWN = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
GATEWAY = Path(__file__).parents[3] / "gateway"

_numbers = itertools.count(1)


def moment(seconds: float) -> str:
    """So many seconds after dawn, as records tell time."""
    return (DAWN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def an_intent(id: str = "", seconds: float = 0.0, **fields: Any) -> AuditRecord:
    """An exchange as it comes in."""
    given = {"dialect": "chat", "path": "/v1/chat/completions", "model": "gpt-4o-mini", "caller": "aider"} | fields
    return AuditRecord(id=id or f"{next(_numbers):06x}-made-up", time=moment(seconds), **given)


def an_outcome(intent: AuditRecord, **fields: Any) -> AuditRecord:
    """How it ended, with something in every field."""
    given: dict[str, Any] = {
        "outcome": Outcome.ANSWERED,
        "status": 200,
        "stream": True,
        "private": True,
        "tier": "fast",
        "user": "somebody",
        "answered_model": "claude-haiku-4-5-20251001",
        "provider": "anthropic",
        "local": True,
        "ms": 412.5,
        "first_ms": 180.25,
        "prompt_tokens": 310,
        "completion_tokens": 160,
        "cached_tokens": 12,
        "reasoning_tokens": 7,
        "estimated": True,
        "cost_micros": 900,
        "pii_findings_count": 3,
        "pii_labels": ("email", "phone"),
        "attempts": (Attempt("openai", "gpt-4o-mini", 100.0, "timeout"), Attempt("anthropic", "claude", 300.0)),
        "steps": (Step("pii", 1.9, "2 found"), Step("dispatch", 408.0)),
        "decision": Decision("auto", "fast", True, (Candidate("claude", "anthropic", kept=True, reason="cheapest"),)),
    }
    return replace(intent, **(given | fields))


def a_key(id: str = "k1", **fields: Any) -> ClientKey:
    """A client key as it is kept."""
    given = {"name": "aider", "digest": f"digest-of-{id}", "tail": "abcd", "project": "web", "created": moment(0)}
    return ClientKey(id=id, **(given | fields))


def places_beside(database: Path) -> Places:
    """An instance's places whose data are where *database* is."""
    return Places(database.parent / "config", database.parent, database.parent / "state")


def start_child(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process of the test's own, which can import the gateway and these records."""
    paths = [str(GATEWAY), str(GATEWAY.parent)]
    begin = f"import sys; sys.path[:0] = {paths!r}\n"
    return subprocess.Popen(
        [sys.executable, "-c", begin + script, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def ask_child(script: str, *arguments: object) -> Any:
    """What such a process printed last, as data; it must end well."""
    with start_child(script, *arguments) as child:
        said, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    return json.loads(said.splitlines()[-1])
