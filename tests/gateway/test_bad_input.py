"""Whatever comes in, from a caller or from an upstream, gets a clear typed error, and the gateway goes on."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.served import Answer, Served
from tests.sink import Sink

HELLO = [{"role": "user", "content": "Hello"}]
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway that loses its patience quickly, before a sink that misbehaves on request."""
    home = tmp_path_factory.mktemp("bad") / "home"
    short = {
        "MEMBRAIN_LIMITS_FIRST_BYTE_SECONDS": "1",
        "MEMBRAIN_LIMITS_WHOLE_SECONDS": "1",
        "MEMBRAIN_LIMITS_IDLE_SECONDS": "0.5",
        "MEMBRAIN_LIMITS_ANSWER_MB": "4",
        "MEMBRAIN_ROUTING_ATTEMPTS": "1",
    }
    with Sink() as sink, Served(home, sink, **short) as served:
        yield served
        served.assert_sound()


@pytest.fixture(autouse=True)
def _goes_on(served: Served) -> Iterator[None]:
    """After each of these the next question is answered as ever."""
    yield
    assert served.chat().status == 200


def expect(answer: Answer, status: int, code: str, param: str | None = None) -> dict[str, Any]:
    """The error object, after a look at everything an error must have."""
    body = answer.json()
    error: dict[str, Any] = body["error"]
    assert (answer.status, error["code"]) == (status, code), body
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert body["detail"] == error["message"]
    assert answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"
    return error


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"model": "gpt-4o", "messages": [{"role"', 400, "invalid_request"),
        (b"", 400, "invalid_request"),
        (b"null", 400, "invalid_request"),
        (b"[]", 400, "invalid_request"),
        (b'"text"', 400, "invalid_request"),
        (b"{} {}", 400, "invalid_request"),
        (b'{"model": NaN}', 400, "invalid_request"),
        (b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "\xff\xfe"}]}', 400, "invalid_request"),
        (b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "\\ud800"}]}', 400, "invalid_request"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 413, "request_too_large"),
        (b"[" * 100_000, 413, "request_too_large"),
        (b'{"model": "gpt-4o", "x": ' + b"[" * 150 + b"]" * 150 + b"}", 413, "request_too_large"),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else str(value),
)
def test_a_body_that_makes_no_sense(served: Served, body: bytes, status: int, code: str) -> None:
    expect(served.post("/v1/chat/completions", body), status, code)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"model": ""}, "model"),
        ({"model": "x" * 300}, "model"),
        ({"model": "gpt\n4"}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["Hello"]}, "messages[0]"),
        ({"messages": [*HELLO, 3]}, "messages[1]"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
    ],
    ids=str,
)
def test_a_field_of_the_wrong_type_is_named(served: Served, change: dict[str, Any], param: str) -> None:
    body = {"model": "gpt-4o", "messages": HELLO, **change}
    expect(served.post("/v1/chat/completions", body), 400, "invalid_request", param)


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_field_that_is_missing_is_named(served: Served, missing: str) -> None:
    body = {"model": "gpt-4o", "messages": HELLO}
    del body[missing]
    error = expect(served.post("/v1/chat/completions", body), 400, "invalid_request", missing)
    assert "missing" in error["message"]


def test_a_body_of_30_mb_is_refused_by_its_length(served: Served) -> None:
    """The caller that is still sending hears the refusal, and no broken pipe."""
    body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "' + b"x" * 30_000_000 + b'"}]}'
    error = expect(served.post("/v1/chat/completions", body), 413, "request_too_large")
    assert "20 MB" in error["message"]


def test_a_body_of_30_mb_without_a_length_is_refused_too(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    pieces = (b"x" * 1_000_000 for _ in range(30))
    connection.request("POST", "/v1/chat/completions", pieces, JSON, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 413
    assert json.loads(response.read())["error"]["code"] == "request_too_large"
    connection.close()


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content-type": "text/plain"}, 415, "unsupported_media_type"),
        ({"content-type": ""}, 415, "unsupported_media_type"),
        ({**JSON, "content-encoding": "gzip"}, 415, "unsupported_media_type"),
        ({**JSON, "host": "evil.example"}, 403, "forbidden"),
        ({**JSON, "host": "127.0.0.1:1"}, 403, "forbidden"),
        ({**JSON, "origin": "https://evil.example"}, 403, "forbidden"),
        ({**JSON, "origin": "null"}, 403, "forbidden"),
        ({**JSON, "sec-fetch-site": "cross-site"}, 403, "forbidden"),
        ({**JSON, "x-membrain-hop": "1"}, 508, "loop_detected"),
        ({**JSON, "authorization": "Bearer ck_live_wrong"}, 401, "invalid_api_key"),
        ({**JSON, "x-api-key": "ck_live_wrong"}, 401, "invalid_api_key"),
        ({**JSON, "x-membrain-api-key": ""}, 401, "invalid_api_key"),
    ],
    ids=str,
)
def test_an_envelope_that_may_not_pass(served: Served, headers: dict[str, str], status: int, code: str) -> None:
    body = json.dumps({"model": "gpt-4o", "messages": HELLO}).encode()
    expect(served.request("POST", "/v1/chat/completions", body, headers), status, code)


@pytest.mark.parametrize(
    ("header", "value", "param"),
    [
        ("x-membrain-tier", "luxury", "x-membrain-tier"),
        ("x-membrain-max-cost", "cheap", "x-membrain-max-cost"),
        ("x-membrain-max-cost", "-1", "x-membrain-max-cost"),
        ("x-membrain-max-cost", "nan", "x-membrain-max-cost"),
    ],
)
def test_a_routing_header_that_makes_no_sense(served: Served, header: str, value: str, param: str) -> None:
    body = {"model": "auto", "messages": HELLO}
    expect(served.post("/v1/chat/completions", body, **{header: value}), 400, "invalid_request", param)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/api/audit/zzzz", 404, "not_found"),
        ("GET", "/api/audit?limit=many", 400, "invalid_request"),
        ("GET", "/api/audit?colour=red", 400, "invalid_request"),
        ("GET", "/api/audit?since=yesterday", 400, "invalid_request"),
    ],
)
def test_a_route_that_is_not_there_or_not_so(served: Served, method: str, path: str, status: int, code: str) -> None:
    answer = served.request(method, path)
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["x-request-id"]


def test_what_is_not_http_is_answered_and_forgotten(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as raw:
        raw.sendall(b"\x00\x01 this is no HTTP\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400")


def test_an_unknown_model_is_told_with_its_neighbours(tmp_path: Path) -> None:
    """Where no provider takes every name: no OpenAI key."""
    with Served(tmp_path / "home") as served:
        error = expect(served.chat(model="gtp-4o"), 404, "model_not_found", "model")
        assert "gpt-4o" in error["message"]
        keyless = expect(served.chat(model="gpt-4o"), 503, "provider_not_configured")
        assert "membrain keys set openai" in keyless["message"]


UPSTREAM = [
    ("reset", 502, "provider_failed"),
    ("stall", 504, "provider_failed"),
    ("garbage", 502, "provider_failed"),
    ("html", 502, "provider_failed"),
    ("bad-json", 502, "provider_failed"),
    ("truncated", 502, "provider_failed"),
    ("empty", 502, "provider_failed"),
    ("gzip-bomb", 502, "provider_failed"),
    ("status-500", 500, None),
    ("status-529", 529, None),
    ("status-429", 429, None),
    ("status-402", 402, "insufficient_quota"),
    ("redirect-307", 502, "provider_failed"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("model", "status", "code"), UPSTREAM)
def test_an_upstream_that_fails_before_its_answer(
    served: Served, model: str, status: int, code: str | None, stream: bool
) -> None:
    answer = served.chat(model=f"gpt-{model}", stream=stream)
    assert answer.status == status, answer.body[:300]
    error = answer.json()["error"]
    assert error["message"]
    assert code is None or error["code"] == code
    [record] = served.audit(limit=1)
    assert record["id"] == answer.headers["x-request-id"]
    assert record["outcome"] == "failed"


@pytest.mark.parametrize(
    "model", ["gpt-huge", "gpt-reset-mid", "gpt-stall-mid", "gpt-cut-mid", "gpt-sse-error-mid", "gpt-huge-event"]
)
def test_an_upstream_that_fails_in_mid_stream_looks_broken(served: Served, model: str) -> None:
    """An error event, then a cut connection: never a proper end."""
    body = json.dumps({"model": model, "messages": HELLO, "stream": True}).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)) as connection:
        connection.request("POST", "/v1/chat/completions", body, JSON)
        response = connection.getresponse()
        if response.status != 200:  # the fault came in one piece with the first chunk
            assert response.status == 502
            assert json.loads(response.read())["error"]["message"]
            return
        with pytest.raises(http.client.IncompleteRead) as cut:
            response.read()
    assert b'data: {"error":{' in cut.value.partial
    assert b"[DONE]" not in cut.value.partial
    [record] = served.audit(limit=1)
    assert record["outcome"] == "failed"


def test_an_answer_that_never_ends_is_cut_at_its_cap(served: Served) -> None:
    error = served.chat(model="gpt-huge").json()["error"]
    assert error["code"] == "provider_failed"
    assert "4 MB" in error["message"]


def test_a_refused_key_of_ours_is_not_the_callers_fault(served: Served) -> None:
    """401 of the upstream is about a key that the caller never had."""
    error = served.chat(model="gpt-status-401").json()["error"]
    assert error["code"] == "provider_key_refused"
    assert "membrain keys set openai" in error["message"]


def test_no_error_ever_holds_a_key(served: Served) -> None:
    log = served.log.read_text()
    assert "sk-canary" not in log
    for model in ("gpt-status-401", "gpt-status-500", "gpt-reset"):
        assert b"sk-canary" not in served.chat(model=model).body
