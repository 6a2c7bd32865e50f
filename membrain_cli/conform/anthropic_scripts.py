"""What the fake provider says in Anthropic's dialect: messages, and the count of a request's tokens.

Shapes, names of events and their order are those of the published API; the words are ours. Unknown members are in it on
purpose: the API grows by them. Pure: no socket, no waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from membrain_cli.conform.compare import Event
from membrain_cli.conform.dialects import Dialect, Json, Sent
from membrain_cli.conform.openai_scripts import NEW

USAGE = {
    "input_tokens": 86,
    "cache_creation_input_tokens": 512,
    "cache_read_input_tokens": 1920,
    "cache_creation": {"ephemeral_5m_input_tokens": 512, "ephemeral_1h_input_tokens": 0},
    "service_tier": "standard",
}
SIGNATURE = "EqQBCgIYAhIkconform+/Signed0123456789abcdefABCDEF=="
REDACTED = "EmwKAhgBEgyconform+/Redacted0123456789abcdefABCDEF=="
THOUGHT = {"type": "thinking", "thinking": "First one,\n then the other. ", "signature": SIGNATURE}
HIDDEN = {"type": "redacted_thinking", "data": REDACTED}


def ask_messages(model: str, text: str) -> Json:
    """The least request of messages."""
    return {"model": model, "max_tokens": 256, "messages": [{"role": "user", "content": text}]}


def _message(asked: Json, content: Sequence[Json], why: str | None, output: int) -> Json:
    return {
        "id": "msg_conform",
        "type": "message",
        "role": "assistant",
        "model": asked.get("model"),
        "content": [*content],
        "stop_reason": why,
        "stop_sequence": None,
        "usage": {**USAGE, "output_tokens": output},
        **NEW,
    }


def whole_messages(asked: Json, text: str) -> Json:
    """A message, with a citation as documents get them."""
    return _message(asked, [{"type": "text", "text": text, "citations": None}], "end_turn", 300)


def thought_messages(asked: Json) -> Json:
    """A message with signed and with redacted thinking before its text."""
    return _message(asked, [THOUGHT, HIDDEN, {"type": "text", "text": "Done."}], "end_turn", 300)


def _named(data: Json) -> Sent:
    return data["type"], data


def _framed(asked: Json, middle: Sequence[Json], why: str) -> list[Sent]:
    start = {"type": "message_start", "message": _message(asked, [], None, 1)}
    usage = {**USAGE, "output_tokens": 300}
    delta = {"type": "message_delta", "delta": {"stop_reason": why, "stop_sequence": None}, "usage": usage}
    return [_named(each) for each in (start, *middle, delta, {"type": "message_stop"})]


def _block(index: int, start: Json, deltas: Sequence[Json]) -> list[Json]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _text(index: int, pieces: Sequence[str]) -> list[Json]:
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return _block(index, {"type": "text", "text": ""}, deltas)


def stream_messages(asked: Json, pieces: Sequence[str]) -> list[Sent]:
    """A streamed message."""
    return _framed(asked, _text(0, pieces), "end_turn")


def words_messages(events: Sequence[Event]) -> str:
    """The text of a stream."""
    deltas = [data.get("delta") for _, data in events if isinstance(data, dict)]
    return "".join(str(delta.get("text", "")) for delta in deltas if isinstance(delta, dict))


def tools_messages(asked: Json, calls: Sequence[Sequence[str]]) -> list[Sent]:
    """Tool calls, one block after the other, as the API has them."""
    middle: list[Json] = []
    for index, call in enumerate(calls):
        start = {"type": "tool_use", "id": f"toolu_{index}", "name": f"tool_{index}", "input": {}}
        middle += _block(index, start, [{"type": "input_json_delta", "partial_json": piece} for piece in call])
    return _framed(asked, middle, "tool_use")


def arguments_messages(events: Sequence[Event]) -> dict[str, str]:
    """Index and name of each tool call in a stream, and its arguments."""
    names: dict[Any, str] = {}
    said: dict[Any, str] = {}
    for _, data in events:
        kind = data.get("type") if isinstance(data, dict) else None
        if kind == "content_block_start":
            names[data.get("index")] = data.get("content_block", {}).get("name", "")
        elif kind == "content_block_delta" and "partial_json" in data.get("delta", {}):
            at = data.get("index")
            said[at] = said.get(at, "") + data["delta"]["partial_json"]
    return {f"{index} {names.get(index, '')}": text for index, text in said.items()}


def thinking_messages(asked: Json) -> list[Sent]:
    """A stream with signed and with redacted thinking before its text."""
    start = {"type": "thinking", "thinking": "", "signature": ""}
    deltas: list[Json] = [
        {"type": "thinking_delta", "thinking": "First one,\n"},
        {"type": "thinking_delta", "thinking": " then the other. "},
        {"type": "signature_delta", "signature": SIGNATURE},
    ]
    middle = [*_block(0, start, deltas), *_block(1, HIDDEN, []), *_text(2, ["Done."])]
    return _framed(asked, middle, "end_turn")


def ask_count(model: str, text: str) -> Json:
    """The least request for a count."""
    return {"model": model, "messages": [{"role": "user", "content": text}]}


def whole_count(_: Json, __: str) -> Json:
    """A count of tokens."""
    return {"input_tokens": 2095, **NEW}


MESSAGES = Dialect(
    "messages",
    "/v1/messages",
    "anthropic",
    ask_messages,
    whole_messages,
    stream_messages,
    words_messages,
    tools_messages,
    arguments_messages,
    thinking_messages,
    thought_messages,
    ("conform_new_event", {"type": "conform_new_event", "index": 0, "kept": True}),
)
COUNT = Dialect("count_tokens", "/v1/messages/count_tokens", "anthropic", ask_count, whole_count)
