"""Every failure ends in a command that mends it: no place in the source gives up without one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CLI = Path(__file__).parents[3] / "membrain_cli"
OURS = sorted([
    *(CLI / "chat").glob("*.py"),
    *(CLI / "commands" / f"{name}.py" for name in (
        "audit", "chat", "config", "keys", "local", "models", "pii", "route", "run", "up", "usage",
    )),
    CLI / "console.py", CLI / "exchange.py", CLI / "listing.py", CLI / "trail.py",
])  # fmt: skip
NAMES_IT = ("Say it with", "Did you mean")
"""Sentences that say themselves what to type."""


def without(source: str) -> list[int]:
    """The lines of *source* that fail without a word on how to mend it."""
    return [call.lineno for call in ast.walk(ast.parse(source)) if isinstance(call, ast.Call) and gives_up(call)]


def gives_up(call: ast.Call) -> bool:
    """Whether *call* makes a failure that has no remedy."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name not in {"fail", "failure", "CommandError"} or any(each in ast.unparse(call) for each in NAMES_IT):
        return False
    if name == "failure" and len(call.args) < 2:  # what reads one, and makes none
        return False
    place = {"fail": 1, "failure": 2, "CommandError": 1}[name]
    given = call.args[place : place + 1]
    return not given or (isinstance(given[0], ast.List) and not given[0].elts)


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.relative_to(CLI).as_posix())
def test_no_failure_leaves_one_without_a_command(path: Path) -> None:
    assert without(path.read_text()) == []


def test_a_failure_without_one_would_be_found() -> None:
    source = 'shell.fail("No.")\nshell.fail("No.", ("Mend it", "membrain up"))\nraise CommandError("No.", [], 1)\n'
    assert without(source) == [1, 3]
