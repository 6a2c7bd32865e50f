"""A chat answer told again: a stream as one completion, and a completion as a stream.

Pure functions over bytes and parsed JSON. A stream is put together as its readers do it: texts and lists grow, what
has an `index` grows in its place, anything else is said once. What cannot be understood so is a ValueError, and then
nobody tells it again. Members that we do not know come along.

Not for: streams of other dialects, and not for the first telling of an answer, which passes as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from membrain import sse
from membrain.records import Tokens

Json = dict[str, Any]

_PIECE = re.compile(r".{1,40}", re.DOTALL)
"""What one event of a text brings, in signs."""
_PIECE_SIGNS: Final = 40

FINISHED: Final = frozenset({"stop", "length", "tool_calls", "function_call"})
"""Reasons for which an answer ends by itself."""

_COMPLETION, _CHUNK = "chat.completion", "chat.completion.chunk"
_GROWING: Final = ("content", "refusal", "reasoning_content", "reasoning")
"""Texts of a message that are told in pieces, where they are texts."""
_ONCE: Final = frozenset({"role", "type", "id", "name", "format", "signature"})
"""Texts that are not pieces: who says them twice says the same."""
_PADDING: Final = "obfuscation"
"""What OpenAI puts into events so that their length tells nothing."""
_CALLS: Final = "tool_calls"

_encode = msgspec.json.encode


def read(body: bytes) -> Json:
    """The completion in *body*, one whole answer; ValueError for what is none."""
    data = _object(body)
    if data.get("error") or not isinstance(data.get("choices"), list):
        raise ValueError("not a completion")
    return data


def finished(completion: Mapping[str, Any], choices: int, reasons: frozenset[str] = FINISHED) -> bool:
    """Whether *completion* has so many choices, and each of them came to its own end, for one of *reasons*."""
    found = completion["choices"]
    if not all(isinstance(each, dict) for each in found):
        return False
    places = [each.get("index", row) for row, each in enumerate(found)]
    ends = [each.get("finish_reason") for each in found]
    return places == list(range(choices)) and all(isinstance(each, str) and each in reasons for each in ends)


def usage_of(tokens: Tokens) -> Json:
    """What OpenAI would tell of *tokens*, for an answer that was made without telling it."""
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "prompt_tokens_details": {"cached_tokens": tokens.cached},
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
    }


# -- from a stream to the whole


def whole(raw: bytes) -> Json:
    """The completion that the events *raw* tell, `[DONE]` or not; ValueError if they tell none."""
    told: Json = {}
    choices: dict[int, Json] = {}
    for event in sse.parse(raw):
        if event.data.strip() == b"[DONE]":
            continue
        data = _object(event.data)
        if data.get("error") or not isinstance(data.get("choices"), list):
            raise ValueError("not a chunk of a completion")
        for choice in data.pop("choices"):
            _tell(choices, choice)
        _later(told, data)
    if not choices:
        raise ValueError("a stream without an answer")
    told["object"] = _COMPLETION
    return {**told, "choices": [_closed(choices[index]) for index in sorted(choices)]}


def _tell(choices: dict[int, Json], piece: Any) -> None:
    """Add one event's *piece* of a choice."""
    if not isinstance(piece, dict) or type(index := piece.get("index", 0)) is not int:
        raise ValueError("not a choice")
    choice = choices.setdefault(index, {"index": index, "message": {}})
    delta = piece.get("delta")
    _grow(choice["message"], _mapping(delta) if delta is not None else {})
    if (logprobs := piece.get("logprobs")) is not None:
        if choice.get("logprobs") is None:
            choice["logprobs"] = {}
        _grow(choice["logprobs"], _mapping(logprobs))
    _later(choice, piece)


def _later(told: Json, data: Mapping[str, Any]) -> None:
    """Note members that are not told in pieces: what is said last counts, and null says nothing."""
    for name, value in data.items():
        if name in {_PADDING, "delta"} or (name == "logprobs" and value is not None):
            continue
        if value is not None or name not in told:
            told[name] = value


def _grow(node: Json, piece: Mapping[str, Any]) -> None:
    """Add *piece* to what *node* has so far."""
    for name, value in piece.items():
        before = node.get(name)
        if value is None or before is None:
            if value is not None or name not in node:
                node[name] = _grown([], value) if isinstance(value, list) else value
        elif isinstance(before, list) and isinstance(value, list):
            node[name] = _grown(before, value)
        elif isinstance(before, dict) and isinstance(value, dict):
            _grow(before, value)
        elif isinstance(before, str) and isinstance(value, str):
            node[name] = (value or before) if name in _ONCE else before + value
        elif type(before) is type(value):
            node[name] = value
        else:
            raise ValueError("a member that changes its kind")


def _grown(before: list[Any], more: Sequence[Any]) -> list[Any]:
    """*before* with *more*: items that have an index grow in their place."""
    places = {each["index"]: each for each in before if _placed(each)}
    for item in more:
        known = places.get(item["index"]) if _placed(item) else None
        if known is not None:
            _grow(known, {name: value for name, value in item.items() if name != "index"})
            continue
        before.append(item)
        if _placed(item):
            places[item["index"]] = item
    return before


def _placed(item: Any) -> bool:
    return isinstance(item, dict) and type(item.get("index")) is int


def _closed(choice: Json) -> Json:
    """A choice as a whole answer has it: its calls in order, and without the places that only streams need."""
    calls = choice["message"].get(_CALLS)
    if isinstance(calls, list):
        if not all(map(_placed, calls)):
            raise ValueError("a call without its place")
        calls.sort(key=lambda call: call["index"])
        choice["message"][_CALLS] = [{name: call[name] for name in call if name != "index"} for call in calls]
    return choice


# -- from the whole to a stream


def events(completion: Mapping[str, Any], *, usage: bool) -> Iterator[bytes]:
    """The events that tell *completion*, without `[DONE]`; what was used at the end, if *usage*.

    *completion* is one that `finished` found good. Texts come in pieces of up to 40 signs.
    """
    head = {name: value for name, value in completion.items() if name not in {"choices", "usage", "object"}}
    head["object"] = _CHUNK
    plain = {name: value for name, value in head.items() if not isinstance(value, dict | list)}
    for row, choice in enumerate(completion["choices"]):
        for piece in _pieces(choice, choice.get("index", row)):
            yield _event(head, [piece])
            head = plain  # what is long is told once
    if usage and completion.get("usage") is not None:
        yield _event({**head, "usage": completion["usage"]}, [])


def _event(head: Mapping[str, Any], choices: list[Json]) -> bytes:
    return sse.encode(_encode({**head, "choices": choices}))


def _pieces(choice: Mapping[str, Any], index: int) -> Iterator[Json]:
    """One choice in pieces: how it begins, its texts, its calls, and how it ends."""
    message: Mapping[str, Any] = choice.get("message") or {}
    quiet = {"logprobs": None} if "logprobs" in choice else {}

    def piece(delta: Mapping[str, Any], **more: Any) -> Json:
        return {"index": index, "delta": delta, **quiet, "finish_reason": None, **more}

    growing = [name for name in _GROWING if isinstance(message.get(name), str)]
    calls = message.get(_CALLS) if isinstance(message.get(_CALLS), list) else None
    opening = {name: "" if name in growing else value for name, value in message.items() if name != _CALLS}
    yield piece(opening if calls else {**opening, **_member(message, _CALLS)})
    sides = _sides(choice.get("logprobs"))
    for name in reversed(growing):  # reasoning goes before what it led to
        beside = sides.pop(name) if message[name] and sides.get(name) else None
        for text, tokens in _texts(message[name], beside):
            yield piece({name: text}, **({"logprobs": {name: tokens}} if tokens else {}))
    for place, call in enumerate(calls or ()):
        for part in _parts(call):
            yield piece({_CALLS: [{"index": place, **part}]})
    last = {name: value for name, value in choice.items() if name not in {"index", "message", "logprobs"}}
    yield piece({}, **({"logprobs": sides} if sides or choice.get("logprobs") == {} else {}), **last)


def _member(data: Mapping[str, Any], name: str) -> Json:
    return {name: data[name]} if name in data else {}


def _sides(logprobs: Any) -> Json:
    """What is told beside the texts: a list of tokens for each."""
    return dict(logprobs) if isinstance(logprobs, dict) else {}


def _texts(text: str, tokens: Any) -> Iterator[tuple[str, list[Any]]]:
    """*text* in pieces, each with its tokens where those are the text."""
    if not tokens:
        yield from ((match.group(), []) for match in _PIECE.finditer(text))
        return
    if not _spells(tokens, text):
        yield text, tokens
        return
    said: list[str] = []
    beside: list[Any] = []
    for token in tokens:
        said.append(token["token"])
        beside.append(token)
        if sum(map(len, said)) >= _PIECE_SIGNS:
            yield "".join(said), beside
            said, beside = [], []
    if beside:
        yield "".join(said), beside


def _spells(tokens: Any, text: str) -> bool:
    """Whether *tokens*, put together, are *text*."""
    if not isinstance(tokens, list) or not all(isinstance(token, dict) for token in tokens):
        return False
    parts = [token.get("token") for token in tokens]
    return all(isinstance(part, str) for part in parts) and "".join(parts) == text


def _parts(call: Any) -> Iterator[Json]:
    """One call: its name, and then its arguments in pieces."""
    call = {name: value for name, value in _mapping(call).items() if name != "index"}
    function = call.get("function")
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(arguments, str):
        yield call
        return
    yield {**call, "function": {**function, "arguments": ""}}
    for match in _PIECE.finditer(arguments):
        yield {"function": {"arguments": match.group()}}


def _mapping(data: Any) -> Json:
    if not isinstance(data, dict):
        raise ValueError("not an object")
    return data


def _object(raw: bytes) -> Json:
    try:
        data = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("no JSON that can be read") from None
    return _mapping(data)
