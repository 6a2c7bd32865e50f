"""`python -m membrain`: the gateway's process. Loads the settings, listens, and drains when it is told to stop.

Exit status: 0 stopped as asked, 2 settings that cannot work, 3 the port is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator

import uvicorn

from membrain import __version__
from membrain.api.app import create_app
from membrain.api.guard import Guard
from membrain.config import Settings, load
from membrain.errors import MembrainError, Misconfigured
from membrain.gateway import Gateway
from membrain.places import Places, open_private, write_private
from membrain.secrets import HideSecrets

log = logging.getLogger("membrain")

EXIT_MISCONFIGURED = 2
EXIT_PORT_TAKEN = 3

_LOOPBACK = {
    "127.0.0.1": ("127.0.0.1", "::1"),
    "::1": ("127.0.0.1", "::1"),
    "localhost": ("127.0.0.1", "::1"),
}
_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104  # only asked for by the user, and then every caller needs a key
_BACKLOG = 2048

_GARBAGE = 20_000
"""New objects between two looks for circles: an exchange makes hundreds, and hardly ever a circle."""
_LAST_SECONDS = 2


class PortTaken(Exception):  # a fact about the port
    """Somebody else listens there."""


def main() -> int:
    """Run until told to stop."""
    os.umask(0o077)
    try:
        settings = load(os.environ)
        places = Places.find(os.environ).create()
        _log_to_stderr(settings)
        claim(places)
        return _run(settings, places)
    except MembrainError as error:
        print(error.sentence, file=sys.stderr)  # noqa: T201  # whoever started us reads it
        return EXIT_MISCONFIGURED
    except PortTaken:
        print(f"Port {settings.port} is taken by another program.", file=sys.stderr)  # noqa: T201  # likewise
        return EXIT_PORT_TAKEN


def claim(places: Places) -> int:
    """Hold *places* for as long as this process lives, and give the descriptor that does.

    Two gateways with one home would take each other's running exchanges for what a kill left behind. `Misconfigured`
    if another one holds it.
    """
    descriptor = open_private(places.instance_lock, os.O_RDWR | os.O_CREAT)
    try:
        import fcntl
    except ImportError:  # Windows: there the command line's own lock is all there is
        return descriptor
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Misconfigured("Another gateway runs with this home.", hint="See it: membrain status") from None
    return descriptor


def _run(settings: Settings, places: Places) -> int:
    sockets = listen(settings.host, settings.port)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(settings, places, sockets))
    finally:
        for each in sockets:
            each.close()
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets on *host*:*port*. A loopback address means both families, so that nobody can squat on the other one."""
    sockets: list[socket.socket] = []
    try:
        for address in _LOOPBACK.get(host, (host,)):
            with _absent_family_is_fine(address, host):
                sockets.append(_listener(address, port))
    except OSError as error:
        for each in sockets:
            each.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken from None
        raise Misconfigured(f"The gateway cannot listen on {host}:{port}: {error.strerror}.") from None
    return sockets


@contextlib.contextmanager
def _absent_family_is_fine(address: str, host: str) -> Iterator[None]:
    """A machine may have no IPv6; the address that was asked for must be there."""
    try:
        yield
    except OSError as error:
        missing = error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
        if not missing or address == host:
            raise


def _listener(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # The protocol is named because asyncio only then switches Nagle's delay off on what it accepts.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: we drain first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(settings: Settings, places: Places, sockets: list[socket.socket]) -> None:
    gateway = Gateway(settings, places, reread)
    for each in sockets:
        gateway.egress.never(*each.getsockname()[:2])
    await gateway.open()
    gc.freeze()  # what was made until now stays; no collection need look at it again
    gc.set_threshold(_GARBAGE, 20, 50)
    config = uvicorn.Config(
        create_app(gateway, guard_for(settings)),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        h11_max_incomplete_event_size=64 << 10,
        timeout_graceful_shutdown=_LAST_SECONDS,  # for what is neither drained nor live, as a body that does not come
    )
    server = _Server(config)
    stopping = asyncio.ensure_future(_stop_when_told(gateway, server))
    state = _write_state(settings, places, gateway)
    log.info("up on http://%s:%s, pid %s", settings.host, settings.port, os.getpid())
    try:
        await server.serve(sockets=sockets)
    finally:
        stopping.cancel()
        await gateway.close()
        _forget_state(places, state)
        log.info("down")


def _bracketed(host: str) -> str:
    """*host* as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def guard_for(settings: Settings) -> Guard:
    """The guard for the names that this gateway is called by."""
    hosts = {"127.0.0.1", "localhost", "[::1]", _bracketed(settings.host)}
    everywhere = settings.host in _EVERYWHERE
    return Guard(hosts, settings.port, body_bytes=settings.limits.body_mb << 20, numbers=everywhere)


async def _stop_when_told(gateway: Gateway, server: uvicorn.Server) -> None:
    """Drain on the first signal, stop at once on the second."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        if told.is_set():
            server.force_exit = True
            server.should_exit = True
        told.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows has no such handlers
            loop.add_signal_handler(each, tell)
    await told.wait()
    log.info("draining %s", len(gateway.running))
    await gateway.drain()
    gateway.live.close()  # whoever watches would keep the server waiting
    server.should_exit = True


def _write_state(settings: Settings, places: Places, gateway: Gateway) -> bytes:
    """Tell our own commands where we are; believed only as long as `/health` proves it."""
    state = {
        "pid": os.getpid(),
        "host": settings.host,
        "port": settings.port,
        "url": f"http://{_bracketed(settings.host)}:{settings.port}",
        "started": gateway.since,
        "instance": gateway.instance,
        "secret": gateway.proof_key.hex(),
        "version": __version__,
    }
    content = json.dumps(state).encode()
    write_private(places.state_file, content)
    return content


def _forget_state(places: Places, state: bytes) -> None:
    """Remove the state file if it is still ours."""
    with contextlib.suppress(OSError):
        if places.state_file.read_bytes() == state:
            places.state_file.unlink()


class _OurBusiness(logging.Filter):
    """uvicorn complains when an answer is cut on purpose; that is our business and already told."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "ASGI callable returned without completing response" not in str(record.msg)


def reread() -> Settings:
    """The settings as they are now; keys that come with them are kept out of the log, too."""
    settings = load(os.environ)
    if settings.keys is not None:
        for handler in logging.getLogger().handlers:
            handler.filters = [each for each in handler.filters if not isinstance(each, HideSecrets)]
            handler.addFilter(HideSecrets(settings.keys))
    return settings


def _log_to_stderr(settings: Settings) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    if settings.keys is not None:
        handler.addFilter(HideSecrets(settings.keys))
    handler.addFilter(_OurBusiness())
    logging.basicConfig(level=settings.log.level.upper(), handlers=[handler])
    logging.getLogger("uvicorn").setLevel(
        max(logging.WARNING, logging.getLogger().level)
    )  # we say up and down ourselves


if __name__ == "__main__":
    sys.exit(main())
