"""Dispatch: the last room. Asks the router, tries each candidate, and answers with the first that speaks.

In: the route is decided, the intent is on record, and one provider's first chunk is in hand. Until then a failure
    passes on to the next candidate; after it there is no second try.
Out: tokens are counted, priced, and the provider's time is noted.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from time import perf_counter
from typing import ClassVar

from membrain.cost.pricing import cost_micros
from membrain.dialects.base import Chunk
from membrain.errors import AllProvidersFailed, GuardFailed, PrivateRefused, ProviderFailed
from membrain.exchange import Exchange, Stage
from membrain.providers.base import Ask
from membrain.providers.registry import Registry
from membrain.records import Attempt, Candidate, Outcome, Passport, Tokens
from membrain.routing.router import AUTO, Router

_OLLAMA = ("ollama/", "ollama:")

BYTES_PER_TOKEN = 4
"""For our own estimate, where a provider reports nothing."""


class Dispatch(Stage):
    """Turns a decision into an answer."""

    name: ClassVar[str] = "dispatch"

    def __init__(self, router: Router, registry: Registry) -> None:
        self._router = router
        self._registry = registry

    async def enter(self, exchange: Exchange) -> None:
        hints, model = exchange.hints, exchange.said.model
        if hints.private or model in AUTO or model.startswith(_OLLAMA):
            await self._registry.refresh()  # what Ollama has, and which of it is really here
        exchange.decision = self._router.decide(model, hints, self._registry.offers)
        if exchange.written is None:
            raise GuardFailed("The audit was not asked, so nothing is sent.")
        await exchange.written
        exchange.answer = await self._first_to_speak(exchange, exchange.decision.chain)

    async def leave(self, exchange: Exchange) -> None:
        if exchange.provider is None:
            return
        if exchange.tokens is not None:
            exchange.cost_micros = self._cost(exchange, exchange.tokens)
        if exchange.outcome is Outcome.ANSWERED:
            self._router.record_latency(exchange.provider, exchange.attempts[-1].ms)

    async def _first_to_speak(self, exchange: Exchange, chain: tuple[Candidate, ...]) -> AsyncGenerator[Chunk, None]:
        """Try *chain* in order until a provider's first chunk is here."""
        failures: list[ProviderFailed] = []
        for candidate in chain:
            began = perf_counter()
            try:
                answer, first = await self._opened(exchange, candidate)
            except StopAsyncIteration:
                failure = ProviderFailed(f"{candidate.provider} sent nothing.", provider=candidate.provider)
            except ProviderFailed as error:
                failure = error
            else:
                _tried(exchange, candidate, began)
                exchange.provider, exchange.local = candidate.provider, candidate.local
                exchange.answered_model = first.model or candidate.model
                return _spoken(exchange, first, answer)
            _tried(exchange, candidate, began, failure.code)
            failures.append(failure)
            if not failure.passing:
                raise failure
        raise failures[0] if len(failures) == 1 else _all_failed(failures)

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
            raise ProviderFailed(f"{candidate.provider} was just taken away.", provider=candidate.provider, status=503)
        # Whoever gets what was really said has to be on this machine: the way out is told, and refuses otherwise.
        own = exchange.own if candidate.local else None
        private = exchange.hints.private or own is not None
        passport = Passport(exchange.id, written=True, looked=exchange.looked, private=private)
        return provider.answer(Ask(own or exchange.said, candidate.model, passport, exchange.forwarded))

    def _cost(self, exchange: Exchange, tokens: Tokens) -> int | None:
        if exchange.local:
            return 0
        # The provider may answer under a dated name; the name that was asked for has the price then.
        for model in (exchange.answered_model or "", exchange.attempts[-1].model):
            if (cost := cost_micros(model, tokens.prompt, tokens.completion)) is not None:
                return cost
        return None


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
            exchange.tokens = Tokens(prompt, pieces, estimated=True)
        await answer.aclose()


def _note(exchange: Exchange, chunk: Chunk) -> int:
    """Keep what *chunk* reports, and say about how many tokens it holds."""
    if chunk.tokens is not None:
        exchange.tokens = chunk.tokens
        return 0
    if chunk.whole:
        return -(-len(chunk.raw) // BYTES_PER_TOKEN)
    return chunk.raw.count(b"data:")  # an event is about a token


def _tried(exchange: Exchange, candidate: Candidate, began: float, error: str | None = None) -> None:
    ms = round((perf_counter() - began) * 1000, 3)
    exchange.attempts = (*exchange.attempts, Attempt(candidate.provider, candidate.model, ms, error))


def _all_failed(failures: list[ProviderFailed]) -> AllProvidersFailed:
    told = "; ".join(f"{failure.provider}: {failure.code}" for failure in failures)
    return AllProvidersFailed(f"Every provider failed ({told}).", headers=failures[-1].headers)
