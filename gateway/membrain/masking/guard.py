"""What masking goes by: the detector, the policies, the key of the placeholders, and which values are known at once.

Plain values in, one object out; it is replaced as a whole when the settings are read again.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from membrain.errors import Misconfigured
from membrain.masking.texts import Pieces
from membrain.pii.kinds import Span
from membrain.pii.lists import load
from membrain.pii.policy import Policies

if TYPE_CHECKING:
    from membrain.pii.detector import Detector, Engine  # loaded when there is something to look at

KEY_BYTES = 32

BUILTIN = "builtin"
"""The engine's name when no other is asked besides ours."""

PLACEHOLDERS = "placeholders"
"""The name under which the key of the placeholders is kept."""

_SECRET_NAME = re.compile(r"(?i)(?:key|token|secret|passw(?:or)?d|passphrase|credentials?|pwd|auth)s?(?:_[a-z0-9]+)?$")
_NO_SECRET = re.compile(r"(?i)~?/[\w./-]*|\d{1,12}|true|false|[a-z_]+://[^@]*|[a-z]{1,15}")
_SHORTEST = 8


class Detects(Protocol):
    """Finds what is private in a text; any error means that nobody knows."""

    def scan(self, text: str) -> tuple[Span, ...]:
        """Settled spans, in order."""

    def scan_by_rule(self, text: str) -> tuple[Span, ...]:
        """The same by rule only, which costs little."""

    def warm(self) -> None:
        """Work through an example of everything, so that the first long text costs no more than the next."""

    def recall(self, text: str) -> tuple[Span, ...] | None:
        """What it remembers of this text; no work is done."""


@dataclass(frozen=True)
class Guard:
    """Everything that one gateway masks by."""

    detector: Detects
    policies: Policies
    key: bytes = field(repr=False)
    """Of the placeholders."""
    pieces: Pieces = field(default_factory=Pieces)
    """What was looked at before, so that a conversation's next turn costs its new part."""
    answers: str = "flag"
    """What happens to what first appears in an answer: `pass`, `flag`, `redact`, `block`."""
    mask_local: bool = False
    """Whether models on this machine get placeholders too."""
    url_tools: Sequence[str] = ()
    """Tools that may be given values inside URLs, as names or globs."""
    aside: int = 32 << 10
    """Unknown text of more characters than this is looked at in a thread of its own."""
    scan_seconds: float = 10
    hold_seconds: float = 600


def secrets_in(environ: Mapping[str, str]) -> dict[str, str]:
    """The values of *environ* that are secrets by their variable's name, with their label."""
    found = {}
    for name, value in environ.items():
        value = value.strip()  # noqa: PLW2901  # the same value, less what a shell left around it
        if len(value) >= _SHORTEST and _SECRET_NAME.search(name) and not _NO_SECRET.fullmatch(value):
            found[value] = "SECRET"
    return found


def key_of(text: str) -> bytes:
    """The key that *text* spells in hex; `Misconfigured` for anything but `KEY_BYTES` bytes of it."""
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise Misconfigured(
            "The key of the placeholders is damaged.", hint="Remove it; a new one is made at the next start."
        )
    return key


def kept_key(kept: Callable[[], str | None], keep: Callable[[str], None]) -> bytes:
    """The key that is kept, or a new one that is kept from now on."""
    text = kept()
    if not text:
        text = secrets.token_hex(KEY_BYTES)
        keep(text)
    return key_of(text)


def detector_of(
    lists: Path, engine: str, keys: Iterable[str], environ: Mapping[str, str], seconds: float
) -> Callable[[], Detector]:
    """What makes all that finds: with the user's *lists*, the *engine* they chose besides ours, the providers' *keys*
    and what is secret in *environ*. One text may take *seconds*. Raises at once if the lists or the engine do not work.
    """
    own, engines = load(lists), _others(engine)
    known = {**secrets_in(environ), **dict.fromkeys(keys, "SECRET")}

    def made() -> Detector:
        from membrain.pii.detector import Detector  # heavy, and of no use to the commands that ask offline

        return Detector(known=known, folded=own.known, allowed=own.allowed, engines=engines, seconds=seconds)

    return made


def _others(name: str) -> list[Engine]:
    if name == BUILTIN:
        return []
    from membrain.pii.engines import engine

    found = engine(name)
    return [found] if found else []
