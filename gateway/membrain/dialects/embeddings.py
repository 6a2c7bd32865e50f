"""OpenAI's embeddings and moderations: a text in, numbers out. Never streamed, and nothing to put back."""

from __future__ import annotations

from typing import ClassVar

from membrain.dialects.base import (
    Chunk,
    Failed,
    Said,
    answer_object,
    count_of,
    model_field,
    model_of,
    parse_object,
    refuse_steering,
)
from membrain.dialects.chat import Chat
from membrain.dialects.completions import require_text
from membrain.errors import BadRequest
from membrain.records import Tokens


class Embeddings(Chat):
    """Reads what is to be embedded, and passes the numbers on as they came, floats or base64."""

    name: ClassVar[str] = "embeddings"
    lengths: ClassVar[tuple[str, ...]] = ()

    def read(self, body: bytes, *, depth: int) -> Said:
        """Parse an embeddings request."""
        data = parse_object(body, depth=depth)
        refuse_steering(data)
        model = model_field(data)
        require_text(data, "input")
        return Said(self.name, body, data, model, stream=False)

    def whole(self, raw: bytes, failed: Failed) -> Chunk:
        """The list of embeddings, as it came."""
        data = answer_object(raw, failed)
        if not isinstance(data.get("data"), list):
            raise failed(data)
        prompt = count_of(data.get("usage"), "prompt_tokens")
        return Chunk(raw, whole=True, tokens=None if prompt is None else Tokens(prompt, 0), model=model_of(data))


class Moderations(Chat):
    """Reads what is to be judged, and passes the judgement on as it came. It is free."""

    name: ClassVar[str] = "moderations"
    lengths: ClassVar[tuple[str, ...]] = ()

    def read(self, body: bytes, *, depth: int) -> Said:
        """Parse a moderations request. The model may be left to the provider."""
        data = parse_object(body, depth=depth)
        refuse_steering(data)
        model = model_field(data) if "model" in data else MODERATION
        if not data.get("input") or not isinstance(data["input"], str | list):
            raise BadRequest("`input` must be a string or a list, and not empty.", param="input")
        return Said(self.name, body, data, model, stream=False)

    def whole(self, raw: bytes, failed: Failed) -> Chunk:
        """The judgement, as it came."""
        data = answer_object(raw, failed)
        if not isinstance(data.get("results"), list):
            raise failed(data)
        return Chunk(raw, whole=True, tokens=Tokens(0, 0), model=model_of(data))


MODERATION = "omni-moderation-latest"
"""Who judges where the request does not say."""
