"""The two clients, sync and async, and every name that goes with them.

One request is one POST to {base_url}/v1/chat/completions. Errors are httpx's own: HTTPStatusError for every
status but success, ConnectError, TimeoutException, and for an answer that cannot be understood DecodingError,
RemoteProtocolError or (an error reported in mid-stream) StreamError. Nothing is cached, nothing kept but the
connection pool.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

import httpx

from membrain_client._http import (
    AsyncSender,
    AsyncStream,
    MaxCost,
    Sender,
    Stream,
    completion,
    identity,
    request,
    routing,
    settings,
    wants_all,
)
from membrain_client._sse import ChunkReader, StreamError
from membrain_client._types import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatMessage,
    Choice,
    FunctionCall,
    Message,
    StreamChoice,
    StreamDelta,
    ToolCall,
    Usage,
)

__all__ = [
    "AsyncMembrainClient",
    "ChatCompletion",
    "ChatCompletionChunk",
    "ChatMessage",
    "Choice",
    "FunctionCall",
    "MembrainClient",
    "StreamChoice",
    "StreamDelta",
    "StreamError",
    "ToolCall",
    "Usage",
]

DEFAULT_URL = "http://localhost:8001"


class MembrainClient:
    """Talks to a Membrain gateway as `openai.OpenAI` talks to OpenAI.

    base_url     where the gateway is; a trailing slash does not matter
    api_key      a Membrain key; sent as x-membrain-api-key
    user_id      a label for audit and limits; sent as x-membrain-user-id
    project      the project that pays and whose rules hold; sent as x-membrain-project
    timeout      seconds, for connecting and for each wait for data
    max_retries  how often to repeat a request that failed before its answer began; never after a 402, nor
                 against the gateway's advice; `Retry-After` is obeyed up to a minute
    tier         "fast", "balanced" or "best", for model "auto"
    private      True: only a local model may answer
    max_cost     dollars for 1,000 tokens, for model "auto"

    What is None is not sent. The last three can also be given to `create()`, for one request.
    Proxy settings of the environment are passed over when the gateway is on this machine.
    """

    def __init__(  # noqa: PLR0913 - the documented parameters
        self,
        base_url: str = DEFAULT_URL,
        api_key: str | None = None,
        user_id: str | None = None,
        project: str | None = None,
        timeout: float = 120.0,
        *,
        max_retries: int = 0,
        tier: str | None = None,
        private: bool | None = None,
        max_cost: MaxCost | None = None,
    ) -> None:
        headers = identity(api_key, user_id, project) | routing(tier, private, max_cost)
        self._sender = Sender(httpx.Client(**settings(base_url, headers, timeout)), max_retries)
        self.chat = Chat(self._sender)

    @property
    def _client(self) -> httpx.Client:
        """The httpx client underneath. Its headers may be changed; another one may take its place."""
        return self._sender.http

    @_client.setter
    def _client(self, http: httpx.Client) -> None:
        self._sender.http = http

    def close(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        self._client.close()

    def __enter__(self: S) -> S:  # noqa: PYI019 - Python 3.10 has no Self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncMembrainClient:
    """As MembrainClient, for async code: `await` what answers, `async for` what streams, `await aclose()`."""

    def __init__(  # noqa: PLR0913 - the documented parameters
        self,
        base_url: str = DEFAULT_URL,
        api_key: str | None = None,
        user_id: str | None = None,
        project: str | None = None,
        timeout: float = 120.0,
        *,
        max_retries: int = 0,
        tier: str | None = None,
        private: bool | None = None,
        max_cost: MaxCost | None = None,
    ) -> None:
        headers = identity(api_key, user_id, project) | routing(tier, private, max_cost)
        self._sender = AsyncSender(httpx.AsyncClient(**settings(base_url, headers, timeout)), max_retries)
        self.chat = AsyncChat(self._sender)

    @property
    def _client(self) -> httpx.AsyncClient:
        """The httpx client underneath. Its headers may be changed; another one may take its place."""
        return self._sender.http

    @_client.setter
    def _client(self, http: httpx.AsyncClient) -> None:
        self._sender.http = http

    async def aclose(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        await self._client.aclose()

    async def __aenter__(self: A) -> A:  # noqa: PYI019 - Python 3.10 has no Self
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


S = TypeVar("S", bound=MembrainClient)
A = TypeVar("A", bound=AsyncMembrainClient)


class Chat:
    """`client.chat`."""

    def __init__(self, sender: Sender) -> None:
        self.completions = Completions(sender)


class AsyncChat:
    """`client.chat`."""

    def __init__(self, sender: AsyncSender) -> None:
        self.completions = AsyncCompletions(sender)


class Completions:
    """`client.chat.completions`."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    @overload
    def create(
        self,
        model: str,
        messages: Iterable[Message],
        stream: Literal[False] = False,
        *,
        tier: str | None = None,
        private: bool | None = None,
        max_cost: MaxCost | None = None,
        **kwargs: Any,
    ) -> ChatCompletion: ...

    @overload
    def create(
        self,
        model: str,
        messages: Iterable[Message],
        stream: Literal[True],
        *,
        tier: str | None = None,
        private: bool | None = None,
        max_cost: MaxCost | None = None,
        **kwargs: Any,
    ) -> Stream: ...

    @overload
    def create(
        self,
        model: str,
        messages: Iterable[Message],
        stream: bool,
        *,
        tier: str | None = None,
        private: bool | None = None,
        max_cost: MaxCost | None = None,
        **kwargs: Any,
    ) -> ChatCompletion | Stream: ...

    def create(
        self,
        model: str,
        messages: Iterable[Message],
        stream: bool = False,
        *,
        tier: str | None = None,
        private: bool | None = None,
        max_cost: MaxCost | None = None,
        **kwargs: Any,
    ) -> ChatCompletion | Stream:
        """Ask for an answer: whole, or with `stream=True` as a generator of chunks.

        Anything in `kwargs` goes into the body as it is. The request is sent before a stream is returned, so
        a refusal is raised here. Leaving the stream early closes its connection.
        """
        sent = request(model, messages, stream, kwargs, routing(tier, private, max_cost))
        response = self._sender.send(sent, stream=stream)
        if not stream:
            return completion(response)
        reader = ChunkReader(response.request, with_empty=wants_all(kwargs))
        chunks = self._sender.chunks(response, reader)
        # A generator that is never begun never reaches its own `finally`.
        weakref.finalize(chunks, response.close)
        return chunks


class AsyncCompletions:
    """`client.chat.completions`."""

    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    @overload
    async def create(
        self,
        model: str,
        messages: Iterable[Message],
        stream: Literal[False] = False,
        *,
        tier: str | None = None,
        private: bool | None = None,
        max_cost: MaxCost | None = None,
        **kwargs: Any,
    ) -> ChatCompletion: ...

    @overload
    async def create(
        self,
        model: str,
        messages: Iterable[Message],
        stream: Literal[True],
        *,
        tier: str | None = None,
        private: bool | None = None,
        max_cost: MaxCost | None = None,
        **kwargs: Any,
    ) -> AsyncStream: ...

    @overload
    async def create(
        self,
        model: str,
        messages: Iterable[Message],
        stream: bool,
        *,
        tier: str | None = None,
        private: bool | None = None,
        max_cost: MaxCost | None = None,
        **kwargs: Any,
    ) -> ChatCompletion | AsyncStream: ...

    async def create(
        self,
        model: str,
        messages: Iterable[Message],
        stream: bool = False,
        *,
        tier: str | None = None,
        private: bool | None = None,
        max_cost: MaxCost | None = None,
        **kwargs: Any,
    ) -> ChatCompletion | AsyncStream:
        """As Completions.create; a stream is an async generator, to be used up or closed with `aclose()`."""
        sent = request(model, messages, stream, kwargs, routing(tier, private, max_cost))
        response = await self._sender.send(sent, stream=stream)
        if not stream:
            return completion(response)
        reader = ChunkReader(response.request, with_empty=wants_all(kwargs))
        return self._sender.chunks(response, reader)
