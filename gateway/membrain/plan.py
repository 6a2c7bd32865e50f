"""The settings, as what each room is handed: plain values, and the objects that are made of them.

Only `gateway.py` and its test read this. It opens nothing and asks nobody; what it makes, others use.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from membrain.allowances import Allowances, allowances, dollars
from membrain.cost.prices import Price, Prices
from membrain.cost.pricing import MODEL_PRICING
from membrain.egress import Egress, Limits
from membrain.errors import Misconfigured
from membrain.masking.guard import BUILTIN, PLACEHOLDERS, Guard, detector_of, kept_key
from membrain.pii.policy import Policies
from membrain.places import Places, read_private, write_private
from membrain.providers import registry as make
from membrain.providers.claude_cli import ClaudeCLIProvider
from membrain.providers.litellm import installed
from membrain.providers.registry import Row
from membrain.records import ClientKey, Rate
from membrain.routing.router import AUTO, Router
from membrain.routing.world import TIER_MODELS, Preferences
from membrain.secrets import Secrets
from membrain.settings import Settings
from membrain.stages.cache import Keeping
from membrain.stores.base import Balance
from membrain.stores.open import open_ledger

log = logging.getLogger("membrain.gateway")


def limits_of(settings: Settings) -> Limits:
    """How long the way out waits, and how much it takes."""
    limits = settings.limits
    return Limits(
        connect=limits.connect_seconds,
        first_byte=limits.first_byte_seconds,
        whole=limits.whole_seconds,
        idle=limits.idle_seconds,
        answer_bytes=limits.answer_mb << 20,
        event_bytes=limits.event_mb << 20,
    )


def guard_of(settings: Settings, places: Places, keys: Mapping[str, str]) -> Callable[[], Guard]:
    """What makes all that masking goes by, from the settings, the user's lists and every secret that is known here.

    What can be wrong with those is raised at once; what is made takes a few tenths of a second.
    """
    pii = settings.pii
    detector = detector_of(places.lists_file, pii.engine, keys.values(), os.environ, pii.scan_seconds)
    policies = Policies(pii.level, pii.on_find, pii.rules)
    key = placeholder_key(settings, places)

    def made() -> Guard:
        return Guard(
            detector=detector(),
            policies=policies,
            key=key,
            answers=pii.answers,
            mask_local=pii.mask_local,
            url_tools=pii.url_tools,
            aside=Guard.aside if pii.engine == BUILTIN else 0,
            scan_seconds=pii.scan_seconds,
            hold_seconds=pii.hold_seconds,
        )

    return made


def placeholder_key(settings: Settings, places: Places) -> bytes:
    """The key of the placeholders: made once, kept in the keyring, or in a file that only this user can read."""
    file, own = places.placeholder_key_file, settings.keys
    if own is not None and not file.exists():
        try:
            return kept_key(lambda: own.own(PLACEHOLDERS), lambda text: own.keep_own(PLACEHOLDERS, text))
        except Misconfigured as error:
            log.info("the key of the placeholders is kept in a file: %s", error.message)
    return kept_key(
        lambda: read_private(file).decode("ascii", "replace") if file.exists() else None,
        lambda text: write_private(file, text.encode() + b"\n"),
    )


def keys_of(settings: Settings, secrets: Secrets | None) -> dict[str, str]:
    """Each provider's key, from the environment or the keyring, which may be slow."""
    found = {name: secrets.get(name) for name in settings.key_names} if secrets else {}
    return {name: secret.reveal() for name, secret in found.items() if secret is not None}


def providers_of(settings: Settings, egress: Egress, keys: Mapping[str, str]) -> Iterator[Row]:
    """Every provider that the settings and *keys* make possible, with the models that only it serves."""
    places = settings.providers
    if make.looks_real(keys.get("openai")):
        yield "openai", make.openai(egress, keys["openai"], places.openai.url), ()
    if make.looks_real(keys.get("anthropic")):
        yield "anthropic", make.anthropic(egress, keys["anthropic"], places.anthropic.url), ()
    for other in places.others:
        key = keys.get(other.name)
        provider = make.compatible(
            egress, other.name, other.url, key, other.models, local=other.local, speaks=other.speaks
        )
        yield other.name, provider, other.models
    if places.ollama.url:
        yield "ollama", make.ollama(egress, places.ollama.url), ()
    claude, proxy = places.claude_cli, settings.egress.proxy
    if claude.enabled and not make.looks_real(keys.get("anthropic")) and ClaudeCLIProvider.find(claude.path):
        yield "claude_cli", make.claude_cli(egress, claude.path, claude.model, proxy), ()
    if places.litellm.enabled and installed():
        yield "litellm", make.litellm(egress, proxy, settings.egress.ca_file), ()


def preferences_of(settings: Settings) -> Preferences:
    """What the settings say of routing."""
    tiers, routing = settings.tiers, settings.routing
    return Preferences(
        tier=settings.tier,
        tiers={tier: tuple(_meant(getattr(tiers, tier), settings.aliases)) for tier in TIER_MODELS},
        aliases=settings.aliases,
        prefer=routing.prefer,
        fallback=routing.fallback,
        breaker=routing.breaker,
        attempts=routing.attempts,
    )


def _meant(models: Iterable[str], aliases: Mapping[str, str]) -> Iterator[str]:
    """What each of *models* stands for; one that stands for `auto` would be the tier itself again."""
    return (model for each in models if (model := aliases.get(each, each)) not in AUTO)


def allowances_of(settings: Settings, written: Callable[[str], str] = str) -> Allowances:
    """Every budget and rate that the settings set; *written* gives a name as it may stand in the store."""
    budget, rate = settings.budget, settings.rate
    machine = dollars(budget.day, budget.month, budget.total)
    limits = allowances(machine, Rate(rate.requests, rate.tokens), budget.rules, rate.rules)
    return replace(limits, written=written)


def standing(places: Places, limits: Allowances, keys: Iterable[ClientKey], now: float) -> list[Balance]:
    """How every budget stands at *now*, in Unix seconds. Reads the ledger's file."""
    ledger = open_ledger(places.database)
    return ledger.balances(limits.standing(ledger.owners(), keys), now)


def made_by(settings: Settings) -> str:
    """The policy and the routing by which answers are made: under others, none that is kept is the same."""
    aliases = sorted(settings.aliases.items())
    return repr((settings.pii, settings.tier, settings.tiers, aliases, settings.routing, settings.providers))


def keeping_of(settings: Settings) -> Keeping:
    """What the cache keeps, by these settings."""
    cache = settings.cache
    return Keeping(cache.mode, cache.max_mb << 20, cache.answer_kb << 10, cache.keep_hours * 3600)


def own_prices(settings: Settings) -> dict[str, Price]:
    """The user's own prices."""
    own = settings.prices.items()
    return {model: Price(each.input, each.output, each.cached, each.written) for model, each in own}


def prices_of(settings: Settings) -> Prices:
    """All prices that there are."""
    return Prices(own_prices(settings))


def router_of(settings: Settings, prices: Prices) -> Router:
    """The router, by these settings and prices."""
    priced = tuple(dict.fromkeys((*MODEL_PRICING, *settings.prices)))
    return Router(preferences=preferences_of(settings), mean_price=prices.mean, priced=priced)
