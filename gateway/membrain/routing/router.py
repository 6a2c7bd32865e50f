"""Which model at which provider: every candidate, kept or dropped, with the one reason that decided.

`decide` is a pure function of the request's hints and of the `Offer`s it is shown. What it returns is what dispatch
does and what people are shown; there is no second telling.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from membrain.cost.pricing import MODEL_PRICING, price_of
from membrain.errors import BadRequest, NoCandidate, NotConfigured, PrivateRefused, UnknownModel
from membrain.records import Candidate, Decision, Hints
from membrain.routing.latency import Latencies
from membrain.routing.resolution import CATCH_ALL, rule_for

TIER_MODELS: dict[str, list[str]] = {
    "fast": ["gpt-4o-mini", "claude-haiku-4-5-20251001"],
    "balanced": ["gpt-4o", "claude-sonnet-4-20250514"],
    "best": ["o1", "claude-opus-4-20250514"],
}
TIER_ALIASES = {"speed": "fast", "quality": "best"}
"""What else the tiers are called on the wire."""

AUTO = frozenset({"auto", "default"})
LOCAL_MODEL = "local/default"
PREFERRED_LOCAL = "ollama/llama3"


@dataclass(frozen=True, slots=True)
class Offer:
    """One registered provider as the router sees it."""

    name: str
    local: bool = False
    models: tuple[str, ...] = ()
    """What it is known to serve, by our names. Empty says nothing."""
    here: frozenset[str] = frozenset()
    """Those of its models that run on this machine."""


def tier_named(tier: str | None, default: str = "balanced") -> str:
    """The tier's own name, or a `BadRequest` for one that does not exist."""
    if tier is None:
        return default
    name = TIER_ALIASES.get(tier.strip().lower(), tier.strip().lower())
    if name not in TIER_MODELS:
        raise BadRequest(f"There is no tier of that name; there are {', '.join(TIER_MODELS)}.", param="x-membrain-tier")
    return name


class Router:
    """Decides, and remembers how fast each provider was."""

    def __init__(self, *, tier: str = "balanced") -> None:
        self._tier = tier
        self._latencies = Latencies()

    def decide(self, model: str, hints: Hints, offers: Mapping[str, Offer]) -> Decision:
        """Every candidate for *model*, best first.

        Raises `UnknownModel`, `NotConfigured`, `PrivateRefused` or `NoCandidate` when nobody may answer.
        """
        if model not in AUTO:
            return Decision(model, None, hints.private, (self._named(model, hints, offers),))
        tier = tier_named(hints.tier, self._tier)
        if hints.private:
            found = [*_private(offers), *self._dropped(offers, "it would leave this machine")]
        elif hints.max_cost is not None:
            found = self._under(hints.max_cost, offers)
        else:
            found = self._of_tier(tier, offers) or _fallbacks(offers)
        if not any(candidate.kept for candidate in found):
            raise _none_fits(hints)
        return Decision(model, tier, hints.private, tuple(found))

    def _named(self, model: str, hints: Hints, offers: Mapping[str, Offer]) -> Candidate:
        """The one candidate for a model that was asked for by name."""
        provider = _server_of(model, offers)
        if provider is None:
            raise _nobody(model, offers)
        local = _stays(model, offers[provider])
        if hints.private and not local:
            raise PrivateRefused(f"This request is private, and {model} at {provider} is not on this machine.")
        return Candidate(model, provider, kept=True, reason="named", local=local)

    def _of_tier(self, tier: str, offers: Mapping[str, Offer]) -> list[Candidate]:
        """The tier's models that somebody serves, the fastest provider first."""
        served = [(model, _server_of(model, offers)) for model in TIER_MODELS[tier]]
        kept = [(model, provider) for model, provider in served if provider is not None]
        kept.sort(key=lambda pair: self._latencies.p50(pair[1]) or 0.0)
        return [
            Candidate(model, provider, kept=True, reason=f"tier {tier}", local=offers[provider].local)
            for model, provider in kept
        ]

    def _under(self, max_cost: float, offers: Mapping[str, Offer]) -> list[Candidate]:
        """Every priced model that somebody serves, the cheapest first; kept if it is cheap enough."""
        found = []
        for model in sorted(MODEL_PRICING, key=mean_price):
            if (provider := _server_of(model, offers)) is not None:
                fits = mean_price(model) <= max_cost
                reason = f"under ${max_cost:g}" if fits else f"over ${max_cost:g}"
                found.append(Candidate(model, provider, kept=fits, reason=reason, local=offers[provider].local))
        return found

    def _dropped(self, offers: Mapping[str, Offer], reason: str) -> Iterable[Candidate]:
        for model in (each for models in TIER_MODELS.values() for each in models):
            if (provider := _server_of(model, offers)) is not None:
                yield Candidate(model, provider, kept=False, reason=reason)

    def resolve_with_fallback(
        self,
        requested_model: str,
        available_providers: Sequence[str],
        tier: str | None = None,
        max_cost: float | None = None,
        private: bool = False,  # the documented signature
    ) -> list[str]:
        """The models to try, in order, as the routing guide documents it."""
        offers = {name: Offer(name, local=name == "local") for name in available_providers}
        if "ollama" in offers:
            offers["ollama"] = Offer("ollama", True, (PREFERRED_LOCAL,), frozenset({PREFERRED_LOCAL}))
        offers.setdefault("local", Offer("local", local=True))
        decision = self.decide(requested_model, Hints(tier, private, max_cost), offers)
        return [candidate.model for candidate in decision.chain]

    def record_latency(self, provider: str, duration_ms: float) -> None:
        """Note how long *provider* took for one answer."""
        self._latencies.record(provider, duration_ms)

    def get_latency_stats(self, provider: str) -> dict[str, float]:
        """`p50`, `p99` and `count` over *provider*'s last hundred answers."""
        return self._latencies.stats(provider)


def mean_price(model: str) -> float:
    """US dollars for 1K tokens, the mean of input and output; infinite if unknown."""
    price = price_of(model)
    return sum(price) / 2000 if price else float("inf")


def _server_of(model: str, offers: Mapping[str, Offer]) -> str | None:
    """The registered provider that serves *model*: one that lists it, one it is prefixed with, or by the table."""
    for name, offer in offers.items():
        if model in offer.models:
            return name
    prefix, slash, _ = model.partition("/")
    if slash and prefix in offers:
        return prefix
    return next((name for name in rule_for(model).providers if name in offers), None)


_CLOUD = ("-cloud", ":cloud")
"""How names of models end that Ollama only passes on."""


def _stays(model: str, offer: Offer) -> bool:
    """Whether a request for *model* stays on this machine: *offer* is local, and the name is none of its cloud."""
    name = f"ollama/{model.removeprefix('ollama:')}" if model.startswith("ollama:") else model
    away = set(offer.models) - offer.here
    return offer.local and away.isdisjoint({name, f"{name}:latest"}) and not name.endswith(_CLOUD)


def _none_fits(hints: Hints) -> NoCandidate:
    """Why nobody may answer, where everybody was considered."""
    if hints.private:
        return NoCandidate("No model runs on this machine.", hint="Start Ollama, or: membrain local install")
    return NoCandidate("No model fits what was asked.", hint="Give a model by name, or a higher x-membrain-max-cost.")


def _private(offers: Mapping[str, Offer]) -> list[Candidate]:
    """What runs here: Ollama's models, the documented one first, then the embedded one."""
    ollama = offers.get("ollama")
    here = sorted(ollama.here, key=lambda model: (not model.startswith(PREFERRED_LOCAL), model)) if ollama else []
    found = [Candidate(model, "ollama", kept=True, reason="local", local=True) for model in here]
    if "local" in offers:
        found.append(Candidate(LOCAL_MODEL, "local", kept=True, reason="local", local=True))
    return found


def _fallbacks(offers: Mapping[str, Offer]) -> list[Candidate]:
    """Who answers `auto` when no tier model has a provider: the table's row, what Ollama has, the embedded model."""
    found = [
        Candidate("default", name, kept=True, reason="no tier model has a provider", local=offers[name].local)
        for name in rule_for("auto").providers
        if name in offers
    ]
    ollama = offers.get("ollama")
    if ollama:
        found += [
            Candidate(model, "ollama", kept=True, reason="no tier model has a provider", local=model in ollama.here)
            for model in ollama.models
        ]
    if "local" in offers:
        found.append(Candidate(LOCAL_MODEL, "local", kept=True, reason="always there", local=True))
    return found


_REMEDIES = {
    "ollama": "Say where it is: membrain config set providers.ollama.url URL",
    "local": "Switch it on: membrain config set local.enabled true",
}
"""What sets up the providers that need no key."""


def _nobody(model: str, offers: Mapping[str, Offer]) -> Exception:
    """Why nobody serves *model*: a provider without a key, or a name that nobody knows."""
    rule = rule_for(model)
    if rule is not CATCH_ALL:
        provider = rule.providers[-1] if model in {"sonnet", "opus", "haiku"} else rule.providers[0]
        remedy = _REMEDIES.get(provider, f"Set its key: membrain keys set {provider}")
        return NotConfigured(f"{model} is served by {provider}, which is not set up.", hint=remedy)
    known = [*(name for offer in offers.values() for name in offer.models), *MODEL_PRICING, "auto"]
    short = {name.partition("/")[2].partition(":")[0] or name: name for name in reversed(known)}
    near = difflib.get_close_matches(model, [*known, *short], n=3)
    names = ", ".join(dict.fromkeys(short.get(each, each) for each in near))
    meant = f"Did you mean {names}?" if near else "See what there is: GET /v1/models"
    return UnknownModel(f"Nobody here serves the model {model!r}.", param="model", hint=meant)
