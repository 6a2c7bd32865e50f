"""The tree of what can go wrong: each branch has a status and a code of its own, and says whether to ask again."""

from __future__ import annotations

import http
import re

import pytest

from membrain import errors
from membrain.errors import (
    AllProvidersFailed,
    BadRequest,
    MembrainError,
    Misconfigured,
    ProviderFailed,
    RateLimited,
    Refused,
    ShuttingDown,
    Unavailable,
)

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MembrainError)]
LEAVES = [kind for kind in ALL if not kind.__subclasses__()]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_the_drawing_shows_what_there_is(kind: type[MembrainError]) -> None:
    """Name, status and place in the tree, as the module's own page draws them."""
    assert errors.__doc__ is not None
    (line,) = re.findall(rf"^.*\b{kind.__name__}\b.*$", errors.__doc__.split("`Refused`")[0], re.MULTILINE)
    number = re.search(rf"{kind.__name__}\s+(\d+)", line)
    if number:
        assert kind.status == int(number[1])
    depth = (len(line) - len(line.lstrip(" │├└─"))) // 3
    assert len(kind.__mro__) - MembrainError.__mro__.__len__() == depth - 1


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_that_exists_and_a_code(kind: type[MembrainError]) -> None:
    assert 400 <= kind.status < 600
    assert http.HTTPStatus(kind.status)
    assert re.fullmatch(r"[a-z_]+", kind.code)
    assert re.fullmatch(r"[a-z_]+", kind.type)


def test_no_two_errors_share_a_code() -> None:
    assert len({kind.code for kind in ALL}) == len(ALL)


def test_no_error_means_two_things() -> None:
    """Ask differently, ask somebody else, wait, or mend the settings: each leaf says one of them."""
    for kind in LEAVES:
        assert sum(issubclass(kind, branch) for branch in (BadRequest, Refused, Unavailable, Misconfigured)) == 1


@pytest.mark.parametrize(
    "kind", [kind for kind in ALL if issubclass(kind, BadRequest | Refused)], ids=lambda k: k.__name__
)
def test_asking_the_same_again_never_helps_where_we_said_no(kind: type[MembrainError]) -> None:
    it_helps_to_wait = {ShuttingDown: True, RateLimited: None}  # the latter by its `Retry-After`
    assert kind.retry is it_helps_to_wait.get(kind, False)


def test_an_upstreams_failure_leaves_that_to_its_status() -> None:
    assert ProviderFailed.retry is AllProvidersFailed.retry is None


def test_the_sentence_is_the_message_and_its_remedy() -> None:
    assert BadRequest("No.").sentence == "No."
    assert BadRequest("No.", hint="Ask again.").sentence == "No. Ask again."
    assert str(BadRequest("No.", hint="Ask again.")) == "No."


def test_headers_are_the_errors_own() -> None:
    given = {"retry-after": "2"}
    error = ShuttingDown("Bye.", headers=given)
    given["x"] = "y"
    assert error.headers == {"retry-after": "2"}
    assert BadRequest("No.").headers is not BadRequest("No.").headers


def test_an_upstreams_words_are_kept_and_missing_ones_are_ours() -> None:
    told = ProviderFailed("Too fast.", provider="openai", status=429, code="rate", type="requests", param="n")
    assert (told.status, told.code, told.type, told.param, told.passing) == (429, "rate", "requests", "n", True)
    plain = ProviderFailed("Gone.")
    assert (plain.status, plain.code, plain.type, plain.provider) == (502, "provider_failed", "api_error", "")
    assert ProviderFailed.status == 502
