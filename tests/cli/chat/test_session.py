"""The conversation, spoken with a real server: what it sends, keeps, counts, and says when it fails."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from membrain.records import Attempt, AuditRecord, Candidate, Decision, Finding
from membrain_cli.chat.session import Asking, Session, Totals, is_of, nothing_left, receipt, went_to
from membrain_cli.console import CommandError, Exit
from tests.served import Served
from tests.sink import Reply, Sink

ID = "0123456789abcdef"


def record(**more: Any) -> AuditRecord:
    """An answered exchange."""
    facts: dict[str, Any] = {
        "id": ID, "time": "2026-11-21T09:48:00Z", "dialect": "chat", "path": "/v1/chat/completions", "model": "auto",
        "answered_model": "gpt-4o-mini", "provider": "openai", "outcome": "answered", "status": 200, "ms": 412.0,
        "prompt_tokens": 300, "completion_tokens": 18, "cost_micros": 100,
    }  # fmt: skip
    return AuditRecord(**{**facts, **more})


def spoken(*pieces: str, ending: bytes = b"data: [DONE]\n\n") -> Reply:
    """A stream of *pieces*, with a request id."""
    frames = [{"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]} for piece in pieces]
    frames.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks = [f"data: {json.dumps({'id': 'c', 'model': 'gpt-4o-mini', **frame})}\n\n".encode() for frame in frames]
    if ending != b"data: [DONE]\n\n":
        chunks.pop()
    return Reply(chunks=[*chunks, ending], headers={"content-type": "text/event-stream", "x-request-id": ID})


def refused(status: int, code: str, message: str) -> Reply:
    """An error in the gateway's shape."""
    error = {"message": message, "type": "t", "param": None, "code": code}
    return Reply(status, {"error": error, "detail": message}, {"x-request-id": ID})


@pytest.fixture
def session(sink: Sink) -> Iterator[Session]:
    """A conversation with the sink."""
    session = Session(sink.url, "ck_live_canary", Asking("gpt-4o-mini"))
    yield session
    session.hang_up()


def failing(session: Session, text: str = "Hello") -> CommandError:
    """What asking *text* raises."""
    with pytest.raises(CommandError) as caught:
        list(session.ask(text))
    return caught.value


# --- what is sent --------------------------------------------------------------------------------------------


def test_an_answer_comes_in_its_pieces(sink: Sink, session: Session) -> None:
    sink.script("/v1/chat/completions", spoken("Hel", "lo", "!"))
    answer = session.ask("Hi")
    assert list(answer) == ["Hel", "lo", "!"]
    assert answer.text == "Hello!"


def test_wishes_go_as_headers_and_fields(sink: Sink, session: Session) -> None:
    session.asking = Asking("auto", "best", True, 0.01, "Be brief.", 0.5, 7)
    list(session.ask("Hi"))
    sent = sink.requests[0]
    assert {name: sent.header[f"x-membrain-{name}"] for name in ("tier", "private", "max-cost", "api-key")} == {
        "tier": "best", "private": "true", "max-cost": "0.01", "api-key": "ck_live_canary",
    }  # fmt: skip
    assert sent.json() == {
        "model": "auto", "stream": True, "temperature": 0.5, "max_tokens": 7,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    }  # fmt: skip


def test_what_is_not_wished_is_not_sent(sink: Sink, session: Session) -> None:
    """The gateway's own settings must be able to decide."""
    list(session.ask("Hi"))
    sent = sink.requests[0]
    assert not {"x-membrain-tier", "x-membrain-private", "x-membrain-max-cost"} & sent.header.keys()
    assert sent.json().keys() == {"model", "messages", "stream"}


def test_the_next_question_goes_with_what_was_said(sink: Sink, session: Session) -> None:
    sink.script("/v1/chat/completions", spoken("One."), spoken("Two."))
    list(session.ask("First?"))
    list(session.ask("Second?"))
    posts = [request for request in sink.requests if request.method == "POST"]
    assert [message["content"] for message in posts[1].json()["messages"]] == ["First?", "One.", "Second?"]


def test_the_whole_completion_is_given_as_it_was_sent(sink: Sink, session: Session) -> None:
    whole = {"id": "c", "model": "m", "choices": [{"index": 0, "message": {"content": "Hi"}}], "x_new": {"kept": 1}}
    sink.script("/v1/chat/completions", Reply(200, whole))
    assert session.whole("Hello") == whole
    assert session.last_answer == "Hi"


def test_a_refusal_of_the_model_is_shown_as_its_answer(sink: Sink, session: Session) -> None:
    frame = {"choices": [{"index": 0, "delta": {"refusal": "I would rather not."}, "finish_reason": "stop"}]}
    body = f"data: {json.dumps(frame)}\n\ndata: [DONE]\n\n".encode()
    sink.script("/v1/chat/completions", Reply(chunks=[body], headers={"content-type": "text/event-stream"}))
    assert "".join(session.ask("Hi")) == "I would rather not."


# --- what is kept and counted --------------------------------------------------------------------------------


def test_the_record_of_the_exchange_is_fetched_by_its_request_id(sink: Sink, session: Session) -> None:
    sink.script("/v1/chat/completions", spoken("Hi"))
    sink.script(f"/api/audit/{ID}", Reply(200, record().to_dict()))
    answer = session.ask("Hello")
    list(answer)
    assert answer.record == record() == session.last
    assert session.totals.parts() == ["1 exchange", "$0.0001"]


def test_an_exchange_without_a_record_is_counted_as_of_unknown_cost(sink: Sink, session: Session) -> None:
    sink.script("/v1/chat/completions", spoken("Hi"))
    list(session.ask("Hello"))
    assert session.totals.parts() == ["1 exchange", "1 of unknown cost"]


def test_a_stopped_answer_keeps_the_part_and_closes_the_connection(sink: Sink, session: Session) -> None:
    session.asking.model = "slow-20-chunks-200"
    answer = session.ask("Go")
    first = next(iter(answer))
    answer.stop()
    assert sink.requests[0].closed.wait(2)
    assert session.messages == [{"role": "user", "content": "Go"}, {"role": "assistant", "content": first}]


def test_stopping_waits_a_moment_for_the_outcome(sink: Sink, session: Session) -> None:
    sink.script("/v1/chat/completions", Reply(behave="slow-20-chunks-200"))
    aborted = record(outcome="aborted")
    answer = session.ask("Go")
    next(iter(answer))
    session._id = ID
    sink.script(f"/api/audit/{ID}", Reply(200, record(outcome="open").to_dict()), Reply(200, aborted.to_dict()))
    answer.stop()
    assert answer.record == aborted


def test_stopping_twice_counts_once(sink: Sink, session: Session) -> None:
    session.asking.model = "slow-20-chunks-200"
    answer = session.ask("Go")
    next(iter(answer))
    answer.stop()
    answer.stop()
    assert session.totals.exchanges == 1


def test_a_question_that_got_no_answer_is_not_said_again(sink: Sink, session: Session) -> None:
    """Two questions in a row would confuse the model; the first stays as a draft."""
    sink.script("/v1/chat/completions", refused(402, "budget_exceeded", "The day's budget is used up."))
    failing(session, "Costly?")
    assert session.messages == []
    assert session.draft == "Costly?"


def test_undo_takes_back_a_question_and_its_answer(session: Session) -> None:
    session.keep("One?", "1")
    session.keep("Two?", "2")
    assert session.undo() == "Two?"
    assert [message["content"] for message in session.messages] == ["One?", "1"]
    assert (session.draft, session.last_answer) == ("Two?", "1")


def test_undo_of_nothing_gives_nothing(session: Session) -> None:
    assert session.undo() is None


def test_clear_forgets_what_was_said_and_keeps_the_totals(session: Session) -> None:
    session.keep("One?", "1")
    session.totals.add(record())
    session.clear()
    assert (session.messages, session.totals.exchanges) == ([], 1)


def test_models_are_asked_once_and_named_once(sink: Sink, session: Session) -> None:
    sink.models = ["a", "b", "a"]
    assert session.models() == ["a", "b"]
    session.models()
    assert len(sink.requests) == 1


def test_models_of_a_gateway_that_does_not_answer_are_asked_again_later(sink: Sink, session: Session) -> None:
    sink.script("/v1/models", Reply(500, "oh"), Reply(200, {"data": [{"id": "a"}, "odd"]}))
    assert (session.models(), session.models()) == ([], ["a"])


# --- receipts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({}, "gpt-4o-mini · openai · 412 ms · 318 tokens · $0.0001"),
        ({"pii_findings_count": 2}, "gpt-4o-mini · openai · 412 ms · 318 tokens · $0.0001 · 2 masked"),
        ({"cost_micros": 12}, "gpt-4o-mini · openai · 412 ms · 318 tokens · under $0.0001"),
        ({"cost_micros": None}, "gpt-4o-mini · openai · 412 ms · 318 tokens · cost unknown"),
        ({"cost_micros": 14_100}, "gpt-4o-mini · openai · 412 ms · 318 tokens · $0.0141"),
        ({"prompt_tokens": None, "completion_tokens": None}, "gpt-4o-mini · openai · 412 ms · $0.0001"),
        ({"cached": True, "ms": 3.0}, "gpt-4o-mini · cache · 3 ms · 318 tokens · $0"),
        (
            {"answered_model": "local/default", "provider": "local", "local": True, "cost_micros": None, "ms": 1240.0},
            "local/default · local · 1.2 s · 318 tokens · free",
        ),
        (
            {"provider": "anthropic", "attempts": (Attempt("openai", "m", 9.0, "x"), Attempt("anthropic", "m", 9.0))},
            "gpt-4o-mini · openai ↷ anthropic · 412 ms · 318 tokens · $0.0001",
        ),
    ],
)
def test_a_receipt_says_model_provider_time_tokens_and_cost(more: dict[str, Any], line: str) -> None:
    assert " · ".join(receipt(record(**more))) == line


@pytest.mark.parametrize(
    ("records", "line"),
    [
        ([record(), record(cost_micros=300, pii_findings_count=4)], "2 exchanges · $0.0004 · 4 masked"),
        ([record(local=True, cost_micros=None)], "1 exchange · free"),
        ([record(), record(cost_micros=None)], "2 exchanges · $0.0001 · 1 of unknown cost"),
        ([record(local=True, cost_micros=None), record(cost_micros=0)], "2 exchanges · $0"),
    ],
)
def test_totals_never_hide_a_cost_that_is_unknown(records: list[AuditRecord], line: str) -> None:
    totals = Totals()
    for each in records:
        totals.add(each)
    assert " · ".join(totals.parts()) == line


@pytest.mark.parametrize(
    ("actions", "masked"),
    [(["redact"], True), (["confirm", "redact"], True), (["log"], False), (["redact", "log"], False), ([], True)],
)
def test_values_are_called_masked_only_if_all_of_them_were(actions: list[str], masked: bool) -> None:
    """Where they were not, the record does not tell how many were."""
    findings = tuple(Finding("EMAIL", "messages[0].content", action) for action in actions)
    found = record(pii_findings_count=2, findings=(*findings, Finding("SECRET", "answer", "withheld")))
    totals = Totals()
    totals.add(found)
    assert receipt(found)[-1] == ("2 masked" if masked else "2 found")
    assert totals.masked == (2 if masked else 0)


# --- where it went -------------------------------------------------------------------------------------------

OPENAI = Candidate("gpt-4o", "openai", True, "first")
CLAUDE = Candidate("claude-haiku", "anthropic", True, "fallback")
LLAMA = Candidate("ollama/llama3", "ollama", True, "local", local=True)


def routed(*tried: Candidate, **more: Any) -> AuditRecord:
    """An exchange in which these were tried, one after the other."""
    attempts = tuple(Attempt(each.provider, each.model, 9.0) for each in tried)
    decision = Decision("auto", None, False, (OPENAI, CLAUDE, LLAMA))
    return record(attempts=attempts, decision=decision, **{"provider": None, **more})


@pytest.mark.parametrize(
    ("made", "gone"),
    [
        (routed(OPENAI, provider="openai"), ["openai"]),
        (routed(OPENAI, CLAUDE, provider="anthropic"), ["openai", "anthropic"]),
        (routed(OPENAI, OPENAI, outcome="failed"), ["openai"]),
        (routed(LLAMA, provider="ollama", local=True), []),
        (routed(OPENAI, LLAMA, provider="ollama", local=True), ["openai"]),
        (routed(LLAMA, OPENAI, provider="openai"), ["openai"]),
        (routed(LLAMA, outcome="failed"), []),
        (record(attempts=(Attempt("ollama", "m", 9.0, "x"),), outcome="failed"), ["ollama"]),
        (record(attempts=(Attempt("local", "m", 9.0),), provider="local", local=True), []),
    ],
)
def test_it_went_to_whoever_was_asked_and_is_not_known_to_be_here(made: AuditRecord, gone: list[str]) -> None:
    assert went_to(made) == gone
    assert bool(nothing_left(made)) is not bool(gone)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (record(cached=True, provider=None), "it was answered by the cache."),
        (routed(LLAMA, answered_model="llama3", local=True), "ollama/llama3 answered on this machine."),
        (record(answered_model="local/default", local=True), "local/default answered on this machine."),
        (routed(LLAMA, outcome="failed"), "only models on this machine were asked."),
        (record(provider=None, outcome="refused", error="pii_blocked"), "it was refused (pii blocked)."),
    ],
)
def test_nothing_left_and_why(made: AuditRecord, why: str) -> None:
    assert nothing_left(made) == f"Nothing left: {why}"


@pytest.mark.parametrize("outcome", ["aborted", "interrupted", "open", "failed"])
def test_of_what_ended_before_anybody_spoke_nobody_says_that_nothing_left(outcome: str) -> None:
    """The caller may have gone while a provider was thinking."""
    assert nothing_left(record(provider=None, outcome=outcome)) == ""


def test_an_answer_that_was_blocked_does_not_make_the_question_stay() -> None:
    assert nothing_left(routed(OPENAI, provider="openai", outcome="refused", error="pii_blocked")) == ""


# --- failures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "message", "exit_status", "typed"),
    [
        (503, "provider_not_configured", "No key. Set it: membrain keys set openai", 8, "membrain keys set openai"),
        (503, "local_model_not_installed", "It is not installed.", 1, "membrain local install"),
        (403, "private_refused", "That would leave this machine.", 4, "membrain route explain --private"),
        (403, "forbidden", "Not for this key.", 4, "membrain keys"),
        (402, "budget_exceeded", "The day's budget is used up.", 5, "membrain usage"),
        (429, "rate_limited", "Too many at once.", 4, "membrain audit show 012345"),
        (401, "invalid_api_key", "That key is not known.", 8, "membrain keys"),
        (502, "provider_key_refused", "openai refused its key.", 8, "membrain keys"),
        (502, "all_providers_failed", "Every provider failed.", 7, "membrain doctor"),
        (504, "provider_failed", "openai did not answer.", 7, "membrain doctor"),
        (503, "shutting_down", "The gateway is stopping.", 3, "membrain up"),
        (503, "guard_failed", "The audit cannot be written.", 4, "membrain logs"),
        (400, "invalid_request", "That makes no sense.", 1, "membrain audit show 012345"),
        (500, "internal_error", "Something broke.", 1, "membrain logs"),
    ],
)  # fmt: skip
def test_each_refusal_has_its_exit_status_and_what_to_type(
    sink: Sink, session: Session, status: int, code: str, message: str, exit_status: int, typed: str
) -> None:
    sink.script("/v1/chat/completions", refused(status, code, message))
    error = failing(session)
    assert error.code == exit_status
    assert [command for _, command in error.remedies] == [typed]
    assert error.message == message.partition(" Set it:")[0]


def test_an_unknown_model_is_answered_with_the_nearest_names(sink: Sink, session: Session) -> None:
    session.asking.model = "gpt-4o-mimi"
    sink.script("/v1/chat/completions", refused(404, "model_not_found", "Nobody serves gpt-4o-mimi."))
    error = failing(session)
    assert (error.code, error.message) == (Exit.USAGE, "Nobody serves gpt-4o-mimi. Did you mean gpt-4o-mini?")


def test_what_an_upstream_refused_is_the_upstreams_failure(sink: Sink, session: Session) -> None:
    """A 429 of ours says "wait, or ask for more"; one of the upstream is none of our rules."""
    failed = record(outcome="failed", provider=None, attempts=(Attempt("openai", "m", 9.0, "rate_limit"),))
    sink.script("/v1/chat/completions", refused(429, "rate_limit_exceeded", "Slow down."))
    sink.script(f"/api/audit/{ID}", Reply(200, failed.to_dict()))
    error = failing(session)
    assert (error.code, error.message) == (Exit.UPSTREAM, "openai said: Slow down.")


def test_a_stream_that_breaks_keeps_the_part_that_came(sink: Sink, session: Session) -> None:
    error = b'data: {"error": {"message": "openai broke off.", "code": "provider_failed"}}\n\n'
    sink.script("/v1/chat/completions", spoken("Half an ans", ending=error))
    caught = failing(session)
    assert (caught.code, caught.message) == (Exit.UPSTREAM, "openai broke off.")
    assert session.last_answer == "Half an ans"


@pytest.mark.parametrize("behaviour", ["reset", "garbage", "truncated", "html", "empty"])
def test_a_gateway_that_speaks_nonsense_is_a_failed_upstream(sink: Sink, session: Session, behaviour: str) -> None:
    session.asking.model = behaviour
    assert failing(session).code == Exit.UPSTREAM


def test_an_error_that_is_not_in_our_shape_still_makes_a_sentence(sink: Sink, session: Session) -> None:
    sink.script("/v1/chat/completions", Reply(500, "<html>"), Reply(500, ["odd"]))
    assert [failing(session).message for _ in range(2)] == ["The gateway answered 500."] * 2


def test_a_gateway_that_is_gone_is_down() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        session = Session(f"http://127.0.0.1:{taken.getsockname()[1]}")
        error = failing(session)
    assert error.code == Exit.DOWN
    assert ("Start it", "membrain up") in error.remedies


def test_silence_is_given_up(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("membrain_cli.chat.session.ANSWER_TIMEOUT", 0.2)
    session = Session(sink.url, asking=Asking("stall"))
    assert failing(session).code == Exit.UPSTREAM
    session.hang_up()


# --- with the real gateway -----------------------------------------------------------------------------------


def test_the_gateways_own_record_makes_the_receipt(shared_gateway: Served) -> None:
    session = Session(shared_gateway.url, asking=Asking("echo"))
    answer = session.ask("Hello there")
    assert "".join(answer) == "Hello there"
    assert answer.record is not None
    assert receipt(answer.record)[:2] == ["echo", "openai"]
    session.hang_up()


def test_the_gateway_writes_down_an_answer_that_was_stopped(shared_gateway: Served) -> None:
    session = Session(shared_gateway.url, asking=Asking("gpt-4o-slow-20-chunks-300"))
    answer = session.ask("Go on")
    next(iter(answer))
    answer.stop()
    assert answer.record is not None
    assert answer.record.outcome == "aborted"
    session.hang_up()


# --- what waits for a person ---------------------------------------------------------------------------------

SAID = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Write to ann@x.org, now"}]


def context(**more: str) -> dict[str, str]:
    """What is shown of the address in `SAID`."""
    shown = {"place": "messages[1].content", "label": "EMAIL", "before": "Write to ", "after": ", now", "tail": "rg"}
    return {**shown, **more}


@pytest.mark.parametrize(
    ("contexts", "ours"),
    [
        ([context()], True),
        ([context(before="", tail="")], True),
        ([context(), context(before="to ", after=",")], True),
        ([], False),
        ([context(), context(place="messages[0].content")], False),
        ([context(place="messages[2].content")], False),
        ([context(place="tools[0].description")], False),
        ([context(before="Send it to ")], False),
        ([context(tail="et")], False),
        ([context(before=", now", after="Write to ", tail="")], False),
    ],
)
def test_a_hold_is_ours_only_if_it_shows_our_own_words(contexts: list[dict[str, str]], ours: bool) -> None:
    assert is_of(contexts, SAID) is ours


def held_at(sink: Sink, *, key: str = "ary", **more: Any) -> None:
    """A gateway at which one request waits."""
    row = {"id": ID, "caller": "this machine", "project": "default", "seconds": 0.5, "labels": {"EMAIL": 1}, **more}
    shown = {**row, "contexts": [context(place="messages[0].content")]}
    keys = [
        {"id": "machine-1", "name": "this machine", "tail": f"n{key}"},
        {"id": "2", "name": "aider", "tail": "ffff"},
    ]
    sink.script("/api/holds", Reply(200, [row]), forever=True)
    sink.script(f"/api/holds/{ID}", Reply(200, shown), forever=True)
    sink.script("/api/keys", Reply(200, keys), forever=True)


OURS = "Write to ann@x.org, now"


def test_our_own_hold_is_found(sink: Sink, session: Session) -> None:
    held_at(sink)
    hold = session.held(OURS, age=0.5)
    assert hold is not None
    assert hold["id"] == ID
    assert {one.header["x-membrain-api-key"] for one in sink.requests} == {"ck_live_canary"}


@pytest.mark.parametrize(
    ("question", "more"),
    [
        (OURS, {"seconds": 3.0}),
        (OURS, {"caller": "aider"}),
        (OURS, {"key": "zzz"}),
        ("Write to Bob", {}),
    ],
)
def test_a_hold_that_began_earlier_or_is_of_others_is_not_ours(
    sink: Sink, session: Session, question: str, more: dict[str, Any]
) -> None:
    held_at(sink, **more)
    assert session.held(question, age=0.5) is None


def test_once_the_gateway_has_told_the_id_only_that_counts(sink: Sink, session: Session) -> None:
    held_at(sink, seconds=12.0, caller="odd")
    session._id = ID
    assert session.held("whatever", age=0.5) is not None
    session._id = "fedcba"
    assert session.held(OURS, age=20.0) is None


def test_a_hold_that_is_decided_meanwhile_is_none(sink: Sink, session: Session) -> None:
    held_at(sink)
    sink.script(f"/api/holds/{ID}", refused(409, "hold_decided", "This request waits no longer."))
    assert session.held(OURS, age=0.5) is None


def test_a_decision_is_told_to_the_gateway(sink: Sink, session: Session) -> None:
    sink.script(f"/api/holds/{ID}", Reply(200, {"id": ID}))
    session.decide(ID, "approve", always=True)
    (asked,) = sink.requests
    assert (asked.method, asked.path) == ("POST", f"/api/holds/{ID}")
    assert asked.json() == {"decision": "approve", "always": True}


def test_a_decision_that_comes_too_late_is_told(sink: Sink, session: Session) -> None:
    sink.script(f"/api/holds/{ID}", refused(409, "hold_decided", "This request waits no longer."))
    with pytest.raises(CommandError, match="waits no longer"):
        session.decide(ID, "deny")


def test_a_refusal_by_a_person_is_one_by_policy_also_within_a_stream(sink: Sink, session: Session) -> None:
    error = {"error": {"message": "Nobody approved this request in time.", "code": "hold_denied"}}
    sink.script("/v1/chat/completions", spoken(ending=f"data: {json.dumps(error)}\n\n".encode()))
    assert failing(session).code == Exit.REFUSED


def test_a_model_is_near_if_its_name_stands_within_another(sink: Sink, session: Session) -> None:
    sink.models = ["gpt-4o", "ollama/llama3:latest"]
    assert session.near("llama3") == ["ollama/llama3:latest"]
    assert session.near("gpt-4") == ["gpt-4o"]
    assert session.near("zz") == []
