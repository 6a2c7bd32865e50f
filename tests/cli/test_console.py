"""The console: one filter for foreign text, one form for each reader."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain_cli import console as module
from membrain_cli.console import (
    Column,
    CommandError,
    Console,
    Exit,
    Filter,
    ago,
    clean,
    columns_of,
    field,
    fitted,
    folded,
    meant,
    money,
    padded,
    shortened,
    span,
    uptime,
    visible,
)

NOW = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)


class Tty(io.StringIO):
    """A text stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Latin(Tty):
    """A terminal that does not speak UTF-8."""

    encoding = "latin-1"


def console(
    *, tty: bool = True, environ: Mapping[str, str] | None = None, stdin: io.StringIO | None = None, **flags: object
) -> Console:
    kind = Tty if tty else io.StringIO
    made = Console(stdin or kind(), kind(), kind(), environ or {}, **flags)  # type: ignore[arg-type]  # flags vary
    made.clock = lambda: NOW
    return made


def out(made: Console) -> str:
    assert isinstance(made.stdout, io.StringIO)
    return made.stdout.getvalue()


def err(made: Console) -> str:
    assert isinstance(made.stderr, io.StringIO)
    return made.stderr.getvalue()


def is_control(sign: str) -> bool:
    """The same set as in the filter, told another way."""
    if sign in "\n\t":
        return False
    return unicodedata.category(sign) in {"Cc", "Cs"} or unicodedata.bidirectional(sign) in {
        "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI",
    } or sign in "\u061c\u200e\u200f"  # fmt: skip


# --- the filter --------------------------------------------------------------------------------------------

PIECES = ["\x1b", "[", "]", "52;c;", "\x07", "\x1b\\", "31m", "\x9b", "\x9d", "\u202e", "\r", "\x00", "a", "é", "\n"]
HOSTILE = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=30).map("".join)


@given(HOSTILE)
def test_no_control_sign_gets_through(text: str) -> None:
    assert not [sign for sign in clean(text) if is_control(sign)]


@given(HOSTILE, st.lists(st.integers(0, 200), max_size=6))
def test_where_a_text_is_cut_makes_no_difference(text: str, cuts: list[int]) -> None:
    """An escape sequence that comes in two chunks is dropped as a whole."""
    ends = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    keep = Filter()
    pieces = [keep(text[start:end]) for start, end in pairwise(ends)]
    assert "".join(pieces) == Filter()(text)


@given(st.text().map(lambda text: "".join(sign for sign in text if not is_control(sign))))
def test_printable_text_comes_out_as_it_went_in(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\x1b]52;c;c2VjcmV0\x07b", "ab"),
        ("a\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
        ("\x9b31mred", "red"),
        ("\x9d0;title\x9cx", "x"),
        ("\x1bP1$r0m\x1b\\x", "x"),
        ("over\rwrite", "overwrite"),
        ("safe\u202etxt.exe", "safetxt.exe"),
        ("\x1b[6n?", "?"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("\ud800", ""),
        ("\x1b(Bplain", "plain"),
    ],
)
def test_known_payloads_come_to_nothing(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_an_unfinished_sequence_does_not_swallow_the_next_line() -> None:
    """A model that opens a title and never closes it hides one line, not the answer."""
    assert clean("a\x1b]0;never closed\nthe rest") == "a\nthe rest"


def test_an_unfinished_sequence_does_not_swallow_what_cannot_belong_to_it() -> None:
    assert clean("\x1b[31é") == "é"


# --- our styles --------------------------------------------------------------------------------------------


def test_a_style_is_colour_on_a_terminal() -> None:
    made = console()
    made.out(made.style("fine", "good"))
    assert out(made) == "\x1b[32mfine\x1b[0m\n"


def test_a_style_is_nothing_in_a_pipe() -> None:
    made = console(tty=False)
    made.out(f"{made.style('fine', 'good')} and on")
    assert out(made) == "fine and on\n"


def test_a_foreign_text_cannot_bring_its_own_style() -> None:
    made = console()
    made.out(f"{made.style('ours', 'good')} \x1b[31mtheirs {module.MARK[:5]}:bad\x00")
    assert out(made) == f"\x1b[32mours\x1b[0m theirs {module.MARK[1:5]}:bad\n"


def test_a_style_cleans_what_it_styles() -> None:
    made = console()
    made.out(made.style("x\x1b]0;t\x07y", "dim"))
    assert out(made) == "\x1b[2mxy\x1b[0m\n"


@pytest.mark.parametrize(
    ("environ", "flags", "coloured"),
    [
        ({}, {}, True),
        ({"NO_COLOR": "1"}, {}, False),
        ({"NO_COLOR": ""}, {}, True),
        ({"TERM": "dumb"}, {}, False),
        ({}, {"color": "never"}, False),
        ({"NO_COLOR": "1"}, {"color": "always"}, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, {}, True),
    ],
)
def test_colour_is_off_when_asked(environ: dict[str, str], flags: dict[str, str], coloured: bool) -> None:
    made = console(environ=environ, **flags)
    assert made.coloured(made.stdout) is coloured


def test_each_stream_is_judged_alone() -> None:
    made = Console(Tty(), io.StringIO(), Tty(), {})
    made.out(made.style("x", "good"))
    made.say(made.style("x", "good"))
    assert (out(made), err(made)) == ("x\n", "\x1b[32mx\x1b[0m\n")


def test_force_color_colours_a_pipe() -> None:
    made = console(tty=False, environ={"FORCE_COLOR": "1"})
    made.out(made.style("x", "bad"))
    assert "\x1b[31m" in out(made)


def test_glyphs_have_ascii_twins() -> None:
    made = Console(Latin(), Latin(), Latin(), {"NO_COLOR": "1"})
    for name in ("up", "slow", "off", "fine", "look", "broken", "fell", "none"):
        made.out(made.glyph(name))
    assert out(made).split() == ["*", "~", "o", "ok", "!", "x", "->", "-"]


def test_a_sign_the_terminal_lacks_becomes_a_question_mark() -> None:
    made = Console(Latin(), Latin(), Latin(), {})
    made.out("snow ☃ man")
    assert out(made) == "snow ? man\n"


def test_a_prompt_brackets_its_colour_for_readline() -> None:
    """Readline counts the columns of a prompt, and must not count colour."""
    made = console()
    assert made.prompt(f"{made.style('>', 'accent')} ") == "\x01\x1b[36m\x02>\x01\x1b[0m\x02 "


def test_a_stream_keeps_its_state_between_pieces() -> None:
    made = console()
    for piece in ("a\x1b", "]0;ti", "tle\x07", "b"):
        made.write(piece)
    assert out(made) == "ab"


# --- tables ------------------------------------------------------------------------------------------------

ROWS = [{"name": "one", "when": "2026-11-21T13:56:00Z", "n": 5}, {"name": "日本", "when": None, "n": 1200}]
COLUMNS = (
    field("name", "name"),
    Column("when", lambda row: module.current().ago(row["when"]), lambda row: row["when"]),
    field("n", "n", right=True),
)


def test_a_person_gets_aligned_columns() -> None:
    made = console(environ={"NO_COLOR": "1"})
    module.use(made)
    made.table(COLUMNS, ROWS)
    assert out(made).splitlines() == [
        "  name   when           n",
        "  one    4 min ago      5",
        "  日本               1200",
    ]


def test_a_pipe_gets_tabs_whole_times_and_no_header() -> None:
    made = console(tty=False)
    made.table(COLUMNS, ROWS)
    assert out(made) == "one\t2026-11-21T13:56:00Z\t5\n日本\t\t1200\n"


def test_json_gets_the_records_one_a_line() -> None:
    made = console(json=True)
    made.table(COLUMNS, ROWS)
    assert [json.loads(line) for line in out(made).splitlines()] == ROWS


def test_a_cell_cannot_break_its_row() -> None:
    made = console(tty=False)
    made.table([field("a", "a")], [{"a": "x\ty\nz\x1b[31m"}])
    assert out(made) == "x y z\n"


def test_a_cell_on_a_terminal_stays_on_its_line() -> None:
    made = console(environ={"NO_COLOR": "1"})
    made.table([field("a", "a")], [{"a": "x\ny"}], header=False)
    assert out(made) == "  x y\n"


def test_plain_cells_tell_truth_and_nothing() -> None:
    made = console(tty=False)
    made.table([field(name, name) for name in "abc"], [{"a": True, "b": None, "c": ("x", "y")}])
    assert out(made) == "true\t\tx,y\n"


def test_json_escapes_what_could_drive_a_terminal() -> None:
    made = console(json=True)
    made.record({"said": "é \x9b31m \u202e"})
    assert json.loads(out(made)) == {"said": "é \x9b31m \u202e"}
    assert not [sign for sign in out(made) if is_control(sign)]


def test_json_leaves_other_scripts_readable() -> None:
    made = console(json=True)
    made.record({"said": "日本"})
    assert "日本" in out(made)


# --- numbers and times -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ms", "told"), [(None, ""), (3, "3 ms"), (411.6, "412 ms"), (999.6, "1.0 s"), (1900, "1.9 s"), (125_000, "2m 05s")]
)
def test_spans_are_told_in_the_unit_that_fits(ms: float | None, told: str) -> None:
    assert span(ms) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "0 s"), (12, "12 s"), (840, "14m"), (8040, "2h 14m"), (8 * 3600, "8h 00m"), (266_400, "3d 2h")],
)
def test_uptimes_are_told_short(seconds: float, told: str) -> None:
    assert uptime(seconds) == told


@pytest.mark.parametrize(
    ("micros", "exact", "told"),
    [
        (None, False, "?"),
        (0, False, "$0"),
        (20, False, "under $0.0001"),
        (900, False, "$0.0009"),
        (14_100, True, "$0.0141"),
        (14_100, False, "$0.01"),
        (1_830_000, False, "$1.83"),
        (1_204_000_000, False, "$1,204.00"),
    ],
)
def test_money_is_never_told_as_nothing_when_it_is_something(micros: int | None, exact: bool, told: str) -> None:
    assert money(micros, exact=exact) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2026-11-21T13:59:56Z", "4s ago"),
        ("2026-11-21T13:56:00+00:00", "4 min ago"),
        ("2026-11-21T12:00:00", "2 h ago"),
        ("2026-11-20T12:00:00Z", "1 day ago"),
        ("2026-11-18T12:00:00Z", "3 days ago"),
        ("2026-11-21T14:00:05Z", "0s ago"),
        ("no time", "no time"),
        (None, ""),
    ],
)
def test_times_are_told_as_how_long_ago(text: str | None, told: str) -> None:
    assert ago(text, NOW) == told


def test_old_times_are_told_as_dates() -> None:
    assert re.fullmatch(r"2026-0[89]-\d\d", ago("2026-09-01T12:00:00Z", NOW))


def test_wide_signs_take_two_columns_and_combining_ones_none() -> None:
    assert (columns_of("日本"), columns_of("e\u0301"), columns_of("ab")) == (4, 1, 2)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=8))
def test_padding_fills_to_the_width(text: str) -> None:
    assert columns_of(padded(text, 20)) == 20


# --- asking and failing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("typed", "default", "said"), [("y\n", False, True), ("\n", False, False), ("\n", True, True),
                                                        ("no\n", True, False), ("", True, False)])  # fmt: skip
def test_a_question_takes_yes_no_and_silence(typed: str, default: bool, said: bool) -> None:
    made = console(stdin=Tty(typed))
    assert made.ask("Really?", default) is said
    assert err(made).startswith("Really? [Y/n] " if default else "Really? [y/N] ")


@pytest.mark.parametrize("made", [console(tty=False), console(no_input=True)], ids=["no terminal", "--no-input"])
def test_a_question_nobody_can_answer_names_its_flag(made: Console) -> None:
    with pytest.raises(CommandError, match="--yes") as caught:
        made.ask("Really?")
    assert caught.value.code == Exit.USAGE


def test_a_secret_nobody_can_type_names_its_flag() -> None:
    with pytest.raises(CommandError, match="--stdin"):
        console(tty=False).secret("Key:")


def test_a_failure_has_three_parts() -> None:
    made = console(tty=False)
    with pytest.raises(CommandError) as caught:
        made.fail("Port 8001 is taken.", ("Use another", "membrain up --port 8002"), ("For good", "x"), detail=["why"])
    made.show_failure(caught.value)
    assert err(made).splitlines() == [
        "✗ Port 8001 is taken.",
        "  why",
        "  Use another     membrain up --port 8002",
        "  For good        x",
    ]


def test_long_labels_push_their_commands_to_the_right() -> None:
    lines = [visible(line) for line in console().remedies([("Type it hidden", "a"), ("From a program", "b")])]
    assert lines == ["  Type it hidden     a", "  From a program     b"]


def test_quiet_silences_words_but_neither_results_nor_failures() -> None:
    made = console(tty=False, quiet=True)
    made.say("words")
    made.out("result")
    made.show_failure(CommandError("broken", [], Exit.FAILED))
    assert (out(made), err(made)) == ("result\n", "✗ broken\n")


def test_what_takes_its_time_is_shown_and_taken_away() -> None:
    made = console(environ={"NO_COLOR": "1"})
    with made.working("starting …"):
        assert err(made) == "starting …"
    assert err(made).endswith("\r\x1b[K")


def test_nothing_transient_is_written_into_a_pipe() -> None:
    made = console(tty=False)
    with made.working("starting …"):
        pass
    assert err(made) == ""


@pytest.mark.parametrize(
    ("status", "code", "exit"),
    [
        (401, "invalid_api_key", Exit.KEY),
        (403, "private_refused", Exit.REFUSED),
        (402, "budget_exceeded", Exit.BUDGET),
        (502, "provider_failed", Exit.UPSTREAM),
        (503, "provider_not_configured", Exit.KEY),
        (503, "no_candidate", Exit.UPSTREAM),
        (404, "not_found", Exit.FAILED),
    ],
)
def test_a_gateways_answer_has_its_exit_status(status: int, code: str, exit: Exit) -> None:
    assert Exit.of(status, code) is exit


def test_the_width_is_the_terminals_own_or_what_columns_says() -> None:
    _, end = pty.openpty()
    with os.fdopen(end, "w") as stream:
        assert Console(stream, stream, stream, {"COLUMNS": "132"}).width == 132
        assert Console(stream, stream, stream, {}).width == 80
    assert console().width == 80


# --- tables where there is little room -----------------------------------------------------------------------

NARROW = (
    field("id", "id"),
    Column("model", lambda row: row["model"], lambda row: row["model"], cut=6),
    Column("took", lambda row: row["took"], lambda row: row["took"], right=True, spare=2),
    Column("by", lambda row: row["by"], lambda row: row["by"], cut=4, spare=1),
)
ROW = {"id": "7f3a9c", "model": "claude-haiku-4-5", "took": "412 ms", "by": "anthropic"}


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (60, "  7f3a9c   claude-haiku-4-5   412 ms   anthropic"),
        (48, "  7f3a9c   claude-haiku-4-5   412 ms   anthropic"),
        (46, "  7f3a9c  claude-haiku-4-5  412 ms  anthropic"),
        (40, "  7f3a9c  claude-hai…  412 ms  anthropic"),
        (30, "  7f3a9c  claud…  412 ms  ant…"),
        (24, "  7f3a9c  claud…  anthr…"),
        (16, "  7f3a9c  claud…"),
        (8, "  7f3a9c  claud…"),
    ],
)
def test_a_table_gives_up_first_its_air_then_its_width_then_its_columns(columns: int, line: str) -> None:
    made = console(environ={"NO_COLOR": "1", "COLUMNS": str(columns)})
    made.table(NARROW, [ROW], header=False)
    assert out(made) == f"{line}\n"


def test_a_narrow_window_takes_nothing_from_a_pipe() -> None:
    made = console(tty=False, environ={"COLUMNS": "8"})
    made.table(NARROW, [ROW])
    assert out(made) == "7f3a9c\tclaude-haiku-4-5\t412 ms\tanthropic\n"


@given(st.lists(st.integers(1, 30), min_size=4, max_size=4), st.integers(1, 120))
def test_what_is_shown_fits_or_could_not_be_made_to(wide: list[int], room: int) -> None:
    found = fitted(NARROW, [["x" * each for each in wide]], room)
    least = [min(wide[at], NARROW[at].cut or wide[at]) for at in found.kept]
    assert {0, 1} <= set(found.kept)
    assert all(low <= width <= wide[at] for low, width, at in zip(least, found.widths, found.kept, strict=True))
    fits = sum(found.widths) + found.apart * (len(found.kept) - 1) <= room
    assert fits or (found.kept == [0, 1] and found.widths == least)


@given(st.text(st.sampled_from("ab漢é\u0301"), max_size=12), st.integers(1, 10))
def test_a_shortened_text_keeps_its_style_and_its_width(text: str, width: int) -> None:
    made = console()
    cut = shortened(f"{made.style(text, 'bad')}{made.style(text, 'dim')}", width, "…")
    assert columns_of(cut) <= max(width, 1)
    made.out(cut)
    assert out(made).count("\x1b[0m") == 2
    assert visible(cut).rstrip("…") in text + text


@pytest.mark.parametrize(
    ("word", "guess"), [("balancd", " Did you mean /balanced?"), ("FAST", " Did you mean /fast?"), ("zzz", "")]
)
def test_a_slip_is_answered_with_what_was_meant(word: str, guess: str) -> None:
    assert meant(word, ("fast", "balanced", "best"), "/") == guess


@given(st.text(st.sampled_from("ab 漢\n"), max_size=60), st.integers(4, 30))
def test_folding_keeps_every_word_and_every_line(text: str, width: int) -> None:
    lines = list(folded(text, width))
    assert all(columns_of(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace("\n", "").replace(" ", "")
    assert len(lines) > text.count("\n")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three", ["one two", "three"]),
        ("to EMAIL_k7f2m9x4", ["to", "EMAIL_k7", "f2m9x4"]),
        ("a\n\nb", ["a", "", "b"]),
        ("", [""]),
    ],
)
def test_a_line_is_folded_at_a_blank_if_it_has_one(text: str, lines: list[str]) -> None:
    assert list(folded(text, 8)) == lines


def test_a_long_failure_is_folded_below_its_sign_and_what_to_type_stays_whole() -> None:
    made = console(environ={"NO_COLOR": "1", "COLUMNS": "24"})
    made.show_failure(CommandError("No tier balancd. Did you mean balanced?", [("How it goes", "membrain chat -h")], 2))
    assert err(made).splitlines() == [
        "✗ No tier balancd. Did",
        "  you mean balanced?",
        "  How it goes     membrain chat -h",
    ]
