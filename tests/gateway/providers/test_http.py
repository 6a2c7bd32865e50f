"""A provider beyond HTTP: the caller's bytes and headers there, the upstream's bytes back, and what broke is broken."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from membrain.dialects.base import Chunk
from membrain.dialects.table import DIALECTS
from membrain.egress import Egress, Limits
from membrain.errors import ProviderFailed
from membrain.providers import registry as make
from membrain.providers.anthropic import AnthropicProvider
from membrain.providers.base import DIRECT, Ask
from membrain.providers.http import spoken_badly
from membrain.providers.openai import OpenAIProvider
from tests.fakes import STREAM_HEAD, in_chunk, raw_server, request_of
from tests.scripts.recorded import SCRIPTS, Script, in_pieces
from tests.sink import Reply, Sink

pytestmark = pytest.mark.anyio
EVENTS = {"content-type": "text/event-stream"}
PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
}


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    egress = Egress(Limits(event_bytes=1 << 16))
    yield egress
    await egress.close()


def provider_at(egress: Egress, dialect: str, url: str) -> OpenAIProvider | AnthropicProvider:
    if dialect == "messages":
        return make.anthropic(egress, "sk-ant-canary-0123456789", url)
    return make.openai(egress, "sk-canary-0123456789", f"{url}/v1")


async def answered(provider: OpenAIProvider | AnthropicProvider, question: Ask) -> list[Chunk]:
    return [chunk async for chunk in provider.answer(question)]


def asking(script: Script, **more: Any) -> Ask:
    return Ask(script.said(**more), "m", DIRECT)


# --- real streams


@pytest.mark.parametrize("script", [each for each in SCRIPTS if each.name in {"tools", "crlf", "short"}], ids=str)
@pytest.mark.parametrize("size", [1, 997])
async def test_a_recorded_stream_comes_through_the_network(
    script: Script, egress: Egress, sink: Sink, size: int
) -> None:
    size = max(size, len(script.raw) // 400)
    sink.script(PATHS[script.dialect], Reply(chunks=in_pieces(script.raw, size), headers=EVENTS))
    question = asking(script, stream_options={"include_usage": True})
    given = await answered(provider_at(egress, script.dialect, sink.url), question)
    end = b"" if given[-1].last else b"data: [DONE]\n\n"
    assert b"".join(chunk.raw for chunk in given) + end == script.raw
    assert [chunk.tokens for chunk in given if chunk.tokens][-1:] == [script.tokens] * (script.tokens is not None)


@pytest.mark.parametrize("dialect", PATHS)
async def test_half_an_event_and_then_a_good_end_of_the_body_is_a_failure(
    dialect: str, egress: Egress, sink: Sink
) -> None:
    """And the half is kept from the caller, whose package would stumble over it before it read of the failure."""
    script = Script(dialect, "short")
    torn = script.raw[: len(script.raw) // 3]
    sink.script(PATHS[dialect], Reply(chunks=[torn], headers=EVENTS))
    given: list[Chunk] = []

    async def take() -> None:
        async for chunk in provider_at(egress, dialect, sink.url).answer(asking(script)):
            given.append(chunk)  # noqa: PERF401  # what came before the failure must be kept

    with pytest.raises(ProviderFailed, match="broke off in the middle"):
        await take()
    assert b"".join(chunk.raw for chunk in given).endswith(b"\n\n") or not given


@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("ends", [b"", b"\n\n"])
async def test_an_event_over_the_cap_is_a_failure_even_as_the_last_one(
    dialect: str, ends: bytes, egress: Egress, sink: Sink
) -> None:
    raw = b"data: " + b"x" * ((1 << 16) - 5) + ends
    sink.script(PATHS[dialect], Reply(chunks=[raw], headers=EVENTS))
    with pytest.raises(ProviderFailed, match="over the cap"):
        await answered(provider_at(egress, dialect, sink.url), asking(Script(dialect, "short")))


@pytest.mark.parametrize("dialect", PATHS)
async def test_after_the_end_nothing_is_waited_for(dialect: str, egress: Egress) -> None:
    """The upstream's connection stays open and silent; the answer is over all the same."""
    script = Script(dialect, "short")

    async def never_ends(reader: Any, writer: Any) -> None:
        await request_of(reader)
        writer.write(STREAM_HEAD + in_chunk(script.raw))
        await writer.drain()
        await reader.read()

    async with raw_server(never_ends) as port:
        provider = provider_at(egress, dialect, f"http://127.0.0.1:{port}")
        given = await answered(provider, asking(script))
    assert given[-1].last or dialect in {"chat", "completions"}


async def test_headers_of_16_kib_and_odd_ones_do_no_harm(egress: Egress) -> None:
    script = Script("chat", "short")
    large = b"".join(b"x-odd-%d: %b\r\n" % (size, b"v" * size) for size in (1, 8 << 10, 16 << 10))

    async def talkative(reader: Any, writer: Any) -> None:
        await request_of(reader)
        head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\n" + large + b"set-cookie: a=b; Path=/\r\nset-cookie: c=d\r\n\r\n")
        writer.write(head + in_chunk(script.raw) + in_chunk(b""))
        await writer.drain()

    async with raw_server(talkative) as port:
        given = await answered(provider_at(egress, "chat", f"http://127.0.0.1:{port}"), asking(script))
    assert given


# --- what is sent


@pytest.mark.parametrize("query", ["", "?beta=true"])
async def test_what_anthropic_goes_by_goes_along(egress: Egress, sink: Sink, query: str) -> None:
    """Versions and betas of the caller's, which ask for fields that are in the body."""
    asked = b'"max_tokens" : 5,"messages":[{"role":"user","content":"\\u00e9"}]'
    body = b'{ "model":"m", ' + asked + b',"context_management":{"edits":[]} }'
    headers = {"anthropic-beta": "a-2025-01-01,b-2025-02-02", "anthropic-version": "2024-10-22", "x-app": "cli"}
    said = DIALECTS["messages"].read(body, depth=9)
    await answered(provider_at(egress, "messages", sink.url), Ask(said, "m", DIRECT, headers, query=query))
    (seen,) = sink.requests
    assert (seen.path, seen.body) == (f"/v1/messages{query}", body)
    assert {name: seen.header.get(name) for name in headers} == {**headers, "x-app": None}
    assert [name for name, _ in seen.headers].count(b"anthropic-version") == 1


@pytest.mark.parametrize("dialect", ["chat", "completions"])
async def test_a_streams_usage_is_asked_for_and_nothing_else_is_changed(
    dialect: str, egress: Egress, sink: Sink
) -> None:
    script = Script(dialect, "short")
    sink.script(PATHS[dialect], Reply(chunks=[script.raw], headers=EVENTS))
    question = asking(script)
    await answered(provider_at(egress, dialect, sink.url), question)
    asked = b'{"stream_options":{"include_usage":true},'
    assert sink.requests[0].body == asked + question.said.body[1:]


# --- what an upstream says instead of an answer


@pytest.mark.parametrize(
    ("told", "message", "code"),
    [
        ({"error": {"message": "Busy", "code": "overloaded"}}, "Busy", "overloaded"),
        ({"error": "Busy"}, "Busy", "provider_failed"),
        ({"type": "error", "code": "server_error", "message": "Busy", "param": None}, "Busy", "server_error"),
        ({"type": "error", "error": {"message": "Busy", "code": None}}, "Busy", "provider_failed"),
        ({"type": "error", "code": None, "message": None}, "p answered 502.", "provider_failed"),
        ({"status": "failed", "error": {"code": "x_y", "message": "Busy"}}, "Busy", "x_y"),
        ({"status": "failed", "error": None}, "p failed, and did not say why.", "provider_failed"),
        ({}, "p did not answer in JSON.", "provider_failed"),
    ],
)
def test_what_is_said_instead_of_an_answer_is_heard(told: dict[str, Any], message: str, code: str) -> None:
    """In an object of its own, in an event, or in a response that failed."""
    failed = spoken_badly("p", told)
    assert (failed.provider, failed.status, failed.message, failed.code) == ("p", 502, message, code)
    assert json.dumps(failed.headers) == "{}"
