"""Where a name may be at all: which words are worth a look, in what texts."""

from __future__ import annotations

import pytest

from membrain.pii import crf
from membrain.pii import spots as module
from membrain.pii.crf import Model
from membrain.pii.spots import Spots, spots
from tests.gateway.pii.test_names import CODE


def seen(text: str) -> list[str]:
    return [text[place:].split(maxsplit=1)[0].strip(",.") for place in spots().within(text)]


def test_names_are_spots_and_the_words_around_them_are_not() -> None:
    assert seen("Dear Jane Hill, please meet priyanka in Rotterdam tomorrow.") == [
        "Jane",
        "Hill",
        "priyanka",
        "Rotterdam",
    ]


@pytest.mark.parametrize("text", ["", " \n", "for item in items: return None", "x" * 500, "getName(HTTPError)"])
def test_what_cannot_be_a_name_is_no_spot(text: str) -> None:
    assert seen(text) == []


@pytest.mark.parametrize("text", ["Jane_Hill", "Jane2", "2Jane", "xJane"])
def test_a_part_of_a_longer_word_is_no_spot(text: str) -> None:
    assert spots().within(text) == []


def test_in_code_almost_no_word_is_a_spot() -> None:
    text = CODE * 50
    assert len(spots().within(text)) < len(text.split()) / 4


def test_full_memos_are_emptied_and_answers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = Spots(Model(crf.MODEL.read_bytes()))
    monkeypatch.setattr(module, "MEMO", 3)
    text = "Dear Tobias Lindqvist, Ngozi Adeyemi lives in Rotterdam with Jane Hill and Bob Stone and a dog."
    for _ in range(3):
        assert fresh.within(text) == spots().within(text)
    assert max(len(fresh._known), len(fresh._wanted), len(fresh._dull)) < 6
