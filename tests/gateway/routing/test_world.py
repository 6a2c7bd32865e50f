"""What the router is shown: tiers of the settings before the documented ones, prices by the documented table."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from membrain.routing.world import TIER_MODELS, Offer, Preferences, World, documented_mean


def test_a_tier_that_the_settings_fill_is_theirs_and_the_others_stay() -> None:
    preferences = Preferences(tiers={"fast": ("groq/llama-3",), "best": ()})
    assert preferences.models_of("fast") == ("groq/llama-3",)
    assert preferences.models_of("best") == tuple(TIER_MODELS["best"])
    assert preferences.models_of("balanced") == tuple(TIER_MODELS["balanced"])


def test_the_documented_mean_is_known_for_the_documented_models_only() -> None:
    assert documented_mean("gpt-4o") == pytest.approx(0.00625)
    assert documented_mean("somebody-elses") is None


def test_a_snapshot_cannot_be_changed() -> None:
    world = World({"openai": Offer("openai")})
    with pytest.raises(FrozenInstanceError):
        world.offers = {}  # type: ignore[misc]  # that is the claim
