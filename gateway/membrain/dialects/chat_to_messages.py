"""A chat request as an Anthropic messages request.

For: one pure translation over parsed JSON, `request`, and the tables that say where it ends. What cannot
be carried and would change the meaning of the answer is a `BadRequest` that names the field; what cannot be carried
and changes no meaning is dropped and listed in `LOSSES`. Fields of the body that nobody here knows pass untouched:
`thinking`, `top_k`, `cache_control` and whatever Anthropic adds next work at once, and to what it does not know
Anthropic says no itself. A null counts as not sent.

Not for: sending anything, nor for answers: those are in `chat_from_messages`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Final

import msgspec

from membrain.dialects.base import Json
from membrain.errors import BadRequest

Content = str | list[Json]

DEFAULT_MAX_TOKENS: Final = 4096
"""Anthropic requires `max_tokens`; a thinking budget, if one is asked for, comes on top of this default."""

REFUSALS: Final[Mapping[str, tuple[tuple[Any, ...], str]]] = {
    "n": ((1,), "Anthropic gives one answer to a request; ask several times instead."),
    "logprobs": ((False,), "Anthropic does not tell token probabilities."),
    "top_logprobs": ((0,), "Anthropic does not tell token probabilities."),
    "audio": ((), "Anthropic answers in text only."),
    "modalities": ((["text"], []), "Anthropic answers in text only."),
    "functions": (([],), "This is the deprecated form; describe the functions in `tools`."),
    "function_call": (("none", "auto"), "This is the deprecated form; choose by `tool_choice`."),
    "moderation": ((), "Nobody would run it on this route, so the request is not sent without it."),
    "web_search_options": ((), "Add Anthropic's own web search tool to `tools` instead."),
}
"""Fields that change what the answer is: the values that are fine, and why any other is refused."""

LOSSES: Final[Mapping[str, str]] = {
    "frequency_penalty": "Dropped: Anthropic has no penalties.",
    "presence_penalty": "Dropped: Anthropic has no penalties.",
    "logit_bias": "Dropped: token numbers belong to one tokenizer, and Anthropic takes no biases.",
    "seed": "Dropped: Anthropic samples without a seed, so two runs may differ.",
    "store": "Dropped: Anthropic keeps no completions for later retrieval.",
    "metadata": "Only `user_id` goes on; Anthropic takes no other key.",
    "safety_identifier": "Goes on as `metadata.user_id` if there is no `user`, else it is dropped.",
    "service_tier": "Goes on if it is `auto` or `standard_only`; OpenAI's other tiers do not exist there.",
    "prediction": "Dropped: it saves time and changes no answer.",
    "prompt_cache_key": "Dropped: put `cache_control` on the parts that repeat.",
    "prompt_cache_options": "Dropped: put `cache_control` on the parts that repeat.",
    "prompt_cache_retention": "Dropped: put `cache_control` on the parts that repeat.",
    "verbosity": "Dropped: ask for short or long answers in the prompt.",
    "stream_options": "Usage is always translated and shown to those who asked; no obfuscation is added.",
    "temperature": "Above 1 it is sent as 1, Anthropic's highest, as Anthropic's own chat endpoint does.",
    "reasoning_effort": "Sent as `output_config.effort`, `minimal` as `low`, `none` as disabled thinking. Dropped "
    "for models older than that control: a thinking budget guessed here would break their tool calls.",
    "response_format": "Name, description and `strict` of a schema are dropped; Anthropic is always strict.",
    "tools[].function.strict": "Dropped: older models refuse it. Arguments may stray from their schema.",
    "messages[].role": "System and developer messages move to the front, into `system`, wherever they stood.",
    "messages[].*": "Only role, content, refusal, tool calls and `thinking_blocks` go on, not `name`, `annotations`, "
    "`reasoning_content` and the like. `cache_control` belongs on a part, or on a tool's message.",
    "messages[].thinking_blocks": "They go first in their turn, as they were signed. Without a signature, or in a "
    "message that says nothing else, they are left out: Anthropic refuses them there.",
    "messages[].reasoning_items": "Dropped: what OpenAI's models thought can be read by them only.",
    "messages[].content": "Blank text is left out, and a message that has nothing else; Anthropic refuses it.",
    "messages[].content[].image_url.detail": "Dropped: Anthropic decides on the resolution by itself.",
    "messages[].content[].prompt_cache_breakpoint": "Dropped: use `cache_control`.",
    "messages[].tool_calls[].id": "Signs that Anthropic refuses in an id become `_`, in the results too.",
}
"""What a request loses on its way to Anthropic, with a sentence for each field."""

_BEFORE_EFFORT: Final = (
    *("claude-instant", "claude-2", "claude-3"),
    *("claude-opus-4-0", "claude-opus-4-1", "claude-opus-4-2025"),
    *("claude-sonnet-4-0", "claude-sonnet-4-2025", "claude-sonnet-4-5"),
    "claude-haiku-4-5",
)
"""How the names of models begin that refuse `output_config.effort`. They are of the past: the list is closed."""

_PDF: Final = "application/pdf"
_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)((?:;[^,;]*)*),", re.IGNORECASE)
_NOT_IN_IDS: Final = re.compile(r"[^a-zA-Z0-9_-]")


def request(body: Json) -> Json:
    """The messages request that asks what the chat request *body* asks.

    Raises `BadRequest` for what Anthropic cannot carry, with the field in `param`: `messages.0.content.1`.
    *body* is not changed; parts of it are shared with the result.
    """
    for name, (allowed, why) in REFUSALS.items():
        if body.get(name) is not None and body[name] not in allowed:
            raise _bad(name, f"cannot be sent to Anthropic. {why}")
    made = {name: value for name, value in body.items() if name not in _OURS and value is not None}
    lifted, made["messages"] = _conversation(body.get("messages"))
    if system := _system(body.get("system"), lifted):
        made["system"] = system
    for translate in _FIELDS.values():
        made.update(translate(body))
    return made


def _bad(where: str, problem: str) -> BadRequest:
    return BadRequest(f"`{where}` {problem}", param=where)


def _object(value: Any, where: str) -> Json:
    if not isinstance(value, dict):
        raise _bad(where, "must be an object.")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _bad(where, "must be a string.")
    return value


def _is_blank(text: str) -> bool:
    return not text or text.isspace()


def _others(given: Json, *names: str) -> Json:
    """What *given* carries besides *names*: `cache_control`, for one."""
    return {name: value for name, value in given.items() if name not in names}


# -- messages --


def _conversation(messages: Any) -> tuple[list[Content], list[Json]]:
    """What goes into `system`, and the turns; neighbours of one role are one turn, tool results the user's."""
    if not isinstance(messages, list):
        raise _bad("messages", "must be a list of messages.")
    system: list[Content] = []
    turns: list[Json] = []
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        role = _object(message, where).get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise _bad(f"{where}.role", f"must be one of {', '.join(_ROLES)}.")
        speaker, read = _ROLES[role]
        content = read(message, where)
        if content and speaker == "system":
            system.append(content)
        elif content:
            _say(turns, speaker, content)
    if not turns:
        raise _bad("messages", "must hold a message that says something and is not a system message.")
    return system, turns


def _say(turns: list[Json], speaker: str, content: Content) -> None:
    if turns and turns[-1]["role"] == speaker:
        turns[-1]["content"] = _blocks(turns[-1]["content"])
        turns[-1]["content"].extend(_blocks(content))
    else:
        turns.append({"role": speaker, "content": content})


def _blocks(content: Content) -> list[Json]:
    """*content* as blocks; the very list, if it is one."""
    if isinstance(content, list):
        return content
    return [] if _is_blank(content) else [{"type": "text", "text": content}]


def _system(own: Any, lifted: list[Content]) -> Any:
    """Anthropic's `system`: what the body itself had there, then what was lifted from the messages."""
    pieces = [own, *lifted] if own else lifted
    if len(pieces) == 1:
        return pieces[0]
    return [block for piece in pieces for block in _blocks(piece)]


def _content(content: Any, where: str) -> Content:
    """A message's content without what is blank in it; a plain string stays one."""
    if content is None:
        return ""
    if isinstance(content, str):
        return "" if _is_blank(content) else content
    if not isinstance(content, list):
        raise _bad(where, "must be a string or a list of parts.")
    parts = (_part(part, f"{where}.{index}") for index, part in enumerate(content))
    return [part for part in parts if part is not None]


def _part(part: Any, where: str) -> Json | None:
    """One block for one part, None for a blank one; kinds that chat does not know pass untouched."""
    kind = str(_object(part, where).get("type"))
    if kind in _REFUSED_PARTS:
        raise _bad(where, _REFUSED_PARTS[kind])
    return _PARTS[kind](part, where) if kind in _PARTS else part


def _text_part(part: Json, where: str) -> Json | None:
    kind = part["type"]  # the text of a part is under the name of its kind
    text = _text(part.get(kind), f"{where}.{kind}")
    others = _others(part, "type", kind, "prompt_cache_breakpoint")
    return None if _is_blank(text) else {"type": "text", "text": text, **others}


def _image_part(part: Json, where: str) -> Json:
    image, where = part.get("image_url"), f"{where}.image_url"
    if isinstance(image, dict):
        image, where = image.get("url"), f"{where}.url"
    others = _others(part, "type", "image_url", "prompt_cache_breakpoint")
    return {"type": "image", "source": _image_source(_text(image, where), where), **others}


def _image_source(url: str, where: str) -> Json:
    if url[:8].lower().startswith(("http://", "https://")):
        return {"type": "url", "url": url}
    head = _DATA_URL.match(url)
    if not head or not head[2].lower().endswith(";base64"):
        raise _bad(where, "must be an http(s) address or a base64 data URL.")
    media_type = head[1].lower().replace("image/jpg", "image/jpeg")
    if media_type not in _IMAGES:
        raise _bad(where, f"must be one of {', '.join(sorted(_IMAGES))}; Anthropic takes no other images.")
    return {"type": "base64", "media_type": media_type, "data": url[head.end() :]}


def _file_part(part: Json, where: str) -> Json:
    file, where = _object(part.get("file"), f"{where}.file"), f"{where}.file"
    if file.get("file_id") is not None:
        raise _bad(f"{where}.file_id", "is known to OpenAI only. Send the file itself as `file_data`.")
    data, where = _text(file.get("file_data"), f"{where}.file_data"), f"{where}.file_data"
    head = _DATA_URL.match(data)
    if not head or head[1].lower() != _PDF or not head[2].lower().endswith(";base64"):
        raise _bad(where, f"must be a base64 data URL of {_PDF}. Send other files as text, or as a `document` block.")
    title = {"title": file["filename"]} if file.get("filename") is not None else {}
    source = {"type": "base64", "media_type": _PDF, "data": data[head.end() :]}
    return {"type": "document", "source": source, **title, **_others(part, "type", "file", "prompt_cache_breakpoint")}


_PARTS: Final[Mapping[str, Callable[[Json, str], Json | None]]] = {
    "text": _text_part,
    "refusal": _text_part,
    "image_url": _image_part,
    "file": _file_part,
}
_REFUSED_PARTS: Final[Mapping[str, str]] = {"input_audio": "is audio, which Anthropic does not take."}


def _spoken(message: Json, where: str) -> Content:
    return _content(message.get("content"), f"{where}.content")


def _assistant(message: Json, where: str) -> Content:
    for name in ("audio", "function_call"):
        if message.get(name) is not None:
            raise _bad(f"{where}.{name}", "has no counterpart at Anthropic.")
    content, calls = _spoken(message, where), message.get("tool_calls") or []
    thinking = _thinking_blocks(message.get("thinking_blocks") or [], f"{where}.thinking_blocks")
    refusal = _text(message.get("refusal") or "", f"{where}.refusal")
    if not calls and not thinking and _is_blank(refusal):
        return content
    if not isinstance(calls, list):
        raise _bad(f"{where}.tool_calls", "must be a list.")
    uses = [_tool_use(call, f"{where}.tool_calls.{index}") for index, call in enumerate(calls)]
    said = [*_blocks(content), *_blocks(refusal), *uses]
    return [*thinking, *said] if said else []


def _thinking_blocks(blocks: Any, where: str) -> list[Json]:
    """The blocks that Anthropic signed, exactly as they are."""
    if not isinstance(blocks, list):
        raise _bad(where, "must be a list.")
    for index, block in enumerate(blocks):
        if str(_object(block, f"{where}.{index}").get("type")) not in _SEALS:
            raise _bad(f"{where}.{index}.type", f"must be one of {', '.join(_SEALS)}.")
    return [block for block in blocks if block.get(_SEALS[block["type"]])]


_SEALS: Final[Mapping[str, str]] = {"thinking": "signature", "redacted_thinking": "data"}
"""What proves to Anthropic, in each kind of thinking, that it is its own."""


def _tool_use(call: Any, where: str) -> Json:
    function = _object(_object(call, where).get("function"), f"{where}.function")
    return {
        "type": "tool_use",
        "id": _tool_id(call.get("id"), f"{where}.id"),
        "name": _text(function.get("name"), f"{where}.function.name"),
        "input": _input(function.get("arguments"), f"{where}.function.arguments"),
    }


def _tool_id(value: Any, where: str) -> str:
    if not _text(value, where):
        raise _bad(where, "must not be empty.")
    return _NOT_IN_IDS.sub("_", value)


def _input(arguments: Any, where: str) -> Json:
    """The arguments of a call as an object; chat has them as JSON in a string that a model wrote."""
    if isinstance(arguments, dict):
        return arguments
    if arguments is None or _is_blank(_text(arguments, where)):
        return {}
    try:
        parsed = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise _bad(where, "is not valid JSON.") from None
    return _object(parsed, where)


def _tool_result(message: Json, where: str) -> Content:
    call = _tool_id(message.get("tool_call_id"), f"{where}.tool_call_id")
    result: Json = {"type": "tool_result", "tool_use_id": call}
    if content := _spoken(message, where):
        result["content"] = content
    own = ("is_error", "cache_control")
    return [result | {name: message[name] for name in own if message.get(name) is not None}]


_ROLES: Final[Mapping[str, tuple[str, Callable[[Json, str], Content]]]] = {
    "system": ("system", _spoken),
    "developer": ("system", _spoken),
    "user": ("user", _spoken),
    "assistant": ("assistant", _assistant),
    "tool": ("user", _tool_result),
}
"""For each of chat's roles: whose turn it is at Anthropic, and how its content is read."""


# -- the other fields of a request --


def _max_tokens(body: Json) -> Json:
    for name in ("max_completion_tokens", "max_tokens"):
        if body.get(name) is not None:
            return {"max_tokens": body[name]}
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    return {"max_tokens": DEFAULT_MAX_TOKENS + (budget if isinstance(budget, int) else 0)}


def _temperature(body: Json) -> Json:
    value = body.get("temperature")
    if value is None:
        return {}
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 2:
        raise _bad("temperature", "must be a number from 0 to 2.")
    return {"temperature": min(value, 1)}


def _stop(body: Json) -> Json:
    stop = body.get("stop")
    listed = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(listed, list):
        raise _bad("stop", "must be a string or a list of strings.")
    for index, sequence in enumerate(listed):
        where = "stop" if isinstance(stop, str) else f"stop.{index}"
        if _is_blank(_text(sequence, where)):
            raise _bad(where, "is blank, and Anthropic cannot stop at white space alone.")
    return {"stop_sequences": listed} if listed else {}


def _tools(body: Json) -> Json:
    tools = body.get("tools") or []
    if not isinstance(tools, list):
        raise _bad("tools", "must be a list.")
    return {"tools": [_tool(tool, f"tools.{index}") for index, tool in enumerate(tools)]} if tools else {}


def _tool(tool: Any, where: str) -> Json:
    """A function as Anthropic describes tools. Anthropic's own tools pass untouched."""
    given = _object(tool, where)
    if "custom" in given:
        raise _bad(f"{where}.custom", "has no counterpart at Anthropic, whose tools take JSON only.")
    if "function" not in given and given.get("type") != "function":
        return given
    where = f"{where}.function"
    function = _object(given.get("function"), where)
    schema = function.get("parameters")
    made: Json = {
        "name": _text(function.get("name"), f"{where}.name"),
        "input_schema": {"type": "object", **_object({} if schema is None else schema, f"{where}.parameters")},
    }
    if function.get("description") is not None:
        made["description"] = function["description"]
    kept = _others(function, *made, "description", "parameters", "strict")
    return made | kept | _others(given, *made, "type", "function")


_CHOICES: Final[Mapping[str, str]] = {"auto": "auto", "none": "none", "required": "any"}
_NATIVE_CHOICES: Final = frozenset({"auto", "any", "tool", "none"})


def _tool_choice(body: Json) -> Json:
    choice = _choice(body.get("tool_choice"))
    if not body.get("tools") and (choice is None or choice["type"] in {"auto", "none"}):
        return {}  # Anthropic refuses a choice among no tools, and these two mean the same without them
    if body.get("parallel_tool_calls") is False and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return {} if choice is None else {"tool_choice": choice}


def _choice(choice: Any) -> Json | None:
    if choice is None:
        return None
    if isinstance(choice, str) and choice in _CHOICES:
        return {"type": _CHOICES[choice]}
    given: Json = choice if isinstance(choice, dict) else {}
    if given.get("type") == "function":
        function = _object(given.get("function"), "tool_choice.function")
        return {"type": "tool", "name": _text(function.get("name"), "tool_choice.function.name")}
    if str(given.get("type")) not in _NATIVE_CHOICES:
        raise _bad("tool_choice", f"must be one of {', '.join(_CHOICES)}, or name a function.")
    return given


def _metadata(body: Json) -> Json:
    given = body.get("metadata")
    own = _object({} if given is None else given, "metadata")
    users = (own.get("user_id"), body.get("user"), body.get("safety_identifier"))
    user = next((user for user in users if user is not None), None)
    return {} if user is None else {"metadata": {"user_id": user}}


def _service_tier(body: Json) -> Json:
    tier = body.get("service_tier")
    return {"service_tier": tier} if tier in ("auto", "standard_only") else {}


def _effort(body: Json) -> str | None:
    """The effort that was asked for, or None if none was, or if the model came before efforts."""
    effort = body.get("reasoning_effort")
    if effort is None or str(body.get("model")).startswith(_BEFORE_EFFORT):
        return None
    return _text(effort, "reasoning_effort")


def _thinking(body: Json) -> Json:
    given = body.get("thinking")
    if given is None and _effort(body) == "none":
        given = {"type": "disabled"}
    return {} if given is None else {"thinking": given}


def _output_config(body: Json) -> Json:
    """Effort and format under Anthropic's names; what the body itself has in `output_config` wins."""
    config: Json = {}
    effort = _effort(body)
    if effort not in {None, "none"}:
        config["effort"] = "low" if effort == "minimal" else effort
    if body.get("response_format") is not None:
        config.update(_format(_object(body["response_format"], "response_format")))
    if body.get("output_config") is not None:
        config.update(_object(body["output_config"], "output_config"))
    return {"output_config": config} if config else {}


def _format(wanted: Json) -> Json:
    if wanted.get("type") == "text":
        return {}
    if wanted.get("type") != "json_schema":
        raise _bad("response_format.type", "must be text or json_schema; Anthropic has no mode for any JSON.")
    described = _object(wanted.get("json_schema"), "response_format.json_schema")
    schema = _object(described.get("schema"), "response_format.json_schema.schema")
    return {"format": {"type": "json_schema", "schema": schema}}


_FIELDS: Final[Mapping[tuple[str, ...], Callable[[Json], Json]]] = {
    ("max_completion_tokens", "max_tokens"): _max_tokens,
    ("temperature",): _temperature,
    ("stop",): _stop,
    ("tools",): _tools,
    ("tool_choice", "parallel_tool_calls"): _tool_choice,
    ("metadata", "user", "safety_identifier"): _metadata,
    ("service_tier",): _service_tier,
    ("thinking",): _thinking,
    ("output_config", "reasoning_effort", "response_format"): _output_config,
}
"""Which fields of a chat request are read together, and what makes Anthropic's of them."""

_OURS: Final = frozenset({"messages", "system", *REFUSALS, *LOSSES, *chain.from_iterable(_FIELDS)})
"""The fields that do not pass by themselves."""
