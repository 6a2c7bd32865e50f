"""What every test may ask for: an empty home, a fake upstream, a real gateway before it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.served import Served
from tests.sink import Sink

settings.register_profile("house", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("house")

FOREIGN = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_API_BASE",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_AUTH_TOKEN",
    "OLLAMA_URL",
    "OLLAMA_HOST",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "DBUS_SESSION_BUS_ADDRESS",
)
"""Variables of whoever runs the tests that would change what the tests see."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests go first, so that at the end no core waits for another."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the gateway does."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _nobodys_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the keys, proxies or settings of whoever runs it."""
    for name in [*FOREIGN, *(name for name in os.environ if name.startswith("MEMBRAIN_"))]:
        if not name.startswith("MEMBRAIN_TEST_"):
            monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An instance's own empty home, also in the environment."""
    folder = tmp_path / "home"
    monkeypatch.setenv("MEMBRAIN_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def shared_sink() -> Iterator[Sink]:
    """One fake upstream for all tests that only read from it."""
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="session")
def shared_gateway(shared_sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One real gateway before the shared sink, for tests that change nothing in it."""
    with Served(tmp_path_factory.mktemp("shared"), shared_sink, MEMBRAIN_ROUTING_ATTEMPTS="1") as served:
        yield served


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A fake upstream of the test's own."""
    with Sink() as sink:
        yield sink


@pytest.fixture
def served(tmp_path: Path, sink: Sink) -> Iterator[Served]:
    """A real gateway of the test's own, before a sink of its own."""
    with Served(tmp_path / "served", sink, MEMBRAIN_ROUTING_ATTEMPTS="1") as served:
        yield served


@pytest.fixture
def gateway_url(shared_gateway: Served) -> str:
    """Where the shared gateway is."""
    return shared_gateway.url
