"""What the suite has to know of a dialect: where it is spoken, how it is asked, how it ends, how it says an error.

The answers themselves are in `openai_scripts` and `anthropic_scripts`. Pure: no socket, no waiting.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from membrain_cli.conform.compare import Event

Json = dict[str, Any]
Vendor = Literal["openai", "anthropic"]
Sent = tuple[str | None, Any]
"""An event that the fake provider sends: its name, and what its data is made of (a text goes out as it is)."""

STAMP = 1_700_000_000
"""When every scripted answer was made, in Unix seconds."""
DONE = "[DONE]"


ENDS = {
    "chat": (DONE,),
    "completions": (DONE,),
    "messages": ("message_stop",),
    "responses": ("response.completed", "response.incomplete"),
}
"""What the last event of a whole stream is, or has as its type."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way of speaking to a model. The functions take the request as the provider received it."""

    name: str
    path: str
    vendor: Vendor
    ask: Callable[[str, str], Json]
    """A model's name and a text as the least request."""
    whole: Callable[[Json, str], Json]
    """The answer that says a text."""
    stream: Callable[[Json, Sequence[str]], list[Sent]] | None = None
    """The events that say a text in pieces."""
    words: Callable[[Sequence[Event]], str] = lambda _: ""
    """What a stream says to the reader."""
    tools: Callable[[Json, Sequence[Sequence[str]]], list[Sent]] | None = None
    """The events that call a tool for each list of fragments; parallel ones take turns where the dialect lets them."""
    arguments: Callable[[Sequence[Event]], dict[str, str]] | None = None
    """Index (and name) of each tool call in a stream, and its arguments."""
    thinking: Callable[[Json], list[Sent]] | None = None
    """The events of an answer that was thought about, with what the provider signed."""
    thought: Callable[[Json], Json] | None = None
    """The same as a whole answer."""
    surprise: Sent | None = None
    """An event that no version of the dialect has yet."""

    def is_end(self, event: Event) -> bool:
        """Whether *event* says that the answer is whole."""
        data = event[1]
        return data in ENDS[self.name] or (isinstance(data, dict) and data.get("type") in ENDS[self.name])

    def is_error(self, event: Event) -> bool:
        """Whether *event* says that something went wrong."""
        data = event[1]
        if not isinstance(data, dict):
            return False
        return data.get("type") in {"error", "response.failed"} or bool(data.get("error"))

    def body(self, model: str, text: str, more: Mapping[str, Any] = {}) -> bytes:
        """A request in bytes, as SDKs write them."""
        return written({**self.ask(model, text), **more})


def written(data: Any) -> bytes:
    """JSON as providers and SDKs write it: short, and not escaped where it need not be."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def block(event: Sent) -> bytes:
    """One event in bytes, as the providers write them."""
    name, data = event
    text = data.encode() if isinstance(data, str) else written(data)
    return (b"event: %b\n" % name.encode() if name else b"") + b"data: " + text + b"\n\n"


def blocks(events: Iterable[Sent]) -> list[bytes]:
    """Each event in bytes."""
    return [block(event) for event in events]


def error_body(vendor: Vendor, type: str, message: str, **more: str | None) -> Json:
    """An error as *vendor* words it; *more* are OpenAI's `param` and `code`."""
    if vendor == "anthropic":
        return {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_conform"}
    return {"error": {"message": message, "type": type, "param": None, "code": None, **more}}


def misshapen(vendor: Vendor, data: Any) -> str:
    """What keeps *data* from being an error as *vendor* words it; "" if nothing does."""
    error = data.get("error") if isinstance(data, dict) else None
    if not isinstance(error, dict):
        return "no `error` object"
    wanted = ("type", "message") if vendor == "anthropic" else ("message", "type", "param", "code")
    if vendor == "anthropic" and data.get("type") != "error":
        return 'no `"type":"error"`'
    absent = [name for name in wanted if name not in error]
    if absent:
        return f"no `error.{absent[0]}`"
    return "" if isinstance(error["message"], str) else "`error.message` is no text"
