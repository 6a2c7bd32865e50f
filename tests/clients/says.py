"""The fake provider's answers in the shape of each API: a whole body, and the frames of a stream.

Pure. The shapes, and the order of events, are those of the real APIs, with the fields that they send today.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from collections.abc import Iterator
from typing import Any

from tests.clients.wanted import SIGNATURE, Call, Json, Said, cut_up

CREATED = 1_750_000_000
DONE = b"data: [DONE]\n\n"


def data(value: object) -> bytes:
    """One frame without a name."""
    return b"data: " + json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def named(value: Json) -> bytes:
    """One frame whose name is the value's `type`."""
    return f"event: {value['type']}\n".encode() + data(value)


# --- chat completions ------------------------------------------------------------------------------------------

CHAT_USAGE = {
    "prompt_tokens": 21,
    "completion_tokens": 13,
    "total_tokens": 34,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 3,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}


def _chat_head(asked: Json, kind: str) -> Json:
    return {"id": "chatcmpl-fake", "object": kind, "created": CREATED, "model": asked["model"]}


def _chat_tail() -> Json:
    return {"service_tier": "default", "system_fingerprint": "fp_fake"}


def _chat_why(said: Said) -> str:
    return "tool_calls" if said.calls else "length" if said.cut_off else "stop"


def _chat_call(call: Call, arguments: str) -> Json:
    return {"id": f"call_{call.id}", "type": "function", "function": {"name": call.name, "arguments": arguments}}


def chat_whole(asked: Json, said: Said) -> Json:
    """A `chat.completion`."""
    message: Json = {"role": "assistant", "content": None if said.calls else said.text}
    if said.calls:
        message["tool_calls"] = [_chat_call(call, call.arguments) for call in said.calls]
    message |= {"refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _chat_why(said)}
    return {**_chat_head(asked, "chat.completion"), "choices": [choice], "usage": CHAT_USAGE, **_chat_tail()}


def _chat_deltas(said: Said) -> Iterator[Json]:
    if not said.calls:
        yield {"role": "assistant", "content": "", "refusal": None}
        yield from ({"content": piece} for piece in said.pieces())
        return
    for index, call in enumerate(said.calls):
        first = {"index": index, **_chat_call(call, "")}
        yield {"tool_calls": [first]} if index else {"role": "assistant", "content": None, "tool_calls": [first]}
        for piece in cut_up(call.arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def chat_frames(asked: Json, said: Said) -> Iterator[bytes]:
    """`chat.completion.chunk`s."""
    counted = bool((asked.get("stream_options") or {}).get("include_usage"))
    head = {**_chat_head(asked, "chat.completion.chunk"), **_chat_tail()}
    none = {"usage": None} if counted else {}
    for delta in _chat_deltas(said):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        yield data({**head, "choices": [choice], **none, "obfuscation": "aXk"})
    last = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": _chat_why(said)}
    yield data({**head, "choices": [last], **none})
    if counted:
        yield data({**head, "choices": [], "usage": CHAT_USAGE})
    yield DONE


# --- completions, embeddings, moderations ----------------------------------------------------------------------


def _completion(asked: Json, text: str, why: str | None) -> Json:
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": why}
    head = {"id": "cmpl-fake", "object": "text_completion", "created": CREATED, "model": asked["model"]}
    return {**head, "choices": [choice]}


def completions_whole(asked: Json, said: Said) -> Json:
    """A `text_completion`."""
    return {**_completion(asked, said.text, _chat_why(said)), "usage": CHAT_USAGE, "system_fingerprint": "fp_fake"}


def completions_frames(asked: Json, said: Said) -> Iterator[bytes]:
    """`text_completion`s, piece by piece."""
    yield from (data(_completion(asked, piece, None)) for piece in said.pieces())
    yield data(_completion(asked, "", _chat_why(said)))
    if (asked.get("stream_options") or {}).get("include_usage"):
        yield data({**_completion(asked, "", None), "choices": [], "usage": CHAT_USAGE})
    yield DONE


def embeddings(asked: Json) -> Json:
    """A list of embeddings, as numbers or as base64 of little-endian floats."""
    many = asked["input"] if isinstance(asked["input"], list) and isinstance(asked["input"][0], str | list) else [""]
    vectors = [[(i + 1) / (j + 2) for j in range(asked.get("dimensions") or 8)] for i in range(len(many))]
    entries = [{"object": "embedding", "index": i, "embedding": _coded(asked, v)} for i, v in enumerate(vectors)]
    return {
        "object": "list",
        "data": entries,
        "model": asked["model"],
        "usage": {"prompt_tokens": 9, "total_tokens": 9},
    }


def _coded(asked: Json, vector: list[float]) -> list[float] | str:
    packed = struct.pack(f"<{len(vector)}f", *vector)
    if asked.get("encoding_format") == "base64":
        return base64.b64encode(packed).decode()
    return list(struct.unpack(f"<{len(vector)}f", packed))


_HARMS = (
    "harassment", "harassment/threatening", "sexual", "hate", "hate/threatening", "illicit", "illicit/violent",
    "self-harm/intent", "self-harm/instructions", "self-harm", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip


def moderation(asked: Json) -> Json:
    """A moderation that finds nothing."""
    result = {
        "flagged": False,
        "categories": dict.fromkeys(_HARMS, False),
        "category_scores": dict.fromkeys(_HARMS, 0.001),
        "category_applied_input_types": {harm: ["text"] for harm in _HARMS},
    }
    many = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    return {"id": "modr-fake", "model": asked.get("model", "omni-moderation-latest"), "results": [result] * len(many)}


# --- responses -------------------------------------------------------------------------------------------------

RESPONSES_USAGE = {
    "input_tokens": 21,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 13,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 34,
}

_ECHOED: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
"""What a response repeats of its request, and what stands there where the request said nothing."""


_ADDRESS = re.compile(r"[\w.]+@\w+\.\w+|\bEMAIL_[a-z0-9]+\b")


def _response_id(asked: Json) -> str:
    """One for each request; the same whether an address in it was masked or not."""
    return "resp_" + hashlib.sha256(_ADDRESS.sub("", json.dumps(asked, sort_keys=True)).encode()).hexdigest()[:48]


def response(asked: Json, status: str, output: list[Json], why: str | None = None) -> Json:
    """The object that whole answers are, and that the first and last events of a stream carry."""
    return {
        "id": _response_id(asked),
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        "completed_at": CREATED + 1 if status == "completed" else None,
        "error": None,
        "incomplete_details": {"reason": why} if why else None,
        "model": asked["model"],
        "output": output,
        "service_tier": "default",
        "usage": RESPONSES_USAGE if status in {"completed", "incomplete"} else None,
        **{name: asked.get(name, otherwise) for name, otherwise in _ECHOED.items()},
    }


def response_items(asked: Json, said: Said) -> list[Json]:
    """The output of a finished response."""
    items: list[Json] = []
    if said.thought:
        summary = [{"type": "summary_text", "text": said.thought}]
        sealed = "reasoning.encrypted_content" in (asked.get("include") or [])
        items.append({"id": "rs_fake", "type": "reasoning", "summary": summary})
        items[-1] |= {"encrypted_content": SIGNATURE} if sealed else {}
    items += [
        {
            "id": f"fc_{call.id}",
            "type": "function_call",
            "status": "completed",
            "arguments": call.arguments,
            "call_id": f"call_{call.id}",
            "name": call.name,
        }
        for call in said.calls
    ]
    if not said.calls:
        content = [{"type": "output_text", "annotations": [], "logprobs": [], "text": said.text}]
        status = "incomplete" if said.cut_off else "completed"
        items.append({"id": "msg_fake", "type": "message", "status": status, "content": content, "role": "assistant"})
    return items


def response_whole(asked: Json, said: Said) -> Json:
    """A `response`."""
    how = ("incomplete", "max_output_tokens") if said.cut_off else ("completed", None)
    return response(asked, how[0], response_items(asked, said), how[1])


_KINDS = {
    "message": ("content_part", "output_text"),
    "reasoning": ("reasoning_summary_part", "reasoning_summary_text"),
}
"""What the events of an item's part, and of its text, are called."""


def _item_events(item: Json, at: int) -> Iterator[Json]:
    """The events between an item's `added` and its `done`."""
    here = {"item_id": item["id"], "output_index": at}
    if item["type"] == "function_call":
        for piece in cut_up(item["arguments"]):
            yield {"type": "response.function_call_arguments.delta", **here, "delta": piece}
        whole = {"name": item["name"], "arguments": item["arguments"]}
        yield {"type": "response.function_call_arguments.done", **here, **whole}
        return
    reasoned = item["type"] == "reasoning"
    kind, text_kind = (
        ("reasoning_summary_part", "reasoning_summary_text") if reasoned else ("content_part", "output_text")
    )
    part = item["summary"][0] if reasoned else item["content"][0]
    here |= {"summary_index": 0} if reasoned else {"content_index": 0}
    probable: Json = {} if reasoned else {"logprobs": []}
    yield {"type": f"response.{kind}.added", **here, "part": {**part, "text": ""}}
    for piece in cut_up(part["text"]):
        yield {"type": f"response.{text_kind}.delta", **here, "delta": piece, **probable, "obfuscation": "x"}
    yield {"type": f"response.{text_kind}.done", **here, "text": part["text"], **probable}
    yield {"type": f"response.{kind}.done", **here, "part": part}


_EMPTY: dict[str, Json] = {
    "message": {"status": "in_progress", "content": []},
    "reasoning": {"summary": []},
    "function_call": {"status": "in_progress", "arguments": ""},
}
"""What an item of each kind has when it begins."""


def _response_events(asked: Json, said: Said) -> Iterator[Json]:
    begun, done = response(asked, "in_progress", []), response_whole(asked, said)
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for at, item in enumerate(done["output"]):
        yield {"type": "response.output_item.added", "output_index": at, "item": {**item, **_EMPTY[item["type"]]}}
        yield from _item_events(item, at)
        yield {"type": "response.output_item.done", "output_index": at, "item": item}
    yield {"type": f"response.{done['status']}", "response": done}


def response_frames(asked: Json, said: Said) -> Iterator[bytes]:
    """The events of a response, numbered."""
    for number, event in enumerate(_response_events(asked, said)):
        yield named({"type": event["type"], "sequence_number": number, **event})


# --- messages --------------------------------------------------------------------------------------------------


def _messages_usage(made: int) -> Json:
    return {
        "input_tokens": 17,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 4,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": made,
        "service_tier": "standard",
    }


def _messages_why(said: Said) -> str:
    return "tool_use" if said.calls else "max_tokens" if said.cut_off else "end_turn"


def _message(asked: Json, content: list[Json], why: str | None, made: int) -> Json:
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": content,
        "stop_reason": why,
        "stop_sequence": None,
        "usage": _messages_usage(made),
    }


def _blocks(said: Said) -> list[Json]:
    blocks: list[Json] = []
    if said.thought:
        blocks.append({"type": "thinking", "thinking": said.thought, "signature": SIGNATURE})
    if not said.calls:
        blocks.append({"type": "text", "text": said.text})
    return blocks + [
        {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": json.loads(call.arguments)}
        for call in said.calls
    ]


def messages_whole(asked: Json, said: Said) -> Json:
    """A `message`."""
    return _message(asked, _blocks(said), _messages_why(said), 13)


def _block_deltas(block: Json) -> Iterator[Json]:
    if block["type"] == "thinking":
        yield from ({"type": "thinking_delta", "thinking": piece} for piece in cut_up(block["thinking"]))
        yield {"type": "signature_delta", "signature": block["signature"]}
    elif block["type"] == "tool_use":
        pieces = ["", *cut_up(json.dumps(block["input"], separators=(",", ":")))]
        yield from ({"type": "input_json_delta", "partial_json": piece} for piece in pieces)
    else:
        yield from ({"type": "text_delta", "text": piece} for piece in cut_up(block["text"]))


_BARE: dict[str, Json] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
}
"""What a block of each kind has when it begins."""


def _message_events(asked: Json, said: Said) -> Iterator[Json]:
    yield {"type": "message_start", "message": _message(asked, [], None, 1)}
    for index, block in enumerate(_blocks(said)):
        yield {"type": "content_block_start", "index": index, "content_block": {**block, **_BARE[block["type"]]}}
        if index == 0:
            yield {"type": "ping"}
        for delta in _block_deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    why = {"stop_reason": _messages_why(said), "stop_sequence": None}
    counts = {k: v for k, v in _messages_usage(13).items() if isinstance(v, int)}
    yield {"type": "message_delta", "delta": why, "usage": counts}
    yield {"type": "message_stop"}


def messages_frames(asked: Json, said: Said) -> Iterator[bytes]:
    """The events of a message."""
    yield from map(named, _message_events(asked, said))


# --- errors ----------------------------------------------------------------------------------------------------

OPENAI_ERRORS: dict[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
"""Status → type and code."""

ANTHROPIC_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def openai_error(status: int) -> Json:
    """An error in OpenAI's words."""
    kind, code = OPENAI_ERRORS.get(status, ("server_error", None))
    return {"error": {"message": f"The fake says {status}.", "type": kind, "param": None, "code": code}}


def anthropic_error(status: int) -> Json:
    """An error in Anthropic's words."""
    error: dict[str, Any] = {"type": ANTHROPIC_ERRORS.get(status, "api_error"), "message": f"The fake says {status}."}
    return {"type": "error", "error": error, "request_id": "req_fake"}
