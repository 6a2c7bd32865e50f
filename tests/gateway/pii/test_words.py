"""What is known of a word: the table, shapes, tokens, kinds of lines."""

from __future__ import annotations

import pytest

from membrain.pii.words import Lexicon, Table, entry, line_kind, pair_features, shape_of, tokens


def test_a_table_keeps_what_it_was_given() -> None:
    entries = [(f"word{each}", each + 1) for each in range(5000)]
    table = Table(*Table.packed(entries))
    assert all(table.get(key) == value for key, value in entries)
    assert sum(table.get(f"other{each}") != 0 for each in range(5000)) < 10


@pytest.mark.parametrize(
    ("token", "shape"),
    [
        ("Jane", "Xx"), ("JANE", "XX"), ("J", "X"), ("getName", "xXx"), ("HTTPError", "XXx"), ("Jean-Luc", "Xx-Xx"),
        ("明", "C"), ("42", "d"), ("Élodie", "Xx"),
    ],
)  # fmt: skip
def test_the_shape_of_a_word(token: str, shape: str) -> None:
    assert shape_of(token) == shape


def test_tokens_cover_every_sign_that_is_no_blank() -> None:
    text = "Hi, it's Jean-Luc O'Brien's \"name\": foo.bar user_name\n\n-- \nJ. R. Doe"
    parts = tokens(text)
    assert "".join(text[start:end] for start, end, _ in parts).replace("\n", "") == "".join(text.split())
    assert [token for _, _, token in parts if "~" in token] == ["'~", "'~", '"~', ".~"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("THIS IS LOUD", "U"), ("all small here", "l"), ("x = foo(bar[1], {a: B});", "c"),
        ("Jane Hill, Bob Stone", "t"), ("It rained in Rome today", "n"),
    ],
)  # fmt: skip
def test_kinds_of_lines(line: str, kind: str) -> None:
    assert line_kind(line) == kind


def test_neighbours_say_together_what_was_learned_and_in_that_order() -> None:
    lexicon = Lexicon(Table(*Table.packed([("jane", entry(1, 1)), ("hill", entry(4, 0))])), [5, 7])
    left, here, right = map(lexicon.facts, ("Dear", "Jane", "Hill"))
    features = pair_features(left, here, right, "n")
    assert [feature[0] for feature in features] == list("ABCDEFGL")
    assert features[4] == "Edear|Xx"
    assert features[5] == "FXx|hill"
    assert features[2].startswith("C5|Xx")
