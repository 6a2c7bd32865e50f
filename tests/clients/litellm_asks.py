"""Run with LiteLLM on the path: `python litellm_asks.py EMAIL` prints what it was answered, as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import litellm

EMAIL = sys.argv[1]
MODELS = {"openai": "openai/gpt-4o", "anthropic": "anthropic/claude-sonnet-4-6"}
SCHEMA = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
TOOLS = [{"type": "function", "function": {"name": "write", "description": "Write.", "parameters": SCHEMA}}]


def asks(name: str, text: str, **more: Any) -> Any:
    """A request, as LiteLLM takes it."""
    return {"model": MODELS[name], "messages": [{"role": "user", "content": text}], "num_retries": 0, **more}


async def waited(name: str) -> list[str]:
    """The answer of the async function, whole and streamed."""
    whole = await litellm.acompletion(**asks(name, f"Write to {EMAIL}"))
    stream = await litellm.acompletion(**asks(name, f"Write to {EMAIL}", stream=True))
    return [whole.choices[0].message.content, "".join([p.choices[0].delta.content or "" async for p in stream])]


def failing(name: str) -> list[Any]:
    """Class and status of an error."""
    try:
        litellm.completion(**asks(name, "status 429"))
    except litellm.exceptions.RateLimitError as error:
        return [type(error).__name__, error.status_code]
    return []


def said(name: str) -> dict[str, Any]:
    """What one provider was asked, and answered."""
    whole = litellm.completion(**asks(name, f"Write to {EMAIL}"))
    called = litellm.completion(**asks(name, f"Write to {EMAIL}", tools=TOOLS))
    pieces = list(litellm.completion(**asks(name, f"Write to {EMAIL}", tools=TOOLS, stream=True)))
    return {
        "whole": whole.choices[0].message.content,
        "usage": [whole.usage.prompt_tokens, whole.usage.completion_tokens],
        "called": called.choices[0].message.tool_calls[0].function.arguments,
        "streamed": litellm.stream_chunk_builder(pieces).choices[0].message.tool_calls[0].function.arguments,
        "waited": asyncio.run(waited(name)),
        "failing": failing(name),
    }


if __name__ == "__main__":
    litellm.suppress_debug_info = True  # else it prints advice where the answer belongs
    answers: dict[str, Any] = {name: said(name) for name in MODELS}
    embedded = litellm.embedding("openai/text-embedding-3-small", input=[EMAIL])
    answers["embedding"] = len(embedded.data[0]["embedding"])
    print(json.dumps(answers))
