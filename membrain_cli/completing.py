"""What the shell may offer for a word: models, providers, keys, projects, the last exchanges, and short lists of words.

Asked of the running gateway, or of its files where it is down. It takes at most `LIMIT`; what comes later, or fails,
is no offer, and nobody is told. Names that others chose (a model's, a setting's value) are foreign text in a shell:
only those that every shell takes for a plain word are offered. Commands and options are Typer's business.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from membrain.errors import MembrainError
from membrain_cli.console import CommandError, current
from membrain_cli.reach import Reach

if TYPE_CHECKING:
    # Typer carries its own copy of click under a private name.
    from typer._click import Command, Context, Parameter
    from typer._click.shell_completion import CompletionItem

LIMIT = 0.2
"""Seconds that asking may take, all in all."""
RECENT = "50"
"""How many of the last exchanges are offered, or looked through."""

PLAIN = re.compile(r"[\w@%+:,./][\w@%+=:,./-]*")
"""What no shell takes for more than a word."""
TOLD = re.compile(r"[^\w .,:;/@%+=·-]")
"""What is left out of the words beside an offer."""

Offer = tuple[str, str]
"""A word, and what it is."""
Source = Callable[[Reach], Iterable[Offer]]


# --- what there is -------------------------------------------------------------------------------------------


def models(reach: Reach) -> Iterable[Offer]:
    """Every model one may ask for; while the gateway is down, those that were asked for lately."""
    if reach.running is None:
        return [(record.model, "") for record in reach.audit({"limit": RECENT})]
    return [("auto", "the router chooses"), *((row["id"], row["provider"]) for row in reach.ask("GET", "/api/models"))]


def providers(reach: Reach) -> Iterable[Offer]:
    """Every provider; while the gateway is down, those that may have a key, and those that answered lately."""
    if reach.running is not None:
        return [(each["name"], str(each["note"] or each["where"])) for each in reach.running.health["providers"]]
    from membrain.config import load

    lately = [(record.provider, "") for record in reach.audit({"limit": RECENT}) if record.provider]
    return [*((name, "") for name in load(reach.environ).key_names), *lately]


def client_keys(reach: Reach) -> Iterable[Offer]:
    """The client keys that hold, by name."""
    return [(key.name, f"project {key.project}") for key in reach.client_keys() if key.revoked is None]


def projects(reach: Reach) -> Iterable[Offer]:
    """The projects of client keys, and of the last exchanges."""
    keyed = [key.project for key in reach.client_keys() if key.revoked is None]
    return [(name, "") for name in [*keyed, *(record.project for record in reach.audit({"limit": RECENT}))]]


def exchanges(reach: Reach) -> Iterable[Offer]:
    """The last exchanges, newest first, by id, with their model."""
    return [(record.id, record.model) for record in reach.audit({"limit": RECENT})]


def words(*names: str) -> Source:
    """Always the same."""
    return lambda _: [(name, "") for name in names]


TIERS = words("fast", "balanced", "best")
PII_LEVELS = words("basic", "standard", "strict")

OFFERS: dict[tuple[str, str], Source] = {
    ("", "--model"): models,
    ("", "--provider"): providers,
    ("", "--caller"): client_keys,
    ("", "--project"): projects,
    ("", "--tier"): TIERS,
    ("", "--outcome"): words("answered", "refused", "failed", "aborted", "interrupted", "open"),
    ("", "--scope"): words("ask", "read", "admin"),
    ("audit show", "id"): exchanges,
    ("audit erase", "ids"): exchanges,
    ("audit export", "--format"): words("jsonl", "csv"),
    ("audit export", "--names"): words("membrain", "otel"),
    ("env", "--format"): words("shell", "dotenv"),
    ("env", "--for"): words("openai", "anthropic"),
    ("env", "--shell"): words("bash", "zsh", "fish", "powershell"),
    ("help", "topic"): words("environment", "exit-codes", "output", "privacy"),
    ("keys rotate", "which"): client_keys,
    ("keys revoke", "which"): client_keys,
    ("logs", "--level"): words("debug", "info", "warning", "error"),
    ("pii scan", "--level"): PII_LEVELS,
    ("pii test", "--level"): PII_LEVELS,
    ("route explain", "model"): models,
    ("route explain", "--replay"): exchanges,
}
"""What is offered for an option, or for a word of a command; "" stands for every command."""


# --- to the shell --------------------------------------------------------------------------------------------


def attach(command: Command, path: str) -> None:
    """Let *command*, called by the words *path*, and all below it, offer what there is; and offer plain words only."""
    for param in command.params:
        source = source_of(path, param)
        known = param.shell_complete if source is None else offering(source)
        param.shell_complete = bounded(known)  # type: ignore[method-assign,assignment]  # the hook of a parameter made elsewhere
    for name, each in getattr(command, "commands", {}).items():
        attach(each, f"{path} {name}")


def source_of(path: str, param: Parameter) -> Source | None:
    """What there is to offer for *param*, if it is in the table."""
    names = [param.name or "", *param.opts] if param.param_type_name == "argument" else param.opts
    places = [(place, name) for place in (path, "") for name in names]
    return next((OFFERS[place] for place in places if place in OFFERS), None)


Complete = Callable[["Context", str], "list[CompletionItem]"]


def offering(source: Source) -> Complete:
    """*source* as Typer asks it: those of its words that begin with what was typed, each once."""

    def complete(_: Context, incomplete: str) -> list[CompletionItem]:
        from typer._click.shell_completion import CompletionItem

        found: dict[str, str] = {}
        for name, told in source(Reach(current().environ)):
            if name.startswith(incomplete):
                found.setdefault(name, told)
        return [CompletionItem(name, help=told) for name, told in found.items()]

    return complete


def bounded(complete: Complete) -> Complete:
    """*complete* within `LIMIT`, without a word where it fails, and only what is safe in a shell."""

    def within(context: Context, incomplete: str) -> list[CompletionItem]:
        found: list[CompletionItem] = []

        def ask() -> None:
            with contextlib.suppress(MembrainError, CommandError, OSError, ValueError, LookupError, sqlite3.Error):
                found.extend(complete(context, incomplete))

        asking = threading.Thread(target=ask, daemon=True)  # one that hangs ends with us
        asking.start()
        asking.join(LIMIT)
        return [safe(item) for item in found[:] if item.type != "plain" or PLAIN.fullmatch(item.value)]

    return within


def safe(item: CompletionItem) -> CompletionItem:
    """*item* with words beside it that no shell can take for more."""
    told: Any = item.help
    if told:
        item.help = TOLD.sub("", " ".join(str(told).split()))
    return item
