"""An exchange as it is read: a row of a list, or a page of its own with a line for each room.

It tells what is on record, and asks nobody.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from membrain.records import AuditRecord, Finding, Step
from membrain_cli.console import Column, Console, Style, columns_of, current, moment, money, padded, span

SHORT = 6
"""Signs of an exchange's id that a person is shown; any beginning that only one has will do."""
BAR, LEAST_BAR = 40, 8
"""Columns of the bar that stands for the whole exchange, where there is room, and at the least."""
BESIDE = 46
"""Columns of a room's line beside its bar: name, time and note."""

# --- a row ---------------------------------------------------------------------------------------------------


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


def brief_cost(row: Mapping[str, Any]) -> str:
    """What it cost, in the fewest signs."""
    return cost(row).replace("under ", "<")


AGO = Column("when", lambda row: current().ago(row["time"]), lambda row: row["time"], spare=3)
AT = Column("when", lambda row: time_of_day(row["time"]), lambda row: row["time"], spare=3)
REST = (
    Column("id", lambda row: row["id"][:SHORT], lambda row: row["id"]),
    Column("model", answered_by, answered_by, least=18, cut=12),
    Column("by", by, lambda row: row["provider"], least=12, cut=8, spare=4),
    Column("took", lambda row: span(row["ms"]), lambda row: row["ms"], right=True, least=7, spare=5),
    Column("cost", brief_cost, lambda row: row["cost_micros"], right=True, least=7, spare=2),
    Column("pii", found, lambda row: row["pii_labels"], least=4, cut=7, spare=1),
    Column("outcome", ending, lambda row: row["outcome"], cut=9),
)
COLUMNS = (AGO, *REST)


# --- a page --------------------------------------------------------------------------------------------------


NOTHING_KEPT = "no text"
"""What is said of an exchange of which no word is on the disk."""


def page(
    shell: Console, record: AuditRecord, kept: str = NOTHING_KEPT, link: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """What `audit show` shows; *kept* says what is kept of the text, and *link* is its place in the chain."""
    row = record.to_dict()
    who = ", ".join(each for each in (record.caller, f"project {record.project}") if each)
    head = f"{record.id[:SHORT]}   {time_of_day(record.time)}   {who}"
    end = f"{ending(row)}, {span(record.ms)}" if record.ms is not None else ending(row)
    yield padded(head, max(columns_of(head) + 2, min(78, shell.width) - columns_of(end))) + end
    yield ""
    for name, words in (*facts(shell, record, row), ("kept", kept)):
        yield f"  {shell.style(padded(name, 11), 'dim')}{words}"
    if record.steps:
        yield ""
        yield from waterfall(shell, record.steps, record.ms or sum(step.ms for step in record.steps), record.first_ms)
    if link is not None:
        yield ""
        yield f"  {shell.style(padded('chain', 11), 'dim')}{chained(shell, link)}"


def chained(shell: Console, link: Mapping[str, Any]) -> str:
    """A record's place in the chain: its number, its seal and the one before, and whether they fit."""
    before = shell.style("←" if shell.unicode else "<-", "dim")
    fits = shell.glyph("fine" if link["sound"] else "broken")
    return f"record {link['seq']:,}   seal {short(link['seal'])} {before} {short(link['previous'])}   {fits}"


def short(digest: str) -> str:
    """The ends of a digest, enough to compare by eye."""
    return f"{digest[:4]}…{digest[-4:]}" if len(digest) > 9 else digest


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
    if record.cached and record.saved_micros is not None:
        yield "saved", money(record.saved_micros, exact=True)
    if record.reserved_micros is not None:
        yield "reserved", f"{money(record.reserved_micros, exact=True)} while it ran"
    if record.sent_sha256:
        yield "left", f"sha256 {short(record.sent_sha256)}"
    yield from (("" if place else "pii", words) for place, words in enumerate(private(record, row)))


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
    begun, width = 0.0, max(LEAST_BAR, min(BAR, shell.width - BESIDE))
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        bar = bar_of(shell, begun, step.ms, total, streams=last, width=width)
        note = f"first token {span(first)}" if last and first is not None else step.note
        yield f"  {padded(step.room, 11)} {padded(bar, width + 1)} {tenth(step.ms):>9}   {note}".rstrip()
        begun += step.ms
    scale = span(total)
    yield shell.style(f"  {' ' * 11} {padded('0', width - len(scale))} {scale}", "dim")


def tenth(ms: float) -> str:
    """Milliseconds to a tenth."""
    return f"{ms:,.1f} ms"


def bar_of(shell: Console, begun: float, ms: float, total: float, *, streams: bool, width: int = BAR) -> str:
    """The bar of a room that took *ms* from *begun* on, of *total*; light to the end where the answer streams."""
    scale = width / total if total > 0 else 0.0
    gap = " " * min(width, int(begun * scale))
    room = width - len(gap)
    eighths = max(1, min(room * 8, round(ms * scale * 8)))
    solid = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
    light = "░" * (room - columns_of(solid)) if streams else ""
    drawn = solid + light
    return gap + (drawn if shell.unicode else re.sub("[^░]", "#", drawn).replace("░", "."))
