"""`audit`: who asked what, where it went, and what it cost; the list, one exchange, or what happens now.

Works whether or not the gateway runs. The record is the gateway's; here it is only told.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from membrain.errors import MembrainError
from membrain.records import AuditRecord, Finding, Step
from membrain_cli.commands import family
from membrain_cli.console import (
    Column,
    CommandError,
    Console,
    Exit,
    Style,
    columns_of,
    current,
    moment,
    money,
    padded,
    span,
)
from membrain_cli.reach import Reach, down

SHORT = 6
"""Signs of an exchange's id that a person is shown; any beginning that only one has will do."""
OUTCOMES = ("answered", "refused", "failed", "aborted", "interrupted", "open")
BAR = 40
"""Columns of the bar that stands for the whole exchange."""

audit = family("Who asked what, and where it went.")


def exchanges(incomplete: str) -> list[tuple[str, str]]:
    """Ids of the last exchanges, with their models, for the shell's completion."""
    try:
        found = Reach(current().environ).audit({"limit": "50"})
    except (CommandError, MembrainError):
        return []
    return [(record.id, record.model) for record in found if record.id.startswith(incomplete)]


# --- the list ------------------------------------------------------------------------------------------------


def text(metavar: str, words: str) -> Any:
    """An option that takes a word."""
    return typer.Option(metavar=metavar, help=words, show_default=False)


Since = Annotated[str, text("TIME", 'From then on: "2h", "7d", "today", or a date.')]
Until = Annotated[str, text("TIME", "Until then.")]
Model = Annotated[str, text("NAME", '"gpt-4o*": * is any text.')]
Provider = Annotated[str, text("NAME", "Answered, or tried last, by this one.")]
Caller = Annotated[str, text("NAME", "Asked with the client key of that name.")]
Project = Annotated[str, text("NAME", "Counted under this project.")]
Ended = Annotated[str, text("HOW", f"{', '.join(OUTCOMES)}.")]
Pii = Annotated[str, text("LABEL", 'Where this was found; "any" for whatever.')]
Cached = Annotated[bool, typer.Option("--cached", help="Answered by the cache.")]
MinCost = Annotated[
    float | None, typer.Option(min=0, metavar="DOLLARS", help="This dear, or dearer.", show_default=False)
]
Slower = Annotated[str, text("TIME", 'Slower than "2s", "500ms".')]
Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=10_000, help="How many.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on as more happens.")]


@audit.callback()
@audit.command("list", hidden=True)
def list_exchanges(  # noqa: PLR0913, PLR0917  # each filter is an option
    context: typer.Context,
    since: Since = "",
    until: Until = "",
    model: Model = "",
    provider: Provider = "",
    caller: Caller = "",
    project: Project = "",
    outcome: Ended = "",
    pii: Pii = "",
    cached: Cached = False,
    min_cost: MinCost = None,
    slower: Slower = "",
    limit: Limit = 40,
    follow: Follow = False,
) -> None:
    """Who asked what, and where it went, newest first. All filters combine."""
    if context.invoked_subcommand is not None:
        return
    asked = {
        "since": when(since),
        "until": when(until),
        "model": model,
        "provider": provider,
        "caller": caller,
        "project": project,
        "outcome": known_outcome(outcome),
        "pii": pii,
        "cached": "true" if cached else "",
        "min_cost_micros": "" if min_cost is None else str(round(min_cost * 1_000_000)),
        "slower_ms": milliseconds(slower),
        "limit": str(limit),
    }
    query = {name: text for name, text in asked.items() if text}
    (follow_exchanges if follow else show_list)(current(), query)


UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


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
    now = current().clock()
    if (length := seconds(text)) is not None:
        return (now - timedelta(seconds=length)).isoformat(timespec="milliseconds")
    midnight = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    named = {"today": midnight, "yesterday": midnight - timedelta(days=1)}
    found = named.get(text.lower()) or local(text)
    if found is None:
        current().fail(f'"{text}" is no time; it must be like 2h, today, or 2026-11-21.', code=Exit.USAGE)
    return found.isoformat(timespec="milliseconds")


def local(text: str) -> datetime | None:
    """A date, with or without a time; without a zone it is this machine's."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        return None


def known_outcome(text: str) -> str:
    """An outcome, if it is one."""
    if text and text not in OUTCOMES:
        current().fail(f'"{text}" is no outcome; it must be one of {", ".join(OUTCOMES)}.', code=Exit.USAGE)
    return text


def show_list(shell: Console, query: Mapping[str, str]) -> None:
    """The exchanges that match, newest first."""
    reach = Reach(shell.environ)
    rows = [record.to_dict() for record in reach.audit(query)]
    shell.table(COLUMNS, rows, header=bool(rows))
    if shell.json or not shell.is_tty_out:
        return
    if set(query) != {"limit"}:
        shell.say(shell.style(f"  {len(rows):,} match{'es' if len(rows) == 1 else ''}.", "dim"))
    elif rows:
        today = reach.usage(when("today"))["exchanges"]
        hints = "Follow: -f   One: membrain audit show ID   Filter: --help"
        shell.say(shell.style(f"  {len(rows):,} shown, {today:,} today.  {hints}", "dim"))
    else:
        shell.say(f"Nothing was asked yet.  Ask something:  {shell.style('membrain chat', 'accent')}")


def by(row: Mapping[str, Any]) -> str:
    """Who answered, behind those that failed before."""
    shell = current()
    if row["cached"]:
        return "cache"
    tried = [each["provider"] for each in row["attempts"] if each["error"]]
    chain = [*tried, row["provider"]] if row["provider"] and row["outcome"] != "failed" else tried or [row["provider"]]
    return f" {shell.glyph('fell')} ".join(dict.fromkeys(each for each in chain if each)) or shell.glyph("none")


def cost(row: Mapping[str, Any]) -> str:
    """What it cost: a dot for nothing, "?" where nobody knows."""
    if not row["cost_micros"] and (row["cost_micros"] == 0 or row["outcome"] != "answered"):
        return current().glyph("none")
    return money(row["cost_micros"], exact=True)


def found(row: Mapping[str, Any]) -> str:
    """What was found: how many, and of which labels."""
    if not row["pii_findings_count"]:
        return current().glyph("none")
    return f"{row['pii_findings_count']} {', '.join(row['pii_labels'])}"


def ending(row: Mapping[str, Any]) -> str:
    """How it ended; for a refusal or failure, over what."""
    words = (row["error"] or row["outcome"]).replace("_", " ") if row["outcome"] in ENDINGS else row["outcome"]
    style = ENDINGS.get(row["outcome"])
    return current().style(words, style) if style else words


ENDINGS: dict[str, Style] = {"refused": "warn", "failed": "bad", "interrupted": "warn"}


def answered_by(row: Mapping[str, Any]) -> str:
    """The model that answered, else the one that was asked for."""
    return str(row["answered_model"] or row["model"])


def time_of_day(text: str) -> str:
    """A moment on this machine's clock, with the date if it is not today's."""
    then = moment(text)
    if then is None:
        return text
    here, today = then.astimezone(), current().clock().astimezone().date()
    return f"{here:%H:%M:%S}" if here.date() == today else f"{here:%Y-%m-%d %H:%M:%S}"


AGO = Column("when", lambda row: current().ago(row["time"]), lambda row: row["time"])
AT = Column("when", lambda row: time_of_day(row["time"]), lambda row: row["time"])
REST = (
    Column("id", lambda row: row["id"][:SHORT], lambda row: row["id"]),
    Column("model", answered_by, answered_by, least=18),
    Column("by", by, lambda row: row["provider"], least=12),
    Column("took", lambda row: span(row["ms"]), lambda row: row["ms"], right=True, least=7),
    Column("cost", cost, lambda row: row["cost_micros"], right=True, least=7),
    Column("pii", found, lambda row: row["pii_labels"], least=4),
    Column("outcome", ending, lambda row: row["outcome"]),
)
COLUMNS = (AGO, *REST)


# --- following -----------------------------------------------------------------------------------------------


def follow_exchanges(shell: Console, query: Mapping[str, str]) -> None:
    """The last exchanges, oldest first, and then each one as it ends."""
    reach = Reach(shell.environ)
    reach.demand()
    shell.table((AT, *REST), [record.to_dict() for record in reversed(reach.audit(query))])
    for name, data in reach.follow():
        if name == "dropped":
            shell.say(shell.style(f"  {data:,} more went by too fast to be shown.", "dim"))
        elif name == "exchange" and wanted(row := AuditRecord.from_dict(data).to_dict(), query):
            shell.table((AT, *REST), [row], header=False)
    raise down()


MATCHES: dict[str, Callable[[Mapping[str, Any], str], bool]] = {
    "model": lambda row, text: any(like(row[name], text) for name in ("model", "answered_model")),
    "provider": lambda row, text: row["provider"] == text,
    "caller": lambda row, text: row["caller"] == text,
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


# --- one exchange --------------------------------------------------------------------------------------------


@audit.command("show")
def show_one(
    id: Annotated[str, typer.Argument(metavar="ID", show_default=False, autocompletion=exchanges)],
    sent: Annotated[bool, typer.Option("--sent", help="What left this machine, as a provider was given it.")] = False,
) -> None:
    """One exchange, by its id or the beginning of it."""
    shell = current()
    reach = Reach(shell.environ)
    record = reach.exchange(id)
    if sent:
        show_sent(shell, reach, record)
    elif shell.json:
        shell.record(record.to_dict())
    else:
        for line in page(shell, record):
            shell.out(line)


def show_sent(shell: Console, reach: Reach, record: AuditRecord) -> None:
    """The body that left, as data: on many lines to a person, on one to a program. Fails where there is none."""
    from membrain_cli.chat.session import nothing_left
    from membrain_cli.chat.tell import left_line, standing_out

    why = nothing_left(record)
    if why and not record.attempts:
        shell.fail(why)
    if reach.running is None:
        said = "What left is kept in the gateway's memory only, and the gateway is not running."
        shell.fail(said, code=Exit.DOWN)
    left = reach.ask("GET", f"/api/sent/{record.id}")
    if shell.json or not shell.is_tty_out:
        shell.record(left if shell.json else left["body"])
        return
    shell.say(f"{why} It was given this, with the values themselves for placeholders:" if why else left_line(record))
    shell.out(standing_out(shell, json.dumps(left["body"], ensure_ascii=False, indent=2)))
    shell.say(shell.style(f"{left['bytes']:,} bytes   sha256 {left['sha256']}", "dim"))


def page(shell: Console, record: AuditRecord) -> Iterator[str]:
    """What `audit show` shows."""
    row = record.to_dict()
    who = ", ".join(each for each in (record.caller, f"project {record.project}") if each)
    head = f"{record.id[:SHORT]}   {time_of_day(record.time)}   {who}"
    end = f"{ending(row)}, {span(record.ms)}" if record.ms is not None else ending(row)
    yield padded(head, max(columns_of(head) + 2, 78 - columns_of(end))) + end
    yield ""
    for name, words in facts(shell, record, row):
        yield f"  {shell.style(padded(name, 11), 'dim')}{words}"
    if record.steps:
        yield ""
        yield from waterfall(shell, record.steps, record.ms or sum(step.ms for step in record.steps), record.first_ms)


def facts(shell: Console, record: AuditRecord, row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The facts of an exchange, a line each."""
    yield "asked", f"{record.model}{asked_how(record)}"
    for each in record.attempts:
        if each.error:
            yield "tried", f"{each.model} at {each.provider}: {each.error.replace('_', ' ')}, {span(each.ms)}"
    if record.outcome == "answered":
        yield "answered", f"{answered_by(row)} by {'the cache' if record.cached else record.provider}"
    elif record.error:
        yield "ended", f"{record.error.replace('_', ' ')}{f' ({record.status})' if record.status else ''}"
    if record.prompt_tokens is not None or record.completion_tokens is not None:
        told = f"{record.prompt_tokens or 0:,} in, {record.completion_tokens or 0:,} out"
        told += " (our count)" if record.estimated else ""
        yield "tokens", f"{padded(told, 26)} {shell.style('cost', 'dim')}  {cost(row)}"
    yield from (("" if place else "pii", words) for place, words in enumerate(private(record, row)))
    yield "kept", "no text"


ANSWER = "answer"
"""The place of what was found in an answer."""
UNSCANNED = "UNSCANNED"
"""The label of an answer that nobody could look at."""
MOST_PLACES = 6
"""Places that are named one by one."""
ACTIONS = {
    "redact": "masked",
    "confirm": "masked, if a person agreed",
    "local": "for models on this machine only",
    "block": "refused",
    "log": "let through, and noted",
    "alert": "let through, and told",
    "withheld": "kept out of a tool's URL",
}
"""What became of what was found."""


def private(record: AuditRecord, row: Mapping[str, Any]) -> Iterator[str]:
    """What was found, what became of it, and where; a line each."""
    asked = [finding for finding in record.findings if finding.place != ANSWER]
    if record.pii_findings_count and not asked:  # written before places were
        yield found(row)
    for action in dict.fromkeys(finding.action for finding in asked):
        yield f"{tally(record, asked, action)} ({ACTIONS.get(action, action)})"
    if places := list(dict.fromkeys(finding.place for finding in asked)):
        more = f" and {len(places) - MOST_PLACES} more" if len(places) > MOST_PLACES else ""
        yield f"in {', '.join(places[:MOST_PLACES])}{more}"
    for finding in record.findings:
        if finding.place == ANSWER:
            yield f"{finding.label} {ACTIONS.get(finding.action, finding.action)}"
    if seen := [label for label in record.answer_labels if label != UNSCANNED]:
        yield f"first seen in the answer: {', '.join(seen)}"
    if UNSCANNED in record.answer_labels:
        yield "the answer could not be looked at"


def tally(record: AuditRecord, asked: Sequence[Finding], action: str) -> str:
    """How many of which labels an action was for: "2 EMAIL, 1 PHONE"; no more numbers than are on record.

    The record tells the sum, and of each label, place and action that it was there, not how often.
    """
    labels = Counter(finding.label for finding in asked if finding.action == action)
    alone = labels.total() == len(asked)
    if len(asked) == record.pii_findings_count:
        return ", ".join(f"{count} {label}" for label, count in labels.items())
    told = ", ".join(labels)
    return f"{record.pii_findings_count} {told}" if alone else told


def asked_how(record: AuditRecord) -> str:
    """How the model was chosen."""
    how = "" if record.model == "auto" else ", by name"
    tier = f", tier {record.tier}" if record.tier and record.model == "auto" else ""
    return f"{how}{tier}{', private' if record.private else ''}"


def waterfall(shell: Console, steps: Sequence[Step], total: float, first: float | None) -> Iterator[str]:
    """A line for each room with its share of the time, and a scale. What comes after the last room is the stream."""
    begun = 0.0
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        bar = bar_of(shell, begun, step.ms, total, streams=last)
        note = f"first token {span(first)}" if last and first is not None else step.note
        yield f"  {padded(step.room, 11)} {padded(bar, BAR + 1)} {tenth(step.ms):>9}   {note}".rstrip()
        begun += step.ms
    scale = span(total)
    yield shell.style(f"  {' ' * 11} {padded('0', BAR - len(scale))} {scale}", "dim")


def tenth(ms: float) -> str:
    """Milliseconds to a tenth."""
    return f"{ms:,.1f} ms"


def bar_of(shell: Console, begun: float, ms: float, total: float, *, streams: bool) -> str:
    """The bar of a room that took *ms* from *begun* on, of *total*; light to the end where the answer streams."""
    scale = BAR / total if total > 0 else 0.0
    gap = " " * min(BAR, int(begun * scale))
    room = BAR - len(gap)
    eighths = max(1, min(room * 8, round(ms * scale * 8)))
    solid = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
    light = "░" * (room - columns_of(solid)) if streams else ""
    drawn = solid + light
    return gap + (drawn if shell.unicode else re.sub("[^░]", "#", drawn).replace("░", "."))
