"""An exchange as it is read: each cell of its row, and its page."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest

from membrain.records import Attempt, AuditRecord, Finding, Step
from membrain_cli import console, exchange
from membrain_cli.console import Console, columns_of, visible
from tests.cli.shell import Screen

NOW = datetime(2026, 11, 21, 14, 2, 15, tzinfo=UTC)


@pytest.fixture
def shell() -> Console:
    return shell_of(100)


def shell_of(columns: int) -> Console:
    """A terminal so wide, in use."""
    made = Console(Screen(), Screen(), Screen(), {"NO_COLOR": "1", "COLUMNS": str(columns)})
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
    return [visible(column.tell(row)) for column in exchange.COLUMNS]


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


def told(shell: Console, made: AuditRecord) -> list[str]:
    return [visible(line) for line in exchange.page(shell, made)]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_page_is_no_wider_than_the_window(columns: int) -> None:
    lines = told(shell_of(columns), record())
    assert max(columns_of(line) for line in lines) <= columns
    assert "first token 180 ms" in lines[-2]


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


def test_bars_have_ascii_twins() -> None:
    class Latin(Screen):
        encoding = "latin-1"

    made = Console(Latin(), Latin(), Latin(), {})
    assert exchange.bar_of(made, 0, 50, 100, streams=True) == "#" * 20 + "." * 20


@pytest.mark.parametrize("total", [0.0, 1e-9, 1e9])
def test_bars_stay_in_their_place(shell: Console, total: float) -> None:
    assert len(exchange.bar_of(shell, total, total, total, streams=True)) <= exchange.BAR + 1


def test_old_exchanges_are_told_with_their_date(shell: Console) -> None:
    assert "2026-09-01" in told(shell, record(time="2026-09-01T12:00:00Z"))[0]


def test_a_model_s_name_cannot_drive_the_terminal(shell: Console) -> None:
    """T20: what a caller put into the record is shown harmless, to a person and to a pipe."""
    hostile = record(answered_model="gpt-4o\x1b]0;evil\x07\u202e\t\n", caller="\x9b31m")
    for stream in (Screen(), io.StringIO()):
        shell.stdout = stream
        shell.table(exchange.COLUMNS, [hostile.to_dict()], header=False)
        for line in exchange.page(shell, hostile):
            shell.out(line)
        assert not set("\x1b\x07\u202e\x9b") & set(stream.getvalue())
        assert "gpt-4o" in stream.getvalue()


def test_what_the_cache_saved_and_a_budget_held_is_told(shell: Console) -> None:
    lines = told(shell, record(cached=True, saved_micros=900, reserved_micros=12_300))
    assert "  saved      $0.0009" in lines
    assert "  reserved   $0.0123 while it ran" in lines
    assert not [line for line in told(shell, record()) if line.startswith(("  saved", "  reserved", "  left"))]


def test_the_digest_of_what_left_is_told_by_its_ends(shell: Console) -> None:
    assert "  left       sha256 91d0…77ac" in told(shell, record(sent_sha256=f"91d0{'0' * 56}77ac"))


def test_what_is_kept_of_the_text_is_told(shell: Console) -> None:
    assert "  kept       no text" in told(shell, record())
    assert "  kept       all of it" in [visible(line) for line in exchange.page(shell, record(), "all of it")]


@pytest.mark.parametrize(("sound", "sign"), [(True, "✓"), (False, "✗")])
def test_the_place_in_the_chain_is_told(sound: bool, sign: str, shell: Console) -> None:
    link = {"seq": 8112, "seal": f"91d0{'0' * 56}77ac", "previous": f"4be2{'0' * 56}03f9", "sound": sound}
    last = [visible(line) for line in exchange.page(shell, record(), link=link)][-1]
    assert last == f"  chain      record 8,112   seal 91d0…77ac ← 4be2…03f9   {sign}"


def test_a_record_that_was_never_sealed_is_shown_without_a_seal(shell: Console) -> None:
    link = {"seq": 1, "seal": "", "previous": "", "sound": False}
    assert visible(exchange.chained(shell, link)).split() == ["record", "1", "seal", "←", "✗"]


def test_the_rooms_notes_stand_beside_their_bars(shell: Console) -> None:
    made = record(steps=(Step("rate_limit", 0.1, "59 left"), Step("dispatch", 180.0)))
    assert any(line.endswith("0.1 ms   59 left") for line in told(shell, made))
