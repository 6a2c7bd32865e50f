"""A request that waits for a person, end to end: a gateway that asks (`confirm`), the real SDK, a fake upstream."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import uvicorn

from membrain import sse
from membrain.api.app import App
from membrain.api.guard import Guard
from membrain.api.park import COMMENT
from membrain.config import load
from membrain.gateway import Gateway
from membrain.places import Places
from tests.sink import Sink

QUIET = 0.1
VALUE = "ann.canary9b1d@kestrelmail.org"
TEXT = f"Please write to {VALUE} today"


class Quietly(uvicorn.Server):
    """Not in the main thread, so without signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class House:
    """A gateway in a thread of its own."""

    def __init__(self, home: Path, sink: Sink) -> None:
        self.environ = {
            "MEMBRAIN_HOME": str(home),
            "HOME": str(home),
            "MEMBRAIN_LOCAL_ENABLED": "false",
            "MEMBRAIN_PII_ON_FIND": "confirm",
            "OPENAI_API_KEY": "sk-canary-openai-0123456789",
            "UPSTREAM_OPENAI_URL": f"{sink.url}/v1",
            "OLLAMA_URL": sink.url,
        }
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()))

    async def run(self) -> None:
        self.gateway = Gateway(load(self.environ), Places.find(self.environ).create())
        self.gateway.egress.never("127.0.0.1", self.port)
        await self.gateway.open()
        app = App(self.gateway, Guard({"127.0.0.1"}, self.port, body_bytes=1 << 20), quiet=QUIET)
        self.server = Quietly(uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None))
        await self.server.serve(sockets=[self.listener])
        await self.gateway.close()

    def ask(self, method: str, path: str, data: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, json.dumps(data), {"content-type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def waiting(self, count: int = 1) -> list[dict[str, Any]]:
        limit = time.monotonic() + 5
        while len(rows := self.ask("GET", "/api/holds")[1]) != count:
            assert time.monotonic() < limit, rows
            time.sleep(0.01)
        return list(rows)

    def decide(self, decision: str, after: float) -> threading.Thread:
        """A person who decides on what waits."""

        def person() -> None:
            [row] = self.waiting()
            time.sleep(after)
            assert self.ask("POST", f"/api/holds/{row['id'][:6]}", {"decision": decision})[0] == 200

        thread = threading.Thread(target=person)
        thread.start()
        return thread


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture
def house(sink: Sink, tmp_path: Path) -> Iterator[House]:
    sink.clear()
    house = House(tmp_path, sink)
    house.thread.start()
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        with contextlib.suppress(OSError, AttributeError):
            if house.server.started:
                break
        time.sleep(0.01)
    yield house
    while house.gateway.running and time.monotonic() < limit + 30:
        time.sleep(0.01)
    assert house.gateway.running == {}
    house.server.should_exit = True
    house.thread.join(10)
    assert not house.thread.is_alive()


def client(house: House) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{house.url}/v1", api_key=house_key(house))


def house_key(house: House) -> str:
    return str(house.ask("POST", "/api/keys", {"name": f"sdk{time.monotonic_ns()}"})[1]["key"])


def asked(stream: bool) -> Any:
    return {"model": "gpt-echo", "messages": [{"role": "user", "content": TEXT}], "stream": stream}


def text(answer: Any, stream: bool) -> str:
    if not stream:
        return str(answer.choices[0].message.content)
    return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)


@pytest.mark.parametrize("after", [0.0, QUIET * 3], ids=["soon", "late"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_after_a_yes_the_answer_comes_and_nothing_left_before(
    house: House, sink: Sink, stream: bool, after: float
) -> None:
    person = house.decide("approve", after)
    with client(house) as sdk:
        seen = len(sink.requests)
        answer = sdk.chat.completions.create(**asked(stream))
        assert text(answer, stream) == TEXT
    person.join()
    assert seen == 0
    assert len(sink.requests) == 1
    assert VALUE.encode() not in sink.bytes_seen(), "what goes on goes on masked"
    assert house.ask("GET", "/api/audit")[1][0]["outcome"] == "answered"


@pytest.mark.parametrize("after", [0.0, QUIET * 3], ids=["soon", "late"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_after_a_no_not_a_byte_leaves_and_nobody_asks_again(
    house: House, sink: Sink, stream: bool, after: float
) -> None:
    person = house.decide("deny", after)
    with client(house) as sdk, pytest.raises(openai.APIError) as refused:
        text(sdk.chat.completions.create(**asked(stream)), stream)
    person.join()
    assert refused.value.code == "hold_denied"
    assert sink.requests == []
    records = house.ask("GET", "/api/audit")[1]
    assert [record["outcome"] for record in records] == ["refused"]
    assert house.ask("GET", "/api/holds")[1] == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("patience", [0.2, QUIET * 4])
def test_a_caller_who_hangs_up_takes_the_hold_along(house: House, sink: Sink, stream: bool, patience: float) -> None:
    with socket.create_connection(("127.0.0.1", house.port)) as caller:
        body = json.dumps(asked(stream)).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{house.port}\r\n"
        caller.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        house.waiting(1)
        time.sleep(patience)
    house.waiting(0)
    assert sink.requests == []
    limit = time.monotonic() + 5
    while house.ask("GET", "/api/audit")[1][0]["outcome"] != "aborted":
        assert time.monotonic() < limit


def test_who_is_told_to_wait_reads_comments_and_an_id(house: House) -> None:
    person = house.decide("approve", QUIET * 3)
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=10)
    with contextlib.closing(connection):
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(asked(True)), {"content-type": "application/json"}
        )
        response = connection.getresponse()
        assert response.getheader("content-type") == "text/event-stream; charset=utf-8"
        assert len(response.getheader("x-request-id") or "") == 24
        body = response.read()
    person.join()
    assert body.startswith(COMMENT)
    assert sse.parse(body)[-1].data == b"[DONE]"


def test_a_person_is_shown_what_is_around_the_value_and_not_the_value(house: House) -> None:
    person = threading.Thread(target=lambda: house.ask("POST", "/v1/chat/completions", asked(False)))
    person.start()
    [row] = house.waiting()
    assert (row["labels"], row["places"]) == ({"EMAIL": 1}, ["messages[0].content"])
    status, shown = house.ask("GET", f"/api/holds/{row['id'][:8]}")
    assert status == 200
    assert shown["contexts"] == [
        {
            "place": "messages[0].content",
            "label": "EMAIL",
            "before": "Please write to ",
            "after": " today",
            "tail": "rg",
        }
    ]
    assert house.ask("POST", f"/api/holds/{row['id']}", {"decision": "deny"})[1]["decision"] == "denied"
    person.join()
    assert VALUE not in str([row, shown])


def test_an_approval_for_good_is_asked_for_once(house: House) -> None:
    person = threading.Thread(target=lambda: house.ask("POST", "/v1/chat/completions", asked(False)))
    person.start()
    [row] = house.waiting()
    house.ask("POST", f"/api/holds/{row['id']}", {"decision": "approve", "always": True})
    person.join()
    status, answer = house.ask("POST", "/v1/chat/completions", asked(False))
    assert (status, answer["choices"][0]["message"]["content"]) == (200, TEXT)


def test_who_watches_hears_of_a_hold_and_of_its_end(house: House) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/api/live")
        response = connection.getresponse()
        person = house.decide("approve", 0.0)
        with client(house) as sdk:
            sdk.chat.completions.create(**asked(False))
        person.join()
        seen: dict[str, Any] = {}
        block = b""
        while "exchange" not in seen:
            block += response.readline()
            if block.endswith(b"\n\n"):
                [event] = sse.parse(block)
                seen[str(event.name)] = json.loads(event.data)
                block = b""
        response.close()
    id = seen["exchange"]["id"]
    name = seen["hold"].pop("caller")
    assert name.startswith("sdk")
    assert seen["hold"] == {"id": id, "project": "default", "labels": {"EMAIL": 1}}
    assert seen["held"] == {"id": id, "decision": "approved", "always": False}
    assert VALUE not in str(seen)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_gateway_that_drains_does_not_wait_for_the_person(house: House, stream: bool) -> None:
    told: list[BaseException] = []

    def ask() -> None:
        with openai.OpenAI(base_url=f"{house.url}/v1", api_key=key, max_retries=0) as sdk:
            try:
                text(sdk.chat.completions.create(**asked(stream)), stream)
            except openai.APIError as error:
                told.append(error)

    key = house_key(house)
    asking = threading.Thread(target=ask)
    asking.start()
    house.waiting(1)
    began = time.monotonic()
    future = asyncio.run_coroutine_threadsafe(house.gateway.drain(), house.server.servers[0].get_loop())
    future.result(10)
    asking.join(10)
    assert time.monotonic() - began < 2
    [error] = told
    assert isinstance(error, openai.InternalServerError)
    assert error.code == "shutting_down"
