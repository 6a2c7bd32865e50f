"""A copy of the audit for other programs: one JSON object a line, or a table that a spreadsheet opens without harm.

Rows go out as they are read, so that a year of them takes no more memory than a day.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from membrain_cli.console import Console, Exit, clean
from membrain_cli.reach import Reach

NAMES = ("membrain", "otel")

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What begins a formula in one spreadsheet or another, full width too."""


def write_copy(shell: Console, reach: Reach, query: Mapping[str, str], format: str, names: str) -> None:
    """Write the exchanges that match to stdout, oldest first, and how many there were to stderr."""
    for name, given, known in (("format", format, (*FORMATS,)), ("names", names, NAMES)):
        if given not in known:
            shell.fail(f'"{given}" is no {name}; it must be {" or ".join(known)}.', code=Exit.USAGE)
    rows = reach.offline.export(query, names)
    count = FORMATS["jsonl" if shell.json else format](shell, rows)
    shell.say(f"{count:,} record{'' if count == 1 else 's'}.")


def as_lines(shell: Console, rows: Iterator[Mapping[str, Any]]) -> int:
    """One JSON object a line; how many there were."""
    count = 0
    for row in rows:
        shell.record(row)
        count += 1
    return count


def as_table(shell: Console, rows: Iterator[Mapping[str, Any]]) -> int:
    """Comma-separated values with a header; how many rows below it there were. Columns are those of the first row."""
    draft = io.StringIO()
    writer = csv.writer(draft, lineterminator="\n")
    count, columns = 0, list[str]()
    for row in rows:
        if not columns:
            columns = list(row)
            writer.writerow(columns)
        writer.writerow([cell(row.get(name)) for name in columns])
        put(shell, draft)
        count += 1
    return count


def put(shell: Console, draft: io.StringIO) -> None:
    """Write out what stands in *draft*, and empty it."""
    shell.stdout.write(draft.getvalue())
    draft.seek(0)
    draft.truncate()


def cell(value: object) -> object:
    """A value as one cell: texts harmless, lists of words with commas between them, all else as JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return harmless(",".join(value))
    return harmless(json.dumps(value, ensure_ascii=False))


def harmless(text: str) -> str:
    """*text* without what drives a terminal, on one line, and never a formula."""
    shown = clean(text).replace("\n", " ").replace("\t", " ")
    return f"'{shown}" if text.startswith(FORMULA) or shown.startswith(FORMULA) else shown


FORMATS: dict[str, Callable[[Console, Iterator[Mapping[str, Any]]], int]] = {"jsonl": as_lines, "csv": as_table}
