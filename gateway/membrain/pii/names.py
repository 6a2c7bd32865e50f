"""Names of persons and places in free text, by a small model of our own (`crf`).

Of a text only the surroundings of words that could be part of a name (`spots`) are read at all, word by word, as far as
the model wants to know more; so code and logs cost little. What it finds is tidied (`trimming`), and joined by what is
told from the words before it (`cues`). It does not know street addresses (`addresses`), and never looks anything up
outside the package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from membrain.pii.crf import LOCATION, PERSON, Entity, Model, Word, model, scores
from membrain.pii.cues import addressed, is_free
from membrain.pii.kinds import Severity, Span
from membrain.pii.public import in_public
from membrain.pii.scan import readable
from membrain.pii.spots import Spots, spots
from membrain.pii.trimming import cleaned, is_credited, is_institution, is_subscript
from membrain.pii.words import TOKEN, Lexicon, Token, line_at, line_kind, token_of

_CONTEXT, _ISLAND = -25, -130
"""How far below "no name" a word may be in its context, and as a part of a name."""
_LONGEST = 24
"""Words to each side in a name."""
_NEAR, _BACK, _CUT = 32, 8, 60
"""Characters: what is read on to rather than begun anew, what is read before a spot at first, and the longest word."""
_FIRST, _LAST = 1, 4
_LABEL = {PERSON: ("PERSON", "person", Severity.MEDIUM), LOCATION: ("LOCATION", "place", Severity.LOW)}
_PARTS = re.compile(r"[^\W\d_]+")

Scored = tuple[tuple[int, ...], int]
"""The scores of a word's tags, and how far the best name tag is above "no name"."""


class _Reading:
    """A text, read where names may be. Words are numbered from where the present stretch began; before it, below 0."""

    __slots__ = ("_ahead", "_begin", "_kinds", "_left", "_model", "_right", "_scores", "_spots", "_text", "_words")

    def __init__(self, read: Model, worth: Spots, text: str) -> None:
        self._model, self._spots, self._text = read, worth, text
        self._kinds: dict[int, str] = {}
        self._open(0)

    def _open(self, begin: int) -> None:
        """Begin a new stretch at a character."""
        self._begin, self._ahead = begin, TOKEN.finditer(self._text, begin)
        self._right: list[Token] = []
        self._left: list[Token] = []
        self._words: dict[int, Word] = {}
        self._scores: dict[int, Scored] = {}

    def _token(self, place: int) -> Token | None:
        """The word at this place; None before the first and behind the last one of the text."""
        if place >= 0:
            while place >= len(self._right):
                match = next(self._ahead, None)
                if match is None:
                    return None
                self._right.append(token_of(match))
            return self._right[place]
        while -place > len(self._left):
            if not self._begin:
                return None
            start = _word_start(self._text, max(0, self._begin - _BACK))
            earlier = [token_of(match) for match in TOKEN.finditer(self._text, start, self._begin)]
            self._left += reversed(earlier)
            self._begin = start
        return self._left[-place - 1]

    def _reach(self, spot: int) -> int:
        """The place of the word that the character `spot` is in; there is one."""
        right = self._right
        if not right or right[-1][1] <= spot:
            for match in self._ahead:
                right.append(token_of(match))
                if right[-1][1] > spot:
                    break
        place = len(right) - 1
        while place and right[place - 1][1] > spot:
            place -= 1
        return place

    def _word(self, place: int) -> Word:
        known = self._words.get(place)
        if known is None:
            token = self._token(place)
            known = self._words[place] = self._model.edge if token is None else self._model.word(token[2])
        return known

    def _kind(self, start: int) -> str:
        """The kind of the line around a character."""
        low, high = line_at(self._text, start)
        known = self._kinds.get(low)
        if known is None:
            known = self._kinds[low] = line_kind(self._text[low:high])
        return known

    def score(self, place: int) -> Scored:
        """The score of each tag for a word, and how far the best name tag is above "no name"."""
        known = self._scores.get(place)
        if known is None:
            word, token = self._word, self._token(place)
            left, here, right = word(place - 1), word(place), word(place + 1)
            beside = self._model.beside(left, here, right, self._kind(token[0]) if token else "n")
            known = self._scores[place] = scores(
                word(place - 2).ahead + left.before + here.own + right.after + word(place + 2).behind + beside
            )
        return known

    def _is_part(self, place: int, floor: int) -> bool:
        """Whether a word could be a part of a name that does not begin before the character `floor`."""
        token = self._token(place)
        return token is not None and token[0] >= floor and self.score(place)[1] > _ISLAND

    def _island(self, place: int, floor: int) -> tuple[int, int]:
        """The stretch around a word in which every word may be a part of a name."""
        first, last = place, place + 1
        while place - first < _LONGEST and self._is_part(first - 1, floor):
            first -= 1
        while last - place < _LONGEST and self._is_part(last, floor):
            last += 1
        return first, last

    def entities(self, places: Iterable[int]) -> Iterator[Entity]:
        """(start, end, tag of its first word) of what is named around these characters, in order."""
        done = read = 0
        for spot in places:
            if spot < done:
                continue
            if spot - read > _NEAR:
                self._open(_word_start(self._text, max(done, spot - _BACK)))
            at = self._reach(spot)
            token = self._right[at]
            read = self._right[-1][1]
            if token[0] < done or not self._is_spot(token) or self.score(at)[1] < _CONTEXT:
                continue
            first, last = self._island(at, done)
            path = self._model.tags([self.score(each)[0] for each in range(first, last)])
            self._take_first_names(first, path)
            yield from self._named(first, path)
            done = read = self._right[last - 1][1]

    def _take_first_names(self, first: int, path: list[int]) -> None:
        """Heather and Mark are words as well; right before a surname they are names."""
        for place in range(1, len(path)):
            here, before = self._word(first + place).facts, self._word(first + place - 1).facts
            surname = path[place] == PERSON and here.flags & _LAST and not here.flags & _FIRST
            if surname and not path[place - 1] and before.shape == "Xx" and before.flags & _FIRST:
                path[place - 1], path[place] = PERSON, PERSON + 1

    def _is_spot(self, token: Token) -> bool:
        start, _, word = token
        if not self._spots.is_spot(word):
            return False
        if not word.islower():
            return True
        return (not start or self._text[start - 1].isspace()) and self._kind(start) != "c"

    def _named(self, first: int, path: Sequence[int]) -> Iterator[Entity]:
        """What these tags name; `first` is the place of the first one's word."""
        words = [token for place in range(len(path)) if (token := self._token(first + place))]
        place = 0
        while place < len(path):
            tag, begin = path[place], place
            place += 1
            if not tag:
                continue
            while place < len(path) and path[place] == tag + 1 and words[place][2][0] != "\n":
                place += 1
            inside = _trimmed(words[begin:place])
            if (
                tag in _LABEL
                and any(map(self._is_spot, inside))
                and not any(word[0].isdigit() for _, _, word in inside)
            ):
                yield inside[0][0], inside[-1][1], tag


def _trimmed(inside: Sequence[Token]) -> Sequence[Token]:
    """Without the signs at the ends, unless there are such between the words as well, or a full stop behind."""
    words = [place for place, token in enumerate(inside) if token[2][0].isalnum()]
    if not words:
        return ()
    last = len(inside) - 1
    if inside[last][2] != "." and not any(token[2] == "*" for token in inside[words[0] : words[-1]]):
        last = words[-1]
    return inside[words[0] : last + 1]


def _word_start(text: str, place: int) -> int:
    """The beginning of the word at this place; words longer than `_CUT` signs are cut."""
    low = max(0, place - _CUT)
    gap = max(text.rfind(" ", low, place), text.rfind("\n", low, place))
    return gap + 1 if gap >= 0 else low


def people_and_places(text: str) -> list[Span]:
    """The persons (PERSON) and places (LOCATION) named in `text`, in order, never overlapping."""
    read, worth = model(), spots()
    text, lexicon = readable(text), read.lexicon
    places = worth.within(text)
    entities = _joined(text, _Reading(read, worth, text).entities(places))
    named = [each for each in entities if not _is_nobody(text, each[0], each[1])]
    found = [part for each in sorted(named) for part in cleaned(lexicon, text, each)]
    found += _again(lexicon, text, places, found)
    told = addressed(lexicon, text, found)
    found = sorted([*(each for each in found if is_free(told, each[0], each[1])), *told])
    public = in_public(text, [(start, end) for start, end, tag in found if tag == PERSON])
    public |= {start for start, end, _ in found if is_institution(lexicon, text, start, end)}
    return [_span(*each, public=each[0] in public) for each in found]


def _is_nobody(text: str, start: int, end: int) -> bool:
    """Whether what was found is nobody's name for reasons that no model sees."""
    return _in_noise(text, start, end) or is_subscript(text, start, end) or is_credited(text, start, end)


def _span(start: int, end: int, tag: int, *, public: bool) -> Span:
    label, kind, severity = _LABEL[tag]
    return Span(start, end, label, "public_person" if public and tag == PERSON else kind, severity)


def _joined(text: str, entities: Iterable[Entity]) -> list[Entity]:
    """Two persons, or a person and a place, with one blank between are one person: Margot Le Roux."""
    found: list[Entity] = []
    for start, end, tag in entities:
        if found and found[-1][2] == PERSON and text[found[-1][1] : start] == " ":
            found[-1] = (found[-1][0], end, PERSON)
        else:
            found.append((start, end, tag))
    return found


def _again(lexicon: Lexicon, text: str, places: Sequence[int], found: Sequence[Entity]) -> list[Entity]:
    """Words of names found elsewhere in the text, standing alone: who was Jane Hill above is Hill below."""
    parts = {
        part
        for start, end, tag in found
        if tag == PERSON and len(words := _PARTS.findall(text[start:end])) > 1
        for part in words[1:]
        if len(part) > 2 and not part.islower() and lexicon.only_name(part.lower())
    }
    added: list[Entity] = []
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
            added.append((place, done, PERSON))
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
