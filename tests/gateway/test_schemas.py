"""The seeds' shapes: made as the provider guide makes them, and losing nothing on the way through."""

from __future__ import annotations

import copy
import dataclasses
import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrain.schemas import (
    ChatChoice,
    ChatCompletionChunk,
    ChatCompletionRequest,
    ChatCompletionResponse,
    ChatDelta,
    ChatMessage,
    ModelCard,
    ModelList,
    Shape,
    StreamChoice,
    Usage,
    WrongShape,
)

UNKNOWN: dict[str, Any] = {"x": None}
TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-4o",
    "system_fingerprint": None,
    "service_tier": "default",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "annotations": [],
                "tool_calls": [TOOL_CALL],
            },
            "logprobs": None,
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 1},
    },
}

# -- the provider guide --


def test_a_custom_provider_may_build_an_answer_as_the_guide_does() -> None:
    data = copy.deepcopy(ANSWER)
    answer = ChatCompletionResponse(
        id=data["id"],
        created=data["created"],
        model=data["model"],
        choices=[
            ChatChoice(
                index=c["index"],
                message=ChatMessage(**c["message"]),
                finish_reason=c.get("finish_reason"),
            )
            for c in data["choices"]
        ],
        usage=Usage(**data["usage"]),
    )
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.extra == {"annotations": []}
    assert answer.usage is not None
    assert answer.usage.total_tokens == 3
    written = answer.model_dump(exclude_none=True)
    assert written["object"] == "chat.completion"
    assert written["choices"][0]["message"] == {"role": "assistant", "annotations": [], "tool_calls": [TOOL_CALL]}


def test_a_custom_provider_may_read_a_request_as_the_guide_does() -> None:
    request = ChatCompletionRequest.from_dict(
        {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "top_k": 3}
    )
    assert request.model == "m"
    assert [{"role": m.role, "content": m.content} for m in request.messages] == [{"role": "user", "content": "Hi"}]
    assert request.temperature is None
    assert request.max_tokens == 5
    assert request.extra == {"top_k": 3}


def test_dictionaries_will_do_where_shapes_belong() -> None:
    request = ChatCompletionRequest(model="m", messages=[{"role": "user", "content": "Hi"}])  # type: ignore[list-item]
    assert request.messages == [ChatMessage(role="user", content="Hi")]


# -- what is written --

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
NAMES_THAT_MIGHT_CLASH = ["extra", "self", "given", "model_dump", "from_dict", "__dict__", "_names", "_fill", ""]


@cache
def objects_for(shape: type[Shape]) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects that fit *shape*: its required fields, some of the others, and unknown ones."""
    shapes: dict[type[Shape], dict[str, type[Shape]]] = {
        ChatCompletionRequest: {"messages": ChatMessage},
        ChatCompletionResponse: {"choices": ChatChoice, "usage": Usage},
        ChatCompletionChunk: {"choices": StreamChoice, "usage": Usage},
        ChatChoice: {"message": ChatMessage},
        StreamChoice: {"delta": ChatDelta},
        ModelList: {"data": ModelCard},
    }
    inner = shapes.get(shape, {})
    lists = {"messages", "choices", "data"}
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for field in dataclasses.fields(shape):  # type: ignore[arg-type]  # every shape is a dataclass
        values: st.SearchStrategy[Any] = json_values
        if field.name in inner:
            values = objects_for(inner[field.name])  # type: ignore[arg-type]  # classes have a hash
            values = st.lists(values, max_size=2) if field.name in lists else values
        needed = field.default is dataclasses.MISSING
        (required if needed else optional)[field.name] = values if needed else st.none() | values
    unknown = st.dictionaries(st.sampled_from(NAMES_THAT_MIGHT_CLASH) | st.text(max_size=4), json_values, max_size=2)
    known = st.fixed_dictionaries(required, optional=optional)
    return st.builds(lambda more, given: {**more, **given}, unknown, known)


SHAPES = [ChatCompletionRequest, ChatCompletionResponse, ChatCompletionChunk, ModelList]


def without_none(value: Any, shape: type[Shape] | None) -> Any:
    """What is left of *value* without the None fields of shapes, spelled out slowly."""
    inner: dict[str, type[Shape]] = {
        "messages": ChatMessage,
        "message": ChatMessage,
        "delta": ChatDelta,
        "usage": Usage,
        "choices": StreamChoice if shape is ChatCompletionChunk else ChatChoice,
        "data": ModelCard,
    }
    if shape is None:
        return value
    if isinstance(value, list):
        return [without_none(item, shape) for item in value]
    names = {field.name for field in dataclasses.fields(shape)}  # type: ignore[arg-type]  # every shape is a dataclass
    return {
        name: without_none(item, inner.get(name) if name in names else None)
        for name, item in value.items()
        if item is not None
    }


@settings(deadline=None, max_examples=100)
@given(st.data())
@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_lost_or_added_in_a_round_trip(shape: type[Shape], data: st.DataObject) -> None:
    given_json = data.draw(objects_for(shape))  # type: ignore[arg-type]  # classes have a hash
    before = copy.deepcopy(given_json)
    made = shape.from_dict(given_json)
    assert made.model_dump() == before
    assert made.model_dump(exclude_none=True) == without_none(before, shape)
    assert given_json == before
    assert copy.deepcopy(made) == made == shape.from_dict(before)


def test_a_none_that_was_given_survives_and_one_that_was_not_does_not_appear() -> None:
    assert ChatMessage(role="user").model_dump() == {"role": "user"}
    assert ChatMessage(role="user", content=None).model_dump() == {"role": "user", "content": None}


def test_excluding_none_takes_the_null_content_of_a_message_that_only_calls_tools() -> None:
    """The classical trap: some servers insist on that null. The docstring of `model_dump` says so."""
    message = ChatMessage(role="assistant", content=None, tool_calls=[TOOL_CALL])
    assert message.model_dump()["content"] is None
    assert "content" not in message.model_dump(exclude_none=True)


def test_excluding_none_leaves_nulls_in_plain_objects_alone() -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["x", None], "default": None}}}
    request = ChatCompletionRequest(
        model="m",
        messages=[],
        tools=[{"function": {"name": "f", "parameters": schema}}],
        temperature=None,
        **UNKNOWN,
    )
    written = request.model_dump(exclude_none=True)
    assert written == {"model": "m", "messages": [], "tools": [{"function": {"name": "f", "parameters": schema}}]}


def test_what_is_assigned_later_is_written() -> None:
    request = ChatCompletionRequest.from_dict({"model": "ollama/llama3", "messages": []})
    request.model = "llama3"
    request.stream = True
    assert request.model_dump() == {"model": "llama3", "messages": [], "stream": True}


def test_constants_are_written_by_those_who_construct_and_not_added_to_what_was_read() -> None:
    assert ModelCard(id="m").model_dump() == {"id": "m", "object": "model", "created": 0, "owned_by": ""}
    assert ModelCard.from_dict({"id": "m"}).model_dump() == {"id": "m"}
    assert ModelCard.from_dict({"id": "m"}).object == "model"
    assert ChatCompletionChunk(id="a", created=1, model="m", choices=[]).object == "chat.completion.chunk"
    assert ModelList(data=[]).object == "list"


def test_a_dump_is_plain_json() -> None:
    assert json.loads(json.dumps(ChatCompletionResponse.from_dict(ANSWER).model_dump())) == ANSWER


class Thread(Shape):
    """A shape of somebody's own, with a list that may be missing."""

    title: str
    replies: list[ChatMessage] | None = None


def test_a_shape_of_ones_own_needs_no_more_than_its_fields() -> None:
    thread = Thread.from_dict({"title": "t", "replies": [{"role": "user", "x": 1}]})
    assert thread.replies == [ChatMessage.from_dict({"role": "user", "x": 1})]
    assert thread.model_dump() == {"title": "t", "replies": [{"role": "user", "x": 1}]}
    assert Thread.from_dict({"title": "t", "replies": None}).model_dump() == {"title": "t", "replies": None}


# -- what does not fit --


@pytest.mark.parametrize(
    ("shape", "given_json", "param"),
    [
        (ChatMessage, {"content": "x"}, "role"),
        (ChatCompletionRequest, {"messages": []}, "model"),
        (ChatCompletionRequest, {"model": "m", "messages": "Hi"}, "messages"),
        (ChatCompletionRequest, {"model": "m", "messages": None}, "messages"),
        (ChatCompletionRequest, {"model": "m", "messages": {"role": "user"}}, "messages"),
        (ChatCompletionRequest, {"model": "m", "messages": [{"role": "user"}, "Hi"]}, "messages.1"),
        (ChatCompletionRequest, {"model": "m", "messages": [None]}, "messages.0"),
        (ChatCompletionResponse, {**ANSWER, "usage": 3}, "usage"),
        (ChatCompletionResponse, {**ANSWER, "choices": [{"message": {}}]}, "choices.0.message.role"),
        (ChatCompletionChunk, {**ANSWER, "choices": [{"index": 0}]}, "choices.0.delta"),
    ],
)
def test_what_does_not_fit_is_named(shape: type[Shape], given_json: dict[str, Any], param: str) -> None:
    with pytest.raises(WrongShape) as raised:
        shape.from_dict(given_json)
    assert raised.value.param == param
    assert str(raised.value).startswith(f"{param}: ")


def test_a_missing_field_is_named_to_those_who_construct_too() -> None:
    with pytest.raises(WrongShape, match="role: required"):
        ChatMessage(**UNKNOWN)


# -- manners --


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_dataclasses(shape: type[Shape]) -> None:
    assert dataclasses.is_dataclass(shape)


def test_a_repr_shows_no_values() -> None:
    secret = "sk-canary"
    unknown: dict[str, Any] = {"x": secret}
    request = ChatCompletionRequest(
        model="m", messages=[ChatMessage(role="user", content=secret)], user=secret, **unknown
    )
    assert secret not in repr(request) + repr(request.messages) + str(request)
    assert repr(request.messages[0]) == "ChatMessage(role, content)"


def test_an_error_shows_no_values() -> None:
    with pytest.raises(WrongShape) as raised:
        ChatCompletionRequest.from_dict({"model": "m", "messages": ["sk-canary"]})
    assert "sk-canary" not in str(raised.value)


def test_shapes_are_equal_when_they_are_written_alike() -> None:
    assert ChatMessage(role="user") == ChatMessage.from_dict({"role": "user"})
    assert ChatMessage(role="user") != ChatMessage(role="user", content=None)
    assert ChatMessage(role="user", **UNKNOWN) != ChatMessage(role="user")
    assert ChatMessage(role="user") != {"role": "user"}
    with pytest.raises(TypeError, match="unhashable"):
        hash(ChatMessage(role="user"))
