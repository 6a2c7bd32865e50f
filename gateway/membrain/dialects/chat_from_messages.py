"""Anthropic Messages, and what it takes to serve OpenAI chat from it.

For: pure translations over parsed JSON. `request_from_chat` (at home in `chat_to_messages`) makes a chat request a
messages request, `chat_from_message` a whole answer a chat completion, `ToChatChunks` the events of a stream chat
chunks. What gets lost on the way is listed in `LOSSES`.

Not for: sending anything, and not the way back, a messages request to a chat upstream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar, Final

import msgspec

from membrain.dialects.chat_to_messages import LOSSES, REFUSALS, request_from_chat
from membrain.errors import ProviderFailed

__all__ = [
    "ERROR_STATUS",
    "LOSSES",
    "REFUSALS",
    "STOP_REASONS",
    "ToChatChunks",
    "chat_from_message",
    "failure",
    "request_from_chat",
    "usage_from_message",
]

Json = dict[str, Any]

STOP_REASONS: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Anthropic's stop reasons as chat's finish reasons; one that is not here is a `stop`."""

ERROR_STATUS: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "billing_error": 402,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""HTTP status of Anthropic's error types. Any other is a 502, also what is wrong with the gateway's own key."""


def chat_from_message(message: Json, *, created: int) -> Json:
    """The chat completion that says what Anthropic's *message* says; *created* is Unix time in seconds.

    Texts are joined, thinking goes into `reasoning_content`; `content` is None if there are tool calls and no
    text. Raises `ProviderFailed` for an error object, and for what cannot be read as a message.
    """
    if message.get("type") == "error":
        raise failure(message)
    said: dict[str, list[str]] = {"text": [], "thinking": []}
    calls: list[Json] = []
    for block in _listed(message.get("content")):
        kind = str(block.get("type"))
        if kind in said:  # the text of such a block is under the name of its kind
            said[kind].append(_told(block, kind))
        elif kind == "tool_use":
            calls.append(_tool_call(block))
    text, thinking = "".join(said["text"]), "".join(said["thinking"])
    answer: Json = {"role": "assistant", "content": text or (None if calls else ""), "refusal": None}
    if thinking:
        answer["reasoning_content"] = thinking
    if calls:
        answer["tool_calls"] = calls
    whole = _head(message, "chat.completion", created)
    finish = _finish(message.get("stop_reason"))
    whole["choices"] = [{"index": 0, "message": answer, "logprobs": None, "finish_reason": finish}]
    if isinstance(message.get("usage"), dict):
        whole["usage"] = usage_from_message(message["usage"])
    return whole


def usage_from_message(usage: Mapping[str, Any]) -> Json:
    """Anthropic's token counts as chat has them.

    Anthropic's `input_tokens` leave out what came from its cache or went into it; chat's `prompt_tokens` are
    all there were, and their details say how many of them those are.
    """
    read, written = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
    prompt, completion = _count(usage, "input_tokens") + read + written, _count(usage, "output_tokens")
    counted: Json = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
    }
    details = usage.get("output_tokens_details")
    if isinstance(details, dict):
        counted["completion_tokens_details"] = {"reasoning_tokens": _count(details, "thinking_tokens")}
    return counted


def failure(told: Json) -> ProviderFailed:
    """Anthropic's error object, or an `error` event of its stream, as our error, in its own words."""
    error = told.get("error")
    given: Json = error if isinstance(error, dict) else {}
    kind, message = given.get("type"), given.get("message")
    kind = kind if isinstance(kind, str) else "api_error"
    return ProviderFailed(
        message if isinstance(message, str) and message else "Anthropic reported an error without a word.",
        provider="anthropic",
        status=ERROR_STATUS.get(kind, 502),
        type=kind,
        passing=kind != "invalid_request_error",
        reached=False,
    )


def _unreadable() -> ProviderFailed:
    return ProviderFailed("Anthropic's answer is not of the shape it documents.", provider="anthropic")


def _listed(blocks: Any) -> list[Json]:
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise _unreadable()
    return blocks


def _inside(data: Json, name: str) -> Json:
    value = data.get(name)
    if not isinstance(value, dict):
        raise _unreadable()
    return value


def _told(data: Json, name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise _unreadable()
    return value


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) else 0


def _head(message: Json, kind: str, created: int) -> Json:
    return {"id": _told(message, "id"), "object": kind, "created": created, "model": _told(message, "model")}


def _finish(reason: Any) -> str:
    return STOP_REASONS.get(str(reason), "stop")


def _tool_call(block: Json) -> Json:
    function = {"name": _told(block, "name"), "arguments": _arguments(block.get("input"))}
    return {"id": _told(block, "id"), "type": "function", "function": function}


def _arguments(value: Any) -> str:
    return msgspec.json.encode({} if value is None else value).decode()


# -- streams --


@dataclass(slots=True)
class _Call:
    """A tool call under way: its place among the calls, and the arguments its first event already had."""

    place: int
    input: Any
    is_argued: bool = False


_DELTA_FIELDS: Final[Mapping[str, str]] = {"text": "content", "thinking": "reasoning_content"}
"""Where the text of a block goes in a chat delta."""


class ToChatChunks:
    """Makes chat chunks of the events of one Anthropic stream.

    The first chunk carries the role, one with `finish_reason` ends the answer, and a last one without choices
    tells the usage; whoever writes the stream drops that one if the caller did not ask for it. `ping`, and the
    events and blocks that chat has no place for, give nothing. *created* is Unix time in seconds.
    """

    ended: bool
    """Whether `message_stop` has come. A stream that closes without it broke off."""

    def __init__(self, *, created: int) -> None:
        self.ended = False
        self._created = created
        self._start: Json = {}
        self._usage: Json = {}
        self._stop_reason: Any = None
        self._places = count()
        self._calls: dict[str, _Call] = {}  # by the index of Anthropic's block, which counts texts too

    def feed(self, name: str | None, data: Json) -> list[Json]:
        """The chunks that one event gives: none, one, or at the end two.

        *name* is the event's name, *data* its parsed data, whose own `type` counts if it has one. Raises
        `ProviderFailed` for an `error` event, and for what cannot be read.
        """
        read = self._EVENTS.get(str(data.get("type") or name))
        return read(self, data) if read else []

    def _chunk(self, delta: Json, finish: str | None = None) -> list[Json]:
        if not self._start:
            raise _unreadable()
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return [{**self._start, "choices": [choice]}]

    def _said(self, block: Json, kind: str) -> list[Json]:
        """A piece of text or of thinking; both stand under the name of their kind."""
        text = _told(block, kind)
        return self._chunk({_DELTA_FIELDS[kind]: text}) if text else []

    def _argued(self, call: _Call, fragment: str) -> list[Json]:
        if not fragment:
            return []
        call.is_argued = True
        return self._chunk({"tool_calls": [{"index": call.place, "function": {"arguments": fragment}}]})

    def _note_usage(self, data: Json) -> None:
        """Counts are running totals, so each replaces what was known; those that are not told stay."""
        usage = data.get("usage")
        if isinstance(usage, dict):
            self._usage.update({name: value for name, value in usage.items() if value is not None})

    def _message_start(self, data: Json) -> list[Json]:
        message = _inside(data, "message")
        self._start = _head(message, "chat.completion.chunk", self._created)
        self._note_usage(message)
        return self._chunk({"role": "assistant", "content": ""})

    def _block_start(self, data: Json) -> list[Json]:
        block = _inside(data, "content_block")
        kind = str(block.get("type"))
        if kind in _DELTA_FIELDS:
            return self._said(block, kind)
        if kind != "tool_use":
            return []
        call = self._calls[str(data.get("index"))] = _Call(next(self._places), block.get("input"))
        function = {"name": _told(block, "name"), "arguments": ""}
        opened = {"index": call.place, "id": _told(block, "id"), "type": "function", "function": function}
        return self._chunk({"tool_calls": [opened]})

    def _block_delta(self, data: Json) -> list[Json]:
        delta = _inside(data, "delta")
        kind = str(delta.get("type")).removesuffix("_delta")
        if kind in _DELTA_FIELDS:
            return self._said(delta, kind)
        call = self._calls.get(str(data.get("index")))
        if kind != "input_json" or call is None:
            return []
        return self._argued(call, _told(delta, "partial_json"))

    def _block_stop(self, data: Json) -> list[Json]:
        call = self._calls.get(str(data.get("index")))
        if call is None or call.is_argued:
            return []
        return self._argued(call, _arguments(call.input))  # without arguments, chat has an empty object

    def _message_delta(self, data: Json) -> list[Json]:
        self._note_usage(data)
        reason = _inside(data, "delta").get("stop_reason")
        self._stop_reason = self._stop_reason if reason is None else reason
        return []

    def _message_stop(self, _data: Json) -> list[Json]:
        last = self._chunk({}, _finish(self._stop_reason))
        self.ended = True
        if self._usage:
            last.append({**self._start, "choices": [], "usage": usage_from_message(self._usage)})
        return last

    def _error(self, data: Json) -> list[Json]:
        raise failure(data)

    _EVENTS: ClassVar[Mapping[str, Callable[[ToChatChunks, Json], list[Json]]]] = {
        "message_start": _message_start,
        "content_block_start": _block_start,
        "content_block_delta": _block_delta,
        "content_block_stop": _block_stop,
        "message_delta": _message_delta,
        "message_stop": _message_stop,
        "error": _error,
    }
