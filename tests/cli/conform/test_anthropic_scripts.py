"""What the fake provider says in Anthropic's dialect is what Anthropic's own types read."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import Message, MessageTokensCount, RawMessageStreamEvent
from pydantic import TypeAdapter

from membrain_cli.conform import anthropic_scripts as scripts
from membrain_cli.conform.compare import events_of
from membrain_cli.conform.dialects import Json, Sent, blocks

ASKED: Json = {"model": "claude-sonnet-4-20250514"}
CALLS = [["{", '"a":1', "}"], ["[]"]]


@pytest.mark.parametrize("answer", [scripts.whole_messages(ASKED, "Hello."), scripts.thought_messages(ASKED)])
def test_messages_are_of_the_published_shape(answer: Json) -> None:
    Message.model_validate(answer)


def test_a_count_is_of_the_published_shape() -> None:
    MessageTokensCount.model_validate(scripts.whole_count({}, ""))


@pytest.mark.parametrize(
    "events",
    [
        scripts.stream_messages(ASKED, ["Hel", "lo."]),
        scripts.tools_messages(ASKED, CALLS),
        scripts.thinking_messages(ASKED),
    ],
)
def test_events_are_of_the_published_shape_and_bear_their_type_as_name(events: list[Sent]) -> None:
    reader: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
    for name, data in events:
        assert reader.validate_python(data).type == name
    indices = [data["index"] for name, data in events if name == "content_block_start"]
    assert indices == [*range(len(indices))]


def test_words_and_arguments_are_read_from_a_stream() -> None:
    said, called = (
        events_of(b"".join(blocks(events)))
        for events in (scripts.stream_messages(ASKED, ["Hel", "lo."]), scripts.tools_messages(ASKED, CALLS))
    )
    assert scripts.words_messages(said) == "Hello."
    assert scripts.arguments_messages(called) == {"0 tool_0": '{"a":1}', "1 tool_1": "[]"}
