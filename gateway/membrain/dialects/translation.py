"""Which dialect can be served from which other, and by what.

Chat is the hub: messages and responses are translated into each other through it. Everything here is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from membrain.dialects import (
    chat_from_messages,
    chat_from_responses,
    chat_to_messages,
    chat_to_responses,
    completions_from_chat,
    completions_to_chat,
    messages_from_chat,
    messages_to_chat,
    responses_from_chat,
    responses_to_chat,
)
from membrain.dialects.base import Event, Json


class Events(Protocol):
    """One stream on its way back."""

    def feed(self, name: str | None, data: Json) -> list[Event]:
        """What the caller is told for one event of the upstream's."""
        ...

    def end(self) -> list[Event]:
        """What closes the stream, once the upstream's came to its proper end."""
        ...


class Whole(Protocol):
    """What makes a whole answer in the caller's words."""

    def __call__(self, answer: Json, asked: Json, *, created: int) -> Json:
        """*answer* to the caller's request *asked*; *created* is Unix time in seconds."""
        ...


class Stream(Protocol):
    """What makes the events of a stream in the caller's words."""

    def __call__(self, asked: Json, *, created: int) -> Events:
        """For the answer to the caller's request *asked*; *created* is Unix time in seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Translation:
    """How what is said in one dialect is asked in another, and the answer told back."""

    to: str
    request: Callable[[Json], Json]
    whole: Whole
    events: Stream

    def then(self, further: Translation) -> Translation:
        """This one, and from there on *further*."""

        def request(body: Json) -> Json:
            return further.request(self.request(body))

        def whole(answer: Json, asked: Json, *, created: int) -> Json:
            between = further.whole(answer, self.request(asked), created=created)
            return self.whole(between, asked, created=created)

        def events(asked: Json, *, created: int) -> Events:
            inner = further.events(self.request(asked), created=created)
            return _Chained(inner, self.events(asked, created=created))

        return Translation(further.to, request, whole, events)


class _Chained:
    """A stream that is translated twice."""

    def __init__(self, inner: Events, outer: Events) -> None:
        self._inner, self._outer = inner, outer

    def feed(self, name: str | None, data: Json) -> list[Event]:
        """What the caller is told for one event of the upstream's."""
        return self._told(self._inner.feed(name, data))

    def end(self) -> list[Event]:
        """What closes both."""
        return [*self._told(self._inner.end()), *self._outer.end()]

    def _told(self, events: Iterable[Event]) -> list[Event]:
        return [told for name, data in events for told in self._outer.feed(name, data)]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two modules that translate between two dialects: requests there, answers back."""

    asked: str
    to: str
    there: Any
    back: Any

    @property
    def translation(self) -> Translation:
        """What they do."""
        return Translation(self.to, self.there.request, self.back.whole, self.back.Events)

    @property
    def refused(self) -> Mapping[str, str]:
        """Fields of a request that the other dialect cannot carry, and why."""
        return {name: why if isinstance(why, str) else why[1] for name, why in self.there.REFUSALS.items()}

    @property
    def lost(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """What a request loses on its way, and an answer on its way back."""
        return self.there.LOSSES, self.back.LOSSES


PAIRS: Final = (
    Pair("chat", "messages", chat_to_messages, chat_from_messages),
    Pair("chat", "responses", chat_to_responses, chat_from_responses),
    Pair("messages", "chat", messages_to_chat, messages_from_chat),
    Pair("responses", "chat", responses_to_chat, responses_from_chat),
    Pair("completions", "chat", completions_to_chat, completions_from_chat),
)
"""Every two that know each other."""

_DIRECT: Final = {(each.asked, each.to): each.translation for each in PAIRS}
_THROUGH_CHAT: Final = {
    (asked, to): first.then(second)
    for (asked, hub), first in _DIRECT.items()
    for (middle, to), second in _DIRECT.items()
    if hub == middle == "chat" and asked != to
}

TRANSLATIONS: Final[Mapping[tuple[str, str], Translation]] = {**_DIRECT, **_THROUGH_CHAT}
"""By the dialect that was spoken, and the one that is understood."""


def between(asked: str, spoken: Collection[str]) -> Translation | None:
    """How to ask in the first of the dialects *spoken* what was said in *asked*; None if there is no way."""
    return next((TRANSLATIONS[asked, to] for to in spoken if (asked, to) in TRANSLATIONS), None)
