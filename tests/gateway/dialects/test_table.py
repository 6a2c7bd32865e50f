"""One contract, over every dialect that is streamed: however a stream is cut, what was sent is what passes on.

Over the scripts in `tests/scripts`. They are read by the very code that reads upstreams, the network apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from membrain import sse
from membrain.dialects.base import Dialect
from membrain.dialects.table import BY_PATH, DIALECTS, PATHS
from membrain.records import Tokens
from tests.gateway.test_sse import events_of
from tests.scripts.recorded import (
    ERRORS,
    SCRIPTS,
    SPEAKERS,
    TOKENS,
    WANTED,
    Heard,
    Script,
    in_pieces,
    one_cut,
    read,
    split,
    two_cuts,
)

every = pytest.mark.parametrize("script", SCRIPTS, ids=str)
counted = pytest.mark.parametrize("script", [each for each in SCRIPTS if each.dialect in WANTED], ids=str)
broken = pytest.mark.parametrize("script", [each for each in SCRIPTS if each.error is None], ids=str)

LAST = {"message_stop", "response.completed", "response.failed", "response.incomplete"}
"""Kinds of events after which nothing comes."""

BIG = 1_000_000
"""Bytes of an event that is large, and passes."""


def wanted(script: Script) -> Heard:
    """What a caller hears who wants to see everything, if the stream comes in one piece."""
    return read(script.said(**WANTED.get(script.dialect, {})), [script.raw])


def closed(raw: bytes) -> bytes:
    """*raw*, whose last event may lack its blank line."""
    return raw + b"\n\n" if split([raw])[-1] else raw


def is_last(event: sse.Event) -> bool:
    """Whether *event* ends a stream."""
    if event.data == b"[DONE]":
        return True
    return json.loads(event.data).get("type", event.name) in LAST


def test_every_script_has_its_row_and_every_row_its_script() -> None:
    assert TOKENS.keys() == {str(script) for script in SCRIPTS}
    assert {script.dialect for script in SCRIPTS} == set(SPEAKERS)
    assert TOKENS.keys() >= ERRORS.keys()


@pytest.mark.parametrize("dialect", [each() for each in PATHS.values()], ids=lambda each: each.name)
def test_a_dialect_is_found_by_its_name_and_by_its_path(dialect: Dialect) -> None:
    assert type(DIALECTS[dialect.name]) is type(dialect)
    assert [each for path, each in BY_PATH.items() if PATHS[path] is type(dialect)] == [DIALECTS[dialect.name]]


# --- what passes on


@every
def test_what_was_sent_is_what_arrives(script: Script) -> None:
    """To the byte, up to the end; the end of a stream that says it as we do is written by the door."""
    heard = wanted(script)
    arrived = heard.raw + heard.end
    if script.error is None and not heard.end and script.name != "no_done":
        arrived += DIALECTS[script.dialect].end()
    whole = closed(script.raw)
    assert arrived == whole if script.error is None or heard.end else whole.startswith(arrived)
    assert (heard.tokens, heard.failure or heard.error) == (script.tokens, script.error)


@every
def test_only_the_terminal_event_is_the_last(script: Script) -> None:
    heard = wanted(script)
    assert not [event for event in sse.parse(heard.raw) if is_last(event)]
    assert len(sse.parse(heard.end)) == bool(heard.end)
    assert all(map(is_last, sse.parse(heard.end)))


@every
def test_one_cut_anywhere_changes_nothing(script: Script) -> None:
    said, whole = script.said(**WANTED.get(script.dialect, {})), wanted(script)
    for pieces in one_cut(script.raw):
        assert read(said, pieces) == whole


@pytest.mark.parametrize("script", [each for each in SCRIPTS if each.is_short], ids=str)
def test_two_cuts_anywhere_change_nothing(script: Script) -> None:
    said, whole = script.said(**WANTED.get(script.dialect, {})), wanted(script)
    for pieces in two_cuts(script.raw):
        assert read(said, pieces) == whole


@every
@pytest.mark.parametrize("size", [1, 2, 3, 64])
def test_small_pieces_change_nothing(script: Script, size: int) -> None:
    """Straight from the wire, without a splitter before ours."""
    said = script.said(**WANTED.get(script.dialect, {}))
    assert read(said, in_pieces(script.raw, size)) == wanted(script)


@every
def test_every_piece_is_whole_events(script: Script) -> None:
    said = script.said(**WANTED.get(script.dialect, {}))
    for pieces in (in_pieces(script.raw, 1), in_pieces(script.raw, 100)):
        for raw in read(said, pieces).pieces:
            assert split([raw])[-1] == b""


@every
def test_an_event_is_passed_on_as_soon_as_it_is_here(script: Script) -> None:
    """Also the first one: comments wait for an event, but no event waits for the next."""
    said = script.said(**WANTED.get(script.dialect, {}))
    blocks = sse.blocks(script.raw)
    last = len(blocks) - (script.dialect in WANTED or script.error is not None)
    for count in range(1, last + 1):
        heard = read(said, blocks[:count])
        here = b"".join(blocks[:count])
        assert heard.raw + heard.end == (closed(here) if sse.parse(here) else b"")


# --- usage that only we asked for


def shown(script: Script) -> Iterator[tuple[str | None, Any]]:
    """The events that a caller sees who did not ask for usage, the slow way."""
    for event in events_of(script.raw):
        if event.data == b"[DONE]":
            return
        data = json.loads(event.data)
        if data.get("error"):
            return
        if data.get("usage", 0) is None:
            del data["usage"]
        if data.get("choices") or "usage" not in data:
            yield event.name, data


def told(raw: bytes) -> list[tuple[str | None, Any]]:
    return [(event.name, json.loads(event.data)) for event in sse.parse(raw)]


@counted
def test_usage_is_counted_and_hidden_from_who_did_not_ask(script: Script) -> None:
    heard = read(script.said(), [script.raw])
    assert told(heard.raw) == list(shown(script))
    assert (heard.tokens, heard.error) == (script.tokens, script.error)


@counted
def test_events_without_usage_keep_their_bytes_beside_those_with(script: Script) -> None:
    heard = read(script.said(), [script.raw])
    sent = sse.blocks(script.raw)
    changed = [block for block in sse.blocks(heard.raw) if block not in sent]
    assert all(b'"usage"' not in block for block in changed)
    assert len(changed) == sum(b'"usage":null}' in each or b'"usage":null,"obf' in each for each in sent)


@counted
def test_what_is_hidden_does_not_depend_on_the_cuts(script: Script) -> None:
    whole = read(script.said(), [script.raw])
    for pieces in [*one_cut(script.raw), *map(tuple, (in_pieces(script.raw, 1), in_pieces(script.raw, 64)))]:
        assert read(script.said(), pieces) == whole


# --- what broke off


def enough(script: Script) -> int:
    """How many bytes of *script* have to come until all that counts is there: the end, or why each choice ended."""
    finished: set[int] = set()
    choices = {"chat/choices": 2, "completions/choices": 2}.get(str(script), 1)
    at = 0
    for block in sse.blocks(script.raw):
        for event in events_of(block):
            data: dict[str, Any] = {} if event.data == b"[DONE]" else json.loads(event.data)
            finished |= {each.get("index") for each in data.get("choices") or () if each.get("finish_reason")}
            if is_last(event) or len(finished) >= choices:
                return at + len(block.rstrip())
        at += len(block)
    raise AssertionError("it never ends")


def places(script: Script) -> list[int]:
    """Where a script is broken off: anywhere, or where it is long, around its ends of events and here and there."""
    if script.is_short:
        return list(range(len(script.raw)))
    ends, at = {0}, 0
    for block in sse.blocks(script.raw):
        at += len(block)
        ends |= set(range(at - 3, at + 2))
    return sorted({each for each in ends | set(range(0, len(script.raw), 37)) if each < len(script.raw)})


@broken
def test_a_stream_that_breaks_off_looks_broken(script: Script) -> None:
    """Unless all that counts was there: then only a word was missing, as some servers always leave it out."""
    needed = enough(script)
    said = script.said(**WANTED.get(script.dialect, {}))
    for at in places(script):
        heard = read(said, [script.raw[:at]])
        assert heard.is_whole is (at >= needed), at
        assert heard.is_whole or not heard.end
        assert heard.error in {
            None,
            f"{'anthropic' if script.dialect == 'messages' else 'openai'} broke off in the middle.",
        }


@every
def test_half_an_event_is_never_passed_on(script: Script) -> None:
    said, whole = script.said(**WANTED.get(script.dialect, {})), wanted(script)
    events = sse.parse(whole.raw + whole.end)
    for at in places(script):
        heard = read(said, [script.raw[:at]])
        passed = sse.parse(heard.raw + heard.end)
        assert passed == events[: len(passed)]


@every
def test_nothing_is_made_of_what_follows_the_end(script: Script) -> None:
    if script.error or script.name in {"no_done", "no_blank_line"}:
        return
    said = script.said(**WANTED.get(script.dialect, {}))
    more = script.raw + b'data: {"choices":[{"index":0,"delta":{"content":"late"}}]}\n\n'
    for pieces in ([more], [script.raw, more[len(script.raw) :]], in_pieces(more, 1)):
        assert read(said, pieces) == wanted(script)


# --- what is large


def of_size(dialect: str, size: int) -> bytes:
    """An event with so long a text in it."""
    text = "x" * size
    data: Any = {
        "chat": {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]},
        "completions": {"choices": [{"index": 0, "text": text, "finish_reason": "stop"}]},
        "messages": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        "responses": {"type": "response.output_text.delta", "delta": text},
    }[dialect]
    return sse.encode(json.dumps(data).encode(), data.get("type"))


@pytest.mark.parametrize("dialect", SPEAKERS)
@pytest.mark.parametrize("size", [1 << 16, BIG])
def test_an_event_of_a_megabyte_passes(dialect: str, size: int) -> None:
    script = next(each for each in SCRIPTS if (each.dialect, each.name) == (dialect, "short"))
    large, rest = of_size(dialect, BIG), sse.blocks(script.raw)[-1]
    heard = read(script.said(), in_pieces(large + rest, size))
    assert heard.is_whole
    assert heard.raw == large


@pytest.mark.parametrize("dialect", SPEAKERS)
@pytest.mark.parametrize("ends", [b"\n\n", b""])
def test_an_event_over_the_cap_is_a_failure(dialect: str, ends: bytes) -> None:
    """However it is read, and whether or not its end ever comes."""
    script = next(each for each in SCRIPTS if (each.dialect, each.name) == (dialect, "short"))
    most = sse.MAX_EVENT
    for size in (most - 5, most - 6):
        raw = b"data: " + b"x" * size
        for pieces in ([raw + ends], [raw, ends], in_pieces(raw + ends, 1 << 16)):
            heard = read(script.said(), pieces)
            assert heard.raw == b"" or size == most - 6
            over = f"{'anthropic' if dialect == 'messages' else 'openai'} sent an event over the cap."
            assert (heard.error == over) is (size == most - 5), (size, ends)


# --- what comes before anything was said


@every
def test_comments_before_the_first_event_are_not_an_answer_but_are_not_lost(script: Script) -> None:
    said = script.said(**WANTED.get(script.dialect, {}))
    early = b": waiting\n\n"
    assert read(said, [early]).pieces == []
    raw = early + script.raw.removeprefix(b"\xef\xbb\xbf")
    first, *_ = read(said, [early, early, raw]).pieces
    assert first.startswith(early * 3)


@pytest.mark.parametrize("dialect", SPEAKERS)
def test_an_error_before_anything_was_said_leaves_room_for_a_second_try(dialect: str) -> None:
    script = next(each for each in SCRIPTS if (each.dialect, each.name) == (dialect, "error"))
    error = sse.blocks(script.raw)[-1]
    for before in (b"", b": waiting\n\n", b'event: ping\ndata: {"type":"ping"}\n\n' if dialect == "messages" else b""):
        for pieces in ([before + error], [before, error], in_pieces(before + error, 1)):
            heard = read(script.said(), pieces)
            assert (heard.pieces, heard.error) == ([], script.error)


def test_whoever_only_sends_comments_is_not_remembered_for_ever() -> None:
    script = Script("chat", "short")
    first = read(script.said(), [*[b": waiting\n\n"] * 100_000, script.raw]).pieces[0]
    assert len(first) < 70_000


def test_tokens_are_told_by_every_dialect_alike() -> None:
    """What came from a cache, or went into it, is part of the prompt."""
    assert TOKENS["messages/text"] == Tokens(2585, 17, cached=2048, written=512)
