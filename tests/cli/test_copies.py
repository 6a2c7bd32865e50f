"""A copy of the audit for other programs: whole, in order, and harmless."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from membrain.records import Attempt, AuditRecord
from membrain_cli import copies
from membrain_cli.console import Console, Exit
from tests.cli.shell import invoke, membrain
from tests.cli.trails import exchange, written
from tests.served import Served


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_each_line_is_a_whole_record_with_its_place_in_the_chain(environ: dict[str, str]) -> None:
    made = written(environ, exchange("ada"), exchange("bob", attempts=(Attempt("openai", "gpt-4o", 4.0),)))
    ran = membrain("audit", "export", environ=environ)
    read = [json.loads(line) for line in ran.out.splitlines()]
    assert [AuditRecord.from_dict(row) for row in read] == made
    assert [(row["seq"], len(row["seal"])) for row in read] == [(1, 64), (2, 64)]
    assert (ran.status, ran.err) == (0, "2 records.\n")


def test_a_table_has_a_header_and_one_row_each(environ: dict[str, str]) -> None:
    written(environ, exchange(pii_labels=("EMAIL", "PHONE"), cost_micros=None, local=True))
    ran = invoke(["audit", "export", "--format", "csv"], environ)
    (row,) = rows(ran.out)
    assert (row["seq"], row["model"], row["ms"], row["cost_micros"]) == ("1", "gpt-4o", "4.5", "")
    assert (row["pii_labels"], row["local"], row["private"], row["attempts"]) == ("EMAIL,PHONE", "true", "false", "")
    assert ran.err == "1 record.\n"


def test_a_nested_part_is_one_cell(environ: dict[str, str]) -> None:
    written(environ, exchange(attempts=(Attempt("openai", "gpt-4o", 4.0, "timeout"),)))
    (row,) = rows(invoke(["audit", "export", "--format", "csv"], environ).out)
    assert json.loads(row["attempts"]) == [{"provider": "openai", "model": "gpt-4o", "ms": 4.0, "error": "timeout"}]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2", "'-2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "' =1"),
        ("\r=1", "'=1"),
        ("\x00=1", "'=1"),
        ("\x1b[31m=1", "'=1"),
        ("\uff1d1", "'\uff1d1"),
        ("gpt-4o", "gpt-4o"),
        ('a "b", c\nd', 'a "b", c d'),
        ("\x1b]0;evil\x07gpt\u202e\x9b31m", "gpt"),
        ("", ""),
    ],
)
def test_a_cell_is_no_formula_and_drives_no_terminal(name: str, shown: str) -> None:
    assert copies.harmless(name) == shown


def test_what_a_caller_chose_is_harmless_in_the_table(environ: dict[str, str]) -> None:
    written(environ, exchange("=HYPERLINK(1)", model="@evil\x1b[2J", pii_labels=("=A", "B")))
    (row,) = rows(invoke(["audit", "export", "--format", "csv"], environ).out)
    assert (row["user"], row["model"], row["pii_labels"]) == ("'=HYPERLINK(1)", "'@evil", "'=A,B")


def test_numbers_stay_numbers() -> None:
    assert [copies.cell(value) for value in (-1, 0, 2.5, True, None, [], ["=x"])] == [
        -1,
        0,
        2.5,
        "true",
        None,
        "",
        "'=x",
    ]


def test_filters_choose_what_is_copied(environ: dict[str, str]) -> None:
    written(environ, exchange("ada"), exchange("bob", model="o1", minutes=60), exchange("ada", outcome="failed"))

    def users(*argv: str) -> list[str]:
        return [json.loads(line)["user"] for line in invoke(["audit", "export", *argv], environ).out.splitlines()]

    assert users("--user", "ada") == ["ada", "ada"]
    assert users("--user", "ada", "--outcome", "failed") == ["ada"]
    assert users("--model", "O*") == users("--since", "2026-11-18T10:00:00Z") == ["bob"]
    assert users("--until", "2000-01-01") == []


def test_more_than_a_list_may_have_are_copied(environ: dict[str, str]) -> None:
    written(environ, *(exchange() for _ in range(300)))
    assert len(invoke(["audit", "export"], environ).out.splitlines()) == 300


def test_names_can_be_those_of_opentelemetry(environ: dict[str, str]) -> None:
    written(environ, exchange())
    row = json.loads(invoke(["audit", "export", "--names", "otel"], environ).out)
    assert (row["gen_ai.request.model"], row["gen_ai.provider.name"], row["membrain.seq"]) == ("gpt-4o", "openai", 1)
    assert all("." in name for name in row)
    (told,) = rows(invoke(["audit", "export", "--names", "otel", "--format", "csv"], environ).out)
    assert set(told) == set(row)


@pytest.mark.parametrize(("argv", "said"), [(["--format", "xls"], "is no format"), (["--names", "x"], "is no names")])
def test_what_is_not_there_is_refused(argv: list[str], said: str, environ: dict[str, str]) -> None:
    written(environ, exchange())
    ran = invoke(["audit", "export", *argv], environ)
    assert (ran.status, ran.out, said in ran.err) == (Exit.USAGE, "", True)


def test_a_running_gateway_s_exchanges_are_copied(served: Served, beside: dict[str, str]) -> None:
    id = served.chat("one").headers["x-request-id"]
    assert json.loads(invoke(["audit", "export"], beside).out)["id"] == id


class Sink(io.StringIO):
    """Takes everything and keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


@pytest.mark.parametrize("write", copies.FORMATS.values(), ids=copies.FORMATS)
def test_a_long_copy_takes_no_more_memory_than_a_short_one(write: Any) -> None:
    shell = Console(io.StringIO(), Sink(), io.StringIO(), {})

    def many(number: int) -> Iterator[dict[str, Any]]:
        return ({"seq": each, **exchange().to_dict()} for each in range(number))

    def peak(number: int) -> int:
        tracemalloc.start()
        assert write(shell, many(number)) == number
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    assert peak(2_000) < peak(20) + 50_000
