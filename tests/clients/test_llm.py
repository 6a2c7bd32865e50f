"""The `llm` command, straight and through the gateway: pointed at it by the environment and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from llm.cli import cli

from tests.clients.conftest import EMAIL, Both, Way


def llm(way: Way, folder: Path, *words: str) -> str:
    """What the command printed as its answer; it runs in this process, because it takes seconds to start."""
    environ = {**way.environ, "LLM_USER_PATH": str(folder)}
    done = CliRunner().invoke(cli, words, env=environ, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("how", [[], ["--no-stream"]])
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5", "gpt-3.5-turbo-instruct"])
def test_an_answer_by_chat_by_responses_and_by_completions(both: Both, tmp_path: Path, model: str, how: Any) -> None:
    def run(way: Way) -> Any:
        return llm(way, tmp_path, "--no-log", *how, "--model", model, f"Write to {EMAIL}")

    assert both(run) == f"You said: Write to {EMAIL}\n"


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5"])
def test_a_schema(both: Both, tmp_path: Path, model: str) -> None:
    def run(way: Way) -> Any:
        return llm(way, tmp_path, "--no-log", "--model", model, "--schema", "email, age int", f"Who is {EMAIL}")

    assert json.loads(both(run)) == {"email": EMAIL, "age": 36}


def test_an_embedding(both: Both, tmp_path: Path) -> None:
    assert both(lambda way: llm(way, tmp_path, "embed", "--model", "3-small", "--content", EMAIL)).count(",") == 7
