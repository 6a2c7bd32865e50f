"""The answers of a chat provider as answers to a caller of responses, whole (`whole`) and streamed (`Events`).

For: pure translation over parsed JSON. There is one way only: a whole answer is told as a stream of one chunk, and
what that ends with is the answer. What gets lost is listed in `LOSSES`.

Not for: requests, which are in `responses_to_chat`, nor for `[DONE]`, errors of ours, or bytes.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, Final, TypeVar

import msgspec

from membrain.dialects.base import Event, Json
from membrain.dialects.responses_to_chat import INPUT, Offered, offered
from membrain.dialects.sealed import seal
from membrain.errors import ProviderFailed

Say = Callable[..., Event]
"""Makes the next event of a stream, of its type and its members."""

LOSSES: Final[Mapping[str, str]] = {
    "choices": "The first choice is the answer; a request of responses has no way to ask for more.",
    "choices[].message.audio": "Dropped: it is never asked for on this route.",
    "choices[].message.function_call": "Dropped: functions are only described in `tools` on this route.",
    "choices[].message.reasoning": "Some providers tell reasoning under this name and as `reasoning_content`: "
    "the one that comes first counts.",
    "choices[].message.annotations": "Citations of addresses go to the text that is told when they come, or the next "
    "one; if there is none they are dropped, and so are those of other kinds.",
    "choices[].logprobs.refusal": "Dropped: a refusal has no probabilities in responses.",
    "choices[].message.tool_calls[].function.arguments": "Of a call of a custom tool, only its text goes on. Half an "
    "escape at the end of a text that was cut off is dropped, half a surrogate pair becomes U+FFFD.",
    "choices[].finish_reason": "`length` and `content_filter` make the response incomplete, and its last item with "
    "it; any other reason completes it.",
    "system_fingerprint": "Dropped: responses have no place for it.",
    "service_tier": "A tier that OpenAI does not have is told as the one that was asked for.",
}
"""What an answer loses on its way back, with a sentence for each field."""

INCOMPLETE: Final[Mapping[str, str]] = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Chat's finish reasons that leave a response incomplete, and how responses call them. Any other completes it."""

_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
_REASONING: Final = ("reasoning", "reasoning_content")
_NOT_IN_IDS: Final = re.compile(r"[^a-zA-Z0-9]")

_ECHOED: Final[Mapping[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": None,
    "temperature": None,
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": None,
    "user": None,
}
"""What a response says again of the request as it is, and what it says if that was not sent."""

_FIXED: Final[Mapping[str, Any]] = {
    "background": False,
    "error": None,
    "previous_response_id": None,
    "store": False,
    "truncation": "disabled",
}
"""What is so for every response on this route."""


def whole(answer: Json, asked: Json, *, created: int) -> Json:
    """The response that says what the chat completion *answer* says.

    *asked* is the caller's own request, *created* Unix time in seconds. Raises `ProviderFailed` for an error object,
    and for what cannot be read as a completion.
    """
    choice = next((each for each in _listed(answer.get("choices")) if _is_first(each)), None)
    if choice is None:
        raise failure(answer) if answer.get("error") else _unreadable()
    message = _inside(choice, "message")
    calls = [{**call, "index": place} for place, call in enumerate(_listed(message.get("tool_calls")))]
    told = Events(asked, created=created)
    told.feed(None, {**answer, "choices": [{**choice, "index": 0, "delta": {**message, "tool_calls": calls}}]})
    response: Json = told.end()[-1][1]["response"]
    return response


def failure(told: Json) -> ProviderFailed:
    """The error object of a chat provider, whole or in mid-stream, as our error in its own words."""
    given = told.get("error")
    error: Json = given if isinstance(given, dict) else {"message": given}
    message, kind, code = (error.get(name) for name in ("message", "type", "code"))
    return ProviderFailed(
        message if isinstance(message, str) and message else "The provider reported an error without a word.",
        status=code if isinstance(code, int) and code in _STATUSES else 502,
        type=kind if isinstance(kind, str) else None,
        code=code if isinstance(code, str) else None,
    )


_STATUSES: Final = frozenset({400, 402, 404, 408, 409, 413, 422, 429, *range(500, 600)})
"""Which status in an error object is kept. A 401 or 403 is about a key that the caller does not hold."""


def _unreadable() -> ProviderFailed:
    return ProviderFailed("The provider's answer is not of the shape that chat completions have.")


def _listed(value: Any) -> list[Json]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise _unreadable()
    return value


def _inside(data: Json, name: str) -> Json:
    """The object *name* of *data*, an empty one if there is none."""
    value = data.get(name)
    if value is not None and not isinstance(value, dict):
        raise _unreadable()
    return value or {}


def _told(data: Json, name: str) -> str:
    """The text *name* of *data*, empty if there is none."""
    value = data.get(name)
    if value is not None and not isinstance(value, str):
        raise _unreadable()
    return value or ""


def _is_first(choice: Json) -> bool:
    return choice.get("index") in (None, 0)


class Events:
    """Makes the events of a response of the chunks of one chat stream.

    Items follow each other as the provider tells them: reasoning, text, calls. What is said ends where something
    else begins; a call ends when its arguments are whole and something else begins, so that calls may interleave,
    and at the latest with the answer. *asked* is the caller's own request, *created* Unix time in seconds.
    """

    def __init__(self, asked: Json, *, created: int) -> None:
        self._asked = asked
        self._created = created
        self._tools = offered(asked)
        self._numbers = count()
        self._stem = ""
        self._model = ""
        self._tier = ""
        self._usage: Json = {}
        self._finish = ""
        self._reasoning_names: tuple[str, ...] = _REASONING
        self._items: list[_Item] = []
        self._open: list[_Item] = []
        self._calls: dict[int, _Call] = {}
        self._tokens: list[Json] = []
        self._cited: list[Json] = []

    def feed(self, name: str | None, data: Json) -> list[Event]:  # noqa: ARG002  # chat gives its events no names
        """The events that one chunk gives. Raises `ProviderFailed` for an error, and for what cannot be read."""
        if data.get("error"):
            raise failure(data)
        choices = _listed(data.get("choices"))
        self._note(data)
        events = self._begun(data) if choices and not self._stem else []
        for choice in choices:
            events += self._choice(choice) if _is_first(choice) else []
        return events

    def end(self) -> list[Event]:
        """What closes the stream; the last event has the whole response in it."""
        if not self._stem:
            raise _unreadable()
        events = self._closed()
        status = "incomplete" if self._finish in INCOMPLETE else "completed"
        return [*events, self._say(f"response.{status}", response=self._response(status))]

    def _say(self, kind: str, **members: Any) -> Event:
        return kind, {"type": kind, "sequence_number": next(self._numbers), **members}

    def _note(self, data: Json) -> None:
        """Remember what *data* says of the answer as a whole; a provider may say it late, and only once."""
        self._model = _told(data, "model") or self._model
        tier = _told(data, "service_tier")
        self._tier = tier if tier in _TIERS else self._tier
        self._usage = _inside(data, "usage") or self._usage

    def _begun(self, data: Json) -> list[Event]:
        self._stem = _stem(data.get("id"), self._created)
        response = self._response("in_progress")
        return [self._say(f"response.{kind}", response=response) for kind in ("created", "in_progress")]

    def _response(self, status: str) -> Json:
        """The response as it is known by now; what was used is told at the end."""
        reason = INCOMPLETE.get(self._finish) if status == "incomplete" else None
        sent = {name: value for name, value in self._asked.items() if name in _ECHOED and value is not None}
        return {
            "id": f"resp_{self._stem}",
            "object": "response",
            "created_at": self._created,
            "completed_at": None,
            "status": status,
            "incomplete_details": {"reason": reason} if reason else None,
            "model": self._model or self._asked.get("model") or "",
            "output": [item.told() for item in self._items],
            "usage": _usage(self._usage) if self._usage and status != "in_progress" else None,
            **_FIXED,
            **_ECHOED,
            **sent,
            "metadata": self._asked.get("metadata") or {},
            "reasoning": {"effort": None, "summary": None, **(self._asked.get("reasoning") or {})},
            "text": _text(self._asked.get("text") or {}),
            "tools": self._asked.get("tools") or [],
            "service_tier": self._tier or sent.get("service_tier"),
        }

    def _choice(self, choice: Json) -> list[Event]:
        """What a piece of the one choice says: reasoning first, then words, then calls."""
        delta = _inside(choice, "delta")
        self._tokens += map(_token, _listed(_inside(choice, "logprobs").get("content")))
        self._cited += _citations(delta.get("annotations"))
        events = [*self._thought(delta), *self._refused(delta), *self._said(delta)]
        for row, piece in enumerate(_listed(delta.get("tool_calls"))):
            events += self._called(piece, row)
        if finish := _told(choice, "finish_reason"):
            self._finish = finish
            events += self._closed()
        return events

    def _thought(self, delta: Json) -> list[Event]:
        """Reasoning: what is for the reader, and what only its provider can read."""
        sealed = [*_listed(delta.get("thinking_blocks")), *_listed(delta.get("reasoning_items"))]
        name = next((each for each in self._reasoning_names if _told(delta, each)), None)
        if not sealed and name is None:
            return []
        item, events = self._speaker(_Reasoning)
        item.sealed += sealed
        if name is not None:
            self._reasoning_names = (name,)
            events += item.think(delta[name])
        return events

    def _refused(self, delta: Json) -> list[Event]:
        refusal = _told(delta, "refusal")
        if not refusal:
            return []
        item, events = self._speaker(_Message)
        return events + item.refuse(refusal)

    def _said(self, delta: Json) -> list[Event]:
        """Text, and the tokens and citations that have waited for it."""
        text, last = _told(delta, "content"), self._open[-1] if self._open else None
        if not text and not (isinstance(last, _Message) and last.is_text and (self._tokens or self._cited)):
            return []
        item, events = self._speaker(_Message)
        if text or self._tokens:
            events += item.tell(text, self._tokens)
        events += item.cite(self._cited)
        self._tokens, self._cited = [], []
        return events

    def _called(self, piece: Json, row: int) -> list[Event]:
        """A piece of a call. Some providers number all calls alike: another id and a name are another call."""
        place, called = piece.get("index"), _told(piece, "id")
        place = place if isinstance(place, int) else row
        function = _inside(piece, "function")
        call, name, events = self._calls.get(place), _told(function, "name"), []
        if call is None or (name and called and call.named not in ("", called)):
            if not name:
                raise _unreadable()
            tool = self._tools.get(name) or Offered("function", name)
            call = _CALLS[tool.kind](self._say, len(self._items), self._stem, tool, called)
            self._calls[place] = call
            events = self._opened(call)
        return events + call.argue(_told(function, "arguments"))

    def _speaker(self, kind: type[_Spoken]) -> tuple[_Spoken, list[Event]]:
        """The item of that *kind* that is being told, and the events that open it if it has to be."""
        last = self._open[-1] if self._open else None
        if isinstance(last, kind):
            return last, []
        item = kind(self._say, len(self._items), self._stem)
        return item, self._opened(item)

    def _opened(self, item: _Item) -> list[Event]:
        """Close what is over by now, and open *item*."""
        over = [each for each in self._open if each.is_over()]
        events = [event for each in over for event in each.close("completed")]
        self._open = [*(each for each in self._open if each not in over), item]
        self._items.append(item)
        return [*events, item.open()]

    def _closed(self) -> list[Event]:
        """Close all that is open. If the answer was cut off, then in its last item."""
        cut = self._items[-1] if self._items and self._finish in INCOMPLETE else None
        still, self._open = self._open, []
        return [event for each in still for event in each.close("incomplete" if each is cut else "completed")]


# -- the items of a response, each of which makes its own events --


class _Item(ABC):
    """One item of the output, at the index *place* of it, under way or done."""

    prefix = ""

    def __init__(self, say: Say, place: int, stem: str) -> None:
        self._respond = say
        self._place = place
        self.id = f"{self.prefix}_{stem}_{place}"
        self.status = "in_progress"
        self._pieces: list[str] = []

    def say(self, kind: str, **members: Any) -> Event:
        """An event of this item."""
        return self._respond(f"response.{kind}", item_id=self.id, output_index=self._place, **members)

    def open(self) -> Event:
        """The event that begins the item."""
        return self._respond("response.output_item.added", output_index=self._place, item=self.told())

    def close(self, status: str) -> list[Event]:
        """The events that end the item, as `completed` or `incomplete`."""
        events = self.finish()
        self.status = status
        return [*events, self._respond("response.output_item.done", output_index=self._place, item=self.told())]

    def is_over(self) -> bool:
        """Whether the item ends if something else begins."""
        return True

    @abstractmethod
    def told(self) -> Json:
        """The item itself, as far as it was told."""

    @abstractmethod
    def finish(self) -> list[Event]:
        """The events that come before the item is done."""


_Spoken = TypeVar("_Spoken", bound=_Item)


class _Reasoning(_Item):
    """Reasoning: one summary for the reader, and `sealed` blocks of the provider's for its next turn."""

    prefix = "rs"

    def __init__(self, say: Say, place: int, stem: str) -> None:
        super().__init__(say, place, stem)
        self.sealed: list[Json] = []

    def think(self, text: str) -> list[Event]:
        """Add *text* to the summary."""
        part = {"type": "summary_text", "text": ""}
        events = [] if self._pieces else [self.say("reasoning_summary_part.added", summary_index=0, part=part)]
        self._pieces.append(text)
        return [*events, self.say("reasoning_summary_text.delta", summary_index=0, delta=text)]

    def told(self) -> Json:
        summary = [{"type": "summary_text", "text": "".join(self._pieces)}] if self._pieces else []
        sealed = seal(self.sealed) if self.sealed else None
        return {"id": self.id, "type": "reasoning", "summary": summary, "encrypted_content": sealed}

    def finish(self) -> list[Event]:
        signed = "".join(_told(block, "thinking") for block in self.sealed)
        events = self.think(signed) if signed and not self._pieces else []
        if not self._pieces:
            return []
        text = "".join(self._pieces)
        part = {"type": "summary_text", "text": text}
        events.append(self.say("reasoning_summary_text.done", summary_index=0, text=text))
        return [*events, self.say("reasoning_summary_part.done", summary_index=0, part=part)]


class _Message(_Item):
    """What the model says: parts of text and refusals."""

    prefix = "msg"

    def __init__(self, say: Say, place: int, stem: str) -> None:
        super().__init__(say, place, stem)
        self._parts: list[Json] = []
        self._tokens: list[Json] = []
        self._cited: list[Json] = []

    @property
    def is_text(self) -> bool:
        """Whether the last part is text."""
        return bool(self._parts) and self._parts[-1]["type"] == "output_text"

    def tell(self, text: str, tokens: list[Json]) -> list[Event]:
        """Add *text*, and the *tokens* that it is made of, where they are told."""
        begun = (
            [] if self.is_text else self._begun({"type": "output_text", "text": "", "annotations": [], "logprobs": []})
        )
        self._pieces.append(text)
        self._tokens += tokens
        return [*begun, self._say_part("output_text.delta", delta=text, logprobs=tokens)]

    def refuse(self, text: str) -> list[Event]:
        """Add *text* to a refusal."""
        is_new = not self._parts or self.is_text
        begun = self._begun({"type": "refusal", "refusal": ""}) if is_new else []
        self._pieces.append(text)
        return [*begun, self._say_part("refusal.delta", delta=text)]

    def cite(self, citations: list[Json]) -> list[Event]:
        """Add *citations* to the text."""
        start = len(self._cited)
        self._cited += citations
        return [
            self._say_part("output_text.annotation.added", annotation_index=index, annotation=citation)
            for index, citation in enumerate(citations, start)
        ]

    def told(self) -> Json:
        head = {"id": self.id, "type": "message", "status": self.status, "role": "assistant"}
        return {**head, "content": [dict(part) for part in self._parts]}

    def finish(self) -> list[Event]:
        """The end of the last part."""
        if not self._parts:
            return []
        part, text = self._parts[-1], "".join(self._pieces)
        if self.is_text:
            part |= {"text": text, "annotations": self._cited, "logprobs": self._tokens}
            done = self._say_part("output_text.done", text=text, logprobs=self._tokens)
        else:
            part["refusal"] = text
            done = self._say_part("refusal.done", refusal=text)
        self._pieces, self._tokens, self._cited = [], [], []
        return [done, self._say_part("content_part.done", part=dict(part))]

    def _begun(self, part: Json) -> list[Event]:
        ended = self.finish()
        self._parts.append(part)
        return [*ended, self._say_part("content_part.added", part=dict(part))]

    def _say_part(self, kind: str, **members: Any) -> Event:
        return self.say(kind, content_index=len(self._parts) - 1, **members)


class _Call(_Item):
    """The call of a function; `named` is the id that the provider gave it, empty if none."""

    prefix = "fc"

    def __init__(self, say: Say, place: int, stem: str, tool: Offered, named: str) -> None:
        super().__init__(say, place, stem)
        self.named = named
        known = {} if tool.namespace is None else {"namespace": tool.namespace}
        self._head = {"call_id": named or f"call_{stem}_{place}", "name": tool.name, **known}

    def argue(self, fragment: str) -> list[Event]:
        """Add a *fragment* of the arguments. None may come when they were whole."""
        if self.status != "in_progress" and fragment.strip():
            raise _unreadable()
        if self.status != "in_progress" or not fragment:
            return []
        self._pieces.append(fragment)
        return [self.say("function_call_arguments.delta", delta=fragment)]

    def is_over(self) -> bool:
        """Whether the arguments are whole: an object, as they always are."""
        try:
            msgspec.json.decode("".join(self._pieces), type=Json)
        except (ValueError, RecursionError):
            return False
        return True

    def told(self) -> Json:
        arguments = "".join(self._pieces)
        return {"id": self.id, "type": "function_call", "status": self.status, **self._head, "arguments": arguments}

    def finish(self) -> list[Event]:
        arguments = "".join(self._pieces)
        return [self.say("function_call_arguments.done", name=self._head["name"], arguments=arguments)]


class _CustomCall(_Call):
    """The call of a custom tool: a function's on the wire of chat, whose arguments are unwrapped as they come."""

    prefix = "ctc"

    def __init__(self, say: Say, place: int, stem: str, tool: Offered, named: str) -> None:
        super().__init__(say, place, stem, tool, named)
        self._wrapped = _Wrapped()

    def argue(self, fragment: str) -> list[Event]:
        """Add a *fragment* of the arguments; what follows the text itself says nothing."""
        return self._told_more(self._wrapped.feed(fragment))

    def is_over(self) -> bool:
        """Whether the text has come to its closing quote."""
        return self._wrapped.is_closed

    def told(self) -> Json:
        text = "".join(self._pieces)
        return {"id": self.id, "type": "custom_tool_call", "status": self.status, **self._head, "input": text}

    def finish(self) -> list[Event]:
        events = self._told_more(self._wrapped.end())
        return [*events, self.say("custom_tool_call_input.done", input="".join(self._pieces))]

    def _told_more(self, text: str) -> list[Event]:
        if not text:
            return []
        self._pieces.append(text)
        return [self.say("custom_tool_call_input.delta", delta=text)]


_CALLS: Final[Mapping[str, type[_Call]]] = {"function": _Call, "custom": _CustomCall}


class _Wrapped:
    """Takes the text out of `{"input": "..."}` as it comes in fragments, whatever they are.

    Models do not always write what was asked for. Escapes that JSON does not have stay as they stand, and of
    arguments of another shape what is most likely meant is given at the end: see `_meant`.
    """

    def __init__(self) -> None:
        self.is_closed = False
        self._is_inside = False
        self._before: list[str] = []
        self._held = ""

    def feed(self, fragment: str) -> str:
        """The text that is certain by now."""
        if self.is_closed or not fragment:
            return ""
        if self._is_inside:
            self._held += fragment
            return "".join(self._unescaped())
        self._before.append(fragment)
        if len(self._before) > _OPENING_SIGNS:
            return ""  # so that text of another shape is not put together again for every fragment
        begun = "".join(self._before)
        if (opening := _OPENING.match(begun)) is None:
            return ""
        self._is_inside, self._held = True, begun[opening.end() :]
        return "".join(self._unescaped())

    def end(self) -> str:
        """The rest, when nothing more will come: nothing, if the arguments had the shape that was asked for."""
        text = "" if self._is_inside else _meant("".join(self._before))
        self.is_closed = self._is_inside = True
        return text

    def _unescaped(self) -> Iterator[str]:
        """Pieces of the text; what may yet become another sign with what follows is held back."""
        held, at = self._held, 0
        while at < len(held) and not self.is_closed:
            if _UNSURE.match(held, at):
                break
            token = _TOKEN.match(held, at)
            raw = token.group() if token else held[at]
            at += len(raw)
            self.is_closed = raw == '"'
            yield "" if self.is_closed else _sign(raw)
        self._held = held[at:]


_OPENING: Final = re.compile(r'\s{0,9}\{\s{0,9}"input"\s{0,9}:\s{0,9}"')
_OPENING_SIGNS: Final = 46
"""What that is at the most."""

_TOKEN: Final = re.compile(
    r'[^"\\]+|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[^u]', re.DOTALL
)
_UNSURE: Final = re.compile(
    r"\\(?:u[0-9a-fA-F]{0,3})?\Z|\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?\Z"
)
"""The end of a text at which an escape has begun, or one that may be the first half of two."""

_ESCAPES: Final[Mapping[str, str]] = {
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    '"': '"',
    "\\": "\\",
    "/": "/",
}


def _sign(raw: str) -> str:
    """What *raw*, a piece of a JSON string, stands for."""
    if not raw.startswith("\\") or len(raw) < 2:
        return raw
    if raw[1] != "u":
        return _ESCAPES.get(raw[1], raw)
    halves = bytes.fromhex(raw.replace("\\u", ""))
    return halves.decode("utf-16-be", "replace")


def _meant(arguments: str) -> str:
    """The text that arguments of an unforeseen shape hold: `input`, the only member, a bare string, or all of it."""
    try:
        given = msgspec.json.decode(arguments)
    except (ValueError, RecursionError):
        return arguments
    if isinstance(given, dict):
        given = given.get(INPUT) if INPUT in given or len(given) != 1 else next(iter(given.values()))
    return given if isinstance(given, str) else arguments


# -- small things --


def _text(asked: Json) -> Json:
    """How text was asked for, with what holds if nothing was said."""
    return {"format": {"type": "text"}, **{name: value for name, value in asked.items() if value is not None}}


def _stem(answer_id: Any, created: int) -> str:
    """What all ids of one response have in common. Some providers number their answers from 0 to 999, hence the time.

    The same answer has the same ids, whole and streamed.
    """
    own = answer_id.removeprefix("chatcmpl-") if isinstance(answer_id, str) else ""
    return f"{created:08x}{_NOT_IN_IDS.sub('', own)[:40]}"


def _token(told: Json) -> Json:
    """One token, as responses have it: with bytes in any case."""
    said, others = _alone(told), _listed(told.get("top_logprobs"))
    return {**said, "top_logprobs": [_alone(other) for other in others]}


def _alone(told: Json) -> Json:
    text, raw = _told(told, "token"), told.get("bytes")
    spelled = raw if isinstance(raw, list) else list(text.encode("utf-8", "replace"))
    return {"token": text, "bytes": spelled, "logprob": told.get("logprob")}


def _citations(told: Any) -> list[Json]:
    """Citations of addresses, flat, as responses have them."""
    found = (_inside(each, "url_citation") for each in _listed(told) if each.get("type") == "url_citation")
    empty = {"start_index": 0, "end_index": 0, "title": "", "url": ""}
    return [{"type": "url_citation", **empty, **each} for each in found]


def _usage(told: Json) -> Json:
    prompt, completion = _inside(told, "prompt_tokens_details"), _inside(told, "completion_tokens_details")
    used, made = _count(told, "prompt_tokens"), _count(told, "completion_tokens")
    cache = {name: _count(prompt, name) for name in ("cached_tokens", "cache_write_tokens")}
    return {
        "input_tokens": used,
        "input_tokens_details": cache,
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": _count(completion, "reasoning_tokens")},
        "total_tokens": _count(told, "total_tokens") or used + made,
    }


def _count(told: Json, name: str) -> int:
    value = told.get(name)
    return value if isinstance(value, int) else 0
