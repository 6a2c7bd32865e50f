"""Who is registered, what each offers, and the documented three functions."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from membrain.egress import Egress
from membrain.errors import Misconfigured, NotConfigured
from membrain.providers import registry as make
from membrain.providers.anthropic import AnthropicProvider
from membrain.providers.ollama import OllamaProvider
from membrain.providers.openai import OpenAIProvider
from membrain.providers.registry import Registry, get_provider, init_providers, list_providers, looks_real
from membrain.records import ProviderState
from tests.fakes import EchoProvider
from tests.sink import Reply, Sink

pytestmark = pytest.mark.anyio
KEY = "sk-canary-0123456789"


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    egress = Egress()
    yield egress
    await egress.close()


@pytest.fixture
def registry() -> Registry:
    return Registry()


# --- the registry


async def test_providers_are_kept_in_the_order_they_came(registry: Registry) -> None:
    for name in ("b", "a", "c"):
        registry.register(name, EchoProvider())
    assert list(registry.providers) == list(registry.offers) == ["b", "a", "c"]


async def test_a_provider_that_goes_is_closed(registry: Registry) -> None:
    provider = EchoProvider()
    registry.register("echo", provider)
    await registry.unregister("echo")
    assert provider.closed
    assert not registry.providers
    assert not registry.offers
    await registry.unregister("echo")


async def test_closing_closes_everybody(registry: Registry) -> None:
    providers = [EchoProvider() for _ in range(3)]
    for index, provider in enumerate(providers):
        registry.register(str(index), provider)
    await registry.close()
    assert all(provider.closed for provider in providers)


async def test_nobody_outside_changes_who_is_registered(registry: Registry) -> None:
    with pytest.raises(TypeError):
        registry.providers["x"] = EchoProvider()  # type: ignore[index]  # it is read-only


async def test_an_offer_says_what_is_served_and_where(registry: Registry, egress: Egress) -> None:
    registry.register(
        "mine", make.compatible(egress, "mine", "http://127.0.0.1:1/v1", None, ("a",), local=True), ("a",)
    )
    registry.register("relay", make.compatible(egress, "relay", "http://127.0.0.1:1/v1", None, ("b",)), ("b",))
    registry.register("cloud", make.compatible(egress, "cloud", "https://example.com/v1", KEY, ("c",)), ("c",))
    assert [(each.local, each.models, set(each.here)) for each in registry.offers.values()] == [
        (True, ("a",), {"a"}),
        (False, ("b",), set()),
        (False, ("c",), set()),
    ]


async def test_ollama_is_asked_what_it_has(registry: Registry, egress: Egress) -> None:
    with Sink(ollama=["llama3:latest", "big-cloud"]) as sink:
        registry.register("ollama", make.ollama(egress, sink.url))
        assert registry.offers["ollama"].models == ()
        await registry.refresh()
        offer = registry.offers["ollama"]
        assert offer.models == ("ollama/llama3:latest", "ollama/big-cloud")
        assert offer.here == {"ollama/llama3:latest"}
        for _ in range(5):
            await registry.refresh()
        assert len(sink.requests) == 1


async def test_who_asks_while_ollama_is_asked_waits_for_the_same_answer(registry: Registry, egress: Egress) -> None:
    """Or the first moments of a gateway would route as if there were no Ollama."""
    with Sink() as sink:
        sink.script("/api/tags", Reply(body={"models": [{"name": "llama3:latest"}]}, pause=0.1))
        registry.register("ollama", make.ollama(egress, sink.url))

        async def offered() -> tuple[str, ...]:
            await registry.refresh()
            return registry.offers["ollama"].models

        assert set(await asyncio.gather(*(offered() for _ in range(10)))) == {("ollama/llama3:latest",)}
        assert len(sink.requests) == 1


async def test_an_ollama_that_is_away_offers_nothing(registry: Registry, egress: Egress) -> None:
    with Sink() as sink:
        pass
    registry.register("ollama", make.ollama(egress, sink.url))
    await registry.refresh()
    assert registry.offers["ollama"].models == ()


async def test_an_ollama_that_was_taken_away_meanwhile_stays_away(registry: Registry, egress: Egress) -> None:
    with Sink() as sink:
        sink.script("/api/tags", Reply(body={"models": [{"name": "llama3:latest"}]}, pause=0.1))
        registry.register("ollama", make.ollama(egress, sink.url))
        asking = asyncio.ensure_future(registry.refresh())
        await asyncio.to_thread(sink.wait_for, 1)
        registry._providers.pop("ollama")
        registry._offers.pop("ollama")
        await asking
        assert "ollama" not in registry.offers


async def test_one_that_took_its_place_meanwhile_is_asked_itself(registry: Registry, egress: Egress) -> None:
    with Sink() as slow, Sink(ollama=["new:latest"]) as new:
        slow.script("/api/tags", Reply(body={"models": [{"name": "old:latest"}]}, pause=0.1))
        registry.register("ollama", make.ollama(egress, slow.url))
        asking = asyncio.ensure_future(registry.refresh())
        await asyncio.to_thread(slow.wait_for, 1)
        registry.become([("ollama", make.ollama(egress, new.url), ())])
        await asking
        assert registry.offers["ollama"].models == ()
        await registry.refresh()
        assert list(registry.offers["ollama"].models) == ["ollama/new:latest"]


async def test_becoming_keeps_who_stays_and_names_who_goes(registry: Registry) -> None:
    stays, goes, comes = EchoProvider(), EchoProvider(), EchoProvider()
    registry.become([("a", stays, ()), ("b", goes, ())])
    assert registry.become([("c", comes, ("m",)), ("a", stays, ())]) == [goes]
    assert list(registry.providers) == ["c", "a"]
    assert registry.offers["c"].models == ("m",)
    assert not goes.closed, "somebody may still be asking it"


async def test_one_that_is_registered_anew_is_asked_anew(registry: Registry, egress: Egress) -> None:
    with Sink() as sink:
        for _ in range(2):
            registry.register("ollama", make.ollama(egress, sink.url))
            await registry.refresh()
            assert registry.offers["ollama"].models


async def test_states_are_everybodys_and_one_that_cannot_say_hides_no_other(registry: Registry) -> None:
    class Broken(EchoProvider):
        async def state(self) -> ProviderState:
            raise RuntimeError("canary-7f3a")

    registry.register("broken", Broken())
    registry.register("echo", EchoProvider())
    broken, echo = await registry.states()
    assert (broken.name, broken.up, broken.note) == ("broken", False, "failed with RuntimeError")
    assert echo.up


# --- keys and addresses


@pytest.mark.parametrize(
    ("key", "real"),
    [
        (None, False),
        ("", False),
        ("short", False),
        ("0123456789", False),
        ("sk-...", False),
        ("sk-your-key-here...", False),
        ("ck_live_0123456789abcdef", False),
        ("01234567890", True),
        (KEY, True),
    ],
)
def test_a_key_looks_real_as_documented(key: str | None, real: bool) -> None:
    """And a key of our own is none of theirs: a shell full of our variables must not send us to ourselves."""
    assert looks_real(key) is real


async def test_addresses_have_the_documented_defaults(egress: Egress) -> None:
    assert make.openai(egress, KEY)._upstream.base_url == "https://api.openai.com/v1"
    assert make.anthropic(egress, KEY)._upstream.base_url == "https://api.anthropic.com"
    assert make.ollama(egress)._upstream.base_url == "http://localhost:11434/v1"


# --- the documented functions


@pytest.fixture(autouse=True)
def _a_default_of_the_tests_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a machine without a `claude` and without LiteLLM."""
    monkeypatch.setattr(make, "_default", Registry())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "litellm", None)


async def test_what_was_given_is_registered() -> None:
    init_providers(openai_api_key=KEY, anthropic_api_key=KEY, ollama_url="http://localhost:11434")
    assert list_providers() == ["openai", "anthropic", "ollama"]
    assert isinstance(get_provider("gpt-4o"), OpenAIProvider)
    assert isinstance(get_provider("o3-mini"), OpenAIProvider)
    assert isinstance(get_provider("claude-sonnet-4-20250514"), AnthropicProvider)
    assert isinstance(get_provider("ollama/llama3"), OllamaProvider)
    assert isinstance(get_provider("ollama:llama3"), OllamaProvider)
    assert isinstance(get_provider("sonnet"), AnthropicProvider)
    assert isinstance(get_provider("something-else"), OpenAIProvider)


async def test_nothing_given_registers_nothing() -> None:
    init_providers()
    init_providers(openai_api_key="sk-...", anthropic_api_key="short")
    assert list_providers() == []
    with pytest.raises(NotConfigured):
        get_provider("gpt-4o")


async def test_an_address_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(Misconfigured):
        init_providers(ollama_url="http://example.com:11434")
