"""The breaker of one provider: when it opens, whom it lets through as a probe, and what closes it again."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from membrain.errors import ProviderFailed
from membrain.routing.breaker import (
    FIRST_REST,
    LEAST_CALLS,
    LONGEST_REST,
    PROBE_SECONDS,
    WINDOW_SECONDS,
    Breaker,
    Breakers,
    State,
    Window,
)


def broken(now: float = 0.0) -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker()
    for _ in range(LEAST_CALLS):
        assert breaker.begin(now)
        breaker.failed(now, began=now)
    assert breaker.state(now) == "open"
    return breaker


def test_a_new_one_is_closed() -> None:
    breaker = Breaker()
    assert (breaker.state(0), breaker.may_call(0), breaker.reopens_in(0)) == ("closed", True, 0)


def test_nineteen_failures_prove_nothing() -> None:
    breaker = Breaker()
    for _ in range(LEAST_CALLS - 1):
        breaker.failed(1.0)
    assert breaker.state(1.0) == "closed"
    breaker.failed(1.0)
    assert breaker.state(1.0) == "open"


@pytest.mark.parametrize(("good", "bad", "state"), [(10, 10, "open"), (11, 10, "closed"), (100, 99, "closed")])
def test_half_of_the_calls_open_it(good: int, bad: int, state: State) -> None:
    breaker = Breaker()
    for _ in range(good):
        breaker.succeeded(1.0)
    for _ in range(bad):
        breaker.failed(1.0)
    assert breaker.state(1.0) == state


def test_a_success_never_opens_it() -> None:
    breaker = Breaker()
    for _ in range(10):
        breaker.failed(1.0)
    for _ in range(10):
        breaker.succeeded(1.0)
    assert breaker.state(1.0) == "closed"


@pytest.mark.parametrize(("later", "state"), [(WINDOW_SECONDS - 1, "open"), (WINDOW_SECONDS, "closed")])
def test_only_the_last_seconds_count(later: float, state: State) -> None:
    breaker = Breaker()
    for _ in range(LEAST_CALLS - 1):
        breaker.failed(0.0)
    breaker.failed(later)
    assert breaker.state(later) == state


def test_open_it_refuses_for_five_seconds() -> None:
    breaker = broken(100.0)
    assert breaker.reopens_in(101.0) == FIRST_REST - 1
    assert not breaker.begin(104.99)
    assert breaker.begin(105.0)


def test_one_probe_is_let_through_at_a_time() -> None:
    breaker = broken()
    assert [breaker.begin(5.0) for _ in range(100)] == [True] + [False] * 99
    assert (breaker.state(5.0), breaker.may_call(5.0), breaker.reopens_in(5.0)) == ("probing", False, 0)


def test_a_probe_that_succeeds_closes_it_and_forgets() -> None:
    breaker = broken()
    breaker.begin(5.0)
    breaker.succeeded(5.5, began=5.0)
    assert breaker.state(5.5) == "closed"
    for _ in range(LEAST_CALLS - 1):  # with what was before, this would be far more than half
        breaker.failed(6.0)
    assert breaker.state(6.0) == "closed"
    breaker.failed(6.0)
    assert breaker.reopens_in(6.0) == FIRST_REST


def test_the_rest_doubles_with_each_probe_that_fails_up_to_a_minute() -> None:
    breaker, now, rests = broken(), 0.0, []
    for _ in range(6):
        rests.append(breaker.reopens_in(now))
        now += rests[-1]
        assert breaker.begin(now)
        breaker.failed(now, began=now)
    assert rests == [5, 10, 20, 40, 60, 60]


@pytest.mark.parametrize(("asked", "rest"), [(None, 5), (0, 5), (3, 5), (30, 30), (3600, LONGEST_REST)])
def test_a_longer_retry_after_is_honoured_and_capped(asked: float | None, rest: float) -> None:
    breaker = Breaker()
    for _ in range(LEAST_CALLS):
        breaker.failed(0.0, asked)
    assert breaker.reopens_in(0.0) == rest


def test_a_retry_after_does_not_lengthen_the_rests_that_follow() -> None:
    breaker = Breaker()
    for _ in range(LEAST_CALLS):
        breaker.failed(0.0, 50)
    assert breaker.begin(50.0)
    breaker.failed(50.0, began=50.0)
    assert breaker.reopens_in(50.0) == 10


def test_a_probe_whose_caller_hung_up_is_given_back() -> None:
    breaker = broken()
    breaker.begin(5.0)
    breaker.cancelled(6.0, began=5.0)
    assert (breaker.state(6.0), breaker.may_call(6.0)) == ("open", True)
    assert breaker.begin(6.0)


def test_a_hang_up_says_nothing_about_the_provider() -> None:
    breaker = Breaker()
    for _ in range(LEAST_CALLS - 1):
        breaker.failed(0.0)
    for _ in range(100):
        breaker.cancelled(0.0)
    assert breaker.state(0.0) == "closed"
    breaker.failed(0.0)
    assert breaker.state(0.0) == "open"


def test_a_probe_that_is_lost_does_not_shut_the_provider_for_good() -> None:
    breaker = broken()
    assert breaker.begin(5.0)
    assert not breaker.begin(5.0 + PROBE_SECONDS - 0.25)
    assert breaker.begin(5.0 + PROBE_SECONDS)
    breaker.cancelled(66.0, began=5.0)  # the first one is found after all; the second is still under way
    assert breaker.state(66.0) == "probing"


def test_a_slow_probe_still_closes_it_if_nobody_took_its_place() -> None:
    breaker = broken()
    breaker.begin(5.0)
    breaker.succeeded(300.0, began=5.0)
    assert breaker.state(300.0) == "closed"


def test_calls_from_before_the_probe_are_not_taken_for_it() -> None:
    breaker = Breaker()
    for _ in range(3):
        assert breaker.begin(0.0)  # these three hang
    for _ in range(LEAST_CALLS):
        breaker.failed(1.0, began=1.0)
    assert breaker.begin(6.0)
    breaker.failed(7.0, began=0.0)
    breaker.succeeded(7.0, began=0.0)
    breaker.cancelled(7.0, began=0.0)
    assert breaker.state(7.0) == "probing"
    breaker.succeeded(8.0, began=6.0)
    assert breaker.state(8.0) == "closed"


def test_calls_from_before_it_closed_do_not_open_it_again() -> None:
    breaker = broken()
    breaker.begin(5.0)
    breaker.succeeded(6.0, began=5.0)
    for _ in range(LEAST_CALLS):
        breaker.failed(7.0, began=0.0)
    assert breaker.state(7.0) == "closed"


def test_late_failures_while_it_is_open_do_not_lengthen_the_rest() -> None:
    breaker = broken()
    for _ in range(50):
        breaker.failed(1.0)
    assert breaker.reopens_in(1.0) == FIRST_REST - 1


def test_a_pause_keeps_everybody_away_and_is_no_failure() -> None:
    breaker = Breaker()
    for _ in range(2 * LEAST_CALLS):
        breaker.pause(10.0, 7)
    assert (breaker.state(10.0), breaker.may_call(10.0), breaker.reopens_in(10.0)) == ("closed", False, 7)
    assert not breaker.begin(16.99)
    assert breaker.begin(17.0)


@pytest.mark.parametrize(("asked", "rest"), [(-1, 0), (0, 0), (1.5, 1.5), (3600, LONGEST_REST)])
def test_a_pause_lasts_a_minute_at_most(asked: float, rest: float) -> None:
    breaker = Breaker()
    breaker.pause(0.0, asked)
    assert breaker.reopens_in(0.0) == rest


def test_a_shorter_pause_does_not_shorten_a_longer_one() -> None:
    breaker = Breaker()
    breaker.pause(0.0, 20)
    breaker.pause(1.0, 2)
    assert breaker.reopens_in(1.0) == 19


def test_a_pause_outlasts_the_rest_of_an_open_breaker() -> None:
    breaker = broken()
    breaker.pause(0.0, 20)
    assert (breaker.may_call(5.0), breaker.reopens_in(5.0)) == (False, 15)


def test_a_probe_that_is_told_to_wait_is_given_back_and_no_failure() -> None:
    breaker = broken()
    breaker.begin(5.0)
    breaker.pause(5.0, 3, began=5.0)
    assert (breaker.state(5.0), breaker.reopens_in(5.0)) == ("open", 3)
    assert breaker.begin(8.0)
    breaker.failed(8.0, began=8.0)
    assert breaker.reopens_in(8.0) == 10  # doubled once, not twice


def test_a_clock_that_stands_still_or_steps_back_breaks_nothing() -> None:
    breaker = Breaker()
    for _ in range(LEAST_CALLS // 2):
        breaker.failed(50.0)
        breaker.failed(20.0)
    assert breaker.state(50.0) == "open"


REFUSED_KEY = ProviderFailed("", code="provider_key_refused", reached=False)


@pytest.mark.parametrize(
    ("error", "asked", "rests"),
    [
        (ProviderFailed("", reached=False), None, FIRST_REST),  # nobody there
        (ProviderFailed("", status=504), None, FIRST_REST),  # silence
        (ProviderFailed(""), None, FIRST_REST),  # reset, or nonsense
        (ProviderFailed("", status=500, reached=False), None, FIRST_REST),
        (ProviderFailed("", status=503, reached=False), 30.0, 30),
        (ProviderFailed("", status=529, reached=False), None, FIRST_REST),
        (ProviderFailed("", status=400, passing=False, reached=False), None, 0),
        (ProviderFailed("", status=404, passing=False, reached=False), None, 0),
        (ProviderFailed("", status=408, reached=False), None, 0),
        (ProviderFailed("", status=409, reached=False), 9.0, 0),
        (ProviderFailed("", status=429, reached=False), None, 0),
        (ProviderFailed("", status=429, reached=False), 9.0, 9),
        (REFUSED_KEY, None, 0),
    ],
    ids=lambda value: f"{value.status}" if isinstance(value, ProviderFailed) else str(value),
)
def test_what_an_error_says_about_its_provider(error: ProviderFailed, asked: float | None, rests: float) -> None:
    breaker = Breaker()
    for _ in range(LEAST_CALLS):
        breaker.ended(0.0, error, asked)
    assert breaker.reopens_in(0.0) == rests
    assert (breaker.state(0.0) == "open") is (rests > 0 and error.status != 429)


def test_a_provider_that_refuses_a_request_for_what_is_in_it_is_well() -> None:
    breaker = broken()
    breaker.begin(5.0)
    breaker.ended(5.0, ProviderFailed("", status=400, passing=False, reached=False), began=5.0)
    assert breaker.state(5.0) == "closed"


def test_an_error_of_the_probe_itself_counts_as_the_probes() -> None:
    breaker = broken()
    breaker.begin(5.0)
    breaker.ended(5.0, REFUSED_KEY, began=5.0)
    assert breaker.may_call(5.0)
    breaker.begin(5.0)
    breaker.ended(5.0, ProviderFailed("", status=500, reached=False), began=5.0)
    assert breaker.reopens_in(5.0) == 10


def test_each_provider_has_its_own() -> None:
    breakers = Breakers()
    assert breakers.may_call("openai", 0.0)
    assert breakers.of("openai") is breakers.of("openai")
    for _ in range(LEAST_CALLS):
        breakers.of("openai").failed(0.0)
    assert not breakers.may_call("openai", 0.0)
    assert breakers.may_call("anthropic", 0.0)


def test_who_rests_is_told_with_the_seconds() -> None:
    breakers = Breakers()
    for _ in range(LEAST_CALLS):
        breakers.of("openai").failed(0.0)
    breakers.of("anthropic").pause(0.0, 30)
    breakers.of("ollama").succeeded(0.0)
    assert breakers.resting(1.0) == {"openai": 4, "anthropic": 29}
    assert breakers.of("openai").begin(5.0)
    assert breakers.resting(5.0) == {"openai": 0, "anthropic": 25}  # its probe is under way


def test_a_provider_that_was_set_up_anew_begins_anew() -> None:
    breakers = Breakers()
    breakers.of("openai").pause(0.0, 30)
    breakers.forget("openai")
    breakers.forget("never heard of")
    assert breakers.may_call("openai", 0.0)


@given(st.lists(st.tuples(st.floats(0, 90, allow_nan=False), st.booleans()), max_size=60), st.integers(1, 40))
def test_a_window_counts_as_a_plain_list_does(given_calls: list[tuple[float, bool]], seconds: int) -> None:
    window, seen, now = Window(seconds), [], 0.0
    for step, marked in given_calls:
        now += step
        window.add(now, all=1, marked=int(marked))
        seen.append((int(now), marked))
        inside = [mark for second, mark in seen if second > int(now) - seconds]
        assert (window.all, window.marked) == (len(inside), sum(inside))


@dataclass
class Oracle:
    """What the breaker should be, from plain lists and as its documentation says it."""

    calls: list[tuple[float, bool]] = field(default_factory=list)
    """Since it last closed: when each ended, and whether it failed."""
    rests: list[tuple[float, float]] = field(default_factory=list)
    """Since it last closed: how long it rested each time, and until when."""
    pauses: list[float] = field(default_factory=list)
    probe: float | None = None
    closed_at: float = -1.0

    def probed(self, now: float) -> bool:
        return self.probe is not None and now - self.probe < PROBE_SECONDS

    def state(self, now: float) -> str:
        if not self.rests:
            return "closed"
        return "probing" if self.probed(now) else "open"

    def may_call(self, now: float) -> bool:
        rested = all(now >= until for _, until in self.rests)
        return rested and not self.probed(now) and all(now >= until for until in self.pauses)

    def counts(self, began: float) -> bool:
        """Whether a call of then still says anything."""
        if self.rests:
            return self.probe is not None and began >= self.probe
        return began >= self.closed_at

    def rest(self, now: float, asked: float | None) -> None:
        length = min(60.0, 5.0 * 2 ** len(self.rests))
        self.rests.append((length, now + max(length, min(asked or 0.0, 60.0))))
        self.calls, self.probe = [], None

    def failed(self, now: float, asked: float | None, began: float) -> None:
        if not self.counts(began):
            return
        if self.rests:
            self.rest(now, asked)
            return
        self.calls.append((now, True))
        recent = [failed for when, failed in self.calls if int(when) > int(now) - 30]
        if len(recent) >= 20 and sum(recent) >= len(recent) / 2:
            self.rest(now, asked)

    def succeeded(self, now: float, began: float) -> None:
        if not self.counts(began):
            return
        if self.rests:
            self.rests, self.calls, self.probe, self.closed_at = [], [], None, now
        else:
            self.calls.append((now, False))


class BreakerMachine(RuleBasedStateMachine):
    """Callers that come, wait, succeed, fail, are told to wait and hang up, in any order."""

    # Quarters of a second are exact in binary, so that the edges are met and not missed by rounding.
    quarters = st.integers(0, 40).map(lambda count: count / 4)
    asked = st.none() | st.sampled_from([0.0, 2.5, 12.0, 45.0, 1000.0])

    @initialize(start=st.sampled_from([0.0, 0.75, 1_000_000.5]))
    def begins(self, start: float) -> None:
        self.now = start
        self.breaker, self.oracle = Breaker(), Oracle()
        self.running: list[float] = []

    @rule(seconds=quarters | st.sampled_from([29.0, 30.0, 31.0, 59.75, 60.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(callers=st.integers(1, 30))
    def call(self, callers: int) -> None:
        for _ in range(callers):
            may = self.oracle.may_call(self.now)
            assert self.breaker.begin(self.now) is may
            if may:
                self.running.append(self.now)
            if may and self.oracle.rests:
                self.oracle.probe = self.now

    @precondition(lambda self: self.running)
    @rule(data=st.data(), count=st.integers(1, 25), asked=asked)
    def fail(self, data: st.DataObject, count: int, asked: float | None) -> None:
        for began in self._some(data, count):
            self.breaker.failed(self.now, asked, began=began)
            self.oracle.failed(self.now, asked, began)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), count=st.integers(1, 12))
    def succeed(self, data: st.DataObject, count: int) -> None:
        for began in self._some(data, count):
            self.breaker.succeeded(self.now, began=began)
            self.oracle.succeeded(self.now, began)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        for began in self._some(data, 1):
            self.breaker.cancelled(self.now, began=began)
            if self.oracle.counts(began):
                self.oracle.probe = None

    @precondition(lambda self: self.running)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.25, 3.0, 40.0, 500.0]))
    def told_to_wait(self, data: st.DataObject, seconds: float) -> None:
        for began in self._some(data, 1):
            self.breaker.pause(self.now, seconds, began=began)
            self.oracle.pauses.append(self.now + min(seconds, 60.0))
            if self.oracle.counts(began):
                self.oracle.probe = None

    @invariant()
    def it_is_what_the_plain_lists_say(self) -> None:
        assert self.breaker.state(self.now) == self.oracle.state(self.now)
        assert self.breaker.may_call(self.now) is self.oracle.may_call(self.now)

    @invariant()
    def asking_changes_nothing(self) -> None:
        before = [getattr(self.breaker, name) for name in Breaker.__slots__]
        self.breaker.may_call(self.now + 1000)
        self.breaker.state(self.now + 1000)
        self.breaker.reopens_in(self.now + 1000)
        assert [getattr(self.breaker, name) for name in Breaker.__slots__] == before

    @invariant()
    def it_is_open_again_when_it_says(self) -> None:
        then = self.now + self.breaker.reopens_in(self.now)
        assert then - self.now <= LONGEST_REST
        assert self.breaker.may_call(then) or self.breaker.state(self.now) == "probing"
        if then > self.now:
            assert not self.breaker.may_call(then - 0.125)

    def _some(self, data: st.DataObject, count: int) -> list[float]:
        """Up to *count* of the running calls, which end now."""
        first = data.draw(st.integers(0, len(self.running) - 1))
        ended, self.running = (
            self.running[first : first + count],
            [
                *self.running[:first],
                *self.running[first + count :],
            ],
        )
        return ended


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
