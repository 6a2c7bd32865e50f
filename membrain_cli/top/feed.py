"""The dashboard's ear and voice: it listens to the running gateway in a thread of its own, and passes on what one asks.

What is known is read once when the gateway is found; from then on its events tell everything, and nothing is polled.
While it is down, the file that says where it is gets a look each second. Draws nothing, and keeps no figures.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from membrain.errors import MembrainError
from membrain_cli.commands.pii import hold_path
from membrain_cli.console import CommandError, Console
from membrain_cli.reach import Reach
from membrain_cli.top.state import Start, midnight

Event = tuple[str, Any]

RETRY = 1.0
"""Seconds between two looks for a gateway that is down."""
RECENT = 500
"""Exchanges of the past that are read at the start."""
READ_LIMIT = 30.0
"""Seconds that one of the questions at the start may take, on a busy machine with a long record."""


class Feed:
    """What happens, as it happens: a thread puts events in, and the screen takes them out when it draws.

    The events are those of `/api/live`, and of our own ("up", Start), ("starting", None), ("down", why), and
    ("fault", error) if the thread failed. What is told twice, around "up", can be told apart by its id.
    """

    def __init__(self, shell: Console) -> None:
        self._shell = shell
        self._events: deque[Event] = deque()
        self._over = threading.Event()
        self._wake = threading.Event()
        self._down: str | None = None
        """What was last said of why nothing comes; None while something does, and at first."""
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self, seconds: float = 0.0) -> None:
        """Listen no more. The thread notices with the next event, and is waited for so long."""
        self._over.set()
        self._wake.set()
        self._thread.join(seconds)

    def drain(self) -> Iterator[Event]:
        """All that came since the last time."""
        while self._events:
            yield self._events.popleft()

    def tell(self, name: str, data: Any) -> None:
        """An event of our own."""
        self._events.append((name, data))

    # what the person here wants

    def bring_up(self) -> None:
        """Start the gateway, and tell how that went. Takes seconds."""
        from membrain_cli.commands.up import check_settings, started

        self.tell("starting", None)
        try:
            check_settings(self._shell, None)
            started(self._shell, Reach(self._shell.environ).places, None)
            self._down = None  # if it still does not tell us, that is to be said again
        except (CommandError, MembrainError) as error:
            self.tell("down", error.message)
        finally:
            self._wake.set()

    def hold(self, id: str) -> Mapping[str, Any]:
        """A request that waits, with what stands around what was found. `CommandError` if it waits no longer."""
        return self._ask("GET", hold_path(id))

    def decide(self, id: str, decision: str, *, always: bool) -> Mapping[str, Any]:
        """Decide on a request that waits. `CommandError` if somebody else did."""
        return self._ask("POST", hold_path(id), {"decision": decision, "always": always})

    def _ask(self, method: str, path: str, data: dict[str, Any] | None = None) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = Reach(self._shell.environ).ask(method, path, data)
        except MembrainError as error:
            raise CommandError(error.message, [], 1) from None
        return answer

    # the thread

    def _run(self) -> None:
        try:
            self._listen()
        except Exception as error:  # noqa: BLE001  # raised again where somebody sees it
            self.tell("fault", error)

    def _listen(self) -> None:
        while not self._over.is_set():
            self._wake.clear()
            trouble = ""
            try:
                self._follow(Reach(self._shell.environ))
            except (CommandError, MembrainError) as error:
                trouble = error.message
            if trouble != self._down:  # once: meanwhile somebody may be starting it, or has failed to
                self._down = trouble
                self.tell("down", trouble)
            self._wake.wait(RETRY)

    def _follow(self, reach: Reach) -> None:
        """Pass on what a gateway tells, until it is gone. `CommandError` or `MembrainError` if it does not tell us."""
        if reach.running is None:
            return
        with contextlib.closing(reach.follow()) as live:  # type: ignore[type-var]  # a generator can be closed
            if (first := next(live, None)) is None:  # from here on nothing is missed: it waits for us to read
                return
            start = begun(reach, self._shell)
            self._down = None
            self.tell("up", start)
            self.tell(*first)
            while not self._over.is_set() and (event := next(live, None)) is not None:
                self.tell(*event)


def begun(reach: Reach, shell: Console) -> Start:
    """What is read once. `CommandError` if the gateway does not tell us."""
    health = reach.demand().health
    ask: Callable[[str], Any] = lambda path: reach.ask("GET", path, limit=READ_LIMIT)  # noqa: E731  # one shape for three
    since = midnight(shell.clock()).isoformat()
    usage = ask(f"/api/usage?{urlencode({'by': 'model', 'since': since})}")
    return Start(health, usage, ask(f"/api/audit?limit={RECENT}"), ask("/api/holds"))
