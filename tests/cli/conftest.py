"""What the tests of the command line share: somebody's environment, and a way to clean up after it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from membrain.places import Places
from membrain_cli import daemon
from tests.cli.shell import environment
from tests.served import Served, free_port


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An empty home and a free port; a gateway that a test starts there and leaves is ended."""
    home = tmp_path / "home"
    yield environment(home, MEMBRAIN_PORT=str(free_port()), MEMBRAIN_LOCAL_ENABLED="false")
    left = daemon.find(Places.find({"MEMBRAIN_HOME": str(home)}))  # a claim alone could name anybody
    if left is not None:
        os.kill(left.pid, signal.SIGKILL)
        daemon.wait_gone(left, 5)


@pytest.fixture
def beside(served: Served) -> dict[str, str]:
    """The environment of somebody whose gateway (`served`) runs."""
    return environment(served.home, MEMBRAIN_PORT=str(served.port))
