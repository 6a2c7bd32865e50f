"""How a dialect ends, how it words an error, and how it is written."""

from __future__ import annotations

from typing import Any

import pytest

from membrain_cli.conform.compare import events_of
from membrain_cli.conform.dialects import DONE, Vendor, block, blocks, error_body, misshapen, written
from membrain_cli.conform.upstream import DIALECTS

STREAMED = [dialect for dialect in DIALECTS if dialect.stream is not None]


@pytest.mark.parametrize("dialect", STREAMED, ids=lambda dialect: dialect.name)
def test_every_stream_ends_once_and_last(dialect: Any) -> None:
    events = events_of(b"".join(blocks(dialect.stream({"model": "m"}, ["Hello."]))))
    assert [dialect.is_end(event) for event in events] == [False] * (len(events) - 1) + [True]
    assert not any(dialect.is_error(event) for event in events)


@pytest.mark.parametrize("dialect", STREAMED, ids=lambda dialect: dialect.name)
def test_an_error_event_is_known(dialect: Any) -> None:
    event = (
        {"type": "error", "message": "No."} if dialect.name == "responses" else error_body(dialect.vendor, "t", "No.")
    )
    assert dialect.is_error((None, event))
    assert not dialect.is_error((None, DONE))
    assert not dialect.is_error((None, {"error": None}))


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_the_vendors_own_errors_are_in_shape_and_the_others_are_not(vendor: Vendor) -> None:
    other: Vendor = "anthropic" if vendor == "openai" else "openai"
    assert misshapen(vendor, error_body(vendor, "type", "Words.")) == ""
    wrong: list[Any] = [error_body(other, "type", "Words."), {}, [], "page", {"error": "Words."}, {"detail": "Words."}]
    assert all(misshapen(vendor, each) for each in wrong)


def test_an_error_without_words_is_out_of_shape() -> None:
    assert misshapen("openai", {"error": {"message": None, "type": "t", "param": None, "code": None}})


def test_json_is_written_short_and_unescaped() -> None:
    assert written({"a": ["é", 1.0]}) == '{"a":["é",1.0]}'.encode()


def test_an_event_is_written_as_the_providers_do() -> None:
    assert block(("a", {"b": 1})) == b'event: a\ndata: {"b":1}\n\n'
    assert block((None, DONE)) == b"data: [DONE]\n\n"
