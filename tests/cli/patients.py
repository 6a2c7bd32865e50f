"""Somebody for a check of the doctor's to look at.

only(machine.python, environ)              the one thing it finds
found(claude, environ, folder)             all it finds, in that folder
program(home, "claude", "echo 2.1.0")      a stand-in for a tool, on the PATH
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from membrain_cli.console import Console
from membrain_cli.doctor.finding import Check, Finding, Patient
from tests.cli.shell import Screen


def patient(environ: Mapping[str, str], folder: Path | None = None, *, now: datetime | None = None) -> Patient:
    """Whoever has that environment and stands in that folder."""
    shell = Console(Screen(), Screen(), Screen(), environ)
    if now is not None:
        shell.clock = lambda: now
    return Patient(shell, folder)


def found(
    check: Check, environ: Mapping[str, str], folder: Path | None = None, *, now: datetime | None = None
) -> list[Finding]:
    """What a check finds."""
    return list(check(patient(environ, folder, now=now)))


def only(
    check: Check, environ: Mapping[str, str], folder: Path | None = None, *, now: datetime | None = None
) -> Finding:
    """The only thing a check finds."""
    (finding,) = found(check, environ, folder, now=now)
    return finding


def of(name: str, findings: list[Finding]) -> list[Finding]:
    """Those of the findings that are called so."""
    return [each for each in findings if each.name == name]


def program(home: Path, name: str, script: str) -> Path:
    """A stand-in for a tool's program, on the PATH."""
    path = home / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def put(path: Path, content: object) -> Path:
    """A file with that text, or that JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path
