"""What arrived beside what was sent: events read by the rules, JSON compared as JSON, a difference told in a line.

Numbers are equal if they are the same decimal number, however many digits; the order of an object's members, its
spacing and its escapes are no difference here. Whoever wants those compares bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

Event = tuple[str | None, Any]
"""An event's name (None where it has none) and its data: parsed JSON, or a text such as `[DONE]`."""

WIDTH = 96
"""Signs that one side of a difference may have when it is told."""

_LINE_END = re.compile("\r\n|\r|\n")
_MISSING = object()
_BARE = re.compile(r'"\\u0000([^"]*)\\u0000"')
"""A number that was written as a text, so that it keeps its digits."""


def parsed(raw: bytes | str) -> Any:
    """JSON with its numbers exact; the text itself where it is none."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    try:
        return json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        return text


def exact(value: Any) -> Any:
    """*value*, as it comes back from its own JSON."""
    return parsed(json.dumps(value))


def events_of(raw: bytes) -> list[Event]:
    """The events in a whole stream, comments and pings left out: any gateway may add those.

    A last event without its blank line counts, so that what was not lost is not called lost.
    """
    return [(name, parsed(data)) for name, data in _spoken(raw) if name != "ping" and data]


def _spoken(raw: bytes) -> Iterator[tuple[str | None, str]]:
    name: str | None = None
    lines: list[str] = []
    text = raw.decode("utf-8", "replace").removeprefix("\ufeff")
    for line in [*_LINE_END.split(text), ""]:
        field, _, value = line.partition(":")
        if field == "data":
            lines.append(value.removeprefix(" "))
        elif field == "event":
            name = value.removeprefix(" ") or None
        elif not line:
            if lines:
                yield name, "\n".join(lines)
            name, lines = None, []


def under(value: Any, name: str) -> Iterator[Any]:
    """Every value of a member *name* within *value*, in order."""
    if isinstance(value, dict):
        if name in value:
            yield value[name]
        for each in value.values():
            yield from under(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from under(each, name)


def difference(sent: Any, arrived: Any, path: str = "", *, more: bool = False) -> str:
    """Where *arrived* is not *sent*, and how; "" if they are equal as JSON. *more*: it may have more members."""
    if isinstance(sent, dict) and isinstance(arrived, dict):
        names = [*sent, *(name for name in arrived if name not in sent and not more)]
        pairs = ((f"{path}.{name}", sent.get(name, _MISSING), arrived.get(name, _MISSING)) for name in names)
    elif isinstance(sent, list) and isinstance(arrived, list) and len(sent) == len(arrived):
        pairs = ((f"{path}[{at}]", ours, theirs) for at, (ours, theirs) in enumerate(zip(sent, arrived, strict=True)))
    else:
        same = type(sent) is type(arrived) and sent == arrived
        return "" if same else f"{path.lstrip('.') or 'it'}: {shown(sent)} became {shown(arrived)}"
    return next((found for at, ours, theirs in pairs if (found := difference(ours, theirs, at, more=more))), "")


def events_differ(sent: Sequence[Event], arrived: Sequence[Event]) -> str:
    """The first event that is another one, or is missing, or too much; "" if all are the same."""
    for number, (ours, theirs) in enumerate(zip(sent, arrived, strict=False), 1):
        if ours[0] != theirs[0]:
            return f"event {number} of {len(sent)}: {ours[0] or 'unnamed'} became {theirs[0] or 'unnamed'}"
        if found := difference(ours[1], theirs[1]):
            return f"event {number} of {len(sent)}: {found}"
    if len(sent) != len(arrived):
        extra = arrived[len(sent)] if len(arrived) > len(sent) else sent[len(arrived)]
        what = "one too many" if len(arrived) > len(sent) else "missing"
        return f"{len(sent)} events became {len(arrived)}; {what}: {shown(extra[1])}"
    return ""


def bytes_differ(sent: bytes, arrived: bytes) -> str:
    """The first byte that is another one, with what stands there; "" if all are the same."""
    if sent == arrived:
        return ""
    pairs = enumerate(zip(sent, arrived, strict=False))
    at = next((at for at, (ours, theirs) in pairs if ours != theirs), min(len(sent), len(arrived)))
    begin = max(0, at - 12)
    return f"byte {at} of {len(sent)}: {shown(sent[begin : at + 20])} became {shown(arrived[begin : at + 20])}"


def shown(value: Any) -> str:
    """*value* on one line, cut where it is long."""
    if value is _MISSING:
        return "nothing"
    if isinstance(value, bytes):
        text = repr(value.decode("utf-8", "replace"))
    else:
        text = _BARE.sub(r"\1", json.dumps(value, default=lambda number: f"\0{number}\0"))
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 4]} ..."
