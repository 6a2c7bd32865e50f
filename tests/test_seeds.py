"""The provider guide, line by line: every path, name, table, claim and example of it. Nothing here needs a gateway.

What needs a running one is in `test_seeds_running.py` (R below); the client page's examples run in
`client/test_seed_examples.py`. Nobody's `claude`, LiteLLM, keys or Ollama is used: a `Machine` has none of them.

| section of the guide | tests: what their names have in them |
| --- | --- |
| Overview | `source_file`, `interface`, `default_stream`, `documented_shapes`, `shutting_down` |
| Anthropic | `anthropic`, `registers`, `prices`, `settings_have`; R `behind_another_proxy` |
| OpenAI | `openai`, `registers`, `prices` |
| Claude CLI | `claude_cli`, `registers`; R `nobody_has_a_key` |
| Ollama | `ollama`, `private`, `costs_nothing`; R `ollama`, `curl` |
| LiteLLM | `litellm`, `registers`; R `nobody_has_a_key` |
| Tier-Based Routing | `tier`, `available`; R `tier`, `curl` |
| Cost-Constrained Routing | `cost_order`, `cost_limit`; R `cost_limit`, `curl` |
| Privacy Routing | `private`; R `private`, `curl` |
| Fallback Chains, Latency Tracking | `chain`, `latency`; R `fails`, `faster` |
| Model Resolution | `printed_code` |
| Provider Registration | `registers`, `look_valid`, `list_providers`, `settings_have` |
| Adding a Custom Provider | R `custom_provider` |
| Pricing Reference, Cost Estimation | `prices`, `cost_example`, `costs_nothing` |

Where it contradicts itself or what is true today, the tests hold what was decided: Anthropic streams natively, the
Claude CLI's own count goes before the estimate, and an unknown price is 0.0 in `estimate_cost` only.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from membrain.config import Settings, load
from membrain.cost.pricing import MODEL_PRICING, estimate_cost
from membrain.egress import Egress
from membrain.errors import NotConfigured
from membrain.providers import registry
from membrain.providers.base import BaseProvider
from membrain.providers.litellm import LiteLLMProvider
from membrain.providers.registry import get_provider, init_providers, list_providers
from membrain.routing.router import TIER_MODELS, Router
from membrain.schemas import ChatCompletionRequest, ChatCompletionResponse, ChatMessage
from tests.fakes import EchoProvider
from tests.served import ROOT
from tests.sink import Reply, Sink

pytestmark = pytest.mark.anyio

KEY = "sk-canary-0123456789"

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

CLAUDE = r"""#!{python} -IS
import json, sys
if "--version" in sys.argv:
    sys.exit(print("2.0.0 (Claude Code)"))
said, model = sys.stdin.read(), sys.argv[sys.argv.index("--model") + 1]
told = dict(argv=sys.argv, model=model, said=said)
print(json.dumps(dict(type="result", subtype="success", is_error=False, num_turns=1, duration_ms=7, model=model,
                      result=json.dumps(told))))
"""
"""A command that answers with what it was given, and reports no usage."""

LITELLM = """
import json

class Response:
    def __init__(self, data): self.data, self.model = data, data["model"]
    def model_dump(self, **how): return self.data

async def acompletion(**given):
    told = {name: given.get(name) for name in ("model", "api_key", "messages")}
    choice = {"index": 0, "message": {"role": "assistant", "content": json.dumps(told)}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    shape = {"id": "c1", "object": "chat.completion", "created": 1, "model": given["model"]}
    return Response({**shape, "choices": [choice], "usage": usage})
"""
"""A package that answers with what it was asked."""


def claude_in(folder: Path) -> Path:
    """A folder for PATH in which there is a `claude`."""
    folder.mkdir()
    (folder / "claude").write_text(CLAUDE.format(python=sys.executable))
    (folder / "claude").chmod(0o700)
    return folder


def litellm_in(folder: Path) -> Path:
    """A folder for PYTHONPATH in which there is a `litellm`."""
    handlers = folder / "litellm" / "llms" / "custom_httpx"
    handlers.mkdir(parents=True)
    (handlers / "http_handler.py").write_text("class AsyncHTTPHandler: pass")
    (folder / "litellm" / "__init__.py").write_text(LITELLM)
    return folder


def without_ollama(home: Path) -> None:
    """Settings in which Ollama is nowhere, unless the environment says where."""
    folder = home / "config"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('[providers.ollama]\nurl = ""\n')


class Machine:
    """A machine without `claude` and LiteLLM, until a test installs them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._patch = folder, monkeypatch
        monkeypatch.setenv("PATH", str(folder / "nothing"))
        monkeypatch.setitem(sys.modules, "litellm", None)  # what an import, and whoever looks for it, takes for absent

    def install_claude(self) -> None:
        self._patch.setenv("PATH", str(claude_in(self._folder / "bin")))

    def install_litellm(self) -> None:
        folder = str(litellm_in(self._folder / "packages"))
        self._patch.delitem(sys.modules, "litellm")
        self._patch.syspath_prepend(folder)
        self._patch.setenv("PYTHONPATH", os.pathsep.join([folder, str(ROOT / "gateway")]))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.fixture
async def default(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[registry.Registry]:
    """What the documented functions register in, fresh and on a bare machine."""
    fresh = registry.Registry()
    monkeypatch.setattr(registry, "_default", fresh)
    yield fresh
    await fresh.close()


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    egress = Egress()
    yield egress
    await egress.close()


def request(model: str, *messages: tuple[str, str], **more: Any) -> ChatCompletionRequest:
    said = [ChatMessage(role=role, content=content) for role, content in messages or (("user", "Hello"),)]
    return ChatCompletionRequest(model=model, messages=said, **more)


async def told(provider: BaseProvider, asked: ChatCompletionRequest) -> dict[str, Any]:
    """What a stand-in says that it was given."""
    answer = await provider.chat(asked)
    given: dict[str, Any] = json.loads(str(answer.choices[0].message.content))
    return given


# --- Overview


@pytest.mark.parametrize(
    "name",
    [
        *("config", "schemas", "cost.pricing", "routing.router", "providers.base", "providers.registry"),
        *("providers.anthropic", "providers.openai", "providers.claude_cli", "providers.ollama", "providers.litellm"),
    ],
)
def test_every_printed_source_file_is_a_module_of_ours(name: str) -> None:
    module = importlib.import_module(f"membrain.{name}")
    assert str(module.__file__).endswith(f"membrain/{name.replace('.', '/')}.py")


def test_the_interface_of_a_provider_is_the_printed_one() -> None:
    assert BaseProvider.__abstractmethods__ == {"chat"}
    assert all(inspect.iscoroutinefunction(each) for each in (BaseProvider.chat, BaseProvider.close))
    parameters = inspect.signature(BaseProvider.stream_chat).parameters
    assert list(parameters) == ["self", "model", "messages", "temperature", "max_tokens", "kwargs"]
    assert parameters["temperature"].default is parameters["max_tokens"].default is None


async def test_the_default_stream_is_the_whole_answer_as_one_chunk() -> None:
    [piece] = [each async for each in EchoProvider().stream_chat("echo", [{"role": "user", "content": "Hello"}], 0.5)]
    assert piece["object"] == "chat.completion.chunk"
    assert piece["choices"][0]["delta"]["content"] == "Hello"


async def test_shutting_down_closes_every_provider(default: registry.Registry) -> None:
    provider = EchoProvider()
    default.register("echo", provider)
    await default.close()
    assert provider.closed


MADE: dict[str, Callable[[Egress, str], BaseProvider]] = {
    "gpt-4o": lambda egress, url: registry.openai(egress, KEY, f"{url}/v1"),
    "claude-sonnet-4-20250514": lambda egress, url: registry.anthropic(egress, KEY, url),
    "ollama/llama3": registry.ollama,
    "sonnet": lambda egress, _: registry.claude_cli(egress),
    "gemini/gemini-pro": lambda egress, _: registry.litellm(egress),
}
"""A model of each provider's, and how that is made."""


@pytest.mark.parametrize("model", MADE)
async def test_every_provider_takes_and_gives_the_documented_shapes(
    machine: Machine, egress: Egress, sink: Sink, model: str
) -> None:
    machine.install_claude()
    machine.install_litellm()
    provider = MADE[model](egress, sink.url)
    answer = await provider.chat(request(model))
    await provider.close()
    assert isinstance(answer, ChatCompletionResponse)
    assert (answer.object, answer.choices[0].message.role) == ("chat.completion", "assistant")
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


# --- Anthropic


async def test_an_anthropic_request_is_translated_as_printed(egress: Egress, sink: Sink) -> None:
    provider = registry.anthropic(egress, KEY, sink.url)
    talk = [("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi"), ("user", "Who?")]
    await provider.chat(request("claude-sonnet-4-20250514", *talk))
    await provider.chat(request("claude-sonnet-4-20250514", max_tokens=7))
    first, second = sink.requests
    assert (first.method, first.path, first.header["x-api-key"]) == ("POST", "/v1/messages", KEY)
    body = first.json()
    assert body["model"] == "claude-sonnet-4-20250514"
    assert "Be brief." in json.dumps(body["system"])
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert "Be brief." not in json.dumps(body["messages"])
    assert body["max_tokens"] == 4096
    assert second.json()["max_tokens"] == 7
    assert "system" not in second.json()


async def test_an_anthropic_answer_is_translated_as_printed(egress: Egress, sink: Sink) -> None:
    blocks = [{"type": "text", "text": "Hello, "}, {"type": "text", "text": "world."}]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": blocks}
    usage = {"input_tokens": 11, "output_tokens": 5}
    whole = {**message, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
    sink.script("/v1/messages", Reply(body=whole, headers={"content-type": "application/json"}))
    provider = registry.anthropic(egress, KEY, sink.url)
    answer = await provider.chat(request("claude-sonnet-4-20250514"))
    assert answer.choices[0].message.content == "Hello, world."
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (11, 5, 16)


async def test_anthropic_streams_natively(egress: Egress, sink: Sink) -> None:
    """The guide prints one chunk as what was missing then."""
    provider = registry.anthropic(egress, KEY, sink.url)
    asked = provider.stream_chat("claude-chunks-5", [{"role": "user", "content": "Hello"}])
    pieces = [piece["choices"][0]["delta"] async for piece in asked if piece["choices"]]
    assert sum(bool(delta.get("content")) for delta in pieces) == 5
    assert sink.requests[0].json()["stream"] is True


# --- OpenAI


async def test_an_openai_request_is_sent_as_it_is(egress: Egress, sink: Sink) -> None:
    provider = registry.openai(egress, KEY, f"{sink.url}/v1")
    asked = request("gpt-4o", ("system", "Be brief."), ("user", "Hello"), temperature=0.5, x_new={"kept": [1]})
    await provider.chat(asked)
    [sent] = sink.requests
    assert (sent.path, sent.header["authorization"]) == ("/v1/chat/completions", f"Bearer {KEY}")
    body = sent.json()
    assert body.pop("stream", False) is False
    assert body == asked.model_dump(exclude_none=True)


async def test_openai_streams_natively_in_parsed_chunks(egress: Egress, sink: Sink) -> None:
    provider = registry.openai(egress, KEY, f"{sink.url}/v1")
    asked = provider.stream_chat("gpt-4o-echo-chunks-5", [ChatMessage(role="user", content="a b c d e f g h i j")])
    pieces = [piece async for piece in asked]
    assert sink.requests[0].json()["stream"] is True
    assert all(piece["object"] == "chat.completion.chunk" for piece in pieces)
    texts = [choice["delta"].get("content") or "" for piece in pieces for choice in piece["choices"]]
    assert "".join(texts) == "a b c d e f g h i j"
    assert sum(bool(text) for text in texts) == 5


# --- Claude CLI


def test_the_claude_cli_settings_are_the_printed_ones() -> None:
    assert (Settings().default_provider, Settings().default_model) == ("claude_cli", "sonnet")


@pytest.mark.parametrize(
    ("alias", "model"),
    [("sonnet", "sonnet"), ("opus", "opus"), ("haiku", "haiku"), ("auto", "sonnet"), ("default", "sonnet")],
)
async def test_the_claude_cli_knows_the_printed_aliases(
    machine: Machine, default: registry.Registry, alias: str, model: str
) -> None:
    machine.install_claude()
    init_providers()
    assert list_providers() == ["claude_cli"]
    assert (await told(get_provider(alias), request(alias)))["model"] == model


async def test_the_claude_cli_is_told_one_prompt_with_the_printed_markers(machine: Machine, egress: Egress) -> None:
    machine.install_claude()
    talk = [("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi"), ("user", "Who are you?")]
    given = await told(registry.claude_cli(egress), request("sonnet", *talk))
    for part in ("[System: Be brief.]", "Hello", "[Previous assistant response: Hi]", "Who are you?"):
        before, found, given["said"] = given["said"].partition(part)
        assert found, f"{part} comes in its turn"
        assert not before.strip()
    assert "Hello" not in given["argv"], "what was said is for nobody who lists processes"


async def test_the_claude_cli_needs_no_usage_from_the_command(machine: Machine, egress: Egress) -> None:
    """It counts as printed then: `len(text) // 4`. A count of the command's own goes before that."""
    machine.install_claude()
    answer = await registry.claude_cli(egress).chat(request("sonnet"))
    text = str(answer.choices[0].message.content)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(json.loads(text)["said"]) // 4 == 1
    assert answer.usage.completion_tokens == len(text) // 4


# --- Ollama


@pytest.mark.parametrize("model", ["ollama/llama3", "ollama:llama3"])
async def test_an_ollama_model_is_forwarded_without_its_prefix(egress: Egress, sink: Sink, model: str) -> None:
    provider = registry.ollama(egress, sink.url)
    await provider.chat(request(model))
    [sent] = [each for each in sink.requests if each.method == "POST"]
    assert sent.path == "/v1/chat/completions"
    assert sent.json() == {
        "model": "llama3",
        "messages": [{"role": "user", "content": "Hello"}],
        **({"stream": False} if "stream" in sent.json() else {}),
    }


# --- LiteLLM


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4o",
        "claude-sonnet-4-20250514",
        "gemini/gemini-pro",
        "bedrock/anthropic.claude-3-sonnet",
        "azure/gpt-4",
    ],
)
async def test_litellm_is_asked_by_the_printed_model_strings(machine: Machine, egress: Egress, model: str) -> None:
    machine.install_litellm()
    provider = registry.litellm(egress)
    given = await told(provider, request(model))
    await provider.close()
    assert given == {"model": model, "api_key": None, "messages": [{"role": "user", "content": "Hello"}]}


async def test_litellm_takes_an_api_key_of_ones_own(machine: Machine) -> None:
    machine.install_litellm()
    provider = LiteLLMProvider(api_key=KEY)
    given = await told(provider, request("gemini/gemini-pro"))
    await provider.close()
    assert given["api_key"] == KEY


def test_litellm_is_imported_by_nobody_before_it_is_asked(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "litellm.py").write_text("raise SystemExit('imported')")
    code = "from membrain.providers import registry; registry.init_providers(); print(registry.list_providers())"
    environ = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "gateway")]), "PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("['litellm']\n", "")


# --- Routing


def test_the_tiers_are_the_printed_ones() -> None:
    assert TIER_MODELS == {
        "fast": ["gpt-4o-mini", "claude-haiku-4-5-20251001"],
        "balanced": ["gpt-4o", "claude-sonnet-4-20250514"],
        "best": ["o1", "claude-opus-4-20250514"],
    }


@pytest.mark.parametrize("tier", TIER_MODELS)
def test_a_tier_is_tried_in_the_printed_order(tier: str) -> None:
    assert Router().resolve_with_fallback("auto", ["openai", "anthropic"], tier=tier) == TIER_MODELS[tier]


def test_the_default_tier_is_balanced() -> None:
    assert Router().resolve_with_fallback("auto", ["openai", "anthropic"]) == TIER_MODELS["balanced"]


def test_the_other_names_of_the_tiers_are_understood() -> None:
    """Those of the client page."""
    for name, tier in {"speed": "fast", "quality": "best"}.items():
        assert Router().resolve_with_fallback("auto", ["openai", "anthropic"], tier=name) == TIER_MODELS[tier]


def test_only_available_providers_are_chosen() -> None:
    assert Router().resolve_with_fallback("auto", ["anthropic"], tier="best") == ["claude-opus-4-20250514"]


def test_the_cost_order_is_the_printed_one() -> None:
    means = {model: sum(price) / 2000 for model, price in MODEL_PRICING.items()}
    assert means == pytest.approx(MEANS)
    assert Router().resolve_with_fallback("auto", ["openai", "anthropic"], max_cost=1.0) == list(MEANS)


@pytest.mark.parametrize("model", MEANS)
def test_a_cost_limit_lets_a_model_in_at_its_printed_mean(model: str) -> None:
    def chain(limit: float) -> list[str]:
        return Router().resolve_with_fallback("auto", ["openai", "anthropic", "ollama"], max_cost=limit)

    order = list(MEANS)
    assert chain(MEANS[model] + 1e-9) == order[: order.index(model) + 1]
    if model != order[0]:
        assert chain(MEANS[model] - 1e-9) == order[: order.index(model)]


def test_private_means_ollama_then_the_embedded_model() -> None:
    router = Router()
    with_ollama = router.resolve_with_fallback("auto", ["openai", "anthropic", "ollama"], private=True)
    assert with_ollama == ["ollama/llama3", "local/default"]
    assert router.resolve_with_fallback("auto", ["openai", "anthropic"], private=True) == ["local/default"]


def test_the_printed_chain_example_holds_and_follows_latency() -> None:
    router = Router()
    asked: Any = {"requested_model": "auto", "available_providers": ["openai", "anthropic"], "tier": "balanced"}
    assert router.resolve_with_fallback(**asked) == ["gpt-4o", "claude-sonnet-4-20250514"]
    router.record_latency("openai", duration_ms=320.5)
    router.record_latency("anthropic", duration_ms=150.2)
    assert router.resolve_with_fallback(**asked) == ["claude-sonnet-4-20250514", "gpt-4o"]


def test_the_printed_latency_example_holds() -> None:
    router = Router()
    router.record_latency("openai", duration_ms=320.5)
    router.record_latency("anthropic", duration_ms=450.2)
    stats = router.get_latency_stats("openai")
    assert stats == {"p50": 320.5, "p99": 320.5, "count": 1}
    assert router.resolve_with_fallback(
        requested_model="auto", available_providers=["openai", "anthropic"], tier="balanced"
    ) == ["gpt-4o", "claude-sonnet-4-20250514"]


def test_a_hundred_latency_samples_are_kept_for_each_provider() -> None:
    router = Router()
    for ms in range(1, 201):
        router.record_latency("openai", float(ms))
    assert router.get_latency_stats("openai") == {"p50": 150.0, "p99": 199.0, "count": 100}
    assert router.get_latency_stats("anthropic")["count"] == 0


# --- Model resolution

FIVE = ("openai", "anthropic", "claude_cli", "ollama", "litellm")

ASKED = (
    *("ollama/llama3", "ollama:llama3", *MODEL_PRICING, "gpt", "o1-preview", "claude"),
    *("auto", "default", "sonnet", "opus", "haiku"),
    *("gemini/gemini-pro", "bedrock/anthropic.claude-3-sonnet", "azure/gpt-4", "something-else"),
)


def printed(model: str, _providers: dict[str, BaseProvider]) -> BaseProvider | None:
    """The guide's `get_provider`, word by word."""
    if model.startswith("ollama/") or model.startswith("ollama:"):  # noqa: PIE810  # as printed
        return _providers.get("ollama")
    elif model.startswith("gpt") or model.startswith("o1") or model.startswith("o3"):  # noqa: PIE810, RET505
        return _providers.get("openai") or _providers.get("litellm")
    elif model.startswith("claude"):
        return _providers.get("anthropic") or _providers.get("claude_cli")
    elif model in ("auto", "default", "sonnet", "opus", "haiku"):
        return _providers.get("claude_cli") or _providers.get("anthropic")
    else:
        return _providers.get("litellm") or _providers.get("openai") or _providers.get("claude_cli")


@pytest.mark.parametrize("names", [names for size in range(6) for names in combinations(FIVE, size)], ids="+".join)
def test_models_resolve_as_the_printed_code_says(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
    fresh = registry.Registry()
    monkeypatch.setattr(registry, "_default", fresh)
    providers: dict[str, BaseProvider] = {name: EchoProvider() for name in names}
    for name, provider in providers.items():
        fresh.register(name, provider)
    for model in ASKED:
        if (expected := printed(model, providers)) is not None:
            assert get_provider(model) is expected
        else:
            with pytest.raises(NotConfigured):
                get_provider(model)


# --- Provider registration


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, []),
        ({"OPENAI_API_KEY": "sk-0123456789ab"}, ["openai"]),
        ({"OPENAI_API_KEY": "12345678901"}, ["openai"]),
        ({"OPENAI_API_KEY": "1234567890"}, []),
        ({"OPENAI_API_KEY": "sk-your-key-here..."}, []),
        ({"ANTHROPIC_API_KEY": "sk-ant-0123456789"}, ["anthropic"]),
        ({"ANTHROPIC_API_KEY": "short"}, []),
        ({"ANTHROPIC_API_KEY": "sk-ant-0123...6789"}, []),
        ({"OLLAMA_URL": "http://localhost:11434"}, ["ollama"]),
    ],
)
@pytest.mark.parametrize("claude", [False, True], ids=["", "claude"])
@pytest.mark.parametrize("litellm", [False, True], ids=["", "litellm"])
async def test_a_provider_registers_by_the_printed_rules(
    home: Path,
    machine: Machine,
    default: registry.Registry,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    names: list[str],
    claude: bool,
    litellm: bool,
) -> None:
    if claude:
        machine.install_claude()
    if litellm:
        machine.install_litellm()
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MEMBRAIN_SECRETS_BACKEND", "file")  # nobody's keyring
    without_ollama(home)  # or its printed default would be set
    settings = load()
    init_providers(
        openai_api_key=settings.openai_api_key,
        anthropic_api_key=settings.anthropic_api_key,
        ollama_url=settings.ollama_url,
    )
    expected = {*names, *(["claude_cli"] * (claude and "anthropic" not in names)), *(["litellm"] * litellm)}
    assert set(list_providers()) == expected


@pytest.mark.parametrize("key", ["", "short", "1234567890", "sk-...", "sk-0123456789..."])
async def test_a_key_that_does_not_look_valid_registers_nobody(default: registry.Registry, key: str) -> None:
    """Also where it was not the settings that found it."""
    init_providers(openai_api_key=key, anthropic_api_key=key)
    assert list_providers() == []


async def test_the_printed_list_providers_example_holds(machine: Machine, default: registry.Registry) -> None:
    machine.install_claude()
    machine.install_litellm()
    init_providers("sk-0123456789ab", "sk-ant-0123456789", "http://localhost:11434")
    assert list_providers() == ["openai", "anthropic", "ollama", "litellm"]


def test_settings_have_the_documented_names_and_defaults(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMBRAIN_SECRETS_BACKEND", "file")
    settings = load()
    assert isinstance(settings, Settings)
    assert (settings.openai_api_key, settings.anthropic_api_key) == (None, None)
    assert settings.ollama_url == "http://localhost:11434"
    assert settings.providers.anthropic.url == "https://api.anthropic.com"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789ab")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-0123456789")
    monkeypatch.setenv("OLLAMA_URL", "http://127.0.0.1:11435")
    monkeypatch.setenv("UPSTREAM_ANTHROPIC_URL", "http://127.0.0.1:8080")
    settings = load()
    assert (settings.openai_api_key, settings.anthropic_api_key) == ("sk-0123456789ab", "sk-ant-0123456789")
    assert settings.ollama_url == "http://127.0.0.1:11435"
    assert settings.providers.anthropic.url == "http://127.0.0.1:8080"


# --- Pricing


def test_the_prices_are_the_printed_ones() -> None:
    assert MODEL_PRICING == PRICES


@pytest.mark.parametrize("model", PRICES)
def test_a_million_tokens_cost_the_printed_prices(model: str) -> None:
    assert (estimate_cost(model, 1_000_000, 0), estimate_cost(model, 0, 1_000_000)) == pytest.approx(PRICES[model])


def test_the_printed_cost_example_holds() -> None:
    cost = estimate_cost(
        model="gpt-4o",
        prompt_tokens=1000,
        completion_tokens=500,
    )
    assert cost == pytest.approx((1000 * 2.50 + 500 * 10.00) / 1_000_000) == pytest.approx(0.0075)


@pytest.mark.parametrize("model", ["ollama/llama3", "ollama:qwen2.5", "sonnet", "gemini/gemini-pro", "no-such-model"])
def test_what_has_no_printed_price_costs_nothing_in_the_estimate(model: str) -> None:
    """Free, billed by subscription, or unknown."""
    assert estimate_cost(model, 1000, 500) == 0.0
