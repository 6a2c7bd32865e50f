"""`env` and `run`: what they print is evaluated by real shells, what they start is a real tool."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain_cli import daemon
from membrain_cli.commands import env
from membrain_cli.console import Exit
from membrain_cli.reach import Reach
from tests.cli.shell import command, invoke, membrain
from tests.cli.terminal import Terminal
from tests.served import Served

NAMES = ["OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_API_KEY"]
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=20)
"""Values that a shell must give back as they are."""


# --- env ---------------------------------------------------------------------------------------------------


def test_the_exports_point_at_the_gateway_by_number_with_a_key(served: Served, beside: dict[str, str]) -> None:
    ran = membrain("env", environ=beside)
    key = Reach(beside).key
    assert key is not None
    assert key.startswith("ck_live_")
    assert ran.out.splitlines() == [
        f"export OPENAI_BASE_URL=http://127.0.0.1:{served.port}/v1",
        f"export OPENAI_API_BASE=http://127.0.0.1:{served.port}/v1",
        f"export OPENAI_API_KEY={key}",
    ]
    assert ran.err == ""


def test_a_shell_that_evaluates_them_reaches_the_gateway(served: Served, beside: dict[str, str]) -> None:
    """The whole way: eval, a tool that reads the variables, an answer."""
    said = "model='gpt-4o', messages=[{'role': 'user', 'content': 'Hi'}]"
    tool = f"import openai; print(openai.OpenAI().chat.completions.create({said}).id)"
    line = f'eval "$({shlex.join(command("env"))})" && {shlex.join([sys.executable, "-W", "ignore", "-c", tool])}'
    done = subprocess.run(["bash", "-c", line], env=beside, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("chatcmpl-")
    (record,) = served.audit(limit=1)
    assert record["caller"] == "this machine"


def test_while_it_is_down_nothing_is_printed(environ: dict[str, str]) -> None:
    ran = membrain("env", environ=environ)
    assert (ran.status, ran.out) == (Exit.DOWN, "")
    assert "membrain up" in ran.err


@pytest.mark.parametrize(
    ("argv", "lines"),
    [
        (["--unset"], [f"unset {name}" for name in NAMES]),
        (["--unset", "--shell", "fish"], [f"set -e {name}" for name in NAMES]),
        (
            ["--unset", "--shell", "powershell"],
            [f"Remove-Item Env:{name} -ErrorAction SilentlyContinue" for name in NAMES],
        ),
        (["--unset", "--format", "dotenv"], [f"{name}=" for name in NAMES]),
    ],
)
def test_unset_needs_no_gateway(argv: list[str], lines: list[str], environ: dict[str, str]) -> None:
    assert invoke(["env", *argv], environ).out.splitlines() == lines


@pytest.mark.parametrize(
    ("argv", "first"),
    [
        (["--shell", "fish"], "set -gx OPENAI_BASE_URL http://127.0.0.1:{port}/v1"),
        (["--shell", "powershell"], "$Env:OPENAI_BASE_URL = 'http://127.0.0.1:{port}/v1'"),
        (["--shell", "zsh"], "export OPENAI_BASE_URL=http://127.0.0.1:{port}/v1"),
        (["--format", "dotenv"], "OPENAI_BASE_URL=http://127.0.0.1:{port}/v1"),
    ],
)
def test_each_shell_has_its_own_words(argv: list[str], first: str, served: Served, beside: dict[str, str]) -> None:
    assert invoke(["env", *argv], beside).out.splitlines()[0] == first.format(port=served.port)


@pytest.mark.parametrize(
    ("shell", "kind"),
    [("/usr/bin/fish", "fish"), ("/bin/zsh", "zsh"), ("/bin/bash", "bash"), ("/bin/dash", "bash"), ("", "bash")],
)
def test_the_shell_is_guessed(shell: str, kind: str) -> None:
    assert env.shell_of({"SHELL": shell}) == kind


def test_json_tells_the_variables(served: Served, beside: dict[str, str]) -> None:
    assert list(json.loads(invoke(["env", "--json"], beside).out)) == NAMES


def test_a_terminal_is_told_how_to_use_them(served: Served, beside: dict[str, str]) -> None:
    with Terminal(command("env"), beside) as terminal:
        terminal.finish()
        assert '# Use it:  eval "$(membrain env)"' in terminal.text
    with Terminal(["bash", "-c", f"{shlex.join(command('env'))} > /dev/null"], beside) as terminal:
        terminal.finish()
        assert terminal.text == ""


def test_the_door_that_is_not_there_yet_is_not_pretended(served: Served, beside: dict[str, str]) -> None:
    ran = invoke(["env", "--for", "anthropic"], beside)
    assert (ran.status, ran.out) == (Exit.FAILED, "")
    assert "no door for anthropic tools yet (/v1/messages)" in ran.err
    assert invoke(["env", "--for", "openai"], beside).status == 0


def test_a_door_that_opens_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the issue that brings `/v1/messages` will have to do."""
    opened = tuple(each._replace(is_open=True) for each in env.FAMILIES)
    assert env.variables(opened, "http://127.0.0.1:8001", "ck_live_x") == {
        "OPENAI_BASE_URL": "http://127.0.0.1:8001/v1",
        "OPENAI_API_BASE": "http://127.0.0.1:8001/v1",
        "OPENAI_API_KEY": "ck_live_x",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:8001",
        "ANTHROPIC_AUTH_TOKEN": "ck_live_x",
    }


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--shell", "fisch"], 'There is no --shell "fisch". Did you mean fish?'),
        (["--format", "yaml"], 'There is no --format "yaml". It must be one of shell, dotenv.'),
        (["--for", "openia"], 'There is no --for "openia". Did you mean openai?'),
    ],
)
def test_a_slip_is_answered_with_what_there_is(argv: list[str], said: str, environ: dict[str, str]) -> None:
    ran = invoke(["env", *argv], environ)
    assert (ran.status, ran.out) == (Exit.USAGE, "")
    assert said in ran.err


def test_a_lost_machine_key_is_told(served: Served, beside: dict[str, str]) -> None:
    Reach(beside).places.machine_key_file.unlink()
    ran = invoke(["env"], beside)
    assert (ran.status, ran.out) == (Exit.KEY, "")
    assert "membrain restart" in ran.err


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8001"),
        ("localhost", "http://127.0.0.1:8001"),
        ("0.0.0.0", "http://127.0.0.1:8001"),  # noqa: S104  # what may be set, not bound
        ("::1", "http://[::1]:8001"),
        ("192.0.2.7", "http://192.0.2.7:8001"),
    ],
)
def test_the_host_is_written_as_a_number(host: str, url: str) -> None:
    running = daemon.Running(1, host, 8001, "", "", "", {})
    assert env.loopback_url(running) == url


STARTED = {"bash": ["bash", "-c"], "zsh": ["zsh", "-fc"], "fish": ["fish", "--no-config", "-c"]}
INSTALLED = [name for name in STARTED if shutil.which(name)]
"""Not every machine has all of them; the one that checks submissions does."""


def given_back(shell: str, lines: str) -> str:
    environ = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": "/nowhere"}
    done = subprocess.run([*STARTED[shell], f'{lines}\nprintf %s "$V"'], env=environ, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_bash_gives_any_value_back(texts: list[str]) -> None:
    for text in texts:
        assert given_back("bash", env.SHELLS["bash"].put("V", text)) == text


@pytest.mark.parametrize("shell", INSTALLED)
@pytest.mark.parametrize(
    "text", ["a'b", "a b", '"', "$HOME", "`id`", "(id)", "\\", "\\'", "é", "!!", "=ls", "~", "a;b", "*"]
)
def test_each_shell_gives_awkward_values_back(shell: str, text: str) -> None:
    assert given_back(shell, env.SHELLS[shell].put("V", text)) == text


@given(TEXTS)
def test_a_dotenv_line_is_one_line_and_its_quotes_are_closed(text: str) -> None:
    """Read back by the rules that dotenv readers share: in double quotes, a backslash makes the next sign literal."""
    quoted = env.quoted_dotenv(text)
    assert "\n" not in quoted
    if quoted.startswith('"'):
        body = quoted[1:-1].replace("\\\\", "\0").replace('\\"', '"').replace("\\$", "$").replace("\0", "\\")
        assert body == text
    else:
        assert quoted == text


@given(TEXTS)
def test_powershell_quotes_are_doubled(text: str) -> None:
    quoted = env.quoted_powershell(text)
    for quote in "'\u2018\u2019\u201a\u201b":
        assert quoted[1:-1].count(quote) == 2 * text.count(quote)


# --- run ---------------------------------------------------------------------------------------------------


def tool(tmp_path: Path, body: str, name: str = "aider") -> Path:
    path = tmp_path / name
    path.write_text(f"#!{sys.executable}\n{textwrap.dedent(body)}")
    path.chmod(0o755)
    return path


ASK = """
    import http.client, json, os, sys
    at = os.environ["OPENAI_BASE_URL"].removeprefix("http://").removesuffix("/v1")
    connection = http.client.HTTPConnection(at)
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]})
    headers = {"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    connection.request("POST", "/v1/chat/completions", body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    print(answer.status, *sys.argv[1:])
"""


def test_a_tool_runs_with_a_key_of_its_own_that_ends_with_it(
    served: Served, beside: dict[str, str], tmp_path: Path
) -> None:
    ran = membrain("run", "--", str(tool(tmp_path, ASK)), "--model", "openai/auto", "--json", environ=beside)
    assert (ran.status, ran.out) == (0, "200 --model openai/auto --json\n")
    (record,) = served.audit(limit=1)
    assert record["caller"] == "aider"
    assert [key.name for key in Reach(beside).client_keys() if key.revoked is None] == ["this machine"]
    assert ran.err.startswith("aider · 1 exchange · ")
    assert "slowest" in ran.err


def test_options_behind_the_tool_are_the_tool_s(served: Served, beside: dict[str, str]) -> None:
    """Also without `--`."""
    ran = membrain("run", sys.executable, "-c", "import sys; print(sys.argv[1:])", "--json", "-h", environ=beside)
    assert ran.out == "['--json', '-h']\n"


@pytest.mark.parametrize(("line", "status"), [("exit 42", 42), ("kill -9 $$", 137), ("true", 0)])
def test_the_tool_s_exit_status_is_ours(line: str, status: int, served: Served, beside: dict[str, str]) -> None:
    assert invoke(["run", "--", "bash", "-c", line], beside).status == status


def test_quiet_leaves_out_the_receipt(served: Served, beside: dict[str, str]) -> None:
    assert invoke(["-q", "run", "--", "true"], beside).err == ""


def test_a_tool_that_asked_nothing_is_told_so(served: Served, beside: dict[str, str]) -> None:
    assert invoke(["run", "--", "true"], beside).err == "true · 0 exchanges\n"


def test_two_tools_of_one_name_do_not_share_a_key(served: Served, beside: dict[str, str], tmp_path: Path) -> None:
    """A person may have issued a key of that name."""
    Reach(beside).issue("aider", "web")
    ran = invoke(["run", "--", str(tool(tmp_path, ASK))], beside)
    assert (ran.status, ran.err.split(" · ")[1]) == (0, "1 exchange")
    assert served.audit(limit=1)[0]["caller"].startswith("aider-")
    assert [key.name for key in Reach(beside).client_keys() if key.revoked is None] == ["this machine", "aider"]


def test_a_tool_that_is_not_there_is_told(beside: dict[str, str]) -> None:
    ran = invoke(["run", "--", "no-such-tool"], beside)
    assert (ran.status, ran.err) == (env.NOT_FOUND, "✗ There is no command no-such-tool on the PATH.\n")


def test_a_tool_that_cannot_be_run_is_told(served: Served, beside: dict[str, str], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    ran = invoke(["run", "--", str(broken)], beside)
    assert ran.status == env.CANNOT_RUN
    assert "cannot be run" in ran.err


def test_run_starts_the_gateway_if_it_is_down(environ: dict[str, str]) -> None:
    ran = invoke(
        ["run", "--", "bash", "-c", f"test $OPENAI_BASE_URL = http://127.0.0.1:{environ['MEMBRAIN_PORT']}/v1"], environ
    )
    assert ran.status == 0
    assert ran.err.startswith("● membrain is up")
    assert daemon.is_up(environ)


WAIT = """
    import signal, sys
    signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.{0}}})
    print("ready", flush=True)
    print("told", int(signal.sigwait({{signal.{0}}})), flush=True)
    sys.exit(7)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_is_passed_on(name: str, served: Served, beside: dict[str, str], tmp_path: Path) -> None:
    path = tool(tmp_path, WAIT.format(name))
    with subprocess.Popen(command("run", "--", str(path)), env=beside, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(getattr(signal, name))
        assert program.stdout.readline() == f"told {getattr(signal, name):d}\n"
        assert program.wait(10) == 7
    assert [key.name for key in Reach(beside).client_keys() if key.revoked is None] == ["this machine"]


def test_ctrl_c_is_the_tool_s_to_answer(served: Served, beside: dict[str, str], tmp_path: Path) -> None:
    """An editor or REPL takes it for itself; we only wait."""
    path = tool(tmp_path, WAIT.format("SIGINT"))
    with Terminal(command("run", "--", str(path)), beside) as terminal:
        terminal.expect("ready")
        terminal.type("\x03")
        terminal.expect("told 2")
        terminal.expect("aider · 0 exchanges")
        assert terminal.finish() == 7


def test_a_gateway_that_is_gone_by_the_end_costs_nothing_but_the_receipt(
    served: Served, beside: dict[str, str]
) -> None:
    ran = membrain("run", "--", "bash", "-c", f"kill {served.pid}; sleep 1; exit 3", environ=beside)
    assert ran.status == 3
    assert "Traceback" not in ran.err


def test_a_gateway_that_does_not_start_is_told(environ: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(daemon, "command", lambda: [sys.executable, "-c", "import sys; sys.exit('no luck')"])
        ran = invoke(["run", "--", "true"], environ)
    assert ran.status == Exit.FAILED
    assert "no luck" in ran.err
