"""The way out: every string of a request is looked at, and what must not leave is replaced in the caller's own bytes.

Knows the places of a request, not the policy's words: it is told which findings to mask. Strings that a provider or a
client matches by name (ids, roles, the model, JSON keys, names in schemas) cannot carry a placeholder; what is found
there is reported as `fixed`, and the stage refuses; so are numbers. What a provider has signed is fixed too, and says
by what it may be known again. The base64 of pictures, sound and documents is not looked into.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
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

_CONVERSATIONS = ("messages", "input")
"""Members that hold a conversation, item by item."""
_LISTS = ("system", "tools", *_CONVERSATIONS)
"""Members whose items come again from turn to turn, each a piece of its own."""
_READ = frozenset({"system", *_CONVERSATIONS})
"""Those that a model reads one after the other."""
_OPENINGS = {name: re.compile(rb'"%b"\s*:\s*\[\s*\Z' % name.encode()) for name in _LISTS}
_GAP = re.compile(rb"\s*,\s*")
_BEFORE = 256


class Masked(NamedTuple):
    """A request after masking."""

    body: bytes
    masked: int
    """How many values were replaced, repetitions included."""
    origins: frozenset[tuple[str, str, str]]
    """(label, value, origin) of values that stood in a URL of that origin."""
    left: tuple[Found, ...] = ()
    """Places that have to return as they are, and hold what was replaced elsewhere."""


class Part(NamedTuple):
    """A piece where it stands in this request: the item `row` of the list `within`, or what stands around those lists.

    `turn` says how many answers of the model the conversation holds up to here. Around them, each list is one byte at
    one of the `holes`: its offset there, and how many bytes more it has in the body.
    """

    piece: Piece
    start: int = 0
    within: str = ""
    row: int = -1
    turn: int = 0
    role: str = ""
    holes: tuple[tuple[int, int], ...] = ()

    def at(self, offset: int) -> int:
        """Where an offset in the piece is in the body."""
        return self.start + offset + sum(grown for hole, grown in self.holes if hole < offset)


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
    def signed(self) -> str:
        """By what it is known again, if it has to return as it is; else empty."""
        return self.place.signed

    @property
    def name(self) -> str:
        """Where it is, like `messages[0].content`; a name that is not everybody's is shown as `*`."""
        leaf = self.place.leaf
        path: tuple[int | str, ...] = leaf.path[:-1] if leaf.is_key else leaf.path
        if self.part.within:
            path = (self.part.within, self.part.row, *path)
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

    def mask(
        self, vault: Vault, masks: Callable[[Span], bool], knows: Callable[[str], bool] = lambda _: False
    ) -> Masked:
        """The body with a placeholder for each span that *masks* says, and for the same values elsewhere.

        *knows* says of a signed text whether it was given out by us, and so holds no value.
        """
        chosen: dict[tuple[int, int], list[Span]] = {}
        for row, part in enumerate(self._parts):
            for at in part.piece.found:
                self._choose(chosen, (row, at), masks)
        for where in self._across:
            self._choose(chosen, where, masks)
        left = tuple(self._repeat(chosen, knows)) if chosen else ()
        edits: list[tuple[int, int, bytes]] = []
        origins: set[tuple[str, str, str]] = set()
        for where in self._to_edit(chosen):
            part, place, spans = self._parts[where[0]], self._place(where), chosen.get(where, [])
            origins.update(_origins(place.text, spans))
            found = [(span.start, span.end, span.label) for span in spans]
            # A placeholder in a thought is the model's own word, which comes back signed: it is not a quotation.
            new = vault.edits(place.text, found, quoted=place.leaf.place != "thinking")
            edits += [(part.at(start), part.at(end), said) for start, end, said in byte_edits(place.leaf, new)]
        return Masked(spliced(self._body, edits), sum(map(len, chosen.values())), frozenset(origins), left)

    def _parted(self, body: bytes, data: Mapping[str, Any]) -> Iterator[Part]:
        """What stands around the lists, and each item of them; what cannot be told apart is left where it is."""
        lists = _lists_in(body, data)
        frame, holes = _framed(body, [(spans[0][0], spans[-1][1]) for spans in lists.values()])
        around = {name: value for name, value in data.items() if name not in lists} if lists else data
        yield Part(self._piece(frame, around), holes=holes)
        for name in sorted(lists, key=_LISTS.index):
            roles = [_role(item) if name in _CONVERSATIONS else "" for item in data[name]]
            turns = accumulate(role == "assistant" for role in roles)
            for row, ((start, end), turn) in enumerate(zip(lists[name], turns, strict=True)):
                yield Part(self._piece(body[start:end], data[name][row]), start, name, row, turn, roles[row])

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

    def _repeat(self, chosen: dict[tuple[int, int], list[Span]], knows: Callable[[str], bool]) -> Iterator[Found]:
        """Add the places where a masked value stands again, unfound, in its own turn or a later one.

        Not in earlier ones: they were sent as they are before, and a provider's prompt cache knows them like that.
        Gives those that cannot be masked, save what we gave out ourselves.
        """
        first = self._values(chosen)
        if not first:
            return
        sources = list(first.values())
        search = ahocorasick_rs.AhoCorasick(
            list(first), matchkind=ahocorasick_rs.MatchKind.LeftmostLongest
        ).find_matches_as_indexes

        def again(part: Part, text: str) -> list[Span]:
            return [
                Span(start, end, sources[which][1].label, sources[which][1].kind)
                for which, start, end in search(text)
                if sources[which][0] <= part.turn and _stands_alone(text, start, end, sources[which][1])
            ]

        for row, part in enumerate(self._parts):
            for place in part.piece.signed:
                if (spans := again(part, place.text)) and not knows(place.signed):
                    yield Found(part, place, spans)
            if not search(part.piece.together):
                continue
            for at, place in enumerate(part.piece.places):
                if place.fixed or len(place.text) < _REPEATED:
                    continue
                spans = chosen.get((row, at), [])
                known = {(span.start, span.end) for span in spans}
                more = [span for span in again(part, place.text) if (span.start, span.end) not in known]
                if more:
                    chosen[row, at] = joined(spans, more)

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
        """Whether a model reads the items without a gap: they are of one speaker."""
        if one.within != other.within or one.within not in _READ or one.turn != other.turn:
            return False
        return bool(one.piece.said and other.piece.said) and one.role == other.role

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
    """The lists of a body, as they stand there."""

    system: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()
    messages: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()


_envelope = msgspec.json.Decoder(_Envelope).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


def _lists_in(body: bytes, data: Mapping[str, Any]) -> dict[str, list[tuple[int, int]]]:
    """Where each item stands of the lists that can be told apart from the rest of *body*.

    Wherever this finds them, they and what is around them are the whole body, so nothing goes unseen.
    """
    names = [name for name in _LISTS if isinstance(data.get(name), list) and data[name]]
    if not names:
        return {}
    envelope = _envelope(body)
    found = {name: _items_in(body, name, _items(getattr(envelope, name))) for name in names}
    lists = {name: spans for name, spans in found.items() if spans}
    ends = sorted((spans[0][0], spans[-1][1]) for spans in lists.values())
    return lists if all(one[1] <= other[0] for one, other in pairwise(ends)) else {}


def _items_in(body: bytes, name: str, raws: Sequence[msgspec.Raw]) -> list[tuple[int, int]]:
    """Where each item of the list *name* stands in *body*; empty if that cannot be told."""
    items = [bytes(raw) for raw in raws]
    start = body.find(items[0])
    if start < 0 or _OPENINGS[name].search(body, max(0, start - _BEFORE), start) is None:
        return []
    found = [(start, start + len(items[0]))]
    for raw in items[1:]:
        gap = _GAP.match(body, found[-1][1])
        if gap is None or not body.startswith(raw, gap.end()):
            return []
        found.append((gap.end(), gap.end() + len(raw)))
    return found


def _framed(body: bytes, spans: Iterable[tuple[int, int]]) -> tuple[bytes, tuple[tuple[int, int], ...]]:
    """*body* with one byte for each of *spans*, and where those bytes are and how much shorter they are."""
    holes: list[tuple[int, int]] = []
    shrunk = 0
    for start, end in sorted(spans):
        holes.append((start - shrunk, end - start - 1))
        shrunk += end - start - 1
    return spliced(body, [(start, end, b"0") for start, end in spans]), tuple(holes)


def _role(item: Any) -> str:
    """Who says an item. One of responses that has no role is a tool's answer, or the model's own."""
    if not isinstance(item, dict):
        return ""
    kind = item.get("type")
    if "role" in item or not isinstance(kind, str):
        return str(item.get("role"))
    return "tool" if kind.endswith(("_output", "_response")) else "assistant"


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
