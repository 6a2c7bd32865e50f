"""The key and the head of the audit: made once, kept where the database is not, and never replaced in silence."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from stat import S_IMODE

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain import heads as heads_module
from membrain.errors import AuditUnavailable, Misconfigured
from membrain.heads import HEAD, SEAL, Heads, head_file, key_file, read, seal_key, sign
from membrain.places import Places
from membrain.secrets import Secrets
from membrain.stores.chain import Head, verify
from membrain.stores.open import open_stores
from tests.gateway.stores.made import KEY, an_intent

AT = "2026-11-22T06:00:00.000Z"


def head(seq: int, sign: str = "a") -> Head:
    return Head(seq, sign * 64, AT)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places.find({"MEMBRAIN_HOME": str(tmp_path / "home")}).create()


class Ring:
    """A keyring in memory, of the kind that is trusted; locked or slow if told so."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.locked = False
        self.pause = 0.0
        self.told = threading.Event()

    def get_password(self, service: str, username: str) -> str | None:
        self._wait()
        return self.kept.get(username)

    def set_password(self, service: str, username: str, password: str) -> None:
        self._wait()
        self.kept[username] = password
        self.told.set()

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[username]

    def _wait(self) -> None:
        time.sleep(self.pause)
        if self.locked:
            raise OSError("locked away")

    def lines(self) -> list[Head | None]:
        return [read(line, KEY) for line in self.kept.get(f"membrain-{HEAD}", "").split("\n") if line]


@pytest.fixture
def ring() -> Ring:
    return Ring()


@pytest.fixture
def secrets(places: Places, ring: Ring) -> Secrets:
    return Secrets("keyring", places, {}, lambda: ring)


# The key


def test_the_key_is_made_once_and_kept_in_the_keyring(places: Places, secrets: Secrets, ring: Ring) -> None:
    key = seal_key(secrets, places)
    assert len(key) == 32
    assert seal_key(secrets, places) == key
    assert ring.kept == {f"membrain-{SEAL}": key.hex()}
    assert not key_file(places).exists()


def test_without_a_keyring_it_is_in_a_file_that_only_this_user_can_read(places: Places) -> None:
    for secrets in (None, Secrets("keyring", places, {}, lambda: None)):
        key = seal_key(secrets, places)
        assert bytes.fromhex(key_file(places).read_text()) == key
        assert S_IMODE(key_file(places).stat().st_mode) == 0o600
        assert seal_key(secrets, places) == key


def test_a_keyring_that_comes_later_changes_nothing(places: Places, secrets: Secrets) -> None:
    key = seal_key(None, places)
    assert seal_key(secrets, places) == key


def test_a_locked_keyring_is_no_reason_for_another_key(places: Places, secrets: Secrets, ring: Ring) -> None:
    seal_key(secrets, places)
    head_file(places).write_text("something was noted\n")
    ring.locked = True
    with pytest.raises(Misconfigured, match="sealed with is gone: The keyring cannot be reached") as caught:
        seal_key(secrets, places)
    assert str(key_file(places)) in caught.value.sentence
    assert not key_file(places).exists()


def test_a_key_that_is_gone_is_not_replaced_once_something_was_sealed(places: Places) -> None:
    key = seal_key(None, places)

    async def write() -> None:
        stores = open_stores(places.database, instance="i", key=key)
        await stores.audit.intend(an_intent())
        await stores.close()

    key_file(places).unlink()
    assert seal_key(None, places) != key, "nothing was sealed so far"
    key = seal_key(None, places)
    asyncio.run(write())
    key_file(places).unlink()
    for _ in range(2):
        with pytest.raises(Misconfigured, match="key that the audit was sealed with is gone") as caught:
            seal_key(None, places)
    assert "membrain up" in caught.value.sentence
    assert not key_file(places).exists()


@pytest.mark.parametrize("text", ["", "abc", "zz" * 32, "ab" * 31])
def test_a_damaged_key_is_told_and_never_shown(places: Places, text: str) -> None:
    key_file(places).write_text(text)
    key_file(places).chmod(0o600)
    with pytest.raises(Misconfigured, match="damaged") as caught:
        seal_key(None, places)
    assert not text or text not in caught.value.sentence


def test_a_key_that_others_can_read_is_refused(places: Places) -> None:
    seal_key(None, places)
    key_file(places).chmod(0o644)
    with pytest.raises(Misconfigured, match="read by other users"):
        seal_key(None, places)


def test_a_keyring_that_takes_nothing_leaves_the_key_in_the_file(places: Places, secrets: Secrets, ring: Ring) -> None:
    class Forgetful(Ring):
        def set_password(self, service: str, username: str, password: str) -> None:
            return None

    key = seal_key(Secrets("keyring", places, {}, Forgetful), places)
    assert bytes.fromhex(key_file(places).read_text()) == key


def test_a_database_that_cannot_be_read_is_left_to_whoever_opens_it(places: Places) -> None:
    places.database.write_bytes(b"once upon a time" * 100)
    assert len(seal_key(None, places)) == 32


# One line


@given(seq=st.integers(1, 2**62), seal=st.binary(min_size=32, max_size=32), key=st.binary(min_size=32, max_size=32))
def test_a_line_comes_back_as_it_was_signed_and_with_that_key_only(seq: int, seal: bytes, key: bytes) -> None:
    noted = Head(seq, seal.hex(), AT)
    line = sign(noted, key)
    assert line.isprintable()
    assert read(f"  {line}\n", key) == noted
    assert read(line, bytes(byte ^ 1 for byte in key)) is None


def test_no_changed_line_counts() -> None:
    line = sign(head(8112), KEY)
    for place, was in enumerate(line):
        for sign_ in "0a ":
            if sign_ != was:
                assert read(line[:place] + sign_ + line[place + 1 :], KEY) is None
    for other in ("", " ", "a b", "a b c", "a b c d", line + "0", "é " + line, line.replace(" ", "\t")):
        assert read(other, KEY) is None


# The file


def test_every_head_is_in_the_file_at_once(places: Places) -> None:
    heads = Heads(places, KEY)
    for seq in range(1, 6):
        heads.append(head(seq))
        assert Heads(places, KEY).known() == [head(each) for each in range(1, seq + 1)]
    assert S_IMODE(head_file(places).stat().st_mode) == 0o600
    heads.close()
    heads.append(head(6))
    assert [each.seq for each in heads.known()] == [1, 2, 3, 4, 5, 6], "a process that erases may come after"
    heads.close()


def test_two_processes_may_note_in_turn(places: Places) -> None:
    gateway, command = Heads(places, KEY), Heads(places, KEY)
    for seq in range(1, 7):
        (gateway if seq % 2 else command).append(head(seq))
    assert [each.seq for each in gateway.known()] == [1, 2, 3, 4, 5, 6]
    assert gateway.unsigned() == 0
    gateway.close()
    command.close()


def test_a_line_that_a_crash_tore_is_left_out_and_counted(places: Places) -> None:
    head_file(places).write_text(sign(head(1), KEY) + "\n" + sign(head(2), KEY)[:50])
    head_file(places).chmod(0o600)
    heads = Heads(places, KEY)
    assert (heads.known(), heads.unsigned()) == ([head(1)], 1)
    heads.append(head(3))
    heads.close()
    assert (heads.known(), heads.unsigned()) == ([head(1), head(3)], 1)


def test_a_line_of_another_key_is_left_out_and_counted(places: Places) -> None:
    head_file(places).write_text(sign(head(9), b"x" * 32) + "\n")
    head_file(places).chmod(0o600)
    assert (Heads(places, KEY).known(), Heads(places, KEY).unsigned()) == ([], 1)


def test_the_file_begins_anew_with_its_last_line_and_the_proofs(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads_module, "MOST_BYTES", 1_000)
    heads = Heads(places, KEY)
    heads.contradicted(head(77, "b"))
    for seq in range(1, 100):
        heads.append(head(seq))
        assert head_file(places).stat().st_size < 1_200
        assert heads.known()[-1] == head(seq)
    heads.close()
    assert head(77, "b") in heads.known()
    assert S_IMODE(head_file(places).stat().st_mode) == 0o600


def test_what_was_noted_before_is_handed_out_once_to_be_looked_up(places: Places) -> None:
    before = Heads(places, KEY)
    for seq in range(1, 40):
        before.append(head(seq))
    before.close()
    heads = Heads(places, KEY)
    assert [each.seq for each in heads.doubtful()] == list(range(1, 40))
    heads.append(head(40))
    assert heads.doubtful() == []
    heads.close()


@pytest.mark.parametrize("full", [True, False])
def test_a_line_outlives_a_power_cut_if_told_to(places: Places, monkeypatch: pytest.MonkeyPatch, full: bool) -> None:
    synced: list[int] = []
    monkeypatch.setattr("membrain.heads.os.fsync", synced.append)
    heads = Heads(places, KEY, full=full)
    heads.append(head(1))
    heads.append(head(2))
    assert synced == ([heads._file] * 2 if full else [])
    heads.close()


def test_a_file_that_is_removed_while_it_runs_is_made_anew(places: Places) -> None:
    heads = Heads(places, KEY)
    heads.append(head(1))
    head_file(places).unlink()
    heads.append(head(2))
    assert heads.known() == [head(2)]
    heads.close()


def test_heads_that_cannot_be_looked_at_stop_every_write_until_they_can(places: Places) -> None:
    """Else a start over a database that was cut off would go on without a word."""
    asyncio.run(written(places, "before"))
    head_file(places).chmod(0o644)
    for _ in range(2):
        with pytest.raises(AuditUnavailable, match="read by other users") as caught:
            asyncio.run(written(places, "while"))
        assert "chmod 600" in caught.value.sentence
    head_file(places).chmod(0o600)
    asyncio.run(written(places, "after"))
    assert verify(places.database, KEY, Heads(places, KEY).known()).records == 2


async def written(places: Places, id: str) -> None:
    """One intent, by the real store."""
    stores = open_stores(places.database, instance="i", key=KEY, heads=Heads(places, KEY))
    try:
        await stores.audit.intend(an_intent(id))
    finally:
        await stores.close()


def test_a_head_that_cannot_be_noted_is_told(places: Places) -> None:
    head_file(places).mkdir()
    with pytest.raises((AuditUnavailable, Misconfigured)):
        Heads(places, KEY).append(head(1))


def test_a_full_disk_is_told(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def half(file: int, content: bytes, write: Callable[[int, bytes], int] = os.write) -> int:
        return write(file, content[:40])

    heads = Heads(places, KEY)
    heads.append(head(1))
    for write in (full, half):
        with monkeypatch.context() as disk:
            disk.setattr("membrain.heads.os.write", write)
            with pytest.raises(AuditUnavailable, match="head cannot be noted: No space left"):
                heads.append(head(2))
    heads.append(head(2))
    assert (heads.known(), heads.unsigned()) == ([head(1), head(2)], 1)
    heads.close()


def test_a_folder_that_was_removed_is_made_anew(places: Places) -> None:
    heads = Heads(places, KEY)
    heads.append(head(1))
    shutil.rmtree(places.data)
    heads.append(head(2))
    heads.close()
    assert heads.known() == [head(2)]


# The keyring


def noted(places: Places, secrets: Secrets, *some: Head) -> Heads:
    heads = Heads(places, KEY, secrets)
    for each in some:
        heads.append(each)
    return heads


def test_the_keyring_hears_of_the_first_head_at_once_and_of_the_last_at_the_end(
    places: Places, secrets: Secrets, ring: Ring
) -> None:
    heads = noted(places, secrets, head(1))
    assert ring.told.wait(5)
    assert ring.lines() == [head(1)]
    heads.append(head(2))
    heads.append(head(3))
    assert ring.lines() == [head(1)], "not with each commit"
    heads.close()
    assert ring.lines() == [head(3)]
    head_file(places).unlink()
    assert Heads(places, KEY, secrets).known() == [head(3)], "known although the file is gone"


def test_the_keyring_hears_of_the_last_head_within_its_time(
    places: Places, secrets: Secrets, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads_module, "SECONDS", 0.05)
    heads = noted(places, secrets, head(1))
    assert ring.told.wait(5)
    while heads._timer is not None:
        time.sleep(0.005)
    ring.told.clear()
    heads.append(head(2))
    heads.append(head(3))
    assert ring.told.wait(5)
    assert ring.lines() == [head(3)]
    heads.close()


def test_a_slow_keyring_holds_up_nobody(places: Places, secrets: Secrets, ring: Ring) -> None:
    ring.pause = 0.3
    began = time.perf_counter()
    heads = noted(places, secrets, *map(head, range(1, 50)))
    assert time.perf_counter() - began < 0.25
    heads.close()
    assert ring.lines() == [head(49)]


def test_a_keyring_that_fails_is_noted_once_and_ends_nothing(
    places: Places, secrets: Secrets, ring: Ring, caplog: pytest.LogCaptureFixture
) -> None:
    ring.locked = True
    caplog.set_level(logging.INFO)
    heads = noted(places, secrets, *map(head, range(1, 4)))
    heads.close()
    assert heads.known() == [head(1), head(2), head(3)]
    assert heads.fault is not None
    assert heads.fault.startswith("The keyring cannot be reached")
    assert len([each for each in caplog.records if "in its file only" in each.message]) == 1
    ring.locked = False
    heads.append(head(4))
    heads.close()
    assert ring.lines() == [head(4)]
    assert Heads(places, KEY, secrets).fault is None


def test_what_the_keyring_knew_is_looked_up_before_it_may_go(places: Places, secrets: Secrets, ring: Ring) -> None:
    """Else a start over a database that was cut off would overwrite the only proof."""
    proof = head(100)
    ring.kept[f"membrain-{HEAD}"] = sign(proof, KEY) + "\n"
    heads = noted(places, secrets, head(1))
    assert ring.told.wait(5)
    assert ring.lines() == [proof, head(1)]
    assert set(heads.doubtful()) == {head(1), proof}
    heads.contradicted(proof)
    heads.append(head(2))
    heads.close()
    assert ring.lines() == [proof, head(2)]
    assert proof in Heads(places, KEY, secrets).known()


def test_keys_in_a_file_hold_no_head(places: Places) -> None:
    """They lie beside the head's own file, and whoever can change the one can change the other."""
    heads = Heads(places, KEY, Secrets("file", places, {}))
    heads.append(head(1))
    heads.close()
    assert not places.keys_file.exists()


# All together


def test_a_database_that_was_cut_off_between_two_runs_shows_and_goes_on_to_show(
    places: Places, secrets: Secrets, ring: Ring
) -> None:
    async def run(ids: str) -> None:
        stores = open_stores(places.database, instance="i", key=KEY, heads=Heads(places, KEY, secrets))
        for id in ids:
            await stores.audit.intend(an_intent(id))
        await stores.close()

    asyncio.run(run("abc"))
    older = places.database.read_bytes()
    asyncio.run(run("de"))
    assert verify(places.database, KEY, Heads(places, KEY, secrets).known()).sound
    places.database.write_bytes(older)
    verdict = verify(places.database, KEY, Heads(places, KEY, secrets).known())
    assert (verdict.bad, verdict.checked_head) == (4, True)
    asyncio.run(run("vwxyz"))
    assert verify(places.database, KEY).sound
    assert verify(places.database, KEY, Heads(places, KEY, secrets).known()).bad == 4
    head_file(places).unlink()
    assert verify(places.database, KEY, Heads(places, KEY, secrets).known()).bad == 4, "the keyring knows it too"


def test_a_kill_between_commit_and_note_is_no_tampering(places: Places) -> None:
    async def run(heads: Heads | None) -> None:
        stores = open_stores(places.database, instance="i", key=KEY, heads=heads)
        await stores.audit.intend(an_intent())
        await stores.close()

    asyncio.run(run(Heads(places, KEY)))
    asyncio.run(run(None))
    assert verify(places.database, KEY, Heads(places, KEY).known()).sound
