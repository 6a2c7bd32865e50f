"""A chat request at the door of OpenAI's responses: carried exactly, refused by name, or listed as a loss."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from pydantic import TypeAdapter

from membrain.dialects.chat_to_responses import LOSSES, REFUSALS
from membrain.dialects.chat_to_responses import request as translate
from membrain.errors import BadRequest

Json = dict[str, Any]

HI: list[Json] = [{"role": "user", "content": "Hi"}]
MODEL = "gpt-5-codex"
PIXEL = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBE"


def asked(messages: list[Any] | None = None, **fields: Any) -> Json:
    return translate({"model": MODEL, "messages": HI if messages is None else messages, **fields})


def items(*messages: Any) -> Any:
    return asked(list(messages))["input"]


def refused(messages: list[Any] | None = None, **fields: Any) -> str | None:
    """The field that is named when this is refused."""
    with pytest.raises(BadRequest) as raised:
        asked(messages, **fields)
    assert f"`{raised.value.param}`" in raised.value.message
    return raised.value.param


def call(arguments: Any, id: Any = "call_1", name: Any = "weather") -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def assistant(*calls: Json, content: Any = None, **more: Any) -> Json:
    return {"role": "assistant", "content": content, "tool_calls": list(calls), **more}


def result(id: str, content: Any, **more: Any) -> Json:
    return {"role": "tool", "tool_call_id": id, "content": content, **more}


def text(words: str, **more: Any) -> Json:
    return {"type": "text", "text": words, **more}


def spoken(role: str, content: Any) -> Json:
    return {"type": "message", "role": role, "content": content}


# -- the whole of it --


def test_a_small_request() -> None:
    assert translate({"model": MODEL, "messages": HI, "stream": True}) == {
        "model": MODEL,
        "input": [spoken("user", "Hi")],
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }


SEALED: Json = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "c2VhbA=="}
GOLDEN_CHAT: Json = {
    "model": MODEL,
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [text("Use metric units.", cache_control={"type": "ephemeral"})]},
        {
            "role": "user",
            "name": "ada",
            "content": [
                text("Where is this?"),
                {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
            ],
        },
        {
            "role": "assistant",
            "content": "Let me look.",
            "refusal": None,
            "annotations": [],
            "reasoning_content": "Hm.",
            "reasoning_items": [SEALED],
            "tool_calls": [
                call('{"city":  "Zürich"}', "call_1"),
                {"id": "call_2", "type": "custom", "custom": {"name": "apply_patch", "input": "*** Begin"}},
            ],
        },
        result("call_1", "18 °C"),
        result("call_2", [text("done")]),
        {"role": "user", "content": "Thanks. And tomorrow?"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "The weather.",
                "strict": True,
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
            },
        },
        {"type": "function", "function": {"name": "time"}},
        {
            "type": "custom",
            "custom": {
                "name": "apply_patch",
                "description": "Changes files.",
                "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /.+/"}},
            },
        },
    ],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "parallel_tool_calls": False,
    "max_completion_tokens": 100,
    "max_tokens": 50,
    "temperature": 0.2,
    "top_p": 0.9,
    "logprobs": True,
    "top_logprobs": 2,
    "user": "u-1",
    "safety_identifier": "s-1",
    "prompt_cache_key": "k",
    "service_tier": "flex",
    "metadata": {"run": "7"},
    "seed": 7,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "n", "description": "d", "strict": True, "schema": {"type": "object"}},
    },
    "verbosity": "low",
    "reasoning_effort": "minimal",
    "n": 1,
    "stop": None,
}
GOLDEN_RESPONSES: Json = {
    "model": MODEL,
    "stream": True,
    "stream_options": {"include_obfuscation": False},
    "input": [
        spoken("system", "Be brief."),
        spoken("developer", [{"type": "input_text", "text": "Use metric units."}]),
        spoken(
            "user",
            [
                {"type": "input_text", "text": "Where is this?"},
                {"type": "input_image", "image_url": PIXEL, "detail": "low"},
                {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "auto"},
                {"type": "input_file", "filename": "a.pdf", "file_data": PDF},
            ],
        ),
        SEALED,
        spoken("assistant", "Let me look."),
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":  "Zürich"}'},
        {"type": "custom_tool_call", "call_id": "call_2", "name": "apply_patch", "input": "*** Begin"},
        {"type": "function_call_output", "call_id": "call_1", "output": "18 °C"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "done"}]},
        spoken("user", "Thanks. And tomorrow?"),
    ],
    "tools": [
        {
            "type": "function",
            "name": "weather",
            "description": "The weather.",
            "strict": True,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
        {"type": "function", "name": "time", "strict": False, "parameters": {"type": "object", "properties": {}}},
        {
            "type": "custom",
            "name": "apply_patch",
            "description": "Changes files.",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
        },
    ],
    "tool_choice": {"type": "function", "name": "weather"},
    "parallel_tool_calls": False,
    "max_output_tokens": 100,
    "temperature": 0.2,
    "top_p": 0.9,
    "top_logprobs": 2,
    "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
    "user": "u-1",
    "safety_identifier": "s-1",
    "prompt_cache_key": "k",
    "service_tier": "flex",
    "metadata": {"run": "7"},
    "store": False,
    "text": {
        "format": {
            "type": "json_schema",
            "name": "n",
            "description": "d",
            "strict": True,
            "schema": {"type": "object"},
        },
        "verbosity": "low",
    },
    "reasoning": {"effort": "minimal"},
}


def test_a_request_with_everything_in_it() -> None:
    before = copy.deepcopy(GOLDEN_CHAT)
    assert translate(GOLDEN_CHAT) == GOLDEN_RESPONSES
    assert before == GOLDEN_CHAT, "the caller's body is for reading only"


def walk(validated: Any) -> None:
    """Look at everything in *validated*: pydantic checks lists of these types only as they are read."""
    if isinstance(validated, dict):
        walk(list(validated.values()))
    elif isinstance(validated, Iterable) and not isinstance(validated, str):
        for item in validated:
            walk(item)


def test_the_result_is_what_openais_own_package_takes() -> None:
    """Checked by the types of the `openai` package, with nothing in it that they do not name."""
    made = translate(GOLDEN_CHAT)
    params = TypeAdapter(ResponseCreateParamsStreaming)  # must outlive what it validates, which is read later
    walk(params.validate_python(made))
    assert made.keys() <= ResponseCreateParamsStreaming.__annotations__.keys() | set(
        ResponseCreateParamsStreaming.__mro__[0].__annotations__
    )


# -- messages --


def test_texts_are_not_touched() -> None:
    words = " \u2028\r\n<b> ü\u0000 "
    assert items({"role": "user", "content": words}) == [spoken("user", words)]
    assert items({"role": "user", "content": [text(words)]})[0]["content"] == [{"type": "input_text", "text": words}]
    assert items(*HI, assistant(call(words)), result("call_1", words))[1:] == [
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": words},
        {"type": "function_call_output", "call_id": "call_1", "output": words},
    ]


def test_system_messages_stay_where_they_stand() -> None:
    assert [item["role"] for item in items(*HI, {"role": "system", "content": "B"}, *HI)] == ["user", "system", "user"]


def test_the_assistants_words_are_output() -> None:
    said = items(*HI, {"role": "assistant", "content": [text("A"), {"type": "refusal", "refusal": "No."}]})
    assert said[1]["content"] == [{"type": "output_text", "text": "A"}, {"type": "refusal", "refusal": "No."}]


@pytest.mark.parametrize(
    ("content", "before"),
    [
        (None, []),
        ("", []),
        ("A", [{"type": "output_text", "text": "A"}]),
        ([text("A")], [{"type": "output_text", "text": "A"}]),
    ],
)
def test_a_refusal_comes_after_what_was_said(content: Any, before: list[Json]) -> None:
    said = items(*HI, {"role": "assistant", "content": content, "refusal": "No."})
    assert said[1] == spoken("assistant", [*before, {"type": "refusal", "refusal": "No."}])


@pytest.mark.parametrize("content", [None, "", []])
def test_an_assistant_that_said_nothing_is_left_out(content: Any) -> None:
    assert items(*HI, {"role": "assistant", "content": content, "reasoning_items": [SEALED]}) == items(*HI)
    assert [item["type"] for item in items(*HI, assistant(call("{}"), content=content))] == ["message", "function_call"]


def test_encrypted_reasoning_stands_before_what_it_led_to() -> None:
    said = items(*HI, assistant(call("{}"), reasoning_items=[SEALED, {**SEALED, "id": "rs_2"}]))
    assert said[1:] == [
        SEALED,
        {**SEALED, "id": "rs_2"},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
    ]


def test_results_are_told_in_the_kind_of_their_call() -> None:
    custom = {"id": "b", "type": "custom", "custom": {"name": "p", "input": ""}}
    said = items(*HI, assistant(call("{}", "a"), custom), result("b", "2"), result("a", None))
    assert said[3:] == [
        {"type": "custom_tool_call_output", "call_id": "b", "output": "2"},
        {"type": "function_call_output", "call_id": "a", "output": ""},
    ]


def test_a_result_may_be_an_image() -> None:
    image = {"type": "image_url", "image_url": PIXEL}
    assert items(*HI, assistant(call("{}")), result("call_1", [image]))[2]["output"] == [
        {"type": "input_image", "image_url": PIXEL, "detail": "auto"}
    ]


def test_arguments_that_are_an_object_already_become_text() -> None:
    assert items(*HI, assistant(call({"ü": 1}), call(None, "b")))[1:] == [
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"ü":1}'},
        {"type": "function_call", "call_id": "b", "name": "weather", "arguments": ""},
    ]


def test_files_go_on_by_name_or_as_data_and_marks_of_openais_cache_too() -> None:
    file = {"type": "file", "file": {"file_id": "file-1", "filename": None}, "prompt_cache_breakpoint": {"mode": "x"}}
    assert items({"role": "user", "content": [file]})[0]["content"] == [
        {"type": "input_file", "file_id": "file-1", "prompt_cache_breakpoint": {"mode": "x"}}
    ]


def test_parts_that_chat_does_not_know_pass_untouched() -> None:
    own = {"type": "input_image", "file_id": "file-1", "detail": "high"}
    assert items({"role": "user", "content": [own]})[0]["content"] == [own]


def test_a_hundred_thousand_messages_take_no_time_to_speak_of() -> None:
    assert len(items(*HI * 100_000)) == 100_000


# -- tools and choices --


def test_functions_are_as_lenient_as_chat_has_them() -> None:
    """Those of responses are strict unless they say otherwise, and would be refused or change what they take."""
    (tool,) = asked(tools=[{"type": "function", "function": {"name": "f", "strict": None}}])["tools"]
    assert tool["strict"] is False


def test_what_else_a_tool_carries_goes_on_but_for_marks_of_anthropics_cache() -> None:
    function = {"name": "f", "parameters": {"$defs": {}}, "defer_loading": True, "cache_control": {}}
    assert asked(tools=[{"type": "function", "cache_control": {}, "function": function, "x": 1}])["tools"] == [
        {"type": "function", "name": "f", "parameters": {"$defs": {}}, "strict": False, "defer_loading": True, "x": 1}
    ]


def test_openais_own_tools_pass_untouched() -> None:
    own = [{"type": "web_search", "search_context_size": "low"}, {"type": "mcp", "server_label": "x"}]
    assert asked(tools=own, tool_choice={"type": "web_search"})["tools"] == own


def test_custom_tools_lose_a_level() -> None:
    plain = [{"type": "custom", "custom": {"name": "a"}}, {"type": "custom", "custom": {"name": "b", "format": FREE}}]
    assert asked(tools=plain)["tools"] == [
        {"type": "custom", "name": "a"},
        {"type": "custom", "name": "b", "format": FREE},
    ]


FREE = {"type": "text"}
FUNCTION = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        (FUNCTION, {"type": "function", "name": "f"}),
        ({"type": "custom", "custom": {"name": "c"}}, {"type": "custom", "name": "c"}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [FUNCTION]}},
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        ),
        ({"type": "web_search"}, {"type": "web_search"}),
    ],
)
def test_choices_of_tools(choice: Any, made: Any) -> None:
    assert asked(tools=[FUNCTION], tool_choice=choice)["tool_choice"] == made


def test_no_tools_are_not_sent() -> None:
    assert asked(tools=[]) == asked(tools=None) == asked()


# -- the other fields --


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({}, None),
        ({"max_tokens": None, "max_completion_tokens": None}, None),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 8}, 8),
        ({"max_tokens": 7, "max_completion_tokens": 8}, 8),
    ],
)
def test_max_tokens(fields: Json, tokens: int | None) -> None:
    assert asked(**fields).get("max_output_tokens") == tokens


@pytest.mark.parametrize(("store", "sent"), [(None, False), (False, False), (True, True)])
def test_nothing_is_stored_unless_the_caller_says_so(store: Any, sent: bool) -> None:
    """Responses store what is not told otherwise, chat does not."""
    assert asked(store=store)["store"] is sent


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1-mini", "gpt-3.5-turbo", "chatgpt-4o-latest", "ft:gpt-4o:me::1"])
def test_models_that_do_not_think_are_not_asked_for_their_thoughts(model: str) -> None:
    """They refuse the whole request for it."""
    assert "include" not in translate({"model": model, "messages": HI})
    assert translate({"model": model, "messages": HI, "logprobs": True})["include"] == ["message.output_text.logprobs"]


def test_what_the_caller_wants_included_comes_first_and_once() -> None:
    wanted = ["web_search_call.results", "reasoning.encrypted_content"]
    assert asked(include=wanted)["include"] == wanted


@pytest.mark.parametrize("fields", [{"top_logprobs": 3}, {"logprobs": False, "top_logprobs": 3}])
def test_top_probabilities_without_probabilities_are_not_asked_for(fields: Json) -> None:
    assert asked(**fields) == asked()


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        ({"type": "text"}, {"type": "text"}),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "strict": None, "schema": {}}},
            {"type": "json_schema", "name": "n", "schema": {}},
        ),
    ],
)
def test_formats(wanted: Json, made: Json) -> None:
    assert asked(response_format=wanted)["text"] == {"format": made}


def test_an_effort_asks_for_no_summary() -> None:
    assert asked(reasoning_effort="high")["reasoning"] == {"effort": "high"}
    assert "reasoning" not in asked()


def test_what_is_said_in_the_words_of_responses_wins() -> None:
    made = asked(
        reasoning_effort="low",
        reasoning={"effort": "high", "summary": "auto"},
        verbosity="low",
        text={"verbosity": "high"},
        truncation="auto",
        max_tool_calls=3,
    )
    assert made["reasoning"] == {"effort": "high", "summary": "auto"}
    assert made["text"] == {"verbosity": "high"}
    assert (made["truncation"], made["max_tool_calls"]) == ("auto", 3)


# -- refusals and losses --

CHANGING: Json = {
    "n": 2,
    "stop": ["END"],
    "logit_bias": {"7": -100},
    "audio": {"voice": "x"},
    "modalities": ["text", "audio"],
    "functions": [{"name": "f"}],
    "function_call": {"name": "f"},
    "moderation": {"model": "x"},
    "web_search_options": {},
    "background": True,
    "input": "Hi",
}


@pytest.mark.parametrize("name", CHANGING)
def test_fields_that_change_the_answer_are_refused_by_name(name: str) -> None:
    assert refused(**{name: CHANGING[name]}) == name
    for harmless in (None, *REFUSALS[name][0]):
        assert asked(**{name: harmless}) == asked()


def test_every_refusal_is_tested_above() -> None:
    assert set(REFUSALS) == set(CHANGING)


@pytest.mark.parametrize("name", sorted(name for name in LOSSES if name.isidentifier()))
def test_a_loss_never_reaches_openai(name: str) -> None:
    values: Json = {"stream_options": {"include_usage": True}}
    assert asked(**{name: values.get(name, 1)}) == asked()


def test_losses_and_refusals_say_why_in_a_sentence() -> None:
    for why in [*LOSSES.values(), *(why for _, why in REFUSALS.values())]:
        assert re.fullmatch(r"[A-Z].*[.]", why)


def test_details_that_are_listed_as_losses_are_gone() -> None:
    """The rows of `LOSSES` inside messages."""
    mark = {"cache_control": {"type": "ephemeral"}}
    part = {**text("Hi"), **mark}
    assert items({"role": "user", "name": "ada", "content": [part], **mark}) == [
        spoken("user", [{"type": "input_text", "text": "Hi"}])
    ]
    signed = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    back: Json = {
        "role": "assistant",
        "content": [{**part, "prompt_cache_breakpoint": {"mode": "explicit"}}],
        "reasoning_content": "…",
        "annotations": [],
        "audio": None,
        "thinking_blocks": [signed],
    }
    assert items(*HI, back)[1] == spoken("assistant", [{"type": "output_text", "text": "Hi"}])


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ("Hi", "messages"),
        (None, "messages"),
        (["Hi"], "messages.0"),
        ([{"content": "Hi"}], "messages.0.role"),
        ([{"role": "function", "name": "f", "content": "x"}], "messages.0.role"),
        ([{"role": ["user"], "content": "x"}], "messages.0.role"),
        ([{"role": "user", "content": None}], "messages.0.content"),
        ([{"role": "user", "content": 3}], "messages.0.content"),
        ([{"role": "user", "content": ["Hi"]}], "messages.0.content.0"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages.0.content.0.text"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "messages.0.content.0.image_url"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "messages.0.content.0.image_url.url"),
        ([{"role": "user", "content": [{"type": "file"}]}], "messages.0.content.0.file"),
        ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}], "messages.0.content.0"),
        ([{"role": "tool", "content": "x"}], "messages.0.tool_call_id"),
        ([{"role": "tool", "tool_call_id": "x", "content": 3}], "messages.0.content"),
        ([{"role": "assistant", "audio": {"id": "a"}}], "messages.0.audio"),
        ([{"role": "assistant", "function_call": {"name": "f"}}], "messages.0.function_call"),
        ([{"role": "assistant", "refusal": 3}], "messages.0.refusal"),
        ([{"role": "assistant", "content": [{"type": "refusal"}]}], "messages.0.content.0.refusal"),
        ([{"role": "assistant", "tool_calls": {"id": "x"}}], "messages.0.tool_calls"),
        ([{"role": "assistant", "tool_calls": ["x"]}], "messages.0.tool_calls.0"),
        ([{"role": "assistant", "tool_calls": [{"id": "x"}]}], "messages.0.tool_calls.0.function"),
        ([assistant(call("{}", id=None))], "messages.0.tool_calls.0.id"),
        ([assistant(call("{}", name=None))], "messages.0.tool_calls.0.function.name"),
        ([assistant(call(3))], "messages.0.tool_calls.0.function.arguments"),
        ([assistant({"id": "x", "custom": {"name": "c"}})], "messages.0.tool_calls.0.custom.input"),
        ([assistant(reasoning_items="x")], "messages.0.reasoning_items"),
        ([assistant(reasoning_items=["x"])], "messages.0.reasoning_items.0"),
        ([assistant(call("{}"), reasoning_items=[{"type": "message"}])], "messages.0.reasoning_items.0.type"),
    ],
)
def test_messages_that_make_no_sense_are_refused_by_name(messages: Any, param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        translate({"model": MODEL, "messages": messages})
    assert raised.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": "x"}, "tools"),
        ({"tools": ["x"]}, "tools.0"),
        ({"tools": [{"type": "function", "name": "flat"}]}, "tools.0.function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name"),
        ({"tools": [{"function": {"name": "f", "parameters": []}}]}, "tools.0.function.parameters"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools.0.custom.name"),
        ({"tools": [{"type": "custom", "custom": {"name": "c", "format": 3}}]}, "tools.0.custom.format"),
        (
            {"tools": [{"type": "custom", "custom": {"name": "c", "format": {"type": "grammar"}}}]},
            "tools.0.custom.format.grammar",
        ),
        ({"tool_choice": 3}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, "tool_choice.allowed_tools.tools"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"reasoning_effort": 3}, "reasoning_effort"),
        ({"reasoning": "x"}, "reasoning"),
        ({"text": "x"}, "text"),
        ({"include": "x"}, "include"),
        ({"stream_options": "x"}, "stream_options"),
    ],
)
def test_fields_that_make_no_sense_are_refused_by_name(fields: Json, param: str) -> None:
    assert refused(**fields) == param


def test_a_refusal_shows_no_values() -> None:
    secret = "sk-canary"
    bodies: list[Json] = [
        {"messages": [{"role": secret}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": [secret]}]}]},
        {"messages": [assistant(reasoning_items=[{"type": secret}])]},
        {"messages": HI, "stop": [secret]},
        {"messages": HI, "tools": [{"type": "function", "function": {"name": [secret]}}]},
        {"messages": HI, "n": secret},
    ]
    for body in bodies:
        with pytest.raises(BadRequest) as raised:
            translate(body)
        assert secret not in f"{raised.value} {raised.value!r} {raised.value.param}"


# -- whatever comes --

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
texts = st.sampled_from(["Hi", " ", "", "ü\u2028", "\n"])
contents = texts | st.lists(texts.map(text), max_size=3)
messages_of_any_kind = st.one_of(
    st.builds(lambda role, content: {"role": role, "content": content}, st.sampled_from(["system", "user"]), contents),
    st.builds(lambda content: assistant(call("{}", "a"), content=content, reasoning_items=[SEALED]), contents),
    st.builds(lambda content: {"role": "assistant", "content": content}, contents),
    st.builds(result, st.sampled_from("ab"), contents),
)


def words_of(content: Any) -> str:
    """What is said in the content of a message or in an output, as one text."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


@settings(deadline=None, max_examples=200)
@given(st.lists(messages_of_any_kind, max_size=8))
def test_items_hold_what_was_said_in_order(messages: list[Json]) -> None:
    """Whatever the mixture: no word, no call and no result changes its speaker or its place."""
    told = [
        (item.get("role", item["type"]), words_of(item.get("content", item.get("output", ""))))
        for item in items(*messages)
    ]
    expected: list[tuple[str, str]] = []
    for message in messages:
        role, words = message["role"], words_of(message["content"])
        expected += [("reasoning", "")] if "reasoning_items" in message else []
        if role == "tool":
            expected.append(("function_call_output", words))
        elif role != "assistant" or message["content"]:
            expected.append((role, words))
        expected += [("function_call", "") for _ in message.get("tool_calls", [])]
    assert told == expected


FIELDS = [
    *("model", "messages", "tools", "tool_choice", "reasoning", "reasoning_effort", "text", "response_format"),
    *("verbosity", "include", "store", "logprobs", *REFUSALS, *LOSSES),
]


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=6))
def test_whatever_is_sent_is_translated_or_refused_and_never_breaks(body: Json) -> None:
    for messages in (body.get("messages"), HI):
        try:
            made = translate({**body, "messages": messages})
        except BadRequest as error:
            named = error.param
        else:
            named = json.dumps(made)
        assert named
