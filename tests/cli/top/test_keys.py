"""The table of keys: complete, without two meanings in one place, and told where there is room."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.settings import TuiKeys
from membrain_cli.top.app import Top
from membrain_cli.top.keys import HOLD_KEYS, KEYS, LAST, chosen, first_of, footer, page, presses, width_of

PLACES = ("list", "detail", "down")


@pytest.mark.parametrize("place", PLACES)
def test_a_key_means_one_thing_in_one_place(place: str) -> None:
    pressed = Counter(name for name, keys in presses().items() for key in keys if place in key.places)
    assert [name for name, number in pressed.items() if number > 1] == []


def test_every_key_is_something_the_dashboard_does() -> None:
    assert [key.id for key in KEYS if not callable(getattr(Top, f"do_{key.id}", None))] == []


def test_arrows_have_their_letters() -> None:
    """Hands that know vi need no others."""
    for arrow, letter in {"down": "j", "up": "k", "left": "h", "right": "l"}.items():
        assert presses()[arrow] == presses()[letter]


@pytest.mark.parametrize("place", PLACES)
@given(width=st.integers(1, 220), unicode=st.booleans())
def test_the_line_fits_and_always_tells_of_help_and_the_end(place: str, width: int, unicode: bool) -> None:
    told = footer(place, width, unicode=unicode)  # type: ignore[arg-type]  # the strategy gives places only
    assert [words for _, words in told[-2:]] == [*LAST]
    least = width_of([key for key in KEYS if key.id in LAST], unicode=unicode)
    assert sum(len(key) + len(words) + 4 for key, words in told) + 1 <= max(width, least)


def test_what_ux_draws_is_told_in_its_order() -> None:
    drawn = "/ filter   ↵ open   space pause   w window   p pii only   r why   t theme   ? keys   q quit"
    assert "   ".join(f"{key} {words}" for key, words in footer("list", 120)) == drawn


def test_without_utf8_the_keys_are_ascii() -> None:
    told = [*page(unicode=False), *footer("list", 200, unicode=False), *footer("detail", 200, unicode=False)]
    assert all((key + words).isascii() for key, words in told)


def test_the_page_tells_of_each_thing_once() -> None:
    assert len([*page()]) == len({key.id for key in KEYS})


def test_a_hold_can_be_let_through_refused_and_left() -> None:
    assert [key.id for key in HOLD_KEYS] == ["approve", "deny", "always", "later"]


def test_a_key_that_is_chosen_takes_the_first_ones_place() -> None:
    table = {key.id: key for key in chosen({"open": "f3", "filter": "minus", "quit": ""})}
    assert (table["open"].keys, table["open"].shown) == ("f3,l,right", "f3")
    assert (table["filter"].keys, table["filter"].shown) == ("minus", "-")
    assert table["quit"] == next(key for key in KEYS if key.id == "quit")


def test_the_settings_know_the_keys_of_the_table_and_what_is_built_in() -> None:
    built_in = {key.id: first_of(key) for key in KEYS}
    assert {each.name for each in fields(TuiKeys)} <= built_in.keys()
