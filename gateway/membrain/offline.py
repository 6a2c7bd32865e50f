"""The questions that need no running gateway, answered from its files. For the command line, and light to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from membrain.filters import moment, query_from
from membrain.places import Places
from membrain.records import AuditRecord, ClientKey
from membrain.stores.open import open_keys, open_reader

if TYPE_CHECKING:
    from membrain.secrets import Secrets
    from membrain.settings import Settings


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

    def usage(self, since: str | None = None, key_id: str | None = None) -> dict[str, Any]:
        """Totals since a time, of one key or of all."""
        reader = open_reader(self._places.database)
        return reader.totals(moment(since, "since") if since else None, key_id).to_dict()

    def keys(self) -> list[ClientKey]:
        """The client keys that hold."""
        return [key for key in open_keys(self._places.database).all() if key.revoked is None]

    def issue_key(self, name: str, project: str = "default") -> tuple[str, ClientKey]:
        """A new client key, given this once."""
        from membrain.stages.auth import mint

        keys = open_keys(self._places.database)
        key, row = mint(name, project, self._places.create().read_or_make_pepper(), keys.all())
        keys.add(row)
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
