"""What matches begin with is worked out from patterns as they are written; no place where one begins is lost."""

import random

import pytest

from membrain.pii.detectors import KINDS
from membrain.pii.kinds import WORDED
from membrain.pii.leads import ROWS, Leads, beginnings

_WORDED = [kind for kind in KINDS if kind.family in WORDED]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"\bgh[pousr]_\w{4}", {b"\bgh"}),
        (r"\bgh[pr]_\w{4}", {b"\bghp_", b"\bghr_"}),
        (r"(?i:Tel\.?|\bfax\b): ?\d", {b"tel 0", b"tel  0", b"tel   0", b"\bfax "}),
        (r"\b\d{8,9}:A", {b"\b00000000 a", b"\b000000000 a"}),
        (r"colou?rs{2,}", {b"colorss", b"colorsss", b"colorssss", b"colourss", b"coloursss", b"colourssss"}),
        (r"\s--?token", {b"  token", b"   token"}),
        (r"[\x61\x62]bc\n", {b"abc ", b"bbc "}),
        (r"key(?:_id)?=", {b"key ", b"key_id "}),
    ],
)
def test_beginnings_are_read_out_of_a_pattern(pattern: str, words: set[bytes]):
    assert beginnings(pattern) == (words, False, True)


@pytest.mark.parametrize("pattern", [r"ab\S", r"ab[\W]", r"^ab", r"ab$", r"ab\B"])
def test_what_cannot_be_read_is_an_error_and_not_a_gap(pattern: str):
    with pytest.raises(ValueError, match="No beginnings"):
        beginnings(pattern)


def test_a_lazy_repetition_is_read_as_any():
    assert beginnings(r"ab{2,3}?c").words == beginnings(r"ab{2,3}c").words == {b"abbc", b"abbbc"}
    assert beginnings(r"abc+?d").words == {b"abcd", b"abccd", b"abcccd", b"abccc"}


def test_a_beginning_is_cut_where_it_is_long_enough():
    assert beginnings(r"identification number \d+").words == {b"identificati"}


@pytest.mark.parametrize("pattern", [r"[A-Za-z0-9]{14}\.atlas", r"\b[sb]\.\w{24}", r"x?", r"\b\.env", r"[^a]bc"])
def test_what_begins_with_nothing_of_its_own_is_looked_for_elsewhere(pattern: str):
    assert beginnings(pattern) == (frozenset(), True, False)


def test_what_begins_beyond_ascii_is_told_from_the_rest():
    assert beginnings(r"\begn\b|ЕГН") == ({b"\begn "}, True, True)
    assert beginnings(r"führerschein").words == {b"f  hrerschei"}


@pytest.mark.parametrize(
    ("text", "places"),
    [("a pin", [2]), ("pin", [0]), ("éPIN", [2]), ("spin", []), ("_pin", []), ("pins", []), ("pin-pin", [0, 4])],
)
def test_a_word_stands_between_boundaries(text: str, places: list[int]):
    leads = Leads([[], [frozenset(), beginnings(r"\bpin\b").words]])
    assert leads.within(text.encode()) == [[], [place * ROWS + 1 for place in places]]


def test_a_match_never_begins_before_the_text():
    leads = Leads([[beginnings(r"\s-user").words]])
    assert leads.within(b"-user") == [[]]
    assert leads.within(b" -user -user") == [[0, 6 * ROWS]]


def test_without_a_word_there_is_no_place():
    assert Leads([[frozenset()], []]).within(b"anything") == [[], []]


def test_a_table_has_fewer_rows_than_a_place_can_tell():
    assert max(sum(kind.family == family for kind in _WORDED) for family in WORDED) < ROWS


@pytest.mark.parametrize("family", sorted(WORDED))
def test_nearly_every_kind_of_these_families_begins_with_a_word(family: str):
    told = [bool(beginnings(kind.lead or kind.pattern).words) for kind in _WORDED if kind.family == family]
    assert sum(told) >= 0.9 * len(told)


def test_every_example_stands_where_its_kind_may_begin():
    rows = [beginnings(kind.lead or kind.pattern) for kind in _WORDED]
    leads = Leads([[each.words] for each in rows])
    dice = random.Random(4)
    for row, kind in enumerate(_WORDED):
        for before in ("", "x ", "\n", "é"):
            text = dice.choice([str, str.title])(before) + kind.hit
            assert rows[row].elsewhere or leads.within(text.encode())[row], kind.name
