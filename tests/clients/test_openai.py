"""OpenAI's Python package: chat completions and the smaller routes, straight and through the gateway."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.clients.conftest import EMAIL, Both, Way
from tests.clients.upstream import Upstream

CLAUDE = "claude-sonnet-4-6"


def tool(name: str) -> Any:
    """A function with one string."""
    schema = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
    return {
        "type": "function",
        "function": {"name": name, "description": f"Will {name}.", "parameters": schema, "strict": True},
    }


TOOLS = [tool("write"), tool("call")]


class Person(BaseModel):
    """What structured output is parsed into."""

    email: str
    age: int


def asks(text: str, model: str = "gpt-4o", **more: Any) -> Any:
    """A chat request."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def client(way: Way, retries: int = 0) -> openai.OpenAI:
    return openai.OpenAI(base_url=way.v1, api_key=way.key, max_retries=retries)


def waiting(way: Way) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=way.v1, api_key=way.key, max_retries=0)


def test_a_whole_answer_is_the_same(both: Both) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai:
            return ai.chat.completions.create(**asks(f"Write to {EMAIL}")).model_dump()

    assert both(run)["choices"][0]["message"]["content"] == f"You said: Write to {EMAIL}"


def test_a_stream_with_nothing_masked_is_the_same_piece_by_piece(both: Both) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai, ai.chat.completions.create(**asks("Hello there", stream=True)) as stream:
            return [piece.model_dump() for piece in stream]

    assert len(both(run)) > 4


def test_a_streams_text_is_the_same_where_a_value_was_masked(both: Both) -> None:
    def run(way: Way) -> Any:
        options = {"stream": True, "stream_options": {"include_usage": True}}
        with client(way) as ai, ai.chat.completions.create(**asks(f"Write to {EMAIL}"), **options) as stream:
            pieces = list(stream)
        text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        return text, pieces[-1].usage.model_dump(), [p.choices[0].finish_reason for p in pieces if p.choices][-1]

    assert both(run)[0] == f"You said: Write to {EMAIL}"


@pytest.mark.parametrize("text", [f"Write to {EMAIL}", f"Use every tool for {EMAIL}"])
def test_the_streaming_helper_ends_with_the_same_answer(both: Both, text: str) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai, ai.chat.completions.stream(**asks(text, tools=TOOLS)) as stream:
            kinds = {event.type for event in stream}
            return kinds, stream.get_final_completion().model_dump()

    kinds, answer = both(run)
    assert "tool_calls.function.arguments.done" in kinds
    assert EMAIL in answer["choices"][0]["message"]["tool_calls"][-1]["function"]["arguments"]


def test_the_streaming_helper_parses(both: Both) -> None:
    def run(way: Way) -> Any:
        asked = asks(f"Who is {EMAIL}", response_format=Person)
        with client(way) as ai, ai.chat.completions.stream(**asked) as stream:
            return stream.get_final_completion().choices[0].message.parsed

    assert both(run) == Person(email=EMAIL, age=36)


def test_parallel_calls_keep_their_order_and_their_arguments(both: Both) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai:
            return ai.chat.completions.create(**asks(f"Use every tool for {EMAIL}", tools=TOOLS)).model_dump()

    calls = both(run)["choices"][0]["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["write", "call"]
    assert all(EMAIL in call["function"]["arguments"] for call in calls)


def test_a_tools_result_is_read(both: Both) -> None:
    def run(way: Way) -> Any:
        asked = asks(f"Write to {EMAIL}", tools=TOOLS)
        with client(way) as ai:
            first = ai.chat.completions.create(**asked).choices[0].message
            result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": f"sent to {EMAIL}"}
            messages = [*asked["messages"], first.model_dump(exclude_none=True), result]
            return ai.chat.completions.create(**{**asked, "messages": messages}).choices[0].message.content

    assert both(run) == f"The tool says: sent to {EMAIL}"


def test_structured_output_is_parsed(both: Both) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai:
            return (
                ai.chat.completions.parse(**asks(f"Who is {EMAIL}", response_format=Person)).choices[0].message.parsed
            )

    assert both(run) == Person(email=EMAIL, age=36)


def test_raw_and_streaming_responses(both: Both) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai:
            raw = ai.chat.completions.with_raw_response.create(**asks(f"Write to {EMAIL}"))
            assert raw.headers["x-request-id"]
            with ai.chat.completions.with_streaming_response.create(**asks("Hello", stream=True)) as streamed:
                lines = list(streamed.iter_lines())
            return raw.status_code, raw.http_response.content, raw.parse().model_dump(), lines

    assert both(run)[3][-2] == "data: [DONE]"


@pytest.mark.anyio
async def test_the_async_client_gets_the_same(both: Both) -> None:
    async def run(way: Way) -> Any:
        async with waiting(way) as ai:
            whole = await ai.chat.completions.create(**asks(f"Write to {EMAIL}"))
            stream = await ai.chat.completions.create(**asks(f"Write to {EMAIL}", stream=True))
            text = "".join([piece.choices[0].delta.content or "" async for piece in stream])
            async with ai.chat.completions.stream(**asks(f"Write to {EMAIL}", tools=TOOLS)) as helper:
                final = await helper.get_final_completion()
            parsed = await ai.chat.completions.parse(**asks(f"Who is {EMAIL}", response_format=Person))
            person = parsed.choices[0].message.parsed
            vectors = await ai.embeddings.create(model="text-embedding-3-small", input=EMAIL)
            return [whole.model_dump(), text, final.model_dump(), person, vectors.model_dump()]

    assert (await both.wait(run))[1] == f"You said: Write to {EMAIL}"


def test_completions_whole_and_streamed(both: Both) -> None:
    def run(way: Way) -> Any:
        asked: Any = {"model": "gpt-3.5-turbo-instruct", "prompt": f"Dear {EMAIL}"}
        with client(way) as ai:
            whole = ai.completions.create(**asked).model_dump()
            pieces = list(ai.completions.create(**asked, stream=True))
            return whole, "".join(piece.choices[0].text for piece in pieces), pieces[-1].choices[0].finish_reason

    whole, text, why = both(run)
    assert whole["choices"][0]["text"] == text == f"You said: Dear {EMAIL}"
    assert why == "stop"


@pytest.mark.parametrize("how", [{}, {"encoding_format": "float"}, {"dimensions": 4}])
def test_embeddings_as_numbers_and_as_base64(both: Both, how: Any) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai:
            asked = {"model": "text-embedding-3-small", "input": [EMAIL, "other"], **how}
            return ai.embeddings.create(**asked).model_dump()

    vectors = [entry["embedding"] for entry in both(run)["data"]]
    assert [len(vector) for vector in vectors] == [how.get("dimensions", 8)] * 2
    assert vectors[0][0] == 0.5


def test_moderations(both: Both) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai:
            return ai.moderations.create(model="omni-moderation-latest", input=f"Hello {EMAIL}").model_dump()

    assert both(run)["results"][0]["flagged"] is False


def test_models_are_listed_and_found(through: Way) -> None:
    with client(through) as ai:
        assert {"gpt-4o", CLAUDE} <= {model.id for model in ai.models.list()}
        assert ai.models.retrieve("gpt-4o").id == "gpt-4o"
        with pytest.raises(openai.NotFoundError):
            ai.models.retrieve("no/such/model")


@pytest.mark.parametrize(("trouble", "requests"), [("status 500 once", 2), ("status 429 twice", 3)])
@pytest.mark.parametrize("stream", [False, True])
def test_its_own_retries_work(both: Both, upstream: Upstream, trouble: str, requests: int, stream: bool) -> None:
    asked = asks(f"{trouble} {stream}", stream=stream)

    def run(way: Way) -> Any:
        before = len(upstream.seen)
        with client(way, retries=2) as ai:
            ai.chat.completions.create(**asked)
        return len(upstream.seen) - before

    assert both(run) == requests


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_keep_their_class_and_their_code(both: Both, status: int, error: type[Exception], stream: bool) -> None:
    def run(way: Way) -> Any:
        with client(way) as ai, pytest.raises(error) as caught:
            ai.chat.completions.create(**asks(f"status {status}", stream=stream))
        # Where the provider gave no code, the gateway says that the failure is not its own.
        return caught.value.status_code, caught.value.type, caught.value.code or "provider_failed"

    assert both(run)[0] == status


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_the_provider_refuses_is_the_gateways_trouble(through: Way, status: int) -> None:
    """The caller's own key was right, so it must not be told to change it."""
    with client(through) as ai, pytest.raises(openai.InternalServerError) as caught:
        ai.chat.completions.create(**asks(f"status {status}"))
    assert caught.value.status_code == 502
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_wrong_key_is_an_authentication_error(through: Way) -> None:
    with openai.OpenAI(base_url=through.v1, api_key="ck_live_wrong", max_retries=0) as ai:
        with pytest.raises(openai.AuthenticationError):
            ai.chat.completions.create(**asks("Hello"))
        with pytest.raises(openai.AuthenticationError):
            ai.embeddings.create(model="text-embedding-3-small", input="Hello")


# --- before Anthropic --------------------------------------------------------------------------------------------


def test_claude_answers_in_chat(through: Way) -> None:
    with client(through) as ai:
        answer = ai.chat.completions.create(**asks(f"Write to {EMAIL}", CLAUDE))
        assert answer.choices[0].message.content == f"You said: Write to {EMAIL}"
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (21, 13)
        with ai.chat.completions.stream(**asks(f"Write to {EMAIL}", CLAUDE)) as stream:
            text = "".join(event.delta for event in stream if event.type == "content.delta")
        assert text == f"You said: Write to {EMAIL}"


def test_claude_calls_tools_in_chat(through: Way) -> None:
    asked = asks(f"Use every tool for {EMAIL}", CLAUDE, tools=TOOLS)
    with client(through) as ai, ai.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion().choices[0]
        whole = ai.chat.completions.create(**asked).choices[0]
    for choice in (whole, streamed):
        assert choice.finish_reason == "tool_calls"
        assert [call.function.name for call in choice.message.tool_calls] == ["write", "call"]
        assert all(EMAIL in call.function.arguments for call in choice.message.tool_calls)


def test_claude_fills_a_schema_in_chat(through: Way) -> None:
    with client(through) as ai:
        answer = ai.chat.completions.parse(**asks(f"Who is {EMAIL}", CLAUDE, response_format=Person))
    assert answer.choices[0].message.parsed == Person(email=EMAIL, age=36)
