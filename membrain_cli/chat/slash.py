"""The slash commands of the conversation, as one table: name, arguments, words, when, and what each does.

Help, completion and "did you mean" are read from the table. A command acts on the conversation (`Talk`), and says
what it has changed; what cannot be done is raised as the `CommandError` that the conversation prints.
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

from membrain.errors import Misconfigured
from membrain.places import write_private
from membrain.records import AuditRecord, Candidate
from membrain_cli import daemon
from membrain_cli.chat.session import ANSWER, SHORT, Session, nothing_left, receipt
from membrain_cli.chat.tell import left_line, line, sent_lines
from membrain_cli.console import Console, Exit, columns_of, folded, meant
from membrain_cli.listing import aligned

OFF = "off"
ALL = "all"
TIERS = ("fast", "balanced", "best")
LARGEST = 50_000_000
"""Bytes of a conversation that is opened."""
FORMAT = "membrain chat 1"
REPLAY = "membrain route explain --replay {}"
SEEN_HERE = "local"
"""What is on record of a value that a model on this machine saw."""


class Talk(Protocol):
    """The conversation, as far as a slash command may touch it."""

    console: Console
    session: Session

    def ask(self, text: str) -> None:
        """Ask *text*, and show the answer."""

    def leave(self) -> None:
        """End the conversation after this command."""


def always(_session: Session) -> str:
    """May be used at any time."""
    return ""


def asked(session: Session) -> str:
    """May be used once there was a question."""
    return "" if session.messages or session.draft else "Nothing was asked yet."


def answered(session: Session) -> str:
    """May be used once there was an answer."""
    return "" if session.last_answer else "There is no answer yet."


def tried(session: Session) -> str:
    """May be used once a question was on its way, whatever became of it."""
    return "" if session.answering or session.draft else "Nothing was asked yet."


def taken(session: Session) -> str:
    """May be used once the gateway has taken a question."""
    return "" if session.answering else "Nobody was asked yet."


def nothing(_session: Session, _begun: str) -> list[str]:
    """Completes nothing."""
    return []


@dataclass(frozen=True, slots=True)
class Slash:
    """One command. `when` gives the reason why it cannot be used now; `choices` what its argument may become."""

    name: str
    args: str
    words: str
    act: Callable[[Talk, str], None]
    when: Callable[[Session], str] = always
    choices: Callable[[Session, str], list[str]] = nothing


# --- what each does ------------------------------------------------------------------------------------------


def model(talk: Talk, name: str) -> None:
    """Choose the model, or tell which it is."""
    asking = talk.session.asking
    if not name:
        return talk.console.say(f"Model: {asking.model}")
    asking.model = name
    known, note = talk.session.models(), ""
    if known and name not in {*known, "auto"}:
        near = " or ".join(talk.session.near(name))
        note = f"  (not in the gateway's list{f'; did you mean {near}?' if near else ''})"
    return talk.console.say(f"Model: {name}{note}")


def tier(talk: Talk, name: str) -> None:
    """Choose the tier, or leave it to the gateway."""
    asking = talk.session.asking
    if name and name != OFF and name not in TIERS:
        said = f"No tier {name}. There are {', '.join(TIERS)}, and off.{meant(name, TIERS)}"
        talk.console.fail(said, ("How it goes", "/tier fast"), code=Exit.USAGE)
    if name:
        asking.tier = None if name == OFF else name
    talk.console.say(f"Tier: {asking.tier or 'as the gateway is set'}")


def private(talk: Talk, word: str) -> None:
    """Keep to models on this machine, or not."""
    asking = talk.session.asking
    if word not in {"", "on", OFF}:
        talk.console.fail("Private is on or off.", ("Switch it on", "/private on"), code=Exit.USAGE)
    if word:
        asking.private = word == "on"
    if not asking.private:
        return talk.console.say("Not private: any model may answer.")
    local = [name for name in talk.session.models() if name.startswith(("ollama/", "local/"))]
    there = f"  ({local[0]})" if local else ""
    talk.console.say(f"Private: only models on this machine.{there}")
    if asking.model not in {"auto", *local}:
        talk.console.say(
            f"{talk.console.glyph('look')} {asking.model} may be none.  Let the router choose:  /model auto"
        )
    return None


def max_cost(talk: Talk, number: str) -> None:
    """The dearest model to consider."""
    asking = talk.session.asking
    if number:
        wanted = "a price in dollars, like 0.01"
        asking.max_cost = None if number == OFF else positive(talk.console, number, wanted, "/max-cost 0.01")
    limit = "no limit" if asking.max_cost is None else f"${asking.max_cost:g} for 1K tokens at the most"
    talk.console.say(f"Price: {limit}")


def temp(talk: Talk, number: str) -> None:
    """How free the answers are."""
    asking = talk.session.asking
    if number:
        asking.temperature = (
            None if number == OFF else positive(talk.console, number, "a number from 0 to 2", "/temp 0")
        )
    talk.console.say(
        f"Temperature: {'as the model has it' if asking.temperature is None else f'{asking.temperature:g}'}"
    )


def positive(console: Console, text: str, wanted: str, usage: str) -> float:
    """*text* as a number that is not negative; else fails, saying what is *wanted* and how it is typed."""
    try:
        number = float(text.removeprefix("$"))
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        console.fail(f"That must be {wanted}, or off.", ("How it goes", usage), code=Exit.USAGE)
    return number


def system(talk: Talk, text: str) -> None:
    """What the model is told before everything else."""
    asking = talk.session.asking
    if text:
        asking.system = None if text == OFF else text
    talk.console.say(f"System: {asking.system or 'nothing'}")


def retry(talk: Talk, _nothing: str) -> None:
    """Ask the last question again."""
    question = talk.session.draft or talk.session.undo()
    if question:
        repeat(talk.console, question)
        talk.ask(question)


def repeat(console: Console, question: str) -> None:
    """Show a question that was not typed just now, as if it had been."""
    sign = "› " if console.unicode else "> "  # noqa: RUF001  # the prompt of our drawings
    for each in folded(question, console.width - columns_of(sign)):
        console.say(console.style(f"{sign}{each}", "dim"))
        sign = " " * columns_of(sign)


def edit(talk: Talk, text: str) -> None:
    """Write the next question in the editor; it begins with *text*, or with the question that has no answer."""
    written = written_in_editor(talk.console, text or talk.session.draft)
    if not written:
        return talk.console.say("Nothing was written, so nothing is asked.")
    repeat(talk.console, written)
    return talk.ask(written)


def written_in_editor(console: Console, text: str) -> str:
    """What a person makes of *text* in their editor. The file is theirs alone, and gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="membrain-") as folder:
        path = Path(folder) / "question.md"
        path.write_text(text, encoding="utf-8")
        if not daemon.edit(path, console.environ):
            console.fail("The editor did not end well.", ("Choose one", "export EDITOR=nano"))
        return path.read_text(encoding="utf-8", errors="replace").strip()


def undo(talk: Talk, _nothing: str) -> None:
    """Take back the last question and its answer."""
    question = talk.session.undo()
    if question is None:
        return talk.console.say("Nothing to take back.")
    first = question.partition("\n")[0]
    short = first if len(first) <= 60 and first == question else f"{first[:60]}…"
    return talk.console.say(f"Taken back: {short}  (/edit brings it back, /retry asks it again)")


def clear(talk: Talk, _nothing: str) -> None:
    """Forget what was said."""
    talk.session.clear()
    talk.console.say("Forgotten. The next question begins anew.")


def copy(talk: Talk, _nothing: str) -> None:
    """Hand the last answer to the terminal's clipboard."""
    text = base64.b64encode(talk.session.last_answer.encode("utf-8", "replace")).decode("ascii")
    # OSC 52, our own and therefore past the filter: the only way that also works over ssh, and starts no program.
    talk.console.stdout.write(f"\x1b]52;c;{text}\x07")
    talk.console.stdout.flush()
    talk.console.say("Handed to the terminal's clipboard. Some terminals refuse that; /save FILE always works.")


def save(talk: Talk, name: str) -> None:
    """Write the conversation to a file only this user can read."""
    path = named(talk.console, name, "/save FILE")
    if path.exists() and not talk.console.ask(f"Replace {path}?", flag="another name"):
        return talk.console.say("Left as it was.  Under another name:  /save FILE")
    session, asking = talk.session, talk.session.asking
    kept = {"format": FORMAT, "model": asking.model, "system": asking.system, "messages": session.messages}
    try:
        write_private(path, json.dumps(kept, indent=1).encode())
    except OSError as error:
        talk.console.fail(f"{path} cannot be written: {error.strerror}.", ("Elsewhere", "/save FILE"))
    except Misconfigured as error:
        talk.console.fail(error.message, ("Elsewhere", "/save FILE"))
    return talk.console.say(f"Saved {len(session.messages)} messages.  Go on with it:  /open {path}")


def open_(talk: Talk, name: str) -> None:
    """Go on with a conversation that was saved."""
    console, session = talk.console, talk.session
    path = named(console, name, "/open FILE")
    kept = read_saved(console, path)
    if session.messages and not console.ask("Replace the conversation so far?", flag="/clear, before"):
        return console.say("Not opened: the conversation goes on as it was.")
    session.clear()
    session.messages += kept["messages"]
    session.asking.system = kept.get("system") or session.asking.system
    console.say(f"Opened {len(session.messages)} messages. The last one was:")
    return console.say(f"  {(session.last_answer or '').strip().partition(chr(10))[0][:76]}")


def read_saved(console: Console, path: Path) -> dict[str, Any]:
    """What `save` wrote. Fails for any other file."""
    try:
        with path.open("rb") as file:
            kept = json.loads(file.read(LARGEST))
    except OSError as error:
        console.fail(f"{path} cannot be read: {error.strerror}.", ("Find it with tab", "/open FILE"))
    except ValueError:
        kept = None
    if not (isinstance(kept, dict) and kept.get("format") == FORMAT and are_messages(kept.get("messages"))):
        console.fail(f"{path} is not a saved conversation.", ("Keep one", "/save FILE"))
    return kept


def are_messages(value: object) -> bool:
    """Whether *value* is a list of questions and answers."""
    return isinstance(value, list) and all(
        isinstance(each, dict) and each.get("role") in {"user", "assistant"} and isinstance(each.get("content"), str)
        for each in value
    )


def named(console: Console, name: str, usage: str) -> Path:
    """The file that *name* means."""
    if not name:
        console.fail("Which file?", ("How it goes", usage), code=Exit.USAGE)
    return Path(name).expanduser()


def sent(talk: Talk, word: str) -> None:
    """What left this machine with the last question; what a model on this machine was given, if nothing did."""
    session, console = talk.session, talk.console
    if word not in {"", ALL}:
        said = "It is /sent, or /sent all for the whole request."
        console.fail(said, ("The last question", "/sent"), code=Exit.USAGE)
    record = session.last_exchange()
    if why := nothing_left(record):
        console.out(why)
    if why and not record.attempts:  # nobody was given anything
        return
    body = session.sent(record)
    console.out(given_line(record) if why else left_line(record))
    for each in sent_lines(console, body, whole=word == ALL):
        console.out(each)


def given_line(record: AuditRecord) -> str:
    """What stands before the text that a model on this machine was given, which is kept with placeholders."""
    seen = any(finding.action == SEEN_HERE and finding.place != ANSWER for finding in record.findings)
    return "It was given this, with the values themselves for placeholders:" if seen else "It was given:"


def why(talk: Talk, _nothing: str) -> None:
    """Why that model answered the last question, and who was there for it too."""
    console, record = talk.console, talk.session.last_exchange()
    if record.decision is None or record.cached:
        told = "The cache knew the answer." if record.cached else f"Nobody was asked: it was {ended(record)}."
        return console.out(told)
    chain = record.decision.chain
    states = states_of(record, chain)
    for told in aligned([[each.model, each.provider, states[each], each.reason] for each in chain], edge=""):
        console.out(told)
    dropped = [each.reason for each in record.decision.candidates if not each.kept]
    if dropped:
        were = "more was" if len(dropped) == 1 else "more were"
        console.out(f"{len(dropped)} {were} dropped: {'; '.join(dict.fromkeys(dropped))}.")
    return console.say(f"All of it, by today's rules:  {console.style(REPLAY.format(record.id[:SHORT]), 'accent')}")


def ended(record: AuditRecord) -> str:
    """How an exchange ended, and over what."""
    return f"{record.outcome} ({record.error.replace('_', ' ')})" if record.error else record.outcome


def states_of(record: AuditRecord, chain: Sequence[Candidate]) -> dict[Candidate, str]:
    """What became of each candidate that might be asked."""
    ends = {(each.model, each.provider): "failed" if each.error else "chosen" for each in record.attempts}
    return {each: ends.get((each.model, each.provider), "fallback") for each in chain}


def cost(talk: Talk, _nothing: str) -> None:
    """What it came to: the last exchange, and all."""
    session, console = talk.session, talk.console
    if session.last is not None:
        console.say(line(console, receipt(session.last, "↷" if console.unicode else "->")))
    console.say(line(console, session.totals.parts()))


def help_(talk: Talk, _nothing: str) -> None:
    """All commands, and how to write a long message."""
    console = talk.console
    for each in TABLE:
        usage = f"/{each.name} {each.args}".strip()
        explain(console, console.style(usage.ljust(30), "accent"), each.words)
    for keys, words in KEYS:
        explain(console, keys.ljust(30), words)


def explain(console: Console, usage: str, words: str) -> None:
    """A line of the help: what is typed, and behind it, or below it where there is no room, what that does."""
    if columns_of(f"  {usage} {words}") <= console.width:
        return console.say(f"  {usage} {words}")
    console.say(f"  {usage}".rstrip())
    for each in folded(words, console.width - 6):
        console.say(f"      {each}")
    return None


def quit_(talk: Talk, _nothing: str) -> None:
    """Leave."""
    talk.leave()


# --- what an argument may become -----------------------------------------------------------------------------


def models(session: Session, begun: str) -> list[str]:
    """Models that begin with *begun*."""
    return [name for name in ("auto", *session.models()) if name.startswith(begun)]


def one_of(*words: str) -> Callable[[Session, str], list[str]]:
    """One of *words*."""

    def choices(_session: Session, begun: str) -> list[str]:
        return [word for word in words if word.startswith(begun)]

    return choices


def files(_session: Session, begun: str) -> list[str]:
    """Files that begin with *begun*, folders with a slash."""
    folder, _, start = begun.rpartition("/")
    base = Path(f"{folder}/" if folder or begun.startswith("/") else ".").expanduser()
    front = begun[: len(begun) - len(start)]
    try:
        found = sorted(each for each in base.iterdir() if each.name.startswith(start))
    except OSError:
        return []
    shown = [each for each in found if start.startswith(".") or not each.name.startswith(".")]
    return [f"{front}{each.name}{'/' if each.is_dir() else ''}" for each in shown]


TABLE = (
    Slash("model", "NAME", "which model to ask; auto lets the router choose", model, choices=models),
    Slash("tier", "fast|balanced|best|off", "how good, for auto", tier, choices=one_of(*TIERS, OFF)),
    Slash("private", "on|off", "only models on this machine", private, choices=one_of("on", OFF)),
    Slash("max-cost", "N|off", "dollars for 1K tokens at the most, for auto", max_cost, choices=one_of(OFF)),
    Slash("system", "TEXT|off", "what the model is told before everything else", system, choices=one_of(OFF)),
    Slash("temp", "N|off", "temperature: 0 is steady, 1 is free", temp, choices=one_of(OFF)),
    Slash("retry", "", "ask the last question again", retry, when=asked),
    Slash("edit", "[TEXT]", "write the question in $EDITOR", edit),
    Slash("undo", "", "take back the last question and its answer", undo, when=answered),
    Slash("clear", "", "forget what was said", clear),
    Slash("copy", "", "the last answer to the clipboard", copy, when=answered),
    Slash("save", "FILE", "keep the conversation in a file", save, when=answered, choices=files),
    Slash("open", "FILE", "go on with a saved conversation", open_, choices=files),
    Slash("sent", "[all]", "what left this machine with the last question", sent, when=tried, choices=one_of(ALL)),
    Slash("why", "", "why that model answered the last question", why, when=taken),
    Slash("cost", "", "what the last answer and all of them cost", cost),
    Slash("help", "", "this list", help_),
    Slash("quit", "", "leave, as ctrl-d does", quit_),
)
NAMES = {each.name: each for each in TABLE}
ALSO = {"exit": "quit", "bye": "quit", "q": "quit", "?": "help", "h": "help"}
"""Words that other chats use."""
KEYS = (
    ('"""', "begins and ends a message of many lines"),
    ("\\ at a line's end", "the message goes on"),
    ("a space before a line", "not kept in the history, and never a command"),
    ("ctrl-c", "stops the answer"),
)

# --- finding and running -------------------------------------------------------------------------------------

COMMAND = re.compile(r"/([A-Za-z?][A-Za-z-]*|\?)(?:[ \t]+(.*))?")


def parse(message: str) -> tuple[str, str] | None:
    """Name and argument, if *message* is a slash command; a path or a text of many lines is none."""
    found = COMMAND.fullmatch(message.rstrip())
    return (found[1].lower(), (found[2] or "").strip()) if found else None


def run(talk: Talk, name: str, argument: str) -> None:
    """Do what the command *name* does. Raises `CommandError` if there is none, or not now."""
    known = NAMES.get(ALSO.get(name, name))
    if known is None:
        begun = [each for each in NAMES if each.startswith(name) or name.startswith(each)]
        near = begun or get_close_matches(name, NAMES, n=1, cutoff=0.6)
        guess = f" Did you mean /{near[0]}?" if near else ""
        remedies = () if near else (("All of them", "/help"),)
        talk.console.fail(f"No command /{name}.{guess}", *remedies, code=Exit.USAGE)
    if reason := known.when(talk.session):
        talk.console.fail(reason, ("How it goes", "/help"), code=Exit.USAGE)
    known.act(talk, argument)


def complete(session: Session, text: str) -> list[str]:
    """The lines that *text* may become."""
    name, space, argument = text.partition(" ")
    if not space:
        return [f"/{each.name}{' ' if each.args else ''}" for each in TABLE if f"/{each.name}".startswith(name)]
    known = NAMES.get(name.removeprefix("/")) if name.startswith("/") else None
    return [f"{name} {choice}" for choice in known.choices(session, argument)] if known else []
