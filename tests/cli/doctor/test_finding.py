"""What a patient is: whose home, which folder, which settings."""

from __future__ import annotations

from pathlib import Path

from membrain.errors import Misconfigured
from membrain.places import Places
from tests.cli.patients import patient


def test_the_home_and_the_folder_are_somebodys_own(alone: dict[str, str], user_home: Path, work: Path) -> None:
    someone = patient(alone, work)
    assert (someone.home, someone.folder, someone.running) == (user_home, work, None)


def test_without_a_home_in_the_environment_it_is_the_processs(alone: dict[str, str]) -> None:
    del alone["HOME"]
    someone = patient(alone)
    assert (someone.home, someone.folder) == (Path.home(), Path.cwd())


def test_settings_that_do_not_load_are_the_reason_why(alone: dict[str, str]) -> None:
    Places.find(alone).create().config_file.write_text("nonsense")
    assert isinstance(patient(alone).settings, Misconfigured)
