"""Rate limit: is there room for one more in this minute?

In: the exchange is counted against every limit that concerns its caller, all of them or none, and the answer's headers
    say how much is left. If one has no room the exchange is refused with 429.
Out: the tokens that were estimated become those that were used. What never reached a model gives its tokens back; the
    request stays counted.

Limits are counted for the verified key, its project and the machine; a caller's own label changes nothing. An exchange
without a limit waits for nothing. A request that is larger than the whole of a limit will never fit: it is refused
without `Retry-After`, so that no client tries again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import ClassVar

from membrain.dialects.base import Said
from membrain.errors import GuardFailed, ProviderFailed, RateLimited, Unavailable
from membrain.exchange import Exchange, Stage
from membrain.records import Caller, Outcome, Rate
from membrain.stores.base import Counters, Level, Taken, Want

Limits = Callable[[Caller], Sequence[tuple[str, Rate]]]
"""The limits that concern a caller: whose each one is (`machine`, `project:NAME`, `key:ID`), and what it allows."""

REQUESTS, TOKENS = "requests", "tokens"

BYTES_PER_TOKEN = 4
"""For the estimate at the door."""

ATTACHED_TOKENS = 1500
"""What a picture or another attachment is taken for: its bytes have nothing to do with its tokens."""

_ATTACHED = re.compile(rb'[",][A-Za-z0-9+/_-]{4096,}')
"""Data in base64: no text goes on for so long without a space. It begins where it can be sought in linear time."""

_LONGEST = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""Where a request says how long its answer may be."""

_WHOSE = {"machine": "this machine", "project": "the project", "key": "the client key"}
_NO_RETRY = {"x-should-retry": "false"}


class RateLimit(Stage):
    """Lets so many pass in any 60 seconds, and no more."""

    name: ClassVar[str] = "rate_limit"

    def __init__(self, counters: Counters, limits: Limits) -> None:
        """*limits* is asked for each exchange, so what it says may change at any time."""
        self._counters = counters
        self._limits = limits
        self._taken: dict[str, asyncio.Future[Taken]] = {}

    async def enter(self, exchange: Exchange) -> None:
        limits = self._limits(exchange.caller)
        wants = wants_of(limits, exchange.said) if limits else ()
        if not wants:
            return
        future = self._taken[exchange.id] = self._counters.take(wants)
        taken = await asyncio.shield(future)  # a caller who hangs up now is counted all the same, and known in `leave`
        exchange.headers.update(headers_of(taken))
        if not taken.admitted:
            raise refusal_of(taken, exchange.caller)

    async def leave(self, exchange: Exchange) -> None:
        future = self._taken.pop(exchange.id, None)
        if future is None:
            return
        try:
            taken = await future
        except GuardFailed:
            return  # nothing was counted; whoever waited was told in `enter`
        estimate = next((level.want.amount for level in taken.levels if level.want.kind == TOKENS), None)
        if estimate is not None:
            self._counters.settle(taken, TOKENS, used_by(exchange, estimate) - estimate)


def wants_of(limits: Iterable[tuple[str, Rate]], said: Said) -> tuple[Want, ...]:
    """What an exchange asks of each of *limits*: one request, and the tokens that it may come to."""
    tokens: int | None = None
    wants: list[Want] = []
    for owner, rate in limits:
        if rate.requests is not None:
            wants.append(Want(owner, REQUESTS, 1, rate.requests))
        if rate.tokens is not None:
            tokens = estimate_of(said) if tokens is None else tokens
            wants.append(Want(owner, TOKENS, tokens, rate.tokens))
    return tuple(wants)


def estimate_of(said: Said) -> int:
    """Tokens of the question, by its length, and of the longest answer that it allows, if it says so."""
    sizes = [found.end() - found.start() for found in _ATTACHED.finditer(said.body)]
    asked = (len(said.body) - sum(sizes)) // BYTES_PER_TOKEN + len(sizes) * ATTACHED_TOKENS
    declared = [value for name in _LONGEST if type(value := said.data.get(name)) is int and value > 0]
    return max(1, asked) + max(declared, default=0)


def used_by(exchange: Exchange, estimate: int) -> int:
    """Tokens that *exchange* came to when it is over; the *estimate* stays where nobody can know."""
    if exchange.cached or _nothing_was_asked(exchange):
        return 0
    tokens = exchange.tokens
    return tokens.prompt + tokens.completion if tokens is not None else estimate


def _nothing_was_asked(exchange: Exchange) -> bool:
    """Whether surely no model has worked on it."""
    error, tries = exchange.error, len(exchange.attempts)
    if isinstance(error, ProviderFailed) and not error.reached:
        return tries <= 1
    return not tries and (exchange.outcome is Outcome.REFUSED or isinstance(error, Unavailable))


# What the caller is told


def headers_of(taken: Taken) -> dict[str, str]:
    """The headers that say how much is left, of the tightest limit of each kind.

    `x-ratelimit-limit`, `-remaining` and `-reset` are those of requests, or of tokens where only these are limited.
    `-reset` is Unix time in whole seconds: with nothing left, when the next one surely fits if nobody else comes;
    otherwise, when the whole limit is there again. `x-ratelimit-*-requests` and `-tokens` are as OpenAI has them: their
    reset is how long it takes until the whole limit is there again.
    """
    headers: dict[str, str] = {}
    for kind in (TOKENS, REQUESTS):
        levels = [level for level in taken.levels if level.want.kind == kind]
        if levels:
            tightest = min(levels, key=lambda level: (level.left, -_reset(level)))
            headers |= _named(tightest, str(_reset(tightest)))
            headers |= _named(tightest, span(ceil(max(0.0, tightest.empty_at - taken.at))), f"-{kind}")
    return headers


def _named(level: Level, reset: str, suffix: str = "") -> dict[str, str]:
    values = {"limit": str(level.want.limit), "remaining": str(level.left), "reset": reset}
    return {f"x-ratelimit-{name}{suffix}": value for name, value in values.items()}


def _reset(level: Level) -> int:
    return level.empty_at if level.left or level.room_at is None else level.room_at


def span(seconds: int) -> str:
    """A length of time as OpenAI writes it: `0s`, `59s`, `1m1s`."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def refusal_of(taken: Taken, caller: Caller) -> RateLimited:
    """Why there is no room, whose limit that is, and when there will be: of all that refuse, the one that lasts."""
    full = [level for level in taken.levels if not level.fitted]
    never = [level for level in full if level.room_at is None]
    if never:
        return _too_large(never[0], caller)
    longest = max(full, key=lambda level: level.room_at or 0)
    seconds = max(1, ceil((longest.room_at or 0) - taken.at))
    why = _FULL[longest.want.kind].format(limit=_limit(longest.want, caller), want=longest.want, left=longest.left)
    return RateLimited(
        f"{why} There is room in {seconds} second{'s' * (seconds > 1)}.", headers={"retry-after": str(seconds)}
    )


_FULL = {
    REQUESTS: "{limit} is reached.",
    TOKENS: "{limit} has {left} left, and this request may come to {want.amount}.",
}
"""Why there is no room just now, by kind."""


def _too_large(level: Level, caller: Caller) -> RateLimited:
    want = level.want
    if want.kind == REQUESTS:
        return RateLimited(f"{_limit(want, caller)} lets nothing pass.", headers=_NO_RETRY)
    return RateLimited(
        f"{_limit(want, caller)} can never hold this request, which may come to {want.amount}.",
        hint="Ask for less at once, or with a smaller max_tokens.",
        headers=_NO_RETRY,
    )


def _limit(want: Want, caller: Caller) -> str:
    """The limit that *want* is about, as the begin of a sentence."""
    kind, _, name = want.owner.partition(":")
    whose = " ".join(filter(None, (_WHOSE.get(kind, kind), caller.name if kind == "key" else name)))
    what = want.kind if want.limit != 1 else want.kind.removesuffix("s")
    return f"The limit of {want.limit} {what} a minute for {whose}"
