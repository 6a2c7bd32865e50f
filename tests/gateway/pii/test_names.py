"""Names of persons and places: what is found, what is left alone, and that it stays fast and exact."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest

from membrain.pii import names
from membrain.pii.names import people_and_places

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
    ("text", "person"),
    [
        ("Welche Romane von Thomas Mann sind gut?", "Thomas Mann"),
        ("Perché Dante Alighieri mette Ulisse all'Inferno?", "Dante Alighieri"),
        ("Résume le roman d'Albert Camus en dix lignes.", "Albert Camus"),
        ("¿Es bueno el libro de Miguel de Cervantes para leer?", "Miguel de Cervantes"),
        ("Hat Franz Beckenbauer auch als Trainer gewonnen?", "Franz Beckenbauer"),
    ],
)
def test_ordinary_words_around_a_name_are_no_part_of_it(text: str, person: str) -> None:
    assert person in found(text)


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


@pytest.mark.parametrize(
    ("text", "person"),
    [
        ("text fenwina that i'm late", "fenwina"),
        ("écris un sms pour maxandre : je suis en retard", "maxandre"),
        ("corrige: hola xiomaria soy tu vecino", "xiomaria"),
        ("Maak 250 euro over t.n.v. Jacomientje Aaldersma.", "Jacomientje Aaldersma"),
        ("napisz sms do Mirosławy, że się spóźnię", "Mirosławy"),
        ("Haz una invitación: Anselmo y Rigobertina se casan.", "Rigobertina"),
    ],
)
def test_whom_a_message_goes_to_is_found_whether_on_a_list_or_not(text: str, person: str) -> None:
    assert person in found(text)


@pytest.mark.parametrize("text", ["hello everyone", "text to speech", "write a note to yourself", "send a mail to all"])
def test_a_message_to_nobody_in_particular_names_nobody(text: str) -> None:
    assert found(text) == []


def test_a_name_with_hidden_signs_inside_is_left_whole() -> None:
    assert found("Dear Matt\ufeffhew Alle\ufeffn, hello")[0].startswith("Matt")
    text = "Robert Jo\ufeffhns\u200bon paid."
    whole = (0, len("Robert Jo\ufeffhns\u200bon"), 1)
    assert list(names._cleaned(names.model().lexicon, text, whole)) == [whole]


def test_an_institution_behind_the_article_is_nobody() -> None:
    text = "Why did Galileo Galilei get into trouble with the Church?"
    assert {span.kind for span in people_and_places(text)} == {"public_person"}


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


def test_of_code_almost_nothing_is_read() -> None:
    text = CODE * 50
    read = sum(end - start for start, end, _ in names._windows(text, names.model().spots(text)))
    assert read < len(text) / 2


@pytest.mark.parametrize(
    "fill",
    ["Ann ", "Ann-", "Ann'", "A.", "Ann\n", "a_", "Ann Bob, ", "İ", "王", "a-", "- ", CODE],
    ids=["names", "hyphens", "quotes", "initials", "lines", "marks", "lists", "wide", "han", "small", "signs", "code"],
)  # fmt: skip
def test_time_grows_no_faster_than_the_text(fill: str) -> None:
    def seconds(size: int) -> float:
        text = (fill * (size // len(fill) + 1))[:size]
        best = 9.0
        for _ in range(3):
            start = time.process_time()
            people_and_places(text)
            best = min(best, time.process_time() - start)
        return best

    people_and_places(fill)
    assert seconds(20_000) <= 2.5 * seconds(10_000) + 0.01


def test_threads_get_the_same_answers() -> None:
    texts = [f"Dear Tobias Lindqvist{each}, Ngozi Adeyemi lives in Rotterdam. {CODE}" for each in "abcdefgh"] * 4
    alone = [people_and_places(text) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(people_and_places, texts)) == alone


def test_full_memos_are_emptied_and_answers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_MEMO", 3)
    model = names.Model(names.MODEL.read_bytes())
    monkeypatch.setattr(names, "model", lambda: model)
    assert found("Dear Tobias Lindqvist, Ngozi Adeyemi lives in Rotterdam.") == ["Tobias Lindqvist", "Ngozi Adeyemi"]
    assert len(model._words) < 10


def test_the_model_file_is_the_one_it_was_written_with() -> None:
    assert sha256(names.MODEL.read_bytes()).hexdigest() == names.MODEL_SHA256
    assert names.MODEL.stat().st_size < 4_000_000


def test_another_model_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "names.bin"
    other.write_bytes(names.MODEL.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(names, "MODEL", other)
    names.model.cache_clear()
    try:
        with pytest.raises(names.ModelBroken):
            people_and_places("Dear Tobias Lindqvist,")
    finally:
        names.model.cache_clear()


def test_a_table_keeps_what_it_was_given() -> None:
    entries = [(f"word{each}", each + 1) for each in range(5000)]
    table = names.Table(*names.Table.packed(entries))
    assert all(table.get(key) == value for key, value in entries)
    assert sum(table.get(f"other{each}") != 0 for each in range(5000)) < 10


@pytest.mark.parametrize(
    ("token", "shape"),
    [
        ("Jane", "Xx"), ("JANE", "XX"), ("J", "X"), ("getName", "xXx"), ("HTTPError", "XXx"), ("Jean-Luc", "Xx-Xx"),
        ("明", "C"), ("42", "d"), ("Élodie", "Xx"),
    ],
)  # fmt: skip
def test_the_shape_of_a_word(token: str, shape: str) -> None:
    assert names._shape(token) == shape


def test_tokens_cover_every_sign_that_is_no_blank() -> None:
    text = "Hi, it's Jean-Luc O'Brien's \"name\": foo.bar user_name\n\n-- \nJ. R. Doe"
    parts = names.tokens(text)
    assert "".join(text[start:end] for start, end, _ in parts).replace("\n", "") == "".join(text.split())
    assert [token for _, _, token in parts if "~" in token] == ["'~", "'~", '"~', ".~"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("THIS IS LOUD", "U"), ("all small here", "l"), ("x = foo(bar[1], {a: B});", "c"),
        ("Jane Hill, Bob Stone", "t"), ("It rained in Rome today", "n"),
    ],
)  # fmt: skip
def test_kinds_of_lines(line: str, kind: str) -> None:
    assert names.line_kind(line) == kind
