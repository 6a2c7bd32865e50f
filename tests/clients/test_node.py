"""Node's packages, straight and through the gateway: OpenAI's, Anthropic's and Vercel's AI SDK.

They are pointed there by the environment and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients import packages
from tests.clients.conftest import EMAIL, Both, Way
from tests.clients.upstream import Upstream
from tests.clients.wanted import SIGNATURE, THOUGHT

pytestmark = pytest.mark.slow

PERSON = {"email": EMAIL, "age": 36}


def script(name: str) -> Callable[[Way], Any]:
    """What the script prints when it is pointed some way."""

    def run(way: Way) -> Any:
        return json.loads(packages.run([packages.SCRIPTS / "node", name, EMAIL], packages.node(), **way.environ))

    return run


def test_openai(both: Both, upstream: Upstream) -> None:
    said = both(script("openai.mjs"))
    assert said["whole"]["choices"][0]["message"]["content"] == said["text"] == f"You said: Write to {EMAIL}"
    assert [json.loads(call["function"]["arguments"]) for call in said["calls"]] == [{"to": EMAIL}] * 2
    assert said["parsed"] == said["responseParsed"] == PERSON
    assert said["ran"] == f"The tool says: sent to {EMAIL}"
    assert said["response"] == f"You said: Write to {EMAIL}"
    assert [json.loads(item["arguments"]) for item in said["responseCalls"]] == [{"to": EMAIL}] * 2
    assert len(said["embeddings"][0]["embedding"]) == 8
    assert said["completion"][0]["text"] == f"You said: Dear {EMAIL}"
    assert said["retried"] == "stop"
    assert said["limited"][:2] == ["RateLimitError", 429]
    assert said["refused"][:2] == ["BadRequestError", 400]
    assert len([each for each in upstream.seen if b"status 500 once by node" in each.body]) == 4


def test_anthropic(both: Both) -> None:
    said = both(script("anthropic.mjs"))
    assert said["whole"]["content"][0]["text"] == said["text"] == f"You said: Write to {EMAIL}"
    assert [block["input"] for block in said["calls"]] == [{"to": EMAIL}] * 2
    assert said["thought"][0] == {"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE}
    assert said["count"] == {"input_tokens": 17}
    assert said["retried"] == "end_turn"
    assert said["limited"] == ["RateLimitError", 429, "rate_limit_error"]
    assert said["overloaded"][1:] == [529, "overloaded_error"]


def test_vercels_ai_sdk(both: Both) -> None:
    said = both(script("ai.mjs"))
    assert len(said.pop("embedding")) == 8
    assert set(said) == {"responses", "chat", "messages"}
    for each in said.values():
        assert each["whole"][:2] == each["text"][:2] == [f"You said: Write to {EMAIL}", "stop"]
        assert each["called"] == each["streamed"] == [f"The tool says: sent to {EMAIL}", [{"to": EMAIL}]]
        assert each["object"] == PERSON
