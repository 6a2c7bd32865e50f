"""What travels: one exchange from door to door, and the rooms it meets.

Every field names its single writer. There is no bag for the rest: what has no field has no business here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import ClassVar

from membrain.dialects.base import Chunk, Said
from membrain.errors import BadRequest, MembrainError, Refused
from membrain.masking.answer import Answer
from membrain.records import ANONYMOUS, Attempt, Caller, Decision, Finding, Hints, Outcome, Tokens


@dataclass(slots=True)
class Exchange:
    """One request and its answer. Times are seconds of the monotonic clock."""

    id: str
    """Door. Also `x-request-id` and the audit's id."""
    time: str
    """Door. RFC 3339, UTC."""
    path: str
    """Door."""
    said: Said
    """Door."""
    hints: Hints
    """Door. A later room may set `private`, none may unset it."""
    credential: str | None = field(default=None, repr=False)
    """Door. The client key as it was sent."""
    user: str = ""
    """Door. The caller's own label."""
    project: str = ""
    """Door. The project that the caller named; empty if none was. Whose it is counted as, `caller.project` says."""
    same_user: bool | None = None
    """Door. Whether the caller is this machine's user; None where the system cannot tell."""
    forwarded: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Door. The request's headers, from which a provider takes those its upstream knows."""
    query: str = ""
    """Door. What stands behind the path, if it is something that an upstream goes by."""
    began: float = field(default_factory=perf_counter)
    """Door."""

    written: asyncio.Future[None] | None = field(default=None, repr=False)
    """Audit. Done once the intent is committed; whoever sends anything out awaits it."""
    caller: Caller = ANONYMOUS
    """Auth."""
    headers: dict[str, str] = field(default_factory=dict)
    """Any room. Sent with the answer; holds no values."""
    looked: bool = False
    """Pii. Every string was looked at; whoever sends anything out wants to see this."""
    own: Said | None = field(default=None, repr=False)
    """Pii. What was said before masking, for models on this machine; None if they are to get nothing else."""
    findings: tuple[Finding, ...] = ()
    """Pii. Label, place and what became of it; never a value."""
    found: Mapping[str, int] = field(default_factory=dict)
    """Pii. How many findings there were, by label."""
    answer_labels: tuple[str, ...] = ()
    """Pii. What first appeared in the answer."""
    back: Answer | None = field(default=None, repr=False)
    """Pii. Puts the values back on the way out."""
    held: list[Chunk] | None = field(default=None, repr=False)
    """Pii. The answer, while it may not be shown yet."""
    reserved: int | None = None
    """Budget. Micro-dollars that are held for it until it is settled; None if nothing limits what it may cost."""
    priced_out: frozenset[tuple[str, str]] = frozenset()
    """Budget. Provider and model of candidates that may not be asked, since nobody knows what they cost."""
    most_tokens: int | None = None
    """Budget. How long the answer may be, in tokens, where the request does not say; None leaves it as it is."""
    cut: MembrainError | None = field(default=None, repr=False)
    """Budget. Why the answer ends with the chunk at hand, before its time."""
    cached: bool = False
    """Cache. The answer was known."""
    saved_micros: int | None = None
    """Cache. Micro-dollars that the known answer cost when it was made; None if that is not known."""
    decision: Decision | None = None
    """Dispatch, as soon as a room asks for it."""
    attempts: tuple[Attempt, ...] = ()
    """Dispatch."""
    provider: str | None = None
    """Dispatch. Who answered."""
    asked_at: float = 0.0
    """Dispatch. When that provider was asked, in seconds of the monotonic clock."""
    answered_model: str | None = None
    """Dispatch."""
    local: bool = False
    """Dispatch. The answer was made on this machine."""
    tokens: Tokens | None = None
    """Dispatch."""
    cost_micros: int | None = None
    """Dispatch. Micro-dollars; None is unknown, never 0."""
    answer: AsyncGenerator[Chunk, None] | None = field(default=None, repr=False)
    """Dispatch. Set by the room that answers; ends the way in."""

    steps: list[tuple[str, float]] = field(default_factory=list)
    """Pipeline. Room and milliseconds."""
    first: float | None = None
    """Pipeline. Seconds from `began` to the first chunk."""
    outcome: Outcome = Outcome.OPEN
    """Pipeline."""
    error: MembrainError | None = field(default=None, repr=False)
    """Pipeline. Its text may be an upstream's, which may quote what was said."""

    @property
    def stayed(self) -> bool:
        """Whether a model on this machine answered what was really said, with nothing masked."""
        return self.local and self.own is not None

    @property
    def handed_over(self) -> bool:
        """Whether a provider was handed it, or may have been when the caller hung up."""
        in_dispatch = any(room == "dispatch" for room, _ in self.steps)
        return bool(self.attempts) or (in_dispatch and self.outcome is Outcome.ABORTED)

    def fail(self, error: BaseException) -> None:
        """Note how it ended when it did not end well. The first cause counts."""
        if self.outcome is not Outcome.OPEN:
            return
        if isinstance(error, Refused | BadRequest):
            self.outcome, self.error = Outcome.REFUSED, error
        elif isinstance(error, MembrainError):
            self.outcome, self.error = Outcome.FAILED, error
        elif isinstance(error, Exception):
            self.outcome, self.error = Outcome.FAILED, MembrainError("Something broke in the gateway.")
        else:  # a cancelled task or a closed generator: the caller is gone
            self.outcome = Outcome.ABORTED

    def end(self, reason: MembrainError) -> None:
        """Note that we end it ourselves, for *reason*, before its time."""
        if self.outcome is Outcome.OPEN:
            self.outcome, self.error = Outcome.FAILED, reason


class Stage:
    """One room on a request's way. Override what it needs.

    `enter` is called on the way in; it refuses by raising, or answers by setting `exchange.answer`.
    `outgoing` is called for each chunk on the way out; there is no waiting in it, and a chunk left empty is not sent.
    `closing` is called when the last chunk has passed, for what a room has held back.
    `leave` is called once for each room that was entered, whatever happened, last in first out.
    """

    name: ClassVar[str]

    async def enter(self, exchange: Exchange) -> None:
        """In."""

    def outgoing(self, exchange: Exchange, chunk: Chunk) -> Chunk:  # noqa: ARG002  # the default looks at nothing
        """Through."""
        return chunk

    async def closing(self, exchange: Exchange) -> Chunk | None:  # noqa: ARG002  # the default holds nothing back
        """The end."""
        return None

    async def leave(self, exchange: Exchange) -> None:
        """Out."""
