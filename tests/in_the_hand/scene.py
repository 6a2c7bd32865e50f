"""What plays before the terminal: a model that writes to Ada, somebody's environment, and others' questions."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from membrain.places import Places
from membrain_cli import daemon
from tests.served import _environment
from tests.sink import Recorded, Reply, Sink
from tests.sink_says import WORDS

ADDRESS = "ada@example.org"
QUESTION = f"Draft a short reply to {ADDRESS} about invoice 4411."
REPLY = """Hi Ada,

Thank you for your note about **invoice 4411**. The corrected copy:

- goes to {address} today,
- keeps the old number, so *nothing* changes in your books."""
PLACEHOLDER = re.compile(rb"EMAIL_[a-z0-9]+")


class Correspondent(Sink):
    """A model that writes back to the address it was given, as it was given; to others it has little to say."""

    def record(self, request: Recorded) -> None:
        """Keep the request, and make up what is said to it."""
        given = PLACEHOLDER.search(request.body)
        self.says = REPLY.format(address=given[0].decode()) if given else WORDS
        super().record(request)


def cast() -> Correspondent:
    """The model; at Anthropic's it is the slower one."""
    sink = Correspondent(ollama=["llama3.2:3b"])
    sink.script("/v1/messages", Reply(behave="slow-120"), forever=True)
    return sink


def surroundings(home: Path, sink: Sink, port: int) -> dict[str, str]:
    """The environment of somebody whose instance is in *home*, and whose providers are all *sink*."""
    return {
        **_environment(home, sink),
        "HOME": str(home.parent),
        "MEMBRAIN_PORT": str(port),
        "MEMBRAIN_SECRETS_BACKEND": "file",
        "MEMBRAIN_BUDGET_DAY": "5",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }


@dataclass(frozen=True)
class Ask:
    """A question that somebody else's program asks."""

    model: str
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def put(self, port: int) -> int:
        """Ask it of the gateway on *port*; the answer's status."""
        body = {"model": self.model, "messages": [{"role": "user", "content": self.text}], **self.more}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            headers = {"content-type": "application/json", **self.headers}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()


LOAD = (
    Ask("gpt-4o-mini", "Name three rivers."),
    Ask("claude-haiku-4-5", "Write to bob@example.net and carol@example.com."),
    Ask("gpt-4o", "Call +44 20 7946 0018 and say we are late."),
    Ask("ollama/llama3.2:3b", "What is the capital of France?"),
    Ask("gpt-4o-mini", "Name three rivers."),
    Ask("gpt-4o", "Stay at home.", {"x-membrain-private": "true"}),
    Ask("claude-sonnet-4", "Is 4111 1111 1111 1111 a card?"),
    Ask("gpt-4o-mini", "Name three lakes."),
)
"""In turn: plain, with addresses, with a number, at home, asked again, refused, with a card, plain."""
PRIVATE = ("bob@example.net", "carol@example.com", "+44 20 7946 0018", "4111 1111 1111 1111")
"""What of it must not leave."""


@contextmanager
def ended(home: Path) -> Iterator[None]:
    """Afterwards no gateway of *home* runs any more, whatever happened."""
    try:
        yield
    finally:
        left = daemon.find(Places.find({"MEMBRAIN_HOME": str(home)}))
        if left is not None:
            os.kill(left.pid, signal.SIGKILL)
            daemon.wait_gone(left, 5)
