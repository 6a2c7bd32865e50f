"""What others wrote never drives the terminal: in every place that prints, not one control byte comes out."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from membrain_cli.chat import slash
from membrain_cli.chat.session import Answer, Asking, Session
from membrain_cli.chat.tell import held_lines, receipt_line
from membrain_cli.console import CommandError, Console, Filter, clean
from membrain_cli.reach import Reach
from tests.cli.hostile.foreign import HOLD, HOSTILE, ID, NAME, PAYLOADS, STAYS, Foreign, controls, laid_down
from tests.cli.shell import Screen, invoke

NOTHING = "\x00"
"""Stands where a payload was dropped and nothing is left."""

LIVE = (
    "status", "audit", f"audit show {ID}", "usage", "usage --by project", "models", "route explain",
    "route explain auto hi", "route tiers", "keys", "keys test", "pii", "pii holds", f"pii holds {ID}",
    f"pii approve {ID}", "up", "chat hi", f"chat -m {NAME} hi", "chat --json hi", "audit show zz",
    f"audit show {ID} --wire",
)  # fmt: skip
"""Asked of a gateway that says it."""
KEPT = (
    "audit", f"audit show {ID}", f"audit show {ID} --wire", "audit export", "audit export --format csv", "usage",
    "usage --by project", "usage --by key", "logs", "keys", "audit verify", f"audit erase {ID} --dry-run",
)  # fmt: skip
"""Read from the disk while the gateway is down."""
TYPED = (
    f"{NAME}", f"audit {NAME}", f"audit show {NAME}", f"audit --outcome {NAME}", f"audit --since {NAME}",
    f"config set {NAME} 1", f"config set tier {NAME}", f"config get {NAME}", f"usage --by {NAME}",
    f"logs --level {NAME}", f"chat --tier {NAME} hi", f"route explain --tier {NAME}", f"pii scan {NAME}",
    f"audit verify --head {NAME}", f"run -- {NAME}", f"run --tier {NAME} -- true", f"keys set {NAME}",
    f"keys revoke {NAME} --yes", f"keys issue {NAME} --project {NAME}", f"env --shell {NAME}", f"help {NAME}",
    f"local {NAME}", f"up --port {NAME}", f"doctor {NAME}", f"models {NAME}", f"audit --{NAME}",
)  # fmt: skip
"""Typed, as the name of a file, a model, a project: whoever pastes a line has not written it either."""
AS_IT_IS = {f"audit show {ID} --wire", "audit export", "audit export --format csv"}
"""What hands a program bytes as they are kept."""


def words(line: str) -> list[str]:
    """*line* as argv; the foreign name is one word."""
    return [word.replace(NOTHING, NAME) for word in line.replace(NAME, NOTHING).split()]


WIPED = "\r\x1b[K"
"""Our own, after what was shown while something took its time."""


def silent(line: str, environ: dict[str, str], *, tty: bool) -> None:
    """Fail if *line* prints anything that drives a terminal, or breaks."""
    ran = invoke(words(line), {**environ, "COLUMNS": "80"}, tty=tty)
    assert "inside membrain" not in ran.err
    assert controls(ran.err.replace(WIPED, "")) == []
    if tty or line not in AS_IT_IS:
        assert controls(ran.out) == []


@pytest.mark.parametrize("tty", [True, False], ids=["terminal", "pipe"])
@pytest.mark.parametrize("kind", ["live", "kept", "typed"])
def test_nothing_that_others_wrote_drives_the_terminal(kind: str, tty: bool, environ: dict[str, str]) -> None:
    if kind == "kept":
        laid_down(environ)
    with Foreign(environ) if kind == "live" else contextlib.nullcontext():
        for line in {"live": LIVE, "kept": KEPT, "typed": TYPED}[kind]:
            silent(line, environ, tty=tty)


@pytest.mark.parametrize("line", ["audit --json", f"audit show {ID} --json", "usage --json", "keys --json"])
def test_json_keeps_every_sign_and_writes_none_of_them_raw(line: str, environ: dict[str, str]) -> None:
    """A program gets the text as it was; a terminal that it is sent to gets escapes."""
    laid_down(environ)
    ran = invoke(line.split(), environ)
    assert (ran.status, controls(ran.out), controls(ran.err)) == (0, [], [])
    assert all(json.loads(each) for each in ran.out.splitlines())
    if "audit" in line:
        assert NAME in (json.loads(each)["model"] for each in ran.out.splitlines())


@dataclass
class Talk:
    """A conversation that is only told what to do."""

    console: Console
    session: Session

    def ask(self, text: str) -> None:
        """Nobody is asked."""

    def leave(self) -> None:
        """Nobody is here."""


def test_no_slash_command_lets_it_through(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said, sent, saved, decided and counted, all of it written by others; and a failing upstream's words."""
    monkeypatch.chdir(tmp_path)  # files are saved, too
    saved = tmp_path / "talk.json"
    saved.write_text(json.dumps({"format": slash.FORMAT, "messages": [{"role": "assistant", "content": NAME}]}))
    with Foreign(environ) as gateway:
        gateway.answers[f"/api/sent/{ID}"] = {"body": {"messages": [{"role": "user", "content": NAME}], NAME: NAME}}
        running = Reach(environ).running
        assert running is not None
        session = Session(running.url, None, Asking(NAME, system=NAME))
        shell = Console(Screen("n\n" * 9), Screen(), Screen(), {"NO_COLOR": "1", "EDITOR": "false"})
        talk = Talk(shell, session)
        done = set()
        for each in slash.TABLE:
            if each.name == "copy":  # speaks to the terminal's clipboard, in base64
                continue
            for argument in ("", NAME.replace("\n", ""), str(saved), "all"):
                session._id, session.last = ID, gateway.record
                session.keep(NAME, NAME)
                try:
                    slash.run(talk, each.name, argument)
                    done.add(each.name)
                except CommandError as failure:
                    shell.show_failure(failure)
        for lines in (held_lines(shell, HOLD), [receipt_line(shell, Answer(session, NAME))]):
            for line in lines:
                shell.say(line)
        session.hang_up()
    assert isinstance(shell.stdout, Screen)
    assert isinstance(shell.stderr, Screen)
    told = shell.stdout.getvalue() + shell.stderr.getvalue()
    assert controls(told) == []
    assert {"sent", "why", "cost", "undo", "open", "model", "system"} <= done
    assert told.count(STAYS) > 20


def test_what_is_mere_text_is_shown_as_it_is(environ: dict[str, str]) -> None:
    """Rich's and Textual's markup is the model's own words; nothing of it is taken for ours."""
    with Foreign(environ):
        ran = invoke(["models"], {**environ, "COLUMNS": "400"}, tty=True)
    assert STAYS in ran.out


def test_a_file_with_a_hostile_name_is_named_harmlessly(tmp_path: Path, environ: dict[str, str]) -> None:
    file = tmp_path / "a\x1b]0;owned\x07\u202eb.txt"
    file.write_bytes(b"\xff\xfe")
    for argv in (["pii", "scan", str(file)], ["audit", "verify", "--head", str(file)], ["pii", "scan", f"{file}x"]):
        ran = invoke(argv, environ, tty=True)
        assert (ran.status != 0, controls(ran.out + ran.err.replace(WIPED, ""))) == (True, [])


# --- the filter, across chunks -------------------------------------------------------------------------------

SIGNS = st.lists(st.one_of(st.sampled_from(list(HOSTILE)), st.text(max_size=3)), max_size=60).map("".join)
CUTS = st.lists(st.integers(0, 120), max_size=10)


def cut(text: str, cuts: list[int]) -> Iterator[str]:
    """*text* in pieces that end at *cuts*."""
    ends = sorted({min(each, len(text)) for each in cuts} | {0, len(text)})
    return (text[begin:end] for begin, end in pairwise(ends))


@given(SIGNS, CUTS)
@example(HOSTILE, list(range(len(HOSTILE))))
def test_a_stream_in_any_pieces_shows_what_the_whole_would(text: str, cuts: list[int]) -> None:
    """The console's own stream, with our colours on: no piece of a sequence gets through because it came alone."""
    shell = Console(Screen(), Screen(), Screen(), {"FORCE_COLOR": "1"})
    for piece in cut(text, cuts):
        shell.write(piece)
    assert isinstance(shell.stdout, Screen)
    assert shell.stdout.getvalue() == Filter()(text)
    assert controls(shell.stdout.getvalue()) == []


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_cut_at_any_sign_leaves_the_words_around_it(name: str) -> None:
    text = f"before {PAYLOADS[name]}\nafter"
    for place in range(len(text)):
        keep = Filter()
        shown = keep(text[:place]) + keep(text[place:])
        assert shown == clean(text)
        assert shown.startswith("before ")
        assert shown.endswith("\nafter")
