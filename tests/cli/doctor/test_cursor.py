"""Cursor from its own side: that it cannot work is said, whatever else is well."""

from __future__ import annotations

from pathlib import Path

from membrain_cli.doctor.cursor import cursor
from tests.cli.patients import found, of, program


def test_it_cannot_work_and_that_is_said_with_why(near: dict[str, str], user_home: Path, work: Path) -> None:
    program(user_home, "cursor", "echo 1.7.44")
    findings = found(cursor, near, work)
    assert [(each.state, each.name) for each in findings] == [
        ("fine", "cursor"),
        ("fine", "gateway"),
        ("broken", "address"),
        ("look", "privacy"),
        ("none", "terminal"),
    ]
    (finding,) = of("address", findings)
    assert "Cursor's own servers make the call" in finding.words
    assert finding.remedy.startswith("membrain run -- ")


def test_it_is_said_also_where_cursor_is_not_seen(alone: dict[str, str], work: Path) -> None:
    findings = found(cursor, alone, work)
    assert (findings[0].state, of("address", findings)[0].state) == ("none", "broken")
