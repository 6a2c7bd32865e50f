"""Codex from its own side: its file decides, not the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from membrain_cli.doctor.codex import codex
from tests.cli.patients import found, of, program, put

SECRET = "sk-canary-0123456789"


@pytest.fixture
def ready(near: dict[str, str], user_home: Path, gateway_url: str, key: str) -> dict[str, str]:
    """Somebody whose Codex is installed and pointed here by one line."""
    program(user_home, "codex", "echo codex-cli 0.169.0")
    put(user_home / ".codex" / "config.toml", f'openai_base_url = "{gateway_url}/v1"\n')
    return {**near, "CODEX_API_KEY": key}


def described(user_home: Path, *lines: str, name: str = "membrain") -> None:
    """A provider of the file's own."""
    put(
        user_home / ".codex" / "config.toml",
        "\n".join([f'model_provider = "{name}"', f"[model_providers.{name}]", *lines]),
    )


def test_one_line_is_enough(ready: dict[str, str], work: Path) -> None:
    assert [(each.state, each.name) for each in found(codex, ready, work)] == [
        ("fine", "codex"),
        ("fine", "gateway"),
        ("fine", "address"),
        ("fine", "key"),
        ("fine", "responses"),
    ]


def test_the_environment_does_not_point_it_and_that_is_said(
    ready: dict[str, str], user_home: Path, work: Path, gateway_url: str
) -> None:
    (user_home / ".codex" / "config.toml").unlink()
    findings = found(codex, {**ready, "OPENAI_BASE_URL": f"{gateway_url}/v1"}, work)
    (finding,) = of("address", findings)
    assert (finding.state, finding.words) == (
        "broken",
        "openai_base_url is not set, so OpenAI is asked, past the gateway",
    )
    assert finding.remedy == f'~/.codex/config.toml, as its first line:  openai_base_url = "{gateway_url}/v1"'
    assert of("settings", findings)[0].words == "OPENAI_BASE_URL is set, but Codex does not read it"


def test_the_line_that_it_names_mends_it(ready: dict[str, str], user_home: Path, work: Path) -> None:
    path = put(user_home / ".codex" / "config.toml", 'openai_base_url = "https://canary.example/v1"')
    (finding,) = of("address", found(codex, ready, work))
    assert "canary" not in str(finding)
    put(path, finding.remedy.partition(":  ")[2])
    assert of("address", found(codex, ready, work))[0].state == "fine"


def test_its_settings_may_be_in_another_folder(ready: dict[str, str], work: Path) -> None:
    put(work / "own" / "config.toml", 'openai_base_url = "http://127.0.0.1:1/v1"')
    (finding,) = of("address", found(codex, {**ready, "CODEX_HOME": str(work / "own")}, work))
    assert finding.words.startswith("openai_base_url of ./own/config.toml leads to port 1 ")


def test_a_table_for_its_own_provider_changes_nothing(
    ready: dict[str, str], user_home: Path, work: Path, gateway_url: str
) -> None:
    described(user_home, f'base_url = "{gateway_url}/v1"', name="openai")
    findings = found(codex, ready, work)
    assert of("settings", findings)[0].state == "look"
    assert of("address", findings)[0].state == "broken"


def test_a_provider_of_the_files_own_is_followed(
    ready: dict[str, str], user_home: Path, work: Path, gateway_url: str, key: str
) -> None:
    described(user_home, f'base_url = "{gateway_url}/v1"', 'env_key = "OUR_KEY"', 'wire_api = "responses"')
    findings = found(codex, {**ready, "OUR_KEY": key}, work)
    assert {each.state for each in findings} == {"fine"}
    (finding,) = of("key", found(codex, ready, work))
    assert finding.words == "OUR_KEY is not set, and the tool does not start without one"
    assert finding.remedy == 'export OUR_KEY="$(membrain keys issue codex)"'


@pytest.mark.parametrize(
    ("lines", "name", "words"),
    [
        (['base_url = "http://127.0.0.1:1/v1"', 'env_key = "K"'], "address", "leads to port 1 of this machine"),
        (['env_key = "K"'], "address", "base_url is not set"),
        (['base_url = "URL/v1"', 'env_key = "K"', 'wire_api = "chat"'], "wire_api", "Codex speaks nothing else"),
        (['base_url = "URL/v1"', "requires_openai_auth = true"], "login", "wants OpenAI's own login"),
        (['base_url = "URL/v1"'], "key", "env_key is not set"),
        (['base_url = "URL/v1"', f'experimental_bearer_token = "{SECRET}"'], "key", "is no client key of Membrain"),
    ],
)
def test_what_is_wrong_with_a_provider_of_its_file_is_told(
    lines: list[str],
    name: str,
    words: str,
    ready: dict[str, str],
    user_home: Path,
    work: Path,
    gateway_url: str,
    key: str,
) -> None:
    described(user_home, *(line.replace("URL", gateway_url) for line in lines))
    findings = found(codex, {**ready, "K": key}, work)
    (finding,) = of(name, findings)
    assert (finding.state, words in finding.words) == ("broken", True)
    assert "~/.codex/config.toml, [model_providers.membrain]" in finding.remedy
    assert "canary" not in str(findings)


def test_a_provider_that_is_not_described_is_told(ready: dict[str, str], user_home: Path, work: Path) -> None:
    put(user_home / ".codex" / "config.toml", 'model_provider = "nobody"')
    (finding,) = of("settings", found(codex, ready, work))
    assert finding.words == "model_provider names nobody, and ~/.codex/config.toml does not describe it"


def test_a_profile_goes_before_the_rest(ready: dict[str, str], user_home: Path, work: Path, gateway_url: str) -> None:
    put(
        user_home / ".codex" / "config.toml",
        'openai_base_url = "https://elsewhere/v1"\nprofile = "us"\n'
        f'[profiles.us]\nopenai_base_url = "{gateway_url}/v1"',
    )
    assert of("address", found(codex, ready, work))[0].state == "fine"


def test_a_login_with_chatgpt_is_refused_unless_a_key_is_set(
    ready: dict[str, str], user_home: Path, work: Path
) -> None:
    put(user_home / ".codex" / "auth.json", {"tokens": {"access_token": SECRET}})
    assert of("key", found(codex, ready, work))[0].state == "fine"
    del ready["CODEX_API_KEY"]
    findings = found(codex, ready, work)
    (finding,) = of("login", findings)
    assert (finding.state, finding.remedy) == ("broken", 'export CODEX_API_KEY="$(membrain keys issue codex)"')
    assert "canary" not in str(findings)


def test_a_key_that_codex_keeps_itself_is_tried(ready: dict[str, str], user_home: Path, work: Path, key: str) -> None:
    del ready["CODEX_API_KEY"]
    path = put(user_home / ".codex" / "auth.json", {"OPENAI_API_KEY": SECRET})
    findings = found(codex, ready, work)
    assert of("key", findings)[0].state == "broken"
    assert "canary" not in str(findings)
    put(path, {"OPENAI_API_KEY": key})
    assert of("key", found(codex, ready, work))[0].state == "fine"


def test_a_file_that_is_no_toml_is_told(ready: dict[str, str], user_home: Path, work: Path) -> None:
    put(user_home / ".codex" / "config.toml", "canary =")
    findings = found(codex, ready, work)
    assert of("settings", findings)[0].state == "broken"
    assert "canary" not in str(findings)


@pytest.mark.parametrize(
    "content", ["profile = 5", "profiles = 5", "model_providers = 5", 'model_provider = "a"\nmodel_providers = []']
)
def test_a_file_of_another_shape_is_no_accident(
    content: str, ready: dict[str, str], user_home: Path, work: Path
) -> None:
    put(user_home / ".codex" / "config.toml", content)
    assert {each.state for each in found(codex, ready, work)} == {"fine", "broken"}


def test_nothing_set_and_nothing_up_is_all_told(alone: dict[str, str], work: Path) -> None:
    findings = found(codex, alone, work)
    assert [each.name for each in findings] == ["codex", "gateway", "address", "key"]
    assert all(each.state == "broken" and each.remedy for each in findings)
