"""The manual page, `membrain(1)`: written from the commands themselves, in the language of man(7).

Plain ASCII, so that every `man` shows it. It says what `--help` says, of all commands at once; it asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from membrain_cli import __version__

if TYPE_CHECKING:
    # Typer carries its own copy of click under a private name.
    from typer._click import Command, Context

DATE = "2026-11-22"
"""When the words of this page's own were last changed."""

GLOBAL = (
    ("-h, --help", "How a command goes."),
    ("-V, --version", "The version."),
    ("--json", "The records themselves, as JSON; for every command that shows something."),
    ("-q, --quiet", "No words, only results and errors."),
    ("--no-input", "Ask nothing: fail, and name the flag that answers."),
    ("--no-color", "No colour; NO_COLOR in the environment does the same."),
    ("--debug", "Show the traceback of an unexpected error."),
)

FILES = (
    ("config.toml", "The settings."),
    ("pii.toml", "Your own private values, and those never to be masked."),
    ("membrain.db", "What is on record, and the client keys."),
    ("gateway.log", "What the gateway says."),
)


def page() -> str:
    """The whole page, ending in a line break."""
    parts = (head(), commands(), options(), status(), environment(), files(), more())
    return "\n".join(line for part in parts for line in part) + "\n"


# --- the language --------------------------------------------------------------------------------------------

SIGNS = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}


def plain(text: str) -> str:
    """*text* as it is to be read, on one line."""
    shown = spelt(" ".join(text.split()))
    return f"\\&{shown}" if shown.startswith(".") else shown


def spelt(text: str) -> str:
    """*text* with the signs that mean something in the language written out."""
    return "".join(SIGNS.get(sign) or (sign if sign.isascii() else f"\\[u{ord(sign):04X}]") for sign in text)


def bold(text: str) -> str:
    """*text* to be typed as it is."""
    return f"\\fB{plain(text)}\\fR"


def section(name: str) -> str:
    """The head of a section."""
    return f".SH {plain(name)}"


def entry(term: str, words: str) -> list[str]:
    """A term, and below it what it means."""
    return [".TP", term, plain(words) or "\\&"]


def example(*lines: str) -> list[str]:
    """Lines as they would be typed; their gaps count."""
    return [".PP", ".nf", ".RS", *(spelt(line).replace("  ", "\\ \\ ") for line in lines), ".RE", ".fi"]


# --- the parts -----------------------------------------------------------------------------------------------


def head() -> Iterator[str]:
    """What it is, and how one begins."""
    from membrain_cli.main import FRONT

    first, *rest = FRONT.partition("{groups}")[0].strip().splitlines()
    yield f'.TH MEMBRAIN 1 "{DATE}" "membrain {__version__}" "Membrain"'
    yield from (".nh", ".ad l")
    yield section("NAME")
    yield f"membrain \\- {plain(first[0].lower() + first[1:].rstrip('.'))}"
    yield section("SYNOPSIS")
    yield f"{bold('membrain')} [\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARGUMENT\\fR]..."
    yield section("DESCRIPTION")
    yield plain("It shows you what left your machine, what it cost, and why. Without a command: how it stands.")
    yield from example(*(line.strip() for line in rest if line.strip()))


def commands() -> Iterator[str]:
    """Every command, in the order in which one meets them."""
    from membrain_cli.main import COMMANDS, load

    yield section("COMMANDS")
    group = ""
    for row in COMMANDS:
        if row.group and row.group != group:
            group = row.group
            yield f'.SS "{plain(group)}"'
        yield from told(load(row), f"membrain {row.name}")


def told(command: Command, path: str) -> Iterator[str]:
    """How a command is called, what it does, and its options; then those below it."""
    if command.hidden:
        return
    context = context_of(command, path)
    pieces = [piece for piece in command.collect_usage_pieces(context) if piece != command.options_metavar]
    words, *more = [" ".join(part.split()) for part in (command.help or "").split("\n\n")]
    yield from entry(f"{bold(path)} {plain(' '.join(pieces))}".rstrip(), words)
    for part in more:
        yield from (".IP", plain(part))
    records = [record for param in command.params if (record := record_of(param, context)) is not None]
    yield from (
        [".RS", *(line for name, words in records for line in entry(bold(name), words)), ".RE"] if records else []
    )
    for name, each in getattr(command, "commands", {}).items():
        yield from told(each, f"{path} {name}")


def context_of(command: Command, path: str) -> Context:
    """What a command wants to know before it tells how it is called."""
    from typer import Context

    return Context(command, info_name=path)


def record_of(param: Any, context: Context) -> tuple[str, str] | None:
    """The name and the words of an option; None for what is hidden, and for what stands under OPTIONS."""
    if param.param_type_name != "option" or param.hidden or "--json" in param.opts:
        return None
    record: tuple[str, str] | None = param.get_help_record(context)
    return record


def options() -> Iterator[str]:
    """What stands before or after any command."""
    yield section("OPTIONS")
    for name, words in GLOBAL:
        yield from entry(bold(name), words)


def status() -> Iterator[str]:
    """What each exit status means."""
    from membrain_cli.commands.help import EXIT_CODES

    yield section("EXIT STATUS")
    for code, words in EXIT_CODES.items():
        yield from entry(bold(str(int(code))), words[0].upper() + words[1:] + ".")
    yield ".PP"
    yield plain("`membrain run` passes on the status of what it ran.")


def environment() -> Iterator[str]:
    """The variables that are no settings; where the settings are told."""
    from membrain_cli.commands.help import VARIABLES

    yield section("ENVIRONMENT")
    for name, words in VARIABLES:
        yield from entry(bold(name), words[0].upper() + words[1:] + ".")
    yield ".PP"
    yield f"Every setting has a variable too: {bold('membrain help environment')} lists them."


def files() -> Iterator[str]:
    """What is kept, and where to see where."""
    yield section("FILES")
    yield f"{bold('membrain config path')} prints the folders they are in."
    for name, words in FILES:
        yield from entry(bold(name), words)


def more() -> Iterator[str]:
    """Where one reads on."""
    from membrain_cli.main import TOPICS

    yield section("SEE ALSO")
    yield ", ".join(bold(f"membrain help {topic}") for topic in TOPICS) + "."
