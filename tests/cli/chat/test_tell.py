"""How an answer is told: what reaches the terminal, what ctrl-c does, and the line under the answer."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.records import Attempt, AuditRecord
from membrain_cli.chat.session import Asking, Session
from membrain_cli.chat.tell import (
    MOST_SHOWN,
    Ear,
    Plain,
    Watch,
    draws,
    held_lines,
    left_line,
    receipt_line,
    say_demo,
    sent_lines,
    stopped_line,
    tell,
    without_echo,
)
from membrain_cli.console import CONTROLS, CommandError, Console, Exit, visible
from tests.cli.shell import command, environment
from tests.cli.terminal import Terminal
from tests.served import Served
from tests.sink import Reply, Sink


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


# --- a question that waits for a person ----------------------------------------------------------------------

MAIL = "ann.canary9b1d@kestrelmail.org"
CARD = "4111 1111 1111 1111"
ASKED = "Send it masked? [y]es, [n]o, [a]lways for this project: "
PROMPT = "› "  # noqa: RUF001  # as it is drawn


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Sink]]:
    """A gateway that asks a person before what is private leaves, masked."""
    with Sink() as sink, Served(tmp_path_factory.mktemp("held") / "home", sink, MEMBRAIN_PII_ON_FIND="confirm") as made:
        yield made, sink
        made.assert_sound()


@dataclass(frozen=True)
class Careful:
    """That gateway, with a fresh record of what it let out."""

    served: Served
    sink: Sink

    @property
    def environ(self) -> dict[str, str]:
        return environment(self.served.home, MEMBRAIN_PORT=str(self.served.port))

    def chat(self, *words: str, columns: int = 100) -> Terminal:
        """The program on a terminal."""
        return Terminal(command("chat", "-m", "gpt-4o-echo", "--no-history", *words), self.environ, columns=columns)

    def left(self) -> list[str]:
        """The last words of each request that left."""
        return [one.json()["messages"][-1]["content"] for one in self.sink.requests if one.method == "POST"]

    def waiting(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.served.get("/api/holds").json()
        return rows

    def assert_silent(self) -> None:
        """No value left, whatever was decided."""
        raw = b"".join(one.body for one in self.sink.requests)
        assert MAIL.encode() not in raw
        assert CARD.encode() not in raw


@pytest.fixture
def held(careful: tuple[Served, Sink]) -> Iterator[Careful]:
    careful[1].clear()
    made = Careful(*careful)
    yield made
    made.assert_silent()
    limit = time.monotonic() + 5
    while made.waiting():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_a_question_that_waits_is_put_to_whoever_asked_and_goes_on_masked(held: Careful) -> None:
    with held.chat() as terminal:
        terminal.expect(PROMPT)
        terminal.type(f'Grüße, "bitte" an {MAIL} schreiben\r')
        shown = terminal.expect(ASKED)
        assert held.left() == []
        terminal.type("y\r")
        terminal.expect("1 masked\n")
        terminal.expect(PROMPT)
        terminal.type("\x04")
        assert terminal.finish() == 0
    assert "! Waits for you: 1 email; would go to gpt-4o-echo.\n" in shown
    assert '  messages[0].content   email   Grüße, "bitte" an …rg schreiben\n' in shown
    (left,) = held.left()
    assert re.fullmatch(r'Grüße, "bitte" an EMAIL_\w{16} schreiben', left)
    assert f'Grüße, "bitte" an {MAIL} schreiben' in terminal.screen.text.splitlines()  # the answer, as an echo
    assert b"\x1b[2m\xe2\x80\xa6rg" in terminal.raw
    assert terminal.screen.unknown == []


def test_what_is_refused_stays_here_and_can_be_changed(held: Careful) -> None:
    with held.chat() as terminal:
        terminal.expect(PROMPT)
        terminal.type(f"Write to {MAIL}\r")
        terminal.expect(ASKED)
        terminal.type("n\r")
        terminal.expect("✗ Not sent, as you said. Nothing of it left.\n")
        terminal.expect(PROMPT)
        terminal.type("/retry\r")
        terminal.expect(ASKED)
        terminal.type("no\r")
        terminal.expect("✗ Not sent")
        terminal.expect(PROMPT)
        terminal.type("Just hello\r")
        terminal.expect("cost unknown")
    assert held.left() == ["Just hello"]


def test_who_says_always_is_not_asked_again(held: Careful) -> None:
    with held.chat() as terminal:
        terminal.expect(PROMPT)
        terminal.type(f"My card is {CARD}\r")
        terminal.expect(ASKED)
        terminal.type("a\r")
        terminal.expect("This project is not asked again about these, until the gateway stops.\n")
        terminal.expect("1 masked\n")
        terminal.expect(PROMPT)
        terminal.type(f"Again, {CARD}\r")
        assert ASKED not in terminal.expect("3 masked\n")
    assert [re.sub(r"_[a-z0-9]{16}", "", each) for each in held.left()] == [
        "My card is CREDIT_CARD",
        "Again, CREDIT_CARD",
    ]


def test_ctrl_c_at_the_question_refuses_and_stops(held: Careful) -> None:
    with held.chat(f"Write to {MAIL}") as terminal:
        terminal.expect(ASKED)
        terminal.type("\x03")
        terminal.expect("stopped · ", seconds=3)
        assert terminal.finish() == Exit.INTERRUPTED
    assert held.left() == []


def test_ctrl_d_at_the_question_is_a_no_and_has_the_status_of_a_refusal(held: Careful) -> None:
    with held.chat(f"Write to {MAIL}") as terminal:
        terminal.expect(ASKED)
        terminal.type("\x04")
        terminal.expect("✗ Not sent")
        assert terminal.finish() == Exit.REFUSED
    assert held.left() == []


def test_what_is_neither_yes_nor_no_is_asked_again(held: Careful) -> None:
    with held.chat(f"Write to {MAIL}") as terminal:
        for reply in ("", "maybe", "yess", "ja"):
            terminal.expect(ASKED)
            terminal.type(f"{reply}\r")
        terminal.expect(ASKED)
        assert held.left() == []
        terminal.type("Y\r")
        terminal.expect("1 masked\n")
    assert len(held.left()) == 1


def test_what_was_typed_before_the_question_is_no_yes_to_it(held: Careful) -> None:
    with held.chat() as terminal:
        terminal.expect(PROMPT)
        terminal.type(f"Write to {MAIL}\r")
        terminal.expect("\n")
        time.sleep(0.05)
        terminal.type("y\r")
        terminal.expect(ASKED)
        time.sleep(0.5)
        assert (held.left(), len(held.waiting())) == ([], 1)
        terminal.type("n\r")
        terminal.expect("✗ Not sent")


@pytest.mark.parametrize(("decision", "told"), [("approve", "1 masked\n"), ("deny", "✗ A person at the gateway")])
def test_who_is_asked_is_relieved_when_another_decides(held: Careful, decision: str, told: str) -> None:
    with held.chat() as terminal:
        terminal.expect(PROMPT)
        terminal.type(f"Write to {MAIL}\r")
        terminal.expect(ASKED)
        held.served.post(f"/api/holds/{held.waiting()[0]['id']}", {"decision": decision})
        terminal.expect(told)
        terminal.expect(PROMPT)
        terminal.type("/clear\r")
        terminal.expect(PROMPT)
        terminal.type("Hello\r")  # the terminal is the prompt's again, echo and all
        terminal.expect("cost unknown")
    assert f"{PROMPT}Hello" in terminal.screen.text


@pytest.mark.parametrize("flags", [[], ["--no-input"]])
def test_where_nobody_can_be_asked_it_says_once_how_to_decide_and_goes_on_waiting(
    held: Careful, flags: list[str]
) -> None:
    argv = command("chat", *flags, "-m", "gpt-4o-echo", f"Write to {MAIL}")
    with subprocess.Popen(
        argv, env=held.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said_first = process.stderr.readline()
        time.sleep(1.2)  # another look
        (row,) = held.waiting()
        assert process.poll() is None
        held.served.post(f"/api/holds/{row['id']}", {"decision": "approve"})
        out, more = process.communicate(timeout=20)
    assert said_first == f"Waits for a person: membrain pii approve {row['id'][:6]}\n"
    assert (process.returncode, out, more) == (0, f"Write to {MAIL}\n", "")


def test_without_input_nobody_is_asked_on_a_terminal_either(held: Careful) -> None:
    with held.chat("--no-input", f"Write to {MAIL}") as terminal:
        terminal.expect("Waits for a person: membrain pii approve ")
        terminal.type("y\r")
        time.sleep(0.3)
        (row,) = held.waiting()
        held.served.post(f"/api/holds/{row['id']}", {"decision": "deny"})
        terminal.expect("✗ A person at the gateway decided not to send this request.")
        assert terminal.finish() == Exit.REFUSED
    assert ASKED not in terminal.text


def holds_asked(sink: Sink) -> int:
    """How often somebody looked for holds."""
    return sum(one.path.startswith("/api/holds") for one in sink.requests)


def test_an_answer_that_comes_at_once_costs_no_look(sink: Sink) -> None:
    tell(console(), Session(sink.url, asking=Asking("echo")).ask("Hi"))
    time.sleep(0.5)
    assert holds_asked(sink) == 0


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks come soon: after 50 ms, and then each 300 ms."""
    monkeypatch.setattr("membrain_cli.chat.tell.FIRST_LOOK", 0.05)
    monkeypatch.setattr("membrain_cli.chat.tell.EACH_LOOK", 0.3)


@pytest.mark.usefixtures("hurried")
def test_looking_ends_with_the_first_word(sink: Sink) -> None:
    """Pieces come each 200 ms, for longer than the pause between two looks."""
    sink.script("/api/holds", Reply(200, []), forever=True)
    tell(console(), Session(sink.url, asking=Asking("slow-200-chunks-4")).ask("Hi"))
    assert holds_asked(sink) == 1


@pytest.mark.usefixtures("hurried")
def test_who_may_not_look_does_not_look_again(sink: Sink) -> None:
    sink.script("/api/holds", Reply(403, {"error": {"message": "Not for this key.", "code": "forbidden"}}))
    watch = Watch(console(), Session(sink.url), "Hi")
    with watch:
        time.sleep(0.6)
    assert holds_asked(sink) == 1


def test_many_findings_are_counted_and_the_first_are_shown() -> None:
    context = {"place": "messages[0].content", "label": "EMAIL", "before": "a\x1b[31m\n", "after": "", "tail": "rg"}
    hold = {
        "id": "a91f04c2",
        "model": "m",
        "labels": {"EMAIL": MOST_SHOWN + 3},
        "contexts": [context] * (MOST_SHOWN + 3),
    }
    lines = [visible(each) for each in held_lines(console(), hold)]
    assert lines[0] == "! Waits for you: 15 email; would go to m."
    assert lines[1] == "  messages[0].content   email   a …rg"
    assert lines[-1] == "  3 more: membrain pii holds a91f04"
    assert len(lines) == MOST_SHOWN + 2
