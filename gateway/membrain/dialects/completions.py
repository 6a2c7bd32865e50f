"""OpenAI's legacy completions: the dialect of `/v1/completions`.

Its streams are chat's in all but what a choice holds: a text where chat has a delta.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from membrain import sse
from membrain.dialects.base import (
    Chunk,
    Json,
    Said,
    event_object,
    flag_field,
    model_field,
    parse_object,
    refuse_steering,
)
from membrain.dialects.chat import Chat, choices_of
from membrain.errors import BadRequest

NUMBERS = "Numbers of tokens cannot be looked at for private values. Send the text itself."
"""Why a prompt must be text."""


class Completions(Chat):
    """Reads and writes what is said in legacy completions."""

    name: ClassVar[str] = "completions"
    lengths: ClassVar[tuple[str, ...]] = ("max_tokens",)

    def read(self, body: bytes, *, depth: int) -> Said:
        """Parse a completion request; what we do not know is not looked at and passes as it is."""
        data = parse_object(body, depth=depth)
        refuse_steering(data)
        model = model_field(data)
        require_text(data, "prompt")
        return Said(self.name, body, data, model, flag_field(data, "stream"))

    def length_of(self, raw: bytes) -> tuple[int, int]:
        """How many events of *raw* say something, and how many characters they say."""
        sizes = [size for event in sse.parse(raw) if (size := _said_in(event.data))]
        return len(sizes), sum(sizes)

    def cut_short(self, raw: bytes, said: Said, reason: str) -> Chunk:
        """Every choice ends as if it had reached its length; *reason* stands beside that."""
        like: Json = {}
        for event in sse.parse(raw):
            like = event_object(event.data) or like
        head: Json = {name: like[name] for name in ("id", "object", "created", "model") if name in like}
        ends: list[Json] = [
            {"index": index, "text": "", "logprobs": None, "finish_reason": "length"}
            for index in range(choices_of(said))
        ]
        last = {**head, "choices": ends, "membrain": {"reason": reason}}
        return Chunk(raw + sse.encode(msgspec.json.encode(last)))


def require_text(data: Json, name: str) -> None:
    """`BadRequest` unless the member *name* is a text, or a list of texts that is not empty."""
    value = data.get(name)
    if isinstance(value, str):
        return
    if not isinstance(value, list) or not value:
        problem = "is missing" if name not in data else "must be a string, or a list of strings that is not empty"
        raise BadRequest(f"`{name}` {problem}.", param=name)
    if any(not isinstance(each, str) for each in value):
        raise BadRequest(f"`{name}` must be text. {NUMBERS}", param=name)


class _Choice(msgspec.Struct):
    text: str | None = None


class _Event(msgspec.Struct):
    """What is written in one event; everything else in it is passed over."""

    choices: list[_Choice] = []


_event = msgspec.json.Decoder(_Event).decode


def _said_in(data: bytes) -> int:
    """How many characters of an answer the event *data* holds; one if it is of a shape that we do not know."""
    try:
        return sum(len(choice.text or "") for choice in _event(data).choices)
    except (ValueError, RecursionError):
        return 1
