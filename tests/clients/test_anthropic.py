"""Anthropic's Python package, straight and through the gateway."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import BaseModel, TypeAdapter

from tests.clients.conftest import EMAIL, Both, Way
from tests.clients.upstream import Upstream
from tests.clients.wanted import SIGNATURE, THOUGHT
from tests.served import Served


def tool(name: str) -> Any:
    """A tool with one string."""
    schema = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
    return {"name": name, "description": f"Will {name}.", "input_schema": schema}


TOOLS = [tool("write"), tool("call")]
EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
THINKING = {"type": "enabled", "budget_tokens": 1024}


class Person(BaseModel):
    """What structured output is parsed into."""

    email: str
    age: int


def asks(text: str, model: str = "claude-sonnet-4-6", **more: Any) -> Any:
    """A request for a message."""
    return {"model": model, "max_tokens": 2000, "messages": [{"role": "user", "content": text}], **more}


def client(way: Way, retries: int = 0) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=way.url, api_key=way.key, max_retries=retries)


def test_a_whole_answer_is_the_same(both: Both) -> None:
    def run(way: Way) -> Any:
        system = [{"type": "text", "text": f"You work for {EMAIL}.", "cache_control": {"type": "ephemeral"}}]
        with client(way) as ai:
            return ai.messages.create(**asks(f"Write to {EMAIL}", system=system)).model_dump()

    assert both(run)["content"][0]["text"] == f"You said: Write to {EMAIL}"


def test_the_token_that_claude_code_sends_is_taken(through: Way) -> None:
    with anthropic.Anthropic(base_url=through.url, auth_token=through.key, api_key=None, max_retries=0) as ai:
        assert ai.messages.create(**asks("Hello")).stop_reason == "end_turn"


def test_a_stream_with_nothing_masked_is_the_same_event_by_event(both: Both) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai, ai.messages.create(**asks("Hello there"), stream=True) as stream:
            return [event.model_dump() for event in stream]

    kinds = [event["type"] for event in both(run)]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


def test_the_streaming_helper_gives_the_same_text_and_message(both: Both) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai, ai.messages.stream(**asks(f"Write to {EMAIL}")) as stream:
            text = "".join(stream.text_stream)
            return text, stream.get_final_message().model_dump()

    assert both(run)[0] == f"You said: Write to {EMAIL}"


def test_parallel_tools_whole_and_streamed(both: Both) -> None:
    def run(way: Way) -> Any:
        asked = asks(f"Use every tool for {EMAIL}", tools=TOOLS)
        with client(way) as ai:
            whole = ai.messages.create(**asked).model_dump()
            with ai.messages.stream(**asked) as stream:
                json = "".join(event.partial_json for event in stream if event.type == "input_json")
                return whole, stream.get_final_message().model_dump(), json

    whole, streamed, json = both(run)
    assert [block["name"] for block in whole["content"]] == ["write", "call"]
    assert [block["input"] for block in streamed["content"]] == [{"to": EMAIL}] * 2
    assert json.count(EMAIL) == 2


def test_a_tools_result_is_read(both: Both) -> None:
    def run(way: Way) -> Any:
        asked = asks(f"Write to {EMAIL}", tools=TOOLS)
        with client(way) as ai:
            first = ai.messages.create(**asked)
            result = {"type": "tool_result", "tool_use_id": first.content[0].id, "content": f"sent to {EMAIL}"}
            turns = [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
            return ai.messages.create(**{**asked, "messages": [*asked["messages"], *turns]}).content[0].text

    assert both(run) == f"The tool says: sent to {EMAIL}"


def test_a_signed_thought_comes_and_goes_back_as_it_was_signed(both: Both, upstream: Upstream) -> None:
    def run(way: Way) -> Any:
        asked = asks(f"Write to {EMAIL}", thinking=THINKING)
        with client(way) as ai:
            with ai.messages.stream(**asked) as stream:
                first = stream.get_final_message()
            assert [block.to_dict() for block in ai.messages.create(**asked).content] == [
                block.to_dict() for block in first.content
            ]
            turns = [{"role": "assistant", "content": first.content}, {"role": "user", "content": "Again"}]
            ai.messages.create(**{**asked, "messages": [*asked["messages"], *turns]})
        return first.content[0].model_dump(), upstream.seen[-1].json()["messages"][1]["content"][0]

    got, sent = both(run)
    assert got == sent == {"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE}


def test_structured_output_is_parsed(both: Both) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai:
            return ai.messages.parse(**asks(f"Who is {EMAIL}", output_format=Person)).parsed_output

    assert both(run) == Person(email=EMAIL, age=36)


def test_betas_go_through_as_they_are(both: Both, upstream: Upstream) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai:
            query = {"beta": "true"}  # as Claude Code asks
            answer = ai.beta.messages.create(**asks(f"Write to {EMAIL}"), betas=["a-2026-01-01"], extra_query=query)
        seen = upstream.seen[-1]
        return answer.model_dump(), seen.path, seen.headers["anthropic-beta"], seen.headers["anthropic-version"]

    assert both(run)[1] == "/v1/messages?beta=true"


def test_tokens_are_counted(both: Both) -> None:
    def run(way: Way) -> Any:
        asked = asks(f"Write to {EMAIL}", tools=TOOLS)
        del asked["max_tokens"]
        with client(way) as ai:
            return ai.messages.count_tokens(**asked).input_tokens

    assert both(run) == 17


def test_raw_and_streaming_responses(both: Both) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai:
            raw = ai.messages.with_raw_response.create(**asks(f"Write to {EMAIL}"))
            assert raw.headers["request-id"]
            with ai.messages.with_streaming_response.create(**asks("Hello"), stream=True) as streamed:
                lines = list(streamed.iter_lines())
            return raw.status_code, raw.http_response.content, lines

    assert both(run)[2][0] == "event: message_start"


@pytest.mark.anyio
async def test_the_async_client_gets_the_same(both: Both) -> None:
    async def run(way: Way) -> Any:
        async with anthropic.AsyncAnthropic(base_url=way.url, api_key=way.key, max_retries=0) as ai:
            whole = await ai.messages.create(**asks(f"Write to {EMAIL}", thinking=THINKING))
            async with ai.messages.stream(**asks(f"Write to {EMAIL}", tools=TOOLS)) as stream:
                final = await stream.get_final_message()
            async with ai.messages.stream(**asks(f"Write to {EMAIL}")) as stream:
                text = "".join([piece async for piece in stream.text_stream])
            return whole.model_dump(), final.model_dump(), text

    assert (await both.wait(run))[2] == f"You said: Write to {EMAIL}"


def test_models_are_listed_in_its_own_shape(through: Way) -> None:
    with client(through) as ai:
        models = list(ai.models.list())
        assert {model.type for model in models} == {"model"}
        assert "claude-sonnet-4-6" in {model.id for model in models}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, anthropic.BadRequestError),
        (404, anthropic.NotFoundError),
        (413, anthropic.RequestTooLargeError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.OverloadedError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_keep_their_class_and_their_type(
    both: Both, status: int, error: type[anthropic.APIStatusError], stream: bool
) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai, pytest.raises(error) as caught:
            ai.messages.create(**asks(f"status {status}"), stream=stream)
        return caught.value.status_code, caught.value.body["error"]["type"]

    assert both(run)[0] == status


def test_a_wrong_key_is_an_authentication_error_in_its_shape(through: Way) -> None:
    wrong = Way(through.url, "ck_live_wrong")
    with client(wrong) as ai, pytest.raises(anthropic.AuthenticationError) as caught:
        ai.messages.create(**asks("Hello"))
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == "authentication_error"


@pytest.mark.parametrize(("trouble", "requests"), [("status 529 once", 2), ("status 429 twice", 3)])
def test_its_own_retries_work(both: Both, upstream: Upstream, trouble: str, requests: int) -> None:
    def run(way: Way) -> Any:
        before = len(upstream.seen)
        with client(way, retries=2) as ai:
            ai.messages.create(**asks(trouble))
        return len(upstream.seen) - before

    assert both(run) == requests


# --- before OpenAI -----------------------------------------------------------------------------------------------


def test_gpt_answers_in_messages(through: Way) -> None:
    with client(through) as ai:
        whole = ai.messages.create(**asks(f"Write to {EMAIL}", "gpt-4o"))
        with ai.messages.stream(**asks(f"Write to {EMAIL}", "gpt-4o")) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
    assert whole.content[0].text == text == f"You said: Write to {EMAIL}"
    assert whole.stop_reason == final.stop_reason == "end_turn"
    for usage in (whole.usage, final.usage):
        assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (17, 4, 13)


def test_gpt_calls_tools_in_messages(through: Way) -> None:
    asked = asks(f"Use every tool for {EMAIL}", "gpt-4o", tools=TOOLS)
    with client(through) as ai:
        whole = ai.messages.create(**asked)
        with ai.messages.stream(**asked) as stream:
            streamed = stream.get_final_message()
    for message in (whole, streamed):
        assert message.stop_reason == "tool_use"
        calls = [block for block in message.content if block.type == "tool_use"]
        assert [(call.name, call.input) for call in calls] == [("write", {"to": EMAIL}), ("call", {"to": EMAIL})]


def test_gpt_reads_a_tools_result_in_messages(through: Way) -> None:
    asked = asks(f"Write to {EMAIL}", "gpt-4o", tools=TOOLS)
    with client(through) as ai:
        first = ai.messages.create(**asked)
        call = next(block for block in first.content if block.type == "tool_use")
        result = {"type": "tool_result", "tool_use_id": call.id, "content": f"sent to {EMAIL}"}
        turns = [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
        answer = ai.messages.create(**{**asked, "messages": [*asked["messages"], *turns]})
    assert answer.content[0].text == f"The tool says: sent to {EMAIL}"


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5-codex", "chatty/tiny"])
@pytest.mark.parametrize("text", [f"Use every tool for {EMAIL}", "This is cut off"])
@pytest.mark.parametrize("how", [{}, {"tools": TOOLS}, {"thinking": THINKING}])
def test_all_that_is_composed_for_it_has_its_published_types(
    gateway: Served, model: str, text: str, how: dict[str, Any]
) -> None:
    whole = gateway.post("/v1/messages", asks(text, model, **how))
    assert whole.status == 200, whole.body
    Message.model_validate(whole.json(), strict=True)
    streamed = gateway.post("/v1/messages", asks(text, model, stream=True, **how)).body.decode()
    frames = [frame.split("\n") for frame in streamed.removesuffix("\n\n").split("\n\n")]
    events = [json.loads(data.removeprefix("data: ")) for _, data in frames]
    assert [name.removeprefix("event: ") for name, _ in frames] == [event["type"] for event in events]
    for event in events:
        if event["type"] != "ping":
            EVENT.validate_python(event, strict=True)
    assert events[-2]["delta"]["stop_reason"] == whole.json()["stop_reason"]
