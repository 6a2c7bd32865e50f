"""Dispatch: nothing before the intent is written, the next candidate while nothing was said, the true cost after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from membrain.dialects.base import Chunk
from membrain.egress import Egress
from membrain.errors import (
    AllProvidersFailed,
    BadRequest,
    GuardFailed,
    LocalModelNotInstalled,
    MembrainError,
    NoCandidate,
    PrivateRefused,
    ProviderFailed,
    ProviderResting,
    UnknownModel,
)
from membrain.exchange import Exchange
from membrain.providers import registry as make
from membrain.providers.base import Ask, BaseProvider
from membrain.providers.registry import Registry
from membrain.records import Candidate, Hints, Outcome, Passport, Tokens
from membrain.routing.breaker import Breaker
from membrain.routing.router import Router
from membrain.routing.world import Preferences
from membrain.stages.dispatch import Dispatch
from tests.fakes import EchoProvider, FlakyProvider, SlowProvider, exchange
from tests.sink import Sink

pytestmark = pytest.mark.anyio


class Says(EchoProvider):
    """Says the chunks it was given, and then perhaps fails; keeps what it was asked."""

    def __init__(self, *given: Chunk | Exception) -> None:
        super().__init__()
        self.given = given
        self.questions: list[Ask] = []
        self.left = 0

    async def answer(self, ask: Ask) -> AsyncGenerator[Chunk, None]:
        self.questions.append(ask)
        try:
            for each in self.given:
                if isinstance(each, Exception):
                    raise each
                yield each
        finally:
            self.left += 1


HELLO = Chunk(b"{}", whole=True, tokens=Tokens(1000, 500))


def failed(
    status: int = 503,
    code: str = "busy",
    *,
    provider: str = "p",
    passing: bool = True,
    reached: bool = False,
    headers: dict[str, str] | None = None,
) -> ProviderFailed:
    return ProviderFailed(
        "Busy.", provider=provider, status=status, code=code, passing=passing, reached=reached, headers=headers
    )


def room(**providers: BaseProvider) -> tuple[Dispatch, Registry, Router]:
    registry, router = Registry(), Router()
    for name, provider in providers.items():
        registry.register(name, provider)
    return Dispatch(router, registry), registry, router


def asked(model: str = "gpt-4o", hints: Hints | None = None, **more: Any) -> Exchange:
    """An exchange whose intent is on record."""
    made = exchange("Hello", model, hints, **more)
    made.written = asyncio.get_running_loop().create_future()
    made.written.set_result(None)
    made.looked = True
    return made


async def answered(dispatch: Dispatch, question: Exchange) -> list[Chunk]:
    """Through the room: in, the answer, out."""
    await dispatch.enter(question)
    assert question.answer is not None
    async with aclosing(question.answer) as answer:
        chunks = [chunk async for chunk in answer]
    question.outcome = Outcome.ANSWERED
    await dispatch.leave(question)
    return chunks


# --- before anything leaves


async def test_a_model_that_turns_out_not_to_be_here_gets_the_placeholders() -> None:
    class NotHere(Says):
        async def answer(self, ask: Ask) -> AsyncGenerator[Chunk, None]:
            self.questions.append(ask)
            if ask.passport.private:
                raise PrivateRefused("This request is private, and that is not known to be on this machine.")
            yield HELLO

    provider = NotHere()
    dispatch, registry, _router = room()
    registry.register("ollama", provider)
    question = asked("ollama/llama3")
    question.own = exchange("My real name", "ollama/llama3").said
    candidate = Candidate("llama3", "ollama", kept=True, reason="named", local=True)
    answer, first = await dispatch._opened(question, candidate)
    await answer.aclose()
    assert first is HELLO
    assert [heard.said is question.said for heard in provider.questions] == [False, True]
    assert question.own is None
    question.own, question.hints = exchange("My real name").said, Hints(private=True)
    with pytest.raises(PrivateRefused):
        await dispatch._opened(question, candidate)


@pytest.mark.parametrize("local", [True, False])
async def test_only_a_model_on_this_machine_is_told_what_was_really_said(local: bool) -> None:
    provider = Says(HELLO)
    dispatch, _registry, _router = room(p=provider)
    question = asked("p/model")
    question.own = exchange("My real name", "p/model").said
    candidate = Candidate("model", "p", kept=True, reason="named", local=local)
    answer = dispatch._ask(question, candidate)
    await anext(answer)
    await answer.aclose()
    (heard,) = provider.questions
    assert heard.said is (question.own if local else question.said)
    assert heard.passport.private is local, "so that the way out refuses to let it leave"


async def test_nobody_is_asked_before_the_intent_is_written() -> None:
    provider = Says(HELLO)
    dispatch, _, _ = room(openai=provider)
    question = exchange()
    question.written = asyncio.get_running_loop().create_future()
    entering = asyncio.ensure_future(dispatch.enter(question))
    await asyncio.sleep(0.02)
    assert not provider.questions
    question.written.set_result(None)
    await entering
    assert provider.questions
    await question.answer.aclose()  # type: ignore[union-attr]  # it is there


async def test_an_intent_that_cannot_be_written_stops_everything() -> None:
    provider = Says(HELLO)
    dispatch, _, _ = room(openai=provider)
    question = exchange()
    question.written = asyncio.get_running_loop().create_future()
    question.written.set_exception(GuardFailed("The disk is full."))
    with pytest.raises(GuardFailed, match="disk"):
        await dispatch.enter(question)
    assert not provider.questions


async def test_without_an_audit_nothing_is_sent() -> None:
    provider = Says(HELLO)
    dispatch, _, _ = room(openai=provider)
    with pytest.raises(GuardFailed):
        await dispatch.enter(exchange())
    assert not provider.questions


@pytest.mark.parametrize("private", [False, True])
async def test_the_passport_tells_what_the_caller_asked(private: bool) -> None:
    provider = Says(HELLO)
    dispatch, registry, _ = room()
    provider.__class__ = type("Here", (Says,), {"is_local": property(lambda self: True)})
    registry.register("local", provider, ("local/default",))
    question = asked("local/default", Hints(private=private))
    question.forwarded = {"openai-project": "p"}
    await answered(dispatch, question)
    (heard,) = provider.questions
    assert heard.passport == Passport(question.id, written=True, looked=True, private=private)
    assert heard.said is question.said
    assert heard.headers == {"openai-project": "p"}


async def test_who_may_not_answer_is_not_asked() -> None:
    provider = Says(HELLO)
    dispatch, _, _ = room(openai=provider)
    with pytest.raises(PrivateRefused):
        await dispatch.enter(asked("gpt-4o", Hints(private=True)))
    with pytest.raises(NoCandidate):
        await dispatch.enter(asked("auto", Hints(private=True)))
    assert not provider.questions


async def test_a_name_nobody_knows_is_told_before_anybody_is_asked() -> None:
    dispatch, _, _ = room(anthropic=Says(HELLO))
    with pytest.raises(UnknownModel):
        await dispatch.enter(asked("mystery"))


# --- who answers


async def test_the_answer_passes_and_is_noted() -> None:
    dispatch, _, router = room(openai=Says(Chunk(b"{}", whole=True, tokens=Tokens(1000, 500), model="gpt-4o-2024")))
    question = asked()
    assert [chunk.raw for chunk in await answered(dispatch, question)] == [b"{}"]
    assert (question.provider, question.answered_model, question.local) == ("openai", "gpt-4o-2024", False)
    assert question.tokens == Tokens(1000, 500)
    assert question.cost_micros == 7500
    (attempt,) = question.attempts
    assert (attempt.provider, attempt.model, attempt.error) == ("openai", "gpt-4o", None)
    assert router.get_latency_stats("openai")["count"] == 1


async def test_the_first_that_speaks_answers() -> None:
    openai, anthropic = Says(failed()), Says(HELLO)
    dispatch, _, router = room(openai=openai, anthropic=anthropic)
    question = asked("auto")
    await answered(dispatch, question)
    assert question.provider == "anthropic"
    assert question.answered_model == "claude-sonnet-4-20250514"
    assert [(each.provider, each.error) for each in question.attempts] == [("openai", "busy"), ("anthropic", None)]
    assert (openai.left, anthropic.left) == (1, 1)
    assert router.get_latency_stats("openai")["count"] == 0


async def test_what_one_cannot_be_asked_the_next_one_may() -> None:
    """No dialect can carry all that another can, so where the router chose, it chooses again."""
    no = BadRequest("`n` cannot be sent.", param="n")
    openai, anthropic = Says(no), Says(HELLO)
    dispatch, _, _ = room(openai=openai, anthropic=anthropic)
    question = asked("auto")
    await answered(dispatch, question)
    assert question.provider == "anthropic"
    assert [each.provider for each in question.attempts] == ["anthropic"]
    dispatch, _, _ = room(openai=Says(no), anthropic=Says(no))
    with pytest.raises(BadRequest, match="cannot be sent"):
        await answered(dispatch, asked("auto"))


async def test_what_failed_in_a_proper_end_is_on_record_as_failed() -> None:
    told = failed(502, "server_error")
    dispatch, _, _ = room(openai=Says(Chunk(b"data: 1\n\n"), Chunk(b"data: 2\n\n", last=True, failure=told)))
    question = asked("gpt-4o", stream=True)
    chunks = await answered(dispatch, question)
    assert [chunk.last for chunk in chunks] == [False, True]
    assert question.error is told


async def test_it_is_the_one_who_answered_that_has_the_price() -> None:
    """Not the first of the chain, who said nothing."""
    dispatch, _, _ = room(
        openai=Says(failed()), anthropic=Says(Chunk(b"{}", tokens=Tokens(1000, 0), model="claude-x-new"))
    )
    question = asked("auto")
    await answered(dispatch, question)
    assert question.cost_micros == 3000


async def test_once_something_was_said_there_is_no_second_try() -> None:
    openai, anthropic = Says(Chunk(b"data: 1\n\n"), failed()), Says(HELLO)
    dispatch, _, _ = room(openai=openai, anthropic=anthropic)
    with pytest.raises(ProviderFailed, match="Busy"):
        await answered(dispatch, asked("auto", stream=True))
    assert not anthropic.questions
    assert openai.left == 1


@pytest.mark.parametrize("says", [(), (failed(502, "broke_off", reached=True),)])
async def test_what_may_have_been_billed_is_not_asked_again(says: tuple[Chunk | Exception, ...]) -> None:
    anthropic = Says(HELLO)
    dispatch, _, _ = room(openai=Says(*says), anthropic=anthropic)
    question = asked("auto")
    with pytest.raises(ProviderFailed):
        await dispatch.enter(question)
    assert len(question.attempts) == 1
    assert not anthropic.questions


@pytest.mark.parametrize("says", [(), (failed(502, "broke_off", reached=True),)])
async def test_unless_the_caller_gave_it_a_key(says: tuple[Chunk | Exception, ...]) -> None:
    dispatch, _, _ = room(openai=Says(*says), anthropic=Says(HELLO))
    question = asked("auto")
    question.forwarded = {"idempotency-key": "once"}
    await answered(dispatch, question)
    assert [each.provider for each in question.attempts] == ["openai", "anthropic"]
    assert question.attempts[-1].error is None


async def test_who_stands_alone_is_asked_once_more_and_told_of_by_its_last_word() -> None:
    openai = Says(failed(503, "busy"))
    dispatch, _, _ = room(openai=openai)
    question = asked("gpt-4o")
    with pytest.raises(ProviderFailed) as told:
        await dispatch.enter(question)
    assert (told.value.status, told.value.code) == (503, "busy")
    assert [each.error for each in question.attempts] == ["busy"] * 3
    assert len(openai.questions) == 3


async def test_a_long_retry_after_is_handed_on_at_once() -> None:
    openai = Says(failed(429, "rate_limit", headers={"retry-after": "20"}))
    dispatch, _, _ = room(openai=openai)
    with pytest.raises(ProviderFailed) as told:
        await dispatch.enter(asked("gpt-4o"))
    assert told.value.headers == {"retry-after": "20"}
    assert len(openai.questions) == 1


async def test_a_provider_that_wants_a_pause_gets_one() -> None:
    openai, anthropic = Says(failed(429, "rate_limit", headers={"retry-after": "20"})), Says(HELLO)
    dispatch, _, _ = room(openai=openai, anthropic=anthropic)
    for _ in range(3):
        await answered(dispatch, asked("auto"))
    assert len(openai.questions) == 1
    with pytest.raises(ProviderResting) as told:
        await dispatch.enter(asked("gpt-4o"))
    assert 15 <= int(told.value.headers["retry-after"]) <= 20


async def test_a_provider_that_keeps_failing_is_left_alone() -> None:
    openai = Says(failed(500, "broken", reached=True))
    dispatch, _, _ = room(openai=openai)
    codes = []
    for _ in range(40):
        with pytest.raises(MembrainError) as told:
            await dispatch.enter(asked("gpt-4o"))
        codes.append(told.value.code)
    assert codes == ["broken"] * 20 + ["provider_resting"] * 20
    assert len(openai.questions) == 20


class NeverOpens(Breaker):
    def failed(self, now: float, retry_after: float | None = None, *, began: float | None = None) -> None:
        pass


async def test_a_thousand_requests_to_a_dead_provider_make_few_attempts() -> None:
    openai = Says(failed(503, "dead"))
    dispatch, _, _ = room(openai=openai)
    dispatch._breakers._breakers["openai"] = NeverOpens()  # so that the budget alone is what holds
    outcomes = await asyncio.gather(*(dispatch.enter(asked("gpt-4o")) for _ in range(1000)), return_exceptions=True)
    assert all(isinstance(each, ProviderFailed) for each in outcomes)
    assert 1000 < len(openai.questions) <= 1100


async def test_without_fallback_only_the_first_candidate_is_asked() -> None:
    anthropic = Says(HELLO)
    dispatch, _, router = room(openai=Says(failed(headers={"x-should-retry": "false"})), anthropic=anthropic)
    router.become(Preferences(fallback=False))
    with pytest.raises(ProviderFailed):
        await dispatch.enter(asked("auto"))
    assert not anthropic.questions


async def test_an_alias_is_asked_by_the_name_that_it_stands_for() -> None:
    openai = Says(HELLO)
    dispatch, _, router = room(openai=openai)
    router.become(Preferences(aliases={"fast-code": "gpt-4o-mini"}))
    question = asked("fast-code")
    await answered(dispatch, question)
    assert [ask.model for ask in openai.questions] == ["gpt-4o-mini"]
    assert question.decision is not None
    assert question.decision.asked == "fast-code"


async def test_a_model_by_name_is_never_answered_by_another() -> None:
    anthropic = Says(HELLO)
    dispatch, _, _ = room(openai=Says(failed(429, "rate_limit")), anthropic=anthropic)
    with pytest.raises(ProviderFailed) as told:
        await dispatch.enter(asked("gpt-4o"))
    assert (told.value.status, told.value.code) == (429, "rate_limit")
    assert not anthropic.questions


async def test_when_everybody_failed_each_is_told() -> None:
    dispatch, _, _ = room(
        openai=Says(failed(code="busy", provider="openai")),
        anthropic=Says(failed(529, "overloaded", provider="anthropic", headers={"retry-after": "30"})),
    )
    question = asked("auto")
    with pytest.raises(AllProvidersFailed) as told:
        await dispatch.enter(question)
    assert told.value.status == 502
    assert "openai: busy; anthropic: overloaded" in told.value.message
    assert told.value.headers == {"retry-after": "30"}
    assert [each.error for each in question.attempts] == ["busy", "overloaded"]
    await dispatch.leave(question)
    assert question.provider is None


@pytest.mark.parametrize("first", [failed(), None])
async def test_what_is_the_callers_fault_is_told_as_it_is(first: ProviderFailed | None) -> None:
    """Nobody else is asked, and a 400 does not become a 502 because somebody else was away before."""
    refusal = failed(400, "context_length_exceeded", passing=False)
    providers = {"openai": Says(first or refusal), "anthropic": Says(refusal if first else HELLO)}
    dispatch, _, _ = room(**providers)
    with pytest.raises(ProviderFailed) as told:
        await dispatch.enter(asked("auto"))
    assert (told.value.status, told.value.code) == (400, "context_length_exceeded")
    assert bool(providers["anthropic"].questions) is (first is not None)


async def test_a_fault_that_is_no_providers_goes_up_as_it_is() -> None:
    dispatch, _, _ = room(openai=Says(LocalModelNotInstalled("Not here.")))
    with pytest.raises(LocalModelNotInstalled):
        await dispatch.enter(asked())


async def test_a_provider_that_was_taken_away_meanwhile_is_passed_over() -> None:
    """Keys are read anew while a request waits for its record."""
    dispatch, registry, _ = room(openai=Says(HELLO), anthropic=Says(HELLO))
    question = exchange(model="auto")
    question.written = asyncio.get_running_loop().create_future()
    entering = asyncio.ensure_future(dispatch.enter(question))
    await asyncio.sleep(0)
    await registry.unregister("openai")
    question.written.set_result(None)
    await entering
    assert question.provider == "anthropic"
    await question.answer.aclose()  # type: ignore[union-attr]  # it is there


# --- tokens and money


async def test_what_an_answer_in_pieces_reports_last_counts() -> None:
    pieces = [Chunk(b"data: 1\n\n"), Chunk(b"", tokens=Tokens(1, 1)), Chunk(b"data: 2\n\n", tokens=Tokens(9, 4))]
    dispatch, _, _ = room(openai=Says(*pieces))
    question = asked(stream=True)
    await answered(dispatch, question)
    assert question.tokens == Tokens(9, 4)


@pytest.mark.parametrize(
    ("pieces", "tokens"),
    [
        ([Chunk(b"x" * 41, whole=True)], 11),
        ([Chunk(b"data: 1\n\ndata: 2\n\n"), Chunk(b"data: 3\n\n")], 3),
    ],
)
async def test_what_is_not_reported_is_estimated_and_says_so(pieces: list[Chunk], tokens: int) -> None:
    dispatch, _, _ = room(openai=Says(*pieces))
    question = asked(stream=len(pieces) > 1)
    await answered(dispatch, question)
    assert question.tokens is not None
    assert question.tokens.estimated
    assert question.tokens.completion == tokens
    assert question.tokens.prompt == -(-len(question.said.body) // 4)
    assert question.cost_micros is not None


async def test_an_answer_that_was_cut_off_is_counted_too() -> None:
    """The provider charges for it."""
    provider = SlowProvider(pause=5)
    dispatch, _, router = room(openai=provider)
    question = asked(stream=True)
    await dispatch.enter(question)
    answer = question.answer
    assert answer is not None
    await anext(answer)
    await answer.aclose()
    question.outcome = Outcome.ABORTED
    await dispatch.leave(question)
    assert provider.left.is_set()
    assert question.tokens is not None
    assert question.tokens.completion == 1
    assert question.cost_micros
    assert router.get_latency_stats("openai")["count"] == 0


async def test_a_price_nobody_knows_is_none_and_not_nought() -> None:
    dispatch, _, _ = room(litellm=Says(HELLO))
    question = asked("mystery")
    await answered(dispatch, question)
    assert question.cost_micros is None


async def test_a_dated_name_is_charged_as_the_one_that_was_asked_for() -> None:
    dispatch, _, _ = room(openai=Says(Chunk(b"{}", tokens=Tokens(1000, 500), model="gpt-4o-2026-01-01")))
    question = asked("gpt-4o")
    await answered(dispatch, question)
    assert question.cost_micros == 7500


# --- Ollama


@pytest.fixture
async def ollama() -> AsyncIterator[tuple[Dispatch, Sink]]:
    with Sink(ollama=["llama3:latest", "big-cloud"]) as sink:
        egress = Egress()
        dispatch, _, _ = room(ollama=make.ollama(egress, sink.url))
        yield dispatch, sink
        await egress.close()


async def test_what_runs_here_costs_nothing(ollama: tuple[Dispatch, Sink]) -> None:
    question = asked("ollama/llama3")
    await answered(ollama[0], question)
    assert (question.local, question.cost_micros) == (True, 0)


async def test_what_ollama_hands_on_is_not_called_local_nor_free(ollama: tuple[Dispatch, Sink]) -> None:
    question = asked("ollama/big-cloud")
    await answered(ollama[0], question)
    assert (question.local, question.cost_micros) == (False, None)
    assert question.decision is not None
    assert not question.decision.chain[0].local


@pytest.mark.parametrize("hints", [Hints(), Hints(private=True)])
async def test_auto_finds_what_ollama_has(ollama: tuple[Dispatch, Sink], hints: Hints) -> None:
    question = asked("auto", hints)
    await answered(ollama[0], question)
    assert question.answered_model == "llama3:latest"
    assert question.provider == "ollama"


# --- letting go


async def test_a_cancelled_wait_closes_the_provider() -> None:
    class Waits(Says):
        async def answer(self, ask: Ask) -> AsyncGenerator[Chunk, None]:
            try:
                await asyncio.sleep(60)
                yield HELLO
            finally:
                self.left += 1

    provider = Waits()
    dispatch, _, _ = room(openai=provider)
    entering = asyncio.ensure_future(dispatch.enter(asked()))
    await asyncio.sleep(0.02)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert provider.left == 1


@pytest.mark.parametrize("error", [httpx.ConnectError("canary-7f3a"), ConnectionRefusedError("canary-7f3a")])
async def test_a_custom_provider_that_cannot_be_reached_is_passed_over(error: Exception) -> None:
    dispatch, _, _ = room(openai=FlakyProvider(error), anthropic=EchoProvider())
    question = asked("auto")
    await answered(dispatch, question)
    assert question.provider == "anthropic"
    assert "canary" not in repr(question.attempts)
