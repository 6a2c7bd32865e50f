"""What is tried again, what never is, and how long is waited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from membrain_client import AsyncMembrainClient, MembrainClient
from membrain_client._retry import asked_for, is_worth_it, wait_before
from tests.sink import Reply, Sink

CHAT = "/v1/chat/completions"
NOW = 1_700_000_000.0

Attempt = Callable[..., list[float]]
"""Makes one request; gives the waits between attempts, and raises what the client raised."""


@pytest.fixture(params=["sync", "async"])
def attempt(request: pytest.FixtureRequest) -> Attempt:
    return {"sync": sync_attempt, "async": async_attempt}[request.param]


def sync_attempt(url: str, waits: list[float], *, retries: int, timeout: float = 5.0, **asked: Any) -> list[float]:
    with MembrainClient(base_url=url, max_retries=retries, timeout=timeout) as client:
        client._sender.sleep = waits.append
        answer = client.chat.completions.create(messages=[], **asked)
        return waits if not asked.get("stream") else [*waits, *(0 for _ in answer)]


def async_attempt(url: str, waits: list[float], *, retries: int, timeout: float = 5.0, **asked: Any) -> list[float]:
    async def wait(seconds: float) -> None:
        waits.append(seconds)

    async def go() -> list[float]:
        async with AsyncMembrainClient(base_url=url, max_retries=retries, timeout=timeout) as client:
            client._sender.sleep = wait
            answer = await client.chat.completions.create(messages=[], **asked)
            return waits if not asked.get("stream") else [*waits, *[0 async for _ in answer]]

    return asyncio.run(go())


# --- the decisions


@pytest.mark.parametrize(
    ("status", "advice", "worth"),
    [
        *[(status, None, True) for status in (429, 500, 502, 503, 504, 529)],
        *[(status, None, False) for status in (200, 307, 400, 401, 402, 403, 404, 409, 501)],
        (429, "false", False),
        (503, "FALSE", False),
        (409, "true", True),
        (200, "true", False),
        (402, "true", False),
        (503, "perhaps", True),
    ],
)
def test_what_is_worth_another_try(status: int, advice: str | None, worth: bool) -> None:
    headers = {} if advice is None else {"x-should-retry": advice}
    assert is_worth_it(httpx.Response(status, headers=headers)) is worth


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"Retry-After": "0.25"}, 0.25),
        ({"retry-after": "0"}, 0),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, 10),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 -0000"}, 10),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:10 GMT"}, 0),
        ({"retry-after": "Tue, 99 Nov 2023 22:13:10 GMT"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_how_long_a_gateway_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_for(httpx.Headers(headers), NOW) == seconds


def test_no_gateway_makes_us_wait_for_more_than_a_minute() -> None:
    assert wait_before(1, httpx.Headers({"retry-after": "3600"})) == 60


@pytest.mark.parametrize(("attempt", "longest"), [(1, 0.5), (2, 1), (3, 2), (5, 8), (6, 8), (5000, 8)])
def test_our_own_waits_double_and_scatter(attempt: int, longest: float) -> None:
    waits = [wait_before(attempt) for _ in range(200)]
    assert longest * 0.75 <= min(waits) < max(waits) <= longest


# --- the requests


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_is_repeated_unless_asked_for(sink: Sink, attempt: Attempt, stream: bool) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        attempt(sink.url, [], retries=0, model="status-503", stream=stream)
    assert len(sink.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_repeated_until_it_succeeds(sink: Sink, attempt: Attempt, stream: bool) -> None:
    sink.script(CHAT, Reply(status=503), Reply(status=429, headers={"Retry-After": "7"}))
    waits = attempt(sink.url, [], retries=5, model="m", stream=stream)
    assert 0.375 <= waits[0] <= 0.5
    assert waits[1] == 7
    assert len(sink.requests) == 3
    assert len({request.body for request in sink.requests}) == 1


def test_in_the_end_the_last_error_is_raised(sink: Sink, attempt: Attempt) -> None:
    waits: list[float] = []
    with pytest.raises(httpx.HTTPStatusError, match="529") as caught:
        attempt(sink.url, waits, retries=2, model="status-529")
    assert (len(waits), len(sink.requests)) == (2, 3)
    assert "asked for a 529" in caught.value.response.text


@pytest.mark.parametrize(
    "reply", [Reply(status=402), Reply(status=429, headers={"x-should-retry": "false"}), Reply(status=401)]
)
def test_a_pointless_repetition_is_not_made(sink: Sink, attempt: Attempt, reply: Reply) -> None:
    sink.script(CHAT, reply)
    with pytest.raises(httpx.HTTPStatusError):
        attempt(sink.url, [], retries=3, model="m")
    assert len(sink.requests) == 1


def test_advice_to_repeat_is_followed(sink: Sink, attempt: Attempt) -> None:
    sink.script(CHAT, Reply(status=409, headers={"x-should-retry": "true", "retry-after-ms": "20"}))
    assert attempt(sink.url, [], retries=1, model="m") == [0.02]


@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_connection_is_tried_again(attempt: Attempt, stream: bool) -> None:
    with Sink() as gone:
        url = gone.url
    waits: list[float] = []
    with pytest.raises(httpx.ConnectError):
        attempt(url, waits, retries=2, model="m", stream=stream)
    assert len(waits) == 2


def test_a_timeout_before_the_answer_is_tried_again(sink: Sink, attempt: Attempt) -> None:
    sink.script(CHAT, Reply(behave="stall"))
    assert len(attempt(sink.url, [], retries=1, timeout=0.3, model="m")) == 1
    assert len(sink.requests) == 2


@pytest.mark.parametrize(("model", "stream"), [("reset-mid", True), ("stall-mid", True), ("stall-mid", False)])
def test_an_answer_that_has_begun_is_not_asked_for_again(
    sink: Sink, attempt: Attempt, model: str, stream: bool
) -> None:
    with pytest.raises(httpx.TransportError):
        attempt(sink.url, [], retries=3, timeout=0.2, model=model, stream=stream)
    assert len(sink.requests) == 1


def test_the_client_itself_waits(sink: Sink) -> None:
    """Elsewhere the sleep is replaced."""
    sink.script(CHAT, Reply(status=503, headers={"retry-after-ms": "60"}))
    with MembrainClient(sink.url, max_retries=1) as client:
        client.chat.completions.create(model="m", messages=[])
    first, second = sink.requests
    assert 0.05 < second.at - first.at < 2


def test_the_async_client_waits_without_blocking(sink: Sink) -> None:
    sink.script(CHAT, Reply(status=503, headers={"retry-after-ms": "60"}))
    ticks: list[int] = []

    async def tick() -> None:
        while True:
            ticks.append(len(sink.requests))
            await asyncio.sleep(0.005)

    async def go() -> None:
        other = asyncio.create_task(tick())
        async with AsyncMembrainClient(sink.url, max_retries=1) as client:
            await client.chat.completions.create(model="m", messages=[])
        other.cancel()

    asyncio.run(go())
    assert ticks.count(1) > 3
