"""A tool in the foreground: it has the terminal, the streams and every signal; we wait, and end as it ends.

Keys (ctrl-c, ctrl-\\, ctrl-z) reach the tool by themselves, as it shares our terminal, and it decides what they mean.
What is sent to us alone is passed on. When the tool is stopped we stop as well, so that the shell takes over, and
both go on together. Knows nothing of gateways and keys.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, TracebackType
from typing import Any, Self

from membrain_cli.console import CommandError

CANNOT_RUN = 126
SIGNALED = 128
"""What a shell adds to the number of the signal that ended a command."""


def named(*names: str) -> frozenset[int]:
    """The numbers of those signals that this system has."""
    return frozenset(int(getattr(signal, name)) for name in names if hasattr(signal, name))


FROM_KEYS = named("SIGINT", "SIGQUIT", "SIGTSTP")
"""Signals that a terminal sends to all that run in its foreground."""
PASSED_ON = FROM_KEYS | named("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


class Attendant:
    """From `with` on, signals are the tool's and end nobody else: what one has begun can be put in order again.

    with Attendant() as attendant:
        …
        status = attendant.run("/usr/bin/aider", ["aider"], environ)
        …
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def __enter__(self) -> Self:
        for number in PASSED_ON:
            if signal.getsignal(number) is not signal.SIG_IGN:  # under `nohup` the tool is to ignore it too
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, path: str, argv: Sequence[str], environ: Mapping[str, str]) -> int:
        """Run the program at *path*; its exit status, 128 + n if signal n ended it, or came before it began.

        `CommandError` with status 126 if it cannot be run.
        """
        if self._early:
            return SIGNALED + self._early[0]
        try:
            # Files that the shell opened for the tool, as for <(…), stay open for it.
            child = subprocess.Popen(argv, executable=path, env=dict(environ), close_fds=False)
        except OSError as error:
            raise CommandError(f"{argv[0]} cannot be run: {error.strerror}.", [], CANNOT_RUN) from None
        self._child = child
        for number in self._early:
            tell(child, number)
        status = waited(child)
        return SIGNALED - status if status < 0 else status

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self._child is None:
            self._early.append(number)
        elif not (number in FROM_KEYS and has_the_keys()):
            tell(self._child, number)


def tell(child: subprocess.Popen[bytes], number: int) -> None:
    """Send *child* a signal. One that runs as another user, as `sudo` does, hears only the terminal."""
    with contextlib.suppress(PermissionError):
        child.send_signal(number)


def has_the_keys() -> bool:
    """Whether the keys of our terminal reach us, and the tool beside us. A shell that we run takes them for itself."""
    return in_terminal(lambda terminal: os.tcgetpgrp(terminal) == os.getpgrp())


def in_terminal(look: Callable[[int], bool] = lambda _: True) -> bool:
    """What *look* finds at our terminal, whose number it gets; False without a terminal."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return look(terminal)
    finally:
        os.close(terminal)


def waited(child: subprocess.Popen[bytes]) -> int:
    """Wait until *child* has ended, stopping whenever it is stopped; its return code as `Popen` tells it."""
    while True:
        try:
            _, status = os.waitpid(child.pid, os.WUNTRACED)
        except ChildProcessError:  # whoever sent it a signal has seen it end
            return child.wait()
        if not os.WIFSTOPPED(status):
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode
        if in_terminal():
            stop(os.WSTOPSIG(status))
            tell(child, signal.SIGCONT)


def stop(number: int) -> None:
    """Stop by signal *number*, as the shell that waits for us expects; comes back when we are to go on."""
    handler = signal.SIG_DFL if number == signal.SIGSTOP else signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    if number != signal.SIGSTOP:
        signal.signal(number, handler)
