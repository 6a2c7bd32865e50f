"""The gateway: built once, asked by both doors, closed once.

The only room under the doors that knows the settings; those below are handed plain values. It has questions of one
line each and no rules of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic, perf_counter, time
from typing import Any, Protocol

from membrain import __version__
from membrain.dialects.base import Chunk
from membrain.egress import Egress
from membrain.errors import MembrainError, NotFound, ShuttingDown, UnknownModel
from membrain.exchange import Exchange
from membrain.explain import Explainer, Question
from membrain.heads import Heads, seal_key
from membrain.holds import Change, Holds
from membrain.live import Live
from membrain.local.engine import Engine
from membrain.masking.guard import Guard
from membrain.masking.kept import Kept
from membrain.metrics import Metrics
from membrain.pipeline import Pipeline
from membrain.places import Places, read_private, write_private
from membrain.plan import (
    allowances_of,
    guard_of,
    keeping_of,
    keys_of,
    limits_of,
    made_by,
    own_prices,
    placeholder_key,
    preferences_of,
    prices_of,
    providers_of,
    router_of,
    standing,
)
from membrain.providers.base import BaseProvider
from membrain.providers.local import LocalProvider
from membrain.providers.registry import Registry, Row
from membrain.records import (
    Allowance,
    AuditRecord,
    BudgetAlert,
    Caller,
    Explanation,
    ModelRow,
    Outcome,
    ProviderState,
    Rate,
)
from membrain.routing.breaker import Breakers
from membrain.routing.latency import SAMPLES
from membrain.routing.router import AUTO
from membrain.routing.world import TIER_MODELS
from membrain.schemas import ModelCard
from membrain.secrets import Secrets
from membrain.sent import Sent
from membrain.settings import Settings
from membrain.stages.audit import Audit
from membrain.stages.auth import MACHINE, Auth
from membrain.stages.budget import Budget
from membrain.stages.cache import Cache
from membrain.stages.dispatch import Dispatch, may_ask
from membrain.stages.pii import Pii
from membrain.stages.rate_limit import RateLimit
from membrain.stored import Policy, Stored
from membrain.stores.base import AuditQuery, Balance, Crossing, Stores
from membrain.stores.open import open_stores
from membrain.telemetry import telemetry

log = logging.getLogger("membrain.gateway")

NEEDS_KEY = ("openai", "anthropic")
"""Providers that answer once they have a key."""


_KEPT = frozenset({"litellm"})
"""Providers that stay as they are when the settings are read anew: a process that takes seconds to start is behind."""

_WARM_AFTER = 2.0
"""Seconds after the start: not while somebody waits for the doors to open."""

_LOOK_SECONDS = 0.2
"""Between two looks whether running exchanges are over."""


class Running(Protocol):
    """An exchange that is on its way, as its door holds it."""

    def end(self, reason: MembrainError) -> None:
        """End it now, and tell the caller *reason*."""
        ...

    def held(self, change: Change) -> None:
        """It waits for a person, or does so no longer."""
        ...


def assemble(  # the rooms, in their order
    audit: Audit, auth: Auth, pii: Pii, rate_limit: RateLimit, budget: Budget, cache: Cache, dispatch: Dispatch
) -> Pipeline:
    """The order of the house. Read down for the way in, up for the way out."""
    return Pipeline([audit, auth, pii, rate_limit, budget, cache, dispatch])


class Gateway:
    """Everything that lives as long as the process does."""

    def __init__(self, settings: Settings, places: Places, reread: Callable[[], Settings] | None = None) -> None:
        """*reread* gives the settings as they are now, for `reload`; without it those stay that were given."""
        self._settings = settings
        self._reread = reread
        self._places = places
        self.since = datetime.now(UTC).isoformat(timespec="seconds")
        self._began = monotonic()
        self.instance = secrets.token_hex(8)
        self.proof_key = secrets.token_bytes(32)
        """Proves to our own commands that it is us; in the state file, which only this user can read."""
        self.running: dict[str, Running] = {}
        self.draining = False
        self.depth = settings.limits.depth
        key, durability = seal_key(settings.keys, places), settings.audit.durability
        self.stores: Stores = open_stores(
            places.database,
            durability=durability,
            instance=self.instance,
            key=key,
            heads=Heads(places, key, settings.keys, full=durability == "full"),
            keep_days=settings.audit.keep_days,
        )
        self.metrics = Metrics(lambda: self.live.running)
        self.telemetry = telemetry(settings.otel.endpoint, self.instance) if settings.otel.endpoint else None
        listeners = [self.metrics.finished, *([self.telemetry.finished] if self.telemetry else [])]
        self.live = Live(also=listeners)
        self.egress = Egress(limits_of(settings), proxy=settings.egress.proxy, ca_file=settings.egress.ca_file)
        self.registry = Registry()
        self.prices = prices_of(settings)
        self.router = router_of(settings, self.prices)
        self.breakers = Breakers()
        self.auth = Auth(self.stores.keys, places.read_or_make_pepper(), settings.effective_auth_mode)
        self.holds = Holds(self._held)
        self.sent = Sent()
        self.kept = Kept()
        self.stored = Stored(self.registry, self.kept, self._stored_policy)
        self._pii = Pii(self.holds, self.sent, self.kept)
        self._placeholder_key = placeholder_key(settings, places)
        self._allowances = allowances_of(settings, self._written)
        self._made_by = made_by(settings)
        self._audit = Audit(
            self.stores.audit, self.live, self._pii.clean, self.sent.find, keep=settings.audit.content == "masked"
        )
        rate_limit = RateLimit(self.stores.counters, self._rates_of)
        dispatch = Dispatch(self.router, self.registry, self.prices, self.breakers)
        self._budget = Budget(
            self.stores.ledger,
            self.prices,
            dispatch.route,
            self._budgets_of,
            alert=self._alert,
        )
        self.cache = Cache(
            self.stores.answers,
            hmac.digest(self._placeholder_key, b"cache", hashlib.sha256),
            lambda _project: self._made_by,  # the rules say which project each is for
            self._pii.is_private,
            keeping_of(settings),
        )
        self._pipeline = assemble(self._audit, self.auth, self._pii, rate_limit, self._budget, self.cache, dispatch)
        self._explainer = Explainer(self.router, self.registry, self.prices, self.breakers, self._pii)

    async def open(self) -> None:
        """Mend what a kill left behind, make this machine's key, and register the providers."""
        await self.stores.audit.interrupt(self.instance)
        await self.stores.ledger.recover(self.instance)
        await self.auth.load()
        await self._machine_key()
        keys = await asyncio.to_thread(keys_of, self._settings, self._settings.keys)
        guard = await asyncio.to_thread(guard_of, self._settings, self._places, keys)
        coming = asyncio.ensure_future(asyncio.to_thread(guard))  # tables and model, while the doors open
        coming.add_done_callback(_made_ready)
        self._pii.expect(coming)
        self.egress.later(self._warm())
        self._retiring(self.registry.become(self._rows(keys)))
        await self._recall()
        today = await self.stores.audit.totals(_midnight())
        self.live.seed(today=today.exchanges, cost_micros=today.cost_micros, masked=today.masked, cached=today.cached)

    async def _recall(self) -> None:
        """How fast each provider was when it was last asked: a restart is no reason to forget that."""
        for name in self.registry.providers:
            query = AuditQuery(limit=SAMPLES, provider=name, outcome=Outcome.ANSWERED)
            for record in reversed(await self.stores.audit.list(query)):
                if record.attempts:
                    self.router.record_latency(name, record.attempts[-1].ms)

    async def _warm(self) -> None:
        """Load the prices, and have every part of the detection work once: the first long text finds it ready."""
        await asyncio.sleep(_WARM_AFTER)
        await asyncio.to_thread(self.prices.load)
        guard = await self._pii.ready()
        await asyncio.to_thread(guard.detector.warm)

    async def _machine_key(self) -> None:
        """The key that this machine's own commands send: kept where only this user can read it."""
        path = self._places.machine_key_file
        try:
            key = read_private(path).decode("ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            key = ""
        if key and self.auth.knows(key):
            return
        for row in self.auth.all():
            if row.id.startswith(MACHINE):
                await self.auth.forget(row)
        key, _ = await self.auth.issue("this machine", machine=True)
        write_private(path, key.encode() + b"\n")

    async def reload(self) -> None:
        """Read anew who there is to ask, and with which keys. Running answers go on as they began.

        `Misconfigured` if the settings cannot work as they are now; then nothing changes.
        """
        if self._reread is not None:
            now = await asyncio.to_thread(self._reread)
            self._settings = replace(
                self._settings,
                secrets=now.secrets,
                providers=now.providers,
                keys=now.keys,
                pii=now.pii,
                budget=now.budget,
                rate=now.rate,
                cache=now.cache,
                audit=replace(self._settings.audit, content=now.audit.content),
                tier=now.tier,
                tiers=now.tiers,
                aliases=now.aliases,
                routing=now.routing,
                prices=now.prices,
            )
            self.router.become(preferences_of(self._settings))
            for name in self.registry.providers:
                self.breakers.forget(name)  # a new key or address may be what was missing
            self.prices.become(own_prices(self._settings))
            self._allowances = allowances_of(self._settings, self._written)
            self._made_by = made_by(self._settings)
            self.stores.ledger.recount()
            self.cache.become(keeping_of(self._settings))
            self._audit.keep = self._settings.audit.content == "masked"
        keys = await asyncio.to_thread(keys_of, self._settings, self._settings.keys)
        guard = await asyncio.to_thread(guard_of, self._settings, self._places, keys)
        self._pii.become(await asyncio.to_thread(guard))
        self._retiring(self.registry.become(self._rows(keys)))

    def _written(self, name: str) -> str:
        """*name*, which a caller may have chosen, as it may stand in the store: a digest of it if it is private."""
        if self._pii.clean(name) == name:
            return name
        return "~" + hmac.digest(self._placeholder_key, name.encode(), hashlib.sha256).hex()[:16]

    def _stored_policy(self) -> Policy:
        return Policy(self._settings.pii.answers, self._settings.pii.url_tools)

    def _rates_of(self, caller: Caller) -> Sequence[tuple[str, Rate]]:
        return self._allowances.rates_of(caller)

    def _budgets_of(self, caller: Caller) -> Sequence[tuple[str, Allowance]]:
        return self._allowances.budgets_of(caller)

    def _alert(self, crossing: Crossing) -> None:
        """Tell the log, and whoever watches, that a good part of a budget is spent."""
        alert = BudgetAlert(crossing.owner, crossing.period, crossing.percent, crossing.spent, crossing.limit)
        whose = alert.owner.partition(":")[0]  # names are the user's own
        log.warning("%s %% of the budget of a %s (%s) is spent", alert.percent, whose, alert.period)
        self.live.alerted(alert)

    def balances(self) -> list[Balance]:
        """How every budget stands. Reads the file, so it is for a thread."""
        return standing(self._places, self._allowances, self.auth.all(), time())

    def _rows(self, keys: Mapping[str, str]) -> list[Row]:
        """Everyone who can answer. Who has a process of their own keeps it."""
        before = self.registry.providers
        rows: list[Row] = [
            (name, before.get(name, provider) if name in _KEPT else provider, models)
            for name, provider, models in providers_of(self._settings, self.egress, keys)
        ]
        if self._settings.local.enabled:
            local = before.get("local") or self._local()
            rows.append(("local", local, (LocalProvider.MODEL,)))
        return rows

    def _retiring(self, gone: list[BaseProvider]) -> None:
        """Close *gone* once the exchanges that run now, and may use them, are over."""
        if gone:
            self.egress.later(self._retire(gone, set(self.running)))

    async def _retire(self, gone: list[BaseProvider], using: set[str]) -> None:
        while using & self.running.keys():  # noqa: ASYNC110  # an event would cost every request
            await asyncio.sleep(_LOOK_SECONDS)
        for provider in gone:
            await provider.close()

    def _local(self) -> LocalProvider:
        local = self._settings.local
        engine = Engine(
            self._places.models,
            threads=local.threads,
            context=local.context,
            slots=local.slots,
            idle_seconds=local.idle_seconds,
            spawn=self.egress.spawn,
        )
        return LocalProvider(engine, self.egress)

    def answer(self, exchange: Exchange) -> AsyncGenerator[Chunk, None]:
        """The answer to *exchange*, on its way out."""
        return self._pipeline.run(exchange)

    def identify(
        self,
        credential: str | None,
        same_user: bool | None,  # a fact, not a flag
        project: str = "",
        scopes: tuple[str, ...] = (),
    ) -> Caller:
        """Who asks, in which *project*; `Refused` if nobody we know, or not for one of *scopes*."""
        return self.auth.identify(credential, same_user, project, scopes)

    def alive(self, challenge: str | None = None) -> dict[str, Any]:
        """Is it up. With a *challenge* it proves that it is ours."""
        answer: dict[str, Any] = {
            "status": "draining" if self.draining else "ok",
            "instance": self.instance,
            "version": __version__,
            "up_seconds": round(monotonic() - self._began, 3),
        }
        if challenge is not None:
            answer["proof"] = hmac.digest(self.proof_key, challenge.encode(), hashlib.sha256).hex()
        return answer

    async def health(self) -> dict[str, Any]:
        """What it knows of itself and its providers."""
        settings = self._settings
        return {
            "pid": os.getpid(),
            "since": self.since,
            "url": f"http://{settings.host}:{settings.port}",
            "auth": settings.effective_auth_mode,
            "tier": settings.tier,
            "masking": "off" if settings.pii.on_find in {"pass", "log", "alert"} else settings.pii.level,
            "running": len(self.running),
            "store": self.stores.audit.fault,
            "budget_day_micros": self._allowances.budget.day,
            "providers": [state.to_dict() for state in await self.states()],
        }

    async def states(self) -> list[ProviderState]:
        """Every provider, those that are not set up too, with what would set them up."""
        states = await self.registry.states()
        known = {state.name for state in states}
        missing = [name for name in NEEDS_KEY if name not in known]
        return states + [
            ProviderState(name, up=False, where="", note="no key", remedy=f"membrain keys set {name}")
            for name in missing
        ]

    async def models(self, caller: Caller) -> list[ModelCard]:
        """What *caller* may ask for by name, now."""
        models = caller.rights.models
        return [card for card in await self._cards() if not models or card.id in AUTO or may_ask(card.id, models)]

    async def _cards(self) -> list[ModelCard]:
        """What there is by name, now."""
        await self.registry.refresh()
        asked = dict(self.registry.providers)
        told = await asyncio.gather(*(provider.models() for provider in asked.values()), return_exceptions=True)
        cards = [ModelCard(id="auto", owned_by="membrain")]
        for name, ids in zip(asked, told, strict=True):
            if not isinstance(ids, BaseException):  # a provider that is away has no models to show
                cards += [ModelCard(id=id, owned_by=name) for id in ids]
        return cards

    async def model(self, id: str, caller: Caller) -> ModelCard:
        """The model *id*; `UnknownModel` if nobody has it whom *caller* may ask."""
        for card in await self.models(caller):
            if card.id == id:
                return card
        raise UnknownModel(f"Nobody here has the model {id!r}.", param="id", hint="See what there is: GET /v1/models")

    async def audit_one(self, id: str, caller: Caller) -> AuditRecord:
        """One exchange of the audit, if *caller* may see it."""
        record = await self.stores.audit.get(id)
        if not caller.admin and record.project != caller.project:
            raise NotFound(f"There is no exchange {id}.")
        return record

    async def explain(self, data: Mapping[str, Any], caller: Caller) -> Explanation:
        """What would become of a request; of one that is on record, if *data* names it as `replay`."""
        replay = data.get("replay")
        if isinstance(replay, str):
            question = Question.again(await self.audit_one(replay, caller))
        else:
            question = Question.read(data)
        told = await self._explainer.explain(question, caller)
        return replace(told, budget_micros=await self._left(caller))

    async def _left(self, caller: Caller) -> int | None:
        """Micro-dollars that *caller* may still spend now; None if nothing limits that."""
        if not (limits := dict(self._budgets_of(caller))):
            return None
        balances = await self.stores.ledger.balances(limits, time())
        return max(0, min(each.limit - each.spent - each.reserved for each in balances))

    async def model_rows(self, caller: Caller) -> list[ModelRow]:
        """Every model that somebody here has and *caller* may ask, with its price."""
        await asyncio.to_thread(self.prices.load)
        rows = []
        for card in await self.models(caller):
            offer = self.registry.offers.get(card.owned_by)
            if offer is not None:
                local = card.id in offer.here
                context = self._settings.local.context if card.owned_by == "local" else None
                rows.append(self._explainer.row(card.id, card.owned_by, local=local, context=context))
        return rows

    def tiers(self) -> dict[str, Any]:
        """What `auto` chooses among, and the names of the user's own."""
        preferences = self.router.preferences
        models = {tier: list(preferences.models_of(tier)) for tier in TIER_MODELS}
        aliases = dict(preferences.aliases)
        return {**models, "default": preferences.tier, "aliases": aliases, "prefer": list(preferences.prefer)}

    async def test_provider(self, name: str) -> dict[str, Any]:
        """Whether *name* answers, and its key works."""
        provider = self.registry.providers.get(name)
        if provider is None:
            raise NotFound(f"{name} is not set up.", hint=f"membrain keys set {name}")
        return await _tested(name, provider)

    def _held(self, change: Change) -> None:
        """Tell the door of the exchange, so that it keeps its caller alive, and whoever watches."""
        if (running := self.running.get(change.id)) is not None:
            running.held(change)
        self.live.held(change)

    async def drain(self) -> None:
        """Take no new work, give what runs its time, then end the rest with a proper goodbye."""
        self.draining = True
        self.holds.close()  # a person may take longer than a drain
        limit = monotonic() + self._settings.limits.drain_seconds
        while self.running and monotonic() < limit:  # noqa: ASYNC110  # an event would cost every request
            await asyncio.sleep(0.02)  # a drain is rare and short, an event costs every request
        for running in list(self.running.values()):
            running.end(ShuttingDown("The gateway is shutting down."))
        while self.running and monotonic() < limit + 2:  # noqa: ASYNC110  # likewise
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Let go of everything, the record last."""
        self.live.close()
        self.holds.close()
        await self.registry.close()
        await self.egress.close()
        await self.cache.close()
        if self.telemetry is not None:
            await asyncio.to_thread(self.telemetry.close)
        await self.stores.close()


def _made_ready(guard: asyncio.Future[Guard]) -> None:
    if not guard.cancelled() and (error := guard.exception()) is not None:
        log.error("masking cannot be made ready (%s), so every request is refused", type(error).__name__)


async def tested(name: str, settings: Settings, secrets: Secrets | None) -> dict[str, Any]:
    """As `Gateway.test_provider`, without a gateway."""
    egress = Egress(limits_of(settings), proxy=settings.egress.proxy, ca_file=settings.egress.ca_file)
    try:
        keys = await asyncio.to_thread(keys_of, settings, secrets)
        for each, provider, _ in providers_of(settings, egress, keys):
            if each == name:
                return await _tested(name, provider)
    finally:
        await egress.close()
    raise NotFound(f"{name} is not set up.", hint=f"membrain keys set {name}")


async def _tested(name: str, provider: BaseProvider) -> dict[str, Any]:
    """What a ping of *provider* came to."""
    began = perf_counter()
    error: MembrainError | None = None
    try:
        await provider.ping()
    except MembrainError as raised:
        error = raised
    return {
        "name": name,
        "ok": error is None,
        "ms": round((perf_counter() - began) * 1000, 1),
        "error": error.code if error else None,
        "message": error.message if error else None,
    }


def _midnight() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
