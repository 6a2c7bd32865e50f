"""What is said, as plain dataclasses: the documented fields first, then what would otherwise be lost.

Every object keeps the dict it was read from in `raw`, so that fields unknown here can still be reached.
Reading never fails: a field that is missing, null or of an odd type becomes None, 0, "" or an empty list.
Knows no network and no streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Raw: TypeAlias = "dict[str, Any]"


@dataclass(slots=True)
class FunctionCall:
    """Name and arguments of a call. In a stream both are fragments, to be joined by the call's `index`."""

    name: str = ""
    arguments: str = ""
    """JSON text as the model wrote it; nothing promises that it is valid."""
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, data: Raw) -> FunctionCall:
        return cls(_text(data.get("name")) or "", _text(data.get("arguments")) or "", data)

    def to_dict(self) -> Raw:
        return {**self.raw, "name": self.name, "arguments": self.arguments}


@dataclass(slots=True)
class ToolCall:
    """One call of a tool. Other kinds than "function" have their content in `raw`."""

    id: str | None = None
    type: str | None = None
    function: FunctionCall = field(default_factory=FunctionCall)
    index: int | None = None
    """Which call a fragment belongs to; only in streams."""
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, data: Raw) -> ToolCall:
        function = FunctionCall.from_dict(_object(data.get("function")))
        index = _whole_number(data["index"]) if "index" in data else None
        return cls(_text(data.get("id")), _text(data.get("type")), function, index, data)

    def to_dict(self) -> Raw:
        """The call as it is sent back in a message."""
        kept = {key: value for key, value in self.raw.items() if key != "index"}
        sent = {**kept, "id": self.id, "type": self.type or "function"}
        return {**sent, "function": self.function.to_dict()} if sent["type"] == "function" else sent


@dataclass(slots=True)
class ChatMessage:
    """A message: an answer's, or one of yours. `messages=` takes these as well as dicts."""

    role: str
    content: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    """Which call this answers; for role "tool"."""
    name: str | None = None
    refusal: str | None = None
    """The model's words when it declines to answer."""
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, data: Raw) -> ChatMessage:
        return cls(
            role=_text(data.get("role")) or "assistant",
            content=_text(data.get("content")),
            tool_calls=_tool_calls(data),
            tool_call_id=_text(data.get("tool_call_id")),
            name=_text(data.get("name")),
            refusal=_text(data.get("refusal")),
            raw=data,
        )

    def to_dict(self) -> Raw:
        """The message as it is sent: the fields as they are now, and whatever else `raw` holds.

        A field that is None is left out, except `content`, which an assistant's tool call may leave null.
        """
        calls = [call.to_dict() for call in self.tool_calls or ()]
        known = {
            "tool_calls": calls or None,
            "tool_call_id": self.tool_call_id,
            "name": self.name,
            "refusal": self.refusal,
        }
        rest = {key: value for key, value in self.raw.items() if key not in known}
        said = {key: value for key, value in known.items() if value is not None}
        return {**rest, "role": self.role, "content": self.content, **said}


@dataclass(slots=True)
class Usage:
    """Tokens spent. All zero, with an empty `raw`, when the gateway reported none."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: Raw | None = None
    """For example {"cached_tokens": 128}; cached tokens are part of `prompt_tokens`."""
    completion_tokens_details: Raw | None = None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, data: Raw) -> Usage:
        return cls(
            prompt_tokens=_whole_number(data.get("prompt_tokens")),
            completion_tokens=_whole_number(data.get("completion_tokens")),
            total_tokens=_whole_number(data.get("total_tokens")),
            prompt_tokens_details=_object_or_none(data.get("prompt_tokens_details")),
            completion_tokens_details=_object_or_none(data.get("completion_tokens_details")),
            raw=data,
        )


@dataclass(slots=True)
class Choice:
    """One of the `n` answers."""

    index: int
    message: ChatMessage
    finish_reason: str | None = None
    logprobs: Raw | None = None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, data: Raw) -> Choice:
        return cls(
            index=_whole_number(data.get("index")),
            message=ChatMessage.from_dict(_object(data.get("message"))),
            finish_reason=_text(data.get("finish_reason")),
            logprobs=_object_or_none(data.get("logprobs")),
            raw=data,
        )


@dataclass(slots=True)
class ChatCompletion:
    """A whole answer."""

    id: str
    model: str
    choices: list[Choice]
    usage: Usage = field(default_factory=Usage)
    created: int | None = None
    """Unix time in seconds."""
    system_fingerprint: str | None = None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, data: Raw) -> ChatCompletion:
        return cls(
            id=_text(data.get("id")) or "",
            model=_text(data.get("model")) or "",
            choices=[Choice.from_dict(choice) for choice in _objects(data.get("choices"))],
            usage=Usage.from_dict(_object(data.get("usage"))),
            created=_time(data),
            system_fingerprint=_text(data.get("system_fingerprint")),
            raw=data,
        )


@dataclass(slots=True)
class StreamDelta:
    """What one chunk adds."""

    role: str | None = None
    content: str | None = None
    tool_calls: list[ToolCall] | None = None
    refusal: str | None = None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, data: Raw) -> StreamDelta:
        return cls(
            role=_text(data.get("role")),
            content=_text(data.get("content")),
            tool_calls=_tool_calls(data),
            refusal=_text(data.get("refusal")),
            raw=data,
        )


@dataclass(slots=True)
class StreamChoice:
    """One answer's part of a chunk."""

    index: int
    delta: StreamDelta
    finish_reason: str | None = None
    logprobs: Raw | None = None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, data: Raw) -> StreamChoice:
        return cls(
            index=_whole_number(data.get("index")),
            delta=StreamDelta.from_dict(_object(data.get("delta"))),
            finish_reason=_text(data.get("finish_reason")),
            logprobs=_object_or_none(data.get("logprobs")),
            raw=data,
        )


@dataclass(slots=True)
class ChatCompletionChunk:
    """One event of a stream. `choices` is never empty, unless you asked for more with `stream_options`."""

    id: str
    model: str
    choices: list[StreamChoice]
    usage: Usage | None = None
    """Only on the chunk that reports it, after `stream_options={"include_usage": True}`."""
    created: int | None = None
    """Unix time in seconds."""
    system_fingerprint: str | None = None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, data: Raw) -> ChatCompletionChunk:
        usage = _object_or_none(data.get("usage"))
        return cls(
            id=_text(data.get("id")) or "",
            model=_text(data.get("model")) or "",
            choices=[StreamChoice.from_dict(choice) for choice in _objects(data.get("choices"))],
            usage=None if usage is None else Usage.from_dict(usage),
            created=_time(data),
            system_fingerprint=_text(data.get("system_fingerprint")),
            raw=data,
        )


Message: TypeAlias = "ChatMessage | Mapping[str, Any]"
"""What `messages=` is a sequence of."""


def messages_to_wire(messages: Iterable[Message]) -> list[Raw]:
    """Messages as JSON-ready dicts; dicts go out as they are."""
    return [each.to_dict() if isinstance(each, ChatMessage) else dict(each) for each in messages]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _whole_number(value: object) -> int:
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return int(value) if is_whole else 0  # type: ignore[call-overload]  # narrowed on the line above


def _time(data: Raw) -> int | None:
    return _whole_number(data["created"]) if data.get("created") is not None else None


def _object_or_none(value: object) -> Raw | None:
    return value if isinstance(value, dict) else None


def _object(value: object) -> Raw:
    return _object_or_none(value) or {}


def _objects(value: object) -> list[Raw]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _tool_calls(data: Raw) -> list[ToolCall] | None:
    return [ToolCall.from_dict(call) for call in _objects(data.get("tool_calls"))] or None
