"""Audit: the intent before anything leaves, the outcome before the end is told, and never a word of what was said."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from membrain.errors import Forbidden, GuardFailed, NotFound, ProviderFailed
from membrain.live import Live
from membrain.records import Attempt, AuditRecord, Caller, Candidate, Decision, Hints, Outcome, Tokens
from membrain.stages.audit import Audit, intent_of, outcome_of
from membrain.stores.base import Stores
from membrain.stores.chain import wire
from membrain.stores.open import open_stores
from tests.fakes import exchange

pytestmark = pytest.mark.anyio
CANARY = "canary-7f3a"


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    stores = open_stores(tmp_path / "membrain.db", instance="test", key=b"k" * 32)
    yield stores
    await stores.close()


class Failing:
    """A log that cannot write."""

    fault = "The disk is full."

    def intend(self, record: AuditRecord, **_: object) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(GuardFailed("The audit cannot be written: the disk is full."))
        return future

    conclude = intend


async def test_the_intent_is_on_record_before_anything_is_sent(stores: Stores) -> None:
    audit, asked = Audit(stores.audit, Live()), exchange(CANARY, stream=True, hints=Hints("fast", private=True))
    await audit.enter(asked)
    assert asked.written is not None
    await asked.written
    (record,) = await stores.audit.list()
    assert (record.id, record.outcome, record.model, record.stream) == (asked.id, "open", "gpt-4o", True)
    assert (record.private, record.tier, record.dialect, record.path) == (True, "fast", "chat", "/v1/chat/completions")


async def test_entering_does_not_wait_for_the_disk(stores: Stores) -> None:
    """Whoever sends something waits, and only then."""
    audit, asked = Audit(stores.audit, Live()), exchange()
    await audit.enter(asked)
    assert asked.written is not None
    assert not asked.written.done()
    await audit.leave(asked)


async def test_the_outcome_is_on_record_when_the_room_is_left(stores: Stores) -> None:
    live = Live()
    audit, asked = Audit(stores.audit, live), exchange(CANARY)
    await audit.enter(asked)
    assert live.running == 1
    asked.outcome, asked.provider, asked.answered_model = Outcome.ANSWERED, "openai", "gpt-4o-2024"
    asked.tokens, asked.cost_micros, asked.first = Tokens(9, 4, cached=2, reasoning=1, written=3), 63, 0.25
    asked.caller = Caller("k1", "aider", "work", user="ada")
    asked.attempts = (Attempt("openai", "gpt-4o", 12.0),)
    asked.steps = [("audit", 0.01234), ("auth", 0.5)]
    await audit.leave(asked)
    record = await stores.audit.get(asked.id)
    assert (record.outcome, record.status, record.error, record.provider) == ("answered", 200, None, "openai")
    assert record.written_tokens == 3
    assert (record.prompt_tokens, record.completion_tokens, record.cached_tokens, record.reasoning_tokens) == (
        9,
        4,
        2,
        1,
    )
    assert (record.cost_micros, record.first_ms, record.answered_model) == (63, 250.0, "gpt-4o-2024")
    assert (record.caller, record.key_id, record.project) == ("aider", "k1", "work")
    assert record.ms is not None
    assert record.ms > 0
    assert [step.room for step in record.steps] == ["audit", "auth"]
    assert record.attempts == asked.attempts
    assert live.running == 0
    assert live.snapshot().p50_ms is not None


async def test_an_outcome_without_an_intent_is_still_a_record(stores: Stores) -> None:
    asked = exchange()
    asked.outcome = Outcome.ABORTED
    await Audit(stores.audit, Live()).leave(asked)
    assert (await stores.audit.get(asked.id)).outcome == "aborted"


async def test_nothing_that_was_said_is_kept(stores: Stores) -> None:
    """Not the prompt, not the key, not what an upstream quoted."""
    asked = exchange(CANARY, tools=[{"type": "function", "function": {"name": CANARY}}])
    asked.credential = f"ck_live_{CANARY}"
    asked.forwarded = {"authorization": f"Bearer {CANARY}", "x-odd": CANARY}
    asked.fail(ProviderFailed(f"You said {CANARY}", provider="openai"))
    audit = Audit(stores.audit, Live())
    await audit.enter(asked)
    await audit.leave(asked)
    record = await stores.audit.get(asked.id)
    assert CANARY not in json.dumps(record.to_dict(), default=str)
    assert CANARY not in repr(intent_of(asked)) + repr(outcome_of(asked)) + repr(asked)


@pytest.mark.parametrize(
    ("error", "outcome", "status", "code"),
    [
        (Forbidden("no"), "refused", 403, "forbidden"),
        (ProviderFailed("no", status=429, code="rate_limit"), "failed", 429, "rate_limit"),
        (ZeroDivisionError(CANARY), "failed", 500, "internal_error"),
        (asyncio.CancelledError(), "aborted", None, None),
    ],
)
async def test_what_went_wrong_is_on_record_by_its_code(
    error: BaseException, outcome: str, status: int | None, code: str | None
) -> None:
    asked = exchange()
    asked.fail(error)
    record = outcome_of(asked)
    assert (record.outcome, record.status, record.error) == (outcome, status, code)


@pytest.mark.parametrize(
    ("error", "outcome"), [(ProviderFailed("no", status=502), "failed"), (asyncio.CancelledError(), "aborted")]
)
async def test_what_went_wrong_in_mid_stream_had_been_told_as_200(error: BaseException, outcome: str) -> None:
    asked = exchange(stream=True)
    asked.first = 0.1
    asked.fail(error)
    record = outcome_of(asked)
    assert (record.outcome, record.status) == (outcome, 200)


async def test_the_tier_that_was_used_is_kept_and_else_the_one_that_was_asked_for() -> None:
    asked = exchange(hints=Hints("speed"))
    assert outcome_of(asked).tier == "speed"
    candidate = Candidate("gpt-4o-mini", "openai", kept=True, reason="tier fast")
    asked.decision = Decision("auto", "fast", False, (candidate,))
    assert outcome_of(asked).tier == "fast"
    asked.decision = replace(asked.decision, tier=None)
    assert outcome_of(asked).tier == "speed"


async def test_a_log_that_cannot_write_is_heard_by_who_leaves() -> None:
    live = Live()
    audit, asked = Audit(Failing(), live), exchange()  # type: ignore[arg-type]  # half a log is enough
    await audit.enter(asked)
    asked.outcome = Outcome.ANSWERED
    with pytest.raises(GuardFailed, match="disk is full"):
        await audit.leave(asked)
    assert live.running == 0


async def test_an_intent_that_nobody_waited_for_complains_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A refusal by the next room leaves it unread, and an unread failure would end in the log with a traceback."""
    audit, asked = Audit(Failing(), Live()), exchange()  # type: ignore[arg-type]  # half a log is enough
    await audit.enter(asked)
    with pytest.raises(GuardFailed):
        await audit.leave(asked)
    asked.written = None
    await asyncio.sleep(0)
    assert not caplog.records


async def test_watchers_hear_of_each_exchange_once_it_is_on_record(stores: Stores) -> None:
    live = Live()
    audit, asked = Audit(stores.audit, live), exchange()
    watching = live.watch()
    assert (await anext(watching))[0] == "snapshot"
    await audit.enter(asked)
    asked.outcome = Outcome.ANSWERED
    await audit.leave(asked)
    kind, record = await anext(watching)
    assert kind == "exchange"
    assert isinstance(record, AuditRecord)
    assert record.id == asked.id
    await watching.aclose()


async def test_the_record_has_the_digest_of_what_left(stores: Stores) -> None:
    asked = exchange(CANARY)
    audit = Audit(stores.audit, Live(), sent={asked.id: b"masked"}.get)
    await audit.enter(asked)
    await audit.leave(asked)
    assert (await stores.audit.get(asked.id)).sent_sha256 == hashlib.sha256(b"masked").hexdigest()
    other = exchange(CANARY)
    await audit.enter(other)
    await audit.leave(other)
    assert (await stores.audit.get(other.id)).sent_sha256 is None, "nothing left with it"


async def test_what_left_is_kept_only_if_told_to(stores: Stores, tmp_path: Path) -> None:
    for keep in (True, False):
        asked = exchange(CANARY)
        audit = Audit(stores.audit, Live(), sent={asked.id: b"masked"}.get, keep=keep)
        await audit.enter(asked)
        await audit.leave(asked)
        if keep:
            assert wire(tmp_path / "membrain.db", asked.id) == b"masked"
        else:
            with pytest.raises(NotFound, match="Nothing is kept"):
                wire(tmp_path / "membrain.db", asked.id)


async def test_what_stayed_here_unmasked_is_neither_kept_nor_digested(stores: Stores, tmp_path: Path) -> None:
    """It holds what was really said, and a digest without salt would let anyone try what that was."""
    asked = exchange(CANARY)
    asked.local, asked.own = True, asked.said
    assert asked.stayed
    audit = Audit(stores.audit, Live(), sent={asked.id: CANARY.encode()}.get, keep=True)
    await audit.enter(asked)
    await audit.leave(asked)
    assert (await stores.audit.get(asked.id)).sent_sha256 is None
    with pytest.raises(NotFound):
        wire(tmp_path / "membrain.db", asked.id)
