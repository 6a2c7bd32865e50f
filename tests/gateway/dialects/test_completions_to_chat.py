"""A completions request as a chat: what is carried over, what is refused by name, and that nothing is lost unsaid."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.completion_create_params import CompletionCreateParamsBase

from membrain.dialects.completions_to_chat import LOSSES, REFUSALS, request
from membrain.errors import BadRequest

BODY: dict[str, Any] = {"model": "m", "prompt": "Once upon a time"}
ASKED = [{"role": "user", "content": "Once upon a time"}]
CARRIED: dict[str, Any] = {
    "frequency_penalty": 0.5,
    "logit_bias": {"50256": -100},
    "max_tokens": 16,
    "model": "m",
    "n": 2,
    "presence_penalty": -0.5,
    "seed": 7,
    "stop": ["\n"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 0,
    "top_p": 0.5,
    "user": "u",
}


def test_the_prompt_is_what_the_user_says() -> None:
    assert request(BODY) == {"model": "m", "messages": ASKED}


def test_a_list_of_one_prompt_is_one_prompt() -> None:
    assert request({**BODY, "prompt": ["Once upon a time"]})["messages"] == ASKED


def test_what_both_dialects_have_is_carried_over_as_it_is() -> None:
    assert request({**BODY, **CARRIED}) == {**CARRIED, "messages": ASKED}


def test_a_field_that_nobody_knows_passes() -> None:
    assert request({**BODY, "top_k": 5})["top_k"] == 5


def test_every_field_of_openais_is_carried_or_refused() -> None:
    assert CompletionCreateParamsBase.__annotations__.keys() | {"stream"} == CARRIED.keys() | REFUSALS.keys()


def test_a_null_counts_as_not_sent() -> None:
    nulls: dict[str, Any] = dict.fromkeys([*CARRIED, *REFUSALS])
    assert request({**nulls, **BODY}) == request(BODY)


@pytest.mark.parametrize(
    "more",
    [{"suffix": "The end."}, {"echo": True}, {"best_of": 3}, {"logprobs": 0}, {"logprobs": 5}, {"prompt": ["a", "b"]}],
    ids=str,
)
def test_what_a_chat_cannot_carry_is_refused_by_name(more: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        request({**BODY, **more})
    (name,) = more
    assert refused.value.param == name
    assert REFUSALS[name][1] in refused.value.message


@pytest.mark.parametrize("more", [{"suffix": ""}, {"echo": False}, {"best_of": 1}], ids=str)
def test_what_asks_for_nothing_is_not_refused(more: dict[str, Any]) -> None:
    assert request({**BODY, **more}) == request(BODY)


@pytest.mark.parametrize("prompt", [None, 5, [], [1, 2], [[1, 2]], {}, [None]], ids=str)
def test_a_prompt_that_is_no_text_is_refused(prompt: object) -> None:
    with pytest.raises(BadRequest) as refused:
        request({"model": "m", "prompt": prompt})
    assert refused.value.param == "prompt"


@given(st.text(), st.dictionaries(st.text(max_size=5), st.integers() | st.text(), max_size=3))
def test_the_text_is_not_touched_and_neither_is_the_body(text: str, more: dict[str, Any]) -> None:
    body = {**{name: value for name, value in more.items() if name not in REFUSALS}, "prompt": text}
    before = copy.deepcopy(body)
    assert request(body)["messages"][0]["content"] == text
    assert body == before


def test_what_becomes_of_a_field_is_said_in_a_sentence() -> None:
    assert all(text.endswith(".") for text in (*LOSSES.values(), *(why for _, why in REFUSALS.values())))
