"""Names on no list that are told by what stands before them: `text fenwin that ...`, `t.n.v. Jacomijn Aalders`.

Tables of words in nine languages behind which somebody is named, in one automaton; and what makes a name longer or adds
a second one. It asks the lexicon about single words, never the model.
"""

# ruff: noqa: RUF001  # people type both kinds of apostrophe

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache

from ahocorasick_rs import AhoCorasick, Implementation, MatchKind

from membrain.pii.crf import PERSON, Entity
from membrain.pii.public import is_public
from membrain.pii.words import Lexicon

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
        _WORD_AHEAD + r"(?![.]\w)(?= ?(?:[,;:.!?)»”\"]|\Z|\n)"
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
    kind, fastest = MatchKind.LeftmostLongest, Implementation.DFA
    return AhoCorasick(list(shapes), matchkind=kind, implementation=fastest), list(shapes.values())


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
_NAMED, _ORDINARY, _COUPLED = 0b1111, 0b10_0111_0000_0000, 0b10_0111_0001_0011
_ONLY_FIRST = frozenset({0, 1, 2, 3})


def addressed(lexicon: Lexicon, text: str, found: Sequence[Entity]) -> list[Entity]:
    """Names on no list that are told by what stands before them: `text fenwin that ...`, `t.n.v. Jacomijn Aalders`."""
    taken = sorted(each for each in found if each[2] == PERSON)
    places = list(_behind_cues(lexicon, text))
    for start, end, tag in found:
        couple = _COUPLE.match(text, end) if tag == PERSON else None
        if couple and _could_pair(lexicon, couple[1]) and not is_public(text[start:end]):
            places.append(couple.span(1))
        longer = _DESCENT.match(text, end) if not lexicon.flags(text[start:end].lower()) else None
        if longer:
            places.append((start, longer.end()))
    told: list[Entity] = []
    for start, end in sorted(places):
        if is_free(taken, start, end) and is_free(told, start, end):
            told.append((start, end, PERSON))
    return told


def _could_pair(lexicon: Lexicon, name: str) -> bool:
    """Whether no word of a name is anything but a first name, or unknown; of a surname too, behind a first name."""
    first, *rest = name.lower().split(" ")
    return all(lexicon.flags(word) & _COUPLED in _ONLY_FIRST for word in (first, *rest))


def _may_be_addressed(lexicon: Lexicon, name: str) -> bool:
    """Whether the words are on no list, or on those of persons only."""
    known = [lexicon.flags(word) for word in name.lower().split(" ")]
    return not any(flags & _ORDINARY or (flags and not flags & _NAMED) for flags in known)


def is_free(taken: Sequence[Entity], start: int, end: int) -> bool:
    place = bisect_right(taken, (start, end, 0))
    return (place == len(taken) or taken[place][0] >= end) and (not place or taken[place - 1][1] <= start)
