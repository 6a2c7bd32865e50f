"""The worst case: how much a request can cost at most, before it is asked.

For: an upper bound of what is read and of what is written, in tokens, and of what both cost, in micro-dollars. All are
pure functions of the request as it leaves.

Not for: estimates that come close; nor for what a provider's own tools, like a search in the web, add to a question
behind our back. Nothing in the request says how much that is. It is charged once it is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from membrain.cost.prices import Prices
from membrain.records import Tokens

PICTURE: Final = 50_000
"""Tokens of one picture at most. The dearest there is, a large one in high detail at gpt-4o-mini, is charged as 48,169;
its bytes say nothing, for a blank one is a few hundred of them."""

DOCUMENT: Final = 1_000_000
"""Tokens of one document or film at most, where nobody knows how much the model can read."""

ADDED: Final = 128
"""Tokens that a provider adds of its own: marks of the roles, a date, a sentence about itself."""

ADDED_FOR_TOOLS: Final = 1_024
"""Tokens that a provider adds to explain tools, or the shape of an answer, to its model; Anthropic's are some 500."""

ADDED_BY: Final[Mapping[str, int]] = {"claude_cli": 8_192}
"""Tokens that a program between us and the model adds."""

ANTHROPIC: Final = 4_096
"""Tokens of an answer that Anthropic is asked for where the request does not say, thinking not counted."""

UNSAID: Final = 16_384
"""Tokens of an answer where neither the request nor anybody else says how long it can be."""

ASKABLE: Final = ((200_000, 16_384), (0, 4_096))
"""Tokens that a model can be asked to stop at without refusing the request for it, by how many it can read at least:
models of less than 200,000 may write no more than 4,096, and none says so but in its refusal."""

_KEPT: Final = ("previous_response_id", "conversation", "prompt")
"""What a provider keeps of earlier questions or prompts, which it reads and charges as if they had been sent."""

_EXPLAINED: Final = ("tools", "functions", "response_format")
_PICTURES: Final = frozenset({"image_url", "image", "input_image"})
_DOCUMENTS: Final = frozenset({"file", "input_file", "document", "input_audio", "video_url", "video"})
_EMBEDDED: Final = frozenset({"url", "image_url", "data", "file_data"})
"""Where a file may stand in such a part. Text that stands elsewhere in it is counted as text."""

Json = Mapping[str, Any]


def says_length(data: Json, lengths: Sequence[str]) -> bool:
    """Whether the request *data* says itself how long its answer may be, in one of its dialect's members *lengths*.

    Other dialects' names for it are passed over by those who do not know them, so they bound nothing. A dialect
    without such a member has nothing to say.
    """
    return not lengths or any(data.get(name) is not None for name in lengths) or _thinking(data) > 0


def answers(data: Json) -> int:
    """How many answers are written for the request *data*: so many for each prompt, those that are not shown too."""
    wanted = [value for name in ("n", "best_of") if type(value := data.get(name)) is int and value > 0]
    prompts = data.get("prompt")
    return max(wanted, default=1) * (len(prompts) if isinstance(prompts, list) and prompts else 1)


def input_tokens(body: bytes, data: Json, provider: str, context: int | None = None) -> int:
    """How many tokens of the request *body*, which is *data* parsed, *provider* has read at most.

    A token is at least a byte of text, in every tokenizer there is. Pictures and documents are charged by other
    measures than their bytes. *context* is how many tokens the model can read, if that is known.
    """
    tokens = len(body) + ADDED + ADDED_BY.get(provider, 0)
    if any(data.get(name) for name in _EXPLAINED):
        tokens += ADDED_FOR_TOOLS
    for part in _media(data):
        embedded = max((len(text) for text in _embedded(part)), default=0)
        if part["type"] in _PICTURES:
            tokens += PICTURE - embedded
        else:
            most = context or DOCUMENT
            tokens += min(max(embedded, PICTURE) if embedded else most, most) - embedded
    if any(isinstance(data.get(name), dict) or (name != "prompt" and data.get(name)) for name in _KEPT):
        tokens = max(tokens, context or DOCUMENT)
    return tokens


def output_tokens(data: Json, lengths: Sequence[str], provider: str, context: int | None = None) -> int:
    """How many tokens *provider* may write at most in answer to the request *data*; *context* as in `input_tokens`,
    *lengths* as in `says_length`.
    """
    if not lengths:
        return 0
    said = [value for name in lengths if type(value := data.get(name)) is int and value > 0]
    if said:
        each = max(said)
    elif provider == "anthropic":
        each = ANTHROPIC + _thinking(data)
    else:
        each = context or UNSAID
    return answers(data) * each


def askable(context: int | None) -> int:
    """How long an answer can surely be asked for, in tokens; *context* as in `input_tokens`."""
    return next(tokens for least, tokens in ASKABLE if (context or 0) >= least)


def worst_cost(prices: Prices, model: str, provider: str, read: int, written: int) -> int | None:
    """Micro-dollars for so many tokens *read* and *written*, each at the dearest rate it can have; None if unknown."""
    ways = (Tokens(read, written, written=read), Tokens(read, written, reasoning=written), Tokens(read, written))
    costs = [prices.cost(model, provider, tokens) for tokens in ways]
    return max((cost for cost in costs if cost is not None), default=None)


def longest(prices: Prices, model: str, provider: str, read: int, micros: int) -> int:
    """How many tokens may be written for *micros* after so many *read*; less than 1 if none, or if nobody knows."""
    asked, more = (worst_cost(prices, model, provider, read, written) for written in (0, _MANY))
    if asked is None or more is None:
        return 0
    if more <= asked:  # writing is free
        return _MANY if asked <= micros else 0
    return (micros - asked) * _MANY // (more - asked + 1)


_MANY = 1_000_000


def _thinking(data: Json) -> int:
    """The tokens that a request allows for thinking alone, in Anthropic's words."""
    thinking = data.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    return budget if type(budget) is int and budget > 0 else 0


def _media(data: Json) -> Iterator[dict[str, Any]]:
    """Every part of what is said that is a picture or a document, also inside the answer of a tool."""
    said = [each for name in ("messages", "input") if isinstance(data.get(name), list) for each in data[name]]
    waiting: list[Any] = [each.get(name) for each in said if isinstance(each, dict) for name in ("content", "output")]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            kind = node.get("type")
            if isinstance(kind, str) and (kind in _PICTURES or kind in _DOCUMENTS):
                yield node
            else:
                waiting += [child for child in node.values() if isinstance(child, list | dict)]


def _embedded(part: dict[str, Any]) -> Iterator[str]:
    """The texts of *part* that are a file in base64."""
    waiting: list[Any] = [part]
    while waiting:
        node = waiting.pop()
        for name, value in node.items():
            if isinstance(value, dict):
                waiting.append(value)
            elif isinstance(value, str) and name in _EMBEDDED and not value.startswith(("http:", "https:")):
                yield value
