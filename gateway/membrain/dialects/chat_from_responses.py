"""A response of OpenAI's in chat's words: the way back of `chat_to_responses`.

For: pure translations over parsed JSON. `whole` makes a chat completion of a whole response, `Events` chat chunks of
the events of a stream. What the model thought goes two ways: its summary into `reasoning_content`, for whoever reads,
and the encrypted items into `reasoning_items`, for the next request. What gets lost is listed in `LOSSES`.

Not for: sending anything, and not the way back of a responses request that a chat upstream answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from membrain.dialects.base import Event, Json
from membrain.errors import ProviderFailed

INCOMPLETE: Final[Mapping[str, str]] = {"max_output_tokens": "length", "content_filter": "content_filter"}
"""Why a response stayed incomplete, as chat's finish reasons; a reason that is not here is a `length`."""

ERROR_STATUS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("rate_limit_exceeded", "insufficient_quota"), 429),
    **dict.fromkeys(("server_is_overloaded", "slow_down"), 503),
    "vector_store_timeout": 504,
    **dict.fromkeys(
        (
            *("invalid_prompt", "invalid_request_error", "context_length_exceeded", "data_residency_mismatch"),
            *("bio_policy", "cyber_policy", "misalignment_policy_violation"),
            *("invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url"),
            *("image_too_large", "image_too_small", "image_parse_error", "image_content_policy_violation"),
            *("invalid_image_mode", "image_file_too_large", "unsupported_image_media_type", "empty_image_file"),
            *("failed_to_download_image", "image_file_not_found"),
        ),
        400,
    ),
}
"""HTTP status of the codes with which a response fails. Any other is a 502."""

LOSSES: Final[Mapping[str, str]] = {
    "output[]": "Of the items, messages, function calls, custom tool calls and reasoning have a place in chat, each "
    "kind for itself: how they took turns is not told. What OpenAI's own tools were asked and found is left out, and "
    "so are items of kinds that nobody here knows.",
    "output[].id": "Left out, but for encrypted reasoning, which passes as it is; a call has its `call_id`.",
    "output[].phase": "Left out: chat does not tell a remark on the way from the final answer.",
    "output[].namespace": "Left out: chat calls functions by their plain name.",
    "output[].content[].annotations": "Addresses go on; the places of files in OpenAI's store are left out.",
    "output[].summary": "The parts of a summary become one text, with a blank line between them.",
    "output[].encrypted_content": "Without it, what the model thought is for readers only and cannot be sent back.",
    "status": "`incomplete` becomes the `finish_reason` `length` or `content_filter`.",
    "usage": "Counted are input, output, cached, written and reasoning tokens; how long the cache keeps what was "
    "written, and what tools used, is left out.",
    "moderation": "Left out: it is not asked for.",
    "*": "What a response says again of its request is left out, and its padding.",
}
"""What a response loses on its way back to a chat caller, with a sentence for each field."""


def whole(answer: Json, asked: Json, *, created: int) -> Json:  # noqa: ARG001  # the one shape of all ways back
    """The chat completion that says what the response *answer* says.

    Its time is the response's own, else *created*, Unix time in seconds. Texts are joined; `content` is None if there
    is no text, but tool calls or a refusal. Raises `ProviderFailed` for an error or a response that failed, and for
    what cannot be read as a finished response.
    """
    _expect_finished(answer)
    told = _Told()
    for item in _listed(answer.get("output")):
        told.take(item)
    completion = _head(answer, "chat.completion", created)
    finish = _finish(answer, has_calls="tool_calls" in told.lists)
    logprobs = {"content": told.logprobs, "refusal": None} if told.logprobs else None
    completion["choices"] = [{"index": 0, "message": told.message(), "logprobs": logprobs, "finish_reason": finish}]
    if isinstance(answer.get("usage"), dict):
        completion["usage"] = usage_from_response(answer["usage"])
    return completion


def _expect_finished(answer: Json) -> None:
    status = answer.get("status", "completed")
    if status == "failed" or answer.get("error"):
        raise failure(answer)
    if status not in ("completed", "incomplete"):  # a tuple: it may be anything
        raise _unreadable()


@dataclass(slots=True)
class _Told:
    """What the items of one response say, sorted as chat has it."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    signs: int = 0
    logprobs: list[Json] = field(default_factory=list)
    lists: dict[str, list[Json]] = field(default_factory=dict)

    def take(self, item: Json) -> None:
        """Sort what one *item* of the output says."""
        for part in _parts(item):
            self._add("annotations", _annotations(part.given.get("annotations"), self.signs))
            self.logprobs += _logprobs(part.given.get("logprobs"))
            self._say(part)
        self._add("reasoning_items", _sealed(item))
        self._add("tool_calls", [_call(item)] if _kind(item) in _CALLS else [])

    def _say(self, part: _Part) -> None:
        if not part.text:
            return
        pieces = self.texts.setdefault(_FIELDS[part.kind], [])
        if pieces and part.kind in _THOUGHTS:
            pieces.append(_BETWEEN)
        pieces.append(part.text)
        self.signs += len(part.text) if part.kind == "output_text" else 0

    def _add(self, name: str, items: list[Json]) -> None:
        if items:
            self.lists.setdefault(name, []).extend(items)

    def message(self) -> Json:
        """Chat's message: only what was said is in it."""
        told = {name: "".join(pieces) for name, pieces in self.texts.items()}
        content = told.pop("content", None)
        if content is None and "tool_calls" not in self.lists and "refusal" not in told:
            content = ""
        return {"role": "assistant", "content": content, "refusal": told.pop("refusal", None), **told, **self.lists}


# -- the items of an output --


@dataclass(frozen=True, slots=True)
class _Part:
    """A text within an item: its kind, its place there, and what stands beside it."""

    kind: str
    place: int
    text: str
    given: Json


_FIELDS: Final[Mapping[str, str]] = {
    "output_text": "content",
    "refusal": "refusal",
    "summary_text": "reasoning_content",
    "reasoning_text": "reasoning_content",
}
"""Where the text of a part goes in chat."""
_THOUGHTS: Final = frozenset({"summary_text", "reasoning_text"})
_BETWEEN: Final = "\n\n"
"""What stands between two thoughts."""

_LISTS: Final[Mapping[str, tuple[str, ...]]] = {"message": ("content",), "reasoning": ("summary", "content")}
"""Under which names the parts of an item stand."""


def _parts(item: Json) -> Iterator[_Part]:
    """The texts of *item* that have a place in chat, in order."""
    for name in _LISTS.get(_kind(item), ()):
        for place, given in enumerate(_listed(item.get(name) or [])):
            kind = _kind(given)
            if kind in _FIELDS:  # the text of a refusal is under the name of its kind
                yield _Part(kind, place, _text(given, "refusal" if kind == "refusal" else "text"), given)


def _sealed(item: Json) -> list[Json]:
    """*item* itself, if it is reasoning that OpenAI would take back."""
    return [item] if _kind(item) == "reasoning" and item.get("encrypted_content") else []


@dataclass(frozen=True, slots=True)
class _CallKind:
    """How a kind of call is named in chat, and what that which it was given is named on both sides."""

    chat: str
    given: str


_CALLS: Final[Mapping[str, _CallKind]] = {
    "function_call": _CallKind("function", "arguments"),
    "custom_tool_call": _CallKind("custom", "input"),
}


def _call(item: Json) -> Json:
    """A call as chat has it; what the tool was given passes as the model wrote it."""
    kind = _CALLS[item["type"]]
    given = {"name": _text(item, "name"), kind.given: _text(item, kind.given)}
    return {"id": _text(item, "call_id"), "type": kind.chat, kind.chat: given}


def _annotations(annotations: Any, start: int) -> list[Json]:
    """Chat's annotations, their places counted from *start*, where their text begins in the whole."""
    listed = annotations if isinstance(annotations, list) else []
    return [_annotation(each, start) for each in listed if _is_address(each)]


def _is_address(annotation: Any) -> bool:
    return isinstance(annotation, dict) and annotation.get("type") == "url_citation"


def _annotation(annotation: Json, start: int) -> Json:
    cited = {name: value for name, value in annotation.items() if name != "type"}
    for name in ("start_index", "end_index"):
        if type(cited.get(name)) is int:
            cited[name] += start
    return {"type": "url_citation", "url_citation": cited}


def _logprobs(tokens: Any) -> list[Json]:
    """Token probabilities with all members that chat's have."""
    return [
        {**_token(each), "top_logprobs": [_token(top) for top in _tokens(each.get("top_logprobs"))]}
        for each in _tokens(tokens)
    ]


def _tokens(tokens: Any) -> list[Json]:
    return [each for each in tokens if isinstance(each, dict)] if isinstance(tokens, list) else []


def _token(token: Json) -> Json:
    return {name: token.get(name) for name in ("token", "logprob", "bytes")}


# -- the rest of a response --


def usage_from_response(usage: Mapping[str, Any]) -> Json:
    """A response's token counts under chat's names; both sides include what was cached."""
    prompt, completion = _count(usage, "input_tokens"), _count(usage, "output_tokens")
    counted: Json = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": _count(usage, "total_tokens") or prompt + completion,
    }
    for ours, theirs, names in _DETAILS:
        details = usage.get(theirs)
        if isinstance(details, dict):
            counted[ours] = {name: _count(details, name) for name in names if name in details}
    return counted


_DETAILS: Final = (
    ("prompt_tokens_details", "input_tokens_details", ("cached_tokens", "cache_write_tokens")),
    ("completion_tokens_details", "output_tokens_details", ("reasoning_tokens",)),
)


def failure(told: Json) -> ProviderFailed:
    """A response that failed, an `error` event or an error object as our error, in the upstream's own words."""
    error = told.get("error")
    given: Json = error if isinstance(error, dict) else told if told.get("type") == "error" else {}
    code, kind, message = (given.get(name) for name in ("code", "type", "message"))
    code = code if isinstance(code, str) and _CODE.fullmatch(code) else None
    status = ERROR_STATUS.get(str(code)) or ERROR_STATUS.get(str(kind), 502)
    kind = kind if isinstance(kind, str) and kind != "error" else None
    param = given.get("param")
    return ProviderFailed(
        message if isinstance(message, str) and message else "OpenAI reported an error without a word.",
        provider="openai",
        status=status,
        code=code,
        type=kind or ("invalid_request_error" if status == 400 else None),
        param=param if isinstance(param, str) else None,
        passing=status != 400,
        reached=status in {502, 504},
    )


_CODE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
"""What an error's code looks like. It is kept on record, so a text is none."""


def _unreadable() -> ProviderFailed:
    return ProviderFailed("OpenAI's response is not of the shape it documents.", provider="openai")


def _kind(item: Json) -> str:
    return str(item.get("type"))


def _listed(items: Any) -> list[Json]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _unreadable()
    return items


def _inside(data: Json, name: str) -> Json:
    value = data.get(name)
    if not isinstance(value, dict):
        raise _unreadable()
    return value


def _text(data: Json, name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise _unreadable()
    return value


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if type(value) is int else 0


def _head(response: Json, kind: str, created: int) -> Json:
    own = response.get("created_at")
    time = int(own) if isinstance(own, int | float) and 0 < own < 1 << 48 else created
    head = {"id": _text(response, "id"), "object": kind, "created": time, "model": _text(response, "model")}
    tier = response.get("service_tier")
    return {**head, "service_tier": tier} if isinstance(tier, str) else head


def _finish(response: Json, *, has_calls: bool) -> str:
    if response.get("status") == "incomplete":
        details = response.get("incomplete_details")
        return INCOMPLETE.get(str(details.get("reason") if isinstance(details, dict) else None), "length")
    return "tool_calls" if has_calls else "stop"


# -- streams --

_DELTAS: Final[Mapping[str, tuple[str, str]]] = {
    "response.output_text.delta": ("output_text", "content_index"),
    "response.refusal.delta": ("refusal", "content_index"),
    "response.reasoning_summary_text.delta": ("summary_text", "summary_index"),
    "response.reasoning_text.delta": ("reasoning_text", "content_index"),
}
"""Events that bring a piece of a text: of which kind of part, and what says which part of its item it is."""

_Key = tuple[str, str, str]
"""Where a part stands: its item, its kind, its place in the item."""


@dataclass(slots=True)
class _Seen:
    """How much of a part is told: signs and annotations. `start` is where its text begins in the whole."""

    start: int
    signs: int = 0
    annotations: int = 0


@dataclass(slots=True)
class _OpenCall:
    """A call under way: its place among the calls, and how much of what it was given is told."""

    place: int
    kind: _CallKind
    signs: int = 0


class Events:
    """Makes chat chunks of the events of one response's stream.

    The first chunk carries the role. `end` gives one with `finish_reason`, and a last one without choices that tells
    the usage; whoever writes the stream drops that one if the caller did not ask for it. What no piece has told, the
    end of its item tells; events that chat has no place for give nothing. The time is the response's own, else
    *created*, Unix time in seconds.
    """

    def __init__(self, asked: Json, *, created: int) -> None:  # noqa: ARG002  # the one shape of all ways back
        self._created = created
        self._start: Json = {}
        self._last: Json = {}
        self._parts: dict[_Key, _Seen] = {}
        self._calls: dict[str, _OpenCall] = {}
        self._thought: _Key | None = None
        self._signs = 0
        self._has_items = self._has_seals = False

    def feed(self, name: str | None, data: Json) -> list[Event]:
        """The chunks that one event gives.

        *name* is the event's name, *data* its parsed data, whose own `type` counts if it has one. Raises
        `ProviderFailed` for `error` and `response.failed`, and for what cannot be read.
        """
        kind = str(data.get("type") or name)
        if kind in _DELTAS:
            part, place = _DELTAS[kind]
            key = (_item_of(data), part, str(data.get(place)))
            return self._said(key, _text(data, "delta"), data.get("logprobs"))
        read = self._EVENTS.get(kind)
        return read(self, data) if read else []

    def end(self) -> list[Event]:
        """The finish and, if it was told, the usage; for a stream whose last event has come."""
        last = self._chunk({}, finish=_finish(self._last, has_calls=bool(self._calls)))
        if isinstance(self._last.get("usage"), dict):
            usage = usage_from_response(self._last["usage"])
            last.append((None, {**self._start, "choices": [], "usage": usage}))
        return last

    def _chunk(self, delta: Json, *, logprobs: Any = None, finish: str | None = None) -> list[Event]:
        if not self._start:
            raise _unreadable()
        tokens = _logprobs(logprobs)
        beside = {"content": tokens, "refusal": None} if tokens else None
        choice = {"index": 0, "delta": delta, "logprobs": beside, "finish_reason": finish}
        return [(None, {**self._start, "choices": [choice]})]

    # -- the response --

    def _begun(self, data: Json) -> list[Event]:
        """The first of the events that show the response begins the answer."""
        if self._start:
            return []
        self._start = _head(_inside(data, "response"), "chat.completion.chunk", self._created)
        return self._chunk({"role": "assistant", "content": ""})

    def _finished(self, data: Json) -> list[Event]:
        """The whole again: it fills in what the items did not tell."""
        self._last, told = _inside(data, "response"), self._begun(data)
        if isinstance(tier := self._last.get("service_tier"), str):
            self._start["service_tier"] = tier
        items = _listed(self._last.get("output") or [])
        if not self._has_items:
            return told + [event for index, item in enumerate(items) for event in self._tell(str(index), item)]
        return told if self._has_seals else told + [event for item in items for event in self._seal(item)]

    def _failed(self, data: Json) -> list[Event]:
        raise failure(_inside(data, "response"))

    def _error(self, data: Json) -> list[Event]:
        raise failure({"type": "error", **data})

    # -- its items --

    def _item_added(self, data: Json) -> list[Event]:
        item = _inside(data, "item")
        return self._called(_item_of(data), item) if _kind(item) in _CALLS else []

    def _item_done(self, data: Json) -> list[Event]:
        self._has_items = True
        return self._tell(_item_of(data), _inside(data, "item"))

    def _tell(self, index: str, item: Json) -> list[Event]:
        """What of the finished *item* is not told yet."""
        told = [event for part in _parts(item) for event in self._rest((index, part.kind, str(part.place)), part)]
        if _kind(item) in _CALLS:
            told += self._called(index, item)
        return told + self._seal(item)

    def _rest(self, key: _Key, part: _Part) -> list[Event]:
        seen = self._seen(key)
        beside = part.given.get("logprobs") if not seen.signs else None  # else they came with the pieces
        told = self._said(key, part.text[seen.signs :], beside)
        annotations = part.given.get("annotations")
        rest = annotations[seen.annotations :] if isinstance(annotations, list) else []
        return told + [event for each in rest for event in self._cited(seen, each)]

    def _seal(self, item: Json) -> list[Event]:
        sealed = _sealed(item)
        self._has_seals = self._has_seals or bool(sealed)
        return self._chunk({"reasoning_items": sealed}) if sealed else []

    # -- their texts --

    def _seen(self, key: _Key) -> _Seen:
        return self._parts.setdefault(key, _Seen(self._signs))

    def _said(self, key: _Key, text: str, logprobs: Any) -> list[Event]:
        seen = self._seen(key)
        if not text:
            return []
        seen.signs += len(text)
        if key[1] == "output_text":
            self._signs += len(text)
        if key[1] in _THOUGHTS:
            text = text if self._thought in {None, key} else _BETWEEN + text
            self._thought = key
        return self._chunk({_FIELDS[key[1]]: text}, logprobs=logprobs)

    def _annotated(self, data: Json) -> list[Event]:
        seen = self._seen((_item_of(data), "output_text", str(data.get("content_index"))))
        return self._cited(seen, data.get("annotation"))

    def _cited(self, seen: _Seen, annotation: Any) -> list[Event]:
        seen.annotations += 1
        annotations = _annotations([annotation], seen.start)
        return self._chunk({"annotations": annotations}) if annotations else []

    # -- and its calls --

    def _called(self, index: str, item: Json) -> list[Event]:
        """What of a call is not told yet."""
        kind, opened = _CALLS[item["type"]], []
        if index not in self._calls:
            call = _call({**item, kind.given: ""})
            self._calls[index] = _OpenCall(len(self._calls), kind)
            opened = self._chunk({"tool_calls": [{"index": self._calls[index].place, **call}]})
        given = _text(item, kind.given) if kind.given in item else ""
        return opened + self._given(self._calls[index], given[self._calls[index].signs :])

    def _argued(self, data: Json) -> list[Event]:
        """A piece of what a call is given. If its item was not announced, its end will tell it all."""
        fragment, call = _text(data, "delta"), self._calls.get(_item_of(data))
        return self._given(call, fragment) if call else []

    def _given(self, call: _OpenCall, fragment: str) -> list[Event]:
        if not fragment:
            return []
        call.signs += len(fragment)
        piece = {"index": call.place, call.kind.chat: {call.kind.given: fragment}}
        return self._chunk({"tool_calls": [piece]})

    _EVENTS: ClassVar[Mapping[str, Callable[[Events, Json], list[Event]]]] = {
        "response.created": _begun,
        "response.queued": _begun,
        "response.in_progress": _begun,
        "response.output_item.added": _item_added,
        "response.output_item.done": _item_done,
        "response.output_text.annotation.added": _annotated,
        "response.function_call_arguments.delta": _argued,
        "response.custom_tool_call_input.delta": _argued,
        "response.completed": _finished,
        "response.incomplete": _finished,
        "response.failed": _failed,
        "error": _error,
    }


def _item_of(data: Json) -> str:
    """Which item an event is about: its place in the output, or where that is not told, its id."""
    item = data.get("item")
    id = item.get("id") if isinstance(item, dict) else data.get("item_id")
    return str(data.get("output_index", id))
