"""The way out: every string of a request is looked at, and what must not leave is replaced in the caller's own bytes.

Knows the places of a request, not the policy's words: it is told which findings to mask. Strings that a provider or a
client matches by name (ids, roles, the model, JSON keys, names in schemas) cannot carry a placeholder; what is found
there is reported as `fixed`, and the stage refuses; so are numbers, and what a provider has signed. The base64 of
pictures, sound and documents is not looked into.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import ahocorasick_rs
import msgspec

from membrain.dialects.strings import byte_edits, spliced
from membrain.masking.texts import IN_PROSE, KNOWN_KEYS, Piece, Pieces, Place, Scan, across, joined
from membrain.pii.arguments import last_word, origin_of
from membrain.pii.kinds import Span
from membrain.pii.vault import Vault

_REPEATED = 4
"""A masked value of at least so many characters is masked wherever it stands."""

_OPENING = re.compile(rb'"messages"\s*:\s*\[\s*\Z')
_GAP = re.compile(rb"\s*,\s*")
_BEFORE = 256


class Masked(NamedTuple):
    """A request after masking."""

    body: bytes
    masked: int
    """How many values were replaced, repetitions included."""
    origins: frozenset[tuple[str, str, str]]
    """(label, value, origin) of values that stood in a URL of that origin."""


class Part(NamedTuple):
    """A piece where it stands in this request.

    `turn` says how many answers of the model the conversation holds up to here. What stands around the messages is one
    piece, in which they are the one byte at `hole`.
    """

    piece: Piece
    start: int
    message: int = -1
    turn: int = 0
    hole: int = -1
    grown: int = 0

    def at(self, offset: int) -> int:
        """Where an offset in the piece is in the body."""
        return self.start + offset + (self.grown if 0 <= self.hole < offset else 0)


class Found(NamedTuple):
    """One string in which something was found."""

    part: Part
    place: Place
    spans: Sequence[Span]

    @property
    def text(self) -> str:
        """The string."""
        return self.place.text

    @property
    def fixed(self) -> bool:
        """Whether it cannot be changed."""
        return self.place.fixed

    @property
    def name(self) -> str:
        """Where it is, like `messages[0].content`; a name that is not everybody's is shown as `*`."""
        leaf = self.place.leaf
        path: tuple[int | str, ...] = leaf.path[:-1] if leaf.is_key else leaf.path
        if self.part.message >= 0:
            path = ("messages", self.part.message, *path)
        steps = "".join(f"[{each}]" if isinstance(each, int) else f".{_shown(each)}" for each in path)
        return (steps.removeprefix(".") or "body") + (" (name)" if leaf.is_key else "")

    def __repr__(self) -> str:
        return f"Found({self.name}, {', '.join(span.label for span in self.spans)})"


def _shown(name: str) -> str:
    return name if name in KNOWN_KEYS else "*"


class Request:
    """The strings of one request, those of *known* pieces looked at already.

    Made for each request; raises ValueError for a body whose strings do not add up.
    """

    def __init__(self, body: bytes, data: Mapping[str, Any], known: Pieces | None = None) -> None:
        self._body = body
        self._known = Pieces() if known is None else known
        self._new: dict[bytes, Piece] = {}
        self._roles = _roles(data.get("messages"))
        self._parts = list(self._parted(body, data))
        self._across: dict[tuple[int, int], Sequence[Span]] = {}
        """What was found where two messages meet, by part and place."""

    def __repr__(self) -> str:
        return f"Request({len(self._parts)} pieces, {len(self._new)} new)"

    def texts(self) -> set[str]:
        """Every text that is new and has to be looked at, once."""
        return set().union(*(piece.texts() for piece in self._new.values()))

    def look(self, scan: Scan) -> None:
        """Fill in what *scan* finds in each new text, and where two texts meet."""
        for piece in self._new.values():
            piece.look(scan)
        for piece in self._new.values():
            self._known.keep(piece)
        for row in range(1, len(self._parts)):
            if self._meet(self._parts[row - 1], self._parts[row]):
                self._look_across(row, scan)

    def found(self) -> list[Found]:
        """Every string in which something was found."""
        rows = [(row, at) for row, part in enumerate(self._parts) for at in part.piece.found]
        rows += [each for each in self._across if not self._place(each).spans]
        return [Found(self._parts[each[0]], self._place(each), self._spans(each)) for each in rows]

    def mask(self, vault: Vault, masks: Callable[[Span], bool]) -> Masked:
        """The body with a placeholder for each span that *masks* says, and for the same values elsewhere."""
        chosen: dict[tuple[int, int], list[Span]] = {}
        for row, part in enumerate(self._parts):
            for at in part.piece.found:
                self._choose(chosen, (row, at), masks)
        for where in self._across:
            self._choose(chosen, where, masks)
        if chosen:
            self._repeat(chosen)
        edits: list[tuple[int, int, bytes]] = []
        origins: set[tuple[str, str, str]] = set()
        for where in self._to_edit(chosen):
            part, place, spans = self._parts[where[0]], self._place(where), chosen.get(where, [])
            origins.update(_origins(place.text, spans))
            found = [(span.start, span.end, span.label) for span in spans]
            # A placeholder in a thought is the model's own word, which comes back signed: it is not a quotation.
            new = vault.edits(place.text, found, quoted=place.leaf.place != "thinking")
            edits += [(part.at(start), part.at(end), said) for start, end, said in byte_edits(place.leaf, new)]
        return Masked(spliced(self._body, edits), sum(map(len, chosen.values())), frozenset(origins))

    def _parted(self, body: bytes, data: Mapping[str, Any]) -> Iterator[Part]:
        """The piece around the messages, and each message; or all in one, where they cannot be told apart."""
        spans = _messages_in(body) if len(self._roles) > 1 else None
        if spans is None:
            yield Part(self._piece(body, data), 0)
            return
        first, last = spans[0][0], spans[-1][1]
        around = {name: value for name, value in data.items() if name != "messages"}
        frame = b"%b0%b" % (body[:first], body[last:])
        yield Part(self._piece(frame, around), 0, hole=first, grown=last - first - 1)
        turns = accumulate(role == "assistant" for role in self._roles)
        for row, ((start, end), turn) in enumerate(zip(spans, turns, strict=True)):
            yield Part(self._piece(body[start:end], data["messages"][row]), start, row, turn)

    def _piece(self, raw: bytes, data: Any) -> Piece:
        piece = self._known.get(raw) or self._new.get(raw)
        if piece is None:
            piece = self._new[raw] = Piece(raw, data)
        return piece

    def _place(self, where: tuple[int, int]) -> Place:
        return self._parts[where[0]].piece.places[where[1]]

    def _spans(self, where: tuple[int, int]) -> Sequence[Span]:
        return self._across.get(where) or self._place(where).spans

    def _choose(
        self, chosen: dict[tuple[int, int], list[Span]], where: tuple[int, int], masks: Callable[[Span], bool]
    ) -> None:
        if not self._place(where).fixed and (spans := [span for span in self._spans(where) if masks(span)]):
            chosen[where] = spans

    def _to_edit(self, chosen: Mapping[tuple[int, int], Sequence[Span]]) -> list[tuple[int, int]]:
        """The places to go through: with findings, and in pieces that may hold placeholders all."""
        quoting = {row for row, part in enumerate(self._parts) if part.piece.quotes}
        rows = {where for where in chosen if where[0] not in quoting}
        for row in quoting:
            places = self._parts[row].piece.places
            rows |= {(row, at) for at, place in enumerate(places) if not place.fixed}
        return sorted(rows)

    def _repeat(self, chosen: dict[tuple[int, int], list[Span]]) -> None:
        """Add the places where a masked value stands again, unfound, in its own turn or a later one.

        Not in earlier ones: they were sent as they are before, and a provider's prompt cache knows them like that.
        """
        first = self._values(chosen)
        if not first:
            return
        sources = list(first.values())
        search = ahocorasick_rs.AhoCorasick(
            list(first), matchkind=ahocorasick_rs.MatchKind.LeftmostLongest
        ).find_matches_as_indexes
        for row, part in enumerate(self._parts):
            if not search(part.piece.together):
                continue
            for at, place in enumerate(part.piece.places):
                if place.fixed or len(place.text) < _REPEATED:
                    continue
                spans = chosen.get((row, at), [])
                known = {(span.start, span.end) for span in spans}
                again = [
                    Span(start, end, sources[which][1].label, sources[which][1].kind)
                    for which, start, end in search(place.text)
                    if (start, end) not in known
                    and sources[which][0] <= part.turn
                    and _stands_alone(place.text, start, end, sources[which][1])
                ]
                if again:
                    chosen[row, at] = joined(spans, again)

    def _values(self, chosen: Mapping[tuple[int, int], Sequence[Span]]) -> dict[str, tuple[int, Span]]:
        """Each masked value that is long enough, with the first turn it stands in and how it was found there."""
        first: dict[str, tuple[int, Span]] = {}
        for where, spans in chosen.items():
            text, turn = self._place(where).text, self._parts[where[0]].turn
            for span in spans:
                value = text[span.start : span.end]
                if len(value) >= _REPEATED and (value not in first or turn < first[value][0]):
                    first[value] = (turn, span)
        return first

    def _meet(self, one: Part, other: Part) -> bool:
        """Whether a model reads the messages without a gap: they are of one speaker."""
        if min(one.message, other.message) < 0 or one.turn != other.turn or not (one.piece.said and other.piece.said):
            return False
        return self._roles[one.message] == self._roles[other.message]

    def _look_across(self, row: int, scan: Scan) -> None:
        """Find values that begin in the message before *row* and end in it.

        A value that ends with its message is not made longer by the next one: `…@corp.net` and `One` are no address.
        """
        left, right = self._parts[row - 1].piece.said[-1], self._parts[row].piece.said[0]
        for place, span in across(left, right, scan):
            if any(each.end == len(left.text) for each in left.spans):
                continue
            part = row - 1 if place is left else row
            where = (part, self._parts[part].piece.places.index(place))
            self._across[where] = joined(self._spans(where), [span])


class _Envelope(msgspec.Struct):
    messages: list[msgspec.Raw]


_envelope = msgspec.json.Decoder(_Envelope).decode


def _messages_in(body: bytes) -> list[tuple[int, int]] | None:
    """Where each message stands in *body*; None if that cannot be told.

    Wherever this finds them, they and what is around them are the whole body, so nothing goes unseen.
    """
    messages = [bytes(raw) for raw in _envelope(body).messages]
    start = body.find(messages[0])
    if start < 0 or not _opens(body, start):
        return None
    found = [(start, start + len(messages[0]))]
    for raw in messages[1:]:
        gap = _GAP.match(body, found[-1][1])
        if gap is None or not body.startswith(raw, gap.end()):
            return None
        found.append((gap.end(), gap.end() + len(raw)))
    return found


def _opens(body: bytes, start: int) -> bool:
    """Whether *start* is right behind the bracket that opens the messages."""
    return _OPENING.search(body, max(0, start - _BEFORE), start) is not None


def _roles(messages: Any) -> list[str]:
    """Who says each message."""
    messages = messages if isinstance(messages, list) else []
    return [str(message.get("role")) if isinstance(message, dict) else "" for message in messages]


def _stands_alone(text: str, start: int, end: int, span: Span) -> bool:
    """Whether a value of *span*'s kind stands at this place and not inside a longer word."""
    if span.label not in IN_PROSE and end - start >= 2 * _REPEATED:
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
