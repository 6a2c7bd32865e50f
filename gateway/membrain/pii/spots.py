"""Where in a text a name may be at all: the words worth a look, found without reading the rest.

Each distinct word is judged once, by what is known of it and how it is written, and remembered; a text costs a split, a
set and one pass of an automaton. So code and logs cost little. Whether a name is there is for `names` to say.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ahocorasick_rs import AhoCorasick, MatchKind

from membrain.pii.crf import MEMO, Model, model
from membrain.pii.words import shape_of

_UPPER, _LOWER = -15, -25
"""How far below "no name" a word may be by itself; so in small letters."""
_KNOWN_NAMES, _RARE_NAMES, _GOOD_NAMES = 0b101_0001, 0b10, 0b101_0101
_PLAIN_WORDS, _ANY_WORDS = 0b1_0000_0000, 0b10_0111_0000_0000
"""Bits of FLAGS: what may be a name in small letters, or although it is a common word; and what is a word."""
_WRITTEN = re.compile(r"(?:Xp)+|XX|Xx(?:[-'’]X?x)*|X['’]Xx|XX(?:[-'’]XX)+|XxXx|[Cc]+|[Xc]+x?")  # noqa: RUF001
_PREFIXED = re.compile(r"(?:Ma?c|De|Di|Du|La|Le|Van|Von|Fitz|O|Al|El|St)[A-Z]")
_LONGEST = 40
"""Letters of a word that is looked at."""
_HAN = 0x2E80
_PARTS = re.compile(r"[^\W\d_]+")
_APART = bytes(code if code > 127 or chr(code).isalpha() else 32 for code in range(256))


class Spots:
    """Finds the words at which a name may be. Safe to use from several threads, like the model it asks."""

    def __init__(self, read: Model) -> None:
        self._model = read
        self._known: dict[str, bool] = {}
        self._wanted: dict[bytes, tuple[str, ...]] = {}
        self._dull: set[bytes] = set()
        """Words without a spot: most are, so they are taken out of a text's words all at once."""

    def is_spot(self, token: str) -> bool:
        """Whether a name may be looked for at this word at all; remembered."""
        known = self._known.get(token)
        if known is None:
            known = self._could_name(token)
            if len(self._known) > MEMO:
                self._known = {}
            self._known[token] = known
        return known

    def _could_name(self, token: str) -> bool:
        if len(token) > _LONGEST or (len(token) < 2 and ord(token) < _HAN):
            return False
        flags = self._model.lexicon.flags(token.lower())
        if token.islower() and token.isascii():
            rare = flags & _RARE_NAMES and not flags & _ANY_WORDS
            known = flags & _KNOWN_NAMES and not flags & _PLAIN_WORDS
            return bool(rare or known) and self._model.word(token).margin > _LOWER
        if flags & _PLAIN_WORDS and not flags & _GOOD_NAMES:
            return False
        shape = shape_of(token)
        if not _WRITTEN.fullmatch(shape) or (shape == "XxXx" and not _PREFIXED.match(token)):
            return False
        return self._model.word(token).margin > _UPPER

    def within(self, text: str) -> list[int]:
        """Where words begin at which a name may be, in order. `text` has no lone surrogates."""
        wanted = self._wanted_in(text)
        if not wanted:
            return []
        found, size = [], len(text)
        automaton = AhoCorasick(sorted(wanted), matchkind=MatchKind.LeftmostLongest)
        for _, start, end in automaton.find_matches_as_indexes(text):
            before, after = text[start - 1] if start else " ", text[end] if end < size else " "
            if not (before.isalnum() or after.isalnum() or before == "_" or after == "_"):
                found.append(start)
        return found

    def _wanted_in(self, text: str) -> set[str]:
        """The distinct words of a text at which a name may be."""
        wanted: set[str] = set()
        for word in set(text.encode().translate(_APART).split()) - self._dull:
            hits = self._wanted.get(word)
            wanted.update(self._judged(word) if hits is None else hits)
        return wanted

    def _judged(self, word: bytes) -> tuple[str, ...]:
        """The parts of a word at which a name may be; remembered."""
        parts = [word.decode()] if word.isascii() else _PARTS.findall(word.decode())
        hits = tuple(filter(self.is_spot, parts)) if len(word) <= _LONGEST * 4 else ()
        if hits:
            if len(self._wanted) > MEMO:
                self._wanted = {}
            self._wanted[word] = hits
        else:
            if len(self._dull) > MEMO:
                self._dull = set()
            self._dull.add(word)
        return hits


@lru_cache(maxsize=1)
def spots() -> Spots:
    """The one that all share, made at the first call."""
    return Spots(model())
