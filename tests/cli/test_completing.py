"""What is offered for a word: from the gateway, its files or a table; in time, in silence, and safe in a shell."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from typer._click.shell_completion import CompletionItem
from typer._completion_classes import BashComplete

from membrain.errors import MembrainError
from membrain_cli import completing, console, main
from membrain_cli.completing import OFFERS, PLAIN, bounded, safe, source_of, words
from membrain_cli.console import CommandError, Console
from tests.cli.shell import environment, invoke
from tests.cli.trails import exchange, written
from tests.served import Served


def offers(line: str, environ: Mapping[str, str]) -> dict[str, str | None]:
    """What a shell would be given for the last word of *line*, with the words beside it."""
    console.use(Console(io.StringIO(), io.StringIO(), io.StringIO(), {**environ, main.ASKED: "complete_bash"}))
    _, *args, incomplete = line.split(" ")
    items = BashComplete(main.build(), {}, "membrain", main.ASKED).get_completions(args, incomplete)
    return {item.value: item.help for item in items}


@pytest.fixture(autouse=True)
def _unhurried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no reason to offer nothing, but where the limit itself is looked at."""
    if "hurried" not in request.fixturenames:
        monkeypatch.setattr(completing, "LIMIT", 10)


@pytest.fixture
def hurried() -> None:
    """The limit that holds."""


@pytest.fixture
def near(shared_gateway: Served) -> dict[str, str]:
    """The environment of somebody beside the shared gateway."""
    return environment(shared_gateway.home, MEMBRAIN_PORT=str(shared_gateway.port))


@pytest.fixture
def on_record(environ: dict[str, str]) -> list[str]:
    """The ids of a few exchanges on record, in a home whose gateway is down, and a client key."""
    assert invoke(["keys", "issue", "aider", "--project", "web"], environ).status == 0
    made = written(
        environ, exchange(model="gpt-4o", project="api"), exchange(model="o1", provider="groq", project="web")
    )
    return [each.id for each in made]


# --- what there is -----------------------------------------------------------------------------------------


def test_a_running_gateway_is_asked(near: dict[str, str]) -> None:
    assert offers("membrain chat --model au", near) == {"auto": "the router chooses"}
    assert offers("membrain audit --model gpt", near) == {"gpt-4o-mini": "openai"}
    assert {"openai", "anthropic", "ollama"} <= offers("membrain audit --provider ", near).keys()
    assert offers("membrain audit --provider opena", near).keys() == {"openai"}


def test_its_files_are_read_while_it_is_down(on_record: list[str], environ: dict[str, str]) -> None:
    assert offers("membrain chat --model ", environ) == {"o1": "", "gpt-4o": ""}
    assert offers("membrain audit --provider ", environ).keys() == {"openai", "anthropic", "groq"}
    assert offers("membrain keys revoke ", environ) == {"aider": "project web"}
    assert offers("membrain audit --caller a", environ) == {"aider": "project web"}
    assert offers("membrain usage --project ", environ).keys() == {"web", "api"}


@pytest.mark.parametrize("line", ["membrain audit show ", "membrain audit erase ", "membrain route explain --replay "])
def test_the_last_exchanges_are_offered_with_their_models(
    line: str, on_record: list[str], environ: dict[str, str]
) -> None:
    assert offers(line, environ) == dict(zip(on_record, ["gpt-4o", "o1"], strict=True))
    assert list(offers(line + on_record[0][:8], environ)) == on_record[:1]


@pytest.mark.parametrize(
    "line",
    ["audit show ", "audit --caller ", "audit --project ", "audit --model ", "keys revoke ", "route explain --replay "],
)
def test_a_machine_without_anything_offers_nothing_and_says_nothing(
    line: str, environ: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert offers(f"membrain {line}", environ) == {}
    assert capfd.readouterr() == ("", "")


def test_settings_that_do_not_load_offer_nothing(environ: dict[str, str]) -> None:
    assert offers("membrain audit --provider ", {**environ, "MEMBRAIN_PORT": "many"}) == {}


# --- the table ---------------------------------------------------------------------------------------------


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, f"{path} {name}")


def test_every_row_of_the_table_is_of_a_parameter_that_exists() -> None:
    there = {
        place
        for row in main.COMMANDS
        for path, command in commands(main.load(row), row.name)
        for param in command.params
        for name in (param.name, *param.opts)
        for place in ((path, name), ("", name))
    }
    assert set(OFFERS) <= there


def test_the_words_of_a_short_list_are_those_that_are_taken(environ: dict[str, str]) -> None:
    from membrain.records import SCOPES, Outcome

    assert set(offers("membrain audit --outcome ", environ)) == {str(each) for each in Outcome}
    assert set(offers("membrain keys issue x --scope ", environ)) == set(SCOPES)
    assert tuple(offers("membrain help ", environ)) == main.TOPICS


def test_a_row_of_a_command_goes_before_one_of_all() -> None:
    (command,) = [main.load(row) for row in main.COMMANDS if row.name == "logs"]
    (level,) = [param for param in command.params if "--level" in param.opts]
    assert source_of("logs", level) is OFFERS["logs", "--level"]
    assert source_of("elsewhere", level) is None


# --- in time, in silence -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("hurried")
def test_what_takes_too_long_is_no_offer(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
    def slow(_: object) -> list[tuple[str, str]]:
        time.sleep(2)
        return [("late", "")]

    monkeypatch.setitem(OFFERS, ("", "--project"), slow)
    began = time.perf_counter()
    assert offers("membrain audit --project ", environ) == {}
    assert time.perf_counter() - began < 1


@pytest.mark.usefixtures("hurried")
def test_a_gateway_that_does_not_answer_holds_nobody_up(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("membrain_cli.daemon.find", lambda _: time.sleep(0.9))
    began = time.perf_counter()
    assert offers("membrain models --provider ", environ) == {}
    assert time.perf_counter() - began < 0.8


@pytest.mark.parametrize("error", [MembrainError("no"), CommandError("no", [], 1), OSError(), ValueError(), KeyError()])
def test_what_fails_is_no_offer_and_is_not_told(
    error: Exception, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    def fail(_: object) -> list[tuple[str, str]]:
        raise error

    monkeypatch.setitem(OFFERS, ("", "--project"), fail)
    assert offers("membrain audit --project ", environ) == {}
    assert capfd.readouterr() == ("", "")


# --- safe in a shell ---------------------------------------------------------------------------------------

HOSTILE = (
    "$(id)", "`id`", "a;id", "a b", 'a"b', "a'b", "a\\b", "a|b", "a&b", "*", "a?", "[a]", "{a,b}", "~", "!x", "#x",
    "-x", "=ls", "a\nb", "a\x1b[31m", "a\u202eb", "(x)", "<x", ">x", "^x", "",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_a_shell_could_take_for_more_is_not_offered(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not PLAIN.fullmatch(name)
    monkeypatch.setitem(OFFERS, ("", "--project"), words(name, "fine"))
    assert offers("membrain audit --project ", {}) == {"fine": ""}


@pytest.mark.parametrize("name", ["gpt-4o", "ollama/llama3:8b", "openai/gpt-4.1", "a_b", "a@b", "café", "ck=1"])
def test_an_ordinary_name_is(name: str) -> None:
    assert PLAIN.fullmatch(name)


def test_the_words_beside_an_offer_are_cleaned() -> None:
    item = safe(CompletionItem("a", help='b"c`d$(e)\n\tf\x1b[31m: g'))
    assert item.help == "bcde f31m: g"
    assert safe(CompletionItem("a")).help is None


def test_offers_of_files_are_left_to_the_shell() -> None:
    file = CompletionItem("", type="file")
    assert bounded(lambda *_: [file])(None, "") == [file]  # type: ignore[arg-type]  # not looked at


@pytest.mark.usefixtures("hurried")
def test_the_limit_is_what_a_hand_does_not_notice() -> None:
    assert completing.LIMIT <= 0.2
