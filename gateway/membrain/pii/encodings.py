"""Runs of base64, base32 and hex in a text, and what they say.

A run is looked for by what encoded ASCII has to look like: every fourth character of base64 stands for six bits of
which the first is zero, and so on. Ordinary words, hashes and random tokens fail that within a few characters, so
text without encoded text in it costs next to nothing. Runs with fewer than nine characters of ASCII in a row (eight in
hex, ten in base32) are not seen. Nothing is decompressed and no picture is read; it judges no value.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass

_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_WRAP = r"(?:\r?\n[ \t]*)?"


def _signs(alphabet: str, fits: Callable[[int], bool]) -> str:
    """The characters of *alphabet* whose number fits, as a class."""
    return "[" + "".join(re.escape(sign) for number, sign in enumerate(alphabet) if fits(number)) + "]"


_QUAD = (
    _signs(_BASE64, lambda six: six in {0, 2, 3} or 8 <= six < 32),
    _signs(_BASE64, lambda six: six % 16 in {0, 2, 3, 4, 5, 6, 7}),
    _signs(_BASE64, lambda six: six % 4 < 2),
    "[A-Za-z0-9+/_-]",
)
_OCTET = (
    _signs(_BASE32, lambda five: 4 <= five < 16),
    _signs(_BASE32, lambda five: five % 4 < 2),
    "[A-Z2-7]",
    _signs(_BASE32, lambda five: five % 16 < 8),
    _signs(_BASE32, lambda five: five % 2 == 0),
    "[A-Z2-7]",
    _signs(_BASE32, lambda five: five % 8 < 4),
    "[A-Z2-7]",
)
_PAIR = "(?:[2-7][0-9A-Fa-f]|0[09AaDd])"
_BETWEEN = r"[ :,;-][ \r\n\t]*"

_MARKED = re.compile(f"0x{_PAIR}(?:{_BETWEEN}0x{_PAIR})*")

_SHAPES = (
    ("base32", "(?:" + "".join(_OCTET) + "){2", ",}"),
    ("hex", "(?:" + _PAIR + "){8", ",}"),
    ("spaced", f"(?:0x)?{_PAIR}(?:{_BETWEEN}(?:0x)?{_PAIR}){{7", ",}"),
    ("base64", "(?:" + "".join(sign + _WRAP for sign in _QUAD) + "){3", ",}"),
)

CANDIDATE = "|".join(f"(?:{shape}{more})" for _, shape, more in _SHAPES)
"""What encoded ASCII looks like, as a pattern for RE2."""

_SHORTEST = re.compile("|".join(f"(?P<{name}>{shape}}})" for name, shape, _ in _SHAPES))
"""The same at its shortest, to tell the shapes apart."""

_LAST_LINE = r"(?:[A-Za-z0-9+/_-]{0,3}={1,2}|[A-Za-z0-9+/_-]{2,3}(?=[\"'<)]|[ \t\r]*$))"
"""What is left of a wrapped run on its last line, when that is less than a whole unit."""

_ALPHABETS = {"base64": _BASE64 + "-_", "hex": "0123456789abcdefABCDEF", "spaced": "", "base32": _BASE32}
_TAILS = {
    "base64": re.compile(rf"[A-Za-z0-9+/_-]*(?:={{1,2}}|\r?\n[ \t]*{_LAST_LINE})?", re.MULTILINE),
    "hex": re.compile(r"[0-9A-Fa-f]*"),
    "spaced": re.compile(""),
    "base32": re.compile(r"[A-Z2-7]*={0,6}"),
}
_REST = re.compile(_LAST_LINE, re.MULTILINE)
_UNIT = {"base64": 4, "hex": 2, "spaced": 2, "base32": 8}

_TEXT_BYTES = bytes([9, 10, 13, *range(32, 127)])
_CONTROLS = bytes(set(range(32)) - {9, 10, 13}) + b"\x7f"
_PICTURES = (
    b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"%PDF-", b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd", b"wOFF", b"wOF2", b"\x00asm", b"OggS", b"ID3", b"\x7fELF",
)  # fmt: skip
"""How pictures, packed files, fonts and programs begin. They are not text, whatever stands in them by chance."""


_HIDDEN = re.compile("[\U000e0020-\U000e007e]{4,}|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{6,}")
"""Tags, each of which is an ASCII character, and variation selectors, each of which can be a byte."""


_WEB_TOKEN = re.compile(
    r"(?<![\w.-])ey[A-Za-z0-9_-]{10,4096}\.ey[A-Za-z0-9_-]{6,8192}(?:\.[A-Za-z0-9_-]{0,4096})?(?![\w.-])", re.ASCII
)
"""A JSON web token: a secret as a whole, which the rules find in plain sight, so what it says need not be read."""


@dataclass(frozen=True, slots=True)
class Run:
    """An encoded run, [start, end) in characters, and the texts that it may stand for. `next` is where to go on.

    `hidden` is one that nobody sees: around it, it may be mere noise in a text that goes on behind it.
    """

    start: int
    end: int
    next: int
    says: tuple[str, ...]
    hidden: bool = False

    def __repr__(self) -> str:
        return f"Run({self.start}:{self.end})"


class Runs:
    """The runs of one text, asked for from left to right."""

    __slots__ = ("_ends", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._ends = (0, 0, "")

    def at(self, place: int, end: int) -> Run | None:
        """The run that the candidate at [place, end) belongs to; None when it is no candidate."""
        text = self._text
        if text.startswith("ey", place) and (token := _WEB_TOKEN.match(text, place)):
            return Run(place, token.end(), token.end(), ())
        shape = _SHORTEST.match(text, place)
        if shape is None or shape.lastgroup is None:
            return None
        return self._decoded(shape.lastgroup, place, end)

    def _decoded(self, name: str, place: int, onward: int) -> Run:
        """The run around [place, onward): what all of it says, or at least the candidate itself."""
        candidate = self._text[place:onward]
        start, end, known = self._bounds(name, place, place + len(candidate.rstrip()), onward)
        if not known:
            before, rest = self._text[start:place], self._text[place:end]
            whole = _bytes_of(name, before + rest)
            says = {legible(each) for each in (whole, *(_bytes_of(name, cut) for cut in _cuts(name, before, rest)))}
            texts = tuple(sorted(says - {""}))
            if whole.startswith(_PICTURES) and (not texts or whole.startswith(b"%PDF-")):
                return Run(start, end, end, ())
            if texts:
                return Run(start, end, max(end, onward), texts)
        own = legible(_bytes_of(name, candidate))
        return Run(start, end, onward, (own,) if own else ())

    def _bounds(self, name: str, start: int, end: int, onward: int) -> tuple[int, int, bool]:
        """The ends of the whole token around [start, end), and whether it has been decoded before.

        Behind a line break, at *onward*, the token goes on if it is the rest of one that stands there.
        """
        first, last, before = self._ends
        if start < last and end <= last and name == before:
            return first, last, True
        rest = _TAILS[name].match(self._text, end) if onward == end else _REST.match(self._text, onward)
        end = rest.end() if rest else end
        start = _run_start(self._text, start, last, _ALPHABETS[name])
        if name in {"hex", "spaced"} and self._text[max(0, start - 2) : start] in {"0x", "0X", "\\x"}:
            start -= 2
        self._ends = start, end, name
        return start, end, False


def smuggled(text: str, start: int, end: int) -> Run | None:
    """The text that tags or variation selectors within [start, end) spell out, if they do."""
    found = _HIDDEN.search(text, start, end)
    if found is None:
        return None
    says = legible(bytes(map(_hidden_byte, found[0])))
    return Run(found.start(), found.end(), end, (says,) if says else (), hidden=True)


def _hidden_byte(character: str) -> int:
    code = ord(character)
    if 0xE0000 <= code < 0xE0080:
        return code - 0xE0000
    return code - 0xFE00 if code <= 0xFE0F else code - 0xE0100 + 16


def _run_start(text: str, place: int, floor: int, alphabet: str) -> int:
    """Where the run of *alphabet* that reaches up to *place* begins, not before *floor*."""
    step = 64
    while alphabet and place > floor:
        piece = text[max(floor, place - step) : place]
        left = piece.rstrip(alphabet)
        place -= len(piece) - len(left)
        if left:
            break
        step *= 2
    return place


def _cuts(name: str, before: str, rest: str) -> list[str]:
    """The ways to cut a run: as the candidate stands in it, and one off for hex, whose candidates are less certain.

    Beside bytes that begin with 0x those without it may be a number that merely stands there.
    """
    if name == "hex":
        return [rest, rest[1:], before[len(before) % 2 :] + rest]
    if name == "spaced":
        return [max(_MARKED.findall(rest), key=len, default=rest)]
    return [before[len(before) % _UNIT[name] :] + rest]


def _bytes_of(name: str, raw: str) -> bytes:
    """The bytes that *raw* says, as far as whole bytes go; none when it says nothing."""
    try:
        return _DECODERS[name](raw)
    except (binascii.Error, ValueError):
        return b""


def _from_base64(raw: str) -> bytes:
    clean = "".join(raw.split()).rstrip("=").replace("-", "+").replace("_", "/")
    clean = clean[: len(clean) - (len(clean) % 4 == 1)]
    return binascii.a2b_base64(clean + "=" * (-len(clean) % 4))


def _from_hex(raw: str) -> bytes:
    clean = raw.removeprefix("0x").removeprefix("0X").removeprefix("\\x")
    return bytes.fromhex(clean[: len(clean) - len(clean) % 2])


def _from_spaced(raw: str) -> bytes:
    return bytes.fromhex(re.sub(r"0x|\\x|[^0-9A-Fa-f]", "", raw))


def _from_base32(raw: str) -> bytes:
    clean = raw.rstrip("=")
    while len(clean) % 8 in {1, 3, 6}:
        clean = clean[:-1]
    return base64.b32decode(clean + "=" * (-len(clean) % 8))


_DECODERS: dict[str, Callable[[str], bytes]] = {
    "base64": _from_base64, "hex": _from_hex, "spaced": _from_spaced, "base32": _from_base32,
}  # fmt: skip


def legible(data: bytes) -> str:
    """*data* as text (UTF-8 or UTF-16) if it is mostly that, else the empty string."""
    strange = len(data.translate(None, _TEXT_BYTES))
    if not strange:
        return data.decode("ascii")
    if data.count(0) * 5 >= len(data) * 2:
        order = "utf-16-le" if data[1::2].count(0) > data[::2].count(0) else "utf-16-be"
        text = data.decode(order, "replace")
        return text if sum(map(str.isprintable, text[:512])) * 10 >= len(text[:512]) * 8 else ""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace") if strange * 6 <= len(data) else ""
    controls = len(data) - len(data.translate(None, _CONTROLS))
    return text if controls * 10 <= len(data) else ""
