"""The shapes that detection is made of: a kind of private value, and a span in which one was found.

Plain data and nothing else; the table of kinds is in `detectors`, what runs it in `scan`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

Check = Callable[[bytes, int, int], tuple[int, int] | None]
"""Given a text's bytes and a candidate's ends: the ends of the value itself, or None for "not one of ours".

Empty ends mean that nothing of this pass lies before them, which saves looking again at every word of a long run."""


class Severity(StrEnum):
    """How much harm a leak does; policies may go by it."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table.

    `pattern` finds candidates: RE2 syntax over bytes, read as Latin-1, bounded, at most one group (the value; without
    one the whole match is the value). `check` has the last word. `family` names the pass it runs in: kinds of one
    pass compete for a place from left to right, kinds of different passes never hide one another. `context` are words
    of which one has to stand near the value, before or after it; empty means that none is needed. `hit` is a text in
    which `value` is found, `miss` one in which nothing is.
    """

    name: str
    label: str
    severity: Severity
    family: str
    pattern: str
    check: Check
    hit: str
    value: str
    miss: str
    context: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Where something was found: character offsets, end excluded. Never the value itself."""

    start: int
    end: int
    label: str
    kind: str = field(default="", compare=False)
    severity: Severity = field(default=Severity.HIGH, compare=False)
