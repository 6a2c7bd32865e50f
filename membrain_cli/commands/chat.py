"""`chat`: ask once, or hold a conversation.

With a message, or with one coming through a pipe, it asks once: the answer alone goes to stdout, the receipt to
stderr if that is a terminal. On a terminal without a message it opens the conversation. A gateway that is down is
started first, so that the first answer on a fresh machine needs one command.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from membrain_cli import daemon
from membrain_cli.console import Console, Exit, current, meant
from membrain_cli.reach import Reach

if TYPE_CHECKING:
    from membrain_cli.chat.session import Asking

TIERS = ("fast", "balanced", "best", "speed", "quality")
MASKING = {"standard": "masking", "off": "not masking"}
"""How levels of masking are told; others by their name."""


def chat(  # noqa: PLR0913  # one parameter for each flag
    message: Annotated[
        list[str] | None,
        typer.Argument(help="What to ask. A pipe is added after a blank line.", show_default=False),
    ] = None,
    *,
    model: Annotated[str, typer.Option("--model", "-m", help="Which model; auto lets the router choose.")] = "auto",
    tier: Annotated[str | None, typer.Option(help="fast, balanced or best, for auto.", show_default=False)] = None,
    private: Annotated[bool, typer.Option("--private", help="Only models on this machine.")] = False,
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, help="Dollars for 1K tokens at the most, for auto.", show_default=False),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option("--system", "-s", help="What the model is told before everything else.", show_default=False),
    ] = None,
    temp: Annotated[
        float | None, typer.Option(min=0, help="Temperature: 0 is steady, 1 is free.", show_default=False)
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens of the answer at the most.", show_default=False)
    ] = None,
    no_history: Annotated[bool, typer.Option("--no-history", help="Keep nothing of what is typed.")] = False,
) -> Exit:
    """Ask once, or hold a conversation."""
    from membrain_cli.chat.session import Asking

    console = current()
    if tier is not None and tier not in TIERS:
        said = f"No tier {tier}. There are fast, balanced and best.{meant(tier, TIERS)}"
        console.fail(said, ("How it goes", 'membrain chat --tier fast "…"'), code=Exit.USAGE)
    text = question(console, message or [])
    asking = Asking(model, tier, private, max_cost, readable(system or "") or None, temp, max_tokens)
    door = open_door(console, warm=not console.json)
    if text is None:
        return converse(door, asking, remember=not no_history)
    return ask_whole(door, asking, text) if console.json else ask_once(door, asking, text)


# --- what to ask ---------------------------------------------------------------------------------------------


def question(console: Console, words: list[str]) -> str | None:
    """The message: the words, what comes through the pipe, or both. None: a person is there to hold a conversation."""
    said = readable(" ".join(words)).strip()
    piped = "" if console.is_tty_in else read_pipe(console)
    text = f"{said}\n\n{piped}" if said and piped else said or piped
    if text:
        return text
    if console.is_tty_in and console.is_tty_out and not console.no_input and not console.json:
        return None
    return console.fail("There is nothing to ask.", ("Ask once", 'membrain chat "…"'), code=Exit.USAGE)


def read_pipe(console: Console) -> str:
    """All that comes through stdin, without the blank lines around it. What is not UTF-8 is marked as such."""
    pipe = getattr(console.stdin, "buffer", None)
    text = pipe.read().decode("utf-8", "replace") if pipe is not None else console.stdin.read()
    return str(text).strip("\r\n")


def readable(text: str) -> str:
    """*text* of the command line, where bytes that are not UTF-8 came in as half characters."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


# --- the gateway ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Door:
    """A running gateway, and how to speak to it from here."""

    console: Console
    reach: Reach
    running: daemon.Running


def open_door(console: Console, *, warm: bool) -> Door:
    """The running gateway, started if need be. With *warm*, what the answer needs is imported meanwhile."""
    from membrain_cli.chat.tell import make_ready

    reach = Reach(console.environ)
    if warm:
        make_ready(console)
    return Door(console, reach, reach.running or start(console, reach))


def start(console: Console, reach: Reach) -> daemon.Running:
    """Start the gateway, and say so in one line."""
    began = time.monotonic()
    try:
        with console.working("starting the gateway …"):
            running, fresh = daemon.start(reach.places, console.environ, None)
    except daemon.StartError as error:
        console.fail("The gateway did not start.", ("See why", "membrain up"), code=Exit.DOWN, detail=error.said)
    if fresh:
        took = time.monotonic() - began
        console.say(f"{console.glyph('up')} membrain is up   {running.url}   {took:.1f} s   (membrain down stops it)")
    return running


# --- once ----------------------------------------------------------------------------------------------------


def ask_once(door: Door, asking: Asking, text: str) -> Exit:
    """Stream the answer to stdout, and tell the receipt to a person."""
    from membrain_cli.chat.session import Session
    from membrain_cli.chat.tell import receipt_line, say_demo, stopped_line, tell

    console = door.console
    with Session(door.running.url, door.reach.key, asking) as session:
        answer = session.ask(text)
        whole = tell(console, answer)
    if console.is_tty_err:
        console.say(receipt_line(console, answer) if whole else stopped_line(console, answer))
    say_demo(console, answer.record, told(door))
    return Exit.OK if whole else Exit.INTERRUPTED


def ask_whole(door: Door, asking: Asking, text: str) -> Exit:
    """Print the whole completion as JSON."""
    from membrain_cli.chat.session import Session
    from membrain_cli.chat.tell import Watch, say_demo

    working = door.console.working("…" if door.console.unicode else "...")
    with Session(door.running.url, door.reach.key, asking) as session, working, Watch(door.console, session, text):
        completion = session.whole(text)
    door.console.record(completion)
    say_demo(door.console, session.last, told(door))
    return Exit.OK


def told(door: Door) -> Path:
    """The file whose presence says that the demo note was shown on this machine."""
    return door.reach.places.state / "demo-told"


# --- a conversation ------------------------------------------------------------------------------------------


def converse(door: Door, asking: Asking, *, remember: bool) -> Exit:
    """Hold a conversation until the person leaves."""
    from membrain_cli.chat import slash
    from membrain_cli.chat.repl import History, Keyboard, Repl
    from membrain_cli.chat.session import Session

    history = History(door.reach.places.history_file if remember else None)
    chosen = "private" if asking.private else asking.tier or door.running.health.get("tier")
    model = ", ".join(each for each in (asking.model, chosen) if each)
    head = [each for each in (model, masking(door.running.health), "/help, ctrl-d to leave") if each]
    with Session(door.running.url, door.reach.key, asking) as session:
        keyboard = Keyboard(door.console, history, lambda line: slash.complete(session, line))
        Repl(door.console, session, keyboard, told(door)).run(head)
    return Exit.OK


def masking(health: Mapping[str, object]) -> str:
    """Whether what is private is masked, as the gateway's *health* tells; nothing if it does not."""
    level = health.get("masking")
    return MASKING.get(level, f"masking {level}") if isinstance(level, str) else ""
