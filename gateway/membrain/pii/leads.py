"""Where in a text a match may begin, found without running the pattern: by the letters that every match begins with.

An engine that makes its states as texts need them is slow wherever a text is of a new sort; an automaton of plain words
is made once. So the words with which the matches of a pattern begin are worked out from the pattern itself, those of a
whole table go into one automaton, and a text is read by it once. It says where, and of which row; never that it is one.

Both sides are folded: capitals are small letters, a figure is a 0, and all that is no letter, figure or underscore is a
blank, which is what a word boundary is then. Folding can only add places, never lose one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ahocorasick_rs import BytesAhoCorasick, Implementation

_BLANK, _FIGURE = ord(" "), ord("0")
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_FOLD = bytes(
    _FIGURE if code in b"0123456789" else ord(chr(code).lower()) if code in _WORD else _BLANK for code in range(256)
)
_WIDE = 0x80
"""Stands in a beginning for a byte beyond ASCII until it is folded into a blank like the others."""
_LONGEST, _MOST, _CHOICE = 12, 96, 4
"""Of one pattern: signs of a beginning, beginnings, and signs among which one place of a beginning may choose."""
_TELLING = re.compile(rb"[a-z_].?[a-z_]|[a-z_]0|0{6}|  [a-z]")
"""What a beginning must hold to be worth looking for: two letters, many figures, or two signs and a letter."""

_Atom = frozenset[int] | bytes | str | list[list["_Piece"]]
"""Folded signs of which one stands here, or of which all do, `b` for a boundary, or what a group may be."""
_Piece = tuple[_Atom, int, int]
"""An atom, and how often it stands there at least and at most."""
_Open = tuple[bytes, bool]
"""A beginning, and whether more may follow it."""

_LEXER = re.compile(
    rb"(?P<open>\((?:\?i?:)?)|(?P<close>\))|(?P<or>\|)|(?P<class>\[(?:\\x..|\\.|[^\]\\])*\])"
    rb"|(?P<hex>\\x[0-9a-fA-F]{2})|(?P<escape>\\.)|(?P<times>(?:\{\d+(?:,\d*)?\}|[?*+])\??)"
    rb"|(?P<run>[A-Za-z_ ]{2,}(?![?*+{]))|(?P<sign>.)",
    re.DOTALL,
)
_ENDLESS = 1 << 16
_OFTEN = {b"?": (0, 1), b"*": (0, _ENDLESS), b"+": (1, _ENDLESS)}
_FIGURES, _SPACE = frozenset({_FIGURE}), frozenset({_BLANK})
_ANY = frozenset(_FOLD)
_NAMED = {ord("w"): frozenset(_FOLD[code] for code in _WORD), ord("d"): _FIGURES, ord("s"): _SPACE}
_IN_CLASS = re.compile(rb"(\\x..|\\.|[^\\])(?:-(\\x..|\\.|[^\\]))?", re.DOTALL)


def _code(sign: bytes) -> int:
    """The byte that a sign of a pattern stands for. Raises `ValueError` for what is not read here, as `\\S` and `$`."""
    if sign[:2] == b"\\x":
        return bytes.fromhex(sign[2:].decode())[0]
    if sign in _CONTROLS:
        return _CONTROLS[sign]
    if len(sign) == 2 and sign[-1] in _WORD:
        raise ValueError(f"No beginnings can be read out of a pattern with {sign!r}.")
    return sign[-1]


_ENDS = frozenset((b"^", b"$"))
_CONTROLS = {b"\\n": 10, b"\\t": 9, b"\\r": 13}


def _class(body: bytes) -> frozenset[int]:
    """The folded signs that stand in brackets."""
    if body.startswith(b"^"):
        return _ANY
    found: set[int] = set()
    for first, last in _IN_CLASS.findall(body):
        if first[:1] == b"\\" and first[-1] in _NAMED and len(first) == 2:
            found |= _NAMED[first[-1]]
        else:
            found.update(_FOLD[_code(first) : _code(last or first) + 1])
    return frozenset(found)


def _atom(kind: str | None, sign: bytes) -> _Atom:
    """What one sign of a pattern stands for."""
    if kind == "run":
        return sign.translate(_FOLD)
    if kind == "class":
        return _class(sign[1:-1])
    if kind == "escape" and sign == b"\\b":
        return "b"
    if kind == "escape" and sign[1] in _NAMED:
        return _NAMED[sign[1]]
    if kind == "sign" and sign == b".":
        return _ANY
    if sign in _ENDS:
        raise ValueError(f"No beginnings can be read out of a pattern with {sign!r}.")
    code = _code(sign)
    return frozenset({_FOLD[code] if code < _WIDE else _WIDE})


def _parsed(signs: Iterator[re.Match[bytes]]) -> list[list[_Piece]]:
    """The alternatives up to the end of the pattern or of the group."""
    rows: list[list[_Piece]] = [[]]
    for match in signs:
        kind, sign = match.lastgroup, match.group()
        if kind == "close":
            break
        if kind == "or":
            rows.append([])
        elif kind == "open":
            rows[-1].append((_parsed(signs), 1, 1))
        elif kind == "times":
            low, high = _OFTEN.get(sign[:1]) or _times(sign.rstrip(b"?"))
            rows[-1][-1] = (rows[-1][-1][0], low, high)
        else:
            rows[-1].append((_atom(kind, sign), 1, 1))
    return rows


def _times(sign: bytes) -> tuple[int, int]:
    low, comma, high = sign[1:-1].partition(b",")
    return int(low), int(high) if high else _ENDLESS if comma else int(low)


def _with(before: set[_Open], atom: _Atom) -> set[_Open]:
    """The beginnings with one more atom each."""
    if isinstance(atom, list):
        return {each for row in atom for each in _row(before, row)}
    if isinstance(atom, str):
        return {_bounded(*each) for each in before}
    if isinstance(atom, bytes):
        return {_longer(text, atom) if goes_on else (text, False) for text, goes_on in before}
    if len(atom) > _CHOICE:
        return {(text, False) for text, _ in before}
    signs = [bytes((sign,)) for sign in atom]
    return {_longer(text, sign) if goes_on else (text, False) for text, goes_on in before for sign in signs}


def _longer(text: bytes, more: bytes) -> _Open:
    """A beginning with more signs; as many as are enough."""
    text += more
    return (text, True) if len(text) <= _LONGEST else (text[:_LONGEST], False)


def _bounded(text: bytes, goes_on: bool) -> _Open:
    """A beginning with a boundary behind it: behind a letter a blank, and what follows may be that blank."""
    if not text and goes_on:
        return _EDGE, True
    return (text + b" " if goes_on and text[-1] != _BLANK else text), False


_EDGE = b"\b"
"""Stands for a boundary at the very beginning: a blank that is no part of the match."""


def _row(before: set[_Open], row: Sequence[_Piece]) -> set[_Open]:
    """The beginnings with all pieces behind one another."""
    for atom, low, high in row:
        for _ in range(min(low, _LONGEST)):
            before = _with(before, atom)
        ways, more = set(before), before
        for _ in range(min(high - low, 2)):
            more = _with(more, atom)
            ways |= more
        if high - low > 2:
            ways |= {(text, False) for text, _ in more}
        if len(ways) > _MOST:
            return {(text, False) for text, _ in before}
        before = ways
        if not any(goes_on for _, goes_on in before):
            break
    return before


class Beginnings(NamedTuple):
    """What the matches of a pattern begin with."""

    words: frozenset[bytes]
    """Folded; with `\\b` in front of those that stand at a boundary."""
    elsewhere: bool
    """Whether there are others, which no word tells."""
    wide: bool
    """Whether those have a sign beyond ASCII in front."""


def beginnings(pattern: str) -> Beginnings:
    """What the matches of a pattern begin with: one of RE2's kind, with bytes as its signs."""
    found = {text for text, _ in _row({(b"", True)}, [(_parsed(_LEXER.finditer(pattern.encode())), 1, 1)])}
    words = {text: text.replace(_WIDE_SIGN, b" ") for text in found}
    dull = [text for text, word in words.items() if not _TELLING.search(word) or text[:2] == b"\b "]
    told = frozenset(word for text, word in words.items() if text not in dull)
    return Beginnings(told, bool(dull), all(_WIDE_SIGN in text for text in dull))


_WIDE_SIGN = bytes((_WIDE,))

ROWS = 256
"""More rows than a table has."""


class Leads:
    """One automaton for the beginnings of the rows of several tables."""

    __slots__ = ("_automaton", "_size", "_whose")

    def __init__(self, tables: Sequence[Sequence[frozenset[bytes]]]) -> None:
        whose: dict[bytes, list[tuple[int, int]]] = {}
        for number, rows in enumerate(tables):
            for row, words in enumerate(rows):
                for word in words:
                    shift = 0 if word.startswith(_EDGE) else -1
                    whose.setdefault(word.replace(_EDGE, b" "), []).append((number, shift * ROWS + row))
        self._size, self._whose = len(tables), list(whose.values())
        self._automaton = BytesAhoCorasick(list(whose), implementation=Implementation.DFA) if whose else None

    def within(self, data: bytes) -> list[list[int]]:
        """For each table, where in `data` a match of one of its rows may begin: place * ROWS + row, in order."""
        found: list[list[int]] = [[] for _ in range(self._size)]
        if self._automaton is None:
            return found
        whose, folded = self._whose, b" " + data.translate(_FOLD) + b" "
        for word, start, _ in self._automaton.find_matches_as_indexes(folded, overlapping=True):
            for number, shift in whose[word]:
                found[number].append(start * ROWS + shift)
        return [sorted({place for place in each if place >= 0}) if each else each for each in found]
