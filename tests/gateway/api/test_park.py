"""Waiting without losing the caller: who is never held notices nothing, and who is hears of every end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, MutableMapping
from contextlib import aclosing
from typing import Any

import openai
import pytest
import uvicorn
from anthropic._streaming import SSEDecoder

import membrain_client
from membrain.api.park import COMMENT, QUIET_SECONDS, Park, first_or_parked
from membrain.api.wire import Header, Message, Receive, Send, Told, send_body
from membrain.dialects.base import Chunk
from membrain.dialects.chat import DONE, Chat
from membrain.errors import MembrainError, ProviderFailed
from membrain.holds import Change, Held, Hold, Holds, Settled, Verdict, refusal
from tests.fakes import piece

HEAD: list[Header] = [(b"content-type", b"text/event-stream")]
HELD = Held("a91f04", "aider", "red", {"EMAIL": 1})
GO, NO = Settled("a91f04", Verdict.APPROVED), Settled("a91f04", Verdict.DENIED)
FIRST = Chunk(b"data: {}\n\n")
QUIET = 0.05


class Caller:
    """Keeps what it is told; slow to take it, or gone, if asked."""

    def __init__(self, *, slow: float = 0.0, gone: bool = False) -> None:
        self.heard: list[Message] = []
        self.slow = slow
        self.gone = gone
        self.told = Told(self.send)

    async def send(self, message: Message) -> None:
        if self.gone:
            raise ConnectionResetError
        await asyncio.sleep(self.slow)
        self.heard.append(message)

    def hears(self, comments: int) -> Callable[[], bool]:
        """Whether so many comments were heard by now."""
        return lambda: self.bodies.count(COMMENT) >= comments

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.heard if message["type"] == "http.response.body"]


def parked(caller: Caller, quiet: float = QUIET) -> Park:
    return Park(caller.told, lambda: HEAD, quiet)


Step = float | Callable[[], bool] | Held | Settled | MembrainError


async def answering(park: Park, *steps: Step, left: list[bool] | None = None) -> AsyncGenerator[Chunk, None]:
    """An answer that takes its time, waits until something is so, is held, goes on, or is refused, and then begins."""
    try:
        for step in steps:
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif callable(step):
                async with asyncio.timeout(10):
                    while not step():  # noqa: ASYNC110  # what is heard rings no bell
                        await asyncio.sleep(QUIET / 10)
            elif isinstance(step, MembrainError):
                raise step
            else:
                park.held(step)
        yield FIRST
    finally:
        if left is not None:
            left.append(True)


async def first(caller: Caller, *steps: Step) -> Chunk:
    park = parked(caller)
    async with aclosing(answering(park, *steps)) as answer:
        found = await first_or_parked(answer, park)
    assert not park.waits
    return found


# Who is never held


@pytest.mark.anyio
async def test_who_is_not_held_is_told_nothing_however_long_it_takes() -> None:
    caller = Caller()
    before = asyncio.all_tasks()
    park = parked(caller)
    async with aclosing(answering(park, QUIET * 3)) as answer:
        waiting = asyncio.ensure_future(first_or_parked(answer, park))
        await asyncio.sleep(QUIET * 2)
        assert asyncio.all_tasks() - before == {waiting}, "no task but the door's own"
        assert await waiting is FIRST
    assert caller.heard == []
    assert not caller.told.anything


@pytest.mark.anyio
async def test_an_error_of_who_is_not_held_stays_an_error_with_a_status() -> None:
    caller = Caller()
    with pytest.raises(ProviderFailed):
        await first(caller, ProviderFailed("no"))
    assert not caller.told.anything


# Who is held


@pytest.mark.anyio
@pytest.mark.parametrize("verdict", [Verdict.DENIED, Verdict.DENIED_LATE])
async def test_a_decision_that_comes_soon_is_told_by_a_status(verdict: Verdict) -> None:
    caller = Caller()
    with pytest.raises(MembrainError):
        await first(caller, HELD, QUIET / 5, Settled("a91f04", verdict), refusal(verdict))
    assert not caller.told.anything


@pytest.mark.anyio
async def test_a_slow_upstream_after_a_soon_approval_keeps_its_own_status() -> None:
    caller = Caller()
    with pytest.raises(ProviderFailed):
        await first(caller, HELD, QUIET / 5, GO, QUIET * 3, ProviderFailed("no"))
    assert not caller.told.anything


@pytest.mark.anyio
async def test_who_waits_long_hears_a_head_once_and_comments() -> None:
    caller = Caller()
    assert await first(caller, HELD, caller.hears(3), GO) is FIRST
    assert caller.heard[0] == {"type": "http.response.start", "status": 200, "headers": HEAD}
    assert set(caller.bodies) == {COMMENT}
    assert all(message["more_body"] for message in caller.heard[1:])


@pytest.mark.anyio
async def test_once_the_head_is_out_the_beat_goes_on_until_the_answer_begins() -> None:
    caller = Caller()
    assert await first(caller, HELD, caller.hears(1), GO, caller.hears(4)) is FIRST


@pytest.mark.anyio
async def test_nothing_more_is_said_once_the_answer_has_begun() -> None:
    caller = Caller()
    await first(caller, HELD, caller.hears(1), GO)
    heard = len(caller.heard)
    await asyncio.sleep(QUIET * 3)
    assert len(caller.heard) == heard


@pytest.mark.anyio
async def test_a_stream_may_be_held_again() -> None:
    caller = Caller()
    assert await first(caller, HELD, QUIET / 5, GO, QUIET * 2, HELD, caller.hears(1), GO) is FIRST
    assert caller.heard[0]["type"] == "http.response.start"


@pytest.mark.anyio
async def test_being_told_of_a_hold_twice_makes_no_second_beat() -> None:
    caller = Caller()
    park = parked(caller)
    before = asyncio.all_tasks()
    for _ in range(2):
        park.held(HELD)
        assert len(asyncio.all_tasks() - before) == 1
    await park.leave()


@pytest.mark.anyio
async def test_the_end_of_a_hold_that_never_was_changes_nothing() -> None:
    caller = Caller()
    assert await first(caller, NO) is FIRST
    assert caller.heard == []


@pytest.mark.anyio
async def test_what_is_being_said_is_said_to_its_end_before_the_door_speaks() -> None:
    """A reader who is slow must not get the answer in the middle of a comment, or before the head."""
    caller = Caller(slow=QUIET)
    park = parked(caller)
    async with aclosing(answering(park, HELD, lambda: caller.told.anything, GO)) as answer:
        await first_or_parked(answer, park)
        await park.begin()
        await caller.told({"type": "http.response.body", "body": FIRST.raw, "more_body": True})
    assert [message["type"] for message in caller.heard].count("http.response.start") == 1
    assert caller.heard[0]["type"] == "http.response.start"
    assert set(caller.bodies[:-1]) == {COMMENT}
    assert caller.bodies[-1] == FIRST.raw


@pytest.mark.anyio
async def test_the_head_is_made_when_it_is_needed_and_sent_once() -> None:
    """Whatever a room adds to the headers before is in it."""
    caller, headers = Caller(), list[Header]()
    park = Park(caller.told, lambda: headers, QUIET)
    headers.append((b"x-late", b"1"))
    await park.begin()
    await park.begin()
    assert caller.heard == [{"type": "http.response.start", "status": 200, "headers": [(b"x-late", b"1")]}]


# Ends that are no answer


@pytest.mark.anyio
@pytest.mark.parametrize("held", [(), (HELD,), (HELD, QUIET * 1.5)], ids=["not held", "held", "told"])
@pytest.mark.parametrize("slow", [0.0, QUIET * 4])
async def test_a_caller_who_hangs_up_leaves_no_task(held: tuple[Step, ...], slow: float) -> None:
    caller, left = Caller(slow=slow), [False]
    park = parked(caller)
    before = asyncio.all_tasks()

    async def door() -> None:
        async with aclosing(answering(park, *held, 60.0, left=left)) as answer:
            await first_or_parked(answer, park)

    task = asyncio.create_task(door())
    await asyncio.sleep(QUIET * 2)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # impatient
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert left[-1]
    assert asyncio.all_tasks() == before
    heard = len(caller.heard)
    await asyncio.sleep(QUIET * 2)
    assert len(caller.heard) == heard


@pytest.mark.anyio
async def test_a_connection_that_breaks_under_a_comment_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConnectionResetError):
        await first(Caller(gone=True), HELD, QUIET * 2, GO)
    gc.collect()
    assert not caplog.records


def test_the_silence_is_shorter_than_proxies_bear_and_long_enough_for_a_quick_decision() -> None:
    assert 5.0 <= QUIET_SECONDS <= 15.0


# Real clients, over a socket


BLANKS = "/blanks"
"""Where a refusal comes as it would if blanks had been sent before it."""


class Door:
    """As much of a door as it takes: every exchange is held, and a stream is kept alive meanwhile."""

    def __init__(self) -> None:
        self.parks: dict[str, Park] = {}
        self.holds = Holds(self.held)
        self.serial = 0
        self.seconds = 10.0
        self.loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["path"].startswith(BLANKS):
            await send_body(send, 200, b"   " + Chat().error(refusal(Verdict.DENIED)))
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.loop = asyncio.get_running_loop()
        self.serial += 1
        id, told = f"{self.serial:06}", Told(send)
        try:
            await (self.stream if json.loads(body).get("stream") else self.whole)(id, told)
        except MembrainError as error:
            if told.anything:
                event = Chat().error_event(error)
                await told({"type": "http.response.body", "body": event, "more_body": True})
            else:
                await send_body(told, error.status, Chat().error(error), [(b"x-should-retry", b"false")])

    def held(self, change: Change) -> None:
        if (park := self.parks.get(change.id)) is not None:
            park.held(change)

    async def answer(self, id: str) -> AsyncGenerator[Chunk, None]:
        verdict = await self.holds.wait(Hold(id, "sdk", "red", {"EMAIL": 1}, "m", ()), self.seconds)
        if verdict is not Verdict.APPROVED:
            raise refusal(verdict)
        for word in ("one ", "two"):
            yield Chunk(b"data: %b\n\n" % json.dumps(piece("m", {"content": word})).encode())

    async def stream(self, id: str, told: Told) -> None:
        park = self.parks[id] = Park(told, lambda: HEAD, QUIET)
        async with aclosing(self.answer(id)) as answer:
            chunk = await first_or_parked(answer, park)
            await park.begin()
            await told({"type": "http.response.body", "body": chunk.raw, "more_body": True})
            async for chunk in answer:
                await told({"type": "http.response.body", "body": chunk.raw, "more_body": True})
        await told({"type": "http.response.body", "body": DONE})

    async def whole(self, id: str, told: Told) -> None:
        async with aclosing(self.answer(id)) as answer:
            async for _ in answer:
                pass
        message = {"role": "assistant", "content": "one two"}
        data = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        await send_body(told, 200, json.dumps({**data, "choices": choices}).encode())

    def decide(self, *, approve: bool, after: float) -> threading.Thread:
        """A person, who decides on the next request *after* some seconds."""
        next_id, before = f"{self.serial + 1:06}", self.serial

        def person() -> None:
            while self.serial == before or self.loop is None:
                time.sleep(0.005)
            time.sleep(after)
            self.loop.call_soon_threadsafe(lambda: self.holds.decide(next_id, approve=approve))

        thread = threading.Thread(target=person)
        thread.start()
        return thread


class _Quietly(uvicorn.Server):
    """Not in the main thread, so without signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Door, str]]:
    """A door of its own on a real socket; gives it and its URL."""
    door = Door()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(door, http="httptools", ws="none", lifespan="off", log_config=None)
        server = _Quietly(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        limit = time.monotonic() + 10
        while not server.started and time.monotonic() < limit:
            time.sleep(0.01)
        yield door, f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


ASKED: Any = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def with_openai(url: str, **asked: Any) -> str:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as client:  # with its own retries
        answer: Any = client.chat.completions.create(**ASKED, **asked)
        if not asked:
            return str(answer.choices[0].message.content)
        return "".join(chunk.choices[0].delta.content or "" for chunk in answer)


@pytest.mark.parametrize("after", [0.0, QUIET * 5], ids=["soon", "late"])
@pytest.mark.parametrize("asked", [{}, {"stream": True}], ids=["whole", "stream"])
def test_openais_sdk_gets_its_answer_after_a_yes(
    served: tuple[Door, str], after: float, asked: dict[str, bool]
) -> None:
    door, url = served
    person = door.decide(approve=True, after=after)
    assert with_openai(url, **asked) == "one two"
    person.join()


@pytest.mark.parametrize("after", [0.0, QUIET * 5], ids=["soon", "late"])
@pytest.mark.parametrize("asked", [{}, {"stream": True}], ids=["whole", "stream"])
def test_openais_sdk_raises_after_a_no_and_does_not_ask_again(
    served: tuple[Door, str], after: float, asked: dict[str, bool]
) -> None:
    """Who asks again is another hold for the same person."""
    door, url = served
    person = door.decide(approve=False, after=after)
    before = door.serial
    with pytest.raises(openai.APIError) as refused:
        with_openai(url, **asked)
    person.join()
    assert refused.value.code == "hold_denied"
    assert "A person" in refused.value.message
    assert isinstance(refused.value, openai.PermissionDeniedError) is not (bool(asked) and after > 0)
    assert door.serial == before + 1


def test_openais_sdk_raises_if_nobody_decides(served: tuple[Door, str]) -> None:
    door, url = served
    door.seconds = QUIET * 3
    try:
        for asked in ({}, {"stream": True}):
            with pytest.raises(openai.APIError, match="in time"):
                with_openai(url, **asked)
    finally:
        door.seconds = 10.0


def test_a_clients_clock_does_not_run_out_while_a_stream_is_held(served: tuple[Door, str]) -> None:
    """It waits for data far shorter than the hold takes."""
    door, url = served
    person = door.decide(approve=True, after=QUIET * 20)
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", timeout=QUIET * 8, max_retries=0) as client:
        stream = client.chat.completions.create(**ASKED, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "one two"
    person.join()


def test_our_own_client_reads_over_the_comments(served: tuple[Door, str]) -> None:
    door, url = served
    person = door.decide(approve=True, after=QUIET * 5)
    with membrain_client.MembrainClient(base_url=url, api_key="k") as client:
        chunks = list(client.chat.completions.create(**ASKED, stream=True))
    person.join()
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two"


def test_what_is_sent_meanwhile_is_no_event_for_anthropics_sdk_either() -> None:
    said = [COMMENT, COMMENT, b'event: ping\ndata: {"type": "ping"}\n\n']
    assert [event.event for event in SSEDecoder().iter_bytes(iter(said))] == ["ping"]


def test_blanks_before_a_whole_answer_would_hide_a_refusal(served: tuple[Door, str]) -> None:
    """Why whole answers are not kept alive: OpenAI's SDK takes an error under a 200 for an answer without choices."""
    _, url = served
    with openai.OpenAI(base_url=f"{url}{BLANKS}", api_key="k") as client:
        assert client.chat.completions.create(**ASKED).choices is None
