"""`env`: what it prints is evaluated by real shells."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain_cli.commands import env
from membrain_cli.console import Exit
from membrain_cli.reach import Reach
from tests.cli.shell import command, invoke, membrain
from tests.cli.terminal import Terminal
from tests.served import Served

NAMES = ["OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN"]
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
        f"export ANTHROPIC_BASE_URL=http://127.0.0.1:{served.port}",
        f"export ANTHROPIC_AUTH_TOKEN={key}",
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


def test_one_family_can_be_asked_for(served: Served, beside: dict[str, str]) -> None:
    ran = invoke(["env", "--for", "anthropic", "--json"], beside)
    assert list(json.loads(ran.out)) == ["ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN"]
    assert "ANTHROPIC" not in invoke(["env", "--for", "openai"], beside).out


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
