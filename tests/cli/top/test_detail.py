"""An open exchange, as text: its milliseconds and its reasons, in the words of the other commands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.records import AuditRecord
from membrain_cli.console import columns_of, visible
from membrain_cli.top import detail
from tests.cli.top.happenings import LATELY, Ascii, shell

OPEN = AuditRecord.from_dict(LATELY[0])
FELL = AuditRecord.from_dict(LATELY[4])
REFUSED = AuditRecord.from_dict(LATELY[5])


@pytest.fixture(autouse=True)
def _console() -> None:
    shell()


def page(record: AuditRecord, width: int = 79) -> list[str]:
    return [visible(f"{left} {right}").strip() for left, right in detail.page(shell(), record, width)]


def test_the_head_says_what_was_asked_and_what_it_came_to() -> None:
    assert page(OPEN)[0] == "claude-haiku-4-5, by name  →  anthropic 310 in  160 out  $0.0009"
    assert page(REFUSED)[0] == "o1, by name  →  budget exceeded ·"


def test_a_fallback_is_told_with_whom_it_began() -> None:
    told = page(FELL)
    assert told[0].startswith("claude-sonnet-4, by name  →  openai ↷ anthropic")
    assert "tried       gpt-4o at openai: provider failed, 1.9 s" in told


def test_what_was_found_is_told_by_label_and_place_only() -> None:
    assert [line for line in page(OPEN) if "EMAIL" in line] == ["pii         2 EMAIL (masked)"]


def test_each_room_has_its_line_and_its_word() -> None:
    told = page(OPEN)
    assert [line.split()[0] for line in told[4:11]] == [step.room for step in OPEN.steps]
    assert told[7].endswith("0.1 ms   59 left")
    assert told[10].endswith("188.0 ms   first 180 ms")


@given(st.floats(0, 1000), st.floats(0, 1000), st.floats(0, 2000), st.integers(8, 80), st.booleans(), st.booleans())
def test_a_bar_stays_within_its_columns(
    begun: float, ms: float, total: float, width: int, streams: bool, unicode: bool
) -> None:
    made = shell() if unicode else shell(kind=Ascii)
    drawn = detail.bar(made, (begun, ms, total), width, streams=streams)
    assert 1 <= len(drawn.strip()) <= width
    assert len(drawn) == width if streams else len(drawn) <= width


@pytest.mark.parametrize("width", [20, 38, 60, 79, 140])
def test_a_line_of_the_waterfall_is_as_wide_as_there_is_room(width: int) -> None:
    told = [visible(line) for line in detail.waterfall(shell(), OPEN, width)]
    assert all(columns_of(line) <= max(width, detail.ROOM + 16 + detail.NOTE) for line in told)
    assert any("█" in line for line in told) == (width >= 60)


def test_an_exchange_that_took_no_time_has_bars_too() -> None:
    nothing = AuditRecord.from_dict({**LATELY[0], "ms": 0.0, "steps": [{"room": "auth", "ms": 0.0, "note": ""}]})
    assert [*detail.waterfall(shell(), nothing, 79)]


def test_why_is_the_reason_of_who_was_asked_first() -> None:
    assert page(OPEN)[-1] == "Why this model   fastest of the 2 kept; 1 to fall back on"
    assert page(REFUSED)[-1] == "Why this model   nobody was to be asked"
    assert page(AuditRecord.from_dict(LATELY[2]))[-1].endswith("it was answered before that was asked")


def test_the_decision_shows_the_dropped_too_each_with_its_one_reason() -> None:
    told = [visible(left) for left, _ in detail.decided(shell(), OPEN)]
    assert told == [
        "auto → tier balanced · any provider · no price limit",
        "",
        "1  gpt-4o           openai          ● first     fastest of the 2 kept",
        "2  claude-sonnet-4  anthropic       ● fallback  next by p50",
        "   ollama/llama3    ollama (local)  ○ dropped   in no tier; by name or --private",
    ]
    assert [visible(left) for left, _ in detail.decided(shell(), REFUSED)] == ["nobody was to be asked"]


def test_nobody_fit_to_answer_is_a_reason_too() -> None:
    given = LATELY[0]["decision"]
    none = [{**each, "kept": False} for each in given["candidates"]]
    record = AuditRecord.from_dict({**LATELY[0], "decision": {**given, "candidates": none}})
    assert detail.why(record) == "nobody was fit to answer"


def test_the_title_says_whose_it_is() -> None:
    assert visible(detail.title(shell(), OPEN)).split(" · ")[0] == "7f3a9c"
    assert visible(detail.title(shell(), OPEN)).endswith(" · aider · web")


def test_without_utf8_it_is_ascii() -> None:
    made = shell(kind=Ascii)
    told = [part for line in detail.page(made, FELL, 79) for part in line]
    told += [part for line in detail.decided(made, OPEN) for part in line] + [detail.title(made, OPEN)]
    assert [text for text in told if not visible(text).isascii()] == []
