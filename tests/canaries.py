"""Every string that a chat completion may hold, derived from the OpenAI SDK's own types, and canaries to put there.

The walk goes through the SDK's typed dictionaries, so a member that a later SDK adds becomes a leaf by itself. It says
where a canary can be put and how its traces look on the wire; what must become of it, `test_canaries.py` says.
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
from typing import Any, Literal, NamedTuple, NotRequired, Required, Union, get_args, get_origin
from urllib.parse import quote

from openai.types.chat import completion_create_params as sdk
from typing_extensions import is_typeddict

from membrain import sse
from tests.served import Answer
from tests.sink_says import as_bytes, data_frame

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


def leaves() -> list[Leaf]:
    """Every place of a chat completion that takes a string, in the order of the SDK's types."""
    found: dict[str, Leaf] = {}
    for leaf in [*_object_leaves(sdk.CompletionCreateParamsStreaming, ""), *_beyond()]:
        found.setdefault(leaf.path, Leaf(leaf.path, _around(leaf.fill)))
    return list(found.values())


def _around(fill: Fill) -> Fill:
    return lambda value: {**BASE, **fill(value)}


def _beyond() -> Iterator[Leaf]:
    """What the SDK's types do not name, and the gateway takes all the same."""
    yield Leaf("(unknown)", lambda value: {"x_unknown": value})
    yield Leaf("(unknown){*}[]", lambda value: {"x_unknown": {"deep": [["er", value]]}})
    yield Leaf("(unknown){key}", lambda value: {"x_unknown": {value: 1}})
    yield Leaf("(key)", lambda value: {value: 1})
    yield Leaf("(a string for a number)", lambda value: {"temperature": value})
    yield Leaf("(a part without a type)", lambda value: _message({"role": "user", "content": [{"text": value}]}))
    yield Leaf("(a part of another house)", lambda value: _message({"role": "user", "content": [_tool_result(value)]}))
    yield Leaf("(a role nobody knows)", lambda value: _message({"role": "critic", "content": value}))
    yield Leaf("(reasoning)", lambda value: _message({"role": "assistant", "content": "", "reasoning_content": value}))
    yield Leaf("(JSON in a string)", lambda value: _message({"role": "user", "content": json.dumps({"to": [value]})}))
    yield Leaf("(a signed block)", lambda value: _message({"role": "assistant", "content": [_signed(value)]}))
    yield Leaf("(a signature)", lambda value: _message({"role": "assistant", "content": "", "signature": value}))


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
    elif kind is object:
        yield from _free_leaves(path)
    elif is_typeddict(kind):
        yield from _object_leaves(kind, path)
    elif origin in (Union, types.UnionType):
        yield from _union_leaves(get_args(kind), path)
    elif origin is dict:
        yield from _mapping_leaves(get_args(kind)[1], path)
    elif origin in _LISTS:
        yield from _list_leaves(get_args(kind)[0], path)
    elif kind not in (bool, int, float, type(None)) and origin is not Literal:
        raise TypeError(f"{path} has a type that the walk does not know: {kind}")


def _bare(kind: Any) -> Any:
    """*kind* without what says whether it has to be there."""
    while get_origin(kind) in (Required, NotRequired):
        kind = get_args(kind)[0]
    return kind


def _object_leaves(kind: Any, path: str) -> Iterator[Leaf]:
    hints = typing.get_type_hints(kind, include_extras=True)
    for name, inner in hints.items():
        for leaf in _leaves_of(inner, f"{path}.{name}".removeprefix(".")):
            yield Leaf(leaf.path, _member(_smallest(kind) if path else {}, name, leaf.fill))


def _member(others: Mapping[str, Any], name: str, fill: Fill) -> Fill:
    return lambda value: {**others, name: fill(value)}


def _union_leaves(kinds: Iterable[Any], path: str) -> Iterator[Leaf]:
    """Objects that may stand at the same place are told apart by what they say they are."""
    for kind in kinds:
        yield from _leaves_of(kind, path + (f"<{_tag(kind)}>" if is_typeddict(kind) else ""))


def _tag(kind: Any) -> str:
    hints = typing.get_type_hints(kind, include_extras=True)
    for name in ("role", "type"):
        if name in hints and get_origin(_bare(hints[name])) is Literal:
            return str(get_args(_bare(hints[name]))[0])
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
        hints = typing.get_type_hints(kind, include_extras=True)
        return {name: _smallest(inner) for name, inner in hints.items() if _is_required(kind, inner)}
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


def spoken(text: str, *, stream: bool) -> bytes:
    """An upstream's answer that says *text*, and hands it to a tool as well; as events it comes in tiny pieces."""
    arguments = json.dumps({"note": text})
    if not stream:
        message = {"role": "assistant", "content": text, "tool_calls": [_tool_call(arguments)]}
        return as_bytes({"id": "m", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})
    deltas: list[dict[str, Any]] = [{"content": piece} for piece in _small_pieces(text)]
    deltas += [{"tool_calls": [{"index": 0, **_tool_call("")}]}]
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in _small_pieces(arguments)]
    frames = [data_frame({"id": "m", "choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
    frames.append(data_frame({"id": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}))
    return b"".join([*frames, b"data: [DONE]\n\n"])


def _tool_call(arguments: str) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": "keep", "arguments": arguments}}


def _small_pieces(text: str) -> list[str]:
    """*text* in pieces of one, two and three signs in turn."""
    pieces, size = [], 1
    while text:
        pieces.append(text[:size])
        text, size = text[size:], size % 3 + 1
    return pieces


def heard(answer: Answer, *, stream: bool) -> tuple[str, str]:
    """The text and the tool's `note` that *answer* brought its caller."""
    if not stream:
        message = answer.json()["choices"][0]["message"]
        return message["content"], json.loads(message["tool_calls"][0]["function"]["arguments"])["note"]
    text = arguments = ""
    for event in sse.parse(answer.body):
        if event.data != b"[DONE]":
            delta = json.loads(event.data)["choices"][0]["delta"]
            text += delta.get("content") or ""
            arguments += "".join(call["function"].get("arguments", "") for call in delta.get("tool_calls", ()))
    return text, json.loads(arguments)["note"]


# --- what must become of a canary ----------------------------------------------------------------------------

Fate = Literal["masked", "refused"]

_MASKED = """
    (a signed block)
    messages[]<developer>.content
    messages[]<developer>.content[].text
    messages[]<developer>.content[].prompt_cache_breakpoint.mode
    messages[]<developer>.content[].prompt_cache_breakpoint.ttl
    messages[]<developer>.name
    messages[]<system>.content
    messages[]<system>.content[].text
    messages[]<system>.content[].prompt_cache_breakpoint.mode
    messages[]<system>.content[].prompt_cache_breakpoint.ttl
    messages[]<system>.name
    messages[]<user>.content
    messages[]<user>.content[]<text>.text
    messages[]<user>.content[]<text>.prompt_cache_breakpoint.mode
    messages[]<user>.content[]<text>.prompt_cache_breakpoint.ttl
    messages[]<user>.content[]<image_url>.image_url.url
    messages[]<user>.content[]<image_url>.image_url.detail
    messages[]<user>.content[]<image_url>.prompt_cache_breakpoint.mode
    messages[]<user>.content[]<image_url>.prompt_cache_breakpoint.ttl
    messages[]<user>.content[]<input_audio>.input_audio.data
    messages[]<user>.content[]<input_audio>.prompt_cache_breakpoint.mode
    messages[]<user>.content[]<input_audio>.prompt_cache_breakpoint.ttl
    messages[]<user>.content[]<file>.file.file_data
    messages[]<user>.content[]<file>.file.file_id
    messages[]<user>.content[]<file>.file.filename
    messages[]<user>.content[]<file>.prompt_cache_breakpoint.mode
    messages[]<user>.content[]<file>.prompt_cache_breakpoint.ttl
    messages[]<user>.name
    messages[]<assistant>.content
    messages[]<assistant>.content[]<text>.text
    messages[]<assistant>.content[]<text>.prompt_cache_breakpoint.mode
    messages[]<assistant>.content[]<text>.prompt_cache_breakpoint.ttl
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
    messages[]<tool>.content[].prompt_cache_breakpoint.ttl
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
    prediction<content>.content[].prompt_cache_breakpoint.ttl
    prompt_cache_key
    prompt_cache_options.mode
    prompt_cache_options.ttl
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
"""Path → what must become of a canary there. A leaf without a row fails the tests, and a row without a leaf."""
