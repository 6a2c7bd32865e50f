"""What the chain finds and how fast: `python tests/bench_chain.py [changes of each kind] [clean records]`.

By default 10,000 single changes of each kind, looked for by the stand-alone verifier and by our own, and 100,000 clean
records. Prints one line for each figure, and fails if any change was missed or any clean record was called bad.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "gateway")]

from membrain.stores import chain  # noqa: E402  # the path comes first
from membrain.stores.database import connect_reader  # noqa: E402  # likewise
from membrain.stores.open import open_stores  # noqa: E402  # likewise
from tests.gateway.stores.made import KEY, an_intent, an_outcome, ask_child  # noqa: E402  # likewise
from tests.tampering import KINDS, Target, seed, verifier  # noqa: E402  # likewise


def found_by_both(alone: Any, database: Any, heads: dict[int, set[bytes]]) -> tuple[int | None, int | None]:
    """The first bad record, as the stand-alone verifier and as our own names it."""
    wrong = alone.chain(database, KEY, heads)[1] or alone.index(database)
    database.row_factory, database.text_factory = None, str
    walk = chain._Walk(database, KEY, heads)
    ours = walk.chain() or walk.end() or walk.index()
    return wrong and wrong[0], ours and ours[0]


def tamper(changes: int) -> int:
    """So many changes of each kind; how many were not found, or not named rightly."""
    random, alone, missed = Random(number := seed()), verifier(), 0
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").exists() else None) as folder:
        target = Target.make(Path(folder))
        print(f"{'kind of change':24} {'made':>7} {'found':>7} {'named':>7}   (seed {number})")
        for name, change in KINDS.items():
            found = named = 0
            for _ in range(changes):
                with target.tampered(change, random) as first:
                    seqs = found_by_both(alone, target.database, target.heads)
                found += None not in seqs
                named += set(seqs) <= first
            missed += 2 * changes - found - named
            print(f"{name:24} {changes:7,} {found:7,} {named:7,}", flush=True)
        found = named = 0
        for _ in range(changes):
            database, first = target.rolled_back(random)
            with closing(database):
                seqs = found_by_both(alone, database, target.heads)
            found += None not in seqs
            named += set(seqs) <= first
        print(f"{'rollback to older copy':24} {changes:7,} {found:7,} {named:7,}", flush=True)
        target.database.text_factory, target.database.row_factory = str, None
        assert found_by_both(alone, target.database, target.heads) == (None, None), "the audit itself is sound"
    return missed + 2 * changes - found - named


def fill(path: Path, records: int) -> None:
    """An audit of so many records: an intent and an outcome for each exchange."""

    async def live() -> None:
        stores = open_stores(path, instance="i", key=KEY)
        began = time.perf_counter()
        for _ in range(0, records, 1_000):
            intents = [an_intent() for _ in range(500)]
            await asyncio.gather(*map(stores.audit.intend, intents))
            await asyncio.gather(*(stores.audit.conclude(an_outcome(intent)) for intent in intents))
        print(f"written: {records / (time.perf_counter() - began):,.0f} records/s, sealed and committed")
        await stores.close()

    asyncio.run(live())


def timed(name: str, records: int, work: Callable[[], Any]) -> Any:
    began, busy = time.perf_counter(), time.process_time()
    result = work()
    took, used = time.perf_counter() - began, time.process_time() - busy
    print(f"{name}: {records / took:,.0f} records/s ({records / used:,.0f} a second of CPU)")
    return result


MEMORY = """
import json, resource
from pathlib import Path
from membrain.stores import chain
from tests.gateway.stores.made import KEY
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
verdict = chain.verify(Path(sys.argv[1]), KEY)
print(json.dumps([verdict.records, verdict.bad, base, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


def clean(records: int) -> int:
    """So many records that nobody touched; how many were called bad."""
    alone, alarms = verifier(), 0
    with tempfile.TemporaryDirectory() as folder:
        for size in (records // 10, records):
            path = Path(folder) / f"{size}.db"
            fill(path, size)
            count, bad, base, most = ask_child(MEMORY, path)
            print(f"memory of verify over {count:,} records: {base / 1024:.1f} MB before, {most / 1024:.1f} MB at most")
            alarms += bad is not None
        with closing(connect_reader(path)) as database:
            walk = chain._Walk(database, KEY, {})
            alarms += timed("chain and texts", records, walk.chain) is not None
            alarms += timed("index", records, walk.index) is not None
        verdict = timed("verify, all of it", records, lambda: chain.verify(path, KEY))
        alarms += not verdict.sound
        with closing(connect_reader(path)) as database:
            count, bad = timed("stand-alone, chain and texts", records, lambda: alone.chain(database, KEY, {}))
            alarms += bad is not None or count != records
            alarms += timed("stand-alone, index", records, lambda: alone.index(database)) is not None
    print(f"clean records {records:,}, called bad: {alarms}")
    return alarms


def main(changes: int = 10_000, records: int = 100_000) -> int:
    """The exit status."""
    alarms, missed = clean(records), tamper(changes)
    print(f"most memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    return 1 if missed or alarms else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
