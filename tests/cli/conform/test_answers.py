"""Checks of whole answers see what gateways do to them."""

from __future__ import annotations

import json

import pytest

from membrain_cli.conform.answers import CHECKS, odd, sealed
from tests.cli.conform.relay import faults_of, seen

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("fault", faults_of(CHECKS))
async def test_a_fault_is_seen_by_its_checks(fault: str) -> None:
    wanted, found = await seen(fault)
    assert set(found) == wanted
    assert all("\n" not in told and told for told in found.values())


async def test_odd_json_is_json_all_the_same() -> None:
    data = json.loads(odd({"a": [1, "é"]}))
    assert (data["a"], data["x_twice"], data["x_big"]) == ([1, "é"], 2, 123456789012345678901234567890)
    assert data["x_escaped"] == "é/😀\x00"


async def test_what_must_not_change_is_found_wherever_it_is() -> None:
    block = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    found = sealed([{"content": [block, {"type": "redacted_thinking", "data": "d"}]}, {"cache_control": 1}])
    assert found == {
        "signature": ["s"],
        "data": ["d"],
        "encrypted_content": [],
        "thinking": "Hm.",
        "cache_control": [1],
    }
