"""`help`: the pages say what holds."""

from __future__ import annotations

from membrain.config import settings_table
from membrain_cli import main
from membrain_cli.commands import help as module
from membrain_cli.console import Exit


def test_the_pages_are_those_the_front_page_names() -> None:
    assert tuple(module.TOPICS) == main.TOPICS


def test_every_exit_status_is_told_or_said_to_be_kept() -> None:
    page = module.exit_codes()
    kept = {Exit.BUDGET, Exit.CHAIN}
    assert set(module.EXIT_CODES) == set(Exit) - kept
    assert all(str(int(code)) in page for code in Exit)


def test_every_setting_has_its_variable_and_its_sentence() -> None:
    page = module.environment()
    for row in settings_table():
        assert f"  {row.env}\n      {row.doc}" in page


def test_the_page_on_output_names_the_flags() -> None:
    assert all(flag in module.output() for flag in ("--json", "--no-color", "--quiet", "--no-input", "NO_COLOR"))
