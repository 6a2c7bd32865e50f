"""`models`: what each provider really has, told as the gateway tells it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from membrain.errors import ShuttingDown
from membrain.records import ModelRow
from membrain_cli import console
from membrain_cli.commands import models
from membrain_cli.console import Console, Exit
from tests.cli.says import Says
from tests.cli.shell import Screen, command, invoke, membrain
from tests.cli.terminal import Terminal
from tests.served import Served

LIBRARY = ("genai-prices 0.2.3", "2026-11-01")
ROWS = (
    ModelRow("gpt-4o", "openai", False, 2.5, 10.0, *LIBRARY, 128_000),
    ModelRow("ollama/llama3:latest", "ollama", True, 0.0, 0.0, "on this machine", "", 8_192),
    ModelRow("llama-3.3-70b-versatile", "groq", False),
)


@pytest.fixture
def gateway(environ: dict[str, str]) -> Iterator[Says]:
    """A gateway that has three models."""
    with Says(environ) as gateway:
        gateway.answers["/api/models"] = [row.to_dict() for row in ROWS]
        yield gateway


def see(environ: dict[str, str], *argv: str, columns: int = 100, status: int = 0) -> str:
    """What a person sees on a real terminal."""
    with Terminal(command("models", *argv), environ, columns=columns) as terminal:
        assert terminal.finish(20) == status
        assert terminal.screen.unknown == []
        return terminal.screen.text


@pytest.mark.usefixtures("gateway")
def test_a_person_sees_who_has_what_and_for_how_much(environ: dict[str, str]) -> None:
    assert see(environ).splitlines() == [
        "  gpt-4o                    openai   $2.50 / $10.00   128,000 tokens",
        "  ollama/llama3:latest      ollama   free             8,192 tokens     local",
        "  llama-3.3-70b-versatile   groq     price unknown",
        "  $ is for a million tokens, in / out. Prices: genai-prices 0.2.3 2026-11-01.",
    ]


@pytest.mark.usefixtures("gateway")
def test_a_narrow_terminal_loses_nothing(environ: dict[str, str]) -> None:
    assert see(environ, columns=60).splitlines() == [
        "  gpt-4o                    openai",
        "    $2.50 / $10.00 · 128,000 tokens",
        "  ollama/llama3:latest      ollama",
        "    free · 8,192 tokens · local",
        "  llama-3.3-70b-versatile   groq",
        "    price unknown",
        "  $ is for a million tokens, in / out.",
        "  Prices: genai-prices 0.2.3 2026-11-01.",
    ]


@pytest.mark.usefixtures("gateway")
def test_a_pipe_gets_a_model_on_each_line(environ: dict[str, str]) -> None:
    ran = membrain("models", environ=environ)
    assert (ran.status, ran.err) == (0, "")
    assert [line.split("\t") for line in ran.out.splitlines()] == [
        ["gpt-4o", "openai", "false", "2.5", "10.0", "128000", *LIBRARY],
        ["ollama/llama3:latest", "ollama", "true", "0.0", "0.0", "8192", "on this machine", ""],
        ["llama-3.3-70b-versatile", "groq", "false", "", "", "", "", ""],
    ]


@pytest.mark.usefixtures("gateway")
def test_json_is_the_records(environ: dict[str, str]) -> None:
    told = invoke(["models", "--json"], environ, tty=True).out.splitlines()
    assert [ModelRow.from_dict(json.loads(line)) for line in told] == list(ROWS)


@pytest.mark.parametrize(
    ("flags", "ids"),
    [
        (["--provider", "groq"], ["llama-3.3-70b-versatile"]),
        (["--local"], ["ollama/llama3:latest"]),
        (["--local", "--provider", "ollama"], ["ollama/llama3:latest"]),
    ],
)
@pytest.mark.usefixtures("gateway")
def test_what_is_asked_for_is_shown(flags: list[str], ids: list[str], environ: dict[str, str]) -> None:
    ran = invoke(["models", *flags], environ)
    assert [line.split("\t")[0] for line in ran.out.splitlines()] == ids


@pytest.mark.usefixtures("gateway")
def test_no_source_is_named_where_there_is_no_price(environ: dict[str, str]) -> None:
    """Nothing in the list costs anything that is known."""
    assert invoke(["models", "--local"], {**environ, "TERM": "dumb"}, tty=True).err == ""


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--provider", "gorq"], "No provider of that name has a model."),
        (["--provider", "groq", "--local"], "No model like that."),
    ],
)
@pytest.mark.usefixtures("gateway")
def test_an_empty_list_says_so_and_where_to_look(flags: list[str], said: str, environ: dict[str, str]) -> None:
    ran = invoke(["models", *flags], {**environ, "TERM": "dumb"}, tty=True)
    assert (ran.status, ran.out) == (0, "")
    assert ran.err.splitlines() == [
        said,
        "  Who is there    membrain status",
        "  All of them     membrain models",
    ]


def test_when_every_provider_is_away_that_is_what_is_said(gateway: Says, environ: dict[str, str]) -> None:
    gateway.answers["/api/models"] = []
    ran = invoke(["models"], {**environ, "TERM": "dumb"}, tty=True)
    assert ran.err.splitlines() == [
        "No provider says what it has; those that are away cannot.",
        "  Who is there    membrain status",
    ]


def test_foreign_names_do_not_drive_the_terminal(gateway: Says, environ: dict[str, str]) -> None:
    gateway.answers["/api/models"] = [ModelRow("evil\x1b]0;x\x07\nname", "groq\t", False).to_dict()]
    assert invoke(["models"], environ, tty=True).out == "  evil name   groq    price unknown\n"
    assert invoke(["models"], environ).out == "evil name\tgroq \tfalse\t\t\t\t\t\n"


def test_a_gateway_that_refuses_is_heard(gateway: Says, environ: dict[str, str]) -> None:
    gateway.answers["/api/models"] = ShuttingDown("The gateway is shutting down.")
    ran = invoke(["models"], environ)
    assert (ran.status, ran.out, ran.err) == (Exit.FAILED, "", "✗ The gateway is shutting down.\n")


def test_without_a_gateway_it_says_how_to_start_one(environ: dict[str, str]) -> None:
    ran = invoke(["models"], environ)
    assert (ran.status, ran.out) == (Exit.DOWN, "")
    assert ran.err == "✗ The gateway is not running.\n  Start it        membrain up\n"


def test_the_shell_completes_providers(gateway: Says, environ: dict[str, str]) -> None:
    console.use(Console(Screen(), Screen(), Screen(), environ))
    assert models.providers("") == ["groq", "ollama", "openai"]
    assert models.providers("o") == ["ollama", "openai"]
    gateway.answers.clear()
    assert models.providers("o") == []


def test_the_shell_completes_nothing_without_a_gateway(environ: dict[str, str]) -> None:
    console.use(Console(Screen(), Screen(), Screen(), environ))
    assert models.providers("") == []


def test_the_real_gateway_lists_what_providers_have(served: Served, beside: dict[str, str]) -> None:
    told = [
        ModelRow.from_dict(json.loads(line)) for line in membrain("models", "--json", environ=beside).out.splitlines()
    ]
    offered = {(each["id"], each["owned_by"]) for each in served.get("/v1/models").json()["data"]} - {
        ("auto", "membrain")
    }
    assert {(row.id, row.provider) for row in told} == offered
    assert {row.local for row in told if row.provider == "ollama"} == {True}
    assert {(row.input_price, row.output_price) for row in told if row.local} == {(0, 0)}
    assert next(row for row in told if row.id == "echo").input_price is None
    assert {line.split("\t")[2] for line in membrain("models", "--local", environ=beside).out.splitlines()} == {"true"}
