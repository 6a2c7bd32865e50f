"""The head of the audit's chain, kept where the database is not, and the key that seals both.

A chain shows what was changed in it, and not that its end is gone: for that, somebody has to remember how far it went.
Each commit notes one line in a file beside the database, and the operating system's keyring gets the last one now and
then. What the database should say, and whether it does, is not decided here.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import logging
import os
import secrets as chance
import threading
from contextlib import closing, suppress
from pathlib import Path

from membrain.errors import AuditUnavailable, MembrainError, Misconfigured
from membrain.places import Places, open_private, read_private, write_private
from membrain.secrets import Secrets
from membrain.stores.chain import DIGEST_BYTES, Head
from membrain.stores.database import connect_reader

log = logging.getLogger("membrain.heads")

SEAL, HEAD = "audit", "audit-head"
"""Under which names the key and the head are kept among the gateway's own secrets."""

MOST_BYTES = 1 << 20
"""How long the file may grow before it is begun anew with its last line: some 6,000 lines."""

SECONDS = 60.0
"""How long the keyring's head may be behind while something happens."""

PATIENCE = 3.0
"""Seconds that a keyring may take at the end."""

MOST_PROOFS = 16
"""Heads that the database contradicts, which are kept for good."""


# The key


def key_file(places: Places) -> Path:
    """Where the key is kept without a keyring."""
    return places.data / "seal_key"


def head_file(places: Places) -> Path:
    """Where the heads are noted."""
    return places.data / "audit.head"


def seal_key(secrets: Secrets | None, places: Places) -> bytes:
    """The 32 bytes that the audit is sealed with: made once, kept in the keyring, or in a file only this user can read.

    Misconfigured if there is none although something was sealed: with a new one, nobody could check the old records.
    """
    text, reason = _kept(secrets, places)
    if text is None:
        if _is_begun(places):
            raise Misconfigured(
                "The key that the audit was sealed with is gone" + (f": {reason}" if reason else "."),
                hint=f"Put it back into {key_file(places)} or unlock the keyring. Without it, only a new audit helps: "
                f"move {places.database} and {head_file(places)} away, then: membrain up",
            )
        text = _made(secrets if reason is None else None, places)
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != DIGEST_BYTES:
        raise Misconfigured(f"The key that seals the audit is damaged ({key_file(places)} or the keyring).")
    return key


def _kept(secrets: Secrets | None, places: Places) -> tuple[str | None, str | None]:
    """The key that is kept, or why nobody can say whether there is one."""
    with suppress(FileNotFoundError):
        return read_private(key_file(places)).decode("ascii", "replace").strip(), None
    if secrets is None:
        return None, None
    try:
        return secrets.own(SEAL), None
    except Misconfigured as error:
        return None, error.message


def _made(secrets: Secrets | None, places: Places) -> str:
    """A new key, from now on kept in the keyring, or else in the file."""
    text = chance.token_hex(DIGEST_BYTES)
    if secrets is not None:
        try:
            secrets.keep_own(SEAL, text)
        except Misconfigured as error:
            log.info("the key of the audit is kept in a file: %s", error.message)
        else:
            return text
    places.create()
    with suppress(FileExistsError), os.fdopen(open_private(key_file(places)), "wb") as file:
        file.write(text.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return read_private(key_file(places)).decode("ascii", "replace").strip()  # somebody may have been faster


def _is_begun(places: Places) -> bool:
    """Whether anything was sealed so far."""
    if head_file(places).exists():
        return True
    if not places.database.exists():
        return False
    import sqlite3

    try:
        with closing(connect_reader(places.database)) as database:
            found = database.execute("SELECT EXISTS (SELECT 1 FROM entries WHERE seal IS NOT NULL)").fetchone()
    except (sqlite3.Error, Misconfigured):
        return False  # of an older Membrain, or not to be read: whoever opens it says so
    return bool(found[0])


# One line


def sign(head: Head, key: bytes) -> str:
    """A head as one line that can be kept anywhere: number, seal, time, and a seal over these three."""
    said = f"{head.seq} {head.seal} {head.at}"
    return f"{said} {_mac(key, said)}"


def read(line: str, key: bytes) -> Head | None:
    """The head that a line tells of; None if it was not signed with this key."""
    said, _, mac = line.strip().rpartition(" ")
    parts = said.split(" ")
    if len(parts) != 3 or not hmac.compare_digest(_mac(key, said).encode(), mac.encode()):
        return None
    return Head(int(parts[0]), parts[1], parts[2])


def _mac(key: bytes, said: str) -> str:
    """Never the same as a seal of the chain: what is signed begins with words, and theirs with 32 bytes of a seal."""
    return hmac.digest(key, b"membrain audit head " + said.encode(), hashlib.sha256).hex()


# All that was noted


class Heads:
    """Notes each head in the file at once, and the last one in the keyring within a minute.

    `append`, `doubtful` and `contradicted` belong to the thread that writes the audit. A keyring that fails is noted
    in `fault` and ends nothing. *full* makes each line outlive a power cut.
    """

    def __init__(self, places: Places, key: bytes, secrets: Secrets | None = None, *, full: bool = False) -> None:
        """Opens nothing yet."""
        self._places = places
        self._path = head_file(places)
        self._key = key
        self._secrets = secrets if secrets is not None and secrets.backend == "keyring" else None
        self._full = full
        self._lock = threading.Lock()
        self._telling = threading.Lock()
        self._file: int | None = None
        self._last: Head | None = None
        self._doubtful: list[Head] = []
        self._proofs: list[Head] = []
        self._timer: threading.Timer | None = None
        self._looked = self._asked = self._closed = False
        self.fault: str | None = None
        """Why the keyring could not be asked or told, the last time."""

    # Reading

    def known(self) -> list[Head]:
        """Every head that was noted, in the file and in the keyring; `unsigned` says how many lines were not ours."""
        heads, _ = self._split(self._lines())
        return heads

    def unsigned(self) -> int:
        """How many lines there are that were not signed with our key: written by somebody else, or torn by a crash."""
        _, others = self._split(self._lines())
        return others

    def _split(self, lines: list[str]) -> tuple[list[Head], int]:
        heads = [head for line in dict.fromkeys(lines) if (head := read(line, self._key)) is not None]
        return heads, len(dict.fromkeys(lines)) - len(heads)

    def _lines(self) -> list[str]:
        return [*self._file_lines(), *self._ring_lines()]

    def _file_lines(self) -> list[str]:
        try:
            content = read_private(self._path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise AuditUnavailable(f"{self._path} cannot be read: {error.strerror}.") from None
        return [line for line in content.decode("ascii", "replace").split("\n") if line.strip()]

    def _ring_lines(self) -> list[str]:
        if self._secrets is None:
            return []
        try:
            text = self._secrets.own(HEAD) or ""
        except Misconfigured as error:
            self._trouble(error)
            return []
        return [line for line in text.split("\n") if line.strip()]

    # Noting

    def append(self, head: Head) -> None:
        """Note how far the chain goes now. AuditUnavailable when that is impossible."""
        line = sign(head, self._key).encode() + b"\n"
        try:
            if self._file is None:
                self._file = self._opened()
            there = os.fstat(self._file)
            if not there.st_nlink:  # somebody removed it
                self._let_go()
                self._file = self._opened()
            if os.write(self._file, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._full:
                os.fsync(self._file)
            self._last = head
            if there.st_size >= MOST_BYTES:
                self._begin_anew()
        except OSError as error:
            self._let_go()
            raise AuditUnavailable(f"The audit's head cannot be noted: {error.strerror}.") from None
        if self._secrets is not None:
            self._soon()

    def doubtful(self) -> list[Head]:
        """Heads that were noted before this run, and not looked up yet."""
        if not self._looked:  # the file's at once; the keyring's come when it has answered
            noted, _ = self._split(self._file_lines())
            self._looked = True
            with self._lock:
                self._doubtful += noted
        if not self._doubtful:
            return []
        with self._lock:
            given, self._doubtful = self._doubtful, []
        return given

    def contradicted(self, head: Head) -> None:
        """The database does not hold this head: it is the proof, so it stays."""
        with self._lock:
            if head in self._proofs or len(self._proofs) >= MOST_PROOFS:
                return
            self._proofs.append(head)
        log.error("the audit does not hold record %d as it was noted: see membrain audit verify", head.seq)

    def close(self) -> None:
        """Note the last head in the keyring too, and let go of the file."""
        with self._lock:
            self._closed = True
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if self._secrets is not None and self._last is not None:
            telling = threading.Thread(target=self._tell, name="membrain-heads", daemon=True)
            telling.start()
            telling.join(PATIENCE)
        self._let_go()

    def _opened(self) -> int:
        """The file to append to; a line that a crash tore is ended first."""
        if not self._path.parent.exists():
            self._places.create()
        file = open_private(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            os.write(file, b"\n")
        return file

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _begin_anew(self) -> None:
        """Only the proofs and the last line stay."""
        self._let_go()
        write_private(self._path, self._short().encode())

    def _short(self) -> str:
        """The lines that say it all: what is contradicted, what nobody has looked up yet, and the last."""
        with self._lock:
            heads = [*self._proofs, *self._doubtful, *([self._last] if self._last else [])]
        return "".join(f"{sign(head, self._key)}\n" for head in dict.fromkeys(heads))

    # The keyring

    def _soon(self) -> None:
        """Tell the keyring within a minute, in a thread of its own: it may take its time, or ask a person."""
        with self._lock:
            if self._secrets is None or self._timer is not None or self._closed:
                return
            self._timer = threading.Timer(SECONDS if self._asked else 0.0, self._tell_now)
            self._timer.daemon = True
            self._timer.name = "membrain-heads"
        self._timer.start()

    def _tell_now(self) -> None:
        self._tell()
        with self._lock:
            self._timer = None

    def _tell(self) -> None:
        """Note in the keyring; what stood there is looked up in the database before it may go."""
        with self._telling:
            if self._secrets is None:
                return
            try:
                if not self._asked:
                    before, _ = self._split([line for line in (self._secrets.own(HEAD) or "").split("\n") if line])
                    with self._lock:
                        self._doubtful += before
                    self._asked = True
                self._secrets.keep_own(HEAD, self._short())
                self.fault = None
            except MembrainError as error:
                self._trouble(error)

    def _trouble(self, error: MembrainError) -> None:
        if self.fault != error.message:
            log.info("the audit's head is noted in its file only: %s", error.message)
        self.fault = error.message
