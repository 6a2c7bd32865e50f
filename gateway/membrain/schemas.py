"""What is said: the OpenAI chat shapes that providers take and return, as dataclasses.

For: custom providers, and whoever else wants `request.messages` rather than a dictionary. A shape is made by
keyword (`ChatMessage(**whatever_upstream_sent)`) or from parsed JSON (`ChatCompletionRequest.from_dict(x)`),
and written out again by `model_dump()`. Fields it does not name are kept in its `extra` and go out again.

Not for: validation. That nested shapes are objects and required fields are there is checked (`WrongShape`);
the types of plain values are not, so that a new kind of content needs no release of ours. The hot route of
the gateway passes bytes and does not come by here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Self, dataclass_transform, get_args, get_origin, get_type_hints


class WrongShape(ValueError):
    """Something is missing, or is no object where a shape belongs. `param` says where: `messages.0.role`."""

    def __init__(self, param: str, problem: str) -> None:
        super().__init__(f"{param}: {problem}")
        self.param = param
        self.problem = problem


@dataclass_transform(kw_only_default=True)
class Shape:  # noqa: PLW1641 - shapes can be changed, so they have no hash
    """Base of all shapes; a subclass lists its fields and is a dataclass by that.

    `from_dict(x).model_dump() == x` for every JSON object *x* that fits. So a field that was never given
    reads as its default but is not written out, and a None that was given is. Two shapes are equal when they
    would be written alike. Their repr names fields and never shows values: those are prompts and answers.
    """

    extra: dict[str, Any]
    """Fields that came along and are not ours, under the names they came with."""

    _names: ClassVar[frozenset[str]]
    _required: ClassVar[tuple[str, ...]]
    _constants: ClassVar[dict[str, Any]]
    _inner: ClassVar[dict[str, tuple[type[Shape], bool]]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclass(init=False, repr=False, eq=False, kw_only=True)(cls)
        hints = get_type_hints(cls)
        defaults = {field.name: field.default for field in fields(cls)}  # type: ignore[arg-type]  # it is one now
        cls._names = frozenset(defaults)
        cls._required = tuple(name for name, default in defaults.items() if default is MISSING)
        cls._constants = {name: value for name, value in defaults.items() if value not in (MISSING, None)}
        cls._inner = {name: found for name in defaults if (found := _inner_shape(hints[name]))}

    def __init__(self, /, **given: Any) -> None:
        """Make a shape by keyword; defaults are written out. Where shapes belong, dictionaries will do."""
        self._fill({**self._constants, **given})

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """Make a shape of parsed JSON; nothing is added to it. Raises `WrongShape` if it does not fit."""
        shape = cls.__new__(cls)
        cls._fill(shape, given)
        return shape

    def model_dump(self, *, exclude_none: bool = False) -> dict[str, Any]:
        """The JSON object this shape stands for; plain values in it are shared, not copied.

        `exclude_none` leaves out fields of shapes that are None, at every depth, and as with pydantic touches
        nothing inside plain dictionaries: a null in a tool's schema is meant. Mind what it does to a message
        of an assistant that only calls tools: its `"content": null` goes too. OpenAI takes that, but some
        servers that imitate it insist on the null; for those dump without `exclude_none`.
        """
        written = {name: value for name, value in self.__dict__.items() if name in self._names}
        for name in self._inner.keys() & written.keys():
            written[name] = _dumped(written[name], exclude_none)
        written.update(self.extra)
        if exclude_none:
            return {name: value for name, value in written.items() if value is not None}
        return written

    def _fill(self, given: Mapping[str, Any]) -> None:
        self.extra = {}
        for name, value in given.items():
            if name not in self._names:
                self.extra[name] = value
            elif name in self._inner and (value is not None or name in self._required):
                shape, many = self._inner[name]
                self.__dict__[name] = _shapes(shape, value, name) if many else _shape(shape, value, name)
            else:
                self.__dict__[name] = value
        for name in self._required:
            if name not in self.__dict__:
                raise WrongShape(name, "required, but not there")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(name for name in self.__dict__ if name in self._names)})"


def _inner_shape(hint: Any) -> tuple[type[Shape], bool] | None:
    """The shape that a field's type names, as in `Usage | None`, and whether it is a list of such shapes."""
    if isinstance(hint, type) and issubclass(hint, Shape):
        return hint, False
    for part in get_args(hint):
        found = _inner_shape(part)
        if found:
            return found[0], found[1] or get_origin(hint) is list
    return None


def _shape(shape: type[Shape], value: Any, param: str) -> Shape:
    if isinstance(value, shape):
        return value
    if not isinstance(value, Mapping):
        raise WrongShape(param, "must be an object")
    try:
        return shape.from_dict(value)
    except WrongShape as wrong:
        raise WrongShape(f"{param}.{wrong.param}", wrong.problem) from None


def _shapes(shape: type[Shape], values: Any, param: str) -> list[Shape]:
    if not isinstance(values, list | tuple):
        raise WrongShape(param, "must be a list of objects")
    return [_shape(shape, value, f"{param}.{index}") for index, value in enumerate(values)]


def _dumped(value: Any, exclude_none: bool) -> Any:
    if isinstance(value, Shape):
        return value.model_dump(exclude_none=exclude_none)
    if isinstance(value, list):
        return [_dumped(item, exclude_none) for item in value]
    return value


class ChatMessage(Shape):
    """One message of a conversation, asked or answered."""

    role: str
    content: str | list[dict[str, Any]] | None = None
    """Text, or parts (`text`, `image_url`, …); None where an assistant only calls tools."""
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    """On a `tool` message: the call it answers."""
    refusal: str | None = None


class ChatDelta(Shape):
    """What one chunk adds to a message."""

    role: str | None = None
    """In the first chunk only."""
    content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    """Fragments, each with the `index` of the call it belongs to."""
    refusal: str | None = None


class Usage(Shape):
    """Tokens counted by the upstream; `prompt_tokens` includes the cached ones."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: dict[str, Any] | None = None
    completion_tokens_details: dict[str, Any] | None = None


class ChatChoice(Shape):
    """One of the answers to a request."""

    index: int = 0
    message: ChatMessage
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class StreamChoice(Shape):
    """One of the answers, as far as one chunk carries it."""

    index: int = 0
    delta: ChatDelta
    finish_reason: str | None = None
    """In the last chunk of the choice only."""
    logprobs: dict[str, Any] | None = None


class ChatCompletionRequest(Shape):
    """The body of `POST /v1/chat/completions`; what is not named here is in `extra`."""

    model: str
    messages: list[ChatMessage]
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    """OpenAI's newer name of `max_tokens`."""
    n: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    seed: int | None = None
    user: str | None = None


class ChatCompletionResponse(Shape):
    """A whole answer."""

    id: str
    object: str = "chat.completion"
    created: int
    """Unix time in seconds."""
    model: str
    choices: list[ChatChoice]
    usage: Usage | None = None
    system_fingerprint: str | None = None


class ChatCompletionChunk(Shape):
    """One piece of a streamed answer; the piece that carries `usage` has no choices."""

    id: str
    object: str = "chat.completion.chunk"
    created: int
    """Unix time in seconds, the same in every chunk of an answer."""
    model: str
    choices: list[StreamChoice]
    usage: Usage | None = None
    system_fingerprint: str | None = None


class ModelCard(Shape):
    """One model in the list of `GET /v1/models`."""

    id: str
    object: str = "model"
    created: int = 0
    """Unix time in seconds; 0 where nobody knows."""
    owned_by: str = ""
    """The provider that serves it."""


class ModelList(Shape):
    """The answer of `GET /v1/models`."""

    object: str = "list"
    data: list[ModelCard]
