"""`completions/` holds what the program prints, and real shells can use it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shell import ROOT, command, environment
from tests.cli.trails import exchange, written

FILES = {"bash": "membrain.bash", "zsh": "_membrain", "fish": "membrain.fish", "powershell": "membrain.ps1"}
INSTALLED = [name for name in FILES if name != "powershell" and shutil.which(name)]
"""Not every machine has all of them; the one that checks submissions does. PowerShell's is asked without it."""


@pytest.fixture
def shell_environ(tmp_path: Path) -> dict[str, str]:
    """A PATH on which `membrain` is this program."""
    script = tmp_path / "bin" / "membrain"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.join(command())} "$@"\n')
    script.chmod(0o755)
    environ = environment(tmp_path / "home")
    return {**environ, "PATH": f"{script.parent}{os.pathsep}{environ['PATH']}", "HOME": str(tmp_path)}


@pytest.mark.parametrize("shell", FILES)
def test_the_files_are_what_the_program_prints(shell: str, shell_environ: dict[str, str]) -> None:
    """If this fails: `make completions`."""
    asked = {**shell_environ, "_MEMBRAIN_COMPLETE": f"source_{shell}"}
    printed = subprocess.run(command(), env=asked, capture_output=True, text=True, check=True).stdout
    assert (ROOT / "completions" / FILES[shell]).read_text() == printed


BASH = """
source {file}
COMP_WORDS=({words})
COMP_CWORD={word}
_membrain_completion membrain
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def in_bash(line: str, environ: dict[str, str]) -> list[str]:
    """What bash would offer for *line*, whose last word is being typed."""
    words = line.split(" ")
    quoted = " ".join(shlex.quote(word) for word in words)
    script = BASH.format(file=ROOT / "completions" / FILES["bash"], words=quoted, word=len(words) - 1)
    done = subprocess.run(["bash", "--norc", "-c", script], env=environ, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("membrain ke", ["keys"]),
        ("membrain re", ["restart"]),
        ("membrain keys re", ["revoke"]),
        ("membrain keys set op", ["openai"]),
        ("membrain config get limits.d", ["limits.depth", "limits.drain_seconds"]),
        ("membrain up --fo", ["--foreground"]),
        ("membrain --js", ["--json"]),
        ("membrain audit show zz", []),
        ("membrain mo", ["models"]),
        ("membrain route ", ["explain", "tiers"]),
        ("membrain route explain --tier b", ["balanced", "best"]),
        ("membrain route explain gp", []),
        ("membrain doctor c", ["claude", "codex", "cursor"]),
        ("membrain help ex", ["exit-codes"]),
        ("membrain audit --outcome f", ["failed"]),
        ("membrain env --shell f", ["fish"]),
        ("membrain keys revoke ", []),
    ],
)
def test_bash_offers_what_fits(line: str, offered: list[str], shell_environ: dict[str, str]) -> None:
    assert in_bash(line, shell_environ) == offered


def test_completion_survives_broken_settings(shell_environ: dict[str, str]) -> None:
    config = Path(shell_environ["MEMBRAIN_HOME"]) / "config" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("nonsense")
    assert in_bash("membrain keys set op", shell_environ) == []
    assert in_bash("membrain ke", shell_environ) == ["keys"]


IN_ZSH = """
autoload -Uz compinit; compinit -u -D; source {file}; words=({line}) CURRENT={place}
_arguments() {{ print -r -- $@ }}; _membrain_completion
"""
OFFER = {
    "bash": ["bash", "--norc", "-c", BASH.replace("{words}", "{line}").replace("{word}", "{last}")],
    "zsh": ["zsh", "-fc", IN_ZSH],
    "fish": ["fish", "--no-config", "-c", "source {file}; complete --do-complete '{line}'"],
}


def offered(shell: str, line: str, environ: dict[str, str]) -> str:
    """All that *shell* would show for *line*."""
    place = len(line.split(" "))
    facts = {"file": ROOT / "completions" / FILES[shell], "line": line, "place": place, "last": place - 1}
    asked = [part.format(**facts) for part in OFFER[shell]]
    done = subprocess.run(asked, env=environ, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", INSTALLED)
def test_each_shell_offers_what_fits(shell: str, shell_environ: dict[str, str]) -> None:
    assert "keys" in offered(shell, "membrain ke", shell_environ)


@pytest.mark.parametrize("shell", INSTALLED)
def test_each_shell_offers_the_ids_on_record(shell: str, shell_environ: dict[str, str]) -> None:
    first, _ = written(shell_environ, exchange(model="gpt-4o"), exchange(model="o1"))
    shown = offered(shell, f"membrain audit show {first.id[:6]}", shell_environ)
    assert first.id in shown
    assert ("gpt-4o" in shown) is (shell != "bash")


@pytest.mark.parametrize(
    ("shell", "told"),
    [
        ("zsh", '"keys":"Provider keys in, client keys out"'),
        ("fish", "keys\tProvider keys in, client keys out"),
        ("powershell", "keys:::Provider keys in, client keys out"),
        ("pwsh", "keys:::Provider keys in, client keys out"),
    ],
)
def test_descriptions_are_handed_to_the_shell(shell: str, told: str, shell_environ: dict[str, str]) -> None:
    """What each shell is given, also where it is not installed."""
    asked = {
        "_MEMBRAIN_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "membrain ke",
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": "ke",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(command(), env={**shell_environ, **asked}, capture_output=True, text=True, check=True)
    assert told in done.stdout


def test_powershell_splits_what_it_is_given_at_the_sign_that_it_gets(shell_environ: dict[str, str]) -> None:
    """The script is PowerShell's; what it does with a line is all that can be looked at without it."""
    script = (ROOT / "completions" / FILES["powershell"]).read_text()
    assert '-Split ":::"' in script
    assert "Register-ArgumentCompleter -Native -CommandName membrain" in script
    asked = {"_MEMBRAIN_COMPLETE": "complete_powershell", "_TYPER_COMPLETE_ARGS": "membrain doctor "}
    done = subprocess.run(command(), env={**shell_environ, **asked}, capture_output=True, text=True, check=True)
    assert [line.split(":::")[0] for line in done.stdout.splitlines()] == ["claude", "codex", "aider", "cursor", "sdk"]


def test_powershell_gets_its_words_without_loading_what_draws_them(shell_environ: dict[str, str]) -> None:
    asked = {"_MEMBRAIN_COMPLETE": "complete_powershell", "_TYPER_COMPLETE_ARGS": "membrain "}
    watched = [sys.executable, "-X", "importtime", "-m", "membrain_cli"]
    done = subprocess.run(watched, env={**shell_environ, **asked}, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "doctor:::Check everything, say how to mend it" in done.stdout
    assert not imported & {"rich", "textual", "asyncio", "membrain.gateway"}


def test_a_variable_that_a_shell_left_empty_asks_for_nothing(shell_environ: dict[str, str]) -> None:
    done = subprocess.run(
        command("nonsense"), env={**shell_environ, "_MEMBRAIN_COMPLETE": ""}, capture_output=True, text=True
    )
    assert (done.returncode, 'No command "nonsense"' in done.stderr) == (2, True)


def test_the_program_installs_its_completion(shell_environ: dict[str, str], tmp_path: Path) -> None:
    asked = {**shell_environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(command("--install-completion", "fish"), env=asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".config" / "fish" / "completions" / "membrain.fish").exists()
    assert sys.executable not in done.stdout
