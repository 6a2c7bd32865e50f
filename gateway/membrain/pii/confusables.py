"""What a character stands for once its disguise is off: styled, invisible, look-alike, another script's digit.

Tables and what reads them; it knows neither texts to protect nor kinds of values. The tables hold the letters
that are drawn like an ASCII letter in the fonts that people use, not the whole of Unicode's list: what a reader takes
for the letter at a glance. The letters of ordinary alphabets (dotless i, o with a stroke) are no disguise and not here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_ALIKE = {
    "a": "0430 03B1 0251 1D00", "b": "042C 0184 0299 03B2 15AF", "c": "0441 03F2 1D04", "d": "0501 1D05",
    "e": "0435 0451 04BD 03B5 1D07 212E", "f": "0584 A730", "g": "0261 0581 0262 018D", "h": "04BB 0570 029C 13C2",
    "i": "0456 0457 03B9 0269 026A 13A5", "j": "0458 03F3 1D0A 029D", "k": "043A 03BA 1D0B 0138",
    "l": "04CF 01C0 029F", "m": "043C 1D0D", "n": "0578 057C 03B7 0274", "o": "043E 03BF 03C3 0585 1D0F 10FF 0D20",
    "p": "0440 03C1 1D18 2374", "q": "051B 0563 0566", "r": "0433 1D26 0280", "s": "0455 01BD A731",
    "t": "0442 03C4 1D1B", "u": "057D 03C5 028B 1D1C", "v": "0475 03BD 1D20", "w": "051D 0561 0461 1D21",
    "x": "0445 03C7", "y": "0443 04AF 03B3 028F 1EFF", "z": "1D22 03B6",
    "A": "0410 0391 13AA 15C5", "B": "0412 0392 13F4 15F7", "C": "0421 03F9 13DF 2CA4", "D": "13A0 15DE",
    "E": "0415 0395 13AC 0401", "F": "03DC 15B4", "G": "050C 13C0 13F3", "H": "041D 0397 13BB 157C",
    "I": "0406 0399 04C0", "J": "0408 037F 13AB", "K": "041A 039A 13E6 2C94", "L": "13DE 14AA 2CD0",
    "M": "041C 039C 13B7", "N": "039D 2C9A", "O": "041E 039F 0555 2C9E", "P": "0420 03A1 13E2", "Q": "051A 2D55",
    "R": "13A1 13D2", "S": "0405 054F 13DA", "T": "0422 03A4 13A2", "U": "054D 144C", "V": "0474 13D9 2D38",
    "W": "051C 13B3 13D4", "X": "0425 03A7 2CAC", "Y": "04AE 03A5", "Z": "0396 13C3",
}  # fmt: skip
"""ASCII letter: code points of Cyrillic, Greek, Armenian, Cherokee, Coptic, Canadian and phonetic letters like it."""

_SIGNS = {
    "-": "2010 2011 2012 2013 2014 2015 2043 2212 2E3A 058A 05BE 00B7 2022 2027 2219 30FB FF65",
    ".": "3002 FF61 06D4 A4F8", "/": "2044 2215 29F8", ":": "02D0 2236 A789 05C3", " ": "1680 2028 2029 0085",
    "": "034F 115F 1160 17B4 17B5 180B 180C 180D 180E 180F 3164 FFA0 2800",
}  # fmt: skip
"""ASCII sign: code points that stand in its place, between the parts of a number above all. Empty: seen by nobody."""


def _by_code_point(rows: dict[str, str]) -> dict[str, str]:
    return {chr(int(code, 16)): sign for sign, codes in rows.items() for code in codes.split()}


_SIGN = _by_code_point(_SIGNS)
LOOKALIKES = _by_code_point(_ALIKE)
"""Letter of another script: the ASCII letter that it looks like."""

_UNSEEN = re.compile(
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f\U000e0100-\U000e01ef]"
)
"""Marks that are drawn over a letter, and selectors that choose its picture."""

_LETTER_BLOCKS = (0x1F150, 0x1F170, 0x1F1E6)
"""Where negative circled, negative squared and flag letters begin: twenty-six each, without a compatibility form."""

DIGITS = (
    "0660 06F0 07C0 0966 09E6 0A66 0AE6 0B66 0BE6 0C66 0CE6 0D66 0DE6 0E50 0ED0 0F20 1040 1090 17E0 1810 1946 19D0 "
    "1A80 1A90 1B50 1BB0 1C40 1C50 A620 A8D0 A900 A9D0 A9F0 AA50 ABF0 FF10 104A0 10D30 11066 110F0 11136 111D0 112F0 "
    "11450 114D0 11650 116C0 11730 118E0 11950 11C50 11D50 11DA0 16A60 16AC0 16B50 1E140 1E2F0 1E950 1FBF0"
)
"""The code points of every script's zero but ours; its nine follow each."""

STYLED = (
    "AA-AA B2-B3 B9-B9 17F-17F 2B0-2B8 2E1-2E3 1D2C-1D6A 1DA0-1DBB 2024-2024 2070-209C 2100-214F 2160-217F 2460-24FF "
    "2776-2793 2C7C-2C7D A7F2-A7F4 FB00-FB06 FE52-FE52 FE6B-FE6B FF0B-FF0B FF0D-FF0E FF20-FF3A FF3F-FF3F FF41-FF5A "
    "1D400-1D7FF 1F100-1F1A0"
)
"""Ranges of letters, digits and signs in another dress: full width, mathematical, raised, circled, in brackets."""

UNSEEN = (
    "AD-AD 34F-34F 61C-61C 115F-1160 17B4-17B5 180B-180F 200B-200F 202A-202E 2060-206F 2800-2800 3164-3164 FEFF-FEFF "
    "FFA0-FFA0 FFF9-FFFB 1BCA0-1BCA3 1D173-1D17A E0001-E007F 300-36F 1AB0-1AFF 1DC0-1DFF 20D0-20FF FE00-FE0F "
    "FE20-FE2F E0100-E01EF"
)
"""Ranges of what takes no room on the screen: joiners, direction marks, tags, selectors, marks over letters."""


ORDINARY = (
    "C0-131 134-13E 141-148 14A-17E 180-1C3 1CD-1F0 1F4-24F 391-3A9 3AC-3CE 400-481 48A-52F 5D0-5EA 620-64A 904-939 "
    "3041-3096 30A1-30FA 4E00-9FFF AC00-D7A3"
)
"""Ranges of letters that stand for themselves: the alphabets and syllables that most texts are written in."""


def character_class(ranges: str) -> str:
    """*ranges* of code points ("AD-AD 34F-34F") as the inside of a character class of RE2."""
    return "".join(
        rf"\x{{{first}}}-\x{{{last}}}" for first, _, last in (each.partition("-") for each in ranges.split())
    )


def digit_ranges() -> str:
    """The digits of other scripts as ranges."""
    return " ".join(f"{zero}-{int(zero, 16) + 9:X}" for zero in DIGITS.split())


@lru_cache(maxsize=16384)
def plain(character: str) -> str:
    """What a character outside ASCII stands for by itself: some ASCII, nothing at all, or what it is.

    Look-alike letters stay: what they stand for depends on their word (`DisguisedLetters`).
    """
    sign = _SIGN.get(character)
    return _undressed(character) if sign is None else sign


def _undressed(character: str) -> str:
    code = ord(character)
    if unicodedata.category(character) == "Cf" or _UNSEEN.match(character):
        return ""
    for first in _LETTER_BLOCKS:
        if first <= code < first + 26:
            return chr(ord("A") + code - first)
    number = unicodedata.numeric(character, None)
    if number is not None and (character.isdigit() or 0x2460 <= code < 0x2800) and number == int(number):
        return str(int(number))
    return _compatible(character)


def _compatible(character: str) -> str:
    """The compatibility form (NFKC), bare of the brackets of enclosed letters; fractions and marks on a blank stay."""
    shown = unicodedata.normalize("NFKC", character)
    if len(shown) > 1 and (0x2460 <= ord(character) < 0x2500 or ord(character) >= 0x1F100):
        return "".join(filter(str.isalnum, shown))
    return character if len(shown) > 1 and (shown[0] == " " or "\u2044" in shown) else shown


_CHUNK = re.compile(r"[\w@.+\-]+")
_PART = re.compile(r"[^\W\d_]+")
_ANCHOR = re.compile(r"[A-Za-z0-9@]")
_LONGEST = 64


class DisguisedLetters:
    """Where in one text letters stand that look like ASCII ones in order to be taken for them.

    That is so in a word with ASCII letters, digits or an at sign, and there in parts of which every letter is either
    ASCII or looks so. A word of Russian or Greek is neither. `places` are those found so far.
    """

    __slots__ = ("_done", "_found", "_text", "places")

    def __init__(self, text: str) -> None:
        self._text = text
        self._done = 0
        self._found = False
        self.places: set[int] = set()

    def are_at(self, place: int) -> bool:
        """Whether the word at *place* has any. The places asked for must come in order.

        Of a word longer than 64 characters only what stands from there before the first of them is seen.
        """
        if place >= self._done:
            before = _CHUNK.match(self._text[max(self._done, place - _LONGEST) : place][::-1])
            after = _CHUNK.match(self._text, place)
            start = place - (before.end() if before else 0)
            self._done = after.end() if after else place
            letters = set(_alike(self._text[start : self._done], start))
            self._found = bool(letters)
            self.places |= letters
        return self._found


def _alike(word: str, start: int) -> Iterator[int]:
    """The look-alike letters of *word*, which begins at *start*, if it is a word in disguise."""
    if not _ANCHOR.search(word):
        return
    for part in _PART.finditer(word):
        if all(map(_passes, part[0])):
            first = start + part.start()
            yield from (at for at, letter in enumerate(part[0], first) if letter in LOOKALIKES)


def _passes(letter: str) -> bool:
    """Whether a reader takes *letter* for one of ASCII, with or without an accent."""
    return letter.isascii() or letter in LOOKALIKES or unicodedata.normalize("NFD", letter)[0].isascii()
