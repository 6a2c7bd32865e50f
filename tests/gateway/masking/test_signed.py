"""What a provider signed is known again when it comes back; nothing else is, and in no other project."""

from __future__ import annotations

import json
from typing import Any

import pytest

from membrain import sse
from membrain.masking.signed import Signed, Watch, signed_in

THOUGHT = {"type": "thinking", "thinking": "so it is bob@corp-mail.net", "signature": "c2lnbmVk"}
REDACTED = {"type": "redacted_thinking", "data": "ZW5jcnlwdGVk"}
ITEM = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "hm"}],
    "encrypted_content": "ZQ",
}


def watched(*events: dict[str, Any], size: int = 1) -> list[str]:
    """What is told of when these events pass, *size* at a time."""
    noted: list[str] = []
    watch = Watch(noted.append)
    raw = [sse.encode(json.dumps(each).encode(), str(each.get("type"))) for each in events]
    for at in range(0, len(raw), size):
        watch.events(b"".join(raw[at : at + size]))
    return noted


def test_what_was_noted_is_known_in_its_own_project_only() -> None:
    signed = Signed()
    signed.note("p", "a thought")
    assert signed.knows("p", "a thought")
    assert not signed.knows("q", "a thought")
    assert not signed.knows("p", "a thought ")
    assert not signed.knows("", "p:a thought")


def test_so_many_are_known_and_those_in_use_the_longest() -> None:
    signed = Signed(most=2)
    signed.note("p", "a")
    signed.note("p", "b")
    assert signed.knows("p", "a")
    signed.note("p", "c")
    assert [signed.knows("p", each) for each in "abc"] == [True, False, True]
    assert len(signed) == 2


def test_half_a_surrogate_pair_is_a_text_too() -> None:
    signed = Signed()
    signed.note("p", "\ud800")
    assert signed.knows("p", "\ud800")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"content": [THOUGHT, REDACTED]}, {"so it is bob@corp-mail.net", "c2lnbmVk", "ZW5jcnlwdGVk"}),
        ({"content": [{**THOUGHT, "signature": ""}, {"type": "thinking", "thinking": "open"}]}, set()),
        ({"output": [ITEM]}, {"ZQ"}),
        ({"choices": [{"message": {"reasoning_items": [ITEM]}}]}, {"reasoning", "rs_1", "summary_text", "hm", "ZQ"}),
        ({"choices": [{"delta": {"thinking_blocks": [REDACTED]}}]}, {"redacted_thinking", "ZW5jcnlwdGVk"}),
        ({"content": [{"type": "text", "text": "thinking", "data": "x"}]}, set()),
    ],
)
def test_it_is_told_by_what_stands_beside_and_around_it(data: dict[str, Any], found: set[str]) -> None:
    assert set(signed_in(data)) == found
    noted: list[str] = []
    Watch(noted.append).whole(json.dumps(data).encode())
    assert set(noted) == found


def thinking(*pieces: str, signature: tuple[str, ...] = ("c2ln", "bmVk")) -> list[dict[str, Any]]:
    block = {"type": "thinking", "thinking": "", "signature": ""}
    deltas: list[dict[str, Any]] = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
    deltas += [{"type": "signature_delta", "signature": piece} for piece in signature]
    return [
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
    ]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_thought_that_streams_is_told_of_when_it_is_over(size: int) -> None:
    told = watched(*thinking("so it ", "is ", "bob"), size=size)
    assert {"so it is bob", "c2lnbmVk"} <= set(told)


def test_a_thought_without_a_signature_is_not() -> None:
    assert watched(*thinking("so it is bob", signature=())) == []


def test_thoughts_that_stream_side_by_side_do_not_mix() -> None:
    one, other = thinking("one"), [{**each, "index": 1} for each in thinking("other")]
    told = watched(*(each for pair in zip(one, other, strict=True) for each in pair))
    assert {"one", "other"} <= set(told)
    assert "oneother" not in told


def test_a_redacted_thought_is_told_of_when_it_begins() -> None:
    assert watched({"type": "content_block_start", "index": 0, "content_block": REDACTED}) == ["ZW5jcnlwdGVk"]


@pytest.mark.parametrize(
    "raw", [b"data: thinking\n\n", b'data: [1, "signature"]\n\n', b": thinking\n\n", b"data: {\n\n"]
)
def test_what_makes_no_sense_is_passed_over(raw: bytes) -> None:
    noted: list[str] = []
    Watch(noted.append).events(raw)
    assert noted == []


def test_no_text_is_in_a_repr() -> None:
    signed = Signed()
    signed.note("p", "a thought")
    assert repr(signed) == "Signed(1)"
