"""Names of persons and places in free text, by a small model of our own.

A linear-chain CRF over words, read in pure Python. What makes it fast: all that a word contributes to its neighbours is
worked out once for each distinct word and remembered; and of a long text only the surroundings of words that could be
part of a name are looked at at all, so that code and logs cost little. It does not know street addresses (`addresses`),
and it never looks anything up outside the package.
"""

# ruff: noqa: RUF001  # people type both kinds of apostrophe

from __future__ import annotations

import json
import lzma
import re
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from ahocorasick_rs import AhoCorasick, MatchKind

from membrain.pii.kinds import Severity, Span
from membrain.pii.public import in_public, is_public

MODEL = Path(__file__).parent / "model" / "names.bin"
MODEL_SHA256 = "6dbf4fb4300ff59d9163d9c7c9fb455d470ddd9b4c1a828413e00c5987ca758c"
"""Of the file that `model/train.py` writes; anything else is refused."""

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-MISC", "I-MISC")
"""What a word can be. MISC are firms, works, peoples: learned so as not to be taken for persons, never reported."""

FLAGS = (
    "first", "first_any", "last", "last_any", "city", "city_any", "country", "region",
    "word", "word_any", "foreign", "in_place", "calendar", "vocabulary",
)  # fmt: skip
"""What the table of words knows of one, a bit each."""

REACH = (-2, -1, 0, 1, 2)
"""Where the words stand that have a say in what a word is."""

TOKEN = re.compile(
    r"(?<!\w)(?:[A-ZÀ-Þ]\.)+|(?<!\w)(?:[a-z]\.){2,}|[^\W\d_]+(?:[-'’](?![sS]\b)[^\W\d_]+){0,3}(?!\w)|\w+|([^\w\s])(?=[^\W_])|[^\w\s]|(\n)\n*"
)
_RUN = re.compile(r"xx+|XX+|dd+|pp+|__+|--+|CC+|cc+")

_FIRST, _LAST, _PERSONAL, _OTHERWISE = 1, 4, 0b1111, 0b1_0101_1101_0000

Vector = tuple[int, ...]
_Entity = tuple[int, int, int]
"""Ends in the text, and the tag of its first word."""


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
        code = crc32(key.encode("utf-8", "surrogatepass"))
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
        shape = _shape(token)
        value = self._table.get(word)
        if not value and ("-" in word or "'" in word or "’" in word) and len(word) > 2:
            for part in re.split(r"[-'’]", word):
                value |= self._table.get(part) & 0xFFFF
        flags, cluster = value & 0x7FFF, value >> 16
        return Facts(word, shape, flags, cluster, self._coarse[cluster], _sign(shape, flags))


def entry(flags: int, cluster: int) -> int:
    """The number that the table keeps of a word; never 0."""
    return cluster << 16 | 0x8000 | flags


def _shape(token: str) -> str:
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


def pair_features(left: Facts, here: Facts, right: Facts, line: str) -> list[str]:
    """What a word and its neighbours say together."""
    sign, shape = here.sign, here.shape
    return [
        f"A{left.sign}|{sign}",
        f"B{sign}|{right.sign}",
        f"C{left.coarse}|{sign}",
        f"D{sign}|{right.coarse}",
        f"E{left.word}|{shape}",
        f"F{shape}|{right.word}",
        f"G{left.sign}|{shape}|{right.sign}",
        f"L{line}{sign}",
    ]


def line_kind(line: str) -> str:
    """Roughly what a line is: `U` capitals, `l` small letters, `c` code, `t` title or list of names, `n` the rest."""
    if line.isupper():
        return "U"
    if line.islower():
        return "l"
    if sum(map(line.count, "{}()[];=<>_")) * 12 > len(line):
        return "c"
    words = line.split()
    return "t" if sum(word[0].isupper() for word in words) * 10 >= len(words) * 7 else "n"


def line_at(text: str, place: int) -> tuple[int, int]:
    """The ends of the line around a character, at most 200 characters to each side."""
    low, high = max(0, place - 200), min(len(text), place + 200)
    start, end = text.rfind("\n", low, place) + 1, text.find("\n", place, high)
    return start or low, end if end >= 0 else high


def tokens(text: str) -> list[tuple[int, int, str]]:
    """The words and signs of a text with their ends. A sign glued to the next word is marked, blank lines are one."""
    found = []
    for match in TOKEN.finditer(text):
        start, end = match.span()
        kind = match.lastindex
        if kind is None:
            found.append((start, end, match.group()))
        else:
            found.append((start, end, match.group() + "~" if kind == 1 else "\n\n" if end - start > 1 else "\n"))
    return found


class _Word(NamedTuple):
    """A distinct token and what it adds to the scores of the tokens around it: one vector for each place in REACH."""

    facts: Facts
    ahead: Vector
    before: Vector
    own: Vector
    after: Vector
    behind: Vector
    margin: int
    """How far its best name tag is above "no name" by itself."""


_MEMO = 60_000
_FROM = [(tag - 1, tag) if tag in {2, 4, 6} else tuple(range(len(TAGS))) for tag in range(len(TAGS))]
"""The tags that may stand before each tag."""
_FORBIDDEN = -1_000_000

_UPPER, _LOWER, _CONTEXT, _ISLAND = -15, -25, -25, -130
"""How far below "no name" a word may be: by itself, so in small letters, in its context, and as a part of a name."""
_KNOWN_NAMES, _RARE_NAMES, _GOOD_NAMES = 0b101_0001, 0b10, 0b101_0101
_PLAIN_WORDS, _ANY_WORDS = 0b1_0000_0000, 0b10_0111_0000_0000
"""Bits of FLAGS: what may be a name in small letters, or although it is a common word; and what is a word."""
_WRITTEN = re.compile(r"(?:Xp)+|XX|Xx(?:[-'’]X?x)*|X['’]Xx|XX(?:[-'’]XX)+|XxXx|[Cc]+|[Xc]+x?")
_PREFIXED = re.compile(r"(?:Ma?c|De|Di|Du|La|Le|Van|Von|Fitz|O|Al|El|St)[A-Z]")
_LONGEST, _WORD_LIMIT, _AROUND = 24, 40, 48
"""Words to each side in a name; letters of a word that is looked at; characters read to each side of a spot."""
_HAN = 0x2E80
_LONE = re.compile("[\ud800-\udfff]")
_PARTS = re.compile(r"[^\W\d_]+")
_APART = bytes(code if code > 127 or chr(code).isalpha() else 32 for code in range(256))


class ModelBroken(RuntimeError):
    """The model file is missing or is not the one this version was made with."""


class Model:
    """The CRF: reads its file once, then tags. Safe to use from several threads: it only ever adds to memos."""

    def __init__(self, data: bytes) -> None:
        head, _, body = lzma.decompress(data).partition(b"\n")
        meta = json.loads(head)
        parts, place = [], 0
        for size in meta["sizes"]:
            parts.append(body[place : place + size])
            place += size
        self.lexicon = Lexicon(Table(parts[0], parts[1]), meta["coarse"])
        self._rows, self._blocks = Table(parts[2], parts[3]), parts[4]
        self._pair_rows, self._pair_blocks = Table(parts[5], parts[6]), parts[7]
        self._moves: list[list[int]] = meta["moves"]
        self._words: dict[str, _Word] = {}
        self._blocks_known: dict[str, Vector | None] = {}
        self.pairs: dict[str, Vector | None] = {}
        """What is remembered of `pair`."""
        self._spots: dict[str, bool] = {}
        self._wanted: dict[bytes, tuple[str, ...]] = {}
        self.edge = self.word("\n")

    def word(self, token: str) -> _Word:
        """What is known of a token; remembered."""
        known = self._words.get(token)
        if known is not None:
            return known
        facts = self.lexicon.facts(token)
        width = len(TAGS)
        alone, *common = word_features(facts)
        blocks = [row for feature in common if (row := self._common(feature))]
        blocks += [row] if (row := self._block(alone)) else []
        total = [sum(column) for column in zip(*blocks, strict=True)] if blocks else [0] * width * len(REACH)
        own = total[2 * width : 3 * width]
        for feature in own_features(facts):
            row = self._block(feature)
            if row:
                own = [one + two for one, two in zip(own, row[2 * width : 3 * width], strict=True)]
        ahead, before, _, after, behind = (tuple(total[start : start + width]) for start in range(0, len(total), width))
        made = _Word(facts, ahead, before, tuple(own), after, behind, max(own[1:5]) - own[0])
        if len(self._words) > _MEMO:
            self._words = {}
        self._words[token] = made
        return made

    def _common(self, feature: str) -> Vector | None:
        """The weights of a feature that many words share; remembered."""
        if feature in self._blocks_known:
            return self._blocks_known[feature]
        if len(self._blocks_known) > _MEMO // 4:
            self._blocks_known = {}
        row = self._blocks_known[feature] = self._block(feature)
        return row

    def _block(self, feature: str) -> Vector | None:
        row = self._rows.get(feature)
        return struct.unpack_from("35b", self._blocks, (row - 1) * 35) if row else None

    def pair(self, feature: str) -> Vector | None:
        """What a feature of neighbours adds to the scores; remembered."""
        row = self._pair_rows.get(feature)
        found = struct.unpack_from("7b", self._pair_blocks, (row - 1) * 7) if row else None
        if len(self.pairs) > _MEMO:
            self.pairs = {}
        self.pairs[feature] = found
        return found

    def tags(self, scores: Sequence[Sequence[int]]) -> list[int]:
        """The best sequence of tags between words that are no names (Viterbi)."""
        moves, back = self._moves, []
        best = [0] + [_FORBIDDEN] * (len(TAGS) - 1)
        for row in scores:
            sources, values = [], []
            for tag, score in enumerate(row):
                source, value = 0, _FORBIDDEN
                for each in _FROM[tag]:
                    reached = best[each] + moves[each][tag]
                    if reached > value:
                        source, value = each, reached
                sources.append(source)
                values.append(value + score)
            back.append(sources)
            best = values
        tag = max(range(len(TAGS)), key=lambda each: best[each] + moves[each][0])
        path = []
        for sources in reversed(back):
            path.append(tag)
            tag = sources[tag]
        return path[::-1]

    def is_spot(self, token: str) -> bool:
        """Whether a name may be looked for at this word at all; remembered."""
        known = self._spots.get(token)
        if known is None:
            known = self._could_name(token)
            if len(self._spots) > _MEMO:
                self._spots = {}
            self._spots[token] = known
        return known

    def _could_name(self, token: str) -> bool:
        if len(token) > _WORD_LIMIT or (len(token) < 2 and ord(token) < _HAN):
            return False
        flags = self.lexicon.flags(token.lower())
        if token.isascii() and token.islower():
            rare, known = (
                flags & _RARE_NAMES and not flags & _ANY_WORDS,
                flags & _KNOWN_NAMES and not flags & _PLAIN_WORDS,
            )
            return bool(rare or known) and self.word(token).margin > _LOWER
        if flags & _PLAIN_WORDS and not flags & _GOOD_NAMES:
            return False
        shape = _shape(token)
        if not _WRITTEN.fullmatch(shape) or (shape == "XxXx" and not _PREFIXED.match(token)):
            return False
        return self.word(token).margin > _UPPER

    def spots(self, text: str) -> list[int]:
        """Where words begin at which a name may be, in order."""
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
        known = self._wanted
        wanted: set[str] = set()
        for word in set(text.encode().translate(_APART).split()):
            hits = known.get(word)
            if hits is None:
                if len(known) > _MEMO:
                    known = self._wanted = {}
                parts = _PARTS.findall(word.decode()) if len(word) <= _WORD_LIMIT * 4 else ()
                hits = known[word] = tuple(filter(self.is_spot, parts))
            wanted.update(hits)
        return wanted


class _Window:
    """A stretch of a text, in words: scored only where a name may be."""

    __slots__ = ("_first", "_kinds", "_model", "_scores", "_text", "found", "words")

    def __init__(self, model: Model, text: str, start: int, end: int) -> None:
        self._model, self._text, self._first = model, text, start
        self.found = tokens(text[start:end])
        self.words: list[_Word | None] = [None] * len(self.found)
        self._scores: dict[int, tuple[list[int], int]] = {}
        self._kinds: dict[tuple[int, int], str] = {}

    def _word(self, place: int) -> _Word:
        if not 0 <= place < len(self.found):
            return self._model.edge
        known = self.words[place]
        if known is None:
            known = self.words[place] = self._model.word(self.found[place][2])
        return known

    def _kind(self, place: int) -> str:
        ends = line_at(self._text, self._first + self.found[place][0])
        known = self._kinds.get(ends)
        if known is None:
            known = self._kinds[ends] = line_kind(self._text[slice(*ends)])
        return known

    def score(self, place: int) -> tuple[list[int], int]:
        """The score of each tag for a word, and how far the best name tag is above "no name"."""
        known = self._scores.get(place)
        if known is None:
            left, here, right = self._word(place - 1), self._word(place), self._word(place + 1)
            vectors = [self._word(place - 2).ahead, left.before, here.own, right.after, self._word(place + 2).behind]
            pairs = self._model.pairs
            for feature in pair_features(left.facts, here.facts, right.facts, self._kind(place)):
                vector = pairs[feature] if feature in pairs else self._model.pair(feature)
                if vector:
                    vectors.append(vector)
            row = list(map(sum, zip(*vectors, strict=True)))
            known = self._scores[place] = row, max(row[1:5]) - row[0]
        return known

    def island(self, place: int, floor: int) -> tuple[int, int]:
        """The stretch around a word in which every word may be a part of a name; it does not begin before `floor`."""
        first, last, size = place, place + 1, len(self.found)
        while first > floor and place - first < _LONGEST and self.score(first - 1)[1] > _ISLAND:
            first -= 1
        while last < size and last - place < _LONGEST and self.score(last)[1] > _ISLAND:
            last += 1
        return first, last

    def entities(self, spots: Sequence[int]) -> Iterator[_Entity]:
        """(start, end, tag of its first word) of what is named around these places; offsets in the whole text."""
        done = place = 0
        size, found = len(self.found), self.found
        for spot in spots:
            while place < size and found[place][1] <= spot - self._first:
                place += 1
            if place == size:
                return
            if place < done or not self._is_spot(place) or self.score(place)[1] < _CONTEXT:
                continue
            first, done = self.island(place, done)
            path = self._model.tags([self.score(each)[0] for each in range(first, done)])
            self._take_first_names(first, path)
            yield from self._joined(first, path)

    def _take_first_names(self, first: int, path: list[int]) -> None:
        """Heather and Mark are words as well; right before a surname they are names."""
        for place in range(1, len(path)):
            here, before = self._word(first + place).facts, self._word(first + place - 1).facts
            surname = path[place] == _PERSON and here.flags & _LAST and not here.flags & _FIRST
            if surname and not path[place - 1] and before.shape == "Xx" and before.flags & _FIRST:
                path[place - 1], path[place] = _PERSON, _PERSON + 1

    def _is_spot(self, place: int) -> bool:
        start, _, token = self.found[place]
        if not self._model.is_spot(token):
            return False
        if not token.islower():
            return True
        before = self._first + start - 1
        return (before < 0 or self._text[before].isspace()) and self._kind(place) != "c"

    def _joined(self, first: int, path: Sequence[int]) -> Iterator[_Entity]:
        place, found, base = 0, self.found, self._first
        while place < len(path):
            tag, begin = path[place], place
            place += 1
            if not tag:
                continue
            while place < len(path) and path[place] == tag + 1 and found[first + place][2][0] != "\n":
                place += 1
            inside = self._trimmed(range(first + begin, first + place))
            if (
                tag in _LABEL
                and any(map(self._is_spot, inside))
                and not any(found[each][2][0].isdigit() for each in inside)
            ):
                yield base + found[inside[0]][0], base + found[inside[-1]][1], tag

    def _trimmed(self, inside: range) -> range:
        """Without the signs at the ends, unless there are such between the words as well, or a full stop behind."""
        found = self.found
        words = [each for each in inside if found[each][2][0].isalnum()]
        if not words:
            return range(0)
        last = inside[-1]
        if found[last][2] != "." and not any(found[each][2] == "*" for each in range(words[0], words[-1])):
            last = words[-1]
        return range(words[0], last + 1)


@lru_cache(maxsize=1)
def model() -> Model:
    """The model, read at the first call (about 0.1 s). Raises `ModelBroken`."""
    data = MODEL.read_bytes()
    if sha256(data).hexdigest() != MODEL_SHA256:
        raise ModelBroken("The model of names is not the one this version was made with.")
    return Model(data)


_PERSON = TAGS.index("B-PER")
_LABEL = {_PERSON: ("PERSON", "person", Severity.MEDIUM), 3: ("LOCATION", "place", Severity.LOW)}


def _windows(text: str, spots: Sequence[int]) -> Iterator[tuple[int, int, list[int]]]:
    """The stretches of a text that are worth reading, with their spots."""
    start = end = -1
    inside: list[int] = []
    for spot in spots:
        if inside and spot - _AROUND > end:
            yield start, _edge(text, end, 1), inside
            inside = []
        if not inside:
            start = _edge(text, max(0, spot - _AROUND), -1)
        inside.append(spot)
        end = min(spot + _AROUND, len(text))
    if inside:
        yield start, _edge(text, end, 1), inside


def _edge(text: str, place: int, step: int) -> int:
    """The next place that is not inside a word; words longer than 60 signs are cut."""
    for each in range(place, place + 60 * step, step):
        if not 0 < each < len(text) or text[each - 1].isspace():
            return min(max(each, 0), len(text))
    return place


def people_and_places(text: str) -> list[Span]:
    """The persons (PERSON) and places (LOCATION) named in `text`, in order, never overlapping."""
    read = model()
    text = _LONE.sub("\ufffd", text)
    places = read.spots(text)
    found = [
        entity
        for start, end, spots in _windows(text, places)
        for entity in _joined(text, _Window(read, text, start, end).entities(spots))
        if not _in_noise(text, entity[0], entity[1])
    ]
    found = [part for each in sorted(found) for part in _cleaned(read.lexicon, text, each)]
    found += _again(read, text, places, found)
    told = _addressed(read, text, found)
    found = sorted([*(each for each in found if _is_free(told, each[0], each[1])), *told])
    public = in_public(text, [(start, end) for start, end, tag in found if tag == _PERSON])
    public |= {start for start, end, _ in found if _is_institution(read.lexicon, text, start, end)}
    return [_span(*each, public=each[0] in public) for each in found]


def _span(start: int, end: int, tag: int, *, public: bool) -> Span:
    label, kind, severity = _LABEL[tag]
    return Span(start, end, label, "public_person" if public and tag == _PERSON else kind, severity)


_JOIN = """
a ab abu af al ap av ben bin bint d da das de degli dei del della den der des di do dos du e el en i ibn la las
le les lo los mac nic ní of op sen ter ten the uí van vom von vd y z zu zum zur
"""
_JOINING = frozenset(_JOIN.split())
"""Small words that stand inside names."""
_ARTICLE = re.compile(r"(?:[dlsnjcm]|qu|dell|all|nell|sull|dall|un)['’](?=[^\W\d_])")
_CITIES, _BEARERS, _ORDINARY, _STOPPING = 0b1_0000, 0b101, 0b10_0111_0000_0000, 0b10_0100_0000_0000
_NAME_WORDS = re.compile(r"[^\W\d_]+(?:[-'’.][^\W\d_]+)*")
_BROKEN = re.compile(r"[^\w\s.,;:'’\"&/()*-]")
"""Signs that hide inside words: such a finding is left as it is."""
_NamePart = tuple[int, int, str]


def _cleaned(lexicon: Lexicon, text: str, entity: _Entity) -> Iterator[_Entity]:
    """The entity without the ordinary words it has drawn in: nothing, itself, or the names on both sides of them."""
    start, end, tag = entity
    if tag != _PERSON or _BROKEN.search(text, start, end):
        yield entity
        return
    if article := _ARTICLE.match(text, start, end):
        start = article.end()
    words = [(match.start(), match.end(), match.group()) for match in _NAME_WORDS.finditer(text, start, end)]
    for piece in _apart(lexicon, words):
        ends = (start, end, tag) if len(piece) == len(words) else (piece[0][0], piece[-1][1], tag) if piece else None
        if ends and len(piece) > 1:
            yield ends
        elif ends:
            yield from _single(lexicon, text, ends, alone=len(words) == 1)


def _apart(lexicon: Lexicon, words: Sequence[_NamePart]) -> Iterator[Sequence[_NamePart]]:
    """The names among these words: cut at "or" and the like, and what is ordinary taken away."""
    at = 0
    for place, (_, _, word) in enumerate([*words, (0, 0, "or")]):
        if word in _CHOOSING:
            part, at = words[at:place], place + 1
            small = sum(each[2].islower() for each in part)
            if not small:
                yield part
            elif small == len(part):
                yield _lower(lexicon, part)
            else:
                yield from _pieces(lexicon, part)


_CHOOSING = frozenset({"or", "and", "oder", "ou", "czy", "versus", "vs"})


def _pieces(lexicon: Lexicon, words: Sequence[_NamePart]) -> Iterator[list[_NamePart]]:
    """The words between those in small letters that are no part of a name; joining words only where they join."""
    piece: list[_NamePart] = []
    for place, each in enumerate([*words, (0, 0, "a")]):
        joining = each[2] in _JOINING and (bool(piece) or not place)
        elided = place and _ARTICLE.match(each[2])
        if each[1] and not elided and (joining or not _is_outside(lexicon, words, place)):
            piece.append(each)
            continue
        while piece and piece[-1][2] in _JOINING:
            piece.pop()
        if any(not word.islower() for _, _, word in piece):
            yield piece
        piece = [(each[0] + elided.end(), each[1], each[2][elided.end() :])] if elided else []


def _is_outside(lexicon: Lexicon, words: Sequence[_NamePart], place: int) -> bool:
    """Whether a word in small letters among others with capitals is no part of their name."""
    word = words[place][2]
    if not word.islower():
        return False
    flags = lexicon.flags(word)
    if len(words) == 2 and place == 1:  # Donald trump
        return bool(flags & _STOPPING and not flags & _BEARERS)
    return not flags & _BEARERS or (0 < place < len(words) - 1 and not words[place + 1][2].islower())


def _is_ordinary(lexicon: Lexicon, word: str, bits: int = _ORDINARY) -> bool:
    flags = lexicon.flags(word.lower())
    return bool(flags & bits and not flags & _BEARERS)


def _single(lexicon: Lexicon, text: str, entity: _Entity, *, alone: bool) -> Iterator[_Entity]:
    """One word: a large city is a place, and what is left of a cut phrase and is no name is nothing."""
    start, end, _ = entity
    word = text[start:end]
    flags = lexicon.flags(word.lower())
    if (
        flags & _CITIES
        and not flags & _BEARERS
        and word.islower()
        and not _GREETED.search(text, max(0, start - 16), start)
    ):
        yield start, end, 3
    elif alone or not _is_ordinary(lexicon, word):
        yield entity


_THE = re.compile(r"(?<!\w)[Tt]he \Z")
_THE_FAMILY = re.compile(r"[’']?s?\s(?:famil|house|home|children|kids|brothers|sisters|wedding|account)|\s[A-Z]")


def _is_institution(lexicon: Lexicon, text: str, start: int, end: int) -> bool:
    """Whether it is a common word behind "the": the Church, the Crown; not the Baker family."""
    return (
        bool(lexicon.flags(text[start:end].lower()) & _PLAIN_WORDS)
        and _THE.search(text, max(0, start - 4), start) is not None
        and not _THE_FAMILY.match(text, end)
    )


_GREETED = re.compile(
    r"(?:mr|mrs|ms|miss|dr|herr|frau|mme|monsieur|madame|signora?|señora?|dear|hi|hello|hallo|hola|ciao|name is|i'?m)"
    r"\.?\s\Z",
    re.IGNORECASE,
)


def _lower(lexicon: Lexicon, words: Sequence[_NamePart]) -> list[_NamePart]:
    """Words all in small letters, without the ordinary ones at the ends."""
    kept = list(words)
    bits = _STOPPING if len(words) == 2 else _ORDINARY
    while kept and (kept[-1][2] in _JOINING or _is_ordinary(lexicon, kept[-1][2], bits)):
        kept.pop()
    while kept and (kept[0][2] in _JOINING - _OPENING or _is_ordinary(lexicon, kept[0][2], bits)):
        kept.pop(0)
    return kept


_OPENING = frozenset({"van", "de", "el", "al", "la", "le", "ter", "ten"})
"""Small words with which a surname may begin."""


_MESSAGES = """
sms|text|mail|e-mail|email|note|card|message|msg|whatsapp|nachricht|karte|brief|gruß|grüße|appje|berichtje
|kaartje|bericht|carte|mot|lettre|mensaje|mensagem|recado|carta|nota|messaggio|biglietto|lettera|auguri|righe
|wiadomość|list|życzenia|kartkę|invitation|einladung|invito|invitación|convite
"""
_TOWARDS = "to for from an für von à pour de para pra per da aan voor van do dla od till til"
_SAYING = """
text|tell|ask|remind|ping|message|whatsapp|call|schreib|schreibe|sag|schick|erinner|frag|stuur|app|bel|vraag|zeg
|schrijf|dis à|écris à|demande à|envoie à|dile a|escribe a|pregunta a|llama a|avisa a|chiedi a|scrivi a|manda a
|di' a|di a|escreve a|fala com|pergunta a|zapytaj|powiedz
"""
_GREETING = """
hi|hey|hello|hola|oi|olá|ciao|hallo|salut|bonjour|coucou|cześć|hej|moin|dear|lieber|liebe|cher|chère|querido
|querida|caro|cara|beste|drogi|droga
"""
_HOLDING = """
t.n.v.|tnv|ten name van|op naam van|intestato a|intestata a|au nom de|a nombre de|em nome de|auf den namen
|in the name of|kontoinhaber|kontoinhaberin|kontoinhaberin ist|kontoinhaber ist|rekeninghouder|titular|odbiorca
|neighbours the|neighbors the|friends the
"""
_CAPITAL = r"[A-ZÀ-ÞŁŚŻŹĆ][^\W\d_]+(?:[-'’][^\W\d_]+)*"
_WORD_AHEAD = rf"([^\W\d_]{{3,20}}(?: {_CAPITAL}){{0,2}})(?![^\W\d_])"
_ADDRESSED, _GREETED_SO, _HELD = (
    re.compile(
        _WORD_AHEAD + r"(?= ?(?:[,;:.!?)»”\"]|\Z|\n)"
        r"| (?:that|saying|about|dass|eine?n?|que|qui|che|dat|even|een|that|że|oggi|i'm|we|to|if|asking) )"
    ),
    re.compile(_WORD_AHEAD + r"(?=[ ,!.:\n]|\Z)(?![.]\w)"),
    re.compile(rf"({_CAPITAL}(?: (?:v[ao]n|de|der|den|del|di|da|el|al)){{0,2}}(?: {_CAPITAL}){{0,3}})"),
)
"""What may stand behind the words below to be a name."""


def _split(words: str) -> list[str]:
    return words.replace("\n", "").split("|")


@lru_cache(maxsize=1)
def _cues() -> tuple[AhoCorasick, list[re.Pattern[str]]]:
    """Words before which somebody is named, and what the name has to look like: for each pattern of the automaton."""
    shapes = {f"{message} {towards} ": _ADDRESSED for message in _split(_MESSAGES) for towards in _TOWARDS.split()}
    shapes |= {f"{word} ": _ADDRESSED for word in _split(_SAYING)}
    shapes |= {f"{word} ": _GREETED_SO for word in _split(_GREETING)}
    shapes |= {f"{word}{sign} ": _HELD for word in _split(_HOLDING) for sign in ("", ":")}
    shapes |= {cue[0].upper() + cue[1:]: shape for cue, shape in shapes.items()}
    return AhoCorasick(list(shapes), matchkind=MatchKind.LeftmostLongest), list(shapes.values())


def _behind_cues(lexicon: Lexicon, text: str) -> Iterator[tuple[int, int]]:
    """Where words stand that what is before them makes a name; on no list, or on those of persons only."""
    automaton, shapes = _cues()
    for row, start, end in automaton.find_matches_as_indexes(text):
        if start and (text[start - 1].isalnum() or text[start - 1] in "_-/."):
            continue
        found = shapes[row].match(text, end)
        if found and (shapes[row] is _HELD or _may_be_addressed(lexicon, found[1])):
            yield found.span(1)


_INITIAL = r"[A-ZÀ-ÞŁŚŻŹĆ]"
_COUPLE = re.compile(
    rf" (?:and|und|y|e|et|en|i|og|och|&) ({_INITIAL}[^\W\d_]{{2,20}}(?: {_INITIAL}[^\W\d_]{{2,20}})?)"
    r"(?![^\W\d_]|[@.-]\w| [A-ZÀ-Þ])"
)
_DESCENT = re.compile(rf" (?:el|al|ben|bin|ibn|van|von) {_CAPITAL}")
"""What may follow an unknown word that is no place then: Noureddin el Bakkaoui."""
_NAMED, _COUPLED, _ONLY_FIRST = 0b1111, 0b10_0111_0001_0011, frozenset({0, 1, 2, 3})


def _addressed(read: Model, text: str, found: Sequence[_Entity]) -> list[_Entity]:
    """Names on no list that are told by what stands before them: `text fenwin that ...`, `t.n.v. Jacomijn Aalders`."""
    taken = sorted(each for each in found if each[2] == _PERSON)
    places = list(_behind_cues(read.lexicon, text))
    for start, end, tag in found:
        couple = _COUPLE.match(text, end) if tag == _PERSON else None
        if couple and _could_pair(read.lexicon, couple[1]) and not is_public(text[start:end]):
            places.append(couple.span(1))
        longer = _DESCENT.match(text, end) if not read.lexicon.flags(text[start:end].lower()) else None
        if longer:
            places.append((start, longer.end()))
    told: list[_Entity] = []
    for start, end in sorted(places):
        if _is_free(taken, start, end) and _is_free(told, start, end):
            told.append((start, end, _PERSON))
    return told


def _could_pair(lexicon: Lexicon, name: str) -> bool:
    """Whether no word of a name is anything but a first name, or unknown; of a surname too, behind a first name."""
    first, *rest = name.lower().split(" ")
    return all(lexicon.flags(word) & _COUPLED in _ONLY_FIRST for word in (first, *rest))


def _may_be_addressed(lexicon: Lexicon, name: str) -> bool:
    """Whether the words are on no list, or on those of persons only."""
    known = [lexicon.flags(word) for word in name.lower().split(" ")]
    return not any(flags & _ORDINARY or (flags and not flags & _NAMED) for flags in known)


def _is_free(taken: Sequence[_Entity], start: int, end: int) -> bool:
    place = bisect_right(taken, (start, end, 0))
    return (place == len(taken) or taken[place][0] >= end) and (not place or taken[place - 1][1] <= start)


def _joined(text: str, entities: Iterable[_Entity]) -> list[_Entity]:
    """Two persons, or a person and a place, with one blank between are one person: Margot Le Roux."""
    found: list[_Entity] = []
    for start, end, tag in entities:
        if found and found[-1][2] == _PERSON and text[found[-1][1] : start] == " ":
            found[-1] = (found[-1][0], end, _PERSON)
        else:
            found.append((start, end, tag))
    return found


def _again(read: Model, text: str, places: Sequence[int], found: Sequence[_Entity]) -> list[_Entity]:
    """Words of names found elsewhere in the text, standing alone: who was Jane Hill above is Hill below."""
    parts = {
        part
        for start, end, tag in found
        if tag == _PERSON and len(words := _PARTS.findall(text[start:end])) > 1
        for part in words[1:]
        if len(part) > 2 and not part.islower() and read.lexicon.only_name(part.lower())
    }
    added: list[_Entity] = []
    if not parts:
        return added
    done = row = 0
    for place in places:
        while row < len(found) and found[row][1] <= place:
            row += 1
        if place < done or (row < len(found) and found[row][0] <= place):
            continue
        word = _PARTS.match(text, place)
        if (
            word
            and word.group() in parts
            and not _GLUED.match(text, word.end())
            and text[place - 1 : place] not in _GLUE
        ):
            done = word.end()
            added.append((place, done, _PERSON))
    return added


_GLUED = re.compile(r"[.@/_=-]\w|@")
_GLUE = frozenset(".@/_=-")


_NOISE = re.compile(r"[A-Za-z0-9+/=_-]*")
_NOISE_BEFORE = re.compile(r"[A-Za-z0-9+/=_-]*\Z")


def _in_noise(text: str, start: int, end: int) -> bool:
    """Whether it stands inside a long run of letters and digits: base64, a hash, a key."""
    after = _NOISE.match(text, end, end + 40)
    before = _NOISE_BEFORE.search(text, max(0, start - 40), start)
    run = (before.group() if before else "") + (after.group() if after else "")
    return len(run) > 12 and any(map(str.isdigit, run))
