"""The way out: every string of a request is looked at, and what must not leave is replaced in the caller's own bytes.

Knows JSON and the places of a request, not the policy's words: it is told which findings to mask. Strings that a
provider or a client matches by name (ids, roles, the model, JSON keys, names in schemas) cannot carry a placeholder;
what is found there is reported as `fixed`, and the stage refuses; so are numbers, and what a provider has signed. The
base64 of pictures, sound and documents is not looked into.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

import ahocorasick_rs
import msgspec

from membrain.dialects.strings import Leaf, Trail, byte_edits, spliced, strings_of
from membrain.pii.arguments import last_word, origin_of
from membrain.pii.kinds import Span
from membrain.pii.vault import Vault, may_quote

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
_NUMBERS = re.compile(rb"[:\[,]\s*-?\d{9}")
_LARGE = 10**8
_RANDOM = frozenset({"seed"})
"""Members that hold numbers of no meaning, of which one in ten has the check digit of a card."""
_SAID = frozenset({"text", "content", "input_text"})
_SHORTEST_MEDIA = 8
_SHORTEST = 3
"""Texts of fewer characters hold nothing."""
_REPEATED = 4
"""A masked value of at least so many characters is masked wherever it stands."""
_SEAM = 96
"""Characters on each side of the seam of two texts that a model reads as one."""
_IN_PROSE = frozenset({"PERSON", "LOCATION", "ADDRESS"})
"""Labels that are not believed in names, ids and across seams."""


@dataclass(slots=True)
class Place:
    """One string of the request, and what was found in it."""

    leaf: Leaf
    text: str = field(repr=False)
    message: int
    """Which message of the conversation it is in; -1 outside of it."""
    turn: int
    """How many answers of the model the conversation holds up to here."""
    fixed: bool
    spans: Sequence[Span] = ()

    @property
    def name(self) -> str:
        """Where it is, like `messages[0].content`; a name that is not everybody's is shown as `*`."""
        path = self.leaf.path[:-1] if self.leaf.is_key else self.leaf.path
        steps = "".join(
            f"[{step}]" if isinstance(step, int) else f".{step if step in KNOWN_KEYS else '*'}" for step in path
        )
        return (steps.removeprefix(".") or "body") + (" (name)" if self.leaf.is_key else "")


class Masked(NamedTuple):
    """A request after masking."""

    body: bytes
    masked: int
    """How many values were replaced, repetitions included."""
    origins: frozenset[tuple[str, str, str]]
    """(label, value, origin) of values that stood in a URL of that origin."""


class Request:
    """The strings of one request. Made for each; raises ValueError for a body whose strings do not add up."""

    def __init__(self, body: bytes, data: Mapping[str, Any]) -> None:
        self._body = body
        self._roles = _roles(data.get("messages"))
        self.places = list(_places(body, data))

    def texts(self) -> set[str]:
        """Every text that has to be looked at, once."""
        return {place.text for place in self.places if len(place.text) >= _SHORTEST}

    def look(self, scan: Scan) -> None:
        """Fill in what *scan* finds in each text, and where two texts meet."""
        for place in self.places:
            if len(place.text) >= _SHORTEST:
                found = scan(place.text)
                if found:
                    place.spans = [span for span in found if span.label not in _IN_PROSE] if place.fixed else found
        for left, right in self._seams():
            _look_across(left, right, scan)

    def _seams(self) -> Iterator[tuple[Place, Place]]:
        """Texts that a model reads one after the other without a gap between them."""
        last: Place | None = None
        for place in self.places:
            if place.fixed or place.leaf.is_key or not place.text:
                continue
            if last is not None and _meet(last, place, self._roles):
                yield last, place
            last = place

    def mask(self, vault: Vault, masks: Callable[[Span], bool]) -> Masked:
        """The body with a placeholder for each span that *masks* says, and for the same values elsewhere."""
        chosen = {
            row: spans
            for row, place in enumerate(self.places)
            if place.spans and not place.fixed and (spans := [span for span in place.spans if masks(span)])
        }
        if chosen:
            self._repeat(chosen)
        quotes = may_quote(self._body)
        if not chosen and not quotes:
            return Masked(self._body, 0, frozenset())
        edits: list[tuple[int, int, bytes]] = []
        origins: set[tuple[str, str, str]] = set()
        for row in range(len(self.places)) if quotes else sorted(chosen):
            place, spans = self.places[row], chosen.get(row, [])
            if not place.fixed:
                origins.update(_origins(place.text, spans))
                found = [(span.start, span.end, span.label) for span in spans]
                # A placeholder in a thought is the model's own word, which comes back signed: it is not a quotation.
                quoted = place.leaf.place != "thinking"
                new = vault.edits(place.text, found, quoted=quoted)
                edits += byte_edits(place.leaf, new)
        return Masked(spliced(self._body, edits), sum(map(len, chosen.values())), frozenset(origins))

    def _repeat(self, chosen: dict[int, list[Span]]) -> None:
        """Add the places where a masked value stands again, unfound, in its own turn or a later one.

        Not in earlier ones: they were sent as they are before, and a provider's prompt cache knows them like that.
        """
        first: dict[str, tuple[int, Span]] = {}
        for row, spans in chosen.items():
            place = self.places[row]
            for span in spans:
                value = place.text[span.start : span.end]
                if len(value) >= _REPEATED and (value not in first or place.turn < first[value][0]):
                    first[value] = (place.turn, span)
        if not first:
            return
        sources = list(first.values())
        find = ahocorasick_rs.AhoCorasick(list(first), matchkind=ahocorasick_rs.MatchKind.LeftmostLongest)
        search = find.find_matches_as_indexes
        for row, place in enumerate(self.places):
            if place.fixed or len(place.text) < _REPEATED or not (hits := search(place.text)):
                continue
            spans = chosen.get(row, [])
            known = {(span.start, span.end) for span in spans}
            again = [
                Span(start, end, sources[which][1].label, sources[which][1].kind)
                for which, start, end in hits
                if (start, end) not in known
                and sources[which][0] <= place.turn
                and _stands_alone(place.text, start, end, sources[which][1])
            ]
            if again:
                chosen[row] = _joined(spans, again)


def _places(body: bytes, data: Mapping[str, Any]) -> Iterator[Place]:
    """Every string that is looked at, and every large number."""
    turns = _turns(_roles(data.get("messages")))
    last: Trail | None = None
    message, turn = -1, 0
    for leaf in strings_of(body):
        if leaf.is_key:
            if leaf.place not in KNOWN_KEYS:
                yield Place(leaf, str(leaf.place), -1, 0, fixed=True)
            continue
        around = leaf.around
        if around is not last:
            last, message = around, _message(around)
            turn = turns[message] if 0 <= message < len(turns) else 0
        text = leaf.text
        if len(text) < _SHORTEST_MEDIA or not _MEDIA.fullmatch(text):
            yield Place(leaf, text, message, turn, fixed=_is_fixed(leaf))
    if _NUMBERS.search(body):
        yield from _numbers(body, data)


def _numbers(body: bytes, data: Mapping[str, Any]) -> Iterator[Place]:
    """The large numbers of a body, each with the name of its member before it, as texts that cannot be masked."""
    left: list[tuple[Any, Trail | None, int | str | None, str]] = [(data, (None, None), None, "")]
    while left:
        node, around, place, name = left.pop()
        if isinstance(node, dict | list):
            inside = around if place is None else (around, place)
            items = node.items() if isinstance(node, dict) else enumerate(node)
            left += [(each, inside, step, step if isinstance(step, str) else name) for step, each in items]
        elif isinstance(node, int | float) and abs(node) >= _LARGE and name not in _RANDOM:
            text = f"{name}: {node:.0f}" if isinstance(node, float) else f"{name}: {node}"
            yield Place(Leaf(body, 0, 2, False, around, place), text, -1, 0, fixed=True)


def _roles(messages: Any) -> list[str]:
    """Who says each message."""
    messages = messages if isinstance(messages, list) else []
    return [str(message.get("role")) if isinstance(message, dict) else "" for message in messages]


def _turns(roles: Sequence[str]) -> list[int]:
    """For each message, how many of the model's own there are up to it."""
    return list(accumulate(role == "assistant" for role in roles))


def _message(around: Trail | None) -> int:
    """The message that what stands in *around* belongs to; -1 outside of the conversation."""
    inner: Trail | None = None
    while around is not None and around[0] is not None:
        if around[1] == "messages" and around[0][0] is None:
            return inner[1] if inner is not None and isinstance(inner[1], int) else -1
        inner, around = around, around[0]
    return -1


def _is_fixed(leaf: Leaf) -> bool:
    if isinstance(leaf.place, str):
        return leaf.place in FIXED and not _names_a_property(leaf)
    return leaf.around is not None and leaf.around[1] in _FIXED_LISTS


def _names_a_property(leaf: Leaf) -> bool:
    """Whether what looks like a member of the wire is one of the caller's own, inside free-form data."""
    return leaf.around is not None and leaf.around[1] in {"metadata", "properties"}


def _meet(one: Place, other: Place, roles: Sequence[str]) -> bool:
    """Whether a model reads both texts without a gap: parts of a message, or messages of one speaker in a row."""
    if one.turn != other.turn or not (one.leaf.place in _SAID and other.leaf.place in _SAID):
        return False
    if min(one.message, other.message) < 0 or roles[one.message] != roles[other.message]:
        return False
    return not (one.text[-1].isspace() or other.text[0].isspace())


def _look_across(left: Place, right: Place, scan: Scan) -> None:
    """Find values that begin in one text and end in the next; each half becomes a finding of its own.

    A value that ends with its message is not made longer by the next one: `…@corp.net` and `One` are no address.
    """
    before, after = left.text[-_SEAM:], right.text[:_SEAM]
    seam, shift = len(before), len(left.text) - len(before)
    for span in scan(before + after):
        if not span.start < seam < span.end or span.label in _IN_PROSE:
            continue
        if left.message == right.message or not _ends_in(left, shift + span.start):
            halves = ((left, shift + span.start, len(left.text)), (right, 0, span.end - seam))
            for place, start, end in halves:
                place.spans = _joined(place.spans, [Span(start, end, span.label, span.kind, span.severity)])


def _ends_in(place: Place, start: int) -> bool:
    """Whether a finding behind *start* reaches the end of the text."""
    return any(span.start >= start and span.end == len(place.text) for span in place.spans)


def _joined(spans: Sequence[Span], more: Iterable[Span]) -> list[Span]:
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


def _stands_alone(text: str, start: int, end: int, span: Span) -> bool:
    """Whether a value of *span*'s kind stands at this place and not inside a longer word."""
    if span.label not in _IN_PROSE and end - start >= 2 * _REPEATED:
        return True
    return not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum())


def _origins(text: str, spans: Iterable[Span]) -> Iterator[tuple[str, str, str]]:
    """For values that stand in a URL: what, and whose URL."""
    if "://" not in text:
        return
    for span in spans:
        if (origin := origin_of(last_word(text, span.start))) is not None:
            yield span.label, text[span.start : span.end], origin


def reread(body: bytes) -> dict[str, Any]:
    """The masked body as data."""
    data: dict[str, Any] = msgspec.json.decode(body)
    return data
