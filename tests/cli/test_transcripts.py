"""What a person sees on a real terminal, as the design drew it: sessions replayed, one command after another.

In an expected screen "…" stands for any text on its line, and PORT, HOME and KEY for this test's own.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from membrain_cli.reach import Reach
from tests.cli.shell import command, environment
from tests.cli.terminal import Terminal
from tests.served import Served, free_port


def see(environ: dict[str, str], *argv: str, status: int = 0, columns: int = 120) -> str:
    """The screen after a command, when nothing is left of what was only there in between."""
    with Terminal(command(*argv), environ, columns=columns) as terminal:
        assert terminal.finish(20) == status, terminal.text
        assert terminal.screen.unknown == []
        return terminal.screen.text


def same(screen: str, expected: str, environ: dict[str, str]) -> None:
    """Fail unless *screen* is *expected*, line by line."""
    for name, text in (("PORT", environ["MEMBRAIN_PORT"]), ("HOME", environ["MEMBRAIN_HOME"])):
        expected = expected.replace(name, text)
    lines, wanted = screen.splitlines(), expected.strip("\n").splitlines()
    for line, pattern in zip(lines, wanted, strict=False):
        fits = re.fullmatch(".*?".join(re.escape(part) for part in pattern.split("…")), line)
        assert fits, f"{line!r}\n  is not\n{pattern!r}\n\n{screen}"
    assert len(lines) == len(wanted), screen


def test_the_first_minutes(environ: dict[str, str]) -> None:
    """A fresh machine: nothing configured, and every screen says what to type next."""
    fresh = {**environ, "MEMBRAIN_LOCAL_ENABLED": "true"}
    down = """
○ down
  Start it        membrain up
"""
    same(see(fresh, "status", status=3), down, fresh)
    first = """
● membrain is up   http://127.0.0.1:PORT   … s

  ○ ollama       not running        ollama serve
  ○ local        not installed      membrain local install
  ○ openai       no key             membrain keys set openai
  ○ anthropic    no key             membrain keys set anthropic

  Get a model    membrain local install
  Talk to it     membrain chat
  Point a tool   eval "$(membrain env)"
"""
    same(see(fresh, "up"), first, fresh)
    same(see(fresh, "up"), "● membrain is already up   http://127.0.0.1:PORT   … s", fresh)
    up = """
● up … s   http://127.0.0.1:PORT   pid …   v0.1.0

  today      0 exchanges   $0
  latency    nothing in the last 15 min
  policy     local · pii mask · tier balanced
  files      membrain config path

  ○ ollama        not running
  ○ local         not installed
  ○ openai        no key
  ○ anthropic     no key
"""
    same(see(fresh, "status"), up, fresh)
    same(see(fresh), up, fresh)
    env = """
export OPENAI_BASE_URL=http://127.0.0.1:PORT/v1
export OPENAI_API_BASE=http://127.0.0.1:PORT/v1
export OPENAI_API_KEY=ck_live_…
export ANTHROPIC_BASE_URL=http://127.0.0.1:PORT
export ANTHROPIC_AUTH_TOKEN=ck_live_…
# Use it:  eval "$(membrain env)"
"""
    same(see({**fresh, "SHELL": "/bin/bash"}, "env"), env, fresh)
    same(see(fresh, "audit"), "Nothing was asked yet.  Ask something:  membrain chat", fresh)
    same(see(fresh, "down"), "○ membrain is down   after … s, 0 exchanges, $0", fresh)
    same(see(fresh, "down"), "○ membrain is already down", fresh)
    same(
        see(fresh, "up"),
        "● membrain is up   http://127.0.0.1:PORT   … s   0 providers\n  Get a model    membrain local install",
        fresh,
    )
    same(see(fresh, "down"), "○ membrain is down   after … s, 0 exchanges, $0", fresh)


def test_a_day_with_a_provider(served: Served, beside: dict[str, str]) -> None:
    """Questions were asked; who asked, where they went, and what they cost."""
    served.chat("one", model="gpt-4o")
    served.chat("two", model="claude-haiku-4-5")
    table = """
  when     id       model                by…took…cost   pii    outcome
  0s ago   …   claude-haiku-4-5     anthropic…ms   …   ·      answered
  0s ago   …   gpt-4o               openai…ms   $0.0001   ·      answered
  2 shown, 2 today.  Follow: -f   One: membrain audit show ID   Filter: --help
"""
    same(re.sub(r"\d+s ago", "0s ago", see(beside, "audit")), table, beside)
    page = """
…   …   local, project default … answered, … ms

  asked      gpt-4o, by name
  answered   gpt-4o by openai
  tokens     … in, … out … cost  $0.0001
  left       sha256 …
  kept       no text

  audit … ms
  auth  … ms
  pii … ms
  rate_limit … ms
  budget … ms
  cache … ms
  dispatch … ms   first token … ms
              0 … ms

  chain      record …   seal … ← …   ✓
"""
    id = served.audit(model="gpt-4o")[0]["id"]
    same(see(beside, "audit", "show", id[:6]), page, beside)
    same(see(beside, "down"), "○ membrain is down   after … s, 2 exchanges, $…", beside)


def test_keys_in_and_out(served: Served, beside: dict[str, str]) -> None:
    issued = see(beside, "keys", "issue", "aider", "--project", "web")
    same(issued, "ck_live_…\nIssued to aider. It will not be shown again.", beside)
    key, machine = issued.splitlines()[0], Reach(beside).key
    assert machine is not None
    page = f"""
Provider keys                              kept in a file only you can read (HOME/config/keys.json)
  openai       not set                      membrain keys set openai
  anthropic    not set                      membrain keys set anthropic

Client keys                                programs of yours on this machine need none
  ck_live_…{machine[-4:]}   this machine             made by `membrain up`; used by env, run and chat
  ck_live_…{key[-4:]}   aider    project web      never used
"""
    same(see(beside, "keys", columns=200), page, beside)
    refused = """
✗ A key on the command line stays in your shell history. I did not read it.
  Type it hidden     membrain keys set openai
  From a program     … | membrain keys set openai --stdin
"""
    same(see(beside, "keys", "set", "openai", "sk-live-abc", status=2), refused, beside)
    with Terminal(command("keys", "revoke", "aider"), beside) as terminal:
        terminal.expect("[y/N] ")
        terminal.type("y\r")
        assert terminal.finish() == 0
        revoked = f"""
Revoke ck_live_…{key[-4:]} (aider, never used)? [y/N] y
✓ Revoked. Requests with it are refused from now on.
"""
        same(terminal.screen.text, revoked, beside)


def test_slips(environ: dict[str, str]) -> None:
    same(see(environ, "auditt", status=2), '✗ No command "auditt". Did you mean audit?', environ)
    config = Path(environ["MEMBRAIN_HOME"]) / "config" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[limits]\ndepth = "five"\n')
    told = """
✗ config.toml line 2: limits.depth is "five"; it must be …
  Mend it         membrain config edit
"""
    for argv in (["up"], ["config"], ["keys"], ["restart"]):
        same(see(environ, *argv, status=1), told, environ)


def test_a_tool_with_a_key_of_its_own(served: Served, beside: dict[str, str]) -> None:
    tool = "import openai; print(openai.OpenAI().models.list().data[0].id)"
    screen = see({**beside, "PYTHONWARNINGS": ""}, "run", "--", sys.executable, "-c", tool)
    assert screen.splitlines()[-2:] == ["auto", f"{Path(sys.executable).name} · 0 exchanges"]


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_when_asked(variables: dict[str, str], tmp_path: Path) -> None:
    environ = environment(tmp_path / "home", MEMBRAIN_PORT=str(free_port()), **variables)
    with Terminal(command("status"), environ) as terminal:
        terminal.finish()
        assert b"\x1b[" not in terminal.raw


def test_ascii_twins_where_the_terminal_is_not_utf_8(environ: dict[str, str]) -> None:
    with Terminal(
        command("status"), {**environ, "LANG": "C", "PYTHONIOENCODING": "ascii", "NO_COLOR": "1"}
    ) as terminal:
        terminal.finish()
        assert terminal.raw.startswith(b"o down")
