"""Anthropic's answers in chat's words: the same answer whole, streamed, and however the stream is cut."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any, get_args

import pytest
from anthropic.types import StopReason
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion
from openai.types.chat import ChatCompletionChunk as OpenAIChunk

from membrain import sse
from membrain.dialects import chat_to_messages, replay
from membrain.dialects.chat import tokens_of
from membrain.dialects.chat_from_messages import (
    ERROR_STATUS,
    LOSSES,
    STOP_REASONS,
    Events,
    failure,
    usage_from_message,
    whole,
)
from membrain.errors import ProviderFailed
from membrain.records import Tokens

Json = dict[str, Any]
NOW = 1_700_000_000
ASKED: Json = {"model": "claude-sonnet-4", "messages": [{"role": "user", "content": "Hi"}]}

MESSAGE: Json = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-20250514",
    "content": [
        {"type": "thinking", "thinking": "They want both.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "eA=="},
        {"type": "text", "text": "Let me "},
        {
            "type": "text",
            "text": "look.",
            "citations": [
                {
                    "type": "web_search_result_location",
                    "cited_text": "It rains.",
                    "encrypted_index": "RW5j",
                    "title": "Rain",
                    "url": "https://example.org/rain",
                },
                {"type": "char_location", "cited_text": "x", "document_index": 0, "start_char_index": 0},
            ],
        },
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Zürich", "days": 2}},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 10,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 1000,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 3},
        "service_tier": "standard",
    },
}
COMPLETION: Json = {
    "id": "msg_1",
    "object": "chat.completion",
    "created": NOW,
    "model": "claude-sonnet-4-20250514",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Let me look.",
                "refusal": None,
                "reasoning_content": "They want both.",
                "thinking_blocks": [
                    {"type": "thinking", "thinking": "They want both.", "signature": "c2ln"},
                    {"type": "redacted_thinking", "data": "eA=="},
                ],
                "annotations": [
                    {
                        "type": "url_citation",
                        "url_citation": {
                            "start_index": 7,
                            "end_index": 12,
                            "title": "Rain",
                            "url": "https://example.org/rain",
                        },
                    }
                ],
                "tool_calls": [
                    {
                        "id": "toolu_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city":"Zürich","days":2}'},
                    },
                    {"id": "toolu_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
                ],
            },
            "logprobs": None,
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {
        "prompt_tokens": 1110,
        "completion_tokens": 7,
        "total_tokens": 1117,
        "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 3},
    },
}


def message(*content: Json, **fields: Any) -> Json:
    return {**MESSAGE, "content": list(content), "stop_reason": "end_turn", **fields}


def answered(*content: Json, **fields: Any) -> Any:
    return whole(message(*content, **fields), ASKED, created=NOW)["choices"][0]


# -- whole --


def test_an_answer_with_everything_in_it() -> None:
    assert whole(MESSAGE, ASKED, created=NOW) == COMPLETION


def test_openais_own_package_reads_the_answer() -> None:
    read = ChatCompletion.model_validate_json(json.dumps(whole(MESSAGE, ASKED, created=NOW)), strict=True)
    assert read.choices[0].message.tool_calls is not None
    assert read.usage is not None
    assert read.usage.prompt_tokens_details is not None
    assert read.usage.prompt_tokens_details.cached_tokens == 100


def test_content_is_null_only_if_there_are_tool_calls_and_no_text() -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    assert answered(use)["message"]["content"] is None
    assert answered({"type": "text", "text": ""}, use)["message"]["content"] is None
    assert answered()["message"]["content"] == ""
    assert "tool_calls" not in answered()["message"]
    assert "reasoning_content" not in answered()["message"]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
        (None, "stop"),
    ],
)
def test_stop_reasons(reason: str | None, finish: str) -> None:
    assert answered(stop_reason=reason)["finish_reason"] == finish
    assert streamed(message(stop_reason=reason))[-2]["choices"][0]["finish_reason"] == finish


def test_every_stop_reason_of_anthropics_own_package_is_known() -> None:
    assert set(STOP_REASONS) == set(get_args(StopReason))


def test_prompt_tokens_include_the_cached_ones() -> None:
    """Anthropic leaves them out of `input_tokens`; taking the number over would bill the cache twice or never."""
    usage = usage_from_message({"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 30})
    assert usage == {
        "prompt_tokens": 31,
        "completion_tokens": 2,
        "total_tokens": 33,
        "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 0},
    }


def test_no_token_is_lost_on_the_way_to_the_bill() -> None:
    """Reading and writing the cache have prices of their own."""
    told = {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 400}
    assert tokens_of(usage_from_message(told)) == Tokens(431, 2, cached=30, written=400)


def test_nulls_in_usage_count_nothing() -> None:
    counts = {"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": None, "output_tokens_details": None}
    assert usage_from_message(counts)["total_tokens"] == 6


def test_usage_that_was_not_told_is_not_made_up() -> None:
    """Unknown is not zero: somebody would take it for free."""
    silent = {name: value for name, value in MESSAGE.items() if name != "usage"}
    assert "usage" not in whole(silent, ASKED, created=NOW)
    assert [chunk for chunk in streamed(silent) if "usage" in chunk] == []


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"content": None},
        {**MESSAGE, "content": "Hi"},
        {**MESSAGE, "content": ["Hi"]},
        {**MESSAGE, "content": [{"type": "text"}]},
        {**MESSAGE, "content": [{"type": "tool_use", "id": "x", "input": {}}]},
        {**MESSAGE, "content": [{"type": "tool_use", "name": "x", "input": {}}]},
        {**MESSAGE, "id": None},
        {**MESSAGE, "model": 3},
    ],
)
def test_what_is_no_message_is_the_providers_failure(broken: Json) -> None:
    with pytest.raises(ProviderFailed, match="not of the shape") as raised:
        whole(broken, ASKED, created=NOW)
    assert raised.value.provider == "anthropic"
    assert raised.value.status == 502


# -- errors --


@pytest.mark.parametrize(
    ("kind", "status"), [*ERROR_STATUS.items(), ("api_error", 502), ("authentication_error", 502), ("new_error", 502)]
)
def test_errors_keep_their_type_and_words(kind: str, status: int) -> None:
    event = {"type": "error", "error": {"type": kind, "message": "In its own words."}}
    with pytest.raises(ProviderFailed) as raised:
        Events(ASKED, created=NOW).feed("error", event)
    error = raised.value
    assert (error.message, error.type, error.status, error.provider) == ("In its own words.", kind, status, "anthropic")
    assert error.passing is (kind != "invalid_request_error")
    with pytest.raises(ProviderFailed, match="In its own words"):
        whole(event, ASKED, created=NOW)


@pytest.mark.parametrize("told", [{}, {"error": "x"}, {"error": {}}, {"error": {"type": 3, "message": 4}}])
def test_an_error_that_says_nothing_is_an_error_all_the_same(told: Json) -> None:
    error = failure(told)
    assert (error.type, error.status) == ("api_error", 502)
    assert error.message


# -- streams --


def events_of(answer: Json, cuts: list[int] | None = None) -> list[Json]:
    """The events in which Anthropic would stream *answer*, its texts and arguments in pieces of *cuts* characters."""
    sizes = iter(cuts or [])

    def pieces(text: str) -> list[str]:
        ends = [0]
        while ends[-1] < len(text):
            ends.append(ends[-1] + next(sizes, len(text)))
        return [text[start:end] for start, end in pairwise(ends)] or [""]

    usage = answer.get("usage", {})
    at_start = {name: value for name, value in usage.items() if name != "output_tokens_details"}
    start = {**answer, "content": [], "stop_reason": None}
    events: list[Json] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    if usage:
        start["usage"] = {**at_start, "output_tokens": 1}
    for index, block in enumerate(answer["content"]):
        opened, deltas = opened_and_deltas(block, pieces)
        events.append({"type": "content_block_start", "index": index, "content_block": opened})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    delta: Json = {"type": "message_delta", "delta": {"stop_reason": answer["stop_reason"], "stop_sequence": None}}
    if usage:
        delta["usage"] = {**usage, "input_tokens": None}
    return [*events, delta, {"type": "message_stop"}]


def opened_and_deltas(block: Json, pieces: Any) -> tuple[Json, list[Json]]:
    kind = block["type"]
    if kind == "text":
        said = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
        cited = [{"type": "citations_delta", "citation": each} for each in block.get("citations", [])]
        return {"type": "text", "text": "", **({"citations": []} if cited else {})}, [*cited, *said]
    if kind == "thinking":
        said = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
        signed = [{"type": "signature_delta", "signature": block["signature"]}] if block.get("signature") else []
        return {**block, "thinking": "", "signature": ""}, [*said, *signed]
    if kind in {"tool_use", "server_tool_use"}:
        written = json.dumps(block["input"]) if block["input"] else ""
        argued = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *pieces(written)]]
        return {**block, "input": {}}, argued
    return block, []


def fed(translator: Events, events: list[Json]) -> list[Json]:
    """The chunks that *events* give; none of them has a name."""
    told = [each for event in events for each in translator.feed(event.get("type"), event)]
    assert all(name is None for name, _ in told)
    return [chunk for _, chunk in told]


def ended(translator: Events) -> list[Json]:
    return [chunk for _, chunk in translator.end()]


def streamed(answer: Json, cuts: list[int] | None = None) -> list[Json]:
    translator = Events(ASKED, created=NOW)
    return fed(translator, events_of(answer, cuts)) + ended(translator)


def begun() -> Events:
    translator = Events(ASKED, created=NOW)
    translator.feed(None, {"type": "message_start", "message": {**MESSAGE, "content": []}})
    return translator


def assembled(chunks: list[Json]) -> Json:
    """The completion that a client puts together from *chunks*, by the rules of chat streams."""
    head = {**chunks[0], "object": "chat.completion"}
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    text, thinking, finish = "", "", None
    calls: list[Json] = []
    lists: Json = {}
    for chunk in chunks:
        assert {name: chunk[name] for name in ("id", "created", "model")} == {
            name: head[name] for name in ("id", "created", "model")
        }
        for choice in chunk["choices"]:
            assert finish is None, "nothing is said after the finish"
            delta, finish = choice["delta"], choice["finish_reason"]
            text += delta.get("content", "")
            thinking += delta.get("reasoning_content", "")
            for name in ("thinking_blocks", "annotations"):
                lists[name] = lists.get(name, []) + delta.get(name, [])
            for fragment in delta.get("tool_calls", []):
                if fragment["index"] == len(calls):
                    calls.append({"id": fragment["id"], "type": fragment["type"], "function": {**fragment["function"]}})
                else:
                    assert fragment.keys() == {"index", "function"}
                    calls[fragment["index"]]["function"]["arguments"] += fragment["function"]["arguments"]
    answer: Json = {"role": "assistant", "content": text or (None if calls else ""), "refusal": None}
    answer |= {"reasoning_content": thinking} if thinking else {}
    answer |= {"tool_calls": calls} if calls else {}
    answer |= {name: items for name, items in lists.items() if items}
    choice = {"index": 0, "message": answer, "logprobs": None, "finish_reason": finish}
    usage = {"usage": chunks[-1]["usage"]} if "usage" in chunks[-1] else {}
    return {**head, "choices": [choice], **usage}


def read_arguments(completion: Json) -> Json:
    """*completion* with the arguments of its calls parsed: streams write them with other white space."""
    copied: Json = json.loads(json.dumps(completion))
    for call in copied["choices"][0]["message"].get("tool_calls", []):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return copied


def test_the_chunks_of_a_stream() -> None:
    """Written out once, so that the order and the shape of every chunk can be read."""
    answer = message(
        {"type": "text", "text": "Hi!"},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
        stop_reason="tool_use",
        usage={"input_tokens": 3, "output_tokens": 9},
    )
    chunks = streamed(answer, cuts=[2, 1, 4, 99])
    head = {"id": "msg_1", "object": "chat.completion.chunk", "created": NOW, "model": MESSAGE["model"]}
    assert all(chunk.items() >= head.items() for chunk in chunks)
    assert [chunk["choices"][0]["delta"] for chunk in chunks[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "Hi"},
        {"content": "!"},
        {"tool_calls": [{"index": 0, "id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
        {"tool_calls": [{"index": 1, "id": "toolu_2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * 8 + ["tool_calls"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 12


def test_openais_own_package_reads_every_chunk() -> None:
    for chunk in streamed(MESSAGE, cuts=[3] * 20):
        OpenAIChunk.model_validate_json(json.dumps(chunk), strict=True)


def test_a_stream_says_what_the_whole_answer_says() -> None:
    assert read_arguments(assembled(streamed(MESSAGE))) == read_arguments(COMPLETION)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
pages = texts.map(lambda text: {"type": "web_search_result_location", "cited_text": text, "title": text, "url": "u"})
blocks = st.one_of(
    texts.map(lambda text: {"type": "text", "text": text}),
    st.builds(
        lambda text, pages: {"type": "text", "text": text, "citations": pages}, texts, st.lists(pages, max_size=2)
    ),
    texts.map(lambda text: {"type": "thinking", "thinking": text, "signature": "c2ln"}),
    st.builds(
        lambda name, given: {"type": "tool_use", "id": f"toolu_{name}", "name": name, "input": given},
        names,
        st.dictionaries(texts, json_values, max_size=3),
    ),
    st.just({"type": "redacted_thinking", "data": "eA=="}),
    st.just({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}),
    st.just({"type": "something_new", "text": "not for chat"}),
)
counts = st.integers(0, 10**6)
usages = st.fixed_dictionaries(
    {"input_tokens": counts, "output_tokens": counts},
    optional={
        "cache_read_input_tokens": counts,
        "cache_creation_input_tokens": counts,
        "output_tokens_details": st.fixed_dictionaries({"thinking_tokens": counts}),
    },
)
wholes = st.builds(
    lambda content, reason, usage: message(*content, stop_reason=reason, usage=usage),
    st.lists(blocks, max_size=6),
    st.sampled_from(sorted(STOP_REASONS)),
    usages,
)


@settings(deadline=None, max_examples=300)
@given(wholes, st.lists(st.integers(1, 6), max_size=40))
def test_every_fragmenting_of_a_stream_says_what_the_whole_answer_says(answer: Json, cuts: list[int]) -> None:
    complete = whole(answer, ASKED, created=NOW)
    assert read_arguments(assembled(streamed(answer, cuts))) == read_arguments(complete)


@settings(deadline=None, max_examples=50)
@given(wholes, st.lists(st.integers(1, 6), max_size=40))
def test_whoever_puts_chunks_together_as_readers_do_has_the_signed_blocks_whole(answer: Json, cuts: list[int]) -> None:
    """Our own reader of streams, which answers from the cache, knows nothing of signatures and keeps them."""
    raw = b"".join(sse.encode(json.dumps(chunk).encode()) for chunk in streamed(answer, cuts))
    signed = [block for block in answer["content"] if block["type"] in {"thinking", "redacted_thinking"}]
    assert replay.whole(raw)["choices"][0]["message"].get("thinking_blocks", []) == signed


@settings(deadline=None, max_examples=100)
@given(wholes, st.lists(st.integers(1, 40), min_size=1, max_size=20), st.sampled_from(["\n", "\r\n", "\r"]))
def test_the_same_on_the_wire_however_it_is_read(answer: Json, sizes: list[int], line_end: str) -> None:
    """From Anthropic's bytes, cut anywhere and with any line ends, to the finished completion."""
    stream = b"".join(sse.encode(json.dumps(event).encode(), event["type"]) for event in events_of(answer, [2] * 9))
    stream = b": hello\n\n" + stream.replace(b"\n", line_end.encode())
    splitter, translator, chunks, at, turn = sse.EventSplitter(), Events(ASKED, created=NOW), [], 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        for event in sse.parse(splitter.feed(stream[at : at + size]), at_start=False):
            chunks += [chunk for _, chunk in translator.feed(event.name, json.loads(event.data))]
        at, turn = at + size, turn + 1
    assert splitter.flush() == b""
    said = assembled(chunks + ended(translator))
    assert read_arguments(said) == read_arguments(whole(answer, ASKED, created=NOW))


def test_the_name_of_the_event_counts_if_its_data_has_no_type() -> None:
    translator = Events(ASKED, created=NOW)
    assert translator.feed("message_start", {"message": {**MESSAGE, "content": []}})
    assert translator.feed("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "x"}})
    assert translator.feed(None, {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}})


def test_text_and_arguments_that_come_with_the_start_of_a_block_are_not_lost() -> None:
    """Servers that imitate Anthropic send a block in one piece."""
    translator = begun()
    opened = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi"}}
    assert fed(translator, [opened])[0]["choices"][0]["delta"] == {"content": "Hi"}
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"ä": 1}}
    translator.feed(None, {"type": "content_block_start", "index": 1, "content_block": use})
    (closed,) = fed(translator, [{"type": "content_block_stop", "index": 1}])
    assert closed["choices"][0]["delta"]["tool_calls"] == [{"index": 0, "function": {"arguments": '{"ä":1}'}}]


def test_calls_have_places_of_their_own_even_if_blocks_share_an_index() -> None:
    translator = begun()
    places = []
    for number in range(3):
        use = {"type": "tool_use", "id": f"toolu_{number}", "name": "f", "input": {}}
        (chunk,) = fed(translator, [{"type": "content_block_start", "content_block": use}])
        places.append(chunk["choices"][0]["delta"]["tool_calls"][0]["index"])
    assert places == [0, 1, 2]


def test_later_counts_replace_earlier_ones_and_nulls_do_not() -> None:
    translator = Events(ASKED, created=NOW)
    start = {**MESSAGE, "content": [], "usage": {"input_tokens": 0, "cache_read_input_tokens": 4, "output_tokens": 1}}
    translator.feed(None, {"type": "message_start", "message": start})
    for usage in ({"output_tokens": 5}, {"input_tokens": 9, "cache_read_input_tokens": None, "output_tokens": 8}):
        translator.feed(None, {"type": "message_delta", "delta": {}, "usage": usage})
    usage = ended(translator)[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (13, 8)


@pytest.mark.parametrize("kind", ["ping", "something_new", "content_block_stop", "message_delta"])
def test_events_that_say_nothing_to_chat_give_nothing(kind: str) -> None:
    assert Events(ASKED, created=NOW).feed(kind, {"type": kind, "delta": {}, "index": 0}) == []


def test_a_stream_that_breaks_off_never_looks_finished() -> None:
    """Cut after any event, as long as nobody says that it came to its end: no finish, no usage."""
    events = events_of(MESSAGE)
    for kept in range(len(events)):
        translator = Events(ASKED, created=NOW)
        chunks = fed(translator, events[:kept])
        assert all(choice["finish_reason"] is None for chunk in chunks for choice in chunk["choices"])
        assert all("usage" not in chunk for chunk in chunks)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "message_start"},
        {"type": "message_start", "message": {}},
        {"type": "message_start", "message": {"id": 3, "model": "m"}},
        {"type": "content_block_start"},
        {"type": "content_block_start", "content_block": {"type": "text"}},
        {"type": "content_block_start", "content_block": {"type": "tool_use"}},
        {"type": "content_block_delta", "delta": 3},
        {"type": "content_block_delta", "delta": {"type": "text_delta"}},
        {"type": "content_block_delta", "index": 7, "delta": {"type": "input_json_delta", "partial_json": 3}},
        {"type": "message_delta"},
    ],
)
def test_events_that_cannot_be_read_are_the_providers_failure(event: Json) -> None:
    translator = begun()
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    translator.feed(None, {"type": "content_block_start", "index": 7, "content_block": use})
    with pytest.raises(ProviderFailed, match="not of the shape"):
        translator.feed(None, event)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "content_block_start", "content_block": {"type": "text", "text": "x"}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}},
    ],
)
def test_an_answer_that_never_began_is_the_providers_failure(event: Json) -> None:
    with pytest.raises(ProviderFailed, match="not of the shape"):
        Events(ASKED, created=NOW).feed(None, event)
    with pytest.raises(ProviderFailed, match="not of the shape"):
        Events(ASKED, created=NOW).end()


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(
        ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"]
    ),
    st.dictionaries(
        st.sampled_from(["type", "message", "index", "content_block", "delta", "usage", "error"]),
        json_values | st.dictionaries(st.sampled_from(["type", "id", "model", "text", "usage"]), json_values),
    ),
)
def test_whatever_is_streamed_is_translated_or_a_failure_and_never_breaks(name: str, data: Json) -> None:
    translator = Events(ASKED, created=NOW)
    for event in ({"type": "message_start", "message": {**MESSAGE, "content": []}}, data):
        try:
            chunks = translator.feed(name, event)
        except ProviderFailed as error:
            assert error.provider == "anthropic"  # noqa: PT017 - both outcomes are right, others are not
        else:
            json.dumps(chunks)


# -- thinking, as it was signed --


def test_signed_thinking_comes_back_to_anthropic_exactly_as_it_was() -> None:
    """The blocks of an answer, put into the next request by the caller, are the first of that turn again."""
    for completion in (whole(MESSAGE, ASKED, created=NOW), assembled(streamed(MESSAGE, [3] * 9))):
        history = [*ASKED["messages"], completion["choices"][0]["message"], {"role": "user", "content": "Go on"}]
        turn = chat_to_messages.request({**ASKED, "messages": history})["messages"][1]
        assert turn["content"][:2] == MESSAGE["content"][:2]
        assert [block["type"] for block in turn["content"][2:]] == ["text", "tool_use", "tool_use"]


def test_a_signed_block_is_told_whole_when_it_is_complete() -> None:
    block = {"type": "thinking", "thinking": "Hm. So.", "signature": "c2ln"}
    deltas = [chunk["choices"][0]["delta"] for chunk in streamed(message(block), [4, 3])[:-2]]
    assert deltas[1:] == [{"reasoning_content": "Hm. "}, {"reasoning_content": "So."}, {"thinking_blocks": [block]}]


def test_thinking_that_is_not_shown_is_signed_all_the_same() -> None:
    hidden = {"type": "thinking", "thinking": "", "signature": "c2ln"}
    assert answered(hidden)["message"]["thinking_blocks"] == [hidden]
    assert "reasoning_content" not in answered(hidden)["message"]
    assert [chunk["choices"][0]["delta"] for chunk in streamed(message(hidden))[1:-2]] == [
        {"thinking_blocks": [hidden]}
    ]


@pytest.mark.parametrize("block", [{}, {"signature": ""}, {"signature": None}])
def test_thinking_that_nobody_signed_is_for_readers_only(block: Json) -> None:
    """Servers that imitate Anthropic do not sign; the real one would refuse such a block."""
    unsigned = {"type": "thinking", "thinking": "Hm.", **block}
    for said in (answered(unsigned)["message"], assembled(streamed(message(unsigned)))["choices"][0]["message"]):
        assert said["reasoning_content"] == "Hm."
        assert "thinking_blocks" not in said


# -- citations --


def test_what_is_cited_reaches_as_far_as_its_text_in_the_whole() -> None:
    page = {"type": "web_search_result_location", "url": "https://example.org", "title": None, "cited_text": "x"}
    texts = ({"type": "text", "text": "Ä, "}, {"type": "text", "text": "it rains", "citations": [page]})
    for said in (answered(*texts)["message"], assembled(streamed(message(*texts), [2] * 9))["choices"][0]["message"]):
        (annotation,) = said["annotations"]
        cited = annotation["url_citation"]
        assert said["content"][cited["start_index"] : cited["end_index"]] == "it rains"
        assert (cited["title"], cited["url"]) == ("", "https://example.org")


def test_citations_that_name_no_address_are_left_out() -> None:
    for listed in (None, "x", [], ["x"], [{"type": "page_location", "document_title": "x"}]):
        assert "annotations" not in answered({"type": "text", "text": "Hi", "citations": listed})["message"]


def test_losses_say_what_becomes_of_a_field_in_a_sentence() -> None:
    for why in LOSSES.values():
        assert re.fullmatch(r"[A-Z`].*[.]", why)
