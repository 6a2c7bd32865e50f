"""Telemetry, against a receiver of OTLP over HTTP on this machine: what arrives there, and what never does."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from membrain import __version__
from membrain.errors import Misconfigured
from membrain.records import Attempt, AuditRecord, Finding, Outcome, Step
from membrain.telemetry import Telemetry, telemetry
from tests.served import free_port


@dataclass
class Receiver:
    """What a collector was sent."""

    url: str
    bodies: list[tuple[str, bytes]] = field(default_factory=list)

    def spans(self) -> list[Span]:
        """Every span, as it came."""
        asked = [ExportTraceServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/traces"]
        return [
            span for each in asked for resource in each.resource_spans for s in resource.scope_spans for span in s.spans
        ]

    def resource(self) -> dict[str, Any]:
        """Who sent them."""
        body = next(body for path, body in self.bodies if path == "/v1/traces")
        return plain(ExportTraceServiceRequest.FromString(body).resource_spans[0].resource.attributes)

    def metrics(self) -> dict[str, Any]:
        """The last state of every metric, by name."""
        asked = [ExportMetricsServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/metrics"]
        return {
            metric.name: metric
            for each in asked
            for resource in each.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def plain(attributes: Any) -> dict[str, Any]:
    """OTLP's attributes as a dictionary."""
    return {each.key: unpacked(each.value) for each in attributes}


def unpacked(value: Any) -> Any:
    """One OTLP value."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [unpacked(each) for each in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def receiving(status: int = 200, pause: float = 0) -> Iterator[Receiver]:
    """A collector on a port of its own, that answers with *status* after *pause* seconds."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            packed = self.headers.get("content-encoding") == "gzip"
            receiver.bodies.append((self.path, gzip.decompress(body) if packed else body))
            time.sleep(pause)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def a_record(**fields: Any) -> AuditRecord:
    """An answered exchange, with something in every field."""
    given: dict[str, Any] = {
        "stream": True,
        "caller": "canary-name",
        "key_id": "canary-key",
        "user": "canary-user",
        "answered_model": "gpt-4o-2024-08-06",
        "provider": "openai",
        "outcome": Outcome.ANSWERED,
        "status": 200,
        "ms": 412.5,
        "first_ms": 180.25,
        "prompt_tokens": 310,
        "completion_tokens": 160,
        "cached_tokens": 12,
        "cost_micros": 900,
        "pii_findings_count": 1,
        "pii_labels": ("EMAIL",),
        "findings": (Finding("EMAIL", "canary-place", "redact"),),
        "attempts": (Attempt("openai", "gpt-4o", 300.0),),
        "steps": (Step("audit", 0.5), Step("pii", 1.5, "canary-note"), Step("dispatch", 400.0)),
    }
    asked = {"id": "x1", "time": "2026-11-22T06:00:00.250Z", "dialect": "chat", "path": "/v1/canary", "model": "gpt-4o"}
    return AuditRecord(**{**asked, **given, **fields})


def after(receiver: Receiver, *records: AuditRecord) -> Receiver:
    """What has arrived when all of it was sent."""
    sender = telemetry(f"{receiver.url}/", "run-1")
    for record in records:
        sender.finished(record)
    sender.close(10)
    return receiver


# --- what arrives --------------------------------------------------------------------------------------------


def test_an_exchange_arrives_as_a_span_with_its_rooms() -> None:
    with receiving() as receiver:
        after(receiver, a_record())
    spans = {span.name: span for span in receiver.spans()}
    assert set(spans) == {"chat gpt-4o", "membrain.audit", "membrain.pii", "membrain.dispatch"}
    whole = spans["chat gpt-4o"]
    began = 1_795_327_200_250_000_000
    assert (whole.start_time_unix_nano, whole.end_time_unix_nano) == (began, began + 412_500_000)
    assert whole.kind == Span.SpanKind.SPAN_KIND_CLIENT
    assert whole.status.code == Status.StatusCode.STATUS_CODE_UNSET
    room = spans["membrain.pii"]
    assert (room.trace_id, room.parent_span_id) == (whole.trace_id, whole.span_id)
    assert (room.start_time_unix_nano, room.end_time_unix_nano) == (began + 500_000, began + 2_000_000)


def test_its_attributes_are_those_of_the_conventions() -> None:
    with receiving() as receiver:
        after(receiver, a_record())
    found = plain(next(span for span in receiver.spans() if span.name == "chat gpt-4o").attributes)
    assert {name: value for name, value in found.items() if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.time_to_first_chunk": 0.18025,
        "gen_ai.usage.input_tokens": 310,
        "gen_ai.usage.output_tokens": 160,
        "gen_ai.usage.cache_read.input_tokens": 12,
    }
    assert found["membrain.pii.labels"] == ["EMAIL"]
    assert found["membrain.cost.micros"] == 900
    resource = receiver.resource()
    assert (resource["service.name"], resource["service.version"]) == ("membrain", __version__)
    assert resource["service.instance.id"] == "run-1"


def test_a_failure_is_one_there_too() -> None:
    with receiving() as receiver:
        after(receiver, a_record(outcome=Outcome.FAILED, error="provider_failed", steps=()))
    (span,) = receiver.spans()
    assert span.status.code == Status.StatusCode.STATUS_CODE_ERROR
    assert plain(span.attributes)["error.type"] == "provider_failed"


def test_metrics_arrive_with_the_names_units_and_bounds_of_the_conventions() -> None:
    with receiving() as receiver:
        after(receiver, a_record(), a_record(model="auto"))
    found = receiver.metrics()
    assert {name: metric.unit for name, metric in found.items()} == {
        "gen_ai.client.token.usage": "{token}",
        "gen_ai.client.operation.duration": "s",
        "gen_ai.client.operation.time_to_first_chunk": "s",
        "membrain.cost": "USD",
    }
    (took,) = found["gen_ai.client.operation.duration"].histogram.data_points
    assert (took.count, took.sum) == (2, 0.825)
    assert list(took.explicit_bounds)[:3] == [0.01, 0.02, 0.04]
    assert plain(took.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
    }
    tokens = {
        plain(point.attributes)["gen_ai.token.type"]: point.sum
        for point in found["gen_ai.client.token.usage"].histogram.data_points
    }
    assert tokens == {"input": 620, "output": 320}
    (cost,) = found["membrain.cost"].sum.data_points
    assert cost.as_double == pytest.approx(0.0018)


def test_neither_who_asked_nor_what_was_said_ever_leaves() -> None:
    with receiving() as receiver:
        after(receiver, a_record(), a_record(outcome=Outcome.FAILED, error="all_providers_failed"))
    assert receiver.bodies
    assert all(b"canary" not in body for _, body in receiver.bodies)


def test_a_known_answer_uses_no_tokens() -> None:
    with receiving() as receiver:
        after(receiver, a_record(cached=True, cost_micros=0, attempts=()))
    assert "gen_ai.client.token.usage" not in receiver.metrics()


def test_records_of_many_threads_all_arrive() -> None:
    with receiving() as receiver:
        sender = telemetry(receiver.url, "run-1")
        threads = [
            threading.Thread(target=lambda: [sender.finished(a_record(steps=())) for _ in range(50)]) for _ in range(4)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        sender.close(10)
    assert len(receiver.spans()) == 200
    assert sender.lost == 0


# --- what must not happen ------------------------------------------------------------------------------------


def test_a_collector_that_is_away_keeps_nobody_from_ending() -> None:
    sender = telemetry(f"http://127.0.0.1:{free_port()}", "run-1")
    sender.finished(a_record())
    began = time.monotonic()
    sender.close(0.5)
    assert time.monotonic() - began < 2


def test_a_collector_that_is_slow_costs_the_gateway_nothing() -> None:
    with receiving(pause=0.4) as receiver:
        sender = telemetry(receiver.url, "run-1")
        records = [a_record() for _ in range(200)]
        began = time.monotonic()
        for record in records:
            sender.finished(record)
        assert time.monotonic() - began < 0.2
        sender.close(10)


def test_what_is_too_much_is_lost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("membrain.telemetry.MOST_WAITING", 5)
    monkeypatch.setattr(Telemetry, "_work", lambda self: None)  # nobody takes them
    with receiving() as receiver:
        sender = telemetry(receiver.url, "run-1")
        for _ in range(8):
            sender.finished(a_record())
        assert sender.lost == 3
        sender.close(0.1)


def test_a_record_that_makes_no_sense_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with receiving() as receiver:
        after(receiver, a_record(time="canary-time"), a_record())
    assert "chat gpt-4o" in {span.name for span in receiver.spans()}
    assert "ValueError" in caplog.text
    assert "canary" not in caplog.text


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(Misconfigured, match="OpenTelemetry is not installed") as raised:
        telemetry("http://127.0.0.1:4318", "run-1")
    assert raised.value.hint == "pip install 'membrain[otel]'"


def test_it_is_imported_only_where_it_is_wanted() -> None:
    code = "import sys, membrain.telemetry, membrain.genai; print([n for n in sys.modules if 'opentelemetry' in n])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
