"""Kills a busy gateway again and again, and counts what that cost: `python tests/bench_crash.py --kills 1000`.

After each kill the database is read past the gateway: no exchange whose end was acknowledged may lack its outcome, and
nothing that reached the upstream its intent. After the restart no hold of a budget may be left; the chain must hold.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.gateway.test_crash import Seen, ask_on, rows_of  # noqa: E402  # the path comes first
from tests.served import Served  # noqa: E402  # likewise
from tests.sink import Sink  # noqa: E402  # likewise

CALLERS = 40
LONGEST = 0.4
"""Seconds of load before a kill."""
ROUND = 50
"""Kills of one home; a fresh one keeps the looking quick."""

ENVIRONMENT = {
    "MEMBRAIN_AUTH_MODE": "off",
    "MEMBRAIN_CACHE_MODE": "off",
    "MEMBRAIN_BUDGET_TOTAL": "1000000",
    "MEMBRAIN_PRICES": "gpt-slow-5=1/2,gpt-chunks-30-slow-10=1/2",
}


async def load(served: Served, seen: Seen) -> None:
    """Callers that ask on, and a kill at a moment of chance."""
    callers = [asyncio.ensure_future(ask_on(served.port, number, seen)) for number in range(CALLERS)]
    await asyncio.sleep(random.uniform(0.0, LONGEST))
    served.kill()
    await asyncio.gather(*callers)


def is_whole(served: Served) -> bool:
    """Whether the chain holds, by the verifier that anybody may read."""
    data = served.home / "data"
    head = ["--head", str(data / "audit.head")]
    key = ["--key", str(data / "seal_key")]
    verifier = [sys.executable, str(ROOT / "docs" / "verify_audit.py")]
    return subprocess.run([*verifier, str(data / "membrain.db"), *key, *head], capture_output=True).returncode == 0


def held_in(database: Path) -> int:
    """Holds of budgets that are left."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        count: int = connection.execute("SELECT count(*) FROM reservations").fetchone()[0]
        return count


def one_round(kills: int) -> Counter[str]:
    """Kill, look, start again, that many times with one home."""
    seen, told = Seen(), Counter[str]()
    with tempfile.TemporaryDirectory() as folder, Sink() as sink:
        served = Served(Path(folder) / "home", sink, **ENVIRONMENT)
        database = served.home / "data" / "membrain.db"
        with served:
            for _ in range(kills):
                asyncio.run(load(served, seen))
                outcomes = rows_of(database)
                told["without outcome"] += sum(outcomes.get(id) != "answered" for id in seen.acknowledged)
                asked = sum(each.method == "POST" for each in sink.requests)
                told["without intent"] += max(0, asked - len(outcomes))
                served.start()
                told["holds left"] += held_in(database)
        told["breaks of the chain"] += not is_whole(served)
        told["exchanges"] += len(rows_of(database))
        told["acknowledged"] += len(seen.acknowledged)
    return told


def main() -> int:
    """All rounds, and what they came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    kills, began, told = parser.parse_args().kills, time.monotonic(), Counter[str]()
    for begun in range(0, kills, ROUND):
        told += one_round(min(ROUND, kills - begun))
    faults = {name: told[name] for name in ("without outcome", "without intent", "holds left", "breaks of the chain")}
    print(f"{kills:,} kills in {time.monotonic() - began:.0f} s, {told['exchanges']:,} exchanges,", end=" ")
    print(f"{told['acknowledged']:,} acknowledged;", ", ".join(f"{count} {name}" for name, count in faults.items()))
    return 1 if any(faults.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
