"""What the tests of the doctor's tools share: somebody who stands in a folder, beside a running gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from membrain.places import Places
from membrain_cli import daemon
from tests.cli.shell import environment
from tests.served import Served


@pytest.fixture
def user_home(tmp_path: Path) -> Path:
    """An empty home."""
    folder = tmp_path / "somebody"
    folder.mkdir()
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder that somebody stands in; not under the home."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def near(shared_gateway: Served, user_home: Path) -> dict[str, str]:
    """The environment of somebody beside the shared gateway, with a PATH on which there is nothing."""
    environ = environment(shared_gateway.home, MEMBRAIN_PORT=str(shared_gateway.port))
    return {**environ, "HOME": str(user_home), "PATH": str(user_home / "bin")}


@pytest.fixture
def key(shared_gateway: Served) -> str:
    """A client key that the shared gateway knows."""
    return daemon.machine_key(Places.find({"MEMBRAIN_HOME": str(shared_gateway.home)}))


@pytest.fixture
def alone(tmp_path: Path, user_home: Path) -> dict[str, str]:
    """The environment of somebody whose gateway is down."""
    environ = environment(tmp_path / "instance", MEMBRAIN_PORT="8001")
    return {**environ, "HOME": str(user_home), "PATH": str(user_home / "bin")}
