"""A glance at the chain where `chain.verify` would read all of it: one exchange's place in it, and its last part.

What it says holds for what it looked at and no more. It writes nothing.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from membrain.errors import NotFound
from membrain.records import Record
from membrain.stores.base import AuditQuery
from membrain.stores.chain import GENESIS, Head, seal_of
from membrain.stores.database import AUDIT, connect_reader, guard
from membrain.stores.reading import condition

LAST = 1_000
"""Records that a glance looks at, from the end."""

COLUMNS = "seq, kind, id, at, salt, body, digest, seal"


@dataclass(frozen=True, slots=True)
class Link(Record):
    """Where an exchange stands in the chain: its latest record, and the seal that this one is sealed over."""

    seq: int
    seal: str
    """Hex; empty for a record that was never sealed."""
    previous: str
    """Hex, likewise."""
    sound: bool
    """Whether the record fits both."""


def link(database: Path, key: bytes, id: str) -> Link:
    """The place of the exchange *id*. NotFound where it is not on record, AuditUnavailable when it cannot be read."""
    with _reading(database) as connection:
        row = connection.execute(
            f"SELECT {COLUMNS} FROM entries WHERE seq = (SELECT entry FROM exchanges WHERE id = ?)",  # noqa: S608  # ours
            (id,),
        ).fetchone()
        if row is None:
            raise NotFound("There is no such exchange.", param="id")
        previous = _seal_before(connection, row[0])
    sound = previous is not None and _flaw(key, previous, row) is None
    return Link(row[0], _hex(row[-1]), _hex(previous), sound)


@dataclass(frozen=True, slots=True)
class Glance(Record):
    """What a look at the end of the chain came to."""

    records: int
    """How many were looked at."""
    reason: str | None
    """What is wrong, as a sentence; None if nothing is."""


def last(database: Path, key: bytes, heads: Iterable[Head] = (), count: int = LAST) -> Glance:
    """Check the seals and texts of the last *count* records, and that the chain goes as far as *heads* say.

    NotFound where there is no audit, AuditUnavailable when it cannot be read.
    """
    noted = {head.seq: bytes.fromhex(head.seal) for head in heads}
    with _reading(database) as connection:
        connection.execute("BEGIN")
        end = _end(connection)
        if max(noted, default=0) > end:
            reason = f"The audit ends with record {end:,}, but record {max(noted):,} was noted elsewhere."
            return Glance(0, reason)
        number = max(0, end - count)
        before = _seal_before(connection, number + 1)
        rows = connection.execute(f"SELECT {COLUMNS} FROM entries WHERE seq > ? ORDER BY seq", (number,))  # noqa: S608  # ours
        return _walked(key, before, rows, number, noted)


def length(database: Path) -> int:
    """How many records the chain has; 0 where there is none. AuditUnavailable when it cannot be read."""
    if not database.exists():
        return 0
    with _reading(database) as connection:
        return _end(connection)


def count(database: Path, query: AuditQuery) -> int:
    """How many exchanges are asked for; the limit of the question does not count. Errors are those of `AuditReader`."""
    with _reading(database) as connection:
        connection.text_factory = str
        where, parameters = condition(connection, query)
        (found,) = connection.execute(f"SELECT count(*) FROM exchanges {where}", parameters).fetchone()  # noqa: S608  # likewise
    return int(found)


def _end(connection: sqlite3.Connection) -> int:
    (end,) = connection.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()
    return int(end)


def _walked(
    key: bytes, previous: bytes | None, rows: Iterable[Sequence[Any]], number: int, noted: dict[int, bytes]
) -> Glance:
    looked = 0
    for looked, row in enumerate(rows, 1):
        if reason := _wrong(key, previous, row, number + looked, noted):
            return Glance(looked, reason)
        previous = row[-1]
    return Glance(looked, None)


def _wrong(key: bytes, previous: bytes | None, row: Sequence[Any], number: int, noted: dict[int, bytes]) -> str | None:
    if row[0] != number or previous is None:
        return f"Record {min(number, row[0]):,} is missing."
    if flaw := _flaw(key, previous, row):
        return f"Record {number:,} {flaw}."
    if noted.get(number, row[-1]) != row[-1]:
        return f"Record {number:,} is not the one that was noted elsewhere."
    return None


def _flaw(key: bytes, previous: bytes, row: Sequence[Any]) -> str | None:
    """What is wrong with one record, as the end of a sentence; whether a missing text was erased is not looked into."""
    seq, kind, id, at, salt, body, digest, seal = row
    try:
        if seal_of(key, previous, (seq, kind, id, at), digest) != seal:
            return "does not match its seal"
        if body is not None and hashlib.sha256(salt + body).digest() != digest:
            return "does not match its seal"
    except TypeError:  # a part that is missing, or no longer what it was
        return "does not match its seal"
    return None


def _seal_before(connection: sqlite3.Connection, seq: int) -> bytes | None:
    if seq == 1:
        return GENESIS
    row = connection.execute("SELECT seal FROM entries WHERE seq = ?", (seq - 1,)).fetchone()
    return row[0] if row else None


def _hex(seal: bytes | None) -> str:
    return seal.hex() if isinstance(seal, bytes) else ""


@contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection to look only, texts as the bytes that were sealed; faults become errors of ours."""
    if not database.exists():
        raise NotFound("There is no audit yet.", hint="It begins with: membrain up")
    try:
        with closing(connect_reader(database)) as connection:
            connection.text_factory = bytes
            yield connection
    except sqlite3.Error as fault:
        raise guard(AUDIT, "read", fault) from fault
