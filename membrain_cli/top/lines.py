"""What stands on the dashboard, as text with the console's own marks: the head, the tiles, rows, providers, budgets.

The words are those of the other commands (`membrain_cli.exchange`, `usage`). What came from elsewhere is passed on as
it is: it is cleaned where it is painted (`paint`). Draws nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from membrain_cli.commands.pii import counts, plain
from membrain_cli.commands.usage import bar_of, owner_of, style_of
from membrain_cli.console import Console, Style, columns_of, current, moment, money, padded, span, uptime
from membrain_cli.exchange import SHORT, answered_by, by, cost, ending
from membrain_cli.top.curves import Bucket, medians
from membrain_cli.top.state import Figures, Row, Told, View, found_in

Json = Mapping[str, Any]

# --- what fits -----------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """A part of a line, and how much it matters: where there is no room, what matters least is left out."""

    text: str
    weight: int = 0


def joined(parts: Sequence[Part], width: int, between: str) -> str:
    """As many of *parts* as fit into *width* columns, in their order; the weightiest stays in any case."""
    kept = [part for part in parts if part.text]
    while len(kept) > 1 and columns_of(between.join(part.text for part in kept)) > width:
        kept.pop(max(range(len(kept)), key=lambda place: (-kept[place].weight, place)))
    return between.join(part.text for part in kept)


# --- the head ------------------------------------------------------------------------------------------------

SPANS = {300: "last 5 min", 900: "last 15 min", 3600: "last hour"}
"""The windows, in words."""


def head(shell: Console, view: View, width: int) -> str:
    """Whether the gateway is up, where, and how it is set."""
    parts = [Part(shell.style("membrain", "bold"), 2), *LINKS[view.link](shell, view)]
    return " " + joined(parts, width - 1, "   ")


def head_up(shell: Console, view: View) -> list[Part]:
    """The gateway as it runs."""
    health = view.health
    masking = health.get("masking")
    told = "" if masking is None else shell.style("pii not masked", "warn") if masking == "off" else f"pii {masking}"
    return [
        Part(f"{shell.glyph('up')} up {uptime(view.up_seconds)}", 5),
        Part(str(health.get("url", "")).removeprefix("http://"), 3),
        Part(shell.style(str(health.get("auth", "")), "dim"), 1),
        Part(told, 4),
    ]


def head_down(shell: Console, view: View) -> list[Part]:
    """The gateway as it is not there: why, if somebody said, and what to press."""
    dash = "–" if shell.unicode else "-"  # noqa: RUF001  # the longer one is meant
    key = shell.style("u", "accent")
    if not view.trouble:
        return [Part(f"{shell.glyph('off')} down {dash} press {key} to start it", 5)]
    return [Part(f"{shell.glyph('broken')} {view.trouble} {dash} {key} starts it", 5)]


LINKS: dict[str, Callable[[Console, View], list[Part]]] = {
    "seeking": lambda shell, _: [Part(f"{shell.glyph('slow')} {shell.style('looking for the gateway', 'dim')}", 5)],
    "up": head_up,
    "starting": lambda shell, _: [Part(f"{shell.glyph('slow')} starting", 5)],
    "down": head_down,
}
"""What the head says, by how we stand with the gateway."""


def motion(shell: Console, view: View, window: int, waiting: int | None, width: int) -> str:
    """The right end of the head: the window, and whether the screen moves. *waiting* is None unless it is paused."""
    if waiting is not None:
        sign = "❚❚" if shell.unicode else "||"
        state = shell.style(f"{sign} paused, {waiting:,} new", "warn")
    elif view.link == "up":
        state = f"{'▶' if shell.unicode else '>'} live"
    else:
        state = ""
    return joined([Part(shell.style(SPANS[window], "dim")), Part(state, 1)], width, "   ")


def waits(shell: Console, view: View) -> str:
    """What is said of requests that wait for a person; nothing if none does."""
    if not view.holds:
        return ""
    first = view.holds[0]
    more = f", and {len(view.holds) - 1} more" if len(view.holds) > 1 else ""
    answer = f"{shell.style('a', 'accent')} to answer"
    return (
        f" {shell.glyph('look')} {first.get('caller') or 'A request'} waits for you: {counts(first)}{more}   {answer}"
    )


# --- the tiles -----------------------------------------------------------------------------------------------


class Tile(NamedTuple):
    """One of the four: its title, what stands above and below its curve, and what the curve is of."""

    title: str
    above: Callable[[Figures], str]
    below: Callable[[Figures], list[str]]
    """The first matters most."""
    curve: Callable[[list[Bucket]], list[float | None]]
    between: str = "  "


def asked_below(figures: Figures) -> list[str]:
    """How many today, and how many of them our own cache answered."""
    return [
        f"{figures.today:,} today",
        *([f"{100 * figures.cached / figures.today:.0f} % hit"] if figures.today else []),
    ]


def speed(ms: float | None) -> str:
    """A duration, or a dot where there is none."""
    return span(ms) or current().glyph("none")


def spent_below(figures: Figures) -> list[str]:
    """The day's budget, and what the cache saved."""
    limit = [] if figures.limit is None else [f"of {money(figures.limit)}"]
    return [*limit, *([f"saved {money(figures.saved)}"] if figures.saved else [])]


def below(tile: Tile, figures: Figures, width: int) -> str:
    """What stands below a tile's curve, as much as fits."""
    parts = [Part(text, -place) for place, text in enumerate(tile.below(figures))]
    return joined(parts, width, tile.between)


TILES = (
    Tile(
        "requests",
        lambda each: f"{each.per_minute:,.1f} /min",
        asked_below,
        lambda pieces: [each.count for each in pieces],
        between=", ",
    ),
    Tile(
        "latency",
        lambda each: f"{speed(each.p50)} p50",
        lambda each: [f"p99 {speed(each.p99)}", f"first {speed(each.first)}"],
        medians,
    ),
    Tile(
        "spend",
        lambda each: f"{money(each.spent)} today",
        spent_below,
        lambda pieces: [each.cost for each in pieces],
    ),
    Tile(
        "pii",
        lambda each: f"{each.masked:,} masked today",
        lambda each: [f"{plain(label)} {number}" for label, number in each.labels],
        lambda pieces: [each.found for each in pieces],
        between=" ",
    ),
)


def numbers(shell: Console, figures: Figures, width: int) -> str:
    """The tiles on one line, where there is no room for them."""
    above = [Part(tile.above(figures), -place) for place, tile in enumerate(TILES)]
    return " " + joined(above, width - 1, " · " if shell.unicode else " - ")


# --- the exchanges -------------------------------------------------------------------------------------------


class Cell(NamedTuple):
    """A column of the list: its title, what stands in it, and how wide it is."""

    title: str
    told: Callable[[Console, Json], str]
    least: int
    share: int = 0
    """Of what is left over, in proportion to the others'."""
    right: bool = False
    from_width: int = 0
    """Columns of the list from which on it is shown."""


SIGNS = {"answered": "up", "refused": "look", "failed": "broken", "open": "slow"}
"""The sign of an exchange by how it ended; of the others, that it is off."""


def sign(shell: Console, row: Json) -> str:
    """How an exchange ended, as a sign."""
    return shell.glyph(SIGNS.get(row["outcome"], "off"))


def clock(_shell: Console, row: Json) -> str:
    """When it came in, on this machine's clock."""
    then = moment(row["time"])
    return "" if then is None else f"{then.astimezone():%H:%M:%S}"


def whom(_shell: Console, row: Json) -> str:
    """Who answered; of a refusal, over what."""
    return ending(row) if row["outcome"] == "refused" else by(row)


def found(shell: Console, row: Json) -> str:
    """What was found and how often; where that is not on record for each label, all together."""
    if not row["pii_findings_count"]:
        return shell.glyph("none")
    told = found_in(row)
    if sum(number for _, number in told) == row["pii_findings_count"]:
        return " ".join(f"{plain(label)} {number}" for label, number in told)
    return f"{', '.join(plain(label) for label, _ in told)} {row['pii_findings_count']}"


def tokens(shell: Console, row: Json) -> str:
    """Tokens in and out."""
    if row["prompt_tokens"] is None and row["completion_tokens"] is None:
        return shell.glyph("none")
    return f"{row['prompt_tokens'] or 0:,} in {row['completion_tokens'] or 0:,} out"


CELLS = (
    Cell("", sign, 1),
    Cell("time", clock, 8, from_width=34),
    Cell("model", lambda _, row: answered_by(row), 12, share=5),
    Cell("by", whom, 10, share=4, from_width=62),
    Cell("caller", lambda shell, row: row["caller"] or shell.glyph("none"), 8, share=1, from_width=100),
    Cell("took", lambda _, row: span(row["ms"]), 7, right=True),
    Cell("tokens", tokens, 20, right=True, from_width=120),
    Cell("cost", lambda _, row: cost(row).replace("under ", "<"), 8, right=True, from_width=48),
    Cell(" pii", lambda shell, row: f" {found(shell, row)}", 9, share=3, from_width=48),
    Cell("id", lambda _, row: row["id"][:SHORT], SHORT, from_width=120),
)
"""The columns of the list, with a blank between each two."""


def layout(width: int) -> list[tuple[Cell, int]]:
    """The columns that fit into *width*, and how wide each is."""
    shown = [cell for cell in CELLS if width >= cell.from_width]
    left = max(0, width - sum(cell.least + 1 for cell in shown) + 1)
    shares = sum(cell.share for cell in shown)
    return [(cell, cell.least + left * cell.share // shares) for cell in shown]


def tally(shell: Console, view: View, listed: int, width: int, *, following: bool, filtered: bool) -> str:
    """What stands below the list: how many are *listed* of how many, and whether it follows."""
    total, running = max(view.figures.today, view.seen), view.figures.running if view.link == "up" else 0
    parts = [
        Part(f"{listed:,} of {total:,}", 5),
        Part(f"{view.lost:,} too fast to show" if view.lost else "", 2),
        Part(f"{running:,} running" if running else "", 1),
        Part("filtered" if filtered else "", 4),
        Part("following" if following else "holding", 3),
    ]
    return joined(parts, width, " · " if shell.unicode else " - ")


NOTHING = {"up": "Nothing was asked yet.  Ask something:  membrain chat"}
"""What an empty list says, by how we stand with the gateway."""


def emptiness(shell: Console, view: View, *, filtered: bool) -> str:
    """What stands in a list without rows."""
    return shell.style("Nothing passes the filter." if filtered and view.seen else NOTHING.get(view.link, ""), "dim")


def row_cells(shell: Console, row: Row, columns: list[tuple[Cell, int]]) -> Iterator[tuple[str, int, bool]]:
    """The cells of an exchange: text, width, and whether it stands at the right."""
    for cell, width in columns:
        yield cell.told(shell, row.record), width, cell.right


# --- the right column ----------------------------------------------------------------------------------------


def provider(shell: Console, each: Told) -> tuple[str, str, str]:
    """A provider: sign and name, how fast it is, and what else is to be said."""
    left = f"{shell.glyph(each.standing)} {each.name}"
    if each.standing == "off":
        return left, "", shell.style(each.note or "not there", "dim")
    return left, span(each.took), words_of(shell, each)


ALARMING = 5.0
"""Percent of failed tries from which on they are shown as trouble."""


def words_of(shell: Console, each: Told) -> str:
    """What else is to be said of a provider that is up: that it is slow, that tries failed, that it is local."""
    if each.failed:
        style: Style = "bad" if each.failed >= ALARMING else "warn"
        return shell.style(f"{each.failed:.1f} %", style)
    if each.standing == "slow":
        return shell.style("slow", "warn")
    return shell.style("local", "dim") if each.local else "" if each.took is None else shell.style("0.0 %", "dim")


def no_budget(shell: Console) -> list[str]:
    """What stands there without one."""
    return ["none set", shell.style("membrain config set", "accent"), shell.style("  budget.day 5.00", "accent")]


def budget(shell: Console, each: Json, width: int) -> Iterator[str]:
    """A budget on two lines of *width* columns: whose, with its bar, and what is spent of what."""
    percent = 100 * each["spent_micros"] / each["limit_micros"] if each["limit_micros"] else 100.0
    name = owner_of(each)
    room = max(4, width - 7)
    bar = shell.style(bar_of(shell, percent / 100, room), style_of(percent))
    spent = f"{money(each['spent_micros'])} of {money(each['limit_micros']).removesuffix('.00')}"
    if len(name) > 6:
        yield name
        name = ""
    yield f"{name:<6} {bar}"
    yield f"{'':<6} {padded(spent, room - 5)}{percent:>3.0f} %"
