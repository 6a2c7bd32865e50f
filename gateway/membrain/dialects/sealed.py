"""Reasoning of another dialect, wrapped so that a client hands it back without knowing what it is.

Anthropic's signed thinking travels to a client that speaks responses as `encrypted_content`, and OpenAI's encrypted
reasoning to one that speaks messages as `redacted_thinking`. Both come back with the history: to the provider that made
it they go unwrapped, to any other they say nothing and are taken out.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import Any, Final, TypeGuard

import msgspec

from membrain.dialects.base import Json, Said

SEAL: Final = "mb1."
"""How what we have wrapped begins. No provider's own does: those are base64."""

_HINT: Final = SEAL.encode()


def seal(blocks: list[Json]) -> str:
    """*blocks*, wrapped."""
    return SEAL + base64.b64encode(msgspec.json.encode(blocks)).decode()


def is_sealed(text: Any) -> TypeGuard[str]:
    """Whether *text* was wrapped by us."""
    return isinstance(text, str) and text.startswith(SEAL)


def unseal(text: str) -> list[Json]:
    """What `seal` wrapped; ValueError if it was damaged on its way."""
    try:
        return msgspec.json.decode(base64.b64decode(text.removeprefix(SEAL), validate=True), type=list[Json])
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("not as it was sealed") from None


def without_sealed(said: Said) -> Said:
    """*said* for a provider that speaks its dialect: less what we have wrapped for another's. Itself if there is none.

    Only then is it written anew; whatever a client says besides is untouched.
    """
    if _HINT not in said.body:
        return said
    data = {
        name: [_less(each) for each in value if not _is_wrapping(each)] if name in _SPOKEN else value
        for name, value in said.data.items()
    }
    return said if data == said.data else replace(said, body=msgspec.json.encode(data), data=data)


_SPOKEN: Final = ("messages", "input")


def _less(turn: Any) -> Any:
    """A message without the blocks that we have wrapped."""
    content = turn.get("content") if isinstance(turn, dict) else None
    if not isinstance(content, list):
        return turn
    return {**turn, "content": [block for block in content if not _is_wrapping(block)]}


def _is_wrapping(block: Any) -> bool:
    if not isinstance(block, dict):
        return False
    kind = block.get("type")
    return (kind == "redacted_thinking" and is_sealed(block.get("data"))) or (
        kind == "reasoning" and is_sealed(block.get("encrypted_content"))
    )
