"""Values whose telling word stands far above them, or nowhere: cells of tables (CSV, TSV, pipes, Markdown).

Two ways: a heading names what its column holds, and a row without headings in which enough cells are known to be a
person's gives away the rest. Only whole cells are judged; values inside of sentences are the business of `scan`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import re2  # type: ignore[import-untyped]  # the package ships no types

from membrain.pii.kinds import Severity, Span


class _Column(NamedTuple):
    """What headings say (small letters, words apart), and what a cell under them looks like."""

    label: str
    severity: Severity
    words: str
    cell: str


_DATE = (
    r"(?:19|20)\d\d[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.](?:19|20)?\d\d|[A-Z][a-z]{2,8}\.? \d\d?,? \d{4}|"
    r"\d\d? [A-Z][a-z]{2,8} \d{4}"
)
_COLUMNS = (
    _Column("US_SSN", Severity.CRITICAL, r"ssn|social security(?: number| no)?", r"\d{3}-?\d{2}-?\d{4}"),
    _Column("PASSPORT", Severity.HIGH, r"passports?(?: number| no)?|passport id", r"(?=(?:\D*\d){4})[A-Z0-9]{6,10}"),
    _Column("DATE_OF_BIRTH", Severity.MEDIUM,
            r"dob|date of birth|birth ?dates?|birthdays?|geburtsdatum|data(?: di)? nascita|data urodzenia", _DATE),
    _Column(
        "PHONE", Severity.MEDIUM, r"(?:tele)?phones?(?: number| no)?|mobile(?: number)?|cell(?: phone)?|tel[ée]fono?",
        r"(?=(?:\D*\d){6})[+(\d][\d ().x/-]{5,24}",
    ),
    _Column(
        "BANK_ACCOUNT", Severity.HIGH, r"(?:bank )?account(?: number| no)|bank account|acct(?: number| no)?|iban|konto",
        r"[A-Z]{2}\d{2}[A-Z0-9 ]{8,30}|\d[\d -]{4,20}\d",
    ),
    _Column("CREDIT_CARD", Severity.CRITICAL, r"(?:credit |debit )?card(?: number| no)?|cc|pan", r"\d[\d -]{10,21}\d"),
    _Column(
        "DRIVER_LICENSE", Severity.HIGH, r"driver'?s? ?licen[cs]e(?: number| no)?|dl(?: number| no)?",
        r"(?=(?:\D*\d){4})[A-Z0-9-]{5,18}",
    ),
    _Column(
        "NATIONAL_ID", Severity.HIGH,
        r"(?:national|tax|citizen|personal|government|insurance|health)(?: id| number| code)+|tin|nif|dni|nino|pesel",
        r"(?=(?:\D*\d){5})[A-Za-z0-9][A-Za-z0-9 ./-]{4,20}[A-Za-z0-9]",
    ),
    _Column(
        "PERSON", Severity.MEDIUM,
        r"(?:first|last|given|family|middle|full|maiden|customer|patient|employee|contact|client|sur) ?names?|"
        r"vorname|nachname|apellidos?|cognome|pr[ée]nom|nazwisko|imi[ęe]|voornaam|achternaam|patient",
        r"(?=.*[^\W\d_]{2})[^\W\d_][^\W\d_.' -]*(?:[.' -]+[^\W\d_]+){0,4}\.?",
    ),
    _Column(
        "ADDRESS", Severity.MEDIUM, r"(?:street |home |postal |mailing |billing |shipping )?address|street|adresse",
        r"(?=.*\d)(?=.*[^\W\d_]{3})[^@\n]{6,100}",
    ),
    _Column(
        "SECRET", Severity.CRITICAL, r"passwords?|passwd|pwd|api ?keys?|secrets?|(?:access )?tokens?|passcode",
        r"(?=.*\d)(?=.*[A-Za-z])[^\s<>{}()]{6,200}",
    ),
)  # fmt: skip
_OPTIONS = re2.Options()
_OPTIONS.never_capture = True
_GATE = re2.compile(  # noqa: SLF001  # as in `scan`: the wrapper's objects cost more than the search
    r"(?i)(?:^|[|,;\t\n])[ \"*]{0,3}(?:"
    + "|".join(re.sub(r" \??", "[ _-]?", column.words) for column in _COLUMNS)
    + r")[ \"*]{0,3}(?:[|,;\t\r\n]|$)",
    _OPTIONS,
)._regexp.Match
"""A cell that could be a heading we know. Where there is none, nothing else is done."""
_ANYWHERE = re2._re2.RE2.Anchor.UNANCHORED  # noqa: SLF001

_SURE = frozenset({"EMAIL", "PHONE", "US_SSN", "CREDIT_CARD", "IBAN", "NATIONAL_ID", "DRIVER_LICENSE"})
_ONE_OF = _SURE - {"EMAIL", "PHONE", "DRIVER_LICENSE"}
_ENOUGH = 3
"""A row in which so many cells are sure, one of them a number that only persons have, is a person's record."""

_REST = (
    (re.compile(r"(?:19|20)\d\d[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.](?:19|20)\d\d"), "DATE_OF_BIRTH"),
    (re.compile(r"\d{8,17}"), "BANK_ACCOUNT"),
    (re.compile(r"[A-Z]{1,2}\d?[A-Z]?\d{6,8}[A-Z]?"), "PASSPORT"),
)
"""What the other cells of such a row are."""

_MARKS = "|\t;,"
_CELLS = {
    mark: re.compile(rf'[ \t]*(?:"([^"\n]*)"[ \t]*|([^{re.escape(mark)}\n]*))(?:{re.escape(mark)}|$)')
    for mark in _MARKS
}
_INNER = bytes(range(0x80, 0xC0))
"""Bytes that continue a character."""
_WIDEST = 4000
"""A longer line is no row of a table, in characters."""

_LONGEST = 120
"""A longer cell is a text and no value, in characters."""

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|[_-]")


def columns(text: str) -> list[Span]:
    """What stands in cells under headings that name a private kind, in order."""
    found: list[Span] = []
    done = 0
    for last in _headings(text):
        if last > done:
            done = _table(text, *_line(text, last), found)
    return found


def _headings(text: str) -> Iterator[int]:
    """The last character of each cell that could be a heading, or what ends it; in order."""
    data = text.encode("utf-8", "surrogatepass")
    plain, size, place, before, count = len(data) == len(text), len(data), 0, 0, 0
    while (end := _GATE(_ANYWHERE, data, place, size)[0][1]) >= 0:
        if not plain:
            count += len(data[before : end - 1].translate(None, _INNER))
            before = end - 1
        yield end - 1 if plain else count
        place = end


def records(text: str, found: Sequence[Span]) -> list[Span]:
    """What else stands in rows of which `found`, in order, already holds enough."""
    sure = [span for span in found if span.label in _SURE]
    if len(sure) < _ENOUGH:
        return []
    more: list[Span] = []
    for (start, end), spans in _by_line(text, sure):
        labels = {(span.start, span.end): span.label for span in spans}
        if len(labels) >= _ENOUGH and end - start <= _WIDEST and not _ONE_OF.isdisjoint(labels.values()):
            more += _others(text, start, end, labels)
    return more


def _others(text: str, start: int, end: int, labels: dict[tuple[int, int], str]) -> Iterator[Span]:
    """The cells of a record that look like what its known cells leave open."""
    cells = _cells(text, start, end, _mark(text, start, end))
    if len(labels.keys() & set(cells)) < _ENOUGH:
        return
    for first, last in cells:
        for pattern, label in _REST:
            if (first, last) not in labels and pattern.fullmatch(text, first, last):
                yield Span(first, last, label, "record", Severity.MEDIUM)
                break


def _table(text: str, start: int, end: int, found: list[Span]) -> int:
    """Append what stands under the headings of this line; where the table ends."""
    mark = _mark(text, start, end)
    if end - start > _WIDEST or mark not in text[start:end]:
        return end
    cells = _cells(text, start, end, mark)
    named = {place: kind for place, cell in enumerate(cells) if (kind := _named(text[slice(*cell)])) is not None}
    while named and end < len(text):
        start, end = _line(text, end + 1)
        row = _cells(text, start, end, mark) if end - start <= _WIDEST else []
        if len(row) != len(cells):
            return start - 1
        for place, kind in named.items():
            _, looks, column = _kinds()[kind]
            if row[place][1] - row[place][0] <= _LONGEST and looks.fullmatch(text, *row[place]):
                found.append(Span(*row[place], column.label, "column", column.severity))
    return end


@cache
def _kinds() -> list[tuple[re.Pattern[str], re.Pattern[str], _Column]]:
    """What a heading says, how a cell looks, and the rest of its row; compiled at the first heading."""
    return [(re.compile(column.words), re.compile(column.cell), column) for column in _COLUMNS]


@lru_cache(maxsize=4096)
def _named(heading: str) -> int | None:
    """Which kind a heading names."""
    words = _CAMEL.sub(" ", heading.strip(" *`_'")).lower()
    return next((row for row, (named, _, _) in enumerate(_kinds()) if named.fullmatch(words)), None)


def _line(text: str, place: int) -> tuple[int, int]:
    """The ends of the line in which `place` stands."""
    end = text.find("\n", place)
    return text.rfind("\n", 0, place) + 1, end if end >= 0 else len(text)


def _by_line(text: str, spans: Sequence[Span]) -> Iterator[tuple[tuple[int, int], list[Span]]]:
    """The ends of each line that holds spans, and which; a line is looked for once, however many it holds."""
    line, here = (0, -1), list[Span]()
    for span in spans:
        if span.end > line[1]:
            if here:
                yield line, here
            line, here = _line(text, span.end), []
        here.append(span)
    if here:
        yield line, here


def _mark(text: str, start: int, end: int) -> str:
    """What parts the cells of this line."""
    return max(_MARKS, key=lambda mark: text.count(mark, start, end))


def _cells(text: str, start: int, end: int, mark: str) -> list[tuple[int, int]]:
    """The ends of each cell, without quotation marks and blanks."""
    cells = []
    for cell in _CELLS[mark].finditer(text, start, end):
        first, last = cell.span(1 if cell[1] is not None else 2)
        while last > first and text[last - 1] in " \t\r":
            last -= 1
        cells.append((first, last))
    return cells
