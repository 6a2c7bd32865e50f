"""Auth: who is this?

In: the client key, if one was sent, becomes a `Caller`; in mode `local` this machine's user needs none.
Out: nothing.

A key is `ck_live_` and 32 hex digits. Only its keyed digest is kept, and looking that digest up takes the same time for
any wrong key.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

from membrain.errors import BadRequest, Forbidden, NotFound, Unauthorized
from membrain.exchange import Exchange, Stage
from membrain.records import Caller, ClientKey
from membrain.stores.base import ClientKeys

PREFIX = "ck_live_"
MACHINE = "machine-"
"""How the id of the key begins that this machine's own commands use. Other ids are hex digits."""

_MAX_NAME = 80


class Auth(Stage):
    """Recognises callers. Knows every key's digest, so that no request waits for the store."""

    name: ClassVar[str] = "auth"

    def __init__(self, store: ClientKeys, pepper: bytes, mode: str) -> None:
        self._store = store
        self._pepper = pepper
        self.mode = mode
        self._callers: dict[str, tuple[ClientKey, Caller]] = {}

    async def load(self) -> None:
        """Learn every key that holds. Called once, before the first request."""
        keys = await self._store.all()
        self._callers = {key.digest: (key, _caller(key)) for key in keys if key.revoked is None}

    async def enter(self, exchange: Exchange) -> None:
        caller = self.identify(exchange.credential, exchange.same_user)
        exchange.caller = replace(caller, user=exchange.user) if exchange.user else caller

    async def leave(self, exchange: Exchange) -> None:
        if (key_id := exchange.caller.key_id) is not None:
            self._store.touch(key_id, exchange.time)

    def identify(self, credential: str | None, same_user: bool | None) -> Caller:  # a fact, not a flag
        """The caller that *credential* names; `Unauthorized` if it names nobody, or is needed and missing."""
        if self.mode == "off":
            return Caller(name="anyone", admin=True)
        if credential is not None:
            known = self._callers.get(digest_of(credential, self._pepper))
            if known is None:
                raise Unauthorized("This client key is not known here, or was revoked.", hint=_REMEDY)
            return known[1]
        if self.mode == "token":
            raise Unauthorized("A client key is needed.", hint=_REMEDY)
        if same_user is False:
            raise Unauthorized("Another user of this machine needs a client key.", hint=_REMEDY)
        return Caller(name="local", admin=True)

    async def issue(self, name: str, project: str = "default", *, machine: bool = False) -> tuple[str, ClientKey]:
        """A new key called *name* for *project*. The key itself is given this once and kept nowhere."""
        key, row = mint(name, project, self._pepper, self.all(), machine=machine)
        self._callers[row.digest] = (row, _caller(row))  # before the wait, so that its name is taken
        try:
            await self._store.add(row)
        except BaseException:
            del self._callers[row.digest]
            raise
        return key, row

    async def revoke(self, which: str) -> ClientKey:
        """Revoke the key with the id or name *which*, from the next request on."""
        key = named(which, self.all())
        del self._callers[key.digest]
        await self._store.revoke(key.id, now())
        return key

    async def forget(self, key: ClientKey) -> None:
        """Revoke *key*, whatever it is: the machine's own is made anew when its file is gone."""
        self._callers.pop(key.digest, None)
        await self._store.revoke(key.id, now())

    def all(self) -> list[ClientKey]:
        """The keys that hold, as they were when the gateway learned of them."""
        return [key for key, _ in self._callers.values()]

    def knows(self, key: str) -> bool:
        """Whether *key* holds."""
        return digest_of(key, self._pepper) in self._callers


_REMEDY = "Make one: membrain keys issue NAME"


def mint(
    name: str, project: str, pepper: bytes, others: Iterable[ClientKey], *, machine: bool = False
) -> tuple[str, ClientKey]:
    """A key that nobody has yet, and the row that recognises it. `BadRequest` if one of *others* has its name."""
    name, project = _label(name, "name"), _label(project, "project")
    if any(key.name == name and key.revoked is None for key in others):
        raise BadRequest(f"There is a key called {name} already.", hint=f"membrain keys revoke {name}", param="name")
    key = PREFIX + secrets.token_hex(16)
    row = ClientKey(
        id=(MACHINE if machine else "") + secrets.token_hex(4),
        name=name,
        digest=digest_of(key, pepper),
        tail=key[-4:],
        project=project,
        created=now(),
    )
    return key, row


def named(which: str, keys: Iterable[ClientKey]) -> ClientKey:
    """The key with the id or name *which* among those that hold; this machine's own is not to be had."""
    for key in keys:
        if key.revoked is None and which in {key.id, key.name}:
            if key.id.startswith(MACHINE):
                raise Forbidden("This machine's own key cannot be revoked.")
            return key
    raise NotFound("There is no such client key.", hint="See them: membrain keys")


def digest_of(key: str, pepper: bytes) -> str:
    """The keyed BLAKE2b of *key*, hex. Unlike OpenSSL's digests it keeps the interpreter's lock for so short a text,
    and so does not hand every request to another thread and back."""
    return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), key=pepper, digest_size=32).hexdigest()


def now() -> str:
    """This moment, RFC 3339, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _caller(key: ClientKey) -> Caller:
    return Caller(key_id=key.id, name=key.name, project=key.project, admin=key.id.startswith(MACHINE))


def _label(value: str, field: str) -> str:
    value = value.strip()
    if not value or len(value) > _MAX_NAME or not value.isprintable():
        raise BadRequest(f"`{field}` must be 1 to {_MAX_NAME} printable signs.", param=field)
    return value
