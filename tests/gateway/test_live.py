"""What happens now: the figures, the day, and those who watch."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest

from membrain.holds import Held, Settled, Verdict
from membrain.live import MOST_KEPT, MOST_WAITING, WINDOW, Event, Live
from membrain.records import AuditRecord, BudgetAlert, Outcome, Snapshot
from tests.growth import assert_within

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC).timestamp()


class Clock:
    """Both clocks, standing still until told otherwise."""

    def __init__(self) -> None:
        self.elapsed = 0.0

    def monotonic(self) -> float:
        return 5_000.0 + self.elapsed

    def wall(self) -> float:
        return NOON + self.elapsed


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def live(clock: Clock) -> Live:
    """Ticks much faster than a second, so that tests need not wait."""
    return Live(monotonic=clock.monotonic, wall=clock.wall, every=0.02)


def a_record(id: str = "x", time: str = "2026-11-21T12:00:00Z", **fields: Any) -> AuditRecord:
    given: dict[str, Any] = {"outcome": Outcome.ANSWERED, "ms": 100.0, "first_ms": 10.0} | fields
    return AuditRecord(id=id, time=time, dialect="chat", path="/", model="m", **given)


# Figures


def test_at_first_there_is_nothing_and_nothing_is_not_zero(live: Live) -> None:
    assert live.snapshot() == Snapshot(
        time="2026-11-21T12:00:00.000Z",
        up_seconds=0.0,
        running=0,
        today=0,
        per_minute=0.0,
        p50_ms=None,
        p99_ms=None,
        first_p50_ms=None,
        cost_today_micros=0,
        masked_today=0,
        cached_today=0,
    )


def test_percentiles_are_nearest_ranks_of_answered_exchanges_alone(live: Live) -> None:
    for number in range(1, 101):
        live.finished(a_record(ms=float(number), first_ms=number / 10))
    for outcome in (Outcome.REFUSED, Outcome.FAILED, Outcome.ABORTED):
        live.finished(a_record(outcome=outcome, ms=99_999.0, first_ms=99_999.0))
    live.finished(a_record(ms=None, first_ms=None))
    seen = live.snapshot()
    assert (seen.p50_ms, seen.p99_ms, seen.first_p50_ms) == (50.0, 99.0, 5.0)
    assert seen.today == 104


def test_one_exchange_is_its_own_percentile(live: Live) -> None:
    live.finished(a_record(ms=7.25, first_ms=None))
    seen = live.snapshot()
    assert (seen.p50_ms, seen.p99_ms, seen.first_p50_ms) == (7.2, 7.2, None)


def test_the_window_forgets_after_fifteen_minutes_and_the_day_does_not(live: Live, clock: Clock) -> None:
    live.finished(a_record(ms=500.0))
    clock.elapsed = WINDOW - 1
    live.finished(a_record(ms=100.0))
    assert live.snapshot().p99_ms == 500.0
    clock.elapsed = WINDOW + 1
    assert live.snapshot().p99_ms == 100.0
    assert live.snapshot().today == 2


def test_a_rate_is_over_the_window_or_what_there_is_of_it(live: Live, clock: Clock) -> None:
    for _ in range(30):
        live.finished(a_record())
    assert live.snapshot().per_minute == 30.0, "the first minute counts as a whole one"
    clock.elapsed = 300.0
    assert live.snapshot().per_minute == 6.0
    clock.elapsed = WINDOW + 60
    assert live.snapshot().per_minute == 0.0


def test_no_more_is_kept_than_there_is_room_for_and_the_rate_stays_right(live: Live, clock: Clock) -> None:
    for number in range(MOST_KEPT * 2):
        clock.elapsed = number * 0.1
        live.finished(a_record())
    assert len(live._ended) == MOST_KEPT
    assert live.snapshot().per_minute == pytest.approx(600, abs=1)


def test_running_counts_what_came_in_and_is_not_over(live: Live) -> None:
    for _ in range(3):
        live.began()
    live.ended()
    assert live.snapshot().running == live.running == 2


def test_today_adds_up_on_what_there_was_before(live: Live) -> None:
    live.seed(today=40, cost_micros=1_000, masked=5, cached=2)
    live.finished(a_record(cost_micros=250, pii_findings_count=3, cached=True))
    live.finished(a_record(cost_micros=None))
    seen = live.snapshot()
    assert (seen.today, seen.cost_today_micros, seen.masked_today, seen.cached_today) == (42, 1_250, 8, 3)


@pytest.mark.parametrize("busy", [True, False])
def test_a_new_day_begins_at_midnight_utc(live: Live, clock: Clock, busy: bool) -> None:
    """Whether or not an exchange ends then; what arrived the day before is yesterday's, as it is in the audit."""
    live.finished(a_record())
    clock.elapsed = 12 * 3600 - 1
    assert live.snapshot().today == 1
    clock.elapsed += 2
    if busy:
        live.finished(a_record(time="2026-11-21T23:59:59Z"))
        live.finished(a_record(time="2026-11-22T00:00:00Z"))
    assert live.snapshot().today == int(busy)


def test_a_finished_exchange_costs_microseconds_while_nobody_watches() -> None:
    live, record = Live(), a_record()

    def finish_all() -> None:
        for _ in range(2_000):
            live.finished(record)

    assert_within(5e-6 * 2_000, finish_all)


# Watching


async def read(watching: AsyncIterator[Event], kind: str, count: int = 1) -> list[Any]:
    """The next events of a kind."""
    found: list[Any] = []
    async with asyncio.timeout(5):
        async for event in watching:
            if event[0] == kind:
                found.append(event[1])
            if len(found) == count:
                break
    return found


async def test_a_watcher_sees_the_figures_at_once_and_each_exchange_as_it_ends(live: Live) -> None:
    async with aclosing(live.watch()) as watching:
        assert await anext(watching) == ("snapshot", live.snapshot())
        for id in "abc":
            live.finished(a_record(id))
            assert await read(watching, "exchange") == [a_record(id)]


async def test_the_figures_come_again_and_again(live: Live, clock: Clock) -> None:
    async with aclosing(live.watch()) as watching:
        first, second, third = await read(watching, "snapshot", 3)
        clock.elapsed = 60.0
        (later,) = await read(watching, "snapshot")
    assert first == second == third
    assert later.up_seconds == 60.0


async def test_all_watchers_see_everything(live: Live) -> None:
    async with aclosing(live.watch()) as one, aclosing(live.watch()) as other:
        await anext(one)
        await anext(other)
        live.finished(a_record("seen"))
        assert await read(one, "exchange") == await read(other, "exchange") == [a_record("seen")]


def ticks(live: Live) -> bool:
    return live._tick is not None


async def test_the_ticking_goes_on_only_while_somebody_watches(live: Live) -> None:
    assert not ticks(live)
    for _ in range(2):
        async with aclosing(live.watch()) as one:
            await anext(one)
            async with aclosing(live.watch()) as other:
                await anext(other)
            assert ticks(live)
        assert not ticks(live)
        assert not live._watchers


async def test_who_drops_the_watching_without_closing_it_is_forgotten(live: Live) -> None:
    async def look() -> None:
        async for _ in live.watch():
            break

    await look()
    gc.collect()
    await asyncio.sleep(0.05)
    assert not live._watchers
    assert live._tick is None


async def test_a_slow_watcher_loses_the_oldest_and_is_told_how_many(live: Live) -> None:
    async with aclosing(live.watch()) as slow, aclosing(live.watch()) as other:
        await anext(slow)
        await anext(other)
        for number in range(MOST_WAITING + 25):
            live.finished(a_record(f"n{number}"))
        assert max(len(watcher.news) for watcher in live._watchers) == MOST_WAITING
        assert await anext(slow) == ("dropped", 25)
        left = await read(slow, "exchange", MOST_WAITING)
        assert [record.id for record in left] == [f"n{number}" for number in range(25, MOST_WAITING + 25)]
        live.finished(a_record("after"))
        assert await read(slow, "exchange") == [a_record("after")], "it is told once"
        assert await anext(other) == ("dropped", 26), "each has a queue of its own"


async def test_who_watches_hears_of_holds_in_their_order_among_the_exchanges(live: Live) -> None:
    begun, over = Held("a91f04", "aider", "red", {"EMAIL": 1}), Settled("a91f04", Verdict.APPROVED)
    async with aclosing(live.watch()) as watching:
        await anext(watching)
        live.held(begun)
        live.held(over)
        live.finished(a_record("a91f04"))
        assert await anext(watching) == ("hold", begun)
        assert await anext(watching) == ("held", over)
        assert await anext(watching) == ("exchange", a_record("a91f04"))


async def test_a_flood_does_not_hide_the_figures(live: Live) -> None:
    async with aclosing(live.watch()) as watching:
        await anext(watching)
        for _ in range(100):
            live.finished(a_record())
        await asyncio.sleep(0.1)
        assert (await anext(watching))[0] == "snapshot"
        assert (await anext(watching))[0] == "exchange", "and of several snapshots only the last is kept"


async def test_closing_ends_all_watching_after_what_waits(live: Live) -> None:
    seen: list[Event] = []
    ready = asyncio.Event()

    async def look() -> None:
        async for event in live.watch():
            seen.append(event)
            ready.set()

    looking = asyncio.create_task(look())
    await ready.wait()
    live.finished(a_record("last"))
    live.close()
    await asyncio.wait_for(looking, 5)
    assert ("exchange", a_record("last")) in seen
    assert live._tick is None
    live.finished(a_record("too late"))
    assert [event[0] async for event in live.watch()] == ["snapshot"]
    assert live._tick is None


async def test_a_watcher_that_is_cancelled_is_forgotten(live: Live) -> None:
    async def look() -> None:
        async for _ in live.watch():
            pass

    looking = asyncio.create_task(look())
    await asyncio.sleep(0.05)
    assert len(live._watchers) == 1
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert not live._watchers


# Those who listen inside


async def test_whoever_else_wants_to_know_is_told_of_each_exchange_and_watchers_of_alerts() -> None:
    told: list[AuditRecord] = []
    live = Live(also=(told.append,))
    async with aclosing(live.watch()) as watching:
        assert (await anext(watching))[0] == "snapshot"
        record, alert = a_record(), BudgetAlert("project:web", "2026-11", 80, 8, 10)
        live.finished(record)
        live.alerted(alert)
        assert told == [record]
        assert [await anext(watching), await anext(watching)] == [("exchange", record), ("budget", alert)]
