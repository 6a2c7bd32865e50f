"""How much was asked in a minute: exact, however the seconds fall and the clock goes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from math import floor
from pathlib import Path
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.errors import RateLimitUnavailable
from membrain.stores.base import Taken, Want
from membrain.stores.counters import SLOTS, SUBJECT, SWEEP_SECONDS, SqliteCounters, _settle, _take
from membrain.stores.database import hits
from membrain.stores.writer import Writer

pytestmark = pytest.mark.anyio

NOON = 1_790_000_000.0


class Clock:
    """A clock that only the test turns."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "audit.db"


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    writer = Writer(path)
    yield writer
    writer.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counters(writer: Writer, clock: Clock) -> SqliteCounters:
    return SqliteCounters(writer, clock)


def want(limit: int, amount: int = 1, owner: str = "machine", kind: str = "requests") -> Want:
    return Want(owner, kind, amount, limit)


def rows(path: Path) -> list[tuple[str, str, int, int]]:
    """What is in the file, as another connection sees it; slots in seconds since noon."""
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT owner, kind, slot - ?, amount FROM hits ORDER BY 1, 2, 3", (int(NOON),))
        return found.fetchall()


class Table:
    """The same work without the thread, for thousands of examples."""

    def __init__(self, start: float = NOON) -> None:
        self.clock = Clock(start)
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        hits(self.database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    def take(self, *wants: Want) -> Taken:
        return _take(self.database, (wants, self.clock))

    def settle(self, taken: Taken, difference: int) -> None:
        _settle(self.database, ([level.want for level in taken.levels], floor(taken.at), difference, self.clock))


def fullest(admitted: list[tuple[float, int]]) -> int:
    """The most that any 60 seconds hold, both of their ends included: one of them begins with an entry."""
    return max(
        (sum(amount for at, amount in admitted if begin <= at <= begin + 60) for begin, _ in admitted), default=0
    )


# --- the window

pauses = st.one_of(st.just(0.0), st.floats(0, 3), st.floats(0, 70), st.sampled_from([0.5, 1.0, 59.0, 60.0, 60.5, 61.0]))
asked = st.lists(st.tuples(pauses, st.integers(1, 6)), max_size=60)


@given(asked, st.integers(0, 12), st.floats(0, 1, exclude_max=True))
def test_no_sixty_seconds_hold_more_than_the_limit_and_nobody_is_refused_who_fits(
    asked: list[tuple[float, int]], limit: int, start: float
) -> None:
    """Who fits counting whole seconds is let in; who is not let in did not fit."""
    admitted: list[tuple[float, int]] = []
    with Table(NOON + start) as table:
        for pause, amount in asked:
            table.clock.now += pause
            taken = table.take(want(limit, amount))
            now = floor(table.clock.now)
            counted = sum(each for at, each in admitted if now - floor(at) <= 60)
            assert taken.admitted == (counted + amount <= limit)
            if taken.admitted:
                admitted.append((table.clock.now, amount))
            assert taken.levels[0].used == counted + amount * taken.admitted
            assert taken.levels[0].left == limit - taken.levels[0].used
            assert (taken.levels[0].room_at == now) == (taken.levels[0].left >= amount)
    assert fullest(admitted) <= limit


@given(asked, st.integers(1, 12))
def test_room_comes_back_in_the_very_second_that_was_promised(asked: list[tuple[float, int]], limit: int) -> None:
    with Table() as table:
        for pause, amount in asked:
            table.clock.now += pause
            taken = table.take(want(limit, amount))
            promised = taken.levels[0].room_at
            if amount > limit:
                assert promised is None
            elif not taken.admitted:
                assert promised is not None
                assert table.clock.now < promised <= table.clock.now + SLOTS
                table.clock.now = promised - 0.001
                assert not table.take(want(limit, amount)).admitted
                table.clock.now = promised
                assert table.take(want(limit, amount)).admitted


@given(asked, st.integers(1, 12))
def test_the_limit_is_whole_again_when_that_was_promised(asked: list[tuple[float, int]], limit: int) -> None:
    with Table() as table:
        for pause, amount in asked:
            table.clock.now += pause
            taken = table.take(want(limit, amount))
        if asked:
            table.clock.now = max(table.clock.now, taken.levels[0].empty_at)
            assert table.take(want(limit, limit)).admitted


turns = st.one_of(st.just(0.0), st.just(0.0), st.floats(0, 2), st.floats(0, 100_000))


@given(st.lists(st.tuples(pauses, turns, st.integers(1, 6)), max_size=60), st.integers(1, 12))
def test_a_clock_that_is_put_back_lets_nobody_more_in(asked: list[tuple[float, float, int]], limit: int) -> None:
    """Measured on a clock of the test's own, which nobody turns."""
    true, admitted = NOON, list[tuple[float, int]]()
    with Table() as table:
        for pause, turned_back, amount in asked:
            true += pause
            table.clock.now += pause - turned_back
            taken = table.take(want(limit, amount))
            assert taken.levels[0].empty_at <= floor(table.clock.now) + SLOTS
            if taken.admitted:
                admitted.append((true, amount))
        assert fullest(admitted) <= limit
        table.clock.now += SLOTS
        assert table.take(want(limit, limit)).admitted, "a minute later all is well, however far it was put back"


def test_one_owner_kind_or_limit_does_not_count_for_another() -> None:
    with Table() as table:
        assert table.take(want(1)).admitted
        assert not table.take(want(1)).admitted
        assert table.take(want(1, owner="project:web")).admitted
        assert table.take(want(1, kind="tokens")).admitted
        assert table.take(want(2)).admitted, "a limit that was raised counts at once"


# --- all or nothing


async def test_all_limits_are_counted_or_none(counters: SqliteCounters, path: Path) -> None:
    wide, tight = want(10, owner="machine"), want(1, owner="key:a")
    assert (await counters.take([wide, tight])).admitted
    refused = await counters.take([wide, want(100, 50, kind="tokens"), tight])
    assert [level.fitted for level in refused.levels] == [True, True, False]
    assert [level.used for level in refused.levels] == [1, 0, 1]
    assert not refused.admitted
    assert rows(path) == [("key:a", "requests", 0, 1), ("machine", "requests", 0, 1)]


async def test_of_many_at_once_exactly_as_many_pass_as_the_limit_says(counters: SqliteCounters) -> None:
    """In one process; several are tried in tests/test_rate_holds.py."""
    taken = await asyncio.gather(*(counters.take([want(37), want(1000, 10, "key:a", "tokens")]) for _ in range(500)))
    assert sum(each.admitted for each in taken) == 37


async def test_what_was_counted_survives_a_restart(path: Path, clock: Clock) -> None:
    for expected in (True, False):
        writer = Writer(path)
        assert (await SqliteCounters(writer, clock).take([want(1)])).admitted is expected
        writer.close()
        clock.now += 30


async def test_the_clock_is_read_in_the_transaction_and_not_when_it_was_asked(
    counters: SqliteCounters, writer: Writer, clock: Clock
) -> None:
    """Otherwise who waited long would be written down in a second that is over."""

    def turn(database: sqlite3.Connection, seconds: float) -> None:
        clock.now += seconds

    writer.post(turn, 100.0, SUBJECT)
    assert (await counters.take([want(1)])).at == NOON + 100


# --- settling


async def test_less_is_given_back_and_more_is_added_in_the_same_second(
    counters: SqliteCounters, clock: Clock, path: Path
) -> None:
    def tokens(amount: int) -> list[Want]:
        return [want(100, amount, kind="tokens"), want(9)]

    first, second = await counters.take(tokens(40)), await counters.take(tokens(50))
    clock.now += 20
    counters.settle(first, "tokens", -30)
    counters.settle(second, "tokens", 35)
    full = await counters.take(tokens(6))
    assert [level.used for level in full.levels] == [95, 2]
    assert not full.admitted
    assert full.levels[0].room_at == int(NOON) + SLOTS
    assert (await counters.take(tokens(5))).admitted
    assert rows(path) == [
        ("machine", "requests", 0, 2),
        ("machine", "requests", 20, 1),
        ("machine", "tokens", 0, 95),
        ("machine", "tokens", 20, 5),
    ]


async def test_all_given_back_leaves_nothing(counters: SqliteCounters, path: Path) -> None:
    taken = await counters.take([want(100, 40, kind="tokens")])
    counters.settle(taken, "tokens", -40)
    assert (await counters.take([want(0)])).levels[0].used == 0
    assert rows(path) == []


async def test_more_than_the_limit_may_be_used_in_the_end_and_keeps_others_out_longer(
    counters: SqliteCounters, clock: Clock
) -> None:
    taken = await counters.take([want(100, 40, kind="tokens")])
    counters.settle(taken, "tokens", 960)
    level = (await counters.take([want(100, 1, kind="tokens")])).levels[0]
    assert (level.used, level.left, level.fitted) == (1000, 0, False)
    clock.now += SLOTS
    assert (await counters.take([want(100, 1, kind="tokens")])).admitted


async def test_what_is_over_or_was_refused_is_not_settled(counters: SqliteCounters, clock: Clock, path: Path) -> None:
    taken = await counters.take([want(100, 40, kind="tokens")])
    refused = await counters.take([want(100, 90, kind="tokens")])
    counters.settle(refused, "tokens", -30)
    counters.settle(taken, "requests", -1)
    assert (await counters.take([want(0, kind="tokens")])).levels[0].used == 40
    clock.now += SLOTS
    counters.settle(taken, "tokens", 500)
    await counters.take([want(0)])
    assert rows(path) == [("machine", "tokens", 0, 40)], "a second that is over is not written to"
    assert (await counters.take([want(100, 100, kind="tokens")])).admitted


async def test_after_the_clock_was_put_back_nothing_is_taken_from_what_others_asked(
    counters: SqliteCounters, clock: Clock, path: Path
) -> None:
    taken = await counters.take([want(100, 40, kind="tokens")])
    clock.now -= 5
    await counters.take([want(100, 1, kind="tokens")])
    clock.now += 5
    await counters.take([want(100, 30, kind="tokens")])
    counters.settle(taken, "tokens", -40)
    assert (await counters.take([want(0, kind="tokens")])).levels[0].used == 71


@given(
    st.lists(st.tuples(st.floats(0, 40), st.integers(1, 20), st.integers(-20, 20), st.floats(0, 100)), max_size=40),
    st.integers(1, 40),
)
def test_settled_in_any_order_the_count_is_what_was_used(
    asked: list[tuple[float, int, int, float]], limit: int
) -> None:
    """Each asks, and is settled some time later; the count is compared with a list of all that happened."""
    with Table() as table:
        used: dict[int, tuple[int, int]] = {}
        due: list[tuple[float, int, Taken, int]] = []
        for number, (pause, amount, difference, later) in enumerate(asked):
            table.clock.now += pause
            for each in sorted(entry for entry in due if entry[0] <= table.clock.now):
                _, which, taken, change = each
                due.remove(each)
                table.settle(taken, change)
                slot, before = used[which]
                used[which] = (slot, before + change)
            now = floor(table.clock.now)
            counted = sum(each for slot, each in used.values() if now - slot <= 60)
            taken = table.take(want(limit, amount))
            assert taken.admitted == (counted + amount <= limit)
            if taken.admitted:
                used[number] = (now, amount)
                due.append((table.clock.now + later, number, taken, max(difference, -amount)))


# --- what it leaves behind


def test_an_owner_never_has_more_rows_than_the_window_has_seconds() -> None:
    with Table() as table:
        for _ in range(500):
            table.clock.now += 1
            assert table.take(want(1000), want(1000, kind="tokens")).admitted
        assert table.database.execute("SELECT count(*) FROM hits").fetchone() == (2 * SLOTS,)


async def test_owners_who_do_not_come_back_are_forgotten(counters: SqliteCounters, clock: Clock, path: Path) -> None:
    for number in range(20):
        await counters.take([want(5, owner=f"key:{number}")])
    clock.now += SWEEP_SECONDS
    await counters.take([want(5)])
    assert [row[0] for row in rows(path)] == ["machine"]


# --- faults


def closed(writer: Writer, path: Path) -> None:
    writer.close()


def without_its_table(writer: Writer, path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE hits")


def damaged(writer: Writer, path: Path) -> None:
    writer._drop()
    path.write_bytes(b"once upon a time" * 1000)
    for companion in path.parent.glob("*-wal"):
        companion.unlink()


@pytest.mark.parametrize(
    ("spoil", "why"), [(closed, "it is closed"), (without_its_table, "it was refused"), (damaged, "damaged")]
)
async def test_what_cannot_be_counted_is_refused(
    counters: SqliteCounters, writer: Writer, path: Path, spoil: Callable[[Writer, Path], None], why: str
) -> None:
    await counters.take([want(5)])
    spoil(writer, path)
    with pytest.raises(RateLimitUnavailable, match=f" cannot be (written|opened): .*{why}") as refused:
        await counters.take([want(5)])
    assert (refused.value.status, refused.value.code) == (503, "rate_limit_unavailable")
