"""What a provider keeps: who may ask for it, where it is asked for, and what is put back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from membrain.egress import Egress
from membrain.errors import MembrainError, NotCovered, NotFound, PrivateRefused, ProviderFailed
from membrain.masking.kept import Kept
from membrain.pii.vault import Vault
from membrain.providers import registry as make
from membrain.providers.registry import Registry
from membrain.records import Caller, Rights
from membrain.stored import Policy, Stored
from tests.fakes import EchoProvider
from tests.sink import Reply, Sink

pytestmark = pytest.mark.anyio

MAIL = "jane.doe@corp-mail.net"
RED, BLUE = Caller(key_id="1", project="red"), Caller(key_id="2", project="blue")
ADMIN = Caller(name="local", admin=True)
OPENAIS = "resp_0123456789abcdef"
JSON = {"content-type": "application/json"}


class House:
    """A registry whose `openai` and `other` are the sink, what is kept, and a policy that may be changed."""

    def __init__(self, sink: Sink) -> None:
        self.sink, self.egress = sink, Egress()
        self.registry, self.kept = Registry(), Kept()
        for name, speaks in (("openai", None), ("other", ("chat", "responses")), ("chatty", ("chat",))):
            provider = make.openai(self.egress, "sk-0123456789abc", f"{sink.url}/v1")
            if speaks is not None:
                provider._speaks = speaks
            self.registry.register(name, provider)
        self.registry.register("echo", EchoProvider())
        self.policy = Policy("flag")
        self.stored = Stored(self.registry, self.kept, lambda: self.policy)

    def keep(self, id: str, project: str, provider: str = "openai") -> str:
        """Keep what was masked for *id*, and give the placeholder."""
        vault = Vault(b"k" * 32, project)
        shown = vault.placeholder("EMAIL", MAIL)
        self.kept.keep(id, project, provider, vault)
        return shown

    def answers(self, path: str, data: Any) -> bytes:
        """Have the upstream answer *data* at *path*."""
        body = msgspec.json.encode(data)
        self.sink.script(path, Reply(body=body, headers=JSON), forever=True)
        return body


@pytest.fixture
async def house(sink: Sink) -> AsyncIterator[House]:
    house = House(sink)
    yield house
    await house.egress.close()


def message(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    return {"id": "resp_1", "object": "response", "status": "completed", "output": [item]}


async def test_what_was_masked_is_put_back_for_its_own_project(house: House) -> None:
    shown = house.keep("resp_1", "red")
    house.answers("/v1/responses/resp_1", message(f"Write to {shown}."))
    told = msgspec.json.decode(await house.stored.ask("GET", "resp_1", "", RED))
    assert told == message(f"Write to {MAIL}.")


async def test_what_was_asked_is_put_back_too(house: House) -> None:
    shown = house.keep("resp_1", "red")
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": f"I am {shown}"}]}
    sealed = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": shown}
    house.answers("/v1/responses/resp_1/input_items", {"object": "list", "data": [item, sealed], "has_more": False})
    told = msgspec.json.decode(await house.stored.ask("GET", "resp_1", "/input_items?limit=2", RED))
    assert told["data"][0]["content"][0]["text"] == f"I am {MAIL}"
    assert told["data"][1] == sealed, "what is sealed stays as it is"
    assert house.sink.wait_for(1)[0].path == "/v1/responses/resp_1/input_items?limit=2"


async def test_what_needs_no_change_comes_as_it_came(house: House) -> None:
    house.keep("resp_1", "red")
    house.sink.script("/v1/responses/resp_1", Reply(body=b'{ "id":"resp_1" , "x":1.0}', headers=JSON))
    assert await house.stored.ask("GET", "resp_1", "", RED) == b'{ "id":"resp_1" , "x":1.0}'


@pytest.mark.parametrize("caller", [BLUE, Caller(key_id="3", project="red2")], ids=lambda caller: caller.project)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_another_projects_is_not_there(house: House, caller: Caller, method: str) -> None:
    house.keep("resp_1", "red")
    with pytest.raises(NotFound):
        await house.stored.ask(method, "resp_1", "", caller)
    with pytest.raises(NotFound):
        house.stored.known("resp_1", caller)
    assert house.sink.requests == []
    assert house.stored.known("resp_1", RED) is not None


async def test_what_is_not_known_is_there_for_admins_only_and_as_it_is(house: House) -> None:
    shown = house.keep("resp_1", "red")
    body = house.answers(f"/v1/responses/{OPENAIS}", message(f"Write to {shown}."))
    assert await house.stored.ask("GET", OPENAIS, "", ADMIN) == body
    assert house.stored.known(OPENAIS, ADMIN) is None
    with pytest.raises(NotFound):
        await house.stored.ask("GET", OPENAIS, "", RED)


@pytest.mark.parametrize("id", ["resp_1", "4111111111111111", "jane_doe", "resp_" + "a" * 200, "resp_jane.doe"])
async def test_an_unknown_id_that_openai_cannot_have_made_is_not_sent(house: House, id: str) -> None:
    with pytest.raises(NotFound):
        await house.stored.ask("GET", id, "", ADMIN)
    assert house.sink.requests == []


async def test_who_keeps_it_is_asked(house: House) -> None:
    house.keep("resp_1", "red", "other")
    house.answers("/v1/responses/resp_1", message("Hello"))
    await house.stored.ask("GET", "resp_1", "", RED)
    assert house.sink.wait_for(1)[0].header["authorization"] == "Bearer sk-0123456789abc"


@pytest.mark.parametrize("provider", ["chatty", "echo", "gone"])
async def test_who_keeps_no_responses_is_not_asked(house: House, provider: str) -> None:
    """A chat provider's answer was translated; its id is our own invention."""
    house.keep("resp_1", "red", provider)
    with pytest.raises(NotFound):
        await house.stored.ask("GET", "resp_1", "", RED)
    assert house.sink.requests == []


async def test_what_was_deleted_is_known_no_more(house: House) -> None:
    house.keep("resp_1", "red")
    deleted = house.answers("/v1/responses/resp_1", {"id": "resp_1", "object": "response", "deleted": True})
    assert await house.stored.ask("DELETE", "resp_1", "", RED) == deleted
    assert house.sink.wait_for(1)[0].method == "DELETE"
    with pytest.raises(NotFound):
        house.stored.known("resp_1", RED)


async def test_what_could_not_be_deleted_is_known_as_before(house: House) -> None:
    house.keep("resp_1", "red")
    house.sink.script("/v1/responses/resp_1", Reply(status=500, body=b"{}", headers=JSON))
    with pytest.raises(ProviderFailed):
        await house.stored.ask("DELETE", "resp_1", "", RED)
    assert house.stored.known("resp_1", RED) is not None


async def test_a_cancellation_has_no_body(house: House) -> None:
    house.keep("resp_1", "red")
    house.answers("/v1/responses/resp_1/cancel", message(""))
    await house.stored.ask("POST", "resp_1", "/cancel", RED)
    (asked,) = house.sink.wait_for(1)
    assert (asked.method, asked.body) == ("POST", b"")


async def test_a_refusal_keeps_its_status_and_its_words(house: House) -> None:
    house.keep("resp_1", "red")
    told = {"error": {"message": "Gone.", "type": "invalid_request_error", "param": None, "code": None}}
    house.sink.script("/v1/responses/resp_1", Reply(status=404, body=told))
    with pytest.raises(ProviderFailed, match="Gone") as refused:
        await house.stored.ask("GET", "resp_1", "", RED)
    assert refused.value.status == 404


@pytest.mark.parametrize("behave", ["html", "redirect-307", "garbage", "reset", "truncated", "status-503"])
async def test_what_is_no_answer_is_a_failure_of_the_provider(house: House, behave: str) -> None:
    house.keep("resp_1", "red")
    house.sink.script("/v1/responses/resp_1", Reply(behave=behave), forever=True)
    with pytest.raises(ProviderFailed) as failed:
        await house.stored.ask("GET", "resp_1", "", RED)
    assert failed.value.provider == "openai"
    assert failed.value.status >= 500


@pytest.mark.parametrize("private", [{"private": True}, {}], ids=["asked", "bound"])
async def test_a_private_caller_asks_nobody_elsewhere(house: House, private: dict[str, bool]) -> None:
    house.keep("resp_1", "red")
    caller = RED if private else Caller(key_id="1", project="red", rights=Rights(private=True))
    with pytest.raises(PrivateRefused):
        await house.stored.ask("GET", "resp_1", "", caller, **private)
    assert house.sink.requests == []


@pytest.mark.parametrize(("answers", "error"), [("redact", NotCovered), ("block", NotCovered), ("pass", None)])
async def test_an_answer_that_would_be_changed_is_not_shown_unchanged(
    house: House, answers: str, error: type[MembrainError] | None
) -> None:
    house.keep("resp_1", "red")
    house.policy = Policy(answers)
    house.answers("/v1/responses/resp_1", message("Hello"))
    if error is None:
        assert await house.stored.ask("GET", "resp_1", "", RED)
        return
    with pytest.raises(error):
        await house.stored.ask("GET", "resp_1", "", RED)
    assert house.sink.requests == []
    assert await house.stored.ask("DELETE", "resp_1", "", RED), "but it can be deleted"


async def test_ids_without_number_leave_nothing_behind(house: House) -> None:
    """Each is a path of its own, and addresses are kept parsed."""
    for number in range(100):
        house.keep(f"resp_{number}", "red")
        house.answers(f"/v1/responses/resp_{number}", message(""))
        await house.stored.ask("GET", f"resp_{number}", "", RED)
    assert len(house.egress._upstreams[0]._targets) <= 64
