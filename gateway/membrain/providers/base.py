"""What answers: the interface of every provider, and what upstreams' failures become.

`chat`, `stream_chat` and `close` are the interface that the provider guide documents, for providers that people write
themselves. The gateway itself only calls `answer`, whose default is built on those two; our own providers override it
and hand on what the upstream sent, in bytes.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from time import time
from typing import Any, ClassVar

import msgspec

from membrain import sse
from membrain.dialects import chat as chat_dialect
from membrain.dialects.base import Chunk, Event, Json, Said, event_object, model_of
from membrain.dialects.table import DIALECTS
from membrain.dialects.translation import Translation, between
from membrain.egress import Reply
from membrain.errors import BadRequest, MembrainError, NotServed, ProviderFailed
from membrain.records import Passport, ProviderState, Tokens
from membrain.schemas import ChatCompletionRequest, ChatCompletionResponse, ChatMessage, WrongShape

PROBE_SECONDS = 3.0

FORWARDED = {
    "chat": ("openai-organization", "openai-project", "openai-beta", "idempotency-key"),
    "messages": ("anthropic-beta", "anthropic-version"),
}
"""Headers of the caller's that a provider goes by, by the dialect that it speaks. No other one leaves."""

DIRECT = Passport(exchange="", written=True, looked=True, private=False)
"""For the documented `chat` and `stream_chat`, called as a library without the gateway's rooms around them."""


@dataclass(slots=True)
class Ask:
    """One question to one provider."""

    said: Said
    model: str
    """As this provider names it."""
    passport: Passport
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of the caller's request, lower-case; a provider forwards those its upstream knows, and no other."""
    most_tokens: int | None = None
    """How long the answer may be, where the request does not say; None leaves that to the model."""

    query: str = ""
    """What goes behind the path, from its question mark on, where the caller's dialect is spoken."""

    def limit(self, name: str = "max_tokens") -> dict[str, int]:
        """`most_tokens` as the member of a request that is called *name* there; none where there is no such limit."""
        return {} if self.most_tokens is None else {name: self.most_tokens}


class BaseProvider(ABC):
    """A model backend. Subclass it, give it `chat`, and register it; the rest has working defaults."""

    name: ClassVar[str] = "custom"

    @property
    def is_local(self) -> bool:
        """Whether nothing it is sent leaves this machine. Proven, never assumed."""
        return False

    def speaks(self, model: str) -> Collection[str]:  # noqa: ARG002  # few providers' models differ in it
        """The dialects that *model* is asked in here, the best first."""
        return ("chat",)

    @abstractmethod
    async def chat(self, request: ChatCompletionRequest) -> ChatCompletionResponse:
        """Answer *request* whole."""

    async def stream_chat(
        self,
        model: str,
        messages: Sequence[Any],
        temperature: float | None = None,
        max_tokens: int | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[dict[str, Any]]:
        """Answer in chunks, as dicts of OpenAI's chunk shape. This default asks `chat` and gives one chunk."""
        response = await self.chat(_request(model, messages, temperature, max_tokens, kwargs))
        whole = response.model_dump(exclude_none=True)
        yield {
            "id": whole.get("id", ""),
            "object": "chat.completion.chunk",
            "created": whole.get("created", 0),
            "model": whole.get("model", model),
            "choices": [
                {
                    "index": choice.get("index", 0),
                    "delta": choice.get("message", {}),
                    "finish_reason": choice.get("finish_reason") or "stop",
                }
                for choice in whole.get("choices", [])
            ],
            "usage": whole.get("usage"),
        }

    async def close(self) -> None:  # noqa: B027  # who holds nothing need not say so
        """Release what is held."""

    async def models(self) -> Sequence[str]:
        """The models it is known to have now, as its own names. Empty if it cannot say."""
        return ()

    async def ping(self) -> None:
        """Show that it is there and that its key works, or raise what says why not."""
        await self.models()

    async def state(self) -> ProviderState:
        """How it is, for people."""
        return ProviderState(self.name, up=True, where="", models=tuple(await self.models()), local=self.is_local)

    def adapted(self, dialect: str, request: Json) -> Json:  # noqa: ARG002  # few providers need anything
        """*request*, which we have written ourselves in *dialect*, as this provider in particular wants it."""
        return request

    def spoken(self, ask: Ask) -> AsyncGenerator[Chunk, None]:
        """The answer in the words that were used to ask, whether this provider understands them or not."""
        dialect, speaks = ask.said.dialect, self.speaks(ask.model)
        if dialect in speaks:
            return self.answer(ask)
        if dialect == "count_tokens":
            return _counted(ask)
        if (translation := between(dialect, speaks)) is None:
            raise NotServed(f"{self.name} does not serve {dialect}.", param="model")
        return _translated(self, ask, translation)

    async def answer(self, ask: Ask) -> AsyncGenerator[Chunk, None]:
        """The answer in a dialect that it speaks: one whole chunk, or the events of a stream as they come."""
        data = {**ask.said.data, "model": ask.model, **ask.limit()}
        request = _asked(data)
        hide = not chat_dialect.wants_usage(ask.said)
        try:
            if not ask.said.stream:
                response = await self.chat(request)
                raw = msgspec.json.encode(response.model_dump(exclude_none=True))
                tokens, model = chat_dialect.usage_in_body(raw)
                yield Chunk(raw, whole=True, tokens=tokens, model=model)
                return
            given = {name: value for name, value in data.items() if name not in {"stream", "stream_options"}}
            async with _closing(self.stream_chat(**given)) as pieces:
                async for piece in pieces:
                    raw, tokens = chat_dialect.usage_in(sse.encode(msgspec.json.encode(piece)), hide=hide)
                    yield Chunk(raw, tokens=tokens, model=model_of(piece))
        except MembrainError:
            raise
        except Exception as error:  # what a foreign provider raises is unknown by nature
            raise _foreign(self.name, error) from error


async def _translated(provider: BaseProvider, ask: Ask, translation: Translation) -> AsyncGenerator[Chunk, None]:
    """The answer of *provider* to what was said in a dialect that it does not speak."""
    async with aclosing(_told_again(provider, ask, translation)) as answer:
        try:
            async for chunk in answer:
                yield chunk
        except ProviderFailed as failed:
            failed.provider = failed.provider or provider.name  # a dialect knows no provider
            raise


async def _told_again(provider: BaseProvider, ask: Ask, translation: Translation) -> AsyncGenerator[Chunk, None]:
    """The answer, its provider unnamed where it cannot be read."""
    asked, created = ask.said, int(time())
    request = provider.adapted(translation.to, translation.request({**asked.data, "model": ask.model}))
    said = Said(translation.to, msgspec.json.encode(request), request, ask.model, asked.stream)
    async with aclosing(provider.answer(replace(ask, said=said, query=""))) as answer:
        if not asked.stream:
            async for chunk in answer:
                data = translation.whole(event_object(chunk.raw), asked.data, created=created)
                yield replace(chunk, raw=msgspec.json.encode(data))
            return
        events = translation.events(asked.data, created=created)
        async for chunk in answer:
            if chunk.failure is not None:
                raise chunk.failure
            told = [each for name, data in _events_in(chunk, provider.name) for each in events.feed(name, data)]
            if (raw := _written(asked, told)) or chunk.tokens:
                yield replace(chunk, raw=raw, last=False)
        yield Chunk(_written(asked, events.end()), last=not DIALECTS[asked.dialect].end())


def _events_in(chunk: Chunk, provider: str) -> Iterator[Event]:
    """The events of *chunk*, less chat's bare end; `ProviderFailed` for one that nobody can read."""
    for event in sse.parse(chunk.raw):
        data = event_object(event.data)
        if data:
            yield event.name, data
        elif event.data.strip() not in {b"[DONE]", b"{}"}:
            raise ProviderFailed(f"{provider} sent an event that is no JSON.", provider=provider)


def _written(asked: Said, events: Iterable[Event]) -> bytes:
    """The *events* that the caller wants to see, in bytes."""
    shows = DIALECTS[asked.dialect].shows
    return b"".join(sse.encode(msgspec.json.encode(data), name) for name, data in events if shows(asked, data))


async def _counted(ask: Ask) -> AsyncGenerator[Chunk, None]:
    """About how many tokens the prompt has, for a provider that does not count them for us."""
    tokens = -(-len(ask.said.body) // BYTES_PER_TOKEN)
    yield Chunk(msgspec.json.encode({"input_tokens": tokens}), whole=True, tokens=Tokens(0, 0))


BYTES_PER_TOKEN = 4
"""For our own estimates, where a provider reports nothing."""

_NEVER_THERE = frozenset({"ConnectError", "ConnectTimeout", "ConnectionRefusedError", "gaierror"})
"""Errors, of httpx and of Python's own, by which no request was ever handed over."""


def _foreign(name: str, error: Exception) -> ProviderFailed:
    """What a custom provider raised, as our error: a status that it was refused with is kept, its text is not."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    kind = type(error).__name__
    if isinstance(status, int) and 400 <= status < 600:
        return refusal(name, status, b"", getattr(error.response, "headers", {}))  # type: ignore[attr-defined]  # it has one
    return ProviderFailed(f"{name} failed with {kind}.", provider=name, reached=kind not in _NEVER_THERE)


def _asked(data: dict[str, Any]) -> ChatCompletionRequest:
    """The caller's request in the shape that custom providers take; `BadRequest` says where it does not fit."""
    try:
        return ChatCompletionRequest.from_dict(data)
    except WrongShape as wrong:
        raise BadRequest(f"`{wrong.param}`: {wrong.problem}.", param=wrong.param) from None


@asynccontextmanager
async def _closing(pieces: AsyncIterator[dict[str, Any]]) -> AsyncGenerator[AsyncIterator[dict[str, Any]], None]:
    """Close *pieces* at the end if they can be closed, so that a hang-up reaches whoever makes them at once."""
    try:
        yield pieces
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


class NativeProvider(BaseProvider):
    """A provider that answers natively: it gives `answer`, and the documented pair is built on that."""

    async def chat(self, request: ChatCompletionRequest) -> ChatCompletionResponse:
        """One question, answered whole, without the gateway's rooms around it."""
        body = {**request.model_dump(exclude_none=True), "stream": False}
        async with aclosing(self.spoken(Ask(said_of(body), request.model, DIRECT))) as answer:
            async for chunk in answer:
                return ChatCompletionResponse.from_dict(msgspec.json.decode(chunk.raw))
        raise ProviderFailed(f"{self.name} sent nothing.", provider=self.name)

    async def stream_chat(
        self,
        model: str,
        messages: Sequence[Any],
        temperature: float | None = None,
        max_tokens: int | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[dict[str, Any]]:
        """One question, answered in parsed chunks as they arrive."""
        request = _request(model, messages, temperature, max_tokens, kwargs)
        body = {**request.model_dump(exclude_none=True), "stream": True}
        async with aclosing(self.spoken(Ask(said_of(body), model, DIRECT))) as answer:
            async for chunk in answer:
                for event in sse.parse(chunk.raw if not chunk.last else b""):
                    yield msgspec.json.decode(event.data)

    @abstractmethod
    def answer(self, ask: Ask) -> AsyncGenerator[Chunk, None]:
        """The answer in a dialect that it speaks, as it comes."""


def _request(
    model: str, messages: Sequence[Any], temperature: float | None, max_tokens: int | None, more: Mapping[str, Any]
) -> ChatCompletionRequest:
    """A request of what `stream_chat` was given; messages may be shapes or plain dicts."""
    given = {"temperature": temperature, "max_tokens": max_tokens, **more}
    said = [each.model_dump() if isinstance(each, ChatMessage) else each for each in messages]
    kept = {name: value for name, value in given.items() if value is not None}
    return ChatCompletionRequest.from_dict({"model": model, "messages": said, **kept})


_STATUS_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
_KEPT_HEADERS = ("retry-after", "retry-after-ms", "x-should-retry")
_PLAIN = re.compile("[ -~]{1,64}")
"""What may stand in a header of ours; no server would send one with a control in it."""


def refusal(provider: str, status: int, body: bytes, headers: Mapping[str, str]) -> ProviderFailed:
    """What *provider* said instead of an answer, as our error.

    OpenAI's and Anthropic's error objects keep message, type, param and code. A 401 or 403 of the upstream is about
    *its* key, which the caller does not hold, so those become a 502 that says whose key it was.
    """
    told = _error_object(body)
    message = told.get("message")
    text = message if isinstance(message, str) and message else f"{provider} answered {status}."
    kept = {name: value for name in _KEPT_HEADERS if _PLAIN.fullmatch(value := headers.get(name, ""))}
    if status in {401, 403}:
        return ProviderFailed(
            f"{provider} refused its key ({status}). Set a working one: membrain keys set {provider}",
            provider=provider,
            code="provider_key_refused",
            headers={"x-should-retry": "false"},
            reached=False,
        )
    return ProviderFailed(
        text,
        provider=provider,
        status=status if 400 <= status < 600 else 502,
        code=_code(told.get("code")),
        type=_text(told.get("type")) or _STATUS_TYPES.get(status),
        param=_text(told.get("param")),
        headers=kept,
        passing=status >= 500 or status in {402, 408, 409, 429},
        reached=False,
    )


def _error_object(body: bytes) -> dict[str, Any]:
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    told = data.get("error") if isinstance(data, dict) else None
    if isinstance(told, str):
        return {"message": told}
    return told if isinstance(told, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def _code(value: Any) -> str | None:
    """An upstream's error code. It is kept on record, so a text is none."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def said_of(body: dict[str, Any]) -> Said:
    """A chat request made here, as if it had been said."""
    return chat_dialect.Chat().read(msgspec.json.encode(body), depth=100)


async def expect_ok(name: str, reply: Reply) -> None:
    """Raise what the upstream said instead of an answer."""
    if reply.status != 200:
        body = await reply.read(1 << 20)
        raise refusal(name, reply.status, body, {each: reply.header(each) for each in _KEPT_HEADERS})


def expect_type(name: str, reply: Reply, wanted: str) -> None:
    """Raise unless the answer is of the media type that was asked for."""
    if reply.content_type != wanted:
        raise ProviderFailed(f"{name} answered, but not with {wanted}.", provider=name)
