"""What the router is shown: who is there, what they serve and cost, how fast and how well they are. It decides nothing.

A `World` is a snapshot: deciding twice on the same one gives the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from membrain.cost.pricing import MODEL_PRICING, price_of

TIER_MODELS: dict[str, list[str]] = {
    "fast": ["gpt-4o-mini", "claude-haiku-4-5-20251001"],
    "balanced": ["gpt-4o", "claude-sonnet-4-20250514"],
    "best": ["o1", "claude-opus-4-20250514"],
}


@dataclass(frozen=True, slots=True)
class Offer:
    """One registered provider as the router sees it."""

    name: str
    local: bool = False
    models: tuple[str, ...] = ()
    """What it is known to serve, by our names. Empty says nothing."""
    here: frozenset[str] = frozenset()
    """Those of its models that run on this machine."""
    serves: frozenset[str] = frozenset()
    """What it answers besides questions for text: `embeddings`, `moderations`."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the settings say of routing."""

    tier: str = "balanced"
    """Which tier answers `auto` when a request does not say."""
    tiers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Models of tiers that the settings fill themselves."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Names of the user's own, each with the model that it stands for in the end."""
    prefer: tuple[str, ...] = ()
    """Providers that come first, in this order, however fast others are."""
    fallback: bool = True
    """Whether another candidate is tried when the first one fails."""
    breaker: bool = True
    """Whether a provider that keeps failing is left alone for a while."""
    attempts: int = 3
    """How often providers are asked for one answer, at most."""

    def models_of(self, tier: str) -> tuple[str, ...]:
        """The models of *tier*: the settings', or the documented ones."""
        return self.tiers.get(tier) or tuple(TIER_MODELS[tier])


def documented_mean(model: str, _: str = "") -> float | None:
    """US dollars for 1K tokens of *model*, the mean of input and output, by the documented table."""
    price = price_of(model)
    return sum(price) / 2000 if price else None


Rest = Mapping[str, float]
"""Providers that are not asked now, with the seconds until they are."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a decision goes by, apart from the request."""

    offers: Mapping[str, Offer]
    preferences: Preferences = field(default_factory=Preferences)
    mean_price: Callable[[str, str], float | None] = documented_mean
    """US dollars for 1K tokens of a model at a provider, the mean of input and output; None if unknown."""
    priced: tuple[str, ...] = tuple(MODEL_PRICING)
    """The models among which the cheapest one is looked for."""
    speed: Callable[[str], float] = lambda _: 0.0
    """Milliseconds of a provider's median answer: below 0 if it was never asked, infinite if it never answered."""
    resting: Rest = field(default_factory=dict)
