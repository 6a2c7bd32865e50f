"""Prices of models. Imports nothing of ours.

`MODEL_PRICING` and `estimate_cost` are the documented pair: eight rows, and 0.0 for what is not among them. Inside the
house `price_of` says None for unknown, because unknown is not free. What the gateway charges is for `prices` to say,
which knows many more models and falls back on these rows.
"""

from __future__ import annotations

MODEL_PRICING: dict[str, tuple[float, float]] = {
    "gpt-4o": (2.50, 10.00),
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4-turbo": (10.00, 30.00),
    "o1": (15.00, 60.00),
    "o3-mini": (1.10, 4.40),
    "claude-opus-4-20250514": (15.00, 75.00),
    "claude-sonnet-4-20250514": (3.00, 15.00),
    "claude-haiku-4-5-20251001": (0.80, 4.00),
}
"""US dollars for a million tokens: input, output."""


def estimate_cost(model: str, prompt_tokens: int, completion_tokens: int) -> float:
    """US dollars for a request, or 0.0 for a model that is not in `MODEL_PRICING`."""
    prompt, completion = MODEL_PRICING.get(model, (0.0, 0.0))
    return (prompt_tokens * prompt + completion_tokens * completion) / 1_000_000


def price_of(model: str) -> tuple[float, float] | None:
    """US dollars for a million tokens, input and output; None if we do not know."""
    return MODEL_PRICING.get(model)


_PARTS = 10_000
"""Parts of a micro-dollar that prices are counted in."""


def cost_micros(model: str, prompt_tokens: int, completion_tokens: int) -> int | None:
    """Micro-dollars for a request, rounded up; None if the price is unknown."""
    price = price_of(model)
    if price is None:
        return None
    # A dollar for a million tokens is a micro-dollar for one. In whole numbers, as floats would round up what is even.
    prompt, completion = (round(dollars * _PARTS) for dollars in price)
    return -(-(prompt_tokens * prompt + completion_tokens * completion) // _PARTS)
