"""What the fake provider says in OpenAI's dialects is what OpenAI's own types read."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from membrain_cli.conform import openai_scripts as scripts
from membrain_cli.conform.compare import events_of
from membrain_cli.conform.dialects import DONE, Json, Sent, blocks

CHAT: Json = {"model": "gpt-4o-mini", "stream_options": {"include_usage": True}}
CALLS = [["{", '"a":1', "}"], ["[]"]]


def told(events: list[Sent]) -> list[tuple[str | None, Any]]:
    """The events as a client reads them."""
    return events_of(b"".join(blocks(events)))


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (ChatCompletion, scripts.whole_chat(CHAT, "Hello.")),
        (Completion, scripts.whole_completions(CHAT, "Hello.")),
        (CreateEmbeddingResponse, scripts.whole_embeddings({"model": "m"}, "")),
        (Response, scripts.whole_responses({"model": "m"}, "Hello.")),
        (Response, scripts.thought_responses({"model": "m"})),
    ],
)
def test_whole_answers_are_of_the_published_shape(kind: Any, answer: Json) -> None:
    kind.model_validate(answer)


@pytest.mark.parametrize("events", [scripts.stream_chat(CHAT, ["Hel", "lo."]), scripts.tools_chat(CHAT, CALLS)])
def test_chat_chunks_are_of_the_published_shape(events: list[Sent]) -> None:
    for _, data in events[:-1]:
        ChatCompletionChunk.model_validate(data)
    assert events[-1] == (None, DONE)


@pytest.mark.parametrize(
    "events",
    [
        scripts.stream_responses({"model": "m"}, ["Hel", "lo."]),
        scripts.tools_responses({"model": "m"}, CALLS),
        scripts.thinking_responses({"model": "m"}),
    ],
)
def test_events_of_responses_are_of_the_published_shape_and_numbered(events: list[Sent]) -> None:
    reader: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    for number, (name, data) in enumerate(events):
        assert reader.validate_python(data).type == name
        assert data["sequence_number"] == number


def test_usage_is_told_only_to_who_asked() -> None:
    asked, unasked = (scripts.stream_chat(each, ["Hello."]) for each in (CHAT, {"model": "m"}))
    assert [data["usage"] for _, data in asked[:-1]] == [None, None, None, scripts.USAGE]
    assert not any("usage" in data for _, data in unasked[:-1])
    assert len(scripts.stream_completions(CHAT, ["a"])) == len(scripts.stream_completions({}, ["a"])) + 1


@pytest.mark.parametrize(
    ("call", "read"),
    [(scripts.tools_chat, scripts.arguments_chat), (scripts.tools_responses, scripts.arguments_responses)],
)
def test_the_fragments_of_parallel_calls_take_turns_and_are_put_together(call: Any, read: Any) -> None:
    events = told(call({"model": "m"}, CALLS))
    assert read(events) == {"0 tool_0": '{"a":1}', "1 tool_1": "[]"}


@pytest.mark.parametrize(
    ("say", "read"),
    [
        (scripts.stream_chat, scripts.words_by_choice),
        (scripts.stream_completions, scripts.words_by_choice),
        (scripts.stream_responses, scripts.words_responses),
    ],
)
def test_the_words_of_a_stream_are_read_from_it(say: Any, read: Any) -> None:
    assert read(told(say({"model": "m"}, ["Hel", "lo."]))) == "Hello."


def test_the_packed_vector_is_one() -> None:
    raw = base64.b64decode(scripts.PACKED)
    assert len(struct.unpack(f"<{len(raw) // 4}f", raw)) == len(scripts.VECTOR)
