"""The slash commands: found by name, refused when it is not their time, and doing what their words say."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from membrain.records import Attempt, AuditRecord, Candidate, Decision
from membrain_cli.chat import slash
from membrain_cli.chat.session import Asking, Session
from membrain_cli.chat.tell import sent_lines
from membrain_cli.console import CommandError, Console, visible
from tests.cli.shell import Screen
from tests.served import Served
from tests.sink import Reply, Sink


class Answers(io.StringIO):
    """A person who types the same line each time."""

    def isatty(self) -> bool:
        return True

    def readline(self, _size: int | None = -1, /) -> str:
        return self.getvalue()


@dataclass
class Talk:
    """A conversation that only remembers what it was told to ask."""

    console: Console
    session: Session
    asked: list[str] = field(default_factory=list)
    left: bool = False

    def ask(self, text: str) -> None:
        self.asked.append(text)

    def leave(self) -> None:
        self.left = True

    def do(self, line: str) -> str:
        """Do *line*, and give what was said to it."""
        stream = self.console.stderr
        assert isinstance(stream, io.StringIO)
        before = len(stream.getvalue())
        found = slash.parse(line)
        assert found is not None
        slash.run(self, *found)
        return stream.getvalue()[before:]

    def refuses(self, line: str) -> str:
        """The sentence that *line* fails with."""
        with pytest.raises(CommandError) as caught:
            self.do(line)
        return caught.value.message


@pytest.fixture
def talk(sink: Sink) -> Iterator[Talk]:
    """A conversation with one question answered."""
    sink.models = ["gpt-4o", "gpt-4o-mini", "ollama/llama3", "local/default"]
    session = Session(sink.url, asking=Asking())
    session.keep("Capital of France?", "Paris.")
    yield Talk(Console(Answers("y\n"), io.StringIO(), io.StringIO(), {}), session)
    session.hang_up()


@pytest.fixture
def fresh(sink: Sink) -> Talk:
    """A conversation in which nothing was said."""
    return Talk(Console(Answers("n\n"), io.StringIO(), io.StringIO(), {}), Session(sink.url))


@dataclass
class Heard(Talk):
    """A conversation with a real gateway, in which questions are asked."""

    def say(self, text: str) -> None:
        """Ask *text*, and hear all of the answer."""
        for _ in self.session.ask(text):
            pass


@pytest.fixture
def heard(served: Served) -> Iterator[Heard]:
    """A conversation with a gateway whose provider says what it hears."""
    session = Session(served.url, asking=Asking("gpt-4o-echo"))
    yield Heard(Console(Answers(""), io.StringIO(), io.StringIO(), {}), session)
    session.hang_up()


# --- finding -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("/help", ("help", "")),
        ("/Model  gpt-4o ", ("model", "gpt-4o")),
        ("/system You are  terse.", ("system", "You are  terse.")),
        ("/max-cost 0.01", ("max-cost", "0.01")),
        ("/?", ("?", "")),
        ("/etc/hosts is a file", None),
        (" /help", None),
        ("/help\nand more", None),
        ("// a comment", None),
        ("help", None),
        ("1/2", None),
    ],
)
def test_a_command_is_one_line_that_begins_with_a_slash_and_a_word(line: str, found: tuple[str, str] | None) -> None:
    """A path, a paste, or a line behind a space is a message."""
    assert slash.parse(line) == found


@pytest.mark.parametrize(
    ("line", "guess"),
    [
        ("/modle gpt-4o", "/model"),
        ("/temperature 1", "/temp"),
        ("/qiut", "/quit"),
        ("/sav x", "/save"),
        ("/r", "/retry"),
    ],
)
def test_a_mistyped_command_is_answered_with_the_nearest(talk: Talk, line: str, guess: str) -> None:
    assert talk.refuses(line) == f"No command {line.split(maxsplit=1)[0]}. Did you mean {guess}?"


def test_a_strange_command_is_answered_with_where_they_all_are(talk: Talk) -> None:
    with pytest.raises(CommandError) as caught:
        talk.do("/xyzzy")
    assert caught.value.remedies == (("All of them", "/help"),)


@pytest.mark.parametrize(("word", "name"), slash.ALSO.items())
def test_words_of_other_chats_are_understood(word: str, name: str) -> None:
    assert name in slash.NAMES
    assert word not in slash.NAMES


def test_help_shows_every_command_within_eighty_columns(talk: Talk) -> None:
    shown = talk.do("/help")
    assert all(f"/{each.name} {each.args}".strip() in shown for each in slash.TABLE)
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("name", ["retry", "undo", "copy", "save"])
def test_what_needs_an_answer_waits_for_one(fresh: Talk, name: str) -> None:
    assert fresh.refuses(f"/{name}") in {"There is no answer yet.", "Nothing was asked yet."}


# --- wishes --------------------------------------------------------------------------------------------------


def test_model_is_chosen_and_told(talk: Talk) -> None:
    assert talk.do("/model") == "Model: auto\n"
    assert talk.do("/model gpt-4o") == "Model: gpt-4o\n"
    assert talk.session.asking.model == "gpt-4o"


def test_a_model_that_is_not_listed_is_taken_with_a_word(talk: Talk) -> None:
    """The gateway may know more than it lists."""
    assert talk.do("/model gpt-4o-mimi").startswith(
        "Model: gpt-4o-mimi  (not in the gateway's list; did you mean gpt-4o-"
    )
    assert talk.session.asking.model == "gpt-4o-mimi"


def test_tier_is_chosen_and_left_to_the_gateway_again(talk: Talk) -> None:
    assert talk.do("/tier best") == "Tier: best\n"
    assert talk.session.asking.tier == "best"
    assert talk.do("/tier off") == "Tier: as the gateway is set\n"
    assert talk.session.asking.tier is None
    assert talk.refuses("/tier cheap") == "No tier cheap. There are fast, balanced, best, and off."


def test_private_names_who_may_answer(talk: Talk) -> None:
    assert talk.do("/private on") == "Private: only models on this machine.  (ollama/llama3)\n"
    assert talk.session.asking.private
    assert talk.do("/private off") == "Not private: any model may answer.\n"
    assert not talk.session.asking.private
    assert talk.refuses("/private maybe") == "Private is on or off."


@pytest.mark.parametrize(
    ("name", "wish", "shown"),
    [
        ("max-cost", "max_cost", "Price: $0.5 for 1K tokens at the most\n"),
        ("temp", "temperature", "Temperature: 0.5\n"),
    ],
)
def test_numbers_are_set_and_unset(talk: Talk, name: str, wish: str, shown: str) -> None:
    assert talk.do(f"/{name} 0.5") == shown
    assert getattr(talk.session.asking, wish) == 0.5
    talk.do(f"/{name} off")
    assert getattr(talk.session.asking, wish) is None


@pytest.mark.parametrize("number", ["-1", "cheap", "nan", "inf", "1e999"])
def test_what_is_no_amount_is_refused(talk: Talk, number: str) -> None:
    assert talk.refuses(f"/max-cost {number}") == "That must be a price in dollars, like 0.01, or off."


def test_system_is_set_shown_and_unset(talk: Talk) -> None:
    talk.do("/system Answer in verse.")
    assert talk.session.said("Hi")[0] == {"role": "system", "content": "Answer in verse."}
    assert talk.do("/system") == "System: Answer in verse.\n"
    talk.do("/system off")
    assert talk.session.asking.system is None


# --- the conversation ----------------------------------------------------------------------------------------


def test_retry_asks_the_last_question_again_without_its_answer(talk: Talk) -> None:
    talk.do("/retry")
    assert talk.asked == ["Capital of France?"]
    assert talk.session.messages == []


def test_retry_after_a_failure_asks_what_failed(talk: Talk) -> None:
    talk.session.draft = "And of Spain?"
    talk.do("/retry")
    assert talk.asked == ["And of Spain?"]
    assert len(talk.session.messages) == 2


def test_undo_says_what_it_took_back(talk: Talk) -> None:
    assert talk.do("/undo").startswith("Taken back: Capital of France?")
    assert talk.session.messages == []


def test_clear_forgets(talk: Talk) -> None:
    talk.do("/clear")
    assert talk.session.messages == []


def editor(folder: Path, script: str) -> dict[str, str]:
    """An environment whose editor does *script* with the file."""
    path = folder / "editor"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return {"EDITOR": str(path), "PATH": "/usr/bin:/bin"}


def test_edit_asks_what_was_written(talk: Talk, tmp_path: Path) -> None:
    talk.console.environ = editor(tmp_path, f'cp "$1" {tmp_path}/seen; printf "of Spain?\\n\\n" >> "$1"')
    talk.do("/edit Capital ")
    assert talk.asked == ["Capitalof Spain?"]
    assert (tmp_path / "seen").read_text() == "Capital"


def test_edit_begins_with_the_question_that_was_taken_back(talk: Talk, tmp_path: Path) -> None:
    talk.console.environ = editor(tmp_path, "true")
    talk.do("/undo")
    talk.do("/edit")
    assert talk.asked == ["Capital of France?"]


def test_an_empty_edit_asks_nothing(talk: Talk, tmp_path: Path) -> None:
    talk.console.environ = editor(tmp_path, ': > "$1"')
    assert talk.do("/edit Something") == "Nothing was written, so nothing is asked.\n"
    assert talk.asked == []


def test_an_editor_that_fails_asks_nothing(talk: Talk, tmp_path: Path) -> None:
    talk.console.environ = editor(tmp_path, "exit 1")
    assert talk.refuses("/edit Something") == "The editor did not end well."
    assert talk.asked == []


def test_copy_hands_the_answer_to_the_terminal(talk: Talk) -> None:
    talk.session.keep("And?", "Ünd \x1b[31m so")
    talk.do("/copy")
    written = talk.console.stdout.getvalue()  # type: ignore[attr-defined]  # a StringIO
    sequence, text, end = written.partition(";c;")[0], written.partition(";c;")[2][:-1], written[-1]
    assert (sequence, end) == ("\x1b]52", "\x07")
    assert base64.b64decode(text).decode() == "Ünd \x1b[31m so"


def test_a_saved_conversation_is_opened_again(talk: Talk, fresh: Talk, tmp_path: Path) -> None:
    talk.session.asking.system = "Be brief."
    file = tmp_path / "talk of today.json"
    talk.do(f"/save {file}")
    assert file.stat().st_mode & 0o777 == 0o600
    assert "Paris." in fresh.do(f"/open {file}")
    assert fresh.session.messages == talk.session.messages
    assert fresh.session.asking.system == "Be brief."


def test_save_asks_before_it_replaces_a_file(talk: Talk, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("precious")
    talk.console.stdin = Answers("n\n")
    talk.do(f"/save {file}")
    assert file.read_text() == "precious"
    talk.console.stdin = Answers("y\n")
    talk.do(f"/save {file}")
    assert json.loads(file.read_text())["format"] == slash.FORMAT


def test_save_says_where_it_cannot_write(talk: Talk, tmp_path: Path) -> None:
    assert talk.refuses(f"/save {tmp_path}/none/here.json").endswith("No such file or directory.")
    assert talk.refuses("/save") == "Which file?"


def test_open_keeps_the_conversation_unless_told_otherwise(talk: Talk, tmp_path: Path) -> None:
    talk.do(f"/save {tmp_path}/talk.json")
    talk.session.keep("And of Spain?", "Madrid.")
    talk.console.stdin = Answers("n\n")
    talk.do(f"/open {tmp_path}/talk.json")
    assert talk.session.last_answer == "Madrid."


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        b'{"format": "membrain chat 1", "messages": "x"}',
        b'{"format": "membrain chat 1", "messages": [{"role": "system", "content": "x"}]}',
        b'{"format": "membrain chat 1", "messages": [{"role": "user", "content": [1]}]}',
        b'{"messages": []}',
    ],
)
def test_open_takes_nothing_but_a_saved_conversation(fresh: Talk, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    assert fresh.refuses(f"/open {file}") == f"{file} is not a saved conversation."
    assert fresh.session.messages == []


def test_open_says_why_it_cannot_read(fresh: Talk, tmp_path: Path) -> None:
    assert fresh.refuses(f"/open {tmp_path}/none").endswith("No such file or directory.")


def test_cost_tells_the_last_and_all(talk: Talk) -> None:
    record = AuditRecord("id", "t", "chat", "/", "auto", answered_model="gpt-4o", provider="openai", cost_micros=400)
    talk.session.last = record
    talk.session.totals.add(record)
    assert talk.do("/cost") == "gpt-4o · openai · $0.0004\n1 exchange · $0.0004\n"


def test_quit_leaves(talk: Talk) -> None:
    talk.do("/quit")
    assert talk.left


# --- what left -----------------------------------------------------------------------------------------------

MAIL = "ada.lovelace@corp-mail.net"


def shown(talk: Talk, line: str) -> str:
    """What *line* writes to stdout."""
    stream = talk.console.stdout
    assert isinstance(stream, io.StringIO)
    before = len(stream.getvalue())
    talk.do(line)
    return stream.getvalue()[before:]


def test_sent_shows_what_the_provider_got(heard: Heard, sink: Sink) -> None:
    heard.say(f"Draft a reply to {MAIL}")
    (got,) = [message["content"] for message in sink.requests[-1].json()["messages"]]
    assert re.fullmatch(r"Draft a reply to EMAIL_\w{16}", got)
    assert heard.session.last_answer == f"Draft a reply to {MAIL}"
    assert shown(heard, "/sent") == f"What left this machine:\n  user   {got}\n"


def test_sent_shows_the_last_question_and_all_of_it_when_asked(heard: Heard, sink: Sink) -> None:
    heard.session.asking.system = f"Write to {MAIL} only."
    heard.session.asking.temperature = 0.5
    heard.say("One")
    heard.say(f"Two\nfor {MAIL}")
    system, *_, last = (message["content"] for message in sink.requests[-1].json()["messages"])
    two = last.replace("\n", "\n         ")
    assert shown(heard, "/sent") == f"What left this machine:\n  user   {two}\n"
    assert shown(heard, "/sent all").splitlines() == [
        "What left this machine:",
        f"  system        {system}",
        "  user          One",
        "  assistant     One",
        "  user          Two",
        f"                {last.splitlines()[1]}",
        "  temperature   0.5",
    ]


def test_sent_says_that_nothing_left_and_what_the_model_here_was_given(heard: Heard, sink: Sink) -> None:
    heard.session.asking = Asking("ollama/llama3:latest", private=True)
    heard.say("I am here")
    got = sink.requests[-1].json()["messages"][0]["content"]
    assert shown(heard, "/sent") == (
        f"Nothing left: ollama/llama3:latest answered on this machine.\nIt was given:\n  user   {got}\n"
    )


def test_sent_says_that_a_model_here_saw_the_values(heard: Heard, sink: Sink) -> None:
    """It gets what was said, but kept is what would have left."""
    heard.session.asking = Asking("ollama/llama3:latest", private=True)
    heard.say(f"I am {MAIL}")
    first, second, words = shown(heard, "/sent").splitlines()
    assert first == "Nothing left: ollama/llama3:latest answered on this machine."
    assert second == "It was given this, with the values themselves for placeholders:"
    assert re.fullmatch(r"  user   I am EMAIL_[a-z0-9]{16}", words)
    assert sink.requests[-1].json()["messages"][0]["content"] == f"I am {MAIL}"


def test_sent_says_that_nothing_left_of_what_was_refused(heard: Heard) -> None:
    """And never shows the question before instead."""
    heard.say("Hello")
    heard.session.asking.private = True
    with pytest.raises(CommandError):
        heard.say(f"I am {MAIL}")
    assert shown(heard, "/sent") == "Nothing left: it was refused (private refused).\n"


def test_sent_shows_what_a_provider_got_that_failed(heard: Heard) -> None:
    heard.session.asking.model = "gpt-4o-status-500"
    with pytest.raises(CommandError):
        heard.say("Hello")
    assert shown(heard, "/sent") == "What left this machine, to openai:\n  user   Hello\n"


def test_sent_shows_what_left_though_the_answer_was_stopped(heard: Heard) -> None:
    heard.session.asking.model = "gpt-4o-slow-20-chunks-200"
    answer = heard.session.ask("Go on")
    next(iter(answer))
    answer.stop()
    assert shown(heard, "/sent") == "What left this machine:\n  user   Go on\n"


def test_sent_forgets_no_question_that_was_cleared_here(heard: Heard) -> None:
    heard.say("Hello")
    heard.do("/clear")
    assert shown(heard, "/sent").endswith("user   Hello\n")


@pytest.mark.parametrize("word", ["", " all"])
def test_sent_waits_for_a_question(fresh: Talk, talk: Talk, word: str) -> None:
    """One of a conversation that was opened was not asked here."""
    assert fresh.refuses(f"/sent{word}") == talk.refuses(f"/sent{word}") == "Nothing was asked yet."


def test_sent_knows_two_forms_only(heard: Heard) -> None:
    heard.say("Hello")
    assert heard.refuses("/sent everything") == "It is /sent, or /sent all for the whole request."


def test_sent_does_not_guess_about_a_question_without_an_id(fresh: Talk) -> None:
    """Stopped before a word came, it may have left or not."""
    fresh.session.draft = "Hello"
    with pytest.raises(CommandError) as caught:
        fresh.do("/sent")
    assert "cannot be told here" in caught.value.message
    assert caught.value.remedies == (("Look it up", "membrain audit"),)


def test_sent_says_why_it_is_not_kept(talk: Talk, sink: Sink) -> None:
    talk.session._id = "7f3a"
    record = AuditRecord("7f3a", "t", "chat", "/", "auto", attempts=(Attempt("openai", "gpt-4o", 9.0),))
    error = {"message": "Nothing is kept of it. It was long ago.", "code": "not_kept"}
    sink.script("/api/audit/7f3a", Reply(200, record.to_dict()))
    sink.script("/api/sent/7f3a", Reply(404, {"error": error}))
    assert talk.refuses("/sent") == "Nothing is kept of it. It was long ago."


def test_sent_does_not_wait_for_a_gateway_that_is_gone(talk: Talk) -> None:
    talk.session._id = "7f3a"
    talk.session.url = "http://127.0.0.1:9"
    assert talk.refuses("/sent") == "The gateway does not answer at http://127.0.0.1:9."


# --- why -----------------------------------------------------------------------------------------------------


def decided(sink: Sink, talk: Talk, **facts: Any) -> str:
    """What `/why` shows of an exchange that had two candidates, one at a time, and two who were dropped."""
    candidates = (
        Candidate("gpt-4o", "openai", kept=True, reason="tier balanced"),
        Candidate("claude-sonnet-4", "anthropic", kept=True, reason="tier balanced"),
        Candidate("o1", "openai", kept=False, reason="over $0.001"),
        Candidate("x-large", "groq", kept=False, reason="over $0.001"),
    )
    record = AuditRecord(**{
        "id": "7f3a9c0d1e2f", "time": "t", "dialect": "chat", "path": "/", "model": "auto", "outcome": "answered",
        "attempts": (Attempt("openai", "gpt-4o", 1.0),),
        "decision": Decision("auto", "balanced", False, candidates), **facts,
    })  # fmt: skip
    talk.session._id = record.id
    sink.script(f"/api/audit/{record.id}", Reply(200, record.to_dict()))
    return shown(talk, "/why")


def test_why_tells_who_was_chosen_who_was_next_and_why_others_were_not(talk: Talk, sink: Sink) -> None:
    assert decided(sink, talk) == (
        "gpt-4o            openai      chosen     tier balanced\n"
        "claude-sonnet-4   anthropic   fallback   tier balanced\n"
        "2 more were dropped: over $0.001.\n"
    )
    stream = talk.console.stderr
    assert isinstance(stream, io.StringIO)
    assert stream.getvalue() == "All of it, by today's rules:  membrain route explain --replay 7f3a9c\n"


def test_why_tells_who_failed_before(talk: Talk, sink: Sink) -> None:
    tried = (Attempt("openai", "gpt-4o", 1.0, "provider_failed"), Attempt("anthropic", "claude-sonnet-4", 2.0))
    assert [line.split()[2] for line in decided(sink, talk, attempts=tried).splitlines()[:2]] == ["failed", "chosen"]


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"cached": True}, "The cache knew the answer.\n"),
        (
            {"decision": None, "outcome": "refused", "error": "pii_blocked"},
            "Nobody was asked: it was refused (pii blocked).\n",
        ),
    ],
)
def test_why_says_that_nobody_was_asked(facts: dict[str, Any], told: str, talk: Talk, sink: Sink) -> None:
    assert decided(sink, talk, **facts) == told


def test_why_tells_of_the_real_gateway(heard: Heard) -> None:
    heard.say("Hello")
    assert re.fullmatch(r"gpt-4o-echo   openai   chosen   \S.*\n", shown(heard, "/why"))


def test_why_waits_for_a_question(fresh: Talk, talk: Talk) -> None:
    assert fresh.refuses("/why") == talk.refuses("/why") == "Nobody was asked yet."


# --- completion ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/mo", ["/model "]),
        ("/un", ["/undo"]),
        ("/model g", ["/model gpt-4o", "/model gpt-4o-mini"]),
        ("/model au", ["/model auto"]),
        ("/tier b", ["/tier balanced", "/tier best"]),
        ("/private o", ["/private on", "/private off"]),
        ("/sent ", ["/sent all"]),
        ("/temp 1", []),
        ("/nothing x", []),
        ("Dear Sir", []),
        ("m", []),
    ],
)
def test_commands_and_their_arguments_are_completed(talk: Talk, text: str, found: list[str]) -> None:
    assert slash.complete(talk.session, text) == found


def test_files_are_completed_with_their_folder(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "one two.json").touch()
    (tmp_path / "one").mkdir()
    (tmp_path / ".hidden").touch()
    assert slash.complete(talk.session, f"/open {tmp_path}/o") == [
        f"/open {tmp_path}/one/",
        f"/open {tmp_path}/one two.json",
    ]
    assert slash.complete(talk.session, f"/open {tmp_path}/") == slash.complete(talk.session, f"/open {tmp_path}/o")
    assert slash.complete(talk.session, f"/open {tmp_path}/.h") == [f"/open {tmp_path}/.hidden"]
    assert slash.complete(talk.session, f"/open {tmp_path}/none/x") == []


# --- what a stranger tries -----------------------------------------------------------------------------------


def test_a_question_that_is_asked_again_is_shown_again(talk: Talk) -> None:
    """It was not typed just now, so without that nobody could tell what the answer is to."""
    assert talk.do("/retry") == "› Capital of France?\n"  # noqa: RUF001  # the prompt of our drawings
    assert talk.asked == ["Capital of France?"]


def test_private_says_so_when_the_chosen_model_may_be_elsewhere(talk: Talk) -> None:
    talk.session.asking.model = "gpt-4o"
    assert "gpt-4o may be none.  Let the router choose:  /model auto" in talk.do("/private on")
    talk.session.asking.model = "ollama/llama3"
    assert "/model auto" not in talk.do("/private on")


def test_a_file_that_is_not_to_be_replaced_is_said_to_stay(talk: Talk, tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text("mine")
    talk.console.stdin = Answers("n\n")
    assert "Left as it was.  Under another name:  /save FILE" in talk.do(f"/save {path}")
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    "line",
    [
        "/tier balancd", "/private maybe", "/max-cost x", "/temp x", "/save", "/open", "/open /nowhere/at/all",
        "/sent everything", "/nothing-like-it",
    ],
)  # fmt: skip
def test_every_refusal_ends_in_what_to_type(talk: Talk, line: str) -> None:
    talk.session._id = "7f3a9c"
    with pytest.raises(CommandError) as caught:
        talk.do(line)
    assert all(command.startswith("/") for _, command in caught.value.remedies)
    assert caught.value.remedies


def test_a_tier_that_is_nearly_one_is_guessed(talk: Talk) -> None:
    assert talk.refuses("/tier balancd").endswith("Did you mean balanced?")


def test_what_left_is_folded_at_blanks_so_that_a_placeholder_stays_whole() -> None:
    shell = Console(Screen(), Screen(), Screen(), {"NO_COLOR": "1", "COLUMNS": "40"})
    body = {"messages": [{"role": "user", "content": "Draft a reply to EMAIL_rzzwrwwyz5n4k739 now"}]}
    assert [visible(each) for each in sent_lines(shell, body)] == [
        "  user   Draft a reply to\n         EMAIL_rzzwrwwyz5n4k739 now"
    ]
