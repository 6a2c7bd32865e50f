"""How fast each provider has been: its last hundred answers."""

from __future__ import annotations

from collections import deque

SAMPLES = 100


class Latencies:
    """Milliseconds for each provider; p50 and p99 by the nearest rank."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[float]] = {}

    def record(self, provider: str, duration_ms: float) -> None:
        """Note one answer of *provider*."""
        samples = self._samples.get(provider)
        if samples is None:
            samples = self._samples[provider] = deque(maxlen=SAMPLES)
        samples.append(duration_ms)

    def p50(self, provider: str) -> float | None:
        """The middle of *provider*'s samples, or None if there are none."""
        samples = self._samples.get(provider)
        return rank(samples, 50) if samples else None

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
