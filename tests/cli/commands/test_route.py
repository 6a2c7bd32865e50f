"""`route`: who would be asked and why nobody else, what of the prompt would leave, and what differs from then."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from membrain.errors import MembrainError, UnknownModel
from membrain.records import Attempt, AuditRecord, Candidate, Considered, Decision, Explanation
from membrain_cli import console
from membrain_cli.commands import route
from membrain_cli.console import Console, Exit
from membrain_cli.main import run
from tests.cli.says import Says
from tests.cli.shell import Ran, Screen, command, invoke, membrain
from tests.cli.terminal import Terminal
from tests.served import Served
from tests.sink import Sink

PROMPT = "Summarise the contract of ada.canary@corp-mail.net"
NOW = datetime(2026, 11, 21, 14, 2, 15, tzinfo=UTC)


def candidate(model: str, provider: str, reason: str, *, kept: bool = True, **more: Any) -> Considered:
    """A candidate; `price` is in and out."""
    given, taken = more.pop("price", (None, None))
    source = more.pop("source", ("genai-prices 0.2.3", "2026-11-01")) if given is not None else ("", "")
    local = more.pop("local", False)
    return Considered(model, provider, kept, reason, local, given, taken, *source, **more)


GPT = candidate("gpt-4o", "openai", "by tier", price=(2.5, 10.0), cost_micros=5030, p50_ms=388.0, samples=100)
CLAUDE = candidate(
    "claude-sonnet-4-20250514", "anthropic", "by tier",
    price=(3.0, 15.0), source=("provider guide", "2025-05-14"), cost_micros=7540, p50_ms=640.0, samples=12,
)  # fmt: skip
OLLAMA = candidate(
    "ollama/llama3", "ollama", "in no tier",
    kept=False, local=True, price=(0.0, 0.0), cost_micros=0, p50_ms=1900.0, samples=3,
)  # fmt: skip
RESTS = candidate(
    "o1", "openai2", "failed too often, asked again in 12 s",
    kept=False, price=(15.0, 60.0), cost_micros=30_180, resting_seconds=12.4,
)  # fmt: skip
STRANGE = candidate("x-large", "groq", "its price is unknown", kept=False)
FOUND = (GPT, CLAUDE, OLLAMA, RESTS, STRANGE)
BARE = Explanation("auto", "auto", "balanced", False, None, FOUND)
FULL = replace(BARE, masked={"EMAIL": 1}, prompt_tokens=12, completion_tokens=500)


@pytest.fixture
def gateway(environ: dict[str, str]) -> Iterator[Says]:
    """A gateway that explains."""
    with Says(environ) as gateway:
        gateway.answers["/api/route"] = FULL.to_dict()
        yield gateway


def see(environ: dict[str, str], *argv: str, columns: int = 140, status: int = 0) -> list[str]:
    """What a person sees on a real terminal, line by line."""
    with Terminal(command("route", *argv), environ, rows=60, columns=columns) as terminal:
        assert terminal.finish(20) == status, terminal.text
        assert terminal.screen.unknown == []
        return terminal.screen.text.splitlines()


def told(gateway: Says, explanation: Explanation, environ: dict[str, str], *argv: str) -> Ran:
    """What a person is told when the gateway gives *explanation*."""
    gateway.answers["/api/route"] = explanation.to_dict()
    return invoke(["route", "explain", *(argv or ["auto", "Hello"])], {**environ, "COLUMNS": "160"}, tty=True)


def head(gateway: Says, explanation: Explanation, environ: dict[str, str], *argv: str) -> str:
    """The first line of it."""
    return told(gateway, explanation, environ, *argv).out.partition("\n")[0]


# --- what a person sees --------------------------------------------------------------------------------------


def test_every_candidate_is_shown_with_its_one_reason(gateway: Says, environ: dict[str, str]) -> None:
    haiku = replace(CLAUDE, model="claude-haiku-4-5")
    gateway.answers["/api/route"] = replace(FULL, candidates=(GPT, haiku, OLLAMA)).to_dict()
    assert see(environ, "explain", "--tier", "balanced", PROMPT, columns=112) == [
        "auto → tier balanced · any provider · no price limit · 12 tokens · 1 email would be masked",
        "",
        "  1  gpt-4o             openai           $2.50 / $10.00   ~$0.0050   388 ms of 100   ● first      by tier",
        "  2  claude-haiku-4-5   anthropic        $3.00 / $15.00   ~$0.0075   640 ms of 12    ● fallback   by tier",
        "",
        "     ollama/llama3      ollama (local)   free                        1.9 s of 3      ○ dropped    in no tier",
        "",
        "  $ is for a million tokens, in / out. ~ is this prompt with an answer of 500 tokens.",
        "  Times are the provider's p50, of how many answers.",
        "  Prices: genai-prices 0.2.3 2026-11-01; provider guide 2025-05-14 (claude-haiku-4-5).",
    ]


@pytest.mark.usefixtures("gateway")
def test_a_narrow_terminal_loses_nothing(environ: dict[str, str]) -> None:
    lines = see(environ, "explain", "auto", PROMPT, columns=60)
    assert lines == [
        "auto → tier balanced · any provider · no price limit",
        "  12 tokens · 1 email would be masked",
        "",
        "  1  gpt-4o                     openai           ● first",
        "     by tier",
        "     $2.50 / $10.00 · ~$0.0050 · 388 ms of 100",
        "  2  claude-sonnet-4-20250514   anthropic        ● fallback",
        "     by tier",
        "     $3.00 / $15.00 · ~$0.0075 · 640 ms of 12",
        "",
        "     ollama/llama3              ollama (local)   ○ dropped",
        "     in no tier",
        "     free · 1.9 s of 3",
        "     o1                         openai2          ○ dropped",
        "     failed too often, asked again in 12 s",
        "     $15.00 / $60.00 · ~$0.0302 · rests 12 s",
        "     x-large                    groq             ○ dropped",
        "     its price is unknown",
        "     price unknown · cost unknown · not timed",
        "",
        "  $ is for a million tokens, in / out.",
        "  ~ is this prompt with an answer of 500 tokens.",
        "  Times are the provider's p50, of how many answers.",
        "  Prices: genai-prices 0.2.3 2026-11-01; provider guide",
        "  2025-05-14 (claude-sonnet-4-20250514).",
    ]
    assert max(map(len, lines)) <= 60


@pytest.mark.parametrize("columns", [200, 100, 80, 60, 40, 20])
@pytest.mark.usefixtures("gateway")
def test_no_width_hides_a_candidate_or_a_reason(columns: int, environ: dict[str, str]) -> None:
    ran = invoke(["route", "explain", "auto", "Hello"], {**environ, "COLUMNS": str(columns)}, tty=True)
    shown = " ".join(ran.out.split())
    for each in FOUND:
        assert {each.model, *each.provider.split()} <= set(shown.split())
        assert each.reason in shown


def test_colour_never_reaches_a_pipe(gateway: Says, environ: dict[str, str]) -> None:
    assert "\x1b" not in membrain("route", "explain", environ=environ).out
    with Terminal(command("route", "explain"), environ) as terminal:
        terminal.finish()
        assert b"\x1b[32m" in terminal.raw
    with Terminal(command("--no-color", "route", "explain"), environ) as terminal:
        terminal.finish()
        assert b"\x1b[" not in terminal.raw


@pytest.mark.usefixtures("gateway")
def test_ascii_terminals_get_ascii_signs(environ: dict[str, str]) -> None:
    plain = {**environ, "LANG": "C", "PYTHONIOENCODING": "ascii", "NO_COLOR": "1"}
    lines = see(plain, "explain")
    assert lines[0].startswith("auto -> tier balanced - any provider")
    assert "* first" in "\n".join(lines)


def test_without_a_prompt_nothing_is_said_of_masks_and_costs(gateway: Says, environ: dict[str, str]) -> None:
    bare = replace(BARE, candidates=tuple(replace(each, cost_micros=None) for each in FOUND))
    ran = told(gateway, bare, environ, "auto")
    assert ran.out.splitlines()[0] == "auto → tier balanced · any provider · no price limit"
    assert "cost unknown" not in ran.out
    assert "~" not in ran.out + ran.err
    assert gateway.heard == [("POST", "/api/route", {"model": "auto"})]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"asked": "gpt-4o", "model": "gpt-4o", "tier": None}, "gpt-4o, by name"),
        ({"asked": "fast-code", "model": "gpt-4o-mini", "tier": None}, "fast-code → gpt-4o-mini, by name"),
        ({"asked": "smart", "tier": "best"}, "smart → auto → tier best · any provider · no price limit"),
        ({"private": True}, "auto → tier balanced · only models on this machine · no price limit"),
        ({"max_cost": 0.001}, "auto → tier balanced · any provider · at most $0.001 for 1K tokens"),
        (
            {"asked": "gpt-4o", "model": "gpt-4o", "tier": None, "max_cost": 1.0},
            "gpt-4o, by name · the price limit is for auto only",
        ),
        ({"budget_micros": 3_170_000}, "auto → tier balanced · any provider · no price limit · $3.17 left to spend"),
        ({"budget_micros": 0}, "auto → tier balanced · any provider · no price limit · $0 left to spend"),
    ],
)
def test_what_was_asked_is_told_with_what_it_stands_for(
    facts: dict[str, Any], words: str, gateway: Says, environ: dict[str, str]
) -> None:
    assert head(gateway, replace(BARE, **facts), environ, "auto") == words


@pytest.mark.parametrize(
    ("labels", "first", "words"),
    [
        ({}, GPT, "nothing would be masked"),
        ({"EMAIL": 1, "CREDIT_CARD": 2}, GPT, "1 email, 2 credit card would be masked"),
        ({"EMAIL": 1}, replace(OLLAMA, kept=True), "1 email, masked if it leaves"),
    ],
)
def test_what_would_be_masked_is_told_in_labels_and_counts(
    labels: dict[str, int], first: Considered, words: str, gateway: Says, environ: dict[str, str]
) -> None:
    assert head(gateway, replace(FULL, masked=labels, candidates=(first,)), environ).split(" · ")[-1] == words


def test_a_single_candidate_is_the_only_one(gateway: Says, environ: dict[str, str]) -> None:
    assert "● only" in told(gateway, replace(FULL, candidates=(GPT,)), environ).out


def test_a_question_for_a_person_is_told_before(gateway: Says, environ: dict[str, str]) -> None:
    ran = told(gateway, replace(FULL, confirmed=("CREDIT_CARD", "EMAIL")), environ)
    assert (ran.status, ran.out.splitlines()[1]) == (0, "! credit card, email: a person would be asked first")


def test_the_router_alone_explains_auto(gateway: Says, environ: dict[str, str]) -> None:
    assert see(environ)[0] == "auto → tier balanced · any provider · no price limit · 12 tokens"
    assert gateway.heard == [("POST", "/api/route", {"model": "auto"})]


# --- what a program gets -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("gateway")
def test_a_pipe_gets_a_candidate_on_each_line(environ: dict[str, str]) -> None:
    ran = membrain("route", "explain", environ=environ)
    assert (ran.status, ran.err) == (0, "")
    assert [line.split("\t") for line in ran.out.splitlines()] == [
        ["1", "gpt-4o", "openai", "first", "by tier", "false", "2.5", "10.0", "5030", "388.0", "100", ""],
        ["2", "claude-sonnet-4-20250514", "anthropic", "fallback", "by tier", "false", "3.0", "15.0", "7540",
         "640.0", "12", ""],
        ["", "ollama/llama3", "ollama", "dropped", "in no tier", "true", "0.0", "0.0", "0", "1900.0", "3", ""],
        ["", "o1", "openai2", "dropped", "failed too often, asked again in 12 s", "false", "15.0", "60.0", "30180", "",
         "0", "12.4"],
        ["", "x-large", "groq", "dropped", "its price is unknown", "false", "", "", "", "", "0", ""],
    ]  # fmt: skip


@pytest.mark.usefixtures("gateway")
def test_json_is_the_whole_explanation(environ: dict[str, str]) -> None:
    ran = membrain("route", "explain", "auto", PROMPT, "--json", environ=environ)
    assert (ran.status, ran.err) == (0, "")
    assert Explanation.from_dict(json.loads(ran.out)) == FULL


# --- what is asked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "sent"),
    [
        ([], {"model": "auto"}),
        (["gpt-4o"], {"model": "gpt-4o"}),
        (["gpt-4o", "Hello"], {"model": "gpt-4o", "prompt": "Hello"}),
        (["Hello there"], {"model": "auto", "prompt": "Hello there"}),
        (["two\nlines"], {"model": "auto", "prompt": "two\nlines"}),
        (["auto", "Hello"], {"model": "auto", "prompt": "Hello"}),
        (["--tier", "fast"], {"model": "auto", "tier": "fast"}),
        (["--tier", "quality", "--private"], {"model": "auto", "tier": "quality", "private": True}),
        (["--max-cost", "0.001"], {"model": "auto", "max_cost": 0.001}),
        (["--max-cost", "0"], {"model": "auto", "max_cost": 0.0}),
    ],
)
def test_what_is_typed_is_what_is_asked(
    argv: list[str], sent: dict[str, Any], gateway: Says, environ: dict[str, str]
) -> None:
    assert invoke(["route", "explain", *argv], environ, tty=True).status == 0
    assert gateway.heard == [("POST", "/api/route", sent)]


@pytest.mark.parametrize("argv", [["-"], ["auto", "-"], [], ["auto"]])
def test_a_prompt_may_come_through_a_pipe(argv: list[str], gateway: Says, environ: dict[str, str]) -> None:
    membrain("route", "explain", *argv, environ=environ, stdin=f"{PROMPT}\n")
    assert gateway.heard == [("POST", "/api/route", {"model": "auto", "prompt": f"{PROMPT}\n"})]


def test_a_prompt_that_was_typed_leaves_the_pipe_alone(gateway: Says, environ: dict[str, str]) -> None:
    invoke(["route", "explain", "auto", "Hello"], environ, stdin="not this")
    assert gateway.heard[0][2]["prompt"] == "Hello"


def test_an_empty_pipe_is_no_prompt(gateway: Says, environ: dict[str, str]) -> None:
    assert invoke(["route", "explain"], environ, stdin="\n").status == 0
    assert gateway.heard == [("POST", "/api/route", {"model": "auto"})]


def test_a_pipe_that_was_only_left_open_is_not_waited_for(
    gateway: Says, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "PATIENCE", 0.01)
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "w"):
        shell = Console(stdin, Screen(), Screen(), environ)
        assert run(["route", "explain"], shell) == 0
    assert isinstance(shell.stderr, Screen)
    assert shell.stderr.getvalue().startswith("Nothing comes through stdin, so this is without a prompt.")
    assert gateway.heard == [("POST", "/api/route", {"model": "auto"})]


def test_a_prompt_may_be_typed_where_nobody_reads_along(gateway: Says, environ: dict[str, str]) -> None:
    with Terminal(command("route", "explain", "-"), environ) as terminal:
        terminal.expect("ctrl-d on a line of its own ends it.")
        terminal.type("Hello\r\x04")
        assert terminal.finish() == 0
    assert gateway.heard[0][2] == {"model": "auto", "prompt": "Hello\n"}


@pytest.mark.parametrize(
    ("argv", "stdin", "said"),
    [
        (["explain", "--tier", "bset"], "", "No tier bset. There are fast, balanced and best. Did you mean best?"),
        (["explain", "--max-cost", "nan"], "", "--max-cost must be dollars for 1K tokens, like 0.01."),
        (["explain", "-"], " \n", "There is no prompt: nothing came through stdin."),
        (["explain", "auto", "Hello\udcff"], "", "The prompt is not text (UTF-8)."),
        (["explain", "-"], "\udcff", "The prompt is not text (UTF-8)."),
        (["explain", "gpt-4o", "--replay", "7f3a"], "",
         "--replay looks at an exchange as it was asked; it goes with nothing else."),
        (["explian"], "", 'No command "explian". Did you mean explain?'),
    ],
)  # fmt: skip
def test_a_slip_is_told_and_nothing_is_asked(
    argv: list[str], stdin: str, said: str, gateway: Says, environ: dict[str, str]
) -> None:
    ran = invoke(["route", *argv], environ, stdin=stdin)
    assert (ran.status, ran.out, ran.err.splitlines()[0]) == (Exit.USAGE, "", f"✗ {said}")
    assert gateway.heard == []


def test_bytes_that_are_no_text_are_refused_and_not_repeated(gateway: Says, environ: dict[str, str]) -> None:
    given = b"ada.canary@corp-mail.net \xff"
    done = subprocess.run(command("route", "explain"), env=environ, input=given, capture_output=True)
    assert (done.returncode, done.stdout) == (Exit.USAGE, b"")
    assert b"canary" not in done.stderr
    assert gateway.heard == []


def test_who_wants_no_questions_is_asked_none(gateway: Says, environ: dict[str, str]) -> None:
    ran = invoke(["--no-input", "route", "explain", "-"], environ, tty=True)
    assert (ran.status, ran.err.splitlines()[0]) == (Exit.USAGE, "✗ There is no prompt.")
    assert gateway.heard == []


@pytest.mark.parametrize("flags", [[], ["--json"], ["--debug"]])
@pytest.mark.parametrize("tty", [True, False])
def test_the_prompt_is_never_repeated(flags: list[str], tty: bool, gateway: Says, environ: dict[str, str]) -> None:
    for answer in (FULL.to_dict(), UnknownModel("Nobody here serves the model 'gpt-99'."), {"nonsense": 1}):
        gateway.answers["/api/route"] = answer
        ran = invoke(["route", "explain", "gpt-99", PROMPT, *flags], environ, tty=tty)
        assert "canary" not in ran.out + ran.err


# --- when nobody would answer --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("provider_not_configured", Exit.KEY),
        ("no_candidate", Exit.UPSTREAM),
        ("private_refused", Exit.REFUSED),
        ("pii_blocked", Exit.REFUSED),
        ("model_not_found", Exit.FAILED),
        ("of_a_newer_gateway", Exit.FAILED),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_the_status_is_that_of_asking(
    code: str, status: Exit, flags: list[str], gateway: Says, environ: dict[str, str]
) -> None:
    nobody = replace(BARE, candidates=(STRANGE,), error=code, message="Nobody.", hint=None)
    gateway.answers["/api/route"] = nobody.to_dict()
    assert invoke(["route", "explain", *flags], environ).status == status


def test_a_refusal_is_told_with_its_remedy_below_everybody_who_was_dropped(
    gateway: Says, environ: dict[str, str]
) -> None:
    nobody = Explanation(
        "auto", "auto", "balanced", True, None, (replace(GPT, kept=False, reason="it would leave this machine"),),
        "no_candidate", "No model runs on this machine.", "Start Ollama, or: membrain local install",
    )  # fmt: skip
    gateway.answers["/api/route"] = nobody.to_dict()
    assert see(environ, "explain", "--private", columns=100, status=Exit.UPSTREAM) == [
        "auto → tier balanced · only models on this machine · no price limit",
        "",
        "     gpt-4o   openai   $2.50 / $10.00   388 ms of 100   ○ dropped   it would leave this machine",
        "",
        "  $ is for a million tokens, in / out. Times are the provider's p50, of how many answers.",
        "  Prices: genai-prices 0.2.3 2026-11-01.",
        "✗ No model runs on this machine.",
        "  Start Ollama, or    membrain local install",
    ]


def test_a_model_whose_provider_has_no_key_says_how_to_give_it_one(gateway: Says, environ: dict[str, str]) -> None:
    said, hint = "gpt-4o is served by openai, which is not set up.", "Set its key: membrain keys set openai"
    nobody = Explanation("gpt-4o", "gpt-4o", None, False, None, (), "provider_not_configured", said, hint)
    ran = told(gateway, nobody, environ, "gpt-4o")
    assert (ran.status, ran.out) == (Exit.KEY, "gpt-4o, by name\n")
    assert ran.err == f"✗ {said}\n  Set its key     membrain keys set openai\n"


def test_what_is_blocked_is_a_refusal_though_somebody_is_there(gateway: Says, environ: dict[str, str]) -> None:
    ran = told(gateway, replace(FULL, blocked=("SECRET",)), environ)
    assert ran.status == Exit.REFUSED
    assert "! secret: this would be refused" in ran.out
    assert ran.err.endswith("✗ Nothing would leave: it holds secret.\n")


def test_a_gateway_that_answers_with_an_error_is_heard(gateway: Says, environ: dict[str, str]) -> None:
    gateway.answers["/api/route"] = UnknownModel("Nobody here serves the model 'x'.", hint="Did you mean o1?")
    ran = invoke(["route", "explain", "x"], environ)
    assert (ran.status, ran.err) == (Exit.FAILED, "✗ Nobody here serves the model 'x'. Did you mean o1?\n")


@pytest.mark.parametrize("argv", [[], ["explain"], ["explain", "--replay", "7f3a"], ["tiers"]])
def test_without_a_gateway_it_says_how_to_start_one(argv: list[str], environ: dict[str, str]) -> None:
    ran = invoke(["route", *argv], environ)
    assert (ran.status, ran.out) == (Exit.DOWN, "")
    assert ran.err == "✗ The gateway is not running.\n  Start it        membrain up\n"


def test_every_error_of_ours_has_a_status() -> None:
    known = route.statuses(MembrainError)
    assert known["private_refused"] == 403
    assert known["provider_not_configured"] == 503
    assert known["internal_error"] == 500


# --- a past exchange -----------------------------------------------------------------------------------------


def chosen(one: Considered, **more: Any) -> Candidate:
    """As the record of then has it."""
    return Candidate(**{"model": one.model, "provider": one.provider, "kept": one.kept, "reason": one.reason, **more})


def past(*candidates: Candidate, **more: Any) -> AuditRecord:
    """An exchange of two hours ago, answered by gpt-4o."""
    facts = {
        "id": "7f3a9c0d1e2f", "time": "2026-11-21T12:02:11+00:00", "dialect": "chat", "path": "/v1/chat/completions",
        "model": "auto", "answered_model": "gpt-4o-2024-08-06", "provider": "openai", "outcome": "answered",
        "attempts": (Attempt("openai", "gpt-4o", 388.0),),
        "decision": Decision("auto", "balanced", False, candidates) if candidates else None,
    }  # fmt: skip
    return AuditRecord(**{**facts, **more})


def replay(gateway: Says, record: AuditRecord, today: Explanation, environ: dict[str, str]) -> list[str]:
    """What is told of *record* between the first line and the list."""
    gateway.answers[f"/api/audit/{record.id[:4]}"] = record.to_dict()
    told = replace(today, replay=record.id, answered_model=record.answered_model, answered_provider=record.provider)
    gateway.answers["/api/route"] = told.to_dict()
    ran = invoke(
        ["route", "explain", "--replay", record.id[:4]], {**environ, "COLUMNS": "160"}, tty=True, now=NOW, stdin="x"
    )
    assert gateway.heard[-1] == ("POST", "/api/route", {"replay": record.id})
    lines = ran.out.splitlines()
    return lines[1 : lines.index("")]


def test_a_replay_tells_who_answered_then_and_that_nothing_differs(gateway: Says, environ: dict[str, str]) -> None:
    then = past(*(chosen(each) for each in FOUND))
    assert replay(gateway, then, BARE, environ) == [
        "  7f3a9c   2 h ago   answered by gpt-4o-2024-08-06 at openai",
        "  today    the same first",
    ]


def test_a_replay_tells_what_differs_today(gateway: Says, environ: dict[str, str]) -> None:
    then = past(
        chosen(GPT), chosen(CLAUDE, kept=False, reason="over $0.001"), chosen(OLLAMA), chosen(GPT, model="gpt-3.5")
    )
    today = replace(BARE, candidates=(CLAUDE, replace(GPT, kept=False, reason="failed too often"), OLLAMA, STRANGE))
    assert replay(gateway, then, today, environ) == [
        "  7f3a9c   2 h ago   answered by gpt-4o-2024-08-06 at openai",
        "  today    claude-sonnet-4-20250514 at anthropic first",
        "           claude-sonnet-4-20250514 at anthropic: dropped (over $0.001) then, kept (by tier) today",
        "           gpt-4o at openai: kept (by tier) then, dropped (failed too often) today",
        "           x-large at groq: not considered then",
        "           gpt-3.5 at openai: kept (by tier) then, not considered today",
    ]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"cached": True}, "answered by the cache"),
        ({"answered_model": None, "outcome": "refused", "error": "pii_blocked"}, "refused, pii blocked"),
        ({"answered_model": None, "outcome": "aborted"}, "aborted"),
    ],
)
def test_a_replay_tells_how_it_ended_then(
    facts: dict[str, Any], words: str, gateway: Says, environ: dict[str, str]
) -> None:
    first, second = replay(gateway, past(**facts, attempts=()), BARE, environ)
    assert first == f"  7f3a9c   2 h ago   {words}"
    assert second == "  today    gpt-4o at openai first"


def test_a_replay_says_when_nobody_would_answer_today(gateway: Says, environ: dict[str, str]) -> None:
    nobody = replace(BARE, candidates=(STRANGE,), error="no_candidate", message="No model fits what was asked.")
    assert replay(gateway, past(), nobody, environ)[1] == "  today    nobody"


def test_a_replay_of_nothing_is_told(gateway: Says, environ: dict[str, str]) -> None:
    ran = invoke(["route", "explain", "--replay", "zzzz"], environ)
    assert (ran.status, ran.out, ran.err) == (Exit.FAILED, "", "✗ There is no such route.\n")
    assert [path for _, path, _ in gateway.heard] == ["/api/audit/zzzz"]


def test_json_of_a_replay_is_the_explanation(gateway: Says, environ: dict[str, str]) -> None:
    gateway.answers["/api/audit/7f3a"] = past().to_dict()
    ran = invoke(["route", "explain", "--replay", "7f3a", "--json"], environ)
    assert Explanation.from_dict(json.loads(ran.out)) == FULL


# --- tiers ---------------------------------------------------------------------------------------------------

TIERS = {
    "fast": ["gpt-4o-mini", "claude-haiku-4-5-20251001"],
    "balanced": ["gpt-4o", "claude-sonnet-4-20250514"],
    "best": [],
    "default": "balanced",
    "aliases": {"fast-code": "gpt-4o-mini"},
    "prefer": ["anthropic", "openai"],
}


def test_tiers_show_their_models_aliases_and_who_comes_first(gateway: Says, environ: dict[str, str]) -> None:
    gateway.answers["/api/tiers"] = TIERS
    assert see(environ, "tiers", columns=80) == [
        "  fast        gpt-4o-mini, claude-haiku-4-5-20251001",
        "  balanced    gpt-4o, claude-sonnet-4-20250514 (default)",
        "  best        nobody",
        "",
        "  fast-code → gpt-4o-mini",
        "  asked first anthropic, openai",
        "",
        "  Change them     membrain config edit",
    ]


def test_a_program_gets_tiers_too(gateway: Says, environ: dict[str, str]) -> None:
    gateway.answers["/api/tiers"] = TIERS
    assert invoke(["route", "tiers"], environ).out.splitlines() == [
        "tier\tfast\tgpt-4o-mini,claude-haiku-4-5-20251001\tfalse",
        "tier\tbalanced\tgpt-4o,claude-sonnet-4-20250514\ttrue",
        "tier\tbest\t\tfalse",
        "alias\tfast-code\tgpt-4o-mini\tfalse",
        "prefer\t\tanthropic,openai\tfalse",
    ]
    assert json.loads(invoke(["route", "tiers", "--json"], environ).out) == TIERS


def test_a_narrow_terminal_breaks_tiers_between_models(gateway: Says, environ: dict[str, str]) -> None:
    gateway.answers["/api/tiers"] = TIERS
    lines = see(environ, "tiers", columns=45)
    assert lines[:2] == ["  fast        gpt-4o-mini,", "              claude-haiku-4-5-20251001"]


# --- completion ----------------------------------------------------------------------------------------------


def test_the_shell_completes_models_tiers_and_exchanges(gateway: Says, environ: dict[str, str]) -> None:
    console.use(Console(Screen(), Screen(), Screen(), environ))
    gateway.answers["/api/models"] = [{"id": "gpt-4o"}, {"id": "auto"}, {"id": "claude-haiku-4-5"}]
    gateway.answers["/api/audit"] = [past().to_dict()]
    assert route.model_names("") == ["auto", "gpt-4o", "claude-haiku-4-5"]
    assert route.model_names("g") == ["gpt-4o"]
    assert route.tier_names("b") == ["balanced", "best"]
    assert (route.past("7f"), route.past("x")) == ([("7f3a9c0d1e2f", "auto")], [])


def test_the_shell_completes_nothing_without_a_gateway(environ: dict[str, str]) -> None:
    console.use(Console(Screen(), Screen(), Screen(), environ))
    assert route.model_names("g") == route.past("7") == []


# --- the real gateway ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "headers"),
    [
        ([], {}),
        (["--tier", "fast"], {"x-membrain-tier": "fast"}),
        (["--max-cost", "0.001"], {"x-membrain-max-cost": "0.001"}),
        (["--private"], {"x-membrain-private": "true"}),
    ],
)
def test_who_is_named_first_is_who_then_answers(
    flags: list[str], headers: dict[str, str], served: Served, beside: dict[str, str]
) -> None:
    told = Explanation.from_dict(json.loads(membrain("route", "explain", *flags, "--json", environ=beside).out))
    body = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
    answer = served.post("/v1/chat/completions", body, **headers)
    assert (answer.status, answer.headers["x-membrain-provider"]) == (200, told.candidates[0].provider)
    (record,) = served.audit()
    assert record["attempts"][0]["model"] == told.candidates[0].model


def test_explaining_sends_nothing_and_puts_nothing_on_record(
    served: Served, sink: Sink, beside: dict[str, str]
) -> None:
    ran = membrain("route", "explain", "gpt-4o", "-", "--json", environ=beside, stdin=PROMPT)
    told = Explanation.from_dict(json.loads(ran.out))
    assert (ran.status, told.masked) == (0, {"EMAIL": 1})
    assert told.prompt_tokens > 0
    assert all(each.cost_micros for each in told.candidates)
    assert served.audit() == []
    assert not [each for each in sink.requests if b"canary" in each.body]
    assert "canary" not in served.assert_sound()


def test_nobody_who_would_answer_is_the_status_of_asking(served: Served, beside: dict[str, str]) -> None:
    ran = membrain("route", "explain", "gpt-4o", "--private", environ=beside)
    assert (ran.status, ran.out.split("\t")[1:4]) == (Exit.REFUSED, ["gpt-4o", "openai", "dropped"])
    assert ran.err.startswith("✗ This request is private")
    assert membrain("chat", "--model", "gpt-4o", "--private", "Hello", environ=beside).status == ran.status


def test_an_exchange_of_the_past_is_looked_at_again(served: Served, beside: dict[str, str]) -> None:
    served.chat("Hello", model="gpt-4o")
    id = served.audit()[0]["id"]
    lines = see(beside, "explain", "--replay", id[:6])
    assert lines[0].startswith("gpt-4o, by name")
    assert lines[1].endswith("answered by gpt-4o at openai")
    assert lines[2] == "  today    the same first"
    assert invoke(["route", "explain", "--replay", "zzzz"], beside).status == Exit.FAILED


def test_the_documented_tiers_are_shown(served: Served, beside: dict[str, str]) -> None:
    assert see(beside, "tiers")[:3] == [
        "  fast        gpt-4o-mini, claude-haiku-4-5-20251001",
        "  balanced    gpt-4o, claude-sonnet-4-20250514 (default)",
        "  best        o1, claude-opus-4-20250514",
    ]
