"""Questions into SQL: against the same questions in Python, and against the clock."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrain.errors import BadRequest, GuardFailed
from membrain.records import AuditRecord
from membrain.stores import reading
from membrain.stores.base import ANY, AuditQuery
from membrain.stores.database import connect
from membrain.stores.open import open_stores
from membrain.stores.reading import SqliteReader
from tests.gateway.stores.made import DAWN, KEY, an_intent, an_outcome
from tests.growth import assert_within

NAMES = ["", "a", "A", "ab", "a%", "a_b", "a\\b", "gpt-4o", "gpt-4o-mini"]
LABELS = ["email", "e", "phone", 'quo"te', ","]


def crowd() -> list[AuditRecord]:
    """Sixty exchanges in which every filter splits the crowd in its own way."""
    return [
        an_outcome(
            an_intent(f"n{number:02}", seconds=number),
            model=NAMES[number % 9],
            answered_model=[None, *NAMES][number * 3 % 10],
            provider=["openai", "ollama", None][number % 3],
            outcome=["answered", "open", "failed", "refused"][number % 4],
            project=NAMES[number % 5],
            user=["", "ada", "a'b"][number % 3],
            cached=number % 7 == 0,
            cost_micros=None if number % 6 == 0 else number * 10,
            ms=None if number % 5 == 0 else number * 1.5,
            pii_findings_count=number % 4,
            pii_labels=tuple(LABELS[: number % 4]) if number % 8 else (LABELS[number // 8 % 5],),
        )
        for number in range(60)
    ]


def matches(glob: str, name: str | None) -> bool:
    pattern = "".join({"*": ".*", "?": "."}.get(sign, re.escape(sign)) for sign in glob)
    return name is not None and re.fullmatch(pattern, name, re.DOTALL | re.IGNORECASE) is not None


def keeps(query: AuditQuery, record: AuditRecord) -> bool:
    """The question in Python."""
    at = DAWN + timedelta(seconds=int(record.id[1:]))
    answers = [
        query.since is None or at >= query.since,
        query.until is None or at < query.until,
        query.model is None or matches(query.model, record.model) or matches(query.model, record.answered_model),
        query.provider in {None, record.provider},
        query.outcome in {None, record.outcome},
        query.project in {None, record.project},
        query.user in {None, record.user},
        query.pii is None or (record.pii_findings_count > 0 if query.pii == ANY else query.pii in record.pii_labels),
        query.cached in {None, record.cached},
        query.min_cost_micros is None or (record.cost_micros or -1) >= query.min_cost_micros,
        query.slower_ms is None or (record.ms or -1) > query.slower_ms,
        query.before is None or record.id < query.before,
        query.after is None or record.id > query.after,
    ]
    return all(answers)


def expected(query: AuditQuery, records: list[AuditRecord]) -> list[AuditRecord]:
    found = [record for record in records if keeps(query, record)]
    nearest = found[: query.limit] if query.after is not None else found[-query.limit :]
    return nearest[::-1]


@pytest.fixture(scope="module")
def records() -> list[AuditRecord]:
    return crowd()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, records: list[AuditRecord]) -> SqliteReader:
    path = tmp_path_factory.mktemp("crowd") / "audit.db"

    async def fill() -> None:
        stores = open_stores(path, instance="i", key=KEY)
        await asyncio.gather(*map(stores.audit.conclude, records))
        await stores.close()

    asyncio.run(fill())
    return SqliteReader(path)


moments = st.integers(-5, 65).map(lambda seconds: DAWN + timedelta(seconds=seconds))
queries = st.builds(
    AuditQuery,
    limit=st.integers(1, 70),
    before=st.none() | st.integers(0, 59).map("n{:02}".format),
    after=st.none() | st.integers(0, 59).map("n{:02}".format),
    since=st.none() | moments,
    until=st.none() | moments,
    model=st.none() | st.sampled_from(NAMES) | st.text("a*?_%\\bgpt-4o", max_size=6),
    provider=st.sampled_from([None, None, "openai", "ollama", "nobody"]),
    outcome=st.sampled_from([None, None, "answered", "open", "failed"]),
    project=st.none() | st.sampled_from(NAMES),
    user=st.sampled_from([None, None, "", "ada", "a'b", "nobody"]),
    pii=st.none() | st.sampled_from([ANY, *LABELS]),
    cached=st.sampled_from([None, None, True, False]),
    min_cost_micros=st.none() | st.integers(0, 600),
    slower_ms=st.none() | st.integers(0, 90).map(float),
)


@settings(max_examples=300, deadline=None)
@given(query=queries)
def test_every_combination_of_filters_finds_what_python_finds(
    reader: SqliteReader, records: list[AuditRecord], query: AuditQuery
) -> None:
    assert reader.list(query) == expected(query, records)


def asking(name: str, word: str) -> AuditQuery:
    only: dict[str, Any] = {name: word}
    return AuditQuery(**only)


@settings(max_examples=200, deadline=None)
@given(word=st.text(max_size=20).filter(lambda word: not any("\ud800" <= sign <= "\udfff" for sign in word)))
def test_no_text_in_any_filter_breaks_a_question(reader: SqliteReader, word: str) -> None:
    for name in ("model", "provider", "caller", "project", "outcome", "pii", "key_id", "user"):
        reader.list(asking(name, word))
    for name in ("before", "after"):
        try:
            reader.list(asking(name, word))
        except BadRequest:
            continue


def test_a_search_that_takes_too_long_is_stopped(reader: SqliteReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty rows are searched before the clock is first looked at, so the clock is asked at every step here."""
    monkeypatch.setattr(reading, "SECONDS", -1.0)
    monkeypatch.setattr(reading, "STEPS", 1)
    with pytest.raises(BadRequest, match="too long") as caught:
        reader.list()
    assert "--since" in caught.value.sentence


def test_a_pattern_full_of_stars_is_no_way_to_stop_the_gateway(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    with closing(connect(path)):
        pass
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "INSERT INTO exchanges (entry, id, at, instance, outcome, model, caller, project, user, cached,"
            " pii_findings_count, pii_labels) VALUES (0, 'x', 0, '', '', ?, '', '', '', 0, 0, '[]')",
            ("a" * 100_000,),
        )
    hostile = AuditQuery(model="*a" * 99 + "b")
    assert SqliteReader(path).list(hostile) == []
    assert_within(1.0, lambda: SqliteReader(path).list(hostile))


def test_a_file_that_cannot_be_read_is_told_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    path.write_bytes(b"a canary " * 1000)
    with pytest.raises(
        GuardFailed, match=r"^The audit cannot be read: its file is damaged or not a database"
    ) as caught:
        SqliteReader(path).list()
    assert "canary" not in repr(caught.value.__cause__)
