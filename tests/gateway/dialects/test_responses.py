"""OpenAI's responses: what is read, what is sent on, and what is picked out of the answers.

How its streams come through whatever the cuts is in `test_table`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseErrorEvent, ResponseStreamEvent
from pydantic import TypeAdapter

from membrain import sse
from membrain.dialects.base import Dialect
from membrain.dialects.responses import Responses, ResponsesReader, tokens_of
from membrain.errors import BadRequest, Forbidden, MembrainError, ProviderFailed, TooLarge
from membrain.records import Tokens
from tests.scripts.recorded import SCRIPTS, Script

RESPONSES = Responses()
HELLO: dict[str, Any] = {"model": "gpt-5", "input": "Hello"}
KNOWN_EVENT = TypeAdapter(ResponseStreamEvent)
USAGE = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}


def body(**more: Any) -> bytes:
    return json.dumps({**HELLO, **more}).encode()


def event(kind: str, **data: Any) -> bytes:
    return sse.encode(json.dumps({"type": kind, **data}).encode(), kind)


def failed(told: dict[str, Any]) -> ProviderFailed:
    return ProviderFailed(json.dumps(told), provider="p")


TEXT = event(
    "response.output_text.delta", item_id="m", output_index=0, content_index=0, delta="four", sequence_number=4
)


# --- reading


@pytest.mark.parametrize(
    "given",
    [
        {"input": "Hello"},
        {"input": [{"role": "user", "content": "Hello"}, {"type": "item_reference", "id": "i"}]},
        {"input": None, "prompt": {"id": "pmpt_1"}},
        {"previous_response_id": "resp_1", "store": False, "background": False, "client_metadata": {"a": [1]}},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_read_once_and_its_bytes_are_kept(given: dict[str, Any], stream: bool) -> None:
    sent = body(**given, stream=stream)
    said = RESPONSES.read(sent, depth=100)
    assert said.body is sent
    assert (said.dialect, said.model, said.stream) == ("responses", "gpt-5", stream)
    assert said.data == json.loads(sent)
    assert "Hello" not in repr(said)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"input": 4}, "input"),
        ({"input": {"role": "user"}}, "input"),
        ({"input": []}, "input"),
        ({"input": ["Hello"]}, "input[0]"),
        ({"stream": "yes"}, "stream"),
        ({"background": True}, "background"),
        ({"api_key": "k"}, "api_key"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        RESPONSES.read(body(**changes), depth=100)
    assert refused.value.param == param
    assert "Hello" not in refused.value.sentence


def test_what_is_nested_too_deep_is_refused() -> None:
    with pytest.raises(TooLarge):
        RESPONSES.read(b'{"model":"m","input":' + b"[" * 10_000 + b"]" * 10_000 + b"}", depth=100)


# --- sending on


def test_a_request_goes_on_as_it_came_but_for_what_has_to_be_said() -> None:
    sent = b'{ "input":"\\u00e9", "model" : "best" , "max_output_tokens":1e2, "stream":true }'
    said = RESPONSES.read(sent, depth=100)
    assert RESPONSES.request_body(said, "best") is sent
    assert RESPONSES.request_body(said, "gpt-5") == sent.replace(b"best", b"gpt-5")
    assert RESPONSES.request_body(said, "best", {"max_output_tokens": 7}) == sent.replace(b"1e2", b"7")


# --- whole answers


def test_a_whole_response_is_passed_on_as_it_came() -> None:
    raw = b'{"object":"response", "output":[ ], "model":"gpt-5-2025","usage":{"input_tokens":3,"output_tokens":2}}'
    chunk = RESPONSES.whole(raw, failed)
    assert chunk.raw is raw
    assert (chunk.whole, chunk.tokens, chunk.model, chunk.failure) == (True, Tokens(3, 2), "gpt-5-2025", None)


def test_a_response_that_failed_is_passed_on_and_told_as_a_failure() -> None:
    raw = json.dumps({"status": "failed", "output": [], "error": {"code": "server_error", "message": "Sorry"}}).encode()
    chunk = RESPONSES.whole(raw, failed)
    assert chunk.raw is raw
    assert chunk.failure is not None
    assert "Sorry" in chunk.failure.message


@pytest.mark.parametrize("script", [each for each in SCRIPTS if each.dialect == "responses" and each.whole], ids=str)
def test_recorded_responses_are_responses(script: Script) -> None:
    """So that what the scripts show is what OpenAI sends."""
    assert script.whole
    # The package says of some members that they are always there, where the API leaves them out.
    Response.model_validate(with_newer_members(script.whole))
    assert RESPONSES.whole(json.dumps(script.whole).encode(), failed).tokens == script.tokens
    for each in sse.parse(script.raw):
        KNOWN_EVENT.validate_python(with_newer_members(json.loads(each.data)))


def with_newer_members(data: Any) -> Any:
    """*data*, as the newest package wants to have it."""
    if isinstance(data, list):
        return [with_newer_members(each) for each in data]
    if not isinstance(data, dict):
        return data
    more: dict[str, Any] = {}
    if "cached_tokens" in data:
        more = {"cache_write_tokens": 0}
    if data.get("type") == "response.function_call_arguments.done":
        more = {"name": "weather"}
    return {**more, **{name: with_newer_members(value) for name, value in data.items()}}


@pytest.mark.parametrize("told", [{}, {"error": {"message": "Busy"}}, {"output": None}, {"output": "text"}])
def test_what_has_no_output_is_no_response(told: dict[str, Any]) -> None:
    with pytest.raises(ProviderFailed) as raised:
        RESPONSES.whole(json.dumps(told).encode(), failed)
    assert raised.value.message == json.dumps(told)


@pytest.mark.parametrize("raw", [b"[]", b"null", b"{", b"\xff", b"", b"[" * 100_000])
def test_what_is_no_object_is_no_answer(raw: bytes) -> None:
    with pytest.raises(ProviderFailed, match=r"\{\}"):
        RESPONSES.whole(raw, failed)


# --- streams


def test_a_piece_of_a_text_is_the_very_same_object() -> None:
    reader = ResponsesReader(failed)
    (chunk,) = reader.feed(TEXT)
    assert chunk.raw is TEXT
    assert (chunk.tokens, chunk.model, chunk.last) == (None, None, False)


def test_comments_say_nothing_until_it_has_begun() -> None:
    reader = ResponsesReader(failed)
    assert not reader.speaks(b": ping\n\n")
    assert list(reader.feed(b": ping\n\n")) == []
    assert [chunk.raw for chunk in reader.feed(TEXT)] == [TEXT]
    assert [chunk.raw for chunk in reader.feed(b": ping\n\n")] == [b": ping\n\n"]


def test_the_model_is_told_as_soon_as_it_is_known() -> None:
    (chunk,) = ResponsesReader(failed).feed(event("response.created", response={"model": "gpt-5-2025"}) + TEXT)
    assert chunk.model == "gpt-5-2025"


@pytest.mark.parametrize("kind", ["completed", "incomplete", "failed"])
def test_the_end_is_a_piece_of_its_own_and_tells_what_was_used(kind: str) -> None:
    response = {"model": "gpt-5-2025", "usage": USAGE, "error": {"message": "Sorry"} if kind == "failed" else None}
    end = event(f"response.{kind}", response=response)
    reader = ResponsesReader(failed)
    text, last = reader.feed(TEXT + end + TEXT)
    assert (text.raw, text.last) == (TEXT, False)
    assert (last.raw, last.last, last.tokens, last.model) == (end, True, Tokens(9, 4), "gpt-5-2025")
    assert (last.failure is not None) is (kind == "failed")
    assert reader.over
    assert reader.ended


@pytest.mark.parametrize("before", [b"", b": ping\n\n", TEXT])
@pytest.mark.parametrize(
    "told",
    [
        {"code": "server_error", "message": "Busy", "param": None, "sequence_number": 3},
        {"error": {"type": "server_error", "code": "server_error", "message": "Busy"}},
    ],
)
def test_an_error_is_raised_after_what_came_before_it(before: bytes, told: dict[str, Any]) -> None:
    given = ResponsesReader(failed).feed(before + event("error", **told) + TEXT)
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
        ({"input_tokens": True, "output_tokens": 1}, None),
        ({"input_tokens": 1, "output_tokens": -1}, None),
        (USAGE, Tokens(9, 4)),
        ({**USAGE, "input_tokens_details": None, "output_tokens_details": "x"}, Tokens(9, 4)),
        (
            {
                **USAGE,
                "input_tokens_details": {"cached_tokens": 5},
                "output_tokens_details": {"reasoning_tokens": 3},
            },
            Tokens(9, 4, cached=5, reasoning=3),
        ),
    ],
)
def test_usage_counts_when_it_makes_sense(usage: object, tokens: Tokens | None) -> None:
    assert tokens_of(usage) == tokens


# --- how long an answer is, and its end


@pytest.mark.parametrize(
    ("raw", "length"),
    [
        (TEXT + TEXT, (2, 8)),
        (event("response.function_call_arguments.delta", delta='{"a'), (1, 3)),
        (event("response.reasoning_summary_text.delta", delta="hm"), (1, 2)),
        (event("response.output_text.done", text="again, and not twice as long"), (0, 0)),
        (event("response.completed", response={"output": [{"content": [{"text": "again"}]}]}), (0, 0)),
        (event("odd", delta={"x": 1}), (1, 1)),
        (b"data: not json\n\n", (1, 1)),
    ],
)
def test_what_is_said_is_measured_once(raw: bytes, length: tuple[int, int]) -> None:
    assert RESPONSES.length_of(raw) == length


def test_an_answer_finishes_with_its_last_event() -> None:
    assert RESPONSES.finishes(TEXT + event("response.completed", response={}))
    assert not RESPONSES.finishes(event("response.output_text.delta", delta='"type":"response.completed"'))
    assert not RESPONSES.finishes(event("response.output_text.done", text="x"))


def test_nobody_else_can_write_the_end() -> None:
    said = RESPONSES.read(body(stream=True), depth=100)
    assert RESPONSES.end() == b""
    dialect: Dialect = RESPONSES
    assert dialect.cut_short(TEXT, said, "budget_exceeded") is None
    assert RESPONSES.shows(said, {"type": "anything"})


# --- errors


@pytest.mark.parametrize(
    "error",
    [
        BadRequest("No.", param="input[0]"),
        Forbidden("No.", hint="Ask again."),
        ProviderFailed("No.", provider="p", status=429, code="rate_limit", type="requests"),
        MembrainError('Quotes " and \n lines and é.'),
    ],
)
def test_errors_have_openais_shape_and_the_sentence_again(error: MembrainError) -> None:
    told = json.loads(RESPONSES.error(error))
    assert told == {
        "error": {"message": error.sentence, "type": error.type, "param": error.param, "code": error.code},
        "detail": error.sentence,
    }
    (event,) = sse.parse(RESPONSES.error_event(error))
    assert event.name == "error"
    shown = ResponseErrorEvent.model_validate_json(event.data)
    assert (shown.message, shown.code, shown.param) == (error.sentence, error.code, error.param)
