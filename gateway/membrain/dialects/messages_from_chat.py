"""The answers of a chat provider as Anthropic messages.

For: pure translations over parsed JSON: `whole` makes a chat completion a message, `Events` the chunks of a stream
the events of a message. Anthropic's clients expect one block after the other, so only one is ever open: it is told
as it comes, and what a provider says of others in between waits until it is their turn. What gets lost on the way is
listed in `LOSSES`.

Not for: sending anything, nor for requests: those are in `messages_to_chat`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from membrain.dialects.chat import tokens_of
from membrain.dialects.sealed import seal
from membrain.errors import ProviderFailed

Json = dict[str, Any]
Event = tuple[str | None, Json]

STOP_REASONS: Final[Mapping[str, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
"""Chat's finish reasons as Anthropic's stop reasons; one that is not here is an `end_turn`."""

LOSSES: Final[Mapping[str, str]] = {
    "*": "What chat tells beside an answer has no place in a message: `created`, `system_fingerprint`, `service_tier`, "
    "`logprobs`, and members that only one provider has.",
    "choices[]": "Only the first choice is an answer; a messages request cannot ask for others.",
    "choices[].finish_reason": "Which stop sequence ended an answer is not told, so it looks like an `end_turn`. "
    "Whether the answer calls tools decides between `end_turn` and `tool_use`: not every provider says so.",
    "choices[].message.reasoning_content": "Thinking that nobody signed has an empty signature, and is left out if the "
    "request disabled or omitted thinking. `reasoning`, as some name it, is read likewise.",
    "choices[].message.reasoning_items": "Told as one `redacted_thinking`, which only this gateway can read again.",
    "choices[].message.refusal": "Told as text, with `refusal` as the stop reason.",
    "choices[].message.annotations": "Dropped: Anthropic's citations say more than chat tells of them.",
    "choices[].message.audio": "Dropped, as is the deprecated `function_call`: neither is ever asked for.",
    "choices[].message.tool_calls[].id": "Made up of the answer's id if a provider gives none.",
    "choices[].message.tool_calls[].function.arguments": "Read as JSON. Arguments that are no object are put under "
    "`_raw`, as they are, so that they are not lost; in a stream, an object that breaks off goes on as it came.",
    "usage": "Without counts of the provider's, zeros: Anthropic's packages need numbers. In a stream they stand in "
    "`message_delta`, at the end, because nobody knows them before.",
}
"""What an answer loses on its way back, with a sentence for each field."""

_RAW: Final = "_raw"
_BLANK: Final = " \t\r\n"
_CODE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_REASONING: Final = ("reasoning_content", "reasoning")


def whole(answer: Json, asked: Json, *, created: int) -> Json:  # noqa: ARG001  # a message has no date
    """The message that says what the chat completion *answer* says to the messages request *asked*.

    Raises `ProviderFailed` for an error object, and for what cannot be read as a completion.
    """
    if answer.get("error"):
        raise failure(answer)
    choices = answer.get("choices")
    choice = _object(choices[0]) if isinstance(choices, list) and choices else _object(None)
    message = _object(choice.get("message"))
    made = _head(answer, asked)
    uses = [_tool_use(call, made["id"], row) for row, call in enumerate(_listed(message.get("tool_calls")))]
    refusal = _string(message.get("refusal"))
    texts = [{"type": "text", "text": text} for text in (_string(message.get("content")), refusal) if text]
    made["content"] = [*_thoughts(message, asked), *texts, *uses]
    made["stop_reason"] = _stop_reason(choice.get("finish_reason"), calls=bool(uses), refused=bool(refusal))
    made["usage"] = usage_from_chat(answer.get("usage"))
    return made


def usage_from_chat(usage: Any) -> Json:
    """Chat's token counts as Anthropic has them; zeros if there are none that make sense.

    Chat's `prompt_tokens` are all there were; Anthropic's `input_tokens` leave out what came from a cache or went
    into it.
    """
    tokens = tokens_of(usage)
    if tokens is None:
        return dict(_NO_USAGE)
    counted: Json = {
        "input_tokens": max(tokens.prompt - tokens.cached - tokens.written, 0),
        "cache_creation_input_tokens": tokens.written,
        "cache_read_input_tokens": tokens.cached,
        "output_tokens": tokens.completion,
    }
    return counted | ({"output_tokens_details": {"thinking_tokens": tokens.reasoning}} if tokens.reasoning else {})


_NO_USAGE: Final[Mapping[str, int]] = {
    "input_tokens": 0,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 0,
}


def failure(told: Json) -> ProviderFailed:
    """A chat provider's error, whole or in a stream, as our error, in its own words."""
    error = told.get("error")
    given: Json = error if isinstance(error, dict) else {"message": error}
    code, message, kind = given.get("code"), given.get("message"), given.get("type")
    # Its 401 and 403 are about the gateway's key, which the caller does not hold.
    status = code if type(code) is int and 400 <= code < 600 and code not in {401, 403} else 502
    return ProviderFailed(
        message if isinstance(message, str) and message else "The provider reported an error without a word.",
        status=status,
        code=code if isinstance(code, str) and _CODE.fullmatch(code) else None,
        type=kind if isinstance(kind, str) else None,
        passing=status >= 500 or status in {402, 408, 409, 429},
        reached=False,
    )


def _unreadable() -> ProviderFailed:
    return ProviderFailed("The provider's answer is not of the shape that chat completions have.")


def _object(value: Any) -> Json:
    if not isinstance(value, dict):
        raise _unreadable()
    return value


def _listed(value: Any) -> list[Json]:
    """A list of objects; null is an empty one."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise _unreadable()
    return value


def _string(value: Any) -> str:
    """A text; null is an empty one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _unreadable()
    return value


def _head(told: Json, asked: Json) -> Json:
    """The message of an answer before anything in it is known but its names."""
    id, model = _string(told.get("id")), _string(told.get("model")) or asked.get("model")
    if not id:
        raise _unreadable()
    return {
        "id": id if id.startswith("msg_") else f"msg_{id}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": dict(_NO_USAGE),
    }


def _stop_reason(finish: Any, *, calls: bool, refused: bool) -> str:
    if refused:
        return "refusal"
    reason = STOP_REASONS.get(str(finish), "end_turn")
    if reason in {"end_turn", "tool_use"}:
        return "tool_use" if calls else "end_turn"
    return reason


def _shows_thinking(asked: Json) -> bool:
    """Whether the caller asked for thinking: who did not may take the first block for the answer."""
    thinking = asked.get("thinking")
    given: Json = thinking if isinstance(thinking, dict) else {}
    return given.get("type") in {"enabled", "adaptive"} and given.get("display") != "omitted"


def _thoughts(message: Json, asked: Json) -> list[Json]:
    """What was thought: signed blocks as they are, what is only for the reader, and OpenAI's items in one block."""
    signed = _listed(message.get("thinking_blocks"))
    blocks = [_signed(block) for block in signed if block.get("type") != "thinking" or block.get("signature")]
    told = "".join(block.get("thinking", "") for block in blocks)
    read = next((text for name in _REASONING if (text := _string(message.get(name)))), "")
    read = read or "".join(_string(block.get("thinking")) for block in signed)
    rest = "" if told.startswith(read) else read.removeprefix(told)
    if rest and _shows_thinking(asked):
        blocks.append({"type": "thinking", "thinking": rest, "signature": ""})
    items = _listed(message.get("reasoning_items"))
    return [*blocks, _sealed(items)] if items else blocks


def _signed(block: Json) -> Json:
    """*block* with the members that Anthropic's clients know, exactly as they are."""
    if block.get("type") == "redacted_thinking":
        return {"type": "redacted_thinking", "data": _string(block.get("data"))}
    if block.get("type") != "thinking":
        raise _unreadable()
    return {
        "type": "thinking",
        "thinking": _string(block.get("thinking")),
        "signature": _string(block.get("signature")),
    }


def _sealed(items: list[Json]) -> Json:
    """OpenAI's reasoning *items* as a block that Anthropic's clients hand back unread."""
    return {"type": "redacted_thinking", "data": seal(items)}


def _tool_use(call: Json, message_id: str, row: int) -> Json:
    """A call as a block; *row* is its place among the calls of the message."""
    function = _object(call.get("function"))
    if not (name := _string(function.get("name"))):
        raise _unreadable()
    id = _string(call.get("id")) or f"call_{row}_{message_id}"
    return {"type": "tool_use", "id": id, "name": name, "input": _input(function.get("arguments"))}


def _input(arguments: Any) -> Json:
    """The arguments of a call as an object; chat has them as JSON in a string that a model wrote."""
    if isinstance(arguments, dict):
        return arguments
    text = _string(arguments)
    if text.strip() in {"", "null"}:
        return {}
    try:
        parsed = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        parsed = None
    return parsed if isinstance(parsed, dict) else {_RAW: text}


# -- streams --


@dataclass(slots=True)
class _Block:
    """A block under way: how it opens, and the deltas of it that were not told yet."""

    kind: str
    opening: Json
    deltas: list[Json] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    is_open: bool = False
    is_over: bool = False

    @property
    def may_end(self) -> bool:
        """Whether the next block may begin."""
        return True

    def add(self, text: str) -> None:
        """More of its text."""
        name = self.opening["type"]
        self.said.append(text)
        self.deltas.append({"type": f"{name}_delta", name: text})

    def finish(self) -> None:
        """Nothing more comes."""
        self.is_over = True


_SIGNS: Final = re.compile(r'[{}\[\]"\\]')


@dataclass(slots=True)
class _Nesting:
    """Follows JSON in pieces, to know when the first object in it is complete."""

    depth: int = 0
    length: int = 0
    escaped: int = -1
    in_string: bool = False
    is_complete: bool = False

    def follow(self, text: str) -> None:
        """The next piece."""
        for found in _SIGNS.finditer(text):
            if self.length + found.start() != self.escaped:
                self._sign(found[0], self.length + found.start())
        self.length += len(text)

    def _sign(self, sign: str, at: int) -> None:
        if sign == '"':
            self.in_string = not self.in_string
        elif self.in_string:
            self.escaped = at + 1 if sign == "\\" else self.escaped
        elif sign in "{[":
            self.depth += 1
        else:
            self.depth -= 1
            self.is_complete = self.is_complete or self.depth == 0


@dataclass(slots=True)
class _Use(_Block):
    """A call under way. What is no object by its first sign is kept until it is all there."""

    told_id: str = ""
    nesting: _Nesting = field(default_factory=_Nesting)
    is_object: bool | None = None

    @property
    def may_end(self) -> bool:
        """Only once its arguments are complete: others may have begun in between."""
        return self.nesting.is_complete

    def add(self, text: str) -> None:
        """More of its arguments."""
        if self.is_over:
            if text.strip():
                raise _unreadable()
            return
        if self.is_object is None and (first := text.lstrip(_BLANK)[:1]):
            self.is_object = first == "{"
        self.said.append(text)
        if self.is_object:
            self._tell("".join(self.said))
            self.said.clear()

    def finish(self) -> None:
        """Nothing more comes; arguments that are no object are told now."""
        if not self.is_over and not self.is_object and (given := _input("".join(self.said))):
            self._tell(msgspec.json.encode(given).decode())
        self.is_over = True

    def _tell(self, text: str) -> None:
        self.nesting.follow(text)
        self.deltas.append({"type": "input_json_delta", "partial_json": text})


_OPENINGS: Final[Mapping[str, Json]] = {
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
    "text": {"type": "text", "text": ""},
    "refusal": {"type": "text", "text": ""},
}


class Events:
    """The events of one message, from the chunks of one chat stream.

    Text, thinking and arguments are passed on as they come. Of calls that come interleaved the first is, and the
    others follow as soon as its arguments are complete.
    """

    def __init__(self, asked: Json, *, created: int) -> None:  # noqa: ARG002  # a message has no date
        """*asked* is the messages request that is answered."""
        self._asked = asked
        self._head: Json = {}
        self._blocks: deque[_Block] = deque()
        self._index = 0
        """The place of the first of those blocks; those before it are closed."""
        self._calls: dict[Any, _Use] = {}
        self._last: Any = None
        """Where the last piece of a call belonged."""
        self._called = 0
        self._repeated = ""
        """Thinking that was told with its signature, and that may be told again to those who read no signatures."""
        self._reasoning: str | None = None
        self._items: list[Json] = []
        self._finish: Any = None
        self._refused = False
        self._usage: Any = None

    def feed(self, name: str | None, data: Json) -> list[Event]:  # noqa: ARG002  # chat's events have no names
        """The events that one chunk gives; none for what is no chunk. Raises `ProviderFailed` for an error."""
        if data.get("error"):
            raise failure(data)
        if isinstance(data.get("usage"), dict):
            self._usage = data["usage"]
        told: list[Event] = []
        for choice in _listed(data.get("choices")):
            if not choice.get("index"):
                told += self._start(data)
                self._choice(choice)
                told += self._tell()
        return told

    def end(self) -> list[Event]:
        """What closes the message; to be called once, when the stream came to its proper end."""
        if not self._head:
            raise _unreadable()
        self._finish_all()
        reason = _stop_reason(self._finish, calls=self._called > 0, refused=self._refused)
        delta = {"stop_reason": reason, "stop_sequence": None}
        closing = {"type": "message_delta", "delta": delta, "usage": usage_from_chat(self._usage)}
        return [*self._tell(), *_named([closing, {"type": "message_stop"}])]

    def _start(self, data: Json) -> list[Event]:
        if self._head:
            return []
        self._head = _head(data, self._asked)
        return _named([{"type": "message_start", "message": self._head}])

    def _choice(self, choice: Json) -> None:
        delta = choice.get("delta")
        delta = {} if delta is None else _object(delta)
        self._think(delta)
        self._items += _listed(delta.get("reasoning_items"))
        self._say("text", _string(delta.get("content")))
        self._say("refusal", _string(delta.get("refusal")))
        for piece in _listed(delta.get("tool_calls")):
            self._call(piece)
        if choice.get("finish_reason"):
            self._finish = choice["finish_reason"]
            self._finish_all()

    def _tell(self) -> list[Event]:
        """All that can be told by now: the first block as far as it is known, and those that ended."""
        told: list[Json] = []
        while self._blocks:
            block = self._blocks[0]
            if not block.is_open:
                told.append({"type": "content_block_start", "index": self._index, "content_block": block.opening})
                block.is_open = True
            told += [{"type": "content_block_delta", "index": self._index, "delta": delta} for delta in block.deltas]
            block.deltas.clear()
            if not block.is_over and not (len(self._blocks) > 1 and block.may_end):
                break
            block.is_over = True
            told.append({"type": "content_block_stop", "index": self._index})
            self._blocks.popleft()
            self._index += 1
        return _named(told)

    def _finish_all(self) -> None:
        self._seal()
        for block in self._blocks:
            block.finish()

    def _open(self, block: _Block) -> None:
        self._blocks.append(block)

    def _growing(self, kind: str) -> _Block | None:
        """The last block, if it is of this *kind* and may go on."""
        last = self._blocks[-1] if self._blocks else None
        return last if last is not None and last.kind == kind and not last.is_over else None

    # -- what is said

    def _say(self, kind: str, text: str) -> None:
        if not text:
            return
        self._refused = self._refused or kind == "refusal"
        if kind != "thinking":
            self._thought()
        block = self._growing(kind)
        if block is None:
            block = _Block(kind, dict(_OPENINGS[kind]))
            self._open(block)
        block.add(text)

    def _thought(self) -> None:
        """Something else than thinking begins."""
        self._repeated = ""
        self._seal()

    def _seal(self) -> None:
        """Tell OpenAI's reasoning items, all in one block: they are for no reader, and can wait for each other."""
        if self._items:
            sealed, self._items = _sealed(self._items), []
            self._open(_Block("redacted_thinking", sealed, is_over=True))

    # -- what is thought

    def _think(self, delta: Json) -> None:
        blocks = _listed(delta.get("thinking_blocks"))
        text = self._read(delta) or "".join(
            # Some tell a block in pieces, of which only the last is signed.
            _string(block.get("thinking"))
            for block in blocks
            if block.get("type") == "thinking" and not block.get("signature")
        )
        self._muse(text)
        for block in blocks:
            if block.get("type") != "thinking" or block.get("signature"):
                self._sign(_signed(block))

    def _read(self, delta: Json) -> str:
        """Thinking for the reader, under the name that this provider used first."""
        for name in (self._reasoning,) if self._reasoning else _REASONING:
            if text := _string(delta.get(name)):
                self._reasoning = name
                return text
        return ""

    def _muse(self, text: str) -> None:
        """Thinking for the reader, less what was told before with its signature."""
        if self._repeated.startswith(text):
            self._repeated = self._repeated[len(text) :]
            return
        text, self._repeated = text.removeprefix(self._repeated), ""
        if _shows_thinking(self._asked):
            self._say("thinking", text)

    def _sign(self, block: Json) -> None:
        """A block that its provider signed, or redacted; the reader may know its text already, or part of it."""
        if block["type"] == "redacted_thinking":
            self._open(_Block("redacted_thinking", block, is_over=True))
            return
        text, growing = block["thinking"], self._growing("thinking")
        said = "".join(growing.said) if growing else ""
        if growing is None or not (text.startswith(said) or not text):
            growing, said = _Block("thinking", dict(_OPENINGS["thinking"])), ""
            self._open(growing)
        if rest := text[len(said) :]:
            growing.add(rest)
            self._repeated += rest
        growing.deltas.append({"type": "signature_delta", "signature": block["signature"]})
        growing.is_over = True

    # -- what is called

    def _call(self, piece: Json) -> None:
        function = piece.get("function")
        given: Json = {} if function is None else _object(function)
        use = self._use(piece, given)
        arguments = given.get("arguments")
        use.add(msgspec.json.encode(arguments).decode() if isinstance(arguments, dict) else _string(arguments))

    def _use(self, piece: Json, function: Json) -> _Use:
        """The call that *piece* belongs to, by its index or else by its id; a new id is a new call."""
        id, place = _string(piece.get("id")), piece.get("index")
        place = place if type(place) is int else id or self._last
        known = self._calls.get(place)
        if known is None or (id and known.told_id and id != known.told_id):
            known = self._calls[place] = self._begin(id, _string(function.get("name")))
        self._last = place
        return known

    def _begin(self, id: str, name: str) -> _Use:
        if not name:
            raise _unreadable()
        self._thought()
        opening = {"type": "tool_use", "id": id or f"call_{self._called}_{self._head['id']}", "name": name, "input": {}}
        use = _Use("tool_use", opening, told_id=id)
        self._called += 1
        self._open(use)
        return use


def _named(told: Iterable[Json]) -> list[Event]:
    """Events by the names that their data has as `type`."""
    return [(data["type"], data) for data in told]
