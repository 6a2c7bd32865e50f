"""What was spent and is held, in SQLite: a row for each owner and period, and one for each hold.

Looking and holding are one transaction, so no number of requests at once gets past a limit, nor do several processes
with one file. What is held and what becomes of it are committed before anything follows from them.

What was spent before a limit was set is taken from the audit the first time that the limit is looked at. The audit
knows the machine, projects and keys; the labels of users are in no column of it, so they begin at nothing.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from membrain.errors import BudgetUnavailable
from membrain.records import Allowance
from membrain.stores.base import TOTAL, Balance, Cap, Crossing, Shortfall
from membrain.stores.database import Subject, connect_reader, guard

if TYPE_CHECKING:  # the command line reads the balances, and would pay for these
    from asyncio import Future

    from membrain.stores.writer import Writer

SUBJECT = Subject("The ledger of budgets", BudgetUnavailable)

THRESHOLDS = (100, 80, 50)
"""Per cent of a limit at which somebody is told, the highest first."""

MOST_COUNTED = 10_000
"""How many owners and periods are remembered as looked up; then they are looked up anew."""

LOOK = "SELECT spent, reserved FROM spends WHERE owner = ? AND period = ?"
SEED = (
    "INSERT INTO spends (owner, period, spent) VALUES (?, ?, ?)"
    " ON CONFLICT DO UPDATE SET spent = max(spent, excluded.spent)"
)
HOLD = "UPDATE spends SET reserved = reserved + ? WHERE owner = ? AND period = ?"
KEEP = "INSERT INTO reservations (id, instance, at, micros, accounts) VALUES (?, ?, ?, ?, ?)"
DROP = "DELETE FROM reservations WHERE id = ? RETURNING micros, accounts"
LEFT = "SELECT id FROM reservations WHERE instance <> ?"
CHARGE = (
    "UPDATE spends SET reserved = reserved - ?, spent = spent + ? WHERE owner = ? AND period = ? RETURNING spent, told"
)
TELL = "UPDATE spends SET told = ? WHERE owner = ? AND period = ?"

SPENT = {
    "machine": "SELECT coalesce(sum(cost_micros), 0) FROM exchanges WHERE at >= ? AND ? = ''",
    "project": "SELECT coalesce(sum(cost_micros), 0) FROM exchanges WHERE at >= ? AND project = ?",
    "key": "SELECT coalesce(sum(cost_micros), 0) FROM exchanges WHERE at >= ? AND key_id = ?",
}
"""What the audit says that an owner of this kind has spent since a moment. Who is not here began at nothing."""

_decode = msgspec.json.Decoder(list[tuple[str, str, int]]).decode
_encode = msgspec.json.Encoder().encode


class Hold(NamedTuple):
    """What the writer's thread is handed to hold."""

    id: str
    instance: str
    at: int
    """Unix time, microseconds."""
    micros: int
    caps: tuple[Cap, ...]
    unseen: frozenset[tuple[str, str]]
    """Owners and periods of which the audit is to be asked once more."""


class Charged(NamedTuple):
    """A limit after something was charged to it."""

    cap: Cap
    spent: int
    told: int
    """Per cent."""


class LedgerFile:
    """The balances in a file that no gateway needs to hold open."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def owners(self) -> list[str]:
        """Whoever has spent something under a limit."""
        if not self._path.exists():
            return []
        try:
            with closing(connect_reader(self._path)) as database:
                return [owner for (owner,) in database.execute("SELECT DISTINCT owner FROM spends ORDER BY owner")]
        except sqlite3.Error as fault:
            raise guard(SUBJECT, "read", fault) from None

    def balances(self, limits: Mapping[str, Allowance], now: float) -> list[Balance]:
        """As `Ledger.balances`. BudgetUnavailable if the file cannot be read; all is unspent where there is none."""
        caps = [cap for owner, allowance in limits.items() for cap in Cap.of(owner, allowance, now)]
        if not self._path.exists():
            return [_balance(cap, 0, 0) for cap in caps]
        try:
            with closing(connect_reader(self._path)) as database:
                return [_balance(cap, *_state(database, cap.owner, cap.period)) for cap in caps]
        except sqlite3.Error as fault:
            raise guard(SUBJECT, "read", fault) from None


class SqliteLedger:
    """The ledger of one running gateway, which signs its holds with *instance*."""

    def __init__(self, writer: Writer, file: LedgerFile, instance: str, wall: Callable[[], float] = time.time) -> None:
        """*wall* gives Unix time in seconds."""
        self._writer = writer
        self._file = file
        self._instance = instance
        self._wall = wall
        self._counted: set[tuple[str, str]] = set()

    def reserve(self, id: str, micros: int, caps: Sequence[Cap]) -> Future[Shortfall | None]:
        """Hold *micros* under every cap, or nothing."""
        if micros < 0:
            raise ValueError("what is held cannot be less than nothing")
        unseen = frozenset((cap.owner, cap.period) for cap in caps) - self._counted
        hold = Hold(id, self._instance, int(self._wall() * 1_000_000), micros, tuple(caps), unseen)
        future: Future[Shortfall | None] = self._writer.submit(_reserve, hold, SUBJECT)
        if unseen:  # whoever comes next stands behind it in the queue, and need not look again
            if len(self._counted) >= MOST_COUNTED:
                self._counted.clear()
            self._counted |= unseen
            future.add_done_callback(partial(self._looked, unseen))
        return future

    def _looked(self, unseen: frozenset[tuple[str, str]], future: Future[Shortfall | None]) -> None:
        """What could not be looked up has to be, the next time."""
        if future.cancelled() or future.exception() is not None:
            self._counted -= unseen

    def settle(self, id: str, micros: int) -> Future[tuple[Crossing, ...]]:
        """Let go of a hold, and charge what it really was."""
        if micros < 0:
            raise ValueError("nothing can cost less than nothing")
        return self._writer.submit(_settle, (id, micros), SUBJECT)

    def recount(self) -> None:
        """Look once more what the audit says was spent."""
        self._counted.clear()

    async def recover(self, instance: str) -> int:
        """Charge what other instances held."""
        count: int = await self._writer.submit(_recover, instance, SUBJECT)
        return count

    async def balances(self, limits: Mapping[str, Allowance], now: float) -> list[Balance]:
        """How the limits of these owners stand."""
        import asyncio

        return await asyncio.to_thread(self._file.balances, limits, now)


# What follows runs in the writer's thread, in a transaction of the writer's.


def _reserve(database: sqlite3.Connection, hold: Hold) -> Shortfall | None:
    short = [each for cap in hold.caps if (each := _shortfall(database, cap, hold)) is not None]
    if short:
        return min(short, key=lambda each: each.left)
    for cap in hold.caps:
        database.execute(HOLD, (hold.micros, cap.owner, cap.period))
    accounts = _encode([(cap.owner, cap.period, cap.limit) for cap in hold.caps]).decode()
    database.execute(KEEP, (hold.id, hold.instance, hold.at, hold.micros, accounts))
    return None


def _shortfall(database: sqlite3.Connection, cap: Cap, hold: Hold) -> Shortfall | None:
    """Why *hold* does not fit under *cap*; None if it does."""
    account = cap.owner, cap.period
    row = None if account in hold.unseen else database.execute(LOOK, account).fetchone()
    if row is None:
        database.execute(SEED, (*account, _spent_by_audit(database, *account)))
        row = database.execute(LOOK, account).fetchone()
    left = max(cap.limit - row[0] - row[1], 0)  # what is free fits also where more was spent than there was
    return Shortfall(cap.owner, cap.period, cap.limit, left) if hold.micros > left else None


def _settle(database: sqlite3.Connection, given: tuple[str, int]) -> tuple[Crossing, ...]:
    """Charge a hold (id, micro-dollars); what of each limit is spent now, if it is more than was told."""
    return tuple(_told(database, _charge(database, *given)))


def _told(database: sqlite3.Connection, charged: Iterable[Charged]) -> Iterable[Crossing]:
    """Note the threshold that each limit stands at, a lower one too: then the limit was raised."""
    for cap, spent, told in charged:
        reached = next((each for each in THRESHOLDS if spent * 100 >= cap.limit * each), 0) if spent else 0
        if reached != told:
            database.execute(TELL, (reached, cap.owner, cap.period))
        if reached > told:
            yield Crossing(cap.owner, cap.period, cap.limit, spent, reached)


def _recover(database: sqlite3.Connection, instance: str) -> int:
    left = database.execute(LEFT, (instance,)).fetchall()
    for (id,) in left:
        _charge(database, id, None)
    return len(left)


def _charge(database: sqlite3.Connection, id: str, micros: int | None) -> list[Charged]:
    """Turn the hold *id* into a charge: of all that is held if *micros* is None, of nothing if nothing is held."""
    row = database.execute(DROP, (id,)).fetchone()
    if row is None:
        return []
    held, caps = row[0], [Cap(*account) for account in _decode(row[1])]
    cost = held if micros is None else micros
    return [Charged(cap, *database.execute(CHARGE, (held, cost, cap.owner, cap.period)).fetchone()) for cap in caps]


# What follows only reads.


def _state(database: sqlite3.Connection, owner: str, period: str) -> tuple[int, int]:
    """What is spent and what is held."""
    spent, reserved = database.execute(LOOK, (owner, period)).fetchone() or (0, 0)
    return max(spent, _spent_by_audit(database, owner, period)), reserved


def _spent_by_audit(database: sqlite3.Connection, owner: str, period: str) -> int:
    """What the audit says that *owner* has spent since *period* began."""
    kind, _, name = owner.partition(":")
    if (statement := SPENT.get(kind)) is None:
        return 0
    spent: int = database.execute(statement, (_begin(period), name)).fetchone()[0]
    return spent


def _begin(period: str) -> int:
    """When a period began, as the audit tells time: Unix time in microseconds."""
    if period == TOTAL:
        return 0
    first = period if len(period) > len("2026-11") else f"{period}-01"
    return int(datetime.fromisoformat(first).replace(tzinfo=UTC).timestamp()) * 1_000_000


def _balance(cap: Cap, spent: int, reserved: int) -> Balance:
    percent = spent * 100 // cap.limit if cap.limit else 100
    return Balance(cap.owner, cap.period, cap.limit, spent, reserved, percent)
