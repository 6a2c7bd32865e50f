"""What every store can do, as small protocols. No store is named here; `open.py` knows which one answers.

Nothing in this module imports asyncio: the command line reads the audit with the gateway down, and that import
would cost it more than the reading.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeAlias

from membrain.records import AuditRecord, ClientKey, Record

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

    def conclude(self, record: AuditRecord) -> Future[None]:
        """Put its outcome on record: replaces all that `intend` wrote, or writes it if that is missing."""

    async def list(self, query: AuditQuery = NEWEST) -> Records:
        """As `AuditReader.list`."""

    async def get(self, id_prefix: str) -> AuditRecord:
        """As `AuditReader.get`."""

    async def totals(self, since: datetime | None = None, key_id: str | None = None) -> Totals:
        """As `AuditReader.totals`."""

    async def interrupt(self, instance: str) -> int:
        """Mark what other instances than this one left open as interrupted. How many there were."""


class ClientKeys(Protocol):
    """The client keys that were issued: their digests, never the keys."""

    async def all(self) -> Keys:
        """Every key, the revoked ones too, oldest first."""

    async def add(self, key: ClientKey) -> None:
        """Keep a new key. BadRequest when its id or digest is there already."""

    async def revoke(self, id: str, at: str) -> None:
        """Mark a key as revoked at this moment (RFC 3339, UTC). The first time stays. NotFound if unknown."""

    def touch(self, id: str, at: str) -> None:
        """Note that a key was used at this moment (RFC 3339, UTC). Costs nothing, and writes once a minute."""


@dataclass(frozen=True, slots=True)
class Stores:
    """All stores of one gateway, opened together and closed together."""

    audit: AuditLog
    keys: ClientKeys
    closing: Callable[[], Awaitable[None]]

    async def close(self) -> None:
        """Write what still waits, then let go of the files. May be called twice."""
        await self.closing()
