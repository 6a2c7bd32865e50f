"""The schema says no: each of these is a reply with one thing wrong. And the fake provider keeps to it."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest

from tests.clients import says
from tests.clients.wanted import Call, Said
from tests.openapi.published import SCHEMA, Unpublished, check, check_event

ASKED = {"model": "gpt-4o"}
SAIDS = [
    Said("Some words."),
    Said("Some words.", thought="A thought."),
    Said("Some", cut_off=True),
    Said(calls=[Call("0", "write", '{"to":"you"}'), Call("1", "call", "{}")]),
]
CHAT: Any = says.chat_whole(ASKED, Said("Some words."))
RESPONSE: Any = says.response_whole(ASKED, Said("Some words."))


def frames(raw: list[bytes]) -> list[Any]:
    """The data of a stream's frames."""
    lines = b"".join(raw).split(b"\n")
    return [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]


def changed(data: Any, *path: str | int, to: Any = None) -> Any:
    """*data* with one value changed, or taken out."""
    made = at = copy.deepcopy(data)
    for step in path[:-1]:
        at = at[step]
    if to is None:
        del at[path[-1]]
    else:
        at[path[-1]] = to
    return made


@pytest.mark.parametrize(
    "wrong",
    [
        changed(CHAT, "created"),
        changed(CHAT, "created", to="now"),
        changed(CHAT, "object", to="chat.completion.chunk"),
        changed(CHAT, "choices", 0, "finish_reason", to="end_turn"),
        changed(CHAT, "choices", 0, "message", "refusal"),
        changed(CHAT, "choices", 0, "logprobs"),
        changed(CHAT, "choices", 0, "message", "tool_calls", to=[{"type": "function", "function": {"name": "x"}}]),
        changed(CHAT, "usage", "total_tokens"),
    ],
)
def test_a_chat_completion_with_a_fault_is_refused(wrong: Any) -> None:
    check("CreateChatCompletionResponse", CHAT)
    with pytest.raises(Unpublished):
        check("CreateChatCompletionResponse", wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        changed(RESPONSE, "metadata"),
        changed(RESPONSE, "tool_choice"),
        changed(RESPONSE, "output", 0, "content", 0, "annotations"),
        changed(RESPONSE, "output", 0, "status"),
        changed(RESPONSE, "output", 0, "id"),
        changed(RESPONSE, "status", to="stop"),
        changed(RESPONSE, "usage", "input_tokens_details"),
        changed(RESPONSE, "incomplete_details", to={"reason": "length"}),
    ],
)
def test_a_response_with_a_fault_is_refused(wrong: Any) -> None:
    check("Response", RESPONSE)
    with pytest.raises(Unpublished):
        check("Response", wrong)


def test_an_event_with_a_fault_is_refused() -> None:
    delta: Any = next(e for e in frames([*says.response_frames(ASKED, SAIDS[0])]) if e["type"].endswith("text.delta"))
    check_event(delta)
    for wrong in (
        changed(delta, "sequence_number"),
        changed(delta, "item_id"),
        changed(delta, "logprobs"),
        changed(delta, "type", to="response.output_text.delta.extra"),
    ):
        with pytest.raises(Unpublished):
            check_event(wrong)


def test_the_schema_has_all_that_it_refers_to() -> None:
    assert set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(SCHEMA))) <= SCHEMA["$defs"].keys()


def test_an_error_needs_all_four_keys() -> None:
    error: Any = says.openai_error(429)
    check("ErrorResponse", error)
    for key in ("message", "type", "param", "code"):
        with pytest.raises(Unpublished):
            check("ErrorResponse", changed(error, "error", key))


@pytest.mark.parametrize("said", SAIDS)
def test_the_fake_provider_answers_as_published(said: Said) -> None:
    check("CreateChatCompletionResponse", says.chat_whole(ASKED, said))
    check("Response", says.response_whole(ASKED, said))
    check("CreateCompletionResponse", says.completions_whole(ASKED, Said(said.text, cut_off=said.cut_off)))
    for options in ({}, {"stream_options": {"include_usage": True}}):
        for piece in frames([*says.chat_frames({**ASKED, **options}, said)]):
            check("CreateChatCompletionStreamResponse", piece)
    for event in frames([*says.response_frames(ASKED, said)]):
        check_event(event)


def test_the_fake_providers_smaller_answers_are_as_published() -> None:
    check("CreateEmbeddingResponse", says.embeddings({**ASKED, "input": ["a", "b"]}))
    check("CreateModerationResponse", says.moderation({"input": "a"}))
    for status in (400, 401, 404, 429, 500):
        check("ErrorResponse", says.openai_error(status))
