"""Checks of whole answers: what the provider said is what the caller reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from membrain_cli.conform.bench import Bench, Differs, Exchange
from membrain_cli.conform.check import WHOLE, Checks
from membrain_cli.conform.compare import bytes_differ, difference, exact, parsed, under
from membrain_cli.conform.dialects import Dialect, Json
from membrain_cli.conform.openai_scripts import NEW
from membrain_cli.conform.upstream import Heard, Play, whole

CHECKS = Checks()

TEXT = 'Hello, wörld ☃ 𝄞\n"quoted" \\ back\\slash\t and </script> &amp; done.'
ODD = (
    r' "x_big":123456789012345678901234567890 , "x_float" : 1.0, "x_exp":1E+2,"x_zero":-0, "x_small":1e-7,'
    r'"x_escaped":"\u00e9\/\ud83d\ude00\u0000", "x_twice":1,"x_twice":2, "x_empty":{ },'
)
"""Members that are written as few libraries write them."""
NUMBERS: Json = {"x_big": 123456789012345678901234567890, "x_float": 0.1, "x_long": 9007199254740993, "x_tiny": 1e-300}


def odd(data: Json) -> bytes:
    """*data* in JSON as nobody's library writes it: spacing, escapes, numbers, a member twice."""
    return f"\n{{{ODD}\r\n  {json.dumps(data, indent=3, separators=(' ,', ' : '))[1:]}\n\n".encode()


def refuse_other_than_200(made: Exchange) -> None:
    """`Differs` if the answer is not a whole 200."""
    if made.got.status != 200:
        raise Differs(f"{made.got.status} instead of 200")
    if not made.got.whole:
        raise Differs("the answer was cut")


def unless(found: str) -> None:
    """`Differs` if there is a difference."""
    if found:
        raise Differs(found)


async def answered(
    bench: Bench, dialect: Dialect, more: Mapping[str, Any] = {}, asking: Mapping[str, Any] = {}
) -> Exchange:
    """An exchange whose answer says `TEXT`, and has *more* members."""

    def script(heard: Heard) -> Play:
        return whole({**dialect.whole(heard.data, TEXT), **more})

    made = await bench.exchange(dialect, script, more=asking)
    refuse_other_than_200(made)
    return made


@CHECKS.row("whole.json", WHOLE, "a whole answer, equal as JSON", "what the provider said is what the program reads")
async def same_json(bench: Bench, dialect: Dialect) -> None:
    made = await answered(bench, dialect)
    unless(difference(parsed(made.sent.body), made.got.data))


@CHECKS.row(
    "whole.bytes",
    WHOLE,
    "a whole answer, byte for byte",
    "spacing, order, escapes and 1.0 stay: whoever re-encodes JSON sooner or later changes a value",
)
async def same_bytes(bench: Bench, dialect: Dialect) -> None:
    made = await bench.exchange(dialect, lambda heard: whole(odd(dialect.whole(heard.data, TEXT))))
    refuse_other_than_200(made)
    unless(bytes_differ(made.sent.body, made.got.body))


@CHECKS.row(
    "whole.unknown",
    WHOLE,
    "members that the gateway cannot know",
    "APIs grow: a new member must not wait for the gateway's next release",
)
async def unknown_members(bench: Bench, dialect: Dialect) -> None:
    made = await answered(bench, dialect, NEW)
    got = made.got.data if isinstance(made.got.data, dict) else {}
    unless(difference(exact(NEW), {name: value for name, value in got.items() if name in NEW}))


@CHECKS.row(
    "whole.numbers",
    WHOLE,
    "numbers keep all their digits",
    "a float in between makes another number of a large id",
)
async def numbers(bench: Bench, dialect: Dialect) -> None:
    made = await answered(bench, dialect, NUMBERS)
    got = made.got.data if isinstance(made.got.data, dict) else {}
    unless(difference(exact(NUMBERS), {name: value for name, value in got.items() if name in NUMBERS}))


def usages(value: Any) -> list[Any]:
    """Every usage object within *value*, in order."""
    return [usage for usage in under(value, "usage") if isinstance(usage, dict)]


SEALED = ("signature", "data", "encrypted_content")
"""What the provider signed or sealed, and takes back only as it was."""


def sealed(value: Any) -> Json:
    """What within *value* must not change: seals, the thoughts they are for, and marks for the provider's cache."""
    seals = {name: sorted({each for each in under(value, name) if each and isinstance(each, str)}) for name in SEALED}
    thoughts = [each for each in under(value, "thinking") if isinstance(each, str)]
    return {**seals, "thinking": "".join(thoughts), "cache_control": [*under(value, "cache_control")]}


@CHECKS.row(
    "whole.usage",
    ("chat", "messages", "responses", "completions", "embeddings"),
    "usage, with cached and reasoning tokens",
    "they have prices of their own: without them every cost is wrong",
)
async def usage(bench: Bench, dialect: Dialect) -> None:
    made = await answered(bench, dialect)
    unless(difference(usages(parsed(made.sent.body)), usages(made.got.data), "usage", more=True))


@CHECKS.row(
    "whole.thinking",
    ("messages", "responses"),
    "signed and sealed thinking, unchanged",
    "the provider refuses the next turn if a sign of it has changed",
)
async def thinking(bench: Bench, dialect: Dialect) -> None:
    thought = dialect.thought
    assert thought is not None, "only asked of dialects that think"
    made = await bench.exchange(dialect, lambda heard: whole(thought(heard.data)))
    refuse_other_than_200(made)
    unless(difference(sealed(parsed(made.sent.body)), sealed(made.got.data)))


@CHECKS.row(
    "whole.base64",
    ("embeddings",),
    "a packed vector where one was asked",
    "SDKs ask for base64 by default, and unpack what comes",
)
async def packed(bench: Bench, dialect: Dialect) -> None:
    made = await answered(bench, dialect, asking={"encoding_format": "base64"})
    unless(difference(parsed(made.sent.body).get("data"), made.got.data.get("data"), "data"))


@CHECKS.row(
    "whole.headers",
    WHOLE,
    "15 KiB of headers from the provider",
    "rate limits, policies and cookies add up; a small buffer loses the answer behind them",
)
async def long_headers(bench: Bench, dialect: Dialect) -> None:
    padding = [(f"x-conform-{number}", "h" * 1900) for number in range(8)]
    made = await bench.exchange(dialect, lambda heard: whole(dialect.whole(heard.data, TEXT), headers=padding))
    refuse_other_than_200(made)
