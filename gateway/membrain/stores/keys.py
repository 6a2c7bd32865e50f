"""The client keys in SQLite: the statements, and the command line's own way to them while the gateway is down.

The gateway's way is in `sqlite.py`; both run the same functions.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from membrain.errors import BadRequest, NotFound
from membrain.records import ClientKey, Rights
from membrain.stores.base import FormerKey, Keys, Rotation
from membrain.stores.database import DOCTOR, Subject, connect, connect_reader, guard

SUBJECT = Subject("The list of client keys")
SELECT = (
    "SELECT id, name, digest, tail, project, created, last_used, revoked, rights FROM client_keys"
    " ORDER BY created, rowid"
)
INSERT = (
    "INSERT INTO client_keys (id, name, digest, tail, project, created, last_used, revoked, rights)"
    " VALUES (:id, :name, :digest, :tail, :project, :created, :last_used, :revoked, :rights)"
)
"""The rights are written here and never again: what a newer Membrain knows of them stays as it is."""
ROTATE = "UPDATE client_keys SET digest = :new, tail = :tail WHERE id = :id AND digest = :old AND revoked IS NULL"

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def add_key(database: sqlite3.Connection, key: ClientKey) -> None:
    """Keep a new key."""
    try:
        database.execute(INSERT, {**asdict(key), "rights": json.dumps(key.rights.to_dict())})
    except sqlite3.IntegrityError:
        raise BadRequest("There is such a client key already.") from None


def revoke_key(database: sqlite3.Connection, given: tuple[str, str]) -> None:
    """Revoke a key (id, moment), once."""
    id, at = given
    changed = database.execute("UPDATE client_keys SET revoked = coalesce(revoked, ?) WHERE id = ?", (at, id))
    if not changed.rowcount:
        raise NotFound("There is no such client key.", hint="See them with: membrain keys list")
    database.execute("DELETE FROM former_keys WHERE id = ?", (id,))


def rotate_key(database: sqlite3.Connection, rotation: Rotation) -> bool:
    """Give a key another digest, if it still has the one that is to be replaced."""
    given = asdict(rotation)
    if not database.execute(ROTATE, given).rowcount:
        return False
    over = "id = :id" if rotation.until is None else "until <= :at"
    database.execute(f"DELETE FROM former_keys WHERE {over}", given)  # noqa: S608  # one of two texts of ours
    if rotation.until is not None:
        database.execute("INSERT INTO former_keys VALUES (:old, :id, :until)", given)
    return True


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
        return [_key(row) for row in self._read(SELECT)]

    def former(self) -> list[FormerKey]:
        """What rotations have left behind."""
        return [FormerKey(*row) for row in self._read("SELECT digest, id, until FROM former_keys")]

    def add(self, key: ClientKey) -> None:
        """Keep a new key."""
        self._do(add_key, key)

    def revoke(self, id: str, at: str) -> None:
        """Mark a key as revoked at this moment."""
        self._do(revoke_key, (id, at))

    def rotate(self, rotation: Rotation) -> bool:
        """Give a key another digest; False if somebody was faster."""
        return self._do(rotate_key, rotation)

    def _read(self, select: str) -> list[tuple[Any, ...]]:
        if not self._path.exists():
            return []
        try:
            with closing(connect_reader(self._path)) as database:
                return database.execute(select).fetchall()
        except sqlite3.Error as fault:
            raise guard(SUBJECT, "read", fault) from None

    def _do(self, work: Callable[[sqlite3.Connection, Argument], Result], argument: Argument) -> Result:
        """One transaction; the second writer beside a gateway waits its turn."""
        try:
            with closing(connect(self._path)) as database:
                database.execute("BEGIN IMMEDIATE")
                result = work(database, argument)
                database.execute("COMMIT")
        except sqlite3.Error as fault:
            raise guard(SUBJECT, "written", fault) from None
        return result


def _key(row: tuple[Any, ...]) -> ClientKey:
    """A key from its row. Rights that cannot be read are not taken for none: a key without limits is not the same."""
    try:
        rights = Rights.from_dict(json.loads(row[-1]))
    except (ValueError, TypeError, AttributeError):
        raise SUBJECT.fails("read", "its file is damaged", DOCTOR) from None
    return replace(ClientKey(*row[:-1]), rights=rights)
