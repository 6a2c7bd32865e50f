"""`membrain usage`: what was asked and what it cost, read from the files while the gateway is down."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from membrain.places import Places
from membrain.stores.base import Balance
from membrain.stores.usage import told
from membrain_cli.commands.usage import bar_of, budgets
from membrain_cli.console import Console, Exit, visible
from membrain_cli.reach import Reach
from tests.cli.shell import Ran, Screen, invoke
from tests.gateway.stores.summed import NOON, a_file, a_row

NOW = NOON + timedelta(hours=1)


@pytest.fixture
def busy(environ: dict[str, str]) -> dict[str, str]:
    """The environment of somebody who asked a few things, and whose gateway is down."""
    big = {"prompt_tokens": 401_220, "completion_tokens": 88_104}
    rows = [
        a_row(answered_model="claude-sonnet-4", provider="anthropic", cost_micros=2_530_000, **big),
        a_row(answered_model="gpt-4o", cost_micros=820_000, project="api"),
        a_row(answered_model="gpt-4o", cost_micros=None, caller="robot"),
        a_row(answered_model="ollama/llama3", provider="ollama", cost_micros=0, caller="local"),
        a_row(answered_model=None, provider=None, outcome="refused", prompt_tokens=None, completion_tokens=None)
        | {"cost_micros": None},
        a_row(NOON - timedelta(days=8), answered_model="old-model"),
    ]
    a_file(home_of(environ), *rows)
    return environ


def home_of(environ: dict[str, str]) -> Path:
    """Where the audit is, in a folder that exists."""
    return Places.find(environ).create().database


def ask(environ: dict[str, str], *argv: str, **how: Any) -> Ran:
    """Run `membrain usage` an hour after noon."""
    return invoke(["usage", *argv], environ, now=NOW, **how)


def rows_of(ran: Ran) -> dict[str, dict[str, Any]]:
    """The sums that were told as JSON, by name."""
    assert ran.status == 0, ran.err
    return {row["name"]: row for row in json.loads(ran.out)["rows"]}


# --- for people ----------------------------------------------------------------------------------------------


def test_a_person_sees_the_dearest_first_with_their_shares(busy: dict[str, str]) -> None:
    seen = ask({**busy, "COLUMNS": "100"}, tty=True)
    assert seen.out.splitlines() == [
        "  model             exchanges   tokens in       out      cost   share",
        "  claude-sonnet-4           1     401,220    88,104     $2.53   █████████···    76 %",
        "  gpt-4o                    2       2,000       200     $0.82   ███·········    24 %",
        "  ollama/llama3             1       1,000       100         ·   ············",
        "  (no answer)               1           0         0         ·   ············",
    ]
    assert "1 answer at an unknown price: not in the cost." in seen.err
    assert "5 exchanges since 2026-11-14" in seen.err


def test_a_narrow_terminal_gets_the_shares_without_bars(busy: dict[str, str]) -> None:
    seen = ask({**busy, "COLUMNS": "80"}, tty=True)
    assert max(map(len, seen.out.splitlines())) <= 80
    assert "█" not in seen.out
    assert "76 %" in seen.out


def test_what_the_cache_saved_is_a_line_of_its_own(environ: dict[str, str]) -> None:
    a_file(home_of(environ), a_row(), a_row(cached=1, cost_micros=0, saved_micros=910_000))
    saved = [line for line in ask(environ, tty=True).out.splitlines() if "saved by cache" in line]
    assert len(saved) == 1
    assert not [line for line in ask(environ).out.splitlines() if "saved" in line], "a sum is no row for a program"


def test_nothing_asked_is_said_and_is_no_failure(environ: dict[str, str]) -> None:
    a_file(home_of(environ))
    seen = ask(environ, tty=True)
    assert (seen.status, seen.out) == (0, "")
    assert "Nothing was asked since 2026-11-14" in seen.err


def test_before_the_first_start_it_says_how_to_begin(environ: dict[str, str]) -> None:
    seen = ask(environ)
    assert seen.status == Exit.FAILED
    assert "There is no audit yet." in seen.err
    assert "membrain up" in seen.err


class Ascii(Screen):
    """A terminal of before."""

    encoding = "ascii"


@pytest.mark.parametrize(
    ("part", "bar", "plain"),
    [
        (0, "····", "...."),
        (0.5, "██··", "##.."),
        (0.53, "██▏·", "##.."),
        (1, "████", "####"),
        (7, "████", "####"),
        (-1, "····", "...."),
    ],
)
def test_a_bar_is_as_long_as_its_share(part: float, bar: str, plain: str) -> None:
    assert bar_of(Console(Screen(), Screen(), Screen(), {}), part, 4) == bar
    assert bar_of(Console(Ascii(), Ascii(), Ascii(), {}), part, 4) == plain


# --- budgets -------------------------------------------------------------------------------------------------


def test_budgets_tell_what_is_left_held_and_coming(busy: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    balances = [
        Balance("machine", "2026-11-21", 5_000_000, 1_830_000, 0, 36),
        Balance("machine", "2026-11", 60_000_000, 12_600_000, 40_000, 21),
        Balance("project:web", "total", 1_000_000, 1_000_000, 0, 100),
    ]
    real = Reach.usage_by

    def budgeted(self: Reach, asked: Any, now: Any) -> Any:
        return {**real(self, asked, now), "budgets": [told(each, now) for each in balances]}

    monkeypatch.setattr(Reach, "usage_by", budgeted)
    lines = ask({**busy, "COLUMNS": "120"}, tty=True).out.splitlines()
    ahead = "by the end at this pace"
    assert lines[-4:] == [
        "",
        f"  day                    ███████▎············   $1.83 of $5.00, about $3.38 {ahead}",
        f"  month                  ████▎···············   $12.60 of $60.00, $0.04 held, about $18 {ahead}",
        "  web (project), total   ████████████████████   $1.00 of $1.00",
    ]


# --- for programs --------------------------------------------------------------------------------------------


def test_a_program_gets_one_object_with_everything(busy: dict[str, str]) -> None:
    found = json.loads(ask(busy, "--json").out)
    assert (found["by"], found["exchanges"], found["cost_micros"], found["unpriced"]) == ("model", 5, 3_350_000, 1)
    assert found["budgets"] == []
    assert [row["name"] for row in found["rows"]] == ["claude-sonnet-4", "gpt-4o", "ollama/llama3", ""]


def test_a_pipe_gets_tabs_and_whole_numbers(busy: dict[str, str]) -> None:
    lines = ask(busy).out.splitlines()
    assert lines[0].split("\t") == ["claude-sonnet-4", "1", "401220", "88104", "2530000", "75.5"]
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("provider", {"anthropic", "openai", "ollama", ""}),
        ("key", {"aider", "robot", "local"}),
        ("caller", {"aider", "robot", "local"}),
        ("project", {"web", "api"}),
        ("day", {"2026-11-21"}),
        ("outcome", {"answered", "refused"}),
    ],
)
def test_one_may_sum_by_this_and_that(busy: dict[str, str], by: str, names: set[str]) -> None:
    assert set(rows_of(ask(busy, "--by", by, "--json"))) == names


def test_times_and_a_project_narrow_it(busy: dict[str, str]) -> None:
    assert "old-model" in rows_of(ask(busy, "--since", "30d", "--json"))
    assert set(rows_of(ask(busy, "--since", "30d", "--until", "7d", "--json"))) == {"old-model"}
    assert set(rows_of(ask(busy, "--project", "api", "--json"))) == {"gpt-4o"}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--by", "moon"], '"moon" is nothing to sum by; it must be one of model, provider, key'),
        (["--since", "soon"], '"soon" is no time'),
    ],
)
def test_what_makes_no_sense_is_a_matter_of_usage(busy: dict[str, str], argv: list[str], said: str) -> None:
    seen = ask(busy, *argv)
    assert (seen.status, seen.out) == (Exit.USAGE, "")
    assert said in seen.err


def test_names_cannot_drive_the_terminal(environ: dict[str, str]) -> None:
    a_file(home_of(environ), a_row(answered_model="bad\x1b]0;owned\x07\nname"))
    for how in ({"tty": True}, {}):
        out = ask(environ, **how).out
        assert "\x1b" not in out
        assert "\x07" not in out
    assert len(ask(environ).out.splitlines()) == 1


@pytest.mark.parametrize("columns", [40, 80])
def test_a_budget_without_room_for_its_bar_is_told_in_words(columns: int, environ: dict[str, str]) -> None:
    row = {"owner": "project:web", "period": "month", "percent": 21.0, "spent_micros": 12_600_000,
           "limit_micros": 60_000_000, "reserved_micros": 0, "forecast_micros": 18_000_000}  # fmt: skip
    shell = Console(Screen(), Screen(), Screen(), {"NO_COLOR": "1", "COLUMNS": str(columns)})
    lines = [visible(line) for line in budgets(shell, [row])]
    assert all(len(line) <= columns for line in lines)
    assert "about $18 by the end" in " ".join(" ".join(lines).split())
