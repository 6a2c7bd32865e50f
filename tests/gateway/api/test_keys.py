"""Client keys over the network: what may be said of one, what is told of it, and one verdict on every route."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from membrain.api import admin, keys
from membrain.api.app import create_app
from membrain.api.guard import Guard
from membrain.config import load
from membrain.dialects.table import BY_PATH
from membrain.errors import BadRequest, Forbidden, NotFound
from membrain.gateway import Gateway
from membrain.places import Places
from membrain.records import Allowance, Rate, Rights

pytestmark = pytest.mark.anyio
GUARD = Guard({"127.0.0.1"}, 8001, body_bytes=10_000)


@asynccontextmanager
async def opened(home: Path, mode: str = "local") -> AsyncIterator[Gateway]:
    """A gateway in this process, with nobody behind it."""
    environ = {
        "MEMBRAIN_HOME": str(home),
        "HOME": str(home),
        "MEMBRAIN_AUTH_MODE": mode,
        "MEMBRAIN_SECRETS_BACKEND": "file",
        "MEMBRAIN_LOCAL_ENABLED": "false",
        "MEMBRAIN_PROVIDERS_CLAUDE_CLI_ENABLED": "false",
        "MEMBRAIN_PROVIDERS_LITELLM_ENABLED": "false",
        "OLLAMA_URL": "http://127.0.0.1:9",
    }
    gateway = Gateway(load(environ), Places.find(environ).create())
    await gateway.open()
    try:
        yield gateway
    finally:
        await gateway.close()


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with opened(tmp_path_factory.mktemp("keys") / "home") as gateway:
        yield gateway


# --- issuing


async def test_a_key_has_the_rights_that_were_asked_for(gateway: Gateway) -> None:
    asked = {
        "name": "narrow",
        "project": "work",
        "scopes": ["ask"],
        "expires": "2096-01-01T01:00:00+01:00",
        "models": ["gpt-4o*"],
        "budget": {"day": 2_000_000, "month": 50_000_000, "total": 0},
        "rate": {"requests": 60, "tokens": 100_000},
        "tier": "speed",
        "private": True,
    }
    told = await keys.issued(gateway, asked)
    rights = Rights(
        scopes=("ask",),
        expires="2096-01-01T00:00:00Z",
        models=("gpt-4o*",),
        budget=Allowance(2_000_000, 50_000_000, 0),
        rate=Rate(60, 100_000),
        tier="fast",
        private=True,
    )
    assert told["rights"] == asdict(rights)
    assert gateway.identify(told["key"], None).rights == rights
    assert (told["name"], told["project"], told["expired"]) == ("narrow", "work", False)
    assert (told["tail"], "digest" in told) == (told["key"][-4:], False)


async def test_what_is_not_said_or_null_is_as_usual(gateway: Gateway) -> None:
    nothing = dict.fromkeys(["project", "scopes", "expires", "ttl", "models", "budget", "rate", "tier", "private"])
    for name, more in (("plain", {}), ("nulls", nothing), ("empty", {"budget": {}, "rate": {"requests": None}})):
        told = await keys.issued(gateway, {"name": name, **more})
        assert (told["project"], told["rights"]) == ("default", asdict(Rights()))


async def test_what_is_told_of_rights_makes_the_same_rights(gateway: Gateway) -> None:
    """The command line sends them as records spell them."""
    rights = Rights(expires="2096-01-01T00:00:00Z", models=("a", "b"), budget=Allowance(day=7))
    told = await keys.issued(gateway, {"name": "mirror", **json.loads(json.dumps(rights.to_dict()))})
    assert Rights.from_dict(told["rights"]) == rights


async def test_a_time_to_live_is_an_end(gateway: Gateway) -> None:
    before = int(time.time())
    told = await keys.issued(gateway, {"name": "brief", "ttl": 3600})
    end = admin.moment(told["rights"]["expires"], "expires").timestamp()
    assert before + 3600 <= end <= time.time() + 3600


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({}, "name"),
        ({"name": None}, "name"),
        ({"name": " "}, "name"),
        ({"name": 7}, "name"),
        ({"project": []}, "project"),
        ({"project": "a\nb"}, "project"),
        ({"scopes": "ask"}, "scopes"),
        ({"scopes": [7]}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes"),
        ({"expires": 7}, "expires"),
        ({"expires": "2020-01-01T00:00:00Z"}, "expires"),
        ({"expires": "2096-01-01"}, "expires"),
        ({"ttl": "1h"}, "ttl"),
        ({"ttl": True}, "ttl"),
        ({"ttl": 0}, "ttl"),
        ({"ttl": -5}, "ttl"),
        ({"ttl": 1e300}, "ttl"),
        ({"ttl": 60, "expires": "2096-01-01T00:00:00Z"}, "ttl"),
        ({"models": "gpt-4o"}, "models"),
        ({"models": [None]}, "models"),
        ({"models": [""]}, "models"),
        ({"budget": 5}, "budget"),
        ({"budget": {"day": 1.5}}, "budget.day"),
        ({"budget": {"month": True}}, "budget.month"),
        ({"budget": {"total": -1}}, "budget.total"),
        ({"budget": {"week": 5}}, "budget.week"),
        ({"rate": [60]}, "rate"),
        ({"rate": {"requests": "60"}}, "rate.requests"),
        ({"rate": {"requests": 0}}, "rate.requests"),
        ({"rate": {"seconds": 5}}, "rate.seconds"),
        ({"tier": "turbo"}, "tier"),
        ({"tier": 1}, "tier"),
        ({"private": "yes"}, "private"),
        ({"private": 1}, "private"),
        ({"budjet": {"day": 5}}, "budjet"),
        ({"admin": True}, "admin"),
        ({"id": "machine-1"}, "id"),
        ({"rights": {}}, "rights"),
    ],
)
async def test_a_field_that_makes_no_sense_is_named_and_makes_no_key(
    gateway: Gateway, data: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        await keys.issued(gateway, {"name": "odd", **data} if data else {})
    assert refused.value.param == param
    assert "odd" not in {key.name for key in gateway.auth.all()}


# --- listing, rotating, revoking


async def test_the_list_says_what_each_key_may_and_whether_it_is_over(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = await keys.issued(gateway, {"name": "listed", "ttl": 60, "budget": {"day": 5}})
    for passed, over in ((0, False), (61, True)):
        monkeypatch.setattr(gateway.auth, "wall", lambda passed=passed: time.time() + passed)
        (row,) = [each for each in await keys.listed(gateway) if each["name"] == "listed"]
        assert row == {name: value for name, value in told.items() if name != "key"} | {"expired": over}
        assert row["rights"]["budget"]["day"] == 5
    text = json.dumps(await keys.listed(gateway))
    assert told["key"] not in text
    assert "digest" not in text


async def test_a_rotated_key_is_told_once_and_the_old_one_stops(gateway: Gateway) -> None:
    before = await keys.issued(gateway, {"name": "turned"})
    after = await keys.rotated(gateway, "turned", {})
    assert after == {**before, "key": after["key"], "tail": after["key"][-4:]}
    assert (gateway.auth.knows(before["key"]), gateway.auth.knows(after["key"])) == (False, True)
    last = await keys.rotated(gateway, before["id"], {"grace": 60})
    assert gateway.auth.knows(after["key"])
    assert gateway.auth.knows(last["key"])


@pytest.mark.parametrize(
    ("data", "param"),
    [({"grace": "10m"}, "grace"), ({"grace": False}, "grace"), ({"grace": -1}, "grace"), ({"graze": 1}, "graze")],
)
async def test_a_grace_that_makes_no_sense_rotates_nothing(gateway: Gateway, data: dict[str, Any], param: str) -> None:
    told = await keys.issued(gateway, {"name": f"kept {data}"})
    with pytest.raises(BadRequest) as refused:
        await keys.rotated(gateway, told["id"], data)
    assert refused.value.param == param
    assert gateway.auth.knows(told["key"])


async def test_a_revoked_key_is_told_and_gone(gateway: Gateway) -> None:
    told = await keys.issued(gateway, {"name": "gone"})
    row = await keys.revoked(gateway, "gone")
    assert row["id"] == told["id"]
    assert row["revoked"]
    assert "gone" not in {each["name"] for each in await keys.listed(gateway)}
    for again in (keys.revoked(gateway, "gone"), keys.rotated(gateway, "gone", {})):
        with pytest.raises(NotFound):
            await again


async def test_this_machines_own_key_stays(gateway: Gateway) -> None:
    (own,) = [each["id"] for each in await keys.listed(gateway) if each["name"] == "this machine"]
    for change in (keys.revoked(gateway, own), keys.rotated(gateway, own, {})):
        with pytest.raises(Forbidden):
            await change


# --- one verdict on every route

HEADERS = ("x-membrain-api-key", "authorization", "x-api-key")
KINDS = ("good", "chief", "machine", "wrong", "revoked", "rotated", "expired", "asker", "reader")
SCOPES = {"good": {"ask", "read"}, "asker": {"ask"}, "reader": {"read"}}
"""What the keys of these kinds were issued for; the chief and the machine may do everything, others nothing."""

NEEDED = {
    **{("POST", path): {"ask"} for path in BY_PATH},
    ("GET", "/v1/models"): {"ask", "read"},
    ("GET", "/v1/models/{id:path}"): {"ask", "read"},
    ("GET", "/v1/responses/{id}"): {"ask"},
    ("DELETE", "/v1/responses/{id}"): {"ask"},
    ("GET", "/v1/responses/{id}/input_items"): {"ask"},
    ("POST", "/v1/responses/{id}/cancel"): {"ask"},
    ("GET", "/api/models"): {"ask", "read"},
    ("GET", "/api/tiers"): {"ask", "read"},
    ("POST", "/api/route"): {"ask", "read"},
    ("GET", "/api/audit"): {"read"},
    ("GET", "/api/audit/{id}"): {"read"},
    ("GET", "/api/usage"): {"read"},
    ("GET", "/metrics"): {"read"},
}
"""The scopes of which a key needs one. A route that is not listed is for who runs the house."""

OPEN = {"/", "/health"}
BODY = json.dumps(
    {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "input": "a", "prompt": "a"}
).encode()
"""What every dialect can read."""


class House:
    """A gateway with a key of each kind, asked through its doors."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.app = create_app(gateway, GUARD)
        self.keys: dict[str, str] = {}

    async def furnish(self) -> None:
        issue = self.gateway.auth.issue
        rights = {
            **{kind: Rights(scopes=tuple(scopes)) for kind, scopes in SCOPES.items()},
            "chief": Rights(scopes=("admin",)),
            "expired": Rights(scopes=("ask", "read", "admin"), expires="2096-01-01T00:00:00Z"),
            "revoked": Rights(scopes=("admin",)),
            "rotated": Rights(scopes=("admin",)),
        }
        self.keys = {kind: (await issue(kind, rights=each))[0] for kind, each in rights.items()}
        self.keys["wrong"] = "ck_live_" + "0" * 32
        self.keys["machine"] = self.gateway._places.machine_key_file.read_text().strip()
        await self.gateway.auth.revoke("revoked")
        await self.gateway.auth.rotate("rotated")
        self.gateway.auth.wall = lambda: 3_976_300_000.0  # in 2096

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Every route there is, as the tables say; a new one comes by itself."""
        known = [(method, each.path) for each in admin.routes(self.gateway) for method in each.methods or ()]
        return [each for each in known if each[0] != "HEAD"] + [("POST", path) for path in BY_PATH]

    async def ask(
        self, method: str, path: str, *headers: tuple[str, str], body: bytes | None = None
    ) -> tuple[int, str]:
        """The status and the error's code of one request, whose caller hangs up when it has an answer."""
        body = body if body is not None else BODY if path in BY_PATH else b"{}"
        given = [{"type": "http.request", "body": body, "more_body": False}]
        told: list[Any] = []
        answered = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if given:
                return given.pop()
            await answered.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            told.append(message)
            answered.set()

        raw = [(b"host", b"127.0.0.1:8001"), (b"content-type", b"application/json")]
        raw += [(name.encode(), value.encode()) for name, value in headers]
        where = {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8001), "query_string": b""}
        filled = path.replace("{id:path}", "x").replace("{id}", "x").replace("{which}", "x").replace("{name}", "x")
        await self.app({"type": "http", "method": method, "path": filled, "headers": raw, **where}, receive, send)
        answer = b"".join(message.get("body", b"") for message in told[1:])
        status = told[0]["status"]
        return status, json.loads(answer)["error"]["code"] if status >= 400 else ""


@pytest.fixture(scope="module", params=["local", "token", "off"])
async def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with opened(tmp_path_factory.mktemp(request.param) / "home", request.param) as gateway:
        house = House(gateway)
        await house.furnish()
        yield house


def sent(header: str, key: str) -> tuple[str, str]:
    """A header that carries a key."""
    return header, f"Bearer {key}" if header == "authorization" else key


def expected(mode: str, kind: str, route: tuple[str, str]) -> tuple[int, str] | None:
    """How a key of that kind is refused on a route; None if it is not."""
    if mode == "off" or route[1] in OPEN or kind in {"chief", "machine"}:
        return None
    if kind not in SCOPES:
        return 401, "invalid_api_key"
    return None if SCOPES[kind] & NEEDED.get(route, set()) else (403, "scope_missing")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_has_one_verdict_in_every_header_on_every_route(house: House, kind: str) -> None:
    mode = house.gateway.auth.mode
    assert len(house.routes) >= len(NEEDED) + 8
    for route in house.routes:
        verdicts = {header: await house.ask(*route, sent(header, house.keys[kind])) for header in HEADERS}
        refused = {each if each[0] in {401, 403} else None for each in verdicts.values()}
        assert refused == {expected(mode, kind, route)}, (mode, kind, route, verdicts)


async def test_without_a_key_every_route_has_the_verdict_of_its_mode(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for door in ("admin", "speak"):  # this process made no connection that could be looked up
        monkeypatch.setattr(f"membrain.api.{door}.same_user", lambda *_: True)
    for route in house.routes:
        verdict = await house.ask(*route)
        refused = house.gateway.auth.mode == "token" and route[1] not in OPEN
        assert (verdict == (401, "invalid_api_key")) is refused, (route, verdict)


@pytest.mark.parametrize(
    ("places", "code"),
    [
        ([("x-membrain-api-key", "good"), ("authorization", "good"), ("x-api-key", "good")], None),
        ([("x-membrain-api-key", "good"), ("authorization", "sk-of-a-provider")], None),
        ([("x-membrain-api-key", "good"), ("x-api-key", "sk-ant-of-a-provider")], None),
        ([("x-membrain-api-key", "good"), ("authorization", "asker")], "invalid_request"),
        ([("x-membrain-api-key", "good"), ("authorization", "revoked")], "invalid_request"),
        ([("authorization", "good"), ("x-api-key", "reader")], "invalid_request"),
        ([("x-membrain-api-key", "sk-of-a-provider"), ("authorization", "good")], "invalid_request"),
        ([("authorization", "sk-of-a-provider"), ("x-api-key", "sk-ant-other")], "invalid_api_key"),
    ],
)
async def test_two_keys_of_ours_are_nobodys_and_anothers_is_let_be(
    house: House, places: list[tuple[str, str]], code: str | None
) -> None:
    if house.gateway.auth.mode == "off" and code == "invalid_api_key":
        code = None
    for route in [("GET", "/v1/models"), ("GET", "/api/audit"), ("POST", "/v1/chat/completions")]:
        headers = [sent(header, house.keys.get(key, key)) for header, key in places]
        _, told = await house.ask(*route, *headers)
        assert (told if told in {"invalid_request", "invalid_api_key"} else None) == code, route


async def test_a_project_that_is_not_the_keys_is_refused_on_every_route_it_may_use(house: House) -> None:
    for route, scopes in NEEDED.items():
        for kind, held in SCOPES.items():
            if not held & scopes:
                continue
            key = sent("x-api-key", house.keys[kind])
            assert (await house.ask(*route, key, ("x-membrain-project", "default")))[1] != "project_not_allowed"
            verdict = await house.ask(*route, key, ("x-membrain-project", "other"))
            assert (verdict == (403, "project_not_allowed")) is (house.gateway.auth.mode != "off"), route


async def test_no_key_is_in_logs_reprs_errors_or_files(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    auth = house.gateway.auth
    issued, _ = await auth.issue("to be seen nowhere")
    rotated, _ = await auth.rotate("to be seen nowhere", 60)
    for key in (issued, rotated):
        for route in [("GET", "/api/audit"), ("GET", "/api/keys"), ("POST", "/v1/chat/completions")]:
            await house.ask(*route, sent("x-api-key", key))
    await auth.revoke("to be seen nowhere")
    seen = caplog.text + repr(auth) + repr(vars(auth)) + repr(vars(house.gateway))
    for key in (issued, rotated):
        with pytest.raises(BadRequest) as refused:
            await keys.issued(house.gateway, {"name": "x", "tier": key})
        seen += repr(refused.value) + refused.value.sentence
        kept = [path for path in house.gateway._places.database.parent.rglob("*") if path.is_file()]
        assert kept
        assert not any(key[8:].encode() in path.read_bytes() for path in kept)
        assert key[8:] not in seen
