"""Providers as the provider guide lets people write them, and small seams that many tests need. Nothing is patched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, ClassVar

from membrain.dialects.base import Said
from membrain.errors import ProviderFailed
from membrain.exchange import Exchange
from membrain.providers.base import DIRECT, Ask, BaseProvider, said_of
from membrain.records import Hints, Passport
from membrain.schemas import (
    ChatChoice,
    ChatCompletionRequest,
    ChatCompletionResponse,
    ChatMessage,
    Usage,
)


class EchoProvider(BaseProvider):
    """Answers with the last message. Gives `chat` only, so its stream is the documented default."""

    name: ClassVar[str] = "echo"

    def __init__(self, *, usage: bool = True) -> None:
        self.usage = usage
        self.asked: list[ChatCompletionRequest] = []
        self.closed = False

    async def chat(self, request: ChatCompletionRequest) -> ChatCompletionResponse:
        self.asked.append(request)
        text = str(request.messages[-1].content)
        usage = Usage(prompt_tokens=3, completion_tokens=len(text.split()), total_tokens=3 + len(text.split()))
        return ChatCompletionResponse(
            id="echo-1",
            created=1,
            model=request.model,
            choices=[ChatChoice(index=0, message=ChatMessage(role="assistant", content=text), finish_reason="stop")],
            usage=usage if self.usage else None,
        )

    async def close(self) -> None:
        self.closed = True


class FlakyProvider(EchoProvider):
    """Fails as often as told with the errors given, then answers."""

    name: ClassVar[str] = "flaky"

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)

    async def chat(self, request: ChatCompletionRequest) -> ChatCompletionResponse:
        if self.errors:
            raise self.errors.pop(0)
        return await super().chat(request)


class SlowProvider(EchoProvider):
    """Streams word by word with a pause between, and notes when its stream is closed."""

    name: ClassVar[str] = "slow"

    def __init__(self, *, pause: float = 0.01, breaks_after: int | None = None) -> None:
        super().__init__()
        self.pause = pause
        self.breaks_after = breaks_after
        self.left = asyncio.Event()

    async def stream_chat(
        self,
        model: str,
        messages: Sequence[Any],
        temperature: float | None = None,
        max_tokens: int | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[dict[str, Any]]:
        words = str(messages[-1]["content"]).split()
        try:
            for index, word in enumerate(words):
                if index == self.breaks_after:
                    raise ProviderFailed("slow broke off in the middle.", provider=self.name)
                yield piece(model, {"content": word}, "stop" if word is words[-1] else None)
                await asyncio.sleep(self.pause)
        finally:
            self.left.set()


def piece(model: str, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """One chunk of a stream, in OpenAI's shape."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}


def said(text: str = "Hello", model: str = "gpt-4o", **more: Any) -> Said:
    """A chat request as a door reads it."""
    return said_of({"model": model, "messages": [{"role": "user", "content": text}], **more})


def ask(text: str = "Hello", model: str = "gpt-4o", passport: Passport = DIRECT, **more: Any) -> Ask:
    """One question to one provider."""
    return Ask(said(text, model, **more), model, passport)


_ids = count(0xA11CE << 64)


def exchange(text: str = "Hello", model: str = "gpt-4o", hints: Hints | None = None, **more: Any) -> Exchange:
    """One exchange as a door makes it."""
    return Exchange(
        id=f"{next(_ids):024x}",
        time="2026-01-02T03:04:05.678Z",
        path="/v1/chat/completions",
        said=said(text, model, **more),
        hints=hints or Hints(),
    )


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(handler: Handler, host: str = "127.0.0.1", **options: Any) -> AsyncIterator[int]:
    """A TCP server for what the sink cannot do; gives its port. *handler* gets each connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, host, 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """One whole request with a content-length, head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    sizes = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await reader.readexactly(int(sizes[0]) if sizes else 0)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def in_chunk(data: bytes) -> bytes:
    """*data* as a piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
