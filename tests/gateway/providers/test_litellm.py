"""LiteLLM in a process of its own: what may be asked, what it is told, and what becomes of its answers.

Everything runs over a stand-in for the package, of the same call shape, and over LiteLLM itself where it is installed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from membrain import sse
from membrain.dialects.base import Chunk
from membrain.egress import Egress, Limits
from membrain.errors import BadRequest, GuardFailed, PrivateRefused, ProviderFailed, ShuttingDown
from membrain.providers.base import DIRECT, Ask
from membrain.providers.litellm import PARAMETERS, LiteLLMProvider, environment, installed
from membrain.records import Passport
from tests.fakes import ask, said
from tests.served import ROOT, Served, free_port
from tests.sink import Reply, Sink

pytestmark = pytest.mark.anyio

KEY = "gsk-canary-7f3a-0123456789"
CANARY = "canary-7f3a"
PATH = "/v1/chat/completions"
JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}

STAND_IN = '''
"""The shape of LiteLLM that we use, over httpx: OpenAI's wire to DEEPSEEK_API_BASE, its exceptions and its habits."""
import json, os, sys
import httpx

assert os.environ["LITELLM_MODE"] == "PRODUCTION", "LiteLLM would read a .env of the folder it is installed in"
assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True", "LiteLLM would fetch its price map"
assert not [name for name in os.environ if name.startswith("MEMBRAIN_")]

class BadRequestError(Exception): status_code = 400
class UnsupportedParamsError(BadRequestError): pass
class AuthenticationError(Exception): status_code = 401
class RateLimitError(Exception): status_code = 429
class InternalServerError(Exception): status_code = 500
class ClientConnectorError(Exception): pass
class ClientPayloadError(Exception): pass
class SocketTimeoutError(Exception): pass
class ConnectionTimeoutError(Exception): pass

class Usage(dict):
    pass

class Data:
    def __init__(self, data): self.data = data
    model = property(lambda self: self.data.get("model"))
    def model_dump(self, mode, exclude_none): return bare(self.data)

def bare(data):
    if isinstance(data, dict): return {name: bare(value) for name, value in data.items() if value is not None}
    return [bare(each) for each in data] if isinstance(data, list) else data

def ModelResponse(model, usage): return Data({"model": model, "usage": usage})

def get_llm_provider(model):
    if "/" not in model: raise BadRequestError("LLM Provider NOT provided: " + model)
    return model.partition("/")[2], model.partition("/")[0], None, None

def get_supported_openai_params(model, custom_llm_provider): return ["temperature", "stream_options", "tools"]
def validate_environment(model):
    return {"missing_keys": ["GOOGLE_API_KEY", "GEMINI_API_KEY"] if "gemini" in model else []}

def completion_cost(completion_response, model, custom_llm_provider):
    if "deepseek-chat" not in model: raise ValueError("not mapped")
    return 0.28e-6 * completion_response.data["usage"]["prompt_tokens"]

async def acompletion(*, model, timeout, api_key=None, extra_headers=None, **body):
    steering = [body.pop(name) for name in ("max_retries", "num_retries", "_skip_mcp_handler")]
    assert (steering, drop_params, callbacks) == ([0, 0, True], False, [])
    print("prompts on stdout", body, file=sys.stdout)
    print("prompts on stderr", body, file=sys.stderr)
    name, backend, _, _ = get_llm_provider(model)
    if "logit_bias" in body: raise UnsupportedParamsError(str(body))
    key = api_key or os.environ.get(f"{backend.upper()}_API_KEY")
    if not key: raise AuthenticationError("no key")
    client = httpx.AsyncClient(timeout=timeout, trust_env=False, follow_redirects=True)
    url, headers = os.environ["DEEPSEEK_API_BASE"] + "/chat/completions", {"authorization": "Bearer " + key}
    request = client.build_request("POST", url, json={"model": name, **body}, headers=headers | (extra_headers or {}))
    try:
        response = await client.send(request, stream=True)
        if response.status_code != 200: await response.aread()
        response.raise_for_status()
        return Stream(client, response, name) if body.get("stream") else Data(json.loads(await response.aread()))
    except httpx.HTTPStatusError as error:
        kinds = {429: RateLimitError, 400: BadRequestError, 401: BadRequestError}
        raise kinds.get(error.response.status_code, InternalServerError)(f"{body} {key}")
    except httpx.ConnectError: raise InternalServerError(str(body)) from ClientConnectorError()
    except httpx.ConnectTimeout: raise InternalServerError(str(body)) from ConnectionTimeoutError()
    except httpx.TimeoutException: raise InternalServerError(str(body)) from SocketTimeoutError()
    except httpx.TransportError: raise InternalServerError(str(body)) from ClientPayloadError()
    finally:
        if not body.get("stream"): await client.aclose()

class Stream:
    """Ends a stream that broke off with a finish of its own, as LiteLLM does, and counts in its place."""
    def __init__(self, client, response, model):
        self.client, self.response, self.name = client, response, model
        self.received_finish_reason = self.intermittent_finish_reason = None
        self.steps = self.run()
    def __aiter__(self): return self.steps
    async def run(self):
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        try:
            async for line in self.response.aiter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]": continue
                data = json.loads(line[6:])
                if "error" in data: raise InternalServerError(str(data))
                usage = data.pop("usage", None) or usage
                for choice in data["choices"]:
                    self.received_finish_reason = choice["finish_reason"] or self.received_finish_reason
                if data["choices"]: yield Data(data)
        except httpx.TransportError: raise InternalServerError() from ClientPayloadError()
        last = {"id": "c", "object": "chat.completion.chunk", "model": self.name}
        if not self.received_finish_reason:
            yield Data({**last, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        yield Data({**last, "choices": [{"index": 0, "delta": {}}], "usage": usage})
    async def aclose(self):
        await self.steps.aclose()
        await self.client.aclose()
'''

PACKAGES = ["stand-in", *(["litellm"] if importlib.util.find_spec("litellm") else [])]
LIMITS = Limits(connect=1.0, first_byte=10.0, whole=10.0, idle=1.0, answer_bytes=1 << 20, event_bytes=1 << 16)


def package(folder: Path, source: str) -> str:
    """A path on which *source* is what `import litellm` finds, before everything else."""
    handlers = folder / "litellm" / "llms" / "custom_httpx"
    handlers.mkdir(parents=True)
    (handlers / "http_handler.py").write_text("class AsyncHTTPHandler: pass")
    (folder / "litellm" / "__init__.py").write_text(source)
    return str(folder)


def variables(url: str, *paths: str, **more: str) -> dict[str, str]:
    """The gateway's environment, for a provider whose only backend is at *url*."""
    path = os.pathsep.join([*paths, str(ROOT / "gateway"), str(ROOT / "client")])
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": path,
        "DEEPSEEK_API_BASE": f"{url}/v1",
        "DEEPSEEK_API_KEY": KEY,
        **more,
    }


@asynccontextmanager
async def provided(environ: dict[str, str], limits: Limits = LIMITS, **more: Any) -> AsyncIterator[LiteLLMProvider]:
    egress = Egress(limits)
    provider = LiteLLMProvider(egress=egress, environ=environ, **more)
    try:
        yield provider
    finally:
        await provider.close()
        await egress.close()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module", params=PACKAGES)
def paths(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What makes `import litellm` find the package that is meant."""
    real = request.param == "litellm"
    return [] if real else [package(tmp_path_factory.mktemp("stand-in"), STAND_IN)]


@pytest.fixture(scope="module")
async def warm(paths: list[str], upstream: Sink, anyio_backend: str) -> AsyncIterator[LiteLLMProvider]:
    """One provider for many tests: LiteLLM takes seconds to import."""
    async with provided(variables(upstream.url, *paths)) as provider:
        await provider.ping()
        yield provider


@pytest.fixture
def provider(warm: LiteLLMProvider, upstream: Sink) -> Iterator[LiteLLMProvider]:
    upstream.clear()
    yield warm
    upstream.faults.clear()  # who resets a connection is also reset
    upstream.clear()


async def chunks(
    provider: LiteLLMProvider, model: str = "deepseek/echo", text: str = "Hello", **more: Any
) -> list[Chunk]:
    async with aclosing(provider.answer(ask(text, model, **more))) as answer:
        return [chunk async for chunk in answer]


def events(given: list[Chunk]) -> list[dict[str, Any]]:
    return [json.loads(event.data) for chunk in given for event in sse.parse(chunk.raw)]


def children_of(provider: LiteLLMProvider) -> int | None:
    child = provider._child
    return child._process.pid if child else None


# --- what is answered


async def test_a_whole_answer_is_one_chunk_in_chats_words(provider: LiteLLMProvider, upstream: Sink) -> None:
    (chunk,) = await chunks(provider, "deepseek/echo", "one two three", temperature=0.5)
    answer = json.loads(chunk.raw)
    assert chunk.whole
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "one two three"}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert chunk.model is not None
    assert chunk.model.endswith("echo")
    assert chunk.tokens is not None
    usage = answer["usage"]
    assert (chunk.tokens.prompt, chunk.tokens.completion) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert not chunk.tokens.estimated
    sent = upstream.requests[0]
    assert sent.json()["temperature"] == 0.5
    assert sent.header["authorization"] == f"Bearer {KEY}"


async def test_a_streamed_answer_comes_in_pieces_and_ends_with_a_reason(provider: LiteLLMProvider) -> None:
    given = await chunks(provider, "deepseek/echo-chunks-3", "one two three", stream=True)
    told = events(given)
    assert "".join(each["choices"][0]["delta"].get("content") or "" for each in told).split() == ["one", "two", "three"]
    assert {each["object"] for each in told} == {"chat.completion.chunk"}
    assert told[-1]["choices"][0]["finish_reason"] == "stop"
    assert all(chunk.raw == b"" or chunk.raw.endswith(b"\n\n") for chunk in given)
    assert b"[DONE]" not in b"".join(chunk.raw for chunk in given)


@pytest.mark.parametrize("asked", [False, True])
async def test_the_usage_of_a_stream_is_told_to_who_asked_and_always_kept(
    provider: LiteLLMProvider, upstream: Sink, asked: bool
) -> None:
    more = {"stream_options": {"include_usage": True}} if asked else {}
    given = await chunks(provider, "deepseek/echo-chunks-3", "one two three", stream=True, **more)
    assert upstream.requests[0].json()["stream_options"] == {"include_usage": True}
    assert [bool(each["choices"]) for each in events(given) if each.get("usage")] == [False] * asked
    tokens = given[-1].tokens
    assert tokens is not None
    assert (tokens.completion, tokens.estimated) == (3, False)


async def test_pieces_come_as_they_are_made(provider: LiteLLMProvider) -> None:
    clock = asyncio.get_running_loop().time
    async with aclosing(provider.answer(ask("one two", "deepseek/slow-40-chunks-4", stream=True))) as answer:
        arrived = [clock() async for _ in answer]
    assert arrived[-1] - arrived[0] > 0.1


async def test_answers_do_not_wait_for_each_other(provider: LiteLLMProvider) -> None:
    slow = asyncio.create_task(chunks(provider, "deepseek/slow-600", "slow"))
    (quick,) = await chunks(provider, "deepseek/echo", "quick")
    assert not slow.done()
    assert b"quick" in quick.raw
    assert b"slow" in (await slow)[0].raw


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_come_back_whole(provider: LiteLLMProvider, upstream: Sink, stream: bool) -> None:
    given = await chunks(provider, "deepseek/gpt", tools=[TOOL], tool_choice="required", stream=stream)
    assert upstream.requests[0].json()["tools"] == [TOOL]
    told = events(given) if stream else [json.loads(given[0].raw)]
    choices = [each["choices"][0] for each in told if each["choices"]]
    calls = [call for each in choices for call in each["delta" if stream else "message"].get("tool_calls", ())]
    assert calls[0]["function"]["name"] == "weather"
    assert calls[0]["id"]
    assert json.loads("".join(call["function"].get("arguments") or "" for call in calls)) == {}
    assert choices[-1]["finish_reason"] == "tool_calls"


USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 40, "cache_creation_tokens": 30},
    "completion_tokens_details": {"reasoning_tokens": 15},
}


def completion(model: str, usage: Any = None, **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi", **message}}
    told = {"id": "c1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    return told if usage is None else {**told, "usage": usage}


async def test_cached_written_and_reasoning_tokens_are_kept(provider: LiteLLMProvider, upstream: Sink) -> None:
    upstream.script(PATH, Reply(body=completion("some", USAGE), headers=JSON))
    (chunk,) = await chunks(provider)
    assert chunk.tokens is not None
    assert (chunk.tokens.prompt, chunk.tokens.completion) == (100, 20)
    assert (chunk.tokens.cached, chunk.tokens.written, chunk.tokens.reasoning) == (40, 30, 15)


@pytest.mark.parametrize(("model", "micros"), [("deepseek-chat", 280_001), ("nobody-knows", None)])
async def test_what_it_costs_is_told_in_micro_dollars_or_not_at_all(
    provider: LiteLLMProvider, upstream: Sink, model: str, micros: int | None
) -> None:
    usage = {"prompt_tokens": 1_000_001, "completion_tokens": 0, "total_tokens": 1_000_001}
    upstream.script(PATH, Reply(body=completion(model, usage), headers=JSON))
    (chunk,) = await chunks(provider, f"deepseek/{model}")
    assert chunk.tokens is not None
    assert chunk.tokens.cost_micros == micros


@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_that_nobody_counted_are_not_made_up(
    provider: LiteLLMProvider, upstream: Sink, stream: bool
) -> None:
    whole = Reply(body=completion("some"), headers=JSON)
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "some"}
    pieces = [
        {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": why}]}
        for delta, why in (({"role": "assistant", "content": "Hi"}, None), ({}, "stop"))
    ]
    streamed = [sse.encode(json.dumps(each).encode()) for each in pieces] + [b"data: [DONE]\n\n"]
    upstream.script(PATH, Reply(chunks=streamed, headers=EVENTS) if stream else whole)
    given = await chunks(provider, stream=stream)
    assert [chunk.tokens for chunk in given] == [None] * len(given)


async def test_a_refusal_stays_where_openai_puts_it(provider: LiteLLMProvider, upstream: Sink) -> None:
    body = completion("some", content=None, provider_specific_fields={"refusal": "No.", "other": None})
    upstream.script(PATH, Reply(body=body, headers=JSON))
    (chunk,) = await chunks(provider)
    message = json.loads(chunk.raw)["choices"][0]["message"]
    assert message["refusal"] == "No."
    assert "provider_specific_fields" not in message


async def test_the_documented_pair_works(provider: LiteLLMProvider) -> None:
    request = said("one two", "deepseek/echo").data
    pieces = [piece async for piece in provider.stream_chat("deepseek/echo", request["messages"])]
    assert "".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces).split() == ["one", "two"]


# --- how it fails

REFUSED = [
    ("status-400", 400, "invalid_request", False),
    ("status-401", 502, "provider_key_refused", True),
    ("status-403", 502, "provider_key_refused", True),
    ("status-429", 429, "rate_limit_exceeded", True),
    ("status-500", 500, "server_error", True),
    ("status-503", 503, None, True),
    ("status-529", 529, None, True),
]
"""What the backend does, and the status, code and whether another may do better that comes of it."""


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("does", "status", "code", "passing"), REFUSED)
async def test_a_refusal_of_the_backend_keeps_its_status_and_was_not_billed(
    provider: LiteLLMProvider, upstream: Sink, does: str, status: int, code: str | None, passing: bool, stream: bool
) -> None:
    with pytest.raises(ProviderFailed) as failed:
        await chunks(provider, f"deepseek/{does}", stream=stream)
    error = failed.value
    assert (error.status, error.passing, error.reached, error.provider) == (status, passing, False, "litellm")
    assert code is None or error.code == code
    assert error.headers.get("retry-after") == ("7" if status == 429 else None)
    assert len(upstream.requests) == 1, "LiteLLM tried again by itself"


BROKEN = ["reset", "garbage", "truncated", "empty", "bad-json", "html"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("does", BROKEN)
async def test_what_is_no_answer_may_have_been_billed(
    provider: LiteLLMProvider, upstream: Sink, does: str, stream: bool
) -> None:
    with pytest.raises(ProviderFailed) as failed:
        await chunks(provider, f"deepseek/{does}", stream=stream)
    assert (failed.value.status, failed.value.reached) == (502, True)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("does", ["reset-mid", "cut-mid", "sse-error-mid"])
async def test_a_stream_that_breaks_off_does_not_end_as_if_it_were_whole(provider: LiteLLMProvider, does: str) -> None:
    """LiteLLM makes up a finish."""
    given: list[Chunk] = []

    async def collected() -> None:
        async for chunk in provider.answer(ask(model=f"deepseek/{does}", stream=True)):
            given.append(chunk)  # noqa: PERF401  # what came before it broke off is looked at

    with pytest.raises(ProviderFailed):
        await collected()
    assert given
    assert not any(choice["finish_reason"] for each in events(given) for choice in each["choices"])


async def test_a_redirect_is_not_followed(paths: list[str]) -> None:
    with Sink() as elsewhere, Sink(redirect_to=elsewhere.url) as here:
        async with provided(variables(here.url, *paths)) as provider:
            for stream in (False, True):
                with pytest.raises(ProviderFailed, match="redirect"):
                    await chunks(provider, "deepseek/redirect-307", stream=stream)
        assert len(here.requests) == 2
        assert elsewhere.connections == 0


async def test_nothing_reached_who_does_not_listen(paths: list[str]) -> None:
    async with provided(variables(f"http://127.0.0.1:{free_port()}", *paths)) as provider:
        for stream in (False, True):
            with pytest.raises(ProviderFailed, match="could not be reached") as failed:
                await chunks(provider, stream=stream)
            assert (failed.value.status, failed.value.reached, failed.value.passing) == (502, False, True)


async def test_a_black_hole_is_given_up_at_the_connect_limit(paths: list[str], upstream: Sink) -> None:
    """A listener whose queue is full answers no more than an address that nobody has."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        port = hole.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        try:
            async with provided(variables(f"http://127.0.0.1:{port}", *paths)) as provider:
                with pytest.raises(ProviderFailed, match="could not be reached in time") as failed:
                    await chunks(provider)
                assert (failed.value.status, failed.value.reached) == (504, False)
        finally:
            for filler in fillers:
                filler.close()


@pytest.mark.parametrize("model", ["deepseek/stall", "deepseek/stall-mid"])
async def test_who_goes_silent_is_given_up(paths: list[str], upstream: Sink, model: str) -> None:
    limits = Limits(first_byte=3.0, idle=0.3)
    async with provided(variables(upstream.url, *paths), limits) as provider:
        await chunks(provider)  # LiteLLM's first answer takes seconds
        upstream.clear()
        with pytest.raises(ProviderFailed, match="did not answer in time") as failed:
            await chunks(provider, model, stream=True)
        assert (failed.value.status, failed.value.reached) == (504, True)
        assert await asyncio.to_thread(upstream.requests[0].closed.wait, 2)
    upstream.clear()


async def test_an_answer_over_the_cap_is_cut_off(provider: LiteLLMProvider, upstream: Sink) -> None:
    upstream.script(PATH, Reply(body=completion("some", content="x" * (2 << 20)), headers=JSON))
    with pytest.raises(ProviderFailed, match="more than it may") as failed:
        await chunks(provider)
    assert not failed.value.passing


async def test_an_event_over_the_cap_is_cut_off(provider: LiteLLMProvider, upstream: Sink) -> None:
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "some"}
    piece = {**base, "choices": [{"index": 0, "delta": {"content": "x" * (1 << 17)}, "finish_reason": None}]}
    upstream.script(PATH, Reply(chunks=[sse.encode(json.dumps(piece).encode())], headers=EVENTS))
    with pytest.raises(ProviderFailed, match="more than it may"):
        await chunks(provider, stream=True)


async def test_a_hang_up_reaches_the_backend_at_once(provider: LiteLLMProvider, upstream: Sink) -> None:
    async with aclosing(provider.answer(ask("a b c", "deepseek/slow-200-chunks-50", stream=True))) as answer:
        await anext(answer)
    assert await asyncio.to_thread(upstream.requests[0].closed.wait, 1)


async def test_a_hang_up_before_the_answer_reaches_it_too(provider: LiteLLMProvider, upstream: Sink) -> None:
    asked = asyncio.create_task(chunks(provider, "deepseek/stall"))
    await asyncio.to_thread(upstream.wait_for, 1)
    asked.cancel()
    await asyncio.wait([asked])
    assert await asyncio.to_thread(upstream.requests[0].closed.wait, 1)


async def test_a_field_that_the_model_does_not_know_is_named(provider: LiteLLMProvider, upstream: Sink) -> None:
    """And not left out in silence."""
    with pytest.raises(ProviderFailed, match="logit_bias") as failed:
        await chunks(provider, "cohere/command-r", logit_bias={"1": 1}, temperature=0.5)
    assert (failed.value.status, failed.value.param, failed.value.passing) == (400, "logit_bias", False)
    assert not upstream.requests


async def test_a_model_of_no_backend_is_unknown(provider: LiteLLMProvider, upstream: Sink) -> None:
    with pytest.raises(ProviderFailed) as failed:
        await chunks(provider, "mixtral-of-nobody")
    assert (failed.value.status, failed.value.code, failed.value.reached) == (404, "model_not_found", False)
    assert not upstream.requests


async def test_a_backend_without_a_key_says_which_variable_it_wants(provider: LiteLLMProvider, upstream: Sink) -> None:
    with pytest.raises(ProviderFailed, match="GEMINI_API_KEY") as failed:
        await chunks(provider, "gemini/gemini-pro")
    assert (failed.value.status, failed.value.reached) == (503, False)
    assert not upstream.requests


async def test_a_key_that_is_handed_over_goes_before_the_environments(paths: list[str], upstream: Sink) -> None:
    upstream.clear()
    async with provided(variables(upstream.url, *paths), api_key="own-0123456789") as provider:
        await chunks(provider)
    assert upstream.requests[0].header["authorization"] == "Bearer own-0123456789"
    assert KEY.encode() not in upstream.bytes_seen()


# --- nothing is told that is not to be


async def test_no_text_and_no_key_is_in_what_fails_or_in_what_is_said(
    provider: LiteLLMProvider, upstream: Sink, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    told = {"error": {"message": f"You said {CANARY}", "type": CANARY, "code": f"{CANARY} !", "param": f"{CANARY} !"}}
    said_by: list[str] = []
    for status in (400, 401, 429, 500):
        upstream.script(PATH, Reply(status=status, body=told, headers=JSON))
        with pytest.raises(ProviderFailed) as failed:
            await chunks(provider, "deepseek/some", CANARY)
        said_by += [repr(vars(failed.value)), str(failed.value)]
    await chunks(provider, "deepseek/echo", CANARY)
    assert CANARY not in "".join(said_by) + "".join(capfd.readouterr()) + caplog.text


async def test_the_child_knows_the_backends_keys_and_nothing_else_of_ours() -> None:
    ours = {"MEMBRAIN_HOME": "/x", "LITELLM_LOG": "DEBUG", "LITELLM_PROXY_API_KEY": "x", "OPENAI_BASE_URL": "http://x"}
    ours |= {"OPENAI_API_BASE": "http://x", "OPENAI_API_KEY": "ck_live_ours", "HTTPS_PROXY": "http://x", "EDITOR": "vi"}
    ours |= {"LD_PRELOAD": "/x.so", "PYTHONSTARTUP": "/x.py", "GITHUB_TOKEN": "x", "DATABASE_URL": "postgres://x"}
    theirs = {"GEMINI_API_KEY": "g", "AZURE_API_VERSION": "1", "AWS_PROFILE": "dev", "REPLICATE_API_TOKEN": "r"}
    assert environment({**ours, **theirs, "PATH": "/bin"}, "", "") == {**theirs, "PATH": "/bin"}


async def test_the_child_goes_through_our_proxy_and_trusts_our_certificates() -> None:
    made = environment({}, "http://proxy:3128", "/etc/ca.pem")
    assert made["HTTPS_PROXY"] == made["HTTP_PROXY"] == "http://proxy:3128"
    assert "127.0.0.1" in made["NO_PROXY"]
    assert made["SSL_CERT_FILE"] == "/etc/ca.pem"


async def test_what_is_on_this_machine_is_told_that_we_ask(provider: LiteLLMProvider, upstream: Sink) -> None:
    """Or a gateway that LiteLLM's addresses lead back to would ask itself for ever."""
    await chunks(provider)
    assert upstream.requests[0].header["x-membrain-hop"] == "1"


async def test_of_the_callers_headers_few_go_along(provider: LiteLLMProvider, upstream: Sink) -> None:
    headers = {"idempotency-key": "once", "authorization": f"Bearer {CANARY}", "x-other": CANARY}
    question = Ask(said("Hello", "deepseek/echo"), "deepseek/echo", DIRECT, headers)
    assert [chunk async for chunk in provider.answer(question)]
    assert upstream.requests[0].header["idempotency-key"] == "once"
    assert CANARY.encode() not in upstream.bytes_seen().replace(KEY.encode(), b"")


# --- what may be asked

STEERING = [
    *("api_base", "base_url", "api_key", "api_version", "api_type", "custom_llm_provider", "deployment_id"),
    *("model_list", "extra_headers", "headers", "extra_body", "extra_query", "organization", "project", "metadata"),
    *("litellm_metadata", "vertex_project", "vertex_location", "vertex_credentials", "aws_access_key_id"),
    *("aws_secret_access_key", "aws_bedrock_runtime_endpoint", "aws_region_name", "aws_role_name"),
    *("azure_ad_token", "azure_ad_token_provider", "mock_response", "mock_timeout", "mock_tool_calls", "fallbacks"),
    *("context_window_fallback_dict", "num_retries", "max_retries", "timeout", "caching", "cache", "callbacks"),
    *("success_callback", "failure_callback", "logger_fn", "litellm_logging_obj", "litellm_call_id", "prompt_id"),
    *("prompt_variables", "guardrails", "drop_params", "allowed_openai_params", "additional_drop_params"),
    *("input_cost_per_token", "use_litellm_proxy", "shared_session", "client", "hf_model_name", "ssl_verify"),
    *("proxy", "verbose", "no-log", "_skip_mcp_handler", "cache_control_injection_points", "langfuse_host"),
    *("langsmith_base_url", "tags", "user_api_key", "region_name", "watsonx_url", "made_up"),
]


@pytest.fixture
def cold() -> LiteLLMProvider:
    """One whose child was not started, and must not be."""
    return LiteLLMProvider(environ={})


STEERING += ["API_BASE", "Api_Key", "api-base", "x-api-key", "Base_URL"]


@pytest.mark.parametrize("name", STEERING)
async def test_a_field_that_steers_is_refused_by_name(cold: LiteLLMProvider, name: str) -> None:
    for value in ("http://127.0.0.1:1", {"a": 1}, True, 0):
        with pytest.raises(BadRequest, match=f"`{name}`") as refused:
            await chunks(cold, "deepseek/echo", **{name: value})
        assert (refused.value.param, children_of(cold)) == (name, None)


async def test_no_field_that_steers_is_among_those_that_go_through() -> None:
    assert not PARAMETERS & set(STEERING)
    assert not [
        name for name in PARAMETERS if name.startswith(("api_", "aws_", "azure_", "vertex_", "litellm_", "mock_"))
    ]


async def test_a_field_that_says_nothing_is_left_out(provider: LiteLLMProvider, upstream: Sink) -> None:
    await chunks(provider, "deepseek/echo", api_base=None, temperature=None)
    assert not {"api_base", "temperature"} & upstream.requests[0].json().keys()


@pytest.mark.parametrize(
    "model",
    [
        *("huggingface/http://127.0.0.1:1/x", "huggingface/HTTPS:/evil", "openai/../x", "bedrock//x", "gemini/a b"),
        *(
            "gemini/a?key=1",
            "gemini/a#b",
            "gemini/%2e%2e",
            "deepseek/a\\b",
            "/deepseek",
            "deepseek/é",
            "deepseek/a;b",
            "deepseek/{x}",
        ),
        *("github_copilot/gpt-4o", "chatgpt/gpt-4o", "vllm/x", "aiohttp_openai/x", "litellm_agent/x"),
    ],
)
async def test_a_model_name_leads_nowhere(cold: LiteLLMProvider, model: str) -> None:
    with pytest.raises(BadRequest, match="`model`"):
        await chunks(cold, model)
    assert children_of(cold) is None


@pytest.mark.parametrize(
    "model",
    [
        *(
            "gpt-4o",
            "claude-sonnet-4-20250514",
            "gemini/gemini-pro",
            "bedrock/anthropic.claude-3-sonnet",
            "azure/gpt-4",
        ),
        *("bedrock/us-east-1/anthropic.claude-v2:1", "cloudflare/@cf/meta/llama-2-7b", "vertex_ai/claude@20240229"),
        "bedrock/arn:aws:bedrock:us-east-1:123456789012:inference-profile/x",
    ],
)
async def test_the_documented_names_are_names(cold: LiteLLMProvider, model: str) -> None:
    assert cold._question(ask(model=model))["model"] == model


@pytest.mark.parametrize("kind", ["mcp", "web_search", "computer_20241022", None, 1])
async def test_a_tool_that_others_run_is_refused(cold: LiteLLMProvider, kind: Any) -> None:
    tools = [TOOL, {"type": kind, "server_url": "http://127.0.0.1:1"}]
    with pytest.raises(BadRequest, match=r"tools\[1\]\.type"):
        await chunks(cold, "deepseek/echo", tools=tools)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}},
        {"type": "image_url", "image_url": "HTTPS://example.org/x.png"},
        {"type": "file", "file": {"file_id": "gs://bucket/x"}},
        {"type": "image_url", "image_url": {"url": " file:///etc/passwd"}},
        {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": "http://127.0.0.1:1"}}]},
    ],
)
async def test_an_address_that_would_be_fetched_from_here_is_refused(cold: LiteLLMProvider, part: Any) -> None:
    text = {"type": "text", "text": "https://example.org is only said"}
    with pytest.raises(BadRequest, match=r"messages\[0\]\.content\[1\]"):
        await chunks(cold, "deepseek/echo", messages=[{"role": "user", "content": [text, part]}])


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "text", "text": "https://example.org"},
        {"type": "thinking", "thinking": "http://127.0.0.1 it is", "signature": "s"},
        {"type": "tool_result", "tool_use_id": "t", "content": "https://example.org"},
        {"type": "tool_use", "id": "t", "name": "fetch", "input": {"url": "https://example.org"}},
    ],
)
async def test_what_is_sent_along_and_what_is_only_said_is_none(cold: LiteLLMProvider, part: Any) -> None:
    messages = [{"role": "user", "content": [part]}, {"role": "assistant", "content": "https://example.org"}]
    assert cold._question(ask(messages=messages))["params"]["messages"] == messages


async def test_a_private_exchange_is_refused(cold: LiteLLMProvider) -> None:
    question = ask(model="deepseek/echo", passport=Passport("x", written=True, looked=True, private=True))
    with pytest.raises(PrivateRefused):
        await anext(cold.answer(question))
    assert not cold.is_local


@pytest.mark.parametrize("lacks", ["written", "looked"])
async def test_nothing_leaves_that_was_not_written_down_and_looked_at(cold: LiteLLMProvider, lacks: str) -> None:
    stamps = {"written": True, "looked": True, lacks: False}
    with pytest.raises(GuardFailed):
        await anext(cold.answer(ask(model="deepseek/echo", passport=Passport("x", **stamps, private=False))))
    assert children_of(cold) is None


# --- the process


async def test_the_child_is_started_by_the_first_question_and_by_no_other(paths: list[str], upstream: Sink) -> None:
    async with provided(variables(upstream.url, *paths)) as provider:
        assert children_of(provider) is None
        await asyncio.gather(chunks(provider), chunks(provider))
        first = children_of(provider)
        await chunks(provider)
        assert children_of(provider) == first is not None
    upstream.clear()


async def test_who_leaves_while_it_starts_does_not_stop_the_start(paths: list[str], upstream: Sink) -> None:
    async with provided(variables(upstream.url, *paths)) as provider:
        asked = asyncio.create_task(chunks(provider))
        await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.wait([asked])
        starting = provider._starting
        assert starting is not None
        await asyncio.wait([starting])
        await chunks(provider)
        assert children_of(provider) == starting.result()._process.pid
    upstream.clear()


async def test_a_child_that_dies_fails_its_answers_and_is_replaced(paths: list[str], upstream: Sink) -> None:
    async with provided(variables(upstream.url, *paths)) as provider:
        upstream.clear()
        asked = asyncio.create_task(chunks(provider, "deepseek/stall"))
        await asyncio.to_thread(upstream.wait_for, 1)
        assert provider._child is not None
        provider._child._process.kill()
        with pytest.raises(ProviderFailed, match="ended in the middle"):
            await asked
        assert b"again" in (await chunks(provider, text="again"))[0].raw
    upstream.clear()


async def test_the_child_ends_when_the_provider_is_closed_and_none_starts_again(paths: list[str], sink: Sink) -> None:
    async with provided(variables(sink.url, *paths)) as provider:
        await provider.ping()
        assert provider._child is not None
        process = provider._child._process
        await provider.close()
        assert process.returncode == 0
        with pytest.raises(ShuttingDown):
            await chunks(provider)


def test_the_child_ends_when_its_parent_is_gone(paths: list[str]) -> None:
    argv = [sys.executable, "-P", "-m", "membrain.providers.litellm_child"]
    environ = environment(variables("http://127.0.0.1:1", *paths), "", "")
    with subprocess.Popen(argv, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        child.stdout.read(4)
        child.stdin.close()  # as the kernel does for whoever was killed
        assert child.wait(5) == 0


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "raise ModuleNotFoundError('gone', name='litellm')",
            r"not installed\. Run: pip install 'membrain\[litellm\]'",
        ),
        ("raise RuntimeError('canary-7f3a')", r"cannot be imported \(RuntimeError\)"),
        ("import os; os._exit(3)", r"cannot be imported \(it ended\)"),
    ],
)
async def test_a_package_that_is_not_there_or_does_not_work_says_so(tmp_path: Path, source: str, sentence: str) -> None:
    async with provided(variables("http://127.0.0.1:1", package(tmp_path, source))) as provider:
        with pytest.raises(ProviderFailed, match=sentence) as failed:
            await chunks(provider)
    assert (failed.value.status, failed.value.code, failed.value.reached) == (503, "provider_not_configured", False)


async def test_the_state_says_whether_it_is_installed(cold: LiteLLMProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        monkeypatch.setattr(importlib.util, "find_spec", lambda _, there=there: object() if there else None)
        state = await cold.state()
        assert (installed(), state.up, state.local) == (there, there, False)
        assert there or state.remedy == "pip install 'membrain[litellm]'"


async def test_it_can_be_made_with_a_key_alone() -> None:
    provider = LiteLLMProvider(api_key="own-0123456789")
    assert "own-0123456789" not in repr(provider)
    await provider.close()


def test_neither_importing_us_nor_starting_a_gateway_imports_litellm(tmp_path: Path, sink: Sink) -> None:
    mark = tmp_path / "imported"
    poison = package(tmp_path / "poison", f"open({str(mark)!r}, 'w').close()")
    paths = os.pathsep.join([poison, str(ROOT / "gateway"), str(ROOT / "client"), str(ROOT)])
    script = (
        "import membrain.providers.litellm as l, membrain.gateway, sys; print(l.installed(), 'litellm' in sys.modules)"
    )
    environ = {**variables(sink.url), "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
    with Served(tmp_path / "home", sink, PYTHONPATH=paths, DEEPSEEK_API_KEY=KEY) as served:
        assert served.chat(model="gpt-4o").status == 200
        assert served.get("/v1/models").status == 200
        assert served.get("/health").status == 200
    assert not mark.exists()
