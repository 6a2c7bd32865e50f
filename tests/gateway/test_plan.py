"""What each room is handed of the settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from membrain import plan
from membrain.records import Allowance, Caller, Rate
from membrain.settings import Budget, Cache, Limits, ModelPrice, Pii, Routing, Settings, Tiers
from membrain.settings import Rate as RateSettings

CALLER = Caller(project="web", user="ada")


def test_dollars_become_whole_micro_dollars_and_rules_those_of_their_owners() -> None:
    settings = Settings(
        budget=Budget(day=2.5, total=0.000001, rules=("project:web:month=60",)),
        rate=RateSettings(requests=60, rules=("project:*:tokens=1000",)),
    )
    found = plan.allowances_of(settings)
    assert found.budgets_of(CALLER) == (
        ("machine", Allowance(day=2_500_000, total=1)),
        ("project:web", Allowance(month=60_000_000)),
    )
    assert found.rates_of(CALLER) == (("machine", Rate(requests=60)), ("project:web", Rate(tokens=1000)))


def test_nothing_is_limited_where_nothing_is_said() -> None:
    found = plan.allowances_of(Settings())
    assert found.budgets_of(CALLER) == found.rates_of(CALLER) == ()


def test_the_cache_is_told_bytes_and_seconds() -> None:
    found = plan.keeping_of(Settings(cache=Cache(mode="on", max_mb=2, answer_kb=3, keep_hours=4)))
    assert (found.mode, found.total_bytes, found.answer_bytes, found.seconds) == ("on", 2 << 20, 3 << 10, 4 * 3600)


@pytest.mark.parametrize(
    "change",
    [
        {"pii": Pii(level="strict")},
        {"pii": Pii(rules=("SECRET=block",))},
        {"tier": "best"},
        {"tiers": Tiers(fast=("gpt-4o",))},
        {"aliases": {"mine": "gpt-4o"}},
        {"routing": Routing(fallback=False)},
    ],
    ids="-".join,
)
def test_an_answer_that_was_made_by_other_rules_is_another(change: dict[str, object]) -> None:
    assert plan.made_by(replace(Settings(), **change)) != plan.made_by(Settings())


def test_what_does_not_change_an_answer_leaves_it_the_same() -> None:
    changed = replace(Settings(), port=9000, budget=Budget(day=1.0), cache=Cache(max_mb=1))
    assert plan.made_by(changed) == plan.made_by(Settings())


def test_waits_and_sizes_reach_the_way_out_in_its_own_units() -> None:
    found = plan.limits_of(Settings(limits=Limits(connect_seconds=1.5, answer_mb=2)))
    assert (found.connect, found.answer_bytes) == (1.5, 2 << 20)


def test_the_users_own_prices_and_aliases_are_those_that_routing_goes_by() -> None:
    settings = Settings(
        prices={"mine": ModelPrice(1.0, 2.0)},
        tiers=Tiers(fast=("quick", "loop")),
        aliases={"quick": "mine", "loop": "auto"},
    )
    assert plan.prices_of(settings).mean("mine") == 0.0015
    assert plan.preferences_of(settings).tiers["fast"] == ("mine",), "an alias of `auto` would be the tier itself again"
