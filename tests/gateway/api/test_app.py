"""The route table: what is not there is refused in one shape, and a fault of ours is told without its words."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest

from membrain.api.app import SPOKEN, create_app
from membrain.api.guard import Guard
from membrain.api.peer import same_user
from membrain.dialects.base import Chunk
from membrain.errors import ProviderFailed
from membrain.records import Caller
from tests.served import Served

CANARY = "canary-7f3a"
GUARD = Guard({"127.0.0.1"}, 8001, body_bytes=1000)


# --- routes


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v2/chat/completions", "/v1/chat", "/api", "/api/unknown", "/docs", "/openapi.json", "/%2e%2e/etc"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_a_route_that_is_not_there_is_not_found(shared_gateway: Served, method: str, path: str) -> None:
    body = b"{}" if method == "POST" else None
    answer = shared_gateway.request(method, path, body, {"content-type": "application/json"})
    assert (answer.status, answer.json()["error"]["code"]) == (404, "not_found")
    assert answer.headers["x-should-retry"] == "false"
    assert len(answer.headers["x-request-id"]) == 24


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", {"POST"}),
        ("PUT", "/v1/chat/completions", {"POST"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("DELETE", "/v1/models", {"GET", "HEAD"}),
        ("PUT", "/api/audit", {"GET", "HEAD"}),
    ],
)
def test_a_route_that_is_asked_otherwise_says_how(
    shared_gateway: Served, method: str, path: str, allowed: set[str]
) -> None:
    body = b"{}" if method in {"PUT", "POST"} else None
    answer = shared_gateway.request(method, path, body, {"content-type": "application/json"})
    assert (answer.status, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert {each.strip() for each in answer.headers["allow"].split(",")} == allowed


@pytest.mark.parametrize("path", ["/health", "/v1/models"])
def test_a_head_is_an_answer_without_its_body(shared_gateway: Served, path: str) -> None:
    answer = shared_gateway.request("HEAD", path)
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


@pytest.mark.parametrize("path", ["/V1/chat/completions", "/v1/chat/completions/", "/v1//chat/completions", "//health"])
def test_no_other_spelling_of_a_route_gets_round_its_rules(shared_gateway: Served, path: str) -> None:
    """Nothing answers there, with or without a key."""
    for headers in ({}, {"authorization": "Bearer wrong"}):
        answer = shared_gateway.post(path, {"model": "m", "messages": []}, **headers)
        assert 400 <= answer.status < 500


@pytest.mark.parametrize("path", ["/%76%31/models", "/v1/models?x=1", "/v1/models#x"])
def test_the_same_route_has_the_same_rules_however_it_is_written(shared_gateway: Served, path: str) -> None:
    assert shared_gateway.get(path, authorization="Bearer wrong").status == 401


# --- faults of ours, in this process: an application before a gateway that breaks


class Broken:
    """As much of a gateway as the doors touch; breaks as it is told."""

    def __init__(self, breaks: Callable[[], Any]) -> None:
        self.breaks = breaks
        self.running: dict[str, object] = {}
        self.draining = False
        self.depth = 100

    def identify(self, *_: object) -> Caller:
        return Caller(admin=True)

    def alive(self, _: object) -> dict[str, object]:
        self.breaks()
        return {}

    async def health(self) -> dict[str, object]:
        return {}

    async def answer(self, _: object) -> Any:
        self.breaks()
        yield Chunk(b"data: {}\n\n")
        self.breaks()


def broken() -> None:
    raise RuntimeError(CANARY)


class Second:
    """Breaks when it is asked for the second time."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.asked = error, 0

    def __call__(self) -> None:
        self.asked += 1
        if self.asked == 2:
            raise self.error


async def asked(app: Any, method: str, path: str, body: bytes = b"", **scope: Any) -> list[MutableMapping[str, Any]]:
    """What *app* sends."""
    headers = [(b"host", b"127.0.0.1:8001"), (b"content-type", b"application/json")]
    messages: list[MutableMapping[str, Any]] = []
    given = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if given:
            return given.pop()
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        messages.append(message)

    whole = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8001),
        **scope,
    }
    await app(whole, receive, send)
    return messages


CHAT = json.dumps({"model": "m", "messages": [{"role": "user", "content": CANARY}], "stream": True}).encode()


@pytest.mark.anyio
@pytest.mark.parametrize(("method", "path", "body"), [("GET", "/health", b""), ("POST", "/v1/chat/completions", CHAT)])
async def test_a_fault_of_ours_is_told_and_logged_without_its_words(
    method: str, path: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(Broken(broken), GUARD)  # type: ignore[arg-type]  # as much of it as is touched
    start, answer = await asked(app, method, path, body)
    assert start["status"] == 500
    told = json.loads(answer["body"])
    assert told["error"]["code"] == "internal_error"
    assert CANARY not in str(told)
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.ERROR, None)
    assert "RuntimeError at" in record.getMessage()
    assert "test_app.py" in record.getMessage()
    assert CANARY not in record.getMessage()


@pytest.mark.anyio
@pytest.mark.parametrize("error", [RuntimeError(CANARY), ProviderFailed("Broke off.")])
async def test_a_fault_in_mid_stream_is_an_event_and_no_proper_end(error: Exception) -> None:
    gateway = Broken(Second(error))
    app = create_app(gateway, GUARD)  # type: ignore[arg-type]  # as much of it as is touched
    messages = await asked(app, "POST", "/v1/chat/completions", CHAT)
    assert [message["type"] for message in messages] == ["http.response.start", *["http.response.body"] * 2]
    assert b'data: {"error":' in messages[-1]["body"]
    assert CANARY.encode() not in messages[-1]["body"]
    assert all(message.get("more_body", True) for message in messages), "the server is left to cut the connection"
    assert gateway.running == {}


@pytest.mark.anyio
async def test_a_draining_gateway_takes_no_new_work() -> None:
    gateway = Broken(broken)
    gateway.draining = True
    app = create_app(gateway, GUARD)  # type: ignore[arg-type]  # as much of it as is touched
    start, answer = await asked(app, "POST", "/v1/chat/completions", CHAT)
    headers = dict(start["headers"])
    assert (start["status"], headers[b"retry-after"], headers[b"x-should-retry"]) == (503, b"2", b"true")
    assert json.loads(answer["body"])["error"]["code"] == "shutting_down"


@pytest.mark.anyio
async def test_what_is_no_http_is_not_answered() -> None:
    app = create_app(Broken(broken), GUARD)  # type: ignore[arg-type]  # as much of it as is touched
    assert await asked(app, "GET", "/", type="lifespan") == []


@pytest.mark.anyio
async def test_a_caller_without_an_address_is_a_stranger() -> None:
    """A connection that was reset while it was accepted has none."""
    gateway = Broken(lambda: None)
    app = create_app(gateway, GUARD)  # type: ignore[arg-type]  # as much of it as is touched
    start, *_ = await asked(app, "POST", "/v1/chat/completions", CHAT, client=None)
    assert start["status"] == 200
    assert same_user(None, ("127.0.0.1", 8001)) in (False, None)


def test_what_is_spoken_is_spoken_there() -> None:
    assert SPOKEN.keys() >= {"/v1/chat/completions"}
