"""`audit`: the list, one exchange, what happens now; from the gateway or from its file."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from membrain.records import Attempt, AuditRecord, Finding, Step
from membrain_cli import console
from membrain_cli.commands import audit
from membrain_cli.console import CommandError, Console, Exit, visible
from tests.cli.shell import Screen, command, invoke, membrain
from tests.cli.terminal import Terminal
from tests.served import Served
from tests.sink import Sink

NOW = datetime(2026, 11, 21, 14, 2, 15, tzinfo=UTC)


@pytest.fixture
def shell() -> Console:
    made = Console(Screen(), Screen(), Screen(), {"NO_COLOR": "1"})
    made.clock = lambda: NOW
    console.use(made)
    return made


def record(**more: Any) -> AuditRecord:
    """An exchange that was answered, as the issue's transcript has it."""
    facts = {
        "id": "7f3a9c0d1e2f",
        "time": "2026-11-21T14:02:11+00:00",
        "dialect": "chat",
        "path": "/v1/chat/completions",
        "model": "claude-haiku-4-5",
        "answered_model": "claude-haiku-4-5",
        "provider": "anthropic",
        "caller": "aider",
        "project": "web",
        "outcome": "answered",
        "status": 200,
        "ms": 412.0,
        "first_ms": 180.0,
        "prompt_tokens": 310,
        "completion_tokens": 160,
        "cost_micros": 900,
        "pii_findings_count": 2,
        "pii_labels": ("email",),
        "attempts": (Attempt("anthropic", "claude-haiku-4-5", 408.0),),
        "steps": (Step("audit", 0.1), Step("auth", 0.2), Step("dispatch", 180.0)),
    }
    return AuditRecord(**{**facts, **more})


def cells(**more: Any) -> list[str]:
    """What a person reads of one exchange, cell by cell."""
    row = record(**more).to_dict()
    return [visible(column.tell(row)) for column in audit.COLUMNS]


# --- the list ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("shell")
def test_a_person_reads_when_what_who_how_long_how_dear_and_how_it_ended() -> None:
    assert cells() == ["4s ago", "7f3a9c", "claude-haiku-4-5", "anthropic", "412 ms", "$0.0009", "2 email", "answered"]


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize(
    ("facts", "column", "told"),
    [
        ({"cached": True, "provider": None}, 3, "cache"),
        ({"attempts": (Attempt("openai", "m", 9, "x"), Attempt("anthropic", "m", 9))}, 3, "openai ↷ anthropic"),
        ({"attempts": (Attempt("openai", "m", 9, "x"),), "provider": "openai", "outcome": "failed"}, 3, "openai"),
        ({"attempts": (), "provider": None, "outcome": "refused"}, 3, "·"),
        ({"cost_micros": 0}, 5, "·"),
        ({"cost_micros": None}, 5, "?"),
        ({"cost_micros": None, "outcome": "refused"}, 5, "·"),
        ({"pii_findings_count": 0, "pii_labels": ()}, 6, "·"),
        ({"pii_findings_count": 3, "pii_labels": ("email", "phone")}, 6, "3 email, phone"),
        ({"outcome": "refused", "error": "invalid_api_key"}, 7, "invalid api key"),
        ({"outcome": "failed", "error": None}, 7, "failed"),
        ({"outcome": "aborted", "error": "client_gone"}, 7, "aborted"),
        ({"answered_model": None, "model": "auto"}, 2, "auto"),
        ({"ms": None}, 4, ""),
    ],
)  # fmt: skip
def test_each_cell_tells_the_truth(facts: dict[str, Any], column: int, told: str) -> None:
    assert cells(**facts)[column] == told


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


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("90 min", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-11-20T10:00:00Z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
    ],
)
def test_moments_are_said_as_one_says_them(text: str, moment: datetime) -> None:
    assert datetime.fromisoformat(audit.when(text)) == moment


@pytest.mark.usefixtures("shell")
def test_days_begin_at_this_machine_s_midnight() -> None:
    today, yesterday = (datetime.fromisoformat(audit.when(word)).astimezone() for word in ("today", "yesterday"))
    assert (today.hour, today.minute, today - yesterday) == (0, 0, timedelta(days=1))
    assert datetime.fromisoformat(audit.when("2026-11-20")).astimezone().hour == 0


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize(("text", "ms"), [("2s", "2000"), ("500ms", "500"), ("1.5", "1500"), ("1m", "60000"), ("", "")])
def test_spans_are_said_as_one_says_them(text: str, ms: str) -> None:
    assert audit.milliseconds(text) == ms


# --- following ---------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ({"limit": "1", "since": "x"}, True),
        ({"model": "CLAUDE-*"}, True),
        ({"model": "gpt?4o"}, False),
        ({"provider": "anthropic", "caller": "aider"}, True),
        ({"provider": "anthropic", "caller": "cline"}, False),
        ({"project": "web"}, True),
        ({"outcome": "refused"}, False),
        ({"pii": "email"}, True),
        ({"pii": "any"}, True),
        ({"pii": "ssn"}, False),
        ({"cached": "true"}, False),
        ({"min_cost_micros": "900"}, True),
        ({"min_cost_micros": "901"}, False),
        ({"slower_ms": "411"}, True),
        ({"slower_ms": "412"}, False),
    ],
)
def test_what_is_followed_passes_the_same_filters(query: dict[str, str], passes: bool) -> None:
    assert audit.wanted(record().to_dict(), query) is passes


# --- one exchange ------------------------------------------------------------------------------------------


def told(shell: Console, made: AuditRecord) -> list[str]:
    return [visible(line) for line in audit.page(shell, made)]


def test_one_exchange_is_told_on_a_page(shell: Console) -> None:
    here = datetime(2026, 11, 21, 14, 2, 11, tzinfo=UTC).astimezone()
    assert told(shell, record()) == [
        f"7f3a9c   {here:%H:%M:%S}   aider, project web                        answered, 412 ms",
        "",
        "  asked      claude-haiku-4-5, by name",
        "  answered   claude-haiku-4-5 by anthropic",
        "  tokens     310 in, 160 out            cost  $0.0009",
        "  pii        2 email",
        "  kept       no text",
        "",
        "  audit       ▏                                            0.1 ms",
        "  auth        ▏                                            0.2 ms",
        "  dispatch    █████████████████▌░░░░░░░░░░░░░░░░░░░░░░   180.0 ms   first token 180 ms",
        "              0                                  412 ms",
    ]


def test_a_failure_tells_who_was_tried(shell: Console) -> None:
    made = record(
        outcome="failed", error="all_providers_failed", status=502, model="auto", tier="best", private=True,
        attempts=(Attempt("openai", "gpt-4o", 120.0, "provider_failed"),), prompt_tokens=None, completion_tokens=None,
        steps=(), pii_findings_count=0, ms=None,
    )  # fmt: skip
    assert [line.strip() for line in told(shell, made)][2:] == [
        "asked      auto, tier best, private",
        "tried      gpt-4o at openai: provider failed, 120 ms",
        "ended      all providers failed (502)",
        "kept       no text",
    ]


def test_counts_of_ours_are_called_so(shell: Console) -> None:
    assert any("310 in, 160 out (our count)" in line for line in told(shell, record(estimated=True)))


def test_the_cache_answers_in_its_own_name(shell: Console) -> None:
    assert any("by the cache" in line for line in told(shell, record(cached=True)))


# --- what was found, and what left ---------------------------------------------------------------------------


def pii_lines(shell: Console, *found: tuple[str, str, str], **more: Any) -> list[str]:
    """The lines about private values, for findings of these labels, places and actions."""
    findings = tuple(Finding(*each) for each in found)
    labels = tuple(sorted({each.label for each in findings if each.place != "answer"}))
    made = record(findings=findings, pii_labels=labels, **more)
    lines = told(shell, made)
    end = next(place for place, line in enumerate(lines) if line.startswith("  kept "))
    first = next(place for place, line in enumerate(lines) if line.startswith("  tokens ")) + 1
    assert [line[:13].strip() for line in lines[first:end]] == ["pii", *[""] * (end - first - 1)]
    return [line[13:] for line in lines[first:end]]


ONE, TWO = "messages[0].content", "messages[2].content"


@pytest.mark.parametrize(
    ("found", "count", "lines"),
    [
        ([("EMAIL", ONE, "redact")], 3, ["3 EMAIL (masked)", f"in {ONE}"]),
        (
            [("EMAIL", ONE, "redact"), ("EMAIL", TWO, "redact"), ("PHONE", ONE, "redact")],
            3,
            ["2 EMAIL, 1 PHONE (masked)", f"in {ONE}, {TWO}"],
        ),
        (  # the record does not tell how many of which
            [("EMAIL", ONE, "redact"), ("PHONE", ONE, "redact")],
            5,
            ["5 EMAIL, PHONE (masked)", f"in {ONE}"],
        ),
        (
            [("EMAIL", ONE, "redact"), ("PHONE", ONE, "log")],
            2,
            ["1 EMAIL (masked)", "1 PHONE (let through, and noted)", f"in {ONE}"],
        ),
        (
            [("EMAIL", ONE, "redact"), ("PHONE", ONE, "alert")],
            9,
            ["EMAIL (masked)", "PHONE (let through, and told)", f"in {ONE}"],
        ),
        ([("SSN", ONE, "block")], 1, ["1 SSN (refused)", f"in {ONE}"]),
        ([("SSN", ONE, "a new word")], 1, ["1 SSN (a new word)", f"in {ONE}"]),
        (
            [("EMAIL", f"tools[{number}].description", "redact") for number in range(8)],
            8,
            ["8 EMAIL (masked)", f"in {', '.join(f'tools[{number}].description' for number in range(6))} and 2 more"],
        ),
        ([("SECRET", "answer", "withheld")], 0, ["SECRET kept out of a tool's URL"]),
    ],
)
def test_what_was_found_is_told_with_what_became_of_it_and_where(
    shell: Console, found: list[tuple[str, str, str]], count: int, lines: list[str]
) -> None:
    assert pii_lines(shell, *found, pii_findings_count=count) == lines


def test_what_first_appeared_in_the_answer_is_told(shell: Console) -> None:
    seen = pii_lines(shell, ("PHONE", ONE, "redact"), pii_findings_count=1, answer_labels=("EMAIL", "IBAN"))
    assert seen == ["1 PHONE (masked)", f"in {ONE}", "first seen in the answer: EMAIL, IBAN"]
    assert pii_lines(shell, pii_findings_count=0, answer_labels=("EMAIL",)) == ["first seen in the answer: EMAIL"]
    assert pii_lines(shell, pii_findings_count=0, answer_labels=("UNSCANNED",)) == ["the answer could not be looked at"]


MAIL = "ada.lovelace@corp-mail.net"


def test_show_tells_of_a_real_exchange_what_was_found(served: Served, beside: dict[str, str]) -> None:
    id = served.chat(f"{MAIL} and {MAIL}").headers["x-request-id"]
    shown = invoke(["audit", "show", id], beside).out
    assert "  pii        2 EMAIL (masked)\n             in messages[0].content\n" in shown
    assert MAIL not in shown


def test_sent_is_what_the_provider_got(served: Served, beside: dict[str, str], sink: Sink) -> None:
    id = served.chat(f"I am {MAIL}", seed=7).headers["x-request-id"]
    piped = invoke(["audit", "show", id[:8], "--sent"], beside)
    assert (piped.status, piped.err) == (0, "")
    assert json.loads(piped.out) == sink.requests[-1].json()
    assert MAIL not in piped.out


def test_sent_as_json_tells_its_seal_and_findings_too(served: Served, beside: dict[str, str], sink: Sink) -> None:
    id = served.chat(f"I am {MAIL}").headers["x-request-id"]
    left = json.loads(invoke(["audit", "show", id, "--sent", "--json"], beside).out)
    assert left["sha256"] == hashlib.sha256(sink.requests[-1].body).hexdigest()
    assert [finding["label"] for finding in left["findings"]] == ["EMAIL"]


def test_sent_is_laid_out_for_a_person(served: Served, beside: dict[str, str], sink: Sink) -> None:
    id = served.chat(f"I am {MAIL}").headers["x-request-id"]
    ran = invoke(["audit", "show", id, "--sent"], beside, tty=True)
    got = sink.requests[-1]
    assert ran.out == json.dumps(got.json(), indent=2) + "\n"
    assert ran.err.splitlines() == [
        "What left this machine:",
        f"{len(got.body)} bytes   sha256 {hashlib.sha256(got.body).hexdigest()}",
    ]


def test_sent_says_that_a_model_on_this_machine_answered(served: Served, beside: dict[str, str]) -> None:
    id = served.chat("Hello", model="ollama/llama3:latest").headers["x-request-id"]
    ran = invoke(["audit", "show", id, "--sent"], beside, tty=True)
    assert ran.err.startswith(
        "Nothing left: ollama/llama3:latest answered on this machine. "
        "It was given this, with the values themselves for placeholders:\n"
    )
    assert '"Hello"' in ran.out


def test_sent_says_that_what_was_refused_did_not_leave(served: Served, beside: dict[str, str]) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    id = served.post("/v1/chat/completions", body, **{"x-membrain-private": "true"}).headers["x-request-id"]
    ran = invoke(["audit", "show", id, "--sent"], beside)
    assert (ran.status, ran.out, ran.err) == (1, "", "✗ Nothing left: it was refused (private refused).\n")


def test_sent_says_why_it_is_not_kept(served: Served, beside: dict[str, str]) -> None:
    id = served.chat("Hello").headers["x-request-id"]
    served.stop()
    ran = invoke(["audit", "show", id, "--sent"], beside)
    assert (ran.status, ran.out) == (Exit.DOWN, "")
    assert ran.err == "✗ What left is kept in the gateway's memory only, and the gateway is not running.\n"
    served.start()
    ran = invoke(["audit", "show", id, "--sent"], beside)
    assert (ran.status, ran.out) == (Exit.FAILED, "")
    assert "in memory only, for the last 100 exchanges" in ran.err


def test_bars_have_ascii_twins() -> None:
    class Latin(Screen):
        encoding = "latin-1"

    made = Console(Latin(), Latin(), Latin(), {})
    assert audit.bar_of(made, 0, 50, 100, streams=True) == "#" * 20 + "." * 20


@pytest.mark.parametrize("total", [0.0, 1e-9, 1e9])
def test_bars_stay_in_their_place(shell: Console, total: float) -> None:
    assert len(audit.bar_of(shell, total, total, total, streams=True)) <= audit.BAR + 1


def test_old_exchanges_are_told_with_their_date(shell: Console) -> None:
    assert "2026-09-01" in told(shell, record(time="2026-09-01T12:00:00Z"))[0]


def test_a_beginning_that_several_have_is_refused(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    served.chat("two")
    ran = invoke(["audit", "show", ""], beside)
    assert ran.status != 0
    assert "Traceback" not in ran.err


def test_an_exchange_that_is_not_there_is_told(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    ran = invoke(["audit", "show", "zzzz"], beside)
    assert (ran.status, ran.out, ran.err) == (Exit.FAILED, "", "✗ There is no such exchange.\n")


def test_show_as_json_is_the_record(served: Served, beside: dict[str, str]) -> None:
    id = served.chat("one").headers["x-request-id"]
    assert json.loads(invoke(["audit", "show", id, "--json"], beside).out) == served.audit(limit=1)[0]


def test_a_model_s_name_cannot_drive_the_terminal(shell: Console) -> None:
    """T20: what a caller put into the record is shown harmless, to a person and to a pipe."""
    hostile = record(answered_model="gpt-4o\x1b]0;evil\x07\u202e\t\n", caller="\x9b31m")
    for stream in (Screen(), io.StringIO()):
        shell.stdout = stream
        shell.table(audit.COLUMNS, [hostile.to_dict()], header=False)
        for line in audit.page(shell, hostile):
            shell.out(line)
        assert not set("\x1b\x07\u202e\x9b") & set(stream.getvalue())
        assert "gpt-4o" in stream.getvalue()


def test_ids_are_completed_with_their_models(served: Served, beside: dict[str, str]) -> None:
    id = served.chat("one").headers["x-request-id"]
    console.use(Console(Screen(), Screen(), Screen(), beside))
    assert audit.exchanges(id[:5]) == [(id, "gpt-4o")]
    assert audit.exchanges("zzz") == []


def test_completion_is_silent_where_nothing_can_be_asked(environ: dict[str, str]) -> None:
    console.use(Console(Screen(), Screen(), Screen(), environ))
    assert audit.exchanges("7") == []


def test_an_unknown_outcome_fails_before_anything_is_asked(shell: Console) -> None:
    with pytest.raises(CommandError, match="is no outcome"):
        audit.known_outcome("fine")
