"""What is no part of a name, and what is nobody's: ordinary words, institutions, credits, code."""

from __future__ import annotations

import pytest

from membrain.pii.crf import model
from membrain.pii.names import people_and_places
from membrain.pii.trimming import cleaned
from tests.gateway.pii.test_names import found


@pytest.mark.parametrize(
    ("text", "person"),
    [
        ("Welche Romane von Thomas Mann sind gut?", "Thomas Mann"),
        ("Perché Dante Alighieri mette Ulisse all'Inferno?", "Dante Alighieri"),
        ("Résume le roman d'Albert Camus en dix lignes.", "Albert Camus"),
        ("¿Es bueno el libro de Miguel de Cervantes para leer?", "Miguel de Cervantes"),
        ("Hat Franz Beckenbauer auch als Trainer gewonnen?", "Franz Beckenbauer"),
    ],
)
def test_ordinary_words_around_a_name_are_no_part_of_it(text: str, person: str) -> None:
    assert person in found(text)


def test_a_name_with_hidden_signs_inside_is_left_whole() -> None:
    assert found("Dear Matt\ufeffhew Alle\ufeffn, hello")[0].startswith("Matt")
    text = "Robert Jo\ufeffhns\u200bon paid."
    whole = (0, len("Robert Jo\ufeffhns\u200bon"), 1)
    assert list(cleaned(model().lexicon, text, whole)) == [whole]


def test_an_institution_behind_the_article_is_nobody() -> None:
    text = "Why did Galileo Galilei get into trouble with the Church?"
    assert {span.kind for span in people_and_places(text)} == {"public_person"}


CREDITS = """### Contributors

* [wbrackenbury](https://github.com/wbrackenbury) - **Wendeline Brackenbury** (she/her)
* [Ngozi Adeyemi](https://github.com/nadeyemi)
- **[Tobias Lindqvist](https://gitlab.com/tlind)** - docs
1. [kb](https://github.com/kb) Klaus Brandner
"""


def test_a_list_of_contributors_with_their_profiles_names_nobody() -> None:
    assert found(CREDITS) == []


@pytest.mark.parametrize(
    "text",
    [
        "Dear [wb](https://github.com/wb), Wendeline Brackenbury has paid.",
        "* [wb](https://github.com/wb) - **Wendeline Brackenbury** is ill since Monday",
        "* [invoice](https://example.org/wb) - **Wendeline Brackenbury**",
        "* [issue](https://github.com/org/repo/issues/7) - **Wendeline Brackenbury**",
        "* Wendeline Brackenbury",
        "Ask [Wendeline Brackenbury](https://github.com/wb).",
    ],
)
def test_anything_more_than_a_credit_is_private(text: str) -> None:
    assert found(text) == ["Wendeline Brackenbury"]


def test_a_type_in_brackets_names_nobody() -> None:
    assert found("nodes: t.List[Klaus]\nitems: dict[Klaus, str]") == []
    assert found("Present: [Klaus Brandner]") == ["Klaus Brandner"]
