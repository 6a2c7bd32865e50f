"""`membrain top` as a command: where it works, how it ends, and in a real terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from membrain_cli.console import Exit
from tests.cli.shell import command, invoke, membrain
from tests.cli.terminal import Terminal
from tests.served import Served

FIRST_PAINT = 1.0
"""Seconds from the command to the frame; on a busy machine the best of three counts."""

OURS = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[78=>]|\x1b\]22;[a-z]*\x07|[\r\n\b]")
"""What Textual writes to draw: moves, styles, modes, the shape of the pointer. All else would be a surprise."""
STARTS = re.compile(rb"\x1bP\+q[0-9a-fA-F;]*\x1b\\|\x1b_G[^\x1b]*\x1b\\|\x1b\[\?u|\x1b\]1[01];\?(?:\x07|\x1b\\)")
"""Questions to the terminal as it starts."""


def test_without_a_terminal_it_says_what_to_do_instead(environ: dict[str, str]) -> None:
    ran = membrain("top", environ=environ)
    assert (ran.status, ran.out) == (Exit.USAGE, "")
    assert "needs a terminal" in ran.err
    assert "membrain audit -f" in ran.err


def test_a_dumb_terminal_is_none(environ: dict[str, str]) -> None:
    ran = invoke(["top"], {**environ, "TERM": "dumb"}, tty=True)
    assert (ran.status, ran.out) == (Exit.USAGE, "")
    assert "needs a terminal" in ran.err


def test_its_help_imports_nothing_heavy(environ: dict[str, str]) -> None:
    asked = [sys.executable, "-X", "importtime", "-m", "membrain_cli", "top", "--help"]
    ran = subprocess.run(asked, env=environ, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert not {"textual", "rich", "asyncio", "membrain_cli.top.app"} & imported


@pytest.fixture
def terminal(beside: dict[str, str]) -> Iterator[Terminal]:
    """The dashboard in a terminal of 100 columns, beside a gateway that runs."""
    with Terminal(command("top"), {**beside, "TERM": "xterm-256color"}, rows=30, columns=100) as terminal:
        yield terminal


def test_in_a_real_terminal_one_sees_an_exchange_opens_it_and_leaves(served: Served, terminal: Terminal) -> None:
    served.chat("Mail ada@example.org", "gpt-4o-mini")
    terminal.expect("exchanges")
    terminal.expect("gpt-4o-mini")
    terminal.type("\r")
    terminal.expect("Why this model")
    terminal.type("\x1b[B")  # arrow down
    terminal.type("\x1b")
    terminal.expect("filter")
    terminal.type("q")
    assert terminal.finish() == Exit.OK
    assert "ada@example" not in terminal.text
    left = OURS.sub(b"", STARTS.sub(b"", terminal.raw))
    assert not re.search(rb"[\x00-\x1f\x7f]", left)
    for mode in (b"1049", b"1000", b"2004"):  # the terminal is as it was
        assert terminal.raw.rfind(b"\x1b[?" + mode + b"h") < terminal.raw.rfind(b"\x1b[?" + mode + b"l")


def test_hostile_names_reach_a_real_terminal_as_text(served: Served, terminal: Terminal) -> None:
    terminal.expect("live")
    for nasty in ("\x1b]52;c;ZXZpbA==\x07m1", "\x1b]8;;http://evil.example\x1b\\m2", "\x9b2Jm3", "[red]m4[/red]"):
        served.chat("Hello", nasty)
    terminal.expect("m4")
    terminal.type("\r")
    terminal.expect("Why this model")
    terminal.type("q")
    assert terminal.finish() == Exit.OK
    assert b"]52;" not in terminal.raw
    assert b"]8;" not in terminal.raw
    assert b"\xc2\x9b" not in terminal.raw


@pytest.mark.parametrize("end", ["ctrl-c", "SIGTERM"])
def test_it_ends_at_once_and_leaves_the_terminal_as_it_was(end: str, environ: dict[str, str]) -> None:
    with Terminal(command("top"), environ) as terminal:
        terminal.expect("press")
        if end == "ctrl-c":
            terminal.type("\x03")
        else:
            os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.finish() == (Exit.INTERRUPTED if end == "ctrl-c" else 128 + signal.SIGTERM)
        assert terminal.raw.rfind(b"\x1b[?1049h") < terminal.raw.rfind(b"\x1b[?1049l")
        assert "Traceback" not in terminal.text


def test_where_the_terminal_is_not_utf8_every_byte_is_ascii(environ: dict[str, str]) -> None:
    with Terminal(command("top"), {**environ, "PYTHONIOENCODING": "ascii"}) as terminal:
        terminal.expect("o down - press u to start it")
        terminal.type("?")
        terminal.expect("answer what waits")
        terminal.type("\x03")
        assert terminal.finish() == Exit.INTERRUPTED
        assert terminal.raw.isascii()


FAULTY = """
import sys
from membrain_cli.main import main
from membrain_cli.top.feed import Feed

def drain(feed):
    secret = "ck_live_canary"
    raise ArithmeticError(secret)

Feed.drain = drain
sys.argv = ["membrain", "top"]
main()
"""
"""The dashboard with a fault in it."""


def test_a_fault_inside_is_a_line_and_shows_no_value(environ: dict[str, str]) -> None:
    with Terminal([sys.executable, "-c", FAULTY], environ) as terminal:
        assert terminal.finish() == Exit.FAILED
        assert "Something went wrong inside membrain (ArithmeticError)." in terminal.text
        assert "Traceback" not in terminal.text
        assert "ck_live_canary" not in terminal.text
        assert terminal.raw.rfind(b"\x1b[?1049h") < terminal.raw.rfind(b"\x1b[?1049l")


def test_the_frame_is_there_within_a_second(environ: dict[str, str]) -> None:
    """From the shell's point of view: the interpreter, the imports, the first drawing."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        with Terminal(command("top"), environ, rows=40, columns=120) as terminal:
            terminal.expect("exchanges")
            took.append(time.monotonic() - began)
            terminal.type("q")
            terminal.finish()
        if took[-1] < FIRST_PAINT:
            break
    assert min(took) < FIRST_PAINT, took
