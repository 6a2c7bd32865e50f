"""The order of the house, and the walk through it.

An answer is always a stream of chunks; a whole answer is a stream of one. When the last chunk has passed, every room
that was entered is left, last first, and only then does `run` end: what ended is on record.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Sequence
from time import perf_counter
from typing import Any

from membrain.dialects.base import Chunk
from membrain.exchange import Exchange, Stage
from membrain.records import Outcome

log = logging.getLogger("membrain.pipeline")


class Pipeline:
    """Carries exchanges through the rooms, in order."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = tuple(stages)
        self._watching = frozenset(stage for stage in stages if type(stage).outgoing is not Stage.outgoing)
        self._closing = frozenset(stage for stage in stages if type(stage).closing is not Stage.closing)

    async def run(self, exchange: Exchange) -> AsyncGenerator[Chunk, None]:
        """Carry *exchange* in and yield its answer on the way out.

        Raises what a room raised. Cancelling, or closing the generator, closes the answer (and with it the
        upstream) and still leaves every room.
        """
        passed: list[Stage] = []
        try:
            answer = await self._enter(exchange, passed)
            outward = [stage for stage in reversed(passed) if stage in self._watching or stage in self._closing]
            outgoing = [stage.outgoing for stage in outward]
            try:
                async for chunk in answer:
                    if exchange.first is None:
                        exchange.first = perf_counter() - exchange.began
                    for through in outgoing:
                        chunk = through(exchange, chunk)  # noqa: PLW2901  # a chunk changes hands here
                    if chunk.raw:
                        yield chunk
                    if exchange.cut is not None:  # a room has written the answer's end itself
                        await _shielded(answer.aclose())
                        break
                async for chunk in self._rests(exchange, outward):
                    yield chunk
            except BaseException:
                await _shielded(answer.aclose())  # an answer that came to its end has closed itself
                raise
            if exchange.cut is not None:
                exchange.end(exchange.cut)
            exchange.outcome = Outcome.ANSWERED if exchange.outcome is Outcome.OPEN else exchange.outcome
        except BaseException as error:
            exchange.fail(error)
            raise
        finally:
            await _shielded(self._leave(exchange, passed))

    async def _enter(self, exchange: Exchange, passed: list[Stage]) -> AsyncGenerator[Chunk, None]:
        """Walk in until a room answers."""
        began = perf_counter()
        for stage in self.stages:
            passed.append(stage)
            try:
                await stage.enter(exchange)
            finally:
                now = perf_counter()
                exchange.steps.append((stage.name, (now - began) * 1000))
                began = now
            if exchange.answer is not None:
                return exchange.answer
        raise AssertionError("the last room always answers or raises")

    async def _rests(self, exchange: Exchange, outward: Sequence[Stage]) -> AsyncGenerator[Chunk, None]:
        """What rooms have held back, each passed on through those that stand before it."""
        for place, stage in enumerate(outward):
            rest = await stage.closing(exchange) if stage in self._closing else None
            if rest is not None:
                for outer in outward[place + 1 :]:
                    rest = outer.outgoing(exchange, rest)
                if rest.raw:
                    yield rest

    async def _leave(self, exchange: Exchange, passed: list[Stage]) -> None:
        """Walk out. A room that fails to close must not cost the others, least of all the record."""
        failed: BaseException | None = None
        for stage in reversed(passed):
            try:
                await stage.leave(exchange)
            except Exception as error:  # noqa: BLE001  # told below, after every room was left
                failed = failed or error
                log.error("%s could not be left: %s", stage.name, type(error).__name__)
        if failed is not None and exchange.outcome is Outcome.ANSWERED:
            raise failed


async def _shielded(work: Coroutine[Any, Any, None]) -> None:
    """Finish *work* even if we are cancelled while it runs, then let the cancellation go on."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                continue
        raise
