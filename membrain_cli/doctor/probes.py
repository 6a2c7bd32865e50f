"""The smallest requests that tell whether the gateway speaks with a tool, and knows its key. They cost nothing.

A dialect is asked with an empty object, and the gateway refuses that while it reads it: before it looks for a key,
before anything is on record, and long before anything could leave. How it words the refusal shows that it speaks the
dialect. A key is tried on the list of models. Everything goes to a gateway that has proven to be ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from membrain_cli import daemon
from membrain_cli.doctor.finding import Finding

LIMIT = 5.0
"""Seconds that one of them may take."""


class Probe(NamedTuple):
    """How a dialect is asked: what stands behind the address that ends in `/v1`, and whether a refusal is its own."""

    path: str
    headers: dict[str, str]
    refused: Callable[[Any], bool]


def as_openai(data: Any) -> bool:
    """Whether *data* is an error as OpenAI words it."""
    error = data.get("error") if isinstance(data, dict) else None
    return isinstance(error, dict) and {"message", "type", "param", "code"} <= error.keys()


def as_anthropic(data: Any) -> bool:
    """Whether *data* is an error as Anthropic words it."""
    return isinstance(data, dict) and data.get("type") == "error" and isinstance(data.get("error"), dict)


PROBES = {
    "messages": Probe("/messages?beta=true", {"anthropic-version": "2023-06-01"}, as_anthropic),
    "responses": Probe("/responses", {}, as_openai),
    "chat": Probe("/chat/completions", {}, as_openai),
}


def spoken(running: daemon.Running, dialect: str) -> Finding:
    """Whether the gateway speaks *dialect*."""
    probe = PROBES[dialect]
    headers = {"content-type": "application/json", **probe.headers}
    restart = "membrain restart"
    try:
        status, body = daemon.exchange(
            running.host, running.port, "POST", f"/v1{probe.path}", body=b"{}", headers=headers, timeout=LIMIT
        )
        data = json.loads(body)
    except OSError:
        return Finding("broken", dialect, "the gateway gave no answer", "membrain logs")
    except ValueError:
        return Finding("broken", dialect, "the gateway gave no JSON", restart)
    if status == 400 and probe.refused(data):
        return Finding("fine", dialect, "spoken: an empty request is refused in its own words")
    return Finding("broken", dialect, f"not spoken: an empty request is answered with {status}", restart)


def refusal(running: daemon.Running, key: str) -> str:
    """What the gateway says against *key*, in words without it; "" if it knows it."""
    headers = {"x-membrain-api-key": key}
    try:
        status, _ = daemon.exchange(running.host, running.port, "GET", "/v1/models", headers=headers, timeout=LIMIT)
    except (OSError, ValueError):  # a key with line breaks is no header
        return "could not be tried"
    return {200: "", 401: "is not known to this gateway, or was revoked", 403: "may not ask for models"}.get(
        status, f"was answered with {status}"
    )
