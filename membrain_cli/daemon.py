"""The gateway as a process: start it, find it, prove it is ours, wait for it, stop it, read its log.

The state file is only a claim. It is believed once `/health` at its address proves with an HMAC that it knows
the instance's secret; until then nothing is sent there, and no process is signalled. Asks the gateway nothing
else (that is `reach`), and reads no settings: it is told the port.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from membrain.places import Places

READY_LIMIT = 15.0
"""Seconds a gateway may take from its start to its first proof."""
STEP = 0.015
"""Seconds between two looks at a gateway that is starting or stopping."""
GRACE = 1.0
"""Seconds a gateway that did not come up has to end by itself."""
HEALTH_LIMIT = 3.0
"""Seconds `/health` may take."""
LOG_LIMIT = 10_000_000
"""Bytes after which the log starts anew at the next start; one older log is kept."""
BODY_LIMIT = 16_000_000
"""Bytes that are read of an answer on the control path."""

POINTERS = ("OPENAI_BASE_URL", "OPENAI_API_BASE", "ANTHROPIC_BASE_URL")
"""Variables by which tools find us; the gateway must not find itself by them."""
CREDENTIALS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
"""Variables that hold a provider's key, unless `membrain env` put one of ours in."""

MISCONFIGURED = 2
"""Exit status of a gateway whose settings cannot work; its last line says which."""
TAKEN = 3
"""Exit status of a gateway whose port is taken."""


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that has proven to be this instance's own."""

    pid: int
    host: str
    port: int
    url: str
    started: str
    version: str
    health: dict[str, Any]
    """Its answer to `/health`."""


class StartError(Exception):
    """The gateway ended while it was starting, or took too long.

    `status` is its exit status, None if it had to be stopped; `said` are its last lines in the log.
    """

    def __init__(self, status: int | None, said: list[str]) -> None:
        super().__init__("the gateway did not come up")
        self.status = status
        self.said = said


def surroundings() -> Mapping[str, str]:
    """The environment of this process, for those who may not look themselves."""
    return os.environ


# --- finding -----------------------------------------------------------------------------------------------


def is_up(environ: Mapping[str, str]) -> bool:
    """Whether this environment's gateway runs."""
    from membrain.places import Places

    return find(Places.find(environ)) is not None


def find(places: Places) -> Running | None:
    """The running gateway of *places*, proven; None if there is none, or only a stale or foreign claim."""
    claim = read_claim(places)
    if claim is None:
        return None
    challenge = os.urandom(16).hex()
    health = ask_health(claim["host"], claim["port"], challenge)
    if health is None or not proves(health, claim, challenge):
        return None
    if "providers" not in health:  # it tells strangers no more than that it is up, and now it may have our key
        health |= ask_health(claim["host"], claim["port"], challenge, key=machine_key(places)) or {}
    known = ("pid", "host", "port", "url", "started", "version")
    return Running(**{name: claim[name] for name in known}, health=health)


TEXTS = ("host", "url", "started", "version", "instance", "secret")
NUMBERS = ("pid", "port")


def read_claim(places: Places) -> dict[str, Any] | None:
    """What the state file says, if it is there, ours alone and whole."""
    from membrain.places import read_private

    try:
        claim = json.loads(read_private(places.state_file))
    except (OSError, ValueError):
        return None
    if not isinstance(claim, dict):
        return None
    texts = all(isinstance(claim.get(name), str) for name in TEXTS)
    numbers = all(isinstance(claim.get(name), int) for name in NUMBERS)
    return claim if texts and numbers and claim["pid"] > 1 else None


def machine_key(places: Places) -> str:
    """The client key of this machine's own commands; empty if there is none. For a gateway that has proven itself."""
    from membrain.places import read_private

    try:
        return read_private(places.machine_key_file).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def ask_health(
    host: str, port: int, challenge: str, limit: float = HEALTH_LIMIT, *, key: str = ""
) -> dict[str, Any] | None:
    """What `/health` answers there; None if it is not an answer of that kind."""
    headers = {"x-membrain-api-key": key} if key else {}
    try:
        path = f"/health?challenge={challenge}"
        status, body = exchange(host, port, "GET", path, headers=headers, timeout=limit)
        health = json.loads(body)
    except (OSError, ValueError):
        return None
    return health if status == 200 and isinstance(health, dict) else None


def proves(health: dict[str, Any], claim: dict[str, Any], challenge: str) -> bool:
    """Whether *health* comes from the instance that wrote *claim*."""
    if health.get("instance") != claim["instance"]:
        return False
    proof, key = health.get("proof"), claim["secret"]
    try:
        expected = hmac.digest(bytes.fromhex(key), challenge.encode(), "sha256").hex()
    except ValueError:
        return False
    return isinstance(proof, str) and hmac.compare_digest(proof.encode(), expected.encode())


def exchange(
    host: str,
    port: int,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float,
) -> tuple[int, bytes]:
    """One plain HTTP exchange on the control path: the status and the body. Raises only `OSError`."""
    import http.client

    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read(BODY_LIMIT)
    except http.client.HTTPException as error:
        raise ConnectionError(f"{type(error).__name__} at port {port}") from error
    finally:
        connection.close()


# --- starting ----------------------------------------------------------------------------------------------


def child_environment(environ: Mapping[str, str], places: Places, port: int | None) -> dict[str, str]:
    """What the gateway is started with: this environment without what would make it call itself."""
    ours = {name for name in CREDENTIALS if environ.get(name, "").startswith("ck_")}
    kept = {name: value for name, value in environ.items() if name not in ours and name not in POINTERS}
    if places.home is not None:
        kept["MEMBRAIN_HOME"] = str(places.home)  # it may have been relative to here
    if port is not None:
        kept["MEMBRAIN_PORT"] = str(port)
    return kept


def command() -> list[str]:
    """How the gateway is started. `-P`: nothing of the folder one stands in may be imported."""
    return [sys.executable, "-P", "-m", "membrain"]


def start(places: Places, environ: Mapping[str, str], port: int | None) -> tuple[Running, bool]:
    """The running gateway of *places*, started in the background if need be; and whether it was.

    Of many starts at once one starts it, because the gateway itself holds the lock for as long as it lives; the
    others wait until they find it. Raises `StartError`.
    """
    with locked(places) as descriptor:
        if descriptor is None:
            running = find(places)
            if running is None:
                raise StartError(None, ["another gateway of this home is running, but does not answer"])
            return running, False
        begin = turn_log(places)
        child = spawn(places, child_environment(environ, places, port), descriptor)
        try:
            return wait_ready(places, child, begin), True
        except BaseException:  # ctrl-c too: what was not finished leaves nothing behind
            put_down(child)
            raise
        finally:
            let_go(child)


@contextlib.contextmanager
def locked(places: Places) -> Iterator[int | None]:
    """The descriptor that holds the lock of *places*; None once a gateway that holds it already answers."""
    from membrain.places import open_private

    descriptor = open_private(places.create().lock_file, os.O_RDWR | os.O_CREAT)
    try:
        yield descriptor if wait_for_lock(places, descriptor) else None
    finally:
        os.close(descriptor)


def wait_for_lock(places: Places, descriptor: int) -> bool:
    """Whether the lock is ours now. It is not when a gateway answers that is not on its way out, or time is up."""
    limit = time.monotonic() + READY_LIMIT
    while time.monotonic() < limit:
        running = find(places)
        if running is not None and running.health.get("status") != "draining":
            return False
        if running is None and try_lock(descriptor):
            return find(places) is None  # it may have come up between the two questions, without a lock
        time.sleep(STEP)
    return False


def try_lock(descriptor: int) -> bool:
    """Take the lock on *descriptor* if it is free. It is held until the last process that inherits it ends."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def spawn(places: Places, environ: dict[str, str], descriptor: int) -> subprocess.Popen[bytes]:
    """Start the gateway on its own: its own session, no terminal, both outputs to its log, the lock in its hand."""
    from membrain.places import open_private

    log = open_private(places.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        return subprocess.Popen(
            command(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=places.state,
            env=environ,
            start_new_session=True,
            pass_fds=(descriptor,) if os.name == "posix" else (),
        )
    finally:
        os.close(log)


def let_go(child: subprocess.Popen[bytes]) -> None:
    """Leave *child* to itself. It is meant to outlive us, which `Popen` would warn about."""
    if child.poll() is None:
        child.returncode = 0


def wait_ready(places: Places, child: subprocess.Popen[bytes], begin: int) -> Running:
    """The gateway, once it proves itself. Raises `StartError` when it dies, or after `READY_LIMIT`."""
    limit = time.monotonic() + READY_LIMIT
    while time.monotonic() < limit:
        if (running := find(places)) is not None:
            return running
        if (status := child.poll()) is not None:
            raise StartError(status, log_since(places, begin))
        time.sleep(STEP)
    raise StartError(None, log_since(places, begin))


def put_down(child: subprocess.Popen[bytes]) -> None:
    """End a gateway that did not come up: politely, then not."""
    child.terminate()
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def become(places: Places, environ: Mapping[str, str], port: int | None) -> Running | None:
    """Turn this process into the gateway, for `--foreground`. Comes back only where one runs already: with it."""
    with locked(places) as descriptor:
        if descriptor is not None:
            os.set_inheritable(descriptor, True)
            os.chdir(places.state)
            os.execve(sys.executable, command(), child_environment(environ, places, port))  # noqa: S606  # no shell
    return find(places)


# --- stopping ----------------------------------------------------------------------------------------------


def ask_to_stop(running: Running) -> None:
    """Tell a proven gateway to drain and end."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGTERM)


def wait_gone(running: Running, seconds: float) -> bool:
    """Whether the gateway's process has ended within *seconds*."""
    limit = time.monotonic() + seconds
    # On Windows, asking a process whether it lives would be a signal that ends it.
    while is_alive(running.pid) if os.name == "posix" else is_listening(running.host, running.port):
        if time.monotonic() >= limit:
            return False
        time.sleep(STEP)
    return True


def is_alive(pid: int) -> bool:
    """Whether a process of that number runs; one that has ended and only waits for its parent does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        facts = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return not Path("/proc/self").exists()  # without /proc the kill above is all we can ask
    state, threads = facts[0], int(facts[17])
    return state not in {"Z", "X"} or threads > 1  # its first thread may be gone before the others


# --- who holds the port ------------------------------------------------------------------------------------


def is_listening(host: str, port: int) -> bool:
    """Whether somebody listens on *port*."""
    import socket

    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def environment_of(pid: int) -> dict[str, str] | None:
    """The environment that a process of ours was started with; None where the system does not tell."""
    try:
        told = Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace")
    except OSError:
        return None
    return dict(each.split("=", 1) for each in told.split("\0") if "=" in each)


def holder(host: str, port: int) -> str:
    """Who listens on *port*, for people: another Membrain, a program with its pid, or "another program"."""
    health = ask_health(host, port, os.urandom(16).hex(), limit=1.0)
    program = listening_program(port)
    if health is not None and "instance" in health and "auth" in health:
        return f"another Membrain with a home of its own{f' ({program[1]})' if program else ''}"
    return f"{program[0]} ({program[1]})" if program else "another program"


def listening_program(port: int) -> tuple[str, str] | None:
    """Name and "pid 123" of who listens on *port*, where the system tells us."""
    if Path("/proc/net/tcp").exists():
        return listening_on_linux(port)
    return listening_by_lsof(port)


def listening_on_linux(port: int) -> tuple[str, str] | None:
    """Look the port up in /proc: its socket, and the process that has it open (if we may see it)."""
    wanted = {f"socket:[{inode}]" for inode in listening_sockets(port)}
    for process in Path("/proc").glob("[0-9]*"):
        if wanted & set(open_files(process)):
            with contextlib.suppress(OSError):
                return (process / "comm").read_text("utf-8", "replace").strip(), f"pid {process.name}"
    return None


def listening_sockets(port: int) -> Iterator[str]:
    """Inodes of the sockets that listen on *port*, of both families."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text("ascii").splitlines()[1:]:
                cells = line.split()
                if cells[3] == "0A" and int(cells[1].rpartition(":")[2], 16) == port:
                    yield cells[9]


def open_files(process: Path) -> Iterator[str]:
    """What the files of a process point at, as far as we may look."""
    with contextlib.suppress(OSError):
        for link in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                yield str(link.readlink())


def listening_by_lsof(port: int) -> tuple[str, str] | None:
    """Ask `lsof`, where there is no /proc."""
    asked = ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    facts = {line[0]: line[1:] for line in told.splitlines() if line}
    return (facts["c"], f"pid {facts['p']}") if {"c", "p"} <= facts.keys() else None


# --- an editor ---------------------------------------------------------------------------------------------


def edit(path: Path, environ: Mapping[str, str]) -> bool:
    """Open *path* in the user's editor and wait; whether the editor ended well. A new file is this user's alone."""
    import shlex
    import shutil

    from membrain.places import open_private

    chosen = environ.get("VISUAL") or environ.get("EDITOR")
    found = shlex.split(chosen) if chosen else [name for name in ("nano", "vi", "notepad") if shutil.which(name)][:1]
    if not path.exists():
        os.close(open_private(path))
    try:
        return bool(found) and subprocess.run([*found, str(path)], env=dict(environ), check=False).returncode == 0
    except OSError:
        return False


# --- the log -----------------------------------------------------------------------------------------------


def turn_log(places: Places) -> int:
    """Begin a new log if the old one has grown large; the size of the log now."""
    places.create()
    try:
        size = places.log_file.stat().st_size
    except FileNotFoundError:
        return 0
    if size < LOG_LIMIT:
        return size
    places.log_file.replace(places.log_file.with_suffix(".log.1"))
    return 0


def log_since(places: Places, begin: int, lines: int = 5) -> list[str]:
    """The last *lines* that were logged after byte *begin*."""
    try:
        with places.log_file.open("rb") as log:
            log.seek(begin)
            said = log.read(1_000_000).decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return [line for line in said.splitlines() if line.strip()][-lines:]


def log_tail(path: Path, lines: int) -> tuple[list[str], int]:
    """The last *lines* of the log, and the byte at which it ends. Reads the file from its end."""
    with path.open("rb") as log:
        end = start = log.seek(0, os.SEEK_END)
        tail = b""
        while start > 0 and tail.count(b"\n") <= lines:
            length = min(start, 65_536)
            start = log.seek(start - length)
            tail = log.read(length) + tail
    kept = tail.decode("utf-8", "replace").splitlines()
    return kept[-lines:] if lines else [], end


def follow_log(path: Path, position: int) -> Iterator[str]:
    """Lines as they are logged after byte *position*, for ever; goes on when the log is begun anew."""
    rest = b""
    while True:
        try:
            with path.open("rb") as log:
                if log.seek(0, os.SEEK_END) < position:
                    position, rest = 0, b""
                log.seek(position)
                fresh = log.read()
        except FileNotFoundError:
            position, rest, fresh = 0, b"", b""
        position += len(fresh)
        *whole, rest = (rest + fresh).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in whole)
        time.sleep(0.2)
