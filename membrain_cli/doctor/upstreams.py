"""Checks of who answers: the providers that need a key, those that need none, and what is not as local as it looks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from membrain.errors import MembrainError, Misconfigured
from membrain_cli.console import CommandError, span
from membrain_cli.doctor.finding import Finding, Patient
from membrain_cli.reach import Reach


def keys(patient: Patient) -> Iterator[Finding]:
    """Does each provider's key work. They are asked at the same time."""
    settings = patient.settings
    if isinstance(settings, Misconfigured) or settings.keys is None:
        return
    held = {name: settings.keys.find(name) for name in settings.key_names}
    with ThreadPoolExecutor(max_workers=8) as pool:
        tried = {name: pool.submit(tested, patient.reach, name) for name, found in held.items() if found.secret}
    for name, found in held.items():
        if name in tried:
            yield verdict(name, tried[name].result())
        else:
            yield Finding("look", name, found.reason or "no key", f"membrain keys set {name}")


def tested(reach: Reach, name: str) -> dict[str, Any]:
    """The outcome of asking a provider, also where it cannot be asked."""
    try:
        return reach.test(name)
    except (MembrainError, CommandError) as error:
        return {"ok": False, "message": error.message, "error": None}


def verdict(name: str, tried: dict[str, Any]) -> Finding:
    """What a test of a provider comes to."""
    if tried["ok"]:
        return Finding("fine", name, f"key works, {span(tried['ms'])}")
    why = tried.get("message") or tried.get("error") or "no answer"
    return Finding("broken", name, str(why), f"membrain keys set {name}")


def others(patient: Patient) -> Iterator[Finding]:
    """Providers that need no key, as the gateway sees them."""
    settings = patient.settings
    if patient.running is None or isinstance(settings, Misconfigured):
        return
    for each in patient.running.health.get("providers", []):
        if each["name"] in settings.key_names:
            continue
        if each["up"]:
            yield Finding("fine", each["name"], each["where"])
        elif each["name"] == "local":
            yield Finding("look", each["name"], each["note"] or "not there", each["remedy"])
        else:
            yield Finding("none", each["name"], f"{each['note'] or 'not there'} (optional)")


def clouds(patient: Patient) -> Iterator[Finding]:
    """Models of Ollama that its cloud answers, through the port of this machine."""
    if patient.running is None:
        return
    try:
        rows = patient.reach.ask("GET", "/api/models")
    except (MembrainError, CommandError):
        return
    away = [row["id"] for row in rows if row["provider"] == "ollama" and not row["local"]]
    if away:
        told = "1 of its models is" if len(away) == 1 else f"{len(away)} of its models are"
        words = f"{told} not on this machine, so never asked in private: {', '.join(sorted(away))}"
        yield Finding("look", "ollama", words, "OLLAMA_NO_CLOUD=1 ollama serve")
