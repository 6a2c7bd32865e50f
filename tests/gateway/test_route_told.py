"""What is told of a route beforehand is what then happens, in a thousand snapshots that nobody thought of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from membrain.cost.prices import Prices
from membrain.dialects.base import Chunk
from membrain.errors import MembrainError, ProviderFailed
from membrain.exchange import Exchange
from membrain.explain import Explainer, Question
from membrain.holds import Holds
from membrain.providers.base import Ask
from membrain.providers.registry import Registry
from membrain.records import Caller, Considered, Explanation, Hints
from membrain.routing.breaker import Breakers
from membrain.routing.router import Router
from membrain.routing.world import TIER_MODELS, Preferences
from membrain.sent import Sent
from membrain.stages.dispatch import Dispatch
from membrain.stages.pii import Pii
from tests.fakes import EchoProvider, exchange

LATER = {"retry-after": "30"}
"""Nobody is kept waiting so long, so nobody is asked twice."""


@dataclass(frozen=True)
class Does:
    """What a provider does when it is asked, and whether the next one is asked then."""

    error: dict[str, Any] | None = None
    passes: bool = False
    billed: bool = False
    """It may have been, so the next one is only asked where that is free or wanted."""
    pauses: bool = False
    """It asks to be left alone, so its other models are not asked either."""


DOES: dict[str, Does] = {
    "answers": Does(),
    "is busy": Does({"status": 503, "headers": LATER, "reached": False}, passes=True),
    "has enough": Does({"status": 429, "headers": LATER, "reached": False}, passes=True, pauses=True),
    "is unpaid": Does({"status": 429, "code": "insufficient_quota", "reached": False}, passes=True),
    "has no key": Does({"code": "provider_key_refused", "reached": False}, passes=True),
    "refuses": Does({"status": 400, "passing": False, "reached": False}),
    "breaks off": Does({"status": 502, "headers": LATER, "reached": True}, passes=True, billed=True),
}


class Scripted(EchoProvider):
    """Does one thing, and keeps who was asked for what."""

    def __init__(self, name: str, does: Does, asked: list[tuple[str, str]], *, local: bool) -> None:
        super().__init__()
        self._called, self._does, self._asked, self._local = name, does, asked, local

    @property
    def is_local(self) -> bool:
        return self._local

    async def answer(self, ask: Ask) -> AsyncGenerator[Chunk, None]:
        self._asked.append((self._called, ask.model))
        if self._does.error is not None:
            raise ProviderFailed("No.", provider=self._called, **self._does.error)
        yield Chunk(b"{}", whole=True)


LISTS = {
    "openai": (),
    "anthropic": (),
    "claude_cli": (),
    "litellm": (),
    "ollama": ("ollama/llama3:latest", "ollama/qwen2.5:0.5b", "ollama/gpt-oss:120b-cloud"),
    "local": ("local/default",),
    "acme": ("acme-large", "shared-large"),
    "near": ("near-small", "shared-large"),
}
"""Every provider there may be, and the models that it lists."""

MODELS = sorted({each for models in (*LISTS.values(), *TIER_MODELS.values()) for each in models})
ASKED = [*["auto"] * 12, "default", "mine", "sonnet", "mystery", "acme/else", "ollama/llama3", *MODELS]


@dataclass
class Snapshot:
    """One moment: who is there, how everybody was and is, what the settings say and what is asked."""

    providers: dict[str, str]
    """By name, with what it does."""
    preferences: Preferences
    latencies: dict[str, float]
    failed: list[str]
    resting: list[str]
    model: str
    hints: Hints
    keyed: bool
    asked: list[tuple[str, str]] = field(default_factory=list)


does = st.sampled_from(["is busy", "is unpaid", "has no key", "is busy", *DOES])
few = st.lists(st.sampled_from(MODELS), min_size=2, max_size=5, unique=True).map(tuple)
some = st.lists(st.sampled_from(list(LISTS)), max_size=3, unique=True)

snapshots = st.builds(
    Snapshot,
    providers=st.fixed_dictionaries({"openai": does, "anthropic": does}, optional=dict.fromkeys([*LISTS][2:], does)),
    preferences=st.builds(
        Preferences,
        tier=st.sampled_from(list(TIER_MODELS)),
        tiers=st.dictionaries(st.sampled_from(list(TIER_MODELS)), few),
        aliases=st.dictionaries(st.just("mine"), st.sampled_from([*MODELS, "auto"])),
        prefer=some.map(tuple),
        fallback=st.sampled_from([True, True, True, False]),
        breaker=st.just(value=True),
        attempts=st.integers(1, 5),
    ),
    latencies=st.dictionaries(st.sampled_from(list(LISTS)), st.floats(1, 5000)),
    failed=some,
    resting=st.lists(st.sampled_from(list(LISTS)), max_size=2, unique=True),
    model=st.sampled_from(ASKED),
    hints=st.builds(
        Hints,
        tier=st.sampled_from([None, None, None, "fast", "balanced", "best", "quality", "none-such"]),
        private=st.sampled_from([False, False, False, True]),
        max_cost=st.sampled_from([None, None, None, None, 0.0, 0.001, 0.005, 0.02, 1.0]),
    ),
    keyed=st.booleans(),
)


class Told:
    """The rooms of a gateway that a route depends on, as they are at that moment."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        prices, registry, breakers = Prices(library=False), Registry(), Breakers()
        for name, does in snapshot.providers.items():
            local = name in {"ollama", "local", "near"}
            registry.register(name, Scripted(name, DOES[does], snapshot.asked, local=local), LISTS[name])
        router = Router(preferences=snapshot.preferences, mean_price=prices.mean)
        for name, ms in snapshot.latencies.items():
            router.record_latency(name, ms)
        for name in snapshot.failed:
            router.record_failure(name)
        for name in snapshot.resting:
            breakers.of(name).pause(monotonic(), 30)
        self._explainer = Explainer(router, registry, prices, breakers, Pii(Holds(), Sent()))
        self._dispatch = Dispatch(router, registry, prices, breakers)

    async def told(self) -> Explanation:
        """What is told beforehand."""
        return await self._explainer.explain(Question(self.snapshot.model, self.snapshot.hints), Caller())

    async def happens(self) -> tuple[Exchange, MembrainError | None]:
        """What happens then."""
        question = exchange("Hello", self.snapshot.model, self.snapshot.hints)
        question.written = asyncio.get_running_loop().create_future()
        question.written.set_result(None)
        question.looked = True
        question.forwarded = {"idempotency-key": "k"} if self.snapshot.keyed else {}
        try:
            await self._dispatch.enter(question)
        except MembrainError as error:
            return question, error
        assert question.answer is not None
        async with aclosing(question.answer) as answer:
            assert [chunk.raw async for chunk in answer] == [b"{}"]
        return question, None


def expected(snapshot: Snapshot, kept: list[Considered]) -> tuple[list[tuple[str, str]], str | None]:
    """Who is asked in turn if *kept* are, and who then answers."""
    asked: list[tuple[str, str]] = []
    paused: set[str] = set()
    for each in kept if snapshot.preferences.fallback else kept[:1]:
        if len(asked) == snapshot.preferences.attempts:
            break
        if each.provider in paused:
            continue
        asked.append((each.provider, each.model))
        does = DOES[snapshot.providers[each.provider]]
        if does.error is None:
            return asked, each.provider
        if not does.passes or (does.billed and not (each.local or snapshot.keyed)):
            break
        if does.pauses:
            paused.add(each.provider)
    return asked, None


async def compared(snapshot: Snapshot) -> None:
    """Tell, then ask, and compare."""
    rooms = Told(snapshot)
    told = await rooms.told()
    assert not snapshot.asked, "telling must send nothing"
    exchange, error = await rooms.happens()
    if told.error is not None:
        assert error is not None, f"told that nobody answers ({told.error}), and somebody did"
        assert error.code == told.error, "another refusal than was told"
        assert not snapshot.asked, "somebody was asked although nobody was to be"
        return
    kept = [each for each in told.candidates if each.kept]
    order, answered = expected(snapshot, kept)
    assert snapshot.asked[0] == (kept[0].provider, kept[0].model), "not the one that was told is asked first"
    assert snapshot.asked == order, "the order is not the one that was told"
    assert exchange.provider == answered, "another one answered than was told"
    assert (error is None) == (answered is not None)
    assert set(snapshot.asked) <= {(each.provider, each.model) for each in kept}, "one that was dropped was asked"
    assert not snapshot.hints.private or all(each.local for each in kept), "what is private would leave"


@settings(max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
@given(snapshots)
def test_what_is_told_beforehand_is_what_then_happens(snapshot: Snapshot) -> None:
    snapshot.asked.clear()
    asyncio.run(asyncio.wait_for(compared(snapshot), 10))
