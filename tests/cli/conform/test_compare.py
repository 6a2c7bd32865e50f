"""What is a difference and what is none, and how it is told."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrain_cli.conform.compare import (
    WIDTH,
    bytes_differ,
    difference,
    events_differ,
    events_of,
    exact,
    parsed,
    shown,
    under,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=50)
@given(JSON)
def test_what_was_only_written_otherwise_is_equal(value: Any) -> None:
    spaced = json.dumps(value, indent=3, ensure_ascii=True)
    assert difference(parsed(spaced), parsed(json.dumps(value, ensure_ascii=False))) == ""


@settings(max_examples=50)
@given(JSON, JSON)
def test_a_difference_is_told_if_and_only_if_there_is_one(one: Any, other: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (difference(exact(one), exact(other)) == "") is same


@pytest.mark.parametrize(
    ("sent", "arrived", "told"),
    [
        ('{"a":1.0}', '{"a":1}', ""),
        (
            '{"a":123456789012345678901}',
            '{"a":123456789012345678900}',
            "a: 123456789012345678901 became 123456789012345678900",
        ),
        ('{"a":[1,{"b":"x"}]}', '{"a":[1,{"b":"y"}]}', 'a[1].b: "x" became "y"'),
        ('{"a":1}', "{}", "a: 1 became nothing"),
        ("{}", '{"a":null}', "a: nothing became null"),
        ('{"a":true}', '{"a":1}', "a: true became 1"),
        ("[1,2]", "[1]", "it: [1, 2] became [1]"),
    ],
)
def test_a_difference_names_its_place(sent: str, arrived: str, told: str) -> None:
    assert difference(parsed(sent), parsed(arrived)) == told


def test_more_members_may_be_allowed_and_fewer_may_not() -> None:
    assert difference({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, more=True) == ""
    assert difference({"a": {"b": 1}}, {"a": {"c": 2}}, more=True) == "a.b: 1 became nothing"


@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (b"data: {}\n\n", [(None, {})]),
        (b"\xef\xbb\xbfevent: a\r\ndata: 1\r\n\r\n", [("a", Decimal(1))]),
        (b"data: [1,\rdata: 2]\r\r", [(None, [Decimal(1), Decimal(2)])]),
        (b": comment\n\nid: 7\nretry: 9\ndata:x\n\n", [(None, "x")]),
        (b"event: ping\ndata: {}\n\ndata: [DONE]", [(None, "[DONE]")]),
        ('data: "a\u2028b\u0085c"\n\n'.encode(), [(None, "a\u2028b\u0085c")]),
        (b"event: lonely\n\n", []),
    ],
)
def test_events_are_read_by_the_rules(raw: bytes, events: list[tuple[str | None, Any]]) -> None:
    assert events_of(raw) == events


def test_the_first_other_event_is_told() -> None:
    sent = [("a", "x"), (None, {"b": "y"})]
    assert events_differ(sent, sent) == ""
    assert events_differ(sent, [("c", "x")]) == "event 1 of 2: a became c"
    assert events_differ(sent, [("a", "x"), (None, {"b": "z"})]) == 'event 2 of 2: b: "y" became "z"'
    assert events_differ(sent, sent[:1]) == '2 events became 1; missing: {"b": "y"}'
    assert events_differ(sent[:1], sent) == '1 events became 2; one too many: {"b": "y"}'


def test_the_first_other_byte_is_told() -> None:
    assert bytes_differ(b"same", b"same") == ""
    assert bytes_differ(b"abc", b"abd") == "byte 2 of 3: 'abc' became 'abd'"
    assert bytes_differ(b"abc", b"ab") == "byte 2 of 3: 'abc' became 'ab'"


@settings(max_examples=50)
@given(JSON | st.text().map(str.encode))
def test_what_is_told_is_one_short_line(value: Any) -> None:
    told = shown(value)
    assert len(told) <= WIDTH
    assert told.isprintable()


def test_members_are_found_wherever_they_are() -> None:
    assert [*under({"a": 1, "b": [{"a": 2}, {"c": {"a": {"a": 3}}}]}, "a")] == [1, 2, {"a": 3}, 3]
