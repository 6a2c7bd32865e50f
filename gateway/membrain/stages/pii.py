"""Pii: looks for what is private, on both ways.

In: every string of the request is looked at. What the policy masks leaves as its placeholder, spliced into the caller's
    own bytes; what it blocks is refused; what it wants confirmed waits for a person; what may only stay here makes
    the request private.
Through: the values are put back wherever the model used their placeholders.
Out: what first appeared in the answer is put on record, unless the policy masked or blocked it before.

What a provider signed is remembered as it passes, and passes when it comes back. What was masked for a response that a
provider stores is kept in memory, and lent to the exchanges that go on from it.

Whatever goes wrong here refuses the request: nothing leaves that was not looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from time import monotonic
from typing import Any, ClassVar, TypeVar

from membrain.dialects.base import Chunk, Said
from membrain.errors import MembrainError, PiiBlocked
from membrain.exchange import Exchange, Stage
from membrain.holds import MOST_AROUND, MOST_TAIL, Context, Hold, Holds, Verdict, patience, refusal
from membrain.masking.answer import Answer, rewritten, wants_json
from membrain.masking.guard import Detects, Guard
from membrain.masking.kept import Kept, Memory
from membrain.masking.request import Found, Request, reread
from membrain.masking.signed import Signed
from membrain.pii.kinds import Span
from membrain.pii.policy import MASKED, Mode, Policy
from membrain.pii.scan import DetectionFailed
from membrain.pii.vault import Vault
from membrain.providers.base import FORWARDED
from membrain.records import Finding
from membrain.sent import Sent

log = logging.getLogger("membrain.pii")

T = TypeVar("T")

_HEADERS = frozenset(name for names in FORWARDED.values() for name in names)

_REDACTED = "x-membrain-redacted"

POLICY = "See the policy: membrain config get pii.rules"
"""What to do about a request that is refused for what it holds."""

_MOST_NAMES = 4096
_WITHHELD = "(withheld)"
_REFUSED = MASKED | {Mode.BLOCK}
"""What would have to be masked or refused, where it stands in a place that cannot be masked."""

_MOST_FINDINGS = 50
_UNSEEN = "UNSCANNED"
"""Label of an answer that could not be looked at after it was given."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be done about a request: labels and counts, never values."""

    masked: Mapping[str, int] = field(default_factory=dict)
    blocked: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    private: bool = False
    """Whether only models on this machine might answer."""


class Pii(Stage):
    """Masks on the way in, restores on the way out."""

    name: ClassVar[str] = "pii"

    def __init__(self, holds: Holds, sent: Sent, kept: Kept | None = None) -> None:
        self._guard: Guard | None = None
        self._coming: asyncio.Future[Guard] | None = None
        self._holds = holds
        self._sent = sent
        self._kept = Kept() if kept is None else kept
        self._signed = Signed()
        self._clean: dict[str, str] = {}

    def become(self, guard: Guard) -> None:
        """Go by *guard* from the next request on."""
        self._guard = guard

    def expect(self, guard: asyncio.Future[Guard]) -> None:
        """Go by what *guard* comes to; until then requests wait. If it fails, nothing is sent."""
        self._coming = guard

    async def ready(self) -> Guard:
        """What is gone by, once it is there; `DetectionFailed` if it never will be."""
        if self._guard is None:
            with _failing_closed():
                if self._coming is None:
                    raise DetectionFailed("Masking is not ready, so nothing was sent.")
                self._guard = await asyncio.shield(self._coming)
        return self._guard

    @property
    def guard(self) -> Guard:
        """What is gone by, for exchanges that were let in."""
        assert self._guard is not None
        return self._guard

    def clean(self, name: str) -> str:
        """*name*, which a caller gave to something, as it may be put on record: not if it is a private value."""
        if self._guard is None:
            return _WITHHELD  # only until the outcome is written
        known = self._clean.get(name)
        if known is None:
            if len(self._clean) >= _MOST_NAMES:
                self._clean.clear()
            known = self._clean[name] = _WITHHELD if self._is_private(name) else name
        return known

    def _is_private(self, text: str) -> bool:
        try:
            return bool(self.guard.detector.scan_by_rule(text))
        except DetectionFailed:
            return True

    async def enter(self, exchange: Exchange) -> None:
        guard = self._guard or await self.ready()
        policy = guard.policies.of(exchange.caller.project)
        with _failing_closed():
            request = Request(exchange.said.body, exchange.said.data, guard.pieces)
            await self._look(request, guard)
            found = self._judged(request, policy, exchange.caller.project)
        _note(exchange, found)
        self._obey(exchange, found)
        self._check_headers(exchange, policy, guard)
        with _failing_closed():
            self._mask(exchange, request, policy, guard)
        await self._confirm(exchange, found)
        exchange.looked = True

    async def is_private(self, project: str, texts: Iterable[str]) -> bool:
        """Whether the policy of *project* minds anything in *texts*. Any error means that nobody knows."""
        guard = self._guard or await self.ready()
        policy = guard.policies.of(project)
        found = await _scanned(texts, guard)
        return any(policy.mode(span) is not Mode.PASS for spans in found.values() for span in spans)

    async def preview(self, said: Said, project: str) -> Preview:
        """What would be done about *said*, if somebody of *project* asked it; nothing is done."""
        guard = self._guard or await self.ready()
        with _failing_closed():
            request = Request(said.body, said.data, guard.pieces)
            await self._look(request, guard)
            found = self._judged(request, guard.policies.of(project), project)
        return Preview(
            Counter(span.label for _, span, mode in found if mode in MASKED),
            tuple(sorted(_labels(found, Mode.BLOCK))),
            tuple(sorted(_labels(found, Mode.CONFIRM))),
            any(mode is Mode.LOCAL for _, _, mode in found),
        )

    def outgoing(self, exchange: Exchange, chunk: Chunk) -> Chunk:
        back = exchange.back
        if exchange.stayed:
            exchange.headers[_REDACTED] = "0"
            return chunk
        if back is None:
            return chunk
        if exchange.held is not None:
            exchange.held.append(chunk)
            return Chunk(b"", tokens=chunk.tokens, model=chunk.model)
        chunk.raw = back.whole(chunk.raw) if chunk.whole else back.events(chunk.raw)
        if back.id is not None:
            self._keep(exchange, back)
        return chunk

    async def closing(self, exchange: Exchange) -> Chunk | None:
        if exchange.back is None or exchange.stayed:
            return None
        if exchange.held is not None:
            return await self._released(exchange, exchange.held, exchange.back)
        return Chunk(exchange.back.rest())

    async def leave(self, exchange: Exchange) -> None:
        if exchange.handed_over:
            self._sent.keep(exchange.id, exchange.said.body)
        back = exchange.back
        if exchange.stayed:
            exchange.findings = tuple(_kept_here(finding) for finding in exchange.findings)
            return
        if back is None:
            return
        withheld = [Finding(label, "answer", "withheld") for label in back.withheld]
        exchange.findings = (*exchange.findings, *withheld)
        texts = list(dict.fromkeys(back.texts.values()))
        if not texts:
            return
        policy = self.guard.policies.of(exchange.caller.project)
        try:
            spans = await _by_rule(texts, self.guard)
        except DetectionFailed:
            exchange.answer_labels = (_UNSEEN,)
            return
        labels = {span.label for span in spans if policy.mode(span) is not Mode.PASS}
        exchange.answer_labels = tuple(sorted({*labels, *exchange.answer_labels}))

    async def _look(self, request: Request, guard: Guard) -> None:
        found = await _scanned(request.texts(), guard)

        def scan(text: str) -> Sequence[Span]:
            spans = found.get(text)
            return guard.detector.scan(text) if spans is None else spans

        request.look(scan)

    def _judged(self, request: Request, policy: Policy, project: str) -> _Judged:
        """Every finding that matters, and what is to be done; a place that cannot be masked has to be refused.

        What passed through here in an answer, signed, was written by a model that had seen placeholders only.
        """
        found: _Judged = []
        for place in request.found():
            is_known = bool(place.signed) and self._signed.knows(project, place.signed)
            for span in place.spans:
                mode = policy.mode(span)
                if mode is not Mode.PASS:
                    refused = Mode.BLOCK if place.fixed and mode in MASKED else mode
                    found.append((place, span, Mode.LOG if is_known else refused))
        return found

    def _obey(self, exchange: Exchange, found: _Judged) -> None:
        """Do what the modes say that need no waiting; raises if that is to refuse."""
        modes = {mode for _, _, mode in found}
        if Mode.ALERT in modes:
            log.warning("exchange %s holds %s", exchange.id, ", ".join(sorted(_labels(found, Mode.ALERT))))
        if Mode.BLOCK in modes:
            raise _blocked(found)
        if Mode.LOCAL in modes:
            exchange.hints = replace(exchange.hints, private=True)

    def _check_headers(self, exchange: Exchange, policy: Policy, guard: Guard) -> None:
        """Refuse what stands in a header that a provider would be handed."""
        for name in _HEADERS & exchange.forwarded.keys():
            value = exchange.forwarded[name]
            with _failing_closed():
                private = any(policy.mode(span) in _REFUSED for span in guard.detector.scan_by_rule(value))
            if private:
                raise PiiBlocked(f"The header {name} holds a private value, and headers cannot be masked.")

    async def _confirm(self, exchange: Exchange, found: _Judged) -> None:
        """Wait for a person where the policy wants one; raises what the caller is told if that was no yes."""
        asked = [each for each in found if each[2] is Mode.CONFIRM and not self._approved(exchange, each[1])]
        if not asked:
            return
        seconds = patience(self.guard.hold_seconds, stream=exchange.said.stream, headers=exchange.forwarded)
        verdict = await self._holds.wait(_hold(exchange, asked), seconds)
        if verdict is not Verdict.APPROVED:
            raise refusal(verdict)

    def _approved(self, exchange: Exchange, span: Span) -> bool:
        return self._holds.is_approved(exchange.caller.project, span.label)

    def _mask(self, exchange: Exchange, request: Request, policy: Policy, guard: Guard) -> None:
        """Replace what has to be, and get ready for the answer."""
        project, dialect = exchange.caller.project, exchange.said.dialect
        vault, lent = Vault(guard.key, project), self._lend(exchange)
        for memory in lent:
            vault.adopt(memory.vault)
        masked = request.mask(vault, policy.masks, partial(self._signed.knows, project))
        if masked.left:
            raise _blocked([(place, span, Mode.BLOCK) for place in masked.left for span in place.spans])
        if masked.body is not exchange.said.body:
            exchange.own = None if guard.mask_local else exchange.said
            exchange.said = replace(exchange.said, body=masked.body, data=reread(masked.body))
        exchange.headers[_REDACTED] = str(masked.masked)
        consents = guard.url_tools
        exchange.back = Answer(
            vault,
            masked.origins.union(*(memory.origins for memory in lent)),
            lambda tool: any(fnmatchcase(tool, each) for each in consents),
            dialect=dialect,
            gather=guard.answers == "flag",
            structured=wants_json(exchange.said.data),
            signed=partial(self._signed.note, project),
        )
        exchange.held = [] if guard.answers in {"redact", "block"} else None

    def _lend(self, exchange: Exchange) -> list[Memory]:
        """What was masked for the stored responses that this exchange goes on from."""
        names = _stored(exchange.said)
        found = (self._kept.of(name, exchange.caller.project) for name in names)
        return [memory for memory in found if memory is not None]

    def _keep(self, exchange: Exchange, back: Answer) -> None:
        """Keep what was masked under the id of the response, and of its conversation, if the provider stores them."""
        name, back.id = back.id, None
        if name is None or exchange.provider is None or exchange.said.data.get("store") is False:
            return
        conversation = _id_of(exchange.said.data.get("conversation"))
        for each in filter(None, (name, conversation)):
            self._kept.keep(each, exchange.caller.project, exchange.provider, back.vault, back.origins)

    async def _released(self, exchange: Exchange, held: list[Chunk], back: Answer) -> Chunk:
        """The whole answer, once it is known what first appears in it."""
        whole = bool(held) and held[0].whole
        raw = b"".join(chunk.raw for chunk in held)
        dialect = exchange.said.dialect
        probe = Answer(Vault(), gather=True, dialect=dialect)
        probe.whole(raw) if whole else probe.events(raw)
        policy = self.guard.policies.of(exchange.caller.project)
        spans = await _scanned(probe.texts.values(), self.guard)
        bad = {text: [span for span in each if policy.mode(span) is not Mode.PASS] for text, each in spans.items()}
        exchange.answer_labels = tuple(sorted({span.label for each in bad.values() for span in each}))
        if exchange.answer_labels:
            if self.guard.answers == "block":
                raise PiiBlocked(f"The answer holds {', '.join(exchange.answer_labels)}, and your policy blocks it.")
            hidden = Vault(self.guard.key, exchange.caller.project)
            new = {
                key: hidden.mask(text, [(span.start, span.end, span.label) for span in bad[text]])
                for key, text in probe.texts.items()
                if bad[text]
            }
            raw = rewritten(raw, new, whole=whole, dialect=dialect)
        last = any(chunk.last for chunk in held)
        told = back.whole(raw) if whole else back.events(raw) + back.rest()
        self._keep(exchange, back)
        return Chunk(told, whole=whole, last=last)


_Judged = list[tuple[Found, Span, Mode]]


@contextmanager
def _failing_closed() -> Iterator[None]:
    """Whatever goes wrong inside means that nobody knows what would leave. Errors may quote the text: none is kept."""
    try:
        yield
    except MembrainError:
        raise
    except Exception as error:  # noqa: BLE001  # see above
        name = type(error).__name__
    else:
        return
    raise DetectionFailed(f"Looking for private values failed ({name}), so nothing was sent.")


def _sound(spans: Sequence[Span], size: int) -> Sequence[Span]:
    """*spans*, if they lie in order within a text of *size* characters; else ValueError."""
    at = 0
    for span in spans:
        if not at <= span.start < span.end <= size:
            raise ValueError
        at = span.end
    return spans


async def _scanned(texts: Iterable[str], guard: Guard) -> Mapping[str, Sequence[Span]]:
    """What is private in each of *texts*; much that is new is looked at beside the event loop."""
    detector = guard.detector
    found: dict[str, Sequence[Span]] = {}
    unknown: list[str] = []
    for text in texts:
        spans = detector.recall(text)
        if spans is None:
            unknown.append(text)
        else:
            found[text] = spans
    if sum(map(len, unknown)) > guard.aside:
        found |= await _aside(guard, _all, detector, unknown, guard.scan_seconds)
    else:
        found |= _all(detector, unknown, guard.scan_seconds)
    return found


async def _aside(guard: Guard, work: Callable[..., T], *given: Any) -> T:
    """Do *work* beside the event loop. What takes too long, or never ends, is a failure."""
    try:
        async with asyncio.timeout(guard.scan_seconds):
            return await asyncio.to_thread(work, *given)
    except TimeoutError:
        raise DetectionFailed("Looking for private values took too long, so nothing was sent.") from None


async def _by_rule(texts: Sequence[str], guard: Guard) -> list[Span]:
    """What is found in an answer's texts by rule: names would cost as much again as the question did."""
    scan = guard.detector.scan_by_rule

    def look() -> list[Span]:
        found: list[Span] = []
        for text in texts:
            with _failing_closed():
                found += scan(text)
        return found

    return await _aside(guard, look) if sum(map(len, texts)) > guard.aside else look()


def _all(detector: Detects, texts: Sequence[str], seconds: float) -> dict[str, Sequence[Span]]:
    due = monotonic() + seconds
    found: dict[str, Sequence[Span]] = {}
    for text in texts:
        with _failing_closed():
            found[text] = _sound(detector.scan(text), len(text))
        if monotonic() > due:
            raise DetectionFailed("Looking for private values took too long, so nothing was sent.")
    return found


def _id_of(named: Any) -> str | None:
    """The id of a conversation, which may be named by it or be an object that has it."""
    name = named.get("id") if isinstance(named, dict) else named
    return name if isinstance(name, str) and name else None


def _stored(said: Said) -> list[str]:
    """The ids of what the request goes on from, stored at a provider."""
    if said.dialect != "responses":
        return []
    names = (_id_of(said.data.get("previous_response_id")), _id_of(said.data.get("conversation")))
    return [name for name in names if name is not None]


def _note(exchange: Exchange, found: _Judged) -> None:
    """Put labels, places and modes on record."""
    if not found:
        return
    exchange.found = Counter(span.label for _, span, _ in found)
    kinds = dict.fromkeys((span.label, place.name, mode.value) for place, span, mode in found)
    exchange.findings = tuple(Finding(*each) for each in list(kinds)[:_MOST_FINDINGS])


def _kept_here(finding: Finding) -> Finding:
    """*finding* of a request that was answered on this machine: what would have been masked was not."""
    return replace(finding, action=Mode.LOCAL.value) if finding.action in MASKED else finding


def _labels(found: _Judged, mode: Mode) -> set[str]:
    return {span.label for _, span, how in found if how is mode}


def _blocked(found: _Judged) -> PiiBlocked:
    where = list(dict.fromkeys(f"{span.label} in {place.name}" for place, span, mode in found if mode is Mode.BLOCK))
    more = f" and {len(where) - 5} more" if len(where) > 5 else ""
    return PiiBlocked(
        f"This request holds {', '.join(where[:5])}{more}, which must not leave and cannot be masked there."
        if any(place.fixed for place, _, mode in found if mode is Mode.BLOCK)
        else f"This request holds {', '.join(where[:5])}{more}, and your policy blocks it.",
        hint=POLICY,
    )


def _hold(exchange: Exchange, asked: _Judged) -> Hold:
    """What a person is shown: labels, places, and a little around each value, never the value."""
    return Hold(
        id=exchange.id,
        caller=exchange.caller.name,
        project=exchange.caller.project,
        labels=Counter(span.label for _, span, _ in asked),
        model=exchange.said.model,
        places=tuple(dict.fromkeys(place.name for place, _, _ in asked)),
        contexts=tuple(_context(place, span) for place, span, _ in asked[:_MOST_FINDINGS]),
    )


def _context(place: Found, span: Span) -> Context:
    text = place.text
    before = max([0, span.start - MOST_AROUND, *(each.end for each in place.spans if each.end <= span.start)])
    after = min([len(text), span.end + MOST_AROUND, *(each.start for each in place.spans if each.start >= span.end)])
    tail = text[span.end - MOST_TAIL : span.end] if span.end - span.start > 2 * MOST_TAIL else ""
    return Context(place.name, span.label, text[before : span.start], text[span.end : after], tail)
