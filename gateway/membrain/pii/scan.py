"""The engine: runs a table of kinds over a text and gives spans. It knows no kind by name.

A pass is one RE2 alternation without groups over the text's UTF-8 bytes: linear time by construction, whatever the
text. The few candidates go to their kinds' checks in Python; a refused one is looked into again from its next word
on. Offsets are bytes until the end and characters from there. Whatever goes wrong inside is a `DetectionFailed` with
neither the text nor a part of it: the caller refuses the request, nothing goes out unseen.
"""

from __future__ import annotations

import math
import re
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import ahocorasick_rs
import re2  # type: ignore[import-untyped]  # the package ships no types

from membrain.errors import GuardFailed
from membrain.pii.kinds import WORDED, Kind, Severity, Span
from membrain.pii.leads import ROWS, Leads, beginnings

_ANCHORED = re2._re2.RE2.Anchor.ANCHOR_BOTH  # noqa: SLF001  # the wrapper builds objects that this loop has no use for
_ANYWHERE = re2._re2.RE2.Anchor.UNANCHORED  # noqa: SLF001
_HERE = re2._re2.RE2.Anchor.ANCHOR_START  # noqa: SLF001
_BUDGET = 64 << 20
_NEAR = 64
_INNER = bytes(range(0x80, 0xC0))
"""Bytes that continue a character."""
_NEXT = re.compile(rb"[A-Za-z0-9\x80-\xff]+|[^A-Za-z0-9\x80-\xff]")
_SHORT = 4
_MUCH = 1 << 13
"""Known values of so many characters get the automaton that is made in linear time; the default answers faster."""
_ONLY = [0]
"""The rows of a candidate in a pass of one kind."""
_GLANCE = 64
"""After so many candidates the clock is looked at."""
KNOWN = "known_value"

_Found = tuple[int, int, Kind]


class DetectionFailed(GuardFailed):
    """A detector could not do its work, so nobody knows what the text holds and it must not leave."""

    code = "redaction_failed"


def failed(who: str, error: Exception) -> DetectionFailed:
    """What to raise for an error of a detector: its type, and nothing of what it says."""
    return DetectionFailed(f"{who} failed ({type(error).__name__}), so nothing was sent.")


def in_time(due: float) -> None:
    """Raise `DetectionFailed` once the clock (`time.monotonic`) has passed `due`: a text half seen is not seen."""
    if time.monotonic() > due:
        raise DetectionFailed("Looking for private values took too long, so nothing was sent.")


def options(*, capture: bool = False) -> Any:
    """How RE2 is used in detection: over bytes, and without groups unless they are asked for."""
    made = re2.Options()
    made.encoding = re2.Options.Encoding.LATIN1
    made.max_mem = _BUDGET
    made.never_capture = not capture
    made.log_errors = False
    return made


class _Pass:
    """One alternation, and what tells its rows apart."""

    __slots__ = (
        "_begin", "_grouped", "_kinds", "_near", "_needs", "_others", "_rows", "_search", "_tails", "_untold",
        "_values", "own",
    )  # fmt: skip

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._kinds = kinds
        worded = kinds[0].family in WORDED
        self._begin = [beginnings(kind.lead or kind.pattern) for kind in kinds] if worded else []
        self._search: Any = None if worded else _seeker(_either(kind.pattern for kind in kinds))
        self._untold = [
            (row, each.wide, _sign(kinds[row].pattern)) for row, each in enumerate(self._begin) if each.elsewhere
        ]
        self._others: dict[tuple[int, ...], Any] = {(): None}
        self.own: list[Any] = [None] * len(kinds)
        self._rows: Any = None
        self._needs = _needs(kinds)
        self._grouped = [_groups(kind.pattern) for kind in kinds]
        self._tails = [_tail(kind.pattern) for kind in kinds]
        self._values: list[Any] = [None] * len(self._grouped)
        self._near = [_seeker(kind.context) if kind.context else None for kind in kinds]

    @property
    def words(self) -> list[frozenset[bytes]]:
        """For each row, what its matches begin with; empty where this pass searches."""
        return [each.words for each in self._begin]

    def run(self, data: bytes, found: list[_Found], due: float, places: Sequence[int] = ()) -> None:
        """Append what this pass finds; after `due` it raises. `places` are where its `words` stand."""
        judge, size, place, seen, find = self._judge, len(data), 0, 0, self._search
        if self._begin:
            others, rows = self.elsewhere(data)
            if not places and not rows:
                return
            find = _Walk(self, places, others, rows, due).find
        elif self._needs and not any(sign in data for sign in self._needs):
            return
        while True:
            start, end = find(_ANYWHERE, data, place, size)[0]
            if start < 0:
                return
            seen += 1
            if not seen % _GLANCE:
                in_time(due)
            hit = judge(data, start, end)
            if hit is None:
                place = _NEXT.match(data, start).end()  # type: ignore[union-attr]  # any sign matches
                continue
            if hit[0] < hit[1]:
                found.append(hit)
            place = max(hit[1], start + 1)

    def elsewhere(self, data: bytes) -> tuple[Any, tuple[int, ...]]:
        """What finds where else in `data` a match may begin, and of which rows; nothing and none if nowhere."""
        rows = tuple(row for row, wide, sign in self._untold if sign in data and not (wide and data.isascii()))
        if rows not in self._others:
            self._others[rows] = _seeker(_either(self._kinds[row].lead or self._kinds[row].pattern for row in rows))
        return self._others[rows], rows

    def own_of(self, row: int) -> Any:
        """What matches a row alone."""
        self.own[row] = _seeker(self._kinds[row].pattern)
        return self.own[row]

    def _judge(self, data: bytes, start: int, end: int) -> _Found | None:
        """The first kind that takes this candidate, with the ends of the value."""
        text = data[start:end]
        rows = _ONLY if len(self._kinds) == 1 else (self._rows or self._tellers())(text)
        if not rows:
            raise LookupError  # the alternation took it, so a row must
        if len(rows) > 1:
            rows.sort()
        for row in rows:
            first, last = start, end
            if self._tails[row]:
                first = last - self._tails[row]
            elif self._grouped[row]:
                first, last = (self._values[row] or self._value(row))(_ANCHORED, text, 0, len(text))[-1]
                if first < 0:
                    continue
                first, last = start + first, start + last
            kind, near = self._kinds[row], self._near[row]
            if near is not None:
                around = data[max(0, first - _NEAR) : last + _NEAR // 2]
                if near(_ANYWHERE, around, 0, len(around))[0][0] < 0:
                    continue
            taken = kind.check(data, first, last)
            if taken is not None:
                return (*_whole(data, *taken), kind)
        return None

    def _tellers(self) -> Any:
        """What tells which rows a candidate is of. Compiled at the first one, as what is below: starting stays fast."""
        rows = re2.Set.FullMatchSet(options())
        for kind in self._kinds:
            rows.Add(kind.pattern.encode())
        rows.Compile()
        self._rows = rows._set.Match  # noqa: SLF001
        return self._rows

    def _value(self, row: int) -> Any:
        """What finds a row's group."""
        self._values[row] = _seeker(self._kinds[row].pattern, capture=True)
        return self._values[row]


class _Walk:
    """Finds the first match of a pass from a place on, as RE2 would; asked for later and later places of one text.

    The alternation of all kinds is too large to be run over a text that it has not seen the like of: RE2 would be
    busy making states. Where a match may begin, one row after the other makes few.
    """

    __slots__ = ("_at", "_due", "_next", "_of", "_others", "_places", "_rows")

    def __init__(self, of: _Pass, places: Sequence[int], others: Any, rows: Sequence[int], due: float) -> None:
        self._of, self._places, self._others, self._rows, self._due = of, places, others, rows, due
        self._next, self._at = -1, 0

    def find(self, _: Any, data: bytes, place: int, size: int) -> tuple[tuple[int, int]]:
        """The ends of the first match from `place` on, or (-1, -1), as `_seeker` gives them."""
        places, own = self._places, self._of.own
        while place <= size:
            stop = self._elsewhere(data, place, size)
            first = bisect_left(places, place * ROWS, self._at)
            for at in range(first, bisect_left(places, stop * ROWS, first)):
                start, row = divmod(places[at], ROWS)
                end = (own[row] or self._of.own_of(row))(_HERE, data, start, size)[0][1]
                if end >= 0:
                    self._at = at
                    return ((start, end),)
                if not at % _GLANCE:
                    in_time(self._due)
            if stop <= size and (end := self._end(data, stop, size)) >= 0:
                return ((stop, end),)
            place = stop + 1
        return _NOWHERE

    def _elsewhere(self, data: bytes, place: int, size: int) -> int:
        """Where, from `place` on, a match may begin that no word tells; behind the end if nowhere."""
        if self._next < place:
            found = self._others(_ANYWHERE, data, place, size)[0][0] if self._rows else -1
            self._next = found if found >= 0 else size + 1
        return self._next

    def _end(self, data: bytes, start: int, size: int) -> int:
        """Where the first row ends that matches at `start`, of those that no word tells and those that one does."""
        low, high = (bisect_left(self._places, place * ROWS) for place in (start, start + 1))
        for row in sorted({*self._rows, *(place % ROWS for place in self._places[low:high])}):
            end = (self._of.own[row] or self._of.own_of(row))(_HERE, data, start, size)[0][1]
            if end >= 0:
                return end  # type: ignore[no-any-return]  # the package ships no types
        return -1


_NOWHERE = ((-1, -1),)


class Together:
    """Patterns searched as one alternation of them would be: the first place wins, and at one place the first of them.

    The automaton of one pattern has few states; that of an alternation has as many as theirs can be combined to, and
    RE2 would be busy making them wherever a text is of a new sort. So each is searched by itself, and no part twice.
    """

    __slots__ = ("_searches",)

    def __init__(self, searches: Sequence[Any]) -> None:
        self._searches = searches

    def over(self, data: bytes) -> Callable[[int], tuple[int, int]]:
        """What finds the ends of the first match from a place on, or (-1, -1); asked for later and later places."""
        size, rows = len(data), list(enumerate(self._searches))
        ahead = [_UNSEEN] * len(rows)

        def find(place: int) -> tuple[int, int]:
            first = _NEVER
            for row, search in rows:
                found = ahead[row]
                if found[0] < place:
                    found = search(_ANYWHERE, data, place, size)[0]
                    ahead[row] = found = found if found[0] >= 0 else _NEVER
                if found[0] < first[0]:
                    first = found
            return first if first is not _NEVER else _UNSEEN

        return find


_UNSEEN, _NEVER = (-1, -1), (1 << 62, -1)


def _either(patterns: Iterable[str]) -> str:
    """One pattern for all of these."""
    return "|".join(f"(?:{pattern})" for pattern in patterns)


def _seeker(pattern: str, *, capture: bool = False) -> Any:
    """RE2's own match function for a pattern: where to begin, in what, from where to where; ends, or (-1, -1)."""
    return re2.compile(pattern.encode(), options(capture=capture))._regexp.Match  # noqa: SLF001


def _groups(pattern: str) -> bool:
    """Whether a pattern has a group; asking RE2 would mean to compile it once more."""
    return _GROUP.search(_CLASS.sub("x", pattern)) is not None


_CLASS = re.compile(r"\[(?:\\.|[^\]\\])*\]")
_GROUP = re.compile(r"(?<!\\)\((?!\?)")


_TAIL = re.compile(r"\(((?:(?:\[(?:\\.|[^\]\\])*\]|\\d)(?:\{\d+\})?)+)\)\Z")
_TIMES = re.compile(r"(?:\[(?:\\.|[^\]\\])*\]|\\d)(?:\{(\d+)\})?")
_BRACKETED = re.compile(r"(?<!\\)\((?:\\.|[^()\\])*\)")
_AT = {"\0": (b"@", b"%40"), "@": (b"@",)}
_ALWAYS = re.compile(r"([\0@])(?![*?{])")


def _tail(pattern: str) -> int:
    """How many bytes the group of a pattern has, if it is the end of every match and always as long; else 0."""
    found = _TAIL.search(pattern)
    if found is None or "|" in _flat(pattern):
        return 0
    return sum(int(each[1] or 1) for each in _TIMES.finditer(found[1]))


def _needs(kinds: Sequence[Kind]) -> tuple[bytes, ...]:
    """Signs of which each match of a pass has one, so that a text without them need not be searched: at signs."""
    plain = _flat(kinds[0].pattern.replace("(?:@|%40)", "\0"))
    found = _ALWAYS.search(plain) if len(kinds) == 1 and "|" not in plain else None
    return _AT[found[1]] if found else ()


def _flat(pattern: str, sign: str = "x") -> str:
    """A pattern with a sign for each class and each group."""
    pattern, before = _CLASS.sub(sign, pattern), ""
    while pattern != before:
        pattern, before = _BRACKETED.sub(sign, pattern), pattern
    return pattern


_OPEN_ENDED = re.compile(r"\\[bdws]|[^\\]?(?:\{[^}]*\}|[?*+])|\0")


def _sign(pattern: str) -> bytes:
    """The longest run of signs that each match of a pattern holds as it is; empty if it has alternatives."""
    flat = _flat(pattern, "\0")
    if "|" in flat:
        return b""
    return max(_OPEN_ENDED.sub("\0", flat).replace("\\", "").split("\0"), key=len).encode()


def _whole(data: bytes, start: int, end: int) -> tuple[int, int]:
    """The ends moved outwards to whole characters; ends that make no sense are an error of the check."""
    if not 0 <= start <= end <= len(data):
        raise IndexError
    while start and 0x80 <= data[start] < 0xC0:
        start -= 1
    while end < len(data) and 0x80 <= data[end] < 0xC0:
        end += 1
    return start, end


def _characters(data: bytes, found: Sequence[_Found]) -> list[_Found]:
    """The same finds with character offsets; `data` is not ASCII."""
    places, table, before, count = sorted({place for each in found for place in each[:2]}), {}, 0, 0
    for place in places:
        count += len(data[before:place].translate(None, _INNER))
        table[place], before = count, place
    return [(table[start], table[end], kind) for start, end, kind in found]


def settle(spans: Iterable[Span], rank: Mapping[str, int]) -> list[Span]:
    """Spans in order and without overlap: of those that overlap, the better rank wins, then the longer, and grows.

    Nothing that any kind covered is left uncovered.
    """
    kept: list[Span] = []
    best: tuple[int, int, int] = (0, 0, 0)
    for span in sorted(spans, key=lambda each: (each.start, each.end)):
        merit = (rank.get(span.kind, 0), span.start - span.end, span.start)
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
            best = merit
            continue
        last = kept[-1]
        winner = span if merit < best else last
        best = min(best, merit)
        if winner is span or span.end > last.end:
            end = max(last.end, span.end)
            kept[-1] = Span(last.start, end, winner.label, winner.kind, winner.severity)
    return kept


class Scanner:
    """Runs a table of kinds; made once, used by every request and from any thread.

    `known` are values that are private by name (keys of the keyring and of the environment) with their labels, found
    exactly as they are; `folded` are those of the user's own list, found in capitals and small letters alike. Both are
    found wherever they stand, inside longer words too; one of fewer than 4 characters only as a word of its own.
    `allowed` are values never reported; they do not shield a longer value that contains them.
    """

    def __init__(
        self,
        kinds: Sequence[Kind],
        *,
        known: Mapping[str, str] | None = None,
        folded: Mapping[str, str] | None = None,
        allowed: Iterable[str] = (),
    ) -> None:
        self._passes, self._leads = _passes(tuple(kinds))
        self.rank: Mapping[str, int] = {KNOWN: -1} | {kind.name: place for place, kind in enumerate(kinds)}
        """Which kind wins where two want the same characters: the lower figure."""
        self._known = [values for values in (_Values(known or {}), _Values(folded or {}, fold=True)) if values]
        self._allowed = frozenset(allowed)

    def __repr__(self) -> str:
        known = sum(map(len, self._known))
        return f"Scanner(passes={len(self._passes)}, known={known}, allowed={len(self._allowed)})"

    def scan(self, text: str, due: float = math.inf) -> tuple[Span, ...]:
        """What is private in `text`: spans in order, never overlapping.

        Raises `DetectionFailed` when any part of the detection fails, or the clock (`time.monotonic`) has passed
        `due`; then nothing at all is known about the text.
        """
        try:
            return tuple(self._look(text, due))
        except DetectionFailed:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, its text may quote the caller's
            raise failed("A detector", error) from None

    def _look(self, text: str, due: float) -> list[Span]:
        data = text.encode("utf-8", "surrogatepass")
        found: list[_Found] = []
        for each, places in zip(self._passes, self._leads.within(data), strict=True):
            each.run(data, found, due, places)
        if not found and not self._known:
            return []
        if len(data) != len(text):
            found = _characters(data, found)
        spans = [Span(start, end, kind.label, kind.name, kind.severity) for start, end, kind in found]
        for values in self._known:
            spans += values.spans(text)
        if self._allowed:
            spans = [span for span in spans if text[span.start : span.end] not in self._allowed]
        return settle(spans, self.rank)


@lru_cache(maxsize=4)
def _passes(kinds: tuple[Kind, ...]) -> tuple[tuple[_Pass, ...], Leads]:
    """The passes of a table, and what they look for first; made once, since only lists differ between scanners."""
    families: dict[str, list[Kind]] = {}
    for kind in kinds:
        families.setdefault(kind.family, []).append(kind)
    passes = tuple(_Pass(family) for family in families.values())
    return passes, Leads([each.words for each in passes])


class _Values:
    """Values private by name, and where they stand in a text."""

    __slots__ = ("_automaton", "_fold", "_labels", "_short")

    def __init__(self, values: Mapping[str, str], *, fold: bool = False) -> None:
        folded = _folded if fold else str
        labels = {folded(readable(value)): label for value, label in values.items() if value}
        self._fold = fold
        self._labels = list(labels.values())
        self._short = frozenset(row for row, value in enumerate(labels) if len(value) < _SHORT)
        kind = None if sum(map(len, labels)) < _MUCH else ahocorasick_rs.Implementation.ContiguousNFA
        self._automaton = ahocorasick_rs.AhoCorasick(list(labels), implementation=kind) if labels else None

    def __len__(self) -> int:
        return len(self._labels)

    def spans(self, text: str) -> Iterator[Span]:
        """Every place of every value, overlapping ones too."""
        if self._automaton is None:
            return
        text = _folded(readable(text)) if self._fold else readable(text)
        for row, start, end in self._automaton.find_matches_as_indexes(text, overlapping=True):
            if row not in self._short or is_whole(text, start, end):
                yield Span(start, end, self._labels[row], KNOWN, Severity.CRITICAL)


def readable(text: str) -> str:
    """The text, as long as it was, with `?` for halves of surrogate pairs: not everything reads those."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def _folded(text: str) -> str:
    """Small letters, as many as before: the dotted capital I alone would become two signs."""
    return text.replace("İ", "I").lower()


def is_whole(text: str, start: int, end: int) -> bool:
    """Whether no letter or figure touches this part of the text."""
    return not (start and text[start - 1].isalnum()) and not (end < len(text) and text[end].isalnum())
