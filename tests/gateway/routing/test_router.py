"""Which model at which provider, and why: the documented tables, and what a decision must never be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrain.errors import (
    BadRequest,
    MembrainError,
    NoCandidate,
    NotConfigured,
    NotServed,
    PrivateRefused,
    ProviderResting,
    UnknownModel,
)
from membrain.records import Decision, Hints
from membrain.routing.router import TIER_MODELS, Offer, Router, consider, tier_named
from membrain.routing.world import Preferences
from membrain.routing.world import documented_mean as mean_price

BOTH = ["openai", "anthropic"]
LLAMA = Offer("ollama", local=True, models=("ollama/llama3:latest",), here=frozenset({"ollama/llama3:latest"}))
LOCAL = Offer("local", local=True, models=("local/default",), here=frozenset({"local/default"}))
MIXED = Offer(
    "ollama",
    local=True,
    models=("ollama/llama3:latest", "ollama/gpt-oss:120b-cloud", "ollama/alias:latest"),
    here=frozenset({"ollama/llama3:latest"}),
)


def offers(*names_or_offers: str | Offer) -> Mapping[str, Offer]:
    found = [Offer(each) if isinstance(each, str) else each for each in names_or_offers]
    return {each.name: each for each in found}


def chain(decision: Decision) -> list[tuple[str, str]]:
    return [(each.model, each.provider) for each in decision.chain]


# --- tiers


def test_the_tiers_are_the_documented_ones() -> None:
    assert TIER_MODELS == {
        "fast": ["gpt-4o-mini", "claude-haiku-4-5-20251001"],
        "balanced": ["gpt-4o", "claude-sonnet-4-20250514"],
        "best": ["o1", "claude-opus-4-20250514"],
    }


@pytest.mark.parametrize("tier", ["fast", "balanced", "best"])
def test_auto_asks_the_tiers_models_in_order(tier: str) -> None:
    assert Router().resolve_with_fallback("auto", BOTH, tier=tier) == TIER_MODELS[tier]


def test_the_documented_example() -> None:
    router = Router()
    found = router.resolve_with_fallback(
        requested_model="auto", available_providers=["openai", "anthropic"], tier="balanced"
    )
    assert found == ["gpt-4o", "claude-sonnet-4-20250514"]


def test_balanced_is_what_nobody_asked_for() -> None:
    assert Router().resolve_with_fallback("auto", BOTH) == TIER_MODELS["balanced"]


def test_another_default_can_be_set() -> None:
    assert Router(tier="fast").resolve_with_fallback("auto", BOTH) == TIER_MODELS["fast"]


@pytest.mark.parametrize(
    ("said", "meant"),
    [("speed", "fast"), ("quality", "best"), ("FAST", "fast"), (" best ", "best"), (None, "balanced")],
)
def test_tiers_have_other_names(said: str | None, meant: str) -> None:
    assert tier_named(said) == meant


@pytest.mark.parametrize("said", ["cheap", "", "canary"])
def test_a_tier_that_does_not_exist_is_refused(said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        tier_named(said)
    assert refused.value.param == "x-membrain-tier"
    assert "fast, balanced, best" in refused.value.message


def test_only_providers_that_are_there_are_asked() -> None:
    assert Router().resolve_with_fallback("auto", ["anthropic"], tier="fast") == ["claude-haiku-4-5-20251001"]


# --- latency


def test_the_fastest_provider_comes_first() -> None:
    router = Router()
    router.record_latency("openai", duration_ms=450.2)
    router.record_latency("anthropic", duration_ms=320.5)
    assert router.resolve_with_fallback("auto", BOTH, tier="balanced") == ["claude-sonnet-4-20250514", "gpt-4o"]


def test_latencies_are_told_as_documented() -> None:
    router = Router()
    router.record_latency("openai", duration_ms=320.5)
    assert router.get_latency_stats("openai") == {"p50": 320.5, "p99": 320.5, "count": 1}
    assert router.get_latency_stats("anthropic")["count"] == 0


# --- cost


def test_models_stand_in_the_documented_order_of_price() -> None:
    documented = {
        "gpt-4o-mini": 0.000375,
        "claude-haiku-4-5-20251001": 0.0024,
        "o3-mini": 0.00275,
        "gpt-4o": 0.00625,
        "claude-sonnet-4-20250514": 0.009,
        "gpt-4-turbo": 0.02,
        "o1": 0.0375,
        "claude-opus-4-20250514": 0.045,
    }
    assert {model: pytest.approx(mean_price(model)) for model in documented} == documented
    assert Router().resolve_with_fallback("auto", BOTH, max_cost=1) == list(documented)


def test_a_limit_of_cost_is_kept_the_cheapest_first() -> None:
    assert Router().resolve_with_fallback("auto", BOTH, max_cost=0.001) == ["gpt-4o-mini"]
    assert Router().resolve_with_fallback("auto", ["anthropic"], max_cost=0.01) == [
        "claude-haiku-4-5-20251001",
        "claude-sonnet-4-20250514",
    ]


def test_a_limit_that_nobody_keeps_leaves_nobody() -> None:
    with pytest.raises(NoCandidate):
        Router().resolve_with_fallback("auto", BOTH, max_cost=0.0001)


def test_what_is_too_dear_is_shown_with_the_reason() -> None:
    decision = Router().decide("auto", Hints(max_cost=0.001), offers("openai"))
    dropped = {each.model: each.reason for each in decision.candidates if not each.kept}
    assert dropped["gpt-4o"] == "over $0.001"
    assert chain(decision) == [("gpt-4o-mini", "openai")]


# --- private


def test_private_is_answered_by_ollama_and_then_by_the_embedded_model() -> None:
    found = Router().resolve_with_fallback("auto", ["openai", "anthropic", "ollama"], private=True)
    assert found == ["ollama/llama3", "local/default"]


def test_private_without_ollama_is_answered_by_the_embedded_model() -> None:
    assert Router().resolve_with_fallback("auto", BOTH, private=True) == ["local/default"]


def test_private_takes_what_ollama_really_has() -> None:
    pulled = Offer("ollama", local=True, models=("ollama/qwen2.5:0.5b",), here=frozenset({"ollama/qwen2.5:0.5b"}))
    decision = Router().decide("auto", Hints(private=True), offers("openai", pulled, LOCAL))
    assert chain(decision) == [("ollama/qwen2.5:0.5b", "ollama"), ("local/default", "local")]


def test_private_takes_nothing_of_ollamas_cloud() -> None:
    decision = Router().decide("auto", Hints(private=True), offers("openai", MIXED))
    assert chain(decision) == [("ollama/llama3:latest", "ollama")]


def test_private_shows_whom_it_dropped() -> None:
    decision = Router().decide("auto", Hints(private=True), offers(*BOTH, LOCAL))
    assert {each.provider for each in decision.candidates if not each.kept} == set(BOTH)
    assert {each.reason for each in decision.candidates if not each.kept} == {"it would leave this machine"}


def test_private_with_nobody_here_says_what_would_help() -> None:
    with pytest.raises(NoCandidate) as left:
        Router().decide("auto", Hints(private=True), offers("openai", "anthropic"))
    assert left.value.status == 503
    assert "membrain local install" in left.value.sentence


@pytest.mark.parametrize(
    "model",
    ["gpt-4o", "claude-sonnet-4-20250514", "openai/gpt-4o", "ollama/gpt-oss:120b-cloud", "ollama/alias", "sonnet"],
)
def test_private_is_kept_for_models_that_were_named(model: str) -> None:
    with pytest.raises(PrivateRefused) as refused:
        Router().decide(model, Hints(private=True), offers(*BOTH, MIXED, LOCAL))
    assert refused.value.status == 403


@pytest.mark.parametrize("model", ["ollama/llama3", "ollama:llama3", "ollama/llama3:latest", "local/default"])
def test_private_may_name_what_is_here(model: str) -> None:
    decision = Router().decide(model, Hints(private=True), offers(*BOTH, MIXED, LOCAL))
    assert all(each.local for each in decision.chain)


NAMES = ["openai", "anthropic", "litellm", "claude_cli"]
MODELS = [
    "auto",
    "default",
    "gpt-4o",
    "claude-x",
    "sonnet",
    "ollama/llama3",
    "ollama/gpt-oss:120b-cloud",
    "local/default",
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([*MODELS, "unknown", "openai/gpt-4o"]),
    st.sets(st.sampled_from(NAMES)),
    st.sampled_from([None, LLAMA, MIXED]),
    st.booleans(),
    st.sampled_from([None, "fast", "best"]),
    st.sampled_from([None, 0.0, 0.001, 10.0]),
)
def test_no_private_chain_ever_holds_what_would_leave(
    model: str, names: set[str], ollama: Offer | None, embedded: bool, tier: str | None, cost: float | None
) -> None:
    there = offers(*names, *([ollama] if ollama else []), *([LOCAL] if embedded else []))
    try:
        decision = Router().decide(model, Hints(tier, private=True, max_cost=cost), there)
    except MembrainError:
        return
    assert decision.chain
    for each in decision.chain:
        assert each.local
        assert each.provider in {"ollama", "local"}
        assert "cloud" not in each.model


# --- by name


@pytest.mark.parametrize(
    ("model", "there", "provider"),
    [
        ("gpt-4o", ["openai", "litellm"], "openai"),
        ("gpt-4o", ["litellm"], "litellm"),
        ("claude-x", ["anthropic", "claude_cli"], "anthropic"),
        ("claude-x", ["claude_cli"], "claude_cli"),
        ("sonnet", ["anthropic", "claude_cli"], "claude_cli"),
        ("sonnet", ["anthropic"], "anthropic"),
        ("unknown", ["openai", "litellm"], "litellm"),
        ("unknown", ["openai", "claude_cli"], "openai"),
        ("unknown", ["claude_cli", "anthropic"], "claude_cli"),
        ("gemini/gemini-pro", ["litellm", "openai"], "litellm"),
        ("openai/gpt-oss", ["litellm", "openai"], "openai"),
    ],
)
def test_a_name_goes_to_the_first_of_its_row_that_is_there(model: str, there: Sequence[str], provider: str) -> None:
    decision = Router().decide(model, Hints(), offers(*there))
    assert chain(decision) == [(model, provider)]
    assert decision.tier is None


def test_a_provider_that_lists_a_model_serves_it() -> None:
    mine = Offer("mine", models=("mixtral", "gpt-4o"))
    assert chain(Router().decide("mixtral", Hints(), offers("litellm", mine))) == [("mixtral", "mine")]
    assert chain(Router().decide("gpt-4o", Hints(), offers("openai", mine))) == [("gpt-4o", "mine")]


def test_a_providers_name_in_front_chooses_it() -> None:
    assert chain(Router().decide("mine/any", Hints(), offers("litellm", "mine"))) == [("mine/any", "mine")]


def test_a_model_of_ollamas_cloud_is_not_called_local() -> None:
    """What left the machine must be seen to have left it."""
    decision = Router().decide("ollama/gpt-oss:120b-cloud", Hints(), offers(MIXED))
    assert not decision.chain[0].local
    assert Router().decide("ollama/llama3", Hints(), offers(MIXED)).chain[0].local


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("gpt-4o", "membrain keys set openai"),
        ("o3-mini", "membrain keys set openai"),
        ("claude-x", "membrain keys set anthropic"),
        ("sonnet", "membrain keys set anthropic"),
        ("ollama/llama3", "providers.ollama.url"),
        ("local/default", "local.enabled"),
    ],
)
def test_a_provider_that_is_not_set_up_is_told_with_what_sets_it_up(model: str, part: str) -> None:
    with pytest.raises(NotConfigured) as told:
        Router().decide(model, Hints(), {})
    assert (told.value.status, told.value.code) == (503, "provider_not_configured")
    assert part in told.value.sentence


def test_a_name_nobody_knows_is_told_with_the_nearest() -> None:
    there = offers(Offer("ollama", local=True, models=("ollama/llama3",)))
    with pytest.raises(UnknownModel) as told:
        Router().decide("lama3", Hints(), there)
    assert (told.value.status, told.value.code, told.value.param) == (404, "model_not_found", "model")
    assert "ollama/llama3" in told.value.sentence
    with pytest.raises(UnknownModel, match="'zzz'"):
        Router().decide("zzz", Hints(), there)
    with pytest.raises(UnknownModel, match="'gpd-4o'") as told:
        Router().decide("gpd-4o", Hints(), there)
    assert "Did you mean gpt-4o" in told.value.sentence


# --- auto on a fresh machine


@pytest.mark.parametrize(
    ("there", "first"),
    [
        ([LOCAL], ("local/default", "local")),
        ([LLAMA, LOCAL], ("ollama/llama3:latest", "ollama")),
        (["claude_cli", LLAMA, LOCAL], ("claude-sonnet-4-20250514", "claude_cli")),
        (["anthropic", "claude_cli", LOCAL], ("claude-sonnet-4-20250514", "anthropic")),
    ],
)
def test_auto_always_finds_somebody(there: Sequence[str | Offer], first: tuple[str, str]) -> None:
    """Tier models first, then the table's row, then what Ollama has, then the embedded model."""
    decision = Router().decide("auto", Hints(), offers(*there))
    assert chain(decision)[0] == first


def test_auto_with_nothing_at_all_leaves_nobody() -> None:
    with pytest.raises(NoCandidate):
        Router().decide("auto", Hints(), {})


@pytest.mark.parametrize("model", ["auto", "default"])
def test_the_decision_says_what_was_asked(model: str) -> None:
    decision = Router().decide(model, Hints(tier="speed"), offers("openai"))
    assert (decision.asked, decision.tier, decision.private) == (model, "fast", False)
    assert [each.reason for each in decision.candidates] == ["tier fast", "of tier balanced", "of tier best"]


def test_a_tier_that_does_not_exist_is_refused_under_private_too() -> None:
    with pytest.raises(BadRequest):
        Router().decide("auto", Hints(tier="cheap", private=True), offers(LOCAL))


# --- the settings' word


def test_an_alias_is_what_it_stands_for() -> None:
    router = Router(preferences=Preferences(aliases={"fast-code": "gpt-4o-mini", "any": "auto"}))
    decision = router.decide("fast-code", Hints(), offers("openai"))
    assert (decision.asked, chain(decision)) == ("fast-code", [("gpt-4o-mini", "openai")])
    assert chain(router.decide("any", Hints(tier="fast"), offers("openai"))) == [("gpt-4o-mini", "openai")]


def test_a_tier_of_the_settings_takes_the_place_of_the_documented_one() -> None:
    groq = Offer("groq", models=("groq/llama-3",))
    router = Router(preferences=Preferences(tiers={"fast": ("groq/llama-3", "gpt-4o-mini")}))
    assert chain(router.decide("auto", Hints(tier="fast"), offers("openai", groq))) == [
        ("groq/llama-3", "groq"),
        ("gpt-4o-mini", "openai"),
    ]
    assert chain(router.decide("auto", Hints(tier="best"), offers("openai", groq))) == [("o1", "openai")]


def test_preferred_providers_come_before_faster_ones() -> None:
    router = Router(preferences=Preferences(prefer=("anthropic",)))
    router.record_latency("openai", 10)
    router.record_latency("anthropic", 900)
    assert [provider for _, provider in chain(router.decide("auto", Hints(), offers(*BOTH)))] == ["anthropic", "openai"]


def test_a_tier_and_a_limit_of_cost_hold_together() -> None:
    found = Router().resolve_with_fallback("auto", BOTH, tier="balanced", max_cost=0.007)
    assert found == ["gpt-4o"]


def test_what_several_of_ones_own_list_is_asked_of_the_fastest_and_then_of_the_others() -> None:
    one, two = Offer("one", models=("llama",)), Offer("two", models=("llama",))
    router = Router()
    router.record_latency("one", 90)
    router.record_latency("two", 20)
    assert chain(router.decide("llama", Hints(), offers(one, two, "openai"))) == [("llama", "two"), ("llama", "one")]


def test_the_first_one_is_told_why_it_is_the_first() -> None:
    router = Router()
    reasons = lambda: [each.reason for each in router.decide("auto", Hints(), offers(*BOTH)).chain]  # noqa: E731
    assert reasons() == ["not asked yet, so tried once", "next by p50"]
    router.record_latency("openai", 20)
    router.record_latency("anthropic", 10)
    assert reasons() == ["fastest of the 2 kept", "next by p50"]
    router.become(Preferences(prefer=("openai",)))
    assert reasons() == ["preferred by the settings", "next by p50"]


# --- never asked, failed, resting


def test_who_was_never_asked_is_tried_once_and_then_no_more() -> None:
    router = Router()
    router.record_latency("openai", 50)
    order = lambda: [provider for _, provider in chain(router.decide("auto", Hints(), offers(*BOTH)))]  # noqa: E731
    assert order() == ["anthropic", "openai"]
    router.record_failure("anthropic")
    assert order() == ["openai", "anthropic"]
    router.record_latency("anthropic", 20)
    assert order() == ["anthropic", "openai"]
    router.record_failure("anthropic")
    assert order() == ["anthropic", "openai"], "who has answered before is slow or fast, and the breaker's to judge"


def test_the_same_question_has_the_same_answer_until_anything_changes() -> None:
    router, there = Router(), dict(offers("openai"))
    first = router.decide("auto", Hints(), there)
    assert router.decide("auto", Hints(), there) is first, "remembered"
    assert router.decide("auto", Hints(tier="fast"), there) != first
    there["anthropic"] = Offer("anthropic")
    second = router.decide("auto", Hints(), there)
    assert [each.provider for each in second.chain] == ["openai", "anthropic"]
    router.record_latency("openai", 9)
    router.record_latency("anthropic", 3)
    assert [each.provider for each in router.decide("auto", Hints(), there).chain] == ["anthropic", "openai"]
    router.become(Preferences(prefer=("openai",)))
    assert [each.provider for each in router.decide("auto", Hints(), there).chain] == ["openai", "anthropic"]
    assert router.decide("auto", Hints(), there, {"openai": 5}).chain[0].provider == "anthropic"


def test_a_thousand_names_are_not_remembered_for_ever() -> None:
    router, groq = Router(), Offer("groq")
    for number in range(1000):
        router.decide(f"groq/{number}", Hints(), {"groq": groq})
    assert len(router._decisions) <= 256


def test_who_rests_is_passed_over_in_plain_sight() -> None:
    decision = Router().decide("auto", Hints(), offers(*BOTH), {"openai": 12.4})
    assert chain(decision) == [("claude-sonnet-4-20250514", "anthropic")]
    rests = next(each for each in decision.candidates if not each.kept)
    assert (rests.provider, rests.reason) == ("openai", "left alone for now, asked again in 12 s")


@pytest.mark.parametrize("model", ["gpt-4o", "auto"])
def test_when_everybody_rests_it_is_said_for_how_long(model: str) -> None:
    with pytest.raises(ProviderResting) as told:
        Router().decide(model, Hints(), offers("openai"), {"openai": 12.4})
    assert told.value.status == 503
    assert told.value.headers["retry-after"] == "13"


def test_private_goes_before_every_other_reason() -> None:
    decision = consider("auto", Hints(private=True, max_cost=0.0), Router().world(offers(*BOTH), {"openai": 3}))
    assert {each.reason for each in decision.candidates} == {"it would leave this machine"}


# --- what is no text

EMBEDS = Hints(serves="embeddings")
OPENAI = Offer("openai", serves=frozenset({"embeddings", "moderations"}))


def test_an_embedding_is_asked_of_the_one_by_the_table_who_serves_any() -> None:
    decision = Router().decide("text-embedding-3-small", EMBEDS, offers("litellm", OPENAI, "claude_cli"))
    assert chain(decision) == [("text-embedding-3-small", "openai")]


def test_who_serves_none_is_dropped_in_plain_sight() -> None:
    decision = consider("claude-sonnet-4", EMBEDS, Router().world(offers("anthropic", OPENAI)))
    assert [(each.provider, each.kept, each.reason) for each in decision.candidates] == [
        ("anthropic", False, "it serves no embeddings")
    ]
    with pytest.raises(NotServed, match="anthropic serves no embeddings"):
        Router().decide("claude-sonnet-4", EMBEDS, offers("anthropic", OPENAI))


@pytest.mark.parametrize("mine", [Offer("mine"), Offer("mine", models=("mine/echo",))])
def test_a_name_that_says_whose_it_is_leads_to_nobody_else(mine: Offer) -> None:
    """What was meant for one machine would be read on another."""
    with pytest.raises(NotServed, match="mine serves no embeddings"):
        Router().decide("mine/echo", EMBEDS, offers(mine, OPENAI))


def test_no_tier_has_models_that_embed() -> None:
    with pytest.raises(BadRequest, match="Name one for embeddings"):
        Router().decide("auto", EMBEDS, offers(OPENAI))


def test_where_text_is_asked_for_it_does_not_matter() -> None:
    assert chain(Router().decide("gpt-4o", Hints(), offers("openai"))) == [("gpt-4o", "openai")]
