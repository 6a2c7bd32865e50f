"""The shapes that detection is made of: a kind of private value, and a span in which one was found.

Plain data and nothing else; the tables of kinds are `detectors`, `vendors` and `nations`, what runs them is `scan`.
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


WORDED = frozenset({"tokens", "headers", "named"})
"""Families most of whose kinds begin with a word of their own: it is looked for, and their patterns run only there."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table.

    `pattern` finds candidates: RE2 syntax over the bytes of UTF-8, bounded, at most one group (the value; without
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
    lead: str = ""
    """What every match begins with, if that is much shorter than `pattern`."""


_GAP = (
    r"[\s\"'`\]):=#>|*_-]{0,6}"
    r"(?:(?:number|numbers|num|no|nr|n\xc2?[\xb0\xba]|id|code|is|was|of|on|at|es|est|ist|lautet|le|el|am|il|"
    r"em|op|é|è|to|jest|är|er|"
    r"numéro|numero|número|nummer|numer|osobistego|value|the|card)[\s\"'`.:=#>*)_-]{1,5}){0,3}\(??"
)
"""What may stand between a word and its value: a few signs, a few of the small words that point at it."""


def named(  # noqa: PLR0913  # a row of the table
    name: str,
    label: str,
    severity: Severity,
    words: str,
    shape: str,
    check: Check,
    *,
    value: str,
    said: str = "",
    hit: str = "",
    miss: str = "",
) -> Kind:
    """A kind whose value, of a `shape`, counts because of the `words` in front of it, with little in between.

    `said` is how a person writes one of the words; without it, `hit` and `miss` say how that looks.
    """
    hit, miss = hit or f"{said}: {value}.", miss or f"{said}: none yet"
    pattern = f"(?i:{words})(?i:{_GAP})({shape})"
    return Kind(name, label, severity, "named", pattern, check, hit, value, miss, lead=f"(?i:{words})")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Where something was found: character offsets, end excluded. Never the value itself."""

    start: int
    end: int
    label: str
    kind: str = field(default="", compare=False)
    severity: Severity = field(default=Severity.HIGH, compare=False)
