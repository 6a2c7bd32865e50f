"""Whose process is at the other end of a loopback connection?

Linux can be asked through its socket diagnosis interface, for exactly one connection and in some twenty microseconds.
Elsewhere we cannot tell, and say so.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys

_DIAG_BY_FAMILY = 20
_REQUEST = 1
_ALL_STATES = 0xFFFFFFFF
_NO_COOKIE = 0xFFFFFFFF
_HEADER = struct.Struct("=LHHLL")
_QUERY = struct.Struct("=BBBBI")
_PORTS = struct.Struct("!HH")
_CANNOT_TELL = frozenset({errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENOSYS})
"""What the system says where it has no such interface, or does not let us use it."""

_UID_AT = _HEADER.size + 4 + 48 + 12
"""Past the netlink header, the answer's own head, the socket's id, and three counters."""


def same_user(client: tuple[str, int] | None, server: tuple[str, int] | None) -> bool | None:
    """Whether the process at *client* runs as we do; None where the system cannot tell.

    Where it can, whoever cannot be found is a stranger: one that is gone already, and anyone while we are out of
    sockets to ask with.
    """
    if not sys.platform.startswith("linux"):
        return None
    if client is None or server is None:
        return False
    try:
        uid = _uid_of(client, server)
    except OSError as error:
        return None if error.errno in _CANNOT_TELL else False
    return uid == os.getuid()


def _uid_of(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """The user id that owns the socket at *client* connected to *server*; None if there is no such socket."""
    family = socket.AF_INET6 if ":" in client[0] else socket.AF_INET
    query = _QUERY.pack(family, socket.IPPROTO_TCP, 0, 0, _ALL_STATES) + _socket_id(family, client, server)
    message = _HEADER.pack(_HEADER.size + len(query), _DIAG_BY_FAMILY, _REQUEST, 1, 0) + query
    with contextlib.closing(_diag()) as netlink:
        netlink.send(message)
        answer = netlink.recv(4096)
    kind = _HEADER.unpack_from(answer)[1]
    if kind != _DIAG_BY_FAMILY:
        return None
    uid: int
    uid, inode = struct.unpack_from("=II", answer, _UID_AT)
    return uid if inode else None  # a socket that its process has closed is nobody's, and shown as root's


def _diag() -> socket.socket:
    sock_diag = 4
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, sock_diag)
    netlink.settimeout(0.2)
    netlink.connect((0, 0))
    return netlink


def _socket_id(family: int, client: tuple[str, int], server: tuple[str, int]) -> bytes:
    source, target = (socket.inet_pton(family, host).ljust(16, b"\0") for host in (client[0], server[0]))
    tail = struct.pack("=III", 0, _NO_COOKIE, _NO_COOKIE)
    return _PORTS.pack(client[1], server[1]) + source + target + tail
