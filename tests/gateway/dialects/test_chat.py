"""OpenAI's chat completions: what is read, what is sent on, and what is picked out of the answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrain import sse
from membrain.dialects.base import model_of
from membrain.dialects.chat import (
    DONE,
    Chat,
    ChatReader,
    before_error,
    finishes,
    request_body,
    tokens_of,
    usage_in,
    usage_in_body,
    wants_usage,
    without_end,
)
from membrain.errors import BadRequest, Forbidden, MembrainError, ProviderFailed, TooLarge
from membrain.records import Tokens

CHAT = Chat()
HELLO: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def body(**more: Any) -> bytes:
    return json.dumps({**HELLO, **more}).encode()


def event(**data: Any) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


# --- reading


def test_a_request_is_read_once_and_its_bytes_are_kept() -> None:
    sent = body(stream=True, tools=[{"type": "function"}], unknown={"deep": [1]})
    said = CHAT.read(sent, depth=100)
    assert said.body is sent
    assert (said.dialect, said.model, said.stream) == ("chat", "gpt-4o", True)
    assert said.data == json.loads(sent)


def test_a_request_shows_nobody_what_it_says() -> None:
    assert "Hello" not in repr(CHAT.read(body(), depth=100))


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 4}, "model"),
        ({"model": ""}, "model"),
        ({"model": ["gpt-4o"]}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": {"role": "user"}}, "messages"),
        ({"messages": [HELLO["messages"][0], "Hello"]}, "messages[1]"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        CHAT.read(body(**changes), depth=100)
    assert refused.value.param == param
    assert "Hello" not in refused.value.sentence


def test_what_is_nested_too_deep_is_refused() -> None:
    with pytest.raises(TooLarge):
        CHAT.read(b'{"model":"m","messages":' + b"[" * 10_000 + b"]" * 10_000 + b"}", depth=100)


# --- sending on


def test_a_whole_request_goes_on_as_it_came() -> None:
    said = CHAT.read(body(unknown=1), depth=100)
    assert request_body(said, "gpt-4o") is said.body


def test_a_stream_that_asks_for_its_usage_goes_on_as_it_came() -> None:
    said = CHAT.read(body(stream=True, stream_options={"include_usage": True}), depth=100)
    assert request_body(said, "gpt-4o") is said.body


@pytest.mark.parametrize("options", [{}, {"stream_options": None}, {"stream_options": {"include_usage": False}}])
def test_a_stream_that_does_not_is_made_to(options: dict[str, Any]) -> None:
    said = CHAT.read(body(stream=True, **options), depth=100)
    sent = json.loads(request_body(said, "gpt-4o"))
    assert sent == {**said.data, "stream_options": {"include_usage": True}}


def test_other_options_of_a_stream_stay() -> None:
    said = CHAT.read(body(stream=True, stream_options={"include_obfuscation": False}), depth=100)
    assert json.loads(request_body(said, "m"))["stream_options"] == {
        "include_obfuscation": False,
        "include_usage": True,
    }


def test_the_upstreams_name_of_the_model_takes_the_place_of_ours() -> None:
    sent = b'{ "messages":[{"role":"user","content":"\\u00e9"}], "model" : "ollama/llama3" , "seed":1.0 }'
    said = CHAT.read(sent, depth=100)
    assert request_body(said, "llama3") == sent.replace(b"ollama/llama3", b"llama3")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [(None, False), ({}, False), ({"include_usage": True}, True), ({"include_usage": 1}, False), ("x", False)],
)
def test_usage_is_wanted_when_it_was_asked_for(options: object, wanted: bool) -> None:
    assert wants_usage(CHAT.read(body(stream_options=options), depth=100)) is wanted


# --- the end of a stream


@pytest.mark.parametrize("ends", ["\n\n", "\r\n\r\n", "\r\r"])
@pytest.mark.parametrize("end", ["data: [DONE]", "data:[DONE]"])
@pytest.mark.parametrize("before", ["", 'data: {"a":1}', ': ping\ndata: {"a":1}'])
@pytest.mark.parametrize("after", ["", "data: more"])
def test_the_end_is_found_and_what_follows_it_is_dropped(ends: str, end: str, before: str, after: str) -> None:
    kept = (before + ends).encode() if before else b""
    last = (end + ends).encode()
    assert without_end(kept + last + after.encode()) == (kept, last)


@pytest.mark.parametrize(
    "end", [b": bye\ndata: [DONE]\n\n", b"event: done\nid: 9\ndata: [DONE]\n\n", b"data: [DONE] \n\n"]
)
def test_the_end_is_a_whole_event(end: bytes) -> None:
    """Also its name and its comments: half of it passed on alone would be put before what is still held back."""
    assert without_end(event(choices=[]) + end) == (event(choices=[]), end)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b'data: {"content":"data: [DONE]"}\n\n',
        b'data: {"content":"\\ndata: [DONE]"}\n\n',
        b": data: [DONE]\n\n",
        b"event: x [DONE]\n\n",
        b'data: {"a":["[DONE]"]}\n\n',
        b'data: {"a":\ndata: ["[DONE]"]}\n\n',
        b"data: 1\ndata: [DONE]\n\n",
    ],
)
def test_words_about_the_end_are_not_the_end(raw: bytes) -> None:
    assert without_end(raw) == (raw, b"")


def test_the_end_is_written_as_openai_writes_it() -> None:
    assert CHAT.end() == DONE == b"data: [DONE]\n\n"


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
def test_a_choice_finishes_when_it_says_why(reason: str) -> None:
    assert finishes(event(choices=[{"index": 0, "delta": {}, "finish_reason": reason}]))


def test_a_choice_that_goes_on_has_not_finished() -> None:
    assert not finishes(event(choices=[{"delta": {"content": '"finish_reason":"stop"'}, "finish_reason": None}]))
    assert not finishes(event(choices=[{"delta": {}, "finish_reason": ""}])), "as some servers say that it goes on"


def finish(index: int | None = 0, why: str | None = "stop") -> bytes:
    place = {} if index is None else {"index": index}
    return event(choices=[{**place, "delta": {}, "finish_reason": why}])


@pytest.mark.parametrize(
    ("asked", "ends", "over"),
    [
        ({}, [finish()], True),
        ({}, [finish(None)], True),
        ({}, [], False),
        ({"n": None}, [finish()], True),
        ({"n": True}, [finish()], True),
        ({"n": "2"}, [finish()], True),
        ({"n": 2}, [finish(0)], False),
        ({"n": 2}, [finish(0), finish(0)], False),
        ({"n": 2}, [finish(1), finish(0, None)], False),
        ({"n": 2}, [finish(1), finish(0)], True),
        ({"n": 2}, [finish(1) + finish(0)], True),
        ({"prompt": ["a", "b"]}, [finish()], True),
    ],
)
def test_a_stream_is_over_when_every_choice_has_finished(asked: dict[str, Any], ends: list[bytes], over: bool) -> None:
    reader = CHAT.reader(CHAT.read(body(stream=True, **asked), depth=100), failed)
    for raw in [event(choices=[{"delta": {"content": "a"}}]), *ends]:
        assert [chunk.raw for chunk in reader.feed(raw)] == [raw]
    assert (reader.over, reader.ended) == (over, False)


@pytest.mark.parametrize(
    ("end", "passed"),
    [
        (DONE, []),
        (b"data:[DONE]\n\n", [b"data:[DONE]\n\n"]),
        (b"data: [DONE]\r\n\r", [b"data: [DONE]\r\n\r\n"]),
        (b": bye\ndata: [DONE]\n\n", [b": bye\ndata: [DONE]\n\n"]),
    ],
)
def test_the_end_is_ours_to_write_where_it_is_spelled_as_ours(end: bytes, passed: list[bytes]) -> None:
    """So that it is not written before the outcome is on record."""
    reader = ChatReader(failed, hide=False)
    assert [chunk.last for chunk in reader.feed(event(choices=[]))] == [False]
    last = list(reader.feed(end))
    assert [chunk.raw for chunk in last] == passed
    assert all(chunk.last for chunk in last)
    assert reader.over
    assert reader.ended


@pytest.mark.parametrize("end", [DONE, b"data: [DONE]\r\n\r\n"])
def test_an_end_before_anything_was_said_is_no_answer(end: bytes) -> None:
    reader = ChatReader(failed, hide=False)
    assert list(reader.feed(b": waiting\n\n" + end)) == []


# --- usage


def test_the_usage_event_is_hidden_from_who_did_not_ask() -> None:
    piece = event(choices=[{"index": 0, "delta": {"content": "a"}}])
    raw, tokens = usage_in(piece + event(choices=[], usage=USAGE), hide=True)
    assert [json.loads(each.data) for each in sse.parse(raw)] == [json.loads(piece[6:])]
    assert tokens == Tokens(9, 4)


def test_the_usage_event_is_left_to_who_asked() -> None:
    raw = event(choices=[], usage=USAGE)
    assert usage_in(raw, hide=False) == (raw, Tokens(9, 4))


def test_usage_beside_a_choice_is_counted_and_the_choice_stays() -> None:
    """As some servers tell it: with the last words."""
    raw, tokens = usage_in(event(choices=[{"delta": {"content": "a"}}], usage=USAGE), hide=True)
    assert b'"content"' in raw
    assert tokens == Tokens(9, 4)


@pytest.mark.parametrize("raw", [event(usage=None, choices=[{}]), event(choices=[{}], usage=None)])
@pytest.mark.parametrize("compact", [True, False])
def test_the_null_that_comes_of_asking_is_hidden_too(raw: bytes, compact: bool) -> None:
    """It breaks clients that read usage wherever its name stands."""
    raw = raw.replace(b": null", b":null").replace(b", ", b",") if compact else raw
    shown, tokens = usage_in(raw, hide=True)
    assert json.loads(sse.parse(shown)[0].data) == {"choices": [{}]}
    assert tokens is None
    assert usage_in(raw, hide=False) == (raw, None)


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from('",usage:nl {}\\'), max_size=40) | st.just('","usage":null,"x":"'), st.booleans())
def test_words_about_usage_are_left_alone(text: str, compact: bool) -> None:
    separators = (",", ":") if compact else (", ", ": ")
    data = {"choices": [{"delta": {"content": text, "list": ["usage", None, text]}}]}
    raw = b"data: " + json.dumps(data, separators=separators).encode() + b"\n\n"
    shown, tokens = usage_in(raw, hide=True)
    assert json.loads(sse.parse(shown)[0].data) == data
    assert tokens is None


def test_an_event_without_usage_is_the_very_same_object() -> None:
    raw = event(choices=[{"delta": {"content": "a"}}])
    assert usage_in(raw, hide=True)[0] is raw


@pytest.mark.parametrize(
    "kept",
    [
        b'event: chunk\ndata: {"choices":[{}]}\n\n',
        b': ping\r\n\r\ndata: { "choices" : [ {} ] }\r\n\r\n',
        b'id: 1\ndata: {"choices":\ndata: [{}]}\n\n',
    ],
)
def test_all_but_the_usage_survives_the_hiding(kept: bytes) -> None:
    """Names, comments, line ends and spacing, wherever the usage is."""
    usage = event(choices=[], usage=USAGE)
    for raw in (kept + usage, usage + kept, usage + kept + usage):
        assert usage_in(raw, hide=True) == (kept, Tokens(9, 4))


@pytest.mark.parametrize(
    "data",
    [
        b'{"choices":[{}],"provider":{"name":"x","usage":null}}',
        b'{"choices":[{}],"provider":{"name":"x","usage":null,"y":1},"z":[{"usage":null}]}',
        b'{"provider":{"usage":null,"y":1},"choices":[{}]}',
        b'{"choices":[{"delta":{"content":",\\"usage\\":null,"}}]}',
    ],
)
@pytest.mark.parametrize("ends", [b"\n\n", b"\r\n\r\n"])
def test_only_the_events_own_null_is_hidden(data: bytes, ends: bytes) -> None:
    """Others of that name, deeper in what we do not know, are not ours."""
    raw = b"data: " + data + ends
    assert usage_in(raw, hide=True)[0] == raw
    for own, left in ((b',"usage":null}', b"}"), (b' , "usage" : null }', b"  }")):
        shown, _ = usage_in(b"data: " + data[:-1] + own + ends, hide=True)
        assert shown == b"data: " + data[:-1] + left + ends
    assert usage_in(b'data: {"usage":null,' + data[1:] + ends, hide=True)[0] == raw


def test_usage_that_cannot_be_counted_is_hidden_all_the_same() -> None:
    piece = event(choices=[{}])
    assert usage_in(piece + event(choices=[], usage={"prompt_tokens": 3}), hide=True) == (piece, None)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, None),
        ("many", None),
        ({}, None),
        ({"prompt_tokens": 1}, None),
        ({"prompt_tokens": "1", "completion_tokens": 1}, None),
        ({"prompt_tokens": -1, "completion_tokens": 1}, None),
        ({"prompt_tokens": True, "completion_tokens": 1}, None),
        ({"prompt_tokens": 1.5, "completion_tokens": 1}, None),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Tokens(0, 0)),
        ({**USAGE, "prompt_tokens_details": None, "completion_tokens_details": "x"}, Tokens(9, 4)),
        (
            {
                **USAGE,
                "prompt_tokens_details": {"cached_tokens": 5},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Tokens(9, 4, cached=5, reasoning=3),
        ),
        (
            {**USAGE, "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 5}},
            Tokens(9, 4, cached=2, written=5),
        ),
        ({**USAGE, "prompt_tokens_details": {"cache_write_tokens": -5}}, Tokens(9, 4)),
        ({**USAGE, "prompt_tokens_details": {"cache_write_tokens": None}}, Tokens(9, 4)),
    ],
)
def test_usage_counts_when_it_makes_sense(usage: object, tokens: Tokens | None) -> None:
    assert tokens_of(usage) == tokens


def test_a_whole_answer_tells_usage_and_model() -> None:
    assert usage_in_body(json.dumps({"model": "gpt-4o-2024", "usage": USAGE}).encode()) == (Tokens(9, 4), "gpt-4o-2024")
    assert usage_in_body(b"not json") == (None, None)


@pytest.mark.parametrize("model", [None, 4, [], "", "a\r\nset-cookie: x", "\x1b[2J", "a" * 300])
def test_a_model_that_cannot_be_one_is_none(model: object) -> None:
    """An upstream's word for it goes into a header and into the records."""
    assert model_of({"model": model}) is None


# --- errors


def failed(told: dict[str, Any]) -> ProviderFailed:
    return ProviderFailed(json.dumps(told), provider="p")


@pytest.mark.parametrize("told", [{"message": "Overloaded", "code": 503}, "Overloaded"])
@pytest.mark.parametrize("before", [b"", event(choices=[]), b": ping\r\n\r\n"])
def test_an_error_in_the_stream_is_found(told: object, before: bytes) -> None:
    assert before_error(before + event(error=told) + event(choices=["late"])) == (before, told)


def test_what_was_said_before_an_error_is_passed_on_first() -> None:
    """However the stream was cut."""
    piece, error = event(choices=[{"delta": {"content": "a"}}]), event(error="Overloaded")
    reader = ChatReader(failed, hide=True)
    given = reader.feed(piece + error)
    assert next(given).raw == piece
    with pytest.raises(ProviderFailed, match="Overloaded"):
        next(given)


@pytest.mark.parametrize(
    "raw",
    [
        event(choices=[{"delta": {"content": '{"error":{"message":"x"}}'}}]),
        event(error=None, choices=[]),
        event(error={}, choices=[]),
        event(choices=[{"error": {"nested": True}}]),
        b'data: {"error":{ not json\n\n',
    ],
)
def test_words_about_errors_are_none(raw: bytes) -> None:
    assert before_error(raw) == (raw, None)


@pytest.mark.parametrize(
    "error",
    [
        BadRequest("No.", param="messages[0]"),
        Forbidden("No.", hint="Ask again."),
        ProviderFailed("No.", provider="p", status=429, code="rate_limit", type="requests"),
        MembrainError('Quotes " and \n lines and é.'),
    ],
)
def test_errors_have_openais_shape_and_the_sentence_again(error: MembrainError) -> None:
    told = json.loads(CHAT.error(error))
    assert told == {
        "error": {"message": error.sentence, "type": error.type, "param": error.param, "code": error.code},
        "detail": error.sentence,
    }
    (event,) = sse.parse(CHAT.error_event(error))
    assert json.loads(event.data) == {"error": told["error"]}
