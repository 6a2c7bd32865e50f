"""Rate limit: who may pass, what they are told, and what is given back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from membrain.allowances import allowances
from membrain.dialects.base import Said
from membrain.errors import (
    AllProvidersFailed,
    BudgetExceeded,
    GuardFailed,
    MembrainError,
    NoCandidate,
    ProviderFailed,
    RateLimited,
    RateLimitUnavailable,
    ShuttingDown,
)
from membrain.exchange import Exchange
from membrain.records import ANONYMOUS, Allowance, Attempt, Caller, Outcome, Rate, Rights, Tokens
from membrain.stages.rate_limit import (
    ATTACHED_TOKENS,
    TOKENS,
    RateLimit,
    estimate_of,
    headers_of,
    refusal_of,
    span,
    used_by,
)
from membrain.stores.base import Level, Taken, Want
from membrain.stores.counters import SUBJECT, SqliteCounters
from membrain.stores.writer import Writer
from tests.fakes import exchange, said

pytestmark = pytest.mark.anyio

NOON = 1_790_000_000
WEB = Caller(key_id="k1", name="laptop", project="web", rights=Rights(rate=Rate(requests=2)))


class Clock:
    """A clock that only the test turns."""

    def __init__(self) -> None:
        self.now = float(NOON)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    writer = Writer(tmp_path / "audit.db")
    yield writer
    writer.close()


@pytest.fixture
def counters(writer: Writer, clock: Clock) -> SqliteCounters:
    return SqliteCounters(writer, clock)


Room = Callable[..., RateLimit]


@pytest.fixture
def room(counters: SqliteCounters) -> Room:
    """A room with limits by owner: `room(machine=Rate(...))`, `room(**{"project:web": Rate(...)})`."""
    return lambda **limits: RateLimit(counters, lambda caller: tuple(limits.items()))


def asking(caller: Caller = WEB, text: str = "Hello", **more: Any) -> Exchange:
    asked = exchange(text, **more)
    asked.caller = caller
    return asked


async def refused(stage: RateLimit, asked: Exchange) -> RateLimited:
    with pytest.raises(RateLimited) as told:
        await stage.enter(asked)
    return told.value


def left(asked: Exchange, kind: str = "requests") -> int:
    return int(asked.headers[f"x-ratelimit-remaining-{kind}"])


async def over(stage: RateLimit, asked: Exchange, **facts: Any) -> None:
    """The end of an exchange of which *facts* are known."""
    asked.outcome = Outcome.ANSWERED
    for name, value in facts.items():
        setattr(asked, name, value)
    await stage.leave(asked)


# --- who passes


class Untouchable:
    """Counters that nobody may ask."""

    def take(self, wants: object) -> NoReturn:
        raise AssertionError

    settle = take


def test_an_exchange_without_a_limit_asks_nobody_and_waits_for_nothing() -> None:
    for limits in ((), (("machine", Rate()),)):
        stage = RateLimit(Untouchable(), lambda caller, limits=limits: limits)  # type: ignore[arg-type, misc]
        asked = asking()
        for step in (stage.enter(asked), stage.leave(asked)):
            with pytest.raises(StopIteration):
                step.send(None)  # it never yields to the event loop
        assert asked.headers == {}


async def test_so_many_pass_as_the_limit_says_and_then_again_a_minute_later(room: Room, clock: Clock) -> None:
    stage = room(machine=Rate(requests=3))
    for expected in (2, 1, 0):
        asked = asking()
        await stage.enter(asked)
        assert left(asked) == expected
        clock.now += 10
    told = await refused(stage, asking())
    assert told.headers["retry-after"] == "31"
    clock.now += 31
    await stage.enter(asking())


async def test_limits_of_key_project_and_machine_all_hold_and_a_refusal_counts_nowhere(
    counters: SqliteCounters,
) -> None:
    limits = allowances(Allowance(), Rate(requests=5), (), ["project:web:requests=3"])
    stage = RateLimit(counters, limits.rates_of)
    other = replace(WEB, key_id="k2")
    for _ in range(2):
        await stage.enter(asking())
    assert "the client key laptop is reached" in (await refused(stage, asking())).message
    await stage.enter(asking(other))
    assert "the project web is reached" in (await refused(stage, asking(other))).message
    for _ in range(2):
        await stage.enter(asking(ANONYMOUS))
    assert "this machine is reached" in (await refused(stage, asking(ANONYMOUS))).message


async def test_a_label_of_the_caller_is_no_way_to_a_fresh_count(counters: SqliteCounters) -> None:
    stage = RateLimit(counters, allowances(Allowance(), Rate()).rates_of)
    for user in ("anna", "ben"):
        await stage.enter(asking(replace(WEB, user=user)))
    await refused(stage, asking(replace(WEB, user="carla")))


async def test_the_limits_are_asked_each_time_so_a_change_holds_at_once(counters: SqliteCounters) -> None:
    rates = {"machine": Rate(requests=1)}
    stage = RateLimit(counters, lambda caller: tuple(rates.items()))
    await stage.enter(asking())
    await refused(stage, asking())
    rates["machine"] = Rate(requests=2)
    await stage.enter(asking())


async def test_what_cannot_be_counted_does_not_pass(room: Room, writer: Writer) -> None:
    writer.close()
    stage, asked = room(machine=Rate(requests=3)), asking()
    with pytest.raises(RateLimitUnavailable) as told:
        await stage.enter(asked)
    assert (told.value.status, told.value.code) == (503, "rate_limit_unavailable")
    await stage.leave(asked)
    assert stage._taken == {}


# --- what they are told


async def test_headers_say_how_much_is_left(room: Room, clock: Clock) -> None:
    stage, asked = room(machine=Rate(requests=60, tokens=1000)), asking(max_tokens=100)
    clock.now += 0.25
    await stage.enter(asked)
    tokens = 100 + len(asked.said.body) // 4
    assert asked.headers == {
        "x-ratelimit-limit": "60",
        "x-ratelimit-remaining": "59",
        "x-ratelimit-reset": str(NOON + 61),
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1m1s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": str(1000 - tokens),
        "x-ratelimit-reset-tokens": "1m1s",
    }


async def test_of_several_limits_the_tightest_is_shown(room: Room) -> None:
    stage = room(**{"machine": Rate(requests=60), "project:web": Rate(requests=9), "key:k1": Rate(tokens=5000)})
    asked = asking()
    await stage.enter(asked)
    assert (asked.headers["x-ratelimit-limit"], asked.headers["x-ratelimit-remaining"]) == ("9", "8")
    assert asked.headers["x-ratelimit-limit-tokens"] == "5000"


async def test_with_only_tokens_limited_the_headers_count_tokens(room: Room) -> None:
    asked = asking()
    await room(machine=Rate(tokens=5000)).enter(asked)
    assert asked.headers["x-ratelimit-limit"] == "5000"
    assert "x-ratelimit-limit-requests" not in asked.headers


async def test_with_nothing_left_the_reset_is_when_the_next_one_fits(room: Room, clock: Clock) -> None:
    stage = room(machine=Rate(requests=2))
    await stage.enter(asking())
    clock.now += 20
    last, late = asking(), asking()
    await stage.enter(last)
    await refused(stage, late)
    for asked in (last, late):
        assert asked.headers["x-ratelimit-remaining"] == "0"
        assert asked.headers["x-ratelimit-reset"] == str(NOON + 61)
        assert asked.headers["x-ratelimit-reset-requests"] == "1m1s", "until the whole limit is there again"


async def test_a_refusal_says_whose_limit_it_is_and_when_there_is_room(room: Room, clock: Clock) -> None:
    stage = room(machine=Rate(requests=1))
    await stage.enter(asking())
    clock.now += 18.7
    asked = asking()
    told = await refused(stage, asked)
    assert (told.status, told.code, told.retry) == (429, "rate_limit_exceeded", None)
    assert told.message == "The limit of 1 request a minute for this machine is reached. There is room in 43 seconds."
    assert told.headers == {"retry-after": "43"}
    clock.now += 42.29
    assert (await refused(stage, asked)).message.endswith("There is room in 1 second.")
    clock.now += 0.01
    await stage.enter(asked)


async def test_a_refusal_for_tokens_says_what_is_left_and_what_was_asked(room: Room) -> None:
    stage, first, second = room(machine=Rate(tokens=100)), asking(max_tokens=50), asking(max_tokens=50)
    await stage.enter(first)
    wanted = 50 + len(first.said.body) // 4
    assert (await refused(stage, second)).message == (
        f"The limit of 100 tokens a minute for this machine has {100 - wanted} left,"
        f" and this request may come to {wanted}. There is room in 61 seconds."
    )


async def test_what_never_fits_is_told_so_that_no_client_tries_again(room: Room) -> None:
    stage, large = room(machine=Rate(requests=5, tokens=100)), asking(max_tokens=1 << 62)
    told = await refused(stage, large)
    assert told.headers == {"x-should-retry": "false"}
    assert "can never hold this request, which may come to 4611686018427387" in told.message
    assert "max_tokens" in str(told.hint)
    assert (left(large), left(large, "tokens")) == (5, 100), "and it is not counted"
    await stage.enter(asking(max_tokens=10))


async def test_a_limit_of_no_requests_lets_nothing_pass(room: Room) -> None:
    told = await refused(room(**{"key:k1": Rate(requests=0)}), asking())
    assert told.message == "The limit of 0 requests a minute for the client key laptop lets nothing pass."
    assert told.headers == {"x-should-retry": "false"}


def level(owner: str, *, limit: int = 5, used: int = 5, fitted: bool = False, room_at: int = NOON + 5) -> Level:
    return Level(Want(owner, "requests", 1, limit), used, fitted, room_at, NOON + 60)


def test_of_several_that_refuse_the_one_that_lasts_longest_is_told() -> None:
    fits = level("project:web", used=1, fitted=True, room_at=NOON + 99)
    taken = Taken(NOON + 0.5, (level("machine"), level("key:k1", room_at=NOON + 30), fits))
    told = refusal_of(taken, WEB)
    assert told.headers["retry-after"] == "30"
    assert "the client key laptop" in told.message
    assert headers_of(taken)["x-ratelimit-reset"] == str(NOON + 30)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (1, "1s"), (59, "59s"), (60, "1m0s"), (61, "1m1s")])
def test_lengths_of_time_are_written_as_openai_does(seconds: int, text: str) -> None:
    assert span(seconds) == text


# --- tokens at the door


@pytest.mark.parametrize(
    ("more", "declared"),
    [
        ({}, 0),
        ({"max_tokens": 300}, 300),
        ({"max_completion_tokens": 300}, 300),
        ({"max_tokens": 300, "max_completion_tokens": 200}, 300),
        ({"max_tokens": None}, 0),
        ({"max_tokens": -300}, 0),
        ({"max_tokens": True}, 0),
        ({"max_tokens": "300"}, 0),
        ({"max_tokens": 1e30}, 0),
    ],
)
def test_the_estimate_is_a_quarter_of_the_bytes_and_the_longest_answer(more: dict[str, Any], declared: int) -> None:
    asked = said("Hello " * 100, **more)
    assert estimate_of(asked) == len(asked.body) // 4 + declared


def test_a_picture_is_not_taken_for_words() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 40_000}}
    messages = [{"role": "user", "content": [picture, {"type": "text", "text": "What is it?"}, picture]}]
    assert 2 * ATTACHED_TOKENS < estimate_of(said(messages=messages)) < 2 * ATTACHED_TOKENS + 200


def test_an_empty_question_still_counts() -> None:
    assert estimate_of(Said("chat", b"{}", {}, "gpt-4o", stream=False)) == 1


# --- tokens at the end

TRIED = Attempt("openai", "gpt-4o", 1.0, "provider_failed")
UNREACHED = ProviderFailed("no", reached=False)
ENDS: dict[str, tuple[dict[str, Any], int]] = {
    "answered": ({"tokens": Tokens(70, 30)}, 100),
    "answered with more than was thought": ({"tokens": Tokens(7000, 30)}, 7030),
    "known already": ({"cached": True, "tokens": Tokens(70, 30)}, 0),
    "broken off in the middle": ({"outcome": Outcome.FAILED, "tokens": Tokens(70, 3)}, 73),
    "refused by a room": ({"outcome": Outcome.REFUSED, "error": BudgetExceeded("no")}, 0),
    "nobody to ask": ({"outcome": Outcome.FAILED, "error": NoCandidate("no")}, 0),
    "not reached": ({"outcome": Outcome.FAILED, "error": UNREACHED, "attempts": (TRIED,)}, 0),
    "not reached at the second try": ({"outcome": Outcome.FAILED, "error": UNREACHED, "attempts": (TRIED, TRIED)}, 500),
    "reached, and no answer": ({"outcome": Outcome.FAILED, "error": ProviderFailed("no"), "attempts": (TRIED,)}, 500),
    "all failed": ({"outcome": Outcome.FAILED, "error": AllProvidersFailed("no"), "attempts": (TRIED, TRIED)}, 500),
    "hung up while it was asked": ({"outcome": Outcome.ABORTED}, 500),
    "ended by us while it was asked": ({"outcome": Outcome.FAILED, "error": ShuttingDown("no")}, 500),
    "a fault of ours": ({"outcome": Outcome.FAILED, "error": MembrainError("no")}, 500),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_was_used_is_known_or_stays_as_it_was_estimated(end: str) -> None:
    facts, used = ENDS[end]
    asked = exchange()
    for name, value in facts.items():
        setattr(asked, name, value)
    assert used_by(asked, 500) == used


async def test_at_the_end_the_estimate_becomes_what_was_used(room: Room) -> None:
    stage = room(**{"machine": Rate(tokens=1000), "project:web": Rate(requests=9, tokens=2000)})
    asked, after = asking(max_tokens=800), asking(max_tokens=100)
    await stage.enter(asked)
    await refused(stage, asking(max_tokens=300))
    await over(stage, asked, tokens=Tokens(20, 30))
    await stage.enter(after)
    assert left(after, TOKENS) == 1000 - 50 - estimate_of(after.said)
    assert left(after) == 7
    await over(stage, after, tokens=Tokens(20, 30))
    assert len(stage._taken) == 1, "of the one that was refused and has not left"


async def test_what_was_refused_later_gives_its_tokens_back_and_stays_a_request(room: Room) -> None:
    stage, asked, after = room(machine=Rate(requests=5, tokens=1000)), asking(max_tokens=900), asking(max_tokens=900)
    await stage.enter(asked)
    await over(stage, asked, outcome=Outcome.REFUSED, error=BudgetExceeded("no"))
    await stage.enter(after)
    assert left(after) == 3


async def test_who_was_refused_here_takes_nothing_back_that_others_hold(room: Room) -> None:
    stage, first, second = room(machine=Rate(tokens=100)), asking(max_tokens=40), asking(max_tokens=45)
    await stage.enter(first)
    told = await refused(stage, second)
    await over(stage, second, outcome=Outcome.REFUSED, error=told)
    assert left(second, TOKENS) == 100 - estimate_of(first.said)
    await refused(stage, asking(max_tokens=45))


async def test_who_hangs_up_while_being_counted_is_settled_too(room: Room, writer: Writer) -> None:
    gate = threading.Event()
    writer.post(lambda database, _: gate.wait(5), None, SUBJECT)
    stage, asked, after = room(machine=Rate(tokens=1000)), asking(max_tokens=900), asking(max_tokens=900)
    entering = asyncio.ensure_future(stage.enter(asked))
    await asyncio.sleep(0.01)
    entering.cancel()
    with suppress(asyncio.CancelledError):
        await entering
    leaving = asyncio.ensure_future(over(stage, asked, outcome=Outcome.REFUSED, error=GuardFailed("no")))
    await asyncio.sleep(0.01)
    gate.set()
    await leaving
    await stage.enter(after)
