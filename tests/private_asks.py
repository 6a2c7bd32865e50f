"""Asks a gateway for everything that one can ask in private, and tells what left the machine meanwhile.

Run by `test_private_route.py`, as `python -m tests.private_asks WAY FOLDER`: it starts a gateway in each `SITUATIONS`,
with every provider set up and proxies wherever one can be set, and writes a JSON list of `Told` to FOLDER/told.json.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Protocol

from tests.netns import Beyond, recorder_in
from tests.served import ROOT, Served, free_port
from tests.sink import Sink

SECRET = "the-harbour-is-behind-the-lighthouse"
"""What is said in private."""

FAR = "198.51.100.9"
"""Where an Ollama that answers with a redirect points to."""

PROXY = "http://proxy.example.net:3128"
NEAR_PROXY = "a proxy on this machine"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True)
class Situation:
    """What Ollama is like, and what `egress.proxy` says. `{port}` is where a fake Ollama listens."""

    ollama: str = "http://127.0.0.1:{port}"
    pulled: tuple[str, ...] = ()
    proxy: str = PROXY
    anthropic: bool = True
    """Whether Anthropic has a key; without one the `claude` on the path takes its place."""
    stops: bool = False
    """It stops in the middle, when the gateway knows it as being up."""


CLOUD = ("minimax-m2:cloud", "gpt-oss:120b-cloud", "llama3-by-another-namecloud")
"""What Ollama hands on: by both kinds of name, and by what only its list tells."""

SITUATIONS = {
    "up": Situation(
        ollama="http://localhost:{port}",
        pulled=("llama3:latest", "qwen2.5:0.5b", *(f"redirect-{each}:latest" for each in (301, 302, 307, 308)), *CLOUD),
        stops=True,
    ),
    "down": Situation(ollama="http://127.0.0.1:{nobody}", proxy=NEAR_PROXY),
    "remote": Situation(ollama="https://ollama.example.net", proxy=""),
    "cloud": Situation(pulled=CLOUD, anthropic=False),
}

PRIVATE = (
    "X-Membrain-Private: true", "x-membrain-private: true", "X-MEMBRAIN-PRIVATE: TRUE", "X-Membrain-Private: True",
    "X-Membrain-Private: tRuE", "X-Membrain-Private: 1", "X-Membrain-Private: yes", "X-Membrain-Private: Yes",
    "X-Membrain-Private: on", "X-Membrain-Private: ON", "X-Membrain-Private:true", "X-Membrain-Private:   true   ",
    "X-Membrain-Private:\ttrue\t", "X-Membrain-Private: true\r\nX-Membrain-Private: true",
)  # fmt: skip
UNREADABLE = (
    "X-Membrain-Private: tru", "X-Membrain-Private: maybe", "X-Membrain-Private: 2", "X-Membrain-Private: -1",
    "X-Membrain-Private: 00", "X-Membrain-Private: false, true", "X-Membrain-Private: false;",
    "X-Membrain-Private: not", 'X-Membrain-Private: "false"', "X-Membrain-Private: n", "X-Membrain-Private: f",
    "X-Membrain-Private: null", "X-Membrain-Private: ?0", "X-Membrain-Private: \xff", "X-Membrain-Private: fal\xadse",
    "X-Membrain-Private: ja", "X-Membrain-Private: " + "true" * 200,
)  # fmt: skip
"""Values that are neither yes nor no: they count as yes."""

MALFORMED = (
    "X-Membrain-Private : true", " X-Membrain-Private: true", "X-Membrain-Private: tr\0ue", "X-Membrain-Private: t\x01",
    "X-Membrain-Private:\r\n true", "X-Membrain-Private: false\r\n true", "X-Membrain-Private: true\rX: y",
    "X-Membrain-Private: false\r\nX-Membrain-Private: true", "X-Membrain-Private: true\r\nX-Membrain-Private: false",
    "X-Membrain-Private\r\nX: y", "X-Membrain-Private\0: true",
)  # fmt: skip
"""What is no proper header, or is two that disagree: refused, or private."""

NAMED = (
    "auto", "default", "gpt-4o", "gpt-4o-mini", "o1", "o3-mini", "claude-sonnet-4-20250514", "sonnet", "opus", "haiku",
    "acme-large", "acme/acme-large", "near/near-small", "near-small", "liar/liar-tiny", "liar-tiny", "ollama/llama3",
    "ollama:llama3", "ollama/qwen2.5:0.5b", "ollama/minimax-m2:cloud", "ollama:gpt-oss:120b-cloud",
    "ollama/llama3-by-another-namecloud", "ollama/nobody-pulled-this", "ollama/gpt-4o", "OLLAMA/llama3", "ollama/",
    "ollama/../gpt-4o", "llama3", "local/default", "local/echo", "local/../gpt-4o", "openai/gpt-4o",
    "anthropic/claude-sonnet-4-20250514", "litellm/gpt-4o", "gemini/gemini-pro", "bedrock/anthropic.claude-3-sonnet",
    "nobody-knows-this", "fast-code", "claude-cli/sonnet", "https://evil.example.net/gpt-4o",
    *(f"ollama/redirect-{each}" for each in (301, 302, 307, 308)),
)  # fmt: skip

TIERS = ("", "fast", "balanced", "best", "speed", "quality", "none-such")
COSTS = ("", "0", "0.001", "1000")

OPEN = ("", "X-Membrain-Private: false", "X-Membrain-Private: no", "X-Membrain-Private: 0", "X-Membrain-Private: OFF")
"""What says that it is not private: the control."""


@dataclass
class Told:
    """One question, what became of it, and what left meanwhile."""

    situation: str
    kind: str
    model: str = ""
    lines: list[str] = field(default_factory=list)
    stream: bool = False
    status: int = 0
    code: str | None = None
    provider: str | None = None
    left: list[str] = field(default_factory=list)


class Watcher(Protocol):
    """Whoever sees what leaves."""

    def left(self) -> list[str]:
        """What has left since the last look."""
        ...


Question = tuple[str, str, list[str], bool]
"""Of what kind it is, its model, its header lines, and whether a stream is asked."""


def private_questions() -> Iterator[Question]:
    """Every spelling for a model of each sort, every model, and the other routing headers with them."""
    for line, model in product((*PRIVATE, *UNREADABLE), ("auto", "gpt-4o")):
        yield "private", model, [line], False
    for line, model in product(MALFORMED, ("auto", "gpt-4o")):
        yield "malformed", model, [line], False
    for model, stream in product(NAMED, (False, True)):
        yield "private", model, [PRIVATE[0]], stream
    for tier, cost, model in product(TIERS, COSTS, ("auto", "claude-sonnet-4-20250514")):
        lines = [f"X-Membrain-Tier: {tier}"] * bool(tier) + [f"X-Membrain-Max-Cost: {cost}"] * bool(cost)
        yield "private", model, [PRIVATE[0], *lines], False


class Asks:
    """Asks one gateway, and notes what is told."""

    def __init__(self, situation: str, served: Served, watcher: Watcher, proxy: Sink, told: list[Told]) -> None:
        self._situation, self._served, self._watcher, self._proxy = situation, served, watcher, proxy
        self._told = told
        self._tunnels = 0
        self._started()

    def ask(self, question: Question, kind: str | None = None) -> None:
        """Ask, and look what left."""
        _, model, lines, stream = question
        said = [{"role": "user", "content": SECRET}]
        body = {"model": model, "messages": said, "stream": stream}
        status, code, provider = exchange(self._served.port, "/v1/chat/completions", body, lines)
        left = self._left()
        told = Told(self._situation, kind or question[0], model, lines, stream, status, code, provider, left)
        self._told.append(told)

    def explain(self, model: str) -> None:
        """Ask what would become of a private question."""
        body = {"model": model, "prompt": SECRET, "private": True}
        status, code, _ = exchange(self._served.port, "/api/route", body, [PRIVATE[0]])
        left = self._left()
        self._told.append(Told(self._situation, "explained", model, status=status, code=code, left=left))

    def _left(self) -> list[str]:
        """What left since the last look, also through a proxy or a program on this machine."""
        new, self._tunnels = self._proxy.connections - self._tunnels, self._proxy.connections
        return [*self._watcher.left(), *["a proxy on this machine"] * new, *self._started()]

    def _started(self) -> list[str]:
        """How `claude` was started since the last look."""
        notes = self._served.home / _NOTES
        found = notes.read_text().splitlines() if notes.exists() else []
        notes.unlink(missing_ok=True)
        return [f"claude {each}" for each in found]


def exchange(port: int, path: str, data: object, lines: list[str]) -> tuple[int, str | None, str | None]:
    """Status, error code and provider of one question, whose header *lines* are sent as they are."""
    body = json.dumps(data).encode()
    fixed = [f"Host: 127.0.0.1:{port}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    head = "\r\n".join([f"POST {path} HTTP/1.1", *fixed, "Connection: close", *lines, "", ""])
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(head.encode("latin-1") + body)
        response = http.client.HTTPResponse(connection, method="POST")
        response.begin()
        answer = response.read()
    return response.status, _code_of(answer), response.getheader("x-membrain-provider")


def _code_of(answer: bytes) -> str | None:
    try:
        told = json.loads(answer)
    except ValueError:
        return None
    error = told.get("error") if isinstance(told, dict) else None
    return error.get("code") if isinstance(error, dict) else None


def main(way: str, folder: Path) -> None:
    """Go through all situations."""
    told: list[Told] = []
    with ExitStack() as stack:
        python_path: list[Path] = []
        watcher: Watcher
        if way == "namespace":
            watcher = stack.enter_context(Beyond(folder))
        else:
            watcher, python_path = recorder_in(folder / "hook"), [folder / "hook"]
        for name, situation in SITUATIONS.items():
            _go_through(name, situation, watcher, python_path, folder, told)
        if isinstance(watcher, Beyond):
            watcher.cut()
            _without_a_way("up", folder, told)
    (folder / "told.json").write_text(json.dumps([asdict(each) for each in told]))


def _go_through(
    name: str, situation: Situation, watcher: Watcher, python_path: list[Path], folder: Path, told: list[Told]
) -> None:
    with Sink() as near, Sink() as proxy, ExitStack() as running:
        ollama = running.enter_context(Sink(ollama=situation.pulled, redirect_to=f"http://{FAR}"))
        environ = _set_up(situation, folder / name, ollama, near, proxy, python_path)
        with Served(folder / name, None, port=None, **environ) as served:
            asks = Asks(name, served, watcher, proxy, told)
            watcher.left()  # what it did before anybody asked, to say who is there
            near.clear()
            for model in ("auto", "gpt-4o", "ollama/llama3"):
                asks.explain(model)
            for question in private_questions():
                asks.ask(question)
            told += _overheard(name, situation, ollama, near)
            for line in OPEN:
                asks.ask(("open", "gpt-4o", [line] * bool(line), False))
            if not situation.anthropic:
                asks.ask(("open", "sonnet", [], False))
            if situation.stops:
                running.close()
                for question in private_questions():
                    asks.ask(question, "stopped")
            served.kill()  # how it stops is shown elsewhere, and takes its time


def _set_up(
    situation: Situation, home: Path, ollama: Sink, near: Sink, proxy: Sink, python_path: list[Path]
) -> dict[str, str]:
    """The settings, as a file, and the environment of a gateway that has everything."""
    config = home / "config" / "config.toml"
    config.parent.mkdir(parents=True, mode=0o700)
    way_out = proxy.url if situation.proxy == NEAR_PROXY else situation.proxy
    config.write_text(
        f'[egress]\nproxy = "{way_out}"\n[secrets]\nbackend = "file"\n[limits]\nconnect_seconds = 1\n'
        '[providers.acme]\nurl = "https://acme.example.net/v1"\nmodels = ["acme-large"]\n'
        f'[providers.near]\nurl = "{near.url}/v1"\nmodels = ["near-small"]\n'
        '[providers.liar]\nurl = "https://liar.example.net/v1"\nmodels = ["liar-tiny"]\nlocal = true\n'
    )
    config.chmod(0o600)
    paths = [*python_path, ROOT / "gateway", ROOT / "client", ROOT]
    return {
        **dict.fromkeys(PROXIES, "http://env-proxy.example.net:3128"),
        "OPENAI_API_KEY": "sk-canary-openai-0123456789",
        "ANTHROPIC_API_KEY": "sk-ant-canary-0123456789" if situation.anthropic else "",
        "ACME_API_KEY": "acme-canary-0123456789",
        "OLLAMA_URL": situation.ollama.format(port=ollama.port, nobody=free_port()),
        **{f"MEMBRAIN_{name}": "true" for name in _SWITCHED_ON},
        "PATH": f"{_stub_of_claude(home)}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join(str(each) for each in paths),
    }


_SWITCHED_ON = (
    "LOCAL_ENABLED",
    "PROVIDERS_CLAUDE_CLI_ENABLED",
    "PROVIDERS_LITELLM_ENABLED",
    "ROUTING_BREAKER",
)
"""As it is outside of tests."""

_NOTES = "claude-was-started"


def _stub_of_claude(home: Path) -> Path:
    """A `claude` on the path that only notes that it was started."""
    folder = home / "bin"
    folder.mkdir()
    (folder / "claude").write_text(f'#!/bin/sh\necho "$@" >> "{home / _NOTES}"\ncat > /dev/null\nexit 1\n')
    (folder / "claude").chmod(0o755)
    return folder


def _overheard(name: str, situation: Situation, ollama: Sink, near: Sink) -> Iterator[Told]:
    """What was said on this machine to those who may hand it on."""
    here = {each for pulled in set(situation.pulled) - set(CLOUD) for each in (pulled, pulled.removesuffix(":latest"))}
    heard = [each.json()["model"] for each in ollama.requests if each.method == "POST"]
    yield Told(name, "heard by ollama", left=[each for each in heard if each not in here])
    yield Told(name, "heard by near", left=[each.path for each in near.requests])


def _without_a_way(name: str, folder: Path, told: list[Told]) -> None:
    """The same questions where no packet could leave if it wanted to."""
    situation = SITUATIONS[name]
    with Sink(ollama=situation.pulled, redirect_to=f"http://{FAR}") as ollama, Sink() as near, Sink() as proxy:
        home = folder / f"{name}-cut"
        environ = _set_up(situation, home, ollama, near, proxy, [])
        with Served(home, None, port=None, **environ) as served:
            asks = Asks(name, served, _Nobody(), proxy, told)
            for question in private_questions():
                asks.ask(question, "cut")
            served.kill()


class _Nobody:
    """Sees nothing, where nothing can leave."""

    def left(self) -> list[str]:
        return []


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
