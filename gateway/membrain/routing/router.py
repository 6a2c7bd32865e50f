"""Which model at which provider: every candidate, kept or dropped, with the one reason that decided.

`consider` is a pure function of what was asked, of the request's hints and of the `World` it is shown. What it returns
is what dispatch does and what people are shown; there is no second telling.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from membrain.cost.pricing import MODEL_PRICING
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
from membrain.records import Candidate, Decision, Hints
from membrain.routing.latency import Latencies
from membrain.routing.resolution import CATCH_ALL, rule_for
from membrain.routing.world import TIER_MODELS, Offer, Preferences, Rest, World, documented_mean

__all__ = ["AUTO", "LOCAL_MODEL", "TIER_MODELS", "Offer", "Router", "consider", "tier_named"]

TIER_ALIASES = {"speed": "fast", "quality": "best"}
"""What else the tiers are called on the wire."""

AUTO = frozenset({"auto", "default"})
_REMEMBERED = 256
"""Decisions; callers choose the names of models, so there is no end to them."""
LOCAL_MODEL = "local/default"
PREFERRED_LOCAL = "ollama/llama3"


def tier_named(tier: str | None, default: str = "balanced") -> str:
    """The tier's own name, or a `BadRequest` for one that does not exist."""
    if tier is None:
        return default
    name = TIER_ALIASES.get(tier.strip().lower(), tier.strip().lower())
    if name not in TIER_MODELS:
        raise BadRequest(f"There is no tier of that name; there are {', '.join(TIER_MODELS)}.", param="x-membrain-tier")
    return name


def consider(asked: str, hints: Hints, world: World) -> Decision:
    """Every candidate for *asked*, those that are kept first, in the order in which they are tried.

    It may be that none is kept: `refusal` says why. Raises `UnknownModel`, `NotConfigured` or `BadRequest` if there is
    nothing to consider.
    """
    model = world.preferences.aliases.get(asked, asked)
    if model in AUTO and hints.serves is not None:
        raise BadRequest(f"`{model}` chooses among models that write. Name one for {hints.serves}.", param="model")
    if model in AUTO:
        tier: str | None = tier_named(hints.tier, world.preferences.tier)
        found = _automatic(tier or "", hints, world)
    else:
        tier, found = None, _named(model, hints, world)
    judged = [_judged(candidate, model in AUTO, hints, world) for candidate in found]
    judged.sort(key=lambda candidate: not candidate.kept)  # stable: the order among the kept ones stays
    if tier and not hints.private and hints.max_cost is None:
        judged = list(_ranked(judged, world))
    return Decision(asked, tier, hints.private, tuple(judged), hints.max_cost)


def refusal(decision: Decision, resting: Rest) -> MembrainError:
    """Why nobody may answer, where everybody was considered."""
    names = dict.fromkeys(each.provider for each in decision.candidates if each.reason.startswith(_RESTS))
    if names:
        seconds = max(1, -int(-min(resting[name] for name in names) // 1))
        return ProviderResting(
            f"{', '.join(names)} is left alone for {seconds} s: it failed too often, or asked for a pause.",
            headers={"retry-after": str(seconds)},
        )
    if decision.candidates and all(each.reason.startswith(_UNSERVED) for each in decision.candidates):
        names = dict.fromkeys(each.provider for each in decision.candidates)
        return NotServed(f"{', '.join(names)} {decision.candidates[0].reason.removeprefix('it ')}.", param="model")
    if decision.private and decision.tier is None:
        model, provider = decision.candidates[0].model, decision.candidates[0].provider
        return PrivateRefused(f"This request is private, and {model} at {provider} is not on this machine.")
    if decision.private:
        return NoCandidate("No model runs on this machine.", hint="Start Ollama, or: membrain local install")
    return NoCandidate("No model fits what was asked.", hint="Give a model by name, or a higher x-membrain-max-cost.")


def _judged(candidate: Candidate, automatic: bool, hints: Hints, world: World) -> Candidate:  # a fact
    """The candidate, dropped for the first reason that there is."""
    if not candidate.kept:
        return candidate
    for rule in RULES if automatic else NAMED_RULES:
        if reason := rule(candidate, hints, world):
            return replace(candidate, kept=False, reason=reason)
    return candidate


def _leaves(candidate: Candidate, hints: Hints, _: World) -> str | None:
    return "it would leave this machine" if hints.private and not candidate.local else None


def _too_dear(candidate: Candidate, hints: Hints, world: World) -> str | None:
    if hints.max_cost is None or candidate.local:
        return None
    mean = world.mean_price(candidate.model, candidate.provider)
    if mean is None:
        return "its price is unknown"
    return f"over ${hints.max_cost:g}" if mean > hints.max_cost else None


def _rests(candidate: Candidate, _: Hints, world: World) -> str | None:
    seconds = world.resting.get(candidate.provider)
    return None if seconds is None else f"{_RESTS}, asked again in {max(1, round(seconds))} s"


_RESTS = "left alone for now"
"""How the reason of the last rule begins: whoever has it would answer otherwise."""


def _unserved(candidate: Candidate, hints: Hints, world: World) -> str | None:
    if hints.serves is None or hints.serves in world.offers[candidate.provider].serves:
        return None
    return f"{_UNSERVED} {hints.serves}"


_UNSERVED = "it serves no"
"""How the reason of that rule begins."""

RULES: tuple[Callable[[Candidate, Hints, World], str | None], ...] = (_unserved, _leaves, _too_dear, _rests)
"""What drops a candidate, and the reason that is shown. The first that says one decides."""
NAMED_RULES = (_unserved, _leaves, _rests)
"""Those for a model that was asked for by name: whoever names one has seen its price."""


def _named(model: str, hints: Hints, world: World) -> list[Candidate]:
    """Who serves a model that was asked for by name: usually one, or all of the user's own that list it."""
    providers = _servers_of(model, world.offers, hints.serves)
    if not providers:
        raise _nobody(model, world.offers)
    found = [
        Candidate(model, provider, kept=True, reason="named", local=_stays(model, world.offers[provider]))
        for provider in providers
    ]
    return sorted(found, key=_order(world)) if len(found) > 1 else found


def _automatic(tier: str, hints: Hints, world: World) -> list[Candidate]:
    """Who may be asked when the router chooses, best first."""
    offers = world.offers
    if hints.private:
        return [*_private(offers), *_cloud(world)]
    if hints.max_cost is not None:
        limit = f"under ${hints.max_cost:g}"
        models = world.preferences.models_of(tier) if hints.tier else world.priced
        found = list(_served(models, offers, limit))
        return sorted(found, key=lambda each: _price_order(each, world))
    found = sorted(_served(world.preferences.models_of(tier), offers, f"tier {tier}"), key=_order(world))
    return [*found, *_of_other_tiers(tier, world)] if found else _last(offers)


def _served(models: Iterable[str], offers: Mapping[str, Offer], reason: str) -> Iterator[Candidate]:
    """A candidate for each of *models* that somebody serves."""
    for model in models:
        for provider in _servers_of(model, offers)[:1]:
            local = _stays(model, offers[provider])
            yield Candidate(model, provider, kept=True, reason=reason, local=local)


def _order(world: World) -> Callable[[Candidate], tuple[int, float]]:
    """Preferred providers first, then the fastest; one that was never asked before those that were."""
    prefer = world.preferences.prefer

    def key(candidate: Candidate) -> tuple[int, float]:
        rank = prefer.index(candidate.provider) if candidate.provider in prefer else len(prefer)
        return rank, world.speed(candidate.provider)

    return key


def _of_other_tiers(tier: str, world: World) -> Iterator[Candidate]:
    """What the other tiers have, to be dropped in plain sight."""
    for other in TIER_MODELS:
        if other != tier:
            for each in _served(world.preferences.models_of(other), world.offers, f"of tier {other}"):
                yield replace(each, kept=False)


def _ranked(judged: Sequence[Candidate], world: World) -> Iterator[Candidate]:
    """The same, those that were kept with the reason for their place among each other."""
    kept = sum(candidate.kept for candidate in judged)
    for place, candidate in enumerate(judged):
        if not candidate.kept or kept == 1 or not candidate.reason.startswith("tier "):
            yield candidate
        elif place:
            yield replace(candidate, reason="next by p50")
        elif candidate.provider in world.preferences.prefer:
            yield replace(candidate, reason="preferred by the settings")
        elif world.speed(candidate.provider) < 0:
            yield replace(candidate, reason="not asked yet, so tried once")
        else:
            yield replace(candidate, reason=f"fastest of the {kept} kept")


def _price_order(candidate: Candidate, world: World) -> float:
    mean = world.mean_price(candidate.model, candidate.provider)
    return float("inf") if mean is None else mean


def _cloud(world: World) -> Iterator[Candidate]:
    """What the tiers have elsewhere, to be dropped in plain sight."""
    models = (model for tier in TIER_MODELS for model in world.preferences.models_of(tier))
    return (each for each in _served(models, world.offers, "") if not each.local)


class Router:
    """Decides, and remembers how fast each provider was. A bare one goes by the documented tables."""

    def __init__(
        self,
        *,
        tier: str = "balanced",
        preferences: Preferences | None = None,
        mean_price: Callable[[str, str], float | None] = documented_mean,
        priced: Sequence[str] = tuple(MODEL_PRICING),
    ) -> None:
        self.preferences = preferences or Preferences(tier=tier)
        self.latencies = Latencies()
        self._decisions: dict[tuple[str, Hints], tuple[tuple[object, ...], Decision]] = {}
        self._mean_price, self._priced = mean_price, tuple(priced)

    def become(self, preferences: Preferences) -> None:
        """Go by *preferences* from now on."""
        self.preferences = preferences

    def meant(self, model: str) -> str:
        """The model that *model* stands for: itself, unless it is an alias of the settings."""
        return self.preferences.aliases.get(model, model)

    def world(self, offers: Mapping[str, Offer], resting: Rest | None = None) -> World:
        """What a decision would go by now."""
        tiers = (model for tier in TIER_MODELS for model in self.preferences.models_of(tier))
        priced = tuple(dict.fromkeys((*self._priced, *tiers))) if self.preferences.tiers else self._priced
        return World(offers, self.preferences, self._mean_price, priced, self.latencies.speed, resting or {})

    def decide(self, model: str, hints: Hints, offers: Mapping[str, Offer], resting: Rest | None = None) -> Decision:
        """Every candidate for *model*, best first.

        Raises `UnknownModel`, `NotConfigured`, `PrivateRefused`, `ProviderResting` or `NoCandidate` when nobody may
        answer.
        """
        if resting or hints.max_cost is not None:  # by the second and by prices, which may change
            return self._decided(model, hints, offers, resting or {})
        seen = self._seen(offers)
        known = self._decisions.get((model, hints))
        if known is not None and known[0] == seen:
            return known[1]
        decision = self._decided(model, hints, offers, {})
        if len(self._decisions) >= _REMEMBERED:
            self._decisions.clear()
        self._decisions[model, hints] = seen, decision
        return decision

    def _decided(self, model: str, hints: Hints, offers: Mapping[str, Offer], resting: Rest) -> Decision:
        decision = consider(model, hints, self.world(offers, resting))
        if not decision.chain:
            raise refusal(decision, resting)
        return decision

    def _seen(self, offers: Mapping[str, Offer]) -> tuple[object, ...]:
        """All that a decision goes by besides the request: unchanged, the same question has the same answer."""
        speed = self.latencies.speed
        order = sorted(offers, key=speed)
        return self.preferences, tuple(offers.values()), order, [name for name in order if speed(name) < 0]

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
        self.latencies.record(provider, duration_ms)

    def record_failure(self, provider: str) -> None:
        """Note that *provider* was asked and did not answer."""
        self.latencies.failed(provider)

    def get_latency_stats(self, provider: str) -> dict[str, float]:
        """`p50`, `p99` and `count` over *provider*'s last hundred answers."""
        return self.latencies.stats(provider)


def _servers_of(model: str, offers: Mapping[str, Offer], serves: str | None = None) -> list[str]:
    """Who serves *model*, of those registered: all that list it, or one it is prefixed with, or one by the table.

    Only the table goes by what has to be served: a name that says whose the model is leads nowhere else.
    """
    listing = [name for name, offer in offers.items() if model in offer.models]
    if listing:
        return listing
    prefix, slash, _ = model.partition("/")
    if slash and prefix in offers:
        return [prefix]
    row = [name for name in rule_for(model).providers if name in offers]
    return ([name for name in row if serves in offers[name].serves] if serves else row)[:1] or row[:1]


_CLOUD = ("-cloud", ":cloud")
"""How names of models end that Ollama only passes on."""


def _stays(model: str, offer: Offer) -> bool:
    """Whether a request for *model* stays on this machine: *offer* is local, and the name is none of its cloud."""
    name = f"ollama/{model.removeprefix('ollama:')}" if model.startswith("ollama:") else model
    away = set(offer.models) - offer.here
    return offer.local and away.isdisjoint({name, f"{name}:latest"}) and not name.endswith(_CLOUD)


def _private(offers: Mapping[str, Offer]) -> list[Candidate]:
    """What runs here: Ollama's models, the documented one first, then the embedded one."""
    ollama = offers.get("ollama")
    here = sorted(ollama.here, key=lambda model: (not model.startswith(PREFERRED_LOCAL), model)) if ollama else []
    found = [Candidate(model, "ollama", kept=True, reason="local", local=True) for model in here]
    if "local" in offers:
        found.append(Candidate(LOCAL_MODEL, "local", kept=True, reason="local", local=True))
    return found


def _last(offers: Mapping[str, Offer]) -> list[Candidate]:
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
