"""The model of names: a linear-chain CRF over words, read from one file and worked out in plain integers.

What makes it fast: the scores of all tags are one integer, 16 bits each, so that adding up features is adding integers;
all that a word contributes to its neighbours is worked out once for each distinct word and remembered. It scores and
tags; where to look, and what to make of it, is decided in `names`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from operator import add
from pathlib import Path

from membrain.pii.words import (
    Facts,
    Lexicon,
    Table,
    left_features,
    own_features,
    right_features,
    sign_features,
    word_features,
)

MODEL = Path(__file__).parent / "model" / "names.bin"
MODEL_SHA256 = "8a8263a96c686b5c5cb5e05299c6f3122d24d4e7b9ed6ff6f7af2c0ede38793a"
"""Of the file that `model/train.py` writes; anything else is refused. Packing it would cost more at every start."""

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-MISC", "I-MISC")
"""What a word can be. MISC are firms, works, peoples: learned so as not to be taken for persons, never reported."""

PERSON, LOCATION = TAGS.index("B-PER"), TAGS.index("B-LOC")

REACH = (-2, -1, 0, 1, 2)
"""Where the words stand that have a say in what a word is."""

MEMO = 60_000
"""So many words are remembered, and so many pairs of neighbours."""

Entity = tuple[int, int, int]
"""Ends in the text, and the tag of its first word."""

_WIDTH, _LANE = len(TAGS), 16
_VECTOR = _WIDTH * _LANE
_MASK = (1 << _VECTOR) - 1
_ROW = _WIDTH * len(REACH)


def _lanes(value: int, count: int) -> int:
    """The integer with `value` in each of so many lanes."""
    return sum(value << _LANE * lane for lane in range(count))


_BIASED = bytes((code + 128) & 255 for code in range(256))
"""Weights are stored as signed bytes; read as unsigned ones, each is 128 too much."""
_ROW_BIAS, _PAIR_BIAS = _lanes(128, _ROW), _lanes(128, _WIDTH)
_ROW_LIFT, LIFT = _lanes(1 << 15, _ROW), _lanes(1 << 15, _WIDTH)
"""Added to a sum, no lane is below zero and borrows from another: a hundred weights stay far from 2**15."""
_SCORES = struct.Struct(f"<{_WIDTH}H").unpack

_BEGINS, _GOES_ON = (0, 1, 3, 5), (2, 4, 6)
"""Tags that may stand behind any other, and those that go on with the name before them."""
_FORBIDDEN = -1_000_000


class ModelBroken(RuntimeError):
    """The model file is missing or is not the one this version was made with."""


class Word:
    """A distinct token, and what it adds to the scores of the tokens around it: a vector for each place in REACH."""

    __slots__ = ("after", "ahead", "before", "behind", "facts", "margin", "own", "to_left", "to_right")

    def __init__(self, facts: Facts, total: int) -> None:
        self.facts = facts
        lifted = total + _ROW_LIFT
        parts = [((lifted >> _VECTOR * place) & _MASK) - LIFT for place in range(len(REACH))]
        self.ahead, self.before, self.own, self.after, self.behind = parts
        _, self.margin = scores(self.own)
        """How far its best name tag is above "no name" by itself."""
        self.to_right: dict[str, int] = {}
        self.to_left: dict[str, int] = {}
        """What it adds, as a neighbour, to a word of each sign; remembered."""


def scores(total: int) -> tuple[tuple[int, ...], int]:
    """The score of each tag, all too high by the same, and how far the best tag of a name is above "no name"."""
    row = _SCORES((total + LIFT).to_bytes(_VECTOR // 8, "little"))
    return row, max(row[1:5]) - row[0]


class _Weights:
    """Rows of weights by the name of their feature: a row is one integer with a lane for each weight."""

    __slots__ = ("_bias", "_data", "_rows", "_size")

    def __init__(self, marks: bytes, values: bytes, blocks: bytes, width: int) -> None:
        self._rows, self._size, self._bias = Table(marks, values), 2 * width, _lanes(128, width)
        wide = bytearray(2 * len(blocks))
        wide[::2] = blocks.translate(_BIASED)
        self._data = bytes(wide)

    def get(self, feature: str) -> int:
        """The weights of a feature; 0 if it has none."""
        row = self._rows.get(feature)
        if not row:
            return 0
        end = row * self._size
        return int.from_bytes(self._data[end - self._size : end], "little") - self._bias


class Model:
    """The CRF. Safe to use from several threads: it only ever adds to memos, or starts them anew."""

    def __init__(self, content: bytes) -> None:
        head, _, body = content.partition(b"\n")
        meta = json.loads(head)
        parts, place = [], 0
        for size in meta["sizes"]:
            parts.append(body[place : place + size])
            place += size
        self.lexicon = Lexicon(Table(parts[0], parts[1]), meta["coarse"])
        self._alone = _Weights(parts[2], parts[3], parts[4], _ROW)
        self._beside = _Weights(parts[5], parts[6], parts[7], _WIDTH)
        moves: list[list[int]] = meta["moves"]
        self._begins = [(tag, [row[tag] for row in moves]) for tag in _BEGINS]
        self._goes_on = [(tag, moves[tag - 1][tag], moves[tag][tag]) for tag in _GOES_ON]
        self._ends = [row[0] for row in moves]
        names = range(1, _WIDTH)
        # The most that a step can gain against going on without a name: into one, within one, and out of it.
        self._into = max(moves[0][tag] for tag in _BEGINS if tag) - moves[0][0]
        self._within = max(moves[one][two] for one in names for two in names) - moves[0][0]
        self._out = max(moves[tag][0] for tag in names) - moves[0][0]
        self._words: dict[str, Word] = {}
        self._common: dict[str, int] = {}
        self._signs: dict[tuple[str, str, str, str], int] = {}
        self.edge = self.word("\n")
        """What stands before the first word and behind the last one."""

    def word(self, token: str) -> Word:
        """What is known of a token; remembered."""
        known = self._words.get(token)
        if known is None:
            facts = self.lexicon.facts(token)
            alone, *common = word_features(facts) + own_features(facts)
            known = Word(facts, self._alone.get(alone) + sum(map(self._shared, common)))
            if len(self._words) > MEMO:
                self._words = {}
            self._words[token] = known
        return known

    def _shared(self, feature: str) -> int:
        """The weights of a feature that many words share; remembered."""
        known = self._common.get(feature)
        if known is None:
            if len(self._common) > MEMO // 4:
                self._common = {}
            known = self._common[feature] = self._alone.get(feature)
        return known

    def beside(self, left: Word, here: Word, right: Word, line: str) -> int:
        """What a word and its neighbours say together, in a line of this kind; remembered in parts."""
        sign = here.facts.sign
        signs = (left.facts.sign, sign, right.facts.sign, line)
        together = self._signs.get(signs)
        if together is None:
            if len(self._signs) > MEMO:
                self._signs = {}
            together = self._signs[signs] = self._sum(sign_features(left.facts, here.facts, right.facts, line))
        from_left = left.to_right.get(sign)
        if from_left is None:
            from_left = left.to_right[sign] = self._sum(left_features(left.facts, here.facts))
        from_right = right.to_left.get(sign)
        if from_right is None:
            from_right = right.to_left[sign] = self._sum(right_features(here.facts, right.facts))
        return together + from_left + from_right

    def _sum(self, features: Sequence[str]) -> int:
        return sum(map(self._beside.get, features))

    def tags(self, rows: Sequence[Sequence[int]]) -> list[int]:
        """The best sequence of tags for words with these scores, between words that are no names (Viterbi)."""
        if not self._may_name(rows):
            return [0] * len(rows)
        best = [0] + [_FORBIDDEN] * (_WIDTH - 1)
        back: list[list[int]] = []
        for row in rows:
            sources, values = [0] * _WIDTH, [0] * _WIDTH
            for tag, moves in self._begins:
                reached = list(map(add, best, moves))
                value = max(reached)
                sources[tag], values[tag] = reached.index(value), value + row[tag]
            for tag, begun, gone_on in self._goes_on:
                first, second = best[tag - 1] + begun, best[tag] + gone_on
                sources[tag] = tag - 1 if first >= second else tag
                values[tag] = max(first, second) + row[tag]
            back.append(sources)
            best = values
        last = list(map(add, best, self._ends))
        return list(_path(back, last.index(max(last))))[::-1]

    def _may_name(self, rows: Sequence[Sequence[int]]) -> bool:
        """Whether any name at all could be worth more than none: a bound that never says no where Viterbi says yes."""
        outside, inside = 0, _FORBIDDEN
        for row in rows:
            outside, inside = (
                max(outside, inside + self._out),
                max(row[1:]) - row[0] + max(outside + self._into, inside + self._within),
            )
        return max(outside, inside + self._out) > 0


def _path(back: Sequence[Sequence[int]], tag: int) -> Iterator[int]:
    """The tags from the last word to the first."""
    for sources in reversed(back):
        yield tag
        tag = sources[tag]


@lru_cache(maxsize=1)
def model() -> Model:
    """The model, read at the first call. Raises `ModelBroken`."""
    try:
        content = MODEL.read_bytes()
    except OSError as error:
        raise ModelBroken(f"The model of names cannot be read ({type(error).__name__}).") from error
    if sha256(content).hexdigest() != MODEL_SHA256:
        raise ModelBroken("The model of names is not the one this version was made with.")
    return Model(content)
