"""The user's own lists: kept for one user, whole or not at all, and never quoted."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import traceback
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.errors import BadRequest, Misconfigured
from membrain.pii.lists import CUSTOM, LONGEST, Lists, Unlistable, changing, load, save, sound_label, sound_value

CANARY = "Project Canary"
TOO_SHORT, TOO_LONG = "ab", "x" * (LONGEST + 1)

FILE = "pii.toml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / FILE


def written(path: Path, text: str | bytes) -> Path:
    """A file as somebody left it there."""
    path.parent.mkdir(mode=0o700)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    return path


def told(path: Path) -> str:
    """All that a refusal of the file at *path* tells, traceback included."""
    with pytest.raises(Misconfigured) as caught:
        load(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    chain: BaseException | None = caught.value
    while chain is not None:  # newer parsers keep the whole text in their errors
        assert CANARY not in repr(vars(chain))
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    return caught.value.sentence + "".join(traceback.format_exception_only(caught.value))


# --- values and labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["abc", "Project Falcon", "x" * LONGEST, "Größe 3", "ключ", "a\u200bb", 'say "so"'])
def test_a_line_of_text_is_a_value(value: str) -> None:
    assert sound_value(f"  {value} ") == value


@pytest.mark.parametrize(
    "value",
    ["", "  ", TOO_SHORT, TOO_LONG, f"{CANARY}\n{CANARY}", f"{CANARY}\x00", f"{CANARY}\x1b[2J", f"{CANARY}\ud800"],
)
def test_what_is_no_value_is_refused_without_being_repeated(value: str) -> None:
    for take in (sound_value, Lists().add, Lists().allow):
        with pytest.raises(Unlistable) as caught:
            take(value)
        assert "Canary" not in caught.value.sentence
        assert isinstance(caught.value, BadRequest)


def test_space_around_a_value_does_not_count_as_length() -> None:
    with pytest.raises(Unlistable, match="this one has 2"):
        sound_value("  ab  ")


def test_accents_are_composed_so_that_two_ways_to_type_are_one_value() -> None:
    lists = Lists()
    assert lists.add(unicodedata.normalize("NFD", "Zoë Müller"))
    assert not lists.add("Zoë Müller")
    assert lists.remove(unicodedata.normalize("NFD", "Zoë Müller"))


@pytest.mark.parametrize("label", ["CUSTOM", "PROJECT", "PROJECT_NAME", "AB", "A" * 32])
def test_capital_words_are_a_label(label: str) -> None:
    assert sound_label(label) == label


@pytest.mark.parametrize(
    "label", ["", "A", "custom", "A-B", "A B", "A1", "_A", "A_", "A__B", "Ä", "A" * 33, "A\n", CANARY]
)
def test_anything_else_is_no_label_and_is_not_repeated(label: str) -> None:
    with pytest.raises(Unlistable) as caught:
        Lists().add("abc", label)
    assert CANARY not in caught.value.sentence


# --- the lists -----------------------------------------------------------------------------------------------


def test_a_value_has_a_label_and_can_get_another() -> None:
    lists = Lists()
    assert lists.add(" Falcon ")
    assert lists.known == {"Falcon": CUSTOM}
    assert not lists.add("Falcon")
    assert lists.add("Falcon", "PROJECT")
    assert lists.known == {"Falcon": "PROJECT"}


def test_the_last_word_about_a_value_holds() -> None:
    lists = Lists()
    lists.add("Falcon")
    assert lists.allow("Falcon")
    assert (lists.known, lists.allowed) == ({}, {"Falcon"})
    assert not lists.allow("Falcon")
    assert lists.add("Falcon")
    assert (lists.known, lists.allowed) == ({"Falcon": CUSTOM}, set())


def test_a_value_goes_as_it_is_written_or_else_in_any_case() -> None:
    lists = Lists({"Falcon": CUSTOM, "FALCON": "SHOUTED", "Eagle": CUSTOM}, ["Ada Lovelace"])
    assert lists.remove("Falcon")
    assert lists.known == {"FALCON": "SHOUTED", "Eagle": CUSTOM}
    assert lists.remove(" falcon ")
    assert lists.disallow("ada lovelace")
    assert lists == Lists({"Eagle": CUSTOM})
    assert not lists.remove("falcon")
    assert not lists.disallow("ada lovelace")


def test_a_repr_shows_counts_only() -> None:
    assert repr(Lists({CANARY: CUSTOM}, [CANARY, "Ada"])) == "Lists(known=1, allowed=2)"


# --- the file ------------------------------------------------------------------------------------------------


def test_no_file_is_empty_lists_and_makes_none(path: Path) -> None:
    assert load(path) == Lists()
    assert not path.parent.exists()


def test_what_was_saved_is_loaded_again(path: Path) -> None:
    lists = Lists({CANARY: CUSTOM, 'a "b" \\ c': "QUOTED", "x.y = [1]": "TOML"}, ["Ada Lovelace", "#no comment"])
    save(lists, path)
    assert load(path) == lists


@given(
    st.dictionaries(st.text(), st.sampled_from(["CUSTOM", "PROJECT_NAME"]), max_size=4),
    st.lists(st.text(), max_size=4),
)
def test_every_value_that_is_taken_comes_back(
    tmp_path_factory: pytest.TempPathFactory, known: dict[str, str], allowed: list[str]
) -> None:
    lists, path = Lists(), tmp_path_factory.mktemp("any") / FILE
    for value, label in known.items():
        if len(value.strip()) >= 3:
            with_value(lists, value, label)
    for value in allowed:
        if len(value.strip()) >= 3:
            without_value(lists, value)
    save(lists, path)
    assert load(path) == lists


def with_value(lists: Lists, value: str, label: str) -> None:
    """Add *value* if it can be one."""
    try:
        lists.add(value, label)
    except Unlistable:
        assert sound_label(label)


def without_value(lists: Lists, value: str) -> None:
    """Allow *value* if it can be one."""
    try:
        lists.allow(value)
    except Unlistable:
        assert value not in lists.allowed


def test_only_its_user_can_read_it_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        save(Lists({CANARY: CUSTOM}), path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_save_that_fails_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(Lists({CANARY: CUSTOM}), path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Misconfigured, match="No space left") as caught:
        save(Lists({"Other": CUSTOM}), path)
    assert "Other" not in caught.value.sentence
    assert load(path) == Lists({CANARY: CUSTOM})
    assert [each.name for each in path.parent.iterdir()] == [FILE]


def test_a_file_that_others_can_read_is_refused(path: Path) -> None:
    written(path, f'allowed = ["{CANARY}"]').chmod(0o644)
    assert "can be read by other users" in told(path)


def test_a_link_in_its_place_is_refused(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in told(path)


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    assert "cannot be read" in told(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'{CANARY} = "CUSTOM"', "line 1 cannot be read as TOML"),
        (f'\n[known]\n"{CANARY}" = "AA"\n"{CANARY}" = "BB"', "cannot be read as TOML"),
        (f'"{CANARY}" = "CUSTOM"', "a name in it means nothing here"),
        (f'[{CANARY.split()[1]}]\nx = "CUSTOM"', "a name in it means nothing here"),
        (f'[knwon]\n"{CANARY}" = "CUSTOM"', '"knwon" means nothing here; did you mean known?'),
        (f'alowed = ["{CANARY}"]', '"alowed" means nothing here; did you mean allowed?'),
        (f'known = ["{CANARY}"]', "known must be a table"),
        (f'allowed = "{CANARY}"', "allowed must be a list"),
        (f'[known]\n"fine" = "AA"\n"{CANARY}" = 3', "known, entry 2: It must be a text."),
        (f'[known]\n"{CANARY}" = "custom"', "known, entry 1: A label is words of capital letters"),
        (f'[known]\n"{CANARY}" = {{ x = "{CANARY}" }}', "known, entry 1: It must be a text."),
        (f'[known."{CANARY}"]\nlabel = "CUSTOM"', "known, entry 1: It must be a text."),
        (f'[known]\n"{CANARY}\\u0000" = "CUSTOM"', "known, entry 1: A value is one line without control characters."),
        ('[known]\n"ab" = "CUSTOM"', "known, entry 1: A value has 3 to 500 characters; this one has 2."),
        (f'allowed = ["{CANARY}", 1]', "allowed, entry 2: It must be a text."),
        (f'allowed = ["{CANARY}", [["x"]]]', "allowed, entry 2: It must be a text."),
        (f'allowed = ["{CANARY}"]\n[known]\n"{CANARY}" = "AA"', "allowed, entry 1: It is known, too"),
        (b"\xff\xfe", "cannot be read as TOML"),
        ("allowed = " + "[" * 5000, "cannot be read as TOML"),
    ],
)
def test_a_file_that_is_wrong_anywhere_is_refused_and_not_quoted(path: Path, text: str | bytes, said: str) -> None:
    message = told(written(path, text))
    assert said in message
    assert "Canary" not in message


def test_a_file_written_by_hand_is_read(path: Path) -> None:
    text = f'\ufeff# mine\r\nallowed = ["Ada Lovelace"]\r\n\r\n[known]\r\n"{CANARY}" = "PROJECT"\r\n'
    assert load(written(path, text)) == Lists({CANARY: "PROJECT"}, ["Ada Lovelace"])


# --- changes -------------------------------------------------------------------------------------------------


def test_a_change_is_saved(path: Path) -> None:
    with changing(path) as lists:
        lists.add(CANARY)
    assert load(path) == Lists({CANARY: CUSTOM})


def test_a_change_that_fails_or_changes_nothing_writes_nothing(path: Path) -> None:
    with changing(path) as lists:
        lists.remove(CANARY)
    with pytest.raises(KeyboardInterrupt), changing(path) as lists:
        raise KeyboardInterrupt(lists.add(CANARY))
    assert not path.exists()


def test_a_damaged_file_is_not_written_over(path: Path) -> None:
    written(path, f'"{CANARY}"')
    with pytest.raises(Misconfigured), changing(path) as lists:
        lists.add("Other")
    assert path.read_text() == f'"{CANARY}"'


ADD_TEN = """
import pathlib, sys
from membrain.pii.lists import changing

for number in range(10):
    with changing(pathlib.Path(sys.argv[1])) as lists:
        lists.add(f"value {sys.argv[2]} {number}")
"""


def test_of_many_changes_at_a_time_none_is_lost(path: Path) -> None:
    both = [subprocess.Popen([sys.executable, "-c", ADD_TEN, str(path), name]) for name in ("one", "two")]
    assert [each.wait(30) for each in both] == [0, 0]
    assert len(load(path).known) == 20
