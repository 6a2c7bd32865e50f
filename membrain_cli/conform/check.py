"""A check: what it is called, why it matters, in which dialects it is asked, and the function that asks it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from membrain_cli.conform.bench import Bench
from membrain_cli.conform.dialects import Dialect

Run = Callable[[Bench, Dialect], Awaitable[None]]

GATEWAY = "gateway"
"""The group of what is asked once, in whichever dialect the gateway speaks."""
WHOLE = ("chat", "messages", "responses", "completions", "embeddings", "count_tokens")
STREAMED = ("chat", "messages", "responses", "completions")
TALKING = ("chat", "messages", "responses")
"""The dialects that know tools."""


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the report for each of its `groups`. `late` ones make the upstream fail, and come last."""

    name: str
    title: str
    why: str
    groups: Sequence[str]
    run: Run
    late: bool = False


class Checks(list[Check]):
    """The checks of one module, in the order they are written."""

    def row(
        self, name: str, groups: Sequence[str], title: str, why: str, *, late: bool = False
    ) -> Callable[[Run], Run]:
        """Add the decorated function, which raises `Differs` or `NotApplicable` where it must."""

        def add(run: Run) -> Run:
            self.append(Check(name, title, why, groups, run, late))
            return run

        return add
