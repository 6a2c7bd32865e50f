"""Limits under a rush: exactly as many pass as the limit says, from one process and from four, also when some die.

Each process has a writer, a room and a corridor of its own, as a gateway has, and they share one file. The clock is the
real one: a rush is over long before a second that counts could pass out of the minute.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from membrain.api.guard import Guard
from membrain.api.speak import Speak
from membrain.dialects.base import Chunk
from membrain.dialects.chat import Chat
from membrain.exchange import Exchange, Stage
from membrain.pipeline import Pipeline
from membrain.records import Rate, Tokens
from membrain.stages.rate_limit import RateLimit
from membrain.stores.counters import SqliteCounters
from membrain.stores.writer import Writer
from tests.gateway.stores.made import start_child

PROCESSES, EACH, LIMIT = 4, 100, 137
SECONDS = 40.0
"""Less than the minute: what was let in at first must still count at the end."""

RUSH = """
import asyncio, json, os
from pathlib import Path

from membrain.dialects.base import Chunk
from membrain.errors import RateLimited
from membrain.exchange import Stage
from membrain.pipeline import Pipeline
from membrain.records import Caller, Rate, Tokens
from membrain.stages.rate_limit import RateLimit
from membrain.stores.counters import SqliteCounters
from membrain.stores.writer import Writer
from tests.fakes import exchange


class Answers(Stage):
    name = "answers"

    async def enter(self, asked):
        asked.answer = self.answer(asked)

    async def answer(self, asked):
        asked.tokens = Tokens(5, 5)
        if dies:
            await asyncio.sleep(60)
        yield Chunk(b"x")


async def one(corridor, number, few):
    async with few:
        return await asked_once(corridor, number)


async def asked_once(corridor, number):
    asked = exchange(max_tokens=10)
    asked.caller = Caller(key_id="k1", name="key", user=f"label {number}")
    try:
        async for _ in corridor.run(asked):
            pass
    except RateLimited as refused:
        assert 1 <= int(refused.headers["retry-after"]) <= 61
        return 0
    return 1


async def rush(count, limits):
    writer = Writer(Path(path))
    room = RateLimit(SqliteCounters(writer), lambda caller: limits)
    corridor = Pipeline([room, Answers()])
    print("ready", flush=True)
    while not Path(path).with_name("go").exists():
        await asyncio.sleep(0.002)
    few = asyncio.Semaphore(width)
    tasks = [asyncio.ensure_future(one(corridor, number, few)) for number in range(count)]
    if dies:
        await asyncio.sleep(1)
        print(json.dumps(count - sum(task.done() for task in tasks)), flush=True)
        os._exit(9)
    print(json.dumps(sum(await asyncio.gather(*tasks))), flush=True)
    writer.close()


path, count, width, rates, dies = sys.argv[1], *map(int, sys.argv[2:4]), json.loads(sys.argv[4]), sys.argv[5] == "dies"
asyncio.run(rush(count, tuple((owner, Rate(**rate)) for owner, rate in rates.items())))
"""


def passed(
    path: Path, processes: int, count: int, rates: dict[str, Any], *, width: int = EACH, dying: int = 0
) -> list[int]:
    """How many each of so many processes let through. Each is asked *count* times, *width* at once.

    The first *dying* die of it, with all that they let through still on its way.
    """
    fates = ["dies" if number < dying else "lives" for number in range(processes)]
    children = [start_child(RUSH, path, count, width, json.dumps(rates), fate) for fate in fates]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        began = time.monotonic()
        path.with_name("go").touch()
        said = [child.communicate(timeout=SECONDS)[0] for child in children]
        assert time.monotonic() - began < SECONDS
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert [child.returncode for child in children] == [9 if fate == "dies" else 0 for fate in fates]
    return [json.loads(text.splitlines()[-1]) for text in said]


def counted(path: Path) -> dict[tuple[str, str], int]:
    """What is on record, by owner and kind."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT owner, kind, sum(amount) FROM hits GROUP BY owner, kind").fetchall()
    return {(owner, kind): amount for owner, kind, amount in rows}


@pytest.mark.parametrize(("processes", "width"), [(1, PROCESSES * EACH), (PROCESSES, EACH), (PROCESSES, 2)])
def test_of_many_at_once_exactly_as_many_pass_as_the_limit_says(tmp_path: Path, processes: int, width: int) -> None:
    """Each caller says another label; a wider limit beside it counts just those who passed.

    All at once go into a few large transactions, two at a time into many small ones that alternate.
    """
    path = tmp_path / "audit.db"
    rates = {"machine": {"requests": 10 * LIMIT}, "key:k1": {"requests": LIMIT}}
    through = passed(path, processes, EACH * PROCESSES // processes, rates, width=width)
    assert sum(through) == LIMIT
    assert counted(path) == {("machine", "requests"): LIMIT, ("key:k1", "requests"): LIMIT}


def test_tokens_hold_over_processes_and_are_settled_with_what_was_used(tmp_path: Path) -> None:
    """All ask at once, so what is given back may let in more; what was used is never more than the limit."""
    path = tmp_path / "audit.db"
    through = passed(path, PROCESSES, EACH, {"machine": {"tokens": 1000, "requests": 10_000}})
    assert 1000 // 31 <= sum(through) <= 1000 // 10, "it asks for 30 or 31, and uses 10"
    assert counted(path) == {("machine", "tokens"): 10 * sum(through), ("machine", "requests"): sum(through)}


def test_what_a_killed_process_let_through_stays_counted(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    through = passed(path, PROCESSES, EACH, {"machine": {"requests": LIMIT}}, dying=2)
    assert sum(through) == LIMIT
    assert counted(path) == {("machine", "requests"): LIMIT}


# --- on the wire


class Echo(Stage):
    """The last room."""

    name = "dispatch"

    async def enter(self, exchange: Exchange) -> None:
        exchange.answer = self._answer(exchange)

    async def _answer(self, exchange: Exchange) -> AsyncGenerator[Chunk, None]:
        exchange.tokens = Tokens(3, 2)
        yield Chunk(b"data: {}\n\n" if exchange.said.stream else b"{}")


class House:
    """As much of a gateway as a door asks for: two rooms, and a limit for all."""

    draining, depth = False, 64

    def __init__(self, writer: Writer, rate: Rate) -> None:
        self.running: dict[str, Any] = {}
        self.answer = Pipeline([RateLimit(SqliteCounters(writer), lambda caller: (("machine", rate),)), Echo()]).run


async def told(door: Speak, **more: Any) -> tuple[int, dict[str, str], bytes]:
    """What a door tells of one question: status, headers, body."""
    body = json.dumps({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}], **more}).encode()
    headers = [(b"host", b"localhost:80"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "client": None, "server": None}
    came: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        came.append(message)

    await door(scope, receive, send)
    heads = {name.decode(): value.decode() for name, value in came[0]["headers"]}
    return came[0]["status"], heads, b"".join(message["body"] for message in came[1:])


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [False, True])
async def test_every_answer_says_how_much_is_left_and_a_refusal_when_to_come_again(
    tmp_path: Path, stream: bool
) -> None:
    with closing(Writer(tmp_path / "audit.db")) as writer:
        house: Any = House(writer, Rate(requests=2, tokens=1000))
        door = Speak(house, Guard(["localhost"], 80, body_bytes=10_000), Chat())
        answers = [await told(door, stream=stream) for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert [headers["x-ratelimit-remaining"] for _, headers, _ in answers] == ["1", "0", "0"]
    for _, headers, _ in answers:
        assert headers["x-ratelimit-limit"] == headers["x-ratelimit-limit-requests"] == "2"
        assert headers["x-ratelimit-limit-tokens"] == "1000"
        assert 0 <= int(headers["x-ratelimit-reset"]) - time.time() <= 62
    _, headers, body = answers[-1]
    assert 1 <= int(headers["retry-after"]) <= 61
    assert "x-should-retry" not in headers
    error = json.loads(body)["error"]
    assert error["type"] == "rate_limit_error"
    assert "The limit of 2 requests a minute for this machine is reached." in error["message"]


@pytest.mark.anyio
async def test_what_never_fits_is_told_not_to_come_again(tmp_path: Path) -> None:
    with closing(Writer(tmp_path / "audit.db")) as writer:
        house: Any = House(writer, Rate(tokens=1000))
        status, headers, _ = await told(
            Speak(house, Guard(["localhost"], 80, body_bytes=10_000), Chat()), max_tokens=5000
        )
    assert (status, headers["x-should-retry"], headers["x-ratelimit-remaining-tokens"]) == (429, "false", "1000")
    assert "retry-after" not in headers
