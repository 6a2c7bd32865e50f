"""A store that is full, read-only, locked, damaged or gone: nothing leaves without a record, and people are told why.

Each fault is a real one, made while a real gateway runs. What comes after it is refused with 503 and the reason, never
reaches an upstream, and a stream that ran ends with an error event. `membrain doctor` names the fault.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.shell import environment, membrain
from tests.served import Answer, Served
from tests.sink import Sink

LONG_STREAM = "gpt-slow-200-chunks-8"
TRIES = 20
"""After a disk is full there may be room for a few records more, in what the store has already."""

_UNBOUND = """#!/bin/sh
exec {python} -c '
import ctypes, os, sys
prctl = getattr(ctypes.CDLL(None), "prctl", None)
for capability in (1, 2) if prctl else ():  # to write and to read whatever the mode says
    prctl(24, capability, 0, 0, 0)
os.execv("{python}", ["{python}", *sys.argv[1:]])' "$@"
"""
"""Python for whom a file's mode holds, even where the tests run as root."""


def database(served: Served) -> Path:
    return served.home / "data" / "membrain.db"


# --- the faults


@contextmanager
def full(served: Served) -> Iterator[None]:
    """No byte is left on the disk; without the right to mount one, no file may grow."""
    ballast = served.home / "data" / "ballast"
    if not os.path.ismount(ballast.parent):
        limits = resource.prlimit(served.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(served.pid, resource.RLIMIT_FSIZE, (4096, limits[1]))
        yield
        resource.prlimit(served.pid, resource.RLIMIT_FSIZE, limits)
        return
    file = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(file, bytes(4096))
    except OSError:
        os.close(file)
    yield
    ballast.unlink()


def whole_copy(served: Served) -> Path:
    """The store as it is, in one file beside it."""
    path = database(served)
    with closing(sqlite3.connect(path)) as store:
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)
    return copy


@contextmanager
def read_only(served: Served) -> Iterator[None]:
    """Somebody put a copy in its place that may only be read."""
    copy = whole_copy(served)
    copy.chmod(0o400)
    copy.replace(database(served))
    yield
    database(served).chmod(0o600)


@contextmanager
def locked(served: Served) -> Iterator[None]:
    """Another program writes, and does not end."""
    with closing(sqlite3.connect(database(served), isolation_level=None)) as store:
        store.execute("BEGIN EXCLUSIVE")
        yield
        store.execute("ROLLBACK")


@contextmanager
def damaged(served: Served) -> Iterator[None]:
    """Its pages were overwritten but for the first."""
    copy = whole_copy(served)
    content = copy.read_bytes()
    copy.write_bytes(content[:4096] + os.urandom(len(content) - 4096))
    copy.replace(database(served))
    yield


@contextmanager
def overwritten(served: Served) -> Iterator[None]:
    """Something else is in its place."""
    other = database(served).with_name("other")
    other.write_bytes(b"once upon a time" * 4096)
    other.replace(database(served))
    yield


@dataclass(frozen=True)
class Fault:
    """A way to fail, the words for it, and whether all is well once it is over."""

    make: Callable[[Served], AbstractContextManager[None]]
    reason: str
    doctor: str
    heals: bool = True


FAULTS = {
    "full": Fault(full, "the disk is full", "the disk is full"),
    "read-only": Fault(read_only, "its file is read-only", "its file is read-only"),
    "locked": Fault(locked, "another program has held it for more than 2 seconds", "another program has held it"),
    "damaged": Fault(damaged, "its file is damaged", "damaged", heals=False),
    "overwritten": Fault(overwritten, "its file is damaged or not a database", "damaged", heals=False),
}


# --- a gateway to fail


@pytest.fixture
def small_disk(home: Path) -> Iterator[None]:
    """A disk of 4 MB under the store, where we may mount one."""
    folder = home / "data"
    folder.mkdir(parents=True, mode=0o700)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", folder], capture_output=True)
    yield
    if not mounted.returncode:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def served(
    home: Path, small_disk: None, sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Served]:
    unbound = tmp_path / "python"
    unbound.write_text(_UNBOUND.format(python=sys.executable))
    unbound.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(unbound))
    with Served(home, sink, MEMBRAIN_ROUTING_ATTEMPTS="1") as served:
        yield served
        served.assert_sound()


def begun_stream(served: Served) -> socket.socket:
    """A stream whose first words are here."""
    body = json.dumps({"model": LONG_STREAM, "stream": True, "messages": [{"role": "user", "content": "Go on"}]})
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
        f"Connection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    caller = socket.create_connection(("127.0.0.1", served.port), timeout=20)
    caller.sendall(head.encode() + body.encode())
    assert b"200 OK" in caller.recv(65536)
    return caller


def rest_of(caller: socket.socket) -> bytes:
    heard = b""
    with closing(caller):
        while piece := caller.recv(65536):
            heard += piece
    return heard


def asked_until_refused(served: Served, in_a_row: int = 3) -> None:
    """One after the other, as several at once need more room; and then a few times, as a short one needs less."""
    for _ in range(TRIES):
        if all(served.chat().status == 503 for _ in range(in_a_row)):
            return
    raise AssertionError("it is never refused")


def asked_of(sink: Sink) -> int:
    """How many questions came; a gateway also looks now and then which models there are."""
    return sum(request.method == "POST" for request in sink.requests)


def assert_refused(answer: Answer, reason: str) -> None:
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (503, "audit_unavailable")
    assert reason in error["message"]
    assert "membrain doctor" in error["message"]
    assert answer.headers["x-should-retry"] == "false"


def told_by_doctor(served: Served) -> list[str]:
    """What the doctor says of the store: state, name, words and remedy."""
    ran = membrain("doctor", environ=environment(served.home, MEMBRAIN_PORT=str(served.port)))
    (line,) = [line for line in ran.out.splitlines() if "\tstore\t" in line]
    return line.split("\t")


def assert_named(told: list[str], words: str) -> None:
    """The fault is told in one line, and what to do about it."""
    assert (told[0], len(told)) == ("broken", 4), told
    assert words in told[2]


def on_record(served: Served) -> int:
    with closing(sqlite3.connect(f"{database(served).as_uri()}?mode=ro", uri=True)) as store:
        count: int = store.execute("SELECT count(*) FROM exchanges").fetchone()[0]
    return count


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_nothing_leaves_while_the_store_fails_and_everybody_is_told_why(served: Served, sink: Sink, name: str) -> None:
    fault = FAULTS[name]
    reason, doctor = fault.reason, fault.doctor
    if name == "full" and not os.path.ismount(served.home / "data"):
        reason, doctor = "the disk reports an error", ""  # all that a limit on the size of files can do
    assert served.chat().status == 200
    stream = begun_stream(served)
    with fault.make(served):
        asked_until_refused(served, 3 if fault.make is full else 1)
        heard = rest_of(stream)
        sink.clear()
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda stream: served.chat(stream=stream), [False, True] * 2))
        for answer in answers:
            assert_refused(answer, reason)
        assert asked_of(sink) == 0
        if doctor:
            assert_named(told_by_doctor(served), doctor)
    assert b'"code":"audit_unavailable"' in heard
    assert b"[DONE]" not in heard
    if fault.heals:
        assert served.chat().status == 200


@pytest.mark.slow
def test_what_left_before_a_disk_was_full_is_on_record(served: Served, sink: Sink) -> None:
    """An outcome may find no room where its intent did, but nothing was sent without one."""
    assert served.chat().status == 200
    with full(served):
        asked_until_refused(served)
    assert 1 <= asked_of(sink) <= on_record(served)


@pytest.mark.slow
@pytest.mark.parametrize("whole_folder", [False, True])
def test_what_leaves_after_the_file_was_removed_is_on_record_in_a_new_one(
    served: Served, sink: Sink, whole_folder: bool
) -> None:
    assert served.chat().status == 200
    if whole_folder:
        for each in database(served).parent.iterdir():
            each.unlink()
    else:
        database(served).unlink()
    sink.clear()
    for _ in range(3):
        served.chat()
    assert 0 < asked_of(sink) <= on_record(served)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [damaged, overwritten], ids=lambda fault: fault.__name__)
def test_a_gateway_does_not_start_before_a_damaged_store(
    served: Served, fault: Callable[[Served], AbstractContextManager[None]]
) -> None:
    assert served.chat().status == 200
    served.stop()
    with fault(served):
        with pytest.raises(AssertionError, match="the gateway ended with") as ended:
            served.start()
        assert "damaged" in str(ended.value)
        assert "membrain doctor" in str(ended.value)
        assert "Traceback" not in str(ended.value)
        assert_named(told_by_doctor(served), "damaged")
