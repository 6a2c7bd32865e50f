"""Checks of requests: what the caller wrote is what the provider reads, and nothing beside it that is private."""

from __future__ import annotations

import json
from typing import Any

from membrain_cli.conform.answers import refuse_other_than_200, sealed, unless
from membrain_cli.conform.anthropic_scripts import HIDDEN, THOUGHT
from membrain_cli.conform.bench import Bench, Differs, NotApplicable
from membrain_cli.conform.check import WHOLE, Checks
from membrain_cli.conform.compare import bytes_differ, difference, exact, parsed, shown, under
from membrain_cli.conform.dialects import Dialect, Json, written
from membrain_cli.conform.openai_scripts import SEALED
from membrain_cli.conform.upstream import whole

CHECKS = Checks()

CACHED = {"type": "ephemeral", "ttl": "1h"}
UNKNOWN: Json = {"conform_new_option": {"kept": [True, None, "yes"]}}
SENT: dict[str, Json] = {
    "messages": {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
    "responses": {"client_metadata": {"session": "conform"}},
}
"""What coding tools already send, and not every gateway knows."""
USUAL: dict[str, Json] = {"embeddings": {"encoding_format": "float"}, "count_tokens": {"system": "Be brief."}}
"""What is said beside the text where nobody says a temperature."""
LONG = 115_000
"""Bytes of a request as coding tools send them."""
COOKIE = "conform_session=abc"


@CHECKS.row(
    "request.json", WHOLE, "a request, equal as JSON", "no member added, dropped or retyped on the way to the provider"
)
async def same_json(bench: Bench, dialect: Dialect) -> None:
    made = await bench.exchange(dialect, more=USUAL.get(dialect.name, {"temperature": 1.0}))
    unless(difference(parsed(made.asked.body), made.last.data))


@CHECKS.row(
    "request.bytes",
    WHOLE,
    "a request, byte for byte",
    "prompt caches and signatures are counted on bytes: a changed blank is a full price",
)
async def same_bytes(bench: Bench, dialect: Dialect) -> None:
    def odd(model: str, text: str) -> bytes:
        data = json.dumps(dialect.ask(model, text), indent=3, separators=(" ,", " : "))[1:]
        return f'{{ "temperature" : 1.0,\t"metadata":{{"caf\\u00e9":"\\u2603\\/"}} ,\n{data}\n'.encode()

    made = await bench.exchange(dialect, write=odd)
    unless(bytes_differ(made.asked.body, made.last.body))


@CHECKS.row("request.unknown", WHOLE, "members that the gateway cannot know", "new options work on their first day")
async def unknown_members(bench: Bench, dialect: Dialect) -> None:
    sent = {**SENT.get(dialect.name, {}), **UNKNOWN}
    made = await bench.exchange(dialect, more=sent)
    unless(difference(exact(sent), {name: value for name, value in made.last.data.items() if name in sent}))


def history(dialect: Dialect) -> Json:
    """A request of a conversation that has gone on for a while, the members around its last message."""
    if dialect.name == "messages":
        earlier = [
            {"role": "user", "content": [{"type": "text", "text": "Begin.", "cache_control": CACHED}]},
            {"role": "assistant", "content": [THOUGHT, HIDDEN, {"type": "text", "text": "Begun."}]},
        ]
        system = [{"type": "text", "text": "Be brief.", "cache_control": CACHED}]
        thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
        return {"earlier": earlier, "more": {"system": system, **thinking}}
    if dialect.name == "responses":
        reasoning = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": SEALED}
        told = {"include": ["reasoning.encrypted_content"], "store": False}
        return {"earlier": [{"role": "user", "content": "Begin."}, reasoning], "more": told}
    part = {"type": "text", "text": "Begin.", "cache_control": CACHED}
    said: list[Json] = [
        {"role": "user", "content": [part]},
        {"role": "assistant", "content": "Begun.", "refusal": None},
    ]
    return {"earlier": said, "more": {"prompt_cache_key": "conform", "parallel_tool_calls": False}}


def conversation(dialect: Dialect, model: str, text: str, filler: str = "") -> Json:
    """A request with a history, and with *filler* in it."""
    told, data = history(dialect), dialect.ask(model, text)
    place = "input" if dialect.name == "responses" else "messages"
    long: list[Any] = [{"role": "user", "content": filler}] if filler else []
    return {**data, place: [*told["earlier"], *long, *data[place]], **told["more"]}


@CHECKS.row(
    "request.history",
    ("chat", "messages", "responses"),
    "cache marks, signed thinking and sealed reasoning of earlier turns",
    "without the first a conversation is paid in full each turn; a changed signature ends it",
)
async def earlier_turns(bench: Bench, dialect: Dialect) -> None:
    made = await bench.exchange(dialect, write=lambda model, text: written(conversation(dialect, model, text)))
    unless(difference(sealed(parsed(made.asked.body)), sealed(made.last.data)))


@CHECKS.row(
    "request.long",
    ("chat", "messages", "responses"),
    "a request of 115 KB",
    "coding tools send their whole prompt and tools each time",
)
async def long_request(bench: Bench, dialect: Dialect) -> None:
    filler = "Plain words in a long line of plain words. " * (LONG // 43)

    def write(model: str, text: str) -> bytes:
        return written(conversation(dialect, model, text, filler))

    made = await bench.exchange(dialect, write=write)
    if filler not in [*under(made.last.data, "content"), *under(made.last.data, "text")]:
        raise Differs(f"{len(made.asked.body)} bytes became {len(made.last.body)}")


@CHECKS.row(
    "request.query", ("messages",), "`?beta=true` reaches the provider", "Claude Code asks for what is new by it"
)
async def query(bench: Bench, dialect: Dialect) -> None:
    made = await bench.exchange(dialect, query="beta=true")
    if made.last.target.partition("?")[2] != "beta=true":
        raise Differs(f"the provider was asked at {made.last.target}")


@CHECKS.row(
    "request.beta",
    ("messages", "count_tokens"),
    "`anthropic-beta` and `anthropic-version` reach the provider",
    "without them the provider does not know the members that they announce",
)
async def beta(bench: Bench, dialect: Dialect) -> None:
    betas = "conform-2026-01-01,interleaved-thinking-2025-05-14"
    made = await bench.exchange(dialect, headers=[("anthropic-beta", betas)])
    missing = {*betas.split(",")} - {each.strip() for each in made.last.head.get("anthropic-beta").split(",")}
    if missing:
        raise Differs(f"anthropic-beta: {shown(made.last.head.get('anthropic-beta'))}")
    if not made.last.head.get("anthropic-version"):
        raise Differs("no anthropic-version")


@CHECKS.row(
    "request.key",
    WHOLE,
    "the caller's key stays at the gateway",
    "whoever reads the provider's logs could use the gateway in the caller's name",
)
async def own_key(bench: Bench, dialect: Dialect) -> None:
    if not bench.target.key:
        raise NotApplicable("no key was given (--key)")
    made = await bench.exchange(dialect)
    found = [name for name, value in made.last.head.headers if bench.target.key in value]
    if found:
        raise Differs(f"the provider was sent it as {found[0]}")


@CHECKS.row(
    "request.cookie",
    WHOLE,
    "the caller's cookies stay at the gateway",
    "they are meant for the gateway, and are nobody else's business",
)
async def own_cookie(bench: Bench, dialect: Dialect) -> None:
    made = await bench.exchange(dialect, headers=[("cookie", COOKIE)])
    if COOKIE in made.last.head.get("cookie"):
        raise Differs("the provider was sent them")


@CHECKS.row(
    "request.headers",
    WHOLE,
    "15 KiB of headers from the caller",
    "long lists of betas and traces are real; a small buffer refuses them",
)
async def long_headers(bench: Bench, dialect: Dialect) -> None:
    padding = [(f"x-conform-{number}", "h" * 1900) for number in range(8)]
    refuse_other_than_200(await bench.exchange(dialect, headers=padding))


@CHECKS.row(
    "cookies.jar",
    WHOLE,
    "a provider's cookie goes out with no other request",
    "a jar that all share hands one caller's session to the next",
)
async def cookie_jar(bench: Bench, dialect: Dialect) -> None:
    crumbs = [("set-cookie", "conform_jar=mine; Path=/")]
    await bench.exchange(dialect, lambda heard: whole(dialect.whole(heard.data, "Hello."), headers=crumbs))
    made = await bench.exchange(dialect)
    if "conform_jar" in made.last.head.get("cookie"):
        raise Differs(f"cookie: {shown(made.last.head.get('cookie'))}")


@CHECKS.row(
    "cookies.caller",
    WHOLE,
    "a provider's cookie is not set at the caller",
    "it was set for the gateway, and would come back to it from a browser",
)
async def cookie_to_caller(bench: Bench, dialect: Dialect) -> None:
    crumbs = [("set-cookie", "conform_jar=mine; Path=/")]
    made = await bench.exchange(dialect, lambda heard: whole(dialect.whole(heard.data, "Hello."), headers=crumbs))
    if "conform_jar" in made.got.head.get("set-cookie"):
        raise Differs(f"set-cookie: {shown(made.got.head.get('set-cookie'))}")
