"""Does an address that a tool was given lead to this gateway. Compares, asks nobody, and never shows the address."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

from membrain.errors import Misconfigured
from membrain_cli.doctor.finding import Finding, Patient
from membrain_cli.doctor.sources import Found
from membrain_cli.exports import loopback_url

EVERYWHERE = {"0.0.0.0", "::", "localhost"}  # noqa: S104  # compared, not bound
"""What a gateway that is reached by this machine's own numbers may be told to listen on, beside these."""


class Here(NamedTuple):
    """Where the gateway is, or would be."""

    url: str
    host: str
    port: int


def here(patient: Patient) -> Here | None:
    """Where the gateway is; while it is down, where its settings put it. None if these cannot be read."""
    running, settings = patient.running, patient.settings
    if running is not None:
        return Here(loopback_url(running), running.host, running.port)
    if isinstance(settings, Misconfigured):
        return None
    return Here(f"http://127.0.0.1:{settings.port}", settings.host, settings.port)


def is_here(host: str) -> bool:
    """Whether *host* is a name or number of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def amiss(address: str, at: Here) -> str:
    """What keeps *address* from leading to the gateway at *at*, in words without it; "" if it leads there."""
    try:
        parts = urlsplit(address.strip())
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "is no address"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "is no address that begins with http://"
    if not reaches(parts.hostname, at.host):
        return "leads past this gateway, to another machine or address"
    if port != at.port:
        return f"leads to port {port} of this machine, and the gateway is at {at.port}"
    return "begins with https://, and the gateway speaks plain http on this machine" if parts.scheme == "https" else ""


def reaches(host: str, listening: str) -> bool:
    """Whether who asks *host* gets to a gateway that listens on *listening*."""
    return host == listening or (is_here(host) and (is_here(listening) or listening in EVERYWHERE))


class Base(NamedTuple):
    """What a tool wants its address to be called, and how it must end."""

    name: str
    tail: str
    """"/v1", or "" where the tool adds it itself."""
    past: str
    """Whom it asks without an address."""


def pointed(found: Found | None, base: Base, at: Here, remedy: str) -> Finding:
    """Whether a tool's address leads to the gateway. *remedy* mends it where it was not found in a file."""
    if found is None:
        return Finding(
            "broken", "address", f"{base.name} is not set, so {base.past} is asked, past the gateway", remedy
        )
    right = at.url + base.tail
    mend = remedy if found.kind == "shell" else found.line(right)
    wrong = amiss(found.value, at)
    if wrong:
        return Finding("broken", "address", f"{found.told} {wrong}", mend)
    path = urlsplit(found.value.strip()).path.rstrip("/")
    if path == base.tail:
        return Finding("fine", "address", f"{found.told} leads here")
    if path in {"", "/v1"}:
        has = f"has no {base.tail}" if base.tail else "ends in /v1, and the tool adds its own"
        return Finding("look", "address", f"{found.told} {has}; Membrain answers all the same", mend)
    return Finding("broken", "address", f"{found.told} leads here, but to a path that nobody answers", mend)
