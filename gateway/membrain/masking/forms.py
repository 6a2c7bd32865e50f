"""Where the texts of an answer are, dialect by dialect, and which of them go on from event to event.

A form knows the names of members and events, and nothing of values: what is put where, `answer` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from membrain.masking.signed import SEALED, SIGNED, is_signed

Key = tuple[Any, ...]
"""Which text of an answer: the names down to it; items of lists by their `index`, or by their place."""

Path = Sequence[Any]
Data = Mapping[str, Any]
Over = Callable[[Key], bool]
"""Whether the running text with this key is over."""


class Kind(Enum):
    """How a text is to be read."""

    SAID = "what the model says; JSON, if the request wants that"
    PROSE = "any other text"
    ARGUMENTS = "what a tool is given, as JSON in a text"
    WORDS = "what a tool is given, as text"
    NAME = "the name of a tool"
    TOKEN = "a piece of a text that stands elsewhere"  # noqa: S105  # not a password


class Spot(NamedTuple):
    """One text of an answer. `goes_on` says that later events add to it; `scope` whose name the tool's is."""

    key: Key
    kind: Kind = Kind.PROSE
    goes_on: bool = False
    scope: Key = ()


Plain = tuple[Key, str, Kind | None]
"""A piece of a text: which, what, and how to read it; None if it stays as it came. The tool is named at `key[:2]`."""

AS_IT_CAME = SIGNED | {
    "id", "model", "object", "role", "type", "finish_reason", "stop_reason", "system_fingerprint", "service_tier",
    "status", "tool_use_id", "call_id", "item_id", "response_id", "previous_response_id", "obfuscation",
}  # fmt: skip
"""Members that hold no text, or one that somebody matches by name."""


class Form:
    """An answer without texts: nothing in it is touched."""

    silent = True

    def plain(self, body: bytes) -> Plain | None:  # noqa: ARG002  # all forms have one shape
        """What *body* holds, if it is a piece of one text and nothing else; None takes the longer road."""
        return None

    def spot(self, path: Path, data: Data, *, is_key: bool = False) -> Spot | None:  # noqa: ARG002  # likewise
        """How to read the string at *path*; None if it has to stay as it came."""
        return None

    def over(self, data: Data) -> Over | None:  # noqa: ARG002  # likewise
        """Which running texts are over with the event *data*; None if it ends nothing."""
        return None

    def is_echo(self, data: Data) -> bool:  # noqa: ARG002  # likewise
        """Whether it mostly says the request again, and no text in it but tokens goes on: most can be skipped."""
        return False

    def more(self, like: Data, key: Key, text: str) -> tuple[str | None, dict[str, Any]]:
        """The event that adds *text* to the running text *key*, after the manner of the event *like*."""
        raise NotImplementedError("no text goes on here, so nothing is ever held back of one")

    def is_new(self, key: Key) -> bool:  # noqa: ARG002  # likewise
        """Whether the text is the answer's own, and no echo of the request."""
        return True


def at(data: Any, path: Path) -> Data:
    """The object at *path*; an empty one if there is none."""
    node = data
    for step in path:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):  # a member that is there twice hides the one this path goes by
            return {}
    return node if isinstance(node, dict) else {}


def _stays(path: Path, data: Data) -> bool:
    """Whether the string at *path* is matched by name, or signed."""
    last = path[-1]
    if last in AS_IT_CAME or last in {"thinking", "data"}:
        return last in AS_IT_CAME or is_signed(last, at(data, path[:-1]))
    return False


def _indexed(path: Path, data: Data) -> Key:
    """*path* with the items of lists by the index that they say themselves."""
    node: Any = data
    key: list[Any] = []
    for step in path:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            node = None
        said = node.get("index") if isinstance(step, int) and isinstance(node, dict) else None
        key.append(said if type(said) is int else step)
    return tuple(key)


def _number(data: Data, *names: str) -> int | str | None:
    """The first of the members *names* that there is: a place in a list, or an id."""
    found = next((data[name] for name in names if name in data), None)
    return found if isinstance(found, int | str) else None


def _same(value: Any) -> Over:
    return lambda key: key[1] == value


def _all(_: Key) -> bool:
    return True


# --- chat, and what is like it ------------------------------------------------------------------------------


class _ChatDelta(msgspec.Struct, forbid_unknown_fields=True):
    content: str
    role: str | None = None
    refusal: None = None


class _ChatChoice(msgspec.Struct, forbid_unknown_fields=True):
    delta: _ChatDelta
    index: int = 0
    finish_reason: None = None
    logprobs: None = None


class _ChatEvent(msgspec.Struct):
    """Nearly every event of nearly every stream: a piece of one choice's content, and nothing else to restore."""

    choices: tuple[_ChatChoice]


_chat_event = msgspec.json.Decoder(_ChatEvent).decode


class ChatForm(Form):
    """OpenAI's chat completions."""

    silent = False

    def plain(self, body: bytes) -> Plain | None:
        """A piece of one choice's content."""
        try:
            choice = _chat_event(body).choices[0]
        except (ValueError, RecursionError):
            return None
        return ("choices", choice.index, "delta", "content"), choice.delta.content, Kind.SAID

    def spot(self, path: Path, data: Data, *, is_key: bool = False) -> Spot | None:
        """By the names of the members down to it."""
        if is_key or _stays(path, data) or not SEALED.isdisjoint(path[:-1]) or path[-2:] == ("audio", "data"):
            return None
        key, last = _indexed(path, data), path[-1]
        if last == "token":
            return Spot((*key[:-2], last), Kind.TOKEN, goes_on="top_logprobs" not in path)
        goes_on = "delta" in path and isinstance(last, str) and last != "name"
        return Spot(key, _chat_kind(path), goes_on, key[:-1])

    def over(self, data: Data) -> Over | None:
        """The choices that say in this event that they are over."""
        choices = data.get("choices")
        if not isinstance(choices, list):
            return None
        rows = [row for row, each in enumerate(choices) if isinstance(each, dict) and each.get("finish_reason")]
        done = [_number(choices[row], "index") if "index" in choices[row] else row for row in rows]
        return (lambda key: key[0] == "choices" and key[1] in done) if done else None

    def more(self, like: Data, key: Key, text: str) -> tuple[None, dict[str, Any]]:
        """One choice's delta, and what the stream says of itself."""
        node: Any = text
        for step in reversed(key[1:]):
            node = [{"index": step, **node}] if isinstance(step, int) else {step: node}
        event = {name: value for name, value in like.items() if name not in {"choices", "usage"}}
        event[key[0]] = node
        if key[0] == "choices":
            node[0]["finish_reason"] = None
        return None, event


def _chat_kind(path: Path) -> Kind:
    match path[-2:]:
        case (_, "arguments"):
            return Kind.ARGUMENTS
        case ("custom", "input"):
            return Kind.WORDS
        case ("function" | "custom" | "function_call", "name"):
            return Kind.NAME
        case ("message" | "delta", "content"):
            return Kind.SAID
    return Kind.PROSE


class _TextChoice(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    index: int = 0
    finish_reason: None = None
    logprobs: None = None


class _TextEvent(msgspec.Struct):
    choices: tuple[_TextChoice]


_text_event = msgspec.json.Decoder(_TextEvent).decode


class CompletionsForm(ChatForm):
    """OpenAI's legacy completions: a text where chat has a delta."""

    def plain(self, body: bytes) -> Plain | None:
        """A piece of one choice's text."""
        try:
            choice = _text_event(body).choices[0]
        except (ValueError, RecursionError):
            return None
        return ("choices", choice.index, "text"), choice.text, Kind.SAID

    def spot(self, path: Path, data: Data, *, is_key: bool = False) -> Spot | None:
        """By the names of the members down to it."""
        key = _indexed(path, data)
        if is_key:
            return Spot(key, Kind.TOKEN) if key[2:4] == ("logprobs", "top_logprobs") and len(key) == 6 else None
        if _stays(path, data):
            return None
        if key[0] == "choices" and key[2:] == ("text",):
            return Spot(key, Kind.SAID, goes_on=True)
        if key[2:-1] == ("logprobs", "tokens"):
            return Spot(key[:-1], Kind.TOKEN, goes_on=True)
        return Spot(key)

    def more(self, like: Data, key: Key, text: str) -> tuple[None, dict[str, Any]]:
        """One choice's text, and what the stream says of itself."""
        event = {name: value for name, value in like.items() if name not in {"choices", "usage"}}
        event["choices"] = [{"index": key[1], "text": text, "logprobs": None, "finish_reason": None}]
        return None, event


# --- messages -----------------------------------------------------------------------------------------------


class _TextDelta(msgspec.Struct, forbid_unknown_fields=True, tag="text_delta"):
    text: str


class _JsonDelta(msgspec.Struct, forbid_unknown_fields=True, tag="input_json_delta"):
    partial_json: str


class _ThinkingDelta(msgspec.Struct, tag="thinking_delta"):
    thinking: str


class _BlockDelta(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["content_block_delta"]
    index: int
    delta: _TextDelta | _JsonDelta | _ThinkingDelta


_block_delta = msgspec.json.Decoder(_BlockDelta).decode

_BLOCKS_END: Final = frozenset({"message_start", "message_delta", "message_stop"})

_DELTA_KINDS: Final[Mapping[tuple[Any, Any], Kind]] = {
    ("text_delta", "text"): Kind.SAID,
    ("input_json_delta", "partial_json"): Kind.ARGUMENTS,
}


class MessagesForm(Form):
    """Anthropic's messages. A thought that streams is left as it comes: only its end says whether it is signed."""

    silent = False

    def plain(self, body: bytes) -> Plain | None:
        """A piece of one block's text, input or thought."""
        try:
            event = _block_delta(body)
        except (ValueError, RecursionError):
            return None
        delta = event.delta
        if isinstance(delta, _TextDelta):
            return ("content", event.index, "text_delta", "text"), delta.text, Kind.SAID
        if isinstance(delta, _JsonDelta):
            return ("content", event.index, "input_json_delta", "partial_json"), delta.partial_json, Kind.ARGUMENTS
        return (), "", None

    def spot(self, path: Path, data: Data, *, is_key: bool = False) -> Spot | None:
        """By the type of the event, and then by the names of the members down to it."""
        kind = data.get("type")
        if kind == "content_block_delta" and path[0] == "delta":
            return None if is_key else self._delta(path, data)
        steps = tuple(path)
        starts = kind == "content_block_start" and path[0] == "content_block"
        if starts:
            steps = ("content", _number(data, "index"), *path[1:])
        elif path[0] == "message" and len(path) > 1:
            steps = steps[1:]
        if steps[0] == "content" and steps[2:3] == ("input",) and len(steps) > 3:
            return Spot(steps, Kind.PROSE if is_key else Kind.WORDS, scope=steps[:2])
        if is_key or _stays(path, data):
            return None
        return self._in_block(steps, starts=starts) if steps[0] == "content" and len(steps) == 3 else Spot(steps)

    def _delta(self, path: Path, data: Data) -> Spot | None:
        if path[-1] in AS_IT_CAME or path[-1] == "thinking":
            return None
        block = "content", _number(data, "index")
        if len(path) > 2:
            return Spot((*block, *path))
        name = str(at(data, ("delta",)).get("type")), path[-1]
        return Spot((*block, *name), _DELTA_KINDS.get(name, Kind.PROSE), goes_on=True, scope=block)

    def _in_block(self, steps: Key, *, starts: bool) -> Spot | None:
        block, last = steps[:2], steps[2]
        if last == "text":
            return Spot((*block, "text_delta", "text") if starts else steps, Kind.SAID, goes_on=starts)
        if last == "thinking" and starts:
            return None
        return Spot(steps, Kind.NAME if last == "name" else Kind.PROSE, scope=block)

    def over(self, data: Data) -> Over | None:
        """The block that this event ends, or all of them."""
        kind = str(data.get("type"))
        if kind == "content_block_stop":
            return _same(_number(data, "index"))
        return _all if kind in _BLOCKS_END else None

    def more(self, like: Data, key: Key, text: str) -> tuple[str, dict[str, Any]]:  # noqa: ARG002  # likewise
        """One more delta of the block."""
        name = "content_block_delta"
        return name, {"type": name, "index": key[1], "delta": {"type": key[2], key[3]: text}}


# --- responses ----------------------------------------------------------------------------------------------


class _OutputText(msgspec.Struct, forbid_unknown_fields=True, tag="response.output_text.delta"):
    output_index: int
    content_index: int
    delta: str
    item_id: str = ""
    sequence_number: int = 0
    obfuscation: str | None = None
    logprobs: Annotated[list[Any], msgspec.Meta(max_length=0)] | None = None


class _CallArguments(msgspec.Struct, forbid_unknown_fields=True, tag="response.function_call_arguments.delta"):
    output_index: int
    delta: str
    item_id: str = ""
    sequence_number: int = 0
    obfuscation: str | None = None


_delta = msgspec.json.Decoder(_OutputText | _CallArguments).decode

_ENDS: Final = frozenset({"response.completed", "response.failed", "response.incomplete"})
_PART_ENDS: Final = frozenset({"response.content_part.done", "response.reasoning_summary_part.done"})

_PARTS: Final = {
    "response.content_part": ("content", "content_index"),
    "response.reasoning_summary_part": ("summary", "summary_index"),
}
"""Event, less its last word → the list that its `part` is in, and the member with the place there."""

_PLACES: Final = ("content_index", "summary_index", "command_index")

_STEMS: Final = {
    "response.output_text": Kind.SAID,
    "response.function_call_arguments": Kind.ARGUMENTS,
    "response.mcp_call_arguments": Kind.ARGUMENTS,
    "response.custom_tool_call_input": Kind.WORDS,
    "response.code_interpreter_call_code": Kind.WORDS,
    "response.shell_call_command": Kind.WORDS,
}
"""Event, less its last word → how to read what it tells; all others tell prose."""

_PROSE_ITEMS: Final = frozenset({"message", "reasoning", "compaction"})
_BINARY: Final = frozenset({"result", "partial_image_b64"})


class ResponsesForm(Form):
    """OpenAI's responses, whose events say everything up to four times."""

    silent = False

    def plain(self, body: bytes) -> Plain | None:
        """A piece of one part's text, or of one call's arguments."""
        try:
            event = _delta(body)
        except (ValueError, RecursionError):
            return None
        if isinstance(event, _CallArguments):
            key = "output", event.output_index, None, "response.function_call_arguments", "delta"
            return key, event.delta, Kind.ARGUMENTS
        key = "output", event.output_index, event.content_index, "response.output_text", "delta"
        return key, event.delta, Kind.SAID

    def spot(self, path: Path, data: Data, *, is_key: bool = False) -> Spot | None:
        """By the type of the event, and then by the names of the members down to it."""
        if is_key or _stays(path, data) or path[-1] in _BINARY:
            return None
        kind, first = str(data.get("type")), path[0]
        if first == "response":
            return self._in_response(path[1:], at(data, path[:3])) if len(path) > 1 else None
        item = "output", _number(data, "output_index", "item_id")
        if first == "item":
            return self._in_item((*item, *path[1:]), at(data, path[:1]))
        stem, _, word = kind.rpartition(".")
        if first == "part" and stem in _PARTS:
            within, place = _PARTS[stem]
            return self._in_item((*item, within, _number(data, place), *path[1:]), {"type": "message"})
        if kind.startswith("response."):
            return self._told(path, (*item, _number(data, *_PLACES)), stem, word)
        return self._in_response(path, at(data, path[:2]))

    def _in_response(self, path: Path, item: Data) -> Spot | None:
        """In a whole response. What is not output says again what the request said."""
        steps = tuple(path)
        return self._in_item(steps, item) if steps[0] == "output" and len(steps) > 2 else Spot(steps)

    def _in_item(self, steps: Key, item: Data) -> Spot:
        scope, last, kind = steps[:2], steps[-1], str(item.get("type"))
        if last == "token" and "logprobs" in steps:
            return Spot((*steps[:-2], last), Kind.TOKEN, goes_on="top_logprobs" not in steps)
        if kind in _PROSE_ITEMS or kind.endswith("_output"):
            return Spot(steps, Kind.SAID if kind == "message" and last == "text" else Kind.PROSE)
        if len(steps) == 3 and last in {"name", "arguments"}:
            return Spot(steps, Kind.NAME if last == "name" else Kind.ARGUMENTS, scope=scope)
        return Spot(steps, Kind.WORDS, scope=scope)

    def _told(self, path: Path, part: Key, stem: str, word: str) -> Spot | None:
        """In an event that tells a piece of an item, or all of it."""
        scope, last = part[:2], path[-1]
        if stem == "response.audio":
            return None
        if path[0] == "logprobs":
            return Spot((*part, stem, word, last), Kind.TOKEN, goes_on="top_logprobs" not in path)
        if path == ("name",):
            return Spot((*part, "name"), Kind.NAME, scope=scope)
        goes_on = word == "delta" and path[0] == "delta"
        key = (*part, stem, *path) if goes_on else (*part, f"{stem}.{word}", *path)
        return Spot(key, _STEMS.get(stem, Kind.PROSE), goes_on, scope)

    def over(self, data: Data) -> Over | None:
        """The text, part or item that this event says is done, or all of them."""
        kind = str(data.get("type"))
        if kind in _ENDS:
            return _all
        if not kind.endswith(".done"):
            return None
        item, place = _number(data, "output_index", "item_id"), _number(data, *_PLACES)
        if kind == "response.output_item.done":
            return _same(item)
        if kind in _PART_ENDS:
            return lambda key: key[1] == item and place in key[2:4]
        text = item, place, kind.removesuffix(".done")
        return lambda key: bool(key[1:4] == text)

    def is_echo(self, data: Data) -> bool:
        """Whole responses are, and the events that hold one."""
        return "response" in data or data.get("object") == "response"

    def more(self, like: Data, key: Key, text: str) -> tuple[str, dict[str, Any]]:
        """One more delta, without what pads or weighs the one before it."""
        event = {name: value for name, value in like.items() if name != "obfuscation"}
        event["delta"] = {key[5]: text} if len(key) > 5 else text
        if event.get("logprobs"):
            event["logprobs"] = []
        return str(like.get("type")), event

    def is_new(self, key: Key) -> bool:
        """What is not output is the request again: its instructions, tools and metadata."""
        return bool(key[0] == "output")


FORMS: Final[Mapping[str, Form]] = {
    "chat": ChatForm(),
    "messages": MessagesForm(),
    "responses": ResponsesForm(),
    "completions": CompletionsForm(),
}
"""By the dialect. Those that are not here answer in numbers."""

SILENT: Final = Form()
