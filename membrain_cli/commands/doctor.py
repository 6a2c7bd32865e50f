"""`doctor`: a list of checks; each says that all is well, or what is wrong and the command that mends it.

Without a name all of this machine is looked at; `doctor TOOL` looks at one tool from its own side. The checks are in
`membrain_cli.doctor`; here is which there are, and how a finding is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from membrain_cli.commands import nearest
from membrain_cli.console import Console, Exit, clean_cell, columns_of, current, padded
from membrain_cli.doctor.aider import aider
from membrain_cli.doctor.claude import claude
from membrain_cli.doctor.codex import codex
from membrain_cli.doctor.cursor import cursor
from membrain_cli.doctor.door import address, callers, gateway, masking, network, port, surroundings
from membrain_cli.doctor.files import config, folders, keyring, store, trail
from membrain_cli.doctor.finding import Check, Finding, Patient
from membrain_cli.doctor.machine import clock, packages, proxies, python, sqlite, starters
from membrain_cli.doctor.sdk import sdk
from membrain_cli.doctor.upstreams import clouds, keys, others
from membrain_cli.listing import wrapped

CHECKS: tuple[Check, ...] = (
    python,
    sqlite,
    packages,
    starters,
    clock,
    config,
    folders,
    keyring,
    store,
    trail,
    gateway,
    port,
    address,
    callers,
    masking,
    surroundings,
    proxies,
    network,
    keys,
    others,
    clouds,
)
"""What is looked at of this machine, in this order."""

TOOLS: dict[str, Check] = {"claude": claude, "codex": codex, "aider": aider, "cursor": cursor, "sdk": sdk}
"""The tools that can be looked at from their own side."""

OTHER_NAMES = {"claude-code": "claude", "claude_code": "claude", "openai": "sdk", "anthropic": "sdk"}


GLYPH, NAME = 1, 12
"""Columns of a finding's sign and of its name."""


def tool_names(incomplete: str) -> list[str]:
    """Tools, for the shell's completion."""
    return [name for name in TOOLS if name.startswith(incomplete)]


def doctor(
    tool: Annotated[str, typer.Argument(metavar="[TOOL]", show_default=False, autocompletion=tool_names)] = "",
) -> Exit:
    """Check everything, and say how to mend what is wrong. Exit status 1 if something is broken.

    With a TOOL (claude, codex, aider, cursor, sdk), check that one from its own side.
    """
    shell = current()
    found = list[Finding]()
    patient = Patient(shell)
    for check in checks_of(shell, tool):
        with shell.working(f"looking at {check.__name__} …"):
            fresh = list(check(patient))
        found += fresh
        for each in fresh:
            tell(shell, each)
    return summed(shell, found)


def checks_of(shell: Console, tool: str) -> Iterable[Check]:
    """The checks of *tool*; without one those of the machine."""
    if not tool:
        return CHECKS
    name = OTHER_NAMES.get(tool.lower(), tool.lower())
    if name not in TOOLS:
        guess = nearest(name, list(TOOLS)) or f" It must be one of {', '.join(TOOLS)}."
        shell.fail(f'There is no tool "{tool}" to look at.{guess}', code=Exit.USAGE)
    return (TOOLS[name],)


def summed(shell: Console, found: list[Finding]) -> Exit:
    """The last line, and the status it comes to."""
    broken, look = (sum(1 for each in found if each.state == state) for state in ("broken", "look"))
    if not shell.json:
        shell.say()
        told = [f"{number} {words}" for number, words in ((broken, "broken"), (look, "to look at")) if number]
        shell.say(f"{', '.join(told)}." if told else "All is well.")
    return Exit.FAILED if broken else Exit.OK


def tell(shell: Console, finding: Finding) -> None:
    """One finding, and below it what mends it."""
    if shell.json:
        shell.record(finding._asdict())
    elif not shell.is_tty_out:
        shell.out("\t".join(finding).rstrip("\t"))
    else:
        head = f"  {padded(shell.glyph(finding.state), GLYPH)} {padded(finding.name, NAME)} "
        for line in wrapped([clean_cell(finding.words)], shell.width, " " * columns_of(head), head):
            shell.out(line.rstrip())
        if finding.remedy:
            shell.out(f"{' ' * 19}{shell.style(finding.remedy, 'accent')}")
