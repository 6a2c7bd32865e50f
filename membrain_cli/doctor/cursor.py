"""Cursor from its own side. It cannot be pointed at a gateway on this machine, and this says so and why."""

from __future__ import annotations

from collections.abc import Iterator

from membrain_cli.doctor import side
from membrain_cli.doctor.finding import Finding, Patient
from membrain_cli.doctor.program import installed


def cursor(patient: Patient) -> Iterator[Finding]:
    """That Cursor's own models never pass this gateway, and what in it does."""
    found = installed(patient, "cursor", "")
    yield Finding("none", "cursor", "not found on the PATH") if found.state == "broken" else found
    yield side.gateway(patient)
    yield Finding(
        "broken",
        "address",
        "cannot work: Cursor's own servers make the call, and they do not reach an address on your machine",
        "membrain run -- TOOL    (another tool, like aider, claude or codex)",
    )
    yield Finding(
        "look",
        "privacy",
        "so what you type in Cursor's chat, and the code it adds, leaves this machine unmasked",
    )
    yield Finding(
        "none", "terminal", f"tools that you start in Cursor's terminal can use the gateway:  {side.use(patient)}"
    )
