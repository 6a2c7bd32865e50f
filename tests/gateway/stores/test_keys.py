"""The client keys, looked after from the command line."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from membrain.errors import BadRequest, GuardFailed, NotFound
from membrain.records import Allowance, ClientKey, Rate, Rights
from membrain.stores import database as file
from membrain.stores.base import FormerKey, Rotation
from membrain.stores.keys import KeyFile
from membrain.stores.open import open_stores
from tests.gateway.stores.made import KEY, a_key, moment


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "data" / "audit.db")


def test_keys_are_kept_and_revoked_without_a_gateway(keys: KeyFile) -> None:
    keys.add(a_key("k1"))
    keys.add(a_key("k2", created=moment(1)))
    keys.revoke("k1", moment(5))
    keys.revoke("k1", moment(6))
    assert keys.all() == [a_key("k1", revoked=moment(5)), a_key("k2", created=moment(1))]
    with pytest.raises(BadRequest):
        keys.add(a_key("k1"))
    with pytest.raises(NotFound, match="no such client key"):
        keys.revoke("nobody", moment(1))


def test_a_key_issued_beside_a_running_gateway_is_seen_by_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"

    async def both() -> None:
        stores = open_stores(path, instance="i", key=KEY)
        KeyFile(path).add(a_key("beside"))
        assert [key.id for key in await stores.keys.all()] == ["beside"]
        await stores.keys.revoke("beside", moment(1))
        assert KeyFile(path).all()[0].revoked == moment(1)
        await stores.close()

    asyncio.run(both())


# --- rights

NARROW = Rights(("ask",), moment(99), ("gpt-4o*",), Allowance(1, 2, 3), Rate(4, 5), "fast", private=True)


def row_of(keys: KeyFile, id: str) -> str:
    """The rights of a key, as they are written."""
    with closing(sqlite3.connect(keys._path)) as database:
        (found,) = database.execute("SELECT rights FROM client_keys WHERE id = ?", (id,)).fetchone()
    assert isinstance(found, str)
    return found


def write_rights(keys: KeyFile, id: str, rights: str) -> None:
    with closing(sqlite3.connect(keys._path)) as database, database:
        database.execute("UPDATE client_keys SET rights = ? WHERE id = ?", (rights, id))


def test_rights_come_back_as_they_were_given(keys: KeyFile) -> None:
    given = [a_key("k1", rights=NARROW), a_key("k2", created=moment(1))]
    for key in given:
        keys.add(key)
    assert keys.all() == given


def test_a_key_from_before_there_were_rights_has_the_usual_ones(keys: KeyFile) -> None:
    keys.add(a_key("k1", rights=NARROW))
    write_rights(keys, "k1", "{}")
    assert keys.all() == [a_key("k1", rights=Rights())]


def test_what_a_newer_membrain_knows_of_a_key_survives_us(keys: KeyFile) -> None:
    keys.add(a_key("k1"))
    newer = '{"scopes": ["ask"], "regions": ["eu"], "budget": {"day": 7, "year": 9}}'
    write_rights(keys, "k1", newer)
    (key,) = keys.all()
    assert key.rights == Rights(scopes=("ask",), budget=Allowance(day=7))
    assert keys.rotate(a_rotation(key))
    keys.revoke("k1", moment(5))
    assert row_of(keys, "k1") == newer


@pytest.mark.parametrize(
    "rights", ["", "{", "7", "[]", '"ask"', "null", '{"scopes": 7}', '{"budget": 7}', '{"rate": "x"}']
)
def test_rights_that_cannot_be_read_are_not_taken_for_none(keys: KeyFile, rights: str) -> None:
    keys.add(a_key("k1", rights=NARROW))
    write_rights(keys, "k1", rights)
    with pytest.raises(GuardFailed, match="The list of client keys cannot be read: its file is damaged"):
        keys.all()


# --- rotation


def a_rotation(key: ClientKey, new: str = "new", at: float = 1, until: float | None = None) -> Rotation:
    end = None if until is None else moment(until)
    return Rotation(key.id, old=key.digest, new=new, tail=new[-4:], at=moment(at), until=end)


class Held:
    """The keys of a running gateway, asked like the file."""

    def __init__(self, keys: KeyFile) -> None:
        self._keys = keys

    def rotate(self, rotation: Rotation) -> bool:
        async def done() -> bool:
            stores = open_stores(self._keys._path, instance="i", key=KEY)
            changed = await stores.keys.rotate(rotation)
            assert await stores.keys.former() == self._keys.former()
            await stores.close()
            return changed

        return asyncio.run(done())


@pytest.fixture(params=[KeyFile.rotate, lambda keys, rotation: Held(keys).rotate(rotation)], ids=["file", "gateway"])
def rotate(request: pytest.FixtureRequest) -> Callable[[KeyFile, Rotation], bool]:
    how: Callable[[KeyFile, Rotation], bool] = request.param
    return how


def test_a_rotation_changes_what_recognises_a_key_and_nothing_else(
    keys: KeyFile, rotate: Callable[[KeyFile, Rotation], bool]
) -> None:
    key = a_key("k1", rights=NARROW, last_used=moment(0))
    keys.add(key)
    assert rotate(keys, a_rotation(key))
    assert keys.all() == [replace(key, digest="new", tail="new")]
    assert keys.former() == []


def test_the_old_digest_is_kept_as_long_as_it_holds(keys: KeyFile, rotate: Callable[[KeyFile, Rotation], bool]) -> None:
    keys.add(first := a_key("k1"))
    keys.add(other := a_key("k2"))
    assert rotate(keys, a_rotation(other, "o2", until=3))
    assert rotate(keys, a_rotation(first, "f2", until=9))
    assert sorted(keys.former(), key=lambda each: each.id) == [
        FormerKey(first.digest, "k1", moment(9)),
        FormerKey(other.digest, "k2", moment(3)),
    ]
    assert rotate(keys, a_rotation(replace(first, digest="f2"), "f3", at=5, until=20))
    assert {each.digest for each in keys.former()} == {first.digest, "f2"}, "what is over is swept away"
    assert rotate(keys, a_rotation(replace(first, digest="f3"), "f4", at=6))
    assert keys.former() == [], "without a grace none of them holds"


def test_who_rotates_what_is_no_longer_so_changes_nothing(
    keys: KeyFile, rotate: Callable[[KeyFile, Rotation], bool]
) -> None:
    keys.add(key := a_key("k1"))
    assert rotate(keys, a_rotation(key, "one"))
    assert not rotate(keys, a_rotation(key, "two", until=9))
    assert not rotate(keys, a_rotation(a_key("nobody")))
    assert [(each.digest, each.revoked) for each in keys.all()] == [("one", None)]
    keys.revoke("k1", moment(2))
    assert not rotate(keys, a_rotation(replace(key, digest="one"), "three", until=9))
    assert keys.former() == []


def test_a_revoked_key_leaves_no_old_digest(keys: KeyFile) -> None:
    keys.add(key := a_key("k1"))
    assert keys.rotate(a_rotation(key, until=900))
    keys.revoke("k1", moment(2))
    assert keys.former() == []


# --- faults


def test_a_file_that_another_program_holds_is_told_and_not_waited_for(
    keys: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.add(a_key("k1"))
    monkeypatch.setattr(file, "PATIENCE", 0.1)
    with closing(sqlite3.connect(keys._path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(GuardFailed, match="another program has held it"):
            keys.add(a_key("k2"))
        assert [key.id for key in keys.all()] == ["k1"], "reading needs nobody's leave"


def test_a_damaged_file_is_told_in_reading(keys: KeyFile) -> None:
    keys.add(a_key("k1"))
    keys._path.write_bytes(b"once upon a time" * 1000)
    with pytest.raises(GuardFailed, match="cannot be read"):
        keys.all()
