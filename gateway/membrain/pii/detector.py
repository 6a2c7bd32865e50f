"""All that finds private values, behind one door: a text goes in, settled spans come out, or an error.

The order of work: the rules (`scan`, known values with them), the rules again over what is disguised (`views`), cells
of tables (`columns`), street addresses, persons and places with their postcodes, engines of others. Who comes earlier
keeps his characters, who comes later gets what is left. In the end a value that was found once is found wherever it
stands in the same text.

Nothing is decided here about what becomes of a finding, and nothing is known about requests: a text is a text. No part
is ever skipped: one that fails, talks nonsense or comes late means `DetectionFailed`, and then nothing may go out.
"""

from __future__ import annotations

import math
import random
import re
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Protocol

import ahocorasick_rs

from membrain.pii.addresses import SHAPES, addresses, codes_beside
from membrain.pii.columns import columns, records
from membrain.pii.detectors import KINDS
from membrain.pii.kinds import Severity, Span
from membrain.pii.names import people_and_places
from membrain.pii.public import is_public
from membrain.pii.scan import DetectionFailed, Scanner, failed, in_time, is_whole, readable, settle
from membrain.pii.vault import MARK, SHAPE
from membrain.pii.views import disguised

_WINDOW, _OVERLAP = 1 << 16, 256
"""Longer texts are given to the slower parts in windows, in characters, so that the clock is looked at in between."""

_REPEATED = 5
"""A found value of at least so many characters is looked for in the rest of its text."""

_FEW = 1 << 18
"""Values times characters up to which it is faster to look for one value after the other than to make an automaton."""

_ONCE_IS_ENOUGH = frozenset({"PERSON", "ADDRESS", "SECRET", "URL_CREDENTIALS", "PHONE", "BANK_ACCOUNT", "US_SSN",
                             "NATIONAL_ID", "PASSPORT", "DRIVER_LICENSE", "CRYPTO"})  # fmt: skip
"""Labels of values that may be told by their neighbourhood in one place and stand bare in the next."""

_SIMPLE = ahocorasick_rs.Implementation.ContiguousNFA
"""The automaton whose making takes no longer than its values are; the default's grows with the square of that."""

_PUBLIC = "public_person"
_CODE = re.compile(SHAPE.rpartition("[A-Z]+)*")[2].removesuffix(MARK), re.IGNORECASE | re.ASCII)
_LABEL = re.compile(r"[A-Z]+(?:_[A-Z]+)*\Z", re.IGNORECASE | re.ASCII)
_CODE_SIZE, _LABEL_SIZE = 14, 40
"""How long the code of a placeholder is with the underscore before it, and a label at most."""

_BLANK = "\n"


class Engine(Protocol):
    """Another detector, asked after our own. `find` gives (start, end, label): characters, end excluded."""

    @property
    def name(self) -> str:
        """What to call it in an error."""

    def find(self, text: str) -> Iterable[tuple[int, int, str]]:
        """Where something private stands in `text`; in any order, overlapping or not."""


Part = Callable[[str], Iterable[Span]]
"""One step of the work: a text in, spans out."""


def _names(text: str) -> list[Span]:
    """Persons and places, and the postcodes beside these."""
    found = people_and_places(text)
    return [*found, *codes_beside(text, (span for span in found if span.label == "LOCATION"))]


_OWN: tuple[tuple[str, Part], ...] = (
    ("Looking for street addresses", addresses),
    ("Looking for names", _names),
)

_SOURCE = Path(__file__).parents[1]
"""Where our source is; where it was left out, there is that much less to warm up with."""

_FIRST = "Dear Ada Lovelace, London is lovely."
"""Scanned when a detector is made: the model and the lists are loaded then, and one that is broken is known then."""


class Detector:
    """Finds what is private. Made once, used by every request, from any thread; all that is heavy is loaded here.

    `known`, `folded` and `allowed` are those of `Scanner`; `names` says whether persons, places and street addresses
    are looked for; `engines` are asked after them. A text that takes longer than `seconds` is an error. Making one
    raises `DetectionFailed` when a part of ours does not work.
    """

    def __init__(
        self,
        *,
        known: Mapping[str, str] | None = None,
        folded: Mapping[str, str] | None = None,
        allowed: Iterable[str] = (),
        engines: Sequence[Engine] = (),
        names: bool = True,
        seconds: float = 5.0,
    ) -> None:
        self._allowed = frozenset(allowed)
        self._seconds = seconds
        self._rules = Scanner(KINDS, known=known, folded=folded, allowed=self._allowed)
        self._parts: list[tuple[str, Part]] = list(_OWN) if names else []
        self._memo = Memo()
        self._look(_FIRST, math.inf)
        self._parts += [(f"The detector {engine.name}", _foreign(engine)) for engine in engines]

    def __repr__(self) -> str:
        return f"Detector({self._rules!r}, parts={len(self._parts)}, remembered={len(self._memo)})"

    def scan(self, text: str) -> tuple[Span, ...]:
        """What is private in `text`: spans in order, never overlapping, of characters. Remembered by the text.

        Raises `DetectionFailed` when any part fails, gives spans that make no sense, or is late.
        """
        spans = self._memo.get(text)
        if spans is None:
            try:
                spans = self._look(readable(text), time.monotonic() + self._seconds)
            except DetectionFailed:
                raise
            except Exception as error:  # noqa: BLE001  # whatever it is, its text may quote the caller's
                raise failed("The detector", error) from None
            self._memo.put(text, spans)
        return spans

    def warm(self) -> None:
        """Look at one example of everything, and at code and prose, off the clock.

        Patterns and tables are made at their first use, and the states of the patterns' automata as texts need them:
        our own source is a text that resembles what developers send. Takes half a second or so; for a thread, once,
        when there is time. Nothing is remembered.
        """
        self._look("\n\n".join((*(kind.hit for kind in KINDS), *(shape.hit for shape in SHAPES))), math.inf)
        for path in sorted(_SOURCE.glob("*.py")):
            self._look(path.read_text("utf-8"), math.inf)
        self._look("\n".join(_logged(random.Random(1))), math.inf)  # noqa: S311  # nothing secret is made of it

    def recall(self, text: str) -> tuple[Span, ...] | None:
        """What `scan` has said about this text, if it remembers; no work is done."""
        return self._memo.get(text)

    def _look(self, text: str, due: float) -> tuple[Span, ...]:
        ours = _placeholders(text)
        seen = _blanked(text, ours) if ours else text
        found = self._ruled(seen, due, self._parts)
        for who, part in self._parts:
            in_time(due)
            found = _filled(found, self._asked(who, part, seen, due), seen)
        found = _repeated(found, seen)
        in_time(due)
        return tuple(_around(found, ours, text) if ours else found)

    def scan_by_rule(self, text: str) -> tuple[Span, ...]:
        """The same without names, addresses and other engines, and without a memory: a tenth of the cost."""
        ours = _placeholders(text)
        seen = readable(_blanked(text, ours) if ours else text)
        found = self._ruled(seen, time.monotonic() + self._seconds, ())
        return tuple(_around(found, ours, text) if ours else found)

    def _ruled(self, text: str, due: float, parts: Sequence[tuple[str, Part]]) -> list[Span]:
        """What the rules find as it is written, in disguise, and in tables; and in disguise what *parts* find."""

        def look(view: str) -> Sequence[Span]:
            found = list(self._rules.scan(view, due))
            for who, part in parts:
                found = _filled(found, self._asked(who, part, view, due), view)
            return found

        plain, rank = list(self._rules.scan(text, due)), self._rules.rank
        hidden = self._reported(_checked("Undoing disguises", lambda seen: disguised(seen, look), text), text)
        in_time(due)
        if hidden:
            plain = settle([*plain, *(span for span in hidden if span.kind in rank)], rank)
            plain = _filled(plain, settle((span for span in hidden if span.kind not in rank), {}), text)
        cells = _checked("Reading tables", lambda seen: [*columns(seen), *records(seen, plain)], text)
        return _filled(plain, settle(self._reported(cells, text), {}), text) if cells else plain

    def _asked(self, who: str, part: Part, text: str, due: float) -> list[Span]:
        """What a part finds, window by window."""
        found: list[Span] = []
        for start, end in _windows(text):
            piece = text if end - start == len(text) else text[start:end]
            spans = _checked(who, part, piece)
            found += [_moved(span, start) for span in spans] if start else spans
            in_time(due)
        return settle(self._reported(found, text), {}) if found else found

    def _reported(self, spans: list[Span], text: str) -> list[Span]:
        """Without the values that are never reported."""
        return [s for s in spans if text[s.start : s.end] not in self._allowed] if self._allowed else spans


def _logged(dice: random.Random, lines: int = 400) -> Iterator[str]:
    """Lines as programs write them into logs: times, numbers, hashes, ids and paths of no meaning."""
    for _ in range(lines):
        day, hour, low = dice.randint(1, 28), dice.randint(0, 23), dice.getrandbits(32)
        id = f"{dice.getrandbits(32):08x}-{dice.getrandbits(16):04x}-4{dice.getrandbits(12):03x}-a{low & 0xFFF:03x}"
        yield (
            f"2026-{day % 12 + 1:02}-{day:02}T{hour:02}:{day + 20}:{hour + 30}.{low % 1000:03}Z INFO [worker-{hour}] "
            f'"GET /v1/items/{low}?page={day} HTTP/1.1" 200 {low % 100_000} {low % 977 / 10} ms id={id}-{low:012x} '
            f"sha={dice.getrandbits(160):040x} at 0x{low:x} v{hour}.{day}.{low % 100}"
        )


class Memo:
    """What was found in the texts seen last, by text; bounded by characters and by entries. For many threads.

    A text is hashed as a whole at each question: 30 microseconds for 100 KB.
    """

    __slots__ = ("_characters", "_entries", "_held", "_lock", "_spans")

    def __init__(self, characters: int = 8 << 20, entries: int = 1 << 16) -> None:
        self._characters, self._entries = characters, entries
        self._held = 0
        self._lock = Lock()
        self._spans: OrderedDict[str, tuple[Span, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._spans)

    def get(self, text: str) -> tuple[Span, ...] | None:
        """What was put in for this text; None if nothing was, or too long ago."""
        with self._lock:
            spans = self._spans.get(text)
            if spans is not None:
                self._spans.move_to_end(text)
            return spans

    def put(self, text: str, spans: tuple[Span, ...]) -> None:
        """Remember, and forget what has not been asked for the longest."""
        with self._lock:
            if text not in self._spans:
                self._held += len(text)
            self._spans[text] = spans
            self._spans.move_to_end(text)
            while self._held > self._characters or len(self._spans) > self._entries:
                oldest, _ = self._spans.popitem(last=False)
                self._held -= len(oldest)


def _foreign(engine: Engine) -> Part:
    """An engine of others as a part of ours."""
    kind, find = f"engine_{engine.name}", engine.find

    def part(text: str) -> Iterator[Span]:
        for start, end, label in find(text):
            public = label == "PERSON" and is_public(text[start:end])
            yield Span(start, end, label, _PUBLIC if public else kind, Severity.MEDIUM)

    return part


def _checked(who: str, part: Part, text: str) -> list[Span]:
    """What `part` gives, if it makes sense as spans of `text`; else `DetectionFailed`, without a word of the text."""
    try:
        spans = list(part(text))
        if all(_sensible(span, len(text)) for span in spans):
            return spans
    except DetectionFailed:
        raise
    except Exception as error:  # noqa: BLE001  # whatever it is, its text may quote the caller's
        raise failed(who, error) from None
    raise DetectionFailed(f"{who} gave findings that make no sense, so nothing was sent.")


def _sensible(span: Span, size: int) -> bool:
    start, end, label = span.start, span.end, span.label
    return type(start) is type(end) is int and 0 <= start < end <= size and type(label) is str and label != ""


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """Ends of windows that overlap, cut between words where there are any."""
    start = 0
    while len(text) - start > _WINDOW + _OVERLAP:
        end = _gap(text, start + _WINDOW)
        yield start, end
        start = _gap(text, end - _OVERLAP)
    yield start, len(text)


def _gap(text: str, place: int) -> int:
    """The last end of a line, or blank, of the stretch before `place`; `place` itself where there is none."""
    found = max(text.rfind(sign, place - _OVERLAP, place) for sign in "\n ")
    return found if found > 0 else place


def _moved(span: Span, by: int) -> Span:
    return Span(span.start + by, span.end + by, span.label, span.kind, span.severity)


def _filled(taken: list[Span], new: list[Span], text: str) -> list[Span]:
    """`taken`, and what it leaves of `new`; both in order and settled."""
    return sorted([*taken, *_outside(new, taken, text)]) if new else taken


def _outside(spans: Iterable[Span], taken: Sequence[Span], text: str) -> Iterator[Span]:
    """The parts of `spans` that no taken span covers; one without a letter or a figure is nothing."""
    ends = [span.end for span in taken]
    for span in spans:
        at, row = span.start, bisect_right(ends, span.start)
        while row < len(taken) and taken[row].start < span.end:
            if _SOMETHING.search(text, at, taken[row].start):
                yield Span(at, taken[row].start, span.label, span.kind, span.severity)
            at, row = taken[row].end, row + 1
        if at == span.start:
            yield span
        elif _SOMETHING.search(text, at, span.end):
            yield Span(at, span.end, span.label, span.kind, span.severity)


_SOMETHING = re.compile(r"[^\W_]")


def _repeated(found: list[Span], text: str) -> list[Span]:
    """The same, and every other place in `text` where a value that was found stands as a word of its own."""
    sources = [
        span
        for span in found
        if span.label in _ONCE_IS_ENOUGH and span.end - span.start >= _REPEATED and span.kind != _PUBLIC
    ]
    if not sources:
        return found
    values = {text[span.start : span.end]: span for span in sources}
    if len(values) * len(text) < _FEW and not _elsewhere(values, text, found):
        return found
    first, kind = list(values.values()), ahocorasick_rs.MatchKind.LeftmostLongest
    automaton = ahocorasick_rs.AhoCorasick(list(values), matchkind=kind, implementation=_SIMPLE)
    places = automaton.find_matches_as_indexes(text)
    again = [
        Span(start, end, first[row].label, first[row].kind, first[row].severity)
        for row, start, end in places
        if is_whole(text, start, end)
    ]
    return _filled(found, again, text)


def _elsewhere(values: Iterable[str], text: str, found: Iterable[Span]) -> bool:
    """Whether any of the values stands where it was not found."""
    known = {(span.start, span.end) for span in found}
    for value in values:
        place = text.find(value)
        while place >= 0:
            if (place, place + len(value)) not in known:
                return True
            place = text.find(value, place + 1)
    return False


def _placeholders(text: str) -> list[Span]:
    """Where placeholders of ours stand: they are nobody's values."""
    ours: list[Span] = []
    mark = text.find(MARK)
    while mark >= 0:
        code = mark - _CODE_SIZE
        if code > 0 and _CODE.fullmatch(text, code, mark):
            label = _LABEL.search(text, max(code - _LABEL_SIZE, ours[-1].end if ours else 0), code)
            if label:
                ours.append(Span(label.start(), mark + len(MARK), label[0]))
        mark = text.find(MARK, mark + 1)
    return ours


def _blanked(text: str, ours: Iterable[Span]) -> str:
    """`text` with ends of lines in their place, which no pattern spans in such number."""
    parts: list[str] = []
    at = 0
    for span in ours:
        parts += (text[at : span.start], _BLANK * (span.end - span.start))
        at = span.end
    return "".join((*parts, text[at:]))


def _around(found: Iterable[Span], ours: Sequence[Span], text: str) -> list[Span]:
    """What was found, without a character of a placeholder."""
    return list(_outside(found, ours, text))
