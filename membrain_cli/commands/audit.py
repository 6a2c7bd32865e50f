"""`audit`: who asked what, where it went, and what it cost; and the proof that nobody changed what was written down.

The list, one exchange, what happens now, the chain, a copy of it, and what is to be erased. Works whether or not the
gateway runs. The record is the gateway's; here it is only told.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from membrain.errors import MembrainError, NotFound
from membrain.records import AuditRecord
from membrain_cli import copies, trail
from membrain_cli.asking import filtered, wanted, when
from membrain_cli.commands import family
from membrain_cli.console import CommandError, Console, Exit, current
from membrain_cli.exchange import AT, COLUMNS, NOTHING_KEPT, REST, page
from membrain_cli.reach import Reach, down

audit = family("Who asked what, and where it went.")


def exchanges(incomplete: str) -> list[tuple[str, str]]:
    """Ids of the last exchanges, with their models, for the shell's completion."""
    try:
        found = Reach(current().environ).audit({"limit": "50"})
    except (CommandError, MembrainError):
        return []
    return [(record.id, record.model) for record in found if record.id.startswith(incomplete)]


# --- the list ------------------------------------------------------------------------------------------------


Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=10_000, help="How many.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on as more happens.")]


@audit.callback()
@audit.command("list", hidden=True)
@filtered
def list_exchanges(context: typer.Context, query: dict[str, str], limit: Limit = 40, follow: Follow = False) -> None:
    """Who asked what, and where it went, newest first. All filters combine."""
    if context.invoked_subcommand is None:
        (follow_exchanges if follow else show_list)(current(), {**query, "limit": str(limit)})


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


# --- one exchange --------------------------------------------------------------------------------------------


@audit.command("show")
def show_one(
    id: Annotated[str, typer.Argument(metavar="ID", show_default=False, autocompletion=exchanges)],
    wire: Annotated[
        bool, typer.Option("--wire", help="What left this machine, as a provider was given it, byte for byte.")
    ] = False,
    sent: Annotated[bool, typer.Option("--sent", hidden=True)] = False,
) -> None:
    """One exchange, by its id or the beginning of it."""
    shell = current()
    reach = Reach(shell.environ)
    try:
        record = reach.exchange(id)
    except NotFound as error:
        shell.fail(error.message, ("See them", "membrain audit"), code=Exit.of(error.status, error.code))
    if wire or sent:
        trail.show_wire(shell, reach, record)
    elif shell.json:
        shell.record(record.to_dict())
    else:
        kept = "what left, masked (--wire)" if reach.kept(record.id) is not None else NOTHING_KEPT
        for line in page(shell, record, kept, reach.link(record.id)):
            shell.out(line)


# --- the chain -----------------------------------------------------------------------------------------------


@audit.command("verify")
def verify(
    head: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='Heads that were kept elsewhere ("-" for stdin).', show_default=False),
    ] = None,
) -> Exit:
    """Prove that no record was changed, removed or cut off. Exit status 6 if one was, 2 if nobody can tell."""
    shell = current()
    return trail.verify(shell, Reach(shell.environ), head)


@audit.command("head")
def head(
    show_key: Annotated[
        bool,
        typer.Option(
            "--show-key", help="The chain's key instead: who verifies it elsewhere needs it, and could forge."
        ),
    ] = False,
    confirm: Annotated[str, typer.Option(metavar="WORD", help="Do not ask.", show_default=False)] = "",
) -> None:
    """The last record's seal, signed, to keep elsewhere. A chain whose end is cut off later does not fit it."""
    shell = current()
    reach = Reach(shell.environ)
    (trail.tell_key(shell, reach, confirm) if show_key else trail.tell_head(shell, reach))


@audit.command("export")
@filtered
def export_exchanges(
    query: dict[str, str],
    format: Annotated[str, typer.Option(metavar="jsonl|csv", help="One object a line, or a table.")] = "jsonl",
    names: Annotated[
        str,
        typer.Option(metavar="membrain|otel", help="Our names of the fields, or OpenTelemetry's where it has some."),
    ] = "membrain",
) -> None:
    """Write all exchanges that match to stdout, oldest first."""
    shell = current()
    copies.write_copy(shell, Reach(shell.environ), query, format, names)


# --- erasing -------------------------------------------------------------------------------------------------


DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many.")]
Confirm = Annotated[str, typer.Option(metavar="NAME", help="Do not ask.", show_default=False)]


def whose(words: str) -> object:
    """An option that names whose exchanges are meant."""
    return typer.Option(metavar="NAME", help=words, show_default=False)


@audit.command("erase")
def erase(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", autocompletion=exchanges)] = None,
    user: Annotated[str, whose("All that was asked for this user.")] = "",
    caller: Annotated[str, whose("All that was asked with the client key of that name.")] = "",
    project: Annotated[str, whose("All of this project.")] = "",
    dry_run: DryRun = False,
    confirm: Confirm = "",
) -> None:
    """Remove what is on record of exchanges, for good. The chain stays whole, and tells that something was erased."""
    shell = current()
    named = {"user": user, "caller": caller, "project": project}
    query = {name: text for name, text in named.items() if text}
    trail.erase(shell, Reach(shell.environ), query, ids or [], confirm, dry_run=dry_run)


@audit.command("prune")
def prune(
    before: Annotated[str, typer.Option(metavar="TIME", help='"90d", or a date.', show_default=False)],
    dry_run: DryRun = False,
    confirm: Confirm = "",
) -> None:
    """Remove what is on record of all older exchanges, for good. The chain stays whole."""
    shell = current()
    trail.prune(shell, Reach(shell.environ), when(before), confirm, dry_run=dry_run)
