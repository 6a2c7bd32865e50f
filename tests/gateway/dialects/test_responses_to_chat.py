"""A responses request in chat's words: what it says is carried, refused by name or listed as lost."""

from __future__ import annotations

import base64
import copy
import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam
from pydantic import TypeAdapter

from membrain.dialects.responses_to_chat import INPUT, LOSSES, REFUSALS, Offered, offered, request
from membrain.dialects.sealed import SEAL
from membrain.errors import BadRequest

Json = dict[str, Any]

SHELL: Json = {
    "type": "function",
    "name": "shell",
    "description": "Runs a command.",
    "strict": False,
    "parameters": {"type": "object", "properties": {"command": {"type": "array", "items": {"type": "string"}}}},
}
PATCH: Json = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch"'},
}
TICKETS: Json = {
    "type": "namespace",
    "name": "mcp__tickets",
    "description": "The tracker.",
    "tools": [{"type": "function", "name": "find", "parameters": {"type": "object"}, "defer_loading": True}],
}
SEARCH: Json = {"type": "web_search", "external_web_access": False}
THOUGHT: Json = {"type": "thinking", "thinking": "Look ü first.", "signature": "c2ln"}
HIDDEN: Json = {"type": "redacted_thinking", "data": "eA=="}


def sealed(*blocks: Json) -> str:
    return SEAL + base64.b64encode(json.dumps(blocks).encode()).decode()


def asked(given: Any = "Hi", **fields: Any) -> Json:
    body = {"model": "m", "input": given, **fields}
    before = copy.deepcopy(body)
    made = request(body)
    assert body == before
    return made


def said(*items: Json) -> list[Json]:
    messages: list[Json] = asked(list(items))["messages"]
    return messages


def refused(given: Any = "Hi", **fields: Any) -> str | None:
    with pytest.raises(BadRequest) as raised:
        request({"model": "m", "input": given, **fields})
    assert raised.value.param is not None
    assert f"`{raised.value.param}`" in raised.value.message
    return raised.value.param


def user(*parts: Json) -> Json:
    return {"type": "message", "role": "user", "content": list(parts)}


def function_call(call_id: Any = "c1", name: Any = "shell", arguments: Any = "{}", **more: Any) -> Json:
    return {"type": "function_call", "id": "fc_1", "call_id": call_id, "name": name, "arguments": arguments, **more}


def output(call_id: Any = "c1", text: Any = "done", kind: str = "function_call_output") -> Json:
    return {"type": kind, "call_id": call_id, "output": text}


def chat_call(call_id: str = "c1", name: str = "shell", arguments: str = "{}") -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


# -- a whole request, as Codex sends it --

CODEX: Json = {
    "model": "gpt-oss:20b",
    "instructions": "You are Codex.",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Sandbox: on."}]},
        user({"type": "input_text", "text": "<env>"}, {"type": "input_text", "text": "Fix it."}),
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed(THOUGHT)},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Looking."}]},
        function_call("c1", arguments='{"command": ["ls"]}'),
        {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": '*** "Begin"\n', "status": "x"},
        function_call("c3", "find", '{"q":1}', namespace="mcp__tickets"),
        output("c1", "a.py"),
        output("c2", "ok", "custom_tool_call_output"),
        output("c3", "[]"),
    ],
    "tools": [SHELL, PATCH, SEARCH, TICKETS],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "key",
    "text": {"verbosity": "low"},
    "client_metadata": {"x-codex": "1"},
}


def test_what_codex_sends() -> None:
    patch = request(CODEX)["tools"][1]["function"]["description"]
    assert request(CODEX) == {
        "model": "gpt-oss:20b",
        "stream": True,
        "stream_options": {"include_usage": True},
        "prompt_cache_key": "key",
        "reasoning_effort": "medium",
        "verbosity": "low",
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "messages": [
            {"role": "system", "content": "You are Codex."},
            {"role": "system", "content": "Sandbox: on."},
            {"role": "user", "content": [{"type": "text", "text": "<env>"}, {"type": "text", "text": "Fix it."}]},
            {
                "role": "assistant",
                "content": "Looking.",
                "thinking_blocks": [THOUGHT],
                "tool_calls": [
                    chat_call("c1", arguments='{"command": ["ls"]}'),
                    chat_call("c2", "apply_patch", '{"input":"*** \\"Begin\\"\\n"}'),
                    chat_call("c3", "mcp__tickets__find", '{"q":1}'),
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "a.py"},
            {"role": "tool", "tool_call_id": "c2", "content": "ok"},
            {"role": "tool", "tool_call_id": "c3", "content": "[]"},
        ],
        "tools": [
            {"type": "function", "function": {name: value for name, value in SHELL.items() if name != "type"}},
            {
                "type": "function",
                "function": {
                    "name": "apply_patch",
                    "description": patch,
                    "parameters": {
                        "type": "object",
                        "properties": {INPUT: {"type": "string"}},
                        "required": [INPUT],
                        "additionalProperties": False,
                    },
                },
            },
            {"type": "function", "function": {"name": "mcp__tickets__find", "parameters": {"type": "object"}}},
        ],
    }


def test_openais_own_package_knows_what_is_made_of_it() -> None:
    made = request(CODEX)
    TypeAdapter(list[ChatCompletionMessageParam]).validate_python(made["messages"])
    TypeAdapter(list[ChatCompletionFunctionToolParam]).validate_python(made["tools"], strict=True)


# -- messages --


def test_a_string_is_what_the_user_says() -> None:
    assert asked(" Hi ü\u2028") == {"model": "m", "messages": [{"role": "user", "content": " Hi ü\u2028"}]}


def test_messages_need_no_type_and_no_parts() -> None:
    assert said({"role": "developer", "content": "Be brief."}, {"role": "assistant", "content": ""}) == [
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": ""},
    ]


@pytest.mark.parametrize(
    ("part", "made"),
    [
        (
            {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
        ),
        (
            {"type": "input_image", "image_url": "https://a.test/x", "file_id": None},
            {"type": "image_url", "image_url": {"url": "https://a.test/x"}},
        ),
        (
            {"type": "input_image", "image_url": "https://a.test/x", "file_id": "file_1"},
            {"type": "image_url", "image_url": {"url": "https://a.test/x"}},
        ),
        (
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        ),
        (
            {"type": "input_text", "text": "x", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
        ),
    ],
)
def test_parts(part: Json, made: Json) -> None:
    assert said(user({"type": "input_text", "text": "See"}, part)) == [
        {"role": "user", "content": [{"type": "text", "text": "See"}, made]}
    ]
    assert said(user(part)) == [{"role": "user", "content": [made]}]


def test_what_the_assistant_did_in_one_turn_is_one_message() -> None:
    """Chat wants the outputs right behind the one message with all the calls."""
    refusal = {"type": "refusal", "refusal": "No."}
    turn = said(
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "One", "annotations": []}]},
        function_call("c1"),
        {"role": "assistant", "content": [refusal]},
        function_call("c2"),
        output("c1"),
        output("c2"),
        {"role": "assistant", "content": "Two"},
        function_call("c3"),
        output("c3"),
    )
    assert [message["role"] for message in turn] == ["user", "assistant", "tool", "tool", "assistant", "tool"]
    assert turn[1]["content"] == [{"type": "text", "text": "One"}, refusal]
    assert [call["id"] for call in turn[1]["tool_calls"]] == ["c1", "c2"]
    assert (turn[4]["content"], turn[4]["tool_calls"]) == ("Two", [chat_call("c3")])


def test_calls_alone_have_no_content() -> None:
    assert said(function_call()) == [{"role": "assistant", "content": None, "tool_calls": [chat_call()]}]


def test_arguments_are_carried_as_they_were_written() -> None:
    """Broken or oddly spaced JSON of a model is its own business."""
    for arguments in ("", '{ "a" :1}', '{"a"', "null"):
        assert said(function_call(arguments=arguments))[0]["tool_calls"] == [chat_call(arguments=arguments)]


def test_images_of_tools_follow_all_their_outputs() -> None:
    image = {"type": "input_image", "image_url": "https://a.test/x"}
    text = {"type": "input_text", "text": "one"}
    made = said(function_call("c1"), function_call("c2"), output("c1", [text, image]), output("c2", []), user(text))
    assert made[1:] == [
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": ""},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.test/x"}}]},
        {"role": "user", "content": "one"},
    ]
    assert said(function_call(), output("c1", [image]))[-1]["role"] == "user"
    spoken = said(function_call(), output("c1", [image]), {"role": "assistant", "content": "I see."})
    assert [message["role"] for message in spoken] == ["assistant", "tool", "user", "assistant"]


# -- reasoning --


def test_signed_thinking_comes_back_as_it_was_signed() -> None:
    item = {"type": "reasoning", "summary": [], "encrypted_content": sealed(THOUGHT, HIDDEN)}
    assert said(item, function_call())[0]["thinking_blocks"] == [THOUGHT, HIDDEN]
    assert said(function_call(), item, {"role": "assistant", "content": "x"}) == [
        {
            "role": "assistant",
            "content": "x",
            "tool_calls": [chat_call()],
            "thinking_blocks": [THOUGHT, HIDDEN],
        }
    ]


def test_openais_own_reasoning_stays_whole() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA", "new": 1}
    assert said(item, function_call())[0]["reasoning_items"] == [item]
    again = {"type": "reasoning", "summary": [], "encrypted_content": sealed(item)}
    assert said(again, function_call())[0]["reasoning_items"] == [item]


def test_reasoning_for_the_reader_and_reasoning_that_led_nowhere_are_left_out() -> None:
    plain = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]}
    assert said(plain, {"role": "assistant", "content": "x"}) == [{"role": "assistant", "content": "x"}]
    signed = {**plain, "encrypted_content": sealed(THOUGHT)}
    assert said({"role": "user", "content": "a"}, signed) == [{"role": "user", "content": "a"}]


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "!",
        "YQ==",
        "e30=",
        "W10=",
        "WzFd",
        sealed(THOUGHT)[4:] + "!",
        base64.b64encode(b'[{"type":"text"}]').decode(),
        "W10",
    ],
)
def test_a_seal_that_was_tampered_with_is_refused(payload: str) -> None:
    item = {"type": "reasoning", "summary": [], "encrypted_content": SEAL + payload}
    assert refused([item]) == "input.0.encrypted_content"


# -- tools --


def test_marks_for_a_cache_stay_on_tools() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    assert asked(tools=[{**SHELL, **mark}])["tools"] == [{**asked(tools=[SHELL])["tools"][0], **mark}]


def test_a_choice_may_name_the_namespace() -> None:
    choice = {"type": "function", "name": "find"}
    named = {"type": "function", "function": {"name": "mcp__tickets__find"}}
    for told in ({}, {"namespace": "mcp__tickets"}, {"namespace": None}):
        assert asked(tools=[SHELL, TICKETS], tool_choice={**choice, **told})["tool_choice"] == named
    assert refused(tools=[SHELL, TICKETS], tool_choice={**choice, "namespace": "other"}) == "tool_choice"


def test_a_custom_tool_tells_its_grammar_in_its_description() -> None:
    text = asked(tools=[PATCH])["tools"][0]["function"]["description"]
    assert text.startswith("Edits files.\n\n")
    assert text.endswith('lark grammar:\nstart: "*** Begin Patch"')
    bare = asked(tools=[{"type": "custom", "name": "say", "format": {"type": "text"}}])["tools"][0]["function"]
    assert "`input`" in bare["description"]
    assert "grammar" not in bare["description"]


def test_the_answer_can_look_up_what_a_function_stands_for() -> None:
    more = {"type": "additional_tools", "role": "developer", "tools": [{"type": "custom", "name": "late"}]}
    body = {"input": [more], "tools": [SHELL, PATCH, SEARCH, TICKETS]}
    assert offered(body) == {
        "shell": Offered("function", "shell"),
        "apply_patch": Offered("custom", "apply_patch"),
        "mcp__tickets__find": Offered("function", "find", "mcp__tickets"),
        "late": Offered("custom", "late"),
    }
    made = asked([more, user({"type": "input_text", "text": "x"})], tools=[SHELL])
    assert [tool["function"]["name"] for tool in made["tools"]] == ["shell", "late"]


@pytest.mark.parametrize(
    ("namespace", "name", "flat"),
    [("a", "b", "a__b"), ("mcp__a__", "b", "mcp__a__b"), ("n" * 40, "f" * 40, None)],
)
def test_names_in_namespaces_are_one_name_in_chat(namespace: str, name: str, flat: str | None) -> None:
    """No longer than chat allows, apart from each other, and the same in tools, choices and history."""
    both = [{"type": "function", "name": name}, {"type": "function", "name": f"{name}2"}]
    tools = [{"type": "namespace", "name": namespace, "tools": both}]
    call = function_call(name=name, namespace=namespace)
    made = asked([call], tools=tools, tool_choice={"type": "function", "name": name})
    names = [tool["function"]["name"] for tool in made["tools"]]
    assert len(set(names)) == 2
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", each) for each in names)
    assert flat in (None, names[0])
    assert made["messages"][0]["tool_calls"][0]["function"]["name"] == names[0]
    assert made["tool_choice"]["function"]["name"] == names[0]


@pytest.mark.parametrize("kind", ["web_search", "web_search_preview", "image_generation", "tool_search"])
def test_what_codex_offers_unasked_is_left_out_beside_real_tools(kind: str) -> None:
    assert asked(tools=[{"type": kind}, SHELL])["tools"] == asked(tools=[SHELL])["tools"]
    assert refused(tools=[{"type": kind}]) == "tools.0.type"
    assert refused(tools=[SHELL, {"type": kind}], tool_choice={"type": kind}) == "tool_choice"


@pytest.mark.parametrize(
    "kind",
    ["file_search", "code_interpreter", "computer_use_preview", "mcp", "local_shell", "shell", "apply_patch", None, []],
)
def test_tools_that_only_openai_runs_are_refused(kind: Any) -> None:
    assert refused(tools=[SHELL, {"type": kind}]) == "tools.1.type"


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "name": "shell"}, {"type": "function", "function": {"name": "shell"}}),
        ({"type": "custom", "name": "apply_patch"}, {"type": "function", "function": {"name": "apply_patch"}}),
    ],
)
def test_choices(choice: Any, made: Any) -> None:
    assert asked(tools=[SHELL, PATCH], tool_choice=choice)["tool_choice"] == made


def test_allowed_tools_are_the_only_ones_that_are_offered() -> None:
    """Few providers know the other form, and none could call what it does not see."""
    named = [{"type": "custom", "name": "apply_patch"}]
    made = asked(tools=[SHELL, PATCH], tool_choice={"type": "allowed_tools", "mode": "required", "tools": named})
    assert [tool["function"]["name"] for tool in made["tools"]] == ["apply_patch"]
    assert made["tool_choice"] == "required"


def test_without_tools_nothing_is_said_of_them() -> None:
    """OpenAI refuses a choice among no tools; Codex and others send one."""
    assert asked(tools=[], tool_choice="auto", parallel_tool_calls=False) == asked()
    assert asked(tools=[], tool_choice="required")["tool_choice"] == "required"


# -- the other fields --


@pytest.mark.parametrize(
    ("fields", "made"),
    [
        ({"max_output_tokens": 7}, {"max_tokens": 7}),
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "top_p": 0.5}),
        ({"metadata": {"a": "b"}, "user": "u"}, {"metadata": {"a": "b"}, "user": "u"}),
        ({"safety_identifier": "s", "service_tier": "flex"}, {"safety_identifier": "s", "service_tier": "flex"}),
        ({"reasoning": {"effort": "high", "summary": "auto"}}, {"reasoning_effort": "high"}),
        ({"reasoning": {"effort": None}}, {}),
        ({"text": {"format": {"type": "text"}}}, {}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "strict": True, "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}},
                }
            },
        ),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"include": ["message.output_text.logprobs"], "top_logprobs": 0}, {"logprobs": True}),
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"include": ["reasoning.encrypted_content", "web_search_call.action.sources"]}, {}),
        ({"stream": False}, {"stream": False}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"instructions": ""}, {}),
        ({"background": False, "store": True, "truncation": "auto", "max_tool_calls": 3, "seed": 1}, {}),
    ],
)
def test_fields(fields: Json, made: Json) -> None:
    assert asked(**fields) == {**asked(), **made}


# -- refusals and losses --


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("previous_response_id", "resp_1"),
        ("conversation", {"id": "conv_1"}),
        ("prompt", {"id": "pmpt_1"}),
        ("background", True),
        ("moderation", {"model": "m"}),
    ],
)
def test_what_needs_a_provider_that_keeps_responses_is_refused_by_name(name: str, value: Any) -> None:
    assert refused(**{name: value}) == name
    for harmless in (None, *REFUSALS[name][0]):
        assert asked(**{name: harmless}) == asked()


def test_every_refusal_is_tested() -> None:
    above = {
        "previous_response_id",
        "conversation",
        "prompt",
        "background",
        "moderation",
        "tools[].type",
        "tool_choice",
    }
    below = {"text.format.type", *(f"input[].content[].{name}" for name in ("type", "file_id", "file_url"))}
    assert set(REFUSALS) == {*above, *below, "input[].type"}


LATER: Json = {
    "max_tool_calls": 2,
    "background_options": {},
    "tools[].type": None,
    "reasoning": {"summary": "auto"},
    "include": [],
}


@pytest.mark.parametrize("name", sorted(name for name in LOSSES if name.isidentifier()))
def test_a_loss_changes_nothing_in_what_is_sent(name: str) -> None:
    assert asked(**{name: LATER.get(name, "x")}) == asked()


def test_losses_and_refusals_say_why_in_a_sentence() -> None:
    for why in [*LOSSES.values(), *(why for _, why in REFUSALS.values())]:
        assert re.fullmatch(r"[A-Z`].*[.]", why)


def test_searches_of_earlier_turns_are_left_out() -> None:
    call = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}
    assert said({"role": "user", "content": "a"}, call) == [{"role": "user", "content": "a"}]


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ("x", "input.0"),
        ({"id": "msg_1"}, "input.0"),
        ({"type": "item_reference", "id": "msg_1"}, "input.0"),
        ({"type": "computer_call"}, "input.0.type"),
        ({"type": "compaction", "encrypted_content": "x"}, "input.0.type"),
        ({"type": ["message"]}, "input.0.type"),
        ({"type": "message", "content": "x"}, "input.0.role"),
        ({"role": "tool", "content": "x"}, "input.0.role"),
        ({"role": ["user"], "content": "x"}, "input.0.role"),
        ({"role": "user"}, "input.0.content"),
        ({"role": "user", "content": ["x"]}, "input.0.content.0"),
        (user({"type": "input_video"}), "input.0.content.0.type"),
        (user({"type": {}}), "input.0.content.0.type"),
        (user({"type": "input_text"}), "input.0.content.0.text"),
        (user({"type": "refusal"}), "input.0.content.0.refusal"),
        (user({"type": "input_image"}), "input.0.content.0.image_url"),
        (user({"type": "input_image", "file_id": "file_1"}), "input.0.content.0.file_id"),
        (user({"type": "input_file", "file_id": "file_1"}), "input.0.content.0.file_id"),
        (user({"type": "input_file", "file_url": "https://a.test"}), "input.0.content.0.file_url"),
        (user({"type": "input_file"}), "input.0.content.0.file_data"),
        (user({"type": "input_audio"}), "input.0.content.0.input_audio"),
        (function_call(call_id=3), "input.0.call_id"),
        (function_call(name=None), "input.0.name"),
        (function_call(arguments={}), "input.0.arguments"),
        (function_call(namespace=3), "input.0.namespace"),
        ({"type": "custom_tool_call", "call_id": "c", "name": "n"}, "input.0.input"),
        (output(text={}), "input.0.output"),
        (output(call_id=None), "input.0.call_id"),
        ({"type": "reasoning", "encrypted_content": 3}, "input.0.encrypted_content"),
    ],
)
def test_items_that_make_no_sense_are_refused_by_name(item: Any, param: str) -> None:
    assert refused([item]) == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"given": None}, "input"),
        ({"given": {}}, "input"),
        ({"given": []}, "input"),
        ({"instructions": ["x"]}, "instructions"),
        ({"given": [{"type": "additional_tools", "tools": [3]}, user()]}, "input.0.tools.0"),
        ({"tools": "x"}, "tools"),
        ({"tools": ["x"]}, "tools.0"),
        ({"tools": [{"type": "function", "function": {"name": "nested"}}]}, "tools.0.name"),
        ({"tools": [{**SHELL, "parameters": []}]}, "tools.0.parameters"),
        ({"tools": [{**PATCH, "format": "lark"}]}, "tools.0.format"),
        ({"tools": [{**PATCH, "format": {"type": "grammar"}}]}, "tools.0.format.definition"),
        ({"tools": [{**PATCH, "description": 3}]}, "tools.0.description"),
        ({"tools": [{**TICKETS, "name": None}]}, "tools.0.name"),
        ({"tools": [{**TICKETS, "tools": [TICKETS]}]}, "tools.0.tools.0.type"),
        ({"tools": [SHELL], "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": [SHELL], "tool_choice": 3}, "tool_choice"),
        ({"tools": [SHELL], "tool_choice": {"type": "custom", "name": "shell"}}, "tool_choice"),
        ({"tools": [SHELL], "tool_choice": {"type": "function", "name": "other", "namespace": {}}}, "tool_choice"),
        ({"tools": [SHELL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.tools"),
        ({"tools": [SHELL], "tool_choice": {"type": "allowed_tools", "tools": [SEARCH]}}, "tool_choice.tools.0"),
        ({"tools": [SHELL], "tool_choice": {"type": "allowed_tools", "tools": [3]}}, "tool_choice.tools.0"),
        ({"reasoning": "high"}, "reasoning"),
        ({"text": "x"}, "text"),
        ({"text": {"format": "x"}}, "text.format"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"include": "x"}, "include"),
    ],
)
def test_fields_that_make_no_sense_are_refused_by_name(fields: Json, param: str) -> None:
    assert refused(**fields) == param


def test_a_refusal_shows_no_values() -> None:
    secret = "sk-canary"
    bodies: list[Json] = [
        {"input": [{"role": secret}]},
        {"input": [{"type": secret}]},
        {"input": [user({"type": secret})]},
        {"input": [{"type": "reasoning", "encrypted_content": SEAL + secret}]},
        {"input": "x", "tools": [{"type": secret}]},
        {"input": "x", "tools": [SHELL], "tool_choice": secret},
        {"input": "x", "previous_response_id": secret},
        {"input": "x", "text": {"format": {"type": secret}}},
    ]
    for body in bodies:
        with pytest.raises(BadRequest) as raised:
            request(body)
        assert secret not in f"{raised.value} {raised.value!r} {raised.value.param}"


# -- whatever comes --

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
words = st.text(max_size=5)
texts = st.builds(lambda text: {"type": "input_text", "text": text}, words)
items = st.one_of(
    st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["user", "assistant"]), words),
    st.builds(lambda parts: {"role": "user", "content": parts}, st.lists(texts, max_size=2)),
    st.builds(lambda text: function_call("c", "f", text), words),
    st.builds(lambda text: output("c", text), words),
    st.builds(lambda parts: output("c", parts), st.lists(texts, max_size=2)),
    st.just({"type": "reasoning", "summary": [], "encrypted_content": sealed(THOUGHT)}),
)


def words_in(message: Json) -> list[str]:
    """The texts of an item or a message, in order, whoever said them."""
    content = message.get("content", message.get("output"))
    listed = [content] if isinstance(content, str) else [part["text"] for part in content or []]
    own = [message["arguments"]] if "arguments" in message else []
    return [
        each
        for each in [*listed, *own, *(call["function"]["arguments"] for call in message.get("tool_calls", []))]
        if each
    ]


@settings(deadline=None, max_examples=200)
@given(st.lists(items, min_size=1, max_size=8))
def test_everybodys_words_stay_in_order_and_turns_of_the_assistant_are_one(given: list[Json]) -> None:
    made = asked([{"role": "user", "content": "first"}, *given])["messages"]
    roles = [message["role"] for message in made]
    assert all(pair != ("assistant", "assistant") for pair in pairwise(roles))
    for role, kinds in {"user": ("user",), "tool": ("function_call_output",)}.items():
        before = [word for item in given if (item.get("role") or item["type"]) in kinds for word in words_in(item)]
        after = [word for message in made if message["role"] == role for word in words_in(message)]
        assert after == (["first"] if role == "user" else []) + before
    spoken = [word for item in given if item.get("role") == "assistant" for word in words_in(item)]
    called = [item["arguments"] for item in given if item.get("type") == "function_call"]
    turns = [message for message in made if message["role"] == "assistant"]
    assert [word for turn in turns for word in words_in({"content": turn["content"]})] == spoken
    assert [call["function"]["arguments"] for turn in turns for call in turn.get("tool_calls", [])] == called


FIELDS = [
    *("model", "input", "instructions", "tools", "tool_choice", "text", "reasoning", "include", "stream"),
    *("max_output_tokens", "temperature", "top_logprobs", "parallel_tool_calls"),
    *(name for name in {*REFUSALS, *LOSSES} if name.isidentifier()),
]


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(sorted(set(FIELDS))), json_values, max_size=6))
def test_whatever_is_sent_is_translated_or_refused_and_never_breaks(body: Json) -> None:
    for given_input in (body.get("input"), "Hi", [body]):
        try:
            made: Any = request({**body, "input": given_input})
        except BadRequest as error:
            made = error.param
        assert json.dumps(made)
