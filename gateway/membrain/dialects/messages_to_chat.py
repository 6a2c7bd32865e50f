"""An Anthropic messages request as a chat request.

For: one pure translation over parsed JSON, `request`, and the tables that say where it ends. What cannot be carried
and would change the answer is a `BadRequest` that names the field (`REFUSALS`); what changes no answer, or only
Anthropic's own housekeeping, is dropped and listed in `LOSSES`. OpenAI refuses fields that it does not know, so what
nobody here knows is left out as well. A null counts as not sent.

Not for: sending anything, nor for answers: those are in `messages_from_chat`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from membrain.dialects.sealed import is_sealed, unseal
from membrain.errors import BadRequest

Json = dict[str, Any]
Reader = Callable[[Json, str], list[Json]]

REFUSALS: Final[Mapping[str, str]] = {
    "container": "Containers run at Anthropic only.",
    "mcp_servers": "Anthropic connects to such servers by itself; connect to them on your side and send their tools.",
    "thread": "The conversation would be kept at Anthropic; send all of its messages instead.",
    "compaction": "Only Anthropic makes such summaries; ask for one in the prompt.",
    "inference_geo": "Nobody but Anthropic promises where a model runs, so the request is not sent without it.",
    "tools[].type": "This tool is Anthropic's own; describe a tool by `name` and `input_schema`.",
    "tool_choice.type": "It must be auto, any, tool or none.",
    "messages[].content[].type": "Chat has no block of this kind here: it has none for Anthropic's server tools and "
    "their results, for uploads, nor for images that an assistant sends.",
    "messages[].content[].source.type": "Chat takes images as base64 or by address, and documents as a base64 PDF, "
    "text or blocks; files that were uploaded to Anthropic stay there.",
    "messages[].content[].source.media_type": "The only documents that go on in base64 are PDFs.",
    "output_config.format.type": "It must be json_schema.",
}
"""What is refused, and why. A list counts as sent if something is in it."""

LOSSES: Final[Mapping[str, str]] = {
    "*": "Any other field is left out: `betas`, `diagnostics`, `fallbacks`, `speed`, `user_profile_id`, "
    "`workspace_id` and whatever Anthropic adds next. OpenAI refuses fields that it does not know.",
    "cache_control": "Dropped wherever it stands: who speaks chat caches prompts without being told.",
    "context_management": "Dropped: nothing is cleared from the messages, so a long conversation may not fit.",
    "top_k": "Dropped: chat has no such choice.",
    "metadata": "Only `user_id` goes on, as `user`, and not if it is longer than the 64 signs that OpenAI takes; "
    "Claude Code's always is.",
    "service_tier": "`standard_only` goes on as `default`.",
    "thinking": "A budget goes on as `reasoning_effort`: low below 4096 tokens, high from 16384, else medium. Dropped "
    "for adaptive and disabled thinking, for models of OpenAI's that do not reason, and for Ollama's and our own, "
    "which refuse it if they cannot think and think unasked if they can.",
    "output_config.effort": "Goes on as `reasoning_effort` and wins over a budget; dropped for models of OpenAI's "
    "that do not reason.",
    "output_config.task_budget": "Dropped: chat has no such budget.",
    "system": "The line `x-anthropic-billing-header`, which changes with every request of Claude Code and would spoil "
    "the provider's prompt cache, is left out.",
    "tools[].*": "Of a tool, `name`, `description`, `input_schema` and `strict` go on. All tools are there from the "
    "start, also with `defer_loading`, and can be called directly, whatever `allowed_callers` says.",
    "messages[-1]": "An assistant's message at the end goes on as it is; not every provider continues it, as "
    "Anthropic does, and some begin anew.",
    "messages[].content": "Tool results become messages of their own, ahead of whatever else the user says.",
    "messages[].content[].citations": "Dropped, also where documents ask for them: chat does not cite documents.",
    "messages[].content[].title": "The title of a PDF is its file name, that of other documents a text before them, "
    "as is `context`.",
    "messages[].content[].source": "A search result is told as texts: its title, its source and its content.",
    "messages[].content[].transformations": "Dropped: the provider decides on an image's resolution by itself.",
    "messages[].content[].is_error": "Dropped: the result's text has to say that something failed.",
    "messages[].content[].content": "Images and PDFs in a tool result follow in a user message after the results; "
    "a `tool_reference` is told as the tool's name.",
    "messages[].content[].caller": "Dropped, as is `toolset_name`: chat only knows that a tool was called.",
    "messages[].content[].thinking": "Goes on if it is signed, in `thinking_blocks` and ahead of the message's texts "
    "and calls, wherever it stood. Thinking without a signature is only for the reader, and dropped.",
}
"""What a request loses on its way to chat, with a sentence for each field."""

_KEPT: Final = ("model", "stream", "max_tokens", "temperature", "top_p")

_MAX_USER: Final = 64
_BILLING_LINE: Final = re.compile(r"x-anthropic-billing-header:[^\n]*\n?")

_BEFORE_EFFORT: Final = ("gpt-3.5", "gpt-4", "chatgpt-4o", "ft:gpt-3.5", "ft:gpt-4")
"""How the names of OpenAI's models begin that refuse `reasoning_effort`. They are of the past: the list is closed."""
_UNSURE: Final = ("ollama/", "local/")
"""Whose models refuse an effort unless they can think; so none is guessed for them."""
_EFFORTS: Final = ((4096, "low"), (16384, "medium"))
"""Thinking budgets, in tokens, below which an effort is meant; from the last on it is high."""


def request(body: Json) -> Json:
    """The chat request that asks what the messages request *body* asks.

    Raises `BadRequest` for what chat cannot carry, with the field in `param`: `messages.0.content.1.type`.
    *body* is not changed; parts of it are shared with the result.
    """
    for name, why in REFUSALS.items():
        if body.get(name):
            raise _bad(name, f"cannot be sent to this provider. {why}")
    made = {name: body[name] for name in _KEPT if body.get(name) is not None}
    made["messages"] = [*_system(body.get("system")), *_conversation(body.get("messages"))]
    for translate in _FIELDS:
        made.update(translate(body))
    return made


def _bad(where: str, problem: str) -> BadRequest:
    return BadRequest(f"`{where}` {problem}", param=where)


def _refused(field: str, where: str) -> BadRequest:
    """The refusal of *field*, a row of the table, at *where*."""
    return _bad(where, f"cannot be sent to this provider. {REFUSALS[field]}")


def _object(value: Any, where: str) -> Json:
    if not isinstance(value, dict):
        raise _bad(where, "must be an object.")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _bad(where, "must be a string.")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _bad(where, "must be a list.")
    return value


def _config(body: Json, name: str) -> Json:
    """The object *name* of *body*; empty if it was not sent."""
    value = body.get(name)
    return {} if value is None else _object(value, name)


# -- content --


def _blocks(content: Any, where: str) -> Iterator[tuple[str, Json]]:
    """The blocks of a content, each with its place; a string is a text block."""
    if isinstance(content, str):
        yield where, {"type": "text", "text": content}
    elif isinstance(content, list):
        for index, block in enumerate(content):
            yield f"{where}.{index}", _object(block, f"{where}.{index}")
    else:
        raise _bad(where, "must be a string or a list of blocks.")


def _content(parts: list[Json]) -> str | list[Json]:
    """*parts* as chat's content; one text alone is a string, as every provider takes it."""
    if not parts:
        return ""
    only: str | None = parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else None
    return parts if only is None else only


def _told(*texts: str) -> list[Json]:
    return [{"type": "text", "text": text} for text in texts]


def _parts(block: Json, where: str, readers: Mapping[str, Reader]) -> list[Json]:
    """The parts that tell *block*, if it is of a kind that *readers* know."""
    kind = block.get("type")
    if not isinstance(kind, str) or kind not in readers:
        raise _refused("messages[].content[].type", f"{where}.type")
    return readers[kind](block, where)


def _text_parts(block: Json, where: str) -> list[Json]:
    return _told(_text(block.get("text"), f"{where}.text"))


def _image_parts(block: Json, where: str) -> list[Json]:
    where = f"{where}.source"
    source = _object(block.get("source"), where)
    if source.get("type") == "url":
        url = _text(source.get("url"), f"{where}.url")
    elif source.get("type") == "base64":
        url = _data_url(source, where)
    else:
        raise _refused("messages[].content[].source.type", f"{where}.type")
    return [{"type": "image_url", "image_url": {"url": url}}]


def _data_url(source: Json, where: str) -> str:
    data, media_type = (
        _text(source.get("data"), f"{where}.data"),
        _text(source.get("media_type"), f"{where}.media_type"),
    )
    return f"data:{media_type};base64,{data}"


def _document_parts(block: Json, where: str) -> list[Json]:
    source = _object(block.get("source"), f"{where}.source")
    read = _DOCUMENTS.get(str(source.get("type")))
    if read is None:
        raise _refused("messages[].content[].source.type", f"{where}.source.type")
    title, context = (_text(block.get(name) or "", f"{where}.{name}") for name in ("title", "context"))
    return read(source, f"{where}.source", title, context)


def _pdf(source: Json, where: str, title: str, context: str) -> list[Json]:
    if source.get("media_type") != "application/pdf":
        raise _refused("messages[].content[].source.media_type", f"{where}.media_type")
    file = {"filename": title or "document.pdf", "file_data": _data_url(source, where)}
    return [*_told(*filter(None, [context])), {"type": "file", "file": file}]


def _plain(source: Json, where: str, title: str, context: str) -> list[Json]:
    return _told(*filter(None, [title, context]), _text(source.get("data"), f"{where}.data"))


def _made_of_blocks(source: Json, where: str, title: str, context: str) -> list[Json]:
    where = f"{where}.content"
    parts = [part for at, block in _blocks(source.get("content"), where) for part in _parts(block, at, _SHOWN)]
    return [*_told(*filter(None, [title, context])), *parts]


_DOCUMENTS: Final[Mapping[str, Callable[[Json, str, str, str], list[Json]]]] = {
    "base64": _pdf,
    "text": _plain,
    "content": _made_of_blocks,
}
"""For each kind of a document's source: what makes parts of it, its title and its context."""


def _search_result_parts(block: Json, where: str) -> list[Json]:
    head = [_text(block.get(name) or "", f"{where}.{name}") for name in ("title", "source")]
    found = _blocks(block.get("content"), f"{where}.content")
    return [*_told(*filter(None, head)), *(part for at, each in found for part in _parts(each, at, _WRITTEN))]


def _reference_parts(block: Json, where: str) -> list[Json]:
    return _told(_text(block.get("tool_name"), f"{where}.tool_name"))


_WRITTEN: Final[Mapping[str, Reader]] = {"text": _text_parts}
_SHOWN: Final[Mapping[str, Reader]] = {**_WRITTEN, "image": _image_parts}
_SAID: Final[Mapping[str, Reader]] = {
    **_SHOWN,
    "document": _document_parts,
    "search_result": _search_result_parts,
}
_GIVEN: Final[Mapping[str, Reader]] = {**_SAID, "tool_reference": _reference_parts}
"""What may stand in a tool's result; the tables before it are for what a system, a document and a user say."""


# -- messages --


def _system(system: Any) -> list[Json]:
    if not system:
        return []
    parts = [part for at, block in _blocks(system, "system") for part in _parts(block, at, _WRITTEN)]
    kept = [part for part in map(_unbilled, parts) if part is not None]
    return [{"role": "system", "content": _content(kept)}] if kept else []


def _unbilled(part: Json) -> Json | None:
    """A text without Claude Code's billing line; None if it was nothing else."""
    found = _BILLING_LINE.match(part["text"])
    if found is None:
        return part
    rest = part["text"][found.end() :]
    return {"type": "text", "text": rest} if rest else None


def _conversation(messages: Any) -> Iterator[Json]:
    for index, message in enumerate(_list(messages, "messages")):
        where = f"messages.{index}"
        role = _object(message, where).get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise _bad(f"{where}.role", f"must be one of {', '.join(_ROLES)}.")
        yield from _ROLES[role](message.get("content"), f"{where}.content")


def _of_system(content: Any, where: str) -> Iterator[Json]:
    parts = [part for at, block in _blocks(content, where) for part in _parts(block, at, _WRITTEN)]
    yield {"role": "system", "content": _content(parts)}


def _of_user(content: Any, where: str) -> Iterator[Json]:
    """The results of tools, each a message, and then what was shown by them and what the user says."""
    shown: list[Json] = []
    said: list[Json] = []
    answered = False
    for at, block in _blocks(content, where):
        if block.get("type") != "tool_result":
            said += _parts(block, at, _SAID)
            continue
        answered = True
        result = _result_parts(block, at)
        shown += [part for part in result if part["type"] != "text"]
        written = [part for part in result if part["type"] == "text"]
        call = _text(block.get("tool_use_id"), f"{at}.tool_use_id")
        yield {"role": "tool", "tool_call_id": call, "content": _content(written)}
    if shown or said or not answered:
        yield {"role": "user", "content": _content([*shown, *said])}


def _result_parts(block: Json, where: str) -> list[Json]:
    if block.get("content") is None:
        return []
    given = _blocks(block["content"], f"{where}.content")
    return [part for at, each in given for part in _parts(each, at, _GIVEN)]


def _of_assistant(content: Any, where: str) -> Iterator[Json]:
    """One message, with what was thought and called beside what was said."""
    said: dict[str, list[Json]] = {name: [] for name in ("content", "thinking_blocks", "reasoning_items", "tool_calls")}
    for at, block in _blocks(content, where):
        items = _reasoning_items(block, at)
        if items is None:
            said[_MEMBERS.get(str(block.get("type")), "content")] += _parts(block, at, _UTTERED)
        else:
            said["reasoning_items"] += items
    parts = said.pop("content")
    spoken = None if said["tool_calls"] and not parts else _content(parts)
    yield {"role": "assistant", "content": spoken, **{name: found for name, found in said.items() if found}}


def _reasoning_items(block: Json, where: str) -> list[Json] | None:
    """The reasoning items of OpenAI's in redacted thinking that we made of them; None for any other block."""
    data = block.get("data")
    if block.get("type") != "redacted_thinking" or not is_sealed(data):
        return None
    try:
        return unseal(data)
    except ValueError:
        raise _bad(f"{where}.data", "was changed since it was sent, and can no longer be read.") from None


def _signed_thinking(block: Json, where: str) -> list[Json]:
    return [block] if _text(block.get("signature") or "", f"{where}.signature") else []


def _redacted_thinking(block: Json, where: str) -> list[Json]:
    _text(block.get("data"), f"{where}.data")
    return [block]


def _tool_calls(block: Json, where: str) -> list[Json]:
    name, given = _text(block.get("name"), f"{where}.name"), _object(block.get("input"), f"{where}.input")
    function = {"name": name, "arguments": msgspec.json.encode(given).decode()}
    return [{"id": _text(block.get("id"), f"{where}.id"), "type": "function", "function": function}]


_UTTERED: Final[Mapping[str, Reader]] = {
    **_WRITTEN,
    "thinking": _signed_thinking,
    "redacted_thinking": _redacted_thinking,
    "tool_use": _tool_calls,
}
_MEMBERS: Final[Mapping[str, str]] = {
    "thinking": "thinking_blocks",
    "redacted_thinking": "thinking_blocks",
    "tool_use": "tool_calls",
}
"""Which member of an assistant's message has a kind of block, if it is not the content."""

_ROLES: Final[Mapping[str, Callable[[Any, str], Iterator[Json]]]] = {
    "user": _of_user,
    "assistant": _of_assistant,
    "system": _of_system,
}


# -- the other fields of a request --


def _stream_options(body: Json) -> Json:
    """Usage is always asked for: a stream of messages tells it unasked."""
    return {"stream_options": {"include_usage": True}} if body.get("stream") else {}


def _stop(body: Json) -> Json:
    listed = _list(body.get("stop_sequences") or [], "stop_sequences")
    return {"stop": [_text(each, f"stop_sequences.{index}") for index, each in enumerate(listed)]} if listed else {}


def _tools(body: Json) -> Json:
    tools = _list(body.get("tools") or [], "tools")
    return {"tools": [_tool(tool, f"tools.{index}") for index, tool in enumerate(tools)]} if tools else {}


def _tool(tool: Any, where: str) -> Json:
    if _object(tool, where).get("type") not in (None, "custom"):
        raise _refused("tools[].type", f"{where}.type")
    function: Json = {"name": _text(tool.get("name"), f"{where}.name")}
    if tool.get("description") is not None:
        function["description"] = _text(tool["description"], f"{where}.description")
    schema = _object(tool.get("input_schema"), f"{where}.input_schema")
    # OpenAI refuses the schema of an object that names no properties.
    function["parameters"] = schema if schema.get("properties") is not None else {**schema, "properties": {}}
    if tool.get("strict") is not None:
        function["strict"] = tool["strict"]
    return {"type": "function", "function": function}


_CHOICES: Final[Mapping[str, str]] = {"auto": "auto", "any": "required", "none": "none"}


def _tool_choice(body: Json) -> Json:
    choice = _config(body, "tool_choice")
    if not choice or (not body.get("tools") and choice.get("type") in {"auto", "none"}):
        return {}  # OpenAI refuses a choice among no tools, and these two mean the same without them
    kind = str(choice.get("type"))
    made: Json = {}
    if kind == "tool":
        made["tool_choice"] = {"type": "function", "function": {"name": _text(choice.get("name"), "tool_choice.name")}}
    elif kind in _CHOICES:
        made["tool_choice"] = _CHOICES[kind]
    else:
        raise _refused("tool_choice.type", "tool_choice.type")
    return {**made, "parallel_tool_calls": False} if choice.get("disable_parallel_tool_use") else made


def _user(body: Json) -> Json:
    user = _config(body, "metadata").get("user_id")
    return {"user": user} if isinstance(user, str) and 0 < len(user) <= _MAX_USER else {}


def _service_tier(body: Json) -> Json:
    tier = {"auto": "auto", "standard_only": "default"}.get(str(body.get("service_tier")))
    return {"service_tier": tier} if tier else {}


def _reasoning_effort(body: Json) -> Json:
    model = str(body.get("model"))
    if model.rpartition("/")[2].startswith(_BEFORE_EFFORT):
        return {}
    effort = _config(body, "output_config").get("effort")
    if effort is None and not model.startswith(_UNSURE):
        effort = _budgeted(_config(body, "thinking"))
    return {} if effort is None else {"reasoning_effort": _text(effort, "output_config.effort")}


def _budgeted(thinking: Json) -> str | None:
    """The effort that a thinking budget stands for; None without one."""
    budget = thinking.get("budget_tokens")
    if thinking.get("type") != "enabled" or type(budget) is not int:
        return None
    return next((effort for tokens, effort in _EFFORTS if budget < tokens), "high")


def _response_format(body: Json) -> Json:
    """The schema of the answer; strict, because Anthropic always is. `output_format` is the older name."""
    name, wanted = "output_config.format", _config(body, "output_config").get("format")
    if wanted is None:
        name, wanted = "output_format", body.get("output_format")
    if wanted is None:
        return {}
    if _object(wanted, name).get("type") != "json_schema":
        raise _refused("output_config.format.type", f"{name}.type")
    described = {"name": "answer", "strict": True, "schema": _object(wanted.get("schema"), f"{name}.schema")}
    return {"response_format": {"type": "json_schema", "json_schema": described}}


_FIELDS: Final[tuple[Callable[[Json], Json], ...]] = (
    *(_stream_options, _stop, _tools, _tool_choice),
    *(_user, _service_tier, _reasoning_effort, _response_format),
)
"""What makes chat's fields of those of a messages request that do not pass by themselves."""
