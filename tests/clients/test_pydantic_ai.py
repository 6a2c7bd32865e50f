"""pydantic-ai over OpenAI chat, OpenAI responses and Anthropic, straight and through the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from tests.clients.conftest import EMAIL, Both, Way

pytestmark = pytest.mark.anyio


class Person(BaseModel):
    """Somebody."""

    email: str
    age: int


@asynccontextmanager
async def chat(way: Way) -> AsyncIterator[Model]:
    async with openai.AsyncOpenAI(base_url=way.v1, api_key=way.key, max_retries=0) as ai:
        yield OpenAIChatModel("gpt-4o", provider=OpenAIProvider(openai_client=ai))


@asynccontextmanager
async def responses(way: Way) -> AsyncIterator[Model]:
    async with openai.AsyncOpenAI(base_url=way.v1, api_key=way.key, max_retries=0) as ai:
        yield OpenAIResponsesModel("gpt-4o", provider=OpenAIProvider(openai_client=ai))


@asynccontextmanager
async def messages(way: Way) -> AsyncIterator[Model]:
    async with anthropic.AsyncAnthropic(base_url=way.url, api_key=way.key, max_retries=0) as ai:
        yield AnthropicModel("claude-sonnet-4-6", provider=AnthropicProvider(anthropic_client=ai))


MODELS = pytest.mark.parametrize("speaking", [chat, responses, messages])


@MODELS
async def test_an_answer_and_its_usage(both: Both, speaking: Any) -> None:
    async def run(way: Way) -> Any:
        async with speaking(way) as model:
            result = await Agent(model, instructions=f"You work for {EMAIL}.").run(f"Write to {EMAIL}")
        return result.output, result.usage

    text, _ = await both.wait(run)
    assert text == f"You said: Write to {EMAIL}"


@MODELS
async def test_a_stream(both: Both, speaking: Any) -> None:
    async def run(way: Way) -> Any:
        async with speaking(way) as model, Agent(model).run_stream(f"Write to {EMAIL}") as stream:
            return "".join([piece async for piece in stream.stream_text(delta=True, debounce_by=None)])

    assert await both.wait(run) == f"You said: Write to {EMAIL}"


@MODELS
async def test_tools_and_an_output_type(both: Both, speaking: Any) -> None:
    async def run(way: Way) -> Any:
        told = []

        def write(to: str) -> str:
            """Write to somebody."""
            told.append(to)
            return f"sent to {to}"

        async with speaking(way) as model:
            result = await Agent(model, output_type=Person, tools=[write]).run(f"Write to {EMAIL}")
        return told, result.output

    assert await both.wait(run) == ([EMAIL], Person(email=EMAIL, age=36))


@MODELS
async def test_a_streamed_output_type(both: Both, speaking: Any) -> None:
    async def run(way: Way) -> Any:
        agent: Agent[None, Person] = Agent(output_type=Person)
        async with speaking(way) as model, agent.run_stream(f"Who is {EMAIL}", model=model) as stream:
            return await stream.get_output()

    assert await both.wait(run) == Person(email=EMAIL, age=36)
