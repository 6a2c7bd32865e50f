"""Questions to the audit, read from text."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from membrain.errors import BadRequest
from membrain.filters import moment, query_from
from membrain.stores.base import AuditQuery
from tests.served import Served


def test_every_filter_is_read() -> None:
    given = {
        "limit": "5",
        "since": "2026-11-21T14:02:11Z",
        "model": "gpt-4o*",
        "cached": "no",
        "min_cost_micros": "10000",
        "slower_ms": "2000.5",
        "outcome": "refused",
        "user": "ada",
        "id": "7f3a9c",
    }
    assert query_from(given) == AuditQuery(
        limit=5,
        since=datetime(2026, 11, 21, 14, 2, 11, tzinfo=UTC),
        model="gpt-4o*",
        cached=False,
        min_cost_micros=10_000,
        slower_ms=2000.5,
        outcome="refused",
        user="ada",
        id="7f3a9c",
    )


def test_a_plus_sign_that_a_url_turned_into_a_blank_is_read_as_meant() -> None:
    assert moment("2026-11-21T14:02:11 01:00", "since") == datetime(2026, 11, 21, 13, 2, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("limit", "many"),
        ("slower_ms", ""),
        ("cached", "perhaps"),
        ("since", "yesterday"),
        ("until", "2026-11-21T14:02:11"),
        ("outcome", "fine"),
        ("colour", "red"),
    ],
)
def test_what_makes_no_sense_is_named(name: str, text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        query_from({name: text})
    assert refused.value.param == name


def test_a_gateway_filters_turns_pages_and_finds_by_id(served: Served) -> None:
    """The filters of `GET /api/audit`, asked of a real gateway."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    users = ("ada", "bob", "ada", "bob", "ada")
    made = [
        served.post("/v1/chat/completions", body, **{"x-membrain-user-id": user}).headers["x-request-id"]
        for user in users
    ]

    def ids(**asked: object) -> list[str]:
        return [row["id"] for row in served.audit(**asked)]

    assert ids() == made[::-1]
    assert ids(user="ada") == [made[4], made[2], made[0]]
    assert ids(user="ada", limit=2) == [made[4], made[2]]
    assert ids(user="ada", limit=2, before=made[2]) == [made[0]]
    assert ids(after=made[1][:12], limit=2) == [made[3], made[2]]
    assert ids(id=made[3]) == [made[3]]
    assert ids(id=made[3], user="ada") == ids(user="nobody") == ids(id="7f3a9c") == []
    assert served.get(f"/api/audit/{made[0][:12]}").json()["id"] == made[0]


WRONG = (
    ("limit=0", 400, "limit"),
    ("limit=10001", 400, "limit"),
    ("colour=red", 400, "colour"),
    ("since=2h", 400, "since"),
    ("outcome=fine", 400, "outcome"),
    ("before=zzz", 404, "id"),
    ("before=", 400, "id"),
)


def test_a_gateway_names_the_filter_that_makes_no_sense(served: Served) -> None:
    answers = [(query, served.get(f"/api/audit?{query}")) for query, _, _ in WRONG]
    assert [(query, each.status, each.json()["error"]["param"]) for query, each in answers] == [*WRONG]
