"""The way back: real values put into an answer, whole or streamed, wherever the model used their placeholders.

Decides what is put where. Where the texts of an answer are, and which of them go on from event to event, the forms
know. What a provider signed, and what clients match by name, comes back as it came; so does every byte that need not
change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from membrain import sse
from membrain.dialects.strings import Leaf, byte_spans, escaped, spliced, strings_of
from membrain.masking.forms import FORMS, SILENT, Form, Key, Kind, Over, Plain, Spot, at
from membrain.masking.signed import Watch
from membrain.pii.arguments import Arguments, Words
from membrain.pii.restore import Restorer
from membrain.pii.vault import MARK, Follows, Vault

Edit = tuple[int, int, bytes]

_MARK = MARK.encode()
_BYTES = re.compile(rb"\s*:\s*(\[[\d,\s]*\])")
_NUMBER = re.compile(rb"\s*:\s*(\d+)")
_DATA = re.compile(rb"^(?:\xef\xbb\xbf)?data: ?([^\r\n]*)|(?<=[\r\n])data: ?([^\r\n]*)")
_SEQUENCE = "sequence_number"


class _Named(msgspec.Struct):
    id: str = ""


class _Opening(_Named):
    """What tells the id of a response: the whole of it, or its first event."""

    response: _Named | None = None


_opening = msgspec.json.Decoder(_Opening).decode


class _Running:
    """A text that goes on, and the last event that added to it."""

    __slots__ = ("kind", "like", "restorer")

    def __init__(self, kind: Kind, restorer: Restorer) -> None:
        self.kind, self.restorer = kind, restorer
        self.like = b"{}"


class Answer:
    """One answer on its way back, in the words of *dialect*.

    *origins* are the (label, value, origin) that the request itself held; *consents* says of a tool's name whether it
    may be given any value inside a URL. With *gather* the texts are kept, as the model wrote them. *structured* means
    that the request wants JSON as the text. *signed* is told of every text that the provider signed.
    """

    def __init__(
        self,
        vault: Vault,
        origins: Collection[tuple[str, str, str]] = (),
        consents: Callable[[str], bool] = lambda _: False,
        *,
        dialect: str = "chat",
        gather: bool = False,
        structured: bool = False,
        signed: Callable[[str], None] | None = None,
    ) -> None:
        self._vault, self._origins, self._consents = vault, origins, consents
        self._form = FORMS.get(dialect, SILENT)
        self._said: list[bytes] | None = [] if gather and not self._form.silent else None
        self._structured = structured
        self._watch = None if signed is None else Watch(signed)
        self._running: dict[Key, _Running] = {}
        self._tools: dict[Key, str] = {}
        self._added = 0
        """How many events were added to those that are numbered."""
        self._unnamed = dialect == "responses"
        self.id: str | None = None
        """By what the provider calls this answer, if that is a response, once it has said so."""

    @property
    def origins(self) -> Collection[tuple[str, str, str]]:
        """What the request itself put into URLs."""
        return self._origins

    @property
    def vault(self) -> Vault:
        """What may be put back."""
        return self._vault

    @property
    def texts(self) -> dict[Key, str]:
        """The texts of the answer as the model wrote them, placeholders and all; none unless gathered."""
        return _gathered(self._form, b"".join(self._said or ()))

    @property
    def withheld(self) -> list[str]:
        """Labels of values that were kept out of their place."""
        return sorted(self._vault.withheld)

    def whole(self, body: bytes) -> bytes:
        """A whole answer, restored. What is no JSON object passes as it came."""
        if self._said is not None:
            self._said.append(sse.encode(body))
        if self._watch is not None:
            self._watch.whole(body)
        if self._unnamed:
            self._name(body)
        if not self._vault or self._form.silent or _MARK not in body:
            return body
        return self._restored(body, whole=True)[1]

    def events(self, raw: bytes) -> bytes:
        """Events of a stream, restored; what could be the beginning of a placeholder is held back."""
        if self._said is not None:
            self._said.append(raw)
        if self._watch is not None:
            self._watch.events(raw)
        if self._unnamed:
            for event in sse.parse(raw):
                self._name(event.data)
        if not self._vault or self._form.silent:
            return raw
        start = _start_of_data(raw)
        if start:
            return self._event(raw, start, len(raw) - 2)
        return b"".join(map(self._block, sse.blocks(raw)))

    def rest(self) -> bytes:
        """The events with what was still held back when the stream ended; empty if nothing was."""
        return self._tails(list(self._running), None)

    def _name(self, body: bytes) -> None:
        """Note the id that a response has."""
        try:
            found = _opening(body)
        except (ValueError, RecursionError):
            return
        self.id = (found.response or found).id or None
        self._unnamed = self.id is None

    def _block(self, block: bytes) -> bytes:
        """One event in its own bytes, comments before it included."""
        events = sse.parse(block)
        if len(events) != 1:
            return block
        lines = list(_DATA.finditer(block))
        if len(lines) == 1:
            return self._event(block, *lines[0].span(lines[0].lastindex or 0))
        event = events[0]
        before, after = self._restored(event.data)
        return before + (block if after == event.data else sse.encode(after, event.name))

    def _event(self, block: bytes, start: int, end: int) -> bytes:
        """One event whose data is block[start:end]."""
        body = block[start:end]
        if _MARK not in body and not self._added and (plain := self._form.plain(body)) is not None:
            return self._plain_event(block, start, end, plain)
        before, after = self._restored(body)
        return before + (block if after is body else block[:start] + after + block[end:])

    def _plain_event(self, block: bytes, start: int, end: int, plain: Plain) -> bytes:
        key, text, kind = plain
        if kind is None:
            return block
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = _Running(kind, self._restorer(Spot(key, kind, scope=key[:2])))
        running.like = block[start:end]
        new = running.restorer.feed(text)
        if new == text:
            return block
        return block[:start] + _with_texts(self._form, running.like, {key: new}) + block[end:]

    def _restored(self, body: bytes, *, whole: bool = False) -> tuple[bytes, bytes]:
        """Events that have to come before it, and *body* with every text in it restored as far as it can be.

        Itself if nothing changes.
        """
        try:
            data = msgspec.json.decode(body)
            is_echo = isinstance(data, dict) and self._form.is_echo(data)
            leaves = [] if is_echo and _MARK not in body and not self._added else strings_of(body)
        except (ValueError, RecursionError):
            return b"", body
        if not isinstance(data, dict):
            return b"", body
        over = _always if whole else self._form.over(data)
        edits = list(self._edits(leaves, _spots(self._form, leaves, data, marked=is_echo), over, body))
        ended = [key for key in self._running if over(key)] if over else []
        number = data.get(_SEQUENCE)
        number = number if type(number) is int else None
        tails = self._tails(ended, number)
        if self._added and number is not None:
            edits += _renumbered(leaves or strings_of(body), number + self._added)
        return tails, spliced(body, edits) if edits else body

    def _edits(
        self, leaves: Sequence[Leaf], spots: Mapping[int, Spot], over: Over | None, body: bytes
    ) -> Iterator[Edit]:
        """What has to be changed for the texts in *spots*, by their row."""
        for row, spot in spots.items():
            if spot.kind is Kind.NAME:
                self._tools[spot.scope] = leaves[row].text
        new: dict[int, str] = {}
        last: dict[Key, int] = {}
        for row, spot in spots.items():
            text = leaves[row].text
            if spot.goes_on:
                new[row], last[spot.key] = self._goes_on(spot, leaves[row], text, body), row
            elif MARK in text:
                restorer = self._restorer(spot, leaves[row])
                new[row] = restorer.feed(text) + restorer.flush()
        for key, row in last.items():
            if over and over(key):
                new[row] += self._running.pop(key).restorer.flush()
        for row, text in new.items():
            yield from _edit(leaves, row, text, is_token=spots[row].kind is Kind.TOKEN)

    def _goes_on(self, spot: Spot, leaf: Leaf, text: str, body: bytes) -> str:
        """A piece of a text that goes on in later events."""
        running = self._running.get(spot.key)
        if running is None:
            running = self._running[spot.key] = _Running(spot.kind, self._restorer(spot, leaf))
        running.like = body
        return running.restorer.feed(text)

    def _restorer(self, spot: Spot, leaf: Leaf | None = None) -> Restorer:
        """What restores the text at *spot*; *leaf* is the string it is in, or begins in."""
        kind = spot.kind
        if kind not in {Kind.ARGUMENTS, Kind.WORDS}:
            return Restorer(self._vault, json_escaped=self._structured and kind is Kind.SAID)
        follows: Follows | None = None
        if not self._consents(self._tools.get(spot.scope, "")):
            is_json = kind is Kind.ARGUMENTS
            follows = Arguments(self._origins) if is_json else Words(self._origins, _member(leaf))
        return Restorer(self._vault, json_escaped=kind is Kind.ARGUMENTS, follows=follows)

    def _tails(self, keys: Sequence[Key], number: int | None) -> bytes:
        """Events with what was held back of these texts; *number* is that of the event before which they come."""
        told: list[bytes] = []
        for key in keys:
            running = self._running.pop(key)
            tail = running.restorer.flush()
            if not tail or running.kind is Kind.TOKEN:
                continue
            name, event = self._form.more(msgspec.json.decode(running.like), key, tail)
            if type(event.get(_SEQUENCE)) is int:
                event[_SEQUENCE] = (event[_SEQUENCE] + 1 if number is None else number) + self._added
                self._added += 1
            told.append(sse.encode(msgspec.json.encode(event), name))
        return b"".join(told)


_FORMATS: Final = (
    ("response_format",),
    ("text", "format"),
    ("output_config", "format"),
    ("output_format",),
)
"""Where a request says that it wants JSON, in whichever dialect."""


def wants_json(request: Mapping[str, Any]) -> bool:
    """Whether *request* wants JSON as the text of the answer."""
    kinds = (at(request, path).get("type") for path in _FORMATS)
    return any(kind in ("json_schema", "json_object") for kind in kinds)


def _always(_: Key) -> bool:
    return True


def _start_of_data(raw: bytes) -> int:
    """Where the data begins, if *raw* is one event of a name, if any, and one line of data; else 0."""
    if b"\r" in raw:
        return 0
    start = 0 if raw.startswith(b"data: ") else raw.find(b"\n") + 1
    if not raw.startswith(b"data: ", start) or (start and not raw.startswith(b"event:")):
        return 0
    return start + 6 if raw.find(b"\n", start) == len(raw) - 2 and raw.endswith(b"\n\n") else 0


def _spots(form: Form, leaves: Sequence[Leaf], data: Mapping[str, Any], *, marked: bool = False) -> dict[int, Spot]:
    """How to read each string that is not empty and may be touched, by its row.

    With *marked* only those that may hold a placeholder, or a part of one.
    """
    spots = (
        (row, form.spot(leaf.path, data, is_key=leaf.is_key))
        for row, leaf in enumerate(leaves)
        if leaf.end - leaf.start > 2 and not (marked and _is_bare(leaf))
    )
    return {row: spot for row, spot in spots if spot is not None}


def _is_bare(leaf: Leaf) -> bool:
    """Whether it holds no placeholder, and is neither a piece of one nor the name of what is given one."""
    return leaf.place not in ("name", "token") and leaf.body.find(_MARK, leaf.start, leaf.end) < 0


def _member(leaf: Leaf | None) -> str:
    """The name of the member that a string is in."""
    path = leaf.path if leaf is not None else ()
    return next((step for step in reversed(path) if isinstance(step, str)), "")


def _edit(leaves: Sequence[Leaf], row: int, new: str, *, is_token: bool) -> Iterator[Edit]:
    """The edits that put *new* into a string, and beside a token the bytes of it."""
    leaf, old = leaves[row], leaves[row].text
    if new == old:
        return
    first, last = _changed(old, new)
    [(start, end)] = byte_spans(leaf, [(first, len(old) - last)])
    said = new[first : len(new) - last]
    yield start, end, json.dumps(said)[1:-1].encode() if _spells_out(leaf.raw) else escaped(said)
    if is_token:
        yield from _bytes_of(leaves, row, new)


def _changed(old: str, new: str) -> tuple[int, int]:
    """How many signs at the beginning, and how many at the end, are the same in both."""
    most = min(len(old), len(new))
    first = _most(most, lambda begin, end: old[begin:end] == new[begin:end])
    more = len(new) - len(old)
    ends = len(old)
    last = _most(
        most - first,
        lambda begin, end: old[ends - end : ends - begin] == new[ends + more - end : ends + more - begin],
    )
    return first, last


def _most(most: int, agree: Callable[[int, int], bool]) -> int:
    """How far it goes that they *agree*, which is asked of ever smaller pieces: whole ones compare at once."""
    least = 0
    while least < most:
        half = (least + most + 1) // 2
        if agree(least, half):
            least = half
        else:
            most = half - 1
    return least


def _spells_out(raw: bytes) -> bool:
    """Whether who wrote this string writes what is not ASCII as an escape."""
    return rb"\u" in raw and raw.isascii()


def _bytes_of(leaves: Sequence[Leaf], row: int, token: str) -> Iterator[Edit]:
    """The edit of the `bytes` that stand beside a token."""
    here = leaves[row].around
    for leaf in leaves[row + 1 :]:
        if leaf.place == "bytes" and leaf.is_key and leaf.around is here:
            found = _BYTES.match(leaf.body, leaf.end)
            if found:
                yield *found.span(1), b"[" + b",".join(b"%d" % each for each in token.encode("utf-8", "replace")) + b"]"
            return
        if leaf.place == "token" and leaf.around is not here:
            return


def _renumbered(leaves: Sequence[Leaf], number: int) -> Iterator[Edit]:
    """The edit that gives an event its *number*."""
    for leaf in leaves:
        if leaf.is_key and leaf.place == _SEQUENCE and leaf.path == (_SEQUENCE,):
            if found := _NUMBER.match(leaf.body, leaf.end):
                yield *found.span(1), b"%d" % number
            return


def _gathered(form: Form, raw: bytes) -> dict[Key, str]:
    """The texts in these events, by key, put together. Those that do not go on have the event's number behind."""
    found: dict[Key, list[str]] = {}
    for number, event in enumerate(sse.parse(raw)):
        if (plain := form.plain(event.data)) is not None:
            if plain[2] is not None:
                found.setdefault(plain[0], []).append(plain[1])
            continue
        try:
            data, leaves = msgspec.json.decode(event.data), strings_of(event.data)
        except (ValueError, RecursionError):
            continue
        if isinstance(data, dict):
            for key, row in _texts_in(_spots(form, leaves, data), leaves, form, number):
                found.setdefault(key, []).append(leaves[row].text)
    return {key: "".join(parts) for key, parts in found.items()}


def _texts_in(spots: Mapping[int, Spot], leaves: Sequence[Leaf], form: Form, number: int) -> Iterator[tuple[Key, int]]:
    """The key and the row of each text that is the answer's own, tokens apart."""
    for row, spot in spots.items():
        if spot.kind is not Kind.TOKEN and not leaves[row].is_key and form.is_new(spot.key):
            yield (spot.key if spot.goes_on else (*spot.key, number)), row


def rewritten(raw: bytes, texts: Mapping[Key, str], *, whole: bool, dialect: str = "chat") -> bytes:
    """An answer, whole or all events of a stream, with other *texts*, by key.

    A text that came in pieces stands whole in the first of them. Tokens are emptied: they would tell what was there.
    """
    form, left = FORMS.get(dialect, SILENT), dict(texts)
    if whole:
        return _with_texts(form, raw, left)
    told: list[bytes] = []
    number = 0
    for block in sse.blocks(raw):
        events = sse.parse(block)
        told += [
            sse.encode(
                _with_texts(form, event.data, left, number + row) if event.data[:1] == b"{" else event.data, event.name
            )
            for row, event in enumerate(events)
        ] or [block]
        number += len(events)
    return b"".join(told)


def _with_texts(form: Form, body: bytes, left: dict[Key, str], number: int = 0) -> bytes:
    """*body* with the texts *left*; each is used up where it first stands."""
    data, leaves = msgspec.json.decode(body), strings_of(body)
    spots = _spots(form, leaves, data)
    edits: list[Edit] = []
    for row in (row for row, spot in spots.items() if spot.kind is Kind.TOKEN):
        edits += _edit(leaves, row, str(row) if leaves[row].is_key else "", is_token=True)
    for key, row in _texts_in(spots, leaves, form, number):
        if key in left:
            edits += _edit(leaves, row, left[key], is_token=False)
            left[key] = ""
    return spliced(body, edits)
