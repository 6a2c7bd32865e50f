"""Anthropic's messages: the dialect of `/v1/messages`, and of `/v1/messages/count_tokens`.

For: reading its requests, passing on its answers as they came, and writing its errors. Usage is counted as the rest of
the house does: what came from the provider's cache, or went into it, is part of the prompt.

Not for: other dialects' words; those are in `chat_to_messages` and its like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

import msgspec

from membrain import sse
from membrain.dialects.base import (
    Chunk,
    Failed,
    Json,
    Said,
    answer_object,
    count_of,
    event_object,
    flag_field,
    list_field,
    model_field,
    model_of,
    parse_object,
    refuse_steering,
)
from membrain.dialects.splice import with_members
from membrain.errors import MembrainError
from membrain.records import Tokens

_END = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

ERROR_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Anthropic's error types by status. What we refuse for another reason is an `invalid_request_error`, what fails is an
`api_error`."""

_KNOWN_TYPES: Final = frozenset(ERROR_TYPES.values()) | {"api_error"}

_TELLING = (b"message_st", b'"usage"', b'"error"', b"event: error")
"""What stands in every event that tells more than a piece of a text."""

_CLOSING: Final = frozenset({"error", "message_stop"})
"""Events after which there is nothing more to pass on."""

_ENDING: Final = frozenset({"message_delta", "message_stop"})
"""Events that say why the answer ends."""


class Messages:
    """Reads and writes what is said in messages."""

    name: ClassVar[str] = "messages"
    lengths: ClassVar[tuple[str, ...]] = ("max_tokens",)

    def read(self, body: bytes, *, depth: int) -> Said:
        """Parse a messages request; what we do not know is not looked at and passes as it is."""
        data = parse_object(body, depth=depth)
        refuse_steering(data)
        model = model_field(data)
        list_field(data, "messages")
        return Said(self.name, body, data, model, flag_field(data, "stream"))

    def error(self, error: MembrainError) -> bytes:
        """Anthropic's error object, and the sentence again as `detail`."""
        return msgspec.json.encode({**_error_object(error), "detail": error.sentence})

    def error_event(self, error: MembrainError) -> bytes:
        """An `error` event; the door cuts the connection after it."""
        return sse.encode(msgspec.json.encode(_error_object(error)), "error")

    def end(self) -> bytes:
        """Nothing: `message_stop` is an event like any other, and whoever writes the others writes it."""
        return b""

    def request_body(self, said: Said, model: str, more: Mapping[str, Any] = {}) -> bytes:
        """The caller's own bytes, for an upstream that knows the model as *model*."""
        changes = {**more, **({} if model == said.model else {"model": model})}
        return with_members(said.body, said.data, changes) if changes else said.body

    def whole(self, raw: bytes, failed: Failed) -> Chunk:
        """A message, as it came."""
        data = answer_object(raw, failed)
        if data.get("type") == "error" or (data.get("error") and "content" not in data):
            raise failed(data)
        return Chunk(raw, whole=True, tokens=tokens_of(data.get("usage")), model=model_of(data))

    def reader(self, said: Said, failed: Failed) -> MessagesReader:  # noqa: ARG002  # all dialects have one shape
        """What reads the stream of an answer."""
        return MessagesReader(failed)

    def shows(self, said: Said, event: Json) -> bool:  # noqa: ARG002  # likewise
        """Everything is for everybody."""
        return True

    def length_of(self, raw: bytes) -> tuple[int, int]:
        """How many events of *raw* say something, and how many characters they say."""
        sizes = [size for event in sse.parse(raw) if (size := _said_in(event.data))]
        return len(sizes), sum(sizes)

    def finishes(self, raw: bytes) -> bool:
        """Whether the reason for the answer's end is among the events *raw*."""
        return any(_told_in(block)[0] in _ENDING for block in sse.blocks(raw))

    def cut_short(self, raw: bytes, said: Said, reason: str) -> Chunk:  # noqa: ARG002  # likewise
        """The open block ends, and with it the message, as if it had reached its length."""
        place = _open_block(raw)
        ends: list[tuple[str, Json]] = [] if place is None else [("content_block_stop", {"index": place})]
        delta = {"stop_reason": "max_tokens", "stop_sequence": None}
        ends.append(("message_delta", {"delta": delta, "usage": {"output_tokens": 0}, "membrain": {"reason": reason}}))
        told = b"".join(sse.encode(msgspec.json.encode({"type": name, **data}), name) for name, data in ends)
        return Chunk(raw + told + _END, last=True)


class CountTokens(Messages):
    """Reads a question for the length of a prompt, which nobody answers in a stream."""

    name: ClassVar[str] = "count_tokens"
    lengths: ClassVar[tuple[str, ...]] = ()

    def read(self, body: bytes, *, depth: int) -> Said:
        """As a messages request; it costs nothing and is answered at once."""
        said = super().read(body, depth=depth)
        return Said(self.name, body, said.data, said.model, stream=False)

    def whole(self, raw: bytes, failed: Failed) -> Chunk:
        """The count, as it came. Counting is free."""
        data = answer_object(raw, failed)
        if count_of(data, "input_tokens") is None:
            raise failed(data)
        return Chunk(raw, whole=True, tokens=Tokens(0, 0))


class MessagesReader:
    """Reads an upstream's message stream: nothing in it changes, and its usage is noted."""

    __slots__ = ("_failed", "_usage", "begun", "ended", "over")

    def __init__(self, failed: Failed) -> None:
        self._failed = failed
        self._usage: Json = {}
        self.begun = self.over = self.ended = False

    def speaks(self, raw: bytes) -> bool:
        """Whether there is more than comments and pings in *raw*."""
        return raw.count(b"data:") > raw.count(b'"ping"')

    def feed(self, raw: bytes) -> Iterator[Chunk]:
        """The events as they came, `message_stop` apart."""
        if not any(mark in raw for mark in _TELLING):
            self.begun = self.begun or self.speaks(raw)
            if self.begun:  # a ping is no answer: before the first event there is still a second try
                yield Chunk(raw)
            return
        passed: list[bytes] = []
        told: Json = {}
        kind, tokens, model = None, None, None
        for block in sse.blocks(raw):
            kind, told = _told_in(block)
            if kind in _CLOSING:
                break
            passed.append(block)
            tokens = self._noted(kind, told) or tokens
            model = model or _model_in(told)
        self.begun = self.begun or self.speaks(b"".join(passed))
        if passed and self.begun:
            yield Chunk(b"".join(passed), tokens=tokens, model=model)
        if kind == "error":
            raise self._failed(told)
        if kind == "message_stop":
            self.ended = self.over = True
            yield Chunk(sse.closed(block), last=True)

    def _noted(self, kind: str | None, told: Json) -> Tokens | None:
        """Counts are running totals, so each replaces what was known; those that are not told stay."""
        message = told.get("message")
        usage = message.get("usage") if isinstance(message, dict) else told.get("usage")
        if kind not in {"message_start", "message_delta"} or not isinstance(usage, dict):
            return None
        self._usage.update({name: value for name, value in usage.items() if value is not None})
        return tokens_of(self._usage)


def _told_in(block: bytes) -> tuple[str | None, Json]:
    """The kind of the one event in *block*, which its name tells where its data does not, and that data."""
    for event in sse.parse(block):
        told = event_object(event.data)
        kind = told.get("type", event.name)
        return (kind if isinstance(kind, str) else None), told
    return None, {}


def tokens_of(usage: Any) -> Tokens | None:
    """Anthropic's usage object as `Tokens`; None if there is none that makes sense."""
    completion = count_of(usage, "output_tokens")
    if completion is None:
        return None
    read, written = (count_of(usage, f"cache_{kind}_input_tokens") or 0 for kind in ("read", "creation"))
    return Tokens(
        (count_of(usage, "input_tokens") or 0) + read + written,
        completion,
        cached=read,
        reasoning=count_of(usage.get("output_tokens_details"), "thinking_tokens") or 0,
        written=written,
    )


def _model_in(told: Json) -> str | None:
    message = told.get("message")
    return model_of(message) if isinstance(message, dict) else None


def _error_object(error: MembrainError) -> Json:
    """Anthropic's own two members, and our code, by which a program can tell one refusal from another."""
    known = error.type if error.type in _KNOWN_TYPES else None
    kind = ERROR_TYPES.get(error.status) or known or ("api_error" if error.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": error.sentence, "code": error.code}}


class _Delta(msgspec.Struct):
    text: str = ""
    thinking: str = ""
    partial_json: str = ""


class _Event(msgspec.Struct):
    """What is written in one event; everything else in it is passed over."""

    delta: _Delta = msgspec.field(default_factory=_Delta)


_event = msgspec.json.Decoder(_Event).decode


def _said_in(data: bytes) -> int:
    """How many characters of an answer the event *data* holds; one if it is of a shape that we do not know."""
    try:
        delta = _event(data).delta
    except (ValueError, RecursionError):
        return 1
    return len(delta.text) + len(delta.thinking) + len(delta.partial_json)


def _open_block(raw: bytes) -> int | None:
    """The block that is still open after the events *raw*, as far as they tell."""
    place: int | None = None
    for event in sse.parse(raw):
        told = event_object(event.data)
        if told.get("type") in {"content_block_start", "content_block_delta"} and type(told.get("index")) is int:
            place = told["index"]
        elif told.get("type") == "content_block_stop":
            place = None
    return place
