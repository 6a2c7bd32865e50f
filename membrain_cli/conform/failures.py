"""Checks of failures: what the provider refused, or broke off, looks like that to the caller too.

They come last, because a gateway may rest an upstream that has failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from membrain_cli.conform.bench import Bench, Differs, Exchange
from membrain_cli.conform.check import STREAMED, WHOLE, Checks
from membrain_cli.conform.compare import difference, exact, shown
from membrain_cli.conform.dialects import Dialect, Json, blocks, error_body, misshapen
from membrain_cli.conform.streams import asking, saying
from membrain_cli.conform.upstream import Heard, Play, Script, stream, whole

CHECKS = Checks()

PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"
BROKEN = {"anthropic": ("overloaded_error", "Overloaded"), "openai": ("server_error", "The server had an error.")}
PAUSE = 0.03
"""Seconds between events, so that the caller has read some before the stream breaks."""
LIMITED = {"anthropic": "rate_limit_error", "openai": "requests"}


async def asked_both_ways(bench: Bench, dialect: Dialect, script: Script) -> Sequence[tuple[str, Exchange]]:
    """The same failure asked for a whole answer and, where there is one, a stream; with a word for which it was."""
    made = []
    for stream_asked in (False, True) if dialect.stream is not None else (False,):
        await bench.recovered(dialect)
        more = asking(dialect) if stream_asked else {}
        made.append(("streamed: " if stream_asked else "", await bench.exchange(dialect, script, more=more)))
    return made


def expect_shape(dialect: Dialect, made: Exchange, word: str = "") -> None:
    """`Differs` unless the answer is an error as the dialect words it."""
    if found := misshapen(dialect.vendor, made.got.data):
        raise Differs(f"{word}{made.got.status}, {found}: {shown(made.got.data)}")


async def expect_5xx(bench: Bench, dialect: Dialect, script: Script) -> None:
    """`Differs` unless what *script* does becomes a 5xx in the dialect's own words, or in a stream its error event."""
    for word, made in await asked_both_ways(bench, dialect, script):
        if word and made.got.status == 200 and _failed(dialect, made):
            continue
        if made.got.status < 500:
            raise Differs(f"{word}{made.got.status}: {shown(made.got.data)}")
        expect_shape(dialect, made, word)


@CHECKS.row(
    "error.reset",
    WHOLE,
    "a reset before the first byte is a 5xx",
    "SDKs try a 5xx again, and read its words",
    late=True,
)
async def reset(bench: Bench, dialect: Dialect) -> None:
    await expect_5xx(bench, dialect, lambda _: Play(end="reset", head=False))


@CHECKS.row(
    "error.html", WHOLE, "an HTML page is a 5xx in the dialect's words", "SDKs read JSON; a page is noise", late=True
)
async def html(bench: Bench, dialect: Dialect) -> None:
    await expect_5xx(bench, dialect, lambda _: Play([PAGE], 502, "text/html"))


@CHECKS.row(
    "error.empty", WHOLE, "an empty 200 is a 5xx", "an answer without a choice in it crashes programs", late=True
)
async def empty(bench: Bench, dialect: Dialect) -> None:
    await expect_5xx(bench, dialect, lambda _: Play())


def _failed(dialect: Dialect, made: Exchange) -> bool:
    """Whether a stream that had begun says that it failed."""
    events = made.got.events
    return any(dialect.is_error(event) for event in events) and not any(dialect.is_end(event) for event in events)


def refusing(dialect: Dialect, status: int, type: str, headers: Any = (), **more: str) -> Script:
    """A script that refuses with an error in the dialect's words."""
    body = error_body(dialect.vendor, type, "The upstream of conform refuses this.", **more)
    return lambda _: whole(body, status, headers=headers)


@CHECKS.row(
    "error.401",
    WHOLE,
    "a 401 of the provider is not a 401 of the gateway",
    "tools tell people that their key is wrong, and log them out, when it is the gateway's that is",
    late=True,
)
async def unauthorized(bench: Bench, dialect: Dialect) -> None:
    type = "authentication_error" if dialect.vendor == "anthropic" else "invalid_request_error"
    for word, made in await asked_both_ways(bench, dialect, refusing(dialect, 401, type, code="invalid_api_key")):
        if made.got.status in {200, 401, 403}:
            raise Differs(f"{word}{made.got.status}: {shown(made.got.data)}")
        expect_shape(dialect, made, word)


async def expect_status(bench: Bench, dialect: Dialect, script: Script, status: int, told: Json) -> list[Exchange]:
    """`Differs` unless *script*'s refusal keeps its *status*, and of its error what is *told*."""
    exchanges = []
    for word, made in await asked_both_ways(bench, dialect, script):
        if made.got.status != status:
            raise Differs(f"{word}{status} became {made.got.status}")
        expect_shape(dialect, made, word)
        error = made.got.data["error"]
        if found := difference(exact(told), {name: error.get(name) for name in told}, "error"):
            raise Differs(f"{word}{found}")
        exchanges.append(made)
    return exchanges


@CHECKS.row(
    "error.400", WHOLE, "a 400 keeps status, type, param and code", "it names the field that is wrong", late=True
)
async def bad_request(bench: Bench, dialect: Dialect) -> None:
    told = {} if dialect.vendor == "anthropic" else {"param": "conform", "code": "conform_code"}
    script = refusing(dialect, 400, "invalid_request_error", **told)
    await expect_status(bench, dialect, script, 400, {"type": "invalid_request_error", **told})


@CHECKS.row(
    "error.retry_after",
    WHOLE,
    "a 429 keeps its status and Retry-After",
    "SDKs wait as long as it says; without it they hammer",
    late=True,
)
async def retry_after(bench: Bench, dialect: Dialect) -> None:
    script = refusing(dialect, 429, LIMITED[dialect.vendor], [("retry-after", "2")], code="rate_limit_exceeded")
    for made in await expect_status(bench, dialect, script, 429, {}):
        if made.got.head.get("retry-after") != "2":
            raise Differs(f"Retry-After: 2 became {made.got.head.get('retry-after') or 'nothing'}")


@CHECKS.row(
    "error.code",
    ("chat", "responses", "completions", "embeddings"),
    "error.code of a 429 survives",
    "insufficient_quota is not cured by waiting, and programs tell it by the code",
    late=True,
)
async def error_code(bench: Bench, dialect: Dialect) -> None:
    code = "insufficient_quota"
    await expect_status(bench, dialect, refusing(dialect, 429, code, code=code), 429, {"code": code})


@CHECKS.row(
    "error.529", ("messages", "count_tokens"), "a 529 stays a 529", "Anthropic's SDKs know it: overloaded, try again",
    late=True,
)  # fmt: skip
async def overloaded(bench: Bench, dialect: Dialect) -> None:
    script = refusing(dialect, 529, "overloaded_error")
    await expect_status(bench, dialect, script, 529, {"type": "overloaded_error"})


# --- in mid-stream -------------------------------------------------------------------------------------------


def half(dialect: Dialect, heard: Heard) -> list[bytes]:
    """The first events of a stream, up to its second piece of text."""
    made = blocks(saying(dialect, ["One word. ", "Two words. ", "The end."])(heard.data))
    return made[: next(number for number, each in enumerate(made) if b"The end." in each)]


def claims_success(dialect: Dialect, made: Exchange, *, ended: bool) -> str:
    """How a broken stream pretends to be whole; "" if it does not."""
    events = made.got.events
    if any(dialect.is_end(event) for event in events):
        return "it ends as if all had been said"
    if any(_finished(data) for _, data in events):
        return "it has a finish_reason"
    if made.got.whole and not ended and not any(dialect.is_error(event) for event in events):
        return "neither an error nor a cut: it just ends"
    return ""


def _finished(data: Any) -> bool:
    choices: Iterator[Any] = iter(data.get("choices") or () if isinstance(data, dict) else ())
    return any(choice.get("finish_reason") for choice in choices)


async def expect_broken(bench: Bench, dialect: Dialect, script: Script, *, ended: bool = False) -> Exchange:
    """`Differs` if the stream that *script* breaks off looks whole. *ended*: over HTTP it is."""
    await bench.recovered(dialect)
    made = await bench.exchange(dialect, script, more=asking(dialect))
    if made.got.status < 400 and (found := claims_success(dialect, made, ended=ended)):
        raise Differs(found)
    return made


@CHECKS.row(
    "broken.cut",
    STREAMED,
    "a connection lost in mid-stream looks broken",
    "half an answer that claims to be whole is run, saved and billed",
    late=True,
)
async def cut(bench: Bench, dialect: Dialect) -> None:
    await expect_broken(bench, dialect, lambda heard: stream(half(dialect, heard), end="cut", pause=PAUSE))


@CHECKS.row(
    "broken.short",
    STREAMED,
    "a stream that stops before its end gets none",
    "an end that the gateway made up turns half an answer into a whole one",
    late=True,
)
async def short(bench: Bench, dialect: Dialect) -> None:
    await expect_broken(bench, dialect, lambda heard: stream(half(dialect, heard), pause=PAUSE), ended=True)


@CHECKS.row(
    "broken.event",
    STREAMED,
    "an error event in mid-stream is passed on",
    "SDKs raise on it; without it half an answer is taken for whole",
    late=True,
)
async def error_event(bench: Bench, dialect: Dialect) -> None:
    type, message = BROKEN[dialect.vendor]
    error = error_body(dialect.vendor, type, message)
    names = {"messages": "error", "responses": "error"}
    data = {"type": "error", "code": type, "message": message, "param": None, "sequence_number": 6}
    event = (names.get(dialect.name), data if dialect.name == "responses" else error)

    def script(heard: Heard) -> Play:
        return stream([*half(dialect, heard), *blocks([event])], pause=PAUSE)

    made = await expect_broken(bench, dialect, script)
    if made.got.status >= 400:
        expect_shape(dialect, made)
    elif not any(dialect.is_error(each) for each in made.got.events):
        raise Differs(f"{made.got.status}, and no error event: {shown(made.got.body[-90:])}")
