"""Anthropic's messages: what is read, what is sent on, and what is picked out of the answers.

How its streams come through whatever the cuts is in `test_table`.
"""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.shared import ErrorResponse
from pydantic import TypeAdapter

from membrain import sse
from membrain.dialects.messages import ERROR_TYPES, CountTokens, Messages, MessagesReader, tokens_of
from membrain.errors import BadRequest, BudgetExceeded, Forbidden, MembrainError, NotFound, ProviderFailed, TooLarge
from membrain.records import Tokens
from tests.scripts.recorded import SCRIPTS, Script

MESSAGES = Messages()
HELLO: dict[str, Any] = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
DOCUMENTED = "request_too_large"
"""A type of error that Anthropic's page on errors has, and its package has not."""
KNOWN_EVENT = TypeAdapter(RawMessageStreamEvent)


def body(**more: Any) -> bytes:
    return json.dumps({**HELLO, **more}).encode()


def event(kind: str, **data: Any) -> bytes:
    return sse.encode(json.dumps({"type": kind, **data}).encode(), kind)


def failed(told: dict[str, Any]) -> ProviderFailed:
    return ProviderFailed(json.dumps(told), provider="p")


TEXT = event("content_block_delta", index=3, delta={"type": "text_delta", "text": "four"})
PING = event("ping")
STOP = event("message_stop")


# --- reading


@pytest.mark.parametrize("dialect", [Messages(), CountTokens()], ids=lambda each: each.name)
def test_a_request_is_read_once_and_its_bytes_are_kept(dialect: Messages) -> None:
    sent = body(stream=True, system="Be brief.", thinking={"type": "enabled"}, unknown={"deep": [1]})
    said = dialect.read(sent, depth=100)
    assert said.body is sent
    assert (said.dialect, said.model, said.stream) == (dialect.name, "claude-x", dialect.name == "messages")
    assert said.data == json.loads(sent)
    assert "Hello" not in repr(said)


@pytest.mark.parametrize("dialect", [Messages(), CountTokens()], ids=lambda each: each.name)
@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"model": "a\r\nb"}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [*HELLO["messages"], "Hello"]}, "messages[1]"),
        ({"stream": "yes"}, "stream"),
        ({"base_url": "https://elsewhere.example"}, "base_url"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(dialect: Messages, changes: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        dialect.read(body(**changes), depth=100)
    assert refused.value.param == param
    assert "Hello" not in refused.value.sentence


def test_what_is_nested_too_deep_is_refused() -> None:
    with pytest.raises(TooLarge):
        MESSAGES.read(b'{"model":"m","messages":' + b"[" * 10_000 + b"]" * 10_000 + b"}", depth=100)


# --- sending on


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_goes_on_as_it_came(stream: bool) -> None:
    said = MESSAGES.read(body(stream=stream, cache_control={"type": "ephemeral"}), depth=100)
    assert MESSAGES.request_body(said, "claude-x") is said.body


def test_only_what_has_to_be_said_is_changed() -> None:
    sent = b'{ "messages":[{"role":"user","content":"\\u00e9"}], "model" : "opus" , "max_tokens":1e2 }'
    said = MESSAGES.read(sent, depth=100)
    assert MESSAGES.request_body(said, "claude-x") == sent.replace(b"opus", b"claude-x")
    assert MESSAGES.request_body(said, "opus", {"max_tokens": 7}) == sent.replace(b"1e2", b"7")


# --- whole answers


def test_a_whole_message_is_passed_on_as_it_came() -> None:
    raw = b'{"type":"message", "content":[ ], "model":"claude-x-2025","usage":{"input_tokens":3,"output_tokens":2}}'
    chunk = MESSAGES.whole(raw, failed)
    assert chunk.raw is raw
    assert (chunk.whole, chunk.tokens, chunk.model) == (True, Tokens(3, 2), "claude-x-2025")


@pytest.mark.parametrize("script", [each for each in SCRIPTS if each.dialect == "messages" and each.whole], ids=str)
def test_recorded_messages_are_messages(script: Script) -> None:
    """So that what the scripts show is what Anthropic sends."""
    Message.model_validate(script.whole)
    chunk = MESSAGES.whole(json.dumps(script.whole).encode(), failed)
    assert chunk.tokens == script.tokens
    for each in sse.parse(script.raw):
        if each.name != "ping":
            KNOWN_EVENT.validate_json(each.data)


@pytest.mark.parametrize(
    "told",
    [{"type": "error", "error": {"type": "api_error"}}, {"type": "error"}, {"error": "Busy"}, {"error": {"a": 1}}],
)
def test_an_error_is_no_message(told: dict[str, Any]) -> None:
    with pytest.raises(ProviderFailed) as raised:
        MESSAGES.whole(json.dumps(told).encode(), failed)
    assert raised.value.message == json.dumps(told)


@pytest.mark.parametrize("raw", [b"[]", b"null", b"{", b"\xff", b"", b"[" * 100_000])
def test_what_is_no_object_is_no_answer(raw: bytes) -> None:
    for dialect in (MESSAGES, CountTokens()):
        with pytest.raises(ProviderFailed, match=r"\{\}"):
            dialect.whole(raw, failed)


def test_a_count_costs_nothing() -> None:
    chunk = CountTokens().whole(b'{ "input_tokens": 2095 }', failed)
    assert (chunk.raw, chunk.tokens, chunk.whole) == (b'{ "input_tokens": 2095 }', Tokens(0, 0), True)
    with pytest.raises(ProviderFailed):
        CountTokens().whole(b'{"input_tokens":"many"}', failed)


# --- streams


def test_a_piece_of_a_text_is_the_very_same_object() -> None:
    reader = MessagesReader(failed)
    (chunk,) = reader.feed(TEXT)
    assert chunk.raw is TEXT
    assert (chunk.tokens, chunk.model, chunk.last) == (None, None, False)


@pytest.mark.parametrize("raw", [PING, b": ping\n\n", PING + b": ping\n\n", b"event: ping\n\n"])
def test_pings_and_comments_say_nothing(raw: bytes) -> None:
    reader = MessagesReader(failed)
    assert not reader.speaks(raw)
    assert reader.speaks(raw + TEXT)
    assert list(reader.feed(raw)) == []
    assert [chunk.raw for chunk in reader.feed(raw + TEXT)] == [raw + TEXT]
    assert [chunk.raw for chunk in reader.feed(raw)] == [raw], "once it has begun they pass"


def test_counts_are_running_totals() -> None:
    """What is told again replaces what was told; what is not told again stays."""
    reader = MessagesReader(failed)
    start = {
        "id": "m",
        "model": "claude-x-2025",
        "usage": {"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 1},
    }
    (first,) = reader.feed(event("message_start", message=start) + TEXT)
    assert (first.tokens, first.model) == (Tokens(12, 1, cached=7), "claude-x-2025")
    (delta,) = reader.feed(event("message_delta", delta={}, usage={"output_tokens": 30, "input_tokens": None}))
    assert delta.tokens == Tokens(12, 30, cached=7)
    (end,) = reader.feed(STOP)
    assert (end.raw, end.last, end.tokens) == (STOP, True, None)
    assert reader.over
    assert reader.ended


def test_usage_in_an_event_that_is_not_about_usage_is_not_counted() -> None:
    reader = MessagesReader(failed)
    (chunk,) = reader.feed(event("content_block_start", index=0, content_block={}, usage={"output_tokens": 9}))
    assert chunk.tokens is None


@pytest.mark.parametrize("before", [b"", PING, TEXT])
@pytest.mark.parametrize("name", [True, False])
def test_an_error_is_raised_after_what_came_before_it(before: bytes, name: bool) -> None:
    told = {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}
    raw = event("error", error=told["error"]) if name else sse.encode(json.dumps(told).encode())
    given = MessagesReader(failed).feed(before + raw + TEXT)
    if before == TEXT:
        assert next(given).raw == before
    with pytest.raises(ProviderFailed, match="Busy"):
        next(given)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, None),
        ("many", None),
        ({}, None),
        ({"input_tokens": 1}, None),
        ({"input_tokens": 1, "output_tokens": -1}, None),
        ({"output_tokens": 2}, Tokens(0, 2)),
        ({"input_tokens": None, "output_tokens": 2}, Tokens(0, 2)),
        ({"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": None}, Tokens(1, 2)),
        (
            {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 8},
            Tokens(13, 2, cached=4, written=8),
        ),
        (
            {"input_tokens": 1, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 5}},
            Tokens(1, 9, reasoning=5),
        ),
        ({"input_tokens": 1, "output_tokens": 9, "output_tokens_details": "x"}, Tokens(1, 9)),
    ],
)
def test_usage_counts_when_it_makes_sense(usage: object, tokens: Tokens | None) -> None:
    assert tokens_of(usage) == tokens


# --- how long an answer is, and its end before its time


@pytest.mark.parametrize(
    ("raw", "length"),
    [
        (TEXT + TEXT, (2, 8)),
        (event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}), (1, 2)),
        (event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": '{"a'}), (1, 3)),
        (PING + STOP, (0, 0)),
        (event("content_block_delta", index=0, delta={"text": 4}), (1, 1)),
        (b"data: not json\n\n", (1, 1)),
    ],
)
def test_what_is_said_is_measured(raw: bytes, length: tuple[int, int]) -> None:
    assert MESSAGES.length_of(raw) == length


@pytest.mark.parametrize("raw", [STOP, event("message_delta", delta={}), TEXT + STOP])
def test_an_answer_finishes_when_it_says_why(raw: bytes) -> None:
    assert MESSAGES.finishes(raw)


def test_words_about_the_end_are_not_the_end() -> None:
    """Else a model could talk on for ever, if it only kept saying so."""
    raw = event("content_block_delta", index=0, delta={"text": '"type":"message_delta" message_stop'})
    assert not MESSAGES.finishes(raw)
    (chunk,) = MessagesReader(failed).feed(raw)
    assert not chunk.last


@pytest.mark.parametrize(
    ("raw", "open"),
    [
        (TEXT, [3]),
        (event("content_block_start", index=2, content_block={"type": "text", "text": ""}), [2]),
        (TEXT + event("content_block_stop", index=3), []),
        (TEXT + event("content_block_stop", index=3) + event("content_block_start", index=4), [4]),
    ],
)
def test_an_answer_that_is_cut_short_ends_as_one_that_reached_its_length(raw: bytes, open: list[int]) -> None:
    said = MESSAGES.read(body(stream=True), depth=100)
    chunk = MESSAGES.cut_short(raw, said, "budget_exceeded")
    assert chunk.raw.startswith(raw)
    assert chunk.last
    told = [json.loads(each.data) for each in sse.parse(chunk.raw.removeprefix(raw))]
    assert [each["index"] for each in told if each["type"] == "content_block_stop"] == open
    assert [each["type"] for each in told[-2:]] == ["message_delta", "message_stop"]
    assert (told[-2]["delta"]["stop_reason"], told[-2]["membrain"]) == ("max_tokens", {"reason": "budget_exceeded"})
    assert [each.name for each in sse.parse(chunk.raw)] == [
        json.loads(each.data)["type"] for each in sse.parse(chunk.raw)
    ]
    for each in told:
        KNOWN_EVENT.validate_python(each)


def test_the_end_is_for_whoever_writes_the_other_events() -> None:
    assert MESSAGES.end() == b""


def test_everything_is_for_everybody() -> None:
    assert MESSAGES.shows(MESSAGES.read(body(), depth=100), {"type": "anything"})


# --- errors


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadRequest("No.", param="messages[0]"), "invalid_request_error"),
        (NotFound("No."), "not_found_error"),
        (Forbidden("No.", hint="Ask again."), "permission_error"),
        (BudgetExceeded("No."), "billing_error"),
        (TooLarge("No."), "request_too_large"),
        (ProviderFailed("No.", provider="p", status=429, type="rate_limit_error"), "rate_limit_error"),
        (ProviderFailed("No.", provider="p", status=529, type="overloaded_error"), "overloaded_error"),
        (ProviderFailed("No.", provider="p", status=502), "api_error"),
        (ProviderFailed("No.", provider="p", status=418, type="odd"), "invalid_request_error"),
        (MembrainError('Quotes " and \n lines and é.'), "api_error"),
    ],
)
def test_errors_have_anthropics_shape_and_the_sentence_again(error: MembrainError, kind: str) -> None:
    told = json.loads(MESSAGES.error(error))
    if kind != DOCUMENTED:
        ErrorResponse.model_validate(told)
    assert (told["type"], told["error"]["type"], told["error"]["message"]) == ("error", kind, error.sentence)
    assert told["detail"] == error.sentence
    (event,) = sse.parse(MESSAGES.error_event(error))
    assert event.name == "error"
    assert json.loads(event.data) == {"type": "error", "error": told["error"]}


def test_the_types_are_those_that_anthropic_has() -> None:
    known = get_args(ErrorResponse.model_fields["error"].annotation)
    assert {*ERROR_TYPES.values()} - {DOCUMENTED} == {
        get_args(each.model_fields["type"].annotation)[0] for each in known
    } - {"api_error"}
