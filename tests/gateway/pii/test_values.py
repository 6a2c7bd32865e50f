"""What stands around a candidate decides: assignments, boundaries, stand-ins."""

import pytest

from membrain.pii.detectors import scanner


def _secrets(text: str) -> list[str]:
    spans = scanner().scan(text)
    return [text[span.start : span.end] for span in spans if span.label in {"SECRET", "URL_CREDENTIALS"}]


@pytest.mark.parametrize(("text", "value"), [
    ('password = "Winter-92!"', "Winter-92!"), ("  password: Tr0ub&dor!\n", "Tr0ub&dor!"),
    ("DB_PASSWORD=hunter2go", "hunter2go"),
    ('{"api_key": "q7Rk2ZpX9vLm4TnB"}', "q7Rk2ZpX9vLm4TnB"), ("x?token=q7Rk2ZpX9vLm4TnB&a=1", "q7Rk2ZpX9vLm4TnB"),
    ("X_TOKEN=9f1c2b3a-1111-4c2d-8e9f-0a1b2c3d4e5f", "9f1c2b3a-1111-4c2d-8e9f-0a1b2c3d4e5f"),
    ("mongodb+srv://u:p4$s!w0rd@c.example/db", "u:p4$s!w0rd"),
])  # fmt: skip
def test_a_secret_is_found_to_its_last_sign(text: str, value: str):
    assert _secrets(text) == [value]


@pytest.mark.parametrize("text", [
    "session=9f1c2b3a-1111-4c2d-8e9f-0a1b2c3d4e5f", "password = get_password(user)", "password: string",
    "token: xxxxxxxxxxxxxxxx",
    "public_key = q7Rk2ZpX9vLm4TnB", "csrf_token = q7Rk2ZpX9vLm4TnB", "auth-server: login1.corp.example.com",
    "key: value",
])  # fmt: skip
def test_a_stand_in_or_code_is_no_secret(text: str):
    assert _secrets(text) == []


def test_a_token_longer_than_its_pattern_is_covered_whole():
    token = "sk-ant-api03-" + "q7Rk2ZpX9vLm4TnB8sWd" * 60
    assert _secrets(f"use {token} now") == [token]


def test_the_last_link_of_a_chain_of_assignments_is_found():
    chain = "token=" * 100 + "q7Rk2ZpX9vLm4TnB"
    both = _secrets(f"{chain};key={'token=' * 70}Zk4pX9vLm4TnBq7R")
    assert [value[-16:] for value in both] == ["q7Rk2ZpX9vLm4TnB", "Zk4pX9vLm4TnBq7R"]


@pytest.mark.parametrize("between", ["&", " ", ",", '"', ";", "\n"])
def test_a_secret_inside_a_long_row_of_settings_is_found(between: str):
    row = between.join(f"key{number}={number}" for number in range(60))
    assert _secrets(f"{row}{between}token=q7Rk2ZpX9vLm4TnB{between}{row}") == ["q7Rk2ZpX9vLm4TnB"]


@pytest.mark.parametrize(("text", "value"), [
    ("pay DE89370400440532013000.", "DE89370400440532013000"),
    ("pay DE89 3704 0044 0532 0130 00 today", "DE89 3704 0044 0532 0130 00"),
    ("pay DE89-3704-0044-0532-0130-00", "DE89-3704-0044-0532-0130-00"),
])  # fmt: skip
def test_an_iban_ends_where_its_country_says(text: str, value: str):
    assert [text[span.start : span.end] for span in scanner().scan(text)] == [value]


@pytest.mark.parametrize(("text", "found"), [
    ('{"first_name": "Babajide", "last_name": "Okonkwo-Reyes"}', ["Babajide", "Okonkwo-Reyes"]),
    ("firstName: 'José'", ["José"]), ('{"first_name": "string", "last_name": "First Name"}', []),
    ("firstName: String, last_name = CharField(), surname: Text", []), ('label="First name"', []),
])  # fmt: skip
def test_a_name_behind_its_key_is_found_between_quotation_marks(text: str, found: list[str]):
    spans = scanner().scan(text)
    assert [text[span.start : span.end] for span in spans if span.label == "PERSON"] == found


@pytest.mark.parametrize(("text", "number"), [
    ("Call 4155550108 now", "4155550108"), ("tel of her dad 07700 900399", "07700 900399"),
    ("ligou do (11) 98765-4195 e quer", "(11) 98765-4195"), ("belde vanaf 06 1234 5637, klaar", "06 1234 5637"),
    ("dzwonił z numeru 512 682 506, prosi", "512 682 506"), ("il suo cellulare è 347 5102433", "347 5102433"),
])  # fmt: skip
def test_a_number_somebody_dials_is_a_phone(text: str, number: str):
    assert [(text[span.start : span.end], span.label) for span in scanner().scan(text)] == [(number, "PHONE")]


@pytest.mark.parametrize(
    "text",
    [
        "call 2024-10-27 14 00 for",
        "at af 06 1234 5637",
        "call 12345678",
        "ring 27.10.2024 12",
        "at 10:03:06.514247+00:00",
        "on 01-15 10",
    ],
)
def test_a_day_or_a_dump_is_no_phone(text: str):
    assert not scanner().scan(text)


@pytest.mark.parametrize(("text", "value"), [
    ("pass = Winterh4ven$Gate", "Winterh4ven$Gate"),
    ("Voici le mot de passe du serveur : Tr0ub-Kestrel!92.", "Tr0ub-Kestrel!92"),
    ('password for user kim set to "R4dish&Copper_19"', "R4dish&Copper_19"), ("DB_PASS=hunter2go", "hunter2go"),
    ("La contraseña del correo de mi hija es hunterGreen#4471x y", "hunterGreen#4471x"),
])  # fmt: skip
def test_a_password_that_is_spoken_of_is_found(text: str, value: str):
    assert [found.rstrip(".") for found in _secrets(text)] == [value]


@pytest.mark.parametrize(("text", "value"), [
    ("card 4242 4242 4242 4242 0", "4242 4242 4242 4242"), ("it is 4242 4242 4242 4242 12/27", "4242 4242 4242 4242"),
    ("it is 4242-4242-4242-4242 123", "4242-4242-4242-4242"), ("it is 4242424242424242 0", "4242424242424242"),
    ("it is 3782 822463 10005 7", "3782 822463 10005"), ("12 4242 4242 4242 4242", "4242 4242 4242 4242"),
    ("row 5500 4242 4242 4242 4242", "4242 4242 4242 4242"), ("it is 4308-0230 0253 1575", "4308-0230 0253 1575"),
])  # fmt: skip
def test_a_card_is_found_among_other_numbers_and_with_mixed_signs(text: str, value: str):
    assert [(text[s.start : s.end], s.label) for s in scanner().scan(text)] == [(value, "CREDIT_CARD")]


@pytest.mark.parametrize(
    "text", ["no 4242 4242 4242 4241 0 there", "no 4308-0230 0253 1576", "no 42424242424242421234"]
)
def test_a_row_of_groups_without_the_right_check_digit_is_no_card(text: str):
    assert not scanner().scan(text)


@pytest.mark.parametrize(("text", "value"), [
    ("ring +34 612 51 19 32 123456 now", "+34 612 51 19 32"), ("at 0121 234 0770 12:30 today", "0121 234 0770"),
    ("at 0121 234 0770 2024-05-01 today", "0121 234 0770"), ("2024-05-01 0121 234 0770", "0121 234 0770"),
    ("ring 415 555 0108 12/03/2024", "415 555 0108"), ("item 12 0121 234 0770", "0121 234 0770"),
])  # fmt: skip
def test_a_phone_ends_where_another_number_begins(text: str, value: str):
    assert [(text[s.start : s.end], s.label) for s in scanner().scan(text)] == [(value, "PHONE")]
