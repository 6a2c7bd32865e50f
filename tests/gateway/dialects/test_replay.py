"""An answer told again: whole or as a stream it says the same, and OpenAI's own SDK reads it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrain import sse
from membrain.dialects import replay
from membrain.dialects.base import unbroken
from membrain.records import Tokens

TEXT = st.text(max_size=130)
SOME = st.text(min_size=1, max_size=130)
WORD = st.text("abcdefghij_", min_size=1, max_size=9)
VALUE = st.one_of(st.none(), st.booleans(), st.integers(0, 9), WORD, st.lists(WORD, max_size=2))


def maybe(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with any of these members."""
    return st.fixed_dictionaries({}, optional=members)


def token(text: str) -> dict[str, Any]:
    return {"token": text, "logprob": -0.5, "bytes": list(text.encode("utf-8", "replace")), "top_logprobs": []}


CALL = st.one_of(
    st.fixed_dictionaries(
        {"id": WORD, "type": st.just("function"), "function": st.fixed_dictionaries({"name": WORD, "arguments": TEXT})}
    ),
    st.fixed_dictionaries(
        {"id": WORD, "type": st.just("custom"), "custom": st.fixed_dictionaries({"name": WORD, "input": SOME})}
    ),
)
MESSAGE = st.builds(
    lambda known, calls, more: {"role": "assistant", **known, **calls, **more},
    maybe(
        content=st.none() | TEXT,
        refusal=st.none() | SOME,
        reasoning_content=st.none() | TEXT,
        reasoning=SOME,
        function_call=st.fixed_dictionaries({"name": WORD, "arguments": SOME}),
        annotations=st.lists(st.fixed_dictionaries({"type": st.just("url_citation"), "url": SOME}), max_size=2),
    ),
    maybe(tool_calls=st.none() | st.lists(CALL, max_size=3)),
    maybe(our_own=VALUE, audio=st.fixed_dictionaries({"id": WORD, "data": SOME})),
)
LOGPROBS = st.one_of(
    st.none(),
    maybe(
        content=st.none() | st.lists(SOME.map(token), max_size=4),
        refusal=st.none() | st.lists(SOME.map(token), max_size=2),
    ),
)


@st.composite
def choice(draw: st.DrawFn, index: int) -> dict[str, Any]:
    made = {"index": index, "message": draw(MESSAGE), "finish_reason": draw(st.sampled_from(sorted(replay.FINISHED)))}
    made |= draw(maybe(logprobs=LOGPROBS, content_filter_results=st.dictionaries(WORD, WORD, max_size=2)))
    if draw(st.booleans()) and made["message"].get("content"):  # tokens that are the text
        text = made["message"]["content"]
        made["logprobs"] = {"content": [token(text[at : at + 3]) for at in range(0, len(text), 3)], "refusal": None}
    return made


@st.composite
def completions(draw: st.DrawFn) -> dict[str, Any]:
    usage = st.fixed_dictionaries({"prompt_tokens": st.integers(0, 99), "completion_tokens": st.integers(0, 99)})
    head = {"id": draw(WORD), "object": "chat.completion", "created": draw(st.integers(0, 2**40)), "model": draw(WORD)}
    head |= draw(maybe(system_fingerprint=st.none() | WORD, service_tier=WORD, citations=st.lists(WORD, max_size=2)))
    head["choices"] = [draw(choice(index)) for index in range(draw(st.integers(1, 3)))]
    return head | draw(maybe(usage=usage))


HELLO: dict[str, Any] = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello, you! " * 10, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12},
}


def told(completion: dict[str, Any], *, usage: bool = True) -> bytes:
    return b"".join(replay.events(completion, usage=usage))


def chunks(*deltas: dict[str, Any], finish: str | None = "stop") -> bytes:
    """A stream of one choice as an upstream writes it."""
    frames = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    frames += [{"index": 0, "delta": {}, "finish_reason": finish}] if finish else []
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"".join(sse.encode(json.dumps({**head, "choices": [frame]}).encode()) for frame in frames)


# -- there and back


@settings(max_examples=150, deadline=None)
@given(completions())
def test_a_completion_told_as_a_stream_is_the_same_completion(completion: dict[str, Any]) -> None:
    before = json.dumps(completion)
    assert replay.whole(told(completion)) == completion
    bare = {name: value for name, value in completion.items() if name != "usage"}
    assert replay.whole(told(completion, usage=False)) == bare
    assert json.dumps(completion) == before


@settings(max_examples=40, deadline=None)
@given(completions())
def test_what_was_told_twice_is_told_as_the_first_time(completion: dict[str, Any]) -> None:
    once = told(completion)
    again = told(replay.whole(once))
    assert replay.whole(again) == replay.whole(once)


def test_texts_come_in_small_pieces_and_calls_too() -> None:
    long = "é" * 1000
    call = {"id": "t", "type": "function", "function": {"name": "f", "arguments": long}}
    message = {"role": "assistant", "content": long, "reasoning_content": long, "tool_calls": [call]}
    events = sse.parse(told({**HELLO, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}))
    deltas = [json.loads(event.data)["choices"][0]["delta"] for event in events[:-1]]
    for name in ("content", "reasoning_content"):
        assert max(len(delta.get(name) or "") for delta in deltas) == 40
    arguments = [each["function"]["arguments"] for delta in deltas for each in delta.get("tool_calls", [])]
    assert max(map(len, arguments)) == 40
    assert "".join(arguments) == long


def test_reasoning_goes_before_what_it_led_to() -> None:
    message = {"role": "assistant", "content": "So yes.", "reasoning_content": "Because."}
    raw = told({**HELLO, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    assert raw.index(b"Because.") < raw.index(b"So yes.")


def test_usage_is_told_only_to_who_asked_for_it() -> None:
    assert b'"usage"' not in told(HELLO, usage=False)
    last = json.loads(sse.parse(told(HELLO))[-1].data)
    assert (last["choices"], last["usage"]) == ([], HELLO["usage"])


def test_long_lists_around_the_answer_are_told_once() -> None:
    raw = told({**HELLO, "citations": ["https://example.com/a-source"]})
    assert raw.count(b"a-source") == 1
    assert raw.count(b'"id":"c1"') > 3


def test_usage_of_what_a_provider_hid_is_as_openai_tells_it() -> None:
    made = openai.types.CompletionUsage.model_validate(replay.usage_of(Tokens(10, 5, cached=4, reasoning=2)))
    assert (made.prompt_tokens, made.completion_tokens, made.total_tokens) == (10, 5, 15)
    assert made.prompt_tokens_details is not None
    assert made.prompt_tokens_details.cached_tokens == 4
    assert made.completion_tokens_details is not None
    assert made.completion_tokens_details.reasoning_tokens == 2


# -- streams of others


def test_pieces_of_texts_and_calls_grow_in_their_place() -> None:
    def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
        function = {"arguments": arguments, **({"name": more.pop("name")} if "name" in more else {})}
        return {"tool_calls": [{"index": index, "function": function, **more}]}

    raw = chunks(
        {"role": "assistant", "content": None},
        call(0, "", id="a", type="function", name="f"),
        call(1, '{"b"', id="b", type="function", name="g"),
        call(0, '{"a"'),
        call(1, ":2}"),
        call(0, ":1}"),
        finish="tool_calls",
    )
    (found,) = replay.whole(raw)["choices"]
    assert found == {
        "index": 0,
        "message": {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"arguments": '{"a":1}', "name": "f"}},
                {"id": "b", "type": "function", "function": {"arguments": '{"b":2}', "name": "g"}},
            ],
        },
        "finish_reason": "tool_calls",
    }


def test_names_that_are_said_again_or_emptied_stay() -> None:
    raw = chunks({"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": ""})
    assert replay.whole(raw)["choices"][0]["message"] == {"role": "assistant", "content": "ab"}


def test_comments_line_ends_padding_and_the_end_mark_are_no_part_of_an_answer() -> None:
    raw = chunks({"content": "a"}).replace(b'{"id"', b'{"obfuscation":"xyz","id"').replace(b"\n", b"\r\n")
    found = replay.whole(b": ping\n\n" + raw + b"data: [DONE]\n\n")
    assert found["choices"][0]["message"] == {"content": "a"}
    assert "obfuscation" not in found


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"data: [DONE]\n\n",
        b"data: nonsense\n\n",
        b"data: []\n\n",
        b'data: {"choices":{}}\n\n',
        b'data: {"choices":[]}\n\n',
        b'data: {"choices":[3]}\n\n',
        b'data: {"choices":[{"index":"0","delta":{}}]}\n\n',
        b'data: {"choices":[{"index":true,"delta":{}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":"a"}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{},"logprobs":3}]}\n\n',
        b'data: {"error":{"message":"overloaded"}}\n\n',
        b'data: {"error":{"message":"overloaded"},"choices":[]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"id":"a"}]}}]}\n\n',
        chunks({"content": "a"}, {"content": {"text": "b"}}),
        b"data: " + b"[" * 5000 + b"\n\n",
    ],
)
def test_what_is_no_stream_of_an_answer_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # nobody reads why
        replay.whole(raw)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"choices":{}}', b'{"choices":[],"error":{"message":"no"}}'])
def test_what_is_no_completion_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # nobody reads why
        replay.read(body)


@pytest.mark.parametrize(
    ("ends", "choices", "sound"),
    [
        ([(0, "stop")], 1, True),
        ([(0, "length"), (1, "tool_calls")], 2, True),
        ([(None, "function_call")], 1, True),
        ([(0, "content_filter")], 1, False),
        ([(0, None)], 1, False),
        ([(0, ["stop"])], 1, False),
        ([(0, "stop"), (1, None)], 2, False),
        ([(0, "stop")], 2, False),
        ([(0, "stop"), (0, "stop")], 2, False),
        ([(1, "stop")], 1, False),
        ([], 1, False),
    ],
)
def test_an_answer_is_finished_if_all_its_choices_came_to_their_own_end(
    ends: list[tuple[int | None, Any]], choices: int, sound: bool
) -> None:
    made = [{"finish_reason": end} | ({} if index is None else {"index": index}) for index, end in ends]
    assert replay.finished({"choices": made}, choices) is sound


def test_which_ends_count_can_be_said() -> None:
    made = {"choices": [{"finish_reason": "length"}]}
    assert replay.finished(made, 1)
    assert not replay.finished(made, 1, replay.FINISHED - {"length"})


def test_a_choice_that_is_no_object_is_not_finished() -> None:
    assert not replay.finished({"choices": ["stop"]}, 1)


# -- the real SDK


def sdk(body: bytes, kind: str) -> openai.AsyncOpenAI:
    """OpenAI's SDK before an upstream that says *body*."""

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": kind}, content=body)

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return openai.AsyncOpenAI(api_key="k", base_url="http://sdk.test/v1", http_client=client, max_retries=0)


async def streamed(completion: dict[str, Any]) -> Any:
    """What the SDK's own accumulation makes of the stream."""
    raw = unbroken(told(completion)) + b"data: [DONE]\n\n"
    asked: Any = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    async with sdk(raw, "text/event-stream") as client, client.chat.completions.stream(**asked) as stream:
        async for _event in stream:
            pass
        return await stream.get_final_completion()


def test_the_openai_sdk_puts_a_told_stream_together_as_the_completion_it_was() -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": json.dumps({"q": "x" * 90})}}
    second = {
        "index": 1,
        "message": {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]},
        "logprobs": None,
        "finish_reason": "tool_calls",
    }
    text = "Line\u2028 one\u0085 and 🙂 " * 9
    tokens = [token(text[at : at + 4]) for at in range(0, len(text), 4)]
    first = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": {"content": tokens, "refusal": None},
        "finish_reason": "stop",
    }
    asked = {**HELLO, "choices": [first, second]}
    found = asyncio.run(streamed(asked)).model_dump(exclude_unset=False)
    assert [each["message"]["content"] for each in found["choices"]] == [text, None]
    assert found["choices"][1]["message"]["tool_calls"][0]["function"]["arguments"] == call["function"]["arguments"]
    assert found["choices"][1]["message"]["tool_calls"][0]["id"] == "t1"
    assert [each["finish_reason"] for each in found["choices"]] == ["stop", "tool_calls"]
    assert "".join(each["token"] for each in found["choices"][0]["logprobs"]["content"]) == text
    assert found["usage"]["total_tokens"] == 12


def test_the_openai_sdk_reads_a_stream_that_was_put_together() -> None:
    async def ask() -> Any:
        body = json.dumps(replay.whole(told(HELLO))).encode()
        async with sdk(body, "application/json") as client:
            return await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])

    found = asyncio.run(ask())
    assert found.choices[0].message.content == HELLO["choices"][0]["message"]["content"]
    assert found.usage.total_tokens == 12
