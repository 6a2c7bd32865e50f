"""The door to detectors of others, asked besides our own: Presidio, spaCy, or a function of the user's.

Nothing is imported before it is named in the settings, and nothing is fetched: a package or model that is not on this
machine is an error with the command that installs it. What they find is put into our labels; whether it makes sense,
and what follows from it, is `detector`'s business.

Labels: what a table below maps to None is no private value of ours (dates, firms, amounts) and is dropped. What a table
does not know, and any label of a user's own function that is not ours, becomes CUSTOM: found is found.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from membrain.errors import Misconfigured
from membrain.pii.detector import Engine
from membrain.pii.detectors import KINDS
from membrain.pii.lists import CUSTOM

Finding = tuple[int, int, str]
"""Start, end (characters, end excluded), label."""

BUILTIN = "builtin"
"""The name of no engine but our own."""

OURS = frozenset(kind.label for kind in KINDS) | {"PERSON", "LOCATION", "ADDRESS", CUSTOM}
"""The labels that findings may carry."""

_SPACY: Mapping[str, str | None] = {
    "PERSON": "PERSON", "PER": "PERSON", "persName": "PERSON", "GPE": "LOCATION", "LOC": "LOCATION", "FAC": "LOCATION",
    "geogName": "LOCATION", "placeName": "LOCATION",
} | dict.fromkeys(
    ("CARDINAL", "DATE", "EVENT", "LANGUAGE", "LAW", "MISC", "MONEY", "NORP", "ORDINAL", "ORG", "PERCENT", "PRODUCT",
     "QUANTITY", "TIME", "WORK_OF_ART", "date", "orgName", "time")
)  # fmt: skip
_PRESIDIO: Mapping[str, str | None] = {
    "PERSON": "PERSON", "LOCATION": "LOCATION", "EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE",
    "CREDIT_CARD": "CREDIT_CARD", "IBAN_CODE": "IBAN", "US_BANK_NUMBER": "BANK_ACCOUNT", "IP_ADDRESS": "IP",
    "MAC_ADDRESS": "MAC", "CRYPTO": "CRYPTO", "US_SSN": "US_SSN", "US_ITIN": "NATIONAL_ID", "UK_NHS": "NATIONAL_ID",
    "US_PASSPORT": "PASSPORT", "US_DRIVER_LICENSE": "DRIVER_LICENSE", "MEDICAL_LICENSE": CUSTOM, "ID": CUSTOM,
    "EMAIL": "EMAIL",
} | dict.fromkeys(("AGE", "DATE_TIME", "NRP", "ORGANIZATION", "URL", "UUID"))  # fmt: skip

_SURE = 0.4
"""Presidio's score from which a finding counts: below are bare numbers of the right length without a word beside."""

_MODELS = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")
"""The spaCy models that are taken first, if installed; else the first of those that are."""

_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True, slots=True)
class Foreign:
    """A detector of others behind our interface: one text at a time, since few of them say that they bear more."""

    name: str
    look: Callable[[str], Iterable[Finding]] = field(repr=False)
    _one: Lock = field(default_factory=Lock, repr=False, compare=False)

    def find(self, text: str) -> list[Finding]:
        """Where something private stands in *text*, in our labels. Whatever the detector raises comes through."""
        with self._one:
            return list(self.look(text))


def engine(name: str) -> Engine | None:
    """The engine that the settings name, its model loaded; None for `builtin`.

    *name* is `builtin`, `presidio`, `spacy` or `package.module:function`, a function that is given a text and gives
    (start, end, label) triples. Raises `Misconfigured` when there is no such engine, or it cannot be had as installed.
    """
    if name == BUILTIN:
        return None
    if ":" in name:
        return Foreign(name, _function(name))
    if name not in _MAKERS:
        raise Misconfigured(
            f"There is no detector called {name}.",
            hint=f"Set [pii] engine to {BUILTIN}, {', '.join(_MAKERS)}, or package.module:function.",
        )
    os.environ.update(_OFFLINE)
    return Foreign(name, _MAKERS[name]())


def _spacy() -> Callable[[str], Iterable[Finding]]:
    """spaCy's named entities, with no more of its pipeline than they need."""
    spacy = _installed("spacy", "spacy")
    pipeline = spacy.load(_model(spacy), exclude=["parser", "tagger", "lemmatizer", "attribute_ruler", "morphologizer"])
    if "ner" not in pipeline.pipe_names:
        raise Misconfigured("The spaCy model that is installed finds no names.", hint=_get_model())
    return lambda text: _ours(((e.start_char, e.end_char, e.label_) for e in pipeline(text).ents), _SPACY)


def _presidio() -> Callable[[str], Iterable[Finding]]:
    """Presidio's recognisers over a spaCy model, but for that of e-mail addresses.

    That one asks the network for a list of domains at its first address; our own rules find addresses anyway.
    """
    presidio = _installed("presidio_analyzer", "presidio")
    model = _model(_installed("spacy", "presidio"))
    language = model.partition("_")[0]
    nlp = importlib.import_module("presidio_analyzer.nlp_engine").SpacyNlpEngine(
        models=[{"lang_code": language, "model_name": model}]
    )
    nlp.load()
    registry = presidio.RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers(nlp_engine=nlp, languages=[language])
    registry.remove_recognizer("EmailRecognizer")
    analyzer = presidio.AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=[language])
    wanted = [label for label in analyzer.get_supported_entities(language) if _PRESIDIO.get(label, CUSTOM)]

    def look(text: str) -> Iterable[Finding]:
        found = analyzer.analyze(text=text, language=language, entities=wanted, score_threshold=_SURE)
        return _ours(((each.start, each.end, each.entity_type) for each in found), _PRESIDIO)

    return look


_MAKERS: Mapping[str, Callable[[], Callable[[str], Iterable[Finding]]]] = {"presidio": _presidio, "spacy": _spacy}


def _ours(found: Iterable[Finding], table: Mapping[str, str | None]) -> list[Finding]:
    """*found* in our labels, without what *table* drops."""
    return [(start, end, ours) for start, end, label in found if (ours := table.get(label, CUSTOM))]


def _installed(module: str, extra: str) -> Any:
    """The package *module*, which our extra of that name brings."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"[pii] engine is {extra}, but the package {error.name} is not installed.",
            hint=f"Run: pip install 'membrain[{extra}]'",
        ) from None


def _model(spacy: Any) -> str:
    """The name of an installed spaCy model; asking for another would fetch it."""
    installed = sorted(spacy.util.get_installed_models())
    for model in [name for name in _MODELS if name in installed] + installed:
        return str(model)
    raise Misconfigured("No spaCy model is installed.", hint=_get_model())


def _get_model() -> str:
    return f"Run: python -m spacy download {_MODELS[0]}"


def _function(name: str) -> Callable[[str], Iterable[Finding]]:
    """The user's own function, behind our labels."""
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"[pii] engine is {name}, but there is no module {error.name}.",
            hint="Install its package in the environment that Membrain runs in.",
        ) from None
    except Exception as error:
        raise Misconfigured(f"[pii] engine is {name}, but its module fails: {type(error).__name__}.") from error
    if not callable(function):
        raise Misconfigured(f"[pii] engine is {name}, but {module} has no function {attribute}.")
    return lambda text: [(start, end, _nearest(label)) for start, end, label in function(text)]


def _nearest(label: str) -> str:
    """Our label for one of a user's function: itself, what Presidio or spaCy would mean by it, or CUSTOM."""
    upper = label.upper()
    return upper if upper in OURS else _PRESIDIO.get(upper) or _SPACY.get(upper) or CUSTOM
