"""Where the files of one instance live, and how files for one user's eyes are made.

Three folders, of mode 0700 whatever the umask: settings, data, state. They are those of the platform, or all three
under `MEMBRAIN_HOME`, so that several instances can run side by side. What is in the files is not known here.
On Windows the user's own profile folder is the wall; modes and owners are checked on POSIX only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from membrain.errors import Misconfigured

POSIX = os.name == "posix"
PEPPER_BYTES = 32

# Flags that one platform or the other does not know; 0 asks for nothing.
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = getattr(os, "O_DIRECTORY", 0)
_PLAIN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | _NO_FOLLOW
_EXCLUSIVE = os.O_WRONLY | os.O_CREAT | os.O_EXCL


@dataclass(frozen=True)
class Places:
    """The folders of one instance, and the files in them. Nothing exists until `create`."""

    config: Path
    data: Path
    state: Path
    home: Path | None = None
    """The folder around the three, if `MEMBRAIN_HOME` named one."""

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Places:
        """The places of this environment: under `MEMBRAIN_HOME`, else where the platform keeps such things."""
        if chosen := environ.get("MEMBRAIN_HOME"):
            home = _home(chosen)
            return cls(home / "config", home / "data", home / "state", home)
        from platformdirs import PlatformDirs

        dirs = PlatformDirs("membrain", appauthor=False)
        return cls(dirs.user_config_path, dirs.user_data_path, dirs.user_state_path)

    @property
    def config_file(self) -> Path:
        """The settings."""
        return self.config / "config.toml"

    @property
    def keys_file(self) -> Path:
        """Provider keys, if `secrets.backend` is `file`."""
        return self.config / "keys.json"

    @property
    def database(self) -> Path:
        """Audit records and client keys (SQLite)."""
        return self.data / "membrain.db"

    @property
    def models(self) -> Path:
        """Weights of the embedded model."""
        return self.data / "models"

    @property
    def pepper_file(self) -> Path:
        """What client keys are hashed with."""
        return self.data / "pepper"

    @property
    def placeholder_key_file(self) -> Path:
        """The key of the placeholders, where there is no keyring."""
        return self.data / "placeholder_key"

    @property
    def lists_file(self) -> Path:
        """The user's own private values, and those never to be masked."""
        return self.config / "pii.toml"

    @property
    def machine_key_file(self) -> Path:
        """The client key of this machine's own commands."""
        return self.data / "machine_key"

    @property
    def log_file(self) -> Path:
        """What the gateway says."""
        return self.state / "gateway.log"

    @property
    def state_file(self) -> Path:
        """Who is running: pid, port, instance."""
        return self.state / "gateway.json"

    @property
    def lock_file(self) -> Path:
        """Held by the one gateway of this instance."""
        return self.state / "gateway.lock"

    @property
    def instance_lock(self) -> Path:
        """Held by the running gateway, so that there is only one."""
        return self.state / "instance.lock"

    @property
    def history_file(self) -> Path:
        """Lines typed in the chat."""
        return self.state / "history"

    def create(self) -> Places:
        """Make the folders, or make sure that they are this user's own; gives itself.

        Raises `Misconfigured` for a symbolic link, something that is no folder, or a folder of another user.
        """
        if self.home is not None:
            # A folder that the user chose keeps the mode they gave it: it may hold other things.
            own_folder(self.home, tighten=False)
        for folder in (self.config, self.data, self.state):
            own_folder(folder)
        return self

    def read_or_make_pepper(self) -> bytes:
        """The 32 random bytes of this instance, made once.

        Raises `Misconfigured` for a file of another length: an empty pepper would make every digest guessable.
        """
        try:
            pepper = read_private(self.pepper_file)
        except FileNotFoundError:
            _write_first(self.pepper_file, os.urandom(PEPPER_BYTES))
            pepper = read_private(self.pepper_file)
        if len(pepper) != PEPPER_BYTES:
            raise Misconfigured(
                f"{self.pepper_file} holds {len(pepper)} bytes instead of {PEPPER_BYTES}, "
                "so no client key can be checked.",
                hint=f"Put the file back, or remove it and issue new client keys:  rm {self.pepper_file}",
            )
        return pepper


def own_folder(path: Path, *, tighten: bool = True) -> None:
    """Make *path* with mode 0700, or vouch for the one that is there (and make it 0700, unless told not to).

    Missing folders above it are made 0700 too. Raises `Misconfigured` as `Places.create` says.
    """
    try:
        for folder in reversed([path, *path.parents]):
            if not folder.exists():
                _make_folder(folder)
        if POSIX:
            _vouch_for_folder(path, tighten=tighten)
    except OSError as error:
        said = f"{path} is a symbolic link" if path.is_symlink() else f"{path}: {error.strerror}"
        raise Misconfigured(
            f"{said}; Membrain needs a folder of its own here.",
            hint="Put a folder there, or choose another place:  export MEMBRAIN_HOME=…",
        ) from error


def open_private(path: Path, flags: int = _EXCLUSIVE) -> int:
    """Open *path* for this user alone and give the file descriptor; *flags* are those of `os.open`.

    A file that is made has mode 0600 whatever the umask, and one that was there is tightened to it. Links are not
    followed. By default the file must not exist yet. Raises `OSError` as `os.open` does, and `Misconfigured` for a
    link, something that is no file, or a file of another user.
    """
    descriptor = _open(path, flags)
    try:
        info = _vouch_for_file(descriptor, path)
        if POSIX and stat.S_IMODE(info.st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_private(path: Path) -> bytes:
    """The content of a file that only this user can read.

    Raises `FileNotFoundError`, and `Misconfigured` if others can read it: tightened now, it would still have been
    read before.
    """
    with os.fdopen(_open(path, os.O_RDONLY), "rb") as file:
        info = _vouch_for_file(file.fileno(), path)
        if POSIX and info.st_mode & 0o077:
            raise Misconfigured(f"{path} can be read by other users.", hint=f"chmod 600 {path}")
        return file.read()


def write_private(path: Path, content: bytes) -> None:
    """Put *content* in place of *path* in one step, mode 0600: a reader sees the old file or the new one, whole."""
    draft = _draft(path, content)
    try:
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _settle(path.parent)


def _home(chosen: str) -> Path:
    """The folder that `MEMBRAIN_HOME` names, in full: the gateway may run in another working directory."""
    try:
        return Path(chosen).expanduser().resolve()
    except (RuntimeError, ValueError, OSError) as error:
        raise Misconfigured("MEMBRAIN_HOME names no folder.", hint="unset MEMBRAIN_HOME") from error


def _write_first(path: Path, content: bytes) -> None:
    """Put *content* at *path*, unless somebody was faster: then theirs stays."""
    draft = _draft(path, content)
    try:
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    except OSError:
        # No hard links on this file system; a rename can only lose to somebody in the same millisecond.
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    _settle(path.parent)


def _draft(path: Path, content: bytes) -> Path:
    """A file beside *path* that holds *content*, on the disk."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with os.fdopen(open_private(draft), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft


def _settle(folder: Path) -> None:
    """Make a rename in *folder* outlive a power cut."""
    if POSIX:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | _PLAIN, 0o600)
    except OSError as error:
        if path.is_symlink():
            raise Misconfigured(f"{path} is a symbolic link; it must be a file.", hint=f"rm {path}") from error
        raise


def _vouch_for_file(descriptor: int, path: Path) -> os.stat_result:
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        raise Misconfigured(f"{path} is no plain file.", hint=f"rm {path}")
    if _is_foreign(info):
        raise Misconfigured(f"{path} belongs to another user.", hint=f"ls -l {path}")
    return info


def _make_folder(folder: Path) -> None:
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        folder.chmod(0o700)  # the umask may have taken bits away


def _vouch_for_folder(path: Path, *, tighten: bool) -> None:
    descriptor = os.open(path, os.O_RDONLY | _FOLDER | _NO_FOLLOW)
    try:
        info = os.fstat(descriptor)
        if _is_foreign(info):
            raise Misconfigured(
                f"{path} belongs to another user.", hint="Choose another place:  export MEMBRAIN_HOME=…"
            )
        if tighten and stat.S_IMODE(info.st_mode) != 0o700:
            os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def _is_foreign(info: os.stat_result) -> bool:
    return POSIX and info.st_uid != os.geteuid()
