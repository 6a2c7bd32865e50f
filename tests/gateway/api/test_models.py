"""The models as OpenAI and as Anthropic list them, page by page."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import ModelInfo
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Model

from membrain.api.models import MOST, anthropics, listed, page
from membrain.errors import BadRequest
from membrain.schemas import ModelCard

CARDS = [ModelCard(id=f"m{n}", created=n, owned_by="openai") for n in range(5)]


def ids(told: dict[str, Any]) -> list[str]:
    return [each["id"] for each in told["data"]]


def test_openai_is_shown_all_of_them() -> None:
    told = listed(CARDS)
    assert told["object"] == "list"
    assert [Model.model_validate(each).owned_by for each in told["data"]] == ["openai"] * 5


def test_anthropic_is_shown_all_of_them_on_one_page() -> None:
    told = page(CARDS, {})
    assert (told["has_more"], told["first_id"], told["last_id"]) == (False, "m0", "m4")
    assert [ModelInfo.model_validate(each).id for each in told["data"]] == ids(listed(CARDS))


def test_a_model_of_unknown_age_is_as_old_as_time() -> None:
    assert anthropics(ModelCard(id="m"))["created_at"] == "1970-01-01T00:00:00Z"


def test_no_models_are_an_empty_page() -> None:
    assert page([], {}) == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize(
    ("asked", "shown", "more"),
    [
        ({"limit": "2"}, ["m0", "m1"], True),
        ({"limit": "5"}, ["m0", "m1", "m2", "m3", "m4"], False),
        ({"limit": "2", "after_id": "m1"}, ["m2", "m3"], True),
        ({"limit": "2", "after_id": "m2"}, ["m3", "m4"], False),
        ({"after_id": "m4"}, [], False),
        ({"limit": "2", "before_id": "m3"}, ["m1", "m2"], True),
        ({"limit": "2", "before_id": "m2"}, ["m0", "m1"], False),
        ({"before_id": "m0"}, [], False),
        ({"limit": "", "after_id": ""}, ["m0", "m1", "m2", "m3", "m4"], False),
    ],
    ids=str,
)
def test_a_page_is_what_was_asked_for(asked: dict[str, str], shown: list[str], more: bool) -> None:
    told = page(CARDS, asked)
    assert (ids(told), told["has_more"]) == (shown, more)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        *(({"limit": text}, "limit") for text in ("0", "-1", "x", "1001", "1.5", "٣", "9" * 5000)),
        ({"after_id": "m9"}, "after_id"),
        ({"before_id": "m9"}, "before_id"),
        ({"after_id": "m1", "before_id": "m2"}, "before_id"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_page_that_makes_no_sense_is_refused_by_name(asked: dict[str, str], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        page(CARDS, asked)
    assert refused.value.param == param


@given(st.lists(st.integers(0, 9)), st.integers(1, 30))
def test_page_by_page_one_sees_each_model_once(numbers: list[int], limit: int) -> None:
    """Also where several providers have one of that name."""
    cards = [ModelCard(id=str(n)) for n in numbers]
    told = page(cards, {"limit": str(limit)})
    seen = ids(told)
    while told["has_more"]:
        assert len(seen) < len(cards)
        told = page(cards, {"limit": str(limit), "after_id": told["last_id"]})
        seen += ids(told)
    assert sorted(seen) == sorted({card.id for card in cards})


def test_of_models_of_one_name_the_first_is_shown() -> None:
    assert ids(page([ModelCard(id=id) for id in ("b", "a", "b", "c")], {})) == ["b", "a", "c"]


def test_a_page_is_never_larger_than_the_largest() -> None:
    assert len(page([ModelCard(id=str(n)) for n in range(MOST + 1)], {})["data"]) == MOST
