"""The gateway's files answer while it is down what it answers while it is up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from membrain.config import load
from membrain.errors import BadRequest, Forbidden, Misconfigured, NotFound
from membrain.offline import Offline
from membrain.places import Places
from tests.served import Served
from tests.sink import Sink


@pytest.fixture
def places(home: Path) -> Places:
    return Places.find({"MEMBRAIN_HOME": str(home)}).create()


def test_the_audit_reads_the_same_from_the_file(tmp_path: Path, sink: Sink) -> None:
    with Served(tmp_path / "home", sink) as served:
        for model in ("gpt-4o", "claude-sonnet-4-20250514", "gpt-status-500"):
            served.chat(model=model)
        online = served.audit()
        usage = served.get("/api/usage").json()
    offline = Offline(Places.find({"MEMBRAIN_HOME": str(served.home)}))
    assert [record.id for record in offline.audit_list({})] == [record["id"] for record in online]
    assert [record.model for record in offline.audit_list({"outcome": "failed"})] == ["gpt-status-500"]
    assert offline.audit_get(online[0]["id"][:8]).model == online[0]["model"]
    assert offline.usage()["exchanges"] == usage["exchanges"] == 3


def test_a_key_issued_while_it_is_down_opens_it_when_it_is_up(tmp_path: Path, sink: Sink) -> None:
    home = tmp_path / "home"
    offline = Offline(Places.find({"MEMBRAIN_HOME": str(home)}).create())
    key, row = offline.issue_key("aider", "web")
    assert key.startswith("ck_live_")
    with pytest.raises(BadRequest):
        offline.issue_key("aider")
    bearer = {"authorization": f"Bearer {key}"}
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    with Served(home, sink, MEMBRAIN_AUTH_MODE="token") as served:
        assert served.post("/v1/chat/completions", body).status == 401
        assert served.post("/v1/chat/completions", body, **bearer).status == 200
    held = offline.keys()
    assert [(each.name, each.project) for each in held if each.id == row.id] == [("aider", "web")]
    assert offline.usage(key_id=row.id)["exchanges"] == 1
    assert offline.revoke_key("aider").revoked
    with Served(home, sink, MEMBRAIN_AUTH_MODE="token") as served:
        assert served.post("/v1/chat/completions", body, **bearer).status == 401


def test_this_machines_key_cannot_be_revoked(tmp_path: Path) -> None:
    with Served(tmp_path / "home") as served:
        assert served.get("/health").status == 200
    offline = Offline(Places.find({"MEMBRAIN_HOME": str(served.home)}))
    [machine] = offline.keys()
    with pytest.raises(Forbidden):
        offline.revoke_key(machine.id)
    with pytest.raises(NotFound):
        offline.revoke_key("nobody")


def test_a_provider_can_be_tried_without_a_gateway(places: Places, sink: Sink) -> None:
    environ = {"MEMBRAIN_HOME": "", "UPSTREAM_OPENAI_URL": f"{sink.url}/v1", "OPENAI_API_KEY": "sk-0123456789ab"}
    settings = load(environ, places)
    found = Offline(places).test_provider("openai", settings, settings.keys)
    assert (found["ok"], found["error"]) == (True, None)
    assert sink.requests[-1].header["authorization"] == "Bearer sk-0123456789ab"
    with pytest.raises(NotFound):
        Offline(places).test_provider("anthropic", settings, settings.keys)


def test_looking_at_the_audit_loads_no_server_and_no_transport() -> None:
    """It is on the command line's way."""
    script = "import sys, membrain.offline; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"aiohttp", "starlette", "uvicorn", "asyncio", "httpx", "keyring", "msgspec"}


def test_the_chain_is_read_from_the_file_up_and_down(tmp_path: Path, sink: Sink) -> None:
    with Served(tmp_path / "home", sink) as served:
        id = served.chat().headers["x-request-id"]
        environ = {"MEMBRAIN_HOME": str(served.home), "MEMBRAIN_SECRETS_BACKEND": "file"}
        offline, secrets = Offline(Places.find(environ)), load(environ).keys
        assert offline.verify(secrets)["sound"] is True
        assert offline.glance(secrets) == {"records": 2, "reason": None, "checked_head": True}
        head, link = offline.head(secrets), offline.link(id, secrets)
    assert head is not None
    assert (head["seq"], head["seal"]) == (link["seq"], link["seal"]) == (offline.length(), link["seal"])
    assert offline.verify(secrets, [head["line"]])["sound"] is True
    assert [row["id"] for row in offline.export({})] == [id]
    assert (offline.count({"id": id}), offline.erase(secrets, {"id": id}), offline.count({})) == (1, 1, 0)
    assert offline.verify(secrets, [head["line"]])["erased"] == 2
    assert offline.prune(secrets, "2030-01-01T00:00:00Z") == 0


def test_no_key_is_made_for_a_chain_that_is_not_there(tmp_path: Path) -> None:
    environ = {"MEMBRAIN_HOME": str(tmp_path / "home"), "MEMBRAIN_SECRETS_BACKEND": "file"}
    offline = Offline(Places.find(environ))
    for ask in (offline.key, offline.verify, offline.head, offline.glance):
        with pytest.raises(NotFound):
            ask(load(environ).keys)
    assert offline.length() == 0
    assert not (tmp_path / "home").exists()


def test_a_line_that_is_no_head_checks_nothing(tmp_path: Path, sink: Sink) -> None:
    with Served(tmp_path / "home", sink) as served:
        served.chat()
    environ = {"MEMBRAIN_HOME": str(served.home), "MEMBRAIN_SECRETS_BACKEND": "file"}
    with pytest.raises(Misconfigured, match="no head of this audit"):
        Offline(Places.find(environ)).verify(load(environ).keys, ["2 00 2026-11-22T06:00:00.000Z 00"])
