"""Budget: held before it is asked, cut when it runs over, settled with what it really cost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from membrain import sse
from membrain.cost import bounds
from membrain.cost.prices import Price, Prices
from membrain.dialects import chat as words
from membrain.dialects.base import Chunk
from membrain.dialects.table import DIALECTS
from membrain.errors import (
    AllProvidersFailed,
    BudgetExceeded,
    BudgetUnavailable,
    MembrainError,
    NoCandidate,
    PiiBlocked,
    PriceUnknown,
    ProviderFailed,
    UnknownModel,
)
from membrain.exchange import Exchange, Stage
from membrain.pipeline import Pipeline
from membrain.records import Allowance, Attempt, Caller, Candidate, Decision, Outcome, Rights, Tokens
from membrain.stages.budget import SLACK_TOKENS, Budget, charge, dollars
from membrain.stores.base import Balance, Crossing
from membrain.stores.ledger import LedgerFile, SqliteLedger
from membrain.stores.writer import Writer
from tests.fakes import exchange, piece

pytestmark = pytest.mark.anyio

NOON = 1_795_348_800.0
"""2026-11-22, 12:00 UTC."""

PRICES = {
    "cheap": Price(1.0, 1.0),
    "dear": Price(10.0, 10.0),
    "said": Price(0.0, 1_000_000.0),
    "claude": Price(1.0, 1.0),
}
"""Dollars for a million tokens, so micro-dollars for one; `said` costs a dollar a token, whatever is read."""


class Asks(Stage):
    """The last room, as far as a budget is concerned: it answers, and notes what became of that."""

    name = "dispatch"

    def __init__(self, *chunks: Chunk, cost: int | None = 0, fails: BaseException | None = None) -> None:
        self.chunks, self.cost, self.fails = chunks or (Chunk(b"{}", whole=True),), cost, fails
        self.asked: list[Exchange] = []
        self.left = 0

    async def enter(self, exchange: Exchange) -> None:
        self.asked.append(exchange)
        if self.fails is not None:
            raise self.fails
        assert exchange.decision is not None
        who = next(each for each in exchange.decision.chain if (each.provider, each.model) not in exchange.priced_out)
        exchange.provider, exchange.local = who.provider, who.local
        exchange.attempts = (Attempt(who.provider, who.model, 1.0),)
        exchange.answer = self.said()

    async def said(self) -> AsyncGenerator[Chunk, None]:
        try:
            for chunk in self.chunks:
                yield replace(chunk)
        finally:
            self.left += 1

    async def leave(self, exchange: Exchange) -> None:
        if exchange.provider is not None:
            exchange.cost_micros = self.cost


class House:
    """The room with its ledger, and who is asked behind it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = Writer(path)
        self.now = NOON
        self.ledger = SqliteLedger(self.writer, LedgerFile(path), "this", lambda: self.now)
        self.told: list[Crossing] = []
        self.routed = 0
        self.chain = (Candidate("cheap", "openai", kept=True, reason=""),)
        self.prices = Prices(PRICES, library=False)
        self.room = self.with_limits()

    def with_limits(self, machine: Allowance | None = None, *others: tuple[str, Allowance]) -> Budget:
        self.limits = [*([("machine", machine)] if machine else []), *others]
        self.room = Budget(self.ledger, self.prices, self.route, self.of_caller, lambda: self.now, self.told.append)
        return self.room

    def of_caller(self, caller: Caller) -> list[tuple[str, Allowance]]:
        return self.limits

    def of(self, *models: str) -> None:
        """Who is asked, in order: `provider/model`; `ollama` is this machine."""
        pairs = [each.split("/") for each in models]
        self.chain = tuple(Candidate(m, p, kept=True, reason="", local=p == "ollama") for p, m in pairs)

    async def route(self, exchange: Exchange) -> Decision:
        self.routed += 1
        exchange.decision = Decision(exchange.said.model, None, False, self.chain)
        return exchange.decision

    async def through(self, asks: Asks, question: Exchange) -> list[Chunk]:
        async with aclosing(Pipeline([self.room, asks]).run(question)) as answer:
            return [chunk async for chunk in answer]

    def balances(self) -> list[Balance]:
        return LedgerFile(self.path).balances(dict(self.limits), self.now)

    @property
    def spent(self) -> int:
        return self.balances()[0].spent

    @property
    def held(self) -> int:
        return self.balances()[0].reserved


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "audit.db")
    yield made
    made.writer.close()


def asked(text: str = "Hello", **more: Any) -> Exchange:
    return exchange(text, "cheap", **more)


def worst(question: Exchange, written: int, rate: int = 1) -> int:
    return rate * (len(question.said.body) + bounds.ADDED + written)


def event(text: str, **more: Any) -> Chunk:
    return Chunk(sse.encode(json.dumps({**piece("cheap", {"content": text}), **more}).encode()))


# --- whom it concerns


async def test_an_exchange_that_no_limit_concerns_is_not_even_waited_for(house: House) -> None:
    question = asked()
    with pytest.raises(StopIteration):
        house.room.enter(question).send(None)
    await house.room.leave(question)
    assert not house.routed
    assert question.reserved is None


async def test_the_limits_are_those_of_whoever_asks(house: House) -> None:
    def of(caller: Caller) -> list[tuple[str, Allowance]]:
        return [(f"key:{caller.key_id}", caller.rights.budget)] if caller.rights.budget else []

    house.room = Budget(house.ledger, house.prices, house.route, of)
    with pytest.raises(StopIteration):
        house.room.enter(asked()).send(None)
    question = asked(max_tokens=100)
    question.caller = Caller("key-1", "aider", "web", rights=Rights(budget=Allowance(total=10)))
    with pytest.raises(BudgetExceeded, match="this client key"):
        await house.through(Asks(), question)


@pytest.mark.parametrize(
    ("owner", "allowance", "told"),
    [
        ("machine", Allowance(day=10), "This machine's budget for today"),
        ("machine", Allowance(month=10), "This machine's budget for this month"),
        ("project:web", Allowance(day=10, month=100_000), "The budget of project web for today"),
        ("user:web:ann", Allowance(total=10), "The budget of user ann in all"),
        ("user:a%3Ab:ann:lee", Allowance(total=10), "The budget of user ann:lee in all"),
        ("key:key-1", Allowance(total=10), "The budget of this client key in all"),
    ],
)
async def test_machine_project_user_and_key_have_limits_of_their_own(
    house: House, owner: str, allowance: Allowance, told: str
) -> None:
    house.with_limits(Allowance(day=10**9), (owner, allowance))
    question, asks = asked(max_tokens=100), Asks()
    with pytest.raises(BudgetExceeded) as refused:
        await house.through(asks, question)
    assert refused.value.message.startswith(f"{told} has $0.00001 left of $0.00001, and this might cost $0.00")
    assert refused.value.status == 402
    assert refused.value.retry is False
    assert "membrain usage" in (refused.value.hint or "")
    assert question.outcome is Outcome.REFUSED
    assert question.reserved is None
    assert not asks.asked


async def test_every_limit_is_charged(house: House) -> None:
    house.with_limits(Allowance(day=10**6, total=10**6), ("project:web", Allowance(month=10**6)))
    await house.through(Asks(cost=17), asked(max_tokens=100))
    assert [(each.spent, each.reserved) for each in house.balances()] == [(17, 0)] * 3


async def test_models_on_this_machine_cost_nothing_and_need_no_budget(house: House) -> None:
    house.with_limits(Allowance(day=0))
    house.of("ollama/llama3")
    question = asked()
    await house.through(Asks(), question)
    assert question.reserved is None
    assert question.outcome is Outcome.ANSWERED


async def test_a_local_model_that_answers_instead_is_not_charged(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    house.of("ollama/llama3", "openai/cheap")
    question = asked(max_tokens=100)
    await house.through(Asks(cost=0), question)
    assert question.reserved == worst(question, 100)
    assert (house.spent, house.held) == (0, 0)


# --- what is held


async def test_the_worst_case_is_held_while_it_is_asked_and_the_true_cost_stays(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    question = asked(max_tokens=100, n=2)

    class Looks(Asks):
        async def enter(self, exchange: Exchange) -> None:
            assert (house.spent, house.held) == (0, worst(exchange, 200))
            await super().enter(exchange)

    await house.through(Looks(cost=17), question)
    assert question.reserved == worst(question, 200)
    assert (house.spent, house.held) == (17, 0)


async def test_the_dearest_of_those_who_may_be_asked_is_held(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    house.of("openai/cheap", "openai/dear", "ollama/llama3")
    question = asked(max_tokens=100)
    await house.through(Asks(), question)
    assert question.reserved == worst(question, 100, rate=10)


async def test_what_nobody_knows_the_price_of_is_left_out(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    house.of("openai/unheard-of", "openai/cheap")
    question, asks = asked(max_tokens=100), Asks()
    await house.through(asks, question)
    assert question.priced_out == {("openai", "unheard-of")}
    assert question.attempts[0].model == "cheap"


async def test_a_local_model_is_left_where_no_other_has_a_price(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    house.of("openai/unheard-of", "ollama/llama3")
    question = asked(max_tokens=100)
    await house.through(Asks(), question)
    assert question.reserved is None
    assert question.attempts[0].provider == "ollama"


@pytest.mark.parametrize(
    ("model", "command"),
    [
        ("my-model.v1", "membrain config set prices.my-model.v1 INPUT,OUTPUT"),
        ("a;rm -rf b", "membrain config set 'prices.a;rm -rf b' INPUT,OUTPUT"),
    ],
)
async def test_a_model_without_a_price_is_refused_with_the_command_that_gives_it_one(
    house: House, model: str, command: str
) -> None:
    house.with_limits(Allowance(day=10**6))
    house.of(f"openai/{model}")
    asks = Asks()
    with pytest.raises(PriceUnknown) as refused:
        await house.through(asks, asked())
    assert refused.value.status == 402
    assert refused.value.hint == f"Say what it costs, in dollars for a million tokens: {command}"
    assert not asks.asked


async def test_prices_that_are_not_loaded_yet_are_loaded_before_anybody_is_refused(house: House) -> None:
    class Late(Prices):
        def load(self) -> None:
            self.become({**PRICES, "late": Price(1.0, 1.0)})

    house.prices = Late(PRICES, library=False)
    house.with_limits(Allowance(day=10**6))
    house.of("openai/late")
    question = asked(max_tokens=100)
    await house.through(Asks(), question)
    assert question.reserved == worst(question, 100)


async def test_a_route_that_leads_nowhere_holds_nothing(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    house.chain = ()
    question = asked()
    with pytest.raises(NoCandidate):
        await house.through(Asks(fails=NoCandidate("Nobody.")), question)
    assert question.reserved is None


async def test_a_thousand_at_once_spend_what_the_limit_admits(house: House) -> None:
    question = asked(max_tokens=100)
    each = worst(question, 100)
    house.with_limits(Allowance(day=37 * each + each - 1))
    asks = Asks(cost=each)
    tasks = [house.through(asks, asked(max_tokens=100)) for _ in range(1000)]
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(one, BudgetExceeded) for one in ended) == 963
    assert len(asks.asked) == 37
    assert (house.spent, house.held) == (37 * each, 0)


async def test_a_new_day_and_a_higher_limit_let_more_through(house: House) -> None:
    question = asked(max_tokens=100)
    each = worst(question, 100)
    house.with_limits(Allowance(day=each))
    await house.through(Asks(cost=each), question)
    with pytest.raises(BudgetExceeded, match="for today") as refused:
        await house.through(Asks(), asked(max_tokens=100))
    assert refused.value.hint == "It starts anew tomorrow (UTC). See what was spent: membrain usage"
    house.limits = [("machine", Allowance(day=2 * each))]
    house.ledger.recount()
    await house.through(Asks(cost=each), asked(max_tokens=100))
    house.now += 12 * 3600
    await house.through(Asks(cost=each), asked(max_tokens=100))
    assert house.spent == each


# --- a shorter answer


async def test_where_the_request_does_not_say_a_shorter_answer_is_asked_for(house: House) -> None:
    question = asked()
    left = worst(question, 1000)
    house.with_limits(Allowance(day=left))
    await house.through(Asks(cost=3), question)
    assert question.most_tokens is not None
    assert 998 <= question.most_tokens <= 1000
    assert question.reserved is not None
    assert left - 2 <= question.reserved <= left
    assert (house.spent, house.held) == (3, 0)


async def test_each_of_several_answers_is_shorter(house: House) -> None:
    question = asked(n=3)
    house.with_limits(Allowance(day=worst(question, 1000)))
    await house.through(Asks(), question)
    assert question.most_tokens is not None
    assert 332 <= question.most_tokens <= 333


async def test_an_answer_is_never_asked_to_be_longer_than_the_model_allows_to_say(house: House) -> None:
    """A provider refuses a limit above its model's own, though the model would stop by itself."""
    question = asked()
    house.with_limits(Allowance(day=worst(question, 12_000)))
    await house.through(Asks(), question)
    assert question.most_tokens == 4_096


async def test_all_who_may_be_asked_can_be_paid_for_with_the_shorter_answer(house: House) -> None:
    house.of("openai/cheap", "openai/dear")
    question = asked()
    left = worst(question, 1000, rate=10)
    house.with_limits(Allowance(day=left))
    await house.through(Asks(), question)
    assert question.most_tokens is not None
    assert 998 <= question.most_tokens <= 1000
    assert question.reserved is not None
    assert question.reserved <= left


@pytest.mark.parametrize("more", [{"max_tokens": 1000}, {"thinking": {"budget_tokens": 1024}}])
async def test_what_a_request_says_about_its_length_is_not_changed(house: House, more: dict[str, Any]) -> None:
    question = asked(**more)
    house.with_limits(Allowance(day=worst(question, 999)))
    with pytest.raises(BudgetExceeded):
        await house.through(Asks(), question)
    assert question.most_tokens is None


async def test_an_answer_too_short_to_be_one_is_not_asked_for(house: House) -> None:
    question = asked()
    house.with_limits(Allowance(day=worst(question, 255)))
    with pytest.raises(BudgetExceeded):
        await house.through(Asks(), question)
    assert (house.spent, house.held) == (0, 0)


# --- an answer that runs over


async def test_a_stream_that_runs_over_is_ended_properly_and_with_its_reason(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    question = asked(max_tokens=100, stream=True, n=2)
    asks = Asks(*(event("word ") for _ in range(1000)), cost=50)
    chunks = await house.through(asks, question)
    allowed = 200 + 10 + SLACK_TOKENS
    assert len(chunks) == allowed + 1
    last = [json.loads(each.data) for each in sse.parse(chunks[-1].raw)][-1]
    assert last["membrain"] == {"reason": "budget_exceeded"}
    assert [(each["index"], each["finish_reason"]) for each in last["choices"]] == [(0, "length"), (1, "length")]
    assert (last["id"], last["model"], last["created"]) == ("c1", "cheap", 1)
    assert asks.left == 1
    assert question.outcome is Outcome.FAILED
    assert isinstance(question.error, BudgetExceeded)
    assert (house.spent, house.held) == (question.reserved, 0)


def said_in(dialect: str, **more: Any) -> Exchange:
    """A streamed question in *dialect*, for an answer of 100 tokens at most."""
    asks = {"messages": [{"role": "user", "content": "Hi"}], "input": "Hi", "prompt": "Hi", "stream": True}
    limit = {DIALECTS[dialect].lengths[-1]: 100}
    body = json.dumps({"model": "cheap", **asks, **limit, **more}).encode()
    question = asked(stream=True)
    question.said = DIALECTS[dialect].read(body, depth=64)
    return question


def words_in(dialect: str) -> Chunk:
    """One event of an answer in *dialect*."""
    told: dict[str, Any] = {
        "messages": {"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta", "text": "word "}},
        "responses": {"type": "response.output_text.delta", "output_index": 0, "delta": "word "},
        "completions": {"id": "c1", "object": "text_completion", "choices": [{"index": 0, "text": "word "}]},
    }[dialect]
    return Chunk(sse.encode(json.dumps(told).encode(), told.get("type")))


async def test_a_message_that_runs_over_ends_with_its_block_its_reason_and_its_stop(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    question = said_in("messages")
    chunks = await house.through(Asks(*(words_in("messages") for _ in range(300))), question)
    events = [json.loads(each.data) for each in sse.parse(chunks[-1].raw)]
    assert [each["type"] for each in events[-4:]] == [
        "content_block_delta", "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    assert (events[-3]["index"], events[-2]["delta"]["stop_reason"]) == (3, "max_tokens")
    assert events[-2]["membrain"] == {"reason": "budget_exceeded"}
    assert chunks[-1].last
    assert isinstance(question.error, BudgetExceeded)


async def test_a_completion_that_runs_over_ends_each_of_its_choices(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    question = said_in("completions", n=2, prompt=["a", "b"])
    chunks = await house.through(Asks(*(words_in("completions") for _ in range(900))), question)
    last = [json.loads(each.data) for each in sse.parse(chunks[-1].raw)][-1]
    assert [(each["index"], each["finish_reason"]) for each in last["choices"]] == [(n, "length") for n in range(4)]


async def test_a_response_that_runs_over_is_cut_for_its_end_would_have_to_say_it_all_again(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    question, asks = said_in("responses"), Asks(*(words_in("responses") for _ in range(300)))
    with pytest.raises(BudgetExceeded, match="went on for longer"):
        await house.through(asks, question)
    assert question.outcome is not Outcome.ANSWERED
    assert asks.left == 1
    assert (house.spent, house.held) == (question.reserved, 0)


def read_in(dialect: str) -> Exchange:
    """A whole question in *dialect*."""
    question = asked()
    body = json.dumps({"model": "cheap", "messages": [{"role": "user", "content": "Hi"}], "input": "Hi"}).encode()
    question.said = DIALECTS[dialect].read(body, depth=64)
    return question


async def test_what_writes_nothing_is_held_for_what_it_reads(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    question = read_in("embeddings")
    await house.through(Asks(), question)
    assert question.reserved == worst(question, 0)
    assert question.most_tokens is None


@pytest.mark.parametrize("dialect", ["moderations", "count_tokens"])
async def test_what_is_free_needs_neither_price_nor_budget(house: House, dialect: str) -> None:
    house.with_limits(Allowance(day=1))
    house.of("openai/nobody-knows")
    question = read_in(dialect)
    await house.route(question)
    await house.through(Asks(), question)
    assert question.reserved is None


async def test_what_is_charged_for_a_cut_is_what_it_cost_if_that_was_more(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    question = asked(max_tokens=1, stream=True)
    await house.through(Asks(*(event("word ") for _ in range(100)), cost=5000), question)
    assert house.spent == 5000


async def test_few_events_that_say_much_run_over_too(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    question = asked(max_tokens=100, stream=True)
    await house.through(Asks(*(event("x" * 300) for _ in range(100))), question)
    assert isinstance(question.error, BudgetExceeded)


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([event("word ") for _ in range(100)], "as many events as tokens"),
        ([event("is the same as ") for _ in range(40)], "several words in one event"),
        ([event("") for _ in range(1000)], "events that say nothing"),
        ([Chunk(b": still here\n\n") for _ in range(1000)], "comments"),
    ],
)
async def test_a_stream_that_keeps_to_its_length_is_left_alone(house: House, chunks: list[Chunk], said: str) -> None:
    house.with_limits(Allowance(day=10**6))
    question = asked(max_tokens=100, stream=True)
    end = Chunk(sse.encode(json.dumps(piece("cheap", {}, "stop")).encode()))
    assert len(await house.through(Asks(*chunks, end), question)) == len(chunks) + 1, said
    assert question.outcome is Outcome.ANSWERED


async def test_a_stream_that_ends_by_itself_with_its_last_word_is_not_cut(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    question = asked(max_tokens=1, stream=True)
    end = Chunk(sse.encode(json.dumps(piece("cheap", {"content": "x" * 1000}, "stop")).encode()))
    await house.through(Asks(end), question)
    assert question.cut is None


async def test_whole_answers_and_answers_of_this_machine_are_never_cut(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    whole = asked(max_tokens=1)
    await house.through(Asks(Chunk(b'{"choices":[]}' * 1000, whole=True)), whole)
    house.of("ollama/llama3", "openai/cheap")
    stayed = asked(max_tokens=1, stream=True)
    await house.through(Asks(*(event("word ") for _ in range(100))), stayed)
    assert whole.cut is None
    assert stayed.cut is None
    assert not house.room._meters


async def test_an_answer_that_was_known_is_never_cut(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    question = asked(max_tokens=1, stream=True)
    await house.room.enter(question)
    question.provider, question.cached = "openai", True
    question.attempts = (Attempt("openai", "cheap", 1.0),)
    for _ in range(100):
        house.room.outgoing(question, event("word "))
    assert question.cut is None
    await house.room.leave(question)
    assert (house.spent, house.held) == (0, 0)


async def test_what_other_rooms_give_after_the_end_has_no_second_end(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    question = asked(max_tokens=1, stream=True)
    await house.room.enter(question)
    question.provider, question.attempts = "openai", (Attempt("openai", "cheap", 1.0),)
    ends = [house.room.outgoing(question, event("word ")).raw.count(b"budget_exceeded") for _ in range(100)]
    assert sum(ends) == 1
    await house.room.leave(question)


async def test_a_stream_that_no_limit_concerns_is_not_metered(house: House) -> None:
    question = asked(stream=True)
    chunk = event("word ")
    assert house.room.outgoing(question, chunk) is chunk


# --- what it cost in the end


BILLED = ProviderFailed("It broke off.", reached=True)
NOT_BILLED = ProviderFailed("No connection.", reached=False)


@pytest.mark.parametrize(
    ("facts", "micros"),
    [
        ({"provider": "openai", "cost_micros": 7}, 7),
        ({"provider": "openai", "cost_micros": 700}, 700),
        ({"provider": "openai", "cost_micros": None}, 100),
        ({"provider": "openai", "cost_micros": 7, "outcome": Outcome.ABORTED}, 7),
        ({"provider": "openai", "cost_micros": 7, "outcome": Outcome.FAILED, "error": BILLED}, 7),
        ({"provider": "openai", "cost_micros": 7, "outcome": Outcome.REFUSED, "error": PiiBlocked("No.")}, 7),
        ({"provider": "openai", "cost_micros": 7, "cut": BudgetExceeded("Over.")}, 100),
        ({"provider": "ollama", "local": True, "cost_micros": 0}, 0),
        ({"provider": "ollama", "local": True, "cost_micros": None}, 0),
        ({"cached": True, "cost_micros": None}, 0),
        ({"outcome": Outcome.REFUSED, "error": PiiBlocked("No.")}, 0),
        ({"outcome": Outcome.REFUSED, "error": UnknownModel("No.")}, 0),
        ({"outcome": Outcome.FAILED, "error": BILLED}, 100),
        ({"outcome": Outcome.FAILED, "error": NOT_BILLED}, 0),
        ({"outcome": Outcome.FAILED, "error": AllProvidersFailed("All.")}, 0),
        ({"outcome": Outcome.FAILED, "error": AllProvidersFailed("All."), "forwarded": {"idempotency-key": "k"}}, 100),
        ({"outcome": Outcome.FAILED, "error": NoCandidate("None.")}, 0),
        ({"outcome": Outcome.FAILED, "error": MembrainError("Something broke.")}, 100),
        ({"outcome": Outcome.ABORTED}, 100),
        ({"outcome": Outcome.ABORTED, "steps": [("budget", 1.0), ("cache", 1.0)]}, 0),
        ({"outcome": Outcome.FAILED, "error": MembrainError("Something broke."), "steps": [("cache", 1.0)]}, 0),
    ],
)
def test_what_may_have_been_billed_is_charged_and_what_cannot_have_been_is_not(
    facts: dict[str, Any], micros: int
) -> None:
    question = asked()
    question.reserved = 100
    question.steps = [("budget", 1.0), ("dispatch", 1.0)]
    for name, value in facts.items():
        setattr(question, name, value)
    assert charge(question) == micros


@pytest.mark.parametrize(("error", "all_of_it"), [(BILLED, True), (NOT_BILLED, False), (RuntimeError(), True)])
async def test_a_failure_is_charged_if_it_may_have_been_billed(house: House, error: Exception, all_of_it: bool) -> None:
    house.with_limits(Allowance(day=10**6))
    question = asked(max_tokens=100)
    with pytest.raises(type(error)):
        await house.through(Asks(fails=error), question)
    assert (house.spent, house.held) == (worst(question, 100) if all_of_it else 0, 0)


async def test_who_hangs_up_while_it_is_asked_is_charged_in_full(house: House) -> None:
    house.with_limits(Allowance(day=10**6))

    here = asyncio.Event()

    class Never(Asks):
        async def enter(self, exchange: Exchange) -> None:
            here.set()
            await asyncio.Event().wait()

    question = asked(max_tokens=100)
    task = asyncio.create_task(house.through(Never(), question))
    await here.wait()
    task.cancel()
    await asyncio.wait([task])
    assert question.outcome is Outcome.ABORTED
    assert (house.spent, house.held) == (worst(question, 100), 0)


async def test_who_hangs_up_while_it_is_held_leaves_nothing_held(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    for turns in range(12):
        question, asks = asked(max_tokens=100), Asks()
        task = asyncio.create_task(house.through(asks, question))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    await house.ledger.settle("nobody", 0)
    assert (house.spent, house.held) == (0, 0)


@pytest.mark.parametrize(
    ("text", "estimated", "micros"),
    [("x" * 600, True, 50 + 10 * 100), ("word ", True, 60), ("x" * 600, False, 60)],
)
async def test_an_estimate_by_events_that_is_far_too_low_is_not_believed(
    house: House, text: str, estimated: bool, micros: int
) -> None:
    """A provider that reports nothing and sends much at once would be nearly free otherwise."""

    class Estimates(Asks):
        async def leave(self, exchange: Exchange) -> None:
            exchange.tokens, exchange.cost_micros = Tokens(50, 10, estimated=estimated), 60

    house.with_limits(Allowance(day=10**6))
    await house.through(Estimates(*[event(text)] * 10), asked(max_tokens=10_000, stream=True))
    assert house.spent == micros


# --- a ledger that fails


async def test_without_a_ledger_nothing_is_asked(house: House) -> None:
    house.with_limits(Allowance(day=10**6))
    house.writer.close()
    question, asks = asked(max_tokens=100), Asks()
    with pytest.raises(BudgetUnavailable) as refused:
        await house.through(asks, question)
    assert refused.value.status == 503
    assert not asks.asked
    assert question.reserved is None


async def test_what_cannot_be_settled_costs_neither_the_answer_nor_the_hold(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is settled with the next one; until then what was held stays held."""
    house.with_limits(Allowance(day=10**6))
    settle = house.ledger.settle

    def full(id: str, micros: int) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(BudgetUnavailable("The ledger of budgets cannot be written: the disk is full."))
        return future

    monkeypatch.setattr(house.ledger, "settle", full)
    first, second = asked(max_tokens=100), asked(max_tokens=100)
    await house.through(Asks(cost=3), first)
    await house.through(Asks(cost=4), second)
    assert first.outcome is Outcome.ANSWERED
    assert (house.spent, house.held) == (0, 2 * worst(first, 100))
    assert "the disk is full" in caplog.text
    monkeypatch.setattr(house.ledger, "settle", settle)
    await house.through(Asks(cost=5), asked(max_tokens=100))
    assert (house.spent, house.held) == (12, 0)
    assert not house.room._owed


# --- who is told


async def test_half_a_budget_is_told_of(house: House) -> None:
    house.with_limits(Allowance(day=10_000))
    await house.through(Asks(cost=4_000), asked(max_tokens=100))
    await house.through(Asks(cost=4_500), asked(max_tokens=100))
    assert house.told == [Crossing("machine", "2026-11-22", 10_000, 8_500, 80)]


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "$0.00"), (1, "$0.000001"), (120_000, "$0.12"), (1_500_000, "$1.50"), (1_234_567_890, "$1,234.56789")],
)
def test_an_amount_is_told_to_its_last_digit(micros: int, text: str) -> None:
    assert dollars(micros) == text


# --- the words of the cut


def test_the_end_of_a_cut_stream_is_an_event_like_those_before_it() -> None:
    raw = event("Hi").raw + b": a comment\n\n"
    (end,) = sse.parse(words.cut_short(raw, [0], "budget_exceeded"))
    assert json.loads(end.data) == {
        "id": "c1",
        "created": 1,
        "model": "cheap",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}],
        "membrain": {"reason": "budget_exceeded"},
    }
    assert words.finishes(words.cut_short(b"", [0], "budget_exceeded"))


def test_what_a_stream_says_is_counted_wherever_it_is_said() -> None:
    call = {"tool_calls": [{"index": 0, "function": {"arguments": "12345"}}]}
    deltas: list[dict[str, Any]] = [
        {"content": "Hé"},
        {"reasoning_content": "thinks"},
        {"refusal": "no"},
        call,
        {"function_call": {"arguments": "1"}},
        {"role": "assistant", "content": ""},
        {},
    ]
    raw = b"".join(sse.encode(json.dumps(piece("m", delta)).encode()) for delta in deltas)
    assert words.length_of(raw) == (5, 2 + 6 + 2 + 5 + 1)
    assert words.length_of(b"data: nonsense\n\n") == (1, 1)
    assert words.length_of(b'data: {"choices":[{"delta":{"content":["odd"]}}]}\n\n') == (1, 1)
    assert words.length_of(b": comment\n\n") == (0, 0)
