"""Both clients keep the documented interface, over real connections to a fake upstream."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Generator
from decimal import Decimal
from typing import Any, assert_type

import httpx
import pytest

import membrain_client
from membrain_client import AsyncMembrainClient, MembrainClient
from membrain_client import client as documented
from membrain_client.client import ChatCompletion, ChatCompletionChunk, ChatMessage, StreamError
from tests.sink import Recorded, Reply, Sink

CHAT = "/v1/chat/completions"
HELLO: Any = [{"role": "user", "content": "Hello!"}]
TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"properties": {"city": {"type": "string"}}}},
}

Ask = Callable[..., Any]
"""Makes one request with a client of its own: a whole answer, or the list of all chunks of a stream."""


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    return {"sync": sync_ask, "async": async_ask}[request.param]


def sync_ask(url: str, options: dict[str, Any] | None = None, **asked: Any) -> Any:
    with MembrainClient(base_url=url, **options or {}) as client:
        answer = client.chat.completions.create(**{"messages": HELLO, **asked})
        return list(answer) if asked.get("stream") else answer


def async_ask(url: str, options: dict[str, Any] | None = None, **asked: Any) -> Any:
    async def go() -> Any:
        async with AsyncMembrainClient(base_url=url, **options or {}) as client:
            answer = await client.chat.completions.create(**{"messages": HELLO, **asked})
            return [chunk async for chunk in answer] if asked.get("stream") else answer

    return asyncio.run(go())


def ours(request: Recorded) -> dict[str, str]:
    return {name: value for name, value in request.header.items() if name.startswith("x-membrain")}


def text(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


# --- names and defaults


def test_the_package_exports_four_names() -> None:
    four = ["AsyncMembrainClient", "ChatCompletion", "ChatMessage", "MembrainClient"]
    assert sorted(membrain_client.__all__) == four
    assert all(getattr(membrain_client, name) is getattr(documented, name) for name in four)


def test_the_other_names_are_in_client() -> None:
    for name in ("Choice", "Usage", "ChatCompletionChunk", "StreamChoice", "StreamDelta"):
        assert name in documented.__all__
        assert hasattr(documented, name)


def test_defaults_are_the_documented_ones() -> None:
    with MembrainClient() as client:
        assert str(client._client.base_url) == "http://localhost:8001"
        assert client._client.timeout == httpx.Timeout(120.0)
        assert not [name for name in client._client.headers if name.startswith("x-membrain")]
        assert isinstance(client._client, httpx.Client)


def test_the_async_client_has_the_same_defaults() -> None:
    client = AsyncMembrainClient()
    assert str(client._client.base_url) == "http://localhost:8001"
    assert client._client.timeout == httpx.Timeout(120.0)
    assert isinstance(client._client, httpx.AsyncClient)


def test_the_package_is_light() -> None:
    """No SDK, no validation library, and little time on top of httpx itself (the best of three counts)."""
    script = "import sys, membrain_client; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    run = [sys.executable, "-X", "importtime", "-c", script]
    milliseconds = []
    for _ in range(3):
        out = subprocess.run(run, capture_output=True, text=True, check=True)
        assert not {"openai", "pydantic"} & set(out.stdout.split())
        own = [line for line in out.stderr.splitlines() if "membrain_client" in line]
        milliseconds.append(sum(int(line.split("|")[0].split()[-1]) for line in own) / 1000)
    assert min(milliseconds) < 60


def test_types_are_known_to_a_checker(sink: Sink) -> None:
    """mypy reads the first argument of assert_type as it does a caller's code; here it only has to run."""
    with MembrainClient(sink.url) as client:
        create = client.chat.completions.create
        assert_type(create(model="m", messages=HELLO), ChatCompletion)
        assert_type(create(model="m", messages=HELLO, stream=False, top_p=1), ChatCompletion)
        stream = assert_type(create(model="m", messages=HELLO, stream=True), Generator[ChatCompletionChunk, None, None])
        assert inspect.isgenerator(stream)
        stream.close()


# --- what is sent


def test_headers_carry_who_asks(sink: Sink, ask: Ask) -> None:
    who = {"api_key": "ck_live_abc123", "user_id": "user-42", "project": "my-project"}
    ask(sink.url, who, model="m")
    assert ours(sink.requests[0]) == {
        "x-membrain-api-key": "ck_live_abc123",
        "x-membrain-user-id": "user-42",
        "x-membrain-project": "my-project",
    }
    assert "authorization" not in sink.requests[0].header


def test_what_is_none_is_not_sent(sink: Sink, ask: Ask) -> None:
    ask(sink.url, model="m")
    assert ours(sink.requests[0]) == {}


@pytest.mark.parametrize("slashes", ["", "/", "//"])
def test_trailing_slashes_do_not_matter(sink: Sink, ask: Ask, slashes: str) -> None:
    ask(sink.url + slashes, model="m")
    assert (sink.requests[0].method, sink.requests[0].path) == ("POST", CHAT)


def test_a_base_url_may_have_a_path(sink: Sink, ask: Ask) -> None:
    sink.script("/gateway" + CHAT, Reply(body={"choices": []}))
    assert ask(sink.url + "/gateway/", model="m").choices == []


def test_the_body_is_what_was_asked_for(sink: Sink, ask: Ask) -> None:
    extra = {"temperature": 0.5, "max_tokens": 200, "stop": ["\n"], "metadata": {"é": None}}
    ask(sink.url, model="gpt-4", **extra)
    assert sink.requests[0].json() == {"model": "gpt-4", "messages": HELLO, "stream": False, **extra}
    assert sink.requests[0].header["content-type"] == "application/json"


def test_messages_may_be_objects(sink: Sink, ask: Ask) -> None:
    ask(sink.url, model="m", messages=(ChatMessage("system", "Be kind."), *HELLO))
    assert sink.requests[0].json()["messages"] == [{"role": "system", "content": "Be kind."}, *HELLO]


def test_half_an_emoji_can_be_sent(sink: Sink, ask: Ask) -> None:
    """Models cut them in two, and then they are in the history."""
    answer = ask(sink.url, model="echo", messages=[{"role": "user", "content": "ab\ud83d"}])
    assert answer.choices[0].message.content == "ab\ud83d"


def test_routing_goes_into_headers(sink: Sink, ask: Ask) -> None:
    ask(sink.url, {"tier": "fast", "private": True, "max_cost": 0.01}, model="auto")
    ask(sink.url, model="auto", tier="best", private=False, max_cost="0.5", stream=True)
    assert [ours(request) for request in sink.requests] == [
        {"x-membrain-tier": "fast", "x-membrain-private": "true", "x-membrain-max-cost": "0.01"},
        {"x-membrain-tier": "best", "x-membrain-private": "false", "x-membrain-max-cost": "0.5"},
    ]
    assert sink.requests[1].json().keys() == {"model", "messages", "stream"}


def test_what_create_says_wins_for_one_request(sink: Sink) -> None:
    with MembrainClient(sink.url, tier="fast", private=True) as client:
        client.chat.completions.create(model="auto", messages=HELLO, tier="best")
        client.chat.completions.create(model="auto", messages=HELLO)
    assert [ours(request)["x-membrain-tier"] for request in sink.requests] == ["best", "fast"]
    assert [ours(request)["x-membrain-private"] for request in sink.requests] == ["true", "true"]


@pytest.mark.parametrize(("cost", "sent"), [(0.00001, "0.00001"), (1, "1"), (Decimal("0.10"), "0.10"), ("2.5", "2.5")])
def test_a_cost_is_written_without_an_exponent(sink: Sink, ask: Ask, cost: Any, sent: str) -> None:
    ask(sink.url, model="auto", max_cost=cost)
    assert ours(sink.requests[0])["x-membrain-max-cost"] == sent


def test_headers_of_the_client_underneath_may_be_changed(sink: Sink) -> None:
    with MembrainClient(sink.url, tier="fast") as client:
        client._client.headers.update({"x-membrain-tier": "quality", "x-team": "blue"})
        client.chat.completions.create(model="auto", messages=HELLO)
    assert ours(sink.requests[0])["x-membrain-tier"] == "quality"
    assert sink.requests[0].header["x-team"] == "blue"


def test_the_client_underneath_may_be_replaced() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"choices": [], "id": "mocked"}))
    with MembrainClient() as client:
        client._client.close()
        client._client = httpx.Client(transport=transport, base_url="http://mocked")
        assert client.chat.completions.create(model="m", messages=HELLO).id == "mocked"


def test_the_async_client_underneath_may_be_replaced() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"choices": [], "id": "mocked"}))

    async def go() -> str:
        async with AsyncMembrainClient() as client:
            client._client = httpx.AsyncClient(transport=transport, base_url="http://mocked")
            return (await client.chat.completions.create(model="m", messages=HELLO)).id

    assert asyncio.run(go()) == "mocked"


def test_no_proxy_sees_what_goes_to_this_machine(sink: Sink, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sink() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        ask(sink.url, model="m")
        ask(sink.url.replace("127.0.0.1", "localhost"), model="m")
        assert proxy.bytes_seen() == b""
    assert len(sink.requests) == 2


def test_a_proxy_is_used_for_gateways_elsewhere(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sink() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        proxy.script("http://gateway.test" + CHAT, Reply(body={"choices": []}))
        ask("http://gateway.test", model="m")
        assert proxy.requests[0].path == "http://gateway.test" + CHAT


# --- whole answers


def test_a_whole_answer(sink: Sink, ask: Ask) -> None:
    answer = ask(sink.url, model="echo")
    assert isinstance(answer, ChatCompletion)
    assert answer.choices[0].message == ChatMessage("assistant", "Hello!")
    assert (answer.model, answer.choices[0].finish_reason) == ("echo", "stop")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert answer.raw["x_unknown"] == {"kept": True}


def test_null_usage_and_no_choices_do_no_harm(sink: Sink, ask: Ask) -> None:
    sink.script(CHAT, Reply(body={"id": "1", "choices": [], "usage": None}))
    answer = ask(sink.url, model="m")
    assert (answer.choices, answer.usage.total_tokens) == ([], 0)


def test_a_tool_is_called_and_its_answer_sent_back(sink: Sink, ask: Ask) -> None:
    message = ask(sink.url, model="m", tools=[TOOL]).choices[0].message
    assert message.tool_calls[0].function.name == "weather"
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Ada"}
    result = ChatMessage("tool", "rain", tool_call_id=message.tool_calls[0].id)
    assert ask(sink.url, model="m", tools=[TOOL], messages=[*HELLO, message, result]).choices[0].message.content
    sent = sink.requests[1].json()["messages"][1]
    assert (sent["role"], sent["content"]) == ("assistant", None)
    assert sent["tool_calls"] == message.raw["tool_calls"]


def test_several_choices_come_in_order(sink: Sink, ask: Ask) -> None:
    assert [choice.index for choice in ask(sink.url, model="echo", n=3).choices] == [0, 1, 2]


# --- streams


@pytest.mark.parametrize("model", ["chunks-30", "chunks-30-crlf", "chunks-30-slow-1", "chunks-30-no-done"])
def test_a_stream(sink: Sink, ask: Ask, model: str) -> None:
    chunks = ask(sink.url, model=model, stream=True)
    assert text(chunks) == "".join(f"w{i} " for i in range(30))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 31 + ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert sink.requests[0].json()["stream"] is True


def test_unusual_line_separators_stay_in_the_text(sink: Sink, ask: Ask) -> None:
    assert text(ask(sink.url, model="u2028", stream=True)) == "one\u2028two\u0085three"


def test_usage_is_reported_when_asked_for(sink: Sink, ask: Ask) -> None:
    last = ask(sink.url, model="m", stream=True, stream_options={"include_usage": True})[-1]
    assert last.choices == []
    assert last.usage.total_tokens > 0


def test_unwanted_chunks_without_choices_are_not_shown(sink: Sink, ask: Ask) -> None:
    usage = b'data: {"id":"1","choices":[],"usage":{"total_tokens":3}}\n\n'
    said = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
    sink.script(CHAT, Reply(chunks=[usage, said, usage, b"data: [DONE]\n\n"]))
    assert text(ask(sink.url, model="m", stream=True)) == "a"


def test_a_streamed_tool_call_can_be_put_together(sink: Sink, ask: Ask) -> None:
    calls = [
        call
        for chunk in ask(sink.url, model="m", stream=True, tools=[TOOL])
        for call in chunk.choices[0].delta.tool_calls or []
    ]
    assert (calls[0].id, calls[0].index, calls[0].function.name) == ("call_sink-1", 0, "weather")
    assert json.loads("".join(call.function.arguments for call in calls)) == {"city": "Ada"}


def test_chunks_arrive_as_they_are_sent(sink: Sink) -> None:
    """The first chunk is there while the sink still holds the rest back."""
    with MembrainClient(sink.url, timeout=5) as client:
        stream = client.chat.completions.create(model="stall-mid", messages=HELLO, stream=True)
        assert next(stream).choices[0].delta.role == "assistant"
        assert next(stream).choices[0].delta.content
        stream.close()


@pytest.mark.parametrize("used", [0, 1])
def test_leaving_a_stream_closes_its_connection(sink: Sink, used: int) -> None:
    """Also one that was never looked at."""
    with MembrainClient(sink.url) as client:
        stream = client.chat.completions.create(model="stall-mid", messages=HELLO, stream=True)
        for _ in range(used):
            next(stream)
        assert not sink.wait_for(1)[0].closed.wait(0.05)
        del stream
        assert sink.requests[0].closed.wait(2)


def test_breaking_out_of_a_loop_closes_the_connection(sink: Sink) -> None:
    with MembrainClient(sink.url) as client:
        for _ in client.chat.completions.create(model="stall-mid", messages=HELLO, stream=True):
            break
        assert sink.requests[0].closed.wait(2)


def test_closing_an_async_stream_closes_its_connection(sink: Sink) -> None:
    async def go() -> None:
        async with AsyncMembrainClient(sink.url) as client:
            stream = await client.chat.completions.create(model="stall-mid", messages=HELLO, stream=True)
            async for _ in stream:
                break
            await stream.aclose()
            assert await asyncio.to_thread(sink.requests[0].closed.wait, 2)

    asyncio.run(go())


def test_a_stream_outlives_the_name_of_its_client(sink: Sink) -> None:
    stream = MembrainClient(sink.url).chat.completions.create(model="echo", messages=HELLO, stream=True)
    assert text(list(stream)) == "Hello!"


def test_connections_are_used_again(sink: Sink) -> None:
    with MembrainClient(sink.url) as client:
        for _ in range(3):
            client.chat.completions.create(model="m", messages=HELLO)
    assert sink.connections == 1


# --- errors


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 401, 402, 404, 429, 500, 502, 529, 307])
def test_a_bad_status_is_raised_with_its_text(sink: Sink, ask: Ask, status: int, stream: bool) -> None:
    with pytest.raises(httpx.HTTPStatusError) as caught:
        ask(sink.url, model=f"status-{status}", stream=stream)
    assert caught.value.response.status_code == status
    assert f"asked for a {status}" in caught.value.response.text
    assert caught.value.response.headers.get("Retry-After") == ("7" if status == 429 else None)


@pytest.mark.parametrize("stream", [False, True])
def test_a_redirect_is_not_followed(sink: Sink, ask: Ask, stream: bool) -> None:
    with Sink() as elsewhere:
        sink.redirect_to = elsewhere.url
        with pytest.raises(httpx.HTTPStatusError, match="307"):
            ask(sink.url, model="redirect-307", stream=stream)
        assert elsewhere.requests == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_gateway_that_is_not_there(ask: Ask, stream: bool) -> None:
    with Sink() as gone:
        url = gone.url
    with pytest.raises(httpx.ConnectError):
        ask(url, model="m", stream=stream)


@pytest.mark.parametrize("model", ["stall", "stall-mid"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_gateway_that_falls_silent(sink: Sink, ask: Ask, model: str, stream: bool) -> None:
    with pytest.raises(httpx.ReadTimeout):
        ask(sink.url, {"timeout": 0.2}, model=model, stream=stream)
    assert sink.requests[0].closed.wait(2)


@pytest.mark.parametrize(
    ("model", "stream", "raised"),
    [
        ("reset", False, httpx.ReadError),
        ("reset", True, httpx.ReadError),
        ("reset-mid", True, httpx.ReadError),
        ("garbage", False, httpx.RemoteProtocolError),
        ("garbage", True, httpx.RemoteProtocolError),
        ("truncated", False, httpx.RemoteProtocolError),
        ("html", False, httpx.DecodingError),
        ("html", True, httpx.RemoteProtocolError),
        ("bad-json", False, httpx.DecodingError),
        ("empty", False, httpx.DecodingError),
        ("empty", True, httpx.RemoteProtocolError),
        ("cut-mid", True, httpx.RemoteProtocolError),
        ("sse-error-mid", True, StreamError),
    ],
)
def test_broken_answers_raise_httpx_errors(
    sink: Sink, ask: Ask, model: str, stream: bool, raised: type[Exception]
) -> None:
    with pytest.raises(raised) as caught:
        ask(sink.url, model=model, stream=stream)
    assert isinstance(caught.value, httpx.HTTPError)
    assert "Hello!" not in str(caught.value)


@pytest.mark.parametrize("body", [[], "text", {"error": {"message": "x"}}, {"choices": None}])
def test_json_that_is_no_completion_is_refused(sink: Sink, ask: Ask, body: object) -> None:
    sink.script(CHAT, Reply(body=json.dumps(body)))
    with pytest.raises(httpx.DecodingError, match="not a chat completion"):
        ask(sink.url, model="m")


def test_an_error_in_mid_stream_comes_after_what_was_good(sink: Sink) -> None:
    seen: list[ChatCompletionChunk] = []
    with MembrainClient(sink.url) as client:
        stream = client.chat.completions.create(model="chunks-10-sse-error-mid", messages=HELLO, stream=True)
        with pytest.raises(StreamError, match="gave up") as caught:
            seen.extend(stream)
    assert text(seen) == "w0 w1 w2 w3 w4 "
    assert caught.value.body["code"] == "overloaded"


# --- closing


def test_leaving_the_block_closes_the_client(sink: Sink) -> None:
    with MembrainClient(sink.url) as client:
        client.chat.completions.create(model="m", messages=HELLO)
    assert client._client.is_closed
    assert sink.requests[0].closed.wait(2)


def test_close_closes(sink: Sink) -> None:
    client = MembrainClient(sink.url)
    client.close()
    assert client._client.is_closed


def test_the_async_client_closes_too() -> None:
    async def go() -> list[bool]:
        async with AsyncMembrainClient() as first:
            pass
        second = AsyncMembrainClient()
        await second.aclose()
        return [first._client.is_closed, second._client.is_closed]

    assert asyncio.run(go()) == [True, True]


def test_a_forgotten_client_closes_its_connections(sink: Sink) -> None:
    MembrainClient(sink.url).chat.completions.create(model="m", messages=HELLO)
    assert sink.requests[0].closed.wait(2)
