"""What is acknowledged is on record, also when the gateway is killed in the middle of two hundred requests."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.served import Served
from tests.sink import Sink

RUNNING = 200
KILLS = 3


@dataclass
class Seen:
    """What the callers saw."""

    acknowledged: set[str] = field(default_factory=set)
    """Ids of exchanges whose last byte or `[DONE]` arrived."""
    begun: set[str] = field(default_factory=set)
    """Ids of streams whose headers arrived."""


async def ask_on(port: int, number: int, seen: Seen) -> None:
    """Ask again and again, whole and streamed in turn, until the connection dies."""
    stream = number % 2 == 0
    model = random.choice(["gpt-4o", "gpt-slow-5", "gpt-chunks-30-slow-10"])
    body = json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": "Hi"}]})
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while True:
            writer.write(head.encode() + body.encode())
            await read_one(reader, seen)
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


async def read_one(reader: asyncio.StreamReader, seen: Seen) -> None:
    """Read one answer, noting when it was acknowledged."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    assert head.startswith("http/1.1 200"), head
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
    if "content-length" in headers:
        await reader.readexactly(int(headers["content-length"]))
        seen.acknowledged.add(headers["x-request-id"])
        return
    seen.begun.add(headers["x-request-id"])
    while size := int(await reader.readuntil(b"\r\n"), 16):
        if b"data: [DONE]" in await reader.readexactly(size + 2):
            seen.acknowledged.add(headers["x-request-id"])
    await reader.readuntil(b"\r\n")


async def load_until_killed(served: Served, seen: Seen) -> None:
    """Two hundred callers at once, and a kill at a moment of chance."""
    callers = [asyncio.ensure_future(ask_on(served.port, number, seen)) for number in range(RUNNING)]
    enough = len(seen.acknowledged) + RUNNING
    while len(seen.acknowledged) < enough:  # noqa: ASYNC110  # the callers are busy, and so are we
        await asyncio.sleep(0.01)
    await asyncio.sleep(random.uniform(0.01, 0.5))
    served.kill()
    await asyncio.gather(*callers)


def rows_of(database: Path) -> dict[str, str]:
    """Every exchange's outcome, read past the gateway."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return dict(connection.execute("SELECT id, outcome FROM exchanges").fetchall())


@pytest.mark.slow
def test_every_acknowledged_exchange_survives_a_kill(tmp_path: Path) -> None:
    seen = Seen()
    with Sink() as sink, Served(tmp_path / "home", sink, MEMBRAIN_AUTH_MODE="off") as served:
        for _ in range(KILLS):
            asyncio.run(load_until_killed(served, seen))
            left = rows_of(served.home / "data" / "membrain.db")
            assert "open" in left.values(), "the kill came while something was running"
            asked = [each for each in sink.requests if each.method == "POST"]  # the rest are looks at Ollama's list
            assert len(left) >= len(asked), "nothing reached the upstream without an intent on record"
            served.start()
        outcomes = rows_of(served.home / "data" / "membrain.db")
        assert {outcomes[id] for id in seen.acknowledged} == {"answered"}
        assert seen.begun <= outcomes.keys()
        assert set(outcomes.values()) == {"answered", "interrupted"}
        assert served.chat().status == 200
