"""The page of metrics: right numbers, names that readers of such pages know, and nobody's words in a label."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families

from membrain.metrics import FAMILIES, MOST_MODELS, Metrics, page, table
from membrain.records import Attempt, AuditRecord, Outcome, Step

ROOT = Path(__file__).parents[2]
OPEN_METRICS = "application/openmetrics-text;version=1.0.0"

ANSWERED: dict[str, Any] = {
    "outcome": Outcome.ANSWERED,
    "stream": True,
    "caller": "canary-name",
    "key_id": "canary-key",
    "user": "canary-user",
    "answered_model": "gpt-4o",
    "provider": "openai",
    "ms": 412.5,
    "first_ms": 180.25,
    "prompt_tokens": 310,
    "completion_tokens": 160,
    "cost_micros": 900,
    "pii_findings_count": 3,
    "pii_labels": ("EMAIL", "PHONE"),
    "attempts": (Attempt("ollama", "llama3", 100.0, "timeout"), Attempt("openai", "gpt-4o", 300.0)),
    "steps": (Step("pii", 1.9),),
}
WHERE = {
    "gen_ai_operation_name": "chat",
    "gen_ai_provider_name": "openai",
    "gen_ai_response_model": "gpt-4o",
}


def a_record(**fields: Any) -> AuditRecord:
    """An answered exchange, of which its caller chose some words."""
    given = {"dialect": "chat", "path": "/v1/canary-path", "model": "canary-model", "project": "canary-project"}
    return AuditRecord(id="canary-id", time="2026-11-22T06:00:00.000Z", **{**given, **ANSWERED, **fields})


def after(*records: AuditRecord, **given: Any) -> Metrics:
    """The counts after these exchanges."""
    metrics = Metrics(**given)
    for record in records:
        metrics.finished(record)
    return metrics


def samples(metrics: Metrics, budgets: list[dict[str, Any]] | None = None) -> dict[tuple[str, frozenset[Any]], float]:
    """What a Prometheus server reads from the page, by name and labels."""
    text = page(metrics.snapshot(), budgets or [])[0].decode()
    return {
        (each.name, frozenset(each.labels.items())): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One number of the page; None if it is not there."""
    return samples(metrics).get((name, frozenset(labels.items())))


# --- numbers -------------------------------------------------------------------------------------------------


def test_an_answer_is_counted_everywhere_it_belongs() -> None:
    metrics = after(a_record(), a_record())
    told = {"outcome": "answered", "dialect": "chat", "provider": "openai", "model": "gpt-4o"}
    assert value(metrics, "membrain_requests_total", **told) == 2
    assert value(metrics, "membrain_cost_dollars_total", provider="openai", model="gpt-4o") == 0.0018
    assert value(metrics, "membrain_cache_total", result="miss") == 2
    assert value(metrics, "membrain_pii_findings_total") == 6
    assert value(metrics, "membrain_pii_exchanges_total", label="EMAIL") == 2
    assert value(metrics, "membrain_upstream_attempts_total", provider="ollama", error="timeout") == 2
    assert value(metrics, "membrain_upstream_attempts_total", provider="openai", error="") == 2


def test_times_and_tokens_fall_into_the_buckets_of_the_conventions() -> None:
    metrics = after(a_record(), a_record(ms=640.0, completion_tokens=256))
    took = "gen_ai_client_operation_duration_seconds"
    assert value(metrics, f"{took}_bucket", le="0.32", error_type="", **WHERE) == 0
    assert value(metrics, f"{took}_bucket", le="0.64", error_type="", **WHERE) == 2, "a bound is in its bucket"
    assert value(metrics, f"{took}_count", error_type="", **WHERE) == 2
    assert value(metrics, f"{took}_sum", error_type="", **WHERE) == pytest.approx(1.0525)
    first = "gen_ai_client_operation_time_to_first_chunk_seconds"
    assert value(metrics, f"{first}_bucket", le="0.16", **WHERE) == 0
    assert value(metrics, f"{first}_bucket", le="0.32", **WHERE) == 2
    tokens = "gen_ai_client_token_usage"
    assert value(metrics, f"{tokens}_sum", gen_ai_token_type="input", **WHERE) == 620
    assert value(metrics, f"{tokens}_bucket", le="256.0", gen_ai_token_type="output", **WHERE) == 2
    assert value(metrics, f"{tokens}_bucket", le="+Inf", gen_ai_token_type="output", **WHERE) == 2


def test_only_a_stream_has_a_first_chunk() -> None:
    text = page(after(a_record(stream=False)).snapshot(), [])[0].decode()
    assert "time_to_first_chunk_seconds_count" not in text


def test_an_unknown_cost_is_counted_as_that() -> None:
    metrics = after(a_record(cost_micros=None))
    assert value(metrics, "membrain_unpriced_total", provider="openai", model="gpt-4o") == 1
    assert value(metrics, "membrain_cost_dollars_total", provider="openai", model="gpt-4o") is None


def test_a_known_answer_is_a_hit_that_saves_and_uses_no_tokens() -> None:
    metrics = after(a_record(cached=True, saved_micros=700, cost_micros=0, attempts=()))
    assert value(metrics, "membrain_cache_total", result="hit") == 1
    assert value(metrics, "membrain_saved_dollars_total") == 0.0007
    assert "gen_ai_client_token_usage_count" not in {name for name, _ in samples(metrics)}


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("rate_limit_exceeded", "membrain_rate_limited_total"),
        ("budget_exceeded", "membrain_budget_refused_total"),
        ("price_unknown", "membrain_budget_refused_total"),
    ],
)
def test_what_a_limit_refused_is_counted_by_limit(code: str, name: str) -> None:
    refused = a_record(outcome=Outcome.REFUSED, error=code, answered_model=None, provider=None, attempts=())
    metrics = after(refused, a_record())
    assert value(metrics, name) == 1
    assert {
        each: value(metrics, each) for each in ("membrain_rate_limited_total", "membrain_budget_refused_total")
    } == {"membrain_rate_limited_total": 0, "membrain_budget_refused_total": 0, name: 1}


def test_how_many_run_is_asked_when_the_page_is() -> None:
    running = [0]
    metrics = after(running=lambda: running[0])
    running[0] = 7
    assert value(metrics, "membrain_running") == 7


def test_budgets_of_the_machine_and_of_projects_are_told_but_of_no_user_and_no_key() -> None:
    owners = ("machine", "project:web", "user:web:ada", "key:k1")
    budgets = [
        {"owner": owner, "period": "day", "limit_micros": 5_000_000, "spent_micros": 1_830_000, "reserved_micros": 10}
        for owner in owners
    ]
    found = samples(Metrics(), budgets)
    told = {dict(labels)["owner"] for name, labels in found if name == "membrain_budget_spent_dollars"}
    assert told == {"machine", "project:web"}
    labels = frozenset({("owner", "machine"), ("period", "day")})
    assert found["membrain_budget_limit_dollars", labels] == 5
    assert found["membrain_budget_spent_dollars", labels] == 1.83
    assert found["membrain_budget_reserved_dollars", labels] == 0.00001


def test_what_is_counted_later_does_not_change_a_page_that_is_being_written() -> None:
    metrics = after(a_record())
    snapshot = metrics.snapshot()
    before = page(snapshot, [])
    metrics.finished(a_record())
    assert page(snapshot, []) == before


# --- labels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("answered", [True, False])
def test_no_label_holds_what_a_caller_chose(outcome: Outcome, answered: bool) -> None:
    nobody = {} if answered else {"answered_model": None, "provider": None}
    error = None if outcome is Outcome.ANSWERED else "model_not_found"
    text = page(after(a_record(outcome=outcome, error=error, **nobody)).snapshot(), [])[0].decode()
    assert "canary" not in text


def test_ever_new_models_share_one_name_in_the_end() -> None:
    metrics = after(*(a_record(answered_model=f"model-{number}") for number in range(MOST_MODELS + 50)))
    counted = {labels[-1]: number for labels, number in metrics.snapshot().counted["membrain_requests_total"].items()}
    assert (counted["other"], counted["model-0"], len(counted)) == (50, 1, MOST_MODELS + 1)
    assert {len(rows) for rows in metrics.snapshot().spreads.values()} == {MOST_MODELS + 1, 2 * (MOST_MODELS + 1)}


def test_a_name_that_would_break_the_page_is_escaped() -> None:
    name = 'a"b\\c\nd{e="f"} 1'
    assert value(
        after(a_record(answered_model=name)), "membrain_cost_dollars_total", provider="openai", model=name
    ) == pytest.approx(0.0009)


# --- the page ------------------------------------------------------------------------------------------------


def test_every_family_is_on_the_page_from_the_start_and_says_what_it_is() -> None:
    text = page(Metrics().snapshot(), [])[0].decode()
    for family in FAMILIES:
        name = family.name
        assert re.search(rf"^# HELP {name} \S", text, re.MULTILINE), name
        assert f"# TYPE {name} {family.kind}\n" in text


def test_a_rate_can_be_drawn_before_the_first_one_was_counted() -> None:
    assert value(Metrics(), "membrain_rate_limited_total") == 0


def test_it_is_told_in_the_form_that_is_asked_for() -> None:
    text, kind = page(after(a_record()).snapshot(), [])
    assert kind.startswith("text/plain; version=0.0.4")
    assert list(text_string_to_metric_families(text.decode()))
    text, kind = page(after(a_record()).snapshot(), [], OPEN_METRICS)
    assert kind.startswith("application/openmetrics-text")
    assert list(open_families(text.decode()))
    assert text.endswith(b"# EOF\n")


def test_counting_imports_no_library() -> None:
    code = "import sys; from membrain.metrics import Metrics; Metrics(); print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_counting_takes_microseconds() -> None:
    metrics, record = Metrics(), a_record()
    best = min(timed(metrics, record) for _ in range(5))
    assert best < 100e-6, f"{best * 1e6:.1f} µs"  # some 6 where nobody else works


def timed(metrics: Metrics, record: AuditRecord) -> float:
    """Seconds for one of a thousand."""
    began = time.perf_counter()
    for _ in range(1_000):
        metrics.finished(record)
    return (time.perf_counter() - began) / 1_000


def test_the_documents_list_every_metric() -> None:
    assert table() in (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
