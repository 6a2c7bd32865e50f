"""Checks of who answers: keys that work or not, providers without one, and models that only look local."""

from __future__ import annotations

from typing import Any

import pytest

from membrain_cli import daemon
from membrain_cli.console import CommandError
from membrain_cli.doctor import upstreams
from membrain_cli.doctor.finding import Finding
from tests.cli.patients import found, patient
from tests.served import Served
from tests.sink import Reply, Sink


def test_a_key_that_does_not_work_is_broken(served: Served, beside: dict[str, str], sink: Sink) -> None:
    sink.script("/v1/models", Reply(401, {"error": {"message": "no"}}), forever=True)
    findings = found(upstreams.keys, {**beside, "OPENAI_API_KEY": "sk-canary-0123456789"})
    assert [(each.state, each.name, each.remedy) for each in findings] == [
        ("broken", "openai", "membrain keys set openai"),
        ("look", "anthropic", "membrain keys set anthropic"),
    ]


def test_a_key_that_is_none_is_told_without_it(environ: dict[str, str]) -> None:
    finding = found(upstreams.keys, {**environ, "OPENAI_API_KEY": "ck_live_canary_0123456789"})[0]
    assert (finding.state, "canary" in finding.words) == ("look", False)


def test_providers_without_a_key_are_told_as_the_gateway_sees_them(
    environ: dict[str, str],
) -> None:
    def state(name: str, up: bool, **more: Any) -> dict[str, Any]:
        return {"name": name, "up": up, "where": "localhost:11434", "note": "", "remedy": "", **more}

    providers = [
        state("openai", True),
        state("ollama", True),
        state("litellm", False, note="not installed"),
        state("local", False, note="not installed", remedy="membrain local install"),
    ]
    running = daemon.Running(1, "127.0.0.1", 1, "", "", "", {"providers": providers})
    someone = patient(environ)
    someone.reach.running = running
    assert list(upstreams.others(someone)) == [
        Finding("fine", "ollama", "localhost:11434"),
        Finding("none", "litellm", "not installed (optional)"),
        Finding("look", "local", "not installed", "membrain local install"),
    ]


def test_a_provider_that_cannot_be_asked_is_broken_and_no_traceback(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from membrain.errors import NotFound

    def missing(*_: object) -> None:
        raise NotFound("openai is not set up.")

    monkeypatch.setattr("membrain_cli.reach.Reach.test", missing)
    finding = found(upstreams.keys, {**environ, "OPENAI_API_KEY": "sk-canary-0123456789"})[0]
    assert (finding.state, finding.words) == ("broken", "openai is not set up.")


def test_models_of_ollamas_cloud_are_told(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"id": "ollama/llama3", "provider": "ollama", "local": True},
        {"id": "ollama/big-cloud", "provider": "ollama", "local": False},
        {"id": "gpt-4o", "provider": "openai", "local": False},
    ]
    monkeypatch.setattr("membrain_cli.reach.Reach.ask", lambda *_: rows)
    someone = patient(environ)
    someone.reach.running = daemon.Running(1, "127.0.0.1", 1, "", "", "", {})
    (finding,) = upstreams.clouds(someone)
    assert finding.words == "1 of its models is not on this machine, so never asked in private: ollama/big-cloud"
    assert (finding.state, finding.remedy) == ("look", "OLLAMA_NO_CLOUD=1 ollama serve")


def test_a_gateway_that_does_not_tell_its_models_is_left_out(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise CommandError("no", [], 1)

    monkeypatch.setattr("membrain_cli.reach.Reach.ask", refuse)
    someone = patient(environ)
    someone.reach.running = daemon.Running(1, "127.0.0.1", 1, "", "", "", {})
    assert list(upstreams.clouds(someone)) == []
