"""The command line as tests call it: in this process on streams of their own, or as a process.

invoke(["status", "--json"], environ)       quick; `Ran.status`, `.out`, `.err`
membrain("status", environ=environ)         the real program, its output in pipes
command("chat")                             argv for a `Terminal`
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from membrain_cli.console import Console
from membrain_cli.main import run

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    status: int
    out: str
    err: str


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of somebody whose instance is in *home*: nothing of whoever runs the tests but the path."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "SYSTEMROOT") if name in os.environ}
    return {
        **kept,
        "LANG": "C.UTF-8",
        "HOME": str(home.parent),
        "MEMBRAIN_HOME": str(home),
        "MEMBRAIN_SECRETS_BACKEND": "file",
        "OLLAMA_URL": "http://127.0.0.1:9",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "gateway"), str(ROOT / "client"), str(ROOT)]),
        "PYTHONWARNINGS": "error",
        **more,
    }


def invoke(
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    stdin: str = "",
    tty: bool = False,
    now: datetime | None = None,
) -> Ran:
    """Run one command line in this process. With *tty* all three streams are terminals, without colour."""
    kind = Screen if tty else io.StringIO
    shell = Console(kind(stdin), kind(), kind(), {"NO_COLOR": "1", **environ})
    if now is not None:
        shell.clock = lambda: now.astimezone(UTC)
    status = run(argv, shell)
    assert isinstance(shell.stdout, io.StringIO)
    assert isinstance(shell.stderr, io.StringIO)
    return Ran(status, shell.stdout.getvalue(), shell.stderr.getvalue())


def command(*argv: str) -> list[str]:
    """The program's own argv."""
    return [sys.executable, "-m", "membrain_cli", *argv]


def membrain(*argv: str, environ: Mapping[str, str], stdin: str | None = None, cwd: Path | None = None) -> Ran:
    """Run the program in a process of its own, with pipes for its streams."""
    done = subprocess.run(
        command(*argv), env=dict(environ), input=stdin or "", capture_output=True, text=True, timeout=60, cwd=cwd
    )
    return Ran(done.returncode, done.stdout, done.stderr)
