"""A tool in the foreground: who gets which signal, how it ends, what it is given. All with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from membrain_cli import attending
from membrain_cli.attending import Attendant
from membrain_cli.console import CommandError
from tests.cli.terminal import ROOT, Terminal, surroundings

ATTEND = """
    import os, sys
    from membrain_cli.attending import Attendant
    with Attendant() as attendant:
        status = attendant.run(sys.argv[1], sys.argv[1:], os.environ)
        print("tool ended with", status, flush=True)
    sys.exit(status)
"""
"""What `run` does of it, and a line that shows that it was there to the end."""

HEED = r"""
    import os, signal, sys, time
    def heard(number, frame):
        os.write(1, f"heard {signal.Signals(number).name}\n".encode())
        if number == signal.SIGTERM:
            sys.exit(7)
    for each in sys.argv[1:]:
        signal.signal(getattr(signal, each), heard)
    os.write(1, f"ready {os.getpid()}\n".encode())
    while True:
        time.sleep(0.05)
"""


def script(tmp_path: Path, body: str, name: str) -> Path:
    path = tmp_path / name
    path.write_text(f"#!{sys.executable}\n{textwrap.dedent(body)}")
    path.chmod(0o755)
    return path


@pytest.fixture
def line(tmp_path: Path) -> list[str]:
    """The command line of a tool that says what it hears, with us before it."""
    return [str(script(tmp_path, ATTEND, "attend")), str(script(tmp_path, HEED, "heed"))]


@contextmanager
def attended(line: list[str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Us and the tool in a session without a terminal, and the tool is ready."""
    environ = surroundings(tmp_path)
    with subprocess.Popen(
        line, env=environ, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as program:
        limit = threading.Timer(10, os.killpg, (program.pid, signal.SIGKILL))  # so that no reading waits for ever
        limit.start()
        try:
            assert said(program).startswith("ready")
            yield program
        finally:
            limit.cancel()
            if program.poll() is None:
                os.killpg(program.pid, signal.SIGKILL)


def said(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    return program.stdout.readline().strip()


# --- signals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGINT", "SIGQUIT"])
def test_what_is_sent_to_us_alone_is_passed_on(name: str, line: list[str], tmp_path: Path) -> None:
    """Ctrl-c too, where no terminal has told the tool."""
    with attended([*line, name, "SIGTERM"], tmp_path) as program:
        program.send_signal(getattr(signal, name))
        assert said(program) == f"heard {name}"
        program.terminate()
        assert said(program) == "heard SIGTERM"
        assert said(program) == "tool ended with 7"
        assert program.wait(10) == 7


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_tool_that_a_signal_ends_makes_it_our_status(
    number: signal.Signals, status: int, line: list[str], tmp_path: Path
) -> None:
    body = "import signal, time; signal.signal(2, signal.SIG_DFL); print('ready', flush=True); time.sleep(60)"
    with attended([line[0], str(script(tmp_path, body, "frail"))], tmp_path) as program:
        program.send_signal(number)
        assert said(program) == f"tool ended with {status}"
        assert program.wait(10) == status


def test_ctrl_c_reaches_the_tool_once(line: list[str], tmp_path: Path) -> None:
    """From the terminal, and not from us as well: many tools take a second one for "at once"."""
    with Terminal([*line, "SIGINT", "SIGQUIT", "SIGTERM"], surroundings(tmp_path)) as terminal:
        terminal.expect("ready")
        terminal.type("\x03")
        terminal.expect("heard SIGINT")
        time.sleep(0.2)
        terminal.type("\x1c")
        terminal.expect("heard SIGQUIT")
        time.sleep(0.2)
        os.kill(terminal.pid, signal.SIGTERM)
        terminal.expect("tool ended with 7")
        assert terminal.finish() == 7
        assert terminal.text.count("heard") == 3


def test_a_tool_that_ignores_ctrl_c_goes_on(line: list[str], tmp_path: Path) -> None:
    body = "import signal; signal.signal(2, signal.SIG_IGN); print('ready'); print('typed', input())"
    with Terminal([line[0], str(script(tmp_path, body, "deaf"))], surroundings(tmp_path)) as terminal:
        terminal.expect("ready")
        terminal.type("\x03")
        terminal.expect("^C")
        terminal.type("on\r")
        terminal.expect("typed on")
        terminal.expect("tool ended with 0")
        assert terminal.finish() == 0


def test_ctrl_c_at_a_tool_in_a_group_of_its_own_is_no_business_of_ours(line: list[str], tmp_path: Path) -> None:
    """As an interactive shell does it: the terminal is its own then."""
    environ = {**surroundings(tmp_path), "PS1": "inner> "}
    with Terminal([line[0], shell(), "--norc", "--noprofile", "-i"], environ) as terminal:
        terminal.expect("inner> ")
        terminal.type("sleep 30\r")
        terminal.expect("sleep 30")
        time.sleep(0.2)
        terminal.type("\x03")
        terminal.expect("inner> ")
        terminal.type("exit 5\r")
        terminal.expect("tool ended with 5")
        assert terminal.finish() == 5


def shell() -> str:
    import shutil

    found = shutil.which("bash")
    assert found is not None
    return found


@contextmanager
def in_a_shell(tmp_path: Path) -> Iterator[Terminal]:
    """An interactive shell, as stopping is a matter between it and its jobs."""
    environ = {**surroundings(tmp_path), "PS1": "outer> "}
    with Terminal([shell(), "--norc", "--noprofile", "-i"], environ) as terminal:
        terminal.expect("outer> ")
        yield terminal


def test_ctrl_z_stops_both_and_fg_goes_on_with_both(line: list[str], tmp_path: Path) -> None:
    with in_a_shell(tmp_path) as terminal:
        terminal.type(" ".join([*line, "SIGCONT"]) + "\r")
        terminal.expect("ready")
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.expect("outer> ")
        terminal.type("fg\r")
        terminal.expect("heard SIGCONT")
        terminal.type("\x03")
        terminal.expect("tool ended with 130")
        terminal.expect("outer> ")


def test_a_tool_that_is_asked_before_it_stops_is_not_left_alone(line: list[str], tmp_path: Path) -> None:
    """An editor puts the terminal in order first, and stops itself then. We stop no earlier than it."""
    body = r"""
        import os, signal, time
        def tidy(number, frame):
            os.write(1, b"tidy\n")
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGSTOP)
            os.write(1, b"back\n")
        signal.signal(signal.SIGTSTP, tidy)
        os.write(1, b"ready\n")
        print("typed", input())
    """
    with in_a_shell(tmp_path) as terminal:
        terminal.type(f"{line[0]} {script(tmp_path, body, 'editor')}\r")
        terminal.expect("ready")
        terminal.type("\x1a")
        assert "outer> " not in terminal.expect("tidy")
        terminal.expect("Stopped")
        terminal.type("fg\r")
        terminal.expect("back")
        terminal.type("on\r")
        terminal.expect("typed on")
        terminal.expect("tool ended with 0")


def test_a_tool_that_takes_ctrl_z_for_itself_keeps_the_terminal(line: list[str], tmp_path: Path) -> None:
    with in_a_shell(tmp_path) as terminal:
        terminal.type(" ".join([*line, "SIGTSTP", "SIGTERM"]) + "\r")
        pid = terminal.expect("\n", 10) and terminal.expect("ready ") and terminal.expect("\n").strip()
        terminal.type("\x1a")
        terminal.expect("heard SIGTSTP")
        os.kill(int(pid), signal.SIGTERM)
        terminal.expect("tool ended with 7")
        assert "Stopped" not in terminal.text


def test_without_a_terminal_a_pause_of_the_tool_is_no_pause_of_ours(line: list[str], tmp_path: Path) -> None:
    """Nobody would wake us."""
    with attended([*line, "SIGTERM"], tmp_path) as program:
        child = int(subprocess.run(["pgrep", "-P", str(program.pid)], capture_output=True, check=True).stdout)
        os.kill(child, signal.SIGSTOP)
        time.sleep(0.2)
        os.kill(child, signal.SIGCONT)
        program.terminate()
        assert said(program) == "heard SIGTERM"
        assert program.wait(10) == 7


def test_what_nohup_ignores_stays_ignored(line: list[str], tmp_path: Path) -> None:
    body = "import signal; print('ready', flush=True); print(signal.getsignal(1).name, flush=True); signal.pause()"
    path = script(tmp_path, body, "nohupped")
    ignoring = f"import os, signal; signal.signal(1, signal.SIG_IGN); os.execv({line[0]!r}, {[line[0], str(path)]!r})"
    with attended([sys.executable, "-c", ignoring], tmp_path) as program:
        assert said(program) == "SIG_IGN"
        program.send_signal(signal.SIGHUP)
        time.sleep(0.1)
        assert program.poll() is None


def test_a_signal_that_comes_before_the_tool_keeps_it_from_starting(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Attendant() as attendant:
        os.kill(os.getpid(), signal.SIGTERM)
        assert attendant.run("/bin/touch", ["touch", str(tmp_path / "ran")], {}) == 143
    assert not (tmp_path / "ran").exists()
    assert signal.getsignal(signal.SIGTERM) == before


def test_after_its_end_a_signal_does_not_interrupt_what_is_left_to_do() -> None:
    with Attendant() as attendant:
        assert attendant.run("/bin/true", ["true"], {}) == 0
        for number in attending.PASSED_ON - {signal.SIGTSTP}:
            os.kill(os.getpid(), number)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_tool_of_another_user_is_waited_for_though_it_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `sudo`."""
    told: list[int] = []

    def kill(_pid: int, number: int) -> None:
        told.append(number)
        raise PermissionError

    real = os.kill
    with Attendant() as attendant:
        monkeypatch.setattr(os, "kill", kill)
        threading.Timer(0.1, real, (os.getpid(), signal.SIGUSR1)).start()
        assert attendant.run("/bin/sleep", ["sleep", "0.3"], {}) == 0
    assert told == [signal.SIGUSR1]


# --- what it is given ----------------------------------------------------------------------------------------


def test_it_gets_its_own_name_and_environment_and_files(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        with Attendant() as attendant:
            line = ["other", "-c", f"echo $0 $WORD >&{writing}"]
            assert attendant.run(shell(), line, {"WORD": "given"}) == 0
        os.close(writing)
        assert os.read(reading, 100) == b"other given\n"
    finally:
        os.close(reading)


def test_what_cannot_be_run_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    with Attendant() as attendant, pytest.raises(CommandError, match="broken cannot be run: Exec format error") as told:
        attendant.run(str(broken), ["broken"], {})
    assert told.value.code == attending.CANNOT_RUN
