"""Which names are widely known, so that hiding them would only be in the way: Einstein, Marie Curie, Sherlock Holmes.

An offline list (`public_names.txt`, beside this file), a look-up that forgives how names are written, and a look at the
words around a finding: what stands inside the name of something known, beside its other half, or before `algorithm`.
It cannot tell a private person from a famous namesake: ordinary names are not on the list, and whatever is in doubt is
private.
"""

# ruff: noqa: RUF001  # people type all kinds of apostrophes and dashes

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
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
    könig königin kaiserin papst graf gräfin fürst prinz prinzessin herzog herzogin kanzler bundeskanzler zar
    roi reine empereur impératrice pape duc duchesse infanta infante rey reina emperador conde duque papa santa san
    re regina imperatore koning koningin keizer paus król królowa papież cesarz rei rainha imperador
"""
_AFTER = "jr sr phd md esq obe mbe cbe kbe frs"
_NUMERALS = "ii iii iv vi vii viii ix xi xii"
_BETWEEN = "af al ben bin d da de del della der di do dos du el ibn la le ten van vom von zu"
_COURTESY = frozenset(_CIVIL.split())
_TITLES = (
    _COURTESY
    | frozenset(_RANKS.split())
    | frozenset(unicodedata.normalize("NFKD", _RANKS).encode("ascii", "ignore").decode().split())
)
_SUFFIXES = frozenset(_AFTER.split())
_NEVER_LAST = COMMON_SURNAMES | frozenset(_NUMERALS.split())
_PARTICLES = frozenset(_BETWEEN.split())

_SPACES = '.,-–—‐‑_/"“”()·•#'
_NOTHING = "'’‘`´ʼʻ"
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
    given: frozenset[str]
    """First words of persons' names, as far as they are first words of several: a rough list of first names."""


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


def in_public(text: str, persons: Sequence[tuple[int, int]]) -> set[int]:
    """Where those of *persons* begin that are widely known, in order (start, end): as they are written or told around.

    A surname alone is known when its bearer is named in the same text, or when it is joined to somebody known.
    """
    known = {start: end for start, end in persons if _is_told(text, start, end)}
    if not known:
        return set()
    rest = [(start, end) for start, end in persons if start not in known]
    if rest:
        last, every = _bearers(text, known)
        bare = not _PRIVATE.search(text) and not any(" " in text[start:end] for start, end in rest)
        for start, end in rest:
            word = _words(text[start:end])
            key = word[-1] if len(word) == 1 else ""
            beside = _BESIDE.get((word or [""])[-1], frozenset())
            if (
                key in last
                or not beside.isdisjoint(every)
                or (bare and (key in every or (key and _is_joined(text, start, end, known))))
            ):
                known[start] = end
    return set(known)


_COMPANIONS = """
watson: holmes crick| hudson: holmes| wickham: darcy bennet austen| bennet: darcy austen| bingley: darcy bennet austen
| knightley: woodhouse austen| ramsay: woolf| thornton: gaskell| hastings: poirot| robinson: garfunkel
| collins: bennet aldrin armstrong| johnson: vlissides| helm: vlissides| gamma: vlissides| engels: marx
"""
_BESIDE = {
    name.strip(): frozenset(others.split())
    for name, _, others in (each.partition(":") for each in _COMPANIONS.split("|"))
}
"""Ordinary surnames that are widely known beside others: a word of a known name that has to stand in the same text."""

_PRIVATE = re.compile(r"\w@\w|\d[\d ()/.-]{6,}\d")
"""A text with contact data in it is somebody's, and its bare names are private."""


def _bearers(text: str, known: dict[int, int]) -> tuple[set[str], set[str]]:
    """The last words of the known names of two and more words, and all their words."""
    names = [words for start, end in known.items() if len(words := _words(text[start:end])) > 1]
    return {words[-1] for words in names}, {word for words in names for word in words}


_JOINTS = re.compile(r"(?:\s?[,&/+–—-]\s?|,?\s(?:and|or|und|oder|et|ou|y|e|o|en|of|i|vs\.?|versus|than)\s)\Z")


_UNTOLD = re.compile(
    r"(?:^|[.,:;?!&/–—-]|\b(?:and|or|by|of|between|from|than|vs\.?|like|about|is|did|do|does|how|why|when|und|oder|von|"
    r"et|ou|de|par|y|e|o|i|en|di|da|che|van|was|were|with|the))\s?\Z",
    re.IGNORECASE,
)
"""What may stand before such a surname: not "my doctor"."""


def _is_joined(text: str, start: int, end: int, known: dict[int, int]) -> bool:
    """Whether a surname stands in one enumeration with somebody known: Gamma, Helm and Vlissides."""
    if _words(text[start:end])[0] in _lists().given or not text[start].isupper():
        return False
    if not _UNTOLD.search(text, max(0, start - 16), start):
        return False
    return any(
        _JOINTS.match(text[high:start]) or _JOINTS.match(text[end:low])
        for low, high in known.items()
        if abs(low - end) < 8 or abs(start - high) < 8
    )


def _is_told(text: str, start: int, end: int) -> bool:
    """Whether a finding is known as it is written, by a name inside it, or by the words around it."""
    name = text[start:end]
    if len(name) > LONGEST:
        return False
    return (
        is_public(name)
        or _is_plural(name)
        or _MONARCH.fullmatch(name) is not None
        or _is_eponym(text, start, end)
        or _is_language(text, start, end)
        or _is_work(text, start, end)
        or any(is_public(each) or _is_joined_pair(each) for each in _wider(text, start, end))
    )


_AND = re.compile(r",? (?:and|&|und|et|y|e|en) ")


def _is_joined_pair(name: str) -> bool:
    """Whether it is known with a dash for its "and"."""
    joined = _AND.sub("-", name)
    return joined != name and is_public(joined)


_LEFT = re.compile(r"(?: [^\s,;:!?()\[\]\"“”«»]+){1,6}")
"""Of what stands before a finding, read backwards."""
_RIGHT = re.compile(r"(?:['’]s)?(?:[ -][^\s,;:!?()\[\]\"“”«»]+){1,6}")
_WIDER = 10
"""How many longer names are tried around a finding."""
_AROUND = 64


def _wider(text: str, start: int, end: int) -> Iterator[str]:
    """The finding with words left and right of it that may be parts of a longer name; the outermost have capitals."""
    before = _LEFT.match(text[max(0, start - _AROUND) : start][::-1])
    after = _RIGHT.match(text, end, end + _AROUND)
    small = text[start:end].islower()
    lefts = [start, *_starts(text, start - before.end() if before else start, start, small=small)]
    rights = [end, *_ends(text, after, small=small)]
    tried = 0
    for low in lefts:
        for high in rights:
            if (low, high) != (start, end) and tried < _WIDER:
                tried += 1
                yield text[low:high]
        if text[end : end + 2] in _OWNING:
            yield text[low : end + 2]


_OWNING = ("'s", "\u2019s")
_WORD = re.compile(r"[^\s-]+")


def _starts(text: str, low: int, high: int, *, small: bool) -> list[int]:
    begins = reversed(list(_WORD.finditer(text, low, high)))
    return [each.start() for each in begins if small or not each[0][0].islower() or each[0] in _TITLES]


def _ends(text: str, found: re.Match[str] | None, *, small: bool) -> list[int]:
    if found is None:
        return []
    return [
        each.start() + len(each[0].rstrip(".'’"))
        for each in _WORD.finditer(text, found.start(), found.end())
        if small or not each[0][0].islower() or text[each.start() - 1] == "-"
    ]


_MONARCH = re.compile(
    r"[A-ZÀ-Þ][\w'’-]+(?: Carlos| Paul| Pablo| Paulo| Paolo)? (?:X{0,2}(?:IX|IV|V?I{1,3}|V)|X{1,2})\.?"
)
"""One first name and a Roman figure: nobody else is called so."""


def _is_plural(name: str) -> bool:
    """Whether it is a known name of two words in the plural: the Karamazovs, all the José Arcadios."""
    return name.endswith("s") and len(name) > 7 and is_public(name[:-1])


_THINGS = (
    r"algorithms?|theorems?|lemma|conjecture|formulas?|formulae|inequalit(?:y|ies)|distributions?|transforms?|paradox|"
    r"equations?|syndrome|disease|polynomials?|criterion|hypothesis|heuristic|automat(?:on|a)|codes|coding|cipher|"
    r"sequence|numbers|diagrams?|notation|integral|manifold|calculus|principle|prize|award|medal|razor|"
    r"algorithmus|verfahren|formel|satz|effekt|gesetz|prinzip|syndrom|krankheit|reaktion|verteilung|transformation|"
    r"theorie|preis|medaille|motor|zyklus"
)
_BEHIND = re.compile(rf"(?:['’]s?)?[ -](?:{_THINGS})(?![^\W_])", re.IGNORECASE)
_COMPOUND = re.compile(rf"-(?:{_THINGS})\Z", re.IGNORECASE)
_BEFORE = re.compile(
    r"(?:\b(?:loi|legge|ley|lei|wet|prawo|effet|effetto|efecto|efeito|constante?|constant|paradoxe|principe|principio) "
    r"(?:de |d['’]|di |van )"
    r"|(?:algorithm|theorem|paradox|th[ée]or[èe]me|teorema|algoritm[oe]|algorithme|formule|f[óo]rmula|"
    r"paradoja|paradosso|"
    r"equazione|ecuaci[óo]n|[ée]quation|satz|algorithmus|stelling|twierdzenie|algorytm|syndrome|maladie|s[íi]ndrome|studio|"
    r"studios) (?:of |by |de |d['’]|di |von |van )?)\Z",
    re.IGNORECASE,
)


def _is_eponym(text: str, start: int, end: int) -> bool:
    """Whether a surname stands for what its bearer found: Binet's formula, Prim's algorithm, Dijkstra-Algorithmus."""
    name = text[start:end]
    if " " in name or not name[:1].isupper():
        return False
    if compound := _COMPOUND.search(name):
        return _words(name[: compound.start()])[-1:] != []
    before = text[max(0, start - 12) : start].lower().replace(".", " ").split()[-1:]
    if not _COURTESY.isdisjoint(before) or not _lists().given.isdisjoint(_words(name)[:1]):
        return False
    return bool(_BEHIND.match(text, end) or _BEFORE.search(text, max(0, start - 32), start))


_LANGUAGE = frozenset(
    """
    ada alice apl awk c clojure cobol crystal dart delphi eiffel elixir elm erlang fortran go groovy haskell
    helm icon idris io java javascript julia kotlin lean lisp logo lua matlab miranda nim oberon ocaml octave
    pascal perl php prolog puppet python r racket raku ruby rust scala scheme scratch sql swift travis
    typescript vala zig jenkins jasper hudson chef django flask rails spark kafka docker kubernetes ansible
    terraform godot unity phoenix gatsby hugo jekyll astro ember pandora cassandra presto mercury apache node
    react angular vue svelte celery sanic gradle maven jest mocha
    """.split()  # noqa: SIM905
)
"""What programs are written and built with; some are first names as well."""
_CODING = re.compile(
    r"(?<![^\W_])(?:c\+\+|c#|python|java|javascript|typescript|haskell|kernel|compiler|kubernetes|docker|lambda|numerical|"
    r"jenkins|pipeline|fortran|matlab|golang|programming|programmieren|programmer|programación|algorithm|web|backend|"
    r"framework|syntax|sql|borrow checker|floyd|webassembly|code|kotlin|scala|lisp|perl|php)(?![^\W_])",
    re.IGNORECASE,
)
_GIVEN_TOO = """
ada alice astro cassandra celery chef crystal dart ember hudson hugo jasper jenkins jest julia miranda pandora pascal
phoenix presto ruby scala travis
"""
_FIRST_NAMES_TOO = frozenset(_GIVEN_TOO.split())
_IN_LANGUAGE = re.compile(r"\b(?:in|using|learn|learning|than|know|write|writing|lernen|auf|en|mit)\s\Z", re.IGNORECASE)
_LANGUAGE_ENDS = re.compile(r"\s(?:and|or|vs|und|oder|et|ou|y|o|e|if|for)\b|\s?[,/?.:;]|\Z", re.IGNORECASE)
_LANGUAGE_IS = re.compile(
    r"\s(?:ci|code|scripts?|programs?|packages?|gems?|blocks?|class|classes|crates?|compiler|language|charts?|proc|hash|"
    r"\d|on rails|macros?|traits?|enum|struct|a good (?:choice|language|fit)|faster than|better (?:than|for)|"
    r"worth learning|still used|compiled|typed|easier to|harder to)(?![^\W_])",
    re.IGNORECASE,
)
_BESIDE_ONE = re.compile(r"([\w+#]+)(?:,| and| or| vs\.?| und| oder| et| ou| y| o|/)\s?\Z", re.IGNORECASE)
_ONE_BEHIND = re.compile(r"(?:,| and| or| vs\.?| und| oder| et| ou| y| o|/)\s?([\w+#]+)", re.IGNORECASE)


def _is_language(text: str, start: int, end: int) -> bool:
    """Whether a word is a tool or language to write programs with, not somebody's name: Julia beside Haskell."""
    first, _, rest = text[start:end].lower().partition(" ")
    if first not in _LANGUAGE or rest not in {"", "proc", "ci", "rails", "gem", "on rails"}:
        return False
    if rest or (first not in _FIRST_NAMES_TOO and _CODING.search(text)):
        return True
    if _LANGUAGE_IS.match(text, end):
        return True
    if _IN_LANGUAGE.search(text, max(0, start - 12), start) and _LANGUAGE_ENDS.match(text, end):
        return _CODING.search(text) is not None
    ahead, behind = _BESIDE_ONE.search(text, max(0, start - 20), start), _ONE_BEHIND.match(text, end)
    return any(each is not None and _is_tool(each[1]) for each in (ahead, behind))


def _is_tool(word: str) -> bool:
    return word.lower() in _LANGUAGE - _FIRST_NAMES_TOO or word.lower() in {"c++", "c#"}


_QUOTED_BY = re.compile(r"[\"”»'’]?,? (?:by|von|de|di|van|par|da|od) ((?:[^\W\d_][^\W\d_.'’-]+[ ]?){1,4})")
_OWNER = re.compile(r"((?:[^\W\d_][^\W\d_.-]+ ){0,2}[^\W\d_][^\W\d_.-]+)['’]s? [\"“«']?\Z")
_APOSTROPHES = frozenset("'’")
_OPENED = frozenset("\"“«„'‘")


def _is_work(text: str, start: int, end: int) -> bool:
    """Whether it is what somebody known has made: "Jolene" by Dolly Parton, Kafka's Josef K."""
    if start and text[start - 1] in _OPENED and (by := _QUOTED_BY.match(text, end)):
        return _begins_public(by[1])
    if _APOSTROPHES.isdisjoint(text[max(0, start - 4) : start]):
        return False
    owner = _OWNER.search(text, max(0, start - 48), start)
    return owner is not None and any(map(is_public, _endings(owner[1])))


def _begins_public(words: str) -> bool:
    """Whether a known name stands at the beginning of *words*."""
    parts = words.split()
    return any(is_public(" ".join(parts[:size])) for size in range(len(parts), 0, -1))


def _endings(words: str) -> Iterator[str]:
    parts = words.split()
    return (" ".join(parts[place:]) for place in range(len(parts)))


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
    things_known = frozenset(things.replace("|", "\n").replace("~", "").split("\n")) - {""}
    return _Lists(frozenset(names), things_known, _given(names))


def _given(names: set[str]) -> frozenset[str]:
    count = Counter(first for each in names if (first := each.partition(" ")[0]) != each)
    return frozenset(word for word, times in count.items() if times > 1) - COMMON_SURNAMES


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
