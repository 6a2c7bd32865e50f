"""Audit: the first room in and the last one out.

In: the intent is handed to the writer at once; whoever sends anything out awaits `exchange.written` first.
Out: the outcome is committed before the answer's end goes to the caller, and the watchers are told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import ClassVar

from membrain.exchange import Exchange, Stage
from membrain.live import Live
from membrain.records import AuditRecord, Outcome, Step
from membrain.stores.base import AuditLog


def _unknown(id: str) -> bytes | None:  # noqa: ARG001  # nothing is known of any
    return None


class Audit(Stage):
    """Writes what happened; never what was said."""

    name: ClassVar[str] = "audit"

    def __init__(
        self,
        log: AuditLog,
        live: Live,
        clean: Callable[[str], str] = str,
        sent: Callable[[str], bytes | None] = _unknown,
        *,
        keep: bool = False,
    ) -> None:
        """*clean* gives a name that a caller chose as it may be put on record.

        *sent* gives what was handed to the provider in an exchange, by its id; None if nothing was. Told to *keep* it,
        the log keeps it for some days, but never what a model on this machine was asked with nothing masked.
        """
        self._log = log
        self._live = live
        self._clean = clean
        self._sent = sent
        self.keep = keep

    async def enter(self, exchange: Exchange) -> None:
        self._live.began()
        exchange.written = self._log.intend(intent_of(exchange, self._clean))

    async def leave(self, exchange: Exchange) -> None:
        record = outcome_of(exchange, self._clean)
        try:
            sent = None if exchange.stayed else self._sent(exchange.id)
            await self._log.conclude(record, sent=sent, keep=self.keep)
        finally:
            _heard(exchange.written)
            self._live.ended()
            self._live.finished(record)


def _heard(written: asyncio.Future[None] | None) -> None:
    """Nobody may have waited for the intent; if it failed, the outcome failed too, and that was told."""
    if written is not None and written.done() and not written.cancelled():
        written.exception()


def intent_of(exchange: Exchange, clean: Callable[[str], str] = str) -> AuditRecord:
    """What is known before anything was done."""
    said, hints = exchange.said, exchange.hints
    return AuditRecord(
        id=exchange.id,
        time=exchange.time,
        dialect=said.dialect,
        path=exchange.path,
        model=clean(said.model),
        stream=said.stream,
        private=hints.private,
        tier=clean(hints.tier) if hints.tier else None,
        user=clean(exchange.user),
    )


def outcome_of(exchange: Exchange, clean: Callable[[str], str] = str) -> AuditRecord:
    """What is known when it is over."""
    said, hints, caller, tokens = exchange.said, exchange.hints, exchange.caller, exchange.tokens
    return AuditRecord(
        id=exchange.id,
        time=exchange.time,
        dialect=said.dialect,
        path=exchange.path,
        model=clean(said.model),
        stream=said.stream,
        private=hints.private,
        tier=(exchange.decision.tier if exchange.decision else None) or (clean(hints.tier) if hints.tier else None),
        caller=caller.name,
        key_id=caller.key_id,
        project=caller.project if caller.key_id else clean(caller.project),
        user=clean(exchange.user),
        answered_model=exchange.answered_model,
        provider=exchange.provider,
        local=exchange.local,
        outcome=exchange.outcome,
        status=_status(exchange),
        error=exchange.error.code if exchange.error else None,
        ms=round((perf_counter() - exchange.began) * 1000, 3),
        first_ms=round(exchange.first * 1000, 3) if exchange.first is not None else None,
        prompt_tokens=tokens.prompt if tokens else None,
        completion_tokens=tokens.completion if tokens else None,
        cached_tokens=tokens.cached if tokens else None,
        written_tokens=tokens.written if tokens else None,
        reasoning_tokens=tokens.reasoning if tokens else None,
        estimated=tokens.estimated if tokens else False,
        cost_micros=exchange.cost_micros,
        cached=exchange.cached,
        saved_micros=exchange.saved_micros,
        reserved_micros=exchange.reserved,
        pii_findings_count=sum(exchange.found.values()),
        pii_labels=tuple(sorted(exchange.found)),
        findings=exchange.findings,
        answer_labels=exchange.answer_labels,
        attempts=exchange.attempts,
        steps=tuple(Step(room, round(ms, 3)) for room, ms in exchange.steps),
        decision=exchange.decision,
    )


def _status(exchange: Exchange) -> int | None:
    """The HTTP status that the caller was told; None if the caller left before there was one."""
    if exchange.error is not None and exchange.first is None:
        return exchange.error.status
    return None if exchange.outcome is Outcome.ABORTED and exchange.first is None else 200
