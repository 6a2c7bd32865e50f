"""What a provider signed or encrypted, and gave to a caller through this gateway: known again when it comes back.

Such a text has to return byte for byte, so nothing in it can be masked. A model wrote it that saw placeholders only, so
it may return; one that never came through here may hold anything, and may not. Remembered are digests, in memory.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from membrain import sse

SIGNED = frozenset({
    "signature", "encrypted_content", "encrypted_index", "encrypted_stdout", "thinking_signature", "thought_signature",
    "fingerprint",
})  # fmt: skip
"""Members that have to return to the provider byte for byte."""

SEALED = frozenset({"thinking_blocks", "reasoning_items"})
"""Members in which everything has to: what another dialect's provider has signed."""

MOST = 4096


class Signed:
    """Digests of signed texts, by project; the newest *most*. For the event loop only."""

    __slots__ = ("_known", "_most", "_seed")

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._seed = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def __repr__(self) -> str:
        return f"Signed({len(self)})"

    def note(self, project: str, text: str) -> None:
        """Remember that *text* was given to somebody of *project*."""
        digest = self._digest(project, text)
        self._known[digest] = None
        self._known.move_to_end(digest)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def knows(self, project: str, text: str) -> bool:
        """Whether *text* was; if so it is remembered for longer."""
        digest = self._digest(project, text)
        if digest not in self._known:
            return False
        self._known.move_to_end(digest)
        return True

    def _digest(self, project: str, text: str) -> bytes:
        digest = blake2b(f"{len(project)}:{project}".encode(), digest_size=16, key=self._seed)
        digest.update(text.encode("utf-8", "surrogatepass"))
        return digest.digest()


class Watch:
    """Sees an answer pass, whole or in events, and tells *note* of every signed text in it."""

    __slots__ = ("_note", "_thoughts")

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._thoughts: dict[str, tuple[list[str], list[str]]] = {}
        """Texts and signatures of thoughts that go on, by their block."""

    def whole(self, body: bytes) -> None:
        """Look at a whole answer."""
        if _may_hold(body):
            self._see(body)

    def events(self, raw: bytes) -> None:
        """Look at some events."""
        if self._thoughts or _may_hold(raw):
            for event in sse.parse(raw):
                self._see(event.data)

    def _see(self, body: bytes) -> None:
        try:
            data = msgspec.json.decode(body)
        except (ValueError, RecursionError):
            return
        if not isinstance(data, dict):
            return
        for text in signed_in(data):
            self._note(text)
        kind, block = data.get("type"), str(data.get("index"))
        if kind in ("content_block_start", "content_block_delta"):
            self._think(block, data)
        elif kind == "content_block_stop" and block in self._thoughts:
            self._thought(*self._thoughts.pop(block))

    def _think(self, block: str, data: Mapping[str, Any]) -> None:
        """Keep a piece of a thought until its end tells whether it is signed."""
        piece = data.get("delta") or data.get("content_block")
        if not isinstance(piece, dict) or not piece.keys() & {"thinking", "signature"}:
            return
        said, signature = self._thoughts.setdefault(block, ([], []))
        said.append(str(piece.get("thinking") or ""))
        signature.append(str(piece.get("signature") or ""))

    def _thought(self, said: list[str], signature: list[str]) -> None:
        if any(signature):
            for text in ("".join(said), "".join(signature)):
                self._note(text)


def _may_hold(raw: bytes) -> bool:
    """Whether something signed may be in *raw*. Asked of every event, and so spelled out: a loop costs more."""
    return (
        b"thinking" in raw
        or b"signature" in raw
        or b"encrypted_" in raw
        or b"reasoning_items" in raw
        or b'"fingerprint"' in raw
    )


def signed_in(data: Any) -> Iterator[str]:
    """Every text in *data* that has to return as it is."""
    left: list[tuple[Any, bool]] = [(data, False)]
    while left:
        node, sealed = left.pop()
        if isinstance(node, list):
            left += [(each, sealed) for each in node]
        elif isinstance(node, dict):
            for name, value in node.items():
                inside = sealed or name in SEALED
                if not isinstance(value, str):
                    left.append((value, inside))
                elif value and (inside or is_signed(name, node)):
                    yield value


def is_signed(name: int | str, around: Mapping[str, Any]) -> bool:
    """Whether the member *name* of *around* holds a text that has to return as it is."""
    if name == "thinking":
        return bool(around.get("signature"))
    return name in SIGNED or (name == "data" and around.get("type") == "redacted_thinking")
