"""The engine: runs a table of kinds over a text and gives spans. It knows no kind by name.

A pass is one RE2 alternation without groups over the text's UTF-8 bytes: linear time by construction, whatever the
text. The few candidates go to their kinds' checks in Python; a refused one is looked into again from its next word
on. Offsets are bytes until the end and characters from there. Whatever goes wrong inside is a `DetectionFailed` with
neither the text nor a part of it: the caller refuses the request, nothing goes out unseen.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ahocorasick_rs
import re2  # type: ignore[import-untyped]  # the package ships no types

from membrain.errors import GuardFailed
from membrain.pii.kinds import Kind, Severity, Span

_ANCHORED = re2._re2.RE2.Anchor.ANCHOR_BOTH  # noqa: SLF001  # the wrapper builds objects that this loop has no use for
_ANYWHERE = re2._re2.RE2.Anchor.UNANCHORED  # noqa: SLF001
_BUDGET = 64 << 20
_NEAR = 64
_INNER = bytes(range(0x80, 0xC0))
"""Bytes that continue a character."""
_NEXT = re.compile(rb"[A-Za-z0-9\x80-\xff]+|[^A-Za-z0-9\x80-\xff]")
_MEMO_CHARS = 8 << 20
KNOWN = "known_value"

_Found = tuple[int, int, Kind]


class DetectionFailed(GuardFailed):
    """A detector could not do its work, so nobody knows what the text holds and it must not leave."""

    code = "redaction_failed"


def _options(*, capture: bool) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = _BUDGET
    options.never_capture = not capture
    options.log_errors = False
    return options


class _Pass:
    """One alternation, and what tells its rows apart."""

    __slots__ = ("_kinds", "_near", "_search", "_values", "_which")

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._kinds = kinds
        patterns = [kind.pattern.encode("latin-1") for kind in kinds]
        union = b"|".join(b"(?:" + pattern + b")" for pattern in patterns)
        self._search = re2.compile(union, _options(capture=False))._regexp.Match  # noqa: SLF001
        self._which = re2.Set.FullMatchSet(_options(capture=False))
        for pattern in patterns:
            self._which.Add(pattern)
        self._which.Compile()
        self._values = [
            re2.compile(pattern, _options(capture=True))._regexp.Match if _groups(pattern) else None  # noqa: SLF001
            for pattern in patterns
        ]
        self._near = [
            re2.compile(kind.context.encode("latin-1"), _options(capture=False)) if kind.context else None
            for kind in kinds
        ]

    def run(self, data: bytes, found: list[_Found]) -> None:
        """Append what this pass finds."""
        search, size, place = self._search, len(data), 0
        while True:
            start, end = search(_ANYWHERE, data, place, size)[0]
            if start < 0:
                return
            hit = self._judge(data, start, end)
            if hit is None:
                step = _NEXT.match(data, start)
                place = step.end() if step else end
                continue
            if hit[0] < hit[1]:
                found.append(hit)
            place = max(hit[1], start + 1)

    def _judge(self, data: bytes, start: int, end: int) -> _Found | None:
        """The first kind that takes this candidate, with the ends of the value."""
        text = data[start:end]
        for row in sorted(self._which.Match(text)) if len(self._kinds) > 1 else (0,):
            first, last = start, end
            if (value := self._values[row]) is not None:
                spans = value(_ANCHORED, text, 0, len(text))
                if len(spans) < 2 or spans[1][0] < 0:
                    continue
                first, last = start + spans[1][0], start + spans[1][1]
            kind, near = self._kinds[row], self._near[row]
            if near is not None and not near.search(data[max(0, first - _NEAR) : last + _NEAR // 2]):
                continue
            taken = kind.check(data, first, last)
            if taken is not None:
                return (*_whole(data, *taken), kind)
        return None


def _groups(pattern: bytes) -> bool:
    return bool(re2.compile(pattern, _options(capture=True)).groups)


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
    """Spans without overlap, in order: the better rank wins, then the longer; a winner grows over what it touches.

    Nothing that any kind covered is left uncovered.
    """
    kept: list[Span] = []
    for span in sorted(spans, key=lambda each: (rank.get(each.kind, 0), each.start - each.end, each.start)):
        start, end, winner = span.start, span.end, span
        low = bisect_left(kept, span)
        low -= low > 0 and kept[low - 1].end > start
        high = low
        while high < len(kept) and kept[high].start < end:
            high += 1
        if low < high:
            winner = kept[low]
            start, end = min(start, kept[low].start), max(end, kept[high - 1].end)
        kept[low:high] = [Span(start, end, winner.label, winner.kind, winner.severity)]
    return kept


class Scanner:
    """Runs a table of kinds; made once, used by every request. Not tied to an event loop.

    `known` are values that are private by name (the user's list, the keyring, the environment) with their labels:
    found wherever they stand, before any pattern. `allowed` are values never reported; they do not shield a longer
    value that contains them.
    """

    def __init__(
        self, kinds: Sequence[Kind], *, known: Mapping[str, str] | None = None, allowed: Iterable[str] = ()
    ) -> None:
        families: dict[str, list[Kind]] = {}
        for kind in kinds:
            families.setdefault(kind.family, []).append(kind)
        self._passes = [_Pass(family) for family in families.values()]
        self._rank = {KNOWN: -1} | {kind.name: place for place, kind in enumerate(kinds)}
        self._known = {value: label for value, label in (known or {}).items() if value}
        self._labels = list(self._known.values())
        self._automaton = _automaton(self._known)
        self._allowed = frozenset(allowed)
        self._memo: OrderedDict[str, tuple[Span, ...]] = OrderedDict()
        self._held = 0

    def __repr__(self) -> str:
        return f"Scanner(passes={len(self._passes)}, known={len(self._known)}, allowed={len(self._allowed)})"

    def scan(self, text: str) -> tuple[Span, ...]:
        """What is private in `text`: spans in order, never overlapping. Remembered by the text.

        Raises `DetectionFailed` when any part of the detection fails; then nothing at all is known about the text.
        """
        known = self._memo.get(text)
        if known is not None:
            self._memo.move_to_end(text)
            return known
        try:
            spans = tuple(self._look(text))
        except Exception as error:  # noqa: BLE001  # whatever it is, its text may quote the caller's
            raise DetectionFailed(f"A detector failed ({type(error).__name__}), so nothing was sent.") from None
        self._remember(text, spans)
        return spans

    def _look(self, text: str) -> list[Span]:
        data = text.encode("utf-8", "surrogatepass")
        found: list[_Found] = []
        for each in self._passes:
            each.run(data, found)
        if len(data) != len(text):
            found = _characters(data, found)
        spans = [Span(start, end, kind.label, kind.name, kind.severity) for start, end, kind in found]
        if self._automaton is not None:
            hits = self._automaton.find_matches_as_indexes(text)
            spans += [Span(a, b, self._labels[row], KNOWN, Severity.CRITICAL) for row, a, b in hits]
        if self._allowed:
            spans = [span for span in spans if text[span.start : span.end] not in self._allowed]
        return settle(spans, self._rank)

    def _remember(self, text: str, spans: tuple[Span, ...]) -> None:
        """Keep the answer, and forget the oldest when the texts grow over 8 million characters."""
        self._memo[text] = spans
        self._held += len(text)
        while self._held > _MEMO_CHARS and self._memo:
            oldest, _ = self._memo.popitem(last=False)
            self._held -= len(oldest)


def _automaton(known: Mapping[str, str]) -> ahocorasick_rs.AhoCorasick | None:
    if not known:
        return None
    return ahocorasick_rs.AhoCorasick(list(known), matchkind=ahocorasick_rs.MatchKind.LeftmostLongest)
