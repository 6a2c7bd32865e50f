"""LiteLLM as a client, straight and through the gateway; in processes of its own, for it wants an older `openai`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients import packages
from tests.clients.conftest import EMAIL, Both, Way

pytestmark = pytest.mark.slow


def asked(way: Way) -> Any:
    """What LiteLLM was answered."""
    script = Path(__file__).with_name("litellm_asks.py")
    folder = packages.litellm()
    # Its prices are in the package; without this it asks the internet for newer ones.
    where = {"PYTHONPATH": str(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True", **way.environ}
    return json.loads(packages.run([sys.executable, "-S", script, EMAIL], folder, **where))


def test_litellm(both: Both) -> None:
    said = both(asked)
    assert said.pop("embedding") == 8
    assert set(said) == {"openai", "anthropic"}
    for each in said.values():
        assert [each["whole"]] * 2 == each["waited"]
        assert each["whole"] == f"You said: Write to {EMAIL}"
        assert json.loads(each["called"]) == json.loads(each["streamed"]) == {"to": EMAIL}
        assert each["usage"] == [21, 13]
        assert each["failing"] == ["RateLimitError", 429]
