"""`doctor`: a list of checks; each says that all is well, or what is wrong and the command that mends it.

A check is a function from `Patient` to findings. It changes nothing, and what it cannot know it leaves out.
"""

from __future__ import annotations

import contextlib
import os
import platform
import stat
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from membrain.errors import MembrainError, Misconfigured
from membrain_cli import __version__, daemon
from membrain_cli.console import CommandError, Console, Exit, current, padded, span, uptime
from membrain_cli.reach import Reach

if TYPE_CHECKING:
    from membrain.settings import Settings

State = Literal["fine", "look", "broken", "none"]
"""Works; should be looked at; does not work; is not there and need not be."""

OLDEST = (3, 11)
PATIENCE = 2.0
"""Seconds that another program may hold the store; a gateway that writes holds it for milliseconds."""
NO_ROOM, LITTLE_ROOM = 1_000_000, 100_000_000
"""Bytes free on the store's disk with which it is full, and nearly so."""
SOUND_SQLITE = (3, 51, 3)
"""From this version on SQLite is free of a race between two writers of one log; we write with one."""


class Finding(NamedTuple):
    """What a check found; `remedy` is a command."""

    state: State
    name: str
    words: str
    remedy: str = ""


class Patient:
    """What is looked at: this environment, its files, and its gateway if there is one."""

    def __init__(self, shell: Console) -> None:
        self.environ = shell.environ
        self.now = shell.clock()
        self.reach = Reach(shell.environ)

    @cached_property
    def settings(self) -> Settings | Misconfigured:
        """The settings, or what is wrong with them."""
        from membrain.config import load

        try:
            return load(self.environ)
        except Misconfigured as error:
            return error

    @property
    def running(self) -> daemon.Running | None:
        """The gateway, if it is up."""
        return self.reach.running


Check = Callable[[Patient], Iterator[Finding]]


# --- the machine ---------------------------------------------------------------------------------------------


def python(_: Patient) -> Iterator[Finding]:
    """Is Python new enough."""
    told = platform.python_version()
    if sys.version_info >= OLDEST:
        yield Finding("fine", "python", told)
    else:
        yield Finding("broken", "python", f"{told} is too old; 3.11 or newer is needed")


def sqlite(_: Patient) -> Iterator[Finding]:
    """Which SQLite is linked."""
    import sqlite3

    told = sqlite3.sqlite_version
    known = (
        ""
        if sqlite3.sqlite_version_info >= SOUND_SQLITE
        else "; its old race of two writers cannot happen with our one"
    )
    yield Finding("fine", "sqlite", f"{told}{known}")


def clock(patient: Patient) -> Iterator[Finding]:
    """Is the time plausible: budgets and records go by it."""
    newest = None
    with contextlib.suppress(MembrainError, CommandError):
        newest = next((record.time for record in patient.reach.audit({"limit": "1"})), None)
    ahead = datetime.fromisoformat(newest) - patient.now if newest else timedelta(0)
    if ahead > timedelta(minutes=1):
        yield Finding("look", "clock", f"the newest record is {uptime(ahead.total_seconds())} in the future")
    elif patient.now < datetime(2026, 1, 1, tzinfo=UTC):
        yield Finding("look", "clock", f"says {patient.now:%Y-%m-%d}, which is long ago")
    else:
        yield Finding("fine", "clock", "plausible")


# --- the files -----------------------------------------------------------------------------------------------


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


# --- the gateway ---------------------------------------------------------------------------------------------


def gateway(patient: Patient) -> Iterator[Finding]:
    """Is it up, and of this version."""
    running = patient.running
    if running is None:
        yield Finding("look", "gateway", "down", "membrain up")
    elif running.version != __version__:
        words = f"is v{running.version}, this command is v{__version__}"
        yield Finding("look", "gateway", words, "membrain restart")
    else:
        yield Finding("fine", "gateway", f"up {uptime(running.health['up_seconds'])}, same version as this command")


def port(patient: Patient) -> Iterator[Finding]:
    """Is the port ours, or free."""
    if patient.running is not None:
        yield Finding("fine", "port", f"{patient.running.port}")
        return
    if isinstance(patient.settings, Misconfigured):
        return
    wanted = patient.settings.port
    if daemon.is_listening(patient.settings.host, wanted):
        other = wanted + 1 if wanted < 65535 else wanted - 1
        words = f"{wanted} is taken by {daemon.holder(patient.settings.host, wanted)}"
        yield Finding("broken", "port", words, f"membrain config set port {other}")
    else:
        yield Finding("fine", "port", f"{wanted} is free")


def surroundings(patient: Patient) -> Iterator[Finding]:
    """Was the gateway started with variables that point at itself."""
    environ = daemon.environment_of(patient.running.pid) if patient.running else None
    if environ is None or patient.running is None:
        return
    ours = [name for name in daemon.POINTERS if f":{patient.running.port}" in environ.get(name, "")]
    if ours:
        words = f"the gateway's own {ours[0]} points at itself; it is not read, but what it starts may read it"
        yield Finding("look", "loop", words, f"unset {' '.join(ours)} && membrain restart")


def proxies(patient: Patient) -> Iterator[Finding]:
    """Would tools of this shell ask a proxy for this machine."""
    names = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
    named = next((name for name in names if patient.environ.get(name)), None)
    excepted = patient.environ.get("no_proxy") or patient.environ.get("NO_PROXY") or ""
    if named and not {"*", "127.0.0.1"} & {each.strip() for each in excepted.split(",")}:
        words = f"{named} is set, so some tools would ask the proxy for 127.0.0.1"
        yield Finding("look", "proxy", words, "export NO_PROXY=127.0.0.1,localhost")


# --- who answers ---------------------------------------------------------------------------------------------


def keys(patient: Patient) -> Iterator[Finding]:
    """Does each provider's key work. They are asked at the same time."""
    settings = patient.settings
    if isinstance(settings, Misconfigured) or settings.keys is None:
        return
    held = {name: settings.keys.find(name) for name in settings.key_names}
    with ThreadPoolExecutor(max_workers=8) as pool:
        tried = {name: pool.submit(tested, patient.reach, name) for name, found in held.items() if found.secret}
    for name, found in held.items():
        if name in tried:
            yield verdict(name, tried[name].result())
        else:
            yield Finding("look", name, found.reason or "no key", f"membrain keys set {name}")


def tested(reach: Reach, name: str) -> dict[str, Any]:
    """The outcome of asking a provider, also where it cannot be asked."""
    try:
        return reach.test(name)
    except (MembrainError, CommandError) as error:
        return {"ok": False, "message": error.message, "error": None}


def verdict(name: str, tried: dict[str, Any]) -> Finding:
    """What a test of a provider comes to."""
    if tried["ok"]:
        return Finding("fine", name, f"key works, {span(tried['ms'])}")
    why = tried.get("message") or tried.get("error") or "no answer"
    return Finding("broken", name, str(why), f"membrain keys set {name}")


def others(patient: Patient) -> Iterator[Finding]:
    """Providers that need no key, as the gateway sees them."""
    settings = patient.settings
    if patient.running is None or isinstance(settings, Misconfigured):
        return
    for each in patient.running.health.get("providers", []):
        if each["name"] in settings.key_names:
            continue
        if each["up"]:
            yield Finding("fine", each["name"], each["where"])
        elif each["name"] == "local":
            yield Finding("look", each["name"], each["note"] or "not there", each["remedy"])
        else:
            yield Finding("none", each["name"], f"{each['note'] or 'not there'} (optional)")


CHECKS: tuple[Check, ...] = (
    python,
    sqlite,
    clock,
    config,
    folders,
    keyring,
    store,
    trail,
    gateway,
    port,
    surroundings,
    proxies,
    keys,
    others,
)


# --- the command ---------------------------------------------------------------------------------------------


def doctor() -> Exit:
    """Check everything, and say how to mend what is wrong. Exit status 1 if something is broken."""
    shell = current()
    patient, found = Patient(shell), list[Finding]()
    for check in CHECKS:
        with shell.working(f"looking at {check.__name__} …"):
            fresh = list(check(patient))
        found += fresh
        for each in fresh:
            tell(shell, each)
    broken, look = (sum(1 for each in found if each.state == state) for state in ("broken", "look"))
    if not shell.json:
        shell.say()
        told = [f"{number} {words}" for number, words in ((broken, "broken"), (look, "to look at")) if number]
        shell.say(f"{', '.join(told)}." if told else "All is well.")
    return Exit.FAILED if broken else Exit.OK


def tell(shell: Console, finding: Finding) -> None:
    """One finding, and below it what mends it."""
    if shell.json:
        shell.record(finding._asdict())
    elif not shell.is_tty_out:
        shell.out("\t".join(finding).rstrip("\t"))
    else:
        shell.out(f"  {shell.glyph(finding.state)} {padded(finding.name, 12)} {finding.words}".rstrip())
        if finding.remedy:
            shell.out(f"{' ' * 19}{shell.style(finding.remedy, 'accent')}")
