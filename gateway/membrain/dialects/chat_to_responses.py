"""A chat request as a request of OpenAI's responses, for the models that speak only those.

For: one pure translation over parsed JSON, `request`, and the tables that say where it ends. What cannot be carried and
would change the meaning of the answer is a `BadRequest` that names the field; what cannot be carried and changes no
meaning is dropped and listed in `LOSSES`. Fields of the body that nobody here knows pass untouched, and to what OpenAI
does not know it says no itself. A null counts as not sent.

Chat keeps nothing, so nothing is stored unless the caller says so; what a model thought comes back encrypted instead.

Not for: sending anything, nor for answers: those are in `chat_from_responses`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, ClassVar, Final

import msgspec

from membrain.dialects.base import Json
from membrain.errors import BadRequest

REFUSALS: Final[Mapping[str, tuple[tuple[Any, ...], str]]] = {
    "n": ((1,), "A response is one answer; ask several times instead."),
    "stop": (([], ""), "Responses know no stops, and the answer would go on."),
    "logit_bias": (({},), "Responses take no biases, and what you ban would be said."),
    "audio": ((), "Responses answer in text only."),
    "modalities": ((["text"], []), "Responses answer in text only."),
    "functions": (([],), "This is the deprecated form; describe the functions in `tools`."),
    "function_call": (("none", "auto"), "This is the deprecated form; choose by `tool_choice`."),
    "moderation": ((), "Its result would have no place in the answer."),
    "web_search_options": ((), 'Add `{"type": "web_search"}` to `tools` instead.'),
    "background": ((False,), "Nobody would fetch the answer."),
    "input": ((), "What is said stands in `messages`."),
}
"""Fields that change what the answer is: the values that are fine, and why any other is refused."""

LOSSES: Final[Mapping[str, str]] = {
    "frequency_penalty": "Dropped: responses have no penalties.",
    "presence_penalty": "Dropped: responses have no penalties.",
    "seed": "Dropped: responses are sampled without a seed, so two runs may differ.",
    "prediction": "Dropped: it saves time and changes no answer.",
    "stream_options": "Usage is always translated and shown to those who asked. Only `include_obfuscation` goes on, "
    "and the padding that it brings ends here.",
    "top_logprobs": "Dropped unless `logprobs` is true, as chat demands.",
    "messages[].*": "Only role, content, refusal, tool calls and `reasoning_items` go on, not `name`, `annotations`, "
    "`reasoning_content`, `cache_control` and the like.",
    "messages[].content": "An assistant's message that says nothing is left out.",
    "messages[].content[].cache_control": "Dropped: OpenAI caches by itself.",
    "messages[].content[].prompt_cache_breakpoint": "Dropped where the assistant spoke; elsewhere it goes on.",
    "messages[].reasoning_items": "They go first in their turn. In a message that says nothing else they are left out: "
    "OpenAI refuses them there.",
    "messages[].thinking_blocks": "Dropped: only Anthropic can read what it signed.",
    "tools[].cache_control": "Dropped: OpenAI caches by itself.",
}
"""What a request loses on its way to responses, with a sentence for each field."""

_BEFORE_REASONING: Final = ("gpt-3", "gpt-4", "chatgpt-4", "ft:gpt-3", "ft:gpt-4")
"""How the names of models begin that do not think, and refuse to be asked for their thoughts. The list is closed."""

_THOUGHTS: Final = "reasoning.encrypted_content"
_LOGPROBS: Final = "message.output_text.logprobs"


def request(body: Json) -> Json:
    """The responses request that asks what the chat request *body* asks.

    Raises `BadRequest` for what responses cannot carry, with the field in `param`: `messages.0.content.1`.
    *body* is not changed; parts of it are shared with the result.
    """
    for name, (allowed, why) in REFUSALS.items():
        if body.get(name) is not None and body[name] not in allowed:
            raise _bad(name, f"cannot be sent as a response. {why}")
    made = {name: value for name, value in body.items() if name not in _OURS and value is not None}
    made["input"] = _Conversation().read(body.get("messages"))
    for translate in _FIELDS.values():
        made.update(translate(body))
    return made


def _bad(where: str, problem: str) -> BadRequest:
    return BadRequest(f"`{where}` {problem}", param=where)


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


def _others(given: Json, *names: str) -> Json:
    """What *given* carries besides *names*, null or Anthropic's marks for its cache."""
    dropped = {*names, "cache_control"}
    return {name: value for name, value in given.items() if name not in dropped and value is not None}


# -- messages --


class _Conversation:
    """Makes input items of messages, in order. A result has to be told in the kind of its call, so calls are noted."""

    def __init__(self) -> None:
        self._custom: set[str] = set()

    def read(self, messages: Any) -> list[Json]:
        """The items that say what *messages* say."""
        items: list[Json] = []
        for index, message in enumerate(_list(messages, "messages")):
            where = f"messages.{index}"
            role = _object(message, where).get("role")
            if not isinstance(role, str) or role not in self._ROLES:
                raise _bad(f"{where}.role", f"must be one of {', '.join(self._ROLES)}.")
            items += self._ROLES[role](self, message, where)
        return items

    def _spoken(self, message: Json, where: str) -> list[Json]:
        content = _content(message.get("content"), f"{where}.content", _INPUT)
        return [{"type": "message", "role": message["role"], "content": content}]

    def _assistant(self, message: Json, where: str) -> list[Json]:
        for name in ("audio", "function_call"):
            if message.get(name) is not None:
                raise _bad(f"{where}.{name}", "has no counterpart in responses.")
        calls = _list(message.get("tool_calls") or [], f"{where}.tool_calls")
        said = [
            *_answered(message, where),
            *(self._call(call, f"{where}.tool_calls.{index}") for index, call in enumerate(calls)),
        ]
        thoughts = _thoughts(message.get("reasoning_items") or [], f"{where}.reasoning_items")
        return [*thoughts, *said] if said else []

    def _call(self, call: Any, where: str) -> Json:
        given = _object(call, where)
        id = _text(given.get("id"), f"{where}.id")
        kind = "custom" if "custom" in given else "function"
        tool, where = _object(given.get(kind), f"{where}.{kind}"), f"{where}.{kind}"
        name = _text(tool.get("name"), f"{where}.name")
        if kind == "custom":
            self._custom.add(id)
            wanted = _text(tool.get("input"), f"{where}.input")
            return {"type": "custom_tool_call", "call_id": id, "name": name, "input": wanted}
        arguments = _arguments(tool.get("arguments"), f"{where}.arguments")
        return {"type": "function_call", "call_id": id, "name": name, "arguments": arguments}

    def _result(self, message: Json, where: str) -> list[Json]:
        id = _text(message.get("tool_call_id"), f"{where}.tool_call_id")
        kind = "custom_tool_call_output" if id in self._custom else "function_call_output"
        given = message.get("content")
        output = "" if given is None else _content(given, f"{where}.content", _INPUT)
        return [{"type": kind, "call_id": id, "output": output}]

    _ROLES: ClassVar[Mapping[str, Callable[[_Conversation, Json, str], list[Json]]]] = {
        "system": _spoken,
        "developer": _spoken,
        "user": _spoken,
        "assistant": _assistant,
        "tool": _result,
    }


def _answered(message: Json, where: str) -> list[Json]:
    """What the assistant said aloud, as one item; none if it said nothing."""
    given = message.get("content")
    content = _content([] if given is None else given, f"{where}.content", _OUTPUT)
    if refusal := _text(message.get("refusal") or "", f"{where}.refusal"):
        said = [{"type": "output_text", "text": content}] if isinstance(content, str) and content else content or []
        content = [*said, {"type": "refusal", "refusal": refusal}]
    return [{"type": "message", "role": "assistant", "content": content}] if content else []


def _thoughts(items: Any, where: str) -> list[Json]:
    """The reasoning items that OpenAI gave, exactly as they are."""
    for index, item in enumerate(_list(items, where)):
        if _object(item, f"{where}.{index}").get("type") != "reasoning":
            raise _bad(f"{where}.{index}.type", "must be reasoning.")
    return list(items)


def _arguments(arguments: Any, where: str) -> str:
    """The arguments of a call, as the model wrote them."""
    if isinstance(arguments, dict):
        return msgspec.json.encode(arguments).decode()
    return "" if arguments is None else _text(arguments, where)


_Part = Callable[[Json, str], Json]


def _content(content: Any, where: str, parts: Mapping[str, _Part]) -> str | list[Any]:
    """A message's content; a plain string stays one, and parts that chat does not know pass untouched."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _bad(where, "must be a string or a list of parts.")
    return [_part(part, f"{where}.{index}", parts) for index, part in enumerate(content)]


def _part(part: Any, where: str, parts: Mapping[str, _Part]) -> Json:
    kind = str(_object(part, where).get("type"))
    return parts[kind](part, where) if kind in parts else part


def _input_text(part: Json, where: str) -> Json:
    return {"type": "input_text", "text": _text(part.get("text"), f"{where}.text"), **_others(part, "type", "text")}


def _input_image(part: Json, where: str) -> Json:
    given, where = part.get("image_url"), f"{where}.image_url"
    image: Json = {"url": given} if isinstance(given, str) else _object(given, where)
    detail = image.get("detail") or "auto"
    url = _text(image.get("url"), f"{where}.url")
    return {"type": "input_image", "image_url": url, "detail": detail, **_others(part, "type", "image_url")}


def _input_file(part: Json, where: str) -> Json:
    file = _object(part.get("file"), f"{where}.file")
    return {"type": "input_file", **_others(file), **_others(part, "type", "file")}


def _input_audio(_part: Json, where: str) -> Json:
    raise _bad(where, "is audio, which responses do not take.")


def _output_text(part: Json, where: str) -> Json:
    return {"type": "output_text", "text": _text(part.get("text"), f"{where}.text")}


def _output_refusal(part: Json, where: str) -> Json:
    return {"type": "refusal", "refusal": _text(part.get("refusal"), f"{where}.refusal")}


_INPUT: Final[Mapping[str, _Part]] = {
    "text": _input_text,
    "image_url": _input_image,
    "file": _input_file,
    "input_audio": _input_audio,
}
_OUTPUT: Final[Mapping[str, _Part]] = {"text": _output_text, "refusal": _output_refusal}


# -- the other fields of a request --


def _max_tokens(body: Json) -> Json:
    for name in ("max_completion_tokens", "max_tokens"):
        if body.get(name) is not None:
            return {"max_output_tokens": body[name]}
    return {}


def _tools(body: Json) -> Json:
    tools = _list(body.get("tools") or [], "tools")
    return {"tools": [_tool(tool, f"tools.{index}") for index, tool in enumerate(tools)]} if tools else {}


def _tool(tool: Any, where: str) -> Json:
    """A tool as responses describe it, without a level between. OpenAI's own tools pass untouched."""
    given = _object(tool, where)
    kind = str(given.get("type", "function"))
    if kind not in _TOOLS:
        return given
    inner, where = _object(given.get(kind), f"{where}.{kind}"), f"{where}.{kind}"
    named = {"type": kind, "name": _text(inner.get("name"), f"{where}.name")}
    return named | _TOOLS[kind](inner, where) | _others(given, "type", kind)


def _function(function: Json, where: str) -> Json:
    """Chat's functions are lenient unless they say otherwise, those of responses strict."""
    given = function.get("parameters")
    parameters = {"type": "object", "properties": {}} if given is None else _object(given, f"{where}.parameters")
    return {"parameters": parameters, "strict": function.get("strict") or False, **_others(function, *_NAMED)}


_NAMED: Final = ("name", "parameters", "strict")


def _custom(custom: Json, where: str) -> Json:
    format = custom.get("format")
    if format is None or _object(format, f"{where}.format").get("type") != "grammar":
        return _others(custom, "name")
    grammar = _object(format.get("grammar"), f"{where}.format.grammar")
    return {**_others(custom, "name"), "format": {"type": "grammar", **grammar}}


_TOOLS: Final[Mapping[str, Callable[[Json, str], Json]]] = {"function": _function, "custom": _custom}


def _tool_choice(body: Json) -> Json:
    choice = body.get("tool_choice")
    if choice is None or isinstance(choice, str):
        return {} if choice is None else {"tool_choice": choice}
    return {"tool_choice": _chosen(choice, "tool_choice")}


def _chosen(choice: Any, where: str) -> Json:
    """A choice without a level between; one that chat does not know passes untouched."""
    given = _object(choice, where)
    kind = str(given.get("type"))
    if kind in _TOOLS:
        named = _object(given.get(kind), f"{where}.{kind}")
        return {"type": kind, "name": _text(named.get("name"), f"{where}.{kind}.name")}
    if kind != "allowed_tools":
        return given
    allowed, where = _object(given.get(kind), f"{where}.{kind}"), f"{where}.{kind}.tools"
    listed = _list(allowed.get("tools"), where)
    tools = [_chosen(tool, f"{where}.{index}") for index, tool in enumerate(listed)]
    return {"type": kind, **allowed, "tools": tools}


def _reasoning(body: Json) -> Json:
    """The effort under its other name; what the body itself has in `reasoning` wins."""
    effort = body.get("reasoning_effort")
    own = _object(body.get("reasoning") or {}, "reasoning")
    reasoning = ({} if effort is None else {"effort": _text(effort, "reasoning_effort")}) | own
    return {"reasoning": reasoning} if reasoning else {}


def _text_config(body: Json) -> Json:
    """Format and verbosity in their other place; what the body itself has in `text` wins."""
    config: Json = {}
    if body.get("response_format") is not None:
        config["format"] = _format(_object(body["response_format"], "response_format"))
    if body.get("verbosity") is not None:
        config["verbosity"] = body["verbosity"]
    config |= _object(body.get("text") or {}, "text")
    return {"text": config} if config else {}


def _format(wanted: Json) -> Json:
    if wanted.get("type") != "json_schema":
        return wanted
    described = _object(wanted.get("json_schema"), "response_format.json_schema")
    return {"type": "json_schema", **_others(described)}


def _kept(body: Json) -> Json:
    """Nothing is kept unless the caller wants it, and the model's thoughts come along so that nothing need be."""
    wanted = _list(body.get("include") or [], "include")
    thinks = not str(body.get("model")).startswith(_BEFORE_REASONING)
    ours = [name for name, asked in ((_THOUGHTS, thinks), (_LOGPROBS, body.get("logprobs") is True)) if asked]
    include = [*wanted, *(name for name in ours if name not in wanted)]
    return {"store": body.get("store") is True, **({"include": include} if include else {})}


def _logprobs(body: Json) -> Json:
    top = body.get("top_logprobs")
    return {"top_logprobs": top} if body.get("logprobs") is True and top is not None else {}


def _stream_options(body: Json) -> Json:
    options = _object(body.get("stream_options") or {}, "stream_options")
    padding = options.get("include_obfuscation")
    return {} if padding is None else {"stream_options": {"include_obfuscation": padding}}


_FIELDS: Final[Mapping[tuple[str, ...], Callable[[Json], Json]]] = {
    ("max_completion_tokens", "max_tokens"): _max_tokens,
    ("tools",): _tools,
    ("tool_choice",): _tool_choice,
    ("reasoning", "reasoning_effort"): _reasoning,
    ("text", "response_format", "verbosity"): _text_config,
    ("include", "store"): _kept,
    ("logprobs", "top_logprobs"): _logprobs,
    ("stream_options",): _stream_options,
}
"""Which fields of a chat request are read together, and what makes those of responses of them."""

_OURS: Final = frozenset({"messages", *REFUSALS, *LOSSES, *chain.from_iterable(_FIELDS)})
"""The fields that do not pass by themselves."""
