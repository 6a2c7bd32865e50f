"""The engine: offsets, overlaps, known and allowed values, the memo, and failing closed."""

import time
from itertools import pairwise

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from membrain.errors import GuardFailed
from membrain.pii.detectors import KINDS, scanner
from membrain.pii.kinds import WORDED, Kind, Severity, Span
from membrain.pii.leads import Leads
from membrain.pii.scan import (
    KNOWN,
    DetectionFailed,
    Scanner,
    Together,
    _either,
    _groups,
    _needs,
    _Pass,
    _seeker,
    _sign,
    _tail,
    _Walk,
    settle,
)
from membrain.pii.values import anything
from tests.growth import assert_within


def _kind(name: str, pattern: str, check=anything, family: str = "one", context: str = "") -> Kind:
    return Kind(name, name.upper(), Severity.LOW, family, pattern, check, "", "", "", context)


def test_offsets_are_characters_whatever_stands_before():
    text = "é\U0001f600漢 ab \u202e ab"
    assert [text[s.start : s.end] for s in Scanner([_kind("a", r"\bab\b")]).scan(text)] == ["ab", "ab"]


def test_a_lone_surrogate_does_not_stop_the_scan():
    text = "\ud800 ab"
    assert [(s.start, s.end) for s in Scanner([_kind("a", "ab")]).scan(text)] == [(2, 4)]


def test_a_group_marks_the_value():
    assert [(s.start, s.end) for s in Scanner([_kind("a", "key=(b+)")]).scan("key=bbb")] == [(4, 7)]


def test_a_group_is_told_from_what_only_looks_like_one():
    bracketed = _kind("a", r"[(]\d+\)|[\](]x")
    assert [(s.start, s.end) for s in Scanner([bracketed]).scan("tel (12) ]x")] == [(4, 8), (9, 11)]
    for kind in KINDS:
        assert _groups(kind.pattern) is bool(re2.compile(kind.pattern.encode()).groups), kind.name


@pytest.mark.parametrize(("pattern", "size"), [
    (r"key=([0-9a-f]{4})", 4), (r"key=([^)(]\d\d{3})", 5), (r"(?:key|pin)=(\d{4})", 4), (r"key=(\d{2,4})", 0),
    (r"key=(\d{4})x", 0), (r"key=(\d{4})|pin=(\d{6})", 0), (r"pin=\d|key=(\d{4})", 0), (r"key=(?:\d{4})", 0),
    (r"(?:key=(\d{4}))", 0), (r"key=([é-z]{4}x)", 0), (r"\(\d{4}\)", 0),
])  # fmt: skip
def test_a_group_of_one_size_at_the_end_is_where_the_match_ends(pattern: str, size: int):
    assert _tail(pattern) == size


def test_the_tail_of_every_kind_is_what_its_group_takes():
    for kind in KINDS:
        if tail := _tail(kind.pattern):
            found = re2.compile(kind.pattern.encode("latin-1", "ignore"), _latin()).search(kind.hit.encode())
            assert found is None or len(found[1]) == tail == found.end() - found.start(1), kind.name


def _latin() -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return options


@pytest.mark.parametrize(("patterns", "signs"), [
    ([r"[a-z]{1,9}@[a-z]"], (b"@",)), ([r"[a-z@]{1,9}(?:@|%40)[a-z]"], (b"@", b"%40")), ([r"a://(b|c@)@"], (b"@",)),
    ([r"[a-z@]{2}"], ()), ([r"a@?b"], ()), ([r"a(?:@b)?"], ()), ([r"a@{0,2}b"], ()), ([r"a@|b"], ()),
    (["a@", "b@"], ()),
])  # fmt: skip
def test_a_pass_is_spared_only_for_signs_that_every_match_has(patterns: list[str], signs: tuple[bytes, ...]):
    assert _needs([_kind(str(row), pattern) for row, pattern in enumerate(patterns)]) == signs


@pytest.mark.parametrize(("pattern", "sign"), [
    (r"\b[0-9a-f]{32}-us\d{1,2}\b", b"-us"), (r"[a-z]{3}\dQ~[\w~.-]{31}", b"Q~"),
    (r"\b\w{14}\.atlas\.[\w=]{6}", b".atlas."), (r"a|b", b""),
    (r"(?:x|y)@(?:a|b)\.net", b".net"), (r"abc*d?e+", b"ab"), (r"\d{3}", b""),
])  # fmt: skip
def test_the_sign_of_a_pattern_stands_in_every_match(pattern: str, sign: bytes):
    assert _sign(pattern) == sign


def _matches(find, size: int) -> list[tuple[int, int]]:
    """All that a search gives, asked on from behind every beginning."""
    found, place = [], 0
    while place <= size and (ends := find(place))[0] >= 0:
        found.append(ends)
        place = ends[0] + 1
    return found


_ALIKE = st.text(st.sampled_from("aAb01 :-._é"), max_size=60)


@given(_ALIKE)
def test_patterns_together_are_what_their_alternation_is(text: str):
    patterns, data = [r"a\b", r"\d[a-b]{1,3}", r"[ab]{2}", r"ba?", r"\.a+"], text.encode()
    whole = _seeker(_either(patterns))
    one_by_one = Together([_seeker(_either(part)) for part in (patterns[:2], patterns[2:3], patterns[3:])]).over(data)
    assert _matches(one_by_one, len(data)) == _matches(_plainly(whole, data), len(data))


def _plainly(search, data: bytes):
    return lambda place: search(re2._re2.RE2.Anchor.UNANCHORED, data, place, len(data))[0]


def _worded(kinds: list[Kind], data: bytes):
    """What a pass of these kinds looks at in `data`: found by words, and by the alternation."""
    of = _Pass(kinds)
    walk = _Walk(of, Leads([of.words]).within(data)[0], *of.elsewhere(data), float("inf"))
    whole = _seeker(_either(kind.pattern for kind in kinds))
    return lambda place: walk.find(None, data, place, len(data))[0], _plainly(whole, data)


@given(_ALIKE)
def test_what_is_found_by_words_is_what_the_alternation_finds(text: str):
    patterns = [r"\bab:", r"aa[01]{1,2}", r"(?i:\bba\b|ab\.)[ :-]", r"[01]{2}-", r"é\d", r"aab?\d"]
    kinds = [_kind(str(row), pattern, family="tokens") for row, pattern in enumerate(patterns)]
    by_words, plainly = _worded(kinds, text.encode())
    assert _matches(by_words, 200) == _matches(plainly, 200)


@pytest.mark.parametrize("family", sorted(WORDED))
def test_the_kinds_are_found_by_words_where_their_alternation_finds_them(family: str):
    kinds = [kind for kind in KINDS if kind.family == family]
    for before in ("", "é ", "x"):
        data = "\n".join(before + each for kind in KINDS for each in (kind.hit, kind.miss, kind.value)).encode()
        by_words, plainly = _worded(kinds, data)
        assert _matches(by_words, len(data)) == _matches(plainly, len(data))


def test_a_refused_candidate_is_looked_into_again():
    def short(data: bytes, start: int, end: int) -> tuple[int, int] | None:
        return (start, end) if end - start < 6 else None

    assert [(s.start, s.end) for s in Scanner([_kind("a", r"\d+(?: \d+)?", short)]).scan("11111 22")] == [(6, 8)]


def test_context_is_asked_for_near_the_value():
    scanner = Scanner([_kind("a", r"\b\d{6}\b", context="(?i:pin)")])
    assert scanner.scan("PIN 123456")
    assert scanner.scan("123456 is my pin")
    assert not scanner.scan("pin" + " " * 200 + "123456")


def test_known_values_come_first_and_allowed_ones_never():
    scanner = Scanner(KINDS, known={"Project Falcon": "PROJECT"}, allowed=["help@example.com"])
    spans = scanner.scan("Project Falcon, help@example.com, me@example.com")
    assert [(s.label, s.kind) for s in spans] == [("PROJECT", KNOWN), ("EMAIL", "email")]
    assert "Falcon" not in repr(scanner)


def test_a_known_value_of_many_pages_is_found_and_quickly_learnt():
    value = "so it goes on " * 3000
    assert_within(0.5, lambda: Scanner([_kind("a", "ab")], known={value: "PAGES"}))
    scanner = Scanner([_kind("a", "ab")], known={value: "PAGES"})
    assert [(s.start, s.end, s.label) for s in scanner.scan(f"<{value}>")] == [(1, 1 + len(value), "PAGES")]


def test_a_text_that_is_not_done_in_time_is_a_failure():
    with pytest.raises(DetectionFailed, match="too long"):
        Scanner([_kind("a", "ab")]).scan("ab " * 1000, due=time.monotonic() - 1)


def test_a_detector_that_raises_stops_everything_and_says_nothing_of_the_text():
    def broken(data: bytes, start: int, end: int) -> tuple[int, int] | None:
        raise ValueError(data[start:end])

    scanner = Scanner([_kind("a", "hush", broken)])
    with pytest.raises(DetectionFailed) as caught:
        scanner.scan("hush now")
    assert isinstance(caught.value, GuardFailed)
    assert (caught.value.status, caught.value.code) == (503, "redaction_failed")
    assert "hush" not in str(caught.value)
    assert caught.value.__suppress_context__


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9), st.sampled_from("xyz")), max_size=12))
def test_settled_spans_cover_what_was_found_and_never_overlap(raw):
    spans = [Span(start, start + size, kind.upper(), kind) for start, size, kind in raw]
    settled = settle(spans, {"x": 0, "y": 1, "z": 2})
    assert all(one.end <= two.start for one, two in pairwise(settled))
    assert {p for s in spans for p in range(s.start, s.end)} == {p for s in settled for p in range(s.start, s.end)}


@given(st.text(max_size=200))
def test_any_text_can_be_scanned_and_spans_lie_inside_it(text: str):
    assert all(0 <= span.start < span.end <= len(text) for span in scanner().scan(text))
