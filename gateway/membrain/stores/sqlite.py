"""The audit and the client keys of a gateway, in one SQLite file: written by one thread, read by any.

Records are put into rows in the writer's thread; the event loop only hands them over.
"""

from __future__ import annotations

import asyncio
import sqlite3
from asyncio import Future
from dataclasses import fields
from datetime import datetime
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from membrain.records import AuditRecord, ClientKey
from membrain.stores import keys
from membrain.stores.base import NEWEST, AuditQuery, Keys, Records, Stores, Totals
from membrain.stores.database import AUDIT, Durability
from membrain.stores.reading import COLUMNS, SqliteReader, micros
from membrain.stores.writer import Writer

PLAIN = [name for name in COLUMNS if name not in ("id", "pii_labels")]
REST = [(field.name, field.default) for field in fields(AuditRecord) if field.name not in COLUMNS]
NO_LABELS = "[]"

WRITTEN = ["at", "instance", *PLAIN, "pii_labels", "opening", "id"]
NAMES, MARKS = ", ".join(WRITTEN), ", ".join("?" * len(WRITTEN))
SETS = ", ".join(f"{name} = ?" for name in WRITTEN[:-1])
INSERT = f"INSERT INTO exchanges ({NAMES}) VALUES ({MARKS})"  # noqa: S608  # the names above, nobody's words
UPDATE = f"UPDATE exchanges SET {SETS} WHERE id = ?"  # noqa: S608  # likewise
DETAIL = "INSERT OR REPLACE INTO details SELECT seq, ? FROM exchanges WHERE id = ?"
INTERRUPT = "UPDATE exchanges SET outcome = 'interrupted' WHERE outcome = 'open' AND instance <> ?"

_plain = attrgetter(*PLAIN)
_encode = msgspec.json.Encoder().encode


def open_sqlite(path: Path, instance: str, durability: Durability) -> Stores:
    """All stores in one file. Misconfigured when it cannot be used."""
    writer = Writer(path, durability)
    return Stores(
        audit=SqliteAudit(writer, SqliteReader(path), instance),
        keys=SqliteKeys(writer, keys.KeyFile(path)),
        closing=partial(asyncio.to_thread, writer.close),
    )


class SqliteAudit:
    """The audit of one running gateway, which signs its rows with `instance`."""

    def __init__(self, writer: Writer, reader: SqliteReader, instance: str) -> None:
        self._writer = writer
        self._reader = reader
        self._instance = instance

    @property
    def fault(self) -> str | None:
        """Why the last write failed; None while all is well."""
        return self._writer.fault

    def intend(self, record: AuditRecord) -> Future[None]:
        """Put an exchange on record before anything of it leaves."""
        return self._writer.submit(_intend, (record, self._instance), AUDIT)

    def conclude(self, record: AuditRecord) -> Future[None]:
        """Put its outcome on record."""
        return self._writer.submit(_conclude, (record, self._instance), AUDIT)

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
        count: int = await self._writer.submit(_interrupt, instance, AUDIT)
        return count


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

    def touch(self, id: str, at: str) -> None:
        """Note a use, unless one was noted in the same minute: `at` up to its minute is the same text."""
        minute = at[:16]
        if self._touched.get(id) != minute:
            self._touched[id] = minute
            self._writer.post(keys.touch_key, (id, at), keys.SUBJECT)


def _intend(database: sqlite3.Connection, given: tuple[AuditRecord, str]) -> None:
    record, instance = given
    database.execute(INSERT, _row(record, instance, _rest(record)))


def _conclude(database: sqlite3.Connection, given: tuple[AuditRecord, str]) -> None:
    record, instance = given
    row, rest = _row(record, instance, None), _rest(record)
    if not database.execute(UPDATE, row).rowcount:
        database.execute(INSERT, row)
    database.execute(DETAIL, (rest, record.id))


def _interrupt(database: sqlite3.Connection, instance: str) -> int:
    return database.execute(INTERRUPT, (instance,)).rowcount


def _row(record: AuditRecord, instance: str, opening: str | None) -> tuple[Any, ...]:
    """The values of `WRITTEN`."""
    labels = _encode(record.pii_labels).decode() if record.pii_labels else NO_LABELS
    return (micros(datetime.fromisoformat(record.time)), instance, *_plain(record), labels, opening, record.id)


def _rest(record: AuditRecord) -> str:
    """All that has no column, as JSON, but for what is at its default."""
    return _encode({name: value for name, default in REST if (value := getattr(record, name)) != default}).decode()
