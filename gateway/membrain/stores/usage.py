"""What was asked and what it came to, summed in SQL: by model, provider, key, project, day or outcome.

Reads the audit's index, and is stopped after two seconds as every question is. It knows no budget; what others know of
budgets is told here beside the sums, with what they come to at the present pace.
"""

from __future__ import annotations

import sqlite3
from calendar import monthrange
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from membrain.errors import BadRequest
from membrain.stores.base import Balance, UsageQuery, UsageReader, UsageRow
from membrain.stores.reading import SqliteReader, micros

BY: dict[str, str] = {
    "model": "coalesce(answered_model, '')",
    "provider": "coalesce(provider, '')",
    "key": "caller",
    "caller": "caller",
    "project": "project",
    "day": "strftime('%Y-%m-%d', at / 1000000, 'unixepoch')",
    "outcome": "outcome",
}
"""What one may sum by, and the text that a row is named by. The model is the one that answered, and a day is one of
UTC; the name is empty where nobody answered, or no key was used."""

CONDITIONS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "since": ("at >= :since", micros),
    "until": ("at < :until", micros),
    "model": ("answered_model = :model", str),
    "provider": ("provider = :provider", str),
    "caller": ("caller = :caller", str),
    "key_id": ("key_id = :key_id", str),
    "project": ("project = :project", str),
    "outcome": ("outcome = :outcome", str),
}
"""How each part of a question is asked."""

SAVED = "saved_micros"
"""A column that older files do not have; then nothing is known to be saved."""

SUMS = """
SELECT {name} AS named, count(*), total(outcome = 'answered'), total(prompt_tokens), total(completion_tokens),
       total(cost_micros), total(outcome = 'answered' AND cost_micros IS NULL AND NOT cached), total(cached),
       total({saved}), total(pii_findings_count), coalesce(max(CASE WHEN outcome = 'answered' THEN ms END), 0.0)
FROM exchanges {where} GROUP BY named ORDER BY {order}
"""  # total() and not sum(): two absurd counts of an upstream must not make every later sum overflow.

DEAREST = "named = '', total(cost_micros) DESC, count(*) DESC, named"
"""The order of rows that have none of their own; what has no name comes last."""

EARLY = 0.02
"""The share of a period before which nothing is foretold: a pace of minutes says nothing of a month."""

Balances: TypeAlias = Callable[[], Iterable[Balance]]
"""What there is of budgets now. A period is as the ledger names it (`2026-11-22`, `2026-11`, `total`) or in a word."""


class UsageFile(SqliteReader):
    """The sums of one audit file, asked as its records are. Any thread may ask.

    NotFound when there is no file yet. GuardFailed when the file cannot be read.
    """

    def rows(self, query: UsageQuery) -> list[UsageRow]:
        """A row for each name, the dearest first; days in their order. BadRequest for a question without sense."""
        if query.by not in BY:
            raise BadRequest(f"One may sum by {', '.join(BY)}.", param="by")
        with self._asking() as database:
            return usage(database, query)


def usage(database: sqlite3.Connection, query: UsageQuery) -> list[UsageRow]:
    """The rows of one question, of an open file."""
    asked = {name: value for name in CONDITIONS if (value := getattr(query, name)) is not None}
    parts = [CONDITIONS[name][0] for name in asked]
    known = {row[1] for row in database.execute("PRAGMA table_info(exchanges)")}
    sums = SUMS.format(
        name=BY[query.by],
        saved=SAVED if SAVED in known else "0",
        where=f"WHERE {' AND '.join(parts)}" if parts else "",
        order="named" if query.by == "day" else DEAREST,
    )
    found = database.execute(sums, {name: CONDITIONS[name][1](value) for name, value in asked.items()})
    return [UsageRow(*[str(name), *map(int, counts), slowest]) for name, *counts, slowest in found]


def totals(rows: Iterable[UsageRow]) -> dict[str, Any]:
    """What *rows* come to together: their fields, but for the name."""
    summed = asdict(UsageRow(""))
    for row in rows:
        for name in summed:
            summed[name] = (
                max(summed[name], row.slowest_ms) if name == "slowest_ms" else summed[name] + getattr(row, name)
            )
    del summed["name"]
    return summed


def answer(file: UsageReader, query: UsageQuery, balances: Balances, now: datetime) -> dict[str, Any]:
    """The totals, the rows they are made of, and the budgets; as JSON-ready data."""
    rows = file.rows(query)
    return {
        **totals(rows),
        "by": query.by,
        "rows": [row.to_dict() for row in rows],
        "budgets": [told(each, now) for each in balances()],
    }


# Budgets

_SPANS = {10: "day", 7: "month"}
"""What a period is by the length of its name in the ledger."""


def told(balance: Balance, now: datetime) -> dict[str, Any]:
    """A budget as JSON-ready data, its period in a word, with what it comes to by the end of that."""
    period = _SPANS.get(len(balance.period), balance.period) if balance.period[:1].isdecimal() else balance.period
    return {
        "owner": balance.owner,
        "period": period,
        "limit_micros": balance.limit,
        "spent_micros": balance.spent,
        "reserved_micros": balance.reserved,
        "percent": balance.percent,
        "forecast_micros": forecast(period, balance.spent, now),
    }


def forecast(period: str, spent_micros: int, now: datetime) -> int | None:
    """What a day or month of UTC comes to if it goes on as it went; None too early in it, and for what never ends."""
    gone = elapsed(period, now)
    return None if gone is None or gone < EARLY else round(spent_micros / gone)


def elapsed(period: str, now: datetime) -> float | None:
    """The share of the present day or month that is over, from 0 to 1; None for a period without an end."""
    here = now.astimezone(UTC)
    midnight = here.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return (here - midnight) / timedelta(days=1)
    if period == "month":
        return (here - midnight.replace(day=1)) / timedelta(days=monthrange(here.year, here.month)[1])
    return None
