"""The questions that need no running gateway, answered from its files. For the command line, and light to import."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from membrain.errors import Misconfigured, NotFound
from membrain.filters import moment, query_from
from membrain.places import Places
from membrain.records import AuditRecord, ClientKey, Rate, Rights
from membrain.stores.base import Balance, UsageQuery
from membrain.stores.open import open_keys, open_ledger, open_reader
from membrain.stores.usage import Balances, UsageFile, answer

if TYPE_CHECKING:
    from membrain.heads import Heads
    from membrain.secrets import Secrets
    from membrain.settings import Settings
    from membrain.stores.chain import Head


class Offline:
    """One instance's files, looked at while its gateway is down."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def audit_list(self, query: Mapping[str, str]) -> list[AuditRecord]:
        """The exchanges that match, newest first."""
        return open_reader(self._places.database).list(query_from(query))

    def audit_get(self, id: str) -> AuditRecord:
        """One exchange, by its id or the beginning of it."""
        return open_reader(self._places.database).get(id)

    # the chain: from its file, also while the gateway runs

    def verify(self, secrets: Secrets | None, heads: Iterable[str] = ()) -> dict[str, Any]:
        """Whether the chain is whole: a `Verdict`, `sound`, and how many noted lines are `unsigned`, so not ours.

        It is held against all heads that were noted, and those on the lines *heads*. NotFound where there is no audit,
        Misconfigured without its key or where a line is no head of it, AuditUnavailable when it cannot be read.
        """
        from membrain.stores.chain import verify

        key = self.key(secrets)
        noted = self._heads(secrets, key)
        given = [_given(line, key) for line in heads]
        verdict = verify(self._places.database, key, [*noted.known(), *given])
        return {"sound": verdict.sound, **verdict.to_dict(), "unsigned": noted.unsigned()}

    def glance(self, secrets: Secrets | None) -> dict[str, Any]:
        """What is wrong with the chain's last records (`reason`), how many there are, and whether a head is noted."""
        from membrain.stores.glance import last

        key = self.key(secrets)
        noted = self._heads(secrets, key).known()
        return {**last(self._places.database, key, noted).to_dict(), "checked_head": bool(noted)}

    def length(self) -> int:
        """How many records the chain has; 0 where there is none."""
        from membrain.stores.glance import length

        return length(self._places.database)

    def head(self, secrets: Secrets | None) -> dict[str, Any] | None:
        """The chain's head, and the signed line of it that one keeps elsewhere; None while nothing is on record."""
        from membrain.heads import sign
        from membrain.stores.chain import head_of

        key = self.key(secrets)
        head = head_of(self._places.database, key)
        return None if head is None else {**head.to_dict(), "line": sign(head, key)}

    def link(self, id: str, secrets: Secrets | None) -> dict[str, Any]:
        """Where the exchange *id* stands in the chain: `seq`, `seal`, `previous`, and whether they fit (`sound`)."""
        from membrain.stores.glance import link

        return link(self._places.database, self.key(secrets), id).to_dict()

    def wire(self, id: str) -> bytes:
        """The masked bytes that left with the exchange *id*, if they are kept on the disk."""
        from membrain.stores.chain import wire

        return wire(self._places.database, id)

    def export(self, query: Mapping[str, str], names: str = "membrain") -> Iterator[dict[str, Any]]:
        """The exchanges that match, oldest first, one by one; *names* "otel" has the fields as OpenTelemetry does."""
        from membrain.genai import named
        from membrain.stores.chain import entries

        for row in entries(self._places.database, query_from(query)):
            seal = {name: row.pop(name) for name in ("seq", "seal")}
            yield (
                {f"membrain.{name}": told for name, told in seal.items()} | named(row)
                if names == "otel"
                else seal | row
            )

    def count(self, query: Mapping[str, str]) -> int:
        """How many exchanges match."""
        from membrain.stores.glance import count

        return count(self._places.database, query_from(query))

    def erase(self, secrets: Secrets | None, query: Mapping[str, str]) -> int:
        """Take away all that is on record of the exchanges that match, for good; how many there were."""
        from membrain.stores.chain import erase

        key = self.key(secrets)
        with closing(self._heads(secrets, key)) as heads:
            return erase(self._places.database, key, query_from(query), _now(), heads)

    def prune(self, secrets: Secrets | None, before: str) -> int:
        """Likewise of all that arrived before a moment."""
        from membrain.stores.chain import prune

        key = self.key(secrets)
        with closing(self._heads(secrets, key)) as heads:
            return prune(self._places.database, key, moment(before, "before"), _now(), heads)

    def key(self, secrets: Secrets | None) -> bytes:
        """The key that the chain is sealed with. NotFound where there is no audit, Misconfigured if it is gone."""
        from membrain.heads import seal_key

        if not self._places.database.exists():  # nor is a key to be made for it
            raise NotFound("There is no audit yet.", hint="It begins with: membrain up")
        return seal_key(secrets, self._places)

    def _heads(self, secrets: Secrets | None, key: bytes) -> Heads:
        from membrain.heads import Heads

        return Heads(self._places, key, secrets)

    def usage(self, since: str | None = None, key_id: str | None = None) -> dict[str, Any]:
        """Totals since a time, of one key or of all."""
        reader = open_reader(self._places.database)
        return reader.totals(moment(since, "since") if since else None, key_id).to_dict()

    def balances(self, settings: Settings, now: datetime) -> list[Balance]:
        """How every budget stands that somebody set."""
        from membrain.allowances import allowances, dollars

        budget, ledger = settings.budget, open_ledger(self._places.database)
        machine = dollars(budget.day, budget.month, budget.total)
        limits = allowances(machine, Rate(), budget.rules).standing(ledger.owners(), self.keys())
        return ledger.balances(limits, now.timestamp())

    def usage_by(self, asked: Mapping[str, str], now: datetime, balances: Balances = tuple) -> dict[str, Any]:
        """Sums by model, provider, key, project, day or outcome, as `GET /api/usage?by=` tells them.

        *balances* gives the budgets as the ledger has them; the settings that set their limits are not known here.
        """
        times = {name: moment(asked[name], name) for name in ("since", "until") if asked.get(name)}
        query = UsageQuery(**{**asked, **times})  # type: ignore[arg-type]  # the times alone are no texts
        return answer(UsageFile(self._places.database), query, balances, now)

    def keys(self) -> list[ClientKey]:
        """The client keys that hold."""
        return [key for key in open_keys(self._places.database).all() if key.revoked is None]

    def issue_key(self, name: str, project: str = "default", rights: Rights | None = None) -> tuple[str, ClientKey]:
        """A new client key, given this once."""
        from membrain.stages.auth import mint

        keys = open_keys(self._places.database)
        key, row = mint(name, project, self._places.create().read_or_make_pepper(), keys.all(), rights)
        keys.add(row)
        return key, row

    def rotate_key(self, which: str, grace: float = 0) -> tuple[str, ClientKey]:
        """Another string for a client key by its id or name; the old one holds for *grace* seconds more."""
        import time

        from membrain.stages.auth import named, rotated, turned

        keys = open_keys(self._places.database)
        old = named(which, keys.all())
        key, row, rotation = turned(old, self._places.read_or_make_pepper(), grace, time.time())
        rotated(keys.rotate(rotation))
        return key, row

    def revoke_key(self, which: str) -> ClientKey:
        """Revoke a client key by its id or name."""
        from membrain.stages.auth import named, now

        keys = open_keys(self._places.database)
        key = named(which, keys.all())
        at = now()
        keys.revoke(key.id, at)
        return replace(key, revoked=at)

    def test_provider(self, name: str, settings: Settings, secrets: Secrets | None) -> dict[str, Any]:
        """Whether a provider answers, and its key works."""
        import asyncio

        from membrain.gateway import tested

        return asyncio.run(tested(name, settings, secrets))


def _given(line: str, key: bytes) -> Head:
    """A head that somebody kept."""
    from membrain.heads import read

    head = read(line, key)
    if head is None:
        raise Misconfigured("That is no head of this audit: its last part is not of this key.")
    return head


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
