"""What is tried again, how often and when: the table of failures, the budget, the waits, and what providers ask for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrain.errors import ProviderFailed
from membrain.routing.retries import (
    BUDGET_FLOOR,
    LONGEST_ASKED,
    LONGEST_WAIT,
    MAX_ATTEMPTS,
    RULES,
    Again,
    RetryBudget,
    again,
    backoff,
    is_repeatable,
    retry_after,
    wait_before,
)

NEVER, ELSEWHERE, ANYWHERE = Again.NEVER, Again.ELSEWHERE, Again.ANYWHERE
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def answered(
    status: int, code: str | None = None, *, passing: bool = True, should: str | None = None
) -> ProviderFailed:
    """A refusal in the provider's own words."""
    headers = {"x-should-retry": should} if should else {}
    return ProviderFailed("no", status=status, code=code, headers=headers, passing=passing, reached=False)


REFUSED_CONNECT = ProviderFailed("nobody there", reached=False)
BLACK_HOLE = ProviderFailed("no connection in time", status=504, reached=False)
RESET = ProviderFailed("closed without an answer")
SILENCE = ProviderFailed("no answer in time", status=504)
NONSENSE = ProviderFailed("not HTTP")
REFUSED_KEY = answered(502, "provider_key_refused", should="false")


# Plain, with Idempotency-Key, at a provider on this machine.
@pytest.mark.parametrize(
    ("error", "plain", "keyed", "free"),
    [
        pytest.param(REFUSED_CONNECT, ANYWHERE, ANYWHERE, ANYWHERE, id="refused connect"),
        pytest.param(BLACK_HOLE, ANYWHERE, ANYWHERE, ANYWHERE, id="black hole"),
        pytest.param(RESET, NEVER, ANYWHERE, ANYWHERE, id="reset before the first chunk"),
        pytest.param(SILENCE, NEVER, ANYWHERE, ANYWHERE, id="sent but unanswered"),
        pytest.param(NONSENSE, NEVER, ANYWHERE, ANYWHERE, id="nonsense"),
        pytest.param(answered(400, passing=False), NEVER, NEVER, NEVER, id="400"),
        pytest.param(answered(404, passing=False), NEVER, NEVER, NEVER, id="404"),
        pytest.param(ProviderFailed("too much", passing=False), NEVER, NEVER, NEVER, id="answer over its cap"),
        pytest.param(REFUSED_KEY, ELSEWHERE, ELSEWHERE, ELSEWHERE, id="401"),
        pytest.param(answered(408), ANYWHERE, ANYWHERE, ANYWHERE, id="408"),
        pytest.param(answered(429), ANYWHERE, ANYWHERE, ANYWHERE, id="429"),
        pytest.param(answered(429, "insufficient_quota"), ELSEWHERE, ELSEWHERE, ELSEWHERE, id="429 quota"),
        pytest.param(answered(500), ANYWHERE, ANYWHERE, ANYWHERE, id="500"),
        pytest.param(answered(500, should="false"), ELSEWHERE, ELSEWHERE, ELSEWHERE, id="500 that says not to"),
        pytest.param(answered(500, should="true"), ANYWHERE, ANYWHERE, ANYWHERE, id="500 that says to"),
        pytest.param(answered(503), ANYWHERE, ANYWHERE, ANYWHERE, id="503"),
        pytest.param(answered(504), ANYWHERE, ANYWHERE, ANYWHERE, id="504 of the provider's own"),
        pytest.param(answered(529), ANYWHERE, ANYWHERE, ANYWHERE, id="529"),
    ],
)
def test_what_may_be_tried_again_and_where(error: ProviderFailed, plain: Again, keyed: Again, free: Again) -> None:
    assert (again(error), again(error, keyed=True), again(error, free=True)) == (plain, keyed, free)
    assert is_repeatable(error) is (plain is not NEVER)
    assert is_repeatable(error, keyed=True) is (keyed is not NEVER)


@given(
    st.integers(400, 599), st.sampled_from(["provider_failed", "insufficient_quota", "x"]), st.booleans(),
    st.sampled_from(["", "true", "false"]),
)  # fmt: skip
def test_nothing_that_may_have_been_billed_is_repeated_unasked(
    status: int, code: str, passing: bool, should: str
) -> None:
    error = ProviderFailed("", status=status, code=code, passing=passing, headers={"X-Should-Retry": should})
    assert again(error) is NEVER
    assert not is_repeatable(error)


def test_a_failure_of_which_nothing_is_known_is_not_repeated() -> None:
    assert not is_repeatable(ProviderFailed("a provider of somebody's own failed"))


def test_every_row_of_the_table_says_why() -> None:
    assert all(row.reason for row in RULES)
    assert len({row.reason for row in RULES}) == len(RULES)


# -- The budget


def attempts(arrivals: list[float], alive: Callable[[float], bool] = lambda _: False) -> int:
    """How many times a provider is called that is only *alive* at times, by requests of these *arrivals*."""
    budget, made = RetryBudget(), 0
    for now in arrivals:
        budget.request(now)
        for tried in range(1, MAX_ATTEMPTS + 1):
            made += 1
            if alive(now):
                budget.succeeded()
                break
            if tried == MAX_ATTEMPTS or not budget.take(now):
                break
    return made


SPREADS = {
    "all at once": 0.0,
    "a hundred a second": 0.01,
    "ten a second": 0.1,
    "one a second": 1.0,
    "two a minute": 30.0,
    "one in two minutes": 120.0,
    "one an hour": 3600.0,
}


@pytest.mark.parametrize("step", SPREADS.values(), ids=SPREADS)
def test_a_thousand_requests_to_a_dead_upstream_make_at_most_1100_attempts(step: float) -> None:
    made = attempts([each * step for each in range(1000)])
    assert 1000 < made <= 1100


def test_a_thousand_requests_in_flight_at_once_make_at_most_1100_attempts() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.request(0.0)
    assert sum(budget.take(1.0) for _ in range(1000)) == 100


def test_failures_that_come_after_the_window_has_passed_have_the_floor_only() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.request(0.0)
    assert sum(budget.take(100.0) for _ in range(1000)) == BUDGET_FLOOR


@settings(deadline=None)
@given(st.lists(st.floats(0, 200, allow_nan=False), min_size=1, max_size=300))
def test_a_dead_upstream_never_gets_more_than_a_tenth_again_or_three(steps: list[float]) -> None:
    now, arrivals = 0.0, []
    for step in steps:
        now += step
        arrivals.append(now)
    assert attempts(arrivals) - len(arrivals) <= max(BUDGET_FLOOR, len(arrivals) // 10)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["request", "take", "succeeded"])), max_size=300))
def test_in_no_minute_are_more_than_a_tenth_repeated_or_three(events: list[tuple[int, str]]) -> None:
    budget, now = RetryBudget(), 0
    requested: list[int] = []
    repeated: list[int] = []
    for step, kind in events:
        now += step
        if kind == "request":
            budget.request(now)
            requested.append(now)
        elif kind == "succeeded":
            budget.succeeded()
        elif budget.take(now):
            repeated.append(now)
            recent = sum(each > now - 60 for each in requested)
            assert sum(each > now - 60 for each in repeated) <= max(BUDGET_FLOOR, recent // 10)


def test_whoever_asks_once_in_a_while_has_a_second_try_each_time() -> None:
    failures = iter([True, False] * 50)
    assert attempts([each * 600.0 for each in range(50)], alive=lambda _: not next(failures)) == 100


def test_waiting_alone_does_not_fill_the_budget_of_a_dead_upstream() -> None:
    budget = RetryBudget()
    assert [budget.take(0.0) for _ in range(5)] == [True] * 3 + [False] * 2
    assert not budget.take(86_400.0)
    budget.succeeded()
    assert budget.take(86_400.0)


def test_a_refused_repetition_is_not_counted() -> None:
    budget = RetryBudget()
    for _ in range(BUDGET_FLOOR + 50):
        budget.take(0.0)
    for _ in range((BUDGET_FLOOR + 1) * 10):
        budget.request(0.0)
    assert [budget.take(0.0) for _ in range(2)] == [True, False]


# -- The waits


@pytest.mark.parametrize(
    ("attempt", "longest"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (10_000, 8.0)]
)
def test_the_wait_is_anything_up_to_a_bound_that_doubles(attempt: int, longest: float) -> None:
    assert backoff(attempt, random=lambda: 0.0) == 0.0
    assert backoff(attempt, random=lambda: 0.5) == longest / 2
    assert backoff(attempt, random=lambda: 1.0) == longest


@given(st.floats(0, LONGEST_ASKED), st.floats(0, 1), st.integers(1, 5))
def test_nobody_is_asked_again_before_they_said(asked: float, chance: float, attempt: int) -> None:
    wait = wait_before(attempt, asked, random=lambda: chance)
    if asked <= LONGEST_WAIT:
        assert wait is not None
        assert asked <= wait <= asked + 0.5
    else:
        assert wait is None  # the caller is told instead


def test_who_does_not_say_when_gets_the_usual_wait() -> None:
    assert wait_before(3, None, random=lambda: 1.0) == 2.0


# -- What a provider asks for


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"Retry-After": "7"}, 7.0),
        ({"RETRY-AFTER": " 7 "}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": ".5"}, 0.5),
        ({"retry-after": "60"}, 60.0),
        ({"retry-after": "61"}, 60.0),
        ({"retry-after": "9" * 5000}, 60.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"Retry-After-Ms": "250.5"}, 0.2505),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after-ms": "-1", "retry-after": "7"}, 7.0),
        ({"retry-after-ms": "999999999"}, 60.0),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:20 GMT"}, 20.0),
        ({"retry-after": "Sun, 22 Nov 2026 13:00:20 +0100"}, 20.0),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:20 -0000"}, 20.0),
        ({"retry-after": "Sunday, 22-Nov-26 12:00:20 GMT"}, 20.0),
        ({"retry-after": "Sun, 22 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Sun, 22 Nov 2099 12:00:00 GMT"}, 60.0),
        ({"retry-after": "Sun, 42 Nov 2026 12:00:00 GMT"}, None),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:20 GMT" + " " * 5000 + "x"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "+5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "7, 8"}, None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_how_long_a_provider_asks_us_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


def test_a_date_is_compared_with_a_clock_of_any_zone() -> None:
    here = NOW.astimezone(timezone(timedelta(hours=9)))
    assert retry_after({"retry-after": "Sun, 22 Nov 2026 12:00:20 GMT"}, here) == 20.0


@given(st.integers(-10_000, 10_000))
def test_every_date_is_understood(seconds: int) -> None:
    text = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after({"retry-after": text}, NOW) == min(max(seconds, 0), LONGEST_ASKED)


DATE_WORDS = ("Sun", "Nov", "Foo", "GMT", "+9999", "-0000", "+99999999999", "99999", "0", "12:00:00", "25:61:61", ":")


@settings(max_examples=300)
@given(
    st.text(max_size=70)
    | st.lists(st.sampled_from(DATE_WORDS), max_size=9).map(" ".join)
    | st.lists(st.sampled_from([*DATE_WORDS, "22", ",", "-"]), max_size=9).map(", ".join)
)
def test_whatever_a_provider_writes_there_it_is_a_sound_number_or_nothing(text: str) -> None:
    for name in ("retry-after", "retry-after-ms"):
        seconds = retry_after({name: text}, NOW)
        assert seconds is None or 0 <= seconds <= LONGEST_ASKED
