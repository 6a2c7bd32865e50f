"""Checks of connections: hang-ups, redirects, keep-alive, many at once, and the doors beside the dialects."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from membrain_cli.conform import client, http1
from membrain_cli.conform.answers import refuse_other_than_200
from membrain_cli.conform.bench import Asked, Bench, Differs
from membrain_cli.conform.check import GATEWAY, STREAMED, WHOLE, Checks
from membrain_cli.conform.client import Got
from membrain_cli.conform.compare import shown
from membrain_cli.conform.dialects import Dialect, Vendor, blocks, error_body
from membrain_cli.conform.streams import asking, saying, texts_of
from membrain_cli.conform.upstream import Heard, Play, plain, stream, token, whole

CHECKS = Checks()

NOTICED = 1.0
"""Seconds within which the upstream is closed after the caller has gone."""
MANY = 50
SOON = 0.2


# --- the caller goes -----------------------------------------------------------------------------------------


async def hang_up(bench: Bench, asked: Asked) -> None:
    """Say *asked*, leave once the provider was asked, and `Differs` if that does not end its work too."""
    connection = await bench.connect()
    answer = asyncio.ensure_future(connection.ask(asked.request))
    try:
        heard = await bench.until_heard(asked)
        await asyncio.sleep(SOON)
        connection.leave()
        async with asyncio.timeout(NOTICED):
            await heard.left.wait()
    except TimeoutError:
        raise Differs(f"{NOTICED:g} s later the provider was still working") from None
    finally:
        answer.cancel()
        await asyncio.gather(answer, return_exceptions=True)


@CHECKS.row(
    "hangup.whole",
    WHOLE,
    "the caller hangs up: the provider is told",
    "an answer that nobody waits for is made and paid for all the same",
)
async def hang_up_whole(bench: Bench, dialect: Dialect) -> None:
    await hang_up(bench, bench.prepare(dialect, lambda _: Play(end="silence", head=False)))


@CHECKS.row(
    "hangup.stream",
    STREAMED,
    "the caller hangs up in a silent stream: the provider is told",
    "who only notices when writing never notices in a long thought",
)
async def hang_up_stream(bench: Bench, dialect: Dialect) -> None:
    def script(heard: Heard) -> Play:
        return stream(blocks(saying(dialect)(heard.data))[:4], end="silence")

    await hang_up(bench, bench.prepare(dialect, script, more=asking(dialect)))


@CHECKS.row(
    "redirect",
    WHOLE,
    "a 307 is not followed",
    "the request, and the provider's key, would go to whomever the answer names",
    late=True,
)
async def redirect(bench: Bench, dialect: Dialect) -> None:
    await bench.recovered(dialect)
    there = ("location", f"http://127.0.0.1:{bench.upstream.trap_port}{dialect.path}")
    moved = error_body(dialect.vendor, "api_error", "Moved.")
    made = await bench.exchange(
        dialect, lambda heard: plain(heard) if heard.trap else whole(moved, 307, headers=[there])
    )
    if any(heard.trap for heard in made.heard):
        raise Differs("it was followed to another server")
    if made.got.status == 200:
        raise Differs(f"200: {shown(made.got.data)}")


# --- many ----------------------------------------------------------------------------------------------------


@CHECKS.row(
    "parallel",
    STREAMED,
    f"{MANY} streams at once do not mix",
    "a shared buffer shows one caller the other's answer",
)
async def parallel(bench: Bench, dialect: Dialect) -> None:
    many = [_own_answer(bench, dialect, number) for number in range(MANY)]
    await asyncio.gather(*many)


async def _own_answer(bench: Bench, dialect: Dialect, number: int) -> None:
    mine = f"answer number {number} of many"
    pieces = [f"{word} " for word in mine.split()]

    def script(heard: Heard) -> Play:
        made = blocks(saying(dialect, [*pieces, mine])(heard.data))
        return stream(made, pause=0.002)

    made = await bench.exchange(dialect, script, more=asking(dialect))
    refuse_other_than_200(made)
    said = texts_of(made.got.events)
    others = [each for each in range(MANY) if each != number and f"number {each} of" in said]
    if others or mine not in said:
        raise Differs(f"stream {number} got {f'the words of {others[0]}' if others else 'not its own words'}")


@CHECKS.row(
    "keepalive",
    STREAMED,
    "two requests on one connection, a stream and a whole answer",
    "what is left over from the first would be read as the second's answer",
)
async def keep_alive(bench: Bench, dialect: Dialect) -> None:
    connection = await bench.connect()
    try:
        for more in (asking(dialect), {}):
            asked = bench.prepare(dialect, _naming, more=more)
            got = await _within(bench, connection.ask(asked.request))
            if got.status != 200 or token(asked.number).encode() not in got.body:
                raise Differs(f"{'second' if not more else 'first'}: {got.status}, {shown(got.body[:80])}")
    finally:
        connection.leave()


def _naming(heard: Heard) -> Play:
    """An answer with the token that the request named."""
    begin = heard.body.rindex(b"conform")
    return plain(heard, ["You said ", heard.body[begin : begin + len(token(0))].decode(), "."])


async def _within(bench: Bench, asking: Any) -> Got:
    try:
        async with asyncio.timeout(bench.target.seconds):
            got: Got = await asking
            return got
    except (TimeoutError, client.Silent) as error:
        raise Differs(str(error) or f"no answer within {bench.target.seconds:g} s") from None


# --- beside the dialects -------------------------------------------------------------------------------------


async def _bare(bench: Bench, method: str, path: str, headers: Sequence[http1.Header]) -> Got:
    target = bench.target
    bare = [each for each in headers if each[0] != "content-type"]
    request = http1.request(method, f"{target.address.prefix}{path}", bare)
    return await _within(bench, client.ask(target.address, request, target.seconds))


@CHECKS.row("head", (GATEWAY,), "`HEAD /` is answered", "Claude Code asks it to see whether anybody is there")
async def head(bench: Bench, dialect: Dialect) -> None:
    got = await _bare(bench, "HEAD", "/", bench.target.headers_for(dialect))
    if got.status >= 400:
        raise Differs(f"{got.status}")


async def models(bench: Bench, dialect: Dialect, vendor: Vendor, row: dict[str, str]) -> None:
    """`Differs` unless `/v1/models` lists the models in *vendor*'s shape: *row* is what each has beside its id."""
    spoken = [each for each in bench.target.headers_for(dialect) if each[0] != "anthropic-version"]
    asked = [*spoken, ("anthropic-version", "2023-06-01")] if vendor == "anthropic" else spoken
    got = await _bare(bench, "GET", "/v1/models", asked)
    rows = got.data.get("data") if isinstance(got.data, dict) else None
    if got.status != 200 or not isinstance(rows, list) or not rows:
        raise Differs(f"{got.status}: {shown(got.data)}")
    for each in rows:
        if not isinstance(each.get("id"), str) or any(each.get(name) != value for name, value in row.items()):
            raise Differs(f"{shown(each)}")
    if bench.target.models[vendor] not in {each["id"] for each in rows}:
        raise Differs(f"{len(rows)} models, and {bench.target.models[vendor]} is none of them")


@CHECKS.row("models.openai", (GATEWAY,), "`/v1/models` in OpenAI's shape", "tools fill their menus from it")
async def models_openai(bench: Bench, dialect: Dialect) -> None:
    await models(bench, dialect, "openai", {"object": "model"})


@CHECKS.row(
    "models.anthropic",
    (GATEWAY,),
    "`/v1/models` in Anthropic's shape, asked with its headers",
    "Anthropic's SDKs read `type` and `has_more`",
)
async def models_anthropic(bench: Bench, dialect: Dialect) -> None:
    await models(bench, dialect, "anthropic", {"type": "model"})
