"""`env`: point other tools at the gateway, in this shell.

Only lines that a shell can evaluate go to stdout. Which variables there are, `membrain_cli.exports` says.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from membrain_cli.commands import nearest
from membrain_cli.console import Console, Exit, current
from membrain_cli.exports import FAMILIES, Family, exports, variables
from membrain_cli.reach import Reach

# --- how a shell says it -------------------------------------------------------------------------------------


class Shell(NamedTuple):
    """How one kind of shell sets a variable, and how it forgets one."""

    put: Callable[[str, str], str]
    drop: Callable[[str], str]
    use: str
    """What to type so that it takes effect."""


def quoted_posix(text: str) -> str:
    """*text* for bash and zsh, quoted if it needs it. (`shlex.quote` takes "=ls" for safe; zsh does not.)"""
    if re.fullmatch(r"[\w@%+:,./-]+", text, re.ASCII):
        return text
    return "'" + text.replace("'", "'\"'\"'") + "'"


def quoted_fish(text: str) -> str:
    """*text* in fish's single quotes, if it needs them."""
    if re.fullmatch(r"[\w@%+=:,./-]+", text, re.ASCII):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quoted_powershell(text: str) -> str:
    """*text* in PowerShell's single quotes. It takes typographic quotes for quotes, so they are doubled too."""
    return "'" + re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", text) + "'"


def quoted_dotenv(text: str) -> str:
    """*text* as the value of a line of a .env file."""
    if re.fullmatch(r"[\w@%+:,./-]*", text, re.ASCII):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("\n", "\\n") + '"'


POSIX = Shell(
    lambda name, text: f"export {name}={quoted_posix(text)}", lambda name: f"unset {name}", 'eval "$(membrain env)"'
)
SHELLS = {
    "bash": POSIX,
    "zsh": POSIX,
    "fish": Shell(
        lambda name, text: f"set -gx {name} {quoted_fish(text)}",
        lambda name: f"set -e {name}",
        "membrain env --shell fish | source",
    ),
    "powershell": Shell(
        lambda name, text: f"$Env:{name} = {quoted_powershell(text)}",
        lambda name: f"Remove-Item Env:{name} -ErrorAction SilentlyContinue",
        "membrain env --shell powershell | Out-String | Invoke-Expression",
    ),
}
DOTENV = Shell(lambda name, text: f"{name}={quoted_dotenv(text)}", lambda name: f"{name}=", "membrain env … > .env")


def shell_of(environ: Mapping[str, str]) -> str:
    """The shell one is in, as far as $SHELL knows; another POSIX shell counts as bash."""
    name = Path(environ.get("SHELL", "")).name
    if name in SHELLS:
        return name
    return "powershell" if not name and os.name == "nt" else "bash"


# --- env -----------------------------------------------------------------------------------------------------


def env(
    shell: Annotated[
        str, typer.Option(metavar="NAME", help="bash, zsh, fish or powershell.", show_default="by $SHELL")
    ] = "",
    form: Annotated[str, typer.Option("--format", metavar="FORM", help="shell or dotenv.")] = "shell",
    unset: Annotated[bool, typer.Option("--unset", help="Print what takes the variables away again.")] = False,
    family: Annotated[
        str, typer.Option("--for", metavar="FAMILY", help="Only for tools of one family: openai or anthropic.")
    ] = "",
) -> None:
    """Print the exports that point tools at the gateway: eval "$(membrain env)"."""
    console = current()
    kind = one_of(console, "--shell", shell.lower() or shell_of(console.environ), list(SHELLS))
    spoken = DOTENV if one_of(console, "--format", form, ["shell", "dotenv"]) == "dotenv" else SHELLS[kind]
    asked = families(console, family)
    if unset:
        for name in variables(asked, "", ""):
            console.out(spoken.drop(name))
        return
    found = exports(Reach(console.environ), asked)
    if console.json:
        console.record(found)
        return
    for name, text in found.items():
        console.out(spoken.put(name, text))
    if console.is_tty_out:
        console.say(console.style(f"# Use it:  {spoken.use}", "dim"))


def one_of(console: Console, flag: str, given: str, known: list[str]) -> str:
    """*given*, if it is one of *known*."""
    if given not in known:
        guess = nearest(given, known) or f" It must be one of {', '.join(known)}."
        console.fail(f'There is no {flag} "{given}".{guess}', code=Exit.USAGE)
    return given


def families(console: Console, name: str) -> tuple[Family, ...]:
    """The families asked for: the one called *name*, or all."""
    if not name:
        return FAMILIES
    one_of(console, "--for", name, [each.name for each in FAMILIES])
    return tuple(each for each in FAMILIES if each.name == name)
