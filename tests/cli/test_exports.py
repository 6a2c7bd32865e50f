"""Which variables point tools at the gateway, and what they say."""

from __future__ import annotations

import pytest

from membrain_cli import daemon, exports


def test_tools_of_both_families_are_pointed_at_the_gateway() -> None:
    assert exports.variables(exports.FAMILIES, "http://127.0.0.1:8001", "ck_live_x") == {
        "OPENAI_BASE_URL": "http://127.0.0.1:8001/v1",
        "OPENAI_API_BASE": "http://127.0.0.1:8001/v1",
        "OPENAI_API_KEY": "ck_live_x",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:8001",
        "ANTHROPIC_AUTH_TOKEN": "ck_live_x",
    }


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8001"),
        ("localhost", "http://127.0.0.1:8001"),
        ("0.0.0.0", "http://127.0.0.1:8001"),  # noqa: S104  # what may be set, not bound
        ("::1", "http://[::1]:8001"),
        ("192.0.2.7", "http://192.0.2.7:8001"),
    ],
)
def test_the_host_is_written_as_a_number(host: str, url: str) -> None:
    running = daemon.Running(1, host, 8001, "", "", "", {})
    assert exports.loopback_url(running) == url
