"""The verifier that needs nothing of ours: what it finds, says and gives back, and that it agrees with our own."""

from __future__ import annotations

import ast
import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from membrain.heads import sign
from membrain.stores.chain import Head, head_of, verify
from tests.gateway.stores.made import KEY
from tests.tampering import KINDS, VERIFIER, Target, seed, verifier, write_audit

ROUNDS = 50
"""Changes of each kind. The 10,000 of each are in tests/bench_chain.py."""


@pytest.fixture(scope="module")
def alone() -> Any:
    return verifier()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return Target.make(tmp_path_factory.mktemp("tampered"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An audit, its key and its head, as a third party is given them."""
    write_audit(tmp_path / "audit.db", 6)
    head = head_of(tmp_path / "audit.db", KEY)
    assert head is not None
    (tmp_path / "key").write_text(KEY.hex() + "\n")
    (tmp_path / "audit.head").write_text(sign(head, KEY) + "\n")
    return tmp_path


def run(folder: Path, *more: str) -> tuple[int, str]:
    """As a third party runs it: with Python alone, isolated from all that is installed here."""
    command = [sys.executable, "-I", "-S", str(VERIFIER), str(folder / "audit.db"), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert not done.stderr or done.returncode == 2, done.stderr
    return done.returncode, done.stdout.strip()


def with_key(folder: Path, *more: str) -> tuple[int, str]:
    return run(folder, "--key", str(folder / "key"), *more)


def test_it_has_at_most_80_lines_and_uses_the_standard_library_alone() -> None:
    text = VERIFIER.read_text()
    assert len(text.splitlines()) <= 80
    assert max(map(len, text.splitlines())) <= 120
    names = [alias.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for alias in node.names]
    assert set(names) <= sys.stdlib_module_names
    assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]


def test_a_sound_audit_is_called_sound(folder: Path) -> None:
    records = verify(folder / "audit.db", KEY).records
    assert with_key(folder) == (0, f"{records} records are sound; heads at hand: 0.")
    assert with_key(folder, "--head", str(folder / "audit.head")) == (
        0,
        f"{records} records are sound; heads at hand: 1.",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_change_is_found_and_its_first_record_named(alone: Any, target: Target, kind: str) -> None:
    random = Random(number := seed())
    for _ in range(ROUNDS):
        with target.tampered(KINDS[kind], random) as expected:
            wrong = alone.chain(target.database, KEY, target.heads)[1] or alone.index(target.database)
        assert wrong is not None, f"seed {number}"
        assert wrong[0] in expected, f"{wrong}, seed {number}"


def test_an_older_copy_is_found_by_the_head_that_was_noted(alone: Any, target: Target) -> None:
    random = Random(seed())
    for _ in range(ROUNDS):
        database, expected = target.rolled_back(random)
        with closing(database):
            _, wrong = alone.chain(database, KEY, target.heads)
            assert wrong is not None
            assert wrong[0] in expected


def test_what_is_bad_is_told_with_status_1(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "audit.db")) as database, database:
        database.execute("UPDATE entries SET body = replace(body, 'aider', 'codex') WHERE seq = 1")
    assert with_key(folder) == (1, "Record 1 is bad: its text was changed.")
    assert verify(folder / "audit.db", KEY).bad == 1


def test_an_end_that_was_cut_off_shows_with_a_head_only(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "audit.db")) as database, database:
        (last,) = database.execute("SELECT max(seq) FROM exchanges").fetchone()
        database.execute("DELETE FROM exchanges WHERE seq = ?", (last,))
        database.execute("DELETE FROM entries WHERE seq >= ?", (last,))
    status, said = with_key(folder, "--head", str(folder / "audit.head"))
    assert (status, said) == (1, f"Record {last} is bad: the end was cut off.")
    assert with_key(folder)[0] == 0


def test_a_head_that_was_not_signed_with_the_key_counts_for_nothing(folder: Path) -> None:
    foreign = sign(Head(10**6, "ab" * 32, "2026-11-22T00:00:00.000Z"), b"x" * 32)
    (folder / "audit.head").write_text(f"{foreign}\n\ngarbage\n")
    status, said = with_key(folder, "--head", str(folder / "audit.head"))
    assert status == 0
    assert said.endswith("heads at hand: 0.")


@pytest.mark.parametrize("what", ["no database", "no key", "key of words", "no head", "no audit", "damaged"])
def test_what_cannot_be_checked_has_status_2(folder: Path, what: str) -> None:
    more = ["--key", str(folder / "key")]
    if what == "no database":
        (folder / "audit.db").unlink()
    elif what == "no key":
        (folder / "key").unlink()
    elif what == "key of words":
        (folder / "key").write_text("open sesame")
    elif what == "no head":
        more += ["--head", str(folder / "none")]
    elif what == "no audit":
        (folder / "audit.db").unlink()
        sqlite3.connect(folder / "audit.db").close()
    else:
        (folder / "audit.db").write_bytes(b"once upon a time" * 500)
    status, said = run(folder, *more)
    assert status == 2
    assert said.startswith("Not checkable: ")


def test_asked_without_a_key_it_says_how(folder: Path) -> None:
    assert run(folder)[0] == 2


def test_it_reads_an_audit_that_is_being_written(folder: Path) -> None:
    from membrain.stores.open import open_stores
    from tests.gateway.stores.made import an_intent

    async def live() -> None:
        stores = open_stores(folder / "audit.db", instance="i", key=KEY)
        await stores.audit.intend(an_intent())
        status, _ = await asyncio.to_thread(with_key, folder)
        await stores.close()
        assert status == 0

    asyncio.run(live())
