"""Training texts: the bench's free corpora, templates filled with names, and code in which nothing is to be found.

A text is its characters and its spans: (start, end, tag), tag PER, LOC or MISC. Everything is drawn from seeded
generators in a fixed order. Used by `train` alone.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import files
from pathlib import Path
from typing import NamedTuple

from membrain.pii.model.sources import Names
from membrain.pii.model.templates import DEMONYMS, FIRMS, TEMPLATES

BENCH = ("wikigold", "wnut17", "presidio_synth", "piianon_clinical", "piianon_adversarial")
"""Corpora under CC0, MIT or CC BY."""

_LABELS = {
    "PERSON": "PER", "LOCATION": "LOC", "ADDRESS": "LOC",
    "X_ORG": "MISC", "X_OTHER": "MISC", "X_ORGANIZATION_NAME": "MISC",
}  # fmt: skip
_GAP = re.compile(r"\{([a-z])\}")
_CHOICE = re.compile(r"<<([^<>]*(?:<[^<>]+>[^<>]*)*)>>")


def _listed(words: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in words.strip().split("|"))


_SYLLABLES = """
an ba bel bri ca da del do el er fa fi ga gre ha hol i in is ja jo ka kel ki la len li lo ma mar mel mi mo na ne ni no o
ol pa per ra ri ro sa sha so sta ta ti to u va vi wa ya za zel dra thi ngu kwa dze szy quo yev bjo
"""
_ENDINGS = """
a o i e y n s ez sen son ski ova ov ich er el in us ita ette ard ley ton man wicz oğlu yan dze escu ko enko nen quist
berg stein feld mann ini elli ucci eau eux ault okafor sson dottir
"""
_TOWNS = """
ville burgh mouth chester shire ton berg nec dan town furt field haven stad port view side wood dorf heim by nik pur
abad grad
"""
_BEFORE = _listed(
    "New|Lake|Port|East|West|North|South|San|Santa|Saint|Sainte|Bad|Fort|Mount|Los|Villa|El|La|Le|Upper|Lower|Great"
)
_BESIDE = _listed("sur-Mer|la-Forêt|les-Bains|sur-Loire|upon-Avon|am-See|de-Mar|en-Val")
_PARTICLES = _listed("van|van der|van den|de|de la|del|von|di|da|dos|bin|ibn|al|el|le|ter|zu|du|von der")
_PREFIXES = _listed("O'|D'|Mc|Mac|De|Al-|El-")
_SUFFIXES = _listed("Jr.|III|II|Sr.")
_STREETS = _listed("Street|St.|Avenue|Ave|Road|Lane|Drive|Blvd|Court|Way")
_COUNTRIES = _listed(
    "USA|UK|U.S.|US|United States|United Kingdom|Germany|France|Spain|India|China|Canada|Iraq|Iran|Israel|Japan|Mexico"
    "|England|Russia|Italy|Brazil|Australia|America|Europe|Africa|Asia|Turkey|Egypt|Syria|Jordan|Palestine"
)
_REGIONS = _listed(
    "CA|NY|TX|Texas|California|Bavaria|Ontario|Ohio|Florida|Bayern|Scotland|Virginia|Catalonia|NSW|Tuscany|Kerala|Punjab"
    "|Georgia|Washington|New Jersey|North Carolina|Middle East|West Bank|Silicon Valley|New England"
)
_MONTHS = _listed("March|May|June|April|August|Jan|Sept|October")
_INITIALS = "ABCDEFGHJKLMNPRSTW"


class Text(NamedTuple):
    """Characters and what is named in them."""

    text: str
    spans: list[tuple[int, int, str]]
    group: str
    """What it was made from; held-out tests split by it."""


_GENITIVES = (
    ("ska", "skiej"), ("cka", "ckiej"), ("dzka", "dzkiej"), ("ski", "skiego"), ("cki", "ckiego"), ("na", "ny"),
    ("ia", "ii"), ("ja", "ji"), ("ka", "ki"), ("ga", "gi"), ("la", "li"), ("a", "y"), ("ek", "ka"), ("y", "ego"),
    ("i", "iego"), ("o", "a"), ("e", "ego"), ("u", "u"),
)  # fmt: skip


def _genitive(name: str) -> str:
    """A Polish name in its second case, by its ending; good enough to learn from."""
    return next((name.removesuffix(end) + new for end, new in _GENITIVES if name.endswith(end)), name + "a")


class Filler:
    """Draws values for the gaps of templates."""

    def __init__(self, names: Names, seed: int) -> None:
        self._names, self._random = names, random.Random(seed)  # noqa: S311  # reproducible, not secret
        self._locales = sorted(names.people)
        wide = [each for each in self._locales if each[:2] in {"en", "de", "fr", "es", "it", "nl", "pt", "pl", "sv"}]
        self._weighted = self._locales + wide * 4 + ["en_US", "en_GB", "en"] * 12
        self._locale = "en_US"
        self._values: dict[str, tuple[Callable[[], str], str]] = {
            "p": (self._person, "PER"),
            "f": (self._first, "PER"),
            "l": (self._last, "PER"),
            "q": (self._reversed, "PER"),
            "i": (self._inflected, "PER"),
            "c": (self._town, "LOC"),
            "k": (self._country, "LOC"),
            "r": (self._region, "LOC"),
            "a": (self._address, "LOC"),
            "o": (lambda: self._random.choice(FIRMS), "MISC"),
            "m": (lambda: self._random.choice(DEMONYMS), "MISC"),
            "u": (self._account, ""),
            "e": (lambda: f"{self._account()}@{self._one('example.com|gmail.com|acme.io|web.de|mail.co.uk')}", ""),
            "n": (self._number, ""),
            "d": (self._date, ""),
            "t": (lambda: f"{self._int(0, 23):02}:{self._int(0, 59):02}{self._one('||:12| AM| PM')}", ""),
            "h": (self._phone, ""),
            "x": (
                lambda: self._one("ORD-#|MRN-#|#|##|INV-#|C#X|a3f#bc9").replace("#", str(self._int(1000, 9999999)), 1),
                "",
            ),
            "v": (lambda: f"{self._int(0, 20)}.{self._int(0, 20)}.{self._int(0, 9)}", ""),
        }

    def fill(self, template: str, group: str) -> Text:
        """One text made from `template`."""
        draw = self._random
        while "<<" in template:
            template = _CHOICE.sub(lambda found: draw.choice(found[1].split("|")), template)
        home = draw.choice(self._weighted)
        text, place = "", 0
        spans: list[tuple[int, int, str]] = []
        for gap in _GAP.finditer(template):
            self._locale = draw.choice(self._locales) if draw.random() < 0.1 else home
            make, tag = self._values[gap[1]]
            text += template[place : gap.start()]
            start, place = len(text), gap.end()
            text += make()
            if tag:
                spans.append((start, len(text), tag))
        text = (text + template[place:]).replace("\x01", "{").replace("\x02", "}")
        return Text(text, spans, group)

    def _int(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def _one(self, words: str) -> str:
        return self._random.choice(words.split("|"))

    def _of(self, lists: str) -> str:
        return self._random.choice(lists.split())

    def _listed_name(self, kind: int) -> str:
        return self._random.choice(self._names.people[self._locale][kind])

    def _invented(self) -> str:
        stem = "".join(self._of(_SYLLABLES) for _ in range(self._random.choice((1, 1, 2))))
        return stem.capitalize() + self._of(_ENDINGS)

    def _first(self) -> str:
        if self._random.random() < 0.15:
            return self._invented()
        name = self._listed_name(0)
        return f"{name}-{self._listed_name(0)}" if self._random.random() < 0.02 else name

    def _last(self) -> str:
        chance = self._random.random()
        if chance < 0.15:
            return self._invented()
        name = self._listed_name(1)
        if chance < 0.17:
            return self._random.choice(_PREFIXES) + name
        if chance < 0.20:
            return f"{name}-{self._listed_name(1)}"
        return f"{self._random.choice(_PARTICLES)} {name}" if chance < 0.24 else name

    def _person(self) -> str:
        """Mostly a first name and a surname, sometimes with what people put between, before and behind."""
        draw, first, last = self._random, self._first(), self._last()
        forms: tuple[tuple[float, Callable[[], str]], ...] = (
            (0.06, lambda: f"{first} {draw.choice(_INITIALS)}. {last}"),
            (0.07, lambda: f"{first} {draw.choice(_INITIALS)} {last}"),
            (0.11, lambda: f"{first} {self._first()} {last}"),
            (0.15, lambda: f"{first[0]}. {last}"),
            (0.17, lambda: f"{first[0]}.{draw.choice(_INITIALS)}. {last}"),
            (0.20, lambda: f"{first} {last} {self._last()}"),
            (0.22, lambda: f"{first} {last.upper()}"),
            (0.24, lambda: f"{first} {last} {draw.choice(_SUFFIXES)}"),
            (0.26, lambda: f"{last} {first}"),
        )
        chance = draw.random()
        return next((make() for limit, make in forms if chance < limit), f"{first} {last}")

    def _reversed(self) -> str:
        middle = self._random.choice(("", "", "", f" {self._random.choice(_INITIALS)}."))
        return f"{self._last()}, {self._first()}{middle}"

    def _inflected(self) -> str:
        """A Polish name as it stands behind `do`, `dla` or `od`; every third time the first name alone."""
        self._locale = "pl_PL" if "pl_PL" in self._names.people else self._locale
        first = self._listed_name(0)
        if self._random.random() < 0.35:
            return _genitive(first)
        return f"{_genitive(first)} {_genitive(self._listed_name(1))}"

    def _town(self) -> str:
        draw, names = self._random, self._names
        forms: tuple[tuple[float, Callable[[], str]], ...] = (
            (0.08, lambda: self._listed_name(1) + self._of(_TOWNS)),
            (0.10, lambda: self._listed_name(1)),
            (0.16, lambda: f"{draw.choice(_BEFORE)} {self._listed_name(draw.randint(0, 1))}"),
            (0.18, lambda: f"{draw.choice(_BEFORE)} {self._listed_name(draw.randint(0, 1))}{self._of(_TOWNS)}"),
            (0.22, lambda: self._invented() + self._of(_TOWNS)),
            (0.25, lambda: f"{self._listed_name(1)}-{draw.choice(_BESIDE)}"),
            (
                0.48,
                lambda: draw.choice(names.cities.get(self._locale) or names.cities[draw.choice(sorted(names.cities))]),
            ),
        )
        chance = draw.random()
        return next((make() for limit, make in forms if chance < limit), None) or draw.choice(names.world)

    def _country(self) -> str:
        return self._random.choice(_COUNTRIES if self._random.random() < 0.4 else self._names.countries)

    def _region(self) -> str:
        return self._random.choice(_REGIONS if self._random.random() < 0.5 else self._names.regions)

    def _address(self) -> str:
        return f"{self._int(1, 9999)} {self._last()} {self._random.choice(_STREETS)}, {self._town()}"

    def _account(self) -> str:
        people = self._names.people
        first = re.sub(r"\W", "", self._random.choice(people["en"][0])).lower()
        last = re.sub(r"\W", "", self._random.choice(people["en_US"][1])).lower()
        forms = (f"{first}.{last}", f"{first[0]}{last}", f"{first}{last}{self._int(1, 99)}", f"{first}_{last}")
        return self._random.choice(forms)

    def _number(self) -> str:
        return str(self._random.choice((self._int(1, 99), self._int(1900, 2030), self._int(100, 99999))))

    def _date(self) -> str:
        year, month, day = self._int(1950, 2026), self._int(1, 12), self._int(1, 28)
        word = self._random.choice(_MONTHS)
        forms = (
            f"{year}-{month:02}-{day:02}",
            f"{month}/{day}/{year}",
            f"{word} {day}, {year}",
            f"{day}.{month}.{year}",
        )
        return self._random.choice(forms)

    def _phone(self) -> str:
        one, two, three = self._int(200, 999), self._int(100, 999), self._int(1000, 9999)
        forms = (
            f"+1 ({one}) {two}-{three}",
            f"{one}-{two}-{three}",
            f"+49 {one} {two}{three}",
            f"0{one} {two} {three}",
        )
        return self._random.choice(forms)


def templated(names: Names, seed: int, copies: int, *, keep: Iterable[int] = (0, 1)) -> Iterator[Text]:
    """`copies` texts from every template whose place modulo 2 is in `keep`."""
    filler, kept = Filler(names, seed), set(keep)
    for kind, rows in TEMPLATES.items():
        for place, template in enumerate(rows):
            if place % 2 in kept:
                for _ in range(copies):
                    yield filler.fill(template, f"{kind}/{place}")


def threads(texts: Sequence[Text], seed: int, count: int) -> Iterator[Text]:
    """Mails and chats with one another's remains below them: two to four of the texts, one after the other."""
    draw = random.Random(seed)  # noqa: S311  # reproducible, not secret
    for _ in range(count):
        text, spans = "", []
        for each in draw.choices(texts, k=draw.randint(2, 4)):
            spans += [(start + len(text), end + len(text), tag) for start, end, tag in each.spans]
            text += each.text + draw.choice(("\n", "\n", "\n\n"))
        yield Text(text, spans, "threads")


_HEX = "0123456789abcdef"
_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_STATES = _listed(
    "DONE|FAILED|Running|Pending|Completed|CrashLoopBackOff|Ready|PASSED|Active|Healthy|Terminating|Unknown|Succeeded"
)
_SIGNALS = _listed("INFO|WARN|ERROR|DEBUG|Info|Warning|Normal|Killed|TRACE")
_NOISE = (
    "H8:  H2 H2 H2 H2 H2 H2 H2 H2   callq  0xH8",
    "sha256:H64 sha512-S86==",
    "h1:S43= // S75",
    "SKU D8 | EAN D13 | ISBN D3-D10 | Total: $D3.D2",
    "H8-H4-4H3-H12 T D4ms",
    "L [w-D2] T pid=D5 rc=D1",
    "│ D5 │ S16 │ T │",
    ".cH6 { color: #H6; margin: D2px; z-index: D4 }",
    "eyJS44.S60.S43",
    '"integrity": "sha512-S86==", "size": D5',
    "D4-D2-D2TD2:D2:D2Z L [worker-D2] job=H8 state=T took=D5ms",
    "  at com.acme.T.run(T.java:D3)",
)
_PIECE = re.compile(r"([HSD])(\d+)|\b([TL])\b")


def noise(seed: int, count: int) -> Iterator[Text]:
    """Lines that machines write: hashes, dumps, keys, tables of numbers."""
    draw = random.Random(seed)  # noqa: S311  # reproducible, not secret
    alphabets = {"H": _HEX, "S": _SIGNS, "D": "0123456789"}

    def piece(found: re.Match[str]) -> str:
        if found[3]:
            return draw.choice(_STATES if found[3] == "T" else _SIGNALS)
        return "".join(draw.choices(alphabets[found[1]], k=int(found[2])))

    for _ in range(count):
        yield Text("\n".join(_PIECE.sub(piece, draw.choice(_NOISE)) for _ in range(draw.randint(3, 9))), [], "noise")


def bench(folder: Path, name: str) -> Iterator[Text]:
    """The texts of one of the bench's files."""
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            named = [each for each in row["spans"] if each["label"] in _LABELS]
            spans: list[tuple[int, int, str]] = [(each["start"], each["end"], _LABELS[each["label"]]) for each in named]
            yield Text(row["text"], sorted(spans), name)


def recased(texts: Iterable[Text], seed: int, *, lower: float, upper: float) -> Iterator[Text]:
    """Some of the texts again, in small letters or in capitals."""
    draw = random.Random(seed)  # noqa: S311  # reproducible, not secret
    for each in texts:
        chance = draw.random()
        other = each.text.lower() if chance < lower else each.text.upper() if chance < lower + upper else ""
        if other and len(other) == len(each.text):
            yield each._replace(text=other)


_CODE = (".py", ".js", ".ts", ".mjs", ".cjs", ".md", ".json", ".toml", ".yml", ".css", ".html", ".txt")
_PERSONAL = re.compile(r"(?i)@|copyright|author|maintain|contribut|thanks|credit|sponsor|\bby\b|licen|http|\bnames?\b")
_WORD = re.compile(r"[A-Z][a-z]+")
_HARMLESS = frozenset(
    """
    Will Mark Grant May Chase Rich Bill Christian Hunter Faith Hope Joy Grace Art Dean Max Dale Page Van Ward Lane
    Long Major Mason Early Al Do In Summer April August June Same True Array String Union Item The And For This That
    Type Return Set See Use All Any Not New List Map Object Value Key Date Time Class Case Code Base Index Instance
    Link Iterator Note Test Else Given Mode Can Are Side Island States United Central Western North South East West
    Islands Republic Bar General None Null Default Add Get Many Mar Port Point
    """.split()  # noqa: SIM905
)
_LINES = 60


def code(names: Names, packages: Iterable[str], folder: Path, size: int) -> Iterator[Text]:
    """Source code and documents of freely licensed packages, without the lines that may hold a name."""
    known = {each for first, _ in names.people.values() for each in first if each.isascii() and len(each) > 2}
    places = (*names.world, *names.countries, *names.regions)
    known |= {part for each in places for part in each.split() if len(part) > 3}
    known -= _HARMLESS

    def clean(line: str) -> bool:
        return len(line) < 400 and not _PERSONAL.search(line) and known.isdisjoint(_WORD.findall(line))

    for group, pieces in _archives(packages, folder):
        left = size
        for text in pieces:
            kept = [line for line in text.split("\n") if clean(line)]
            parts = ("\n".join(kept[start : start + _LINES]) for start in range(0, len(kept), _LINES))
            for part in parts:
                if left > 0 and len(part) > 100:
                    left -= len(part)
                    yield Text(part, [], group)
            if left <= 0:
                break


def _archives(packages: Iterable[str], folder: Path) -> Iterator[tuple[str, Iterator[str]]]:
    for package in packages:
        listed = sorted(str(each.locate()) for each in files(package) or () if str(each).endswith(_CODE))
        yield package, (Path(each).read_text("utf-8", "ignore") for each in listed)
    for place in sorted(folder.glob("*.tgz")):
        if not place.name.startswith(("wink", "wordlist")):
            yield place.name, _members(place)


def _members(place: Path) -> Iterator[str]:
    """In the archive's own order: seeking about in it takes minutes."""
    with tarfile.open(place) as archive:
        for each in archive:
            stream = archive.extractfile(each) if each.name.endswith(_CODE) and each.size < 200_000 else None
            if stream is not None:
                yield stream.read().decode("utf-8", "ignore")
