"""A responses request as a chat request.

For: one pure translation over parsed JSON, `request`, and the tables that say where it ends. What chat cannot carry
and would change the answer is a `BadRequest` that names the field (`REFUSALS`), the rest of what it cannot carry is
left out and listed (`LOSSES`). Fields that nobody here knows are left out too: providers of chat refuse what they do
not know. A null counts as not sent. `offered` tells the way back which tool a chat function stands for.

Not for: sending anything, nor for answers: those are in `responses_from_chat`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from membrain.dialects.base import Json
from membrain.dialects.sealed import is_sealed, unseal
from membrain.errors import BadRequest

INPUT: Final = "input"
"""The one parameter of the function that stands for a custom tool."""

_NOT_KEPT = "This provider keeps no responses. Send the whole conversation in `input`."

REFUSALS: Final[Mapping[str, tuple[tuple[Any, ...], str]]] = {
    "previous_response_id": ((), _NOT_KEPT),
    "conversation": ((), _NOT_KEPT),
    "prompt": ((), "This provider keeps no prompt templates. Send the text in `instructions` and `input`."),
    "background": ((False,), "This provider keeps no responses, so there would be nothing to fetch later."),
    "moderation": ((), "Nobody would run it on this route, so the request is not sent without it."),
    "tools[].type": (
        ("function", "custom", "namespace"),
        "OpenAI runs tools of this type itself, and this provider has none of them. Describe a function instead.",
    ),
    "tool_choice": ((), "It must be auto, none, required, or name functions or custom tools of this request."),
    "text.format.type": (
        ("text", "json_object", "json_schema"),
        "It must be text, json_object or json_schema: chat has no other.",
    ),
    "input[].type": ((), "Chat has no place for such an item: no provider of chat could have made it, or read it."),
    "input[].content[].type": ((), "Chat takes text, images, audio and files in a message, and nothing else."),
    "input[].content[].file_id": ((), "The file is kept by OpenAI, where this provider cannot read it. Send its data."),
    "input[].content[].file_url": ((), "Chat takes no addresses of files. Send the file's data in `file_data`."),
}
"""What would change the answer: the values that are fine, and why any other is refused."""

LOSSES: Final[Mapping[str, str]] = {
    "*": "Fields that responses do not have are left out: providers of chat refuse what they do not know.",
    "store": "Nothing is stored on this route, and the answer says `store: false`.",
    "truncation": "Dropped: what does not fit is refused by the provider, and the answer says `disabled`.",
    "max_tool_calls": "Dropped: it counts calls of OpenAI's built-in tools, and there are none.",
    "context_management": "Dropped: nobody compacts the conversation on this route.",
    "client_metadata": "Dropped: it is between Codex and OpenAI.",
    "include": "`message.output_text.logprobs` is asked for, sealed reasoning is always given; the rest is about "
    "built-in tools, and left out.",
    "reasoning": "Only `effort` goes on. Reasoning is shown if the provider tells it, summarised or not.",
    "stream_options": "Usage is always asked for and told; no obfuscation is added.",
    "prompt_cache_options": "Dropped: this provider caches by rules of its own.",
    "prompt_cache_retention": "Dropped: this provider caches by rules of its own.",
    "background_options": "Dropped: nothing runs in the background.",
    "access_programs": "Dropped: OpenAI's programs do not exist here.",
    "image": "Dropped: it tells OpenAI how to compress images.",
    "tools[].type": "Web search, image generation and tool search are left out, if functions or custom tools remain: "
    "Codex offers them unasked. The model does not hear of them. If nothing remains, they are refused.",
    "tools[].format": "A custom tool becomes a function with one string. Its grammar is told in the description, "
    "and nobody enforces it.",
    "tools[].tools": "Tools of a namespace get its name in front of theirs, and the answer has both apart again. "
    "The description of the namespace is dropped.",
    "tools[].*": "Only name, description, parameters, `strict` and `cache_control` go on; tools that were to be "
    "loaded later are offered at once.",
    "tool_choice.tools": "The other tools are left out of the request, instead of being offered and forbidden.",
    "input[].role": "`developer` is sent as `system`, which every provider of chat knows.",
    "input[].id": "Dropped, as are `status` and `phase`: chat has no place for them.",
    "input[].content[].prompt_cache_breakpoint": "Dropped: this provider caches by rules of its own.",
    "input[].summary": "A reasoning item without `encrypted_content` is left out, and so is any after which nothing "
    "was said or called. What a provider signed goes back to it in `thinking_blocks`, OpenAI's own items go on in "
    "`reasoning_items`.",
    "input[].output": "Images and files in the output of a tool follow it in a message of the user, because chat "
    "takes only text from tools.",
    "input[].action": "Web searches of earlier turns are left out: they hold no results.",
    "input[]": "What the assistant said and called in one turn becomes one message, the text before the calls.",
}
"""What a request loses on its way to chat, with a sentence for each field."""

_SAME: Final = (
    *("model", "stream", "temperature", "top_p"),
    *("metadata", "user", "safety_identifier", "prompt_cache_key", "service_tier"),
)
"""Fields that chat has under the same name."""

_LEFT_OUT: Final = frozenset(
    {
        *("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"),
        *("image_generation", "tool_search"),
    }
)
"""Tools that Codex offers whether it was asked to or not."""

_MAX_NAME: Final = 64
"""Signs that the name of a function may have."""


def request(body: Json) -> Json:
    """The chat request that asks what the responses request *body* asks.

    Raises `BadRequest` for what chat cannot carry, with the field in `param`: `input.0.content.1`. *body* is not
    changed; parts of it are shared with the result.
    """
    for name, (allowed, why) in REFUSALS.items():
        if name in _REFUSED_WHOLE and body.get(name) is not None and body[name] not in allowed:
            raise _bad(name, f"cannot be carried to this provider. {why}")
    asked = {name: body[name] for name in _SAME if body.get(name) is not None}
    asked["messages"] = _messages(body)
    for translate in _FIELDS:
        asked.update(translate(body))
    return asked


_REFUSED_WHOLE: Final = frozenset(name for name in REFUSALS if name.isidentifier() and name != "tool_choice")


def _bad(where: str, problem: str) -> BadRequest:
    return BadRequest(f"`{where}` {problem}", param=where)


def _refused(row: str, where: str) -> BadRequest:
    """The refusal of the table's *row*, of what stands at *where*."""
    return _bad(where, f"cannot be carried to this provider. {REFUSALS[row][1]}")


def _object(value: Any, where: str) -> Json:
    if not isinstance(value, dict):
        raise _bad(where, "must be an object.")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _bad(where, "must be a list.")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _bad(where, "must be a string.")
    return value


def _picked(given: Json, *names: str) -> Json:
    """Those members of *given* that were sent."""
    return {name: given[name] for name in names if given.get(name) is not None}


# -- tools --


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool of the caller's: whether it is `custom` or a `function`, and its name as the caller knows it."""

    kind: str
    name: str
    namespace: str | None = None


def offered(body: Json) -> dict[str, Offered]:
    """The caller's tools in *body*, a request that `request` takes, by the names that the chat provider knows."""
    return {
        _flat(each["name"], namespace): Offered(each["type"], each["name"], namespace)
        for each, _, namespace in _described(body)
        if str(each.get("type")) in _TOOLS
    }


def _flat(name: str, namespace: str | None) -> str:
    """The one name that chat has for a tool, with its namespace in front."""
    if not namespace:
        return name
    flat = f"{namespace}{name}" if namespace.endswith("_") else f"{namespace}__{name}"
    if len(flat) <= _MAX_NAME:
        return flat
    mark = hashlib.blake2b(flat.encode(), digest_size=4).hexdigest()
    return f"{flat[: _MAX_NAME - len(mark) - 1]}_{mark}"


def _described(body: Json) -> Iterator[tuple[Json, str, str | None]]:
    """Every tool that *body* describes, where it stands, and in which namespace."""
    yield from _within(body.get("tools"), "tools")
    items = body.get("input")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict) and item.get("type") == "additional_tools":
            yield from _within(item.get("tools"), f"input.{index}.tools")


def _within(tools: Any, where: str, namespace: str | None = None) -> Iterator[tuple[Json, str, str | None]]:
    for index, tool in enumerate(_list([] if tools is None else tools, where)):
        place = f"{where}.{index}"
        if _object(tool, place).get("type") == "namespace" and namespace is None:
            yield from _within(tool.get("tools"), f"{place}.tools", _text(tool.get("name"), f"{place}.name"))
        else:
            yield tool, place, namespace


def _tools(body: Json) -> list[Json]:
    """The tools as chat describes them. Those that OpenAI would run are left out, or refused if they are all."""
    made: list[Json] = []
    refused: list[str] = []
    for tool, where, namespace in _described(body):
        kind = str(tool.get("type"))
        if kind in _TOOLS:
            name = _flat(_text(tool.get("name"), f"{where}.name"), namespace)
            made.append({"type": "function", "function": {"name": name, **_TOOLS[kind](tool, where)}})
            made[-1].update(_picked(tool, "cache_control"))
        elif kind in _LEFT_OUT:
            refused.append(where)
        else:
            raise _refused("tools[].type", f"{where}.type")
    if refused and not made:
        raise _refused("tools[].type", f"{refused[0]}.type")
    return made


def _function(tool: Json, where: str) -> Json:
    if tool.get("parameters") is not None:
        _object(tool["parameters"], f"{where}.parameters")
    return _picked(tool, "description", "parameters", "strict")


def _custom(tool: Json, where: str) -> Json:
    """A function that takes the text which the custom tool would have been given as it is."""
    form = _object({} if tool.get("format") is None else tool["format"], f"{where}.format")
    said = _text(tool.get("description") or "", f"{where}.description")
    told = [said, "Give all of the text as one JSON string, in the parameter `input`."]
    if form.get("type") == "grammar":
        grammar = _text(form.get("definition"), f"{where}.format.definition")
        told.append(f"The text must match this {form.get('syntax') or 'lark'} grammar:\n{grammar}")
    schema = {"type": "object", "properties": {INPUT: {"type": "string"}}}
    closed = {"required": [INPUT], "additionalProperties": False}
    return {"description": "\n\n".join(part for part in told if part), "parameters": {**schema, **closed}}


_TOOLS: Final[Mapping[str, Callable[[Json, str], Json]]] = {"function": _function, "custom": _custom}


def _tool_fields(body: Json) -> Json:
    """Tools, the choice among them, and whether several may be called; the latter two only with tools."""
    tools, choice = _tools(body), body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        names = _allowed(choice, body)
        tools = [tool for tool in tools if tool["function"]["name"] in names]
        choice = choice.get("mode") or "auto"
    made: Json = {"tools": tools} if tools else {}
    if choice is not None and (tools or choice not in ("auto", "none")):
        made["tool_choice"] = _choice(choice, "tool_choice", body)
    if tools:
        made |= _picked(body, "parallel_tool_calls")
    return made


def _choice(choice: Any, where: str, body: Json) -> Any:
    if isinstance(choice, str) and choice in {"auto", "none", "required"}:
        return choice
    return {"type": "function", "function": {"name": _named(choice, where, body)}}


def _named(choice: Any, where: str, body: Json) -> str:
    """The chat name of the tool that *choice* names; without its namespace if the caller does not tell it."""
    given: Json = choice if isinstance(choice, dict) else {}
    for flat, tool in offered(body).items():
        if (tool.kind, tool.name) == (given.get("type"), given.get("name")) and (
            given.get("namespace") in (None, tool.namespace)
        ):
            return flat
    raise _refused("tool_choice", where)


def _allowed(choice: Json, body: Json) -> set[str]:
    named = _list(choice.get("tools"), "tool_choice.tools")
    return {_named(each, f"tool_choice.tools.{index}", body) for index, each in enumerate(named)}


# -- messages --


def _messages(body: Json) -> list[Json]:
    """Instructions first, then what the items of `input` say."""
    said = _Conversation()
    if body.get("instructions"):
        said.message({"role": "system", "content": _text(body["instructions"], "instructions")}, "instructions")
    given = body.get("input")
    if isinstance(given, str):
        said.message({"role": "user", "content": given}, "input")
    else:
        for index, item in enumerate(_list(given, "input")):
            said.item(_object(item, f"input.{index}"), f"input.{index}")
    messages = said.end()
    if not messages:
        raise _bad("input", "must hold something that is said.")
    return messages


class _Conversation:
    """Items as chat's messages, one at a time.

    What the assistant did in one go, its turn, is one message in chat. It ends when somebody else speaks. Images
    from tools wait until all the tools have answered, because nothing may stand between a call and its output.
    """

    def __init__(self) -> None:
        self._messages: list[Json] = []
        self._turn: dict[str, list[Json]] = {}
        self._seen: list[Json] = []

    def item(self, item: Json, where: str) -> None:
        """Add one item of the input."""
        kind = item.get("type") or ("message" if "role" in item else "item_reference")
        if not isinstance(kind, str) or kind not in self._ITEMS:
            raise _refused("input[].type", where if kind == "item_reference" else f"{where}.type")
        self._ITEMS[kind](self, item, where)

    def end(self) -> list[Json]:
        """All the messages."""
        self._end_turn()
        self._end_outputs()
        return self._messages

    def message(self, item: Json, where: str) -> None:
        """What somebody said."""
        role = item.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise _bad(f"{where}.role", f"must be one of {', '.join(_ROLES)}.")
        parts = _parts(item.get("content"), f"{where}.content")
        if role == "assistant":
            self._grow("content", *parts)
            return
        self._end_turn()
        self._end_outputs()
        self._messages.append({"role": _ROLES[role], "content": _content(parts)})

    def _reasoning(self, item: Json, where: str) -> None:
        sealed = item.get("encrypted_content")
        if not sealed:
            return
        where = f"{where}.encrypted_content"
        if not is_sealed(_text(sealed, where)):
            self._grow("reasoning_items", item)
            return
        for block in _unsealed(sealed, where):
            self._grow("reasoning_items" if block["type"] == "reasoning" else "thinking_blocks", block)

    def _function_call(self, item: Json, where: str) -> None:
        self._call(item, where, _text(item.get("arguments"), f"{where}.arguments"))

    def _custom_call(self, item: Json, where: str) -> None:
        text = _text(item.get("input"), f"{where}.input")
        self._call(item, where, msgspec.json.encode({INPUT: text}).decode())

    def _call(self, item: Json, where: str, arguments: str) -> None:
        namespace = _text(item.get("namespace") or "", f"{where}.namespace")
        name = _flat(_text(item.get("name"), f"{where}.name"), namespace)
        called = {"name": name, "arguments": arguments}
        call = {"id": _text(item.get("call_id"), f"{where}.call_id"), "type": "function", "function": called}
        self._grow("tool_calls", call)

    def _output(self, item: Json, where: str) -> None:
        parts = _parts(item.get("output"), f"{where}.output")
        texts = [part for part in parts if part["type"] == "text"]
        call = _text(item.get("call_id"), f"{where}.call_id")
        self._end_turn()
        self._messages.append({"role": "tool", "tool_call_id": call, "content": _content(texts)})
        self._seen += [part for part in parts if part["type"] != "text"]

    def _nothing(self, item: Json, where: str) -> None:
        """An item that is read elsewhere, or holds nothing for a model."""

    def _grow(self, name: str, *more: Json) -> None:
        self._end_outputs()
        self._turn.setdefault(name, []).extend(more)

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, {}
        parts = turn.pop("content", None)
        if parts is None and "tool_calls" not in turn:
            return  # nothing but reasoning: it led nowhere
        self._messages.append({"role": "assistant", "content": None if parts is None else _content(parts), **turn})

    def _end_outputs(self) -> None:
        if self._seen:
            self._messages.append({"role": "user", "content": self._seen})
            self._seen = []

    _ITEMS: Final[Mapping[str, Callable[[_Conversation, Json, str], None]]] = {
        "message": message,
        "reasoning": _reasoning,
        "function_call": _function_call,
        "function_call_output": _output,
        "custom_tool_call": _custom_call,
        "custom_tool_call_output": _output,
        "web_search_call": _nothing,
        "additional_tools": _nothing,
    }


_ROLES: Final[Mapping[str, str]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}


_SEALED: Final = frozenset({"thinking", "redacted_thinking", "reasoning"})


def _unsealed(sealed: str, where: str) -> list[Json]:
    """What we sealed into an answer: blocks and items exactly as their providers made them."""
    try:
        blocks = unseal(sealed)
    except ValueError:
        blocks = []
    if not blocks or not all(str(block.get("type")) in _SEALED for block in blocks):
        raise _bad(where, "cannot be read: it is not what it was when it was given.")
    return blocks


def _content(parts: list[Json]) -> str | list[Json]:
    """*parts*, or their text if they are one text: not every provider takes lists."""
    if not parts:
        return ""
    text = parts[0].get("text")
    return text if len(parts) == 1 and isinstance(text, str) and parts[0].keys() == {"type", "text"} else parts


def _parts(content: Any, where: str) -> list[Json]:
    """The parts of a message's content, or of a tool's output, as chat has them."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise _bad(where, "must be a string or a list of parts.")
    return [_part(part, f"{where}.{index}") for index, part in enumerate(content)]


def _part(part: Any, where: str) -> Json:
    kind = _object(part, where).get("type")
    if not isinstance(kind, str) or kind not in _PARTS:
        raise _refused("input[].content[].type", f"{where}.type")
    return {**_PARTS[kind](part, where), **_picked(part, "cache_control")}


def _text_part(part: Json, where: str) -> Json:
    return {"type": "text", "text": _text(part.get("text"), f"{where}.text")}


def _refusal_part(part: Json, where: str) -> Json:
    return {"type": "refusal", "refusal": _text(part.get("refusal"), f"{where}.refusal")}


def _image_part(part: Json, where: str) -> Json:
    _refuse_kept(part, where, "image_url")
    image = {"url": _text(part.get("image_url"), f"{where}.image_url"), **_picked(part, "detail")}
    return {"type": "image_url", "image_url": image}


def _audio_part(part: Json, where: str) -> Json:
    return {"type": "input_audio", "input_audio": _object(part.get("input_audio"), f"{where}.input_audio")}


def _file_part(part: Json, where: str) -> Json:
    _refuse_kept(part, where, "file_data")
    data = _text(part.get("file_data"), f"{where}.file_data")
    return {"type": "file", "file": {**_picked(part, "filename"), "file_data": data}}


def _refuse_kept(part: Json, where: str, own: str) -> None:
    """Refuse a *part* that is only a reference, without the data in its member *own*."""
    for name in ("file_id", "file_url"):
        if part.get(own) is None and part.get(name) is not None:
            raise _refused(f"input[].content[].{name}", f"{where}.{name}")


_PARTS: Final[Mapping[str, Callable[[Json, str], Json]]] = {
    "input_text": _text_part,
    "output_text": _text_part,
    "text": _text_part,
    "refusal": _refusal_part,
    "input_image": _image_part,
    "input_audio": _audio_part,
    "input_file": _file_part,
}


# -- the other fields of a request --


def _stream_options(body: Json) -> Json:
    return {"stream_options": {"include_usage": True}} if body.get("stream") else {}


def _max_tokens(body: Json) -> Json:
    return {} if body.get("max_output_tokens") is None else {"max_tokens": body["max_output_tokens"]}


def _effort(body: Json) -> Json:
    given = _object({} if body.get("reasoning") is None else body["reasoning"], "reasoning")
    return {} if given.get("effort") is None else {"reasoning_effort": given["effort"]}


def _text_fields(body: Json) -> Json:
    given = _object({} if body.get("text") is None else body["text"], "text")
    made = _picked(given, "verbosity")
    wanted = _object({} if given.get("format") is None else given["format"], "text.format")
    kind = wanted.get("type", "text")
    if kind == "json_schema":
        schema = _object(wanted.get("schema"), "text.format.schema")
        made["response_format"] = {
            "type": kind,
            "json_schema": {**_picked(wanted, "name", "description", "strict"), "schema": schema},
        }
    elif kind == "json_object":
        made["response_format"] = {"type": kind}
    elif kind != "text":
        raise _refused("text.format.type", "text.format.type")
    return made


def _logprobs(body: Json) -> Json:
    included = _list([] if body.get("include") is None else body["include"], "include")
    made = _picked(body, "top_logprobs") if body.get("top_logprobs") else {}
    return {"logprobs": True, **made} if made or "message.output_text.logprobs" in included else {}


_FIELDS: Final[tuple[Callable[[Json], Json], ...]] = (
    _stream_options,
    _tool_fields,
    _max_tokens,
    _effort,
    _text_fields,
    _logprobs,
)
"""What makes fields of a chat request of those that chat has under other names."""
