"""Cache: gives an answer again where the same was asked before.

In: a request that may be answered so is looked up; if it is known, the answer comes from here. If the same is being
    asked right now, it waits for that answer instead of asking again.
Through: an answer that might be kept is written down as it passes, with placeholders: this room stands between
    masking and restoring, so values are neither in what it keeps nor in what it looks up.
Out: what came whole, to its own end, from elsewhere and without anything private in it, is kept.

It is no control. Whoever may not be answered from here, or whatever goes wrong here, is answered anew.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, ClassVar

import msgspec

from membrain.dialects import replay
from membrain.dialects.base import Chunk, Said
from membrain.dialects.chat import wants_usage
from membrain.dialects.splice import member_spans
from membrain.dialects.strings import strings_of
from membrain.errors import AuditUnavailable, MembrainError
from membrain.exchange import Exchange, Stage
from membrain.pii.policy import Mode
from membrain.providers.base import FORWARDED
from membrain.records import Outcome
from membrain.stores.base import Answers, AnswersHeld, KeptAnswer

log = logging.getLogger("membrain.cache")

HEADER = "x-membrain-cache"
MEMBER = "cache"
"""What a request may say in its body. It is ours, so it never leaves."""

AGAIN = "again"

OFF, HIT, MISS = "off", "hit", "miss"
"""What the answer's header says: not looked at, from here, asked anew."""

UNTOLD = frozenset({
    "stream", "stream_options", "cache", "user", "safety_identifier", "metadata", "prompt_cache_key",
    "prompt_cache_retention",
})  # fmt: skip
"""Members that say how an answer is handed over, on whose behalf it is asked or where it is filed: not what it is."""

TOOLS = ("tools", "functions", "web_search_options")
"""Members by which something is done, or looked up, that may be another thing the next time."""

_STEERING = tuple(sorted({*FORWARDED["chat"], "x-membrain-knowledge"} - {"idempotency-key"}))
"""Headers that may make a difference to the answer."""

_YES = frozenset({"on", "true", "1", "yes"})
_MASKED = Mode.REDACT.value
_MOST_FINDINGS = 50
"""As many kinds of findings an exchange notes; where there may be more, nobody knows what became of them."""

_STREAM_ROOM = 8
"""How many times as long the events of a stream may be as the answer that they tell."""
_ASIDE = 64 << 10
"""Answers of more bytes are put together beside the event loop."""
_EVENTS_AT_ONCE = 16
_SWEEP_SECONDS = 3600.0

_NAMES = frozenset({"id", "object", "model", "role", "type", "finish_reason", "system_fingerprint", "service_tier"})
"""Members of an answer in which nothing is said; some look like keys."""

_encode = msgspec.json.Encoder(order="deterministic").encode
_plainly = msgspec.json.encode

Private = Callable[[str, Sequence[str]], Awaitable[bool]]
"""Whether any of these texts, in an answer to this project, is private. Whatever it raises means that nobody knows."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is kept, for how long, and how much of it."""

    mode: str = "deterministic"
    """Which requests may be answered from here: none (`off`), those with a temperature of 0 or that ask for it
    (`deterministic`), or all (`on`)."""
    total_bytes: int = 64 << 20
    answer_bytes: int = 512 << 10
    seconds: float = 86_400


@dataclass(frozen=True, slots=True)
class Wish:
    """What one request says about being answered from here."""

    asked: bool = False
    """It asked for it."""
    off: bool = False
    """It does not want it, neither now nor for later."""
    max_age: float | None = None
    """Seconds that the answer may be old; 0 is a new one, to be kept."""


class _Flight:
    """An answer that is being made, and those who wait for it.

    Its future tells them the answer; None if each has to ask, and `AGAIN` if one of them should, since who asked for
    all of them has hung up.
    """

    __slots__ = ("future",)

    def __init__(self) -> None:
        self.future: asyncio.Future[KeptAnswer | str | None] = asyncio.get_running_loop().create_future()

    def tell(self, answer: KeptAnswer | str | None) -> None:
        """Let those who wait go on. The first word counts."""
        if not self.future.done():
            self.future.set_result(answer)


@dataclass(slots=True)
class _Making:
    """An answer on its way out that may be kept."""

    key: bytes = field(repr=False)
    flight: _Flight | None
    """None if nobody waits for it."""
    room: int
    """Bytes that may still come."""
    raw: list[bytes] = field(default_factory=list, repr=False)
    lost: bool = False
    """It will not be kept."""


class Cache(Stage):
    """Answers what was asked before, and remembers what it may."""

    name: ClassVar[str] = "cache"

    def __init__(
        self,
        answers: Answers,
        key: bytes,
        version: Callable[[str], str],
        private: Private,
        keeping: Keeping | None = None,
        *,
        wall: Callable[[], float] = time.time,
        patience: float = 300.0,
    ) -> None:
        """*key* (32 bytes) hides what was asked; *version* says by which policy a project is served now, and what else
        decides about its answers; *wall* gives Unix time, and nobody waits for another's answer beyond *patience*,
        in seconds."""
        self._answers = answers
        self._key = key
        self._version = version
        self._private = private
        self._keeping = keeping or Keeping()
        self._wall = wall
        self._patience = patience
        self._flights: dict[bytes, _Flight] = {}
        self._making: dict[str, _Making] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._faulty = False
        self._swept: float | None = None
        self.hits = 0
        """Answers given from here since the start."""
        self.misses = 0
        """Requests since the start that might have been answered from here."""

    def become(self, keeping: Keeping) -> None:
        """Go by *keeping* from the next request on."""
        self._keeping = keeping

    async def clear(self, project: str | None = None) -> int:
        """Forget a project's answers, or all. How many there were."""
        return await self._answers.clear(project)

    async def stats(self) -> dict[str, Any]:
        """How much is kept, and how often it was of use since the start."""
        held: AnswersHeld = await self._answers.held()
        return {**held.to_dict(), "hits": self.hits, "misses": self.misses}

    async def close(self) -> None:
        """Keep what is about to be kept. To be called before the store is closed."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def enter(self, exchange: Exchange) -> None:
        exchange.headers[HEADER] = OFF
        wish = wish_of(exchange.forwarded, exchange.said.data.get(MEMBER))
        _take_out(exchange)
        if not may_know(exchange, wish, self._keeping.mode):
            return
        version = self._version(exchange.caller.project)
        if (key := key_of(self._key, exchange, version)) is None:
            return
        self._sweep()
        answer = await self._known(exchange, key, wish)
        if answer is None:
            exchange.headers[HEADER] = MISS
            self.misses += 1
        else:
            await self._give(exchange, key, answer)

    def outgoing(self, exchange: Exchange, chunk: Chunk) -> Chunk:
        making = self._making.get(exchange.id)
        if making is not None and not making.lost:
            making.room -= len(chunk.raw)
            if exchange.local or making.room < 0:
                making.lost, making.raw = True, []
                self._land(making, None)
            else:
                making.raw.append(chunk.raw)
        return chunk

    async def leave(self, exchange: Exchange) -> None:
        making = self._making.pop(exchange.id, None)
        if making is None:
            return
        if exchange.outcome is Outcome.ANSWERED and not making.lost:
            self._later(self._keep(making, exchange, self._keeping))
        else:
            self._land(making, AGAIN if exchange.outcome is Outcome.ABORTED else None)

    # Who is asked, and who waits

    async def _known(self, exchange: Exchange, key: bytes, wish: Wish) -> KeptAnswer | None:
        """The answer, kept or just made for somebody else; None if this exchange has to ask, which is then noted."""
        if wish.max_age == 0:
            self._make(exchange, key, flight=False)
            return None
        since = self._wall() - min(self._keeping.seconds, wish.max_age or self._keeping.seconds)
        told: KeptAnswer | str | None = AGAIN
        while told is AGAIN:
            flight = self._flights.get(key)
            if flight is None:
                return await self._looked_up(self._make(exchange, key, flight=True), exchange, since)
            told = await self._waited(flight)
        if isinstance(told, KeptAnswer) and told.at >= since:
            return told
        self._make(exchange, key, flight=False)
        return None

    async def _waited(self, flight: _Flight) -> KeptAnswer | str | None:
        """What comes of *flight*. Who hangs up meanwhile, or loses patience, leaves no trace in it."""
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.shield(flight.future)
        except TimeoutError:
            return None

    async def _looked_up(self, making: _Making, exchange: Exchange, since: float) -> KeptAnswer | None:
        """What is kept; those who ask the same meanwhile wait for that, too."""
        try:
            answer = await self._answers.get(making.key, since)
        except MembrainError as fault:
            self._fault(fault)
            return None
        if answer is not None and not _tellable(answer):
            answer = None
        if answer is not None:
            del self._making[exchange.id]
            self._land(making, answer)
        return answer

    def _make(self, exchange: Exchange, key: bytes, *, flight: bool) -> _Making:
        """Note that this exchange asks; with a *flight*, others who ask the same wait for it."""
        room = self._keeping.answer_bytes * (_STREAM_ROOM if exchange.said.stream else 1)
        making = self._making[exchange.id] = _Making(key, _Flight() if flight else None, room)
        if making.flight is not None:
            self._flights[key] = making.flight
        return making

    def _land(self, making: _Making, answer: KeptAnswer | str | None) -> None:
        """Let those who wait go on; whoever asks from now on does not wait."""
        flight = making.flight
        if flight is not None:
            flight.tell(answer)
            if self._flights.get(making.key) is flight:
                del self._flights[making.key]

    # What was known

    async def _give(self, exchange: Exchange, key: bytes, answer: KeptAnswer) -> None:
        """Answer *exchange* with what is known. Like any answer, none before it is on record that it was asked."""
        if exchange.written is None:
            raise AuditUnavailable("The audit was not asked, so nothing is answered.")
        await exchange.written
        self.hits += 1
        self._answers.use(key, answer, self._wall())
        exchange.headers[HEADER] = HIT
        exchange.cached = True
        exchange.saved_micros = answer.cost_micros
        exchange.cost_micros = 0
        exchange.answered_model = answer.model or None
        exchange.tokens = None if answer.tokens is None else replace(answer.tokens, cost_micros=0)
        exchange.answer = _told(exchange.said, answer)

    # What is kept

    async def _keep(self, making: _Making, exchange: Exchange, keeping: Keeping) -> None:
        """Keep the answer if it is fit to be kept; those who wait for it have it before."""
        try:
            answer = await self._made(making, exchange)
            if answer is None or len(answer.body) > keeping.answer_bytes:
                return
            if making.flight is not None:
                making.flight.tell(answer)  # those who come until it is kept find it here
            since = self._wall() - keeping.seconds
            await self._answers.keep(making.key, answer, room=keeping.total_bytes, since=since)
            self._faulty = False
        except MembrainError as fault:
            self._fault(fault)
        except Exception as error:  # noqa: BLE001  # nobody waits for this task; what it says may quote the answer
            log.error("An answer could not be kept: %s.", type(error).__name__)
        finally:
            self._land(making, None)

    async def _made(self, making: _Making, exchange: Exchange) -> KeptAnswer | None:
        """The answer as it would be kept; None if it broke off, makes no sense, or holds something private."""
        raw, said, tokens = b"".join(making.raw), exchange.said, exchange.tokens
        usage = replay.usage_of(tokens) if tokens is not None and not tokens.estimated else None
        # An answer that ends where our own limit was is not what the question alone would get.
        reasons = replay.FINISHED if exchange.most_tokens is None else replay.FINISHED - {"length"}
        given = (raw, said.stream, _choices_of(said), reasons, usage)
        body = await asyncio.to_thread(_fit, *given) if len(raw) > _ASIDE else _fit(*given)
        if body is None or await self._private(exchange.caller.project, list(_texts(body))) or exchange.answer_labels:
            return None
        now, model = self._wall(), exchange.answered_model or ""
        project, cost = exchange.caller.project, exchange.cost_micros
        return KeptAnswer(project, body, now, now, said.stream, model, tokens, cost)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do *work* while the answer's end goes out."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _sweep(self) -> None:
        """Once in a while, remove what is too old to be given again."""
        now = self._wall()
        if self._swept is None or not 0 <= now - self._swept < _SWEEP_SECONDS:
            self._swept = now
            self._answers.expire(now - self._keeping.seconds)

    def _fault(self, fault: MembrainError) -> None:
        """Note that nothing can be kept or found; once, until it can again."""
        if not self._faulty:
            self._faulty = True
            log.warning("%s Requests are answered anew meanwhile.", fault.message)


# What a request says


def wish_of(headers: Mapping[str, str], member: Any) -> Wish:
    """What *headers* and the body's *member* say. What cannot be read is a no; so is one no among several words."""
    words = [header.strip().lower() in _YES] if (header := headers.get(HEADER)) is not None else []
    words += [member] if isinstance(member, bool) else []
    control = _directives(headers.get("cache-control", ""))
    ages = [0.0] if "no-cache" in control else []
    if "max-age" in control:
        ages.append(float(control["max-age"]) if control["max-age"].isdecimal() else 0.0)
    return Wish(
        asked=True in words,
        off=False in words or "no-store" in control,
        max_age=min(ages, default=None),
    )


def _directives(control: str) -> dict[str, str]:
    """The directives of a Cache-Control header."""
    parts = (part.partition("=") for part in control.lower().split(","))
    return {name.strip(): value.strip().strip('"') for name, _, value in parts}


def _deterministic(data: Mapping[str, Any]) -> bool:
    temperature = data.get("temperature")
    return type(temperature) in {int, float} and temperature == 0


WANTED: dict[str, Callable[[Exchange, Wish], bool]] = {
    "off": lambda _exchange, _wish: False,
    "deterministic": lambda exchange, wish: wish.asked or _deterministic(exchange.said.data),
    "on": lambda _exchange, _wish: True,
}
"""By mode, which requests may be answered from here if nothing speaks against it."""

AGAINST: dict[str, Callable[[Exchange, Wish], bool]] = {
    "it was said so": lambda _exchange, wish: wish.off,
    "it is private": lambda exchange, _wish: exchange.hints.private,
    "it was not looked at": lambda exchange, _wish: not exchange.looked,
    "it cannot be told again": lambda exchange, _wish: exchange.said.dialect != "chat",
    "something is done": lambda exchange, wish: not wish.asked and any(exchange.said.data.get(n) for n in TOOLS),
    "it holds a value": lambda exchange, _wish: _holds_values(exchange),
}
"""What speaks against it."""


def may_know(exchange: Exchange, wish: Wish, mode: str) -> bool:
    """Whether *exchange* may be answered from here, and its answer kept."""
    return WANTED[mode](exchange, wish) and not any(against(exchange, wish) for against in AGAINST.values())


def _holds_values(exchange: Exchange) -> bool:
    """Whether something was found that did not simply leave as its placeholder, or may not have."""
    found = exchange.findings
    return len(found) >= _MOST_FINDINGS or any(finding.action != _MASKED for finding in found)


def _take_out(exchange: Exchange) -> None:
    """Take our own word out of what leaves; no provider knows it."""
    if _has_word(exchange.said):
        exchange.said = _without(exchange.said)
    if exchange.own is not None and _has_word(exchange.own):
        exchange.own = _without(exchange.own)


def _has_word(said: Said) -> bool:
    """Whether the member is there and ours: who gives it any other kind of value means another's."""
    return MEMBER in said.data and isinstance(said.data[MEMBER], bool | None)


def _without(said: Said) -> Said:
    """*said* less the member, cut out of its bytes; all of them, if it is there more than once."""
    body = said.body
    while (span := member_spans(body).get(MEMBER)) is not None:
        # Before the value stands its name, which has no quote in it however it is spelt.
        start = body.rindex(b'"', 0, body.rindex(b'"', 0, span[0]))
        before, after = body[:start].rstrip(), body[span[1] :].lstrip()
        body = before + after[1:].lstrip() if after.startswith(b",") else before.removesuffix(b",") + after
    return replace(said, body=body, data={name: value for name, value in said.data.items() if name != MEMBER})


def key_of(key: bytes, exchange: Exchange, version: str) -> bytes | None:
    """What tells this question from all others, keyed so that nobody can try out what was asked.

    None if the body spells a member twice: which of the two a provider goes by, nobody knows.
    """
    data, hints, caller = exchange.said.data, exchange.hints, exchange.caller
    asked = _encode({name: value for name, value in data.items() if name not in UNTOLD})
    untold = _encode({name: value for name, value in data.items() if name in UNTOLD})
    if _quotes(asked) + _quotes(untold) != _quotes(exchange.said.body):
        return None
    headers = [exchange.forwarded.get(name) for name in _STEERING]
    route = [hints.tier, hints.private, hints.max_cost, sorted(caller.rights.models)]
    around = _encode([caller.project, version, exchange.said.dialect, route, headers])
    return hmac.digest(key, len(around).to_bytes(8) + around + asked, sha256)


def _quotes(body: bytes) -> int:
    """How many quotes *body* has, but for those right behind a backslash.

    Every string has one or two. No way to spell the same strings has fewer than our own, which escapes as little as
    it can, so a body with a string more than ours has a greater count, however either is spelt.
    """
    behind = body.count(b'\\"') if b"\\" in body else 0  # two bytes take five times as long to look for as one
    return body.count(b'"') - behind


# What an answer is


def _choices_of(said: Said) -> int:
    number = said.data.get("n")
    return number if type(number) is int and number > 0 else 1


def _fit(raw: bytes, stream: bool, choices: int, reasons: frozenset[str], usage: dict[str, Any] | None) -> bytes | None:
    """The answer *raw* as a whole, fit to be given again; None if it is not."""
    try:
        completion = replay.whole(raw) if stream else replay.read(raw)
    except ValueError:
        return None
    if not replay.finished(completion, choices, reasons):
        return None
    if not stream:
        return raw
    if usage is not None and completion.get("usage") is None:
        completion["usage"] = usage  # it was told, but not to who asked
    return _plainly(completion)


def _texts(body: bytes) -> Iterator[str]:
    """Whatever is said in *body*, the names of members too; tokens are what the text beside them is."""
    seen: set[str] = set()
    for leaf in strings_of(body):
        if not leaf.is_key and leaf.place in _NAMES:
            continue
        text = leaf.text
        if text and text not in seen and not (leaf.place == "token" and "logprobs" in leaf.path):
            seen.add(text)
            yield text


def _tellable(answer: KeptAnswer) -> bool:
    """Whether what is kept is what was: a file can be damaged where nobody notices."""
    try:
        replay.read(answer.body)
    except ValueError:
        return False
    return True


async def _told(said: Said, answer: KeptAnswer) -> AsyncGenerator[Chunk, None]:
    """*answer* in the way it was asked for now."""
    if not said.stream:
        yield Chunk(answer.body, whole=True)
        return
    some: list[bytes] = []
    for event in replay.events(replay.read(answer.body), usage=wants_usage(said)):
        some.append(event)
        if len(some) >= _EVENTS_AT_ONCE:
            yield Chunk(b"".join(some))
            some = []
            await asyncio.sleep(0)  # a long answer must not keep the others waiting
    if some:
        yield Chunk(b"".join(some))
