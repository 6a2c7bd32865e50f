"""Check digits against published examples, and against the same with one sign changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.pii import checks


@pytest.mark.parametrize(("rule", "right", "wrong"), [
    (checks.luhn, "79927398713", "79927398710"), (checks.card, "378282246310005", "378282246310006"),
    (checks.card, "4242 4242 4242 4242", "1234567812345670"),
    (checks.iban, "GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 33"),
    (checks.iban_body, "DE89370400440532013000", "DE89DE89DE89DE89DE89DE"), (checks.iban_body, "GB82WEST1", "PL1A"),
    (checks.aba, "021000021", "021000022"),
    (checks.base58check, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb"),
    (checks.bech32, "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdp"),
    (checks.address, "10.0.0.7", "127.0.0.1"), (checks.address, "2001:db8::1", "::1"),
    (checks.address, "8.8.8.8", "8.8.8.256"),
    (checks.malaysian, "770305-02-1234", "770305-17-1234"), (checks.malaysian, "000229-02-1234", "771305-02-1234"),
    (lambda value: checks.national("se.personnummer", value), "880320-0016", "880320-0017"),
    (lambda value: checks.national("se.personnummer", value), "880320-0016", "881320-0015"),
    (lambda value: checks.national("in_.aadhaar", value), "234123412346", "234123412347"),
])  # fmt: skip
def test_a_check_takes_the_right_and_not_the_wrong(rule, right: str, wrong: str):
    assert rule(right)
    assert not rule(wrong)


@pytest.mark.parametrize(("number", "possible"), [
    ("34612511932", True), ("3461251193", False), ("12025550123", True), ("1202555012", False), ("49301234567", True),
    ("4917012345678", True), ("99912345678", False), ("", False), ("0", False),
])  # fmt: skip
def test_a_number_from_abroad_has_as_many_digits_as_its_country_gives(number: str, possible: bool):
    assert checks.abroad(number) is possible


@pytest.mark.parametrize(("number", "valid"), [
    ("01212340770", True), ("00000000000", False), ("0612345678", True), ("017012345678", True), ("0236618300", True),
    ("612511932", True), ("112511932", False), ("", False),
])  # fmt: skip
def test_a_number_at_home_is_in_the_plan_of_a_country(number: str, valid: bool):
    assert checks.at_home(number) is valid


@given(st.integers(0, 10**17 - 1))
def test_a_resident_number_of_any_digits_is_judged_and_never_raises(number: int):
    taken = [checks.national("cn.ric", f"{number:017}{last}") for last in "0123456789X"]
    assert sum(taken) <= 1


@pytest.mark.parametrize(
    "rule",
    [
        checks.luhn, checks.card, checks.iban, checks.aba, checks.base58check, checks.bech32, checks.address,
        checks.malaysian,
    ],
)  # fmt: skip
@pytest.mark.parametrize("odd", ["", " ", "é", "1", "²³", "\x00", "0" * 200])
def test_no_check_raises_on_odd_input(rule, odd: str):
    assert rule(odd) in {True, False}


def test_a_country_s_ibans_either_have_letters_or_have_none():
    assert not set(checks.IBANS_OF_FIGURES) & set(checks.IBANS_WITH_LETTERS)
    assert all(map(checks.iban_length, (*checks.IBANS_OF_FIGURES, *checks.IBANS_WITH_LETTERS)))
    assert not any(checks.iban_body(f"{country}12345X") for country in checks.IBANS_OF_FIGURES)
    assert all(checks.iban_body(f"{country}12345X") for country in checks.IBANS_WITH_LETTERS)


def test_entropy_counts_bits_for_each_sign():
    assert checks.entropy("") == 0.0
    assert checks.entropy("aaaa") == 0.0
    assert checks.entropy("abcd") == 2.0
