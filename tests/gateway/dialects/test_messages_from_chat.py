"""Chat's answers in Anthropic's words: the same message whole, streamed, and as Anthropic's own package reads it."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any, get_args

import httpx2
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import Message, RawMessageStreamEvent, StopReason
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from membrain import sse
from membrain.dialects import messages_to_chat, replay
from membrain.dialects.messages_from_chat import LOSSES, STOP_REASONS, Events, failure, usage_from_chat, whole
from membrain.errors import ProviderFailed

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
Event = tuple[str | None, Json]
NOW = 1_700_000_000
ASKED: Json = {
    "model": "gpt-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hi"}],
    "thinking": {"type": "adaptive"},
}


def call(arguments: Any, id: str = "call_1", name: str = "weather") -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def completion(finish: str | None = "stop", usage: Any = None, **message: Any) -> Json:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": NOW,
        "model": "gpt-5-2025-08-07",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": None, "refusal": None, **message},
                "logprobs": None,
                "finish_reason": finish,
            }
        ],
        **({} if usage is None else {"usage": usage}),
    }


def answered(finish: str | None = "stop", asked: Json = ASKED, **message: Any) -> Json:
    return whole(completion(finish, **message), asked, created=NOW)


THOUGHT: Json = {"type": "thinking", "thinking": "They want both.", "signature": "c2ln"}
HIDDEN: Json = {"type": "redacted_thinking", "data": "eA=="}
ITEMS: list[Json] = [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "ä="}]

COMPLETION = completion(
    "tool_calls",
    {
        "prompt_tokens": 1110,
        "completion_tokens": 7,
        "total_tokens": 1117,
        "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 3},
    },
    content="Let me look.",
    reasoning_content="They want both.",
    thinking_blocks=[THOUGHT, HIDDEN],
    tool_calls=[call('{"city": "Zürich", "days": 2}'), call("", "call_2", "time")],
    annotations=[],
)
MESSAGE: Json = {
    "id": "msg_chatcmpl-1",
    "type": "message",
    "role": "assistant",
    "model": "gpt-5-2025-08-07",
    "content": [
        THOUGHT,
        HIDDEN,
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Zürich", "days": 2}},
        {"type": "tool_use", "id": "call_2", "name": "time", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 10,
        "cache_creation_input_tokens": 1000,
        "cache_read_input_tokens": 100,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 3},
    },
}


# -- whole --


def test_an_answer_with_everything_in_it() -> None:
    before = copy.deepcopy(COMPLETION)
    assert whole(COMPLETION, ASKED, created=NOW) == MESSAGE
    assert before == COMPLETION


def test_anthropics_own_package_reads_the_answer() -> None:
    read = Message.model_validate_json(json.dumps(whole(COMPLETION, ASKED, created=NOW)), strict=True)
    assert [block.type for block in read.content] == ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]


@pytest.mark.parametrize(
    ("finish", "calls", "reason"),
    [
        ("stop", False, "end_turn"),
        ("stop", True, "tool_use"),  # Ollama says so beside calls
        ("tool_calls", True, "tool_use"),
        ("tool_calls", False, "end_turn"),
        ("function_call", True, "tool_use"),
        ("length", False, "max_tokens"),
        ("length", True, "max_tokens"),
        ("content_filter", False, "refusal"),
        ("something_new", False, "end_turn"),
        (None, False, "end_turn"),
        (None, True, "tool_use"),
    ],
)
def test_stop_reasons(finish: str | None, calls: bool, reason: str) -> None:
    answer = completion(finish, content="Hi", **({"tool_calls": [call("{}")]} if calls else {}))
    assert whole(answer, ASKED, created=NOW)["stop_reason"] == reason
    assert assembled(streamed(answer))["stop_reason"] == reason


def test_every_stop_reason_is_one_of_anthropics() -> None:
    assert set(STOP_REASONS.values()) <= set(get_args(StopReason))


def test_an_empty_answer_has_no_blocks() -> None:
    assert answered(content="")["content"] == []
    assert answered(content=None)["content"] == []


def test_a_refusal_is_said_as_text() -> None:
    message = answered(refusal="I cannot.")
    assert message["content"] == [{"type": "text", "text": "I cannot."}]
    assert message["stop_reason"] == "refusal"


def test_ids_that_are_anthropics_already_are_kept() -> None:
    assert whole({**completion(content="Hi"), "id": "msg_01"}, ASKED, created=NOW)["id"] == "msg_01"


def test_a_model_that_is_not_told_is_the_one_that_was_asked() -> None:
    assert whole({**completion(content="Hi"), "model": ""}, ASKED, created=NOW)["model"] == "gpt-5"


def test_a_call_without_an_id_gets_one_of_its_own() -> None:
    """Some local servers leave it empty; a result could not name its call."""
    message = answered(tool_calls=[call("{}", ""), call("{}", "")])
    ids = [block["id"] for block in message["content"]]
    assert len(set(ids)) == 2
    assert [block["id"] for block in assembled(streamed(completion(tool_calls=[call("{}", "")] * 2)))["content"]] == ids


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ('{"a": 1}', {"a": 1}),
        ({"a": 1}, {"a": 1}),
        ("", {}),
        (None, {}),
        (" \n", {}),
        ("null", {}),
        ("{}", {}),
        ("[1]", {"_raw": "[1]"}),
        ('"x"', {"_raw": '"x"'}),
        ("none", {"_raw": "none"}),
        (" 7", {"_raw": " 7"}),
    ],
)
def test_arguments_become_an_object_and_are_never_lost(arguments: Any, given: Json) -> None:
    assert answered(tool_calls=[call(arguments)])["content"][0]["input"] == given
    answer = completion(tool_calls=[call(arguments)])
    assert assembled(streamed(answer))["content"][0]["input"] == given


def test_arguments_that_break_off_are_kept_whole_and_streamed_as_they_came() -> None:
    broken = '{"path": "/a", "con'
    assert answered("length", tool_calls=[call(broken)])["content"][0]["input"] == {"_raw": broken}
    deltas = [
        data["delta"] for name, data in streamed(completion("length", tool_calls=[call(broken)])) if name == DELTA
    ]
    assert "".join(delta["partial_json"] for delta in deltas) == broken


# -- thinking --


def test_thinking_that_nobody_signed_has_an_empty_signature() -> None:
    unsigned = {"type": "thinking", "thinking": "Hm.", "signature": ""}
    hi = {"type": "text", "text": "Hi"}
    assert answered(content="Hi", reasoning_content="Hm.")["content"] == [unsigned, hi]
    assert answered(content="Hi", reasoning="Hm.")["content"] == [unsigned, hi]  # Ollama's name for it


@pytest.mark.parametrize("thinking", [None, {"type": "disabled"}, {"type": "adaptive", "display": "omitted"}])
def test_who_wants_no_thinking_gets_what_is_signed_and_no_more(thinking: Json | None) -> None:
    asked = {**ASKED, "thinking": thinking}
    answer = completion(content="Hi", reasoning_content="Hm.")
    for message in (whole(answer, asked, created=NOW), assembled(streamed(answer, asked))):
        assert message["content"] == [{"type": "text", "text": "Hi"}]
    signed = completion(reasoning_content=THOUGHT["thinking"], thinking_blocks=[THOUGHT])
    for message in (whole(signed, asked, created=NOW), assembled(streamed(signed, asked))):
        assert message["content"] == [THOUGHT]


def test_signed_thinking_returns_to_its_provider_as_it_was_signed() -> None:
    answer = completion(content="Hi", reasoning_content="They want both.", thinking_blocks=[THOUGHT, HIDDEN])
    for message in (whole(answer, ASKED, created=NOW), assembled(streamed(answer))):
        returned = messages_to_chat.request({**ASKED, "messages": [{"role": "assistant", **pick(message)}]})
        assert returned["messages"][0]["thinking_blocks"] == [THOUGHT, HIDDEN]


def test_reasoning_items_return_to_openai_as_they_were() -> None:
    answer = completion(content="Hi", reasoning_content="Hm.", reasoning_items=ITEMS)
    for message in (whole(answer, ASKED, created=NOW), assembled(streamed(answer))):
        assert [block["type"] for block in message["content"]] == ["thinking", "redacted_thinking", "text"]
        assert message["content"][1]["data"].startswith("mb1.")
        assert json.loads(base64.b64decode(message["content"][1]["data"][4:])) == ITEMS
        returned = messages_to_chat.request({**ASKED, "messages": [{"role": "assistant", **pick(message)}]})
        assert returned["messages"][0]["reasoning_items"] == ITEMS
        assert "thinking_blocks" not in returned["messages"][0]


def pick(message: Json) -> Json:
    return {"content": message["content"]}


# -- usage --


def test_input_tokens_leave_out_the_cached_ones() -> None:
    """OpenAI counts them in; taking the number over would bill them twice."""
    usage = {"prompt_tokens": 431, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 30}}
    assert usage_from_chat(usage) == {
        "input_tokens": 401,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 30,
        "output_tokens": 2,
    }


@pytest.mark.parametrize("usage", [None, {}, "x", {"prompt_tokens": -1, "completion_tokens": 1}])
def test_without_counts_there_are_zeros(usage: Any) -> None:
    assert set(usage_from_chat(usage).values()) == {0}


def test_more_cached_than_asked_is_never_less_than_nothing() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 30}}
    assert usage_from_chat(usage)["input_tokens"] == 0


# -- what cannot be read --


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {**completion(), "choices": []},
        {**completion(), "choices": {}},
        {**completion(), "choices": ["x"]},
        {**completion(), "choices": [{"index": 0}]},
        {**completion(content="Hi"), "id": None},
        {**completion(content="Hi"), "id": 7},
        completion(content=["Hi"]),
        completion(reasoning_content=7),
        completion(thinking_blocks=[{"type": "new"}]),
        completion(thinking_blocks=[{"type": "redacted_thinking", "data": 7}]),
        completion(tool_calls=["x"]),
        completion(tool_calls=[{"id": "x"}]),
        completion(tool_calls=[call("{}", name="")]),
        completion(tool_calls=[call(["x"])]),
    ],
)
def test_what_is_no_completion_is_the_providers_failure(broken: Json) -> None:
    with pytest.raises(ProviderFailed, match="not of the shape") as raised:
        whole(broken, ASKED, created=NOW)
    assert raised.value.status == 502


@pytest.mark.parametrize(
    "piece",
    [
        {"choices": {}},
        {"choices": ["x"]},
        {"choices": [{"index": 0, "delta": "x"}]},
        {"choices": [{"index": 0, "delta": {"content": 7}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": "x"}]}}]},
        {"choices": [{"index": 0, "delta": {"thinking_blocks": [{"type": "new"}]}}]},
        {"id": "", "choices": [{"index": 0, "delta": {}}]},
    ],
)
def test_what_is_no_chunk_is_the_providers_failure(piece: Json) -> None:
    with pytest.raises(ProviderFailed, match="not of the shape"):
        Events(ASKED, created=NOW).feed(None, {"id": "chatcmpl-1", "model": "m", **piece})


def test_a_stream_that_said_nothing_at_all_is_none() -> None:
    events = Events(ASKED, created=NOW)
    assert events.feed(None, {"id": "", "model": "", "choices": [], "prompt_filter_results": []}) == []
    with pytest.raises(ProviderFailed):
        events.end()


@pytest.mark.parametrize(
    ("error", "status", "code", "passing"),
    [
        ({"message": "Too many.", "type": "requests", "code": "rate_limit"}, 502, "rate_limit", True),
        ({"message": "Too many.", "code": 429}, 429, "provider_failed", True),
        ({"message": "Bad.", "code": 400}, 400, "provider_failed", False),
        ({"message": "No key.", "code": 401}, 502, "provider_failed", True),
        ({"message": "A text is no code.", "code": "a text"}, 502, "provider_failed", True),
        ("In a string.", 502, "provider_failed", True),
    ],
)
def test_errors_keep_their_words(error: Any, status: int, code: str, passing: bool) -> None:
    told = {"error": error}
    with pytest.raises(ProviderFailed) as raised:
        Events(ASKED, created=NOW).feed(None, told)
    assert raised.value.message == (error if isinstance(error, str) else error["message"])
    assert (raised.value.status, raised.value.code, raised.value.passing) == (status, code, passing)
    with pytest.raises(ProviderFailed, match=raised.value.message):
        whole(told, ASKED, created=NOW)


@pytest.mark.parametrize("error", [{}, {"message": 7}, 7, [1]])
def test_an_error_that_says_nothing_is_an_error_all_the_same(error: Any) -> None:
    assert "without a word" in failure({"error": error}).message


# -- streams --

DELTA = "content_block_delta"


def chunks_of(answer: Json, *, usage: bool = True) -> list[Json]:
    """The chunks in which a chat provider would stream *answer*."""
    return [json.loads(event.data) for raw in replay.events(answer, usage=usage) for event in sse.parse(raw)]


def fed(chunks: list[Json], asked: Json = ASKED) -> list[Event]:
    events = Events(asked, created=NOW)
    told = [event for chunk in chunks for event in events.feed(None, chunk)]
    return [*told, *events.end()]


def streamed(answer: Json, asked: Json = ASKED) -> list[Event]:
    return fed(chunks_of(answer), asked)


def chunk(finish: str | None = None, **delta: Any) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": NOW, "model": "m", "choices": [choice]}


def piece(index: int | None, arguments: str = "", *, id: str = "", name: str = "") -> Json:
    """A chunk with a fragment of a call."""
    begun = {"id": id, "type": "function"} if id else {}
    function = {"arguments": arguments, **({"name": name} if name else {})}
    place = {} if index is None else {"index": index}
    return chunk(tool_calls=[{**place, **begun, "function": function}])


def assembled(events: list[Event]) -> Json:
    """The message that a client puts together from *events*, strict about their order: one open block at a time."""
    assert [name for name, _ in events] == [data["type"] for _, data in events]
    (_, first), *between, (last, _) = events
    assert (first["type"], last) == ("message_start", "message_stop")
    message: Json = json.loads(json.dumps(first["message"]))
    blocks: list[Json] = message["content"]
    written: str | None = None
    is_open = False
    for name, data in between:
        if name == "content_block_start":
            assert not is_open
            assert data["index"] == len(blocks)
            blocks.append(json.loads(json.dumps(data["content_block"])))
            is_open, written = True, None
        elif name == DELTA:
            assert is_open
            assert data["index"] == len(blocks) - 1
            written = grown(blocks[-1], data["delta"], written)
        elif name == "content_block_stop":
            assert is_open
            is_open = False
            if written is not None:
                blocks[-1]["input"] = json.loads(written)
        else:
            assert name == "message_delta"
            assert not is_open
            message |= data["delta"] | {"usage": data["usage"]}
    assert not is_open
    return message


def grown(block: Json, delta: Json, written: str | None) -> str | None:
    """Add *delta* to *block*; arguments are collected in *written* until they are all there."""
    kind = delta["type"].removesuffix("_delta")
    if kind == "input_json":
        return (written or "") + str(delta["partial_json"])
    if kind == "signature":
        block["signature"] = delta["signature"]
    else:
        assert delta[kind], "an empty delta says nothing"
        block[kind] += delta[kind]
    return written


def test_the_events_of_a_stream() -> None:
    """Written out once, so that the order and the shape of every event can be read."""
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}}
    told = fed(
        [
            chunk(role="assistant", content=""),
            chunk(reasoning_content="Hm."),
            chunk(content="Hel"),
            chunk(content="lo."),
            piece(0, id="call_1", name="f"),
            piece(0, '{"a'),
            piece(0, '": 1}'),
            chunk("tool_calls"),
            {**chunk(), "choices": [], "usage": usage},
        ]
    )
    counts = {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}
    start = {"id": "msg_chatcmpl-1", "type": "message", "role": "assistant", "model": "m", "content": []}
    use = {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}

    def opened(index: int, block: Json) -> Json:
        return {"type": "content_block_start", "index": index, "content_block": block}

    def delta(index: int, kind: str, name: str, text: str) -> Json:
        return {"type": DELTA, "index": index, "delta": {"type": kind, name: text}}

    assert [data for _, data in told] == [
        {"type": "message_start", "message": {**start, "stop_reason": None, "stop_sequence": None, "usage": counts}},
        opened(0, {"type": "thinking", "thinking": "", "signature": ""}),
        delta(0, "thinking_delta", "thinking", "Hm."),
        {"type": "content_block_stop", "index": 0},
        opened(1, {"type": "text", "text": ""}),
        delta(1, "text_delta", "text", "Hel"),
        delta(1, "text_delta", "text", "lo."),
        {"type": "content_block_stop", "index": 1},
        opened(2, use),
        delta(2, "input_json_delta", "partial_json", '{"a'),
        delta(2, "input_json_delta", "partial_json", '": 1}'),
        {"type": "content_block_stop", "index": 2},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {**counts, "input_tokens": 7, "cache_read_input_tokens": 2, "output_tokens": 4},
        },
        {"type": "message_stop"},
    ]


def test_every_piece_is_passed_on_at_once() -> None:
    events = Events(ASKED, created=NOW)
    for each in (
        chunk(role="assistant", content=""),
        chunk(reasoning_content="Hm"),
        chunk(reasoning_content="."),
        chunk(content="Hi"),
        chunk(content="!"),
        piece(0, id="call_1", name="f"),
        piece(0, "{"),
        piece(0, "}"),
        piece(1, '{"b":', id="call_2", name="g"),
        piece(1, "2}"),
    ):
        assert events.feed(None, each)


def test_a_stream_says_what_the_whole_answer_says() -> None:
    assert assembled(streamed(COMPLETION)) == MESSAGE


def test_anthropics_own_package_reads_every_event() -> None:
    read: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
    for _, data in streamed(COMPLETION):
        read.validate_json(json.dumps(data), strict=True)


def test_calls_that_come_interleaved_are_told_one_after_the_other() -> None:
    told = fed(
        [
            piece(0, id="call_1", name="f"),
            piece(1, id="call_2", name="g"),
            piece(1, '{"b": "}'),
            piece(0, '{"a": {"x": "\\'),
            piece(1, '"'),
            piece(0, '"}"'),
            piece(2, "{}", id="call_3", name="h"),
            piece(0, "}}"),
            piece(1, ', "c": 3}'),
            chunk("tool_calls"),
        ]
    )
    blocks = assembled(told)["content"]
    assert [(block["name"], block["input"]) for block in blocks] == [
        ("f", {"a": {"x": '"}'}}),
        ("g", {"b": "}", "c": 3}),
        ("h", {}),
    ]


def test_text_in_the_middle_of_a_call_waits_for_the_call() -> None:
    told = fed([piece(0, '{"a":', id="call_1", name="f"), chunk(content="Hi"), piece(0, "1}"), chunk("stop")])
    message = assembled(told)
    assert [block["type"] for block in message["content"]] == ["tool_use", "text"]
    assert message["content"][0]["input"] == {"a": 1}
    assert message["stop_reason"] == "tool_use"


def test_a_call_goes_on_after_it_was_complete_only_with_blanks() -> None:
    begun = [piece(0, "{}", id="call_1", name="f"), piece(1, "{}", id="call_2", name="g")]
    assert len(assembled(fed([*begun, piece(0, "\n")]))["content"]) == 2
    with pytest.raises(ProviderFailed):
        fed([*begun, piece(0, '{"a": 1}')])


def test_calls_without_places_are_told_apart_by_their_ids() -> None:
    """As some compatible servers have it: no index, or zero for all."""
    for place in (None, 0):
        told = fed(
            [
                piece(place, '{"a":', id="call_1", name="f"),
                piece(place, "1}"),
                piece(place, '{"b":', id="call_2", name="g"),
                piece(place, "2}"),
            ]
        )
        assert [block["input"] for block in assembled(told)["content"]] == [{"a": 1}, {"b": 2}]


def test_calls_without_places_may_come_interleaved() -> None:
    told = fed(
        [
            piece(None, '{"a":', id="call_1", name="f"),
            piece(None, '{"b":', id="call_2", name="g"),
            piece(None, "1}", id="call_1"),
            piece(None, "2}", id="call_2"),
        ]
    )
    assert [block["input"] for block in assembled(told)["content"]] == [{"a": 1}, {"b": 2}]


def test_blanks_before_an_object_do_not_hold_it_back() -> None:
    events = Events(ASKED, created=NOW)
    assert DELTA not in {name for name, _ in events.feed(None, piece(0, " \n", id="call_1", name="f"))}
    assert [data["delta"]["partial_json"] for _, data in events.feed(None, piece(0, ' {"a'))] == [' \n {"a']


def test_an_id_that_is_repeated_begins_no_new_call() -> None:
    told = fed([piece(0, '{"a":', id="call_1", name="f"), piece(0, "1}", id="call_1", name="f")])
    assert [block["input"] for block in assembled(told)["content"]] == [{"a": 1}]


def test_only_the_first_choice_is_told() -> None:
    other = {**chunk(content="B"), "choices": [{"index": 1, "delta": {"content": "B"}, "finish_reason": "length"}]}
    message = assembled(fed([chunk(content="A"), other, chunk("stop")]))
    assert message["content"] == [{"type": "text", "text": "A"}]
    assert message["stop_reason"] == "end_turn"


def test_usage_beside_the_finish_counts_as_well() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    assert assembled(fed([chunk(content="A"), {**chunk("stop"), "usage": usage}]))["usage"]["input_tokens"] == 3


def test_what_is_no_chunk_gives_nothing() -> None:
    assert Events(ASKED, created=NOW).feed("ping", {"type": "ping"}) == []


def test_a_stream_that_breaks_off_never_looks_finished() -> None:
    events = Events(ASKED, created=NOW)
    names = [name for each in chunks_of(COMPLETION) for name, _ in events.feed(None, each)]
    assert "message_delta" not in names
    assert "message_stop" not in names


# -- signed thinking in streams --


def test_a_signature_follows_the_thinking_that_was_told() -> None:
    """As our own translation of Anthropic's streams tells it: pieces for the reader, then the whole block."""
    second = {"type": "thinking", "thinking": "Now both.", "signature": "czI="}
    told = fed(
        [
            chunk(reasoning_content="They want"),
            chunk(reasoning_content=" both."),
            chunk(thinking_blocks=[THOUGHT]),
            chunk(thinking_blocks=[HIDDEN]),
            chunk(reasoning_content="Now both."),
            chunk(thinking_blocks=[second]),
            chunk(content="Hi"),
        ]
    )
    assert assembled(told)["content"] == [THOUGHT, HIDDEN, second, {"type": "text", "text": "Hi"}]
    pieces = [data["delta"]["thinking"] for _, data in told if data.get("delta", {}).get("type") == "thinking_delta"]
    assert pieces == ["They want", " both.", "Now both."]


def test_a_block_that_is_told_in_signed_pieces_is_one_block() -> None:
    """LiteLLM's way: each piece is there twice, and only the last one is signed."""
    told = fed(
        [
            chunk(reasoning_content=words, thinking_blocks=[{**THOUGHT, "thinking": words, "signature": signature}])
            for words, signature in (("They want", ""), (" both.", None), ("", "c2ln"))
        ]
    )
    assert assembled(told)["content"] == [THOUGHT]


def test_unsigned_pieces_of_a_block_are_read_if_nothing_else_tells_them() -> None:
    told = fed([chunk(thinking_blocks=[{"type": "thinking", "thinking": words}]) for words in ("Hm", ".")])
    assert assembled(told)["content"] == [{"type": "thinking", "thinking": "Hm.", "signature": ""}]


def test_thinking_that_was_signed_as_something_else_is_told_as_it_was_signed() -> None:
    told = fed([chunk(reasoning_content="A summary."), chunk(thinking_blocks=[THOUGHT])])
    unsigned = {"type": "thinking", "thinking": "A summary.", "signature": ""}
    assert assembled(told)["content"] == [unsigned, THOUGHT]


def test_thinking_after_the_answer_began_is_new() -> None:
    told = fed([chunk(thinking_blocks=[THOUGHT]), chunk(content="Hi"), chunk(reasoning_content="They")])
    again = {"type": "thinking", "thinking": "They", "signature": ""}
    assert assembled(told)["content"] == [THOUGHT, {"type": "text", "text": "Hi"}, again]


def test_thinking_under_both_of_its_names_is_told_once() -> None:
    answer = completion(content="Hi", reasoning_content="Hm.", reasoning="Hm.")
    message = whole(answer, ASKED, created=NOW)
    assert [block.get("thinking") for block in message["content"]] == ["Hm.", None]
    assert assembled(streamed(answer)) == message


def test_omitted_thinking_has_a_signature_and_no_text() -> None:
    silent = {"type": "thinking", "thinking": "", "signature": "c2ln"}
    assert answered(thinking_blocks=[silent])["content"] == [silent]
    assert assembled(fed([chunk(thinking_blocks=[silent])]))["content"] == [silent]


# -- properties --

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
texts = st.none() | st.just("") | words
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
arguments = st.one_of(
    st.dictionaries(words, json_values, max_size=3).map(json.dumps),
    st.dictionaries(words, json_values, max_size=3).map(lambda given: json.dumps(given, ensure_ascii=False, indent=2)),
    st.sampled_from(["", "null", " ", "[1]", "none at all", '"x"']),
)
calls = st.lists(st.tuples(arguments, st.from_regex(r"[a-z_]{1,8}", fullmatch=True)), max_size=4).map(
    lambda pairs: [call(given, f"call_{row}", name) for row, (given, name) in enumerate(pairs)]
)
signed = st.lists(
    st.one_of(words.map(lambda told: {**THOUGHT, "thinking": told}), st.just(HIDDEN)), min_size=1, max_size=3
)
thoughts: st.SearchStrategy[Json] = st.one_of(
    st.just({}),
    words.map(lambda told: {"reasoning_content": told}),
    words.map(lambda told: {"reasoning": told}),
    signed.map(lambda blocks: {"thinking_blocks": blocks}),
    signed.map(
        lambda blocks: {
            "thinking_blocks": blocks,
            "reasoning_content": "".join(block.get("thinking", "") for block in blocks),
        }
    ),
    words.map(lambda told: {"reasoning_content": told, "reasoning_items": ITEMS}),
)
said = st.one_of(texts.map(lambda told: {"content": told}), words.map(lambda told: {"refusal": told}))
counts = st.integers(0, 10**6)
usages = st.none() | st.fixed_dictionaries(
    {"prompt_tokens": counts, "completion_tokens": counts},
    optional={
        "prompt_tokens_details": st.fixed_dictionaries(
            {}, optional={"cached_tokens": counts, "cache_write_tokens": counts}
        ),
        "completion_tokens_details": st.fixed_dictionaries({"reasoning_tokens": counts}),
    },
)
answers = st.builds(
    lambda finish, usage, thought, told, called: completion(
        finish, usage, **thought, **told, **({"tool_calls": called} if called else {})
    ),
    st.sampled_from(sorted(STOP_REASONS)),
    usages,
    thoughts,
    said,
    calls,
)


@settings(deadline=None, max_examples=200)
@given(answers)
def test_any_answer_says_the_same_whole_and_streamed(answer: Json) -> None:
    assert assembled(streamed(answer)) == whole(answer, ASKED, created=NOW)


@settings(deadline=None, max_examples=80)
@given(calls.filter(bool), st.randoms(use_true_random=False))
def test_calls_may_come_interleaved_in_any_order(called: list[Json], random: Any) -> None:
    """Each call begins in its turn; from then on their pieces come as they like."""
    waiting = [[call["function"]["arguments"][at : at + 3] for at in range(0, 99, 3)] for call in called]
    chunks: list[Json] = []
    for row, call in enumerate(called):
        chunks.append(piece(row, id=call["id"], name=call["function"]["name"]))
        for _ in range(random.randrange(4)):
            before = random.randrange(row + 1)
            chunks += [piece(before, waiting[before].pop(0))] if waiting[before] else []
    left = [(row, call["function"]["arguments"][99:]) for row, call in enumerate(called)]
    while any(waiting):
        row = random.choice([row for row, pieces in enumerate(waiting) if pieces])
        chunks.append(piece(row, waiting[row].pop(0)))
    chunks += [piece(row, rest) for row, rest in left]
    answer = completion("tool_calls", tool_calls=called)
    assert assembled(fed([*chunks, chunk("tool_calls")]))["content"] == whole(answer, ASKED, created=NOW)["content"]


def test_long_arguments_in_small_pieces_take_no_time_to_speak_of() -> None:
    pieces = [piece(0, '{"a": "', id="call_1", name="f"), piece(1, "{", id="call_2", name="g")]
    pieces += [piece(0, '}\\"'), piece(1, " ")] * 8_000
    blocks = assembled(fed([*pieces, piece(0, '"}'), piece(1, "}")]))["content"]
    assert [len(json.dumps(block["input"])) > 8_000 for block in blocks] == [True, False]


# -- Anthropic's own package --


def bytes_of(answer: Json) -> bytes:
    return b"".join(sse.encode(json.dumps(data).encode(), name) for name, data in streamed(answer))


def transport(answer: Json) -> httpx2.MockTransport:
    """A gateway that gives *answer*, whole or streamed as it is asked."""

    def respond(request: httpx2.Request) -> httpx2.Response:
        if json.loads(request.content).get("stream"):
            return httpx2.Response(200, content=bytes_of(answer), headers={"content-type": "text/event-stream"})
        return httpx2.Response(200, json=whole(answer, ASKED, created=NOW))

    return httpx2.MockTransport(respond)


def read(message: Any) -> Json:
    """What Anthropic's package has read, less what is null because nobody told it."""
    dumped: Json = message.model_dump(mode="json", exclude_none=True)
    return dumped | {"stop_sequence": None}


def test_anthropics_package_reads_the_same_whole_and_streamed() -> None:
    with httpx2.Client(transport=transport(COMPLETION)) as http, Anthropic(api_key="k", http_client=http) as client:
        assert read(client.messages.create(**ASKED)) == MESSAGE
        with client.messages.stream(**ASKED) as stream:
            kinds = [event.type for event in stream]
            assert read(stream.get_final_message()) == MESSAGE
    assert {"text", "input_json", "thinking", "signature", "content_block_stop", "message_stop"} <= set(kinds)


async def test_anthropics_asynchronous_package_too() -> None:
    async with (
        httpx2.AsyncClient(transport=transport(COMPLETION)) as http,
        AsyncAnthropic(api_key="k", http_client=http) as client,
    ):
        assert read(await client.messages.create(**ASKED)) == MESSAGE
        async with client.messages.stream(**ASKED) as stream:
            said = [text async for text in stream.text_stream]
            assert read(await stream.get_final_message()) == MESSAGE
    assert "".join(said) == "Let me look."


def test_a_loop_of_tools_as_anthropics_package_runs_it() -> None:
    """What it read goes back as it is, and arrives as chat's own history."""
    with httpx2.Client(transport=transport(COMPLETION)) as http, Anthropic(api_key="k", http_client=http) as client:
        answer = client.messages.create(**ASKED)
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": "18 °C"}
    history = [*ASKED["messages"], {"role": "assistant", "content": json.loads(answer.to_json())["content"]}]
    made = messages_to_chat.request({**ASKED, "messages": [*history, {"role": "user", "content": [result]}]})
    assert made["messages"][1]["content"] == "Let me look."
    assert made["messages"][1]["thinking_blocks"] == [THOUGHT, HIDDEN]
    assert [call["id"] for call in made["messages"][1]["tool_calls"]] == ["call_1", "call_2"]
    assert made["messages"][2] == {"role": "tool", "tool_call_id": "call_1", "content": "18 °C"}


def test_every_loss_is_a_sentence() -> None:
    assert all(why.endswith(".") and len(why) > 20 for why in LOSSES.values())
