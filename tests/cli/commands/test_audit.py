"""`audit`: the list, one exchange, what happens now; from the gateway or from its file."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
from datetime import datetime
from pathlib import Path

import pytest

from membrain_cli import console
from membrain_cli.commands import audit
from membrain_cli.console import Console, Exit
from tests.cli.shell import Screen, command, environment, invoke, membrain
from tests.cli.terminal import Terminal
from tests.served import Served
from tests.sink import Sink


def test_a_terminal_gets_a_table_and_what_one_can_do_next(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    ran = invoke(["audit"], beside, tty=True)
    head, row = ran.out.splitlines()
    assert head.split() == ["when", "id", "model", "by", "took", "cost", "pii", "outcome"]
    assert row.split()[3:5] == ["gpt-4o", "openai"]
    assert ran.err == "  1 shown, 1 today.  Follow: -f   One: membrain audit show ID   Filter: --help\n"


def test_a_pipe_gets_whole_ids_and_times(served: Served, beside: dict[str, str]) -> None:
    answer = served.chat("one")
    (line,) = membrain("audit", environ=beside).out.splitlines()
    time, id, model, provider, *_, outcome = line.split("\t")
    assert datetime.fromisoformat(time).tzinfo is not None
    assert (id, model, provider, outcome) == (answer.headers["x-request-id"], "gpt-4o", "openai", "answered")


def test_json_gets_the_records(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    (line,) = invoke(["audit", "--json"], beside).out.splitlines()
    assert json.loads(line) == served.audit(limit=1)[0]


def test_it_works_with_the_gateway_down(served: Served, beside: dict[str, str]) -> None:
    answer = served.chat("one")
    served.stop()
    assert answer.headers["x-request-id"] in invoke(["audit"], beside).out
    assert invoke(["audit", "show", answer.headers["x-request-id"][:6]], beside).status == 0


def test_nothing_yet_is_told_with_what_to_do(environ: dict[str, str]) -> None:
    ran = invoke(["audit"], environ, tty=True)
    assert (ran.status, ran.err) == (0, "Nothing was asked yet.  Ask something:  membrain chat\n")
    assert invoke(["audit", "--json"], environ).out == ""


def test_filters_combine(served: Served, beside: dict[str, str]) -> None:
    served.chat("one", model="gpt-4o")
    served.chat("two", model="gpt-4o-mini")
    served.chat("three", model="claude-haiku-4-5")

    def models(*argv: str) -> list[str]:
        return [line.split("\t")[2] for line in invoke(["audit", *argv], beside).out.splitlines()]

    assert models("--provider", "openai") == ["gpt-4o-mini", "gpt-4o"]
    assert models("--model", "gpt-4o*", "--provider", "openai", "-n", "1") == ["gpt-4o-mini"]
    assert models("--outcome", "refused") == []
    assert models("--since", "2h", "--caller", "local") == ["claude-haiku-4-5", "gpt-4o-mini", "gpt-4o"]
    assert models("--until", "yesterday") == []
    assert models("--slower", "1h", "--min-cost", "5") == []
    assert models("--cached") == models("--pii", "any") == models("--project", "web") == []


def test_matches_are_counted(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    assert invoke(["audit", "--provider", "openai"], beside, tty=True).err == "  1 matches.\n"


def test_list_is_understood_too(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    assert invoke(["audit", "list", "-n", "1"], beside).out == invoke(["audit", "-n", "1"], beside).out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--since", "soon"], '"soon" is no time'),
        (["--slower", "very"], '"very" is no time'),
        (["--outcome", "fine"], '"fine" is no outcome'),
        (["-n", "0"], "0"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(argv: list[str], said: str, environ: dict[str, str]) -> None:
    ran = invoke(["audit", *argv], environ)
    assert (ran.status, ran.out) == (Exit.USAGE, "")
    assert said in ran.err


def test_exchanges_are_followed(served: Served, beside: dict[str, str]) -> None:
    served.chat("before", model="gpt-4o")
    with Terminal(command("audit", "-f"), beside, columns=120) as terminal:
        terminal.expect("gpt-4o")
        asked = threading.Thread(target=served.chat, args=("after", "gpt-4o-mini"))
        asked.start()
        terminal.expect("gpt-4o-mini")
        asked.join()
        terminal.type("\x03")
        assert terminal.finish() == Exit.INTERRUPTED
        rows = [line for line in terminal.screen.text.splitlines() if "gpt" in line]
    assert rows[0].index("openai") == rows[1].index("openai")


def test_following_filters(served: Served, beside: dict[str, str]) -> None:
    program = subprocess.Popen(
        command("audit", "-f", "--model", "*mini"), env=beside, stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    served.chat("left out", model="gpt-4o")
    while not served.audit(model="gpt-4o", outcome="answered"):
        pass
    for _ in range(50):  # it listens at some time soon, and says nothing before
        served.chat("shown", model="gpt-4o-mini")
    assert program.stdout.readline().split("\t")[2] == "gpt-4o-mini"
    program.kill()
    program.communicate()


def test_following_ends_with_the_gateway(served: Served, beside: dict[str, str]) -> None:
    with Terminal(command("audit", "-f"), beside) as terminal:
        terminal.expect("outcome")
        served.kill()
        terminal.expect("The gateway is not running.")
        assert terminal.finish() == Exit.DOWN


def test_following_needs_a_gateway(environ: dict[str, str]) -> None:
    assert invoke(["audit", "-f"], environ).status == Exit.DOWN


MAIL = "ada.lovelace@corp-mail.net"


def test_show_tells_of_a_real_exchange_what_was_found(served: Served, beside: dict[str, str]) -> None:
    id = served.chat(f"{MAIL} and {MAIL}").headers["x-request-id"]
    shown = invoke(["audit", "show", id], beside).out
    assert "  pii        2 EMAIL (masked)\n             in messages[0].content\n" in shown
    assert MAIL not in shown


def test_wire_is_what_the_provider_got(served: Served, beside: dict[str, str], sink: Sink) -> None:
    id = served.chat(f"I am {MAIL}", seed=7).headers["x-request-id"]
    piped = membrain("audit", "show", id[:8], "--wire", environ=beside)
    assert (piped.status, piped.err) == (0, "")
    assert piped.out.encode() == sink.requests[-1].body
    assert invoke(["audit", "show", id, "--sent"], beside).out == piped.out
    assert MAIL not in piped.out


def test_wire_as_json_tells_its_seal_and_findings_too(served: Served, beside: dict[str, str], sink: Sink) -> None:
    id = served.chat(f"I am {MAIL}").headers["x-request-id"]
    left = json.loads(invoke(["audit", "show", id, "--wire", "--json"], beside).out)
    assert left["sha256"] == hashlib.sha256(sink.requests[-1].body).hexdigest()
    assert [finding["label"] for finding in left["findings"]] == ["EMAIL"]


def test_wire_is_laid_out_for_a_person(served: Served, beside: dict[str, str], sink: Sink) -> None:
    id = served.chat(f"I am {MAIL}").headers["x-request-id"]
    ran = invoke(["audit", "show", id, "--wire"], beside, tty=True)
    got = sink.requests[-1]
    assert ran.out == json.dumps(got.json(), indent=2) + "\n"
    assert ran.err.splitlines() == [
        "What left this machine:",
        f"{len(got.body)} bytes   sha256 {hashlib.sha256(got.body).hexdigest()}",
    ]


def test_wire_says_that_a_model_on_this_machine_answered(served: Served, beside: dict[str, str]) -> None:
    id = served.chat("Hello", model="ollama/llama3:latest").headers["x-request-id"]
    ran = invoke(["audit", "show", id, "--wire"], beside, tty=True)
    assert ran.err.startswith(
        "Nothing left: ollama/llama3:latest answered on this machine. "
        "It was given this, with the values themselves for placeholders:\n"
    )
    assert '"Hello"' in ran.out
    served.stop()
    later = invoke(["audit", "show", id, "--wire"], beside)
    assert (later.status, later.out, later.err.count("audit.content")) == (Exit.DOWN, "", 0)


def test_wire_is_kept_on_the_disk_where_it_was_asked_for(tmp_path: Path, sink: Sink) -> None:
    with Served(tmp_path / "kept", sink, MEMBRAIN_AUDIT_CONTENT="masked") as served:
        id = served.chat(f"I am {MAIL}").headers["x-request-id"]
        stayed = served.chat(f"I am {MAIL}", model="ollama/llama3:latest").headers["x-request-id"]
    environ = environment(served.home, MEMBRAIN_PORT=str(served.port), MEMBRAIN_AUDIT_CONTENT="masked")
    left = next(each.body for each in sink.requests if each.path == "/v1/chat/completions")
    assert membrain("audit", "show", id, "--wire", environ=environ).out.encode() == left
    assert MAIL.encode() not in left
    assert invoke(["audit", "show", stayed, "--wire"], environ).out == ""


def test_wire_says_that_what_was_refused_did_not_leave(served: Served, beside: dict[str, str]) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    id = served.post("/v1/chat/completions", body, **{"x-membrain-private": "true"}).headers["x-request-id"]
    ran = invoke(["audit", "show", id, "--wire"], beside)
    said = f"✗ Nothing left: it was refused (private refused).\n  See it          membrain audit show {id[:6]}\n"
    assert (ran.status, ran.out, ran.err) == (1, "", said)


def test_wire_says_why_it_is_not_kept(served: Served, beside: dict[str, str]) -> None:
    id = served.chat("Hello").headers["x-request-id"]
    served.stop()
    ran = invoke(["audit", "show", id, "--wire"], beside)
    assert (ran.status, ran.out) == (Exit.DOWN, "")
    assert ran.err == (
        "✗ What left is not kept on the disk, and the gateway, which remembers the last of it, is not running.\n"
        "  Keep it from now on    membrain config set audit.content masked\n"
    )
    served.start()
    ran = invoke(["audit", "show", id, "--wire"], beside)
    assert (ran.status, ran.out) == (Exit.FAILED, "")
    assert "in memory only, for the last 100 exchanges" in ran.err


def test_a_beginning_that_several_have_is_refused(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    served.chat("two")
    ran = invoke(["audit", "show", ""], beside)
    assert ran.status != 0
    assert "Traceback" not in ran.err


def test_an_exchange_that_is_not_there_is_told(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    ran = invoke(["audit", "show", "zzzz"], beside)
    assert (ran.status, ran.out, ran.err) == (
        Exit.FAILED,
        "",
        "✗ There is no such exchange.\n  See them        membrain audit\n",
    )


def test_show_as_json_is_the_record(served: Served, beside: dict[str, str]) -> None:
    id = served.chat("one").headers["x-request-id"]
    assert json.loads(invoke(["audit", "show", id, "--json"], beside).out) == served.audit(limit=1)[0]


def test_ids_are_completed_with_their_models(served: Served, beside: dict[str, str]) -> None:
    id = served.chat("one").headers["x-request-id"]
    console.use(Console(Screen(), Screen(), Screen(), beside))
    assert audit.exchanges(id[:5]) == [(id, "gpt-4o")]
    assert audit.exchanges("zzz") == []


def test_completion_is_silent_where_nothing_can_be_asked(environ: dict[str, str]) -> None:
    console.use(Console(Screen(), Screen(), Screen(), environ))
    assert audit.exchanges("7") == []


def test_a_user_s_exchanges_are_listed(served: Served, beside: dict[str, str]) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    for user in ("ada", "bob"):
        served.post("/v1/chat/completions", body, **{"x-membrain-user-id": user})
    (line,) = invoke(["audit", "--user", "ada", "--json"], beside).out.splitlines()
    assert json.loads(line)["user"] == "ada"


def test_a_real_exchange_is_shown_with_its_place_in_the_chain(served: Served, beside: dict[str, str]) -> None:
    id = served.chat("one").headers["x-request-id"]
    assert (
        invoke(["audit", "show", id], beside, tty=True).out.splitlines()[-1].startswith("  chain      record 2   seal ")
    )


def test_help_names_every_part_of_the_family(environ: dict[str, str]) -> None:
    told = membrain("audit", "--help", environ=environ).out
    for name in ("show", "verify", "head", "export", "erase", "prune", "--user", "--slower", "--follow"):
        assert f" {name} " in told
    assert "--sent" not in membrain("audit", "show", "--help", environ=environ).out
