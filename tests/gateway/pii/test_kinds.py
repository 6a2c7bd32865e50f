"""A span says where, and never what."""

from membrain.pii.kinds import Severity, Span, named
from membrain.pii.scan import Scanner
from membrain.pii.values import alone


def test_spans_sort_by_place_and_compare_without_their_kind():
    assert min([Span(3, 4, "A"), Span(1, 2, "B")]).label == "B"
    assert Span(1, 2, "A", "x", Severity.LOW) == Span(1, 2, "A", "y", Severity.HIGH)


def test_a_named_kind_asks_for_its_word_near_the_value():
    kind = named("locker", "LOCKER", Severity.LOW, r"\blocker\b", r"\d{3}", alone, value="123", said="locker")
    scanner = Scanner([kind])
    for text in ("locker 123", "Locker no. 123", "locker: (123)", "LOCKER is at 123", kind.hit):
        assert [text[span.start : span.end] for span in scanner.scan(text)] == ["123"]
    for text in ("123", "lockers 123", "locker" + " " * 30 + "123", "locker, the one by the door, 123", kind.miss):
        assert not scanner.scan(text)
