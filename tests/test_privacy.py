"""Nothing private leaves, everything comes back: what must hold for the gateway as a whole, before a real one.

Canaries in every string of a request are the business of `test_canaries.py`; here are projects that must not see each
other's values, conversations, many at once, detectors that fail, policies over HTTP, and what stays behind on disk.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import pytest

from membrain import sse
from membrain.pii.vault import SHAPE, Vault
from tests.canaries import BASE, KINDS, found_in, heard, spoken
from tests.served import ROOT, Answer, Served
from tests.sink import SSE, Reply, Sink

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
JSON = {"content-type": "application/json"}
WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def mail(name: str) -> str:
    return KINDS["email"](name).value


Project = Mapping[str, str]
"""The header by which a request belongs to a project; empty for the one that is everybody's."""


def ask(
    served: Served, *texts: str, stream: bool = False, model: str = "gpt-4o", project: Project = MappingProxyType({})
) -> Answer:
    """A conversation whose turns are *texts*, the caller's and the model's by turns."""
    said = [{"role": ("user", "assistant")[row % 2], "content": text} for row, text in enumerate(texts)]
    return served.post(CHAT, {"model": model, "messages": said, "stream": stream}, **project)


def says(sink: Sink, text: str, *, stream: bool) -> None:
    """Have the model answer *text*."""
    body = spoken(text, stream=stream)
    sink.script(CHAT, Reply(body=body, headers=SSE if stream else JSON))


def placeholders(sink: Sink) -> list[str]:
    """Those in the last request that left."""
    return re.findall(SHAPE, sink.requests[-1].body.decode())


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink(ollama=("llama3:latest", "minimax-m2:cloud")) as sink:
        yield sink


@pytest.fixture(scope="module")
def served(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("privacy") / "home", sink) as served:
        yield served
        served.assert_sound()


@pytest.fixture(autouse=True)
def _nothing_seen(sink: Sink) -> None:
    sink.clear()


@pytest.fixture(scope="module")
def keys(served: Served) -> dict[str, Project]:
    """A header with a client key of each project."""
    issued = {name: served.post("/api/keys", {"name": f"{name}-key", "project": name}) for name in ("red", "blue")}
    return {name: {"authorization": f"Bearer {answer.json()['key']}"} for name, answer in issued.items()}


# --- two projects ---------------------------------------------------------------------------------------------

MANNERS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in capitals": str.upper,
    "in small letters": str.lower,
    "bold": "**{}**".format,
    "as code": "`{}`".format,
    "as a link": "[{0}](mailto:{0})".format,
    "with Markdown's escapes": lambda token: token.replace("_", r"\_"),
    "with a URL's escapes": lambda token: token.replace("_", "%5F"),
    "with HTML's escapes": lambda token: token.replace("_", "&#95;"),
    "with a blank": lambda token: token.replace("_", " "),
    "with a dash": lambda token: token.replace("_", "-"),
}
"""How a model may write a placeholder."""


def token_of(served: Served, sink: Sink, value: str, project: Project) -> str:
    """What stands for *value* in a project."""
    assert ask(served, f"Write to {value}", project=project).status == 200
    [token] = placeholders(sink)
    return token


@WAYS
@pytest.mark.parametrize("manner", MANNERS)
def test_no_project_can_have_the_model_print_the_value_of_another(
    served: Served, sink: Sink, keys: dict[str, Project], manner: str, stream: bool
) -> None:
    owner, value, own = keys["red"], mail("red's"), mail("blue's")
    token = token_of(served, sink, value, owner)
    said = MANNERS[manner](token)
    says(sink, f"It is {said}, yes.", stream=stream)
    told = heard(ask(served, f"I am {own}. What is {said}?", stream=stream, project=keys["blue"]), stream=stream)
    assert all(said in each and value not in each for each in told)
    assert found_in(sink.bytes_seen(), [value, own]) == []


@WAYS
@pytest.mark.parametrize("manner", MANNERS)
def test_its_own_project_gets_the_value_in_any_of_these_manners(
    served: Served, sink: Sink, keys: dict[str, Project], manner: str, stream: bool
) -> None:
    """The control of the claim above: it is the project that makes the difference."""
    owner, value = keys["red"], mail("red's")
    token = token_of(served, sink, value, owner)
    says(sink, f"It is {MANNERS[manner](token)}, yes.", stream=stream)
    told = heard(ask(served, f"I am {value}", stream=stream, project=owner), stream=stream)
    assert all(value in each and token not in each for each in told)


@WAYS
def test_a_key_of_the_same_project_that_did_not_ask_gets_nothing_either(
    served: Served, sink: Sink, keys: dict[str, Project], stream: bool
) -> None:
    """What can be restored is what this very exchange masked."""
    token = token_of(served, sink, mail("red's"), keys["red"])
    says(sink, f"It is {token}.", stream=stream)
    told = heard(ask(served, f"I am {mail('other')}", stream=stream, project=keys["red"]), stream=stream)
    assert all(token in each for each in told)


def test_a_value_has_another_placeholder_in_each_project(served: Served, sink: Sink, keys: dict[str, Project]) -> None:
    tokens = {token_of(served, sink, mail("shared"), project) for project in (*keys.values(), {})}
    assert len(tokens) == 3


def test_a_value_keeps_its_placeholder_when_the_gateway_starts_again(sink: Sink, tmp_path: Path) -> None:
    value = mail("kept")
    with Served(tmp_path / "home", sink) as served:
        first = token_of(served, sink, value, {})
    with Served(tmp_path / "home", sink) as served:
        assert token_of(served, sink, value, {}) == first
    with Served(tmp_path / "another home", sink) as served:
        assert token_of(served, sink, value, {}) != first


@pytest.mark.parametrize("many", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_as_many_values_have_as_many_placeholders(many: int) -> None:
    seen: set[str] = set()
    for start in range(0, many, 100_000):
        vault = Vault(b"k" * 32, "p")  # a new one each time: it would keep a million values
        seen.update(vault.placeholder("EMAIL", f"{n}@corp-mail.net") for n in range(start, start + 100_000))
    assert len(seen) == many


# --- a conversation -------------------------------------------------------------------------------------------

TURNS = 40
RARE = "qh7Kd92mXpLw4Tz"
"""Not known for a secret until somebody says so, in a later turn."""


def turn_of(number: int) -> str:
    """What the caller says in a turn: new values, old ones again, and one that only later turns out to be a secret."""
    told = {5: f"The word is {RARE}, fine?", 20: f"password: {RARE}", 30: f"Remember {RARE}?"}
    new, old = mail(f"turn {number}"), mail(f"turn {number // 2}")
    return told.get(number, f'Turn {number}: tell {new} and {old} about \u00e9\u4e2d "it"\n')


@WAYS
def test_over_forty_turns_what_leaves_goes_on_from_what_left_before(served: Served, sink: Sink, stream: bool) -> None:
    """A provider's prompt cache goes by the bytes from the first on."""
    texts: list[str] = []
    before = b""
    for number in range(1, TURNS + 1):
        texts.append(turn_of(number))
        answer = ask(served, *texts, stream=stream, model="gpt-echo")
        assert answer.status == 200, answer.body
        now = sink.requests[-1].body
        now = now[: now.rindex(b'}], "stream"')]
        assert now.startswith(before), f"turn {number} is not what turn {number - 1} was, and more"
        before = now
        texts.append(text_of(answer, stream=stream))
        assert texts[-1] == texts[-2]
    values = [mail(f"turn {number}") for number in range(TURNS + 1)]
    assert found_in(sink.bytes_seen(), values) == []
    assert before.count(b"EMAIL_") > TURNS
    assert f"The word is {RARE}".encode() in before
    assert f"password: {RARE}".encode() not in before
    assert f"Remember {RARE}".encode() not in before


def text_of(answer: Answer, *, stream: bool) -> str:
    """The text of an answer without tools."""
    if not stream:
        return str(answer.json()["choices"][0]["message"]["content"])
    events = re.findall(rb"^data: (\{.*)", answer.body, re.MULTILINE)
    deltas = [choice["delta"] for event in events for choice in json.loads(event)["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


# --- what is stored, and what is signed -----------------------------------------------------------------------


def reply(sink: Sink, path: str, text: str, dialect: str, *, stream: bool = False) -> None:
    """Have the model answer *text* on *path*."""
    sink.script(path, Reply(body=spoken(text, stream=stream, dialect=dialect), headers=SSE if stream else JSON))


@WAYS
def test_who_goes_on_from_a_stored_response_gets_back_what_was_masked_for_it(
    served: Served, sink: Sink, keys: dict[str, Project], stream: bool
) -> None:
    value, owner = mail(f"stored {stream}"), keys["red"]
    reply(sink, RESPONSES, "Noted.", "responses", stream=stream)
    first = {"model": "gpt-4o", "input": f"I am {value}", "stream": stream}
    assert served.post(RESPONSES, first, **owner).status == 200
    [token] = placeholders(sink)
    reply(sink, RESPONSES, f"You are {token}.", "responses", stream=stream)
    on = {"model": "gpt-4o", "input": "Who am I?", "previous_response_id": "m", "stream": stream}
    told = heard(served.post(RESPONSES, on, **owner), stream=stream, dialect="responses")
    assert all(value in each for each in told)
    assert found_in(sink.bytes_seen(), [value]) == []
    theirs = served.post(RESPONSES, on, **keys["blue"])
    assert value.encode() not in theirs.body


def thought_of(text: str) -> bytes:
    """A stream of Anthropic's that thinks *text*, and signs it."""
    block = {"type": "thinking", "thinking": "", "signature": ""}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "claude", "content": []}
    usage = {"input_tokens": 1, "output_tokens": 1}
    deltas = [{"type": "thinking_delta", "thinking": piece} for piece in (text[:7], text[7:])]
    deltas.append({"type": "signature_delta", "signature": "c2lnbmVk"})
    told: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
        {"type": "message_stop"},
    ]
    return b"".join(sse.encode(json.dumps(each).encode(), each["type"]) for each in told)


@pytest.mark.parametrize(("given", "status"), [(True, 200), (False, 403)])
def test_a_signed_thought_returns_if_it_was_given_out_here_and_not_otherwise(
    served: Served, sink: Sink, given: bool, status: int
) -> None:
    """The model made up an address; whoever made up the thought, might have put a real one there."""
    text = f"For example {mail(f'made up, {given}')}, and so on."
    user = {"role": "user", "content": "Think"}
    asked = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [user], "stream": True}
    if given:
        sink.script(MESSAGES, Reply(body=thought_of(text), headers=SSE))
        assert text[7:].encode() in served.post(MESSAGES, asked).body
    block = {"type": "thinking", "thinking": text, "signature": "c2lnbmVk"}
    sink.clear()
    again = json.dumps({**asked, "messages": [user, {"role": "assistant", "content": [block]}, user]}).encode()
    assert served.post(MESSAGES, again).status == status
    assert [request.body for request in sink.requests] == [again] * given


# --- many at once -----------------------------------------------------------------------------------------------

MANY = 64


def test_of_many_at_once_each_gets_its_own_values_only(served: Served, sink: Sink) -> None:
    """Some are streams, and every fourth caller hangs up in the middle."""
    everyone = [mail(f"parallel {number}") for number in range(MANY)]

    def one(number: int) -> str:
        text = f"I am {everyone[number]}, number {number}. " * 8
        if number % 4 == 3:
            return leaves_early(served, text)
        stream = number % 2 == 1
        return text_of(ask(served, text, stream=stream, model="gpt-echo-slow-3-chunks-60"), stream=stream)

    with ThreadPoolExecutor(MANY) as pool:
        heard_by = list(pool.map(one, range(MANY)))
    for number, told in enumerate(heard_by):
        assert set(re.findall(r"canary-\w+@[\w.-]+net", told)) <= {everyone[number]}
        assert "EMAIL_" not in told
        if number % 4 != 3:
            assert told == f"I am {everyone[number]}, number {number}. " * 8
    assert len(sink.requests) == MANY
    assert found_in(sink.bytes_seen(), everyone) == []


def leaves_early(served: Served, text: str) -> str:
    """Ask for a stream and hang up after its first bytes; gives the text of these."""
    body = {"model": "gpt-echo-slow-3-chunks-60", "messages": [{"role": "user", "content": text}], "stream": True}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)) as connection:
        connection.request("POST", CHAT, json.dumps(body), JSON)
        read = connection.getresponse().read(2500)
    whole = read[: read.rindex(b"\n\n") + 2] if b"\n\n" in read else b""
    return text_of(Answer(200, {}, whole), stream=True)


# --- detectors that fail ----------------------------------------------------------------------------------------

ENGINE = '''
"""A detector that does what the text says."""
import time


def find(text):
    if "RAISE" in text:
        raise ValueError(text)
    if "LATE" in text:
        time.sleep(1.0)
    if "BEYOND" in text:
        return [(0, len(text) + 1, "PERSON")]
    if "BACKWARDS" in text:
        return [(4, 2, "PERSON")]
    if "NEGATIVE" in text:
        return [(-3, 2, "PERSON")]
    if "FRACTIONS" in text:
        return [(0.0, 2.0, "PERSON")]
    if "NOTHING" in text:
        return None
    if "WORDS" in text:
        return "nonsense"
    if "PAIRS" in text:
        return [(0, 2)]
    if "UNLABELLED" in text:
        return [(0, 2, None)]
    if "ENDLESS" in text:
        raise RecursionError(text)
    if "FULL" in text:
        raise MemoryError(text)
    return []
'''

FAULTS = re.findall(r'if "(\w+)" in text', ENGINE)


@pytest.fixture(scope="module")
def shaky(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway with a detector that fails on demand."""
    folder = tmp_path_factory.mktemp("shaky")
    (folder / "shaky_engine.py").write_text(ENGINE)
    path = os.pathsep.join([*(str(ROOT / each) for each in ("gateway", "client", "")), str(folder)])
    environ = {"MEMBRAIN_PII_ENGINE": "shaky_engine:find", "MEMBRAIN_PII_SCAN_SECONDS": "0.5", "PYTHONPATH": path}
    with Served(folder / "home", sink, port=None, **environ) as served:
        yield served


@WAYS
@pytest.mark.parametrize("fault", FAULTS)
def test_when_a_detector_fails_nothing_is_sent(shaky: Served, sink: Sink, fault: str, stream: bool) -> None:
    value = mail(f"{fault}{stream}")
    answer = ask(shaky, f"{fault}: write to {value}", stream=stream)
    assert (answer.status, answer.json()["error"]["code"]) == (503, "redaction_failed")
    assert sink.bytes_seen() == b""
    assert found_in(answer.body + shaky.log.read_bytes(), [value]) == []
    assert shaky.audit(limit=1)[0]["error"] == "redaction_failed"


@WAYS
def test_when_a_detector_fails_on_a_long_text_nothing_is_sent(shaky: Served, sink: Sink, stream: bool) -> None:
    """Long texts are looked at in a thread of their own."""
    answer = ask(shaky, "Lorem ipsum. " * 5000 + f"RAISE {stream} {mail('long')}", stream=stream)
    assert (answer.status, answer.json()["error"]["code"]) == (503, "redaction_failed")
    assert sink.bytes_seen() == b""


@WAYS
def test_a_detector_that_fails_on_any_string_of_a_request_fails_all_of_it(
    shaky: Served, sink: Sink, stream: bool
) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
    for more in ({"user": "RAISE it"}, {"metadata": {"a": "b RAISE"}}, {"metadata": {"RAISE": "b"}}):
        answer = shaky.post(CHAT, {**body, **more})
        assert (answer.status, answer.json()["error"]["code"]) == (503, "redaction_failed")
    assert sink.bytes_seen() == b""


@WAYS
def test_the_same_detector_lets_through_what_it_does_not_fail_on(shaky: Served, sink: Sink, stream: bool) -> None:
    """The control of the claims above."""
    assert ask(shaky, "All is well", stream=stream).status == 200
    assert len(sink.requests) == 1


# --- policies over HTTP -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """E-mail addresses have to be confirmed, cards are blocked, IBANs stay on this machine."""
    home = tmp_path_factory.mktemp("strict") / "home"
    rules = "EMAIL=confirm,CREDIT_CARD=block,IBAN=local"
    with Served(home, sink, MEMBRAIN_PII_RULES=rules) as served:
        yield served
        served.assert_sound()


@WAYS
def test_what_is_blocked_is_told_by_label_and_place_only(strict: Served, sink: Sink, stream: bool) -> None:
    card = KINDS["card"]("blocked")
    answer = ask(strict, "Hello", "Yes?", card.text, stream=stream)
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (403, "pii_blocked")
    assert "CREDIT_CARD in messages[2].content" in error["message"]
    assert card.value.encode() not in answer.body
    assert sink.bytes_seen() == b""


@pytest.mark.parametrize(("decision", "status"), [("approve", 200), ("deny", 403)])
@WAYS
def test_what_has_to_be_confirmed_leaves_masked_after_a_yes_and_not_at_all_after_a_no(
    strict: Served, sink: Sink, stream: bool, decision: str, status: int
) -> None:
    value = mail(f"confirm {decision} {stream}")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, strict, f"Write to {value} now", stream=stream, model="gpt-echo")
        row = held(strict)
        shown = strict.get(f"/api/holds/{row['id']}")
        assert row["labels"] == {"EMAIL": 1}
        assert row["places"] == ["messages[0].content"]
        assert sink.bytes_seen() == b""
        assert value.encode() not in shown.body
        assert strict.post(f"/api/holds/{row['id']}", {"decision": decision}).status == 200
        answer = asked.result(20)
    assert answer.status == status
    assert found_in(sink.bytes_seen(), [value]) == []
    if decision == "approve":
        assert text_of(answer, stream=stream) == f"Write to {value} now"
        assert len(placeholders(sink)) == 1
    else:
        assert sink.bytes_seen() == b""
        assert value.encode() not in answer.body


def held(served: Served) -> dict[str, Any]:
    """The one request that waits, as soon as it does."""
    limit = time.monotonic() + 10
    while not (rows := served.get("/api/holds").json()):
        assert time.monotonic() < limit
        time.sleep(0.01)
    [row] = rows
    return dict(row)


@WAYS
@pytest.mark.parametrize("model", ["auto", "gpt-4o", "claude-sonnet-4-5", "ollama/minimax-m2:cloud", "ollama/llama3"])
def test_what_may_only_stay_here_reaches_no_model_in_a_cloud(
    strict: Served, sink: Sink, model: str, stream: bool
) -> None:
    iban = "DE89 3704 0044 0532 0130 00"
    answer = ask(strict, f"My IBAN is {iban}", stream=stream, model=model)
    heard_it = [request for request in sink.requests if iban.encode() in request.body]
    assert {request.json()["model"] for request in heard_it} <= {"llama3", "llama3:latest"}
    assert all(request in heard_it for request in sink.requests if request.method == "POST")
    assert bool(heard_it) == (answer.status == 200) == (model in {"auto", "ollama/llama3"})


# --- what stays behind ----------------------------------------------------------------------------------------------


def test_no_value_stays_in_any_file_log_or_answer_of_the_gateway_about_itself(sink: Sink, tmp_path: Path) -> None:
    values = {name: mail(f"left by {name}") for name in ("whole", "stream", "tool", "blocked", "failed", "gone", "new")}
    values |= {"held": mail("left by held"), "card": KINDS["card"]("left").value, "key": KINDS["key"]("left").value}
    rules = "CREDIT_CARD=block,SECRET=confirm"
    with Served(tmp_path / "home", sink, MEMBRAIN_PII_RULES=rules, MEMBRAIN_LOG_LEVEL="debug") as served:
        with Watcher(served) as watcher:
            a_busy_day(served, sink, values)
            told = what_it_tells(served) + watcher.bytes()
        assert b"EMAIL" in told
        assert found_in(told, values.values()) == []
        assert traces_in(tmp_path, values.values()) == {}
        served.assert_sound()
    assert traces_in(tmp_path, values.values()) == {}
    assert (tmp_path / "home.log").stat().st_size > 0


def test_the_search_sees_what_a_gateway_keeps(sink: Sink, tmp_path: Path) -> None:
    """The control of the claim above: the name of a client key is kept, as whoever gave it expects."""
    name = mail("a key's name")
    with Served(tmp_path / "home", sink) as served:
        assert served.post("/api/keys", {"name": name, "project": "p"}).status == 201
        assert any(traces_in(tmp_path, [name]))
    assert "membrain.db" in traces_in(tmp_path, [name])


def a_busy_day(served: Served, sink: Sink, values: dict[str, str]) -> None:
    """Everything that can become of a request, each with a value of its own."""
    for stream in (False, True):
        assert ask(served, f"I am {values['whole']}", stream=stream, model="gpt-echo").status == 200
        says(sink, f"Never seen before: {values['new']}", stream=stream)
        assert ask(served, f"I am {values['tool']}", stream=stream).status == 200
        assert ask(served, f"Pay with card {values['card']}, please", stream=stream).status == 403
        assert ask(served, f"I am {values['failed']}", stream=stream, model="gpt-status-500").status >= 500
        assert ask(served, f"I am {values['failed']}", stream=stream, model="gpt-status-400").status == 400
        assert served.post(CHAT, {"messages": [], "model": values["blocked"][:3], values["blocked"]: 1}).status >= 400
        sink.script(CHAT, Reply(400, {"error": {"message": f"Bad: {values['new']}"}}))
        assert ask(served, f"I am {values['stream']}", stream=stream).status == 400
        leaves_early(served, f"I am {values['gone']}. " * 20)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask, served, f"The token {values['key']} of {values['held']}", stream=stream)
            row = held(served)
            watched = served.get(f"/api/holds/{row['id']}").body
            assert found_in(watched, [values["key"]]) == []
            served.post(f"/api/holds/{row['id']}", {"decision": "approve"})
            assert asked.result(20).status == 200
            sink.clear()


def what_it_tells(served: Served) -> bytes:
    """All that the gateway says of what it did."""
    records = served.audit(limit=100)
    assert len(records) >= 16
    paths = ["/health", "/metrics", "/api/audit?limit=100", "/api/usage", "/api/holds", "/api/keys"]
    paths += [f"/api/{what}/{record['id']}" for record in records for what in ("audit", "sent")]
    return b"\n".join(served.get(path).body for path in paths)


def traces_in(folder: Path, values: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """File → what of *values* is in it, in any encoding; journals of the databases included."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"membrain.db", "home.log"} <= {path.name for path in files}, files
    found = {path.name: found_in(path.read_bytes(), values) for path in files}
    return {name: traces for name, traces in found.items() if traces}


class Watcher:
    """Somebody who watches `/api/live` all the while."""

    def __init__(self, served: Served) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
        self._read: list[bytes] = []
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._connection.request("GET", "/api/live")
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def bytes(self) -> bytes:
        """What came so far, once the last exchange and the next snapshot must be among it."""
        time.sleep(1.2)
        return b"".join(self._read)

    def _watch(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError, http.client.HTTPException):
            while piece := self._response.read1(65536):
                self._read.append(piece)


@pytest.mark.parametrize("block", ["content", "thinking_blocks"])
def test_a_signed_thought_goes_back_as_it_was_signed(served: Served, sink: Sink, block: str) -> None:
    """It is not restored for the reader, so neither does a value leave in it nor is its signature broken."""
    value = KINDS["email"]("thought").value
    ask = [{"role": "user", "content": f"hi {value}"}]
    sink.clear()
    served.post(CHAT, {**BASE, "messages": ask})
    token = json.loads(sink.requests[-1].body)["messages"][0]["content"][3:]
    thought = [{"type": "thinking", "thinking": f"user is {token}", "signature": "c2lnbmVk"}]
    message = {"role": "assistant", "content": "ok", block: thought}
    sink.script(CHAT, Reply(body={"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}))
    said = served.post(CHAT, {**BASE, "messages": ask}).json()["choices"][0]["message"]
    sink.clear()
    served.post(CHAT, {**BASE, "messages": [*ask, said, {"role": "user", "content": "go on"}]})
    assert found_in(sink.bytes_seen(), [value]) == []
    assert json.loads(sink.requests[-1].body)["messages"][1][block] == thought


@pytest.mark.parametrize("where", ["model", "x-membrain-user-id", "x-membrain-tier"])
def test_no_name_that_is_a_value_is_put_on_record(served: Served, sink: Sink, where: str) -> None:
    value = KINDS["email"](where).value
    body, headers = ({**BASE, "model": value}, {}) if where == "model" else ({**BASE}, {where: value})
    served.post(CHAT, body, **headers)
    assert found_in(json.dumps(served.audit(limit=1)).encode(), [value]) == []


@pytest.mark.parametrize("mask_local", ["false", "true"])
@WAYS
def test_a_model_on_this_machine_is_told_the_values_unless_the_settings_say_otherwise(
    sink: Sink, tmp_path: Path, stream: bool, mask_local: str
) -> None:
    value = mail("stays-here")
    with Served(tmp_path / "home", sink, MEMBRAIN_PII_MASK_LOCAL=mask_local) as served:
        sink.clear()
        answer = ask(served, f"I am {value}", model="ollama/llama3", stream=stream)
        assert (value.encode() in sink.bytes_seen()) is (mask_local == "false")
        assert answer.status == 200
        assert answer.headers["x-membrain-redacted"] == ("0" if mask_local == "false" else "1")
        sink.clear()
        assert ask(served, f"I am {value}", model="gpt-4o-echo", stream=stream).status == 200
        assert found_in(sink.bytes_seen(), [value]) == []
