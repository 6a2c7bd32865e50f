"""One exchange, opened: where its milliseconds went, and why this model. As text with the console's marks.

The facts and the words are those of `audit show` and `route explain`. Draws nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from membrain.records import AuditRecord, Considered, Decision, Explanation
from membrain_cli.commands.route import head as asked_for
from membrain_cli.commands.route import ranked
from membrain_cli.console import Console, clean_cell, columns_of, padded, span
from membrain_cli.exchange import SHORT, asked_how, by, cost, ending, facts, tenth, time_of_day

ROOM = 11
"""Columns of a room's name."""
INSTANT = 1e-6
"""Milliseconds that cannot be told from none."""
NOTE = 17
"""Columns that are left for what a room has to say."""
MOST_BAR, LEAST_BAR = 60, 8
"""Columns of the bar of the whole exchange; where there is no room for the least, there is none."""
TOLD = {"asked", "answered", "tokens", "left", "reserved"}
"""Facts of `audit show` that stand in the head here, or say nothing of the way it went."""

Line = tuple[str, str]
"""The two ends of a line."""


def title(shell: Console, record: AuditRecord) -> str:
    """Which exchange this is."""
    parts = [record.id[:SHORT], time_of_day(record.time), record.caller]
    parts += [record.project] if record.project != "default" else []
    return (" · " if shell.unicode else " - ").join(clean_cell(part) for part in parts if part)


def page(shell: Console, record: AuditRecord, width: int) -> Iterator[Line]:
    """What happened: asked and answered, what else there is to know, and a line for each room."""
    row = record.to_dict()
    arrow = "→" if shell.unicode else "->"
    answered = record.answered_model or record.model
    whom = by(row) if answered == record.model else f"{answered} by {by(row)}"
    ended = ending(row) if record.outcome == "refused" else whom
    yield f"{record.model}{asked_how(record)}  {arrow}  {ended}", counted(record, cost(row))
    for name, words in facts(shell, record, row):
        if name not in TOLD:
            yield f"{shell.style(padded(name, ROOM), 'dim')} {words}", ""
    yield "", ""
    yield from ((line, "") for line in waterfall(shell, record, width))
    yield "", ""
    yield f"{shell.style('Why this model', 'dim')}   {why(record)}", ""


def counted(record: AuditRecord, price: str) -> str:
    """Tokens in and out, and what it cost."""
    if record.prompt_tokens is None and record.completion_tokens is None:
        return price
    return f"{record.prompt_tokens or 0:,} in  {record.completion_tokens or 0:,} out  {price}"


def why(record: AuditRecord) -> str:
    """The one reason why this model was asked first."""
    if record.decision is None:
        return "it was answered before that was asked" if record.cached else "nobody was to be asked"
    kept = record.decision.chain
    if not kept:
        return "nobody was fit to answer"
    more = len(kept) - 1
    after = f"; {more} to fall back on" if more else "; no fallback"
    return f"{kept[0].reason}{after}"


# --- where the time went -------------------------------------------------------------------------------------


def waterfall(shell: Console, record: AuditRecord, width: int) -> Iterator[str]:
    """A line for each room with its share of the time. What comes after the last room is the stream."""
    total = record.ms or sum(step.ms for step in record.steps)
    room = min(MOST_BAR, width - ROOM - NOTE - 16)
    begun = 0.0
    for index, step in enumerate(record.steps):
        last = index == len(record.steps) - 1
        drawn = bar(shell, (begun, step.ms, total), room, streams=last) if room >= LEAST_BAR else ""
        note = f"first {span(record.first_ms)}" if last and record.first_ms is not None else step.note
        gap = f" {padded(shell.style(drawn, 'accent'), room)} " if drawn else " "
        yield f"{padded(step.room, ROOM)}{gap}{tenth(step.ms):>11}   {note}".rstrip()
        begun += step.ms
    if record.steps and room >= LEAST_BAR:
        scale = span(total)
        yield shell.style(f"{' ' * ROOM} 0{scale:>{room - 1}}", "dim")


def bar(shell: Console, part: tuple[float, float, float], width: int, *, streams: bool) -> str:
    """*part* is begin, length and the whole, in milliseconds, as a bar; light to the end where the answer streams."""
    begun, ms, total = part
    scale = width / total if total > INSTANT else 0.0
    gap = int(min(width - 1, begun * scale))
    room = width - gap
    eighths = max(1, round(min(room * 8, ms * scale * 8)))
    solid = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
    if not shell.unicode:
        solid = "#" * len(solid)
    light = ("░" if shell.unicode else ".") * (room - len(solid)) if streams else ""
    return " " * gap + solid + light


# --- why -----------------------------------------------------------------------------------------------------


def explained(decision: Decision) -> Explanation:
    """A decision of the past, as `route explain` tells of one."""
    every = [Considered(each.model, each.provider, each.kept, each.reason, each.local) for each in decision.candidates]
    given = (decision.asked, decision.asked, decision.tier, decision.private, decision.max_cost)
    return Explanation(*given, candidates=tuple(every))


def decided(shell: Console, record: AuditRecord) -> Iterator[Line]:
    """Every candidate, in the order in which it would be asked, kept or dropped, each with the one reason."""
    if record.decision is None:
        yield why(record), ""
        return
    told = explained(record.decision)
    yield " ".join(line.strip() for line in asked_for(shell, told, prompted=False)), ""
    yield "", ""
    found = ranked(told)
    names = [(each.considered.model, whose(each.considered)) for each in found]
    first, second = (max((columns_of(clean_cell(name[at])) for name in names), default=0) for at in (0, 1))
    for (model, provider), each in zip(names, found, strict=True):
        glyph = shell.glyph("up" if each.rank else "off")
        state = f"{glyph} {each.state:<8}"
        cells = [f"{each.rank or ' '}", padded(clean_cell(model), first), padded(clean_cell(provider), second), state]
        yield "  ".join([*cells, each.considered.reason]), ""


def whose(one: Considered) -> str:
    """The provider, and whether it is on this machine."""
    return f"{one.provider} (local)" if one.local else one.provider
