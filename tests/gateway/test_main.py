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

from membrain.__main__ import PortTaken, guard_for, listen
from membrain.config import load
from membrain.errors import Forbidden
from tests.growth import seconds
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
        record = again.audit()[0]
    assert (record["outcome"], record["error"]) == ("failed", "shutting_down"), "its end is on record, and whose it was"


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


def test_reading_the_keys_anew_cuts_no_running_answer(served: Served) -> None:
    answers: list[bytes] = []
    thread = threading.Thread(
        target=lambda: answers.append(served.chat(model="gpt-chunks-20-slow-30", stream=True).body)
    )
    thread.start()
    while not served.get("/health").json()["running"]:
        time.sleep(0.01)
    assert served.post("/api/reload", {}).status == 200
    thread.join()
    assert answers[0].endswith(b"data: [DONE]\n\n")
    assert served.chat().status == 200


def test_a_provider_set_up_while_it_runs_answers_after_a_reload(served: Served, sink: Sink) -> None:
    body = {"model": "own/anything", "messages": [{"role": "user", "content": "Hello"}]}
    folder = served.home / "config"
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(f'[providers.own]\nurl = "{sink.url}/v1"\n')
    served.post("/api/reload", {})
    assert served.post("/v1/chat/completions", body).headers["x-membrain-provider"] == "own"
    assert sink.requests[-1].json()["model"] == "anything"


def test_one_home_has_one_gateway(served: Served) -> None:
    """Also on another port: they would take each other's running exchanges for orphans."""
    done = start(served.home, MEMBRAIN_PORT=str(free_port()))
    assert done.returncode == 2
    assert "Another gateway runs with this home." in done.stderr
    assert served.chat().status == 200


def test_listening_everywhere_it_answers_to_any_address_and_to_no_strange_name() -> None:
    """A rebound web page comes under a name, never under a number."""
    guard = guard_for(load({"MEMBRAIN_HOST": "0.0.0.0", "MEMBRAIN_HOME": "/nowhere"}))  # noqa: S104  # nothing listens

    def ask(host: str) -> None:
        guard.check({"method": "GET", "headers": [(b"host", host.encode())]})

    for host in ("192.168.1.5:8001", "[fe80::1]:8001", "127.0.0.1:8001", "localhost:8001"):
        ask(host)
    for host in ("evil.example:8001", "192.168.1.5:1", "192.168.1.5", "192.168.1.5.evil.example:8001", ":8001"):
        with pytest.raises(Forbidden):
            ask(host)


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
    key, url = "sk-canary-0123456789", f"http://localhost:{port}/v1"
    with Served(tmp_path / "home", None, port=port, OPENAI_API_KEY=key, UPSTREAM_OPENAI_URL=url) as served:
        answer = served.chat()
        assert (answer.status, answer.json()["error"]["code"]) == (508, "loop_detected")


def test_variables_that_point_at_it_are_not_its_own_upstream(tmp_path: Path, sink: Sink) -> None:
    away = "http://127.0.0.1:1/v1"
    with Served(tmp_path / "home", sink, OPENAI_BASE_URL=away, OPENAI_API_BASE=away) as served:
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


# --- whoever else is there when it stops


def stopped_in(served: Served) -> float:
    """Seconds it took to stop, in good order and without a complaint."""
    began = time.monotonic()
    assert served.stop() == 0
    seconds = time.monotonic() - began
    log = served.log.read_text()
    assert "Traceback" not in log
    assert " ERROR " not in log
    return seconds


def test_who_watches_does_not_keep_it_from_stopping(tmp_path: Path, sink: Sink) -> None:
    """A dashboard listens for ever, and its stream ends as it should."""
    with (
        Served(tmp_path / "home", sink) as served,
        closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)) as connection,
    ):
        connection.request("GET", "/api/live")
        response = connection.getresponse()
        assert response.readline() == b"event: snapshot\n"
        assert stopped_in(served) < 2
        response.read()


def test_who_never_ends_a_body_does_not_keep_it_from_stopping(tmp_path: Path, sink: Sink) -> None:
    """And is told why."""
    with (
        Served(tmp_path / "home", sink, MEMBRAIN_LIMITS_DRAIN_SECONDS="0.3") as served,
        closing(socket.create_connection(("127.0.0.1", served.port), timeout=10)) as caller,
    ):
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
        caller.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        time.sleep(0.1)
        assert stopped_in(served) < 3
        heard = b""
        while piece := caller.recv(65536):
            heard += piece
        assert heard.startswith(b"HTTP/1.1 503 ")
        assert b"shutting_down" in heard


def test_who_only_holds_a_connection_does_not_keep_it_from_stopping(tmp_path: Path, sink: Sink) -> None:
    with (
        Served(tmp_path / "home", sink) as served,
        closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)) as idle,
        closing(socket.create_connection(("127.0.0.1", served.port), timeout=10)) as silent,
    ):
        idle.request("GET", "/health")
        idle.getresponse().read()
        silent.sendall(b"POST /v1/chat")
        assert stopped_in(served) < 2


def test_while_it_drains_new_work_is_refused_at_once(tmp_path: Path, sink: Sink) -> None:
    with Served(tmp_path / "home", sink, MEMBRAIN_LIMITS_DRAIN_SECONDS="5") as served:
        running = threading.Thread(target=lambda: served.chat(model="gpt-chunks-20-slow-50", stream=True))
        running.start()
        while not served.get("/health").json()["running"]:
            time.sleep(0.01)
        os.kill(served.pid, signal.SIGTERM)
        time.sleep(0.1)

        def refused(_: int) -> None:
            answer = served.chat()
            assert (answer.status, answer.json()["error"]["code"]) == (503, "shutting_down")
            assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("2", "true")

        assert min(seconds(refused, turn, time.monotonic) for turn in range(3)) < 0.2
        assert served.get("/health").json()["status"] == "draining"
        running.join()
        assert stopped_in(served) < 5


def test_it_starts_within_a_second_or_so_and_again_after_a_kill(tmp_path: Path, sink: Sink) -> None:
    """Nothing needs cleaning up."""
    with Served(tmp_path / "home", sink) as served:
        served.kill()
        assert state_of(served).exists()
        began = time.monotonic()
        served.start()
        assert time.monotonic() - began < 5
        assert json.loads(state_of(served).read_text())["pid"] == served.pid


@pytest.mark.parametrize(("host", "name"), [("::1", "[::1]"), ("localhost", "localhost"), ("127.0.0.1", "127.0.0.1")])
def test_it_can_be_asked_under_every_name_of_this_machine(tmp_path: Path, sink: Sink, host: str, name: str) -> None:
    with Served(tmp_path / "home", sink, MEMBRAIN_HOST=host) as served:
        assert json.loads(state_of(served).read_text())["url"] == f"http://{name}:{served.port}"
        for each in ("127.0.0.1", "localhost", "[::1]"):
            assert served.get("/health", host=f"{each}:{served.port}").status == 200
        with closing(http.client.HTTPConnection("::1", served.port, timeout=10)) as connection:
            connection.request("GET", "/v1/models", headers={"host": f"[::1]:{served.port}"})
            assert connection.getresponse().status == 200, "this machine's user, over IPv6 too"


def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Served(home):
        pass
    (home / "data" / "membrain.db").write_bytes(b"this is no database" * 100)
    for left in (home / "data").glob("membrain.db-*"):
        left.unlink()
    done = start(home, MEMBRAIN_PORT=str(free_port()))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
