"""`membrain help TOPIC`: pages on the environment, the exit status, the output, and what leaves this machine.

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
    Exit.BUDGET: "over a budget",
    Exit.CHAIN: "the audit was tampered with",
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

PRIVACY = """\
What leaves, and what does not

  Every string of a request is looked at before anything is sent. What is private leaves as a placeholder, like
  EMAIL_k7f2m9x4q1w8z739, and its value is put back in the answer. If looking fails, nothing is sent. Models on this
  machine get the values themselves, unless pii.mask_local is on.

  pii.level     what is masked
{levels}
  pii.on_find   what happens to it
{modes}
  Exceptions    membrain config set pii.rules "SECRET=block,acme:*=confirm"   (by label, by project, or both)
  Your own      membrain pii add "Project Falcon"   membrain pii allow "office@corp-mail.net"
  See it        membrain pii scan (try a text)   /sent in membrain chat   membrain audit show ID --wire

  Not looked into: pictures, sound, documents, and blocks that a provider signed or encrypted.
  Not put back: values in URLs of tool calls, unless your request had them there or pii.url_tools names the tool.
  Not promised: that everything is found; that nobody is known by their style. What a provider has, it has."""

LEVELS = (
    ("basic", "secrets, identifiers, payment, contact data, your own list"),
    ("standard", "also addresses, dates of birth, and persons who are not widely known (default)"),
    ("strict", "whatever is found: places and public persons too"),
)

MODES = (
    ("redact", "masked, and put back in the answer (default)"),
    ("confirm", "waits until you agree: asked in membrain chat; elsewhere membrain pii holds, approve, deny"),
    ("local", "only models on this machine may answer, and they see the value"),
    ("block", "refused"),
    ("alert, log", "leaves, and is counted; alert also writes a line to the log"),
    ("pass", "leaves"),
)

VARIABLES = (
    ("MEMBRAIN_HOME", "one folder for settings, data and state of an instance of its own"),
    ("MEMBRAIN_DEBUG", "1 shows the traceback of an unexpected error, as --debug does"),
    ("MEMBRAIN_CONFORM_KEY", "the key that conform shows to the gateway it asks"),
    ("NO_COLOR, FORCE_COLOR", "no colour; colour without a terminal"),
    ("OPENAI_API_KEY, …", "a provider's key; goes before the keyring"),
)


def exit_codes() -> str:
    """What each exit status means."""
    rows = [f"  {code:>3}  {words}" for code, words in EXIT_CODES.items()]
    passed = "    n  `membrain run` passes on the status of what it ran"
    return "\n".join(["Exit status", "", *rows, passed])


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


def privacy() -> str:
    """What leaves this machine and what does not, when, how to see it, and what nobody promises."""
    levels, modes = ("\n".join(f"    {name:<12}{words}" for name, words in rows) for rows in (LEVELS, MODES))
    return PRIVACY.format(levels=levels, modes=modes)


TOPICS = {"environment": environment, "exit-codes": exit_codes, "output": output, "privacy": privacy}


def pages(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", show_default=False)] = "",
    man: Annotated[
        bool, typer.Option("--man", help="The manual page instead:  membrain help --man | man -l -")
    ] = False,
) -> None:
    """Read a page: environment, exit-codes, output or privacy."""
    from membrain_cli.manual import page

    if not man and topic not in TOPICS:
        current().fail(f"There is no such page; it must be one of {', '.join(TOPICS)}.", code=Exit.USAGE)
    current().out(page().removesuffix("\n") if man else TOPICS[topic]())
