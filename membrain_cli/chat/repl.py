"""The conversation at the terminal: reads what is typed, asks it or does it, and goes on until ctrl-d.

`message` puts a message together out of lines, whatever they are read from; `Keyboard` reads them with GNU readline
(arrow keys, ctrl-r, tab, a paste of many lines as one); `Repl` is the loop. What a slash command does is in `slash`,
how an answer is shown in `tell`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from membrain.places import open_private, read_private, write_private
from membrain_cli.chat import slash
from membrain_cli.chat.session import Session
from membrain_cli.chat.tell import line, receipt_line, say_demo, stopped_line, tell
from membrain_cli.console import CommandError, Console

Prompt = Literal["first", "more"]
Read = Callable[[Prompt], str]
"""Reads one line. Raises `EOFError` at the end and `KeyboardInterrupt` for ctrl-c, as `input` does."""

PROMPTS: dict[Prompt, tuple[str, str]] = {"first": ("› ", "> "), "more": ("… ", "... ")}  # noqa: RUF001  # the prompt of our drawings
"""What stands before a line that is typed, and its ASCII twin."""
QUOTES = '"""'
REMEMBERED = 1000
"""Messages of the history that can be called back."""


# --- one message ---------------------------------------------------------------------------------------------


def message(read: Read) -> str:
    """The next message: a line, a paste, or several lines held together by `\"\"\"` or by a backslash at their end.

    Raises what *read* raises for its first line. Ctrl-c or ctrl-d later on gives the message up: it is then empty.
    """
    first = read("first")
    try:
        return quoted(first, read) if first.lstrip().startswith(QUOTES) else continued(first, read)
    except (EOFError, KeyboardInterrupt):
        return ""


def quoted(first: str, read: Read) -> str:
    """What stands between two `\"\"\"`, of which the first opens *first*."""
    text = first.lstrip().removeprefix(QUOTES)
    while not text.rstrip().endswith(QUOTES):
        text += "\n" + read("more")
    return text.rstrip().removesuffix(QUOTES).strip("\n")


def continued(text: str, read: Read) -> str:
    """*text*, and more of it as long as it ends with a backslash."""
    while text.endswith("\\"):
        text = text[:-1] + "\n" + read("more")
    return text


# --- the keyboard --------------------------------------------------------------------------------------------


class History:
    """The messages that were typed: one JSON text on each line of a file that only this user can read."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def load(self) -> list[str]:
        """The last messages, oldest first. The file is cut down when it has grown to twice of what is remembered."""
        if self._path is None:
            return []
        try:
            lines = read_private(self._path).decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return []
        if len(lines) > 2 * REMEMBERED:
            lines = lines[-REMEMBERED:]
            write_private(self._path, "".join(f"{each}\n" for each in lines).encode())
        return [text for each in lines[-REMEMBERED:] if (text := self._text(each))]

    def add(self, text: str) -> None:
        """Keep *text*, unless history is off."""
        if self._path is not None:
            with os.fdopen(open_private(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "w") as file:
                file.write(json.dumps(text) + "\n")

    @staticmethod
    def _text(entry: str) -> str:
        """A line of the file; nothing if it is not one of ours (half written, or edited)."""
        try:
            text = json.loads(entry)
        except ValueError:
            return ""
        return text if isinstance(text, str) else ""


class Keyboard:
    """Lines from a person, through `input()` and GNU readline, where Python has it."""

    def __init__(self, console: Console, history: History, complete: Callable[[str], list[str]]) -> None:
        self._console, self._history, self._complete = console, history, complete
        self._found: list[str] = []
        self._typed: list[str] = []
        self._readline = self._set_up()

    def _set_up(self) -> Any:
        try:
            import readline
        except ImportError:  # Windows: plain lines
            return None
        readline.set_auto_history(False)
        for text in self._history.load():
            readline.add_history(text)
        readline.set_completer(self._completion)
        readline.set_completer_delims("\n")  # the whole line is completed, so that a file may have spaces
        if "libedit" in (readline.__doc__ or ""):
            readline.parse_and_bind("bind ^I rl_complete")
        else:
            readline.parse_and_bind("tab: complete")
            # Python switches this off; without it, each line of a paste would be sent as a message.
            able = self._console.environ.get("TERM") != "dumb"
            readline.parse_and_bind(f"set enable-bracketed-paste {'on' if able else 'off'}")
        return readline

    def read(self, prompt: Prompt) -> str:
        """One line."""
        sign, twin = PROMPTS[prompt]
        style: Literal["accent", "dim"] = "accent" if prompt == "first" else "dim"
        shown = self._console.style(sign if self._console.unicode else twin, style)
        typed = input(self._console.prompt(shown))
        self._typed.append(typed)
        return typed.encode("utf-8", "replace").decode()

    def message(self) -> str:
        """The next message, kept in the history unless it begins with a space."""
        self._typed.clear()
        text = message(self.read)
        typed = "\n".join(self._typed)
        if text.strip() and not typed.startswith(" "):
            self._history.add(typed)
            if self._readline is not None:
                self._readline.add_history(typed)
        return text

    @property
    def was_empty(self) -> bool:
        """Nothing stood on the line that ctrl-c has just ended."""
        return self._readline is None or not self._readline.get_line_buffer()

    def _completion(self, text: str, number: int) -> str | None:
        if number == 0:
            self._found = self._complete(text)
        return self._found[number] if number < len(self._found) else None


# --- the loop ------------------------------------------------------------------------------------------------


class Repl:
    """One conversation with a person. `told` marks that the demo note was shown on this machine."""

    def __init__(self, console: Console, session: Session, keyboard: Keyboard, told: Path) -> None:
        self.console, self.session = console, session
        self._keyboard, self._told = keyboard, told
        self._going = True

    def run(self, head: list[str]) -> None:
        """Greet with *head*, then take messages until the person leaves; says what it came to."""
        console = self.console
        console.say(f"{console.style('membrain', 'bold')}{line(console, ['', *head])}")
        while self._going:
            console.out()
            try:
                self._turn(self._keyboard.message())
            except EOFError:
                console.out()
                break
            except KeyboardInterrupt:
                self._interrupted()
            except CommandError as failure:
                console.show_failure(failure)
            except UnicodeDecodeError:
                console.say("That line is not UTF-8, so it was not read.")
        if self.session.totals.exchanges:
            console.say(line(console, self.session.totals.parts()))

    def leave(self) -> None:
        """End after this turn."""
        self._going = False

    def ask(self, text: str) -> None:
        """Ask *text* and show the answer, with its receipt."""
        console = self.console
        console.out()
        answer = self.session.ask(text)
        try:
            whole = tell(console, answer)
        finally:
            if answer.text:
                console.out()
        console.say(receipt_line(console, answer) if whole else stopped_line(console, answer))
        say_demo(console, answer.record, self._told)

    def _turn(self, text: str) -> None:
        command = slash.parse(text)
        if command is not None:
            slash.run(self, *command)
        elif text.strip():
            self.ask(text.strip())

    def _interrupted(self) -> None:
        self.console.out()
        if self._keyboard.was_empty:
            self.console.say("(ctrl-d or /quit to leave)")
