"""A span says where, and never what."""

from membrain.pii.kinds import Severity, Span


def test_spans_sort_by_place_and_compare_without_their_kind():
    assert min([Span(3, 4, "A"), Span(1, 2, "B")]).label == "B"
    assert Span(1, 2, "A", "x", Severity.LOW) == Span(1, 2, "A", "y", Severity.HIGH)
