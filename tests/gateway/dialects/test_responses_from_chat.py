"""Chat's answers in the words of responses: whole, streamed, cut anywhere, and read by OpenAI's own package."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
import openai
import pydantic
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent

from membrain import sse
from membrain.dialects import replay
from membrain.dialects.responses_from_chat import INCOMPLETE, LOSSES, Events, failure, whole
from membrain.dialects.responses_to_chat import request
from membrain.dialects.sealed import SEAL
from membrain.errors import ProviderFailed

Json = dict[str, Any]
Told = list[tuple[str | None, Json]]
NOW = 1_700_000_000
STEM = "6553f1001"
EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ResponseStreamEvent)

SHELL: Json = {"type": "function", "name": "shell", "strict": None, "parameters": {"type": "object"}}
PATCH: Json = {"type": "custom", "name": "apply_patch"}
TICKETS: Json = {
    "type": "namespace",
    "name": "tickets",
    "description": "The tracker.",
    "tools": [{"type": "function", "name": "find", "parameters": {}}],
}
ASKED: Json = {
    "model": "auto",
    "input": "Hi",
    "instructions": "Be brief.",
    "tools": [SHELL, PATCH, TICKETS],
    "temperature": 0.5,
    "store": True,
    "truncation": "auto",
    "reasoning": {"effort": "low"},
    "text": {"verbosity": "low"},
    "metadata": {"run": "7"},
}
THOUGHT: Json = {"type": "thinking", "thinking": "They want ü.", "signature": "c2ln"}
HIDDEN: Json = {"type": "redacted_thinking", "data": "eA=="}
TOKEN: Json = {"token": "Hi", "bytes": [72, 105], "logprob": -0.5, "top_logprobs": []}


def call(name: str, arguments: str, call_id: str = "call_1") -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def completion(*, finish: str | None = "stop", usage: Json | None = None, logprobs: Any = None, **message: Any) -> Json:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "logprobs": logprobs, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-oss:20b"}
    return {**head, "choices": [choice], **({"usage": usage} if usage else {})}


def chunk(delta: Json | None = None, finish: str | None = None, **more: Any) -> Json:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-oss:20b"}
    return {**head, "choices": [choice], **more}


def fragment(arguments: str = "", index: Any = 0, name: str | None = None, call_id: str | None = None) -> Json:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"tool_calls": [{"index": index, "function": function} | ({"id": call_id} if call_id else {})]}


def told(chunks: Iterable[Json], asked: Json = ASKED) -> Told:
    events = Events(asked, created=NOW)
    made = [event for each in chunks for event in events.feed(None, each)]
    return [*made, *events.end()]


def answered(asked: Json = ASKED, **message: Any) -> Json:
    return whole(completion(**message), asked, created=NOW)


def last(chunks: Iterable[Json], asked: Json = ASKED) -> Json:
    response: Json = told(chunks, asked)[-1][1]["response"]
    return response


def kinds(events: Told) -> list[str]:
    return [str(name).removeprefix("response.") for name, _ in events]


def checked(events: Told) -> Told:
    """*events*, if they are what the published schema says and fit together."""
    for number, (name, data) in enumerate(events):
        assert (data["type"], data["sequence_number"]) == (name, number)
        EVENT.validate_json(json.dumps(data), strict=True)
    added = {data["output_index"]: data["item"]["id"] for name, data in events if name == "response.output_item.added"}
    assert list(added) == list(range(len(added)))
    for _, data in events:
        assert data.get("item_id", added.get(data.get("output_index"))) == added.get(data.get("output_index"))
    done = {data["output_index"]: data["item"] for name, data in events if name == "response.output_item.done"}
    assert [done[index] for index in sorted(done)] == events[-1][1]["response"]["output"]
    return events


# -- whole --

EVERYTHING = completion(
    finish="tool_calls",
    content="Let me look.",
    refusal=None,
    reasoning_content="They want ü.",
    thinking_blocks=[THOUGHT, HIDDEN],
    tool_calls=[
        call("shell", '{"command": ["ls"]}'),
        call("apply_patch", '{"input":"*** Begin\\n\\u00fc \\ud83d\\ude00"}', "call_2"),
        call("tickets__find", "{}", "call_3"),
    ],
    usage={
        "prompt_tokens": 1110,
        "completion_tokens": 7,
        "total_tokens": 1117,
        "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 3},
    },
)


def test_an_answer_with_everything_in_it() -> None:
    response = whole(EVERYTHING, ASKED, created=NOW)
    reasoning = response["output"][0]
    assert reasoning.pop("encrypted_content").startswith(SEAL)
    text = {"type": "output_text", "text": "Let me look.", "annotations": [], "logprobs": []}
    assert response == {
        "id": f"resp_{STEM}",
        "object": "response",
        "created_at": NOW,
        "completed_at": None,
        "status": "completed",
        "incomplete_details": None,
        "error": None,
        "model": "gpt-oss:20b",
        "output": [
            {
                "id": f"rs_{STEM}_0",
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": "They want ü."}],
            },
            {
                "id": f"msg_{STEM}_1",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [text],
            },
            {
                "id": f"fc_{STEM}_2",
                "type": "function_call",
                "status": "completed",
                "call_id": "call_1",
                "name": "shell",
                "arguments": '{"command": ["ls"]}',
            },
            {
                "id": f"ctc_{STEM}_3",
                "type": "custom_tool_call",
                "status": "completed",
                "call_id": "call_2",
                "name": "apply_patch",
                "input": "*** Begin\nü 😀",
            },
            {
                "id": f"fc_{STEM}_4",
                "type": "function_call",
                "status": "completed",
                "call_id": "call_3",
                "namespace": "tickets",
                "name": "find",
                "arguments": "{}",
            },
        ],
        "usage": {
            "input_tokens": 1110,
            "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 1000},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 3},
            "total_tokens": 1117,
        },
        "instructions": "Be brief.",
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {"run": "7"},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": "low", "summary": None},
        "safety_identifier": None,
        "service_tier": None,
        "store": False,
        "background": False,
        "temperature": 0.5,
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "tool_choice": "auto",
        "tools": [SHELL, PATCH, TICKETS],
        "top_logprobs": 0,
        "top_p": None,
        "truncation": "disabled",
        "user": None,
    }


def test_openais_own_package_reads_the_answer() -> None:
    raw = json.dumps(whole(EVERYTHING, ASKED, created=NOW))
    read = Response.model_validate_json(raw, strict=True)
    assert read.output_text == "Let me look."
    assert Response.model_validate_json(json.dumps(answered({"model": "m"}, content="x")), strict=True)


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("function_call", "completed", None),
        ("something_new", "completed", None),
        (None, "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_how_an_answer_ends(finish: str | None, status: str, reason: str | None) -> None:
    """What is cut off is the last item; what came before was told to its end."""
    response = answered(finish=finish, reasoning_content="Hm", content="Hi", tool_calls=[call("shell", "{}")])
    assert response["status"] == status
    assert response["incomplete_details"] == (reason and {"reason": reason})
    assert [item.get("status") for item in response["output"]] == [None, "completed", status]
    events = told([chunk({"content": "Hi"}), *([chunk({}, finish)] if finish else [])])
    assert events[-1][0] == f"response.{status}"
    assert events[-1][1]["response"]["output"][0]["status"] == status


def test_an_answer_without_a_word_has_no_output() -> None:
    assert answered(content=None)["output"] == []
    assert answered(content="", tool_calls=[], refusal=None, reasoning_content="")["output"] == []


def test_a_refusal_is_a_part_of_the_message() -> None:
    assert answered(content=None, refusal="No.")["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]


def test_citations_and_probabilities_go_with_the_text() -> None:
    inner = {"start_index": 0, "end_index": 2, "title": "T", "url": "https://a.test"}
    cited = [{"type": "url_citation", "url_citation": inner}, {"type": "file_citation"}]
    bare = {"token": "ü", "bytes": None, "logprob": -1.0, "top_logprobs": [TOKEN]}
    response = answered(content="Hiü", annotations=cited, logprobs={"content": [TOKEN, bare], "refusal": None})
    part = response["output"][0]["content"][0]
    assert part["annotations"] == [{"type": "url_citation", **inner}]
    spelled = {"token": "Hi", "bytes": [72, 105], "logprob": -0.5}
    assert part["logprobs"] == [TOKEN, {**bare, "bytes": [0xC3, 0xBC], "top_logprobs": [spelled]}]
    assert Response.model_validate_json(json.dumps(response), strict=True)


def test_ids_are_of_one_stem_and_hold_nothing_odd() -> None:
    """Some providers count their answers from 0 to 999: the time keeps those apart."""
    for answer_id in ("chatcmpl-7", "msg_01/ü", None, 3, "", "x" * 99):
        response = whole({**completion(content="x"), "id": answer_id}, ASKED, created=NOW)
        stem = response["id"].removeprefix("resp_")
        assert re.fullmatch(r"[0-9a-zA-Z]{8,48}", stem)
        assert response["output"][0]["id"] == f"msg_{stem}_0"
    earlier = whole(completion(content="x"), ASKED, created=NOW - 1)
    assert earlier["id"] != answered(content="x")["id"]


def test_calls_without_an_id_get_one() -> None:
    made = answered(tool_calls=[{**call("shell", "{}"), "id": each} for each in ("", None)])["output"]
    assert [each["call_id"] for each in made] == [f"call_{STEM}_0", f"call_{STEM}_1"]


def test_what_was_used_is_told_only_if_it_is_known() -> None:
    assert answered(content="x")["usage"] is None
    known = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 9}
    assert answered(content="x", usage=known)["usage"]["total_tokens"] == 9
    counts = {**known, "prompt_tokens_details": None, "total_tokens": None}
    usage = answered(content="x", usage=counts)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (5, 2, 7)
    assert usage["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0}


@pytest.mark.parametrize(
    ("told_tier", "asked_tier", "tier"),
    [("flex", "auto", "flex"), ("on_demand", "auto", "auto"), (None, "priority", "priority"), (None, None, None)],
)
def test_service_tiers(told_tier: str | None, asked_tier: str | None, tier: str | None) -> None:
    answer = {**completion(content="x"), "service_tier": told_tier}
    assert whole(answer, {"model": "m", "service_tier": asked_tier}, created=NOW)["service_tier"] == tier


def test_nulls_in_a_request_are_told_as_what_holds() -> None:
    nothing = dict.fromkeys(["tools", "tool_choice", "metadata", "parallel_tool_calls", "reasoning"])
    response = answered({"model": "m", **nothing, "text": {"format": None}}, content="x")
    assert response["text"] == {"format": {"type": "text"}}
    assert Response.model_validate_json(json.dumps(response), strict=True)


def test_an_answer_does_not_share_what_the_next_one_says() -> None:
    bare = {"model": "m"}
    answered(bare, content="x")["metadata"]["a"] = "b"
    answered(bare, content="x")["text"]["format"]["type"] = "b"
    again = answered(bare, content="x")
    assert (again["metadata"], again["text"], again["tools"]) == ({}, {"format": {"type": "text"}}, [])


# -- streams --


def test_text_streams_at_once_in_the_order_of_openais_own_events() -> None:
    events = Events(ASKED, created=NOW)
    steps = [events.feed(None, chunk(delta)) for delta in ({"role": "assistant", "content": ""}, {"content": "Hi"})]
    steps += [events.feed(None, chunk({"content": " you"})), events.feed(None, chunk({}, "stop")), events.end()]
    assert [kinds(step) for step in steps] == [
        ["created", "in_progress"],
        ["output_item.added", "content_part.added", "output_text.delta"],
        ["output_text.delta"],
        ["output_text.done", "content_part.done", "output_item.done"],
        ["completed"],
    ]
    said = checked([event for step in steps for event in step])
    assert [data["delta"] for _, data in said if "delta" in data] == ["Hi", " you"]
    assert said[6][1]["text"] == "Hi you"
    assert said[7][1]["part"]["text"] == "Hi you"


def test_reasoning_comes_before_what_it_led_to_and_is_sealed_when_it_is_done() -> None:
    chunks = [
        chunk({"reasoning_content": "They "}),
        chunk({"reasoning_content": "want ü."}),
        chunk({"thinking_blocks": [THOUGHT]}),
        chunk({"thinking_blocks": [HIDDEN]}),
        chunk({"content": "Hi"}),
        chunk({}, "stop"),
    ]
    events = checked(told(chunks))
    assert kinds(events)[2:9] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    assert events[2][1]["item"]["summary"] == []
    assert events[8][1]["item"] == whole(EVERYTHING, ASKED, created=NOW)["output"][0]


def test_signed_thinking_makes_the_round_trip_byte_for_byte() -> None:
    """An answer's items, sent back as they are, give the provider the blocks that it signed."""
    output = whole(EVERYTHING, ASKED, created=NOW)["output"]
    back = request({**ASKED, "input": output})["messages"][1]
    assert back == {
        "role": "assistant",
        "content": "Let me look.",
        "thinking_blocks": [THOUGHT, HIDDEN],
        "tool_calls": [
            call("shell", '{"command": ["ls"]}'),
            call("apply_patch", '{"input":"*** Begin\\nü 😀"}', "call_2"),
            call("tickets__find", "{}", "call_3"),
        ],
    }


def test_openais_reasoning_items_make_the_round_trip_too() -> None:
    item = {"type": "reasoning", "id": "rs_9", "summary": [], "encrypted_content": "gAAA"}
    output = answered(content="x", reasoning_content="Hm", reasoning_items=[item])["output"]
    assert output[0]["summary"] == [{"type": "summary_text", "text": "Hm"}]
    assert request({**ASKED, "input": output})["messages"][1]["reasoning_items"] == [item]


def test_reasoning_that_is_only_in_signed_blocks_is_told_to_the_reader() -> None:
    for blocks, text in (([THOUGHT, HIDDEN], "They want ü."), ([HIDDEN], None)):
        summary = answered(thinking_blocks=blocks, content="x")["output"][0]["summary"]
        assert summary == ([{"type": "summary_text", "text": text}] if text else [])


def test_reasoning_for_the_reader_only_is_not_sealed() -> None:
    assert answered(reasoning="Hm", content="x")["output"][0]["encrypted_content"] is None


def test_reasoning_told_under_two_names_is_told_once() -> None:
    both = {"reasoning": "Hm", "reasoning_content": "Hm"}
    assert answered(**both, content="x")["output"][0]["summary"][0]["text"] == "Hm"
    streamed = last([chunk(both), chunk(both), chunk({"content": "x"}, "stop")])
    assert streamed["output"][0]["summary"][0]["text"] == "HmHm"


def test_parallel_calls_may_interleave() -> None:
    chunks = [
        chunk(fragment("", 0, "shell", "call_1")),
        chunk(fragment('{"a"', 0)),
        chunk(fragment('{"inp', 1, "apply_patch", "call_2")),
        chunk(fragment(":1}", 0)),
        chunk(fragment('ut":"x\\', 1)),
        chunk({"tool_calls": [*fragment('ny"}', 1)["tool_calls"], *fragment(" ", 0)["tool_calls"]]}),
        chunk({}, "tool_calls"),
    ]
    events = checked(told(chunks))
    deltas = [(data["output_index"], data["delta"]) for _, data in events if "delta" in data]
    assert deltas == [(0, '{"a"'), (0, ":1}"), (1, "x"), (1, "\ny"), (0, " ")]
    first, second = events[-1][1]["response"]["output"]
    assert (first["arguments"], second["input"]) == ('{"a":1} ', "x\ny")
    assert kinds(events)[-5:] == [
        "function_call_arguments.done",
        "output_item.done",
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ]


def test_a_call_that_is_whole_is_done_when_the_next_begins() -> None:
    """So a client can run it while the next one is still being written."""
    events = Events(ASKED, created=NOW)
    events.feed(None, chunk({"content": "Now"}))
    opened = kinds(events.feed(None, chunk(fragment('{"a":1}', 0, "shell", "call_1"))))
    assert opened[:4] == ["output_text.done", "content_part.done", "output_item.done", "output_item.added"]
    following = kinds(events.feed(None, chunk(fragment("{", 1, "shell", "call_2"))))
    assert following[:3] == ["function_call_arguments.done", "output_item.done", "output_item.added"]
    assert events.feed(None, chunk(fragment(" \n", 0))) == []
    with pytest.raises(ProviderFailed):
        events.feed(None, chunk(fragment("}", 0)))


def test_what_closes_the_arguments_of_a_custom_tool_may_come_late() -> None:
    chunks = [
        chunk(fragment('{"input":"x"', 0, "apply_patch", "call_1")),
        chunk(fragment("{}", 1, "shell", "call_2")),
        chunk(fragment("}", 0), "tool_calls"),
    ]
    assert checked(told(chunks))[-1][1]["response"]["output"][0]["input"] == "x"


@pytest.mark.parametrize("index", [0, None])
def test_calls_that_are_all_numbered_alike_are_told_apart_by_their_ids(index: int | None) -> None:
    chunks = [chunk(fragment("{}", index, "shell", f"call_{each}")) for each in (1, 2)]
    output = last([*chunks, chunk({}, "tool_calls")])["output"]
    assert [(item["call_id"], item["arguments"]) for item in output] == [("call_1", "{}"), ("call_2", "{}")]


def test_a_call_whose_name_and_id_are_repeated_is_one_call() -> None:
    chunks = [chunk(fragment(piece, 0, "shell", "call_1")) for piece in ("{", "}")]
    assert [item["arguments"] for item in last([*chunks, chunk({}, "stop")])["output"]] == ["{}"]


def test_text_behind_a_call_is_an_item_of_its_own() -> None:
    """What is done stays done, and the order is that of the model."""
    chunks = [chunk({"content": "One"}), chunk(fragment("{}", 0, "shell", "c")), chunk({"content": "Two"}, "stop")]
    output = checked(told(chunks))[-1][1]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "message"]


def test_text_and_refusal_are_parts_of_one_message() -> None:
    chunks = [chunk({"content": "One"}), chunk({"refusal": "No"}), chunk({"refusal": "."}), chunk({"content": "Two"})]
    events = checked(told([*chunks, chunk({}, "stop")]))
    parts = events[-1][1]["response"]["output"][0]["content"]
    assert [part.get("text", part.get("refusal")) for part in parts] == ["One", "No.", "Two"]
    assert [data["content_index"] for name, data in events if name == "response.content_part.added"] == [0, 1, 2]


def test_citations_and_tokens_that_come_late_go_to_the_text_that_is_open() -> None:
    cited = {"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 2, "title": "", "url": "u"}}
    late = chunk({"annotations": [cited]})
    late["choices"][0]["logprobs"] = {"content": [TOKEN]}
    events = checked(told([chunk({"annotations": [cited]}), chunk({"content": "Hi"}), late, chunk({}, "stop")]))
    marks = [data["annotation_index"] for name, data in events if str(name).endswith("annotation.added")]
    part = events[-1][1]["response"]["output"][0]["content"][0]
    assert (marks, len(part["annotations"]), part["logprobs"]) == ([0, 1], 2, [TOKEN])


def test_usage_may_come_in_the_last_chunk_behind_it_or_never() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    text, bare = chunk({"content": "x"}), {**chunk(), "choices": [], "usage": usage}
    for chunks, total in (
        ([text, chunk({}, "stop", usage=usage)], 7),
        ([text, chunk({}, "stop"), bare], 7),
        ([{**text, "usage": usage}, chunk({}, "stop")], 7),
        ([{**bare, "usage": None}, text, chunk({}, "stop")], None),
    ):
        events = checked(told(chunks))
        found = events[-1][1]["response"]["usage"]
        assert (found and found["total_tokens"]) == total
        assert events[0][1]["response"]["usage"] is None


def test_chunks_before_the_first_choice_and_of_other_choices_say_nothing() -> None:
    events = Events(ASKED, created=NOW)
    assert events.feed(None, {"id": "", "model": "", "choices": [], "prompt_filter_results": []}) == []
    assert kinds(events.feed(None, chunk({"role": "assistant"}))) == ["created", "in_progress"]
    other = chunk({"content": "x"})
    other["choices"][0]["index"] = 1
    assert events.feed(None, other) == []


# -- the text of custom tools --


def custom(fragments: Iterable[str]) -> tuple[list[str], str]:
    """The deltas of a custom tool's call, and its input."""
    chunks = [chunk(fragment(piece, 0, "apply_patch", "c")) for piece in ["", *fragments]]
    events = told([*chunks, chunk({}, "tool_calls")])
    deltas = [data["delta"] for name, data in events if name == "response.custom_tool_call_input.delta"]
    done = next(data["input"] for name, data in events if name == "response.custom_tool_call_input.done")
    assert "".join(deltas) == done == events[-1][1]["response"]["output"][0]["input"]
    return deltas, done


WRITTEN = {
    r'{"input":"a\n\"b\\\u00fc\ud83d\ude00\/"}': 'a\n"b\\ü😀/',
    r' { "input" : "x" , "more": "y" } ': "x",
    r'{"input":"\\u00fc \\"}': "\\u00fc \\",
    r'{"input":"\ud83d x \ude00 \ud83d\ud83d\ude00 \ud83dA \ud83d\n"}': "\ufffd x \ufffd \ufffd😀 \ufffdA \ufffd\n",
    '{"input":"a\nb \\d \\u12 \\uzz é😀"}': "a\nb \\d \\u12 \\uzz é😀",
    '{"input":""}': "",
    '{"input":"cut off\\': "cut off",
    '{"input":"cut off\\ud83d\\ud': "cut off",
    '{"patch":"x"}': "x",
    '{"a":1,"input":"x"}': "x",
    '{"input":{"a":1}}': '{"input":{"a":1}}',
    '"*** Begin"': "*** Begin",
    "*** Begin\n": "*** Begin\n",
    "{}": "{}",
    "": "",
    "[1]": "[1]",
    "[" * 2000: "[" * 2000,
    '{"input"' + " " * 40 + ':"x"}': "x",
}


@pytest.mark.parametrize(("arguments", "text"), WRITTEN.items())
def test_a_custom_tools_text_is_unwrapped_however_its_arguments_are_cut(arguments: str, text: str) -> None:
    cuts: list[list[str]] = [[arguments], list(arguments)]
    if len(arguments) < 99:
        cuts += [[arguments[:at], arguments[at:]] for at in range(1, len(arguments))]
    for pieces in cuts:
        assert custom(pieces)[1] == text


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=30), st.booleans(), st.integers(1, 5))
@example("😀\u2028\ud7ff", True, 1)
def test_any_text_comes_out_of_its_json(text: str, ascii_only: bool, size: int) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only)
    assert custom(arguments[at : at + size] for at in range(0, len(arguments), size))[1] == text


def test_a_custom_tools_text_is_told_as_it_comes() -> None:
    assert custom(['{"inp', 'ut": "one', " two\\", "nthree", '"', "}"])[0] == ["one", " two", "\nthree"]


def test_tools_that_codex_puts_into_the_input_are_known_by_both_names() -> None:
    """Its newer models get all their tools so, a custom one in a namespace among them."""
    space = {"type": "namespace", "name": "functions", "description": "", "tools": [{"type": "custom", "name": "exec"}]}
    more = {"type": "additional_tools", "role": "developer", "tools": [space]}
    asked: Json = {"model": "m", "input": [more, {"role": "user", "content": "Hi"}]}
    name = request(asked)["tools"][0]["function"]["name"]
    item = answered(asked, tool_calls=[call(name, '{"input":"text(1)"}')])["output"][0]
    assert (item["type"], item["namespace"], item["name"], item["input"]) == (
        *("custom_tool_call", "functions", "exec", "text(1)"),
    )
    assert request({**asked, "input": [*asked["input"], item]})["messages"][1]["tool_calls"] == [
        call(name, '{"input":"text(1)"}')
    ]


# -- what cannot be read --


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        ({"message": "Busy.", "type": "server_error", "code": 503}, 503, "Busy."),
        ({"message": "No.", "type": "invalid_request_error", "code": "bad"}, 502, "No."),
        ({"message": "Your key is wrong.", "code": 401}, 502, "Your key is wrong."),
        ("Busy.", 502, "Busy."),
        ({"code": []}, 502, "The provider reported an error without a word."),
    ],
)
def test_errors_keep_their_words(error: Any, status: int, message: str) -> None:
    for read in (
        lambda told: Events(ASKED, created=NOW).feed(None, told),
        lambda told: whole(told, ASKED, created=NOW),
    ):
        with pytest.raises(ProviderFailed, match=re.escape(message)) as found:
            read({"error": error})
        assert found.value.status == status
    assert failure({"error": {"code": "quota", "type": "t"}}).code == "quota"


@pytest.mark.parametrize(
    "delta",
    [
        {"content": 3},
        {"content": [{"type": "text"}]},
        {"refusal": {}},
        {"reasoning_content": 3},
        {"thinking_blocks": "x"},
        {"thinking_blocks": ["x"]},
        {"annotations": 3},
        {"annotations": [{"type": "url_citation", "url_citation": 3}]},
        {"tool_calls": "x"},
        {"tool_calls": [3]},
        {"tool_calls": [{"index": 0, "function": "x"}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": {}}}]},
        {"tool_calls": [{"index": 0, "id": 3, "function": {"name": "f"}}]},
        {"tool_calls": [{"index": 0, "type": "custom", "custom": {"name": "f", "input": "x"}}]},
    ],
)
def test_deltas_and_messages_that_cannot_be_read_are_the_providers_failure(delta: Json) -> None:
    with pytest.raises(ProviderFailed):
        told([chunk(delta)])
    with pytest.raises(ProviderFailed):
        whole({**completion(), "choices": [{"message": delta}]}, ASKED, created=NOW)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": {}},
        {"choices": ["x"]},
        {"choices": [{"index": 1, "message": {}}]},
        {"choices": [{"message": "x"}]},
        {"choices": [{"message": {}, "finish_reason": 3}]},
        {"choices": [{"message": {}, "logprobs": 3}]},
        {"choices": [{"message": {}, "logprobs": {"content": [{"token": 3}]}}]},
        {"choices": [{"message": {}}], "model": 3},
        {"choices": [{"message": {}}], "usage": []},
    ],
)
def test_what_is_no_completion_is_the_providers_failure(answer: Json) -> None:
    with pytest.raises(ProviderFailed):
        whole(answer, ASKED, created=NOW)


def test_a_stream_without_an_answer_is_the_providers_failure() -> None:
    for chunks in ([], [{"choices": []}]):
        with pytest.raises(ProviderFailed):
            told(chunks)


def test_losses_say_why_in_a_sentence() -> None:
    for why in LOSSES.values():
        assert re.fullmatch(r"[A-Z`].*[.]", why)
    assert set(INCOMPLETE.values()) == {"max_output_tokens", "content_filter"}


# -- whole and streamed say the same --

TEXT = st.text(max_size=90)
WORD = st.text("abcdefghij_", min_size=1, max_size=9)


def maybe(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({}, optional=members)


def token(text: str) -> Json:
    return {"token": text, "logprob": -0.5, "bytes": list(text.encode("utf-8", "replace")), "top_logprobs": []}


arguments = st.one_of(TEXT, TEXT.map(lambda text: json.dumps({"input": text})), st.just('{"a": 1}'))
calls = st.builds(call, st.sampled_from(["shell", "apply_patch", "tickets__find", "other"]), arguments, WORD)
citation = st.builds(lambda url: {"type": "url_citation", "url_citation": {"url": url}}, WORD)
messages = st.builds(
    lambda known, more: {"role": "assistant", **known, **more},
    maybe(
        content=st.none() | TEXT,
        refusal=st.none() | TEXT,
        reasoning_content=st.none() | TEXT,
        reasoning=TEXT,
        thinking_blocks=st.lists(st.sampled_from([THOUGHT, HIDDEN]), max_size=2),
        annotations=st.lists(citation, max_size=2),
        our_own=WORD,
    ),
    maybe(tool_calls=st.none() | st.lists(calls, max_size=3)),
)
usages = st.fixed_dictionaries({"prompt_tokens": st.integers(0, 99), "completion_tokens": st.integers(0, 99)})


@st.composite
def completions(draw: st.DrawFn) -> Json:
    message = draw(messages)
    choice = {"index": 0, "message": message, "finish_reason": draw(st.sampled_from(sorted(replay.FINISHED)))}
    choice["logprobs"] = draw(st.none() | st.fixed_dictionaries({"content": st.lists(WORD.map(token), max_size=3)}))
    if (text := message.get("content")) and draw(st.booleans()):
        choice["logprobs"] = {"content": [token(text[at : at + 3]) for at in range(0, len(text), 3)], "refusal": None}
    head = {"id": draw(WORD), "object": "chat.completion", "created": 1, "model": draw(WORD), "choices": [choice]}
    return head | draw(maybe(usage=usages, service_tier=st.sampled_from(["flex", "on_demand"])))


def replayed(answer: Json, *, usage: bool = True) -> Iterator[Json]:
    """The chunks that tell *answer*."""
    for raw in replay.events(answer, usage=usage):
        yield from (json.loads(event.data) for event in sse.parse(raw))


@settings(deadline=None, max_examples=150)
@given(completions())
def test_a_stream_ends_with_what_the_whole_answer_is(answer: Json) -> None:
    events = checked(told(replayed(answer)))
    response = whole(answer, ASKED, created=NOW)
    assert events[-1][1]["response"] == response
    assert Response.model_validate_json(json.dumps(response), strict=True)


@settings(deadline=None, max_examples=60)
@given(completions())
def test_the_deltas_are_what_the_end_says(answer: Json) -> None:
    """Nothing is told at the end that was not told before, and nothing twice."""
    events = told(replayed(answer))
    deltas: dict[tuple[int, Any], str] = {}
    for _, data in events:
        if "delta" in data:
            place = data["output_index"], data.get("content_index", data.get("summary_index"))
            deltas[place] = deltas.get(place, "") + data["delta"]
    said: dict[tuple[int, Any], str] = {}
    for index, item in enumerate(events[-1][1]["response"]["output"]):
        parts = item.get("summary", item.get("content"))
        if parts is None:
            said[index, None] = item.get("arguments", item.get("input"))
        else:
            said |= {(index, row): part.get("text", part.get("refusal")) for row, part in enumerate(parts)}
    assert deltas == {place: text for place, text in said.items() if text}


# -- the real SDK --


class Weather(pydantic.BaseModel):
    city: str


def sdk_answer(answer: Json) -> Any:
    """An upstream of chat behind the translation, as the SDK sees it."""

    def handle(sent: httpx.Request) -> httpx.Response:
        asked = json.loads(sent.content)
        assert request(asked)["messages"]
        if not asked.get("stream"):
            return httpx.Response(200, json=whole(answer, asked, created=NOW))
        raw = b"".join(sse.encode(json.dumps(data).encode(), name) for name, data in told(replayed(answer), asked))
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=raw)

    return httpx.MockTransport(handle)


def sdk(answer: Json) -> openai.OpenAI:
    client = httpx.Client(transport=sdk_answer(answer))
    return openai.OpenAI(api_key="k", base_url="http://sdk.test/v1", http_client=client, max_retries=0)


def test_the_sdk_reads_a_whole_answer() -> None:
    with sdk(EVERYTHING) as client:
        response = client.responses.create(model="m", input="Hi", tools=[SHELL, PATCH])  # type: ignore[list-item]  # as JSON
    assert response.output_text == "Let me look."
    assert [item.type for item in response.output] == [
        *("reasoning", "message", "function_call", "custom_tool_call", "function_call"),
    ]
    assert response.usage is not None
    assert response.usage.input_tokens_details.cached_tokens == 100


def test_the_sdks_stream_of_raw_events() -> None:
    with sdk(EVERYTHING) as client:
        events = list(client.responses.create(model="m", input="Hi", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"


def test_the_sdks_own_accumulation_gives_the_whole_answer() -> None:
    asked: Any = {"model": "m", "input": "Hi", "tools": [SHELL, PATCH, TICKETS]}
    with sdk(EVERYTHING) as client, client.responses.stream(**asked) as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        found = stream.get_final_response().model_dump(mode="json", exclude_none=True)
        direct = client.responses.create(**asked).model_dump(mode="json", exclude_none=True)
    assert snapshots[-1] == "Let me look."
    for item in found["output"]:
        item.pop("parsed_arguments", None)
    assert found["output"] == direct["output"]
    assert found["usage"] == direct["usage"]


def test_the_sdks_asynchronous_stream() -> None:
    async def run() -> str:
        client = httpx.AsyncClient(transport=sdk_answer(EVERYTHING))
        async with (
            openai.AsyncOpenAI(api_key="k", base_url="http://sdk.test/v1", http_client=client) as ours,
            ours.responses.stream(model="m", input="Hi") as stream,
        ):
            return (await stream.get_final_response()).output_text

    assert asyncio.run(run()) == "Let me look."


def test_the_sdk_parses_structured_answers() -> None:
    answer = completion(content='{"city": "Zürich"}')
    with sdk(answer) as client:
        parsed = client.responses.parse(model="m", input="Hi", text_format=Weather)
        with client.responses.stream(model="m", input="Hi", text_format=Weather) as stream:
            streamed = stream.get_final_response()
    assert parsed.output_parsed == streamed.output_parsed == Weather(city="Zürich")


def test_the_sdk_parses_the_arguments_of_tools() -> None:
    tool = openai.pydantic_function_tool(Weather, name="weather")["function"]
    flat: Any = {"type": "function", **tool}
    answer = completion(content=None, finish="tool_calls", tool_calls=[call("weather", '{"city":"Bern"}')])
    with sdk(answer) as client:
        response = client.responses.parse(model="m", input="Hi", tools=[flat])
    assert response.output[0].type == "function_call"
    assert response.output[0].parsed_arguments == {"city": "Bern"}


def test_an_answer_that_was_cut_off_is_read_as_one() -> None:
    with sdk(completion(content="Hal", finish="length")) as client:
        events = list(client.responses.create(model="m", input="Hi", stream=True))
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details is not None
    assert events[-1].response.incomplete_details.reason == "max_output_tokens"
