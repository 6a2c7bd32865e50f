"""The hall: built once, asked by both doors, closed once. In this process, with real stores and a fake upstream."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from membrain import gateway as hall
from membrain.config import Settings, load
from membrain.errors import MembrainError, Misconfigured, NotFound, ShuttingDown, Unauthorized, UnknownModel
from membrain.gateway import Gateway, assemble
from membrain.places import Places
from membrain.records import Caller, Hints, Outcome, Rights
from membrain.stages.audit import Audit, intent_of
from membrain.stages.auth import Auth
from membrain.stages.budget import Budget
from membrain.stages.cache import Cache
from membrain.stages.dispatch import Dispatch
from membrain.stages.pii import Pii
from membrain.stages.rate_limit import RateLimit
from tests.fakes import EchoProvider, exchange
from tests.sink import Reply, Sink

pytestmark = pytest.mark.anyio
KEY = "sk-canary-openai-0123456789"


def environment(home: Path, sink: Sink | None, **more: str) -> dict[str, str]:
    """Nothing of whoever runs the tests; every provider is the sink."""
    environ = {"MEMBRAIN_HOME": str(home), "HOME": str(home), "MEMBRAIN_LOCAL_ENABLED": "false"}
    if sink is not None:
        environ |= {
            "OPENAI_API_KEY": KEY,
            "ANTHROPIC_API_KEY": "sk-ant-canary-0123456789",
            "UPSTREAM_OPENAI_URL": f"{sink.url}/v1",
            "UPSTREAM_ANTHROPIC_URL": sink.url,
            "OLLAMA_URL": sink.url,
        }
    else:
        environ |= {"OLLAMA_URL": "http://127.0.0.1:9"}  # where nobody listens
    return environ | more


@asynccontextmanager
async def opened(environ: Mapping[str, str]) -> AsyncIterator[Gateway]:
    gateway = Gateway(load(environ), Places.find(environ).create())
    await gateway.open()
    try:
        yield gateway
    finally:
        await gateway.close()


@pytest.fixture
def environ(tmp_path: Path, sink: Sink) -> dict[str, str]:
    return environment(tmp_path / "home", sink)


@pytest.fixture
async def gateway(environ: dict[str, str]) -> AsyncIterator[Gateway]:
    async with opened(environ) as gateway:
        yield gateway


async def answered(gateway: Gateway, **more: Any) -> Any:
    """One exchange from end to end, as a door does it."""
    asked = exchange(**more)
    asked.same_user = True
    assert [chunk async for chunk in gateway.answer(asked)]
    return asked


def names(gateway: Gateway) -> list[str]:
    return list(gateway.registry.providers)


# --- the order of the house


async def test_the_rooms_stand_in_the_order_of_the_guide(gateway: Gateway) -> None:
    """Masked before it is counted, held and looked up; and audit first, because it must leave last: a refused caller is
    worth a record, and the outcome comes after everything."""
    rooms = gateway._pipeline.stages
    assert [type(room) for room in rooms] == [Audit, Auth, Pii, RateLimit, Budget, Cache, Dispatch]
    named = [parameter.annotation for parameter in signature(assemble).parameters.values()]
    assert named == [type(room).__name__ for room in rooms], "nor can two of them be mistaken for each other"


async def test_an_exchange_goes_through_all_rooms_and_onto_the_record(gateway: Gateway, sink: Sink) -> None:
    asked = await answered(gateway, model="gpt-4o")
    record = await gateway.stores.audit.get(asked.id)
    assert (record.outcome, record.caller, record.provider, record.local) == ("answered", "local", "openai", False)
    assert [step.room for step in record.steps] == ["audit", "auth", "pii", "rate_limit", "budget", "cache", "dispatch"]
    assert record.ms is not None
    assert record.first_ms is not None
    assert sum(step.ms for step in record.steps) <= record.ms + 1
    assert KEY in sink.requests[0].header["authorization"]


async def test_a_caller_that_is_refused_is_on_record_and_nobody_was_asked(gateway: Gateway, sink: Sink) -> None:
    asked = exchange()
    asked.credential = "ck_live_wrong"
    with pytest.raises(Unauthorized):
        await anext(gateway.answer(asked))
    record = await gateway.stores.audit.get(asked.id)
    assert (record.outcome, record.status, record.error) == ("refused", 401, "invalid_api_key")
    assert not sink.requests


# --- who can answer


async def test_who_has_a_key_or_an_address_is_registered(gateway: Gateway) -> None:
    assert names(gateway) == ["openai", "anthropic", "ollama"]


async def test_a_fresh_machine_has_nobody_and_says_what_would_help(tmp_path: Path) -> None:
    async with opened(environment(tmp_path / "home", None)) as gateway:
        assert [(state.name, state.up, state.remedy) for state in await gateway.states()] == [
            ("ollama", False, "ollama serve"),
            ("openai", False, "membrain keys set openai"),
            ("anthropic", False, "membrain keys set anthropic"),
        ]
        assert [card.id for card in await gateway.models(Caller(admin=True))] == ["auto"]


@pytest.mark.parametrize("key", ["sk-...", "short", "ck_live_0123456789abcdef0123456789abcdef"])
async def test_a_key_that_cannot_be_one_registers_nobody(tmp_path: Path, sink: Sink, key: str) -> None:
    """Ours above all: a shell that points tools at us must not point us at ourselves."""
    async with opened(environment(tmp_path / "home", sink, OPENAI_API_KEY=key)) as gateway:
        assert "openai" not in names(gateway)


async def test_a_provider_of_ones_own_is_registered_with_its_models(tmp_path: Path, sink: Sink) -> None:
    more = {"MEMBRAIN_PROVIDERS_MINE_URL": f"{sink.url}/v1", "MEMBRAIN_PROVIDERS_MINE_MODELS": "echo,other"}
    async with opened(environment(tmp_path / "home", sink, **more)) as gateway:
        assert "mine" in names(gateway)
        asked = await answered(gateway, model="other")
        assert asked.provider == "mine"


async def test_reading_the_keys_anew_changes_who_can_answer(gateway: Gateway, environ: dict[str, str]) -> None:
    """Connections of before are closed, and nothing of theirs is kept."""
    await answered(gateway, model="gpt-4o")
    before = gateway.registry.providers["openai"]
    for _ in range(3):
        await gateway.reload()
    assert names(gateway) == ["openai", "anthropic", "ollama"]
    assert gateway.registry.providers["openai"] is not before
    await asyncio.sleep(0.05)
    assert len(gateway.egress._upstreams) == 4
    await answered(gateway, model="gpt-4o")


async def test_settings_that_no_longer_work_change_nothing(environ: dict[str, str]) -> None:
    """A slip in the file while it runs costs the change, and not the gateway."""

    def broken() -> Settings:
        raise Misconfigured("config.toml line 1: no")

    gateway = Gateway(load(environ), Places.find(environ).create(), broken)
    await gateway.open()
    before = dict(gateway.registry.providers)
    with pytest.raises(Misconfigured):
        await gateway.reload()
    assert dict(gateway.registry.providers) == before
    await answered(gateway, model="gpt-4o")
    await gateway.close()


async def test_a_key_sees_the_models_that_it_may_ask(gateway: Gateway) -> None:
    caller = Caller("k1", rights=Rights(models=("GPT-4o*", "claude-*")))
    found = {card.id for card in await gateway.models(caller)}
    assert "gpt-4o-mini" in found
    assert "auto" in found
    assert "o1" not in found
    with pytest.raises(UnknownModel):
        await gateway.model("o1", caller)
    assert {row.id for row in await gateway.model_rows(caller)} == found - {"auto"}


async def test_models_are_everybodys_and_auto(gateway: Gateway) -> None:
    cards = await gateway.models(Caller(admin=True))
    assert (cards[0].id, cards[0].owned_by) == ("auto", "membrain")
    assert {(card.id, card.owned_by) for card in cards[1:]} >= {
        ("gpt-4o-mini", "openai"),
        ("ollama/llama3:latest", "ollama"),
    }
    assert (await gateway.model("ollama/llama3:latest", Caller(admin=True))).owned_by == "ollama"
    with pytest.raises(UnknownModel):
        await gateway.model("nobody-has-this", Caller(admin=True))


async def test_a_provider_that_is_away_hides_no_other(gateway: Gateway, sink: Sink) -> None:
    sink.script("/v1/models", Reply(behave="status-500"), forever=True)
    assert {card.owned_by for card in await gateway.models(Caller(admin=True))} == {"membrain", "ollama"}


async def test_a_provider_is_tested_by_asking_it(gateway: Gateway, sink: Sink) -> None:
    told = await gateway.test_provider("openai")
    assert (told["name"], told["ok"], told["error"]) == ("openai", True, None)
    sink.script("/v1/models", Reply(behave="status-401"), forever=True)
    told = await gateway.test_provider("openai")
    assert (told["ok"], bool(told["error"])) == (False, True)
    assert KEY not in str(told)
    with pytest.raises(NotFound):
        await gateway.test_provider("nobody")


async def test_a_provider_is_tested_without_a_gateway_too(environ: dict[str, str], sink: Sink) -> None:
    settings = load(environ)
    assert (await hall.tested("openai", settings, settings.keys))["ok"]
    with pytest.raises(NotFound):
        await hall.tested("nobody", settings, settings.keys)


# --- is it ours


async def test_health_tells_what_a_person_asks_and_no_secret(gateway: Gateway) -> None:
    health = {**gateway.alive(), **await gateway.health()}
    assert (health["status"], health["instance"], health["auth"]) == ("ok", gateway.instance, "local")
    assert {each["name"] for each in health["providers"]} == {"openai", "anthropic", "ollama"}
    assert "canary" not in str(health)
    assert gateway.proof_key.hex() not in str(health)
    assert "proof" not in health


async def test_a_challenge_is_answered_with_a_proof(gateway: Gateway) -> None:
    proofs = [gateway.alive(challenge)["proof"] for challenge in ("a", "b", "")]
    assert proofs[0] == hmac.digest(gateway.proof_key, b"a", hashlib.sha256).hex()
    assert len(set(proofs)) == 3


async def test_every_run_is_another_instance(environ: dict[str, str]) -> None:
    seen = set()
    for _ in range(2):
        async with opened(environ) as gateway:
            seen.add((gateway.instance, gateway.proof_key))
    assert len(seen) == 2
    assert len({instance for instance, _ in seen}) == 2


# --- this machine's own key


async def test_this_machines_key_is_in_a_file_only_this_user_reads(environ: dict[str, str]) -> None:
    path = Places.find(environ).machine_key_file
    async with opened(environ) as gateway:
        key = path.read_text().strip()
        assert gateway.identify(key, None).admin
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with opened(environ) as gateway:
        assert path.read_text().strip() == key, "it stays from run to run"
        assert gateway.identify(key, None).admin


async def test_a_lost_key_of_this_machine_is_made_anew_and_the_old_one_is_void(environ: dict[str, str]) -> None:
    path = Places.find(environ).machine_key_file
    async with opened(environ):
        lost = path.read_text().strip()
    path.unlink()
    async with opened(environ) as gateway:
        assert path.read_text().strip() != lost
        with pytest.raises(Unauthorized):
            gateway.identify(lost, None)
        assert len(gateway.auth.all()) == 1


# --- crashes, days, endings


async def test_what_a_kill_left_open_is_marked_at_the_next_start(environ: dict[str, str]) -> None:
    asked = exchange()
    async with opened(environ) as gateway:
        await gateway.stores.audit.intend(intent_of(asked))
    async with opened(environ) as gateway:
        assert (await gateway.stores.audit.get(asked.id)).outcome == Outcome.INTERRUPTED


async def test_today_goes_on_after_a_restart(environ: dict[str, str]) -> None:
    async with opened(environ) as gateway:
        asked = exchange()
        asked.time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        asked.same_user = True
        assert [chunk async for chunk in gateway.answer(asked)]
        assert gateway.live.snapshot().today == 1
    async with opened(environ) as gateway:
        assert gateway.live.snapshot().today == 1


async def test_a_project_sees_its_own_exchanges_only(gateway: Gateway) -> None:
    asked = await answered(gateway)
    assert (await gateway.audit_one(asked.id[:8], Caller(admin=True))).id == asked.id
    assert (await gateway.audit_one(asked.id, Caller(project="default"))).id == asked.id
    with pytest.raises(NotFound):
        await gateway.audit_one(asked.id, Caller(project="other"))


class Work:
    """Something that runs, and ends when it is told to, or not."""

    def __init__(self, gateway: Gateway, *, ends: bool = True) -> None:
        self.gateway, self.ends = gateway, ends
        self.reasons: list[MembrainError] = []
        gateway.running["w"] = self

    def end(self, reason: MembrainError) -> None:
        self.reasons.append(reason)
        if self.ends:
            del self.gateway.running["w"]


async def test_a_drain_waits_for_what_runs(gateway: Gateway) -> None:
    work = Work(gateway)
    asyncio.get_running_loop().call_later(0.1, gateway.running.pop, "w")
    began = asyncio.get_running_loop().time()
    await gateway.drain()
    assert 0.05 < asyncio.get_running_loop().time() - began < 1
    assert gateway.draining
    assert not work.reasons


async def test_a_drain_ends_what_runs_too_long(tmp_path: Path) -> None:
    async with opened(environment(tmp_path / "home", None, MEMBRAIN_LIMITS_DRAIN_SECONDS="0.1")) as gateway:
        work = Work(gateway)
        await gateway.drain()
        assert [type(reason) for reason in work.reasons] == [ShuttingDown]


async def test_a_drain_itself_ends(tmp_path: Path) -> None:
    async with opened(environment(tmp_path / "home", None, MEMBRAIN_LIMITS_DRAIN_SECONDS="0.1")) as gateway:
        work = Work(gateway, ends=False)
        await asyncio.wait_for(gateway.drain(), 3)
        assert work.reasons


async def test_closing_twice_is_closing_once(environ: dict[str, str]) -> None:
    async with opened(environ) as gateway:
        provider = EchoProvider()
        gateway.registry.register("echo", provider)
        await gateway.close()
        assert provider.closed


async def test_private_by_name_is_kept_from_end_to_end(gateway: Gateway, sink: Sink) -> None:
    asked = exchange(model="gpt-4o", hints=Hints(private=True))
    asked.same_user = True
    with pytest.raises(MembrainError) as refused:
        await anext(gateway.answer(asked))
    assert refused.value.code == "private_refused"
    assert not [each for each in sink.requests if each.path == "/v1/chat/completions"]
