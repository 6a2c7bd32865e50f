"""Counting by the second, percentiles of counts, and curves of signs."""

from __future__ import annotations

from collections import Counter
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain_cli.top.curves import LONGEST, SLACK, Series, drawn, medians, percentile, slot

DURATIONS = st.lists(st.floats(0.05, 600_000), min_size=1, max_size=200)


@given(DURATIONS, st.integers(1, 100))
def test_a_percentile_of_counts_is_the_nearest_rank_to_two_percent(spans: list[float], percent: int) -> None:
    exact = sorted(spans)[ceil(len(spans) * percent / 100) - 1]
    counted = percentile(Counter(slot(ms) for ms in spans), percent)
    assert counted == pytest.approx(exact, rel=0.021)


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile(Counter(), 50) is None


@given(st.lists(st.floats(0, 899), max_size=60), st.integers(2, 120))
def test_the_columns_hold_all_of_the_window(ages: list[float], number: int) -> None:
    now, series = 1_000_000.0, Series()
    for age in ages:
        series.at(now - age).count += 1
    pieces = series.columns(number, 900, now)
    assert len(pieces) == number
    assert sum(piece.count for piece in pieces) == len(ages) == series.since(now - 900, now).count


def test_a_moment_later_a_column_is_where_it_was() -> None:
    """Quiet motion: columns begin at fixed moments, so that they do not shimmer."""
    series = Series()
    for second in range(0, 600, 7):
        series.at(9_000 + second).count += 1
    before = [piece.count for piece in series.columns(20, 900, 9_601)]
    assert [piece.count for piece in series.columns(20, 900, 9_602)] == before


def test_more_than_an_hour_is_forgotten() -> None:
    series = Series()
    for second in range(2 * LONGEST):
        series.at(second).count += 1
    assert LONGEST <= series.since(0, 2 * LONGEST).count <= LONGEST + SLACK


def test_what_is_too_old_is_not_kept() -> None:
    series = Series()
    series.at(100_000).count += 1
    series.at(100_000 - LONGEST).count += 1
    assert series.since(0, 100_000).count == 1


def test_what_comes_late_is_not_in_a_moment_before_it() -> None:
    series = Series()
    series.at(1_000).count += 1
    series.at(1_005).count += 1
    assert series.since(0, 1_002).count == 1
    assert sum(piece.count for piece in series.columns(5, 300, 1_002)) == 1


VALUES = st.lists(st.none() | st.floats(0, 1e9), max_size=40)


@given(VALUES, st.integers(1, 6), st.booleans())
def test_a_curve_is_a_rectangle_that_shows_whatever_there_is(
    values: list[float | None], height: int, unicode: bool
) -> None:
    lines = drawn(values, height, unicode=unicode)
    assert [len(line) for line in lines] == [len(values)] * height
    seen = [sign != " " for sign in lines[-1]]
    assert seen == [bool(value) for value in values]


@given(VALUES, st.integers(1, 6))
def test_what_is_greater_is_never_drawn_lower(values: list[float | None], height: int) -> None:
    lines = drawn(values, height)
    heights = [sum(" ▁▂▃▄▅▆▇█".index(line[at]) for line in lines) for at in range(len(values))]
    for value, here in zip(values, heights, strict=True):
        for other, there in zip(values, heights, strict=True):
            assert here <= there or (value or 0) >= (other or 0)


def test_the_greatest_reaches_the_top() -> None:
    assert drawn([1.0, 4.0, 2.0], 2) == [" █ ", "▄██"]


def test_curves_have_an_ascii_twin() -> None:
    assert drawn([1.0, 6.0], 2, unicode=False) == [" |", ".|"]


def test_a_column_without_answers_has_no_median() -> None:
    series = Series()
    series.at(1_000).times[slot(412.0)] += 1
    assert medians(series.columns(2, 2, 1_000.5))[0] is None
    assert medians(series.columns(2, 2, 1_000.5))[1] == pytest.approx(412, rel=0.02)
