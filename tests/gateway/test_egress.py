"""The one way out: what it refuses to send, how long it waits, how much it takes, and how it lets go."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import socket
import ssl
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from membrain.egress import HOP_HEADER, Egress, Limits, Reply, Upstream, is_loopback
from membrain.errors import (
    GuardFailed,
    LoopDetected,
    MembrainError,
    Misconfigured,
    PrivateRefused,
    ProviderFailed,
)
from membrain.records import Passport
from tests.fakes import STREAM_HEAD, in_chunk, raw_server, request_of
from tests.sink import Reply as Scripted
from tests.sink import Sink, nobody_picks_up

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
FREE = Passport(exchange="e", written=True, looked=True, private=False)
PRIVATE = Passport(exchange="e", written=True, looked=True, private=True)
SHORT = Limits(connect=0.2, first_byte=0.2, whole=0.2, idle=0.2, answer_bytes=1 << 20)
CANARY = "canary-7f3a"

# A key and a self-signed certificate for localhost, 127.0.0.1 and ::1, good until 2126. For this test only.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgqsiOZxVk7v9wey2w
UVZm+ykHifnVSorQGrygy9rPl1KhRANCAASgOkZNwRfGwODuU4lcHnKZdR3UglX2
znak/r3F5KF2Pk7amfUXx1vprf3HnUsx7r5QxHBS+0Bvpw1WFNO6Ui+F
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBrzCCAVSgAwIBAgIUZKlmWCA9xUyDkDgec2yCC2aE6IowCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTIxMjgwM1oYDzIxMjYxMDI4
MjEyODAzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASgOkZNwRfGwODuU4lcHnKZdR3UglX2znak/r3F5KF2Pk7amfUXx1vp
rf3HnUsx7r5QxHBS+0Bvpw1WFNO6Ui+Fo4GBMH8wHQYDVR0OBBYEFEAJ4Ev26ydD
0QsAYtFqxuFd1g0+MB8GA1UdIwQYMBaAFEAJ4Ev26ydD0QsAYtFqxuFd1g0+MA8G
A1UdEwEB/wQFMAMBAf8wLAYDVR0RBCUwI4IJbG9jYWxob3N0hwR/AAABhxAAAAAA
AAAAAAAAAAAAAAABMAoGCCqGSM49BAMCA0kAMEYCIQCM2GPgT0BiO4Lqrq0nRTvi
2f0HbexVLBQDNINApXrsbwIhAJ9rVI0awby3GtVFuptl0Cz/t3M1tOijOKpsnlag
y9RB
-----END CERTIFICATE-----
"""


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    egress = Egress(SHORT)
    yield egress
    await egress.close()


@pytest.fixture
def upstream(egress: Egress, sink: Sink) -> Upstream:
    """The sink, as something that answers itself."""
    return egress.upstream("openai", sink.url, {"authorization": f"Bearer sk-{CANARY}"}, final=True)


def body(model: str = "echo", text: str = CANARY) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()


async def read(upstream: Upstream, model: str = "echo", passport: Passport = FREE) -> bytes:
    """A whole answer of the sink."""
    reply = await upstream.post(CHAT, body(model), passport, stream=False)
    try:
        return await reply.read()
    finally:
        reply.close()


async def all_pieces(reply: Reply) -> bytes:
    pieces = []
    while piece := await reply.piece():
        reply.heard()
        pieces.append(piece)
    return b"".join(pieces)


async def was_closed(sink: Sink) -> bool:
    """Whether the first request's connection is closed within a second."""
    return await asyncio.to_thread(sink.requests[0].closed.wait, 1)


# --- the passport


async def test_without_a_record_of_the_intent_nothing_is_sent(upstream: Upstream, sink: Sink) -> None:
    with pytest.raises(GuardFailed):
        await read(upstream, passport=Passport("e", written=False, looked=True, private=False))
    assert sink.connections == 0


async def test_without_a_look_for_private_values_nothing_is_sent(upstream: Upstream, sink: Sink) -> None:
    with pytest.raises(GuardFailed, match="Nobody looked"):
        await read(upstream, passport=Passport("e", written=True, looked=False, private=False))
    assert not sink.requests


async def test_a_private_request_reaches_what_answers_on_this_machine(upstream: Upstream, sink: Sink) -> None:
    assert CANARY.encode() in await read(upstream, passport=PRIVATE)
    assert len(sink.requests) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_private_request_reaches_no_relay_on_this_machine(egress: Egress, sink: Sink, host: str) -> None:
    """A loopback address alone proves nothing: another proxy may listen there and hand on what it hears."""
    relay = egress.upstream("relay", f"http://{host}:{sink.port}")
    with pytest.raises(PrivateRefused):
        await read(relay, passport=PRIVATE)
    assert sink.connections == 0


async def test_a_private_request_leaves_for_no_other_machine(egress: Egress) -> None:
    with pytest.raises(PrivateRefused) as refused:
        await read(egress.upstream("cloud", "https://203.0.113.1", final=True), passport=PRIVATE)
    assert "cloud" in refused.value.message


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST", "[0:0::1]"])
@pytest.mark.parametrize("path", ["", "/v1"])
async def test_our_own_address_is_refused_however_it_is_spelled(
    egress: Egress, sink: Sink, host: str, path: str
) -> None:
    egress.never("127.0.0.1", sink.port)
    own = egress.upstream("openai", f"http://{host}:{sink.port}{path}")
    with pytest.raises(LoopDetected) as refused:
        await read(own)
    assert "providers.openai.url" in refused.value.sentence
    with pytest.raises(LoopDetected):
        await own.get("/models", seconds=1)
    assert sink.connections == 0


async def test_another_port_of_this_machine_is_not_ours(egress: Egress, upstream: Upstream, sink: Sink) -> None:
    egress.never("127.0.0.1", sink.port + 1 if sink.port < 65535 else 1024)
    assert await read(upstream)


# --- where it may go


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.9.9.9:1", True),
        ("http://localhost:1/v1", True),
        ("http://[::1]:1", True),
        ("https://127.0.0.1:1", True),
        ("https://api.example.com/v1", False),
        ("https://127.0.0.1.example.com", False),
        ("https://localhost.example.com", False),
        ("https://10.0.0.1", False),
    ],
)
async def test_loopback_is_what_is_spelled_like_it(egress: Egress, url: str, local: bool) -> None:
    upstream = egress.upstream("x", url, final=True)
    assert upstream.is_loopback is upstream.is_local is local


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "localhost.", "0.0.0", "::", "::ffff:1.2.3.4"])
def test_what_only_a_resolver_takes_for_loopback_is_none(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com",
        "http://127.1:80",
        "http://10.0.0.1:11434",
        "ftp://127.0.0.1",
        "api.example.com",
        "",
        "https://",
        "https://u:sk-canary-7f3a@api.example.com",
        "https://u@api.example.com",
        "https://api.example.com/v1?key=sk-canary-7f3a",
        "https://api.example.com/v1#part",
        "https://api.example.com:99999",
        "https://api.example.com:0",
        "http://[::1",
        "https://exa mple.com:x",
    ],
)
async def test_an_address_that_is_not_safe_and_plain_is_refused_without_being_quoted(egress: Egress, url: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        egress.upstream("mine", url)
    assert "mine" in refused.value.message
    assert CANARY not in refused.value.sentence


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("https://api.example.com/v1", "api.example.com"),
        ("https://api.example.com:8443/v1", "api.example.com:8443"),
        ("http://127.0.0.1:11434/v1", "127.0.0.1:11434"),
        ("http://[::1]:11434", "[::1]:11434"),
    ],
)
async def test_people_are_shown_host_and_port(egress: Egress, url: str, where: str) -> None:
    assert egress.upstream("x", url).where == where


async def test_no_key_is_in_an_upstreams_repr(upstream: Upstream) -> None:
    assert CANARY not in repr(upstream)


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_path_is_put_behind_the_address_once(egress: Egress, sink: Sink, slash: str) -> None:
    reply = await egress.upstream("x", sink.url + "/v1" + slash).post("/chat/completions", body(), FREE, stream=False)
    await reply.read()
    assert sink.requests[0].path == CHAT


async def test_localhost_is_looked_up_nowhere(egress: Egress, sink: Sink) -> None:
    """Even where a resolver would say something else."""

    def nobody(*_: object, **__: object) -> None:
        raise AssertionError("a resolver was asked")

    loop = asyncio.get_running_loop()
    asked, loop.getaddrinfo = loop.getaddrinfo, nobody  # type: ignore[method-assign,assignment]  # a seam of the loop
    try:
        assert await read(egress.upstream("x", f"http://localhost:{sink.port}"))
    finally:
        loop.getaddrinfo = asked  # type: ignore[method-assign]  # put back


async def test_localhost_also_means_ipv6(egress: Egress) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        await reader.read()

    async with raw_server(answer, "::1") as port:
        for host in ("localhost", "[::1]"):
            reply = await egress.upstream("x", f"http://{host}:{port}", final=True).post(
                "/", b"{}", PRIVATE, stream=False
            )
            assert await reply.read() == b"ok"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_error_and_its_target_is_left_alone(egress: Egress, status: int) -> None:
    with Sink() as target, Sink(redirect_to=target.url) as sink:
        upstream = egress.upstream("openai", sink.url, {"x-api-key": CANARY})
        with pytest.raises(ProviderFailed) as failed:
            await read(upstream, f"redirect-{status}")
        assert failed.value.status == 502
        assert str(status) in failed.value.message
        assert target.url not in failed.value.message
        sink.script("/models", Scripted(behave=f"redirect-{status}"))
        with pytest.raises(ProviderFailed):
            await upstream.get("/models", seconds=2)
        assert target.connections == 0


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"])
async def test_the_environments_proxy_is_never_asked(
    upstream: Upstream, sink: Sink, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sink() as proxy:
        monkeypatch.setenv(name, proxy.url)
        assert await read(upstream, passport=PRIVATE)
        assert proxy.connections == 0
    assert len(sink.requests) == 1


async def test_a_configured_proxy_is_asked_for_what_leaves_and_hears_no_key() -> None:
    with Sink() as proxy:
        egress = Egress(SHORT, proxy=proxy.url)
        with pytest.raises(ProviderFailed):
            await read(egress.upstream("cloud", "https://api.example.invalid", {"x-api-key": CANARY}))
        assert [each.method for each in proxy.requests] == ["CONNECT"]
        assert CANARY.encode() not in proxy.bytes_seen()
        await egress.close()


async def test_a_configured_proxy_does_not_see_what_stays_here(sink: Sink) -> None:
    with Sink() as proxy:
        egress = Egress(SHORT, proxy=proxy.url)
        for name, final in (("ollama", True), ("relay", False)):
            assert await read(egress.upstream(name, sink.url, final=final))
        assert proxy.connections == 0
        await egress.close()


# --- certificates


@contextmanager
def certificate(folder: Path) -> Iterator[tuple[ssl.SSLContext, str]]:
    """A server's context, and the file that one may trust."""
    path = folder / "ca.pem"
    path.write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    yield context, str(path)


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_certificate_that_nobody_signed_is_refused_before_a_byte_is_sent(tmp_path: Path, trusted: bool) -> None:
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await request_of(reader))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()

    with certificate(tmp_path) as (context, file):
        async with raw_server(answer, ssl=context) as port:
            egress = Egress(Limits(), ca_file=file if trusted else "")
            upstream = egress.upstream("openai", f"https://localhost:{port}")
            if trusted:
                reply = await upstream.post("/", b"{}", FREE, stream=False)
                assert await reply.read() == b"ok"
            else:
                with pytest.raises(ProviderFailed, match="openai has a certificate that does not hold"):
                    await upstream.post("/", b"{}", FREE, stream=False)
            await egress.close()
    assert bool(heard) is trusted


async def test_a_file_of_certificates_is_trusted_beside_the_systems_own(tmp_path: Path) -> None:
    with certificate(tmp_path) as (_, file):
        egress = Egress(ca_file=file)
        connector = egress.connector(egress.upstream("x", "https://api.example.com"))
        assert isinstance(connector._ssl, ssl.SSLContext)
        systems = ssl.create_default_context().cert_store_stats()["x509"]
        assert connector._ssl.cert_store_stats()["x509"] == systems + 1
        await connector.close()


# --- what is sent


async def test_what_is_sent_is_what_was_given_and_little_else(egress: Egress, sink: Sink) -> None:
    """The whole list: nothing about the caller's software, machine or user goes along."""
    upstream = egress.upstream("openai", sink.url, {"authorization": f"Bearer sk-{CANARY}"})
    reply = await upstream.post(CHAT, body(), FREE, stream=False, headers={"openai-project": "p"})
    await reply.read()
    seen = sink.requests[0]
    assert seen.body == body()
    assert seen.header.keys() == {
        "host", "accept", "accept-encoding", "user-agent", "authorization", "content-type", "content-length",
        "openai-project", HOP_HEADER,
    }  # fmt: skip
    assert seen.header["accept-encoding"] == "identity"
    assert seen.header["user-agent"] == "membrain"


async def test_only_what_is_on_this_machine_hears_the_hop_mark(egress: Egress) -> None:
    assert HOP_HEADER in egress.upstream("x", "http://127.0.0.1:1").headers
    assert HOP_HEADER not in egress.upstream("x", "https://api.example.com").headers


async def test_cookies_never_travel(upstream: Upstream, sink: Sink) -> None:
    sink.script(CHAT, Scripted(headers={"set-cookie": "session=1; Path=/"}, body={"choices": []}))
    await read(upstream)
    await read(upstream)
    assert "cookie" not in sink.requests[1].header


async def test_a_connection_is_used_again(egress: Egress, sink: Sink) -> None:
    upstream = egress.upstream("openai", sink.url)
    for _ in range(5):
        await read(upstream)
    assert (sink.connections, len(sink.requests)) == (1, 5)


async def test_what_answers_on_this_machine_is_reached_anew_each_time(upstream: Upstream, sink: Sink) -> None:
    """Its servers may close a connection after a stream without saying so, and the next request would be lost."""
    for _ in range(5):
        await read(upstream)
    assert (sink.connections, len(sink.requests)) == (5, 5)
    assert sink.requests[0].header["connection"] == "close"


async def test_each_upstream_has_connections_of_its_own(egress: Egress, sink: Sink) -> None:
    """So that no key and no state of one can reach another."""
    for key in ("a", "b"):
        await read(egress.upstream(key, sink.url, {"x-api-key": key}))
    assert sink.connections == 2
    assert [each.header["x-api-key"] for each in sink.requests] == ["a", "b"]


async def test_a_stream_that_said_it_is_over_gives_its_connection_back(egress: Egress) -> None:
    """Although the end of the body comes a moment after the end of the stream."""
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while await request_of(reader):
            writer.write(STREAM_HEAD + in_chunk(b"data: [DONE]\n\n"))
            await asyncio.sleep(0.02)
            writer.write(b"0\r\n\r\n")

    async with raw_server(answer) as port:
        upstream = egress.upstream("x", f"http://127.0.0.1:{port}")
        for _ in range(3):
            reply = await upstream.post("/", b"{}", FREE, stream=True)
            assert await reply.piece() == b"data: [DONE]\n\n"
            reply.leave()
            reply.close()
            await asyncio.sleep(0.05)
    assert connections == 1


async def test_a_stream_that_goes_on_after_its_end_loses_its_connection(egress: Egress) -> None:
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(STREAM_HEAD + in_chunk(b"data: [DONE]\n\n"))
        with suppress(ConnectionError):
            while True:
                writer.write(in_chunk(b"x" * 65536))
                await writer.drain()
                await asyncio.sleep(0)
        gone.set()

    async with raw_server(answer) as port:
        reply = await egress.upstream("x", f"http://127.0.0.1:{port}").post("/", b"{}", FREE, stream=True)
        await reply.piece()
        reply.leave()
        await asyncio.wait_for(gone.wait(), 3)


async def test_closing_does_not_wait_for_what_may_still_come(sink: Sink) -> None:
    egress = Egress()
    reply = await egress.upstream("x", sink.url).post(
        CHAT, json.dumps({"model": "stall-mid", "stream": True}).encode(), FREE, stream=True
    )
    await reply.piece()
    reply.leave()
    await asyncio.wait_for(egress.close(), 0.5)
    assert await was_closed(sink)


async def test_a_provider_that_is_closed_while_a_stream_ends_breaks_nothing(
    sink: Sink, egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohttp then says so with a RuntimeError, now and then: here always."""

    async def closed(_: object) -> bytes:
        raise RuntimeError("Connection closed.")

    reply = await egress.upstream("x", sink.url).post(
        CHAT, json.dumps({"model": "stall-mid", "stream": True}).encode(), FREE, stream=True
    )
    await reply.piece()
    monkeypatch.setattr(type(reply._response.content), "readany", closed)
    reply.leave()
    (rest,) = egress._rests
    assert await asyncio.gather(rest, return_exceptions=True) == [None]


# --- packed answers


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
        ("", bytes),
    ],
)
async def test_an_answer_that_came_packed_is_unpacked(
    upstream: Upstream, sink: Sink, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(b'{"a":"' + b"x" * 10_000 + b'"}')
    pieces = [packed[at : at + 7] for at in range(0, len(packed), 7)] if encoding else [packed]
    sink.script(CHAT, Scripted(chunks=pieces, headers={"content-encoding": encoding}))
    assert await read(upstream) == b'{"a":"' + b"x" * 10_000 + b'"}'


async def test_an_encoding_nobody_asked_for_is_an_error(upstream: Upstream, sink: Sink) -> None:
    sink.script(CHAT, Scripted(body=b"\x28\xb5\x2f\xfd", headers={"content-encoding": "zstd"}))
    with pytest.raises(ProviderFailed, match="openai answered in an encoding"):
        await read(upstream)
    assert await read(upstream)


async def test_what_is_not_packed_as_it_says_is_an_error(upstream: Upstream, sink: Sink) -> None:
    sink.script(CHAT, Scripted(body=b"not gzip at all", headers={"content-encoding": "gzip"}))
    with pytest.raises(ProviderFailed, match="openai broke off"):
        await read(upstream)


async def test_a_bomb_is_put_out_at_the_cap(upstream: Upstream, sink: Sink) -> None:
    """A thousandfold, without end; a megabyte is the cap here."""
    with pytest.raises(ProviderFailed, match="openai sent more than"):
        await read(upstream, "gzip-bomb")
    assert await was_closed(sink)


async def test_a_bomb_is_put_out_in_a_stream_too(upstream: Upstream, sink: Sink) -> None:
    reply = await upstream.post(CHAT, body("gzip-bomb"), FREE, stream=True)
    sizes: list[int] = []

    async def take() -> None:
        while piece := await reply.piece():
            sizes.append(len(piece))

    with pytest.raises(ProviderFailed, match="openai sent more than"):
        await take()
    assert sum(sizes) <= SHORT.answer_bytes
    reply.close()
    assert await was_closed(sink)


async def test_an_answer_without_end_is_cut_at_the_cap(upstream: Upstream, sink: Sink) -> None:
    with pytest.raises(ProviderFailed, match="openai sent more than 1 MB"):
        await read(upstream, "huge")
    assert await was_closed(sink)


async def test_headers_of_sixteen_kilobytes_pass(upstream: Upstream, sink: Sink) -> None:
    sink.script(CHAT, Scripted(body=b"{}", headers={"x-long": "a" * (16 << 10)}))
    reply = await upstream.post(CHAT, body(), FREE, stream=False)
    assert len(reply.header("X-Long")) == 16 << 10
    await reply.read()


async def test_the_media_type_is_told_without_its_parameters(upstream: Upstream, sink: Sink) -> None:
    sink.script(CHAT, Scripted(body=b"{}", headers={"content-type": "Application/JSON; charset=utf-8"}))
    reply = await upstream.post(CHAT, body(), FREE, stream=False)
    assert reply.content_type == "application/json"
    await reply.read()


# --- waiting


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port of this machine where nobody ever picks up."""
    with nobody_picks_up() as port:
        yield port


async def timed(work: Awaitable[object]) -> tuple[ProviderFailed, float]:
    """How *work* failed, and after how many seconds."""
    began = asyncio.get_running_loop().time()
    with pytest.raises(ProviderFailed) as failed:
        await work
    return failed.value, asyncio.get_running_loop().time() - began


async def test_connecting_has_its_own_limit(black_hole: int) -> None:
    egress = Egress(Limits(connect=0.2))
    failure, seconds = await timed(read(egress.upstream("openai", f"http://127.0.0.1:{black_hole}")))
    assert (failure.status, failure.message) == (504, "openai could not be reached in time.")
    assert seconds < 1
    await egress.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_first_byte_has_its_own_limit(sink: Sink, stream: bool) -> None:
    """A stream begins soon; an answer in one piece is written to its end before it comes."""
    egress = Egress(Limits(first_byte=0.1, whole=0.3))
    upstream = egress.upstream("openai", sink.url)
    failure, seconds = await timed(upstream.post(CHAT, body("stall"), FREE, stream=stream))
    assert (failure.status, failure.message) == (504, "openai did not answer in time.")
    assert abs(seconds - (0.1 if stream else 0.3)) < 0.1
    assert await was_closed(sink)
    await egress.close()


async def test_silence_in_the_middle_has_its_own_limit(upstream: Upstream, sink: Sink) -> None:
    reply = await upstream.post(CHAT, json.dumps({"model": "stall-mid", "stream": True}).encode(), FREE, stream=True)
    failure, seconds = await timed(all_pieces(reply))
    assert (failure.status, failure.message) == (504, "openai went silent.")
    assert 0.15 < seconds < 0.6
    reply.close()
    assert await was_closed(sink)


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A comment every 50 ms, for ever."""
    await request_of(reader)
    writer.write(STREAM_HEAD)
    while True:
        writer.write(in_chunk(b": ping\n\n"))
        await writer.drain()
        await asyncio.sleep(0.05)


async def test_pieces_that_do_not_count_do_not_keep_a_stream_alive(egress: Egress) -> None:
    async def listen() -> None:
        async with raw_server(drip) as port:
            reply = await egress.upstream("openai", f"http://127.0.0.1:{port}").post("/", b"{}", FREE, stream=True)
            try:
                while await reply.piece():
                    continue
            finally:
                reply.close()

    async with asyncio.timeout(5):
        failure, seconds = await timed(listen())
    assert failure.message == "openai went silent."
    assert 0.15 < seconds < 0.6


async def test_a_reader_that_takes_its_time_is_not_the_upstreams_silence(upstream: Upstream) -> None:
    """Only waiting for the upstream counts, so a caller who reads slowly breaks nothing."""
    reply = await upstream.post(
        CHAT, json.dumps({"model": "slow-20-chunks-8", "stream": True}).encode(), FREE, stream=True
    )
    heard = 0
    while piece := await reply.piece():
        heard += piece.count(b"data:")
        reply.heard()
        if heard < 3:
            await asyncio.sleep(0.3)
    assert heard > 8
    reply.close()


async def test_a_hang_up_closes_the_connection_within_a_second(upstream: Upstream, sink: Sink) -> None:
    egress = Egress()
    upstream = egress.upstream("openai", sink.url)
    task = asyncio.ensure_future(read(upstream, "stall"))
    await asyncio.to_thread(sink.wait_for, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await was_closed(sink)
    await egress.close()


async def test_cancelled_calls_never_hand_their_answer_to_another(egress: Egress, sink: Sink) -> None:
    """Each answer holds its own caller's words, whatever was cut off on the same pool."""
    upstream = egress.upstream("openai", sink.url)

    async def one(number: int) -> None:
        text = f"nonce-{number}-end"
        reply = await upstream.post(CHAT, body("echo-slow-2", text), FREE, stream=False)
        try:
            assert json.loads(await reply.read())["choices"][0]["message"]["content"] == text
        finally:
            reply.close()

    for turn in range(8):
        tasks = [asyncio.ensure_future(one(turn * 100 + each)) for each in range(12)]
        await asyncio.sleep(0.001 * turn)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [each for each in results[1::2] if each is not None]


# --- what upstreams do instead of answering


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("reset", "openai closed the connection without an answer."),
        ("garbage", "openai sent something that is not an HTTP answer."),
        ("truncated", "openai broke off in the middle."),
        ("reset-mid", "openai broke off in the middle."),
    ],
)
async def test_whatever_breaks_is_told_with_the_upstreams_name_and_nothing_that_was_said(
    upstream: Upstream, model: str, sentence: str
) -> None:
    with pytest.raises(ProviderFailed) as failed:
        await read(upstream, model)
    error = failed.value
    assert (error.message, error.status, error.provider) == (sentence, 502, "openai")
    assert error.__suppress_context__
    assert CANARY not in repr(error)


async def test_nobody_at_home_is_told(egress: Egress) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ProviderFailed, match="ollama could not be reached"):
        await read(egress.upstream("ollama", f"http://localhost:{port}"))


async def test_a_failed_call_does_not_spoil_the_next(upstream: Upstream) -> None:
    for model in ("reset", "garbage", "truncated", "huge"):
        with pytest.raises(ProviderFailed):
            await read(upstream, model)
        assert await read(upstream)


# --- probes


async def test_a_probe_reads_json(upstream: Upstream) -> None:
    listing = await upstream.get("/v1/models", seconds=2)
    assert listing["data"][0]["id"] == "gpt-4o-mini"


@pytest.mark.parametrize(
    ("behave", "status", "part"),
    [
        ("stall", 504, "did not answer"),
        ("status-404", 404, "answered 404"),
        ("status-500", 500, "answered 500"),
        ("bad-json", 502, "not answer in JSON"),
        ("html", 502, "not answer in JSON"),
        ("empty", 502, "not answer in JSON"),
        ("reset", 502, "closed the connection"),
    ],
)
async def test_a_probe_that_fails_says_how(upstream: Upstream, sink: Sink, behave: str, status: int, part: str) -> None:
    sink.script("/v1/models", Scripted(behave=behave), forever=True)
    failure, seconds = await timed(upstream.get("/v1/models", seconds=0.2))
    assert failure.status == status
    assert part in failure.message
    assert seconds < 0.5


# --- children


async def test_a_child_has_a_group_and_an_environment_of_its_own(egress: Egress) -> None:
    child = await egress.spawn(["/usr/bin/env"], {"ONLY": "this"})
    assert child.stdout is not None
    assert (await child.stdout.read()).split() == [b"ONLY=this"]
    assert await child.wait() == 0
    talker = await egress.spawn([sys.executable, "-c", "import os; print(os.getpgid(0), os.getpid())"], {})
    assert talker.stdout is not None
    group, pid = (await talker.stdout.read()).split()
    assert group == pid == str(talker.pid).encode()
    await talker.wait()


async def test_a_child_works_where_it_is_told_and_nobody_hears_its_complaints(egress: Egress, tmp_path: Path) -> None:
    child = await egress.spawn(["/bin/sh", "-c", "pwd; echo complaint >&2"], {}, cwd=str(tmp_path))
    said, complained = await child.communicate()
    assert said.decode().strip().endswith(tmp_path.name)
    assert complained is None


async def test_closing_ends_a_child_and_its_own_children() -> None:
    egress = Egress()
    child = await egress.spawn(["/bin/sh", "-c", "sleep 60 & echo $!; wait"], {"PATH": os.environ["PATH"]})
    assert child.stdout is not None
    grandchild = int(await child.stdout.readline())
    async with asyncio.timeout(5):  # or closing waits for the child's child, which holds its pipe
        await egress.close()
    assert child.returncode == -9
    for _ in range(100):
        if not alive(grandchild):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("a child of a child lives on")


def alive(pid: int) -> bool:
    """Whether *pid* runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            return not Path("/proc/self").exists()
        return False


async def test_children_that_ended_are_not_kept(egress: Egress) -> None:
    for _ in range(3):
        child = await egress.spawn(["/usr/bin/env"], {})
        await child.communicate()
    assert len(egress._children) == 1


async def test_an_upstream_that_was_closed_is_forgotten(egress: Egress, upstream: Upstream) -> None:
    """A key that was replaced must not stay in memory until the gateway stops."""
    await read(upstream)
    await upstream.close()
    assert egress._upstreams == []


async def test_every_refusal_of_a_destination_is_one_of_ours(egress: Egress) -> None:
    with pytest.raises(MembrainError):
        egress.upstream("x", "http://example.com")
