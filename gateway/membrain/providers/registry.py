"""Who is registered, and what each of them offers.

`Registry` is what the gateway uses. `init_providers`, `get_provider` and `list_providers` are the documented functions
over one default registry; the gateway itself never reads that one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from types import MappingProxyType

from membrain.dialects.table import NO_TEXT
from membrain.egress import Egress
from membrain.errors import MembrainError, NotConfigured
from membrain.providers.anthropic import VERSION, AnthropicProvider
from membrain.providers.base import BaseProvider
from membrain.providers.claude_cli import ClaudeCLIProvider
from membrain.providers.litellm import LiteLLMProvider, installed
from membrain.providers.ollama import OllamaProvider
from membrain.providers.openai import COMPATIBLE, NATIVE, OpenAIProvider
from membrain.records import ProviderState
from membrain.routing.resolution import rule_for
from membrain.routing.world import Offer

OPENAI_URL = "https://api.openai.com/v1"
ANTHROPIC_URL = "https://api.anthropic.com"
OLLAMA_URL = "http://localhost:11434"

_FRESH_SECONDS = 10.0
_SHORTEST_KEY = 10


Row = tuple[str, BaseProvider, tuple[str, ...]]
"""A name, who answers for it, and the models that only it serves."""


class Registry:
    """Providers by name, in the order in which they were registered."""

    def __init__(self) -> None:
        self._providers: dict[str, BaseProvider] = {}
        self._offers: dict[str, Offer] = {}
        self._looked = float("-inf")
        self._looking = asyncio.Lock()
        self.providers: Mapping[str, BaseProvider] = MappingProxyType(self._providers)
        self.offers: Mapping[str, Offer] = MappingProxyType(self._offers)

    def register(self, name: str, provider: BaseProvider, models: tuple[str, ...] = ()) -> None:
        """Make *provider* answer for *name*; *models* are the names that it alone serves."""
        self._providers[name] = provider
        here = frozenset(models) if provider.is_local else frozenset[str]()
        self._offers[name] = Offer(name, provider.is_local, models, here, _serves(provider))
        self._looked = float("-inf")

    async def unregister(self, name: str) -> None:
        """Forget *name* and release what it holds."""
        self._offers.pop(name, None)
        if (provider := self._providers.pop(name, None)) is not None:
            await provider.close()

    def become(self, rows: Iterable[Row]) -> list[BaseProvider]:
        """Hold exactly *rows* from now on. Gives those that are gone: whoever calls closes them, once nobody asks them
        any more."""
        before = list(self._providers.values())
        self._providers.clear()
        self._offers.clear()
        for row in rows:
            self.register(*row)
        return [provider for provider in before if provider not in self._providers.values()]

    async def refresh(self, *, private: bool = False) -> None:  # a fact about the request
        """Ask Ollama what it has, at most once in ten seconds; others say what they serve when registered.

        For a *private* request only one on this machine is asked: no byte leaves for it, not even ours.
        """
        if private and (asked := self._providers.get("ollama")) is not None and not asked.is_local:
            return
        if monotonic() - self._looked < _FRESH_SECONDS:
            return
        async with self._looking:  # whoever comes meanwhile waits for the same answer
            if monotonic() - self._looked >= _FRESH_SECONDS:
                ollama = self._providers.get("ollama")
                offer = await _offer_of(ollama) if isinstance(ollama, OllamaProvider) else None
                if self._providers.get("ollama") is ollama:  # it may be another one by now
                    self._offers.update({"ollama": offer} if offer else {})
                    self._looked = monotonic()

    async def states(self) -> list[ProviderState]:
        """How each of them is, asked all at once."""
        return list(await asyncio.gather(*(_state(*each) for each in self._providers.items())))

    async def close(self) -> None:
        """Forget them all and release what they hold."""
        for provider in self.become([]):
            await provider.close()


async def _offer_of(ollama: OllamaProvider) -> Offer:
    """What *ollama* has now; nothing while it is away."""
    try:
        models = tuple(await ollama.models())
        here = frozenset([model for model in models if await ollama.has_here(model)])
    except MembrainError:
        models, here = (), frozenset()
    return Offer("ollama", ollama.is_local, models, here, _serves(ollama))


def _serves(provider: BaseProvider) -> frozenset[str]:
    """What *provider* answers besides questions for text."""
    return NO_TEXT.intersection(provider.speaks(""))


async def _state(name: str, provider: BaseProvider) -> ProviderState:
    """How *provider* is, whatever a foreign one raises when it is asked."""
    try:
        return await provider.state()
    except Exception as error:  # noqa: BLE001  # one that cannot say must not hide the others
        return ProviderState(name, up=False, where="", note=f"failed with {type(error).__name__}")


def looks_real(key: str | None) -> bool:
    """Whether *key* can be a provider's key: longer than ten signs, no placeholder, and none of our own."""
    return bool(key and len(key) > _SHORTEST_KEY and "..." not in key and not key.startswith("ck_"))


def openai(egress: Egress, key: str | None, url: str | None = None) -> OpenAIProvider:
    """OpenAI, or what speaks like it at *url*."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return OpenAIProvider(egress.upstream("openai", url or OPENAI_URL, headers), speaks=NATIVE)


def compatible(
    egress: Egress,
    name: str,
    url: str,
    key: str | None,
    models: tuple[str, ...],
    *,
    local: bool = False,
    speaks: Sequence[str] = COMPATIBLE,
) -> OpenAIProvider:
    """A provider of the user's own naming that speaks as OpenAI does at *url*, or in messages as Anthropic does.

    *local* is the user's word that it runs on this machine and hands nothing on; *speaks* are dialects.
    """
    headers = {"authorization": f"Bearer {key}"} if key else {}
    if "messages" in speaks:  # whose servers look for the key in another place
        headers |= {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})}
    upstream = egress.upstream(name, url, headers, final=local)
    return OpenAIProvider(upstream, prefix=f"{name}/", models=models, speaks=speaks)


def anthropic(egress: Egress, key: str, url: str | None = None) -> AnthropicProvider:
    """Anthropic at *url*."""
    headers = {"x-api-key": key, "anthropic-version": VERSION}
    return AnthropicProvider(egress.upstream("anthropic", url or ANTHROPIC_URL, headers))


def ollama(egress: Egress, url: str | None = None) -> OllamaProvider:
    """Ollama at *url*."""
    base = (url or OLLAMA_URL).rstrip("/").removesuffix("/v1")
    return OllamaProvider(
        egress.upstream("ollama", f"{base}/v1", final=True), egress.upstream("ollama", base, final=True)
    )


def claude_cli(egress: Egress, path: str = "", model: str = "sonnet", proxy: str = "") -> ClaudeCLIProvider:
    """The `claude` program of this machine."""
    return ClaudeCLIProvider(egress, path=path, model=model, proxy=proxy)


def litellm(egress: Egress, proxy: str = "", ca_file: str = "") -> LiteLLMProvider:
    """Whatever LiteLLM knows to ask."""
    return LiteLLMProvider(egress=egress, proxy=proxy, ca_file=ca_file)


_default = Registry()


def init_providers(
    openai_api_key: str | None = None,
    anthropic_api_key: str | None = None,
    ollama_url: str | None = None,
) -> None:
    """Register, in the default registry, each provider for which something was given."""
    egress = Egress()
    if looks_real(openai_api_key):
        _default.register("openai", openai(egress, openai_api_key))
    if anthropic_api_key and looks_real(anthropic_api_key):
        _default.register("anthropic", anthropic(egress, anthropic_api_key))
    elif ClaudeCLIProvider.find():
        _default.register("claude_cli", claude_cli(egress))
    if ollama_url:
        _default.register("ollama", ollama(egress, ollama_url))
    if installed():
        _default.register("litellm", litellm(egress))


def get_provider(model: str) -> BaseProvider:
    """The default registry's provider for *model*, by the documented table."""
    for name in rule_for(model).providers:
        if (provider := _default.providers.get(name)) is not None:
            return provider
    raise NotConfigured(f"No provider for {model} is registered.", hint="Call init_providers first.")


def list_providers() -> list[str]:
    """The names in the default registry."""
    return list(_default.providers)
