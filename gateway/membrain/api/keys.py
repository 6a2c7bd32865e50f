"""Client keys as the network shows and takes them: what may be said of a new one, and what is told of those there are.

Only data in and data out; who may ask is for `api/admin.py`, and what rights make sense for `stages/auth.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, TypeVar

from membrain.errors import BadRequest
from membrain.gateway import Gateway
from membrain.records import Allowance, ClientKey, Rate, Rights

_MOST_TTL = 100 * 365 * 86_400
"""Seconds; nobody counts on more, and calendars end."""

Limit = TypeVar("Limit", Allowance, Rate)


async def listed(gateway: Gateway) -> list[dict[str, Any]]:
    """The keys that were not revoked, oldest first, without what could recognise them."""
    return [_shown(gateway, key) for key in await gateway.stores.keys.all() if key.revoked is None]


async def issued(gateway: Gateway, data: Mapping[str, Any]) -> dict[str, Any]:
    """A new key as *data* wants it, with its row; the only answer that ever holds it.

    `{"name", "project", "scopes", "expires" | "ttl", "models", "budget": {"day", "month", "total"},
    "rate": {"requests", "tokens"}, "tier", "private"}`: times RFC 3339, `ttl` seconds, budgets micro-dollars, rates a
    minute. All but the name may be left out or null. `BadRequest` names the field that makes no sense.
    """
    _only(data, _FIELDS)
    name, project = _given(data, "name", _text), _given(data, "project", _text)
    key, row = await gateway.auth.issue(name or "", project or "default", rights_of(data, gateway.auth.wall()))
    return {"key": key, **_shown(gateway, row)}


async def rotated(gateway: Gateway, which: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Another string for a key, with its row: `{"grace": seconds}` for which the old one holds beside it."""
    _only(data, {"grace": _seconds})
    key, row = await gateway.auth.rotate(which, _given(data, "grace", _seconds) or 0)
    return {"key": key, **_shown(gateway, row)}


async def revoked(gateway: Gateway, which: str) -> dict[str, Any]:
    """The row of a key that is refused from now on."""
    return _shown(gateway, await gateway.auth.revoke(which))


def _shown(gateway: Gateway, key: ClientKey) -> dict[str, Any]:
    """A key's row, and whether its time is over."""
    row = {name: value for name, value in key.to_dict().items() if name != "digest"}
    return {**row, "expired": gateway.auth.expired(key)}


def rights_of(data: Mapping[str, Any], now: float) -> Rights:
    """What *data* says that a key may; *now* is in seconds since 1970. `BadRequest` names a field of the wrong kind."""
    given = {name: value for name, read in _RIGHTS.items() if (value := _given(data, name, read)) is not None}
    ttl = _given(data, "ttl", _seconds)
    if ttl is None:
        return Rights(**given)
    if "expires" in given:
        raise BadRequest("Say either `expires` or `ttl`.", param="ttl")
    if not 1 <= ttl <= _MOST_TTL:
        raise BadRequest(f"`ttl` must be 1 to {_MOST_TTL} seconds.", param="ttl")
    return Rights(**given, expires=datetime.fromtimestamp(now + ttl, UTC).isoformat())


# --- one field -----------------------------------------------------------------------------------------------


def _only(data: Mapping[str, Any], known: Mapping[str, object], front: str = "") -> None:
    """A field that nobody knows might have been a limit, misspelt: refused."""
    if unknown := sorted(data.keys() - known.keys()):
        raise BadRequest(f"There is no such field; there are {', '.join(known)}.", param=(front + unknown[0])[:64])


def _given(data: Mapping[str, Any], name: str, read: Callable[[Any, str], Any]) -> Any:
    """What *data* says under *name*; None if it says nothing."""
    value = data.get(name)
    return None if value is None else read(value, name)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"`{name}` must be a string.", param=name)
    return value


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadRequest(f"`{name}` must be a list of strings.", param=name)
    return tuple(value)


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(f"`{name}` must be true or false.", param=name)
    return value


def _seconds(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(f"`{name}` must be a number of seconds.", param=name)
    return value


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"`{name}` must be a whole number.", param=name)
    return value


def _limits(kind: type[Limit]) -> Callable[[Any, str], Limit]:
    known = {field.name: _whole for field in fields(kind)}

    def read(value: Any, name: str) -> Limit:
        if not isinstance(value, dict):
            raise BadRequest(f"`{name}` must be an object of {', '.join(known)}.", param=name)
        _only(value, known, f"{name}.")
        return kind(**{each: _given(value, each, _whole_of(name)) for each in known})

    return read


def _whole_of(front: str) -> Callable[[Any, str], int]:
    return lambda value, name: _whole(value, f"{front}.{name}")


_RIGHTS: dict[str, Callable[[Any, str], Any]] = {
    "scopes": _texts,
    "expires": _text,
    "models": _texts,
    "budget": _limits(Allowance),
    "rate": _limits(Rate),
    "tier": _text,
    "private": _flag,
}
_FIELDS = {"name": _text, "project": _text, **_RIGHTS, "ttl": _seconds}
