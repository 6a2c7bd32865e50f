"""What a person does first, on a machine that has Python and make and nothing else: the README's two commands."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.served import ROOT, free_port

pytestmark = pytest.mark.slow

TOOLS = ("PATH", "SYSTEMROOT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "https_proxy")
"""What such a machine has set: where its programs are, and how its package index is reached."""

BUILT = ("*.pyc", "__pycache__", ".venv", ".git", ".*_cache", ".hypothesis", "*.egg-info")


class Machine:
    """A checkout, an empty home, and nothing installed."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "membrain"
        self.home = folder / "home"
        self.port = free_port()
        shutil.copytree(ROOT, self.checkout, ignore=shutil.ignore_patterns(*BUILT))
        self.home.mkdir()
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        kept = {name: os.environ[name] for name in TOOLS if name in os.environ}
        self.environ = {**kept, **pip, "HOME": str(self.home), "MEMBRAIN_PORT": str(self.port), "LANG": "C.UTF-8"}

    def run(self, *command: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run *command* in the checkout."""
        done = subprocess.run(command, cwd=self.checkout, env=self.environ, capture_output=True, text=True, timeout=300)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def membrain(self, *args: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the command that was installed."""
        return self.run(".venv/bin/membrain", *args, status=status)

    def processes(self) -> list[str]:
        """Command lines of processes that belong to this checkout."""
        found = []
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.checkout) in line:
                found.append(line)
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """The machine; whatever happens, its gateway is stopped."""
    machine = Machine(tmp_path)
    yield machine
    if (machine.checkout / ".venv" / "bin" / "membrain").exists():
        machine.membrain("down")


def test_the_two_commands_of_the_readme(machine: Machine) -> None:
    up = machine.run("make", "--silent", "up")
    assert "membrain is up" in up.stderr
    assert "local/default" in up.stderr, "it says what it found"
    assert "membrain chat" in up.stderr, "and what to type next"

    answer = machine.membrain("chat", "What is the capital of France?")
    assert "Paris" in answer.stdout, "a real model's answer"
    assert "demo" in answer.stderr, "which does not pretend to be more than it is"
    assert "demo" not in machine.membrain("chat", "Say hello in five words.").stderr, "said once"

    status = json.loads(machine.membrain("status", "--json").stdout)
    assert status["up"] is True
    assert status["today"]["exchanges"] == 2
    records = [json.loads(line) for line in machine.membrain("audit", "--json").stdout.splitlines()]
    assert [(each["answered_model"], each["outcome"]) for each in records] == [("local/default", "answered")] * 2
    assert "France" not in json.dumps(records), "nothing of what was said"

    exports = machine.membrain("env", "--shell", "bash").stdout
    assert f"export OPENAI_BASE_URL=http://127.0.0.1:{machine.port}/v1" in exports
    script = f'{exports}\nexec .venv/bin/python -c "{ASK}"'
    assert "Paris" in machine.run("bash", "-c", script).stdout

    assert machine.processes(), "the gateway and the model's child run"
    machine.membrain("down")
    assert not machine.processes()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", machine.port)) != 0
    assert machine.membrain("status", status=3).stdout

    ours = [path for path in machine.home.rglob("*") if "membrain" in path.parts and path.is_file()]
    assert ours
    assert not [path for path in ours if path.stat().st_mode & 0o077], "all of it is this user's alone"


ASK = """
import json, os, urllib.request
body = {'model': 'auto', 'messages': [{'role': 'user', 'content': 'What is the capital of France?'}]}
request = urllib.request.Request(os.environ['OPENAI_BASE_URL'] + '/chat/completions', json.dumps(body).encode(),
    {'content-type': 'application/json', 'authorization': 'Bearer ' + os.environ['OPENAI_API_KEY']})
print(json.load(urllib.request.urlopen(request))['choices'][0]['message']['content'])
"""
