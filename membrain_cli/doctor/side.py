"""What the checks of every tool share: is the gateway there, is the tool's key one of ours, would a proxy be asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from membrain_cli.console import uptime
from membrain_cli.doctor.finding import Finding, Patient
from membrain_cli.doctor.pointing import here
from membrain_cli.doctor.probes import refusal, spoken
from membrain_cli.doctor.sources import Found, Variables

OURS = "ck_"
"""How a client key of a gateway begins."""

PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
"""What a tool may ask for an address that begins with http://."""

USES = {
    "fish": "membrain env --shell fish | source",
    "pwsh": "membrain env --shell powershell | Out-String | Invoke-Expression",
}


def use(patient: Patient) -> str:
    """The command that points the tools of this shell at the gateway."""
    return USES.get(Path(patient.environ.get("SHELL", "")).name, 'eval "$(membrain env)"')


def gateway(patient: Patient) -> Finding:
    """Is there a gateway to speak to."""
    running = patient.running
    if running is None:
        return Finding("broken", "gateway", "down, so the tool gets no answer", "membrain up")
    at = here(patient)
    where = f" at {at.url}" if at else ""
    return Finding("fine", "gateway", f"up {uptime(running.health['up_seconds'])}{where}")


def dialects(patient: Patient, *names: str) -> Iterator[Finding]:
    """Does the gateway, if it is up, speak what the tool speaks."""
    if patient.running is not None:
        yield from (spoken(patient.running, name) for name in names)


def answers(patient: Patient, *names: str) -> Iterator[Finding]:
    """Is somebody there who answers the models that the tool asks for by itself: the providers *names*."""
    states = patient.running.health.get("providers", []) if patient.running else []
    for each in states:
        if each["name"] in names and not each["up"]:
            words = f"{each['name']} has {each['note'] or 'no answer'}, so its models may get no answer here"
            yield Finding("look", "models", words, each["remedy"])


def key(patient: Patient, found: Found | None, name: str, remedy: str) -> Finding:
    """Is what the tool shows a key of this gateway. *name* is the variable it would be in."""
    is_asked = patient.running is None or patient.running.health.get("auth") != "off"
    if found is None:
        return Finding("broken", "key", f"{name} is not set, and the tool does not start without one", remedy)
    if not is_asked:
        return Finding("fine", "key", f"{found.told} is sent; this gateway asks for none")
    mend = remedy if found.kind == "shell" else f"{found.without()}, then  {remedy}"
    if not found.value.strip().startswith(OURS):
        return Finding("broken", "key", f"{found.told} is no client key of Membrain, so it is refused", mend)
    if patient.running is None:
        return Finding(
            "look", "key", f"{found.told} is a client key; the gateway is down and cannot be asked", "membrain up"
        )
    against = refusal(patient.running, found.value.strip())
    if against:
        return Finding("broken", "key", f"{found.told} {against}", mend)
    return Finding("fine", "key", f"{found.told} is known to this gateway")


def proxied(variables: Variables, names: Sequence[str] = PROXIES) -> Iterator[Finding]:
    """Would the tool ask a proxy for the gateway."""
    asked = next((variables[name] for name in names if name in variables), None)
    excepted = next((variables[name].value for name in ("no_proxy", "NO_PROXY") if name in variables), "")
    if asked is None or {"*", "127.0.0.1"} & {each.strip() for each in excepted.split(",")}:
        return
    line = "NO_PROXY=127.0.0.1,localhost"
    mend = f"export {line}" if asked.kind == "shell" else f"export {line}    or  {asked.without()}"
    yield Finding("broken", "proxy", f"{asked.told} is set, so a proxy is asked for 127.0.0.1", mend)
