"""The models there are, in OpenAI's shape, and in Anthropic's for whoever asks as Anthropic's tools do.

Pure: what there is comes from `Gateway`; who may ask is for `admin`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from membrain.errors import BadRequest
from membrain.schemas import ModelCard

Json = dict[str, Any]

MOST: Final = 1000
"""Models on one page, also where the caller does not say: whoever reads one page only has them all."""


def listed(cards: Sequence[ModelCard]) -> Json:
    """All of them, as OpenAI lists them."""
    return {"object": "list", "data": [card.model_dump() for card in cards]}


def page(cards: Sequence[ModelCard], asked: Mapping[str, str]) -> Json:
    """One page of them, as Anthropic lists them: *asked* has `limit`, and `after_id` or `before_id`, all optional.

    `has_more` is about the direction that was asked for. A name that two providers have is there once, or whoever goes
    on behind it would come by it for ever. `BadRequest` names what makes no sense.
    """
    named: dict[str, ModelCard] = {}
    for card in cards:
        named.setdefault(card.id, card)
    cards, ids, limit = list(named.values()), list(named), _limit(asked.get("limit"))
    after, before = asked.get("after_id"), asked.get("before_id")
    if after and before:
        raise BadRequest("Say either `after_id` or `before_id`.", param="before_id")
    if before:
        left = cards[: _place(ids, before, "before_id")]
        shown, more = left[-limit:], len(left) > limit
    else:
        left = cards[_place(ids, after, "after_id") + 1 :] if after else cards
        shown, more = left[:limit], len(left) > limit
    ends = (shown[0].id, shown[-1].id) if shown else (None, None)
    return {"data": [anthropics(card) for card in shown], "has_more": more, "first_id": ends[0], "last_id": ends[1]}


def anthropics(card: ModelCard) -> Json:
    """One model, as Anthropic shows it: where nobody knows its birthday, that is the beginning of time."""
    born = datetime.fromtimestamp(card.created, UTC).isoformat().replace("+00:00", "Z")
    return {"type": "model", "id": card.id, "display_name": card.id, "created_at": born, "lifecycle": "active"}


def _limit(text: str | None) -> int:
    if not text:
        return MOST
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= MOST:
        raise BadRequest(f"`limit` must be 1 to {MOST}.", param="limit")
    return int(text[:9])


def _place(ids: Sequence[str], id: str, name: str) -> int:
    if id not in ids:
        raise BadRequest(f"`{name}` names no model that is listed here.", param=name)
    return ids.index(id)
