"""The last hour in seconds: what was asked, how long it took, what it cost and what was found; and curves of it.

It keeps a bucket for each second in which something ended, and of durations only how many were about that long, so
that it is as small at two hundred exchanges a second as at two. Draws with text; knows no terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, exp, floor, log

LONGEST = 3600
"""Seconds that are kept."""
SLACK = 60
"""Older ones that are thrown away together."""
FINENESS = log(1.04)
"""Durations that are closer than this factor count as the same: a percentile is right to 2 %."""
SHORTEST = 0.01
"""Milliseconds; what was shorter counts as this."""


@dataclass(slots=True)
class Bucket:
    """What ended within one second. `times` and `firsts` count durations by their logarithm."""

    count: int = 0
    cost: int = 0
    """Micro-dollars."""
    found: int = 0
    """Private values."""
    times: Counter[int] = field(default_factory=Counter)
    firsts: Counter[int] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, other: Bucket) -> None:
        """Add what *other* holds."""
        self.count += other.count
        self.cost += other.cost
        self.found += other.found
        self.times.update(other.times)
        self.firsts.update(other.firsts)
        self.labels.update(other.labels)


class Series:
    """Buckets by their second since 1970, the last `LONGEST` of them and a few more."""

    def __init__(self) -> None:
        self._buckets: dict[int, Bucket] = {}
        self._newest = 0

    def at(self, seconds: float) -> Bucket:
        """The bucket of a moment, to add to. A moment that is too old has one that nobody keeps."""
        second = floor(seconds)
        if second not in self._buckets:
            newest = self._newest = max(second, self._newest)
            if second <= newest - LONGEST:
                return Bucket()
            if len(self._buckets) >= LONGEST + SLACK:
                self._buckets = {each: kept for each, kept in self._buckets.items() if each > newest - LONGEST}
            self._buckets[second] = Bucket()
        return self._buckets[second]

    def since(self, begin: float, end: float) -> Bucket:
        """All between two moments together, both included."""
        whole = Bucket()
        for second in self._within(begin, end):
            whole.add(self._buckets[second])
        return whole

    def columns(self, number: int, window: int, now: float) -> list[Bucket]:
        """The last *window* seconds in *number* pieces, oldest first; they begin at fixed moments: nothing jitters."""
        length = max(1, ceil(window / max(1, number - 1)))  # the last one is never quite full
        last = floor(now / length)
        pieces = [Bucket() for _ in range(number)]
        for second in self._within((last - number + 1) * length, now):
            pieces[floor(second / length) - last + number - 1].add(self._buckets[second])
        return pieces

    def _within(self, begin: float, end: float) -> Iterator[int]:
        return (second for second in self._buckets if floor(begin) <= second <= end)


def slot(ms: float) -> int:
    """What a duration counts as."""
    return round(log(max(ms, SHORTEST)) / FINENESS)


def percentile(times: Counter[int], percent: int) -> float | None:
    """The nearest rank of counted durations, in milliseconds; None of nothing."""
    rank = ceil(times.total() * percent / 100)
    for each in sorted(times):
        rank -= times[each]
        if rank <= 0:
            return exp(each * FINENESS)
    return None


# --- drawing -------------------------------------------------------------------------------------------------

EIGHTHS = " ▁▂▃▄▅▆▇█"
COARSE = " .:|"
"""The same in ASCII."""


def drawn(values: Sequence[float | None], height: int, *, unicode: bool = True) -> list[str]:
    """A curve as *height* lines, the highest first; the greatest value reaches the top, and what is not 0 is seen."""
    signs = EIGHTHS if unicode else COARSE
    steps, most = len(signs) - 1, max((value or 0.0 for value in values), default=0.0)
    filled = [steps_of(value, most, steps * height) for value in values]
    return [
        "".join(signs[min(steps, max(0, each - steps * line))] for each in filled) for line in reversed(range(height))
    ]


def steps_of(value: float | None, most: float, steps: int) -> int:
    """How many of *steps* a value fills, if *most* fills them all."""
    return max(1, round(value / most * steps)) if value and most > 0 else 0


def medians(pieces: Iterable[Bucket]) -> list[float | None]:
    """The median duration of each piece."""
    return [percentile(piece.times, 50) for piece in pieces]
