"""How fast each provider has been: its last hundred answers."""

from __future__ import annotations

from collections import deque

SAMPLES = 100

NEVER_ASKED, NEVER_ANSWERED = -1.0, float("inf")
"""Speeds of providers without samples: first in every order until they have been tried once, last after that."""


class Latencies:
    """Milliseconds for each provider; p50 and p99 by the nearest rank."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[float]] = {}
        self._speeds: dict[str, float] = {}

    def record(self, provider: str, duration_ms: float) -> None:
        """Note one answer of *provider*."""
        samples = self._samples.get(provider)
        if samples is None:
            samples = self._samples[provider] = deque(maxlen=SAMPLES)
        samples.append(duration_ms)
        self._speeds[provider] = rank(samples, 50)  # now, after an answer, and not while somebody waits for one

    def failed(self, provider: str) -> None:
        """Note that *provider* was asked and did not answer. That matters only while it has no samples."""
        self._speeds.setdefault(provider, NEVER_ANSWERED)

    def speed(self, provider: str) -> float:
        """Milliseconds of *provider*'s median answer, or what to go by where there is none."""
        return self._speeds.get(provider, NEVER_ASKED)

    def p50(self, provider: str) -> float | None:
        """The middle of *provider*'s samples, or None if there are none."""
        return self._speeds[provider] if provider in self._samples else None

    def stats(self, provider: str) -> dict[str, float]:
        """`p50`, `p99` and `count` of *provider*; only `count` if there are no samples."""
        samples = self._samples.get(provider)
        if not samples:
            return {"count": 0}
        return {"p50": rank(samples, 50), "p99": rank(samples, 99), "count": len(samples)}


def rank(samples: deque[float], percent: int) -> float:
    """The *percent* percentile of *samples* by the nearest rank."""
    ordered = sorted(samples)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
