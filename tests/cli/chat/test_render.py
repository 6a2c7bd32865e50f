"""Markdown while it is written: what is given away when, and what a terminal shows of it."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.segment import Segment
from rich.style import Style

from membrain_cli.chat.render import Area, Line, Live, Page, line_of
from membrain_cli.console import CONTROLS, Console
from tests.cli.terminal import Screen, Terminal, surroundings

LONG = """\
# A long answer

A paragraph with **bold** words that goes on for more than one line, so that it has to be folded somewhere.

1. First item, which is also rather long, so that it is folded in a narrow window
2. Second item
   - nested
3. Third

```python
def fibonacci(n: int) -> int:
    return n  # a comment that makes this line longer than any window in this file is wide, on purpose, yes

```

| name | value |
|------|------:|
| one  |    22 |

> A quote that is long enough to be folded in a narrow window, as most things are in the end.

Last words, 漢字 and é.
"""

PARTS = [
    "a", "word ", "- ", "* ", "1. ", "7) ", "\n", "\n", "\n\n", "  ", "    ", "# ", "## ", "```", "```python\n", "~~~",
    "> ", "| a | b |\n", "|---|---|\n", "|", "---\n", "===", "[x](y)", "[x]: y\n", "![i](j)", "**", "*", "`", "<b>",
    "</b>", "\\", "&#27;", "&amp;", "\t", "http://a.b/c", "~~", "!", "(", ")", "漢字", "e\u0301", "\u2028", "<!--",
    "def f():\n", "'''", "x = 1  \n",
]  # fmt: skip
MARKDOWN = st.lists(st.sampled_from(PARTS), max_size=50).map("".join)


def plain(lines: list[Line]) -> list[str]:
    """*lines* without their colours."""
    return ["".join(segment.text for segment in line.segments) for line in lines]


def drawn(text: str, *, cuts: list[int] | None = None, width: int = 60) -> list[Line]:
    """All lines of *text*, given to a page in pieces that end at *cuts*."""
    page, lines, begin = Page(), [], 0
    for cut in cuts or []:
        page.add(text[begin:cut])
        begin = cut
        lines += page.take(width)[0]
    page.add(text[begin:])
    closed, still_open = page.take(width, final=True)
    assert not still_open
    return [*lines, *closed]


# --- what it looks like --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("# Title\n\ntext", ["Title", "", "text"]),
        ("one\ntwo", ["one", "two"]),
        ("- a\n- b\n  - c", [" • a", " • b", "    • c"]),
        ("3. a\n4. b", [" 3. a", " 4. b"]),
        ("1. a\n1. b\n\nend", [" 1. a", " 2. b", "", "end"]),
        ("> said\n> so", ["│ said", "│ so"]),
        ("```\ncode  [red]x[/red]\n\n\tindented\n```", ["code  [red]x[/red]", "", "    indented"]),
        ("- a\n  ```\n  code\n  ```\n- b", [" • a", "   code", " • b"]),
        ("| a | b |\n|---|--:|\n| 1 | 2 |", ["a   b", "─────", "1   2"]),
        ("[here](https://x.org/y)", ["here (https://x.org/y)"]),
        ("<https://x.org>", ["https://x.org"]),
        ("![a cat](cat.png)", ["a cat (cat.png)"]),
        ("Use <div> and <b>bold</b>.", ["Use <div> and <b>bold</b>."]),
        ("[1]: https://x.org", ["[1]: https://x.org"]),
        ("[bold]not ours[/bold] :smile:", ["[bold]not ours[/bold] :smile:"]),
        ("", []),
    ],
)
def test_markdown_is_drawn_without_hiding_anything(text: str, lines: list[str]) -> None:
    assert plain(drawn(text)) == lines


def test_emphasis_becomes_style() -> None:
    assert str(drawn("very **bold**")[0]) == "very \x1b[1mbold\x1b[0m"


def test_a_long_line_of_code_is_not_folded_by_us() -> None:
    """So that it can be copied as one line."""
    assert plain(drawn(f"```\n{'x' * 300}\n```", width=20)) == ["x" * 300]


def test_links_are_never_made_clickable() -> None:
    """A terminal link can show one address and open another."""
    assert "\x1b]8" not in "".join(map(str, drawn("[bank.example](https://evil.example)")))


# --- what is given away --------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(MARKDOWN, st.data())
def test_however_it_is_cut_the_same_lines_are_given_away(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=30)))
    width = data.draw(st.sampled_from([1, 20, 60]))
    assert plain(drawn(text, cuts=cuts, width=width)) == plain(drawn(text, width=width))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*PARTS, "\x1b[31m", "\x9b", "\x07", "\u202e", "&#x1b;", "&#x9b;"])).map("".join))
def test_no_control_byte_is_drawn_but_our_own_colours(text: str) -> None:
    """Also none that a character reference turns into."""
    assert not [line for line in drawn(text) if CONTROLS.search(re.sub(r"\x1b\[[0-9;]*m", "", str(line)))]
    assert not [line for line in drawn(text) if CONTROLS.search("".join(plain([line])))]


@pytest.mark.parametrize(
    ("before", "closing", "closed"),
    [
        ("one\n\ntwo", "\n", ["one"]),
        ("- a\n- b", "\n", [" • a"]),
        ("```\nfirst\nsec", "ond\n", ["first"]),
    ],
)
def test_what_is_closed_is_given_away_before_the_end(before: str, closing: str, closed: list[str]) -> None:
    """A block when the next has begun, an item likewise, a line of code at its end."""
    page = Page()
    page.add(before)
    early = plain(page.take(60)[0])
    page.add(closing)
    assert (early + plain(page.take(60)[0]))[: len(closed)] == closed


def test_a_block_that_may_still_change_is_kept_back() -> None:
    """The next line may make a heading of it."""
    page = Page()
    page.add("Not yet\n")
    closed, still_open = page.take(60)
    assert (closed, plain(still_open)) == ([], ["Not yet"])


LINES = st.lists(st.sampled_from(["", "a", "ab", "abc", "x y", "y"]), max_size=5)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(LINES, LINES), max_size=8))
def test_after_each_change_the_screen_shows_what_is_closed_and_then_what_is_open(
    changes: list[tuple[list[str], list[str]]],
) -> None:
    """And the cursor is where the next text belongs."""
    area, screen, given_away, still_open = Area(), Screen(50, 20), list[str](), list[str]()
    for closed, still_open in changes:
        screen.feed(area.change([line(text) for text in closed], [line(text) for text in still_open], 20))
        given_away += closed
        assert screen.text == "\n".join([*given_away, *still_open]).rstrip("\n")
    screen.feed(area.change([line(text) for text in still_open], [], 20) + "next")
    assert screen.text == "\n".join([*given_away, *still_open, "next"])


def line(text: str) -> Line:
    """*text* in a colour, if it has one."""
    return line_of([Segment(text, Style(bold="x" in text))])


# --- on a terminal -------------------------------------------------------------------------------------------

SCRIPT = """
import os, sys, time
from pathlib import Path
from membrain_cli.chat.render import Live
from membrain_cli.console import plain
text, step, pause = Path(sys.argv[1]).read_text(), int(sys.argv[2]), float(sys.argv[3])
live = Live(plain(os.environ))
for begin in range(0, len(text), step):
    live.add(text[begin:begin + step])
    time.sleep(pause)
live.close()
print("END")
"""


def live(tmp_path: Path, text: str, *, rows: int, columns: int, step: int = 9, pause: float = 0.004) -> Terminal:
    """A terminal on which *text* is being written."""
    source = tmp_path / "text.md"
    source.write_text(text)
    command = [sys.executable, "-c", SCRIPT, str(source), str(step), str(pause)]
    return Terminal(command, surroundings(tmp_path), rows=rows, columns=columns)


def folded(lines: list[str], columns: int) -> str:
    """*lines* as a terminal folds what is too long, and what stands below them."""
    rows = [line[begin : begin + columns] for line in lines for begin in range(0, max(1, len(line)), columns)]
    return "\n".join(row.rstrip() for row in [*rows, "END"])


@pytest.mark.parametrize(("rows", "columns"), [(4, 20), (12, 40), (24, 80), (60, 200)])
def test_the_screen_ends_up_as_if_it_had_been_drawn_once(tmp_path: Path, rows: int, columns: int) -> None:
    """Nothing doubled, nothing lost, also what is higher than the screen."""
    with live(tmp_path, LONG.replace("漢字", "xy"), rows=rows, columns=columns) as terminal:
        assert terminal.finish() == 0
    wanted = plain(drawn(LONG.replace("漢字", "xy"), width=min(columns - 1, 100)))
    assert terminal.screen.text == folded(wanted, columns)
    assert not terminal.screen.unknown


def test_wide_signs_do_not_disturb_the_drawing(tmp_path: Path) -> None:
    with live(tmp_path, "漢字 " * 40, rows=10, columns=30, step=2) as terminal:
        assert terminal.finish() == 0
    assert terminal.screen.text.count("漢字") == 40


def test_a_block_higher_than_the_screen_is_whole_in_the_end(tmp_path: Path) -> None:
    """Each row makes the column wider, so that all rows above it are drawn anew."""
    words = ["x" * number for number in range(1, 31)]
    table = "| n |\n|--:|\n" + "".join(f"| {word} |\n" for word in words)
    with live(tmp_path, table, rows=8, columns=40, step=20, pause=0.02) as terminal:
        assert terminal.finish() == 0
    assert [line.strip() for line in terminal.screen.text.split("\n")[2:-1]] == words


def test_a_wider_window_meanwhile_does_no_harm(tmp_path: Path) -> None:
    with live(tmp_path, LONG, rows=12, columns=50, pause=0.02) as terminal:
        terminal.expect("goes on")
        terminal.resize(12, 70)
        terminal.expect("END")
    words = re.findall(r"\w+", LONG.partition("```")[0])
    assert [word for word in words if terminal.text.count(word) == 0] == []


def test_the_screen_is_never_wiped_as_a_whole(tmp_path: Path) -> None:
    """Terminals that keep a wiped screen in their scrollback would show the answer twice."""
    with live(tmp_path, LONG, rows=12, columns=40) as terminal:
        terminal.finish()
    assert not re.search(rb"\x1b\[[0-9]*J|\x1b\[H|\x1b\[\?1049", terminal.raw)


@pytest.mark.parametrize(("rows", "columns"), [(12, 40), (24, 80)])
def test_what_is_settled_is_written_once_and_never_drawn_again(tmp_path: Path, rows: int, columns: int) -> None:
    """However long the answer grows: hardly more bytes than it has, and no move beyond the block that is open."""
    text = LONG * 6
    with live(tmp_path, text, rows=rows, columns=columns, step=24, pause=0.003) as terminal:
        assert terminal.finish() == 0
    assert len(terminal.raw) < 3 * len(text.encode())
    ups = [int(each or 1) for each in re.findall(rb"\x1b\[([0-9]*)A", terminal.raw)]
    assert max(ups, default=0) <= 6


def test_a_terminal_that_goes_away_ends_the_drawing(tmp_path: Path) -> None:
    """The painter stops quietly; the error is met where it can be told."""
    reader, writer = os.pipe()
    os.close(reader)
    gone = os.fdopen(writer, "w", buffering=1)
    drawing = Live(Console(sys.stdin, gone, gone, {}))
    drawing.add("Hello\n\nthere\n")
    with pytest.raises(BrokenPipeError):
        drawing.close()
    with contextlib.suppress(BrokenPipeError):
        gone.close()
