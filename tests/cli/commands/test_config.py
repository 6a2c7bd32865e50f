"""`config`: shows what `membrain.config` knows, and hands it what is to be changed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from membrain.config import settings_table
from membrain_cli.console import Exit
from tests.cli.shell import command, invoke
from tests.cli.terminal import Terminal
from tests.served import Served


@pytest.fixture
def file(environ: dict[str, str]) -> Path:
    """The settings file, with two settings in it."""
    path = Path(environ["MEMBRAIN_HOME"]) / "config" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('# mine\ntier = "best"\n\n[limits]\ndepth = 50\n')
    path.chmod(0o600)
    return path


def test_a_person_sees_what_was_set_and_where(file: Path, environ: dict[str, str]) -> None:
    ran = invoke(["config"], environ, tty=True)
    lines = [line.split() for line in ran.out.splitlines()]
    assert ["port", environ["MEMBRAIN_PORT"], "MEMBRAIN_PORT"] in lines
    assert ["tier", "best", "config.toml"] in lines
    assert ["limits.depth", "50", "config.toml"] in lines
    assert "more at their default: --all" in ran.err


def test_all_shows_the_rest(environ: dict[str, str]) -> None:
    ran = invoke(["config", "list", "--all"], environ, tty=True)
    shown = {line.split()[0] for line in ran.out.splitlines()}
    assert shown == {row.name for row in settings_table() if "NAME" not in row.name}
    assert ran.err == ""


def test_a_pipe_gets_all_of_them(file: Path, environ: dict[str, str]) -> None:
    lines = [line.split("\t") for line in invoke(["config"], environ).out.splitlines()]
    assert ["limits.depth", "50", "config.toml"] in lines
    assert ["limits.body_mb", "20", "default"] in lines


def test_json_keeps_the_kinds_of_the_values(file: Path, environ: dict[str, str]) -> None:
    rows = [json.loads(line) for line in invoke(["config", "--json"], environ).out.splitlines()]
    assert {"name": "limits.depth", "value": 50, "from": "config.toml"} in rows
    assert {"name": "local.enabled", "value": False, "from": "MEMBRAIN_LOCAL_ENABLED"} in rows


@pytest.mark.parametrize(("name", "text"), [("limits.depth", "50"), ("local.enabled", "false"), ("egress.proxy", "")])
def test_get_prints_the_value_alone(file: Path, environ: dict[str, str], name: str, text: str) -> None:
    assert invoke(["config", "get", name], environ).out == f"{text}\n"


def test_get_as_json_tells_where_it_is_from(file: Path, environ: dict[str, str]) -> None:
    told = json.loads(invoke(["config", "get", "tier", "--json"], environ).out)
    assert told == {"name": "tier", "value": "best", "from": "config.toml"}


def test_set_tells_the_change_and_keeps_the_comments(file: Path, environ: dict[str, str]) -> None:
    ran = invoke(["config", "set", "limits.depth", "60"], environ)
    assert (ran.status, ran.out, ran.err) == (0, "", "✓ limits.depth: 50 → 60.\n")
    assert file.read_text() == '# mine\ntier = "best"\n\n[limits]\ndepth = 60\n'


def test_set_as_json_tells_before_and_after(file: Path, environ: dict[str, str]) -> None:
    told = json.loads(invoke(["config", "set", "limits.depth", "60", "--json"], environ).out)
    assert told == {"name": "limits.depth", "before": "50", "value": 60}


def test_set_says_that_a_running_gateway_needs_a_restart(served: Served, beside: dict[str, str]) -> None:
    ran = invoke(["config", "set", "log.level", "debug"], beside)
    assert ran.err == "✓ log.level: info → debug.  The running gateway needs a restart:  membrain restart\n"
    invoke(["config", "unset", "log.level"], beside)


def test_what_routing_goes_by_is_taken_up_at_once(served: Served, beside: dict[str, str]) -> None:
    for name, value in (("tier", "fast"), ("aliases.fast-code", "gpt-4o-mini"), ("tiers.best", "gpt-4o,o1"),
                        ("routing.prefer", "anthropic"), ("prices.gpt-4o", "1,2")):  # fmt: skip
        assert "has it now" in invoke(["config", "set", name, value], beside).err
    tiers = served.get("/api/tiers").json()
    assert (tiers["default"], tiers["aliases"], tiers["prefer"]) == (
        "fast",
        {"fast-code": "gpt-4o-mini"},
        ["anthropic"],
    )
    assert tiers["best"] == ["gpt-4o", "o1"]
    (priced,) = served.post("/api/route", {"model": "gpt-4o"}).json()["candidates"]
    assert (priced["input_price"], priced["price_source"]) == (1.0, "config.toml")
    for name in ("tier", "aliases.fast-code", "tiers.best", "routing.prefer", "prices.gpt-4o"):
        assert "has it now" in invoke(["config", "unset", name], beside).err
    assert served.get("/api/tiers").json()["default"] == "balanced"


def test_limits_hold_as_soon_as_they_are_set(served: Served, beside: dict[str, str]) -> None:
    for name, value, code in (("budget.day", "0", "budget_exceeded"), ("rate.requests", "1", "rate_limit_exceeded")):
        assert "has it now" in invoke(["config", "set", name, value], beside).err
        told = [served.chat().json().get("error", {}).get("code") for _ in range(3)]
        assert code in told, name
        assert "has it now" in invoke(["config", "unset", name], beside).err
        assert served.chat().status == 200
    assert "has it now" in invoke(["config", "set", "cache.mode", "on"], beside).err
    assert [served.chat("Once more.").headers["x-membrain-cache"] for _ in range(2)] == ["miss", "hit"]
    assert "has it now" in invoke(["config", "unset", "cache.mode"], beside).err


def test_a_provider_of_ones_own_answers_as_soon_as_it_is_set(served: Served, beside: dict[str, str]) -> None:
    ran = invoke(["config", "set", "providers.own.url", "http://127.0.0.1:9/v1"], beside)
    assert ran.err == "✓ providers.own.url: http://127.0.0.1:9/v1.  The running gateway has it now.\n"
    assert "own" in {each["name"] for each in served.get("/health").json()["providers"]}
    assert "has it now" in invoke(["config", "unset", "providers.own.url"], beside).err
    assert "own" not in {each["name"] for each in served.get("/health").json()["providers"]}


def test_set_says_when_the_environment_goes_before_it(environ: dict[str, str]) -> None:
    ran = invoke(["config", "set", "port", "8002"], environ)
    assert "! MEMBRAIN_PORT is set and goes before it." in ran.err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["set", "limits.depth", "five"], 'limits.depth is "five"; it must be a whole number'),
        (["set", "teir", "best"], '"teir" is no setting. Did you mean tier?'),
        (["get", "limits.dept"], '"limits.dept" is no setting. Did you mean limits.depth?'),
        (["set", "openai.api_key", "sk-canary-0123456789"], "membrain keys set openai"),
    ],
)
def test_what_cannot_be_is_refused_by_name(argv: list[str], said: str, file: Path, environ: dict[str, str]) -> None:
    before = file.read_text()
    ran = invoke(["config", *argv], environ)
    assert (ran.status, ran.out) == (Exit.FAILED, "")
    assert said in ran.err
    assert "canary" not in ran.err
    assert file.read_text() == before


def test_a_broken_file_is_told_by_line_with_what_to_type(file: Path, environ: dict[str, str]) -> None:
    file.write_text('tier = "best"\n\n[limits]\ndepth = "five"\n')
    ran = invoke(["config"], environ)
    assert ran.status == Exit.FAILED
    first, second = ran.err.splitlines()
    assert first.startswith('✗ config.toml line 4: limits.depth is "five"; it must be a whole number')
    assert second == "  Mend it         membrain config edit"


def test_a_broken_file_can_be_mended_from_here(file: Path, environ: dict[str, str]) -> None:
    file.write_text('[limits]\ndepth = "five"\n')
    ran = invoke(["config", "set", "limits.depth", "50"], environ)
    assert (ran.status, ran.err) == (0, "✓ limits.depth: 50.\n")


def test_unset_brings_the_default_back(file: Path, environ: dict[str, str]) -> None:
    assert invoke(["config", "unset", "limits.depth"], environ).err == "✓ limits.depth: 100 again.\n"
    assert invoke(["config", "unset", "limits.depth"], environ).err == "· limits.depth was not in the settings file.\n"
    assert "depth" not in file.read_text()


def test_unset_as_json_tells_whether_it_was_set(file: Path, environ: dict[str, str]) -> None:
    told = json.loads(invoke(["config", "unset", "tier", "--json"], environ).out)
    assert told == {"name": "tier", "was_set": True, "value": "balanced"}


def test_path_is_the_file_alone_in_a_pipe(environ: dict[str, str]) -> None:
    home = Path(environ["MEMBRAIN_HOME"])
    assert invoke(["config", "path"], environ).out == f"{home / 'config' / 'config.toml'}\n"
    assert json.loads(invoke(["config", "path", "--json"], environ).out)["state"] == str(home / "state")


def test_a_person_sees_every_folder(environ: dict[str, str]) -> None:
    told = invoke(["config", "path"], environ, tty=True).out
    assert [line.split()[0] for line in told.splitlines()] == ["config", "data", "state", "log"]


def editor(tmp_path: Path, text: str) -> str:
    script = tmp_path / "editor.py"
    script.write_text(f"import sys; open(sys.argv[1], 'w').write({text!r})")
    return f"{sys.executable} {script}"


def test_edit_opens_the_user_s_editor_and_checks_afterwards(tmp_path: Path, environ: dict[str, str]) -> None:
    with Terminal(command("config", "edit"), {**environ, "EDITOR": editor(tmp_path, 'tier = "fast"\n')}) as terminal:
        terminal.expect("The settings are sound.")
        assert terminal.finish() == 0
    assert invoke(["config", "get", "tier"], environ).out == "fast\n"


def test_a_mistake_in_the_editor_is_told(tmp_path: Path, environ: dict[str, str]) -> None:
    with Terminal(command("config", "edit"), {**environ, "EDITOR": editor(tmp_path, 'teir = "fast"\n')}) as terminal:
        terminal.expect('config.toml line 1: "teir" is no setting. Did you mean tier?')
        assert terminal.finish() == Exit.FAILED


def test_an_editor_needs_a_terminal(environ: dict[str, str]) -> None:
    ran = invoke(["config", "edit"], environ)
    assert ran.status == Exit.USAGE
    assert "membrain config set NAME VALUE" in ran.err


def test_an_editor_that_fails_is_told(environ: dict[str, str]) -> None:
    with Terminal(command("config", "edit"), {**environ, "EDITOR": "false"}) as terminal:
        terminal.expect("The editor did not end well.")
        assert terminal.finish() == Exit.FAILED


def test_an_alias_is_set_by_its_own_name_dots_and_all(file: Path, environ: dict[str, str]) -> None:
    ran = invoke(["config", "set", "aliases.fast/v1.5", "gpt-4o-mini"], environ)
    assert (ran.status, ran.err) == (0, "✓ aliases.fast/v1.5: gpt-4o-mini.\n")
    assert '[aliases]\n"fast/v1.5" = "gpt-4o-mini"\n' in file.read_text()
    assert invoke(["config", "get", 'aliases."fast/v1.5"'], environ).out == "gpt-4o-mini\n"
    lines = [line.split() for line in invoke(["config"], environ, tty=True).out.splitlines()]
    assert ["aliases.fast/v1.5", "gpt-4o-mini", "config.toml"] in lines
    assert "✓ aliases.fast/v1.5" in invoke(["config", "set", "aliases.fast/v1.5", "auto"], environ).err
    ran = invoke(["config", "unset", "aliases.fast/v1.5"], environ)
    assert (ran.status, ran.err) == (0, "✓ aliases.fast/v1.5 is gone.\n")
    assert invoke(["config", "get", "aliases.fast/v1.5"], environ).status == Exit.FAILED


def test_a_price_is_set_as_numbers_and_told_as_such(file: Path, environ: dict[str, str]) -> None:
    ran = invoke(["config", "set", "prices.gpt-4.1", "1.0,2.0"], environ)
    assert (ran.status, ran.err) == (0, "✓ prices.gpt-4.1: 1,2.\n")
    assert invoke(["config", "set", "prices.gpt-4.1", "1/2//3"], environ).err == "✓ prices.gpt-4.1: 1,2 → 1,2,,3.\n"
    assert invoke(["config", "get", "prices.gpt-4.1"], environ).out == "1,2,,3\n"
    told = json.loads(invoke(["config", "get", "prices.gpt-4.1", "--json"], environ).out)
    assert told["value"] == {"input": 1.0, "output": 2.0, "written": 3.0}


@pytest.mark.parametrize("name", ["aliases.a", "prices.a", "routing.attempts", "tiers.fast"])
def test_what_decides_the_route_holds_at_once(name: str, served: Served, beside: dict[str, str]) -> None:
    value = {"aliases.a": "auto", "prices.a": "1,2", "routing.attempts": "2", "tiers.fast": "a"}[name]
    assert "The running gateway has it now." in invoke(["config", "set", name, value], beside).err
    assert "The running gateway has it now." in invoke(["config", "unset", name], beside).err


def test_names_of_ones_own_are_completed(home: Path) -> None:
    from membrain_cli.commands.config import names

    (home / "config").mkdir(parents=True)
    (home / "config" / "config.toml").write_text("[aliases]\n'my.fast' = 'gpt-4o'\n")
    assert names("aliases.m") == [("aliases.my.fast", "gpt-4o")]
    (home / "config" / "config.toml").write_text("nonsense")
    assert [name for name, _ in names("aliases")] == ["aliases.NAME"]


def test_names_are_completed_with_their_sentences(home: Path) -> None:
    from membrain_cli.commands.config import names

    assert ("limits.depth", "How deep a request's JSON may be nested.") in names("limits.d")
