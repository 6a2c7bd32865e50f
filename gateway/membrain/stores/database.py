"""The SQLite file: made for its owner only, opened, brought up to date, probed, and its faults put into words.

It knows the tables and nothing of what they mean; `reading.py`, `keys.py` and `sqlite.py` do.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from membrain.errors import AuditUnavailable, GuardFailed, Misconfigured

Durability = Literal["process", "full"]
SYNCHRONOUS: dict[str, str] = {"process": "NORMAL", "full": "FULL"}
"""What a commit survives: the death of the process, or also that of the machine's power."""

PATIENCE = 2.0
"""Seconds to wait for another program that writes."""

WAL_KEPT = 32 * 1024 * 1024
"""Bytes of write-ahead log that may stay on disk after a rush."""


# Migrations: append, never edit. Each runs once, in this order, and is recorded by its name.


def exchanges(database: sqlite3.Connection) -> None:
    """Two tables for one exchange, so that a search reads some 150 bytes a row and not 1,500.

    `exchanges` has what one filters or sums by. Everything else of the record is JSON: in `opening` until the
    outcome is known, from then on in `details`. A new field of the record lands there without a migration.
    """
    database.execute(
        "CREATE TABLE exchanges (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, at INTEGER NOT NULL,"
        " instance TEXT NOT NULL, outcome TEXT NOT NULL, model TEXT NOT NULL, answered_model TEXT, provider TEXT,"
        " caller TEXT NOT NULL, key_id TEXT, project TEXT NOT NULL, ms REAL, prompt_tokens INTEGER,"
        " completion_tokens INTEGER, cost_micros INTEGER, cached INTEGER NOT NULL,"
        " pii_findings_count INTEGER NOT NULL, pii_labels TEXT NOT NULL, opening TEXT)"
    )
    database.execute("CREATE TABLE details (seq INTEGER PRIMARY KEY, detail TEXT NOT NULL)")
    database.execute("CREATE UNIQUE INDEX exchanges_id ON exchanges (id)")
    database.execute("CREATE INDEX exchanges_at ON exchanges (at)")
    database.execute("CREATE INDEX exchanges_open ON exchanges (instance) WHERE outcome = 'open'")


def client_keys(database: sqlite3.Connection) -> None:
    """The client keys, by digest."""
    database.execute(
        "CREATE TABLE client_keys (id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL UNIQUE,"
        " tail TEXT NOT NULL, project TEXT NOT NULL, created TEXT NOT NULL, last_used TEXT, revoked TEXT)"
    )


def rights(database: sqlite3.Connection) -> None:
    """What each client key may, as JSON: a right that is added needs no migration. And what rotations leave."""
    database.execute("ALTER TABLE client_keys ADD COLUMN rights TEXT NOT NULL DEFAULT '{}'")
    database.execute(
        "CREATE TABLE former_keys (digest TEXT NOT NULL PRIMARY KEY, id TEXT NOT NULL, until TEXT NOT NULL)"
        " WITHOUT ROWID"
    )


def ledger(database: sqlite3.Connection) -> None:
    """What was spent and is held, by owner and period, and each hold. Micro-dollars."""
    database.execute(
        "CREATE TABLE spends (owner TEXT NOT NULL, period TEXT NOT NULL, spent INTEGER NOT NULL DEFAULT 0,"
        " reserved INTEGER NOT NULL DEFAULT 0, told INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (owner, period))"
        " WITHOUT ROWID"
    )
    database.execute(
        "CREATE TABLE reservations (id TEXT NOT NULL PRIMARY KEY, instance TEXT NOT NULL, at INTEGER NOT NULL,"
        " micros INTEGER NOT NULL, accounts TEXT NOT NULL) WITHOUT ROWID"
    )


def hits(database: sqlite3.Connection) -> None:
    """How much was asked in which second, by owner and kind."""
    database.execute(
        "CREATE TABLE hits (owner TEXT NOT NULL, kind TEXT NOT NULL, slot INTEGER NOT NULL, amount INTEGER NOT NULL,"
        " PRIMARY KEY (owner, kind, slot)) WITHOUT ROWID"
    )


def answers(database: sqlite3.Connection) -> None:
    """Answers that may be given again, as they came: with placeholders, and under a keyed digest of the question."""
    database.execute(
        "CREATE TABLE answers (key BLOB NOT NULL PRIMARY KEY, project TEXT NOT NULL, at INTEGER NOT NULL,"
        " used INTEGER NOT NULL, size INTEGER NOT NULL, streamed INTEGER NOT NULL, body BLOB NOT NULL,"
        " facts TEXT NOT NULL) WITHOUT ROWID"
    )
    database.execute("CREATE INDEX answers_used ON answers (used)")
    database.execute("CREATE INDEX answers_at ON answers (at)")
    # How many bytes there are: summing them up anew would cost each answer a look at all others.
    database.execute("CREATE TABLE answers_held (bytes INTEGER NOT NULL)")
    database.execute("INSERT INTO answers_held VALUES (0)")
    database.execute(
        "CREATE TRIGGER answers_come AFTER INSERT ON answers BEGIN"
        " UPDATE answers_held SET bytes = bytes + new.size; END"
    )
    database.execute(
        "CREATE TRIGGER answers_go AFTER DELETE ON answers BEGIN UPDATE answers_held SET bytes = bytes - old.size; END"
    )


def chain(database: sqlite3.Connection) -> None:
    """The entries, each sealed over the one before; `exchanges` becomes their index, and is made anew from them.

    `seq` of an exchange is its first entry, `entry` its latest, whose text is what people are shown. What is carried
    over is sealed by whoever has the key, at the next start.
    """
    database.execute("PRAGMA secure_delete = ON")
    database.execute(
        "CREATE TABLE entries (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL,"
        " salt BLOB, body TEXT, digest BLOB, seal BLOB, erased INTEGER)"
    )
    database.execute(CARRIED_OVER)
    database.execute("ALTER TABLE exchanges RENAME TO earlier")
    for index in ("exchanges_id", "exchanges_at", "exchanges_open"):
        database.execute(f"DROP INDEX {index}")
    database.execute(
        "CREATE TABLE exchanges (seq INTEGER PRIMARY KEY, entry INTEGER NOT NULL, id TEXT NOT NULL,"
        " at INTEGER NOT NULL, instance TEXT NOT NULL, outcome TEXT NOT NULL, model TEXT NOT NULL,"
        " answered_model TEXT, provider TEXT,"
        " caller TEXT NOT NULL, key_id TEXT, project TEXT NOT NULL, user TEXT NOT NULL, ms REAL, prompt_tokens INTEGER,"
        " completion_tokens INTEGER, cost_micros INTEGER, saved_micros INTEGER, cached INTEGER NOT NULL,"
        " pii_findings_count INTEGER NOT NULL, pii_labels TEXT NOT NULL)"
    )
    database.execute(
        "INSERT INTO exchanges SELECT e.seq, e.seq, o.id, o.at, o.instance, o.outcome, o.model, o.answered_model,"
        " o.provider, o.caller, o.key_id, o.project, coalesce(json_extract(e.body, '$.user'), ''), o.ms,"
        " o.prompt_tokens, o.completion_tokens, o.cost_micros, json_extract(e.body, '$.saved_micros'), o.cached,"
        " o.pii_findings_count, o.pii_labels FROM earlier AS o JOIN entries AS e ON e.id = o.id ORDER BY e.seq"
    )
    database.execute("CREATE UNIQUE INDEX exchanges_id ON exchanges (id)")
    database.execute("CREATE INDEX exchanges_at ON exchanges (at)")
    database.execute("CREATE INDEX exchanges_open ON exchanges (instance) WHERE outcome = 'open'")
    database.execute("DROP TABLE earlier")
    database.execute("DROP TABLE details")


CARRIED_OVER = """
INSERT INTO entries (seq, kind, id, at, body)
SELECT row_number() OVER (ORDER BY seq),
       CASE outcome WHEN 'open' THEN 'intent' WHEN 'interrupted' THEN 'interrupted' ELSE 'outcome' END, id, at,
       json_patch(json_patch('{"user":""}', coalesce(detail, opening)), json_object(
           'id', id, 'instance', instance, 'outcome', outcome, 'model', model, 'answered_model', answered_model,
           'provider', provider, 'caller', caller, 'key_id', key_id, 'project', project, 'ms', ms,
           'prompt_tokens', prompt_tokens, 'completion_tokens', completion_tokens, 'cost_micros', cost_micros,
           'cached', json(iif(cached, 'true', 'false')), 'pii_findings_count', pii_findings_count,
           'pii_labels', json(pii_labels)))
FROM exchanges LEFT JOIN details USING (seq) ORDER BY seq
"""
"""Every exchange as one entry. The patch leaves out what is null, which is what a text without it says."""


def wires(database: sqlite3.Connection) -> None:
    """What left, with placeholders for what is private, for as many days as were asked for; packed by zlib."""
    database.execute("CREATE TABLE wires (id TEXT NOT NULL PRIMARY KEY, at INTEGER NOT NULL, body BLOB NOT NULL)")
    database.execute("CREATE INDEX wires_at ON wires (at)")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    exchanges,
    client_keys,
    rights,
    ledger,
    hits,
    answers,
    chain,
    wires,
)


# Opening


def connect(path: Path, durability: Durability = "process") -> sqlite3.Connection:
    """Open the file to write, made if need be, private to its owner and in its newest layout.

    The caller begins and commits by itself. Misconfigured when the file cannot be what we need.
    """
    try:
        _keep_private(path)
        database = _open(path, "rw")
    except OSError as fault:
        raise Misconfigured(f"The audit's file cannot be made: {fault.strerror}.", hint=DOCTOR) from fault
    except sqlite3.Error as fault:
        raise Misconfigured(f"The audit cannot be opened: {explain(fault)}.", hint=DOCTOR) from fault
    try:
        _write_ahead(database)
        database.execute(f"PRAGMA synchronous = {SYNCHRONOUS[durability]}")
        database.execute(f"PRAGMA journal_size_limit = {WAL_KEPT}")
        _migrate(database)
    except sqlite3.Error as fault:
        database.close()
        raise Misconfigured(f"The audit cannot be opened: {explain(fault)}.", hint=DOCTOR) from fault
    except Misconfigured:
        database.close()
        raise
    return database


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open the file to read. Misconfigured when its layout is not ours, `sqlite3.Error` when it cannot be read."""
    database = _open(path, "ro")
    try:
        if _missing(database):
            raise Misconfigured("The audit was written by an older Membrain.", hint="Run: membrain up")
    except BaseException:
        database.close()
        raise
    return database


def _open(path: Path, mode: str) -> sqlite3.Connection:
    """A plain connection that may be handed from thread to thread; never makes a file."""
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=PATIENCE,
        isolation_level=None,
        check_same_thread=False,
    )
    database.execute("PRAGMA trusted_schema = OFF")
    return database


def _keep_private(path: Path) -> None:
    """Make the file 0600 and its missing folders 0700, whatever the umask; take from others what they may do.

    SQLite gives its two companion files the mode of the file. A file that exists is never opened here: closing it
    again would drop the locks that another connection of this process holds on it.
    """
    for folder in reversed([each for each in path.absolute().parents if not each.exists()]):
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        path.chmod(0o600)
    except FileExistsError:
        mode = (_mode(path) or 0) & 0o700
        for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            # The companions too: left over from when the file was read-only, they would keep it so.
            if _mode(each) not in {None, mode}:
                each.chmod(mode)


def _mode(path: Path) -> int | None:
    """Who may do what with a file; None if there is none. Misconfigured for a link, which may lead anywhere."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise Misconfigured("The audit's place is taken by something that is not a plain file.", hint=DOCTOR)
    return stat.S_IMODE(mode)


def _write_ahead(database: sqlite3.Connection) -> None:
    """Switch to the write-ahead log. SQLite does not wait here when two programs open a new file at once; we do."""
    deadline = time.monotonic() + PATIENCE
    while database.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as fault:
            if _primary(fault) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _migrate(database: sqlite3.Connection) -> None:
    """Apply what is missing in one transaction, so that a kill in the middle leaves the file as it was."""
    if not _missing(database):
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        database.execute(
            "CREATE TABLE IF NOT EXISTS migrations (name TEXT NOT NULL PRIMARY KEY, applied TEXT NOT NULL)"
        )
        for migration in _missing(database):
            migration(database)
            database.execute(
                "INSERT INTO migrations VALUES (?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))", (migration.__name__,)
            )
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _missing(database: sqlite3.Connection) -> list[Callable[[sqlite3.Connection], None]]:
    """The migrations that this file has not seen. Misconfigured if it has seen some that we do not know."""
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "migrations" not in tables:
        if tables:
            raise Misconfigured("The audit's file belongs to another program.", hint=DOCTOR)
        return list(MIGRATIONS)
    applied = {name for (name,) in database.execute("SELECT name FROM migrations")}
    if applied - {migration.__name__ for migration in MIGRATIONS}:
        raise Misconfigured("The audit was written by a newer Membrain than this one.", hint="Update Membrain.")
    return [migration for migration in MIGRATIONS if migration.__name__ not in applied]


# Faults

DOCTOR = "Look into it with: membrain doctor"

FAULTS: dict[int | None, str] = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "its file is read-only",
    sqlite3.SQLITE_PERM: "its file is not ours to use",
    sqlite3.SQLITE_BUSY: f"another program has held it for more than {PATIENCE:.0f} seconds",
    sqlite3.SQLITE_LOCKED: f"another program has held it for more than {PATIENCE:.0f} seconds",
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_NOTADB: "its file is damaged or not a database",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
}
"""SQLite's result codes, in words. What is not here is the fault of what was to be written."""


def is_environment(fault: BaseException) -> bool:
    """Whether the file or the machine is at fault, and not what was to be written."""
    return _primary(fault) in FAULTS


def explain(fault: BaseException) -> str:
    """A fault as the end of a sentence, without a word of what was read or written."""
    return FAULTS.get(_primary(fault), "it was refused")


class Subject(NamedTuple):
    """What is kept, for the sentence that says that it cannot be."""

    name: str
    """It begins the sentence: "The audit"."""
    error: type[GuardFailed] = GuardFailed

    def fails(self, verb: str, why: str, hint: str | None = None) -> GuardFailed:
        """The refusal; *verb* is "written" or "read"."""
        return self.error(f"{self.name} cannot be {verb}: {why}.", hint=hint)


AUDIT = Subject("The audit", AuditUnavailable)


def guard(subject: Subject, verb: str, fault: BaseException) -> GuardFailed:
    """The refusal that follows from a fault; `verb` is "written" or "read"."""
    return subject.fails(verb, explain(fault), DOCTOR)


def _primary(fault: BaseException) -> int | None:
    """The first of SQLite's two result codes; None when SQLite was never reached."""
    code: int | None = getattr(fault, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def check(path: Path) -> str | None:
    """What is wrong with the file, as a sentence; None when it is sound or not there yet.

    Reads the whole file once (about a second for each GB), so it is for a doctor and not for a start.
    """
    if not path.exists():
        return None
    try:
        database = connect_reader(path)
        try:
            (finding,) = database.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            database.close()
    except Misconfigured as fault:
        return fault.message
    except sqlite3.Error as fault:
        return f"The audit cannot be read: {explain(fault)}."
    return None if finding == "ok" else f"The audit's file is damaged: {str(finding).splitlines()[-1]}."
