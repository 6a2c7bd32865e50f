"""OpenAI's legacy completions: what is read, what is sent on, and what is picked out of the answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from membrain import sse
from membrain.dialects.chat import choices_of
from membrain.dialects.completions import Completions
from membrain.errors import BadRequest, MembrainError, ProviderFailed, TooLarge
from membrain.records import Tokens

WORDS = Completions()
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def body(**more: Any) -> bytes:
    return json.dumps({"model": "gpt-3.5-turbo-instruct", "prompt": "Hello", **more}).encode()


def event(*texts: str, finish: str | None = None, **more: Any) -> bytes:
    choices = [
        {"text": text, "index": place, "logprobs": None, "finish_reason": finish} for place, text in enumerate(texts)
    ]
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
    return sse.encode(json.dumps({**head, "choices": choices, **more}).encode())


def failed(told: dict[str, Any]) -> MembrainError:
    return ProviderFailed(str(told.get("error")))


# --- requests


@pytest.mark.parametrize("prompt", ["Hello", "", ["Hello"], ["a", "b"]], ids=str)
def test_a_request_is_read_once_and_its_bytes_are_kept(prompt: object) -> None:
    sent = body(prompt=prompt, stream=True, echo=True, unknown=[1])
    said = WORDS.read(sent, depth=100)
    assert said.body is sent
    assert (said.dialect, said.model, said.stream) == ("completions", "gpt-3.5-turbo-instruct", True)
    assert "Hello" not in repr(said)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1, 2]]}, "prompt"),
        ({"prompt": ["a", 5]}, "prompt"),
        ({"stream": 1}, "stream"),
        ({"api_base": "http://evil.example"}, "api_base"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_by_name(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        WORDS.read(body(**changes), depth=100)
    assert refused.value.param == param


@pytest.mark.parametrize("prompt", [[1, 2], [[1, 2]]], ids=str)
def test_a_prompt_of_token_numbers_is_told_why_not(prompt: object) -> None:
    """Nobody could look for private values in it."""
    with pytest.raises(BadRequest, match="Send the text itself"):
        WORDS.read(body(prompt=prompt), depth=100)


def test_a_request_without_a_prompt_says_that_it_is_missing() -> None:
    with pytest.raises(BadRequest, match="is missing"):
        WORDS.read(b'{"model":"m"}', depth=100)


def test_what_is_nested_too_deep_is_refused() -> None:
    with pytest.raises(TooLarge):
        WORDS.read(body(x=[[[[]]]]), depth=3)


def test_a_request_goes_on_as_it_was_said() -> None:
    said = WORDS.read(body(), depth=100)
    assert WORDS.request_body(said, said.model) is said.body


def test_a_streams_usage_is_always_asked_for() -> None:
    said = WORDS.read(body(stream=True), depth=100)
    assert json.loads(WORDS.request_body(said, "m2"))["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("more", "many"),
    [({}, 1), ({"n": 3}, 3), ({"prompt": ["a", "b"], "n": 2}, 4), ({"n": "x"}, 1), ({"n": 10**9}, 128)],
)
def test_there_are_so_many_answers_for_each_prompt(more: dict[str, Any], many: int) -> None:
    assert choices_of(WORDS.read(body(**more), depth=100)) == many


# --- answers


def test_a_whole_answer_is_passed_on_as_it_came() -> None:
    raw = json.dumps({"object": "text_completion", "model": "m2", "choices": [{"text": "a"}], "usage": USAGE}).encode()
    chunk = WORDS.whole(raw, failed)
    assert (chunk.raw, chunk.tokens, chunk.model) == (raw, Tokens(9, 4), "m2")
    assert chunk.raw is raw


def test_an_error_instead_of_an_answer_is_raised() -> None:
    with pytest.raises(ProviderFailed, match="busy"):
        WORDS.whole(b'{"error":{"message":"busy"}}', failed)


@pytest.mark.parametrize("asks", [False, True])
def test_the_usage_is_noted_and_shown_to_who_asked(asks: bool) -> None:
    said = WORDS.read(body(stream=True, stream_options={"include_usage": asks}), depth=100)
    reader = WORDS.reader(said, failed)
    pieces = [event("Hi"), event("", finish="stop"), event(usage=USAGE), b"data: [DONE]\n\n"]
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
    assert [chunk.tokens for chunk in chunks] == [None, None, Tokens(9, 4)]
    assert b"".join(chunk.raw for chunk in chunks) == b"".join(pieces[: 3 if asks else 2])
    assert (reader.over, reader.ended) == (True, True)
    assert WORDS.shows(said, {"choices": [], "usage": USAGE}) is asks
    assert WORDS.shows(said, {"choices": [{"text": ""}]})


def test_an_event_says_as_much_as_its_texts() -> None:
    raw = event("one", "two") + b": ping\n\n" + event("") + event("four") + b"data: odd\n\n"
    assert WORDS.length_of(raw) == (3, 3 + 3 + 4 + 1)


def test_an_end_is_seen() -> None:
    assert WORDS.finishes(event("", finish="length"))
    assert not WORDS.finishes(event("a"))


def test_an_answer_that_is_cut_short_ends_every_choice_in_its_own_name() -> None:
    said = WORDS.read(body(n=2, stream=True), depth=100)
    raw = event("Hi")
    chunk = WORDS.cut_short(raw, said, "budget_exceeded")
    (last,) = (json.loads(each.data) for each in sse.parse(chunk.raw.removeprefix(raw)))
    assert (last["id"], last["object"], last["model"]) == ("cmpl-1", "text_completion", "m")
    assert [(each["index"], each["text"], each["finish_reason"]) for each in last["choices"]] == [
        (0, "", "length"),
        (1, "", "length"),
    ]
    assert last["membrain"] == {"reason": "budget_exceeded"}
