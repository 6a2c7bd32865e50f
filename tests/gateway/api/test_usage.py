"""Questions about usage in a URL: who may see what, what makes no sense, and the page of metrics."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from membrain.api.usage import own, question, scrape, sums, wants_rows
from membrain.errors import BadRequest
from membrain.metrics import Metrics
from membrain.records import Caller
from membrain.stores.base import Balance
from membrain.stores.usage import UsageFile
from tests.gateway.stores.summed import NOON, a_file, a_row

pytestmark = pytest.mark.anyio

ADMIN = Caller(name="local", admin=True)
WEB = Caller(key_id="k1", name="aider", project="web")
BUDGETS = [
    Balance(owner, "2026-11-21", 5_000_000, 1_000_000, 0, 20)
    for owner in ("machine", "project:web", "project:api", "key:k1", "key:k2", "user:web:ada")
]


@pytest.fixture
def reader(tmp_path: Path) -> UsageFile:
    rows = [a_row(project="web"), a_row(project="web", key_id="k2", caller="robot"), a_row(project="api")]
    return UsageFile(a_file(tmp_path / "audit.db", *rows))


async def test_an_admin_sees_every_project(reader: UsageFile) -> None:
    found = await sums(reader, tuple, {"by": "project"}, ADMIN, NOON)
    assert {row["name"]: row["exchanges"] for row in found["rows"]} == {"web": 2, "api": 1}
    assert found["exchanges"] == 3


@pytest.mark.parametrize("asked", [{}, {"project": "api"}, {"project": ""}, {"key_id": "k1"}])
async def test_a_key_sees_its_own_project_whatever_it_asks(reader: UsageFile, asked: dict[str, str]) -> None:
    found = await sums(reader, tuple, {"by": "project", **asked}, WEB, NOON)
    assert {row["name"] for row in found["rows"]} == {"web"}


async def test_filters_and_times_are_read_as_the_audit_reads_them(reader: UsageFile) -> None:
    asked = {"by": "caller", "key_id": "k2", "since": "2026-11-21T12:00:00Z", "until": "2026-11-21T13:00:00 01:00"}
    found = await sums(reader, tuple, asked, ADMIN, NOON)
    assert found["rows"] == [], "the end is left out"
    found = await sums(reader, tuple, {**asked, "until": "2026-11-21T13:00:01 01:00"}, ADMIN, NOON)
    assert [row["name"] for row in found["rows"]] == ["robot"]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"by": "model", "limit": "5"}, "limit"),
        ({"by": "user"}, "by"),
        ({"since": "soon"}, "since"),
        ({"until": "2026-11-21"}, "until"),
    ],
)
async def test_what_makes_no_sense_is_named(reader: UsageFile, asked: dict[str, str], param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        await sums(reader, tuple, asked, ADMIN, NOON)
    assert raised.value.param == param


def test_without_a_word_it_is_by_model() -> None:
    assert question({"until": "2026-11-21T12:00:00Z"}, ADMIN).by == "model"


@pytest.mark.parametrize(
    ("asked", "rows"),
    [({}, False), ({"since": "x", "key_id": "y"}, False), ({"by": "day"}, True), ({"until": ""}, True)],
)
def test_who_asks_as_before_gets_the_plain_totals(asked: dict[str, str], rows: bool) -> None:
    assert wants_rows(asked) is rows


async def test_an_admin_sees_all_budgets_and_a_key_those_it_lives_under(reader: UsageFile) -> None:
    everybodys = await sums(reader, lambda: BUDGETS, {"by": "day"}, ADMIN, NOON)
    assert [each["owner"] for each in everybodys["budgets"]] == [each.owner for each in BUDGETS]
    assert everybodys["budgets"][0]["forecast_micros"] == 2_000_000
    mine = await sums(reader, lambda: BUDGETS, {"by": "day"}, WEB, NOON)
    assert [each["owner"] for each in mine["budgets"]] == ["project:web", "key:k1"]


def test_who_has_no_key_has_no_budget_of_one() -> None:
    nobodys = [Balance("key:None", "total", 1, 1, 0, 100)]
    assert own(nobodys, Caller(project="web")) == []


async def test_the_page_of_metrics_has_the_budgets_by_the_word_for_their_period() -> None:
    text, kind = await scrape(Metrics(), lambda: BUDGETS, datetime.now(UTC) + timedelta(days=1))
    assert kind.startswith("text/plain")
    assert b'membrain_budget_limit_dollars{owner="machine",period="day"} 5.0' in text
    assert b"user:" not in text
