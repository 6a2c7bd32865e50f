"""Values put back into a text that comes in pieces.

Whatever the pieces, what comes out is what `Vault.restore` makes of the whole. Held back is only what could still
become a placeholder of this very vault, so never more than the length of one. Every text that streams on its own (as
a choice's content or a tool call's arguments do) has a restorer of its own; which texts those are, the dialects know.
"""

from __future__ import annotations

from collections.abc import Collection

from membrain.pii.vault import MARK, Follows, Vault, open_escape


class Restorer:
    """One streamed text on its way back. With *json_escaped* it is JSON, as a tool call's arguments are.

    Values under a label in *withhold* stay placeholders, and those that *follows* keeps out of their place.
    """

    __slots__ = ("_escape", "_follows", "_held", "_vault", "_withhold")

    def __init__(
        self,
        vault: Vault,
        *,
        json_escaped: bool = False,
        withhold: Collection[str] = (),
        follows: Follows | None = None,
    ) -> None:
        self._vault = vault
        self._follows = follows
        self._escape = "" if json_escaped else None
        self._withhold = withhold
        self._held = ""

    def __repr__(self) -> str:
        return f"Restorer(holding {len(self._held)} characters)"

    @property
    def holding(self) -> int:
        """How many characters are held back."""
        return len(self._held)

    def feed(self, text: str) -> str:
        """What can be shown, restored, now that *text* has come."""
        if not self._vault:
            return text
        whole = self._held + text
        done, begin = "", 0
        if MARK in whole:
            done, begin = self._vault.replaced(
                whole, escape=self._escape, withhold=self._withhold, follows=self._follows
            )
        cut = self._vault.tail(whole, begin, self._escape)
        if self._follows is not None:
            self._follows.advance(whole[begin:cut])
        self._held = whole[cut:]
        self._escape = open_escape(self._escape, whole, cut) if self._escape is not None else None
        return done + whole[begin:cut]

    def flush(self) -> str:
        """What was held back, as it came: the text is at its end, and a broken placeholder is not a value."""
        held, self._held = self._held, ""
        if held:
            self._vault.note_end(held)
        return held
