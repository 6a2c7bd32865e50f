"""What grows with the text passes, what grows faster never does, and noise changes neither."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain, cycle
from types import SimpleNamespace

import pytest

from tests import growth
from tests.growth import assert_linear, assert_within, filled, numbered, rounds, seconds


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given up after as many rounds as ever, without the wait."""
    monkeypatch.setattr(growth, "SECONDS", 0.0)
    monkeypatch.setattr(growth, "PAUSE", 0.0)


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch, impatient: None) -> Callable[[Iterator[float]], None]:
    """Makes measurements take what it is told, one after another, whatever the work."""

    def tell(times: Iterator[float]) -> None:
        monkeypatch.setattr(growth, "seconds", lambda *given: next(times))

    return tell


def once(text: str) -> None:
    for letter in text:
        text.startswith(letter)


def each_with_each(text: str) -> None:
    for letter in text:
        text.count(letter.upper())


def test_work_in_proportion_passes() -> None:
    assert_linear(once, filled("ab"), 50_000)


def test_quadratic_work_fails_with_both_times_and_their_ratio(impatient: None) -> None:
    with pytest.raises(AssertionError, match=r"4000 took [\d.]+ ms, 8000 took [\d.]+ ms: [\d.]+ times as long"):
        assert_linear(each_with_each, filled("ab"), 4_000)


def test_the_larger_may_have_a_limit_of_its_own(impatient: None) -> None:
    with pytest.raises(AssertionError, match="1e-06 s in all"):
        assert_linear(once, filled("ab"), 20_000, within=1e-6)


def test_noise_in_some_rounds_fails_nothing(clocked: Callable[[Iterator[float]], None]) -> None:
    clocked(chain([0.1, 0.9, 0.1] * 5, [0.3, 0.8, 0.1], [0.1, 0.2, 0.1]))
    assert_linear(len, filled("a"), 10)


def test_good_luck_of_the_smaller_fails_nothing(clocked: Callable[[Iterator[float]], None]) -> None:
    clocked(chain([0.05], cycle([0.2, 0.1, 0.1])))
    assert_linear(len, filled("a"), 10)


def test_one_hiccup_makes_no_quadratic_work_look_well(clocked: Callable[[Iterator[float]], None]) -> None:
    for first in ([0.9, 0.4, 0.1], [0.1, 0.4, 0.9], [0.1, 0.9, 0.1]):
        clocked(chain(first, cycle([0.1, 0.4, 0.1])))
        with pytest.raises(AssertionError, match=r"4\.00 times as long"):
            assert_linear(len, filled("a"), 10)


def test_what_is_too_short_to_tell_passes(clocked: Callable[[Iterator[float]], None]) -> None:
    clocked(iter([0.0001, 0.0007, 0.0001]))
    assert_linear(len, filled("a"), 10)


def test_work_that_remembers_is_measured_with_numbered_texts(impatient: None) -> None:
    assert_linear(cache(each_with_each), filled("ab"), 4_000)
    with pytest.raises(AssertionError, match="times as long"):
        assert_linear(cache(each_with_each), numbered(filled("ab")), 4_000)


def test_texts_have_the_size_they_are_asked_for() -> None:
    assert [filled("abc")(size) for size in (0, 2, 7)] == ["", "ab", "abcabca"]
    fresh = numbered(filled("ab"))
    assert [fresh(3), fresh(3), fresh(1)] == ["aba0", "aba1", "a2"]


def test_it_is_given_up_after_many_rounds_and_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = [0.0]
    monkeypatch.setattr(growth, "time", SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append))
    monkeypatch.setattr(growth, "PAUSE", 0.25)
    assert len(list(rounds())) == growth.SECONDS * 4, "as long as it takes"
    monkeypatch.setattr(growth, "PAUSE", 100.0)
    assert len(list(rounds())) == growth.ROUNDS, "however long they take"


def test_slow_work_is_over_its_limit_and_quick_work_is_within(impatient: None) -> None:
    assert_within(1.0, lambda: None)
    with pytest.raises(AssertionError, match=r"took [\d.]+ ms at best, where 0.001 ms are allowed"):
        assert_within(1e-6, lambda: each_with_each("ab" * 100))


def test_one_quick_round_is_enough(clocked: Callable[[Iterator[float]], None]) -> None:
    clocked(iter([0.9, 0.9, 0.1]))
    assert_within(0.2, lambda: None)


@pytest.mark.parametrize("collects", [True, False])
def test_nothing_is_collected_meanwhile_and_all_is_as_before_afterwards(collects: bool) -> None:
    def fails(given: int) -> None:
        assert not gc.isenabled()
        raise KeyError(given)

    (gc.enable if collects else gc.disable)()
    try:
        with pytest.raises(KeyError):
            seconds(fails, 7)
        assert gc.isenabled() is collects
    finally:
        gc.enable()
