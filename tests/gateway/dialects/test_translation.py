"""Every way from one dialect into another: however the upstream's stream is cut, the caller is told the same,
and streamed it is what it would have been whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec
import pytest

from membrain import sse
from membrain.dialects.base import Event, Json, Said, event_object
from membrain.dialects.table import DIALECTS
from membrain.dialects.translation import PAIRS, TRANSLATIONS, between
from membrain.errors import ProviderFailed
from tests.scripts.recorded import SCRIPTS, Script, in_pieces, one_cut, read
from tests.scripts.spoken import put_together, spoken_in

NOW = 1_763_800_000
WAYS = [
    (asked, spoken, script) for asked, spoken in TRANSLATIONS for script in SCRIPTS if script.dialect == spoken
]  # fmt: skip


def named(value: object) -> str:
    return str(value)


every = pytest.mark.parametrize(("asked", "spoken", "script"), WAYS, ids=named)
sound = pytest.mark.parametrize(("asked", "spoken", "script"), [way for way in WAYS if way[2].error is None], ids=named)
recorded = pytest.mark.parametrize(("asked", "spoken", "script"), [way for way in WAYS if way[2].whole], ids=named)

BARE = {
    "short",
    "crlf",
    "cr",
    "bom",
    "no_blank_line",
    "no_done",
    "names_only",
    "multi_line_data",
    "mixed_line_ends",
    "separators",
}
"""Scripts about line ends: their events have too little in them to be told in other words."""

USAGE = {"stream_options": {"include_usage": True}}
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
ASKS: Mapping[str, Json] = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "Hello"}], **USAGE},
    "messages": {"model": "m", "max_tokens": 2048, "messages": [{"role": "user", "content": "Hello"}], **THINKING},
    "responses": {"model": "m", "input": "Hello"},
    "completions": {"model": "m", "prompt": "Hello", **USAGE},
}
"""Callers who want to be told all there is."""


def asks(asked: str, *, stream: bool) -> Json:
    told = {name: value for name, value in ASKS[asked].items() if stream or name not in USAGE}
    return {**told, "stream": stream}


# --- the two ways back, as a provider goes them


def upstream(asked: str, spoken: str) -> Said:
    """What the upstream is asked."""
    body = TRANSLATIONS[asked, spoken].request(asks(asked, stream=True))
    return Said(spoken, msgspec.json.encode(body), body, "m", stream=True)


@dataclass
class Told:
    """What a caller is told of one stream."""

    events: list[Event] = field(default_factory=list)
    failed: str | None = None
    """Why there is no more of it."""

    @property
    def data(self) -> list[Json]:
        return [data for _, data in self.events]


def streamed(asked: str, spoken: str, pieces: Sequence[bytes]) -> Told:
    """The caller's events for an upstream's stream that arrives in *pieces*."""
    translation, heard, told = TRANSLATIONS[asked, spoken], read(upstream(asked, spoken), pieces), Told()
    events = translation.events(asks(asked, stream=True), created=NOW)
    try:
        for event in (event for raw in heard.pieces for event in sse.parse(raw) if event.data.startswith(b"{")):
            told.events += events.feed(event.name, event_object(event.data))
        told.failed = heard.failure or heard.error
        told.events += [] if told.failed else events.end()
    except ProviderFailed as failed:
        told.failed = failed.message
    return told


@cache
def at_once(asked: str, spoken: str, script: Script) -> Told:
    """The caller's events for a stream that comes in one piece."""
    return streamed(asked, spoken, [script.raw])


def written(asked: str, events: list[Event]) -> bytes:
    raw = b"".join(sse.encode(msgspec.json.encode(data), name) for name, data in events)
    return raw + DIALECTS[asked].end()


# --- the claims


@every
def test_the_caller_is_told_the_same_however_the_stream_is_cut(asked: str, spoken: str, script: Script) -> None:
    if script.name in BARE:
        return
    whole = at_once(asked, spoken, script)
    assert whole.failed == script.error
    for pieces in [*one_cut(script.raw), in_pieces(script.raw, 1), in_pieces(script.raw, 50)]:
        assert streamed(asked, spoken, pieces) == whole


@recorded
def test_a_stream_says_what_the_whole_answer_says(asked: str, spoken: str, script: Script) -> None:
    assert script.whole
    data = TRANSLATIONS[asked, spoken].whole(script.whole, asks(asked, stream=False), created=NOW)
    assert spoken_in(asked, *at_once(asked, spoken, script).data) == spoken_in(asked, data)


@recorded
def test_the_end_of_a_response_says_all_of_it_again(asked: str, spoken: str, script: Script) -> None:
    if asked != "responses":
        return
    told = at_once(asked, spoken, script).data
    assert spoken_in(asked, told[-1]["response"]) == spoken_in(asked, *told)


@recorded
def test_what_is_told_in_other_words_is_what_was_said(asked: str, spoken: str, script: Script) -> None:
    """Nothing of a text or of a tool's arguments gets lost on the way."""
    assert script.whole
    said = spoken_in(spoken, script.whole)
    again = spoken_in(asked, *at_once(asked, spoken, script).data)
    assert again["text"] + again["refusal"] == said["text"] + said["refusal"]
    if asked == "completions":  # which have no word for anything else
        return
    assert again["calls"] == said["calls"]
    assert again["thought"] == said["thought"]


@sound
def test_a_translated_stream_reads_as_one_that_came_to_its_end(asked: str, spoken: str, script: Script) -> None:
    """With the tokens of the upstream; what its caller has no word for is counted before it is translated."""
    if script.name in BARE:
        return
    events = at_once(asked, spoken, script)
    said = Said(asked, b"{}", {"stream_options": {"include_usage": True}}, "m", stream=True)
    heard = read(said, in_pieces(written(asked, events.events), 997))
    assert heard.is_whole
    if script.tokens is not None:
        assert heard.tokens is not None
        assert (heard.tokens.prompt, heard.tokens.completion) == (script.tokens.prompt, script.tokens.completion)
        assert heard.tokens.cached in {script.tokens.cached, 0}


@every
def test_a_translated_stream_that_breaks_off_has_no_end(asked: str, spoken: str, script: Script) -> None:
    """Nor anything that looks like one."""
    if script.name in BARE:
        return
    last = at_once(asked, spoken, script).data[-1] if script.error is None else {}
    blocks = sse.blocks(script.raw)
    for count in range(len(blocks) // 2):
        told = streamed(asked, spoken, blocks[:count])
        assert told.failed
        assert last not in told.data
        raw = written(asked, told.events).removesuffix(DIALECTS[asked].end())
        heard = read(Said(asked, b"{}", {}, "m", stream=True), [raw])
        assert not heard.is_whole


@sound
def test_nothing_that_streams_is_held_back(asked: str, spoken: str, script: Script) -> None:
    """A piece of a text in, a piece of a text out, and no sooner than that. Only blocks of a message take turns."""
    names = {"text", "tools", "thinking", "reasoning"} | ({"parallel_tools"} if asked != "messages" else set())
    if script.name not in names:
        return
    said = upstream(asked, spoken)
    events = TRANSLATIONS[asked, spoken].events(asks(asked, stream=True), created=NOW)
    for raw in read(said, in_pieces(script.raw, 1)).pieces:
        for event in sse.parse(raw):
            if not event.data.startswith(b"{"):
                continue
            data = event_object(event.data)
            new = spoken_in_fragments(spoken, data)
            out = "".join(spoken_in_fragments(asked, each) for _, each in events.feed(event.name, data))
            assert not new or asked == "completions" or out == new, (new, out)


def spoken_in_fragments(dialect: str, data: Json) -> str:
    """All text in one event, arguments too."""
    spoken = put_together(dialect, data)
    return spoken.text + spoken.thought + "".join(arguments for _, arguments in spoken.calls.values())


@pytest.mark.parametrize(("asked", "spoken"), TRANSLATIONS)
def test_a_request_is_not_changed_by_being_translated(asked: str, spoken: str) -> None:
    body = asks(asked, stream=True)
    before = json.dumps(body)
    made = TRANSLATIONS[asked, spoken].request(body)
    assert json.dumps(body) == before
    assert (made["model"], made["stream"]) == ("m", True)


# --- the table


def test_chat_is_the_hub() -> None:
    """Whatever two pairs reach together is there."""
    pairs = {(pair.asked, pair.to) for pair in PAIRS}
    reached = {
        (asked, to) for asked, middle in pairs for other, to in pairs if middle == other == "chat" and asked != to
    }
    assert TRANSLATIONS.keys() == pairs | reached


@pytest.mark.parametrize(("asked", "spoken"), TRANSLATIONS)
def test_a_way_ends_where_it_says(asked: str, spoken: str) -> None:
    assert TRANSLATIONS[asked, spoken].to == spoken
    assert between(asked, [spoken]) is TRANSLATIONS[asked, spoken]
    assert between(asked, ["embeddings", spoken]) is TRANSLATIONS[asked, spoken]


def test_where_there_is_no_way_there_is_none() -> None:
    assert between("chat", []) is None
    assert between("embeddings", ["chat", "messages"]) is None
    assert between("chat", ["embeddings"]) is None


def test_the_best_way_is_the_providers_first() -> None:
    translation = between("completions", ["messages", "chat"])
    assert translation is not None
    assert translation.to == "messages"


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.asked}-{pair.to}")
def test_what_gets_lost_is_said_in_sentences(pair: Any) -> None:
    """The page on dialects is made of these."""
    for table in (pair.refused, *pair.lost):
        for name, why in table.items():
            assert name
            assert why.endswith("."), name
