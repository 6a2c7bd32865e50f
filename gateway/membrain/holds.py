"""What waits for a person: requests that the policy `confirm` parked, until somebody decides or it is too late.

It keeps holds in memory only, no more than `MOST_HELD`, and what is shown of the text around a finding is gone the
moment its hold is. It finds nothing, masks nothing and speaks no wire. For the event loop only.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from math import inf
from typing import TypeAlias

from membrain.errors import BadRequest, Forbidden, NotFound, Refused, ShuttingDown

MOST_HELD = 100
"""Requests that wait at once; a person does not read more."""

MOST_REMEMBERED = 500
"""Holds that are over and whose ids are still known, so that deciding twice is told from deciding nothing."""

MOST_AROUND = 20
"""Characters of a `Context` before and after the value."""

MOST_TAIL = 2
"""Characters of the value itself that a `Context` shows."""

LEAST_PREFIX = 4
"""Characters of an id that name a hold."""

SHORTEST_PATIENCE = 120.0
"""Seconds after which the least patient client that we know gives up on silence, and asks again."""

_MARGIN = 10.0
"""Seconds that a refusal should be ahead of that."""


class Verdict(StrEnum):
    """How a hold ended."""

    APPROVED = "approved"
    """A person lets it go on."""
    DENIED = "denied"
    """A person said no."""
    DENIED_LATE = "denied_late"
    """Nobody decided in time, which is a no."""
    LEFT = "left"
    """Its caller hung up. Shown only: nobody is there to be told."""


class HoldNotFound(NotFound):
    """No request waits under that id."""

    code = "hold_not_found"


class HoldAmbiguous(BadRequest):
    """Several holds begin like that."""

    status = 409
    code = "hold_ambiguous"


class HoldDecided(BadRequest):
    """That hold is over."""

    status = 409
    code = "hold_decided"


class TooManyHolds(Refused):
    """No room for another request that waits, so it goes nowhere."""

    status = 503
    code = "too_many_holds"
    type = "api_error"


class HoldDenied(Forbidden):
    """A person said no, or nobody said yes in time."""

    code = "hold_denied"


@dataclass(frozen=True, slots=True, repr=False)
class Context:
    """One finding as a person is shown it: the text around it, all other findings masked, and its last characters.

    Longer pieces than `MOST_AROUND` and `MOST_TAIL` raise `ValueError`.
    """

    place: str
    """Where in the request, like `messages[0].content`."""
    label: str
    before: str
    after: str
    tail: str

    def __post_init__(self) -> None:
        if max(len(self.before), len(self.after)) > MOST_AROUND or len(self.tail) > MOST_TAIL:
            raise ValueError(f"a context shows {MOST_AROUND} characters around a value and {MOST_TAIL} of it")

    def __repr__(self) -> str:
        return f"Context({self.place!r}, {self.label})"


@dataclass(slots=True, eq=False, repr=False)
class Hold:
    """One request that waits. `id` is its exchange's; `labels` counts what was found; `model` is what was asked for."""

    id: str
    caller: str
    """The client key's name, for people."""
    project: str
    labels: Mapping[str, int]
    model: str
    places: tuple[str, ...]
    contexts: tuple[Context, ...] = ()
    """Empty once the hold is over."""
    since: float = field(default_factory=time.monotonic)
    """Seconds of the monotonic clock."""

    def __repr__(self) -> str:
        return f"Hold({self.id}, {dict(self.labels)})"


@dataclass(frozen=True, slots=True)
class Held:
    """A request begins to wait. For those who watch: no values, no text around them."""

    id: str
    caller: str
    project: str
    labels: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Settled:
    """A request waits no longer."""

    id: str
    decision: Verdict
    always: bool = False
    """Its project need not be asked again for these labels while this gateway runs."""


Change: TypeAlias = Held | Settled


class Holds:
    """The requests that wait, and what was approved for good.

    `on_change` is called with a `Held` as a hold begins and a `Settled` as it ends, in order, and must neither wait
    nor raise. `monotonic` gives the seconds that `Hold.since` is counted in.
    """

    def __init__(
        self, on_change: Callable[[Change], None] | None = None, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell = on_change or _nobody
        self._monotonic = monotonic
        self._waiting: dict[str, tuple[Hold, asyncio.Future[Verdict]]] = {}
        self._over: deque[Settled] = deque(maxlen=MOST_REMEMBERED)
        self._approved: set[tuple[str, str]] = set()
        self._closed = False

    # What the corridor asks.

    async def wait(self, hold: Hold, seconds: float) -> Verdict:
        """Park until somebody decides on *hold*; `DENIED_LATE` after *seconds*.

        Cancelling removes the hold at once. `TooManyHolds` if there is no room, `ShuttingDown` as the gateway closes.
        """
        if self._closed:
            raise _closing()
        if len(self._waiting) >= MOST_HELD:
            raise TooManyHolds("Too many requests wait for a decision.", hint="Decide on some: membrain pii holds")
        if hold.id in self._waiting:
            raise ValueError("an exchange is held once at a time")
        loop = asyncio.get_running_loop()
        decided: asyncio.Future[Verdict] = loop.create_future()
        self._waiting[hold.id] = hold, decided
        timer = loop.call_later(seconds, self._end, Settled(hold.id, Verdict.DENIED_LATE))
        try:
            self._tell(Held(hold.id, hold.caller, hold.project, dict(hold.labels)))
            return await decided
        finally:
            timer.cancel()
            self._end(Settled(hold.id, Verdict.LEFT))  # nothing, unless we were cancelled

    def is_approved(self, project: str, label: str) -> bool:
        """Whether a person approved *label* for *project* once for all, since this gateway started."""
        return (project, label) in self._approved

    # What a person asks.

    def all(self) -> list[Hold]:
        """Everything that waits, oldest first."""
        return [hold for hold, _ in self._waiting.values()]

    def get(self, which: str) -> Hold:
        """The hold whose id is *which* or, given `LEAST_PREFIX` characters, begins so.

        `HoldNotFound`, `HoldDecided` if it is over, `HoldAmbiguous` if several begin so, be they over or not.
        """
        over = {settled.id: settled for settled in self._over}
        id = _the_one(which, chain(self._waiting, over))
        if id not in self._waiting:
            raise HoldDecided(f"This request waits no longer: {over[id].decision.replace('_', ' ')}.")
        return self._waiting[id][0]

    def seconds(self, hold: Hold) -> float:
        """How long *hold* has waited."""
        return self._monotonic() - hold.since

    def decide(self, which: str, *, approve: bool, always: bool = False) -> Settled:
        """Let a hold go on, or not; *which* and errors as for `get`.

        With *always* its project is not asked again for any of its labels while this gateway runs. `BadRequest` if
        that goes with a no: what is never to leave is a matter of policy.
        """
        if always and not approve:
            raise BadRequest("`always` goes with an approval only.", hint="membrain config set pii", param="always")
        hold = self.get(which)
        if always:
            self._approved.update((hold.project, label) for label in hold.labels)
        settled = Settled(hold.id, Verdict.APPROVED if approve else Verdict.DENIED, always)
        self._end(settled)
        return settled

    def close(self) -> None:
        """Refuse all that waits with `ShuttingDown`, and all that would."""
        self._closed = True
        for hold, decided in list(self._waiting.values()):
            if not decided.done():
                decided.set_exception(_closing())
            self._end(Settled(hold.id, Verdict.LEFT))

    # Inside.

    def _end(self, settled: Settled) -> None:
        """Forget a hold and wake its exchange, unless that happened before. First the books, then those who listen."""
        hold, decided = self._waiting.pop(settled.id, (None, None))
        if hold is None or decided is None:
            return
        hold.contexts = ()
        self._over.append(settled)
        if not decided.done():
            decided.set_result(settled.decision)
        self._tell(settled)


def refusal(verdict: Verdict) -> HoldDenied:
    """What the caller is told after *verdict*, which is a no."""
    if verdict is Verdict.DENIED:
        return HoldDenied("A person at the gateway decided not to send this request.")
    return HoldDenied("Nobody approved this request in time, so it was not sent.", hint="membrain pii holds")


def patience(most: float, *, stream: bool, headers: Mapping[str, str]) -> float:
    """Seconds that a request may be held, at most *most*, so that its caller still hears what became of it.

    A stream is kept alive (`api/park.py`). Who asked for a whole answer hears nothing meanwhile, and once their
    patience ends they ask again, which would be another hold for the same person; the SDKs for Python say in
    *headers* how patient they are.
    """
    if stream:
        return most
    try:
        told = float(headers.get("x-stainless-read-timeout", ""))
    except ValueError:
        told = 0.0
    quiet = told if 0.0 < told < inf else SHORTEST_PATIENCE
    return min(most, quiet - min(_MARGIN, quiet / 2))


def _the_one(which: str, ids: Iterable[str]) -> str:
    """The id of *ids* that *which* names."""
    found = {id for id in ids if id.startswith(which)}
    if which in found:
        return which
    if len(found) > 1 and len(which) >= LEAST_PREFIX:
        raise HoldAmbiguous("Several holds begin like that.", hint="Give more characters of the id.")
    if not found or len(which) < LEAST_PREFIX:
        raise HoldNotFound("No such request waits for a decision.", hint="membrain pii holds")
    return found.pop()


def _closing() -> ShuttingDown:
    return ShuttingDown("The gateway is shutting down.", headers={"retry-after": "2"})


def _nobody(change: Change) -> None:
    """Nobody listens."""
