"""The client keys, looked after from the command line."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from membrain.errors import BadRequest, GuardFailed, NotFound
from membrain.stores import database as file
from membrain.stores.keys import KeyFile
from membrain.stores.open import open_stores
from tests.gateway.stores.made import a_key, moment


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
        stores = open_stores(path, instance="i")
        KeyFile(path).add(a_key("beside"))
        assert [key.id for key in await stores.keys.all()] == ["beside"]
        await stores.keys.revoke("beside", moment(1))
        assert KeyFile(path).all()[0].revoked == moment(1)
        await stores.close()

    asyncio.run(both())


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
