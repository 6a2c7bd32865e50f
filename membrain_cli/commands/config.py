"""`config`: the settings, and where each comes from.

`membrain.config` knows what there is and what a value must be; this only shows it and hands it on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from membrain.errors import Misconfigured
from membrain.places import Places
from membrain_cli import daemon
from membrain_cli.commands import family
from membrain_cli.console import Column, Console, Exit, current
from membrain_cli.reach import Reach

if TYPE_CHECKING:
    from membrain.config import Settings

config = family("Settings, and where each comes from.")

DEFAULT, FILE = "default", "config.toml"
"""Where a setting's value may come from, beside an environment variable."""
ALWAYS = ("port", "tier", "auth.mode")
"""Settings that are listed even at their default."""


def names(incomplete: str) -> list[tuple[str, str]]:
    """Settings for the shell's completion, with their sentences; those of the user's own naming with their values."""
    from membrain.config import load, settings_table, spell

    found = {row.name: row.doc for row in settings_table()}
    with contextlib.suppress(Misconfigured):
        found = {name: spell(value) for name, value in load().items()} | found
    return [(name, told) for name, told in found.items() if name.startswith(incomplete)]


Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False, autocompletion=names)]
All = Annotated[bool, typer.Option("--all", "-a", help="Those at their default too.")]


@config.callback()
def overview(context: typer.Context, everything: All = False) -> None:
    """Settings, and where each comes from."""
    if context.invoked_subcommand is None:
        show(current(), everything=everything)


@config.command("list")
def list_settings(everything: All = False) -> None:
    """Settings that differ from their default, and where each comes from."""
    show(current(), everything=everything)


COLUMNS = (
    Column("setting", lambda row: row["name"], lambda row: row["name"]),
    Column("value", lambda row: row["text"], lambda row: row["text"], cut=8),
    Column("from", lambda row: current().style(row["from"], "dim"), lambda row: row["from"], cut=11, spare=1),
)


def show(shell: Console, *, everything: bool) -> None:
    """List the settings: for programs all of them, for a person those that were set."""
    from membrain.config import load

    settings = load(shell.environ)
    rows = [row_of(settings, name, value) for name, value in settings.items()]
    kept = [row for row in rows if row["from"] != DEFAULT or row["name"] in ALWAYS]
    whole = everything or shell.json or not shell.is_tty_out
    shell.table(
        COLUMNS,
        rows if whole else kept,
        header=False,
        prepare=lambda row: {"name": row["name"], "value": row["value"], "from": row["from"]},
    )
    if not whole and len(kept) < len(rows):
        shell.say(shell.style(f"  {len(rows) - len(kept)} more at their default: --all", "dim"))


def row_of(settings: Settings, name: str, value: Any) -> dict[str, Any]:
    """A setting as it is listed."""
    from membrain.config import spell

    return {"name": name, "value": value, "text": spell(value), "from": settings.origin(name)}


@config.command()
def get(name: Name) -> None:
    """Print one setting's value."""
    from membrain.config import load

    shell = current()
    row = row_of(settings := load(shell.environ), name, settings.value(name))
    if shell.json:
        shell.record({"name": name, "value": row["value"], "from": row["from"]})
    else:
        shell.out(row["text"])


@config.command("set")
def set_value(
    name: Name,
    value: Annotated[str, typer.Argument(metavar="VALUE", show_default=False)],
) -> None:
    """Set one, in the settings file."""
    from membrain.config import save, spell

    shell = current()
    before = told_before(shell.environ, name)
    kept = save(Places.find(shell.environ), name, value)
    note = taken_up(shell, name)
    if shell.json:
        shell.record({"name": name, "before": before, "value": kept})
        return
    said = f"{name}: {before} → {spell(kept)}" if before is not None else f"{name}: {spell(kept)}"
    shell.say(f"{shell.glyph('fine')} {said}.{note}")
    overruled(shell, name)


@config.command()
def unset(name: Name) -> None:
    """Take one out of the settings file, so that its default holds again."""
    from membrain.config import unset as take_out

    shell = current()
    was_there = take_out(Places.find(shell.environ), name)
    now = told_before(shell.environ, name)
    note = taken_up(shell, name)
    if shell.json:
        shell.record({"name": name, "was_set": was_there, "value": now})
    elif was_there:
        said = f"{name} is gone" if now is None else f"{name}: {now} again"
        shell.say(f"{shell.glyph('fine')} {said}.{note}")
    else:
        shell.say(f"{shell.glyph('none')} {name} was not in the settings file.")


def told_before(environ: Mapping[str, str], name: str) -> str | None:
    """A setting's value in words; None if it has none, or the file cannot be read as it is."""
    from membrain.config import load, spell

    try:
        return spell(load(environ).value(name))
    except Misconfigured:
        return None


AT_ONCE = (
    *("providers.", "secrets.", "aliases.", "prices.", "routing.", "tier", "pii."),
    *("budget.", "rate.", "cache.", "audit.content"),
)
"""How the settings begin that a running gateway reads anew when it is asked to."""


def taken_up(shell: Console, name: str = "") -> str:
    """Whether the running gateway has the change now, or what to do so that it takes it."""
    if not daemon.is_up(shell.environ):
        return ""
    if name.startswith(AT_ONCE) and Reach(shell.environ).reload():
        return "  The running gateway has it now."
    return f"  The running gateway needs a restart:  {shell.style('membrain restart', 'accent')}"


def overruled(shell: Console, name: str) -> None:
    """Say so if the environment goes before what was just set."""
    from membrain.config import load

    if (origin := load(shell.environ).origin(name)) not in {FILE, DEFAULT}:
        shell.say(f"{shell.glyph('look')} {origin} is set and goes before it.")


@config.command()
def edit() -> None:
    """Open the settings file in your editor, and check it afterwards."""
    from membrain.config import load

    shell = current()
    if shell.no_input or not shell.is_tty_in:
        shell.fail("An editor needs a terminal.", ("Without one", "membrain config set NAME VALUE"), code=Exit.USAGE)
    path = Places.find(shell.environ).create().config_file
    if not daemon.edit(path, shell.environ):
        shell.fail("The editor did not end well.", ("Choose one", "export EDITOR=nano"))
    load(shell.environ)
    shell.say(f"{shell.glyph('fine')} The settings are sound.{taken_up(shell)}")


@config.command()
def path() -> None:
    """Print where the settings, data and state are."""
    shell = current()
    places = Places.find(shell.environ)
    found = {
        "config": places.config_file,
        "data": places.data,
        "state": places.state,
        "log": places.log_file,
    }
    if shell.json:
        shell.record({name: str(each) for name, each in found.items()})
    elif not shell.is_tty_out:
        shell.out(str(places.config_file))
    else:
        shell.table(
            (
                Column("", lambda row: shell.style(row["name"], "dim"), lambda row: row["name"]),
                Column("", lambda row: row["path"], lambda row: row["path"]),
            ),
            [{"name": name, "path": str(each)} for name, each in found.items()],
            header=False,
        )
