"""What of a request is looked at and replaced: every string, in the caller's own bytes, stable from turn to turn."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.masking.request import Request, reread
from membrain.masking.texts import Pieces
from membrain.pii.detector import Detector
from membrain.pii.kinds import Span
from membrain.pii.vault import Vault

KEY = b"k" * 32
MAIL = "jane.doe@corp-mail.net"
OTHER = "kwame@corp-mail.net"
CARD = "4242 4242 4242 4242"


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(names=False)


def every(span: Span) -> bool:
    return bool(span)


def masked(detector: Detector, body: bytes | dict[str, Any], vault: Vault | None = None) -> bytes:
    """*body* as it leaves."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request(raw, msgspec.json.decode(raw))
    request.look(detector.scan)
    return request.mask(Vault(KEY, "p") if vault is None else vault, every).body


def chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": list(messages), **more}


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def fixed(detector: Detector, body: dict[str, Any]) -> list[str]:
    """The places with a finding that cannot be masked."""
    raw = json.dumps(body).encode()
    request = Request(raw, body)
    request.look(detector.scan)
    return [place.name for place in request.found() if place.fixed]


def test_a_body_without_anything_private_leaves_as_the_very_same_object(detector: Detector) -> None:
    raw = b'{"model": "gpt-4o",  "messages":[{"role":"user","content":"caf\\u00e9 & \xf0\x9f\x90\x9d"}]}'
    request = Request(raw, msgspec.json.decode(raw))
    request.look(detector.scan)
    assert request.mask(Vault(KEY), every).body is raw


def test_only_the_value_is_replaced_and_every_other_byte_is_as_it_came(detector: Detector) -> None:
    front = b'{ "model":"gpt-4o",\n "x-unknown": [1.50, null,1e3], "messages":[{"role":"user","content":"caf\\u00e9 '
    back = b'\\/ done"}], "temperature":0.10 }'
    body = masked(detector, front + MAIL.encode() + back)
    assert body.startswith(front)
    assert body.endswith(back)
    assert MAIL.encode() not in body


MESSAGES: list[tuple[str, dict[str, Any]]] = [
    ("system", chat({"role": "system", "content": f"Serve {MAIL}."})),
    ("user", chat(user(f"I am {MAIL}"))),
    ("part", chat(user([{"type": "text", "text": f"I am {MAIL}"}]))),
    ("assistant", chat(user("?"), {"role": "assistant", "content": f"You are {MAIL}"})),
    ("tool result", chat(user("?"), {"role": "tool", "tool_call_id": "call_1", "content": f'{{"to": "{MAIL}"}}'})),
    (
        "tool arguments",
        chat({"role": "assistant", "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": json.dumps({"to": MAIL})}}
        ]}),
    ),
    (
        "schema prose",
        chat(user("?"), tools=[{"type": "function", "function": {
            "name": "f", "description": f"Ask {MAIL}", "parameters": {"properties": {
                "to": {"type": "string", "description": f"like {MAIL}", "default": MAIL, "examples": [MAIL]}}}}}]),
    ),
    ("metadata", chat(user("?"), metadata={"customer": MAIL})),
    ("user label", chat(user("?"), user=MAIL)),
    ("unknown", chat(user("?"), x_unknown={"deep": [[{"deeper": MAIL}]]})),
    ("stop", chat(user("?"), stop=[MAIL])),
    ("image address", chat(user([{"type": "image_url", "image_url": {"url": f"https://x.example/{MAIL}"}}]))),
    ("prediction", chat(user("?"), prediction={"type": "content", "content": MAIL})),
    ("refusal", chat({"role": "assistant", "refusal": f"not to {MAIL}"})),
]  # fmt: skip


@pytest.mark.parametrize("body", [body for _, body in MESSAGES], ids=[name for name, _ in MESSAGES])
def test_every_place_of_a_text_is_masked(detector: Detector, body: dict[str, Any]) -> None:
    vault = Vault(KEY, "p")
    out = masked(detector, body, vault)
    assert MAIL.encode() not in out
    assert vault.placeholder("EMAIL", MAIL).encode() in out
    assert vault.restore(out.decode()) == json.dumps(body)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (chat(user("?"), **{MAIL: 1}), "body (name)"),
        (chat(user("?"), metadata={MAIL: "x"}), "metadata (name)"),
        (chat({"role": "tool", "tool_call_id": MAIL, "content": "x"}), "messages[0].tool_call_id"),
        (chat(user("?"), response_format={"json_schema": {"schema": {"enum": [MAIL]}}}), None),
        ({"model": MAIL, "messages": [user("?")]}, "model"),
    ],
)
def test_what_is_matched_by_name_is_reported_and_not_changed(
    detector: Detector, body: dict[str, Any], place: str | None
) -> None:
    expected = place or "response_format.json_schema.schema.enum[0]"
    assert fixed(detector, body) == [expected]
    assert masked(detector, body) == json.dumps(body).encode()


def test_a_place_never_names_a_key_that_is_not_everybodys(detector: Detector) -> None:
    raw = json.dumps(chat(user("?"), metadata={"jane doe's card": CARD})).encode()
    request = Request(raw, msgspec.json.decode(raw))
    request.look(detector.scan)
    assert [place.name for place in request.found()] == ["metadata.*"]


def test_doubled_members_are_both_masked(detector: Detector) -> None:
    raw = b'{"model":"m","messages":[{"role":"user","content":"%b","content":"%b"}]}' % (MAIL.encode(), OTHER.encode())
    out = masked(detector, raw)
    assert MAIL.encode() not in out
    assert OTHER.encode() not in out


SIGNATURE = "EqoBCkgIARABGAIiQL2UoU0b1OHYi" + "tIsz7x0bTDoWgK3hjRjKkQm9vQx1pXrP0a7F3bN6u4E8sVd2Yc="


def test_what_a_provider_signed_goes_back_as_it_came(detector: Detector) -> None:
    blocks = [
        {"type": "thinking", "thinking": "so it is EMAIL_0123456789abc739", "signature": SIGNATURE},
        {"type": "redacted_thinking", "data": SIGNATURE},
    ]
    body = chat({"role": "assistant", "content": blocks})
    assert masked(detector, body) == json.dumps(body).encode()


@pytest.mark.parametrize(
    "body",
    [
        chat(user([{"type": "thinking", "text": MAIL}])),
        chat(user("?"), metadata={"type": "thinking", "note": MAIL}),
        chat(user("?"), type="thinking", user=MAIL),
        chat({"role": "assistant", "content": [{"type": "thinking", "thinking": MAIL, "signature": ""}]}),
        chat({"role": "assistant", "content": [{"type": "thinking", "thinking": MAIL}]}),
        chat({"role": "assistant", "content": [{"type": "text", "data": MAIL}]}),
    ],
)
def test_whatever_only_says_that_it_is_signed_is_masked(detector: Detector, body: dict[str, Any]) -> None:
    assert MAIL.encode() not in masked(detector, body)
    assert fixed(detector, body) == []


def signed(detector: Detector, body: dict[str, Any]) -> set[str]:
    """By what the places with a finding are known again; "" for those that need not return as they are."""
    raw = json.dumps(body).encode()
    request = Request(raw, body)
    request.look(detector.scan)
    return {found.signed for found in request.found()}


WRAPPED = "mb1." + base64.b64encode(json.dumps([{"summary": [{"text": f"so it is {MAIL}"}]}]).encode()).decode()


@pytest.mark.parametrize(
    ("member", "text"),
    [
        ({"content": [{"type": "thinking", "thinking": MAIL, "signature": SIGNATURE}]}, MAIL),
        ({"content": [{"signature": SIGNATURE, "thinking": MAIL, "type": "thinking"}]}, MAIL),
        ({"content": [{"type": "redacted_thinking", "data": MAIL}]}, MAIL),
        ({"content": [{"data": WRAPPED, "type": "redacted_thinking"}]}, WRAPPED),
        ({"thinking_blocks": [{"type": "thinking", "thinking": MAIL, "signature": SIGNATURE}]}, MAIL),
        ({"reasoning_items": [{"type": "reasoning", "summary": [{"text": MAIL}]}]}, MAIL),
        ({"encrypted_content": WRAPPED}, WRAPPED),
        *(({name: MAIL}, MAIL) for name in ("signature", "encrypted_content", "thought_signature", "fingerprint")),
    ],
)
def test_a_value_in_what_has_to_return_as_it_is_is_reported(
    detector: Detector, member: dict[str, Any], text: str
) -> None:
    body = chat({"role": "assistant", "content": "", **member})
    assert len(fixed(detector, body)) >= 1
    assert signed(detector, body) == {text}
    assert masked(detector, body) == json.dumps(body).encode()


def test_a_masked_value_that_a_signed_thought_repeats_is_reported_unless_it_is_known(detector: Detector) -> None:
    secret = "Zk3vQ9xT" + "7LmB2wRp"
    block = {"type": "thinking", "thinking": f"it is {secret}, ok?", "signature": SIGNATURE}
    body = chat(user(f"password: {secret}"), {"role": "assistant", "content": [block]}, user("go on"))
    raw = json.dumps(body).encode()
    request = Request(raw, body)
    request.look(detector.scan)
    assert [found.name for found in request.mask(Vault(KEY), every).left] == ["messages[1].content[0].thinking"]
    assert request.mask(Vault(KEY), every, lambda text: text == block["thinking"]).left == ()


def test_names_count_in_a_signed_thought_and_not_in_what_is_encrypted() -> None:
    class Names:
        def scan(self, text: str) -> list[Span]:
            return [Span(0, 4, "PERSON", "name")] if text.startswith("Jane") else []

    block = {"type": "thinking", "thinking": "Jane it is", "signature": "JaneJaneJane"}
    raw = json.dumps(chat({"role": "assistant", "content": [block]})).encode()
    request = Request(raw, msgspec.json.decode(raw))
    request.look(Names().scan)
    assert [found.text for found in request.found()] == ["Jane it is"]


@pytest.mark.parametrize("name", ["id", "type", "status", "signature", "file_id", "format"])
def test_what_a_tool_is_given_may_have_any_names(detector: Detector, name: str) -> None:
    call = {"type": "tool_use", "id": "t", "name": "send", "input": {name: MAIL, "deep": {"include": [MAIL]}}}
    body = {"model": "m", "messages": [{"role": "assistant", "content": [call]}]}
    assert fixed(detector, body) == []
    assert MAIL.encode() not in masked(detector, body)


def responses(*items: Any, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-5", "input": list(items), **more}


@pytest.mark.parametrize("name", ["id", "call_id", "status", "item_id", "type"])
def test_names_of_the_wire_are_fixed_in_the_items_of_responses(detector: Detector, name: str) -> None:
    items = [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", name: MAIL}, {"role": "user"}]
    assert fixed(detector, responses(*items)) == [f"input[0].{name}"]
    assert fixed(detector, responses(*items[:1])) == [f"input[0].{name}"]


def test_forty_turns_of_messages_are_continuations_of_one_another(detector: Detector) -> None:
    """With what tools are given and say, and thoughts that a provider signed."""
    said: list[dict[str, Any]] = []
    before = b""
    for turn in range(40):
        said.append(user([{"type": "text", "text": f"Turn {turn}: {MAIL}, user{turn}@corp-mail.net, {CARD}"}]))
        body = masked(detector, {"system": f"Serve {OTHER}.", "messages": said, "metadata": {"user_id": f"{turn}"}})
        shown = body[: body.rindex(b"]")]
        assert shown.startswith(before)
        assert f"user{turn}@".encode() not in shown
        before = shown
        thought = {"type": "thinking", "thinking": f"turn {turn} EMAIL_0123456789abc739", "signature": SIGNATURE}
        call = {"type": "tool_use", "id": f"t{turn}", "name": "send", "input": {"to": f"user{turn}@corp-mail.net"}}
        said.append({"role": "assistant", "content": [thought, call]})
        said.append(user([{"type": "tool_result", "tool_use_id": f"t{turn}", "content": f"sent to {MAIL}"}]))


def test_forty_turns_of_responses_are_continuations_of_one_another(detector: Detector) -> None:
    items: list[dict[str, Any]] = []
    before = b""
    for turn in range(40):
        asked = {"type": "input_text", "text": f"Turn {turn}: {MAIL} and user{turn}@corp-mail.net, card {CARD}"}
        items.append({"type": "message", "role": "user", "content": [asked]})
        body = masked(detector, {"model": "m", "instructions": f"Serve {OTHER}.", "input": items, "user": f"u{turn}"})
        shown = body[: body.rindex(b"]")]
        assert shown.startswith(before)
        assert f"user{turn}@".encode() not in shown
        before = shown
        call = json.dumps({"to": f"user{turn}@corp-mail.net"})
        items += [
            {"type": "reasoning", "id": f"rs_{turn}", "summary": [], "encrypted_content": SIGNATURE},
            {"type": "function_call", "call_id": f"c{turn}", "name": "send", "arguments": call},
            {"type": "function_call_output", "call_id": f"c{turn}", "output": f"sent to {MAIL}"},
        ]


def test_a_value_found_later_does_not_change_the_items_that_were_sent_before(detector: Detector) -> None:
    secret = "Zk3vQ9xT" + "7LmB2wRp"
    old = [user(f"it is {secret}, ok?"), {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]
    later = masked(detector, responses(*old, {"type": "function_call_output", "output": f"password: {secret}"}))
    assert later.count(secret.encode()) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "prompt": f"to {MAIL}", "suffix": f"from {OTHER}"},
        {"model": "m", "prompt": [f"to {MAIL}", f"from {OTHER}"]},
        {"model": "m", "input": [f"to {MAIL}", f"from {OTHER}"]},
        {"model": "m", "input": [MAIL, OTHER, MAIL]},
        {"model": "m", "input": f"{MAIL} {OTHER}", "instructions": MAIL},
        {"model": "m", "system": [{"type": "text", "text": MAIL}], "messages": [user(OTHER), user("x")]},
    ],
)
def test_prompts_and_inputs_of_every_dialect_are_masked(detector: Detector, body: dict[str, Any]) -> None:
    vault = Vault(KEY, "p")
    raw = json.dumps(body).encode()
    out = masked(detector, raw, vault)
    assert MAIL.encode() not in out
    assert OTHER.encode() not in out
    assert vault.restore(out.decode()).encode() == raw


@pytest.mark.parametrize("list_name", ["messages", "input"])
def test_only_the_new_items_of_a_conversation_are_looked_at(detector: Detector, list_name: str) -> None:
    known, asked = Pieces(), list[str]()

    def scan(text: str) -> Sequence[Span]:
        asked.append(text)
        return detector.scan(text)

    for count in (2, 3):
        asked.clear()
        body = {"model": "m", list_name: [user(f"text {row} of {MAIL}") for row in range(count)]}
        Request(json.dumps(body).encode(), body, known).look(scan)
    assert "text 2 of " + MAIL in asked
    assert "text 0 of " + MAIL not in asked


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (chat(user("?"), metadata={"card": 4242424242424242}), "metadata.*"),
        (chat(user("?"), temperature=4242424242424242), "temperature"),
        (chat(user("?"), tools=[{"function": {"parameters": {"default": 4242424242424242.0}}}]),
         "tools[0].function.parameters.default"),
    ],
)  # fmt: skip
def test_a_value_that_is_a_number_is_reported(detector: Detector, body: dict[str, Any], place: str) -> None:
    assert fixed(detector, body) == [place]


def test_numbers_of_no_meaning_are_left_alone(detector: Detector) -> None:
    body = chat(user("at 1795305675123"), seed=4242424242424242, metadata={"at": 1795305675123}, max_tokens=100000000)
    assert fixed(detector, body) == []


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo4242424242424242AAAA="}},
        {"type": "input_audio", "input_audio": {"data": "UklGR4242424242424242AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_data": "JVBERi0x4242424242424242AAAA"}},
    ],
)
def test_pictures_sound_and_documents_are_not_looked_into(detector: Detector, part: dict[str, Any]) -> None:
    body = chat(user([part]))
    assert masked(detector, body) == json.dumps(body).encode()


@pytest.mark.parametrize(
    "text",
    [
        f"data:image/png;base64,iVBORw0KGgo= what is this? my mail is {MAIL}",
        f"data:image/png;base64,{MAIL}",
        f"iVBORw0KGgo4242 {MAIL}",
        "data:image/png;base64," + base64.b64encode(f"I am {MAIL} and well".encode()).decode(),
    ],
)
def test_text_that_poses_as_media_is_looked_at(detector: Detector, text: str) -> None:
    out = masked(detector, chat(user([{"type": "image_url", "image_url": {"url": text}}])))
    assert MAIL.encode() not in out
    assert base64.b64encode(f"I am {MAIL} and well".encode()) not in out


@pytest.mark.parametrize("cut", range(1, len(MAIL)))
def test_a_value_cut_over_two_parts_is_masked_in_both(detector: Detector, cut: int) -> None:
    parts = [{"type": "text", "text": f"I am {MAIL[:cut]}"}, {"type": "text", "text": f"{MAIL[cut:]} and well"}]
    out = masked(detector, chat(user(parts)))
    texts = [part["text"] for part in reread(out)["messages"][0]["content"]]
    assert not texts[0].endswith(MAIL[:cut])
    assert not texts[1].startswith(MAIL[cut:])


def test_two_messages_that_follow_each_other_are_read_as_one(detector: Detector) -> None:
    out = masked(detector, chat(user("my card is 4242 4242"), user("4242 4242 it is")))
    assert out.count(b"4242") < 4


@pytest.mark.parametrize("first", ["user", "system"])
def test_a_value_at_the_end_of_a_message_takes_nothing_from_the_next(detector: Detector, first: str) -> None:
    out = masked(detector, chat({"role": first, "content": f"You serve {MAIL}"}, user("One")))
    assert reread(out)["messages"][1]["content"] == "One"


def test_a_value_is_masked_wherever_it_stands_once_it_was_found(detector: Detector) -> None:
    secret = "Zk3vQ9xT" + "7LmB2wRp"
    body = chat(user(f"it is {secret}, ok?"), user(f"password: {secret}"))
    assert secret.encode() not in masked(detector, body)


def test_a_value_found_later_does_not_change_what_was_sent_before(detector: Detector) -> None:
    """The provider's prompt cache knows the earlier turns as they were."""
    secret = "Zk3vQ9xT" + "7LmB2wRp"
    old = [user(f"it is {secret}, ok?"), {"role": "assistant", "content": "ok"}]
    first = masked(detector, chat(*old))
    later = masked(detector, chat(*old, user(f"password: {secret}"), user(f"again {secret}")))
    assert later.startswith(first[: first.rindex(b"]")])
    assert later.count(secret.encode()) == 1


def test_forty_turns_are_continuations_of_one_another(detector: Detector) -> None:
    """Whatever each turn adds, what was sent before is sent again byte for byte: a prompt cache stays warm."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": f"Serve {OTHER}."}]
    before = b""
    for turn in range(40):
        messages += [
            user(f"Turn {turn}: mail {MAIL} and user{turn}@corp-mail.net, card {CARD}. EMAIL_0123456789abc739")
        ]
        body = masked(detector, chat(*messages, user=f"u{turn}"))
        shown = body[: body.rindex(b"]")]
        assert shown.startswith(before)
        assert f"user{turn}@".encode() not in shown
        before = shown
        messages.append({"role": "assistant", "content": f"Done, user{turn}@corp-mail.net."})


def test_the_same_value_has_the_same_placeholder_in_every_place_and_request(detector: Detector) -> None:
    one = masked(detector, chat(user(MAIL)))
    two = masked(detector, chat(user("x"), user(f"to {MAIL}"), metadata={"a": MAIL}))
    assert two.count(one.split(b'"content": "')[1].split(b'"')[0]) == 2


def test_projects_have_placeholders_of_their_own(detector: Detector) -> None:
    one, other = Vault(KEY, "one"), Vault(KEY, "other")
    body = chat(user(MAIL))
    first, second = masked(detector, body, one), masked(detector, body, other)
    assert first != second
    assert one.restore(second.decode()) == second.decode()


def test_masking_what_was_masked_changes_nothing(detector: Detector) -> None:
    once = masked(detector, chat(user(f"I am {MAIL}, card {CARD}")))
    assert masked(detector, once, Vault(KEY, "p")) == once


def test_it_notes_which_url_a_value_stood_in(detector: Detector) -> None:
    raw = json.dumps(chat(user(f"fetch https://api.corp.example/u/{MAIL} now, not {OTHER}"))).encode()
    request = Request(raw, msgspec.json.decode(raw))
    request.look(detector.scan)
    assert request.mask(Vault(KEY), every).origins == {("EMAIL", MAIL, "https://api.corp.example")}


def test_no_value_is_in_a_repr(detector: Detector) -> None:
    raw = json.dumps(chat(user(MAIL))).encode()
    request = Request(raw, msgspec.json.decode(raw))
    request.look(detector.scan)
    assert MAIL not in repr(request.found()) + repr(request)


VALUES = st.sampled_from([MAIL, OTHER, CARD, "+44 20 7946 0018", "DE89 3704 0044 0532 0130 00", "923-45-6789"])
TEXTS = st.text(max_size=30)


@given(parts=st.lists(st.tuples(TEXTS, VALUES, TEXTS), max_size=4), ascii_only=st.booleans())
def test_what_was_masked_is_restored_whatever_stands_around_it(
    parts: Sequence[tuple[str, str, str]], ascii_only: bool
) -> None:
    body = chat(user("\n".join(f"{before}\n{value}\n{after}" for before, value, after in parts)))
    raw = json.dumps(body, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    vault = Vault(KEY, "p")
    request = Request(raw, body)
    request.look(_shared().scan)
    out = reread(request.mask(vault, every).body)
    content = out["messages"][0]["content"]
    assert vault.restore(content) == body["messages"][0]["content"]
    for _, value, _ in parts:
        assert value not in content


_made: list[Detector] = []


def _shared() -> Detector:
    """Hypothesis takes no fixture of a function's scope."""
    if not _made:
        _made.append(Detector(names=False))
    return _made[0]


BODIES = {
    "spread out": r"""{ "model" : "m" , "messages" : [
        {"role":"user","content":"to <1>"} ,
        {"role":"user","content":"<2>"} ] }""",
    "members behind": '{"model":"m","messages":[{"role":"user","content":"<1>"},{"content":"x"}],"user":"<2>"}',
    "said twice": '{"messages":[{"content":"<1>"},{"content":"y"}],"messages":[{"content":"<2>"},{"content":"x"}]}',
    "the same twice": '{"messages":[{"content":"<1>"},{"a":"<2>"}],"messages":[{"content":"<1>"},{"a":"<2>"}]}',
    "an empty message": '{"model":"m","x":"{}","messages":[{},{"content":"<1>"}],"user":"<2>"}',
    "elsewhere too": '{"metadata":{"messages":[{"a":"<1>"},{"b":1}]},"messages":[{"a":"<1>"},{"b":1}],"user":"<2>"}',
    "its name in escapes": r'{"mess\u0061ges":[{"role":"user","content":"<1>"},{"content":"<2>"}]}',
}


@pytest.mark.parametrize("how", BODIES)
def test_however_the_messages_stand_in_the_body_only_values_are_replaced(detector: Detector, how: str) -> None:
    raw = BODIES[how].replace("<1>", MAIL).replace("<2>", OTHER).encode()
    vault = Vault(KEY, "p")
    out = masked(detector, raw, vault)
    assert MAIL.encode() not in out
    assert OTHER.encode() not in out
    assert vault.restore(out.decode()).encode() == raw


def test_messages_that_were_looked_at_are_not_looked_at_again(detector: Detector) -> None:
    known, asked = Pieces(), list[str]()

    def scan(text: str) -> Sequence[Span]:
        asked.append(text)
        return detector.scan(text)

    def turn(*messages: dict[str, Any]) -> bytes:
        body = chat(*messages)
        request = Request(json.dumps(body).encode(), body, known)
        request.look(scan)
        return request.mask(Vault(KEY, "p"), every).body

    first = [user(f"I am {MAIL}"), {"role": "assistant", "content": "Hello."}]
    turn(*first)
    asked.clear()
    again = turn(*first, user(f"and {OTHER}"))
    assert asked == [f"and {OTHER}"]
    assert again == masked(detector, chat(*first, user(f"and {OTHER}")))


@given(
    texts=st.lists(
        st.sampled_from([f"I am {MAIL}", f"card {CARD}", "plain", "EMAIL_0123456789abc739", "", "é🐝"]), max_size=6
    ),
    cut=st.integers(0, 5),
)
def test_what_is_remembered_changes_nothing(texts: list[str], cut: int) -> None:
    known = Pieces()
    messages = [user(text) if row % 2 else {"role": "assistant", "content": text} for row, text in enumerate(texts)]
    for body in (chat(*messages[:cut]), chat(*messages)):
        raw = json.dumps(body).encode()
        outs = []
        for pieces in (known, None):
            request = Request(raw, body, pieces)
            request.look(_shared().scan)
            outs.append(request.mask(Vault(KEY, "p"), every).body)
        assert outs[0] == outs[1]


@given(
    order=st.permutations(["system", "tools", "messages", "input", "metadata", "model"]),
    sizes=st.lists(st.integers(0, 3), min_size=4, max_size=4),
    indent=st.sampled_from([None, 0, 2]),
    values=st.lists(VALUES, min_size=4, max_size=4),
)
def test_whichever_lists_stand_in_a_body_and_in_which_order_only_values_are_replaced(
    order: list[str], sizes: list[int], indent: int | None, values: list[str]
) -> None:
    lists = {
        name: [{"type": "text", "text": f"item {row} of {name}:\n{value}\n"} for row in range(size)]
        for name, size, value in zip(("system", "tools", "messages", "input"), sizes, values, strict=True)
    }
    whole: dict[str, Any] = {**lists, "metadata": {"note": f"by {OTHER}"}, "model": "m"}
    body = {name: whole[name] for name in order}
    raw = json.dumps(body, indent=indent).encode()
    vault = Vault(KEY, "p")
    out = masked(_shared(), raw, vault)
    assert reread(out).keys() == body.keys()
    assert vault.restore(out.decode()).encode() == raw
    assert OTHER.encode() not in out
    assert not any(value.encode() in out for value, size in zip(values, sizes, strict=True) if size)


@pytest.mark.parametrize("name", ["system", "tools"])
def test_one_item_that_changes_from_turn_to_turn_costs_only_itself(detector: Detector, name: str) -> None:
    """As a client's own line at the head of its system prompt does."""
    known, asked = Pieces(), list[str]()

    def scan(text: str) -> Sequence[Span]:
        asked.append(text)
        return detector.scan(text)

    for turn in range(2):
        asked.clear()
        items = [{"type": "text", "text": f"turn {turn}"}, {"type": "text", "text": f"for {MAIL}"}]
        body = {"model": "m", name: items, "messages": [user("Hello")]}
        Request(json.dumps(body).encode(), body, known).look(scan)
    assert f"turn {turn}" in asked
    assert f"for {MAIL}" not in asked
    assert "Hello" not in asked


@pytest.mark.parametrize("cut", [1, 5, 10, 20])
def test_a_value_cut_over_two_items_of_the_system_prompt_is_masked_in_both(detector: Detector, cut: int) -> None:
    items = [{"type": "text", "text": f"Serve {MAIL[:cut]}"}, {"type": "text", "text": f"{MAIL[cut:]} well"}]
    texts = [each["text"] for each in reread(masked(detector, {"system": items, "messages": [user("?")]}))["system"]]
    assert not texts[0].endswith(MAIL[:cut])
    assert not texts[1].startswith(MAIL[cut:])


def test_places_in_the_system_prompt_and_in_tools_are_named(detector: Detector) -> None:
    tools = [{"name": "a"}, {"name": "b", "input_schema": {"enum": [MAIL]}}]
    assert fixed(detector, {"model": "m", "tools": tools, "messages": [user("?")]}) == ["tools[1].input_schema.enum[0]"]


@pytest.mark.parametrize("data", [WRAPPED, "mb1.no base64", "mb1."])
def test_what_was_wrapped_for_another_dialect_is_looked_into(detector: Detector, data: str) -> None:
    """Whatever a detector makes of base64 by itself: the words in there are read as words."""
    body = chat({"role": "assistant", "content": [{"type": "redacted_thinking", "data": data}]})
    request = Request(json.dumps(body).encode(), body)
    texts = request.texts()
    assert data in texts
    assert any(MAIL in text for text in texts) is (data == WRAPPED)
