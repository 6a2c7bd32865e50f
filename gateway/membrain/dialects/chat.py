"""OpenAI's chat completions: the dialect of `/v1/chat/completions`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from membrain import sse
from membrain.dialects.base import (
    MOST_CHOICES,
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
from membrain.dialects.splice import member_spans, with_members
from membrain.errors import MembrainError
from membrain.records import Tokens

DONE = b"data: [DONE]\n\n"

_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_NO_USAGE = re.compile(rb',\s*"usage"\s*:\s*null(?=\s*[,}])|(?<=\{)\s*"usage"\s*:\s*null\s*,')
_NULL_USAGE = re.compile(rb'"usage"\s*:\s*null')
_ERROR = re.compile(rb'"error"\s*:\s*[{"]')
_FINISH = re.compile(rb'"finish_reason"\s*:\s*"[^"]')


class Chat:
    """Reads and writes what is said in chat completions."""

    name: ClassVar[str] = "chat"
    lengths: ClassVar[tuple[str, ...]] = ("max_completion_tokens", "max_tokens")

    def read(self, body: bytes, *, depth: int) -> Said:
        """Parse a chat request; what we do not know is not looked at and passes as it is."""
        data = parse_object(body, depth=depth)
        refuse_steering(data)
        model = model_field(data)
        list_field(data, "messages")
        return Said(self.name, body, data, model, flag_field(data, "stream"))

    def error(self, error: MembrainError) -> bytes:
        """OpenAI's error object, and the sentence again as `detail`."""
        return msgspec.json.encode({"error": error_object(error), "detail": error.sentence})

    def error_event(self, error: MembrainError) -> bytes:
        """An error frame; the door cuts the connection after it."""
        return sse.encode(msgspec.json.encode({"error": error_object(error)}))

    def end(self) -> bytes:
        """`[DONE]`."""
        return DONE

    def request_body(self, said: Said, model: str, more: Mapping[str, Any] = {}) -> bytes:
        """The caller's own bytes; a stream's usage is always asked for."""
        return request_body(said, model, more)

    def whole(self, raw: bytes, failed: Failed) -> Chunk:
        """A completion, as it came."""
        data = answer_object(raw, failed)
        if data.get("error") and not data.get("choices"):
            raise failed(data)
        return Chunk(raw, whole=True, tokens=tokens_of(data.get("usage")), model=model_of(data))

    def reader(self, said: Said, failed: Failed) -> ChatReader:
        """What reads the stream of an answer to *said*."""
        return ChatReader(failed, hide=not wants_usage(said), choices=choices_of(said))

    def shows(self, said: Said, event: Json) -> bool:
        """The bare usage event is for those who asked for it."""
        return bool(event.get("choices")) or wants_usage(said)

    def length_of(self, raw: bytes) -> tuple[int, int]:
        """How many events of *raw* say something, and how many characters they say."""
        return length_of(raw)

    def finishes(self, raw: bytes) -> bool:
        """Whether some choice's end is among the events *raw*."""
        return finishes(raw)

    def cut_short(self, raw: bytes, said: Said, reason: str) -> Chunk:
        """Every choice ends as if it had reached its length; *reason* stands beside that."""
        return Chunk(raw + cut_short(raw, range(choices_of(said)), reason))


class ChatReader:
    """Reads an upstream's chat stream; with *hide*, the usage that only we asked for does not pass on.

    The stream has come to its end when it says so, or when each of so many *choices* has told why it ended.
    """

    __slots__ = ("_choices", "_failed", "_finished", "_hide", "begun", "ended", "over")

    def __init__(self, failed: Failed, *, hide: bool, choices: int = 1) -> None:
        self._failed = failed
        self._hide = hide
        self._choices = choices
        self._finished: set[Any] = set()
        self.begun = self.over = self.ended = False

    def speaks(self, raw: bytes) -> bool:
        """Whether there is more than comments in *raw*."""
        return b"data:" in raw

    def feed(self, raw: bytes) -> Iterator[Chunk]:
        """The events as they came; the end only where it is not spelled as ours."""
        said, end = without_end(raw)
        said, told = before_error(said)
        self.begun = self.begun or self.speaks(said)
        if said and self.begun:  # a comment is no answer: before the first event there is still a second try
            self._note_finish(said)
            shown, tokens = usage_in(said, hide=self._hide)
            yield Chunk(shown, tokens=tokens)
        if told is not None:
            raise self._failed({"error": told})
        if end:
            self.over = self.ended = True
            if self.begun and end != DONE:
                yield Chunk(sse.closed(end), last=True)

    def _note_finish(self, raw: bytes) -> None:
        if not self.over and finishes(raw):
            self._finished |= _finished_in(raw)
            self.over = len(self._finished) >= self._choices


def error_object(error: MembrainError) -> dict[str, Any]:
    """What OpenAI's errors say of *error*: all four members, as its schema demands."""
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


def choices_of(said: Said) -> int:
    """How many choices the answer to *said* has: so many for each prompt, of which only a completion has several."""
    wanted = said.data.get("n")
    prompt = said.data.get("prompt") if said.dialect == "completions" else None
    prompts = len(prompt) if isinstance(prompt, list) else 1
    return prompts * (min(wanted, MOST_CHOICES) if type(wanted) is int and wanted > 0 else 1)


def without_end(raw: bytes) -> tuple[bytes, bytes]:
    """*raw* up to the terminal event, and that event; empty if it is not there. What follows it is dropped."""
    if b"[DONE]" not in raw:
        return raw, b""
    at = 0
    for block in sse.blocks(raw):
        if b"[DONE]" in block and any(event.data.startswith(b"[DONE]") for event in sse.parse(block)):
            return raw[:at], block
        at += len(block)
    return raw, b""


def finishes(raw: bytes) -> bool:
    """Whether some choice's end is among the events *raw*."""
    return _FINISH.search(raw) is not None


def _finished_in(raw: bytes) -> set[Any]:
    """The choices whose end is among the events *raw*, by their index."""
    listed = [event_object(event.data).get("choices") for event in sse.parse(raw)]
    choices = [each for every in listed if isinstance(every, list) for each in every if isinstance(each, dict)]
    return {str(each.get("index", 0)) for each in choices if each.get("finish_reason")}


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
        like = event_object(event.data) or like
    head = {name: like[name] for name in ("id", "created", "model", "system_fingerprint") if name in like}
    ends: list[dict[str, Any]] = [
        {"index": index, "delta": {}, "logprobs": None, "finish_reason": "length"} for index in choices
    ]
    rest = {"object": "chat.completion.chunk", "choices": ends, "membrain": {"reason": reason}}
    return sse.encode(msgspec.json.encode(head | rest))


def before_error(raw: bytes) -> tuple[bytes, Any]:
    """The events *raw* up to the first that reports an error, and that error; None if there is none."""
    if b'"error"' not in raw or not _ERROR.search(raw):
        return raw, None
    at = 0
    for block in sse.blocks(raw):
        for event in sse.parse(block):
            if error := event_object(event.data).get("error"):
                return raw[:at], error
        at += len(block)
    return raw, None


def usage_in(raw: bytes, *, hide: bool) -> tuple[bytes, Tokens | None]:
    """The usage that the events *raw* report, and *raw*, less all that came of asking for it if *hide*.

    That is the bare usage event at the end, and the `"usage": null` in every event before it.
    """
    if b'"usage"' not in raw:
        return raw, None
    raw = _without_null(raw) if hide else raw
    if b'"usage"' not in raw or not _USAGE.search(raw):
        return raw, None
    tokens: Tokens | None = None
    kept: list[bytes] = []
    for block in sse.blocks(raw):
        told = _told_in(block) if b'"usage"' in block else {}
        tokens = tokens_of(told.get("usage")) or tokens
        if not hide or told.get("choices") or not isinstance(told.get("usage"), dict):
            kept.append(block)
    return (raw if len(kept) == len(sse.blocks(raw)) else b"".join(kept)), tokens


def _told_in(block: bytes) -> Json:
    """The data of the one event in *block*; an empty object if there is none."""
    return next((event_object(event.data) for event in sse.parse(block)), {})


def _without_null(raw: bytes) -> bytes:
    """The events *raw* without the member `"usage": null`."""
    # As OpenAI writes it: here it can only be the event's own member, at a hundredth of the cost of looking closely.
    raw = raw.replace(b',"usage":null}\n\n', b"}\n\n").replace(b'],"usage":null,"obfuscation"', b'],"obfuscation"')
    if b'"usage"' not in raw or not _NULL_USAGE.search(raw):
        return raw
    return b"".join(_without_null_in(block) for block in sse.blocks(raw))


def _without_null_in(block: bytes) -> bytes:
    """*block* without that member, if its one event has it itself and not something deeper in it."""
    data = next((event.data for event in sse.parse(block)), b"")
    if event_object(data).get("usage", data) is not None or (at := block.find(data)) < 0:
        return block
    start, end = member_spans(data)["usage"]
    for found in _NO_USAGE.finditer(data):
        if found.start() < start < end <= found.end():
            return block[: at + found.start()] + block[at + found.end() :]
    return block


def usage_in_body(raw: bytes) -> tuple[Tokens | None, str | None]:
    """The usage and the model that a whole completion reports."""
    data = event_object(raw)
    return tokens_of(data.get("usage")), model_of(data)


def tokens_of(usage: Any) -> Tokens | None:
    """OpenAI's usage object as `Tokens`; None if there is none that makes sense.

    What was written to the cache has no name at OpenAI; ours, for what Anthropic tells, is OpenRouter's.
    """
    if not isinstance(usage, dict):
        return None
    prompt, completion = count_of(usage, "prompt_tokens"), count_of(usage, "completion_tokens")
    if prompt is None or completion is None:
        return None
    details = usage.get("prompt_tokens_details")
    return Tokens(
        prompt,
        completion,
        cached=count_of(details, "cached_tokens") or 0,
        reasoning=count_of(usage.get("completion_tokens_details"), "reasoning_tokens") or 0,
        written=count_of(details, "cache_write_tokens") or 0,
    )
