"""A conversation: what was said so far, what the next question asks of the router, and what it all came to.

Speaks through `membrain_client`, which is imported when the first question is asked. After each answer it fetches
the exchange's audit record, so that receipts and totals are the gateway's own figures and not guesses. Knows
nothing of terminals: a failure is raised as the `CommandError` that the caller prints.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from membrain.records import AuditRecord, Outcome
from membrain_cli import daemon
from membrain_cli.console import CommandError, Exit, Remedy, money, span
from membrain_cli.reach import read

if TYPE_CHECKING:
    import httpx

    from membrain_client import MembrainClient

Message = dict[str, Any]
ANSWER_TIMEOUT = 300.0
"""Seconds without a byte after which an answer is given up. A small model on a busy laptop is slow to begin."""
ASIDE_TIMEOUT = 3.0
"""Seconds for the small questions beside the conversation: a record, the models."""
SETTLING = (0.0, 0.05, 0.1, 0.2, 0.3)
"""Pauses before each look for the outcome of an answer that was stopped: the gateway first has to notice."""


@dataclass
class Asking:
    """What the next question asks for. None leaves the choice to the gateway."""

    model: str = "auto"
    tier: str | None = None
    private: bool = False
    max_cost: float | None = None
    """US dollars for 1K tokens, mean of input and output."""
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None

    def options(self) -> dict[str, Any]:
        """What goes with the messages, as `create` names it; unset wishes are left out."""
        wishes = {
            "tier": self.tier,
            "private": self.private or None,
            "max_cost": self.max_cost,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        return {"model": self.model, **{name: wish for name, wish in wishes.items() if wish is not None}}


@dataclass
class Totals:
    """What a conversation came to."""

    exchanges: int = 0
    cost_micros: int = 0
    unpriced: int = 0
    """Exchanges whose cost nobody knows."""
    masked: int = 0
    local: int = 0
    """Exchanges that were answered on this machine."""

    def add(self, record: AuditRecord) -> None:
        """Count one exchange."""
        self.exchanges += 1
        self.masked += record.pii_findings_count if was_masked(record) else 0
        if record.local:
            self.local += 1
        elif record.cost_micros is None:
            self.unpriced += 1
        self.cost_micros += record.cost_micros or 0

    def add_unknown(self) -> None:
        """Count an exchange whose record could not be had."""
        self.exchanges += 1
        self.unpriced += 1

    def parts(self) -> list[str]:
        """The totals as parts of a line: "5 exchanges", "$0.0004", "4 masked"."""
        known = "free" if self.local == self.exchanges else money(self.cost_micros, exact=True)
        parts = [f"{self.exchanges} exchange{'' if self.exchanges == 1 else 's'}"]
        if self.unpriced < self.exchanges:
            parts.append(known)
        if self.unpriced:
            parts.append(f"{self.unpriced} of unknown cost")
        return [*parts, f"{self.masked} masked"] if self.masked else parts


# --- receipts ------------------------------------------------------------------------------------------------


def receipt(record: AuditRecord, fell: str = "↷") -> list[str]:
    """The parts of an exchange's receipt: model, provider, time, tokens, cost, and how many values were masked.

    *fell* stands between a provider that failed and the one that answered in its place.
    """
    parts = [
        record.answered_model or record.model,
        by_whom(record, fell),
        span(record.ms),
        tokens(record),
        cost(record),
    ]
    if record.pii_findings_count:
        parts.append(f"{record.pii_findings_count} {'masked' if was_masked(record) else 'found'}")
    return [part for part in parts if part]


MASKING = ("redact", "confirm")
"""What is on record of a value that leaves as its placeholder."""
ANSWER = "answer"
"""The place on record of what was found in an answer."""


def was_masked(record: AuditRecord) -> bool:
    """Whether all that was found in the question was masked, and nothing just noted or let through."""
    return all(finding.action in MASKING for finding in record.findings if finding.place != ANSWER)


def by_whom(record: AuditRecord, fell: str) -> str:
    """The provider, after those that failed before it; "cache" for an answer we had."""
    if record.cached:
        return "cache"
    tried = [attempt.provider for attempt in record.attempts if attempt.error]
    names = dict.fromkeys([*tried, record.provider or ""])
    return f" {fell} ".join(name for name in names if name)


def tokens(record: AuditRecord) -> str:
    """All tokens of the exchange, in and out; nothing if nobody counted them."""
    counted = [count for count in (record.prompt_tokens, record.completion_tokens) if count is not None]
    return f"{sum(counted):,} tokens" if counted else ""


def cost(record: AuditRecord) -> str:
    """What the exchange cost, in words; unknown is never nothing."""
    if record.cached:
        return "$0"
    if record.local:
        return "free"
    return "cost unknown" if record.cost_micros is None else money(record.cost_micros, exact=True)


# --- where it went -------------------------------------------------------------------------------------------


def went_to(record: AuditRecord) -> list[str]:
    """The providers beyond this machine that were asked, in order. Of whom the record does not tell, we assume it."""
    candidates = record.decision.candidates if record.decision else ()
    here = {(each.provider, each.model) for each in candidates if each.local}
    tried = record.attempts[:-1] if record.local else record.attempts
    return list(dict.fromkeys(each.provider for each in tried if (each.provider, each.model) not in here))


def nothing_left(record: AuditRecord) -> str:
    """Why nothing of an exchange left this machine, as a sentence; empty if something did, or if nobody knows."""
    if went_to(record):
        return ""
    if record.cached:
        return "Nothing left: it was answered by the cache."
    if record.local:
        model = record.attempts[-1].model if record.attempts else record.answered_model or record.model
        return f"Nothing left: {model} answered on this machine."
    if record.attempts:
        return "Nothing left: only models on this machine were asked."
    if record.outcome == Outcome.REFUSED:
        return f"Nothing left: it was refused ({(record.error or 'refused').replace('_', ' ')})."
    return ""


# --- what waits for a person ---------------------------------------------------------------------------------

CONTENT = re.compile(r"messages\[([0-9]+)\]\.content")
"""The place of a message's text."""
SHORT = 6
"""Signs of an exchange's id that a person is shown."""
SPELT = 3
"""Letters of a model's name from which on it is looked for within others."""
ROUNDED = 0.1
"""Seconds by which the gateway may round the age of a hold."""
KEYLESS = ("local", "anyone")
"""What the gateway calls a caller without a key."""


def is_of(contexts: Iterable[Mapping[str, str]], messages: Sequence[Message]) -> bool:
    """Whether what was found, as a hold's *contexts* show it, stands in *messages*. Without any it is not known."""
    found = list(contexts)
    return bool(found) and all(stands_in(each, messages) for each in found)


def stands_in(context: Mapping[str, str], messages: Sequence[Message]) -> bool:
    """Whether one of these messages has, at the place of *context*, the text that stands around its value."""
    place = CONTENT.fullmatch(context["place"])
    if place is None or int(place[1]) >= len(messages):
        return False
    text = str(messages[int(place[1])]["content"])
    begins = text.find(context["before"])
    return begins >= 0 and context["tail"] + context["after"] in text[begins + len(context["before"]) :]


# --- failures ------------------------------------------------------------------------------------------------


UP = ("Start it", "membrain up")
LOG = ("Its log", "membrain logs")
CHECK = ("Check it", "membrain doctor")

REMEDIES: dict[str, Remedy] = {
    "provider_not_configured": ("Which are missing", "membrain keys"),
    "provider_key_refused": ("See the keys", "membrain keys"),
    "local_model_not_installed": ("Install it", "membrain local install"),
    "invalid_api_key": ("See the keys", "membrain keys"),
    "forbidden": ("See the keys", "membrain keys"),
    "budget_exceeded": ("Where it went", "membrain usage"),
    "guard_failed": LOG,
    "internal_error": LOG,
    "private_refused": ("Who may answer", "membrain route explain --private"),
    "no_candidate": CHECK,
    "all_providers_failed": CHECK,
    "provider_failed": CHECK,
    "shutting_down": UP,
}
"""What to type, by the gateway's error code, where its own message does not say."""

ENDINGS: dict[str, Exit] = {
    "model_not_found": Exit.USAGE,
    "provider_not_configured": Exit.KEY,
    "provider_key_refused": Exit.KEY,
    "local_model_not_installed": Exit.FAILED,
    "shutting_down": Exit.DOWN,
    "hold_denied": Exit.REFUSED,
}
"""Codes whose exit status does not follow from their HTTP status."""

HINT = re.compile(r"(?P<words>.*[.!?]) (?P<label>[^.!?:]+): (?P<command>membrain .+)", re.DOTALL)
"""How the gateway ends a message that has a remedy: "It is not there. Install it: membrain local install"."""


def ending(status: int, code: str, *, by_upstream: bool) -> Exit:
    """The exit status of a refusal. What an upstream refused is a failed upstream, whatever its status."""
    return ENDINGS.get(code) or (Exit.UPSTREAM if by_upstream else Exit.of(status, code))


def failure(message: str, code: Exit, *remedies: Remedy | None) -> CommandError:
    """The error to print, with the remedy that *message* itself ends with, or else with *remedies*."""
    if hint := HINT.fullmatch(message):
        return CommandError(hint["words"], [(hint["label"], hint["command"])], code)
    return CommandError(message, [each for each in remedies if each], code)


# --- the conversation ----------------------------------------------------------------------------------------


class Session:
    """One conversation with the gateway at *url*, spoken with the client key *key* (None: without).

    Use as a context manager: leaving it hangs up.
    `messages` holds what was said, without the system text, which belongs to `asking`. `draft` is the last question
    that has no answer in the conversation, because it failed or was taken back.
    """

    def __init__(self, url: str, key: str | None = None, asking: Asking | None = None) -> None:
        self.url = url.rstrip("/")
        self.key = key
        self.asking = asking or Asking()
        self.messages: list[Message] = []
        self.totals = Totals()
        self.draft = ""
        self.last: AuditRecord | None = None
        """The record of the last exchange, as far as the gateway told."""
        self._client: MembrainClient | None = None
        self._models: list[str] | None = None
        self._caller: str | None = None
        self._id = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.hang_up()

    # asking

    def ask(self, text: str) -> Answer:
        """Say *text* and get the answer, to be iterated once. The conversation grows when it has ended."""
        self.draft = text
        return Answer(self, text)

    def whole(self, text: str) -> dict[str, Any]:
        """Say *text* and give the whole completion as the gateway sent it, decoded."""
        self.draft = text
        with self.troubles():
            completion = self.client.chat.completions.create(messages=self.said(text), **self.asking.options())
        raw: dict[str, Any] = completion.raw
        choices = raw.get("choices") or [{}]
        self.keep(text, (choices[0].get("message") or {}).get("content") or "")
        self.settle()
        return raw

    def said(self, text: str) -> list[Message]:
        """All messages, with *text* as the next."""
        system = [{"role": "system", "content": self.asking.system}] if self.asking.system else []
        return [*system, *self.messages, {"role": "user", "content": text}]

    def keep(self, text: str, answer: str) -> None:
        """Add a question and its answer, or as much of it as came. Without any answer nothing is added."""
        if answer:
            self.messages += [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
            self.draft = ""

    def undo(self) -> str | None:
        """Take back the last question and what followed; gives the question, which becomes the draft."""
        asked = [place for place, message in enumerate(self.messages) if message["role"] == "user"]
        if not asked:
            return None
        question = self.messages[asked[-1]]["content"]
        del self.messages[asked[-1] :]
        self.draft = str(question)
        return self.draft

    def clear(self) -> None:
        """Forget what was said. Wishes and totals stay."""
        self.messages.clear()
        self.draft = ""

    @property
    def last_answer(self) -> str:
        """The last answer, or nothing."""
        answers = [message["content"] for message in self.messages if message["role"] == "assistant"]
        return str(answers[-1]) if answers else ""

    # what the gateway knows

    @property
    def client(self) -> MembrainClient:
        """The client, made when first needed."""
        if self._client is None:
            from membrain_client import MembrainClient

            self._client = MembrainClient(base_url=self.url, api_key=self.key, timeout=ANSWER_TIMEOUT)
            self._client._client.event_hooks["response"].append(self._note_id)  # noqa: SLF001  # as the seeds do
        return self._client

    def _note_id(self, response: httpx.Response) -> None:
        if response.request.method == "POST":
            self._id = response.headers.get("x-request-id", "")

    def get(self, path: str) -> Any:
        """A small question beside the conversation, decoded; None if it cannot be answered just now."""
        import httpx

        try:
            response = self.client._client.get(self.url + path, timeout=ASIDE_TIMEOUT)  # noqa: SLF001  # as the seeds do
            return response.json() if response.is_success else None
        except (httpx.HTTPError, ValueError):
            return None

    def told(self, path: str) -> Any:
        """As `get`, but what cannot be answered is a `CommandError`, in the gateway's words where it has any."""
        import httpx

        try:
            response = self.client._client.get(self.url + path, timeout=ASIDE_TIMEOUT)  # noqa: SLF001  # as the seeds do
            if response.is_success:
                return response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise failure(f"The gateway does not answer at {self.url}.", Exit.DOWN, UP, LOG) from error
        message, code = words_of(response.status_code, said_by(response))
        raise failure(message, Exit.of(response.status_code, code), REMEDIES.get(code) or self.looked_up())

    def last_exchange(self) -> AuditRecord:
        """The record of the exchange that was last begun here; `CommandError` if the gateway does not know which."""
        if not self._id:
            why = "What left with the last question cannot be told here, as the gateway never gave it an id."
            raise failure(why, Exit.FAILED, ("Look it up", "membrain audit"))
        return AuditRecord.from_dict(self.told(f"/api/audit/{self._id}"))

    def sent(self, record: AuditRecord) -> dict[str, Any]:
        """What a provider was given in an exchange, as data; `CommandError` with the reason if that is not kept."""
        body: dict[str, Any] = self.told(f"/api/sent/{record.id}")["body"]
        return body

    @property
    def answering(self) -> bool:
        """The gateway has begun to answer the question under way."""
        return bool(self._id)

    def record(self) -> AuditRecord | None:
        """The audit record of the exchange under way or just ended."""
        found = self.get(f"/api/audit/{self._id}") if self._id else None
        return AuditRecord.from_dict(found) if isinstance(found, dict) else None

    def settle(self, *, stopped: bool = False) -> AuditRecord | None:
        """Fetch the record of what has just ended, count it, and give it. What was *stopped* takes a moment."""
        record = None
        for pause in SETTLING if stopped else SETTLING[:1]:
            time.sleep(pause)
            record = self.record()
            if record is None or record.outcome != Outcome.OPEN:
                break
        self.last = record
        if record is None:
            self.totals.add_unknown()
        else:
            self.totals.add(record)
        return record

    def models(self) -> list[str]:
        """The models that can be named, as the gateway lists them; asked once it answers, then remembered."""
        if self._models is None:
            listed = self.get("/v1/models")
            entries = listed.get("data") if isinstance(listed, dict) else None
            if not isinstance(entries, list):
                return []
            named = [str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry]
            self._models = list(dict.fromkeys(named))
        return self._models

    def near(self, model: str) -> list[str]:
        """Known models whose name is near *model*, or has it within."""
        within = [name for name in self.models() if model.lower() in name.lower()] if len(model) >= SPELT else []
        return within[:3] or get_close_matches(model, self.models(), n=3, cutoff=0.5)

    # what waits for a person; for another thread, while this one waits for the answer

    def beside(self, method: str, path: str, data: Mapping[str, Any] | None = None) -> Any:
        """What the gateway answers on a connection of its own. Raises `OSError`, or as `read` does if it refuses."""
        at = urlsplit(self.url)
        headers = {"content-type": "application/json", **({"x-membrain-api-key": self.key} if self.key else {})}
        body = None if data is None else json.dumps(data).encode()
        host, port = at.hostname or "", at.port or 80
        return read(*daemon.exchange(host, port, method, path, body=body, headers=headers, timeout=ASIDE_TIMEOUT))

    def held(self, question: str, age: float) -> dict[str, Any] | None:
        """The hold that *question*, which was asked *age* seconds ago, waits in; None if it waits in none.

        Another conversation's is not taken for ours: until the gateway has told our exchange's id, it has to have our
        caller and our words. Errors as for `beside`.
        """
        for row in self.beside("GET", "/api/holds"):
            ours = row["id"] == self._id
            if not ours and (self._id or row["seconds"] > age + ROUNDED):
                continue
            with contextlib.suppress(CommandError):  # somebody has decided meanwhile
                hold: dict[str, Any] = self.beside("GET", f"/api/holds/{row['id']}")
                if ours or (self._is_ours(hold) and is_of(hold["contexts"], self.said(question))):
                    return hold
        return None

    def _is_ours(self, hold: Mapping[str, Any]) -> bool:
        """Whether our client key asked for what waits in *hold*."""
        if self.key is None:
            return hold["caller"] in KEYLESS
        if self._caller is None:
            known = self.beside("GET", "/api/keys")
            named = [row["name"] for row in known if row["tail"] == self.key[-4:] and not row.get("revoked")]
            self._caller = named[0] if len(named) == 1 else ""
        return bool(hold["caller"] == self._caller)

    def decide(self, hold: str, decision: str, *, always: bool = False) -> None:
        """Let what waits in *hold* go on ("approve") or not ("deny"). Errors as for `beside`."""
        self.beside("POST", f"/api/holds/{hold}", {"decision": decision, "always": always})

    # ending

    def hang_up(self) -> None:
        """Close every connection, so that the gateway stops what is still being answered."""
        if self._client is not None:
            self._client.close()
            self._client = None

    @contextlib.contextmanager
    def troubles(self) -> Iterator[None]:
        """Turn what the wire throws into a `CommandError` with a sentence, what to type, and an exit status."""
        import httpx

        from membrain_client.client import StreamError

        self._id = ""
        try:
            yield
        except httpx.HTTPStatusError as error:
            raise self.refusal(error.response.status_code, said_by(error.response)) from error
        except StreamError as error:
            raise self.refusal(502, error.body) from error
        except httpx.ConnectError as error:
            raise failure(f"The gateway does not answer at {self.url}.", Exit.DOWN, UP, LOG) from error
        except httpx.TimeoutException as error:
            raise failure(f"Nothing came for {ANSWER_TIMEOUT:.0f} s.", Exit.UPSTREAM, CHECK) from error
        except httpx.HTTPError as error:
            raise failure("The answer broke off: the gateway has hung up.", Exit.UPSTREAM, LOG) from error

    def refusal(self, status: int, error: object) -> CommandError:
        """What an error object of the gateway has to say, as it would read on the command line."""
        message, code = words_of(status, error)
        by = blamed(self.record())
        if code == "model_not_found" and "id you mean" not in message and (near := self.near(self.asking.model)):
            message += f" Did you mean {' or '.join(near)}?"
        if by and by not in message and code not in ENDINGS:
            message = f"{by} said: {message}"
        return failure(message, ending(status, code, by_upstream=bool(by)), REMEDIES.get(code) or self.looked_up())

    def looked_up(self) -> Remedy:
        """What to type where nothing mends it: how to see what happened to the exchange under way."""
        return ("See it", f"membrain audit show {self._id[:SHORT]}") if self._id else CHECK


def blamed(record: AuditRecord | None) -> str:
    """The upstream that a failed exchange broke on; nothing if it was the gateway that refused."""
    if record is None or record.outcome != Outcome.FAILED:
        return ""
    return next((attempt.provider for attempt in reversed(record.attempts) if attempt.error), "")


def said_by(response: httpx.Response) -> object:
    """The error object of an answer, if it has one in the usual shape."""
    try:
        said = response.json()
    except ValueError:
        return None
    return said.get("error") if isinstance(said, dict) else None


def words_of(status: int, error: object) -> tuple[str, str]:
    """Message and code of an error object, as far as it has them."""
    told = error if isinstance(error, dict) else {}
    return str(told.get("message") or f"The gateway answered {status}."), str(told.get("code") or "")


class Answer:
    """One answer on its way: iterate it for the pieces of text, as they come.

    When it has ended, `text` is what came, and `record` the exchange's audit record (None if it could not be had).
    `stop` ends it early. Either way the conversation then holds the question and the part that came.
    """

    def __init__(self, session: Session, question: str) -> None:
        self.session, self.question = session, question
        self.text = ""
        self.model = ""
        """The model as the stream names it."""
        self.record: AuditRecord | None = None
        self.began = time.monotonic()
        self.ms = 0.0
        self._ended = False
        self._pieces = self._listen()

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def _listen(self) -> Iterator[str]:
        session = self.session
        try:
            with session.troubles():
                stream = session.client.chat.completions.create(
                    messages=session.said(self.question), stream=True, **session.asking.options()
                )
                for chunk in stream:
                    self.model = chunk.model or self.model
                    delta = chunk.choices[0].delta
                    if piece := delta.content or delta.refusal:
                        self.text += piece
                        yield piece
        except CommandError:
            self._end(stopped=True, count=bool(self.text))
            raise
        self._end()

    def stop(self) -> None:
        """Hang up at once, keep what came, and look up what it came to."""
        if not self._ended:
            self.session.hang_up()
            self._end(stopped=True, count=bool(self.text or self.session.answering))

    def _end(self, *, stopped: bool = False, count: bool = True) -> None:
        self._ended = True
        self.ms = (time.monotonic() - self.began) * 1000
        self.session.keep(self.question, self.text)
        if count:
            self.record = self.session.settle(stopped=stopped)
