"""Traces and metrics for an OpenTelemetry collector, if the settings name one: a span for each exchange that ended.

`finished` only hands the record over; a thread of our own makes spans and measurements of it, and the SDK's threads
send them as OTLP over HTTP. What is said never leaves with them, nor who said it: `genai.ON_A_SPAN` lists all that
does. Nothing here is global, so a program that uses OpenTelemetry itself is not disturbed. Needs the extra `otel`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from queue import Full, Queue
from typing import TYPE_CHECKING

from membrain import __version__
from membrain.errors import Misconfigured
from membrain.genai import DURATIONS, GENAI, OPERATION, SIZES, TOKEN_TYPE, attributes, operation, who
from membrain.records import AuditRecord

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

log = logging.getLogger("membrain.telemetry")

MOST_WAITING = 10_000
"""Exchanges that wait for our thread; further ones are counted, and lost."""

MOST_SPANS, MOST_AT_ONCE = 50_000, 2_000
"""Spans that wait for the SDK's thread, and that go in one batch. An exchange has some six."""

GOODBYE_SECONDS = 3.0
"""How long the last batch may take when the gateway ends."""

SEND_SECONDS = 5.0
"""How long one batch may take, with all its tries."""

MICROS = 1_000_000


class Telemetry:
    """What sends it. `finished` is for any thread and never waits."""

    def __init__(self, traces: TracerProvider, meters: MeterProvider) -> None:
        self.lost = 0
        """Exchanges of which nothing was sent, because too many came at once."""
        self._traces, self._meters = traces, meters
        self._tracer = traces.get_tracer("membrain", __version__)
        self._measure = Measures(meters)
        self._waiting: Queue[AuditRecord | None] = Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name="membrain-telemetry", daemon=True)
        self._thread.start()

    def finished(self, record: AuditRecord) -> None:
        """An exchange ended. About a microsecond."""
        try:
            self._waiting.put_nowait(record)
        except Full:
            self.lost += 1

    def close(self, seconds: float = GOODBYE_SECONDS) -> None:
        """Send what still waits, for *seconds* at most; a collector that is away must not keep a gateway from ending.

        Waits, so it is for a thread. May be called twice.
        """
        ending = threading.Thread(target=self._end, name="membrain-telemetry-end", daemon=True)
        ending.start()
        ending.join(seconds)

    def _end(self) -> None:
        self._waiting.put(None)
        self._thread.join()
        if self.lost:
            log.warning("%d exchanges came too fast to be told to OpenTelemetry", self.lost)
        self._traces.shutdown()
        self._meters.shutdown()

    def _work(self) -> None:
        while (record := self._waiting.get()) is not None:
            try:
                trace(self._tracer, record)
                self._measure(record)
            except Exception as fault:  # noqa: BLE001  # one odd record must not end all telemetry
                log.warning("an exchange could not be told to OpenTelemetry: %s", type(fault).__name__)


def telemetry(endpoint: str, instance: str) -> Telemetry:
    """What sends traces and metrics to *endpoint* (`http://host:4318`), signed with this run's *instance*.

    Takes a tenth of a second, for the imports. Misconfigured without the extra `otel`.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        said = "`otel.endpoint` is set, but OpenTelemetry is not installed."
        raise Misconfigured(said, hint="pip install 'membrain[otel]'") from None
    base, resource = endpoint.rstrip("/"), resource_of(Resource.create, instance)
    traces = TracerProvider(resource=resource, shutdown_on_exit=False)
    spans = OTLPSpanExporter(f"{base}/v1/traces", timeout=SEND_SECONDS)
    traces.add_span_processor(BatchSpanProcessor(spans, max_queue_size=MOST_SPANS, max_export_batch_size=MOST_AT_ONCE))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{base}/v1/metrics", timeout=SEND_SECONDS))
    return Telemetry(traces, MeterProvider([reader], resource, shutdown_on_exit=False))


def resource_of(create: Callable[[dict[str, str]], Resource], instance: str) -> Resource:
    """Who sends it."""
    return create({"service.name": "membrain", "service.version": __version__, "service.instance.id": instance})


# Traces


def trace(tracer: Tracer, record: AuditRecord) -> None:
    """The span of an exchange, and one within it for each room that it went through."""
    from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

    begin = nanoseconds(record.time)
    span = tracer.start_span(
        f"{operation(record)} {record.model}", kind=SpanKind.CLIENT, attributes=attributes(record), start_time=begin
    )
    if record.error is not None:
        span.set_status(Status(StatusCode.ERROR))
    within = set_span_in_context(span)
    for name, came, left in rooms(record, begin):
        tracer.start_span(f"membrain.{name}", within, start_time=came).end(left)
    span.end(begin + round((record.ms or 0) * 1_000_000))


def nanoseconds(time: str) -> int:
    """An RFC 3339 time in nanoseconds since 1970."""
    then = datetime.fromisoformat(time)
    return (then - datetime.fromisoformat("1970-01-01T00:00:00Z")) // timedelta(microseconds=1) * 1_000


def rooms(record: AuditRecord, begin: int) -> Iterator[tuple[str, int, int]]:
    """Each room with the time at which it began and ended, in nanoseconds; they follow one another."""
    for step in record.steps:
        end = begin + round(step.ms * 1_000_000)
        yield step.room, begin, end
        begin = end


# Metrics


class Measures:
    """The instruments of the conventions, and the cost, which they do not have."""

    def __init__(self, meters: MeterProvider) -> None:
        meter = meters.get_meter("membrain", __version__)
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage", "{token}", "Tokens in and out.", explicit_bucket_boundaries_advisory=SIZES
        )
        self._took = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "From the door to the outcome.",
            explicit_bucket_boundaries_advisory=DURATIONS,
        )
        self._first = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            "s",
            "From the door to the first piece of a streamed answer.",
            explicit_bucket_boundaries_advisory=DURATIONS,
        )
        self._cost = meter.create_counter("membrain.cost", "USD", "What exchanges cost, where that is known.")

    def __call__(self, record: AuditRecord) -> None:
        """Measure an exchange that ended."""
        labels = {OPERATION: operation(record), GENAI["provider"]: who(record)}
        if record.answered_model is not None:  # never the name that a caller typed
            labels[GENAI["answered_model"]] = record.answered_model
        failed = {} if record.error is None else {GENAI["error"]: record.error}
        if record.ms is not None:
            self._took.record(record.ms / 1000, labels | failed)
        if record.first_ms is not None and record.stream:
            self._first.record(record.first_ms / 1000, labels)
        if not record.cached:  # what was billed; a known answer used none
            for kind, tokens in (("input", record.prompt_tokens), ("output", record.completion_tokens)):
                if tokens is not None:
                    self._tokens.record(tokens, labels | {TOKEN_TYPE: kind})
        if record.cost_micros is not None:
            self._cost.add(record.cost_micros / MICROS, labels)
