"""Whether an address leads to the gateway, in words that do not show it."""

from __future__ import annotations

import pytest

from membrain_cli.doctor.pointing import Base, Here, amiss, here, is_here, pointed
from membrain_cli.doctor.sources import Found
from tests.cli.patients import patient

AT = Here("http://127.0.0.1:8001", "127.0.0.1", 8001)
OPENAI = Base("OPENAI_BASE_URL", "/v1", "OpenAI")
ANTHROPIC = Base("ANTHROPIC_BASE_URL", "", "Anthropic")


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:8001",
        "http://127.0.0.1:8001/v1/",
        "http://localhost:8001",
        "http://[::1]:8001/v1",
        " http://127.0.0.1:8001\n",
    ],
)
def test_an_address_that_leads_here_is_left_alone(address: str) -> None:
    assert amiss(address, AT) == ""


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://127.0.0.1:8000/v1", "leads to port 8000 of this machine, and the gateway is at 8001"),
        ("http://localhost", "leads to port 80 of this machine"),
        ("https://127.0.0.1:8001", "begins with https://"),
        ("https://api.openai.com/v1", "leads past this gateway"),
        ("http://canary.internal:8001", "leads past this gateway"),
        ("http://localhost.canary.com:8001", "leads past this gateway"),
        ("http://127.0.0.1.canary.com:8001", "leads past this gateway"),
        ("127.0.0.1:8001", "is no address that begins with http://"),
        ("http://", "is no address that begins with http://"),
        ("file:///canary", "is no address that begins with http://"),
        ("http://127.0.0.1:99999", "is no address"),
        ("http://[canary", "is no address"),
        ("http://user:canary@elsewhere:8001", "leads past this gateway"),
    ],
)
def test_an_address_that_leads_elsewhere_is_told_and_not_shown(address: str, told: str) -> None:
    said = amiss(address, AT)
    assert said.startswith(told)
    assert "canary" not in said


def test_a_gateway_that_listens_elsewhere_is_found_there_only() -> None:
    elsewhere = Here("http://10.0.0.5:8001", "10.0.0.5", 8001)
    assert amiss("http://10.0.0.5:8001", elsewhere) == ""
    assert amiss("http://127.0.0.1:8001", elsewhere).startswith("leads past this gateway")
    assert amiss("http://127.0.0.1:8001", elsewhere._replace(host="::")) == ""


@pytest.mark.parametrize(
    ("host", "told"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("LocalHost", True), ("a.localhost", True),
     ("localhost.com", False), ("10.0.0.1", False), ("1.1.1.1", False)],
)  # fmt: skip
def test_what_counts_as_this_machine(host: str, told: bool) -> None:
    assert is_here(host) is told


@pytest.mark.parametrize(
    ("address", "base", "state", "words"),
    [
        ("http://127.0.0.1:8001/v1", OPENAI, "fine", "leads here"),
        ("http://127.0.0.1:8001", ANTHROPIC, "fine", "leads here"),
        ("http://127.0.0.1:8001", OPENAI, "look", "has no /v1; Membrain answers all the same"),
        ("http://127.0.0.1:8001/v1", ANTHROPIC, "look", "ends in /v1, and the tool adds its own"),
        ("http://127.0.0.1:8001/v1/chat/completions", OPENAI, "broken", "to a path that nobody answers"),
        ("http://127.0.0.1:8000/v1", OPENAI, "broken", "leads to port 8000"),
    ],
)
def test_a_tools_address_is_told_with_its_end(address: str, base: Base, state: str, words: str) -> None:
    finding = pointed(Found(base.name, address), base, AT, "MEND")
    assert (finding.state, words in finding.words) == (state, True)
    assert finding.remedy == ("" if state == "fine" else "MEND")


def test_what_a_file_says_is_mended_in_that_file() -> None:
    inside = Found("ANTHROPIC_BASE_URL", "http://127.0.0.1:9", "~/.claude/settings.json", "json")
    finding = pointed(inside, ANTHROPIC, AT, "MEND")
    assert finding.remedy == '~/.claude/settings.json, in "env":  "ANTHROPIC_BASE_URL": "http://127.0.0.1:8001"'


def test_without_an_address_the_tool_goes_past_the_gateway() -> None:
    finding = pointed(None, OPENAI, AT, "MEND")
    assert finding.words == "OPENAI_BASE_URL is not set, so OpenAI is asked, past the gateway"
    assert (finding.state, finding.remedy) == ("broken", "MEND")


def test_a_gateway_that_is_down_is_where_its_settings_put_it(alone: dict[str, str]) -> None:
    assert here(patient({**alone, "MEMBRAIN_PORT": "8123"})) == Here("http://127.0.0.1:8123", "127.0.0.1", 8123)
    assert here(patient({**alone, "MEMBRAIN_PORT": "many"})) is None


def test_a_running_gateway_is_where_it_is(near: dict[str, str], gateway_url: str) -> None:
    at = here(patient({**near, "MEMBRAIN_PORT": "1"}))
    assert at is not None
    assert at.url == gateway_url
