"""The strings of a piece of JSON, what is found in them, and a memory of pieces that come again.

A conversation is sent again and again, longer each time; its messages are pieces that were looked at before. Knows
which strings are said (and can be masked), which are matched by name (and cannot), and which are no text at all.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from membrain.dialects.strings import Leaf, Trail, strings_of
from membrain.pii.kinds import Span
from membrain.pii.vault import may_quote

Scan = Callable[[str], Sequence[Span]]
"""A text in, settled spans out; raises when it cannot say."""

SIGNED = frozenset({"signature", "encrypted_content", "thinking_signature", "thought_signature"})
"""Members that have to return to the provider byte for byte."""

FIXED = SIGNED | frozenset({
    "model", "role", "type", "id", "tool_call_id", "call_id", "tool_use_id", "previous_response_id", "object",
    "$ref", "$id", "$schema", "$defs", "format", "pattern",
})  # fmt: skip
"""Members whose value somebody matches by name."""

_FIXED_LISTS = frozenset({"enum", "required", "modalities"})
_KEYS = (
    "model messages role content type text name tools tool_calls tool_call_id tool_choice function arguments "
    "parameters properties description required enum items id index stream stream_options include_usage temperature "
    "top_p max_tokens max_completion_tokens stop seed n user metadata response_format json_schema schema strict "
    "image_url url detail input system input_schema additionalProperties anyOf oneOf allOf default examples title "
    "format minimum maximum refusal audio reasoning_effort logprobs top_logprobs presence_penalty frequency_penalty "
    "logit_bias parallel_tool_calls cache_control reasoning_content reasoning file file_data filename input_audio "
    "data prediction store service_tier modalities value const $ref $defs minLength maxLength pattern minItems "
    "maxItems thinking signature source media_type is_error verbosity "
)
KNOWN_KEYS = frozenset(_KEYS.split())
"""Keys that everybody uses. They are not looked at, and a place may be named by them."""

_MEDIA = re.compile(
    r"(?:data:[\w.+-]+/[\w.+-]+(?:;[\w=.-]+)*;base64,)?"
    r"(?:iVBORw0KGg|/9j/|R0lGOD|UklGR|Qk[01]|SUkq|TU0AK|JVBERi|SUQz|//[tuvk]|T2dnUw|GkXf|ZkxhQ|AAAA.{4}Z0eX|UEsDB)"
    r"[A-Za-z0-9+/_\s-]*={0,2}\s*"
)
"""Base64 that begins as pictures, sound, films, documents and archives do, and nothing else with it."""
_MEDIA_STARTS = (
    "data:", "iVBOR", "/9j/", "R0lGO", "UklGR", "Qk0", "Qk1", "SUkq", "TU0A", "JVBER", "SUQz", "//t", "//u", "//v",
    "//k", "T2dn", "GkXf", "ZkxhQ", "AAAA", "UEsDB",
)  # fmt: skip
"""How that begins: looked at first, because it costs a tenth of the pattern."""
_SAID_BY_ALL = frozenset({
    "user", "assistant", "system", "developer", "tool", "function", "text", "image_url", "object", "string",
    "json_object",
})  # fmt: skip
"""What stands in fixed members of nearly every message. It need not be looked at."""
_NUMBERS = re.compile(rb"[:\[,]\s*-?\d{9}")
_LARGE = 10**8
_RANDOM = frozenset({"seed"})
"""Members that hold numbers of no meaning, of which one in ten has the check digit of a card."""
SAID = frozenset({"text", "content", "input_text"})
"""Members that a model reads one after the other."""
SHORTEST = 3
"""Texts of fewer characters hold nothing."""
IN_PROSE = frozenset({"PERSON", "LOCATION", "ADDRESS"})
"""Labels that are not believed in names, ids and across seams."""
_SEAM = 96
"""Characters on each side of the seam of two texts that a model reads as one."""


class Place:
    """One string, and what was found in it. `fixed` means that it cannot be changed."""

    __slots__ = ("fixed", "leaf", "spans", "text")

    def __init__(self, leaf: Leaf, text: str, fixed: bool) -> None:
        self.leaf, self.text, self.fixed = leaf, text, fixed
        self.spans: Sequence[Span] = ()

    def __repr__(self) -> str:
        return f"Place({self.leaf!r}, {len(self.spans)} found)"

    @property
    def is_said(self) -> bool:
        """Whether a model reads it right before or after others of its message."""
        return not self.fixed and self.leaf.place in SAID and bool(self.text)


class Piece:
    """The strings of *raw*, a JSON text whose data is *data*. Looked at once, and then never changed."""

    __slots__ = ("found", "places", "quotes", "raw", "said", "together")

    def __init__(self, raw: bytes, data: Any) -> None:
        self.raw = raw
        self.places = list(_places(raw, data))
        self.quotes = may_quote(raw)
        self.said = [place for place in self.places if place.is_said]
        self.together = "\n".join(place.text for place in self.places if not place.fixed)
        """All that can be changed, as one text: to see soon that something is not in it."""
        self.found: list[int] = []
        """The places with findings, by their row."""

    def __repr__(self) -> str:
        return f"Piece({len(self.raw)} bytes, {len(self.places)} strings, {len(self.found)} with findings)"

    def texts(self) -> set[str]:
        """Every text that has to be looked at, once."""
        return {place.text for place in self.places if len(place.text) >= SHORTEST}

    def look(self, scan: Scan) -> None:
        """Fill in what *scan* finds in each text, and where two texts of one message meet."""
        for place in self.places:
            if len(place.text) >= SHORTEST and (found := scan(place.text)):
                place.spans = [span for span in found if span.label not in IN_PROSE] if place.fixed else found
        for left, right in zip(self.said, self.said[1:], strict=False):
            for place, span in across(left, right, scan):
                place.spans = joined(place.spans, [span])
        self.found = [row for row, place in enumerate(self.places) if place.spans]


class Pieces:
    """Pieces that were looked at, by their bytes; the newest *size* bytes of them. For the event loop only."""

    __slots__ = ("_held", "_kept", "_size")

    def __init__(self, size: int = 8 << 20) -> None:
        self._size = size
        self._held = 0
        self._kept: OrderedDict[bytes, Piece] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        return f"Pieces({len(self)})"

    def get(self, raw: bytes) -> Piece | None:
        """The piece with these bytes, if it is remembered."""
        piece = self._kept.get(raw)
        if piece is not None:
            self._kept.move_to_end(raw)
        return piece

    def keep(self, piece: Piece) -> None:
        """Remember *piece*, which was looked at."""
        if piece.raw not in self._kept:
            self._held += len(piece.raw)
        self._kept[piece.raw] = piece
        while self._held > self._size:
            raw, _ = self._kept.popitem(last=False)
            self._held -= len(raw)


def _places(raw: bytes, data: Any) -> Iterator[Place]:
    """Every string that is looked at, and every large number."""
    for leaf in strings_of(raw):
        if leaf.is_key:
            if leaf.place not in KNOWN_KEYS:
                yield Place(leaf, str(leaf.place), fixed=True)
            continue
        text, fixed = leaf.text, _is_fixed(leaf)
        if (fixed and text in _SAID_BY_ALL) or (text.startswith(_MEDIA_STARTS) and _MEDIA.fullmatch(text)):
            continue
        yield Place(leaf, text, fixed)
    if _NUMBERS.search(raw):
        yield from _numbers(raw, data)


def _numbers(raw: bytes, data: Any) -> Iterator[Place]:
    """The large numbers of a piece, each with the name of its member before it, as texts that cannot be masked."""
    left: list[tuple[Any, Trail | None, int | str | None, str]] = [(data, (None, None), None, "")]
    while left:
        node, around, place, name = left.pop()
        if isinstance(node, dict | list):
            inside = around if place is None else (around, place)
            items = node.items() if isinstance(node, dict) else enumerate(node)
            left += [(each, inside, step, step if isinstance(step, str) else name) for step, each in items]
        elif isinstance(node, int | float) and abs(node) >= _LARGE and name not in _RANDOM:
            text = f"{name}: {node:.0f}" if isinstance(node, float) else f"{name}: {node}"
            yield Place(Leaf(raw, 0, 2, False, around, place), text, fixed=True)


def _is_fixed(leaf: Leaf) -> bool:
    if isinstance(leaf.place, str):
        return leaf.place in FIXED and not _names_a_property(leaf)
    return leaf.around is not None and leaf.around[1] in _FIXED_LISTS


def _names_a_property(leaf: Leaf) -> bool:
    """Whether what looks like a member of the wire is one of the caller's own, inside free-form data."""
    return leaf.around is not None and leaf.around[1] in {"metadata", "properties"}


def across(left: Place, right: Place, scan: Scan) -> Iterator[tuple[Place, Span]]:
    """Values that begin in one text and end in the next, as a finding in each of them."""
    if left.text[-1].isspace() or right.text[0].isspace():
        return
    before, after = left.text[-_SEAM:], right.text[:_SEAM]
    seam, shift = len(before), len(left.text) - len(before)
    for span in scan(before + after):
        if span.start < seam < span.end and span.label not in IN_PROSE:
            yield left, Span(shift + span.start, len(left.text), span.label, span.kind, span.severity)
            yield right, Span(0, span.end - seam, span.label, span.kind, span.severity)


def joined(spans: Sequence[Span], more: Iterable[Span]) -> list[Span]:
    """Both in order; what overlaps becomes one, under the label of the longer."""
    joined: list[Span] = []
    for span in sorted((*spans, *more)):
        if not joined or span.start >= joined[-1].end:
            joined.append(span)
            continue
        last = joined[-1]
        winner = span if span.end - span.start > last.end - last.start else last
        joined[-1] = Span(last.start, max(last.end, span.end), winner.label, winner.kind, winner.severity)
    return joined
