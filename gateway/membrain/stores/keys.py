"""The client keys in SQLite: the statements, and the command line's own way to them while the gateway is down.

The gateway's way is in `sqlite.py`; both run the same functions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from membrain.errors import BadRequest, NotFound
from membrain.records import ClientKey
from membrain.stores.base import Keys
from membrain.stores.database import Subject, connect, connect_reader, guard

SUBJECT = Subject("The list of client keys")
SELECT = "SELECT id, name, digest, tail, project, created, last_used, revoked FROM client_keys ORDER BY created, rowid"
INSERT = (
    "INSERT INTO client_keys (id, name, digest, tail, project, created, last_used, revoked)"
    " VALUES (:id, :name, :digest, :tail, :project, :created, :last_used, :revoked)"
)

Argument = TypeVar("Argument")


def add_key(database: sqlite3.Connection, key: ClientKey) -> None:
    """Keep a new key."""
    try:
        database.execute(INSERT, asdict(key))
    except sqlite3.IntegrityError:
        raise BadRequest("There is such a client key already.") from None


def revoke_key(database: sqlite3.Connection, given: tuple[str, str]) -> None:
    """Revoke a key (id, moment), once."""
    id, at = given
    changed = database.execute("UPDATE client_keys SET revoked = coalesce(revoked, ?) WHERE id = ?", (at, id))
    if not changed.rowcount:
        raise NotFound("There is no such client key.", hint="See them with: membrain keys list")


def touch_key(database: sqlite3.Connection, given: tuple[str, str]) -> None:
    """Note the last use of a key (id, moment)."""
    id, at = given
    database.execute("UPDATE client_keys SET last_used = max(coalesce(last_used, ''), ?) WHERE id = ?", (at, id))


class KeyFile:
    """The keys in a file that no gateway needs to hold open. Errors are those of `ClientKeys`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> Keys:
        """Every key, the revoked ones too, oldest first; none where there is no file yet."""
        if not self._path.exists():
            return []
        try:
            with closing(connect_reader(self._path)) as database:
                return [ClientKey(*row) for row in database.execute(SELECT)]
        except sqlite3.Error as fault:
            raise guard(SUBJECT, "read", fault) from None

    def add(self, key: ClientKey) -> None:
        """Keep a new key."""
        self._do(add_key, key)

    def revoke(self, id: str, at: str) -> None:
        """Mark a key as revoked at this moment."""
        self._do(revoke_key, (id, at))

    def _do(self, work: Callable[[sqlite3.Connection, Argument], None], argument: Argument) -> None:
        """One transaction; the second writer beside a gateway waits its turn."""
        try:
            with closing(connect(self._path)) as database:
                database.execute("BEGIN IMMEDIATE")
                work(database, argument)
                database.execute("COMMIT")
        except sqlite3.Error as fault:
            raise guard(SUBJECT, "written", fault) from None
