"""The two documents that the product is built from: every path, name, table and example of the provider guide.

The client page's examples run in `client/test_seed_examples.py`. What later releases bring (Claude CLI, LiteLLM) is not
claimed here.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from membrain.config import Settings, load
from membrain.cost.pricing import MODEL_PRICING, estimate_cost
from membrain.providers import registry
from membrain.providers.base import BaseProvider
from membrain.providers.registry import get_provider, init_providers, list_providers
from membrain.routing.router import TIER_MODELS, Router
from membrain.schemas import ChatChoice, ChatCompletionRequest, ChatCompletionResponse, ChatMessage, Usage
from tests.served import Served
from tests.sink import Sink

PRICES = {
    "gpt-4o": (2.50, 10.00),
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4-turbo": (10.00, 30.00),
    "o1": (15.00, 60.00),
    "o3-mini": (1.10, 4.40),
    "claude-opus-4-20250514": (15.00, 75.00),
    "claude-sonnet-4-20250514": (3.00, 15.00),
    "claude-haiku-4-5-20251001": (0.80, 4.00),
}

MEANS = {
    "gpt-4o-mini": 0.000375,
    "claude-haiku-4-5-20251001": 0.0024,
    "o3-mini": 0.00275,
    "gpt-4o": 0.00625,
    "claude-sonnet-4-20250514": 0.009,
    "gpt-4-turbo": 0.02,
    "o1": 0.0375,
    "claude-opus-4-20250514": 0.045,
}


@pytest.fixture
def default_registry(monkeypatch: pytest.MonkeyPatch) -> registry.Registry:
    """The documented functions over a fresh registry."""
    fresh = registry.Registry()
    monkeypatch.setattr(registry, "_default", fresh)
    return fresh


class MyProvider(BaseProvider):
    """The guide's example of a provider of one's own."""

    def __init__(self, api_key: str, base_url: str):
        self._client = httpx.AsyncClient(
            base_url=base_url, headers={"Authorization": f"Bearer {api_key}"}, timeout=120.0
        )

    async def chat(self, request: ChatCompletionRequest) -> ChatCompletionResponse:
        payload: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
        }
        if request.temperature is not None:
            payload["temperature"] = request.temperature
        if request.max_tokens is not None:
            payload["max_tokens"] = request.max_tokens
        resp = await self._client.post("/chat/completions", json=payload)
        resp.raise_for_status()
        data = resp.json()
        return ChatCompletionResponse(
            id=data["id"],
            created=data["created"],
            model=data["model"],
            choices=[
                ChatChoice(index=c["index"], message=ChatMessage(**c["message"]), finish_reason=c.get("finish_reason"))
                for c in data["choices"]
            ],
            usage=Usage(**data["usage"]),
        )

    async def close(self) -> None:
        await self._client.aclose()


def test_prices_are_the_printed_ones() -> None:
    assert MODEL_PRICING == PRICES


def test_the_printed_cost_example_holds() -> None:
    assert estimate_cost(model="gpt-4o", prompt_tokens=1000, completion_tokens=500) == pytest.approx(0.0075)
    assert estimate_cost("no-such-model", 1000, 500) == 0.0


def test_the_cost_order_is_the_printed_one() -> None:
    means = {model: sum(price) / 2000 for model, price in MODEL_PRICING.items()}
    assert means == pytest.approx(MEANS)
    chain = Router().resolve_with_fallback("auto", ["openai", "anthropic"], max_cost=1.0)
    assert chain == list(MEANS)


def test_a_price_limit_keeps_what_fits() -> None:
    assert Router().resolve_with_fallback("auto", ["openai", "anthropic"], max_cost=0.001) == ["gpt-4o-mini"]


def test_tiers_are_the_printed_ones() -> None:
    assert TIER_MODELS == {
        "fast": ["gpt-4o-mini", "claude-haiku-4-5-20251001"],
        "balanced": ["gpt-4o", "claude-sonnet-4-20250514"],
        "best": ["o1", "claude-opus-4-20250514"],
    }


def test_the_printed_chain_example_holds_and_follows_latency() -> None:
    router = Router()
    asked: Any = {"requested_model": "auto", "available_providers": ["openai", "anthropic"], "tier": "balanced"}
    assert router.resolve_with_fallback(**asked) == ["gpt-4o", "claude-sonnet-4-20250514"]
    router.record_latency("openai", duration_ms=320.5)
    router.record_latency("anthropic", duration_ms=150.2)
    assert router.resolve_with_fallback(**asked) == ["claude-sonnet-4-20250514", "gpt-4o"]
    assert router.get_latency_stats("openai") == {"p50": 320.5, "p99": 320.5, "count": 1}


def test_the_other_names_of_the_tiers_are_understood() -> None:
    router = Router()
    providers = ["openai", "anthropic"]
    for name, tier in {"speed": "fast", "quality": "best"}.items():
        assert router.resolve_with_fallback("auto", providers, tier=name) == TIER_MODELS[tier]


def test_private_means_ollama_then_the_embedded_model() -> None:
    router = Router()
    with_ollama = router.resolve_with_fallback("auto", ["openai", "anthropic", "ollama"], private=True)
    assert with_ollama == ["ollama/llama3", "local/default"]
    assert router.resolve_with_fallback("auto", ["openai", "anthropic"], private=True) == ["local/default"]


def test_providers_register_by_the_printed_rules(default_registry: registry.Registry) -> None:
    init_providers(openai_api_key="sk-...", anthropic_api_key="short", ollama_url=None)
    assert list_providers() == []
    init_providers(
        openai_api_key="sk-0123456789ab", anthropic_api_key="sk-ant-0123456789", ollama_url="http://localhost:11434"
    )
    assert list_providers() == ["openai", "anthropic", "ollama"]
    asyncio.run(default_registry.close())


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("ollama/llama3", "ollama"),
        ("ollama:llama3", "ollama"),
        ("gpt-4o", "openai"),
        ("o1", "openai"),
        ("o3-mini", "openai"),
        ("claude-sonnet-4-20250514", "anthropic"),
        ("sonnet", "anthropic"),
        ("something-else", "openai"),
    ],
)
def test_models_resolve_by_the_printed_table(default_registry: registry.Registry, model: str, name: str) -> None:
    init_providers("sk-0123456789ab", "sk-ant-0123456789", "http://localhost:11434")
    assert get_provider(model) is default_registry.providers[name]
    asyncio.run(default_registry.close())


def test_settings_have_the_documented_names(home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789ab")
    monkeypatch.setenv("OLLAMA_URL", "http://127.0.0.1:11435")
    settings = load()
    assert isinstance(settings, Settings)
    assert settings.openai_api_key == "sk-0123456789ab"
    assert settings.anthropic_api_key is None
    assert settings.ollama_url == "http://127.0.0.1:11435"
    assert (settings.default_provider, settings.default_model) == ("claude_cli", "sonnet")


@pytest.mark.anyio
async def test_a_provider_of_ones_own_works_as_written(sink: Sink) -> None:
    provider = MyProvider("sk-own-0123456789", f"{sink.url}/v1")
    said = [ChatMessage(role="user", content="Hello")]
    whole = await provider.chat(ChatCompletionRequest(model="myllm-standard", messages=said, temperature=0.5))
    assert whole.choices[0].message.content
    pieces = [piece async for piece in provider.stream_chat("myllm-standard", said)]
    assert len(pieces) == 1, "the default wraps the whole answer as one chunk"
    assert pieces[0]["choices"][0]["delta"]["content"] == whole.choices[0].message.content
    await provider.close()


def test_the_printed_curl_lines_work(served: Served, sink: Sink) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
    fast = served.post("/v1/chat/completions", body, **{"X-Membrain-Tier": "fast"})
    assert fast.json()["model"] == "gpt-4o-mini"
    cheap = served.post("/v1/chat/completions", body, **{"X-Membrain-Max-Cost": "0.001"})
    assert cheap.json()["model"] == "gpt-4o-mini"
    private = served.post("/v1/chat/completions", body, **{"X-Membrain-Private": "true"})
    assert private.json()["model"] == "llama3:latest"
    assert sink.requests[-1].json()["model"] == "llama3:latest", "the prefix is ours and stays here"
    assert b"sk-canary" not in sink.requests[-1].body


def test_anthropic_is_spoken_to_in_its_own_words(served: Served, sink: Sink) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    answer = served.post("/v1/chat/completions", {"model": "claude-sonnet-4-20250514", "messages": messages}).json()
    [sent] = [each for each in sink.requests if each.path == "/v1/messages"]
    assert "Be brief." in str(sent.json()["system"])
    assert sent.json()["max_tokens"] == 4096
    assert [message["role"] for message in sent.json()["messages"]] == ["user"]
    assert sent.header["x-api-key"].startswith("sk-ant-canary")
    assert isinstance(answer["choices"][0]["message"]["content"], str)
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
