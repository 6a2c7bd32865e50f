"""How fast a provider has been, over its last hundred answers."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from membrain.routing.latency import SAMPLES, Latencies, rank


def test_one_sample_is_every_rank() -> None:
    latencies = Latencies()
    latencies.record("openai", 320.5)
    assert latencies.stats("openai") == {"p50": 320.5, "p99": 320.5, "count": 1}


def test_nobody_knows_who_never_answered() -> None:
    assert Latencies().p50("openai") is None
    assert Latencies().stats("openai") == {"count": 0}


def test_providers_are_counted_apart() -> None:
    latencies = Latencies()
    latencies.record("openai", 1)
    latencies.record("anthropic", 2)
    assert (latencies.p50("openai"), latencies.p50("anthropic")) == (1, 2)


def test_only_the_last_hundred_count() -> None:
    latencies = Latencies()
    for ms in range(250):
        latencies.record("openai", ms)
    assert latencies.stats("openai") == {"p50": 199, "p99": 248, "count": SAMPLES}


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=100), st.integers(1, 100))
def test_a_rank_is_the_smallest_that_so_many_do_not_exceed(samples: list[int], percent: int) -> None:
    found = rank(deque(samples), percent)
    assert found in samples
    assert sum(each <= found for each in samples) * 100 >= percent * len(samples)
    below = [each for each in samples if each < found]
    assert len(below) * 100 < percent * len(samples)
