"""The manual page: every command and option is on it, and it is sound in the language of manual pages."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from membrain_cli import main
from membrain_cli.commands.help import EXIT_CODES
from membrain_cli.manual import example, page, plain
from tests.cli.shell import ROOT, invoke

RENDERERS = [
    argv
    for argv in (
        ["groff", "-man", "-Tutf8", "-ww"],
        ["mandoc", "-Tutf8", "-Wwarning"],
    )
    if shutil.which(argv[0])
]
"""Not every machine has one; the page's grammar is looked at on all of them."""


@pytest.fixture(scope="module")
def text() -> str:
    """The page."""
    return page()


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    if not command.hidden:
        yield path, command
        for name, each in getattr(command, "commands", {}).items():
            yield from commands(each, f"{path} {name}")


def test_every_command_and_every_option_is_on_it(text: str) -> None:
    for row in main.COMMANDS:
        for path, command in commands(main.load(row), row.name):
            assert f"\\fBmembrain {plain(path)}\\fR" in text
            for param in command.params:
                if param.param_type_name == "option" and not param.hidden:
                    assert re.search(rf"^\\fB.*{re.escape(plain(param.opts[0]))}\b", text, re.MULTILINE), (
                        path,
                        param.opts,
                    )


def test_nothing_hidden_is_on_it(text: str) -> None:
    assert "membrain audit list" not in text


def test_it_has_the_sections_one_looks_for(text: str) -> None:
    names = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "COMMANDS",
        "OPTIONS",
        "EXIT STATUS",
        "ENVIRONMENT",
        "FILES",
        "SEE ALSO",
    ]
    assert re.findall(r"^\.SH (.*)$", text, re.MULTILINE) == names


def test_every_exit_status_is_on_it(text: str) -> None:
    assert all(f".TP\n\\fB{int(code)}\\fR\n" in text for code in EXIT_CODES)


REQUESTS = {".TH", ".SH", ".SS", ".TP", ".PP", ".IP", ".RS", ".RE", ".nf", ".fi", ".nh", ".ad"}


def test_its_grammar_is_sound(text: str) -> None:
    assert text.isascii()
    assert text.endswith("\n")
    lines = text.splitlines()
    assert all(lines), "an empty line is a request too many"
    assert {line.split(" ")[0] for line in lines if line.startswith((".", "'"))} <= REQUESTS
    escapes = set(re.findall(r"\\(?:\(..|\[u[0-9A-F]{4,6}\]|f[BIR]|.)", text))
    assert escapes <= {"\\-", "\\e", "\\&", "\\ ", "\\fB", "\\fI", "\\fR", "\\(aq", "\\(ga", "\\(ha", "\\(ti"} | {
        each for each in escapes if each.startswith("\\[u")
    }
    assert text.count(".RS") == text.count(".RE")
    assert text.count("\\fB") + text.count("\\fI") == text.count("\\fR")


def test_it_is_rendered_without_a_warning(text: str, tmp_path: Path) -> None:
    path = tmp_path / "membrain.1"
    path.write_text(text)
    for renderer in RENDERERS:
        done = subprocess.run([*renderer, str(path)], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        shown = re.sub(r".\x08|\x1b\[[0-9;]*m", "", done.stdout).replace("\u00a0", " ")
        assert "membrain keys issue" in shown
        assert "$ membrain up                   start it in the background" in shown


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (".hidden", "\\&.hidden"),
        ("'quoted'", "\\(aqquoted\\(aq"),
        ("a\\b --flag", "a\\eb \\-\\-flag"),
        ("more …\n  lines", "more \\[u2026] lines"),
    ],
)
def test_what_means_something_to_a_renderer_is_written_out(given: str, written: str) -> None:
    assert plain(given) == written


def test_the_gaps_of_an_example_count() -> None:
    assert "a\\ \\ \\ \\ b c" in example("a    b c")


def test_help_prints_it(text: str, environ: dict[str, str]) -> None:
    ran = invoke(["help", "--man"], environ)
    assert (ran.status, ran.out, ran.err) == (0, text, "")


def test_the_file_among_the_pages_is_it(text: str) -> None:
    """If this fails: `make docs`."""
    assert (ROOT / "docs" / "membrain.1").read_text() == text
