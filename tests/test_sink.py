"""The fake upstream keeps what it is sent, satisfies the real SDKs, and misbehaves as told."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import anthropic
import openai
import pytest

from tests.sink import INSTEAD, MIDWAY, Recorded, Reply, Sink

CHAT = "/v1/chat/completions"
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
OPENAI_TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
ANTHROPIC_TOOL: Any = {"name": "weather", "input_schema": WEATHER}


@contextmanager
def by_hand(sink: Sink) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", sink.port, timeout=5)
    with closing(connection):
        yield connection


@contextmanager
def post(sink: Sink, model: str, *, stream: bool = False) -> Iterator[http.client.HTTPResponse]:
    """One chat request on a connection of its own."""
    body = {"model": model, "messages": [{"role": "user", "content": "say é"}], "stream": stream}
    with by_hand(sink) as connection:
        connection.request("POST", CHAT, json.dumps(body), {"content-type": "application/json"})
        with connection.getresponse() as response:
            yield response


def read(sink: Sink, model: str, *, stream: bool = False) -> bytes:
    with post(sink, model, stream=stream) as response:
        return response.read()


def openai_client(sink: Sink) -> openai.OpenAI:
    return openai.OpenAI(base_url=sink.url + "/v1", api_key="sk-test", max_retries=0)


def anthropic_client(sink: Sink) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=sink.url, api_key="sk-test", max_retries=0)


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


# --- keeping what it is sent


def test_every_byte_of_a_request_is_kept(sink: Sink) -> None:
    with socket.create_connection(("127.0.0.1", sink.port)) as peer:
        sent = b"POST /v1/x?beta=true HTTP/1.1\r\nHost: a\r\nX-Odd:  b \r\nContent-Length: 3\r\n\r\n\xff\x00z"
        peer.sendall(sent)
        seen = sink.wait_for(1)[0]
        assert peer.recv(100).startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert (seen.method, seen.path, seen.body) == ("POST", "/v1/x?beta=true", b"\xff\x00z")
    assert seen.headers[1] == (b"X-Odd", b"b")
    assert seen.header["x-odd"] == "b"
    assert sink.bytes_seen() == sent


def test_a_chunked_body_is_put_together(sink: Sink) -> None:
    with by_hand(sink) as connection:
        connection.request("POST", "/x", iter([b"ab", b"c"]), encode_chunked=True)
        connection.getresponse().read()
    assert sink.requests[0].body == b"abc"


def test_a_connection_is_kept_for_the_next_request(sink: Sink) -> None:
    with by_hand(sink) as connection:
        for _ in range(3):
            connection.request("GET", "/v1/models")
            connection.getresponse().read()
        assert (len(sink.requests), sink.connections) == (3, 1)
        assert not sink.requests[0].closed.is_set()
    assert sink.requests[0].closed.wait(2)


def test_a_peer_who_leaves_during_a_stall_is_noticed(sink: Sink) -> None:
    peer = socket.create_connection(("127.0.0.1", sink.port))
    peer.sendall(b'POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 17\r\n\r\n{"model":"stall"}')
    request: Recorded = sink.wait_for(1)[0]
    assert not request.closed.wait(0.05)
    peer.close()
    assert request.closed.wait(2)


def test_waiting_in_vain_says_how_many_came(sink: Sink) -> None:
    with pytest.raises(TimeoutError, match="saw 0 requests, not 2"):
        sink.wait_for(2, timeout=0.01)


def test_clear_forgets_requests_bytes_and_scripts(sink: Sink) -> None:
    sink.script(CHAT, Reply(status=503), forever=True)
    read(sink, "m")
    sink.clear()
    assert (sink.requests, sink.bytes_seen()) == ([], b"")
    with post(sink, "m") as response:
        assert response.status == 200


def test_malformed_http_fails_the_test_that_sent_it() -> None:
    sink = Sink().__enter__()
    with socket.create_connection(("127.0.0.1", sink.port)) as peer:
        peer.sendall(b"nonsense\r\n\r\n")
        assert peer.recv(100) == b""
    with pytest.raises(ValueError, match="unpack"):
        sink.__exit__(None, None, None)


# --- satisfying the real SDKs


def test_openai_reads_a_whole_answer(sink: Sink) -> None:
    with openai_client(sink) as client:
        answer = client.chat.completions.create(model="echo", messages=user("what I said"), n=2)
    assert [choice.message.content for choice in answer.choices] == ["what I said"] * 2
    assert answer.usage
    assert answer.usage.total_tokens > 0
    assert answer.model_extra == {"x_unknown": {"kept": True}}
    assert answer.choices[0].logprobs is None


@pytest.mark.parametrize("model", ["chunks-20", "chunks-20-crlf", "chunks-20-slow-1", "chunks-20-no-done"])
def test_openai_reads_a_stream(sink: Sink, model: str) -> None:
    options: Any = {"include_usage": True}
    with openai_client(sink) as client:
        stream = client.chat.completions.create(model=model, messages=user("x"), stream=True, stream_options=options)
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "".join(f"w{i} " for i in range(20))
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 20
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_openai_is_asked_to_call_a_tool(sink: Sink) -> None:
    options: Any = {"model": "m", "messages": user("x"), "tools": [OPENAI_TOOL]}
    with openai_client(sink) as client:
        whole: Any = client.chat.completions.create(**options)
        with client.chat.completions.stream(**options) as events:
            streamed: Any = events.get_final_completion()
    for answer in (whole, streamed):
        call = answer.choices[0].message.tool_calls[0].function
        assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Ada", "days": 36})
        assert answer.choices[0].finish_reason == "tool_calls"


def test_tools_rest_when_refused_or_answered(sink: Sink) -> None:
    done: Any = [*user("x"), {"role": "tool", "tool_call_id": "1", "content": "rain"}]
    with openai_client(sink) as client:
        refused = client.chat.completions.create(model="m", messages=user("x"), tools=[OPENAI_TOOL], tool_choice="none")
        answered = client.chat.completions.create(model="m", messages=done, tools=[OPENAI_TOOL])
    assert refused.choices[0].finish_reason == answered.choices[0].finish_reason == "stop"


def test_structured_output_fits_its_schema(sink: Sink) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    with openai_client(sink) as client:
        answer = client.chat.completions.create(model="m", messages=user("x"), response_format=wanted)
    assert json.loads(answer.choices[0].message.content or "") == {"name": "Ada", "age": 36}


def test_anthropic_reads_a_whole_answer(sink: Sink) -> None:
    with anthropic_client(sink) as client:
        answer: Any = client.messages.create(model="echo", max_tokens=9, messages=user("what I said"))
    assert (answer.content[0].text, answer.stop_reason) == ("what I said", "end_turn")
    assert answer.usage.output_tokens > 0


def test_anthropic_reads_a_stream(sink: Sink) -> None:
    with anthropic_client(sink) as client:
        options: Any = {"model": "echo-chunks-5-crlf", "max_tokens": 9, "messages": user("what I said")}
        with client.messages.stream(**options) as stream:
            assert "".join(stream.text_stream) == "what I said"
            assert stream.get_final_message().usage.output_tokens == 4


def test_anthropic_is_asked_to_call_a_tool(sink: Sink) -> None:
    options: Any = {"model": "m", "max_tokens": 9, "messages": user("x"), "tools": [ANTHROPIC_TOOL]}
    with anthropic_client(sink) as client:
        whole: Any = client.messages.create(**options)
        with client.messages.stream(**options) as events:
            streamed: Any = events.get_final_message()
    for answer in (whole, streamed):
        assert answer.stop_reason == "tool_use"
        assert answer.content[0].input == {"city": "Ada", "days": 36}


def test_anthropic_tool_results_are_answered_in_words(sink: Sink) -> None:
    result: Any = [{"type": "tool_result", "tool_use_id": "1", "content": "rain"}]
    with anthropic_client(sink) as client:
        answer: Any = client.messages.create(
            model="m", max_tokens=9, messages=[{"role": "user", "content": result}], tools=[ANTHROPIC_TOOL]
        )
    assert answer.stop_reason == "end_turn"


def test_each_sdk_lists_models_in_its_own_shape(sink: Sink) -> None:
    with openai_client(sink) as ours, anthropic_client(sink) as theirs:
        assert [model.id for model in ours.models.list()] == sink.models
        assert [model.id for model in theirs.models.list()] == sink.models
        assert ours.models.retrieve("echo").owned_by == "sink"
        assert theirs.models.retrieve("echo").display_name == "Echo"


def test_ollama_questions_are_answered(sink: Sink) -> None:
    sink.ollama.append("gpt-oss:120b-cloud")
    with by_hand(sink) as connection:
        connection.request("GET", "/api/tags")
        names = {m["name"]: "remote_host" in m for m in json.load(connection.getresponse())["models"]}
        connection.request("POST", "/api/show", json.dumps({"model": "llama3"}))
        assert json.load(connection.getresponse())["capabilities"] == ["completion"]
    assert names == {"llama3:latest": False, "qwen2.5:0.5b": False, "gpt-oss:120b-cloud": True}


# --- misbehaving as told


@pytest.mark.parametrize(
    ("status", "raised", "code"),
    [
        (401, openai.AuthenticationError, "invalid_api_key"),
        (402, openai.APIStatusError, "insufficient_quota"),
        (429, openai.RateLimitError, "rate_limit_exceeded"),
        (500, openai.InternalServerError, "server_error"),
    ],
)
def test_statuses_come_in_openais_shape(
    sink: Sink, status: int, raised: type[openai.APIStatusError], code: str
) -> None:
    with openai_client(sink) as client, pytest.raises(raised) as caught:
        client.chat.completions.create(model=f"status-{status}", messages=user("x"))
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert caught.value.response.headers.get("retry-after") == ("7" if status == 429 else None)


def test_statuses_come_in_anthropics_shape(sink: Sink) -> None:
    with anthropic_client(sink) as client, pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(model="status-529", max_tokens=9, messages=user("x"))
    assert caught.value.status_code == 529
    assert "overloaded_error" in str(caught.value.body)


@pytest.mark.parametrize("model", ["reset", "reset-mid"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_reset_is_a_reset(sink: Sink, model: str, stream: bool) -> None:
    with pytest.raises(ConnectionResetError):
        read(sink, model, stream=stream)


def test_garbage_is_not_http(sink: Sink) -> None:
    with pytest.raises(http.client.BadStatusLine):
        read(sink, "garbage")


@pytest.mark.parametrize(("model", "pieces"), [("stall", 0), ("stall-mid", 4)])
def test_a_stall_holds_the_line(sink: Sink, model: str, pieces: int) -> None:
    with socket.create_connection(("127.0.0.1", sink.port), timeout=0.15) as peer:
        body = json.dumps({"model": model, "stream": True, "messages": []}).encode()
        peer.sendall(b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (CHAT.encode(), len(body), body))
        seen: list[bytes] = []
        with pytest.raises(TimeoutError):
            seen.extend(iter(lambda: peer.recv(65536), b""))
    assert b"".join(seen).count(b'"delta":{"content":') == pieces


def test_truncated_says_more_than_it_sends(sink: Sink) -> None:
    with pytest.raises(http.client.IncompleteRead):
        read(sink, "truncated")


@pytest.mark.parametrize(
    ("model", "kind", "body"),
    [
        ("html", "text/html; charset=utf-8", b"<!doctype html>"),
        ("bad-json", "application/json", b'{"id": '),
        ("empty", "application/json", b""),
    ],
)
def test_wrong_bodies_come_with_a_200(sink: Sink, model: str, kind: str, body: bytes) -> None:
    with post(sink, model) as response:
        assert (response.status, response.headers["content-type"]) == (200, kind)
        assert response.read().startswith(body)


def test_a_redirect_points_at_the_other_sink() -> None:
    with Sink(redirect_to="http://127.0.0.1:9") as sink, post(sink, "redirect-308") as response:
        assert (response.status, response.headers["location"]) == (
            308,
            "http://127.0.0.1:9/v1/chat/completions",
        )


@pytest.mark.parametrize("model", ["huge", "huge-event", "gzip-bomb"])
@pytest.mark.parametrize("stream", [False, True])
def test_endless_answers_end_when_the_peer_leaves(sink: Sink, model: str, stream: bool) -> None:
    with post(sink, model, stream=stream) as response:
        assert len(response.read(100_000)) == 100_000
    assert sink.requests[0].closed.wait(2)


def test_the_gzip_bomb_unpacks_a_thousandfold(sink: Sink) -> None:
    with post(sink, "gzip-bomb") as response:
        assert len(gzip.GzipFile(fileobj=response).read(5_000_000)) == 5_000_000


def test_an_error_in_mid_stream_is_seen_by_both_sdks(sink: Sink) -> None:
    model = "sse-error-mid"
    with openai_client(sink) as ours, pytest.raises(openai.APIError, match="gave up"):
        list(ours.chat.completions.create(model=model, messages=user("x"), stream=True))
    with anthropic_client(sink) as theirs, pytest.raises(anthropic.APIStatusError, match="gave up"):
        list(theirs.messages.create(model=model, max_tokens=9, messages=user("x"), stream=True))


def test_an_error_in_place_of_an_answer_is_all_that_is_said(sink: Sink) -> None:
    said = read(sink, "sse-error", stream=True)
    assert said.startswith(b'data: {"error":{"type":"overloaded_error"')
    assert (said.count(b"data:"), b"[DONE]" in said) == (1, False)
    with post(sink, "sse-error") as response:
        assert response.status == 200
        assert json.loads(response.read())["error"]["code"] == "overloaded"
    with anthropic_client(sink) as theirs, pytest.raises(anthropic.APIStatusError, match="gave up"):
        list(theirs.messages.create(model="sse-error", max_tokens=9, messages=user("x"), stream=True))


def test_a_sink_may_have_a_text_of_its_own_with_what_it_was_told_in_it() -> None:
    with Sink(says="The lighthouse heard: {said}.") as sink:
        whole = json.loads(read(sink, "m"))
        assert whole["choices"][0]["message"]["content"] == "The lighthouse heard: say é."
        assert read(sink, "chunks-3", stream=True).count(b'"content":') == 4, "the opening and three pieces"


def test_a_cut_stream_ends_in_good_order_but_unfinished(sink: Sink) -> None:
    body = read(sink, "cut-mid", stream=True)
    assert b'"content":"' in body
    assert b'"finish_reason":"stop"' not in body
    assert b"[DONE]" not in body


def test_u2028_travels_unescaped(sink: Sink) -> None:
    assert "\u2028".encode() in read(sink, "u2028", stream=True)


def test_scripts_go_first_and_in_turn(sink: Sink) -> None:
    sink.script(CHAT, Reply(status=503, body={"a": 1}), Reply(chunks=[b"x", b"y"]), Reply(behave="html"))
    with post(sink, "m") as response:
        assert (response.status, response.read()) == (503, b'{"a":1}')
    assert read(sink, "m") == b"xy"
    assert read(sink, "m").startswith(b"<!doctype")
    assert json.loads(read(sink, "m"))["object"] == "chat.completion"


def test_the_last_script_can_stay(sink: Sink) -> None:
    sink.script(CHAT, Reply(body="1"), Reply(body="2"), forever=True)
    assert [read(sink, "m") for _ in range(3)] == [b"1", b"2", b"2"]


def test_no_word_of_one_table_hides_a_word_of_the_other() -> None:
    assert not INSTEAD.keys() & MIDWAY.keys()
    assert {name.removesuffix("-mid") for name in MIDWAY} - INSTEAD.keys() == {"cut"}
