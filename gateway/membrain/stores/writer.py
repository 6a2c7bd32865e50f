"""One thread that writes: everything that waits goes into one transaction, and nothing waits for company.

A lone write is committed at once; under load the batches form by themselves, while the one before is on its way
to the disk. The event loop never touches the file, and is woken once for each batch. The thread does not know
what it writes: a job is a function of the connection.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from membrain.errors import MembrainError
from membrain.stores.database import AUDIT, DOCTOR, Durability, Subject, connect, guard, is_environment

log = logging.getLogger("membrain.stores")

Work = Callable[[sqlite3.Connection, Any], Any]
"""Writes an argument. May run again after a rollback, so it changes nothing but the database."""

AtCommit = Callable[[sqlite3.Connection], Callable[[], None] | None]
"""Looks at a transaction that is about to be committed, and gives what is to be done after it."""

MOST = 512
"""Jobs in one transaction."""

CALM, RUSH = 500, 5_000
"""Jobs after which the write-ahead log (8 to 18 kB each) is carried into the file: once it is calm, and in any case."""

MAGIC = b"SQLite format 3\0"
"""What every such file begins with."""

PAUSE = 0.1
"""Seconds without a job after which it is calm."""


class Job:
    """One thing to write, who waits for it, and what came of it."""

    __slots__ = ("argument", "error", "future", "result", "subject", "work")

    def __init__(self, work: Work, argument: Any, subject: Subject, future: asyncio.Future[Any] | None) -> None:
        self.work = work
        self.argument = argument
        self.subject = subject
        self.future = future
        self.result: Any = None
        self.error: MembrainError | None = None

    def run(self, database: sqlite3.Connection) -> None:
        """Write. A fault of the job stays with the job, as `Spoiled`; one of the file goes up as it is."""
        try:
            self.result = self.work(database, self.argument)
        except MembrainError as error:
            self.error = error
            raise Spoiled from None
        except Exception as fault:
            if is_environment(fault):
                raise
            # Texts of such errors quote what could not be written, so they are not even chained.
            self.error = guard(self.subject, "written", fault)
            raise Spoiled from None


class Spoiled(Exception):
    """A job cannot be written, for reasons of its own."""


class Writer:
    """The thread and its queue. `submit` and `post` may be called from any thread, `close` too.

    In a forked child there is no thread, and every job fails at once.
    """

    def __init__(
        self,
        path: Path,
        durability: Durability = "process",
        at_commit: AtCommit | None = None,
    ) -> None:
        """Open the file (Misconfigured when that is impossible) and start.

        *at_commit* is called in the thread at the end of each transaction; what it gives back is called once that is
        committed, before those who wait are told. If either fails, so do all of that transaction, even if it stands:
        nobody is to rely on what could not be seen through.
        """
        self.fault: str | None = None
        self._at_commit = at_commit
        self._path = path
        self._durability: Durability = durability
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._ending = False
        self._unsaved = 0
        self._file: tuple[int, int] | None = None
        self._head: int | None = None
        self._database: sqlite3.Connection | None = self._connect()
        self._thread = threading.Thread(target=self._run, name="membrain-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work, argument: Any, subject: Subject) -> asyncio.Future[Any]:
        """Hand over a job, on an event loop. The future has the work's result once that is committed.

        It fails with a GuardFailed, or with the MembrainError that the work raised. *subject* begins the
        sentence, and says which error it is.
        """
        future = asyncio.get_running_loop().create_future()
        job = Job(work, argument, subject, future)
        if not self._enqueue(job):
            future.set_exception(subject.fails("written", "it is closed"))
        return future

    def post(self, work: Work, argument: Any, subject: Subject) -> None:
        """Hand over a job that nobody waits for, and whose loss would matter to nobody."""
        self._enqueue(Job(work, argument, subject, None))

    def close(self) -> None:
        """Write all that waits, then end. Blocks until that is done; may be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _enqueue(self, job: Job) -> bool:
        """Whether the job was taken. The lock keeps every job in front of the end."""
        if not self._thread.is_alive():
            return False
        with self._lock:
            if not self._closed:
                self._queue.put(job)
            return not self._closed

    # What follows runs in the thread.

    def _run(self) -> None:
        try:
            while not self._ending:
                jobs = self._take()
                if jobs:
                    self._see_through(jobs)
            self._drop()
        finally:
            self._unwatch()
            self._abandon()

    def _see_through(self, jobs: list[Job]) -> None:
        """Write, and tell those who wait: also what should be impossible must leave nobody waiting."""
        try:
            self._write(jobs)
        except Exception as fault:  # noqa: BLE001  # likewise
            log.error("the writer stumbled (%s), so what it had at hand is refused", type(fault).__name__)
            for job in jobs:
                job.error = _broken()
            self.fault = _broken().message
            self._drop()
        self._settle(jobs)
        self._unsaved += len(jobs)
        if self._unsaved >= RUSH:
            self._checkpoint()

    def _abandon(self) -> None:
        """At the thread's end: nobody waits for it any more. After a `close`, nobody does."""
        with self._lock:
            self._closed = True
        left = []
        while not self._queue.empty():
            job = self._queue.get()
            if job is not None:
                job.error = _broken()
                left.append(job)
        self._settle(left)

    def _take(self, most: int = MOST) -> list[Job]:
        """Wait for a job, then take all that came with it."""
        jobs: list[Job] = []
        job = self._first()
        while job is not None:
            jobs.append(job)
            if len(jobs) >= most or self._queue.empty():
                return jobs
            job = self._queue.get()
        self._ending = True
        return jobs

    def _first(self) -> Job | None:
        """Wait for a job; if none comes soon, see to the log meanwhile."""
        if self._unsaved >= CALM:
            try:
                return self._queue.get(timeout=PAUSE)
            except Empty:
                self._checkpoint()
        return self._queue.get()

    def _write(self, jobs: list[Job]) -> None:
        """One transaction for all. If one job spoils it, once more, each behind a savepoint of its own."""
        try:
            try:
                afterwards = self._transact(jobs, _run_plainly)
            except Spoiled:
                afterwards = self._transact(jobs, _run_apart)
            if afterwards is not None:
                afterwards()
            self.fault = None
        except Exception as fault:  # noqa: BLE001  # whatever it was, those who wait must hear of it
            self._give_up(jobs, fault)

    def _transact(
        self, jobs: list[Job], run: Callable[[sqlite3.Connection, list[Job]], None]
    ) -> Callable[[], None] | None:
        """One transaction; gives what is to be done after it."""
        database = self._current()
        database.execute("BEGIN IMMEDIATE")
        try:
            run(database, jobs)
            afterwards = self._at_commit(database) if self._at_commit is not None else None
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        return afterwards

    def _current(self) -> sqlite3.Connection:
        """The connection, opened anew after a fault, or when the file it had was moved, deleted or overwritten."""
        if self._database is not None and not self._is_there():
            self._drop()
        if self._database is None:
            self._database = self._connect()
        return self._database

    def _connect(self) -> sqlite3.Connection:
        database = connect(self._path, self._durability)
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute("PRAGMA secure_delete = ON")  # nothing that is erased later may stand in some free corner
        self._watch()
        return database

    def _watch(self) -> None:
        """Keep the file open, to look at its head: closing it any earlier would drop SQLite's locks on it."""
        now = _identity(self._path)
        if now != self._file:
            self._unwatch()
            self._file, self._head = now, os.open(self._path, os.O_RDONLY)

    def _unwatch(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            os.close(head)

    def _is_there(self) -> bool:
        """Whether the file is where it was and still a database: SQLite would go on for long with what it remembers."""
        if self._head is None or _identity(self._path) != self._file:
            return False
        os.lseek(self._head, 0, os.SEEK_SET)
        return os.read(self._head, len(MAGIC)) == MAGIC

    def _drop(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _give_up(self, jobs: list[Job], fault: Exception) -> None:
        """Fail all jobs, and those that came meanwhile: they would only wait for the same fault again."""
        if not self._queue.empty():
            jobs += self._take(self._queue.qsize())
        for job in jobs:
            job.error = _refusal(job.subject, fault)
        self.fault = jobs[0].error.message if jobs[0].error else None
        self._drop()

    def _settle(self, jobs: Iterable[Job]) -> None:
        """Tell those who wait, with one call into each event loop that has some."""
        waiting: defaultdict[asyncio.AbstractEventLoop, list[Job]] = defaultdict(list)
        for job in jobs:
            if job.future is not None:
                waiting[job.future.get_loop()].append(job)
        for loop, settled in waiting.items():
            try:
                loop.call_soon_threadsafe(_resolve, settled)
            except RuntimeError:
                # The loop was closed: those who waited on it are gone.
                continue

    def _checkpoint(self) -> None:
        """Carry the write-ahead log into the file: between commits, so that none of them pays for its fsync."""
        self._unsaved = 0
        try:
            self._current().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except (sqlite3.Error, MembrainError) as fault:
            # Nothing is lost, the rows are in the log; but the next write is likely to fail.
            self.fault = _refusal(AUDIT, fault).message


def _run_plainly(database: sqlite3.Connection, jobs: list[Job]) -> None:
    for job in jobs:
        job.run(database)


def _run_apart(database: sqlite3.Connection, jobs: list[Job]) -> None:
    """Each job behind a savepoint, so that a spoiled one is taken back alone."""
    for job in jobs:
        job.error = None
        database.execute("SAVEPOINT job")
        try:
            job.run(database)
        except Spoiled:
            database.execute("ROLLBACK TO job")
        database.execute("RELEASE job")


def _refusal(subject: Subject, fault: Exception) -> MembrainError:
    """One error for each who waits: an exception that is raised in several places collects their tracebacks."""
    if isinstance(fault, MembrainError):
        return subject.error(fault.message, hint=fault.hint)
    return guard(subject, "written", fault)


def _broken() -> MembrainError:
    return AUDIT.fails("written", "something in the gateway broke", DOCTOR)


def _resolve(jobs: list[Job]) -> None:
    """On the event loop: hand out what came of each job, but not to those who gave up waiting."""
    for job in jobs:
        future = job.future
        if future is None or future.done():
            continue
        if job.error is None:
            future.set_result(job.result)
        else:
            future.set_exception(job.error)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is there now."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
