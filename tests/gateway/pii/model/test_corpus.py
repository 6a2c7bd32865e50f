"""Training texts: gaps are filled, spans fit, and the same seed gives the same texts."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path

import pytest

from membrain.pii.model import corpus
from membrain.pii.model.sources import Names

LISTS = Names(
    people={locale: (["Jane", "Bob"], ["Hill", "Stone"]) for locale in ("en", "en_US", "en_GB", "fr_FR")},
    cities={"en": ["Oslo", "Lima"]},
    world=["Rotterdam"],
    countries=["Norway"],
    regions=["Ohio"],
)


def test_every_template_is_filled_and_its_spans_fit() -> None:
    for each in corpus.templated(LISTS, 1, 3):
        assert "<<" not in each.text
        assert "\x01" not in each.text
        assert all(0 <= start < end <= len(each.text) for start, end, _ in each.spans)
        assert all(one[1] <= two[0] for one, two in pairwise(each.spans))


def test_spans_lie_on_the_names() -> None:
    filled = corpus.Filler(LISTS, 3).fill("Dear {f} in \x01{k}\x02, ask {o}.", "test")
    tags = {tag: filled.text[start:end] for start, end, tag in filled.spans}
    assert set(tags) == {"PER", "LOC", "MISC"}
    assert filled.text == f"Dear {tags['PER']} in {{{tags['LOC']}}}, ask {tags['MISC']}."


@pytest.mark.parametrize("make", [lambda: corpus.templated(LISTS, 1, 2), lambda: corpus.noise(1, 20)])
def test_the_same_seed_gives_the_same_texts(make: object) -> None:
    assert callable(make)
    assert list(make()) == list(make())


def test_halves_share_no_template() -> None:
    even, odd = ({each.group for each in corpus.templated(LISTS, 1, 1, keep=(half,))} for half in (0, 1))
    assert even
    assert odd
    assert not even & odd


def test_threads_move_the_spans_along() -> None:
    made = list(corpus.threads([corpus.Text("Hi Jane", [(3, 7, "PER")], "a")], 1, 5))
    assert all({each.text[start:end] for start, end, _ in each.spans} == {"Jane"} for each in made)
    assert all(len(each.spans) >= 2 for each in made)


def test_recasing_keeps_lengths() -> None:
    texts = [corpus.Text("Straße Jane İ", [(7, 11, "PER")], "a")] * 50
    assert all(len(each.text) == 13 for each in corpus.recased(texts, 1, lower=0.5, upper=0.5))


def test_a_corpus_is_read_with_our_tags_only(tmp_path: Path) -> None:
    text = "Jane, Oslo, 42"
    spans = [
        {"start": start, "end": end, "label": label}
        for start, end, label in ((6, 10, "LOCATION"), (0, 4, "PERSON"), (12, 14, "X_AGE"))
    ]
    with gzip.open(tmp_path / "some.jsonl.gz", "wt") as out:
        out.write(json.dumps({"text": text, "spans": spans}) + "\n")
    assert list(corpus.bench(tmp_path, "some")) == [corpus.Text(text, [(0, 4, "PER"), (6, 10, "LOC")], "some")]


def test_lines_of_code_that_may_name_someone_are_left_out(tmp_path: Path) -> None:
    import tarfile

    source = tmp_path / "a.js"
    source.write_text("const a = 1; // by Jane\n// Jane was here\n" + "const value = compute(left, right);\n" * 5)
    with tarfile.open(tmp_path / "pack.tgz", "w:gz") as archive:
        archive.add(source, "package/a.js")
    (made,) = corpus.code(LISTS, [], tmp_path, 10_000)
    assert "Jane" not in made.text
    assert made.text.count("compute") == 5


@pytest.mark.parametrize(
    ("name", "said"),
    [("Trzciniecka", "Trzcinieckiej"), ("Mirosława", "Mirosławy"), ("Kowalski", "Kowalskiego"), ("Jan", "Jana")],
)
def test_a_polish_name_takes_its_second_case(name: str, said: str) -> None:
    assert corpus._genitive(name) == said
