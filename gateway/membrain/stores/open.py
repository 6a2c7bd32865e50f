"""Which store answers for which address. Nothing is imported before it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from membrain.errors import Misconfigured

if TYPE_CHECKING:
    from membrain.stores.base import AuditReader, Stores
    from membrain.stores.database import Durability
    from membrain.stores.keys import KeyFile
    from membrain.stores.ledger import LedgerFile
    from membrain.stores.sqlite import Heads


def open_stores(
    url: str | Path,
    *,
    instance: str,
    key: bytes,
    heads: Heads | None = None,
    durability: Durability = "process",
    keep_days: int = 30,
) -> Stores:
    """All stores of a gateway, ready to use; made where there are none.

    `url` is a path or `sqlite:///path`. `instance` names this run of the gateway. `key` seals the audit, and `heads`
    notes its end elsewhere. `durability` says what a commit survives: the death of the process, or ("full") also that
    of the power. What is kept of what left goes after `keep_days`. Misconfigured when the stores cannot be used.
    """
    from membrain.stores.sqlite import open_sqlite

    return open_sqlite(_path(url), instance, durability, key=key, heads=heads, keep_days=keep_days)


def open_reader(url: str | Path) -> AuditReader:
    """The audit to look at, without a gateway and without an event loop. Makes nothing."""
    from membrain.stores.reading import SqliteReader

    return SqliteReader(_path(url))


def open_keys(url: str | Path) -> KeyFile:
    """The client keys to look after while the gateway is down."""
    from membrain.stores.keys import KeyFile

    return KeyFile(_path(url))


def open_ledger(url: str | Path) -> LedgerFile:
    """The ledger of budgets to look at, without a gateway."""
    from membrain.stores.ledger import LedgerFile

    return LedgerFile(_path(url))


def _path(url: str | Path) -> Path:
    """The file that an address means. Misconfigured for an address of something we do not speak."""
    if isinstance(url, Path) or "://" not in url:
        return Path(url)
    parts = urlsplit(url)
    if parts.scheme != "sqlite" or parts.netloc or not parts.path.strip("/"):
        raise Misconfigured("The store's address must be a path or sqlite:///path.")
    return Path(unquote(parts.path))
