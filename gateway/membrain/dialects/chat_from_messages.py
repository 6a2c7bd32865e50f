"""An answer of Anthropic's in chat's words: the way back of `chat_to_messages`.

For: pure translations over parsed JSON. `whole` makes a chat completion of a whole message, `Events` chat chunks of the
events of a stream. Thinking goes two ways: as text into `reasoning_content`, for whoever reads, and the blocks as
Anthropic signed them into `thinking_blocks`, for the next request. What gets lost is listed in `LOSSES`.

Not for: sending anything, and not the way back of a messages request that a chat upstream answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import msgspec

from membrain.dialects.base import Event, Json
from membrain.errors import ProviderFailed

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

LOSSES: Final[Mapping[str, str]] = {
    "content[]": "Of the blocks, text, thinking and tool calls have a place in chat, each kind for itself: how they "
    "took turns is not told. What server tools were asked and found is left out, and so are blocks that are unknown.",
    "content[].citations": "What was found on the web becomes `annotations`, without the words that were cited. "
    "Citations of documents and of search results of your own are left out: chat cites addresses only.",
    "content[].caller": "Left out: chat does not say who made a tool call.",
    "stop_reason": "`pause_turn` and `stop_sequence` become `stop`, and a filled context window becomes `length`.",
    "stop_sequence": "Left out: chat does not say which of the stops it was.",
    "stop_details": "Left out; a refusal is told by its `finish_reason`, `content_filter`.",
    "usage": "Counted are input, output, cached, written and thinking tokens; how long the cache keeps what was "
    "written, what server tools did, tier, speed and place are left out.",
    "container": "Left out: chat knows no containers.",
    "context_management": "Left out: chat has no place for what was cleared away.",
    "diagnostics": "Left out: chat has no place for what Anthropic says of its cache.",
}
"""What an answer of Anthropic's loses on its way back to a chat caller, with a sentence for each field."""


def whole(answer: Json, asked: Json, *, created: int) -> Json:  # noqa: ARG001  # the one shape of all ways back
    """The chat completion that says what Anthropic's message *answer* says; *created* is Unix time in seconds.

    Texts are joined; `content` is None if there are tool calls and no text. Raises `ProviderFailed` for an error
    object, and for what cannot be read as a message.
    """
    if answer.get("type") == "error":
        raise failure(answer)
    told = _Told()
    for block in _listed(answer.get("content")):
        if read := _BLOCKS.get(str(block.get("type"))):
            read(told, block)
    completion = _head(answer, "chat.completion", created)
    finish = _finish(answer.get("stop_reason"))
    completion["choices"] = [{"index": 0, "message": told.message(), "logprobs": None, "finish_reason": finish}]
    if isinstance(answer.get("usage"), dict):
        completion["usage"] = usage_from_message(answer["usage"])
    return completion


@dataclass(slots=True)
class _Told:
    """What the blocks of one message say, sorted as chat has it."""

    text: list[str] = field(default_factory=list)
    signs: int = 0
    reasoning: list[str] = field(default_factory=list)
    lists: dict[str, list[Json]] = field(default_factory=dict)

    def add(self, name: str, items: list[Json]) -> None:
        """Add *items* to what the message lists under *name*."""
        if items:
            self.lists.setdefault(name, []).extend(items)

    def message(self) -> Json:
        """Chat's message: only what was said is in it."""
        content, reasoning = "".join(self.text), "".join(self.reasoning)
        message: Json = {"role": "assistant", "content": content, "refusal": None}
        if not content and "tool_calls" in self.lists:
            message["content"] = None
        if reasoning:
            message["reasoning_content"] = reasoning
        return message | self.lists


def _read_text(told: _Told, block: Json) -> None:
    text, start = _text(block, "text"), told.signs
    told.text.append(text)
    told.signs += len(text)
    told.add("annotations", _annotations(block.get("citations"), start, told.signs))


def _read_thinking(told: _Told, block: Json) -> None:
    told.reasoning.append(_text(block, "thinking"))
    told.add("thinking_blocks", _signed(block))


def _read_redacted(told: _Told, block: Json) -> None:
    told.add("thinking_blocks", _signed(block))


def _read_use(told: _Told, block: Json) -> None:
    function = {"name": _text(block, "name"), "arguments": _arguments(block.get("input"))}
    told.add("tool_calls", [{"id": _text(block, "id"), "type": "function", "function": function}])


_BLOCKS: Final[Mapping[str, Callable[[_Told, Json], None]]] = {
    "text": _read_text,
    "thinking": _read_thinking,
    "redacted_thinking": _read_redacted,
    "tool_use": _read_use,
}


def _signed(block: Json) -> list[Json]:
    """*block* itself, if Anthropic would take it back: thinking without a signature is for readers only."""
    seal = block.get("data" if block.get("type") == "redacted_thinking" else "signature")
    return [block] if isinstance(seal, str) and seal else []


def _annotations(citations: Any, start: int, end: int) -> list[Json]:
    """Chat's annotations for the citations of a text that goes from *start* to *end*, in signs of the whole."""
    listed = citations if isinstance(citations, list) else []
    made = ({"start_index": start, "end_index": end, **_page(each)} for each in listed if _is_page(each))
    return [{"type": "url_citation", "url_citation": each} for each in made]


def _is_page(citation: Any) -> bool:
    return isinstance(citation, dict) and citation.get("type") == "web_search_result_location"


def _page(citation: Json) -> Json:
    title = citation.get("title")
    return {"title": title if isinstance(title, str) else "", "url": _text(citation, "url")}


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


def _text(data: Json, name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise _unreadable()
    return value


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) else 0


def _head(message: Json, kind: str, created: int) -> Json:
    return {"id": _text(message, "id"), "object": kind, "created": created, "model": _text(message, "model")}


def _finish(reason: Any) -> str:
    return STOP_REASONS.get(str(reason), "stop")


def _arguments(value: Any) -> str:
    return msgspec.json.encode({} if value is None else value).decode()


# -- streams --


@dataclass(slots=True)
class _Block:
    """A block under way: what its start said of it, and what came since."""

    given: Json
    place: int = 0
    """Of a tool call among the calls; of a text, where it begins in the whole."""
    is_argued: bool = False
    thinking: list[str] = field(default_factory=list)
    citations: list[Any] = field(default_factory=list)


class Events:
    """Makes chat chunks of the events of one Anthropic stream.

    The first chunk carries the role. `end` gives one with `finish_reason`, and a last one without choices that tells
    the usage; whoever writes the stream drops that one if the caller did not ask for it. `ping`, and the events and
    blocks that chat has no place for, give nothing. *created* is Unix time in seconds.
    """

    def __init__(self, asked: Json, *, created: int) -> None:  # noqa: ARG002  # the one shape of all ways back
        self._created = created
        self._start: Json = {}
        self._usage: Json = {}
        self._stop_reason: Any = None
        self._calls = self._signs = 0
        self._blocks: dict[str, _Block] = {}  # by Anthropic's index

    def feed(self, name: str | None, data: Json) -> list[Event]:
        """The chunks that one event gives: none, one or two.

        *name* is the event's name, *data* its parsed data, whose own `type` counts if it has one. Raises
        `ProviderFailed` for an `error` event, and for what cannot be read.
        """
        read = self._EVENTS.get(str(data.get("type") or name))
        return read(self, data) if read else []

    def end(self) -> list[Event]:
        """The finish and, if Anthropic told it, the usage; for a stream whose `message_stop` has come."""
        last = self._chunk({}, _finish(self._stop_reason))
        if self._usage:
            last.append((None, {**self._start, "choices": [], "usage": usage_from_message(self._usage)}))
        return last

    def _chunk(self, delta: Json, finish: str | None = None) -> list[Event]:
        if not self._start:
            raise _unreadable()
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return [(None, {**self._start, "choices": [choice]})]

    def _note_usage(self, data: Json) -> None:
        """Counts are running totals, so each replaces what was known; those that are not told stay."""
        usage = data.get("usage")
        if isinstance(usage, dict):
            self._usage.update({name: value for name, value in usage.items() if value is not None})

    def _message_start(self, data: Json) -> list[Event]:
        message = _inside(data, "message")
        self._start = _head(message, "chat.completion.chunk", self._created)
        self._note_usage(message)
        return self._chunk({"role": "assistant", "content": ""})

    def _message_delta(self, data: Json) -> list[Event]:
        self._note_usage(data)
        reason = _inside(data, "delta").get("stop_reason")
        self._stop_reason = self._stop_reason if reason is None else reason
        return []

    def _error(self, data: Json) -> list[Event]:
        raise failure(data)

    # -- blocks: how each kind starts, goes on and stops --

    def _block_start(self, data: Json) -> list[Event]:
        given = _inside(data, "content_block")
        block = self._blocks[str(data.get("index"))] = _Block(dict(given))
        start = self._STARTS.get(str(given.get("type")))
        return start(self, block) if start else []

    def _block_delta(self, data: Json) -> list[Event]:
        delta = _inside(data, "delta")
        more = self._DELTAS.get(str(delta.get("type")))
        return more(self, self._blocks.get(str(data.get("index")), _Block({})), delta) if more else []

    def _block_stop(self, data: Json) -> list[Event]:
        block = self._blocks.pop(str(data.get("index")), _Block({}))
        stop = self._STOPS.get(str(block.given.get("type")))
        return stop(self, block) if stop else []

    def _text_start(self, block: _Block) -> list[Event]:
        block.place = self._signs
        citations = block.given.get("citations")
        block.citations = [*citations] if isinstance(citations, list) else []
        return self._text_more(block, block.given)

    def _text_more(self, _block: _Block, said: Json) -> list[Event]:
        text = _text(said, "text")
        self._signs += len(text)
        return self._chunk({"content": text}) if text else []

    def _cited(self, block: _Block, delta: Json) -> list[Event]:
        block.citations.append(_inside(delta, "citation"))
        return []

    def _text_stop(self, block: _Block) -> list[Event]:
        """Only now it is known how far what is cited reaches."""
        annotations = _annotations(block.citations, block.place, self._signs)
        return self._chunk({"annotations": annotations}) if annotations else []

    def _thinking_start(self, block: _Block) -> list[Event]:
        return self._thinking_more(block, block.given)

    def _thinking_more(self, block: _Block, said: Json) -> list[Event]:
        thinking = _text(said, "thinking")
        block.thinking.append(thinking)
        return self._chunk({"reasoning_content": thinking}) if thinking else []

    def _sealed(self, block: _Block, delta: Json) -> list[Event]:
        block.given["signature"] = _text(delta, "signature")
        return []

    def _thinking_stop(self, block: _Block) -> list[Event]:
        return self._redacted_stop(_Block({**block.given, "thinking": "".join(block.thinking)}))

    def _redacted_stop(self, block: _Block) -> list[Event]:
        signed = _signed(block.given)
        return self._chunk({"thinking_blocks": signed}) if signed else []

    def _use_start(self, block: _Block) -> list[Event]:
        block.place, self._calls = self._calls, self._calls + 1
        function = {"name": _text(block.given, "name"), "arguments": ""}
        opened = {"index": block.place, "id": _text(block.given, "id"), "type": "function", "function": function}
        return self._chunk({"tool_calls": [opened]})

    def _use_more(self, block: _Block, delta: Json) -> list[Event]:
        fragment = _text(delta, "partial_json")
        return self._argued(block, fragment) if block.given.get("type") == "tool_use" else []

    def _argued(self, block: _Block, fragment: str) -> list[Event]:
        if not fragment:
            return []
        block.is_argued = True
        return self._chunk({"tool_calls": [{"index": block.place, "function": {"arguments": fragment}}]})

    def _use_stop(self, block: _Block) -> list[Event]:
        """A call without arguments has an empty object in chat."""
        return [] if block.is_argued else self._argued(block, _arguments(block.given.get("input")))

    _EVENTS: ClassVar[Mapping[str, Callable[[Events, Json], list[Event]]]] = {
        "message_start": _message_start,
        "content_block_start": _block_start,
        "content_block_delta": _block_delta,
        "content_block_stop": _block_stop,
        "message_delta": _message_delta,
        "error": _error,
    }
    _STARTS: ClassVar[Mapping[str, Callable[[Events, _Block], list[Event]]]] = {
        "text": _text_start,
        "thinking": _thinking_start,
        "tool_use": _use_start,
    }
    _DELTAS: ClassVar[Mapping[str, Callable[[Events, _Block, Json], list[Event]]]] = {
        "text_delta": _text_more,
        "citations_delta": _cited,
        "thinking_delta": _thinking_more,
        "signature_delta": _sealed,
        "input_json_delta": _use_more,
    }
    _STOPS: ClassVar[Mapping[str, Callable[[Events, _Block], list[Event]]]] = {
        "text": _text_stop,
        "thinking": _thinking_stop,
        "redacted_thinking": _redacted_stop,
        "tool_use": _use_stop,
    }
