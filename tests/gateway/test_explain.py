"""What would become of a request: told before, it is what then happens; nothing is sent for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from membrain.errors import BadRequest
from membrain.explain import COMPLETION, Question
from membrain.records import Explanation, Hints
from tests.served import Served
from tests.sink import Sink

# --- reading


def test_a_name_alone_is_a_question() -> None:
    assert Question.read({}) == Question("auto", Hints())
    assert Question.read({"model": "gpt-4o", "tier": "fast", "private": True, "max_cost": 0.5}) == Question(
        "gpt-4o", Hints("fast", True, 0.5)
    )


def test_a_prompt_makes_a_chat_request_and_our_own_fields_are_no_part_of_it() -> None:
    question = Question.read({"prompt": "Hello", "tier": "fast", "max_tokens": 7})
    assert question.body == {"model": "auto", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 7}


@pytest.mark.parametrize(
    ("field", "value"),
    [("model", 7), ("prompt", []), ("messages", "hi"), ("tier", 1), ("private", "yes"), ("max_cost", "cheap"),
     ("max_cost", -1), ("max_cost", True), ("max_cost", float("nan"))],
)  # fmt: skip
def test_what_makes_no_sense_is_named(field: str, value: Any) -> None:
    with pytest.raises(BadRequest) as refused:
        Question.read({field: value})
    assert refused.value.param == field


# --- through the door


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def served(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home: Path = tmp_path_factory.mktemp("explain") / "home"
    with Served(home, sink, ANTHROPIC_API_KEY="") as gateway:
        yield gateway


def asked(served: Served, **data: Any) -> Explanation:
    answer = served.post("/api/route", data)
    assert answer.status == 200, answer.body
    return Explanation.from_dict(answer.json())


def spoken_to(sink: Sink) -> int:
    return sum(each.method == "POST" for each in sink.requests)


def test_it_is_told_who_would_answer_and_what_that_costs(served: Served, sink: Sink) -> None:
    told = asked(served, model="gpt-4o", prompt="Hello there", max_tokens=1000)
    (first,) = told.candidates
    assert (first.provider, first.model, first.kept, first.reason) == ("openai", "gpt-4o", True, "named")
    assert (first.input_price, first.output_price) == (2.5, 10.0)
    assert first.price_source
    assert told.completion_tokens == 1000
    assert first.cost_micros is not None
    assert first.cost_micros > 10_000
    assert not spoken_to(sink), "nothing was sent"


def test_what_would_be_masked_is_told_in_labels_and_counts(served: Served) -> None:
    prompt = "Write to ottoline.brackenbury@example.org and to t.lind@example.org, card 4111 1111 1111 1111."
    told = asked(served, model="gpt-4o", prompt=prompt)
    assert told.masked["EMAIL"] == 2
    assert told.masked["CREDIT_CARD"] == 1
    assert "ottoline" not in repr(told)
    assert told.completion_tokens == COMPLETION


def test_nobody_is_told_with_the_reason_and_the_command(served: Served) -> None:
    told = asked(served, model="claude-sonnet-4-20250514")
    assert told.error == "provider_not_configured"
    assert told.hint
    assert "keys set" in told.hint
    told = asked(served, model="gpt-4o", private=True)
    assert told.error == "private_refused"
    assert [(each.kept, each.reason) for each in told.candidates] == [(False, "it would leave this machine")]


def test_what_is_told_before_is_what_happens(served: Served) -> None:
    told = asked(served, model="auto", prompt="Hello", tier="fast")
    body = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
    answer = served.post("/v1/chat/completions", body, **{"x-membrain-tier": "fast"})
    assert answer.status == 200
    assert answer.headers["x-membrain-provider"] == next(each.provider for each in told.candidates if each.kept)
    assert answer.headers["x-membrain-attempts"] == "1"
    assert float(answer.headers["x-membrain-cost"]) > 0
    again = asked(served, replay=answer.headers["x-request-id"])
    assert (again.replay, again.answered_provider) == (answer.headers["x-request-id"], "openai")
    assert again.tier == "fast"
    assert again.candidates[0].samples >= 1


def test_models_and_tiers_are_told(served: Served) -> None:
    rows, tiers = served.get("/api/models").json(), served.get("/api/tiers").json()
    assert {row["provider"] for row in rows} >= {"openai", "ollama"}
    llama = next(row for row in rows if row["provider"] == "ollama")
    assert (llama["local"], llama["input_price"]) == (True, 0.0)
    assert tiers["default"] == "balanced"
    assert tiers["fast"][0] == "gpt-4o-mini"


def test_how_fast_a_provider_was_is_known_after_a_restart(sink: Sink, tmp_path: Path) -> None:
    with Served(tmp_path / "home", sink) as gateway:
        for _ in range(3):
            assert gateway.chat("Hello").status == 200
        before = asked(gateway, model="gpt-4o").candidates[0]
        gateway.stop()
        gateway.start()
        after = asked(gateway, model="gpt-4o").candidates[0]
    assert before.samples == after.samples == 3
    assert before.p50_ms == after.p50_ms
