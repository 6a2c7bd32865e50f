"""What is written down or shown: plain, frozen, without behaviour. Imports nothing of ours.

The command line, the dashboard and the stores know these and nothing deeper. Field names are the names of the
JSON that goes out, so they may grow in number but never change. No record can hold a prompt, an answer or a key.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self, TypeVar


class Record:
    """Base of all records: `to_dict` for the wire, `from_dict` that ignores fields of newer versions."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready data."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]  # every subclass is a dataclass

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The record that `to_dict` gave; unknown fields are left out."""
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]  # every subclass is a dataclass
        return cls(**{name: value for name, value in data.items() if name in known})


class Outcome(StrEnum):
    """How an exchange ended."""

    OPEN = "open"
    """Intent is on record, no outcome yet."""
    ANSWERED = "answered"
    """The whole answer was handed over."""
    REFUSED = "refused"
    """We said no; nothing left."""
    FAILED = "failed"
    """Nobody could answer, or the answer broke off."""
    ABORTED = "aborted"
    """The caller hung up."""
    INTERRUPTED = "interrupted"
    """The gateway died in the middle; set at its next start."""


@dataclass(frozen=True, slots=True)
class Allowance(Record):
    """What may be spent, in micro-dollars. None is no limit."""

    day: int | None = None
    """In a day of UTC."""
    month: int | None = None
    """In a calendar month of UTC."""
    total: int | None = None
    """All in all."""

    def __bool__(self) -> bool:
        """Whether there is a limit at all."""
        return not (self.day is None and self.month is None and self.total is None)


@dataclass(frozen=True, slots=True)
class Rate(Record):
    """What may be asked in any 60 seconds. None is no limit."""

    requests: int | None = None
    tokens: int | None = None
    """Of prompts and answers together."""

    def __bool__(self) -> bool:
        """Whether there is a limit at all."""
        return not (self.requests is None and self.tokens is None)


SCOPES = ("ask", "read", "admin")
"""What a client key may be issued for: asking models; reading its project's audit and usage; everything, all projects
and the keys themselves too."""

DEFAULT_SCOPES = ("ask", "read")


@dataclass(frozen=True, slots=True)
class Rights(Record):
    """What a client key may, beyond being known."""

    scopes: tuple[str, ...] = DEFAULT_SCOPES
    """Of `SCOPES`."""
    expires: str | None = None
    """RFC 3339, UTC: not known any more from then on."""
    models: tuple[str, ...] = ()
    """The models that it may ask, by name as they are asked or answer; `*` is any text. None named is any."""
    budget: Allowance = Allowance()
    rate: Rate = Rate()
    tier: str | None = None
    """The tier of all that it asks without saying one."""
    private: bool = False
    """Whether all that it asks is private."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild the nested records too."""
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in data.items() if name in known}
        for name in ("scopes", "models"):
            if name in given:
                given[name] = tuple(given[name])
        given["budget"] = Allowance.from_dict(given.get("budget") or {})
        given["rate"] = Rate.from_dict(given.get("rate") or {})
        return cls(**given)


def _with_rights(cls: type[Whose], data: dict[str, Any]) -> Whose:
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]  # both are dataclasses
    given = {name: value for name, value in data.items() if name in known}
    return cls(**{**given, "rights": Rights.from_dict(given.get("rights") or {})})


Whose = TypeVar("Whose", bound=Record)


@dataclass(frozen=True, slots=True)
class Caller(Record):
    """Who asks. `key_id` is None for a keyless caller of `local` mode."""

    key_id: str | None = None
    name: str = ""
    """The client key's name, for people."""
    project: str = "default"
    user: str = ""
    """The caller's own label (`x-membrain-user-id`); never an identity."""
    admin: bool = False
    """May read every project and change keys: the machine's own key, or its user without one."""
    rights: Rights = Rights()
    """What its key may."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild the rights too."""
        return _with_rights(cls, data)


ANONYMOUS = Caller()


@dataclass(frozen=True, slots=True)
class Tokens(Record):
    """What an answer used. `prompt` includes what the provider had cached, as OpenAI counts."""

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0
    estimated: bool = False
    """Counted by us, because the provider reported nothing."""
    written: int = 0
    """Written to the provider's cache; part of `prompt`, as `cached` is."""
    cost_micros: int | None = None
    """What the provider itself says that it cost, in micro-dollars."""


@dataclass(frozen=True, slots=True)
class ClientKey(Record):
    """A client key as it is kept: the digest, never the key."""

    id: str
    """Public short id."""
    name: str
    digest: str
    """Keyed BLAKE2b of the key, hex."""
    tail: str
    """The last four signs, to recognise it by."""
    project: str
    created: str
    """RFC 3339, UTC."""
    last_used: str | None = None
    revoked: str | None = None
    rights: Rights = Rights()

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild the rights too."""
        return _with_rights(cls, data)


@dataclass(frozen=True, slots=True)
class Hints(Record):
    """What the caller asked of the router. `private` may be tightened later, never loosened."""

    tier: str | None = None
    private: bool = False
    max_cost: float | None = None
    """US dollars for 1K tokens, mean of input and output."""
    serves: str | None = None
    """What has to be served if it is no text: a dialect's name, as `embeddings`."""


@dataclass(frozen=True, slots=True)
class Candidate(Record):
    """A model at a provider, kept or dropped by the router, with the one reason that decided."""

    model: str
    provider: str
    kept: bool
    reason: str
    local: bool = False


@dataclass(frozen=True, slots=True)
class Decision(Record):
    """Everything the router considered, best first; `chain` is what dispatch tries, in order."""

    asked: str
    tier: str | None
    private: bool
    candidates: tuple[Candidate, ...]
    max_cost: float | None = None
    """As in `Hints`."""

    @property
    def chain(self) -> tuple[Candidate, ...]:
        """The candidates that were kept."""
        return tuple(candidate for candidate in self.candidates if candidate.kept)


@dataclass(frozen=True, slots=True)
class Considered(Record):
    """A candidate as `route explain` shows it: what decided, and what else is known of it."""

    model: str
    provider: str
    kept: bool
    reason: str
    local: bool
    input_price: float | None = None
    """US dollars for a million tokens; None is unknown, and 0 is free."""
    output_price: float | None = None
    price_source: str = ""
    price_date: str = ""
    cost_micros: int | None = None
    """Micro-dollars that this prompt would come to, with an answer of `Explanation.completion_tokens`."""
    p50_ms: float | None = None
    p99_ms: float | None = None
    samples: int = 0
    resting_seconds: float | None = None
    """Until it is asked again, if it failed too often."""


@dataclass(frozen=True, slots=True)
class Explanation(Record):
    """What would become of a request now: the decision that dispatch would take, and what it rests on."""

    asked: str
    model: str
    """What `asked` stands for: itself, unless it is an alias."""
    tier: str | None
    private: bool
    max_cost: float | None
    candidates: tuple[Considered, ...] = ()
    """In the order in which they would be tried; those that were dropped come last."""
    error: str | None = None
    """The code of what the caller would be told, if nobody may answer."""
    message: str | None = None
    hint: str | None = None
    masked: dict[str, int] = field(default_factory=dict)
    """Values that would leave as placeholders, by label."""
    blocked: tuple[str, ...] = ()
    """Labels for which the request would be refused."""
    confirmed: tuple[str, ...] = ()
    """Labels for which a person would be asked first."""
    prompt_tokens: int = 0
    """By our own estimate."""
    completion_tokens: int = 0
    """What the estimate of the cost assumes."""
    budget_micros: int | None = None
    """What is left to spend; None without a budget."""
    replay: str | None = None
    """The exchange that is looked at again, under today's rules."""
    answered_model: str | None = None
    """Who answered it then."""
    answered_provider: str | None = None

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild the candidates too."""
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in data.items() if name in known}
        given["candidates"] = tuple(Considered.from_dict(each) for each in given.get("candidates") or ())
        for name in ("blocked", "confirmed"):
            given[name] = tuple(given.get(name) or ())
        return cls(**given)


@dataclass(frozen=True, slots=True)
class ModelRow(Record):
    """A model that somebody here has, as `membrain models` shows it."""

    id: str
    provider: str
    local: bool
    input_price: float | None = None
    """US dollars for a million tokens; None is unknown, and 0 is free."""
    output_price: float | None = None
    price_source: str = ""
    price_date: str = ""
    context: int | None = None
    """Tokens that question and answer may have together; None if we do not know."""


@dataclass(frozen=True, slots=True)
class Attempt(Record):
    """One try at one provider. `error` is a code, never a text of the upstream."""

    provider: str
    model: str
    ms: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Step(Record):
    """One room's share of an exchange's time."""

    room: str
    ms: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding(Record):
    """What was found and where; never the value."""

    label: str
    place: str
    action: str


@dataclass(frozen=True, slots=True)
class Passport(Record):
    """What the one way out wants to see before anything leaves."""

    exchange: str
    written: bool
    """The audit's intent is committed."""
    looked: bool
    """Every string was looked at, and what must not leave is masked."""
    private: bool
    hops: int = 0


@dataclass(frozen=True, slots=True)
class AuditRecord(Record):
    """One exchange as the audit keeps it. The seeds name `id, time, model, provider, pii_*`."""

    id: str
    time: str
    """RFC 3339, UTC, when the request arrived."""
    dialect: str
    path: str
    model: str
    """As the caller named it."""
    stream: bool = False
    private: bool = False
    tier: str | None = None
    caller: str = ""
    key_id: str | None = None
    project: str = "default"
    user: str = ""
    answered_model: str | None = None
    provider: str | None = None
    local: bool = False
    outcome: str = Outcome.OPEN
    status: int | None = None
    error: str | None = None
    """Our error's code."""
    ms: float | None = None
    """From the door to the outcome."""
    first_ms: float | None = None
    """From the door to the first chunk in hand."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    written_tokens: int | None = None
    """Written to the provider's cache."""
    reasoning_tokens: int | None = None
    estimated: bool = False
    """The token counts are ours, because the provider reported none."""
    cost_micros: int | None = None
    """Micro-dollars; None is unknown, never 0."""
    cached: bool = False
    """Answered from our own cache."""
    saved_micros: int | None = None
    """Micro-dollars that the cached answer cost when it was made."""
    reserved_micros: int | None = None
    """Micro-dollars that were held for it; None without a budget."""
    sent_sha256: str | None = None
    """Of the bytes that were handed to the provider, hex; None if nothing was."""
    pii_findings_count: int = 0
    pii_labels: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    """What was found where in the request, and what became of it; the first fifty kinds of it."""
    answer_labels: tuple[str, ...] = ()
    """What first appeared in the answer."""
    attempts: tuple[Attempt, ...] = ()
    steps: tuple[Step, ...] = ()
    decision: Decision | None = None

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild the nested records too."""
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in data.items() if name in known}
        given["pii_labels"] = tuple(given.get("pii_labels") or ())
        given["findings"] = tuple(Finding.from_dict(each) for each in given.get("findings") or ())
        given["answer_labels"] = tuple(given.get("answer_labels") or ())
        given["attempts"] = tuple(Attempt.from_dict(each) for each in given.get("attempts") or ())
        given["steps"] = tuple(Step.from_dict(each) for each in given.get("steps") or ())
        if (decision := given.get("decision")) is not None:
            candidates = tuple(Candidate.from_dict(each) for each in decision["candidates"])
            given["decision"] = Decision.from_dict({**decision, "candidates": candidates})
        return cls(**given)


@dataclass(frozen=True, slots=True)
class BudgetAlert(Record):
    """A budget of which half, four fifths or all is spent; told once for each."""

    owner: str
    """As "machine", "project:web", "key:1f3a"."""
    period: str
    """A day ("2026-11-22"), a month ("2026-11") or "total"."""
    percent: int
    """50, 80 or 100."""
    spent_micros: int
    limit_micros: int


@dataclass(frozen=True, slots=True)
class ProviderState(Record):
    """One provider as `/health`, `up` and `status` show it."""

    name: str
    up: bool
    where: str
    """Host and port, or "built in"; never a key."""
    models: tuple[str, ...] = ()
    note: str = ""
    """Why it is not up, in a few words."""
    remedy: str = ""
    """The command that mends it."""
    local: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot(Record):
    """The last minutes and today, once a second to those who watch."""

    time: str
    up_seconds: float
    running: int
    today: int
    """Exchanges since midnight, UTC."""
    per_minute: float
    p50_ms: float | None
    p99_ms: float | None
    first_p50_ms: float | None
    cost_today_micros: int
    masked_today: int
    cached_today: int
