"""Ways to tamper with an audit: each is one change to a copy of it, and tells which records are bad from then on."""

# ruff: noqa: S608  # statements made of our own names of columns

from __future__ import annotations

import asyncio
import hashlib
import hmac
import importlib.util
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import ModuleType

from membrain.stores.base import AuditQuery
from membrain.stores.chain import erase
from membrain.stores.open import open_stores
from tests.gateway.stores.made import KEY, an_intent, an_outcome, moment

VERIFIER = Path(__file__).parents[1] / "docs" / "verify_audit.py"
USERS = ("ada", "bert", "cleo")
ROW = "seq, kind, id, at, salt, body, digest, seal, erased"


def verifier() -> ModuleType:
    """The stand-alone verifier, as a third party runs it."""
    spec = importlib.util.spec_from_file_location("verify_audit", VERIFIER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_audit(path: Path, exchanges: int = 18) -> list[bytes]:
    """A small audit by the real store, with all that can be in one; gives a copy of it from each step on the way."""
    copies = []

    async def live(instance: str, numbers: range) -> None:
        stores = open_stores(path, instance=instance, key=KEY)
        await stores.audit.interrupt(instance)
        for number in numbers:
            intent = an_intent(f"{number:04}", seconds=number, user=USERS[number % 3])
            await stores.audit.intend(intent)
            if number % 6:
                await stores.audit.conclude(an_outcome(intent, user=intent.user, cost_micros=number))
            copies.append(copied(path))
        await stores.close()

    asyncio.run(live("first", range(exchanges // 2)))
    erase(path, KEY, AuditQuery(user="bert"), moment(100))
    copies.append(copied(path))
    asyncio.run(live("second", range(exchanges // 2, exchanges)))
    copies.append(copied(path))
    return copies


def copied(path: Path) -> bytes:
    """The whole database as it is now, with what is only in its log."""
    with closing(sqlite3.connect(path)) as database, closing(sqlite3.connect(":memory:")) as copy:
        database.backup(copy)
        content = copy.serialize()
        return content[:18] + b"\x01\x01" + content[20:]  # not in the mode with a log, which memory has no room for


def opened(content: bytes) -> sqlite3.Connection:
    """A copy, in memory."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.deserialize(content)
    return database


# What a copy can suffer. Each gives the numbers of the records that may be named as the first bad one.

Tamper = Callable[[sqlite3.Connection, Random], set[int]]


def count(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT count(*) FROM entries").fetchone()[0])


def bad(database: sqlite3.Connection, seq: int) -> set[int]:
    """A changed record, and those whose erasure it tells of, since nobody vouches for them any more."""
    return {seq} | {each for (each,) in database.execute("SELECT seq FROM entries WHERE erased = ?", (seq,))}


def flip(column: str) -> Tamper:
    """One bit of one column of one record."""

    def tamper(database: sqlite3.Connection, random: Random) -> set[int]:
        rows = f"SELECT seq, {column} FROM entries WHERE {column} IS NOT NULL AND {column} <> '' ORDER BY seq"
        seq, value = random.choice(database.execute(rows).fetchall())
        if isinstance(value, int):
            new: object = value ^ (1 << random.randrange(48))
        else:
            raw = bytearray(value.encode() if isinstance(value, str) else value)
            raw[random.randrange(len(raw))] ^= 1 << random.randrange(8)
            new = bytes(raw)
        cast = "CAST(? AS TEXT)" if isinstance(value, str) else "?"
        database.execute(f"UPDATE entries SET {column} = {cast} WHERE seq = ?", (new, seq))
        return bad(database, seq)

    return tamper


def with_text(database: sqlite3.Connection, random: Random) -> tuple[int, dict[str, object]]:
    """A record of an exchange, and its text."""
    rows = "SELECT seq, body FROM entries WHERE body IS NOT NULL AND kind <> 'erased'"
    seq, body = random.choice(database.execute(rows).fetchall())
    return seq, json.loads(body)


def edited(random: Random, body: dict[str, object]) -> str:
    """A text that says something else."""
    changes = {"model": "gpt-4o", "user": "nobody", "cost_micros": 1, "caller": "codex", "outcome": "refused"}
    name = random.choice(sorted(changes))
    return json.dumps(body | {name: changes[name] if body.get(name) != changes[name] else "another"})


def edit(database: sqlite3.Connection, random: Random) -> set[int]:
    seq, body = with_text(database, random)
    database.execute("UPDATE entries SET body = ? WHERE seq = ?", (edited(random, body), seq))
    return {seq}


def edit_with_its_digest(database: sqlite3.Connection, random: Random) -> set[int]:
    seq, body = with_text(database, random)
    text, salt = edited(random, body), random.randbytes(16)
    digest = hashlib.sha256(salt + text.encode()).digest()
    change = "UPDATE entries SET body = ?, salt = ?, digest = ? WHERE seq = ?"
    database.execute(change, (text, salt, digest, seq))
    return {seq}


def delete(database: sqlite3.Connection, random: Random) -> set[int]:
    seq = random.randint(1, count(database) - 1)
    wrong = bad(database, seq)
    database.execute("DELETE FROM entries WHERE seq = ?", (seq,))
    return wrong


def shift(database: sqlite3.Connection, seq: int, by: int) -> None:
    """Renumber all from *seq* on, as somebody would who wants to hide a gap."""
    for table, column in (("entries", "seq"), ("entries", "erased"), ("exchanges", "entry"), ("exchanges", "seq")):
        database.execute(f"UPDATE {table} SET {column} = -({column} + ?) WHERE {column} >= ?", (by, seq))
        database.execute(f"UPDATE {table} SET {column} = -{column} WHERE {column} < 0")


def delete_and_renumber(database: sqlite3.Connection, random: Random) -> set[int]:
    seq = random.randint(1, count(database) - 1)
    wrong = bad(database, seq)
    database.execute("DELETE FROM entries WHERE seq = ?", (seq,))
    database.execute("DELETE FROM exchanges WHERE seq = ?", (seq,))
    shift(database, seq + 1, -1)
    return wrong | bad(database, seq) | misnumbered(database, seq)


def insert(database: sqlite3.Connection, random: Random) -> set[int]:
    """A record that never was, somewhere or at the end, sealed with a key that is not ours."""
    seq = random.randint(1, count(database) + 1)
    shift(database, seq, 1)
    body, salt = json.dumps({"id": "forged", "time": moment(0), "model": "gpt-4o"}), random.randbytes(16)
    digest = hashlib.sha256(salt + body.encode()).digest()
    row = (seq, "outcome", "forged", 0, salt, body, digest, random.randbytes(32), None)
    database.execute(f"INSERT INTO entries ({ROW}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    return {seq} | misnumbered(database, seq)


def misnumbered(database: sqlite3.Connection, seq: int) -> set[int]:
    """Erased records before *seq* whose erasure comes after it, and now has another number."""
    rows = database.execute("SELECT seq FROM entries WHERE body IS NULL AND seq < ? AND erased >= ?", (seq, seq))
    return {each for (each,) in rows}


def duplicate(database: sqlite3.Connection, random: Random) -> set[int]:
    """A record once more, behind itself or at the end."""
    last = count(database)
    seq = random.randint(1, last)
    target = random.choice([seq, last]) + 1
    shift(database, target, 1)
    columns = ROW.removeprefix("seq, ")
    database.execute(f"INSERT INTO entries ({ROW}) SELECT ?, {columns} FROM entries WHERE seq = ?", (target, seq))
    return {target} | misnumbered(database, target)


def swap(database: sqlite3.Connection, random: Random) -> set[int]:
    first, second = sorted(random.sample(range(1, count(database) + 1), 2))
    wrong = bad(database, first) | bad(database, second)  # the first of them all is met first
    database.execute("UPDATE entries SET seq = -1 WHERE seq = ?", (first,))
    database.execute("UPDATE entries SET seq = ? WHERE seq = ?", (first, second))
    database.execute("UPDATE entries SET seq = ? WHERE seq = -1", (second,))
    return {min(wrong)}


def truncate(database: sqlite3.Connection, random: Random) -> set[int]:
    """The end cut off, also of the index."""
    seq = random.randint(1, count(database))
    wrong = min(each for end in range(seq, count(database) + 1) for each in bad(database, end))
    database.execute("DELETE FROM entries WHERE seq >= ?", (seq,))
    database.execute("DELETE FROM exchanges WHERE seq >= ?", (seq,))
    return {wrong}


def hush(database: sqlite3.Connection, random: Random) -> set[int]:
    """A text taken away as an erasure does it, with an erasure named that knows nothing of it, or none."""
    seq, _ = with_text(database, random)
    (erasure,) = database.execute("SELECT seq FROM entries WHERE kind = 'erased'").fetchone()
    by = random.choice([None, 0, seq, seq + 1, erasure, count(database), 10**9])
    database.execute("UPDATE entries SET salt = NULL, body = NULL, erased = ? WHERE seq = ?", (by, seq))
    return {seq}


def rewrite(database: sqlite3.Connection, random: Random) -> set[int]:
    """The whole chain, sound in itself, with an edited record, by somebody with another key."""
    key, prior = random.randbytes(32), bytes(32)
    edit_with_its_digest(database, random)
    for seq, kind, id, at, digest in database.execute("SELECT seq, kind, id, at, digest FROM entries").fetchall():
        header = f"{seq} {at} {kind} {id}".encode()
        prior = hmac.digest(key, prior + header + digest, "sha256")
        database.execute("UPDATE entries SET seal = ? WHERE seq = ?", (prior, seq))
    return {1}


INDEXED = {
    "outcome": "refused", "model": "another", "answered_model": "another", "provider": None, "caller": "nobody",
    "key_id": "k9", "project": "secret", "user": "nobody", "ms": 1.5, "prompt_tokens": 1, "completion_tokens": 2**40,
    "cost_micros": 0, "saved_micros": 7, "cached": 2, "pii_findings_count": 9, "pii_labels": '["email"]', "at": 17,
    "instance": "third", "id": "0000-x", "entry": 1, "seq": 10**6,
}  # fmt: skip
"""Another value for each column of the index."""


def misindex(database: sqlite3.Connection, random: Random) -> set[int]:
    """Only the table that lists are made of says something else."""
    seq, entry = random.choice(database.execute("SELECT seq, entry FROM exchanges").fetchall())
    name = random.choice([*INDEXED, "none"])
    if name == "none":
        database.execute("DELETE FROM exchanges WHERE seq = ?", (seq,))
        return {seq}
    value = INDEXED[name]
    if database.execute(f"SELECT {name} IS ? FROM exchanges WHERE seq = ?", (value, seq)).fetchone()[0]:
        return misindex(database, random)  # that is what it says anyway
    if name == "entry":  # a record of its own that is no longer the latest, or of another exchange
        value = random.choice([each for each in (seq, 1, entry + 1) if each != entry])
    database.execute(f"UPDATE exchanges SET {name} = ? WHERE seq = ?", (value, seq))
    return {seq, entry, *((value,) if name == "entry" and isinstance(value, int) else ())}


KINDS: dict[str, Tamper] = {
    **{f"bit of {column}": flip(column) for column in ROW.split(", ")[1:]},
    "edit": edit,
    "edit with its digest": edit_with_its_digest,
    "delete": delete,
    "delete and renumber": delete_and_renumber,
    "insert": insert,
    "duplicate": duplicate,
    "swap": swap,
    "truncate": truncate,
    "text gone": hush,
    "rewrite": rewrite,
    "index": misindex,
}


@dataclass
class Target:
    """An audit to tamper with, again and again, and what was noted elsewhere of its end."""

    database: sqlite3.Connection
    heads: dict[int, set[bytes]]
    older: list[bytes]

    @classmethod
    def make(cls, folder: Path) -> Target:
        """A new one, written by the real store."""
        *older, last = write_audit(folder / "audit.db")
        database = opened(last)
        seq, seal = database.execute("SELECT seq, seal FROM entries ORDER BY seq DESC").fetchone()
        return cls(database, {seq: {seal}}, older)

    @contextmanager
    def tampered(self, tamper: Tamper, random: Random) -> Iterator[set[int]]:
        """Changed for as long as one looks at it; gives which record may be named as the first bad one."""
        self.database.text_factory, self.database.row_factory = str, None
        self.database.execute("BEGIN")
        try:
            yield tamper(self.database, random)
        finally:
            self.database.execute("ROLLBACK")

    def rolled_back(self, random: Random) -> tuple[sqlite3.Connection, set[int]]:
        """An older copy in its place."""
        while True:
            database = opened(random.choice(self.older))
            end = count(database)
            if end < max(self.heads):
                # What the older copy still holds, and what was erased later, is sound; what is missing is not.
                return database, {end + 1}
            database.close()


def seed() -> int:
    """Another one for each run; printed by whoever uses it."""
    return int.from_bytes(os.urandom(4), "big")
