"""The detector as a whole: order and overlaps, its memory, placeholders, repeats, and failing closed."""

import threading
import time
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrain.pii.detector import Detector, Memo, _names
from membrain.pii.kinds import Span
from membrain.pii.scan import DetectionFailed
from membrain.pii.vault import Vault
from tests.growth import assert_linear

PLAIN = Detector(names=False)
WHOLE = Detector()


class Words:
    """An engine of the documented shape: every place of each of its words."""

    name = "words"

    def __init__(self, **labels: str) -> None:
        self.labels = labels

    def find(self, text: str) -> Iterable[tuple[int, int, str]]:
        for word, label in self.labels.items():
            at = text.find(word)
            while at >= 0:
                yield at, at + len(word), label
                at = text.find(word, at + 1)


class Says:
    """An engine that says what it is told, whatever the text."""

    name = "says"

    def __init__(self, *found: object) -> None:
        self.found = found

    def find(self, text: str) -> Iterable[tuple[int, int, str]]:
        return self.found  # type: ignore[return-value]  # nonsense is the point


class Breaks:
    name = "breaks"

    def find(self, text: str) -> Iterable[tuple[int, int, str]]:
        raise ValueError(text)


class Sleeps:
    name = "sleeps"

    def find(self, text: str) -> Iterable[tuple[int, int, str]]:
        time.sleep(0.05)
        return ()


def _values(detector: Detector, text: str) -> list[tuple[str, str]]:
    return [(text[span.start : span.end], span.label) for span in detector.scan(text)]


# Order and overlaps


def test_a_rule_keeps_its_characters_and_an_engine_gets_what_is_left():
    detector = Detector(names=False, engines=[Words(**{"Ana ana@example.com": "PERSON"})])
    assert _values(detector, "from Ana ana@example.com now") == [("Ana ", "PERSON"), ("ana@example.com", "EMAIL")]


def test_a_finding_inside_another_vanishes_in_it():
    detector = Detector(names=False, engines=[Words(ana="PERSON")])
    assert _values(detector, "ana@example.com") == [("ana@example.com", "EMAIL")]


def test_the_engine_asked_first_wins():
    detector = Detector(names=False, engines=[Words(Bremen="LOCATION"), Words(Bremen="PERSON")])
    assert _values(detector, "in Bremen") == [("Bremen", "LOCATION")]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12), st.sampled_from(["PERSON", "LOCATION"])), max_size=9))
def test_spans_are_in_order_never_overlap_and_cover_all_that_was_found(raw):
    text = "ana@example.com, +34 612 51 19 32 and so on, and on"
    found = [(start, start + size, label) for start, size, label in raw]
    spans = Detector(names=False, engines=[Says(*found)]).scan(text)
    assert all(one.end <= two.start for one, two in pairwise(spans))
    covered = {place for span in spans for place in range(span.start, span.end)}
    asked = {place for start, end, _ in found for place in range(start, end) if text[place].isalnum()}
    assert asked <= covered


# Known and allowed values


def test_a_known_value_is_found_exactly_and_inside_longer_words():
    detector = Detector(names=False, known={"Zk3-falcon": "SECRET"})
    assert _values(detector, "xZk3-falconx zk3-falcon") == [("Zk3-falcon", "SECRET")]


def test_a_folded_value_is_found_in_capitals_and_small_letters():
    detector = Detector(names=False, folded={"Project Falcon": "CUSTOM"})
    text = "İ PROJECT FALCON, project falcon"
    assert _values(detector, text) == [("PROJECT FALCON", "CUSTOM"), ("project falcon", "CUSTOM")]


def test_a_short_known_value_counts_only_as_a_word():
    detector = Detector(names=False, known={"abc": "CUSTOM"})
    assert _values(detector, "abc xabc abcd (abc)") == [("abc", "CUSTOM"), ("abc", "CUSTOM")]


def test_known_values_that_overlap_are_covered_whole():
    detector = Detector(names=False, known={"abcdef": "SECRET", "defghi": "SECRET"})
    assert _values(detector, "abcdefghi") == [("abcdefghi", "SECRET")]


def test_an_allowed_value_is_not_reported_by_anybody():
    detector = Detector(names=False, allowed=["Bremen", "help@example.com"], engines=[Words(Bremen="LOCATION")])
    assert _values(detector, "help@example.com in Bremen, me@example.com") == [("me@example.com", "EMAIL")]


def test_halves_of_surrogate_pairs_are_no_failure_anywhere():
    detector = Detector(known={"k\udcff9": "SECRET"}, folded={"Falcon": "CUSTOM"})
    text = "\ud800 ana@example.com FALCON k\udcff9, passport C736LVJ04, C736LVJ04 \udcff"
    labels = [label for _, label in _values(detector, text)]
    assert labels == ["EMAIL", "CUSTOM", "SECRET", "PASSPORT", "PASSPORT"]


# The same value elsewhere


def test_a_value_told_by_its_neighbours_once_is_found_where_it_stands_bare():
    text = "passport C736LVJ04. Later on: C736LVJ04, but not xC736LVJ04"
    assert _values(PLAIN, text) == [("C736LVJ04", "PASSPORT"), ("C736LVJ04", "PASSPORT")]


@pytest.mark.parametrize("filling", ["", "so it goes on " * 30_000])
@pytest.mark.parametrize(("rest", "again"), [
    ("", 0), ("C736LVJ04", 1), ("C736LVJ04 C736LVJ04", 2), ("xC736LVJ04", 0), ("c736lvj04", 0), ("é C736LVJ04", 1),
])  # fmt: skip
def test_a_value_is_sought_elsewhere_in_a_short_text_and_in_a_long_one(filling: str, rest: str, again: int):
    text = f"passport C736LVJ04. {filling}. {rest}"
    assert _values(PLAIN, text) == [("C736LVJ04", "PASSPORT")] * (1 + again)


def test_a_value_inside_another_is_still_sought_elsewhere():
    detector = Detector(names=False, engines=[Says((0, 31, "SECRET"), (33, 42, "PERSON"))])
    text = "passport C736LVJ04 of Ana Marin, Ana Marin; Ana Marin"
    found = [value for value, _ in _values(detector, text)]
    assert "".join(found).count("Ana Marin") == 3


def test_a_short_value_or_a_public_name_is_not_sought_elsewhere():
    detector = Detector(names=False, engines=[Says((0, 3, "PERSON"))])
    assert _values(detector, "Ana and Ana") == [("Ana", "PERSON")]


def test_a_found_value_as_long_as_the_text_costs_no_more_than_the_text():
    def scan(token: str) -> None:
        detector = Detector(names=False, engines=[Says((0, len(token), "SECRET"))])
        assert len(detector.scan(f"{token}, {token}!")) == 2

    def token(size: int) -> str:
        return "so it goes on " * (size // 14) + "and ends"

    assert_linear(scan, token, 15_000, within=0.2)


def test_many_found_values_cost_no_more_than_the_text():
    def passports(count: int) -> str:
        return "\n".join(f"passport C{number:06}V{number % 9}" for number in range(count))

    def scan(text: str) -> None:
        assert len(Detector(names=False).scan(text)) == text.count("\n") + 1

    assert_linear(scan, passports, 2000)


# Placeholders of ours

LETTER = """Dear Ana,

my key is AKIAIOSFODNN7EXAMPLE, the password: hunter2go and the card 4242 4242 4242 4242.
Write to ana.b@example.com or call +34 612 51 19 32; the passport is C736LVJ04 (again: C736LVJ04).
postgres://app:Tr0ub4dor@db.internal/main, DOB 1980-01-02, account 532933260391
"""


def _masked(detector: Detector, vault: Vault, text: str) -> str:
    return vault.mask(text, [(span.start, span.end, span.label) for span in detector.scan(text)])


@pytest.mark.parametrize("detector", [PLAIN, WHOLE], ids=["rules", "whole"])
def test_what_is_masked_once_stays_as_it_is(detector: Detector):
    once = _masked(detector, Vault(b"k" * 32), LETTER)
    assert "hunter2go" not in once
    assert "C736LVJ04" not in once
    assert _masked(detector, Vault(b"k" * 32), once) == once


@pytest.mark.parametrize("around", [
    "password = {}", '"token": "{}"', "Authorization: Bearer {}", "https://u:{}@h.example/", "SSN {}", "card {}",
    "{}@example.com", "Dear {},", "{}{}", "-u app:{}", "secret={}&key={}",
])  # fmt: skip
@pytest.mark.parametrize("label", ["SECRET", "PERSON", "US_SSN", "EMAIL"])
def test_no_finding_touches_a_placeholder(around: str, label: str):
    token = Vault(b"k" * 32).placeholder(label, "anything")
    text = around.replace("{}", token)
    for span in WHOLE.scan(text):
        assert token[-16:] not in text[span.start : span.end]
        assert span.end <= text.index(token) or text.index(token) + len(token) <= span.start


def test_what_stands_next_to_a_placeholder_is_still_found():
    token = Vault(b"k" * 32).placeholder("PERSON", "Ana")
    text = f"{token} ana@example.com"
    assert _values(PLAIN, text) == [("ana@example.com", "EMAIL")]


def test_a_label_of_ours_tells_nothing_about_what_follows():
    token = Vault(b"k" * 32).placeholder("SECRET", "anything")
    assert _values(PLAIN, f"{token}: q7Rk2ZpX9vLm4TnB8sWd") == []


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([*LETTER.split(), "\n", "=", ":", '"', "secret", "é", "😀"]), max_size=30).map(" ".join)
)
def test_masking_twice_is_masking_once(text: str):
    once = _masked(PLAIN, Vault(b"k" * 32), text)
    assert _masked(PLAIN, Vault(b"k" * 32), once) == once


def test_a_long_row_of_words_and_marks_is_looked_through_in_linear_time():
    assert_linear(lambda text: Detector(names=False).scan(text), lambda size: "a_" * size + "739", 30_000)


# Failing closed


@pytest.mark.parametrize("found", [
    (0, 0, "PERSON"), (3, 2, "PERSON"), (-1, 2, "PERSON"), (0, 99, "PERSON"), (0, 2, ""), (0, 2, None), (0.0, 2, "X"),
    ("0", "2", "X"), (True, 2, "X"), None, (1, 2), "ab",
])  # fmt: skip
def test_nonsense_of_an_engine_stops_everything(found: object):
    with pytest.raises(DetectionFailed, match="says"):
        Detector(names=False, engines=[Says(found)]).scan("hush hush")


def test_an_engine_that_raises_stops_everything_and_nothing_of_the_text_is_said():
    with pytest.raises(DetectionFailed) as caught:
        Detector(names=False, engines=[Breaks()]).scan("hush hush")
    assert str(caught.value) == "The detector breaks failed (ValueError), so nothing was sent."
    assert caught.value.__suppress_context__


def test_an_error_of_our_own_is_a_failure_like_any_other(monkeypatch):
    detector = Detector(names=False)
    monkeypatch.setattr("membrain.pii.detector._repeated", lambda *_: 1 / 0)
    with pytest.raises(DetectionFailed, match="ZeroDivisionError"):
        detector.scan("hush hush")


def test_a_late_finding_is_a_failure_and_is_not_remembered():
    detector = Detector(names=False, engines=[Sleeps()], seconds=0.02)
    for _ in range(2):
        with pytest.raises(DetectionFailed, match="too long"):
            detector.scan("hush hush")
    assert detector.recall("hush hush") is None


def test_the_clock_is_looked_at_inside_a_long_text():
    with pytest.raises(DetectionFailed, match="too long"):
        Detector(names=False, seconds=-1).scan("1.2.3.4 " * 1000)


# Memory


def test_a_text_is_recalled_without_work_and_only_after_it_was_scanned():
    detector = Detector(names=False)
    text = "ana@example.com"
    assert detector.recall(text) is None
    assert detector.recall("".join(text)) is None
    spans = detector.scan(text)
    assert detector.recall("ana" + text[3:]) is spans
    assert "ana" not in repr(detector)


def test_the_memory_forgets_what_was_not_asked_for_the_longest():
    memo = Memo(characters=10, entries=3)
    for text in ("aaaa", "bbbb", "cc"):
        memo.put(text, ())
    assert memo.get("aaaa") == ()
    memo.put("dd", ())
    assert (memo.get("aaaa"), memo.get("bbbb"), memo.get("dd")) == ((), None, ())
    memo.put("e" * 11, ())
    assert len(memo) == 0
    for text in "wxyz":
        memo.put(text, (Span(0, 1, "A"),))
    assert memo.get("w") is None
    assert len(memo) == 3


def test_many_threads_get_the_same_answers():
    detector = Detector(names=False)
    texts = [f"mail user{number}@example.com now" for number in range(60)]
    answers: list[list[tuple[Span, ...]]] = []

    def work() -> None:
        answers.append([detector.scan(text) for text in texts])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert all(answer == answers[0] for answer in answers)


# Long texts


def test_a_finding_at_the_edge_of_a_window_is_found_once_and_whole(monkeypatch):
    monkeypatch.setattr("membrain.pii.detector._WINDOW", 100)
    monkeypatch.setattr("membrain.pii.detector._OVERLAP", 30)
    detector = Detector(names=False, engines=[Words(**{"Ana María": "PERSON"})])
    for shift in range(60, 130):
        text = "x" * shift + " Ana María " + "y " * 80
        assert _values(detector, text) == [("Ana María", "PERSON")]


def test_by_rule_names_are_not_looked_for() -> None:
    detector, text = Detector(), "Jane Doe wrote from jane.doe@corp-mail.net."
    assert [span.label for span in detector.scan_by_rule(text)] == ["EMAIL"]
    assert [span.label for span in detector.scan(text)] == ["PERSON", "EMAIL"]


@pytest.mark.parametrize("text", ["Kata\u200brzyna Nowa\u200dkowska called.", "?to=Katarzyna%20Nowakowska&x=1"])
def test_a_name_in_disguise_is_found(text: str) -> None:
    spans = Detector().scan(text)
    assert [span.label for span in spans] == ["PERSON"]
    assert "rzyna" not in text[: spans[0].start] + text[spans[0].end :]


def test_a_widely_known_name_that_another_engine_finds_is_public() -> None:
    class Names:
        name = "names"

        def find(self, text: str) -> list[tuple[int, int, str]]:
            return [(0, len(text), "PERSON")]

    found = [Detector(engines=[Names()], names=False).scan(name)[0].kind for name in ("albert einstein", "priya rao")]
    assert found == ["public_person", "engine_names"]


def test_a_postcode_beside_a_town_is_an_address(monkeypatch) -> None:
    text = "He moved from 10115 Bjert in spring"
    monkeypatch.setattr("membrain.pii.detector.people_and_places", lambda _: [Span(20, 25, "LOCATION")])
    assert _names(text) == [Span(20, 25, "LOCATION"), Span(14, 19, "ADDRESS")]


def test_warming_up_finds_nothing_new_and_remembers_nothing() -> None:
    detector, text = Detector(), "mail ada@example.com"
    before = detector.scan(text)
    detector.warm()
    assert detector.scan(text) == before
    assert "remembered=1" in repr(detector)
