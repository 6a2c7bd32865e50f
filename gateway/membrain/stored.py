"""Responses that a provider keeps, asked for by their ids: fetched, read back, cancelled, deleted.

For: finding who keeps an id, handing the question on, and putting back what the id's own project had masked. What is
not known here (any more) is there for admins only, who are told what the provider has, placeholders and all.

It is a way out, but nothing of the user's goes it: an id that a provider made, and parameters of a few known forms. So
there is nothing to mask, nothing to pay and nothing to put on record; a private caller is refused all the same.

Not for: HTTP (`api/stored.py`), nor for requests that go on from a response, but for whether they may (`known`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from membrain.errors import NotCovered, NotFound
from membrain.masking.answer import Answer
from membrain.masking.kept import Kept, Memory
from membrain.providers.openai import OpenAIProvider
from membrain.providers.registry import Registry
from membrain.records import Caller, Passport

_OPENAIS: Final = re.compile(r"resp_[0-9a-zA-Z]{8,128}")
"""An id that OpenAI may have made. Those that others make are asked for only where they came through here."""


_CHANGED: Final = frozenset({"redact", "block"})


class Policy(NamedTuple):
    """What the settings say of answers."""

    answers: str
    """What is done about private values in them. Where they are changed, what is stored is not."""
    url_tools: Sequence[str] = ()
    """Names, or patterns, of tools that may be given any value inside a URL."""

    def consents(self, tool: str) -> bool:
        """Whether *tool* is one of them."""
        return any(fnmatchcase(tool, each) for each in self.url_tools)


class Stored:
    """What is kept elsewhere, by its id."""

    def __init__(self, registry: Registry, kept: Kept, policy: Callable[[], Policy]) -> None:
        """*policy* is asked each time, as the settings may be read anew."""
        self._registry = registry
        self._kept = kept
        self._policy = policy

    def known(self, id: str, caller: Caller) -> Memory | None:
        """What has to be known to read *id*; None if only its provider knows it, and *caller* may ask there.

        `NotFound` if *caller* may not know of it: as if it did not exist.
        """
        memory = self._kept.of(id, caller.project)
        if memory is None and not caller.admin:
            raise _unknown()
        return memory

    async def ask(self, method: str, id: str, rest: str, caller: Caller, *, private: bool = False) -> bytes:
        """What the provider that keeps *id* says to *method*; *rest* is what stands behind the id.

        Raises what the provider refused with, `NotFound` for an id that is not *caller*'s, `NotCovered` where the
        policy would have the answer changed, `PrivateRefused` if the caller is *private* and it is kept elsewhere.
        """
        memory = self.known(id, caller)
        provider = self._keeper(memory)
        if provider is None or (memory is None and not _OPENAIS.fullmatch(id)):
            raise _unknown()
        policy = self._policy()
        if method != "DELETE" and policy.answers in _CHANGED:
            raise NotCovered("Private values in answers are masked or blocked here, which stored ones cannot be yet.")
        passport = Passport("", written=True, looked=True, private=private or caller.rights.private)
        body = await provider.stored(method, f"{id}{rest}", passport)
        if method == "DELETE":
            self._kept.forget(id, caller.project)
        if memory is None:
            return body
        return Answer(memory.vault, memory.origins, policy.consents, dialect="responses").whole(body)

    def _keeper(self, memory: Memory | None) -> OpenAIProvider | None:
        """Who keeps what *memory* is of, if that is somebody who keeps responses."""
        provider = self._registry.providers.get(memory.provider if memory else "openai")
        if isinstance(provider, OpenAIProvider) and "responses" in provider.speaks(""):
            return provider
        return None


def _unknown() -> NotFound:
    return NotFound("There is no such response here.", param="id")
