"""Checks of the machine itself: the interpreter, what is installed, the clock, this shell's proxies."""

from __future__ import annotations

import contextlib
import platform
import re
import shlex
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

from membrain.errors import MembrainError
from membrain_cli.console import CommandError, uptime
from membrain_cli.doctor.finding import Finding, Patient
from membrain_cli.doctor.side import proxied
from membrain_cli.doctor.sources import from_shell, merged

OLDEST = (3, 11)
SOUND_SQLITE = (3, 51, 3)
"""From this version on SQLite is free of a race between two writers of one log; we write with one."""

KNOWN_BAD = {
    "litellm": (
        ("1.82.7", "1.82.8"),
        "stole keys: change every key that this machine has known",
        "pip install --upgrade 'litellm>=1.83.10,!=1.107.0'",
    ),
}
"""Releases that must not be installed, by package: which, why, and what mends it."""

STARTERS = (
    r"import _virtualenv",
    r"import __editable__\w+; __editable__\w+\.install\(\)",
    (
        r"import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os\.environ\.get\(var, 'local'\) == 'local'; "
        r"enabled and __import__\('_distutils_hack'\)(\.add_shim\(\))?;?"
    ),
    r"import coverage; coverage\.process_startup\(\)",
)
"""Lines of `.pth` files that well-known tools put there. Any other line of code runs at every start of Python."""


def python(_: Patient) -> Iterator[Finding]:
    """Is Python new enough."""
    told = platform.python_version()
    if sys.version_info >= OLDEST:
        yield Finding("fine", "python", told)
    else:
        yield Finding(
            "broken", "python", f"{told} is too old; 3.11 or newer is needed", "python3.12 -m pip install membrain"
        )


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


def packages(_: Patient) -> Iterator[Finding]:
    """Is a release installed that is known to be bad."""
    bad = False
    for package, (releases, why, remedy) in KNOWN_BAD.items():
        with contextlib.suppress(metadata.PackageNotFoundError):
            found = metadata.version(package)
            if found in releases:
                bad = True
                yield Finding("broken", "packages", f"{package} {found} {why}", remedy)
    if not bad:
        yield Finding("fine", "packages", "none of the releases known to be bad")


def starters(_: Patient) -> Iterator[Finding]:
    """Does a `.pth` file run code at every start of Python: that is how a poisoned package stays."""
    strangers = [path for folder in library_folders() for path in sorted(folder.glob("*.pth")) if runs_code(path)]
    for path in strangers:
        words = f"{path.name} runs code at every start of Python; is it known to you?"
        yield Finding("look", "startup", words, f"cat {shlex.quote(str(path))}")
    if not strangers:
        yield Finding("fine", "startup", "no foreign .pth file")


def library_folders() -> list[Path]:
    """The folders of this interpreter in which `.pth` files are read."""
    return [path for each in dict.fromkeys(sys.path) if (path := Path(each)).name.endswith("-packages")]


def runs_code(path: Path) -> bool:
    """Whether a `.pth` file has a line of code that no well-known tool put there; also where it cannot be read."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return True
    code = [line.strip() for line in lines if line.startswith(("import ", "import\t"))]
    return any(not re.fullmatch("|".join(STARTERS), line) for line in code)


def clock(patient: Patient) -> Iterator[Finding]:
    """Is the time plausible: budgets and records go by it."""
    newest = None
    with contextlib.suppress(MembrainError, CommandError):
        newest = next((record.time for record in patient.reach.audit({"limit": "1"})), None)
    ahead = datetime.fromisoformat(newest) - patient.now if newest else timedelta(0)
    if ahead > timedelta(minutes=1):
        words = f"the newest record is {uptime(ahead.total_seconds())} in the future"
        yield Finding("look", "clock", words, "date -u")
    elif patient.now < datetime(2026, 1, 1, tzinfo=UTC):
        yield Finding("look", "clock", f"says {patient.now:%Y-%m-%d}, which is long ago", "date -u")
    else:
        yield Finding("fine", "clock", "plausible")


def proxies(patient: Patient) -> Iterator[Finding]:
    """Would tools of this shell ask a proxy for this machine."""
    yield from (each._replace(state="look") for each in proxied(merged(from_shell(patient.environ))))
