"""How long work takes, told in a way that no other work on the machine can spoil.

A measurement is CPU time with the cyclic collector off: what waits for a core is not counted, and nor is a walk over
all the objects of a long test run. Measurements are repeated until the bound holds, and the best of each counts, so a
burst of other work costs a few rounds and fails nothing. Work that grows too fast does so in every round.

What it does not do: say how fast anything is. `bench.py` and `bench_pii.py` do.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from itertools import count
from math import inf
from statistics import median
from typing import TypeVar

T = TypeVar("T")

ROUNDS = 8
SECONDS = 5.0
"""A bound is given up after this many rounds and this long, whichever comes later."""

ENOUGH = 5
"""Rounds after which the median of each will do too: under steady other work the shorter piece has more good luck."""

PAUSE = 0.1
"""Seconds between rounds that failed, so that a burst has time to pass."""


def filled(fill: str) -> Callable[[int], str]:
    """Texts of nothing but *fill*, of as many characters as they are asked for."""
    return lambda size: (fill * (size // len(fill) + 1))[:size]


def numbered(make: Callable[[int], str]) -> Callable[[int], str]:
    """The same texts, each with a number of its own at its end, for work that remembers what it has seen."""
    numbers = count()
    return lambda size: f"{make(size)}{next(numbers)}"


def rounds() -> Iterator[None]:
    """One turn after another; to be left as soon as the bound holds."""
    began, done = time.monotonic(), 0
    while done < ROUNDS or time.monotonic() - began < SECONDS:
        yield
        done += 1
        time.sleep(PAUSE)


def seconds(work: Callable[[T], object], given: T, clock: Callable[[], float] = time.process_time) -> float:
    """What *work* takes once for what it is *given*, by *clock*, without the cyclic collector."""
    collects = gc.isenabled()
    gc.disable()
    try:
        began = clock()
        work(given)
        return clock() - began
    finally:
        if collects:
            gc.enable()


def assert_linear(
    work: Callable[[T], object],
    make: Callable[[int], T],
    size: int,
    *,
    most: float = 2.5,
    floor: float = 5e-4,
    within: float = inf,
) -> None:
    """Work of twice the *size* takes at most *most* times as long; quadratic work would take four times as long.

    What is worked on is made anew each time by *make*, which is not measured. *floor* is in seconds: so much the larger
    may take beyond the bound, as what is shorter tells nothing. *within* is the longest that the larger may take, also
    in seconds.
    """
    small: list[float] = []
    large: list[float] = []
    work(make(size))  # what is done once in a life is not growth
    for _ in rounds():
        # The small one twice, around the large one: one hiccup must not make quadratic work look well.
        small.append(seconds(work, make(size)))
        large.append(seconds(work, make(2 * size)))
        small.append(seconds(work, make(size)))
        fair = (min, median) if len(large) >= ENOUGH else (min,)
        if min(large) <= within and any(of(large) <= most * of(small) + floor for of in fair):
            return
    one, two = min(small), min(large)
    raise AssertionError(
        f"{size} took {one * 1e3:.2f} ms, {2 * size} took {two * 1e3:.2f} ms: {two / (one or 1e-9):.2f} times as long, "
        f"where {most:g} times and {floor * 1e3:g} ms are allowed" + f", {within:g} s in all" * (within < inf)
    )


def assert_within(limit: float, act: Callable[[], object], clock: Callable[[], float] = time.process_time) -> None:
    """At its best *act* takes no longer than *limit*, in seconds of CPU, or of whatever *clock* tells."""
    best = inf
    for _ in rounds():
        best = min(best, seconds(lambda _: act(), None, clock))
        if best <= limit:
            return
    raise AssertionError(f"took {best * 1e3:.3f} ms at best, where {limit * 1e3:g} ms are allowed")
