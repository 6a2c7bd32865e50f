"""The embedded model as the gateway sees it: an address that answers, and a child process behind it.

The child is started by the first question and started again when it died; it is one at any time, however many ask.
This room knows neither prompts nor HTTP: whoever asks for the address speaks OpenAI's chat completions to it.
How a process is made is handed in, because the house makes all of them in one place.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import os
import secrets
import signal
import sys
import time
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from membrain.errors import LocalModelNotInstalled, ProviderFailed, ShuttingDown
from membrain.local import weights
from membrain.local.child import Orders

NAME = "local/default"
RUNTIME = "xllamacpp"
INSTALL_RUNTIME = "pip install 'membrain[local]'"

START_SECONDS = 60.0
STOP_SECONDS = 2.0
STARTS, WINDOW_SECONDS = 3, 60.0
"""So many starts in so many seconds, then it rests: a child that keeps dying must not keep the machine busy."""

Spawn = Callable[[Sequence[str], dict[str, str]], Awaitable[Process]]
"""Starts a program with exactly that environment, stdin and stdout as pipes, in a session of its own."""

_KEPT = frozenset(
    {
        *("PATH", "HOME", "LANG", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT"),
        *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),  # where a C++ runtime may be
        *("PYTHONPATH", "PYTHONHOME"),  # the child must find the modules that we found
    }
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the model answers, and the key that opens it."""

    base_url: str
    api_key: str = field(repr=False)


class Engine:
    """One embedded model, started when it is needed. Belongs to one event loop."""

    def __init__(
        self,
        models_dir: Path,
        *,
        spawn: Spawn,
        threads: int = 1,
        context: int = 4096,
        slots: int = 2,
        idle_seconds: float = 300,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """*context* counts the tokens of question and answer, for each of *slots* answers at a time.

        After *idle_seconds* without a question the child gives its memory back. Of *environ* it gets an allow-listed
        part, so no key of a provider.
        """
        self._models_dir = models_dir
        self._spawn = spawn
        self._sizes = {"threads": threads, "context": context, "slots": slots}
        self._idle_seconds = max(1, math.ceil(idle_seconds))
        self._environ = environ
        self._child: Process | None = None
        self._address: Address | None = None
        self._starting: asyncio.Task[Address] | None = None
        self._starts: deque[float] = deque(maxlen=STARTS)
        self._closed = False

    @property
    def installed(self) -> bool:
        """Whether both the weights and the package that runs them are here. Cheap: neither is opened."""
        return not self._missing()

    async def address(self) -> Address:
        """Where the model answers now; starts it if it does not run.

        Raises `LocalModelNotInstalled`, `ProviderFailed` (code `local_model_failed`) if it does not start or keeps
        dying, and `ShuttingDown` after `close`. A caller that goes away does not stop the start for the others.
        """
        if self._closed:
            raise ShuttingDown("The embedded model was stopped.")
        if self._address and self._child and self._child.returncode is None:
            return self._address
        starting = self._starting
        if starting is None:
            starting = self._starting = asyncio.create_task(self._start())
            starting.add_done_callback(self._started)
        await asyncio.wait([starting])  # leaves it running if this caller is cancelled
        if starting.cancelled():
            raise ShuttingDown("The embedded model was stopped.")
        return starting.result()

    async def close(self) -> None:
        """End the child, if there is one, and start none again."""
        self._closed = True
        if self._starting:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._child:
            await _end(self._child)

    def _started(self, task: asyncio.Task[Address]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # whoever asked has it; if all of them left, nobody needs it

    async def _start(self) -> Address:
        if missing := self._missing():
            raise LocalModelNotInstalled("The embedded model is not installed.", hint=f"Run: {' && '.join(missing)}")
        model = await asyncio.to_thread(weights.verified, self._models_dir)
        self._count_start()
        key = secrets.token_urlsafe(32)
        orders = Orders(str(model), NAME, key, idle_seconds=self._idle_seconds, **self._sizes)
        child = await self._spawn([sys.executable, "-P", "-m", "membrain.local.child"], _environment(self._environ))
        try:
            port = await _brief(child, orders)
        except BaseException:
            await _end(child)
            raise
        self._child = child
        self._address = Address(f"http://127.0.0.1:{port}", key)
        return self._address

    def _missing(self) -> list[str]:
        """The commands that would bring what is not here."""
        commands = []
        if importlib.util.find_spec(RUNTIME) is None:
            commands.append(INSTALL_RUNTIME)
        if weights.installed(self._models_dir) is None:
            commands.append(weights.INSTALL)
        return commands

    def _count_start(self) -> None:
        now = time.monotonic()
        if len(self._starts) == STARTS and (rest := self._starts[0] + WINDOW_SECONDS - now) > 0:
            raise _failed(
                f"The embedded model keeps stopping; it is tried again in {math.ceil(rest)} seconds.",
                {"retry-after": str(math.ceil(rest))},
            )
        self._starts.append(now)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the child may know of ours. Its idle threads shall sleep and not spin."""
    kept = {name: value for name, value in environ.items() if name in _KEPT or name.startswith("LC_")}
    return {**kept, "OMP_WAIT_POLICY": "PASSIVE"}


async def _brief(child: Process, orders: Orders) -> int:
    """Give *child* its orders; the port on which it then answers."""
    assert child.stdin
    assert child.stdout
    try:
        async with asyncio.timeout(START_SECONDS):
            child.stdin.write(json.dumps(asdict(orders)).encode() + b"\n")
            with suppress(ConnectionError):  # it has ended already, which its silence tells
                await child.stdin.drain()
            told = await child.stdout.readline()
            if not told:
                raise _failed(f"The embedded model's program ended as it started ({await child.wait()}).")
        return int(json.loads(told)["port"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise _failed(f"The embedded model did not start ({type(fault).__name__}).") from fault


async def _end(child: Process) -> None:
    """End *child* and all that it started; by force if it takes too long."""
    _signal(child, signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await child.wait()
    except TimeoutError:
        _signal(child, signal.SIGKILL)
        await child.wait()


def _signal(child: Process, number: int) -> None:
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            child.kill()
        else:
            os.killpg(child.pid, number)  # it leads a session, and so a group, of its own


def _failed(message: str, headers: Mapping[str, str] | None = None) -> ProviderFailed:
    return ProviderFailed(message, provider="local", status=503, code="local_model_failed", headers=headers)
