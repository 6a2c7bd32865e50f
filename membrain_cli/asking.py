"""What one asks of the audit, as it is typed: times, spans, outcomes, and the options that say which exchanges.

It makes the query that `membrain.filters` reads, and can tell whether an exchange that just ended passes. Asks nobody.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import wraps
from typing import Annotated, Any, NamedTuple

import typer

from membrain_cli.console import Exit, current, meant

OUTCOMES = ("answered", "refused", "failed", "aborted", "interrupted", "open")

UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


# --- times ---------------------------------------------------------------------------------------------------


def seconds(text: str) -> float | None:
    """A span like "2h", "500ms" or "1.5s" in seconds; None if it is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([a-z]+)", text.strip().lower())
    return float(found[1]) * UNITS[found[2]] if found and found[2] in UNITS else None


def milliseconds(text: str) -> str:
    """A span as the filter wants it; a bare number is seconds."""
    if not text:
        return ""
    length = seconds(text if not text.replace(".", "", 1).isdigit() else f"{text}s")
    if length is None:
        current().fail(f'"{text}" is no time; it must be like 2s or 500ms.', code=Exit.USAGE)
    return f"{length * 1000:g}"


def when(text: str) -> str:
    """A moment as the filter wants it: "2h" ago, "today", "yesterday", a date, or a date and time."""
    if not text:
        return ""
    found = ago(text) or local(text)
    if found is None:
        current().fail(f'"{text}" is no time; it must be like 2h, today, or 2026-11-21.', code=Exit.USAGE)
    return found.isoformat(timespec="milliseconds")


def ago(text: str) -> datetime | None:
    """A moment that is said from now: "2h" ago, "today", "yesterday"; None if it is none, or before all calendars."""
    now = current().clock()
    if (length := seconds(text)) is not None:
        try:
            return now - timedelta(seconds=length)
        except OverflowError:
            return None
    midnight = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    return {"today": midnight, "yesterday": midnight - timedelta(days=1)}.get(text.lower())


def local(text: str) -> datetime | None:
    """A date, with or without a time; without a zone it is this machine's."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        return None


# --- the filters ---------------------------------------------------------------------------------------------


def known_outcome(text: str) -> str:
    """An outcome, if it is one."""
    if text and text not in OUTCOMES:
        guess = meant(text, OUTCOMES)
        current().fail(f'"{text}" is no outcome; it must be one of {", ".join(OUTCOMES)}.{guess}', code=Exit.USAGE)
    return text


def text(metavar: str, words: str) -> Any:
    """An option that takes a word."""
    return typer.Option(metavar=metavar, help=words, show_default=False)


def micros(dollars: float | None) -> str:
    """Dollars as the filter wants them."""
    return "" if dollars is None else str(round(dollars * 1_000_000))


class Filter(NamedTuple):
    """A filter as an option: what it takes, how help tells it, what it is if it is not given, and how it is asked."""

    kind: Any
    option: Any
    default: Any = ""
    read: Callable[[Any], str] = str
    name: str = ""
    """In the query, where it has another name there."""


FILTERS: dict[str, Filter] = {
    "since": Filter(str, text("TIME", 'From then on: "2h", "7d", "today", or a date.'), read=when),
    "until": Filter(str, text("TIME", "Until then."), read=when),
    "model": Filter(str, text("NAME", '"gpt-4o*": * is any text.')),
    "provider": Filter(str, text("NAME", "Answered, or tried last, by this one.")),
    "caller": Filter(str, text("NAME", "Asked with the client key of that name.")),
    "user": Filter(str, text("NAME", "Asked for this user, as the caller labelled them.")),
    "project": Filter(str, text("NAME", "Counted under this project.")),
    "outcome": Filter(str, text("HOW", f"{', '.join(OUTCOMES)}."), read=known_outcome),
    "pii": Filter(str, text("LABEL", 'Where this was found; "any" for whatever.')),
    "cached": Filter(
        bool, typer.Option("--cached", help="Answered by the cache."), False, lambda on: "true" if on else ""
    ),
    "min_cost": Filter(
        float | None,
        typer.Option(min=0, metavar="DOLLARS", help="This dear, or dearer.", show_default=False),
        None,
        micros,
        "min_cost_micros",
    ),
    "slower": Filter(str, text("TIME", 'Slower than "2s", "500ms".'), read=milliseconds, name="slower_ms"),
}


def query_of(given: Mapping[str, Any]) -> dict[str, str]:
    """What was given for the filters, as a query; what was not given is left out."""
    asked = {FILTERS[name].name or name: FILTERS[name].read(value) for name, value in given.items()}
    return {name: text for name, text in asked.items() if text}


def filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """*command* with every filter as an option; it is called with the query they make as `query`."""
    own = [each for name, each in inspect.signature(command, eval_str=True).parameters.items() if name != "query"]
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=annotated(each))
        for name, each in FILTERS.items()
    ]

    @wraps(command)
    def run(**given: Any) -> Any:
        query = query_of({name: given.pop(name) for name in FILTERS})
        return command(query=query, **given)

    every = [*extra, *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own)]
    run.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]  # Typer reads its options from here
    run.__annotations__ = {each.name: each.annotation for each in every}
    return run


def annotated(each: Filter) -> Any:
    """The type of a filter's option, as Typer wants it."""
    return Annotated[each.kind, each.option]


# --- what just happened --------------------------------------------------------------------------------------

MATCHES: dict[str, Callable[[Mapping[str, Any], str], bool]] = {
    "model": lambda row, text: any(like(row[name], text) for name in ("model", "answered_model")),
    "provider": lambda row, text: row["provider"] == text,
    "caller": lambda row, text: row["caller"] == text,
    "user": lambda row, text: row["user"] == text,
    "project": lambda row, text: row["project"] == text,
    "outcome": lambda row, text: row["outcome"] == text,
    "pii": lambda row, text: bool(row["pii_labels"]) if text == "any" else text in row["pii_labels"],
    "cached": lambda row, _: row["cached"],
    "min_cost_micros": lambda row, text: (row["cost_micros"] or 0) >= int(text),
    "slower_ms": lambda row, text: (row["ms"] or 0) > float(text),
}


def wanted(row: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    """Whether a new exchange passes the filters, as the store would let it pass."""
    return all(MATCHES[name](row, text) for name, text in query.items() if name in MATCHES)


def like(name: str | None, pattern: str) -> bool:
    """Whether a model's name fits *pattern*: `*` is any text, `?` one sign, letters in either case."""
    parts = (".*" if each == "*" else "." if each == "?" else re.escape(each) for each in pattern)
    return name is not None and re.fullmatch("".join(parts), name, re.IGNORECASE | re.DOTALL) is not None
