"""Checks of the machine: an old interpreter, a bad package, a stranger's .pth file, a clock, a proxy."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

import pytest

from membrain_cli.doctor import machine
from tests.cli.patients import found, only
from tests.served import Served


def test_an_old_python_is_broken(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "OLDEST", (4, 0))
    assert only(machine.python, environ).state == "broken"


def test_the_linked_sqlite_is_told(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 51, 2))
    assert "cannot happen" in only(machine.sqlite, environ).words
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 51, 3))
    assert "cannot happen" not in only(machine.sqlite, environ).words


def test_a_clock_behind_the_record_is_told(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    assert only(machine.clock, beside).state == "fine"
    finding = only(machine.clock, beside, now=datetime.now(UTC) - timedelta(hours=2))
    assert (finding.state, "in the future" in finding.words) == ("look", True)


def test_a_clock_that_was_never_set_is_told(environ: dict[str, str]) -> None:
    assert only(machine.clock, environ, now=datetime(1970, 1, 1, tzinfo=UTC)).state == "look"


@pytest.mark.parametrize("release", ["1.82.7", "1.82.8"])
def test_a_release_that_stole_keys_is_broken(
    release: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: release)
    finding = only(machine.packages, environ)
    assert (finding.state, finding.words[:15]) == ("broken", f"litellm {release} "[:15])
    assert finding.remedy.startswith("pip install ")


def test_a_release_that_is_fine_or_absent_is_fine(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(machine.packages, environ).state == "fine"
    monkeypatch.setattr(metadata, "version", lambda _: "1.83.10")
    assert only(machine.packages, environ).state == "fine"


KNOWN = (
    "import _virtualenv\n",
    "import __editable___membrain_0_1_0_finder; __editable___membrain_0_1_0_finder.install()\n",
    (
        "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == 'local'; "
        "enabled and __import__('_distutils_hack').add_shim(); \n"
    ),
    "/somewhere/else\n# import os\nimportant\n",
)
STRANGE = (
    "import os, subprocess\n",
    "import _virtualenv; import evil\n",
    "/somewhere\nimport\tevil\n",
    "import __editable___a; __editable___a.install(); import evil\n",
)


@pytest.mark.parametrize("line", KNOWN)
def test_what_known_tools_put_into_a_pth_file_is_fine(line: str, tmp_path: Path) -> None:
    path = tmp_path / "some.pth"
    path.write_text(line)
    assert not machine.runs_code(path)


@pytest.mark.parametrize("line", STRANGE)
def test_a_pth_file_of_a_stranger_is_told_with_how_to_look_at_it(
    line: str, tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "litellm_init.pth").write_text(line)
    monkeypatch.setattr(sys, "path", [str(folder)])
    finding = only(machine.starters, environ)
    assert (finding.state, finding.remedy) == ("look", f"cat {folder / 'litellm_init.pth'}")
    assert finding.words.startswith("litellm_init.pth runs code")


def test_a_pth_file_that_cannot_be_read_is_a_strangers(tmp_path: Path) -> None:
    path = tmp_path / "some.pth"
    path.write_bytes(b"\xff\xfe")
    assert machine.runs_code(path)


def test_this_environment_has_no_foreign_pth_file(environ: dict[str, str]) -> None:
    assert only(machine.starters, environ).state == "fine"


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, False),
        ({"HTTP_PROXY": "http://proxy:3128"}, True),
        ({"http_proxy": "http://proxy:3128", "NO_PROXY": "localhost, 127.0.0.1"}, False),
        ({"ALL_PROXY": "http://proxy:3128", "no_proxy": "*"}, False),
        ({"HTTPS_PROXY": "http://proxy:3128"}, False),
    ],
)
def test_a_proxy_that_would_be_asked_for_this_machine_is_told(
    variables: dict[str, str], told: bool, environ: dict[str, str]
) -> None:
    assert bool(found(machine.proxies, {**environ, **variables})) is told
