"""OpenAI's responses in chat's words: the same answer whole, streamed, and however the stream is cut."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion
from openai.types.chat import ChatCompletionChunk as OpenAIChunk
from openai.types.responses import Response, ResponseError, ResponseStreamEvent
from pydantic import TypeAdapter

from membrain import sse
from membrain.dialects import chat_to_responses, replay
from membrain.dialects.chat import tokens_of
from membrain.dialects.chat_from_responses import (
    ERROR_STATUS,
    INCOMPLETE,
    LOSSES,
    Events,
    failure,
    usage_from_response,
    whole,
)
from membrain.errors import ProviderFailed
from membrain.records import Tokens

Json = dict[str, Any]
NOW = 1_700_000_000
THEN = 1_700_000_007
ASKED: Json = {"model": "gpt-5-codex", "messages": [{"role": "user", "content": "Hi"}]}


def output_text(text: str, **more: Any) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": [], **more}


def spoken(*parts: Json, id: str = "msg_1", **more: Any) -> Json:
    return {"id": id, "type": "message", "status": "completed", "role": "assistant", "content": list(parts), **more}


def called(name: str, arguments: str, call: str = "call_1", **more: Any) -> Json:
    fields = {"name": name, "call_id": call, "arguments": arguments, "status": "completed", **more}
    return {"id": f"fc_{call}", "type": "function_call", **fields}


def thought(*summary: str, seal: str | None = "c2VhbA==", **more: Any) -> Json:
    parts = [{"type": "summary_text", "text": text} for text in summary]
    return {"id": "rs_1", "type": "reasoning", "summary": parts, "encrypted_content": seal, **more}


def address(start: int, end: int, url: str = "https://example.org", title: str = "Rain") -> Json:
    return {"type": "url_citation", "start_index": start, "end_index": end, "url": url, "title": title}


PATCH: Json = {
    "id": "ctc_1",
    "type": "custom_tool_call",
    "status": "completed",
    "call_id": "call_3",
    "name": "apply_patch",
    "input": "*** Begin\n+ü\n",
}
SEARCH: Json = {
    "id": "ws_1",
    "type": "web_search_call",
    "status": "completed",
    "action": {"type": "search", "query": "rain", "queries": ["rain"]},
}
RESPONSE: Json = {
    "id": "resp_1",
    "object": "response",
    "created_at": THEN,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "model": "gpt-5-codex",
    "output": [
        thought("**Looking**", "They want both."),
        SEARCH,
        spoken(output_text("Let me "), output_text("look.", annotations=[address(0, 4)])),
        called("weather", '{"city": "Zürich", "days": 2}'),
        called("time", "{}", "call_2"),
        PATCH,
    ],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "service_tier": "default",
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": {
        "input_tokens": 1110,
        "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 7},
        "output_tokens": 70,
        "output_tokens_details": {"reasoning_tokens": 30},
        "total_tokens": 1180,
    },
    "user": None,
    "metadata": {},
}
COMPLETION: Json = {
    "id": "resp_1",
    "object": "chat.completion",
    "created": THEN,
    "model": "gpt-5-codex",
    "service_tier": "default",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Let me look.",
                "refusal": None,
                "reasoning_content": "**Looking**\n\nThey want both.",
                "reasoning_items": [thought("**Looking**", "They want both.")],
                "annotations": [
                    {
                        "type": "url_citation",
                        "url_citation": {
                            "start_index": 7,
                            "end_index": 11,
                            "url": "https://example.org",
                            "title": "Rain",
                        },
                    }
                ],
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Zürich", "days": 2}'},
                    },
                    {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
                    {
                        "id": "call_3",
                        "type": "custom",
                        "custom": {"name": "apply_patch", "input": "*** Begin\n+ü\n"},
                    },
                ],
            },
            "logprobs": None,
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {
        "prompt_tokens": 1110,
        "completion_tokens": 70,
        "total_tokens": 1180,
        "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 7},
        "completion_tokens_details": {"reasoning_tokens": 30},
    },
}


def response(*output: Json, **fields: Any) -> Json:
    return {**RESPONSE, "output": list(output), **fields}


def told(answer: Json) -> Any:
    return whole(answer, ASKED, created=NOW)["choices"][0]


# -- whole --


def test_an_answer_with_everything_in_it() -> None:
    Response.model_validate_json(json.dumps(RESPONSE), strict=True)
    assert whole(RESPONSE, ASKED, created=NOW) == COMPLETION


def test_openais_own_package_reads_the_answer() -> None:
    read = ChatCompletion.model_validate_json(json.dumps(whole(RESPONSE, ASKED, created=NOW)), strict=True)
    assert read.choices[0].message.tool_calls is not None
    assert [call.id for call in read.choices[0].message.tool_calls] == ["call_1", "call_2", "call_3"]
    assert read.choices[0].message.annotations is not None


def test_content_is_null_only_beside_calls_or_a_refusal_without_text() -> None:
    assert told(response(called("f", "{}")))["message"]["content"] is None
    assert told(response(spoken(output_text(""))))["message"]["content"] == ""
    assert told(response())["message"] == {"role": "assistant", "content": "", "refusal": None}


def test_a_refusal_has_its_own_place() -> None:
    choice = told(response(spoken({"type": "refusal", "refusal": "No."})))
    assert choice["message"] == {"role": "assistant", "content": None, "refusal": "No."}
    assert choice["finish_reason"] == "stop"


def test_messages_are_joined_as_openais_own_package_joins_them() -> None:
    answer = response(spoken(output_text("One."), phase="commentary"), spoken(output_text("Two."), id="msg_2"))
    assert told(answer)["message"]["content"] == Response.model_validate(answer).output_text == "One.Two."


@pytest.mark.parametrize(
    ("fields", "finish"),
    [
        ({"status": "completed"}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": {"reason": "something_new"}}, "length"),
        ({"status": "incomplete", "incomplete_details": None}, "length"),
    ],
)
def test_how_it_ended(fields: Json, finish: str) -> None:
    answer = response(spoken(output_text("Hi")), **fields)
    assert told(answer)["finish_reason"] == finish
    assert assembled(streamed(answer))["choices"][0]["finish_reason"] == finish
    calls = response(called("f", "{"), **fields)
    assert told(calls)["finish_reason"] == (finish if finish in INCOMPLETE.values() else "tool_calls")


def test_a_server_that_tells_no_status_and_no_time_is_understood() -> None:
    item = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    completion = whole({"id": "r", "model": "m", "output": [item]}, ASKED, created=NOW)
    assert completion["created"] == NOW
    assert completion["choices"][0]["message"]["content"] == "Hi"
    assert "usage" not in completion, "what was not told is not made up"


def test_reasoning_that_is_told_in_full_is_for_the_reader_too() -> None:
    """Open models tell what they think, and not a summary of it."""
    item = {**thought(seal=None), "content": [{"type": "reasoning_text", "text": "Hm."}]}
    message = told(response(item))["message"]
    assert message["reasoning_content"] == "Hm."
    assert "reasoning_items" not in message, "nobody could send it back"


def test_token_probabilities_have_all_members_that_chat_has() -> None:
    token = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105]}
    beside = [{**token, "top_logprobs": [token]}, {"token": "!", "logprob": -2.0}]
    completion = whole(response(spoken(output_text("Hi!", logprobs=beside))), ASKED, created=NOW)
    assert completion["choices"][0]["logprobs"] == {
        "content": [beside[0], {"token": "!", "logprob": -2.0, "bytes": None, "top_logprobs": []}],
        "refusal": None,
    }
    ChatCompletion.model_validate_json(json.dumps(completion), strict=True)


def test_places_of_files_are_left_out() -> None:
    file = {"type": "file_citation", "file_id": "file-1", "filename": "a", "index": 3}
    message = told(response(spoken(output_text("Hi", annotations=[file, None, address(0, 1)]))))["message"]
    assert [each["url_citation"]["end_index"] for each in message["annotations"]] == [1]


def test_no_token_is_lost_on_the_way_to_the_bill() -> None:
    assert tokens_of(usage_from_response(RESPONSE["usage"])) == Tokens(1110, 70, cached=100, reasoning=30, written=7)


def test_usage_without_details_is_usage() -> None:
    assert usage_from_response({"input_tokens": 3, "output_tokens": 4}) == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
    }


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {**RESPONSE, "output": None},
        {**RESPONSE, "output": ["Hi"]},
        {**RESPONSE, "id": None},
        {**RESPONSE, "model": 3},
        {**RESPONSE, "status": "queued"},
        {**RESPONSE, "status": "cancelled"},
        {**RESPONSE, "status": ["completed"]},
        response(spoken({"type": "output_text"})),
        response({**spoken(), "content": "Hi"}),
        response({"type": "function_call", "name": "f", "arguments": "{}"}),
        response({"type": "function_call", "call_id": "x", "arguments": "{}"}),
        response({"type": "function_call", "call_id": "x", "name": "f", "arguments": {}}),
    ],
)
def test_what_is_no_finished_response_is_the_providers_failure(broken: Json) -> None:
    with pytest.raises(ProviderFailed, match="not of the shape") as raised:
        whole(broken, ASKED, created=NOW)
    assert (raised.value.provider, raised.value.status) == ("openai", 502)


# -- errors --


def test_every_error_code_of_openais_own_package_is_known() -> None:
    codes = set(get_args(ResponseError.model_fields["code"].annotation))
    assert codes - set(ERROR_STATUS) == {"server_error"}


@pytest.mark.parametrize(
    ("code", "status"), [*ERROR_STATUS.items(), ("server_error", 502), ("something_new", 502), (None, 502)]
)
def test_failures_keep_their_code_and_words(code: str | None, status: int) -> None:
    error = {"code": code, "message": "In its own words.", "param": "input"}
    failed = response(status="failed", error=error)
    with pytest.raises(ProviderFailed) as raised:
        whole(failed, ASKED, created=NOW)
    assert raised.value.message == "In its own words."
    assert (raised.value.status, raised.value.code, raised.value.param) == (status, code or "provider_failed", "input")
    assert raised.value.passing is (status != 400)
    for event in (
        {"type": "response.failed", "response": failed, "sequence_number": 3},
        {"type": "error", **error, "sequence_number": 3},
        {"type": "error", "error": {"type": "error", **error}, "sequence_number": 3},
    ):
        with pytest.raises(ProviderFailed, match="In its own words") as streamed:
            Events(ASKED, created=NOW).feed(event["type"], event)
        assert (streamed.value.status, streamed.value.code) == (status, code or "provider_failed")


def test_an_error_object_instead_of_a_response_is_a_failure_of_its_type() -> None:
    error = {"type": "invalid_request_error", "code": "unknown_parameter", "message": "No.", "param": "x"}
    with pytest.raises(ProviderFailed) as raised:
        whole({"error": error}, ASKED, created=NOW)
    assert raised.value.status == 400
    assert (raised.value.type, raised.value.code) == ("invalid_request_error", "unknown_parameter")


@pytest.mark.parametrize(
    "told_badly", [{}, {"error": "x"}, {"error": {}}, {"error": {"code": "a text of some length", "message": 4}}]
)
def test_an_error_that_says_nothing_is_an_error_all_the_same(told_badly: Json) -> None:
    error = failure(told_badly)
    assert (error.code, error.status) == ("provider_failed", 502)
    assert error.message


# -- streams --


def events_of(answer: Json, cuts: list[int] | None = None) -> list[Json]:
    """The events in which OpenAI would stream *answer*, its texts in pieces of *cuts* characters."""
    sizes = iter(cuts or [])

    def pieces(text: str) -> list[str]:
        ends = [0]
        while ends[-1] < len(text):
            ends.append(ends[-1] + next(sizes, len(text)))
        return [text[start:end] for start, end in pairwise(ends)]

    start = {**answer, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    events: list[Json] = [{"type": f"response.{each}", "response": start} for each in ("created", "in_progress")]
    for index, item in enumerate(answer["output"]):
        kind = item["type"]
        opened = {**item, "status": "in_progress", **EMPTY.get(kind, {})}
        events.append({"type": "response.output_item.added", "output_index": index, "item": opened})
        where = {"item_id": item["id"], "output_index": index}
        events += [{**where, **event} for event in INSIDE.get(kind, lambda *_: [])(item, pieces)]
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": f"response.{answer['status']}", "response": answer})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


EMPTY: dict[str, Json] = {
    "message": {"content": []},
    "reasoning": {"summary": [], "encrypted_content": "aW5j"},
    "function_call": {"arguments": ""},
    "custom_tool_call": {"input": ""},
}


def inside_message(item: Json, pieces: Any) -> list[Json]:
    events: list[Json] = []
    for place, part in enumerate(item["content"]):
        if part["type"] not in {"output_text", "refusal"}:
            continue
        name = "text" if part["type"] == "output_text" else "refusal"
        empty = {**part, name: ""} | ({"annotations": [], "logprobs": []} if name == "text" else {})
        events.append({"type": "response.content_part.added", "content_index": place, "part": empty})
        beside = list(part.get("logprobs", []))
        for piece in pieces(part[name]):
            delta: Json = {"type": f"response.{PART[name]}.delta", "content_index": place, "delta": piece}
            if name == "text":
                delta |= {"logprobs": beside[:1], "obfuscation": "x"}
                beside = beside[1:]
            events.append(delta)
        for number, cited in enumerate(part.get("annotations", [])):
            added = {"type": "response.output_text.annotation.added", "annotation_index": number, "annotation": cited}
            events.append({"content_index": place, **added})
        done = {"type": f"response.{PART[name]}.done", "content_index": place, name: part[name]}
        events.append(done | ({"logprobs": part["logprobs"]} if name == "text" else {}))
        events.append({"type": "response.content_part.done", "content_index": place, "part": part})
    return events


PART = {"text": "output_text", "refusal": "refusal"}


def inside_reasoning(item: Json, pieces: Any) -> list[Json]:
    events: list[Json] = []
    for place, part in enumerate(item["summary"]):
        where = {"summary_index": place}
        empty = {**part, "text": ""}
        said = "response.reasoning_summary_text"
        events.append({"type": "response.reasoning_summary_part.added", "part": empty, **where})
        events += [{"type": f"{said}.delta", "delta": piece, **where} for piece in pieces(part["text"])]
        events.append({"type": f"{said}.done", "text": part["text"], **where})
        events.append({"type": "response.reasoning_summary_part.done", "part": part, **where})
    for place, part in enumerate(item.get("content", [])):
        where, said = {"content_index": place}, "response.reasoning_text"
        events += [{"type": f"{said}.delta", "delta": piece, **where} for piece in pieces(part["text"])]
        events.append({"type": f"{said}.done", "text": part["text"], **where})
    return events


def inside_call(item: Json, pieces: Any) -> list[Json]:
    said = "response.function_call_arguments"
    events = [{"type": f"{said}.delta", "delta": piece} for piece in pieces(item["arguments"])]
    return [*events, {"type": f"{said}.done", "name": item["name"], "arguments": item["arguments"]}]


def inside_custom(item: Json, pieces: Any) -> list[Json]:
    said = "response.custom_tool_call_input"
    events = [{"type": f"{said}.delta", "delta": piece} for piece in pieces(item["input"])]
    return [*events, {"type": f"{said}.done", "input": item["input"]}]


INSIDE: dict[str, Any] = {
    "message": inside_message,
    "reasoning": inside_reasoning,
    "function_call": inside_call,
    "custom_tool_call": inside_custom,
    "web_search_call": lambda _item, _pieces: [{"type": "response.web_search_call.searching"}],
}


def fed(translator: Events, events: list[Json]) -> list[Json]:
    """The chunks that *events* give; none of them has a name."""
    given = [each for event in events for each in translator.feed(event.get("type"), event)]
    assert all(name is None for name, _ in given)
    return [chunk for _, chunk in given]


def streamed(answer: Json, cuts: list[int] | None = None) -> list[Json]:
    translator = Events(ASKED, created=NOW)
    return fed(translator, events_of(answer, cuts)) + [chunk for _, chunk in translator.end()]


def begun(**fields: Any) -> Events:
    translator = Events(ASKED, created=NOW)
    translator.feed(None, {"type": "response.created", "response": {**response(), "status": "in_progress", **fields}})
    return translator


def deltas(chunks: list[Json]) -> list[Json]:
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


def assembled(chunks: list[Json]) -> Json:
    """The completion that a client puts together from *chunks*, by the rules of chat streams."""
    finishes = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert finishes[-1] is not None
    assert not any(finishes[:-1]), "nothing is said after the finish"
    read = replay.whole(b"".join(sse.encode(json.dumps(chunk).encode()) for chunk in chunks))
    message = read["choices"][0]["message"]
    if not message["content"] and (message.get("tool_calls") or message.get("refusal")):
        message["content"] = None
    message.setdefault("refusal", None)
    return read


def test_the_events_are_those_that_openais_own_package_reads() -> None:
    """So that what is tested here is what OpenAI sends."""
    adapter: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    for event in events_of(RESPONSE, [3] * 20):
        adapter.validate_json(json.dumps(event))


def test_the_chunks_of_a_stream() -> None:
    """Written out once, so that the order and the shape of every chunk can be read."""
    answer = response(
        thought("Hm.", "So."),
        spoken(output_text("Hi!", annotations=[address(0, 2)])),
        called("f", '{"a": 1}'),
        called("g", "{}", "call_2"),
        PATCH,
    )
    chunks = streamed(answer, cuts=[2, 1, 3, 2, 1, 4, 4, 2, 99])
    head = {"id": "resp_1", "object": "chat.completion.chunk", "created": THEN, "model": "gpt-5-codex"}
    assert all(chunk.items() >= head.items() for chunk in chunks)
    cited = {"start_index": 0, "end_index": 2, "url": "https://example.org", "title": "Rain"}
    assert deltas(chunks) == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Hm"},
        {"reasoning_content": "."},
        {"reasoning_content": "\n\nSo."},
        {"reasoning_items": [thought("Hm.", "So.")]},
        {"content": "Hi"},
        {"content": "!"},
        {"annotations": [{"type": "url_citation", "url_citation": cited}]},
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
        {"tool_calls": [{"index": 1, "id": "call_2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {
            "tool_calls": [
                {"index": 2, "id": "call_3", "type": "custom", "custom": {"name": "apply_patch", "input": ""}}
            ]
        },
        {"tool_calls": [{"index": 2, "custom": {"input": "*** Begin\n+ü\n"}}]},
        {},
    ]
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == COMPLETION["usage"]


def test_openais_own_package_reads_every_chunk() -> None:
    """But for calls of custom tools, which it does not know in streams yet."""
    answer = response(*(item for item in RESPONSE["output"] if item is not PATCH))
    for chunk in streamed(answer, cuts=[3] * 20):
        OpenAIChunk.model_validate_json(json.dumps(chunk), strict=True)


def test_a_stream_says_what_the_whole_answer_says() -> None:
    assert assembled(streamed(RESPONSE)) == COMPLETION


def test_every_piece_is_told_at_once() -> None:
    translator = begun()
    item: Json = {"item_id": "x", "output_index": 0, "content_index": 0}
    for number, kind in enumerate(("output_text", "refusal", "reasoning_text")):
        event = {"type": f"response.{kind}.delta", **item, "output_index": number, "delta": "x"}
        assert len(translator.feed(None, event)) == 1
    call = called("f", "")
    translator.feed(None, {"type": "response.output_item.added", "output_index": 3, "item": call})
    argued = {"type": "response.function_call_arguments.delta", "output_index": 3, "item_id": "x", "delta": "{"}
    assert len(translator.feed(None, argued)) == 1


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
addresses = st.builds(address, st.integers(0, 9), st.integers(0, 9))
files = st.just({"type": "file_citation", "file_id": "file-1", "filename": "a", "index": 3})
tokens = texts.map(
    lambda text: {"token": text, "logprob": -0.5, "bytes": [1], "top_logprobs": [{"token": text, "logprob": -1.0}]}
)
said_parts = st.one_of(
    st.builds(lambda text, cited: output_text(text, annotations=cited), texts, st.lists(addresses | files, max_size=2)),
    texts.map(lambda text: {"type": "refusal", "refusal": text}),
)
items = st.one_of(
    st.builds(lambda parts: spoken(*parts), st.lists(said_parts, max_size=3)),
    st.builds(lambda summary, seal: thought(*summary, seal=seal), st.lists(texts, max_size=3), st.none() | texts),
    texts.map(lambda text: thought(text, seal=None, content=[{"type": "reasoning_text", "text": text}])),
    st.builds(called, st.sampled_from("fg"), texts, st.sampled_from(["call_1", "call_2"])),
    texts.map(lambda text: {**PATCH, "input": text}),
    st.just(SEARCH),
    st.just({"type": "something_new", "id": "x", "content": [{"type": "output_text", "text": "not for chat"}]}),
)
counts = st.integers(0, 10**6)
usages = st.fixed_dictionaries(
    {"input_tokens": counts, "output_tokens": counts},
    optional={
        "total_tokens": counts,
        "input_tokens_details": st.fixed_dictionaries({"cached_tokens": counts}),
        "output_tokens_details": st.fixed_dictionaries({"reasoning_tokens": counts}),
    },
)
ends = st.sampled_from(
    [
        {"status": "completed", "incomplete_details": None},
        {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
        {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
    ]
)
answers = st.builds(
    lambda output, end, usage: response(*output, **end, usage=usage), st.lists(items, max_size=6), ends, usages
)


@settings(deadline=None, max_examples=300)
@given(answers, st.lists(st.integers(1, 6), max_size=40))
def test_every_fragmenting_of_a_stream_says_what_the_whole_answer_says(answer: Json, cuts: list[int]) -> None:
    assert assembled(streamed(answer, cuts)) == whole(answer, ASKED, created=NOW)


PIECES = (".delta", ".annotation.added")
LEFT_OUT = st.sets(st.sampled_from([PIECES, ("item.done",), ("item.added",)]))


@settings(deadline=None, max_examples=150)
@given(answers, st.lists(st.integers(1, 6), max_size=40), LEFT_OUT)
def test_what_a_server_does_not_tell_by_and_by_is_told_in_the_end(
    answer: Json, cuts: list[int], missing: set[tuple[str, ...]]
) -> None:
    """Servers that imitate OpenAI leave out pieces, or the ends of items. Nothing is lost, and nothing said twice."""
    silent = tuple(end for ends in missing for end in ends)
    kept = [event for event in events_of(answer, cuts) if not event["type"].endswith(silent)]
    translator = Events(ASKED, created=NOW)
    chunks = fed(translator, kept) + [chunk for _, chunk in translator.end()]
    expected = whole(answer, ASKED, created=NOW)
    for completion in (read := assembled(chunks), expected):
        message = completion["choices"][0]["message"]
        message["annotations"] = sorted(message.get("annotations", []), key=json.dumps)
    assert read == expected


@settings(deadline=None, max_examples=50)
@given(st.lists(tokens, max_size=4), st.lists(st.integers(1, 3), max_size=9))
def test_token_probabilities_come_with_the_text(beside: list[Json], cuts: list[int]) -> None:
    text = "some words"
    answer = response(spoken(output_text(text, logprobs=beside[: len(cuts) + 1])))
    chunks = streamed(answer, [*cuts, *[1] * len(text)])
    assert assembled(chunks)["choices"][0]["logprobs"] == told(answer)["logprobs"]


def test_seals_that_only_the_end_tells_are_told() -> None:
    sealed, bare = thought("Hm."), thought("Hm.", seal=None)
    events = [json.loads(json.dumps(event)) for event in events_of(response(sealed, spoken(output_text("Hi"))))]
    for event in events:
        if event["type"] == "response.output_item.done" and event["item"]["type"] == "reasoning":
            event["item"] = bare
    translator = Events(ASKED, created=NOW)
    assert [delta for delta in deltas(fed(translator, events)) if "reasoning_items" in delta] == [
        {"reasoning_items": [sealed]}
    ]


def test_the_name_of_the_event_counts_if_its_data_has_no_type() -> None:
    translator = Events(ASKED, created=NOW)
    assert translator.feed("response.created", {"response": response()})
    assert translator.feed("response.output_text.delta", {"output_index": 0, "content_index": 0, "delta": "x"})
    with pytest.raises(ProviderFailed, match="Oh"):
        translator.feed("error", {"message": "Oh"})


def test_usage_and_tier_that_were_not_told_are_not_made_up() -> None:
    """Unknown is not zero: somebody would take it for free."""
    silent = {name: value for name, value in response(spoken(output_text("Hi"))).items() if name != "service_tier"}
    silent["usage"] = None
    assert not any({"usage", "service_tier"} & chunk.keys() for chunk in streamed(silent))
    assert not {"usage", "service_tier"} & whole(silent, ASKED, created=NOW).keys()


def test_the_tier_that_answered_is_told_once_it_is_known() -> None:
    events = events_of(response(spoken(output_text("Hi"))))
    events[0] = {**events[0], "response": {**events[0]["response"], "service_tier": "auto"}}
    translator = Events(ASKED, created=NOW)
    assert fed(translator, events)[0]["service_tier"] == "auto"
    assert translator.end()[0][1]["service_tier"] == "default"


def test_parts_that_nobody_knows_and_places_that_are_none_do_no_harm() -> None:
    odd = {"type": "url_citation", "url": "https://example.org", "start_index": None}
    answer = response(spoken({"type": "something_new", "text": "x"}, output_text("Hi", annotations=[odd])))
    cited = {"url": "https://example.org", "start_index": None}
    for message in (told(answer)["message"], assembled(streamed(answer))["choices"][0]["message"]):
        assert message["content"] == "Hi"
        assert message["annotations"] == [{"type": "url_citation", "url_citation": cited}]


def test_items_are_told_apart_by_their_id_where_their_place_is_not_told() -> None:
    translator = begun()
    events = [
        {"type": "response.output_item.added", "item": called("f", "")},
        {"type": "response.output_item.added", "item": called("g", "", "call_2")},
        {"type": "response.function_call_arguments.delta", "item_id": "fc_call_2", "delta": "{}"},
        {"type": "response.function_call_arguments.delta", "item_id": "fc_call_1", "delta": "[]"},
    ]
    pieces = [call for delta in deltas(fed(translator, events)) for call in delta["tool_calls"]]
    said = [(call["index"], call["function"]["arguments"]) for call in pieces]
    assert said == [(0, ""), (1, ""), (1, "{}"), (0, "[]")]


@pytest.mark.parametrize(
    "kind",
    [
        *("response.content_part.added", "response.output_text.done", "response.web_search_call.completed"),
        *("something_new", "keepalive", "response.in_progress"),
    ],
)
def test_events_that_say_nothing_to_chat_give_nothing(kind: str) -> None:
    assert begun().feed(kind, {"type": kind, "response": response()}) == []


def test_a_stream_that_breaks_off_never_looks_finished() -> None:
    """Cut after any event, as long as nobody says that it came to its end: no finish, no usage."""
    events = events_of(RESPONSE)
    for kept in range(len(events) + 1):
        chunks = fed(Events(ASKED, created=NOW), events[:kept])
        assert all(choice["finish_reason"] is None for chunk in chunks for choice in chunk["choices"])
        assert all("usage" not in chunk for chunk in chunks)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.completed"},
        {"type": "response.completed", "response": {**RESPONSE, "output": "x"}},
        {"type": "response.failed"},
        {"type": "response.output_item.added"},
        {"type": "response.output_item.added", "item": {"type": "function_call"}},
        {"type": "response.output_item.done", "item": {"type": "message", "content": [3]}},
        {"type": "response.output_item.done", "item": {"type": "function_call", "name": "f"}},
        {"type": "response.output_text.delta"},
        {"type": "response.function_call_arguments.delta", "output_index": 7, "delta": 3},
    ],
)
def test_events_that_cannot_be_read_are_the_providers_failure(event: Json) -> None:
    with pytest.raises(ProviderFailed, match="not of the shape"):
        begun().feed(None, event)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.created"},
        {"type": "response.created", "response": {"id": 3, "model": "m"}},
        {"type": "response.output_text.delta", "delta": "x"},
    ],
)
def test_an_answer_that_never_began_is_the_providers_failure(event: Json) -> None:
    with pytest.raises(ProviderFailed, match="not of the shape"):
        Events(ASKED, created=NOW).feed(None, event)
    with pytest.raises(ProviderFailed, match="not of the shape"):
        Events(ASKED, created=NOW).end()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from([event["type"] for event in events_of(RESPONSE)] + ["response.output_text.annotation.added"]),
    st.dictionaries(
        st.sampled_from(
            ["type", "response", "item", "output_index", "content_index", "delta", "annotation", "logprobs"]
        ),
        json_values
        | st.dictionaries(
            st.sampled_from(["type", "id", "model", "text", "usage", "output", "content", "summary", "logprobs"]),
            json_values | st.sampled_from(["message", "reasoning", "function_call", "url_citation"]),
        ),
    ),
)
def test_whatever_is_streamed_is_translated_or_a_failure_and_never_breaks(name: str, data: Json) -> None:
    translator = begun()
    try:
        chunks = translator.feed(name, data)
    except ProviderFailed as error:
        assert error.provider == "openai"  # noqa: PT017 - both outcomes are right, others are not
    else:
        json.dumps(chunks)


@settings(deadline=None, max_examples=75)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["type", "content", "summary", "name", "call_id", "arguments", "encrypted_content"]),
            json_values
            | st.sampled_from(["message", "reasoning", "function_call"])
            | st.lists(st.dictionaries(st.sampled_from(["type", "text", "annotations", "logprobs"]), json_values)),
        ),
        max_size=3,
    ),
    st.dictionaries(
        st.sampled_from(["id", "status", "error", "usage", "created_at", "incomplete_details"]), json_values
    ),
)
def test_whatever_is_answered_is_translated_or_a_failure_and_never_breaks(output: list[Json], fields: Json) -> None:
    try:
        completion = whole({**response(*output), **fields}, ASKED, created=NOW)
    except ProviderFailed as error:
        assert error.provider == "openai"  # noqa: PT017 - both outcomes are right, others are not
    else:
        json.dumps(completion)


# -- back again --


def test_encrypted_reasoning_comes_back_to_openai_exactly_as_it_was() -> None:
    """The items of an answer, put into the next request by the caller, stand before what they led to again."""
    for completion in (whole(RESPONSE, ASKED, created=NOW), assembled(streamed(RESPONSE, [3] * 9))):
        history = [*ASKED["messages"], completion["choices"][0]["message"], {"role": "user", "content": "Go on"}]
        sent = chat_to_responses.request({**ASKED, "messages": history})["input"]
        assert sent[1] == RESPONSE["output"][0]
        assert [item["type"] for item in sent[2:6]] == [
            *("message", "function_call", "function_call", "custom_tool_call"),
        ]
        assert sent[3]["arguments"] == RESPONSE["output"][3]["arguments"]


def test_losses_say_what_becomes_of_a_field_in_a_sentence() -> None:
    for why in LOSSES.values():
        assert re.fullmatch(r"[A-Z`].*[.]", why)
