"""A person's terminal for tests: a shell in a tmux of its own, which is typed into and looked at.

    with Pane(environ, folder) as pane:
        pane.run("membrain status", "today")
        pane.text

`../cli/terminal.py` is quicker and knows every byte; this one is a terminal that others wrote, so what it shows is what
people see. It needs `tmux`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

PATIENCE = 20.0
"""Seconds to wait for words on a busy machine."""
PROMPT = "$"
"""The shell's, and all of its line while it waits; after a failure the exit status stands before it."""
CHAT = "›"  # noqa: RUF001  # as it is drawn
"""Likewise the chat's."""
KEYS = {"\r": "Enter", "\x1b": "Escape", "\x04": "C-d", "\x0c": "C-l", "\x1b[B": "Down"}
"""What tmux calls the keys that are no letters."""


def found() -> bool:
    """Whether this machine has a tmux."""
    return shutil.which("tmux") is not None


class Pane:
    """A shell on a screen of *columns* by *rows*, in *folder*, where `membrain` is this checkout's program."""

    def __init__(self, environ: Mapping[str, str], folder: Path, *, columns: int = 120, rows: int = 40) -> None:
        programs = folder / "bin"
        programs.mkdir(parents=True, exist_ok=True)
        program = programs / "membrain"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m membrain_cli "$@"\n')
        program.chmod(0o755)
        self._environ = {
            **environ,
            "PATH": f"{programs}:{environ['PATH']}",
            "LANG": "C.UTF-8",
            "SHELL": "/bin/bash",
            "COLORTERM": "truecolor",
            "HISTFILE": "/dev/null",
            "PS1": "${?#0}$ ",
        }
        self._folder, self._size = folder, (columns, rows)
        self._sockets = tempfile.TemporaryDirectory(prefix="pane")  # a socket's path must be short

    def __enter__(self) -> Self:
        columns, rows = map(str, self._size)
        shell = ["bash", "--norc", "--noprofile", "-i"]
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", columns, "-y", rows, *shell)
        self._tmux("set-option", "-g", "status", "off")
        self._tmux("resize-window", "-x", columns, "-y", rows)
        self.wait(lambda screen: last_of(screen) == PROMPT)
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")
        self._sockets.cleanup()

    @property
    def text(self) -> str:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p").rstrip("\n")

    @property
    def painted(self) -> str:
        """The same with its colours, as SGR sequences."""
        return self._tmux("capture-pane", "-p", "-e").rstrip("\n")

    def type(self, text: str) -> None:
        """Type *text*, or press one of `KEYS`."""
        self._tmux("send-keys", *([KEYS[text]] if text in KEYS else ["-l", text]))

    def enter(self, line: str) -> None:
        """Type a line and press enter."""
        self.type(line)
        self.type("\r")

    def run(self, command: str, *wanted: str) -> str:
        """Run *command* on a clean screen until it succeeds and the shell waits again; the screen then."""
        self.clear()
        self.enter(command)
        return self.wait(lambda screen: last_of(screen) == PROMPT and all(each in screen for each in wanted), wanted)

    def clear(self) -> None:
        """Wipe the screen, with the shell waiting."""
        self.type("\x0c")
        self.wait(lambda screen: screen == PROMPT)

    def see(self, *wanted: str) -> str:
        """Wait until all of *wanted* is on the screen; the screen then."""
        return self.wait(lambda screen: all(each in screen for each in wanted), wanted)

    def wait(self, seen: Callable[[str], bool], wanted: object = "the prompt") -> str:
        """Wait until *seen* holds of the screen; the screen then. Raises AssertionError if it never does."""
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            if seen(screen := self.text):
                return screen
            time.sleep(0.02)
        raise AssertionError(f"{wanted!r} did not come:\n{screen}")

    def _tmux(self, *words: str) -> str:
        argv = ["tmux", "-u", "-S", f"{self._sockets.name}/s", *words]
        done = subprocess.run(argv, env=self._environ, cwd=self._folder, capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            raise AssertionError(f"tmux {words[0]}: {done.stderr}")
        return done.stdout


def last_of(screen: str) -> str:
    """The lowest line."""
    return screen.rpartition("\n")[2]
