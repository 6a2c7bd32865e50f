"""The ledger: a limit admits what it can pay for and no more, whatever happens at once, and whoever dies."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings as how
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from membrain.errors import BudgetUnavailable
from membrain.records import Allowance
from membrain.stores.base import TOTAL, Balance, Cap, Crossing, Shortfall
from membrain.stores.database import connect
from membrain.stores.ledger import LedgerFile, SqliteLedger
from membrain.stores.writer import Writer

pytestmark = pytest.mark.anyio

NOON = 1_795_348_800.0
"""2026-11-22, 12:00 UTC."""
TODAY, MONTH = "2026-11-22", "2026-11"


def day(limit: int, owner: str = "machine") -> Cap:
    return Cap(owner, TODAY, limit)


def rows(path: Path) -> dict[tuple[str, str], tuple[int, int]]:
    """What is spent and held, as another program reads it."""
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT owner, period, spent, reserved FROM spends").fetchall()
    return {(owner, period): (spent, reserved) for owner, period, spent, reserved in found}


def holds(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        count: int = database.execute("SELECT count(*) FROM reservations").fetchone()[0]
    return count


def put_on_record(path: Path, at: float, cost: int | None, **columns: str) -> None:
    """An exchange in the audit's index, with something in every column that must not be empty."""
    with closing(connect(path)) as database:
        asked = [row[1] for row in database.execute("PRAGMA table_info(exchanges)") if row[3] and not row[5]]
        row = dict.fromkeys(asked, "") | {"id": uuid4().hex, "at": int(at * 1_000_000), "cost_micros": cost} | columns
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        statement = f"INSERT INTO exchanges ({names}) VALUES ({marks})"  # noqa: S608  # names of columns
        database.execute(statement, list(row.values()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    writer = Writer(path)
    yield writer
    writer.close()


@pytest.fixture
async def ledger(path: Path, writer: Writer) -> SqliteLedger:
    return of(path, writer)


def of(path: Path, writer: Writer, instance: str = "this") -> SqliteLedger:
    return SqliteLedger(writer, LedgerFile(path), instance, lambda: NOON)


# --- what a limit is


def test_an_allowance_is_a_cap_for_each_period_of_utc() -> None:
    allowance = Allowance(day=1, month=2, total=3)
    late = NOON + 12 * 3600 - 0.001
    assert Cap.of("machine", allowance, NOON) == Cap.of("machine", allowance, late)
    assert Cap.of("key:a", allowance, NOON) == (
        Cap("key:a", TODAY, 1),
        Cap("key:a", MONTH, 2),
        Cap("key:a", TOTAL, 3),
    )
    assert Cap.of("machine", Allowance(day=1), late + 0.002) == (Cap("machine", "2026-11-23", 1),)
    assert Cap.of("machine", Allowance(day=0), NOON) == (Cap("machine", TODAY, 0),)
    assert Cap.of("machine", Allowance(), NOON) == ()


# --- holding


async def test_what_fits_is_held_and_what_does_not_fit_is_not(ledger: SqliteLedger, path: Path) -> None:
    assert await ledger.reserve("a", 60, [day(100)]) is None
    assert await ledger.reserve("b", 40, [day(100)]) is None
    assert await ledger.reserve("c", 1, [day(100)]) == Shortfall("machine", TODAY, 100, 0)
    assert rows(path) == {("machine", TODAY): (0, 100)}
    assert holds(path) == 2


async def test_all_caps_hold_or_none_and_the_tightest_is_named(ledger: SqliteLedger, path: Path) -> None:
    caps = [day(100), Cap("key:k", TOTAL, 30), Cap("project:web", MONTH, 20)]
    assert await ledger.reserve("a", 31, caps) == Shortfall("project:web", MONTH, 20, 20)
    assert set(rows(path).values()) == {(0, 0)}
    assert await ledger.reserve("a", 20, caps) is None
    assert set(rows(path).values()) == {(0, 20)}


async def test_a_limit_of_nothing_admits_what_is_free(ledger: SqliteLedger) -> None:
    assert await ledger.reserve("a", 0, [day(0)]) is None
    assert await ledger.settle("a", 0) == (), "nothing of nothing is no news"
    assert await ledger.reserve("b", 1, [day(0)]) == Shortfall("machine", TODAY, 0, 0)


async def test_amounts_beyond_what_a_row_can_hold_are_refused_like_any_other(ledger: SqliteLedger) -> None:
    assert await ledger.reserve("a", 10**30, [day(100)]) == Shortfall("machine", TODAY, 100, 100)


async def test_what_is_negative_is_a_mistake_of_ours(ledger: SqliteLedger) -> None:
    with pytest.raises(ValueError, match="less than nothing"):
        ledger.reserve("a", -1, [day(100)])
    with pytest.raises(ValueError, match="less than nothing"):
        ledger.settle("a", -1)


async def test_one_id_holds_once(ledger: SqliteLedger, path: Path) -> None:
    assert await ledger.reserve("a", 10, [day(100)]) is None
    with pytest.raises(BudgetUnavailable):
        await ledger.reserve("a", 10, [day(100)])
    assert rows(path) == {("machine", TODAY): (0, 10)}


async def test_a_thousand_at_once_get_exactly_what_the_limit_admits(ledger: SqliteLedger, path: Path) -> None:
    found = await asyncio.gather(*(ledger.reserve(f"e{each}", 27, [day(1000)]) for each in range(1000)))
    held = [f"e{each}" for each, short in enumerate(found) if short is None]
    assert len(held) == 37
    assert rows(path) == {("machine", TODAY): (0, 999)}
    await asyncio.gather(*(ledger.settle(id, 27) for id in held))
    assert rows(path) == {("machine", TODAY): (999, 0)}
    assert holds(path) == 0


# --- settling


async def test_the_true_cost_is_charged_and_the_rest_is_free_again(ledger: SqliteLedger, path: Path) -> None:
    await ledger.reserve("a", 80, [day(100), Cap("key:k", TOTAL, 100)])
    await ledger.settle("a", 5)
    assert set(rows(path).values()) == {(5, 0)}
    assert await ledger.reserve("b", 95, [day(100)]) is None


async def test_settling_twice_or_what_nobody_held_changes_nothing(ledger: SqliteLedger, path: Path) -> None:
    await ledger.reserve("a", 80, [day(100)])
    await ledger.settle("a", 5)
    assert await ledger.settle("a", 7) == ()
    assert await ledger.settle("never held", 9) == ()
    assert rows(path) == {("machine", TODAY): (5, 0)}


async def test_what_costs_more_than_was_held_is_charged_and_the_next_is_refused(ledger: SqliteLedger) -> None:
    await ledger.reserve("a", 80, [day(100)])
    await ledger.settle("a", 130)
    assert await ledger.reserve("b", 1, [day(100)]) == Shortfall("machine", TODAY, 100, 0)
    assert await ledger.reserve("free", 0, [day(100)]) is None
    assert await ledger.reserve("c", 1, [day(200)]) is None


async def test_a_hold_of_yesterday_is_charged_to_yesterday(ledger: SqliteLedger, path: Path) -> None:
    await ledger.reserve("late", 10, [day(100)])
    await ledger.reserve("early", 20, [Cap("machine", "2026-11-23", 100)])
    await ledger.settle("late", 10)
    assert rows(path) == {("machine", TODAY): (10, 0), ("machine", "2026-11-23"): (0, 20)}


async def test_each_threshold_is_told_once_and_the_highest_alone(ledger: SqliteLedger) -> None:
    told = []
    for number, cost in enumerate((49, 1, 10, 30, 5, 5)):
        await ledger.reserve(f"e{number}", cost, [day(100)])
        told.append([each.percent for each in await ledger.settle(f"e{number}", cost)])
    assert told == [[], [50], [], [80], [], [100]]


async def test_a_crossing_names_its_limit(ledger: SqliteLedger) -> None:
    await ledger.reserve("a", 90, [day(100), Cap("key:k", TOTAL, 1000)])
    assert await ledger.settle("a", 85) == (Crossing("machine", TODAY, 100, 85, 80),)


async def test_a_limit_that_was_raised_is_told_of_anew(ledger: SqliteLedger) -> None:
    for id, limit, told in (("a", 100, [80]), ("b", 1000, []), ("c", 180, [50])):
        await ledger.reserve(id, 80 if id == "a" else 5, [day(limit)])
        assert [each.percent for each in await ledger.settle(id, 80 if id == "a" else 5)] == told


# --- who dies


async def test_what_others_held_when_they_died_is_charged_in_full(path: Path) -> None:
    """What they asked may have been billed, so nothing less keeps the spending below the limit."""
    first = Writer(path)
    await of(path, first, "dead").reserve("a", 40, [day(100)])
    first.close()
    second = Writer(path)
    ledger = of(path, second, "alive")
    await ledger.reserve("b", 30, [day(100)])
    assert await ledger.recover("alive") == 1
    assert rows(path) == {("machine", TODAY): (40, 30)}
    assert await ledger.recover("alive") == 0
    assert await ledger.settle("a", 1) == ()
    second.close()
    assert holds(path) == 1


async def test_what_a_recovery_used_up_is_told_with_the_next_settlement(path: Path, writer: Writer) -> None:
    await of(path, writer, "dead").reserve("a", 60, [day(100)])
    ledger = of(path, writer)
    await ledger.recover("this")
    await ledger.reserve("b", 1, [day(100)])
    assert [each.percent for each in await ledger.settle("b", 1)] == [50]


# --- what was spent before


async def test_a_limit_knows_what_the_audit_says_was_spent_before_it_was_set(path: Path) -> None:
    put_on_record(path, NOON - 3600, 30, key_id="key-1", project="web")
    put_on_record(path, NOON, 7, key_id="key-2", project="web")
    put_on_record(path, NOON - 86400, 5, project="shop")
    put_on_record(path, NOON - 31 * 86400, 1000, project="web")
    put_on_record(path, NOON, None, project="web")
    limits = {
        "machine": Allowance(day=100, month=100),
        "project:web": Allowance(month=100),
        "key:key-2": Allowance(total=100),
        "user:web:ann": Allowance(total=100),
    }
    before = {(each.owner, each.period): each.spent for each in LedgerFile(path).balances(limits, NOON)}
    writer = Writer(path)
    caps = [cap for owner, allowance in limits.items() for cap in Cap.of(owner, allowance, NOON)]
    assert await of(path, writer).reserve("a", 1, caps) is None
    writer.close()
    assert before == {account: spent for account, (spent, _) in rows(path).items()}
    assert before == {
        ("machine", TODAY): 37,
        ("machine", MONTH): 42,
        ("project:web", MONTH): 37,
        ("key:key-2", TOTAL): 7,
        ("user:web:ann", TOTAL): 0,
    }


async def test_an_account_that_was_out_of_use_is_looked_up_again(path: Path, writer: Writer) -> None:
    """A limit that was taken away for a while has missed what was spent meanwhile."""
    ledger = of(path, writer)
    await ledger.reserve("a", 10, [day(100)])
    await ledger.settle("a", 10)
    put_on_record(path, NOON, 60)
    await ledger.reserve("b", 1, [day(100)])
    assert rows(path)["machine", TODAY] == (10, 1)
    ledger.recount()
    await ledger.reserve("c", 1, [day(100)])
    assert rows(path)["machine", TODAY] == (60, 2)


async def test_it_does_not_remember_without_end_what_it_looked_up(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("membrain.stores.ledger.MOST_COUNTED", 3)
    for number in range(5):
        await ledger.reserve(f"e{number}", 1, [day(100, f"key:{number}")])
    assert len(ledger._counted) == 2


# --- balances


async def test_balances_show_what_is_spent_held_and_left(ledger: SqliteLedger) -> None:
    await ledger.reserve("a", 30, [day(100)])
    await ledger.settle("a", 33)
    await ledger.reserve("b", 20, [day(100)])
    limits = {"machine": Allowance(day=100, total=0), "key:new": Allowance(month=5)}
    assert await ledger.balances(limits, NOON) == [
        Balance("machine", TODAY, 100, 33, 20, 33),
        Balance("machine", TOTAL, 0, 0, 0, 100),
        Balance("key:new", MONTH, 5, 0, 0, 0),
    ]


async def test_whoever_spent_under_a_limit_is_known(ledger: SqliteLedger, path: Path) -> None:
    await ledger.reserve("a", 1, [day(100), Cap("machine", MONTH, 100), Cap("key:k", TOTAL, 100)])
    assert LedgerFile(path).owners() == ["key:k", "machine"]


def test_where_there_is_no_file_all_is_unspent(path: Path) -> None:
    assert LedgerFile(path).owners() == []
    balances = LedgerFile(path).balances({"machine": Allowance(day=100)}, NOON)
    assert balances == [Balance("machine", TODAY, 100, 0, 0, 0)]
    assert not path.exists()


def test_a_file_that_cannot_be_read_is_no_empty_ledger(path: Path) -> None:
    path.write_bytes(b"not a database, and longer than a header would be" * 40)
    with pytest.raises(BudgetUnavailable, match="cannot be read"):
        LedgerFile(path).balances({"machine": Allowance(day=100)}, NOON)
    with pytest.raises(BudgetUnavailable, match="cannot be read"):
        LedgerFile(path).owners()


async def test_a_ledger_that_cannot_be_written_holds_nothing(ledger: SqliteLedger, writer: Writer) -> None:
    writer.close()
    with pytest.raises(BudgetUnavailable):
        await ledger.reserve("a", 1, [day(100)])
    await asyncio.sleep(0)
    assert not ledger._counted
    with pytest.raises(BudgetUnavailable):
        await ledger.settle("a", 1)


# --- against a reference


OWNERS = ("machine", "project:p", "key:k", "user:p:u")


class Books(RuleBasedStateMachine):
    """Whatever order of holding, settling, cancelling, dying and turning of days: the sums are those of a child's
    arithmetic, and no limit is ever passed by what cost at most what was held.
    """

    def __init__(self) -> None:
        super().__init__()
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        self.loop = asyncio.new_event_loop()
        self.lives, self.numbers, self.now = 0, 0, NOON
        self.held: dict[str, tuple[int, tuple[Cap, ...]]] = {}
        self.spent: dict[tuple[str, str], int] = {}
        self.limits: dict[str, Allowance] = {}

    @initialize(limits=st.lists(st.integers(0, 400), min_size=12, max_size=12))
    def open(self, limits: list[int]) -> None:
        from membrain.stores.database import MIGRATIONS

        for migration in MIGRATIONS:
            migration(self.database)
        for place, owner in enumerate(OWNERS):
            day_limit, month, total = limits[place * 3 : place * 3 + 3]
            self.limits[owner] = Allowance(day_limit or None, month or None, total or None)
        self.live()

    def live(self) -> None:
        self.lives += 1
        self.ledger = SqliteLedger(
            Direct(self.database, self.loop),  # type: ignore[arg-type]  # a writer without a thread
            LedgerFile(Path("/nowhere")),
            f"life {self.lives}",
            lambda: self.now,
        )

    @rule(micros=st.integers(0, 120), owners=st.sets(st.sampled_from(OWNERS), min_size=1))
    def reserve(self, micros: int, owners: set[str]) -> None:
        caps = tuple(cap for owner in owners for cap in Cap.of(owner, self.limits[owner], self.now))
        if not caps:
            return
        self.numbers += 1
        id = f"e{self.numbers}"
        short = self.ledger.reserve(id, micros, caps).result()
        left = {(cap.owner, cap.period): cap.limit - self.used(cap.owner, cap.period) for cap in caps}
        if short is None:
            assert all(micros <= each for each in left.values())
            self.held[id] = (micros, caps)
        else:
            tight = {account: each for account, each in left.items() if each < micros}
            assert short.left == min(tight.values()) == tight[short.owner, short.period]

    @precondition(lambda self: self.held)
    @rule(data=st.data(), share=st.integers(0, 100))
    def settle(self, data: st.DataObject, share: int) -> None:
        """At its true cost; a share of nothing is a request that was cancelled before it left."""
        id = data.draw(st.sampled_from(sorted(self.held)))
        micros, caps = self.held.pop(id)
        cost = micros * share // 100
        told = self.ledger.settle(id, cost).result()
        self.charge(cost, caps)
        for each in told:
            assert each.spent == self.spent[each.owner, each.period]
            assert each.spent * 100 >= each.percent * each.limit
        assert self.ledger.settle(id, cost).result() == ()

    @rule()
    def crash(self) -> None:
        self.live()
        assert self.loop.run_until_complete(self.ledger.recover(f"life {self.lives}")) == len(self.held)
        for micros, caps in self.held.values():
            self.charge(micros, caps)
        self.held.clear()

    @rule(hours=st.sampled_from([1, 13, 24, 24 * 9]))
    def time_passes(self, hours: int) -> None:
        self.now += hours * 3600

    def charge(self, micros: int, caps: tuple[Cap, ...]) -> None:
        for cap in caps:
            account = cap.owner, cap.period
            self.spent[account] = self.spent.get(account, 0) + micros

    def used(self, owner: str, period: str) -> int:
        held = (
            micros for micros, caps in self.held.values() for cap in caps if (cap.owner, cap.period) == (owner, period)
        )
        return self.spent.get((owner, period), 0) + sum(held)

    @invariant()
    def the_books_balance(self) -> None:
        rows = (
            self.database.execute("SELECT owner, period, spent, reserved FROM spends").fetchall() if self.lives else []
        )
        for owner, period, spent, reserved in rows:
            assert spent == self.spent.get((owner, period), 0)
            assert spent + reserved == self.used(owner, period)
            limit = next(
                cap.limit
                for when in (self.limits[owner],)
                for cap in every(owner, when)
                if len(cap.period) == len(period)
            )
            assert 0 <= spent + reserved <= limit
        if self.lives:
            (count,) = self.database.execute("SELECT count(*) FROM reservations").fetchone()
            assert count == len(self.held)

    def teardown(self) -> None:
        self.database.close()
        self.loop.close()


def every(owner: str, allowance: Allowance) -> tuple[Cap, ...]:
    return Cap.of(owner, allowance, NOON)


class Direct:
    """A writer that does each job at once, as a transaction of its own."""

    def __init__(self, database: sqlite3.Connection, loop: asyncio.AbstractEventLoop) -> None:
        self.database, self.loop = database, loop

    def submit(self, work, argument, subject):
        future = self.loop.create_future()
        self.database.execute("BEGIN IMMEDIATE")
        future.set_result(work(self.database, argument))
        self.database.execute("COMMIT")
        return future


Books.TestCase.settings = how(max_examples=100, stateful_step_count=40, deadline=None)
TestBooks = Books.TestCase
