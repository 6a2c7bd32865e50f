"""What happens now, for those who watch: the last minutes in a few figures, and each exchange as it ends.

It keeps nothing that the audit does not have, and is gone with the process. Nobody who watches can slow it: who
reads slowly misses exchanges and is told how many. For the event loop only.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import UTC, datetime
from math import ceil
from typing import Literal, TypeAlias

from membrain.holds import Change, Held, Settled
from membrain.records import AuditRecord, BudgetAlert, Outcome, Snapshot

News: TypeAlias = (
    tuple[Literal["exchange"], AuditRecord]
    | tuple[Literal["hold"], Held]
    | tuple[Literal["held"], Settled]
    | tuple[Literal["budget"], BudgetAlert]
)
Event: TypeAlias = News | tuple[Literal["snapshot"], Snapshot] | tuple[Literal["dropped"], int]

WINDOW = 15 * 60.0
"""Seconds that a snapshot looks back."""

MOST_KEPT = 5_000
"""Exchanges that it looks back at; at more than five a second the window is shorter."""

MOST_WAITING = 1_000
"""Exchanges that wait for one slow watcher."""

DAY = 86_400.0


class Live:
    """The last minutes, today, and who is watching.

    `monotonic` gives seconds for durations, `wall` seconds since 1970 (UTC) for the day and the time of a snapshot.
    `every` is the seconds between two snapshots.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        every: float = 1.0,
        also: Iterable[Callable[[AuditRecord], None]] = (),
    ) -> None:
        """*also* are told of each exchange that ended; they must be quick and may not raise."""
        self.running = 0
        self._also = tuple(also)
        self._monotonic = monotonic
        self._wall = wall
        self._every = every
        self._started = monotonic()
        self._ended: deque[tuple[float, float | None, float | None]] = deque(maxlen=MOST_KEPT)
        self._watchers: set[_Watcher] = set()
        self._tick: asyncio.TimerHandle | None = None
        self._closed = False
        self._begin_day(wall())

    # What the pipeline tells.

    def began(self) -> None:
        """An exchange came in."""
        self.running += 1

    def ended(self) -> None:
        """An exchange is over, however it went. Once for each `began`."""
        self.running -= 1

    def finished(self, record: AuditRecord) -> None:
        """An exchange has its outcome on record. About a microsecond while nobody watches."""
        answered = record.outcome == Outcome.ANSWERED
        self._ended.append((self._monotonic(), record.ms if answered else None, record.first_ms if answered else None))
        if (now := self._wall()) >= self._midnight:
            self._begin_day(now)
        if record.time[:10] >= self._date:
            self._count(1, record.cost_micros or 0, record.pii_findings_count, int(record.cached))
        for watcher in self._watchers:
            watcher.offer(("exchange", record))
        for tell in self._also:
            tell(record)

    def held(self, change: Change) -> None:
        """An exchange waits for a person, or does so no longer."""
        news: News = ("hold", change) if isinstance(change, Held) else ("held", change)
        for watcher in self._watchers:
            watcher.offer(news)

    def alerted(self, alert: BudgetAlert) -> None:
        """A good part of a budget is spent."""
        for watcher in self._watchers:
            watcher.offer(("budget", alert))

    def seed(self, *, today: int, cost_micros: int, masked: int, cached: int) -> None:
        """Add what today came to before this process began: exchanges, micro-dollars, findings, cached answers."""
        self._count(today, cost_micros, masked, cached)

    # What those who watch ask.

    def snapshot(self) -> Snapshot:
        """The last minutes and today. Times in milliseconds over answered exchanges; None where there were none.

        Costs about a millisecond when the window is full.
        """
        now, wall = self._monotonic(), self._wall()
        if wall >= self._midnight:
            self._begin_day(wall)
        ended = self._ended
        while ended and ended[0][0] < now - WINDOW:
            ended.popleft()
        times = sorted(ms for _, ms, _ in ended if ms is not None)
        firsts = sorted(first for _, _, first in ended if first is not None)
        return Snapshot(
            time=datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            up_seconds=round(now - self._started, 3),
            running=self.running,
            today=self._today,
            per_minute=self._per_minute(now),
            p50_ms=_percentile(times, 50),
            p99_ms=_percentile(times, 99),
            first_p50_ms=_percentile(firsts, 50),
            cost_today_micros=self._cost_micros,
            masked_today=self._masked,
            cached_today=self._cached,
        )

    async def watch(self) -> AsyncGenerator[Event, None]:
        """Each exchange as it ends, each hold as it begins and ends, and a snapshot each second, the first at once.

        Until `close`. `("dropped", n)` stands where n of them were lost because they were not read in time. Leaving
        early, close it (`contextlib.aclosing`).
        """
        watcher = _Watcher()
        self._watchers.add(watcher)
        try:
            watcher.snapshot = self.snapshot()
            if self._tick is None and not self._closed:
                self._schedule()
            while True:
                while (event := watcher.take()) is not None:
                    yield event
                if self._closed:
                    return
                await watcher.wait()
        finally:
            self._watchers.discard(watcher)
            if not self._watchers:
                self._stop_ticking()

    def close(self) -> None:
        """Let all who watch read what waits for them, and then end."""
        self._closed = True
        self._stop_ticking()
        for watcher in self._watchers:
            watcher.wake()

    # Inside.

    def _begin_day(self, wall: float) -> None:
        """Start counting anew; a day is a day in UTC."""
        self._midnight = (wall // DAY + 1) * DAY
        self._date = datetime.fromtimestamp(wall, UTC).date().isoformat()
        self._today = self._cost_micros = self._masked = self._cached = 0

    def _count(self, exchanges: int, cost_micros: int, masked: int, cached: int) -> None:
        self._today += exchanges
        self._cost_micros += cost_micros
        self._masked += masked
        self._cached += cached

    def _per_minute(self, now: float) -> float:
        """Exchanges a minute, over the window, or what there is of it; a first minute counts as a whole one."""
        begin = max(self._started, now - WINDOW)
        if len(self._ended) == MOST_KEPT:
            begin = self._ended[0][0]
        return round(len(self._ended) * 60.0 / max(now - begin, 60.0), 1)

    def _schedule(self) -> None:
        self._tick = asyncio.get_running_loop().call_later(self._every, self._ticked)

    def _ticked(self) -> None:
        self._schedule()
        snapshot = self.snapshot()
        for watcher in self._watchers:
            watcher.snapshot = snapshot
            watcher.wake()

    def _stop_ticking(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None


class _Watcher:
    """What waits for one who watches: the newest news, and of the snapshots only the last."""

    __slots__ = ("_awake", "dropped", "news", "snapshot")

    def __init__(self) -> None:
        self.news: deque[News] = deque()
        self.dropped = 0
        self.snapshot: Snapshot | None = None
        self._awake = asyncio.Event()

    def offer(self, news: News) -> None:
        """Keep it, in place of the oldest if there is no room."""
        if len(self.news) >= MOST_WAITING:
            self.news.popleft()
            self.dropped += 1
        self.news.append(news)
        self._awake.set()

    def take(self) -> Event | None:
        """What to read next: what was lost, for that is oldest; the figures, lest a flood hides them; news."""
        if lost := self.dropped:
            self.dropped = 0
            return ("dropped", lost)
        if (snapshot := self.snapshot) is not None:
            self.snapshot = None
            return ("snapshot", snapshot)
        return self.news.popleft() if self.news else None

    def wake(self) -> None:
        """Have the watcher look again."""
        self._awake.set()

    async def wait(self) -> None:
        """Until somebody wakes it."""
        await self._awake.wait()
        self._awake.clear()


def _percentile(ordered: list[float], percent: int) -> float | None:
    """The nearest rank, of values in order."""
    return round(ordered[ceil(len(ordered) * percent / 100) - 1], 1) if ordered else None
