"""Auth: who is this, and what may they?

In: the client key, if one was sent, becomes a `Caller`; in mode `local` this machine's user needs none. Who may not
ask, or names a project that is not theirs, is refused; what the key is bound to (private, a tier) goes into the hints.
Out: nothing.

A key is `ck_live_` and 32 hex digits. Only its keyed digest is kept. Nobody without this machine's secret can steer a
digest, so the time of looking it up by its first half tells a guesser nothing; the whole is compared in constant time.
Which models a key may ask is for dispatch, what it may spend and how often it may ask for other rooms.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar, NamedTuple

from membrain.errors import BadRequest, Forbidden, NotFound, ProjectNotAllowed, ScopeMissing, Unauthorized
from membrain.exchange import Exchange, Stage
from membrain.records import SCOPES, Allowance, Caller, ClientKey, Hints, Rate, Rights
from membrain.routing.router import tier_named
from membrain.stores.base import ClientKeys, Rotation

PREFIX = "ck_live_"
MACHINE = "machine-"
"""How the id of the key begins that this machine's own commands use. Other ids are hex digits."""

MOST_GRACE = 30 * 86_400
"""Seconds for which the old string of a key may hold beside the new one."""

_MAX_NAME = 80
_MAX_MODELS = 100
_MAX_MODEL = 200
_BOUNDS = {"budget": (0, 10**15, "micro-dollars"), "rate": (1, 10**9, "a minute")}
"""The least and the most that a limit may be, and of what."""
_HALF = 32
"""Hex digits of a digest that it is looked up by."""

_REMEDY = "Make one: membrain keys issue NAME"
_UNKNOWN = "This client key is not known here, or was revoked."
_EXPIRED = "This client key has expired."
_REPLACED = "This client key was replaced by a new one."


class _Known(NamedTuple):
    """A string that is, or was, some client's key."""

    key: ClientKey
    caller: Caller
    digest: str
    until: float
    """Seconds of the wall clock; from then on it is nobody's."""
    past: str = _EXPIRED
    """What is said from then on."""


class Auth(Stage):
    """Recognises callers. Knows every key's digest, so that no request waits for the store."""

    name: ClassVar[str] = "auth"

    def __init__(self, store: ClientKeys, pepper: bytes, mode: str, wall: Callable[[], float] = time.time) -> None:
        """*wall* gives the seconds since 1970, by which keys expire."""
        self._store = store
        self._pepper = pepper
        self.mode = mode
        self.wall = wall
        self._known: dict[str, _Known] = {}

    async def load(self) -> None:
        """Learn every key that holds. Called once, before the first request."""
        keys = {key.id: key for key in await self._store.all() if key.revoked is None}
        known = [_known(key) for key in keys.values()]
        known += [
            _former(_known(keys[each.id]), each.digest, _epoch(each.until))
            for each in await self._store.former()
            if each.id in keys
        ]
        self._known = {each.digest[:_HALF]: each for each in known}

    async def enter(self, exchange: Exchange) -> None:
        caller = self._caller(exchange.credential, exchange.same_user)
        exchange.caller = replace(caller, user=exchange.user) if exchange.user else caller
        demand(caller, "ask")
        if exchange.project:
            exchange.caller = within(exchange.caller, exchange.project)
        exchange.hints = bound(exchange.hints, caller.rights)

    async def leave(self, exchange: Exchange) -> None:
        if (key_id := exchange.caller.key_id) is not None:
            self._store.touch(key_id, exchange.time)

    def identify(
        self,
        credential: str | None,
        same_user: bool | None,  # a fact, not a flag
        project: str = "",
        scopes: tuple[str, ...] = (),
    ) -> Caller:
        """The caller that *credential* names, in the *project* it names, if it was issued for one of *scopes*.

        `Unauthorized` if it names nobody, or is needed and missing; `ScopeMissing`, and errors as for `within`.
        """
        caller = self._caller(credential, same_user)
        demand(caller, *scopes)
        return within(caller, project) if project else caller

    def _caller(self, credential: str | None, same_user: bool | None) -> Caller:
        if self.mode == "off":
            return self._anyone(credential)
        if credential is not None:
            known = self._find(credential)
            if known is None or known.until <= self.wall():
                raise Unauthorized(known.past if known else _UNKNOWN, hint=_REMEDY)
            return known.caller
        if self.mode == "token":
            raise Unauthorized("A client key is needed.", hint=_REMEDY)
        if same_user is False:
            raise Unauthorized("Another user of this machine needs a client key.", hint=_REMEDY)
        return Caller(name="local", admin=True)

    def _anyone(self, credential: str | None) -> Caller:
        """Where nobody is asked for a key, anybody may do everything. One that is sent still has its limits."""
        known = self._find(credential) if credential is not None else None
        if known is None or known.until <= self.wall():
            return Caller(name="anyone", admin=True)
        return replace(known.caller, admin=True)

    def _find(self, credential: str) -> _Known | None:
        digest = digest_of(credential, self._pepper)
        known = self._known.get(digest[:_HALF])
        return known if known is not None and hmac.compare_digest(known.digest, digest) else None

    async def issue(
        self, name: str, project: str = "default", rights: Rights | None = None, *, machine: bool = False
    ) -> tuple[str, ClientKey]:
        """A new key called *name* for *project*. The key itself is given this once and kept nowhere."""
        key, row = mint(name, project, self._pepper, self.all(), rights, machine=machine, at=self.wall())
        self._known[row.digest[:_HALF]] = _known(row)  # before the wait, so that its name is taken
        try:
            await self._store.add(row)
        except BaseException:
            del self._known[row.digest[:_HALF]]
            raise
        return key, row

    async def rotate(self, which: str, grace: float = 0) -> tuple[str, ClientKey]:
        """Another string for the key with the id or name *which*; it stays the same key otherwise.

        The old string holds for *grace* seconds more, and without any is refused from the next request on.
        """
        old = named(which, self.all())
        before = self._known[old.digest[:_HALF]]
        key, row, rotation = turned(old, self._pepper, grace, self.wall())
        if not await self._store.rotate(rotation) or self._known.get(old.digest[:_HALF]) is not before:
            raise _changed()  # revoked, or rotated, while we waited
        for each in self._of(old.id):
            self._forget(each)
            if rotation.until is not None:
                until = min(each.until, self.wall() + grace) if each is before else each.until
                self._learn(_former(_known(row), each.digest, until))
        self._learn(_known(row))
        return key, row

    async def revoke(self, which: str) -> ClientKey:
        """Revoke the key with the id or name *which*, from the next request on."""
        key = named(which, self.all())
        await self.forget(key)
        return replace(key, revoked=_stamp(self.wall()))

    async def forget(self, key: ClientKey) -> None:
        """Revoke *key*, whatever it is: the machine's own is made anew when its file is gone.

        It is refused from now on, also if that cannot be written down; then it can be revoked once more.
        """
        for each in self._of(key.id):
            self._learn(each._replace(until=-math.inf, past=_UNKNOWN))
        await self._store.revoke(key.id, _stamp(self.wall()))
        for each in self._of(key.id):
            self._forget(each)

    def all(self) -> list[ClientKey]:
        """The keys that were not revoked, as they were when the gateway learned of them."""
        return [each.key for each in self._known.values() if each.digest == each.key.digest]

    def expired(self, key: ClientKey) -> bool:
        """Whether the time of *key* is over."""
        return _until(key) <= self.wall()

    def knows(self, key: str) -> bool:
        """Whether *key* holds."""
        known = self._find(key)
        return known is not None and self.wall() < known.until

    def _of(self, id: str) -> list[_Known]:
        return [each for each in self._known.values() if each.key.id == id]

    def _learn(self, known: _Known) -> None:
        self._known[known.digest[:_HALF]] = known

    def _forget(self, known: _Known) -> None:
        self._known.pop(known.digest[:_HALF], None)


# --- what a caller may ---------------------------------------------------------------------------------------


def demand(caller: Caller, *scopes: str) -> None:
    """`ScopeMissing` unless *caller* was issued for one of *scopes*. Who is an admin may do everything."""
    if scopes and not caller.admin and not set(scopes) & set(caller.rights.scopes):
        raise ScopeMissing(
            "This client key was not issued for that.", hint=f"Issue one: membrain keys issue NAME --scope {scopes[0]}"
        )


def within(caller: Caller, project: str) -> Caller:
    """*caller* in the *project* that a header named. `BadRequest` for no name, `ProjectNotAllowed` if not theirs."""
    name = _label(_as_sent(project), "x-membrain-project")
    if name == caller.project:
        return caller
    if not caller.admin:
        raise ProjectNotAllowed(
            "This client key belongs to another project.", hint=f"Leave out x-membrain-project; it is {caller.project}."
        )
    return replace(caller, project=name)


def _as_sent(header: str) -> str:
    """A header as its sender meant it: servers read them as Latin-1, and many clients write UTF-8."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header


def bound(hints: Hints, rights: Rights) -> Hints:
    """*hints* as narrow as the key's *rights* are."""
    private, tier = hints.private or rights.private, hints.tier or rights.tier
    if (private, tier) == (hints.private, hints.tier):
        return hints
    return replace(hints, private=private, tier=tier)


# --- keys, also while the gateway is down --------------------------------------------------------------------


def mint(
    name: str,
    project: str,
    pepper: bytes,
    others: Iterable[ClientKey],
    rights: Rights | None = None,
    *,
    machine: bool = False,
    at: float | None = None,
) -> tuple[str, ClientKey]:
    """A key that nobody has yet, and the row that recognises it, as of *at* (seconds since 1970; now).

    `BadRequest` if one of *others* has its name, or if it may not be called so or have such *rights*.
    """
    at = time.time() if at is None else at
    name, project, rights = _label(name, "name"), _label(project, "project"), checked(rights or Rights(), at)
    if any(name in {key.name, key.id} and key.revoked is None for key in others):
        raise BadRequest(f"There is a key called {name} already.", hint=f"membrain keys revoke {name}", param="name")
    key, digest, tail = _fresh(pepper)
    id = (MACHINE if machine else "") + secrets.token_hex(4)
    return key, ClientKey(id, name, digest, tail, project, _stamp(at), rights=rights)


def turned(key: ClientKey, pepper: bytes, grace: float, at: float) -> tuple[str, ClientKey, Rotation]:
    """Another string for *key* as of *at*, its row from then on, and what the store must do."""
    if not 0 <= grace <= MOST_GRACE:
        raise BadRequest(f"`grace` must be 0 to {MOST_GRACE} seconds.", param="grace")
    string, digest, tail = _fresh(pepper)
    until = _stamp(at + grace) if grace else None
    rotation = Rotation(key.id, old=key.digest, new=digest, tail=tail, at=_stamp(at), until=until)
    return string, replace(key, digest=digest, tail=tail), rotation


def rotated(changed: bool) -> None:
    """`BadRequest` if the key was not as it had been: somebody was faster."""
    if not changed:
        raise _changed()


def named(which: str, keys: Iterable[ClientKey]) -> ClientKey:
    """The key with the id or name *which* among those that were not revoked; this machine's own is not to be had."""
    for key in keys:
        if key.revoked is None and which in {key.id, key.name}:
            if key.id.startswith(MACHINE):
                raise Forbidden("This machine's own key stays as it is.")
            return key
    raise NotFound("There is no such client key.", hint="See them: membrain keys")


def digest_of(key: str, pepper: bytes) -> str:
    """The keyed BLAKE2b of *key*, hex. Unlike OpenSSL's digests it keeps the interpreter's lock for so short a text,
    and so does not hand every request to another thread and back."""
    return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), key=pepper, digest_size=32).hexdigest()


def now() -> str:
    """This moment, RFC 3339, UTC."""
    return _stamp(time.time())


def _fresh(pepper: bytes) -> tuple[str, str, str]:
    """A key that nobody has yet, its digest and its tail."""
    key = PREFIX + secrets.token_hex(16)
    return key, digest_of(key, pepper), key[-4:]


def _known(key: ClientKey) -> _Known:
    admin = key.id.startswith(MACHINE) or "admin" in key.rights.scopes
    caller = Caller(key_id=key.id, name=key.name, project=key.project, admin=admin, rights=key.rights)
    return _Known(key, caller, key.digest, _until(key))


def _former(known: _Known, digest: str, until: float) -> _Known:
    """An old string of the key that *known* is a string of."""
    if known.until <= until:
        return known._replace(digest=digest)
    return known._replace(digest=digest, until=until, past=_REPLACED)


def _changed() -> BadRequest:
    return BadRequest("This client key was changed at the same moment.", hint="See them: membrain keys")


# --- rights --------------------------------------------------------------------------------------------------


def checked(rights: Rights, at: float) -> Rights:
    """*rights* as they are kept: names as they are spelt, times in UTC. `BadRequest` names what makes no sense."""
    _amounts(rights.budget, "budget")
    _amounts(rights.rate, "rate")
    return replace(
        rights,
        scopes=_scopes(rights.scopes),
        expires=_moment(rights.expires, at) if rights.expires is not None else None,
        models=_models(rights.models),
        tier=_tier(rights.tier) if rights.tier is not None else None,
    )


def _scopes(given: tuple[str, ...]) -> tuple[str, ...]:
    if not given or set(given) - set(SCOPES):
        raise BadRequest(f"`scopes` must be some of {', '.join(SCOPES)}.", param="scopes")
    return tuple(scope for scope in SCOPES if scope in given)


def _models(given: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in given))
    if len(names) > _MAX_MODELS or any(not 0 < len(name) <= _MAX_MODEL or not name.isprintable() for name in names):
        raise BadRequest(
            f"`models` must be up to {_MAX_MODELS} names of models, like gpt-4o or gpt-4o*.", param="models"
        )
    return names


def _tier(given: str) -> str:
    try:
        return tier_named(given)
    except BadRequest as error:
        raise BadRequest(error.message, param="tier") from None


def _moment(text: str, at: float) -> str:
    until = _epoch(text)
    if until <= at:
        raise BadRequest("`expires` must be a time to come, with its zone, like 2027-01-31T00:00:00Z.", param="expires")
    return _stamp(until)


def _amounts(limits: Allowance | Rate, field: str) -> None:
    least, most, unit = _BOUNDS[field]
    for name, amount in limits.to_dict().items():
        if amount is not None and not least <= amount <= most:
            raise BadRequest(f"`{field}.{name}` must be {least:,} to {most:,} {unit}.", param=f"{field}.{name}")


def _label(value: str, field: str) -> str:
    value = value.strip()
    if not value or len(value) > _MAX_NAME or not value.isprintable():
        raise BadRequest(f"`{field}` must be 1 to {_MAX_NAME} printable signs.", param=field)
    return value


# --- times ---------------------------------------------------------------------------------------------------


def _until(key: ClientKey) -> float:
    return math.inf if key.rights.expires is None else _epoch(key.rights.expires)


def _epoch(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time. What is none is long over, so that nothing holds until then."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo is not None else -math.inf
    except (ValueError, OverflowError):
        return -math.inf


def _stamp(seconds: float) -> str:
    """RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
