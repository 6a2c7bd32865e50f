"""aider from its own side: its files go before the shell, and it reads one variable for each key."""

from __future__ import annotations

from pathlib import Path

import pytest

from membrain_cli.doctor.aider import aider, configs, dotenvs, read
from tests.cli.patients import found, of, patient, program, put

SECRET = "sk-canary-0123456789"


@pytest.fixture
def ready(near: dict[str, str], user_home: Path, gateway_url: str, key: str) -> dict[str, str]:
    """Somebody whose aider is installed and pointed here."""
    program(user_home, "aider", "echo aider 0.86.2")
    return {**near, "OPENAI_BASE_URL": f"{gateway_url}/v1", "OPENAI_API_KEY": key}


def test_all_is_well_once_it_is_pointed_here(ready: dict[str, str], work: Path, gateway_url: str, key: str) -> None:
    expected = [("fine", name) for name in ("aider", "gateway", "address", "key", "chat", "messages")]
    assert [(each.state, each.name) for each in found(aider, ready, work)] == expected
    del ready["OPENAI_BASE_URL"]
    ready |= {"OPENAI_API_BASE": f"{gateway_url}/v1"}
    assert [(each.state, each.name) for each in found(aider, ready, work)] == expected


def test_anthropics_models_want_the_key_in_one_variable(
    near: dict[str, str], work: Path, gateway_url: str, key: str
) -> None:
    environ = {**near, "ANTHROPIC_BASE_URL": gateway_url, "ANTHROPIC_AUTH_TOKEN": key}
    findings = found(aider, environ, work)
    assert [each.state for each in of("address", findings)] == ["fine"]
    (finding,) = of("key", findings)
    assert (finding.state, finding.remedy) == ("look", 'export ANTHROPIC_API_KEY="$ANTHROPIC_AUTH_TOKEN"')
    assert of("key", found(aider, {**environ, "ANTHROPIC_API_KEY": key}, work))[0].state == "fine"


def test_both_addresses_are_looked_at(ready: dict[str, str], work: Path) -> None:
    first, second = of("address", found(aider, {**ready, "OPENAI_API_BASE": "http://127.0.0.1:1"}, work))
    assert (first.state, second.state) == ("fine", "broken")
    assert second.words.startswith("OPENAI_API_BASE of your shell leads to port 1 ")


@pytest.mark.parametrize("place", ["user_home", "project", "here"])
def test_a_dotenv_file_goes_before_the_shell(
    place: str, ready: dict[str, str], user_home: Path, work: Path, gateway_url: str
) -> None:
    (work / ".git").mkdir()
    below = work / "below"
    below.mkdir()
    folder = {"user_home": user_home, "project": work, "here": below}[place]
    put(folder / ".env", "OPENAI_BASE_URL=https://canary.example/v1\n")
    (finding,) = of("address", found(aider, ready, below))
    assert finding.state == "broken"
    assert finding.remedy.endswith(f":  OPENAI_BASE_URL={gateway_url}/v1")
    assert "canary" not in str(finding)


def test_its_own_settings_go_before_everything(ready: dict[str, str], user_home: Path, work: Path) -> None:
    put(work / ".env", "OPENAI_API_BASE=http://127.0.0.1:1/v1\n")
    put(user_home / ".aider.conf.yml", "# comment\nmodel: gpt-4o\nopenai-api-base: http://127.0.0.1:2/v1  # here\n")
    variables = read(patient(ready, work))
    assert variables["OPENAI_API_BASE"].told == "openai-api-base of ~/.aider.conf.yml"
    addresses = of("address", found(aider, ready, work))
    assert any("openai-api-base of ~/.aider.conf.yml leads to port 2 " in each.words for each in addresses)


def test_variables_in_its_settings_and_under_its_own_names_are_read(ready: dict[str, str], work: Path) -> None:
    put(work / ".aider.conf.yml", f'set-env:\n  - "OPENAI_BASE_URL=http://127.0.0.1:3/v1"\nopenai-api-key: {SECRET}\n')
    variables = read(patient({**ready, "AIDER_ANTHROPIC_API_KEY": SECRET}, work))
    assert variables["OPENAI_BASE_URL"].value == "http://127.0.0.1:3/v1"
    assert variables["OPENAI_API_KEY"].told == "openai-api-key of ./.aider.conf.yml"
    assert variables["ANTHROPIC_API_KEY"].told == "AIDER_ANTHROPIC_API_KEY of your shell"
    findings = found(aider, ready, work)
    assert of("key", findings)[0].remedy.startswith("./.aider.conf.yml:  take openai-api-key out, then  ")
    assert "canary" not in str(findings)


def test_where_it_looks_for_files_the_weakest_first(alone: dict[str, str], user_home: Path, work: Path) -> None:
    own = [user_home / ".aider" / "oauth-keys.env", user_home / ".env"]
    assert dotenvs(patient(alone, work)) == [*own, work / ".env"]
    (work / ".git").mkdir()
    someone = patient(alone, work / "a")
    assert dotenvs(someone) == [*own, work / "a" / ".env", work / ".env"]
    assert configs(someone) == [folder / ".aider.conf.yml" for folder in (user_home, work, work / "a")]


def test_lists_are_read_as_what_they_are(alone: dict[str, str], work: Path) -> None:
    put(work / ".aider.conf.yml", f"read:\n  - A=1\napi-key:\n- openai={SECRET}\nset-env:\n- 'B=2'\nmodel:\n- C=3\n")
    variables = read(patient(alone, work))
    assert variables["OPENAI_API_KEY"].value == SECRET
    assert variables["B"].value == "2"
    assert not {"A", "C"} & variables.keys()


def test_a_file_that_cannot_be_read_is_told(ready: dict[str, str], work: Path) -> None:
    (work / ".env").write_bytes(b"\xff")
    assert of("settings", found(aider, ready, work))[0].words == "./.env is no text"


def test_a_proxy_of_a_file_catches_it(ready: dict[str, str], work: Path) -> None:
    put(work / ".env", "HTTP_PROXY=http://canary:3128\n")
    (finding,) = of("proxy", found(aider, ready, work))
    assert finding.words == "HTTP_PROXY of ./.env is set, so a proxy is asked for 127.0.0.1"


def test_nothing_set_and_nothing_up_is_all_told(alone: dict[str, str], work: Path) -> None:
    findings = found(aider, alone, work)
    assert [each.name for each in findings] == ["aider", "gateway", "address", "key"]
    assert all(each.state == "broken" and each.remedy for each in findings)
