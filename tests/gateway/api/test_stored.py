"""Responses that a provider keeps, through a real gateway: to each project its own, and nothing goes on but names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from membrain.api.stored import query
from membrain.errors import BadRequest, NotCovered
from tests.served import Served
from tests.sink import Reply, Sink

PATH = "/v1/responses"
JSON = {"content-type": "application/json"}
MAIL = "jane.doe@corp-mail.net"
ASKED: dict[str, Any] = {"model": "gpt-echo", "input": f"Write to {MAIL}"}


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def served(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("stored") / "home", sink, MEMBRAIN_ROUTING_ATTEMPTS="1") as served:
        yield served
        assert MAIL not in served.assert_sound()


@pytest.fixture(autouse=True)
def _a_clean_sink(sink: Sink) -> None:
    sink.clear()


@pytest.fixture(scope="module")
def keys(served: Served) -> dict[str, dict[str, str]]:
    """For two projects, and for one who may only read: what they send."""
    wanted = [("red", ["ask"]), ("blue", ["ask"]), ("reader", ["read"])]
    issued = {
        name: served.post("/api/keys", {"name": name, "project": name, "scopes": scopes}).json()["key"]
        for name, scopes in wanted
    }
    return {name: {"authorization": f"Bearer {key}"} for name, key in issued.items()}


@pytest.fixture
def made(served: Served, sink: Sink, keys: dict[str, dict[str, str]]) -> str:
    """A response that was made for red and is kept; its address there answers what was said."""
    answer = served.post(PATH, ASKED, **keys["red"])
    assert MAIL in answer.body.decode()
    [asked] = sink.wait_for(1)
    assert MAIL.encode() not in asked.body
    id: str = answer.json()["id"]
    shown = asked.json()["input"]
    part = {"type": "output_text", "text": shown, "annotations": [], "logprobs": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    kept = {**answer.json(), "output": [item]}
    sink.clear()
    sink.script(f"{PATH}/{id}", Reply(body=kept), forever=True)
    sink.script(f"{PATH}/{id}/cancel", Reply(body=kept), forever=True)
    given = {"id": "msg_0", "type": "message", "role": "user", "content": [{"type": "input_text", "text": shown}]}
    sink.script(
        f"{PATH}/{id}/input_items", Reply(body={"object": "list", "data": [given], "has_more": False}), forever=True
    )
    return id


def text_of(answer: Any) -> str:
    text: str = answer.json()["output"][0]["content"][0]["text"]
    return text


# --- whose they are


def test_a_response_is_there_for_its_project_with_its_values(
    served: Served, keys: dict[str, dict[str, str]], made: str
) -> None:
    answer = served.get(f"{PATH}/{made}", **keys["red"])
    assert (answer.status, text_of(answer)) == (200, ASKED["input"])
    given = served.get(f"{PATH}/{made}/input_items?limit=5&order=asc", **keys["red"]).json()
    assert given["data"][0]["content"][0]["text"] == ASKED["input"]


@pytest.mark.parametrize(
    ("method", "tail"), [("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")]
)
def test_a_response_of_another_project_is_not_there(
    served: Served, sink: Sink, keys: dict[str, dict[str, str]], made: str, method: str, tail: str
) -> None:
    body = b"{}" if method == "POST" else None
    theirs, nobodys = (
        served.request(method, f"{PATH}/{id}{tail}", body, {**JSON, **keys["blue"]}) for id in (made, "resp_none")
    )
    assert (theirs.status, theirs.body) == (nobodys.status, nobodys.body) == (404, theirs.body)
    assert sink.requests == []


def test_a_key_that_may_not_ask_may_not_fetch(served: Served, keys: dict[str, dict[str, str]], made: str) -> None:
    answer = served.get(f"{PATH}/{made}", **keys["reader"])
    assert (answer.status, answer.json()["error"]["code"]) == (403, "scope_missing")


def test_an_admin_is_told_what_the_provider_has(served: Served, sink: Sink, made: str) -> None:
    id = "resp_0123456789abcdef"
    sink.script(f"{PATH}/{id}", Reply(body={"id": id, "object": "response", "output": []}))
    assert served.get(f"{PATH}/{id}").json()["id"] == id
    assert served.get(f"{PATH}/jane.doe").status == 404


def test_a_private_request_fetches_nothing(
    served: Served, sink: Sink, keys: dict[str, dict[str, str]], made: str
) -> None:
    answer = served.get(f"{PATH}/{made}", **{**keys["red"], "x-membrain-private": "1"})
    assert (answer.status, answer.json()["error"]["code"]) == (403, "private_refused")
    assert sink.requests == []


# --- what goes on


def test_openais_sdk_fetches_lists_cancels_and_deletes(
    served: Served, sink: Sink, keys: dict[str, dict[str, str]], made: str
) -> None:
    key = keys["red"]["authorization"].removeprefix("Bearer ")
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0) as client:
        found = client.responses.retrieve(made, include=["message.output_text.logprobs"])
        assert found.output_text == ASKED["input"]
        assert [item.type for item in client.responses.input_items.list(made, limit=3)] == ["message"]
        assert client.responses.cancel(made).output_text == ASKED["input"]
        client.responses.delete(made)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(made)
    assert [(each.method, each.path.partition("?")[0].removeprefix(f"{PATH}/{made}")) for each in sink.wait_for(4)] == [
        ("GET", ""),
        ("GET", "/input_items"),
        ("POST", "/cancel"),
        ("DELETE", ""),
    ]
    assert "include" in sink.requests[0].path


def test_a_cancellation_needs_no_kind_of_body(
    served: Served, sink: Sink, keys: dict[str, dict[str, str]], made: str
) -> None:
    """Node's SDK sends none, and says of no kind what it does not send."""
    answer = served.request("POST", f"{PATH}/{made}/cancel", None, {**keys["red"], "content-length": "0"})
    assert answer.status == 200
    assert sink.wait_for(1)[0].body == b""


@pytest.mark.parametrize(
    "tail", ["?x=1", "?limit=many", "?after=jane.doe", "?include=jane@doe", "?order=", "?stream=1"]
)
def test_a_parameter_that_could_hold_anything_does_not_go_on(
    served: Served, sink: Sink, keys: dict[str, dict[str, str]], made: str, tail: str
) -> None:
    answer = served.get(f"{PATH}/{made}{tail}", **keys["red"])
    assert (answer.status, answer.json()["error"]["param"]) == (400, tail[1:].partition("=")[0])
    assert sink.requests == []


def test_a_stored_stream_is_not_covered(served: Served, sink: Sink, keys: dict[str, dict[str, str]], made: str) -> None:
    assert served.get(f"{PATH}/{made}?stream=true", **keys["red"]).status == 501
    assert sink.requests == []


def test_parameters_are_written_as_they_were() -> None:
    assert query([]) == ""
    assert query([("include", "a.b"), ("include", "c"), ("limit", "5")]) == "?include=a.b&include=c&limit=5"
    assert query([("include[]", "a.b")]) == "?include%5B%5D=a.b"
    assert query([("stream", "false")]) == "?stream=false"
    with pytest.raises(BadRequest):
        query([("limit", "5\n")])
    with pytest.raises(NotCovered):
        query([("stream", "true")])


def test_what_is_fetched_is_no_exchange(served: Served, keys: dict[str, dict[str, str]], made: str) -> None:
    """Nothing of the user's left, and nothing was spent."""
    before = served.audit(limit=1)[0]["id"]
    assert served.get(f"{PATH}/{made}", **keys["red"]).status == 200
    assert served.audit(limit=1)[0]["id"] == before


# --- going on from them


def going_on(served: Served, id: object, **headers: str) -> Any:
    return served.post(PATH, {**ASKED, "previous_response_id": id}, **headers)


def test_a_project_goes_on_from_its_own_response(
    served: Served, sink: Sink, keys: dict[str, dict[str, str]], made: str
) -> None:
    assert going_on(served, made, **keys["red"]).status == 200
    assert sink.wait_for(1)[0].json()["previous_response_id"] == made


@pytest.mark.parametrize("whose", ["another's", "nobody's"])
def test_nobody_goes_on_from_a_response_that_is_not_theirs(
    served: Served, sink: Sink, keys: dict[str, dict[str, str]], made: str, whose: str
) -> None:
    answer = going_on(served, made if whose == "another's" else "resp_none", **keys["blue"])
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["param"]) == (
        400,
        "previous_response_not_found",
        "previous_response_id",
    )
    assert sink.requests == []


def test_an_admin_goes_on_from_whatever_the_provider_has(served: Served, sink: Sink) -> None:
    assert going_on(served, "resp_0123456789abcdef").status == 200


@pytest.mark.parametrize("id", [None, ""])
def test_who_goes_on_from_nothing_needs_no_leave(served: Served, keys: dict[str, dict[str, str]], id: object) -> None:
    assert going_on(served, id, **keys["blue"]).status in {200, 400}
    assert going_on(served, None, **keys["blue"]).status == 200


def test_a_stranger_who_goes_on_is_refused_as_a_stranger_and_on_record(served: Served, made: str) -> None:
    answer = going_on(served, made, authorization="Bearer ck_live_wrong")
    assert answer.status == 401
    record = served.get(f"/api/audit/{answer.headers['x-request-id']}").json()
    assert json.dumps(record).count("invalid_api_key") == 1
