"""The audit and the client keys of a gateway, in one SQLite file: written by one thread, read by any.

Records are sealed and put into rows in the writer's thread; the event loop only hands them over.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
import zlib
from asyncio import Future
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import datetime
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from membrain.errors import AuditUnavailable
from membrain.records import AuditRecord, ClientKey, Outcome
from membrain.stores import keys
from membrain.stores.answers import SqliteAnswers
from membrain.stores.base import NEWEST, AuditQuery, FormerKey, Keys, Records, Rotation, Stores, Totals
from membrain.stores.chain import Chain, Keeper, Noting, make_ready
from membrain.stores.counters import SqliteCounters
from membrain.stores.database import AUDIT, Durability
from membrain.stores.ledger import LedgerFile, SqliteLedger
from membrain.stores.reading import COLUMNS, SqliteReader, micros
from membrain.stores.usage import UsageFile
from membrain.stores.writer import Writer

INDEXED = [*COLUMNS, "user", "saved_micros"]
"""The fields of a record that `exchanges` has a column for."""

PLAIN = [name for name in INDEXED if name not in ("id", "pii_labels")]
FIELDS = [(field.name, field.default, field.name in INDEXED) for field in fields(AuditRecord)]
NO_LABELS = "[]"

WRITTEN = ["entry", "at", "instance", *PLAIN, "pii_labels", "id"]
NAMES, MARKS = ", ".join(WRITTEN), ", ".join("?" * len(WRITTEN))
SETS = ", ".join(f"{name} = ?" for name in WRITTEN[:-1])
INSERT = f"INSERT INTO exchanges (seq, {NAMES}) VALUES (?, {MARKS})"  # noqa: S608  # the names above, nobody's words
UPDATE = f"UPDATE exchanges SET {SETS} WHERE id = ?"  # noqa: S608  # likewise

LEFT_OPEN = (
    "SELECT x.id, e.at, e.body FROM exchanges AS x LEFT JOIN entries AS e ON e.seq = x.entry"
    " WHERE x.outcome = 'open' AND x.instance <> ? ORDER BY x.seq"
)
INTERRUPT = "UPDATE exchanges SET outcome = 'interrupted', entry = ? WHERE id = ?"

KEEP = "INSERT OR REPLACE INTO wires (id, at, body) VALUES (?, ?, ?)"

HOUR, DAY = 3_600, 86_400

_plain = attrgetter(*PLAIN)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Heads(Keeper, Protocol):
    """A keeper of heads that is closed with the stores."""

    def close(self) -> None:
        """Note the last head wherever it is noted."""


class Ended(NamedTuple):
    """All that is written about an exchange at its end."""

    record: AuditRecord
    sent: bytes | None
    """What was handed to the provider."""
    keep: bool
    """Whether that is kept."""


def open_sqlite(
    path: Path,
    instance: str,
    durability: Durability,
    *,
    key: bytes,
    heads: Heads | None = None,
    keep_days: int = 30,
) -> Stores:
    """All stores in one file. Misconfigured when it cannot be used, or was sealed with another key."""
    make_ready(path, key)
    writer = Writer(path, durability, at_commit=Noting(heads) if heads else None)
    answers = SqliteAnswers(writer, path)
    return Stores(
        audit=SqliteAudit(writer, SqliteReader(path), instance, Chain(key), keep_days),
        keys=SqliteKeys(writer, keys.KeyFile(path)),
        counters=SqliteCounters(writer),
        ledger=SqliteLedger(writer, LedgerFile(path), instance),
        answers=answers,
        usage=UsageFile(path),
        closing=partial(asyncio.to_thread, _close, writer, answers, heads),
    )


def _close(writer: Writer, answers: SqliteAnswers, heads: Heads | None) -> None:
    writer.close()
    answers.close()
    if heads is not None:
        heads.close()


class SqliteAudit:
    """The audit of one running gateway, which signs its rows with `instance`."""

    def __init__(
        self,
        writer: Writer,
        reader: SqliteReader,
        instance: str,
        chain: Chain,
        keep_days: int = 30,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """What was kept of what left goes after *keep_days*; *wall* gives Unix time."""
        self._writer = writer
        self._reader = reader
        self._keep_days = keep_days
        self._wall = wall
        self._purged = 0.0
        self._intend = partial(_intend, chain, instance)
        self._conclude = partial(_conclude, chain, instance)
        self._interrupt = partial(_interrupt, chain)
        self._purge_hourly()

    @property
    def fault(self) -> str | None:
        """Why the last write failed; None while all is well."""
        return self._writer.fault

    def intend(self, record: AuditRecord) -> Future[None]:
        """Put an exchange on record before anything of it leaves."""
        return self._writer.submit(self._intend, record, AUDIT)

    def conclude(self, record: AuditRecord, *, sent: bytes | None = None, keep: bool = False) -> Future[None]:
        """Put its outcome on record."""
        self._purge_hourly()
        return self._writer.submit(self._conclude, Ended(record, sent, keep), AUDIT)

    async def list(self, query: AuditQuery = NEWEST) -> Records:
        """The exchanges asked for, newest first."""
        return await asyncio.to_thread(self._reader.list, query)

    async def get(self, id_prefix: str) -> AuditRecord:
        """The one exchange whose id starts so."""
        return await asyncio.to_thread(self._reader.get, id_prefix)

    async def totals(self, since: datetime | None = None, key_id: str | None = None) -> Totals:
        """What all exchanges that arrived since then come to."""
        return await asyncio.to_thread(self._reader.totals, since, key_id)

    async def interrupt(self, instance: str) -> int:
        """Mark what other instances left open."""
        count: int = await self._writer.submit(self._interrupt, instance, AUDIT)
        return count

    def _purge_hourly(self) -> None:
        """Have what was kept for long enough deleted, once an hour."""
        now = self._wall()
        if now - self._purged >= HOUR:
            self._purged = now
            self._writer.post(_purge, int((now - self._keep_days * DAY) * 1_000_000), AUDIT)


class SqliteKeys:
    """The client keys of one running gateway."""

    def __init__(self, writer: Writer, file: keys.KeyFile) -> None:
        self._writer = writer
        self._file = file
        self._touched: dict[str, str] = {}

    async def all(self) -> Keys:
        """Every key, oldest first."""
        return await asyncio.to_thread(self._file.all)

    async def add(self, key: ClientKey) -> None:
        """Keep a new key."""
        await self._writer.submit(keys.add_key, key, keys.SUBJECT)

    async def revoke(self, id: str, at: str) -> None:
        """Mark a key as revoked."""
        await self._writer.submit(keys.revoke_key, (id, at), keys.SUBJECT)

    async def rotate(self, rotation: Rotation) -> bool:
        """Give a key another digest; False if somebody was faster."""
        changed: bool = await self._writer.submit(keys.rotate_key, rotation, keys.SUBJECT)
        return changed

    async def former(self) -> list[FormerKey]:
        """What rotations have left behind."""
        return await asyncio.to_thread(self._file.former)

    def touch(self, id: str, at: str) -> None:
        """Note a use, unless one was noted in the same minute: `at` up to its minute is the same text."""
        minute = at[:16]
        if self._touched.get(id) != minute:
            self._touched[id] = minute
            self._writer.post(keys.touch_key, (id, at), keys.SUBJECT)


def _intend(chain: Chain, instance: str, database: sqlite3.Connection, record: AuditRecord) -> None:
    _first(chain, database, "intent", record, instance)


def _conclude(chain: Chain, instance: str, database: sqlite3.Connection, ended: Ended) -> None:
    record, sent, keep = ended
    if sent is not None:
        record = replace(record, sent_sha256=hashlib.sha256(sent).hexdigest())
    row = database.execute("SELECT seq FROM exchanges WHERE id = ?", (record.id,)).fetchone()
    if row is None:
        _first(chain, database, "outcome", record, instance)
    else:
        at, body = _moment(record), _body(record, instance)
        database.execute(UPDATE, _row(record, chain.append(database, "outcome", record.id, at, body), at, instance))
    if keep and sent is not None:
        database.execute(KEEP, (record.id, _moment(record), zlib.compress(sent, 1)))


def _first(chain: Chain, database: sqlite3.Connection, kind: str, record: AuditRecord, instance: str) -> None:
    """The first that is written about an exchange: its number is the exchange's from then on."""
    at = _moment(record)
    seq = chain.append(database, kind, record.id, at, _body(record, instance))
    database.execute(INSERT, (seq, *_row(record, seq, at, instance)))


def _interrupt(chain: Chain, database: sqlite3.Connection, instance: str) -> int:
    rows = database.execute(LEFT_OPEN, (instance,)).fetchall()
    for id, at, body in rows:
        if body is None:
            raise AuditUnavailable("The audit cannot be read: an entry is missing.", hint="Look: membrain audit verify")
        record = _encode(_decode(body) | {"outcome": Outcome.INTERRUPTED}).decode()
        database.execute(INTERRUPT, (chain.append(database, "interrupted", id, at, record), id))
    return len(rows)


def _purge(database: sqlite3.Connection, before: int) -> None:
    """Delete what left before a moment (microseconds since 1970), so that its bytes are gone too."""
    database.execute("DELETE FROM wires WHERE at < ?", (before,))


def _moment(record: AuditRecord) -> int:
    return micros(datetime.fromisoformat(record.time))


def _row(record: AuditRecord, entry: int, at: int, instance: str) -> tuple[Any, ...]:
    """The values of `WRITTEN`."""
    labels = _encode(record.pii_labels).decode() if record.pii_labels else NO_LABELS
    return (entry, at, instance, *_plain(record), labels, record.id)


def _body(record: AuditRecord, instance: str) -> str:
    """The record as it is sealed: JSON of all that is indexed, and of all else that is not at its default."""
    said = {name: value for name, default, always in FIELDS if (value := getattr(record, name)) != default or always}
    return _encode(said | {"instance": instance}).decode()
