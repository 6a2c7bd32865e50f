"""The walk through the rooms: in, through, out, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from membrain.dialects.base import Chunk, Said
from membrain.errors import BudgetExceeded, Forbidden, ProviderFailed
from membrain.exchange import Exchange, Stage
from membrain.pipeline import Pipeline
from membrain.records import Hints, Outcome

pytestmark = pytest.mark.anyio


def an_exchange() -> Exchange:
    """An exchange as a door makes it."""
    said = Said("chat", b"{}", {}, "gpt-4o", stream=True)
    return Exchange(id="e1", time="2026-01-01T00:00:00Z", path="/v1/chat/completions", said=said, hints=Hints())


class Room(Stage):
    """Writes down what it is asked to do."""

    def __init__(self, name: str, diary: list[str]) -> None:
        self.name = name  # type: ignore[misc]  # rooms of a test are told apart by instance
        self.diary = diary

    async def enter(self, exchange: Exchange) -> None:
        self.diary.append(f"enter {self.name}")

    def outgoing(self, exchange: Exchange, chunk: Chunk) -> Chunk:
        return Chunk(chunk.raw + self.name.encode())

    async def leave(self, exchange: Exchange) -> None:
        await asyncio.sleep(0)
        self.diary.append(f"leave {self.name}")


class Answers(Room):
    """The last room: answers with *pieces*, then perhaps hangs or breaks."""

    def __init__(self, diary: list[str], *, pieces: int = 2, then: BaseException | str | None = None) -> None:
        super().__init__("z", diary)
        self.pieces = pieces
        self.then = then

    async def enter(self, exchange: Exchange) -> None:
        await super().enter(exchange)
        exchange.answer = self.answer()

    async def answer(self) -> AsyncGenerator[Chunk, None]:
        try:
            for number in range(self.pieces):
                yield Chunk(b"%d" % number)
            if self.then == "hang":
                await asyncio.sleep(60)
            elif isinstance(self.then, BaseException):
                raise self.then
        finally:
            await asyncio.sleep(0)
            self.diary.append("upstream closed")


async def collected(pipeline: Pipeline, exchange: Exchange) -> list[bytes]:
    async with aclosing(pipeline.run(exchange)) as answer:
        return [chunk.raw async for chunk in answer]


async def test_rooms_are_entered_in_order_and_left_last_first() -> None:
    diary: list[str] = []
    exchange = an_exchange()
    got = await collected(Pipeline([Room("a", diary), Room("b", diary), Answers(diary)]), exchange)
    assert got == [b"0zba", b"1zba"]
    assert diary == ["enter a", "enter b", "enter z", "upstream closed", "leave z", "leave b", "leave a"]
    assert exchange.outcome is Outcome.ANSWERED
    assert [room for room, _ in exchange.steps] == ["a", "b", "z"]
    assert exchange.first is not None


async def test_a_refusal_leaves_only_the_rooms_that_were_entered() -> None:
    diary: list[str] = []

    class Refuses(Room):
        async def enter(self, exchange: Exchange) -> None:
            await super().enter(exchange)
            raise Forbidden("no")

    exchange = an_exchange()
    with pytest.raises(Forbidden):
        await collected(Pipeline([Room("a", diary), Refuses("b", diary), Answers(diary)]), exchange)
    assert diary == ["enter a", "enter b", "leave b", "leave a"]
    assert exchange.outcome is Outcome.REFUSED
    assert exchange.error is not None
    assert exchange.error.code == "forbidden"


async def test_an_answer_that_breaks_is_failed_and_every_room_is_left() -> None:
    diary: list[str] = []
    exchange = an_exchange()
    broken = Answers(diary, then=ProviderFailed("broke", provider="p"))
    with pytest.raises(ProviderFailed):
        await collected(Pipeline([Room("a", diary), broken]), exchange)
    assert diary[-3:] == ["upstream closed", "leave z", "leave a"]
    assert exchange.outcome is Outcome.FAILED


async def test_a_fault_of_ours_is_recorded_without_its_text() -> None:
    diary: list[str] = []
    exchange = an_exchange()
    with pytest.raises(ZeroDivisionError):
        await collected(Pipeline([Answers(diary, then=ZeroDivisionError("canary"))]), exchange)
    assert exchange.outcome is Outcome.FAILED
    assert exchange.error is not None
    assert "canary" not in exchange.error.message


async def test_an_answer_that_a_room_ends_is_closed_there_and_ends_as_it_wrote() -> None:
    diary: list[str] = []
    reason = BudgetExceeded("enough")

    class Cuts(Room):
        def outgoing(self, exchange: Exchange, chunk: Chunk) -> Chunk:
            if chunk.raw == b"1z":
                exchange.cut = reason
                return Chunk(chunk.raw + b" and the end")
            return chunk

        async def closing(self, exchange: Exchange) -> Chunk | None:
            return Chunk(b"what was held back")

    exchange = an_exchange()
    got = await collected(Pipeline([Room("a", diary), Cuts("b", diary), Answers(diary, pieces=9)]), exchange)
    assert got == [b"0za", b"1z and the enda", b"what was held backa"]
    assert diary[-4:] == ["upstream closed", "leave z", "leave b", "leave a"]
    assert (exchange.outcome, exchange.error) == (Outcome.FAILED, reason)


@pytest.mark.parametrize("pieces", [0, 2])
async def test_a_hang_up_closes_the_upstream_and_leaves_every_room(pieces: int) -> None:
    """Before the first chunk and in mid-stream alike."""
    diary: list[str] = []
    exchange = an_exchange()
    pipeline = Pipeline([Room("a", diary), Answers(diary, pieces=pieces, then="hang")])
    task = asyncio.ensure_future(collected(pipeline, exchange))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert diary[-3:] == ["upstream closed", "leave z", "leave a"]
    assert exchange.outcome is Outcome.ABORTED


async def test_a_second_cancellation_does_not_stop_the_leaving() -> None:
    """The record outlives a caller that goes away while it is being written."""
    diary: list[str] = []

    class Slow(Room):
        async def leave(self, exchange: Exchange) -> None:
            await asyncio.sleep(0.05)
            await super().leave(exchange)

    task = asyncio.ensure_future(collected(Pipeline([Slow("a", diary), Answers(diary)]), an_exchange()))
    await asyncio.sleep(0.02)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.005)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert diary[-1] == "leave a"


async def test_closing_the_answer_early_counts_as_a_hang_up() -> None:
    diary: list[str] = []
    exchange = an_exchange()
    answer = Pipeline([Room("a", diary), Answers(diary)]).run(exchange)
    assert (await anext(answer)).raw == b"0za"
    await answer.aclose()
    assert diary[-3:] == ["upstream closed", "leave z", "leave a"]
    assert exchange.outcome is Outcome.ABORTED


async def test_a_room_that_cannot_be_left_costs_the_others_nothing() -> None:
    """And the caller does not get a clean end, because something is not on record."""
    diary: list[str] = []

    class Stuck(Room):
        async def leave(self, exchange: Exchange) -> None:
            raise ProviderFailed("stuck")

    with pytest.raises(ProviderFailed):
        await collected(Pipeline([Room("a", diary), Stuck("b", diary), Answers(diary)]), an_exchange())
    assert diary[-2:] == ["leave z", "leave a"]
