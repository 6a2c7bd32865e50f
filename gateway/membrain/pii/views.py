"""Private values in disguise: found in another view of the text, given back as a place in the text itself.

A view is what a text says once a disguise is off: escapes resolved, styled characters made plain, encoded runs
decoded. Only the surroundings of what looks like a disguise are in it, so ordinary text costs one search and nothing
else. Each part of a view knows where it comes from; a view is itself looked at for disguises, three deep.

What `look` finds is its own affair. A text that says more than can be looked at is a `DetectionFailed`, never half
seen. What is covered stands in `CLASSES`, what is not in `NOT_COVERED`.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import re2  # type: ignore[import-untyped]  # the package ships no types

from membrain.pii import encodings, escapes
from membrain.pii.confusables import LOOKALIKES, STYLED, UNSEEN, DisguisedLetters, character_class, digit_ranges
from membrain.pii.kinds import Span
from membrain.pii.scan import DetectionFailed, Together

Look = Callable[[str], Sequence[Span]]
"""What finds values in a text: spans in its characters, in any order."""

DEPTH = 3
"""How many disguises may lie one over the other."""

LIMIT = 4 << 20
"""Characters that all views of one text may have; beyond, the text is refused rather than half looked at."""

_MARGIN = 160
_REACH = 4096
_NEAR = 64
_GAP = "\n" * (_NEAR + 2)
"""Stands between the parts of a view: wider than any context word reaches."""


@dataclass(frozen=True, slots=True)
class Disguise:
    """One class: its name, an example that says jane.doe@example.com, and what it covers."""

    name: str
    example: str
    covers: str


def _shifted(base: int, first: str, text: str) -> str:
    """*text* with its small letters in the block that begins at *base*."""
    return "".join(chr(base + ord(sign) - ord(first)) if sign.isalpha() else sign for sign in text)


_JANE = "jane.doe@example.com"
CLASSES = (
    Disguise("full width", "".join(chr(ord(sign) + 0xFEE0) for sign in _JANE), "East Asian full-width forms"),
    Disguise("mathematical", _shifted(0x1D41A, "a", _JANE), "mathematical bold, italic, script, double-struck …"),
    Disguise("circled", _shifted(0x24D0, "a", _JANE), "letters and digits in circles, squares and brackets, flags"),
    Disguise("raised", "ʲane.doe@ᵉˣample.com", "superscripts, subscripts, small raised letters"),
    Disguise("combining marks", "jane\u0332.d\u0308oe@exa\u0301mple.com", "decomposed letters, strokes, underlines"),
    Disguise("invisible", "ja\u200bne.doe@exam\u00adple.com", "zero widths, soft hyphens, joiners, selectors, tags"),
    Disguise("direction marks", "jane\u202e.doe@\u202cexample.com", "bidirectional controls and isolates"),
    Disguise("smuggled", "".join(chr(0xE0000 + ord(sign)) for sign in _JANE), "text in tags or variation selectors"),
    Disguise("look-alikes", "j\u0430ne.d\u043ee@ex\u0430mple.com", "Cyrillic, Greek, Armenian, Cherokee, phonetic"),
    Disguise(
        "other digits",
        "jane.doe@example.com, 4\u0661\u0661\u0661 \u0661\u0661\u0661\u0661 1111 1111",
        "digits of every other script",
    ),
    Disguise("separators", "jane\u2010doe@example\u3002com", "special hyphens, dashes, blanks and dots in numbers"),
    Disguise("HTML", "jane&#46;doe&commat;example&#x2e;com", "named, decimal and hexadecimal references"),
    Disguise("percent", "jane.doe%40example%2Ecom", "URL encoding, UTF-8 or %u, also encoded twice"),
    Disguise("JSON", r"jane.doe\u0040example\u002ecom", r"\u, \x, \/ and quotes, in plain text or nested JSON"),
    Disguise("quoted-printable", "jane=2Edoe=40example.=\ncom", "mail encoding and its soft line breaks"),
    Disguise("base64", "amFuZS5kb2VAZXhhbXBsZS5jb20=", "standard, URL-safe, unpadded, wrapped, UTF-8 or UTF-16"),
    Disguise("base32", "NJQW4ZJOMRXWKQDFPBQW24DMMUXGG33N", "capitals, padded or not"),
    Disguise("hex", "6a616e652e646f65406578616d706c652e636f6d", "plain, with 0x, with signs between the bytes"),
)

NOT_COVERED = (
    "values written backwards",
    "letters with blanks between them",
    "signs spelled out, as in “jane at example dot com”",
    "shifted alphabets (ROT13) and ciphers of every kind",
    "archives and everything else that is compressed",
    "what is drawn in a picture or said in a recording, also when its bytes stand in the text as base64",
    "encoded runs of fewer than nine characters (eight in hex, ten in base32), or with no nine of ASCII in a row",
    "bytes in hex with signs between them, beside two figures that read like one byte more of them",
    "other encodings: Punycode, base58, base85, uuencode, octal or decimal codes, a plus for a blank",
    "more than three encodings one over the other",
)

# --- what gives a disguise away -----------------------------------------------------------------------------------

_LETTERS = "".join(LOOKALIKES)
_BLANK = r"\x{A0}\x{1680}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}"
_HYPHEN = r"\x{2010}\x{2011}"
_SPLIT = _BLANK + _HYPHEN + r"\x{2012}-\x{2015}\x{2043}\x{2212}\x{B7}\x{2022}\x{2027}\x{2219}\x{2044}\x{2215}"
_UNSEEN, _STYLED = character_class(UNSEEN), character_class(STYLED + " " + digit_ranges())

_TELLING = (
    "(?i:pass|pwd|kennwort|contrase|senha|secret|token|credential|key|auth|login|access_?id|cookie|session|salt|client_?id"
    "|licen[sc]e|webhook|pin)"
)
"""What the name of a secret holds: in JSON within JSON, only its quotes are worth undoing where nothing else is."""

_IN_ASCII = (
    r"(?:%(?:[2-7][0-9A-Fa-f]|[C-Fc-f][0-9A-Fa-f]%[89ABab][0-9A-Fa-f]|u[0-9a-fA-F]{4}))+",
    r"(?:&(?:\#(?:[0-9]{2,10};?|[0-9];|[xX](?:[0-9a-fA-F]{2,8};?|[0-9a-fA-F];))|[A-Za-z][A-Za-z0-9]{1,31};))+",
    r"(?:\\+(?:u[0-9a-fA-F]{4}|u\{[0-9a-fA-F]|U000[0-9a-fA-F]|x[0-9A-Fa-f]{2}))+",
    r"[A-Za-z0-9:/]\\+/[A-Za-z0-9\\]",
    rf'{_TELLING}[\w.-]{{0,24}}\\+" ?:',
    r"(?:\\[nrt](?:[+(]?[0-9]|[A-Z]{2}[0-9]{2}|[\w.-]{16}|[A-Z][a-z]+ [A-Z]))+",
    r"[A-Za-z0-9]\\[_@-][A-Za-z0-9]",
    r"(?:=(?:3D|40[A-Za-z]|2E[A-Za-z]|[C-F][0-9A-F]=[89AB][0-9A-F]))+|(?:=[2-7][0-9A-F]){3,}",
    r"(?:[a-z0-9.@_-]=\r?\n)+[a-z0-9.@_-]",
    r"=\?[A-Za-z0-9-]{3,20}\?[qQ]\?",
)
_BEYOND_ASCII = (
    r"[\x{E0020}-\x{E007E}]{4,}|[\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}]{6,}",
    f"[{_STYLED}]+",
    f"(?:[!-~][{_UNSEEN}]+)+|[{_UNSEEN}]+[!-~]",
    f"(?:[0-9][{_SPLIT}]{{1,3}})+[0-9(+]",
    f"[0-9A-Za-z),;:.][{_BLANK}][0-9A-Z(+]|[0-9A-Za-z][{_HYPHEN}][0-9A-Za-z]",
    r"[A-Za-z0-9][\x{3002}\x{FF61}\x{6D4}][A-Za-z0-9]",
    f"[{_LETTERS}](?:[._+-]?[A-Za-z0-9@]{{1,8}}[{_LETTERS}])*[._+-]?[A-Za-z0-9@]",
    f"[A-Za-z0-9@][._+-]?[{_LETTERS}](?:[._+-]?[A-Za-z0-9@]{{1,8}}[{_LETTERS}])*",
)
_INNER = bytes(range(0x80, 0xC0))


def _search_for(patterns: Sequence[str]) -> Callable[..., Sequence[tuple[int, int]]]:
    options = re2.Options()
    options.never_capture = True
    options.max_mem = 64 << 20
    matches: Callable[..., Sequence[tuple[int, int]]] = re2.compile("|".join(patterns), options)._regexp.Match  # noqa: SLF001  # as in `scan`
    return matches


_RUNS = _search_for([encodings.CANDIDATE])
_ASCII_SEARCH, _SEARCH = (
    Together([_RUNS, _search_for(patterns)]) for patterns in (_IN_ASCII, (*_IN_ASCII, *_BEYOND_ASCII))
)


class _Signs:
    """Where something in a text looks like a disguise, as [start, end) in characters, in order.

    Who iterates may set `onward`, to hear of nothing before it.
    """

    __slots__ = ("_byte", "_character", "_data", "_find", "_place", "_plain", "onward")

    def __init__(self, text: str) -> None:
        self._plain = text.isascii()
        self._data = text.encode("utf-8", "surrogatepass")
        self._find = (_ASCII_SEARCH if self._plain else _SEARCH).over(self._data)
        self._place = self._byte = self._character = self.onward = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        while True:
            start, self._place = self._find(max(self._place, self.onward) if self._plain else self._place)
            if start < 0:
                return
            found = (start, self._place) if self._plain else self._in_characters(start, self._place)
            if found[0] >= self.onward:
                yield found

    def _in_characters(self, start: int, end: int) -> tuple[int, int]:
        """The same place, counted on from the last one."""
        self._character += len(self._data[self._byte : start].translate(None, _INNER))
        self._byte = start
        return self._character, self._character + len(self._data[start:end].translate(None, _INNER))


# --- a view and the way back --------------------------------------------------------------------------------------


class _View:
    """What is looked at instead of a text: parts of it, some as they are and some undisguised, with gaps between.

    Each piece knows where it begins in the view and what part of the text it stands for; one as long as that stands
    for it character by character, one of another length as a whole. `first` has the first piece of each part, and one
    more.
    """

    __slots__ = ("_changed", "_ends", "_place", "_size", "_starts", "_words", "first")

    def __init__(self) -> None:
        self._words: list[str] = []
        self._place: list[int] = []
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._changed = [0]
        self.first = [0]
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def text(self) -> str:
        return "".join(self._words)

    def add(self, words: str, start: int, end: int, *, changed: bool) -> None:
        """Append *words*, which stand for [start, end) of the text; deletions side by side become one."""
        if not words and self._goes_on(start):
            self._ends[-1] = end
            return
        self._append(words, start, end)
        self._changed[-1] += changed

    def _append(self, words: str, start: int, end: int) -> None:
        self._words.append(words)
        self._place.append(self._size)
        self._starts.append(start)
        self._ends.append(end)
        self._changed.append(self._changed[-1])
        self._size += len(words)

    def part(self, text: str, start: int, end: int, edits: Iterable[escapes.Edit]) -> None:
        """Append [start, end) of *text* with *edits* as a part of its own; nothing if there are none."""
        place = start
        for first, last, words in edits:
            if place < first:
                self._append(text[place:first], place, first)
            if words:
                self._append(words, first, last)
                self._changed[-1] += 1
            else:
                self.add(words, first, last, changed=True)
            place = last
        if place > start:
            self._append(text[place:end], place, end)
            self.close(end)

    def close(self, end: int) -> None:
        """End a part, which reached up to *end* in the text."""
        self.add(_GAP, end, end, changed=False)
        self.first.append(len(self._place))

    def back(self, span: Span, *, near: bool) -> Iterator[Span]:
        """Where in the text *span* of the view stands, part by part; marks that were taken off beside it belong to it.

        With *near*, only if something was undisguised in it or so near that it may be why it was found.
        """
        if near and not self._touched(span.start - _NEAR, span.end + _NEAR // 2):
            return
        low, high = bisect_right(self._place, span.start) - 1, bisect_right(self._place, span.end - 1) - 1
        for part in range(bisect_right(self.first, low) - 1, bisect_right(self.first, high)):
            one, two = max(low, self.first[part]), min(high, self.first[part + 1] - 1)
            start, end = self._origin(one, span.start), self._ending(two, span.end)
            if start < end:
                yield Span(start, end, span.label, span.kind, span.severity)

    def _touched(self, start: int, end: int) -> bool:
        """Whether anything between *start* and *end* of the view was undisguised."""
        low, high = bisect_right(self._place, max(0, start)) - 1, bisect_left(self._place, end)
        return self._changed[high] > self._changed[low]

    def _goes_on(self, start: int) -> bool:
        """Whether the last piece is a deletion that ends at *start* of the text."""
        last = len(self._place) - 1
        return last >= self.first[-1] and self._is_deletion(last) and self._ends[last] == start

    def _is_deletion(self, piece: int) -> bool:
        after = self._place[piece + 1] if piece + 1 < len(self._place) else self._size
        return after == self._place[piece] and self._starts[piece] < self._ends[piece]

    def _is_exact(self, piece: int) -> bool:
        """Whether the piece stands for the text character by character."""
        return len(self._words[piece]) == self._ends[piece] - self._starts[piece]

    def _origin(self, piece: int, place: int) -> int:
        """Where in the text a finding begins that begins at *place* in *piece* or before it."""
        start = self._starts[piece]
        if self._is_exact(piece) and place > self._place[piece]:
            return start + place - self._place[piece]
        if piece and self._is_deletion(piece - 1) and self._ends[piece - 1] == start:
            return self._starts[piece - 1]
        return start

    def _ending(self, piece: int, place: int) -> int:
        """Where in the text a finding ends that ends at *place* in *piece* or behind it."""
        start, end = self._starts[piece], self._ends[piece]
        if self._is_exact(piece) and place - self._place[piece] < end - start:
            return start + place - self._place[piece]
        after = piece + 1
        if after < len(self._place) and self._is_deletion(after) and self._starts[after] == end:
            return self._ends[after]
        return end


# --- the surroundings of disguises --------------------------------------------------------------------------------

_Decoder = Callable[[str, int, int, Collection[int]], Iterator[escapes.Edit]]
_ESCAPE_SIGNS = "%&\\="
_LOOKALIKE = re.compile(f"[{_LETTERS}]")
_ONLY_LETTERS = re.compile(f"[!-~{_LETTERS}]*")
_WORD = re.compile(rf"[^\s\"'<>(){{}}\[\],;]{{0,{_REACH}}}")


class _Window:
    """The surroundings of signs of disguise that stand near one another; go into the view when the next are far.

    They reach a margin beyond the signs and on to the end of the word that stands there, so that no value is cut.
    """

    __slots__ = ("_decoder", "_end", "_floor", "_letters", "_start", "_text", "_view")

    def __init__(self, text: str, view: _View, decoder: _Decoder, letters: Collection[int]) -> None:
        self._text, self._view, self._decoder, self._letters = text, view, decoder, letters
        self._start = self._floor = 0
        self._end = -1

    def add(self, start: int, end: int) -> None:
        """Take in a sign at [start, end)."""
        if self._end < 0:
            self._start = start
        elif start - self._end > 2 * _MARGIN and start - _MARGIN > self._last():
            self.flush()
            self._start = start
        self._end = end

    def flush(self) -> None:
        """Put what was gathered into the view, unless nothing of it is a disguise after all."""
        if self._end < 0:
            return
        start, end = self._first(), self._last()
        self._view.part(self._text, start, end, self._decoder(self._text, start, end, self._letters))
        self._floor, self._end = end, -1

    def _first(self) -> int:
        """Where the surroundings begin."""
        start = max(self._floor, self._start - _MARGIN)
        before = self._text[max(self._floor, start - _REACH) : start]
        word = _WORD.match(before[::-1])
        return start - word.end() if word else start

    def _last(self) -> int:
        """Where the surroundings end."""
        end = min(len(self._text), self._end + _MARGIN)
        word = _WORD.match(self._text, end)
        return word.end() if word else end


def _view_of(text: str) -> _View:
    """What *text* says undisguised; empty when nothing of it is in disguise."""
    view, runs, letters = _View(), encodings.Runs(text), DisguisedLetters(text)
    plainly = _Window(text, view, escapes.resolved, letters.places)
    mail = _Window(text, view, escapes.from_mail, ())
    signs = _Signs(text)
    for start, end in signs:
        run = _run(text, start, end, runs)
        if run is not None:
            signs.onward = run.next
            for words in run.says:
                view.add(words, run.start, run.end, changed=True)
                view.close(run.end)
        if run is None or run.hidden:
            window = mail if "=" in (sign := text[start:end]) and sign.isascii() else plainly
            if _disguises(text, start, end, letters):
                window.add(start, end)
    plainly.flush()
    mail.flush()
    return view


def _run(text: str, start: int, end: int, runs: encodings.Runs) -> encodings.Run | None:
    """The encoded run that a sign at [start, end) is of, if it is of one."""
    if text[start] in _ESCAPE_SIGNS:
        return None
    return encodings.smuggled(text, start, end) if text[end - 1] >= "\ufe00" else runs.at(start, end)


def _disguises(text: str, start: int, end: int, letters: DisguisedLetters) -> bool:
    """Whether a sign at [start, end) can disguise anything at all."""
    if text[start] == "&":
        return not escapes.is_idle(text, start, end)
    if text.isascii() or not _LOOKALIKE.search(text, start, end):
        return True
    found = letters.are_at(start)
    return letters.are_at(end - 1) or found or _ONLY_LETTERS.fullmatch(text, start, end) is None


def disguised(text: str, look: Look) -> list[Span]:
    """What `look` finds in *text* where it stands in disguise: spans of *text*, in order; they may overlap.

    Each covers the whole of the disguise: of an encoded run all of it, else every character that says a part of the
    value. What is found in plain sight is the caller's own to find and mostly not reported again. `look` is called
    once for each layer, or not at all. Raises what it raises, and `DetectionFailed` for more than `LIMIT` characters.
    """
    return sorted(set(_found(text, look, DEPTH, LIMIT)))


def _found(text: str, look: Look, depth: int, left: int) -> Iterator[Span]:
    view = _view_of(text)
    if not len(view):
        return
    if len(view) > left:
        raise DetectionFailed(f"More than {LIMIT} characters of a text stand in disguise, so nothing was sent.")
    seen = view.text
    for span in look(seen):
        yield from view.back(span, near=True)
    if depth > 1:
        for span in _found(seen, look, depth - 1, left - len(view)):
            yield from view.back(span, near=False)
