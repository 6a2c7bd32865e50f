"""The small requests: that they tell, that they cost nothing, and that nothing of them is on record."""

from __future__ import annotations

import json
from typing import Any

import pytest

from membrain_cli import daemon
from membrain_cli.doctor.probes import PROBES, as_anthropic, as_openai, refusal, spoken
from tests.cli.patients import patient
from tests.served import Served, free_port
from tests.sink import Sink


def running(environ: dict[str, str]) -> daemon.Running:
    """The gateway beside somebody."""
    return patient(environ).reach.demand()


@pytest.mark.parametrize("dialect", PROBES)
def test_a_dialect_that_the_gateway_speaks_is_told(dialect: str, near: dict[str, str]) -> None:
    finding = spoken(running(near), dialect)
    assert (finding.state, finding.name) == ("fine", dialect)


@pytest.mark.parametrize("dialect", PROBES)
def test_asking_costs_nothing_and_is_not_on_record(
    dialect: str, near: dict[str, str], shared_gateway: Served, shared_sink: Sink
) -> None:
    before, sent = shared_gateway.audit(), len(shared_sink.requests)
    spoken(running(near), dialect)
    assert (shared_gateway.audit(), len(shared_sink.requests)) == (before, sent)


def answering(monkeypatch: pytest.MonkeyPatch, status: int, body: bytes) -> None:
    monkeypatch.setattr(daemon, "exchange", lambda *_, **__: (status, body))


ELSEWHERE = daemon.Running(1, "127.0.0.1", 1, "", "", "", {})


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (404, {"error": {"message": "", "type": "", "param": None, "code": ""}}, "answered with 404"),
        (400, {"type": "error", "error": {}}, "answered with 400"),
        (200, {}, "answered with 200"),
        (400, [], "answered with 400"),
    ],
)
def test_another_answer_says_that_a_dialect_is_not_spoken(
    status: int, body: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, status, json.dumps(body).encode())
    finding = spoken(ELSEWHERE, "chat")
    assert (finding.state, told in finding.words, finding.remedy) == ("broken", True, "membrain restart")


def test_an_answer_that_is_no_json_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, 400, b"<html>")
    assert spoken(ELSEWHERE, "messages").words == "the gateway gave no JSON"


def test_no_answer_is_broken() -> None:
    gone = daemon.Running(1, "127.0.0.1", free_port(), "", "", "", {})
    assert spoken(gone, "messages").words == "the gateway gave no answer"
    assert refusal(gone, "ck_live_canary") == "could not be tried"


def test_each_dialect_knows_its_own_words() -> None:
    openai = {"error": {"message": "", "type": "", "param": None, "code": ""}}
    anthropic = {"type": "error", "error": {"type": "", "message": ""}}
    assert [as_openai(openai), as_openai(anthropic), as_openai([])] == [True, False, False]
    assert [as_anthropic(openai), as_anthropic(anthropic), as_anthropic([])] == [False, True, False]


def test_a_key_is_known_or_not(near: dict[str, str], key: str) -> None:
    assert refusal(running(near), key) == ""
    assert refusal(running(near), "ck_live_" + "0" * 32) == "is not known to this gateway, or was revoked"


@pytest.mark.parametrize("sent", ["ck_\ncanary", "ck_\u2603"])
def test_a_key_that_is_no_header_is_not_sent(sent: str, near: dict[str, str]) -> None:
    assert refusal(running(near), sent) == "could not be tried"


@pytest.mark.parametrize(("status", "told"), [(403, "may not ask for models"), (500, "was answered with 500")])
def test_another_refusal_is_told(status: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, status, b"")
    assert refusal(ELSEWHERE, "ck_live_canary") == told
