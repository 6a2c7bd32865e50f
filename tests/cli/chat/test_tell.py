"""How an answer is told: what reaches the terminal, what ctrl-c does, and the line under the answer."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.records import Attempt, AuditRecord
from membrain_cli.chat.session import Asking, Session
from membrain_cli.chat.tell import (
    Ear,
    Plain,
    draws,
    left_line,
    receipt_line,
    say_demo,
    sent_lines,
    stopped_line,
    tell,
    without_echo,
)
from membrain_cli.console import CONTROLS, CommandError, Console, visible
from tests.sink import Sink


class Stream(io.StringIO):
    """A stream that says of itself whether it is a terminal."""

    encoding = "utf-8"  # type: ignore[assignment]  # StringIO has none, a terminal does

    def __init__(self, *, tty: bool = False) -> None:
        super().__init__()
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty


def console(*, tty: bool = False, quiet: bool = False, **environ: str) -> Console:
    """A console over streams that can be read back."""
    return Console(Stream(), Stream(tty=tty), Stream(tty=tty), environ, quiet=quiet)


def said(stream: object) -> str:
    """What was written to *stream*."""
    assert isinstance(stream, Stream)
    return stream.getvalue()


def local(**more: object) -> AuditRecord:
    """An exchange that the embedded model answered."""
    facts = {
        "answered_model": "local/default",
        "provider": "local",
        "local": True,
        "ms": 1200.0,
        "completion_tokens": 43,
    }
    return AuditRecord("id", "2026-11-21T09:48:00Z", "chat", "/v1/chat/completions", "auto", **{**facts, **more})  # type: ignore[arg-type]  # as the test says


# --- plain text ----------------------------------------------------------------------------------------------


def test_plain_text_ends_with_a_line_break_and_never_with_two() -> None:
    for text in ("Hello", "Hello\n"):
        shell = console()
        voice = Plain(shell)
        voice.add(text)
        voice.close()
        assert said(shell.stdout) == "Hello\n"


def test_an_empty_answer_prints_nothing() -> None:
    shell = console()
    Plain(shell).close()
    assert said(shell.stdout) == ""


@given(st.lists(st.text(st.sampled_from("a \n\t\x1b[]0;31mPX\x07\\\x9b\x9d\x90\u202e\x7f\r")), max_size=8))
def test_no_control_byte_passes_however_the_text_is_cut(pieces: list[str]) -> None:
    shell = console()
    voice = Plain(shell)
    for piece in pieces:
        voice.add(piece)
    voice.close()
    assert not CONTROLS.search(said(shell.stdout))


def test_a_sequence_that_one_answer_leaves_open_does_not_swallow_the_next() -> None:
    shell = console()
    for text in ("one\x1b]0;", "two"):
        voice = Plain(shell)
        voice.add(text)
        voice.close()
    assert said(shell.stdout) == "one\ntwo\n"


@pytest.mark.parametrize(
    ("tty", "environ", "drawn"),
    [
        (True, {"TERM": "xterm"}, True),
        (False, {"TERM": "xterm"}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (False, {"TERM": "xterm", "FORCE_COLOR": "1"}, False),
    ],
)
def test_markdown_is_drawn_only_on_a_terminal_with_colour(tty: bool, environ: dict[str, str], drawn: bool) -> None:
    assert draws(console(tty=tty, **environ)) is drawn


# --- ctrl-c --------------------------------------------------------------------------------------------------


def pressing(pieces: list[str]) -> Iterator[str]:
    """*pieces*, with ctrl-c pressed before the last."""
    yield from pieces[:-1]
    signal.raise_signal(signal.SIGINT)
    yield pieces[-1]


def test_ctrl_c_is_felt_while_one_waits() -> None:
    with Ear() as ear:
        pieces = pressing(["one", "two"])
        assert ear.wait(pieces) == "one"
        with pytest.raises(KeyboardInterrupt):
            ear.wait(pieces)


def test_ctrl_c_meanwhile_is_felt_at_the_next_wait() -> None:
    """So that drawing is never cut in two."""
    with Ear() as ear:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            ear.wait(iter(["never"]))


def test_afterwards_ctrl_c_is_as_it_was() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Ear():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_ctrl_c_stops_the_answer_and_keeps_the_part(sink: Sink) -> None:
    session, shell = Session(sink.url, asking=Asking("slow-30-chunks-300")), console()
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    answer = session.ask("Go on")
    whole = tell(shell, answer)
    timer.join()
    assert not whole
    assert sink.requests[0].closed.wait(1)
    assert said(shell.stdout) == f"{session.last_answer}\n" != "\n"


def test_ctrl_c_before_the_first_word_keeps_nothing(sink: Sink) -> None:
    session, shell = Session(sink.url, asking=Asking("stall")), console()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    answer = session.ask("Go on")
    assert not tell(shell, answer)
    timer.join()
    assert (session.messages, session.draft, said(shell.stdout)) == ([], "Go on", "")
    assert sink.requests[0].closed.wait(1)


def test_a_failure_in_the_middle_ends_the_text_before_it_is_told(sink: Sink) -> None:
    session, shell = Session(sink.url, asking=Asking("echo-reset-mid")), console()
    with pytest.raises(CommandError):
        tell(shell, session.ask("Hello there, you"))
    assert said(shell.stdout).endswith("\n")


def test_keys_are_left_alone_where_there_is_no_terminal() -> None:
    with without_echo(console()):
        pass


# --- the line under it ---------------------------------------------------------------------------------------


def test_the_receipt_is_one_sentence_in_the_signs_the_terminal_has(sink: Sink) -> None:
    answer = Session(sink.url).ask("Hi")
    answer.record = local()
    shell = console()
    shell.out(receipt_line(shell, answer))
    assert said(shell.stdout) == "local/default · local · 1.2 s · 43 tokens · free\n"
    ascii_only = Stream()
    ascii_only.encoding = "ascii"
    shell = Console(Stream(), ascii_only, Stream(), {})
    shell.out(receipt_line(shell, answer))
    assert ascii_only.getvalue() == "local/default - local - 1.2 s - 43 tokens - free\n"


def test_without_a_record_the_receipt_says_what_is_known(sink: Sink) -> None:
    answer = Session(sink.url).ask("Hi")
    answer.model, answer.ms = "gpt-4o", 1500.0
    shell = console()
    shell.out(receipt_line(shell, answer))
    assert said(shell.stdout) == "gpt-4o · 1.5 s · cost unknown\n"


def test_a_stopped_answer_says_what_is_kept(sink: Sink) -> None:
    answer = Session(sink.url).ask("Hi")
    answer.ms, answer.text, answer.record = 1100.0, "The key", local(completion_tokens=96)
    shell = console()
    shell.out(stopped_line(shell, answer))
    answer.text, answer.record = "", None
    shell.out(stopped_line(shell, answer))
    assert said(shell.stdout) == "stopped · 1.1 s · 96 tokens · the part above is kept\nstopped · 1.1 s\n"


# --- the demo note -------------------------------------------------------------------------------------------


def test_the_embedded_model_is_called_a_demo_once(tmp_path: Path) -> None:
    shell, marker = console(), tmp_path / "told"
    say_demo(shell, local(), marker)
    first = said(shell.stderr)
    say_demo(shell, local(), marker)
    assert "demo" in first
    assert "membrain keys set openai" in first
    assert said(shell.stderr) == first
    assert marker.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("record", [None, local(provider="ollama"), local(answered_model="local/echo")])
def test_other_answers_are_no_demo(tmp_path: Path, record: AuditRecord | None) -> None:
    shell = console()
    say_demo(shell, record, tmp_path / "told")
    assert (said(shell.stderr), list(tmp_path.iterdir())) == ("", [])


def test_a_quiet_console_keeps_the_note_for_later(tmp_path: Path) -> None:
    shell = console(quiet=True)
    say_demo(shell, local(), tmp_path / "told")
    assert (said(shell.stderr), list(tmp_path.iterdir())) == ("", [])


# --- what left -----------------------------------------------------------------------------------------------

PLACEHOLDER = "EMAIL_4qvzscd5nf9v9739"


def lines_of(*messages: object, whole: bool = False, **more: object) -> list[str]:
    """What is shown of a request with *messages*."""
    made = console()
    return [visible(each) for each in sent_lines(made, {"messages": list(messages), **more}, whole=whole)]


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


def test_placeholders_stand_out_where_there_is_colour() -> None:
    made = console(tty=True)
    for each in sent_lines(made, {"messages": [user(f"To {PLACEHOLDER}, soon")]}):
        made.out(each)
    assert said(made.stdout) == f"  \x1b[2muser   \x1b[0mTo \x1b[1m{PLACEHOLDER}\x1b[0m, soon\n"


def test_what_left_is_shown_from_the_last_question_on() -> None:
    """What a tool said after it left with it."""
    spoken = [user("One"), {"role": "assistant", "content": "1"}, user("Two"), {"role": "tool", "content": "2"}]
    assert lines_of(*spoken) == ["  user   Two", "  tool   2"]


def test_a_request_without_a_question_is_shown_from_its_beginning() -> None:
    assert lines_of({"role": "system", "content": "Be brief."}) == ["  system   Be brief."]


def test_nothing_of_a_request_is_kept_from_the_person() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}], "refusal": None}
    parts = user([{"type": "text", "text": "ü"}])
    assert lines_of(parts, call, whole=True, tools=[], model="m", stream=True, seed=7) == [
        '  user        [{"type": "text", "text": "ü"}]',
        '  assistant   {"tool_calls": [{"id": "c"}]}',
        "  tools       []",
        "  seed        7",
    ]


@pytest.mark.parametrize("messages", [None, "x", [1, None], []])
def test_a_request_of_another_shape_shows_nothing_and_breaks_nothing(messages: object) -> None:
    assert list(sent_lines(console(), {"messages": messages})) == []


def test_what_left_cannot_drive_the_terminal() -> None:
    made = console(tty=True, NO_COLOR="1")
    for each in sent_lines(
        made, {"messages": [{"role": "user\x1b[2J", "content": f"a\x1b]0;x\x07{PLACEHOLDER}\x9b31m"}]}
    ):
        made.out(each)
    assert not CONTROLS.search(said(made.stdout))
    assert PLACEHOLDER in said(made.stdout)


@pytest.mark.parametrize(
    ("tried", "provider", "line"),
    [
        (["openai"], "openai", "What left this machine:"),
        (["openai", "anthropic"], "anthropic", "What left this machine, to openai and anthropic:"),
        (["openai"], None, "What left this machine, to openai:"),
        ([], None, "What left this machine:"),
    ],
)
def test_whoever_was_given_it_without_answering_is_named(tried: list[str], provider: str | None, line: str) -> None:
    attempts = tuple(Attempt(each, "m", 9.0) for each in tried)
    assert left_line(local(provider=provider, local=False, attempts=attempts)) == line
