"""Whose process is at the other end: real connections, and a real other user where we may become one."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from membrain.api import peer
from membrain.api.peer import same_user

Address = tuple[str, int]
LOOPBACK = ["127.0.0.1", "::1"]
LINUX = sys.platform.startswith("linux")

STRANGER = """
import encodings.idna, json, os, socket, sys
os.setuid({uid})
connection = socket.create_connection(({host!r}, {port}))
print(json.dumps(connection.getsockname()[:2]), flush=True)
sys.stdin.read()
"""


@contextmanager
def listening(host: str) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.create_server((host, 0), family=family)) as listener:
        yield listener


def address(end: socket.socket) -> Address:
    host, port = end.getsockname()[:2]
    return host, port


@pytest.mark.parametrize("host", LOOPBACK)
def test_our_own_process_is_known(host: str) -> None:
    with listening(host) as listener, closing(socket.create_connection(listener.getsockname()[:2])) as client:
        assert same_user(address(client), address(listener)) is (True if LINUX else None)


@pytest.mark.parametrize("host", LOOPBACK)
def test_our_own_child_is_known(host: str) -> None:
    """A process of the same user, which is what a developer's tools are."""
    with listening(host) as listener, connected_as(os.getuid(), listener) as client:
        assert same_user(client, address(listener)) is (True if LINUX else None)


@pytest.mark.parametrize("host", LOOPBACK)
def test_another_user_is_known_for_one(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real one where we may become one; else we are the stranger to somebody else's gateway."""
    stranger = 65534 if os.getuid() == 0 else os.getuid()
    if os.getuid() != 0:
        monkeypatch.setattr(os, "getuid", lambda: 0)
    with listening(host) as listener, connected_as(stranger, listener) as client:
        assert same_user(client, address(listener)) is (False if LINUX else None)


@contextmanager
def connected_as(uid: int, listener: socket.socket) -> Iterator[Address]:
    """A connection that another process holds, as the user *uid*."""
    host, port = listener.getsockname()[:2]
    script = STRANGER.format(uid=uid, host=host, port=port)
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        yield found[0], found[1]
    finally:
        process.communicate()


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("listener_closes", [False, True])
def test_who_is_gone_is_a_stranger(host: str, listener_closes: bool) -> None:
    """The system shows a closed socket as root's; a root gateway must not fall for that."""
    with listening(host) as listener:
        client = socket.create_connection(listener.getsockname()[:2])
        accepted, _ = listener.accept()
        ends = address(client), address(listener)
        assert same_user(*ends) is (True if LINUX else None)
        client.close()
        if listener_closes:
            accepted.close()
        assert same_user(*ends) is (False if LINUX else None)
        accepted.close()


@pytest.mark.parametrize("host", LOOPBACK)
def test_who_only_stopped_talking_is_still_there(host: str) -> None:
    """Some clients close their sending side after the request."""
    with listening(host) as listener, closing(socket.create_connection(listener.getsockname()[:2])) as client:
        client.shutdown(socket.SHUT_WR)
        assert same_user(address(client), address(listener)) is (True if LINUX else None)


def test_an_address_that_nobody_has_is_a_strangers() -> None:
    assert same_user(("127.0.0.1", 1), ("127.0.0.1", 2)) is (False if LINUX else None)
    assert same_user(None, ("127.0.0.1", 2)) is (False if LINUX else None)


@pytest.mark.parametrize(
    ("number", "verdict"),
    [
        (errno.EMFILE, False),
        (errno.ENFILE, False),
        (errno.ENOBUFS, False),
        (errno.EPROTONOSUPPORT, None),
        (errno.EACCES, None),
        (errno.EPERM, None),
    ],
)
def test_out_of_sockets_nobody_is_let_in_and_without_the_interface_nobody_is_judged(
    number: int, verdict: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger can use up all our sockets, and must not win by that."""

    def fails() -> socket.socket:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(peer, "_diag", fails)
    assert same_user(("127.0.0.1", 1), ("127.0.0.1", 2)) is verdict


def test_elsewhere_we_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert same_user(("127.0.0.1", 1), ("127.0.0.1", 2)) is None


def test_asking_leaves_no_socket_behind() -> None:
    def open_files() -> int:
        return len(os.listdir("/dev/fd"))  # noqa: PTH208  # a count, on whatever system

    with listening("127.0.0.1") as listener, closing(socket.create_connection(listener.getsockname())) as client:
        before = open_files()
        for _ in range(50):
            same_user(address(client), address(listener))
        assert open_files() == before
