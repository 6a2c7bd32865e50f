"""What is known of a word by itself, and what that says of the words around it: the features of the model of names.

Words are read out of a text here, looked up in one compact table, and described; the same descriptions are learned from
(`model.train`) and read by (`crf`). It knows neither weights nor tags.
"""

# ruff: noqa: RUF001  # people type both kinds of apostrophe

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple
from zlib import crc32

FLAGS = (
    "first", "first_any", "last", "last_any", "city", "city_any", "country", "region",
    "word", "word_any", "foreign", "in_place", "calendar", "vocabulary",
)  # fmt: skip
"""What the table of words knows of one, a bit each."""

TOKEN = re.compile(
    r"(?<!\w)(?:[A-ZÀ-Þ]\.)+|(?<!\w)(?:[a-z]\.){2,}|[^\W\d_]+(?:[-'’](?![sS]\b)[^\W\d_]+){0,3}(?!\w)|\w+|([^\w\s])(?=[^\W_])|[^\w\s]|(\n)\n*"
)
_RUN = re.compile(r"xx+|XX+|dd+|pp+|__+|--+|CC+|cc+")

_INITIAL = itemgetter(0)
_PERSONAL, _OTHERWISE = 0b1111, 0b1_0101_1101_0000


class Table:
    """A read-only dict from strings to numbers above 0, as two arrays: 6 bytes an entry, nothing to build at start.

    Keys are not kept, only 32 bits of their hash: one in some thousand absent keys is taken for another.
    """

    __slots__ = ("_marks", "_mask", "_values")

    def __init__(self, marks: bytes, values: bytes) -> None:
        self._marks, self._values = memoryview(marks).cast("H"), memoryview(values).cast("I")
        self._mask = len(self._marks) - 1

    def get(self, key: str) -> int:
        """The number of `key`; 0 when there is none."""
        code = crc32(key.encode())
        mark, slot = code >> 16, code & self._mask
        while value := self._values[slot]:
            if self._marks[slot] == mark:
                return value
            slot = (slot + 1) & self._mask
        return 0

    @staticmethod
    def packed(entries: Sequence[tuple[str, int]]) -> tuple[bytes, bytes]:
        """The two arrays for these entries; of keys that cannot be told apart the first one stays."""
        size = 1 << max(4, (len(entries) * 4 // 3).bit_length())
        marks, values = [0] * size, [0] * size
        for key, value in entries:
            code = crc32(key.encode("utf-8"))
            mark, slot = code >> 16, code & (size - 1)
            while values[slot] and marks[slot] != mark:
                slot = (slot + 1) & (size - 1)
            if not values[slot]:
                marks[slot], values[slot] = mark, value
        return struct.pack(f"<{size}H", *marks), struct.pack(f"<{size}I", *values)


class Facts(NamedTuple):
    """What is known of a word by itself."""

    word: str
    """In lower case; signs carry `~` when a word is glued to them."""
    shape: str
    flags: int
    cluster: int
    coarse: int
    sign: str
    """Shape and the main flags in one: few enough to be learned in pairs."""


class Lexicon:
    """What is known of words: flags and clusters."""

    def __init__(self, table: Table, coarse: Sequence[int]) -> None:
        self._table, self._coarse = table, coarse

    def flags(self, word: str) -> int:
        """The flags of a word in small letters."""
        return self._table.get(word) & 0x7FFF

    def only_name(self, word: str) -> bool:
        """Whether a word in small letters is the name of a person or unknown, and nothing else besides."""
        flags = self.flags(word)
        return not flags or bool(flags & _PERSONAL and not flags & _OTHERWISE)

    def facts(self, token: str) -> Facts:
        """The facts of a token, whatever it is."""
        word = token.lower()
        shape = shape_of(token)
        value = self._table.get(word)
        if not value and ("-" in word or "'" in word or "’" in word) and len(word) > 2:
            for part in re.split(r"[-'’]", word):
                value |= self._table.get(part) & 0xFFFF
        flags, cluster = value & 0x7FFF, value >> 16
        return Facts(word, shape, flags, cluster, self._coarse[cluster], _sign(shape, flags))


def entry(flags: int, cluster: int) -> int:
    """The number that the table keeps of a word; never 0."""
    return cluster << 16 | 0x8000 | flags


def shape_of(token: str) -> str:
    if token.isascii():
        if token.isalpha():
            if token.islower():
                return "x"
            if token.isupper():
                return "XX" if len(token) > 1 else "X"
            if token[0] <= "Z" and token[1:].islower():
                return "Xx"
        signs = token[:24].translate(_SIGNS)
    else:
        signs = "".join(map(_letter, token[:24]))
    return _RUN.sub(_once, signs)[:6]


def _once(run: re.Match[str]) -> str:
    return "XX" if run.group()[0] == "X" else run.group()[0]


def _letter(sign: str) -> str:
    if sign.isupper():
        return "X"
    if sign.islower():
        return "x"
    if sign.isdigit():
        return "d"
    if sign.isalpha():
        return "C" if sign > "\u2e80" else "c"
    return sign if sign in "-'’_~" else "n" if sign == "\n" else "p"


_SIGNS = {code: _letter(chr(code)) for code in range(128)}


def _sign(shape: str, flags: int) -> str:
    first = 2 if flags & 1 else flags >> 1 & 1
    last = 2 if flags & 4 else flags >> 3 & 1
    place = 3 if flags & 0x40 else 2 if flags & 0x10 else 1 if flags & 0xA0 else 0
    word = 2 if flags & 0x100 else 1 if flags & 0x2600 else 0
    return f"{shape}{first}{last}{place}{word}{flags >> 11 & 3}"


def own_features(facts: Facts) -> list[str]:
    """What a word says of itself only."""
    word, shape = facts.word, facts.shape
    if not word[0].isalpha():
        return []
    return [
        f"3{word[-3:]}{shape}",
        f"2{word[-2:]}{shape}",
        f"4{word[-4:]}",
        f"p{word[:3]}",
        f"n{min(len(word), 9)}{shape}",
    ]


def word_features(facts: Facts) -> list[str]:
    """What a word says of itself and of its neighbours."""
    shape = facts.shape
    found = [f"w{facts.word}", f"s{shape}", f"g{facts.flags}{shape}"]
    if facts.cluster:
        found += (f"c{facts.cluster}", f"m{facts.coarse}{shape}", f"k{facts.cluster}{shape}")
    found += [f"f{bit}{shape}" for bit in range(len(FLAGS)) if facts.flags >> bit & 1]
    return found


def sign_features(left: Facts, here: Facts, right: Facts, line: str) -> list[str]:
    """What the signs of a word, of its neighbours and of its line say together."""
    sign = here.sign
    return [
        f"A{left.sign}|{sign}",
        f"B{sign}|{right.sign}",
        f"G{left.sign}|{here.shape}|{right.sign}",
        f"L{line}{sign}",
    ]


def left_features(left: Facts, here: Facts) -> list[str]:
    """What the very word on the left says of a word of this sign."""
    return [f"C{left.coarse}|{here.sign}", f"E{left.word}|{here.shape}"]


def right_features(here: Facts, right: Facts) -> list[str]:
    """What the very word on the right says of a word of this sign."""
    return [f"D{here.sign}|{right.coarse}", f"F{here.shape}|{right.word}"]


def pair_features(left: Facts, here: Facts, right: Facts, line: str) -> list[str]:
    """All that a word and its neighbours say together, in the order in which it was learned."""
    before, behind, between, where = sign_features(left, here, right, line)
    near_left, left_word = left_features(left, here)
    near_right, right_word = right_features(here, right)
    return [before, behind, near_left, near_right, left_word, right_word, between, where]


def line_kind(line: str) -> str:
    """Roughly what a line is: `U` capitals, `l` small letters, `c` code, `t` title or list of names, `n` the rest."""
    if line.isupper():
        return "U"
    if line.islower():
        return "l"
    if sum(map(line.count, "{}()[];=<>_")) * 12 > len(line):
        return "c"
    words = line.split()
    return "t" if sum(map(str.isupper, map(_INITIAL, words))) * 10 >= len(words) * 7 else "n"


def line_at(text: str, place: int) -> tuple[int, int]:
    """The ends of the line around a character, at most 200 characters to each side."""
    low, high = max(0, place - 200), min(len(text), place + 200)
    start, end = text.rfind("\n", low, place) + 1, text.find("\n", place, high)
    return start or low, end if end >= 0 else high


Token = tuple[int, int, str]
"""A word or sign of a text: its ends, and what it is. A sign glued to the next word is marked, blank lines are one."""


def tokens(text: str) -> list[Token]:
    """The words and signs of a text."""
    return [token_of(match) for match in TOKEN.finditer(text)]


def token_of(match: re.Match[str]) -> Token:
    """The word or sign of a match of TOKEN."""
    start, end = match.span()
    kind = match.lastindex
    if kind is None:
        return start, end, match.group()
    return start, end, match.group() + "~" if kind == 1 else "\n\n" if end - start > 1 else "\n"
