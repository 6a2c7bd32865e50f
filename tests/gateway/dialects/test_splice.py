"""Changing one member of a JSON object changes that member, and not one other byte."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from membrain.dialects.splice import member_spans, with_members
from tests.growth import assert_linear

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = (
    st.sampled_from(["model", "stream", "stream_options", "a/b", "é", "", 'q"q', "back\\slash", "{", "}", ":,"]) | TEXT
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=8)
BLANKS = st.text(" \t\r\n", max_size=3)


@st.composite
def spelled(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, str]]]:
    """An object as somebody might write it, and its parts in order: the name, and the value as it is written."""
    ascii_only = draw(st.booleans())

    def written(value: Any) -> str:
        text = json.dumps(value, ensure_ascii=ascii_only, indent=draw(st.sampled_from([None, 1])))
        return text.replace("/", "\\/") if draw(st.booleans()) else text

    def key(name: str) -> str:
        if draw(st.booleans()):
            return '"' + "".join(f"\\u{ord(sign):04x}" if ord(sign) < 0x10000 else sign for sign in name) + '"'
        return json.dumps(name, ensure_ascii=ascii_only)

    members = draw(st.lists(st.tuples(NAMES, VALUES), max_size=6))  # a name may come twice
    parts = [(name, written(value)) for name, value in members]
    blank = [draw(BLANKS) for _ in range(4)]
    inside = f"{blank[0]},{blank[1]}".join(f"{key(name)}{blank[2]}:{blank[3]}{text}" for name, text in parts)
    whole = f"{blank[3]}{{{blank[2]}{inside}{blank[1]}}}{blank[0]}"
    return whole.encode(), parts


@settings(max_examples=120, deadline=None)
@given(OBJECTS, OBJECTS)
def test_what_changes_is_what_was_asked(data: dict[str, Any], changes: dict[str, Any]) -> None:
    body = json.dumps(data).encode()
    assert json.loads(with_members(body, data, changes)) == {**data, **changes}


@settings(max_examples=120, deadline=None)
@given(spelled(), OBJECTS)
def test_however_it_is_spelled_only_the_change_is_seen(
    given_body: tuple[bytes, list[tuple[str, str]]], changes: dict[str, Any]
) -> None:
    """Blanks, escapes in names and values, names that come twice: parsed again it is the same but for the changes."""
    body, _ = given_body
    data = msgspec.json.decode(body)
    changed = with_members(body, data, changes)
    assert msgspec.json.decode(changed) == {**data, **msgspec.json.decode(msgspec.json.encode(changes))}


@settings(max_examples=80, deadline=None)
@given(spelled(), st.data())
def test_every_byte_around_the_change_stays(
    given_body: tuple[bytes, list[tuple[str, str]]], data: st.DataObject
) -> None:
    """Taking the new value out and the old one back in gives the body that was sent."""
    body, parts = given_body
    if not parts:
        assert with_members(body, {}, {}) == body
        return
    name = data.draw(st.sampled_from([name for name, _ in parts]))
    marker = "marker-b7"
    changed = with_members(body, msgspec.json.decode(body), {name: marker})
    new = msgspec.json.encode(marker)
    at = changed.index(new)
    old = next(text for other, text in reversed(parts) if other == name).encode()  # of two, the last counts
    assert changed[:at] + old + changed[at + len(new) :] == body


@settings(max_examples=60, deadline=None)
@given(OBJECTS)
def test_nothing_to_change_changes_nothing(data: dict[str, Any]) -> None:
    body = json.dumps(data, indent=1).encode()
    assert with_members(body, data, {}) is body


@settings(max_examples=80, deadline=None)
@given(spelled())
def test_every_members_value_is_where_it_is_said_to_be(given_body: tuple[bytes, list[tuple[str, str]]]) -> None:
    body, parts = given_body
    spans = member_spans(body)
    assert {name: body[start:end] for name, (start, end) in spans.items()} == {
        name: text.encode() for name, text in parts
    }


@settings(max_examples=80, deadline=None)
@given(spelled(), st.data())
@example((b'{"model":"a","model":"b"}', [("model", '"a"'), ("model", '"b"')]), None)
@example((b'{"model":"a","mod\\u0065l":"b"}', [("model", '"a"'), ("model", '"b"')]), None)
def test_looking_for_some_members_finds_them_where_looking_for_all_does(
    given_body: tuple[bytes, list[tuple[str, str]]], data: st.DataObject | None
) -> None:
    """A search that stops early must not stop at the first of two."""
    body, parts = given_body
    names = sorted({name for name, _ in parts})
    wanted = data.draw(st.lists(st.sampled_from(names), unique=True)) if data and names else ["model"]
    found = member_spans(body, wanted)
    everything = member_spans(body)
    assert {name: found[name] for name in wanted if name in everything} == {
        name: everything[name] for name in wanted if name in everything
    }


@pytest.mark.parametrize(
    ("body", "changes", "changed"),
    [
        (b"{}", {"a": 1}, b'{"a":1}'),
        (b" { } ", {"a": 1}, b' {"a":1 } '),
        (b'{"b":2}', {"a": 1}, b'{"a":1,"b":2}'),
        (b'{ "a" : 1 , "b" : 2 }', {"a": 3}, b'{ "a" : 3 , "b" : 2 }'),
        (b'{"a":{"a":{"a":1}},"b":[{"a":2}]}', {"a": 3}, b'{"a":3,"b":[{"a":2}]}'),
        (b'{"b":[{"a":2}],"a":1}', {"a": 3}, b'{"b":[{"a":2}],"a":3}'),
        (b'{"a":1,"a":2}', {"a": 3}, b'{"a":1,"a":3}'),
        (b'{"\\u0061":1}', {"a": 3}, b'{"\\u0061":3}'),
        (b'{"x":"\\"a\\":1,{","a":1}', {"a": 3}, b'{"x":"\\"a\\":1,{","a":3}'),
        (b'{"x":"\\\\","a":1}', {"a": 3}, b'{"x":"\\\\","a":3}'),
        (b'{"a":-1.5e-3\n}', {"a": None}, b'{"a":null\n}'),
        (b'{"a":"x","b":"y","c":"z"}', {"c": 1, "a": 2}, b'{"a":2,"b":"y","c":1}'),
        ('{"é":"ü","a":1}'.encode(), {"é": "ß"}, '{"é":"ß","a":1}'.encode()),
        (b'{"a":1}', {"b": 2, "a": 3, "c": 4}, b'{"b":2,"c":4,"a":3}'),
    ],
)
def test_by_example(body: bytes, changes: dict[str, Any], changed: bytes) -> None:
    assert with_members(body, json.loads(body), changes) == changed


def test_numbers_that_no_float_holds_stay_as_they_were_written() -> None:
    """As they would not, if the body were written anew."""
    body = b'{"model":"a","seed":123456789012345678901234567890,"temperature":0.10000000000000000000001,"top_p":1E0}'
    assert with_members(body, json.loads(body), {"model": "b"}) == body.replace(b'"a"', b'"b"')


def test_a_megabyte_takes_no_quadratic_time() -> None:
    """Twice the body, twice the time, roughly: many members, deep values, and strings full of quotes."""

    def read(size: int) -> tuple[bytes, Any]:
        body = json.dumps({"messages": [{"content": '"\\{[' * 40} for _ in range(size)], "mod\u00e9l": 1}).encode()
        return body, json.loads(body)

    assert_linear(lambda given: with_members(*given, {"mod\u00e9l": 2}), read, 2000)
