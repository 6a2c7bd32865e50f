"""A tool's program: whether it is there, which version, and what it is given when it is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from membrain_cli.doctor import program as module
from membrain_cli.doctor.program import installed
from tests.cli.patients import patient, program

INSTALL = "get it"


@pytest.mark.parametrize(
    ("script", "state", "words"),
    [
        ("echo '2.1.330 (Claude Code)'", "fine", "2.1.330"),
        ("echo codex-cli 0.169.0-alpha.1", "fine", "0.169.0-alpha.1"),
        ("echo aider 0.86.2", "fine", "0.86.2"),
        ("echo no version", "look", "installed, but does not say its version"),
        ("echo 1.2; exit 1", "look", "installed, but does not say its version"),
        ("exit 0", "look", "installed, but does not say its version"),
    ],
)
def test_the_version_is_told(script: str, state: str, words: str, alone: dict[str, str], user_home: Path) -> None:
    program(user_home, "tool", script)
    finding = installed(patient(alone), "tool", INSTALL)
    assert (finding.state, finding.name, finding.words) == (state, "tool", words)


def test_what_is_not_on_the_path_is_told_with_how_to_get_it(alone: dict[str, str]) -> None:
    finding = installed(patient(alone), "tool", INSTALL)
    assert (finding.state, finding.remedy) == ("broken", INSTALL)


def test_a_program_gets_no_key_no_address_and_no_way_out(alone: dict[str, str], user_home: Path, work: Path) -> None:
    told = work / "told"
    program(user_home, "tool", f'/usr/bin/env > {told}; echo "$@" $PWD >> {told}; echo 1.0')
    secret = {"OPENAI_API_KEY": "canary", "ANTHROPIC_AUTH_TOKEN": "canary", "ANTHROPIC_BASE_URL": "http://canary"}
    proxies = {"HTTPS_PROXY": "http://canary:3128", "NODE_OPTIONS": "--require canary"}
    assert installed(patient({**alone, **secret, **proxies}, work), "tool", INSTALL).state == "fine"
    lines = told.read_text().splitlines()
    assert "canary" not in told.read_text()
    assert "HTTPS_PROXY=http://127.0.0.1:9" in lines
    assert lines[-1] == "--version /"


def test_a_program_that_hangs_is_left(alone: dict[str, str], user_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 0.1)
    program(user_home, "tool", "exec /bin/sleep 30")
    assert installed(patient(alone), "tool", INSTALL).state == "look"


def test_a_program_that_cannot_be_run_is_told(alone: dict[str, str], user_home: Path) -> None:
    program(user_home, "tool", "").write_bytes(b"\x7fELF nothing")
    assert installed(patient(alone), "tool", INSTALL).state == "look"
