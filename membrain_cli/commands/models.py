"""`models`: what each provider really has, with its price and size, and whether it runs on this machine.

The gateway asks the providers; here it is only told.
"""

from __future__ import annotations

from typing import Annotated

import typer

from membrain.errors import MembrainError
from membrain.records import ModelRow
from membrain_cli.console import CommandError, Console, current, field
from membrain_cli.listing import Entry, entries, price, sources, wrapped
from membrain_cli.reach import TEST_LIMIT, Reach

COMPLETION_LIMIT = 2.0
"""Seconds that a shell waits for the names of providers."""

COLUMNS = tuple(
    field(name, name)
    for name in ("id", "provider", "local", "input_price", "output_price", "context", "price_source", "price_date")
)
"""What a program gets of a model."""


def providers(incomplete: str) -> list[str]:
    """Providers that have models, for the shell's completion."""
    try:
        found = Reach(current().environ).ask("GET", "/api/models", limit=COMPLETION_LIMIT)
    except (CommandError, MembrainError):
        return []
    return sorted({row["provider"] for row in found if row["provider"].startswith(incomplete)})


def models(
    provider: Annotated[
        str,
        typer.Option(
            "--provider", metavar="NAME", help="Of this one only.", show_default=False, autocompletion=providers
        ),
    ] = "",
    local: Annotated[bool, typer.Option("--local", help="On this machine only.")] = False,
) -> None:
    """What each provider really has, with prices and sizes.

    Prices are US dollars for a million tokens, in and out; the size is how many tokens question and answer may have.
    """
    shell, reach = current(), Reach(current().environ)
    with shell.working("asking the providers …" if shell.unicode else "asking the providers ..."):
        found = [ModelRow.from_dict(each) for each in reach.ask("GET", "/api/models", limit=TEST_LIMIT)]
    rows = [row for row in found if provider in {"", row.provider} and (row.local or not local)]
    if shell.json or not shell.is_tty_out:
        shell.table(COLUMNS, [row.to_dict() for row in rows])
    else:
        show(shell, rows)
    if not found:
        shell.say("No provider says what it has; those that are away cannot.")
        for line in shell.remedies([("Who is there", "membrain status")]):
            shell.say(line)
    elif not rows:
        say_none(shell, known=not provider or any(row.provider == provider for row in found))


def show(shell: Console, rows: list[ModelRow]) -> None:
    """The models, a person's way."""
    for line in entries(shell, [entry(row) for row in rows]):
        shell.out(line)
    notes = ["$ is for a million tokens, in / out.", sources([(row.id, row) for row in rows])]
    if rows and any(row.input_price for row in rows):
        for line in wrapped([note for note in notes if note], shell.width):
            shell.say(shell.style(line, "dim"))


def entry(row: ModelRow) -> Entry:
    """One model, as a line of the list."""
    size = "" if row.context is None else f"{row.context:,} tokens"
    return Entry([row.id, row.provider], [price(row), size, "local" if row.local else ""])


def say_none(shell: Console, *, known: bool) -> None:
    """Say that there is no model like that, and where to look; *known* is a provider that has others."""
    shell.say("No model like that." if known else "No provider of that name has a model.")
    for line in shell.remedies([("Who is there", "membrain status"), ("All of them", "membrain models")]):
        shell.say(line)
