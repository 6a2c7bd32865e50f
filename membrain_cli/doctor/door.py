"""Checks of the gateway as a process: is it up, who may come in, what becomes of what is found, what was it given."""

from __future__ import annotations

from collections.abc import Iterator

from membrain.errors import Misconfigured
from membrain_cli import __version__, daemon
from membrain_cli.console import uptime
from membrain_cli.doctor.finding import Finding, Patient
from membrain_cli.doctor.pointing import is_here

LEAVES = ("pass", "log", "alert")
"""The modes in which a value that was found leaves this machine."""
WAYS_OUT = {
    "egress.proxy": (("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"), "that proxy"),
    "egress.ca_file": (("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"), "those certificates"),
}
"""Settings of the way to the providers, the variables in which other programs are told the same, and what it is."""


def gateway(patient: Patient) -> Iterator[Finding]:
    """Is it up, and of this version."""
    running = patient.running
    if running is None:
        yield mute(patient) or Finding("look", "gateway", "down", "membrain up")
    elif running.version != __version__:
        words = f"is v{running.version}, this command is v{__version__}"
        yield Finding("look", "gateway", words, "membrain restart")
    else:
        yield Finding("fine", "gateway", f"up {uptime(running.health['up_seconds'])}, same version as this command")


def mute(patient: Patient) -> Finding | None:
    """That somebody is where the gateway said it is, and does not prove to be it; None if nobody is there."""
    claim = daemon.read_claim(patient.reach.places)
    if claim is None or not daemon.is_listening(claim["host"], claim["port"]):
        return None
    who = daemon.listening_program(claim["port"])
    named = f"{who[0]} ({who[1]})" if who else "a program"
    return Finding("broken", "gateway", f"{named} is at its port, but does not prove to be it", "membrain logs")


def port(patient: Patient) -> Iterator[Finding]:
    """Is the port ours, or free."""
    if patient.running is not None:
        yield Finding("fine", "port", f"{patient.running.port}")
        return
    if isinstance(patient.settings, Misconfigured):
        return
    wanted = patient.settings.port
    if daemon.is_listening(patient.settings.host, wanted):
        other = wanted + 1 if wanted < 65535 else wanted - 1
        words = f"{wanted} is taken by {daemon.holder(patient.settings.host, wanted)}"
        yield Finding("broken", "port", words, f"membrain config set port {other}")
    else:
        yield Finding("fine", "port", f"{wanted} is free")


def address(patient: Patient) -> Iterator[Finding]:
    """Who can reach it: this machine only, or others."""
    if isinstance(patient.settings, Misconfigured):
        return
    host = patient.running.host if patient.running else patient.settings.host
    if is_here(host):
        yield Finding("fine", "address", f"{host}, this machine only")
    else:
        words = f"{host}: others can reach it, and everyone needs a client key"
        yield Finding("look", "address", words, "membrain config unset host && membrain restart")


def callers(patient: Patient) -> Iterator[Finding]:
    """Who must show a client key."""
    if isinstance(patient.settings, Misconfigured):
        return
    mode = str(patient.running.health.get("auth")) if patient.running else patient.settings.effective_auth_mode
    remedy = "membrain config set auth.mode local && membrain restart"
    yield {
        "local": Finding("fine", "callers", "this user's programs need no client key, everyone else does"),
        "token": Finding("fine", "callers", "everyone needs a client key"),
    }.get(mode, Finding("look", "callers", "nobody needs a client key: every user of this machine may ask", remedy))


def masking(patient: Patient) -> Iterator[Finding]:
    """Does what is found leave this machine."""
    if isinstance(patient.settings, Misconfigured):
        return
    pii = patient.settings.pii
    if pii.on_find in LEAVES:
        words = f"what is found leaves as it is (pii.on_find is {pii.on_find})"
        yield Finding("look", "masking", words, "membrain config unset pii.on_find && membrain restart")
        return
    yield Finding("fine", "masking", f"{pii.on_find}, {pii.level}")
    for rule in pii.rules:
        name, _, mode = rule.rpartition("=")
        if mode in LEAVES:
            words = f"by the rule {name}={mode}, that leaves as it is"
            yield Finding("look", "masking", words, "membrain config get pii.rules")


def surroundings(patient: Patient) -> Iterator[Finding]:
    """Was the gateway started with variables that point at itself."""
    environ = daemon.environment_of(patient.running.pid) if patient.running else None
    if environ is None or patient.running is None:
        return
    ours = [name for name in daemon.POINTERS if f":{patient.running.port}" in environ.get(name, "")]
    if ours:
        words = f"the gateway's own {ours[0]} points at itself; it is not read, but what it starts may read it"
        yield Finding("look", "loop", words, f"unset {' '.join(ours)} && membrain restart")


def network(patient: Patient) -> Iterator[Finding]:
    """Does this shell know of a proxy or of certificates that the gateway was not told of: it reads no variables."""
    if isinstance(patient.settings, Misconfigured):
        return
    told = {"egress.proxy": patient.settings.egress.proxy, "egress.ca_file": patient.settings.egress.ca_file}
    for setting, (names, what) in WAYS_OUT.items():
        named = next((name for name in names if patient.environ.get(name)), None)
        if named and not told[setting]:
            words = f"{named} is set, but the gateway does not read it; if providers need {what}, tell it"
            yield Finding("look", "network", words, f'membrain config set {setting} "${named}" && membrain restart')
