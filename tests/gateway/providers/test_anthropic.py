"""Anthropic: chat's words in, messages on the wire, chat's words back (how: see `dialects`)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from membrain import sse
from membrain.dialects.base import Chunk
from membrain.egress import Egress, Limits
from membrain.errors import BadRequest, ProviderFailed
from membrain.providers import registry as make
from membrain.providers.anthropic import AnthropicProvider
from membrain.providers.base import DIRECT, Ask
from tests.fakes import ask, said
from tests.sink import Reply, Sink

pytestmark = pytest.mark.anyio
EVENTS = {"content-type": "text/event-stream"}


@pytest.fixture
async def provider(sink: Sink) -> AsyncIterator[AnthropicProvider]:
    egress = Egress(Limits(idle=0.3))
    yield make.anthropic(egress, "sk-ant-canary-0123456789", sink.url)
    await egress.close()


async def answered(provider: AnthropicProvider, question: Ask) -> list[Chunk]:
    return [chunk async for chunk in provider.spoken(question)]


async def test_the_key_and_the_version_are_sent_as_anthropic_wants_them(
    provider: AnthropicProvider, sink: Sink
) -> None:
    await answered(provider, ask(model="claude-x"))
    seen = sink.requests[0]
    assert seen.path == "/v1/messages"
    assert seen.header["x-api-key"] == "sk-ant-canary-0123456789"
    assert seen.header["anthropic-version"] == "2023-06-01"
    assert "authorization" not in seen.header


async def test_a_request_is_translated_once(provider: AnthropicProvider, sink: Sink) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    await answered(provider, ask(model="claude-x", messages=messages, stream=True, max_tokens=7))
    sent = sink.requests[0].json()
    assert (sent["model"], sent["max_tokens"], sent["stream"]) == ("claude-x", 7, True)
    assert "stream_options" not in sent
    assert "Be brief." in json.dumps(sent["system"])
    assert [each["role"] for each in sent["messages"]] == ["user"]


async def test_the_documented_default_of_max_tokens(provider: AnthropicProvider, sink: Sink) -> None:
    await answered(provider, ask(model="claude-x"))
    assert sink.requests[0].json()["max_tokens"] == 4096


async def test_what_cannot_be_translated_is_refused_before_it_leaves(provider: AnthropicProvider, sink: Sink) -> None:
    with pytest.raises(BadRequest):
        await answered(provider, ask(model="claude-x", n=3))
    assert not sink.requests


@pytest.mark.parametrize(("name", "goes"), [("anthropic-beta", True), ("openai-beta", False), ("cookie", False)])
async def test_only_headers_anthropic_knows_go_along(
    provider: AnthropicProvider, sink: Sink, name: str, goes: bool
) -> None:
    await answered(provider, Ask(said(), "claude-x", DIRECT, {name: "canary-header"}))
    assert (b"canary-header" in sink.bytes_seen()) is goes


@pytest.mark.parametrize("stream", [False, True])
async def test_cached_tokens_are_counted_among_the_prompts(
    provider: AnthropicProvider, sink: Sink, stream: bool
) -> None:
    """Anthropic leaves them out of `input_tokens`; whoever pays for them wants them in."""
    usage = {"input_tokens": 5, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 10, "output_tokens": 3}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "claude-x-2", "content": [], "usage": usage}
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": message},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ]
    raw = [f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events]
    whole = Reply(body={**message, "stop_reason": "end_turn"})
    sink.script("/v1/messages", Reply(chunks=raw, headers=EVENTS) if stream else whole)
    given = await answered(provider, ask(model="claude-x", stream=stream))
    tokens = next(chunk.tokens for chunk in given if chunk.tokens)
    assert (tokens.prompt, tokens.completion, tokens.cached) == (115, 3, 100)


async def test_what_comes_after_the_last_event_is_not_waited_for(provider: AnthropicProvider, sink: Sink) -> None:
    """The answer is over when Anthropic says so, not when the connection is."""
    head = {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": [], "usage": {}}
    events: list[dict[str, object]] = [{"type": "message_start", "message": head}, {"type": "message_stop"}]
    raw = [f"data: {json.dumps(each)}\n\n".encode() for each in events]
    sink.script("/v1/messages", Reply(chunks=[*raw, b": later\n\n"], headers=EVENTS, pause=0.2))
    given = await answered(provider, ask(model="claude-x", stream=True))
    finishes = [json.loads(event.data)["choices"] for chunk in given for event in sse.parse(chunk.raw)]
    assert finishes[-1][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "chunk",
    [
        b"data: not json\n\n",
        b"data: []\n\n",
        b'data: {"type":"message_start"}\n\n',
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}\n\n',
    ],
)
async def test_events_that_cannot_be_read_are_a_failure(provider: AnthropicProvider, sink: Sink, chunk: bytes) -> None:
    sink.script("/v1/messages", Reply(chunks=[chunk], headers=EVENTS))
    with pytest.raises(ProviderFailed):
        await answered(provider, ask(model="claude-x", stream=True))


async def test_models_are_asked_for_with_the_key(provider: AnthropicProvider, sink: Sink) -> None:
    assert await provider.models() == ["gpt-4o-mini", "echo"]
    assert sink.requests[0].header["x-api-key"] == "sk-ant-canary-0123456789"
