"""`help`: the pages say what holds."""

from __future__ import annotations

import re

import pytest

from membrain.config import settings_table
from membrain.pii.policy import Level, Mode
from membrain_cli import main
from membrain_cli.commands import help as module
from membrain_cli.console import CommandError, Exit
from tests.cli.shell import invoke


def test_the_pages_are_those_the_front_page_names() -> None:
    assert tuple(module.TOPICS) == main.TOPICS


def test_every_exit_status_is_told() -> None:
    page = module.exit_codes()
    assert set(module.EXIT_CODES) == set(Exit)
    assert all(str(int(code)) in page for code in Exit)


def test_every_setting_has_its_variable_and_its_sentence() -> None:
    page = module.environment()
    for row in settings_table():
        assert f"  {row.env}\n      {row.doc}" in page


def test_the_page_on_output_names_the_flags() -> None:
    assert all(flag in module.output() for flag in ("--json", "--no-color", "--quiet", "--no-input", "NO_COLOR"))


def test_the_page_on_privacy_names_every_level_and_mode_in_a_screenful() -> None:
    page = module.privacy()
    told = re.findall(r"^    (\w+(?:, \w+)*)  ", page, re.MULTILINE)
    assert {name for names in told for name in names.split(", ")} == {*map(str, Level), *map(str, Mode)}
    assert len(page.splitlines()) <= 24
    assert max(map(len, page.splitlines())) <= 120


def test_the_page_on_privacy_marks_the_defaults_that_hold() -> None:
    defaults = {row.name: str(row.default) for row in settings_table()}
    for name in ("pii.level", "pii.on_find"):
        assert re.search(rf"^    {defaults[name]} .*\(default\)$", module.privacy(), re.MULTILINE)


def test_the_page_on_privacy_says_how_to_see_it_and_what_is_not_promised() -> None:
    page = module.privacy()
    assert all(words in page for words in ("/sent", "membrain pii scan", "nothing is sent", "Not promised: "))


def test_a_page_that_does_not_exist_is_named_with_those_that_do(environ: dict[str, str]) -> None:
    ran = invoke(["help", "-q"], environ)
    assert ran.status == 0
    with pytest.raises(CommandError, match="environment, exit-codes, output, privacy"):
        module.pages("nonsense")


@pytest.mark.parametrize("topic", main.TOPICS)
def test_each_page_is_printed(topic: str, environ: dict[str, str]) -> None:
    ran = invoke(["help", topic], environ)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == module.TOPICS[topic]() + "\n"
