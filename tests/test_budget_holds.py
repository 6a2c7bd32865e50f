"""A budget holds: a thousand at once, four processes, `kill -9`, an upstream that never stops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from membrain import sse
from membrain.cost.prices import Price, Prices
from membrain.dialects.base import Chunk
from membrain.egress import Egress
from membrain.errors import ProviderFailed
from membrain.exchange import Exchange, Stage
from membrain.pipeline import Pipeline
from membrain.providers import registry as make
from membrain.providers.base import DIRECT, Ask, BaseProvider
from membrain.providers.claude_cli import _orders
from membrain.providers.litellm import LiteLLMProvider
from membrain.providers.registry import Registry
from membrain.records import Allowance, Caller, Outcome
from membrain.routing.router import Router
from membrain.stages.budget import Budget
from membrain.stages.dispatch import Dispatch
from membrain.stores.ledger import LedgerFile, SqliteLedger
from membrain.stores.writer import Writer
from tests import bench_budget as bench
from tests.fakes import EchoProvider, exchange, said
from tests.sink import Sink

pytestmark = pytest.mark.anyio

KILLS = 5


# --- many at once, several processes, and the end of one


async def test_a_thousand_at_once_spend_no_more_than_the_limit(tmp_path: Path) -> None:
    assert await bench.ask(tmp_path, bench.REQUESTS, longest=0.02) == bench.ADMITS
    assert bench.books(tmp_path) == bench.Books(bench.ADMITS * bench.EACH, 0, 0, bench.ADMITS)


@pytest.mark.slow
async def test_four_processes_with_one_file_admit_what_one_would(tmp_path: Path) -> None:
    Writer(tmp_path / "audit.db").close()
    starts = [asyncio.to_thread(bench.start, tmp_path, bench.REQUESTS // 4, recover=False) for _ in range(4)]
    children = await asyncio.gather(*starts)
    admitted = await asyncio.gather(*(asyncio.to_thread(bench.said, child) for child in children))
    assert sum(admitted) == bench.ADMITS
    assert bench.books(tmp_path) == bench.Books(bench.ADMITS * bench.EACH, 0, 0, bench.ADMITS)


@pytest.mark.slow
async def test_killed_in_the_middle_it_never_spends_more_and_holds_nothing_afterwards() -> None:
    """Every check is in `bench_budget`, which does it as often as one likes: `python -m tests.bench_budget 50`."""
    told = await bench.rounds(KILLS)
    assert len(told) == KILLS
    assert all(seconds < 1 for _, seconds in told)


# --- an upstream that never stops, through the real last room


class Intent(Stage):
    """What the audit does on the way in, as far as the last room wants to see it."""

    name = "audit"

    async def enter(self, exchange: Exchange) -> None:
        exchange.written = asyncio.get_running_loop().create_future()
        exchange.written.set_result(None)
        exchange.looked = True


BEHAVIOURS = ("chunks-5000", "chunks-8", "status-400", "reset", "garbage")


class House:
    """Budget and dispatch before a sink."""

    def __init__(self, path: Path, egress: Egress, sink: Sink) -> None:
        self.path = path
        self.writer = Writer(path)
        registry, router = Registry(), Router()
        registry.register("openai", make.openai(egress, "sk-canary-0123456789", f"{sink.url}/v1"))
        prices = Prices({f"gpt-{words}": Price(1.0, 1.0) for words in BEHAVIOURS}, library=False)
        dispatch = Dispatch(router, registry, prices)
        ledger = SqliteLedger(self.writer, LedgerFile(path), "this")
        self.limits = Allowance(total=1_000_000)
        self.pipeline = Pipeline([Intent(), Budget(ledger, prices, dispatch.route, self.of_caller), dispatch])

    def of_caller(self, caller: Caller) -> list[tuple[str, Allowance]]:
        return [("machine", self.limits)]

    async def ask(self, question: Exchange) -> list[Chunk]:
        async with aclosing(self.pipeline.run(question)) as answer:
            return [chunk async for chunk in answer]

    @property
    def spent(self) -> int:
        (balance,) = LedgerFile(self.path).balances({"machine": self.limits}, 0.0)
        assert balance.reserved == 0
        return balance.spent


@pytest.fixture
async def house(tmp_path: Path, sink: Sink) -> AsyncIterator[House]:
    egress = Egress()
    made = House(tmp_path / "audit.db", egress, sink)
    yield made
    made.writer.close()
    await egress.close()


async def test_an_upstream_that_does_not_stop_is_left_and_the_stream_has_a_proper_end(house: House) -> None:
    question = exchange("Hello", "gpt-chunks-5000", stream=True, max_tokens=100)
    chunks = await house.ask(question)
    events = [json.loads(each.data) for chunk in chunks for each in sse.parse(chunk.raw)]
    assert 100 < len(events) < 1000, "pieces that came together are passed on together"
    assert events[-1]["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}]
    assert events[-1]["membrain"] == {"reason": "budget_exceeded"}
    assert events[-1]["id"] == events[0]["id"]
    assert question.outcome is Outcome.FAILED
    assert question.error is not None
    assert question.error.code == "budget_exceeded"
    assert question.reserved is not None
    assert question.reserved <= house.spent <= question.reserved + len(events)


async def test_what_the_provider_reports_is_what_it_costs(house: House) -> None:
    question = exchange("Hello", "gpt-chunks-8", stream=True, max_tokens=100)
    await house.ask(question)
    assert question.outcome is Outcome.ANSWERED
    assert question.tokens is not None
    assert not question.tokens.estimated
    assert house.spent == question.cost_micros == question.tokens.prompt + question.tokens.completion


@pytest.mark.parametrize(("model", "billed"), [("gpt-status-400", False), ("gpt-reset", True), ("gpt-garbage", True)])
async def test_a_failure_costs_all_that_was_held_if_the_model_may_have_been_at_work(
    house: House, model: str, billed: bool
) -> None:
    question = exchange("Hello", model, max_tokens=100)
    with pytest.raises(ProviderFailed):
        await house.ask(question)
    assert house.spent == (question.reserved if billed else 0)
    assert question.reserved


# --- a shorter answer, told to every provider in its own words


async def sent_by(provider: BaseProvider, model: str, sink: Sink, most: int | None, **more: Any) -> dict[str, Any]:
    """What *provider* sends."""
    question = Ask(said("Hello", model, **more), model, DIRECT, most_tokens=most)
    async with aclosing(provider.spoken(question)) as answer:
        async for _ in answer:
            continue
    body: dict[str, Any] = next(each for each in reversed(sink.requests) if each.method == "POST").json()
    return {name: value for name, value in body.items() if name.startswith("max_")}


@pytest.mark.parametrize(
    ("name", "model", "sends"),
    [
        ("openai", "gpt-4o", {"max_completion_tokens": 300}),
        ("together", "gpt-4o", {"max_tokens": 300}),
        ("ollama", "ollama/llama3", {"max_tokens": 300}),
        ("anthropic", "claude-haiku-4-5", {"max_tokens": 300}),
    ],
)
@pytest.mark.parametrize("more", [{}, {"stream": True}, {"max_tokens": None}])
async def test_providers_are_told_how_long_the_answer_may_be(
    sink: Sink, name: str, model: str, sends: dict[str, int], more: dict[str, Any]
) -> None:
    egress = Egress()
    makers: dict[str, Any] = {
        "openai": lambda: make.openai(egress, "sk-canary-0123456789", f"{sink.url}/v1"),
        "together": lambda: make.compatible(egress, "together", f"{sink.url}/v1", None, ("gpt-4o",)),
        "ollama": lambda: make.ollama(egress, sink.url),
        "anthropic": lambda: make.anthropic(egress, "sk-ant-canary-0123456789", sink.url),
    }
    provider = makers[name]()
    sent = await sent_by(provider, model, sink, 300, **more)
    await provider.close()
    await egress.close()
    assert {each: value for each, value in sent.items() if value is not None} == sends


async def test_anthropic_is_never_asked_for_more_than_it_would_be_anyway(sink: Sink) -> None:
    egress = Egress()
    provider = make.anthropic(egress, "sk-ant-canary-0123456789", sink.url)
    assert await sent_by(provider, "claude-haiku-4-5", sink, 16_384) == {"max_tokens": 4096}
    assert await sent_by(provider, "claude-haiku-4-5", sink, None) == {"max_tokens": 4096}
    await egress.close()


async def test_a_provider_of_ones_own_is_told_in_the_documented_words() -> None:
    provider = EchoProvider()
    async with aclosing(provider.spoken(Ask(said(), "echo", DIRECT, most_tokens=300))) as answer:
        assert [chunk async for chunk in answer]
    assert provider.asked[0].max_tokens == 300


def test_litellm_and_the_claude_cli_are_told_too() -> None:
    question = Ask(said(), "groq/llama3", DIRECT, most_tokens=300)
    assert LiteLLMProvider(environ={})._question(question)["params"]["max_tokens"] == 300
    assert _orders({**question.said.data, **question.limit()}, "claude").environ == {
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "300"
    }
