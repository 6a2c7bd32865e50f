"""What is no part of a name taken out of what the model of names has found: ordinary words, articles, "or".

Works on single findings and on single words; it knows no neighbours but those that decide about an article.
"""

# ruff: noqa: RUF001  # people type all kinds of apostrophes and dashes

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from membrain.pii.crf import LOCATION, PERSON, Entity
from membrain.pii.words import Lexicon

_JOIN = """
a ab abu af al ap av ben bin bint d da das de degli dei del della den der des di do dos du e el en i ibn la las
le les lo los mac nic ní of op sen ter ten the uí van vom von vd y z zu zum zur
"""
_JOINING = frozenset(_JOIN.split())
"""Small words that stand inside names."""
_ARTICLE = re.compile(r"(?:[dlsnjcm]|qu|dell|all|nell|sull|dall|un)['’](?=[^\W\d_])")
_CITIES, _BEARERS, _ORDINARY, _STOPPING = 0b1_0000, 0b101, 0b10_0111_0000_0000, 0b10_0100_0000_0000
_PLAIN_WORDS = 0b1_0000_0000
_NAME_WORDS = re.compile(r"[^\W\d_]+(?:[-'’.][^\W\d_]+)*")
_BROKEN = re.compile(r"[^\w\s.,;:'’\"&/()*-]")
"""Signs that hide inside words: such a finding is left as it is."""
_NamePart = tuple[int, int, str]


def cleaned(lexicon: Lexicon, text: str, entity: Entity) -> Iterator[Entity]:
    """The entity without the ordinary words it has drawn in: nothing, itself, or the names on both sides of them."""
    start, end, tag = entity
    if tag != PERSON or _BROKEN.search(text, start, end):
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


def _single(lexicon: Lexicon, text: str, entity: Entity, *, alone: bool) -> Iterator[Entity]:
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
        yield start, end, LOCATION
    elif alone or not _is_ordinary(lexicon, word):
        yield entity


_THE = re.compile(r"(?<!\w)[Tt]he \Z")
_THE_FAMILY = re.compile(r"[’']?s?\s(?:famil|house|home|children|kids|brothers|sisters|wedding|account)|\s[A-Z]")


def is_institution(lexicon: Lexicon, text: str, start: int, end: int) -> bool:
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


_PROFILE = r"\]\(https?://(?:www\.)?(?:github\.com|gitlab\.com|codeberg\.org|bitbucket\.org)/[\w.-]{1,40}/?\)"
_ITEM = r"(?:\A|\n)[ \t]*(?:[-*+|]|\d+[.)])[ \t]+"
_LINKED_BEFORE = re.compile(rf"{_ITEM}\[[^\]\n]{{1,80}}{_PROFILE}[ \t]*[-–—:|]*[ \t]*\**\Z")
_ENDS_ITEM = re.compile(r"\**(?:[ \t]*\([^)\n]{1,20}\))?[ \t]*\|?[ \t]*(?:\r?\n|\Z)")
_OPENS_ITEM = re.compile(rf"{_ITEM}\**\[\Z")
_LINKED_BEHIND = re.compile(_PROFILE)


def is_credited(text: str, start: int, end: int) -> bool:
    """Whether a name is an item in a list of contributors: nothing but the name, and a link to its bearer's profile.

    It is published there beside the login, which says as much; the rest of such a list is code's documentation.
    """
    if _LINKED_BEHIND.match(text, end):
        return _OPENS_ITEM.search(text, max(0, start - 40), start) is not None
    before = max(0, start - 240)
    return _ENDS_ITEM.match(text, end) is not None and _LINKED_BEFORE.search(text, before, start) is not None


_IN_BRACKETS = re.compile(r"[\],|]")


def is_subscript(text: str, start: int, end: int) -> bool:
    """Whether a single word is what code has in brackets behind a name: `List[Expr]`."""
    return (
        start > 1
        and text[start - 1] == "["
        and (text[start - 2].isalnum() or text[start - 2] == "_")
        and _IN_BRACKETS.match(text, end) is not None
        and " " not in text[start:end]
    )
