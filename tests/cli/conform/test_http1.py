"""HTTP/1.1 by hand: framings, and a body that was finished beside one that was cut."""

from __future__ import annotations

import asyncio

import pytest

from membrain_cli.conform import http1

pytestmark = pytest.mark.anyio


def reader_of(raw: bytes) -> asyncio.StreamReader:
    """A connection on which *raw* came, and then its end."""
    reader = asyncio.StreamReader(limit=http1.LIMIT)
    reader.feed_data(raw)
    reader.feed_eof()
    return reader


async def body_of(raw: bytes, *, until_close: bool = True) -> http1.Body:
    reader = reader_of(raw)
    head = await http1.read_head(reader)
    assert head is not None
    return await http1.read_body(head, reader, until_close=until_close)


async def test_a_head_is_read_with_its_names_in_lower_case() -> None:
    head = await http1.read_head(reader_of(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2 \r\n\r\n"))
    assert head is not None
    assert (head.first, head.all("set-cookie"), head.get("set-cookie")) == (
        "HTTP/1.1 200 OK",
        ["a=1", "b=2"],
        "a=1, b=2",
    )
    assert head.get("x-other") == ""


async def test_nobody_who_said_nothing_is_malformed() -> None:
    assert await http1.read_head(reader_of(b"")) is None


@pytest.mark.parametrize(
    "raw", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b"X\r\n folded: 1\r\n\r\n"]
)
async def test_what_is_no_head_is_refused(raw: bytes) -> None:
    with pytest.raises(http1.Malformed):
        await http1.read_head(reader_of(raw))


SIZED = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "body", "whole"),
    [
        (SIZED + b"hello", b"hello", True),
        (SIZED + b"hel", b"hel", False),
        (CHUNKED + http1.chunk(b"hel") + b"2;x=y\r\nlo\r\n" + http1.LAST_CHUNK, b"hello", True),
        (CHUNKED + http1.chunk(b"hel") + b"0\r\ntrailer: 1\r\n\r\n", b"hel", True),
        (CHUNKED + http1.chunk(b"hel"), b"hel", False),
        (CHUNKED + b"5\r\nhel", b"hel", False),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", b"hello", True),
    ],
)
async def test_a_body_that_was_cut_is_told_from_a_whole_one(raw: bytes, body: bytes, whole: bool) -> None:
    assert await body_of(raw) == http1.Body(body, whole)


@pytest.mark.parametrize("raw", [CHUNKED + b"zz\r\nhel\r\n", CHUNKED + b"2\r\nhello\r\n", SIZED.replace(b"5", b"five")])
async def test_a_body_that_is_framed_wrongly_is_refused(raw: bytes) -> None:
    with pytest.raises(http1.Malformed):
        await body_of(raw)


async def test_a_request_without_a_length_has_no_body() -> None:
    assert await body_of(b"GET / HTTP/1.1\r\nhost: x\r\n\r\nrest", until_close=False) == http1.Body(b"", whole=True)


async def test_whoever_listens_hears_each_piece_as_it_comes() -> None:
    reader, heard = reader_of(CHUNKED + http1.chunk(b"hel") + http1.chunk(b"lo") + http1.LAST_CHUNK), list[bytes]()
    head = await http1.read_head(reader)
    assert head is not None
    await http1.read_body(head, reader, until_close=True, listen=heard.append)
    assert heard == [b"hel", b"lo"]


async def test_a_request_says_its_own_length() -> None:
    raw = http1.request("POST", "/v1/x", [("host", "here")], b"hello")
    assert raw == b"POST /v1/x HTTP/1.1\r\nhost: here\r\ncontent-length: 5\r\n\r\nhello"
    assert http1.request("GET", "/", [("host", "here")]) == b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"


async def test_a_status_that_nobody_registered_can_be_said() -> None:
    assert http1.answer_head(529, []) == b"HTTP/1.1 529 Other\r\n\r\n"
    assert http1.answer_head(404, []) == b"HTTP/1.1 404 Not Found\r\n\r\n"
