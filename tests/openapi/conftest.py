"""The fake provider and the gateway before it, as the tests of client packages have them."""

from __future__ import annotations

from tests.clients.conftest import gateway, upstream

__all__ = ["gateway", "upstream"]
