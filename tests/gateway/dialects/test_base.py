"""What every dialect reads alike: the body, its depth, and the fields that decide."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrain.dialects.base import (
    MAX_MODEL_NAME,
    Chunk,
    answer_object,
    count_of,
    deeper_than,
    event_object,
    flag_field,
    list_field,
    model_field,
    parse_object,
    refuse_steering,
    text_field,
    unbroken,
)
from membrain.errors import BadRequest, ProviderFailed, TooLarge

CANARY = "canary-7f3a"


def nested(levels: int, kind: str = "[") -> bytes:
    """An object of this many levels, itself counted."""
    opening, closing = ("[", "]") if kind == "[" else ('{"a":', "}")
    return f'{{"a":{opening * (levels - 1)}1{closing * (levels - 1)}}}'.encode()


@pytest.mark.parametrize("kind", ["[", "{"])
@pytest.mark.parametrize("depth", [8, 100])
def test_nesting_is_counted_exactly(kind: str, depth: int) -> None:
    assert parse_object(nested(depth, kind), depth=depth)
    with pytest.raises(TooLarge, match=f"deeper than {depth}"):
        parse_object(nested(depth + 1, kind), depth=depth)


@pytest.mark.parametrize("kind", ["[", "{"])
@pytest.mark.parametrize("levels", [1_000, 10_000, 300_000])
def test_absurd_nesting_is_refused_like_any_other(kind: str, levels: int) -> None:
    with pytest.raises(TooLarge, match="deeper than 100"):
        parse_object(nested(levels, kind), depth=100)


def test_many_brackets_are_not_deep() -> None:
    assert parse_object(json.dumps({"a": [[{}] for _ in range(5_000)]}).encode(), depth=8)


def test_brackets_in_texts_are_not_nesting() -> None:
    assert parse_object(json.dumps({"a": "{[" * 10_000}).encode(), depth=8)


SIMPLE = st.none() | st.integers() | st.text(max_size=3)
NESTED = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
)


def depth_of(data: Any) -> int:
    """How many levels, the plain way."""
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else None
    return 0 if inner is None else 1 + max((depth_of(each) for each in inner), default=0)


@settings(max_examples=200, deadline=None)
@given(NESTED | st.lists(NESTED), st.integers(1, 8))
def test_depth_is_what_a_recursion_would_count(data: Any, depth: int) -> None:
    if isinstance(data, dict | list):
        assert deeper_than(data, depth) is (depth_of(data) > depth)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"model"',
        b'{"model":"' + CANARY.encode(),
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 5_000 + b"}",
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00x"}',
        b'{"\\ud800":1}',
        b"\xef\xbb\xbf{}",
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":"\n"}',
        b'{"a":01}',
        b'{} {"a":1}',
        b"\x00",
        b'{"canary-7f3a":"canary-7f3a" canary-7f3a}',
        b'{"a":\x80canary-7f3a}',
    ],
)
def test_what_is_no_json_is_told_without_being_quoted(body: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_object(body, depth=100)
    error = refused.value
    assert (error.status, error.code) == (400, "invalid_request")
    assert error.message.startswith("The body is not valid JSON: ")
    assert CANARY not in error.sentence
    assert error.message.isascii()


@pytest.mark.parametrize("body", [b"null", b"[]", b'"text"', b"1", b"true", b'[{"model":"a"}]'])
def test_the_body_is_an_object(body: bytes) -> None:
    with pytest.raises(BadRequest, match="must be a JSON object"):
        parse_object(body, depth=100)


def test_of_two_members_with_one_name_the_last_counts() -> None:
    assert parse_object(b'{"a":1,"a":2}', depth=8) == {"a": 2}


def test_every_text_is_read_as_it_was_meant() -> None:
    text = 'é 😀 \u2028 \u0085 " \\ \n'
    for ascii_only in (True, False):
        assert parse_object(json.dumps({"a": text}, ensure_ascii=ascii_only).encode(), depth=8) == {"a": text}


@pytest.mark.parametrize("value", [None, 1, True, [], {}, ""])
def test_a_text_is_a_text_that_says_something(value: object) -> None:
    with pytest.raises(BadRequest) as refused:
        text_field({"model": value}, "model")
    assert refused.value.param == "model"
    assert "must be a string" in refused.value.message


def test_what_is_missing_is_said_to_be_missing() -> None:
    for field in (text_field, list_field):
        with pytest.raises(BadRequest, match="`x` is missing") as refused:
            field({}, "x")
        assert refused.value.param == "x"


@pytest.mark.parametrize("name", ["a" * (MAX_MODEL_NAME + 1), "a\nb", "a\x1b[31m", "a\x00", "\u202egpt", "\x9b"])
def test_a_models_name_is_short_and_printable(name: str) -> None:
    """It goes into records, headers and terminals."""
    with pytest.raises(BadRequest) as refused:
        model_field({"model": name})
    assert name not in refused.value.sentence


@pytest.mark.parametrize("name", ["gpt-4o", "ollama/llama3:latest", "é", "a" * MAX_MODEL_NAME, "with space"])
def test_any_printable_name_is_a_name(name: str) -> None:
    assert model_field({"model": name}) == name


@pytest.mark.parametrize(
    ("value", "param"),
    [(None, "m"), ([], "m"), ("text", "m"), ({}, "m"), ([{}, "text"], "m[1]"), ([[]], "m[0]"), ([None], "m[0]")],
)
def test_a_list_is_one_of_objects(value: object, param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        list_field({"m": value}, "m")
    assert refused.value.param == param


@pytest.mark.parametrize("value", ["true", 1, 0, [], {}])
def test_a_flag_is_a_boolean(value: object) -> None:
    with pytest.raises(BadRequest, match="`stream` must be true or false"):
        flag_field({"stream": value}, "stream")


def test_a_flag_that_is_null_or_absent_is_not_raised() -> None:
    assert [flag_field(data, "stream") for data in ({}, {"stream": None}, {"stream": False}, {"stream": True})] == [
        False,
        False,
        False,
        True,
    ]


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from('ab\u0085\u2028\u2029\u201c\u00e9\ue000\U0001f600"\\'), max_size=20))
def test_no_text_library_breaks_an_event_in_two(text: str) -> None:
    """And whoever parses it reads the same."""
    raw = b"data: " + json.dumps({"a": text}, ensure_ascii=False).encode() + b"\n\n"
    sent = unbroken(raw)
    assert sent.decode().splitlines() == sent.decode().split("\n")[:-1]
    assert json.loads(sent[6:]) == {"a": text}


def test_an_event_without_such_signs_is_the_very_same_object() -> None:
    raw = 'data: {"a":"é"}\n\n'.encode()
    assert unbroken(raw) is raw


# --- answers


NO_OBJECTS = [b"", b"[]", b"null", b'"text"', b"1", b"{", b"\xff", b'{"a":"\xed\xa0\x80"}', b"[" * 100_000]


@pytest.mark.parametrize("raw", NO_OBJECTS)
def test_an_answer_is_an_object_or_a_failure(raw: bytes) -> None:
    def failed(told: dict[str, Any]) -> ProviderFailed:
        assert told == {}
        return ProviderFailed("No.", provider="p")

    with pytest.raises(ProviderFailed):
        answer_object(raw, failed)


@pytest.mark.parametrize("raw", NO_OBJECTS)
def test_an_event_that_is_no_object_is_an_empty_one(raw: bytes) -> None:
    """It passes as it came, and nobody stumbles over it."""
    assert event_object(raw) == {}


@pytest.mark.parametrize(
    "number", ["12345678901234567890123", "-0", "1.0", "1E+05", "1.7976931348623157e308", "5e-324"]
)
def test_numbers_of_any_size_are_read(number: str) -> None:
    raw = f'{{"a":{number}}}'.encode()
    assert event_object(raw) == answer_object(raw, lambda _: ProviderFailed("No.", provider="p")) == json.loads(raw)


@pytest.mark.parametrize(
    ("value", "count"),
    [(0, 0), (7, 7), (-1, None), (1.0, None), (True, None), ("7", None), (None, None), (1 << 48, None), ([], None)],
)
def test_a_count_is_a_number_that_somebody_may_have_counted(value: object, count: int | None) -> None:
    assert count_of({"a": value}, "a") == count
    assert count_of(value, "a") is None


@pytest.mark.parametrize("name", ["api_base", "apiBase", "API-KEY", "base_url", "baseUrl", "_api_key"])
def test_a_request_does_not_say_where_it_goes(name: str) -> None:
    refuse_steering({name: None, "metadata": {name: CANARY}})
    with pytest.raises(BadRequest) as refused:
        refuse_steering({name: CANARY})
    assert refused.value.param == name
    assert CANARY not in refused.value.sentence


def test_a_piece_of_an_answer_shows_nobody_what_it_says() -> None:
    assert CANARY not in repr(Chunk(CANARY.encode(), failure=ProviderFailed(CANARY, provider="p")))
