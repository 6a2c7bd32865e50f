"""`env` and `run`: point other tools at the gateway, in this shell or for one command.

Only lines that a shell can evaluate go to stdout. One table says which variables there are; `run` sets the same ones.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from membrain.errors import BadRequest, MembrainError
from membrain.records import ClientKey
from membrain_cli import daemon
from membrain_cli.commands import nearest, single
from membrain_cli.console import CommandError, Console, Exit, current, money, span
from membrain_cli.reach import Reach


class Family(NamedTuple):
    """Tools that read the same variables. A `door` that is not open yet exports nothing, and says so when asked."""

    name: str
    door: str
    is_open: bool
    variables: tuple[tuple[str, str], ...]
    """Name, and its value with {url} and {key} to fill in."""


FAMILIES = (
    Family(
        "openai",
        "/v1/chat/completions",
        True,
        (
            ("OPENAI_BASE_URL", "{url}/v1"),
            ("OPENAI_API_BASE", "{url}/v1"),
            ("OPENAI_API_KEY", "{key}"),
        ),
    ),
    Family(
        "anthropic",
        "/v1/messages",
        False,
        (
            ("ANTHROPIC_BASE_URL", "{url}"),
            ("ANTHROPIC_AUTH_TOKEN", "{key}"),
        ),
    ),
)


def variables(families: tuple[Family, ...], url: str, key: str) -> dict[str, str]:
    """The variables of *families*, filled in."""
    return {name: text.format(url=url, key=key) for each in families for name, text in each.variables}


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
    family: Annotated[str, typer.Option("--for", metavar="FAMILY", help="Only for tools of one family: openai.")] = "",
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
    """The families asked for: the one called *name*, or all whose door is open."""
    if not name:
        return tuple(each for each in FAMILIES if each.is_open)
    one_of(console, "--for", name, [each.name for each in FAMILIES])
    asked = next(each for each in FAMILIES if each.name == name)
    if not asked.is_open:
        console.fail(
            f"The gateway has no door for {name} tools yet ({asked.door}), so there is nothing to point them at.",
            ("For OpenAI tools", "membrain env --for openai"),
        )
    return (asked,)


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


# --- run -----------------------------------------------------------------------------------------------------

NOT_FOUND = 127
CANNOT_RUN = 126
PASSED_ON = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)
"""Signals sent to us alone, and meant for the tool."""
SHARED = tuple(getattr(signal, name) for name in ("SIGINT", "SIGQUIT") if hasattr(signal, name))
"""Signals that a terminal sends to the tool as well; it decides what they mean."""

run = single(allow_interspersed_args=False)


@run.command()
def run_tool(tool: Annotated[list[str], typer.Argument(metavar="TOOL [ARGS]...", show_default=False)]) -> int:
    """Run one command with the exports set and a client key of its own; its exit status is ours."""
    console = current()
    path = shutil.which(tool[0], path=console.environ.get("PATH"))
    if path is None:
        raise CommandError(f"There is no command {tool[0]} on the PATH.", [], NOT_FOUND)
    reach = Reach(console.environ)
    bring_up(console, reach)
    with own_key(reach, Path(tool[0]).name) as (key, row):
        given = exports(reach, tuple(each for each in FAMILIES if each.is_open), key)
        status = attend(path, tool, {**console.environ, **given})
        receipt(console, reach, row)
    return status


def bring_up(console: Console, reach: Reach) -> None:
    """Start the gateway if it is down."""
    if reach.running is not None:
        return
    try:
        with console.working("starting the gateway …"):
            reach.running, _ = daemon.start(reach.places, console.environ, None)
    except daemon.StartError as error:
        console.fail("The gateway did not start.", ("See why", "membrain up"), detail=error.said)
    console.say(f"{console.glyph('up')} membrain is up   {reach.running.url}")


@contextlib.contextmanager
def own_key(reach: Reach, name: str) -> Iterator[tuple[str, ClientKey]]:
    """A client key named after the tool, for as long as it lives."""
    try:
        key, row = reach.issue(name, "default")
    except (BadRequest, CommandError):  # there is one of that name already
        key, row = reach.issue(f"{name}-{os.getpid()}", "default")
    try:
        yield key, row
    finally:
        with contextlib.suppress(MembrainError, CommandError):  # the gateway may be gone by now
            reach.revoke(row.id)


def attend(path: str, tool: list[str], environ: Mapping[str, str]) -> int:
    """Run *tool* and pass signals on to it; its exit status, 128 + n if signal n ended it."""
    try:
        child = subprocess.Popen(tool, executable=path, env=dict(environ))
    except OSError as error:
        raise CommandError(f"{tool[0]} cannot be run: {error.strerror}.", [], CANNOT_RUN) from None
    with passing_signals(child):
        status = child.wait()
    return 128 - status if status < 0 else status


@contextlib.contextmanager
def passing_signals(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Hand the signals that reach us on to *child*, and leave to it those that reach both."""

    def hand_on(number: int, _frame: object) -> None:
        child.send_signal(number)

    def leave_alone(_number: int, _frame: object) -> None:
        """The terminal told the tool as well."""

    before = {each: signal.signal(each, hand_on) for each in PASSED_ON}
    before |= {each: signal.signal(each, leave_alone) for each in SHARED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def receipt(console: Console, reach: Reach, row: ClientKey) -> None:
    """What the tool asked for and what it came to, on stderr."""
    try:
        total = reach.usage(key_id=row.id)
    except (MembrainError, CommandError):
        return
    asked = total["exchanges"]
    told = [row.name, f"{asked:,} exchange{'' if asked == 1 else 's'}"]
    if asked:
        told.append(money(total["cost_micros"]))
    if total["masked"]:
        told.append(f"{total['masked']:,} masked")
    if total["slowest_ms"]:
        told.append(f"slowest {span(total['slowest_ms'])}")
    console.say(console.style(" · ".join(told), "dim"))
