"""Dispatch: the last room. Asks the router, tries the candidates in order, and answers with the first that speaks.

In: the route is decided, the intent is on record, and one provider's first chunk is in hand. Until then a failure
    passes on to the next candidate, or is tried once more, where nothing can have been billed; after it there is no
    second try.
Out: tokens are counted and priced, and how fast and how well the provider did is noted.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict, deque
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from time import monotonic, perf_counter
from typing import ClassVar

from membrain.cost.prices import Prices
from membrain.dialects.base import Chunk
from membrain.dialects.table import FREE, NO_TEXT
from membrain.errors import (
    AllProvidersFailed,
    AuditUnavailable,
    BadRequest,
    ModelNotAllowed,
    PrivateRefused,
    ProviderFailed,
    ProviderResting,
)
from membrain.exchange import Exchange, Stage
from membrain.providers.base import BYTES_PER_TOKEN, Ask
from membrain.providers.registry import Registry
from membrain.records import Attempt, Candidate, Decision, Outcome, Passport, Tokens
from membrain.routing.breaker import Breaker, Breakers
from membrain.routing.retries import Again, RetryBudget, again, retry_after, wait_before
from membrain.routing.router import AUTO, Router

_OLLAMA = ("ollama/", "ollama:")

_IDEMPOTENT = "idempotency-key"
_NOT_FOUND = 404


class Dispatch(Stage):
    """Turns a decision into an answer."""

    name: ClassVar[str] = "dispatch"

    def __init__(
        self, router: Router, registry: Registry, prices: Prices | None = None, breakers: Breakers | None = None
    ) -> None:
        self._router, self._registry = router, registry
        self._prices = prices or Prices()
        self._breakers = breakers or Breakers()
        self._budgets: defaultdict[str, RetryBudget] = defaultdict(RetryBudget)

    async def enter(self, exchange: Exchange) -> None:
        decision = await self.route(exchange)
        if exchange.written is None:
            raise AuditUnavailable("The audit was not asked, so nothing is sent.")
        await exchange.written
        chain = decision.chain
        if exchange.priced_out:
            chain = tuple(each for each in chain if (each.provider, each.model) not in exchange.priced_out)
        exchange.answer = await self._first_to_speak(exchange, chain)

    async def route(self, exchange: Exchange) -> Decision:
        """Decide who is asked, once for each exchange: a room on the way in may need to know it before the last."""
        if exchange.decision is None:
            hints, model = exchange.hints, self._router.meant(exchange.said.model)
            if hints.private or model in AUTO or model.startswith(_OLLAMA):
                await self._registry.refresh(private=hints.private)  # what Ollama has, and which of it is really here
            resting = self._breakers.resting(monotonic())
            decision = self._router.decide(exchange.said.model, hints, self._registry.offers, resting)
            exchange.decision = allowed(decision, exchange.caller.rights.models)
        return exchange.decision

    async def leave(self, exchange: Exchange) -> None:
        if exchange.provider is None:
            return
        if exchange.tokens is not None:
            exchange.cost_micros = self._cost(exchange, exchange.tokens)
        if exchange.outcome is Outcome.ANSWERED:
            self._router.record_latency(exchange.provider, exchange.attempts[-1].ms)
        elif isinstance(exchange.error, ProviderFailed):
            self._breaker(exchange.provider).failed(monotonic(), began=exchange.asked_at)

    async def _first_to_speak(self, exchange: Exchange, chain: tuple[Candidate, ...]) -> AsyncGenerator[Chunk, None]:
        """Ask the candidates of *chain* in order until a provider's first chunk is here."""
        preferences = self._router.preferences
        waiting = deque(chain if preferences.fallback else chain[:1])
        failures: list[ProviderFailed] = []
        granted, chosen = False, exchange.decision is not None and exchange.decision.tier is not None
        while waiting and len(exchange.attempts) < preferences.attempts:
            candidate = waiting.popleft()
            again_there = any(attempt.provider == candidate.provider for attempt in exchange.attempts)
            if again_there and not granted and not self._budgets[candidate.provider].take(monotonic()):
                continue
            try:
                outcome = await self._tried(exchange, candidate)
            except BadRequest:  # its words have no place for what was asked; somebody else's may
                if not waiting:
                    raise
                continue
            if not isinstance(outcome, ProviderFailed):
                return outcome
            failures.append(outcome)
            where = again(outcome, keyed=_IDEMPOTENT in exchange.forwarded, free=candidate.local)
            if outcome.status == _NOT_FOUND and not outcome.reached and chosen:
                where = Again.ELSEWHERE  # it was we who named that model
            if where is Again.NEVER:
                raise outcome
            left = preferences.attempts - len(exchange.attempts)
            if not waiting and left > 0 and where is Again.ANYWHERE and outcome.code != ProviderResting.code:
                granted = await self._pause(exchange, candidate, outcome)
                waiting += [candidate] * granted
        raise _told(failures)

    async def _tried(self, exchange: Exchange, candidate: Candidate) -> AsyncGenerator[Chunk, None] | ProviderFailed:
        """Ask one candidate: its answer, once the first chunk of it is in hand, or why there is none."""
        breaker, since, began = self._breaker(candidate.provider), monotonic(), perf_counter()
        if not breaker.begin(since):
            return _resting(candidate, breaker)
        if all(attempt.provider != candidate.provider for attempt in exchange.attempts):
            self._budgets[candidate.provider].request(since)
        try:
            answer, first = await self._opened(exchange, candidate)
        except StopAsyncIteration:
            failure = ProviderFailed(f"{candidate.provider} sent nothing.", provider=candidate.provider)
        except ProviderFailed as error:
            failure = error
        except BaseException:
            breaker.cancelled(monotonic(), began=since)
            raise
        else:
            breaker.succeeded(monotonic(), began=since)
            self._budgets[candidate.provider].succeeded()
            _note_try(exchange, candidate, began)
            exchange.provider, exchange.local, exchange.asked_at = candidate.provider, candidate.local, since
            exchange.answered_model = first.model or candidate.model
            return _spoken(exchange, first, answer)
        self._router.record_failure(candidate.provider)
        breaker.ended(monotonic(), failure, retry_after(failure.headers, datetime.now(UTC)), began=since)
        _note_try(exchange, candidate, began, failure.code)
        return failure

    def _breaker(self, provider: str) -> Breaker:
        """The breaker of *provider*; one that remembers nothing if the settings want none."""
        return self._breakers.of(provider) if self._router.preferences.breaker else Breaker()

    async def _pause(self, exchange: Exchange, candidate: Candidate, failure: ProviderFailed) -> bool:
        """Wait until *candidate*, the last one there is, may be asked once more; False if it should not be.

        What is on this machine and not there will not be there in a second.
        """
        asked = retry_after(failure.headers, datetime.now(UTC))
        seconds = wait_before(len(exchange.attempts), asked, random=random.random)
        if candidate.local or seconds is None or not self._budgets[candidate.provider].take(monotonic()):
            return False
        await asyncio.sleep(seconds)
        return True

    async def _opened(self, exchange: Exchange, candidate: Candidate) -> tuple[AsyncGenerator[Chunk, None], Chunk]:
        """The answer of one candidate, and its first chunk."""
        answer = self._ask(exchange, candidate)
        try:
            return answer, await anext(answer)
        except PrivateRefused:
            if exchange.own is None or exchange.hints.private:
                raise
        exchange.own = None  # it is not known to be on this machine after all, so it gets the placeholders
        answer = self._ask(exchange, candidate)
        return answer, await anext(answer)

    def _ask(self, exchange: Exchange, candidate: Candidate) -> AsyncGenerator[Chunk, None]:
        provider = self._registry.providers.get(candidate.provider)
        if provider is None:  # the providers were read anew since the route was decided
            gone = f"{candidate.provider} was just taken away."
            raise ProviderFailed(gone, provider=candidate.provider, status=503, reached=False)
        # Whoever gets what was really said has to be on this machine: the way out is told, and refuses otherwise.
        own = exchange.own if candidate.local else None
        private = exchange.hints.private or own is not None
        passport = Passport(exchange.id, written=True, looked=exchange.looked, private=private)
        said, most = own or exchange.said, exchange.most_tokens
        return provider.spoken(Ask(said, candidate.model, passport, exchange.forwarded, most, exchange.query))

    def _cost(self, exchange: Exchange, tokens: Tokens) -> int | None:
        if exchange.local or exchange.said.dialect in FREE:
            return 0
        # The provider may answer under a dated name; the name that was asked for has the price then.
        for model in (exchange.answered_model or "", exchange.attempts[-1].model):
            if (cost := self._prices.cost(model, exchange.provider or "", tokens)) is not None:
                return cost
        return None


def allowed(decision: Decision, models: tuple[str, ...]) -> Decision:
    """*decision* without what a key for *models* only may not ask. `ModelNotAllowed` if that leaves nobody."""
    if not models:
        return decision
    candidates = tuple(
        each if not each.kept or may_ask(each.model, models) else replace(each, kept=False, reason=_NOT_ALLOWED)
        for each in decision.candidates
    )
    narrowed = replace(decision, candidates=candidates)
    if decision.chain and not narrowed.chain:
        raise ModelNotAllowed("This client key may not ask that model.", hint=f"It may ask: {', '.join(models)}")
    return narrowed


_NOT_ALLOWED = "this client key may not ask it"


def may_ask(model: str, patterns: tuple[str, ...]) -> bool:
    """Whether a key for what *patterns* name may ask *model*; letters in either case."""
    return any(fnmatchcase(model.lower(), pattern.lower()) for pattern in patterns)


async def _spoken(exchange: Exchange, first: Chunk, answer: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Chunk, None]:
    """The answer from its first chunk on, its tokens noted as they are told."""
    pieces = 0
    try:
        pieces = _note(exchange, first)
        yield first
        async for chunk in answer:
            pieces += _note(exchange, chunk)
            yield chunk
    finally:
        if exchange.tokens is None:
            prompt = -(-len(exchange.said.body) // BYTES_PER_TOKEN)
            written = pieces if exchange.said.dialect not in NO_TEXT else 0
            exchange.tokens = Tokens(prompt, written, estimated=True)
        await answer.aclose()


def _note(exchange: Exchange, chunk: Chunk) -> int:
    """Keep what *chunk* reports, and say about how many tokens it holds."""
    if chunk.failure is not None:
        exchange.end(chunk.failure)
    if chunk.tokens is not None:
        exchange.tokens = chunk.tokens
        return 0
    if chunk.whole:
        return -(-len(chunk.raw) // BYTES_PER_TOKEN)
    return chunk.raw.count(b"data:")  # an event is about a token


def _note_try(exchange: Exchange, candidate: Candidate, began: float, error: str | None = None) -> None:
    ms = round((perf_counter() - began) * 1000, 3)
    exchange.attempts = (*exchange.attempts, Attempt(candidate.provider, candidate.model, ms, error))


def _resting(candidate: Candidate, breaker: Breaker) -> ProviderFailed:
    """Why a candidate was not asked after all: others have found in the meantime that it is broken."""
    seconds = max(1, round(breaker.reopens_in(monotonic())))
    return ProviderFailed(
        f"{candidate.provider} failed too often and is left alone for {seconds} s.",
        provider=candidate.provider,
        status=503,
        code=ProviderResting.code,
        headers={"retry-after": str(seconds)},
        reached=False,
    )


def _told(failures: list[ProviderFailed]) -> AllProvidersFailed | ProviderFailed:
    """What the caller is told: the last word of a provider that was asked alone, or what each of them said."""
    if len({failure.provider for failure in failures}) == 1:
        return failures[-1]
    told = "; ".join(f"{failure.provider}: {failure.code}" for failure in failures)
    return AllProvidersFailed(f"Every provider failed ({told}).", headers=failures[-1].headers)
