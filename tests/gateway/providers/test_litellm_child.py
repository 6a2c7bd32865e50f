"""The program that runs LiteLLM: how it reads what the library gives and raises. The rest runs in test_litellm.py."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest

from membrain.providers import litellm_child as child


class Given:
    """A response as LiteLLM gives it: a model that dumps itself."""

    def __init__(self, **data: Any) -> None:
        self.data = data

    def model_dump(self, mode: str, exclude_none: bool) -> dict[str, Any]:
        assert (mode, exclude_none) == ("json", True)
        return self.data


def error(*names: str) -> Exception:
    """An error of the first class, that came of one of the second, and so on."""
    made = [type(name, (Exception,), {})(f"canary of {name}") for name in names]
    for outer, inner in pairwise(made):
        outer.__cause__ = inner
    return made[0]


@pytest.mark.parametrize(
    ("names", "how"),
    [
        (("InternalServerError", "ConnectError", "ClientConnectorError", "ConnectionRefusedError"), "unreached"),
        (("InternalServerError", "ConnectError", "ClientOSError", "ConnectionResetError"), "broken"),
        (("Timeout", "APITimeoutError", "ConnectTimeout", "ConnectionTimeoutError"), "unreached in time"),
        (("Timeout", "APITimeoutError", "ReadTimeout", "SocketTimeoutError"), "silent"),
        (("Timeout", "ConnectTimeout"), "silent"),
        (("MidStreamFallbackError", "ReadError", "ClientPayloadError"), "broken"),
        (("InternalServerError", "JSONDecodeError", "StopIteration"), "nonsense"),
        (("InternalServerError", "ClientConnectorDNSError", "gaierror"), "unreached"),
        (("InternalServerError", "ConnectError"), None),
        (("APIConnectionError", "ValueError"), None),
    ],
)
def test_how_far_a_request_came_is_told_by_what_the_error_came_of(names: tuple[str, ...], how: str | None) -> None:
    """As LiteLLM 1.106 raises them. In doubt it may have been reached, and billed."""
    assert child._how(error(*names)) == how


def test_an_error_that_came_of_itself_ends() -> None:
    one, other = ValueError(), KeyError()
    one.__cause__, other.__context__ = other, one
    assert list(child._chain(one)) == [one, other]


def test_only_a_response_that_really_came_counts() -> None:
    """LiteLLM's own errors hold ones that it made up."""
    made_up = error("RateLimitError", "OpenAIError")
    made_up.response = "made up"  # type: ignore[attr-defined]  # as theirs have
    assert child._response(made_up) is None
    real = type("MaskedHTTPStatusError", (type("HTTPStatusError", (Exception,), {}),), {"response": "real"})()
    made_up.__cause__.__cause__ = real  # type: ignore[union-attr]  # it has one
    assert child._response(made_up) == "real"


@pytest.mark.parametrize("usage", [{"prompt_tokens": 0, "completion_tokens": 0}, {}, None])
def test_a_usage_of_nothing_is_none(usage: Any) -> None:
    data = {"choices": []} if usage is None else {"choices": [], "usage": usage}
    assert not child.plain(Given(**data)).get("usage")


def test_a_choice_always_says_whether_it_is_finished() -> None:
    told = child.plain(Given(choices=[{"index": 0, "delta": {}}, {"index": 1, "delta": {}, "finish_reason": "stop"}]))
    assert [choice["finish_reason"] for choice in told["choices"]] == [None, "stop"]


def test_what_was_moved_aside_comes_back() -> None:
    aside = {"refusal": "No.", "citations": None, "seen": 1}
    told = child.plain(Given(choices=[{"message": {"role": "assistant", "provider_specific_fields": aside}}]))
    message = {"role": "assistant", "refusal": "No.", "provider_specific_fields": {"seen": 1}}
    assert told["choices"][0]["message"] == message


@pytest.mark.parametrize(
    ("received", "intermittent", "why", "made_up"),
    [
        (None, None, "stop", True),
        ("stop", None, "stop", False),
        (None, "length", "length", False),
        (None, None, None, False),
    ],
)
def test_a_finish_that_nobody_sent_is_known(received: Any, intermittent: Any, why: Any, made_up: bool) -> None:
    stream = Given()
    stream.received_finish_reason, stream.intermittent_finish_reason = received, intermittent  # type: ignore[attr-defined]  # as LiteLLM's wrapper has
    assert child._made_up(stream, {"choices": [{"finish_reason": why}]}) is made_up


def test_the_program_loads_nothing_of_the_gateway() -> None:
    """What is asked and the keys are in another process; so is the code that holds them."""
    script = "import json, sys, membrain.providers.litellm_child; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name for name in json.loads(done.stdout) if name.startswith("membrain")}
    assert loaded == {"membrain", "membrain.providers", "membrain.providers.litellm_child"}
