"""Cells of tables: told by a heading far above, or by the rest of their row."""

import pytest

from membrain.pii.columns import columns, records
from membrain.pii.detectors import scanner
from membrain.pii.kinds import Span
from tests.growth import assert_linear


def _named(text: str) -> list[tuple[str, str]]:
    return [(text[span.start : span.end], span.label) for span in columns(text)]


@pytest.mark.parametrize("before", ["", "Überschrift\n", "naïve \U0001f600,é\n", "\ud800\n"])
def test_a_heading_is_found_whatever_stands_before_it(before: str):
    assert _named(f"{before}ü,imię\n1,Zoé") == [("Zoé", "PERSON")]
    assert _named(f"{before}imię,é\nZoé,1\n\nü|ssn\n1|123456789") == [("Zoé", "PERSON"), ("123456789", "US_SSN")]
    assert _named(f"{before}imię") == []


def _recorded(text: str) -> list[tuple[str, str]]:
    return [(text[span.start : span.end], span.label) for span in records(text, scanner().scan(text))]


@pytest.mark.parametrize(("text", "found"), [
    ("id,first_name,ssn\n1,Jane,123456789\n2,Bo,223456789\n",
     [("Jane", "PERSON"), ("123456789", "US_SSN"), ("Bo", "PERSON"), ("223456789", "US_SSN")]),
    ("| Id | Passport No |\n|----|-------------|\n| 1 | C736LVJ04 |\n", [("C736LVJ04", "PASSPORT")]),
    ("userId\tdateOfBirth\r\n1\t1.2.1980\r\n", [("1.2.1980", "DATE_OF_BIRTH")]),
    ("a;Mobile;b\n1;612 345 678;2", [("612 345 678", "PHONE")]),
    ('n,"Account Number"\n1,"12345678"\n', [("12345678", "BANK_ACCOUNT")]),
    ("n,card\n1,4242424242424241\n", [("4242424242424241", "CREDIT_CARD")]),
    ("n,drivers_license\n1,X12-3456\n", [("X12-3456", "DRIVER_LICENSE")]),
    ("n,National ID\n1,AB 12345\n", [("AB 12345", "NATIONAL_ID")]),
    ('n,address\n1,"12 Elm, Bonn"\n', [("12 Elm, Bonn", "ADDRESS")]),
    ("user,password\nbo,hunter2go\n", [("hunter2go", "SECRET")]),
    ("é,😀,ssn\nü,漢,123456789\n", [("123456789", "US_SSN")]),
    ("\ud800,ssn\n1,123456789", [("123456789", "US_SSN")]),
])  # fmt: skip
def test_a_heading_names_what_stands_under_it(text: str, found: list[tuple[str, str]]):
    assert _named(text) == found


def test_a_table_may_be_long_and_ends_with_the_first_line_of_another_width():
    rows = "".join(f"{number},{number + 100000000}\n" for number in range(500))
    text = f"id,ssn\n{rows}\nand then 5,100000007,and more\n"
    assert len(_named(text)) == 500


@pytest.mark.parametrize("text", [
    "def call(name, phone, email):\n    return name, phone, 12\n", "ssn\n123456789\n",
    "the ssn, of course,\nis not here\n",
    "| Name | Type | Description |\n|---|---|---|\n| token | string | a secret |\n",
    "| token | type |\n|---|---|\n| the token | string |\n",
    "SELECT first_name, last_name\nFROM people, places\nWHERE 1",
    "name,version\nmembrain,1.2.3\n", "id,phone", "phone,\n", "",
])  # fmt: skip
def test_words_that_head_no_table_name_nothing(text: str):
    assert [label for _, label in _named(text) if label != "PERSON"] == []


ROW = "Ann Lee|961-61-7261|1956-10-14|ann@example.com|+1 (461) 427-1393|4000-0000-0089-7657|10315393|P1D124261|3"


def test_a_row_with_enough_known_cells_gives_away_the_others():
    assert _recorded(f"x\n{ROW}\n{ROW}") == [
        ("1956-10-14", "DATE_OF_BIRTH"), ("10315393", "BANK_ACCOUNT"), ("P1D124261", "PASSPORT"),
    ] * 2  # fmt: skip


@pytest.mark.parametrize("text", [
    "ann@example.com|+1 (461) 427-1393|1956-10-14|10315393", "2024-10-27,10.0.3.7,ann@example.com,10315393",
    "write to ann@example.com, +1 (461) 427-1393, SSN 961-61-7261, on 1956-10-14 or 10315393",
])  # fmt: skip
def test_a_row_without_enough_of_them_gives_away_nothing(text: str):
    assert _recorded(text) == []


@pytest.mark.parametrize("fill", [
    "ssn,", "ssn,dob\n", "ssn|", "ssn\n", "ssn,dob\n1,2\n", 'ssn,"', 'ssn,dob\n"', "phone,a\n1,1\n",
    f"{ROW}\n", f"{ROW}|",
])  # fmt: skip
def test_reading_tables_takes_time_in_proportion(fill: str):
    def scanned(size: int) -> tuple[str, list[Span]]:
        text = fill * (size // len(fill))
        return text, scanner().scan(text)

    def read(given: tuple[str, list[Span]]) -> None:
        text, found = given
        columns(text)
        records(text, found)

    assert_linear(read, scanned, 30_000)
