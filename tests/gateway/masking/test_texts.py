"""The strings of a piece of JSON: which can be masked, which cannot, which are no text; and the memory of pieces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from membrain.masking.texts import KNOWN_KEYS, Piece, Pieces, Place, across, joined
from membrain.pii.kinds import Span


def piece(data: Any) -> Piece:
    return Piece(json.dumps(data).encode(), data)


def strings(data: Any) -> dict[str, bool]:
    """Each string that is looked at, and whether it is fixed."""
    return {place.text: place.fixed for place in piece(data).places}


def digits(text: str) -> Sequence[Span]:
    """Finds the runs of digits."""
    spans, at = [], 0
    for run in "".join(sign if sign.isdigit() else " " for sign in text).split():
        at = text.index(run, at)
        spans.append(Span(at, at + len(run), "PHONE"))
        at += len(run)
    return spans


def test_what_is_said_can_be_masked_and_what_is_matched_by_name_cannot() -> None:
    assert strings({"role": "wizard", "content": "hello", "id": "call_1", "mine": "x"}) == {
        "wizard": True, "hello": False, "call_1": True, "mine": True, "x": False,
    }  # fmt: skip


def test_words_and_keys_that_everybody_uses_are_not_looked_at() -> None:
    assert "content" in KNOWN_KEYS
    assert strings({"role": "user", "type": "text", "content": "user"}) == {"user": False}


def test_names_in_schemas_cannot_be_masked_but_prose_can() -> None:
    schema = {
        "properties": {"mine": {"type": "string", "description": "say it", "enum": ["red"]}},
        "required": ["mine"],
    }
    assert strings(schema) == {"mine": True, "say it": False, "red": True}


def test_large_numbers_are_texts_with_their_name() -> None:
    card = 4242424242424242
    assert strings({"mine": card, "small": 12345, "seed": card, "deep": [[123456789012.0]]}) == {
        "mine": True, "small": True, "deep": True, "mine: 4242424242424242": True, "deep: 123456789012": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    "start", ["iVBORw0KGgo", "/9j/4AAQ", "R0lGODlh", "UklGRiQA", "JVBERi0x", "SUQzBAAA", "UEsDBBQA"]
)
def test_media_are_no_text(start: str) -> None:
    assert strings({"data": start + "A" * 40}) == {}
    assert strings({"data": f"data:image/x;base64,{start}AAAA=="}) == {}
    assert len(strings({"data": start + "A" * 40 + " and more, said in words!"})) == 1


def test_it_is_looked_at_once_and_keeps_what_was_found() -> None:
    looked = piece(
        {"role": "user", "content": [{"type": "text", "text": "call 0177"}, {"type": "text", "text": "now"}]}
    )
    looked.look(digits)
    assert [looked.places[row].text for row in looked.found] == ["call 0177"]
    assert looked.texts() == {"call 0177", "now"}
    assert "0177" not in repr(looked) + repr(looked.places)


def test_a_value_over_a_seam_is_found_in_both_texts() -> None:
    looked = piece({"role": "user", "content": [{"text": "call 01"}, {"text": "77 now"}]})
    looked.look(digits)
    assert [[(span.start, span.end) for span in place.spans] for place in looked.said] == [[(5, 7)], [(0, 2)]]


def test_no_value_runs_over_a_blank() -> None:
    left, right = piece(["a 01 ", "77"]).places
    assert list(across(left, right, digits)) == []


def test_names_are_not_looked_for_where_nothing_can_be_masked() -> None:
    looked = piece({"id": "Jane", "content": "Jane"})
    looked.look(lambda text: [Span(0, len(text), "PERSON")])
    assert [place.fixed for place in looked.places if place.spans] == [False]


def test_what_overlaps_is_joined_under_the_label_of_the_longer() -> None:
    spans = joined([Span(0, 4, "A"), Span(10, 12, "B")], [Span(3, 9, "C"), Span(12, 13, "D")])
    assert [(span.start, span.end, span.label) for span in spans] == [(0, 9, "C"), (10, 12, "B"), (12, 13, "D")]


def test_pieces_are_remembered_by_their_bytes_up_to_a_size() -> None:
    pieces = Pieces(size=30)
    one, two, three = (piece({"a": letter * 5}) for letter in "xyz")
    for each in (one, two):
        pieces.keep(each)
    assert pieces.get(one.raw) is one
    pieces.keep(three)
    assert pieces.get(two.raw) is None, "the one that was not asked for the longest"
    assert pieces.get(one.raw) is one
    assert len(pieces) == 2
    pieces.keep(one)
    assert len(pieces) == 2
    assert "x" not in repr(pieces)


def test_a_piece_larger_than_all_is_not_kept() -> None:
    pieces = Pieces(size=4)
    pieces.keep(piece("long text"))
    assert len(pieces) == 0


def test_no_text_is_in_a_places_repr() -> None:
    (place,) = piece({"content": "secret words"}).places
    assert isinstance(place, Place)
    assert "secret" not in repr(place)
