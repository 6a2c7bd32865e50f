"""Nothing private leaves: a canary in every string that a chat completion may hold, before a real gateway.

The strings come from the SDK's own types (`canaries.py`), what must become of each from the table there. Each canary
is sent by itself, whole and streamed, to an upstream that answers with every placeholder it was given.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from membrain.dialects.table import PATHS
from membrain.dialects.translation import TRANSLATIONS
from membrain.masking.request import Request
from membrain.masking.texts import KNOWN_KEYS
from membrain.pii.detector import Detector
from membrain.pii.vault import SHAPE, Vault
from membrain.providers.base import FORWARDED
from tests import sink as sink_module
from tests.canaries import (
    BASE,
    ENDS,
    EXPECTED,
    KINDS,
    ROOTS,
    Canary,
    Leaf,
    end,
    fate_of,
    found_in,
    heard,
    hints,
    kinds_of_leaf,
    leaves,
    names,
    spoken,
    told,
    traces,
)
from tests.served import Served
from tests.sink import JSON, SSE, Call, Sink
from tests.sink_says import as_bytes

LEAVES = leaves()
WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


# --- an upstream that says back what it was told ------------------------------------------------------------


async def mirror(call: Call) -> None:
    """Answer with every placeholder of the request: as text, and as the arguments of a tool call."""
    said = call.request.body.decode()
    said_back = "You said " + ", ".join(dict.fromkeys(re.findall(SHAPE, said))) + "."
    stream = bool((call.said or {}).get("stream"))
    dialect = next((name for end, name in _SPOKEN_AT.items() if call.route.endswith(end)), "")
    if not dialect:
        await call.wire.whole(200, JSON, as_bytes({"input_tokens": 1, "data": [], "results": [], "said": said_back}))
        return
    await call.wire.whole(200, SSE if stream else JSON, spoken(said_back, stream=stream, dialect=dialect))


_SPOKEN_AT = {
    "/chat/completions": "chat",
    "/messages": "messages",
    "/responses": "responses",
    "/completions": "completions",
}
"""How an address ends → the dialect that is answered in there. All others answer in numbers."""


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with pytest.MonkeyPatch.context() as patch, Sink() as sink:
        patch.setitem(sink_module.INSTEAD, "mirror", mirror)
        yield sink


@pytest.fixture(scope="module")
def served(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("canaries") / "home", sink) as served:
        yield served
        served.assert_sound()


# --- what became of one canary ------------------------------------------------------------------------------


PATH_OF = {dialect.name: path for path, dialect in PATHS.items()}


def fate(
    served: Served, sink: Sink, body: bytes, canary: Canary, *, stream: bool = False, dialect: str = "chat"
) -> str:
    """In one word, or in a sentence if it is none of those that the table knows."""
    sink.clear()
    answer = served.post(PATH_OF[dialect], body)
    seen = sink.bytes_seen()
    if answer.status == 403:
        return "refused" if not seen and b"must not leave" in answer.body else "refused, but too late"
    if answer.status != 200 or len(sink.requests) != 1:
        return f"{answer.status} after {len(sink.requests)} requests upstream: {answer.body[:200]!r}"
    leaks = found_in(seen, [canary.value])
    if leaks:
        return "untouched" if canary.text in body.decode() and canary.text.encode() in seen else f"left as {leaks}"
    if dialect in SILENT:
        return "masked"
    text, note = heard(answer, stream=stream, dialect=dialect)
    missing = [name for name, told in (("text", text), ("tool", note)) if canary.value not in told]
    return f"did not come back in {missing}: {text!r}" if missing else "masked"


SILENT = {"count_tokens", "embeddings", "moderations"}
"""They are answered in numbers: nothing comes back."""


def row(leaf: Leaf) -> str:
    """What the table says must become of a canary in *leaf*."""
    return EXPECTED[leaf.path]


def sent(leaf: Leaf, canary: Canary, *, stream: bool) -> bytes:
    return json.dumps({**leaf.fill(canary.text), **({"stream": True} if stream else {})}).encode()


# --- the claims ----------------------------------------------------------------------------------------------


def test_every_leaf_of_the_sdk_has_a_row_and_every_row_a_leaf() -> None:
    """Whoever sees this fail after an update of the SDK: say in `canaries.py` what must become of the new leaf."""
    assert {leaf.path for leaf in LEAVES} == set(EXPECTED)


def test_the_walk_sees_what_an_update_of_the_sdk_would_add(monkeypatch: pytest.MonkeyPatch) -> None:
    from openai.types.chat import chat_completion_user_message_param as user

    kind = user.ChatCompletionUserMessageParam
    monkeypatch.setattr(kind, "__annotations__", {**kind.__annotations__, "nickname": str})
    hints.cache_clear()
    assert {leaf.path for leaf in leaves.__wrapped__()} - set(EXPECTED) == {"messages[]<user>.nickname"}
    hints.cache_clear()


def test_every_leaf_puts_its_canary_into_the_request_once() -> None:
    assert {json.dumps(leaf.fill("CANARY")).count("CANARY") for leaf in LEAVES} == {1}


@WAYS
@EVERY_KIND
def test_a_canary_in_any_string_is_masked_and_comes_back_or_is_refused(
    served: Served, sink: Sink, kind: str, stream: bool
) -> None:
    wrong = {}
    for leaf in LEAVES:
        canary = KINDS[kind](leaf.path)
        became = fate(served, sink, sent(leaf, canary, stream=stream), canary, stream=stream)
        if became != row(leaf):
            wrong[leaf.path] = became
    assert wrong == {}


@WAYS
def test_a_canary_spelled_in_escapes_is_masked_all_the_same(served: Served, sink: Sink, stream: bool) -> None:
    """JSON may write every sign of a string as an escape."""
    wrong = {}
    for leaf in LEAVES[:: len(LEAVES) // 40]:
        canary = KINDS["email"](leaf.path)
        body = sent(leaf, canary, stream=stream).replace(canary.value.encode(), traces(canary.value)["escaped"])
        assert canary.value not in body.decode()
        became = fate(served, sink, body, canary, stream=stream)
        if became != EXPECTED[leaf.path]:
            wrong[leaf.path] = became
    assert wrong == {}


@pytest.mark.parametrize("how", ["percent", "quoted", "hex", "html", "base64"])
@WAYS
def test_a_canary_in_disguise_does_not_leave_and_comes_back_in_it(
    served: Served, sink: Sink, how: str, stream: bool
) -> None:
    canary = KINDS["email"](f"disguised as {how}")
    shown = base64.b64encode(canary.value.encode()).decode() if how == "base64" else traces(canary.value)[how].decode()
    body = {**BASE, "messages": [{"role": "user", "content": f"Read {shown} for me"}], "stream": stream}
    sink.clear()
    answer = served.post("/v1/chat/completions", body)
    assert answer.status == 200, answer.body
    assert len(sink.requests) == 1
    assert found_in(sink.bytes_seen(), [canary.value]) == []
    assert all(shown in told for told in heard(answer, stream=stream))


OTHERS = [dialect for dialect in ROOTS if dialect != "chat"]
IN_OTHERS = pytest.mark.parametrize("dialect", OTHERS)


def test_every_leaf_of_every_dialect_has_a_fate_and_every_fate_a_leaf() -> None:
    """Whoever sees this fail after an update of an SDK: say in `canaries.py` what must become of the new name."""
    assert {end(leaf.path) for dialect in OTHERS for leaf in leaves(dialect)} - {"data"} == set(ENDS) - {"data"}
    assert set(ROOTS) == {dialect.name for dialect in PATHS.values()}


def test_every_name_of_the_sdks_is_everybodys() -> None:
    """A new one has to be known: as a name it is not looked at, and a finding in it is told by it."""
    assert names() - KNOWN_KEYS == set()


@IN_OTHERS
def test_every_canary_of_every_dialect_is_found_where_it_is(dialect: str) -> None:
    """Without a gateway: each leaf, with the kinds of canary in turn."""
    detector, wrong = _detector(), {}
    for number, leaf in enumerate(leaves(dialect)):
        canary = _in_turn(number)(leaf.path)
        body = leaf.fill(canary.text)
        raw = json.dumps(body).encode()
        request = Request(raw, body)
        request.look(detector.scan)
        refused = any(found.fixed for found in request.found())
        left = found_in(request.mask(Vault(b"k" * 32), bool).body, [canary.value])
        became = "refused" if refused else f"left as {left}" if left else "masked"
        if became != fate_of(dialect, leaf.path):
            wrong[leaf.path] = became
    assert wrong == {}


@cache
def _detector() -> Detector:
    return Detector(names=False)


def _in_turn(number: int) -> Callable[[str], Canary]:
    return list(KINDS.values())[number % len(KINDS)]


@IN_OTHERS
@WAYS
def test_a_canary_in_any_dialect_is_masked_and_comes_back_or_is_refused(
    served: Served, sink: Sink, dialect: str, stream: bool
) -> None:
    """With the kinds of canary in turn."""
    wrong = {}
    for number, leaf in list(enumerate(kinds_of_leaf(dialect)))[:: _STEPS[dialect, stream]]:
        canary = _in_turn(number + stream)(leaf.path)
        body = sent(leaf, canary, stream=stream and dialect not in SILENT)
        became = fate(served, sink, body, canary, stream=stream, dialect=dialect)
        if became != fate_of(dialect, leaf.path):
            wrong[leaf.path] = became
    assert wrong == {}


_STEPS: defaultdict[tuple[str, bool], int] = defaultdict(lambda: 1)
_STEPS |= {
    ("messages", False): 3,
    ("messages", True): 5,
    ("count_tokens", False): 20,
    ("count_tokens", True): 40,
    ("responses", False): 2,
    ("responses", True): 4,
}
"""Of how many leaves one is sent, where there are many; what they have in common is looked at for each, above."""

MODEL_OF = {"chat": "gpt-mirror", "responses": "gpt-mirror-codex", "messages": "claude-mirror"}
"""Dialect → a model that is asked in no other."""


@pytest.mark.parametrize(("dialect", "to"), sorted(TRANSLATIONS))
def test_no_canary_leaves_through_the_words_of_another_dialect(
    served: Served, sink: Sink, dialect: str, to: str
) -> None:
    """What is translated was masked before, and comes back."""
    left, silent, reached = {}, [], 0
    those = kinds_of_leaf(dialect)[:: 1 if dialect == "completions" else 4]
    for number, leaf in enumerate(those):
        canary, stream = _in_turn(number)(leaf.path), bool(number % 2)
        sink.clear()
        said = {**leaf.fill(canary.text), "model": MODEL_OF[to], "stream": stream}
        answer = served.post(PATH_OF[dialect], said)
        reached += len(sink.requests)
        if found := found_in(sink.bytes_seen(), [canary.value]):
            left[leaf.path] = found
        if answer.status == 200 and re.search(SHAPE.encode(), sink.bytes_seen()):
            back = answer.body if not stream else told(answer, stream=True, dialect=dialect)[0].encode()
            silent += [] if canary.value.encode() in back else [leaf.path]
    assert left == {}
    assert silent == []
    assert reached >= 6  # much is refused, or has no words there


def _asked(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


SPELLED = KINDS["email"]("spelled").value
PLAIN = json.dumps({**BASE, "messages": [{"role": "user", "content": f"Write to {SPELLED}"}]})
HELLO = json.dumps(BASE)
TWICE = json.dumps({"role": "user", "content": SPELLED})

SPELLINGS: dict[str, tuple[bytes, int]] = {
    "a member twice, the canary in the first": (f'{{"messages": [{TWICE}], {HELLO[1:]}'.encode(), 200),
    "a member twice, the canary in the last": (f'{HELLO[:-1]}, "messages": [{TWICE}]}}'.encode(), 200),
    "a text twice": (HELLO.replace('"content"', f'"content": "{SPELLED}", "content"').encode(), 200),
    "between zeros": (PLAIN.replace(SPELLED, rf"\u0000{SPELLED}\u0000").encode(), 200),
    "after much else": (PLAIN.replace(SPELLED, "x " * 50_000 + SPELLED).encode(), 200),
    "far down": (f'{HELLO[:-1]}, "deep": {"[" * 90}"{SPELLED}"{"]" * 90}}}'.encode(), 200),
    "in UTF-16": (PLAIN.encode("utf-16"), 400),
    "in UTF-32": (PLAIN.encode("utf-32-le"), 400),
    "after a byte order mark": (PLAIN.encode("utf-8-sig"), 400),
    "beside a byte that is no UTF-8": (PLAIN.encode().replace(b"Write", b"\xff"), 400),
    "behind the end": (f'{HELLO} "{SPELLED}"'.encode(), 400),
    "in a comment": (HELLO.replace("{", f"{{/* {SPELLED} */", 1).encode(), 400),
    "as no JSON at all": (SPELLED.encode(), 400),
}
"""Body, and the status that it gets."""


CARD = int(KINDS["card"]("number").value)
POSES: dict[str, dict[str, Any]] = {
    "text behind a data URL": _asked(f"data:image/png;base64,iVBORw0KGgo= what is this? my mail is {SPELLED}"),
    "text behind a data URL, in a part": _asked([{"type": "text", "text": f"data:image/png;base64,iVBO\n{SPELLED}"}]),
    "no base64 in an image's data URL": _asked(
        [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{SPELLED}"}}]
    ),
    "a part that says it is thinking": _asked([{"type": "thinking", "text": f"hi {SPELLED}"}]),
    "metadata that says it is thinking": {"metadata": {"type": "thinking", "note": SPELLED}},
    "a body that says it is thinking": {"type": "thinking", "user": SPELLED},
    "metadata named signature": {"metadata": {"signature": SPELLED}},
    "a number": {"metadata": {"n": CARD}},
    "a number for a number": {"temperature": CARD},
    "a number in a tool's schema": {
        "tools": [{"type": "function", "function": {"name": "a", "parameters": {"default": CARD}}}]
    },
}


@pytest.mark.parametrize("how", POSES)
def test_nothing_that_poses_as_something_else_is_let_through(served: Served, sink: Sink, how: str) -> None:
    sink.clear()
    answer = served.post("/v1/chat/completions", {**BASE, **POSES[how]})
    assert answer.status in {200, 403}
    assert len(sink.requests) == (answer.status == 200)
    assert found_in(sink.bytes_seen(), [SPELLED, str(CARD)]) == []


def test_a_type_said_twice_hides_nothing(served: Served, sink: Sink) -> None:
    sink.clear()
    said = f'{{"role":"user","type":"text","content":"{SPELLED}","type":"thinking"}}'
    served.post("/v1/chat/completions", f'{{"model":"gpt-4o","messages":[{said}]}}'.encode())
    assert len(sink.requests) == 1
    assert found_in(sink.bytes_seen(), [SPELLED]) == []


@pytest.mark.parametrize("how", SPELLINGS)
def test_no_way_to_write_a_body_lets_a_canary_through(served: Served, sink: Sink, how: str) -> None:
    body, status = SPELLINGS[how]
    sink.clear()
    answer = served.post("/v1/chat/completions", body)
    assert answer.status == status
    assert len(sink.requests) == (status == 200)
    assert found_in(sink.bytes_seen(), [SPELLED]) == []
    assert status == 200 or SPELLED.encode() not in answer.body


def test_a_packed_body_is_not_taken(served: Served, sink: Sink) -> None:
    """What was not unpacked was not looked at."""
    sink.clear()
    packed = gzip.compress(PLAIN.encode())
    assert served.post("/v1/chat/completions", packed, **{"content-encoding": "gzip"}).status == 415
    assert sink.bytes_seen() == b""


# --- headers and addresses -----------------------------------------------------------------------------------

HEADERS = [
    *("accept", "accept-language", "baggage", "cookie", "forwarded", "from", "priority", "tracestate", "user-agent"),
    *("http-referer", "x-title", "x-request-id", "x-client-request-id", "x-forwarded-for", "x-real-ip", "x-unknown"),
    *("openai-version", "openai-user", "anthropic-user-id"),
    *("x-membrain-user-id", "x-membrain-project", "x-membrain-knowledge", "x-membrain-tier"),
    *("x-stainless-lang", "x-stainless-package-version", "x-stainless-os", "x-stainless-runtime"),
    *("x-stainless-read-timeout", "x-stainless-retry-count", "x-stainless-helper-method", "litellm-metadata"),
]


@pytest.mark.parametrize("model", ["gpt-mirror", "claude-sonnet-4-5"])
@WAYS
def test_no_header_of_the_callers_leaves(served: Served, sink: Sink, stream: bool, model: str) -> None:
    canaries = {name: KINDS["email"](name).value for name in HEADERS}
    sink.clear()
    answer = served.post("/v1/chat/completions", {**BASE, "model": model, "stream": stream}, **canaries)
    assert answer.status == 200
    assert len(sink.requests) == 1
    assert found_in(sink.bytes_seen(), canaries.values()) == []


@pytest.mark.parametrize("name", [name for names in FORWARDED.values() for name in names])
def test_a_canary_in_a_header_that_a_provider_goes_by_is_refused(served: Served, sink: Sink, name: str) -> None:
    """It is handed on, and cannot be masked."""
    canary = KINDS["email"](name).value
    sink.clear()
    answer = served.post("/v1/chat/completions", BASE, **{name: canary})
    assert (answer.status, answer.json()["error"]["code"]) == (403, "pii_blocked")
    assert canary.encode() not in answer.body
    assert sink.bytes_seen() == b""


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "x-membrain-api-key", "x-membrain-max-cost", "referer"])
def test_a_canary_in_a_header_that_decides_something_is_refused(served: Served, sink: Sink, name: str) -> None:
    canary = KINDS["email"](name).value
    sink.clear()
    answer = served.post("/v1/chat/completions", BASE, **{name: canary})
    assert answer.status in (400, 401, 403)
    assert canary.encode() not in answer.body
    assert sink.bytes_seen() == b""


@pytest.mark.parametrize("path", ["/v1/chat/completions?user={}", "/v1/chat/completions/{}", "/v1/models/{}"])
def test_nothing_of_the_address_that_was_asked_leaves(served: Served, sink: Sink, path: str) -> None:
    canary = KINDS["email"](path).value
    sink.clear()
    method = "GET" if "models" in path else "POST"
    served.request(method, path.format(canary), json.dumps(BASE).encode(), {"content-type": "application/json"})
    assert found_in(sink.bytes_seen(), [canary]) == []


# --- the check itself ------------------------------------------------------------------------------------------


def test_the_check_goes_red_when_masking_is_off(sink: Sink, tmp_path: Path) -> None:
    """Sabotage: with masking off every canary leaves, and is seen to."""
    unseen = {}
    with Served(tmp_path / "home", sink, MEMBRAIN_PII_ON_FIND="pass") as open_door:
        for leaf in LEAVES:
            canary = KINDS["email"](leaf.path)
            became = fate(open_door, sink, sent(leaf, canary, stream=False), canary, stream=False)
            if became != "untouched":
                unseen[leaf.path] = became
    assert unseen == {}


@pytest.mark.parametrize("how", traces("x" * 20))
def test_the_check_sees_every_encoding(how: str) -> None:
    canary = KINDS["email"]("anywhere").value
    around = b'{"content": "before ' + traces(canary)[how] + b' after"}'
    assert how in {name for _, name in found_in(around, [canary])}
    assert {name for _, name in found_in(around.upper(), [canary])} or how.startswith("base64")
    assert found_in(around, [KINDS["email"]("elsewhere").value]) == []


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "Write to: "])
def test_the_check_sees_a_canary_inside_any_base64(before: str) -> None:
    canary = KINDS["key"]("anywhere").value
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert found_in(encode(f"{before}{canary}\u00ff\u00fe".encode()), [canary])
