"""Values and the placeholders that stand for them, for one exchange.

A placeholder is its label and a code, `EMAIL_k7f2m9x4q1w8z739`: word characters only, so that it survives JSON,
Markdown, HTML, URLs and shells; one alphabet for capitals and small letters, so that a model may change case. The
code comes from a key, the project, the label and the value: the same value has the same placeholder in every turn and
session of a project, and nobody without the key can tell which value it is, or make one up.

What can be restored is what this very object masked, and nothing else. Every code ends in the same three digits: one
search for them says "no placeholder here" about most texts, and since labels hold no digit and codes hold nothing but
letters and digits, no two placeholders can ever overlap.

A vault finds nothing itself and decides nothing: it is told where the values are. Texts that stream are the
business of `restore`.
"""

from __future__ import annotations

import json
import re
import secrets
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from hmac import compare_digest
from typing import Protocol

import msgspec

MARK = "739"
"""How every code ends. Digits, because they have no case; these, because they are rare."""

SHAPE = r"[A-Z]+(?:_[A-Z]+)*_[0-9a-hjkmnp-tv-z]{13}739"
"""What a placeholder looks like as we write it, as a pattern: for detectors, which have to leave it alone."""

Finding = tuple[int, int, str]
"""Where a value stands in a text and what it is: start, end (characters, end excluded), label."""

Edit = tuple[int, int, str]
"""What to put where in a text: start, end (characters, end excluded), new text."""

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]
_CODE = 13  # characters of 5 bits each: 65 bits
_SHORTEST_KEY, _LONGEST_KEY = 16, 64

_SEPARATOR = r"(?:\\{0,2}_|[ -]|%5F|&\#95;|\\u005F)"
"""What models and their renderers make of an underscore: in Markdown, URLs, HTML and JSON."""

_BROKEN_SEPARATOR = r"(?:%5?|&(?:\#(?:95?)?)?|\\(?:\\|u(?:0(?:05?)?)?)?)"
_WIDEST = len(r"\u005F")
_LOOSE = re.IGNORECASE | re.ASCII

_OPEN_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")


class Follows(Protocol):
    """Knows where in a text that is being restored a value would come to stand."""

    def advance(self, text: str) -> None:
        """Take note of *text*, which comes next."""

    def withholds(self, label: str, value: str) -> bool:
        """Whether *value* must not be put where the text now is."""


class _Kept:
    """A value behind a code. Not a dataclass: its repr must not show what it holds."""

    __slots__ = ("label", "quoted", "shown", "value")

    def __init__(self, label: str, shown: str, value: str, *, quoted: bool) -> None:
        self.label, self.shown, self.value, self.quoted = label, shown, value, quoted


class Vault:
    """What one exchange masked. *key* has 16 to 64 bytes; without one, the vault makes its own and forgets it.

    For the audit, `restored` and `withheld` count by label what went back to the caller and what was not given to it,
    and `broken` counts texts that ended within a code.
    """

    __slots__ = ("_endings", "_given", "_kept", "_literal", "_seed", "broken", "restored", "withheld")

    def __init__(self, key: bytes | None = None, project: str = "") -> None:
        key = secrets.token_bytes(32) if key is None else key
        if not _SHORTEST_KEY <= len(key) <= _LONGEST_KEY:
            raise ValueError(f"A vault's key has {_SHORTEST_KEY} to {_LONGEST_KEY} bytes.")
        self._seed = blake2b(_framed(project), digest_size=9, key=key, person=b"membrain vault")
        self._kept: dict[str, _Kept] = {}
        self._given: dict[tuple[str, str], str] = {}
        self._literal: set[str] = set()
        self._endings: _Endings | None = None
        self.restored: Counter[str] = Counter()
        self.withheld: Counter[str] = Counter()
        self.broken = 0

    def __len__(self) -> int:
        """How many different values it holds."""
        return len(self._given)

    def __repr__(self) -> str:
        return f"Vault({', '.join(f'{label}: {count}' for label, count in sorted(self.counts.items()))})"

    @property
    def counts(self) -> dict[str, int]:
        """How many different values were masked, by label."""
        return dict(Counter(kept.label for kept in self._kept.values() if not kept.quoted))

    @property
    def labels(self) -> tuple[str, ...]:
        """What was masked, as sorted labels."""
        return tuple(sorted(self.counts))

    # The way out: value → placeholder

    def placeholder(self, label: str, value: str) -> str:
        """What stands for *value*: its label in capitals, and its code. The same each time."""
        return self._given.get((label, value)) or self._issued(label, value)

    def mask(self, text: str, findings: Iterable[Finding]) -> str:
        """*text* with placeholders for what was found in it."""
        return _edited(text, self.edits(text, findings))

    def edits(self, text: str, findings: Iterable[Finding], *, quoted: bool = True) -> list[Edit]:
        """What has to be put where, in order and without overlaps, so that nothing found is left in *text*.

        Findings that overlap are masked as one, under the label of the longest. One that is empty or lies outside of
        the text is a ValueError. A placeholder of ours that somebody quotes in *text* is masked like a value, so that
        it comes back as the quotation it was; one that is not in use stays, and never will be in use.

        Give it the texts of a request in their order, those without findings too (unless `may_quote` says no): what
        becomes of a text then depends on the ones before it only, and a provider's prompt cache stays warm.
        With *quoted* off, placeholders in *text* are the model's own words and stay.
        """
        edits: list[Edit] = []
        quotes, last = quoted and MARK in text, 0
        for start, end, label in _merged(findings, len(text)):
            if quotes:
                edits += self._quotations(text, last, start)
            edits.append((start, end, self.placeholder(label, text[start:end])))
            last = end
        if quotes:
            edits += self._quotations(text, last, len(text))
        return edits

    def adopt(self, other: Vault) -> None:
        """Be able to restore what *other* masked, for an exchange that goes on from an earlier one.

        The other must have this one's key and project: else ValueError.
        """
        if not compare_digest(self._seed.digest(), other._seed.digest()):
            raise ValueError("A vault of another key or project cannot be adopted.")
        for code, kept in other._kept.items():
            if code not in self._literal and code not in self._kept:
                self._keep(code, kept)

    def _issued(self, label: str, value: str, *, quoted: bool = False) -> str:
        shown = _shown(label)
        tries = 0
        while (code := self._code(label, value, tries)) in self._kept or code in self._literal:
            tries += 1
        self._keep(code, _Kept(label, shown, value, quoted=quoted))
        return f"{shown}_{code}{MARK}"

    def _keep(self, code: str, kept: _Kept) -> None:
        self._kept[code] = kept
        self._given.setdefault((kept.label, kept.value), f"{kept.shown}_{code}{MARK}")
        self._endings = None

    def _code(self, label: str, value: str, tries: int) -> str:
        seed = self._seed.copy()
        seed.update(_framed(f"{tries}", label, value))
        bits = int.from_bytes(seed.digest())
        return "".join([_PAIRS[bits >> shift & 1023] for shift in (0, 10, 20, 30, 40, 50)]) + _DIGITS[bits >> 60 & 31]

    def _quotations(self, text: str, start: int, end: int) -> list[Edit]:
        """Edits for placeholders in use that stand in text[start:end]; notes the others, so that none is ever used."""
        part = text[start:end]
        edits: list[Edit] = []
        for first, last, kept in self.places(part):
            said = part[first:last]
            token = self._given.get((kept.label, said)) or self._issued(kept.label, said, quoted=True)
            edits.append((start + first, start + last, token))
        self._literal.update(code for code in _codes(part) if code not in self._kept)
        return edits

    # The way back: placeholder → value

    def restore(self, text: str, *, withhold: Collection[str] = ()) -> str:
        """*text* with the values that this vault masked, save for those under a label in *withhold*.

        Case, and what becomes of underscores in Markdown, HTML, URLs and JSON, make no difference.
        """
        done, end = self.replaced(text, withhold=withhold)
        return done + text[end:] if end else text

    def restore_json_fragment(self, text: str, *, withhold: Collection[str] = ()) -> str:
        """The same for text that is JSON, or the beginning of it: each value is escaped for the string it lands in."""
        done, end = self.replaced(text, escape="", withhold=withhold)
        return done + text[end:] if end else text

    def replaced(
        self, text: str, *, escape: str | None = None, withhold: Collection[str] = (), follows: Follows | None = None
    ) -> tuple[str, int]:
        """*text* restored as far as its last placeholder, and where that ends (0 if there is none).

        With *escape* the text is JSON: the part of an escape that the text before it broke off in, mostly "".
        *follows* is told the text before each placeholder, and may keep the value from being put there.
        """
        if not self._kept:
            return "", 0
        parts: list[str] = []
        at = 0
        for start, end, kept in self.places(text, escape):
            held = kept.label in withhold and not kept.quoted
            if follows is not None:
                follows.advance(text[at:start])
                held = held or (not kept.quoted and follows.withholds(kept.label, kept.value))
            if not kept.quoted:
                (self.withheld if held else self.restored)[kept.label] += 1
            value = text[start:end] if held else kept.value if escape is None else _escaped(kept.value)
            parts += (text[at:start], value)
            at = end
        return "".join(parts), at

    def places(self, text: str, escape: str | None = None) -> Iterator[tuple[int, int, _Kept]]:
        """Where placeholders of this vault stand in *text*, from left to right, and what is behind them."""
        mark, last = text.find(MARK), 0
        while mark >= 0:
            end = mark + len(MARK)
            code = text[max(mark - _CODE, 0) : mark]
            kept = self._kept.get(code.lower())
            if kept is None or not code.isascii():  # the Kelvin sign is a small k, too
                end = mark + 1
            elif (start := _head(text, last, mark - _CODE, kept.shown)) >= 0 and not open_escape(escape, text, start):
                yield start, end, kept
                last = end
            mark = text.find(MARK, end)

    def tail(self, text: str, begin: int = 0, escape: str | None = None) -> int:
        """From where on *text* could be the beginning of a placeholder of this vault; its length if it cannot be."""
        endings = self._ends()
        match = endings.search(text, max(begin, len(text) - endings.longest + 1))
        while match is not None:
            if endings.goes_on(match) and not open_escape(escape, text, match.start()):
                return match.start()
            match = endings.search(text, match.start() + 1)
        return len(text)

    def note_end(self, held: str) -> None:
        """Take note that a text has ended in *held*, which a placeholder could have gone on from."""
        match = self._ends().search(held)
        self.broken += bool(match and match.lastindex and match[match.lastindex])

    def _ends(self) -> _Endings:
        if self._endings is None:
            self._endings = _Endings(self._kept)
        return self._endings


class _Endings:
    """How a text ends that a placeholder could go on from. Made once for the values of a vault."""

    __slots__ = ("_codes", "longest", "search")

    def __init__(self, kept: dict[str, _Kept]) -> None:
        codes: dict[str, list[str]] = {}
        for code in sorted(kept):
            codes.setdefault(kept[code].shown, []).append(code + MARK)
        shown = tuple(sorted(codes))
        self._codes = [codes[name] for name in shown]
        self.longest = max(map(_length, shown), default=1)
        self.search = _beginnings(shown).search

    def goes_on(self, match: re.Match[str]) -> bool:
        """Whether the code that *match* found the beginning of, if it got so far, is that of a value we hold."""
        if match.lastindex is None:
            return True
        codes, part = self._codes[match.lastindex - 1], match[match.lastindex].lower()
        next_one = bisect_left(codes, part)
        return next_one < len(codes) and codes[next_one].startswith(part)


def may_quote(body: bytes) -> bool:
    """Whether a string of *body*, a JSON text, can hold a placeholder. One look for bodies without findings."""
    return MARK.encode() in body or rb"\u003" in body


def open_escape(before: str | None, text: str, at: int) -> str:
    """The part of a JSON escape that *text* breaks off in at *at*; "" if it does not, or is not JSON at all.

    *before* is the part that the text before it broke off in, or None for text that is not JSON.
    """
    if before is None:
        return ""
    if before:
        text, at = before + text[:at], len(before) + at
    match = _OPEN_ESCAPE.search(text, max(at - 5, 0), at)
    if match is None:
        return ""
    first = match.start()
    while first and text[first - 1] == "\\":
        first -= 1
    return "" if (match.start() - first) % 2 else match[0]


@lru_cache(maxsize=64)
def _shown(label: str) -> str:
    """A label as placeholders show it: capitals, in words."""
    return re.sub("[^A-Z]+", "_", label.upper()).strip("_") or "VALUE"


def _length(shown: str) -> int:
    """How long a placeholder with this label can be, however its underscores are written."""
    return len(shown) + (_WIDEST - 1) * shown.count("_") + _WIDEST + _CODE + len(MARK)


@lru_cache(maxsize=64)
def _loosely(shown: str) -> re.Pattern[str]:
    """The end of a text that is this label, with an underscore behind it, however they are written."""
    return re.compile(f"{shown}_".replace("_", _SEPARATOR) + r"\Z", _LOOSE)


def _head(text: str, begin: int, code: int, shown: str) -> int:
    """Where the label before *code* begins, if it is *shown* and does not begin before *begin*; else -1."""
    start = code - len(shown) - 1
    if start >= begin and text.startswith(shown, start) and text[code - 1] == "_":
        return start
    match = _loosely(shown).search(text, max(begin, code - _length(shown)), code)
    return -1 if match is None else match.start()


@lru_cache(maxsize=256)
def _beginnings(shown: tuple[str, ...]) -> re.Pattern[str]:
    """The end of a text that begins a placeholder; the group of its label holds what there is of a code."""
    return re.compile("(?:" + "|".join(map(_beginning, shown)) + r")\Z" if shown else "(?!)", _LOOSE)


def _beginning(shown: str) -> str:
    rest = rf"([0-9a-z]{{0,{_CODE + len(MARK) - 1}}})"
    for sign in reversed(shown + "_"):
        rest = f"(?:{_SEPARATOR}(?:{rest})?|{_BROKEN_SEPARATOR})" if sign == "_" else f"{sign}(?:{rest})?"
    return rest


def _codes(text: str) -> Iterator[str]:
    """Everything in *text* that could be the code of a placeholder."""
    mark = text.find(MARK)
    while mark >= 0:
        code = text[max(mark - _CODE, 0) : mark]
        if len(code) == _CODE and code.isascii() and code.isalnum():
            yield code.lower()
        mark = text.find(MARK, mark + 1)


def _merged(findings: Iterable[Finding], length: int) -> list[Finding]:
    """*findings* in order, those that overlap as one under the label of the longest."""
    merged: list[Finding] = []
    longest = 0
    for start, end, label in sorted(findings, key=lambda finding: (finding[0], -finding[1])):
        if not 0 <= start < end <= length:
            raise ValueError("A finding is empty or lies outside of the text.")
        if merged and start < merged[-1][1]:
            first, last, name = merged[-1]
            merged[-1] = (first, max(last, end), label if end - start > longest else name)
            longest = max(longest, end - start)
        else:
            merged.append((start, end, label))
            longest = end - start
    return merged


def _edited(text: str, edits: list[Edit]) -> str:
    parts: list[str] = []
    at = 0
    for start, end, new in edits:
        parts += (text[at:start], new)
        at = end
    return "".join((*parts, text[at:]))


def _framed(*fields: str) -> bytes:
    """The fields as bytes that no other fields have."""
    return "".join(f"{len(field)}:{field}" for field in fields).encode("utf-8", "surrogatepass")


def _escaped(value: str) -> str:
    """*value* as the inside of a JSON string."""
    try:
        return msgspec.json.encode(value)[1:-1].decode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(value)[1:-1]
