"""Checks of the files of this instance: settings, folders, where keys are kept, the store and the audit's chain."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from membrain.errors import MembrainError, Misconfigured
from membrain_cli.doctor.finding import Finding, Patient

PATIENCE = 2.0
"""Seconds that another program may hold the store; a gateway that writes holds it for milliseconds."""
NO_ROOM, LITTLE_ROOM = 1_000_000, 100_000_000
"""Bytes free on the store's disk with which it is full, and nearly so."""


def config(patient: Patient) -> Iterator[Finding]:
    """Do the settings load."""
    if isinstance(patient.settings, Misconfigured):
        error = patient.settings
        yield Finding("broken", "config", error.message, error.hint or "")
        return
    own = sum(1 for name, _ in patient.settings.items() if patient.settings.origin(name) != "default")
    yield Finding(
        "fine", "config", f"{own} setting{'' if own == 1 else 's'}, all known" if own else "all at their default"
    )


def folders(patient: Patient) -> Iterator[Finding]:
    """Are the folders, and what is in them, this user's alone."""
    places = patient.reach.places
    open_ones = [path for folder in (places.config, places.data, places.state) for path in open_to_others(folder)]
    if not open_ones:
        yield Finding("fine", "files", "yours alone")
    for path in open_ones:
        yield Finding("broken", "files", f"{path} is open to other users", f"chmod go= {path}")


def open_to_others(folder: Path) -> Iterator[Path]:
    """*folder* and the files directly in it that others may read or write, or that belong to others."""
    if os.name != "posix" or not folder.is_dir():
        return
    for path in (folder, *sorted(folder.iterdir())):
        with contextlib.suppress(FileNotFoundError):
            info = path.lstat()
            plain = stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)
            if plain and (info.st_mode & 0o077 or info.st_uid != os.geteuid()):
                yield path


def keyring(patient: Patient) -> Iterator[Finding]:
    """Where provider keys are kept."""
    if isinstance(patient.settings, Misconfigured) or patient.settings.keys is None:
        return
    where = patient.settings.keys.kept_in()
    if where.startswith("nowhere"):
        yield Finding("look", "keyring", "this machine has none", "membrain config set secrets.backend file")
    else:
        yield Finding("fine", "keyring", where)


def store(patient: Patient) -> Iterator[Finding]:
    """Can the record be read and written, and is there room for more."""
    import sqlite3

    path = patient.reach.places.database
    if not path.exists():
        yield Finding("none", "store", "nothing on record yet")
        return
    try:
        damage = looked_into(path)
    except sqlite3.Error as error:
        yield unusable(path, getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR, str(error))
        return
    if damage:
        yield unusable(path, sqlite3.SQLITE_CORRUPT, damage)
        return
    fault = patient.running.health.get("store") if patient.running else None
    yield Finding("broken", "store", str(fault).removesuffix("."), "membrain logs") if fault else room(path)


def looked_into(path: Path) -> str:
    """What is damaged in a store; "" if nothing is. `sqlite3.Error` where it cannot be read, or not written now."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as database:
        said = [str(row[0]) for row in database.execute("PRAGMA quick_check(3)")]
    if said != ["ok"]:
        return said[0].splitlines()[-1]  # the first line only says whose words they are
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=PATIENCE)) as database:
        database.isolation_level = None
        database.execute("BEGIN IMMEDIATE")
        database.execute("PRAGMA user_version = 0")  # a read-only file lets one begin; nothing is written
        database.execute("ROLLBACK")
    return ""


def unusable(path: Path, code: int, said: str) -> Finding:
    """What is wrong with a store, by SQLite's result code."""
    import sqlite3

    damaged = f"mv {path} {path}.damaged && membrain restart"
    locked = (f"another program has held it for more than {PATIENCE:.0f} s", f"lsof {path}")
    known = {
        sqlite3.SQLITE_FULL: ("the disk is full, so nothing is let out", f"df -h {path.parent}"),
        sqlite3.SQLITE_READONLY: ("its file is read-only, so nothing is let out", f"chmod u+w {path}"),
        sqlite3.SQLITE_BUSY: locked,
        sqlite3.SQLITE_LOCKED: locked,
        sqlite3.SQLITE_CORRUPT: (f"damaged: {said}", damaged),
        sqlite3.SQLITE_NOTADB: (f"damaged: {said}", damaged),
        sqlite3.SQLITE_CANTOPEN: ("its file cannot be opened", f"ls -l {path}"),
        sqlite3.SQLITE_PERM: ("its file is not yours to use", f"ls -l {path}"),
        sqlite3.SQLITE_IOERR: ("the disk reports an error", f"df -h {path.parent}"),
    }
    words, remedy = known.get(code & 0xFF, (f"cannot be used: {said}", f"ls -l {path}"))
    return Finding("broken", "store", words, remedy)


def room(path: Path) -> Finding:
    """Whether the disk of a sound store has room for more."""
    import shutil

    free, size = shutil.disk_usage(path.parent).free, path.stat().st_size
    if free < NO_ROOM:
        return Finding("broken", "store", "the disk is full, so nothing is let out", f"df -h {path.parent}")
    if free < LITTLE_ROOM:
        return Finding("look", "store", f"only {free / 1_000_000:.0f} MB are left on its disk", f"df -h {path.parent}")
    return Finding("fine", "store", f"{size / 1_000_000:.1f} MB, sound")


def trail(patient: Patient) -> Iterator[Finding]:
    """Is the end of the audit's chain whole; all of it is checked by `audit verify`."""
    reach, verify = patient.reach, "membrain audit verify"
    if not reach.places.database.exists() or isinstance(patient.settings, Misconfigured):
        return
    try:
        seen = reach.offline.glance(patient.settings.keys)
    except MembrainError as error:
        yield Finding("broken", "audit", error.message.removesuffix("."), verify)
        return
    if seen["reason"]:
        yield Finding("broken", "audit", seen["reason"].removesuffix("."), verify)
    elif seen["records"] and not seen["checked_head"]:
        yield Finding("look", "audit", "no head of its chain is noted, so a cut-off end would not show", verify)
    else:
        yield Finding("fine", "audit", f"the last {seen['records']:,} records fit their seals")
