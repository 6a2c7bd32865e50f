"""What the fake upstream says: a request as a dict in, a whole body and the frames of a stream out.

Pure: no socket, no waiting. `sink.py` sends it, at the pace and with the trouble asked for.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

WORDS = "The sink hears you and answers with plain words."
UNUSUAL = "one\u2028two\u0085three"


def as_bytes(body: object) -> bytes:
    """Bytes as they are, text as UTF-8, anything else as JSON in UTF-8 (or escaped, if it holds half a pair)."""
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(body, separators=(",", ":")).encode()


@dataclass
class Answer:
    """What to say, before any dialect gives it a shape."""

    id: str
    model: str
    pieces: list[str]
    tool: str = ""
    """Name of the tool to call; its arguments are then in `pieces`."""
    input_tokens: int = 0

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def has_word(words: str, word: str) -> bool:
    """Whether a model name has this word (a pattern) in it."""
    return re.search(rf"(?<![a-z0-9]){word}(?![a-z0-9])", words) is not None


def number_after(words: str, word: str, otherwise: int = 0) -> int:
    """N of `word-N` in a model name."""
    found = re.search(rf"(?<![a-z0-9]){word}-(\d+)", words)
    return int(found[1]) if found else otherwise


def compose(said: Mapping[str, Any], words: str, serial: int, says: str = WORDS) -> Answer:
    """Make up the answer to a request. `words` are the model name, or what a script puts in its place.

    `says` is the text where nothing else is asked for; `{said}` in it is the last user message's.
    """
    messages = turns_of(said)
    tool, schema = wanted_tool(said, messages)
    text = json.dumps(example(schema)) if tool else plain_text(said, words, messages, says)
    pieces = [f"w{i} " for i in range(number_after(words, "chunks"))] if text == WORDS else []
    return Answer(
        id=f"sink-{serial}",
        model=str(said.get("model", "")),
        pieces=pieces or cut_up(text, number_after(words, "chunks", 8)),
        tool=tool,
        input_tokens=len(as_bytes(messages)) // 4 + 1,
    )


def turns_of(said: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What was said by whom, as messages; a bare text is the user's."""
    turns = said.get("messages") or said.get("input") or said.get("prompt") or []
    turns = turns if isinstance(turns, list) else [turns]
    return [{"role": "user", "content": each} if isinstance(each, str) else each for each in turns]


def plain_text(said: Mapping[str, Any], words: str, messages: Sequence[Mapping[str, Any]], says: str) -> str:
    wanted = said.get("response_format") or (said.get("text") or {}).get("format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        return json.dumps(example(wanted.get("json_schema", wanted).get("schema", {})))
    asked = next((text_of(m.get("content")) for m in reversed(messages) if m.get("role") == "user"), "")
    if "echo" in words:
        return asked
    return UNUSUAL if has_word(words, "u2028") else says.replace("{said}", asked)


def text_of(content: object) -> str:
    if not isinstance(content, list):
        return str(content or "")
    parts = [part for part in content if isinstance(part, dict)]
    return "".join(str(part.get("text", "")) or text_of(part.get("content")) for part in parts)


def cut_up(text: str, n: int) -> list[str]:
    """At most `n` pieces of nearly equal length, cut without regard for words."""
    size = max(1, -(-len(text) // max(1, n)))
    return [text[i : i + size] for i in range(0, len(text), size)]


def wanted_tool(said: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> tuple[str, Mapping[str, Any]]:
    """The tool to call and its schema: the named one or the first, when a person (not a tool) spoke last."""
    tools, choice = said.get("tools") or [], said.get("tool_choice")
    named = choice.get("function", choice).get("name") if isinstance(choice, dict) else None
    refused = choice == "none" or (isinstance(choice, dict) and choice.get("type") == "none")
    last = messages[-1] if messages else {}
    parts = last.get("content") if isinstance(last.get("content"), list) else []
    results = [p for p in parts or [] if isinstance(p, dict) and p.get("type") == "tool_result"]
    if not tools or refused or results or last.get("role") != "user":
        return "", {}
    flat = [tool.get("function", tool) for tool in tools]
    tool = next((t for t in flat if t.get("name") == named), flat[0])
    return str(tool.get("name", "")), tool.get("parameters") or tool.get("input_schema") or {}


EXAMPLES: dict[str, Any] = {
    "string": "Ada",
    "integer": 36,
    "number": 1.5,
    "boolean": True,
    "array": [],
    "null": None,
}


def example(schema: Mapping[str, Any]) -> Any:
    """A value that fits a simple JSON schema: {name: str, age: int} gives {"name": "Ada", "age": 36}."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind != "object":
        return EXAMPLES[kind]
    return {name: example(part) for name, part in schema.get("properties", {}).items()}


@dataclass
class Frames:
    """A stream in three parts, so that trouble can come after half of the middle."""

    opening: list[bytes]
    middle: list[bytes]
    closing: list[bytes]


def data_frame(value: object) -> bytes:
    return b"data: " + as_bytes(value) + b"\n\n"


def event(name: str, value: object) -> bytes:
    return f"event: {name}\n".encode() + data_frame(value)


def openai_usage(composed: Answer) -> dict[str, Any]:
    given, made = composed.input_tokens, len(composed.pieces)
    return {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def openai_base(composed: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{composed.id}",
        "object": kind,
        "created": int(time.time()),
        "model": composed.model,
        "system_fingerprint": "fp_sink",
        "x_unknown": {"kept": True},
    }


def openai_call(composed: Answer, arguments: str) -> dict[str, Any]:
    function = {"name": composed.tool, "arguments": arguments}
    return {"id": f"call_{composed.id}", "type": "function", "function": function}


def openai_logprobs(said: Mapping[str, Any], pieces: Sequence[str]) -> dict[str, Any] | None:
    if not said.get("logprobs"):
        return None
    tokens = [{"token": p, "logprob": -0.5, "bytes": list(p.encode()), "top_logprobs": []} for p in pieces]
    return {"content": tokens, "refusal": None}


def openai_whole(said: Mapping[str, Any], composed: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": composed.text, "refusal": None}
    if composed.tool:
        message |= {"content": None, "tool_calls": [openai_call(composed, composed.text)]}
    choice = {
        "message": message,
        "logprobs": openai_logprobs(said, composed.pieces),
        "finish_reason": "tool_calls" if composed.tool else "stop",
    }
    choices = [{"index": i, **choice} for i in range(said.get("n") or 1)]
    return {**openai_base(composed, "chat.completion"), "choices": choices, "usage": openai_usage(composed)}


def openai_frames(said: Mapping[str, Any], composed: Answer) -> Frames:
    everyone = range(said.get("n") or 1)
    wants_usage = bool((said.get("stream_options") or {}).get("include_usage"))
    base = openai_base(composed, "chat.completion.chunk") | ({"usage": None} if wants_usage else {})

    def frame(i: int, delta: Mapping[str, Any], why: str | None = None, logprobs: object = None) -> bytes:
        choice = {"index": i, "delta": delta, "logprobs": logprobs, "finish_reason": why}
        return data_frame({**base, "choices": [choice]})

    first: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    if composed.tool:
        first |= {"content": None, "tool_calls": [{"index": 0, **openai_call(composed, "")}]}
    middle = [
        frame(i, openai_delta(composed, p), None, openai_logprobs(said, [p])) for p in composed.pieces for i in everyone
    ]
    closing = [frame(i, {}, "tool_calls" if composed.tool else "stop") for i in everyone]
    if wants_usage:
        closing.append(data_frame({**base, "choices": [], "usage": openai_usage(composed)}))
    return Frames([frame(i, first) for i in everyone], middle, [*closing, b"data: [DONE]\n\n"])


def openai_delta(composed: Answer, piece: str) -> dict[str, Any]:
    if not composed.tool:
        return {"content": piece}
    return {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}


def anthropic_whole(composed: Answer) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": composed.text}
    if composed.tool:
        block = anthropic_tool(composed, json.loads(composed.text))
    return {
        **anthropic_head(composed),
        "content": [block],
        "stop_reason": "tool_use" if composed.tool else "end_turn",
        "usage": anthropic_usage(composed, len(composed.pieces)),
    }


def anthropic_head(composed: Answer) -> dict[str, Any]:
    return {
        "id": f"msg_{composed.id}",
        "type": "message",
        "role": "assistant",
        "model": composed.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": anthropic_usage(composed, 1),
        "x_unknown": {"kept": True},
    }


def anthropic_usage(composed: Answer, made: int) -> dict[str, Any]:
    given = composed.input_tokens
    cache = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {"input_tokens": given, **cache, "output_tokens": made}


def anthropic_tool(composed: Answer, given: object) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{composed.id}", "name": composed.tool, "input": given}


def anthropic_frames(composed: Answer) -> Frames:
    block = anthropic_tool(composed, {}) if composed.tool else {"type": "text", "text": ""}
    kind, key = ("input_json_delta", "partial_json") if composed.tool else ("text_delta", "text")
    why = {"stop_reason": "tool_use" if composed.tool else "end_turn", "stop_sequence": None}

    def frame(name: str, **more: object) -> bytes:
        return event(name, {"type": name, **more})

    opening = [
        frame("message_start", message=anthropic_head(composed)),
        frame("ping"),
        frame("content_block_start", index=0, content_block=block),
    ]
    middle = [frame("content_block_delta", index=0, delta={"type": kind, key: piece}) for piece in composed.pieces]
    closing = [
        frame("content_block_stop", index=0),
        frame("message_delta", delta=why, usage={"output_tokens": len(composed.pieces)}),
        frame("message_stop"),
    ]
    return Frames(opening, middle, closing)


# --- OpenAI's legacy completions


def completions_base(composed: Answer) -> dict[str, Any]:
    """The members that every piece has."""
    return openai_base(composed, "text_completion") | {"id": f"cmpl-{composed.id}"}


def completions_choices(said: Mapping[str, Any]) -> range:
    """One for each prompt, times `n`."""
    prompt = said.get("prompt")
    return range((said.get("n") or 1) * (len(prompt) if isinstance(prompt, list) else 1))


def completions_whole(said: Mapping[str, Any], composed: Answer) -> dict[str, Any]:
    choice = {"text": composed.text, "logprobs": None, "finish_reason": "stop"}
    choices = [{"index": i, **choice} for i in completions_choices(said)]
    return {**completions_base(composed), "choices": choices, "usage": openai_usage(composed)}


def completions_frames(said: Mapping[str, Any], composed: Answer) -> Frames:
    everyone = completions_choices(said)
    wants_usage = bool((said.get("stream_options") or {}).get("include_usage"))
    base = completions_base(composed) | ({"usage": None} if wants_usage else {})

    def frame(i: int, text: str, why: str | None = None) -> bytes:
        return data_frame({**base, "choices": [{"text": text, "index": i, "logprobs": None, "finish_reason": why}]})

    middle = [frame(i, piece) for piece in composed.pieces for i in everyone]
    closing = [frame(i, "", "stop") for i in everyone]
    if wants_usage:
        closing.append(data_frame({**base, "choices": [], "usage": openai_usage(composed)}))
    return Frames([], middle, [*closing, b"data: [DONE]\n\n"])


# --- OpenAI's responses


def responses_item(composed: Answer, *, done: bool = True) -> dict[str, Any]:
    """The one item of the output: a message, or the call of a tool."""
    status = "completed" if done else "in_progress"
    if composed.tool:
        said = {"arguments": composed.text if done else "", "call_id": f"call_{composed.id}", "name": composed.tool}
        return {"id": f"fc_{composed.id}", "type": "function_call", "status": status, **said}
    content = [responses_part(composed.text)] if done else []
    return {"id": f"msg_{composed.id}", "type": "message", "status": status, "content": content, "role": "assistant"}


def responses_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def responses_usage(composed: Answer) -> dict[str, Any]:
    given, made = composed.input_tokens, len(composed.pieces)
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    return {"input_tokens": given, "output_tokens": made, "total_tokens": given + made, **details}


def responses_head(said: Mapping[str, Any], composed: Answer) -> dict[str, Any]:
    asked = {"tool_choice": "auto", "tools": [], "parallel_tool_calls": True, "metadata": {}, "text": {}}
    return {
        "id": f"resp_{composed.id}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": composed.model,
        "output": [],
        **{name: said.get(name, value) for name, value in asked.items()},
        "temperature": 1.0,
        "top_p": 1.0,
        "usage": None,
        "x_unknown": {"kept": True},
    }


def responses_whole(said: Mapping[str, Any], composed: Answer) -> dict[str, Any]:
    output = [responses_item(composed)]
    more = {"status": "completed", "output": output, "usage": responses_usage(composed)}
    return responses_head(said, composed) | more


def responses_frames(said: Mapping[str, Any], composed: Answer) -> Frames:
    numbers = count()
    item = responses_item(composed)
    at = {"item_id": item["id"], "output_index": 0} | ({} if composed.tool else {"content_index": 0})

    def frame(kind: str, **more: object) -> bytes:
        kind = f"response.{kind}"
        return event(kind, {"type": kind, **more, "sequence_number": next(numbers)})

    head = responses_head(said, composed)
    opening = [
        frame("created", response=head),
        frame("in_progress", response=head),
        frame("output_item.added", output_index=0, item=responses_item(composed, done=False)),
    ]
    if composed.tool:
        middle = [frame("function_call_arguments.delta", **at, delta=piece) for piece in composed.pieces]
        closing = [frame("function_call_arguments.done", **at, name=composed.tool, arguments=composed.text)]
    else:
        opening.append(frame("content_part.added", **at, part=responses_part("")))
        middle = [frame("output_text.delta", **at, delta=piece, logprobs=[]) for piece in composed.pieces]
        closing = [
            frame("output_text.done", **at, text=composed.text, logprobs=[]),
            frame("content_part.done", **at, part=responses_part(composed.text)),
        ]
    closing += [
        frame("output_item.done", output_index=0, item=item),
        frame("completed", response=responses_whole(said, composed)),
    ]
    return Frames(opening, middle, closing)


# --- numbers


def embeddings_whole(said: Mapping[str, Any]) -> dict[str, Any]:
    """Three numbers for each text, as floats or in base64."""
    given = said.get("input")
    texts = given if isinstance(given, list) else [given]
    numbers = [0.25, -1.5, 1e-07]
    packed: object = numbers
    if said.get("encoding_format") == "base64":
        packed = base64.b64encode(struct.pack("<3f", *numbers)).decode()
    data = [{"object": "embedding", "index": i, "embedding": packed} for i in range(len(texts))]
    tokens = len(as_bytes(texts)) // 4 + 1
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": said.get("model"), "usage": usage}


def moderations_whole(said: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing is ever flagged."""
    result = {"flagged": False, "categories": {"violence": False}, "category_scores": {"violence": 1.5e-05}}
    return {"id": "modr-sink", "model": said.get("model") or "omni-moderation-latest", "results": [result]}


def openai_model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "sink"}


def anthropic_model(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name.title(), "created_at": "2025-01-01T00:00:00Z"}


def ollama_model(name: str) -> dict[str, Any]:
    remote = {"remote_model": name, "remote_host": "https://ollama.com:443"} if name.endswith("cloud") else {}
    details = {"format": "gguf", "family": "llama", "parameter_size": "8.0B", "quantization_level": "Q4_0"}
    stamp = "2025-01-01T00:00:00Z"
    return {
        "name": name,
        "model": name,
        "modified_at": stamp,
        "size": 4_000_000,
        "digest": "0" * 64,
        "details": details,
    } | remote
