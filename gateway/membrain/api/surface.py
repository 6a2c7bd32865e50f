"""The surface of OpenAI and Anthropic: how a path may be spelt, what is not passed on, and in whose words to say so.

Only data and look-ups. What is asked at a path is answered elsewhere (`speak`, `admin`, `stored`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from membrain.api.guard import Scope
from membrain.dialects.base import Dialect
from membrain.dialects.table import BY_PATH, DIALECTS
from membrain.errors import NotCovered

FRONT: Final = "/v1"

UNCOVERED: Final = {
    "agents": "agents",
    "assistants": "assistants",
    "audio": "audio",
    "batches": "batches",
    "chat/completions": "stored chat completions",
    "chatkit": "ChatKit",
    "complete": "text completions of Anthropic's",
    "containers": "containers",
    "content_provenance_checks": "files",
    "conversations": "stored conversations",
    "decisions": "decisions",
    "deployment_runs": "deployments",
    "deployments": "deployments",
    "dreams": "dreams",
    "edits": "edits",
    "engines": "engines",
    "environments": "environments",
    "evals": "evals",
    "experimental": "experimental routes",
    "files": "files",
    "fine-tunes": "fine-tuning",
    "fine_tuning": "fine-tuning",
    "images": "images",
    "live": "live sessions",
    "memory_stores": "memory stores",
    "messages/batches": "batches",
    "oauth": "sign-ins",
    "organization": "the administration of an organization",
    "organizations": "the administration of an organization",
    "projects": "the administration of projects",
    "realtime": "realtime sessions",
    "responses/compact": "the compaction of responses",
    "responses/input_tokens": "the counting of a response's tokens",
    "safety": "safety cases",
    "sessions": "sessions",
    "skills": "skills",
    "threads": "threads",
    "tunnels": "tunnels",
    "uploads": "uploads",
    "user_profiles": "user profiles",
    "vaults": "vaults",
    "vector_stores": "vector stores",
    "videos": "videos",
    "webhook_endpoints": "webhooks",
    "webhook_event_types": "webhooks",
}
"""What stands behind `/v1/`, with all below it → what is there. Whoever could pass it on could not look into it."""

_DEEPEST: Final = max(key.count("/") for key in UNCOVERED) + 1

_ANTHROPICS: Final = frozenset({"complete", "messages", "organizations"})
"""Paths that only Anthropic has; where both have one, the header `anthropic-version` tells."""

_FIRST: Final = frozenset(
    {"models", *(key.partition("/")[0] for key in UNCOVERED), *(path.split("/")[2] for path in BY_PATH)}
)
"""What a path may begin with whose `/v1` was left out."""


def spellings(path: str) -> Iterable[str]:
    """*path*, which begins with `/v1`, and what some tools make of it: without that, and with it twice."""
    return path, path.removeprefix(FRONT), FRONT + path


def plain(path: str) -> str:
    """*path* as it is meant: its one `/v1` in front, if it is of this surface."""
    if path.startswith(f"{FRONT}{FRONT}/"):
        return path.removeprefix(FRONT)
    return FRONT + path if path[1:].partition("/")[0] in _FIRST else path


def not_covered(path: str) -> NotCovered | None:
    """Why what is asked at *path*, as `plain` gives it, is not passed on; None if it is none of that."""
    if not path.startswith(f"{FRONT}/") or path.rstrip("/") in BY_PATH:
        return None
    parts = path.removeprefix(f"{FRONT}/").split("/")
    what = next((UNCOVERED[key] for n in range(_DEEPEST) if (key := "/".join(parts[: n + 1])) in UNCOVERED), None)
    return NotCovered(f"Membrain does not cover {what} yet, so nothing of this was passed on.") if what else None


def bodiless(path: str) -> bool:
    """Whether nobody reads what is sent to *path*, so that clients rightly do not say of what kind it is."""
    return _BODILESS.fullmatch(path) is not None or not_covered(path) is not None


_BODILESS: Final = re.compile(f"{FRONT}/responses/[^/]+/cancel")


def words_for(path: str, scope: Scope) -> Dialect:
    """In which dialect an error is told to whoever asked at *path*, as `plain` gives it."""
    if path in BY_PATH:
        return BY_PATH[path]
    anthropics = path.startswith(f"{FRONT}/") and path.split("/")[2] in _ANTHROPICS
    return DIALECTS["messages" if anthropics or is_anthropics(scope) else "chat"]


def is_anthropics(scope: Scope) -> bool:
    """Whether the caller speaks as Anthropic's own tools do."""
    return any(name == b"anthropic-version" for name, _ in scope["headers"])
