"""Prices: the documented eight rows, and the difference between free and unknown."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.cost.pricing import MODEL_PRICING, cost_micros, estimate_cost, price_of

DOCUMENTED = {
    "gpt-4o": ("2.50", "10.00"),
    "gpt-4o-mini": ("0.15", "0.60"),
    "gpt-4-turbo": ("10.00", "30.00"),
    "o1": ("15.00", "60.00"),
    "o3-mini": ("1.10", "4.40"),
    "claude-opus-4-20250514": ("15.00", "75.00"),
    "claude-sonnet-4-20250514": ("3.00", "15.00"),
    "claude-haiku-4-5-20251001": ("0.80", "4.00"),
}


def test_the_table_holds_the_documented_rows_and_no_other() -> None:
    assert {model: (float(a), float(b)) for model, (a, b) in DOCUMENTED.items()} == MODEL_PRICING


def test_the_documented_example() -> None:
    assert estimate_cost(model="gpt-4o", prompt_tokens=1000, completion_tokens=500) == 0.0075


def test_the_documented_function_says_nought_for_what_it_does_not_know() -> None:
    assert estimate_cost("ollama/llama3", 1000, 1000) == 0.0


def test_inside_the_house_unknown_is_not_free() -> None:
    assert price_of("ollama/llama3") is None
    assert cost_micros("ollama/llama3", 1000, 1000) is None


@given(st.sampled_from(sorted(DOCUMENTED)), st.integers(0, 10**9), st.integers(0, 10**9))
def test_micro_dollars_are_exact_and_only_a_broken_one_is_rounded_up(model: str, prompt: int, completion: int) -> None:
    """A price per million tokens in dollars is one per token in micro-dollars."""
    a, b = (Fraction(each) for each in DOCUMENTED[model])
    exact = prompt * a + completion * b
    assert cost_micros(model, prompt, completion) == -(-exact.numerator // exact.denominator)


@pytest.mark.parametrize(("tokens", "micros"), [(0, 0), (1, 2), (10, 11), (100, 110), (1000, 1100)])
def test_what_is_even_is_not_rounded_up(tokens: int, micros: int) -> None:
    """In floats 100 times 1.10 is a little more than 110."""
    assert cost_micros("o3-mini", tokens, 0) == micros
