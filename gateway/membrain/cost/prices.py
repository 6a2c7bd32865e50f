"""What models cost today: the user's own prices, else the price library's, else the documented rows.

For: the price of a model with its source and date (`of`), the mean that routing compares (`mean`), and what an answer
cost in whole micro-dollars (`cost`). A price that nobody knows is None, never 0.

Not for: models on this machine, which cost nothing by their caller's word, and fetching prices: the library is
bundled data. It takes a quarter of a second and 35 MB to import, so only `load` does that, and never the command line.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Context, Decimal
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

from membrain.cost.pricing import MODEL_PRICING
from membrain.records import Record, Tokens

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

GUIDE: Final = "provider guide"
"""Source of the documented rows."""

SETTINGS: Final = "config.toml"
"""Source of the user's own prices."""

LIBRARY_DATES: Final[Mapping[str, str]] = {"0.2.3": "2026-11-04"}
"""The last day that a version's own notes look back on: its prices were gathered up to then. It states no date."""

HERE: Final = frozenset({"ollama", "ollama_chat", "local"})
"""Providers, and prefixes of models, that run on this machine: no one's list price is theirs."""

HOUSES: Final[Mapping[str, str]] = {
    "azure_ai": "azure",
    "azure_text": "azure",
    "claude-cli": "anthropic",
    "claude_cli": "anthropic",
    "codestral": "mistral",
    "fireworks_ai": "fireworks",
}
"""Names of providers and LiteLLM's prefixes that the library has under another name; the rest it knows itself."""

EMBEDDINGS: Final[Mapping[str, float]] = {
    "text-embedding-3-small": 0.02,
    "text-embedding-3-large": 0.13,
    "text-embedding-ada-002": 0.10,
}
"""US dollars for a million tokens of OpenAI's embeddings, of which the library knows half. Nothing is written."""

_FROM: Final = ("OpenAI's price list", "2026-05-01")
_SELLERS: Final = frozenset({"", "openai", "litellm"})
"""Who sells them at that price."""

_ROW_PREFIXES: Final = frozenset({"openai", "anthropic"})
"""Prefixes that may stand before a model of the documented rows."""

_EXACT = Context(prec=60)
"""Wide enough that no sum of tokens times prices is ever rounded."""

_REMEMBERED = 4096
"""How many names are remembered: callers choose them, so there is no end to them."""


@dataclass(frozen=True, slots=True)
class Price(Record):
    """What a model costs, in US dollars for a million tokens, at its base rate."""

    input: float
    output: float
    cached: float | None = None
    """Read from the provider's cache; None: as input."""
    written: float | None = None
    """Written to the provider's cache; None: as input."""
    source: str = ""
    date: str = ""
    """YYYY-MM-DD of the data, "" if unknown."""
    context: int | None = None
    """How many tokens the model can read; None if unknown."""


class _Rates(NamedTuple):
    """Micro-dollars for one token of each kind, which is dollars for a million; `fixed` is for the request itself."""

    input: Decimal
    output: Decimal
    cached: Decimal
    written: Decimal
    reasoning: Decimal
    fixed: Decimal = Decimal(0)


class _Counts(NamedTuple):
    """Tokens of each kind, none of them in two."""

    input: int
    output: int
    cached: int
    written: int
    reasoning: int


class Prices:
    """Prices of all models. Safe to use from several threads, also while `load` runs.

    *overrides* are the user's own prices by model, or by `provider/model`; a ValueError names one that is negative or
    not a number. Without *library*, and until `load` has run, only they and the documented rows answer.
    """

    def __init__(
        self,
        overrides: Mapping[str, Price] = {},
        *,
        library: bool = True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._overrides = {model: _checked(model, price) for model, price in overrides.items()}
        self._wanted = library
        self._now = now
        self._lock = Lock()
        self._library: _Library | None = None

    def become(self, overrides: Mapping[str, Price]) -> None:
        """Go by these prices of the user's own from now on."""
        self._overrides = {model: _checked(model, price) for model, price in overrides.items()}

    def load(self) -> None:
        """Import the price library, once; meant for a thread. Does nothing where it is not installed or not wanted.

        A library that is there and broken raises whatever it raises; the prices known before stay in use.
        """
        if not self._wanted:
            return
        with self._lock:
            if self._library is None:
                self._library = _installed()

    def of(self, model: str, provider: str = "") -> Price | None:
        """What *model* costs at *provider* now; None if unknown."""
        if (own := self._own(model, provider)) is not None:
            return own
        if _is_here(model, provider):
            return None
        if (embedding := _embedding(model, provider)) is not None:
            return embedding
        listed = self._listed(model, provider)
        return listed.price if listed else _row(model)

    def mean(self, model: str, provider: str = "") -> float | None:
        """US dollars for 1K tokens, the mean of input and output; None if unknown."""
        price = self.of(model, provider)
        return (price.input + price.output) / 2000 if price else None

    def cost(self, model: str, provider: str, tokens: Tokens) -> int | None:
        """Micro-dollars for *tokens*, only a broken one rounded up; None if unknown. What the provider said counts."""
        if tokens.cost_micros is not None and tokens.cost_micros >= 0:
            return tokens.cost_micros
        counts = _counted(tokens)
        price = self._own(model, provider) or _embedding(model, provider)
        if price is None:
            if _is_here(model, provider):
                return None
            if (listed := self._listed(model, provider)) is not None:
                return _charged(listed.rates(counts), counts) if listed.price else None
            price = _row(model)
        return None if price is None else _charged(_rates_of(price), counts)

    def _own(self, model: str, provider: str) -> Price | None:
        """The user's own price: the provider's before the model's, and the full name's before the bare one's."""
        if not self._overrides:
            return None
        names = (f"{provider}/{model}", model, model.partition("/")[2])
        return next((self._overrides[name] for name in names if name in self._overrides), None)

    def _listed(self, model: str, provider: str) -> _Listing | None:
        """The library's prices in force now."""
        library = self._library
        return library.listing(model, provider, self._now()) if library else None


def _checked(model: str, price: Price) -> Price:
    """*price* with its source, if every part of it can be a price."""
    parts = (price.input, price.output, price.cached or 0.0, price.written or 0.0)
    if not all(math.isfinite(part) and part >= 0 for part in parts):
        raise ValueError(f"The price of {model} must be of numbers that are not negative.")
    return price if price.source else replace(price, source=SETTINGS)


def _is_here(model: str, provider: str) -> bool:
    return provider in HERE or model.startswith("ollama:") or model.partition("/")[0] in HERE


def _row(model: str) -> Price | None:
    """The documented row of *model*."""
    row = MODEL_PRICING.get(_bare(model))
    return Price(*row, source=GUIDE) if row else None


def _bare(model: str) -> str:
    """*model* without a prefix that only says whose it is."""
    model = model.removeprefix("litellm/")
    prefix, slash, bare = model.partition("/")
    return bare if slash and prefix in _ROW_PREFIXES else model


def _embedding(model: str, provider: str) -> Price | None:
    """What OpenAI takes for *model*, if that is one of its embeddings."""
    cost = EMBEDDINGS.get(_bare(model)) if provider in _SELLERS else None
    return None if cost is None else Price(cost, 0.0, source=_FROM[0], date=_FROM[1], context=8192)


# -- counting and charging --


def _counted(tokens: Tokens) -> _Counts:
    """Each token once. Cached and written ones are part of the prompt, reasoning is part of the completion.

    Where an upstream's parts exceed their whole, it left them out of it, so the parts are the whole.
    """
    apart = tokens.cached + tokens.written
    return _Counts(
        input=max(tokens.prompt - apart, 0),
        output=max(tokens.completion - tokens.reasoning, 0),
        cached=tokens.cached,
        written=tokens.written,
        reasoning=tokens.reasoning,
    )


def _rates_of(price: Price) -> _Rates:
    """The rates that *price* states. By way of text, because 0.15 is meant, not the float nearest to it."""
    given, said = Decimal(str(price.input)), Decimal(str(price.output))
    cached = given if price.cached is None else Decimal(str(price.cached))
    written = given if price.written is None else Decimal(str(price.written))
    return _Rates(given, said, cached, written, reasoning=said)


def _charged(rates: _Rates, counts: _Counts) -> int:
    """Micro-dollars, rounded up."""
    total = rates.fixed
    for rate, count in zip(rates, counts, strict=False):  # both name their kinds in one order
        total = _EXACT.fma(rate, Decimal(count), total)
    return int(total.to_integral_value(ROUND_CEILING, _EXACT))


# -- the library --


def _installed() -> _Library | None:
    """The library, if it is installed."""
    try:
        import genai_prices
        from genai_prices.data_snapshot import get_snapshot
    except ModuleNotFoundError as error:
        if error.name != "genai_prices":
            raise
        return None
    return _Library(get_snapshot().providers, genai_prices.__version__)


class _Library:
    """The price library, asked without its own caches: they grow with every name that anyone makes up."""

    def __init__(self, houses: list[Provider], version: str) -> None:
        self._houses = houses
        self._source = f"genai-prices {version}"
        self._date = LIBRARY_DATES.get(version, "")
        self._find = lru_cache(_REMEMBERED)(self._found)
        self._house = lru_cache(_REMEMBERED)(self._house_named)
        self._listings: dict[int, _Listing] = {}  # by the identity of the library's prices, which live as long

    def listing(self, model: str, provider: str, at: datetime) -> _Listing | None:
        """The prices of *model* in force *at* that time, as some change by the date or by the hour; None if unknown."""
        info = self._find(model.lower(), provider.lower())
        if info is None:
            return None
        prices = info.get_prices(at)
        if id(prices) not in self._listings:
            price = _base_price(prices)
            stated = price and replace(price, source=self._source, date=self._date, context=info.context_window)
            self._listings[id(prices)] = _Listing(prices, stated)
        return self._listings[id(prices)]

    def _found(self, model: str, provider: str) -> ModelInfo | None:
        """What the library knows of *model*: at *provider*, where its prefix says, or by name if neither is known."""
        for house, name in self._readings(model, provider):
            info = house.find_model(name, all_providers=self._houses)
            if info is not None and info.prices:
                return info
        return None

    def _readings(self, model: str, provider: str) -> Iterator[tuple[Provider, str]]:
        """Whose model, and under which name, *model* may be."""
        model = model.removeprefix("litellm/")
        if (house := self._house(provider)) is not None:
            yield house, model
        prefix, slash, bare = model.partition("/")
        if slash and (house := self._house(prefix)) is not None:
            yield house, bare
        if not slash and self._house(provider) is None:  # what others ask for a model is not what a known house asks
            yield from (
                (house, model) for house in self._houses if house.model_match and house.model_match.is_match(model)
            )

    def _house_named(self, name: str) -> Provider | None:
        """The library's provider of that name, as it matches names itself."""
        from genai_prices.data_snapshot import find_provider_by_id

        return find_provider_by_id(self._houses, HOUSES.get(name, name)) if name else None


def _is_theirs(house: Provider, model: str) -> bool:
    return house.model_match is not None and house.model_match.is_match(model)


def _base_price(prices: ModelPrice) -> Price | None:
    """The rates before any tier; None unless input and output both have one: what is not told is not free."""
    given, said = _base(prices.input_mtok), _base(prices.output_mtok)
    if given is None or said is None:
        return None
    return Price(given, said, _base(prices.cache_read_mtok), _base(prices.cache_write_mtok))


def _base(rate: object) -> float | None:
    """A rate that may have tiers, before them."""
    rate = getattr(rate, "base", rate)
    return float(rate) if isinstance(rate, Decimal) else None


class _Listing:
    """The library's prices of one model, and what it calculates from them, remembered for each of their tiers.

    The library takes 70 to 170 microseconds for an answer. Within a tier its sum is linear in the tokens, so it is
    asked once for each kind of token, and every later sum is a few products.
    """

    price: Price | None
    """None if the library knows the model, and not what it costs: then it is no guess of ours either."""

    def __init__(self, prices: ModelPrice, price: Price | None) -> None:
        self.price = price
        self._prices = prices
        tiers = [tier for rate in vars(prices).values() for tier in getattr(rate, "tiers", ())]
        self._starts = sorted({tier.start for tier in tiers})
        self._rates: dict[int, _Rates] = {}

    def rates(self, counts: _Counts) -> _Rates:
        """What each kind of token costs in a request of this size."""
        prompt = counts.input + counts.cached + counts.written
        tier = bisect_left(self._starts, prompt)  # one begins above its start
        if tier not in self._rates:
            self._rates[tier] = self._asked(prompt)
        return self._rates[tier]

    def _asked(self, prompt: int) -> _Rates:
        """The library's own rates for a prompt of that many tokens."""
        fixed = self._total()
        each = max(prompt, 1)
        told = self._total(input_tokens=each)
        answered = {"input_tokens": each, "output_tokens": each}
        return _Rates(
            input=(told - fixed) / each,
            output=(self._total(**answered) - told) / each,
            cached=(self._total(input_tokens=each, cache_read_tokens=each) - fixed) / each,
            written=(self._total(input_tokens=each, cache_write_tokens=each) - fixed) / each,
            reasoning=(self._total(**answered, output_reasoning_tokens=each) - told) / each,
            fixed=fixed,
        )

    def _total(self, **usage: int) -> Decimal:
        """Micro-dollars for *usage*."""
        from genai_prices import Usage

        return self._prices.calc_price(Usage(**usage))["total_price"] * 1_000_000
