"""Where files live, and that no one else can read or swap them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from membrain.errors import Misconfigured
from membrain.places import Places, open_private, own_folder, read_private, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places.find({"MEMBRAIN_HOME": str(tmp_path / "home")})


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """The claim must hold whatever the umask."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_membrain_home_holds_all_three_folders(tmp_path: Path) -> None:
    places = Places.find({"MEMBRAIN_HOME": str(tmp_path)})
    assert places == Places(tmp_path / "config", tmp_path / "data", tmp_path / "state", tmp_path)


def test_a_relative_home_is_made_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway may run in another working directory than the command that starts it."""
    monkeypatch.chdir(tmp_path)
    assert Places.find({"MEMBRAIN_HOME": "here"}).home == tmp_path / "here"


def test_a_home_that_names_no_folder_is_refused() -> None:
    with pytest.raises(Misconfigured, match="MEMBRAIN_HOME"):
        Places.find({"MEMBRAIN_HOME": "~nobody-of-that-name/x"})


def test_without_a_home_the_platform_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    places = Places.find({})
    assert places.home is None
    for folder in (places.config, places.data, places.state):
        assert folder.is_relative_to(tmp_path)
        assert "membrain" in folder.parts
    assert not list(tmp_path.iterdir()), "finding a place makes none"


def test_each_file_has_a_place_of_its_own(places: Places) -> None:
    files = [
        places.config_file,
        places.keys_file,
        places.database,
        places.models,
        places.pepper_file,
        places.machine_key_file,
        places.log_file,
        places.state_file,
        places.lock_file,
        places.history_file,
    ]
    assert len(set(files)) == len(files)
    assert {file.parent for file in files} == {places.config, places.data, places.state}


def test_folders_are_for_their_owner_alone_whatever_the_umask(places: Places, umask: int) -> None:
    places.create()
    for folder in (places.home, places.config, places.data, places.state):
        assert folder is not None
        assert mode(folder) == 0o700


def test_missing_folders_above_are_closed_too(tmp_path: Path, umask: int) -> None:
    """A writable folder above would let another user swap ours."""
    own_folder(tmp_path / "a" / "b" / "c")
    assert [mode(tmp_path / part) for part in ("a", "a/b", "a/b/c")] == [0o700] * 3


def test_create_can_be_called_again_and_tightens_what_is_open(places: Places) -> None:
    places.create()
    places.data.chmod(0o755)
    assert places.create() is places
    assert mode(places.data) == 0o700


def test_a_home_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    """It may be a folder with other things in it."""
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o755)
    Places.find({"MEMBRAIN_HOME": str(home)}).create()
    assert mode(home) == 0o755


def test_a_folder_that_is_a_link_is_refused(places: Places, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert places.home is not None
    places.home.mkdir()
    places.data.symlink_to(elsewhere)
    with pytest.raises(Misconfigured, match="data is a symbolic link") as caught:
        places.create()
    assert caught.value.hint
    assert not list(elsewhere.iterdir())


def test_a_link_that_leads_nowhere_is_refused(places: Places, tmp_path: Path) -> None:
    assert places.home is not None
    places.home.mkdir()
    places.config.symlink_to(tmp_path / "nowhere")
    with pytest.raises(Misconfigured, match="config is a symbolic link"):
        places.create()
    assert not (tmp_path / "nowhere").exists()


def test_a_file_in_a_folders_place_is_refused(places: Places) -> None:
    assert places.home is not None
    places.home.mkdir()
    places.state.write_text("")
    with pytest.raises(Misconfigured, match="state: Not a directory"):
        places.create()


def test_a_folder_of_another_user_is_refused(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    places.create()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(Misconfigured, match="belongs to another user") as caught:
        places.create()
    assert "MEMBRAIN_HOME" in (caught.value.hint or "")


def test_a_private_file_is_0600_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "log"
    os.close(open_private(path))
    assert mode(path) == 0o600


def test_a_private_file_is_made_only_once(tmp_path: Path) -> None:
    os.close(open_private(tmp_path / "once"))
    with pytest.raises(FileExistsError):
        open_private(tmp_path / "once")


def test_a_file_that_was_there_is_tightened_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("old ")
    path.chmod(0o644)
    with os.fdopen(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "w") as log:
        log.write("new")
    assert (path.read_text(), mode(path)) == ("old new", 0o600)


@pytest.mark.parametrize("flags", [os.O_WRONLY | os.O_CREAT | os.O_APPEND, os.O_WRONLY | os.O_CREAT | os.O_EXCL])
def test_a_planted_link_is_not_followed(tmp_path: Path, flags: int) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "log").symlink_to(victim)
    with pytest.raises(Misconfigured, match="symbolic link"):
        open_private(tmp_path / "log", flags)
    assert victim.read_text() == "mine"


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no plain file"):
        open_private(tmp_path, os.O_RDONLY)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_private(tmp_path / "key", b"x")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(Misconfigured, match="belongs to another user"):
        read_private(tmp_path / "key")


def test_a_file_that_others_can_read_is_not_read(tmp_path: Path) -> None:
    """Tightening it now would hide that it was open until now."""
    write_private(tmp_path / "key", b"x")
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(Misconfigured, match="can be read by other users") as caught:
        read_private(tmp_path / "key")
    assert caught.value.hint == f"chmod 600 {tmp_path / 'key'}"


def test_a_missing_file_is_simply_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_private(tmp_path / "none")


def test_writing_replaces_the_file_whole_and_leaves_no_draft(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "state"
    write_private(path, b"one")
    write_private(path, b"two")
    assert (path.read_bytes(), mode(path)) == (b"two", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_writing_over_a_link_leaves_what_it_led_to(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "state").symlink_to(victim)
    write_private(tmp_path / "state", b"ours")
    assert victim.read_text() == "mine"
    assert (tmp_path / "state").read_bytes() == b"ours"


def test_a_write_that_fails_keeps_the_old_file_and_no_draft(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    with pytest.raises(IsADirectoryError):
        write_private(folder, b"new")
    assert list(tmp_path.iterdir()) == [folder]


def test_the_pepper_is_made_once_and_stays(places: Places, umask: int) -> None:
    places.create()
    pepper = places.read_or_make_pepper()
    assert len(pepper) == 32
    assert places.read_or_make_pepper() == pepper
    assert mode(places.pepper_file) == 0o600
    assert list(places.data.iterdir()) == [places.pepper_file]


def test_two_instances_have_two_peppers(tmp_path: Path) -> None:
    peppers = {Places.find({"MEMBRAIN_HOME": str(tmp_path / n)}).create().read_or_make_pepper() for n in "ab"}
    assert len(peppers) == 2


def test_many_at_once_agree_on_one_pepper(places: Places) -> None:
    places.create()
    with ThreadPoolExecutor(8) as pool:
        peppers = set(pool.map(lambda _: places.read_or_make_pepper(), range(8)))
    assert peppers == {places.pepper_file.read_bytes()}


def test_a_file_system_without_hard_links_still_gets_a_pepper(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    places.create()
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert places.read_or_make_pepper() == places.pepper_file.read_bytes()
    assert list(places.data.iterdir()) == [places.pepper_file]


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_pepper_of_another_length_is_refused(places: Places, content: bytes) -> None:
    """With an empty one, every digest of a client key could be guessed."""
    places.create()
    write_private(places.pepper_file, content)
    with pytest.raises(Misconfigured, match=f"holds {len(content)} bytes instead of 32") as caught:
        places.read_or_make_pepper()
    assert str(places.pepper_file) in (caught.value.hint or "")
    assert places.pepper_file.read_bytes() == content, "it is not replaced behind anybody's back"


def test_no_call_that_windows_lacks_is_made_on_import() -> None:
    """The module must load where there are no owners, links or modes."""
    script = (
        "import os\n"
        "for name in ('O_NOFOLLOW', 'O_DIRECTORY', 'O_CLOEXEC', 'fchmod', 'getuid', 'geteuid'): delattr(os, name)\n"
        "import pathlib; os.name = 'other'\n"
        "import membrain.places as places\n"
        "print(places.POSIX)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
