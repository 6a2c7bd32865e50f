"""A legacy completions request as a chat request.

For: one pure translation over parsed JSON, `request`, and the tables that say where it ends. The prompt becomes what
the user says; what chat cannot carry and would change the answer is a `BadRequest` that names the field. Everything
else passes untouched, under the name that both dialects have for it. A null counts as not sent.

Not for: sending anything, nor for answers: those are in `completions_from_chat`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from membrain.dialects.base import Json
from membrain.errors import BadRequest

REFUSALS: Final[Mapping[str, tuple[tuple[Any, ...], str]]] = {
    "prompt": ((), "A chat has one prompt; ask several times instead."),
    "suffix": (("",), "A chat cannot fill in text before an ending; say in the prompt what is to be filled in."),
    "echo": ((False,), "A chat does not repeat what it was told."),
    "best_of": ((1,), "A chat shows every answer that it makes; ask for several with `n`."),
    "logprobs": ((), "What a chat tells of its tokens is of another shape; ask it as a chat."),
}
"""Fields that change what the answer is: the values that are fine, and why any other is refused. One prompt is."""

LOSSES: Final[Mapping[str, str]] = {
    "prompt": "Becomes a message of the user's: a chat model answers it, where a completion model goes on writing.",
    "max_tokens": "Where it is not sent, the model decides on the length; the 16 tokens that OpenAI's completions stop "
    "after by default are not asked for.",
}
"""What becomes of a request on its way to a chat, with a sentence for each field."""


def request(body: Json) -> Json:
    """The chat request that asks what the completions request *body* asks.

    Raises `BadRequest`, with the field in `param`, for what a chat cannot carry. *body* is not changed; parts of it are
    shared with the result.
    """
    for name, (allowed, why) in REFUSALS.items():
        if name != "prompt" and body.get(name) is not None and body[name] not in allowed:
            raise _bad(name, f"cannot be asked of a chat. {why}")
    made = {name: value for name, value in body.items() if name not in REFUSALS and value is not None}
    return {**made, "messages": [{"role": "user", "content": _prompt(body.get("prompt"))}]}


def _prompt(given: Any) -> str:
    """The one text to answer."""
    one = given[0] if isinstance(given, list) and len(given) == 1 else given
    if isinstance(one, str):
        return one
    if isinstance(given, list) and len(given) > 1:
        raise _bad("prompt", f"holds several prompts. {REFUSALS['prompt'][1]}")
    raise _bad("prompt", "must be a string.")


def _bad(where: str, problem: str) -> BadRequest:
    return BadRequest(f"`{where}` {problem}", param=where)
