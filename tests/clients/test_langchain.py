"""LangChain's OpenAI and Anthropic packages, straight and through the gateway."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from tests.clients.conftest import EMAIL, Both, Way


@tool
def write(to: str) -> str:
    """Write to somebody."""
    return f"sent to {to}"


class Person(BaseModel):
    """Somebody."""

    email: str
    age: int


def chat(way: Way) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4o", base_url=way.v1, api_key=way.key, max_retries=0, stream_usage=True)


def responses(way: Way) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4o", base_url=way.v1, api_key=way.key, max_retries=0, use_responses_api=True)


def messages(way: Way) -> ChatAnthropic:
    return ChatAnthropic(model="claude-sonnet-4-6", base_url=way.url, api_key=way.key, max_retries=0)


MODELS = pytest.mark.parametrize("model", [chat, responses, messages])


def parts(message: Any) -> Any:
    """What a message says, without the marks that LangChain itself makes up anew each time."""
    said = message.model_dump(exclude={"id"})
    said["response_metadata"].pop("headers", None)
    return said


@MODELS
def test_invoke(both: Both, model: Any) -> None:
    def run(way: Way) -> Any:
        return model(way).invoke(f"Write to {EMAIL}").text

    assert both(run) == f"You said: Write to {EMAIL}"


@MODELS
def test_invoke_gives_the_same_message(both: Both, model: Any) -> None:
    assert both(lambda way: parts(model(way).invoke(f"Write to {EMAIL}")))["usage_metadata"]["output_tokens"] == 13


@MODELS
def test_stream(both: Both, model: Any) -> None:
    def run(way: Way) -> Any:
        pieces = list(model(way).stream(f"Write to {EMAIL}"))
        whole = pieces[0]
        for piece in pieces[1:]:
            whole += piece
        return whole.text, dict(whole.usage_metadata)

    assert both(run)[0] == f"You said: Write to {EMAIL}"


@pytest.mark.anyio
async def test_ainvoke_and_astream(both: Both) -> None:
    """All models in one test: LangChain keeps its connections, which belong to one event loop."""
    for model in (chat, responses, messages):

        async def run(way: Way, model: Any = model) -> Any:
            whole = (await model(way).ainvoke(f"Write to {EMAIL}")).text
            return whole, "".join([piece.text async for piece in model(way).astream(f"Write to {EMAIL}")])

        assert await both.wait(run) == (f"You said: Write to {EMAIL}",) * 2


@MODELS
def test_tools_are_called_and_their_results_read(both: Both, model: Any) -> None:
    def run(way: Way) -> Any:
        able = model(way).bind_tools([write])
        asked = [HumanMessage(f"Write to {EMAIL}")]
        called = able.invoke(asked)
        result = ToolMessage(write.invoke(called.tool_calls[0]["args"]), tool_call_id=called.tool_calls[0]["id"])
        return called.tool_calls, able.invoke([*asked, called, result]).text

    calls, answer = both(run)
    assert calls[0]["args"] == {"to": EMAIL}
    assert answer == f"The tool says: sent to {EMAIL}"


@MODELS
def test_streamed_tool_calls(both: Both, model: Any) -> None:
    def run(way: Way) -> Any:
        pieces = list(model(way).bind_tools([write]).stream(f"Write to {EMAIL}"))
        whole = pieces[0]
        for piece in pieces[1:]:
            whole += piece
        return whole.tool_calls

    assert both(run)[0]["args"] == {"to": EMAIL}


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
@MODELS
def test_structured_output(both: Both, model: Any, method: Any) -> None:
    def run(way: Way) -> Any:
        return model(way).with_structured_output(Person, method=method).invoke(f"Who is {EMAIL}")

    assert both(run) == Person(email=EMAIL, age=36)


def test_embeddings(both: Both) -> None:
    def run(way: Way) -> Any:
        model = OpenAIEmbeddings(base_url=way.v1, api_key=way.key, check_embedding_ctx_length=False)
        return model.embed_documents([f"About {EMAIL}", "other"])

    assert [len(vector) for vector in both(run)] == [8, 8]
