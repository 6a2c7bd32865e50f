"""Every command before every reader: windows of four sizes, a dumb terminal, one without UTF-8, a pipe, a program."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from membrain_cli.console import CONTROLS, SGR, Console, Exit, columns_of
from membrain_cli.main import COMMANDS, run
from tests.cli.hostile.foreign import ID, Foreign
from tests.cli.shell import Screen

NAME = "gpt-4o-mini"
"""What the gateway calls everything."""

LINES: dict[str, tuple[str, ...]] = {
    "up": ("up",),
    "down": ("down --prot",),  # who would be ended is the test itself
    "restart": ("restart --prot",),
    "status": ("status",),
    "logs": ("logs", "logs --level lowd"),
    "top": ("top --theem",),
    "chat": ("chat --tier fst hi", "chat hi"),
    "env": ("env --shell bash", "env --shell fsh"),
    "run": ("run", "run -- there-is-no-such-tool"),
    "audit": ("audit", f"audit show {ID}", "audit show", "audit verify"),
    "usage": ("usage", "usage --by project", "usage --by modle"),
    "route": ("route explain", "route tiers", "route explian"),
    "models": ("models",),
    "pii": ("pii", "pii holds", f"pii holds {ID}", "pii test --level strct", "pii list"),
    "keys": ("keys", "keys st", "keys set opnai", "keys revoke nobody"),
    "local": ("local",),
    "config": ("config", "config --all", "config set tier quick", "config get teir"),
    "conform": ("conform --lisst",),
    "doctor": ("doctor clod", "doctor --jsn"),
    "help": ("help environment", "help exit-codes", "help output", "help privacy", "helpp"),
}
"""What is asked of each command of the front page."""
STATES = {"local", "route explain"}
"""What says how it stands with its exit status, and is no error."""
FITS = {
    "audit", "usage", "usage --by project", "route explain", "route tiers", "models", "pii holds", "config",
    "config --all",
}  # fmt: skip
"""Tables, which are never wider than the window."""


class Ascii(Screen):
    """A terminal that does not speak UTF-8."""

    encoding = "ascii"


@dataclass(frozen=True)
class Reader:
    """Who reads: the kind of stream, its columns, and what the environment says of it."""

    kind: type[io.StringIO] = Screen
    columns: int = 120
    environ: dict[str, str] = field(default_factory=dict)
    json: bool = False


READERS = {
    "40x12": Reader(columns=40),
    "80x24": Reader(columns=80),
    "120x40": Reader(columns=120),
    "200x60": Reader(columns=200),
    "dumb": Reader(environ={"TERM": "dumb"}),
    "no colour": Reader(environ={"NO_COLOR": "1"}),
    "ascii": Reader(kind=Ascii),
    "pipe": Reader(kind=io.StringIO),
    "json": Reader(kind=io.StringIO, json=True),
}
OURS = re.compile(rf"\x1b\[(?:0|{'|'.join(SGR.values())})m|\r\x1b\[K")
"""The colours of the house, and how it wipes what was shown while something took its time."""


@pytest.fixture
def gateway(environ: dict[str, str]) -> Iterator[Foreign]:
    """A gateway that has something to say to every command."""
    with Foreign(environ, NAME) as gateway:
        yield gateway


def ask(line: str, reader: Reader, environ: dict[str, str]) -> tuple[int, str, str]:
    """Status, stdout and stderr of *line* before *reader*."""
    more = {"COLUMNS": str(reader.columns), "TERM": "xterm-256color", **reader.environ}
    shell = Console(reader.kind(), reader.kind(), reader.kind(), {**environ, **more}, json=reader.json)
    status = run(line.split(), shell)
    assert isinstance(shell.stdout, io.StringIO)
    assert isinstance(shell.stderr, io.StringIO)
    return status, shell.stdout.getvalue(), shell.stderr.getvalue()


def test_every_command_of_the_front_page_is_asked() -> None:
    """A new command wants a line here."""
    assert list(LINES) == [row.name for row in COMMANDS]


def is_answer(status: int, line: str) -> bool:
    """Whether it is no error, but how it stands."""
    return status == Exit.OK or line in STATES


def mends(err: str) -> bool:
    """Whether an error ends in what to type, or in what was probably meant."""
    last = err.splitlines()[-1]
    return (
        "Did you mean" in " ".join(err.split())
        or re.fullmatch(r"  [A-Z].*? {2,}(?:… \| )?membrain .*", last) is not None
    )


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize("name", READERS)
def test_every_command_reads_well(name: str, environ: dict[str, str]) -> None:
    reader = READERS[name]
    for line in [each for lines in LINES.values() for each in lines]:
        status, out, err = ask(line, reader, environ)
        said = out + err
        assert "inside membrain" not in err, line
        assert is_answer(status, line) or mends(OURS.sub("", err)), line
        assert CONTROLS.findall(OURS.sub("", said)) == [], line
        if reader.environ or reader.kind is io.StringIO:
            assert "\x1b[" not in said.replace("\r\x1b[K", ""), line
        if reader.kind is Ascii:
            assert said.isascii(), line
        if reader.json and status == 0 and not line.startswith(("help", "env", "logs")):
            assert all(json.loads(each) is not None for each in out.splitlines()), line
        if reader.kind is Screen and line in FITS:
            assert max(columns_of(each) for each in OURS.sub("", out).splitlines()) <= reader.columns, line
