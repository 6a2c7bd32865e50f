"""What every tool's checks share: the gateway, the key, a proxy, and who answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from membrain_cli import daemon
from membrain_cli.doctor import side
from membrain_cli.doctor.sources import Found, from_shell
from tests.cli.patients import patient

UNKNOWN = "ck_live_" + "0" * 32


def test_a_gateway_that_is_up_is_told_with_its_address(near: dict[str, str], gateway_url: str) -> None:
    finding = side.gateway(patient(near))
    assert (finding.state, finding.words.endswith(f" at {gateway_url}")) == ("fine", True)


def test_without_a_gateway_no_tool_gets_an_answer(alone: dict[str, str]) -> None:
    someone = patient(alone)
    assert side.gateway(someone)[0::3] == ("broken", "membrain up")
    assert list(side.dialects(someone, "chat")) == list(side.answers(someone, "openai")) == []


@pytest.mark.parametrize(
    ("value", "state", "words"),
    [
        (None, "broken", "ANTHROPIC_AUTH_TOKEN is not set, and the tool does not start without one"),
        (
            "sk-ant-canary",
            "broken",
            "ANTHROPIC_AUTH_TOKEN of your shell is no client key of Membrain, so it is refused",
        ),
        (UNKNOWN, "broken", "ANTHROPIC_AUTH_TOKEN of your shell is not known to this gateway, or was revoked"),
        ("KEY", "fine", "ANTHROPIC_AUTH_TOKEN of your shell is known to this gateway"),
    ],
)
def test_a_key_is_tried_and_not_shown(
    value: str | None, state: str, words: str, near: dict[str, str], key: str
) -> None:
    sent = key if value == "KEY" else value
    found = None if sent is None else Found("ANTHROPIC_AUTH_TOKEN", sent)
    finding = side.key(patient(near), found, "ANTHROPIC_AUTH_TOKEN", "MEND")
    assert (finding.state, finding.words) == (state, words)
    assert finding.remedy == ("" if state == "fine" else "MEND")


def test_a_key_in_a_file_is_mended_there(near: dict[str, str]) -> None:
    finding = side.key(patient(near), Found("KEY", "canary", "./.env", "dotenv"), "KEY", "MEND")
    assert finding.remedy == "./.env:  take KEY out, then  MEND"


def test_a_key_that_cannot_be_tried_is_to_be_looked_at(alone: dict[str, str]) -> None:
    finding = side.key(patient(alone), Found("KEY", UNKNOWN), "KEY", "MEND")
    assert (finding.state, finding.remedy) == ("look", "membrain up")


def test_a_gateway_that_asks_for_no_key_takes_any(alone: dict[str, str]) -> None:
    someone = patient(alone)
    someone.reach.running = daemon.Running(1, "127.0.0.1", 1, "", "", "", {"auth": "off"})
    assert side.key(someone, Found("KEY", "sk-canary"), "KEY", "MEND").state == "fine"


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, ""),
        ({"HTTP_PROXY": "http://canary:3128"}, "HTTP_PROXY of your shell is set, so a proxy is asked for 127.0.0.1"),
        ({"http_proxy": "http://canary:3128", "NO_PROXY": "localhost, 127.0.0.1"}, ""),
        ({"ALL_PROXY": "http://canary:3128", "no_proxy": "*"}, ""),
        ({"ALL_PROXY": "http://canary:3128", "no_proxy": "canary.com"}, "ALL_PROXY of your shell is set"),
        ({"HTTPS_PROXY": "http://canary:3128"}, ""),
    ],
)
def test_a_proxy_in_the_way_is_told(variables: dict[str, str], told: str) -> None:
    findings = list(side.proxied(from_shell(variables)))
    assert [each.words[: len(told)] for each in findings] == ([told] if told else [])
    assert [each.remedy for each in findings] == (["export NO_PROXY=127.0.0.1,localhost"] if told else [])
    assert "canary" not in str(findings)


def test_a_proxy_of_a_file_may_be_taken_out_of_it() -> None:
    (finding,) = side.proxied({"HTTP_PROXY": Found("HTTP_PROXY", "x", "./.env", "dotenv")})
    assert finding.remedy.endswith("or  ./.env:  take HTTP_PROXY out")


def test_a_provider_without_a_key_is_told_to_who_needs_it(alone: dict[str, str]) -> None:
    states = [
        {"name": "openai", "up": True, "note": "", "remedy": ""},
        {"name": "anthropic", "up": False, "note": "no key", "remedy": "membrain keys set anthropic"},
    ]
    someone = patient(alone)
    someone.reach.running = daemon.Running(1, "127.0.0.1", 1, "", "", "", {"providers": states})
    assert list(side.answers(someone, "openai")) == []
    (finding,) = side.answers(someone, "openai", "anthropic")
    assert (finding.state, finding.remedy) == ("look", "membrain keys set anthropic")
    assert finding.words == "anthropic has no key, so its models may get no answer here"


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("/bin/zsh", 'eval "$(membrain env)"'),
        ("/usr/bin/fish", "membrain env --shell fish | source"),
        ("", 'eval "$(membrain env)"'),
    ],
)
def test_each_shell_has_its_own_way_to_use_it(shell: str, line: str, alone: dict[str, str], work: Path) -> None:
    assert side.use(patient({**alone, "SHELL": shell}, work)) == line
