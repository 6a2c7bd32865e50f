"""The surface of OpenAI and Anthropic: each path of their SDKs is answered, or refused by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from membrain.api.admin import ROUTES
from membrain.api.surface import UNCOVERED, bodiless, is_anthropics, not_covered, plain, spellings, words_for
from membrain.dialects.table import BY_PATH

PATH = re.compile(r'f?"((?:/v1)?/[a-z_]+(?:/[a-z_]+|/\{[a-z_]+\})*)(?:\?[a-z=]+)?"')
ANSWERED = [re.compile(re.sub(r"\{id(:path)?\}", "[^/]+", path)) for _, path, _, _ in ROUTES]


def paths_of(package: Any) -> set[str]:
    """Every path that *package* asks for, as it is asked for, in its resources."""
    folder = Path(package.__file__).parent / "resources"
    found = {path for file in folder.rglob("*.py") for path in PATH.findall(file.read_text())}
    return {plain(re.sub(r"\{[a-z_]+\}", "x1", path)) for path in found}


def is_answered(path: str) -> bool:
    return path in BY_PATH or any(route.fullmatch(path) for route in ANSWERED)


@pytest.mark.parametrize("package", [openai, anthropic], ids=lambda package: package.__name__)
def test_every_path_of_the_sdks_is_answered_or_refused_by_name(package: Any) -> None:
    paths = {path for path in paths_of(package) if path.startswith("/v1/")}
    assert len(paths) > 40
    assert not {path for path in paths if not is_answered(path) and not_covered(path) is None}


def test_no_path_of_the_sdks_has_another_front() -> None:
    assert not {path for package in (openai, anthropic) for path in paths_of(package) if not path.startswith("/v1/")}


@pytest.mark.parametrize(
    "path", [*BY_PATH, "/v1/models", "/v1/models/m", "/v1/responses/resp_1", "/v1", "/health", "/"]
)
def test_what_is_answered_is_not_refused(path: str) -> None:
    assert not_covered(path) is None


@pytest.mark.parametrize(
    "path",
    [
        *(f"/v1/{key}/x1" for key in UNCOVERED),
        "/v1/audio/speech",
        "/v1/files/f/content",
        "/v1/chat/completions/c/messages",
    ],
)
def test_a_refusal_says_what_it_is_about_and_that_nothing_was_passed_on(path: str) -> None:
    refusal = not_covered(path)
    assert refusal is not None
    assert (refusal.status, refusal.code) == (501, "not_implemented")
    assert "nothing of this was passed on" in refusal.message


@pytest.mark.parametrize("path", ["/v1/filesystem", "/v1/audio2/speech", "/v1/x/files", "/files/..", "/api/files", "*"])
def test_what_only_looks_like_it_is_not_there(path: str) -> None:
    assert not_covered(path) is None


@pytest.mark.parametrize("path", BY_PATH)
def test_every_spelling_of_a_path_is_that_path(path: str) -> None:
    assert {plain(each) for each in spellings(path)} == {path}
    assert len(set(spellings(path))) == 3


@pytest.mark.parametrize(
    "path", ["/", "*", "", "/v1", "/v1/v1", "/api/audit", "/health", "/v2/models", "//models", "/V1/models"]
)
def test_what_is_not_of_this_surface_is_left_as_it_is(path: str) -> None:
    assert plain(path) == path


@pytest.mark.parametrize(
    ("path", "header", "name"),
    [
        *((path, False, words.name) for path, words in BY_PATH.items()),
        ("/v1/messages/batches", False, "messages"),
        ("/v1/complete", False, "messages"),
        ("/v1/files", True, "messages"),
        ("/v1/files", False, "chat"),
        ("/v1/models", True, "messages"),
        ("/v1/models", False, "chat"),
        ("/v1/chat/completions", True, "chat"),
        ("/", False, "chat"),
        ("/v1", False, "chat"),
    ],
)
def test_errors_are_told_in_the_words_of_who_asks(path: str, header: bool, name: str) -> None:
    scope = {"headers": [(b"anthropic-version", b"2023-06-01")] if header else [(b"accept", b"*/*")]}
    assert is_anthropics(scope) is header
    assert words_for(path, scope).name == name


def test_a_body_is_of_no_kind_where_nobody_reads_it() -> None:
    assert bodiless("/v1/responses/resp_1/cancel")
    assert bodiless("/v1/audio/transcriptions")
    assert not any(bodiless(path) for path in ("/v1/responses/resp_1", "/v1/responses", "/api/keys", "/health"))
