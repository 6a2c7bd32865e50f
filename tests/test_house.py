"""Who may import whom, where dangerous tools may be used, and that every room has its test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GATEWAY = ROOT / "gateway" / "membrain"
CLI = ROOT / "membrain_cli"
CLIENT = ROOT / "client" / "membrain_client"

TOP_LEVEL = {
    "pyproject.toml", "membrain_cli", "gateway", "client", "tests", "completions", "README.md",
    "LICENSE", "CHANGELOG.md", "Makefile", "docs",
}  # fmt: skip

GROUND = {"errors", "records", "schemas", "sse", "cost", "rules", "toml_text"}

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "records": set(),
    "sse": set(),
    "schemas": set(),
    "cost": {"records"},
    "toml_text": set(),
    "rules": set(),
    "places": {"errors"},
    "secrets": {"errors", "places"},
    "settings": {"errors", "places", "rules", "secrets"},
    "config": {"errors", "places", "records", "rules", "secrets", "settings", "toml_text"},
    "dialects": {"errors", "records", "schemas", "sse"},
    "egress": {"errors", "records"},
    "allowances": {"records"},
    "genai": {"records"},
    "metrics": {"genai", "records"},
    "telemetry": {"errors", "genai", "records"},
    "heads": {"errors", "places", "secrets", "stores"},
    "live": {"holds", "records"},
    "local": {"errors"},
    "pii": {"errors", "places", "records"},
    "routing": {"cost", "errors", "records"},
    "stores": {"errors", "records"},
    "filters": {"errors", "records", "stores"},
    "masking": {"dialects", "errors", "pii", "sse"},
    "holds": {"errors"},
    "sent": {"errors"},
    "exchange": {"dialects", "errors", "masking", "records"},
    "pipeline": {"dialects", "errors", "exchange", "records"},
    "providers": {"dialects", "egress", "errors", "local", "records", "routing", "schemas", "sse"},
    "stages": {
        "cost", "dialects", "errors", "exchange", "holds", "live", "masking", "pii", "providers", "records", "routing",
        "sent", "stores",
    },
    "stored": {"errors", "masking", "providers", "records"},
    "explain": {"cost", "dialects", "errors", "providers", "records", "routing", "stages"},
    "offline": {
        "allowances", "errors", "filters", "gateway", "genai", "heads", "places", "records", "secrets", "settings",
        "stages", "stores",
    },
    "plan": {
        "allowances", "cost", "egress", "errors", "masking", "pii", "places", "providers", "records", "routing",
        "secrets", "settings", "stages", "stores",
    },
    "gateway": {
        "allowances", "cost", "dialects", "egress", "errors", "exchange", "explain", "heads", "holds", "live", "local",
        "masking", "metrics", "pii", "pipeline", "places", "plan", "providers", "records", "routing", "schemas",
        "secrets", "sent", "settings", "stages", "stored", "stores", "telemetry",
    },
    "api": {
        "dialects", "egress", "errors", "exchange", "filters", "gateway", "holds", "metrics", "records", "schemas",
        "sse", "stores",
    },
    "__main__": {"api", "config", "errors", "gateway", "places", "secrets", "settings"},
}  # fmt: skip
"""For each room, the rooms whose doors it may use. `membrain` itself (the version) is open to all."""

CLI_MAY_IMPORT = {
    "config", "errors", "gateway", "local", "masking", "offline", "pii", "places", "records", "secrets", "settings",
}  # fmt: skip

SIBLINGS = {"stages": set(), "providers": {("ollama", "openai"), ("local", "openai")}}
"""Folders of variants that must not know each other, and the named exceptions."""

NO_VARIANTS = {"__init__", "base", "http", "registry"}

ONLY_IN: dict[str, set[str]] = {
    "aiohttp": {"membrain/egress.py"},
    "genai_prices": {"membrain/cost/prices.py"},
    "keyring": {"membrain/secrets.py"},
    "litellm": set(),
    "opentelemetry": {"membrain/telemetry.py"},
    "prometheus_client": {"membrain/metrics.py"},
    "xllamacpp": {"membrain/local/child.py"},
}
"""A package, and the only files that may import it."""

CALLS_ONLY_IN: dict[str, set[str]] = {
    "print": {"membrain/__main__.py", "membrain/local/child.py", "membrain/local/weights.py"},
    "create_subprocess_exec": {"membrain/egress.py"},
    "create_subprocess_shell": set(),
    "system": set(),
}
"""A call, and the only files of the gateway that may make it."""

NO_NAMES = {"utils", "helpers", "common", "manager"}


@dataclass(frozen=True)
class Import:
    """One import of a module, by dotted name."""

    file: str
    name: str


def modules(folder: Path) -> list[Path]:
    """Every source file under *folder*."""
    return sorted(folder.rglob("*.py"))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(path: Path) -> Iterator[Import]:
    """Everything *path* imports, at its top or within."""
    name = str(path)
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (Import(name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (Import(name, f"{node.module}.{alias.name}") for alias in node.names)


def room_of(path: Path) -> str:
    """The room of the gateway that *path* is in: its folder, or the file's own name."""
    first = path.relative_to(GATEWAY).parts[0]
    return first.removesuffix(".py")


def rooms_named_in(path: Path) -> set[str]:
    """The rooms of the gateway that *path* imports."""
    named = [each.name.split(".") for each in imports(path)]
    return {parts[1] for parts in named if parts[0] == "membrain" and len(parts) > 1} - {"__version__"}


@pytest.mark.parametrize("path", modules(GATEWAY), ids=lambda path: str(path.relative_to(GATEWAY)))
def test_a_room_only_uses_the_doors_it_may(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    assert room in MAY_IMPORT, f"{room} has no row in MAY_IMPORT: decide what it may use"
    forbidden = rooms_named_in(path) - MAY_IMPORT[room] - {room}
    assert not forbidden, f"{path.name} of {room} must not import {sorted(forbidden)}"


def test_the_table_of_doors_has_no_circle() -> None:
    """Rooms are built one upon the other, also where only a type checker looks."""
    left = {room: set(rooms) for room, rooms in MAY_IMPORT.items()}
    while free := [room for room, rooms in left.items() if not rooms & left.keys()]:
        for room in free:
            del left[room]
    assert not left


@pytest.mark.parametrize("folder", SIBLINGS)
def test_variants_do_not_know_each_other(folder: str) -> None:
    variants = {path.stem for path in (GATEWAY / folder).glob("*.py")} - NO_VARIANTS
    pairs = {
        (path.stem, parts[2])
        for path in (GATEWAY / folder).glob("*.py")
        if path.stem in variants
        for parts in (each.name.split(".") for each in imports(path))
        if parts[:2] == ["membrain", folder] and len(parts) > 2 and parts[2] in variants and parts[2] != path.stem
    }
    assert pairs <= SIBLINGS[folder]


@pytest.mark.parametrize("path", modules(GATEWAY), ids=lambda path: str(path.relative_to(GATEWAY)))
def test_the_gateway_knows_neither_command_line_nor_client(path: Path) -> None:
    assert not {each.name for each in imports(path) if each.name.startswith(("membrain_cli", "membrain_client"))}


@pytest.mark.parametrize("path", modules(CLI), ids=lambda path: str(path.relative_to(CLI)))
def test_the_command_line_knows_a_few_rooms_of_the_gateway(path: Path) -> None:
    assert rooms_named_in(path) <= CLI_MAY_IMPORT


@pytest.mark.parametrize("path", modules(CLIENT), ids=lambda path: path.name)
def test_the_client_knows_nothing_of_ours(path: Path) -> None:
    assert not {each.name for each in imports(path) if each.name.split(".")[0] in {"membrain", "membrain_cli"}}


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_dangerous_package_is_used_in_one_place(package: str) -> None:
    users = {
        path.relative_to(GATEWAY.parent).as_posix()
        for path in modules(GATEWAY)
        if any(each.name.split(".")[0] == package for each in imports(path))
    }
    assert users <= ONLY_IN[package]


@pytest.mark.parametrize("call", CALLS_ONLY_IN)
def test_a_dangerous_call_is_made_in_one_place(call: str) -> None:
    users = {
        path.relative_to(GATEWAY.parent).as_posix()
        for path in modules(GATEWAY)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == call
    }
    assert users <= CALLS_ONLY_IN[call]


def test_only_console_prints_in_the_command_line() -> None:
    """So that foreign text passes one filter."""
    users = {
        path.relative_to(CLI).as_posix()
        for path in modules(CLI)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    }
    assert users <= {"console.py"}


@pytest.mark.parametrize("folder", [GATEWAY, CLI, CLIENT], ids=lambda path: path.name)
def test_every_source_file_says_what_it_is_for(folder: Path) -> None:
    silent = [
        str(path) for path in modules(folder) if path.read_text().strip() and not ast.get_docstring(tree_of(path))
    ]
    assert not silent


@pytest.mark.parametrize("folder", [GATEWAY, CLI, CLIENT], ids=lambda path: path.name)
def test_no_file_has_a_name_that_says_nothing(folder: Path) -> None:
    assert not [path for path in modules(folder) if path.stem in NO_NAMES]


def test_nothing_lies_about_at_the_top() -> None:
    """Tracked entries only; what a build leaves behind is ignored by git."""
    import subprocess

    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode != 0:
        entries = {path.name for path in ROOT.iterdir()}
    else:
        entries = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    assert {name for name in entries if not name.startswith(".")} <= TOP_LEVEL


MIRRORS = {GATEWAY: "gateway", CLI: "cli", CLIENT: "client"}
"""Where the tests of each package are."""

TESTED_ELSEWHERE = {
    "gateway/__init__": "a version",
    "gateway/stores/base": "gateway/stores/test_contract.py, over every store",
    "client/__init__": "client/test_client.py",
    "client/_http": "client/test_http.py",
    "client/_retry": "client/test_retry.py",
    "client/_sse": "client/test_sse.py",
    "client/_types": "client/test_types.py",
}
"""Source files without a test file of the same name, and where they are tested instead."""


@pytest.mark.parametrize("folder", MIRRORS, ids=lambda path: path.name)
def test_every_source_file_has_its_test_file(folder: Path) -> None:
    missing = []
    for path in modules(folder):
        place = Path(MIRRORS[folder]) / path.relative_to(folder)
        name = place.with_suffix("").as_posix()
        name = name.replace("__main__", "main")
        if path.name == "__init__.py" or name in TESTED_ELSEWHERE:
            continue
        if not (ROOT / "tests" / place.parent / f"test_{Path(name).name}.py").exists():
            missing.append(name)
    assert not missing
