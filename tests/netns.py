"""What a gateway sends beyond this machine, seen by somebody else than itself. Two ways, for tests only.

A *namespace* is a network of its own whose only way out ends in a file: `Beyond` reads every packet that would leave
and writes down where to. It plays the network just far enough to be worth asking: every name has an address, and
every connection is refused. Linux only, and only where namespaces may be made (`namespaces_allowed`).

A *recorder* (`recorder_in`) is Python's own audit hook in the gateway's process: it writes down every name that is
resolved and every address that is connected to beyond loopback, and lets none of them happen. It works anywhere, but it
only sees what Python does, so the gateway runs without uvloop there.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

RESOLVER = "203.0.113.53"
"""The only name server of a namespace."""

_ANYONE = "198.51.100.7"
"""The address of every name there."""

_MARK = ("203.0.113.1", 9)
_DEVICE = "out0"
_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_HEADER = 0x1001
_TCP, _UDP, _ICMPV6, _HOP_BY_HOP = 6, 17, 58, 0
_A_RECORD = 1
_RST_ACK = 0x14

_SETUP: tuple[tuple[str, ...], ...] = (
    ("ip", "link", "set", "lo", "up"),
    ("ip", "link", "set", _DEVICE, "addrgenmode", "none"),
    ("ip", "address", "add", "10.9.8.7/32", "dev", _DEVICE),
    ("ip", "link", "set", _DEVICE, "up"),
    ("ip", "route", "add", "default", "dev", _DEVICE),
)
_SETUP_V6: tuple[tuple[str, ...], ...] = (
    ("ip", "-6", "address", "add", "fd00::7/128", "dev", _DEVICE, "nodad"),
    ("ip", "-6", "route", "add", "default", "dev", _DEVICE),
)
"""Left out where the machine has no IPv6."""

_FILES = {
    "/etc/resolv.conf": f"nameserver {RESOLVER}\noptions timeout:1 attempts:1\n",
    "/etc/nsswitch.conf": "hosts: files dns\n",
}
"""Names are asked of the namespace's resolver, whatever stub or daemon of its own the machine has for that."""


def inside(*argv: str) -> list[str]:
    """*argv* in a network and mounts of its own."""
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return ["unshare", *user, "--net", "--mount", *argv]


def namespaces_allowed() -> bool:
    """Whether this machine lets us make a namespace with a device in it."""
    if not sys.platform.startswith("linux") or not shutil.which("unshare") or not shutil.which("ip"):
        return False
    probe = inside("sh", "-c", f"ip tuntap add {_DEVICE} mode tun && mount --bind /etc/hosts /etc/hosts")
    return subprocess.run(probe, capture_output=True).returncode == 0


class Beyond:
    """The far end of this process's only route out. Use as a context manager, in a namespace of one's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._left: list[str] = []
        self._marks: set[bytes] = set()
        self._news = threading.Condition()

    def __enter__(self) -> Self:
        self._device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self._device, _TUNSETIFF, struct.pack("16sH", _DEVICE.encode(), _TUN_WITHOUT_HEADER))
        for command in _SETUP:
            subprocess.run(command, check=True)
        for command in _SETUP_V6:
            subprocess.run(command, check=False, capture_output=True)
        for path, text in _FILES.items():
            ours = self._folder / Path(path).name
            ours.write_text(text)
            if Path(path).exists():
                subprocess.run(["mount", "--bind", str(ours), path], check=True)
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """The namespace ends with the process, and the reader with it."""

    def cut(self) -> None:
        """From now on there is no route out at all."""
        subprocess.run(["ip", "link", "set", _DEVICE, "down"], check=True)

    def left(self) -> list[str]:
        """What has left since the last look, as "udp 203.0.113.53:53 api.openai.com".

        A datagram of our own goes the same way first, so whatever left before is on the list.
        """
        mark = os.urandom(8)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(mark, _MARK)
        with self._news:
            if not self._news.wait_for(lambda: mark in self._marks, 5):
                raise RuntimeError("what leaves is not seen")
            left, self._left = self._left, []
            return left

    def _read(self) -> None:
        while True:
            try:
                packet = os.read(self._device, 65536)
            except OSError:  # the device is down
                time.sleep(0.05)
                continue
            with self._news:
                self._heard(packet)
                self._news.notify_all()

    def _heard(self, packet: bytes) -> None:
        kind, target, payload = _taken_apart(packet)
        if kind in {_ICMPV6, _HOP_BY_HOP} and target.startswith("ff02:"):
            return  # the kernel looks for neighbours of its own accord
        port = struct.unpack_from("!H", payload, 2)[0] if kind in {_TCP, _UDP} else 0
        if kind == _UDP and (target, port) == _MARK:
            self._marks.add(payload[8:])
            return
        name = {_TCP: "tcp", _UDP: "udp"}.get(kind, f"protocol {kind}")
        asked = f" {_name_in(payload[8:])}" if kind == _UDP and port == 53 else ""
        self._left.append(f"{name} {target}:{port}{asked}")
        if packet[0] >> 4 == 4 and (reply := _reply(kind, port, payload)) is not None:
            os.write(self._device, _datagram(kind, packet[16:20], packet[12:16], reply))


def _taken_apart(packet: bytes) -> tuple[int, str, bytes]:
    """A packet's protocol, its target and what is in it."""
    if packet[0] >> 4 == 4:
        size = (packet[0] & 15) * 4
        return packet[9], str(ipaddress.ip_address(packet[16:20])), packet[size:]
    return packet[6], str(ipaddress.ip_address(packet[24:40])), packet[40:]


def _name_in(query: bytes) -> str:
    """The name that a DNS query asks for."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    return ".".join(labels)


def _reply(kind: int, port: int, payload: bytes) -> bytes | None:
    """What the network says to that: a name's address, or that nobody listens."""
    source = payload[:2]
    if kind == _UDP and port == 53:
        said = _address_for(payload[8:])
        return struct.pack("!H2sHH", port, source, 8 + len(said), 0) + said
    if kind == _TCP and payload[13] & 0x02:
        heard = struct.unpack_from("!I", payload, 4)[0] + 1
        return struct.pack("!H2sIIBBHHH", port, source, 0, heard & 0xFFFFFFFF, 0x50, _RST_ACK, 0, 0, 0)
    return None


def _address_for(query: bytes) -> bytes:
    end = query.index(b"\0", 12) + 5
    question = query[12:end]
    wanted = struct.unpack_from("!H", question, len(question) - 4)[0] == _A_RECORD
    head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, int(wanted), 0, 0)
    record = struct.pack("!HHHIH", 0xC00C, _A_RECORD, 1, 60, 4) + ipaddress.ip_address(_ANYONE).packed
    return head + question + (record if wanted else b"")


def _datagram(kind: int, source: bytes, target: bytes, payload: bytes) -> bytes:
    """*payload* in an IPv4 packet, with the sums that are asked for."""
    if kind == _TCP:
        under = source + target + struct.pack("!BBH", 0, kind, len(payload))
        payload = payload[:16] + struct.pack("!H", _sum(under + payload)) + payload[18:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, kind, 0, source, target)
    return head[:10] + struct.pack("!H", _sum(head)) + head[12:] + payload


def _sum(data: bytes) -> int:
    """The Internet's checksum of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


# --- in the process itself ---------------------------------------------------------------------------------------

_HOOK = '''
"""Writes down, and prevents, whatever would leave this machine."""
import errno, ipaddress, os, sys

sys.modules["uvloop"] = None  # what it does in C, no hook sees
_seen = os.open(os.path.join(os.path.dirname(__file__), "left"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_HOSTS = {"socket.getaddrinfo": 0, "socket.gethostbyname": 0, "socket.gethostbyaddr": 0}
_ADDRESSES = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1, "socket.getnameinfo": 0}


def _here(host):
    if host is None or not isinstance(host, (str, bytes)):
        return True
    try:
        return ipaddress.ip_address(host if isinstance(host, str) else host.decode()).is_loopback
    except ValueError:
        return False


def _hook(event, args):
    if event in _HOSTS:
        host = args[_HOSTS[event]]
    elif event in _ADDRESSES:
        address = args[_ADDRESSES[event]]
        host = address[0] if isinstance(address, tuple) else None  # a path is a socket of this machine
    else:
        return
    if not _here(host):
        os.write(_seen, f"{event} {host}\\n".encode())
        raise OSError(errno.ENETUNREACH, "this is a test")


sys.addaudithook(_hook)
'''


class Recorder:
    """Reads what the hook has written down."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0

    def left(self) -> list[str]:
        """What would have left since the last look, as "socket.getaddrinfo api.openai.com"."""
        text = self._file.read_text() if self._file.exists() else ""
        new, self._read = text[self._read :], len(text)
        return new.splitlines()


def recorder_in(folder: Path) -> Recorder:
    """A recorder of every Python that has *folder* at the front of its `PYTHONPATH`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_HOOK)
    return Recorder(folder / "left")
