"""What a request asks of the fake provider, whichever dialect it came in, and what there is to say to it.

Pure: no socket, no clock. The script is the text of the last user message:

    anything            the answer is "You said: " and that text
    tools in the body   a person spoke last: the first tool is called (each of them, if the text says "every tool")
    a tool's result     "The tool says: " and the result; where a tool must be called, the first that was not yet
    a JSON schema       an object that fits it
    thinking is on      a signed thought comes first; an effort is enough, as for Anthropic's newer models
    status 429          that error; "status 500 once" and "status 429 twice" then answer
    cut off             the answer ends for want of tokens

Every string in arguments and in objects is the text's last word, so that a value in the prompt comes back in them. Ids,
times and counts of tokens are always the same, so two answers to the same request are equal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

THOUGHT = "First I look at the question, then I answer it."
SIGNATURE = "RmFrZVNpZ25hdHVyZS8rPT1vZi1hLXRob3VnaHQ="
_TIMES = {"once": 1, "twice": 2, None: 10**9}


@dataclass
class Call:
    """One call of a tool; `arguments` as JSON text."""

    id: str
    name: str
    arguments: str


@dataclass
class Said:
    """What is answered, before any dialect gives it a shape."""

    text: str = ""
    thought: str = ""
    calls: list[Call] = field(default_factory=list)
    cut_off: bool = False

    def pieces(self) -> list[str]:
        """The text in pieces of a few letters, as it is streamed."""
        return cut_up(self.text)


@dataclass
class Wanted:
    """A request, without its dialect."""

    text: str
    tools: list[tuple[str, Json]] = field(default_factory=list)
    """Name and JSON schema of each."""
    must_call: bool = False
    may_call: bool = True
    named: str = ""
    called: set[str] = field(default_factory=set)
    result: str | None = None
    """What a tool gave, if that came last."""
    schema: Json | None = None
    thinks: bool = False

    def failure(self, seen: int) -> int:
        """The status to fail with the request that has been seen *seen* times before, 0 for none."""
        found = re.search(r"\bstatus (\d{3})(?: (once|twice))?\b", self.text)
        return int(found[1]) if found and seen < _TIMES[found[2]] else 0

    def said(self) -> Said:
        """The answer."""
        thought, cut = THOUGHT if self.thinks else "", "cut off" in self.text
        calls = [
            Call(f"{i}_fake", name, json.dumps(example(schema, self.word)))
            for i, (name, schema) in enumerate(self._chosen())
        ]
        return Said("" if calls else self._words(), thought, calls, cut)

    @property
    def word(self) -> str:
        """The text's last word."""
        return self.text.split()[-1].rstrip(".,!?") if self.text.split() else ""

    def _words(self) -> str:
        if self.schema is not None:
            return json.dumps(example(self.schema, self.word))
        return f"The tool says: {self.result}" if self.result is not None else f"You said: {self.text}"

    def _chosen(self) -> list[tuple[str, Json]]:
        if not self.tools or not self.may_call or (self.result is not None and not self.must_call):
            return []
        if self.named:
            return [tool for tool in self.tools if tool[0] == self.named]
        if "every tool" in self.text and not self.called:
            return self.tools
        return [tool for tool in self.tools if tool[0] not in self.called][:1]


EXAMPLES: Json = {"integer": 36, "number": 1, "boolean": True, "array": [], "null": None}


def example(schema: Mapping[str, Any], word: str) -> Any:
    """A value that fits a simple JSON schema, *word* for every string."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "string":
        return word
    if kind != "object":
        return EXAMPLES[kind]
    return {name: example(part, word) for name, part in schema.get("properties", {}).items()}


def cut_up(text: str, size: int = 7) -> list[str]:
    """Pieces of *size* letters, cut without regard for words."""
    return [text[i : i + size] for i in range(0, len(text), size)]


def text_of(content: object) -> str:
    """The text of a message's content: a string, or parts in any dialect."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in parts)


# --- from each dialect ---------------------------------------------------------------------------------------


def from_chat(body: Json) -> Wanted:
    """OpenAI's chat completions."""
    messages = body["messages"]
    choice = body.get("tool_choice")
    wanted = Wanted(_last((m["role"], text_of(m.get("content"))) for m in messages))
    wanted.tools = [(t["function"]["name"], t["function"].get("parameters") or {}) for t in body.get("tools") or []]
    wanted.must_call, wanted.may_call = choice == "required" or isinstance(choice, dict), choice != "none"
    wanted.named = choice.get("function", {}).get("name", "") if isinstance(choice, dict) else ""
    wanted.called = {c["function"]["name"] for m in _since_user(messages) for c in m.get("tool_calls") or []}
    if messages[-1]["role"] == "tool":
        wanted.result = text_of(messages[-1]["content"])
    wanted.schema = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
    return wanted


def from_messages(body: Json) -> Wanted:
    """Anthropic's messages."""
    messages, choice = body["messages"], body.get("tool_choice") or {}
    spoken = [m for m in messages if not _results(m)]
    wanted = Wanted(_last((m["role"], text_of(m["content"])) for m in spoken))
    wanted.tools = [(t["name"], t.get("input_schema") or {}) for t in body.get("tools") or []]
    wanted.must_call, wanted.may_call = choice.get("type") in {"any", "tool"}, choice.get("type") != "none"
    wanted.named = choice.get("name", "")
    blocks = [b for m in _since_user(messages) if isinstance(m["content"], list) for b in m["content"]]
    wanted.called = {b["name"] for b in blocks if b.get("type") == "tool_use"}
    if results := _results(messages[-1]):
        wanted.result = text_of(results[-1].get("content"))
    how, thinking = body.get("output_config") or {}, body.get("thinking") or {}
    wanted.schema = (how.get("format") or {}).get("schema")
    wanted.thinks = thinking.get("type", "effort" in how) in {"enabled", "adaptive", True}
    return wanted


def from_responses(body: Json, before: list[Json]) -> Wanted:
    """OpenAI's responses; *before* are the items of the conversation so far."""
    given = body.get("input") or ""
    items = [*before, *([{"role": "user", "content": given}] if isinstance(given, str) else given)]
    choice = body.get("tool_choice")
    wanted = Wanted(_last((i["role"], text_of(i.get("content"))) for i in items if "role" in i))
    wanted.tools = [(t["name"], t.get("parameters") or {}) for t in body.get("tools") or [] if t["type"] == "function"]
    wanted.must_call, wanted.may_call = choice == "required" or isinstance(choice, dict), choice != "none"
    wanted.named = choice.get("name", "") if isinstance(choice, dict) else ""
    wanted.called = {i["name"] for i in _since_user(items) if i.get("type") == "function_call"}
    if items[-1].get("type") == "function_call_output":
        wanted.result = text_of(items[-1]["output"])
    wanted.schema = ((body.get("text") or {}).get("format") or {}).get("schema")
    wanted.thinks = bool((body.get("reasoning") or {}).get("summary"))
    return wanted


def from_completions(body: Json) -> Wanted:
    """OpenAI's legacy completions."""
    return Wanted(text_of(body["prompt"]))


def _last(spoken: Iterable[tuple[str, str]]) -> str:
    """The last user message's text, of pairs of role and text."""
    return next((text for role, text in reversed(list(spoken)) if role == "user"), "")


def _results(entry: Json) -> list[Json]:
    """The tool results in a message of Anthropic's."""
    content = entry.get("content") if isinstance(entry.get("content"), list) else []
    return [block for block in content or [] if block.get("type") == "tool_result"]


def _since_user(entries: list[Json]) -> list[Json]:
    """Messages or items after the last that a person wrote."""
    people = [i for i, entry in enumerate(entries) if entry.get("role") == "user" and not _results(entry)]
    return entries[people[-1] + 1 :] if people else entries
