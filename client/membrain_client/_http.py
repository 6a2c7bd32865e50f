"""One POST to the gateway: put together, sent, repeated where that is wanted, and read. Sync and async.

What the answer means is left to `_types` and `_sse`, whether another attempt makes sense to `_retry`.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from decimal import Decimal
from typing import Any, TypeAlias

import httpx

from membrain_client import _retry
from membrain_client._sse import ChunkReader
from membrain_client._types import ChatCompletion, ChatCompletionChunk, Message, messages_to_wire

PATH = "/v1/chat/completions"

MaxCost: TypeAlias = "float | Decimal | str"
"""Dollars for 1,000 tokens."""

Stream: TypeAlias = Generator[ChatCompletionChunk, None, None]
AsyncStream: TypeAlias = AsyncGenerator[ChatCompletionChunk, None]


class Sender:
    """An httpx client, and how often to try again with it. Shared by a client and all that hangs from it."""

    def __init__(self, http: httpx.Client, max_retries: int) -> None:
        self.http = http
        self.max_retries = max_retries
        self.sleep: Callable[[float], None] = time.sleep

    def __del__(self) -> None:
        # Many never close a client; its sockets should still be closed, not just dropped.
        self.http.close()

    def send(self, sent: dict[str, Any], *, stream: bool) -> httpx.Response:
        """A response with a good status, read unless it is a stream. Raises httpx errors."""
        attempt = 0
        while True:
            attempt += 1
            try:
                response = self.http.send(self.http.build_request(**sent), stream=True)
            except _retry.ERRORS:
                if attempt > self.max_retries:
                    raise
                self.sleep(_retry.wait_before(attempt))
                continue
            if attempt > self.max_retries or not _retry.is_worth_it(response):
                return self._ready(response, stream=stream)
            response.close()
            self.sleep(_retry.wait_before(attempt, response.headers))

    def _ready(self, response: httpx.Response, *, stream: bool) -> httpx.Response:
        try:
            if not (stream and response.is_success):
                response.read()  # of an error too: `error.response.text` is for the caller to read
            return response.raise_for_status()
        except BaseException:
            response.close()
            raise

    def chunks(self, response: httpx.Response, reader: ChunkReader) -> Stream:
        """The chunks of a stream; closes the response, however it ends."""
        try:
            for data in response.iter_bytes():
                yield from reader.feed(data)
                if reader.done:
                    return
            yield from reader.close()
        finally:
            response.close()


class AsyncSender:
    """As Sender. It cannot close itself: closing has to be awaited."""

    def __init__(self, http: httpx.AsyncClient, max_retries: int) -> None:
        self.http = http
        self.max_retries = max_retries
        self.sleep: Callable[[float], Awaitable[None]] = _async_sleep

    async def send(self, sent: dict[str, Any], *, stream: bool) -> httpx.Response:
        """A response with a good status, read unless it is a stream. Raises httpx errors."""
        attempt = 0
        while True:
            attempt += 1
            try:
                response = await self.http.send(self.http.build_request(**sent), stream=True)
            except _retry.ERRORS:
                if attempt > self.max_retries:
                    raise
                await self.sleep(_retry.wait_before(attempt))
                continue
            if attempt > self.max_retries or not _retry.is_worth_it(response):
                return await self._ready(response, stream=stream)
            await response.aclose()
            await self.sleep(_retry.wait_before(attempt, response.headers))

    async def _ready(self, response: httpx.Response, *, stream: bool) -> httpx.Response:
        try:
            if not (stream and response.is_success):
                await response.aread()
            return response.raise_for_status()
        except BaseException:
            await response.aclose()
            raise

    async def chunks(self, response: httpx.Response, reader: ChunkReader) -> AsyncStream:
        """The chunks of a stream; closes the response, however it ends."""
        try:
            async for data in response.aiter_bytes():
                for chunk in reader.feed(data):
                    yield chunk
                if reader.done:
                    return
            for chunk in reader.close():
                yield chunk
        finally:
            await response.aclose()


async def _async_sleep(seconds: float) -> None:
    import anyio  # comes with httpx; knows which event loop this is

    await anyio.sleep(seconds)


def settings(base_url: str, headers: dict[str, str], timeout: float) -> dict[str, Any]:
    """How to make the httpx client, of either kind."""
    url = httpx.URL(base_url)
    made: dict[str, Any] = {"base_url": base_url.rstrip("/"), "headers": headers, "timeout": timeout}
    if not _is_this_machine(url.host):
        return made
    # httpx would send even http://127.0.0.1 through an HTTP_PROXY, and the proxy would see the prompts.
    made["trust_env"] = False
    if url.scheme == "http":
        # Reading the certificate bundle takes 50 ms that plain HTTP has no use for. Without it a TLS
        # connection is refused, not trusted.
        made["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return made


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def identity(api_key: str | None, user_id: str | None, project: str | None) -> dict[str, str]:
    values = {
        "x-membrain-api-key": api_key,
        "x-membrain-user-id": user_id,
        "x-membrain-project": project,
    }
    return {name: value for name, value in values.items() if value is not None}


def routing(tier: str | None, private: bool | None, max_cost: MaxCost | None) -> dict[str, str]:
    values = {
        "x-membrain-tier": tier,
        "x-membrain-private": None if private is None else str(private).lower(),
        "x-membrain-max-cost": None if max_cost is None else f"{Decimal(str(max_cost)):f}",
    }
    return {name: value for name, value in values.items() if value is not None}


def request(
    model: str, messages: Iterable[Message], stream: bool, extra: dict[str, Any], headers: dict[str, str]
) -> dict[str, Any]:
    """One request, as arguments of `build_request`: it is built anew for each attempt."""
    body = {"model": model, "messages": messages_to_wire(messages), "stream": stream, **extra}
    # Escaped to ASCII, for a half emoji in some old answer cannot be written as UTF-8.
    content = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
    headers = {"content-type": "application/json", **headers}
    return {"method": "POST", "url": PATH, "content": content, "headers": headers}


def wants_all(extra: dict[str, Any]) -> bool:
    """Whether the caller asked for chunks that have no choices, such as the usage report."""
    return extra.get("stream_options") is not None


def completion(response: httpx.Response) -> ChatCompletion:
    try:
        data = response.json()
    except (ValueError, RecursionError) as error:
        raise httpx.DecodingError("the answer is not JSON", request=response.request) from error
    if not isinstance(data, dict) or not isinstance(data.get("choices"), list):
        raise httpx.DecodingError("the answer is not a chat completion", request=response.request)
    return ChatCompletion.from_dict(data)
