"""`usage`: what was asked and what it cost, by model, provider, key, project or day; and what is left of the budgets.

Works whether or not the gateway runs. The sums are the gateway's; here they are only told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from membrain_cli.asking import text, when
from membrain_cli.console import Column, Console, Exit, Style, columns_of, current, meant, moment, money, padded
from membrain_cli.listing import wrapped
from membrain_cli.reach import Reach

Json = Mapping[str, Any]

BY = {"model": "model", "provider": "provider", "key": "key", "caller": "key", "project": "project"}
BY |= {"day": "day (UTC)", "outcome": "outcome"}
"""What one may sum by, and the title of its column."""
NAMELESS = {"model": "(no answer)", "provider": "(no provider)", "key": "(no key)", "caller": "(no key)"}
"""What stands where a sum has no name."""

SHARE_BAR = 12
BUDGET_BAR = 20
"""Columns of the two kinds of bar."""
NEAR, OVER = 80, 100
"""Percent of a budget from which on it is shown as a warning, and as gone."""


def kinds(incomplete: str) -> list[str]:
    """What one may sum by, for the shell's completion."""
    return [name for name in BY if name.startswith(incomplete)]


By = Annotated[
    str,
    typer.Option(
        metavar="WHAT", help="model, provider, key, project, day or outcome.", autocompletion=kinds, show_default=True
    ),
]
Since = Annotated[
    str, typer.Option(metavar="TIME", help='From then on: "2h", "7d", "today", or a date.', show_default=True)
]
Until = Annotated[str, text("TIME", "Until then.")]
Project = Annotated[str, text("NAME", "Counted under this project.")]


def usage(by: By = "model", since: Since = "7d", until: Until = "", project: Project = "") -> None:
    """What was asked and what it cost, the dearest first, and what is left of the budgets."""
    shell = current()
    if by not in BY:
        said = f'"{by}" is nothing to sum by; it must be one of {", ".join(BY)}.{meant(by, BY)}'
        shell.fail(said, ("How it goes", "membrain usage --by model"), code=Exit.USAGE)
    given = {"by": by, "since": when(since), "until": when(until), "project": project}
    asked = {name: told for name, told in given.items() if told}
    found = Reach(shell.environ).usage_by(asked, shell.clock())
    if "rows" not in found:
        shell.fail("The running gateway is older than this command.", ("Restart it", "membrain restart"))
    if shell.json:
        shell.record(found)
    else:
        show(shell, found, asked)


def show(shell: Console, found: Json, asked: Mapping[str, str]) -> None:
    """The sums as a table; to a person also what the cache saved, the budgets, and what else one may ask."""
    rows = found["rows"]
    if not shell.is_tty_out:
        return shell.table(columns(shell, found), rows)
    if rows:
        saved = [{"saved_micros": found["saved_micros"]}] if found["cached"] else []
        shell.table(columns(shell, found), [*rows, *saved])
    if rows and found["budgets"]:
        shell.out()
    for line in budgets(shell, found["budgets"]):
        shell.out(line)
    for line in words(found, asked):
        shell.say(shell.style(f"  {line}", "dim"))
    return None


def words(found: Json, asked: Mapping[str, str]) -> Iterator[str]:
    """What stands below the table."""
    since = moment(asked.get("since", ""))
    told = f" since {since.astimezone():%Y-%m-%d %H:%M}" if since else ""
    if not found["rows"]:
        yield f"Nothing was asked{told}."
        return
    if number := found["unpriced"]:
        yield f"{number:,} answer{'' if number == 1 else 's'} at an unknown price: not in the cost."
    others = ", ".join(name for name in ("model", "provider", "key", "project", "day") if name != found["by"])
    yield f"{found['exchanges']:,} exchange{'' if found['exchanges'] == 1 else 's'}{told}.  --by {others}"


# --- the table -----------------------------------------------------------------------------------------------


def columns(shell: Console, found: Json) -> tuple[Column, ...]:
    """The columns of the sums in *found*; the bars are left out where the terminal is too narrow."""
    by, whole = found["by"], found["cost_micros"]
    rest = (
        Column("exchanges", number_of("exchanges"), lambda row: row["exchanges"], right=True, spare=1),
        Column("tokens in", number_of("prompt_tokens"), lambda row: row["prompt_tokens"], right=True, spare=3),
        Column("out", number_of("completion_tokens"), lambda row: row["completion_tokens"], True, least=7, spare=2),
        Column("cost", cost, lambda row: row["cost_micros"], right=True, least=7),
    )
    longest = max([14, *(columns_of(name_of(by, row)) for row in found["rows"])])
    bar = SHARE_BAR if longest + 72 <= shell.width else 0
    return (
        Column(BY[by], lambda row: name_of(by, row), lambda row: row["name"], least=14, cut=14),
        *rest,
        Column("share", lambda row: share_told(shell, row, whole, bar), lambda row: share(row, whole), spare=4),
    )


def name_of(by: str, row: Json) -> str:
    """What a row is a sum of."""
    if "name" not in row:
        return "saved by cache"
    return row["name"] or NAMELESS.get(by, "(none)")


def number_of(key: str) -> Callable[[Json], str]:
    """How a person reads the number *key*; nothing where there is none."""

    def told(row: Json) -> str:
        return f"{row[key]:,}" if key in row else ""

    return told


def cost(row: Json) -> str:
    """What it cost: a dot for nothing, "?" where nobody knows any of it."""
    if "name" not in row:
        return money(row["saved_micros"])
    if row["cost_micros"]:
        return money(row["cost_micros"])
    return "?" if row["unpriced"] else current().glyph("none")


def share(row: Json, whole: int) -> float | None:
    """A row's share of the cost, in percent; None where nothing cost anything."""
    return round(100 * row["cost_micros"] / whole, 1) if whole and "name" in row else None


def share_told(shell: Console, row: Json, whole: int, width: int) -> str:
    """That share as a bar and a number."""
    part = share(row, whole)
    if part is None:
        return ""
    percent = f"{part:>3.0f} %" if row["cost_micros"] else ""
    return f"{bar_of(shell, part / 100, width)}   {percent}".strip() if width else percent


def bar_of(shell: Console, part: float, width: int) -> str:
    """A bar of *width* columns, filled to *part* of 1 in eighths, and full at most. In ASCII, in whole signs."""
    eighths = round(min(max(part, 0), 1) * width * 8)
    if not shell.unicode:
        full = round(eighths / 8)
        return "#" * full + "." * (width - full)
    solid = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
    return solid + "·" * (width - len(solid))


# --- budgets -------------------------------------------------------------------------------------------------


def budgets(shell: Console, found: Sequence[Json]) -> Iterator[str]:
    """A line for each budget: whose and how long, how far it is gone, and where it is going."""
    width = max((columns_of(owner_of(each)) for each in found), default=0)
    for each in found:
        bar = shell.style(bar_of(shell, each["percent"] / 100, BUDGET_BAR), style_of(each["percent"]))
        line = f"  {padded(owner_of(each), width)}   {bar}   {spent(each)}"
        if columns_of(line) <= shell.width:
            yield line
        else:
            yield from wrapped([f"{owner_of(each)}:", shell.style(spent(each), style_of(each["percent"]))], shell.width)


def owner_of(budget: Json) -> str:
    """ "day" for the machine's own budget, else with its owner: "web (project), month"."""
    kind, _, name = budget["owner"].partition(":")
    return f"{name} ({kind}), {budget['period']}" if name else str(budget["period"])


def style_of(percent: float) -> Style:
    """How a bar is shown that is filled so far."""
    return "bad" if percent >= OVER else "warn" if percent >= NEAR else "good"


def spent(budget: Json) -> str:
    """What is spent of what, what is held, and what it comes to."""
    told = f"{money(budget['spent_micros'])} of {money(budget['limit_micros'])}"
    if budget["reserved_micros"]:
        told += f", {money(budget['reserved_micros'])} held"
    ahead = budget["forecast_micros"]
    if ahead is not None and ahead > budget["spent_micros"]:
        told += f", about {round_money(ahead)} by the end at this pace"
    return told


def round_money(micros: int) -> str:
    """An amount that is a guess: whole dollars from ten on."""
    return f"${micros / 1_000_000:,.0f}" if micros >= 10_000_000 else money(micros)
