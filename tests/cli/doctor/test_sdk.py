"""The libraries from their own side: what is installed here, and where a program of this folder would go."""

from __future__ import annotations

from pathlib import Path

import pytest

from membrain_cli.doctor.sdk import sdk
from tests.cli.patients import found, of, put

SECRET = "sk-canary-0123456789"


@pytest.fixture
def ready(near: dict[str, str], gateway_url: str, key: str) -> dict[str, str]:
    """Somebody who has typed `eval "$(membrain env)"`."""
    openai = {"OPENAI_BASE_URL": f"{gateway_url}/v1", "OPENAI_API_KEY": key}
    return {**near, **openai, "ANTHROPIC_BASE_URL": gateway_url, "ANTHROPIC_AUTH_TOKEN": key}


def test_all_is_well_once_they_are_pointed_here(ready: dict[str, str], work: Path) -> None:
    names = ["libraries", "gateway", "address", "key", "address", "key", "chat", "responses", "messages"]
    findings = found(sdk, ready, work)
    assert [each.name for each in findings] == names
    assert {each.state for each in findings[1:]} == {"fine"}


def test_what_is_installed_is_read_and_not_run(alone: dict[str, str], work: Path) -> None:
    assert found(sdk, alone, work)[0].state == "none"
    (work / ".venv" / "lib" / "python3.11" / "site-packages" / "openai-3.54.0.dist-info").mkdir(parents=True)
    put(work.parent / "node_modules" / "@anthropic-ai" / "sdk" / "package.json", {"version": "1.12.0"})
    finding = found(sdk, alone, work)[0]
    assert (finding.state, finding.words) == ("fine", "openai 3.54.0 (Python), @anthropic-ai/sdk 1.12.0 (Node)")


def test_the_active_environment_goes_before_the_folders(alone: dict[str, str], work: Path) -> None:
    for name, version in (("active", "2.0.0"), ("work/.venv", "1.0.0")):
        (work.parent / name / "lib" / "python3.12" / "site-packages" / f"anthropic-{version}.dist-info").mkdir(
            parents=True
        )
    finding = found(sdk, {**alone, "VIRTUAL_ENV": str(work.parent / "active")}, work)[0]
    assert finding.words == "anthropic 2.0.0 (Python)"


def test_a_package_file_that_is_no_json_is_left_out(alone: dict[str, str], work: Path) -> None:
    put(work / "node_modules" / "openai" / "package.json", "{")
    assert found(sdk, alone, work)[0].state == "none"


def test_only_what_is_in_use_is_looked_at(alone: dict[str, str], work: Path) -> None:
    assert len(of("address", found(sdk, alone, work))) == 2
    (finding,) = of("address", found(sdk, {**alone, "OPENAI_API_KEY": SECRET}, work))
    assert finding.words.startswith("OPENAI_BASE_URL is not set")
    put(work / "node_modules" / "@anthropic-ai" / "sdk" / "package.json", {"version": "1.12.0"})
    (finding,) = of("address", found(sdk, alone, work))
    assert finding.words.startswith("ANTHROPIC_BASE_URL is not set")


def test_an_old_variable_is_told(ready: dict[str, str], work: Path) -> None:
    ready["OPENAI_API_BASE"] = ready.pop("OPENAI_BASE_URL")
    first, second, _ = of("address", found(sdk, ready, work))
    assert (first.state, "has not read it since version 1" in first.words) == ("look", True)
    assert second.words.startswith("OPENAI_BASE_URL is not set")


def test_two_keys_of_anthropics_are_told(ready: dict[str, str], work: Path) -> None:
    findings = of("key", found(sdk, {**ready, "ANTHROPIC_API_KEY": SECRET}, work))
    assert [(each.state, each.remedy) for each in findings] == [
        ("fine", ""),
        ("fine", ""),
        ("look", "unset ANTHROPIC_API_KEY"),
    ]


def test_what_this_folders_dotenv_says_otherwise_is_told(ready: dict[str, str], work: Path, gateway_url: str) -> None:
    put(
        work / ".env",
        f"OPENAI_BASE_URL=https://canary.example/v1\nANTHROPIC_API_KEY={SECRET}\nOPENAI_API_KEY=ck_live_x\n",
    )
    findings = found(sdk, ready, work)
    first, second = of(".env", findings)
    assert (first.state, first.remedy) == ("look", f"./.env:  OPENAI_BASE_URL={gateway_url}/v1")
    assert (second.state, second.remedy) == ("look", "membrain keys set anthropic")
    assert "canary" not in str(findings)


def test_a_dotenv_that_leads_here_is_fine(ready: dict[str, str], work: Path, gateway_url: str) -> None:
    put(work / ".env", f"OPENAI_BASE_URL={gateway_url}/v1\n")
    assert of(".env", found(sdk, ready, work)) == []


def test_a_dotenv_that_cannot_be_read_is_told(ready: dict[str, str], work: Path) -> None:
    (work / ".env").write_bytes(b"\xff")
    assert of("settings", found(sdk, ready, work))[0].state == "broken"
