"""The way back: real values put into an answer, whole or streamed, wherever the model used their placeholders.

Knows where the texts of an answer are, by the names of their members; which of them go on from event to event, and
which are JSON inside of JSON. What a provider signed, and what clients match by name, comes back as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from membrain import sse
from membrain.dialects.strings import Leaf, escaped, spliced, strings_of
from membrain.masking.texts import SIGNED
from membrain.pii.arguments import Arguments
from membrain.pii.restore import Restorer
from membrain.pii.vault import MARK, Vault

Key = tuple[Any, ...]
"""Which text of an answer: the names down to it; items of lists by their `index`, or by their place."""

Edit = tuple[int, int, bytes]

_ARGUMENTS = frozenset({"arguments", "partial_json"})
"""Members that hold JSON as text, or a piece of it."""

_AS_IT_CAME = SIGNED | {
    "thinking", "id", "model", "object", "role", "type", "finish_reason", "system_fingerprint", "service_tier",
}  # fmt: skip
"""Members that hold no text, or one that is signed: it has to return to the provider as it came."""

_MARK = MARK.encode()

_TOKEN = "token"  # noqa: S105  # a piece of text, not a password
_BYTES = re.compile(rb"\s*:\s*(\[[\d,\s]*\])")


class _Delta(msgspec.Struct, forbid_unknown_fields=True):
    content: str
    role: str | None = None
    refusal: None = None


class _Choice(msgspec.Struct, forbid_unknown_fields=True):
    delta: _Delta
    index: int = 0
    finish_reason: None = None
    logprobs: None = None


class _Plain(msgspec.Struct):
    """Nearly every event of nearly every stream: a piece of one choice's content, and nothing else to restore."""

    choices: tuple[_Choice]


_plain = msgspec.json.Decoder(_Plain).decode


def _plain_choice(body: bytes) -> _Choice | None:
    """The one choice of a plain event; None for any other, which takes the longer road."""
    try:
        return _plain(body).choices[0]
    except (ValueError, RecursionError):
        return None


class Answer:
    """One answer on its way back.

    *origins* are the (label, value, origin) that the request itself held; *consents* says of a tool's name whether it
    may be given any value inside a URL. With *gather* the texts are kept, as the model wrote them.
    """

    def __init__(
        self,
        vault: Vault,
        origins: Collection[tuple[str, str, str]] = (),
        consents: Callable[[str], bool] = lambda _: False,
        *,
        gather: bool = False,
    ) -> None:
        self._vault = vault
        self._origins = origins
        self._consents = consents
        self._said: list[bytes] | None = [] if gather else None
        self._running: dict[Key, Restorer] = {}
        self._tools: dict[Key, str] = {}
        self._like = b"{}"
        self._done: frozenset[Any] = frozenset()

    @property
    def texts(self) -> dict[Key, str]:
        """The texts of the answer as the model wrote them, placeholders and all; none unless gathered."""
        return _gathered(b"".join(self._said or ()))

    @property
    def withheld(self) -> list[str]:
        """Labels of values that were kept out of their place."""
        return sorted(self._vault.withheld)

    def whole(self, body: bytes) -> bytes:
        """A whole answer, restored. What is no JSON object passes as it came."""
        self._keep(sse.encode(body))
        if not self._vault:
            return body
        body = self._restored(body)
        self._running.clear()
        return body

    def events(self, raw: bytes) -> bytes:
        """Events of a stream, restored; what could be the beginning of a placeholder is held back."""
        self._keep(raw)
        if not self._vault:
            return raw
        if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
            return self._event(raw, raw[6:-2], None)
        blocks = [raw] if b"\r" in raw else [block + b"\n\n" for block in raw.split(b"\n\n") if block]
        return b"".join(self._block(block) for block in blocks)

    def rest(self) -> bytes:
        """The events with what was still held back when the stream ended; empty if nothing was."""
        return self._tails(list(self._running))

    def _keep(self, raw: bytes) -> None:
        if self._said is not None:
            self._said.append(raw)

    def _block(self, block: bytes) -> bytes:
        """Some lines that end in a blank one: as they are if nothing in them changes, comments too."""
        events = sse.parse(block)
        before = [sse.encode(event.data, event.name) for event in events]
        after = [self._event(raw, event.data, event.name) for raw, event in zip(before, events, strict=True)]
        return block if before == after else b"".join(after)

    def _event(self, raw: bytes, body: bytes, name: str | None) -> bytes:
        plain = None if _MARK in body else _plain_choice(body)
        if plain is not None:
            return self._plain_event(raw, body, name, plain)
        new = self._restored(body)
        ended = [key for key in self._running if key[1] in self._done] if self._done else []
        return self._tails(ended) + (raw if new is body else sse.encode(new, name))

    def _plain_event(self, raw: bytes, body: bytes, name: str | None, plain: _Choice) -> bytes:
        key = ("choices", plain.index, "delta", "content")
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = Restorer(self._vault)
        self._like = body
        text = plain.delta.content
        new = running.feed(text)
        return raw if new == text else sse.encode(_with_texts(body, {key: new}), name)

    def _restored(self, body: bytes) -> bytes:
        """*body* with every text in it restored as far as it can be; itself if nothing changes."""
        try:
            data, leaves = msgspec.json.decode(body), strings_of(body)
        except (ValueError, RecursionError):
            return body
        if not isinstance(data, dict):
            return body
        self._like, self._done = body, _done(data)
        edits: list[Edit] = []
        for row, leaf in enumerate(leaves):
            if not leaf.is_key and leaf.place not in _AS_IT_CAME and leaf.end - leaf.start > 2:
                edits += self._edits(leaves, row, data)
        return spliced(body, edits) if edits else body

    def _edits(self, leaves: Sequence[Leaf], row: int, data: Mapping[str, Any]) -> Iterator[Edit]:
        """What has to be changed for the text in *row*."""
        leaf = leaves[row]
        path, text = leaf.path, leaf.text
        key = _key(path, data)
        new = self._running_text(key, path, data, text) if _goes_on(path) else self._text(key, path, data, text)
        if new != text:
            yield leaf.start + 1, leaf.end - 1, escaped(new)
            if path[-1] == _TOKEN:
                yield from _bytes_of(leaves, row, new)

    def _text(self, key: Key, path: Sequence[Any], data: Mapping[str, Any], text: str) -> str:
        """A text that is here as a whole."""
        if path[-1] == "name":
            self._tools[key[:-1]] = text
        if path[-1] not in _ARGUMENTS:
            return self._vault.restore(text)
        restorer = self._restorer(key, path, data)
        return restorer.feed(text) + restorer.flush()

    def _running_text(self, key: Key, path: Sequence[Any], data: Mapping[str, Any], text: str) -> str:
        """A piece of a text that goes on in later events."""
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = self._restorer(key, path, data)
        if key[1] not in self._done:
            return running.feed(text)
        del self._running[key]
        return running.feed(text) + running.flush()

    def _restorer(self, key: Key, path: Sequence[Any], data: Mapping[str, Any]) -> Restorer:
        if path[-1] not in _ARGUMENTS:
            return Restorer(self._vault)
        tool = _at(data, path[:-1]).get("name") or self._tools.get(key[:-1], "")
        follows = None if isinstance(tool, str) and self._consents(tool) else Arguments(self._origins)
        return Restorer(self._vault, json_escaped=True, follows=follows)

    def _tails(self, keys: Sequence[Key]) -> bytes:
        """Events with what was held back of these texts."""
        held = [(key, self._running.pop(key).flush()) for key in keys]
        like: Mapping[str, Any] = msgspec.json.decode(self._like) if held else {}
        return b"".join(_event_with(like, key, tail) for key, tail in held if tail and key[-1] != _TOKEN)


def _gathered(raw: bytes) -> dict[Key, str]:
    """The texts in these events, by key, put together."""
    found: dict[Key, list[str]] = {}
    for event in sse.parse(raw):
        if (plain := _plain_choice(event.data)) is not None:
            found.setdefault(("choices", plain.index, "delta", "content"), []).append(plain.delta.content)
            continue
        try:
            data, leaves = msgspec.json.decode(event.data), strings_of(event.data)
        except (ValueError, RecursionError):
            continue
        for leaf in leaves if isinstance(data, dict) else ():
            if not leaf.is_key and leaf.place not in _AS_IT_CAME and _TOKEN not in (path := leaf.path):
                found.setdefault(_key(path, data), []).append(leaf.text)
    return {key: "".join(parts) for key, parts in found.items()}


def _done(data: Mapping[str, Any]) -> frozenset[Any]:
    """The choices that say in this event that they are over."""
    choices = data.get("choices")
    if not isinstance(choices, list):
        return frozenset()
    rows = (row for row, each in enumerate(choices) if isinstance(each, dict) and each.get("finish_reason"))
    return frozenset(choices[row].get("index", row) for row in rows)


def _goes_on(path: Sequence[Any]) -> bool:
    """Whether the text at *path* is a piece of a longer one."""
    if path[-1] == _TOKEN:
        return "top_logprobs" not in path
    return "delta" in path and isinstance(path[-1], str) and path[-1] != "name"


def _key(path: Sequence[Any], data: Mapping[str, Any]) -> Key:
    """*path* with the items of lists by the index that they say themselves; all tokens of a list are one text."""
    node: Any = data
    key: list[Any] = []
    for step in path:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):  # a member that is there twice hides the one this path goes by
            node = None
        said = node.get("index") if isinstance(step, int) and isinstance(node, dict) else None
        key.append(said if isinstance(said, int) else step)
    if key[-1] == _TOKEN and len(key) > 1:
        del key[-2]
    return tuple(key)


def _at(data: Mapping[str, Any], path: Sequence[Any]) -> Mapping[str, Any]:
    """The object at *path*; an empty one if there is none."""
    node: Any = data
    for step in path:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            return {}
    return node if isinstance(node, dict) else {}


def _bytes_of(leaves: Sequence[Leaf], row: int, token: str) -> Iterator[Edit]:
    """The edit of the `bytes` that stand beside a token."""
    here = leaves[row].around
    for at in range(row + 1, len(leaves)):
        leaf = leaves[at]
        if leaf.place == "bytes" and leaf.is_key and leaf.around is here:
            found = _BYTES.match(leaf.body, leaf.end)
            if found:
                yield *found.span(1), b"[" + b",".join(b"%d" % each for each in token.encode("utf-8", "replace")) + b"]"
            return
        if leaf.place == _TOKEN and leaf.around is not here:
            return


def _event_with(like: Mapping[str, Any], key: Key, text: str) -> bytes:
    """An event in the manner of *like* that adds *text* to the running text *key*."""
    node: Any = text
    for step in reversed(key[1:]):
        node = [{"index": step, **node}] if isinstance(step, int) else {step: node}
    event = {name: value for name, value in like.items() if name not in {"choices", "usage"}}
    event[key[0]] = node
    if key[0] == "choices":
        node[0]["finish_reason"] = None
    return sse.encode(msgspec.json.encode(event))


def rewritten(raw: bytes, texts: Mapping[Key, str], *, whole: bool) -> bytes:
    """An answer, whole or all events of a stream, with other *texts*, by key.

    A text that came in pieces stands whole in the first of them. Tokens are emptied: they would tell what was there.
    """
    left = dict(texts)
    if whole:
        return _with_texts(raw, left)
    return b"".join(
        sse.encode(_with_texts(event.data, left) if event.data.startswith(b"{") else event.data, event.name)
        for event in sse.parse(raw)
    )


def _with_texts(body: bytes, left: dict[Key, str]) -> bytes:
    data, leaves = msgspec.json.decode(body), strings_of(body)
    edits: list[Edit] = []
    for row, leaf in enumerate(leaves):
        if leaf.is_key or leaf.place in _AS_IT_CAME:
            continue
        path = leaf.path
        if path[-1] == _TOKEN:
            edits += [(leaf.start + 1, leaf.end - 1, b""), *_bytes_of(leaves, row, "")]
        elif (key := _key(path, data)) in left:
            edits.append((leaf.start + 1, leaf.end - 1, escaped(left[key])))
            left[key] = ""
    return spliced(body, edits)
