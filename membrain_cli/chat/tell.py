"""How an answer is told: its text as it comes, ctrl-c, the line under it, and what of the question left this machine.

On a terminal the text is drawn as Markdown (`render`, which is imported while one waits for the first word); in a
pipe, or without colour, it is passed on as it is. Shared by the one-shot command and the conversation.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, Self

from membrain.records import AuditRecord
from membrain_cli.chat.session import Answer, receipt, tokens, went_to
from membrain_cli.console import Console, Filter, padded, span


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
    with Ear() as ear, without_echo(console):
        try:
            with console.working("…" if console.unicode else "..."):
                piece = ear.wait(pieces)
            speaking = voice(console)
            while piece is not None:
                speaking.add(piece)
                piece = ear.wait(pieces)
        except KeyboardInterrupt:
            whole = False
            answer.session.hang_up()
        finally:
            if speaking is not None:
                speaking.close()
        if not whole:
            answer.stop()
    return whole


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
        hanging = "\n".ljust(width + 3)
        yield f"  {console.style(padded(role, width), 'dim')}{standing_out(console, text).replace(chr(10), hanging)}"


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
