"""Every dialect by its name, and where each is spoken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from membrain.dialects.base import Dialect
from membrain.dialects.chat import Chat
from membrain.dialects.completions import Completions
from membrain.dialects.embeddings import Embeddings, Moderations
from membrain.dialects.messages import CountTokens, Messages
from membrain.dialects.responses import Responses

PATHS: Final[Mapping[str, type[Dialect]]] = {
    "/v1/chat/completions": Chat,
    "/v1/messages": Messages,
    "/v1/messages/count_tokens": CountTokens,
    "/v1/responses": Responses,
    "/v1/completions": Completions,
    "/v1/embeddings": Embeddings,
    "/v1/moderations": Moderations,
}
"""Path → the dialect spoken there."""

DIALECTS: Final[Mapping[str, Dialect]] = {each.name: each() for each in PATHS.values()}
"""By name."""

BY_PATH: Final[Mapping[str, Dialect]] = {path: DIALECTS[each.name] for path, each in PATHS.items()}
"""By path."""

NO_TEXT: Final = frozenset({"embeddings", "moderations"})
"""Dialects in which nobody is asked for a text, so that not everybody who has a model can answer."""

FREE: Final = frozenset({"moderations", "count_tokens"})
"""Dialects whose answers cost nothing, whoever gives them."""
