"""Changing one member of a JSON object in its own bytes. Everything else stays as it was sent."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import msgspec

_encode = msgspec.json.encode
_decode = msgspec.json.decode

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]', re.DOTALL)
_SPACE = b" \t\r\n"


def member_spans(body: bytes, until: Collection[str] = ()) -> dict[str, tuple[int, int]]:
    """Where each member's value of the object *body* stands, as [start, end) in bytes.

    *body* must be valid JSON with an object on top. Of two members with one name the last counts, as in the parser.
    The members behind the last of those named in *until* are left out, where that is safe.
    """
    left = {name for name in until if _stands_once(body, name)} if until else set()
    stops = bool(left) and len(left) == len(until)
    spans: dict[str, tuple[int, int]] = {}
    depth, key, start = 0, None, -1
    for token in _TOKEN.finditer(body):
        sign = body[token.start()]
        if sign in b"{[":
            depth += 1
        elif sign in b"}]":
            depth -= 1
        if depth > 1 or (depth == 1 and sign in b"]}{"):
            continue
        if sign in b",}" and key is not None:
            spans[key] = _trimmed(body, start, token.start())
            left.discard(key)
            if stops and not left:
                break
            key, start = None, -1
        elif sign == 0x3A and start < 0:  # the colon after a key
            start = token.end()
        elif sign == 0x22 and start < 0:
            key = _decode(token.group())
    return spans


def _stands_once(body: bytes, name: str) -> bool:
    """Whether no second member can have this *name*, however it is spelled, so that the first one found is the one."""
    return name.isidentifier() and name.isascii() and b"\\u" not in body and body.count(_encode(name)) == 1


def _trimmed(body: bytes, start: int, end: int) -> tuple[int, int]:
    while body[start] in _SPACE:
        start += 1
    while body[end - 1] in _SPACE:
        end -= 1
    return start, end


def with_members(body: bytes, data: dict[str, Any], changes: dict[str, Any]) -> bytes:
    """*body* with the members in *changes* set; *data* is the same body, parsed.

    New members go in front, so that the common case needs no scan. When a member that exists has to change, the cost
    is a pass over the body's structure up to it, or over all of it where its name might come twice.
    """
    replaced = {name: value for name, value in changes.items() if name in data}
    if replaced:
        spans = member_spans(body, replaced)
        for name in sorted(replaced, key=lambda name: spans[name][0], reverse=True):
            start, end = spans[name]
            body = body[:start] + _encode(replaced[name]) + body[end:]
    added = b",".join(_encode(name) + b":" + _encode(value) for name, value in changes.items() if name not in data)
    if not added:
        return body
    brace = body.index(b"{") + 1
    return body[:brace] + added + (b"," if data else b"") + body[brace:]
