"""Budget: nothing is asked that a limit could not pay for, whatever it turns out to be.

In: the worst case of what the request can cost is held under every limit that concerns it, in one step; what does not
    fit is refused, or asked for a shorter answer if it does not say how long that may be.
Through: a stream that goes on for longer than was held for is ended, in proper form and with its reason.
Out: the hold is settled with the true cost. What may have been billed, and nobody says how much, costs all of it.

Exchanges that no limit concerns, and those that stay on this machine, cost nothing here.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from membrain.cost import bounds
from membrain.cost.prices import Prices
from membrain.dialects.base import Chunk, Dialect
from membrain.dialects.table import DIALECTS, FREE
from membrain.errors import AllProvidersFailed, BudgetExceeded, MembrainError, PriceUnknown, ProviderFailed, Unavailable
from membrain.exchange import Exchange, Stage
from membrain.records import Allowance, Caller, Candidate, Decision, Outcome
from membrain.stores.base import TOTAL, Cap, Crossing, Ledger, Shortfall

log = logging.getLogger("membrain.budget")

Limits = Callable[[Caller], Sequence[tuple[str, Allowance]]]
"""The limits that concern a caller: whose each one is (`machine`, `project:NAME`, `user:PROJECT:LABEL`, `key:ID`), and
what it allows."""

SHORTEST = 256
"""Tokens of the shortest answer that is worth asking for."""

CHARACTERS = 6
"""A token has fewer, on average, in every language: so the meter never counts more tokens than there are. Where
providers send one token with each event, as most do, it counts those."""

SLACK_PERCENT, SLACK_TOKENS = 5, 16
"""How far an answer may go beyond what was held for it: roles and ends are events too."""

USAGE = "See what was spent: membrain usage"

_IDEMPOTENT = "idempotency-key"
_ASKS = "dispatch"
"""The room that asks, as the way in notes it."""

_OWNERS = {
    "machine": "This machine's budget",
    "project": "The budget of project {0}",
    "user": "The budget of user {1}",
    "key": "The budget of this client key",
}
"""Whose budget it is, for people. A user's label comes with its project."""


class _Case(NamedTuple):
    """The worst case of one candidate."""

    candidate: Candidate
    read: int
    written: int
    """Tokens; both as much as there can be."""
    micros: int | None
    """None if nobody knows the price."""
    askable: int
    """Tokens that it can be asked to stop at."""


@dataclass(slots=True)
class _Meter:
    """How much of a stream has passed."""

    words: Dialect
    most: Mapping[tuple[str, str], int]
    """Tokens that were held for, by provider and model."""
    events: int = 0
    characters: int = 0

    @property
    def tokens(self) -> int:
        """As many as there were at least."""
        return max(self.events, self.characters // CHARACTERS)

    def runs_over(self, who: tuple[str, str], raw: bytes) -> bool:
        """Count *raw*, and say whether that is more than *who* may write."""
        events, characters = self.words.length_of(raw)
        self.events += events
        self.characters += characters
        most = self.most.get(who, 0)
        return self.tokens > most + most * SLACK_PERCENT // 100 + SLACK_TOKENS


class Budget(Stage):
    """Holds, meters and settles."""

    name: ClassVar[str] = "budget"

    def __init__(
        self,
        ledger: Ledger,
        prices: Prices,
        route: Callable[[Exchange], Awaitable[Decision]],
        limits: Limits,
        wall: Callable[[], float] = time.time,
        alert: Callable[[Crossing], None] = lambda _: None,
    ) -> None:
        """*limits* is asked for each exchange, so what it says may change at any time; the ledger is to recount then.

        *route* decides who is asked, *wall* gives Unix time in seconds, and *alert* hears of each threshold once.
        """
        self._ledger = ledger
        self._prices = prices
        self._route = route
        self._limits = limits
        self._wall = wall
        self._alert = alert
        self._meters: dict[str, _Meter] = {}
        self._owed: dict[str, int] = {}

    async def enter(self, exchange: Exchange) -> None:
        allowances = self._limits(exchange.caller)
        if not allowances or exchange.said.dialect in FREE:
            return
        decision = await self._route(exchange)
        remote = [each for each in decision.chain if not each.local]
        if not remote:
            return
        cases = await self._cases(exchange, remote)
        exchange.priced_out = frozenset(
            (case.candidate.provider, case.candidate.model) for case in cases if case.micros is None
        )
        if len(exchange.priced_out) == len({(each.provider, each.model) for each in decision.chain}):
            raise _unpriced(cases[0].candidate.model)
        if priced := [case for case in cases if case.micros is not None]:
            now = self._wall()
            caps = [cap for owner, allowance in allowances for cap in Cap.of(owner, allowance, now)]
            await self._hold(exchange, priced, caps)

    async def _cases(self, exchange: Exchange, candidates: Sequence[Candidate]) -> list[_Case]:
        """The worst case of each. Where a price is missing, all prices are loaded first: they may not be yet."""
        cases = [self._case(exchange, each) for each in candidates]
        if any(case.micros is None for case in cases):
            await asyncio.to_thread(self._prices.load)
            cases = [self._case(exchange, each) for each in candidates]
        return cases

    def _case(self, exchange: Exchange, candidate: Candidate) -> _Case:
        said, price = exchange.said, self._prices.of(candidate.model, candidate.provider)
        context = price.context if price else None
        read = bounds.input_tokens(said.body, said.data, candidate.provider, context)
        lengths = DIALECTS[said.dialect].lengths
        written = bounds.output_tokens(said.data, lengths, candidate.provider, context)
        micros = bounds.worst_cost(self._prices, candidate.model, candidate.provider, read, written)
        return _Case(candidate, read, written, micros, bounds.askable(context))

    async def _hold(self, exchange: Exchange, cases: Sequence[_Case], caps: Sequence[Cap]) -> None:
        """Hold the dearest of *cases*, or that of a shorter answer. BudgetExceeded if neither fits."""
        needed = max(case.micros or 0 for case in cases)
        short = await self._reserve(exchange, needed, caps)
        if short is not None and (most := self._shorter(exchange, cases, short.left)) is not None:
            cases = [case._replace(written=min(case.written, most)) for case in cases]
            exchange.most_tokens = most // bounds.answers(exchange.said.data)
            short = await self._reserve(exchange, max(self._worst(case) for case in cases), caps)
        if short is not None:
            raise _exceeded(short, needed)
        if exchange.said.stream:
            most_of = {(case.candidate.provider, case.candidate.model): case.written for case in cases}
            self._meters[exchange.id] = _Meter(DIALECTS[exchange.said.dialect], most_of)

    async def _reserve(self, exchange: Exchange, micros: int, caps: Sequence[Cap]) -> Shortfall | None:
        """Hold *micros*. Who hangs up meanwhile may hold them already, so that is noted first."""
        exchange.reserved = micros
        try:
            short = await self._ledger.reserve(exchange.id, micros, caps)
        except MembrainError:
            exchange.reserved = None
            raise
        if short is not None:
            exchange.reserved = None
        return short

    def _shorter(self, exchange: Exchange, cases: Sequence[_Case], left: int) -> int | None:
        """How many tokens all answers together may have, so that *left* micro-dollars pay for them; None if that is
        not worth asking for, or not ours to say.
        """
        said = exchange.said
        data = said.data
        if bounds.says_length(data, DIALECTS[said.dialect].lengths):
            return None
        each = min(min(self._longest(case, left) // bounds.answers(data), case.askable) for case in cases)
        return each * bounds.answers(data) if each >= SHORTEST else None

    def _longest(self, case: _Case, left: int) -> int:
        who = case.candidate
        return min(case.written, bounds.longest(self._prices, who.model, who.provider, case.read, left))

    def _worst(self, case: _Case) -> int:
        who = case.candidate
        return bounds.worst_cost(self._prices, who.model, who.provider, case.read, case.written) or 0

    def outgoing(self, exchange: Exchange, chunk: Chunk) -> Chunk:
        meter = self._meters.get(exchange.id)
        if meter is None or exchange.local or exchange.cached or exchange.provider is None or exchange.cut is not None:
            return chunk
        over = meter.runs_over((exchange.provider, exchange.attempts[-1].model), chunk.raw)
        if not over or chunk.last or meter.words.finishes(chunk.raw):
            return chunk
        exchange.cut = _ran_over()
        ended = meter.words.cut_short(chunk.raw, exchange.said, exchange.cut.code)
        if ended is None:
            exchange.end(exchange.cut)
            raise exchange.cut
        return ended

    async def leave(self, exchange: Exchange) -> None:
        """Settle. A hold that cannot be settled now is with the next one, or charged in full at the next start."""
        meter = self._meters.pop(exchange.id, None)
        if exchange.reserved is None:
            return
        due = max(charge(exchange), self._said(exchange, meter))
        owed, self._owed = {exchange.id: due, **self._owed}, {}
        try:
            for id, micros in list(owed.items()):
                for crossing in await self._ledger.settle(id, micros):
                    self._alert(crossing)
                del owed[id]
        except MembrainError as error:
            log.error("a budget could not be settled: %s", error.message)
        finally:
            self._owed |= owed

    def _said(self, exchange: Exchange, meter: _Meter | None) -> int:
        """What a stream cost at least, in micro-dollars, if its provider did not report it: an estimate by its events
        is far too low where each of them says a lot.
        """
        who, tokens = exchange.provider, exchange.tokens
        if meter is None or who is None or tokens is None or not tokens.estimated or exchange.local or exchange.cached:
            return 0
        return bounds.worst_cost(self._prices, exchange.attempts[-1].model, who, tokens.prompt, meter.tokens) or 0


def charge(exchange: Exchange) -> int:
    """What *exchange* costs the budgets that it was held under, in micro-dollars, now that it is over."""
    held, cost = exchange.reserved or 0, exchange.cost_micros
    if exchange.cached:
        return 0
    if exchange.provider is not None:
        known = 0 if exchange.local else held if cost is None else cost
        return max(known, held) if exchange.cut is not None else known
    return held if _may_be_billed(exchange) else 0


def _may_be_billed(exchange: Exchange) -> bool:
    """Whether somebody was asked who never answered, and may have been at work all the same."""
    error = exchange.error
    if exchange.outcome is Outcome.REFUSED or all(room != _ASKS for room, _ in exchange.steps):
        return False
    if isinstance(error, ProviderFailed):
        return error.reached
    if isinstance(error, AllProvidersFailed):  # a request with such a key is tried again though it may be at work
        return _IDEMPOTENT in exchange.forwarded
    return not isinstance(error, Unavailable)


def dollars(micros: int) -> str:
    """An amount as people read it: $0.12, and as many digits more as it takes."""
    whole, rest = divmod(micros, 1_000_000)
    digits = f"{rest:06}".rstrip("0").ljust(2, "0")
    return f"${whole:,}.{digits}"


def _unpriced(model: str) -> PriceUnknown:
    command = shlex.join(["membrain", "config", "set", f"prices.{model}", "INPUT,OUTPUT"])
    return PriceUnknown(
        f"Nobody knows what {model} costs, so it cannot be asked under a budget.",
        param="model",
        hint=f"Say what it costs, in dollars for a million tokens: {command}",
    )


def _exceeded(short: Shortfall, needed: int) -> BudgetExceeded:
    kind, _, rest = short.owner.partition(":")
    names = [rest, rest.partition(":")[2]]
    owner, (when, anew) = _OWNERS[kind].format(*names), _period(short.period)
    return BudgetExceeded(
        f"{owner} {when} has {dollars(short.left)} left of {dollars(short.limit)}, and this might cost"
        f" {dollars(needed)}.",
        hint=f"{anew}{USAGE}",
    )


def _period(period: str) -> tuple[str, str]:
    """A period for people, and when there is a new one."""
    if period == TOTAL:
        return "in all", ""
    if len(period) == len("2026-11"):
        return "for this month", "It starts anew next month (UTC). "
    return "for today", "It starts anew tomorrow (UTC). "


def _ran_over() -> BudgetExceeded:
    return BudgetExceeded("The answer went on for longer than the budget had held money for.", hint=USAGE)
