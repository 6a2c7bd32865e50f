"""Is a tool's program here, and which version: the one program the doctor runs, with `--version` only.

It gets no key, no address and no way to the network: an environment of a few harmless variables, in which every proxy
is a port that nobody listens on.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from membrain_cli.doctor.finding import Finding, Patient

LIMIT = 10.0
"""Seconds that a program may take to say its version; some load a whole interpreter for it."""

KEPT = ("PATH", "HOME", "USERPROFILE", "LANG", "TMPDIR", "TEMP", "SYSTEMROOT")
NOWHERE = "http://127.0.0.1:9"
QUIET = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), NOWHERE),
    "DISABLE_AUTOUPDATER": "1",
    "AIDER_CHECK_UPDATE": "false",
    "NO_COLOR": "1",
}
"""What a program is told so that it asks nobody."""

VERSION = re.compile(r"\d+\.\d+[\w.+-]*", re.ASCII)


def installed(patient: Patient, name: str, install: str) -> Finding:
    """Whether the program *name* is on the PATH, and its version. *install* is the command that gets it."""
    path = shutil.which(name, path=patient.environ.get("PATH", ""))
    if path is None:
        return Finding("broken", name, "not installed: it is not on the PATH", install)
    told = version(path, patient.environ)
    if told is None:
        return Finding("look", name, "installed, but does not say its version", f"{name} --version")
    return Finding("fine", name, told)


def version(path: str, environ: Mapping[str, str]) -> str | None:
    """What the program at *path* says its version is; None if it does not, or takes too long."""
    kept = {name: environ[name] for name in KEPT if name in environ}
    try:
        done = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT,
            env={**kept, **QUIET},
            cwd=Path(path).absolute().anchor,  # where no settings of a folder are read
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = VERSION.search(done.stdout.decode("utf-8", "replace"))
    return found[0][:40] if found and done.returncode == 0 else None
