"""OpenAI's chat completions: the dialect of `/v1/chat/completions`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import msgspec

from membrain import sse
from membrain.dialects.base import (
    MAX_MODEL_NAME,
    Said,
    flag_field,
    list_field,
    model_field,
    parse_object,
    refuse_steering,
)
from membrain.dialects.splice import with_members
from membrain.errors import MembrainError
from membrain.records import Tokens

DONE = b"data: [DONE]\n\n"

_ABSURD = 1 << 48
"""No honest count of tokens is this large, and no store could add such counts up."""

_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_NO_USAGE = re.compile(rb',\s*"usage"\s*:\s*null(?=\s*[,}])|(?<=\{)"usage"\s*:\s*null\s*,')
_NULL_USAGE = re.compile(rb'"usage"\s*:\s*null')
_ERROR = re.compile(rb'"error"\s*:\s*[{"]')
_FINISH = re.compile(rb'"finish_reason"\s*:\s*"')
_DONE_LINES = (b"data: [DONE]", b"data:[DONE]")


class Chat:
    """Reads chat requests, and writes their errors and their end."""

    name: ClassVar[str] = "chat"

    def read(self, body: bytes, *, depth: int) -> Said:
        """Parse a chat request; what we do not know is not looked at and passes as it is."""
        data = parse_object(body, depth=depth)
        refuse_steering(data)
        model = model_field(data)
        list_field(data, "messages")
        return Said(self.name, body, data, model, flag_field(data, "stream"))

    def error(self, error: MembrainError) -> bytes:
        """OpenAI's error object, and the sentence again as `detail`."""
        return msgspec.json.encode({"error": _error_object(error), "detail": error.sentence})

    def error_event(self, error: MembrainError) -> bytes:
        """An error frame; the door cuts the connection after it."""
        return sse.encode(msgspec.json.encode({"error": _error_object(error)}))

    def end(self) -> bytes:
        """`[DONE]`."""
        return DONE


def _error_object(error: MembrainError) -> dict[str, Any]:
    return {"message": error.sentence, "type": error.type, "param": error.param, "code": error.code}


def request_body(said: Said, model: str, more: Mapping[str, Any] = {}) -> bytes:
    """The caller's own bytes, for an upstream that knows the model as *model*, with the members *more*.

    A stream's usage is always asked for, because tokens are counted by what the provider says.
    """
    changes: dict[str, Any] = {**more}
    if model != said.model:
        changes["model"] = model
    if said.stream and not wants_usage(said):
        options = said.data.get("stream_options")
        changes["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return with_members(said.body, said.data, changes) if changes else said.body


def wants_usage(said: Said) -> bool:
    """Whether the caller asked for the usage chunk."""
    options = said.data.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def without_end(raw: bytes) -> tuple[bytes, bool]:
    """*raw* up to the terminal event, and whether it was there. What follows it is dropped."""
    if b"[DONE]" not in raw:
        return raw, False
    # Found as plain bytes: a pattern with a line's begin in it costs forty times as much.
    starts = [at for mark in _DONE_LINES if (at := _line_start(raw, mark)) >= 0]
    return (raw[: min(starts)], True) if starts else (raw, False)


def _line_start(raw: bytes, mark: bytes) -> int:
    """Where a line of *raw* begins with *mark*; -1 if none does."""
    at = raw.find(mark)
    while at > 0 and raw[at - 1] not in b"\r\n":
        at = raw.find(mark, at + 1)
    return at


def finishes(raw: bytes) -> bool:
    """Whether some choice's end is among the events *raw*."""
    return _FINISH.search(raw) is not None


class _Function(msgspec.Struct):
    arguments: str = ""


class _Call(msgspec.Struct):
    function: _Function = msgspec.field(default_factory=_Function)


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    function_call: _Function | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)


class _Event(msgspec.Struct):
    """What is written in one event; everything else in it is passed over."""

    choices: list[_Choice] = []


_event = msgspec.json.Decoder(_Event).decode


def length_of(raw: bytes) -> tuple[int, int]:
    """How many events of *raw* say something, and how many characters they say."""
    events = characters = 0
    for event in sse.parse(raw):
        if said := _said_in(event.data):
            events += 1
            characters += said
    return events, characters


def _said_in(data: bytes) -> int:
    """How many characters of an answer the event *data* holds; one if it is of a shape that we do not know."""
    try:
        choices = _event(data).choices
    except (ValueError, RecursionError):
        return 1
    if len(choices) == 1:
        return _said_by(choices[0].delta)
    return sum(_said_by(choice.delta) for choice in choices)


def _said_by(delta: _Delta) -> int:
    said = len(delta.content or "") + len(delta.reasoning_content or "")  # spelled out: it runs for every event
    said += len(delta.reasoning or "") + len(delta.refusal or "")
    if delta.tool_calls is None and delta.function_call is None:
        return said
    functions = [call.function for call in delta.tool_calls or ()]
    functions += [delta.function_call] if delta.function_call else []
    return said + sum(len(each.arguments) for each in functions)


def cut_short(raw: bytes, choices: Iterable[int], reason: str) -> bytes:
    """The event that ends a stream before its time, in the name of the answer that the events *raw* are a part of.

    Every one of *choices* ends as if it had reached its length; *reason*, a code of ours, stands beside that.
    """
    like: dict[str, Any] = {}
    for event in sse.parse(raw):
        like = _object(event.data) or like
    head = {name: like[name] for name in ("id", "created", "model", "system_fingerprint") if name in like}
    ends: list[dict[str, Any]] = [
        {"index": index, "delta": {}, "logprobs": None, "finish_reason": "length"} for index in choices
    ]
    rest = {"object": "chat.completion.chunk", "choices": ends, "membrain": {"reason": reason}}
    return sse.encode(msgspec.json.encode(head | rest))


def error_in(raw: bytes) -> Any:
    """The error that an upstream reported among the events *raw*; None if there is none."""
    if b'"error"' not in raw or not _ERROR.search(raw):
        return None
    found = (_object(event.data).get("error") for event in sse.parse(raw))
    return next((error for error in found if error), None)


def usage_in(raw: bytes, *, hide: bool) -> tuple[bytes, Tokens | None]:
    """The usage that the events *raw* report, and *raw*, less all that came of asking for it if *hide*.

    That is the bare usage event at the end, and the `"usage": null` in every event before it.
    """
    if hide and b'"usage"' in raw:
        raw = raw.replace(b',"usage":null', b"")  # as OpenAI writes it, at a hundredth of the pattern's cost
        raw = _NO_USAGE.sub(b"", raw) if _NULL_USAGE.search(raw) else raw
    if b'"usage"' not in raw or not _USAGE.search(raw):
        return raw, None
    tokens: Tokens | None = None
    kept: list[bytes] = []
    for block in _blocks(raw):
        rest, found = _without_usage(block) if b'"usage"' in block else (block, None)
        tokens = found or tokens
        kept.append(rest if hide else block)
    return b"".join(kept), tokens


def _blocks(raw: bytes) -> list[bytes]:
    """The single events in *raw*, blank lines and all; *raw* as one where its lines end otherwise."""
    return [raw] if b"\r" in raw else [block + b"\n\n" for block in raw.split(b"\n\n") if block]


def _without_usage(block: bytes) -> tuple[bytes, Tokens | None]:
    """*block* less the events that report usage and nothing else, and the usage."""
    tokens: Tokens | None = None
    kept: list[bytes] = []
    events = sse.parse(block)
    for event in events:
        data = _object(event.data)
        found = tokens_of(data.get("usage"))
        tokens = found or tokens
        if not found or data.get("choices"):
            kept.append(sse.encode(event.data, event.name))
    return (block if len(kept) == len(events) else b"".join(kept)), tokens


def usage_in_body(raw: bytes) -> tuple[Tokens | None, str | None]:
    """The usage and the model that a whole completion reports."""
    data = _object(raw)
    return tokens_of(data.get("usage")), model_of(data)


def model_of(data: dict[str, Any]) -> str | None:
    """The model that an answer names; None if it names none that could be one."""
    model = data.get("model")
    return model if isinstance(model, str) and 0 < len(model) <= MAX_MODEL_NAME and model.isprintable() else None


def tokens_of(usage: Any) -> Tokens | None:
    """OpenAI's usage object as `Tokens`; None if there is none that makes sense.

    What was written to the cache has no name at OpenAI; ours, for what Anthropic tells, is OpenRouter's.
    """
    if not isinstance(usage, dict):
        return None
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    if prompt is None or completion is None:
        return None
    details = usage.get("prompt_tokens_details")
    return Tokens(
        prompt,
        completion,
        cached=_count(details, "cached_tokens") or 0,
        reasoning=_count(usage.get("completion_tokens_details"), "reasoning_tokens") or 0,
        written=_count(details, "cache_write_tokens") or 0,
    )


def _count(data: Any, name: str) -> int | None:
    value = data.get(name) if isinstance(data, dict) else None
    return value if type(value) is int and 0 <= value < _ABSURD else None


def _object(raw: bytes) -> dict[str, Any]:
    try:
        data = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
