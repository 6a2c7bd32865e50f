"""OpenAI's Python package: responses, straight and through the gateway."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.clients.conftest import EMAIL, Both, Way
from tests.clients.upstream import Upstream
from tests.clients.wanted import SIGNATURE, THOUGHT

CLAUDE = "claude-sonnet-4-6"


def tool(name: str) -> Any:
    """A function with one string."""
    schema = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
    schema["additionalProperties"] = False
    return {"type": "function", "name": name, "description": f"Will {name}.", "parameters": schema, "strict": True}


TOOLS = [tool("write"), tool("call")]


class Person(BaseModel):
    """What structured output is parsed into."""

    email: str
    age: int


def asks(text: str, model: str = "gpt-4o", **more: Any) -> Any:
    """A request for a response."""
    return {"model": model, "input": text, **more}


def client(way: Way) -> openai.OpenAI:
    return openai.OpenAI(base_url=way.v1, api_key=way.key, max_retries=0)


def test_a_whole_answer_is_the_same(both: Both) -> None:
    def run(way: Way) -> Any:
        asked = asks(f"Write to {EMAIL}", instructions=f"You work for {EMAIL}.", metadata={"for": "test"})
        with client(way) as ai:
            answer = ai.responses.create(**asked)
            return answer.output_text, answer.model_dump()

    text, answer = both(run)
    assert text == f"You said: Write to {EMAIL}"
    assert answer["instructions"] == f"You work for {EMAIL}."


def test_a_stream_with_nothing_masked_is_the_same_event_by_event(both: Both) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai, ai.responses.create(**asks("Hello there", stream=True)) as stream:
            return [event.model_dump() for event in stream]

    kinds = [event["type"] for event in both(run)]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")


@pytest.mark.parametrize("how", [{}, {"tools": TOOLS}, {"reasoning": {"effort": "low", "summary": "auto"}}])
def test_every_event_of_a_stream_has_the_values_back(both: Both, how: Any) -> None:
    def run(way: Way) -> Any:
        with (
            client(way) as ai,
            ai.responses.create(**asks(f"Use every tool for {EMAIL}", **how), stream=True) as stream,
        ):
            events = list(stream)
        deltas: dict[str, str] = {}
        for event in events:
            if event.type.endswith(".delta"):
                key = f"{event.type} {event.output_index}"
                deltas[key] = deltas.get(key, "") + event.delta
        ended = [event.model_dump(exclude={"sequence_number"}) for event in events if not event.type.endswith(".delta")]
        return deltas, ended

    deltas, _ = both(run)
    assert any(EMAIL in text for text in deltas.values())


def test_the_streaming_helper_ends_with_the_same_answer(both: Both) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai, ai.responses.stream(**asks(f"Use every tool for {EMAIL}", tools=TOOLS)) as stream:
            kinds = {event.type for event in stream}
            return kinds, stream.get_final_response().model_dump(warnings=False)

    kinds, answer = both(run)
    assert "response.function_call_arguments.done" in kinds
    assert [item["name"] for item in answer["output"]] == ["write", "call"]


def test_structured_output_is_parsed_whole_and_streamed(both: Both) -> None:
    def run(way: Way) -> Any:
        asked = asks(f"Who is {EMAIL}", text_format=Person)
        with client(way) as ai:
            whole = ai.responses.parse(**asked).output_parsed
            with ai.responses.stream(**asked) as stream:
                return whole, stream.get_final_response().output_parsed

    assert both(run) == (Person(email=EMAIL, age=36),) * 2


def test_a_tools_result_is_read(both: Both) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai:
            first = ai.responses.create(**asks(f"Write to {EMAIL}", tools=TOOLS))
            call = first.output[0]
            result = {"type": "function_call_output", "call_id": call.call_id, "output": f"sent to {EMAIL}"}
            said = [{"role": "user", "content": f"Write to {EMAIL}"}, call.model_dump(exclude_none=True), result]
            return ai.responses.create(model="gpt-4o", input=said, tools=TOOLS).output_text

    assert both(run) == f"The tool says: sent to {EMAIL}"


def test_a_thought_comes_and_goes_back_as_it_was_sealed(both: Both, upstream: Upstream) -> None:
    def run(way: Way) -> Any:
        how = {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"], "store": False}
        with client(way) as ai:
            first = ai.responses.create(**asks("Think well", **how))
            items = [item.model_dump(exclude_none=True) for item in first.output]
            said = [{"role": "user", "content": "Think well"}, *items, {"role": "user", "content": "Again"}]
            ai.responses.create(model="gpt-4o", input=said, **how)
        return items, upstream.seen[-1].json()["input"]

    items, sent = both(run)
    assert items[0]["encrypted_content"] == SIGNATURE
    assert items[0]["summary"] == [{"type": "summary_text", "text": THOUGHT}]
    assert sent[1] == items[0]


def test_a_stored_response_is_continued_fetched_and_deleted(both: Both) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai:
            first = ai.responses.create(**asks(f"Write to {EMAIL}", tools=TOOLS))
            call = first.output[0].call_id
            result = [{"type": "function_call_output", "call_id": call, "output": "sent"}]
            more = {"tools": TOOLS, "previous_response_id": first.id}
            second = ai.responses.create(model="gpt-4o", input=result, **more)
            fetched = ai.responses.retrieve(second.id)
            ai.responses.delete(second.id)
            with pytest.raises(openai.NotFoundError):
                ai.responses.retrieve(second.id)
            return second.model_dump(), fetched.model_dump()

    second, fetched = both(run)
    assert second == fetched
    assert second["output"][0]["content"][0]["text"] == "The tool says: sent"


def test_an_answer_that_was_cut_off_says_so(both: Both) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai:
            whole = ai.responses.create(**asks("This is cut off"))
            with ai.responses.create(**asks("This is cut off", stream=True)) as stream:
                return whole.status, whole.incomplete_details.reason, [event.type for event in stream][-1]

    assert both(run) == ("incomplete", "max_output_tokens", "response.incomplete")


@pytest.mark.anyio
async def test_the_async_client_gets_the_same(both: Both) -> None:
    async def run(way: Way) -> Any:
        async with openai.AsyncOpenAI(base_url=way.v1, api_key=way.key, max_retries=0) as ai:
            whole = await ai.responses.create(**asks(f"Write to {EMAIL}"))
            async with ai.responses.stream(**asks(f"Write to {EMAIL}", tools=TOOLS)) as stream:
                final = await stream.get_final_response()
            parsed = await ai.responses.parse(**asks(f"Who is {EMAIL}", text_format=Person))
            return whole.model_dump(), final.model_dump(warnings=False), parsed.output_parsed

    assert (await both.wait(run))[2] == Person(email=EMAIL, age=36)


@pytest.mark.parametrize(("status", "error"), [(400, openai.BadRequestError), (429, openai.RateLimitError)])
def test_errors_keep_their_class(both: Both, status: int, error: type[openai.APIStatusError]) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai, pytest.raises(error) as caught:
            ai.responses.create(**asks(f"status {status}", stream=True))
        return caught.value.status_code, caught.value.type

    assert both(run)[0] == status


# --- before Anthropic --------------------------------------------------------------------------------------------


def test_claude_answers_in_responses(through: Way) -> None:
    with client(through) as ai:
        whole = ai.responses.create(**asks(f"Write to {EMAIL}", CLAUDE))
        with ai.responses.stream(**asks(f"Write to {EMAIL}", CLAUDE)) as stream:
            text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
            final = stream.get_final_response()
    assert whole.output_text == final.output_text == text == f"You said: Write to {EMAIL}"
    assert whole.status == final.status == "completed"
    for usage in (whole.usage, final.usage):
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens, usage.input_tokens_details.cached_tokens) == (21, 13, 4)


def test_claude_calls_tools_in_responses(through: Way) -> None:
    asked = asks(f"Use every tool for {EMAIL}", CLAUDE, tools=TOOLS)
    with client(through) as ai, ai.responses.stream(**asked) as stream:
        calls = [item for item in stream.get_final_response().output if item.type == "function_call"]
    assert [call.name for call in calls] == ["write", "call"]
    assert all(EMAIL in call.arguments for call in calls)


def test_claudes_signed_thought_survives_the_round_through_responses(through: Way, upstream: Upstream) -> None:
    how = {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    claude = "claude-opus-4-6"
    with client(through) as ai:
        first = ai.responses.create(**asks("Think well", claude, **how))
        items = [item.model_dump(exclude_none=True) for item in first.output]
        said = [{"role": "user", "content": "Think well"}, *items, {"role": "user", "content": "Again"}]
        ai.responses.create(model=claude, input=said, **how)
    assert items[0]["summary"] == [{"type": "summary_text", "text": THOUGHT}]
    sent = upstream.seen[-1].json()["messages"][1]["content"][0]
    assert sent == {"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE}
