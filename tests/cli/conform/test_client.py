"""The client says what it is told to, and keeps what comes."""

from __future__ import annotations

import asyncio

import pytest

from membrain_cli.conform import client, http1
from membrain_cli.conform.client import Address, Silent
from tests.fakes import raw_server, request_of

pytestmark = pytest.mark.anyio

REQUEST = http1.request("POST", "/", [("host", "x")], b"{}")


async def answer_to(said: bytes, request: bytes = REQUEST, seconds: float = 5.0) -> client.Got:
    """What the client makes of a server that says *said* and closes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(said)
        await writer.drain()
        writer.close() if said else await reader.read()

    async with raw_server(handler) as port:
        return await client.ask(Address("127.0.0.1", port, tls=False, prefix=""), request, seconds)


async def test_an_answer_is_kept_as_it_came() -> None:
    got = await answer_to(b"HTTP/1.1 307 Moved\r\nset-cookie: a=1\r\nlocation: /b\r\ncontent-length: 3\r\n\r\n 1 ")
    assert (got.status, got.body, got.whole, got.head.get("set-cookie")) == (307, b" 1 ", True, "a=1")


async def test_a_cut_answer_is_known_as_one() -> None:
    assert not (await answer_to(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n1")).whole


async def test_the_answer_to_head_has_no_body() -> None:
    head = http1.request("HEAD", "/", [("host", "x")])
    assert (await answer_to(b"HTTP/1.1 200 OK\r\ncontent-length: 300\r\n\r\n", head)).whole


@pytest.mark.parametrize("said", [b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 two OK\r\n\r\n", b"garbage"])
async def test_what_is_no_http_is_told(said: bytes) -> None:
    with pytest.raises(Silent, match="no HTTP"):
        await answer_to(said)


async def test_a_gateway_that_says_nothing_is_not_waited_for() -> None:
    with pytest.raises(Silent, match=r"within 0\.1 s"):
        await answer_to(b"", seconds=0.1)


async def test_a_connection_that_is_closed_without_a_word_is_told() -> None:
    async def handler(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await request_of(reader)

    async with raw_server(handler) as port:
        with pytest.raises(Silent, match="without an answer"):
            await client.ask(Address("127.0.0.1", port, tls=False, prefix=""), REQUEST, 5)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:4000", Address("127.0.0.1", 4000, tls=False, prefix="")),
        ("localhost:8001/v1/", Address("localhost", 8001, tls=False, prefix="")),
        ("https://gw.example/llm", Address("gw.example", 443, tls=True, prefix="/llm")),
        ("http://[::1]:80", Address("::1", 80, tls=False, prefix="")),
    ],
)
def test_an_address_is_read_from_what_people_paste(url: str, address: Address) -> None:
    assert Address.of(url) == address
    assert address.host_header.endswith(f":{address.port}")


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "http://key@host", "http://host:x", "http://host?a=b"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Address.of(url)


def test_an_ip_6_address_is_bracketed() -> None:
    assert Address("::1", 80, tls=False, prefix="").host_header == "[::1]:80"
