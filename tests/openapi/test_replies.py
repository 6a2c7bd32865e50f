"""What the gateway itself composes fits OpenAI's published schema: translated answers, its models, its errors, replays.

What a provider sent in the caller's own dialect is handed on as it came, so it is the provider's to keep to the schema.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from http.client import IncompleteRead
from typing import Any
from urllib.request import Request, urlopen

import pytest

from membrain.dialects.chat import Chat
from membrain.egress import Egress
from membrain.local.engine import Engine
from membrain.providers.base import Ask
from membrain.providers.local import LocalProvider
from membrain.records import Passport
from tests.models import real_models_dir
from tests.openapi.published import check, check_event
from tests.served import Served

CLAUDE = "claude-opus-4-6"
TEXTS = ["Write to ada@example.com", "This is cut off", "Use every tool for ada@example.com"]
SCHEMA = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"], "additionalProperties": False}
CHAT_TOOLS = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("write", "call")]
TOOLS = [{"type": "function", "name": name, "parameters": SCHEMA, "strict": True} for name in ("write", "call")]
PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
HOW_CHAT: list[Any] = [
    {},
    {"tools": CHAT_TOOLS},
    {"reasoning_effort": "low"},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}},
]
HOW_RESPONSES: list[Any] = [
    {},
    {"tools": TOOLS},
    {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]},
    {"text": {"format": {"type": "json_schema", "name": "person", "schema": PERSON}}},
    {"instructions": "Be brief.", "metadata": {"for": "a test"}, "max_output_tokens": 100, "temperature": 0.5},
]


def frames(raw: bytes) -> list[Any]:
    """The data of a stream's frames, [DONE] left out."""
    return [json.loads(line[6:]) for line in raw.decode().split("\n") if line.startswith("data: {")]


def chat(gateway: Served, model: str, text: str, **more: Any) -> Any:
    return gateway.chat(text, model, **more)


def responses(gateway: Served, model: str, said: str, **more: Any) -> Any:
    return gateway.post("/v1/responses", {"model": model, "input": said, **more})


@pytest.mark.parametrize("how", HOW_CHAT)
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("model", [CLAUDE, "gpt-5-codex"])
def test_chat_before_others_is_as_published(gateway: Served, model: str, text: str, how: Any) -> None:
    whole = chat(gateway, model, text, **how)
    assert whole.status == 200, whole.body
    check("CreateChatCompletionResponse", whole.json())
    for more in ({}, {"stream_options": {"include_usage": True}}):
        streamed = chat(gateway, model, text, stream=True, **more, **how)
        pieces = frames(streamed.body)
        for piece in pieces:
            check("CreateChatCompletionStreamResponse", piece)
        assert [*finishes(pieces)] == [whole.json()["choices"][0]["finish_reason"]]
        assert streamed.body.endswith(b"data: [DONE]\n\n")


def finishes(pieces: list[Any]) -> Iterator[str]:
    """Why each choice ended."""
    for piece in pieces:
        yield from (choice["finish_reason"] for choice in piece["choices"] if choice["finish_reason"])


@pytest.mark.parametrize("how", HOW_RESPONSES)
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("model", [CLAUDE, "chatty/tiny"])
def test_responses_before_others_are_as_published(gateway: Served, model: str, text: str, how: Any) -> None:
    whole = responses(gateway, model, text, **how)
    assert whole.status == 200, whole.body
    check("Response", whole.json())
    events = frames(responses(gateway, model, text, stream=True, **how).body)
    for event in events:
        check_event(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == f"response.{whole.json()['status']}"
    said = {**events[-1]["response"], "id": "", "created_at": 0, "completed_at": 0}
    assert bare(said) == bare({**whole.json(), "id": "", "created_at": 0, "completed_at": 0})


def bare(said: Any) -> Any:
    """A response without the ids of its items, which are made up anew each time."""
    said["output"] = [{**item, "id": ""} for item in said["output"]]
    return said


def test_completions_before_others_are_as_published(gateway: Served) -> None:
    asked = {"model": CLAUDE, "prompt": "Dear ada@example.com", "max_tokens": 20}
    whole = gateway.post("/v1/completions", asked)
    assert whole.status == 200, whole.body
    check("CreateCompletionResponse", whole.json())
    for piece in frames(gateway.post("/v1/completions", {**asked, "stream": True}).body):
        check("CreateCompletionResponse", piece)


def test_what_the_cache_replays_is_as_published(gateway: Served) -> None:
    for model in ("gpt-4o", CLAUDE):
        for tools in ({}, {"tools": CHAT_TOOLS}):
            asked: Any = {"text": "Say it again", "model": model, "temperature": 0, "cache": True, **tools}
            gateway.chat(**asked)
            whole, streamed = gateway.chat(**asked), gateway.chat(**asked, stream=True)
            assert whole.headers["x-membrain-cache"] == streamed.headers["x-membrain-cache"] == "hit"
            check("CreateChatCompletionResponse", whole.json())
            for piece in frames(streamed.body):
                check("CreateChatCompletionStreamResponse", piece)


def test_models_are_as_published(gateway: Served) -> None:
    listed = gateway.get("/v1/models").json()
    check("ListModelsResponse", listed)
    assert {"gpt-4o", "auto", "tiny"} <= {model["id"] for model in listed["data"]}
    check("Model", gateway.get("/v1/models/gpt-4o").json())


ROUTES: dict[str, Any] = {
    "/v1/chat/completions": {"model": "gpt-4o", "messages": [{"role": "user", "content": "status {}"}]},
    "/v1/responses": {"model": "gpt-4o", "input": "status {}"},
    "/v1/completions": {"model": "gpt-3.5-turbo-instruct", "prompt": "status {}"},
}


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 500, 503])
@pytest.mark.parametrize("model", [None, CLAUDE])
def test_a_providers_error_is_as_published(gateway: Served, path: str, status: int, model: str | None) -> None:
    asked = json.loads(json.dumps(ROUTES[path]).replace("{}", str(status)))
    if model:
        asked |= {"model": model}
    for stream in (False, True):
        refused = gateway.post(path, {**asked, "stream": stream})
        assert refused.status >= 400
        check("ErrorResponse", refused.json())


REFUSED = ("audio/speech", "audio/transcriptions", "images/generations", "files", "batches", "realtime/sessions")

WRONG: list[tuple[str, str, Any, dict[str, str]]] = [
    ("POST", "/v1/chat/completions", {"model": "gpt-4o"}, {}),
    ("POST", "/v1/completions", {"model": "gpt-3.5-turbo-instruct"}, {}),
    ("POST", "/v1/responses", {"input": "no model"}, {}),
    *(("POST", path, b"{no json", {}) for path in ROUTES),
    *(("POST", path, {**body, "model": "ollama/llama3"}, {}) for path, body in ROUTES.items()),
    *(("POST", path, body, {"authorization": "Bearer ck_live_wrong"}) for path, body in ROUTES.items()),
    *(("GET", path, None, {}) for path in ROUTES),
    ("POST", "/v1/embeddings", {"model": "text-embedding-3-small"}, {}),
    ("POST", "/v1/embeddings", {"model": CLAUDE, "input": "x"}, {}),
    ("POST", "/v1/moderations", b"[]", {}),
    ("GET", "/v1/models/no-such-model", None, {}),
    ("GET", "/v1/no-such-route", None, {}),
    ("GET", "/v1/responses/resp_that_nobody_made", None, {}),
    *(("POST", f"/v1/{path}", {"model": "gpt-4o", "input": "x"}, {}) for path in REFUSED),
]


@pytest.mark.parametrize(("method", "path", "body", "headers"), WRONG)
def test_its_own_errors_are_as_published(gateway: Served, method: str, path: str, body: Any, headers: Any) -> None:
    raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    refused = gateway.request(method, path, raw, {"content-type": "application/json", **headers})
    assert refused.status >= 400
    check("ErrorResponse", refused.json())


@pytest.fixture
async def local() -> AsyncIterator[LocalProvider]:
    """The embedded model, with the real weights."""
    egress = Egress()
    provider = LocalProvider(Engine(real_models_dir(), spawn=egress.spawn), egress)
    yield provider
    await provider.close()
    await egress.close()


@pytest.mark.slow
@pytest.mark.anyio
async def test_the_embedded_models_answers_are_as_published(local: LocalProvider) -> None:
    private = Passport("e1", written=True, looked=True, private=True)
    hows: list[Any] = [
        {},
        {"stream": True},
        {"logprobs": True, "top_logprobs": 2},
        {"logprobs": True, "top_logprobs": 2, "stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
    ]
    for how in hows:
        messages = [{"role": "user", "content": "What is the capital of France?"}]
        body = json.dumps({"model": local.MODEL, "messages": messages, "max_tokens": 8, **how})
        ask = Ask(Chat().read(body.encode(), depth=100), local.MODEL, private)
        raw = b"".join([chunk.raw async for chunk in local.answer(ask)])
        for data in frames(raw) if "stream" in how else [json.loads(raw)]:
            check(f"CreateChatCompletion{'Stream' if 'stream' in how else ''}Response", data)


@pytest.mark.parametrize("model", ["gpt-cut-mid", "claude-cut-mid"])
def test_a_stream_that_breaks_ends_with_a_published_error(shared_gateway: Served, model: str) -> None:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "x"}]}
    *pieces, error = frames(told_until_cut(shared_gateway, "/v1/chat/completions", body))
    assert pieces
    check("ErrorResponse", error)


def told_until_cut(gateway: Served, path: str, body: Any) -> bytes:
    """What came before the connection was cut."""
    asked = Request(gateway.url + path, json.dumps(body).encode(), {"content-type": "application/json"})
    told = b""
    with urlopen(asked, timeout=10) as answer:
        try:
            while piece := answer.read1(65536):
                told += piece
        except IncompleteRead:
            return told
    raise AssertionError("the stream ended as if all were well")
