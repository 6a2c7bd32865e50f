"""A chat's answer as a legacy completion: the way back of `completions_to_chat`.

For: pure translations over parsed JSON. `whole` makes a completion of a whole chat completion, `Events` pieces of one
of the chunks of a stream. What gets lost is listed in `LOSSES`.

Not for: sending anything, and not for the upstreams that speak completions themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from membrain.dialects.base import Event, Json
from membrain.errors import ProviderFailed

FINISH_REASONS: Final = frozenset({"stop", "length", "content_filter"})
"""What a completion may end with; whatever else a chat ends with is a `stop`."""

LOSSES: Final[Mapping[str, str]] = {
    "choices[].message.*": "Only what is said is told, a refusal too. Thinking, tool calls, citations and audio are "
    "left out: a completion is nothing but text.",
    "choices[].finish_reason": "`tool_calls` and `function_call` become `stop`.",
    "choices[].logprobs": "Left out: a chat's are of another shape, and were not asked for.",
    "service_tier": "Left out: completions do not tell it.",
}
"""What a chat's answer loses on its way back to who asked for a completion, with a sentence for each field."""


def whole(answer: Json, asked: Json, *, created: int) -> Json:
    """The completion that says what the chat completion *answer* says; *created* is Unix time in seconds.

    Raises `ProviderFailed` for an error object, and for what cannot be read as a chat completion.
    """
    if answer.get("error") and not answer.get("choices"):
        raise _failure(answer)
    told = (_choice(choice, "message") for choice in _objects(answer.get("choices")))
    choices = [{**choice, "finish_reason": choice["finish_reason"] or "stop"} for choice in told]
    made = {**_head(answer, asked, created), "choices": choices}
    return {**made, "usage": answer["usage"]} if isinstance(answer.get("usage"), dict) else made


class Events:
    """Makes pieces of a completion of the chunks of one chat stream.

    A chunk that says nothing and ends nothing gives none, like the first, which only tells the role. The usage is told
    by `end`, in a piece of its own; whoever writes the stream drops that if the caller did not ask for it.
    """

    def __init__(self, asked: Json, *, created: int) -> None:
        self._asked = asked
        self._created = created
        self._head: Json = {}
        self._usage: Json | None = None

    def feed(self, name: str | None, data: Json) -> list[Event]:  # noqa: ARG002  # chat's events have no names
        """The piece that one chunk gives, if any. Raises `ProviderFailed` for an error, and for what cannot be read."""
        if data.get("error"):
            raise _failure(data)
        self._head = self._head or _head(data, self._asked, self._created)
        self._usage = data["usage"] if isinstance(data.get("usage"), dict) else self._usage
        choices = [_choice(choice, "delta") for choice in _objects(data.get("choices") or [])]
        told = [choice for choice in choices if choice["text"] or choice["finish_reason"]]
        return [(None, {**self._head, "choices": told})] if told else []

    def end(self) -> list[Event]:
        """What was used, if that was told."""
        return [] if self._usage is None else [(None, {**self._head, "choices": [], "usage": self._usage})]


def _head(answer: Json, asked: Json, created: int) -> Json:
    """What stands over every piece. Names and times that are missing are filled in: not every upstream has them."""
    model, stamp = answer.get("model"), answer.get("created")
    head: Json = {
        "id": str(answer.get("id") or "cmpl-0"),
        "object": "text_completion",
        "created": stamp if isinstance(stamp, int) else created,
        "model": model if isinstance(model, str) else asked.get("model"),
    }
    mark = answer.get("system_fingerprint")
    return head if mark is None else {**head, "system_fingerprint": mark}


def _choice(choice: Json, where: str) -> Json:
    """What one choice says under the name *where*. Only one of content and refusal is ever said."""
    said, place, reason = choice.get(where) or {}, choice.get("index", 0), choice.get("finish_reason")
    if not isinstance(said, dict) or type(place) is not int:
        raise _unreadable()
    told = [text for name in ("content", "refusal") if (text := said.get(name)) is not None]
    if not all(isinstance(text, str) for text in told):
        raise _unreadable()
    finish = reason if reason is None or reason in FINISH_REASONS else "stop"
    return {"text": "".join(told), "index": place, "logprobs": None, "finish_reason": finish}


def _objects(choices: Any) -> list[Json]:
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise _unreadable()
    return choices


def _failure(told: Json) -> ProviderFailed:
    """The upstream's error object as our error, in its own words."""
    error = told["error"]
    given: Json = error if isinstance(error, dict) else {"message": error}
    message, kind = (value if isinstance(value := given.get(name), str) else None for name in ("message", "type"))
    return ProviderFailed(message or "The chat reported an error without a word.", type=kind, reached=False)


def _unreadable() -> ProviderFailed:
    return ProviderFailed("The chat's answer is not of the shape that is documented.")
