"""What was masked in exchanges that a provider keeps, for those that go on from them and no longer send it.

In memory only: by the id of a response or conversation and by project, so many and for so long. Values are put into no
repr, and an id of another project's is as good as none.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from membrain.pii.vault import Vault

MOST = 2048
SECONDS = 24 * 3600.0
"""How many are kept, and for how long after they were last added to."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one stored response, or conversation, has to be read with."""

    project: str
    provider: str
    """Where it is stored."""
    vault: Vault
    """What was masked up to there."""
    origins: frozenset[tuple[str, str, str]] = field(repr=False)
    """(label, value, origin) of values that stood in a URL of that origin."""


class Kept:
    """Memories by id and project; the oldest go first. For the event loop only."""

    __slots__ = ("_clock", "_memories", "_most", "_seconds")

    def __init__(self, most: int = MOST, seconds: float = SECONDS, clock: Callable[[], float] = monotonic) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._memories: OrderedDict[tuple[str, str], tuple[float, Memory]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._memories)

    def __repr__(self) -> str:
        return f"Kept({len(self)})"

    def keep(
        self, id: str, project: str, provider: str, vault: Vault, origins: Collection[tuple[str, str, str]] = ()
    ) -> None:
        """Remember that *provider* keeps *id*, and what was masked for it.

        What was known of *id* is added to: a conversation has many exchanges. *vault* is not copied.
        """
        before = self.of(id, project)
        if before is not None and before.vault is not vault:
            vault.adopt(before.vault)
            origins = {*origins, *before.origins}
        due = self._clock() + self._seconds
        self._memories[project, id] = due, Memory(project, provider, vault, frozenset(origins))
        self._memories.move_to_end((project, id))
        while len(self._memories) > self._most:
            self._memories.popitem(last=False)

    def of(self, id: str, project: str) -> Memory | None:
        """What is known of *id* in *project*; None if nothing is, or not any more."""
        due, memory = self._memories.get((project, id), (0.0, None))
        if memory is not None and due <= self._clock():
            del self._memories[project, id]
            return None
        return memory

    def forget(self, id: str, project: str) -> None:
        """Know nothing more of *id*: it was deleted."""
        self._memories.pop((project, id), None)
