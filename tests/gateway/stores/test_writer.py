"""The thread that writes: batches, faults, the end."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from membrain.errors import AuditUnavailable, GuardFailed, NotFound
from membrain.stores.database import MIGRATIONS, Subject, connect
from membrain.stores.writer import CALM, PAUSE, Writer
from tests.gateway.stores.made import ask_child

pytestmark = pytest.mark.anyio


def put(database: sqlite3.Connection, value: object) -> int | None:
    """Something to write, into the table that asks for least."""
    row = (value, value)
    return database.execute("INSERT INTO client_keys VALUES (?, '', ?, '', '', '', NULL, NULL, '{}')", row).lastrowid


def put_then_stumble(database: sqlite3.Connection, value: object) -> None:
    put(database, value)
    raise NotFound("there is no such thing")


def held(path: Path) -> list[str]:
    """What is in the file, as another connection sees it."""
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT id FROM client_keys ORDER BY rowid").fetchall()
    database.close()
    return [id for (id,) in rows]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "audit.db"


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    writer = Writer(path)
    yield writer
    writer.close()


class Gate:
    """A job that holds the writer until it is let go, so that others gather behind it."""

    def __init__(self, writer: Writer) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        writer.post(self, None, Subject("Gate"))
        assert self.reached.wait(5)

    def __call__(self, database: sqlite3.Connection, _: None) -> None:
        self.reached.set()
        assert self.open.wait(5)


def red(writer: Writer) -> str | None:
    """Its fault, now."""
    return writer.fault


def statements(writer: Writer) -> list[str]:
    """What the writer says to SQLite from now on."""
    said: list[str] = []
    assert writer._database is not None
    writer._database.set_trace_callback(said.append)
    return said


async def test_what_waits_goes_into_one_transaction_and_wakes_the_loop_once(
    writer: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    wakes: list[Callable[..., Any]] = []
    real = loop.call_soon_threadsafe

    def counted(callback: Callable[..., Any], *args: Any, **more: Any) -> asyncio.Handle:
        wakes.append(callback)
        return real(callback, *args, **more)

    said = statements(writer)
    gate = Gate(writer)
    futures = [writer.submit(put, f"n{number}", Subject("It")) for number in range(100)]
    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    gate.open.set()
    rows = await asyncio.gather(*futures)
    assert rows == sorted(rows)
    assert len(wakes) == 1
    assert said.count("BEGIN IMMEDIATE") == 2, "the gate's and one more"
    assert held(path) == [f"n{number}" for number in range(100)]


async def test_a_lone_job_is_committed_without_waiting_for_company(writer: Writer, path: Path) -> None:
    took = []
    for number in range(20):
        began = time.perf_counter()
        await writer.submit(put, f"n{number}", Subject("It"))
        took.append(time.perf_counter() - began)
        assert held(path)[-1] == f"n{number}", "resolved means committed"
    assert sorted(took)[10] < 0.05


async def test_a_future_has_what_the_work_returned(writer: Writer) -> None:
    assert await writer.submit(lambda database, argument: argument * 2, 21, Subject("It")) == 42


async def test_an_error_of_ours_reaches_who_asked_and_takes_back_only_that_job(writer: Writer, path: Path) -> None:
    gate = Gate(writer)
    before, spoiled, after = (
        writer.submit(work, name, Subject("It")) for work, name in ((put, "a"), (put_then_stumble, "b"), (put, "c"))
    )
    gate.open.set()
    await before
    await after
    with pytest.raises(NotFound, match="no such thing"):
        await spoiled
    assert held(path) == ["a", "c"]
    assert writer.fault is None


async def test_any_other_error_of_a_job_is_told_without_its_words(writer: Writer, path: Path) -> None:
    def stumble(database: sqlite3.Connection, word: str) -> None:
        raise ValueError(word)

    with pytest.raises(GuardFailed, match=r"^The thing cannot be written: it was refused\.$") as caught:
        await writer.submit(stumble, "a canary", Subject("The thing"))
    assert "canary" not in repr((caught.value, caught.value.__cause__, caught.value.__context__, caught.value.hint))
    await writer.submit(put, "a", Subject("It"))
    assert held(path) == ["a"]


async def test_a_full_database_fails_all_that_wait_and_works_again_once_there_is_room(
    writer: Writer, path: Path
) -> None:
    """The limit is SQLite's own; a disk that is really full is tried in test_sqlite.py."""
    assert writer._database is not None
    writer._database.execute("PRAGMA max_page_count = 1")
    gate = Gate(writer)
    futures = [writer.submit(put, f"{number}" * 10_000, Subject("The audit")) for number in range(5)]
    gate.open.set()
    for error in await asyncio.gather(*futures, return_exceptions=True):
        assert isinstance(error, GuardFailed)
        assert error.sentence.startswith("The audit cannot be written: the disk is full. ")
        assert "membrain doctor" in error.sentence
    assert len(set(map(id, await asyncio.gather(*futures, return_exceptions=True)))) == 5
    assert held(path) == []
    assert red(writer) == "The audit cannot be written: the disk is full."
    await writer.submit(put, "a", Subject("The audit"))
    assert red(writer) is None
    assert held(path) == ["a"]


async def test_a_file_that_was_deleted_is_made_anew(writer: Writer, path: Path) -> None:
    """Otherwise all that follows would go into a file without a name, and be acknowledged."""
    await writer.submit(put, "a", Subject("It"))
    shutil.rmtree(path.parent)
    await writer.submit(put, "b", Subject("It"))
    assert held(path) == ["b"]


async def test_a_file_that_was_overwritten_where_it_stands_is_noticed_at_once(writer: Writer, path: Path) -> None:
    """SQLite would go on with what it remembers of it, and all of that would be lost with the process."""
    await writer.submit(put, "a", Subject("It"))
    for each in (path, path.with_name(f"{path.name}-wal")):
        with each.open("r+b") as file:
            file.write(b"no database at all. " * (each.stat().st_size // 20))
    for _ in range(2):
        with pytest.raises(GuardFailed, match="damaged"):
            await writer.submit(put, "b", Subject("It"))
    assert writer.fault is not None


async def test_a_file_that_cannot_be_opened_again_fails_jobs_until_it_can(writer: Writer, path: Path) -> None:
    await writer.submit(put, "a", Subject("It"))
    await asyncio.to_thread(path.rename, path.with_name("elsewhere"))
    await asyncio.to_thread(path.mkdir)
    with pytest.raises(GuardFailed, match="not a plain file"):
        await writer.submit(put, "b", Subject("It"))
    assert writer.fault is not None
    await asyncio.to_thread(path.rmdir)
    await writer.submit(put, "c", Subject("It"))
    assert held(path) == ["c"]


async def test_who_stops_waiting_disturbs_nobody(writer: Writer, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate(writer)
    gone, stays = writer.submit(put, "a", Subject("It")), writer.submit(put, "b", "It")
    gone.cancel()
    gate.open.set()
    await stays
    assert held(path) == ["a", "b"], "what was handed over is written"
    assert not caplog.records


async def test_a_loop_that_was_closed_disturbs_nobody(writer: Writer, path: Path) -> None:
    gate = Gate(writer)

    async def hand_over() -> None:
        writer.submit(put, "a", Subject("It"))

    await asyncio.to_thread(asyncio.run, hand_over())
    gate.open.set()
    await writer.submit(put, "b", Subject("It"))
    assert held(path) == ["a", "b"]


async def test_four_threads_with_loops_of_their_own_all_get_their_answers(writer: Writer, path: Path) -> None:
    async def some(name: str) -> int:
        rows = [await writer.submit(put, f"{name}{number}", Subject("It")) for number in range(50)]
        return len(set(rows))

    threads = [asyncio.to_thread(asyncio.run, some(name)) for name in "abcd"]
    assert await asyncio.gather(*threads) == [50] * 4
    assert sorted(held(path)) == sorted(f"{name}{number}" for name in "abcd" for number in range(50))


async def test_closing_writes_what_waits_and_refuses_what_comes_after(path: Path) -> None:
    writer = Writer(path)
    gate = Gate(writer)
    futures = [writer.submit(put, f"n{number}", Subject("It")) for number in range(30)]
    threading.Timer(0.05, gate.open.set).start()
    writer.close()
    late = writer.submit(put, "late", Subject("The audit"))
    writer.post(put, "later", Subject("It"))
    await asyncio.gather(*futures)
    with pytest.raises(GuardFailed, match="closed"):
        await late
    assert held(path) == [f"n{number}" for number in range(30)]
    assert [each.name for each in path.parent.iterdir()] == ["audit.db"], "the log is carried into the file"


async def test_the_log_is_carried_into_the_file_once_it_is_calm(writer: Writer, path: Path) -> None:
    """So it is used again from its beginning, although no commit ever pays for that."""
    log = path.with_name("audit.db-wal")
    sizes = []
    for batch in range(5):
        await asyncio.gather(*(writer.submit(put, f"{batch}-{number}", Subject("It")) for number in range(CALM)))
        await asyncio.sleep(PAUSE + 0.15)
        sizes.append(log.stat().st_size)
    assert sizes[-1] <= 2 * sizes[0]


async def test_the_log_is_carried_into_the_file_in_a_rush_too(
    writer: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("membrain.stores.writer.RUSH", 100)
    for number in range(300):
        await writer.submit(put, f"{number}", Subject("It"))
    log = await asyncio.to_thread(path.with_name("audit.db-wal").stat)
    assert log.st_size < 300 * 3 * 4096


async def test_a_log_that_cannot_be_carried_over_shows_until_a_write_works_again(writer: Writer, path: Path) -> None:
    await writer.submit(put, "a", Subject("It"))
    assert writer._database is not None
    writer._database.close()
    writer._checkpoint()
    assert red(writer) == "The audit cannot be written: it was refused."
    with pytest.raises(GuardFailed):
        await writer.submit(put, "b", Subject("It"))
    await writer.submit(put, "c", Subject("It"))
    assert red(writer) is None
    assert held(path) == ["a", "c"]


class Unspeakable:
    """A subject that cannot even be refused."""

    @property
    def error(self) -> object:
        raise ZeroDivisionError

    @property
    def name(self) -> object:
        raise ZeroDivisionError


async def test_what_should_be_impossible_leaves_nobody_waiting(
    writer: Writer, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake of ours in telling of a mistake once ended the thread, and all who waited waited for ever."""

    def stumble(database: sqlite3.Connection, _: object) -> None:
        raise ValueError("a canary")

    gate = Gate(writer)
    futures = [
        writer.submit(put, "a", Subject("It")),
        writer.submit(stumble, None, Unspeakable()),  # type: ignore[arg-type]  # the point of it
        writer.submit(put, "b", Subject("It")),
    ]
    gate.open.set()
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(each) for each in outcomes] == [AuditUnavailable] * 3
    assert held(path) == []
    assert red(writer) == "The audit cannot be written: something in the gateway broke."
    assert "canary" not in caplog.text
    async with asyncio.timeout(5):
        await writer.submit(put, "c", Subject("It"))
    assert held(path) == ["c"]
    assert red(writer) is None


async def test_the_end_of_the_thread_is_the_end_of_waiting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends it: those in the queue are told, and who comes after is refused."""
    ended: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda given: ended.append(given.exc_type))
    writer = Writer(path)
    gate = Gate(writer)
    futures = [writer.submit(put, f"n{number}", Subject("It")) for number in range(3)]
    monkeypatch.setattr(writer, "_take", lambda most=0: 1 // 0)
    gate.open.set()
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(each) for each in outcomes] == [AuditUnavailable] * 3
    writer._thread.join(5)
    assert ended == [ZeroDivisionError]
    with pytest.raises(GuardFailed, match="closed"):
        await writer.submit(put, "late", Subject("It"))
    writer.close()


async def test_who_looks_at_each_commit_acts_after_it_and_before_those_who_wait_are_told(path: Path) -> None:
    acts: list[object] = []

    def look(database: sqlite3.Connection) -> Callable[[], None]:
        assert database.in_transaction
        (rows,) = database.execute("SELECT count(*) FROM client_keys").fetchone()
        return lambda: acts.append((rows, len(held(path))))

    writer = Writer(path, at_commit=look)
    for number in range(1, 4):
        await writer.submit(put, f"n{number}", Subject("It"))
        assert acts[-1] == (number, number)
    with pytest.raises(NotFound):
        await writer.submit(put_then_stumble, "x", Subject("It"))
    assert acts[-1] == (3, 3), "what was taken back was not seen"
    writer.close()


async def test_who_cannot_see_a_commit_through_fails_those_who_wait(path: Path) -> None:
    def refuse() -> None:
        raise AuditUnavailable("The head cannot be noted.")

    writer = Writer(path, at_commit=lambda database: refuse)
    with pytest.raises(GuardFailed, match="head cannot be noted"):
        await writer.submit(put, "a", Subject("It"))
    assert writer.fault == "The head cannot be noted."
    writer.close()


FORKED = """
import asyncio, json, os
from pathlib import Path
from membrain.errors import GuardFailed
from membrain.stores.database import Subject
from membrain.stores.writer import Writer

async def main():
    writer = Writer(Path(sys.argv[1]))
    count = lambda database, _: database.execute("SELECT count(*) FROM migrations").fetchone()[0]
    await writer.submit(count, None, Subject("It"))
    read, write = os.pipe()
    if not os.fork():
        async def again():
            await asyncio.wait_for(writer.submit(count, None, Subject("It")), 5)

        try:
            asyncio.run(again())
        except BaseException as error:
            os.write(write, type(error).__name__.encode())
        os._exit(0)
    os.wait()
    print(json.dumps([os.read(read, 100).decode(), await writer.submit(count, None, Subject("It"))]))
    writer.close()

asyncio.run(main())
"""


def test_a_forked_child_is_refused_and_its_parent_goes_on(path: Path) -> None:
    assert ask_child(FORKED, path) == ["GuardFailed", len(MIGRATIONS)]


async def test_jobs_without_a_future_are_written_and_their_failure_is_nobodys(
    writer: Writer, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer.post(put, "a", Subject("It"))
    writer.post(put, "a", Subject("It"))
    await writer.submit(put, "b", Subject("It"))
    assert held(path) == ["a", "b"]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_the_mode_of_durability_reaches_the_connection(tmp_path: Path) -> None:
    for durability, level in (("process", 1), ("full", 2)):
        database = connect(tmp_path / "audit.db", durability)  # type: ignore[arg-type]  # both are such a word
        assert database.execute("PRAGMA synchronous").fetchone() == (level,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        database.close()
