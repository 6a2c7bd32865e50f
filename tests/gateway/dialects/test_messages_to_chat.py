"""A messages request at a chat provider's door: carried exactly, refused by name, or listed as a loss."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterable
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParams
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParams, CompletionCreateParamsStreaming
from pydantic import TypeAdapter

from membrain.dialects.messages_to_chat import LOSSES, REFUSALS, request
from membrain.errors import BadRequest

Json = dict[str, Any]

HI: list[Json] = [{"role": "user", "content": "Hi"}]
PIXEL, PDF = "iVBORw0KGgo=", "JVBERi0xLjQ="
SCHEMA: Json = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CACHED: Json = {"cache_control": {"type": "ephemeral"}}


def asked(messages: Any = None, **fields: Any) -> Json:
    base: Json = {"model": "gpt-5", "max_tokens": 100, "messages": HI if messages is None else messages}
    return request({**base, **fields})


def turns(*messages: Any) -> Any:
    return asked(list(messages))["messages"]


def refused(messages: Any = None, **fields: Any) -> str | None:
    """The field that is named when this is refused."""
    with pytest.raises(BadRequest) as raised:
        asked(messages, **fields)
    assert f"`{raised.value.param}`" in raised.value.message
    return raised.value.param


def user(*blocks: Json) -> Json:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Json) -> Json:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str, **more: Any) -> Json:
    return {"type": "text", "text": words, **more}


def image(**source: Any) -> Json:
    return {"type": "image", "source": source or {"type": "base64", "media_type": "image/png", "data": PIXEL}}


def use(id: str = "toolu_1", name: str = "weather", **given: Any) -> Json:
    return {"type": "tool_use", "id": id, "name": name, "input": given}


def result(id: str, content: Any = None, **more: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": id, **({} if content is None else {"content": content}), **more}


def document(source: Json, **more: Any) -> Json:
    return {"type": "document", "source": source, **more}


def call(arguments: str, id: str = "toolu_1", name: str = "weather") -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


IMAGE_PART: Json = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
PDF_SOURCE: Json = {"type": "base64", "media_type": "application/pdf", "data": PDF}
THOUGHT: Json = {"type": "thinking", "thinking": "They want  both.\n", "signature": "c2ln"}
HIDDEN: Json = {"type": "redacted_thinking", "data": "eA=="}


# -- the whole of it --

GOLDEN_MESSAGES: Json = {
    "model": "gpt-5",
    "stream": True,
    "max_tokens": 32000,
    "system": [
        text("x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli; cch=00a1b;"),
        text("You are a careful assistant.", **CACHED),
        text("Use metric units.", **CACHED),
    ],
    "messages": [
        user(text("Where is this?"), image(), image(type="url", url="https://example.org/a.png")),
        assistant(THOUGHT, HIDDEN, text("Let me look."), use(city="Zürich"), use("toolu_2", "time")),
        user(
            result("toolu_1", [text("18 °C"), image()], **CACHED),
            result("toolu_2", "noon", is_error=False),
            text("Thanks. And tomorrow?", **CACHED),
        ),
    ],
    "tools": [
        {"name": "weather", "description": "The weather.", "input_schema": SCHEMA, "strict": True, **CACHED},
        {"type": "custom", "name": "time", "input_schema": {"type": "object"}, "defer_loading": True},
    ],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "temperature": 1,
    "top_p": 0.9,
    "top_k": 5,
    "stop_sequences": ["END"],
    "metadata": {"user_id": "u-1"},
    "service_tier": "standard_only",
    "thinking": {"type": "enabled", "budget_tokens": 31999},
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
    "betas": ["context-management-2025-06-27"],
    "container": None,
}
GOLDEN_CHAT: Json = {
    "model": "gpt-5",
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 32000,
    "messages": [
        {"role": "system", "content": [text("You are a careful assistant."), text("Use metric units.")]},
        {
            "role": "user",
            "content": [
                text("Where is this?"),
                IMAGE_PART,
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": "Let me look.",
            "thinking_blocks": [THOUGHT, HIDDEN],
            "tool_calls": [call('{"city":"Zürich"}'), call("{}", "toolu_2", "time")],
        },
        {"role": "tool", "tool_call_id": "toolu_1", "content": "18 °C"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "noon"},
        {"role": "user", "content": [IMAGE_PART, text("Thanks. And tomorrow?")]},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "weather", "description": "The weather.", "parameters": SCHEMA, "strict": True},
        },
        {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}},
    ],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "temperature": 1,
    "top_p": 0.9,
    "stop": ["END"],
    "user": "u-1",
    "service_tier": "default",
    "reasoning_effort": "high",
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
    },
}


def test_a_request_with_everything_in_it() -> None:
    before = copy.deepcopy(GOLDEN_MESSAGES)
    assert request(GOLDEN_MESSAGES) == GOLDEN_CHAT
    assert before == GOLDEN_MESSAGES, "the caller's body is for reading only"


def walk(validated: Any) -> None:
    """Look at everything in *validated*: pydantic checks lists of these types only as they are read."""
    if isinstance(validated, dict):
        walk(list(validated.values()))
    elif isinstance(validated, Iterable) and not isinstance(validated, str):
        for item in validated:
            walk(item)


def test_the_result_is_what_openais_own_package_takes() -> None:
    made = request(GOLDEN_MESSAGES)
    params = TypeAdapter(CompletionCreateParams)  # must outlive what it validates, which is read later
    walk(params.validate_python(made))
    assert made.keys() <= CompletionCreateParamsStreaming.__annotations__.keys()


def test_what_is_tested_is_what_anthropics_own_package_sends() -> None:
    sent = {name: value for name, value in GOLDEN_MESSAGES.items() if name not in {"context_management", "betas"}}
    params = TypeAdapter(MessageCreateParams)
    walk(params.validate_python(sent))


def test_a_plain_request_stays_plain() -> None:
    assert asked(system="Be brief.") == {
        "model": "gpt-5",
        "max_tokens": 100,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    }


def test_nulls_count_as_not_sent() -> None:
    names = ("system", "tools", "tool_choice", "thinking", "metadata", "output_config", "stop_sequences", "top_p")
    assert asked(**dict.fromkeys(names)) == asked()


def test_usage_is_asked_for_in_streams_and_only_there() -> None:
    assert asked(stream=True)["stream_options"] == {"include_usage": True}
    assert "stream_options" not in asked(stream=False)
    assert asked(stream=False)["stream"] is False


# -- system --


def test_the_changing_line_of_claude_code_does_not_spoil_the_providers_cache() -> None:
    line = "x-anthropic-billing-header: cc_version=2.1.100.7b4; cc_entrypoint=cli; cch=eb6c6;"
    first = {"role": "system", "content": "You are."}
    for system in ([text(line), text("You are.")], f"{line}\nYou are.", [text(f"{line}\nYou are.")]):
        assert asked(system=system)["messages"][0] == first
    assert asked(system=line)["messages"] == HI
    assert asked(system=f"About {line}")["messages"][0]["content"] == f"About {line}"


def test_system_messages_in_the_middle_stay_there() -> None:
    said = turns(*HI, {"role": "system", "content": [text("Now in French.")]}, *HI)
    assert said == [*HI, {"role": "system", "content": "Now in French."}, *HI]


def test_only_text_is_a_system() -> None:
    assert refused(system=[image()]) == "system.0.type"
    assert refused(system=5) == "system"


# -- what users say --


def test_text_goes_on_as_it_is_to_the_last_blank() -> None:
    odd = ' "NAME_a1b2"\u2028\r\n\t'
    assert turns(user(text(odd)))[0]["content"] == odd
    assert turns({"role": "user", "content": odd})[0]["content"] == odd
    assert turns(user(text(odd), text("")))[0]["content"] == [text(odd), text("")]


def test_documents_become_files_and_texts() -> None:
    notes = {"type": "text", "media_type": "text/plain", "data": "Notes."}
    of_blocks = {"type": "content", "content": [text("One."), image()]}
    file = {"type": "file", "file": {"filename": "document.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}
    titled = {"type": "file", "file": {**file["file"], "filename": "Q3.pdf"}}  # type: ignore[dict-item]  # an object
    said = turns(
        user(
            document(PDF_SOURCE, **CACHED),
            document(PDF_SOURCE, title="Q3.pdf", context="From May.", citations={"enabled": True}),
            document(notes, title="Mine", context=None),
            document(of_blocks),
            document({"type": "content", "content": "Two."}),
        )
    )
    assert said[0]["content"] == [
        *(file, text("From May."), titled, text("Mine"), text("Notes.")),
        *(text("One."), IMAGE_PART, text("Two.")),
    ]


def test_a_search_result_is_told_as_texts() -> None:
    found = {"type": "search_result", "title": "T", "source": "https://example.org", "content": [text("Found.")]}
    assert turns(user(found))[0]["content"] == [text("T"), text("https://example.org"), text("Found.")]


# -- tools --


def test_results_come_first_and_what_they_show_and_the_user_says_after_them() -> None:
    shown = document(PDF_SOURCE)
    said = turns(
        *HI,
        assistant(use("a"), use("b"), use("c")),
        user(text("So?"), result("b", [image(), text("2"), text("3"), shown]), result("a", "1"), result("c")),
    )
    assert [message["role"] for message in said] == ["user", "assistant", "tool", "tool", "tool", "user"]
    assert said[2] == {"role": "tool", "tool_call_id": "b", "content": [text("2"), text("3")]}
    assert said[3] == {"role": "tool", "tool_call_id": "a", "content": "1"}
    assert said[4] == {"role": "tool", "tool_call_id": "c", "content": ""}
    assert [part["type"] for part in said[5]["content"]] == ["image_url", "file", "text"]


def test_results_alone_make_no_user_message() -> None:
    said = turns(*HI, assistant(use()), user(result("toolu_1", "1", is_error=True)))
    assert said[2:] == [{"role": "tool", "tool_call_id": "toolu_1", "content": "1"}]


def test_a_tool_that_was_found_is_told_by_its_name() -> None:
    said = turns(*HI, assistant(use()), user(result("toolu_1", [{"type": "tool_reference", "tool_name": "mcp__a"}])))
    assert said[2]["content"] == "mcp__a"


def test_content_is_null_beside_calls_and_a_string_elsewhere() -> None:
    assert turns(*HI, assistant(use()))[1]["content"] is None
    assert turns(*HI, assistant())[1] == {"role": "assistant", "content": ""}
    assert turns(user())[0] == {"role": "user", "content": ""}
    assert turns(*HI, assistant(text("a"), text("b")))[1]["content"] == [text("a"), text("b")]


@pytest.mark.parametrize("id", ["toolu_1", "call_x|fc_1", "functions.f:0"])
def test_ids_are_kept_as_they_are(id: str) -> None:
    said = turns(*HI, assistant(use(id)), user(result(id, "1")))
    assert (said[1]["tool_calls"][0]["id"], said[2]["tool_call_id"]) == (id, id)


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "f"}, {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
        ({"type": "auto", "disable_parallel_tool_use": False}, {"tool_choice": "auto"}),
        (None, {}),
    ],
)
def test_tool_choices(choice: Any, made: Json) -> None:
    request = asked(tools=[{"name": "f", "input_schema": SCHEMA}], tool_choice=choice)
    assert {name: request[name] for name in ("tool_choice", "parallel_tool_calls") if name in request} == made


def test_no_choice_is_made_among_no_tools() -> None:
    assert "tool_choice" not in asked(tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert "tools" not in asked(tools=[])


@pytest.mark.parametrize(
    "kind",
    [
        *("web_search_20250305", "web_fetch_20250910", "bash_20250124", "text_editor_20250728"),
        *("computer_20250124", "code_execution_20250825", "memory_20250818", "tool_search_tool_regex_20251119"),
    ],
)
def test_anthropics_own_tools_are_refused_by_their_place(kind: str) -> None:
    tools = [{"name": "f", "input_schema": SCHEMA}, {"type": kind, "name": "x"}]
    assert refused(tools=tools) == "tools.1.type"


# -- thinking --


def test_signed_thinking_goes_on_as_it_was_signed() -> None:
    said = turns(*HI, assistant(THOUGHT, text("Hm."), HIDDEN, use()))
    assert said[1]["thinking_blocks"] == [THOUGHT, HIDDEN]


def test_thinking_that_was_only_for_the_reader_is_dropped() -> None:
    unsigned = {"type": "thinking", "thinking": "Hm.", "signature": ""}
    assert turns(*HI, assistant(unsigned, text("Yes.")))[1] == {"role": "assistant", "content": "Yes."}


def test_reasoning_items_come_back_out_of_redacted_thinking() -> None:
    items = [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "ä="}]
    sealed = "mb1." + base64.b64encode(json.dumps(items).encode()).decode()
    said = turns(*HI, assistant({"type": "redacted_thinking", "data": sealed}, use()))
    assert said[1]["reasoning_items"] == items
    assert "thinking_blocks" not in said[1]


@pytest.mark.parametrize("payload", ["", "%", "bnVsbA==", "W10", "W1%0=", base64.b64encode(b"[1]").decode(), "eyI="])
def test_sealed_items_that_were_changed_are_refused(payload: str) -> None:
    changed = assistant({"type": "redacted_thinking", "data": f"mb1.{payload}"})
    assert refused([*HI, changed]) == "messages.1.content.0.data"


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, "low"),
        ({"type": "enabled", "budget_tokens": 4095}, "low"),
        ({"type": "enabled", "budget_tokens": 4096}, "medium"),
        ({"type": "enabled", "budget_tokens": 16383}, "medium"),
        ({"type": "enabled", "budget_tokens": 16384}, "high"),
        ({"type": "adaptive"}, None),
        ({"type": "disabled"}, None),
        ({"type": "enabled"}, None),
    ],
)
def test_a_thinking_budget_is_an_effort(thinking: Json, effort: str | None) -> None:
    assert asked(thinking=thinking).get("reasoning_effort") == effort


@pytest.mark.parametrize("effort", ["low", "medium", "high", "xhigh", "max"])
def test_an_effort_is_an_effort_and_wins_over_the_budget(effort: str) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    assert asked(thinking=thinking, output_config={"effort": effort})["reasoning_effort"] == effort


def test_no_effort_is_asked_of_models_that_would_refuse_it() -> None:
    """Claude Code asks every model to think; before these, each of its requests would fail."""
    thinking = {"type": "enabled", "budget_tokens": 31999}
    for model in ("gpt-4o", "gpt-4.1-mini", "openai/gpt-4o", "ft:gpt-4o:x", "chatgpt-4o-latest"):
        assert "reasoning_effort" not in asked(model=model, thinking=thinking, output_config={"effort": "high"})
    for model in ("ollama/llama3", "local/default"):
        assert "reasoning_effort" not in asked(model=model, thinking=thinking)
        assert asked(model=model, output_config={"effort": "low"})["reasoning_effort"] == "low"


# -- the other fields --


def test_a_format_is_a_strict_schema_under_its_old_name_too() -> None:
    wanted = {"type": "json_schema", "schema": SCHEMA}
    assert asked(output_format=wanted) == asked(output_config={"format": wanted})
    assert asked(output_format=wanted)["response_format"]["json_schema"]["strict"] is True


@pytest.mark.parametrize("user_id", ["u" * 65, "", None, 7])
def test_a_user_that_openai_would_refuse_is_left_out(user_id: Any) -> None:
    assert "user" not in asked(metadata={"user_id": user_id})
    assert asked(metadata={"user_id": "u" * 64})["user"] == "u" * 64


def test_more_stop_sequences_than_openai_takes_are_for_openai_to_refuse() -> None:
    assert asked(stop_sequences=list("abcde"))["stop"] == list("abcde")
    assert "stop" not in asked(stop_sequences=[])


def test_what_nobody_knows_is_left_out() -> None:
    housekeeping = {"context_management": {"edits": []}, "betas": [], "diagnostics": {}, "speed": "fast", "top_k": 1}
    assert asked(**housekeeping, cache_control={"type": "ephemeral"}, new_field=1) == asked()


# -- refusals --

REFUSED: Json = {
    "container": ({"container": "c_1"}, "container"),
    "mcp_servers": ({"mcp_servers": [{"type": "url", "url": "https://example.org", "name": "x"}]}, "mcp_servers"),
    "thread": ({"thread": {"type": "create"}}, "thread"),
    "compaction": ({"compaction": {"type": "summarize"}}, "compaction"),
    "inference_geo": ({"inference_geo": "eu"}, "inference_geo"),
    "tools[].type": ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools.0.type"),
    "tool_choice.type": ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
    "messages[].content[].type": (
        {"messages": [*HI, assistant({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})]},
        "messages.1.content.0.type",
    ),
    "messages[].content[].source.type": (
        {"messages": [user(text("Hi"), image(type="file", file_id="f_1"))]},
        "messages.0.content.1.source.type",
    ),
    "messages[].content[].source.media_type": (
        {"messages": [user(document({"type": "base64", "media_type": "text/csv", "data": ""}))]},
        "messages.0.content.0.source.media_type",
    ),
    "output_config.format.type": ({"output_config": {"format": {"type": "grammar"}}}, "output_config.format.type"),
}


def test_every_refusal_of_the_table_is_one_and_says_why() -> None:
    assert REFUSED.keys() == REFUSALS.keys()
    for field, (fields, param) in REFUSED.items():
        with pytest.raises(BadRequest) as raised:
            request({"model": "gpt-5", "max_tokens": 1, "messages": HI, **fields})
        assert raised.value.param == param
        assert REFUSALS[field] in raised.value.message


def test_an_empty_list_is_nothing_to_refuse() -> None:
    assert asked(mcp_servers=[], container=None) == asked()


@pytest.mark.parametrize(
    ("block", "where"),
    [
        ({"type": "container_upload", "file_id": "f"}, "type"),
        ({"type": "web_search_tool_result", "tool_use_id": "x", "content": []}, "type"),
        ({"type": "something_new"}, "type"),
        ({}, "type"),
        (document({"type": "url", "url": "https://example.org/a.pdf"}), "source.type"),
        (document({"type": "content", "content": [document(PDF_SOURCE)]}), "source.content.0.type"),
        (result("a", [result("b", "1")]), "content.0.type"),
        (result("a", [image(type="file", file_id="f")]), "content.0.source.type"),
    ],
)
def test_blocks_without_a_counterpart_are_refused_by_their_place(block: Json, where: str) -> None:
    assert refused([user(text("Hi"), block)]) == f"messages.0.content.1.{where}"


def test_an_assistant_says_and_calls_but_shows_nothing() -> None:
    assert refused([*HI, assistant(image())]) == "messages.1.content.0.type"
    assert refused([*HI, assistant(result("a", "1"))]) == "messages.1.content.0.type"
    assert refused([user(use())]) == "messages.0.content.0.type"


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"messages": None}, "messages"),
        ({"messages": ["Hi"]}, "messages.0"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [user(text(3))]}, "messages.0.content.0.text"),  # type: ignore[arg-type]  # that is the point
        ({"messages": [assistant({"type": "tool_use", "id": "a", "name": "f"})]}, "messages.0.content.0.input"),
        ({"messages": [assistant({"type": "redacted_thinking"})]}, "messages.0.content.0.data"),
        ({"messages": [user({"type": "tool_result"})]}, "messages.0.content.0.tool_use_id"),
        ({"messages": [user({"type": "image"})]}, "messages.0.content.0.source"),
        ({"tools": "f"}, "tools"),
        ({"tools": [{"name": "f"}]}, "tools.0.input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools.0.name"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"stop_sequences": [1]}, "stop_sequences.0"),
        ({"metadata": "x"}, "metadata"),
        ({"thinking": "x"}, "thinking"),
        ({"output_config": {"effort": 3}}, "output_config.effort"),
        ({"output_format": {"type": "json_schema"}}, "output_format.schema"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(fields: Json, where: str) -> None:
    body = {"model": "gpt-5", "max_tokens": 1, "messages": HI, **fields}
    with pytest.raises(BadRequest) as raised:
        request(body)
    assert raised.value.param == where


def test_no_refusal_repeats_what_was_sent() -> None:
    canary = "canary-7f3a"
    bodies: list[Json] = [
        {"container": canary},
        {"tools": [{"type": canary}]},
        {"messages": [{"role": canary}]},
        {"messages": [user({"type": canary})]},
        {"messages": [assistant({"type": "redacted_thinking", "data": f"mb1.{canary}"})]},
        {"output_format": {"type": canary}},
    ]
    for fields in bodies:
        with pytest.raises(BadRequest) as raised:
            request({"model": "m", "messages": HI, **fields})
        assert canary not in raised.value.sentence


def test_every_loss_is_a_sentence() -> None:
    assert all(why.endswith(".") and len(why) > 20 for why in [*LOSSES.values(), *REFUSALS.values()])
    assert not LOSSES.keys() & REFUSALS.keys()


# -- properties --

words = st.text(max_size=12)
said_blocks = st.one_of(words.map(text), st.just(image()), st.builds(result, words, words))
uttered = st.one_of(
    words.map(text),
    st.builds(use, words, words),
    st.just(THOUGHT),
    st.just(HIDDEN),
)
histories = st.lists(
    st.one_of(
        st.builds(lambda blocks: user(*blocks), st.lists(said_blocks, max_size=4)),
        st.builds(lambda blocks: assistant(*blocks), st.lists(uttered, max_size=4)),
        words.map(lambda said: {"role": "user", "content": said}),
    ),
    max_size=6,
)


def texts_in(node: Any) -> list[str]:
    """The texts that are said in *node*, in either dialect, sorted: results move to the front."""
    if isinstance(node, str):
        return [node]
    found: list[str] = []
    for block in node:
        content = block.get("content")
        found += [block["text"]] if block.get("type") == "text" else []
        found += texts_in(content) if content is not None else []
    return sorted(found)


@settings(deadline=None, max_examples=100)
@given(histories)
def test_every_text_arrives_and_none_is_made_up(history: list[Json]) -> None:
    before = copy.deepcopy(history)
    made = asked(history)["messages"]
    assert [each for each in texts_in(made) if each] == [each for each in texts_in(history) if each]
    assert history == before
    json.dumps(made)
