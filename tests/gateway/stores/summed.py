"""Rows of the audit's index made up for the tests that sum them, written with SQL alone."""

from __future__ import annotations

import itertools
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from membrain.stores.database import connect
from membrain.stores.reading import micros

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

_numbers = itertools.count(1)


def a_row(at: datetime = NOON, **fields: Any) -> dict[str, Any]:
    """An answered exchange: 1,000 tokens in, 100 out, a tenth of a cent, one finding."""
    number = next(_numbers)
    return {
        "id": f"{number:08x}",
        "entry": number,
        "at": micros(at),
        "instance": "made-up",
        "outcome": "answered",
        "model": "auto",
        "answered_model": "gpt-4o",
        "provider": "openai",
        "caller": "aider",
        "key_id": "k1",
        "project": "web",
        "user": "",
        "ms": 500.0,
        "prompt_tokens": 1_000,
        "completion_tokens": 100,
        "cost_micros": 1_000,
        "cached": 0,
        "saved_micros": None,
        "pii_findings_count": 1,
        "pii_labels": '["EMAIL"]',
    } | fields


def a_file(path: Path, *rows: dict[str, Any]) -> Path:
    """An audit file that holds *rows*."""
    with closing(connect(path)) as database:
        known = {each[1] for each in database.execute("PRAGMA table_info(exchanges)")}
        for row in rows:
            names = [name for name in row if name in known]
            marks = ", ".join("?" * len(names))
            database.execute(
                f"INSERT INTO exchanges ({', '.join(names)}) VALUES ({marks})",  # noqa: S608  # our own names
                [row[name] for name in names],
            )
    return path
