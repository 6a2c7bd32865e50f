"""What a check is, what it finds, and what it may look at. Nothing is checked here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from membrain.errors import Misconfigured
from membrain_cli import daemon
from membrain_cli.console import Console
from membrain_cli.reach import Reach

if TYPE_CHECKING:
    from membrain.settings import Settings

State = Literal["fine", "look", "broken", "none"]
"""Works; should be looked at; does not work; is not there and need not be."""


class Finding(NamedTuple):
    """What a check found; `remedy` is a command, or the line of a file that mends it."""

    state: State
    name: str
    words: str
    remedy: str = ""


class Patient:
    """What is looked at: this environment, the folder one stands in, its files, and its gateway if there is one."""

    def __init__(self, shell: Console, folder: Path | None = None) -> None:
        self.environ = shell.environ
        self.now = shell.clock()
        self.reach = Reach(shell.environ)
        self.folder = folder or Path.cwd()
        home = shell.environ.get("HOME") or shell.environ.get("USERPROFILE")
        self.home = Path(home) if home else Path.home()

    @cached_property
    def settings(self) -> Settings | Misconfigured:
        """The settings, or what is wrong with them."""
        from membrain.config import load

        try:
            return load(self.environ)
        except Misconfigured as error:
            return error

    @property
    def running(self) -> daemon.Running | None:
        """The gateway, if it is up."""
        return self.reach.running


Check = Callable[[Patient], Iterator[Finding]]
