"""Under whose limits a caller stands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from membrain.allowances import Allowances, allowances, micros
from membrain.records import Allowance, Caller, ClientKey, Rate, Rights

NOTHING = Allowances()
KEYED = Caller("k1", "aider", "web", "ada", rights=Rights(budget=Allowance(total=7), rate=Rate(requests=3)))


def test_without_limits_nobody_stands_under_any() -> None:
    caller = Caller("k1", "aider", "web", "ada")
    assert NOTHING.budgets_of(caller) == NOTHING.rates_of(caller) == ()


def test_a_caller_stands_under_the_machines_the_projects_the_labels_and_the_keys_budget() -> None:
    rules = ["project:web:day=5.00", "project:web:month=60", "user:ada:total=0.5", "project:api:day=1"]
    found = allowances(Allowance(day=1), Rate(), rules)
    assert found.budgets_of(KEYED) == (
        ("machine", Allowance(day=1)),
        ("project:web", Allowance(day=5_000_000, month=60_000_000)),
        ("user:web:ada", Allowance(total=500_000)),
        ("key:k1", Allowance(total=7)),
    )


def test_a_rule_for_anyone_counts_each_by_itself_and_gives_way_to_a_rule_by_name() -> None:
    found = allowances(Allowance(), Rate(), ["user:*:total=1", "user:ada:total=2", "project:*:day=3"])
    assert found.budgets_of(Caller(project="web", user="bob")) == (
        ("project:web", Allowance(day=3_000_000)),
        ("user:web:bob", Allowance(total=1_000_000)),
    )
    assert ("user:api:ada", Allowance(total=2_000_000)) in found.budgets_of(Caller(project="api", user="ada"))


def test_a_rate_is_never_the_labels_own() -> None:
    found = allowances(Allowance(), Rate(requests=60), (), ["project:web:requests=5", "project:web:tokens=9"])
    assert found.rates_of(KEYED) == (
        ("machine", Rate(requests=60)),
        ("project:web", Rate(requests=5, tokens=9)),
        ("key:k1", Rate(requests=3)),
    )
    other = Caller(project="web", user="somebody new")
    assert found.rates_of(other) == found.rates_of(Caller(project="web"))


@pytest.mark.parametrize(("dollars", "expected"), [("0.000001", 1), ("2.00", 2_000_000), (0.1, 100_000), (1e-6, 1)])
def test_dollars_are_taken_as_they_are_written(dollars: str | float, expected: int) -> None:
    assert micros(dollars) == expected


def test_no_two_callers_have_one_purse_by_accident() -> None:
    found = allowances(Allowance(), Rate(), ["user:*:total=1"])
    one, other = Caller(project="a:b", user="c"), Caller(project="a", user="b:c")
    assert found.budgets_of(one) != found.budgets_of(other)


def test_what_stands_to_be_told_is_everyone_with_a_limit() -> None:
    found = allowances(Allowance(day=1), Rate(), ["project:web:day=5", "user:*:total=2", "project:*:month=3"])
    key = ClientKey("k1", "ci", "d", "abcd", "web", "2026-01-01T00:00:00Z", rights=Rights(budget=Allowance(total=9)))
    plain = ClientKey("k2", "me", "e", "abce", "web", "2026-01-01T00:00:00Z")
    seen = ["user:web:ada", "project:api", "key:gone", "machine"]
    assert found.standing(seen, [key, plain]) == {
        "machine": Allowance(day=1),
        "project:web": Allowance(day=5_000_000),
        "user:web:ada": Allowance(total=2_000_000),
        "project:api": Allowance(month=3_000_000),
        "key:k1": Allowance(total=9),
    }


def test_a_name_that_must_not_be_written_down_is_counted_under_another() -> None:
    found = replace(allowances(Allowance(), Rate(), ["user:ada@x.org:total=1"]), written=lambda name: f"~{len(name)}")
    (owner, allowance), *more = found.budgets_of(Caller(project="web", user="ada@x.org"))
    assert (owner, allowance, more) == ("user:~3:~9", Allowance(total=1_000_000), [])
    assert found.standing([owner]) == {owner: allowance}
