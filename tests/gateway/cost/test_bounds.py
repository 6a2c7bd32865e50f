"""The worst case is one: nothing that is asked costs more, whatever the answer and however the request is made."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.cost import bounds
from membrain.cost.prices import Price, Prices
from membrain.records import Tokens

PRICES = Prices(
    {
        "plain": Price(1.0, 2.0),
        "writes-dear": Price(1.0, 2.0, cached=0.1, written=1.25),
        "talks-free": Price(3.0, 0.0),
        "free": Price(0.0, 0.0),
    },
    library=False,
)

CHAT = ("max_completion_tokens", "max_tokens")


def body_of(data: Any) -> bytes:
    return json.dumps(data).encode()


def read(data: dict[str, Any], context: int | None = None) -> int:
    """The bound, less what every request has: its own bytes, and what providers add."""
    body = body_of(data)
    return bounds.input_tokens(body, data, "openai", context) - len(body) - bounds.ADDED


def asks(*parts: Any) -> dict[str, Any]:
    return {"model": "plain", "messages": [{"role": "user", "content": list(parts)}]}


def picture(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


# --- what is read


def test_a_token_is_at_least_a_byte() -> None:
    data = {"model": "plain", "messages": [{"role": "user", "content": "naïve 你好"}]}
    body = json.dumps(data, ensure_ascii=False).encode()
    assert bounds.input_tokens(body, data, "openai") == len(body) + bounds.ADDED


def test_what_a_provider_adds_of_its_own_is_counted() -> None:
    data: dict[str, Any] = {"messages": []}
    bare = bounds.input_tokens(b"", data, "openai")
    for name in ("tools", "functions", "response_format"):
        assert bounds.input_tokens(b"", {**data, name: [{}]}, "openai") == bare + bounds.ADDED_FOR_TOOLS
        assert bounds.input_tokens(b"", {**data, name: []}, "openai") == bare
    assert bounds.input_tokens(b"", data, "claude_cli") == bare + bounds.ADDED_BY["claude_cli"]


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_picture_costs_the_same_whatever_its_bytes(size: int) -> None:
    """A blank one of few bytes is charged by its width and height like any other."""
    url = "data:image/png;base64," + "A" * size
    assert read(asks(picture(url))) == bounds.PICTURE - len(url)


def test_a_picture_that_the_provider_fetches_counts_too() -> None:
    assert read(asks(picture("https://example.org/a.png"), picture("https://example.org/b.png"))) == 2 * bounds.PICTURE


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 70_000}},
        {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 70_000},
    ],
)
def test_pictures_in_other_dialects_words_are_pictures(part: dict[str, Any]) -> None:
    assert bounds.PICTURE - 71_000 < read(asks(part)) <= bounds.PICTURE - 70_000


def test_a_picture_in_the_answer_of_a_tool_is_one_too() -> None:
    result = {"type": "tool_result", "content": [{"type": "text", "text": "Look"}, picture("https://example.org/a")]}
    assert read(asks(result)) == bounds.PICTURE


def test_text_that_hides_in_a_picture_is_counted_as_text() -> None:
    """Otherwise a megabyte of prompt would pass for one picture."""
    assert read(asks({"type": "image", "text": "data:" + "A" * 1_000_000})) == bounds.PICTURE
    assert read({"messages": [{"role": "user", "type": "image", "content": "data:" + "A" * 1_000_000}]}) == 0


def test_a_document_costs_its_bytes_but_no_less_than_a_picture_and_no_more_than_a_model_reads() -> None:
    def document(size: int) -> dict[str, Any]:
        return {"type": "file", "file": {"filename": "a.pdf", "file_data": "A" * size}}

    assert read(asks(document(10))) == bounds.PICTURE - 10
    assert read(asks(document(120_000))) == 0
    assert read(asks(document(3_000_000))) == bounds.DOCUMENT - 3_000_000
    assert read(asks(document(3_000_000)), context=200_000) == 200_000 - 3_000_000


def test_a_document_that_only_the_provider_has_may_fill_the_model() -> None:
    part = {"type": "file", "file": {"file_id": "file-1"}}
    assert read(asks(part)) == bounds.DOCUMENT
    assert read(asks(part), context=128_000) == 128_000


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["image_url", "file", "data"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "content", "url", "data", "image_url", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(ODD, ODD, ODD)
def test_whatever_a_request_holds_it_has_a_bound(messages: Any, content: Any, length: Any) -> None:
    """A request may be of any shape; the upstream says what is wrong with it."""
    for said in (messages, [messages], [{"content": content}], [{"content": [content]}]):
        data = {"messages": said, "n": length, "max_tokens": length, "thinking": messages}
        body = body_of(data)
        assert bounds.input_tokens(body, data, "openai") >= bounds.ADDED
        assert bounds.output_tokens(data, CHAT, "openai") > 0
        bounds.says_length(data, CHAT)


# --- what is written


@pytest.mark.parametrize(
    ("data", "provider", "context", "tokens"),
    [
        ({"max_tokens": 100}, "openai", 128_000, 100),
        ({"max_completion_tokens": 200, "max_tokens": 100}, "openai", 128_000, 200),
        ({"max_completion_tokens": 100, "max_tokens": 200}, "anthropic", 128_000, 200),
        ({"max_tokens": 100, "n": 3}, "openai", None, 300),
        ({}, "openai", 128_000, 128_000),
        ({"n": 2}, "openai", None, 2 * bounds.UNSAID),
        ({}, "anthropic", 200_000, bounds.ANTHROPIC),
        ({"thinking": {"type": "enabled", "budget_tokens": 9_000}}, "anthropic", None, bounds.ANTHROPIC + 9_000),
        ({"max_output_tokens": 5}, "anthropic", None, bounds.ANTHROPIC),
        ({"max_output_tokens": 5}, "openai", None, bounds.UNSAID),
        ({"max_tokens": "5"}, "openai", 128_000, 128_000),
        ({"max_tokens": True, "n": True}, "openai", None, bounds.UNSAID),
        ({"max_tokens": -5, "n": -3}, "openai", None, bounds.UNSAID),
        ({"max_tokens": None}, "openai", None, bounds.UNSAID),
    ],
)
def test_an_answer_is_as_long_as_the_request_says_or_as_the_model_can_write(
    data: dict[str, Any], provider: str, context: int | None, tokens: int
) -> None:
    assert bounds.output_tokens(data, CHAT, provider, context) == tokens


def test_the_bound_of_anthropic_is_what_the_translation_asks_for() -> None:
    from membrain.dialects.chat_to_messages import DEFAULT_MAX_TOKENS, request

    assert bounds.ANTHROPIC == DEFAULT_MAX_TOKENS
    for more in ({}, {"max_tokens": 7}, {"max_tokens": 9, "max_completion_tokens": 7}, {"max_output_tokens": 7}):
        data = {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "Hi"}], **more}
        assert request(data)["max_tokens"] <= bounds.output_tokens(data, CHAT, "anthropic")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, False),
        ({"max_tokens": None}, False),
        ({"max_tokens": 5}, True),
        ({"max_completion_tokens": 5}, True),
        ({"max_tokens": "nonsense"}, True),
        ({"thinking": {"budget_tokens": 1024}}, True),
        ({"thinking": {"type": "disabled"}}, False),
    ],
)
def test_a_request_says_how_long_its_answer_may_be_or_leaves_it_open(data: dict[str, Any], says: bool) -> None:
    assert bounds.says_length(data, CHAT) is says


@pytest.mark.parametrize(
    ("context", "tokens"), [(None, 4_096), (16_385, 4_096), (128_000, 4_096), (200_000, 16_384), (1_000_000, 16_384)]
)
def test_no_model_is_asked_to_stop_where_it_would_refuse_to(context: int | None, tokens: int) -> None:
    assert bounds.askable(context) == tokens


# --- what it costs


def test_the_worst_is_at_the_dearest_rate() -> None:
    assert bounds.worst_cost(PRICES, "plain", "openai", 1000, 1000) == 3000
    assert bounds.worst_cost(PRICES, "writes-dear", "openai", 1000, 1000) == 3250
    assert bounds.worst_cost(PRICES, "free", "openai", 1000, 1000) == 0


def test_what_nobody_knows_is_not_free() -> None:
    assert bounds.worst_cost(PRICES, "unheard-of", "openai", 1000, 1000) is None
    assert bounds.longest(PRICES, "unheard-of", "openai", 1000, 10**9) == 0


@given(
    st.sampled_from(["plain", "writes-dear", "talks-free", "free"]),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.data(),
)
def test_no_mixture_of_tokens_costs_more(model: str, given: int, said: int, data: st.DataObject) -> None:
    worst = bounds.worst_cost(PRICES, model, "openai", given, said)
    used, told = data.draw(st.integers(0, given)), data.draw(st.integers(0, said))
    written = data.draw(st.integers(0, used))
    cached = data.draw(st.integers(0, used - written))
    reasoning = data.draw(st.integers(0, told))
    cost = PRICES.cost(model, "openai", Tokens(used, told, cached, reasoning, written=written))
    assert cost is not None
    assert worst is not None
    assert cost <= worst


@given(st.sampled_from(["plain", "writes-dear", "talks-free", "free"]), st.integers(0, 10**6), st.integers(0, 10**7))
def test_what_is_affordable_is_paid_for_and_hardly_more_would_be(model: str, given: int, micros: int) -> None:
    longest = bounds.longest(PRICES, model, "openai", given, micros)
    if longest > 0:
        worst = bounds.worst_cost(PRICES, model, "openai", given, longest)
        assert worst is not None
        assert worst <= micros
    longer = bounds.worst_cost(PRICES, model, "openai", given, max(longest, 0) + max(longest // 1000, 2))
    assert longer is not None
    assert longer > micros or longest >= 1_000_000


def test_what_a_provider_keeps_of_earlier_questions_is_charged_as_if_it_were_sent() -> None:
    """Nobody here knows how much that is, so it is all that the model can read."""
    for name, value in (("previous_response_id", "resp_1"), ("conversation", "conv_1"), ("prompt", {"id": "pmpt_1"})):
        data = {"input": "Hi", name: value}
        assert bounds.input_tokens(b"", data, "openai", 128_000) == 128_000
        assert bounds.input_tokens(b"", data, "openai") == bounds.DOCUMENT
    assert bounds.input_tokens(b"", {"prompt": "Say hi"}, "openai") == bounds.ADDED


def test_pictures_in_the_items_of_a_response_count_too() -> None:
    shown = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    said = {"input": [{"role": "user", "content": [shown]}, {"type": "function_call_output", "output": [shown]}]}
    assert bounds.input_tokens(b"", said, "openai") == bounds.ADDED + 2 * (bounds.PICTURE - len(shown["image_url"]))


def test_each_dialect_is_bound_by_its_own_word_for_the_length() -> None:
    data = {"max_output_tokens": 100, "max_tokens": 7}
    assert bounds.output_tokens(data, ("max_output_tokens",), "openai") == 100
    assert bounds.output_tokens(data, CHAT, "openai") == 7
    assert bounds.output_tokens(data, (), "openai") == 0
    assert bounds.says_length({}, ())


def test_several_prompts_and_answers_that_are_not_shown_are_written_all_the_same() -> None:
    assert bounds.answers({"prompt": ["a", "b", "c"], "n": 2, "best_of": 5}) == 15
    assert bounds.answers({"prompt": "a"}) == bounds.answers({"prompt": []}) == 1
