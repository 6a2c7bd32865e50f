"""The fake provider plays what a token names, to the byte, and remembers what it heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from membrain_cli.conform import http1
from membrain_cli.conform.client import Address, Connection, Got
from membrain_cli.conform.dialects import Dialect, written
from membrain_cli.conform.upstream import (
    DIALECTS,
    GREETING,
    HOST,
    Heard,
    Play,
    PortTaken,
    Upstream,
    models_listed,
    plain,
    stream,
    token,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def provider() -> AsyncIterator[Upstream]:
    """A provider on a free port."""
    async with Upstream(0, ["a-model"]) as provider:
        yield provider


async def ask(provider: Upstream, path: str, body: bytes = b"", headers: tuple[http1.Header, ...] = ()) -> Got:
    connection = await Connection.open(Address(HOST, provider.port, tls=False, prefix=""))
    try:
        return await connection.ask(http1.request("POST" if body else "GET", path, [("host", "x"), *headers], body))
    finally:
        connection.leave()


async def played(provider: Upstream, play: Play) -> Got:
    """*play*, as it comes out at the other end."""
    provider.scripts[7] = lambda _: play
    return await ask(provider, "/v1/chat/completions", written({"messages": [{"content": token(7)}]}))


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_what_nobody_scripted_is_answered_plainly_in_its_dialect(provider: Upstream, dialect: Dialect) -> None:
    got = await ask(provider, f"/openai{dialect.path}?beta=true", dialect.body("m", "Hello."))
    assert (got.status, got.data) == (200, plain(provider.heard[-1][0]).events or got.data)
    assert provider.heard[-1][0].dialect is dialect
    if dialect.stream is not None:
        got = await ask(provider, dialect.path, dialect.body("m", "Hello.", {"stream": True}))
        assert dialect.words(got.events) == GREETING


async def test_the_longest_path_names_the_dialect() -> None:
    heard = [
        Heard("POST", path, http1.Head("", ()), b"") for path in ("/chat/completions", "/v1/completions", "/models")
    ]
    assert [each.dialect.name if each.dialect else None for each in heard] == ["chat", "completions", None]


async def test_a_token_names_the_script_and_what_was_heard(provider: Upstream) -> None:
    provider.scripts[7] = lambda heard: Play([heard.body])
    body = written({"note": token(3), "messages": [{"content": f"Say {token(7)} back."}]})
    got = await ask(provider, "/v1/chat/completions", body, (("x-odd", "1"),))
    assert got.body == body
    assert [heard.head.get("x-odd") for heard in provider.heard[7]] == ["1"]
    assert provider.heard[7][0].data["note"] == token(3)


async def test_pieces_go_out_as_they_are(provider: Upstream) -> None:
    got = await played(provider, stream([b"da", b"ta: 1\r\n", b"\r\n"], status=201, headers=[("x-a", "b")]))
    assert (got.status, got.body, got.whole, got.head.get("x-a")) == (201, b"data: 1\r\n\r\n", True, "b")
    assert got.head.get("content-type").startswith("text/event-stream")


@pytest.mark.parametrize("end", ["cut", "reset"])
async def test_a_cut_stream_is_cut_behind_what_was_said(provider: Upstream, end: str) -> None:
    got = await played(provider, stream([b"data: 1\n\n"], end=end))
    assert (got.body, got.whole) == (b"data: 1\n\n", False)


async def test_a_reset_before_the_first_byte_says_nothing(provider: Upstream) -> None:
    with pytest.raises(Exception, match="without an answer"):
        await played(provider, Play(end="reset", head=False))


async def test_a_silence_lasts_until_the_peer_leaves(provider: Upstream) -> None:
    asking = asyncio.ensure_future(played(provider, stream([b"data: 1\n\n"], end="silence")))
    await asyncio.sleep(0.1)
    assert not provider.heard[7][0].left.is_set()
    asking.cancel()
    async with asyncio.timeout(1):
        await provider.heard[7][0].left.wait()


async def test_a_piece_waits_at_its_gate(provider: Upstream) -> None:
    gate = asyncio.Event()
    asking = asyncio.ensure_future(played(provider, stream([b"data: 1\n\n", b"data: 2\n\n"], gate=(1, gate))))
    await asyncio.sleep(0.1)
    assert not asking.done()
    gate.set()
    assert len((await asking).events) == 2


async def test_a_connection_is_used_again_after_a_whole_answer(provider: Upstream) -> None:
    connection = await Connection.open(Address(HOST, provider.port, tls=False, prefix=""))
    for _ in range(2):
        assert (await connection.ask(http1.request("GET", "/v1/models", [("host", "x")]))).status == 200
    connection.leave()


async def test_models_are_listed_in_the_shape_that_was_asked(provider: Upstream) -> None:
    openai = await ask(provider, "/v1/models")
    anthropic = await ask(provider, "/v1/models", headers=(("anthropic-version", "2023-06-01"),))
    assert openai.data["data"][0]["object"] == "model"
    assert (anthropic.data["data"][0]["type"], anthropic.data["has_more"]) == ("model", False)
    assert models_listed([], anthropic=True)["first_id"] is None


async def test_what_is_no_door_is_not_found(provider: Upstream) -> None:
    assert (await ask(provider, "/v1/audio/speech", b"{}")).status == 404


async def test_the_trap_knows_that_it_is_one(provider: Upstream) -> None:
    there = await Connection.open(Address(HOST, provider.trap_port, tls=False, prefix=""))
    await there.ask(http1.request("POST", "/v1/embeddings", [("host", "x")], b"{}"))
    there.leave()
    assert provider.heard[-1][0].trap


async def test_a_taken_port_is_told(provider: Upstream) -> None:
    with pytest.raises(PortTaken, match=f":{provider.port}$"):
        await Upstream(provider.port).__aenter__()
