"""A budget before a thousand requests at once, and `kill -9` in the middle of them, as often as one likes.

    python -m tests.bench_budget [ROUNDS]

Each round starts a process of its own, with the real pipeline, room and ledger, before an upstream that writes down
every request that it bills. It is killed at a random moment; then the ledger is opened again, as a restart does. What
must hold: the upstream never billed more than the limit, the ledger never said less than the upstream billed, the limit
was used to its last whole request, and nothing stays held.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, closing
from dataclasses import dataclass
from pathlib import Path

from membrain.cost import bounds
from membrain.cost.prices import Price, Prices
from membrain.dialects.base import Chunk
from membrain.errors import BudgetExceeded
from membrain.exchange import Exchange, Stage
from membrain.pipeline import Pipeline
from membrain.records import Allowance, Attempt, Candidate, Decision
from membrain.stages.budget import Budget
from membrain.stores.ledger import LedgerFile, SqliteLedger
from membrain.stores.writer import Writer
from tests.fakes import exchange

ROOT = Path(__file__).parents[1]
REQUESTS = 1000
ADMITS = 37
NOON = 1_795_348_800.0
"""A day that does not end during a run."""


def question() -> Exchange:
    made = exchange("Hello", "model", max_tokens=100)
    made.id = random.randbytes(12).hex()  # other processes hold in the same file
    return made


EACH = len(question().said.body) + bounds.ADDED + 100
"""Micro-dollars of one request: a token costs one, read or written."""

LIMIT = ADMITS * EACH + EACH - 1


class Upstream(Stage):
    """Bills every request the moment that it arrives, and takes a while to answer."""

    name = "dispatch"

    def __init__(self, bills: Path, longest: float) -> None:
        self._bills = os.open(bills, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._longest = longest

    async def enter(self, exchange: Exchange) -> None:
        os.write(self._bills, b"1\n")
        await asyncio.sleep(random.uniform(0, self._longest))
        exchange.provider, exchange.attempts = "openai", (Attempt("openai", "model", 1.0),)
        exchange.answer = self._said()

    async def _said(self) -> AsyncGenerator[Chunk, None]:
        yield Chunk(b"{}", whole=True)

    async def leave(self, exchange: Exchange) -> None:
        exchange.cost_micros = EACH if exchange.provider else None


async def route(exchange: Exchange) -> Decision:
    candidate = Candidate("model", "openai", kept=True, reason="")
    exchange.decision = Decision("model", None, private=False, candidates=(candidate,))
    return exchange.decision


async def ask(
    folder: Path, requests: int, limit: int = LIMIT, longest: float = 0.1, *, recover: bool = True, talks: bool = False
) -> int:
    """Ask so often at once, in this process; how many were admitted. May say `ready` when the requests begin."""
    writer = Writer(folder / "audit.db")
    try:
        instance = random.randbytes(8).hex()
        ledger = SqliteLedger(writer, LedgerFile(folder / "audit.db"), instance, lambda: NOON)
        if recover:
            await ledger.recover(instance)
        prices = Prices({"model": Price(1.0, 1.0)}, library=False)
        room = Budget(ledger, prices, route, lambda _: [("machine", Allowance(day=limit))], lambda: NOON)
        pipeline = Pipeline([room, Upstream(folder / "bills", longest)])
        if talks:
            print("ready", flush=True)
        return sum(await asyncio.gather(*(_admitted(pipeline) for _ in range(requests))))
    finally:
        writer.close()


async def _admitted(pipeline: Pipeline) -> bool:
    try:
        async with aclosing(pipeline.run(question())) as answer:
            async for _ in answer:
                continue
    except BudgetExceeded:
        return False
    return True


def start(folder: Path, requests: int, *, recover: bool = True) -> subprocess.Popen[str]:
    """A process that asks, once it has said `ready`."""
    paths = os.pathsep.join([str(ROOT / "gateway"), str(ROOT)])
    arguments = ["child", str(folder), str(requests), "recover" if recover else ""]
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.bench_budget", *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def said(child: subprocess.Popen[str]) -> int:
    """How many requests of a process that ended well were admitted."""
    told, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    return int(json.loads(told))


@dataclass(frozen=True)
class Books:
    """What the ledger says, and what the upstream does."""

    spent: int
    reserved: int
    holds: int
    bills: int


def books(folder: Path) -> Books:
    bills = folder / "bills"
    billed = len(bills.read_bytes()) // 2 if bills.exists() else 0  # before the ledger: it only ever knows more
    with closing(sqlite3.connect(folder / "audit.db", timeout=5)) as database:
        database.execute("BEGIN")
        spent, reserved = database.execute("SELECT sum(spent), sum(reserved) FROM spends").fetchone()
        (holds,) = database.execute("SELECT count(*) FROM reservations").fetchone()
    return Books(spent or 0, reserved or 0, holds, billed)


def check(found: Books) -> None:
    """What has to be true at any moment."""
    assert found.spent + found.reserved <= LIMIT, found
    assert found.bills * EACH <= found.spent + found.reserved, found


async def killed_once(folder: Path, seconds: float) -> tuple[Books, float]:
    """One process, killed so many seconds after it held something first, or before that if they are below 0.

    What the kill left, and how long the restart took.
    """
    child = await asyncio.to_thread(start, folder, REQUESTS)
    due = time.monotonic() + (seconds + 0.05 if seconds < 0 else 10.0)
    while time.monotonic() < due:
        found = books(folder)
        check(found)
        if found.holds and seconds >= 0:
            due, seconds = time.monotonic() + seconds, -1.0
    child.kill()
    child.communicate()
    left = books(folder)
    check(left)
    began = time.perf_counter()
    await ask(folder, 0)
    restart = time.perf_counter() - began
    recovered = books(folder)
    assert (recovered.reserved, recovered.holds) == (0, 0), recovered
    assert recovered.spent == left.spent + left.reserved
    admitted = await ask(folder, REQUESTS, longest=0.0)
    assert admitted == ADMITS - recovered.spent // EACH, "a false refusal, or a request too many"
    assert await ask(folder, 5, LIMIT + EACH, longest=0.0) == 1, "a higher limit admits what it pays for"
    after = books(folder)
    assert (after.spent, after.reserved, after.holds) == ((ADMITS + 1) * EACH, 0, 0), after
    assert after.bills <= ADMITS + 1
    return left, restart


async def rounds(count: int) -> list[tuple[Books, float]]:
    """So many kills, each with a file of its own."""
    told = []
    for _ in range(count):
        with tempfile.TemporaryDirectory() as folder:
            told.append(await killed_once(Path(folder), random.uniform(-0.02, 0.12)))
    return told


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["child"]:
        recover = arguments[3] == "recover"
        print(asyncio.run(ask(Path(arguments[1]), int(arguments[2]), recover=recover, talks=True)))
        return
    told = asyncio.run(rounds(int(arguments[0]) if arguments else 50))
    holds = sorted(left.holds for left, _ in told if left.holds)
    middle = f"{len(holds)} of them with {holds[0]} to {holds[-1]} requests held" if holds else "none in the middle"
    print(f"{len(told)} kills, {middle}; never above the limit, nothing left held")
    print(f"slowest restart: {max(took for _, took in told) * 1000:.0f} ms")


if __name__ == "__main__":
    main(sys.argv[1:])
