"""What travels: how an exchange ends is noted once, and its looks give nothing away."""

from __future__ import annotations

import asyncio

import pytest

from membrain.dialects.base import Chunk
from membrain.errors import BadRequest, Forbidden, MembrainError, ProviderFailed, ShuttingDown
from membrain.exchange import Exchange, Stage
from membrain.records import ANONYMOUS, Outcome
from tests.fakes import exchange

CANARY = "canary-7f3a"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (BadRequest("no"), Outcome.REFUSED),
        (Forbidden("no"), Outcome.REFUSED),
        (ProviderFailed("no"), Outcome.FAILED),
        (MembrainError("no"), Outcome.FAILED),
        (ShuttingDown("no"), Outcome.REFUSED),
    ],
)
def test_an_error_of_ours_is_kept(error: MembrainError, outcome: Outcome) -> None:
    asked = exchange()
    asked.fail(error)
    assert asked.outcome is outcome
    assert asked.error is error


def test_a_fault_of_ours_is_kept_without_its_words() -> None:
    asked = exchange()
    asked.fail(ValueError(CANARY))
    assert asked.outcome is Outcome.FAILED
    assert asked.error is not None
    assert (asked.error.status, asked.error.code) == (500, "internal_error")
    assert CANARY not in repr(asked.error)


@pytest.mark.parametrize("gone", [asyncio.CancelledError(), GeneratorExit(), KeyboardInterrupt()])
def test_a_caller_who_is_gone_is_no_error(gone: BaseException) -> None:
    asked = exchange()
    asked.fail(gone)
    assert (asked.outcome, asked.error) == (Outcome.ABORTED, None)


def test_the_first_cause_counts() -> None:
    asked = exchange()
    asked.fail(ProviderFailed("first"))
    asked.fail(asyncio.CancelledError())
    assert asked.outcome is Outcome.FAILED
    answered = exchange()
    answered.outcome = Outcome.ANSWERED
    answered.fail(ProviderFailed("late"))
    assert (answered.outcome, answered.error) == (Outcome.ANSWERED, None)


def test_a_new_exchange_is_open_and_nobodys() -> None:
    asked = exchange()
    assert (asked.outcome, asked.caller, asked.written, asked.answer) == (Outcome.OPEN, ANONYMOUS, None, None)
    assert asked.headers is not exchange().headers


def test_its_looks_give_nothing_away() -> None:
    asked = exchange(CANARY)
    asked.credential = f"ck_live_{CANARY}"
    asked.forwarded = {"authorization": CANARY}
    asked.fail(ProviderFailed(f"You said {CANARY}"))
    assert CANARY not in repr(asked)
    assert CANARY not in repr(Chunk(CANARY.encode()))


def test_there_is_no_bag_for_the_rest() -> None:
    asked = exchange()
    with pytest.raises(AttributeError):
        asked.metadata = {}  # type: ignore[attr-defined]  # that is the point


@pytest.mark.anyio
async def test_a_room_that_overrides_nothing_changes_nothing() -> None:
    class Empty(Stage):
        name = "empty"

    asked, chunk = exchange(), Chunk(b"x")
    before = {name: getattr(asked, name) for name in Exchange.__slots__}
    await Empty().enter(asked)
    assert Empty().outgoing(asked, chunk) is chunk
    await Empty().leave(asked)
    assert {name: getattr(asked, name) for name in Exchange.__slots__} == before
