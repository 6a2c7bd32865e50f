"""The door to detectors of others: what is not installed is said, nothing is fetched, labels are ours.

Presidio and spaCy are not installed where these tests run. Where their adapters are tested, a module of the same shape,
written by these tests, stands in for them: that proves our half of the bargain, not theirs.
"""

import os
import sys
import threading
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace

import pytest

from membrain.errors import Misconfigured
from membrain.pii.detector import DetectionFailed, Detector
from membrain.pii.engines import _PRESIDIO, _SPACY, OURS, engine
from membrain.pii.kinds import Severity

TEXT = "Ask Wilhelmina Vandergrift in Ghent about falcon-seven."


@pytest.fixture(autouse=True)
def same_environment(monkeypatch):
    for flag in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(flag, "0")


@pytest.fixture
def module(monkeypatch, tmp_path):
    """Writes a real module of that source onto the path and gives its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str, name: str = "house_detector") -> str:
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    yield write
    sys.modules.pop("house_detector", None)


# --- a function of the user's ---------------------------------------------------------------------------------------


def test_builtin_is_no_engine():
    assert engine("builtin") is None


def test_a_function_is_asked_and_its_findings_come_with_our_labels(module):
    name = module(
        "def look(text):\n"
        "    known = {'Wilhelmina Vandergrift': 'person', 'Ghent': 'GPE', 'falcon-seven': 'PROJECT'}\n"
        "    for word, label in known.items():\n"
        "        yield text.index(word), text.index(word) + len(word), label\n"
    )
    found = engine(f"{name}:look")
    assert found is not None
    assert found.name == "house_detector:look"
    assert [(TEXT[start:end], label) for start, end, label in found.find(TEXT)] == [
        ("Wilhelmina Vandergrift", "PERSON"),
        ("Ghent", "LOCATION"),
        ("falcon-seven", "CUSTOM"),
    ]


def test_the_detector_masks_what_only_the_engine_knows(module):
    name = module("def look(text):\n    at = text.index('falcon')\n    return [(at, at + 12, 'CODENAME')]\n")
    found = engine(f"{name}:look")
    assert found is not None
    spans = [span for span in Detector(engines=(found,), names=False).scan(TEXT) if span.label == "CUSTOM"]
    assert [(TEXT[span.start : span.end], span.severity) for span in spans] == [("falcon-seven", Severity.MEDIUM)]


@pytest.mark.parametrize(
    "body",
    ["raise ValueError(text)", "return [(0, 4)]", "return [(0, 4, None)]", "return [(0, 9999, 'PERSON')]", "return 7"],
)
def test_an_engine_that_fails_or_talks_nonsense_stops_the_request_and_its_words_stay_in(module, body):
    found = engine(module(f"def look(text):\n    {body}\n") + ":look")
    assert found is not None
    with pytest.raises(DetectionFailed) as failure:
        Detector(engines=(found,), names=False).scan(TEXT)
    assert "Wilhelmina" not in failure.value.sentence
    assert failure.value.__cause__ is None


def test_a_function_is_given_one_text_at_a_time(module):
    name = module(
        "import threading\nbusy = threading.Lock()\n"
        "def look(text):\n"
        "    assert busy.acquire(blocking=False)\n"
        "    threading.Event().wait(0.005)\n"
        "    busy.release()\n"
        "    return [(0, 1, 'PERSON')]\n"
    )
    found = engine(f"{name}:look")
    assert found is not None
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(found.find("x"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[(0, 1, "PERSON")]] * 6


def test_an_engine_shows_its_name_and_nothing_else(module):
    assert repr(engine(f"{module('look = list')}:look")) == "Foreign(name='house_detector:look')"


# --- what cannot be had ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gliner", "flair", "", "Presidio"])
def test_an_engine_that_nobody_knows_is_refused_by_name(name):
    with pytest.raises(Misconfigured) as failure:
        engine(name)
    assert "presidio, spacy" in failure.value.sentence


@pytest.mark.parametrize(("name", "package"), [("presidio", "presidio_analyzer"), ("spacy", "spacy")])
def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Misconfigured) as failure:
        engine(name)
    assert failure.value.hint == f"Run: pip install 'membrain[{name}]'"
    assert package in failure.value.message


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(Misconfigured, match="no module nowhere_at_all"):
        engine("nowhere_at_all.inside:look")


def test_what_a_module_of_the_users_misses_is_named_too(module):
    with pytest.raises(Misconfigured, match="no module nowhere_at_all"):
        engine(f"{module('import nowhere_at_all')}:look")


@pytest.mark.parametrize("source", ["", "look = 3"])
def test_a_module_without_the_function_is_refused(module, source):
    with pytest.raises(Misconfigured, match="has no function look"):
        engine(f"{module(source)}:look")


def test_a_module_that_fails_is_refused_with_the_kind_of_failure_alone(module):
    with pytest.raises(Misconfigured, match="its module fails: RuntimeError") as failure:
        engine(module("raise RuntimeError('hunter2')") + ":look")
    assert "hunter2" not in failure.value.sentence


# --- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [_SPACY, _PRESIDIO])
def test_every_label_of_others_is_one_of_ours_or_dropped(table):
    assert {ours for ours in table.values() if ours} <= OURS
    assert None in table.values()


# --- adapters, against modules of the shape that spaCy and Presidio document ----------------------------------------


@dataclass
class Entity:
    start_char: int
    end_char: int
    label_: str


@dataclass
class Result:
    entity_type: str
    start: int
    end: int


class Pipeline:
    pipe_names = ("tok2vec", "ner")

    def __call__(self, text):
        return SimpleNamespace(
            ents=[Entity(4, 26, "PERSON"), Entity(30, 35, "GPE"), Entity(36, 41, "ORG"), Entity(42, 54, "CODENAME")]
        )


def spacy_of(installed: list[str], pipeline: object) -> ModuleType:
    """A module that answers as spaCy does, and has nothing that could fetch a model."""
    shape = ModuleType("spacy")
    loaded: list[str] = []
    vars(shape).update(
        loaded=loaded,
        util=SimpleNamespace(get_installed_models=lambda: installed),
        load=lambda name, **_: loaded.append(name) or pipeline,
    )
    return shape


def test_spacys_entities_become_ours_and_what_is_not_private_is_dropped(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", spacy_of(["en_core_web_sm"], Pipeline()))
    found = engine("spacy")
    assert found is not None
    assert found.find(TEXT) == [(4, 26, "PERSON"), (30, 35, "LOCATION"), (42, 54, "CUSTOM")]


@pytest.mark.parametrize(
    ("installed", "taken"),
    [
        (["de_core_news_sm", "en_core_web_sm"], "en_core_web_sm"),
        (["en_core_web_sm", "en_core_web_lg"], "en_core_web_lg"),
        (["pl_core_news_sm", "de_core_news_sm"], "de_core_news_sm"),
    ],
)
def test_the_best_model_that_is_installed_is_taken(monkeypatch, installed, taken):
    shape = spacy_of(installed, Pipeline())
    monkeypatch.setitem(sys.modules, "spacy", shape)
    engine("spacy")
    assert shape.loaded == [taken]


@pytest.mark.parametrize("name", ["spacy", "presidio"])
def test_without_a_model_nothing_is_fetched_and_the_command_is_given(monkeypatch, name):
    shape = spacy_of([], Pipeline())
    monkeypatch.setitem(sys.modules, "spacy", shape)
    monkeypatch.setitem(sys.modules, "presidio_analyzer", ModuleType("presidio_analyzer"))
    with pytest.raises(Misconfigured) as failure:
        engine(name)
    assert failure.value.hint == "Run: python -m spacy download en_core_web_lg"
    assert shape.loaded == []


def test_a_model_without_names_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", spacy_of(["en_core_web_sm"], SimpleNamespace(pipe_names=["tagger"])))
    with pytest.raises(Misconfigured, match="finds no names"):
        engine("spacy")


def test_hubs_are_told_to_stay_offline_before_anything_is_loaded(monkeypatch):
    seen = {}
    shape = spacy_of(["en_core_web_sm"], Pipeline())
    vars(shape)["load"] = lambda *_, **__: seen.update(os.environ) or Pipeline()
    monkeypatch.setitem(sys.modules, "spacy", shape)
    engine("spacy")
    assert (seen["HF_HUB_OFFLINE"], seen["TRANSFORMERS_OFFLINE"]) == ("1", "1")


@pytest.fixture
def presidio(monkeypatch):
    """What the adapter asked of a module of Presidio's shape."""
    asked = SimpleNamespace(removed=[], models=[], loaded=0, calls=[])

    class Registry:
        def __init__(self, **_):
            pass

        def load_predefined_recognizers(self, **_):
            pass

        def remove_recognizer(self, name):
            asked.removed.append(name)

    class Nlp:
        def __init__(self, models):
            asked.models = models

        def load(self):
            asked.loaded += 1

    class Analyzer:
        def __init__(self, **_):
            pass

        def get_supported_entities(self, language):
            return ["PERSON", "DATE_TIME", "US_SSN", "STAFF_NUMBER"]

        def analyze(self, **call):
            asked.calls.append(call)
            return [Result("PERSON", 4, 26), Result("STAFF_NUMBER", 42, 54)]

    shape, nlp = ModuleType("presidio_analyzer"), ModuleType("presidio_analyzer.nlp_engine")
    vars(shape).update(RecognizerRegistry=Registry, AnalyzerEngine=Analyzer)
    vars(nlp).update(SpacyNlpEngine=Nlp)
    monkeypatch.setitem(sys.modules, "presidio_analyzer", shape)
    monkeypatch.setitem(sys.modules, "presidio_analyzer.nlp_engine", nlp)
    monkeypatch.setitem(sys.modules, "spacy", spacy_of(["en_core_web_md"], Pipeline()))
    return asked


def test_presidios_findings_become_ours(presidio):
    found = engine("presidio")
    assert found is not None
    assert found.find(TEXT) == [(4, 26, "PERSON"), (42, 54, "CUSTOM")]
    assert presidio.models == [{"lang_code": "en", "model_name": "en_core_web_md"}]
    assert presidio.loaded == 1


def test_presidio_is_not_asked_for_what_we_would_drop_nor_for_the_recogniser_that_calls_home(presidio):
    found = engine("presidio")
    assert found is not None
    found.find(TEXT)
    assert presidio.removed == ["EmailRecognizer"]
    assert presidio.calls[0]["entities"] == ["PERSON", "US_SSN", "STAFF_NUMBER"]
    assert presidio.calls[0]["score_threshold"] >= 0.3
