"""Reasoning of another dialect goes round the client unharmed, and never to a provider that cannot read it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.dialects.base import Said
from membrain.dialects.sealed import is_sealed, seal, unseal, without_sealed

BLOCKS = [{"type": "thinking", "thinking": "They want both.", "signature": "c2ln"}]


def said(**data: Any) -> Said:
    return Said("messages", json.dumps(data).encode(), data, "m", stream=False)


@given(st.lists(st.dictionaries(st.text(), st.text() | st.none() | st.integers(-(2**53), 2**53)), max_size=3))
def test_what_is_sealed_comes_back(blocks: list[dict[str, Any]]) -> None:
    assert unseal(seal(blocks)) == blocks
    assert is_sealed(seal(blocks))


@pytest.mark.parametrize("text", ["mb1.", "mb1.%%%", "mb1.eA==", "mb1.e30=", seal(BLOCKS)[:-3]])
def test_what_was_damaged_on_its_way_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="not as it was sealed"):
        unseal(text)


def test_a_request_with_nothing_sealed_is_the_very_same() -> None:
    plain = said(messages=[{"role": "user", "content": "mb1. is how it begins"}], model="m")
    assert without_sealed(plain) is plain
    plain = said(input="Hi")
    assert without_sealed(plain) is plain


def test_what_another_provider_cannot_read_is_taken_out_of_messages() -> None:
    theirs = {"type": "redacted_thinking", "data": "EmwKAhgB"}
    text = {"type": "text", "text": "mb1."}
    ours = {"type": "redacted_thinking", "data": seal(BLOCKS)}
    left = without_sealed(said(messages=[{"role": "assistant", "content": [theirs, ours, text]}], model="m"))
    assert left.data["messages"] == [{"role": "assistant", "content": [theirs, text]}]
    assert json.loads(left.body) == left.data


def test_and_out_of_the_items_of_a_response() -> None:
    theirs = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
    ours = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": seal(BLOCKS)}
    left = without_sealed(said(input=[theirs, ours, {"role": "user", "content": "Hi"}], model="m"))
    assert left.data["input"] == [theirs, {"role": "user", "content": "Hi"}]
