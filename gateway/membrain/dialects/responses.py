"""OpenAI's responses: the dialect of `/v1/responses`.

For: reading its requests, passing on its answers as they came, and writing its errors.

Not for: responses that a provider keeps for later, which are asked for by their id; nor for other dialects' words.
"""

from __future__ import annotations

import re
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
from membrain.dialects.chat import error_object
from membrain.dialects.splice import with_members
from membrain.errors import BadRequest, MembrainError
from membrain.records import Tokens

_LAST: Final = frozenset({"response.completed", "response.failed", "response.incomplete"})
_CLOSING: Final = _LAST | {"error"}
_TELLING = re.compile(rb'response\.(?:completed|failed|incomplete|created)|"error"|event: ?error')
"""What stands in every event that tells more than a piece of the answer."""


class Responses:
    """Reads and writes what is said in responses."""

    name: ClassVar[str] = "responses"
    lengths: ClassVar[tuple[str, ...]] = ("max_output_tokens",)

    def read(self, body: bytes, *, depth: int) -> Said:
        """Parse a responses request; what we do not know is not looked at and passes as it is."""
        data = parse_object(body, depth=depth)
        refuse_steering(data)
        model = model_field(data)
        if isinstance(data.get("input"), list):
            list_field(data, "input")
        elif data.get("input") is not None and not isinstance(data["input"], str):
            raise BadRequest("`input` must be a string or a list of items.", param="input")
        if data.get("background"):
            raise BadRequest(
                "`background` is not passed on: what nobody waits for could not be put back, counted or priced.",
                param="background",
            )
        return Said(self.name, body, data, model, flag_field(data, "stream"))

    def error(self, error: MembrainError) -> bytes:
        """OpenAI's error object, and the sentence again as `detail`."""
        return msgspec.json.encode({"error": error_object(error), "detail": error.sentence})

    def error_event(self, error: MembrainError) -> bytes:
        """An `error` event; the door cuts the connection after it."""
        told = {"type": "error", "code": error.code, "message": error.sentence, "param": error.param}
        return sse.encode(msgspec.json.encode({**told, "sequence_number": 0}), "error")

    def end(self) -> bytes:
        """Nothing: the terminal event says the whole answer again, so only who has it can write it."""
        return b""

    def request_body(self, said: Said, model: str, more: Mapping[str, Any] = {}) -> bytes:
        """The caller's own bytes, for an upstream that knows the model as *model*."""
        changes = {**more, **({} if model == said.model else {"model": model})}
        return with_members(said.body, said.data, changes) if changes else said.body

    def whole(self, raw: bytes, failed: Failed) -> Chunk:
        """A response, as it came; one that failed too, if it says what there is."""
        data = answer_object(raw, failed)
        if not isinstance(data.get("output"), list):
            raise failed(data)
        failure = failed(data) if data.get("status") == "failed" else None
        return Chunk(raw, whole=True, tokens=tokens_of(data.get("usage")), model=model_of(data), failure=failure)

    def reader(self, said: Said, failed: Failed) -> ResponsesReader:  # noqa: ARG002  # all dialects have one shape
        """What reads the stream of an answer."""
        return ResponsesReader(failed)

    def shows(self, said: Said, event: Json) -> bool:  # noqa: ARG002  # likewise
        """Everything is for everybody."""
        return True

    def length_of(self, raw: bytes) -> tuple[int, int]:
        """How many events of *raw* say something, and how many characters they say."""
        sizes = [size for event in sse.parse(raw) if (size := _said_in(event.data))]
        return len(sizes), sum(sizes)

    def finishes(self, raw: bytes) -> bool:
        """Whether the answer's end is among the events *raw*."""
        return any(_told_in(block)[0] in _LAST for block in sse.blocks(raw))

    def cut_short(self, raw: bytes, said: Said, reason: str) -> None:
        """None: the end would have to say all that came before."""


class ResponsesReader:
    """Reads an upstream's response stream: nothing in it changes, and what its end tells is noted."""

    __slots__ = ("_failed", "begun", "ended", "over")

    def __init__(self, failed: Failed) -> None:
        self._failed = failed
        self.begun = self.over = self.ended = False

    def speaks(self, raw: bytes) -> bool:
        """Whether there is more than comments in *raw*."""
        return b"data:" in raw

    def feed(self, raw: bytes) -> Iterator[Chunk]:
        """The events as they came, the terminal one apart."""
        if not _TELLING.search(raw):
            self.begun = self.begun or self.speaks(raw)
            if self.begun:  # a comment is no answer: before the first event there is still a second try
                yield Chunk(raw)
            return
        passed: list[bytes] = []
        told: Json = {}
        kind, model = None, None
        for block in sse.blocks(raw):
            kind, told = _told_in(block)
            if kind in _CLOSING:
                break
            passed.append(block)
            model = model or model_of(_response_in(told))
        self.begun = self.begun or self.speaks(b"".join(passed))
        if passed and self.begun:
            yield Chunk(b"".join(passed), model=model)
        if kind == "error":
            raise self._failed(told)
        if kind in _LAST:
            self.ended = self.over = True
            yield self._last(sse.closed(block), kind, told)

    def _last(self, block: bytes, kind: str | None, told: Json) -> Chunk:
        response = _response_in(told)
        failure = self._failed(response) if kind == "response.failed" else None
        tokens, model = tokens_of(response.get("usage")), model_of(response)
        return Chunk(block, tokens=tokens, model=model, last=True, failure=failure)


def _told_in(block: bytes) -> tuple[str | None, Json]:
    """The kind of the one event in *block*, which its name tells where its data does not, and that data."""
    for event in sse.parse(block):
        told = event_object(event.data)
        kind = told.get("type", event.name)
        return (kind if isinstance(kind, str) else None), told
    return None, {}


def tokens_of(usage: Any) -> Tokens | None:
    """The usage object of a response as `Tokens`; None if there is none that makes sense."""
    prompt, completion = count_of(usage, "input_tokens"), count_of(usage, "output_tokens")
    if prompt is None or completion is None:
        return None
    return Tokens(
        prompt,
        completion,
        cached=count_of(usage.get("input_tokens_details"), "cached_tokens") or 0,
        reasoning=count_of(usage.get("output_tokens_details"), "reasoning_tokens") or 0,
    )


def _response_in(told: Json) -> Json:
    response = told.get("response")
    return response if isinstance(response, dict) else {}


class _Event(msgspec.Struct):
    """What is written in one event; everything else in it is passed over."""

    delta: str = ""


_event = msgspec.json.Decoder(_Event).decode


def _said_in(data: bytes) -> int:
    """How many characters of an answer the event *data* holds; one if it is of a shape that we do not know."""
    try:
        return len(_event(data).delta)
    except (ValueError, RecursionError):
        return 1
