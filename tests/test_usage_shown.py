"""Usage and metrics through a real gateway: what it answered, what it shows, and to whom.

Becomes tests/test_usage_shown.py once the rooms are wired.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from membrain_cli.reach import Reach
from tests.cli.shell import environment, invoke
from tests.gateway.test_telemetry import receiving
from tests.served import Served
from tests.sink import Sink


@pytest.fixture
def beside(served: Served) -> dict[str, str]:
    """The environment of somebody whose gateway (`served`) runs."""
    return environment(served.home, MEMBRAIN_PORT=str(served.port))


def sums(served: Served, query: str, **headers: str) -> dict[str, Any]:
    """An answer of /api/usage."""
    found: dict[str, Any] = served.get(f"/api/usage?{query}", **headers).json()
    return found


def issued(served: Served, name: str, project: str) -> str:
    """A new client key."""
    key: str = served.post("/api/keys", {"name": name, "project": project}).json()["key"]
    return key


def test_sums_tell_what_was_answered(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    served.chat("two", stream=True)
    served.chat("three", model="status-400")
    before = served.get("/api/usage").json()
    assert "rows" not in before, "who asks as before is answered as before"
    found = sums(served, "by=provider")
    rows = {row["name"]: row for row in found["rows"]}
    assert sum(row["answered"] for row in rows.values()) == 2
    assert found["exchanges"] == 3
    for name in ("exchanges", "prompt_tokens", "completion_tokens", "cost_micros", "masked", "cached"):
        assert found[name] == before[name]
    shown = invoke(["usage", "--by", "provider", "--json"], beside)
    assert json.loads(shown.out)["rows"] == found["rows"]


def test_both_ways_tell_the_same(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    asked, running = {"by": "model", "since": "2020-01-01T00:00:00Z"}, Reach(beside)
    up = running.usage_by(asked, datetime.now(UTC))
    served.stop()
    assert Reach(beside).usage_by(asked, datetime.now(UTC)) == up


def test_budgets_are_told_whether_or_not_it_runs(tmp_path: Path, sink: Sink) -> None:
    budget = {"MEMBRAIN_BUDGET_DAY": "5", "MEMBRAIN_BUDGET_RULES": "project:web:month=20"}
    with Served(tmp_path / "budget", sink, MEMBRAIN_ROUTING_ATTEMPTS="1", **budget) as served:
        beside = environment(served.home, MEMBRAIN_PORT=str(served.port), **budget)
        served.chat("one")
        up = sums(served, "by=model")["budgets"]
        page = served.get("/metrics").body
    down = json.loads(invoke(["usage", "--json"], beside).out)["budgets"]
    told = [(each["owner"], each["period"], each["limit_micros"]) for each in up]
    assert told == [("machine", "day", 5_000_000), ("project:web", "month", 20_000_000)]
    assert [(each["owner"], each["spent_micros"]) for each in down] == [(e["owner"], e["spent_micros"]) for e in up]
    assert b'membrain_budget_limit_dollars{owner="project:web",period="month"} 20.0' in page


def test_a_key_sees_the_sums_of_its_own_project(served: Served) -> None:
    red, blue = issued(served, "red", "red"), issued(served, "blue", "blue")
    for key in (red, blue, blue):
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
        served.post("/v1/chat/completions", body, **{"x-membrain-api-key": key})
    mine = sums(served, "by=project&project=blue", **{"x-membrain-api-key": red})
    assert [row["name"] for row in mine["rows"]] == ["red"]
    everybodys = sums(served, "by=project")
    assert {row["name"]: row["exchanges"] for row in everybodys["rows"]} == {"red": 1, "blue": 2}
    assert served.get("/api/usage?by=moon").status == 400


def test_the_page_of_metrics_counts_and_holds_nobodys_words(served: Served) -> None:
    served.chat("My mail is canary@example.org", user="canary-user", stream=True)
    served.chat("Hello", model="canary-status-400")
    page = served.get("/metrics")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {family.name: family for family in text_string_to_metric_families(page.body.decode())}
    outcomes = {each.labels["outcome"]: each.value for each in found["membrain_requests"].samples}
    assert outcomes == {"answered": 1, "failed": 1}
    assert b"canary" not in page.body
    assert found["gen_ai_client_operation_time_to_first_chunk_seconds"].samples
    served.assert_sound()


def test_an_exchange_reaches_the_collector_and_its_words_do_not(tmp_path: Path, sink: Sink) -> None:
    with receiving() as receiver:
        with Served(tmp_path / "otel", sink, MEMBRAIN_OTEL_ENDPOINT=receiver.url) as served:
            served.chat("My mail is canary@example.org")
        served.assert_sound()
    names = [span.name for span in receiver.spans()]
    assert names.count("chat gpt-4o") == 1
    assert "membrain.pii" in names
    sent = b"".join(body for _, body in receiver.bodies)
    assert b"canary@example.org" not in sent
    assert ExportTraceServiceRequest.FromString(next(b for path, b in receiver.bodies if path == "/v1/traces"))
