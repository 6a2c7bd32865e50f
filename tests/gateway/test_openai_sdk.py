"""The real `openai` package against a real gateway: it must not notice the difference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.served import Served
from tests.sink import Sink

ASKED: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


class Person(BaseModel):
    """What structured output is parsed into."""

    name: str
    age: int


@pytest.fixture(scope="module")
def key(shared_gateway: Served) -> str:
    """A client key, as `membrain env` exports one."""
    issued: str = shared_gateway.post("/api/keys", {"name": "openai-sdk"}).json()["key"]
    return issued


@pytest.fixture
def client(shared_gateway: Served, key: str) -> Iterator[openai.OpenAI]:
    """The sync client, pointed at the gateway."""
    with openai.OpenAI(base_url=f"{shared_gateway.url}/v1", api_key=key, max_retries=0) as client:
        yield client


def test_a_whole_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**ASKED, temperature=0.5, n=1)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer._request_id


def test_several_choices(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**ASKED, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-20250514", "ollama/llama3"])
def test_a_stream_says_what_the_whole_answer_says(client: openai.OpenAI, model: str) -> None:
    asked = {**ASKED, "model": model}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    pieces = list(client.chat.completions.create(**asked, stream=True))
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == whole
    assert pieces[-1].choices[0].finish_reason == "stop"


def test_usage_comes_with_a_stream_only_if_it_was_asked(client: openai.OpenAI) -> None:
    asked = {**ASKED, "stream": True}
    assert all(piece.choices for piece in client.chat.completions.create(**asked))
    pieces = list(client.chat.completions.create(**asked, stream_options={"include_usage": True}))
    assert pieces[-1].choices == []
    assert pieces[-1].usage is not None


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-20250514"])
def test_tools_are_called_whole_and_streamed(client: openai.OpenAI, model: str) -> None:
    asked = {**ASKED, "model": model, "tools": TOOLS}
    message = client.chat.completions.create(**asked).choices[0].message
    assert message.tool_calls
    call = message.tool_calls[0]
    assert call.type == "function"
    arguments = json.loads(call.function.arguments)
    with client.chat.completions.stream(**asked) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_completion().choices[0].message.tool_calls
    assert streamed
    assert streamed[0].function.name == call.function.name
    assert json.loads(streamed[0].function.arguments) == arguments


def test_a_tools_result_is_taken(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(**ASKED, tools=TOOLS).choices[0].message
    assert first.tool_calls
    result: Any = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "sunny"}
    messages: Any = [*ASKED["messages"], first.model_dump(exclude_none=True), result]
    answer = client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS)
    assert answer.choices[0].message.content


def test_structured_output_is_parsed(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(**ASKED, response_format=Person)
    assert isinstance(answer.choices[0].message.parsed, Person)


@pytest.mark.anyio
async def test_the_async_client_does_the_same(shared_gateway: Served, key: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{shared_gateway.url}/v1", api_key=key, max_retries=0) as client:
        whole = (await client.chat.completions.create(**ASKED)).choices[0].message.content
        stream = await client.chat.completions.create(**ASKED, stream=True)
        assert "".join([piece.choices[0].delta.content or "" async for piece in stream]) == whole
        parsed = await client.chat.completions.parse(**ASKED, response_format=Person)
        assert isinstance(parsed.choices[0].message.parsed, Person)
        called = (await client.chat.completions.create(**ASKED, tools=TOOLS)).choices[0].message
        assert called.tool_calls


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    ids = [model.id for model in client.models.list()]
    assert "auto" in ids
    assert client.models.retrieve("ollama/llama3:latest").owned_by == "ollama"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no/such/model")


def test_its_errors_are_the_ones_it_knows(client: openai.OpenAI, shared_gateway: Served) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="gpt-4o", messages=[])
    assert refused.value.param == "messages"
    with pytest.raises(openai.RateLimitError) as limited:
        client.chat.completions.create(**{**ASKED, "model": "gpt-status-429"})
    assert limited.value.response.headers["retry-after"] == "7"
    with (
        openai.OpenAI(base_url=f"{shared_gateway.url}/v1", api_key="ck_live_wrong", max_retries=0) as wrong,
        pytest.raises(openai.AuthenticationError),
    ):
        wrong.chat.completions.create(**ASKED)


def test_a_stream_that_breaks_raises(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIError):
        for _ in client.chat.completions.create(**{**ASKED, "model": "gpt-reset-mid"}, stream=True):
            pass


def test_what_the_package_sent_is_what_the_upstream_got(served: Served, sink: Sink) -> None:
    """Fields that nobody here knows pass untouched, to the byte."""
    extra = {"x_vendor": {"deep": [1, 2.50, None, "ü"]}, "logprobs": True}
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=_key(served), max_retries=0) as client:
        client.chat.completions.create(**ASKED, extra_body=extra)
    sent = sink.requests[-1].json()
    assert sent == {**ASKED, **extra}
    assert b"ck_live_" not in sink.bytes_seen()


def _key(served: Served) -> str:
    issued: str = served.post("/api/keys", {"name": "sdk"}).json()["key"]
    return issued
