"""Claude Code from its own side: each thing that could keep it from the gateway is found, and mended by its remedy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from membrain_cli.doctor import claude as module
from membrain_cli.doctor.claude import claude
from tests.cli.patients import found, of, program, put

SECRET = "sk-ant-canary-0123456789"


@pytest.fixture(autouse=True)
def _no_organisation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The settings of whoever owns this machine are not read."""
    monkeypatch.setattr(module, "MANAGED", {sys.platform: tmp_path / "managed-settings.json"})


@pytest.fixture
def ready(near: dict[str, str], user_home: Path, gateway_url: str, key: str) -> dict[str, str]:
    """Somebody whose Claude Code is installed and pointed here."""
    program(user_home, "claude", "echo '2.1.330 (Claude Code)'")
    return {**near, "ANTHROPIC_BASE_URL": gateway_url, "ANTHROPIC_AUTH_TOKEN": key}


def states(environ: dict[str, str], work: Path) -> list[tuple[str, str]]:
    return [(each.state, each.name) for each in found(claude, environ, work)]


def test_all_is_well_once_it_is_pointed_here(ready: dict[str, str], work: Path) -> None:
    assert states(ready, work) == [
        ("fine", "claude"),
        ("fine", "gateway"),
        ("fine", "address"),
        ("fine", "key"),
        ("fine", "messages"),
    ]


def test_what_its_settings_say_goes_before_the_shell(ready: dict[str, str], user_home: Path, work: Path) -> None:
    put(user_home / ".claude" / "settings.json", {"env": {"ANTHROPIC_BASE_URL": "https://canary.example"}})
    (finding,) = of("address", found(claude, ready, work))
    assert finding.state == "broken"
    assert (
        finding.words
        == "ANTHROPIC_BASE_URL of ~/.claude/settings.json leads past this gateway, to another machine or address"
    )
    assert finding.remedy.startswith('~/.claude/settings.json, in "env":  "ANTHROPIC_BASE_URL": "http://127.0.0.1:')


def test_the_line_that_it_names_mends_it(ready: dict[str, str], user_home: Path, work: Path) -> None:
    path = put(user_home / ".claude" / "settings.json", {"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}})
    (finding,) = of("address", found(claude, ready, work))
    line = finding.remedy.partition('in "env":')[2]
    put(path, '{"env": {' + line + "}}")
    assert of("address", found(claude, ready, work))[0].state == "fine"


def test_the_folders_local_settings_go_before_its_shared_ones_and_the_users(
    ready: dict[str, str], user_home: Path, work: Path, gateway_url: str
) -> None:
    put(user_home / ".claude" / "settings.json", {"env": {"ANTHROPIC_BASE_URL": "https://one.example"}})
    put(work / ".claude" / "settings.json", {"env": {"ANTHROPIC_BASE_URL": "https://two.example"}})
    (finding,) = of("address", found(claude, ready, work))
    assert "./.claude/settings.json" in finding.words
    put(work / ".claude" / "settings.local.json", {"env": {"ANTHROPIC_BASE_URL": gateway_url}})
    assert of("address", found(claude, ready, work))[0].state == "fine"
    put(module.MANAGED[sys.platform], {"env": {"ANTHROPIC_BASE_URL": "https://three.example"}})
    assert "managed-settings.json" in of("address", found(claude, ready, work))[0].words


def test_its_settings_may_be_in_another_folder(ready: dict[str, str], work: Path) -> None:
    put(work / "own" / "settings.json", {"env": {"ANTHROPIC_BASE_URL": "https://one.example"}})
    (finding,) = of("address", found(claude, {**ready, "CLAUDE_CONFIG_DIR": str(work / "own")}, work))
    assert "./own/settings.json" in finding.words


def test_a_v1_too_much_is_to_be_looked_at(ready: dict[str, str], work: Path, gateway_url: str) -> None:
    (finding,) = of("address", found(claude, {**ready, "ANTHROPIC_BASE_URL": f"{gateway_url}/v1"}, work))
    assert (finding.state, finding.remedy) == ("look", 'eval "$(membrain env)"')


@pytest.mark.parametrize("name", module.OTHERS)
def test_a_switch_to_somebody_else_goes_past_the_gateway(name: str, ready: dict[str, str], work: Path) -> None:
    (finding,) = of("provider", found(claude, {**ready, name: "1"}, work))
    assert (finding.state, finding.remedy) == ("broken", f"unset {name}")
    assert of("provider", found(claude, {**ready, name: "0"}, work)) == []


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (".claude/.credentials.json", {"claudeAiOauth": {"accessToken": SECRET}}),
        (".claude.json", {"oauthAccount": {"emailAddress": "canary@example.org"}}),
        (".claude.json", {"primaryApiKey": SECRET}),
    ],
)
def test_a_login_of_its_own_is_refused_unless_a_key_is_set(
    file: str, content: object, ready: dict[str, str], user_home: Path, work: Path
) -> None:
    put(user_home / file, content)
    (finding,) = of("login", found(claude, ready, work))
    assert (finding.state, finding.words) == (
        "none",
        f"there is a login in ~/{file}; it is not used while ANTHROPIC_AUTH_TOKEN is set",
    )
    del ready["ANTHROPIC_AUTH_TOKEN"]
    findings = found(claude, ready, work)
    (finding,) = of("login", findings)
    assert (finding.state, finding.remedy) == ("broken", 'eval "$(membrain env)"')
    assert f"(a login in ~/{file})" in finding.words
    assert of("key", findings) == []
    assert "canary" not in str(findings)


def test_a_program_that_makes_its_key_is_told(ready: dict[str, str], work: Path) -> None:
    del ready["ANTHROPIC_AUTH_TOKEN"]
    put(work / ".claude" / "settings.json", {"apiKeyHelper": "canary.sh"})
    (finding,) = of("key", found(claude, ready, work))
    assert finding.state == "look"
    assert finding.words.startswith("apiKeyHelper of ./.claude/settings.json makes its key")


def test_a_providers_key_is_refused_and_not_shown(ready: dict[str, str], work: Path) -> None:
    findings = found(claude, {**ready, "ANTHROPIC_AUTH_TOKEN": SECRET}, work)
    (finding,) = of("key", findings)
    assert (finding.state, finding.remedy) == ("broken", 'eval "$(membrain env)"')
    assert "canary" not in str(findings)


def test_two_keys_are_one_too_many(ready: dict[str, str], work: Path) -> None:
    first, second = of("key", found(claude, {**ready, "ANTHROPIC_API_KEY": SECRET}, work))
    assert (first.state, second.state, second.remedy) == ("fine", "look", "unset ANTHROPIC_API_KEY")


@pytest.mark.parametrize("name", module.PROXIES)
def test_every_proxy_variable_catches_it(name: str, ready: dict[str, str], work: Path) -> None:
    proxied = {**ready, name: "http://proxy:3128"}
    assert of("proxy", found(claude, proxied, work))[0].remedy == "export NO_PROXY=127.0.0.1,localhost"
    assert of("proxy", found(claude, {**proxied, "NO_PROXY": "127.0.0.1,localhost"}, work)) == []


def test_settings_that_are_no_json_are_told(ready: dict[str, str], user_home: Path, work: Path) -> None:
    put(user_home / ".claude" / "settings.json", "{canary")
    findings = found(claude, ready, work)
    (finding,) = of("settings", findings)
    assert (finding.state, finding.remedy) == ("broken", "${EDITOR:-vi} ~/.claude/settings.json")
    assert of("messages", findings)[0].state == "fine"
    assert "canary" not in str(findings)


def test_nothing_set_and_nothing_up_is_all_told(alone: dict[str, str], work: Path) -> None:
    findings = found(claude, alone, work)
    assert [(each.state, each.name, bool(each.remedy)) for each in findings] == [
        ("broken", "claude", True),
        ("broken", "gateway", True),
        ("broken", "address", True),
        ("broken", "key", True),
    ]


def test_settings_of_ours_that_do_not_load_leave_the_address_out(alone: dict[str, str], work: Path) -> None:
    assert of("address", found(claude, {**alone, "MEMBRAIN_PORT": "many"}, work)) == []
