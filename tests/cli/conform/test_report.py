"""The report: lines for a person, cells for a pipe, records for a program."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from membrain_cli.conform.report import Report
from membrain_cli.conform.suite import Row
from membrain_cli.console import Console, Exit
from tests.cli.shell import Screen

OK = Row("chat", "whole.json", "a whole answer", "programs read it", "ok", "", 3)
BAD = Row("chat", "stream.end", "the end is said once", "two read as two answers", "FAIL", "2 ends " + "x" * 90, 4)
NONE = Row("messages", "request.key", "the key stays", "others could use it", "n.a.", "no key was given", 0)


def told(*rows: Row, tty: bool, environ: dict[str, str] | None = None, **flags: Any) -> tuple[str, str, Exit]:
    """What is said of *rows*: results, words, and the exit status."""
    kind = Screen if tty else io.StringIO
    out, err = kind(), kind()
    report = Report(Console(kind(), out, err, environ or {"NO_COLOR": "1"}, **flags))
    for row in rows:
        report.add(row)
    status = report.close()
    return out.getvalue(), err.getvalue(), status


def test_a_person_sees_groups_and_why_what_failed_matters() -> None:
    out, err, status = told(OK, BAD, NONE, tty=True, environ={"NO_COLOR": "1", "COLUMNS": "60"})
    assert out.splitlines() == [
        "chat",
        "  ok     a whole answer",
        "  FAIL   the end is said once",
        "         two read as two answers.",
        "         2 ends " + "x" * 40 + " ...",
        "messages",
        "  n.a.   the key stays",
        "         no key was given",
    ]
    assert (err, status) == ("1 ok, 1 failed, 1 not applicable.\n", Exit.FAILED)


def test_colour_is_for_terminals_that_have_it() -> None:
    assert "\x1b[31mFAIL" in told(BAD, tty=True, environ={"TERM": "xterm"})[0]
    assert "\x1b" not in told(BAD, tty=True)[0]


def test_a_pipe_gets_whole_cells() -> None:
    out, _, _ = told(BAD, tty=False)
    assert out.split("\t") == ["chat", "stream.end", "FAIL", "the end is said once", BAD.instead + "\n"]


def test_json_is_the_records() -> None:
    out, _, _ = told(OK, BAD, tty=False, json=True)
    assert [json.loads(line) for line in out.splitlines()] == [OK.to_dict(), BAD.to_dict()]


@pytest.mark.parametrize(("rows", "status"), [((OK,), Exit.OK), ((OK, NONE), Exit.OK), ((NONE, BAD), Exit.FAILED)])
def test_only_what_failed_is_a_failure(rows: tuple[Row, ...], status: Exit) -> None:
    assert told(*rows, tty=False)[2] is status
