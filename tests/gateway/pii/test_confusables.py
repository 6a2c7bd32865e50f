"""What a character stands for, and when a look-alike letter is a disguise."""

import re

import pytest

from membrain.pii.confusables import (
    DIGITS,
    LOOKALIKES,
    ORDINARY,
    STYLED,
    UNSEEN,
    DisguisedLetters,
    character_class,
    digit_ranges,
    plain,
)


def _characters(ranges: str) -> list[str]:
    pairs = [each.split("-") for each in ranges.split()]
    return [chr(code) for first, last in pairs for code in range(int(first, 16), int(last, 16) + 1)]


@pytest.mark.parametrize(
    ("character", "meaning"),
    [
        ("\uff41", "a"), ("\U0001d423", "j"), ("\u24d9", "j"), ("\u24a5", "j"), ("\U0001f159", "J"),
        ("\U0001f179", "J"), ("\U0001f1ef", "J"), ("\u2463", "4"), ("\u277e", "9"), ("\u2793", "10"),
        ("\u2488", "1"), ("\u2474", "1"),
        ("\u2074", "4"), ("\u02b2", "j"), ("\u0664", "4"), ("\u096a", "4"), ("\U0001d7d2", "4"), ("\u2011", "-"),
        ("\u2009", " "), ("\u00a0", " "), ("\u3002", "."), ("\u200b", ""), ("\u00ad", ""), ("\ufe0f", ""),
        ("\u0301", ""), ("\U000e0041", ""), ("\u202e", ""), ("\u3164", ""), ("é", "é"), ("漢", "漢"), ("½", "½"),
    ],
)  # fmt: skip
def test_a_character_stands_for(character: str, meaning: str):
    assert plain(character) == meaning


def test_every_digit_of_every_script_is_a_digit():
    for zero in DIGITS.split():
        assert [plain(chr(int(zero, 16) + value)) for value in range(10)] == list("0123456789")


def test_ordinary_letters_stand_for_themselves():
    assert [sign for sign in _characters(ORDINARY) if plain(sign) != sign] == []


def test_what_is_unseen_stands_for_nothing():
    assigned = [sign for sign in _characters(UNSEEN) if sign.isprintable() or not sign.isspace()]
    left = [hex(ord(sign)) for sign in assigned if plain(sign) not in {"", sign}]
    assert left == []


def test_most_of_what_is_styled_stands_for_ascii():
    meanings = [plain(sign) for sign in _characters(STYLED + " " + digit_ranges())]
    assert sum(map(str.isascii, meanings)) > 0.8 * len(meanings)


def test_look_alikes_are_no_ascii_and_look_like_one_letter():
    assert all(not sign.isascii() and re.fullmatch("[A-Za-z]", letter) for sign, letter in LOOKALIKES.items())


def test_each_look_alike_stands_in_one_row():
    from membrain.pii import confusables

    codes = " ".join(confusables._ALIKE.values()).split()
    assert len(codes) == len(set(codes))


def test_a_class_of_ranges_is_one_for_re2():
    assert character_class("AD-AD 300-36F") == r"\x{AD}-\x{AD}\x{300}-\x{36F}"


def disguised_letters(text: str, places: range) -> set[int]:
    letters = DisguisedLetters(text)
    for place in places:
        letters.are_at(place)
    return letters.places


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("j\u0430ne@example.com", {1}),
        ("\u0441\u0430\u0440@x.org", {0, 1, 2}),
        ("\u0410\u041a\u0406\u04107Q", {0, 1, 2, 3}),
        ("\u043f\u0440\u0438\u0432\u0435\u0442", set()),  # a Russian word
        ("\u0440\u043e\u0441\u0430", set()),  # one whose letters all look so
        ("IT-\u043a\u043e\u043c\u043f\u0430\u043d\u0438\u044f", set()),  # a Russian word behind Latin letters
        ("jos\u00e9@\u0435x.com", {5}),
    ],
)
def test_letters_are_in_disguise_where_a_reader_takes_them_for_ascii(text: str, letters: set[int]):
    assert disguised_letters(text, range(len(text))) == letters


def test_a_word_says_whether_it_has_any():
    letters = DisguisedLetters("j\u0430ne \u0440\u043e\u0441\u0430")
    assert [letters.are_at(place) for place in (0, 3, 5, 8)] == [True, True, False, False]


def test_a_long_word_is_read_once():
    word = "a\u0430" * 50_000
    assert disguised_letters(word, range(0, len(word), 2)) == set(range(1, len(word), 2))
