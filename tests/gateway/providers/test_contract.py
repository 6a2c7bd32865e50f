"""One contract, over every provider and every dialect that it speaks: whatever the upstream does, we hear the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest

from membrain import sse
from membrain.dialects.base import Chunk
from membrain.dialects.table import DIALECTS
from membrain.egress import Egress, Limits
from membrain.errors import GuardFailed, MembrainError, PrivateRefused, ProviderFailed
from membrain.providers import registry as make
from membrain.providers.base import DIRECT, Ask, BaseProvider
from membrain.records import Passport, Tokens
from tests.fakes import EchoProvider, SlowProvider
from tests.sink import Reply as Scripted
from tests.sink import Sink

pytestmark = pytest.mark.anyio

KEY = "sk-canary-7f3a-0123456789"
CANARY = "canary-7f3a"
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@dataclass(frozen=True)
class Kind:
    """One provider, how to make it, and where it asks the sink."""

    name: str
    make: Callable[[Egress, Sink], BaseProvider]
    path: str = "/v1/chat/completions"
    prefix: str = ""
    dialect: str = "chat"
    """What is asked in."""

    def __str__(self) -> str:
        return self.name if self.dialect == "chat" else f"{self.name}-{self.dialect}"

    def ask(self, text: str = "Hello", model: str = "gpt-4o", passport: Passport = DIRECT, **more: Any) -> Ask:
        """One question in this dialect."""
        body = {"model": model, **ASKED_AS[self.dialect](text), **more}
        return Ask(DIALECTS[self.dialect].read(json.dumps(body).encode(), depth=100), model, passport)


def _messages(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


ASKED_AS: dict[str, Callable[[str], dict[str, Any]]] = {
    "chat": _messages,
    "messages": lambda text: {"max_tokens": 64, **_messages(text)},
    "count_tokens": _messages,
    "responses": lambda text: {"input": text},
    "completions": lambda text: {"prompt": text},
    "embeddings": lambda text: {"input": text},
    "moderations": lambda text: {"input": text},
}
"""How a text is said in each dialect."""


def _openai(egress: Egress, sink: Sink) -> BaseProvider:
    return make.openai(egress, KEY, f"{sink.url}/v1")


def _anthropic(egress: Egress, sink: Sink) -> BaseProvider:
    return make.anthropic(egress, KEY, sink.url)


def _mine(egress: Egress, sink: Sink) -> BaseProvider:
    return make.compatible(egress, "mine", f"{sink.url}/v1", KEY, ())


NATIVE = [
    Kind("openai", _openai),
    Kind("anthropic", _anthropic, path="/v1/messages"),
    Kind("ollama", lambda egress, sink: make.ollama(egress, sink.url), prefix="ollama/"),
    Kind("mine", _mine, prefix="mine/"),
]
SPOKEN = [
    *NATIVE,
    Kind("openai", _openai, "/v1/responses", dialect="responses"),
    Kind("mine", _mine, "/v1/completions", "mine/", dialect="completions"),
    Kind("anthropic", _anthropic, "/v1/messages", dialect="messages"),
]
NUMBERS = [
    Kind("openai", _openai, "/v1/embeddings", dialect="embeddings"),
    Kind("openai", _openai, "/v1/moderations", dialect="moderations"),
    Kind("anthropic", _anthropic, "/v1/messages/count_tokens", dialect="count_tokens"),
]
CUSTOM = [
    Kind("echo", lambda _, __: EchoProvider()),
    Kind("slow", lambda _, __: SlowProvider(pause=0)),
]

ENDLESS = {"responses", "messages"}
"""Dialects whose streams always say that they are over."""

native = pytest.mark.parametrize("kind", NATIVE, ids=str)
spoken = pytest.mark.parametrize("kind", SPOKEN, ids=str)
served = pytest.mark.parametrize("kind", [*SPOKEN, *NUMBERS], ids=str)
every = pytest.mark.parametrize("kind", [*NATIVE, *CUSTOM], ids=str)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest.fixture
async def egress(request: pytest.FixtureRequest) -> AsyncIterator[Egress]:
    """Impatient only where it is about patience: a busy machine is no silent upstream."""
    params = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    wait, idle = (0.7, 0.4) if "stall" in str(params.get("model", "stall")) else (10.0, 10.0)
    egress = Egress(Limits(first_byte=wait, whole=wait, idle=idle, answer_bytes=1 << 20, event_bytes=1 << 18))
    yield egress
    await egress.close()


@pytest.fixture
def provider(kind: Kind, egress: Egress, sink: Sink) -> BaseProvider:
    return kind.make(egress, sink)


async def chunks(kind: Kind, provider: BaseProvider, model: str, text: str = "Hello", **more: Any) -> list[Chunk]:
    async with aclosing(provider.spoken(kind.ask(text, model, **more))) as answer:
        return [chunk async for chunk in answer]


def deltas(given: list[Chunk]) -> list[dict[str, Any]]:
    """The data of all events."""
    return [json.loads(event.data) for chunk in given if not chunk.last for event in sse.parse(chunk.raw)]


def text_of(given: list[Chunk]) -> str:
    """What a stream says, in whichever dialect."""
    return "".join(map(_text_in, deltas(given)))


def _text_in(data: dict[str, Any]) -> str:
    if isinstance(data.get("delta"), str):  # responses
        return str(data["delta"])
    said = [choice.get("delta", choice) for choice in data.get("choices", ())] or [data.get("delta") or {}]
    return "".join(each.get("content") or each.get("text") or "" for each in said)


# --- what is answered


@every
async def test_a_whole_answer_is_one_chunk_in_chats_words(kind: Kind, provider: BaseProvider) -> None:
    (chunk,) = await chunks(kind, provider, f"{kind.prefix}echo", "one two three")
    assert chunk.whole
    answer = json.loads(chunk.raw)
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"] == "one two three"
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert chunk.model == answer["model"]


@every
async def test_a_streamed_answer_says_the_same(kind: Kind, provider: BaseProvider) -> None:
    given = await chunks(kind, provider, f"{kind.prefix}echo-chunks-3", "one two three", stream=True)
    assert not any(chunk.whole for chunk in given)
    assert text_of(given).replace(" ", "") == "onetwothree"
    assert {data["object"] for data in deltas(given)} == {"chat.completion.chunk"}


@every
async def test_a_stream_always_ends_with_a_reason(kind: Kind, provider: BaseProvider) -> None:
    given = await chunks(kind, provider, f"{kind.prefix}echo", stream=True)
    last = [choice for data in deltas(given) for choice in data["choices"]][-1]
    assert last["finish_reason"] == "stop"


@pytest.mark.parametrize("kind", [*SPOKEN, *CUSTOM], ids=str)
@pytest.mark.parametrize("words", ["", "crlf-"])
async def test_the_terminal_event_is_never_part_of_an_answer(kind: Kind, provider: BaseProvider, words: str) -> None:
    """The door writes it, when the outcome is on record; as it came, if it is not spelled as ours."""
    given = await chunks(kind, provider, f"{kind.prefix}{words}echo", stream=True)
    ends = (b"[DONE]", b"message_stop", b"response.completed")
    assert not any(end in chunk.raw for chunk in given if not chunk.last for end in ends)
    assert given[-1].last or kind.dialect not in ENDLESS
    assert all(chunk.last is (chunk is given[-1]) for chunk in given if chunk.last)


@pytest.mark.parametrize("kind", [*SPOKEN, *CUSTOM], ids=str)
async def test_chunks_are_whole_events(kind: Kind, provider: BaseProvider) -> None:
    for chunk in await chunks(kind, provider, f"{kind.prefix}echo-chunks-20", "word " * 50, stream=True):
        assert chunk.raw == b"" or chunk.raw.endswith((b"\n\n", b"\r\n\r\n"))


@spoken
async def test_chunks_come_as_they_are_made(kind: Kind, provider: BaseProvider) -> None:
    """And not all at the end."""
    clock = asyncio.get_running_loop().time
    async with aclosing(provider.spoken(kind.ask("one two", f"{kind.prefix}slow-40-chunks-4", stream=True))) as answer:
        arrived = [clock() async for _ in answer]
    assert len(arrived) >= 4
    assert arrived[-1] - arrived[0] > 0.1


@spoken
async def test_comments_pings_and_other_line_ends_do_no_harm(kind: Kind, provider: BaseProvider) -> None:
    given = await chunks(kind, provider, f"{kind.prefix}crlf-echo", "one two three", stream=True)
    assert text_of(given) == "one two three"


@spoken
async def test_odd_line_ends_inside_a_text_do_not_cut_it(kind: Kind, provider: BaseProvider) -> None:
    given = await chunks(kind, provider, f"{kind.prefix}u2028-chunks-2", stream=True)
    assert text_of(given) == "one\u2028two\u0085three"


@native
@both_ways
async def test_a_tool_is_called(kind: Kind, provider: BaseProvider, stream: bool) -> None:
    given = await chunks(kind, provider, f"{kind.prefix}gpt", stream=stream, tools=[TOOL])
    if stream:
        choices = [choice for data in deltas(given) for choice in data["choices"]]
        calls = [call for choice in choices for call in choice["delta"].get("tool_calls") or []]
        name, arguments = calls[0]["function"]["name"], "".join(call["function"]["arguments"] for call in calls)
        finish = choices[-1]["finish_reason"]
    else:
        (choice,) = json.loads(given[0].raw)["choices"]
        (call,) = choice["message"]["tool_calls"]
        name, arguments, finish = call["function"]["name"], call["function"]["arguments"], choice["finish_reason"]
    assert (name, json.loads(arguments), finish) == ("weather", {"city": "Ada"}, "tool_calls")


# --- in the caller's own words

WHOLE = {
    "chat": ("object", "chat.completion"),
    "messages": ("type", "message"),
    "responses": ("object", "response"),
    "completions": ("object", "text_completion"),
    "embeddings": ("object", "list"),
    "moderations": ("id", "modr-sink"),
    "count_tokens": ("input_tokens", None),
}
"""A member by which an answer in each dialect is known."""


@served
async def test_the_upstreams_own_bytes_come_back(kind: Kind, provider: BaseProvider, sink: Sink) -> None:
    """Where it speaks what the caller speaks."""
    if kind.dialect == "chat" and kind.name == "anthropic":
        return
    name, value = WHOLE[kind.dialect]
    (chunk,) = await chunks(kind, provider, f"{kind.prefix}echo")
    assert json.loads(chunk.raw)[name] == value or value is None
    assert chunk.tokens is not None
    odd = b'{ "x" : 1.0 , "x":[] ,' + chunk.raw.lstrip()[1:] + b" \n"
    sink.script(kind.path, Scripted(body=odd, headers={"content-type": "application/json; charset=utf-8"}))
    (chunk,) = await chunks(kind, provider, f"{kind.prefix}echo")
    assert chunk.raw == odd


@served
async def test_the_callers_own_bytes_go_out(kind: Kind, provider: BaseProvider, sink: Sink) -> None:
    """All but the name of the model, where that has to change."""
    if kind.dialect == "chat" and kind.name == "anthropic":
        return
    question = kind.ask("H\u00e9llo", f"{kind.prefix}echo", unknown={"deep": [1.0, 1e2, None]})
    question.said.body = question.said.body.replace(b", ", b" ,  ")
    async with aclosing(provider.spoken(question)) as answer:
        assert [chunk async for chunk in answer]
    assert sink.requests[-1].body == question.said.body.replace(kind.prefix.encode(), b"")


@served
@pytest.mark.parametrize("body", [b"[]", b"null", b"{", b"\xff", b""])
async def test_a_whole_answer_is_a_json_object(kind: Kind, provider: BaseProvider, sink: Sink, body: bytes) -> None:
    sink.script(kind.path, Scripted(body=body, headers={"content-type": "application/json"}))
    with pytest.raises(ProviderFailed, match=f"{kind.name} did not answer in JSON"):
        await chunks(kind, provider, f"{kind.prefix}echo")


@served
async def test_an_error_under_a_good_status_is_an_error(kind: Kind, provider: BaseProvider, sink: Sink) -> None:
    told = {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}
    sink.script(kind.path, Scripted(body=told))
    with pytest.raises(ProviderFailed, match="Busy"):
        await chunks(kind, provider, f"{kind.prefix}echo")


# --- usage


@pytest.mark.parametrize("kind", [*NATIVE, CUSTOM[0]], ids=str)  # streams of one's own making may tell none
@both_ways
async def test_usage_is_counted(kind: Kind, provider: BaseProvider, stream: bool) -> None:
    given = await chunks(kind, provider, f"{kind.prefix}echo-chunks-2", "one two", stream=stream)
    tokens = [chunk.tokens for chunk in given if chunk.tokens is not None]
    assert tokens
    assert isinstance(tokens[-1], Tokens)
    assert tokens[-1].prompt > 0
    assert tokens[-1].completion == 2


@every
async def test_usage_is_hidden_from_who_did_not_ask(kind: Kind, provider: BaseProvider) -> None:
    given = await chunks(kind, provider, f"{kind.prefix}echo", stream=True)
    for data in deltas(given):
        assert data["choices"]
        assert data.get("usage", "absent") is not None


@native
async def test_usage_is_shown_to_who_asked(kind: Kind, provider: BaseProvider) -> None:
    given = await chunks(kind, provider, f"{kind.prefix}echo", stream=True, stream_options={"include_usage": True})
    last = deltas(given)[-1]
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] > 0


# --- what is asked


@served
async def test_the_upstream_hears_its_own_name_of_the_model_and_its_own_key(
    kind: Kind, provider: BaseProvider, sink: Sink
) -> None:
    question = kind.ask("Hello", f"{kind.prefix}echo-1")
    question.headers = {"authorization": f"Bearer {CANARY}-client", "x-api-key": f"{CANARY}-client", "cookie": "a=b"}
    async with aclosing(provider.spoken(question)) as answer:
        assert [chunk async for chunk in answer]
    seen = sink.requests[-1]
    assert (seen.path, seen.json()["model"]) == (kind.path, "echo-1")
    assert f"{CANARY}-client".encode() not in sink.bytes_seen()
    assert "cookie" not in seen.header
    assert (KEY in str(seen.header)) is (kind.name != "ollama")


@served
async def test_nothing_is_sent_without_a_record(kind: Kind, provider: BaseProvider, sink: Sink) -> None:
    question = kind.ask("Hello", f"{kind.prefix}echo", Passport("e", written=False, looked=True, private=False))
    with pytest.raises(GuardFailed):
        await anext(provider.spoken(question))
    assert not sink.requests


@native
async def test_private_is_refused_or_kept(kind: Kind, provider: BaseProvider, sink: Sink) -> None:
    """Everybody but Ollama, whose model is proven to be here, says no."""
    question = kind.ask(CANARY, f"{kind.prefix}llama3", Passport("e", written=True, looked=True, private=True))
    if kind.name == "ollama":
        assert (await anext(provider.spoken(question))).whole
        return
    with pytest.raises(PrivateRefused):
        await anext(provider.spoken(question))
    assert CANARY.encode() not in sink.bytes_seen().replace(KEY.encode(), b"")


@native
async def test_every_provider_answers_as_documented(kind: Kind, provider: BaseProvider) -> None:
    """`chat` and `stream_chat`, as the guide shows them, with the documented shapes."""
    from membrain.schemas import ChatCompletionRequest, ChatMessage

    messages = [ChatMessage(role="user", content="one two three")]
    response = await provider.chat(ChatCompletionRequest(model=f"{kind.prefix}echo", messages=messages))
    assert response.choices[0].message.content == "one two three"
    pieces = [each async for each in provider.stream_chat(f"{kind.prefix}echo", messages, max_tokens=9, top_p=0.5)]
    told = [choice["delta"].get("content") or "" for each in pieces for choice in each["choices"]]
    assert "".join(told) == "one two three"


# --- what goes wrong

BROKEN = {
    "reset": 502,
    "garbage": 502,
    "truncated": 502,
    "html": 502,
    "empty": 502,
    "bad-json": 502,
    "stall": 504,
    "huge-event": 502,
    "gzip-bomb": 502,
    "redirect-307": 502,
    "reset-mid": 502,
    "cut-mid": 502,
    "stall-mid": 504,
}


@spoken
@both_ways
@pytest.mark.parametrize("model", BROKEN)
async def test_an_upstream_that_breaks_is_a_failure_of_its_own(
    kind: Kind, provider: BaseProvider, sink: Sink, model: str, stream: bool
) -> None:
    """Never a proper end, never a word of what was said, and the next answer is whole again."""
    with pytest.raises(ProviderFailed) as failed:
        await chunks(kind, provider, f"{kind.prefix}{model}", f"{CANARY} " * 9, stream=stream)
    error = failed.value
    assert error.provider == kind.name
    assert kind.name.lower() in error.message.lower()
    assert error.status == BROKEN[model]
    assert error.passing
    assert CANARY not in error.sentence
    if model in {"stall", "stall-mid", "huge-event", "gzip-bomb"}:  # where it is up to us to close
        assert await asyncio.to_thread(sink.requests[-1].closed.wait, 1)
    await asyncio.sleep(0.05)  # for the news that an upstream has closed a connection; the next would take it
    assert await chunks(kind, provider, f"{kind.prefix}echo", stream=stream)


@spoken
async def test_an_answer_without_end_is_cut(kind: Kind, provider: BaseProvider) -> None:
    with pytest.raises(ProviderFailed, match="more than"):
        await chunks(kind, provider, f"{kind.prefix}huge")


@spoken
@both_ways
@pytest.mark.parametrize("status", [400, 402, 404, 413, 422, 429, 500, 503, 529])
async def test_an_upstream_that_says_no_is_heard_in_its_own_words(
    kind: Kind, provider: BaseProvider, status: int, stream: bool
) -> None:
    with pytest.raises(ProviderFailed) as failed:
        await chunks(kind, provider, f"{kind.prefix}status-{status}", stream=stream)
    error = failed.value
    assert (error.status, error.message) == (status, f"The sink was asked for a {status}.")
    assert error.headers == ({"retry-after": "7"} if status == 429 else {})
    assert error.passing is (status >= 500 or status in {402, 429}), "another provider may have money left"


@served
@pytest.mark.parametrize("status", [401, 403])
async def test_an_upstream_that_refuses_its_key_does_not_blame_the_caller(
    kind: Kind, provider: BaseProvider, status: int
) -> None:
    """The caller's own key is fine, and its SDK must not throw it away."""
    with pytest.raises(ProviderFailed) as failed:
        await chunks(kind, provider, f"{kind.prefix}status-{status}")
    assert (failed.value.status, failed.value.code) == (502, "provider_key_refused")
    assert failed.value.headers == {"x-should-retry": "false"}
    assert f"membrain keys set {kind.name}" in failed.value.message
    assert KEY not in failed.value.message


@spoken
async def test_an_error_in_mid_stream_is_heard(kind: Kind, provider: BaseProvider) -> None:
    given: list[Chunk] = []

    async def take() -> None:
        question = kind.ask("one two three four", f"{kind.prefix}sse-error-mid-slow-20", stream=True)
        async with aclosing(provider.spoken(question)) as answer:
            async for chunk in answer:
                given.append(chunk)  # noqa: PERF401  # what came before the failure must be kept

    with pytest.raises(ProviderFailed, match="The sink gave up in mid-stream"):
        await take()
    assert text_of(given)


@spoken
async def test_an_error_as_the_first_event_is_a_failure_before_anything_was_said(
    kind: Kind, provider: BaseProvider, sink: Sink
) -> None:
    """So that another provider can still answer; a comment before it changes nothing."""
    told = {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}
    sink.script(
        kind.path,
        Scripted(
            chunks=[b": hello\n\n", b"event: error\ndata: " + json.dumps(told).encode() + b"\n\n"],
            headers={"content-type": "text/event-stream"},
            pause=0.02,
        ),
    )
    with pytest.raises(ProviderFailed, match="Busy"):
        await anext(provider.spoken(kind.ask(model=f"{kind.prefix}echo", stream=True)))


@spoken
async def test_an_upstream_that_only_pings_is_silent(kind: Kind, provider: BaseProvider, sink: Sink) -> None:
    sink.script(
        kind.path,
        Scripted(
            chunks=[b'event: ping\ndata: {"type":"ping"}\n\n' if kind.name == "anthropic" else b": ping\n\n"] * 30,
            headers={"content-type": "text/event-stream"},
            pause=0.05,
        ),
    )
    began = asyncio.get_running_loop().time()
    with pytest.raises(ProviderFailed, match="silent"):
        await chunks(kind, provider, f"{kind.prefix}echo", stream=True)
    assert asyncio.get_running_loop().time() - began < 1


@spoken
async def test_a_stream_that_finished_may_forget_to_say_so(kind: Kind, provider: BaseProvider) -> None:
    """Some servers leave out `[DONE]`. The ends of messages and responses are never left out."""
    if kind.name == "anthropic" or kind.dialect in ENDLESS:
        with pytest.raises(ProviderFailed):
            await chunks(kind, provider, "no-done-echo", stream=True)
    else:
        assert text_of(await chunks(kind, provider, f"{kind.prefix}no-done-echo", "one", stream=True)) == "one"


# --- letting go


@spoken
@both_ways
async def test_an_answer_that_is_closed_closes_the_upstream(
    kind: Kind, provider: BaseProvider, sink: Sink, stream: bool
) -> None:
    """In mid-stream, and while it is still waited for."""
    if stream:
        answer = provider.spoken(kind.ask("one two three", f"{kind.prefix}stall-mid", stream=True))
        assert (await anext(answer)).raw
        await answer.aclose()
    else:
        task = asyncio.ensure_future(chunks(kind, provider, f"{kind.prefix}stall"))
        await asyncio.to_thread(sink.wait_for, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await asyncio.to_thread(sink.requests[-1].closed.wait, 1)


async def test_a_stream_of_ones_own_making_is_closed_too() -> None:
    provider = SlowProvider(pause=5)
    answer = provider.spoken(CUSTOM[1].ask("one two three", stream=True))
    assert (await anext(answer)).raw
    await answer.aclose()
    assert provider.left.is_set()


@spoken
async def test_streams_that_ended_give_their_connections_back(kind: Kind, provider: BaseProvider, sink: Sink) -> None:
    for _ in range(6):
        await chunks(kind, provider, f"{kind.prefix}echo", stream=True)
        await asyncio.sleep(0.02)
    # A server on this machine is reached anew each time: it may close a connection after a stream without a word.
    assert sink.connections == (6 if provider.is_local else 1)


@native
async def test_a_closed_provider_holds_no_connection(
    kind: Kind, provider: BaseProvider, sink: Sink, egress: Egress
) -> None:
    await chunks(kind, provider, f"{kind.prefix}echo")
    await provider.state()
    await provider.models()
    await provider.close()
    for request in sink.requests:
        assert await asyncio.to_thread(request.closed.wait, 1)
    assert egress._upstreams == []


# --- about themselves


@native
async def test_models_are_listed(kind: Kind, provider: BaseProvider) -> None:
    models = await provider.models()
    assert models
    assert all(isinstance(each, str) for each in models)


@native
async def test_nobody_tells_its_key(kind: Kind, provider: BaseProvider) -> None:
    state = await provider.state()
    assert state.name == kind.name
    assert CANARY not in repr(state) + repr(provider) + repr(vars(provider))


@native
async def test_a_provider_that_is_away_says_so_and_breaks_nothing(kind: Kind) -> None:
    with Sink() as sink:
        pass
    egress = Egress()
    provider = kind.make(egress, sink)
    await provider.state()
    with pytest.raises(MembrainError):
        await provider.models()
    with pytest.raises(ProviderFailed, match="could not be reached"):
        await chunks(kind, provider, f"{kind.prefix}echo")
    await egress.close()
