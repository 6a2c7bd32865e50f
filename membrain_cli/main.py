"""The root of the command line: its front page, its commands in the order one meets them, and how they end.

Commands are rows of a table and are imported when they are called, so that help and completion stay quick.
This is the one place where an error becomes a sentence, a remedy and an exit status; nobody below catches
broadly.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from membrain_cli import __version__, console
from membrain_cli.console import CommandError, Console, Exit, Remedy

if TYPE_CHECKING:
    # Typer carries its own copy of click under a private name.
    from typer import TyperException
    from typer._click import Command, Context
    from typer._click.shell_completion import CompletionItem
    from typer.core import TyperOption

    from membrain.errors import MembrainError


class Row(NamedTuple):
    """A command as the front page shows it. `where` is the module and name of its code."""

    name: str
    group: str
    words: str
    where: str
    json: bool = True
    """It has something to show as JSON."""


COMMANDS = (
    Row("up", "Gateway", "Start the gateway", "commands.up:up"),
    Row("down", "Gateway", "Stop it", "commands.up:down"),
    Row("restart", "Gateway", "Stop, start, wait until healthy", "commands.up:restart"),
    Row("status", "Gateway", "Is it up, and what does it know", "commands.up:status"),
    Row("logs", "Gateway", "Read its log", "commands.up:logs", json=False),
    Row("top", "Gateway", "Live dashboard: latency, spend, PII", "commands.top:top", json=False),
    Row("chat", "Use it", "Ask once, or hold a conversation", "commands.chat:chat"),
    Row("env", "Use it", "Print the exports that point tools at the gateway", "commands.env:env"),
    Row("run", "Use it", "Run one command with those exports set", "commands.run:run"),
    Row("audit", "Look", "Who asked what, and where it went", "commands.audit:audit"),
    Row("usage", "Look", "Spend, tokens, budgets", "commands.usage:usage"),
    Row("route", "Look", "Why this model and not another", "commands.route:route"),
    Row("models", "Look", "What each provider really has, and its price", "commands.models:models"),
    Row("pii", "Look", "Try the mask on a text; approve what waits", "commands.pii:pii"),
    Row("keys", "Set up", "Provider keys in, client keys out", "commands.keys:keys"),
    Row("local", "Set up", "The embedded model: install it, see it", "commands.local:local"),
    Row("config", "Set up", "Settings, and where each comes from", "commands.config:config"),
    Row("conform", "Set up", "Does a gateway hand on what it is given", "commands.conform:conform"),
    Row("doctor", "Set up", "Check everything, say how to mend it", "commands.doctor:doctor"),
    Row("help", "", "Pages on environment, exit-codes, output, privacy", "commands.help:pages", json=False),
)
TOPICS = ("environment", "exit-codes", "output", "privacy")
ASKED = "_MEMBRAIN_COMPLETE"
"""Set by a shell that asks what to offer."""

FRONT = """\
A local gateway between your tools and the models they talk to.

  $ membrain up                   start it in the background
  $ membrain chat                 talk, with your secrets kept home
  $ eval "$(membrain env)"        point other tools at it
  $ membrain top                  watch it work
{groups}
  -h, --help  -V, --version  -q, --quiet  --no-input  --no-color
  Most commands take --json.  Topics: membrain help {topics}
"""


def front_page() -> str:
    """`membrain --help`: examples, then the commands by group, options last."""
    lines, group = [], ""
    for row in COMMANDS:
        if row.group and row.group != group:
            lines += ["", row.group]
        if row.group:
            lines.append(f"  {row.name:<12}{row.words}")
        group = row.group
    return FRONT.format(groups="\n".join([*lines, ""]), topics=" | ".join(TOPICS)).rstrip("\n")


# --- the root ----------------------------------------------------------------------------------------------


def build() -> Command:
    """The root command. Typer is imported here and not before, because `--version` can do without it."""
    from typer.main import get_install_completion_arguments

    from membrain_cli.commands import Group

    class Root(Group):
        """Knows all commands by their rows, and loads the one that is called."""

        def list_commands(self, _context: Context) -> list[str]:
            return [row.name for row in COMMANDS]

        def get_command(self, _context: Context, cmd_name: str) -> Command | None:
            return next((completed(load(row)) for row in COMMANDS if row.name == cmd_name), None)

        def get_help(self, _context: Context) -> str:
            return front_page()

        def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
            return complete_root(incomplete) or super(Group, self).shell_complete(ctx, incomplete)

    install = get_install_completion_arguments()
    plain_completion()
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
    root = Root(name="membrain", callback=home, invoke_without_command=True, context_settings=settings)
    root.params += [*global_options(json=True), option(VERSION, "Show the version.", tell_version), *install]
    return root


def load(row: Row) -> Command:
    """The command of *row*, with the flags that every command takes.

    It is a function, or a `typer.Typer` where it is a family or wants settings of its own.
    """
    from importlib import import_module

    import typer
    from typer.main import get_command

    from membrain_cli.commands import single

    module, _, name = row.where.partition(":")
    found = getattr(import_module(f"membrain_cli.{module}"), name)
    if not isinstance(found, typer.Typer):
        app = single()
        app.command()(found)
        found = app
    command = get_command(found)
    command.name = row.name
    equip(command, json=row.json)
    return command


def equip(command: Command, *, json: bool) -> None:
    """Let *command*, and all below it, take the global flags after their name too."""
    taken = {name for param in command.params for name in param.opts}
    command.params += [option for option in global_options(json=json) if not taken & set(option.opts)]
    for each in getattr(command, "commands", {}).values():
        equip(each, json=json)


class Flag(NamedTuple):
    """A flag that stands before or after any command, and the field of the console that it sets."""

    names: tuple[str, ...]
    words: str
    field: str
    value: object = True


FLAGS = (
    Flag(("--json",), "Show the records as JSON.", "json"),
    Flag(("-q", "--quiet"), "No words, only results and errors.", "quiet"),
    Flag(("--no-input",), "Ask nothing.", "no_input"),
    Flag(("--no-color",), "No colour.", "color", "never"),
    Flag(("--debug",), "Show the traceback of an unexpected error.", "debug"),
)
VERSION = ("-V", "--version")


def global_options(*, json: bool) -> list[TyperOption]:
    """The options of `FLAGS`; they set the console while the line is read, and are not passed on."""

    def setting(flag: Flag) -> Callable[[], None]:
        return lambda: setattr(console.current(), flag.field, flag.value)

    return [option(flag.names, flag.words, setting(flag)) for flag in FLAGS if json or flag.field != "json"]


def option(names: tuple[str, ...], words: str, do: Callable[[], None]) -> TyperOption:
    """A switch that does something while the line is read. Only `--json` is listed in a command's help."""
    from typer.core import TyperOption

    def seen(context: Context, _param: object, given: bool) -> None:
        if given and not context.resilient_parsing:
            do()

    return TyperOption(
        param_decls=[*names],
        is_flag=True,
        default=False,
        callback=seen,
        expose_value=False,
        is_eager=True,
        help=words,
        hidden="--json" not in names,
    )


def tell_version() -> None:
    """Print the version and end."""
    import typer

    console.current().out(f"membrain {__version__}")
    raise typer.Exit


def home() -> Exit | None:
    """`membrain` alone: the state where there is one, else the front page."""
    from typer._click.globals import get_current_context

    if get_current_context().invoked_subcommand is not None:
        return None
    from membrain_cli import daemon

    if daemon.is_up(console.current().environ):
        from membrain_cli.commands.up import status

        return status()
    console.current().out(front_page())
    return None


# --- completion --------------------------------------------------------------------------------------------


def complete_root(incomplete: str) -> list[CompletionItem]:
    """The commands that begin with *incomplete*, with their words; none of them is loaded."""
    from typer._click.shell_completion import CompletionItem

    return [CompletionItem(row.name, help=row.words) for row in COMMANDS if row.name.startswith(incomplete)]


def completed(command: Command) -> Command:
    """*command*; where a shell asks what to offer, with what there is here."""
    if console.current().environ.get(ASKED):
        from membrain_cli.completing import attach

        attach(command, command.name or "")
    return command


def plain_completion() -> None:
    """Put classes in the place of Typer's that show descriptions without importing rich."""
    from typer._click.shell_completion import CompletionItem, add_completion_class
    from typer._completion_classes import FishComplete, PowerShellComplete, ZshComplete

    class Zsh(ZshComplete):
        def format_completion(self, item: CompletionItem) -> str:
            value, words = (
                super(Zsh, self).format_completion(CompletionItem(each)) for each in (item.value, item.help or "")
            )
            return f"{value}:{words}" if item.help else value

    class Fish(FishComplete):
        def format_completion(self, item: CompletionItem) -> str:
            return f"{item.value}\t{item.help}" if item.help else item.value

    class PowerShell(PowerShellComplete):
        def format_completion(self, item: CompletionItem) -> str:
            return f"{item.value}:::{item.help or ' '}"

    add_completion_class(Zsh, "zsh")
    add_completion_class(Fish, "fish")
    for name in ("powershell", "pwsh"):
        add_completion_class(PowerShell, name)


# --- how it ends -------------------------------------------------------------------------------------------


def main() -> NoReturn:
    """The `membrain` script."""
    from membrain_cli.daemon import surroundings

    sys.exit(run(sys.argv[1:], console.plain(surroundings())))


def run(argv: Sequence[str], shell: Console) -> int:
    """Run one command line and give its exit status. Streams, environment and flags are those of *shell*."""
    console.use(shell)
    try:
        if len(argv) == 1 and argv[0] in VERSION:  # without Typer it takes half the time
            shell.out(f"membrain {__version__}")
            return Exit.OK
        return call(list(argv))
    except BrokenPipeError:
        return reader_left()
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001  # the one place where an error becomes a status
        shell.debug = shell.debug or shell.environ.get("MEMBRAIN_DEBUG") == "1"
        return end(error, shell)


def call(argv: list[str]) -> int:
    """Find the command of *argv* and run it; what it gives back is its exit status."""
    import typer

    if argv[:1] == ["help"] and argv[1:2] != ["--help"] and not set(argv[1:2]) & {*TOPICS, "--man"}:
        argv = [*argv[1:], "--help"]  # `help up` is `up --help`, and `help` is `--help`
    root = build()
    if console.current().environ.get(ASKED):  # PowerShell leaves it there, empty
        root.main(argv, prog_name="membrain")  # prints what the shell asked for, and exits
    try:
        with root.make_context("membrain", argv) as context:
            return int(root.invoke(context) or Exit.OK)
    except typer.Exit as done:
        return done.exit_code
    except CommandError as error:
        command = next((row.name for row in COMMANDS if row.name in argv[:1]), None)
        if error.code == Exit.USAGE and not error.remedies and command is not None:
            error.remedies = (("How it goes", f"membrain {command} --help"),)  # what is wrong it says itself
        raise


def reader_left() -> int:
    """Whoever read our output has gone (`| head`): nothing to say, and nothing more to write at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return Exit.OK


def end(error: Exception, shell: Console) -> int:
    """Tell *error* to a person, and say it to programs as a status."""
    import typer

    if isinstance(error, CommandError):
        known = error
    elif isinstance(error, typer.TyperException):
        known = used_wrongly(error)
    else:
        from membrain.errors import MembrainError

        if isinstance(error, MembrainError):
            known = ours(error)
        elif isinstance(error, OSError) and error.filename is not None and not shell.debug:
            look = ("Look at it", f"ls -ld {shlex.quote(str(error.filename))}")
            known = CommandError(f"{error.filename}: {error.strerror}.", [look], Exit.FAILED)
        else:
            known = unexpected(error, shell)
    shell.show_failure(known)
    return known.code


def ours(error: MembrainError) -> CommandError:
    """An error of the house: its message, its hint as a remedy, and the status that goes with it."""
    lines = (error.hint or "").splitlines()
    remedies = [found for line in lines if (found := remedy(line))]
    words = [line for line in lines if not remedy(line)]
    return CommandError(error.message, remedies, Exit.of(error.status, error.code), words)


def remedy(line: str) -> Remedy | None:
    """A line of a hint as a remedy: "What it does:  command" or a command alone. None for a mere sentence."""
    label, between, command = re.sub(r":? {2,}|: (?=membrain )", "\n", line, count=1).partition("\n")
    if between:
        return label, command
    return None if line[:1].isupper() else ("Mend it", line)


# How Typer's complaints read here. The words that were typed are left out where they could be a key.
USAGE: dict[str, Callable[[Any], str]] = {
    "NoSuchOption": lambda error: f"No option {error.option_name}.{did_you_mean(error.possibilities)}",
    "MissingParameter": lambda error: f"{missing(error.param)} is missing.",
}


def used_wrongly(error: TyperException) -> CommandError:
    """A command line that cannot be: what is wrong with it, and where to read how it goes."""
    tell = USAGE.get(type(error).__name__)
    told = tell(error) if tell else error.format_message()
    if told.startswith("Got unexpected extra argument"):
        told = "That is a word too many."
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "membrain"
    return CommandError(told, [("How it goes", f"{path} --help")], Exit.USAGE)


def did_you_mean(names: Sequence[str] | None) -> str:
    """The end of a sentence about a mistyped option."""
    return f" Did you mean {' or '.join(names)}?" if names else ""


def missing(param: Any) -> str:
    """What to call a parameter that was left out."""
    return param.opts[-1] if param.param_type_name == "option" else (param.metavar or param.name or "").upper()


_CHECK: Remedy = ("Check everything", "membrain doctor")


def unexpected(error: Exception, shell: Console) -> CommandError:
    """A fault of ours: one line, and a report without values. `--debug` shows the traceback instead."""
    import traceback

    said = f"Something went wrong inside membrain ({type(error).__name__})."
    if shell.debug:
        return CommandError(said, [_CHECK], Exit.FAILED, "".join(traceback.format_exception(error)).splitlines())
    path = write_report(error, shell.environ)
    kept = [("Full report", f"{path}")] if path else []
    return CommandError(said, [*kept, ("See it here", "MEMBRAIN_DEBUG=1 membrain …")], Exit.FAILED)


def write_report(error: BaseException, environ: Mapping[str, str]) -> Path | None:
    """A file of mode 0600 that says where *error* arose; None if it cannot be written.

    Only types, files and lines: messages, arguments and local variables could hold a key or a prompt.
    """
    from membrain.errors import Misconfigured
    from membrain.places import Places, open_private

    try:
        places = Places.find(environ).create()
        path = places.state / f"error-{os.getpid()}-{os.urandom(3).hex()}.txt"
        with os.fdopen(open_private(path), "w", encoding="utf-8") as file:
            file.writelines(report_lines(error))
    except (OSError, Misconfigured):
        return None
    return path


def report_lines(error: BaseException | None) -> list[str]:
    """Where each error of the chain arose, the last one first."""
    import platform
    import traceback

    lines = [f"membrain {__version__}, python {platform.python_version()}, {sys.platform}\n"]
    while error is not None:
        lines += [
            f"\n{type(error).__name__}\n",
            *traceback.format_list(traceback.extract_tb(error.__traceback__)),
        ]
        error = error.__cause__ or error.__context__
    return lines
