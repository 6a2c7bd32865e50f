"""Street addresses: each shape of the table, whole addresses of many countries, what is none, time and offsets."""

# ruff: noqa: RUF001  # other scripts have letters that look like Latin ones

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.pii.addresses import SHAPES, Shape, addresses, codes_beside
from membrain.pii.kinds import Severity, Span
from tests.growth import assert_linear, assert_within, filled

WHOLE = (
    "Please ship it to [1600 Pennsylvania Ave NW, Washington, DC 20500].",
    "My office is at [350 Fifth Avenue, 34th Floor, New York, NY 10118], near the park.",
    "[221b Baker St, Marylebone, London NW1 6XE, United Kingdom]",
    "Send to [4 Privet Drive, Little Whinging, Surrey GU21 4ET]",
    "HQ: [1 Hacker Way, Menlo Park, CA 94025]",
    "[1234 NW Bobcat Lane, St. Robert, MO 65584-5678]",
    "John Doe\n[123 Main St Apt 4B\nNew York, NY 10001\nUSA]",
    "ADDRESS: [1600 AMPHITHEATRE PKWY, MOUNTAIN VIEW, CA 94043]",
    "[4500 US Highway 41 N, Marquette, MI 49855]",
    "[RR 2 Box 152, Osseo, MN 55369]",
    "[Unit 5, 42 Wallaby Way, Sydney NSW 2000]",
    "[24 Sussex Drive, Ottawa, ON K1M 1M4, Canada]",
    "[12 The Avenue, Ealing, London W13 8PH]",
    "[10 O'Connell Street Lower, Dublin 1, D01 F5P2]",
    "[1010 rue Sherbrooke Ouest, Montréal, QC H3A 2R7]",
    "[55 rue du Faubourg Saint-Honoré, 75008 Paris]",
    "[23 bis, avenue Jean-Jaurès\n69007 Lyon]",
    "[Friedrichstraße 43-45, 10117 Berlin]",
    "[Hauptstr. 5, 80331 München, Deutschland]",
    "[Mariahilfer Straße 12/3/4, 1060 Wien, Österreich]",
    "[Bahnhofstrasse 21, CH-8001 Zürich]",
    "[Am Markt 1\n28195 Bremen]",
    "[Postfach 10 01 02, 50441 Köln]",
    "[Via Giuseppe Garibaldi 12, 20121 Milano MI, Italia]",
    "[Piazza del Duomo, 1, 50122 Firenze (FI)]",
    "[Calle de Alcalá, 45, 2º izquierda, 28014 Madrid]",
    "[C/ Gran Vía 12, 3º B, 48001 Bilbao, España]",
    "[Calle 93 # 11-27, Bogotá, Colombia]",
    "[Rua Augusta, 1500, apto 12, São Paulo - SP, 01304-001, Brasil]",
    "[Largo do Chiado 5, 1200-108 Lisboa, Portugal]",
    "[Keizersgracht 174, 1016 DW Amsterdam]",
    "[Rue de la Loi 16, 1000 Bruxelles]",
    "[Drottninggatan 71, 111 36 Stockholm]",
    "[Vesterbrogade 3, 1620 København V]",
    "[Mannerheimintie 10, 00100 Helsinki]",
    "mieszkam przy [al. Jerozolimskie 65, 00-697 Warszawa]",
    "[Na Příkopě 33, 110 00 Praha]",
    "[Andrássy út 60, 1062 Budapest]",
    "[Bağdat Caddesi No:123 D:4, Kadıköy/İstanbul]",
    "[г. Москва, ул. Тверская, д. 12, кв. 34]",
    "[Ερμού 15, 105 63 Αθήνα]",
    "[Flat No. 402, Sai Residency, Baner Road, Pune - 411045, India]",
    "[〒100-8111 東京都千代田区千代田1-1]",
    "[台北市信義區信義路五段7號]",
    "[Blk 123 Ang Mo Kio Avenue 6 #08-123, Singapore 560123]",
    "> Alma Jensen\n> [91215 Harjukuja 54\n> Suite 318\n> SEINÄJOKI\n> Finland 38524]",
    "[6750 Koskikatu 25 Apt. 864\nArtilleros\n, CO\n Uruguay 64677]",
    "She lives at [88 Broadway].",
    "The address is [Kärntner Ring 16].",
    "my address is [12 baker street, london]",
    "1,Jane,[12 Main Street,Springfield,IL,62701],active",
    'street = "[55 Water Street]"',
    "<street>[12 Old Mill]</street>",
    "Ann · [12 Main Street · Springfield, IL 62701] · 555",
    "[Flat 12B, Lotus Towers, near City Mall, Sector 21, Andheri West, Mumbai, Maharashtra 400053]",
    '{"text": "send it to [12 Main Street\\nSpringfield, IL 62701]\\nthanks"}',
)
FIELDS = (
    '{"street": "[Musterstraße 12a]", "zip": "[10115]", "city": "[Berlin]"}',
    '{\\"street\\": \\"[12 Old Mill]\\", \\"zip\\": \\"[12345]\\"}',
    """{"street": "[12 O'Connell Row]"}""",
    '{"address_line_1": "[Old Mill 3]", "city": "[Cambridge]", "postal_code": [02139]}',
)
NONE = (
    "Main Street is busy and she lives on Baker Street",
    "a 3 way merge, a 5 min drive and 12 rue",
    "Python 3, Django 5, Node 20",
    "On May 5, 2010, In 1995, Table 4\n10000 Rows",
    "see RFC 2616, Section 4\nHTTP 404 Not Found",
    "In 1969 Abbey Road was recorded",
    "# Copyright (C) 2015 Ann Example\n# Copyright (C) 2019 Bob Example",
    "Foundation, Free Software Foundation, Inc., 51 Franklin Street, Fifth Floor, Boston, MA 02110-1301 USA",
    "IP address: Block 4, Email Address: Type 1",
    'listen_address = "0.0.0.0:8080"; "address": "10.0.0.1:80 up"',
    "12 Angry Men, France",
    "boarding at Boarding gate 5, tie 3",
    "v1.12 Main Street and a/12 Main Street and x-12 Main Street",
    "total: 12 Streaming Roads of data",
    'city = {"city": "Berlin", "zip": "10115"}',
)
FILLS = (
    "1 a ", "St ", "12 Main ", "12 Main,\n", "1 Main St ", "Foo 1, ", "Foo 1, Foo 2, Foo 12345, ", "lives at ",
    "Ab-", "é", "漢", "address: ", '"street": "1 A',
)  # fmt: skip


def _spelt(marked: str) -> tuple[str, list[str]]:
    """A text without its marks, and the values between them."""
    return marked.replace("[", "").replace("]", ""), re.findall(r"\[(.*?)\]", marked, re.DOTALL)


def _found(text: str) -> list[str]:
    return [text[span.start : span.end] for span in addresses(text)]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_shape_is_found_whole_and_its_counter_example_is_not(shape: Shape):
    assert _found(shape.hit) == [shape.value]
    assert _found(shape.miss) == []


@pytest.mark.parametrize("marked", WHOLE + FIELDS)
def test_the_whole_address_is_one_span_and_nothing_else_is(marked: str):
    text, values = _spelt(marked)
    assert _found(text) == values


@pytest.mark.parametrize("text", NONE)
def test_what_only_looks_like_an_address_is_left_alone(text: str):
    assert _found(text) == []


def test_a_finding_says_what_it_is():
    (span,) = addresses("at 221B Baker Street.")
    assert (span.start, span.end, span.label) == (3, 20, "ADDRESS")
    assert (span.kind, span.severity) == ("street_address", Severity.MEDIUM)


def test_offsets_are_characters_whatever_stands_before():
    text = "é\U0001f600漢 \ud800 Musterstraße 12a, 10115 Köln, then 5 Elm Street"
    assert _found(text) == ["Musterstraße 12a, 10115 Köln", "5 Elm Street"]


def test_two_addresses_on_one_line_are_two_spans():
    assert _found("from 12 Main Street, Dover, OH 44622 to 5 Elm Road, Salem, NC 21368") == [
        "12 Main Street, Dover, OH 44622",
        "5 Elm Road, Salem, NC 21368",
    ]


def test_a_name_or_a_telephone_number_after_the_address_is_no_part_of_it():
    assert _found("12 Main Street, Dover, OH 44622\nPhone 07400 126948\nAnn") == ["12 Main Street, Dover, OH 44622"]
    assert _found("12 Main Street, phone 555 0100") == ["12 Main Street"]


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("the office in Bjert 6091 is open", ["6091"]),
        ("10115 Bjert is", ["10115"]),
        ("to Bjert, 840 24", ["840 24"]),
        ("Bjert 2019 was", []),
        ("in Bjert 5000 people", []),
        ("v1.10115 Bjert 10.5", []),
    ],
)
def test_a_postcode_beside_a_known_town_is_found_and_a_year_or_a_count_is_not(text: str, codes: list[str]):
    start = text.index("Bjert")
    found = codes_beside(text, [Span(start, start + 5, "LOCATION")])
    assert [text[span.start : span.end] for span in found] == codes


@pytest.mark.parametrize("fill", FILLS)
def test_time_grows_with_the_length_of_the_text_and_no_faster(fill: str):
    assert_linear(addresses, filled(fill), 16_000)


def test_streets_without_a_proof_near_them_cost_little():
    text = "Foo 1, " * 14_000
    addresses(text[:1000])
    assert_within(0.4, lambda: addresses(text))


def test_what_proves_a_street_is_asked_for_again_behind_each():
    near, far = "Foo Bar 12, Apt 5, Praha", "Foo Bar 12, and so on"
    text = f"see {far}. {'and so it goes on ' * 30}see {near}. {'and so it goes on ' * 30}see {far}. to {near}."
    assert _found(text) == [near, near]


@pytest.mark.parametrize(("size", "near"), [(3, True), (100, True), (300, True), (320, False), (5000, False)])
def test_a_proof_counts_only_as_near_as_parts_are_looked_for(size: int, near: bool):
    (found,) = _found(f"at Foo Bar 12, X{'y' * size}, Apt 5 now")
    assert found.startswith("Foo Bar 12") is near


_PIECES = st.sampled_from(
    ["12", " ", ", ", "\n", "Main", "Street", "Straße", "rue", "de", "Via", "ул.", "Apt 4", "10115", "NY", "USA", "é",
     "address: ", "lives at ", '"street": "', '"', "漢", "Berlin", "W1A 1AA", "\\n", "\ud800"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=40).map("".join) | st.text(max_size=120))
def test_spans_lie_inside_any_text_in_order_and_never_overlap(text: str):
    spans = addresses(text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(one.end <= two.start for one, two in pairwise(spans))
