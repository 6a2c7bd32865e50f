"""The route table: what is not there is refused in one shape, and a fault of ours is told without its words."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, MutableMapping
from typing import Any

import anthropic
import pytest

from membrain import __version__
from membrain.api.app import create_app
from membrain.api.guard import Guard
from membrain.api.peer import same_user
from membrain.dialects.base import Chunk
from membrain.dialects.table import BY_PATH
from membrain.errors import ProviderFailed
from membrain.records import Caller
from tests.served import Answer, Served
from tests.sink import Sink

CANARY = "canary-7f3a"
GUARD = Guard({"127.0.0.1"}, 8001, body_bytes=1000)


# --- routes


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/v1",
        "/v2/chat/completions",
        "/v1/chat",
        "/api",
        "/api/unknown",
        "/docs",
        "/openapi.json",
        "/%2e%2e/etc",
    ],
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
        ("GET", "/v1/v1/chat/completions", {"POST"}),
        ("DELETE", "/responses", {"POST"}),
        ("POST", "/", {"GET", "HEAD"}),
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


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models"])
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


def test_at_the_root_one_is_told_who_this_is_and_nothing_else(shared_gateway: Served) -> None:
    """Claude Code asks there before anything else."""
    assert shared_gateway.get("/").json() == {"name": "membrain", "version": __version__}
    assert shared_gateway.get("/", host="evil.example").status == 403


@pytest.mark.parametrize("front", ["", "/v1", "/v1/v1"])
def test_a_path_without_its_front_or_with_two_is_the_same_path(shared_gateway: Served, front: str) -> None:
    """Tools put a `/v1` before or behind what they were configured with, or both."""
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    assert shared_gateway.post(f"{front}/chat/completions", asked).json()["choices"]
    told = shared_gateway.post(f"{front}/messages", {**asked, "model": "claude-x", "max_tokens": 5}).json()
    assert told["type"] == "message"
    assert shared_gateway.get(f"{front}/models").json()["object"] == "list"
    assert shared_gateway.get(f"{front}/models/auto").json()["id"] == "auto"


# --- in whose words


OPENAIS, ANTHROPICS = "OpenAI's words", "Anthropic's words"
PATHS = [(path, ANTHROPICS if path.startswith("/v1/messages") else OPENAIS) for path in BY_PATH]


def words_of(answer: Answer) -> str:
    """Whose words the error in *answer* is told in; the sentence stands again beside it."""
    told = answer.json()
    assert told["detail"] == told["error"]["message"]
    if told.get("type") == "error":
        assert {"type", "message"} <= told["error"].keys()
        return ANTHROPICS
    assert told["error"].keys() == {"message", "type", "param", "code"}
    return OPENAIS


@pytest.mark.parametrize(("path", "words"), PATHS)
def test_what_the_guard_refuses_is_told_in_the_paths_own_words(shared_gateway: Served, path: str, words: str) -> None:
    kind = {"content-type": "application/json"}
    refused = {
        400: shared_gateway.post(path, b"{"),
        401: shared_gateway.post(path, {**ANYTHING, "max_tokens": 5}, authorization="Bearer wrong"),
        403: shared_gateway.request("POST", path, b"{}", {**kind, "host": "evil.example"}),
        405: shared_gateway.get(path),
        415: shared_gateway.request("POST", path, b"{}", {"content-type": "text/plain"}),
    }
    assert {status: answer.status for status, answer in refused.items()} == {status: status for status in refused}
    assert all(words_of(answer) == words for answer in refused.values())
    assert all(answer.headers["x-request-id"] == answer.headers["request-id"] for answer in refused.values())


@pytest.mark.parametrize(("path", "words"), PATHS[:2])
def test_and_so_is_that_it_is_too_large(shared_gateway: Served, path: str, words: str) -> None:
    """For two paths only: the door waits two seconds for the rest of a body."""
    head = {"content-type": "application/json", "content-length": str(1 << 40)}
    told = shared_gateway.request("POST", path, b"{}", head)
    assert (told.status, words_of(told)) == (413, words)


ANYTHING = {"model": "gpt-4o", "messages": [{"role": "user", "content": "a"}], "prompt": "a", "input": "a"}
"""A request in every dialect."""

ASKS_AS_ANTHROPICS = {"anthropic-version": "2023-06-01"}


# --- what cannot be covered yet


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("path", ["/v1/audio/speech", "/v1/files", "/images/edits", "/v1/v1/batches/b/cancel"])
def test_what_cannot_be_looked_into_is_refused_however_it_is_asked(
    shared_gateway: Served, method: str, path: str
) -> None:
    form = {"content-type": "multipart/form-data; boundary=x"}
    answer = shared_gateway.request(method, path, b"--x--" if method in {"POST", "PUT", "PATCH"} else None, form)
    assert (answer.status, answer.headers["x-should-retry"]) == (501, "false")
    if method != "HEAD":
        assert answer.json()["error"]["code"] == "not_implemented"
        assert "nothing of this was passed on" in answer.json()["detail"]
        assert words_of(answer) == OPENAIS


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/messages/batches", {}),
        ("/v1/complete", {}),
        ("/v1/files", ASKS_AS_ANTHROPICS),
        ("/v1/organizations/me", ASKS_AS_ANTHROPICS),
    ],
)
def test_what_is_anthropics_is_refused_in_anthropics_words(
    shared_gateway: Served, path: str, headers: dict[str, str]
) -> None:
    answer = shared_gateway.post(path, {}, **headers)
    assert (answer.status, words_of(answer)) == (501, ANTHROPICS)


def test_a_page_of_another_site_is_not_even_told_that(shared_gateway: Served) -> None:
    headers = {"origin": "https://evil.example", "content-type": "text/plain"}
    assert shared_gateway.request("POST", "/v1/files", b"", headers).status == 403


def test_nothing_of_a_refused_upload_reaches_anybody(served: Served, sink: Sink) -> None:
    body = b"--x\r\n\r\n" + CANARY.encode() * 50_000 + b"\r\n--x--"
    answer = served.request("POST", "/v1/files", body, {"content-type": "multipart/form-data; boundary=x"})
    assert answer.status == 501
    assert CANARY.encode() not in sink.bytes_seen()
    assert served.audit(limit=1) == []
    assert CANARY not in served.assert_sound()


def test_a_websocket_is_refused_in_its_handshake(shared_gateway: Served) -> None:
    """The server has no WebSockets, so it is a plain request that gets a plain answer."""
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    assert shared_gateway.get("/v1/realtime?model=gpt-realtime", **upgrade).status == 501
    assert shared_gateway.get("/v1/responses", **upgrade).status == 405


# --- the models, as Anthropic lists them


def test_anthropics_tools_are_shown_the_models_as_they_know_them(shared_gateway: Served) -> None:
    key = shared_gateway.post("/api/keys", {"name": "anthropic-models"}).json()["key"]
    with anthropic.Anthropic(base_url=shared_gateway.url, api_key=key, max_retries=0) as asking:
        ids = [model.id for model in asking.models.list(limit=2)]
        assert ids == list(dict.fromkeys(row["id"] for row in shared_gateway.get("/v1/models").json()["data"]))
        assert len(ids) > 2
        assert asking.models.retrieve(ids[1]).id == ids[1]
        with pytest.raises(anthropic.NotFoundError):
            asking.models.retrieve("nobody")
        with pytest.raises(anthropic.BadRequestError, match="limit"):
            asking.models.list(limit=0)


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/models/nobody", 404), ("/v1/models?limit=x", 400), ("/nowhere", 404), ("/health/x", 404)]
)
def test_anthropics_tools_are_told_of_errors_as_they_know_them(shared_gateway: Served, path: str, status: int) -> None:
    answer = shared_gateway.get(path, **ASKS_AS_ANTHROPICS)
    assert (answer.status, words_of(answer)) == (status, ANTHROPICS)


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
@pytest.mark.parametrize("path", ["/v1/realtime", "/v1/responses", "/nowhere"])
async def test_a_websocket_is_refused_with_a_status_where_the_server_can(path: str) -> None:
    app = create_app(Broken(broken), GUARD)  # type: ignore[arg-type]  # as much of it as is touched
    extensions: dict[str, object] = {"websocket.http.response": {}}
    start, answer = await asked(app, "GET", path, type="websocket", extensions=extensions)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 501)
    assert json.loads(answer["body"])["error"]["code"] == "not_implemented"


@pytest.mark.anyio
async def test_a_websocket_is_closed_where_the_server_cannot() -> None:
    app = create_app(Broken(broken), GUARD)  # type: ignore[arg-type]  # as much of it as is touched
    (closed,) = await asked(app, "GET", "/v1/realtime", type="websocket")
    assert closed["type"] == "websocket.close"


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
    assert BY_PATH.keys() >= {"/v1/chat/completions"}
