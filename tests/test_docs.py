"""The documents say what is true."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = runpy.run_path(str(ROOT / "docs" / "make.py"))["PAGES"]


@pytest.mark.parametrize("name", PAGES)
def test_pages_made_from_the_code_are_up_to_date(name: str) -> None:
    """Run `make docs` after changing a setting or a translation."""
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == PAGES[name]()


def test_links_between_the_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "client" / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} points at {target}"


def test_the_first_lines_of_the_readme_are_the_two_commands() -> None:
    fence, first, second = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[2:5]
    assert fence == "```sh"
    assert first.split("#")[0].strip() == "make up"
    assert second == '.venv/bin/membrain chat "Say hello in five words."'


def test_every_command_that_the_readme_shows_exists() -> None:
    from membrain_cli.main import COMMANDS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"(?:^|`|bin/|\(|\s)membrain ([a-z]+)", text)) - {"is"}
    assert shown <= {each.name for each in COMMANDS}
