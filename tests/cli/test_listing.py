"""Lists that people read: prices that never lie, and lines that fit."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.records import Considered, ModelRow
from membrain_cli.console import Console, columns_of, visible
from membrain_cli.listing import Entry, aligned, dollars, entries, price, sources, wrapped
from tests.cli.shell import Screen

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z", "M"]), min_size=1, max_size=12)


def terminal(columns: int) -> Console:
    return Console(Screen(), Screen(), Screen(), {"NO_COLOR": "1", "COLUMNS": str(columns)})


def row(given: float | None, taken: float | None, source: str = "", date: str = "", *, local: bool = False) -> ModelRow:
    return ModelRow("m", "p", local, given, taken, source, date)


def lines(columns: int, *shown: Entry, apart: int = 0) -> list[str]:
    """What a terminal of so many columns shows."""
    return [visible(line) for line in entries(terminal(columns), shown, apart=apart)]


# --- prices --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "told"),
    [
        (2.5, "$2.50"),
        (15, "$15.00"),
        (0.15, "$0.15"),
        (0.075, "$0.075"),
        (1e-7, "$0.0000001"),
        (0, "$0.00"),
        (1200, "$1,200.00"),
    ],
)
def test_dollars_have_two_places_or_as_many_as_it_takes(amount: float, told: str) -> None:
    assert dollars(amount) == told


@pytest.mark.parametrize(
    ("given", "taken", "told"),
    [
        (2.5, 10, "$2.50 / $10.00"),
        (0, 0, "free"),
        (0.0, 4, "$0.00 / $4.00"),
        (None, None, "price unknown"),
        (1, None, "$1.00 / ?"),
    ],
)
def test_what_is_unknown_is_never_told_as_free(given: float | None, taken: float | None, told: str) -> None:
    assert price(row(given, taken)) == told


def test_the_sources_of_prices_are_told_the_commonest_first() -> None:
    library, guide = ("genai-prices 0.2.3", "2026-11-01"), ("provider guide", "")
    found = [("a", row(1, 2, *guide)), ("b", row(1, 2, *library)), ("c", row(1, 2, *library)), ("a", row(1, 2, *guide))]
    assert sources(found) == "Prices: genai-prices 0.2.3 2026-11-01; provider guide (a)."


def test_what_has_no_price_or_runs_here_has_no_source() -> None:
    assert sources([("a", row(None, None, "somewhere")), ("b", row(0, 0, "on this machine", local=True))]) == ""


def test_candidates_have_prices_too() -> None:
    one = Considered("m", "p", kept=True, reason="", local=False, input_price=1, output_price=2, price_source="here")
    assert (price(one), sources([("m", one)])) == ("$1.00 / $2.00", "Prices: here.")


# --- lines ---------------------------------------------------------------------------------------------------

LONG = Entry(["1  claude-sonnet-4", "anthropic"], ["$3.00 / $15.00", "", "640 ms of 12"], "first", "tier balanced")
SHORT = Entry(["   o1", "openai"], ["$15.00 / $60.00", "~$0.03", "not timed"], "dropped", "failed too often")


def test_a_list_that_fits_has_a_line_for_each() -> None:
    assert lines(110, LONG, SHORT, apart=1) == [
        "  1  claude-sonnet-4   anthropic   $3.00 / $15.00             640 ms of 12   first     tier balanced",
        "",
        "     o1                openai      $15.00 / $60.00   ~$0.03   not timed      dropped   failed too often",
    ]


def test_a_list_that_does_not_fit_has_several_lines_for_each() -> None:
    assert lines(62, LONG, SHORT, apart=1) == [
        "  1  claude-sonnet-4   anthropic   first     tier balanced",
        "    $3.00 / $15.00 · 640 ms of 12",
        "",
        "     o1                openai      dropped   failed too often",
        "    $15.00 / $60.00 · ~$0.03 · not timed",
    ]


def test_a_reason_that_does_not_fit_stands_below() -> None:
    assert lines(45, SHORT) == [
        "     o1   openai   dropped   failed too often",
        "    $15.00 / $60.00 · ~$0.03 · not timed",
    ]
    assert lines(44, SHORT) == [
        "     o1   openai   dropped",
        "    failed too often",
        "    $15.00 / $60.00 · ~$0.03 · not timed",
    ]


def test_columns_in_which_nobody_has_anything_are_left_out() -> None:
    assert aligned([["a", "", "c"], ["aa", "", ""]], edge="") == ["a    c", "aa"]


def test_wide_signs_count_as_two() -> None:
    assert aligned([["模型", "x"], ["m", "y"]]) == ["  模型   x", "  m      y"]


def test_no_sign_of_a_foreign_text_can_break_a_line() -> None:
    assert aligned([["a\nb\tc\x1b[2J", "d"]]) == ["  a b c   d"]


def test_ascii_terminals_get_ascii_signs() -> None:
    class Plain(Screen):
        encoding = "ascii"

    shell = Console(Screen(), Plain(), io.StringIO(), {"NO_COLOR": "1", "COLUMNS": "50"})
    assert all(visible(line).isascii() for line in entries(shell, [LONG]))


@given(st.lists(st.lists(WORDS, min_size=1, max_size=6).map(" ".join), max_size=6), st.integers(14, 60))
def test_nothing_is_lost_and_nothing_is_too_wide(pieces: list[str], width: int) -> None:
    told = list(wrapped(pieces, width, between=" · "))
    assert [word for line in told for word in line.split() if word != "·"] == [
        word for piece in pieces for word in piece.split() if word != "·"
    ]
    for line in told:
        assert columns_of(line) <= width or len(line.split()) == 1
