"""A small audit, made by the real stores, in the home of a test: sealed, its heads noted, and then no gateway runs.

made = written(environ, exchange("ada"), exchange("bob", model="o1"))
tampered(environ, "UPDATE entries SET at = at + 1 WHERE seq = 3")
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

from membrain.config import load
from membrain.heads import Heads, seal_key
from membrain.places import Places
from membrain.records import AuditRecord
from membrain.stores.open import open_stores

DAWN = datetime(2026, 11, 18, 9, 12, tzinfo=UTC)
_numbers = itertools.count(1)


def exchange(user: str = "", minutes: float = 0, **more: Any) -> AuditRecord:
    """An exchange that was answered, so many minutes after dawn."""
    facts: dict[str, Any] = {
        "id": f"{next(_numbers):06x}{'0' * 18}",
        "time": (DAWN + timedelta(minutes=minutes)).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "dialect": "chat",
        "path": "/v1/chat/completions",
        "model": "gpt-4o",
        "answered_model": "gpt-4o",
        "provider": "openai",
        "caller": "aider",
        "user": user,
        "outcome": "answered",
        "status": 200,
        "ms": 4.5,
        "cost_micros": 115,
    }
    return AuditRecord(**{**facts, **more})


def written(environ: Mapping[str, str], *records: AuditRecord, sent: bytes | None = None) -> list[AuditRecord]:
    """Put *records* on record, each with its outcome alone; what left with them is kept."""
    places = Places.find(environ).create()
    secrets = load(environ).keys
    key = seal_key(secrets, places)

    async def write() -> None:
        stores = open_stores(places.database, instance="test", key=key, heads=Heads(places, key, secrets))
        await asyncio.gather(*(stores.audit.conclude(each, sent=sent, keep=sent is not None) for each in records))
        await stores.close()

    asyncio.run(write())
    return list(records)


def tampered(environ: Mapping[str, str], *statements: str) -> None:
    """What somebody does to the file who can write to it."""
    with closing(sqlite3.connect(Places.find(environ).database)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()
