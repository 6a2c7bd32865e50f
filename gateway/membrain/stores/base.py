"""What every store can do, as small protocols. No store is named here; `open.py` knows which one answers.

Nothing in this module imports asyncio: the command line reads the audit with the gateway down, and that import
would cost it more than the reading.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeAlias

from membrain.records import Allowance, AuditRecord, ClientKey, Record, Tokens

if TYPE_CHECKING:
    from asyncio import Future

ANY = "any"
"""As `AuditQuery.pii`: whatever was found, so long as something was."""

MOST = 10_000
"""The most records that one question may ask for."""

Records: TypeAlias = list[AuditRecord]
Keys: TypeAlias = list[ClientKey]


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which exchanges, newest first. All that is given must hold; None asks nothing.

    Newest means written down last, which is the order of arrival but for exchanges that came at the same time.
    """

    limit: int = 50
    """1 to 10,000."""
    before: str | None = None
    """An exchange's id, or the start of it: only older ones, to turn the page."""
    after: str | None = None
    """Likewise: only newer ones, the nearest `limit` of them, to follow along without a gap."""
    since: datetime | None = None
    """With a time zone; the moment itself included."""
    until: datetime | None = None
    """With a time zone; the moment itself left out."""
    model: str | None = None
    """As asked for or as it answered; `*` is any text, `?` one sign, letters in either case."""
    provider: str | None = None
    caller: str | None = None
    project: str | None = None
    outcome: str | None = None
    pii: str | None = None
    """A label that was found, or `ANY`."""
    cached: bool | None = None
    min_cost_micros: int | None = None
    """Micro-dollars, itself included. An unknown cost is not at least anything."""
    slower_ms: float | None = None
    """Milliseconds, itself left out."""
    key_id: str | None = None
    user: str | None = None
    """The caller's own label."""
    id: str | None = None
    """The whole id of one exchange."""


NEWEST = AuditQuery()
"""The question of who asks nothing in particular."""


@dataclass(frozen=True, slots=True)
class Tally(Record):
    """What one provider's exchanges come to. `provider` is empty for those that reached none."""

    provider: str
    exchanges: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_micros: int = 0
    """Micro-dollars, of the exchanges whose cost is known."""
    unpriced: int = 0
    """Answered exchanges whose cost is not known."""
    masked: int = 0
    """Findings, not exchanges."""
    cached: int = 0
    slowest_ms: float = 0
    """Milliseconds, of the answered exchanges."""


@dataclass(frozen=True, slots=True)
class Totals(Record):
    """What a stretch of time comes to; the fields are those of `Tally`, over all providers."""

    exchanges: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_micros: int = 0
    unpriced: int = 0
    masked: int = 0
    cached: int = 0
    slowest_ms: float = 0
    by_provider: tuple[Tally, ...] = ()
    """Most exchanges first."""


class AuditReader(Protocol):
    """The audit, to look at, without a gateway. May be used from any thread."""

    def list(self, query: AuditQuery = NEWEST) -> Records:
        """The exchanges asked for, newest first. BadRequest when the question makes no sense or takes too long."""

    def get(self, id_prefix: str) -> AuditRecord:
        """The exchange whose id starts so. NotFound when there is none, BadRequest when there are several."""

    def totals(self, since: datetime | None = None, key_id: str | None = None) -> Totals:
        """What all exchanges that arrived since then come to; all there are without a moment. Of one key, if said."""


class AuditLog(Protocol):
    """Who asked what, and where it went: two writes for each exchange, and the questions about them.

    A future that `intend` or `conclude` gives resolves once its row is committed. Otherwise it fails with
    GuardFailed, whose text says why and never what was to be written. Call both on the event loop.
    """

    @property
    def fault(self) -> str | None:
        """Why the last write failed, as a sentence; None while all is well."""

    def intend(self, record: AuditRecord) -> Future[None]:
        """Put an exchange on record before anything of it leaves. Handed over at once, awaited or not."""

    def conclude(self, record: AuditRecord, *, sent: bytes | None = None, keep: bool = False) -> Future[None]:
        """Put its outcome on record: from then on it is what is shown, whether or not there was an intent.

        Of *sent*, what was handed to the provider, the record gets the SHA-256; if told to *keep* it, it is kept for
        as many days as the store was opened with.
        """

    async def list(self, query: AuditQuery = NEWEST) -> Records:
        """As `AuditReader.list`."""

    async def get(self, id_prefix: str) -> AuditRecord:
        """As `AuditReader.get`."""

    async def totals(self, since: datetime | None = None, key_id: str | None = None) -> Totals:
        """As `AuditReader.totals`."""

    async def interrupt(self, instance: str) -> int:
        """Mark what other instances than this one left open as interrupted. How many there were."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """A client key gets another string: what recognises it from now on, and for how long the old one holds."""

    id: str
    """Of the key."""
    old: str
    """The digest that it has; another one means that somebody was faster."""
    new: str
    tail: str
    """The last four signs of the new string."""
    at: str
    """RFC 3339, UTC."""
    until: str | None = None
    """Likewise: as long as that the old string holds beside the new one. None ends it, and those before it, at once."""


@dataclass(frozen=True, slots=True)
class FormerKey:
    """A string of a client key that was replaced, and still holds for a while."""

    digest: str
    id: str
    """Of the key."""
    until: str
    """RFC 3339, UTC."""


class ClientKeys(Protocol):
    """The client keys that were issued: their digests, never the keys."""

    async def all(self) -> Keys:
        """Every key, the revoked ones too, oldest first."""

    async def add(self, key: ClientKey) -> None:
        """Keep a new key. BadRequest when its id or digest is there already."""

    async def revoke(self, id: str, at: str) -> None:
        """Mark a key as revoked at this moment (RFC 3339, UTC). The first time stays. NotFound if unknown."""

    async def rotate(self, rotation: Rotation) -> bool:
        """Give a key another digest; False, and nothing changes, if it was revoked or has another one by now."""

    async def former(self) -> list[FormerKey]:
        """Every digest that a rotation has left to a key, also those whose time is over."""

    def touch(self, id: str, at: str) -> None:
        """Note that a key was used at this moment (RFC 3339, UTC). Costs nothing, and writes once a minute."""


@dataclass(frozen=True, slots=True)
class Want:
    """What one exchange asks of one limit."""

    owner: str
    """Whose limit: `machine`, `project:NAME` or `key:ID`."""
    kind: str
    """`requests` or `tokens`."""
    amount: int
    limit: int
    """In any 60 seconds."""


@dataclass(frozen=True, slots=True)
class Level:
    """How full one limit is, once `Counters.take` has decided."""

    want: Want
    used: int
    """In the last 60 seconds, with what was wanted if it was admitted. More than the limit after a settlement."""
    fitted: bool
    """Whether there was room for what was wanted."""
    room_at: int | None
    """Unix time, seconds, from which on as much (again) fits if nobody else comes; None if it never will."""
    empty_at: int
    """Unix time, seconds, from which on nothing is left of what was counted."""

    @property
    def left(self) -> int:
        """What may still be taken now."""
        return max(0, self.want.limit - self.used)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one question to `Counters`."""

    at: float
    """Unix time, by the clock of the store."""
    levels: tuple[Level, ...]
    """One for each want, in the same order."""

    @property
    def admitted(self) -> bool:
        """Whether all was counted; otherwise nothing was."""
        return all(level.fitted for level in self.levels)


class Counters(Protocol):
    """How much was asked in the last 60 seconds, by owner and kind, exact over all who share the store.

    The clock is the store's own, so that those who share it agree on the second. Call both on the event loop.
    """

    def take(self, wants: Sequence[Want]) -> Future[Taken]:
        """Count all of *wants* if each of them fits its limit, and nothing otherwise, in one step.

        The future fails with RateLimitUnavailable when that cannot be done.
        """

    def settle(self, taken: Taken, kind: str, difference: int) -> None:
        """Correct what was *taken* of one kind, by so much more or (below 0) less, in the second it was counted in.

        Holds for every later `take` here, and soon for those of others. Nobody waits, so a fault is not told.
        """


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which exchanges to sum, and by what. All that is given must hold; None asks nothing."""

    by: str = "model"
    """`model`, `provider`, `key` (also `caller`), `project`, `day` or `outcome`."""
    since: datetime | None = None
    """With a time zone; the moment itself included."""
    until: datetime | None = None
    """With a time zone; the moment itself left out."""
    model: str | None = None
    """As it answered."""
    provider: str | None = None
    caller: str | None = None
    """The name of the client key."""
    key_id: str | None = None
    project: str | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class UsageRow(Record):
    """What the exchanges of one name come to."""

    name: str
    exchanges: int = 0
    answered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_micros: int = 0
    """Micro-dollars, of the exchanges whose cost is known."""
    unpriced: int = 0
    """Answered by a provider at a cost that is not known."""
    cached: int = 0
    saved_micros: int = 0
    """Micro-dollars that the cached answers cost when they were made."""
    masked: int = 0
    """Findings, not exchanges."""
    slowest_ms: float = 0
    """Milliseconds, of the answered exchanges."""


class UsageReader(Protocol):
    """What was asked and what it came to. May be used from any thread."""

    def rows(self, query: UsageQuery) -> list[UsageRow]:
        """A row for each name, the dearest first; days in their order. BadRequest for a question without sense."""


TOTAL = "total"
"""The period without a beginning or an end."""


@dataclass(frozen=True, slots=True)
class Cap(Record):
    """How much one owner may spend in one period."""

    owner: str
    """`machine`, `project:NAME`, `user:PROJECT:LABEL` or `key:ID`."""
    period: str
    """A day like `2026-11-22` or a month like `2026-11`, of UTC, or `TOTAL`."""
    limit: int
    """Micro-dollars."""

    @classmethod
    def of(cls, owner: str, allowance: Allowance, now: float) -> tuple[Cap, ...]:
        """What *allowance* means at this moment, in Unix seconds."""
        today = datetime.fromtimestamp(now, UTC).date().isoformat()
        limits = ((today, allowance.day), (today[:7], allowance.month), (TOTAL, allowance.total))
        return tuple(cls(owner, period, limit) for period, limit in limits if limit is not None)


@dataclass(frozen=True, slots=True)
class Shortfall(Record):
    """The limit that does not admit a reservation; of several the one with the least left. Micro-dollars."""

    owner: str
    period: str
    limit: int
    left: int
    """Neither spent nor held."""


@dataclass(frozen=True, slots=True)
class Crossing(Record):
    """So much of a limit is spent now. Told once for each owner and period, while the limit stays. Micro-dollars."""

    owner: str
    period: str
    limit: int
    spent: int
    percent: int
    """50, 80 or 100: the highest that was reached."""


@dataclass(frozen=True, slots=True)
class Balance(Record):
    """How one limit stands. Micro-dollars."""

    owner: str
    period: str
    limit: int
    spent: int
    reserved: int
    """Held for what is on its way."""
    percent: int
    """Of the limit that is spent, rounded down."""


class Ledger(Protocol):
    """What was spent and what is held, exact over all who share the store. Amounts are whole micro-dollars.

    A future fails with BudgetUnavailable when that cannot be looked up or written down. Call on the event loop.
    """

    def reserve(self, id: str, micros: int, caps: Sequence[Cap]) -> Future[Shortfall | None]:
        """Hold *micros* (0 or more) under every cap, or nothing at all and say which cap is in the way.

        *id* is the exchange's and can hold once. What was spent before a cap was set counts too, by the audit.
        """

    def settle(self, id: str, micros: int) -> Future[tuple[Crossing, ...]]:
        """Let go of what is held for *id* and charge *micros* instead. Changes nothing if nothing is held for it."""

    def recount(self) -> None:
        """Limits have changed: look once more what the audit says was spent, each at its next use."""

    async def recover(self, instance: str) -> int:
        """Charge in full what other instances than this one held, and let go of it. How many holds there were.

        They died in the middle. What they asked may have been billed, and nobody will ever tell.
        """

    async def balances(self, limits: Mapping[str, Allowance], now: float) -> list[Balance]:
        """How the limits of these owners stand at this moment, in Unix seconds."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer that may be given again, as it came: with placeholders, never with what they stand for."""

    project: str
    body: bytes = field(repr=False)
    """A whole answer, in its dialect's words."""
    at: float
    """Unix time, seconds, when it was made."""
    used: float
    """Likewise, when it was last given."""
    streamed: bool = False
    """Whether it came as a stream when it was made."""
    model: str = ""
    """Who answered."""
    tokens: Tokens | None = None
    cost_micros: int | None = None
    """Micro-dollars that it cost when it was made; None is unknown."""


@dataclass(frozen=True, slots=True)
class AnswersHeld(Record):
    """How much is kept of answers."""

    entries: int = 0
    bytes: int = 0
    oldest: float | None = None
    """Unix time, seconds."""


class Answers(Protocol):
    """Answers to give again, under a key that says all that could make a difference.

    This is no control: whoever cannot have an answer from here asks for a new one. A fault is a GuardFailed.
    """

    async def get(self, key: bytes, since: float) -> KeptAnswer | None:
        """The answer under *key*, if it was made at *since* (Unix time, seconds) or later."""

    def keep(self, key: bytes, answer: KeptAnswer, *, room: int, since: float) -> Future[bool]:
        """Keep an answer, in place of the one that was there; False if it does not fit at all.

        Afterwards no more than *room* bytes are kept in all, and nothing that was made before *since*. What was not
        used for longest goes first.
        """

    def use(self, key: bytes, answer: KeptAnswer, at: float) -> None:
        """Note that an answer was given at this moment (Unix time, seconds). Costs nothing, and is soon written."""

    def expire(self, since: float) -> None:
        """Remove, soon, what was made before *since* (Unix time, seconds)."""

    async def clear(self, project: str | None = None) -> int:
        """Remove all answers, or those of one project. How many there were."""

    async def held(self) -> AnswersHeld:
        """How much there is."""


@dataclass(frozen=True, slots=True)
class Stores:
    """All stores of one gateway, opened together and closed together."""

    audit: AuditLog
    keys: ClientKeys
    counters: Counters
    ledger: Ledger
    answers: Answers
    usage: UsageReader
    closing: Callable[[], Awaitable[None]]

    async def close(self) -> None:
        """Write what still waits, then let go of the files. May be called twice."""
        await self.closing()
