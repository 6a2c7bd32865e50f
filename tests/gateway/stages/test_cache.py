"""Cache: which requests it answers, what it keeps, who waits for whom, and that it never costs an answer."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrain.dialects import replay
from membrain.dialects.base import Chunk
from membrain.errors import AuditUnavailable, BudgetExceeded, GuardFailed, ProviderFailed
from membrain.exchange import Exchange, Stage
from membrain.pipeline import Pipeline
from membrain.records import Caller, Finding, Hints, Outcome, Tokens
from membrain.stages.cache import Cache, Keeping, Wish, key_of, may_know, wish_of
from membrain.stores.answers import SqliteAnswers
from membrain.stores.base import KeptAnswer
from membrain.stores.writer import Writer
from tests.fakes import exchange

pytestmark = pytest.mark.anyio

NOON = 1_790_000_000.0
SECRET = b"s" * 32
TOKENS = Tokens(100, 20, cached=10, cost_micros=55)


class Clock:
    """A clock that only the test turns."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


class Before(Stage):
    """What stands before the cache, and does what it does: the intent is on record, and every string was looked at."""

    name = "before"

    async def enter(self, exchange: Exchange) -> None:
        exchange.written = asyncio.get_running_loop().create_future()
        exchange.written.set_result(None)
        exchange.looked = True


class Says(Stage):
    """An upstream: says its answer in the way it was asked, whole or streamed, and counts how often."""

    name = "dispatch"

    def __init__(self, text: str = "Hello, you.", **more: Any) -> None:
        self.text = text
        self.more = more
        self.heard: list[Exchange] = []
        self.arrived: asyncio.Queue[Exchange] = asyncio.Queue()
        self.go = asyncio.Event()
        self.go.set()
        self.fails: list[Exception] = []
        self.local = False

    async def enter(self, exchange: Exchange) -> None:
        self.heard.append(exchange)
        self.arrived.put_nowait(exchange)
        if self.fails:
            raise self.fails.pop(0)
        exchange.provider, exchange.answered_model, exchange.local = "openai", "gpt-4o-2024", self.local
        exchange.answer = self._answer(exchange)

    async def _answer(self, exchange: Exchange) -> Any:
        body = completion(self.text, **self.more)
        pieces = list(replay.events(body, usage=False)) if exchange.said.stream else [json.dumps(body).encode()]
        for piece in pieces:
            yield Chunk(piece, whole=not exchange.said.stream)
            await self.go.wait()
        exchange.tokens = TOKENS

    async def leave(self, exchange: Exchange) -> None:
        exchange.cost_micros = 321 if exchange.tokens else None


def completion(text: str = "Hello, you.", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-2024",
        "choices": [choice | more.pop("choice", {})],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    } | more


class House:
    """A corridor of three rooms, the middle one the cache, before a real store."""

    def __init__(self, answers: SqliteAnswers, **keeping: Any) -> None:
        self.answers = answers
        self.clock = Clock()
        self.version = "v1"
        self.private: set[str] = set()
        self.looked_at: list[str] = []
        self.says = Says()
        self.cache = Cache(
            answers,
            SECRET,
            lambda _: self.version,
            self._private,
            Keeping(**keeping),
            wall=self.clock,
            patience=5.0,
        )

    async def _private(self, project: str, texts: Sequence[str]) -> bool:
        self.looked_at += texts
        return any(each in text for each in self.private for text in texts)

    @property
    def calls(self) -> int:
        return len(self.says.heard)

    def running(self, asked: Exchange, *more: Stage) -> Any:
        return Pipeline([Before(), *more, self.cache, self.says]).run(asked)

    async def ask(self, text: str = "Hello", **more: Any) -> Exchange:
        """One exchange from door to door, and all that follows from it."""
        asked = question(text, **more)
        await self.go(asked)
        await self.cache.close()
        return asked

    async def asked(self, times: int) -> None:
        """Once the upstream was asked so often."""
        async with asyncio.timeout(5):
            while self.calls < times or not self.says.arrived.empty():
                await self.says.arrived.get()

    async def go(self, asked: Exchange, *more: Stage) -> list[bytes]:
        return [chunk.raw async for chunk in self.running(asked, *more)]


def question(text: str = "Hello", **more: Any) -> Exchange:
    """A request that may be answered from the cache, unless it says otherwise."""
    headers = more.pop("headers", {})
    hints, caller = more.pop("hints", None), more.pop("caller", Caller())
    asked = exchange(text, hints=hints, **{"temperature": 0, **more})
    asked.forwarded, asked.caller = headers, caller
    return asked


@pytest.fixture
async def answers(tmp_path: Path) -> AsyncIterator[SqliteAnswers]:
    writer = Writer(tmp_path / "audit.db")
    answers = SqliteAnswers(writer, tmp_path / "audit.db")
    yield answers
    answers.close()
    await asyncio.to_thread(writer.close)


@pytest.fixture
def house(answers: SqliteAnswers) -> House:
    return House(answers)


def word(asked: Exchange) -> str:
    return asked.headers["x-membrain-cache"]


def text_of(raw: Sequence[bytes]) -> str:
    body = b"".join(raw)
    data = replay.whole(body) if body.startswith(b"data:") else json.loads(body)
    return str(data["choices"][0]["message"]["content"])


# -- the same question twice


async def test_the_same_question_twice_costs_once(house: House) -> None:
    first, second = question(), question()
    told = [await house.go(first)]
    await house.cache.close()
    told.append(await house.go(second))
    assert told[0] == told[1]
    assert (word(first), word(second), house.calls) == ("miss", "hit", 1)
    assert (first.cached, first.cost_micros, first.saved_micros) == (False, 321, None)
    assert (second.cached, second.cost_micros, second.saved_micros) == (True, 0, 321)
    assert second.tokens == replace(TOKENS, cost_micros=0)
    assert (second.answered_model, second.provider, second.local) == ("gpt-4o-2024", None, False)
    assert second.outcome is Outcome.ANSWERED
    assert (house.cache.hits, house.cache.misses) == (1, 1)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("usage", [False, True])
async def test_it_is_told_in_the_way_it_is_asked_whatever_way_it_came(
    house: House, first: bool, second: bool, usage: bool
) -> None:
    house.says.text = "Long. " * 300
    await house.ask(stream=first)
    again = question(stream=second, stream_options={"include_usage": usage})
    raw = await house.go(again)
    assert word(again) == "hit"
    assert text_of(raw) == house.says.text
    assert all(each.startswith(b"data:") for each in raw) is second
    assert (b'"usage"' in b"".join(raw)) is (usage or not second)
    assert house.calls == 1


async def test_an_answer_that_was_whole_is_the_very_same_bytes(house: House) -> None:
    house.says.more = {"odd": [1.50]}
    first, second = question(), question()
    told = await house.go(first)
    await house.cache.close()
    assert await house.go(second) == told


async def test_another_question_is_asked(house: House) -> None:
    await house.ask("Hello")
    assert word(await house.ask("Hello.")) == "miss"
    assert house.calls == 2


async def test_an_answer_is_given_until_it_is_too_old(answers: SqliteAnswers) -> None:
    house = House(answers, seconds=3600)
    await house.ask()
    house.clock.now += 3600
    assert word(await house.ask()) == "hit"
    house.clock.now += 1
    assert word(await house.ask()) == "miss"


async def test_a_use_keeps_an_answer_from_being_thrown_out(answers: SqliteAnswers) -> None:
    house = House(answers, total_bytes=1500)
    await house.ask("one")
    house.clock.now += 100
    await house.ask("two")
    house.clock.now += 100
    assert word(await house.ask("one")) == "hit"
    await house.ask("three")
    assert word(await house.ask("one")) == "hit"
    assert word(await house.ask("two")) == "miss"


async def test_what_is_too_old_is_removed_even_if_nothing_is_kept_any_more(answers: SqliteAnswers) -> None:
    house = House(answers, seconds=60)
    await house.ask()
    house.clock.now += 4000
    house.says.local = True
    await house.ask("another")
    await answers.clear("nobody")
    assert (await house.cache.stats())["entries"] == 0


async def test_cleared_answers_are_asked_anew_and_the_count_is_told(house: House) -> None:
    await house.ask(caller=Caller(project="web"))
    await house.ask(caller=Caller(project="shop"))
    stats = await house.cache.stats()
    assert (stats["entries"], stats["hits"], stats["misses"]) == (2, 0, 2)
    assert stats["bytes"] > 0
    assert await house.cache.clear("web") == 1
    assert word(await house.ask(caller=Caller(project="web"))) == "miss"
    assert word(await house.ask(caller=Caller(project="shop"))) == "hit"


# -- who may be answered from here


@pytest.mark.parametrize(
    ("mode", "more", "expected"),
    [
        ("off", {}, "off"),
        ("off", {"headers": {"x-membrain-cache": "on"}}, "off"),
        ("deterministic", {}, "miss"),
        ("deterministic", {"temperature": 0.0}, "miss"),
        ("deterministic", {"temperature": 0.7}, "off"),
        ("deterministic", {"temperature": None}, "off"),
        ("deterministic", {"temperature": False}, "off"),
        ("deterministic", {"temperature": 0.7, "headers": {"x-membrain-cache": "ON"}}, "miss"),
        ("deterministic", {"temperature": 0.7, "cache": True}, "miss"),
        ("deterministic", {"cache": False}, "off"),
        ("deterministic", {"cache": True, "headers": {"x-membrain-cache": "off"}}, "off"),
        ("deterministic", {"cache": False, "headers": {"x-membrain-cache": "on"}}, "off"),
        ("deterministic", {"headers": {"x-membrain-cache": "perhaps"}}, "off"),
        ("deterministic", {"headers": {"cache-control": "no-store"}}, "off"),
        ("deterministic", {"headers": {"cache-control": "max-age=9, No-Store"}}, "off"),
        ("deterministic", {"headers": {"cache-control": "no-cache"}}, "miss"),
        ("on", {"temperature": 0.7}, "miss"),
        ("on", {"temperature": 0.7, "cache": False}, "off"),
        ("on", {"hints": Hints(private=True)}, "off"),
        ("on", {"tools": [{"type": "function"}]}, "off"),
        ("on", {"functions": [{"name": "f"}]}, "off"),
        ("on", {"web_search_options": {"user_location": None}}, "off"),
        ("on", {"tools": []}, "miss"),
        ("on", {"tools": [{"type": "function"}], "cache": True}, "miss"),
        ("deterministic", {"tools": [{"type": "function"}], "headers": {"x-membrain-cache": "on"}}, "miss"),
        ("on", {"n": 2}, "miss"),
    ],
)
async def test_who_may_be_answered_from_here(
    answers: SqliteAnswers, mode: str, more: dict[str, Any], expected: str
) -> None:
    assert word(await House(answers, mode=mode).ask(**more)) == expected


async def test_the_mode_may_change_while_it_runs(house: House) -> None:
    house.cache.become(Keeping(mode="off"))
    assert word(await house.ask()) == "off"


@pytest.mark.parametrize("action", ["log", "alert", "local", "confirm"])
async def test_where_a_value_was_found_that_was_not_simply_masked_nothing_is_kept(house: House, action: str) -> None:
    class Finds(Stage):
        name = "pii"

        async def enter(self, exchange: Exchange) -> None:
            exchange.findings = (Finding("EMAIL", "a", "redact"), Finding("PERSON", "b", action))

    asked = question()
    await house.go(asked, Finds())
    assert word(asked) == "off"
    assert not may_know(replace(asked, findings=(Finding("EMAIL", "a", "redact"),) * 50), Wish(), "on")
    assert may_know(replace(asked, findings=(Finding("EMAIL", "a", "redact"),) * 49), Wish(), "on")


async def test_a_request_that_nobody_looked_at_is_not_answered_from_here(house: House) -> None:
    assert not may_know(question(), Wish(), "on")
    assert may_know(replace(question(), looked=True), Wish(), "on")
    other = replace(question(), looked=True)
    assert not may_know(replace(other, said=replace(other.said, dialect="messages")), Wish(), "on")


@pytest.mark.parametrize(
    ("headers", "member", "expected"),
    [
        ({}, None, Wish()),
        ({}, "yes", Wish()),
        ({"x-membrain-cache": " true "}, None, Wish(asked=True)),
        ({"x-membrain-cache": ""}, None, Wish(off=True)),
        ({"cache-control": "max-age=60"}, None, Wish(max_age=60)),
        ({"cache-control": 'MAX-AGE="60" , public'}, None, Wish(max_age=60)),
        ({"cache-control": "max-age=-1"}, None, Wish(max_age=0)),
        ({"cache-control": "max-age"}, None, Wish(max_age=0)),
        ({"cache-control": "max-age=soon"}, None, Wish(max_age=0)),
        ({"cache-control": "max-age=60, no-cache"}, None, Wish(max_age=0)),
        ({"cache-control": "no-store"}, True, Wish(asked=True, off=True)),
        ({"cache-control": "no-transform,,="}, None, Wish()),
    ],
)
def test_what_a_request_says_about_it(headers: dict[str, str], member: Any, expected: Wish) -> None:
    assert wish_of(headers, member) == expected


async def test_no_cache_asks_anew_and_what_comes_of_it_is_kept(house: House) -> None:
    await house.ask()
    house.says.text = "New."
    assert word(await house.ask(headers={"cache-control": "no-cache"})) == "miss"
    asked = question()
    assert text_of(await house.go(asked)) == "New."
    assert (word(asked), house.calls) == ("hit", 2)


async def test_max_age_is_the_most_that_an_answer_may_be_old(house: House) -> None:
    await house.ask()
    house.clock.now += 30
    assert word(await house.ask(headers={"cache-control": "max-age=30"})) == "hit"
    house.clock.now += 1
    assert word(await house.ask(headers={"cache-control": "max-age=30"})) == "miss"
    house.clock.now += 86_401
    assert word(await house.ask(headers={"cache-control": "max-age=999999999"})) == "miss"


# -- our own word does not leave


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ('{"cache":true,"model":"m","messages":[{}]}', '{"model":"m","messages":[{}]}'),
        ('{"model":"m","cache" : false , "messages":[{}]}', '{"model":"m",' + '"messages":[{}]}'),
        ('{"model":"m","messages":[{}],\n  "cache":null\n}', '{"model":"m","messages":[{}]}'),
        (r'{"model":"m","messages":[{"cache":true}],"c\u0061che":true}', '{"model":"m","messages":[{"cache":true}]}'),
        ('{"cache":1,"model":"m","messages":[{}],"cache":true}', '{"model":"m","messages":[{}]}'),
    ],
)
async def test_the_member_that_is_ours_is_cut_out_whether_or_not_anything_is_kept(
    answers: SqliteAnswers, body: str, left: str
) -> None:
    for mode in ("off", "on"):
        house = House(answers, mode=mode)
        asked = exchange()
        data = json.loads(body)
        asked.said = replace(asked.said, body=body.encode(), data=data)
        asked.own = replace(asked.said)
        await house.go(asked)
        await house.cache.close()
        assert house.says.heard[0].said.body == left.encode()
        assert house.says.heard[0].said.data == json.loads(left)
        assert asked.own.body == left.encode()
        await answers.clear()


async def test_a_member_of_that_name_which_is_anothers_stays(house: House) -> None:
    asked = question(cache={"no-cache": True})
    body = asked.said.body
    await house.go(asked)
    assert house.says.heard[0].said.body == body


# -- what is kept


@pytest.mark.parametrize(
    "more",
    [
        {"choice": {"finish_reason": "content_filter"}},
        {"choice": {"finish_reason": None}},
        {"choices": []},
        {"error": {"message": "no"}},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_did_not_come_to_its_own_end_is_not_kept(
    house: House, more: dict[str, Any], stream: bool
) -> None:
    house.says.more = more
    if stream and "choices" in more:
        house.says.more = {"choice": {"index": 1}}
    await house.ask(stream=stream)
    assert word(await house.ask(stream=stream)) == "miss"


async def test_fewer_choices_than_were_asked_for_are_not_kept(house: House) -> None:
    await house.ask(n=2)
    assert word(await house.ask(n=2)) == "miss"


async def test_an_answer_from_this_machine_is_not_kept(house: House) -> None:
    house.says.local = True
    await house.ask()
    assert word(await house.ask()) == "miss"
    assert (await house.cache.stats())["entries"] == 0


async def test_an_answer_with_something_private_in_it_is_not_kept(house: House) -> None:
    house.private = {"you"}
    await house.ask()
    await house.ask(stream=True)
    assert (await house.cache.stats())["entries"] == 0
    house.private = set()
    await house.ask()
    assert (await house.cache.stats())["entries"] == 1


async def test_every_text_of_an_answer_is_looked_at_names_of_members_too(house: House) -> None:
    call = {"id": "t", "type": "function", "function": {"name": "mail", "arguments": '{"to":"a"}'}}
    message = {"content": "Said.", "thinking": "Thought.", "tool_calls": [call], "odd": {"Named": "Told."}}
    house.says.more = {"choice": {"message": message}, "citations": ["Cited."]}
    await house.ask()
    assert {"Said.", "Thought.", '{"to":"a"}', "mail", "Named", "Told.", "Cited."} <= set(house.looked_at)
    assert "gpt-4o-2024" not in house.looked_at


async def test_if_nobody_knows_whether_it_is_private_it_is_not_kept(house: House, caplog: Any) -> None:
    class Broken(House):
        async def _private(self, project: str, texts: Sequence[str]) -> bool:
            raise RuntimeError(texts[0])

    broken = Broken(house.answers)
    with caplog.at_level(logging.WARNING, "membrain.cache"):
        await broken.ask()
    assert (await broken.cache.stats())["entries"] == 0
    assert [record.getMessage() for record in caplog.records] == ["An answer could not be kept: RuntimeError."]


async def test_labels_that_an_earlier_room_noted_in_the_answer_forbid_to_keep_it(house: House) -> None:
    class Notes(Stage):
        name = "pii"

        async def closing(self, exchange: Exchange) -> Chunk | None:
            exchange.answer_labels = ("EMAIL",)
            return None

    await house.go(question(), Notes())
    await house.cache.close()
    assert (await house.cache.stats())["entries"] == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_over_its_bound_is_not_kept(answers: SqliteAnswers, stream: bool) -> None:
    house = House(answers, answer_bytes=2000)
    house.says.text = "x" * 2000
    await house.ask(stream=stream)
    house.says.text = "x" * 1000
    await house.ask("short", stream=stream)
    assert (await house.cache.stats())["entries"] == 1
    assert word(await house.ask("short")) == "hit"


async def test_a_long_answer_is_kept_too(house: House) -> None:
    house.says.text = "Long. " * 20_000
    await house.ask(stream=True)
    asked = question()
    assert text_of(await house.go(asked)) == house.says.text
    assert word(asked) == "hit"


async def test_an_answer_that_another_room_cut_is_not_kept(house: House) -> None:
    class Cuts(Stage):
        name = "budget"

        def outgoing(self, exchange: Exchange, chunk: Chunk) -> Chunk:
            exchange.cut = BudgetExceeded("Enough.")
            return chunk

    asked = question(stream=True)
    await house.go(asked, Cuts())
    await house.cache.close()
    assert asked.outcome is Outcome.FAILED
    assert (await house.cache.stats())["entries"] == 0


@pytest.mark.parametrize(("most", "end", "expected"), [(9, "length", 0), (9, "stop", 1), (None, "length", 1)])
async def test_an_answer_that_ended_where_our_own_limit_was_is_not_kept(
    house: House, most: int | None, end: str, expected: int
) -> None:
    class Limits(Stage):
        name = "budget"

        async def enter(self, exchange: Exchange) -> None:
            exchange.most_tokens = most

    house.says.more = {"choice": {"finish_reason": end}}
    await house.go(question(), Limits())
    await house.cache.close()
    assert (await house.cache.stats())["entries"] == expected


async def test_what_is_put_back_further_out_is_neither_kept_nor_given_to_others(house: House) -> None:
    class Restores(Stage):
        name = "pii"

        def outgoing(self, exchange: Exchange, chunk: Chunk) -> Chunk:
            chunk.raw = chunk.raw.replace(b"EMAIL_1", exchange.user.encode())
            return chunk

    house.says.text = "Write to EMAIL_1."
    for user, expected in (("a@x", "miss"), ("b@x", "hit"), ("c@x", "hit")):
        asked = question()
        asked.user = user
        assert text_of(await house.go(asked, Restores())) == f"Write to {user}."
        assert word(asked) == expected
        await house.cache.close()


# -- who waits for whom


async def together(house: House, count: int, **more: Any) -> list[asyncio.Task[list[bytes]]]:
    """Many equal requests at once, all on their way."""
    house.says.go.clear()
    tasks = [asyncio.create_task(house.go(question(**more))) for _ in range(count)]
    await house.asked(1)
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hundred_equal_requests_at_once_make_one_call(house: House, stream: bool) -> None:
    tasks = await together(house, 100, stream=stream)
    house.says.go.set()
    async with asyncio.timeout(5):
        told = await asyncio.gather(*tasks)
    assert house.calls == 1
    assert {text_of(raw) for raw in told} == {"Hello, you."}
    await house.cache.close()
    assert (house.cache.hits, house.cache.misses) == (99, 1)
    assert not house.cache._flights
    assert not house.cache._making


async def test_if_who_asked_for_all_hangs_up_the_next_in_line_asks(house: House) -> None:
    tasks = await together(house, 10, stream=True)
    tasks[0].cancel()
    await house.asked(2)
    house.says.go.set()
    async with asyncio.timeout(5):
        told = await asyncio.gather(*tasks[1:])
    assert {text_of(raw) for raw in told} == {"Hello, you."}
    assert house.calls == 2


async def test_if_the_answer_failed_each_asks_for_itself(house: House) -> None:
    class Fails(Says):
        async def _answer(self, exchange: Exchange) -> Any:
            first = len(self.heard) == 1
            await self.go.wait()
            if first:
                raise ProviderFailed("Broke.", provider="openai")
            yield Chunk(json.dumps(completion()).encode(), whole=True)

    house.says = Fails()
    tasks = await together(house, 5)
    house.says.go.set()
    async with asyncio.timeout(5):
        told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(each, ProviderFailed) for each in told] == [True, False, False, False, False]
    assert house.calls == 5


async def test_an_answer_that_will_not_be_kept_lets_the_others_go_at_its_first_word(house: House) -> None:
    house.says.local = True
    tasks = await together(house, 5, stream=True)
    await house.asked(5)
    house.says.go.set()
    await asyncio.gather(*tasks)


async def test_who_waits_and_hangs_up_leaves_no_trace(house: House) -> None:
    tasks = await together(house, 10)
    for task in tasks[1:9]:
        task.cancel()
    await asyncio.wait(tasks[1:9])
    house.says.go.set()
    async with asyncio.timeout(5):
        assert text_of(await tasks[9]) == text_of(await tasks[0])
    await house.cache.close()
    assert house.calls == 1
    assert not house.cache._flights
    assert not house.cache._making


async def test_nobody_waits_for_ever(house: House) -> None:
    house.cache._patience = 0.05
    tasks = await together(house, 3)
    await house.asked(3)
    house.says.go.set()
    await asyncio.gather(*tasks)


async def test_who_wants_a_younger_answer_than_the_one_that_all_were_told_asks(house: House) -> None:
    await house.ask()
    house.clock.now += 100
    tasks = [asyncio.create_task(house.go(question())) for _ in range(3)]
    young = asyncio.create_task(house.go(question(headers={"cache-control": "max-age=10"})))
    await asyncio.gather(*tasks, young)
    assert house.calls == 2


async def test_other_projects_wait_for_nobody(house: House) -> None:
    house.says.go.clear()
    tasks = [asyncio.create_task(house.go(question(caller=Caller(project=name)))) for name in "abc"]
    await house.asked(3)
    house.says.go.set()
    await asyncio.gather(*tasks)


async def test_what_comes_while_the_answer_is_being_kept_is_answered_with_it(answers: SqliteAnswers) -> None:
    slow = asyncio.Event()

    class Slow(SqliteAnswers):
        def keep(self, *given: Any, **more: Any) -> Any:
            async def later() -> bool:
                await slow.wait()
                return await answers.keep(*given, **more)

            return asyncio.ensure_future(later())

    house = House(Slow(answers._writer, answers._path))
    await house.go(question())
    asked = question()
    await house.go(asked)
    assert (word(asked), house.calls) == ("hit", 1)
    slow.set()
    await house.cache.close()
    assert (await answers.held()).entries == 1
    house.answers.close()


# -- faults


class Broken(SqliteAnswers):
    """A store that can neither be read nor written."""

    def __init__(self) -> None:
        self.asked = 0

    async def get(self, key: bytes, since: float) -> KeptAnswer | None:
        self.asked += 1
        raise GuardFailed("The kept answers cannot be read: the disk reports an error.")

    def keep(self, *given: Any, **more: Any) -> Any:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        future.set_exception(GuardFailed("The kept answers cannot be written: the disk is full."))
        return future

    def expire(self, since: float) -> None:
        return None


async def test_a_store_that_fails_costs_no_answer_and_is_told_once(caplog: Any) -> None:
    house = House(Broken())
    with caplog.at_level(logging.WARNING, "membrain.cache"):
        for _ in range(3):
            asked = question("secret question")
            assert text_of(await house.go(asked)) == "Hello, you."
            assert word(asked) == "miss"
            await house.cache.close()
    assert house.calls == 3
    assert [record.getMessage() for record in caplog.records] == [
        "The kept answers cannot be read: the disk reports an error. Requests are answered anew meanwhile."
    ]


async def test_an_answer_that_was_damaged_where_it_was_kept_is_asked_anew(house: House) -> None:
    asked = replace(question(), looked=True)
    key = key_of(SECRET, asked, "v1")
    assert key is not None
    await house.answers.keep(key, KeptAnswer("default", b'{"choi', NOON, NOON), room=1 << 20, since=0)
    assert word(await house.ask()) == "miss"
    assert word(await house.ask()) == "hit"


async def test_nothing_is_answered_before_it_is_on_record_that_it_was_asked(house: House) -> None:
    await house.ask()
    for written, error in ((None, AuditUnavailable), (asyncio.get_running_loop().create_future(), GuardFailed)):

        class Forgets(Stage):
            name = "audit"
            future = written

            async def enter(self, exchange: Exchange) -> None:
                exchange.written = self.future

        if written is not None:
            written.set_exception(GuardFailed("Full."))
        asked = question()
        with pytest.raises(error):
            await house.go(asked, Forgets())
        assert not asked.cached


async def test_hanging_up_on_a_known_answer_ends_it(house: House) -> None:
    house.says.text = "Long. " * 5000
    await house.ask()
    asked = question(stream=True)
    async with aclosing(house.running(asked)) as answer:
        await anext(answer)
    assert asked.outcome is Outcome.ABORTED


# -- the key


def test_the_key_hides_what_was_asked() -> None:
    asked = question("secret")
    key = key_of(SECRET, asked, "v")
    assert key is not None
    assert len(key) == 32
    assert key != key_of(b"t" * 32, asked, "v")


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"m","messages":[{"role":"user","content":"a"}],"temperature":0,"temperature":1}',
        '{"model":"m","messages":[{"role":"user","content":"b"}],"messages":[{"role":"user","content":"a"}]}',
        '{"model":"m","messages":[{"role":"user","content":"b","content":"a"}]}',
        r'{"model":"m","messages":[{"role":"user","content":"a"}],"user":"x\\","user":"\u005c"}',
        r'{"model":"m","messages":[{"role":"user","content":"\u0022\u0022\u0022"}],"s":"\\","s":"\""}',
    ],
)
def test_a_body_that_says_something_twice_has_no_key(body: str) -> None:
    asked = exchange()
    asked.said = replace(asked.said, body=body.encode(), data=json.loads(body))
    assert key_of(SECRET, asked, "v") is None


STRINGS = st.text(alphabet='ab"\\/\u2028é\n', max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(STRINGS, JSON, max_size=4), st.booleans(), st.sampled_from([None, 1, 3]))
def test_however_a_body_is_spelt_it_has_the_same_key(
    more: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    data = {"model": "m", "messages": [{"role": "user", "content": "x"}], **more}
    asked, other = exchange(), exchange()
    asked.said = replace(asked.said, body=json.dumps(data).encode(), data=data)
    turned = dict(reversed(data.items()))
    body = json.dumps(turned, ensure_ascii=ascii_only, indent=indent).replace("/", "\\/").encode()
    other.said = replace(other.said, body=body, data=json.loads(body))
    assert key_of(SECRET, asked, "v") == key_of(SECRET, other, "v") is not None


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(STRINGS, JSON, min_size=1, max_size=4), st.data())
def test_however_a_member_is_said_twice_it_has_no_key(more: dict[str, Any], draw: st.DataObject) -> None:
    name = draw.draw(st.sampled_from(sorted(more)))
    pairs = [(json.dumps(key), json.dumps(value)) for key, value in more.items()]
    pairs.insert(draw.draw(st.integers(0, len(pairs))), (json.dumps(name), json.dumps(draw.draw(JSON))))
    body = "{" + ",".join(f"{key}:{value}" for key, value in pairs) + "}"
    asked = exchange()
    asked.said = replace(asked.said, body=body.encode(), data=json.loads(body))
    assert key_of(SECRET, asked, "v") is None
