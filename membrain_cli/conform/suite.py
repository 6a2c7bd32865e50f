"""The suite: all checks in the order they are run, and what each of them came to."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from membrain_cli.conform import answers, connections, failures, forwarding, streams
from membrain_cli.conform.bench import Bench, Differs, NotApplicable
from membrain_cli.conform.check import GATEWAY, Check
from membrain_cli.conform.dialects import Dialect
from membrain_cli.conform.upstream import DIALECTS

CHECKS: tuple[Check, ...] = (
    *answers.CHECKS,
    *streams.CHECKS,
    *forwarding.CHECKS,
    *connections.CHECKS,
    *failures.CHECKS,
)
GROUPS = (*(dialect.name for dialect in DIALECTS), GATEWAY)
"""In the order of the report."""

State = Literal["ok", "FAIL", "n.a."]


@dataclass(frozen=True, slots=True)
class Row:
    """What a check came to in one group; `instead` says what arrived, or why it could not be asked."""

    group: str
    check: str
    title: str
    why: str
    state: State
    instead: str
    ms: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def planned(only: Sequence[str] = ()) -> Iterator[tuple[str, Check]]:
    """Group and check of each row to come; *only* names groups, or checks as `group.check` begins."""
    for late in (False, True):
        for group in GROUPS:
            for check in CHECKS:
                if check.late is late and group in check.groups and _wanted(f"{group}.{check.name}", only):
                    yield group, check


def _wanted(name: str, only: Sequence[str]) -> bool:
    return not only or any(f"{name}.".startswith(f"{each.rstrip('.')}.") for each in only)


async def rows(bench: Bench, only: Sequence[str] = ()) -> AsyncIterator[Row]:
    """Run what is planned, one after the other. `OSError` if the gateway cannot be reached."""
    for group, check in planned(only):
        began = time.monotonic()
        state, instead = await _outcome(bench, group, check)
        ms = round((time.monotonic() - began) * 1000)
        told = bench.target.cleaned(" ".join(instead.split()))
        yield Row(group, check.name, check.title, check.why, state, told, ms)


async def _outcome(bench: Bench, group: str, check: Check) -> tuple[State, str]:
    try:
        dialect = await _dialect(bench, group)
        await check.run(bench, dialect)
    except NotApplicable as error:
        return "n.a.", str(error)
    except Differs as error:
        return "FAIL", str(error)
    return "ok", ""


async def _dialect(bench: Bench, group: str) -> Dialect:
    """The dialect of *group*, which the gateway must hand on; any will do for the gateway's own."""
    if group == GATEWAY:
        return DIALECTS[0]
    dialect = next(each for each in DIALECTS if each.name == group)
    await bench.speaks(dialect)
    return dialect
