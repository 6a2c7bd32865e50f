"""`python -m membrain`: listens, tells where it is, drains when told to stop, and says why it cannot start."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from membrain.__main__ import PortTaken, listen
from tests.served import Served, _environment, free_port
from tests.sink import Sink

BODY = json.dumps(
    {"model": "gpt-chunks-400-slow-20", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
).encode()


def state_of(served: Served) -> Path:
    return served.home / "state" / "gateway.json"


def start(home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Start it where it cannot, and see how it ends."""
    env = {**_environment(home, None), **environ}
    return subprocess.run([sys.executable, "-m", "membrain"], env=env, capture_output=True, text=True, timeout=30)


def test_it_listens_on_both_loopbacks_and_nowhere_else(served: Served) -> None:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with closing(socket.socket(family)) as probe:
            probe.settimeout(2)
            assert probe.connect_ex((host, served.port)) == 0
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    ours = {line[1].split(":")[0] for line in lines[1:] if line[1].endswith(f":{served.port:04X}") and line[3] == "0A"}
    assert ours == {"0100007F", "00000000000000000000000001000000"}


def test_the_state_file_is_private_and_can_be_proven(served: Served) -> None:
    path = state_of(served)
    assert path.stat().st_mode & 0o777 == 0o600
    state = json.loads(path.read_text())
    assert (state["pid"], state["port"], state["url"]) == (served.pid, served.port, served.url)
    health = served.get("/health?challenge=abc").json()
    assert health["instance"] == state["instance"]
    assert health["proof"] == hmac.digest(bytes.fromhex(state["secret"]), b"abc", hashlib.sha256).hex()


def test_everything_it_writes_is_for_its_user_alone(tmp_path: Path, sink: Sink) -> None:
    """Whatever the umask of whoever started it."""
    before = os.umask(0)
    try:
        with Served(tmp_path / "home", sink) as served:
            assert served.chat().status == 200
            loose = [path for path in served.home.rglob("*") if path.stat().st_mode & 0o077]
    finally:
        os.umask(before)
    assert not loose


def test_a_stop_lets_a_running_answer_finish(served: Served) -> None:
    model = "gpt-chunks-20-slow-30"
    answers: list[bytes] = []
    thread = threading.Thread(target=lambda: answers.append(served.chat(model=model, stream=True).body))
    thread.start()
    while not served.get("/health").json()["running"]:
        time.sleep(0.01)
    assert served.stop() == 0
    thread.join()
    assert answers[0].endswith(b"data: [DONE]\n\n")
    assert not state_of(served).exists()


def test_a_stop_ends_what_takes_too_long_with_a_proper_goodbye(tmp_path: Path, sink: Sink) -> None:
    with Served(tmp_path / "home", sink, MEMBRAIN_LIMITS_DRAIN_SECONDS="0.3") as served:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
        connection.request("POST", "/v1/chat/completions", BODY, {"content-type": "application/json"})
        response = connection.getresponse()
        began = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - began < 3
        with pytest.raises(http.client.IncompleteRead) as cut:
            response.read()
        connection.close()
    assert b'"code":"shutting_down"' in cut.value.partial
    with Served(served.home, sink) as again:
        assert again.audit()[0]["outcome"] in {"aborted", "failed"}, "its end is on record"


def test_a_second_signal_does_not_wait(tmp_path: Path, sink: Sink) -> None:
    with Served(tmp_path / "home", sink, MEMBRAIN_LIMITS_DRAIN_SECONDS="30") as served:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
        connection.request("POST", "/v1/chat/completions", BODY, {"content-type": "application/json"})
        connection.getresponse()
        pid = served.pid
        os.kill(pid, signal.SIGTERM)
        time.sleep(0.3)
        began = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - began < 5
        connection.close()


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = start(tmp_path / "home", MEMBRAIN_PORT=str(port))
        assert done.returncode == 3
        assert done.stderr.strip() == f"Port {port} is taken by another program."
        assert not (tmp_path / "home" / "state" / "gateway.json").exists()


def test_a_squatter_on_the_other_loopback_is_a_taken_port() -> None:
    """Who owns ::1 could read what is sent to `localhost`."""
    with closing(socket.socket(socket.AF_INET6)) as other:
        other.bind(("::1", 0))
        other.listen()
        with pytest.raises(PortTaken):
            listen("127.0.0.1", other.getsockname()[1])


def test_settings_that_cannot_work_are_one_sentence(tmp_path: Path) -> None:
    done = start(tmp_path / "home", MEMBRAIN_PORT="five")
    assert done.returncode == 2
    assert "MEMBRAIN_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_never_talks_to_itself(tmp_path: Path) -> None:
    """Started from a shell that points OpenAI's address at it."""
    port = free_port()
    environ = {"OPENAI_API_KEY": "sk-canary-0123456789", "UPSTREAM_OPENAI_URL": f"http://localhost:{port}/v1"}
    with Served(tmp_path / "home", None, port=port, **environ) as served:
        answer = served.chat()
        assert (answer.status, answer.json()["error"]["code"]) == (508, "loop_detected")


def test_variables_that_point_at_it_are_not_its_own_upstream(tmp_path: Path, sink: Sink) -> None:
    environ = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "OPENAI_API_BASE": "http://127.0.0.1:1/v1"}
    with Served(tmp_path / "home", sink, **environ) as served:
        assert served.chat().status == 200
        assert [each.path for each in sink.requests if each.method == "POST"] == ["/v1/chat/completions"]


def test_the_log_holds_no_key_and_no_word_that_was_said(tmp_path: Path, sink: Sink) -> None:
    with Served(tmp_path / "home", sink, MEMBRAIN_LOG_LEVEL="debug") as served:
        for model in ("gpt-4o", "gpt-status-500", "gpt-reset", "claude-status-500"):
            served.chat("canary-prompt", model=model)
        served.post("/v1/chat/completions", b'{"canary-prompt": ')
    log = served.log.read_text()
    assert log
    assert "canary" not in log
