"""Models and candidates as people read them: what they cost, and lines that fit the terminal.

One line for each where all of them fit, else several; nothing is cut off. For people only: programs get records and
tab-separated cells from `Console.table`. Asks the gateway nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from membrain.records import Considered, ModelRow
from membrain_cli.console import Console, clean_cell, columns_of, padded

GAP = "   "
"""Between two cells."""
EDGE = "  "
"""Before each line."""


Priced = Considered | ModelRow
"""A record with a price, in US dollars for a million tokens. None is unknown, and 0 is free."""


def dollars(amount: float) -> str:
    """Dollars with two places, or with as many as it takes, up to ten: "$2.50", "$0.075", "$1,200.00"."""
    whole, _, places = f"{amount:,.10f}".partition(".")
    return f"${whole}.{places.rstrip('0').ljust(2, '0')}"


def price(row: Priced) -> str:
    """What a million tokens cost, in and out: "$2.50 / $10.00", "free", "price unknown"."""
    prices = (row.input_price, row.output_price)
    if all(amount is None for amount in prices):
        return "price unknown"
    if all(amount == 0 for amount in prices):
        return "free"
    return " / ".join("?" if amount is None else dollars(amount) for amount in prices)


def sources(rows: Sequence[tuple[str, Priced]]) -> str:
    """Where the prices of models come from, and of which day they are; "" if there are none.

    Of several sources the commonest stands first, and each other names its models.
    """
    models: dict[tuple[str, str], dict[str, None]] = {}
    for model, row in rows:
        if row.price_source and row.input_price is not None and not row.local:
            models.setdefault((row.price_source, row.price_date), {})[model] = None
    ranked = sorted(models.items(), key=lambda each: -len(each[1]))
    told = [
        " ".join(part for part in origin if part) + (f" ({', '.join(names)})" if place else "")
        for place, (origin, names) in enumerate(ranked)
    ]
    return f"Prices: {'; '.join(told)}." if told else ""


# --- lines ---------------------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """One of a list: what it is called, what is known of it, and what was decided.

    All entries of a list have as many cells as each other; an empty one says nothing. `words` come last.
    """

    names: Sequence[str]
    facts: Sequence[str]
    state: str = ""
    words: str = ""


def entries(shell: Console, shown: Sequence[Entry], *, apart: int = 0, indent: str = EDGE * 2) -> Iterator[str]:
    """Lines for *shown*, as wide as the terminal at most; a blank one before entry number *apart*.

    *indent* stands before what does not fit behind an entry's names.
    """
    wide = aligned([[*each.names, *each.facts, each.state, each.words] for each in shown])
    fits = all(columns_of(line) <= shell.width for line in wide)
    heads = level(aligned([[*each.names, each.state] for each in shown]))
    for place, entry in enumerate(shown):
        if place and place == apart:
            yield ""
        yield from [wide[place]] if fits else stacked(shell, heads[place], entry, indent)


def aligned(rows: Sequence[Sequence[str]], edge: str = EDGE) -> list[str]:
    """Cells in columns, a line for each row; columns in which nobody has anything are left out."""
    cells = [[clean_cell(cell) for cell in row] for row in rows]
    widths = [max((columns_of(cell) for cell in column), default=0) for column in zip(*cells, strict=True)]
    return [
        edge + GAP.join(padded(cell, width) for cell, width in zip(row, widths, strict=True) if width).rstrip()
        for row in cells
    ]


def level(lines: Sequence[str]) -> list[str]:
    """*lines*, each as long as the longest."""
    longest = max((columns_of(line) for line in lines), default=0)
    return [padded(line, longest) for line in lines]


def stacked(shell: Console, head: str, entry: Entry, indent: str) -> Iterator[str]:
    """An entry on several lines: its names, then why, then what is known of it."""
    words = clean_cell(entry.words)
    if words and columns_of(head + GAP + words) <= shell.width:
        head, words = head + GAP + words, ""
    fits = columns_of(head.rstrip()) <= shell.width
    yield from [head.rstrip()] if fits else wrapped([head.strip()], shell.width, indent, EDGE)
    yield from wrapped([words], shell.width, indent)
    known = [clean_cell(fact) for fact in entry.facts if fact]
    between = " · " if shell.unicode else " - "
    yield from (shell.style(line, "dim") for line in wrapped(known, shell.width, indent, between=between))


def wrapped(
    pieces: Sequence[str], width: int, indent: str = EDGE, first: str | None = None, between: str = " "
) -> Iterator[str]:
    """*pieces* in lines of at most *width* columns, each piece whole where it fits into one line.

    A word that is wider than a line stays whole: the terminal breaks it, and nothing is lost.
    """
    line, start = "", indent if first is None else first
    for piece in pieces:
        if line and columns_of(start + line + between + piece) <= width:
            line += between + piece
            continue
        if line:
            yield start + line
            start, line = indent, ""
        for word in piece.split():
            if line and columns_of(f"{start}{line} {word}") > width:
                yield start + line
                start, line = indent, word
            else:
                line = f"{line} {word}" if line else word
    if line:
        yield start + line
