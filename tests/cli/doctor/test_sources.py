"""Where variables come from, which place is the strongest, and that no value is shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from membrain_cli.doctor.sources import (
    Found,
    Unreadable,
    from_dotenv,
    from_json,
    from_shell,
    json_of,
    merged,
    shown,
    text_of,
    toml_of,
    unquoted,
    unreadable,
)
from tests.cli.patients import patient, put


def test_a_variable_never_shows_its_value() -> None:
    assert "canary" not in repr(Found("NAME", "canary"))
    assert "canary" not in Found("NAME", "canary").told


@pytest.mark.parametrize(
    ("kind", "line", "without"),
    [
        ("shell", "export NAME=text", "unset NAME"),
        ("dotenv", "./.env:  NAME=text", "./.env:  take NAME out"),
        ("json", './.env, in "env":  "NAME": "text"', "./.env:  take NAME out"),
        ("yaml", "./.env:  NAME: text", "./.env:  take NAME out"),
        ("toml", './.env:  NAME = "text"', "./.env:  take NAME out"),
    ],
)
def test_each_place_is_mended_in_its_own_words(kind: str, line: str, without: str) -> None:
    found = Found("NAME", "canary", "./.env", kind)
    assert (found.line("text"), found.without()) == (line, without)


def test_the_stronger_place_is_left_and_an_empty_value_is_none() -> None:
    weak = {"A": Found("A", "1"), "B": Found("B", "1"), "C": Found("C", "1")}
    strong = {"A": Found("A", "2", "file"), "B": Found("B", "", "file")}
    assert {name: (each.value, each.where) for name, each in merged(weak, strong).items()} == {
        "A": ("2", "file"),
        "C": ("1", "your shell"),
    }


def test_the_shell_is_the_environment() -> None:
    assert from_shell({"A": "1"}) == {"A": Found("A", "1", "your shell", "shell")}


DOTENV = """
# a comment
PLAIN=one
export SPACED = two words # and a comment
QUOTED="three # no comment"   # a comment
SINGLE='four'
HASH=five#six
EMPTY=
not a line
1BAD=seven
"""


def test_a_dotenv_file_is_read_as_its_readers_do(alone: dict[str, str], work: Path) -> None:
    path = put(work / ".env", DOTENV)
    read = from_dotenv(patient(alone, work), path)
    assert {name: each.value for name, each in read.items()} == {
        "PLAIN": "one",
        "SPACED": "two words",
        "QUOTED": "three # no comment",
        "SINGLE": "four",
        "HASH": "five#six",
        "EMPTY": "",
    }
    assert {each.where for each in read.values()} == {"./.env"}


@pytest.mark.parametrize(("text", "value"), [("a b", "a b"), ('"a" # b', "a"), ("'a", "'a"), ("#a", "#a")])
def test_a_value_loses_its_quotes_and_its_comment(text: str, value: str) -> None:
    assert unquoted(text) == value


def test_the_env_of_a_json_file_is_read(alone: dict[str, str], user_home: Path) -> None:
    path = put(user_home / "settings.json", {"env": {"A": "1", "N": 2}, "B": "no"})
    read = from_json(patient(alone), path)
    assert {name: (each.value, each.where) for name, each in read.items()} == {
        "A": ("1", "~/settings.json"),
        "N": ("2", "~/settings.json"),
    }


@pytest.mark.parametrize("content", ['{"env": ["A"]}', '{"env": "A"}', "[]", "null", ""])
def test_an_env_of_another_kind_is_none(content: str, alone: dict[str, str], work: Path) -> None:
    assert from_json(patient(alone), put(work / "settings.json", content)) == {}


def test_a_file_that_is_not_there_says_nothing(alone: dict[str, str], work: Path) -> None:
    someone = patient(alone, work)
    assert (text_of(someone, work / "none"), json_of(someone, work / "none"), toml_of(someone, work / "none")) == (
        None,
        {},
        {},
    )
    put(work / "file", "")
    assert text_of(someone, work / "file" / "below") is None


@pytest.mark.parametrize(
    ("read", "content", "why"),
    [
        (json_of, "{canary", "is no JSON"),
        (json_of, "[" * 100_000, "is no JSON"),
        (toml_of, "canary = ", "is no TOML"),
    ],
)
def test_a_file_that_cannot_be_understood_is_told_without_what_is_in_it(
    read: object, content: str, why: str, alone: dict[str, str], work: Path
) -> None:
    path = put(work / "settings", content)
    with pytest.raises(Unreadable) as told:
        read(patient(alone, work), path)  # type: ignore[operator]  # one of the readers
    finding = unreadable(told.value)
    assert (finding.state, finding.words.startswith(f"./settings {why}")) == ("broken", True)
    assert finding.remedy == "${EDITOR:-vi} ./settings"
    assert "canary" not in str(finding)


def test_a_file_that_is_no_text_or_a_folder_is_told(alone: dict[str, str], work: Path) -> None:
    (work / "bytes").write_bytes(b"\xff")
    for path, why in ((work / "bytes", "is no text"), (work, "cannot be read")):
        with pytest.raises(Unreadable, match=why):
            text_of(patient(alone, work.parent), path)


def test_only_so_much_of_a_file_is_read(alone: dict[str, str], work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("membrain_cli.doctor.sources.MOST", 10)
    assert text_of(patient(alone), put(work / "long", "0123456789tail")) == "0123456789"


def test_a_path_is_shown_from_home_or_from_here(alone: dict[str, str], user_home: Path, work: Path) -> None:
    someone = patient(alone, work)
    assert shown(someone, user_home / "a" / "b") == "~/a/b"
    assert shown(someone, work / "a") == "./a"
    assert shown(someone, Path("/etc/a")) == "/etc/a"
    assert shown(patient(alone, user_home / "in"), user_home / "in" / "a") == "./a"
    assert shown(patient(alone, user_home.parent), user_home / "a") == "~/a"
    assert os.sep in str(user_home)
