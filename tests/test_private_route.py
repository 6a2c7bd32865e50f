"""A private request stays on this machine, and no request steers where anything goes.

What is private is shown from outside the gateway, in each of two ways (`netns.py`): in a network namespace whose only
way out is read packet by packet, and by a hook on every name that is resolved and every address that is connected to.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.netns import inside, namespaces_allowed
from tests.private_asks import MALFORMED, PRIVATE, SECRET, SITUATIONS, UNREADABLE, Told
from tests.served import ROOT, Served
from tests.sink import SSE, Reply, Sink

# --- what is private ----------------------------------------------------------------------------------------------

WAYS = [*["namespace"] * namespaces_allowed(), "recorder"]

Runs = dict[str, tuple[Path, subprocess.Popen[bytes]]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """All ways, started at once."""
    with ExitStack() as stack:
        started = {}
        for way in WAYS:
            folder = tmp_path_factory.mktemp(way)
            argv = [sys.executable, "-m", "tests.private_asks", way, str(folder)]
            paths = os.pathsep.join(str(ROOT / each) for each in ("gateway", "client", ""))
            environ = {"PATH": os.environ["PATH"], "PYTHONPATH": paths, "TMPDIR": str(folder)}
            with (folder / "said").open("wb") as said:
                run = subprocess.Popen(
                    inside(*argv) if way == "namespace" else argv, cwd=ROOT, env=environ, stdout=said, stderr=said
                )
            stack.enter_context(run)
            stack.callback(run.kill)
            started[way] = (folder, run)
        yield started


@pytest.fixture(scope="module", params=WAYS)
def told(request: pytest.FixtureRequest, runs: Runs) -> list[Told]:
    """What was asked in one of the ways, what became of it, and what left meanwhile."""
    return told_by(*runs[request.param])


def told_by(folder: Path, run: subprocess.Popen[bytes]) -> list[Told]:
    """What *run* has written into *folder*, once it is over."""
    assert run.wait(120) == 0, (folder / "said").read_text()
    return [Told(**each) for each in json.loads((folder / "told.json").read_text())]


EACH = pytest.mark.parametrize("situation", SITUATIONS)


def of(told: list[Told], situation: str, *kinds: str) -> list[Told]:
    """Those of *kinds* in *situation*; there are some."""
    found = [each for each in told if each.situation == situation and each.kind in kinds]
    assert found
    return found


def test_a_machine_where_packets_cannot_be_watched_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """There the hook alone has to do."""
    if "namespace" not in WAYS:
        with capsys.disabled():
            print("\nNO NAMESPACES HERE: that private requests stay was shown by a hook in the process only.")
    assert WAYS[-1] == "recorder"


@EACH
def test_no_packet_and_no_name_leaves_for_a_private_request(told: list[Told], situation: str) -> None:
    asked = of(told, situation, "private", "malformed", *["stopped"] * SITUATIONS[situation].stops)
    assert len(asked) > 200
    assert [each for each in asked if each.left] == []


@EACH
def test_nothing_leaves_to_explain_what_would_become_of_it(told: list[Told], situation: str) -> None:
    asked = of(told, situation, "explained")
    assert {each.status for each in asked} == {200}
    assert [each for each in asked if each.left] == []


@EACH
def test_the_same_watch_sees_a_request_leave_that_is_not_private(told: list[Told], situation: str) -> None:
    """The control of the claims above, for each way to say that it is not."""
    assert [each for each in of(told, situation, "open") if not each.left] == []


@EACH
def test_only_models_that_run_here_hear_a_private_request(told: list[Told], situation: str) -> None:
    """Neither what Ollama hands on, nor a provider on this machine of which nobody said that it hands nothing on."""
    overheard = of(told, situation, "heard by ollama", "heard by near")
    assert [each for each in overheard if each.left] == []


@EACH
def test_every_private_request_is_answered_here_or_refused_in_words(told: list[Told], situation: str) -> None:
    kinds = ["private", *["stopped"] * SITUATIONS[situation].stops]
    for each in of(told, situation, *kinds):
        if each.status == 200:
            assert (situation, each.kind, each.provider) == ("up", "private", "ollama"), each
        else:
            assert each.status in {400, 403, 404, 502, 503}, each
            assert each.code or each.lines[0] in MALFORMED, each


def test_each_spelling_of_the_header_is_private_and_answered_where_ollama_is_up(told: list[Told]) -> None:
    """Those that cannot be read too. Cloud models by name are refused under each of them."""
    for spelling in (*PRIVATE, *UNREADABLE):
        spelt = [each for each in of(told, "up", "private") if each.lines == [spelling]]
        auto = {(each.status, each.provider) for each in spelt if each.model == "auto"}
        named = {(each.status, each.code) for each in spelt if each.model == "gpt-4o"}
        assert (auto, named) == ({(200, "ollama")}, {(403, "private_refused")}), spelling


@EACH
def test_a_header_that_is_none_or_contradicts_itself_is_refused(told: list[Told], situation: str) -> None:
    assert {each.status for each in of(told, situation, "malformed")} == {400}


def test_private_requests_are_answered_alike_where_there_is_no_way_out_at_all(runs: Runs) -> None:
    """In the namespace only: elsewhere there is always one."""
    for way in WAYS[:-1]:
        every = told_by(*runs[way])
        before, cut = of(every, "up", "private", "malformed"), of(every, "up", "cut")
        assert [replace(each, kind="") for each in cut] == [replace(each, kind="") for each in before]


def test_what_was_said_in_private_is_in_no_line_of_the_log(runs: Runs) -> None:
    for folder, run in runs.values():
        assert told_by(folder, run)
        logs = [log.read_text() for log in folder.glob("*.log")]
        assert len(logs) >= len(SITUATIONS)
        assert not [log for log in logs if SECRET in log or "Traceback" in log or "broke with" in log]


# --- nobody steers where anything goes ------------------------------------------------------------------------------

KEYS = {"openai": "sk-canary-openai-01234", "anthropic": "sk-ant-canary-01234", "acme": "acme-canary-0123456789"}
FRONTS = {"openai": "gpt-", "anthropic": "claude-", "acme": "acme/", "ollama": "ollama/"}
PATHS = {name: "/v1/messages" if name == "anthropic" else "/v1/chat/completions" for name in FRONTS}
CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello"}]
PROVIDERS = pytest.mark.parametrize("provider", FRONTS)
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
STATUSES = (301, 302, 303, 307, 308)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Sink]:
    """Another origin."""
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def sinks(elsewhere: Sink) -> Iterator[dict[str, Sink]]:
    """An upstream for each provider."""
    pulled = ("llama3:latest", "echo:latest", *(f"redirect-{status}:latest" for status in STATUSES))
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(Sink(ollama=pulled, redirect_to=f"{elsewhere.url}/taken/{name}"))
            for name in FRONTS
        }


@pytest.fixture(scope="module")
def gateway(sinks: dict[str, Sink], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway before them, each with a key of its own."""
    home = tmp_path_factory.mktemp("steered") / "home"
    (home / "config").mkdir(parents=True, mode=0o700)
    config = home / "config" / "config.toml"
    config.write_text(
        f'[secrets]\nbackend = "file"\n[providers.acme]\nurl = "{sinks["acme"].url}/v1"\nmodels = ["x"]\n'
    )
    config.chmod(0o600)
    urls = {
        "UPSTREAM_OPENAI_URL": f"{sinks['openai'].url}/v1",
        "UPSTREAM_ANTHROPIC_URL": sinks["anthropic"].url,
        "OLLAMA_URL": sinks["ollama"].url,
    }
    keys = {f"{name.upper()}_API_KEY": key for name, key in KEYS.items()}
    with Served(home, None, port=None, MEMBRAIN_LOG_LEVEL="debug", **urls, **keys) as served:
        yield served
        served.assert_sound()


@pytest.fixture(autouse=True)
def _nothing_seen(request: pytest.FixtureRequest) -> None:
    if "gateway" in request.fixturenames:
        for sink in [*request.getfixturevalue("sinks").values(), request.getfixturevalue("elsewhere")]:
            sink.clear()


def spoken(sinks: dict[str, Sink]) -> list[str]:
    """The providers that were sent a question."""
    return [name for name, sink in sinks.items() if any(each.method == "POST" for each in sink.requests)]


@PROVIDERS
def test_each_key_is_shown_to_its_own_provider_and_nobody_else(
    gateway: Served, sinks: dict[str, Sink], provider: str
) -> None:
    assert gateway.chat(model=f"{FRONTS[provider]}echo").status == 200
    assert spoken(sinks) == [provider]
    seen = sinks[provider].bytes_seen()
    assert {name for name, key in KEYS.items() if key.encode() in seen} == {provider} & KEYS.keys()


def test_who_answers_in_place_of_another_is_not_shown_its_key(gateway: Served, sinks: dict[str, Sink]) -> None:
    for failing, name in (("openai", "anthropic"), ("anthropic", "openai")):
        for sink in sinks.values():
            sink.clear()
        sinks[failing].script(PATHS[failing], Reply(500, b"{}"), forever=True)
        answer = gateway.chat(model="auto")
        assert (answer.status, answer.headers["x-membrain-provider"]) == (200, name)
        assert KEYS[name].encode() in sinks[name].bytes_seen()
        assert KEYS[failing].encode() not in sinks[name].bytes_seen()


@PROVIDERS
@pytest.mark.parametrize("header", ["authorization", "x-api-key", "x-membrain-api-key"])
def test_what_the_caller_shows_us_is_shown_to_no_provider(
    gateway: Served, sinks: dict[str, Sink], provider: str, header: str
) -> None:
    """Its key, its cookies, its other headers: a provider hears of no header that it does not know."""
    key = gateway.post("/api/keys", {"name": f"{provider}-{header}"}).json()["key"]
    shown = {header: f"Bearer {key}" if header == "authorization" else key}
    others = {"cookie": "a=TELLTALE", "proxy-authorization": "Basic TELLTALE", "x-forwarded-for": "TELLTALE"}
    wishes = {"x-membrain-user-id": "TELLTALE", "x-telltale": "TELLTALE"}
    body = {"model": f"{FRONTS[provider]}echo", "messages": HELLO}
    assert gateway.post(CHAT, body, **shown, **others, **wishes).status == 200
    seen = sinks[provider].bytes_seen()
    assert spoken(sinks) == [provider]
    assert key.encode() not in seen
    assert b"telltale" not in seen.lower()
    assert b"x-membrain-" not in seen.replace(b"x-membrain-hop", b"").lower()


STEERING = ("base_url", "base-url", "baseURL", "BASE_URL", "api_base", "api-base", "apiBase", "api_key", "api-key")


@PROVIDERS
@pytest.mark.parametrize("field", STEERING)
def test_a_body_that_says_where_to_go_or_with_which_key_is_refused(
    gateway: Served, sinks: dict[str, Sink], elsewhere: Sink, provider: str, field: str
) -> None:
    value = elsewhere.url if "b" in field.lower() else "sk-of-somebody-else-012345"
    answer = gateway.chat(model=f"{FRONTS[provider]}echo", **{field: value})
    error = answer.json().get("error") or {}
    assert (answer.status, error.get("code"), error.get("param")) == (400, "invalid_request", field)
    assert value not in error["message"]
    assert spoken(sinks) == []
    assert elsewhere.connections == 0
    assert "sk-of-somebody-else" not in gateway.log.read_text()


@PROVIDERS
def test_a_tool_may_have_a_parameter_of_that_name(gateway: Served, sinks: dict[str, Sink], provider: str) -> None:
    """The control of the claim above: it is about the request itself, not about what is said in it."""
    properties = {field: {"type": "string"} for field in STEERING}
    function = {"name": "connect", "parameters": {"type": "object", "properties": properties}}
    answer = gateway.chat(
        model=f"{FRONTS[provider]}echo", tools=[{"type": "function", "function": function}], tool_choice="none"
    )
    assert answer.status == 200
    assert b'"api_base"' in sinks[provider].bytes_seen()


INJECTED = "X-Injected: 1"
EVIL = {
    "CRLF": f"\r\n{INJECTED}",
    "LF": f"\n{INJECTED}",
    "CR": f"\r{INJECTED}",
    "NUL": "\0",
    "tab": "\t",
    "escape": "\x1b[2J",
    "delete": "\x7f",
    "C1": "\x85",
    "line separator": "\u2028",
    "right to left": "\u202e",
    "zero width": "\u200b",
    "CRLF in percent": f"%0d%0a{INJECTED}",
    "CRLF in capitals": f"%0D%0A{INJECTED}",
    "LF in percent": "%0a",
    "NUL in percent": "%00",
    "CRLF in percent twice": "%250d%250a",
    "too long": "x" * 250,
}


@PROVIDERS
@pytest.mark.parametrize("evil", EVIL)
def test_a_models_name_that_holds_what_no_name_holds_is_refused(
    gateway: Served, sinks: dict[str, Sink], provider: str, evil: str
) -> None:
    name = f"{FRONTS[provider]}marked-echo{EVIL[evil]}"
    answer = raw_answer(gateway, json.dumps({"model": name, "messages": HELLO}).encode())
    error = json.loads(answer.partition(b"\r\n\r\n")[2]).get("error") or {}
    assert (answer.split()[1], error.get("code"), error.get("param")) == (b"400", "invalid_request", "model")
    assert "marked" not in error["message"]
    assert spoken(sinks) == []
    assert "x-injected" not in headers_in(answer)
    assert "marked-echo" not in gateway.log.read_text()
    assert not any("marked" in json.dumps(record) for record in gateway.audit(limit=3))


@PROVIDERS
def test_names_that_models_really_have_are_asked_for(gateway: Served, sinks: dict[str, Sink], provider: str) -> None:
    """The control of the claim above, up to the longest."""
    for own in ("echo", "hf.co/me/Echo-GGUF:Q4_K_M", "Echo 7B (100%)", "echo@2025-01-01+x", "\u4e2d\u6587-echo"):
        assert gateway.chat(model=f"{FRONTS[provider]}{own}").status == 200, own
    longest = f"{FRONTS[provider]}echo-".ljust(256, "x")
    assert gateway.chat(model=longest).status == 200


def raw_answer(gateway: Served, body: bytes, *lines: str, target: str = f"POST {CHAT}") -> bytes:
    """All bytes that are answered to a request whose header *lines* are sent as they are."""
    fixed = [f"Host: 127.0.0.1:{gateway.port}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    head = "\r\n".join([f"{target} HTTP/1.1", *fixed, "Connection: close", *lines, "", ""])
    with socket.create_connection(("127.0.0.1", gateway.port), 20) as connection:
        connection.sendall(head.encode("latin-1") + body)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def headers_in(answer: bytes) -> dict[str, str]:
    """The header fields of a raw *answer*, after a look at every sign in its head."""
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    lines = head.split("\r\n")[1:]
    assert all(re.fullmatch(r"[a-z-]+: [ -~]*", line) for line in lines), head
    return dict(line.split(": ", 1) for line in lines)


FORWARDED = {
    "openai": "idempotency-key",
    "acme": "openai-organization",
    "ollama": "openai-beta",
    "anthropic": "anthropic-beta",
}


@PROVIDERS
@pytest.mark.parametrize("evil", [each for each in EVIL if EVIL[each].isascii() and "long" not in each])
@pytest.mark.parametrize("header", ["", "x-membrain-user-id", "x-membrain-tier", "x-membrain-project"])
def test_no_header_of_the_callers_becomes_another_one(
    gateway: Served, sinks: dict[str, Sink], provider: str, evil: str, header: str
) -> None:
    """Neither on the way to a provider nor in the answer. Without a name it is one that the provider knows."""
    body = json.dumps({"model": f"{FRONTS[provider]}echo", "messages": HELLO}).encode()
    answer = raw_answer(gateway, body, f"{header or FORWARDED[provider]}: some{EVIL[evil]}")
    assert answer.split()[1] in {b"200", b"400"}
    assert "x-injected" not in headers_in(answer)
    for request in sinks[provider].requests:
        assert "x-injected" not in request.header
        assert all(re.fullmatch(rb"[\t -~]*", value) for _, value in request.headers)


@STREAMS
@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama"])
@pytest.mark.parametrize("evil", EVIL)
def test_no_name_that_an_upstream_gives_its_model_becomes_a_header(
    gateway: Served, sinks: dict[str, Sink], provider: str, evil: str, stream: bool
) -> None:
    body = {"model": f"{FRONTS[provider]}echo", "messages": HELLO, "stream": stream}
    told: Any = {"id": "x", "object": "chat.completion", "model": f"other{EVIL[evil]}"}
    if provider == "anthropic":
        content = [{"type": "text", "text": "Hi"}]
        usage = {"input_tokens": 1, "output_tokens": 1}
        told = {"id": "x", "type": "message", "role": "assistant", "content": content, "usage": usage, **told}
    else:
        message = {"role": "assistant", "content": "Hi"}
        told |= {"choices": [{"index": 0, "delta": message, "message": message, "finish_reason": "stop"}]}
    reply = Reply(body=f"data: {json.dumps(told)}\n\ndata: [DONE]\n\n", headers=SSE) if stream else Reply(body=told)
    sinks[provider].script(PATHS[provider], reply, forever=True)
    answer = raw_answer(gateway, json.dumps(body).encode())
    found = headers_in(answer)
    assert "x-injected" not in found
    assert len(found.get("x-membrain-model", "")) <= 256


@PROVIDERS
@pytest.mark.parametrize("evil", ["CR", "LF", "NUL", "escape", "C1", "delete"])
def test_no_header_of_an_upstreams_refusal_becomes_another_one(
    gateway: Served, sinks: dict[str, Sink], provider: str, evil: str
) -> None:
    error = {"message": "slow", "code": f"a{EVIL[evil]}"}
    headers = dict.fromkeys(("retry-after", "retry-after-ms", "x-should-retry"), f"1{EVIL[evil]}")
    sinks[provider].script(PATHS[provider], Reply(400, {"error": error}, headers), forever=True)
    body = json.dumps({"model": f"{FRONTS[provider]}echo", "messages": HELLO}).encode()
    answer = raw_answer(gateway, body)
    assert answer.split()[1:2] in ([b"400"], [b"502"]), "it is answered at all"
    assert "x-injected" not in headers_in(answer)


@pytest.mark.parametrize("path", ["/v1/models/gpt", "/api/audit/x", "/api/sent/x", "/api/providers/x", "/nowhere/x"])
@pytest.mark.parametrize("evil", ["CRLF", "LF", "NUL", "escape"])
def test_no_name_in_a_path_becomes_a_header_or_a_line_of_the_log(gateway: Served, path: str, evil: str) -> None:
    coded = "".join(f"%{ord(sign):02x}" for sign in EVIL[evil])
    answer = raw_answer(gateway, b"", target=f"GET {path}-marked{coded}")
    assert answer.split()[1] == b"404"
    assert "x-injected" not in headers_in(answer)
    assert not re.search(r"^X-Injected", gateway.log.read_text(), re.MULTILINE)


@PROVIDERS
@STREAMS
@pytest.mark.parametrize("status", STATUSES)
def test_a_redirect_to_another_origin_is_an_error_and_no_key_goes_there(
    gateway: Served, sinks: dict[str, Sink], elsewhere: Sink, provider: str, stream: bool, status: int
) -> None:
    answer = gateway.chat(model=f"{FRONTS[provider]}redirect-{status}", stream=stream)
    assert (answer.status, answer.json()["error"]["code"]) == (502, "provider_failed")
    assert {each.path for each in sinks[provider].requests if each.method == "POST"} == {PATHS[provider]}
    assert elsewhere.connections == 0
    assert spoken(sinks) == [provider]


@PROVIDERS
@pytest.mark.parametrize("target", ["/taken", "//{host}/taken", "{url}/taken", "http://me:pw@{host}/", ""])
def test_a_redirect_is_not_followed_however_its_target_is_written(
    gateway: Served, sinks: dict[str, Sink], elsewhere: Sink, provider: str, target: str
) -> None:
    """Not to another path of the same origin either."""
    location = target.format(host=f"127.0.0.1:{elsewhere.port}", url=elsewhere.url)
    sinks[provider].script(PATHS[provider], Reply(307, headers={"location": location}), forever=True)
    answer = gateway.chat(model=f"{FRONTS[provider]}echo")
    assert (answer.status, answer.json()["error"]["code"]) == (502, "provider_failed")
    assert {each.path for each in sinks[provider].requests if each.method == "POST"} == {PATHS[provider]}
    assert elsewhere.connections == 0
