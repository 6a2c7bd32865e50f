"""`run`: a real tool with a key of its own before a real gateway, and what is told when it has ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from membrain.records import Allowance, ClientKey, Rights
from membrain_cli import daemon
from membrain_cli.attending import CANNOT_RUN
from membrain_cli.commands import run
from membrain_cli.console import CommandError, Exit
from membrain_cli.reach import Reach
from tests.cli.shell import command, environment, invoke, membrain
from tests.cli.terminal import Terminal
from tests.served import Served
from tests.sink import Sink


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, shared_sink: Sink) -> Iterator[Served]:
    """One gateway for all these tests; each leaves as many keys as it found."""
    with Served(tmp_path_factory.mktemp("run") / "served", shared_sink, MEMBRAIN_ROUTING_ATTEMPTS="1") as served:
        yield served


def tool(tmp_path: Path, body: str, name: str = "aider") -> Path:
    path = tmp_path / name
    path.write_text(f"#!{sys.executable}\n{textwrap.dedent(body)}")
    path.chmod(0o755)
    return path


ASK = """
    import http.client, json, os, sys
    at = os.environ["OPENAI_BASE_URL"].removeprefix("http://").removesuffix("/v1")
    connection = http.client.HTTPConnection(at)
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Mail bob@corp-mail.net"}]})
    headers = {"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    connection.request("POST", "/v1/chat/completions", body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    print(answer.status, *sys.argv[1:])
"""


def holding(environ: dict[str, str]) -> list[str]:
    """The names of the client keys that hold."""
    return [key.name for key in Reach(environ).client_keys() if key.revoked is None]


# --- the tool ------------------------------------------------------------------------------------------------


def test_a_tool_runs_with_a_key_of_its_own_that_ends_with_it(
    served: Served, beside: dict[str, str], tmp_path: Path
) -> None:
    ran = membrain("run", "--", str(tool(tmp_path, ASK)), "--model", "openai/auto", "--json", environ=beside)
    assert (ran.status, ran.out) == (0, "200 --model openai/auto --json\n")
    (record,) = served.audit(limit=1)
    assert record["caller"] == "aider"
    assert holding(beside) == ["this machine"]


def test_the_key_is_refused_as_soon_as_the_run_is_over(served: Served, beside: dict[str, str]) -> None:
    ran = invoke(["run", "--", "bash", "-c", f"printf %s $OPENAI_API_KEY > {beside['HOME']}/key"], beside)
    assert ran.status == 0
    key = Path(beside["HOME"], "key").read_text()
    assert key.startswith("ck_live_")
    assert served.get("/v1/models", authorization=f"Bearer {key}").status == 401


def test_it_is_counted_under_the_project_that_was_said(served: Served, beside: dict[str, str], tmp_path: Path) -> None:
    assert invoke(["run", "--project", "web", str(tool(tmp_path, ASK))], beside).status == 0
    assert served.audit(limit=1)[0]["project"] == "web"


def test_options_behind_the_tool_are_the_tool_s(served: Served, beside: dict[str, str]) -> None:
    """Also without `--`, and ours by name."""
    said = ["--json", "-h", "--budget", "0", "--private"]
    ran = membrain("run", sys.executable, "-c", "import sys; print(sys.argv[1:])", *said, environ=beside)
    assert (ran.status, ran.out) == (0, f"{said}\n")


def test_its_streams_are_its_own(served: Served, beside: dict[str, str]) -> None:
    ran = membrain("-q", "run", "--", "cat", environ=beside, stdin="from a pipe\n")
    assert (ran.out, ran.err) == ("from a pipe\n", "")
    with Terminal(command("run", "--", "bash", "-c", "test -t 0 && test -t 1 && test -t 2"), beside) as terminal:
        assert terminal.finish() == 0


@pytest.mark.parametrize(("line", "status"), [("exit 42", 42), ("kill -9 $$", 137), ("true", 0)])
def test_the_tool_s_exit_status_is_ours(line: str, status: int, served: Served, beside: dict[str, str]) -> None:
    assert invoke(["run", "--", "bash", "-c", line], beside).status == status


def test_two_tools_of_one_name_do_not_share_a_key(served: Served, beside: dict[str, str], tmp_path: Path) -> None:
    """A person may have issued a key of that name."""
    Reach(beside).issue("aider", "web")
    ran = invoke(["run", "--", str(tool(tmp_path, ASK))], beside)
    assert (ran.status, ran.err.split(" · ")[1]) == (0, "1 exchange")
    assert served.audit(limit=1)[0]["caller"].startswith("aider-")
    assert holding(beside) == ["this machine", "aider"]
    Reach(beside).revoke("aider")


def test_any_file_name_makes_a_name_for_a_key(served: Served, beside: dict[str, str], tmp_path: Path) -> None:
    long = tool(tmp_path, "pass", "n\x1b" + "a" * 100)
    assert invoke(["run", "--", str(long)], beside).err.startswith(f"n{'a' * 59} · 0 exchanges")


def test_a_tool_that_is_not_there_is_told(beside: dict[str, str]) -> None:
    ran = invoke(["run", "--", "no-such-tool"], beside)
    assert (ran.status, ran.err) == (
        run.NOT_FOUND,
        "✗ There is no command no-such-tool on the PATH.\n  How it goes     membrain run -- TOOL …\n",
    )


def test_a_tool_that_cannot_be_run_is_told_and_leaves_no_key(
    served: Served, beside: dict[str, str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    ran = invoke(["run", "--", str(broken)], beside)
    assert ran.status == CANNOT_RUN
    assert "cannot be run" in ran.err
    assert holding(beside) == ["this machine"]


def test_run_starts_the_gateway_if_it_is_down(environ: dict[str, str]) -> None:
    ran = invoke(
        ["run", "--", "bash", "-c", f"test $OPENAI_BASE_URL = http://127.0.0.1:{environ['MEMBRAIN_PORT']}/v1"], environ
    )
    assert ran.status == 0
    assert ran.err.startswith("● membrain is up")
    assert daemon.is_up(environ)


def test_a_gateway_that_does_not_start_is_told(environ: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(daemon, "command", lambda: [sys.executable, "-c", "import sys; sys.exit('no luck')"])
        ran = invoke(["run", "--", "true"], environ)
    assert ran.status == Exit.FAILED
    assert "no luck" in ran.err


# --- told to stop --------------------------------------------------------------------------------------------

WAIT = """
    import signal, sys
    signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.{0}}})
    print("ready", flush=True)
    print("told", int(signal.sigwait({{signal.{0}}})), flush=True)
    sys.exit(7)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_told_to_stop_it_passes_that_on_and_still_revokes_the_key(
    name: str, served: Served, beside: dict[str, str], tmp_path: Path
) -> None:
    path = tool(tmp_path, WAIT.format(name))
    with subprocess.Popen(
        command("run", "--", str(path)), env=beside, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        assert "aider" in holding(beside)
        program.send_signal(getattr(signal, name))
        assert program.stdout.readline() == f"told {getattr(signal, name):d}\n"
        assert program.wait(10) == 7
    assert holding(beside) == ["this machine"]


def test_ctrl_c_is_the_tool_s_to_answer(served: Served, beside: dict[str, str], tmp_path: Path) -> None:
    """An editor or REPL takes it for itself; we only wait."""
    path = tool(tmp_path, WAIT.format("SIGINT"))
    with Terminal(command("run", "--", str(path)), beside) as terminal:
        terminal.expect("ready")
        terminal.type("\x03")
        terminal.expect("told 2")
        terminal.expect("aider · 0 exchanges")
        assert terminal.finish() == 7


def test_a_tool_that_a_signal_ends_leaves_no_key(served: Served, beside: dict[str, str]) -> None:
    with Terminal(command("run", "--", "bash", "-c", "echo ready; exec sleep 60"), beside) as terminal:
        terminal.expect("ready")
        terminal.type("\x03")
        terminal.expect("bash · 0 exchanges")
        assert terminal.finish() == 130
    assert holding(beside) == ["this machine"]


def test_when_nobody_reads_the_receipt_any_more_the_key_is_revoked_all_the_same(
    served: Served, beside: dict[str, str]
) -> None:
    """As when the terminal's window is closed: all that ran in it is told, and nothing can be said."""
    line = command("run", "--", "bash", "-c", "echo ready; sleep 60")
    with subprocess.Popen(
        line, env=beside, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.readline() == "ready\n"
        program.stderr.close()
        os.killpg(program.pid, signal.SIGHUP)
        assert program.wait(10) == 129
    assert holding(beside) == ["this machine"]


def test_a_gateway_that_is_gone_by_the_end_does_not_keep_the_key(sink: Sink, tmp_path: Path) -> None:
    with Served(tmp_path / "going", sink) as served:
        environ = environment(served.home)
        body = f"{ASK}\n    os.kill({served.pid}, 15); sys.exit(3)\n"
        ran = membrain("run", "--", str(tool(tmp_path, body)), environ=environ)
    assert ran.status == 3
    assert ran.err.startswith("aider · 1 exchange · ")
    assert holding(environ) == ["this machine"]


def test_a_gateway_that_ends_while_it_is_asked_does_not_keep_the_key(
    served: Served, beside: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    revoke = Reach.revoke

    def gone_at_first(reach: Reach, which: str) -> ClientKey:
        asked.append(which)
        if len(asked) == 1:
            raise CommandError("The gateway is not running.", [], Exit.DOWN)
        return revoke(reach, which)

    monkeypatch.setattr(Reach, "revoke", gone_at_first)
    ran = invoke(["-q", "run", "--", "bash", "-c", "exit 4"], beside)
    assert (ran.status, ran.err, len(asked)) == (4, "", 2)
    assert "bash" not in holding(beside)


def test_a_key_that_cannot_be_revoked_is_told(
    served: Served, beside: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_reach: Reach, _which: str) -> ClientKey:
        raise CommandError("The disk is full.", [], Exit.FAILED)

    with monkeypatch.context() as patch:
        patch.setattr(Reach, "revoke", refuse)
        ran = invoke(["-q", "run", "--", "bash", "-c", "exit 4"], beside)
    Reach(beside).revoke("bash")
    assert ran.status == 4
    assert "! The key bash still holds" in ran.err
    assert "The disk is full." in ran.err
    assert "membrain keys revoke " in ran.err


# --- its limits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", ["0", "0.00", "-1", "", "$", "two", "1e3", "2,000", "0.0000001", "1.", "nan", "²"])
def test_a_budget_that_is_none_is_told_before_anything_is_started(amount: str, environ: dict[str, str]) -> None:
    ran = invoke(["run", "--budget", amount, "--", "true"], environ)
    assert (ran.status, ran.out) == (Exit.USAGE, "")
    assert "--budget must be dollars above 0" in ran.err
    assert not daemon.is_up(environ)


def test_a_tier_that_is_none_is_told_before_anything_is_started(environ: dict[str, str]) -> None:
    ran = invoke(["run", "--tier", "bset", "--", "true"], environ)
    assert (ran.status, ran.out) == (Exit.USAGE, "")
    assert "No tier bset." in ran.err
    assert not daemon.is_up(environ)


@pytest.mark.parametrize(
    ("argv", "rights"),
    [
        ([], Rights()),
        (["--budget", "2"], Rights(budget=Allowance(total=2_000_000))),
        (["--budget=$0.000001"], Rights(budget=Allowance(total=1))),
        (["--tier", "quality", "--private"], Rights(tier="quality", private=True)),
    ],
)
def test_the_limits_are_rights_of_the_key(
    argv: list[str], rights: Rights, served: Served, beside: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Rights] = []

    def issue(_reach: Reach, _name: str, _project: str, rights: Rights) -> tuple[str, ClientKey]:
        asked.append(rights)
        return "ck_live_x", ClientKey("id", "true", "", "", "default", "", rights=rights)

    monkeypatch.setattr(Reach, "issue", issue)
    assert invoke(["-q", "run", *argv, "true"], beside).status == 0
    (given,) = asked
    assert (given.budget, given.tier, given.private) == (rights.budget, rights.tier, rights.private)
    assert given.expires is not None
    assert given.expires > "2026"


def test_a_gateway_that_gives_a_key_without_the_limits_gets_no_tool(
    served: Served, beside: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is older than we are, and still runs."""
    issue = Reach.issue
    monkeypatch.setattr(Reach, "issue", lambda reach, name, project, _rights: issue(reach, name, project))
    ran = invoke(["run", "--budget", "2", "--", "touch", f"{beside['HOME']}/ran"], beside)
    assert (ran.status, ran.out) == (Exit.FAILED, "")
    assert "membrain restart" in ran.err
    assert not Path(beside["HOME"], "ran").exists()
    assert holding(beside) == ["this machine"]


def test_a_gateway_that_looks_at_no_key_gets_no_tool(sink: Sink, tmp_path: Path) -> None:
    with Served(tmp_path / "open", sink, MEMBRAIN_AUTH_MODE="off") as served:
        environ = environment(served.home)
        for argv in (["--budget", "2"], ["--private"], ["--tier", "fast"]):
            ran = invoke(["run", *argv, "--", "touch", str(tmp_path / "ran")], environ)
            assert ran.status == Exit.FAILED
            assert "auth.mode is off" in ran.err
        assert not (tmp_path / "ran").exists()
        assert invoke(["run", "--", "true"], environ).status == 0


@pytest.mark.parametrize("limits", [Rights(budget=Allowance(total=1)), Rights(private=True)])
def test_a_key_that_leads_past_the_limits_is_kept_from_the_tool(
    limits: Rights, served: Served, beside: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    from membrain_cli.console import plain

    environ = {**beside, "ANTHROPIC_API_KEY": "sk-ant-own", "OPENAI_API_KEY": "sk-own", "EDITOR": "vi"}
    given = run.surroundings(plain(environ), Reach(environ), "ck_live_x", limits)
    assert (given["OPENAI_API_KEY"], given["EDITOR"], "ANTHROPIC_API_KEY" in given) == ("ck_live_x", "vi", False)
    assert "stays within its limits: ANTHROPIC_API_KEY" in capsys.readouterr().err
    free = run.surroundings(plain(environ), Reach(environ), "ck_live_x", Rights(tier="fast"))
    assert free["ANTHROPIC_API_KEY"] == "sk-ant-own"
    assert capsys.readouterr().err == ""


# --- the receipt ---------------------------------------------------------------------------------------------


def test_the_receipt_tells_what_it_came_to(served: Served, beside: dict[str, str], tmp_path: Path) -> None:
    ran = membrain("run", "--", str(tool(tmp_path, ASK)), environ=beside)
    first, asked, _, masked, *others = ran.err.rstrip("\n").split(" · ")
    assert (first, asked, masked) == ("aider", "1 exchange", "1 masked")
    assert [each for each in others if each.startswith("slowest ")]


def test_as_json_it_stands_on_stderr_as_stdout_is_the_tool_s(
    served: Served, beside: dict[str, str], tmp_path: Path
) -> None:
    ran = membrain("--json", "run", "--", str(tool(tmp_path, ASK)), environ=beside)
    assert ran.out == "200\n"
    told = json.loads(ran.err)
    assert (told["name"], told["exchanges"], told["masked"], told["status"]) == ("aider", 1, 1, 0)
    assert told["budget_micros"] is None
    assert told["cost_micros"] > 0


def test_quiet_leaves_it_out(served: Served, beside: dict[str, str]) -> None:
    assert invoke(["-q", "run", "--", "true"], beside).err == ""


def test_a_tool_that_asked_nothing_is_told_so(served: Served, beside: dict[str, str]) -> None:
    assert invoke(["run", "--", "true"], beside).err.startswith("true · 0 exchanges")


def test_an_exchange_that_the_tool_left_open_is_still_counted(
    served: Served, beside: dict[str, str], tmp_path: Path
) -> None:
    """It hangs up in mid-stream and is gone; what had come by then is on the receipt."""
    body = ASK.replace('"model": "gpt-4o"', '"stream": True, "model": "gpt-4o-slow-200"').replace(
        "answer.read()", "answer.read1(); os._exit(0)"
    )
    ran = membrain("run", "--", str(tool(tmp_path, body)), environ=beside)
    assert ran.status == 0
    assert ran.err.startswith("aider · 1 exchange · $0"), ran.err
    assert served.audit(limit=1)[0]["outcome"] == "aborted"


FIGURES: dict[str, Any] = {
    "name": "aider", "exchanges": 1_214, "cost_micros": 1_873_000, "budget_micros": 2_000_000, "unpriced": 0,
    "cached": 12, "saved_micros": 91_000, "masked": 3, "models": ["gpt-4o", "o1", "o3", "llama3", "qwen2"],
    "slowest_ms": 3_120.0, "stopped": {"refused: over the budget": 3, "cut short: over the budget": 1},
    "head": {"seq": 8_112, "seal": "91d0" + "0" * 56 + "77ac"},
}  # fmt: skip


SPENT = "$1.87 of $2.00"
CACHED = "12 from the cache, $0.09 saved"
OVER = "3 refused: over the budget, 1 cut short: over the budget"
HEAD = "record 8,112 91d0…77ac"


@pytest.mark.parametrize(
    ("figures", "parts"),
    [
        ({}, [SPENT, CACHED, "3 masked", "gpt-4o, o1, o3 and 2 more", "slowest 3.1 s", OVER, HEAD]),
        ({"budget_micros": None, "unpriced": 2, "stopped": {}, "models": ["o1"], "masked": 0, "cached": 0},
         ["$1.87, 2 unpriced", "o1", "slowest 3.1 s", HEAD]),
        ({"cost_micros": 0, "saved_micros": 0, "models": [], "masked": 0, "stopped": {"refused: price unknown": 1_000}},
         ["$0 of $2.00", "12 from the cache", "slowest 3.1 s", "1,000+ refused: price unknown", HEAD]),
    ],
)  # fmt: skip
def test_each_part_of_the_receipt_stands_where_it_has_something_to_say(
    figures: dict[str, Any], parts: list[str]
) -> None:
    told = {**FIGURES, **figures}
    assert [part for tell in run.PARTS if (part := tell(told))] == ["aider", "1,214 exchanges", *parts]


def test_what_the_ledger_booked_is_told_where_it_knows_more() -> None:
    row = ClientKey("1f3a", "aider", "", "", "default", "")
    budgets = [{"owner": "machine", "spent_micros": 9_000}, {"owner": "key:1f3a", "spent_micros": 700}]
    assert run.booked({"cost_micros": 500, "budgets": budgets}, row) == 700
    assert run.booked({"cost_micros": 500}, row) == 500
