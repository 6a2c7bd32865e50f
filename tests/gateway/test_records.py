"""What is written down: it goes out and comes back the same, older and newer versions understand each other."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields
from typing import Any

import msgspec
import pytest

from membrain import records
from membrain.records import (
    ANONYMOUS,
    Allowance,
    Attempt,
    AuditRecord,
    Caller,
    Candidate,
    ClientKey,
    Decision,
    Finding,
    Hints,
    Outcome,
    Passport,
    ProviderState,
    Rate,
    Record,
    Rights,
    Snapshot,
    Step,
    Tokens,
)

KEPT = Candidate("gpt-4o", "openai", kept=True, reason="named")
DROPPED = Candidate("o1", "openai", kept=False, reason="too dear", local=True)
FULL = AuditRecord(
    id="e1",
    time="2026-01-02T03:04:05.678Z",
    dialect="chat",
    path="/v1/chat/completions",
    model="auto",
    outcome=Outcome.ANSWERED,
    pii_labels=("email", "iban"),
    attempts=(Attempt("openai", "gpt-4o", 12.5), Attempt("anthropic", "claude", 1.0, "busy")),
    steps=(Step("audit", 0.1, "x"),),
    decision=Decision("auto", "fast", True, (KEPT, DROPPED)),
)
RIGHTS = Rights(
    ("ask",), "2026-02-01T00:00:00Z", ("gpt-4o*",), Allowance(1, 2, 3), Rate(60, 1000), "fast", private=True
)
ONE_OF_EACH: list[Record] = [
    FULL,
    Caller("k1", "aider", "work", "ada", admin=True, rights=RIGHTS),
    RIGHTS,
    Tokens(1, 2, 3, 4, estimated=True),
    ClientKey("k1", "aider", "d" * 64, "abcd", "work", "2026-01-01T00:00:00Z", revoked="2026-01-02T00:00:00Z"),
    ClientKey("k2", "ci", "d" * 64, "abce", "work", "2026-01-01T00:00:00Z", rights=RIGHTS),
    Hints("fast", private=True, max_cost=0.5),
    KEPT,
    Attempt("openai", "gpt-4o", 1.5, "busy"),
    Step("audit", 0.1),
    Finding("email", "messages[0].content", "redact"),
    Passport("e1", written=True, looked=True, private=False),
    ProviderState("openai", up=True, where="api.openai.com", models=("a", "b")),
    Snapshot("t", 1.0, 2, 3, 4.0, None, 6.0, None, 7, 8, 9),
]


def kinds() -> list[type[Record]]:
    return [kind for kind in vars(records).values() if isinstance(kind, type) and issubclass(kind, Record)]


@pytest.mark.parametrize("record", ONE_OF_EACH, ids=lambda record: type(record).__name__)
def test_a_record_goes_out_and_comes_back_the_same(record: Record) -> None:
    """Through JSON, as the wire and the stores do it."""
    sent = json.loads(json.dumps(record.to_dict()))
    assert sent == json.loads(msgspec.json.encode(record))
    back = type(record).from_dict(sent)
    if isinstance(record, ProviderState):
        assert list(back.models) == list(record.models)  # type: ignore[attr-defined]  # the same kind
    else:
        assert back == record


@pytest.mark.parametrize("record", ONE_OF_EACH, ids=lambda record: type(record).__name__)
def test_fields_of_a_newer_version_are_left_out(record: Record) -> None:
    assert type(record).from_dict({**record.to_dict(), "from_the_future": 1}) == record


def test_nested_records_of_a_newer_version_are_understood_too() -> None:
    sent = FULL.to_dict()
    for nested in (sent["attempts"][0], sent["steps"][0], sent["decision"], sent["decision"]["candidates"][0]):
        nested["from_the_future"] = 1
    assert AuditRecord.from_dict(sent) == FULL


def test_fields_that_an_older_version_did_not_have_get_their_default() -> None:
    old = {name: FULL.to_dict()[name] for name in ("id", "time", "dialect", "path", "model")}
    record = AuditRecord.from_dict(old)
    assert (record.outcome, record.attempts, record.pii_labels, record.decision) == ("open", (), (), None)
    assert AuditRecord.from_dict({**old, "attempts": None, "steps": None, "pii_labels": None}).steps == ()


def test_an_audit_entry_has_the_documented_fields() -> None:
    documented = {"id", "time", "model", "provider", "pii_findings_count", "pii_labels"}
    assert documented <= {field.name for field in fields(AuditRecord)}


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind is not Record], ids=lambda kind: kind.__name__)
def test_records_are_plain_and_frozen(kind: type[Record]) -> None:
    names = list(vars(kind)["__dataclass_fields__"])
    record: Any = kind(**dict.fromkeys(names))
    with pytest.raises(FrozenInstanceError):
        setattr(record, names[0], 1)
    assert not hasattr(record, "__dict__")


def test_the_chain_is_what_was_kept_in_order() -> None:
    assert Decision("auto", None, False, (DROPPED, KEPT)).chain == (KEPT,)


def test_nobody_is_nobody() -> None:
    assert (ANONYMOUS.key_id, ANONYMOUS.admin, ANONYMOUS.project) == (None, False, "default")


def test_an_outcome_reads_as_its_word() -> None:
    assert (f"{Outcome.ANSWERED}", json.dumps(Outcome.ANSWERED)) == ("answered", '"answered"')
    assert {each.value for each in Outcome} == {"open", "answered", "refused", "failed", "aborted", "interrupted"}
