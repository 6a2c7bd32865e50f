"""What is to be done with what was found: by level, by label, by project. Decides; finds nothing and changes nothing.

A level says which labels matter at all, `on_find` what happens to them, and rules say otherwise for a label, a project
or both. A rule is one word, as it stands in the settings: `SECRET=block`, `acme:EMAIL=pass`, `acme:*=confirm`,
`acme:level=strict`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

from membrain.errors import Misconfigured
from membrain.pii.kinds import Span


class Mode(StrEnum):
    """What happens to a request in which something is found, from the mildest to the strictest."""

    PASS = "pass"  # noqa: S105  # a mode, not a password
    """Nothing."""
    LOG = "log"
    """It goes on as it is, and the audit counts it."""
    ALERT = "alert"
    """The same, and whoever watches is told."""
    REDACT = "redact"
    """The value is masked, and put back in the answer."""
    LOCAL = "local"
    """Only models on this machine may answer; they see the value."""
    CONFIRM = "confirm"
    """A person is asked first; then it is masked."""
    BLOCK = "block"
    """The request is refused."""


class Level(StrEnum):
    """How much is masked."""

    BASIC = "basic"
    """Secrets, keys, identifiers, payment and contact data."""
    STANDARD = "standard"
    """Also street addresses, dates of birth and persons, but not widely known ones."""
    STRICT = "strict"
    """Whatever is found, places and public persons too."""


_PERSONAL = frozenset({"PERSON", "ADDRESS", "DATE_OF_BIRTH"})
_VAGUE = frozenset({"LOCATION", "DATE", "ORGANIZATION", "NRP"})

PASSED: Mapping[Level, frozenset[str]] = {
    Level.BASIC: _PERSONAL | _VAGUE,
    Level.STANDARD: _VAGUE,
    Level.STRICT: frozenset(),
}
"""The labels that a level leaves alone. All others matter, those of the user's own list too."""

PUBLIC = "public_person"
"""The kind of a name that everybody knows; only `strict` masks it."""

MASKED = frozenset({Mode.REDACT, Mode.CONFIRM})
"""The modes in which a value leaves as its placeholder."""

RULE = re.compile(
    r"(?:(?P<project>[\w.-]{1,80}):)?(?:level=(?P<level>basic|standard|strict)"
    r"|(?P<label>\*|[A-Z][A-Z0-9_]{1,39})=(?P<mode>pass|log|alert|redact|mask|local|confirm|block))"
)
"""What a rule looks like."""


class Policy:
    """What one project does with what is found. Made once for each project."""

    __slots__ = ("_modes", "level", "on_find")

    def __init__(self, level: Level, on_find: Mode, modes: Mapping[str, Mode]) -> None:
        self.level = level
        self.on_find = on_find
        self._modes = dict(modes)

    def mode(self, span: Span) -> Mode:
        """What happens to *span*."""
        if span.kind == PUBLIC and self.level is not Level.STRICT:
            return Mode.PASS
        said = self._modes.get(span.label)
        if said is not None:
            return said
        return Mode.PASS if span.label in PASSED[self.level] else self.on_find

    def masks(self, span: Span) -> bool:
        """Whether *span* leaves as its placeholder."""
        return self.mode(span) in MASKED


_REMEMBERED = 1024
"""Projects whose policy is remembered."""


class Policies:
    """Every project's policy, from the settings' words. `Misconfigured` for a rule that is none."""

    def __init__(self, level: str = "standard", on_find: str = "redact", rules: Iterable[str] = ()) -> None:
        self._level, self._on_find = Level(level), Mode(on_find)
        self._rules = [_parsed(rule) for rule in rules]
        self._made: dict[str, Policy] = {}

    def of(self, project: str) -> Policy:
        """The policy of *project*: what is said for all, then what is said for it."""
        policy = self._made.get(project)
        if policy is None:
            if len(self._made) >= _REMEMBERED:  # callers may name projects, so there is no end to them
                self._made.clear()
            policy = self._made[project] = self._policy(project)
        return policy

    def _policy(self, project: str) -> Policy:
        level, on_find, modes = self._level, self._on_find, dict[str, Mode]()
        for whose in ("", project):
            for named, what, word in self._rules:
                if named != whose:
                    continue
                if what == "level":
                    level = Level(word)
                elif what == "*":
                    on_find = Mode(word)
                    modes.clear()
                else:
                    modes[what] = Mode(word)
        return Policy(level, on_find, modes)


def _parsed(rule: str) -> tuple[str, str, str]:
    """A rule as project ("" for all), what it is about, and the word it says."""
    found = RULE.fullmatch(rule)
    if found is None:
        raise Misconfigured("A rule in pii.rules is none.", hint="Write them like SECRET=block or acme:EMAIL=pass.")
    project, level, label, mode = found.group("project", "level", "label", "mode")
    word = level or ("redact" if mode == "mask" else mode)
    return project or "", label or "level", word
