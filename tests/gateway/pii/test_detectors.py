"""The table: every row finds its own example and leaves its counter-example alone."""

import pytest

from membrain.pii import checks
from membrain.pii.detectors import KINDS, detect, find, scanner
from membrain.pii.kinds import Kind
from membrain.pii.scan import Scanner
from tests.growth import assert_linear, filled

LABELS = {
    "EMAIL", "PHONE", "CREDIT_CARD", "IBAN", "BANK_ACCOUNT", "US_SSN", "NATIONAL_ID", "PASSPORT", "DRIVER_LICENSE",
    "DATE_OF_BIRTH", "IP", "MAC", "SECRET", "URL_CREDENTIALS", "CRYPTO", "PERSON",
}  # fmt: skip
FILLS = (
    "a", "A", "0", "1", "9", " ", "\n", "-", ".", ":", "/", "@", "=", "+", "(", "_", "é", "{", "\\", '"',
    "a.", "a@", "1-", "1 ", "0 1", "(1", "+1", "a:", "1:", "::", "ab:", "x=", "key=", "token=", 'secret:"',
    "password: a1",
    "ssn ", "born 1", "phone (", "iban DE", "DE89 ", "eyJhbGciOi", "eyJhbGciOiJI.", "sk-ant-api03-", "ghp_", "xoxb-1",

    "-----BEGIN PRIVATE KEY-----", "https://a:", "bc1q", "0x12", "card 4", "account 12", "a@b.", "Bearer a", "%40",
    "your-", "aB3-", "pass=a-b_c.", "4242 ", "0121 ", "Authorization: ", "1.2.3.4 ", "0121 234 0770 ", "12-34-56-",
    "+34 612 51 19 32 ", "a@b.co ", "ssn 923-45-6789 ", "token=q7Rk2ZpX9vLm4TnB ", "password: hunter2go\n",
    "DL-B24145-45 ", "915 000 806 ", "cpr: 817718-5426. ", "679 67 102 ", "451 598 ", "nric: 770305-02-1234. ",
    "+34 612 51 19 3 ",
)  # fmt: skip


def _found(scanner_: Scanner, text: str) -> set[tuple[str, str]]:
    return {(text[span.start : span.end], span.label) for span in scanner_.scan(text)}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_finds_its_example_and_not_its_counter_example(kind: Kind):
    alone = Scanner([kind])
    assert (kind.value, kind.label) in _found(alone, kind.hit)
    assert not alone.scan(kind.miss)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_wins_its_example_among_all_the_others(kind: Kind):
    assert (kind.value, kind.label) in _found(scanner(), kind.hit)


@pytest.mark.parametrize("country", sorted({*checks.IBANS_OF_FIGURES, *checks.IBANS_WITH_LETTERS}))
def test_an_iban_of_every_country_is_found_in_capitals_small_letters_and_groups(country: str):
    size = checks.iban_length(country)
    assert size is not None
    body = ("1234567890" * 4)[: size - 4]
    value = next(each for two in range(2, 99) if checks.iban(each := f"{country}{two:02}{body}"))
    grouped = " ".join(value[place : place + 4] for place in range(0, size, 4))
    for written in (value, value.lower(), grouped, grouped.replace(" ", "-")):
        assert (written, "IBAN") in _found(scanner(), f"pay {written} today")


@pytest.mark.parametrize("text", ["bc10ax8821z4vah4lztrue90a2g25tfgtmugf0x7ugrh", "LT19Vq6gF5QuPX65eqoeZ7JdUuqeDQazf"])
def test_what_begins_like_an_iban_hides_no_other_value(text: str):
    found = _found(scanner(), f"see {text} and DE89 3704 0044 0532 0130 00 there")
    assert ("DE89 3704 0044 0532 0130 00", "IBAN") in found
    assert text[:2] != "bc" or (text, "CRYPTO") in found


_NUMBERS = [kind for kind in KINDS if kind.label not in {"SECRET", "URL_CREDENTIALS", "PERSON"}]


@pytest.mark.parametrize("kind", _NUMBERS, ids=lambda kind: kind.name)
def test_numbers_that_stand_behind_a_value_hide_nothing_of_it(kind: Kind):
    for more in (" 7", " 12", " 555", " 2024", " 4242", ", 7", "\n7", " 2024-05-01", " 12/03/2024", " 12:30"):
        text = kind.hit.replace(kind.value, kind.value + more)
        assert _covers(text, kind.value), more


@pytest.mark.parametrize("kind", [kind for kind in _NUMBERS if kind.family != "named"], ids=lambda kind: kind.name)
def test_numbers_that_stand_before_a_value_hide_nothing_of_it(kind: Kind):
    for other in ("12 ", "7 ", "2024 ", "(7) ", "7, ", "7\n", "1. ", "#3 ", "2024-05-01 ", "12/03/2024 "):
        text = kind.hit.replace(kind.value, other + kind.value)
        assert _covers(text, kind.value), other


def _covers(text: str, value: str) -> bool:
    """Whether every letter and figure of the value is in some finding."""
    place = text.index(value)
    covered = {at for span in scanner().scan(text) for at in range(span.start, span.end)}
    return all(at in covered for at in range(place, place + len(value)) if text[at].isalnum())


def test_there_are_enough_kinds_and_no_two_share_a_name():
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 40
    assert {kind.label for kind in KINDS} == LABELS
    countries = {kind.name[:2] for kind in KINDS if kind.label == "NATIONAL_ID" and kind.name[2] == "_"}
    assert len(countries) >= 25


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_value_that_is_bent_is_found_or_not_but_never_a_failure(kind: Kind):
    """A pattern must mean the same in its candidate as in the text: the edge of a word needs a letter beside it."""
    for sign in "-_.:/+=~ é0a(":
        for bent in (kind.value[:-1] + sign, sign + kind.value[1:], kind.value + sign, sign + kind.value):
            scanner().scan(f"{bent}50a2 a0{bent} {bent}-{bent}")


@pytest.mark.parametrize("text", [
    "id 9f1c2b3a-1111-4c2d-8e9f-0a1b2c3d4e5f done",
    "commit 8a291c18a48c393d76aacf34e0956bca3db4219a (tag: v13.19.40)",
    "sha256:165a66d3a8509ccc2aa488e5e6cf2e3589d996b463d68742a1e81171b2556610",
    '"integrity": "sha512-VrjVzwrEEl/ysJupzbaqaZ8n/8us/SfZ6qE0vBdpN0xOZHqLVevvJMHAkxwiXM3phdoqphxArE14LYtmVeqhPz=="',
    "url(data:image/png;base64,iVBORw0KGgojPWMczd/5wVdek7xb5hq/ObKFBA9oxkZzUTDBxSHwgQK7mBEHQFjP3LYD)",
    "golang.org/x/crypto v8.17.41-0.20241167222560-62bfb9490d32 h1:55Zij4Zh8LRXeriQIRT1DRQArbp6r9Kff7JndxHmxN0=",
    "2024-10-27T03:14:11.103472+00:00 took 94891ms at 12:34:56",
    "token = self.tokenizer.next_token(buffer, max_tokens=4096)",
    "password = os.environ['DB_PASSWORD']", 'password: "${DB_PASSWORD}"', "api_key: <your key here>",
    "const key = item.primaryKey; cacheKey: 'users:list:page1'",
    "version 1.2.3.4 and 10.27.4.4137, listen on 127.0.0.1 and 0.0.0.0",
    "0x803ddfcc38e0a8c6: 48 89 e5 8c ce 08 19 31", "for (let i = 0; i < 1000; i++) { a[i] = b[i] ^ 0xdeadbeef; }",
    "std::vector<int>::iterator it = v.begin(); ns::fn();",
])  # fmt: skip
def test_what_only_looks_private_is_left_alone(text: str):
    assert detect(text) == []


@pytest.mark.parametrize(("text", "value", "label"), [
    ("ssn=900-12-3456", "900-12-3456", "US_SSN"), ("mail someone@example.com", "someone@example.com", "EMAIL"),
    ("card 4111111111111111", "4111111111111111", "CREDIT_CARD"), ("call 202-555-0123", "202-555-0123", "PHONE"),
    ("key AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE", "SECRET"), ("at 10.0.3.7", "10.0.3.7", "IP"),
])  # fmt: skip
def test_reserved_values_count_as_real(text: str, value: str, label: str):
    assert [(text[a:b], name) for a, b, name in detect(text)] == [(value, label)]


@pytest.mark.parametrize("fill", FILLS)
def test_time_grows_with_the_text_and_no_faster(fill: str):
    """Twice the text takes at most two and a half times as long, and 80 KB never absurdly long."""
    assert_linear(scanner().scan, filled(fill), 40_000, within=0.4)


def test_find_and_detect_say_the_same():
    text = "Grüße, 😀 ana@example.com und 4242 4242 4242 4242"
    assert detect(text) == [(span.start, span.end, span.label) for span in find(text)]
    assert [text[a:b] for a, b, _ in detect(text)] == ["ana@example.com", "4242 4242 4242 4242"]
