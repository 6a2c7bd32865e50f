"""The conversation at the terminal: how a message is put together, what is remembered, and the whole in a real pty."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from membrain_cli.chat import repl
from membrain_cli.chat.repl import History, Prompt, Repl
from membrain_cli.chat.session import Asking, Session
from membrain_cli.console import Console
from tests.cli.terminal import Terminal, surroundings
from tests.sink import Recorded, Sink

Event = str | type[BaseException]


def typing(*events: Event) -> tuple[Callable[[Prompt], str], list[Prompt]]:
    """A keyboard on which these lines are typed, or keys pressed; and the prompts it was shown."""
    coming, prompts = iter(events), list[Prompt]()

    def read(prompt: Prompt) -> str:
        prompts.append(prompt)
        event = next(coming, EOFError)
        if isinstance(event, str):
            return event
        raise event

    return read, prompts


# --- one message ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["Hello"], "Hello"),
        (['"""', "Explain,", "and only this:", '"""'], "Explain,\nand only this:"),
        (['"""Explain', '  this"""'], "Explain\n  this"),
        (['"""all of it"""'], "all of it"),
        (['"""', "", "  kept", '   """  '], "  kept\n   "),
        (['"""pasted\nas one\n"""'], "pasted\nas one"),
        (["one\\", "two\\", "three"], "one\ntwo\nthree"),
        (["one\\", ""], "one\n"),
        (['say """ twice'], 'say """ twice'),
        (["pasted\nlines"], "pasted\nlines"),
    ],
)
def test_lines_are_held_together_by_quotes_and_backslashes(lines: list[str], message: str) -> None:
    read, prompts = typing(*lines)
    assert repl.message(read) == message
    assert prompts == ["first", *["more"] * (len(lines) - 1)]


@pytest.mark.parametrize("key", [EOFError, KeyboardInterrupt])
@pytest.mark.parametrize("opening", ['"""', "go on\\"])
def test_a_long_message_can_be_given_up(opening: str, key: type[BaseException]) -> None:
    assert repl.message(typing(opening, "more\\", key)[0]) == ""


@pytest.mark.parametrize("key", [EOFError, KeyboardInterrupt])
def test_the_first_line_hands_its_keys_on(key: type[BaseException]) -> None:
    with pytest.raises(key):
        repl.message(typing(key)[0])


# --- history -------------------------------------------------------------------------------------------------


def test_history_keeps_messages_of_many_lines_whole_and_private(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    history.add("one")
    history.add('two\n"lines" ü')
    assert History(tmp_path / "history").load() == ["one", 'two\n"lines" ü']
    assert (tmp_path / "history").stat().st_mode & 0o777 == 0o600


def test_history_does_not_grow_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "history"
    file.write_text("".join(f'"{number}"\n' for number in range(2 * repl.REMEMBERED + 1)))
    file.chmod(0o600)
    assert History(file).load()[-1] == str(2 * repl.REMEMBERED)
    assert len(file.read_text().splitlines()) == repl.REMEMBERED


def test_what_is_broken_in_the_history_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "history"
    file.write_bytes(b'"good"\n"half\n\xff\n17\n')
    file.chmod(0o600)
    assert History(file).load() == ["good"]


def test_without_history_no_file_is_touched(tmp_path: Path) -> None:
    history = History(None)
    history.add("secret")
    assert history.load() == []


# --- the loop, without a terminal ----------------------------------------------------------------------------


class Keys:
    """A keyboard that types messages one after the other."""

    def __init__(self, *events: Event, was_empty: bool = True) -> None:
        self._read, _ = typing(*events)
        self.was_empty = was_empty

    def message(self) -> str:
        return repl.message(self._read)


@pytest.fixture
def talked(sink: Sink, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """A conversation in which some lines are typed; gives the screen. The answer echoes the question."""
    session = Session(sink.url, asking=Asking("echo"))

    def talk(*events: Event, was_empty: bool = True) -> str:
        screen = io.StringIO()
        console = Console(io.StringIO(), screen, screen, {})
        keys = Keys(*events, was_empty=was_empty)
        Repl(console, session, keys, tmp_path / "told").run(["auto", "/help, ctrl-d to leave"])  # type: ignore[arg-type]  # as Keyboard
        return screen.getvalue()

    yield talk
    session.hang_up()


def test_a_conversation_reads_as_drawn(talked: Callable[..., str]) -> None:
    """Head, answer, receipt, and what it came to."""
    lines = talked("Hello **you**").splitlines()
    assert lines[:4] == ["membrain · auto · /help, ctrl-d to leave", "", "", "Hello **you**"]
    assert lines[5].startswith("echo · ")
    assert lines[5].endswith(" · cost unknown")
    assert lines[-1] == "1 exchange · 1 of unknown cost"


def test_leaving_at_once_says_nothing_more(talked: Callable[..., str]) -> None:
    assert talked() == "membrain · auto · /help, ctrl-d to leave\n\n\n"


def test_empty_lines_ask_nothing(talked: Callable[..., str], sink: Sink) -> None:
    talked("", "   ")
    assert sink.requests == []


def test_quit_leaves_before_the_next_line(talked: Callable[..., str], sink: Sink) -> None:
    talked("/quit", "Hello")
    assert sink.requests == []


def test_ctrl_c_on_an_empty_line_says_how_to_leave(talked: Callable[..., str]) -> None:
    assert "(ctrl-d or /quit to leave)" in talked(KeyboardInterrupt)
    assert "(ctrl-d" not in talked(KeyboardInterrupt, was_empty=False)


def test_a_line_that_is_not_utf8_does_not_end_the_conversation(talked: Callable[..., str]) -> None:
    error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    assert "not UTF-8" in talked(error)  # type: ignore[arg-type]  # raised as it is


def test_a_failure_is_told_and_the_conversation_goes_on(talked: Callable[..., str]) -> None:
    screen = talked("/model status-500", "Hello", "/model echo", "/retry")
    assert "✗ The sink was asked for a 500." in screen
    assert "\nHello\n" in screen


def test_a_line_behind_a_space_is_a_message_even_with_a_slash(talked: Callable[..., str], sink: Sink) -> None:
    talked(" /etc is what?")
    assert sink.requests[0].json()["messages"][-1]["content"] == "/etc is what?"


# --- in a real terminal --------------------------------------------------------------------------------------

SCRIPT = """
import os, sys
from pathlib import Path
from membrain_cli.chat import slash
from membrain_cli.chat.repl import History, Keyboard, Repl
from membrain_cli.chat.session import Asking, Session
from membrain_cli.console import plain
console, session = plain(os.environ), Session(sys.argv[1], None, Asking(sys.argv[2]))
home = Path(sys.argv[3])
keyboard = Keyboard(console, History(home / "history"), lambda line: slash.complete(session, line))
Repl(console, session, keyboard, home / "told").run(["auto"])
"""
PROMPT = "› "  # noqa: RUF001  # as it is drawn


class Screenful(Terminal):
    """A terminal with a conversation in it."""

    def __init__(self, sink: Sink, home: Path, model: str = "echo", **environ: str) -> None:
        command = [sys.executable, "-c", SCRIPT, sink.url, model, str(home)]
        super().__init__(command, surroundings(home, **environ))
        self._prompt = PROMPT if environ.get("LANG") != "C" else "> "

    def enter(self, text: str = "") -> None:
        """Wait for the prompt, then type *text* and enter."""
        self.expect(self._prompt)
        self.type(f"{text}\r")


def asked(sink: Sink, number: int = 1) -> list[str]:
    """The questions that arrived, once there are *number* of them."""
    posts: list[Recorded] = []
    while len(posts) < number:
        sink.wait_for(len(sink.requests) or 1)
        posts = [request for request in sink.requests if request.method == "POST"]
    return [post.json()["messages"][-1]["content"] for post in posts]


def test_a_question_is_answered_as_markdown(sink: Sink, tmp_path: Path) -> None:
    with Screenful(sink, tmp_path) as terminal:
        terminal.enter("Some **bold** words")
        terminal.expect("cost unknown")
        terminal.expect(PROMPT)
        terminal.type("\x04")
        assert terminal.finish() == 0
    lines = terminal.screen.text.splitlines()
    assert lines[2:5] == ["› Some **bold** words", "", "Some bold words"]  # noqa: RUF001  # as it is drawn
    assert b"\x1b[1mbold\x1b[0m" in terminal.raw


def test_a_paste_of_many_lines_is_one_message(sink: Sink, tmp_path: Path) -> None:
    with Screenful(sink, tmp_path) as terminal:
        terminal.expect(PROMPT)
        terminal.paste("def f():\n\treturn 1\n\n# end")
        terminal.type("\r")
        terminal.expect("cost unknown")
    assert asked(sink) == ["def f():\n\treturn 1\n\n# end"]


def test_quotes_hold_lines_together(sink: Sink, tmp_path: Path) -> None:
    with Screenful(sink, tmp_path) as terminal:
        terminal.enter('"""')
        for line in ("Explain this,", "and only this:", '"""'):
            terminal.expect("… ")
            terminal.type(f"{line}\r")
        terminal.expect("cost unknown")
    assert asked(sink) == ["Explain this,\nand only this:"]


def test_ctrl_c_stops_the_answer_at_once_and_keeps_the_part(sink: Sink, tmp_path: Path) -> None:
    with Screenful(sink, tmp_path, "slow-50-chunks-400") as terminal:
        terminal.enter("Go on")
        terminal.expect("w5")
        terminal.type("\x03")
        terminal.expect("stopped · ", seconds=1.5)
        terminal.expect("the part above is kept")
        assert sink.requests[0].closed.wait(1)
        terminal.enter("/model echo")
        terminal.enter("Still there?")
        terminal.expect("cost unknown")
    said = [request for request in sink.requests if request.method == "POST"][1].json()["messages"]
    assert [message["role"] for message in said] == ["user", "assistant", "user"]
    assert said[1]["content"].startswith("w0 w1 w2 w3 w4 w5")


def test_ctrl_c_on_a_line_gives_it_up_and_on_none_says_how_to_leave(sink: Sink, tmp_path: Path) -> None:
    with Screenful(sink, tmp_path) as terminal:
        terminal.expect(PROMPT)
        terminal.type("half a line")
        terminal.expect("half a line")
        time.sleep(0.2)  # Python feels a ctrl-c only once readline has dealt with the keys before it
        terminal.type("\x03")
        between = terminal.expect(PROMPT)
        time.sleep(0.2)
        terminal.type("\x03")
        terminal.expect("(ctrl-d or /quit to leave)")
        terminal.expect(PROMPT)
        terminal.type("\x04")
        assert terminal.finish() == 0
    assert "ctrl-d" not in between
    assert sink.requests == []


def test_history_comes_back_with_the_arrow_key_and_in_the_next_conversation(sink: Sink, tmp_path: Path) -> None:
    with Screenful(sink, tmp_path) as terminal:
        terminal.enter("Remember me")
        terminal.enter(" not this")
        terminal.enter("\x1b[A")
        terminal.enter("/quit")
        assert terminal.finish() == 0
    with Screenful(sink, tmp_path) as terminal:
        terminal.expect(PROMPT)
        terminal.type("\x12member")
        terminal.expect("Remember me")
        terminal.type("\r")
        terminal.expect("cost unknown")
    assert asked(sink, 4) == ["Remember me", "not this", "Remember me", "Remember me"]
    kept = [json.loads(line) for line in (tmp_path / "history").read_text().splitlines()]
    assert kept == ["Remember me", "Remember me", "/quit", "Remember me"]


def test_tab_completes_commands_and_models(sink: Sink, tmp_path: Path) -> None:
    with Screenful(sink, tmp_path) as terminal:
        terminal.expect(PROMPT)
        terminal.type("/mo\t")
        terminal.expect("/model ")
        terminal.type("gpt\t")
        terminal.expect("gpt-4o-mini")
        terminal.type("\r")
        terminal.expect("Model: gpt-4o-mini")


def test_a_mistyped_command_is_answered_with_the_nearest(sink: Sink, tmp_path: Path) -> None:
    with Screenful(sink, tmp_path) as terminal:
        terminal.enter("/modle gpt-4o")
        terminal.expect("✗ No command /modle. Did you mean /model?")


def test_what_is_typed_while_it_speaks_waits_for_the_next_prompt(sink: Sink, tmp_path: Path) -> None:
    with Screenful(sink, tmp_path, "slow-50-chunks-10") as terminal:
        terminal.enter("Go")
        terminal.expect("w2")
        terminal.type("next question")
        spoken = terminal.expect("cost unknown")
        terminal.expect("next question")
    assert "next question" not in spoken


def test_hostile_words_of_the_model_never_drive_the_terminal(sink: Sink, tmp_path: Path) -> None:
    """Clipboard, title, links, cursor reports, bidi; also cut in two by the stream, and as character references."""
    hostile = (
        "a\x1b]52;c;aGFja2Vk\x07b\x1b]0;owned\x1b\\c\x1b]8;;http://evil\x1b\\d\x1b[6ne\x9b31mf\x90q\x9cg\u202eh"
        "&#27;[31mi[bold]j"
    )
    with Screenful(sink, tmp_path, "chunks-1-echo") as terminal:
        from tests.cli.chat.test_session import spoken as stream

        sink.script("/v1/chat/completions", stream(*hostile))
        terminal.enter("Go")
        terminal.expect("cost unknown")
        terminal.expect(PROMPT)
    assert not terminal.screen.unknown
    for sign in (b"\x1b]", b"\x07", b"\x1b[6n", b"\x9b31", b"owned", b"aGFj", "\u202e".encode(), b"\x1b[31m"):
        assert sign not in terminal.raw
    assert "[31mi[bold]j" in terminal.text


def test_a_terminal_without_utf8_gets_plain_signs(sink: Sink, tmp_path: Path) -> None:
    with Screenful(sink, tmp_path, LANG="C", LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0") as terminal:
        terminal.enter("Hello")
        terminal.expect(" - cost unknown")
        terminal.expect("> ")
        terminal.type("\x04")
        terminal.finish()
    assert terminal.raw.isascii()


def test_a_dumb_terminal_gets_no_escape_sequences_in_the_answer(sink: Sink, tmp_path: Path) -> None:
    with Screenful(sink, tmp_path, TERM="dumb") as terminal:
        terminal.enter("Some **bold** words")
        terminal.expect("\nSome **bold** words\n")
        terminal.expect("cost unknown")
    assert b"\x1b[" not in terminal.raw
