"""What waits for a person: it ends exactly once, leaks nothing, and never goes on without a yes."""

from __future__ import annotations

import asyncio
import gc
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from membrain.errors import BadRequest, ShuttingDown
from membrain.holds import (
    LEAST_PREFIX,
    MOST_AROUND,
    MOST_HELD,
    MOST_REMEMBERED,
    Change,
    Context,
    Held,
    Hold,
    HoldAmbiguous,
    HoldDecided,
    HoldNotFound,
    Holds,
    Settled,
    TooManyHolds,
    Verdict,
    patience,
    refusal,
)

pytestmark = pytest.mark.anyio

LONG = 60.0
"""Seconds that no test waits."""

CONTEXT = Context("messages[0].content", "EMAIL", "write to ", ", please", "rg")


def a_hold(id: str = "a91f04", **fields: Any) -> Hold:
    given: dict[str, Any] = {"labels": {"EMAIL": 2, "CARD": 1}, "contexts": (CONTEXT,)} | fields
    return Hold(id, "aider", given.pop("project", "red"), model="gpt-4o", places=("messages[0].content",), **given)


@asynccontextmanager
async def waiting(holds: Holds, *parked: Hold, seconds: float = LONG) -> AsyncIterator[list[asyncio.Task[Verdict]]]:
    """Each of *parked* in a task of its own, as its exchange would be."""
    tasks = [asyncio.create_task(holds.wait(hold, seconds)) for hold in parked]
    await asyncio.sleep(0)
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# Deciding


@pytest.mark.parametrize(("approve", "verdict"), [(True, Verdict.APPROVED), (False, Verdict.DENIED)])
async def test_a_request_waits_until_somebody_decides(approve: bool, verdict: Verdict) -> None:
    holds, hold = Holds(), a_hold()
    async with waiting(holds, hold) as [parked]:
        await asyncio.sleep(0.01)
        assert not parked.done()
        assert holds.all() == [hold]
        assert holds.decide(hold.id, approve=approve) == Settled(hold.id, verdict)
        assert holds.all() == []
        assert await parked is verdict


async def test_who_is_not_answered_in_time_is_refused() -> None:
    holds = Holds()
    assert await holds.wait(a_hold(), 0.01) is Verdict.DENIED_LATE
    assert holds.all() == []
    with pytest.raises(HoldDecided, match="denied late"):
        holds.decide("a91f04", approve=True)


async def test_a_decision_is_made_once() -> None:
    holds = Holds()
    async with waiting(holds, a_hold()) as [parked]:
        holds.decide("a91f04", approve=False)
        for approve in (True, False):
            with pytest.raises(HoldDecided):
                holds.decide("a91f04", approve=approve)
        assert await parked is Verdict.DENIED


async def test_only_the_hold_that_was_meant_goes_on() -> None:
    holds = Holds()
    async with waiting(holds, a_hold("aaaa1"), a_hold("bbbb1")) as [first, second]:
        holds.decide("bbbb", approve=True)
        assert await second is Verdict.APPROVED
        await asyncio.sleep(0.01)
        assert not first.done()


async def test_a_caller_who_hangs_up_leaves_nothing() -> None:
    seen: list[Change] = []
    holds, hold = Holds(seen.append), a_hold()
    async with waiting(holds, hold) as [parked]:
        parked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await parked
        assert holds.all() == []
        assert hold.contexts == ()
        assert seen[-1] == Settled(hold.id, Verdict.LEFT)
        with pytest.raises(HoldDecided, match="left"):
            holds.decide(hold.id, approve=True)


async def test_no_timer_and_no_task_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    holds = Holds()
    loop = asyncio.get_running_loop()
    before = len(asyncio.all_tasks())
    async with waiting(holds, *(a_hold(f"{number:06}") for number in range(MOST_HELD))) as parked:
        for number, task in enumerate(parked):
            if number % 2:
                holds.decide(f"{number:06}", approve=True)
            else:
                task.cancel()
        await asyncio.gather(*parked, return_exceptions=True)
        scheduled: list[asyncio.TimerHandle] = loop._scheduled  # type: ignore[attr-defined]  # asyncio's own heap
        assert all(timer.cancelled() for timer in scheduled)
    assert len(asyncio.all_tasks()) == before
    assert holds._waiting == {}
    gc.collect()
    assert not caplog.records


async def test_an_exchange_may_be_held_again_once_it_went_on() -> None:
    holds = Holds()
    async with waiting(holds, a_hold()):
        holds.decide("a91f04", approve=True)
    async with waiting(holds, a_hold()) as [parked]:
        holds.decide("a91f04", approve=False)
        assert await parked is Verdict.DENIED


async def test_an_exchange_is_not_held_twice_at_once() -> None:
    holds = Holds()
    async with waiting(holds, a_hold()) as [first]:
        with pytest.raises(ValueError, match="once at a time"):
            await holds.wait(a_hold(), LONG)
        assert not first.done()
        assert len(holds.all()) == 1


# Bounds


async def test_there_is_room_for_so_many_and_no_more() -> None:
    holds = Holds()
    async with waiting(holds, *(a_hold(f"{number:06}") for number in range(MOST_HELD))):
        with pytest.raises(TooManyHolds) as refused:
            await holds.wait(a_hold("one more"), LONG)
        assert (refused.value.status, refused.value.retry) == (503, False)
        assert len(holds.all()) == MOST_HELD
        holds.decide("000000", approve=False)
        assert await holds.wait(a_hold("one more"), 0.01) is Verdict.DENIED_LATE


async def test_what_is_over_is_remembered_by_its_id_and_not_for_ever() -> None:
    holds = Holds()
    for number in range(MOST_REMEMBERED + 1):
        async with waiting(holds, a_hold(f"{number:06}")):
            holds.decide(f"{number:06}", approve=True)
    with pytest.raises(HoldNotFound):
        holds.get("000000")
    with pytest.raises(HoldDecided):
        holds.get("000001")
    assert "EMAIL" not in repr(holds._over)


async def test_a_gateway_that_closes_refuses_what_waits_and_what_would() -> None:
    seen: list[Change] = []
    holds = Holds(seen.append)
    async with waiting(holds, a_hold("aaaa1"), a_hold("bbbb1")) as parked:
        holds.close()
        assert holds.all() == []
        for task in parked:
            with pytest.raises(ShuttingDown):
                await task
    with pytest.raises(ShuttingDown):
        await holds.wait(a_hold(), LONG)
    assert [type(change) for change in seen] == [Held, Held, Settled, Settled]


# Finding one


async def test_the_beginning_of_an_id_is_enough_if_it_names_one() -> None:
    holds = Holds()
    async with waiting(holds, a_hold("a91f04"), a_hold("a91f05"), a_hold("a91f0")):
        assert holds.get("a91f05").id == "a91f05"
        assert holds.get("a91f0").id == "a91f0", "a whole id is no beginning"
        for which in ("a91f", "a91"[:LEAST_PREFIX]):
            with pytest.raises((HoldAmbiguous, HoldNotFound)):
                holds.get(which)
        with pytest.raises(HoldAmbiguous) as ambiguous:
            holds.decide("a91f", approve=True)
        assert (ambiguous.value.status, ambiguous.value.code) == (409, "hold_ambiguous")
        assert len(holds.all()) == 3


@pytest.mark.parametrize("which", ["", "a", "a91", "a91f05", "nobody", "*", "A91F"])
async def test_what_names_nobody_or_is_too_short_is_not_found(which: str) -> None:
    holds = Holds()
    async with waiting(holds, a_hold("a91f04")):
        with pytest.raises(HoldNotFound) as missing:
            holds.decide(which, approve=True)
        assert (missing.value.status, missing.value.code) == (404, "hold_not_found")
        assert len(holds.all()) == 1


async def test_a_beginning_that_a_decided_hold_shares_is_ambiguous() -> None:
    """Who means the one that is over must not let another go on."""
    holds = Holds()
    async with waiting(holds, a_hold("a91f04"), a_hold("a91f05")):
        holds.decide("a91f04", approve=False)
        with pytest.raises(HoldAmbiguous):
            holds.decide("a91f", approve=True)


# Once for all


async def test_always_is_for_a_project_and_the_labels_that_were_found() -> None:
    holds = Holds()
    assert not holds.is_approved("red", "EMAIL")
    async with waiting(holds, a_hold(labels={"EMAIL": 1, "CARD": 2})):
        assert holds.decide("a91f", approve=True, always=True).always
    assert holds.is_approved("red", "EMAIL")
    assert holds.is_approved("red", "CARD")
    assert not holds.is_approved("red", "IBAN")
    assert not holds.is_approved("blue", "EMAIL")
    async with waiting(holds, a_hold(project="green", labels={"IBAN": 1})):
        holds.decide("a91f", approve=True, always=True)
    assert holds.is_approved("green", "IBAN")
    assert not holds.is_approved("red", "IBAN")
    assert not Holds().is_approved("red", "EMAIL"), "another life, another question"


async def test_one_approval_is_for_one_request() -> None:
    holds = Holds()
    async with waiting(holds, a_hold()):
        holds.decide("a91f", approve=True)
    assert not holds.is_approved("red", "EMAIL")


async def test_always_does_not_go_with_a_no() -> None:
    holds = Holds()
    async with waiting(holds, a_hold()) as [parked]:
        with pytest.raises(BadRequest) as refused:
            holds.decide("a91f", approve=False, always=True)
        assert refused.value.param == "always"
        assert not parked.done()


async def test_an_always_that_comes_too_late_approves_nothing() -> None:
    holds = Holds()
    await holds.wait(a_hold(), 0.001)
    with pytest.raises(HoldDecided):
        holds.decide("a91f", approve=True, always=True)
    assert not holds.is_approved("red", "EMAIL")


# Who watches


async def test_who_watches_is_told_of_the_beginning_and_the_end_and_no_values() -> None:
    seen: list[Change] = []
    holds = Holds(seen.append)
    async with waiting(holds, a_hold()):
        assert seen == [Held("a91f04", "aider", "red", {"EMAIL": 2, "CARD": 1})]
        holds.decide("a91f", approve=True, always=True)
        assert seen[1:] == [Settled("a91f04", Verdict.APPROVED, always=True)]
    assert len(seen) == 2, "nothing is told twice"


async def test_the_books_are_closed_before_anybody_is_told() -> None:
    left: list[int] = []
    holds = Holds(lambda change: left.append(len(holds.all())))
    async with waiting(holds, a_hold()):
        holds.decide("a91f", approve=True)
    assert left == [1, 0]


async def test_a_watcher_that_breaks_costs_the_request_and_not_the_books() -> None:
    def breaks(change: Change) -> None:
        if isinstance(change, Held):
            raise RuntimeError("broken watcher")

    holds = Holds(breaks)
    with pytest.raises(RuntimeError):
        await holds.wait(a_hold(), LONG)
    assert holds.all() == []


async def test_how_long_a_request_waits_is_told_in_seconds() -> None:
    now = 100.0
    holds = Holds(monotonic=lambda: now)
    hold = a_hold(since=now)
    now = 112.5
    assert holds.seconds(hold) == 12.5


# What is shown


@pytest.mark.parametrize("shown", [repr, str, lambda hold: f"{hold!r} {[hold]}"])
def test_a_hold_shows_its_id_and_labels_and_nothing_else(shown: Callable[[Any], str]) -> None:
    text = shown(a_hold())
    assert "a91f04" in text
    assert "EMAIL" in text
    for piece in ("aider", "red", "gpt-4o", "messages", "write to", "please", "rg"):
        assert piece not in text


def test_a_context_shows_its_place_and_label_and_nothing_else() -> None:
    assert repr(CONTEXT) == "Context('messages[0].content', EMAIL)"


@pytest.mark.parametrize("approve", [True, False])
async def test_what_was_around_the_values_is_gone_once_it_is_decided(approve: bool) -> None:
    """Also from the hold that whoever parked it still has."""
    holds, hold = Holds(), a_hold()
    async with waiting(holds, hold):
        assert holds.get("a91f").contexts == (CONTEXT,)
        holds.decide("a91f", approve=approve)
        assert hold.contexts == ()
        assert b"write to" not in pickle.dumps(hold)


async def test_what_was_around_the_values_is_gone_once_it_is_too_late() -> None:
    hold = a_hold()
    await Holds().wait(hold, 0.001)
    assert hold.contexts == ()


@pytest.mark.parametrize(
    ("before", "after", "tail"), [("x" * (MOST_AROUND + 1), "", ""), ("", "x" * (MOST_AROUND + 1), ""), ("", "", "xxx")]
)
def test_no_more_is_shown_than_was_promised(before: str, after: str, tail: str) -> None:
    with pytest.raises(ValueError, match="a context shows") as refused:
        Context("messages[0].content", "EMAIL", before, after, tail)
    assert "xxx" not in str(refused.value)


# What the caller hears


@pytest.mark.parametrize("verdict", [Verdict.DENIED, Verdict.DENIED_LATE])
def test_a_no_is_a_refusal_that_asking_again_does_not_mend(verdict: Verdict) -> None:
    told = refusal(verdict)
    assert (told.status, told.code, told.retry) == (403, "hold_denied", False)


def test_whoever_can_be_kept_alive_waits_as_long_as_was_set() -> None:
    assert patience(900.0, stream=True, headers={}) == 900.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 110.0),
        ({"x-stainless-read-timeout": "600"}, 590.0),
        ({"x-stainless-read-timeout": "20.5"}, 10.5),
        ({"x-stainless-read-timeout": "1"}, 0.5),
        ({"x-stainless-read-timeout": "5000"}, 900.0),
        *(({"x-stainless-read-timeout": odd}, 110.0) for odd in ("", "None", "nan", "inf", "-1", "0", "1e999", "ü")),
        ({"x-stainless-timeout": "600"}, 110.0),
    ],
)
def test_whoever_hears_nothing_meanwhile_is_told_before_losing_patience(
    headers: dict[str, str], seconds: float
) -> None:
    assert patience(900.0, stream=False, headers=headers) == seconds
    assert patience(0.25, stream=False, headers=headers) == 0.25
