"""Checks of connections see who does not care for them."""

from __future__ import annotations

import pytest

from membrain_cli.conform.connections import CHECKS
from tests.cli.conform.relay import faults_of, seen

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("fault", faults_of(CHECKS))
async def test_a_fault_is_seen_by_its_checks(fault: str) -> None:
    wanted, found = await seen(fault)
    assert set(found) == wanted
    assert all("\n" not in told and told for told in found.values())
