"""Counts of what happened since the start, for a Prometheus server that asks: plain numbers, kept as exchanges end.

`Metrics` is for the event loop and costs a few microseconds an exchange; `page` writes what it counted, in any
thread, and only there is the Prometheus library imported. No label is a value, a key, a caller's own label, or a
name that a caller typed: models are told by the name under which they answered, and of those two hundred at most.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from membrain import __version__
from membrain.genai import DURATIONS, GENAI, OPERATION, SIZES, TOKEN_TYPE, operation, who
from membrain.records import AuditRecord

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Kind = Literal["counter", "gauge", "histogram"]
Labels: TypeAlias = tuple[str, ...]

MOST_MODELS = 200
"""Names of models that are told apart."""
OTHER = "other"
"""The name of all further ones."""


def _spelt(*names: str) -> Labels:
    """OpenTelemetry's names as Prometheus spells them."""
    return tuple(name.replace(".", "_") for name in names)


WHERE = _spelt(OPERATION, GENAI["provider"], GENAI["answered_model"])


class Family(NamedTuple):
    """A metric: its name as it is on the page, and what it counts."""

    name: str
    kind: Kind
    labels: Labels
    words: str
    bounds: tuple[float, ...] = ()


REQUESTS = Family(
    "membrain_requests_total",
    "counter",
    ("outcome", "dialect", "provider", "model"),
    "Exchanges that ended, by how they ended and who answered.",
)
TOKENS = Family(
    "gen_ai_client_token_usage",
    "histogram",
    (*WHERE, *_spelt(TOKEN_TYPE)),
    "Tokens of an exchange, in (input) and out (output).",
    SIZES,
)
TOOK = Family(
    "gen_ai_client_operation_duration_seconds",
    "histogram",
    (*WHERE, *_spelt(GENAI["error"])),
    "From the door to the outcome.",
    DURATIONS,
)
FIRST = Family(
    "gen_ai_client_operation_time_to_first_chunk_seconds",
    "histogram",
    WHERE,
    "From the door to the first piece of a streamed answer.",
    DURATIONS,
)
COST = Family(
    "membrain_cost_dollars_total",
    "counter",
    ("provider", "model"),
    "What exchanges cost, where that is known, in US dollars.",
)
UNPRICED = Family(
    "membrain_unpriced_total",
    "counter",
    ("provider", "model"),
    "Answers of a provider whose cost is not known.",
)
CACHE = Family(
    "membrain_cache_total",
    "counter",
    ("result",),
    "Exchanges that the cache answered (hit), and that a provider was asked for (miss).",
)
SAVED = Family("membrain_saved_dollars_total", "counter", (), "What cached answers cost when they were made.")
FOUND = Family("membrain_pii_findings_total", "counter", (), "Personal values that were found in requests.")
LABELLED = Family(
    "membrain_pii_exchanges_total",
    "counter",
    ("label",),
    "Exchanges in whose request the label was found.",
)
ATTEMPTS = Family(
    "membrain_upstream_attempts_total",
    "counter",
    ("provider", "error"),
    "Tries at a provider; the error is empty where it answered.",
)
LIMITED = Family("membrain_rate_limited_total", "counter", (), "Exchanges that a rate limit refused.")
BUDGET = Family("membrain_budget_refused_total", "counter", (), "Exchanges that a budget refused or cut short.")
RUNNING = Family("membrain_running", "gauge", (), "Exchanges that are on their way now.")
INFO = Family("membrain_build_info", "gauge", ("version",), "Always 1.")
LIMIT, SPENT, RESERVED = (
    Family(f"membrain_budget_{name}_dollars", "gauge", ("owner", "period"), words)
    for name, words in (
        ("limit", "What may be spent in the present period, in US dollars, by the machine and by projects."),
        ("spent", "What was spent of it."),
        ("reserved", "What is held of it for exchanges on their way."),
    )
)

FAMILIES = (
    *(REQUESTS, TOKENS, TOOK, FIRST, COST, UNPRICED, CACHE, SAVED, FOUND, LABELLED, ATTEMPTS, LIMITED, BUDGET),
    *(RUNNING, LIMIT, SPENT, RESERVED, INFO),
)
"""Every metric, in the order of the page."""

MONEY = frozenset({COST.name, SAVED.name, LIMIT.name, SPENT.name, RESERVED.name})
"""Kept in whole micro-dollars, and told in dollars."""
MICROS = 1_000_000

RATE_CODES = frozenset({"rate_limit_exceeded"})
BUDGET_CODES = frozenset({"budget_exceeded", "price_unknown"})
"""Codes of errors that a limit of ours raises."""

PUBLIC = ("machine", "project:")
"""Owners of budgets that are told. A key may be of one run only, and a caller's own label could be anything."""


class Spread:
    """How many values fell into which bucket, and their sum. The last bucket has no upper bound."""

    __slots__ = ("counts", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.sum = 0.0

    def add(self, value: float, bounds: tuple[float, ...]) -> None:
        """Count *value*; a bound is part of the bucket below it."""
        self.counts[bisect_left(bounds, value)] += 1
        self.sum += value


Counted: TypeAlias = dict[str, dict[Labels, float]]
"""Numbers, by metric and labels."""
Spreads: TypeAlias = dict[str, dict[Labels, tuple[list[int], float]]]
"""Counts of the buckets and the sum, likewise."""


class Snapshot(NamedTuple):
    """What was counted until now; nobody changes it any more."""

    counted: Counted
    spreads: Spreads


class Metrics:
    """The counts of one gateway. For the event loop only."""

    def __init__(self, running: Callable[[], int] = int) -> None:
        """*running* tells how many exchanges are on their way."""
        self._running = running
        self._models: set[str] = set()
        kept = {each.name: each for each in FAMILIES}
        self._counted: Counted = {name: {} for name, each in kept.items() if each.kind == "counter"}
        self._spreads: dict[str, dict[Labels, Spread]] = {
            name: {} for name, each in kept.items() if each.kind == "histogram"
        }
        for each in kept.values():
            if each.kind == "counter" and not each.labels:
                self._counted[each.name][()] = 0  # a rate can be drawn from the first one on

    def finished(self, record: AuditRecord) -> None:
        """Count an exchange that ended. A few microseconds."""
        provider, model = record.provider or "", self._model(record.answered_model)
        self._add(REQUESTS, (str(record.outcome), record.dialect, provider, model))
        self._cost(record, (provider, model))
        self._spread_out(record, (operation(record), who(record), model))
        for attempt in record.attempts:
            self._add(ATTEMPTS, (attempt.provider, attempt.error or ""))
        if record.pii_findings_count:
            self._add(FOUND, (), record.pii_findings_count)
            for label in record.pii_labels:
                self._add(LABELLED, (label,))
        if record.error is not None:
            for family, codes in ((LIMITED, RATE_CODES), (BUDGET, BUDGET_CODES)):
                if record.error in codes:
                    self._add(family, ())

    def snapshot(self) -> Snapshot:
        """A copy of what was counted, to write down elsewhere."""
        counted = {name: dict(rows) for name, rows in self._counted.items()}
        counted[RUNNING.name] = {(): self._running()}
        counted[INFO.name] = {(__version__,): 1}
        spreads = {
            name: {labels: (list(each.counts), each.sum) for labels, each in rows.items()}
            for name, rows in self._spreads.items()
        }
        return Snapshot(counted, spreads)

    def _model(self, name: str | None) -> str:
        """The name that a model is counted under."""
        if not name or name in self._models:
            return name or ""
        if len(self._models) >= MOST_MODELS:
            return OTHER
        self._models.add(name)
        return name

    def _cost(self, record: AuditRecord, labels: Labels) -> None:
        """What it cost or saved. Nothing is the same as not known."""
        if record.cached:
            self._add(CACHE, ("hit",))
            self._add(SAVED, (), record.saved_micros or 0)
        elif record.attempts:
            self._add(CACHE, ("miss",))
        if record.cost_micros is not None:
            self._add(COST, labels, record.cost_micros)
        elif record.provider and record.outcome == "answered" and not record.cached:
            self._add(UNPRICED, labels)

    def _spread_out(self, record: AuditRecord, labels: Labels) -> None:
        """How large and how slow it was."""
        if record.ms is not None:
            self._observe(TOOK, (*labels, record.error or ""), record.ms / 1000)
        if record.first_ms is not None and record.stream:
            self._observe(FIRST, labels, record.first_ms / 1000)
        if not record.cached:  # what was billed; a known answer used none
            for kind, tokens in (("input", record.prompt_tokens), ("output", record.completion_tokens)):
                if tokens is not None:
                    self._observe(TOKENS, (*labels, kind), tokens)

    def _add(self, family: Family, labels: Labels, amount: int = 1) -> None:
        rows = self._counted[family.name]
        rows[labels] = rows.get(labels, 0) + amount

    def _observe(self, family: Family, labels: Labels, value: float) -> None:
        rows = self._spreads[family.name]
        if (spread := rows.get(labels)) is None:
            spread = rows[labels] = Spread(len(family.bounds))
        spread.add(value, family.bounds)


def page(snapshot: Snapshot, budgets: Iterable[Mapping[str, Any]], accept: str = "") -> tuple[bytes, str]:
    """The page of metrics and its media type: Prometheus' own text, or OpenMetrics where *accept* asks for it.

    *budgets* as `GET /api/usage` tells them: `owner`, `period`, `limit_micros`, `spent_micros`, `reserved_micros`.
    """
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector

    class Counts(Collector):
        def collect(self) -> Iterator[Metric]:
            return families(snapshot, budgets)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Counts())
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


def families(snapshot: Snapshot, budgets: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    """Every metric with its numbers, in the order of the page."""
    counted = {**snapshot.counted, **_budgets(budgets)}
    for family in FAMILIES:
        if family.kind == "histogram":
            yield _histogram(family, snapshot.spreads[family.name])
        else:
            yield _numbers(family, counted[family.name])


def _numbers(family: Family, rows: Mapping[Labels, float]) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    told = make(family.name, family.words, labels=family.labels)
    for labels, number in rows.items():
        told.add_metric(labels, number / MICROS if family.name in MONEY else number)
    return told


def _histogram(family: Family, rows: Mapping[Labels, tuple[list[int], float]]) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    told = HistogramMetricFamily(family.name, family.words, labels=family.labels)
    bounds = [*(str(float(bound)) for bound in family.bounds), "+Inf"]
    for labels, (counts, total) in rows.items():
        sums = [sum(counts[: place + 1]) for place in range(len(counts))]
        told.add_metric(labels, list(zip(bounds, sums, strict=True)), total)
    return told


def _budgets(budgets: Iterable[Mapping[str, Any]]) -> Counted:
    """What there is of the budgets of the machine and of projects, in micro-dollars."""
    found: Counted = {LIMIT.name: {}, SPENT.name: {}, RESERVED.name: {}}
    for each in budgets:
        owner = str(each["owner"])
        if owner.startswith(PUBLIC):
            labels = (owner, str(each["period"]))
            for family, name in ((LIMIT, "limit_micros"), (SPENT, "spent_micros"), (RESERVED, "reserved_micros")):
                found[family.name][labels] = int(each.get(name) or 0)
    return found


def table() -> str:
    """Every metric as a line of Markdown, for the page that documents them."""
    return "\n".join(
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.words} |"
        for each in FAMILIES
    )
