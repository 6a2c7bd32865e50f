"""Questions to the audit, read from text."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from membrain.errors import BadRequest
from membrain.filters import moment, query_from
from membrain.stores.base import AuditQuery


def test_every_filter_is_read() -> None:
    given = {
        "limit": "5",
        "since": "2026-11-21T14:02:11Z",
        "model": "gpt-4o*",
        "cached": "no",
        "min_cost_micros": "10000",
        "slower_ms": "2000.5",
    }
    assert query_from(given) == AuditQuery(
        limit=5,
        since=datetime(2026, 11, 21, 14, 2, 11, tzinfo=UTC),
        model="gpt-4o*",
        cached=False,
        min_cost_micros=10_000,
        slower_ms=2000.5,
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
        ("colour", "red"),
    ],
)
def test_what_makes_no_sense_is_named(name: str, text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        query_from({name: text})
    assert refused.value.param == name
