"""A gateway's process that knows nothing but how to come up, prove itself and go; or how to fail at it.

For tests of `daemon` that the real gateway cannot serve, because it behaves. Run in its place as `python -m membrain`
(see `put_in_place`); what it does is said by `STANDIN`:

    well            comes up, answers `/health`, ends on SIGTERM
    dies            says two lines and ends with status 1
    misconfigured   says a sentence and ends with status 2
    taken           ends with status 3
    silent          never comes up
    stubborn        comes up and takes no SIGTERM
    slow            as well, but 0.6 s later, and 1 s to end
"""

from __future__ import annotations

import hmac
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

SECRET = os.urandom(32)


class Answers(BaseHTTPRequestHandler):
    """Answers `/health` with a proof, and nothing else."""

    def do_GET(self) -> None:
        """One question."""
        challenge = parse_qs(urlsplit(self.path).query).get("challenge", [""])[0]
        proof = hmac.digest(SECRET, challenge.encode(), "sha256").hex()
        body = json.dumps({
            "status": "ok", "instance": "standin", "version": "0.1.0", "pid": os.getpid(), "auth": "local",
            "tier": "balanced", "running": 0, "up_seconds": 8040.0, "providers": [], "proof": proof,
        }).encode()  # fmt: skip
        self.send_response(200 if self.path.startswith("/health") else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> int:
    """Do what `STANDIN` says."""
    kind = os.environ.get("STANDIN", "well")
    if kind in FAILURES:
        status, said = FAILURES[kind]
        sys.stderr.write(said)
        return status
    time.sleep(60 if kind == "silent" else 0.6 if kind == "slow" else 0)
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["MEMBRAIN_PORT"])), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state = write_state(server.server_address[1])
    if kind == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.sigwait({signal.SIGTERM} if kind != "stubborn" else {signal.SIGUSR1})
    time.sleep(1 if kind == "slow" else 0)
    state.unlink()
    return 0


FAILURES = {
    "dies": (1, "store: postgres://team-db: connection refused\nand that was all\n"),
    "misconfigured": (2, 'config.toml line 7: limits.depth is "five"; it must be a whole number\n'),
    "taken": (3, "Port is taken by another program.\n"),
}


def write_state(port: int) -> Path:
    """The claim that the real gateway makes."""
    state = Path(os.environ["MEMBRAIN_HOME"]) / "state" / "gateway.json"
    claim = {
        "pid": os.getpid(), "port": port, "host": "127.0.0.1", "url": f"http://127.0.0.1:{port}",
        "started": "2026-11-21T09:48:00+00:00", "instance": "standin", "secret": SECRET.hex(), "version": "0.1.0",
    }  # fmt: skip
    draft = state.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(claim, file)
    draft.replace(state)
    return state


def put_in_place(folder: Path, environ: dict[str, str], kind: str = "well") -> dict[str, str]:
    """*environ*, such that `python -m membrain` is this stand-in; its package is made in *folder*."""
    package = folder / "standin" / "membrain"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(f"import runpy\nrunpy.run_path({__file__!r}, run_name='__main__')\n")
    return {**environ, "PYTHONPATH": str(package.parent), "STANDIN": kind}


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    sys.exit(main())
