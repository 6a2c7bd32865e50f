"""Names of persons and places: what is found, what is left alone, and that it stays fast and exact."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from membrain.pii.names import people_and_places
from tests.growth import assert_linear, filled, numbered

CODE = '''import { Component, Injectable } from "@angular/core";

class OrderHandler(BaseHandler):
    """Returns the Response of a Session, or None."""

    def handle(self, request: Request) -> Response:
        # Use the Default Client if the Cache is empty
        for item in self.items:
            raise ValueError("Invalid Argument", item)
        return Response(status=Status.OK)
'''


def found(text: str, label: str = "PERSON") -> list[str]:
    return [text[span.start : span.end] for span in people_and_places(text) if span.label == label]


@pytest.mark.parametrize(
    ("text", "people"),
    [
        (
            "Hi Wendeline,\n\nPriyanka Raghunathan will visit you on Monday.\n\nBest regards,\nTobias Lindqvist",
            ["Wendeline", "Priyanka Raghunathan", "Tobias Lindqvist"],
        ),
        ("Dear Mr. Okonkwo, your order has been shipped.", ["Okonkwo"]),
        ("From: Harriet O'Donnell <h.odonnell@example.com>", ["Harriet O'Donnell"]),
        ("The landlord, Jan-Willem van der Berg, kept the deposit.", ["Jan-Willem van der Berg"]),
        ('{"id": 7, "full_name": "Ngozi Adeyemi", "plan": "pro"}', ["Ngozi Adeyemi"]),
        ("name,email\nKlaus Brandner,kb@example.org\n", ["Klaus Brandner"]),
        ("Sehr geehrte Frau Hoffstetter, Ihre Rechnung liegt bei.", ["Hoffstetter"]),
        ("Bonjour, je m'appelle Amélie Rousselot et j'habite ici.", ["Amélie Rousselot"]),
        ("PATIENT: MARGARET HOLLOWAY  DOB: 1950-03-02", ["MARGARET HOLLOWAY"]),
        ("my name is priyanka and i live in oslo", ["priyanka"]),
        ("Passport issued in India, name Alice Sölzer.", ["Alice Sölzer"]),
        ("Dear Heather Cook, and dear Margot Le Roux,", ["Heather Cook", "Margot Le Roux"]),
        ("Reviewed by Stefanie F. Schneider on Friday", ["Stefanie F. Schneider"]),
    ],
)  # fmt: skip
def test_a_person_is_found_whole(text: str, people: list[str]) -> None:
    assert found(text) == people


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("We are moving to Rotterdam next month.", ["Rotterdam"]),
        ("I live in San Francisco, California.", ["San Francisco", "California"]),
        ("customer:\n  name: x\n  city: Düsseldorf\n", ["Düsseldorf"]),
    ],
)
def test_a_place_is_found_whole(text: str, places: list[str]) -> None:
    assert found(text, "LOCATION") == places


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\n ",
        CODE,
        "# Getting Started\n\nInstall Visual Studio Code and press Enter on Monday.",
        "Will this break? Mark the line, then May comes after April.",
        "2026-01-02 10:00:00 INFO [main] OrderService - Started in 12 ms",
        "sha256:7c1f9e3b50a2d846 FRyon+Ejr/Tom9Jane3Qz+G5/Ann0Bob4Q==",
        "I spoke to some German and Palestinian students about Islamic history.",
        "Driver's license and Customer Service are on the list.",
    ],
)
def test_what_names_nobody_is_left_alone(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Erklär mir die Verfassung, so dass es mein Sohn versteht.",
        "Das Rezept ist für sechs Personen, mit einem Beispiel.",
        "Come si scrive una funzione che legge da un file?",
        "wie lange fährt der zug von hamburg nach bremen",
        "Explícame la Ley de Protección de Datos en pocas líneas.",
    ],
)
def test_everyday_sentences_name_nobody(text: str) -> None:
    assert found(text) == []


def test_who_was_named_in_full_is_found_again_by_surname() -> None:
    text = "Henrietta Mbeki presented with a cough.\n\nThe night was quiet. Mbeki slept and ate."
    assert found(text) == ["Henrietta Mbeki", "Mbeki"]


def test_a_name_inside_a_mail_address_is_not_a_second_finding() -> None:
    text = "Write to Henrietta Mbeki, henrietta.Mbeki@example.com, please."
    assert found(text) == ["Henrietta Mbeki"]


def test_widely_known_names_are_marked_as_such() -> None:
    kinds = {
        span.kind
        for span in people_and_places("Who was Albert Einstein? Ask Ottoline Brackenbury.")
        if span.label == "PERSON"
    }
    assert kinds == {"public_person", "person"}


@pytest.mark.parametrize("before", ["", "é", "\U0001f600", "\U0001d504\U0001d505 "])
def test_offsets_are_characters_whatever_stands_before(before: str) -> None:
    text = before + "\nThanks,\nTobias Lindqvist\n"
    assert found(text) == ["Tobias Lindqvist"]


def test_lone_surrogates_do_no_harm() -> None:
    assert found("\ud800 Dear Tobias Lindqvist,") == ["Tobias Lindqvist"]


@pytest.mark.parametrize("text", ["Dear Tobias Lindqvist, hello. " * 40, CODE * 20 + "From: Jane Hill\n" * 30])
def test_findings_are_in_order_and_never_overlap(text: str) -> None:
    spans = people_and_places(text)
    assert spans
    assert all(one.end <= two.start for one, two in pairwise(spans))


@pytest.mark.parametrize(
    "fill",
    ["Ann ", "Ann-", "Ann'", "A.", "Ann\n", "a_", "Ann Bob, ", "İ", "王", "a-", "- ", CODE],
    ids=["names", "hyphens", "quotes", "initials", "lines", "marks", "lists", "wide", "han", "small", "signs", "code"],
)  # fmt: skip
def test_time_grows_no_faster_than_the_text(fill: str) -> None:
    assert_linear(people_and_places, numbered(filled(fill)), 10_000)


def test_threads_get_the_same_answers() -> None:
    texts = [f"Dear Tobias Lindqvist{each}, Ngozi Adeyemi lives in Rotterdam. {CODE}" for each in "abcdefgh"] * 4
    alone = [people_and_places(text) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(people_and_places, texts)) == alone
