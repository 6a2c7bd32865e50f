"""What would become of a request: the very decision that dispatch would take, told with all that it rests on.

Nothing is sent and nothing is written down. What a text would be masked for is told in labels and counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from membrain.cost.prices import Price, Prices
from membrain.dialects.table import NO_TEXT
from membrain.errors import BadRequest, MembrainError, PiiBlocked
from membrain.providers.base import BYTES_PER_TOKEN, said_of
from membrain.providers.registry import Registry
from membrain.records import AuditRecord, Caller, Considered, Decision, Explanation, Hints, ModelRow, Tokens
from membrain.routing.breaker import Breakers
from membrain.routing.router import Router, consider, refusal
from membrain.routing.world import World
from membrain.stages.auth import bound
from membrain.stages.dispatch import allowed
from membrain.stages.pii import POLICY, Pii, Preview

COMPLETION = 500
"""Tokens of the answer that an estimate of its cost assumes, where the request gives no limit."""

_FREE = Price(0.0, 0.0, source="on this machine")


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be explained."""

    model: str
    hints: Hints
    body: Mapping[str, Any] | None = None
    """The chat request, if there is more than a model's name."""
    replay: AuditRecord | None = None

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Question:
        """Of a JSON object: a chat request, or `model` and `prompt`; beside them `tier`, `private`, `max_cost`."""
        model = _field(data, "model", str) or "auto"
        cost = data.get("max_cost")
        if cost is not None and (isinstance(cost, bool) or not isinstance(cost, int | float) or not cost >= 0):
            raise BadRequest("`max_cost` must be US dollars for 1K tokens, like 0.01.", param="max_cost")
        hints = Hints(_field(data, "tier", str), _field(data, "private", bool) or False, cost)
        prompt, messages = _field(data, "prompt", str), _field(data, "messages", list)
        if prompt is not None:
            messages = [{"role": "user", "content": prompt}]
        kept = {name: value for name, value in data.items() if name not in _OURS}
        return cls(model, hints, {**kept, "model": model, "messages": messages} if messages else None)

    @classmethod
    def again(cls, record: AuditRecord) -> Question:
        """An exchange of the past, under today's rules."""
        limit = record.decision.max_cost if record.decision else None
        serves = record.dialect if record.dialect in NO_TEXT else None
        return cls(record.model, Hints(record.tier, record.private, limit, serves), replay=record)


_OURS = ("prompt", "tier", "private", "max_cost", "replay")


def _field(data: Mapping[str, Any], name: str, kind: type) -> Any:
    value = data.get(name)
    if value is not None and not isinstance(value, kind):
        raise BadRequest(f"`{name}` must be a {_KINDS[kind]}.", param=name)
    return value


_KINDS = {str: "string", bool: "boolean", list: "list"}


class Explainer:
    """Asks the same rooms that a request goes through, without sending it."""

    def __init__(self, router: Router, registry: Registry, prices: Prices, breakers: Breakers, pii: Pii) -> None:
        self._router, self._registry, self._prices = router, registry, prices
        self._breakers, self._pii = breakers, pii

    async def explain(self, question: Question, caller: Caller) -> Explanation:
        """What would become of *question*, asked by *caller*."""
        seen = await self._seen(question, caller.project)
        hints = bound(question.hints, caller.rights)
        hints = replace(hints, private=True) if seen.private else hints
        await self._registry.refresh(private=hints.private)
        prompt, completion = _tokens(question)
        resting = self._breakers.resting(monotonic())
        world = self._router.world(self._registry.offers, resting)
        told = Explanation(
            asked=question.model,
            model=self._router.meant(question.model),
            tier=None,
            private=hints.private,
            max_cost=hints.max_cost,
            masked=dict(seen.masked),
            blocked=seen.blocked,
            confirmed=seen.confirmed,
            prompt_tokens=prompt,
            completion_tokens=completion,
        )
        if question.replay is not None:
            then = question.replay
            told = replace(told, replay=then.id, answered_model=then.answered_model, answered_provider=then.provider)
        return self._decided(told, hints, world, caller.rights.models)

    def _decided(self, told: Explanation, hints: Hints, world: World, models: tuple[str, ...]) -> Explanation:
        """With every candidate, and why nobody may answer if it is so; *models* are all that the key may ask."""
        try:
            decision = allowed(consider(told.asked, hints, world), models)
        except MembrainError as error:
            return replace(told, error=error.code, message=error.message, hint=error.hint)
        found = tuple(self._considered(decision, told, world))
        told = replace(told, tier=decision.tier, candidates=found)
        if told.blocked:
            message = f"This request holds {', '.join(told.blocked)}, and your policy blocks it."
            return replace(told, error=PiiBlocked.code, message=message, hint=POLICY)
        if decision.chain:
            return told
        why = refusal(decision, world.resting)
        return replace(told, error=why.code, message=why.message, hint=why.hint)

    def _considered(self, decision: Decision, told: Explanation, world: World) -> Sequence[Considered]:
        rows = []
        for each in decision.candidates:
            price = _FREE if each.local else self._prices.of(each.model, each.provider)
            tokens = Tokens(told.prompt_tokens, told.completion_tokens)
            cost = 0 if each.local else self._prices.cost(each.model, each.provider, tokens)
            stats = self._router.get_latency_stats(each.provider)
            rows.append(
                Considered(
                    **each.to_dict(),
                    **_priced(price),
                    cost_micros=cost if told.prompt_tokens else None,
                    p50_ms=stats.get("p50"),
                    p99_ms=stats.get("p99"),
                    samples=int(stats["count"]),
                    resting_seconds=world.resting.get(each.provider),
                )
            )
        return rows

    async def _seen(self, question: Question, project: str) -> Preview:
        if question.body is None:
            return Preview()
        return await self._pii.preview(said_of(dict(question.body)), project)

    def row(self, id: str, provider: str, *, local: bool, context: int | None = None) -> ModelRow:
        """A model as `membrain models` shows it; *context* if its size is known from elsewhere."""
        price = _FREE if local else self._prices.of(id, provider)
        size = context or (price.context if price else None)
        return ModelRow(id, provider, local, **_priced(price), context=size)


def _priced(price: Price | None) -> dict[str, Any]:
    if price is None:
        return {}
    return {
        "input_price": price.input,
        "output_price": price.output,
        "price_source": price.source,
        "price_date": price.date,
    }


def _tokens(question: Question) -> tuple[int, int]:
    """Of the prompt and of its answer, as the exchange of the past had them or by our own estimate."""
    if question.replay is not None:
        return question.replay.prompt_tokens or 0, question.replay.completion_tokens or 0
    if question.body is None:
        return 0, 0
    limit = question.body.get("max_completion_tokens") or question.body.get("max_tokens")
    size = sum(len(text.encode()) for text in _texts(question.body["messages"]))
    return -(-size // BYTES_PER_TOKEN), limit if isinstance(limit, int) and limit > 0 else COMPLETION


def _texts(data: Any) -> Iterator[str]:
    """Every string in *data* that is no name of a field."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from _texts(value)
    elif isinstance(data, Sequence):
        for value in data:
            yield from _texts(value)
