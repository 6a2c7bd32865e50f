"""What the fake provider says in OpenAI's dialects: chat completions, responses, completions and embeddings.

Shapes, names of events and their order are those of the published API; the words are ours. Unknown members are in it on
purpose: the API grows by them. Pure: no socket, no waiting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, zip_longest
from typing import Any

from membrain_cli.conform.compare import Event
from membrain_cli.conform.dialects import DONE, STAMP, Dialect, Json, Sent

USAGE = {
    "prompt_tokens": 2006,
    "completion_tokens": 300,
    "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 192, "audio_tokens": 0, "accepted_prediction_tokens": 0},
}
NEW = {"conform_new_member": {"kept": True, "list": [1, None, "two"]}}
"""A member that the API might have next year."""


def wants_usage(asked: Json) -> bool:
    """Whether a request asks for the usage of a stream."""
    options = asked.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


# --- chat completions ----------------------------------------------------------------------------------------


def ask_chat(model: str, text: str) -> Json:
    """The least chat request."""
    return {"model": model, "messages": [{"role": "user", "content": text}]}


def _chat_head(asked: Json, kind: str) -> Json:
    names = {"id": "chatcmpl-conform", "object": kind, "created": STAMP, "model": f"{asked.get('model')}-2024-07-18"}
    return {**names, "service_tier": "default", "system_fingerprint": "fp_conform"}


def whole_chat(asked: Json, text: str) -> Json:
    """A chat completion, with an annotation and a refusal's place as the API has them."""
    message: Json = {"role": "assistant", "content": text, "refusal": None, "annotations": [], **NEW}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {**_chat_head(asked, "chat.completion"), "choices": [choice], "usage": USAGE, **NEW}


def _chat_chunk(asked: Json, delta: Json, why: str | None = None) -> Sent:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": why}
    null = {"usage": None} if wants_usage(asked) else {}
    head = _chat_head(asked, "chat.completion.chunk")
    return None, {**head, "choices": [choice], **null, "obfuscation": "aB3dE"}


def _chat_end(asked: Json, why: str) -> Iterator[Sent]:
    yield _chat_chunk(asked, {}, why)
    if wants_usage(asked):
        yield None, {**_chat_head(asked, "chat.completion.chunk"), "choices": [], "usage": USAGE, "obfuscation": ""}
    yield None, DONE


def stream_chat(asked: Json, pieces: Sequence[str]) -> list[Sent]:
    """A streamed chat completion, its usage told if that was asked."""
    first = _chat_chunk(asked, {"role": "assistant", "content": "", "refusal": None})
    return [first, *(_chat_chunk(asked, {"content": piece}) for piece in pieces), *_chat_end(asked, "stop")]


def tools_chat(asked: Json, calls: Sequence[Sequence[str]]) -> list[Sent]:
    """Parallel tool calls, whose fragments take turns."""

    def call(index: int, function: Json, **named: str) -> Sent:
        return _chat_chunk(asked, {"tool_calls": [{"index": index, **named, "function": function}]})

    begins = [
        call(index, {"name": f"tool_{index}", "arguments": ""}, id=f"call_{index}", type="function")
        for index in range(len(calls))
    ]
    turns = [
        call(index, {"arguments": piece})
        for turn in zip_longest(*calls)
        for index, piece in enumerate(turn)
        if piece is not None
    ]
    first = _chat_chunk(asked, {"role": "assistant", "content": None})
    return [first, *begins, *turns, *_chat_end(asked, "tool_calls")]


def words_by_choice(events: Sequence[Event]) -> str:
    """The text of a stream, of chat or completions."""
    choices = [choice for _, data in events if isinstance(data, dict) for choice in data.get("choices") or ()]
    return "".join(choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices)


def arguments_chat(events: Sequence[Event]) -> dict[str, str]:
    """Index and name of each call in a chat stream, and its arguments."""
    names: dict[Any, str] = {}
    said: dict[Any, str] = {}
    for _, data in events:
        for choice in data.get("choices", ()) if isinstance(data, dict) else ():
            for call in choice.get("delta", {}).get("tool_calls") or ():
                index, function = call.get("index"), call.get("function", {})
                names[index] = names.get(index) or function.get("name") or ""
                said[index] = said.get(index, "") + (function.get("arguments") or "")
    return {f"{index} {names[index]}": text for index, text in said.items()}


CHAT = Dialect(
    "chat",
    "/v1/chat/completions",
    "openai",
    ask_chat,
    whole_chat,
    stream_chat,
    words_by_choice,
    tools_chat,
    arguments_chat,
    surprise=(None, {"object": "chat.completion.moderation", "choices": [], "conform_new_member": {"kept": True}}),
)


# --- completions ---------------------------------------------------------------------------------------------


def ask_completions(model: str, text: str) -> Json:
    """The least request of the legacy API."""
    return {"model": model, "prompt": text}


def _text(asked: Json, text: str, why: str | None) -> Json:
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": why}
    head = {"id": "cmpl-conform", "object": "text_completion", "created": STAMP, "model": asked.get("model")}
    return {**head, "choices": [choice]}


def whole_completions(asked: Json, text: str) -> Json:
    """A completion."""
    return {**_text(asked, text, "stop"), "usage": USAGE, **NEW}


def stream_completions(asked: Json, pieces: Sequence[str]) -> list[Sent]:
    """A streamed completion."""
    null: Json = {"usage": None} if wants_usage(asked) else {}
    events: list[Sent] = [(None, {**_text(asked, piece, None), **null}) for piece in pieces]
    events.append((None, {**_text(asked, "", "stop"), **null}))
    if wants_usage(asked):
        events.append((None, {**_text(asked, "", None), "choices": [], "usage": USAGE}))
    return [*events, (None, DONE)]


COMPLETIONS = Dialect(
    "completions", "/v1/completions", "openai", ask_completions, whole_completions, stream_completions, words_by_choice
)


# --- embeddings ----------------------------------------------------------------------------------------------

VECTOR = [0.0023064255, -0.009327292, 1.0, 0.0, -0.0, 1e-07]
"""Numbers that a careless JSON writer turns into others."""
PACKED = "Cj8XOx7RGLwAAIA/AAAAAAAAAICVv9Yz"
"""A vector in base64."""


def ask_embeddings(model: str, text: str) -> Json:
    """The least request of embeddings."""
    return {"model": model, "input": text}


def whole_embeddings(asked: Json, _: str) -> Json:
    """One embedding, as numbers or packed, as was asked."""
    vector = PACKED if asked.get("encoding_format") == "base64" else VECTOR
    row = {"object": "embedding", "index": 0, "embedding": vector}
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    return {"object": "list", "data": [row], "model": asked.get("model"), "usage": usage, **NEW}


EMBEDDINGS = Dialect("embeddings", "/v1/embeddings", "openai", ask_embeddings, whole_embeddings)


# --- responses -----------------------------------------------------------------------------------------------

RESPONSE_USAGE = {
    "input_tokens": 2006,
    "input_tokens_details": {"cached_tokens": 1920, "cache_write_tokens": 0},
    "output_tokens": 300,
    "output_tokens_details": {"reasoning_tokens": 192},
    "total_tokens": 2306,
}
SEALED = "gAAAAABconformSealed+/=="
"""What a provider keeps in a reasoning item, for itself alone."""


def ask_responses(model: str, text: str) -> Json:
    """The least request of responses."""
    return {"model": model, "input": [{"role": "user", "content": [{"type": "input_text", "text": text}]}]}


def _response(asked: Json, status: str, output: Sequence[Json] = ()) -> Json:
    done = status == "completed"
    return {
        "id": "resp_conform",
        "object": "response",
        "created_at": STAMP,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": asked.get("model"),
        "output": [*output],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": RESPONSE_USAGE if done else None,
        "metadata": {},
        **NEW,
    }


def _message(text: str, status: str = "completed") -> Json:
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    content = [part] if status == "completed" else []
    return {"id": "msg_conform", "type": "message", "status": status, "content": content, "role": "assistant"}


def _numbered(events: Sequence[Json]) -> list[Sent]:
    """Events with the number each has in its stream, under the name that is also their type."""
    numbers = count()
    return [(event["type"], {**event, "sequence_number": next(numbers)}) for event in events]


def _framed(asked: Json, middle: Sequence[Json], output: Sequence[Json]) -> list[Sent]:
    begun = _response(asked, "in_progress")
    begins = [{"type": f"response.{name}", "response": begun} for name in ("created", "in_progress")]
    done = {"type": "response.completed", "response": _response(asked, "completed", output)}
    return _numbered([*begins, *middle, done])


def _text_events(pieces: Sequence[str], output: int = 0) -> list[Json]:
    text = "".join(pieces)
    at = {"item_id": "msg_conform", "output_index": output, "content_index": 0}
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    begin = {"type": "response.output_item.added", "output_index": output, "item": _message("", "in_progress")}
    deltas = [{"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []} for piece in pieces]
    return [
        begin,
        {"type": "response.content_part.added", **at, "part": part},
        *deltas,
        {"type": "response.output_text.done", **at, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **at, "part": {**part, "text": text}},
        {"type": "response.output_item.done", "output_index": output, "item": _message(text)},
    ]


def whole_responses(asked: Json, text: str) -> Json:
    """A response."""
    return _response(asked, "completed", [_message(text)])


def stream_responses(asked: Json, pieces: Sequence[str]) -> list[Sent]:
    """A streamed response."""
    return _framed(asked, _text_events(pieces), [_message("".join(pieces))])


def words_responses(events: Sequence[Event]) -> str:
    """The text of a stream."""
    deltas = [data for _, data in events if isinstance(data, dict) and data.get("type") == "response.output_text.delta"]
    return "".join(str(data.get("delta", "")) for data in deltas)


def tools_responses(asked: Json, calls: Sequence[Sequence[str]]) -> list[Sent]:
    """Function calls, whose fragments take turns."""

    def item(index: int, arguments: str, status: str) -> Json:
        names = {"id": f"fc_{index}", "type": "function_call", "call_id": f"call_{index}", "name": f"tool_{index}"}
        return {**names, "status": status, "arguments": arguments}

    def at(index: int) -> Json:
        return {"item_id": f"fc_{index}", "output_index": index}

    def added(index: int, status: str, arguments: str, kind: str) -> Json:
        return {"type": kind, "output_index": index, "item": item(index, arguments, status)}

    done = [item(index, "".join(call), "completed") for index, call in enumerate(calls)]
    begins = [added(index, "in_progress", "", "response.output_item.added") for index in range(len(calls))]
    turns = [
        {"type": "response.function_call_arguments.delta", **at(index), "delta": piece}
        for turn in zip_longest(*calls)
        for index, piece in enumerate(turn)
        if piece is not None
    ]
    ends = []
    for index, call in enumerate(calls):
        text = "".join(call)
        ends.append({"type": "response.function_call_arguments.done", **at(index), "arguments": text})
        ends.append(added(index, "completed", text, "response.output_item.done"))
    return _framed(asked, [*begins, *turns, *ends], done)


def arguments_responses(events: Sequence[Event]) -> dict[str, str]:
    """Index and name of each call in a stream of a response, and its arguments."""
    names: dict[Any, str] = {}
    said: dict[Any, str] = {}
    for _, data in events:
        kind = data.get("type") if isinstance(data, dict) else None
        if kind == "response.output_item.added":
            names[data.get("output_index")] = data.get("item", {}).get("name", "")
        elif kind == "response.function_call_arguments.delta":
            at = data.get("output_index")
            said[at] = said.get(at, "") + data.get("delta", "")
    return {f"{index} {names.get(index, '')}": text for index, text in said.items()}


def _reasoning() -> Json:
    summary = [{"type": "summary_text", "text": "First one, then the other."}]
    return {"id": "rs_conform", "type": "reasoning", "summary": summary, "encrypted_content": SEALED}


def thought_responses(asked: Json) -> Json:
    """A response with a sealed reasoning item before its text."""
    return _response(asked, "completed", [_reasoning(), _message("Done.")])


def thinking_responses(asked: Json) -> list[Sent]:
    """The same as a stream."""
    item = _reasoning()
    at = {"item_id": item["id"], "output_index": 0, "summary_index": 0}
    text = item["summary"][0]["text"]
    part: Json = {"type": "summary_text", "text": ""}
    middle: list[Json] = [
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "summary": []}},
        {"type": "response.reasoning_summary_part.added", **at, "part": part},
        {"type": "response.reasoning_summary_text.delta", **at, "delta": text},
        {"type": "response.reasoning_summary_text.done", **at, "text": text},
        {"type": "response.reasoning_summary_part.done", **at, "part": {**part, "text": text}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        *_text_events(["Done."], 1),
    ]
    return _framed(asked, middle, [item, _message("Done.")])


RESPONSES = Dialect(
    "responses",
    "/v1/responses",
    "openai",
    ask_responses,
    whole_responses,
    stream_responses,
    words_responses,
    tools_responses,
    arguments_responses,
    thinking_responses,
    thought_responses,
    ("response.conform.delta", {"type": "response.conform.delta", "sequence_number": 99, "delta": "kept"}),
)
