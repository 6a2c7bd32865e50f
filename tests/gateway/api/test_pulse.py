"""A stream that is silent is kept alive: with comments, between its events, in every dialect, and at no one's cost."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
import uvicorn

from membrain import sse
from membrain.api.app import App
from membrain.api.guard import Guard
from membrain.api.park import QUIET_SECONDS
from membrain.api.pulse import COMMENT, Pulse
from membrain.api.wire import Message
from membrain.dialects.base import Chunk
from membrain.errors import ProviderFailed
from membrain.exchange import Exchange
from membrain.records import Caller

QUIET = 0.04
PAUSE = 1.0
ALIVE = {"type": "http.response.body", "body": COMMENT, "more_body": True}


class Reader:
    """Keeps what it is sent; slow to take it, or gone, if asked."""

    def __init__(self, *, slow: float = 0.0, gone: bool = False) -> None:
        self.heard: list[Message] = []
        self.slow, self.gone = slow, gone

    async def send(self, message: Message) -> None:
        if self.gone:
            raise ConnectionResetError
        await asyncio.sleep(self.slow)
        self.heard.append(message)


# --- one stream


@pytest.mark.anyio
async def test_a_stream_that_is_over_soon_is_told_nothing_and_leaves_nothing() -> None:
    reader, before = Reader(), asyncio.all_tasks()
    with Pulse(reader.send, QUIET):
        assert asyncio.all_tasks() == before, "a timer is no task"
    await asyncio.sleep(QUIET * 3)
    assert reader.heard == []
    assert asyncio.all_tasks() == before


@pytest.mark.anyio
async def test_a_silent_stream_is_kept_alive_once_in_every_while() -> None:
    reader = Reader()
    with Pulse(reader.send, QUIET):
        await asyncio.sleep(QUIET * 0.5)
        assert reader.heard == []
        await asyncio.sleep(QUIET * 6)
    assert 2 <= len(reader.heard) <= 6
    assert all(message == ALIVE for message in reader.heard)


@pytest.mark.anyio
async def test_a_stream_that_speaks_needs_no_comment() -> None:
    reader = Reader()
    with Pulse(reader.send, QUIET * 5) as pulse:
        for _ in range(40):
            await asyncio.sleep(QUIET / 4)
            pulse.last = pulse.clock()
    assert reader.heard == []


@pytest.mark.anyio
async def test_silence_is_counted_from_the_last_byte() -> None:
    reader = Reader()
    with Pulse(reader.send, QUIET * 4) as pulse:
        await asyncio.sleep(QUIET * 3)
        pulse.last = pulse.clock()
        await asyncio.sleep(QUIET * 3)
        assert reader.heard == []
        await asyncio.sleep(QUIET * 3)
    assert len(reader.heard) == 1


@pytest.mark.anyio
async def test_a_slow_reader_is_sent_one_comment_at_a_time() -> None:
    reader, before = Reader(slow=QUIET * 4), asyncio.all_tasks()
    with Pulse(reader.send, QUIET):
        await asyncio.sleep(QUIET * 3)
        assert len(asyncio.all_tasks() - before) == 1


@pytest.mark.anyio
async def test_what_waits_for_a_slow_reader_is_not_said_behind_the_end() -> None:
    reader, before = Reader(slow=QUIET * 4), asyncio.all_tasks()
    with Pulse(reader.send, QUIET):
        await asyncio.sleep(QUIET * 2)
    await asyncio.sleep(QUIET * 6)
    assert reader.heard == []
    assert asyncio.all_tasks() == before


@pytest.mark.anyio
async def test_a_reader_who_is_gone_is_no_fault_of_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    with Pulse(Reader(gone=True).send, QUIET):
        await asyncio.sleep(QUIET * 4)
    gc.collect()
    assert not caplog.records


def test_the_silence_is_what_a_person_is_waited_for_in() -> None:
    assert QUIET_SECONDS == 10.0


# --- every dialect, through a real socket


def told(*events: dict[str, Any], named: bool = True) -> list[bytes]:
    """The *events* in bytes, under the names that they have in `type`."""
    return [sse.encode(json.dumps(each).encode(), each["type"] if named else None) for each in events]


def chat(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def completion(text: str, finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
    return {"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}


MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "output": [], "status": "completed"}
DELTA = {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0, "logprobs": []}
USED = {"input_tokens": 1, "output_tokens": 1}

SCRIPTS = {
    "/v1/chat/completions": told(chat({"content": "one "}), chat({"content": "two"}), chat({}, "stop"), named=False),
    "/v1/completions": told(completion("one "), completion("two"), completion("", "stop"), named=False),
    "/v1/messages": told(
        {"type": "message_start", "message": {**MESSAGE, "usage": USED}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "one "}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "two"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": USED},
        {"type": "message_stop"},
    ),
    "/v1/responses": told(
        {"type": "response.created", "sequence_number": 0, "response": RESPONSE},
        {**DELTA, "sequence_number": 1, "delta": "one "},
        {**DELTA, "sequence_number": 2, "delta": "two"},
        {"type": "response.completed", "sequence_number": 3, "response": RESPONSE},
    ),
}
ENDS = {"/v1/chat/completions": b"data: [DONE]\n\n", "/v1/completions": b"data: [DONE]\n\n"}


class Slow:
    """As much of a gateway as a door touches: its answers pause between their events, and break off if asked."""

    def __init__(self) -> None:
        self.running: dict[str, object] = {}
        self.draining, self.depth = False, 100
        self.pause, self.once, self.breaks = 0.0, False, False

    def identify(self, *_: object) -> Caller:
        return Caller(admin=True)

    async def answer(self, exchange: Exchange) -> AsyncGenerator[Chunk, None]:
        script = SCRIPTS[exchange.path]
        for place, raw in enumerate(script):
            last = exchange.path not in ENDS and place == len(script) - 1
            if place == 1 or (place and not self.once):
                await asyncio.sleep(self.pause)
            if self.breaks and place == 2:
                raise ProviderFailed("Broke off.")
            yield Chunk(raw, last=last)


class _Quietly(uvicorn.Server):
    """Not in the main thread, so without signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@pytest.fixture(scope="module")
def door() -> Iterator[tuple[Slow, str]]:
    """A slow gateway behind real doors on a real socket, and its URL."""
    slow = Slow()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        app = App(slow, Guard({"127.0.0.1"}, port, body_bytes=1 << 20), quiet=QUIET)  # type: ignore[arg-type]  # as much of it as is touched
        server = _Quietly(uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        limit = time.monotonic() + 10
        while not server.started and time.monotonic() < limit:
            time.sleep(0.01)
        yield slow, f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(autouse=True)
def _at_rest(door: tuple[Slow, str]) -> None:
    door[0].pause, door[0].once, door[0].breaks = 0.0, False, False


ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": ASKED,
    "/v1/completions": {"model": "m", "prompt": "Hello"},
    "/v1/messages": {**ASKED, "max_tokens": 5},
    "/v1/responses": {"model": "m", "input": "Hello"},
}


def heard(url: str, path: str) -> bytes:
    return httpx.post(f"{url}{path}", json={**BODIES[path], "stream": True}, timeout=10).content


@pytest.mark.parametrize("path", SCRIPTS)
def test_a_quick_stream_has_no_comments(door: tuple[Slow, str], path: str) -> None:
    assert heard(door[1], path) == b"".join(SCRIPTS[path]) + ENDS.get(path, b"")


@pytest.mark.parametrize("path", SCRIPTS)
def test_comments_stand_between_the_events_and_nowhere_else(door: tuple[Slow, str], path: str) -> None:
    door[0].pause = QUIET * 2.5
    pieces = sse.blocks(heard(door[1], path))
    assert [piece for piece in pieces if piece != COMMENT] == [*SCRIPTS[path], *([ENDS[path]] if path in ENDS else [])]
    assert pieces.count(COMMENT) >= len(SCRIPTS[path]) - 1
    assert pieces[0] == SCRIPTS[path][0], "nothing is said before the answer"
    assert pieces[-1] != COMMENT, "and nothing behind it"


@pytest.mark.parametrize("path", SCRIPTS)
def test_a_stream_that_breaks_after_a_silence_ends_with_its_error(door: tuple[Slow, str], path: str) -> None:
    door[0].pause, door[0].breaks = QUIET * 2.5, True
    with httpx.stream("POST", f"{door[1]}{path}", json={**BODIES[path], "stream": True}) as response:
        parts: list[bytes] = []
        with pytest.raises(httpx.RemoteProtocolError):
            parts.extend(response.iter_raw())
    pieces = sse.blocks(b"".join(parts))
    assert COMMENT in pieces
    assert b"Broke off." in pieces[-1]


def with_chat(client: openai.OpenAI) -> Iterator[str | None]:
    stream = client.chat.completions.create(**ASKED, stream=True)
    return (chunk.choices[0].delta.content for chunk in stream)


def with_completions(client: openai.OpenAI) -> Iterator[str | None]:
    return (chunk.choices[0].text for chunk in client.completions.create(model="m", prompt="Hello", stream=True))


def with_responses(client: openai.OpenAI) -> Iterator[str | None]:
    for event in client.responses.create(model="m", input="Hello", stream=True):
        yield event.delta if event.type == "response.output_text.delta" else None


@pytest.mark.parametrize("ask", [with_chat, with_completions, with_responses])
def test_openais_sdk_reads_over_the_comments_and_its_clock_does_not_run_out(door: tuple[Slow, str], ask: Any) -> None:
    """It waits for data shorter than the pause is."""
    door[0].pause, door[0].once = PAUSE, True
    with openai.OpenAI(base_url=f"{door[1]}/v1", api_key="k", timeout=PAUSE / 2, max_retries=0) as client:
        assert "".join(text or "" for text in ask(client)) == "one two"


def test_anthropics_sdk_reads_over_the_comments_and_its_clock_does_not_run_out(door: tuple[Slow, str]) -> None:
    door[0].pause, door[0].once = PAUSE, True
    client = anthropic.Anthropic(base_url=door[1], api_key="k", timeout=PAUSE / 2, max_retries=0)
    asked = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]}
    with client, client.messages.stream(**asked) as stream:  # type: ignore[arg-type]  # plain dicts, as callers write
        assert "".join(stream.text_stream) == "one two"
