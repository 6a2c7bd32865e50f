"""What left is kept: byte for byte, the newest, within bounds, and never shown by accident."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.errors import NotFound
from membrain.sent import NotKept, Sent
from tests.growth import assert_within

BODY = b'{"messages":[{"role":"user","content":"I am PERSON_0123456789abc739."}]}'


def kept(sent: Sent, *ids: str) -> list[str]:
    """Those of *ids* that are kept."""
    found = []
    for id in ids:
        try:
            sent.get(id)
        except NotKept:
            continue
        found.append(id)
    return found


def test_what_left_is_given_back_byte_for_byte() -> None:
    sent = Sent()
    sent.keep("a", BODY)
    assert sent.get("a") is BODY


def test_what_never_left_is_not_found_and_says_for_how_long_things_are_kept() -> None:
    with pytest.raises(NotFound) as caught:
        Sent().get("a")
    assert (caught.value.status, caught.value.code) == (404, "not_kept")
    assert caught.value.hint == "It is kept in memory only, for the last 100 exchanges that left."


def test_who_only_wonders_is_told_nothing_where_nothing_is_kept() -> None:
    sent = Sent(size=4)
    sent.keep("a", b"1234")
    assert sent.find("a") == b"1234"
    sent.keep("b", b"12345")
    assert sent.find("b") is sent.find("never") is None


def test_the_oldest_make_way_when_there_are_too_many() -> None:
    sent = Sent(entries=3)
    for id in "abcde":
        sent.keep(id, BODY)
    assert kept(sent, *"abcde") == ["c", "d", "e"]
    assert len(sent) == 3


def test_the_oldest_make_way_when_there_are_too_many_bytes() -> None:
    sent = Sent(size=10)
    for id, size in (("a", 4), ("b", 4), ("c", 2), ("d", 5)):
        sent.keep(id, b"x" * size)
    assert kept(sent, *"abcd") == ["c", "d"]


def test_a_body_of_all_the_room_there_is_is_kept_alone() -> None:
    sent = Sent(size=10)
    sent.keep("a", b"x")
    sent.keep("b", b"x" * 10)
    assert kept(sent, "a", "b") == ["b"]


def test_a_body_larger_than_all_the_room_is_not_kept_and_costs_nobody_a_place() -> None:
    sent = Sent(size=2 << 20)
    sent.keep("a", BODY)
    sent.keep("huge", b"x" * ((2 << 20) + 1))
    assert kept(sent, "a", "huge") == ["a"]
    with pytest.raises(NotKept, match="was over 2 MiB, so it was not kept"):
        sent.get("huge")


def test_what_is_kept_again_is_the_newest() -> None:
    sent = Sent(entries=2)
    sent.keep("a", b"first")
    sent.keep("b", b"x")
    sent.keep("a", b"second")
    sent.keep("c", b"x")
    assert kept(sent, *"abc") == ["a", "c"]
    assert sent.get("a") == b"second"


def test_an_empty_body_is_a_body() -> None:
    sent = Sent()
    sent.keep("a", b"")
    assert sent.get("a") == b""


def test_its_repr_counts_and_shows_nothing() -> None:
    sent = Sent(entries=5, size=1000)
    sent.keep("secret-id", BODY)
    assert repr(sent) == f"Sent(1 of 5 exchanges, {len(BODY)} of 1000 bytes)"


@pytest.mark.parametrize("bounds", [(0, 1), (1, 0), (-1, 5)])
def test_no_room_at_all_is_a_mistake(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="least"):
        Sent(*bounds)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 12)), max_size=40))
def test_whatever_leaves_the_bounds_hold_and_the_newest_is_kept(left: list[tuple[str, int]]) -> None:
    sent = Sent(entries=4, size=10)
    for id, size in left:
        sent.keep(id, b"x" * size)
        here = kept(sent, *"abcdefgh")
        assert (id in here) is (size <= 10)
        assert len(sent) <= 4
        assert sum(len(sent.get(each)) for each in here) == sent._bytes <= 10


def test_keeping_costs_next_to_nothing() -> None:
    """A microsecond is the aim; ten leave room for a busy machine."""
    sent, ids = Sent(), [f"{number:024x}" for number in range(1000)]

    def keep_all() -> None:
        for id in ids:
            sent.keep(id, BODY)

    assert_within(10e-6 * len(ids), keep_all)
