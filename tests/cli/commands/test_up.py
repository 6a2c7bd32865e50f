"""`up`, `down`, `restart`, `status`, `logs`: with the real gateway, and stand-ins where it must misbehave."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from membrain.places import Places
from membrain.records import Attempt, AuditRecord
from membrain_cli import console, daemon
from membrain_cli.commands import up
from membrain_cli.console import CommandError, Console, Exit
from tests.cli import standin
from tests.cli.shell import Screen, command, invoke, membrain
from tests.cli.standin import put_in_place
from tests.cli.terminal import Terminal
from tests.served import Served, free_port


def port_of(environ: dict[str, str]) -> str:
    return environ["MEMBRAIN_PORT"]


# --- up ----------------------------------------------------------------------------------------------------


def test_the_first_start_shows_what_there_is_and_what_to_type_next(environ: dict[str, str]) -> None:
    with_model = {**environ, "MEMBRAIN_LOCAL_ENABLED": "true"}
    ran = membrain("up", environ=with_model)
    assert (ran.status, ran.out) == (0, "")
    lines = ran.err.splitlines()
    assert re.fullmatch(rf"● membrain is up   http://127\.0\.0\.1:{port_of(environ)}   \d+\.\d s", lines[0])
    assert "  ○ openai       no key             membrain keys set openai" in lines
    assert "  ○ local        not installed      membrain local install" in lines
    assert lines[-3:] == [
        "  Get a model    membrain local install",
        "  Talk to it     membrain chat",
        '  Point a tool   eval "$(membrain env)"',
    ]


def test_from_then_on_it_is_short(environ: dict[str, str]) -> None:
    membrain("up", environ=environ)
    membrain("down", environ=environ)
    told = membrain("up", environ=environ).err
    assert re.fullmatch(rf"● membrain is up   http://127\.0\.0\.1:{port_of(environ)}   \d+\.\d s   0 providers\n", told)


def test_up_when_up_says_so(environ: dict[str, str]) -> None:
    membrain("up", environ=environ)
    ran = invoke(["up"], environ)
    assert ran.status == 0
    assert re.fullmatch(rf"● membrain is already up   http://127\.0\.0\.1:{port_of(environ)}   \d+ s\n", ran.err)


def test_quiet_up_says_nothing(environ: dict[str, str]) -> None:
    ran = membrain("up", "-q", environ=environ)
    assert (ran.status, ran.out, ran.err) == (0, "", "")
    assert daemon.is_up(environ)


def test_up_as_json_tells_whether_it_was_started(environ: dict[str, str]) -> None:
    first, second = (json.loads(invoke(["up", "--json"], environ).out) for _ in range(2))
    assert (first["up"], first["started"], second["started"]) == (True, True, False)
    assert first["pid"] == second["pid"]
    assert {"url", "since", "version", "auth", "providers"} <= first.keys()


def test_a_port_can_be_chosen_for_this_time(environ: dict[str, str]) -> None:
    other = str(free_port())
    assert invoke(["up", "--port", other], environ).err.splitlines()[0].split()[4].endswith(f":{other}")


def test_a_taken_port_is_told_with_its_holder_and_two_ways_on(environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", int(port_of(environ)))):
        ran = membrain("up", environ=environ)
    other = int(port_of(environ)) + 1
    first, *rest = ran.err.splitlines()
    assert ran.status == Exit.FAILED
    assert re.fullmatch(rf"✗ Port {port_of(environ)} is taken by .+ \(pid {os.getpid()}\)\.", first)
    assert rest == [
        f"  Use another     membrain up --port {other}",
        f"  For good        membrain config set port {other}",
    ]


def test_another_home_s_gateway_on_the_port_is_called_what_it_is(served: Served, environ: dict[str, str]) -> None:
    ran = invoke(["up", "--port", str(served.port)], environ)
    assert ran.status == Exit.FAILED
    assert f"is taken by another Membrain with a home of its own (pid {served.pid})." in ran.err


def test_settings_that_cannot_work_start_nothing(environ: dict[str, str]) -> None:
    path = Path(environ["MEMBRAIN_HOME"]) / "config" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('[limits]\ndepth = "five"\n')
    ran = invoke(["up"], environ)
    assert (ran.status, ran.out) == (Exit.FAILED, "")
    assert ran.err.startswith('✗ config.toml line 2: limits.depth is "five"; it must be a whole number')
    assert ran.err.endswith("  Mend it         membrain config edit\n")
    assert not daemon.is_up(environ)


def test_a_gateway_that_dies_shows_its_last_words(tmp_path: Path, environ: dict[str, str]) -> None:
    ran = invoke(["up"], put_in_place(tmp_path, environ, "dies"))
    assert ran.status == Exit.FAILED
    assert ran.err.splitlines() == [
        "✗ The gateway stopped while starting.",
        "  last lines of its log:",
        "    store: postgres://team-db: connection refused",
        "    and that was all",
        "  Everything      membrain logs",
        "  Check it        membrain doctor",
    ]


def test_what_only_the_gateway_finds_wrong_is_told_in_its_words(tmp_path: Path, environ: dict[str, str]) -> None:
    ran = invoke(["up"], put_in_place(tmp_path, environ, "misconfigured"))
    assert ran.err.startswith('✗ config.toml line 7: limits.depth is "five"; it must be a whole number\n')


def test_a_port_that_was_taken_just_then_is_told(tmp_path: Path, environ: dict[str, str]) -> None:
    ran = invoke(["up", "--port", "65535"], put_in_place(tmp_path, environ, "taken"))
    assert ran.err.splitlines()[0] == "✗ Port 65535 is taken by another program."
    assert "--port 65534" in ran.err


def test_a_gateway_that_never_comes_up_is_told(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "READY_LIMIT", 0.3)
    ran = invoke(["up"], put_in_place(tmp_path, environ, "silent"))
    assert ran.err.startswith("✗ The gateway did not come up.")


def test_something_is_on_the_screen_at_once(tmp_path: Path, environ: dict[str, str]) -> None:
    with Terminal(
        command("up"), put_in_place(tmp_path, environ, "slow") | {"PYTHONPATH": environ["PYTHONPATH"]}
    ) as terminal:
        terminal.expect("starting …")
        terminal.expect("membrain is up")
        assert terminal.finish() == 0
        assert "starting" not in terminal.screen.text


def test_ctrl_c_while_it_starts_leaves_nothing_behind(environ: dict[str, str]) -> None:
    code = (
        "from membrain_cli import daemon, main\n"
        f"daemon.command = lambda: [{sys.executable!r}, {standin.__file__!r}]\n"
        "main.main()"
    )
    with Terminal([sys.executable, "-c", code, "up"], {**environ, "STANDIN": "silent"}) as terminal:
        terminal.expect("starting …")
        time.sleep(0.3)
        terminal.type("\x03")
        terminal.expect("Stopped. Nothing is left running.")
        assert terminal.finish() == Exit.INTERRUPTED
    lock = os.open(Places.find(environ).lock_file, os.O_RDWR)
    try:
        assert daemon.try_lock(lock)
    finally:
        os.close(lock)


def test_in_the_foreground_it_stays_and_logs_to_stderr(environ: dict[str, str]) -> None:
    program = subprocess.Popen(command("up", "--foreground"), env=environ, stderr=subprocess.PIPE, text=True)
    assert program.stderr is not None
    assert "up on http://" in program.stderr.readline()
    running = daemon.find(Places.find(environ))
    assert running is not None
    assert running.pid == program.pid
    ran = invoke(["up", "--foreground"], environ)
    assert (ran.status, ran.err.splitlines()[1]) == (Exit.FAILED, "  Stop it first      membrain down")
    program.send_signal(signal.SIGTERM)
    program.communicate(timeout=20)
    assert program.returncode == 0


@pytest.mark.parametrize(
    ("models", "told"),
    [((), ""), (("a",), "a"), (("a", "b", "c"), "a, b, c"), (("a", "b", "c", "d", "e"), "a, b, 3 more")],
)
def test_many_models_are_told_as_some(models: tuple[str, ...], told: str) -> None:
    assert up.some(models) == told


def test_providers_that_are_still_asked_are_waited_for(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def running(**health: Any) -> daemon.Running:
        return daemon.Running(1, "", 1, "", "", "", health)

    answers = iter([running(probing=True), None, running(providers=[1])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(daemon, "find", lambda _: next(answers))
        assert up.settled(up.Reach(environ), running(probing=True)) == {"providers": [1]}


# --- down, restart -----------------------------------------------------------------------------------------


def test_down_tells_what_it_all_came_to(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    ran = invoke(["down"], beside)
    assert (ran.status, ran.out) == (0, "")
    assert re.fullmatch(r"○ membrain is down   after \d+ s, 1 exchange, \$0\.0001\n", ran.err)


def test_down_leaves_neither_process_nor_port_nor_claim(environ: dict[str, str]) -> None:
    pid = json.loads(invoke(["up", "--json"], environ).out)["pid"]
    assert invoke(["down"], environ).status == 0
    assert not daemon.is_alive(pid)
    assert not daemon.is_listening("127.0.0.1", int(port_of(environ)))
    assert not Places.find(environ).state_file.exists()


def test_down_when_down_says_so(environ: dict[str, str]) -> None:
    ran = invoke(["down"], environ)
    assert (ran.status, ran.err) == (0, "○ membrain is already down\n")
    assert json.loads(invoke(["down", "--json"], environ).out) == {"up": False, "stopped": False}


def test_down_works_with_settings_that_do_not(environ: dict[str, str]) -> None:
    """A mistake in the file must not keep one from stopping."""
    invoke(["up"], environ)
    Places.find(environ).config_file.write_text("nonsense")
    assert invoke(["down"], environ).status == 0
    assert not daemon.is_up(environ)


def test_down_waits_for_answers_that_run_and_says_so(served: Served, beside: dict[str, str]) -> None:
    asked = threading.Thread(target=served.chat, args=("Hello",), kwargs={"model": "gpt-4o-slow-900", "stream": False})
    asked.start()
    while not served.get("/health").json()["running"]:
        time.sleep(0.01)
    with Terminal(command("down"), beside) as terminal:
        terminal.expect("stopping: 1 answer may finish first, 5 s at most (ctrl-c stops waiting)")
        terminal.expect("membrain is down")
        assert terminal.finish() == 0
    asked.join()


def test_ctrl_c_stops_the_waiting_not_the_stopping(tmp_path: Path, environ: dict[str, str]) -> None:
    running, _ = daemon.start(Places.find(environ).create(), put_in_place(tmp_path, environ, "slow"), None)
    with Terminal(command("down"), environ) as terminal:
        terminal.expect("ctrl-c stops waiting")
        terminal.type("\x03")
        terminal.expect("No longer waiting.")
        assert terminal.finish() == Exit.INTERRUPTED
    assert daemon.wait_gone(running, 5)


def test_a_gateway_that_does_not_end_is_told(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "PATIENCE", 0.1)
    running, _ = daemon.start(Places.find(environ).create(), put_in_place(tmp_path, environ, "stubborn"), None)
    ran = invoke(["down"], {**environ, "MEMBRAIN_LIMITS_DRAIN_SECONDS": "0.1"})
    assert ran.status == Exit.FAILED
    assert f"kill -9 {running.pid}" in ran.err


def test_restart_starts_anew(environ: dict[str, str]) -> None:
    first = json.loads(invoke(["up", "--json"], environ).out)
    ran = membrain("restart", "--json", environ=environ)
    again = json.loads(ran.out)
    assert (again["started"], again["url"]) == (True, first["url"])
    assert again["pid"] != first["pid"]


def test_restart_keeps_the_port_of_this_time(environ: dict[str, str]) -> None:
    """Tools were pointed at it."""
    bare = {name: value for name, value in environ.items() if name != "MEMBRAIN_PORT"}
    assert invoke(["up", "--port", port_of(environ)], bare).status == 0
    assert json.loads(invoke(["restart", "--json"], bare).out)["url"].endswith(f":{port_of(environ)}")


def test_restart_when_down_only_starts(environ: dict[str, str]) -> None:
    ran = invoke(["restart"], environ)
    assert (ran.status, ran.err.splitlines()[0][:15]) == (0, "● membrain is u")


def test_restart_stops_nothing_if_the_settings_cannot_work(environ: dict[str, str]) -> None:
    invoke(["up"], environ)
    assert invoke(["restart"], {**environ, "MEMBRAIN_TIER": "bst"}).status == Exit.FAILED
    assert daemon.is_up(environ)


# --- status ------------------------------------------------------------------------------------------------


def test_status_tells_what_it_knows(served: Served, beside: dict[str, str]) -> None:
    served.chat("one", model="gpt-4o")
    ran = invoke(["status"], beside)
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert re.fullmatch(rf"● up \d+ s   {served.url}   pid {served.pid}   v0\.1\.0", lines[0])
    assert lines[2] == "  today      1 exchange   $0.0001"
    assert re.fullmatch(r"  latency    p50 \d+ ms   p99 \d+ ms   first token \d+ ms   last 15 min", lines[3])
    assert lines[4:6] == ["  policy     local · pii mask · tier balanced", "  files      membrain config path"]
    (openai,) = (line for line in lines if " openai " in line)
    assert re.fullmatch(r"  ● openai +\d+ ms", openai)


def test_status_as_json(served: Served, beside: dict[str, str]) -> None:
    told = json.loads(invoke(["status", "--json"], beside).out)
    assert (told["up"], told["url"], told["pid"], told["version"]) == (True, served.url, served.pid, "0.1.0")
    assert told["today"]["exchanges"] == 0
    assert told["latency"] == {"p50_ms": None, "p99_ms": None, "first_p50_ms": None}
    assert "proof" not in told


def test_status_when_down(environ: dict[str, str]) -> None:
    ran = invoke(["status"], environ)
    assert (ran.status, ran.out, ran.err) == (Exit.DOWN, "○ down\n", "  Start it        membrain up\n")


def test_membrain_alone_is_the_status_while_it_is_up(served: Served, beside: dict[str, str]) -> None:
    assert invoke([], beside).out.startswith("● up ")


def test_status_works_while_the_record_does_not(
    served: Served, beside: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise CommandError("Something broke in the gateway.", [], Exit.FAILED)

    monkeypatch.setattr("membrain_cli.reach.Reach.usage", broken)
    ran = invoke(["status"], beside)
    assert (ran.status, ran.out.splitlines()[2]) == (0, "  today      the record cannot be read")


def test_a_gateway_that_goes_in_between_is_down(
    served: Served, beside: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise CommandError("The gateway is not running.", [], Exit.DOWN)

    monkeypatch.setattr("membrain_cli.reach.Reach.audit", gone)
    assert invoke(["status"], beside).status == Exit.DOWN


@pytest.fixture
def shell() -> Console:
    made = Console(Screen(), Screen(), Screen(), {"NO_COLOR": "1"})
    console.use(made)
    return made


def exchange(provider: str, took: float, error: str | None = None, **more: Any) -> AuditRecord:
    facts = {"id": "x", "time": "2026-11-21T14:00:00Z", "dialect": "chat", "path": "/", "model": "m"}
    return AuditRecord(**facts, attempts=(Attempt(provider, "m", took, error),), **more)


def test_a_provider_is_told_by_what_it_did_lately(shell: Console) -> None:
    lately = [exchange("openai", 388), exchange("openai", 100, "provider_failed"), exchange("ollama", 4100)]

    def told(name: str, **more: Any) -> str:
        shell.out(up.status_provider(shell, {"name": name, "up": True, "note": "", **more}, lately))
        assert isinstance(shell.stdout, Screen)
        return shell.stdout.getvalue().splitlines()[-1]

    assert told("openai") == "  ● openai        388 ms   50.0 % errors"
    assert told("ollama", local=True) == "  ◐ ollama        4.1 s    local"
    assert told("local", local=True) == "  ● local                  local"
    assert told("litellm", up=False, note="not installed") == "  ○ litellm       not installed"


def test_percentiles_are_of_what_was_answered() -> None:
    lately = [exchange("a", 1, outcome="answered", ms=float(ms), first_ms=1.0) for ms in range(1, 101)]
    found = up.latency([*lately, exchange("a", 1, outcome="failed", ms=9999.0)])
    assert found == {"p50_ms": 51.0, "p99_ms": 100.0, "first_p50_ms": 1.0}


def test_shares_that_are_nothing_are_left_out() -> None:
    assert (
        up.today_facts({"exchanges": 1204, "cost_micros": 1_830_000, "cached": 0, "masked": 0})
        == "1,204 exchanges   $1.83"
    )
    spent = {"exchanges": 2, "cost_micros": 1_830_000, "cached": 0, "masked": 0}
    assert up.today_facts(spent, 5_000_000) == "2 exchanges   $1.83 of $5.00"
    assert up.today_facts({"exchanges": 100, "cost_micros": 0, "cached": 37, "masked": 63}) == (
        "100 exchanges   $0   37 % from cache   63 values masked"
    )


# --- logs --------------------------------------------------------------------------------------------------

LOG = """\
2026-11-21 14:00:00,000 DEBUG membrain one
2026-11-21 14:00:01,000 INFO membrain two
2026-11-21 14:00:02,000 ERROR membrain three
Traceback (most recent call last):
ValueError
2026-11-21 14:00:03,000 INFO membrain four
2026-11-21 14:00:04,000 WARNING membrain five
"""


@pytest.fixture
def log(environ: dict[str, str]) -> Path:
    path = Places.find(environ).create().log_file
    path.write_text(LOG)
    return path


@pytest.mark.parametrize(
    ("argv", "lines"),
    [
        ([], LOG.splitlines()),
        (["-n", "2"], LOG.splitlines()[-2:]),
        (["-n", "0"], []),
        (["--level", "info"], LOG.splitlines()[1:]),
        (["--level", "warning"], [*LOG.splitlines()[2:5], LOG.splitlines()[6]]),
        (["--level", "ERROR", "-n", "1"], ["ValueError"]),
    ],
)
def test_the_log_is_read_from_its_end(argv: list[str], lines: list[str], log: Path, environ: dict[str, str]) -> None:
    assert invoke(["logs", *argv], environ).out.splitlines() == lines


def test_a_log_cannot_drive_the_terminal(log: Path, environ: dict[str, str]) -> None:
    log.write_text("\x1b]0;evil\x07harmless\n")
    assert invoke(["logs"], environ).out == "harmless\n"


def test_the_log_is_followed(log: Path, environ: dict[str, str]) -> None:
    program = subprocess.Popen(
        command("logs", "-f", "-n", "1", "--level", "warning"), env=environ, stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline().endswith("five\n")
    with log.open("a") as file:
        file.write("2026-11-21 14:00:05,000 INFO membrain six\n2026-11-21 14:00:06,000 ERROR membrain seven\n")
    assert program.stdout.readline().endswith("seven\n")
    program.kill()
    program.communicate()


def test_no_log_yet_is_told(environ: dict[str, str]) -> None:
    ran = invoke(["logs"], environ)
    assert (ran.status, ran.err.splitlines()[0]) == (Exit.FAILED, "✗ There is no log yet.")


def test_a_level_that_is_none_is_refused(environ: dict[str, str]) -> None:
    ran = invoke(["logs", "--level", "loud"], environ)
    assert ran.status == Exit.USAGE
    assert "debug, info, warning, error" in ran.err
