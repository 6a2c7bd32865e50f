"""Auth: who is this, in three modes; and keys that are kept as digests only."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from membrain.errors import BadRequest, Forbidden, MembrainError, NotFound, Unauthorized
from membrain.records import ClientKey
from membrain.stages.auth import MACHINE, Auth, digest_of, mint, named
from membrain.stores.base import Stores
from membrain.stores.open import open_stores
from tests.fakes import exchange

pytestmark = pytest.mark.anyio
PEPPER = b"p" * 32


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    stores = open_stores(tmp_path / "membrain.db", instance="test")
    yield stores
    await stores.close()


@pytest.fixture
async def auth(stores: Stores) -> Auth:
    auth = Auth(stores.keys, PEPPER, "local")
    await auth.load()
    return auth


async def entered(auth: Auth, credential: str | None = None, same_user: bool | None = True, user: str = "") -> object:
    asked = exchange()
    asked.credential, asked.same_user, asked.user = credential, same_user, user
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
async def test_a_key_is_right_to_the_last_sign(auth: Auth, near: object) -> None:
    key, _ = await auth.issue("aider")
    assert callable(near)
    with pytest.raises(Unauthorized):
        auth.identify(near(key), same_user=True)


async def test_another_pepper_makes_every_key_wrong(stores: Stores, auth: Auth) -> None:
    key, _ = await auth.issue("aider")
    other = Auth(stores.keys, b"q" * 32, "local")
    await other.load()
    with pytest.raises(Unauthorized):
        other.identify(key, same_user=True)


# --- the room


async def test_the_caller_is_noted_on_the_exchange(auth: Auth) -> None:
    key, row = await auth.issue("aider")
    assert await entered(auth, key) == auth.identify(key, None)
    caller = await entered(auth, key, user="ada")
    assert (caller.user, caller.key_id) == ("ada", row.id)  # type: ignore[attr-defined]  # a caller


async def test_a_label_of_the_caller_is_never_an_identity(auth: Auth) -> None:
    """Whoever calls itself somebody else has the same key, project and rights as before."""
    key, _ = await auth.issue("aider", "work")
    plain, labelled = await entered(auth, key), await entered(auth, key, user="machine-00000000")
    assert labelled.to_dict() == {**plain.to_dict(), "user": "machine-00000000"}  # type: ignore[attr-defined]  # callers


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
    revoked = ClientKey(**{**row.to_dict(), "revoked": "2026-01-01T00:00:00Z"})
    with pytest.raises(NotFound):
        named("aider", [revoked])
    assert mint("aider", "work", PEPPER, [revoked])[1].name == "aider"


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
