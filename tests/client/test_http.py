"""How a client is set up for its gateway, and what a request is made of."""

from __future__ import annotations

import json
import ssl

import httpx
import pytest

from membrain_client._http import identity, request, routing, settings, wants_all

HERE = ["localhost", "LOCALHOST", "gateway.localhost", "127.0.0.1", "127.9.9.9", "[::1]"]
ELSEWHERE = ["gateway.test", "localhost.evil.test", "10.0.0.1", "[2001:db8::1]", "127.0.0.1.evil.test"]


@pytest.mark.parametrize("host", HERE)
def test_the_environment_is_not_trusted_on_this_machine(host: str) -> None:
    assert settings(f"http://{host}:8001", {}, 1)["trust_env"] is False
    assert settings(f"https://{host}:8001", {}, 1)["trust_env"] is False


@pytest.mark.parametrize("host", ELSEWHERE)
def test_the_environment_is_trusted_elsewhere(host: str) -> None:
    assert "trust_env" not in settings(f"http://{host}:8001", {}, 1)


def test_certificates_are_skipped_only_for_plain_http_on_this_machine() -> None:
    """And even then a TLS connection would be refused, not trusted."""
    context = settings("http://localhost:8001", {}, 1)["verify"]
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.get_ca_certs() == []
    assert "verify" not in settings("https://localhost:8001", {}, 1)
    assert "verify" not in settings("http://gateway.test", {}, 1)


def test_settings_make_both_kinds_of_client() -> None:
    made = settings("http://localhost:8001/", {"x-a": "b"}, 7.5)
    with httpx.Client(**made) as client:
        assert client.headers["x-a"] == httpx.AsyncClient(**made).headers["x-a"] == "b"
        assert client.timeout == httpx.Timeout(7.5)


def test_none_leaves_a_header_out() -> None:
    assert identity(None, None, None) == routing(None, None, None) == {}
    assert identity("", "u", None) == {"x-membrain-api-key": "", "x-membrain-user-id": "u"}
    assert routing(None, False, 0) == {"x-membrain-private": "false", "x-membrain-max-cost": "0"}


def test_a_request_is_plain_ascii_json() -> None:
    made = request("m", [{"role": "user", "content": "é\ud83d"}], True, {"top_p": 0.9}, {"x-a": "b"})
    assert made["content"].isascii()
    assert json.loads(made["content"]) == {
        "model": "m",
        "messages": [{"role": "user", "content": "é\ud83d"}],
        "stream": True,
        "top_p": 0.9,
    }
    assert made["headers"] == {"content-type": "application/json", "x-a": "b"}


def test_what_json_cannot_say_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        request("m", [], False, {"temperature": float("nan")}, {})


def test_stream_options_ask_for_every_chunk() -> None:
    assert wants_all({"stream_options": {}})
    assert not wants_all({"stream_options": None})
    assert not wants_all({})
