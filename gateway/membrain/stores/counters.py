"""What was asked in the last 60 seconds, in SQLite, counted in slots of one second.

The counting is ours because libraries for it share an exact count between processes only through a server such as
Redis, and forget it with the process otherwise; here it is exact over all processes of one file, and outlives them.

A slot counts until 61 seconds after it began. So no 60 seconds hold more than a limit, wherever they begin, and room
comes back at most one second late. The clock is read inside the transaction: who counts later never has the earlier
second. If the clock was put back, what seems to lie ahead is moved to now, which can only keep it counted longer.
"""

from __future__ import annotations

import sqlite3
import time
from asyncio import Future
from collections.abc import Callable, Sequence
from math import floor

from membrain.errors import RateLimitUnavailable
from membrain.stores.base import Level, Taken, Want
from membrain.stores.database import Subject
from membrain.stores.writer import Writer

SUBJECT = Subject("The count of requests", RateLimitUnavailable)

SLOTS = 61
"""One more than the seconds of the window: its two ends may lie in the middle of a second."""

SWEEP_SECONDS = 3600.0
"""Between two sweeps of what was counted for owners who did not come back."""

Clock = Callable[[], float]

SUM = "SELECT coalesce(sum(amount), 0), max(slot) FROM hits WHERE owner = ? AND kind = ? AND slot > ?"
ROWS = "SELECT slot, amount FROM hits WHERE owner = ? AND kind = ? AND slot > ? ORDER BY slot"
ADD = (
    "INSERT INTO hits (owner, kind, slot, amount) VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET amount = amount + excluded.amount"
)
AHEAD = "DELETE FROM hits WHERE owner = ? AND kind = ? AND slot > ? RETURNING amount"
FORGET = "DELETE FROM hits WHERE owner = ? AND kind = ? AND slot <= ?"
SWEEP = "DELETE FROM hits WHERE slot <= ?"
LESS = "UPDATE hits SET amount = amount - ? WHERE owner = ? AND kind = ? AND slot = ? AND amount >= ?"
NOTHING = "DELETE FROM hits WHERE owner = ? AND kind = ? AND slot = ? AND amount = 0"


class SqliteCounters:
    """The counts of one running gateway, shared with all that use the same file."""

    def __init__(self, writer: Writer, wall: Clock = time.time) -> None:
        """*wall* gives Unix time in seconds; it is asked in the writer's thread."""
        self._writer = writer
        self._wall = wall
        self._swept: float | None = None

    def take(self, wants: Sequence[Want]) -> Future[Taken]:
        """Count all of *wants*, or nothing."""
        self._sweep()
        return self._writer.submit(_take, (tuple(wants), self._wall), SUBJECT)

    def settle(self, taken: Taken, kind: str, difference: int) -> None:
        """Correct what was taken of one kind."""
        wants = [level.want for level in taken.levels if level.want.kind == kind]
        if difference and wants and taken.admitted:
            self._writer.post(_settle, (wants, floor(taken.at), difference, self._wall), SUBJECT)

    def _sweep(self) -> None:
        """Once in a while, forget owners who did not come back; a clock that was put back is no reason to stop."""
        now = self._wall()
        if self._swept is None or not 0 <= now - self._swept < SWEEP_SECONDS:
            self._swept = now
            self._writer.post(_forget_all, floor(now) - SLOTS, SUBJECT)


# What follows runs in the writer's thread, in a transaction that keeps every other writer out.


def _take(database: sqlite3.Connection, given: tuple[tuple[Want, ...], Clock]) -> Taken:
    wants, wall = given
    now = wall()
    slot = floor(now)
    counts = [_count(database, want, slot) for want in wants]
    fitted = [used + want.amount <= want.limit for want, (used, _) in zip(wants, counts, strict=True)]
    if all(fitted):
        counts = [_add(database, want, slot, used) for want, (used, _) in zip(wants, counts, strict=True)]
    levels = [
        Level(want, used, fits, _room_at(database, want, slot, used), newest + SLOTS if used else slot)
        for want, fits, (used, newest) in zip(wants, fitted, counts, strict=True)
    ]
    return Taken(now, tuple(levels))


def _settle(database: sqlite3.Connection, given: tuple[list[Want], int, int, Clock]) -> None:
    """More is added while it still counts; less is taken from what is there, and never from another second."""
    wants, slot, difference, wall = given
    now = floor(wall())
    for want in wants:
        if difference > 0 and slot > now - SLOTS:
            database.execute(ADD, (want.owner, want.kind, min(slot, now), difference))
        elif difference < 0:
            database.execute(LESS, (-difference, want.owner, want.kind, slot, -difference))
            database.execute(NOTHING, (want.owner, want.kind, slot))


def _count(database: sqlite3.Connection, want: Want, slot: int) -> tuple[int, int]:
    """What counts now, and its newest second; what lies ahead of the clock is moved to *slot* first."""
    used, newest = database.execute(SUM, (want.owner, want.kind, slot - SLOTS)).fetchone()
    if newest is not None and newest > slot:
        ahead = sum(amount for (amount,) in database.execute(AHEAD, (want.owner, want.kind, slot)).fetchall())
        database.execute(ADD, (want.owner, want.kind, slot, ahead))
        newest = slot
    return used, slot if newest is None else newest


def _add(database: sqlite3.Connection, want: Want, slot: int, used: int) -> tuple[int, int]:
    """Count *want* on top of what is *used*, and forget what is over: as `_count` would give it now."""
    database.execute(FORGET, (want.owner, want.kind, slot - SLOTS))
    database.execute(ADD, (want.owner, want.kind, slot, want.amount))
    return used + want.amount, slot


def _room_at(database: sqlite3.Connection, want: Want, slot: int, used: int) -> int | None:
    """When so much of what is *used* will be over that *want* fits (again)."""
    if want.amount > want.limit:
        return None
    if used + want.amount <= want.limit:
        return slot
    at = slot
    for begun, amount in database.execute(ROWS, (want.owner, want.kind, slot - SLOTS)).fetchall():
        used, at = used - amount, begun + SLOTS
        if used + want.amount <= want.limit:
            break
    return at


def _forget_all(database: sqlite3.Connection, slot: int) -> None:
    database.execute(SWEEP, (slot,))
