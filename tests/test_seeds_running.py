"""The provider guide's examples against gateways that really run: the curl lines, the routes, a provider of one's own.

`test_seeds.py` says which section of the guide is tested where. Every upstream is a sink on this machine, and the
`claude` and LiteLLM of a gateway are stand-ins that answer with what they were given.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from membrain.routing.router import TIER_MODELS
from tests.served import ROOT, Answer, Served
from tests.sink import Reply, Sink
from tests.test_seeds import claude_in, litellm_in, without_ollama

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def running(upstream: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One gateway with keys for OpenAI and Anthropic, and with Ollama."""
    with Served(tmp_path_factory.mktemp("running") / "home", upstream) as served:
        yield served


@pytest.fixture
def sink(upstream: Sink) -> Sink:
    """What stands behind `running`, with nothing of other tests in it."""
    upstream.clear()
    return upstream


def prompts(sink: Sink) -> list[tuple[str, str]]:
    """Path and model of every question that arrived."""
    return [(each.path, each.json()["model"]) for each in sink.requests if each.method == "POST"]


def who(answer: Answer) -> tuple[int, str | None, str | None]:
    """Whether it was answered, by which provider and model."""
    headers = answer.headers
    return answer.status, headers.get("x-membrain-provider"), headers.get("x-membrain-model")


# --- the curl lines, as printed but for the port

CURL = {
    "tier": r"""
curl -X POST http://localhost:8000/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "X-Membrain-Tier: fast" \
  -d '{"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}'
""",
    "cost": r"""
curl -X POST http://localhost:8000/v1/chat/completions \
  -H "X-Membrain-Max-Cost: 0.001" \
  -d '{"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}'
""",
    "private": r"""
curl -X POST http://localhost:8000/v1/chat/completions \
  -H "X-Membrain-Private: true" \
  -d '{"model": "auto", "messages": [{"role": "user", "content": "Sensitive data here"}]}'
""",
}

ANSWERING = {
    "tier": {("openai", "gpt-4o-mini"), ("anthropic", "claude-haiku-4-5-20251001")},
    "cost": {("openai", "gpt-4o-mini")},
    "private": {("ollama", "llama3:latest")},
}
"""Who may answer each. The second of the fast tier does where it was faster."""


def by_curl(line: list[str], served: Served) -> tuple[int, Any]:
    """Run it, told to read no settings of the user's and to add the status."""
    command = [line[0], "-q", "-sS", "--noproxy", "*", "--max-time", "20", "-w", "\n%{http_code}", *line[1:]]
    run = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True)
    body, status = run.stdout.rsplit("\n", 1)
    return int(status), json.loads(body)


def by_hand(line: list[str], served: Served) -> tuple[int, Any]:
    """What curl sends: `-d` without a content type is that of a form."""
    options = list(pairwise(line))
    [method], [body] = ([value for option, value in options if option == name] for name in ("-X", "-d"))
    given = dict(value.split(": ", 1) for option, value in options if option == "-H")
    headers = {"Host": f"localhost:{served.port}", "User-Agent": "curl/8", "Accept": "*/*"}
    headers |= {"Content-Type": "application/x-www-form-urlencoded", **given}
    answer = served.request(method, CHAT, body.encode(), headers)
    return answer.status, answer.json()


SENT: dict[str, Callable[[list[str], Served], tuple[int, Any]]] = {
    "by-hand": by_hand,
    **({"curl": by_curl} if shutil.which("curl") else {}),
}


@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("name", CURL)
def test_the_printed_curl_lines_work(running: Served, sink: Sink, name: str, sent: str) -> None:
    line = shlex.split(CURL[name].replace("\\\n", " ").replace(":8000", f":{running.port}"))
    status, answer = SENT[sent](line, running)
    assert status == 200, answer
    assert answer["choices"][0]["message"]["content"]
    [record] = running.audit(limit=1)
    assert (record["provider"], record["answered_model"]) in ANSWERING[name]
    [[_, model]] = prompts(sink)
    assert model == record["answered_model"]


# --- the routes


@pytest.mark.parametrize("tier", TIER_MODELS)
def test_a_tier_is_answered_by_one_of_its_printed_models(running: Served, sink: Sink, tier: str) -> None:
    answer = running.post(
        CHAT, {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}, **{"X-Membrain-Tier": tier}
    )
    assert answer.status == 200
    [[_, model]] = prompts(sink)
    assert model in TIER_MODELS[tier]


def test_a_request_without_a_tier_is_balanced(running: Served, sink: Sink) -> None:
    assert running.chat(model="auto").status == 200
    assert prompts(sink)[0][1] in TIER_MODELS["balanced"]


def test_a_cost_limit_that_nothing_fits_is_refused(running: Served, sink: Sink) -> None:
    said = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
    answer = running.post(CHAT, said, **{"X-Membrain-Max-Cost": "0.0001"})
    assert answer.json()["error"]["code"] == "no_candidate"
    assert not prompts(sink)


def test_a_private_request_never_reaches_a_cloud_provider(running: Served, sink: Sink) -> None:
    said = {"model": "auto", "messages": [{"role": "user", "content": "Sensitive data here"}]}
    assert running.post(CHAT, said, **{"X-Membrain-Private": "true"}).status == 200
    assert running.post(CHAT, {**said, "model": "gpt-4o"}, **{"X-Membrain-Private": "true"}).status == 403
    assert prompts(sink) == [(CHAT, "llama3:latest")]
    assert b"sk-canary" not in sink.requests[-1].body
    assert not [each for each in sink.requests if {"authorization", "x-api-key"} & each.header.keys()]


def test_an_ollama_model_is_forwarded_without_its_prefix(running: Served, sink: Sink) -> None:
    assert who(running.chat(model="ollama/llama3")) == (200, "ollama", "llama3")
    assert prompts(sink) == [(CHAT, "llama3")]


def test_anthropic_is_reached_behind_another_proxy(running: Served, sink: Sink) -> None:
    """`UPSTREAM_ANTHROPIC_URL` says where; a chat request becomes one of its own, and the answer a chat answer."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    answer = running.post(CHAT, {"model": "claude-sonnet-4-20250514", "messages": messages})
    assert prompts(sink) == [("/v1/messages", "claude-sonnet-4-20250514")]
    [sent] = sink.requests
    assert sent.header["x-api-key"].startswith("sk-ant-canary")
    assert sent.json()["max_tokens"] == 4096
    assert [message["role"] for message in sent.json()["messages"]] == ["user"]
    assert isinstance(answer.json()["choices"][0]["message"]["content"], str)


def test_when_the_first_model_fails_the_next_one_of_the_tier_answers(running: Served, sink: Sink) -> None:
    paths = {"openai": CHAT, "anthropic": "/v1/messages"}
    first = running.post("/api/route", {"model": "auto"}).json()["candidates"][0]
    sink.script(paths[first["provider"]], Reply(behave="status-503"))
    answer = running.chat(model="auto")
    assert answer.status == 200
    assert answer.headers["x-membrain-attempts"] == "2"
    asked = [model for _, model in prompts(sink)]
    assert asked[0] == first["model"]
    assert sorted(asked) == sorted(TIER_MODELS["balanced"])


@pytest.mark.parametrize("slow", ["openai", "anthropic"])
def test_who_was_faster_is_asked_first(tmp_path: Path, slow: str) -> None:
    paths = {"openai": CHAT, "anthropic": "/v1/messages"}
    with Sink() as sink, Served(tmp_path / "home", sink) as served:
        sink.script(paths[slow], Reply(behave="slow-200"))
        for model in TIER_MODELS["balanced"]:
            assert served.chat(model=model).status == 200
        status, provider, _ = who(served.chat(model="auto"))
        assert (status, provider) == (200, "anthropic" if slow == "openai" else "openai")


# --- a machine without keys


@pytest.fixture(scope="module")
def keyless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway without a key and without Ollama, where `claude` and LiteLLM are installed."""
    folder = tmp_path_factory.mktemp("keyless")
    packages = str(litellm_in(folder / "packages"))
    environ = {
        "PATH": str(claude_in(folder / "bin")),
        "PYTHONPATH": os.pathsep.join([packages, str(ROOT / "gateway")]),
        "MEMBRAIN_PROVIDERS_CLAUDE_CLI_ENABLED": "true",
        "MEMBRAIN_PROVIDERS_LITELLM_ENABLED": "true",
        "MEMBRAIN_LOCAL_ENABLED": "true",
        "MEMBRAIN_SECRETS_BACKEND": "file",
    }
    without_ollama(folder / "home")
    with Served(folder / "home", None, port=None, **environ) as served:
        yield served


@pytest.mark.parametrize(
    ("model", "provider", "asked"),
    [
        ("claude-sonnet-4-20250514", "claude_cli", "claude-sonnet-4-20250514"),
        ("sonnet", "claude_cli", "sonnet"),
        ("opus", "claude_cli", "opus"),
        ("haiku", "claude_cli", "haiku"),
        ("gpt-4o", "litellm", "gpt-4o"),
        ("o3-mini", "litellm", "o3-mini"),
        ("gemini/gemini-pro", "litellm", "gemini/gemini-pro"),
        ("something-else", "litellm", "something-else"),
    ],
)
def test_the_printed_fallbacks_answer_where_nobody_has_a_key(
    keyless: Served, model: str, provider: str, asked: str
) -> None:
    answer = keyless.chat(model=model)
    assert who(answer)[:2] == (200, provider), answer.body
    assert json.loads(answer.json()["choices"][0]["message"]["content"])["model"] == asked


def test_auto_is_answered_where_nobody_has_a_key(keyless: Served) -> None:
    answer = keyless.chat(model="auto")
    assert who(answer)[:2] in {(200, "litellm"), (200, "claude_cli")}
    assert json.loads(answer.json()["choices"][0]["message"]["content"])["model"] in TIER_MODELS["balanced"]


def test_private_means_the_embedded_model_where_there_is_no_ollama(keyless: Served) -> None:
    """Which is not installed here: nobody else answers instead."""
    said = {"model": "auto", "messages": [{"role": "user", "content": "Sensitive data here"}]}
    answer = keyless.post(CHAT, said, **{"X-Membrain-Private": "true"})
    assert (answer.status, answer.json()["error"]["code"]) == (503, "local_model_not_installed")


# --- a provider of one's own, in a copy of the gateway

MY_PROVIDER = '''
import httpx
from membrain.providers.base import BaseProvider
from membrain.schemas import (
    ChatCompletionRequest,
    ChatCompletionResponse,
    ChatChoice,
    ChatMessage,
    Usage,
)
class MyProvider(BaseProvider):
    """Provider for the My LLM API."""
    def __init__(self, api_key: str):
        self._client = httpx.AsyncClient(
            base_url="https://api.myllm.com/v1",
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=120.0,
        )
    async def chat(self, request: ChatCompletionRequest) -> ChatCompletionResponse:
        # Translate request to your API's format
        payload = {
            "model": request.model,
            "messages": [
                {"role": m.role, "content": m.content}
                for m in request.messages
            ],
        }
        if request.temperature is not None:
            payload["temperature"] = request.temperature
        if request.max_tokens is not None:
            payload["max_tokens"] = request.max_tokens
        resp = await self._client.post("/chat/completions", json=payload)
        resp.raise_for_status()
        data = resp.json()
        # Normalize the response to Membrain's schema
        return ChatCompletionResponse(
            id=data["id"],
            created=data["created"],
            model=data["model"],
            choices=[
                ChatChoice(
                    index=c["index"],
                    message=ChatMessage(**c["message"]),
                    finish_reason=c.get("finish_reason"),
                )
                for c in data["choices"]
            ],
            usage=Usage(**data["usage"]),
        )
    async def close(self):
        await self._client.aclose()
'''
"""Step 1, as printed."""

STEPS = (
    # 2, register: `_is_real_key` is our `looks_real`, and `_providers` is what the default registry holds. A running
    # gateway has a registry of its own, which it fills from `providers_of`.
    (
        "providers/registry.py",
        "from membrain.providers.openai import",
        "from membrain.providers.my_provider import MyProvider\n",
    ),
    ("providers/registry.py", "    ollama_url: str | None = None,\n) -> None:", "    my_api_key: str | None = None,\n"),
    (
        "providers/registry.py",
        "    if ollama_url:\n",
        '    if looks_real(my_api_key):\n        _default.register("my_provider", MyProvider(api_key=my_api_key))\n',
    ),
    ("plan.py", "from membrain.providers.litellm import", "from membrain.providers.my_provider import MyProvider\n"),
    (
        "plan.py",
        "    if places.ollama.url:\n",
        '    if make.looks_real(keys.get("my")):\n        yield "my_provider", MyProvider(api_key=keys["my"]), ()\n',
    ),
    # 3, model resolution: a row of the table that `get_provider` and the router read.
    ("routing/resolution.py", "    Rule(_any, ", '    Rule(_begins("myllm"), ("my_provider",)),\n'),
    # 4, configuration: the settings are in `settings.py`, and keys are no settings but found when asked for.
    ("settings.py", "*(each.name for each in self.providers.others))", '"my", '),
    (
        "settings.py",
        "    @property\n    def ollama_url(",
        '    @property\n    def my_api_key(self) -> str | None:\n        return self._key("my")\n\n',
    ),
    # 5, pricing: as printed.
    ("cost/pricing.py", '    "gpt-4o": (2.50, 10.00),\n', '    "myllm-standard": (1.00, 2.00),\n'),
    # 6, tiers: `routing.router` has the dict from `routing.world`, where it stands.
    ("routing/world.py", '"gpt-4o-mini", "claude-haiku', '"myllm-fast", '),
    ("routing/world.py", '"gpt-4o", "claude-sonnet', '"myllm-standard", '),
    ("routing/world.py", '"o1", "claude-opus', '"myllm-pro", '),
)
"""Steps 2 to 6: in this file, before these words, this is added. What is not as printed is said above it."""

ASKING = """
import asyncio, json
from membrain.config import load
from membrain.cost.pricing import estimate_cost
from membrain.providers.registry import get_provider, init_providers, list_providers
from membrain.routing.router import TIER_MODELS, Router
from membrain.schemas import ChatCompletionRequest, ChatMessage

async def ask(provider):
    said = [ChatMessage(role="user", content="Hello")]
    answer = await provider.chat(ChatCompletionRequest(model="myllm-standard", messages=said, temperature=0.5))
    pieces = [piece async for piece in provider.stream_chat("myllm-standard", said)]
    await provider.close()
    return answer.choices[0].message.content, len(pieces)

init_providers(my_api_key=load().my_api_key)
provider = get_provider("myllm-standard")
text, pieces = asyncio.run(ask(provider))
chains = {tier: Router().resolve_with_fallback("auto", ["my_provider"], tier=tier) for tier in TIER_MODELS}
print(json.dumps({
    "names": list_providers(), "kind": type(provider).__name__, "text": text, "pieces": pieces, "chains": chains,
    "cost": estimate_cost("myllm-standard", 1_000_000, 1_000_000),
}))
"""


@pytest.fixture(scope="module")
def extended(upstream: Sink, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the gateway after the six steps. The only thing else that differs is where My LLM is."""
    folder = tmp_path_factory.mktemp("extended")
    package = folder / "membrain"
    shutil.copytree(ROOT / "gateway" / "membrain", package)
    mine = MY_PROVIDER.replace("https://api.myllm.com", upstream.url)
    (package / "providers" / "my_provider.py").write_text(mine)
    for name, before, added in STEPS:
        text = (package / name).read_text()
        assert text.count(before) == 1, f"{name} has changed: say anew where {added.strip()!r} belongs"
        (package / name).write_text(text.replace(before, added + before))
    return folder


@pytest.fixture
def mine(extended: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of whoever has only a key for My LLM."""
    return {
        "PATH": str(tmp_path / "nothing"),
        "PYTHONPATH": str(extended),
        "MY_API_KEY": "my-canary-0123456789",
        "MEMBRAIN_SECRETS_BACKEND": "file",
    }


def test_a_custom_provider_works_after_the_printed_steps(mine: dict[str, str], sink: Sink, tmp_path: Path) -> None:
    environ = {**mine, "MEMBRAIN_HOME": str(tmp_path / "home")}
    run = subprocess.run([sys.executable, "-W", "error", "-c", ASKING], env=environ, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["names"] in (["my_provider"], ["my_provider", "litellm"]), "the latter where that is installed"
    assert (told["kind"], told["pieces"], told["cost"]) == ("MyProvider", 1, 3.0)
    assert told["text"]
    assert told["chains"] == {"fast": ["myllm-fast"], "balanced": ["myllm-standard"], "best": ["myllm-pro"]}
    assert {each.header["authorization"] for each in sink.requests} == {"Bearer my-canary-0123456789"}
    assert sink.requests[0].json()["temperature"] == 0.5


def test_a_running_gateway_asks_the_custom_provider(mine: dict[str, str], sink: Sink, tmp_path: Path) -> None:
    without_ollama(tmp_path / "home")
    with Served(tmp_path / "home", None, port=None, **mine) as served:
        whole = served.chat(model="myllm-standard")
        assert who(whole) == (200, "my_provider", "myllm-standard")
        usage = whole.json()["usage"]
        cost = (usage["prompt_tokens"] * 1.00 + usage["completion_tokens"] * 2.00) / 1_000_000
        assert float(whole.headers["x-membrain-cost"]) == pytest.approx(cost)
        stream = served.chat(model="myllm-standard", stream=True)
        assert stream.status == 200
        assert stream.body.rstrip().endswith(b"data: [DONE]")
        assert whole.json()["choices"][0]["message"]["content"].encode() in stream.body
        assert who(served.chat(model="auto")) == (200, "my_provider", "myllm-standard")
        served.assert_sound()
        assert served.stop() == 0
    assert {each.header["authorization"] for each in sink.requests} == {"Bearer my-canary-0123456789"}
