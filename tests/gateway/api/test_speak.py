"""The road of every byte, from a real caller through a real gateway to a fake upstream and back."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any

import pytest

from membrain import sse
from membrain.api.speak import hints_of
from membrain.errors import BadRequest
from membrain.records import Hints
from tests.growth import assert_within
from tests.served import Served
from tests.sink import Reply, Sink

CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}
CANARY = "canary-7f3a"
PIXEL = "data:image/png;base64,iVBORw0KGgo="
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def served(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("speak") / "home", sink, MEMBRAIN_ROUTING_ATTEMPTS="1") as served:
        yield served
        assert CANARY not in served.assert_sound()


@pytest.fixture(autouse=True)
def _a_clean_sink(sink: Sink) -> None:
    sink.clear()


def hello(model: str = "gpt-4o", text: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def events(body: bytes) -> list[Any]:
    """The data of a stream's events, but for its `[DONE]`, which must be there."""
    *rest, last = sse.parse(body)
    assert last.data == b"[DONE]"
    return [json.loads(each.data) for each in rest]


def text_of(body: bytes) -> str:
    choices = [choice for data in events(body) for choice in data["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices if choice["index"] == 0)


@contextmanager
def raw(served: Served) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", served.port), timeout=10)) as caller:
        yield caller


def heard_from(caller: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    heard = b""
    while piece := caller.recv(65536):
        heard += piece
    return heard


def head_of(served: Served, body: bytes, *more: str) -> bytes:
    lines = [
        f"POST {CHAT} HTTP/1.1",
        f"Host: 127.0.0.1:{served.port}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def record_of(served: Served, id: str) -> dict[str, Any]:
    record: dict[str, Any] = served.get(f"/api/audit/{id}").json()
    return record


def when(served: Served, **wanted: Any) -> dict[str, Any]:
    """The newest record, as soon as it is what is wanted."""
    limit = time.monotonic() + 3
    while True:
        [record] = served.audit(limit=1)
        if {name: record[name] for name in wanted} == wanted:
            return record
        assert time.monotonic() < limit, record
        time.sleep(0.02)


# --- answers


def test_a_whole_answer_comes_as_the_upstream_wrote_it(served: Served, sink: Sink) -> None:
    body = b'{ "choices":[{"message":{"content":"\\u00e9"}}] , "x_unknown":1.0 }'
    sink.script(CHAT, Reply(body=body, headers=JSON))
    answer = served.post(CHAT, hello())
    assert (answer.status, answer.body) == (200, body)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(body))
    assert (answer.headers["x-membrain-provider"], answer.headers["x-membrain-model"]) == ("openai", "gpt-4o")


def test_a_stream_comes_as_the_upstream_wrote_it(served: Served, sink: Sink) -> None:
    chunks = [
        b'data: {"choices":[{"index":0,"delta":{"content":"a"}}], "x":1.0}\n\n',
        b": ping\n\n",
        b'event: odd\ndata: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    ]
    sink.script(CHAT, Reply(chunks=[*chunks, b"data: [DONE]\n\n"], headers={"content-type": "text/event-stream"}))
    answer = served.post(CHAT, hello(stream=True))
    assert answer.body == b"".join(chunks) + b"data: [DONE]\n\n"
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-membrain-provider"] == "openai"


@pytest.mark.parametrize("model", ["gpt-echo", "claude-echo", "ollama/echo"])
@pytest.mark.parametrize("stream", [False, True])
def test_every_provider_answers(served: Served, model: str, stream: bool) -> None:
    answer = served.chat("one two three", model, stream=stream)
    assert answer.status == 200
    text = text_of(answer.body) if stream else answer.json()["choices"][0]["message"]["content"]
    assert text == "one two three"


def test_pieces_of_a_stream_come_as_they_are_made(served: Served) -> None:
    body = json.dumps(hello("gpt-slow-60-chunks-5", stream=True)).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)) as connection:
        connection.request("POST", CHAT, body, JSON)
        response = connection.getresponse()
        began = time.monotonic()
        while response.readline() != b"data: [DONE]\n":
            continue
    assert time.monotonic() - began > 0.2


def test_odd_line_ends_inside_a_text_end_no_line(served: Served) -> None:
    """Clients that split text at U+2028 read every event whole."""
    answer = served.post(CHAT, hello("gpt-u2028-slow-20-chunks-3", stream=True))
    assert text_of(answer.body) == "one\u2028two\u0085three"
    assert answer.body.decode().splitlines() == answer.body.decode().split("\n")[:-1]


# --- completions, embeddings, moderations


@pytest.mark.parametrize("model", ["gpt-echo", "claude-echo", "ollama/echo"])
@pytest.mark.parametrize("asks", [False, True])
def test_a_completion_is_had_of_every_provider_whole_and_streamed(served: Served, model: str, asks: bool) -> None:
    body = {"model": model, "prompt": "one two three"}
    whole = served.post("/v1/completions", body).json()
    assert (whole["object"], whole["choices"][0]["text"]) == ("text_completion", "one two three")
    assert whole["usage"]["prompt_tokens"] > 0
    more = {"stream": True, "stream_options": {"include_usage": asks}}
    pieces = events(served.post("/v1/completions", {**body, **more}).body)
    assert {piece["object"] for piece in pieces} == {"text_completion"}
    choices = [choice for piece in pieces for choice in piece["choices"]]
    assert "".join(choice["text"] for choice in choices) == "one two three"
    assert choices[-1]["finish_reason"] == "stop"
    assert any(piece.get("usage") for piece in pieces) is asks


def test_what_no_chat_can_carry_is_refused_where_there_is_only_chat(served: Served, sink: Sink) -> None:
    body = {"prompt": "a", "echo": True}
    answer = served.post("/v1/completions", {**body, "model": "claude-x"})
    assert (answer.status, answer.json()["error"]["param"]) == (400, "echo")
    assert sink.requests == []
    assert served.post("/v1/completions", {**body, "model": "gpt-x"}).status == 200
    assert sink.wait_for(1)[0].json()["echo"] is True


@pytest.mark.parametrize("shape", ["float", "base64"])
def test_numbers_come_as_the_upstream_wrote_them(served: Served, sink: Sink, shape: str) -> None:
    body = b'{ "object":"list","data":[{"embedding":[0.1,-1E-7,1.0]}],"usage":{"prompt_tokens":5,"total_tokens":5} }'
    sink.script("/v1/embeddings", Reply(body=body, headers=JSON))
    asked = json.dumps({"model": "text-embedding-3-small", "input": ["a", "b"], "encoding_format": shape}).encode()
    answer = served.post("/v1/embeddings", asked)
    assert (answer.status, answer.body) == (200, body)
    assert sink.wait_for(1)[0].body == asked
    record = record_of(served, answer.headers["x-request-id"])
    assert (record["prompt_tokens"], record["completion_tokens"]) == (5, 0)


def test_a_judgement_comes_as_the_upstream_wrote_it(served: Served, sink: Sink) -> None:
    body = b'{ "id":"modr-1","model":"omni-moderation-latest","results":[{"flagged":false}] }'
    sink.script("/v1/moderations", Reply(body=body, headers=JSON))
    answer = served.post("/v1/moderations", {"input": "Hello"})
    assert (answer.status, answer.body) == (200, body)
    assert sink.wait_for(1)[0].json() == {"input": "Hello"}
    record = record_of(served, answer.headers["x-request-id"])
    assert (record["prompt_tokens"], record["completion_tokens"]) == (0, 0)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/moderations"])
def test_who_has_no_numbers_is_not_asked_for_them(served: Served, sink: Sink, path: str) -> None:
    answer = served.post(path, {"model": "claude-x", "input": "Hello"})
    assert 400 <= answer.status < 500
    assert sink.requests == []


# --- a provider of the user's own that speaks more than chat


@pytest.fixture(scope="module")
def own(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway that has two: one that speaks messages, and one that speaks responses."""
    environ = {
        "MEMBRAIN_PROVIDERS_SPEAKER_URL": f"{sink.url}/v1",
        "MEMBRAIN_PROVIDERS_SPEAKER_SPEAKS": "messages",
        "MEMBRAIN_PROVIDERS_RESPONDER_URL": f"{sink.url}/v1",
        "MEMBRAIN_PROVIDERS_RESPONDER_SPEAKS": "responses,moderations",
    }
    with Served(tmp_path_factory.mktemp("own") / "home", sink, MEMBRAIN_ROUTING_ATTEMPTS="1", **environ) as served:
        yield served
        served.assert_sound()


@pytest.mark.parametrize(("name", "path"), [("speaker", "/v1/messages"), ("responder", "/v1/responses")])
@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_of_ones_own_is_asked_in_what_it_speaks(
    own: Served, sink: Sink, name: str, path: str, stream: bool
) -> None:
    answer = own.chat("one two three", f"{name}/echo", stream=stream)
    text = text_of(answer.body) if stream else answer.json()["choices"][0]["message"]["content"]
    assert text == "one two three"
    [asked] = sink.wait_for(1)
    assert (asked.path, asked.json()["model"]) == (path, "echo")
    assert (asked.header.get("anthropic-version") is not None) is (name == "speaker")


def test_what_a_provider_of_ones_own_speaks_passes_as_it_is(own: Served, sink: Sink) -> None:
    body = {"model": "speaker/echo", "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]}
    given = {"anthropic-version": "2099-01-01", "anthropic-beta": "new-2099", "openai-beta": "x"}
    assert own.post("/v1/messages?beta=true", body, **given).json()["content"][0]["text"] == "Hello"
    [asked] = sink.wait_for(1)
    assert asked.path == "/v1/messages?beta=true"
    assert {name: asked.header[name] for name in given} == given
    assert asked.json() == {**body, "model": "echo"}


# --- what goes through


BODIES = [
    b'{ "model" : "gpt-4o","messages":[{"role":"user","content":"\\u00e9 \xc3\xa9"}],"seed":1.0,"x":{"y":[1e2,null]} }',
    json.dumps(hello(tools=[TOOL], tool_choice="auto", parallel_tool_calls=False)).encode(),
    json.dumps(hello(n=2, logprobs=True, top_logprobs=3, user="u", metadata={"a": "b"}, store=False)).encode(),
    json.dumps(
        {
            "model": "gpt-4o",
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": PIXEL}}],
                },
                {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {}}]},
                {"role": "tool", "tool_call_id": "1", "content": "42"},
            ],
        },
        indent=2,
    ).encode(),
    json.dumps(hello(response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON}})).encode(),
    json.dumps(hello(stream=False, stream_options=None, temperature=0, max_completion_tokens=5)).encode(),
]


@pytest.mark.parametrize("body", BODIES, ids=["odd", "tools", "n", "images", "schema", "nulls"])
def test_a_request_reaches_the_upstream_byte_for_byte(served: Served, sink: Sink, body: bytes) -> None:
    assert served.post(CHAT, body).status == 200
    assert sink.wait_for(1)[0].body == body


@pytest.mark.parametrize("body", BODIES[:4], ids=["odd", "tools", "n", "images"])
def test_a_streamed_request_is_changed_in_one_place_only(served: Served, sink: Sink, body: bytes) -> None:
    """Its usage is asked for, in front; all other bytes stay."""
    body = body.replace(b"{", b'{"stream":true,', 1)
    assert served.post(CHAT, body).status == 200
    assert sink.wait_for(1)[0].body == body.replace(b"{", b'{"stream_options":{"include_usage":true},', 1)


def test_a_stream_that_asks_for_its_usage_is_not_changed_at_all(served: Served, sink: Sink) -> None:
    body = json.dumps(hello(stream=True, stream_options={"include_usage": True})).encode()
    assert served.post(CHAT, body).status == 200
    assert sink.wait_for(1)[0].body == body


def test_n_and_logprobs_come_back(served: Served) -> None:
    whole = served.post(CHAT, hello(n=2, logprobs=True)).json()
    assert [choice["index"] for choice in whole["choices"]] == [0, 1]
    assert whole["choices"][1]["logprobs"]["content"]
    assert whole["x_unknown"] == {"kept": True}
    pieces = events(served.post(CHAT, hello(n=2, logprobs=True, stream=True)).body)
    assert {choice["index"] for data in pieces for choice in data["choices"]} == {0, 1}
    assert any(choice["logprobs"] for data in pieces for choice in data["choices"])


@pytest.mark.parametrize("model", ["gpt-4o", "claude-x"])
def test_a_tool_call_comes_back(served: Served, model: str) -> None:
    (choice,) = served.post(CHAT, hello(model, tools=[TOOL])).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {"city": "Ada"}
    pieces = events(served.post(CHAT, hello(model, tools=[TOOL], stream=True)).body)
    choices = [choice for data in pieces for choice in data["choices"]]
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls") or []]
    assert json.loads("".join(call["function"].get("arguments") or "" for call in calls)) == {"city": "Ada"}
    assert choices[-1]["finish_reason"] == "tool_calls"


def test_structured_output_comes_back(served: Served) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON}}
    (choice,) = served.post(CHAT, hello(response_format=wanted)).json()["choices"]
    assert json.loads(choice["message"]["content"]) == {"name": "Ada", "age": 36}


# --- usage


@pytest.mark.parametrize("model", ["gpt-4o", "claude-x", "ollama/llama3"])
def test_usage_is_shown_to_who_asked_and_to_nobody_else(served: Served, model: str) -> None:
    quiet = events(served.post(CHAT, hello(model, stream=True)).body)
    assert all(data["choices"] and "usage" not in data for data in quiet)
    asked = events(served.post(CHAT, hello(model, stream=True, stream_options={"include_usage": True})).body)
    assert asked[-1]["choices"] == []
    assert asked[-1]["usage"]["prompt_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_and_money_are_on_record(served: Served, stream: bool) -> None:
    id = served.post(CHAT, hello(stream=stream)).headers["x-request-id"]
    record = record_of(served, id)
    assert (record["prompt_tokens"], record["completion_tokens"], record["estimated"]) == (9, 8, False)
    assert record["cost_micros"] == 103  # nine at 2.50 and eight at 10.00, the broken one rounded up


# --- ids, headers


def test_every_answer_has_an_id_and_it_is_the_audits(served: Served) -> None:
    answers = [
        served.post(CHAT, hello()),
        served.post(CHAT, hello(stream=True)),
        served.post(CHAT, hello("gpt-status-429")),
        served.post(CHAT, hello("gpt-reset", stream=True)),
        served.post(CHAT, hello(), authorization="Bearer ck_live_wrong"),
    ]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    assert [record_of(served, id)["id"] for id in ids] == ids
    unrecorded = [
        served.post(CHAT, b"{"),
        served.get("/nowhere"),
        served.get("/health"),
        served.get("/v1/models"),
        served.get(CHAT),
        served.request("POST", CHAT, b"{}", {"host": "evil.example", **JSON}),
    ]
    assert all(len(answer.headers["x-request-id"]) == 24 for answer in unrecorded)


def test_no_answer_says_what_serves_it(served: Served) -> None:
    answer = served.post(CHAT, hello())
    assert "server" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers


def test_the_callers_label_and_wishes_are_on_record(served: Served) -> None:
    wishes = {"x-membrain-user-id": "ada" + "x" * 200, "x-membrain-tier": "speed", "x-membrain-private": "1"}
    answer = served.post(CHAT, hello("auto"), **wishes)
    record = record_of(served, answer.headers["x-request-id"])
    assert record["user"] == ("ada" + "x" * 200)[:128]
    assert (record["private"], record["tier"], record["provider"]) == (True, "fast", "ollama")


def test_a_private_request_reaches_nobody_but_who_is_here(served: Served, sink: Sink) -> None:
    for model in ("gpt-4o", "claude-x"):
        answer = served.post(CHAT, hello(model, CANARY), **{"x-membrain-private": "true"})
        assert (answer.status, answer.json()["error"]["code"]) == (403, "private_refused")
        assert answer.headers["x-should-retry"] == "false"
    assert CANARY.encode() not in sink.bytes_seen()
    answer = served.post(CHAT, hello("auto"), **{"x-membrain-private": "true"})
    assert (answer.status, answer.headers["x-membrain-provider"]) == (200, "ollama")


@pytest.mark.parametrize(
    ("value", "private"),
    [
        *((value, True) for value in ("true", "1", "yes", "TRUE", "on", "maybe", "tru", "2", "")),
        *((value, False) for value in ("false", "0", "no", "off", "False ")),
        (None, False),
    ],
)
def test_a_private_flag_that_cannot_be_read_is_private(value: str | None, private: bool) -> None:
    assert hints_of({} if value is None else {"x-membrain-private": value}).private is private


@pytest.mark.parametrize("value", ["", "free", "-1", "nan", "inf", "-inf", "1e999", "0x1", "1,5"])
def test_a_cost_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(BadRequest) as refused:
        hints_of({"x-membrain-max-cost": value})
    assert refused.value.param == "x-membrain-max-cost"


def test_wishes_are_read() -> None:
    given = {"x-membrain-tier": "best", "x-membrain-max-cost": "0.01", "x-membrain-private": "no"}
    assert hints_of(given) == Hints("best", private=False, max_cost=0.01)
    assert hints_of({"x-membrain-tier": ""}) == Hints()


# --- errors


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 402, 404, 413, 422, 429, 500, 503, 529])
@pytest.mark.parametrize("model", ["gpt", "claude", "ollama/x"])
def test_an_upstreams_refusal_keeps_its_status_and_its_words(
    served: Served, model: str, status: int, stream: bool
) -> None:
    answer = served.post(CHAT, hello(f"{model}-status-{status}", stream=stream))
    assert answer.status == status
    told = answer.json()
    assert told["error"].keys() == {"message", "type", "param", "code"}
    assert told["detail"] == told["error"]["message"] == f"The sink was asked for a {status}."
    assert answer.headers.get("retry-after") == ("7" if status == 429 else None)
    assert "x-should-retry" not in answer.headers


@pytest.mark.parametrize("status", [401, 403])
def test_an_upstream_that_refuses_its_key_does_not_blame_the_caller(served: Served, status: int) -> None:
    answer = served.post(CHAT, hello(f"gpt-status-{status}"))
    assert (answer.status, answer.json()["error"]["code"]) == (502, "provider_key_refused")
    assert answer.headers["x-should-retry"] == "false"


def test_a_refusal_takes_no_time(served: Served) -> None:
    """Although the caller has sent everything and is silent."""

    def refused(body: bytes) -> None:
        assert served.post(CHAT, body).status == 400

    for body in (b"{bad", b"[]", b"{}"):
        assert_within(0.5, partial(refused, body), time.monotonic)


def test_one_connection_goes_on_after_refusals(served: Served) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)) as connection:
        connection.connect()
        port = connection.sock.getsockname()[1]
        for body, status in ((b"{bad", 400), (hello(), 200), (hello("gpt-status-429"), 429), (hello(stream=True), 200)):
            connection.request("POST", CHAT, body if isinstance(body, bytes) else json.dumps(body), JSON)
            response = connection.getresponse()
            response.read()
            assert response.status == status
        assert connection.sock.getsockname()[1] == port


@pytest.mark.parametrize(
    "lines",
    [
        ["Host: evil.example"],
        ["Content-Type: text/plain"],
        ["Authorization: Bearer a", "Authorization: Bearer b"],
        ["x-membrain-private: true", "x-membrain-private: false"],
        ["Origin: http://127.0.0.1:1", "Origin: http://evil.example"],
    ],
    ids=lambda lines: lines[0],
)
def test_a_header_that_says_two_things_is_refused(served: Served, sink: Sink, lines: list[str]) -> None:
    body = json.dumps(hello(text=CANARY)).encode()
    with raw(served) as caller:
        caller.sendall(head_of(served, body, "Connection: close", *lines) + body)
        answer = heard_from(caller)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"came twice" in answer
    assert not sink.requests


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5"],
        ["Transfer-Encoding: chunked"],
        ["x-odd: a\rb"],
        [" folded: x"],
        ["bad header: x"],
        ["x\x00: y"],
    ],
    ids=repr,
)
def test_a_request_that_two_readers_read_differently_is_refused(served: Served, sink: Sink, lines: list[str]) -> None:
    body = json.dumps(hello()).encode()
    with raw(served) as caller:
        caller.sendall(head_of(served, body, *lines) + body)
        assert caller.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert not sink.requests


def test_who_says_nothing_of_a_body_hears_what_is_missing(served: Served) -> None:
    answer = served.request("POST", CHAT, None, JSON)
    assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_request")


@pytest.mark.slow
def test_the_rest_of_a_body_that_was_refused_is_no_other_request(served: Served) -> None:
    """A refusal before the body was read to its end ends the connection."""
    heard = b""
    with raw(served) as caller:
        head = head_of(served, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        caller.sendall(head + b"fffffff\r\n" + b" " * (21 << 20))
        while b"\r\n\r\n" not in heard:
            heard += caller.recv(65536)
        with suppress(ConnectionError):
            caller.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            while piece := caller.recv(65536):
                heard += piece
    assert heard.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in heard.lower()
    assert heard.count(b"HTTP/1.1") == 1


# --- in mid-stream


@pytest.mark.parametrize("model", ["gpt", "claude", "ollama/x"])
@pytest.mark.parametrize("trouble", ["reset-mid", "cut-mid", "sse-error-mid"])
def test_a_stream_that_breaks_looks_broken(served: Served, model: str, trouble: str) -> None:
    """An error event, and no proper end: neither `[DONE]` nor the last chunk of the body."""
    body = json.dumps(hello(f"{model}-{trouble}-slow-10", stream=True)).encode()
    with raw(served) as caller:
        caller.sendall(head_of(served, body) + body)
        heard = heard_from(caller)
    assert heard.startswith(b"HTTP/1.1 200 ")
    assert b'"content":"' in heard
    last = [line for line in heard.split(b"\n") if line.startswith(b"data: ")][-1]
    error = json.loads(last[6:])["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert b"[DONE]" not in heard
    assert not heard.endswith(b"0\r\n\r\n")
    record = when(served, outcome="failed")
    provider = {"gpt": "openai", "claude": "anthropic"}.get(model, "ollama")
    assert (record["status"], record["provider"]) == (200, provider)
    assert record["error"]
    assert record["completion_tokens"] is not None


# --- hanging up


@pytest.mark.parametrize(
    ("model", "stream"),
    [
        ("gpt-stall", False),
        ("gpt-stall", True),
        ("gpt-stall-mid", True),
        ("claude-stall-mid", True),
        ("ollama/stall", False),
    ],
)
def test_a_hang_up_closes_the_upstream_within_a_second(served: Served, sink: Sink, model: str, stream: bool) -> None:
    body = json.dumps(hello(model, stream=stream)).encode()
    with raw(served) as caller:
        caller.sendall(head_of(served, body) + body)
        asked = next(each for each in sink.wait_for(1) if each.method == "POST")
        if model.endswith("mid"):
            assert caller.recv(1000)
        time.sleep(0.1)
    assert asked.closed.wait(1)
    record = when(served, outcome="aborted", model=model)
    assert record["status"] == (200 if model.endswith("mid") else None)
    assert served.get("/health").json()["running"] == 0


def test_a_caller_who_is_gone_before_we_look_asks_nobody(served: Served, sink: Sink) -> None:
    """Whose process it was can no longer be told, where it can be told at all; else its upstream is closed."""
    body = json.dumps(hello("gpt-stall-once")).encode()
    with raw(served) as caller:
        caller.sendall(head_of(served, body) + body)
    record = when(served, model="gpt-stall-once")
    if record["outcome"] != "refused":
        when(served, outcome="aborted", model="gpt-stall-once")
    assert all(each.closed.wait(1) for each in sink.requests)


def test_a_hang_up_in_the_middle_of_the_body_asks_nobody(served: Served, sink: Sink) -> None:
    before = served.audit(limit=1)
    with raw(served) as caller:
        caller.sendall(head_of(served, b"x" * 1000) + b'{"model":')
        time.sleep(0.1)
    time.sleep(0.1)
    assert served.get("/health").json()["running"] == 0
    assert served.audit(limit=1) == before
    assert not sink.requests


def test_answers_never_get_mixed_up_whoever_hangs_up(served: Served) -> None:
    """Many at once, every other one cut off at some moment: whoever stays gets their own words."""

    async def one(number: int, patience: float | None) -> bool:
        text = f"nonce-{number}-{number * 7919}-end"
        stream = number % 3 == 0
        body = json.dumps(hello("gpt-echo-slow-3", text, stream=stream)).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        try:
            writer.write(head_of(served, body, "Connection: close") + body)
            if patience is not None:
                await asyncio.sleep(patience)
                return True
            heard = await reader.read()
        finally:
            writer.close()
        head, _, answer = heard.partition(b"\r\n\r\n")
        if stream:
            pieces = [line[6:] for line in answer.split(b"\n") if line.startswith(b"data: {")]
            choices = [choice for each in pieces for choice in json.loads(each)["choices"]]
            found = "".join(choice["delta"].get("content") or "" for choice in choices)
        else:
            found = json.loads(answer)["choices"][0]["message"]["content"]
        return found == text and b"200 OK" in head

    async def everybody() -> list[bool]:
        patience = [None if number % 2 else number % 40 / 1000 for number in range(240)]
        limit = asyncio.Semaphore(60)

        async def within(number: int) -> bool:
            async with limit:
                return await one(number, patience[number])

        return await asyncio.gather(*(within(number) for number in range(240)))

    assert all(asyncio.run(everybody()))


# --- what is acknowledged is on record


def outcome_on_disk(served: Served, id: str) -> str | None:
    """Read past the gateway, in the very moment the caller knows."""
    with closing(sqlite3.connect(f"file:{served.home}/data/membrain.db?mode=ro", uri=True)) as database:
        row = database.execute("SELECT outcome FROM exchanges WHERE id = ?", (id,)).fetchone()
    return row[0] if row else None


@pytest.mark.parametrize("stream", [False, True])
def test_the_end_is_told_only_when_the_outcome_is_on_record(served: Served, stream: bool) -> None:
    body = json.dumps(hello(stream=stream)).encode()
    with raw(served) as caller:
        for _ in range(25):
            caller.sendall(head_of(served, body) + body)
            heard = b""
            while not (heard.endswith(b"0\r\n\r\n") if stream else heard.endswith(b"}")):
                heard += caller.recv(65536)
                if b"[DONE]" in heard or (not stream and b"\r\n\r\n{" in heard):
                    id = heard.lower().split(b"x-request-id: ")[1][:24].decode()
                    assert outcome_on_disk(served, id) == "answered"


def test_nothing_leaves_before_the_intent_is_on_record(served: Served, sink: Sink) -> None:
    body = json.dumps(hello("gpt-stall")).encode()
    with raw(served) as caller:
        caller.sendall(head_of(served, body) + body)
        sink.wait_for(1)
        with closing(sqlite3.connect(f"file:{served.home}/data/membrain.db?mode=ro", uri=True)) as database:
            query = "SELECT outcome FROM exchanges ORDER BY rowid DESC LIMIT 1"
            assert database.execute(query).fetchone() == ("open",)


@contextmanager
def nobody_can_write(served: Served) -> Iterator[None]:
    """Another program holds the audit's file."""
    with closing(sqlite3.connect(served.home / "data" / "membrain.db", isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield
        database.execute("ROLLBACK")


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_written_down_is_not_sent(served: Served, sink: Sink, stream: bool) -> None:
    with nobody_can_write(served):
        answer = served.chat(CANARY, stream=stream)
        assert (answer.status, answer.json()["error"]["code"]) == (503, "audit_unavailable")
        assert answer.headers["x-should-retry"] == "false"
    assert not sink.requests
    assert served.chat().status == 200


@pytest.mark.slow
def test_an_outcome_that_cannot_be_written_down_is_no_proper_end(served: Served, sink: Sink) -> None:
    body = json.dumps(hello("gpt-slow-20-chunks-5", stream=True)).encode()
    with raw(served) as caller:
        caller.sendall(head_of(served, body) + body)
        heard = caller.recv(65536)
        with nobody_can_write(served):
            heard += heard_from(caller)
    assert b'"code":"audit_unavailable"' in heard
    assert b"[DONE]" not in heard
    assert served.chat().status == 200


# --- what nobody may see


def test_no_word_and_no_key_is_in_what_the_gateway_keeps(served: Served, sink: Sink) -> None:
    """Whatever went through, and however it ended."""
    for model in ("gpt-echo", "claude-echo", "gpt-reset", "gpt-garbage", "gpt-status-400", "gpt-cut-mid", "mine/none"):
        for stream in (False, True):
            with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)) as connection:
                connection.request("POST", CHAT, json.dumps(hello(model, CANARY, stream=stream)), JSON)
                with closing(connection.getresponse()):
                    pass
    served.post(CHAT, b'{"model":"' + CANARY.encode() + b'\xff"}')
    time.sleep(0.2)
    kept = b"".join(path.read_bytes() for path in served.home.rglob("*") if path.is_file())
    assert CANARY.encode() not in kept
    assert b"sk-canary" not in kept
    assert b"sk-canary" not in served.log.read_bytes()
