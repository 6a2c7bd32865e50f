"""Which names are widely known, so that hiding them would only be in the way: Einstein, Marie Curie, Sherlock Holmes.

An offline list (`public_names.txt`, beside this file) and a look-up that forgives how names are written. It does not
look at a sentence, so it cannot tell a private person from a famous namesake: ordinary names are not on the list, and
whatever is in doubt is private.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from membrain.errors import Misconfigured

LIST = Path(__file__).with_name("public_names.txt")
"""One name a line, other ways to say it after `|`. `=` in front: the last word alone is enough. `~`: a name that is
used for a thing (a firm, a method, an illness), public only as it stands. Initials stand together there (J.R.R.)."""

LONGEST = 80
"""Characters in the longest name that is looked up; what is longer is no name."""

_SURNAMES = """
    adams alexander ali allen alvarez anderson bailey baker barnes becker begum bell bennett bernard black brooks brown
    bryant butler campbell carter castillo castro chavez chen clark coleman collins cook cooper costa cox cruz davies
    davis diaz dubois edwards ellis evans fernandes fernandez fischer fisher flores foster fox garcia gibson gomez
    gonzalez graham grant gray green griffin gupta gutierrez hall hamilton harris harrison hayes henderson henry
    hernandez hill hoffmann hughes hussain jackson james jenkins jimenez johnson jones jordan kaur kelly kennedy khan
    kim king klein kowalski kumar lee lewis li liu long lopez marshall martin martinez mason mcdonald medina mehta
    mendoza meyer miller mitchell moore morales moreau moreno morgan morris muller murphy murray myers nelson nguyen
    novak ortiz owens palmer park parker patel patterson perez perry peters peterson petrov phillips pham porter powell
    price ramirez ramos reed reyes reynolds richard richardson rivera roberts robertson robinson rodriguez rogers
    romero rose ross rossi ruiz russell russo ryan sanchez sanders santos schmidt schneider schulz scott shah sharma
    shaw silva simmons simpson singh smith souza stevens stewart stone sullivan suzuki tanaka taylor thomas thompson
    torres tran tucker turner vargas vasquez wagner walker wallace wang ward watson weber webb wells west white
    williams wilson wood woods wright wu yang young zhang zhao
"""
COMMON_SURNAMES = frozenset(_SURNAMES.split())
"""Never enough alone, and never behind a middle name that the list does not give."""

_CIVIL = "mr mrs ms miss mx mme herr frau monsieur madame señor señora senor senora signor signora"
_RANKS = """
    admiral archbishop ayatollah baron baroness bishop brother captain cardinal chancellor chairman colonel commander
    count countess dame dr doctor duchess duke emir emperor empress father field general governor imam judge justice
    kaiser king lady lieutenant lord mahatma maharaja marshal mayor minister mother pope pharaoh premier president
    prime prince princess prof professor prophet queen rabbi rapper rev reverend saint sen senator shah sheikh singer
    sir sister sultan tsar tsarina czar vice
"""
_AFTER = "jr sr phd md esq obe mbe cbe kbe frs"
_NUMERALS = "ii iii iv vi vii viii ix xi xii"
_BETWEEN = "af al ben bin d da de del della der di do dos du el ibn la le ten van vom von zu"
_COURTESY = frozenset(_CIVIL.split())
_TITLES = _COURTESY | frozenset(_RANKS.split())
_SUFFIXES = frozenset(_AFTER.split())
_NEVER_LAST = COMMON_SURNAMES | frozenset(_NUMERALS.split())
_PARTICLES = frozenset(_BETWEEN.split())

_SPACES = '.,-–—‐‑_/"“”()·•#'  # noqa: RUF001  # the signs that people write
_NOTHING = "'’‘`´ʼʻ"  # noqa: RUF001
_MARKS = str.maketrans(dict.fromkeys(_SPACES, " ") | dict.fromkeys(_NOTHING) | {"&": " and "})
_LETTERS = {"ø": "o", "ł": "l", "ß": "ss", "æ": "ae", "œ": "oe", "đ": "d", "ð": "d", "þ": "th", "ə": "e", "\u0131": "i"}
_LETTERS_TABLE = str.maketrans(_LETTERS)
_FILE_SPACES = bytes.maketrans(b',-/"()', b"      ")
_FAMOUS = re.compile(r"^=([^|\n]+)", re.MULTILINE)
_POSSESSIVE = re.compile(r"['\u2019](?:s|S)?$")
_DASH = re.compile(r"[-\u2010-\u2014]")


class _Lists(NamedTuple):
    """What the file says, ready to be looked up."""

    names: frozenset[str]
    things: frozenset[str]


def is_public(name: str) -> bool:
    """Whether *name*, as it stands in a text, belongs to somebody or something widely known.

    Case, accents, titles, possessives, dots after initials and "Surname, Name" are forgiven. What cannot be read as
    a name in Latin letters is private.
    """
    if len(name) > LONGEST:
        return False
    lists, bare = _lists(), _POSSESSIVE.sub("", name.strip())
    double = _DASH.search(bare.partition(" ")[0]) is not None
    return (
        _is_known(_words(bare), lists, middle=not double)
        or (bare != name and _is_known(_words(name), lists))
        or ("," in bare and _is_known(_words(_in_order(bare)), lists))
        or (double and _is_pair(bare, lists))
    )


def _is_known(words: list[str], lists: _Lists, *, middle: bool = True) -> bool:
    """Whether *words* are a name on the lists as they stand, or one of a person when read as people mean it.

    *middle*: a word in the middle may be left out; not half a double name, Hans-Georg is not Hans.
    """
    key = " ".join(words)
    if key in lists.names or key in lists.things:
        return True
    return any(each in lists.names for each in _readings(words, middle=middle))


def _in_order(name: str) -> str:
    """ "Curie, Marie" as "Marie Curie"."""
    last, _, first = name.partition(",")
    return f"{first} {last}"


def _words(name: str) -> list[str]:
    """The words of *name* in plain small letters, initials that stand together as one word; none if it is not Latin."""
    plain = name.lower().translate(_MARKS)
    if not plain.isascii():
        plain = _without_accents(plain)
        if not plain.isascii():
            return []
    words = plain.split()
    if words and words[0] == "st":
        words[0] = "saint"
    return _initials_joined(words)


def _without_accents(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.translate(_LETTERS_TABLE))
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def _initials_joined(words: list[str]) -> list[str]:
    """`j k rowling` as `jk rowling`: letters that stand together are one word."""
    if len(words) < 2 or min(map(len, words)) > 1:
        return words
    joined = words[:1]
    for before, word in pairwise(words):
        if len(before) == len(word) == 1:
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _readings(words: list[str], *, middle: bool) -> Iterator[str]:
    """Other ways to read a name: without its titles, without what follows it, without what stands in the middle."""
    first, end = 0, len(words)
    while first < end - 1 and words[first] in _TITLES:
        first += 1
    while first < end - 1 and words[end - 1] in _SUFFIXES:
        end -= 1
    if end - first == 1 and not _COURTESY.isdisjoint(words[:first]):
        return  # "Mrs Curie" is the neighbour
    if end - first < len(words):
        yield " ".join(words[first:end])
    if middle and end - first > 2 and words[end - 1] not in _NEVER_LAST:
        yield f"{words[first]} {words[end - 1]}"


def _is_pair(name: str, lists: _Lists) -> bool:
    """Whether *name* is two or more names that are known by themselves, joined by dashes: Bose-Einstein."""
    keys = [" ".join(_words(part)) for part in _DASH.split(name)]
    return all(key in lists.names or key in lists.things for key in keys)


@cache
def _lists() -> _Lists:
    """The file, read once and turned into keys as a whole: line by line it would take five times as long."""
    known, mark, things = _keys(LIST.read_text(encoding="utf-8")).partition("\n~")
    if not mark:
        raise Misconfigured("The list of public names is damaged.", hint="Install Membrain again.")
    names = set(known.replace("|", "\n").replace("=", "").split("\n"))
    names.discard("")
    for name in _FAMOUS.findall(known):
        names.update(_short_forms(name))
    return _Lists(frozenset(names), frozenset(things.replace("|", "\n").replace("~", "").split("\n")) - {""})


def _keys(text: str) -> str:
    """The file's text with each name as `_words` would give it."""
    plain = text.lower().replace("&", " and ")
    for letter, letters in _LETTERS.items():
        plain = plain.replace(letter, letters)
    marks = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore")
    plain = marks.translate(_FILE_SPACES, b".'").decode("ascii")
    for wide, narrow in (("  ", " "), ("  ", " "), (" |", "|"), (" \n", "\n")):
        plain = plain.replace(wide, narrow)
    return plain


def _short_forms(name: str) -> Iterator[str]:
    """For a name whose last word is enough: that word, with its particles, with the first name, with initials."""
    *given, last = name.split()
    yield last
    if given:
        yield f"{given[0]} {last}"
        yield f"{given[0][0]} {last}"
        yield f"{''.join(word[0] for word in given)} {last}"
    if given and given[-1] in _PARTICLES:
        yield f"{given[-1]} {last}"
