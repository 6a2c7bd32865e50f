"""Any cut of the bytes gives the same events, and a broken stream is told from a finished one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrain_client._sse import ChunkReader, Event, EventDecoder, StreamError

REQUEST = httpx.Request("POST", "http://localhost:8001/v1/chat/completions")


def events_of(pieces: Sequence[bytes]) -> list[Event]:
    decoder = EventDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


# --- bytes to events

NAMES = st.sampled_from(["", "ping", "error", "message"])
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
LINES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8).map(str.encode)
EVENTS = st.lists(st.builds(Event, NAMES, st.lists(LINES, min_size=1, max_size=3).map(b"\n".join)), max_size=5)
PLACES = st.lists(st.integers(min_value=0, max_value=10_000), max_size=12)


@st.composite
def wires(draw: st.DrawFn) -> tuple[list[Event], bytes]:
    """Some events, and one of the many ways to write them down."""
    events = draw(EVENTS)
    out = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    for event in events:
        end, blank = draw(ENDS), draw(st.sampled_from([b"", b" "]))
        out += draw(st.sampled_from([b"", b": ping" + end, b":" + end + end, b"id: 7" + end, b"retry" + end]))
        out += b"event:" + blank + event.name.encode() + end if event.name else b""
        for line in event.data.split(b"\n"):
            # A line that begins with a blank needs the one that is taken away.
            out += b"data:" + (b" " if line.startswith(b" ") else blank) + line + end
        out += end
    return [event for event in events if event.data], out


@settings(deadline=None, max_examples=300)
@given(wires(), PLACES)
def test_events_are_read_whatever_the_line_ends_and_cuts(written: tuple[list[Event], bytes], places: list[int]) -> None:
    events, data = written
    assert events_of(cut(data, places)) == events


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from([b"data:", b" ", b"x", b"\r", b"\n", b":", b"event", b"\xef\xbb\xbf", b"\xe2"])), PLACES
)
def test_any_cut_of_any_bytes_gives_the_same_events(parts: list[bytes], places: list[int]) -> None:
    data = b"".join(parts)
    assert events_of(cut(data, places)) == events_of([data]) == events_of([data[i : i + 1] for i in range(len(data))])


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b"data: a\n\n", [b"a"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"]),
        (b": ping\n\n: ping\n\ndata: a\n\n", [b"a"]),
        (b"data: a", [b"a"]),
        (b"data: a\n", [b"a"]),
        (b"data:\n\ndata\n\n", []),
        (b"event: ping\n\ndata: a\n\n", [b"a"]),
        (b"database: a\n\n", []),
        ("data: \u2028\u2029\x85\x0b\x0c\x1c\n\n".encode(), ["\u2028\u2029\x85\x0b\x0c\x1c".encode()]),
        (b"", []),
    ],
)
def test_the_standard_is_kept(data: bytes, read: list[bytes]) -> None:
    assert [event.data for event in events_of([data])] == read


def test_the_name_of_an_event_is_read_and_forgotten() -> None:
    assert events_of([b"event: error\ndata: a\n\ndata: b\n\n"]) == [Event("error", b"a"), Event("", b"b")]


def test_an_event_is_given_as_soon_as_it_is_complete() -> None:
    """Also with CR line ends, where an LF may or may not follow."""
    decoder = EventDecoder()
    assert decoder.feed(b"data: a\r\r") == [Event("", b"a")]
    assert decoder.feed(b"\ndata: b\n\n") == [Event("", b"b")]


def test_a_large_event_in_small_pieces_is_not_slow() -> None:
    """A megabyte in 64-byte pieces; searching it all again for each piece would take a minute."""
    data = b"data: " + b"x" * 1_000_000 + b"\n\n"
    assert [len(event.data) for event in events_of(cut(data, range(0, len(data), 64)))] == [1_000_000]


# --- events to chunks


def frame(*choices: dict[str, Any], **more: object) -> bytes:
    data = {"id": "c", "model": "m", "choices": list(choices), **more}
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def said(content: str, index: int = 0) -> dict[str, Any]:
    return {"index": index, "delta": {"content": content}, "finish_reason": None}


def over(index: int = 0) -> dict[str, Any]:
    return {"index": index, "delta": {}, "finish_reason": "stop"}


DONE = b"data: [DONE]\n\n"


def texts(*pieces: bytes, with_empty: bool = False) -> list[str | None]:
    """The content of each chunk; None for one without choices. Raises what the reader raises."""
    reader = ChunkReader(REQUEST, with_empty=with_empty)
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)] + list(reader.close())
    return [chunk.choices[0].delta.content if chunk.choices else None for chunk in chunks]


def test_a_finished_stream_is_read() -> None:
    assert texts(frame(said("a")), frame(said("b\u2028c")), frame(over()), DONE) == ["a", "b\u2028c", None]


@pytest.mark.parametrize("ending", [[frame(over())], [DONE], [frame(over()), DONE.strip()]])
def test_a_reason_or_a_done_ends_a_stream(ending: list[bytes]) -> None:
    assert texts(frame(said("a")), *ending)[0] == "a"


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [b": ping\n\n"],
        [frame(said("a"))],
        [frame(said("a")), frame(usage={"total_tokens": 1})],
        [frame(said("a", 0)), frame(said("b", 1)), frame(over(0))],
    ],
)
def test_a_stream_that_just_stops_is_broken(sent: list[bytes]) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="ended before") as caught:
        texts(*sent)
    assert caught.value.request is REQUEST


@pytest.mark.parametrize("data", [b"{", b"[]", b"1", b"\xff", b"[" * 100_000, b'{"choices": [{"index": 0, "delta'])
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="not"):
        texts(b"data: " + data + b"\n\n")


def test_chunks_without_choices_are_passed_over_unless_wanted() -> None:
    sent = [frame(prompt_filter_results=[]), frame(said("a")), frame(over()), frame(usage={}), DONE]
    assert texts(*sent) == ["a", None]
    assert texts(*sent, with_empty=True) == [None, "a", None, None]


def test_after_done_nothing_is_read() -> None:
    assert texts(frame(over()), DONE + frame(said("late")), frame(said("later"))) == [None]


@pytest.mark.parametrize(
    ("data", "message", "body"),
    [
        ({"error": {"message": "no money", "code": 1}}, "no money", {"message": "no money", "code": 1}),
        ({"error": "plain"}, "plain", "plain"),
        ({"error": {"code": 1}}, "ended with an error", {"code": 1}),
        ({"id": "c", "choices": [said("a")], "error": {"message": "both"}}, "both", {"message": "both"}),
    ],
)
def test_an_error_frame_is_raised_with_its_body(data: object, message: str, body: object) -> None:
    with pytest.raises(StreamError, match=message) as caught:
        texts(frame(said("a")), b"data: " + json.dumps(data).encode() + b"\n\n")
    assert caught.value.body == body
    assert caught.value.request is REQUEST


def test_an_event_named_error_is_one() -> None:
    with pytest.raises(StreamError, match="gone") as caught:
        texts(b'event: error\ndata: {"message": "gone"}\n\n')
    assert caught.value.body == {"message": "gone"}


def test_what_came_before_an_error_is_given_first() -> None:
    reader = ChunkReader(REQUEST)
    chunks = reader.feed(frame(said("a")) + frame(error={"message": "no"}) + frame(said("b")))
    assert next(chunks).choices[0].delta.content == "a"
    with pytest.raises(StreamError):
        next(chunks)


def test_a_null_error_is_none() -> None:
    assert texts(frame(said("a"), error=None), DONE) == ["a"]


def test_stream_errors_are_of_httpxs_family() -> None:
    assert issubclass(StreamError, httpx.RemoteProtocolError)
    assert issubclass(StreamError, httpx.HTTPError)
