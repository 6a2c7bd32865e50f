"""The variables that point tools at the gateway: which there are, and what they say of the running one.

One table for `env`, which prints them, and `run`, which sets them. It prints nothing and starts nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from membrain_cli import daemon
from membrain_cli.console import CommandError, Exit
from membrain_cli.reach import Reach


class Family(NamedTuple):
    """Tools that read the same variables."""

    name: str
    variables: tuple[tuple[str, str], ...]
    """Name, and its value with {url} and {key} to fill in."""


FAMILIES = (
    Family(
        "openai",
        (
            ("OPENAI_BASE_URL", "{url}/v1"),
            ("OPENAI_API_BASE", "{url}/v1"),
            ("OPENAI_API_KEY", "{key}"),
        ),
    ),
    Family(
        "anthropic",
        (
            ("ANTHROPIC_BASE_URL", "{url}"),
            ("ANTHROPIC_AUTH_TOKEN", "{key}"),
        ),
    ),
)


def variables(families: tuple[Family, ...], url: str, key: str) -> dict[str, str]:
    """The variables of *families*, filled in."""
    return {name: text.format(url=url, key=key) for each in families for name, text in each.variables}


def exports(reach: Reach, asked: tuple[Family, ...], key: str | None = None) -> dict[str, str]:
    """The variables for the running gateway, with *key* or this machine's own. Fails while it is down."""
    running = reach.demand()
    key = key or reach.key
    if key is None:
        path = reach.places.machine_key_file
        raise CommandError(
            f"This machine's client key is missing ({path}).", [("Make one", "membrain restart")], Exit.KEY
        )
    return variables(asked, loopback_url(running), key)


def loopback_url(running: daemon.Running) -> str:
    """Where tools on this machine reach the gateway: a number, never a name that may resolve to something else."""
    host = running.host
    if host in {"localhost", "0.0.0.0", "::"}:  # noqa: S104  # compared, not bound
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{running.port}"
