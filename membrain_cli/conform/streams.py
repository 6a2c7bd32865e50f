"""Checks of streams: the same events, however they were written and cut on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any

from membrain_cli.conform.answers import refuse_other_than_200, sealed, unless, usages
from membrain_cli.conform.bench import Bench, Differs, Exchange
from membrain_cli.conform.check import STREAMED, TALKING, Checks
from membrain_cli.conform.compare import bytes_differ, difference, events_differ, events_of, exact, shown
from membrain_cli.conform.dialects import DONE, Dialect, Json, Sent, block, blocks
from membrain_cli.conform.openai_scripts import USAGE
from membrain_cli.conform.upstream import Heard, Play, stream

CHECKS = Checks()

PIECES = ("Hel", "lo, ", "wörld ", "☃ 𝄞", '\n"quoted" \\ back', "\tand </script> done.")
ARGUMENTS = '{"path":"C:\\\\dir\\\\é.txt","text":"line\\n\\"two\\" \\ud83d\\ude00 ☃","n":1.0,"deep":{"list":[1,null]}}'
SMALL = '{ "q" : "ümlaut" }'
BIG = "Some plain words. " * 55_556
"""A megabyte of text."""
WAIT = 2.0
"""Seconds that a first piece may take; nothing stands in its way."""

Events = Callable[[Json], list[Sent]]
Wire = Callable[[Sequence[bytes]], Sequence[bytes]]


def asking(dialect: Dialect, *, usage: bool = True) -> Json:
    """The members of a request for a stream; *usage* asks for the usage where one has to."""
    options: Json = {"stream_options": {"include_usage": True}} if usage and dialect.name in BY_CHUNK else {}
    return {"stream": True, **options}


BY_CHUNK = frozenset({"chat", "completions"})
"""Dialects whose usage comes in a chunk that one asks for."""


def saying(dialect: Dialect, pieces: Sequence[str] = PIECES) -> Events:
    """The events that say *pieces*."""
    say = dialect.stream
    assert say is not None, "only asked of dialects that stream"
    return lambda asked: say(asked, pieces)


async def streamed(
    bench: Bench,
    dialect: Dialect,
    events: Events,
    wire: Wire = list,
    *,
    more: Mapping[str, Any] = {},
    usage: bool = True,
) -> Exchange:
    """An exchange whose answer is *events*, its blocks written and cut as *wire* has it."""

    def script(heard: Heard) -> Play:
        return stream(wire(blocks(events(heard.data))))

    made = await bench.exchange(dialect, script, more={**asking(dialect, usage=usage), **more})
    refuse_other_than_200(made)
    return made


async def same_events(bench: Bench, dialect: Dialect, events: Events, wire: Wire = list) -> Exchange:
    """`Differs` unless all *events* arrive, whatever *wire* does to their bytes."""
    made = await streamed(bench, dialect, events, wire)
    sent = events_of(b"".join(blocks(events(made.last.data))))
    unless(events_differ(sent, made.got.events))
    return made


async def same_answer(bench: Bench, dialect: Dialect, events: Events, wire: Wire = list) -> None:
    """`Differs` unless all *events* arrive; where none ever do as they are, their words and their end.

    A gateway that writes every event anew is told so by `stream.events`, and not again by each of these.
    """
    made = await streamed(bench, dialect, events, wire)
    sent = events_of(b"".join(blocks(events(made.last.data))))
    found = events_differ(sent, made.got.events)
    if found and not await _hands_on(bench, dialect):
        found = difference(dialect.words(sent), dialect.words(made.got.events), "words")
        ended = made.got.whole and any(dialect.is_end(event) for event in made.got.events)
        found = found or ("" if ended else "the end is missing")
    unless(found)


async def _hands_on(bench: Bench, dialect: Dialect) -> bool:
    """Whether the events of an ordinary stream arrive as they were sent. It is asked once."""
    if dialect.name not in bench.exact:
        made = await streamed(bench, dialect, saying(dialect))
        bench.exact[dialect.name] = not events_differ(made.sent.events, made.got.events)
    return bench.exact[dialect.name]


@CHECKS.row(
    "stream.events",
    STREAMED,
    "the same events, names and order",
    "SDKs build the answer from their order; one lost is a hole in the text",
)
async def events(bench: Bench, dialect: Dialect) -> None:
    made = await same_events(bench, dialect, saying(dialect))
    kind = made.got.head.get("content-type")
    if not kind.startswith("text/event-stream"):
        raise Differs(f"content-type {kind or 'nothing'}")


@CHECKS.row(
    "stream.bytes", STREAMED, "the same stream, byte for byte", "nothing was taken apart, so nothing can be lost"
)
async def same_bytes(bench: Bench, dialect: Dialect) -> None:
    made = await streamed(bench, dialect, saying(dialect))
    unless(bytes_differ(made.sent.body, made.got.body))


@CHECKS.row(
    "stream.live",
    STREAMED,
    "each event as soon as it is there",
    "a stream that is collected first is a long silence, and then a wall of text",
)
async def live(bench: Bench, dialect: Dialect) -> None:
    seen, first = asyncio.Event(), "Said at once. "
    told = bytearray()

    def listen(piece: bytes) -> None:
        told.extend(piece)
        if first.strip().encode() in told:
            seen.set()

    def script(heard: Heard) -> Play:
        made = blocks(saying(dialect, [first, "Said later."])(heard.data))
        later = next(number for number, each in enumerate(made) if b"Said later." in each)
        return stream(made, gate=(later, seen))

    exchange = asyncio.ensure_future(bench.exchange(dialect, script, listen=listen, more=asking(dialect)))
    try:
        await asyncio.wait([exchange, asyncio.ensure_future(seen.wait())], timeout=WAIT, return_when="FIRST_COMPLETED")
        late = not seen.is_set()
        seen.set()
        refuse_other_than_200(await exchange)
    finally:
        exchange.cancel()
    if late:
        raise Differs(f"the first piece was held back for {WAIT:g} s, until the provider said more")


# --- how it is cut -------------------------------------------------------------------------------------------


def every(size: int, first: int = 0) -> Wire:
    """Pieces of *size* bytes, behind one of *first* bytes."""

    def cut(made: Sequence[bytes]) -> list[bytes]:
        raw = b"".join(made)
        starts = [0, *range(first or size, len(raw), size)]
        return [raw[begin:end] for begin, end in zip(starts, [*starts[1:], len(raw)], strict=True)]

    return cut


def at_random(seed: int) -> Wire:
    """Pieces of 1 to 40 bytes, the same ones for each *seed*."""

    def cut(made: Sequence[bytes]) -> list[bytes]:
        raw, dice, pieces, at = b"".join(made), Random(seed), [], 0  # noqa: S311  # a plan of cuts, no secret
        while at < len(raw):
            size = dice.randint(1, 40)
            pieces.append(raw[at : at + size])
            at += size
        return pieces

    return cut


CUTS: tuple[Wire, ...] = (every(1), every(2), every(2, 1), every(3), *(at_random(seed) for seed in range(6)))


@CHECKS.row(
    "stream.cuts",
    STREAMED,
    f"cut into bytes, pairs and at random ({len(CUTS)} ways)",
    "networks cut where they like: within a word, a sign, a line end",
)
async def cuts(bench: Bench, dialect: Dialect) -> None:
    for wire in CUTS:
        await same_answer(bench, dialect, saying(dialect, PIECES[2:5]), wire)


# --- how it is written ---------------------------------------------------------------------------------------


def replaced(old: bytes, new: bytes) -> Wire:
    """Every *old* written as *new*."""
    return lambda made: [each.replace(old, new) for each in made]


def with_comments(made: Sequence[bytes]) -> list[bytes]:
    """Comments between and within events."""
    return [b": keep-alive\n\n:\n" + each for each in made]


def with_fields(made: Sequence[bytes]) -> list[bytes]:
    """Events with the fields that nobody here needs."""
    return [b"id: 7\nretry: 3000\nunknown\n" + each for each in made]


def with_pings(made: Sequence[bytes]) -> list[bytes]:
    """Anthropic's pings between events."""
    ping = block(("ping", {"type": "ping"}))
    return [made[0], *(part for each in made[1:] for part in (ping, each))]


def in_lines(made: Sequence[bytes]) -> list[bytes]:
    """Each event's JSON on several `data` lines, as the rules allow."""
    return [_on_lines(each) for each in made]


def _on_lines(made: bytes) -> bytes:
    before, _, data = made.rstrip(b"\n").rpartition(b"data: ")
    if data == DONE.encode():
        return made
    lines = json.dumps(json.loads(data), indent=0, ensure_ascii=False).split("\n")
    return before + b"".join(b"data: %b\n" % line.encode() for line in lines) + b"\n"


WRITTEN: tuple[tuple[str, str, str, Wire], ...] = (
    ("crlf", "lines that end in CRLF", "the rules allow it, and proxies write it", replaced(b"\n", b"\r\n")),
    ("cr", "lines that end in CR", "the rules allow it", replaced(b"\n", b"\r")),
    ("bom", "a byte order mark at the start", "the rules say to skip it", lambda made: [b"\xef\xbb\xbf", *made]),
    ("tight", "no blank after `data:`", "many servers write it so", replaced(b"data: ", b"data:")),
    ("lines", "JSON on several `data` lines", "readers join them; half an event is no JSON", in_lines),
    ("comments", "comments between and within events", "providers keep a slow stream alive with them", with_comments),
    ("fields", "events with `id`, `retry` and unknown fields", "the rules allow them", with_fields),
    ("open", "no blank line at the end", "what is lost is the end of it", lambda made: [*made[:-1], made[-1].strip()]),
)
"""Name, title, why, and how the bytes are written."""


def _written(name: str, title: str, why: str, wire: Wire) -> None:
    async def run(bench: Bench, dialect: Dialect) -> None:
        await same_answer(bench, dialect, saying(dialect), wire)

    CHECKS.row(f"stream.{name}", STREAMED, title, why)(run)


for _row in WRITTEN:
    _written(*_row)


@CHECKS.row("stream.ping", ("messages",), "pings between events", "SDKs expect them anywhere")
async def pings(bench: Bench, dialect: Dialect) -> None:
    await same_answer(bench, dialect, saying(dialect), with_pings)


@CHECKS.row(
    "stream.u2028",
    STREAMED,
    "U+2028, U+2029 and U+0085 within JSON",
    "libraries that end lines there cut the event in two",
)
async def unusual_line_ends(bench: Bench, dialect: Dialect) -> None:
    await same_answer(bench, dialect, saying(dialect, ["one\u2028two", "\u2029three\u0085four\x0b\x0c."]))


@CHECKS.row(
    "stream.big", STREAMED, "an event of 1 MB", "a file in a tool call's arguments is one; small buffers end the stream"
)
async def big(bench: Bench, dialect: Dialect) -> None:
    await same_answer(bench, dialect, saying(dialect, [BIG]))


@CHECKS.row(
    "stream.unknown",
    TALKING,
    "events of a kind that the gateway cannot know",
    "APIs grow: a new event must not wait for the gateway's next release",
)
async def surprise(bench: Bench, dialect: Dialect) -> None:
    new = dialect.surprise
    assert new is not None, "only asked of dialects that have one"

    def events(asked: Json) -> list[Sent]:
        made = saying(dialect)(asked)
        return [*made[:2], new, *made[2:]]

    made = await streamed(bench, dialect, events)
    if not any(name == new[0] and not difference(exact(new[1]), data) for name, data in made.got.events):
        raise Differs("it is not there")


# --- what is in it -------------------------------------------------------------------------------------------


def fragments(text: str, size: int = 3) -> list[str]:
    """*text* in pieces, cut without regard for escapes."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def tool_definitions(dialect: Dialect) -> list[Json]:
    """The tools that a request offers, as the dialect has them."""
    schema = {"type": "object", "properties": {"path": {"type": "string"}, "q": {"type": "string"}}}
    named = [{"name": f"tool_{index}", "description": "Does something."} for index in range(2)]
    if dialect.name == "messages":
        return [{**tool, "input_schema": schema} for tool in named]
    if dialect.name == "responses":
        return [{"type": "function", **tool, "parameters": schema} for tool in named]
    return [{"type": "function", "function": {**tool, "parameters": schema}} for tool in named]


async def called(bench: Bench, dialect: Dialect, *calls: str) -> None:
    """`Differs` unless the arguments of all *calls* arrive, each at its index."""
    call, read = dialect.tools, dialect.arguments
    assert call is not None, "only asked of dialects that know tools"
    assert read is not None, "only asked of dialects that know tools"

    def events(asked: Json) -> list[Sent]:
        return call(asked, [fragments(each) for each in calls])

    made = await streamed(bench, dialect, events, more={"tools": tool_definitions(dialect)})
    sent = {f"{index} tool_{index}": text for index, text in enumerate(calls)}
    unless(difference(sent, read(made.got.events), "arguments"))
    if not made.got.whole:
        raise Differs("the stream was cut")


@CHECKS.row(
    "stream.arguments",
    TALKING,
    "tool arguments in fragments",
    "cut within escapes, they must still be the JSON that the model wrote",
)
async def arguments(bench: Bench, dialect: Dialect) -> None:
    await called(bench, dialect, ARGUMENTS)


@CHECKS.row(
    "stream.parallel_tools",
    TALKING,
    "parallel tool calls keep their indices",
    "mixed up, one tool is called with the other's arguments",
)
async def parallel_tools(bench: Bench, dialect: Dialect) -> None:
    await called(bench, dialect, ARGUMENTS, SMALL)


@CHECKS.row(
    "stream.thinking",
    ("messages", "responses"),
    "signed and sealed thinking in a stream",
    "the provider refuses the next turn if a sign of it has changed",
)
async def thinking(bench: Bench, dialect: Dialect) -> None:
    think = dialect.thinking
    assert think is not None, "only asked of dialects that think"
    made = await streamed(bench, dialect, think)
    sent, arrived = (sealed([data for _, data in side]) for side in (made.sent.events, made.got.events))
    unless(difference(sent, arrived))


@CHECKS.row(
    "stream.usage",
    STREAMED,
    "usage where it was asked, with cached and reasoning tokens",
    "they have prices of their own: without them every cost is wrong",
)
async def usage(bench: Bench, dialect: Dialect) -> None:
    made = await streamed(bench, dialect, saying(dialect))
    sent, arrived = (usages([data for _, data in side])[-1:] for side in (made.sent.events, made.got.events))
    unless(difference(sent, arrived, "usage", more=True))


@CHECKS.row(
    "stream.usage_unasked",
    ("chat", "completions"),
    "no usage chunk where none was asked",
    "a chunk without choices breaks programs that take choices[0]",
)
async def usage_unasked(bench: Bench, dialect: Dialect) -> None:
    made = await streamed(bench, dialect, saying(dialect), usage=False)
    data = [data for _, data in made.got.events if isinstance(data, dict)]
    if any(each.get("choices") == [] for each in data):
        raise Differs("a chunk without choices, though nobody asked for usage")
    unless("usage, though nobody asked for it" if exact(USAGE) in usages(data) else "")


@CHECKS.row(
    "stream.usage_null",
    ("chat", "completions"),
    'no `"usage":null` where none was asked',
    "it comes of the gateway's own asking, and programs that read usage fall over it",
)
async def usage_null(bench: Bench, dialect: Dialect) -> None:
    made = await streamed(bench, dialect, saying(dialect), usage=False)
    if any(isinstance(data, dict) and "usage" in data for _, data in made.got.events):
        raise Differs('chunks with a "usage" that nobody asked for')


@CHECKS.row(
    "stream.end",
    STREAMED,
    "the end is said exactly once",
    "two ends read as two answers; none leaves the program waiting",
)
async def one_end(bench: Bench, dialect: Dialect) -> None:
    made = await streamed(bench, dialect, saying(dialect))
    events = made.got.events
    ends = [at for at, event in enumerate(events) if dialect.is_end(event)]
    if len(ends) != 1 or not made.got.whole:
        raise Differs(f"{len(ends)} ends, and the body {'ends' if made.got.whole else 'is cut'}")
    unless("".join(f"behind the end: {shown(event[1])}" for event in events[ends[0] + 1 :][:1]))


def texts_of(events: Iterable[tuple[str | None, object]]) -> str:
    """All that *events* hold, as one text to look for words in."""
    return json.dumps([data for _, data in events], default=str)
