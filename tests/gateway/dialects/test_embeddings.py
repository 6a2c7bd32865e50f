"""Embeddings and moderations: text in, numbers out, as they came."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from membrain.dialects.embeddings import MODERATION, Embeddings, Moderations
from membrain.errors import BadRequest, MembrainError, ProviderFailed
from membrain.records import Tokens

VECTORS, JUDGE = Embeddings(), Moderations()


def body(**more: Any) -> bytes:
    return json.dumps({"model": "m", "input": "Hello", **more}).encode()


def failed(told: dict[str, Any]) -> MembrainError:
    return ProviderFailed(str(told.get("error")))


@pytest.mark.parametrize("text", ["Hello", ["Hello", "World"]], ids=str)
@pytest.mark.parametrize("shape", ["float", "base64"])
def test_a_text_to_embed_is_read_and_its_bytes_are_kept(text: object, shape: str) -> None:
    sent = body(input=text, encoding_format=shape, dimensions=3)
    said = VECTORS.read(sent, depth=100)
    assert said.body is sent
    assert (said.dialect, said.model, said.stream) == ("embeddings", "m", False)
    assert VECTORS.request_body(said, "m") is sent


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": 5}, "model"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": [[1, 2]]}, "input"),
        ({"base_url": "http://evil.example"}, "base_url"),
    ],
    ids=str,
)
def test_what_cannot_be_looked_at_is_not_embedded(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        VECTORS.read(body(**changes), depth=100)
    assert refused.value.param == param


@pytest.mark.parametrize("vector", [[0.1, -1e-9, 0.30000000000000004], base64.b64encode(b"\0\1\2\3").decode()], ids=str)
def test_the_numbers_are_passed_on_as_they_came(vector: object) -> None:
    rows = [{"object": "embedding", "index": 0, "embedding": vector}]
    raw = json.dumps({"object": "list", "data": rows, "model": "m2", "usage": {"prompt_tokens": 5, "total_tokens": 5}})
    chunk = VECTORS.whole(raw.encode(), failed)
    assert (chunk.raw, chunk.tokens, chunk.model) == (raw.encode(), Tokens(5, 0), "m2")


def test_embeddings_without_usage_are_passed_on_too() -> None:
    assert VECTORS.whole(b'{"data":[]}', failed).tokens is None


@pytest.mark.parametrize("words", [VECTORS, JUDGE], ids=lambda words: words.name)
@pytest.mark.parametrize("raw", [b'{"error":{"message":"busy"}}', b"{}", b"[]", b"<html>", b""])
def test_what_is_no_answer_is_a_failure(words: Embeddings | Moderations, raw: bytes) -> None:
    with pytest.raises(ProviderFailed):
        words.whole(raw, failed)


@pytest.mark.parametrize("given", ["Hello", ["Hello"], [{"type": "text", "text": "Hello"}]], ids=str)
def test_what_is_to_be_judged_is_read(given: object) -> None:
    said = JUDGE.read(body(input=given, stream=True), depth=100)
    assert (said.dialect, said.model, said.stream) == ("moderations", "m", False)


def test_who_judges_may_be_left_open() -> None:
    """And the bytes still say nothing of it."""
    said = JUDGE.read(b'{"input":"Hello"}', depth=100)
    assert said.model == MODERATION
    assert JUDGE.request_body(said, MODERATION) == b'{"input":"Hello"}'


@pytest.mark.parametrize("given", [None, "", [], 5, {}], ids=str)
def test_nothing_is_no_question(given: object) -> None:
    with pytest.raises(BadRequest) as refused:
        JUDGE.read(body(input=given), depth=100)
    assert refused.value.param == "input"


def test_a_judgement_is_passed_on_as_it_came_and_is_free() -> None:
    raw = b'{"id":"modr-1","model":"omni","results":[{"flagged":false}]}'
    chunk = JUDGE.whole(raw, failed)
    assert (chunk.raw, chunk.tokens, chunk.model) == (raw, Tokens(0, 0), "omni")
