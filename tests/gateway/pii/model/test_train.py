"""Training: tags, features and the file, on a handful of sentences."""

from __future__ import annotations

from hashlib import sha256

import pytest

from membrain.pii import crf, names, spots, words
from membrain.pii.model import train
from membrain.pii.model.corpus import Text

SENTENCES = [
    (f"Dear {who}, welcome to {where}. The {thing} is ready.", who, where)
    for who in ("Jane Hill", "Bob Stone", "Ngozi Adeyemi", "Klaus Brandner", "Ann Lee")
    for where in ("Rotterdam", "Oslo", "Lima")
    for thing in ("Report", "Server", "Kitchen")
]


def _text(sentence: str, who: str, where: str) -> Text:
    person, place = sentence.index(who), sentence.index(where)
    return Text(sentence, [(person, person + len(who), "PER"), (place, place + len(where), "LOC")], "test")


@pytest.fixture
def lexicon() -> words.Lexicon:
    return words.Lexicon(
        words.Table(*words.Table.packed([("jane", words.entry(1, 0)), ("oslo", words.entry(16, 1))])), [0, 3]
    )


def test_tags_begin_and_go_on() -> None:
    text = "Ann Lee Bob in Oslo"
    spans = [(0, 7, "PER"), (8, 11, "PER"), (15, 19, "LOC")]
    assert train.labels(words.tokens(text), spans) == ["B-PER", "I-PER", "B-PER", "O", "B-LOC"]


def test_a_span_that_ends_inside_a_word_takes_the_word() -> None:
    assert train.labels(words.tokens("Hill's End"), [(0, 3, "PER")]) == ["B-PER", "O", "O", "O"]


def test_features_name_the_place_they_come_from(lexicon: words.Lexicon) -> None:
    rows = list(train.attributes("in Oslo today", lexicon, words.tokens("in Oslo today")))
    assert "-1win" in rows[1]
    assert "0woslo" in rows[1]
    assert "1wtoday" in rows[1]
    assert "2w\n" in rows[1]
    assert "&Ein|Xx" in rows[1]


def test_what_is_learned_is_read_back_and_works(lexicon: words.Lexicon, monkeypatch: pytest.MonkeyPatch) -> None:
    learned = train.fit([_text(*each) for each in SENTENCES], lexicon)
    data = train.packed({"jane": (1, 0), "oslo": (16, 1)}, [0, 3], learned)
    model = crf.Model(data)
    monkeypatch.setattr(names, "model", lambda: model)
    monkeypatch.setattr(names, "spots", lambda: spots.Spots(model))
    text = "Dear Mira Vance, welcome to Quito. The Server is ready."
    assert [(text[span.start : span.end], span.label) for span in names.people_and_places(text)] == [
        ("Mira Vance", "PERSON"),
        ("Quito", "LOCATION"),
    ]


def test_the_same_texts_give_the_same_bytes(lexicon: words.Lexicon) -> None:
    def once() -> str:
        learned = train.fit([_text(*each) for each in SENTENCES], lexicon)
        return sha256(train.packed({"jane": (1, 0)}, [0], learned)).hexdigest()

    assert once() == once()


def test_weights_too_small_to_keep_are_left_out() -> None:
    width = len(crf.TAGS)
    row, nothing = [0.0, 5.0, *[0.0] * (width - 2)], [0.001] * width
    learned = train.Learned({}, {"A": row, "B": nothing}, [[0.0] * width] * width)
    model = crf.Model(train.packed({}, [0], learned))
    assert model._beside.get("A") == 127 << 16
    assert model._beside.get("B") == 0
