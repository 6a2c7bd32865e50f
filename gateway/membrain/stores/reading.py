"""The audit, to look at: questions into SQL, rows into records. It never writes, and needs no event loop.

Values reach SQLite as parameters only. A search is stopped after two seconds, whatever was asked.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from membrain.errors import AuditUnavailable, BadRequest, MembrainError, NotFound
from membrain.records import AuditRecord
from membrain.stores.base import ANY, MOST, NEWEST, AuditQuery, Records, Tally, Totals
from membrain.stores.database import AUDIT, connect_reader, guard

SECONDS = 2.0
"""How long one question may take."""

STEPS = 10_000
"""Of SQLite's machine, between two looks at the clock."""

LONGEST_GLOB = 200

COLUMNS = [
    *("id", "outcome", "model", "answered_model", "provider", "caller", "key_id", "project", "ms"),
    *("prompt_tokens", "completion_tokens", "cost_micros", "cached", "pii_findings_count", "pii_labels"),
]
"""The fields of a record that have a column to filter or sum by. What is shown comes from the sealed text."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Microseconds since 1970. BadRequest for a time that does not say its zone."""
    if moment.tzinfo is None:
        raise BadRequest("A time without its zone could mean any hour.")
    return (moment - EPOCH) // timedelta(microseconds=1)


def _like(glob: str) -> str:
    """A glob as a LIKE pattern: `*` and `?` have a meaning, every other sign is itself."""
    if len(glob) > LONGEST_GLOB:
        raise BadRequest(f"A pattern may have {LONGEST_GLOB} signs.", param="model")
    signs: dict[str, str | int | None] = {"*": "%", "?": "_", "%": r"\%", "_": r"\_", "\\": r"\\"}
    return re.sub(r"\*+", "*", glob).translate(str.maketrans(signs))


def _same(value: Any) -> Any:
    return value


# How each part of a question is asked. The unary plus keeps SQLite from using the index on time for a row, which
# would make it sort all it finds; the bounds on `seq` say the same in the order in which the answer is wanted.
CONDITIONS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "since": ("+at >= :since AND seq >= (SELECT min(+seq) FROM exchanges WHERE at >= :since)", micros),
    "until": ("+at < :until AND seq <= (SELECT max(seq) FROM exchanges WHERE at < :until)", micros),
    "model": (r"(model LIKE :model ESCAPE '\' OR answered_model LIKE :model ESCAPE '\')", _like),
    "provider": ("provider = :provider", _same),
    "caller": ("caller = :caller", _same),
    "project": ("project = :project", _same),
    "outcome": ("outcome = :outcome", _same),
    # The label in its quotes is looked for first, since that is ten times faster than reading each list.
    "pii": (
        "instr(pii_labels, json_quote(:pii)) AND EXISTS (SELECT 1 FROM json_each(pii_labels) WHERE value = :pii)",
        _same,
    ),
    "cached": ("cached = :cached", bool),
    "min_cost_micros": ("cost_micros >= :min_cost_micros", _same),
    "slower_ms": ("ms > :slower_ms", _same),
    "key_id": ("key_id = :key_id", _same),
    "user": ("user = :user", _same),
    "id": ("id = :id", _same),
}

SELECT = "SELECT (SELECT body FROM entries WHERE entries.seq = exchanges.entry) FROM exchanges"

TOTALS = """
SELECT coalesce(provider, ''), count(*), total(prompt_tokens), total(completion_tokens), total(cost_micros),
       total(outcome = 'answered' AND cost_micros IS NULL), total(pii_findings_count), total(cached),
       coalesce(max(CASE WHEN outcome = 'answered' THEN ms END), 0)
FROM exchanges WHERE at >= ?1 AND (?2 IS NULL OR key_id = ?2) GROUP BY provider ORDER BY count(*) DESC, provider
"""  # total() and not sum(): two absurd counts of an upstream must not make every later sum overflow.


class SqliteReader:
    """The audit in one file. A connection for each question, so nothing is held and any thread may ask.

    NotFound when there is no file yet. GuardFailed when the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def list(self, query: AuditQuery = NEWEST) -> Records:
        """The exchanges asked for, newest first."""
        if not 1 <= query.limit <= MOST:
            raise BadRequest(f"One may ask for 1 to {MOST:,} exchanges.", param="limit")
        with self._asking() as database:
            where, parameters = condition(database, query)
            order = "ASC" if query.after is not None else "DESC"
            rows = database.execute(
                f"{SELECT} {where} ORDER BY seq {order} LIMIT :limit", parameters | {"limit": query.limit}
            ).fetchall()
        found = [_record(body) for (body,) in rows]
        return found[::-1] if query.after is not None else found

    def get(self, id_prefix: str) -> AuditRecord:
        """The one exchange whose id starts so."""
        with self._asking() as database:
            seq = _find(database, id_prefix)
            (body,) = database.execute(f"{SELECT} WHERE seq = ?", (seq,)).fetchone()
        return _record(body)

    def totals(self, since: datetime | None = None, key_id: str | None = None) -> Totals:
        """What all exchanges that arrived since then come to."""
        with self._asking() as database:
            rows = database.execute(TOTALS, (micros(since) if since else -(2**63), key_id)).fetchall()
        tallies = tuple(Tally(*[provider, *map(int, counts), slowest]) for provider, *counts, slowest in rows)
        summed = [field.name for field in fields(Tally) if field.name not in {"provider", "slowest_ms"}]
        return Totals(
            **{name: sum(getattr(tally, name) for tally in tallies) for name in summed},
            slowest_ms=max((tally.slowest_ms for tally in tallies), default=0),
            by_provider=tallies,
        )

    @contextmanager
    def _asking(self) -> Iterator[sqlite3.Connection]:
        """A connection for one question, with a deadline; faults become errors of ours."""
        if not self._path.exists():
            raise NotFound("There is no audit yet.", hint="It begins with: membrain up")
        database: sqlite3.Connection | None = None
        try:
            database = connect_reader(self._path)
            deadline = time.monotonic() + SECONDS
            database.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
            yield database
        except MembrainError:
            raise
        except (UnicodeEncodeError, OverflowError):
            raise BadRequest("The question holds a text or a number that no record can hold.") from None
        except sqlite3.Error as fault:
            if getattr(fault, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                raise BadRequest("The search took too long and was stopped.", hint="Narrow it with --since.") from None
            raise guard(AUDIT, "read", fault) from fault
        finally:
            if database is not None:
                database.close()


def condition(database: sqlite3.Connection, query: AuditQuery) -> tuple[str, dict[str, Any]]:
    """The WHERE clause of a question, and its parameters."""
    parts: list[str] = []
    parameters: dict[str, Any] = {}
    for name, (sql, convert) in CONDITIONS.items():
        value = getattr(query, name)
        if name == "pii" and value == ANY:
            parts.append("pii_findings_count > 0")
        elif value is not None:
            parts.append(sql)
            parameters[name] = convert(value)
    for name, sign in (("before", "<"), ("after", ">")):
        if (id_prefix := getattr(query, name)) is not None:
            parts.append(f"seq {sign} :{name}")
            parameters[name] = _find(database, id_prefix)
    return (f"WHERE {' AND '.join(parts)}" if parts else ""), parameters


def _find(database: sqlite3.Connection, id_prefix: str) -> int:
    """The place of the one exchange whose id starts so; an id that is whole is never ambiguous."""
    if not id_prefix:
        raise BadRequest("An exchange is named by its id, or the first signs of it.", param="id")
    beyond = id_prefix + chr(0x10FFFF)
    rows = database.execute(
        "SELECT seq, id = :prefix FROM exchanges WHERE id >= :prefix AND id < :beyond ORDER BY id LIMIT 1001",
        {"prefix": id_prefix, "beyond": beyond},
    ).fetchall()
    if not rows:
        raise NotFound("There is no such exchange.", param="id")
    seq, exact = rows[0]
    if len(rows) > 1 and not exact:
        many = f"{len(rows):,}" if len(rows) <= 1_000 else "more than 1,000"
        raise BadRequest(f"The ids of {many} exchanges start so.", hint="Give more of it.", param="id")
    return int(seq)


def _record(body: str | None) -> AuditRecord:
    """An entry's text as the record that was written."""
    if body is None:
        raise AuditUnavailable("The audit cannot be read: an entry is missing.", hint="Look: membrain audit verify")
    return AuditRecord.from_dict(json.loads(body))
