"""Every string that a request may hold, derived from the SDKs' own types, and canaries to put there.

The walk goes through the SDKs' typed dictionaries, so a member that a later SDK adds becomes a leaf by itself. It says
where a canary can be put and how its traces look on the wire, and has the table of what must become of each.
"""

from __future__ import annotations

import base64
import hashlib
import json
import types
import typing
from collections import abc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from os import PathLike
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Required, Union, get_args, get_origin
from urllib.parse import quote

import anthropic.types.beta.message_count_tokens_params
import anthropic.types.beta.message_create_params
import openai.types.chat.completion_create_params
import openai.types.completion_create_params
import openai.types.embedding_create_params
import openai.types.moderation_create_params
import openai.types.responses.response_create_params
from pydantic import BaseModel
from typing_extensions import is_typeddict

from membrain import sse
from tests.served import Answer
from tests.sink_says import as_bytes

Fill = Callable[[str], Any]
"""A value in, a piece of a request with the value at one place out."""


class Leaf(NamedTuple):
    """One place for a string: its `path`, and a whole request with a string put there."""

    path: str
    fill: Fill


_LISTS = (list, abc.Iterable, abc.Sequence)

MODEL = "gpt-mirror"
BASE: Mapping[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
"""What every request has."""

SCHEMA_WORDS = ("description", "title", "default", "const", "pattern", "format", "$ref", "$comment")
SCHEMA_LISTS = ("enum", "required", "examples")
"""Members of a JSON schema that hold text of people's own; the SDK's types say no more than `object`."""


_SAYS: Mapping[str, Any] = {"messages": BASE["messages"]}

_CLAUDE: Mapping[str, Any] = {"model": "claude-mirror"}

ROOTS: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "chat": (openai.types.chat.completion_create_params.CompletionCreateParamsStreaming, _SAYS),
    "messages": (
        anthropic.types.beta.message_create_params.MessageCreateParamsStreaming,
        {**_SAYS, **_CLAUDE, "max_tokens": 64},
    ),
    "count_tokens": (
        anthropic.types.beta.message_count_tokens_params.MessageCountTokensParams,
        {**_SAYS, **_CLAUDE},
    ),
    "responses": (openai.types.responses.response_create_params.ResponseCreateParamsStreaming, {"input": "Hello"}),
    "completions": (openai.types.completion_create_params.CompletionCreateParamsStreaming, {"prompt": "Hello"}),
    "embeddings": (openai.types.embedding_create_params.EmbeddingCreateParams, {"input": "Hello"}),
    "moderations": (openai.types.moderation_create_params.ModerationCreateParams, {"input": "Hello"}),
}
"""Dialect → the type of its requests, and what each of them has besides, or instead of, our usual model."""


@cache
def leaves(dialect: str = "chat") -> list[Leaf]:
    """Every place of a request that takes a string, in the order of the SDK's types."""
    root, others = ROOTS[dialect]
    found: dict[str, Leaf] = {}
    beyond = _beyond() if dialect == "chat" else _beyond_all()
    for leaf in [*_object_leaves(root, ""), *beyond]:
        found.setdefault(leaf.path, Leaf(leaf.path, _around({"model": MODEL, **others}, leaf.fill)))
    return list(found.values())


def _around(others: Mapping[str, Any], fill: Fill) -> Fill:
    return lambda value: {**others, **fill(value)}


def _beyond_all() -> Iterator[Leaf]:
    """What the SDKs' types do not name, and the gateway takes in every dialect."""
    yield Leaf("(unknown)", lambda value: {"x_unknown": value})
    yield Leaf("(unknown){*}[]", lambda value: {"x_unknown": {"deep": [["er", value]]}})
    yield Leaf("(unknown){key}", lambda value: {"x_unknown": {value: 1}})
    yield Leaf("(key)", lambda value: {value: 1})
    yield Leaf("(a string for a number)", lambda value: {"temperature": value})


def _beyond() -> Iterator[Leaf]:
    """The same for chat, and what belongs to other houses."""
    yield from _beyond_all()
    yield Leaf("(a part without a type)", lambda value: _message({"role": "user", "content": [{"text": value}]}))
    yield Leaf("(a part of another house)", lambda value: _message({"role": "user", "content": [_tool_result(value)]}))
    yield Leaf("(a role nobody knows)", lambda value: _message({"role": "critic", "content": value}))
    yield Leaf("(reasoning)", lambda value: _message({"role": "assistant", "content": "", "reasoning_content": value}))
    yield Leaf("(JSON in a string)", lambda value: _message({"role": "user", "content": json.dumps({"to": [value]})}))
    yield Leaf("(a signed block)", lambda value: _message({"role": "assistant", "content": [_signed(value)]}))
    yield Leaf("(a signature)", lambda value: _message({"role": "assistant", "content": "", "signature": value}))
    sealed = {"role": "assistant", "content": ""}
    yield Leaf("(a sealed thought)", lambda value: _message({**sealed, "thinking_blocks": [_signed(value)]}))
    yield Leaf("(a sealed item)", lambda value: _message({**sealed, "reasoning_items": [{"summary": [value]}]}))


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": [message]}


def _tool_result(value: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": value}]}


def _signed(value: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": value, "signature": "c2lnbmVk"}


# --- the walk --------------------------------------------------------------------------------------------


def _leaves_of(kind: Any, path: str) -> Iterator[Leaf]:
    """The places for a string in a value of the type *kind*, which stands at *path*."""
    kind = _bare(kind)
    origin = get_origin(kind)
    if kind is str or (origin is Literal and isinstance(get_args(kind)[0], str)):
        yield Leaf(path, lambda value: value)
    elif kind is object or kind is Any:
        yield from _free_leaves(path)
    elif is_typeddict(kind):
        yield from _object_leaves(kind, path)
    elif origin in (Union, types.UnionType):
        yield from _union_leaves(get_args(kind), path)
    elif origin is dict:
        yield from _mapping_leaves(get_args(kind)[1], path)
    elif origin in _LISTS:
        yield from _list_leaves(get_args(kind)[0], path)
    elif kind not in _NO_STRINGS and origin is not Literal and not _is_answers(kind):
        raise TypeError(f"{path} has a type that the walk does not know: {kind}")


_NO_STRINGS = (bool, int, float, type(None), typing.IO[bytes])


def _is_answers(kind: Any) -> bool:
    """Whether it is what an answer is read into, or a file's name: the SDKs take those as well, and turn them."""
    return kind is PathLike or get_origin(kind) is PathLike or (isinstance(kind, type) and issubclass(kind, BaseModel))


def _bare(kind: Any) -> Any:
    """*kind* without what says whether it has to be there, and how it is read."""
    while get_origin(kind) in (Required, NotRequired, Annotated):
        kind = get_args(kind)[0]
    return kind


@cache
def hints(kind: Any) -> Mapping[str, Any]:
    """The members of a typed dictionary, by name."""
    return typing.get_type_hints(kind, include_extras=True)


def _object_leaves(kind: Any, path: str) -> Iterator[Leaf]:
    for name, inner in hints(kind).items():
        for leaf in _leaves_of(inner, f"{path}.{name}".removeprefix(".")):
            yield Leaf(leaf.path, _member(_smallest(kind) if path else {}, name, leaf.fill))


def _member(others: Mapping[str, Any], name: str, fill: Fill) -> Fill:
    return lambda value: {**others, name: fill(value)}


def _union_leaves(kinds: Iterable[Any], path: str) -> Iterator[Leaf]:
    """Objects that may stand at the same place are told apart by what they say they are."""
    for kind in kinds:
        yield from _leaves_of(kind, path + (f"<{_tag(kind)}>" if is_typeddict(kind) else ""))


def _tag(kind: Any) -> str:
    members = hints(kind)
    for name in ("role", "type"):
        if name in members and get_origin(_bare(members[name])) is Literal:
            return str(get_args(_bare(members[name]))[0])
    return str(kind.__name__)


def _list_leaves(kind: Any, path: str) -> Iterator[Leaf]:
    for leaf in _leaves_of(kind, f"{path}[]"):
        yield Leaf(leaf.path, _item(leaf.fill))


def _item(fill: Fill) -> Fill:
    return lambda value: [fill(value)]


def _mapping_leaves(kind: Any, path: str) -> Iterator[Leaf]:
    yield Leaf(f"{path}{{key}}", lambda value: {value: _smallest(kind)})
    for leaf in _leaves_of(kind, f"{path}{{*}}"):
        yield Leaf(leaf.path, _member({}, "anything", leaf.fill))
    if kind is object:
        yield from _schema_leaves(path)


def _free_leaves(path: str) -> Iterator[Leaf]:
    """Where anything may stand, a text, a list and an object may."""
    yield Leaf(path, lambda value: value)
    yield Leaf(f"{path}[]", lambda value: [value])
    yield Leaf(f"{path}{{*}}", lambda value: {"inner": value})
    yield Leaf(f"{path}{{key}}", lambda value: {value: "inner"})


def _schema_leaves(path: str) -> Iterator[Leaf]:
    for word in SCHEMA_WORDS:
        yield Leaf(f"{path}/{word}", _property({}, word, lambda value: value))
    for word in SCHEMA_LISTS:
        yield Leaf(f"{path}/{word}[]", _property({}, word, lambda value: [value]))
    yield Leaf(f"{path}/properties{{key}}", lambda value: {"type": "object", "properties": {value: {}}})


def _property(others: Mapping[str, Any], word: str, fill: Fill) -> Fill:
    return lambda value: {"type": "object", "properties": {"to": {**others, word: fill(value)}}}


def _smallest(kind: Any) -> Any:
    """The least that is a value of *kind*."""
    kind = _bare(kind)
    origin = get_origin(kind)
    if is_typeddict(kind):
        return {name: _smallest(inner) for name, inner in hints(kind).items() if _is_required(kind, inner)}
    if origin is Literal:
        return get_args(kind)[0]
    if origin in (Union, types.UnionType):
        return _smallest(get_args(kind)[0])
    if origin is not None:
        return {} if origin is dict else []
    return {str: "x", bool: False, object: "x"}.get(kind, 1)


def _is_required(kind: Any, inner: Any) -> bool:
    """Asked of the hints, since the SDK's own `__required_keys__` do not see through hints that are text."""
    origin = get_origin(inner)
    return origin is Required or (bool(kind.__total__) and origin is not NotRequired)


@cache
def names() -> frozenset[str]:
    """Every name of a member in any of the types, whatever it holds."""
    seen: set[Any] = set()
    found: set[str] = set()
    left = [root for root, _ in ROOTS.values()]
    while left:
        kind = _bare(left.pop())
        if not is_typeddict(kind):
            left += [each for each in get_args(kind) if not isinstance(each, str | int)]
        elif kind not in seen:
            seen.add(kind)
            found |= hints(kind).keys()
            left += hints(kind).values()
    return frozenset(found)


# --- canaries and their traces ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Canary:
    """A value that is nowhere else, and the text that it is sent in."""

    value: str
    text: str


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()


def email(path: str) -> Canary:
    """An e-mail address, bare."""
    value = f"canary-{_digest(path)[:12]}@corp-mail.net"
    return Canary(value, value)


def key(path: str) -> Canary:
    """What looks like a key of GitHub's, bare. Built from parts: nothing in here may look like a live key."""
    # Their own check digits, CRC-32 in base 62, are left out on purpose: ours has to be found without them.
    value = "gh" + "p_" + base64.b32encode(hashlib.sha256(path.encode()).digest()).decode()[:36]
    return Canary(value, value)


def card(path: str) -> Canary:
    """The number of a card, in a sentence."""
    digits = f"453201{int(_digest(path)[:12], 16) % 10**9:09d}"
    double = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-1::-2])
    value = f"{digits}{-(double + sum(map(int, digits[-2::-2]))) % 10}"
    return Canary(value, f"Pay with card {value}, please")


KINDS: Mapping[str, Callable[[str], Canary]] = {"email": email, "key": key, "card": card}


def traces(value: str) -> dict[str, bytes]:
    """How *value* would look on the wire: name of the encoding → bytes (hex and escapes in small letters)."""
    raw = value.encode()
    return {
        "raw": raw,
        "escaped": b"".join(b"\\u%04x" % ord(sign) for sign in value),
        "percent": b"".join(b"%%%02x" % byte for byte in raw),
        "quoted": quote(value, safe="").lower().encode(),
        "hex": raw.hex().encode(),
        **{f"base64+{shift}": _base64(raw, shift) for shift in range(3)},
        "html": b"".join(b"&#%d;" % ord(sign) for sign in value),
    }


def _base64(raw: bytes, shift: int) -> bytes:
    """The part of the base64 of a longer text, *raw* beginning at byte *shift* of three, that hangs on *raw* alone."""
    whole = base64.b64encode(b"\0" * shift + raw)
    last = (shift + len(raw)) // 3 * 4
    return whole[-(-shift * 8 // 6) : last]


def found_in(data: bytes, values: Iterable[str]) -> list[tuple[str, str]]:
    """(value, encoding) for each trace of *values* in *data*, whatever the case of its digits and letters."""
    small = data.lower()
    urlsafe = data.replace(b"-", b"+").replace(b"_", b"/")
    return [
        (value, how)
        for value in values
        for how, trace in traces(value).items()
        if (trace in data or trace in urlsafe if how.startswith("base64") else trace.lower() in small)
    ]


# --- answers ----------------------------------------------------------------------------------------------


def spoken(text: str, *, stream: bool, dialect: str = "chat") -> bytes:
    """An upstream's answer that says *text*, and hands it to a tool as well; as events it comes in tiny pieces."""
    whole, events = _SPOKEN[dialect]
    arguments = json.dumps({"note": text})
    if not stream:
        return as_bytes(whole(text, arguments))
    frames = [sse.encode(as_bytes(data), name) for name, data in events(text, arguments)]
    return b"".join([*frames, b"data: [DONE]\n\n" if dialect in {"chat", "completions"} else b""])


_Events = list[tuple[str | None, dict[str, Any]]]


def _chat_whole(text: str, arguments: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "tool_calls": [_tool_call(arguments)]}
    return {"id": "m", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}


def _chat_events(text: str, arguments: str) -> _Events:
    deltas: list[dict[str, Any]] = [{"content": piece} for piece in _small_pieces(text)]
    deltas += [{"tool_calls": [{"index": 0, **_tool_call("")}]}]
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in _small_pieces(arguments)]
    choices = [{"index": 0, "delta": delta} for delta in deltas]
    return [(None, {"id": "m", "choices": [each]}) for each in [*choices, {**choices[0], **_CALLED, "delta": {}}]]


_CALLED: Mapping[str, Any] = {"finish_reason": "tool_calls"}


def _tool_call(arguments: str) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": "keep", "arguments": arguments}}


_USAGE = {"input_tokens": 1, "output_tokens": 1}
_MESSAGE: Mapping[str, Any] = {
    "id": "m", "type": "message", "role": "assistant", "model": MODEL, "content": [], "usage": _USAGE,
    "stop_reason": "tool_use", "stop_sequence": None,
}  # fmt: skip
_TOOL_USE: Mapping[str, Any] = {"type": "tool_use", "id": "t", "name": "keep", "input": {}}


def _messages_whole(text: str, arguments: str) -> dict[str, Any]:
    blocks = [{"type": "text", "text": text}, {**_TOOL_USE, "input": json.loads(arguments)}]
    return {**_MESSAGE, "content": blocks}


def _messages_events(text: str, arguments: str) -> _Events:
    told: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**_MESSAGE, "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(_block_delta(0, {"type": "text_delta", "text": piece}) for piece in _small_pieces(text)),
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": _TOOL_USE},
        *(_block_delta(1, {"type": "input_json_delta", "partial_json": piece}) for piece in _small_pieces(arguments)),
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": _USAGE},
        {"type": "message_stop"},
    ]
    return [(each["type"], each) for each in told]


def _block_delta(index: int, delta: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _responses_whole(text: str, arguments: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": [part]}
    call = {"type": "function_call", "id": "f", "call_id": "c", "name": "keep", "arguments": arguments}
    return {"id": "m", "object": "response", "model": MODEL, "status": "completed", "output": [message, call]}


def _responses_events(text: str, arguments: str) -> _Events:
    whole = _responses_whole(text, arguments)
    message, call = whole["output"]
    one, two = {"item_id": "i", "output_index": 0, "content_index": 0}, {"item_id": "f", "output_index": 1}
    part, empty = message["content"][0], {**message["content"][0], "text": ""}
    told: _Events = [
        ("created", {"response": {**whole, "status": "in_progress", "output": []}}),
        ("output_item.added", {"output_index": 0, "item": {**message, "content": []}}),
        ("content_part.added", {**one, "part": empty}),
        *(("output_text.delta", {**one, "delta": piece}) for piece in _small_pieces(text)),
        ("output_text.done", {**one, "text": text}),
        ("content_part.done", {**one, "part": part}),
        ("output_item.done", {"output_index": 0, "item": message}),
        ("output_item.added", {"output_index": 1, "item": {**call, "arguments": ""}}),
        *(("function_call_arguments.delta", {**two, "delta": piece}) for piece in _small_pieces(arguments)),
        ("function_call_arguments.done", {**two, "arguments": arguments}),
        ("output_item.done", {"output_index": 1, "item": call}),
        ("completed", {"response": whole}),
    ]
    named = [(f"response.{name}", data) for name, data in told]
    return [(name, {"type": name, **data, "sequence_number": row}) for row, (name, data) in enumerate(named)]


def _completions_whole(text: str, arguments: str) -> dict[str, Any]:
    said = enumerate((text, arguments))
    return {"id": "m", "choices": [{"index": row, "text": each, "finish_reason": "stop"} for row, each in said]}


def _completions_events(text: str, arguments: str) -> _Events:
    pieces = [{"index": row, "text": each} for row in (0, 1) for each in _small_pieces((text, arguments)[row])]
    ends = [{"index": row, "text": "", "finish_reason": "stop"} for row in (0, 1)]
    return [(None, {"id": "m", "choices": [each]}) for each in [*pieces, *ends]]


_SPOKEN: Mapping[str, tuple[Callable[[str, str], dict[str, Any]], Callable[[str, str], _Events]]] = {
    "chat": (_chat_whole, _chat_events),
    "messages": (_messages_whole, _messages_events),
    "responses": (_responses_whole, _responses_events),
    "completions": (_completions_whole, _completions_events),
}
"""Dialect → what makes an answer of a text and a tool's arguments, whole and as events."""


def _small_pieces(text: str) -> list[str]:
    """*text* in pieces of one, two and three signs in turn."""
    pieces, size = [], 1
    while text:
        pieces.append(text[:size])
        text, size = text[size:], size % 3 + 1
    return pieces


def heard(answer: Answer, *, stream: bool, dialect: str = "chat") -> tuple[str, str]:
    """The text and the tool's `note` that *answer* brought its caller."""
    text, arguments = told(answer, stream=stream, dialect=dialect)
    return text, json.loads(arguments)["note"]


def told(answer: Answer, *, stream: bool, dialect: str) -> tuple[str, str]:
    """The text and the tool's arguments that *answer* brought its caller."""
    whole, piece = _HEARD[dialect]
    if not stream:
        return whole(answer.json())
    halves = [piece(json.loads(event.data)) for event in sse.parse(answer.body) if event.data != b"[DONE]"]
    return "".join(text for text, _ in halves), "".join(arguments for _, arguments in halves)


def _hear_chat(data: Any) -> tuple[str, str]:
    message = data["choices"][0]["message"]
    return message["content"], message["tool_calls"][0]["function"]["arguments"]


def _hear_chat_event(data: Any) -> tuple[str, str]:
    delta = data["choices"][0]["delta"]
    calls = delta.get("tool_calls", ())
    return delta.get("content") or "", "".join(call["function"].get("arguments", "") for call in calls)


def _hear_messages(data: Any) -> tuple[str, str]:
    return data["content"][0]["text"], json.dumps(data["content"][1]["input"])


def _hear_messages_event(data: Any) -> tuple[str, str]:
    delta = data.get("delta", {})
    return delta.get("text", ""), delta.get("partial_json", "")


def _hear_responses(data: Any) -> tuple[str, str]:
    message, call = data["output"]
    return message["content"][0]["text"], call["arguments"]


def _hear_responses_event(data: Any) -> tuple[str, str]:
    kind, delta = data["type"], data.get("delta", "")
    return delta if kind == "response.output_text.delta" else "", delta if "arguments" in kind else ""


def _hear_completions(data: Any) -> tuple[str, str]:
    return data["choices"][0]["text"], data["choices"][1]["text"]


def _hear_completions_event(data: Any) -> tuple[str, str]:
    choice = data["choices"][0]
    return ("", choice["text"]) if choice["index"] else (choice["text"], "")


_Hear = Callable[[Any], tuple[str, str]]

_HEARD: Mapping[str, tuple[_Hear, _Hear]] = {
    "chat": (_hear_chat, _hear_chat_event),
    "messages": (_hear_messages, _hear_messages_event),
    "responses": (_hear_responses, _hear_responses_event),
    "completions": (_hear_completions, _hear_completions_event),
}
"""Dialect → what reads the text and the arguments out of a whole answer, and out of one event."""


# --- what must become of a canary ----------------------------------------------------------------------------

Fate = Literal["masked", "refused"]

_MASKED = """
    messages[]<developer>.content
    messages[]<developer>.content[].text
    messages[]<developer>.content[].prompt_cache_breakpoint.mode
    messages[]<developer>.name
    messages[]<system>.content
    messages[]<system>.content[].text
    messages[]<system>.content[].prompt_cache_breakpoint.mode
    messages[]<system>.name
    messages[]<user>.content
    messages[]<user>.content[]<text>.text
    messages[]<user>.content[]<text>.prompt_cache_breakpoint.mode
    messages[]<user>.content[]<image_url>.image_url.url
    messages[]<user>.content[]<image_url>.image_url.detail
    messages[]<user>.content[]<image_url>.prompt_cache_breakpoint.mode
    messages[]<user>.content[]<input_audio>.input_audio.data
    messages[]<user>.content[]<input_audio>.prompt_cache_breakpoint.mode
    messages[]<user>.content[]<file>.file.file_data
    messages[]<user>.content[]<file>.file.filename
    messages[]<user>.content[]<file>.prompt_cache_breakpoint.mode
    messages[]<user>.name
    messages[]<assistant>.content
    messages[]<assistant>.content[]<text>.text
    messages[]<assistant>.content[]<text>.prompt_cache_breakpoint.mode
    messages[]<assistant>.content[]<refusal>.refusal
    messages[]<assistant>.function_call<FunctionCall>.arguments
    messages[]<assistant>.function_call<FunctionCall>.name
    messages[]<assistant>.name
    messages[]<assistant>.refusal
    messages[]<assistant>.tool_calls[]<function>.function.arguments
    messages[]<assistant>.tool_calls[]<function>.function.name
    messages[]<assistant>.tool_calls[]<custom>.custom.input
    messages[]<assistant>.tool_calls[]<custom>.custom.name
    messages[]<tool>.content
    messages[]<tool>.content[].text
    messages[]<tool>.content[].prompt_cache_breakpoint.mode
    messages[]<function>.content
    messages[]<function>.name
    audio<ChatCompletionAudioParam>.voice
    function_call
    function_call<ChatCompletionFunctionCallOptionParam>.name
    functions[].name
    functions[].description
    metadata{*}
    moderation<Moderation>.policy<ModerationPolicy>.input<ModerationPolicyInput>.mode
    moderation<Moderation>.policy<ModerationPolicy>.output<ModerationPolicyOutput>.mode
    prediction<content>.content
    prediction<content>.content[].text
    prediction<content>.content[].prompt_cache_breakpoint.mode
    prompt_cache_key
    prompt_cache_options.mode
    prompt_cache_retention
    reasoning_effort
    response_format<json_schema>.json_schema.name
    response_format<json_schema>.json_schema.description
    safety_identifier
    service_tier
    stop
    stop[]
    tool_choice
    tool_choice<allowed_tools>.allowed_tools.mode
    tool_choice<function>.function.name
    tool_choice<custom>.custom.name
    tools[]<function>.function.name
    tools[]<function>.function.description
    tools[]<custom>.custom.name
    tools[]<custom>.custom.description
    tools[]<custom>.custom.format<grammar>.grammar.definition
    tools[]<custom>.custom.format<grammar>.grammar.syntax
    user
    verbosity
    web_search_options.search_context_size
    web_search_options.user_location<approximate>.approximate.city
    web_search_options.user_location<approximate>.approximate.country
    web_search_options.user_location<approximate>.approximate.region
    web_search_options.user_location<approximate>.approximate.timezone
    (unknown)
    (unknown){*}[]
    (a string for a number)
    (a part without a type)
    (a part of another house)
    (a role nobody knows)
    (reasoning)
    (JSON in a string)
"""
"""Leaves as a placeholder, and comes back."""

_REFUSED = """
    messages[]<developer>.content[].type
    messages[]<developer>.role
    messages[]<system>.content[].type
    messages[]<system>.role
    messages[]<user>.content[]<text>.type
    messages[]<user>.content[]<image_url>.type
    messages[]<user>.content[]<input_audio>.input_audio.format
    messages[]<user>.content[]<input_audio>.type
    messages[]<user>.content[]<file>.type
    messages[]<user>.role
    messages[]<assistant>.role
    messages[]<assistant>.audio<Audio>.id
    messages[]<assistant>.content[]<text>.type
    messages[]<assistant>.content[]<refusal>.type
    messages[]<assistant>.tool_calls[]<function>.id
    messages[]<assistant>.tool_calls[]<function>.type
    messages[]<assistant>.tool_calls[]<custom>.id
    messages[]<assistant>.tool_calls[]<custom>.type
    messages[]<tool>.content[].type
    messages[]<tool>.role
    messages[]<tool>.tool_call_id
    messages[]<function>.role
    model
    audio<ChatCompletionAudioParam>.format
    audio<ChatCompletionAudioParam>.voice<VoiceID>.id
    logit_bias{key}
    metadata{key}
    modalities[]
    moderation<Moderation>.model
    prediction<content>.content[].type
    prediction<content>.type
    response_format<text>.type
    response_format<json_schema>.type
    response_format<json_object>.type
    tool_choice<allowed_tools>.type
    tool_choice<function>.type
    tool_choice<custom>.type
    tools[]<function>.type
    tools[]<custom>.custom.format<text>.type
    tools[]<custom>.custom.format<grammar>.type
    tools[]<custom>.type
    web_search_options.user_location<approximate>.type
    (unknown){key}
    (key)
    (a signature)
    (a signed block)
    (a sealed thought)
    (a sealed item)
    messages[]<user>.content[]<file>.file.file_id
    messages[]<developer>.content[].prompt_cache_breakpoint.ttl
    messages[]<system>.content[].prompt_cache_breakpoint.ttl
    messages[]<user>.content[]<text>.prompt_cache_breakpoint.ttl
    messages[]<user>.content[]<image_url>.prompt_cache_breakpoint.ttl
    messages[]<user>.content[]<input_audio>.prompt_cache_breakpoint.ttl
    messages[]<user>.content[]<file>.prompt_cache_breakpoint.ttl
    messages[]<assistant>.content[]<text>.prompt_cache_breakpoint.ttl
    messages[]<tool>.content[].prompt_cache_breakpoint.ttl
    prediction<content>.content[].prompt_cache_breakpoint.ttl
    prompt_cache_options.ttl
"""
"""Somebody matches it by name, so it cannot carry a placeholder: 403, and nothing leaves."""

_SCHEMAS = """
    functions[].parameters
    response_format<json_schema>.json_schema.schema
    tool_choice<allowed_tools>.allowed_tools.tools[]
    tools[]<function>.function.parameters
"""
"""Where a JSON schema stands, of which the SDK's types say no more than that it is an object."""

_SCHEMA_MASKED = """
    {*}
    {*}[]
    {*}{*}
    /description
    /title
    /default
    /const
    /$comment
    /examples[]
"""

_SCHEMA_REFUSED = """
    {key}
    {*}{key}
    /pattern
    /format
    /$ref
    /enum[]
    /required[]
    /properties{key}
"""


def _rows(text: str) -> list[str]:
    return [row.strip() for row in text.strip().splitlines()]


def _expected() -> dict[str, Fate]:
    table: dict[str, Fate] = {}
    for fate, plain, in_schemas in (
        ("masked", _MASKED, _SCHEMA_MASKED),
        ("refused", _REFUSED, _SCHEMA_REFUSED),
    ):
        paths = _rows(plain) + [schema + row for schema in _rows(_SCHEMAS) for row in _rows(in_schemas)]
        table |= dict.fromkeys(paths, typing.cast("Fate", fate))
    return table


EXPECTED: Mapping[str, Fate] = _expected()
"""For chat: path → what must become of a canary there. A leaf without a row fails, and so does a row without a leaf."""

_ENDS_MASKED = """
    action allowed_callers[] allowed_domains[] allowed_tools[]
    annotations annotations[] annotations{*} arguments arguments[] arguments{*} attributes{*} authorization
    authorization_token background bill_to blocked_domains[] button categories[] cited_text city clear_at
    clear_tool_inputs[] code command[] commands[] completion_window complexity content content[] content{*} context
    context_compression country cyber data definition description detail diff display document_title domain effort
    environment env{*} error error_code error_message exclude_tools[] execution fallback_credit_token fallbacks
    file_data file_type file_url filename filters[] filters[][] filters[]{*} generate_summary headers{*} image_url
    inference_geo input input[] input_fidelity input_schema input_schema[] input_schema{*} input{*} instructions keep
    key keys[] lines[] logs media_type memory_limit message metadata{*} mode moderation moderation_stage name
    namespace output output_format oversized_image page_age param parameters parameters[] parameters{*} path phase
    prefix_mismatch_behavior prompt prompt[] prompt_cache_key prompt_cache_retention quality queries[] query ranker
    reason refusal region require_approval response_inclusion result retrieved_at revised_prompt safety_identifier
    search_content_types[] search_context_size server_description server_name server_url service_tier size source
    speed stderr stdout stop stop[] stop_reason stop_sequences[] suffix summary syntax system text timezone title
    token tool_choice tool_name tool_names[] toolset_name trigger trigger[] trigger{*} truncation url user user_id
    value value[] variables{*} verbosity version working_directory
"""
_ENDS_REFUSED = """
    annotations{key} approval_request_id arguments{key} attributes{key} betas[] call_id caller_id
    comparison_response_id configs{key} connector_id container container_id content{key} continuation_id conversation
    download_id encoding_format encrypted_content encrypted_index encrypted_stdout env{key} file_id file_ids[]
    filters[]{key} fingerprint headers{key} id include[] input_schema{key} input{key} logit_bias{key} mcp_server_name
    metadata{key} model parameters{key} pattern previous_message_id previous_response_id required[] role server_label
    signature skill_id status tab_id thinking tool_id tool_use_id trigger{key} ttl tunnel_id type user_profile_id
    variables{key} vector_store_ids[] workspace_id
"""
"""In the other dialects: how a path ends → what must become of a canary there. A name means the same in all of them."""

_ENDS_SCHEMAS = "input_examples[] input_schema output_schema parameters properties schema tools[]"
"""Members that hold a JSON schema, or what is looked at like one."""

_GIVEN = "input"
"""What a tool is given: free in all but its keys."""


def _ends() -> dict[str, Fate]:
    masked = ["(a string for a number)", "(unknown)", "(unknown){*}[]", *_ENDS_MASKED.split()]
    refused = ["(key)", "(unknown){key}", *_ENDS_REFUSED.split()]
    for schema in _ENDS_SCHEMAS.split():
        masked += [schema + row for row in _rows(_SCHEMA_MASKED)]
        refused += [schema + row for row in _rows(_SCHEMA_REFUSED)]
    masked += [_GIVEN + row for row in _rows(_SCHEMA_MASKED) + _rows(_SCHEMA_REFUSED) if "key" not in row]
    refused += [_GIVEN + row for row in _rows(_SCHEMA_REFUSED) if "key" in row]
    return {**dict.fromkeys(masked, "masked"), **dict.fromkeys(refused, "refused")}


ENDS: Mapping[str, Fate] = _ends()


def end(path: str) -> str:
    """How *path* ends: the last name in it, less the kind of object that it is in."""
    return path if path.startswith("(") else path.rpartition(".")[2].rpartition(">")[2]


def fate_of(dialect: str, path: str) -> Fate:
    """What must become of a canary at *path*. KeyError for a leaf that nobody has thought of."""
    if dialect == "chat":
        return EXPECTED[path]
    if path.endswith("<redacted_thinking>.data"):
        return "refused"
    return ENDS[end(path)]


@cache
def kinds_of_leaf(dialect: str) -> list[Leaf]:
    """One leaf for each name in each kind of object: the same ones come again in many places."""
    found: dict[str, Leaf] = {}
    for leaf in leaves(dialect):
        found.setdefault(".".join(leaf.path.split(".")[-2:]), leaf)
    return list(found.values())
