"""The cache in a real gateway: one question costs once, nobody gets another's values, and none is in the store."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from membrain import sse
from membrain.dialects import replay
from tests.served import Answer, Served
from tests.sink import Sink

A, B = "anna.kowalska@corp-a.net", "boris.meyer@corp-b.org"


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def served(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("cached") / "home", sink) as served:
        yield served
        served.assert_sound()


def ask(
    served: Served, text: str, model: str = "gpt-echo", headers: dict[str, str] | None = None, **more: Any
) -> Answer:
    """One chat completion that may be answered from the cache."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, **more}
    answer = served.post("/v1/chat/completions", body, **(headers or {}))
    assert answer.status == 200, answer.body
    return answer


def text_of(answer: Answer) -> str:
    body = replay.whole(answer.body) if answer.body.startswith(b"data:") else answer.json()
    return str(body["choices"][0]["message"]["content"])


def calls(sink: Sink, word: str) -> int:
    """How often the upstream was asked something with *word* in it."""
    return sum(word.encode() in each.body for each in sink.requests)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_the_same_question_twice_costs_once(served: Served, sink: Sink, first: bool, second: bool) -> None:
    word = f"twice-{first}-{second}"
    told = [ask(served, word, stream=stream) for stream in (first, second)]
    assert [each.headers["x-membrain-cache"] for each in told] == ["miss", "hit"]
    assert text_of(told[0]) == text_of(told[1]) == word
    assert calls(sink, word) == 1
    if second:
        assert sse.parse(told[1].body)[-1].data == b"[DONE]"
    else:
        assert told[1].headers["x-membrain-cost"] == "0.000000"
    hit, miss = served.audit(limit=2)
    assert (miss["cached"], hit["cached"], hit["cost_micros"], hit["provider"]) == (False, True, 0, None)
    assert hit["saved_micros"] == miss["cost_micros"]
    assert (hit["prompt_tokens"], hit["completion_tokens"]) == (miss["prompt_tokens"], miss["completion_tokens"])


def test_two_people_with_one_question_get_only_their_own_values(served: Served, sink: Sink) -> None:
    for _ in range(2):
        for mine, other in ((A, B), (B, A)):
            for stream in (False, True):
                answer = ask(served, f"Greet {mine}, please.", stream=stream)
                assert text_of(answer) == f"Greet {mine}, please."
                assert other.encode() not in answer.body
    assert calls(sink, "Greet ") == 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_hundred_at_once_make_one_call(served: Served, sink: Sink, stream: bool) -> None:
    word = f"hundred-{stream}"
    with ThreadPoolExecutor(100) as pool:
        asking = [pool.submit(ask, served, word, "gpt-echo-slow-60", stream=stream) for _ in range(100)]
        told = [each.result(60) for each in asking]
    assert {text_of(each) for each in told} == {word}
    assert sorted(each.headers["x-membrain-cache"] for each in told) == ["hit"] * 99 + ["miss"]
    assert calls(sink, word) == 1


def test_what_a_request_says_about_it_is_obeyed_and_does_not_leave(served: Served, sink: Sink) -> None:
    def word(**more: Any) -> str:
        return ask(served, "obeyed", **more).headers["x-membrain-cache"]

    assert word(temperature=1) == "off"
    assert word(headers={"x-membrain-private": "false", "cache-control": "no-store"}) == "off"
    assert word(temperature=1, cache=True) == "miss"
    assert word(temperature=1, cache=True) == "hit"
    assert word(temperature=1, headers={"x-membrain-cache": "on"}) == "hit"
    assert word(temperature=1, cache=True, headers={"cache-control": "no-cache"}) == "miss"
    assert word(temperature=1, cache=False) == "off"
    assert not any(b'"cache"' in each.body for each in sink.requests)


def test_no_value_is_in_the_store(served: Served, sink: Sink) -> None:
    ask(served, f"I am {A}, remember me by word canary-word.")
    limit = time.monotonic() + 10
    dump = b""
    while b"canary-word" not in dump and time.monotonic() < limit:  # the answer is kept while its end goes out
        dump = b"".join(each.read_bytes() for each in sorted(served.home.rglob("*.db*")))
    assert b"canary-word" in dump
    assert A.encode() not in dump
    assert B.encode() not in dump


def test_the_openai_sdk_is_content_with_a_known_answer(served: Served) -> None:
    key = served.post("/api/keys", {"name": "sdk"}).json()["key"]
    with openai.OpenAI(api_key=key, base_url=f"{served.url}/v1", max_retries=0) as client:
        asked: Any = {
            "model": "gpt-echo",
            "messages": [{"role": "user", "content": f"Tell {A} of the SDK."}],
            "temperature": 0,
        }
        whole = client.chat.completions.create(**asked)
        with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
            for _event in stream:
                continue
            final = stream.get_final_completion()
    assert final.choices[0].message.content == whole.choices[0].message.content == f"Tell {A} of the SDK."
    assert final.usage is not None
    assert whole.usage is not None
    assert final.usage.total_tokens == whole.usage.total_tokens


def test_a_known_answer_outlives_the_gateway(sink: Sink, tmp_path: Path) -> None:
    for expected in ("miss", "hit"):
        with Served(tmp_path / "home", sink) as served:
            assert ask(served, "outlives").headers["x-membrain-cache"] == expected
            assert json.dumps(served.audit(limit=1)[0])
    assert calls(sink, "outlives") == 1
