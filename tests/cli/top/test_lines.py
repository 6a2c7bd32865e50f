"""The words on the dashboard: as much as fits, and what matters most stays."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain_cli.console import columns_of, visible
from membrain_cli.top import lines
from membrain_cli.top.lines import Part, joined
from membrain_cli.top.state import Figures, State, Told
from tests.cli.top.happenings import (
    BUDGETS,
    HEALTH,
    HOLD,
    LATELY,
    NOW,
    SNAPSHOT,
    Ascii,
    exchange,
    found,
    shell,
    start,
)

AT = NOW.timestamp()


@pytest.fixture(autouse=True)
def _console() -> None:
    shell()


def view_of(*events: tuple[str, Any]) -> Any:
    state = State()
    for name, data in events:
        state.take(name, data)
    return state.view(AT)


PARTS = st.lists(st.builds(Part, st.text("abc", max_size=8), st.integers(0, 9)), max_size=8)


@given(PARTS, st.integers(1, 60))
def test_a_line_fits_or_is_what_matters_most_alone(parts: list[Part], width: int) -> None:
    line = joined(parts, width, "  ")
    told = [part for part in parts if part.text]
    weightiest = {part.text for part in told if part.weight == max(each.weight for each in told)}
    assert columns_of(line) <= width or line in weightiest
    assert not told or any(text in line for text in weightiest)


def head(width: int, *events: tuple[str, Any]) -> str:
    return visible(lines.head(shell(), view_of(*events), width))


def test_the_head_says_how_the_gateway_stands() -> None:
    up = ("up", start()), ("snapshot", SNAPSHOT)
    assert head(90, *up) == " membrain   ● up 2h 14m   127.0.0.1:8001   token   pii standard"
    assert head(26, *up) == " ● up 2h 14m"
    assert head(90) == " membrain   ◐ looking for the gateway"
    assert head(90, ("starting", None)) == " membrain   ◐ starting"
    assert head(90, ("down", "")) == " membrain   ○ down – press u to start it"  # noqa: RUF001  # the longer dash
    assert head(90, ("down", "Port 8001 is taken.")) == " membrain   ✗ Port 8001 is taken. – u starts it"  # noqa: RUF001


def test_a_gateway_that_masks_nothing_is_seen_to() -> None:
    told = lines.head(shell(), view_of(("up", start(health={**HEALTH, "masking": "off"}))), 90)
    assert shell().style("pii not masked", "warn") in told


def test_the_other_end_says_whether_it_moves() -> None:
    up, made = view_of(("up", start())), shell()
    assert visible(lines.motion(made, up, 900, None, 40)) == "last 15 min   ▶ live"
    assert visible(lines.motion(made, up, 300, 12, 40)) == "last 5 min   ❚❚ paused, 12 new"
    assert visible(lines.motion(made, up, 300, 12, 20)) == "❚❚ paused, 12 new"
    assert visible(lines.motion(made, view_of(("down", "")), 3600, None, 40)) == "last hour"


def test_what_waits_is_said_in_a_line() -> None:
    told = visible(lines.waits(shell(), view_of(("up", start()), ("hold", HOLD), ("hold", {**HOLD, "id": "b"}))))
    assert told == " ! aider waits for you: 1 credit card, 2 email, and 1 more   a to answer"
    assert lines.waits(shell(), view_of(("up", start()))) == ""


FIGURES = Figures(
    per_minute=18.4, today=1204, cached=445, p50=412.0, p99=2200.0, first=180.0, spent=1_830_000, limit=5_000_000,
    saved=140_000, masked=63, labels=(("EMAIL", 41), ("PHONE", 14), ("CARD", 6)),
)  # fmt: skip


def test_the_tiles_are_as_drawn() -> None:
    assert [tile.above(FIGURES) for tile in lines.TILES] == [
        "18.4 /min",
        "412 ms p50",
        "$1.83 today",
        "63 masked today",
    ]
    assert [lines.below(tile, FIGURES, 23) for tile in lines.TILES] == [
        "1,204 today, 37 % hit", "p99 2.2 s  first 180 ms", "of $5.00  saved $0.14", "email 41 phone 14",
    ]  # fmt: skip


def test_tiles_of_nothing_claim_nothing() -> None:
    assert [visible(tile.above(Figures())) for tile in lines.TILES] == [
        "0.0 /min",
        "· p50",
        "$0 today",
        "0 masked today",
    ]
    assert [visible(lines.below(tile, Figures(), 23)) for tile in lines.TILES] == ["0 today", "p99 ·  first ·", "", ""]


def test_narrow_the_tiles_are_one_line() -> None:
    assert lines.numbers(shell(), FIGURES, 60) == " 18.4 /min · 412 ms p50 · $1.83 today · 63 masked today"
    assert lines.numbers(shell(), FIGURES, 25) == " 18.4 /min · 412 ms p50"


@pytest.mark.parametrize("width", range(24, 240, 7))
def test_the_columns_fill_the_list_and_no_more(width: int) -> None:
    shown = lines.layout(width)
    assert width - 4 <= sum(size for _, size in shown) + len(shown) - 1 <= width
    assert all(size >= cell.least for cell, size in shown)


def row_of(row: dict[str, Any], width: int = 200) -> dict[str, str]:
    made = shell()
    return {cell.title.strip(): visible(cell.told(made, row)).strip() for cell, _ in lines.layout(width)}


def test_a_row_tells_who_answered_how_fast_how_dear_how_private() -> None:
    told = row_of(LATELY[0])
    assert (told[""], told["model"], told["by"], told["took"]) == ("●", "claude-haiku-4-5", "anthropic", "412 ms")
    assert (told["cost"], told["pii"], told["id"], told["caller"]) == ("$0.0009", "email 2", "7f3a9c", "aider")


@pytest.mark.parametrize(
    ("at", "sign", "by", "cost"),
    [
        (2, "●", "cache", "·"),
        (4, "●", "openai ↷ anthropic", "$0.0141"),
        (5, "!", "budget exceeded", "·"),
        (7, "✗", "openai", "·"),
        (8, "○", "openai", "$0.0002"),
    ],
)
def test_how_an_exchange_ended_is_a_sign_and_a_word(at: int, sign: str, by: str, cost: str) -> None:
    told = row_of(LATELY[at])
    assert (told[""], told["by"], told["cost"]) == (sign, by, cost)


def test_next_to_nothing_is_told_in_few_signs() -> None:
    assert row_of(exchange("aa", 5, cost_micros=7))["cost"] == "<$0.0001"
    assert row_of(exchange("aa", 5, cost_micros=None))["cost"] == "?"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (found(), "·"),
        (found("EMAIL", "PHONE"), "email 1 phone 1"),
        (found("CREDIT_CARD"), "credit card 1"),
        ({**found("EMAIL", "PHONE"), "pii_findings_count": 9}, "email, phone 9"),
    ],
)
def test_what_was_found_is_told_no_more_exactly_than_it_is_known(fields: dict[str, Any], words: str) -> None:
    assert row_of(exchange("aa", 5, **fields))["pii"] == words


def test_below_the_list_stands_how_much_of_it_is_seen() -> None:
    up = view_of(("up", start(recent=LATELY[:11])), ("snapshot", SNAPSHOT), ("dropped", 3))
    told = lines.tally(shell(), up, 4, 80, following=False, filtered=True)
    assert told == "4 of 1,204 · 3 too fast to show · 2 running · filtered · holding"
    assert lines.tally(shell(), up, 4, 24, following=True, filtered=False) == "4 of 1,204 · following"
    down = view_of(("up", start()), ("snapshot", SNAPSHOT), ("down", ""))
    assert lines.tally(shell(), down, 4, 80, following=True, filtered=False) == "4 of 1,204 · following"


def test_an_empty_list_says_why() -> None:
    assert "membrain chat" in lines.emptiness(shell(), view_of(("up", start(recent=()))), filtered=False)
    assert "filter" in lines.emptiness(shell(), view_of(("up", start())), filtered=True)
    assert visible(lines.emptiness(shell(), view_of(), filtered=False)) == ""


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (Told("openai", "up", 388.0, 0.4, False, ""), ("● openai", "388 ms", "0.4 %")),
        (Told("openai", "up", 388.0, 0.0, False, ""), ("● openai", "388 ms", "0.0 %")),
        (Told("ollama", "up", 1900.0, 0.0, True, ""), ("● ollama", "1.9 s", "local")),
        (Told("claude_cli", "slow", 4100.0, 0.0, False, ""), ("◐ claude_cli", "4.1 s", "slow")),
        (Told("litellm", "off", None, 0.0, False, "not installed"), ("○ litellm", "", "not installed")),
        (Told("litellm", "off", None, 0.0, False, ""), ("○ litellm", "", "not there")),
        (Told("openai", "up", None, 0.0, False, ""), ("● openai", "", "")),
    ],
)
def test_a_provider_is_told_in_a_line(told: Told, words: tuple[str, str, str]) -> None:
    assert tuple(visible(each) for each in lines.provider(shell(), told)) == words


def test_a_budget_is_told_on_two_lines() -> None:
    told = [visible(line) for line in lines.budget(shell(), BUDGETS[0], 27)]
    assert told == ["day    ███████▍············", "       $1.83 of $5     37 %"]
    other = {"owner": "project:web", "period": "month", "limit_micros": 0, "spent_micros": 5}
    assert visible(next(lines.budget(shell(), other, 27))) == "web (project), month"


def test_without_utf8_all_words_are_ascii() -> None:
    made = shell(kind=Ascii)
    up = view_of(("up", start()), ("snapshot", SNAPSHOT), ("hold", HOLD))
    told = [lines.head(made, up, 99), lines.motion(made, up, 900, 4, 50), lines.waits(made, up)]
    told += [lines.tally(made, up, 9, 99, following=True, filtered=True), lines.numbers(made, up.figures, 99)]
    told += [text for row in up.rows for text, _, _ in lines.row_cells(made, row, lines.layout(200))]
    told += [part for each in up.providers for part in lines.provider(made, each)]
    told += [line for each in up.budgets for line in lines.budget(made, each, 27)]
    assert [text for text in told if not visible(text).isascii()] == []
