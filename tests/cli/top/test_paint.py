"""From text to the screen: our marks become styles, what is foreign becomes harmless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import ControlType, Segment
from textual.color import Color

from membrain_cli.console import CONTROLS
from membrain_cli.top.paint import Outgoing, fitted, painted, spread
from tests.cli.top.happenings import shell

NASTY = {
    "a clipboard": "\x1b]52;c;ZXZpbA==\x07x",
    "a link": "\x1b]8;;http://evil.example\x1b\\x\x1b]8;;\x1b\\",
    "a colour": "\x1b[31mx",
    "a move": "\x1b[2J\x1b[Hx",
    "8-bit CSI": "\x9b31mx",
    "8-bit OSC": "\x9d52;c;ZXZpbA==\x9cx",
    "a bell": "\x07x",
    "right to left": "\u202ex",
    "an unfinished sequence": "x\x1b]0;",
    "lines": "x\ny\tz",
}
MARKUP = [
    "[red]x[/red]",
    "[b]x",
    "[/]",
    "[@click=app.quit]x[/]",
    "[link=http://evil.example]x[/link]",
    r"\[red]x",
    "$x",
]


@pytest.mark.parametrize("text", NASTY.values(), ids=[*NASTY])
def test_what_could_drive_a_terminal_is_gone(text: str) -> None:
    shown = painted(text).plain
    assert not CONTROLS.search(shown)
    assert "\n" not in shown
    assert "x" in shown
    assert "ZXZpbA" not in shown
    assert "evil" not in shown


@pytest.mark.parametrize("text", MARKUP)
def test_markup_is_only_text(text: str) -> None:
    content = painted(text)
    assert content.plain == text
    assert not content.spans


def test_our_own_marks_become_styles() -> None:
    content = painted(f"a {shell().style('b', 'warn')} c")
    assert content.plain == "a b c"
    assert [(span.start, span.end, span.style) for span in content.spans] == [(2, 3, "$warning")]


@pytest.mark.parametrize("text", [f"\x00{'0' * 16}:bad\x00x", "\x00:bad\x00x"])
def test_a_mark_cannot_be_forged(text: str) -> None:
    content = painted(text)
    assert not [span for span in content.spans if span.style]


@given(st.text(max_size=40), st.integers(1, 40), st.booleans())
def test_a_cell_has_its_width_whatever_stands_in_it(text: str, width: int, right: bool) -> None:
    content = fitted(text, width, right=right)
    assert cell_len(content.plain) == width
    assert not CONTROLS.search(content.plain)


@given(st.text(max_size=40), st.text(max_size=20), st.integers(1, 60))
def test_a_line_with_two_ends_has_its_width(left: str, right: str, width: int) -> None:
    assert cell_len(spread(left, right, width).plain) == width


def test_what_does_not_fit_is_seen_to_be_cut() -> None:
    assert fitted("claude-sonnet-4", 8).plain == "claude-…"


# --- the last gate -------------------------------------------------------------------------------------------

BLACK = Color(0, 0, 0)


def let_out(text: str, *, ascii: bool) -> str:
    return "".join(segment.text for segment in Outgoing(ascii=ascii).apply([Segment(text)], BLACK))


@given(st.text())
def test_no_control_byte_goes_out(text: str) -> None:
    assert not CONTROLS.search(let_out(text, ascii=False).replace("\n", ""))


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cc", "Cs", "Cf"])))
def test_where_only_ascii_is_understood_only_ascii_goes_out_as_wide_as_it_was(text: str) -> None:
    out = let_out(text, ascii=True)
    assert out.isascii()
    assert len(out) == cell_len(text)


def test_frames_bars_and_signs_have_twins() -> None:
    assert let_out("╭─●█▍·…↷│", ascii=True) == "+-*#|-.>|"


def test_textuals_own_sequences_pass() -> None:
    control = Segment("\x1b[2J", None, [(ControlType.CLEAR,)])
    assert Outgoing(ascii=True).apply([control], BLACK) == [control]


def test_what_is_harmless_is_not_touched() -> None:
    segment = Segment("gpt-4o")
    assert Outgoing(ascii=True).apply([segment], BLACK)[0] is segment
