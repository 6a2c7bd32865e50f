"""The questions one may ask of the gateway itself: who may ask what, and what they are told."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from membrain import sse
from tests.growth import assert_within
from tests.served import Answer, Served
from tests.sink import Reply, Sink

READ = ["/v1/models", "/v1/models/auto", "/api/audit", "/api/usage"]
ADMIN = [
    ("GET", "/api/keys"),
    ("POST", "/api/keys"),
    ("DELETE", "/api/keys/nobody"),
    ("POST", "/api/providers/openai/test"),
    ("POST", "/api/reload"),
    ("GET", "/api/live"),
    ("GET", "/api/holds"),
    ("GET", "/api/holds/a91f"),
    ("POST", "/api/holds/a91f"),
    ("GET", "/api/sent/a91f"),
]
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def served(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One gateway, with two keys of two projects."""
    with Served(tmp_path_factory.mktemp("admin") / "home", sink) as served:
        yield served
        served.assert_sound()


def issue(served: Served, name: str, **more: Any) -> dict[str, Any]:
    answer = served.post("/api/keys", {"name": name, **more})
    assert answer.status == 201, answer.body
    issued: dict[str, Any] = answer.json()
    return issued


@pytest.fixture(scope="module")
def keys(served: Served) -> dict[str, dict[str, Any]]:
    return {project: issue(served, f"{project}-key", project=project) for project in ("red", "blue")}


def as_key(served: Served, keys: dict[str, dict[str, Any]], project: str, path: str, method: str = "GET") -> Answer:
    body = b"{}" if method == "POST" else None
    return served.request(method, path, body, {**JSON, "authorization": f"Bearer {keys[project]['key']}"})


def error_of(answer: Answer) -> tuple[int, str]:
    told = answer.json()
    assert told["error"].keys() == {"message", "type", "param", "code"}
    assert told["detail"] == told["error"]["message"]
    return answer.status, told["error"]["code"]


# --- who may ask


@pytest.mark.parametrize(("method", "path"), [*(("GET", path) for path in READ), *ADMIN])
def test_a_wrong_key_is_told_nothing(served: Served, method: str, path: str) -> None:
    for headers in ({"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}, {"x-membrain-api-key": ""}):
        answer = served.request(method, path, b"{}" if method == "POST" else None, {**JSON, **headers})
        assert error_of(answer) == (401, "invalid_api_key")


@pytest.mark.parametrize(("method", "path"), [*(("GET", path) for path in [*READ, "/health"]), *ADMIN])
def test_a_page_of_another_site_is_told_nothing(served: Served, method: str, path: str) -> None:
    for headers in (
        {"origin": "http://evil.example"},
        {"referer": "http://evil.example/x"},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.example"},
    ):
        answer = served.request(method, path, b"{}" if method == "POST" else None, {**JSON, **headers})
        assert error_of(answer) == (403, "forbidden")


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_a_key_that_was_issued_does_not_run_the_house(
    served: Served, keys: dict[str, dict[str, Any]], method: str, path: str
) -> None:
    assert error_of(as_key(served, keys, "red", path, method)) == (403, "scope_missing")


@pytest.mark.parametrize("path", READ)
def test_a_key_that_was_issued_may_read(served: Served, keys: dict[str, dict[str, Any]], path: str) -> None:
    assert as_key(served, keys, "red", path).status == 200


def test_this_machines_key_runs_the_house(served: Served) -> None:
    key = (served.home / "data" / "machine_key").read_text().strip()
    assert served.get("/api/keys", **{"x-membrain-api-key": key}).status == 200


def test_in_token_mode_everybody_needs_a_key_but_for_health(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Served(tmp_path_factory.mktemp("token") / "home", MEMBRAIN_AUTH_MODE="token") as served:
        assert served.get("/health").status == 200
        for path in READ:
            assert error_of(served.get(path)) == (401, "invalid_api_key")
        assert error_of(served.chat()) == (401, "invalid_api_key")


# --- health


def test_health_tells_strangers_no_more_than_that_it_is_up(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Served(tmp_path_factory.mktemp("strangers") / "home", MEMBRAIN_AUTH_MODE="token") as served:
        told = {"status", "instance", "version", "up_seconds", "proof"}
        assert served.get("/health?challenge=a").json().keys() == told
        assert served.get("/health?challenge=a", authorization="Bearer ck_live_wrong").json().keys() == told
        key = (served.home / "data" / "machine_key").read_text().strip()
        assert "providers" in served.get("/health", **{"x-membrain-api-key": key}).json()


def test_health_says_that_it_is_up(served: Served) -> None:
    health = served.get("/health").json()
    assert (health["status"], health["pid"], health["url"], health["running"]) == ("ok", served.pid, served.url, 0)
    assert {each["name"]: each["up"] for each in health["providers"]} == {
        "openai": True,
        "anthropic": True,
        "ollama": True,
    }
    assert "canary" not in json.dumps(health)


def test_health_proves_that_it_is_ours(served: Served) -> None:
    proofs = {served.get(f"/health?challenge={each}").json()["proof"] for each in ("a", "b")}
    assert len(proofs) == 2
    assert served.get(f"/health?challenge={'x' * 256}").status == 200
    assert error_of(served.get(f"/health?challenge={'x' * 257}")) == (400, "invalid_request")


# --- models


def test_models_are_listed_as_openai_lists_them(served: Served) -> None:
    listing = served.get("/v1/models").json()
    assert listing["object"] == "list"
    assert listing["data"][0] == {"id": "auto", "object": "model", "created": 0, "owned_by": "membrain"}
    assert {card["owned_by"] for card in listing["data"]} == {"membrain", "openai", "anthropic", "ollama"}


@pytest.mark.parametrize("id", ["auto", "gpt-4o-mini", "ollama/llama3:latest", "ollama%2Fllama3:latest"])
def test_one_model_is_told(served: Served, id: str) -> None:
    assert served.get(f"/v1/models/{id}").json()["id"] == id.replace("%2F", "/")


@pytest.mark.parametrize("id", ["nobody-has-this", "", "..%2f..%2fetc"])
def test_a_model_that_nobody_has_is_not_found(served: Served, id: str) -> None:
    answer = served.get(f"/v1/models/{id}")
    assert error_of(answer) == (404, "model_not_found")


# --- audit


def chat(served: Served, text: str = "Hello", **headers: str) -> str:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}
    return served.post("/v1/chat/completions", body, **headers).headers["x-request-id"]


def test_the_audit_is_a_bare_array_newest_first_with_the_documented_fields(served: Served) -> None:
    ids = [chat(served) for _ in range(3)]
    records = served.audit(limit=3)
    assert [record["id"] for record in records] == ids[::-1]
    assert {"id", "time", "model", "provider", "pii_findings_count", "pii_labels"} <= records[0].keys()


def test_the_audit_is_asked_in_parts(served: Served) -> None:
    first, second, third = (chat(served) for _ in range(3))
    assert [record["id"] for record in served.audit(before=third, limit=2)] == [second, first]
    assert [record["id"] for record in served.audit(after=first, limit=1)] == [second]
    assert served.audit(model="gpt-*", limit=1)[0]["id"] == third
    assert served.audit(model="nothing-*") == []
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert served.audit(since=later.replace("+", "%2B")) == []
    assert served.audit(until=later.replace("+", "%2B"), limit=1)[0]["id"] == third
    assert served.audit(cached="false", outcome="answered", provider="openai", limit=1)[0]["id"] == third


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", None),
        ("limit=-1", None),
        ("limit=99999999", None),
        ("limit=x", "limit"),
        ("limit=1.5", "limit"),
        ("since=yesterday", "since"),
        ("since=2026-01-01T00:00:00", "since"),
        ("until=", "until"),
        ("cached=maybe", "cached"),
        ("slower_ms=fast", "slower_ms"),
        ("min_cost_micros=much", "min_cost_micros"),
        ("unknown=1", "unknown"),
        ("project%00=1", "project\x00"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_by_name(served: Served, query: str, param: str | None) -> None:
    answer = served.get(f"/api/audit?{query}")
    assert error_of(answer) == (400, "invalid_request")
    assert param is None or answer.json()["error"]["param"] == param


@pytest.mark.parametrize(
    "text", ["' OR 1=1 --", '" OR 1=1', "%", "_", "*' --", "\\", "%25%25", "gpt-4o'); DROP TABLE exchanges;--"]
)
@pytest.mark.parametrize("name", ["model", "provider", "caller", "project", "user", "pii", "key_id"])
def test_no_filter_is_more_than_a_filter(served: Served, name: str, text: str) -> None:
    chat(served)
    answer = served.get(f"/api/audit?{name}={quote(text)}")
    assert answer.status == 200
    assert answer.json() == []
    assert served.audit(limit=1)


def test_an_outcome_that_is_none_is_said_to_be_none(served: Served) -> None:
    for text in ("' OR 1=1 --", "answer", "%"):
        assert error_of(served.get(f"/api/audit?outcome={quote(text)}")) == (400, "invalid_request")


def test_one_exchange_is_told_by_the_beginning_of_its_id(served: Served) -> None:
    id = chat(served)
    assert served.get(f"/api/audit/{id[:12]}").json()["id"] == id
    assert error_of(served.get("/api/audit/ffffffffffffffffffffffff")) == (404, "not_found")


def test_a_project_sees_its_own_exchanges_only_however_it_asks(served: Served, keys: dict[str, dict[str, Any]]) -> None:
    red = chat(served, authorization=f"Bearer {keys['red']['key']}")
    blue = chat(served, authorization=f"Bearer {keys['blue']['key']}")
    for query in ("", "?project=blue", "?project=*", "?project=", f"?after={red}"):
        found = as_key(served, keys, "red", f"/api/audit{query}").json()
        assert {record["project"] for record in found} <= {"red"}
    assert as_key(served, keys, "red", f"/api/audit/{red}").status == 200
    assert error_of(as_key(served, keys, "red", f"/api/audit/{blue}")) == (404, "not_found")
    assert {record["project"] for record in served.audit()} >= {"red", "blue"}


def test_a_key_sees_its_own_usage_only(served: Served, keys: dict[str, dict[str, Any]]) -> None:
    chat(served, authorization=f"Bearer {keys['red']['key']}")
    mine = as_key(served, keys, "red", f"/api/usage?key_id={keys['blue']['id']}").json()
    everybodys = served.get("/api/usage").json()
    of_red = served.get(f"/api/usage?key_id={keys['red']['id']}").json()
    assert mine == of_red
    assert 0 < mine["exchanges"] < everybodys["exchanges"]
    assert everybodys["cost_micros"] > 0
    later = "2999-01-01T00:00:00Z"
    assert served.get(f"/api/usage?since={later}").json()["exchanges"] == 0
    assert error_of(served.get("/api/usage?since=soon")) == (400, "invalid_request")


# --- what left

MAIL = "ada.lovelace@corp-mail.net"


def sent(served: Served, id: str) -> dict[str, Any]:
    answer = served.get(f"/api/sent/{id}")
    assert answer.status == 200, answer.body
    told: dict[str, Any] = answer.json()
    return told


def test_what_is_told_is_what_the_provider_got_byte_for_byte(served: Served, sink: Sink) -> None:
    body = f'{{"model": "gpt-4o-echo", "top_p" : 1.0e0, "messages": [{{"role":"user","content":"I am {MAIL}"}}]}}'
    id = served.post("/v1/chat/completions", body.encode()).headers["x-request-id"]
    got, told = sink.requests[-1].body, served.get(f"/api/sent/{id}")
    assert b"EMAIL_" in got
    assert got in told.body
    assert MAIL.encode() not in told.body
    assert told.json()["body"] == json.loads(got)
    assert (told.json()["id"], told.json()["bytes"]) == (id, len(got))
    assert told.json()["sha256"] == hashlib.sha256(got).hexdigest()


@pytest.mark.parametrize(("model", "stream"), [("gpt-4o-echo", True), ("claude-echo", False), ("claude-echo", True)])
def test_what_is_told_are_the_words_the_provider_got_in_whatever_form(
    served: Served, sink: Sink, model: str, stream: bool
) -> None:
    """A provider of another dialect gets them translated, and of streams the usage is asked, too."""
    id = served.chat(f"I am {MAIL}", model=model, stream=stream).headers["x-request-id"]
    (told,), (got,) = sent(served, id)["body"]["messages"], sink.requests[-1].json()["messages"]
    assert told == got
    assert MAIL not in told["content"]


def test_findings_are_told_with_what_left(served: Served) -> None:
    told = sent(served, chat(served, f"{MAIL} and {MAIL}")[:12])
    assert told["findings"] == [{"label": "EMAIL", "place": "messages[0].content", "action": "redact"}]
    assert told["masked"] == 2


def test_what_left_unmasked_is_told_as_it_left(tmp_path: Path, sink: Sink) -> None:
    with Served(tmp_path / "home", sink, MEMBRAIN_PII_ON_FIND="log") as served:
        told = sent(served, chat(served, f"I am {MAIL}"))
    assert told["body"] == sink.requests[-1].json()
    assert told["body"]["messages"][0]["content"] == f"I am {MAIL}"
    assert (told["masked"], told["findings"][0]["action"]) == (0, "log")


def test_no_number_of_masked_values_is_told_where_others_were_let_through(tmp_path: Path, sink: Sink) -> None:
    config = tmp_path / "home" / "config" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[pii]\nrules = ["PHONE=log"]\n')
    with Served(tmp_path / "home", sink) as served:
        told = sent(served, chat(served, f"I am {MAIL}, phone +44 20 7946 0958"))
    assert {(each["label"], each["action"]) for each in told["findings"]} == {("EMAIL", "redact"), ("PHONE", "log")}
    assert told["masked"] is None


def test_what_was_refused_left_nothing_to_tell(served: Served) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    refused = served.post("/v1/chat/completions", body, **{"x-membrain-private": "true"})
    assert refused.status == 403
    assert error_of(served.get(f"/api/sent/{refused.headers['x-request-id']}")) == (404, "not_kept")


def test_what_a_provider_refused_had_left(served: Served, sink: Sink) -> None:
    id = served.chat("Hello", model="gpt-4o-status-400").headers["x-request-id"]
    assert sent(served, id)["body"] == sink.requests[-1].json()


def test_an_exchange_that_never_was_left_nothing_to_tell(served: Served) -> None:
    assert error_of(served.get("/api/sent/ffffffffffffffffffffffff")) == (404, "not_found")


def test_what_left_is_in_no_file(tmp_path: Path, sink: Sink) -> None:
    """Not while it can be told, and not afterwards."""
    with Served(tmp_path / "home", sink) as served:
        id = chat(served, f"Canary to {MAIL}")
        (placeholder,) = re.findall(r"EMAIL_\w{16}", json.dumps(sent(served, id)))
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        said = b"".join(path.read_bytes() for path in files)
    assert files
    said += b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for word in (MAIL, placeholder, "Canary to"):
        assert word.encode() not in said


# --- keys


def test_a_key_is_issued_once_and_shown_never_again(served: Served) -> None:
    issued = issue(served, "shown-once", project="p")
    assert issued["key"].startswith("ck_live_")
    assert issued["tail"] == issued["key"][-4:]
    assert "digest" not in issued
    listing = served.get("/api/keys").body
    assert issued["key"].encode() not in listing
    assert b"digest" not in listing
    assert issued["id"].encode() in listing


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_key_that_was_revoked_is_wrong_at_once(served: Served, by: str) -> None:
    issued = issue(served, f"revoked-by-{by}")
    headers = {"authorization": f"Bearer {issued['key']}"}
    assert served.get("/v1/models", **headers).status == 200
    answer = served.request("DELETE", f"/api/keys/{issued[by]}")
    assert (answer.status, answer.json()["id"]) == (200, issued["id"])
    assert error_of(served.get("/v1/models", **headers)) == (401, "invalid_api_key")
    assert error_of(served.request("DELETE", f"/api/keys/{issued[by]}")) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "name"),
        (b'{"name":""}', "name"),
        (b'{"name":7}', "name"),
        (b'{"name":["a"]}', "name"),
        (b'{"name":"a\\nb"}', "name"),
        (b'{"name":"ok","project":{}}', "project"),
        (b"[]", None),
        (b"{", None),
        (b"", None),
        (b"[" * 100_000, None),
    ],
)
def test_a_key_needs_a_name(served: Served, body: bytes, param: str | None) -> None:
    def refused() -> None:
        answer = served.request("POST", "/api/keys", body, JSON)
        assert error_of(answer) == (400, "invalid_request")
        assert answer.json()["error"]["param"] == param

    assert_within(0.5, refused, time.monotonic)


def test_a_body_without_end_is_refused_here_too(served: Served) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)) as connection:
        connection.request("POST", "/api/keys", (b" " * (1 << 20) for _ in range(30)), JSON, encode_chunked=True)
        response = connection.getresponse()
        assert response.status == 413
        assert json.loads(response.read())["error"]["code"] == "request_too_large"


def test_this_machines_own_key_stays(served: Served) -> None:
    (own,) = [key for key in served.get("/api/keys").json() if key["id"].startswith("machine-")]
    assert error_of(served.request("DELETE", f"/api/keys/{own['id']}")) == (403, "forbidden")


# --- providers


def test_a_provider_is_tested(served: Served, sink: Sink) -> None:
    told = served.post("/api/providers/openai/test", {}).json()
    assert (told["name"], told["ok"]) == ("openai", True)
    sink.script("/v1/models", Reply(behave="status-401"))
    told = served.post("/api/providers/openai/test", {}).json()
    assert told["ok"] is False
    assert "canary" not in json.dumps(told)
    assert error_of(served.post("/api/providers/nobody/test", {})) == (404, "not_found")


def test_the_providers_keys_are_read_anew(served: Served) -> None:
    answer = served.post("/api/reload", {})
    assert {each["name"] for each in answer.json()["providers"]} == {"openai", "anthropic", "ollama"}
    assert served.chat().status == 200


# --- live


class Watching:
    """A caller who listens to what happens."""

    def __init__(self, served: Served) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)
        self.connection.request("GET", "/api/live")
        self.response = self.connection.getresponse()

    def next(self, name: str) -> dict[str, Any]:
        """The next event of this name."""
        while True:
            block = b""
            while not block.endswith(b"\n\n"):
                line = self.response.readline()
                assert line
                block += line
            (event,) = sse.parse(block)
            if event.name == name:
                data: dict[str, Any] = json.loads(event.data)
                return data

    def close(self) -> None:
        self.response.close()
        self.connection.close()


def test_who_watches_hears_of_every_exchange_and_a_snapshot(served: Served) -> None:
    with closing(Watching(served)) as watching:
        assert watching.response.getheader("content-type") == "text/event-stream; charset=utf-8"
        before = watching.next("snapshot")
        id = chat(served)
        assert watching.next("exchange")["id"] == id
        after = watching.next("snapshot")
        assert after["today"] == before["today"] + 1
        assert after["time"] > before["time"]


def test_who_leaves_is_forgotten(served: Served) -> None:
    """And nothing in the log is about it."""
    for _ in range(5):
        with closing(Watching(served)) as watching:
            watching.next("snapshot")
    time.sleep(0.2)
    assert served.chat().status == 200
    assert " ERROR " not in served.log.read_text()
