"""The model of names: its file, its sums, its best paths, its memory."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path

import pytest

from membrain.pii import crf
from membrain.pii.crf import TAGS, Model, ModelBroken, model, scores
from membrain.pii.words import own_features, pair_features, word_features


def plain(weights: crf._Weights, feature: str, size: int) -> list[int]:
    """The weights of a feature, one by one."""
    lifted = weights.get(feature) + sum(1 << 15 + 16 * lane for lane in range(size))
    return [(lifted >> 16 * lane & 0xFFFF) - (1 << 15) for lane in range(size)]


def test_the_model_file_is_the_one_it_was_written_with() -> None:
    assert model() is model()
    assert crf.MODEL.stat().st_size < 5_000_000


@pytest.mark.parametrize("spoil", [lambda data: data[:-9], lambda data: b"", lambda data: data + b"x"])
def test_another_model_file_is_refused(spoil, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "names.bin"
    other.write_bytes(spoil(crf.MODEL.read_bytes()))
    monkeypatch.setattr(crf, "MODEL", other)
    with pytest.raises(ModelBroken):
        crf.model.__wrapped__()


def test_a_missing_model_file_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(crf, "MODEL", tmp_path / "names.bin")
    with pytest.raises(ModelBroken, match="FileNotFoundError"):
        crf.model.__wrapped__()


WORDS = ["Dear", "Jane", "Hill", ",", "meet", "Müller", "in", "Rotterdam", "\n", "O'Brien", "HTTPError", "42"]


@pytest.mark.parametrize("token", WORDS)
def test_the_sum_of_a_word_is_the_sum_of_its_features(token: str) -> None:
    read = model()
    facts = read.lexicon.facts(token)
    rows = [plain(read._alone, feature, 35) for feature in (*word_features(facts), *own_features(facts))]
    total = [sum(column) for column in zip(*rows, strict=True)]
    word = read.word(token)
    for place, vector in enumerate((word.ahead, word.before, word.own, word.after, word.behind)):
        row, above = scores(vector)
        assert [score - (1 << 15) for score in row] == total[place * 7 : place * 7 + 7]
        assert above == max(row[1:5]) - row[0]


@pytest.mark.parametrize("line", "Ulctn")
def test_what_neighbours_say_is_the_sum_of_their_features(line: str) -> None:
    read = model()
    for left, here, right in zip(WORDS, WORDS[1:], WORDS[2:], strict=False):
        words = [read.word(each) for each in (left, here, right)]
        features = pair_features(*(each.facts for each in words), line)
        wanted = [sum(column) for column in zip(*(plain(read._beside, each, 7) for each in features), strict=True)]
        for _ in range(2):  # worked out, then remembered
            row, _ = scores(read.beside(*words, line))
            assert [score - (1 << 15) for score in row] == wanted


def test_the_path_is_the_best_of_all() -> None:
    read, dice = model(), random.Random(7)
    moves = {tag: dict(enumerate(values)) for tag, values in read._begins}
    moves |= {tag: {tag - 1: begun, tag: gone_on} for tag, begun, gone_on in read._goes_on}

    def worth(path: tuple[int, ...], rows: list[list[int]]) -> float:
        before, total = 0, 0.0
        for tag, row in zip(path, rows, strict=True):
            total += moves[tag].get(before, float("-inf")) + row[tag]
            before = tag
        return total + read._ends[before]

    for turn in range(40):
        rows = [[dice.randint(-200, 200) - 150 * (turn % 2) * (tag > 0) for tag in range(len(TAGS))] for _ in range(4)]
        best = max(product(range(len(TAGS)), repeat=4), key=lambda path: worth(path, rows))
        assert worth(tuple(read.tags(rows)), rows) == worth(best, rows)


def test_full_memos_are_emptied_and_answers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Model(crf.MODEL.read_bytes())
    monkeypatch.setattr(crf, "MEMO", 3)
    for _ in range(2):
        assert [small.word(each).own for each in WORDS] == [model().word(each).own for each in WORDS]
    assert len(small._words) < 6
    assert len(small._common) < 6
