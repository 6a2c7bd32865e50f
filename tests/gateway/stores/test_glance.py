"""A glance at the chain: one exchange's place in it, and whether its end is whole."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from membrain.errors import AuditUnavailable, NotFound
from membrain.stores.base import AuditQuery
from membrain.stores.chain import Head, head_of
from membrain.stores.glance import Glance, count, last, length, link
from membrain.stores.open import open_stores
from tests.gateway.stores.made import KEY, an_intent, an_outcome

OTHER = b"o" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An audit of three exchanges, so of six records."""
    made = tmp_path / "membrain.db"

    async def write() -> None:
        stores = open_stores(made, instance="test", key=KEY)
        for user in ("ada", "bob", "ada"):
            intent = an_intent(id=f"{user}-{length(made)}")
            await stores.audit.intend(intent)
            await stores.audit.conclude(an_outcome(intent, user=user))
        await stores.close()

    asyncio.run(write())
    return made


def tampered(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute(statement)
        database.commit()


def test_an_exchange_stands_where_its_latest_record_does(path: Path) -> None:
    found = link(path, KEY, "bob-2")
    assert (found.seq, found.sound) == (4, True)
    assert found.seal == link(path, KEY, "bob-2").seal != found.previous
    tampered(path, "DELETE FROM entries WHERE seq > 4")
    head = head_of(path, KEY)
    assert head is not None
    assert found.seal == head.seal


def test_the_first_record_is_sealed_over_nothing(path: Path) -> None:
    tampered(path, "UPDATE exchanges SET entry = 1 WHERE seq = 1")
    assert link(path, KEY, "ada-0").previous == "00" * 32


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET seal = zeroblob(32) WHERE seq = 4",
        "UPDATE entries SET seal = zeroblob(32) WHERE seq = 3",
        "UPDATE entries SET seal = NULL WHERE seq = 4",
        "UPDATE entries SET seal = NULL WHERE seq = 3",
        "UPDATE entries SET body = 'x' WHERE seq = 4",
        "UPDATE entries SET salt = NULL WHERE seq = 4",
        "UPDATE entries SET digest = NULL WHERE seq = 4",
        "UPDATE entries SET at = 'x' WHERE seq = 4",
        "DELETE FROM entries WHERE seq = 3",
    ],
)
def test_a_record_that_does_not_fit_is_not_sound(statement: str, path: Path) -> None:
    tampered(path, statement)
    assert link(path, KEY, "bob-2").sound is False


def test_with_another_key_nothing_is_sound(path: Path) -> None:
    assert link(path, OTHER, "bob-2").sound is False
    assert last(path, OTHER).reason == "Record 1 does not match its seal."


def test_an_exchange_that_is_not_there_is_not_found(path: Path) -> None:
    with pytest.raises(NotFound):
        link(path, KEY, "bob")


def test_a_sound_end_is_said_to_be_so(path: Path) -> None:
    assert last(path, KEY) == Glance(6, None)
    assert last(path, KEY, count=2) == Glance(2, None)
    assert last(path, KEY, [head] if (head := head_of(path, KEY)) else []) == Glance(6, None)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE entries SET kind = 'x' WHERE seq = 5", "Record 5 does not match its seal."),
        ("UPDATE entries SET body = 'x' WHERE seq = 6", "Record 6 does not match its seal."),
        ("DELETE FROM entries WHERE seq = 5", "Record 5 is missing."),
        ("DELETE FROM entries WHERE seq = 1", "Record 1 is missing."),
        ("UPDATE entries SET seq = 9 WHERE seq = 6", "Record 6 is missing."),
    ],
)
def test_what_is_wrong_with_the_end_is_named(statement: str, reason: str, path: Path) -> None:
    tampered(path, statement)
    assert last(path, KEY).reason == reason


def test_a_glance_sees_no_further_than_it_looks(path: Path) -> None:
    tampered(path, "UPDATE entries SET kind = 'x' WHERE seq = 2")
    assert last(path, KEY, count=4) == Glance(4, None)
    assert last(path, KEY, count=5).reason == "Record 2 does not match its seal."


def test_an_end_that_was_cut_off_or_put_back_is_seen_by_its_head(path: Path) -> None:
    head = head_of(path, KEY)
    assert head is not None
    other = Head(4, "00" * 32, head.at)
    assert last(path, KEY, [other]).reason == "Record 4 is not the one that was noted elsewhere."
    tampered(path, "DELETE FROM entries WHERE seq = 6")
    assert last(path, KEY, [head]).reason == "The audit ends with record 5, but record 6 was noted elsewhere."


def test_an_erased_text_is_no_fault(path: Path) -> None:
    from membrain.stores.chain import erase

    assert erase(path, KEY, AuditQuery(user="ada"), "2026-11-22T12:00:00Z") == 2
    assert last(path, KEY) == Glance(7, None)


def test_records_and_exchanges_are_counted(path: Path, tmp_path: Path) -> None:
    assert length(path) == 6
    assert length(tmp_path / "nothing.db") == 0
    assert (
        count(path, AuditQuery()),
        count(path, AuditQuery(user="ada", limit=1)),
        count(path, AuditQuery(id="x")),
    ) == (
        3,
        2,
        0,
    )


def test_what_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "membrain.db"
    with pytest.raises(NotFound):
        last(path, KEY)
    path.write_bytes(b"no database" * 100)
    for look in (lambda: last(path, KEY), lambda: length(path), lambda: link(path, KEY, "x")):
        with pytest.raises(AuditUnavailable):
            look()
