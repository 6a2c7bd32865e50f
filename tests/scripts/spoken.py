"""What an answer says, whole or streamed, in whichever dialect: put together the plain way, to compare with another."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from membrain.dialects.base import Json


@dataclass
class Spoken:
    """What an answer says, in no dialect."""

    text: str = ""
    thought: str = ""
    refusal: str = ""
    calls: dict[Any, list[str]] = field(default_factory=dict)
    """By index or id: name and arguments."""
    finish: object = None

    def call(self, key: object, name: str | None, arguments: str | None) -> None:
        known = self.calls.setdefault(key, ["", ""])
        known[0] += name or ""
        known[1] += arguments or ""

    @property
    def comparable(self) -> dict[str, Any]:
        """Arguments as data: an object that was told as such may be written in many ways."""
        calls = [(name, json.loads(arguments or "{}")) for name, arguments in self.calls.values()]
        return {**vars(self), "calls": calls}


def of_chat(spoken: Spoken, data: Json) -> None:
    for choice in data.get("choices", ()):
        said = choice.get("delta") or choice.get("message") or {}
        spoken.text += said.get("content") or choice.get("text") or ""
        spoken.thought += said.get("reasoning_content") or ""
        spoken.refusal += said.get("refusal") or ""
        spoken.finish = choice.get("finish_reason") or spoken.finish
        for place, call in enumerate(said.get("tool_calls") or ()):
            function = call.get("function") or {}
            spoken.call(call.get("index", place), function.get("name"), function.get("arguments"))


def of_message(spoken: Spoken, data: Json) -> None:
    kind, place = data.get("type"), data.get("index")
    if kind == "message":
        for index, block in enumerate(data["content"]):
            of_block(spoken, index, block, json.dumps(block.get("input")))
        spoken.finish = data["stop_reason"]
    elif kind == "content_block_start":
        of_block(spoken, place, data["content_block"], "")
    elif kind == "content_block_delta":
        of_block(spoken, place, data["delta"], data["delta"].get("partial_json", ""))
    elif kind == "message_delta":
        spoken.finish = data["delta"]["stop_reason"]


def of_block(spoken: Spoken, index: object, block: Json, arguments: str) -> None:
    spoken.text += block.get("text", "")
    spoken.thought += block.get("thinking", "")
    if block["type"] in {"tool_use", "input_json_delta"}:
        spoken.call(index, block.get("name"), arguments)


def of_response(spoken: Spoken, data: Json) -> None:
    kind, place = data.get("type", ""), data.get("output_index")
    if data.get("object") == "response":
        for index, item in enumerate(data["output"]):
            of_item(spoken, index, item)
        spoken.finish = (data["status"], data.get("incomplete_details"))
    elif kind == "response.output_text.delta":
        spoken.text += data["delta"]
    elif kind in {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}:
        spoken.thought += data["delta"]
    elif kind == "response.refusal.delta":
        spoken.refusal += data["delta"]
    elif kind == "response.output_item.added" and data["item"]["type"] == "function_call":
        spoken.call(place, data["item"]["name"], "")
    elif kind == "response.function_call_arguments.delta":
        spoken.call(place, "", data["delta"])
    elif kind in {"response.completed", "response.incomplete"}:
        spoken.finish = (data["response"]["status"], data["response"].get("incomplete_details"))


def of_item(spoken: Spoken, index: int, item: Json) -> None:
    for part in item.get("content") or ():
        spoken.text += part.get("text", "")
        spoken.refusal += part.get("refusal", "")
    for part in item.get("summary") or ():
        spoken.thought += part.get("text", "")
    if item["type"] == "function_call":
        spoken.call(index, item["name"], item["arguments"])


OF: Mapping[str, Callable[[Spoken, Json], None]] = {
    "chat": of_chat,
    "completions": of_chat,
    "messages": of_message,
    "responses": of_response,
}


def put_together(dialect: str, *data: Json) -> Spoken:
    """What these events, or this whole answer, say."""
    spoken = Spoken()
    for each in data:
        OF[dialect](spoken, each)
    return spoken


def spoken_in(dialect: str, *data: Json) -> dict[str, Any]:
    """The same, to be compared with another answer's."""
    return put_together(dialect, *data).comparable
