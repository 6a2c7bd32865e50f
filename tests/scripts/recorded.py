"""The recorded event scripts of this folder, and what reads them as the gateway does.

One file for each case, named for what is in it: `NAME.sse` is a stream as the published APIs send it, byte for byte,
and `NAME.json` the same answer whole. All words are invented. What a script is worth (its tokens, how it ends) stands
in the tables here, because it cannot be seen from the outside.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from membrain import sse
from membrain.dialects.base import Chunk, Json, Said
from membrain.dialects.table import DIALECTS
from membrain.egress import Egress
from membrain.errors import ProviderFailed
from membrain.providers import registry
from membrain.providers.http import HttpProvider
from membrain.records import Tokens

HERE: Final = Path(__file__).parent
T = TypeVar("T")

SPEAKERS: Final = ("chat", "completions", "messages", "responses")
"""Dialects that are streamed."""

_OPENAI: Final = Tokens(1206, 17, cached=1152)
_CLAUDE: Final = Tokens(3, 2)

TOKENS: Final[Mapping[str, Tokens | None]] = {
    **dict.fromkeys(
        (f"chat/{name}" for name in ("text", "tools", "parallel_tools", "refusal", "logprobs", "citations", "choices")),
        _OPENAI,
    ),
    "chat/reasoning": Tokens(12, 40, reasoning=31),
    "chat/unknown": Tokens(3, 2),
    "chat/short": Tokens(7, 2),
    "chat/cr": Tokens(7, 2),
    **dict.fromkeys(
        (
            f"chat/{name}"
            for name in (
                "error", "crlf", "mixed_line_ends", "bom", "no_blank_line", "no_done", "multi_line_data", "separators",
            )
        ),
        None,
    ),
    **dict.fromkeys((f"completions/{name}" for name in ("text", "choices", "logprobs")), Tokens(5, 6)),
    **dict.fromkeys((f"completions/{name}" for name in ("short", "error")), None),
    "messages/text": Tokens(25 + 2048 + 512, 17, cached=2048, written=512),
    "messages/tools": Tokens(25, 42),
    "messages/parallel_tools": Tokens(25, 61),
    "messages/thinking": Tokens(25, 88, reasoning=60),
    "messages/redacted_thinking": Tokens(25, 9),
    "messages/refusal": Tokens(25, 4),
    "messages/citations": Tokens(25, 21),
    "messages/server_tools": Tokens(6039, 30),
    "messages/unknown": Tokens(25, 5),
    "messages/separators": Tokens(25, 3),
    "messages/error": Tokens(25, 1),
    **dict.fromkeys(
        (f"messages/{name}" for name in ("short", "crlf", "cr", "bom", "no_blank_line", "names_only")), _CLAUDE
    ),
    "messages/multi_line_data": Tokens(3, 1),
    **dict.fromkeys(
        (
            f"responses/{name}"
            for name in (
                "text", "tools", "parallel_tools", "refusal", "logprobs", "server_tools", "unknown", "incomplete",
                "separators",
            )
        ),
        _OPENAI,
    ),
    "responses/reasoning": Tokens(1206, 80, cached=1152, reasoning=64),
    **dict.fromkeys((f"responses/{name}" for name in ("failed", "error")), None),
    **dict.fromkeys((f"responses/{name}" for name in ("short", "crlf", "cr", "no_blank_line", "names_only")), _CLAUDE),
}  # fmt: skip
"""What each script says was used; for one that ends in an error, what it had said until then."""

ERRORS: Final[Mapping[str, str]] = {
    "chat/error": "The server had an error while processing your request.",
    "completions/error": "Overloaded.",
    "messages/error": "Overloaded",
    "responses/error": "Slow down.",
    "responses/failed": "The model failed to generate a response.",
}
"""What the upstream says in those that fail."""

_ASKED: Final[Mapping[str, Json]] = {"chat/choices": {"n": 2}, "completions/choices": {"prompt": ["a", "b"]}}
_ASKS: Final[Mapping[str, Json]] = {
    "chat": {"messages": [{"role": "user", "content": "Hello"}]},
    "completions": {"prompt": "Hello"},
    "messages": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64},
    "responses": {"input": "Hello"},
}


@dataclass(frozen=True)
class Script:
    """One recorded stream."""

    dialect: str
    name: str

    def __str__(self) -> str:
        return f"{self.dialect}/{self.name}"

    @cached_property
    def raw(self) -> bytes:
        """The stream, as it is sent."""
        return (HERE / f"{self}.sse").read_bytes()

    @cached_property
    def whole(self) -> Json | None:
        """The same answer whole, if it was recorded."""
        path = HERE / f"{self}.json"
        data: Json | None = json.loads(path.read_bytes()) if path.exists() else None
        return data

    @property
    def tokens(self) -> Tokens | None:
        """What it says was used."""
        return TOKENS[str(self)]

    @property
    def error(self) -> str | None:
        """What the upstream says instead of going on."""
        return ERRORS.get(str(self))

    @property
    def is_short(self) -> bool:
        """Whether there is time for every two cuts."""
        return len(self.raw) < 700

    def asked(self, **more: Any) -> Json:
        """A request that it answers."""
        return {"model": "m", **_ASKS[self.dialect], **_ASKED.get(str(self), {}), "stream": True, **more}

    def said(self, **more: Any) -> Said:
        """The same as a door reads it."""
        return DIALECTS[self.dialect].read(json.dumps(self.asked(**more)).encode(), depth=100)


SCRIPTS: Final = [Script(dialect, path.stem) for dialect in SPEAKERS for path in sorted((HERE / dialect).glob("*.sse"))]

WANTED: Final[Mapping[str, Json]] = {
    "chat": {"stream_options": {"include_usage": True}},
    "completions": {"stream_options": {"include_usage": True}},
}
"""What a caller says to see the usage, where it does not come by itself."""


# --- reading


@dataclass
class Heard:
    """All that came of one stream."""

    raw: bytes = b""
    """The bytes that passed on, without the end."""
    end: bytes = b""
    """The terminal event, if it was there in the upstream's own bytes."""
    tokens: Tokens | None = None
    model: str | None = None
    failure: str | None = None
    """What a proper end says why there is no answer."""
    error: str | None = None
    """Why it broke off."""
    pieces: list[bytes] = field(default_factory=list, compare=False)

    @property
    def is_whole(self) -> bool:
        """The stream came to its proper end."""
        return self.error is None

    def take(self, chunk: Chunk) -> None:
        """One more piece."""
        assert not self.end, "nothing comes after the end"
        self.pieces.append(chunk.raw)
        self.end = chunk.raw.lstrip(b"\r\n") if chunk.last else b""
        self.raw += chunk.raw.removesuffix(self.end)  # the LF of a CRLF may come with what follows it
        self.tokens = chunk.tokens or self.tokens
        self.model = self.model or chunk.model
        self.failure = chunk.failure.message if chunk.failure else None


class _Pieces:
    """An upstream's answer that is read in these pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    async def piece(self) -> bytes:
        return next((each for each in self._pieces if each), b"")

    def heard(self) -> None:
        """Nobody counts the seconds here."""

    leave = heard


@cache
def provider_of(dialect: str) -> HttpProvider:
    """Who reads *dialect*. Nothing is ever asked of it."""
    if dialect == "messages":
        return registry.anthropic(Egress(), "sk-ant-canary-0123456789")
    return registry.openai(Egress(), "sk-canary-0123456789")


def drained(given: AsyncGenerator[T, None]) -> Iterator[T]:
    """All that *given* yields, which never waits for anything, without a loop."""
    while True:
        try:
            given.__anext__().send(None)
        except StopIteration as one:
            yield one.value
        except StopAsyncIteration:
            return


def read(said: Said, pieces: Sequence[bytes]) -> Heard:
    """What a provider hands on of a stream that arrives in *pieces*."""
    provider, heard = provider_of(said.dialect), Heard()
    reader = DIALECTS[said.dialect].reader(said, provider.failed)
    try:
        for chunk in drained(provider._events(_Pieces(pieces), reader)):  # type: ignore[arg-type]  # all that is used
            heard.take(chunk)
    except ProviderFailed as failed:
        heard.error = failed.message
    return heard


def split(pieces: Iterable[bytes]) -> tuple[bytes, ...]:
    """How a splitter passes on what it is fed in *pieces*: whole events, and last what is left over."""
    splitter = sse.EventSplitter()
    passed = [raw for piece in pieces if (raw := splitter.feed(piece))]
    return (*passed, splitter.flush())


def one_cut(raw: bytes) -> set[tuple[bytes, ...]]:
    """All that may come out of the splitter if *raw* is read in two pieces, wherever it is cut."""
    return {split((raw[:at], raw[at:])) for at in range(len(raw) + 1)}


def two_cuts(raw: bytes) -> set[tuple[bytes, ...]]:
    """The same for three pieces: every pair of cuts."""
    found: set[tuple[bytes, ...]] = set()
    size = len(raw)
    for at in range(size):
        begun = sse.EventSplitter()
        first = begun.feed(raw[:at])
        for then in range(at + 1, size):
            splitter = sse.EventSplitter()
            splitter._held, splitter._size = (
                [*begun._held],
                begun._size,
            )  # a copy, at a third of the cost of reading anew
            found.add((first, splitter.feed(raw[at:then]), splitter.feed(raw[then:]), splitter.flush()))
    return found


def in_pieces(raw: bytes, size: int) -> list[bytes]:
    """*raw* in pieces of *size* bytes."""
    return [raw[at : at + size] for at in range(0, len(raw), size)]
