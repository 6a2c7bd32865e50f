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
        chat({"role": "assistant", "content": [{"type": "thinking", "thinking": MAIL, "signature": SIGNATURE}]}),
        chat({"role": "assistant", "content": [{"type": "redacted_thinking", "data": MAIL}]}),
    ],
)
def test_whatever_says_that_it_is_signed_is_looked_at(detector: Detector, body: dict[str, Any]) -> None:
    assert MAIL.encode() not in masked(detector, body)


@pytest.mark.parametrize("name", ["signature", "encrypted_content", "thought_signature"])
def test_a_value_in_a_signature_is_reported(detector: Detector, name: str) -> None:
    assert fixed(detector, chat({"role": "assistant", "content": "", name: MAIL})) != []


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
