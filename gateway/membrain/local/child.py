"""The program of the child process that runs the embedded model: `python -m membrain.local.child`.

It reads one JSON line on stdin, the `Orders`; starts llama.cpp's server on a free loopback port that only the key in
those orders opens; writes one JSON line `{"port": N}` on stdout once it answers; and lives for as long as its stdin
is open. The parent holds the other end, so however the parent ends, by `kill -9` too, the child ends with it.

What it has to say while it starts goes to stderr. From then on prompts can arrive, so it says nothing at all.
Nothing of ours is imported here, and the model's package only when the program runs.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

HEALTH_SECONDS = 30.0
BATCH = 64
"""Tokens read between two looks at who has hung up and who else waits; smaller is fairer, and no slower on a CPU."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What the parent asks for, as one JSON line. On stdin, because arguments and environment can be read by others."""

    model: str
    """Path of the weights."""
    name: str
    """As answers shall call the model."""
    api_key: str = field(repr=False)
    context: int
    """Tokens for question and answer together, in each slot."""
    slots: int
    """Answers written at the same time."""
    threads: int
    idle_seconds: int
    """After which the model leaves memory until the next question."""


def main() -> None:
    """Start as ordered, say where, and stay until stdin ends."""
    orders = Orders(**json.loads(sys.stdin.buffer.readline()))
    answer = _claim_stdout()
    server = _serve(orders)
    _hush()
    try:
        os.write(answer, json.dumps({"port": _port_of(server)}).encode() + b"\n")
        os.close(answer)
        sys.stdin.buffer.read()
    finally:
        # At once and without farewells: whoever gave the orders is gone.
        os._exit(0)


def _claim_stdout() -> int:
    """Keep stdout for the one answer; what a library prints goes to stderr instead."""
    answer = os.dup(1)
    os.dup2(2, 1)
    return answer


def _hush() -> None:
    """No word from now on: llama.cpp repeats what it cannot parse, and that is a caller's text."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)


def _serve(orders: Orders) -> Any:
    """A server that answers. It runs in threads of its own for as long as it is held."""
    import xllamacpp

    server = xllamacpp.Server(parameters(orders))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ends us at once, whatever a library put there
    _wait_healthy(_port_of(server))
    return server


def _port_of(server: Any) -> int:
    port: int = urlsplit(server.listening_address).port
    return port


def parameters(orders: Orders) -> Any:
    """The orders in llama.cpp's words."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = orders.model
    params.model_alias = [orders.name]
    params.n_ctx = orders.context * orders.slots
    params.n_parallel = orders.slots
    params.sleep_idle_seconds = orders.idle_seconds
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = orders.threads
    params.n_batch = params.n_ubatch = BATCH
    params.n_gpu_layers = 0
    params.cache_ram_mib = 0
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [orders.api_key]
    params.ui = params.endpoint_slots = False
    params.offline = True
    params.verbosity = -1
    # Greedy answers are right most often at this size; DRY stops them from going round in circles.
    params.sampling.temp = 0.0
    params.sampling.top_p = 0.9
    params.sampling.dry_multiplier = 0.8
    params.sampling.dry_allowed_length = 4
    return params


def _wait_healthy(port: int) -> None:
    limit = time.monotonic() + HEALTH_SECONDS
    while time.monotonic() < limit:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HEALTH_SECONDS)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.02)
    raise TimeoutError("the model's server does not answer")


if __name__ == "__main__":
    main()
