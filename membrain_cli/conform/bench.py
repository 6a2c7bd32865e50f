"""One gateway between the client and the fake provider: an exchange is said at one end and looked at from both.

A check asks for exchanges here, and raises `Differs` or `NotApplicable`. Nothing is judged in this room but whether
the gateway asked the fake provider at all, and in which dialect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from membrain_cli.conform import client, http1
from membrain_cli.conform.client import Address, Connection, Got
from membrain_cli.conform.compare import shown
from membrain_cli.conform.dialects import Dialect, Vendor
from membrain_cli.conform.upstream import Heard, Play, Script, Upstream, plain, token

ABSENT = frozenset({404, 405, 501})
"""With these a gateway says that it does not speak a dialect."""
RECOVERY_TRIES = 8
RECOVERY_PAUSE = 1.0
"""How often, and seconds between, a gateway that rests its upstream after a failure is asked again."""


class Differs(Exception):
    """What arrived is not what should have; the text says in a line what arrived instead."""


class NotApplicable(Exception):
    """This gateway cannot be asked this; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """The gateway, and how it wants to be spoken to. `models` are the names that it routes to the fake provider."""

    address: Address
    models: Mapping[Vendor, str]
    key: str = field(default="", repr=False)
    headers: Sequence[http1.Header] = field(default=(), repr=False)
    seconds: float = 10.0

    def cleaned(self, text: str) -> str:
        """*text* without the key, which a gateway may repeat when it refuses it."""
        return text.replace(self.key, "(the key)") if self.key else text

    def headers_for(self, dialect: Dialect) -> list[http1.Header]:
        """What every request of *dialect* says."""
        anthropic = dialect.vendor == "anthropic"
        spoken = [("host", self.address.host_header), ("content-type", "application/json"), ("accept", "*/*")]
        if anthropic:
            spoken.append(("anthropic-version", "2023-06-01"))
        if self.key:
            spoken.append(("x-api-key", self.key) if anthropic else ("authorization", f"Bearer {self.key}"))
        return [*spoken, *self.headers]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, ready to be said, under the number that its text names."""

    number: int
    body: bytes = field(repr=False)
    request: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer, seen from both ends."""

    asked: Asked
    got: Got
    heard: Sequence[Heard]

    @property
    def last(self) -> Heard:
        """The request as the fake provider received it; the last one if there were several."""
        return self.heard[-1]

    @property
    def sent(self) -> Play:
        """What the fake provider answered."""
        assert self.last.played is not None
        return self.last.played


Write = Callable[[str, str], bytes]
"""Makes a request's body of a model's name and a text."""


class Bench:
    """Makes exchanges with *target*, behind which *upstream* listens."""

    def __init__(self, target: Target, upstream: Upstream) -> None:
        self.target = target
        self.upstream = upstream
        self.exact: dict[str, bool] = {}
        """Dialects of which an ordinary stream was asked, and whether its events arrived as they were sent."""
        self._numbers = count(1)
        self._spoken: dict[str, Exception | None] = {}

    def prepare(
        self,
        dialect: Dialect,
        script: Script = plain,
        *,
        more: Mapping[str, Any] = {},
        write: Write | None = None,
        query: str = "",
        headers: Sequence[http1.Header] = (),
    ) -> Asked:
        """A request that *script* will answer. *more* are members of its body; *write* makes another body."""
        number = next(self._numbers)
        self.upstream.scripts[number] = script
        model, text = self.target.models[dialect.vendor], f"Please say {token(number)} back."
        body = write(model, text) if write is not None else dialect.body(model, text, more)
        target = f"{self.target.address.prefix}{dialect.path}{f'?{query}' if query else ''}"
        spoken = [*self.target.headers_for(dialect), *headers]
        return Asked(number, body, http1.request("POST", target, spoken, body))

    async def exchange(
        self, dialect: Dialect, script: Script = plain, *, listen: http1.Listener | None = None, **how: Any
    ) -> Exchange:
        """Say a request and read its answer. `Differs` if the fake provider was not asked, or nobody answered."""
        asked = self.prepare(dialect, script, **how)
        made = Exchange(asked, await self.say(asked, listen), self.heard(asked))
        self._reached(dialect, made)
        return made

    async def say(self, asked: Asked, listen: http1.Listener | None = None) -> Got:
        """Say *asked* on a connection of its own."""
        try:
            return await client.ask(self.target.address, asked.request, self.target.seconds, listen)
        except client.Silent as error:
            raise Differs(str(error)) from None

    def heard(self, asked: Asked) -> list[Heard]:
        """What the fake provider heard of *asked* until now."""
        return self.upstream.heard.get(asked.number, [])

    async def until_heard(self, asked: Asked) -> Heard:
        """Wait until the fake provider was asked."""
        for _ in range(int(self.target.seconds * 100)):
            if heard := self.heard(asked):
                return heard[-1]
            await asyncio.sleep(0.01)
        raise Differs("the upstream was not asked")

    async def connect(self) -> Connection:
        """A connection to the gateway."""
        return await Connection.open(self.target.address)

    def _reached(self, dialect: Dialect, made: Exchange) -> None:
        if not made.heard:
            why = f"{made.got.status} at {dialect.path}, and the upstream was not asked: {shown(made.got.data)}"
            raise NotApplicable(why) if made.got.status in ABSENT else Differs(why)
        if made.last.dialect is not dialect:
            raise NotApplicable(f"asked the upstream at {made.last.path} instead")

    async def speaks(self, dialect: Dialect) -> None:
        """Raise if the gateway does not hand *dialect* on as such. It is asked once."""
        if dialect.name not in self._spoken:
            self._spoken[dialect.name] = await _raised(self.exchange(dialect))
        if (error := self._spoken[dialect.name]) is not None:
            raise error

    async def recovered(self, dialect: Dialect) -> None:
        """Wait until an ordinary request is answered: after a failure some gateways rest an upstream for a while."""
        for _ in range(RECOVERY_TRIES):
            error = await _raised(self._ordinary(dialect))
            if error is None:
                return
            await asyncio.sleep(RECOVERY_PAUSE)
        raise NotApplicable("after the failures before, the upstream is not asked any more")

    async def _ordinary(self, dialect: Dialect) -> None:
        made = await self.exchange(dialect)
        if made.got.status != 200:
            raise Differs(f"{made.got.status}")


async def _raised(asking: Awaitable[object]) -> Exception | None:
    """What *asking* raises of `Differs` and `NotApplicable`."""
    try:
        await asking
    except (Differs, NotApplicable) as error:
        return error
    return None
