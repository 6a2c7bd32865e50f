"""The audit in SQLite against the world: kills, full disks, locks, damage, other processes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from membrain.errors import GuardFailed, Misconfigured
from membrain.heads import Heads
from membrain.stores.base import AuditQuery
from membrain.stores.chain import Chain, verify
from membrain.stores.database import check
from membrain.stores.open import open_reader, open_stores
from membrain.stores.reading import SqliteReader
from membrain.stores.sqlite import SqliteAudit
from membrain.stores.writer import Writer
from tests.gateway.stores.made import DAWN, KEY, an_intent, an_outcome, ask_child, places_beside, start_child

pytestmark = pytest.mark.anyio

LIVELY = """
import asyncio, itertools
from pathlib import Path
from membrain.heads import Heads
from membrain.stores.open import open_stores
from tests.gateway.stores.made import KEY, an_intent, an_outcome, places_beside

async def live(path, instance, durability):
    heads = Heads(places_beside(Path(path)), KEY, full=durability == "full")
    stores = open_stores(path, instance=instance, key=KEY, heads=heads, durability=durability)
    print("ready", await stores.audit.interrupt(instance), flush=True)
    async def one(worker):
        for number in itertools.count():
            intent = an_intent(f"{instance}-{worker}-{number}")
            await stores.audit.intend(intent)
            print("intent", intent.id, flush=True)
            await stores.audit.conclude(an_outcome(intent))
            print("outcome", intent.id, flush=True)
    await asyncio.gather(*map(one, range(8)))

asyncio.run(live(*sys.argv[1:]))
"""


def kill_at_random(path: Path, instance: str, durability: str) -> list[list[str]]:
    """Run a gateway's audit for a moment; what it acknowledged until it was killed."""
    with start_child(LIVELY, path, instance, durability) as child:
        assert child.stdout is not None
        said = [child.stdout.readline()]
        time.sleep(random.uniform(0.0, 0.12))
        child.kill()
        said += child.stdout.readlines()
    return [line.split() for line in said if line.endswith("\n")]


@pytest.mark.slow
def test_what_was_acknowledged_survives_twenty_kills(tmp_path: Path) -> None:
    """Each life ends at a random point; the next one finds every acknowledged row, and marks what was left open."""
    path = tmp_path / "audit.db"
    intents: set[str] = set()
    outcomes: set[str] = set()
    for life in range(20):
        said = kill_at_random(path, f"life{life:02}", "full" if life % 2 else "process")
        intents |= {id for word, id in said if word == "intent"}
        outcomes |= {id for word, id in said if word == "outcome"}
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            found = dict(database.execute("SELECT id, outcome FROM exchanges"))
            whole = {id for (id,) in database.execute("SELECT id FROM entries WHERE kind = 'outcome'")}
        verdict = verify(path, KEY, Heads(places_beside(path), KEY).known())
        assert verdict.checked_head
        assert verdict.reason is None, "every life goes on where the one before ended, and no kill looks like tampering"
        assert intents <= found.keys()
        assert {id for id in outcomes if found[id] != "answered"} == set()
        assert outcomes <= whole
        left_open = {id for id, outcome in found.items() if outcome == "open"}
        assert all(id.startswith(f"life{life:02}") for id in left_open), "earlier ones are marked by now"
    assert len(outcomes) > 200, "it was alive in between"

    async def last_life() -> int:
        stores = open_stores(path, instance="last", key=KEY)
        interrupted = await stores.audit.interrupt("last")
        assert await stores.audit.list(AuditQuery(outcome="open")) == []
        await stores.close()
        return interrupted

    assert asyncio.run(last_life()) == len(left_open)
    record = open_reader(path).list(AuditQuery(outcome="answered", limit=1))[0]
    assert record == an_outcome(an_intent(record.id))


READING = """
import json, time
from membrain.stores.base import AuditQuery
from membrain.stores.open import open_reader

reader, seen, last = open_reader(sys.argv[1]), [], None
print("ready", flush=True)
deadline = time.monotonic() + 20
while len(seen) < 300 and time.monotonic() < deadline:
    found = reader.list(AuditQuery(after=last, limit=50)) if last else reader.list(AuditQuery(limit=50))
    seen += [record.id for record in reversed(found)]
    last = seen[-1] if seen else None
    reader.totals()
print(json.dumps(seen))
"""


async def test_another_process_follows_along_while_we_write(tmp_path: Path) -> None:
    """It sees every exchange once, in order, without a gap and without an error."""
    path = tmp_path / "audit.db"
    stores = open_stores(path, instance="i", key=KEY)
    ids = [f"n{number:03}" for number in range(300)]
    with start_child(READING, path) as child:
        assert child.stdout is not None
        await asyncio.to_thread(child.stdout.readline)
        for begin in range(0, 300, 5):
            intents = [an_intent(id) for id in ids[begin : begin + 5]]
            await asyncio.gather(*map(stores.audit.intend, intents))
            await asyncio.gather(*(stores.audit.conclude(an_outcome(intent)) for intent in intents))
        seen = json.loads(await asyncio.to_thread(child.stdout.readline))
    await stores.close()
    assert child.returncode == 0
    assert seen == ids


@asynccontextmanager
async def no_standstill(longest: float = 0.5) -> AsyncIterator[None]:
    """The event loop goes on all the while; these two cores have other work too, hence the half second."""
    gaps = [0.0]

    async def tick() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    ticking = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticking.cancel()
    assert max(gaps) < longest


@pytest.mark.slow
async def test_a_lock_of_another_program_fails_writes_after_two_seconds_and_never_the_loop(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    stores = open_stores(path, instance="i", key=KEY)
    await stores.audit.intend(an_intent("before"))
    with start_child(
        "import sqlite3, time\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('BEGIN IMMEDIATE')\n"
        "print('held', flush=True)\n"
        "time.sleep(60)",
        path,
    ) as other:
        assert other.stdout is not None
        await asyncio.to_thread(other.stdout.readline)
        began = time.perf_counter()
        async with no_standstill():
            first = stores.audit.intend(an_intent("first"))
            await asyncio.sleep(1.0)
            second = stores.audit.intend(an_intent("second"))
            assert len(await stores.audit.list()) == 1, "reading goes on"
            for future in (first, second):
                with pytest.raises(GuardFailed, match="more than 2 seconds"):
                    await future
        assert 1.8 < time.perf_counter() - began < 3.0, "who came later did not wait two seconds more"
        assert "more than 2 seconds" in str(stores.audit.fault)
        other.kill()
    await stores.audit.intend(an_intent("after"))
    assert str(stores.audit.fault) == "None"
    assert [record.id for record in await stores.audit.list()] == ["after", "before"]
    await stores.close()


FILLING = """
import asyncio, json, os, resource, time
from pathlib import Path
from membrain.errors import GuardFailed
from membrain.stores.open import open_stores
from tests.gateway.stores.made import KEY, an_intent, an_outcome

async def fill(path, limit):
    path = Path(path)
    ballast = path.with_name("ballast")
    ballast.write_bytes(bytes(400_000))
    stores = open_stores(path, instance="i", key=KEY)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    done, error = [], None
    while error is None and len(done) < 5_000:
        intent = an_intent(f"n{len(done):04}", user="x" * 1000)
        began = time.perf_counter()
        try:
            await stores.audit.intend(intent)
            await stores.audit.conclude(an_outcome(intent))
            done.append(intent.id)
        except GuardFailed as failed:
            error, took = failed.sentence, time.perf_counter() - began
    red = stores.audit.fault
    ballast.unlink()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    await stores.audit.intend(an_intent("after"))
    answered = {record.id for record in stores.audit._reader.list() if record.outcome == "answered"}
    print(json.dumps([error, took, red, len(done), set(done[-40:]) <= answered, stores.audit.fault]))
    await stores.close()

asyncio.run(fill(*sys.argv[1:]))
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A folder with room for 1.5 MB, and the limit for a file that makes it so: a disk if we may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", folder], capture_output=True)
    try:
        yield folder, 1_000_000 if mounted.returncode else 0
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_fails_writes_at_once_and_heals_with_room(small_disk: tuple[Path, int]) -> None:
    folder, limit = small_disk
    error, took, red, done, kept, after = ask_child(FILLING, folder / "audit.db", limit or "")
    assert error.startswith("The audit cannot be written: the disk "), error
    assert "membrain doctor" in error
    assert took < 1.0
    assert red == "The audit cannot be written: the disk " + ("reports an error." if limit else "is full.")
    assert done > 10
    assert kept, "what was acknowledged before is there"
    assert after is None
    assert check(folder / "audit.db") is None


def test_a_limit_on_the_size_of_files_fails_writes_at_once_and_heals(tmp_path: Path) -> None:
    error, took, _, done, kept, after = ask_child(FILLING, tmp_path / "audit.db", 1_000_000)
    assert error.startswith("The audit cannot be written: the disk reports an error."), error
    assert (took < 1.0, done > 10, kept, after) == (True, True, True, None)
    assert check(tmp_path / "audit.db") is None


READ_ONLY = """
import asyncio, json, os
from pathlib import Path
from membrain.errors import GuardFailed
from membrain.stores.open import open_stores
import concurrent.futures.thread, membrain.stores.sqlite  # now, while they may still be read
from tests.gateway.stores.made import KEY, an_intent

async def try_all(path):
    if os.geteuid() == 0:
        os.setuid(65534)  # root may write what is read-only
    path = Path(path)
    stores = open_stores(path, instance="i", key=KEY)
    await stores.audit.intend(an_intent("before"))
    await stores.close()
    path.chmod(0o400)
    stores = open_stores(path, instance="j", key=KEY)
    said = []
    for attempt in (lambda: stores.audit.intend(an_intent("while")), lambda: stores.audit.interrupt("j")):
        try:
            await attempt()
        except GuardFailed as failed:
            said.append(failed.sentence)
    read = [record.id for record in await stores.audit.list()]
    path.chmod(0o600)
    await stores.audit.intend(an_intent("after"))
    await stores.close()
    print(json.dumps([said, read]))

asyncio.run(try_all(sys.argv[1]))
"""


def test_a_read_only_file_fails_writes_can_be_read_and_heals() -> None:
    folder = Path(tempfile.mkdtemp(prefix="membrain-test-"))
    try:
        folder.chmod(0o777)
        said, read = ask_child(READ_ONLY, folder / "audit.db")
    finally:
        shutil.rmtree(folder)
    assert said == ["The audit cannot be written: its file is read-only. Look into it with: membrain doctor"] * 2
    assert read == ["before"]


async def test_a_damaged_file_fails_writes_and_names_the_doctor(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    stores = open_stores(path, instance="i", key=KEY)
    await asyncio.gather(*(stores.audit.conclude(an_outcome(an_intent())) for _ in range(200)))
    await stores.close()
    content = path.read_bytes()
    path.write_bytes(content[: 16 * 1024] + os.urandom(len(content) - 16 * 1024))
    stores = open_stores(path, instance="j", key=KEY)
    async with no_standstill():
        with pytest.raises(GuardFailed, match="its file is damaged") as caught:
            await asyncio.gather(*(stores.audit.conclude(an_outcome(an_intent())) for _ in range(50)))
    assert "membrain doctor" in caught.value.sentence
    assert stores.audit.fault == "The audit cannot be written: its file is damaged."
    await stores.close()
    assert check(path) is not None


async def test_a_newer_file_keeps_a_gateway_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    await open_stores(path, instance="i", key=KEY).close()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO migrations VALUES ('from_the_future', '')")
    with pytest.raises(Misconfigured, match="newer Membrain"):
        open_stores(path, instance="i", key=KEY)


async def test_what_left_is_kept_for_so_many_days_and_looked_after_once_an_hour(tmp_path: Path) -> None:
    path, now = tmp_path / "audit.db", [DAWN.timestamp() - 100 * 86_400]
    writer = Writer(path)
    audit = SqliteAudit(writer, SqliteReader(path), "i", Chain(KEY), keep_days=2, wall=lambda: now[0])

    async def keep(id: str) -> None:
        seconds = now[0] - DAWN.timestamp()
        await audit.conclude(an_outcome(an_intent(id, seconds=seconds)), sent=id.encode(), keep=True)

    def kept() -> list[str]:
        with closing(sqlite3.connect(path)) as database:
            return [id for (id,) in database.execute("SELECT id FROM wires ORDER BY at")]

    await keep("first")
    now[0] += 86_400
    await keep("second")
    now[0] += 86_400 + 1
    await audit.conclude(an_outcome(an_intent("third")))
    assert kept() == ["second"]
    now[0] += 86_400 - 2  # a day less two seconds: nothing is due
    await keep("fourth")
    assert kept() == ["second", "fourth"]
    now[0] += 3
    await audit.conclude(an_outcome(an_intent("fifth")))
    assert kept() == ["second", "fourth"], "only once an hour"
    await audit.conclude(an_outcome(an_intent("other")), sent=b"x", keep=False)
    assert "other" not in kept()
    await asyncio.to_thread(writer.close)
    await open_stores(path, instance="j", key=KEY, keep_days=1).close()
    assert kept() == [], "and at each start, by the real clock"
    assert verify(path, KEY).sound, "the chain does not mind"


async def test_what_was_left_open_is_sealed_as_interrupted_in_one_go(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    stores = open_stores(path, instance="before", key=KEY)
    await asyncio.gather(*(stores.audit.intend(an_intent(f"{n:03}", user="ada")) for n in range(300)))
    await stores.close()
    stores = open_stores(path, instance="now", key=KEY)
    assert await stores.audit.interrupt("now") == 300
    await stores.close()
    assert verify(path, KEY).records == 600
    assert verify(path, KEY).sound
    assert (await asyncio.to_thread(open_reader(path).get, "007")).user == "ada"


async def test_no_prompt_or_key_can_reach_the_file(tmp_path: Path) -> None:
    """A record has no field for them; this holds the row to the record's own fields."""
    path = tmp_path / "audit.db"
    stores = open_stores(path, instance="i", key=KEY)
    await stores.audit.conclude(an_outcome(an_intent("one")))
    await stores.close()
    with closing(sqlite3.connect(path)) as database:
        (body,) = database.execute("SELECT body FROM entries").fetchone()
    assert set(json.loads(body)) <= {*an_outcome(an_intent()).to_dict(), "instance"}
