"""Ollama: our prefix off, and proof that a model is on this machine before anything private goes there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest

from membrain.egress import Egress
from membrain.errors import PrivateRefused, ProviderFailed
from membrain.providers import registry as make
from membrain.providers.ollama import OllamaProvider
from membrain.records import Passport
from tests.fakes import ask
from tests.sink import Reply, Sink

pytestmark = pytest.mark.anyio
PRIVATE = Passport(exchange="e", written=True, looked=True, private=True)
CHAT = "/v1/chat/completions"


@pytest.fixture
def sink() -> Iterator[Sink]:
    """An Ollama with two models, a cloud one, and an alias that hides another."""
    with Sink(ollama=["llama3:latest", "qwen2.5:0.5b", "gpt-oss:120b-cloud", "hidden-cloud"]) as sink:
        yield sink


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    egress = Egress()
    yield egress
    await egress.close()


@pytest.fixture
def provider(egress: Egress, sink: Sink) -> OllamaProvider:
    return make.ollama(egress, sink.url)


async def say(provider: OllamaProvider, model: str, passport: Passport = PRIVATE) -> None:
    async with aclosing(provider.answer(ask("Hello", model, passport))) as answer:
        assert [chunk async for chunk in answer]


def asked(sink: Sink) -> list[str]:
    """The models that were asked to answer."""
    return [each.json()["model"] for each in sink.requests if each.path == CHAT]


@pytest.mark.parametrize(
    ("ours", "own"),
    [
        ("ollama/llama3", "llama3"),
        ("ollama:llama3", "llama3"),
        ("ollama/llama3:latest", "llama3:latest"),
        ("llama3", "llama3"),
    ],
)
async def test_the_prefix_is_stripped_as_documented(provider: OllamaProvider, sink: Sink, ours: str, own: str) -> None:
    await say(provider, ours)
    assert asked(sink) == [own]


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
async def test_the_address_may_have_its_version_or_not(egress: Egress, sink: Sink, end: str) -> None:
    await say(make.ollama(egress, sink.url + end), "ollama/llama3")
    assert {each.path for each in sink.requests} == {CHAT, "/api/tags"}


@pytest.mark.parametrize("model", ["gpt-oss:120b-cloud", "hidden-cloud", "not-pulled", "llama3:70b", ""])
async def test_private_goes_to_no_model_that_is_not_proven_to_be_here(
    provider: OllamaProvider, sink: Sink, model: str
) -> None:
    with pytest.raises(PrivateRefused):
        await say(provider, f"ollama/{model}")
    assert asked(sink) == []


async def test_an_alias_of_a_remote_model_is_not_here_whatever_it_is_called(
    provider: OllamaProvider, sink: Sink
) -> None:
    rows = [
        {"name": "plain:latest"},
        {"name": "alias:latest", "remote_host": "https://ollama.com:443"},
        {"name": "other:latest", "remote_model": "gpt-oss:120b"},
    ]
    sink.script("/api/tags", Reply(body={"models": rows}))
    assert [await provider.has_here(f"ollama/{name}") for name in ("plain", "alias", "other")] == [True, False, False]


async def test_private_goes_to_no_ollama_on_another_machine(egress: Egress) -> None:
    elsewhere = make.ollama(egress, "https://203.0.113.1:11434")
    assert not elsewhere.is_local
    with pytest.raises((PrivateRefused, ProviderFailed)):
        await say(elsewhere, "ollama/llama3")


async def test_private_goes_nowhere_when_ollama_cannot_say_what_it_has(provider: OllamaProvider, sink: Sink) -> None:
    sink.script("/api/tags", Reply(behave="status-500"), forever=True)
    with pytest.raises(ProviderFailed):
        await say(provider, "ollama/llama3")
    assert asked(sink) == []


@pytest.mark.parametrize("listing", [{}, [], {"models": None}, {"models": [{"name": 1}, 2]}, {"models": "x"}])
async def test_private_goes_nowhere_on_an_odd_list(provider: OllamaProvider, sink: Sink, listing: object) -> None:
    sink.script("/api/tags", Reply(body=listing), forever=True)
    with pytest.raises(PrivateRefused):
        await say(provider, "ollama/llama3")
    assert asked(sink) == []


async def test_what_is_not_private_may_go_to_its_cloud(provider: OllamaProvider, sink: Sink) -> None:
    await say(provider, "ollama/gpt-oss:120b-cloud", Passport("e", written=True, looked=True, private=False))
    assert asked(sink) == ["gpt-oss:120b-cloud"]
    assert [each.path for each in sink.requests] == [CHAT]


async def test_its_list_is_asked_for_once_in_a_while(provider: OllamaProvider, sink: Sink) -> None:
    for _ in range(5):
        await say(provider, "ollama/llama3")
    assert sum(each.path == "/api/tags" for each in sink.requests) == 1


async def test_models_here_are_listed_first(provider: OllamaProvider) -> None:
    assert list(await provider.models()) == [
        "ollama/llama3:latest",
        "ollama/qwen2.5:0.5b",
        "ollama/gpt-oss:120b-cloud",
        "ollama/hidden-cloud",
    ]


async def test_its_state_says_what_would_help(egress: Egress) -> None:
    with Sink(ollama=[]) as empty:
        state = await make.ollama(egress, empty.url).state()
        assert (state.up, state.note, state.remedy) == (False, "no models", "ollama pull llama3")
    state = await make.ollama(egress, empty.url).state()
    assert (state.up, state.note, state.remedy) == (False, "not running", "ollama serve")


async def test_its_state_when_all_is_well(provider: OllamaProvider, sink: Sink) -> None:
    state = await provider.state()
    assert (state.up, state.local, state.where, len(state.models)) == (True, True, f"127.0.0.1:{sink.port}", 4)
