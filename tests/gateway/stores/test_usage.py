"""Sums of what was asked: right, complete, bounded, and honest about what is not known."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.errors import BadRequest, GuardFailed, NotFound
from membrain.stores import reading
from membrain.stores.base import Balance, UsageQuery, UsageRow
from membrain.stores.usage import BY, UsageFile, answer, elapsed, forecast, told, totals, usage
from tests.gateway.stores.summed import NOON, a_file, a_row

NAMES = {"model": "answered_model", "provider": "provider", "key": "caller", "caller": "caller"}
NAMES |= {"project": "project", "outcome": "outcome"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


def sums(path: Path, **query: Any) -> dict[str, UsageRow]:
    """The rows of a question, by name."""
    return {row.name: row for row in UsageFile(path).rows(UsageQuery(**query))}


CROWD = [
    a_row(NOON + timedelta(hours=7 * number), answered_model=model, provider=provider, caller=caller, project=project)
    | {"outcome": outcome, "cost_micros": cost, "ms": 10.0 * number}
    for number, (model, provider, caller, project, outcome, cost) in enumerate([
        ("gpt-4o", "openai", "aider", "web", "answered", 900),
        ("gpt-4o", "openai", "", "web", "answered", None),
        ("llama3", "ollama", "local", "default", "answered", 0),
        (None, None, "aider", "web", "refused", None),
        (None, "openai", "aider", "api", "failed", None),
        ("claude", "anthropic", "robot", "api", "answered", 2_000_000),
        ("claude", "anthropic", "robot", "api", "aborted", 70),
    ])
]  # fmt: skip


# --- sums ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", NAMES)
def test_sums_are_what_python_adds_up(path: Path, by: str) -> None:
    found = sums(a_file(path, *CROWD), by=by)
    for name in {row[NAMES[by]] or "" for row in CROWD}:
        mine = [row for row in CROWD if (row[NAMES[by]] or "") == name]
        answered = [row for row in mine if row["outcome"] == "answered"]
        assert found[name] == UsageRow(
            name,
            exchanges=len(mine),
            answered=len(answered),
            prompt_tokens=1_000 * len(mine),
            completion_tokens=100 * len(mine),
            cost_micros=sum(row["cost_micros"] or 0 for row in mine),
            unpriced=sum(row["cost_micros"] is None for row in answered),
            masked=len(mine),
            slowest_ms=max((row["ms"] for row in answered), default=0),
        )
    assert sum(row.exchanges for row in found.values()) == len(CROWD)


def test_days_are_those_of_utc_and_stand_in_their_order(path: Path) -> None:
    late = datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC)
    here = datetime(2026, 11, 22, 3, tzinfo=datetime.fromisoformat("2026-11-22T03:00:00+05:00").tzinfo)
    found = sums(a_file(path, a_row(late + timedelta(seconds=1), cost_micros=9), a_row(late), a_row(here)), by="day")
    assert {name: row.exchanges for name, row in found.items()} == {"2026-11-21": 2, "2026-11-22": 1}
    assert list(found) == ["2026-11-21", "2026-11-22"]


def test_the_dearest_stands_first_then_the_busiest(path: Path) -> None:
    rows = [a_row(answered_model=name, cost_micros=cost) for name, cost in (("a", 0), ("b", 0), ("b", 0), ("c", 5))]
    assert list(sums(a_file(path, *rows))) == ["c", "b", "a"]


def test_an_unknown_cost_is_counted_and_never_nothing(path: Path) -> None:
    (row,) = sums(a_file(path, a_row(cost_micros=None), a_row(cost_micros=5))).values()
    assert (row.unpriced, row.cost_micros) == (1, 5)


def test_what_the_cache_answered_is_saved_and_no_unknown_cost(path: Path) -> None:
    a_file(path, a_row(cached=1, cost_micros=None, saved_micros=700), a_row(cached=1, cost_micros=0, saved_micros=300))
    (row,) = sums(path).values()
    assert (row.cached, row.unpriced) == (2, 0)
    with closing(sqlite3.connect(path)) as database:
        known = {each[1] for each in database.execute("PRAGMA table_info(exchanges)")}
    assert row.saved_micros == (1_000 if "saved_micros" in known else 0)


@pytest.mark.parametrize("column", ["", ", saved_micros INTEGER"])
def test_savings_are_read_where_there_is_a_column_for_them(column: str) -> None:
    """A file of before that had none."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(
            "CREATE TABLE exchanges (at, model, answered_model, provider, caller, key_id, project, outcome, ms,"
            f" prompt_tokens, completion_tokens, cost_micros, cached, pii_findings_count{column})"
        )
        database.execute("INSERT INTO exchanges (at, answered_model, outcome, cached) VALUES (1, 'a', 'answered', 1)")
        if column:
            database.execute("UPDATE exchanges SET saved_micros = 800")
        (row,) = usage(database, UsageQuery())
    assert row.saved_micros == (800 if column else 0)


def test_absurd_counts_do_not_break_a_sum(path: Path) -> None:
    (row,) = sums(a_file(path, *(a_row(prompt_tokens=2**62) for _ in range(4)))).values()
    assert row.prompt_tokens == 2**64


# --- questions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"since": NOON + timedelta(hours=7)}, 6),
        ({"until": NOON + timedelta(hours=7)}, 1),
        ({"since": NOON + timedelta(hours=7), "until": NOON + timedelta(hours=21)}, 2),
        ({"model": "gpt-4o"}, 2),
        ({"provider": "openai"}, 3),
        ({"caller": "aider"}, 3),
        ({"key_id": "k1"}, 7),
        ({"key_id": "k2"}, 0),
        ({"project": "api", "outcome": "answered"}, 1),
        ({"project": "it's; DROP TABLE exchanges --"}, 0),
    ],
)
def test_each_filter_keeps_what_it_says(path: Path, query: dict[str, Any], count: int) -> None:
    assert sum(row.exchanges for row in sums(a_file(path, *CROWD), by="outcome", **query).values()) == count


@pytest.mark.parametrize(
    "query",
    [{"by": "user"}, {"by": "1; DROP TABLE exchanges"}, {"since": datetime(2026, 11, 21)}, {"project": "\ud800"}],  # noqa: DTZ001
)
def test_a_question_that_makes_no_sense_is_a_bad_request(path: Path, query: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        UsageFile(a_file(path)).rows(UsageQuery(**query))


def test_no_file_is_no_audit_yet(path: Path) -> None:
    with pytest.raises(NotFound):
        UsageFile(path).rows(UsageQuery())
    assert not path.exists()


def test_sums_that_take_too_long_are_stopped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_file(path, *(a_row() for _ in range(500)))
    monkeypatch.setattr(reading, "SECONDS", -1.0)
    monkeypatch.setattr(reading, "STEPS", 10)
    with pytest.raises(BadRequest, match="took too long"):
        UsageFile(path).rows(UsageQuery())


def test_a_file_that_cannot_be_read_is_told_without_its_content(path: Path) -> None:
    a_file(path, a_row(project="canary"))
    data = bytearray(path.read_bytes())
    data[4_096:] = b"\xff" * (len(data) - 4_096)
    path.write_bytes(data)
    with pytest.raises(GuardFailed) as raised:
        UsageFile(path).rows(UsageQuery())
    assert "canary" not in raised.value.sentence


# --- the answer ----------------------------------------------------------------------------------------------


def test_the_answer_has_the_totals_of_its_rows(path: Path) -> None:
    found = answer(UsageFile(a_file(path, *CROWD)), UsageQuery(by="provider"), tuple, NOON)
    assert found["by"] == "provider"
    assert found["budgets"] == []
    kinds = Counter[str]()
    for row in found["rows"]:
        kinds.update({name: value for name, value in row.items() if isinstance(value, int)})
    assert {name: found[name] for name in kinds} == kinds
    assert found["slowest_ms"] == 50
    assert "name" not in found


def test_the_totals_of_nothing_are_nothing() -> None:
    assert set(totals([]).values()) == {0}


def test_everything_that_one_may_sum_by_can_be_summed_by(path: Path) -> None:
    for by in BY:
        assert sums(a_file(path), by=by) == {}


# --- budgets -------------------------------------------------------------------------------------------------

DAY = datetime(2026, 11, 22, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "now", "share"),
    [
        ("day", DAY, 0.0),
        ("day", DAY + timedelta(hours=6), 0.25),
        ("day", DAY + timedelta(days=1) - timedelta(microseconds=1), 1.0),
        ("month", NOVEMBER, 0.0),
        ("month", NOVEMBER + timedelta(days=15), 0.5),
        ("month", datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC), 1.0),
        ("month", datetime(2027, 2, 15, tzinfo=UTC), 0.5),
        ("total", DAY, None),
    ],
)
def test_how_much_of_a_period_is_over(period: str, now: datetime, share: float | None) -> None:
    assert elapsed(period, now) == (None if share is None else pytest.approx(share, abs=1e-6))


def test_a_period_is_one_of_utc_wherever_one_is() -> None:
    there = datetime.fromisoformat("2026-11-22T02:00:00+05:00")  # still the day before, in UTC
    assert elapsed("day", there) == 21 / 24


def test_the_forecast_goes_on_as_it_went() -> None:
    assert forecast("day", 1_000, DAY + timedelta(hours=6)) == 4_000
    assert forecast("month", 12_600_000, NOVEMBER + timedelta(days=21)) == 18_000_000


def test_nothing_is_foretold_at_the_start_of_a_period_nor_of_what_never_ends() -> None:
    assert forecast("day", 1_000, DAY) is None
    assert forecast("day", 1_000, DAY + timedelta(minutes=28)) is None
    assert forecast("day", 1_000, DAY + timedelta(minutes=29)) is not None
    assert forecast("month", 1_000, NOVEMBER + timedelta(hours=14)) is None
    assert forecast("total", 1_000, DAY + timedelta(hours=6)) is None


@given(st.datetimes(timezones=st.just(UTC)), st.integers(0, 10**15), st.sampled_from(["day", "month"]))
def test_a_forecast_is_never_less_than_what_is_spent(now: datetime, spent: int, period: str) -> None:
    foretold = forecast(period, spent, now)
    assert foretold is None or foretold >= spent


@pytest.mark.parametrize(
    ("period", "word"), [("2026-11-22", "day"), ("2026-11", "month"), ("total", "total"), ("day", "day")]
)
def test_a_period_of_the_ledger_is_told_in_a_word(period: str, word: str) -> None:
    found = told(Balance("machine", period, 5_000_000, 1_830_000, 40_000, 36), DAY + timedelta(hours=12))
    assert found["forecast_micros"] == {"day": 3_660_000, "month": 2_553_488, "total": None}[word]
    assert found | {"forecast_micros": None} == {
        "owner": "machine",
        "period": word,
        "limit_micros": 5_000_000,
        "spent_micros": 1_830_000,
        "reserved_micros": 40_000,
        "percent": 36,
        "forecast_micros": None,
    }


def test_the_answer_tells_the_budgets_that_there_are(path: Path) -> None:
    balances = [Balance("machine", "total", 10, 5, 0, 50), Balance("key:k1", "2026-11-22", 10, 1, 0, 10)]
    found = answer(UsageFile(a_file(path)), UsageQuery(), lambda: balances, DAY)
    assert [(each["owner"], each["period"]) for each in found["budgets"]] == [("machine", "total"), ("key:k1", "day")]
