"""What the dashboard knows: the gateway's events go in one by one, and what there is to see comes out. Pure.

It asks nobody, draws nothing and has no clock of its own. Exchanges are kept as the gateway told them, the newest
`MOST_ROWS`; figures of a longer past are kept as counts (`curves`).
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import floor
from typing import Any, Literal, NamedTuple

from membrain.records import AuditRecord, Outcome
from membrain_cli.console import moment
from membrain_cli.top.curves import Bucket, Series, percentile, slot

Json = Mapping[str, Any]

MOST_ROWS = 1000
"""Exchanges that are kept to be looked at."""
MOST_TRIES = 100
"""Tries that a provider is judged by."""
WINDOWS = (300, 900, 3600)
"""Seconds that one may look back."""
TOLD = 900
"""The window of the gateway's own figures; for the others they are counted here."""
SLOW_MS = 4000
"""From which median on a provider counts as slow."""
BLANK = AuditRecord(id="", time="", dialect="", path="", model="").to_dict()
"""What an exchange's fields are where an older gateway does not tell them."""

Standing = Literal["up", "slow", "off"]


class Start(NamedTuple):
    """What is read once when a gateway is found: its health, the day's sums with the budgets, and what came before."""

    health: Json
    usage: Json
    recent: Sequence[Json]
    """Exchanges, the newest first."""
    holds: Sequence[Json]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """An exchange of the list. `number` grows with each; `words` is what a filter looks at."""

    number: int
    record: Json
    words: str


class Told(NamedTuple):
    """A provider as it is shown: how it stands, the median of its answers in milliseconds, failed tries in percent."""

    name: str
    standing: Standing
    took: float | None
    failed: float
    local: bool
    note: str


@dataclass(slots=True)
class Provider:
    """A provider: what the gateway says of it, and how its last tries went."""

    name: str
    up: bool = True
    local: bool = False
    note: str = ""
    tries: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=MOST_TRIES))
    """Milliseconds, and whether it failed."""

    def told(self) -> Told:
        """How it is now."""
        answered = Counter(slot(ms) for ms, failed in self.tries if not failed)
        took = percentile(answered, 50)
        failed = 100 * sum(failed for _, failed in self.tries) / len(self.tries) if self.tries else 0.0
        standing: Standing = "off" if not self.up else "slow" if took is not None and took > SLOW_MS else "up"
        return Told(self.name, standing, took, failed, self.local, self.note)


@dataclass(frozen=True, slots=True)
class Figures:
    """The four answers: how much, how fast, how dear, how private. Milliseconds, micro-dollars; None is unknown."""

    per_minute: float = 0.0
    today: int = 0
    running: int = 0
    cached: int = 0
    p50: float | None = None
    p99: float | None = None
    first: float | None = None
    spent: int = 0
    limit: int | None = None
    """Of today's budget."""
    saved: int = 0
    masked: int = 0
    labels: tuple[tuple[str, int], ...] = ()
    """What was found in the window, the most frequent first, and how often at least."""


@dataclass(frozen=True, slots=True)
class View:
    """All there is to see at one moment; it does not change when more happens."""

    now: float
    """Seconds since 1970."""
    link: Literal["seeking", "up", "starting", "down"]
    trouble: str
    """Why it is down, if that is known."""
    up_seconds: float
    health: Json
    figures: Figures
    rows: tuple[Row, ...]
    """The newest first, filtered or not."""
    seen: int
    """Exchanges that ever came; with a later view, how many wait."""
    lost: int
    """Of these, how many went by too fast to be shown."""
    providers: tuple[Told, ...]
    budgets: tuple[Json, ...]
    holds: tuple[Json, ...]


class State:
    """Events in, a `View` out."""

    def __init__(self) -> None:
        self.window = TOLD
        self.filter = ""
        self.private_only = False
        self.series = Series()
        self._link: Literal["seeking", "up", "starting", "down"] = "seeking"
        self._trouble = ""
        self._health: Json = {}
        self._snapshot: Json = {}
        self._rows: deque[Row] = deque(maxlen=MOST_ROWS)
        self._known: set[str] = set()
        self._seen = self._lost = self._saved = 0
        self._providers: dict[str, Provider] = {}
        self._budgets: list[dict[str, Any]] = []
        self._holds: dict[str, Json] = {}
        self._counted: tuple[object, ...] = ()
        self._figures = Figures()

    # in

    def take(self, name: str, data: Any) -> None:
        """One event. A name that a newer gateway may have is nothing to us."""
        if (taking := TAKING.get(name)) is not None:
            taking(self, data)

    def begin(self, start: Start) -> None:
        """A gateway was found; what was known of another, or of this one before, is brought up to date."""
        self._link, self._trouble = "up", ""
        self._health, self._snapshot, self._counted = start.health, {}, ()
        self._providers = {each["name"]: provider_of(each) for each in start.health.get("providers", ())}
        self._budgets = [dict(each) for each in start.usage.get("budgets", ())]
        self._saved = start.usage.get("saved_micros", 0)
        self._holds = {each["id"]: each for each in start.holds}
        for each in reversed(start.recent):
            row = {**BLANK, **each}
            if row["outcome"] == Outcome.OPEN:  # it is told once it has ended
                continue
            self._judge(row)
            if row["id"] not in self._known:
                self._list(row)

    def lose(self, trouble: str) -> None:
        """The gateway is gone, or cannot be watched."""
        self._link, self._trouble = "down", trouble
        self._holds.clear()

    def await_start(self, _data: object = None) -> None:
        """Somebody starts the gateway."""
        self._link, self._trouble = "starting", ""

    def add(self, data: Json) -> None:
        """An exchange ended. One that is known already, from what was read at the start, counts once."""
        row = {**BLANK, **data}
        if row["id"] in self._known:
            return
        self._judge(row)
        self._list(row)
        self._spend(row)

    def tell(self, snapshot: Json) -> None:
        """The gateway's own figures."""
        before, now = self._snapshot.get("time", ""), snapshot.get("time", "")
        if before and before[:10] != now[:10]:
            self._begin_day(month=before[:7] != now[:7])
        self._snapshot, self._counted = snapshot, ()

    def hold(self, held: Json) -> None:
        """An exchange begins to wait for a person."""
        self._holds[held["id"]] = held

    def settle(self, settled: Json) -> None:
        """It waits no longer."""
        self._holds.pop(settled["id"], None)

    def alert(self, alert: Json) -> None:
        """A good part of a budget is spent: its limit may be news. The exchange that did it comes by itself."""
        for budget in self._budgets:
            if (budget["owner"], budget["period"]) == (alert["owner"], PERIODS.get(len(alert["period"]), "total")):
                budget["limit_micros"] = alert["limit_micros"]

    def miss(self, number: int) -> None:
        """So many exchanges went by too fast."""
        self._lost += number
        self._seen += number

    def _list(self, row: Json) -> None:
        """Keep an exchange, and count it where it ended."""
        if len(self._rows) == MOST_ROWS:
            self._known.discard(self._rows[-1].record["id"])
        self._seen += 1
        self._known.add(row["id"])
        self._rows.appendleft(Row(self._seen, row, words_of(row)))
        if (ended := ended_at(row)) is not None:
            count(self.series.at(ended), row)

    def _judge(self, row: Json) -> None:
        """Count the tries of an exchange for the providers they were made at."""
        for each in row["attempts"]:
            name, failed = each["provider"], each.get("error") is not None
            provider = self._providers.setdefault(name, Provider(name))
            provider.tries.append((each["ms"], failed))
            provider.up = provider.up or not failed

    def _spend(self, row: Json) -> None:
        """Add what an exchange cost to the budgets it was made of."""
        self._saved += row["saved_micros"] or 0
        owners = {"machine", f"project:{row['project']}", f"user:{row['user']}", f"key:{row['key_id']}"}
        for budget in self._budgets:
            if budget["owner"] in owners:
                budget["spent_micros"] += row["cost_micros"] or 0

    def _begin_day(self, *, month: bool) -> None:
        """Midnight, UTC: what is counted by the day begins anew, and with a *month* what is counted by that."""
        self._saved = 0
        for budget in self._budgets:
            if budget["period"] == "day" or (month and budget["period"] == "month"):
                budget["spent_micros"] = 0

    # out

    @property
    def seen(self) -> int:
        """Exchanges that ever came."""
        return self._seen

    @property
    def linked(self) -> bool:
        """Whether a gateway is watched."""
        return self._link == "up"

    @property
    def waiting(self) -> list[str]:
        """The ids of what waits for a person, oldest first."""
        return [*self._holds]

    def view(self, now: float) -> View:
        """What there is to see *now*, in seconds since 1970."""
        return View(
            now=now,
            link=self._link,
            trouble=self._trouble,
            up_seconds=self._snapshot.get("up_seconds", self._health.get("up_seconds", 0.0)),
            health=self._health,
            figures=self.figures(now),
            rows=tuple(self._rows),
            seen=self._seen,
            lost=self._lost,
            providers=tuple(each.told() for each in self._providers.values()),
            budgets=tuple(dict(each) for each in self._budgets),
            holds=tuple(self._holds.values()),
        )

    def passing(self, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        """Those of *rows* that pass the filter."""
        if not self.filtered:
            return rows
        wanted = sought(self.filter)
        return tuple(row for row in rows if passes(row, wanted, private_only=self.private_only))

    @property
    def filtered(self) -> bool:
        """Whether some exchanges are left out of the list."""
        return bool(self.filter.strip() or self.private_only)

    def widened(self, view: View) -> View:
        """The same moment, looked at through the window of now."""
        lately = self.series.since(view.now - self.window, view.now)
        figures = replace(view.figures, labels=tuple(lately.labels.most_common()), **self._pace(lately))
        return replace(view, figures=figures)

    def figures(self, now: float) -> Figures:
        """The figures of today and of the window until *now*; counted once a second at most."""
        counted = (floor(now), self.window)
        if counted != self._counted:
            self._counted, self._figures = counted, self._count_up(now)
        return self._figures

    def _count_up(self, now: float) -> Figures:
        lately, told = self.series.since(now - self.window, now), self._snapshot
        return Figures(
            today=told.get("today", 0),
            running=told.get("running", 0),
            cached=told.get("cached_today", 0),
            spent=told.get("cost_today_micros", 0),
            masked=told.get("masked_today", 0),
            limit=self._health.get("budget_day_micros"),
            saved=self._saved,
            labels=tuple(lately.labels.most_common()),
            **(self._pace_told() if self.window == TOLD and told else self._pace(lately)),
        )

    def _pace_told(self) -> dict[str, Any]:
        """How much and how fast, as the gateway tells."""
        told = self._snapshot
        spans = {"p50": told.get("p50_ms"), "p99": told.get("p99_ms"), "first": told.get("first_p50_ms")}
        return {"per_minute": told.get("per_minute", 0.0), **spans}

    def _pace(self, lately: Bucket) -> dict[str, Any]:
        """How much and how fast, as counted here."""
        spans = {"p50": percentile(lately.times, 50), "p99": percentile(lately.times, 99)}
        return {"per_minute": lately.count * 60 / self.window, **spans, "first": percentile(lately.firsts, 50)}


TAKING: dict[str, Callable[[State, Any], None]] = {
    "up": State.begin,
    "down": State.lose,
    "starting": State.await_start,
    "exchange": State.add,
    "snapshot": State.tell,
    "hold": State.hold,
    "held": State.settle,
    "budget": State.alert,
    "dropped": State.miss,
}
"""What each event does; the first three are the feed's own, the others `/api/live`'s."""

PERIODS = {10: "day", 7: "month"}
"""What a budget's period is by the length of its name."""


def provider_of(told: Json) -> Provider:
    """A provider as the gateway's health tells of it."""
    return Provider(told["name"], told["up"], told.get("local", False), told.get("note", ""))


def ended_at(row: Json) -> float | None:
    """When an exchange ended, in seconds since 1970; None if its time cannot be read."""
    began = moment(row["time"])
    return None if began is None else began.timestamp() + (row["ms"] or 0) / 1000


def count(bucket: Bucket, row: Json) -> None:
    """Count an exchange. Only answers have a duration that says anything."""
    bucket.count += 1
    bucket.cost += row["cost_micros"] or 0
    bucket.found += row["pii_findings_count"]
    bucket.labels.update(dict(found_in(row)))
    if row["outcome"] == "answered":
        for times, ms in ((bucket.times, row["ms"]), (bucket.firsts, row["first_ms"])):
            if ms is not None:
                times[slot(ms)] += 1


def found_in(row: Json) -> list[tuple[str, int]]:
    """What was found in an exchange and how often, each label at least; exact if the numbers come to the sum on record.

    The record tells the sum, and of each label, place and action that it was there.
    """
    labels, total = row["pii_labels"], row["pii_findings_count"]
    if len(labels) == 1:
        return [(labels[0], total)]
    counted = Counter(each["label"] for each in row["findings"] if each["place"] != "answer")
    return [(label, max(1, counted[label])) for label in labels]


def midnight(now: datetime) -> datetime:
    """When the day of UTC began, by which the gateway counts."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


# --- the filter ----------------------------------------------------------------------------------------------

LOOKED_AT = ("id", "model", "answered_model", "provider", "caller", "project", "user", "outcome", "error")
"""Fields of an exchange that a filter looks at, beside the labels."""


def words_of(row: Json) -> str:
    """What a filter looks at, in small letters."""
    given = [*(row[name] for name in LOOKED_AT), *row["pii_labels"], *(("cache",) if row["cached"] else ())]
    return "\n".join(str(each) for each in given if each).casefold()


def sought(text: str) -> list[tuple[bool, str]]:
    """The words of a filter, each with whether it must be there (or, with a minus before it, must not)."""
    words = re.findall(r"(-?)(\S+)", text.casefold())
    return [(not minus, word) for minus, word in words]


def passes(row: Row, wanted: Iterable[tuple[bool, str]], *, private_only: bool) -> bool:
    """Whether an exchange has all that is wanted, and nothing that is not."""
    if private_only and not row.record["pii_findings_count"]:
        return False
    return all((word in row.words) is there for there, word in wanted)
