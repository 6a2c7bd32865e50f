"""Prices today: whose word counts, that every token is charged once at its own rate, and that unknown is never free."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from threading import Barrier, Thread
from types import ModuleType

import pytest
from genai_prices import Usage
from genai_prices import data as library_data
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider
from hypothesis import given
from hypothesis import strategies as st

from membrain.cost.prices import GUIDE, HERE, LIBRARY_DATES, SETTINGS, Price, Prices
from membrain.cost.pricing import MODEL_PRICING, estimate_cost
from membrain.records import Tokens

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LIBRARY = f"genai-prices {version('genai-prices')}"
MILLION = 1_000_000

KNOWN_DIFFERENCES = {"claude-haiku-4-5-20251001": (1.00, 5.00)}
"""Where the library is right and the documented table is of another day."""


def loaded(overrides: dict[str, Price] | None = None, at: datetime = NOW) -> Prices:
    prices = Prices(overrides or {}, now=lambda: at)
    prices.load()
    return prices


PRICES = loaded()
ROWS = Prices(library=False)


# --- whose word counts


@pytest.mark.parametrize("model", MODEL_PRICING)
def test_the_library_agrees_with_the_documented_rows(model: str) -> None:
    price = PRICES.of(model)
    assert price is not None
    assert price.source == LIBRARY
    assert (price.input, price.output) == KNOWN_DIFFERENCES.get(model, MODEL_PRICING[model])


@pytest.mark.parametrize("model", MODEL_PRICING)
def test_without_the_library_the_documented_rows_answer(model: str) -> None:
    assert ROWS.of(model) == Price(*MODEL_PRICING[model], source=GUIDE)


def test_a_price_of_the_users_own_comes_before_all_others() -> None:
    prices = loaded({"gpt-4o": Price(1.0, 2.0)})
    assert prices.of("gpt-4o", "openai") == Price(1.0, 2.0, source=SETTINGS)
    assert prices.cost("gpt-4o", "openai", Tokens(1000, 1000)) == 3000
    assert prices.of("gpt-4o-mini") == PRICES.of("gpt-4o-mini")


@pytest.mark.parametrize(
    ("asked", "price"),
    [(("m", "mine"), 1.0), (("m", "other"), 2.0), (("m", ""), 2.0), (("groq/m", ""), 3.0), (("azure/m", ""), 2.0)],
)
def test_the_price_that_says_more_comes_before_the_one_that_says_less(asked: tuple[str, str], price: float) -> None:
    prices = Prices({"mine/m": Price(1.0, 0.0), "m": Price(2.0, 0.0), "groq/m": Price(3.0, 0.0)}, library=False)
    found = prices.of(*asked)
    assert found is not None
    assert found.input == price


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["input", "output", "cached", "written"])
def test_a_price_that_cannot_be_one_is_refused_by_name(wrong: float, part: str) -> None:
    parts: dict[str, float] = {"input": 1.0, "output": 1.0, part: wrong}
    with pytest.raises(ValueError, match="mine"):
        Prices({"mine": Price(**parts)})  # type: ignore[arg-type]  # no text is among the parts


def test_what_the_provider_says_counts() -> None:
    assert PRICES.cost("gpt-4o", "openai", Tokens(1000, 1000, cost_micros=7)) == 7
    assert PRICES.cost("nobody-knows", "", Tokens(1000, 1000, cost_micros=0)) == 0


def test_a_provider_cannot_lower_the_bill_below_nothing() -> None:
    assert ROWS.cost("gpt-4o", "openai", Tokens(1000, 500, cost_micros=-7)) == 7500


# --- source and date


def test_each_price_tells_its_source_and_its_date() -> None:
    price = PRICES.of("gpt-4o")
    assert price is not None
    assert (price.source, price.context) == (LIBRARY, 128_000)
    assert price.date == LIBRARY_DATES[version("genai-prices")]


def test_the_date_of_the_library_is_the_last_day_that_it_looks_back_on() -> None:
    """A version that is not in the table shows no date; this asks for a row when the pin moves."""
    source = Path(library_data.__file__).read_text()
    past = {day for day in re.findall(r"\b20\d\d-\d\d-\d\d\b", source) if day <= f"{NOW:%Y-%m-%d}"}
    assert LIBRARY_DATES[version("genai-prices")] == max(past)


# --- unknown is never free

UNKNOWN = [
    "", "/", "a/b/c", "nobody-knows", "gpt-nonsense", "claude-nonsense", "auto", "sonnet", "my-gpt-4o-proxy",
    "nobody/gpt-4o", "bedrock/anthropic.claude-3-sonnet", "x" * 5000, "gpt-4o\r\nx: y", "ft:gpt-4o:org::id", "\x00",
]  # fmt: skip


@pytest.mark.parametrize("prices", [PRICES, ROWS], ids=["library", "rows"])
@pytest.mark.parametrize("model", UNKNOWN, ids=lambda model: repr(model[:40]))
@pytest.mark.parametrize("provider", ["", "openai", "my_provider", "litellm", "nobody"])
def test_what_nobody_knows_is_unknown(prices: Prices, model: str, provider: str) -> None:
    assert prices.of(model, provider) is None
    assert prices.mean(model, provider) is None
    assert prices.cost(model, provider, Tokens(1000, 1000)) is None


@given(st.text(), st.text())
def test_no_name_raises(model: str, provider: str) -> None:
    price = PRICES.of(model, provider)
    cost = PRICES.cost(model, provider, Tokens(1, 1))
    assert (price is None) == (cost is None)


@pytest.mark.parametrize("prices", [PRICES, ROWS], ids=["library", "rows"])
@pytest.mark.parametrize("provider", sorted(HERE))
def test_nobodys_list_price_is_that_of_a_model_on_this_machine(prices: Prices, provider: str) -> None:
    """It may have the very name of one that others sell. That it is free says the caller, who knows where it runs."""
    for asked in [("gpt-4o", provider), (f"{provider}/gpt-4o", ""), ("ollama:gpt-4o", "")]:
        assert prices.of(*asked) is None
        assert prices.cost(*asked, Tokens(1, 1)) is None


def every_model() -> Iterator[tuple[Provider, ModelInfo]]:
    """All that the library can find by the name that it gives them, at whom it lists them."""
    providers = get_snapshot().providers
    for house in providers:
        for model in house.models:
            if house.find_model(model.id, all_providers=providers) is model:
                yield house, model


def test_what_the_library_knows_without_a_price_is_unknown() -> None:
    """Also where the documented rows know the name: what a house does not state is not what another one asks."""
    silent = [(house, model) for house, model in every_model() if not vars(model.get_prices(NOW))]
    assert any(model.id in MODEL_PRICING for _, model in silent)
    for house, model in silent:
        assert PRICES.of(model.id, house.id) is None
        assert PRICES.cost(model.id, house.id, Tokens(1, 1)) is None


# --- names


@pytest.mark.parametrize(
    ("asked", "same"),
    [
        (("openai/gpt-4o", ""), ("gpt-4o", "openai")),
        (("openai/gpt-4o", "litellm"), ("gpt-4o", "openai")),
        (("litellm/gpt-4o", ""), ("gpt-4o", "openai")),
        (("litellm/azure/gpt-4", ""), ("gpt-4", "azure")),
        (("azure/gpt-4", "litellm"), ("gpt-4", "azure")),
        (("azure_ai/gpt-4", "litellm"), ("gpt-4", "azure")),
        (("LiteLLM/Azure_AI/GPT-4", "LiteLLM"), ("gpt-4", "azure")),
        (("gemini/gemini-pro", "litellm"), ("gemini-pro", "google")),
        (("groq/llama-3.3-70b-versatile", ""), ("llama-3.3-70b-versatile", "groq")),
        (("claude-sonnet-4-5", "claude_cli"), ("claude-sonnet-4-5", "anthropic")),
        (("claude-sonnet-4-5", "my_provider"), ("claude-sonnet-4-5", "anthropic")),
        (("Claude-Sonnet-4-5", ""), ("claude-sonnet-4-5", "anthropic")),
        (("o3-mini-2025-01-31", "openai"), ("o3-mini", "openai")),
        (("openrouter/anthropic/claude-sonnet-4.5", ""), ("anthropic/claude-sonnet-4.5", "openrouter")),
    ],
)
def test_a_model_is_known_under_all_of_its_names(asked: tuple[str, str], same: tuple[str, str]) -> None:
    assert PRICES.of(*asked) is not None
    assert PRICES.of(*asked) == PRICES.of(*same)


def test_what_one_house_asks_is_not_the_price_of_another() -> None:
    assert PRICES.of("llama-3.3-70b-versatile", "groq") != PRICES.of("llama-3.3-70b", "cerebras")
    assert PRICES.of("deepseek-chat", "groq") is None
    assert PRICES.of("deepseek-chat") is not None


def test_the_documented_rows_are_known_under_their_prefixed_names() -> None:
    assert ROWS.of("openai/gpt-4o") == ROWS.of("litellm/openai/gpt-4o") == ROWS.of("gpt-4o")


# --- the mean


@pytest.mark.parametrize(
    ("model", "mean"),
    [
        ("gpt-4o-mini", 0.000375),
        ("claude-haiku-4-5-20251001", 0.0024),
        ("o3-mini", 0.00275),
        ("gpt-4o", 0.00625),
        ("claude-sonnet-4-20250514", 0.009),
        ("gpt-4-turbo", 0.02),
        ("o1", 0.0375),
        ("claude-opus-4-20250514", 0.045),
    ],
)
def test_the_mean_is_the_documented_one(model: str, mean: float) -> None:
    assert ROWS.mean(model) == pytest.approx(mean)
    if model not in KNOWN_DIFFERENCES:
        assert PRICES.mean(model) == pytest.approx(mean)


# --- what an answer costs


@pytest.mark.parametrize("prices", [PRICES, ROWS], ids=["library", "rows"])
def test_the_documented_example(prices: Prices) -> None:
    assert prices.cost("gpt-4o", "openai", Tokens(1000, 500)) == 7500 == estimate_cost("gpt-4o", 1000, 500) * MILLION


def test_cached_tokens_are_charged_once_and_for_less() -> None:
    """OpenAI counts them among the prompt's: 1,000 of which 600 cached are 400 at 2.50 and 600 at 1.25."""
    assert PRICES.cost("gpt-4o", "openai", Tokens(1000, 0, cached=600)) == 400 * 2.5 + 600 * 1.25


def test_written_tokens_are_charged_once_and_for_more() -> None:
    """Of 431 tokens Anthropic's cache had 30 and took 400: 1 at 3.00, 30 at 0.30, 400 at 3.75, and 2 said at 15."""
    tokens = Tokens(431, 2, cached=30, written=400)
    assert PRICES.cost("claude-sonnet-4-20250514", "anthropic", tokens) == 3 + 9 + 1500 + 30


def test_reasoning_is_part_of_the_completion() -> None:
    assert PRICES.cost("o1", "openai", Tokens(0, 100, reasoning=80)) == PRICES.cost("o1", "openai", Tokens(0, 100))


def test_reasoning_has_its_own_rate_where_there_is_one() -> None:
    """2.00 for a million in, 8.00 out, 3.00 for reasoning: the documented rates of the one model that has them."""
    found = [(house, model) for house, model in every_model() if model.get_prices(NOW).output_reasoning_mtok]
    assert found
    for house, model in found:
        alone = PRICES.cost(model.id, house.id, Tokens(0, MILLION))
        thought = PRICES.cost(model.id, house.id, Tokens(0, MILLION, reasoning=MILLION))
        assert alone is not None
        assert thought is not None
        assert alone != thought


def test_a_long_prompt_has_the_rates_of_long_prompts() -> None:
    """Gemini 2.5 Pro: up to 200,000 tokens 1.25 and 10.00, above it 2.50 and 15.00 for all of them."""
    short, long = Tokens(200_000, 1000), Tokens(200_001, 1000)
    assert PRICES.cost("gemini-2.5-pro", "google", short) == 250_000 + 10_000
    assert PRICES.cost("gemini-2.5-pro", "google", long) == 500_003 + 15_000


def test_a_price_that_changes_by_the_hour_is_the_one_of_the_hour() -> None:
    changing = next(
        (house.id, model.id, hours)
        for house, model in every_model()
        if len(hours := {str(model.get_prices(NOW.replace(hour=hour))): hour for hour in range(24)}) > 1
    )
    house, name, hours = changing
    costs = {loaded(at=NOW.replace(hour=hour)).cost(name, house, Tokens(MILLION, MILLION)) for hour in hours.values()}
    assert len(costs) > 1
    assert None not in costs


def test_a_memory_of_prices_does_not_outlive_them() -> None:
    """The same object is asked before and after a price begins."""
    clock = [NOW]
    prices = Prices(now=lambda: clock[0])
    prices.load()
    for house, model in every_model():
        seen = set()
        for year in range(2023, 2027):
            clock[0] = NOW.replace(year=year)
            seen.add(prices.of(model.id, house.id))
        if len(seen) > 1:
            return
    pytest.fail("no price ever changed")


def test_own_rates_for_the_cache_are_used_and_missing_ones_are_the_inputs() -> None:
    tokens = Tokens(1000, 0, cached=100, written=200)
    assert Prices({"m": Price(1.0, 0.0)}).cost("m", "", tokens) == 1000
    assert Prices({"m": Price(1.0, 0.0, cached=0.0, written=2.0)}).cost("m", "", tokens) == 700 + 400


@pytest.mark.parametrize("prices", [PRICES, ROWS], ids=["library", "rows"])
def test_parts_that_exceed_their_whole_were_left_out_of_it(prices: Prices) -> None:
    """Some upstreams count so. Nothing is charged below what the parts alone cost, and nothing raises."""
    odd = prices.cost("o1", "openai", Tokens(1, 1, cached=50, written=50, reasoning=70))
    assert odd == prices.cost("o1", "openai", Tokens(100, 70, cached=50, written=50))


counts = st.integers(0, 1 << 20) | st.integers(0, 1 << 40)
token_counts = st.builds(
    lambda plain, cached, written, said, thought: Tokens(
        plain + cached + written, said + thought, cached=cached, reasoning=thought, written=written
    ),
    counts, counts, counts, counts, counts,
)  # fmt: skip


def up(exact: Fraction) -> int:
    return -(-exact.numerator // exact.denominator)


MODELS = [(house, model) for house, model in every_model() if PRICES.of(model.id, house.id)]


@given(st.sampled_from(MODELS), token_counts)
def test_what_is_remembered_charges_what_the_library_itself_calculates(
    place: tuple[Provider, ModelInfo], tokens: Tokens
) -> None:
    house, model = place
    usage = Usage(
        input_tokens=tokens.prompt,
        output_tokens=tokens.completion,
        cache_read_tokens=tokens.cached,
        cache_write_tokens=tokens.written,
        output_reasoning_tokens=tokens.reasoning,
    )
    theirs = model.calc_price(usage, house, genai_request_timestamp=NOW).total_price
    assert PRICES.cost(model.id, house.id, tokens) == up(Fraction(theirs) * MILLION)


def test_every_model_of_the_library_is_charged_as_it_does_below_and_above_each_tier() -> None:
    assert len(MODELS) > 1500
    for house, model in MODELS:
        for prompt in (7, 300_000):
            usage = Usage(input_tokens=prompt, output_tokens=11, cache_read_tokens=3)
            theirs = model.calc_price(usage, house, genai_request_timestamp=NOW).total_price
            ours = PRICES.cost(model.id, house.id, Tokens(prompt, 11, cached=3))
            assert ours == up(Fraction(theirs) * MILLION), (house.id, model.id, prompt)


cents = st.integers(0, 10**7).map(lambda parts: f"{parts / 10**4:.4f}")


@given(cents, cents, cents, cents, token_counts)
def test_own_prices_are_exact_and_only_a_broken_micro_dollar_is_rounded_up(
    given_: str, said: str, cached: str, written: str, tokens: Tokens
) -> None:
    prices = Prices({"m": Price(float(given_), float(said), float(cached), float(written))}, library=False)
    plain = tokens.prompt - tokens.cached - tokens.written
    exact = plain * Fraction(given_) + tokens.completion * Fraction(said)
    exact += tokens.cached * Fraction(cached) + tokens.written * Fraction(written)
    assert prices.cost("m", "", tokens) == up(exact)


@pytest.mark.parametrize("prices", [PRICES, ROWS], ids=["library", "rows"])
@pytest.mark.parametrize(("tokens", "micros"), [(0, 0), (1, 2), (10, 11), (100, 110), (1000, 1100)])
def test_what_is_even_is_not_rounded_up(prices: Prices, tokens: int, micros: int) -> None:
    """In floats 100 times 1.10 is a little more than 110."""
    assert prices.cost("o3-mini", "openai", Tokens(tokens, 0)) == micros


# --- loading


def test_until_it_is_loaded_the_rows_answer() -> None:
    prices = Prices(now=lambda: NOW)
    before = prices.of("claude-haiku-4-5-20251001")
    unknown = prices.of("claude-sonnet-4-5")
    prices.load()
    after = prices.of("claude-haiku-4-5-20251001")
    assert before is not None
    assert after is not None
    assert (before.source, after.source) == (GUIDE, LIBRARY)
    assert unknown is None
    assert prices.of("claude-sonnet-4-5") is not None


def test_it_is_loaded_once() -> None:
    """A second time would forget what is remembered."""
    prices = loaded()
    library = prices._library
    prices.load()
    assert prices._library is library is not None


def test_who_does_not_want_the_library_does_not_get_it() -> None:
    prices = Prices(library=False)
    prices.load()
    assert prices.of("claude-sonnet-4-5") is None


def test_without_the_library_loading_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    prices = Prices()
    with pytest.raises(ModuleNotFoundError) as told:
        import genai_prices  # noqa: F401  # how Python says that it is not there
    assert told.value.name == "genai_prices"
    prices.load()
    assert prices.of("gpt-4o") == ROWS.of("gpt-4o")


def test_a_broken_library_is_not_hidden_and_the_rows_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", ModuleType("genai_prices"))
    monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", None)
    prices = Prices()
    with pytest.raises(ImportError):
        prices.load()
    assert prices.of("gpt-4o") == ROWS.of("gpt-4o")


def test_many_threads_ask_while_it_loads() -> None:
    prices = Prices(now=lambda: NOW)
    told: list[int | None] = []
    start = Barrier(6)
    right = [ROWS.cost("o3-mini", "", Tokens(n, n)) for n in range(50)]

    def ask() -> None:
        start.wait()
        told.extend(prices.cost("o3-mini", "", Tokens(n, n)) for n in range(50))

    def load() -> None:
        start.wait()
        prices.load()

    threads = [Thread(target=each) for each in (ask, ask, ask, ask, load, load)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(cost or 0 for cost in told) == sorted(cost or 0 for cost in right * 4)


def test_names_that_are_made_up_are_not_kept_for_ever() -> None:
    prices = loaded()
    for n in range(5000):
        prices.of(f"made-up-{n}", "openai")
    library = prices._library
    assert library is not None
    assert library._find.cache_info().currsize <= 4096
    assert not library._listings
    assert not any(made_up.startswith("made-up") for _, _, made_up in get_snapshot()._lookup_cache)


LIBRARY_PARTS = "{'genai_prices', 'pydantic', 'httpx2'}"


def loads_in_a_fresh_process(code: str) -> str:
    told = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(sorted({LIBRARY_PARTS} & set(sys.modules)))"],
        capture_output=True, text=True, timeout=60, env=dict(os.environ),
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return told.stdout.strip()


def test_only_loading_imports_the_library() -> None:
    asked = "from membrain.cost.prices import Prices\np = Prices()\np.of('gpt-4o')\np.mean('nobody')"
    assert loads_in_a_fresh_process(asked) == "[]"
    assert "genai_prices" in loads_in_a_fresh_process(f"{asked}\np.load()")


def test_the_command_line_never_imports_it() -> None:
    everything = (
        "import importlib, pkgutil, membrain_cli\n"
        "for each in pkgutil.walk_packages(membrain_cli.__path__, 'membrain_cli.'): importlib.import_module(each.name)"
    )
    assert "genai_prices" not in loads_in_a_fresh_process(everything)


def test_loading_opens_no_connection_and_starts_no_thread() -> None:
    code = (
        "import threading\nfound = []\n"
        "sys.addaudithook(lambda name, _: found.append(name) if name.startswith('socket.') else None)\n"
        "from membrain.cost.prices import Prices\np = Prices()\np.load()\np.of('gpt-4o')\n"
        "assert not found, found\nassert threading.active_count() == 1"
    )
    loads_in_a_fresh_process(code)


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize("provider", ["openai", "litellm", ""])
def test_an_embedding_costs_what_it_reads(library: bool, provider: str) -> None:
    prices = Prices(library=library)
    prices.load()
    assert prices.cost("text-embedding-3-small", provider, Tokens(1_000_000, 0)) == 20_000
    assert prices.cost("text-embedding-3-large", provider, Tokens(1, 0)) == 1
    price = prices.of("openai/text-embedding-ada-002", provider)
    assert price is not None
    assert (price.input, price.output, price.source, price.date) == (0.1, 0.0, "OpenAI's price list", "2026-05-01")


def test_an_embedding_of_somebody_elses_has_no_price_of_openais() -> None:
    prices = Prices(library=False)
    assert prices.of("text-embedding-3-small", "my-box") is None
    assert prices.cost("text-embedding-3-small", "my-box", Tokens(1, 0)) is None
