"""OpenAI and whatever speaks like it: bytes go through, and nothing is made of them that was not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from membrain.dialects.base import Chunk
from membrain.dialects.chat import Chat
from membrain.egress import Egress
from membrain.errors import ProviderFailed
from membrain.providers import registry as make
from membrain.providers.base import DIRECT, Ask
from membrain.providers.openai import OpenAIProvider
from tests.fakes import ask, said
from tests.sink import Reply, Sink

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
EVENTS = {"content-type": "text/event-stream; charset=utf-8"}


@pytest.fixture
async def provider(sink: Sink) -> AsyncIterator[OpenAIProvider]:
    egress = Egress()
    yield make.openai(egress, "sk-canary-0123456789", f"{sink.url}/v1")
    await egress.close()


async def answered(provider: OpenAIProvider, question: Ask) -> list[Chunk]:
    return [chunk async for chunk in provider.answer(question)]


async def test_the_callers_bytes_go_through(provider: OpenAIProvider, sink: Sink) -> None:
    sent = b'{ "messages" : [{"role":"user","content":"\\u00e9"}],"model":"gpt-4o","seed":1.0,"x":{"y":[1e2]} }'
    await answered(provider, Ask(Chat().read(sent, depth=9), "gpt-4o", DIRECT))
    assert sink.requests[0].body == sent


async def test_the_upstreams_bytes_come_back(provider: OpenAIProvider, sink: Sink) -> None:
    body = b'{ "choices":[] , "x_unknown":1.0, "model":"gpt-4o-2024-08-06" }'
    sink.script(CHAT, Reply(body=body, headers={"content-type": "application/json"}))
    (chunk,) = await answered(provider, ask())
    assert (chunk.raw, chunk.model, chunk.tokens) == (body, "gpt-4o-2024-08-06", None)


async def test_the_upstreams_events_come_back(provider: OpenAIProvider, sink: Sink) -> None:
    """Comments, names and line ends too; those before the first event come with it."""
    events = [
        b": early\n\n",
        b'data: {"choices":[{"delta":{"content":"a"}}], "x":1.0}\r\n\r\n',
        b": ping\n\n",
        b'event: odd\ndata: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
        b'data: {"choices":"after the end"}\n\n',
    ]
    sink.script(CHAT, Reply(chunks=events, headers=EVENTS, pause=0.02))
    given = await answered(provider, ask(stream=True))
    assert b"".join(chunk.raw for chunk in given) == b"".join(events[:4])


async def test_events_cut_anywhere_come_back_whole(provider: OpenAIProvider, sink: Sink) -> None:
    text = (
        'data: {"choices":[{"delta":{"content":"é😀"}}]}\n\n'
        'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    ).encode()
    for size in (1, 7):
        sink.script(CHAT, Reply(chunks=[text[at : at + size] for at in range(0, len(text), size)], headers=EVENTS))
        given = await answered(provider, ask(stream=True))
        assert b"".join(chunk.raw for chunk in given) == text.removesuffix(b"data: [DONE]\n\n")
        assert all(chunk.raw.endswith(b"\n\n") for chunk in given)


@pytest.mark.parametrize("model", [4, None, ["m"], "a\r\nset-cookie: b", ""])
async def test_a_model_that_cannot_be_one_is_not_believed(provider: OpenAIProvider, sink: Sink, model: object) -> None:
    sink.script(CHAT, Reply(body={"choices": [], "model": model}, headers={"content-type": "application/json"}))
    (chunk,) = await answered(provider, ask())
    assert chunk.model is None


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"error": {"message": "Quota", "code": 402}}, "Quota"),
        ({"error": "Quota", "choices": []}, "Quota"),
        ({"error": {"code": 500}}, "openai answered 502."),
    ],
)
async def test_an_error_under_a_good_status_is_an_error(
    provider: OpenAIProvider, sink: Sink, told: dict[str, Any], sentence: str
) -> None:
    """As some routers report it."""
    sink.script(CHAT, Reply(body=told))
    with pytest.raises(ProviderFailed) as failed:
        await answered(provider, ask())
    assert failed.value.message == sentence


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"{", b"\xff"])
async def test_an_answer_is_a_json_object(provider: OpenAIProvider, sink: Sink, body: bytes) -> None:
    sink.script(CHAT, Reply(body=body, headers={"content-type": "application/json"}))
    with pytest.raises(ProviderFailed, match="openai did not answer in JSON"):
        await answered(provider, ask())


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_of_the_kind_that_was_asked_for(provider: OpenAIProvider, sink: Sink, stream: bool) -> None:
    wrong = "application/json" if stream else "text/event-stream"
    sink.script(CHAT, Reply(body=b"{}", headers={"content-type": wrong}))
    with pytest.raises(ProviderFailed, match="openai answered, but not with"):
        await answered(provider, ask(stream=stream))


async def test_the_last_event_may_lack_its_blank_line(provider: OpenAIProvider, sink: Sink) -> None:
    last = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}'
    sink.script(CHAT, Reply(chunks=[last], headers=EVENTS))
    (chunk,) = await answered(provider, ask(stream=True))
    assert chunk.raw == last + b"\n\n"


@pytest.mark.parametrize(
    ("name", "goes"),
    [
        ("openai-organization", True),
        ("openai-project", True),
        ("openai-beta", True),
        ("idempotency-key", True),
        ("authorization", False),
        ("x-api-key", False),
        ("x-membrain-api-key", False),
        ("x-membrain-user-id", False),
        ("cookie", False),
        ("user-agent", False),
        ("x-stainless-os", False),
        ("x-forwarded-for", False),
        ("host", False),
        ("content-length", False),
    ],
)
async def test_only_headers_the_upstream_knows_go_along(
    provider: OpenAIProvider, sink: Sink, name: str, goes: bool
) -> None:
    await answered(provider, Ask(said(), "gpt-4o", DIRECT, {name: "canary-header"}))
    assert (b"canary-header" in sink.bytes_seen()) is goes


async def test_a_prefix_is_ours_and_not_the_upstreams(sink: Sink) -> None:
    egress = Egress()
    mine = make.compatible(egress, "mine", f"{sink.url}/v1", None, ("echo",))
    await answered(mine, ask(model="mine/mine/x"))
    await answered(mine, ask(model="echo"))
    assert [each.json()["model"] for each in sink.requests] == ["mine/x", "echo"]
    assert "authorization" not in sink.requests[0].header
    assert await mine.models() == ("echo",)
    await egress.close()


@pytest.mark.parametrize("listing", [{}, [], {"data": None}, {"data": [1, {"id": 2}, {"id": "good"}]}, {"data": "x"}])
async def test_an_odd_list_of_models_gives_what_can_be_read(
    provider: OpenAIProvider, sink: Sink, listing: object
) -> None:
    sink.script("/v1/models", Reply(body=listing))
    assert list(await provider.models()) in ([], ["good"])
