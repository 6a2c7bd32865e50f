"""What a question to the audit says in text, as an `AuditQuery`. Read alike from a URL and from the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from membrain.errors import BadRequest
from membrain.records import Outcome
from membrain.stores.base import AuditQuery

_SWITCH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def moment(text: str, name: str) -> datetime:
    """An RFC 3339 time with its zone."""
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))  # a plus sign in a URL reads as a blank
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise BadRequest(f"`{name}` must be a time with its zone, like 2026-11-21T14:02:11Z.", param=name)
    return found


def _number(kind: Callable[[str], float]) -> Callable[[str, str], float]:
    def read(text: str, name: str) -> float:
        try:
            return kind(text)
        except ValueError:
            raise BadRequest(f"`{name}` must be a number.", param=name) from None

    return read


def _switch(text: str, name: str) -> bool:
    if text.lower() not in _SWITCH:
        raise BadRequest(f"`{name}` must be true or false.", param=name)
    return _SWITCH[text.lower()]


def _outcome(text: str, name: str) -> str:
    if text not in set(Outcome):
        raise BadRequest(f"`{name}` must be one of {', '.join(Outcome)}.", param=name)
    return text


def _text(text: str, name: str) -> str:  # noqa: ARG001  # all readers have one shape
    return text


_READ: dict[str, Callable[[str, str], Any]] = {
    "limit": _number(int),
    "min_cost_micros": _number(int),
    "slower_ms": _number(float),
    "cached": _switch,
    "outcome": _outcome,
    "since": moment,
    "until": moment,
}


def query_from(given: Mapping[str, str]) -> AuditQuery:
    """The query that the texts in *given* make. `BadRequest` names the one that makes no sense."""
    known = {field.name for field in fields(AuditQuery)}
    for name in given:
        if name not in known:
            raise BadRequest(f"There is no filter `{name}`.", param=name)
    return AuditQuery(**{name: _READ.get(name, _text)(text, name) for name, text in given.items()})
