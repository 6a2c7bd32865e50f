"""The questions about usage, as they come in a URL: sums with the budgets beside them, and the page of metrics.

It reads parameters and keeps a caller to its own project; the summing and the counting are done elsewhere, and off
the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from membrain.errors import BadRequest
from membrain.filters import moment
from membrain.metrics import Metrics, page
from membrain.records import Caller
from membrain.stores.base import Balance, UsageQuery, UsageReader
from membrain.stores.usage import Balances, answer, told

OLD = frozenset({"since", "key_id"})
"""What the plain totals could always be asked by."""

_TIMES = frozenset({"since", "until"})
_KNOWN = frozenset(each.name for each in fields(UsageQuery))


def wants_rows(given: Mapping[str, str]) -> bool:
    """Whether a question is for sums by something, and not only for the plain totals."""
    return not OLD.issuperset(given)


def question(given: Mapping[str, str], caller: Caller) -> UsageQuery:
    """What the texts in *given* ask; who is no admin sees its own project. BadRequest names what makes no sense."""
    for name in given:
        if name not in _KNOWN:
            raise BadRequest(f"There is no filter `{name}`.", param=name)
    asked = {name: moment(text, name) if name in _TIMES else text for name, text in given.items() if text}
    if not caller.admin:
        asked["project"] = caller.project
    return UsageQuery(**asked)  # type: ignore[arg-type]  # the times alone are no texts


async def sums(
    reader: UsageReader, balances: Balances, given: Mapping[str, str], caller: Caller, now: datetime
) -> dict[str, Any]:
    """The answer to a question, as JSON-ready data. *balances* is called in a thread."""
    query = question(given, caller)
    return await asyncio.to_thread(answer, reader, query, lambda: own(balances(), caller), now)


def own(balances: Iterable[Balance], caller: Caller) -> list[Balance]:
    """The budgets that *caller* may see: all as an admin, else those of its key and of its project."""
    mine = {f"project:{caller.project}"} | ({f"key:{caller.key_id}"} if caller.key_id else set())
    return [each for each in balances if caller.admin or each.owner in mine]


async def scrape(metrics: Metrics, balances: Balances, now: datetime, accept: str = "") -> tuple[bytes, str]:
    """The page of metrics and its media type, in the form that *accept* asks for. *balances* is called in a thread."""
    counted = metrics.snapshot()  # here, where nobody counts on meanwhile
    return await asyncio.to_thread(lambda: page(counted, [told(each, now) for each in balances()], accept))
