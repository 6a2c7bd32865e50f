"""What the cache has to hold: nobody is given another's values, no value is kept, and one question costs once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrain.dialects import replay
from membrain.dialects.base import Chunk
from membrain.exchange import Exchange, Stage
from membrain.holds import Holds
from membrain.masking.guard import Guard
from membrain.pii.detector import Detector
from membrain.pii.policy import Mode, Policies
from membrain.pipeline import Pipeline
from membrain.records import Caller, Hints, Rights, Tokens
from membrain.sent import Sent
from membrain.stages.cache import Cache, key_of
from membrain.stages.pii import Pii
from membrain.stores.answers import SqliteAnswers
from membrain.stores.writer import Writer
from tests.fakes import exchange

pytestmark = pytest.mark.anyio

SECRET = b"c" * 32
A, B = "anna.kowalska@corp-a.net", "boris.meyer@corp-b.org"
CARD = "4242 4242 4242 4242"
SEED = "new.canary@somewhere-else.com"


class Recorded(Stage):
    """The audit, as far as it matters here."""

    name = "audit"

    async def enter(self, exchange: Exchange) -> None:
        exchange.written = asyncio.get_running_loop().create_future()
        exchange.written.set_result(None)


class Model(Stage):
    """A model elsewhere that repeats what it was told, placeholders and all, and adds something of its own."""

    name = "dispatch"

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.adds = ""
        self.go = asyncio.Event()
        self.go.set()

    async def enter(self, exchange: Exchange) -> None:
        self.heard.append(exchange.said.body)
        exchange.answer = self._answer(exchange)

    async def _answer(self, exchange: Exchange) -> AsyncIterator[Any]:
        await self.go.wait()
        text = f"You said: {exchange.said.data['messages'][-1]['content']}{self.adds}"
        call = {"id": "t1", "type": "function", "function": {"name": "mail", "arguments": json.dumps({"text": text})}}
        message = {"role": "assistant", "content": text, "tool_calls": [call]}
        body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "gpt-4o"}
        body |= {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        exchange.tokens = Tokens(9, 9)
        if not exchange.said.stream:
            yield Chunk(json.dumps(body).encode(), whole=True)
            return
        for event in replay.events(body, usage=False):
            yield Chunk(event)


class House:
    """Recording, masking with the real detector, the cache with a real store, and a model."""

    def __init__(self, path: Path, detector: Detector, **guard: Any) -> None:
        self.path = path
        self.detector = detector
        self.policies = Policies("standard", guard.pop("on_find", "redact"), ())
        self.writer = Writer(path)
        self.answers = SqliteAnswers(self.writer, path)
        pii = Pii(Holds(), Sent())
        pii.become(Guard(detector, self.policies, b"k" * 32, **guard))
        self.model = Model()
        self.cache = Cache(self.answers, SECRET, lambda _: "policy 1", self._private)
        self.pipeline = Pipeline([Recorded(), pii, self.cache, self.model])

    async def _private(self, project: str, texts: Sequence[str]) -> bool:
        policy = self.policies.of(project)
        spans = (span for text in texts for span in self.detector.scan_by_rule(text))
        return any(policy.mode(span) is not Mode.PASS for span in spans)

    async def ask(self, text: str, project: str = "default", **more: Any) -> tuple[str, str]:
        """What came back, as a text, and what the header says."""
        asked = exchange(text, **{"temperature": 0, **more})
        asked.caller = Caller(project=project)
        raw = b"".join([chunk.raw async for chunk in self.pipeline.run(asked)])
        body = replay.whole(raw) if asked.said.stream else json.loads(raw)
        (choice,) = body["choices"]
        told = json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])["text"]
        assert told == choice["message"]["content"]
        return told, asked.headers["x-membrain-cache"]

    def dump(self) -> bytes:
        """Every byte of the store."""
        return b"".join(each.read_bytes() for each in sorted(self.path.parent.glob(f"{self.path.name}*")))

    async def close(self) -> None:
        await self.cache.close()
        self.answers.close()
        await asyncio.to_thread(self.writer.close)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(names=False)


@pytest.fixture
async def house(tmp_path: Path, detector: Detector) -> AsyncIterator[House]:
    house = House(tmp_path / "audit.db", detector)
    yield house
    await house.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_two_people_with_one_question_get_only_their_own_values(house: House, stream: bool) -> None:
    text = "Write to {} and charge " + CARD
    for _ in range(2):
        for mine, other in ((A, B), (B, A)):
            told, _word = await house.ask(text.format(mine), stream=stream)
            assert told == "You said: " + text.format(mine)
            assert other not in told
            await house.cache.close()
    told, word = await house.ask(text.format(A), stream=not stream)
    assert (told, word) == ("You said: " + text.format(A), "hit")
    assert len(house.model.heard) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_no_value_is_anywhere_in_the_store(house: House, stream: bool) -> None:
    await house.ask(f"I am {A}, card {CARD}.", stream=stream)
    house.model.adds = f" Write to {SEED}."
    await house.ask("Who is there?", stream=stream)
    await house.cache.close()
    held = await house.answers.held()
    dump = house.dump()
    assert held.entries == 1
    assert b"You said" in dump
    assert b"corp-a" not in dump
    for canary in (A, CARD, CARD.replace(" ", ""), SEED, SEED.partition("@")[0], "Who is there"):
        assert canary.encode() not in dump


@pytest.mark.parametrize("on_find", ["log", "alert"])
async def test_where_values_are_not_masked_none_is_kept(tmp_path: Path, detector: Detector, on_find: str) -> None:
    house = House(tmp_path / "audit.db", detector, on_find=on_find)
    try:
        assert await house.ask(f"I am {A}.") == (f"You said: I am {A}.", "off")
        await house.cache.close()
        assert A.encode() not in house.dump()
    finally:
        await house.close()


async def test_even_where_nobody_asks_what_an_answer_holds_nothing_private_of_it_is_kept(
    tmp_path: Path, detector: Detector
) -> None:
    house = House(tmp_path / "audit.db", detector, answers="pass")
    try:
        house.model.adds = f" Write to {SEED}."
        await house.ask("Hello")
        await house.cache.close()
        assert SEED.encode() not in house.dump()
    finally:
        await house.close()


@pytest.mark.parametrize("answers", ["redact", "block", "flag"])
async def test_however_answers_are_looked_at_a_known_one_is_told_and_restored(
    tmp_path: Path, detector: Detector, answers: str
) -> None:
    house = House(tmp_path / "audit.db", detector, answers=answers)
    try:
        for stream, word in ((True, "miss"), (True, "hit"), (False, "hit")):
            assert await house.ask(f"I am {A}.", stream=stream) == (f"You said: I am {A}.", word)
            await house.cache.close()
    finally:
        await house.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hundred_at_once_make_one_call_and_each_has_the_values_back(house: House, stream: bool) -> None:
    house.model.go.clear()
    tasks = [asyncio.create_task(house.ask(f"I am {A}.", stream=stream)) for _ in range(100)]
    await asyncio.sleep(0.1)
    house.model.go.set()
    async with asyncio.timeout(10):
        told = await asyncio.gather(*tasks)
    assert {text for text, _ in told} == {f"You said: I am {A}."}
    assert sorted(word for _, word in told) == ["hit"] * 99 + ["miss"]
    assert len(house.model.heard) == 1


async def test_one_value_in_two_projects_is_two_questions(house: House) -> None:
    for project in ("web", "shop"):
        for word in ("miss", "hit"):
            assert await house.ask(f"I am {A}.", project) == (f"You said: I am {A}.", word)
            await house.cache.close()


# -- the key


def asked(project: str = "web", hints: Hints | None = None, rights: Rights | None = None, **more: Any) -> Exchange:
    made = exchange(hints=hints, **{"temperature": 0, **more})
    made.caller = Caller(project=project, rights=rights or Rights())
    return made


def keyed(made: Exchange, version: str = "v") -> bytes:
    key = key_of(SECRET, made, version)
    assert key is not None
    return key


def test_ten_thousand_near_duplicates_across_projects_never_meet() -> None:
    keys: dict[bytes, tuple[str, int]] = {}
    for number in range(2500):
        for project in ("web", "web2", "we", "Web"):
            text = f"What is {number} + 1?" if number % 2 else f"What is {number}+ 1?"
            made = exchange(text, temperature=0)
            made.caller = Caller(project=project)
            keys[keyed(made)] = (project, number)
    assert len(keys) == 10_000


async def test_projects_do_not_meet_in_the_store_either(house: House) -> None:
    for number in range(40):
        assert (await house.ask(f"What is {number} + 1?", "web"))[1] == "miss"
    await house.cache.close()
    for number in range(40):
        assert (await house.ask(f"What is {number} + 1?", "shop"))[1] == "miss"
        assert (await house.ask(f"What is {number} + 1?", "web"))[1] == "hit"


PARTS: dict[str, st.SearchStrategy[Any]] = {
    "project": st.sampled_from(["web", "web1", "we", ""]),
    "version": st.sampled_from(["v", "v1", "1", ""]),
    "model": st.sampled_from(["gpt-4o", "gpt-4o-mini"]),
    "text": st.sampled_from(["Hello", "Hello ", '","', "b1"]),
    "private": st.booleans(),
    "tier": st.sampled_from([None, "fast", "best"]),
    "max_cost": st.sampled_from([None, 0.01]),
    "models": st.sampled_from([(), ("gpt-4o",), ("gpt-4o", "gpt-*")]),
    "header": st.sampled_from([None, "assistants=v2"]),
    "params": st.sampled_from([{}, {"seed": 1}, {"seed": 2}, {"max_tokens": 9}, {"stop": ["a"]}, {"top_p": 0.5}]),
}
INDIFFERENT = st.fixed_dictionaries(
    {},
    optional={
        "stream": st.booleans(),
        "stream_options": st.just({"include_usage": True}),
        "cache": st.just(True),
        "user": st.sampled_from(["a", "b"]),
        "safety_identifier": st.just("s"),
        "metadata": st.just({"run": "7"}),
        "prompt_cache_key": st.just("p"),
    },
)


def made_of(parts: dict[str, Any], around: dict[str, Any]) -> bytes:
    hints = Hints(parts["tier"], parts["private"], parts["max_cost"])
    made = exchange(parts["text"], parts["model"], hints, temperature=0, **parts["params"], **around)
    made.caller = Caller(
        project=parts["project"], name=str(around), user=str(around), rights=Rights(models=parts["models"])
    )
    made.forwarded = {"openai-beta": parts["header"]} if parts["header"] else {}
    made.forwarded["idempotency-key"] = str(around)
    return keyed(made, parts["version"])


@settings(max_examples=200, deadline=None)
@given(st.fixed_dictionaries(PARTS), st.fixed_dictionaries(PARTS), INDIFFERENT, INDIFFERENT)
def test_the_key_differs_with_whatever_may_matter_and_with_nothing_else(
    one: dict[str, Any], other: dict[str, Any], around: dict[str, Any], elsewhere: dict[str, Any]
) -> None:
    assert (made_of(one, around) == made_of(other, elsewhere)) is (one == other)
    assert made_of(one, around) == made_of(one, elsewhere)
    for name in PARTS:
        if one[name] != other[name]:
            assert made_of(one, around) != made_of({**one, name: other[name]}, around)


def test_what_is_asked_in_another_order_of_members_is_the_same() -> None:
    one = asked()
    other = replace(one, said=replace(one.said, body=json.dumps(one.said.data, indent=2).encode()))
    assert keyed(one) == keyed(other)
