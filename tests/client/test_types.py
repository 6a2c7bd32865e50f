"""The dataclasses have the documented fields, lose nothing and survive odd answers."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrain_client import client as documented
from membrain_client._types import messages_to_wire
from membrain_client.client import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatMessage,
    Choice,
    FunctionCall,
    StreamChoice,
    StreamDelta,
    ToolCall,
    Usage,
)

DOCUMENTED = {
    "ChatCompletion": ["id", "model", "choices", "usage"],
    "Choice": ["index", "message", "finish_reason"],
    "ChatMessage": ["role", "content"],
    "Usage": ["prompt_tokens", "completion_tokens", "total_tokens"],
    "ChatCompletionChunk": ["id", "model", "choices"],
    "StreamChoice": ["index", "delta", "finish_reason"],
    "StreamDelta": ["role", "content"],
}

WHOLE: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-4",
    "system_fingerprint": "fp_1",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "refusal": "No.",
                "reasoning_content": "hm",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city":"Bonn"}', "strict": True},
                        "extra_content": {"signature": "abc"},
                    }
                ],
            },
            "logprobs": {"content": []},
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 1},
        "cost": 0.5,
    },
    "provider": "unknown to us",
}

CHUNK: dict[str, Any] = {
    "id": "chatcmpl-1",
    "created": 1_700_000_000,
    "model": "gpt-4",
    "choices": [
        {
            "index": 1,
            "delta": {
                "role": "assistant",
                "content": "Hi",
                "tool_calls": [{"index": 2, "function": {"arguments": '{"ci'}}],
            },
            "finish_reason": None,
            "logprobs": None,
        }
    ],
    "usage": None,
}

KEYS = ["choices", "content", "created", "delta", "function", "id", "index", "message", "tool_calls", "usage"]


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(KEYS), values, max_size=6)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | objects(inner),
    max_leaves=12,
)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_fields_come_first_and_in_order(name: str) -> None:
    names = [spot.name for spot in fields(getattr(documented, name))]
    assert names[: len(DOCUMENTED[name])] == DOCUMENTED[name]


def test_documented_fields_can_be_given_by_place() -> None:
    answer = ChatCompletion("i", "m", [Choice(0, ChatMessage("assistant", "Hi"), "stop")], Usage(1, 2, 3))
    chunk = ChatCompletionChunk("i", "m", [StreamChoice(0, StreamDelta("assistant", "Hi"), "stop")])
    assert (answer.choices[0].message.content, answer.usage.total_tokens) == ("Hi", 3)
    assert (chunk.choices[0].delta.content, chunk.choices[0].finish_reason) == ("Hi", "stop")


def test_a_whole_answer_is_read() -> None:
    answer = ChatCompletion.from_dict(WHOLE)
    assert (answer.id, answer.model, answer.created) == ("chatcmpl-1", "gpt-4", 1_700_000_000)
    assert answer.system_fingerprint == "fp_1"
    choice = answer.choices[0]
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "tool_calls", {"content": []})
    assert (choice.message.role, choice.message.content, choice.message.refusal) == ("assistant", None, "No.")
    call = FunctionCall("weather", '{"city":"Bonn"}')
    assert choice.message.tool_calls == [ToolCall("call_1", "function", call)]
    assert answer.usage == Usage(9, 3, 12, {"cached_tokens": 8}, {"reasoning_tokens": 1})


def test_a_chunk_is_read() -> None:
    chunk = ChatCompletionChunk.from_dict(CHUNK)
    assert (chunk.id, chunk.model, chunk.created, chunk.usage) == ("chatcmpl-1", "gpt-4", 1_700_000_000, None)
    choice = chunk.choices[0]
    assert (choice.index, choice.delta.role, choice.delta.content) == (1, "assistant", "Hi")
    assert choice.delta.tool_calls == [ToolCall(function=FunctionCall("", '{"ci'), index=2)]


def test_nothing_is_lost() -> None:
    answer = ChatCompletion.from_dict(WHOLE)
    assert answer.raw == WHOLE
    assert answer.choices[0].message.raw["reasoning_content"] == "hm"
    assert answer.usage.raw["cost"] == 0.5
    assert ChatCompletionChunk.from_dict(CHUNK).raw == CHUNK


def test_raw_is_neither_shown_nor_compared() -> None:
    read = ChatMessage.from_dict({"role": "user", "content": "Hi", "x": "unseen"})
    assert "unseen" not in repr(read)
    assert read == ChatMessage("user", "Hi")


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}, [], "none"])
def test_missing_usage_reads_as_zero(usage: object) -> None:
    assert ChatCompletion.from_dict({**WHOLE, "usage": usage}).usage == Usage(0, 0, 0)


@pytest.mark.parametrize(
    ("odd", "read"), [(3, 3), (3.0, 3), (3.5, 0), ("3", 0), (None, 0), (float("inf"), 0), (True, 1)]
)
def test_odd_numbers_read_as_whole_ones(odd: object, read: int) -> None:
    assert Usage.from_dict({"total_tokens": odd}).total_tokens == read


@settings(deadline=None, max_examples=200)
@given(objects(JSON))
def test_no_object_is_too_odd_to_be_read(data: dict[str, Any]) -> None:
    for kind in (ChatCompletion, ChatCompletionChunk, ChatMessage, Choice, StreamChoice, ToolCall, Usage):
        assert kind.from_dict(data).raw == data


def test_an_answer_goes_back_as_it_came() -> None:
    """Unknown fields too: some providers want their signatures back. Only what is null is left out."""
    sent = WHOLE["choices"][0]["message"]
    assert ChatMessage.from_dict(sent).to_dict() == sent
    assert ChatMessage.from_dict({**sent, "refusal": None}).to_dict() == {
        name: value for name, value in sent.items() if name != "refusal"
    }


def test_changed_fields_go_out_changed() -> None:
    message = ChatMessage.from_dict(WHOLE["choices"][0]["message"])
    message.content, message.tool_calls = "never mind", None
    sent = message.to_dict()
    assert sent["content"] == "never mind"
    assert "tool_calls" not in sent


def test_a_call_put_together_from_a_stream_can_be_sent() -> None:
    call = ToolCall.from_dict({"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": ""}})
    call.function.arguments += "{}"
    assert call.to_dict() == {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": "{}"},
    }


def test_a_call_of_another_kind_goes_back_as_it_came() -> None:
    sent = {"id": "call_1", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    assert ToolCall.from_dict(sent).to_dict() == sent


def test_messages_may_be_objects_or_dicts() -> None:
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
    answered = ChatMessage("tool", "rain", tool_call_id="call_1", name="weather")
    assert messages_to_wire([ChatMessage("user", "Hi"), picture, answered]) == [
        {"role": "user", "content": "Hi"},
        picture,
        {"role": "tool", "content": "rain", "tool_call_id": "call_1", "name": "weather"},
    ]
    assert json.dumps(messages_to_wire(iter([answered])))
