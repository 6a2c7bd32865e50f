"""One variable points each package at the gateway: no address, and no key, in the code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anthropic
import openai
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic_ai import Agent

from tests.clients.conftest import Way

pytestmark = pytest.mark.anyio

HELLO = [{"role": "user", "content": "Hello"}]
CLAUDE = "claude-sonnet-4-6"


@pytest.fixture
def pointed(through: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that `membrain env` makes."""
    for name, value in through.environ.items():
        monkeypatch.setenv(name, value)


async def by_openai() -> str:
    async with openai.AsyncOpenAI() as ai:
        return (await ai.responses.create(model="gpt-4o", input="Hello")).output_text


async def by_anthropic() -> str:
    async with anthropic.AsyncAnthropic() as ai:
        return (await ai.messages.create(model=CLAUDE, max_tokens=10, messages=HELLO)).content[0].text


async def by_langchains_openai() -> str:
    return ChatOpenAI(model="gpt-4o").invoke("Hello").text


async def by_langchains_anthropic() -> str:
    return ChatAnthropic(model=CLAUDE).invoke("Hello").text


async def by_pydantic_ai_and_openai() -> str:
    async with Agent("openai:gpt-4o") as agent:
        return (await agent.run("Hello")).output


async def by_pydantic_ai_and_openais_chat() -> str:
    async with Agent("openai-chat:gpt-4o") as agent:
        return (await agent.run("Hello")).output


async def by_pydantic_ai_and_anthropic() -> str:
    async with Agent(f"anthropic:{CLAUDE}") as agent:
        return (await agent.run("Hello")).output


@pytest.mark.parametrize(
    "ask",
    [
        by_openai,
        by_anthropic,
        by_langchains_openai,
        by_langchains_anthropic,
        by_pydantic_ai_and_openai,
        by_pydantic_ai_and_openais_chat,
        by_pydantic_ai_and_anthropic,
    ],
)
async def test_the_environment_is_enough(pointed: None, ask: Callable[[], Awaitable[str]]) -> None:
    assert await ask() == "You said: Hello"


async def test_langchains_embeddings_read_it_too(pointed: None) -> None:
    assert len(OpenAIEmbeddings(check_embedding_ctx_length=False).embed_query("Hello")) == 8
