"""What every dialect has in common: what was said, a piece of an answer, and the words for both.

A dialect is pure: bytes and data in, bytes and data out. It never touches the network and knows no provider.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import msgspec

from membrain.errors import BadRequest, MembrainError, TooLarge
from membrain.records import Tokens

_decode = msgspec.json.Decoder().decode

Json = dict[str, Any]
Event = tuple[str | None, Json]
"""An event's name, None where the dialect gives none, and its parsed data."""

Failed = Callable[[Json], MembrainError]
"""Makes an error of ours of what an upstream said instead of an answer: a body, or an event's data."""

MAX_MODEL_NAME = 256

MOST_CHOICES = 128
"""No provider gives more answers to one prompt, so no end of ours is written for more."""


@dataclass(slots=True)
class Said:
    """A request as it was said: the caller's bytes, and the same parsed once.

    `body` is never re-encoded; whoever changes something splices into it, so that a provider's prompt cache and
    its signatures stay whole. `data` is for reading only.
    """

    dialect: str
    body: bytes = field(repr=False)
    data: dict[str, Any] = field(repr=False)
    model: str
    stream: bool


@dataclass(slots=True)
class Chunk:
    """A piece of an answer in its dialect's words.

    `raw` is one whole JSON body (`whole`), or one or more complete server-sent events as they came. The dialect's
    terminal event is only in a piece that is the `last` one: the door sends that once the outcome is on record, and
    where there was none, writes the dialect's own.
    """

    raw: bytes = field(repr=False)
    whole: bool = False
    tokens: Tokens | None = None
    """What the provider reported so far, if this piece said so."""
    model: str | None = None
    """The model that answered, if it is not the one that was asked."""
    last: bool = False
    """The stream's proper end is in it."""
    failure: MembrainError | None = field(default=None, repr=False)
    """Why there is no answer, where the upstream says so in a proper end."""


class Reader(Protocol):
    """Reads one upstream's stream in its dialect: what passes on, what was used, and whether it came to its end."""

    over: bool
    """Everything that counts has come, so that a stream which closes now did not break off."""
    ended: bool
    """The terminal event has come; what follows it is not looked at."""

    def speaks(self, raw: bytes) -> bool:
        """Whether an event of the answer is among the events *raw*. Comments and pings are none."""
        ...

    def feed(self, raw: bytes) -> Iterator[Chunk]:
        """Take some complete events; give what is to be passed on of them. Raises what the upstream failed with."""
        ...


class Dialect(Protocol):
    """One way of speaking to a model: how its requests are read, and its answers and errors are read and written."""

    name: ClassVar[str]
    lengths: ClassVar[tuple[str, ...]]
    """Members of a request that say how long the answer may be, in tokens; the one we say it with comes last."""

    def read(self, body: bytes, *, depth: int) -> Said:
        """Parse a request's *body*; `BadRequest` or `TooLarge` if it makes no sense."""
        ...

    def error(self, error: MembrainError) -> bytes:
        """The body that tells the caller of *error*."""
        ...

    def error_event(self, error: MembrainError) -> bytes:
        """The event that tells the caller of *error* in mid-stream."""
        ...

    def end(self) -> bytes:
        """The terminal event of a stream that arrived whole; empty where that is more than a word."""
        ...

    def request_body(self, said: Said, model: str, more: Mapping[str, Any] = {}) -> bytes:
        """The caller's own bytes, for an upstream that knows the model as *model*, with the members *more*."""
        ...

    def whole(self, raw: bytes, failed: Failed) -> Chunk:
        """An upstream's whole answer; raises what *failed* makes of a body that is none."""
        ...

    def reader(self, said: Said, failed: Failed) -> Reader:
        """What reads the upstream's stream of an answer to *said*."""
        ...

    def shows(self, said: Said, event: Json) -> bool:
        """Whether the caller of *said* wants to see this event of a translated stream."""
        ...

    def length_of(self, raw: bytes) -> tuple[int, int]:
        """How many of the events *raw* say something, and how many characters they say."""
        ...

    def finishes(self, raw: bytes) -> bool:
        """Whether the answer's end is among the events *raw*."""
        ...

    def cut_short(self, raw: bytes, said: Said, reason: str) -> Chunk | None:
        """The events *raw* and those that end the answer before its time, as if it had reached its length.

        None where that would take more than the events at hand. *reason* is a code of ours.
        """
        ...


_LINE_ENDS = ((b"\xc2\x85", rb"\u0085"), (b"\xe2\x80\xa8", rb"\u2028"), (b"\xe2\x80\xa9", rb"\u2029"))


def unbroken(raw: bytes) -> bytes:
    """Events *raw* with U+0085, U+2028 and U+2029 escaped: text libraries end a line there, and with it the event."""
    if b"\xe2\x80" in raw or b"\xc2\x85" in raw:
        for sign, escape in _LINE_ENDS:
            raw = raw.replace(sign, escape)
    return raw


def parse_object(body: bytes, *, depth: int) -> dict[str, Any]:
    """The JSON object in *body*, nested no deeper than *depth*."""
    try:
        data = _decode(body)
    except RecursionError:
        raise TooLarge(f"The body is nested deeper than {depth} levels.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body is not valid JSON: {_where(error)}.") from None
    if not isinstance(data, dict):
        raise BadRequest("The body must be a JSON object.")
    # Each level costs at least one bracket, so few brackets prove a flat body without a walk.
    if body.count(b"{") + body.count(b"[") > depth and deeper_than(data, depth):
        raise TooLarge(f"The body is nested deeper than {depth} levels.")
    return data


def _where(error: Exception) -> str:
    """The parser's complaint without the value it may quote."""
    text = str(error).split(" - ")[0]
    return text if text.isascii() and len(text) < 120 else "it breaks off or is malformed"


def deeper_than(data: Any, depth: int) -> bool:
    """Whether lists and objects in *data* are nested more than *depth* levels. Level by level, no recursion."""
    level = [data]
    for _ in range(depth):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def text_field(data: Mapping[str, Any], name: str) -> str:
    """The non-empty string *name* of a request, or a `BadRequest` that names it."""
    value = data.get(name)
    if not isinstance(value, str) or not value:
        problem = "is missing" if name not in data else "must be a string that is not empty"
        raise BadRequest(f"`{name}` {problem}.", param=name)
    return value


_CODED = re.compile("%[0-9A-Fa-f]{2}")
"""A sign in percent-encoding: whoever decodes it once too often would have a line end in a header."""


def model_field(data: Mapping[str, Any]) -> str:
    """The model's name: a short string of printable signs."""
    model = text_field(data, "model")
    if len(model) > MAX_MODEL_NAME or not model.isprintable() or _CODED.search(model):
        raise BadRequest(f"`model` must be at most {MAX_MODEL_NAME} printable signs.", param="model")
    return model


_STEERING = frozenset({"apibase", "apikey", "baseurl"})
"""Fields by which some libraries let a request say where it goes and with which key, without their dashes."""


def refuse_steering(data: Mapping[str, Any]) -> None:
    """`BadRequest` if a request says itself where it goes: that is for the settings to say."""
    for name, value in data.items():
        if value is not None and name.lower().replace("_", "").replace("-", "") in _STEERING:
            problem = f"`{name}` is not for a request to say: a provider's address and key stand in the settings."
            raise BadRequest(problem, hint="membrain config list", param=name)


def list_field(data: Mapping[str, Any], name: str) -> list[Any]:
    """The non-empty list of objects *name* of a request, or a `BadRequest` that names it."""
    value = data.get(name)
    if not isinstance(value, list) or not value:
        problem = "is missing" if name not in data else "must be a list that is not empty"
        raise BadRequest(f"`{name}` {problem}.", param=name)
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise BadRequest(f"`{name}[{index}]` must be an object.", param=f"{name}[{index}]")
    return value


def flag_field(data: Mapping[str, Any], name: str) -> bool:
    """The optional boolean *name* of a request; null counts as absent."""
    value = data.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"`{name}` must be true or false.", param=name)
    return bool(value)


def answer_object(raw: bytes, failed: Failed) -> Json:
    """The JSON object in an upstream's whole answer *raw*; raises what *failed* makes of any other."""
    try:
        data = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        data = _loosely(raw)
    if not isinstance(data, dict):
        raise failed({})
    return data


def _loosely(raw: bytes) -> Any:
    """*raw* as the slower parser reads it, which takes half of a surrogate pair, and numbers beyond all bounds."""
    try:
        return json.loads(raw.decode())
    except (ValueError, RecursionError):
        return None


def event_object(raw: bytes) -> Json:
    """The JSON object in one event's data; an empty one if there is none."""
    try:
        data = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def model_of(data: Mapping[str, Any]) -> str | None:
    """The model that an answer names; None if it names none that could be one."""
    model = data.get("model")
    return model if isinstance(model, str) and 0 < len(model) <= MAX_MODEL_NAME and model.isprintable() else None


_ABSURD = 1 << 48
"""No honest count of tokens is this large, and no store could add such counts up."""


def count_of(data: Any, name: str) -> int | None:
    """The count of tokens *name* in *data*; None if there is none that makes sense."""
    value = data.get(name) if isinstance(data, dict) else None
    return value if type(value) is int and 0 <= value < _ABSURD else None
