"""Which providers are let alone for a while: those whose calls keep failing, and those that asked for a pause.

A `Breaker` watches one provider. It is **closed** while things go well; it opens when at least half of at least 20
calls in the last 30 seconds failed. **Open**, it refuses for a cool-down: 5 seconds at first, twice as long after each
probe that failed, a minute at most. Then one call is let through as a **probe**, one at a time: its success closes the
breaker and forgets what was, its failure opens it again.

Every call that `begin` let through ends in exactly one of `succeeded`, `failed`, `pause` and `cancelled`; `ended`
chooses among them for an error. When a stream's first chunk is here, the call has succeeded.

Nothing here waits, sends or asks the time. `now` is in seconds of a clock that never goes back, as `time.monotonic`.
Every question takes constant time, however much came before. Not safe for threads: only the event loop calls it.
"""

from __future__ import annotations

from typing import Literal

from membrain.errors import ProviderFailed

WINDOW_SECONDS = 30
LEAST_CALLS = 20
"""Fewer calls than these in the window prove nothing."""
FIRST_REST = 5.0
LONGEST_REST = 60.0
"""Seconds: the first cool-down, and the longest, whatever a provider asks for."""
PROBE_SECONDS = 60.0
"""A probe that reported nothing for so long no longer keeps the next one back: a slow answer must not shut a provider
that is well, nor a report that was lost shut it for good."""

NOT_BROKEN_STATUS = frozenset({402, 408, 409, 429})
NOT_BROKEN_CODE = frozenset({"provider_key_refused"})
"""Failures that are about one request, a rate, a bill or a key, and not about whether the provider works. A key that
was refused does not open a breaker: people must go on reading that, and not that the provider rests."""

State = Literal["closed", "open", "probing"]


class Window:
    """How many there were in the last so many seconds, and how many of them were marked. One bucket for each second.

    The current second and those before it count, so the window is up to a second shorter than it says.
    """

    __slots__ = ("_all", "_buckets", "_marked", "_second", "all", "marked")

    def __init__(self, seconds: int) -> None:
        self._buckets = seconds
        self._all = [0] * seconds
        self._marked = [0] * seconds
        self._second: int | None = None
        self.all = 0
        self.marked = 0

    def move(self, now: float) -> None:
        """Forget what is no longer in the window at *now*."""
        second = int(now // 1)
        if self._second is None or self._second >= second:
            self._second = second if self._second is None else self._second
            return
        for each in range(max(self._second, second - self._buckets) + 1, second + 1):
            slot = each % self._buckets
            self.all -= self._all[slot]
            self.marked -= self._marked[slot]
            self._all[slot] = self._marked[slot] = 0
        self._second = second

    def add(self, now: float, *, all: int = 0, marked: int = 0) -> None:
        """Count *all* more of them, and *marked* more marks."""
        self.move(now)
        assert self._second is not None
        slot = self._second % self._buckets
        self._all[slot] += all
        self._marked[slot] += marked
        self.all += all
        self.marked += marked


class Breaker:
    """How one provider has been, and whether it may be called.

    The reports take `began`, the `now` that was given to `begin`. With it, a call from before the last probe is passed
    over, then and after the breaker closed: it says nothing about what is now. Without it, it is taken for the probe.
    """

    __slots__ = ("_is_open", "_paused_until", "_probe", "_rest", "_since", "_until", "_window")

    def __init__(self) -> None:
        self._window = Window(WINDOW_SECONDS)
        self._is_open = False
        self._since = float("-inf")  # when the last probe began: calls from before it say nothing any more
        self._rest = FIRST_REST
        self._until = float("-inf")
        self._probe: float | None = None  # when the probe that is under way was let through
        self._paused_until = float("-inf")

    def state(self, now: float) -> State:
        """What it is at *now*. A pause is no state: a provider that asks for one is not broken."""
        if not self._is_open:
            return "closed"
        return "probing" if self._is_probed(now) else "open"

    def may_call(self, now: float) -> bool:
        """Whether `begin` would let a call through. Changes nothing."""
        if now < self._paused_until:
            return False
        return not self._is_open or (now >= self._until and not self._is_probed(now))

    def reopens_in(self, now: float) -> float:
        """Seconds until it may be called, if nothing else happens; 0.0 if nothing but a probe's end is waited for."""
        until = max(self._until, self._paused_until) if self._is_open else self._paused_until
        return max(0.0, until - now)

    def begin(self, now: float) -> bool:
        """Let a call through, as the probe if it is one. False refuses it: then there is nothing to report."""
        if not self.may_call(now):
            return False
        if self._is_open:
            self._probe = self._since = now
        return True

    def succeeded(self, now: float, *, began: float | None = None) -> None:
        """The provider answered."""
        if self._is_late(began):
            return
        if not self._is_open:
            self._window.add(now, all=1)
        elif self._probe is not None:
            self._close()

    def failed(self, now: float, retry_after: float | None = None, *, began: float | None = None) -> None:
        """The provider failed. If that opens the breaker, it rests for *retry_after* seconds where that is longer."""
        if self._is_late(began):
            return
        if self._is_open:
            if self._probe is not None:
                self._open(now, min(self._rest * 2, LONGEST_REST), retry_after)
            return
        self._window.add(now, all=1, marked=1)
        # Only a failure opens it. Where half fail and old successes leave the window, a success is no bad news.
        if self._window.all >= LEAST_CALLS and self._window.marked * 2 >= self._window.all:
            self._open(now, FIRST_REST, retry_after)

    def pause(self, now: float, seconds: float, *, began: float | None = None) -> None:
        """The provider said: not for *seconds* from now. It is let alone so long, a minute at most, but not broken."""
        self._paused_until = max(self._paused_until, now + min(max(seconds, 0.0), LONGEST_REST))
        self.cancelled(now, began=began)

    def cancelled(self, now: float, *, began: float | None = None) -> None:  # noqa: ARG002  # all reports have one shape
        """The call says nothing about the provider: the caller hung up. A probe is given back for another call."""
        if not self._is_late(began):
            self._probe = None

    def ended(
        self, now: float, error: ProviderFailed, retry_after: float | None = None, *, began: float | None = None
    ) -> None:
        """The call ended with *error*: report what that says about the provider.

        One that refuses a request for what is in it is well. One that says 429 and how long is let alone so long.
        """
        if not error.passing:
            self.succeeded(now, began=began)
        elif error.status == 429 and retry_after is not None:
            self.pause(now, retry_after, began=began)
        elif error.status in NOT_BROKEN_STATUS or error.code in NOT_BROKEN_CODE:
            self.cancelled(now, began=began)
        else:
            self.failed(now, retry_after, began=began)

    def _is_probed(self, now: float) -> bool:
        return self._probe is not None and now < self._probe + PROBE_SECONDS

    def _is_late(self, began: float | None) -> bool:
        return began is not None and began < self._since

    def _open(self, now: float, rest: float, retry_after: float | None) -> None:
        self._is_open = True
        self._rest = rest
        self._until = now + max(rest, min(retry_after or 0.0, LONGEST_REST))
        self._probe = None

    def _close(self) -> None:
        self._is_open = False
        self._probe = None
        self._window = Window(WINDOW_SECONDS)


class Breakers:
    """A breaker for each provider, made when it is first called. Names are those of registered providers: few."""

    def __init__(self) -> None:
        self._breakers: dict[str, Breaker] = {}

    def of(self, provider: str) -> Breaker:
        """The breaker of *provider*."""
        breaker = self._breakers.get(provider)
        if breaker is None:
            breaker = self._breakers[provider] = Breaker()
        return breaker

    def may_call(self, provider: str, now: float) -> bool:
        """Whether *provider* may be called; one that never was may. Changes nothing."""
        breaker = self._breakers.get(provider)
        return breaker is None or breaker.may_call(now)

    def resting(self, now: float) -> dict[str, float]:
        """The providers that may not be called, each with the seconds of `reopens_in`."""
        return {name: each.reopens_in(now) for name, each in self._breakers.items() if not each.may_call(now)}

    def forget(self, provider: str) -> None:
        """*provider* has a new key or address: what its old one did no longer counts."""
        self._breakers.pop(provider, None)
