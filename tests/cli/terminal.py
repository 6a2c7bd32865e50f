"""A real terminal for tests: a program behind a pty, and a screen that is drawn as a terminal would draw it.

    with Terminal([sys.executable, "-m", "membrain_cli", "chat"], environ) as terminal:
        terminal.expect("membrain")
        terminal.type("Hello\r")
        terminal.expect("Hi!")

`raw` keeps every byte that came; `screen` is what a person would see, scrollback first. The screen understands what
our programs and readline write (moves, erasing, wrapping), counts what it does not, and is nothing for production.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]

ATTACH = "import fcntl,os,sys,termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
"""Makes the pty the program's own terminal, so that ctrl-c reaches it, and becomes the program."""

TOKEN = re.compile(r"\x1b\[([0-?]*)[ -/]*([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|[\x00-\x1f\x7f]")
"""CSI, OSC, other escapes, and single control bytes."""


class Screen:
    """Lines with a cursor. Lines that scroll out are kept; `rows` of them are within reach of cursor moves."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.cells: list[list[str]] = [[]]
        self.row = self.column = 0
        self.unknown: list[str] = []

    @property
    def text(self) -> str:
        """All lines, the oldest first, without trailing blanks."""
        return "\n".join("".join(line).rstrip() for line in self.cells).rstrip("\n")

    @property
    def top(self) -> int:
        """The first line that is still on the screen."""
        return max(0, len(self.cells) - self.rows)

    def feed(self, text: str) -> None:
        """Draw *text*, which must not end within a sequence."""
        end = 0
        for token in TOKEN.finditer(text):
            self._print(text[end : token.start()])
            self._do(token)
            end = token.end()
        self._print(text[end:])

    def _do(self, token: re.Match[str]) -> None:
        if token[2]:
            self._csi(token[1], token[2])
        elif token[0] == "\n":
            self._down()
        elif token[0] == "\r":
            self.column = 0
        elif token[0] == "\b":
            self.column = max(0, self.column - 1)
        elif token[0] not in {"\x07", "\x1b>", "\x1b="}:
            self.unknown.append(token[0])

    def _csi(self, given: str, kind: str) -> None:
        number = int(given) if given.isdecimal() else 0
        if kind == "A":
            self.row = max(self.top, self.row - max(1, number))
        elif kind == "B":
            self.row = min(self.top + self.rows - 1, len(self.cells) - 1, self.row + max(1, number))
        elif kind == "C":
            self.column = min(self.columns - 1, self.column + max(1, number))
        elif kind == "D":
            self.column = max(0, self.column - max(1, number))
        elif kind == "J" and number == 0:
            del self.cells[self.row + 1 :]
            del self.cells[self.row][self.column :]
        elif kind == "K" and number == 0:
            del self.cells[self.row][self.column :]
        elif kind == "P":
            del self.cells[self.row][self.column : self.column + max(1, number)]
        elif kind not in "mhl":
            self.unknown.append(f"CSI {given}{kind}")

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.cells):
            self.cells.append([])

    def _print(self, text: str) -> None:
        for sign in text:
            wide = 0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1
            if self.column + wide > self.columns:
                self.column = 0
                self._down()
            line = self.cells[self.row]
            line += [" "] * (self.column - len(line))
            line[self.column : self.column + wide] = [sign, *[""] * (wide - 1)]
            self.column += wide


class Terminal:
    """*command* behind a pty of *rows* and *columns*. Use as a context manager; its end kills what still runs."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], *, rows: int = 24, columns: int = 80
    ) -> None:
        self.raw = b""
        self._seen = 0
        self._rows, self._columns = rows, columns
        self._master, slave = pty.openpty()
        self._set_size()
        self._process = subprocess.Popen(
            [sys.executable, "-c", ATTACH, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={"TERM": "xterm-256color", "LANG": "C.UTF-8", **environ},
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._master)

    @property
    def pid(self) -> int:
        """The program."""
        return self._process.pid

    @property
    def text(self) -> str:
        """All that came, as text, without escape sequences."""
        return TOKEN.sub(lambda token: token[0] if token[0] in "\n\t" else "", self.raw.decode("utf-8", "replace"))

    @property
    def screen(self) -> Screen:
        """What is to be seen now, scrollback first."""
        screen = Screen(self._rows, self._columns)
        screen.feed(self.raw.decode("utf-8", "replace"))
        return screen

    def type(self, text: str) -> None:
        """Press these keys: "\r" is enter, "\x03" ctrl-c, "\x04" ctrl-d, "\x1b[A" arrow up."""
        os.write(self._master, text.encode())

    def paste(self, text: str) -> None:
        """Paste: in brackets if the program has asked for them, else as if it were typed."""
        keys = text.replace("\n", "\r")
        bracketed = self.raw.rfind(b"\x1b[?2004h") > self.raw.rfind(b"\x1b[?2004l")
        self.type(f"\x1b[200~{keys}\x1b[201~" if bracketed else keys)

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size and tell the program."""
        self._rows, self._columns = rows, columns
        self._set_size()
        os.killpg(os.tcgetpgrp(self._master), signal.SIGWINCH)

    def expect(self, wanted: str, seconds: float = 10.0) -> str:
        """Wait until *wanted* is in what came since the last time; gives everything up to its end."""
        limit = time.monotonic() + seconds
        while True:
            fresh = self.text[self._seen :]
            if (found := fresh.find(wanted)) >= 0:
                self._seen += found + len(wanted)
                return fresh[: found + len(wanted)]
            if not self._read(limit - time.monotonic()):
                raise AssertionError(f"{wanted!r} did not come; what came last:\n{fresh[-2000:]}")

    def finish(self, seconds: float = 10.0) -> int:
        """Wait for the program's end, and give its exit status."""
        limit = time.monotonic() + seconds
        while self._read(limit - time.monotonic()):
            pass
        return self._process.wait(max(0.1, limit - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        """Take what comes within *seconds*; False if nothing does, or all has ended."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, seconds))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # how Linux says that the program's side is closed
            return False
        self.raw += data
        return bool(data)

    def _set_size(self) -> None:
        size = struct.pack("HHHH", self._rows, self._columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)


def surroundings(home: Path, **more: str) -> dict[str, str]:
    """An environment for our own programs: nothing of whoever runs the tests but the path."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("", "gateway", "client")),
        "PYTHONWARNINGS": "error",
        **more,
    }
