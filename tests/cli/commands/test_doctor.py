"""`doctor`: which checks there are, how their findings are told, and which tools it knows."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

import membrain_cli.doctor
from membrain.places import Places
from membrain_cli.commands import doctor
from membrain_cli.console import Exit
from membrain_cli.doctor.finding import Check
from tests.cli.patients import found
from tests.cli.shell import invoke, membrain
from tests.served import Served
from tests.sink import Sink

# --- the whole ---------------------------------------------------------------------------------------------


def test_a_healthy_machine_is_told_so(served: Served, beside: dict[str, str], sink: Sink) -> None:
    keys = {"OPENAI_API_KEY": "sk-canary-0123456789", "ANTHROPIC_API_KEY": "sk-ant-canary-0123456789"}
    ran = invoke(["doctor"], {**beside, **keys}, tty=True)
    assert ran.status == 0
    lines = ran.out.splitlines()
    assert any(
        line.startswith("  ✓ gateway      up ") and line.endswith("same version as this command") for line in lines
    )
    assert any(line.startswith("  ✓ openai       key works, ") for line in lines)
    assert ran.err.endswith("\nAll is well.\n")
    assert "canary" not in ran.out


def test_what_is_wrong_is_told_with_what_mends_it_and_fails(environ: dict[str, str]) -> None:
    config = Places.find(environ).create().config_file
    config.write_text('[limits]\ndepth = "five"\n')
    config.chmod(0o600)
    ran = invoke(["doctor"], {**environ, "COLUMNS": "200"}, tty=True)
    assert ran.status == Exit.FAILED
    lines = ran.out.splitlines()
    broken = next(number for number, line in enumerate(lines) if line.startswith("  ✗ config"))
    assert 'config.toml line 2: limits.depth is "five"' in lines[broken]
    assert lines[broken + 1] == f"{' ' * 19}membrain config edit"
    assert ran.err.splitlines()[-1] == "1 broken, 1 to look at."


def test_what_is_only_to_be_looked_at_does_not_fail(environ: dict[str, str]) -> None:
    ran = invoke(["doctor"], environ)
    assert ran.status == 0
    assert ran.err.splitlines()[-1].endswith(" to look at.")


def test_a_pipe_gets_a_finding_a_line(environ: dict[str, str]) -> None:
    lines = [line.split("\t") for line in membrain("doctor", environ=environ).out.splitlines()]
    assert ["look", "gateway", "down", "membrain up"] in lines
    assert {line[0] for line in lines} <= {"fine", "look", "broken", "none"}


def test_json_gets_a_finding_a_line(environ: dict[str, str]) -> None:
    rows = [json.loads(line) for line in invoke(["doctor", "--json"], environ).out.splitlines()]
    assert {"state": "look", "name": "gateway", "words": "down", "remedy": "membrain up"} in rows


@pytest.mark.parametrize("check", doctor.CHECKS, ids=lambda check: check.__name__)
def test_no_check_fails_on_an_empty_machine(check: Check, environ: dict[str, str]) -> None:
    assert {finding.state for finding in found(check, environ)} <= {"fine", "look", "none"}


@pytest.mark.parametrize("check", doctor.CHECKS, ids=lambda check: check.__name__)
def test_no_check_stumbles_over_broken_settings(check: Check, environ: dict[str, str]) -> None:
    path = Places.find(environ).create().config_file
    path.write_text("nonsense")
    found(check, environ)


# --- one tool ----------------------------------------------------------------------------------------------


def test_a_tool_is_looked_at_from_its_own_side(environ: dict[str, str]) -> None:
    ran = invoke(["doctor", "cursor"], environ, tty=True)
    assert ran.status == Exit.FAILED
    assert "  ✗ address      cannot work: Cursor's own servers make the call" in ran.out
    assert "python" not in ran.out
    assert ran.err.splitlines()[-1] == "2 broken, 1 to look at."


def test_a_long_finding_goes_on_below_its_words_and_a_remedy_stays_on_one_line(environ: dict[str, str]) -> None:
    ran = invoke(["doctor", "cursor"], {**environ, "COLUMNS": "50"}, tty=True)
    lines = ran.out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("  ✗ address"))
    assert lines[first + 1].startswith(" " * 17 + "make the call")
    assert any(line.startswith(" " * 19 + "membrain run -- TOOL") for line in lines)


@pytest.mark.parametrize("tool", doctor.TOOLS)
def test_json_gets_a_finding_a_line_of_every_tool(tool: str, environ: dict[str, str]) -> None:
    ran = invoke(["doctor", tool, "--json"], {**environ, "PATH": ""})
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert all(set(row) == {"state", "name", "words", "remedy"} for row in rows)
    assert {"broken"} <= {row["state"] for row in rows}
    assert ran.status == Exit.FAILED


def test_a_tool_may_be_called_by_its_other_names(environ: dict[str, str]) -> None:
    bare = {**environ, "PATH": ""}
    assert invoke(["doctor", "Claude-Code"], bare).out == invoke(["doctor", "claude"], bare).out != ""


@pytest.mark.parametrize(
    ("typed", "guess"),
    [
        ("cluade", " Did you mean claude?"),
        ("cu", " Did you mean cursor?"),
        ("emacs", " It must be one of claude, codex, aider, cursor, sdk."),
    ],
)
def test_an_unknown_tool_is_answered_with_the_nearest(typed: str, guess: str, environ: dict[str, str]) -> None:
    ran = invoke(["doctor", typed], environ)
    said = f'✗ There is no tool "{typed}" to look at.{guess}\n  How it goes     membrain doctor --help\n'
    assert (ran.status, ran.err) == (Exit.USAGE, said)


def test_tools_are_completed() -> None:
    assert doctor.tool_names("c") == ["claude", "codex", "cursor"]


# --- every check -------------------------------------------------------------------------------------------


def checks_written() -> set[Callable[..., Any]]:
    """Every function of the doctor's rooms that is a check: it takes a patient alone, and gives findings."""
    rooms = [
        import_module(f"membrain_cli.doctor.{each.name}") for each in pkgutil.iter_modules(membrain_cli.doctor.__path__)
    ]
    wanted = {"return": "Iterator[Finding]"}
    return {
        each
        for room in rooms
        for each in vars(room).values()
        if getattr(each, "__module__", "") == room.__name__
        and {name: kind for name, kind in getattr(each, "__annotations__", {}).items() if kind != "Patient"} == wanted
        and each.__code__.co_argcount == 1
    }


def test_every_check_is_in_the_list() -> None:
    helpers = {"libraries"}  # a part of `sdk`
    written = {each for each in checks_written() if each.__name__ not in helpers}
    assert written == {*doctor.CHECKS, *doctor.TOOLS.values()}
