"""How an answer is told: its text as it comes, ctrl-c, the line under it, and what of the question left this machine.

On a terminal the text is drawn as Markdown (`render`, which is imported while one waits for the first word); in a
pipe, or without colour, it is passed on as it is. A question that the gateway holds until a person agrees is put to
whoever is at the terminal. Shared by the one-shot command and the conversation.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, Self

from membrain.errors import MembrainError
from membrain.records import AuditRecord
from membrain_cli.chat.session import Answer, Session, receipt, tokens, went_to
from membrain_cli.commands.pii import SHORT, counts, plain
from membrain_cli.console import CommandError, Console, Exit, Filter, clean_cell, folded, padded, span


class Voice(Protocol):
    """What shows a text as it grows."""

    def add(self, piece: str) -> None:
        """More text, as the model wrote it."""

    def close(self) -> None:
        """The text is over; what comes next stands on a new line."""


class Plain:
    """Passes the text on as it is, but for what could drive a terminal."""

    def __init__(self, console: Console) -> None:
        self._console, self._filter = console, Filter()
        self._last = "\n"

    def add(self, piece: str) -> None:
        shown = self._filter(piece)
        if shown:
            self._console.write(shown)
            self._last = shown[-1]

    def close(self) -> None:
        if self._last != "\n":
            self._console.write("\n")


def draws(console: Console) -> bool:
    """Whether stdout is a terminal on which Markdown can be drawn."""
    able = console.unicode and console.environ.get("TERM") != "dumb" and os.name == "posix"
    return able and console.is_tty_out and console.coloured(console.stdout)


def make_ready(console: Console) -> None:
    """Import in the background what the first answer will need, while a person types or a model thinks."""

    def load() -> None:
        with contextlib.suppress(ImportError):  # whoever needs it meets the same, and can say so
            import_module("membrain_client")
            if draws(console):
                import_module("membrain_cli.chat.render")

    threading.Thread(target=load, name="make-ready", daemon=True).start()


def voice(console: Console) -> Voice:
    """How this console shows a text."""
    if draws(console):
        from membrain_cli.chat.render import Live

        return Live(console)
    return Plain(console)


def tell(console: Console, answer: Answer) -> bool:
    """Show *answer* as it comes. False if ctrl-c stopped it; then what came is kept and nothing runs on.

    Raises `CommandError` when the answer fails.
    """
    pieces, speaking, whole = iter(answer), None, True
    watch = Watch(console, answer.session, answer.question)
    with Ear() as ear, without_echo(console):
        try:
            with console.working(waiting_sign(console)), watch:
                piece = ear.wait(pieces)
            speaking = voice(console)
            while piece is not None:
                speaking.add(piece)
                piece = ear.wait(pieces)
        except KeyboardInterrupt:
            whole = False
            answer.session.hang_up()
            watch.deny()
        finally:
            if speaking is not None:
                speaking.close()
        if not whole:
            answer.stop()
    return whole


def waiting_sign(console: Console) -> str:
    """What is shown until the first word comes."""
    return "…" if console.unicode else "..."


class Ear:
    """Feels ctrl-c only while we wait for the model, never in the middle of drawing or of tidying up."""

    def __init__(self) -> None:
        self._waiting = self._felt = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # elsewhere no signal is ever felt
            self._before = signal.signal(signal.SIGINT, self._feel)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _feel(self, _number: int, _frame: FrameType | None) -> None:
        self._felt = True
        if self._waiting:
            raise KeyboardInterrupt

    def wait(self, pieces: Iterator[str]) -> str | None:
        """The next piece, None after the last. Raises `KeyboardInterrupt` if ctrl-c was pressed by then."""
        try:
            self._waiting = True
            if self._felt:
                raise KeyboardInterrupt
            return next(pieces, None)
        finally:
            self._waiting = False


@contextlib.contextmanager
def without_echo(console: Console) -> Iterator[None]:
    """What is typed meanwhile is kept for the next question and not shown in the midst of the answer."""
    before = modes(console) if console.is_tty_in and console.is_tty_out else None
    if before is None:
        yield
        return
    import termios

    silent = [*before]
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(console.stdin.fileno(), termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        if modes(console) is not None:
            termios.tcsetattr(console.stdin.fileno(), termios.TCSADRAIN, before)


@contextlib.contextmanager
def with_echo(console: Console, before: list[Any]) -> Iterator[None]:
    """For a question in between, on a terminal whose modes are *before*.

    What was typed until now is forgotten: it was meant for something else, and must not count as a yes.
    """
    import termios

    shown = [*before]
    shown[3] |= termios.ECHO | termios.ICANON
    termios.tcsetattr(console.stdin.fileno(), termios.TCSAFLUSH, shown)
    try:
        yield
    finally:
        if modes(console) is not None:
            termios.tcsetattr(console.stdin.fileno(), termios.TCSADRAIN, before)


def modes(console: Console) -> list[Any] | None:
    """How the terminal treats what is typed; None if it is not ours to change, as for a job in the background."""
    if sys.platform == "win32":
        return None
    import termios

    try:
        keys = console.stdin.fileno()
        return termios.tcgetattr(keys) if os.tcgetpgrp(keys) == os.getpgrp() else None
    except (OSError, termios.error):
        return None


# --- a question that waits for a person ----------------------------------------------------------------------

FIRST_LOOK = 0.4
"""Seconds without an answer after which is looked for a hold."""
EACH_LOOK = 1.0
"""Seconds between further looks."""
PATIENCE = 0.1
"""Seconds until somebody who asks a person notices that the answer has begun after all."""
MOST_SHOWN = 12
"""Findings that are shown; of more, only how many there are."""
LONGEST = 1024
"""Bytes that are read of a reply."""

MAY_IT = "Send it masked? [y]es, [n]o, [a]lways for this project: "
REPLIES = {
    **dict.fromkeys(("y", "yes"), ("approve", False)),
    **dict.fromkeys(("n", "no"), ("deny", False)),
    **dict.fromkeys(("a", "always"), ("approve", True)),
}
"""What may be replied, and the decision that it is: which, and whether for good."""
NO = REPLIES["n"]


class Watch:
    """Looks, while no answer has come, whether *question* waits for a person, and has the person here decide.

    Use as a context manager around the wait for the first piece. It looks in a thread of its own, which neither
    delays the answer nor feels ctrl-c; where there is nobody to ask, it says once how to decide.
    """

    def __init__(self, console: Console, session: Session, question: str) -> None:
        self._console, self._session, self._question = console, session, question
        self._began = time.monotonic()
        self._over = threading.Event()
        self._speaking = threading.Lock()
        self._undecided = ""
        self._denied = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._look, name="watch", daemon=True).start()
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._over.set()
        with self._speaking:  # whoever is asked is told that it is over, and the terminal is ours again
            pass
        if self._denied and isinstance(error, CommandError):
            said = "Not sent, as you said. Nothing of it left."
            raise CommandError(said, [("What else waits", "membrain pii holds")], Exit.REFUSED) from error

    def deny(self) -> None:
        """Refuse what a person was asked about and did not decide. That the gateway knows by now is as good."""
        if self._undecided:
            with contextlib.suppress(OSError, CommandError, MembrainError):
                self._session.decide(self._undecided, "deny")

    def _look(self) -> None:
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # it has to wake who waits for the answer
        pause = FIRST_LOOK
        while not self._over.wait(pause):
            pause = EACH_LOOK
            try:
                hold = self._session.held(self._question, time.monotonic() - self._began)
            except OSError:
                continue
            except (CommandError, MembrainError):  # not ours to know: the answer itself will tell
                return
            if hold is not None:
                self._tell(hold)
                return

    def _tell(self, hold: Mapping[str, Any]) -> None:
        """Have a person decide on *hold*, and show afterwards that the answer is waited for."""
        console = self._console
        with self._speaking:
            if self._over.is_set():
                return
            with console.working(""):  # wipes the sign of waiting
                pass
            before = modes(console) if may_ask(console) else None
            if before is None:
                console.say(f"Waits for a person: membrain pii approve {hold['id'][:SHORT]}")
            else:
                self._decide(hold, before)
            with console.working(waiting_sign(console)):
                self._over.wait()

    def _decide(self, hold: Mapping[str, Any], before: list[Any]) -> None:
        """Show *hold*, ask, and tell the gateway; nothing if the question was answered by somebody else."""
        for each in held_lines(self._console, hold):
            self._console.complain(each)
        self._undecided = hold["id"]
        with with_echo(self._console, before):
            reply = self._reply()
        if reply is None:
            return
        decision, always = reply
        try:
            self._session.decide(hold["id"], decision, always=always)
        except (OSError, CommandError, MembrainError) as error:
            told = "The gateway did not hear it." if isinstance(error, OSError) else str(error)
            self._console.complain(f"{told} Say it there: membrain pii {decision} {hold['id'][:SHORT]}")
            return
        self._undecided, self._denied = "", decision == "deny"
        if always:
            self._console.say("This project is not asked again about these, until the gateway stops.")

    def _reply(self) -> tuple[str, bool] | None:
        """What the person decides; None if it is over before. The end of input (ctrl-d) is a no."""
        stderr, keys = self._console.stderr, self._console.stdin.fileno()
        reply = None
        while reply is None:
            stderr.write(MAY_IT)
            stderr.flush()
            while not self._over.is_set() and not select.select([keys], [], [], PATIENCE)[0]:
                pass
            typed = b"" if self._over.is_set() else os.read(keys, LONGEST)
            if not typed:
                stderr.write("\n")
            if self._over.is_set():
                return None
            reply = REPLIES.get(typed.decode("utf-8", "replace").strip().lower()) if typed else NO
        return reply


def may_ask(console: Console) -> bool:
    """Whether somebody is there who sees a question and may answer it."""
    return console.is_tty_in and console.is_tty_err and not console.no_input


def held_lines(console: Console, hold: Mapping[str, Any]) -> Iterator[str]:
    """What was found in a question that waits: labels, then each place with what stands around the value."""
    yield f"{console.glyph('look')} Waits for you: {counts(hold)}; would go to {hold['model']}."
    shown = [(each["place"], plain(each["label"]), around(console, each)) for each in hold["contexts"][:MOST_SHOWN]]
    first, second = (max((len(row[at]) for row in shown), default=0) + 3 for at in (0, 1))
    for place, label, words in shown:
        yield f"  {console.style(padded(place, first), 'dim')}{padded(label, second)}{clean_cell(words)}"
    if more := len(hold["contexts"]) - len(shown):
        yield f"  {more} more: membrain pii holds {hold['id'][:SHORT]}"


def around(console: Console, context: Mapping[str, str]) -> str:
    """A value's surroundings, and of itself how it ends."""
    value = console.style(f"{waiting_sign(console)}{context['tail']}", "dim")
    return f"{context['before']}{value}{context['after']}"


# --- the line under it ---------------------------------------------------------------------------------------


def line(console: Console, parts: list[str]) -> str:
    """*parts* as one dim line: "local/default · local · 1.2 s · 43 tokens · free"."""
    return console.style((" · " if console.unicode else " - ").join(parts), "dim")


def receipt_line(console: Console, answer: Answer) -> str:
    """The receipt of *answer*, or as much of it as is known here if the gateway did not say."""
    if answer.record is None:
        return line(console, [part for part in (answer.model, span(answer.ms), "cost unknown") if part])
    return line(console, receipt(answer.record, "↷" if console.unicode else "->"))


def stopped_line(console: Console, answer: Answer) -> str:
    """What is to be said of an answer that ctrl-c stopped."""
    counted = tokens(answer.record) if answer.record else ""
    kept = "the part above is kept" if answer.text else ""
    return line(console, [part for part in ("stopped", span(answer.ms), counted, kept) if part])


# --- what left -----------------------------------------------------------------------------------------------


PASSED = {"model", "stream", "messages"}
"""Members of a request that say nothing of the person who asked, or are told one by one."""


def left_line(record: AuditRecord) -> str:
    """What stands before the text that left; it names who was given it, unless that is who answered, alone."""
    gone = went_to(record)
    whom = "" if gone in ([], [record.provider]) else f", to {' and '.join(gone)}"
    return f"What left this machine{whom}:"


def sent_lines(console: Console, body: Mapping[str, Any], *, whole: bool = False) -> Iterator[str]:
    """Role and text of a request as it was given to a provider; its placeholders stand out.

    From the last message of the user on, or with *whole* from the first, and whatever else it held.
    """
    given = body.get("messages")
    messages = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    rows = [(str(each.get("role") or ""), text_of(each)) for each in messages]
    asked = [place for place, (role, _) in enumerate(rows) if role == "user"]
    if whole:
        rows += [(name, plainly(value)) for name, value in body.items() if name not in PASSED]
    else:
        rows = rows[asked[-1] if asked else 0 :]
    width = max((len(role) for role, _ in rows), default=0) + 3
    for role, text in rows:
        shown = "\n".join(folded(text, max(20, console.width - width - 2))) if console.is_tty_out else text
        hanging = "\n".ljust(width + 3)
        yield f"  {console.style(padded(role, width), 'dim')}{standing_out(console, shown).replace(chr(10), hanging)}"


def text_of(message: Mapping[str, Any]) -> str:
    """Everything that a message says: its text, and as JSON whatever else it holds."""
    content = message.get("content")
    others = {name: value for name, value in message.items() if name not in {"role", "content"} and value is not None}
    return "\n".join([*([] if content is None else [plainly(content)]), *([plainly(others)] if others else [])])


def plainly(value: object) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def standing_out(console: Console, text: str) -> str:
    """*text* with its placeholders in bold."""
    from membrain.pii.vault import SHAPE

    return re.sub(SHAPE, lambda found: console.style(found[0], "bold"), text)


def say_demo(console: Console, record: AuditRecord | None, marker: Path) -> None:
    """Once on each machine: the answer came from the embedded model, and what to do for a better one."""
    if record is None or record.provider != "local" or record.answered_model != "local/default":
        return
    if console.quiet or marker.exists():
        return
    console.say()
    console.say("local/default is a small demo model that comes with Membrain. It is often wrong.")
    for remedy in console.remedies(
        [("Use a real one", "membrain keys set openai"), ("Or a local one", "ollama pull llama3")]
    ):
        console.say(remedy)
    marker.touch(mode=0o600)
