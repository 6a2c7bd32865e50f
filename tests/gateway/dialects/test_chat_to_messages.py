"""A chat request at Anthropic's door: carried exactly, refused by name, or listed as a loss."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParams
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from membrain.dialects.chat_to_messages import DEFAULT_MAX_TOKENS, LOSSES, REFUSALS
from membrain.dialects.chat_to_messages import request as translate
from membrain.errors import BadRequest

Json = dict[str, Any]

HI: list[Json] = [{"role": "user", "content": "Hi"}]
PIXEL = "iVBORw0KGgo="
NEW, OLD = "claude-opus-4-6", "claude-sonnet-4-20250514"


def asked(messages: list[Any] | None = None, **fields: Any) -> Json:
    return translate({"model": NEW, "messages": HI if messages is None else messages, **fields})


def turns(*messages: Any) -> Any:
    return asked(list(messages))["messages"]


def refused(messages: list[Any] | None = None, **fields: Any) -> str | None:
    """The field that is named when this is refused."""
    with pytest.raises(BadRequest) as raised:
        asked(messages, **fields)
    assert f"`{raised.value.param}`" in raised.value.message
    return raised.value.param


def call(arguments: Any, id: Any = "call_1", name: Any = "weather") -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def assistant(*calls: Json, content: Any = None) -> Json:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def result(id: str, content: Any, **more: Any) -> Json:
    return {"role": "tool", "tool_call_id": id, "content": content, **more}


def text(words: str, **more: Any) -> Json:
    return {"type": "text", "text": words, **more}


# -- the whole of it --


def test_a_small_request() -> None:
    assert translate({"model": NEW, "messages": HI, "stream": True}) == {
        "model": NEW,
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": DEFAULT_MAX_TOKENS,
        "stream": True,
    }


GOLDEN_CHAT: Json = {
    "model": NEW,
    "stream": True,
    "stream_options": {"include_usage": True},
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [text("Use metric units.", cache_control={"type": "ephemeral"})]},
        {
            "role": "user",
            "name": "ada",
            "content": [
                text("Where is this?"),
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": "",
            "refusal": None,
            "annotations": [],
            "tool_calls": [call('{"city": "Zürich"}', "call_1"), call("", "call_2", "time")],
        },
        result("call_1", "18 °C"),
        result("call_2", [text("noon")]),
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
    ],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "max_completion_tokens": 100,
    "max_tokens": 50,
    "temperature": 0.2,
    "top_p": 0.9,
    "stop": "END",
    "user": "u-1",
    "seed": 7,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "n", "strict": True, "schema": {"type": "object", "additionalProperties": False}},
    },
    "reasoning_effort": "minimal",
    "n": 1,
    "logprobs": None,
}
GOLDEN_MESSAGES: Json = {
    "model": NEW,
    "stream": True,
    "system": [text("Be brief."), text("Use metric units.", cache_control={"type": "ephemeral"})],
    "messages": [
        {
            "role": "user",
            "content": [
                text("Where is this?"),
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Zürich"}},
                {"type": "tool_use", "id": "call_2", "name": "time", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "18 °C"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": [text("noon")]},
                text("Thanks. And tomorrow?"),
            ],
        },
    ],
    "tools": [
        {
            "name": "weather",
            "description": "The weather.",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
        {"name": "time", "input_schema": {"type": "object"}},
    ],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "max_tokens": 100,
    "temperature": 0.2,
    "top_p": 0.9,
    "stop_sequences": ["END"],
    "metadata": {"user_id": "u-1"},
    "output_config": {
        "effort": "low",
        "format": {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}},
    },
}


def test_a_request_with_everything_in_it() -> None:
    before = copy.deepcopy(GOLDEN_CHAT)
    assert translate(GOLDEN_CHAT) == GOLDEN_MESSAGES
    assert before == GOLDEN_CHAT, "the caller's body is for reading only"


def walk(validated: Any) -> None:
    """Look at everything in *validated*: pydantic checks lists of these types only as they are read."""
    if isinstance(validated, dict):
        walk(list(validated.values()))
    elif isinstance(validated, Iterable) and not isinstance(validated, str):
        for item in validated:
            walk(item)


def test_the_result_is_what_anthropics_own_package_takes() -> None:
    """Checked by the types of the `anthropic` package, with nothing in it that they do not name."""
    request = translate(GOLDEN_CHAT)
    params = TypeAdapter(MessageCreateParams)  # must outlive what it validates, which is read later
    walk(params.validate_python(request))
    assert request.keys() <= {
        *("model", "messages", "system", "max_tokens", "stream", "tools", "tool_choice", "temperature"),
        *("top_p", "stop_sequences", "metadata", "output_config"),
    }


# -- system --


def test_one_system_message_stays_a_string_as_the_provider_guide_has_it() -> None:
    assert asked([{"role": "system", "content": "Be brief."}, *HI])["system"] == "Be brief."


def test_system_messages_are_lifted_from_wherever_they_stand() -> None:
    request = asked([*HI, {"role": "system", "content": "B"}, {"role": "user", "content": "More"}])
    assert request["system"] == "B"
    assert request["messages"] == [{"role": "user", "content": [text("Hi"), text("More")]}]


def test_a_system_field_of_anthropics_own_comes_before_what_is_lifted() -> None:
    lifted = {"role": "system", "content": "B"}
    assert asked([lifted, *HI], system="A")["system"] == [text("A"), text("B")]
    assert asked([lifted, *HI], system=[text("A", cache_control={"type": "ephemeral"})])["system"] == [
        text("A", cache_control={"type": "ephemeral"}),
        text("B"),
    ]
    assert asked(system="A")["system"] == "A"


def test_without_system_messages_there_is_no_system() -> None:
    assert "system" not in asked()
    assert "system" not in asked([{"role": "system", "content": " "}, *HI])


# -- turns --


def test_neighbours_of_one_role_become_one_turn_in_order() -> None:
    assert turns(
        {"role": "user", "content": "1"},
        {"role": "user", "content": [text("2"), text("3")]},
        {"role": "assistant", "content": "4"},
        {"role": "assistant", "content": "5"},
        {"role": "user", "content": "6"},
    ) == [
        {"role": "user", "content": [text("1"), text("2"), text("3")]},
        {"role": "assistant", "content": [text("4"), text("5")]},
        {"role": "user", "content": "6"},
    ]


def test_consecutive_tool_results_are_one_user_turn_in_order() -> None:
    said = turns(*HI, assistant(call("{}", "a"), call("{}", "b")), result("b", "2"), result("a", "1"))
    assert said[2] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "b", "content": "2"},
            {"type": "tool_result", "tool_use_id": "a", "content": "1"},
        ],
    }
    assert len(said) == 3


def test_a_tool_result_may_be_an_image_an_error_or_nothing() -> None:
    image = {"type": "image_url", "image_url": f"data:image/png;base64,{PIXEL}"}
    said = turns(
        *HI,
        assistant(call("{}", "a"), call("{}", "b")),
        result("a", [image], cache_control={"type": "ephemeral"}),
        result("b", "", is_error=True),
    )
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    assert said[2]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "a",
            "content": [{"type": "image", "source": source}],
            "cache_control": {"type": "ephemeral"},
        },
        {"type": "tool_result", "tool_use_id": "b", "is_error": True},
    ]


def test_text_beside_tool_calls_comes_first() -> None:
    said = turns(*HI, assistant(call("{}"), content="Let me look."))
    assert [block["type"] for block in said[1]["content"]] == ["text", "tool_use"]


def test_blank_text_is_left_out_and_so_is_a_message_with_nothing_else() -> None:
    said = turns(
        {"role": "user", "content": [text(" \n"), text("Hi"), text("")]},
        {"role": "assistant", "content": "\n"},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": []},
        {"role": "user", "content": "Are you there?"},
    )
    assert said == [{"role": "user", "content": [text("Hi"), text("Are you there?")]}]


def test_refusals_are_said_as_text() -> None:
    said = turns(
        *HI,
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        *HI,
        {"role": "assistant", "content": None, "refusal": "Never."},
    )
    assert said[1]["content"] == [text("No.")]
    assert said[3]["content"] == [text("Never.")]


def test_parts_that_chat_does_not_know_pass_untouched() -> None:
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    said = turns({"role": "user", "content": [document]}, assistant(call("{}"), content=[thinking]))
    assert said[0]["content"] == [document]
    assert said[1]["content"][0] == thinking


def test_a_hundred_thousand_neighbours_take_no_time_to_speak_of() -> None:
    assert len(turns(*HI * 100_000)[0]["content"]) == 100_000


# -- images --


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("https://example.org/a.png", {"type": "url", "url": "https://example.org/a.png"}),
        ("HTTP://example.org/a", {"type": "url", "url": "HTTP://example.org/a"}),
        (f"data:image/png;base64,{PIXEL}", {"type": "base64", "media_type": "image/png", "data": PIXEL}),
        (f"DATA:Image/JPG;BASE64,{PIXEL}", {"type": "base64", "media_type": "image/jpeg", "data": PIXEL}),
        (f"data:image/webp;name=a;base64,{PIXEL}", {"type": "base64", "media_type": "image/webp", "data": PIXEL}),
    ],
)
def test_where_images_come_from(url: str, source: Json) -> None:
    part = {"type": "image_url", "image_url": {"url": url, "detail": "high"}, "cache_control": {"type": "ephemeral"}}
    said = turns({"role": "user", "content": [part]})
    assert said[0]["content"] == [{"type": "image", "source": source, "cache_control": {"type": "ephemeral"}}]


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png,abc",
        "data:image/svg+xml;base64,abc",
        "data:application/pdf;base64,abc",
        "data:;base64,abc",
        "file:///etc/passwd",
        "ftp://example.org/a.png",
        "a.png",
        "",
    ],
)
def test_images_that_anthropic_does_not_take_are_refused_by_name(url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    assert refused([{"role": "user", "content": [text("x"), part]}]) == "messages.0.content.1.image_url.url"


def test_a_huge_data_url_is_not_a_trap_for_the_pattern() -> None:
    url = "data:image/png" + ";a" * 200_000
    assert refused([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])


# -- files --


def test_a_pdf_is_a_document_under_its_name() -> None:
    file = {"filename": "a b.pdf", "file_data": "data:Application/PDF;base64,JVBE"}
    part = {"type": "file", "file": file, "cache_control": {"type": "ephemeral"}}
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}
    said = turns({"role": "user", "content": [part, {"type": "file", "file": {"file_data": file["file_data"]}}]})
    assert said[0]["content"] == [
        {"type": "document", "source": source, "title": "a b.pdf", "cache_control": {"type": "ephemeral"}},
        {"type": "document", "source": source},
    ]


@pytest.mark.parametrize(
    ("file", "param"),
    [
        ({"file_id": "file-1"}, "file.file_id"),
        ({"file_id": "file-1", "file_data": "data:application/pdf;base64,JVBE"}, "file.file_id"),
        ({}, "file.file_data"),
        ({"file_data": "JVBE"}, "file.file_data"),
        ({"file_data": "data:text/plain;base64,SGk="}, "file.file_data"),
        ({"file_data": "data:application/pdf,JVBE"}, "file.file_data"),
        ("file-1", "file"),
    ],
)
def test_files_that_anthropic_does_not_take_are_refused_by_name(file: Any, param: str) -> None:
    part = {"type": "file", "file": file}
    assert refused([{"role": "user", "content": [text("x"), part]}]) == f"messages.0.content.1.{param}"


# -- thinking --

SIGNED = {"type": "thinking", "thinking": " Hm.\u2028", "signature": "c2ln"}
REDACTED = {"type": "redacted_thinking", "data": "eA=="}


def test_signed_thinking_goes_first_in_its_turn_exactly_as_it_is() -> None:
    blocks = [SIGNED, REDACTED, {**SIGNED, "thinking": ""}]
    said = turns(*HI, {**assistant(call("{}"), content="Let me look."), "thinking_blocks": blocks})
    assert said[1]["content"][:3] == blocks
    assert [block["type"] for block in said[1]["content"][3:]] == ["text", "tool_use"]
    said = turns(*HI, {"role": "assistant", "content": "Yes.", "thinking_blocks": [SIGNED]}, *HI)
    assert said[1]["content"] == [SIGNED, text("Yes.")]


@pytest.mark.parametrize("content", ["", None, " ", []])
def test_thinking_that_led_to_nothing_is_left_out(content: Any) -> None:
    """Anthropic refuses a turn that ends in thinking."""
    assert turns(*HI, {"role": "assistant", "content": content, "thinking_blocks": [SIGNED]}) == turns(*HI)


def test_thinking_that_nobody_signed_and_that_of_other_models_is_left_out() -> None:
    thought: Json = {
        "role": "assistant",
        "content": "Yes.",
        "thinking_blocks": [{**SIGNED, "signature": ""}, {"type": "thinking", "thinking": "Hm."}],
        "reasoning_items": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}],
    }
    assert turns(*HI, thought)[1] == {"role": "assistant", "content": "Yes."}


# -- tool calls --


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        (
            '{"a": 1.0, "b": 12345678901234567890123, "c": "\\u00fc"}',
            {"a": 1.0, "b": 12345678901234567890123, "c": "ü"},
        ),
        ("", {}),
        (" \n", {}),
        (None, {}),
        ({"already": "an object"}, {"already": "an object"}),
    ],
)
def test_arguments_become_an_object(arguments: Any, read: Json) -> None:
    assert turns(*HI, assistant(call(arguments)))[1]["content"][0]["input"] == read


@pytest.mark.parametrize("arguments", ["{", "[1]", '"x"', "NaN", '{"a": NaN}', '{"a": "\\ud800"}', "[" * 100_000, 3])
def test_arguments_that_are_no_json_object_are_refused_by_name(arguments: Any) -> None:
    messages = [*HI, assistant(call("{}"), call(arguments, "call_2"))]
    assert refused(messages) == "messages.1.tool_calls.1.function.arguments"


def test_ids_are_made_acceptable_in_calls_and_results_alike() -> None:
    said = turns(*HI, assistant(call("{}", "functions.weather:0")), result("functions.weather:0", "ok"))
    assert said[1]["content"][0]["id"] == said[2]["content"][0]["tool_use_id"] == "functions_weather_0"


# -- tools and choices --


def test_what_else_a_tool_carries_goes_on() -> None:
    tool = {
        "type": "function",
        "cache_control": {"type": "ephemeral"},
        "function": {"name": "f", "parameters": {"$defs": {}}, "strict": False, "defer_loading": True},
    }
    assert asked(tools=[tool])["tools"] == [
        {
            "name": "f",
            "input_schema": {"type": "object", "$defs": {}},
            "cache_control": {"type": "ephemeral"},
            "defer_loading": True,
        }
    ]


def test_anthropics_own_tools_pass_untouched() -> None:
    own = [
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "bash_20250124", "name": "bash", "cache_control": {"type": "ephemeral"}},
        {"name": "f", "input_schema": {"type": "object"}},
    ]
    assert asked(tools=own)["tools"] == own


TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "f"}}, {"type": "tool", "name": "f"}),
        ({"type": "tool", "name": "f"}, {"type": "tool", "name": "f"}),
        ({"type": "any"}, {"type": "any"}),
    ],
)
def test_choices_of_tools(choice: Any, made: Json) -> None:
    assert asked(tools=TOOLS, tool_choice=choice)["tool_choice"] == made
    one_at_a_time = made if made["type"] == "none" else {**made, "disable_parallel_tool_use": True}
    assert asked(tools=TOOLS, tool_choice=choice, parallel_tool_calls=False)["tool_choice"] == one_at_a_time
    assert asked(tools=TOOLS, tool_choice=choice, parallel_tool_calls=True)["tool_choice"] == made


def test_one_call_at_a_time_needs_no_choice_but_tools() -> None:
    assert asked(tools=TOOLS, parallel_tool_calls=False)["tool_choice"] == {
        "type": "auto",
        "disable_parallel_tool_use": True,
    }
    assert "tool_choice" not in asked(tools=TOOLS)
    assert "tool_choice" not in asked(parallel_tool_calls=False)


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_a_choice_among_no_tools_is_left_out(choice: str) -> None:
    request = asked(tools=[], tool_choice=choice)
    assert "tools" not in request
    assert "tool_choice" not in request


def test_tools_that_must_be_used_and_are_not_there_are_for_anthropic_to_refuse() -> None:
    assert asked(tool_choice="required")["tool_choice"] == {"type": "any"}


# -- numbers, stops, people --


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({}, 4096),
        ({"max_tokens": None, "max_completion_tokens": None}, 4096),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 8}, 8),
        ({"max_tokens": 7, "max_completion_tokens": 8}, 8),
        ({"thinking": {"type": "enabled", "budget_tokens": 8000}}, 12096),
        ({"thinking": {"type": "enabled", "budget_tokens": 8000}, "max_tokens": 9000}, 9000),
        ({"thinking": {"type": "adaptive"}}, 4096),
    ],
)
def test_max_tokens(fields: Json, tokens: int) -> None:
    assert asked(**fields)["max_tokens"] == tokens


@pytest.mark.parametrize(("asked_for", "sent"), [(0, 0), (0.7, 0.7), (1, 1), (1.0, 1.0), (1.3, 1), (2, 1)])
def test_temperatures_above_one_are_sent_as_one(asked_for: float, sent: float) -> None:
    assert asked(temperature=asked_for)["temperature"] == sent


@pytest.mark.parametrize("value", [-0.1, 2.1, "1", True, []])
def test_temperatures_that_are_none_are_refused(value: Any) -> None:
    assert refused(temperature=value) == "temperature"


@pytest.mark.parametrize(("stop", "sequences"), [("END", ["END"]), (["a", "b"], ["a", "b"])])
def test_stops(stop: Any, sequences: list[str]) -> None:
    assert asked(stop=stop)["stop_sequences"] == sequences


def test_no_stops_are_not_sent_and_native_ones_pass() -> None:
    assert "stop_sequences" not in asked(stop=[])
    assert asked(stop_sequences=["x"])["stop_sequences"] == ["x"]


@pytest.mark.parametrize(
    ("stop", "param"), [("\n", "stop"), ("", "stop"), (["a", " "], "stop.1"), ([3], "stop.0"), (3, "stop")]
)
def test_stops_that_anthropic_does_not_take_are_refused(stop: Any, param: str) -> None:
    assert refused(stop=stop) == param


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ({"user": "u"}, "u"),
        ({"safety_identifier": "s"}, "s"),
        ({"user": "u", "safety_identifier": "s"}, "u"),
        ({"metadata": {"user_id": "m", "run": "7"}, "user": "u"}, "m"),
    ],
)
def test_who_asks(fields: Json, user: str) -> None:
    assert asked(**fields)["metadata"] == {"user_id": user}


def test_other_metadata_is_not_sent() -> None:
    assert "metadata" not in asked(metadata={"run": "7"})


@pytest.mark.parametrize(
    ("tier", "sent"), [("auto", "auto"), ("standard_only", "standard_only"), ("flex", None), ([], None)]
)
def test_service_tiers(tier: Any, sent: str | None) -> None:
    assert asked(service_tier=tier).get("service_tier") == sent


# -- effort and format --


@pytest.mark.parametrize(
    ("effort", "made"),
    [
        ("minimal", {"output_config": {"effort": "low"}}),
        ("low", {"output_config": {"effort": "low"}}),
        ("high", {"output_config": {"effort": "high"}}),
        ("max", {"output_config": {"effort": "max"}}),
        ("none", {"thinking": {"type": "disabled"}}),
    ],
)
def test_efforts(effort: str, made: Json) -> None:
    request = asked(reasoning_effort=effort)
    assert {name: request[name] for name in ("output_config", "thinking") if name in request} == made


@pytest.mark.parametrize(
    "model", [OLD, "claude-haiku-4-5-20251001", "claude-opus-4-20250514", "claude-3-7-sonnet-latest"]
)
@pytest.mark.parametrize("effort", ["none", "high"])
def test_models_older_than_efforts_are_asked_without(model: str, effort: str) -> None:
    request = translate({"model": model, "messages": HI, "reasoning_effort": effort})
    assert request.keys() == {"model", "messages", "max_tokens"}


@pytest.mark.parametrize(
    "model", ["claude-opus-4-5-20251101", "claude-sonnet-4-6", "claude-haiku-5-5", "claude-opus-5"]
)
def test_models_with_efforts_are_asked_with_them(model: str) -> None:
    request = translate({"model": model, "messages": HI, "reasoning_effort": "high"})
    assert request["output_config"] == {"effort": "high"}


def test_what_is_said_in_anthropics_own_words_wins() -> None:
    request = asked(
        reasoning_effort="none",
        thinking={"type": "enabled", "budget_tokens": 2000},
        output_config={"effort": "max"},
        top_k=5,
        context_management={"edits": []},
    )
    assert request["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert request["output_config"] == {"effort": "max"}
    assert request["top_k"] == 5
    assert request["context_management"] == {"edits": []}


def test_plain_text_needs_no_format() -> None:
    assert "output_config" not in asked(response_format={"type": "text"})


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({"type": "json_object"}, "response_format.type"),
        ({"type": "grammar"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"name": "n"}}, "response_format.json_schema.schema"),
        ("json", "response_format"),
    ],
)
def test_formats_that_anthropic_does_not_have_are_refused(wanted: Any, param: str) -> None:
    assert refused(response_format=wanted) == param


# -- refusals and losses --


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("audio", {"voice": "x"}),
        ("modalities", ["text", "audio"]),
        ("functions", [{"name": "f"}]),
        ("function_call", {"name": "f"}),
        ("moderation", {}),
        ("web_search_options", {}),
    ],
)
def test_fields_that_change_the_answer_are_refused_by_name(name: str, value: Any) -> None:
    assert refused(**{name: value}) == name
    assert name in REFUSALS
    for harmless in (None, *REFUSALS[name][0]):
        assert asked(**{name: harmless}) == asked()


def test_every_refusal_is_tested_above() -> None:
    tested = {"n", "logprobs", "top_logprobs", "audio", "modalities", "functions", "function_call", "moderation"}
    assert set(REFUSALS) == tested | {"web_search_options"}


@pytest.mark.parametrize("name", sorted(name for name in LOSSES if name.isidentifier()))
def test_a_loss_never_reaches_anthropic_under_its_own_name_unless_it_has_the_same(name: str) -> None:
    """`temperature`, `metadata` and `service_tier` are Anthropic's too, with less in them; others are unknown there."""
    values: Json = {
        "temperature": 1.5,
        "metadata": {"a": "b"},
        "service_tier": "flex",
        "reasoning_effort": "high",
        "response_format": {"type": "text"},
    }
    request = translate({"model": NEW, "messages": HI, name: values.get(name, "x")})
    assert name == "temperature" or name not in request


def test_losses_and_refusals_say_why_in_a_sentence() -> None:
    for why in [*LOSSES.values(), *(why for _, why in REFUSALS.values())]:
        assert re.fullmatch(r"[A-Z].*[.]", why)


def test_details_that_are_listed_as_losses_are_gone() -> None:
    """The rows of `LOSSES` inside messages and tools."""
    part = {**text("Hi"), "prompt_cache_breakpoint": {"mode": "explicit"}}
    assert turns({"role": "user", "name": "ada", "content": [part]}) == [{"role": "user", "content": [text("Hi")]}]
    back: Json = {"role": "assistant", "content": "Hm", "reasoning_content": "…", "annotations": [], "audio": None}
    assert turns(*HI, back)[1] == {"role": "assistant", "content": "Hm"}


def test_parts_that_cannot_be_carried_are_refused_by_name() -> None:
    audio = {"type": "input_audio", "input_audio": {}}
    assert refused([*HI, {"role": "user", "content": [text("x"), audio]}]) == "messages.1.content.1"


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ("Hi", "messages"),
        (None, "messages"),
        ([], "messages"),
        ([{"role": "system", "content": "x"}], "messages"),
        ([{"role": "user", "content": ""}], "messages"),
        (["Hi"], "messages.0"),
        ([{"content": "Hi"}], "messages.0.role"),
        ([{"role": "function", "name": "f", "content": "x"}], "messages.0.role"),
        ([{"role": ["user"], "content": "x"}], "messages.0.role"),
        ([{"role": "user", "content": 3}], "messages.0.content"),
        ([{"role": "user", "content": ["Hi"]}], "messages.0.content.0"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages.0.content.0.text"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "messages.0.content.0.image_url"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "messages.0.content.0.image_url.url"),
        ([{"role": "tool", "content": "x"}], "messages.0.tool_call_id"),
        ([{"role": "tool", "tool_call_id": "", "content": "x"}], "messages.0.tool_call_id"),
        ([{"role": "assistant", "audio": {"id": "a"}}], "messages.0.audio"),
        ([{"role": "assistant", "function_call": {"name": "f"}}], "messages.0.function_call"),
        ([{"role": "assistant", "tool_calls": {"id": "x"}}], "messages.0.tool_calls"),
        ([{"role": "assistant", "tool_calls": ["x"]}], "messages.0.tool_calls.0"),
        ([{"role": "assistant", "tool_calls": [{"id": "x", "type": "custom"}]}], "messages.0.tool_calls.0.function"),
        ([assistant(call("{}", id=None))], "messages.0.tool_calls.0.id"),
        ([assistant(call("{}", name=None))], "messages.0.tool_calls.0.function.name"),
        ([{"role": "assistant", "content": "x", "thinking_blocks": "x"}], "messages.0.thinking_blocks"),
        ([{"role": "assistant", "content": "x", "thinking_blocks": ["x"]}], "messages.0.thinking_blocks.0"),
        ([{"role": "assistant", "content": "x", "thinking_blocks": [text("x")]}], "messages.0.thinking_blocks.0.type"),
    ],
)
def test_messages_that_make_no_sense_are_refused_by_name(messages: Any, param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        translate({"model": NEW, "messages": messages})
    assert raised.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": "x"}, "tools"),
        ({"tools": ["x"]}, "tools.0"),
        ({"tools": [{"type": "function", "name": "flat"}]}, "tools.0.function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name"),
        ({"tools": [{"function": {"name": "f", "parameters": []}}]}, "tools.0.function.parameters"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools.0.custom"),
        ({"tools": TOOLS, "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": 3}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
        ({"metadata": "x"}, "metadata"),
        ({"output_config": "x"}, "output_config"),
        ({"reasoning_effort": 3}, "reasoning_effort"),
    ],
)
def test_fields_that_make_no_sense_are_refused_by_name(fields: Json, param: str) -> None:
    assert refused(**fields) == param


def test_a_refusal_shows_no_values() -> None:
    secret = "sk-canary"
    bodies: list[Json] = [
        {"messages": [{"role": secret}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": secret}}]}]},
        {"messages": [assistant(call(secret))]},
        {"messages": HI, "stop": [secret, " "]},
        {"messages": HI, "tools": TOOLS, "tool_choice": secret},
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
parts = st.one_of(
    texts.map(text),
    st.just({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}),
    st.just({"type": "search_result", "source": "x"}),
)
contents = st.none() | texts | st.lists(parts, max_size=3)
messages_of_any_kind = st.one_of(
    st.builds(lambda role, content: {"role": role, "content": content}, st.sampled_from(["system", "user"]), contents),
    st.builds(assistant, st.just(call("{}", "a")), content=contents),
    st.builds(lambda content: {"role": "assistant", "content": content}, contents),
    st.builds(result, st.sampled_from("ab"), contents),
)


def blocks_of(message: Json) -> Iterator[Json]:
    content = message["content"]
    yield from [text(content)] if isinstance(content, str) else content


@settings(deadline=None, max_examples=300)
@given(st.lists(messages_of_any_kind, max_size=8))
def test_turns_alternate_and_hold_what_was_said_in_order(messages: list[Json]) -> None:
    """Whatever the mixture: roles alternate, nothing is blank, and no word and no result changes place."""
    said = [{"role": "user", "content": "first"}, *messages]
    request = asked(said)
    roles = [turn["role"] for turn in request["messages"]]
    assert all(one != other for one, other in pairwise(roles))
    blocks = [(turn["role"], block) for turn in request["messages"] for block in blocks_of(turn)]
    assert all(block["text"].strip() for _, block in blocks if block["type"] == "text")
    for role, names in {"user": ("user", "tool"), "assistant": ("assistant",)}.items():
        expected = [word for message in said if message["role"] in names for word in words_of(message)]
        assert [word for speaker, block in blocks if speaker == role for word in words_of(block)] == expected


def words_of(message: Json) -> list[str]:
    """The text and the calls in a chat message or in a block, in order."""
    if message.get("type") == "tool_use":
        return [f"use {message['id']}"]
    content = message.get("content")
    listed = [text(content)] if isinstance(content, str) else content or []
    words = [part["text"] for part in listed if part.get("type") == "text" and part["text"].strip()]
    if message.get("type") == "text":
        words = [message["text"]]
    name = message.get("tool_call_id") or message.get("tool_use_id")
    uses = [f"use {use['id']}" for use in message.get("tool_calls", [])]
    return [*([f"result {name}"] if name else []), *words, *uses]


FIELDS = [
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "stop",
    "metadata",
    "user",
    "thinking",
    *REFUSALS,
    *LOSSES,
]


@settings(deadline=None, max_examples=400)
@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=6))
def test_whatever_is_sent_is_translated_or_refused_and_never_breaks(body: Json) -> None:
    for messages in (body.get("messages"), HI):
        try:
            request = translate({**body, "messages": messages})
        except BadRequest as error:
            named = error.param
        else:
            named = json.dumps(request)
        assert named
