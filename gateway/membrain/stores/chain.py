"""The audit as a chain: each entry is sealed over the one before it, so that whoever has the key can check them all.

It appends, verifies, hands out and takes away. It does not know when, nor where the key and the noted heads are kept.

An entry is committed to by a salted digest, and the seal is over that digest: the text can be erased and the chain
still be checked from its first entry to its last. What it says then is that something was there, and who took it away.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sqlite3
import time
import zlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

from membrain.errors import AuditUnavailable, Misconfigured, NotFound
from membrain.records import AuditRecord, Record
from membrain.stores.base import AuditQuery
from membrain.stores.database import AUDIT, connect, connect_reader, guard
from membrain.stores.reading import COLUMNS, EPOCH, condition, micros

GENESIS = bytes(32)
"""What stands for the seal before the first."""

SALT_BYTES = 16
DIGEST_BYTES = 32

OF_EXCHANGES = ("intent", "outcome", "interrupted")
"""Kinds of entries whose text is an exchange's record, and can be taken away."""

VERIFY = "membrain audit verify"
CHUNK = 1_000
"""Exchanges that are erased in one transaction: a gateway that writes meanwhile waits no longer than for these."""

BREATH = 0.03
"""Seconds between two such transactions, in which the gateway gets its turn."""


@dataclass(frozen=True, slots=True)
class Head(Record):
    """The end of the chain at one time. Kept elsewhere, it shows when later entries are cut off."""

    seq: int
    seal: str
    """Hex."""
    at: str
    """RFC 3339, UTC: the time of that entry."""


@dataclass(frozen=True, slots=True)
class Verdict(Record):
    """What a look at the whole chain came to."""

    records: int
    """Entries that are sound: all, or those before the first bad one."""
    erased: int
    """How many of them have had their text taken away, and say so."""
    first: str | None
    """RFC 3339, UTC: the time of the first entry."""
    last: str | None
    """Likewise, of the last one that is sound."""
    head: Head | None
    """The last one that is sound."""
    bad: int | None = None
    """The number of the first bad entry."""
    bad_id: str | None = None
    """The exchange that it belongs to, if it says so."""
    bad_time: str | None = None
    reason: str | None = None
    """What is wrong with it, as a sentence."""
    checked_head: bool = False
    """Whether a head from elsewhere was at hand; without one, nobody can see that the end was cut off."""

    @property
    def sound(self) -> bool:
        """Whether nothing bad was found."""
        return self.bad is None


class Keeper(Protocol):
    """Whoever keeps the head outside the database. Called by the thread that writes."""

    def append(self, head: Head) -> None:
        """Note how far the chain goes now. AuditUnavailable when that is impossible."""

    def doubtful(self) -> list[Head]:
        """Heads from before that the database has not been asked about yet; each is handed out once."""

    def contradicted(self, head: Head) -> None:
        """The database does not hold this head: keep it for good, since it is the proof."""


# Writing


class Chain:
    """The one who seals. Keeps nothing but the key, so that a transaction may be taken back at any point."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        """*key* is 32 secret bytes."""
        if len(key) != DIGEST_BYTES:
            raise ValueError("A key of the chain has 32 bytes.")
        self._key = key

    def append(self, database: sqlite3.Connection, kind: str, id: str, at: int, body: str) -> int:
        """Seal one more entry, in the caller's transaction; gives its number. *at* in microseconds since 1970."""
        last = database.execute("SELECT seq, seal FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
        number, prior = (last[0] + 1, last[1]) if last else (1, GENESIS)
        if prior is None:
            raise unsealed()
        salt = os.urandom(SALT_BYTES)
        digest = hashlib.sha256(salt + body.encode()).digest()
        seal = seal_of(self._key, prior, (number, kind.encode(), id.encode(), at), digest)
        database.execute(
            "INSERT INTO entries (seq, kind, id, at, salt, body, digest, seal) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (number, kind, id, at, salt, body, digest, seal),
        )
        return number

    def seal_carried(self, database: sqlite3.Connection) -> int:
        """Seal what an older Membrain wrote, once: only where nothing is sealed yet. How many entries that was.

        Otherwise a row that somebody put behind the chain would be sealed at the next start.
        """
        if not database.execute(CARRIED).fetchone()[0]:
            return 0
        prior, count = GENESIS, 0
        rows = database.execute("SELECT seq, kind, id, at, body FROM entries ORDER BY seq")
        while some := rows.fetchmany(CHUNK):
            sealed = []
            for number, kind, id, at, body in some:
                salt = os.urandom(SALT_BYTES)
                digest = hashlib.sha256(salt + body.encode()).digest()
                prior = seal_of(self._key, prior, (number, kind.encode(), id.encode(), at), digest)
                sealed.append((salt, digest, prior, number))
            database.executemany("UPDATE entries SET salt = ?, digest = ?, seal = ? WHERE seq = ?", sealed)
            count += len(sealed)
        return count


def seal_of(key: bytes, prior: bytes, header: tuple[int, bytes, bytes, int], digest: bytes) -> bytes:
    """The seal of one entry. The header is its number, time, kind and id with one space between, so it has one reading.

    TypeError for a header whose parts are of other types.
    """
    number, kind, id, at = header
    return hmac.digest(key, b"%b%d %d %b %b%b" % (prior, number, at, kind, id, digest), "sha256")


def unsealed() -> AuditUnavailable:
    """The chain ends with something that nobody sealed."""
    return AuditUnavailable("The audit cannot be written: its last entry has no seal.", hint=f"Look: {VERIFY}")


END = "SELECT seq, seal, at, (SELECT seal FROM entries WHERE seq = ?) FROM entries ORDER BY seq DESC LIMIT 1"


class Noting:
    """At each commit: what was noted before must still be there, and how far the chain goes is noted anew."""

    __slots__ = ("_keeper", "_last", "_raw")

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._last: Head | None = None
        self._raw: tuple[int, bytes] = (0, b"")
        """Number and seal of the last head."""

    def __call__(self, database: sqlite3.Connection) -> Callable[[], None] | None:
        """In a transaction that is about to be committed; gives what is to be done once it is."""
        for head in self._keeper.doubtful():
            if not _holds(database, head):
                self._keeper.contradicted(head)
        number, before = self._raw
        row = database.execute(END, (number,)).fetchone()
        if self._last is not None and (row is None or row[3] != before):
            self._keeper.contradicted(self._last)
        if row is None or row[1] is None or (row[0], row[1]) == self._raw:
            return None
        return partial(self._note, row[0], row[1], row[2])

    def _note(self, number: int, seal: bytes, at: int) -> None:
        head = Head(number, seal.hex(), told(at) or "")
        self._keeper.append(head)
        self._last, self._raw = head, (number, seal)


def _holds(database: sqlite3.Connection, head: Head) -> bool:
    row = database.execute("SELECT seal FROM entries WHERE seq = ?", (head.seq,)).fetchone()
    return row is not None and row[0] == bytes.fromhex(head.seal)


# Verifying

CARRIED = "SELECT EXISTS (SELECT 1 FROM entries) AND NOT EXISTS (SELECT 1 FROM entries WHERE seal IS NOT NULL)"
"""Whether all there is was written by an older Membrain."""

ENTRIES = "SELECT seq, kind, id, at, salt, body, digest, seal, erased FROM entries ORDER BY seq"

OUTSIDE_INDEX = f"""
SELECT entries.seq FROM entries LEFT JOIN exchanges ON exchanges.id = entries.id
WHERE kind IN {OF_EXCHANGES} AND body IS NOT NULL
AND (exchanges.seq IS NULL OR exchanges.seq > entries.seq OR exchanges.entry < entries.seq)
ORDER BY entries.seq LIMIT 1
"""  # noqa: S608  # the kinds above, nobody's words

EXACT = ["cached", "pii_labels", "ms"]
"""Columns that are compared one by one: SQLite writes them otherwise than they came."""

TEXTS = ["user", "instance", "saved_micros", *(name for name in COLUMNS if name not in EXACT)]
NAMES = [*TEXTS, *EXACT]

INDEX = f"""
SELECT coalesce(latest.seq, x.seq), latest.body, first.id, latest.id, latest.at, x.at,
       {", ".join(f"x.{name}" for name in NAMES)}
FROM exchanges AS x LEFT JOIN entries AS latest ON latest.seq = x.entry LEFT JOIN entries AS first ON first.seq = x.seq
WHERE latest.id IS NOT x.id OR first.id IS NOT x.id OR latest.at IS NOT x.at
OR json_array({", ".join(f"x.{name}" for name in TEXTS)})
   IS NOT json_extract(latest.body, {", ".join(f"'$.{name}'" for name in TEXTS)})
OR {" OR ".join(f"x.{name} IS NOT json_extract(latest.body, '$.{name}')" for name in EXACT)}
OR instr(latest.body, 'u0000') ORDER BY x.seq
"""  # noqa: S608  # likewise
# These rows may differ from their entries: SQL is quick and a little too strict, so they are looked at again.


def verify(database: Path, key: bytes, heads: Iterable[Head] = ()) -> Verdict:
    """Check every seal, every text, every erasure, the *heads* from elsewhere, and the index that lists are made of.

    One snapshot, read once, in constant memory; names the first bad entry. NotFound where there is no audit,
    Misconfigured for an older one that nobody sealed so far, AuditUnavailable when it cannot be read.
    """
    noted: defaultdict[int, set[bytes]] = defaultdict(set)
    for head in heads:
        noted[head.seq].add(bytes.fromhex(head.seal))
    with _reading(database) as connection:
        connection.execute("BEGIN")
        if not noted and connection.execute(CARRIED).fetchone()[0]:
            raise Misconfigured("The audit is not sealed yet: an older Membrain wrote it.", hint="Run: membrain up")
        walk = _Walk(connection, key, noted)
        return walk.verdict(*(walk.chain() or walk.end() or walk.index() or (None, None)))


class _Walk:
    """One pass over the chain. What is found bad is given as its number and a sentence."""

    def __init__(self, connection: sqlite3.Connection, key: bytes, noted: Mapping[int, set[bytes]]) -> None:
        self._connection = connection
        self._key = key
        self._noted = noted
        self._named = lru_cache(maxsize=8)(self._ranges)
        self._erased = self._count = 0
        self._first: int | None = None
        self._head: tuple[int, bytes, int] | None = None

    def chain(self) -> tuple[int, str] | None:
        """Every entry, oldest first; stops at the first that is bad."""
        connection, noted, prior = self._connection, self._noted, GENESIS
        connection.text_factory = bytes  # a text that was damaged need not be text any more
        for row in connection.execute(ENTRIES):
            number = row[0]
            if number != self._count + 1:
                missing = self._count + 1
                return (missing, f"Record {missing:,} is missing.") if number > missing else (number, _stray(number))
            if reason := self._flaw(row, prior):
                return number, f"{reason[0]} {number:,} {reason[1]}"
            if number in noted and noted[number] != {row[7]}:
                return number, f"Record {number:,} is not the one that was noted elsewhere: the audit was replaced."
            prior, self._count, self._head = row[7], number, (number, row[7], row[3])
            self._first = row[3] if self._first is None else self._first
        return None

    def _flaw(self, row: Sequence[Any], prior: bytes) -> tuple[str, str] | None:
        """What is wrong with one entry: the sentence's words before and after its number."""
        number, kind, id, at, salt, body, digest, seal, erased = row
        if seal is None:
            return "Record", "was never sealed."
        try:
            if len(digest) != DIGEST_BYTES or seal_of(self._key, prior, (number, kind, id, at), digest) != seal:
                return "Record", "does not match its seal."
            if body is not None:
                if erased is not None or len(salt) != SALT_BYTES or hashlib.sha256(salt + body).digest() != digest:
                    return "The text of record", "was changed."
                return None
        except TypeError:  # a part that is missing, or no longer what it was
            return "Record", "does not match its seal."
        if salt is not None or not self._is_named(number, erased):
            return "The text of record", "is gone, and no later record says that it was erased."
        self._erased += 1
        return None

    def _is_named(self, number: int, erased: object) -> bool:
        """Whether the later entry *erased* says that it took the text of *number* away; its own seal comes later."""
        if not isinstance(erased, int) or erased <= number:
            return False
        starts, ends = self._named(erased)
        place = bisect_right(starts, number) - 1
        return place >= 0 and number <= ends[place]

    def _ranges(self, seq: int) -> tuple[list[int], list[int]]:
        """The numbers that an erasure names, as first ones and last ones; none if it is no erasure."""
        row = self._connection.execute("SELECT kind, body FROM entries WHERE seq = ?", (seq,)).fetchone()
        if row is None or row[0] not in {b"erased", b"pruned"}:
            return [], []
        try:
            ranges = json.loads(row[1])["seqs"]
            return [first for first, _ in ranges], [last for _, last in ranges]
        except (TypeError, ValueError, KeyError):
            return [], []

    def end(self) -> tuple[int, str] | None:
        """Whether the chain goes as far as was noted elsewhere."""
        beyond = max(self._noted, default=0)
        if beyond <= self._count:
            return None
        end = f"ends with record {self._count:,}" if self._count else "is empty"
        return self._count + 1, f"The audit {end}, but record {beyond:,} was noted elsewhere: the end was cut off."

    def index(self) -> tuple[int, str] | None:
        """Whether the table that lists are made of says what the entries say, of all of them and of no other."""
        connection = self._connection
        connection.text_factory = _readable
        found = connection.execute(OUTSIDE_INDEX).fetchone()
        wrong = [] if found is None else [found[0]]
        for row in connection.execute(INDEX):
            if not _agrees(row):
                wrong.append(row[0])
                break
        return (min(wrong), f"The index of record {min(wrong):,} does not match.") if wrong else None

    def verdict(self, bad: int | None, reason: str | None) -> Verdict:
        """All that was found."""
        head = self._head and Head(self._head[0], self._head[1].hex(), told(self._head[2]) or "")
        self._connection.text_factory = _readable
        row = self._connection.execute("SELECT id, at FROM entries WHERE seq = ?", (bad,)).fetchone()
        return Verdict(
            records=self._count,
            erased=self._erased,
            first=told(self._first),
            last=head.at if head else None,
            head=head,
            bad=bad,
            bad_id=str(row[0]) if row else None,
            bad_time=told(row[1]) if row else None,
            reason=reason,
            checked_head=bool(self._noted),
        )


def _readable(raw: bytes) -> str:
    """A text that may have been damaged, so that looking at it goes on."""
    return raw.decode("utf-8", "replace")


def _stray(number: int) -> str:
    return f"Record {number:,} stands where no record can be."


def _agrees(row: Sequence[Any]) -> bool:
    """Whether a row of the index says what its entry says."""
    _, body, first_id, latest_id, at, indexed_at, *indexed = row
    try:
        record = json.loads(body)
        said = dict(zip(NAMES, indexed, strict=True))
        said["pii_labels"] = json.loads(said["pii_labels"])
        told = [record.get(name) for name in NAMES]
    except (TypeError, ValueError, KeyError, RecursionError):
        return False
    same: bool = first_id == latest_id == said["id"] and at == indexed_at
    return same and told == list(said.values())


def head_of(database: Path, key: bytes) -> Head | None:
    """The end of the chain; None while there is none. AuditUnavailable if it does not match its seal."""
    with _reading(database) as connection:
        return checked_head(connection, key)


def checked_head(connection: sqlite3.Connection, key: bytes) -> Head | None:
    """As `head_of`, on a connection."""
    connection.text_factory = bytes
    newest = "SELECT seq, kind, id, at, digest, seal FROM entries ORDER BY seq DESC LIMIT 2"
    rows = connection.execute(newest).fetchall()
    connection.text_factory = str
    if not rows or rows[0][-1] is None:
        return None
    seq, _, _, at, _, seal = rows[0]
    if not _is_sealed(key, rows[1][-1] if len(rows) > 1 else GENESIS, rows[0]):
        raise AuditUnavailable("The last record of the audit does not match its seal.", hint=f"Look: {VERIFY}")
    return Head(seq, seal.hex(), told(at) or "")


def _last(connection: sqlite3.Connection) -> Head | None:
    """The end of the chain as it stands there."""
    row = connection.execute("SELECT seq, seal, at FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
    return Head(row[0], row[1].hex(), told(row[2]) or "") if row and row[1] is not None else None


def told(at: object) -> str | None:
    """Microseconds since 1970 as RFC 3339 in UTC; None for what is no time."""
    if not isinstance(at, int):
        return None
    try:
        return (EPOCH + timedelta(microseconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        return None


# Handing out


def entries(database: Path, query: AuditQuery) -> Iterator[dict[str, Any]]:
    """The exchanges asked for, oldest first, one by one: the fields of each record, and its entry's `seq` and `seal`.

    All there are: the limit of the question does not count. Errors are those of `AuditReader`.
    """
    with _reading(database) as connection:
        connection.execute("BEGIN")
        where, parameters = condition(connection, query)
        rows = connection.execute(
            "SELECT e.seq, e.seal, e.body FROM (SELECT seq, entry FROM exchanges "  # noqa: S608  # no words of a caller
            f"{where}) AS x LEFT JOIN entries AS e ON e.seq = x.entry ORDER BY x.seq",
            parameters,
        )
        for seq, seal, body in rows:
            if body is None:
                raise AuditUnavailable("The audit cannot be read: an entry is missing.", hint=f"Look: {VERIFY}")
            yield {"seq": seq, "seal": seal and seal.hex(), **AuditRecord.from_dict(json.loads(body)).to_dict()}


def wire(database: Path, id: str) -> bytes:
    """The masked bytes that left with the exchange *id*, as they were kept.

    NotFound if they were not kept, or no longer; AuditUnavailable if they are not those that the record tells of.
    """
    with _reading(database) as connection:
        row = connection.execute(
            "SELECT wires.body, (SELECT body FROM entries WHERE seq = exchanges.entry)"
            " FROM wires LEFT JOIN exchanges USING (id) WHERE id = ?",
            (id,),
        ).fetchone()
    if row is None:
        raise NotFound(
            "Nothing is kept of what left with this exchange, if anything did.",
            hint="To keep it from now on: membrain config set audit.content masked",
        )
    try:
        body = zlib.decompress(row[0])
        sound = json.loads(row[1])["sent_sha256"] == hashlib.sha256(body).hexdigest()
    except (zlib.error, TypeError, ValueError, KeyError):
        sound = False
    if not sound:
        raise AuditUnavailable("What was kept of it is not what the record tells of.", hint=f"Look: {VERIFY}")
    return body


# Taking away


def erase(database: Path, key: bytes, query: AuditQuery, at: str, heads: Keeper | None = None) -> int:
    """Take away all that is on record of the exchanges asked for; how many there were.

    The chain stays whole: their entries keep number, id, time, digest and seal, and an entry of the moment *at*
    (RFC 3339) says which ones were erased. All that match: the limit of the question does not count. A gateway may be
    running. AuditUnavailable when it cannot be done, or when the bytes cannot be driven out of the log.
    """
    return _take_away(database, key, query, ("erased", at), heads)


def prune(database: Path, key: bytes, before: datetime, at: str, heads: Keeper | None = None) -> int:
    """Take away all that is on record of the exchanges that arrived before a moment; otherwise as `erase`."""
    return _take_away(database, key, AuditQuery(until=before), ("pruned", at), heads)


def _take_away(database: Path, key: bytes, query: AuditQuery, how: tuple[str, str], heads: Keeper | None) -> int:
    if not database.exists():
        raise NotFound("There is no audit yet.", hint="It begins with: membrain up")
    chain, count = Chain(key), 0
    try:
        with closing(connect(database)) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            checked_head(connection, key)
            make_ready(database, key)
            while done := _transact(connection, lambda: _take_some(connection, chain, query, how)):
                count += done
                if heads is not None and (head := _last(connection)) is not None:
                    heads.append(head)
                time.sleep(BREATH)
            _empty_log(connection)
    except sqlite3.Error as fault:
        raise guard(AUDIT, "written", fault) from fault
    return count


def _transact(connection: sqlite3.Connection, work: Callable[[], int]) -> int:
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = work()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return done


def _take_some(connection: sqlite3.Connection, chain: Chain, query: AuditQuery, how: tuple[str, str]) -> int:
    """Erase the first exchanges that match; how many there were."""
    where, parameters = condition(connection, query)
    found = connection.execute(
        f"SELECT seq, entry, id FROM exchanges {where} ORDER BY seq LIMIT :chunk",  # noqa: S608  # no words of a caller
        parameters | {"chunk": CHUNK},
    ).fetchall()
    if not found:
        return 0
    own = "SELECT seq FROM entries WHERE seq BETWEEN ? AND ? AND id = ? AND body IS NOT NULL"
    seqs = sorted(seq for row in found for (seq,) in connection.execute(own, row))
    kind, at = how
    body = json.dumps({"seqs": ranges(seqs)}, separators=(",", ":"))
    by = chain.append(connection, kind, "", micros(datetime.fromisoformat(at)), body)
    connection.executemany(
        "UPDATE entries SET salt = NULL, body = NULL, erased = ? WHERE seq = ?", [(by, seq) for seq in seqs]
    )
    connection.executemany("DELETE FROM wires WHERE id = ?", [(id,) for _, _, id in found])
    connection.executemany("DELETE FROM exchanges WHERE seq = ?", [(seq,) for seq, _, _ in found])
    return len(found)


def ranges(seqs: Iterable[int]) -> list[list[int]]:
    """Sorted numbers as runs, first and last one each."""
    runs: list[list[int]] = []
    for seq in seqs:
        if runs and seq == runs[-1][1] + 1:
            runs[-1][1] = seq
        else:
            runs.append([seq, seq])
    return runs


def _empty_log(connection: sqlite3.Connection) -> None:
    """Carry the write-ahead log into the file and empty it: what was erased stood in it too."""
    busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise AuditUnavailable(
            "It is erased, but its bytes may still be in the audit's log, which another program is reading.",
            hint="Close that program and do it again.",
        )


@contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection to look only; faults become errors of ours."""
    if not database.exists():
        raise NotFound("There is no audit yet.", hint="It begins with: membrain up")
    try:
        with closing(connect_reader(database)) as connection:
            yield connection
    except sqlite3.Error as fault:
        raise guard(AUDIT, "read", fault) from fault


# At the start


def make_ready(database: Path, key: bytes) -> None:
    """Seal what an older Membrain wrote, and make sure that the chain's first entry was sealed with this key.

    Misconfigured if it was not: what came after would be sealed with another key than what came before. A file that
    cannot be read or written is left to whoever writes to it next: each write says so by itself.
    """
    with suppress(sqlite3.Error), closing(connect(database)) as connection:
        if connection.execute(CARRIED).fetchone()[0]:
            _transact(connection, lambda: Chain(key).seal_carried(connection))
        connection.text_factory = bytes
        first = connection.execute("SELECT seq, kind, id, at, digest, seal FROM entries WHERE seq = 1").fetchone()
        if first is not None and first[-1] is not None and not _is_sealed(key, GENESIS, first):
            raise Misconfigured(
                "The first record of the audit does not match its seal: it was changed, or the key was.",
                hint=f"Look: {VERIFY}",
            )


def _is_sealed(key: bytes, prior: bytes, row: Sequence[Any]) -> bool:
    """Whether number, kind, id, time and digest match the seal, which comes last."""
    *header, digest, seal = row
    try:
        number, kind, id, at = header
        return bool(seal_of(key, prior, (number, kind, id, at), digest) == seal)
    except TypeError:  # a part that is missing, or no longer what it was
        return False
