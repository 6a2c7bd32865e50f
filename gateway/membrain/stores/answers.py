"""Answers that may be given again, in SQLite: found by a keyed digest of the question, and thrown out oldest use first.

It knows nothing of what an answer says. Ages and sizes are told by who asks, so that one rule holds wherever it is
kept. Reading goes its own way, so that a known answer does not wait for what others write; writing is the writer's.

How many bytes there are is counted by the database itself, in the transaction that keeps or removes an answer: so it
is exact however many processes share the file.
"""

from __future__ import annotations

import asyncio
import sqlite3
from asyncio import Future
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from membrain.errors import Misconfigured
from membrain.records import Tokens
from membrain.stores.base import AnswersHeld, KeptAnswer
from membrain.stores.database import Subject, connect_reader, guard
from membrain.stores.writer import Writer

SUBJECT = Subject("The kept answers")

OVERHEAD = 256
"""Bytes that a row costs beside what it holds."""

USED_SECONDS = 60.0
"""Uses that are closer together than this are noted once."""

GET = "SELECT project, at, used, streamed, body, facts FROM answers WHERE key = ? AND at >= ?"
REMOVE = "DELETE FROM answers WHERE key = ?"
INSERT = "INSERT INTO answers (key, project, at, used, size, streamed, body, facts) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
EXPIRE = "DELETE FROM answers WHERE at < ?"
TOTAL = "SELECT bytes FROM answers_held"
LEAST_USED = "SELECT key, size FROM answers ORDER BY used, key"
USE = "UPDATE answers SET used = max(used, ?) WHERE key = ?"
CLEAR = "DELETE FROM answers WHERE ?1 IS NULL OR project = ?1"
HELD = "SELECT count(*), (SELECT bytes FROM answers_held), min(at) FROM answers"


class _Facts(msgspec.Struct, omit_defaults=True):
    """What is known of an answer beside its text."""

    model: str = ""
    cost_micros: int | None = None
    tokens: Tokens | None = None


_encode = msgspec.json.Encoder().encode
_facts = msgspec.json.Decoder(_Facts).decode


class SqliteAnswers:
    """The kept answers of one running gateway, shared with all that use the same file."""

    def __init__(self, writer: Writer, path: Path) -> None:
        self._writer = writer
        self._path = path
        self._lock = Lock()
        self._database: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    async def get(self, key: bytes, since: float) -> KeptAnswer | None:
        """The answer under *key*, if it was made at *since* or later."""
        return await asyncio.to_thread(self._get, key, since)

    def keep(self, key: bytes, answer: KeptAnswer, *, room: int, since: float) -> Future[bool]:
        """Keep an answer in place of an older one, within *room*."""
        return self._writer.submit(_keep, (key, answer, room, _ms(since)), SUBJECT)

    def use(self, key: bytes, answer: KeptAnswer, at: float) -> None:
        """Note a use."""
        if at - answer.used >= USED_SECONDS:
            self._writer.post(_use, (_ms(at), key), SUBJECT)

    def expire(self, since: float) -> None:
        """Remove what was made before."""
        self._writer.post(_expire, _ms(since), SUBJECT)

    async def clear(self, project: str | None = None) -> int:
        """Remove a project's answers, or all."""
        count: int = await self._writer.submit(_clear, project, SUBJECT)
        return count

    async def held(self) -> AnswersHeld:
        """How much is kept."""
        return await asyncio.to_thread(self._held)

    def close(self) -> None:
        """Let go of the file; whoever reads after that opens it again."""
        with self._lock:
            self._drop()

    # What follows runs in threads, one at a time.

    def _get(self, key: bytes, since: float) -> KeptAnswer | None:
        row = self._row(GET, (key, _ms(since)))
        if row is None:
            return None
        project, at, used, streamed, body, facts = row
        try:
            known = _facts(facts)
        except ValueError:
            return None  # nobody of ours wrote that
        model, cost, tokens = known.model, known.cost_micros, known.tokens
        return KeptAnswer(project, bytes(body), at / 1000, used / 1000, bool(streamed), model, tokens, cost)

    def _held(self) -> AnswersHeld:
        entries, size, oldest = self._row(HELD, ()) or (0, 0, None)
        return AnswersHeld(entries, size, None if oldest is None else oldest / 1000)

    def _row(self, question: str, parameters: tuple[object, ...]) -> tuple[Any, ...] | None:
        with self._lock:
            try:
                row: tuple[Any, ...] | None = self._current().execute(question, parameters).fetchone()
            except (sqlite3.Error, Misconfigured, OSError) as fault:
                self._drop()
                raise guard(SUBJECT, "read", fault) from None
        return row

    def _current(self) -> sqlite3.Connection:
        """The connection, opened anew after a fault, or when the file it had was moved or deleted."""
        status = self._path.stat()
        file = (status.st_dev, status.st_ino)
        if self._database is None or file != self._file:
            self._drop()
            self._database, self._file = connect_reader(self._path), file
        return self._database

    def _drop(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


# What follows runs in the writer's thread, in a transaction that keeps every other writer out.


def _keep(database: sqlite3.Connection, given: tuple[bytes, KeptAnswer, int, int]) -> bool:
    """Whether there was room, once what is too old is gone, and then what was not used for longest."""
    key, answer, room, since = given
    facts = _encode(_Facts(answer.model, answer.cost_micros, answer.tokens)).decode()
    size = len(answer.body) + len(facts) + len(answer.project.encode()) + OVERHEAD
    database.execute(REMOVE, (key,))
    database.execute(EXPIRE, (since,))
    fits = size <= room
    _make_room(database, room - size if fits else room)
    if not fits:
        return False
    row = (key, answer.project, _ms(answer.at), _ms(answer.used), size, answer.streamed, answer.body, facts)
    database.execute(INSERT, row)
    return True


def _make_room(database: sqlite3.Connection, left: int) -> None:
    """Remove the least used until no more than *left* bytes are held."""
    (held,) = database.execute(TOTAL).fetchone()
    if held <= left:
        return
    going: list[tuple[bytes]] = []
    for key, size in database.execute(LEAST_USED):
        going.append((key,))
        held -= size
        if held <= left:
            break
    database.executemany(REMOVE, going)


def _use(database: sqlite3.Connection, given: tuple[int, bytes]) -> None:
    database.execute(USE, given)


def _expire(database: sqlite3.Connection, since: int) -> None:
    database.execute(EXPIRE, (since,))


def _clear(database: sqlite3.Connection, project: str | None) -> int:
    return database.execute(CLEAR, (project,)).rowcount
