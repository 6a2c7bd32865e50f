"""Every string of a JSON body and where its bytes stand, so that a part of one can be changed and nothing else.

It reads and cuts; it does not judge what a string means, and it never writes JSON anew. The bodies it is given have
been through a parser already: one that is not valid JSON gets an error or a useless map, never a hang.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

import msgspec

Trail = tuple[Any, "int | str | None"]
"""Where something stands: the trail of what is around it, and its index or name in there. None around the top."""

_QUOTE, _BACKSLASH = b'"', b"\\"
_NOT_STRUCTURE = bytes(set(range(256)) - set(b"{}[],:"))
_OPENS_OBJECT, _OPENS_ARRAY, _COMMA = b"{[,"
_BEFORE_KEY = (b",", b"{")

_WIDE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # one character in two escapes
    rb"|\\u[0-9a-fA-F]{4}|\\.|[\xc2-\xf4][\x80-\xbf]+",
    re.DOTALL,
)
"""What takes several bytes of a JSON string for one character of its text."""


class Leaf(msgspec.Struct, frozen=True, gc=False, eq=False):
    """One string of a body, value or key. `start` and `end` are byte offsets of its token, quotes included."""

    body: bytes
    start: int
    end: int
    is_key: bool
    around: Trail | None
    place: int | str | None

    @property
    def path(self) -> tuple[int | str, ...]:
        """The keys and indices from the top down to this string; a key's path is that of the member it names."""
        steps: list[int | str] = []
        place, around = self.place, self.around
        while around is not None:
            steps.append(place)  # type: ignore[arg-type]  # only the top, which nothing is around, has no place
            around, place = around
        return tuple(reversed(steps))

    @property
    def raw(self) -> bytes:
        """The bytes between the quotes, as they were sent: what to remember a text by."""
        return self.body[self.start + 1 : self.end - 1]

    @property
    def text(self) -> str:
        """The text, decoded anew each time it is asked for."""
        return _text(self.body[self.start : self.end])

    def __repr__(self) -> str:
        return f"Leaf({self.start}:{self.end}{', key' if self.is_key else ''})"


def strings_of(body: bytes) -> list[Leaf]:
    """Every string in *body*, valid JSON, in the order they stand there: keys, values, and all of doubled members.

    The cost is one split at the quotes and then a step for each string; the long texts are never looked at. A body
    whose strings or brackets do not add up is a ValueError.
    """
    leaves: list[Leaf] = []
    keep = leaves.append
    signs_in, names = _Signs(), {b"": ""}
    around: Trail | None = None
    place: int | str | None = None
    at = 0
    pieces = _cut_at_quotes(body)
    for gap, string in zip(pieces[::2], pieces[1::2], strict=False):
        start = at + len(gap)
        at = start + len(string) + 2
        signs = signs_in[gap]
        if signs == b":":
            keep(Leaf(body, start, at, False, around, place))
            continue
        if signs != b"," or type(place) is not str:
            around, place = _moved(signs, around, place)
        is_key = type(place) is str and signs[-1:] in _BEFORE_KEY
        if is_key and (place := names.get(string)) is None:
            place = names[string] = _text(body[start:at])
        keep(Leaf(body, start, at, is_key, around, place))
    _moved(signs_in[pieces[-1]], around, place)
    return leaves


class _Signs(dict[bytes, bytes]):
    """The structure in the bytes between two strings; the same few gaps come again and again."""

    def __missing__(self, gap: bytes) -> bytes:
        signs = self[gap] = gap.translate(None, _NOT_STRUCTURE)
        return signs


def _cut_at_quotes(body: bytes) -> list[bytes]:
    """*body* cut at the quotes that delimit strings: gap, string, gap, string, …, gap, each as long as it is.

    Escaped quotes and backslashes become two zero bytes each before the cut, which no JSON can hold.
    """
    if rb"\"" in body:
        body = body.replace(rb"\\", b"\0\0").replace(rb"\"", b"\0\0")
    pieces = body.split(b'"')
    if len(pieces) % 2 == 0:
        raise ValueError("The body breaks off in a string.")
    return pieces


def _moved(signs: bytes, around: Trail | None, place: int | str | None) -> tuple[Trail | None, int | str | None]:
    """The place behind the brackets and commas in *signs*, coming from *place* in *around*."""
    for sign in signs:
        if sign == _OPENS_OBJECT:
            around, place = (around, place), ""
        elif sign == _OPENS_ARRAY:
            around, place = (around, place), 0
        elif sign == _COMMA:
            place = place + 1 if isinstance(place, int) else ""
        elif sign in b"}]":
            if around is None:
                raise ValueError("The body closes more than it opens.")
            around, place = around
    return around, place


def _text(token: bytes) -> str:
    if _BACKSLASH not in token:
        return token[1:-1].decode("utf-8", "surrogatepass")
    try:
        return msgspec.json.decode(token, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):  # half of a surrogate pair, which only the slower parser takes
        return str(json.loads(token))


def byte_edits(leaf: Leaf, edits: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, bytes]]:
    """*edits* of a leaf's text (start, end in characters, new text) as edits of its body (start, end in bytes).

    The edits must come in order and not overlap. The new text is escaped as a JSON string has to be.
    """
    edits = list(edits)
    spans = byte_spans(leaf, [(start, end) for start, end, _ in edits])
    return [(start, end, escaped(new)) for (start, end), (_, _, new) in zip(spans, edits, strict=True)]


def byte_spans(leaf: Leaf, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Where *spans*, [start, end) in characters of the leaf's text, stand in its body, as [start, end) in bytes.

    The spans must come in order and not overlap, and lie within the text: else ValueError. The bytes of a span are
    whole characters: an escape, a pair of escapes or a UTF-8 sequence is never cut.
    """
    raw, first = leaf.raw, leaf.start + 1
    if raw.isascii() and _BACKSLASH not in raw:
        return [(first + start, first + end) for start, end in _checked(spans, len(raw))]
    text = leaf.text
    found: list[tuple[int, int]] = []
    byte = char = 0
    for start, end in _checked(spans, len(text)):
        begin = _advanced(raw, byte, text[char:start])
        byte, char = _advanced(raw, begin, text[start:end]), end
        found.append((first + begin, first + byte))
    return found


def _checked(spans: Sequence[tuple[int, int]], length: int) -> Sequence[tuple[int, int]]:
    last = 0
    for start, end in spans:
        if not last <= start <= end <= length:
            raise ValueError("The spans do not lie in order within the text.")
        last = end
    return spans


def _advanced(raw: bytes, at: int, text: str) -> int:
    """The offset in *raw* behind the bytes that say *text*, which begin at *at*.

    Most writers escape as ours does, so its bytes are tried first; for the others the characters are counted.
    """
    try:
        plain = msgspec.json.encode(text)[1:-1]
    except UnicodeEncodeError:
        plain = None
    if plain is not None and raw.startswith(plain, at):
        return at + len(plain)
    here, left = at, len(text)
    for wide in _WIDE.finditer(raw, at):
        narrow = wide.start() - here
        if narrow >= left:
            break
        left -= narrow + 1
        here = wide.end()
    return here + left


def escaped(text: str) -> bytes:
    """*text* as the inside of a JSON string."""
    try:
        return msgspec.json.encode(text)[1:-1]
    except UnicodeEncodeError:
        return json.dumps(text)[1:-1].encode()


def spliced(body: bytes, edits: Sequence[tuple[int, int, bytes]]) -> bytes:
    """*body* with each [start, end) replaced by its bytes; every other byte is as it was.

    The edits may come in any order; if two overlap or one lies outside, ValueError.
    """
    if not edits:
        return body
    parts: list[bytes] = []
    at = 0
    for start, end, new in sorted(edits, key=itemgetter(0, 1)):
        if not at <= start <= end <= len(body):
            raise ValueError("The edits overlap or lie outside of the body.")
        parts += (body[at:start], new)
        at = end
    return b"".join((*parts, body[at:]))
