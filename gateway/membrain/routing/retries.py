"""What may be tried again after a failure, how often and when. Decides only: nothing is sent here, and nobody waits.

**What** (`again`): a table, first row wins. What it guards is the user's money: nothing is repeated that may already
have been billed.

- A refusal in the provider's own words (429, 5xx, 529) is not billed. Neither is a connection that was never made. Both
  may be tried again: at the next candidate, or at the same provider after a wait.
- A connection that broke, went silent or sent nonsense after the request was on its way (`reached`) may have been
  billed: a reset before the first chunk looks the same whether the model had begun or not. By default it is *not*
  repeated, neither there nor at another provider, where it would cost a second time. The caller gets a 502 or 504 and
  can ask again, knowing what may have happened.
- With `Idempotency-Key` the caller gave their word that a repetition is wanted, so it is repeated, also elsewhere. No
  model API that we know promises to charge such a request once, so the same provider is no safer than another one.
- What runs on this machine charges nothing, so there it does not matter whether the model had begun.

All of that holds before the first chunk. Once content was handed over nothing is repeated, whatever this table says:
that is for whoever hands it over.

**How often**: `MAX_ATTEMPTS` for one answer, and a `RetryBudget` for each provider.

**When**: `wait_before` obeys the provider's `Retry-After`, else it is `backoff`. Chance is passed in, and so is the
time, in seconds of a clock that never goes back. Not safe for threads: only the event loop calls it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

from membrain.errors import ProviderFailed
from membrain.routing.breaker import Window

MAX_ATTEMPTS = 3
"""How often providers are asked for one answer, all of them together."""

FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
"""Seconds: what the first wait is below, and the longest that anybody is kept waiting here before another try."""

LONGEST_ASKED = 60.0
"""The longest `Retry-After` that is taken at its word, in seconds. A longer one is cut to this and not thrown away: the
provider is left alone for a minute, and then says again how long."""

BUDGET_SECONDS = 60
BUDGET_SHARE = 10
"""One repetition for so many requests."""
BUDGET_FLOOR = 3
"""Repetitions that are granted however few requests there were."""


class Again(Enum):
    """Where a failed request may be tried again."""

    NEVER = "never"
    ELSEWHERE = "elsewhere"
    """At another provider only."""
    ANYWHERE = "anywhere"
    """At another provider, or at the same one after a wait."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure with what must be known about its request. What is not known is taken to cost money."""

    error: ProviderFailed
    keyed: bool = False
    """The caller sent `Idempotency-Key`."""
    free: bool = False
    """Whoever failed runs on this machine and charges nothing."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Failures that *holds* is true for may be tried *again* there."""

    reason: str
    holds: Callable[[Failure], bool]
    again: Again


POINTLESS = frozenset({"insufficient_quota", "billing_hard_limit_reached", "provider_key_refused"})
"""Codes of failures that last until a person does something about that provider."""


def _is_pointless(failure: Failure) -> bool:
    said = {name.lower(): value for name, value in failure.error.headers.items()}
    return (
        failure.error.status == 402
        or failure.error.code in POINTLESS
        or said.get("x-should-retry", "").strip().lower() == "false"
    )


RULES: tuple[Rule, ...] = (
    Rule("the request itself was refused", lambda failure: not failure.error.passing, Again.NEVER),
    Rule(
        "it may have been billed",
        lambda failure: failure.error.reached and not (failure.keyed or failure.free),
        Again.NEVER,
    ),
    Rule("this provider will say the same again", _is_pointless, Again.ELSEWHERE),
    Rule("it passes", lambda _: True, Again.ANYWHERE),
)
"""First match wins. The last row catches every other failure."""


def again(error: ProviderFailed, *, keyed: bool = False, free: bool = False) -> Again:
    """Where the request that failed with *error* may be tried again, if nothing of an answer was handed over yet."""
    failure = Failure(error, keyed, free)
    return next(rule.again for rule in RULES if rule.holds(failure))


def is_repeatable(error: ProviderFailed, *, keyed: bool = False, free: bool = False) -> bool:
    """Whether the request that failed with *error* may be tried again at all."""
    return again(error, keyed=keyed, free=free) is not Again.NEVER


class RetryBudget:
    """How often requests to one provider may be repeated: a tenth of the requests, or three if that is more.

    It holds twice: over the last 60 seconds, and since the provider last answered. The first keeps a provider that
    limps from being stormed. The second keeps the floor from growing back by mere waiting while a provider is dead, so
    that 1,000 requests to it make at most 1,100 attempts, however they are spread. With the first answer the floor is
    there again, so that whoever asks once in a while has a second try.

    The first call of an answer to a provider is a `request`, also when another provider failed before: falling back
    costs this provider nothing extra, and must not end with the budget of the one that failed. Only asking the same
    provider again needs `take`.
    """

    __slots__ = ("_repeated", "_requests", "_window")

    def __init__(self) -> None:
        self._window = Window(BUDGET_SECONDS)
        self._requests = 0  # both since the last answer
        self._repeated = 0

    def request(self, now: float) -> None:
        """A request is about to be sent for the first time."""
        self._window.add(now, all=1)
        self._requests += 1

    def take(self, now: float) -> bool:
        """Whether one may be sent again. True counts it as sent."""
        self._window.move(now)
        if not (_has_room(self._window.all, self._window.marked) and _has_room(self._requests, self._repeated)):
            return False
        self._window.add(now, marked=1)
        self._repeated += 1
        return True

    def succeeded(self) -> None:
        """The provider answered, so it is not dead."""
        self._requests = self._repeated = 0


def _has_room(requests: int, repeated: int) -> bool:
    return repeated < max(BUDGET_FLOOR, requests // BUDGET_SHARE)


def backoff(attempt: int, *, random: Callable[[], float]) -> float:
    """Seconds to wait after attempt number *attempt* failed (the first is 1): full jitter.

    Anything from nothing up to half a second, a second, two and so on to eight, by *random*, which gives 0 to 1.
    """
    return random() * min(FIRST_WAIT * 2.0 ** min(attempt - 1, 10), LONGEST_WAIT)


def wait_before(attempt: int, asked: float | None, *, random: Callable[[], float]) -> float | None:
    """Seconds to wait before asking the same provider again; None if that is too long to keep anybody waiting.

    *asked* is what `retry_after` found: never less than that is waited, and up to half a second more by chance, so that
    many callers do not come back at once. None means to hand on the failure with its `Retry-After`: the caller knows
    better what to do meanwhile.
    """
    if asked is None:
        return backoff(attempt, random=random)
    return asked + random() * FIRST_WAIT if asked <= LONGEST_WAIT else None


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that *headers* ask us to wait, from 0 to `LONGEST_ASKED`; None if they do not ask, or make no sense.

    `retry-after-ms` goes first, then `Retry-After` as seconds, with a fraction or without, or as an HTTP date. One that
    makes no sense is passed over, for the next of them. Names in any case. *now* is the wall clock's, with a zone.
    """
    said = {name.lower(): value.strip() for name, value in headers.items()}
    milliseconds = _number(said.get("retry-after-ms", ""))
    if milliseconds is not None:
        return min(milliseconds / 1000, LONGEST_ASKED)
    text = said.get("retry-after", "")
    seconds = _number(text)
    if seconds is None:
        seconds = _until(text, now)
    return None if seconds is None else min(seconds, LONGEST_ASKED)


_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_LONGEST_DATE = 64
"""Signs. What is longer is no date, and need not be read as one."""


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _until(text: str, now: datetime) -> float | None:
    if not text or len(text) > _LONGEST_DATE:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):  # whatever the reader of dates raises at nonsense
        return None
    if moment.tzinfo is None:  # "-0000" is read as a time without a zone, and means UTC
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
