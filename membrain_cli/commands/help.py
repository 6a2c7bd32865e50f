"""`membrain help TOPIC`: pages on the environment, the exit status and the output.

The help of a command is the command's own (`membrain help up` is `membrain up --help`; `main` sees to that).
"""

from __future__ import annotations

from typing import Annotated

import typer

from membrain_cli.console import Exit, current

EXIT_CODES = {
    Exit.OK: "done",
    Exit.FAILED: "failed",
    Exit.USAGE: "used wrongly",
    Exit.DOWN: "the gateway is not running",
    Exit.REFUSED: "refused by policy",
    Exit.UPSTREAM: "the upstream failed",
    Exit.KEY: "a key is missing or was refused",
    Exit.INTERRUPTED: "you pressed ctrl-c",
}

OUTPUT = """\
Output

  Results go to stdout; words (what happened, hints, questions) to stderr. So every command can be piped.

  terminal     aligned columns, local times, colour
  pipe         one record a line, tab-separated, RFC 3339 times, whole ids, no header
  --json       the records themselves, one object or one on each line; fields are only ever added

  Colour is off with --no-color, NO_COLOR, TERM=dumb or without a terminal (each stream is judged alone), and
  on with FORCE_COLOR. Where the terminal is not UTF-8, signs have ASCII twins.

  -q, --quiet  no words, only results and errors
  --no-input   ask nothing: fail, and name the flag that answers"""

VARIABLES = (
    ("MEMBRAIN_HOME", "one folder for settings, data and state of an instance of its own"),
    ("MEMBRAIN_DEBUG", "1 shows the traceback of an unexpected error, as --debug does"),
    ("NO_COLOR, FORCE_COLOR", "no colour; colour without a terminal"),
    ("OPENAI_API_KEY, …", "a provider's key; goes before the keyring"),
)


def exit_codes() -> str:
    """What each exit status means."""
    rows = [f"  {code:>3}  {words}" for code, words in EXIT_CODES.items()]
    passed = "    n  `membrain run` passes on the status of what it ran"
    return "\n".join(["Exit status", "", *rows, passed, "", "  5 and 6 are kept for budgets and the audit chain."])


def output() -> str:
    """Where results and words go, and in which form."""
    return OUTPUT


def environment() -> str:
    """The variables Membrain reads; every setting is one."""
    from membrain.config import settings_table

    rows = [*VARIABLES, *((row.env, row.doc) for row in settings_table())]
    told = [f"  {name}\n      {words}" for name, words in rows]
    never = "Never read: OPENAI_BASE_URL and ANTHROPIC_BASE_URL, because they point at Membrain itself."
    return "\n".join(["Environment", "", *told, "", never])


TOPICS = {"environment": environment, "exit-codes": exit_codes, "output": output}


def pages(topic: Annotated[str, typer.Argument(metavar="TOPIC")]) -> None:
    """Read a page: environment, exit-codes or output."""
    current().out(TOPICS[topic]())
