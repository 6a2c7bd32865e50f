"""Whose budgets and rates a caller stands under: the machine's, the project's, the caller's own label's and the key's.

Reads the rules as the settings spell them (`project:web:day=5.00`, `user:*:total=1`, `project:*:requests=60`) and
answers for one caller at a time. It counts nothing; the rooms do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from membrain.records import Allowance, Caller, ClientKey, Rate

Limit = TypeVar("Limit", Allowance, Rate)

MACHINE = "machine"
"""The owner of what all callers do together."""
ANYONE = "*"

MICROS = 1_000_000
"""In a dollar."""


@dataclass(frozen=True, slots=True)
class Allowances:
    """All budgets and rates that the settings set."""

    budget: Allowance = field(default_factory=Allowance)
    """Of the machine."""
    rate: Rate = field(default_factory=Rate)
    """Of the machine."""
    budgets: Mapping[tuple[str, str], Allowance] = field(default_factory=dict, hash=False)
    """By kind ("project" or "user") and name."""
    rates: Mapping[tuple[str, str], Rate] = field(default_factory=dict, hash=False)
    written: Callable[[str], str] = str
    """Gives a name as it may stand in the store, as a caller may choose one that is private."""

    def budgets_of(self, caller: Caller) -> tuple[tuple[str, Allowance], ...]:
        """The owners whose budget *caller* spends, each with what it may spend. Empty where nothing is limited."""
        found = [(MACHINE, self.budget)] if self.budget else []
        if self.budgets:
            found += self._owned(self.budgets, "project", caller.project, "")
            if caller.user:
                found += self._owned(self.budgets, "user", caller.user, f"{_part(self.written(caller.project))}:")
        if caller.key_id and caller.rights.budget:
            found.append((f"key:{caller.key_id}", caller.rights.budget))
        return tuple(found)

    def standing(self, owners: Iterable[str], keys: Iterable[ClientKey] = ()) -> dict[str, Allowance]:
        """What may be spent by each of *owners*, by everyone who is named in a rule, and by each of *keys*."""
        named = (f"project:{self.written(name)}" for kind, name in self.budgets if kind == "project" and name != ANYONE)
        found = {owner: self._of(owner) for owner in dict.fromkeys((MACHINE, *named, *owners))}
        found |= {f"key:{key.id}": key.rights.budget for key in keys}
        return {owner: allowance for owner, allowance in found.items() if allowance}

    def _of(self, owner: str) -> Allowance:
        """The budget of an *owner* as `budgets_of` names it; none for a key's, which the key itself says."""
        kind, _, name = owner.partition(":")
        if kind == MACHINE:
            return self.budget
        name = name.partition(":")[2] if kind == "user" else name
        rules = {self.written(who): given for (what, who), given in self.budgets.items() if what == kind}
        return rules.get(name) or rules.get(ANYONE) or Allowance()

    def _owned(
        self, limits: Mapping[tuple[str, str], Limit], kind: str, name: str, front: str
    ) -> list[tuple[str, Limit]]:
        """What is set for *name*, or else for anyone of its *kind*; each counts by itself, with *front* before it."""
        given = limits.get((kind, name)) or limits.get((kind, ANYONE))
        return [(f"{kind}:{front}{self.written(name)}", given)] if given else []

    def rates_of(self, caller: Caller) -> tuple[tuple[str, Rate], ...]:
        """The owners whose rate *caller* uses up, each with its limits. Empty where nothing is limited.

        A caller's own label is none of them: whoever may choose it would choose a fresh one.
        """
        found = [(MACHINE, self.rate)] if self.rate else []
        if self.rates:
            found += self._owned(self.rates, "project", caller.project, "")
        if caller.key_id and caller.rights.rate:
            found.append((f"key:{caller.key_id}", caller.rights.rate))
        return tuple(found)


def dollars(day: float | None, month: float | None, total: float | None) -> Allowance:
    """An allowance, from US dollars."""
    return Allowance(*(None if each is None else micros(each) for each in (day, month, total)))


def allowances(
    budget: Allowance, rate: Rate, budget_rules: Iterable[str] = (), rate_rules: Iterable[str] = ()
) -> Allowances:
    """What the settings say: the machine's limits, and rules for projects and labels; of two equal rules the later."""
    budgets = {owner: Allowance(**given) for owner, given in _read(budget_rules, micros).items()}
    rates = {owner: Rate(**given) for owner, given in _read(rate_rules, int).items()}
    return Allowances(budget, rate, budgets, rates)


def micros(dollars: str | float) -> int:
    """US dollars as micro-dollars, exactly as they are written."""
    return int(Decimal(str(dollars)) * MICROS)


def _read(rules: Iterable[str], amount: Callable[[str], int]) -> dict[tuple[str, str], dict[str, int]]:
    """The limits that *rules* set, by kind and name of their owner."""
    found: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for rule in rules:
        front, _, value = rule.partition("=")
        kind, name, what = front.split(":")
        found[kind, name][what] = amount(value)
    return found


def _part(name: str) -> str:
    """*name* without a colon, so that what follows it cannot be taken for a part of it."""
    return name.replace("%", "%25").replace(":", "%3A")
