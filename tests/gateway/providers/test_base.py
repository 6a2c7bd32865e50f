"""The documented interface of providers, and what upstreams' refusals become."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

import httpx
import pytest

from membrain import sse
from membrain.dialects.base import Chunk
from membrain.dialects.table import DIALECTS
from membrain.errors import BadRequest, MembrainError, NotConfigured, NotServed, ProviderFailed, Unauthorized
from membrain.providers.base import Ask, BaseProvider, NativeProvider, refusal, said_of
from membrain.records import Tokens
from membrain.schemas import ChatChoice, ChatCompletionRequest, ChatCompletionResponse, ChatMessage, Usage
from tests.fakes import EchoProvider, FlakyProvider, SlowProvider, ask, piece
from tests.sink import Sink

pytestmark = pytest.mark.anyio
CANARY = "canary-7f3a"


async def answered(provider: BaseProvider, question: Ask) -> list[Chunk]:
    return [chunk async for chunk in provider.answer(question)]


# --- the documented interface


class MyProvider(BaseProvider):
    """The provider guide's own example, word for word where it matters."""

    def __init__(self, api_key: str, base_url: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url, headers={"Authorization": f"Bearer {api_key}"}, timeout=120.0, trust_env=False
        )

    async def chat(self, request: ChatCompletionRequest) -> ChatCompletionResponse:
        payload: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
        }
        if request.temperature is not None:
            payload["temperature"] = request.temperature
        if request.max_tokens is not None:
            payload["max_tokens"] = request.max_tokens
        resp = await self._client.post("/chat/completions", json=payload)
        resp.raise_for_status()
        data = resp.json()
        return ChatCompletionResponse(
            id=data["id"],
            created=data["created"],
            model=data["model"],
            choices=[
                ChatChoice(index=c["index"], message=ChatMessage(**c["message"]), finish_reason=c.get("finish_reason"))
                for c in data["choices"]
            ],
            usage=Usage(**data["usage"]),
        )

    async def close(self) -> None:
        await self._client.aclose()


async def test_the_guides_example_works_as_it_stands(sink: Sink) -> None:
    provider = MyProvider("sk-mine", f"{sink.url}/v1")
    (whole,) = await answered(provider, ask("one two", "echo", temperature=0.5))
    assert json.loads(whole.raw)["choices"][0]["message"]["content"] == "one two"
    assert sink.requests[0].json() == {
        "model": "echo",
        "messages": [{"role": "user", "content": "one two"}],
        "temperature": 0.5,
    }
    (streamed,) = await answered(provider, ask("one two", "echo", stream=True, stream_options={"include_usage": True}))
    (event,) = streamed.raw.decode().strip().split("\n\n")
    choice = json.loads(event.removeprefix("data: "))["choices"][0]
    assert choice["delta"] == {"role": "assistant", "content": "one two"}
    assert choice["finish_reason"] == "stop"
    assert streamed.tokens is not None
    await provider.close()


async def test_the_guides_example_that_fails_fails_as_a_provider(sink: Sink) -> None:
    """Whatever it raises by nature, here httpx's own errors."""
    provider = MyProvider("sk-mine", f"{sink.url}/v1")
    with pytest.raises(ProviderFailed, match="custom answered 500") as refused:
        await answered(provider, ask(CANARY, "status-500"))
    assert (refused.value.status, refused.value.reached) == (500, False), "so that another one may be asked"
    with pytest.raises(ProviderFailed) as refused:
        await answered(provider, ask(CANARY, "status-429"))
    assert refused.value.headers == {"retry-after": "7"}
    await provider.close()


async def test_a_stream_is_the_whole_answer_in_one_piece_unless_somebody_knows_better() -> None:
    provider = EchoProvider()
    pieces = [each async for each in provider.stream_chat("m", [{"role": "user", "content": "one two"}], max_tokens=5)]
    assert len(pieces) == 1
    assert pieces[0]["object"] == "chat.completion.chunk"
    assert pieces[0]["choices"][0]["delta"]["content"] == "one two"
    assert provider.asked[0].max_tokens == 5


async def test_fields_the_shapes_do_not_name_reach_a_custom_provider() -> None:
    provider = EchoProvider()
    for stream in (False, True):
        await answered(provider, ask(stream=stream, temperature=0.1, x_unknown={"a": 1}, top_k=3))
    assert [request.extra["x_unknown"] for request in provider.asked] == [{"a": 1}, {"a": 1}]
    assert [request.temperature for request in provider.asked] == [0.1, 0.1]


async def test_a_custom_provider_is_asked_for_its_own_name_of_the_model() -> None:
    provider = EchoProvider()
    question = ask(model="mine/big")
    question.model = "big"
    await answered(provider, question)
    assert provider.asked[0].model == "big"


async def test_a_custom_provider_is_nobody_local_until_it_says_so() -> None:
    assert not EchoProvider().is_local
    state = await EchoProvider().state()
    assert (state.name, state.up, state.local) == ("echo", True, False)


async def test_a_foreign_failure_is_told_by_its_kind_and_not_by_its_words() -> None:
    """Its words may quote what was sent."""
    with pytest.raises(ProviderFailed) as failed:
        await answered(FlakyProvider(RuntimeError(CANARY)), ask(CANARY))
    assert failed.value.message == "flaky failed with RuntimeError."
    assert (failed.value.status, failed.value.provider, failed.value.passing) == (502, "flaky", True)


@pytest.mark.parametrize("error", [ProviderFailed("x", status=429), NotConfigured("x"), Unauthorized("x")])
async def test_a_failure_of_ours_stays_what_it_is(error: MembrainError) -> None:
    with pytest.raises(type(error)) as failed:
        await answered(FlakyProvider(error), ask())
    assert failed.value is error


async def test_a_stream_that_breaks_off_is_heard_where_it_does() -> None:
    answer = SlowProvider(pause=0, breaks_after=2).answer(ask("one two three", stream=True))
    assert [(await anext(answer)).raw.count(b"one"), (await anext(answer)).raw.count(b"two")] == [1, 1]
    with pytest.raises(ProviderFailed, match="broke off"):
        await anext(answer)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"messages": [{"content": CANARY}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}, {}]}, "messages.1.role"),
    ],
)
async def test_a_request_that_fits_no_shape_is_the_callers_fault(
    stream: bool, more: dict[str, Any], param: str
) -> None:
    question = Ask(said_of({"model": "m", "stream": stream, **more}), "m", ask().passport)
    with pytest.raises(BadRequest) as refused:
        await answered(EchoProvider(), question)
    assert refused.value.param == param
    assert CANARY not in refused.value.sentence


async def test_an_answer_that_fits_no_shape_is_the_providers_fault() -> None:
    class Odd(EchoProvider):
        async def chat(self, request: ChatCompletionRequest) -> ChatCompletionResponse:
            return ChatCompletionResponse.from_dict({"choices": CANARY})

    with pytest.raises(ProviderFailed) as failed:
        await answered(Odd(), ask())
    assert failed.value.status == 502
    assert CANARY not in failed.value.sentence


async def test_a_model_that_cannot_be_one_is_not_taken_from_a_custom_stream() -> None:
    class Odd(EchoProvider):
        async def stream_chat(
            self,
            model: str,
            messages: Sequence[Any],
            temperature: float | None = None,
            max_tokens: int | None = None,
            **kwargs: Any,
        ) -> AsyncIterator[dict[str, Any]]:
            yield piece("a\r\nset-cookie: b", {"content": "x"}, "stop")

    (chunk,) = await answered(Odd(), ask(stream=True))
    assert chunk.model is None


# --- the documented pair, of providers that answer natively


class Native(NativeProvider):
    """Answers with what it was given."""

    name: ClassVar[str] = "native"

    def __init__(self, *raws: bytes) -> None:
        self.raws = raws
        self.asked: list[Ask] = []
        self.left = False

    async def answer(self, ask: Ask) -> AsyncIterator[Chunk]:  # type: ignore[override]  # a generator all the same
        self.asked.append(ask)
        try:
            for raw in self.raws:
                yield Chunk(raw)
        finally:
            self.left = True


async def test_a_native_provider_gives_the_documented_pair() -> None:
    whole = {"id": "1", "created": 1, "model": "m", "choices": [], "object": "chat.completion"}
    provider = Native(json.dumps(whole).encode())
    request = ChatCompletionRequest(model="m", messages=[ChatMessage(role="user", content="Hello")], stream=True)
    assert (await provider.chat(request)).id == "1"
    assert provider.left
    assert provider.asked[0].said.data["stream"] is False
    assert provider.asked[0].passport.written
    provider = Native(b'data: {"a":1}\n\ndata: {"a":2}\n\n', b'data: {"a":3}\n\n')
    assert [each async for each in provider.stream_chat("m", [{"role": "user", "content": "x"}])] == [
        {"a": 1},
        {"a": 2},
        {"a": 3},
    ]
    assert provider.asked[0].said.stream


async def test_a_native_provider_that_says_nothing_has_failed() -> None:
    request = ChatCompletionRequest(model="m", messages=[ChatMessage(role="user", content="Hello")])
    with pytest.raises(ProviderFailed, match="native sent nothing"):
        await Native().chat(request)


async def test_leaving_a_documented_stream_early_closes_what_is_under_it() -> None:
    provider = Native(b'data: {"a":1}\n\n', b'data: {"a":2}\n\n')
    stream = provider.stream_chat("m", [{"role": "user", "content": "x"}])
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]  # of a generator
    assert provider.left


# --- refusals


def told(body: object, status: int = 400, **headers: str) -> ProviderFailed:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return refusal("openai", status, raw, headers)


def test_a_refusal_keeps_what_sdks_decide_by() -> None:
    error = told(
        {"error": {"message": "Too fast.", "type": "requests", "param": "n", "code": "rate_limit_exceeded"}},
        429,
        **{"retry-after": "7", "retry-after-ms": "6900", "x-should-retry": "true", "set-cookie": "a=b"},
    )
    assert (error.status, error.message, error.type, error.param, error.code) == (
        429,
        "Too fast.",
        "requests",
        "n",
        "rate_limit_exceeded",
    )
    assert error.headers == {"retry-after": "7", "retry-after-ms": "6900", "x-should-retry": "true"}
    assert error.provider == "openai"


def test_anthropics_refusal_is_understood_too() -> None:
    error = told({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, 529)
    assert (error.status, error.type, error.message) == (529, "overloaded_error", "Overloaded")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b'"text"',
        b'{"error":null}',
        b'{"error":7}',
        b'{"error":{"message":7}}',
        b"[" * 5000,
    ],
)
def test_a_refusal_without_words_is_told_by_its_number(body: bytes) -> None:
    error = told(body, 503)
    assert (error.status, error.message, error.code) == (503, "openai answered 503.", "provider_failed")


def test_a_refusal_may_be_one_sentence() -> None:
    assert told({"error": "model 'x' not found"}, 404).message == "model 'x' not found"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (404, "not_found_error"),
        (413, "invalid_request_error"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (418, "api_error"),
    ],
)
def test_a_refusal_without_a_type_gets_the_usual_one(status: int, kind: str) -> None:
    assert told(b"", status).type == kind


@pytest.mark.parametrize("status", [200, 201, 204, 304, 600, 999])
def test_what_is_no_refusal_at_all_is_a_bad_gateway(status: int) -> None:
    assert told(b"", status).status == 502


@pytest.mark.parametrize(
    ("status", "passing"),
    [(400, False), (404, False), (422, False), (408, True), (409, True), (429, True), (500, True)],
)
def test_another_candidate_is_tried_where_it_may_do_better(status: int, passing: bool) -> None:
    assert told(b"", status).passing is passing


@pytest.mark.parametrize("code", [f"my e-mail is {CANARY}", "a" * 65, "", 429, None, ["x"], "a\nb"])
def test_a_code_that_is_a_text_is_not_kept(code: object) -> None:
    """Codes go on record, and records hold nothing that was said."""
    assert told({"error": {"message": "x", "code": code}}).code == "provider_failed"


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "context_length_exceeded", "23505", "a.b:c-d"])
def test_a_code_that_is_one_is_kept(code: str) -> None:
    assert told({"error": {"message": "x", "code": code}}).code == code


# --- in the words of whoever asks


def in_dialect(dialect: str, *, stream: bool = False, **more: Any) -> Ask:
    """A question in *dialect*."""
    said: Any = {"responses": "input", "embeddings": "input", "completions": "prompt"}.get(dialect)
    asks = {said: "one two"} if said else {"messages": [{"role": "user", "content": "one two"}], "max_tokens": 9}
    body = json.dumps({"model": "m", "stream": stream, **asks, **more}).encode()
    return Ask(DIALECTS[dialect].read(body, depth=64), "m", ask().passport, query="?beta=true")


def events_in(chunks: Sequence[Chunk]) -> list[dict[str, Any]]:
    found = (each.data for chunk in chunks for each in sse.parse(chunk.raw))
    return [json.loads(data) for data in found]


async def spoken(provider: BaseProvider, question: Ask) -> list[Chunk]:
    return [chunk async for chunk in provider.spoken(question)]


SHAPES = {
    "messages": ("type", "message"),
    "responses": ("object", "response"),
    "completions": ("object", "text_completion"),
}


@pytest.mark.parametrize("dialect", SHAPES)
async def test_who_gives_chat_only_answers_in_every_dialect(dialect: str) -> None:
    member, shape = SHAPES[dialect]
    (chunk,) = await spoken(EchoProvider(), in_dialect(dialect))
    assert chunk.whole
    assert chunk.tokens is not None
    assert json.loads(chunk.raw)[member] == shape
    assert b"one two" in chunk.raw


@pytest.mark.parametrize(
    ("dialect", "last"), [("messages", "message_stop"), ("responses", "response.completed"), ("completions", None)]
)
async def test_and_streams_in_it_with_its_own_end_last(dialect: str, last: str | None) -> None:
    chunks = await spoken(EchoProvider(), in_dialect(dialect, stream=True))
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [last is not None]
    if last is not None:
        assert events_in(chunks)[-1]["type"] == last
    assert any(chunk.tokens for chunk in chunks)


async def test_who_did_not_ask_for_the_usage_of_a_completion_is_not_shown_it() -> None:
    shown = [
        any(each.get("usage") for each in events_in(await spoken(EchoProvider(), question)))
        for question in (
            in_dialect("completions", stream=True),
            in_dialect("completions", stream=True, stream_options={"include_usage": True}),
        )
    ]
    assert shown == [False, True]


async def test_what_nobody_can_answer_in_text_is_refused() -> None:
    with pytest.raises(NotServed, match="echo does not serve embeddings"):
        EchoProvider().spoken(in_dialect("embeddings"))


async def test_tokens_are_estimated_where_nobody_counts_them() -> None:
    question = in_dialect("count_tokens")
    (chunk,) = await spoken(EchoProvider(), question)
    assert json.loads(chunk.raw) == {"input_tokens": -(-len(question.said.body) // 4)}
    assert chunk.tokens == Tokens(0, 0)


class Chats(Native):
    """Says in chat what it was given, streamed."""

    def __init__(self, *events: str, last: bytes = b"", failure: ProviderFailed | None = None) -> None:
        super().__init__(*(f"data: {each}\n\n".encode() for each in events))
        self.last, self.failure = last, failure

    async def answer(self, ask: Ask) -> AsyncIterator[Chunk]:  # type: ignore[override]  # a generator all the same
        async for chunk in super().answer(ask):
            yield chunk
        if self.last or self.failure:
            yield Chunk(self.last, last=True, failure=self.failure)


HELLO = json.dumps(piece("m", {"content": "Hello"}, "stop"))


async def test_a_query_of_one_dialect_is_not_asked_in_another() -> None:
    provider = Chats(HELLO)
    await spoken(provider, in_dialect("messages", stream=True))
    (asked,) = provider.asked
    assert (asked.said.dialect, asked.query) == ("chat", "")
    assert asked.said.data["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("event", ["not json", "[1]", '"text"'])
async def test_an_event_that_nobody_can_read_is_not_passed_over(event: str) -> None:
    with pytest.raises(ProviderFailed, match="no JSON") as failed:
        await spoken(Chats(HELLO, event), in_dialect("messages", stream=True))
    assert failed.value.provider == "native"


@pytest.mark.parametrize("event", [f" {HELLO}", f"\t{HELLO}", "{}"])
async def test_blanks_before_an_event_and_empty_ones_do_no_harm(event: str) -> None:
    chunks = await spoken(Chats(event, HELLO, last=b"data:[DONE]\n\n"), in_dialect("messages", stream=True))
    assert events_in(chunks)[-1] == {"type": "message_stop"}


async def test_what_failed_in_a_proper_end_of_one_dialect_fails_in_the_other() -> None:
    told = ProviderFailed("It broke.", provider="native")
    with pytest.raises(ProviderFailed, match="It broke"):
        await spoken(Chats(HELLO, failure=told), in_dialect("messages", stream=True))


async def test_what_a_dialect_cannot_read_is_the_providers_fault_by_name() -> None:
    with pytest.raises(ProviderFailed) as failed:
        await spoken(Chats('{"choices": 5}'), in_dialect("messages", stream=True))
    assert failed.value.provider == "native"
