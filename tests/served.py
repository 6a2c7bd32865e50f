"""A real gateway in a process of its own, before a sink that records raw bytes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.sink import Sink

ROOT = Path(__file__).parents[1]
START_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as data."""
        return json.loads(self.body)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Served:
    """`python -m membrain` with a home and a port of its own, all its upstreams being *sink*."""

    def __init__(self, home: Path, sink: Sink | None = None, *, port: int | None = None, **environ: str) -> None:
        self.home = home
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environ = {**_environment(home, sink), "MEMBRAIN_PORT": str(self.port), **environ}
        self._process: subprocess.Popen[bytes] | None = None
        self.log = home.parent / f"{home.name}.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process that listens."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.home.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "membrain"], env=self._environ, cwd=ROOT, stdout=log, stderr=log
            )
        limit = time.monotonic() + START_SECONDS
        while time.monotonic() < limit:
            if self._process.poll() is not None:
                raise AssertionError(f"the gateway ended with {self._process.returncode}: {self.log.read_text()}")
            try:
                if self.get("/health").status == 200:
                    return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"the gateway did not start: {self.log.read_text()}")

    def stop(self, seconds: float = 20.0) -> int:
        """Ask it to stop, and give its exit status."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError("the gateway did not stop") from None
        finally:
            self._process = None

    def kill(self) -> None:
        """As a power cut does to a process."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def assert_sound(self) -> str:
        """Nothing that happened until now was a fault of ours; gives the log."""
        log = self.log.read_text()
        assert "Traceback" not in log
        assert "broke with" not in log
        return log

    def get(self, path: str, **headers: str) -> Answer:
        """Ask *path*."""
        return self.request("GET", path, headers=headers)

    def post(self, path: str, data: Any, **headers: str) -> Answer:
        """Send *data* (bytes as they are, anything else as JSON) to *path*."""
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        return self.request("POST", path, body, {"content-type": "application/json", **headers})

    def chat(self, text: str = "Hello", model: str = "gpt-4o", **more: Any) -> Answer:
        """One chat completion."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        return self.post("/v1/chat/completions", body)

    def audit(self, **filters: Any) -> list[dict[str, Any]]:
        """The audit's newest exchanges."""
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        records: list[dict[str, Any]] = self.get(f"/api/audit?{query}").json()
        return records


def _environment(home: Path, sink: Sink | None) -> dict[str, str]:
    """Nothing of whoever runs the tests but the path; every provider is the sink."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "SYSTEMROOT") if name in os.environ}
    ours = {
        **kept,
        "HOME": str(home),
        "MEMBRAIN_HOME": str(home),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "gateway"), str(ROOT / "client"), str(ROOT)]),
        "PYTHONWARNINGS": "error",
        "MEMBRAIN_LOCAL_ENABLED": "false",
        "MEMBRAIN_ROUTING_BREAKER": "false",
        "MEMBRAIN_PROVIDERS_CLAUDE_CLI_ENABLED": "false",
        "MEMBRAIN_PROVIDERS_LITELLM_ENABLED": "false",
    }
    if sink is None:
        return ours
    return {
        **ours,
        "OPENAI_API_KEY": "sk-canary-openai-0123456789",
        "ANTHROPIC_API_KEY": "sk-ant-canary-0123456789",
        "UPSTREAM_OPENAI_URL": f"{sink.url}/v1",
        "UPSTREAM_ANTHROPIC_URL": sink.url,
        "OLLAMA_URL": sink.url,
    }
