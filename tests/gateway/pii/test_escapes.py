"""What escapes and styled characters say, and where they stand."""

import pytest

from membrain.pii.escapes import from_mail, is_idle, resolved


def _read(text: str, edits: list[tuple[int, int, str]]) -> str:
    parts, place = [], 0
    for start, end, says in edits:
        assert place <= start < end <= len(text)
        parts += [text[place:start], says]
        place = end
    return "".join(parts) + text[place:]


def read(text: str, letters: tuple[int, ...] = ()) -> str:
    return _read(text, list(resolved(text, 0, len(text), letters)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a%40b", "a@b"), ("a%2540b", "a@b"), ("a%252540b", "a@b"), ("100%25", "100%"), ("5% of", "5% of"),
        ("Z%C3%BCrich", "Zürich"), ("Z%25C3%25BCrich", "Zürich"), ("Z%FCrich", "Zürich"), ("%E2%82%AC", "€"),
        ("%F0%9D%90%A3", "j"), ("%u0040", "@"), ("%zz%4", "%zz%4"),
        ("a&#64;b", "a@b"), ("a&#064b", "a@b"), ("a&#x40;b", "a@b"), ("a&commat;b", "a@b"), ("a&amp;#64;b", "a@b"),
        ("a&amp;amp;#64;b", "a@b"), ("x &amp; y", "x & y"), ("a&zwnj;b&shy;c&nbsp;d", "abc d"),
        (r"a\u0040b", "a@b"), (r"a\\u0040b", "a@b"), (r"a\\\\u0040b", "a@b"), (r"a\x40b", "a@b"),
        (r"\U00000040", "@"), (r"a\u{40}b", "a@b"), (r"\u{1D423}", "j"), (r"\ud835\udc23", "j"),
        (r"\\ud835\\udc23", "j"), (r"\/", "/"),
        (r"\"key\"", '"key"'), (r"one\ntwo", "one\ntwo"), (r"a\_b", "a_b"), (r"\u200b", ""), (r"\d\w", r"\d\w"),
        ("\uff4a\uff41", "ja"), ("j\u200ba\u0301", "ja"), ("\u2463\u2009\u2463", "4 4"),
        ("привет, Köln", "привет, Köln"), ("&nosuch;", "&nosuch;"),
    ],
)  # fmt: skip
def test_what_a_text_says(text: str, says: str):
    assert read(text) == says


def test_letters_are_read_as_ascii_where_told_so():
    assert read("\u0430b\u0430 \u0430", (0, 2)) == "aba \u0430"


def test_characters_that_stand_for_one_each_are_one_edit():
    assert list(resolved("x \uff4a.\uff41 y", 0, 7, ())) == [(2, 5, "j.a")]


def test_only_the_part_asked_for_is_read():
    assert list(resolved("%41%42%43", 3, 6, ())) == [(3, 6, "B")]


@pytest.mark.parametrize(
    ("text", "says"),
    [("jane=40example.com", "jane@example.com"), ("Z=C3=BCrich", "Zürich"), ("one=\ntwo=  \r\nthree", "onetwothree")],
)
def test_what_a_mail_says(text: str, says: str):
    assert _read(text, list(from_mail(text, 0, len(text), ()))) == says


@pytest.mark.parametrize(
    ("text", "idle"),
    [
        ("&amp; b", True), ("&lt;", True), ("&quot;x", True), ("&nbsp;", True), ("&lt;&gt;", True),
        ("&amp;#64;", False), ("&quot;: ", False), ("&nbsp;4", False), ("&commat;", False), ("&#64;", False),
    ],
)  # fmt: skip
def test_references_that_everybody_writes_are_idle(text: str, idle: bool):
    assert is_idle(text, 0, text.rindex(";") + 1) is idle
