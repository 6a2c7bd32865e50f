"""A check is a row with a name, a reason and a function."""

from __future__ import annotations

from membrain_cli.conform.bench import Bench
from membrain_cli.conform.check import STREAMED, TALKING, WHOLE, Check, Checks
from membrain_cli.conform.dialects import Dialect
from membrain_cli.conform.upstream import DIALECTS


def test_a_row_is_added_and_its_function_left_as_it_is() -> None:
    checks = Checks()

    @checks.row("a.b", ("chat",), "title", "why", late=True)
    async def run(bench: Bench, dialect: Dialect) -> None: ...

    assert checks == [Check("a.b", "title", "why", ("chat",), run, late=True)]


def test_the_groups_are_the_dialects_that_can_be_asked_so() -> None:
    assert set(WHOLE) == {dialect.name for dialect in DIALECTS}
    assert set(STREAMED) == {dialect.name for dialect in DIALECTS if dialect.stream}
    assert set(TALKING) == {dialect.name for dialect in DIALECTS if dialect.tools}
