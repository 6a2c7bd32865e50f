"""What the dashboard knows, from what it was told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.records import Attempt, Snapshot
from membrain_cli.top.state import MOST_ROWS, State, View
from tests.cli.top.happenings import FELL, HOLD, LATELY, NOW, SNAPSHOT, exchange, found, start

AT = NOW.timestamp()


def told(*events: tuple[str, Any]) -> State:
    """A state to which *events* were told, a gateway being up."""
    state = State()
    for name, data in [("up", start(recent=())), *events]:
        state.take(name, data)
    return state


def seen(*events: tuple[str, Any]) -> View:
    """What there is to see after *events*."""
    return told(*events).view(AT)


def ids(view: View) -> list[str]:
    return [row.record["id"].rstrip("0") for row in view.rows]


# --- exchanges -----------------------------------------------------------------------------------------------


def test_exchanges_are_listed_newest_first() -> None:
    assert ids(seen(("exchange", exchange("aa", 9)), ("exchange", exchange("bb", 5)))) == ["bb", "aa"]


def test_one_that_was_read_at_the_start_and_told_again_counts_once() -> None:
    state = State()
    state.take("up", start())
    before = state.view(AT)
    state.take("exchange", LATELY[0])
    after = state.view(AT)
    assert after.rows == before.rows
    assert after.seen == before.seen
    assert after.budgets == before.budgets


def test_one_that_still_ran_at_the_start_is_listed_once_it_has_ended() -> None:
    state = State()
    state.take("up", start(recent=[exchange("aa", 5, outcome="open", ms=None)]))
    assert state.view(AT).rows == ()
    state.take("exchange", exchange("aa", 5))
    assert [row.record["outcome"] for row in state.view(AT).rows] == ["answered"]


def test_after_a_gap_only_what_was_missed_is_added() -> None:
    state = State()
    state.take("up", start(recent=LATELY[3:]))
    state.take("down", "")
    state.take("up", start(recent=LATELY))
    assert [row.record["id"] for row in state.view(AT).rows] == [each["id"] for each in LATELY]


@given(st.lists(st.integers(0, 1500), max_size=1300))
def test_the_list_is_bounded_ordered_and_without_doubles(numbers: list[int]) -> None:
    state = told()
    base = exchange("00", 1)
    for number in numbers:
        state.take("exchange", {**base, "id": f"{number:032x}"})
    rows = state.view(AT).rows
    assert len(rows) <= MOST_ROWS
    assert len({row.record["id"] for row in rows}) == len(rows)
    assert [row.number for row in rows] == sorted((row.number for row in rows), reverse=True)


def test_an_exchange_of_an_older_gateway_is_listed_too() -> None:
    bare = {"id": "ee", "time": "2026-11-21T14:00:00Z", "dialect": "chat", "path": "/", "model": "m"}
    assert ids(seen(("exchange", bare))) == ["ee"]


def test_an_event_of_a_newer_gateway_is_nothing_to_us() -> None:
    assert seen(("weather", {"rain": True})) == seen()


def test_a_view_does_not_change_when_more_happens() -> None:
    state = told(("exchange", exchange("aa", 5)))
    view = state.view(AT)
    kept = replace(view)
    state.take("exchange", exchange("bb", 1, cost_micros=5_000_000, attempts=FELL))
    assert view == kept
    assert ids(view) == ["aa"]


def test_what_went_by_too_fast_is_counted() -> None:
    view = seen(("exchange", exchange("aa", 5)), ("dropped", 40))
    assert (view.seen, view.lost) == (41, 40)


# --- the filter ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "passing"),
    [
        ("", ["aa", "bb", "cc"]),
        ("  ", ["aa", "bb", "cc"]),
        ("haiku", ["bb"]),
        ("HAIKU anthropic", ["bb"]),
        ("haiku openai", []),
        ("-haiku", ["aa", "cc"]),
        ("ci", ["cc"]),
        ("budget", ["cc"]),
        ("email", ["bb"]),
        ("[red]", []),
    ],
)
def test_all_words_of_a_filter_must_be_there(words: str, passing: list[str]) -> None:
    state = told(
        ("exchange", exchange("cc", 9, "o1", caller="ci", outcome="refused", error="budget_exceeded", provider=None)),
        ("exchange", exchange("bb", 8, "claude-haiku-4-5", provider="anthropic", **found("EMAIL"))),
        ("exchange", exchange("aa", 7)),
    )
    state.filter = words
    view = state.view(AT)
    assert [row.record["id"].rstrip("0") for row in state.passing(view.rows)] == passing
    assert len(view.rows) == 3


def test_only_what_held_something_private() -> None:
    state = told(("exchange", exchange("aa", 9)), ("exchange", exchange("bb", 8, **found("PHONE"))))
    state.private_only = True
    assert [row.record["id"].rstrip("0") for row in state.passing(state.view(AT).rows)] == ["bb"]


# --- figures -------------------------------------------------------------------------------------------------


def test_the_gateways_own_figures_are_told_for_its_window() -> None:
    figures = seen(("exchange", exchange("aa", 5, ms=9.0)), ("snapshot", SNAPSHOT)).figures
    assert (figures.per_minute, figures.p50, figures.p99, figures.first) == (18.4, 412.0, 2200.0, 180.0)
    assert (figures.today, figures.cached, figures.spent, figures.masked) == (1204, 445, 1_830_000, 63)
    assert (figures.running, figures.limit) == (2, 5_000_000)


def test_for_another_window_they_are_counted() -> None:
    state = told(
        *(("exchange", exchange(f"{n:02x}", n * 60, ms=100.0 * (n + 1))) for n in range(9)), ("snapshot", SNAPSHOT)
    )
    state.window = 300
    figures = state.view(AT).figures
    assert figures.per_minute == pytest.approx(1.0, abs=0.21)
    assert figures.p50 == pytest.approx(300, rel=0.03)
    assert figures.today == 1204


def test_a_refusal_says_nothing_of_how_fast_answers_are() -> None:
    state = told(("exchange", exchange("aa", 5, outcome="refused", provider=None, ms=1.0, first_ms=None)))
    state.window = 300
    figures = state.view(AT).figures
    assert (figures.p50, figures.first) == (None, None)
    assert figures.per_minute > 0


def test_the_same_moment_can_be_looked_at_through_another_window() -> None:
    state = told(("exchange", exchange("aa", 1000)), ("exchange", exchange("bb", 5)), ("snapshot", SNAPSHOT))
    view = state.view(AT)
    state.window = 3600
    wide = state.widened(view)
    assert wide.figures.per_minute == pytest.approx(2 / 60)
    assert (wide.rows, wide.now) == (view.rows, view.now)


def test_what_was_found_is_counted_by_label() -> None:
    two = ("exchange", exchange("aa", 9, **found("EMAIL", "EMAIL")))
    assert seen(two, ("exchange", exchange("bb", 8, **found("EMAIL", "PHONE")))).figures.labels == (
        ("EMAIL", 3),
        ("PHONE", 1),
    )


def test_a_label_is_never_counted_more_often_than_is_on_record() -> None:
    many = {**found("EMAIL", "PHONE"), "pii_findings_count": 9}
    labels = seen(("exchange", exchange("aa", 9, **many))).figures.labels
    assert sum(number for _, number in labels) <= 9


def test_saved_money_is_of_today() -> None:
    hit = ("exchange", exchange("aa", 9, cached=True, cost_micros=0, saved_micros=60_000))
    later = Snapshot.from_dict({**SNAPSHOT, "time": "2026-11-22T00:00:01.000Z"}).to_dict()
    assert seen(hit).figures.saved == 200_000
    assert seen(("snapshot", SNAPSHOT), hit, ("snapshot", later)).figures.saved == 0


# --- providers -----------------------------------------------------------------------------------------------


def test_providers_are_judged_by_their_tries() -> None:
    events = [("exchange", exchange(f"{n:02x}", n, ms=388.0)) for n in range(9)]
    fell = ("exchange", exchange("ff", 1, "claude-sonnet-4", provider="anthropic", attempts=FELL))
    known = {each.name: each for each in seen(*events, fell).providers}
    assert known["openai"].took == pytest.approx(388, rel=0.02)
    assert known["openai"].failed == pytest.approx(10.0)
    assert (known["anthropic"].failed, known["ollama"].took) == (0.0, None)


@pytest.mark.parametrize(("ms", "standing"), [(3900.0, "up"), (4200.0, "slow")])
def test_a_provider_whose_median_is_long_is_slow(ms: float, standing: str) -> None:
    known = {each.name: each for each in seen(("exchange", exchange("aa", 5, ms=ms))).providers}
    assert known["openai"].standing == standing


def test_a_provider_that_was_off_and_answers_is_up() -> None:
    answer = exchange("aa", 5, provider="litellm", attempts=(Attempt("litellm", "m", 5.0),))
    assert {each.name: each.standing for each in seen().providers}["litellm"] == "off"
    assert {each.name: each.standing for each in seen(("exchange", answer)).providers}["litellm"] == "up"


# --- budgets -------------------------------------------------------------------------------------------------


def spent(view: View) -> dict[str, int]:
    return {f"{each['owner']} {each['period']}": each["spent_micros"] for each in view.budgets}


def budget(owner: str, period: str) -> dict[str, Any]:
    return {"owner": owner, "period": period, "limit_micros": 1000, "spent_micros": 0}


def test_what_an_exchange_costs_is_spent_of_its_own_budgets() -> None:
    budgets = [budget(owner, "day") for owner in ("machine", "project:web", "project:api", "key:k1", "key:k2", "user:")]
    state = State()
    state.take("up", start(recent=(), usage={"saved_micros": 0, "budgets": budgets}))
    state.take("exchange", exchange("aa", 5, cost_micros=7, project="web", key_id="k1"))
    assert [name for name, micros in spent(state.view(AT)).items() if micros] == [
        "machine day", "project:web day", "key:k1 day", "user: day",
    ]  # fmt: skip


def test_the_exchange_that_an_alert_tells_of_is_not_added_twice() -> None:
    """The gateway settles, tells of the threshold, and then of the exchange that crossed it."""
    alert = {"owner": "machine", "period": "2026-11", "percent": 50, "spent_micros": 31, "limit_micros": 60}
    before = spent(seen())
    assert spent(seen(("budget", alert))) == before


def test_a_new_day_begins_with_nothing_spent_and_a_new_month_too() -> None:
    day = {**SNAPSHOT, "time": "2026-11-22T00:00:01.000Z"}
    month = {**SNAPSHOT, "time": "2026-12-01T00:00:01.000Z"}
    assert spent(seen(("snapshot", SNAPSHOT), ("snapshot", day))) == {"machine day": 0, "machine month": 12_600_000}
    assert spent(seen(("snapshot", SNAPSHOT), ("snapshot", month))) == {"machine day": 0, "machine month": 0}


# --- holds, and how we stand with the gateway ----------------------------------------------------------------


def test_what_waits_is_known_until_it_is_settled() -> None:
    held = {name: HOLD[name] for name in ("id", "caller", "project", "labels")}
    state = told(("hold", held))
    assert state.waiting == [HOLD["id"]]
    state.take("held", {"id": HOLD["id"], "decision": "approved"})
    assert state.view(AT).holds == ()


def test_a_gateway_that_is_gone_asks_for_nothing_any_more() -> None:
    state = told(("hold", HOLD), ("down", "It refused."))
    view = state.view(AT)
    assert (view.link, view.trouble, view.holds) == ("down", "It refused.", ())
    state.take("starting", None)
    assert state.view(AT).link == "starting"
    state.take("up", start())
    assert (state.view(AT).link, state.view(AT).trouble, state.linked) == ("up", "", True)
