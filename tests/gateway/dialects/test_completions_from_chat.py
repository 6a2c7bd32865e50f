"""A chat's answers as completions: the same answer whole, streamed, and as OpenAI's SDK reads it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion

from membrain.dialects.completions_from_chat import FINISH_REASONS, LOSSES, Events, whole
from membrain.errors import ProviderFailed

Json = dict[str, Any]
NOW = 1_700_000_000
ASKED: Json = {"model": "asked", "prompt": "Hello"}
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "prompt_tokens_details": {"cached_tokens": 4}}
HEAD = {"id": "chatcmpl-1", "created": 5, "model": "m", "system_fingerprint": "fp", "service_tier": "default"}


def chat(*messages: Json, finish: str | None = "stop", **more: Any) -> Json:
    choices = [
        {"index": place, "message": {"role": "assistant", **message}, "finish_reason": finish, "logprobs": None}
        for place, message in enumerate(messages)
    ]
    return {**HEAD, "object": "chat.completion", "choices": choices, "usage": USAGE, **more}


def chunk(delta: Json, finish: str | None = None, index: int = 0, **more: Any) -> Json:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {**HEAD, "object": "chat.completion.chunk", "choices": [choice], **more}


def streamed(*chunks: Json) -> list[Json]:
    """The pieces that *chunks* give, the end among them."""
    events = Events(ASKED, created=NOW)
    told = [each for data in chunks for each in events.feed(None, data)]
    assert all(name is None for name, _ in told)
    return [data for _, data in [*told, *events.end()]]


def read(completion: Json) -> Completion:
    """As OpenAI's SDK reads it, strictly."""
    return Completion.model_validate(completion)


# --- whole answers


def test_what_was_said_is_the_text() -> None:
    told = whole(chat({"content": "Hi"}, {"content": "Ho"}), ASKED, created=NOW)
    assert told == {
        "id": "chatcmpl-1",
        "object": "text_completion",
        "created": 5,
        "model": "m",
        "system_fingerprint": "fp",
        "choices": [
            {"text": "Hi", "index": 0, "logprobs": None, "finish_reason": "stop"},
            {"text": "Ho", "index": 1, "logprobs": None, "finish_reason": "stop"},
        ],
        "usage": USAGE,
    }
    assert read(told).choices[1].text == "Ho"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": None, "refusal": "No."}, "No."),
        ({"content": None, "tool_calls": []}, ""),
        ({"content": "a", "reasoning_content": "b", "annotations": []}, "a"),
    ],
)
def test_only_what_is_said_is_told(message: Json, text: str) -> None:
    (choice,) = read(whole(chat(message), ASKED, created=NOW)).choices
    assert choice.text == text


@pytest.mark.parametrize(
    ("finish", "told"),
    [*((each, each) for each in sorted(FINISH_REASONS)), ("tool_calls", "stop"), ("odd", "stop"), (None, "stop")],
)
def test_it_ends_as_a_completion_may_end(finish: str | None, told: str) -> None:
    completion = read(whole(chat({"content": ""}, finish=finish), ASKED, created=NOW))
    assert completion.choices[0].finish_reason == told


def test_what_an_upstream_leaves_out_is_filled_in() -> None:
    told = whole({"choices": [{"message": {"content": "Hi"}}]}, ASKED, created=NOW)
    completion = read(told)
    assert (completion.model, completion.created, completion.usage) == ("asked", NOW, None)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": None},
        {"choices": [1]},
        {"choices": [{"message": {"content": 5}}]},
        {"choices": [{"message": "text"}]},
        {"choices": [{"index": "0", "message": {"content": "a"}}]},
        {"choices": [{"message": 5}]},
    ],
    ids=str,
)
def test_what_cannot_be_read_is_a_failure_of_the_upstream(answer: Json) -> None:
    with pytest.raises(ProviderFailed):
        whole(answer, ASKED, created=NOW)


@pytest.mark.parametrize("error", [{"message": "Too busy.", "type": "overloaded", "code": "busy"}, "Too busy."])
def test_an_error_is_raised_in_the_upstreams_own_words(error: object) -> None:
    for read_it in (lambda: whole({"error": error}, ASKED, created=NOW), lambda: streamed({"error": error})):
        with pytest.raises(ProviderFailed, match="Too busy"):
            read_it()


def test_an_error_without_a_word_is_told_all_the_same() -> None:
    with pytest.raises(ProviderFailed, match="without a word"):
        whole({"error": {"message": 5}}, ASKED, created=NOW)


# --- streams


def test_each_piece_of_text_is_told_at_once() -> None:
    events = Events(ASKED, created=NOW)
    assert events.feed(None, chunk({"role": "assistant", "content": ""})) == []
    ((_, piece),) = events.feed(None, chunk({"content": "Hi"}))
    assert read({**piece, "choices": [{**piece["choices"][0], "finish_reason": "stop"}]}).choices[0].text == "Hi"
    assert piece["object"] == "text_completion"
    assert piece["choices"] == [{"text": "Hi", "index": 0, "logprobs": None, "finish_reason": None}]


def test_thinking_and_tool_calls_give_nothing() -> None:
    assert streamed(chunk({"reasoning_content": "hm"}), chunk({"tool_calls": [{"index": 0}]})) == []


def test_choices_stay_apart() -> None:
    pieces = streamed(chunk({"content": "a"}, index=1), chunk({"content": "b"}), chunk({}, "length", index=1))
    told = [(choice["index"], choice["text"], choice["finish_reason"]) for each in pieces for choice in each["choices"]]
    assert told == [(1, "a", None), (0, "b", None), (1, "", "length")]


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk({}, "stop"), {**HEAD, "choices": [], "usage": USAGE}],
        [chunk({}, "stop", usage=USAGE)],
        [chunk({"content": "a"}, usage={**USAGE, "completion_tokens": 1}), chunk({}, "stop", usage=USAGE)],
    ],
    ids=["behind", "in it", "all along"],
)
def test_the_usage_is_told_once_and_last_wherever_it_came(chunks: list[Json]) -> None:
    pieces = streamed(*chunks)
    assert [each.get("usage") for each in pieces] == [*[None] * (len(pieces) - 1), USAGE]
    assert pieces[-1]["choices"] == []


def test_no_usage_is_told_where_none_came() -> None:
    assert [each["choices"] for each in streamed(chunk({}, "stop"))] != [[]]


def test_a_chunk_without_choices_and_usage_gives_nothing() -> None:
    assert streamed({"choices": [], "prompt_filter_results": []}) == []


@pytest.mark.parametrize("data", [{"choices": 5}, {"choices": [{"delta": {"content": []}}]}], ids=str)
def test_a_chunk_that_cannot_be_read_is_a_failure(data: Json) -> None:
    with pytest.raises(ProviderFailed):
        streamed(data)


@given(st.lists(st.lists(st.text()), min_size=1, max_size=3), st.sampled_from(sorted(FINISH_REASONS)))
def test_a_stream_says_what_the_whole_answer_says(said: list[list[str]], finish: str) -> None:
    answer = whole(chat(*({"content": "".join(pieces)} for pieces in said), finish=finish), ASKED, created=NOW)
    chunks = [chunk({"content": each}, index=place) for place, pieces in enumerate(said) for each in pieces]
    ends = [chunk({}, finish, index=place) for place in range(len(said))]
    *pieces, last = streamed(*chunks, *ends, {**HEAD, "choices": [], "usage": USAGE})
    assert last["usage"] == answer["usage"]
    for choice in answer["choices"]:
        mine = [each for data in pieces for each in data["choices"] if each["index"] == choice["index"]]
        assert "".join(each["text"] for each in mine) == choice["text"]
        assert mine[-1]["finish_reason"] == choice["finish_reason"]


def test_what_is_lost_is_said_in_a_sentence() -> None:
    assert all(text.endswith(".") for text in LOSSES.values())
