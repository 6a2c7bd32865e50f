"""The file: private, one at a time, brought up to date, probed."""

from __future__ import annotations

import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from stat import S_IMODE

import pytest

from membrain.errors import Misconfigured
from membrain.stores import database as file
from membrain.stores.database import check, connect, connect_reader
from tests.gateway.stores.made import ask_child, start_child


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "audit.db"


def modes(folder: Path) -> dict[str, int]:
    return {each.name: S_IMODE(each.stat().st_mode) for each in folder.iterdir()}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_all_three_files_are_their_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "one" / "two" / "audit.db"
    before = os.umask(umask)
    try:
        with closing(connect(path)) as database:
            database.execute("INSERT INTO migrations VALUES ('x', '')")
            assert modes(path.parent) == {"audit.db": 0o600, "audit.db-wal": 0o600, "audit.db-shm": 0o600}
            assert [S_IMODE(each.stat().st_mode) for each in (path.parent, path.parent.parent)] == [0o700, 0o700]
    finally:
        os.umask(before)


def test_a_reader_leaves_no_file_that_others_may_read(path: Path) -> None:
    before = os.umask(0)
    try:
        connect(path).close()
        with closing(connect_reader(path)) as database:
            database.execute("SELECT * FROM exchanges").fetchall()
            assert set(modes(path.parent).values()) == {0o600}
    finally:
        os.umask(before)


def test_files_that_others_could_read_are_closed_to_them(path: Path) -> None:
    writing = connect(path)
    writing.execute("INSERT INTO client_keys VALUES ('a', '', 'd', '', '', '', NULL, NULL, '{}')")
    for each in path.parent.iterdir():
        each.chmod(0o644)
    connect(path).close()
    assert set(modes(path.parent).values()) == {0o600}
    writing.close()


def test_a_folder_that_was_there_is_left_as_it_was(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    connect(tmp_path / "audit.db").close()
    assert S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_link_in_the_files_place_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "somebody else's"
    target.write_bytes(b"")
    (tmp_path / "audit.db").symlink_to(target)
    with pytest.raises(Misconfigured, match="not a plain file"):
        connect(tmp_path / "audit.db")
    assert target.read_bytes() == b""


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Misconfigured, match="cannot be made"):
        connect(tmp_path / "file" / "audit.db")


def test_each_migration_is_applied_once_and_recorded_by_name(path: Path) -> None:
    for _ in range(2):
        with closing(connect(path)) as database:
            applied = [name for (name,) in database.execute("SELECT name FROM migrations ORDER BY rowid")]
            assert applied == [migration.__name__ for migration in file.MIGRATIONS]
            assert applied[:2] == ["exchanges", "client_keys"]


def test_an_older_file_is_brought_up_to_date_and_keeps_its_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as past:
        past.setattr(file, "MIGRATIONS", file.MIGRATIONS[1:2])
        with closing(connect(path)) as database:
            database.execute("INSERT INTO client_keys VALUES ('k', '', 'd', '', '', '', NULL, NULL)")
    with pytest.raises(Misconfigured, match="older Membrain") as caught:
        connect_reader(path)
    assert "membrain up" in caught.value.sentence
    with closing(connect(path)) as database:
        assert database.execute("SELECT id FROM client_keys").fetchall() == [("k",)]
        assert database.execute("SELECT count(*) FROM exchanges").fetchone() == (0,)


def test_a_file_of_a_newer_membrain_is_refused_by_everybody(path: Path) -> None:
    with closing(connect(path)) as database:
        database.execute("INSERT INTO migrations VALUES ('from_the_future', '')")
    for opener in (connect, connect_reader):
        with pytest.raises(Misconfigured, match="newer Membrain"):
            opener(path)
    assert "newer Membrain" in (check(path) or "")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE recipes (name)")
    with pytest.raises(Misconfigured, match="another program"):
        connect(path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]


KILLED = """
import os
from pathlib import Path
from membrain.stores import database as file

def killed(database):
    database.execute("CREATE TABLE half (x)")
    os.kill(os.getpid(), 9)

file.MIGRATIONS = (file.exchanges, killed, file.client_keys)
file.connect(Path(sys.argv[1]))
"""


def test_a_kill_in_the_middle_of_migrating_leaves_the_file_as_it_was(path: Path) -> None:
    with start_child(KILLED, path) as child:
        assert child.wait(30) == -9
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connect(path).close()
    assert check(path) is None


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(database: sqlite3.Connection) -> None:
        database.execute("CREATE TABLE exchanges (twice)")

    with monkeypatch.context() as bad:
        bad.setattr(file, "MIGRATIONS", (*file.MIGRATIONS, wrong))
        with pytest.raises(Misconfigured, match="cannot be opened"):
            connect(path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_many_may_open_a_new_file_at_the_same_moment(tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def open_it(path: Path) -> None:
        start.wait()
        connect(path).close()

    with ThreadPoolExecutor(8) as pool:
        for number in range(10):
            path = tmp_path / f"{number}.db"
            for opened in [pool.submit(open_it, path) for _ in range(8)]:
                opened.result(timeout=30)
            assert check(path) is None


def test_a_new_file_that_another_is_just_making_is_waited_for(tmp_path: Path) -> None:
    """SQLite itself gives up at once when it should switch to its log while another begins to write."""
    path = tmp_path / "audit.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = threading.Timer(0.1, other.execute, ["COMMIT"])
        done.start()
        connect(path).close()
        done.join()
    assert check(path) is None


def test_a_new_file_that_another_keeps_for_itself_is_given_up_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "PATIENCE", 0.1)
    path = tmp_path / "audit.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Misconfigured, match="another program has held it"):
            connect(path)


def spoil(path: Path, begin: int) -> None:
    """Overwrite all that comes after so many bytes with nonsense."""
    content = path.read_bytes()
    path.write_bytes(content[:begin] + b"\x55" * (len(content) - begin))


def test_check_finds_nothing_wrong_with_a_sound_file_or_none(path: Path) -> None:
    assert check(path) is None
    connect(path).close()
    assert check(path) is None


def test_check_says_what_is_wrong_with_a_damaged_file(path: Path) -> None:
    with closing(connect(path)) as database:
        database.executemany("INSERT INTO wires VALUES (?, 0, ?)", [(f"{n:03}", b"x" * 500) for n in range(200)])
    sound = path.read_bytes()
    spoil(path, 64 * 1024)
    assert (check(path) or "").startswith("The audit's file is damaged")
    path.write_bytes(sound)
    spoil(path, 0)
    assert check(path) == "The audit cannot be read: its file is damaged or not a database."


def test_a_file_that_is_no_database_is_refused_at_the_start(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"once upon a time " * 1000)
    with pytest.raises(Misconfigured, match="damaged or not a database") as caught:
        connect(path)
    assert "membrain doctor" in caught.value.sentence


def test_opening_a_second_time_in_one_process_keeps_the_locks_of_the_first(path: Path) -> None:
    """To open and close the bare file would silently drop them, and let another program think it is alone."""
    first = connect(path)
    first.execute("BEGIN IMMEDIATE")
    connect(path).close()
    said = ask_child(
        "import json, sqlite3\n"
        "database = sqlite3.connect(sys.argv[1], timeout=0.1)\n"
        "try:\n"
        "    database.execute('BEGIN IMMEDIATE')\n"
        "    print(json.dumps('alone'))\n"
        "except sqlite3.OperationalError as fault:\n"
        "    print(json.dumps(str(fault)))",
        path,
    )
    assert said == "database is locked"
    first.close()
