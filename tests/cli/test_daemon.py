"""The gateway as a process: real ones, and stand-ins that misbehave as the real one does not."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from membrain.places import Places
from membrain_cli import daemon
from tests.cli.shell import membrain
from tests.cli.standin import put_in_place
from tests.served import Served


def places_of(environ: dict[str, str]) -> Places:
    return Places.find(environ).create()


def port_of(environ: dict[str, str]) -> int:
    return int(environ["MEMBRAIN_PORT"])


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience for tests that wait for it to end."""
    monkeypatch.setattr(daemon, "READY_LIMIT", 0.7)


# --- starting ----------------------------------------------------------------------------------------------


def test_a_gateway_starts_and_is_found(tmp_path: Path, environ: dict[str, str]) -> None:
    running, fresh = daemon.start(places_of(environ), put_in_place(tmp_path, environ), None)
    assert fresh
    assert running.port == port_of(environ)
    found = daemon.find(places_of(environ))
    assert found is not None
    assert found.pid == running.pid
    assert daemon.is_up(environ)


def test_a_second_start_finds_the_first(tmp_path: Path, environ: dict[str, str]) -> None:
    first, _ = daemon.start(places_of(environ), put_in_place(tmp_path, environ), None)
    second, fresh = daemon.start(places_of(environ), put_in_place(tmp_path, environ), None)
    assert (second.pid, fresh) == (first.pid, False)


def test_many_starts_at_once_make_one_gateway(tmp_path: Path, environ: dict[str, str]) -> None:
    stood_in, found = put_in_place(tmp_path, environ, "slow"), []
    threads = [
        threading.Thread(target=lambda: found.append(daemon.start(places_of(environ), stood_in, None)))
        for _ in range(20)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len({running.pid for running, _ in found}) == 1
    assert sum(fresh for _, fresh in found) == 1


@pytest.mark.slow
def test_twenty_programs_at_once_make_one_gateway(environ: dict[str, str]) -> None:
    """T24, with the real gateway and real processes."""
    command = [sys.executable, "-m", "membrain_cli", "up", "--json"]
    all_of_them = [
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(20)
    ]
    told = [json.loads(each.communicate(timeout=90)[0]) for each in all_of_them]
    assert {each.returncode for each in all_of_them} == {0}
    assert len({each["pid"] for each in told}) == 1
    assert sum(each["started"] for each in told) == 1
    assert membrain("down", environ=environ).status == 0


def test_the_gateway_outlives_whoever_started_it(tmp_path: Path, environ: dict[str, str]) -> None:
    """It has a session of its own: a closed terminal does not reach it."""
    running, _ = daemon.start(places_of(environ), put_in_place(tmp_path, environ), None)
    assert os.getsid(running.pid) == running.pid != os.getsid(0)


def test_both_outputs_go_to_a_log_for_the_user_alone(tmp_path: Path, environ: dict[str, str]) -> None:
    places = places_of(environ)
    daemon.start(places, put_in_place(tmp_path, environ), None)
    assert stat.S_IMODE(places.log_file.stat().st_mode) == 0o600


def test_a_gateway_that_dies_is_not_waited_for(tmp_path: Path, environ: dict[str, str]) -> None:
    began = time.monotonic()
    with pytest.raises(daemon.StartError) as caught:
        daemon.start(places_of(environ), put_in_place(tmp_path, environ, "dies"), None)
    assert time.monotonic() - began < 5
    assert caught.value.status == 1
    assert caught.value.said == ["store: postgres://team-db: connection refused", "and that was all"]


def test_only_what_was_logged_since_the_start_is_told(tmp_path: Path, environ: dict[str, str]) -> None:
    places = places_of(environ)
    places.log_file.write_text("from long ago\n")
    with pytest.raises(daemon.StartError) as caught:
        daemon.start(places, put_in_place(tmp_path, environ, "misconfigured"), None)
    assert caught.value.status == daemon.MISCONFIGURED
    assert "from long ago" not in caught.value.said


@pytest.mark.usefixtures("brief")
def test_a_gateway_that_never_answers_is_given_up_and_ended(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(daemon.StartError) as caught:
        daemon.start(places_of(environ), put_in_place(tmp_path, environ, "silent"), None)
    assert caught.value.status is None


def test_the_lock_is_held_for_as_long_as_the_gateway_lives(tmp_path: Path, environ: dict[str, str]) -> None:
    places = places_of(environ)
    running, _ = daemon.start(places, put_in_place(tmp_path, environ), None)
    descriptor = os.open(places.lock_file, os.O_RDWR)
    try:
        assert not daemon.try_lock(descriptor)
        os.kill(running.pid, signal.SIGKILL)
        assert daemon.wait_gone(running, 5)
        assert daemon.try_lock(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.usefixtures("brief")
def test_a_gateway_that_hangs_is_not_joined_by_a_second(tmp_path: Path, environ: dict[str, str]) -> None:
    places, stood_in = places_of(environ), put_in_place(tmp_path, environ)
    running, _ = daemon.start(places, stood_in, None)
    os.kill(running.pid, signal.SIGSTOP)
    places.state_file.unlink()
    try:
        with pytest.raises(daemon.StartError, match="did not come up") as caught:
            daemon.start(places, stood_in, None)
        assert caught.value.status is None
    finally:
        os.kill(running.pid, signal.SIGKILL)


def test_a_killed_gateway_leaves_nothing_that_needs_cleaning(tmp_path: Path, environ: dict[str, str]) -> None:
    places, stood_in = places_of(environ), put_in_place(tmp_path, environ)
    first, _ = daemon.start(places, stood_in, None)
    os.kill(first.pid, signal.SIGKILL)
    assert daemon.wait_gone(first, 5)
    second, fresh = daemon.start(places, stood_in, None)
    assert fresh
    assert second.pid != first.pid


# --- its environment ---------------------------------------------------------------------------------------


def test_the_gateway_does_not_get_what_points_at_itself(environ: dict[str, str]) -> None:
    pointed = {
        **environ,
        "OPENAI_BASE_URL": "http://127.0.0.1:8001/v1",
        "OPENAI_API_BASE": "http://127.0.0.1:8001/v1",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:8001",
        "OPENAI_API_KEY": "ck_live_0123456789",
        "ANTHROPIC_AUTH_TOKEN": "ck_live_0123456789",
        "ANTHROPIC_API_KEY": "sk-ant-real-0123456789",
    }
    kept = daemon.child_environment(pointed, places_of(environ), 8002)
    assert not {"OPENAI_BASE_URL", "OPENAI_API_BASE", "ANTHROPIC_BASE_URL"} & kept.keys()
    assert not {"OPENAI_API_KEY", "ANTHROPIC_AUTH_TOKEN"} & kept.keys()
    assert kept["ANTHROPIC_API_KEY"] == "sk-ant-real-0123456789"
    assert kept["MEMBRAIN_PORT"] == "8002"


def test_a_relative_home_is_handed_on_as_an_absolute_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"MEMBRAIN_HOME": "here"}
    assert daemon.child_environment(given, Places.find(given), None)["MEMBRAIN_HOME"] == str(tmp_path / "here")


def test_nothing_of_the_working_folder_is_imported(tmp_path: Path, environ: dict[str, str]) -> None:
    """A cloned repository may hold a `membrain` or `typing` of its own."""
    (tmp_path / "uvicorn.py").write_text("raise SystemExit('this is not the uvicorn you look for')")
    ran = membrain("up", environ=environ, cwd=tmp_path)
    assert ran.status == 0, ran.err
    assert membrain("down", environ=environ).status == 0


# --- believing ---------------------------------------------------------------------------------------------


class Impostor(BaseHTTPRequestHandler):
    """Answers what the claim wants to hear, but does not know the secret. Keeps what it is sent."""

    heard: list[str]

    def do_GET(self) -> None:
        type(self).heard.append(f"{self.requestline}\n{self.headers}")
        body = json.dumps({"status": "ok", "instance": "i", "auth": "local", "proof": "00" * 32, "pid": 1}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def impostor() -> Iterator[HTTPServer]:
    Impostor.heard = []
    server = HTTPServer(("127.0.0.1", 0), Impostor)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def claim(places: Places, port: int, pid: int, **more: object) -> None:
    data = {
        "pid": pid, "port": port, "host": "127.0.0.1", "url": f"http://127.0.0.1:{port}", "instance": "i",
        "started": "2026-11-21T09:48:00+00:00", "secret": "ab" * 32, "version": "0.1.0",
    } | more  # fmt: skip
    places.state_file.write_text(json.dumps(data))
    places.state_file.chmod(0o600)


def test_an_impostor_is_not_believed_and_gets_no_key(environ: dict[str, str], impostor: HTTPServer) -> None:
    """T03: whoever squats on the port gets a challenge, and not one byte more."""
    places = places_of(environ)
    places.machine_key_file.write_text("ck_live_canary")
    places.machine_key_file.chmod(0o600)
    claim(places, impostor.server_address[1], os.getpid())
    assert daemon.find(places) is None
    assert membrain("env", environ=environ).status == 3
    assert Impostor.heard
    assert "canary" not in "".join(Impostor.heard)


def test_a_stranger_whose_pid_is_in_a_stale_claim_stays_alive(environ: dict[str, str], impostor: HTTPServer) -> None:
    """T23: a pid is signalled only after its process has proven itself."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        claim(places_of(environ), impostor.server_address[1], stranger.pid)
        assert membrain("down", environ=environ).status == 0
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"pid": 1}', "\xff", '{"pid": "x", "port": 1}', "{" * 10_000], ids=range(7)
)
def test_a_damaged_claim_is_no_claim(environ: dict[str, str], text: str) -> None:
    places = places_of(environ)
    places.state_file.write_bytes(text.encode("latin-1"))
    places.state_file.chmod(0o600)
    assert daemon.read_claim(places) is None


@pytest.mark.parametrize("pid", [-1, 0, 1])
def test_a_claim_that_names_no_single_process_is_no_claim(environ: dict[str, str], pid: int) -> None:
    places = places_of(environ)
    claim(places, 1, pid)
    assert daemon.read_claim(places) is None


def test_a_claim_with_a_secret_that_is_none_proves_nothing(environ: dict[str, str], impostor: HTTPServer) -> None:
    places = places_of(environ)
    claim(places, impostor.server_address[1], 4711, secret="no hex")
    assert daemon.find(places) is None


def test_who_does_not_speak_http_is_not_believed(environ: dict[str, str]) -> None:
    places = places_of(environ)
    with socket.create_server(("127.0.0.1", 0)) as mute:

        def answer() -> None:
            connection, _ = mute.accept()
            connection.sendall(b"SSH-2.0-OpenSSH_9\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        claim(places, mute.getsockname()[1], 4711)
        assert daemon.find(places) is None
        thread.join()


def test_the_real_gateway_proves_itself(served: Served) -> None:
    found = daemon.find(Places.find({"MEMBRAIN_HOME": str(served.home)}))
    assert found is not None
    assert (found.pid, found.port) == (served.pid, served.port)


# --- stopping ----------------------------------------------------------------------------------------------


def test_a_gateway_that_is_told_to_stop_ends(tmp_path: Path, environ: dict[str, str]) -> None:
    running, _ = daemon.start(places_of(environ), put_in_place(tmp_path, environ), None)
    daemon.ask_to_stop(running)
    assert daemon.wait_gone(running, 5)
    assert not daemon.is_up(environ)


def test_a_stubborn_gateway_is_not_waited_for_for_ever(tmp_path: Path, environ: dict[str, str]) -> None:
    running, _ = daemon.start(places_of(environ), put_in_place(tmp_path, environ, "stubborn"), None)
    daemon.ask_to_stop(running)
    assert not daemon.wait_gone(running, 0.2)


def test_a_process_that_only_waits_for_its_parent_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    limit = time.monotonic() + 10
    while daemon.is_alive(child.pid) and time.monotonic() < limit:
        time.sleep(0.01)
    assert not daemon.is_alive(child.pid)
    child.wait()
    assert not daemon.is_alive(child.pid)


# --- who holds the port ------------------------------------------------------------------------------------


def test_the_program_that_holds_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mine:
        found = daemon.listening_program(mine.getsockname()[1])
    assert found is not None
    assert found[1] == f"pid {os.getpid()}"


def test_the_program_is_named_on_either_family() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as mine:
        assert daemon.listening_program(mine.getsockname()[1]) is not None


def test_nobody_is_named_for_a_free_port(environ: dict[str, str]) -> None:
    assert daemon.listening_program(port_of(environ)) is None
    assert not daemon.is_listening("127.0.0.1", port_of(environ))


def test_another_home_s_gateway_is_called_what_it_is(served: Served) -> None:
    assert daemon.holder("127.0.0.1", served.port).startswith("another Membrain with a home of its own")


# --- the log -----------------------------------------------------------------------------------------------


def test_a_large_log_is_begun_anew_and_one_kept(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "LOG_LIMIT", 10)
    places = places_of(environ)
    places.log_file.write_text("more than ten bytes\n")
    assert daemon.turn_log(places) == 0
    assert not places.log_file.exists()
    assert places.log_file.with_suffix(".log.1").read_text() == "more than ten bytes\n"


@pytest.mark.parametrize("lines", [0, 1, 3, 5000, 100_000])
def test_the_end_of_a_log_is_read_from_its_end(tmp_path: Path, lines: int) -> None:
    log = tmp_path / "log"
    written = [f"line {number} {'x' * 30}" for number in range(6000)]
    log.write_text("".join(f"{line}\n" for line in written))
    read, end = daemon.log_tail(log, lines)
    assert read == (written[-lines:] if lines else [])
    assert end == log.stat().st_size


def test_a_log_is_followed_across_pieces_and_a_new_beginning(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\n")
    lines = daemon.follow_log(log, log.stat().st_size)

    def write() -> None:
        with log.open("a") as file:
            file.write("fir")
            file.flush()
            time.sleep(0.3)
            file.write("st\nsecond\n")
        time.sleep(0.4)
        log.write_text("new\n")

    thread = threading.Thread(target=write)
    thread.start()
    assert [next(lines) for _ in range(3)] == ["first", "second", "new"]
    thread.join()


def test_where_there_is_no_proc_lsof_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lsof = tmp_path / "lsof"
    lsof.write_text("#!/bin/sh\ncase $* in *TCP:8001*) printf 'p4711\\ncpython3\\nf3\\n';; esac\n")
    lsof.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert daemon.listening_by_lsof(8001) == ("python3", "pid 4711")
    assert daemon.listening_by_lsof(8002) is None
    lsof.unlink()
    assert daemon.listening_by_lsof(8001) is None


# --- what was planted --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["state_file", "lock_file", "log_file"])
def test_a_planted_link_is_not_followed(name: str, tmp_path: Path, environ: dict[str, str]) -> None:
    """T23: whoever can write into the folder cannot make us write, or believe, something elsewhere."""
    target = tmp_path / "target"
    target.write_text("untouched")
    planted: Path = getattr(places_of(environ), name)
    planted.symlink_to(target)
    ran = membrain("up", environ=environ)
    assert ran.status == 1
    assert f"{planted} is a symbolic link" in ran.err
    assert target.read_text() == "untouched"
    planted.unlink()


# --- an editor ---------------------------------------------------------------------------------------------


def test_the_editor_is_the_user_s_own_with_its_arguments(tmp_path: Path) -> None:
    script = tmp_path / "edit.py"
    script.write_text("import sys; open(sys.argv[2], 'a').write(sys.argv[1])")
    path = tmp_path / "config.toml"
    assert daemon.edit(path, {"EDITOR": f"{sys.executable} {script} '# by hand'", "PATH": os.environ["PATH"]})
    assert path.read_text() == "# by hand"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("editor", ["false", "/no/such/editor"])
def test_an_editor_that_fails_is_told(tmp_path: Path, editor: str) -> None:
    assert not daemon.edit(tmp_path / "f", {"EDITOR": editor, "PATH": os.environ["PATH"]})
