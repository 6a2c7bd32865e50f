"""Auth: who is this and what may they, in three modes; and keys that are kept as digests only."""

from __future__ import annotations

import asyncio
import math
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrain.errors import (
    BadRequest,
    Forbidden,
    GuardFailed,
    MembrainError,
    NotFound,
    ProjectNotAllowed,
    ScopeMissing,
    Unauthorized,
)
from membrain.records import Allowance, Caller, ClientKey, Hints, Rate, Rights
from membrain.stages.auth import (
    MACHINE,
    MOST_GRACE,
    Auth,
    _stamp,
    bound,
    demand,
    digest_of,
    mint,
    named,
    turned,
    within,
)
from membrain.stores.base import Rotation, Stores
from membrain.stores.open import open_stores
from tests.fakes import exchange

pytestmark = pytest.mark.anyio
PEPPER = b"p" * 32
NOON = 1_795_176_000.0
"""2026-11-20T12:00:00Z."""


class Clock:
    """A wall clock that tests turn."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    stores = open_stores(tmp_path / "membrain.db", instance="test", key=b"k" * 32)
    yield stores
    await stores.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def auth(stores: Stores, clock: Clock) -> Auth:
    auth = Auth(stores.keys, PEPPER, "local", clock)
    await auth.load()
    return auth


async def restarted(stores: Stores, clock: Clock, mode: str = "local") -> Auth:
    """The same keys, learned anew."""
    auth = Auth(stores.keys, PEPPER, mode, clock)
    await auth.load()
    return auth


def refusal(auth: Auth, key: str) -> str | None:
    """The sentence with which *key* is refused; None if it is not."""
    try:
        auth.identify(key, None)
    except Unauthorized as error:
        return error.message
    return None


async def entered(
    auth: Auth, credential: str | None = None, same_user: bool | None = True, user: str = "", project: str = ""
) -> Caller:
    asked = exchange()
    asked.credential, asked.same_user, asked.user, asked.project = credential, same_user, user, project
    await auth.enter(asked)
    return asked.caller


# --- modes


@pytest.mark.parametrize(
    ("mode", "same_user", "verdict"),
    [
        ("local", True, "local"),
        ("local", None, "local"),
        ("local", False, None),
        ("token", True, None),
        ("token", None, None),
        ("token", False, None),
        ("off", True, "anyone"),
        ("off", False, "anyone"),
    ],
)
async def test_who_sends_no_key_is_let_in_as_the_mode_says(
    stores: Stores, mode: str, same_user: bool | None, verdict: str | None
) -> None:
    auth = Auth(stores.keys, PEPPER, mode)
    if verdict is None:
        with pytest.raises(Unauthorized) as refused:
            auth.identify(None, same_user)
        assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")
        assert "membrain keys issue" in refused.value.sentence
    else:
        caller = auth.identify(None, same_user)
        assert (caller.name, caller.key_id, caller.admin) == (verdict, None, True)


@pytest.mark.parametrize("mode", ["local", "token"])
@pytest.mark.parametrize("key", ["ck_live_" + "0" * 32, "", "sk-canary-7f3a", "ck_live_é\udc80", "x" * 10_000])
async def test_a_wrong_key_is_refused_even_where_none_is_needed(stores: Stores, mode: str, key: str) -> None:
    auth = Auth(stores.keys, PEPPER, mode)
    with pytest.raises(Unauthorized) as refused:
        auth.identify(key, same_user=True)
    assert key == "" or key not in refused.value.sentence


@pytest.mark.parametrize("mode", ["local", "token"])
async def test_a_right_key_is_enough_for_anybody(stores: Stores, mode: str) -> None:
    auth = Auth(stores.keys, PEPPER, mode)
    key, row = await auth.issue("aider", "work")
    for same_user in (True, None, False):
        caller = auth.identify(key, same_user)
        assert (caller.key_id, caller.name, caller.project, caller.admin) == (row.id, "aider", "work", False)


@pytest.mark.parametrize(
    "near", [str.upper, lambda key: key[:-1], lambda key: key + "0", lambda key: f" {key}", str.title]
)
async def test_a_key_is_right_to_the_last_sign(auth: Auth, near: Callable[[str], str]) -> None:
    key, _ = await auth.issue("aider")
    with pytest.raises(Unauthorized):
        auth.identify(near(key), same_user=True)


async def test_a_digest_that_is_right_by_half_is_wrong(auth: Auth, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look-up goes by the first half; the other half decides too."""
    key, row = await auth.issue("aider")
    near = row.digest[:-1] + ("0" if row.digest[-1] != "0" else "1")
    monkeypatch.setattr("membrain.stages.auth.digest_of", lambda *_: near)
    assert refusal(auth, key) is not None


async def test_another_pepper_makes_every_key_wrong(stores: Stores, auth: Auth) -> None:
    key, _ = await auth.issue("aider")
    other = Auth(stores.keys, b"q" * 32, "local")
    await other.load()
    with pytest.raises(Unauthorized):
        other.identify(key, same_user=True)


async def test_where_nobody_is_asked_a_wrong_key_is_anyones(stores: Stores, clock: Clock) -> None:
    auth = Auth(stores.keys, PEPPER, "off", clock)
    for key in ("ck_live_" + "0" * 32, "sk-foreign", ""):
        assert auth.identify(key, None) == Caller(name="anyone", admin=True)


async def test_where_nobody_is_asked_a_key_that_is_sent_still_has_its_limits(stores: Stores, clock: Clock) -> None:
    """So that `run --budget` holds in every mode. What it may not do, it may do without a key; that is let through."""
    auth = Auth(stores.keys, PEPPER, "off", clock)
    rights = Rights(scopes=("read",), budget=Allowance(total=5), models=("gpt-*",))
    key, row = await auth.issue("aider", "work", rights)
    caller = auth.identify(key, None, "other", ("ask",))
    assert (caller.key_id, caller.project, caller.admin, caller.rights) == (row.id, "other", True, rights)
    await auth.revoke("aider")
    assert auth.identify(key, None).name == "anyone"


# --- the room


async def test_the_caller_is_noted_on_the_exchange(auth: Auth) -> None:
    key, row = await auth.issue("aider")
    assert await entered(auth, key) == auth.identify(key, None)
    caller = await entered(auth, key, user="ada")
    assert (caller.user, caller.key_id) == ("ada", row.id)


async def test_a_label_of_the_caller_is_never_an_identity(auth: Auth) -> None:
    """Whoever calls itself somebody else has the same key, project and rights as before."""
    key, _ = await auth.issue("aider", "work")
    plain, labelled = await entered(auth, key), await entered(auth, key, user="machine-00000000")
    assert labelled.to_dict() == {**plain.to_dict(), "user": "machine-00000000"}


async def test_using_a_key_is_noted(stores: Stores, auth: Auth) -> None:
    key, row = await auth.issue("aider")
    asked = exchange()
    asked.credential = key
    await auth.enter(asked)
    await auth.leave(asked)
    await auth.issue("another")  # comes behind it in the same line
    (found,) = [each for each in await stores.keys.all() if each.id == row.id]
    assert found.last_used == asked.time


async def test_leaving_after_a_refusal_notes_nothing(auth: Auth) -> None:
    asked = exchange()
    asked.credential = "wrong"
    with pytest.raises(Unauthorized):
        await auth.enter(asked)
    await auth.leave(asked)


# --- scopes


@pytest.mark.parametrize("scopes", [("read",), ()])
async def test_a_key_that_was_not_issued_for_asking_asks_nothing_and_is_on_record(
    stores: Stores, auth: Auth, scopes: tuple[str, ...]
) -> None:
    key, row = mint("reader", "work", PEPPER, [], at=NOON)
    await stores.keys.add(replace(row, rights=Rights(scopes=scopes)))
    await auth.load()
    asked = exchange()
    asked.credential = key
    with pytest.raises(ScopeMissing) as refused:
        await auth.enter(asked)
    assert (refused.value.status, refused.value.code) == (403, "scope_missing")
    assert "--scope ask" in refused.value.sentence
    assert (asked.caller.key_id, asked.caller.project) == (row.id, "work")


@pytest.mark.parametrize(
    ("held", "needed", "passes"),
    [
        (("ask",), ("ask",), True),
        (("ask",), ("read",), False),
        (("ask",), ("ask", "read"), True),
        (("read",), ("ask", "read"), True),
        (("ask", "read"), ("admin",), False),
        ((), ("ask", "read"), False),
        ((), (), True),
        (("admin",), ("ask",), True),
        (("admin",), ("read",), True),
        (("admin",), ("admin",), True),
    ],
)
async def test_a_key_may_what_one_of_its_scopes_says(
    stores: Stores, auth: Auth, held: tuple[str, ...], needed: tuple[str, ...], passes: bool
) -> None:
    key, row = mint("aider", "work", PEPPER, [], at=NOON)
    await stores.keys.add(replace(row, rights=Rights(scopes=held)))
    await auth.load()
    if passes:
        assert auth.identify(key, None, scopes=needed).admin is ("admin" in held)
    else:
        with pytest.raises(ScopeMissing):
            auth.identify(key, None, scopes=needed)


async def test_who_needs_no_key_and_this_machines_own_may_do_everything(auth: Auth) -> None:
    key, _ = await auth.issue("this machine", machine=True)
    for caller in (auth.identify(key, None), auth.identify(None, same_user=True)):
        for scope in ("ask", "read", "admin"):
            demand(caller, scope)


# --- projects


async def test_a_key_is_counted_in_its_own_project_named_or_not(auth: Auth) -> None:
    key, _ = await auth.issue("aider", "Büro")
    for project in ("", "Büro", " Büro ", "BÃ¼ro"):  # the last is how UTF-8 comes out of a header
        assert (await entered(auth, key, project=project)).project == "Büro"


async def test_a_key_does_not_get_into_another_project(auth: Auth) -> None:
    key, row = await auth.issue("aider", "work")
    asked = exchange()
    asked.credential, asked.project = key, "private-plans"
    with pytest.raises(ProjectNotAllowed) as refused:
        await auth.enter(asked)
    assert (refused.value.status, refused.value.code) == (403, "project_not_allowed")
    assert "private-plans" not in refused.value.sentence
    assert (asked.caller.key_id, asked.caller.project) == (row.id, "work")


async def test_who_runs_the_house_may_name_any_project(stores: Stores, auth: Auth, clock: Clock) -> None:
    own, _ = await auth.issue("this machine", machine=True)
    chief, _ = await auth.issue("chief", "work", Rights(scopes=("admin",)))
    for key in (None, own, chief):
        assert (await entered(auth, key, project="web")).project == "web"
    assert (await entered(Auth(stores.keys, PEPPER, "off", clock), project="web")).project == "web"
    assert (await entered(auth, chief)).project == "work"
    assert (await entered(auth)).project == "default"


@pytest.mark.parametrize("project", ["a" * 81, "a\tb", "a\x1bb", "\x85", "   "])
@pytest.mark.parametrize("admin", [True, False])
def test_a_project_that_is_no_name_is_none_of_anybodys(project: str, admin: bool) -> None:
    with pytest.raises(BadRequest) as refused:
        within(Caller(admin=admin), project)
    assert refused.value.param == "x-membrain-project"


# --- what a key is bound to


@pytest.mark.parametrize("asked", [Hints(), Hints(private=True), Hints(tier="best"), Hints("fast", True, 0.5)])
@pytest.mark.parametrize(
    "rights", [Rights(), Rights(private=True), Rights(tier="fast"), Rights(tier="fast", private=True)]
)
def test_rights_tighten_what_was_asked_and_never_loosen_it(asked: Hints, rights: Rights) -> None:
    found = bound(asked, rights)
    assert found.private is (asked.private or rights.private)
    assert found.tier == (asked.tier or rights.tier)
    assert found.max_cost == asked.max_cost


async def test_what_a_key_is_bound_to_is_in_the_hints(auth: Auth) -> None:
    key, _ = await auth.issue("aider", rights=Rights(private=True, tier="quality"))
    asked = exchange()
    asked.credential = key
    await auth.enter(asked)
    assert asked.hints == Hints(tier="best", private=True)


# --- expiry


async def test_a_key_expires_to_the_second_and_says_so(auth: Auth, clock: Clock) -> None:
    key, row = await auth.issue("aider", rights=Rights(expires="2026-11-20T13:00:01+01:00"))
    assert row.rights.expires == "2026-11-20T12:00:01Z"
    clock.now = NOON + 0.999
    assert refusal(auth, key) is None
    assert auth.knows(key)
    assert not auth.expired(row)
    clock.now = NOON + 1
    assert refusal(auth, key) == "This client key has expired."
    assert not auth.knows(key)
    assert auth.expired(row)


async def test_an_expired_key_is_expired_after_a_restart_too_and_can_be_revoked(
    stores: Stores, auth: Auth, clock: Clock
) -> None:
    key, _ = await auth.issue("aider", rights=Rights(expires="2026-11-20T12:00:01Z"))
    clock.now = NOON + 60
    again = await restarted(stores, clock)
    assert refusal(again, key) == "This client key has expired."
    await again.revoke("aider")
    assert again.all() == []
    assert refusal(again, key) == "This client key is not known here, or was revoked."


@pytest.mark.parametrize("expires", ["soon", "2027-01-01", "2027-01-01T00:00:00", "99999"])
async def test_an_end_that_nobody_can_read_has_come(stores: Stores, auth: Auth, expires: str) -> None:
    key, row = mint("aider", "work", PEPPER, [], at=NOON)
    await stores.keys.add(replace(row, rights=Rights(expires=expires)))
    await auth.load()
    assert refusal(auth, key) == "This client key has expired."


# --- rights


async def test_rights_are_the_same_after_a_restart(stores: Stores, auth: Auth, clock: Clock) -> None:
    rights = Rights(
        scopes=("ask",),
        expires="2027-01-01T00:00:00Z",
        models=("gpt-4o*", "claude"),
        budget=Allowance(day=1, month=2, total=3),
        rate=Rate(4, 5),
        tier="fast",
        private=True,
    )
    key, row = await auth.issue("aider", "work", rights)
    again = await restarted(stores, clock)
    assert row.rights == auth.identify(key, None).rights == again.identify(key, None).rights == rights


@pytest.mark.parametrize(
    ("rights", "param"),
    [
        (Rights(scopes=()), "scopes"),
        (Rights(scopes=("ask", "everything")), "scopes"),
        (Rights(expires="2026-11-20T12:00:00Z"), "expires"),
        (Rights(expires="tomorrow"), "expires"),
        (Rights(expires="2027-01-01"), "expires"),
        (Rights(expires=""), "expires"),
        (Rights(models=("",)), "models"),
        (Rights(models=("a\nb",)), "models"),
        (Rights(models=("m" * 201,)), "models"),
        (Rights(models=tuple(map(str, range(101)))), "models"),
        (Rights(budget=Allowance(day=-1)), "budget.day"),
        (Rights(budget=Allowance(total=10**15 + 1)), "budget.total"),
        (Rights(rate=Rate(requests=0)), "rate.requests"),
        (Rights(rate=Rate(tokens=-5)), "rate.tokens"),
        (Rights(tier="turbo"), "tier"),
        (Rights(tier=""), "tier"),
    ],
)
async def test_rights_that_make_no_sense_make_no_key(auth: Auth, rights: Rights, param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        await auth.issue("aider", "work", rights)
    assert refused.value.param == param
    assert auth.all() == []


def test_rights_are_kept_as_they_are_spelt() -> None:
    given = Rights(
        scopes=("read", "ask", "read"), models=(" gpt-4o ", "gpt-4o"), tier=" Speed", budget=Allowance(day=0)
    )
    _, row = mint("aider", "work", PEPPER, [], given, at=NOON)
    assert row.rights == Rights(scopes=("ask", "read"), models=("gpt-4o",), tier="fast", budget=Allowance(day=0))


# --- rotation


async def test_a_rotated_key_is_the_same_key_with_another_string(stores: Stores, auth: Auth, clock: Clock) -> None:
    rights = Rights(models=("gpt-4o",))
    old, before = await auth.issue("aider", "work", rights)
    new, row = await auth.rotate("aider")
    assert re.fullmatch(r"ck_live_[0-9a-f]{32}", new)
    assert new != old
    assert row == replace(before, digest=digest_of(new, PEPPER), tail=new[-4:])
    for each in (auth, await restarted(stores, clock)):
        assert refusal(each, old) == "This client key is not known here, or was revoked."
        caller = each.identify(new, None)
        assert (caller.key_id, caller.name, caller.project, caller.rights) == (before.id, "aider", "work", rights)
        assert [key.tail for key in each.all()] == [new[-4:]]


@pytest.mark.parametrize("again", [False, True], ids=["running", "restarted"])
async def test_the_old_string_holds_as_long_as_was_said(stores: Stores, auth: Auth, clock: Clock, again: bool) -> None:
    old, _ = await auth.issue("aider", "work")
    new, row = await auth.rotate("aider", 60)
    auth = await restarted(stores, clock) if again else auth
    assert auth.identify(old, None) == auth.identify(new, None)
    assert [key.digest for key in auth.all()] == [row.digest], "one key, and its row is the new one"
    clock.now = NOON + 59.9
    assert refusal(auth, old) is None
    clock.now = NOON + 60
    assert refusal(auth, old) == "This client key was replaced by a new one."
    assert refusal(auth, new) is None


async def test_of_several_old_strings_each_has_its_time(stores: Stores, auth: Auth, clock: Clock) -> None:
    first, _ = await auth.issue("aider")
    second, _ = await auth.rotate("aider", 100)
    third, _ = await auth.rotate("aider", 10)
    clock.now = NOON + 50
    for each in (auth, await restarted(stores, clock)):
        assert [refusal(each, key) is None for key in (first, second, third)] == [True, False, True]


@pytest.mark.parametrize("end", ["rotate", "revoke"])
async def test_who_is_in_a_hurry_ends_every_old_string(stores: Stores, auth: Auth, clock: Clock, end: str) -> None:
    first, _ = await auth.issue("aider")
    second, _ = await auth.rotate("aider", 100)
    await getattr(auth, end)("aider")
    for each in (auth, await restarted(stores, clock)):
        assert refusal(each, first) is not None
        assert refusal(each, second) is not None


async def test_a_rotation_is_no_way_to_a_longer_life(stores: Stores, auth: Auth, clock: Clock) -> None:
    old, _ = await auth.issue("aider", rights=Rights(expires="2026-11-20T12:00:30Z"))
    new, _ = await auth.rotate("aider", 3600)
    clock.now = NOON + 30
    for each in (auth, await restarted(stores, clock)):
        assert refusal(each, old) == refusal(each, new) == "This client key has expired."


@pytest.mark.parametrize("grace", [-1, MOST_GRACE + 1, float("inf"), float("nan")])
async def test_an_old_string_does_not_live_for_ever(auth: Auth, grace: float) -> None:
    key, _ = await auth.issue("aider")
    with pytest.raises(BadRequest) as refused:
        await auth.rotate("aider", grace)
    assert refused.value.param == "grace"
    assert refusal(auth, key) is None


async def test_of_two_rotations_at_once_one_wins_and_one_is_told(stores: Stores, auth: Auth, clock: Clock) -> None:
    await auth.issue("aider")
    results = await asyncio.gather(*(auth.rotate("aider") for _ in range(4)), return_exceptions=True)
    won = [each for each in results if not isinstance(each, BaseException)]
    assert (len(won), sum(isinstance(each, BadRequest) for each in results)) == (1, 3)
    for each in (auth, await restarted(stores, clock)):
        assert refusal(each, won[0][0]) is None


@pytest.mark.parametrize("first", ["rotate", "revoke"])
async def test_a_key_that_is_revoked_while_it_is_rotated_is_revoked(
    stores: Stores, auth: Auth, clock: Clock, first: str
) -> None:
    old, _ = await auth.issue("aider")
    second = "revoke" if first == "rotate" else "rotate"
    results: list[Any] = await asyncio.gather(
        *(getattr(auth, each)("aider") for each in (first, second)), return_exceptions=True
    )
    strings = [old, *(each[0] for each in results if isinstance(each, tuple))]
    for each in (auth, await restarted(stores, clock)):
        assert all(refusal(each, key) for key in strings)
        assert each.all() == []


async def test_a_rotation_does_not_bring_back_what_was_revoked_meanwhile(
    stores: Stores, auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even if the revocation could not be written down."""
    old, _ = await auth.issue("aider")
    known, gate, rotate = auth.all(), asyncio.Event(), stores.keys.rotate

    async def slow(rotation: Rotation) -> bool:
        await gate.wait()
        return await rotate(rotation)

    async def broken(*_: object) -> None:
        raise GuardFailed("The list of client keys cannot be written: the disk is full.")

    monkeypatch.setattr(stores.keys, "rotate", slow)
    monkeypatch.setattr(stores.keys, "revoke", broken)
    rotating = asyncio.create_task(auth.rotate("aider", 60))
    await asyncio.sleep(0)
    with pytest.raises(GuardFailed):
        await auth.revoke("aider")
    gate.set()
    with pytest.raises(BadRequest, match="at the same moment"):
        await rotating
    assert refusal(auth, old) is not None
    assert auth.all() == known


async def test_a_rotation_that_could_not_be_kept_changes_nothing(stores: Stores, auth: Auth) -> None:
    key, row = await auth.issue("aider")
    await stores.close()
    with pytest.raises(MembrainError):
        await auth.rotate("aider")
    assert refusal(auth, key) is None
    assert auth.all() == [row]


async def test_a_revocation_that_could_not_be_kept_holds_and_can_be_tried_again(stores: Stores, auth: Auth) -> None:
    key, _ = await auth.issue("aider")
    former, key = key, (await auth.rotate("aider", 60))[0]
    await stores.close()
    for _ in range(2):  # not `NotFound` the second time, or nobody would learn that it comes back with a restart
        with pytest.raises(MembrainError) as told:
            await auth.revoke("aider")
        assert told.value.status == 503
        assert all(refusal(auth, each) for each in (former, key))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("issue"), st.sampled_from(("aider", "ci")), st.sampled_from((None, 5, 40))),
        st.tuples(st.just("rotate"), st.sampled_from(("aider", "ci")), st.sampled_from((0, 3, 30))),
        st.tuples(st.just("revoke"), st.sampled_from(("aider", "ci")), st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.sampled_from((1, 3, 7))),
        st.tuples(st.just("restart"), st.just(""), st.just(0)),
    ),
    max_size=14,
)


class Book:
    """What should hold, kept as a person would: each string, whose it is, and until when."""

    def __init__(self) -> None:
        self.strings: dict[str, tuple[str, float]] = {}
        self.ends: dict[str, float] = {}
        self.newest: dict[str, str] = {}

    def issued(self, name: str, key: str, end: float) -> None:
        self.strings[key], self.ends[name], self.newest[name] = (name, end), end, key

    def rotated(self, name: str, key: str, until: float | None) -> None:
        for each, (whose, end) in list(self.strings.items()):
            if whose == name and until is None:
                self.strings[each] = (name, 0)
            elif each == self.newest[name] and until is not None:
                self.strings[each] = (name, min(end, until))
        self.strings[key], self.newest[name] = (name, self.ends[name]), key

    def revoked(self, name: str) -> None:
        del self.newest[name]
        for each, (whose, _) in list(self.strings.items()):
            if whose == name:
                self.strings[each] = (name, 0)

    def holding(self, now: float) -> dict[str, str]:
        return {each: name for each, (name, end) in self.strings.items() if now < end}


async def take(step: tuple[str, str, Any], auth: Auth, clock: Clock, book: Book) -> None:
    what, name, number = step
    if what == "wait":
        clock.now += number
    elif what == "issue":
        expires = None if number is None else _stamp(clock.now + number)
        with suppress(BadRequest):  # the name is taken
            key, _ = await auth.issue(name, rights=Rights(expires=expires))
            book.issued(name, key, math.inf if number is None else clock.now + number)
    elif what == "rotate" and name in book.newest:
        key, _ = await auth.rotate(name, number)
        book.rotated(name, key, clock.now + number if number else None)
    elif what == "revoke" and name in book.newest:
        await auth.revoke(name)
        book.revoked(name)


@settings(max_examples=40)
@given(steps=STEPS)
def test_whatever_is_done_to_keys_those_hold_that_should(steps: list[tuple[str, str, Any]]) -> None:
    async def all_of_it(folder: str) -> None:
        stores, clock, book = open_stores(Path(folder) / "membrain.db", instance="t", key=b"k" * 32), Clock(), Book()
        auth = await restarted(stores, clock, "token")
        for step in steps:
            if step[0] == "restart":
                auth = await restarted(stores, clock, "token")
            await take(step, auth, clock, book)
            held = {key: auth.identify(key, None).name for key in book.strings if auth.knows(key)}
            assert held == book.holding(clock.now)
            assert sorted(key.name for key in auth.all()) == sorted(book.newest)
        await stores.close()

    with TemporaryDirectory() as folder:
        asyncio.run(all_of_it(folder))


async def test_this_machines_own_key_is_not_rotated(auth: Auth) -> None:
    _, row = await auth.issue("this machine", machine=True)
    for which in (row.id, row.name):
        with pytest.raises(Forbidden):
            await auth.rotate(which)


def test_turning_a_key_tells_the_store_no_string() -> None:
    key, row = mint("aider", "work", PEPPER, [], at=NOON)
    new, turned_row, rotation = turned(row, PEPPER, 90.5, NOON)
    assert rotation.until == "2026-11-20T12:01:30Z"
    assert not any(string[8:] in repr((rotation, turned_row)) for string in (key, new))


# --- keys


async def test_a_key_is_given_once_and_kept_as_a_digest(stores: Stores, auth: Auth, tmp_path: Path) -> None:
    key, row = await auth.issue("aider", "work")
    assert re.fullmatch(r"ck_live_[0-9a-f]{32}", key)
    assert (row.name, row.project, row.tail, row.revoked) == ("aider", "work", key[-4:], None)
    assert row.digest == digest_of(key, PEPPER) != digest_of(key, b"")
    assert re.fullmatch(r"[0-9a-f]{8}", row.id)
    assert key not in repr(row) + repr(vars(auth))
    await stores.close()
    kept = b"".join([path.read_bytes() for path in tmp_path.iterdir()])  # noqa: ASYNC240  # a few small files
    assert key.encode() not in kept
    assert key[8:].encode() not in kept


async def test_keys_are_known_again_after_a_restart(stores: Stores, auth: Auth) -> None:
    key, row = await auth.issue("aider")
    again = Auth(stores.keys, PEPPER, "token")
    await again.load()
    assert again.identify(key, None).key_id == row.id
    assert again.knows(key)


@pytest.mark.parametrize("by", ["id", "name"])
async def test_a_revoked_key_is_wrong_from_then_on(stores: Stores, auth: Auth, by: str) -> None:
    key, row = await auth.issue("aider")
    await auth.revoke(getattr(row, by))
    again = Auth(stores.keys, PEPPER, "local")
    await again.load()
    for each in (auth, again):
        with pytest.raises(Unauthorized):
            each.identify(key, same_user=True)
        assert each.all() == []
        assert not each.knows(key)


async def test_a_key_that_is_not_there_cannot_be_revoked(auth: Auth) -> None:
    await auth.issue("aider")
    with pytest.raises(NotFound):
        await auth.revoke("somebody")
    await auth.revoke("aider")
    with pytest.raises(NotFound):
        await auth.revoke("aider")


async def test_the_machines_own_key_may_do_everything_and_stays(auth: Auth) -> None:
    key, row = await auth.issue("this machine", machine=True)
    assert row.id.startswith(MACHINE)
    assert auth.identify(key, None).admin
    for which in (row.id, row.name):
        with pytest.raises(Forbidden):
            await auth.revoke(which)
    await auth.forget(row)
    assert not auth.knows(key)


async def test_a_name_is_taken_once(auth: Auth) -> None:
    await auth.issue("aider")
    with pytest.raises(BadRequest, match="aider already") as refused:
        await auth.issue(" aider ")
    assert refused.value.param == "name"
    await auth.revoke("aider")
    await auth.issue("aider")


async def test_two_who_want_one_name_at_once_do_not_both_get_it(auth: Auth) -> None:
    results = await asyncio.gather(*(auth.issue("aider") for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(each, BadRequest) for each in results) == 4
    assert len(auth.all()) == 1


async def test_a_key_that_could_not_be_kept_is_none(stores: Stores, auth: Auth) -> None:
    await stores.close()
    with pytest.raises(MembrainError):
        await auth.issue("aider")
    assert auth.all() == []


@pytest.mark.parametrize("name", ["", "   ", "a" * 81, "a\nb", "a\x1b[31m", "\u202eabc"])
@pytest.mark.parametrize("field", ["name", "project"])
async def test_names_are_short_and_printable(auth: Auth, name: str, field: str) -> None:
    given = {"name": "good", "project": "good", field: name}
    with pytest.raises(BadRequest) as refused:
        await auth.issue(given["name"], given["project"])
    assert refused.value.param == field


def test_a_key_of_an_offline_gateway_is_made_alike() -> None:
    key, row = mint("aider", "work", PEPPER, [])
    assert row.digest == digest_of(key, PEPPER)
    assert named("aider", [row]) is row
    revoked = ClientKey.from_dict({**row.to_dict(), "revoked": "2026-01-01T00:00:00Z"})
    with pytest.raises(NotFound):
        named("aider", [revoked])
    assert mint("aider", "work", PEPPER, [revoked])[1].name == "aider"


def test_a_name_that_is_anothers_id_is_taken() -> None:
    _, row = mint("aider", "work", PEPPER, [])
    with pytest.raises(BadRequest, match="already"):
        mint(row.id, "work", PEPPER, [row])


def test_a_thousand_keys_are_a_thousand_keys() -> None:
    assert len({mint("a", "b", PEPPER, [])[0] for _ in range(1000)}) == 1000


async def test_what_is_kept_is_a_plain_table(stores: Stores, auth: Auth, tmp_path: Path) -> None:
    """So that a person can look: a digest, and nothing that opens anything."""
    key, row = await auth.issue("aider")
    with closing(sqlite3.connect(tmp_path / "membrain.db")) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = [str(each) for table in tables for each in database.execute(f"SELECT * FROM {table}").fetchall()]  # noqa: S608
    assert any(row.digest in each for each in rows)
    assert not any(key in each for each in rows)
