"""The fake provider, a real gateway before it, and the two ways to the provider: straight, and through the gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.clients.upstream import Upstream
from tests.served import Served

EMAIL = "ada.lovelace@example.com"
"""Stands in every prompt, and must not reach the provider through the gateway."""

OURS = {
    "OPENAI_API_KEY": "sk-fake-openai-0123456789",
    "ANTHROPIC_API_KEY": "sk-ant-fake-0123456789",
    "CHATTY_API_KEY": "sk-chatty-0123456789",
}
"""What the gateway shows the provider."""

CHATTY = '[providers.chatty]\nurl = "{}/v1"\nmodels = ["tiny"]\n'
"""The same provider once more, as one that knows nothing of responses."""


@dataclass(frozen=True)
class Way:
    """Where a client is pointed at, and with which key."""

    url: str
    key: str

    @property
    def v1(self) -> str:
        """The base that OpenAI's clients take."""
        return f"{self.url}/v1"

    @property
    def environ(self) -> dict[str, str]:
        """What `membrain env` sets, with the key under the name that most packages know."""
        return {
            "OPENAI_BASE_URL": self.v1,
            "OPENAI_API_KEY": self.key,
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": self.key,
        }


class Both:
    """Runs the same code straight and through the gateway; what comes back must be equal."""

    def __init__(self, straight: Way, through: Way, upstream: Upstream) -> None:
        self.straight, self.through = straight, through
        self._upstream = upstream

    def __call__(self, run: Callable[[Way], Any]) -> Any:
        """What *run* gave both times."""
        straight, before = run(self.straight), len(self._upstream.seen)
        return self._same(straight, run(self.through), before)

    async def wait(self, run: Callable[[Way], Awaitable[Any]]) -> Any:
        """What *run* gave both times, for those who wait for it."""
        straight, before = await run(self.straight), len(self._upstream.seen)
        return self._same(straight, await run(self.through), before)

    def _same(self, straight: Any, through: Any, before: int) -> Any:
        asked = self._upstream.seen[before:]
        assert asked, "nothing came through the gateway"
        assert not [each.path for each in asked if EMAIL.encode() in each.body], "the address left the machine"
        assert through == straight
        return through


@pytest.fixture(autouse=True)
def _no_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    """LangChain sends nothing to its makers, whatever the environment of whoever runs the tests says."""
    for name in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.setenv(name, "false")


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """The fake provider."""
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def gateway(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A real gateway whose OpenAI and Anthropic are the fake. It asks once, so that the client's retries are seen."""
    where = {"UPSTREAM_OPENAI_URL": f"{upstream.url}/v1", "UPSTREAM_ANTHROPIC_URL": upstream.url}
    home = tmp_path_factory.mktemp("clients") / "home"
    (home / "config").mkdir(parents=True, mode=0o700)
    (home / "config" / "config.toml").write_text(CHATTY.format(upstream.url))
    with Served(home, MEMBRAIN_ROUTING_ATTEMPTS="1", **OURS, **where) as served:
        yield served


@pytest.fixture(scope="session")
def through(gateway: Served) -> Way:
    """The way through the gateway, with a client key of its own."""
    return Way(gateway.url, gateway.post("/api/keys", {"name": "clients"}).json()["key"])


@pytest.fixture(scope="session")
def both(upstream: Upstream, through: Way) -> Both:
    """Both ways."""
    return Both(Way(upstream.url, "sk-straight-0123456789"), through, upstream)
