"""Checks of the files: settings, folders, keyring, the store's faults, and the end of the chain."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from membrain.heads import head_file
from membrain.places import Places
from membrain_cli import daemon
from membrain_cli.doctor import files
from membrain_cli.doctor.finding import Finding
from tests.cli.patients import only, patient
from tests.cli.shell import membrain
from tests.cli.trails import exchange, tampered, written
from tests.served import Served


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_file_that_others_may_open_is_broken(mode: int, environ: dict[str, str]) -> None:
    places = Places.find(environ).create()
    path = places.data / "membrain.db"
    path.touch()
    path.chmod(mode)
    finding = only(files.folders, environ)
    assert (finding.state, finding.remedy) == ("broken", f"chmod go= {path}")
    subprocess.run(finding.remedy.split(), check=True)
    assert only(files.folders, environ).state == "fine"


def test_a_machine_without_a_keyring_is_told(environ: dict[str, str]) -> None:
    bare = {**environ, "MEMBRAIN_SECRETS_BACKEND": "keyring"}
    ran = membrain("doctor", "--json", environ=bare)
    assert '"name": "keyring", "words": "this machine has none"' in ran.out


@pytest.fixture
def path(environ: dict[str, str]) -> Path:
    """A store with something on record."""
    written(environ, exchange(), exchange())
    return Places.find(environ).database


def test_a_damaged_store_is_broken(path: Path, environ: dict[str, str]) -> None:
    assert only(files.store, environ).state == "fine"
    path.write_bytes(path.read_bytes()[:100] + os.urandom(4000))
    finding = only(files.store, environ)
    assert (finding.state, finding.words[:8]) == ("broken", "damaged:")
    assert finding.remedy == f"mv {path} {path}.damaged && membrain restart"


@pytest.mark.usefixtures("path")
def test_a_store_in_use_is_fine(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    assert only(files.store, beside).state == "fine"


def test_a_locked_store_is_broken(path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        finding = only(files.store, environ)
    assert (finding.state, finding.remedy) == ("broken", f"lsof {path}")
    assert finding.words.startswith("another program has held it")
    assert only(files.store, environ).state == "fine"


def test_a_read_only_store_is_broken(path: Path, environ: dict[str, str]) -> None:
    """In a process that no longer may what root may."""
    path.chmod(0o400)
    path.parent.chmod(0o500)
    with as_somebody(path):
        finding = only(files.store, environ)
    assert (finding.state, finding.words) == ("broken", "its file is read-only, so nothing is let out")
    assert finding.remedy == f"chmod u+w {path}"


@contextmanager
def as_somebody(path: Path) -> Iterator[None]:
    """This process, and the folder of *path*, belong to an ordinary user; for root, who may write everything."""
    if os.geteuid() != 0:
        yield
        return
    for each in (path.parent, *path.parent.iterdir()):
        os.chown(each, 1234, 1234)
    shut = {each: mode for each in path.parent.parents if (mode := each.stat().st_mode) & 0o011 != 0o011}
    for folder, mode in shut.items():
        folder.chmod(mode | 0o011)
    os.seteuid(1234)
    try:
        yield
    finally:
        os.seteuid(0)
        for folder, mode in shut.items():
            folder.chmod(mode)


@pytest.mark.parametrize(
    ("free", "state", "words"),
    [
        (0, "broken", "the disk is full, so nothing is let out"),
        (12_000_000, "look", "only 12 MB are left on its disk"),
        (10**12, "fine", "0.1 MB, sound"),
    ],
)
def test_a_disk_with_no_room_is_told(
    free: int, state: str, words: str, path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    finding = only(files.store, environ)
    assert (finding.state, finding.words) == (state, words)


@pytest.mark.usefixtures("path")
def test_a_gateway_that_cannot_write_says_why(environ: dict[str, str]) -> None:
    someone = patient(environ)
    said = {"store": "The audit cannot be written: the disk is full."}
    someone.reach.running = daemon.Running(1, "127.0.0.1", 1, "", "", "", said)
    (finding,) = files.store(someone)
    assert finding == Finding("broken", "store", "The audit cannot be written: the disk is full", "membrain logs")


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR | 1 << 8, sqlite3.SQLITE_CANTOPEN, 9999])
def test_every_fault_of_a_store_has_words_and_a_remedy(code: int, path: Path) -> None:
    finding = files.unusable(path, code, "it said so")
    assert finding.state == "broken"
    assert finding.words
    assert str(path.parent) in finding.remedy


# --- the chain ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("path")
def test_a_sound_chain_is_fine(environ: dict[str, str]) -> None:
    assert only(files.trail, environ) == Finding("fine", "audit", "the last 2 records fit their seals")


@pytest.mark.usefixtures("path")
def test_a_chain_that_was_tampered_with_is_broken(environ: dict[str, str]) -> None:
    tampered(environ, "UPDATE entries SET at = 0 WHERE seq = 2")
    finding = only(files.trail, environ)
    assert finding == Finding("broken", "audit", "Record 2 does not match its seal", "membrain audit verify")


@pytest.mark.usefixtures("path")
def test_a_chain_that_was_cut_off_is_broken(environ: dict[str, str]) -> None:
    tampered(environ, "DELETE FROM entries WHERE seq = 2")
    assert "record 2 was noted elsewhere" in only(files.trail, environ).words


@pytest.mark.usefixtures("path")
def test_a_chain_of_which_no_head_is_known_is_to_be_looked_at(environ: dict[str, str]) -> None:
    head_file(Places.find(environ)).unlink()
    assert only(files.trail, environ).state == "look"


@pytest.mark.usefixtures("path")
def test_a_chain_without_its_key_is_broken(environ: dict[str, str]) -> None:
    places = Places.find(environ)
    for each in (places.keys_file, places.data / "seal_key"):
        each.unlink(missing_ok=True)
    finding = only(files.trail, environ)
    assert (finding.state, "key" in finding.words) == ("broken", True)


def test_a_chain_that_cannot_be_read_is_broken(path: Path, environ: dict[str, str]) -> None:
    path.write_bytes(b"no database" * 100)
    assert only(files.trail, environ).state == "broken"
