"""A gateway that proves itself, and answers what a test lays down.

    with Says(environ) as gateway:
        gateway.answers["/api/models"] = [...]
        invoke(["models"], environ)
        gateway.heard                       [("GET", "/api/models", None)]

For commands that only tell what the gateway says. What it says is then whatever the real one might, also what is rare.
"""

from __future__ import annotations

import hmac
import json
import os
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

from membrain.errors import MembrainError, NotFound
from membrain.places import Places, write_private


class Says:
    """The gateway of *environ*, while the context lasts."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.answers: dict[str, Any] = {}
        """By path; an error is told as the gateway tells it."""
        self.heard: list[tuple[str, str, Any]] = []
        self._secret = os.urandom(32)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _door(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._places = Places.find(environ).create()

    def __enter__(self) -> Self:
        port, secret = self._server.server_address[1], self._secret.hex()
        claim = {
            "pid": os.getpid(), "port": port, "host": "127.0.0.1", "url": f"http://127.0.0.1:{port}",
            "version": "0.1.0", "started": "2026-11-21T09:48:00+00:00", "instance": "says", "secret": secret,
        }  # fmt: skip
        write_private(self._places.state_file, json.dumps(claim).encode())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._places.state_file.unlink()  # or whoever cleans up would end this very process
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, query: str, data: Any) -> tuple[int, Any]:
        """Status and JSON of one answer."""
        if path == "/health":
            proof = hmac.digest(self._secret, parse_qs(query)["challenge"][0].encode(), "sha256").hex()
            return 200, {"status": "ok", "instance": "says", "providers": [], "proof": proof}
        self.heard.append((method, path, data))
        found = self.answers.get(path, NotFound("There is no such route."))
        if isinstance(found, MembrainError):
            return found.status, {"error": {"message": found.sentence, "code": found.code}}
        return 200, found


def _door(says: Says) -> type[BaseHTTPRequestHandler]:
    """The wire before *says*."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            path, _, query = self.path.partition("?")
            given = json.loads(self.rfile.read(length)) if length else None
            status, data = says.answer(self.command, path, query, given)
            body = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Door
