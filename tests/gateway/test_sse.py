"""Server-sent events: nothing is lost, nothing is changed, and no cut makes a difference."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from membrain.sse import Event, EventSplitter, EventTooLarge, blocks, closed, encode, parse
from tests.growth import assert_linear

BOM = b"\xef\xbb\xbf"

# -- a slow, obvious reader to compare with --


def lines_of(stream: bytes) -> list[tuple[bytes, int]]:
    """Every complete line of *stream*, byte by byte, with the offset behind its line end."""
    lines: list[tuple[bytes, int]] = []
    line, at = b"", 0
    while at < len(stream):
        byte = stream[at : at + 1]
        at += 1
        if byte == b"\r" and stream[at : at + 1] == b"\n":
            at += 1
        if byte in (b"\r", b"\n"):
            lines.append((line, at))
            line = b""
        else:
            line += byte
    return lines


def boundary_of(stream: bytes) -> int:
    """Where the last blank line of *stream* ends."""
    return max((at for line, at in lines_of(stream) if not line), default=0)


def events_of(stream: bytes) -> list[Event]:
    """The events of a whole stream, straight from the rules; the last one need not be closed."""
    events: list[Event] = []
    name, data = "", None
    for line, _ in lines_of(stream.removeprefix(BOM) + b"\n\n"):
        if line == b"":
            if data is not None:
                events.append(Event(name or None, data))
            name, data = "", None
        elif not line.startswith(b":"):
            field, value = line.split(b":", 1) if b":" in line else (line, b"")
            value = value[1:] if value.startswith(b" ") else value
            if field == b"event":
                name = value.decode("utf-8", "replace")
            if field == b"data":
                data = value if data is None else data + b"\n" + value
    return events


# -- what streams look like --

TRAPS = list("\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e\0é🙂: \ufeff")
line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
words = st.lists(st.sampled_from([*TRAPS, "data", "event", "id", '{"a":1}', "x"]), max_size=5).map("".join)
lines = st.one_of(
    st.just(b""),
    words.map(lambda word: b"data: " + word.encode()),
    words.map(lambda word: b"data:" + word.encode()),
    words.map(lambda word: b"event: " + word.encode()),
    words.map(lambda word: b": " + word.encode()),
    words.map(lambda word: word.encode()),
    st.binary(max_size=6).map(lambda junk: junk.replace(b"\n", b"").replace(b"\r", b"")),
)
streams = st.builds(
    lambda start, parts, rest: start + b"".join(line + end for line, end in parts) + rest,
    st.sampled_from([b"", b"", BOM]),
    st.lists(st.tuples(lines, line_ends), max_size=12),
    lines,
)


@st.composite
def cut_streams(draw: st.DrawFn) -> list[bytes]:
    """A stream in the pieces in which it might be read."""
    stream = draw(st.one_of(streams, st.binary(max_size=60), st.text("\r\nda:", max_size=40).map(str.encode)))
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])]


def pieces(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


# -- the splitter --


@settings(deadline=None, max_examples=400)
@given(cut_streams())
@example([b"data: a\r", b"\n\r", b"\ndata: b\n\n"])
@example([b"data: a\r\n\r", b"\n", b"data: b"])
@example([b"\r", b"\n"])
def test_each_read_gives_all_that_is_complete_and_nothing_else(reads: list[bytes]) -> None:
    """Against the slow reader: after every read exactly the bytes up to the last boundary are out."""
    splitter = EventSplitter()
    fed = out = b""
    for read in reads:
        fed += read
        given_out = splitter.feed(read)
        out += given_out
        # A CR that ends a blank line goes out at once; if a LF follows, the boundary moves one byte on.
        assert out == fed[: boundary_of(fed)]
    assert out + splitter.flush() == fed
    assert splitter.flush() == b""


@settings(deadline=None, max_examples=400)
@given(cut_streams())
@example([b"data: a\n\n", BOM + b"data: b\n\n"])
def test_any_cut_of_the_stream_gives_the_same_events(reads: list[bytes]) -> None:
    splitter = EventSplitter()
    blocks = [block for block in (*map(splitter.feed, reads), splitter.flush()) if block]
    events = [event for at, block in enumerate(blocks) for event in parse(block, at_start=at == 0)]
    assert events == events_of(b"".join(reads))


def test_a_read_that_ends_at_a_boundary_passes_as_the_same_object() -> None:
    read = b'data: {"a":1}\n\ndata: {"a":2}\n\n'
    assert EventSplitter().feed(read) is read


def test_a_read_in_crlf_that_ends_at_a_boundary_passes_as_the_same_object() -> None:
    read = b"data: a\r\n\r\ndata: b\r\n\r\n"
    assert EventSplitter().feed(read) is read


def test_the_unfinished_event_is_held_back_and_comes_with_its_end() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: one\n\ndata: tw") == b"data: one\n\n"
    assert splitter.feed(b"") == b""
    assert splitter.feed(b"o\n") == b""
    assert splitter.feed(b"\ndata: three") == b"data: two\n\n"
    assert splitter.flush() == b"data: three"


@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r\n", b"\r\n\n"])
def test_an_event_is_out_as_soon_as_its_blank_line_is_known(end: bytes) -> None:
    """Read byte by byte: nothing earlier; with CR already at the CR, since a LF may never follow."""
    splitter = EventSplitter()
    out = [splitter.feed(piece) for piece in pieces(b"data: a" + end)]
    assert b"".join(out) == b"data: a" + end
    assert b"data: a" not in b"".join(out[: len(b"data: a") + 1])
    assert splitter.flush() == b""


def test_unicode_line_separators_split_nothing() -> None:
    text = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\x1dh\x1ei".encode()
    stream = b"data: " + text + b"\n\n"
    splitter = EventSplitter()
    assert b"".join(map(splitter.feed, pieces(stream))) == stream
    assert parse(stream) == parse(b":\n" + stream) == [Event(None, text)]


# -- the cap --


@settings(deadline=None, max_examples=300)
@given(cut_streams(), st.integers(1, 30))
@example([b"data: 1\r\n\r\n"], 7)
@example([b"data: 1\r\n", b"\r", b"\n"], 7)
@example([b"\n\ndata: 1\n\n"], 7)
@example([b"\ndata: 1\n\n"], 7)
@example([b"data: 12\r", b"\n"], 7)
@example([b"data: 12"], 7)
def test_the_cap_depends_on_the_event_and_not_on_the_cuts(reads: list[bytes], cap: int) -> None:
    def outcome(cut: list[bytes]) -> bytes | None:
        splitter = EventSplitter(max_event=cap)
        try:
            return b"".join(map(splitter.feed, cut)) + splitter.flush()
        except EventTooLarge:
            return None

    stream = b"".join(reads)
    sizes, size = [0], 0
    for line, _ in lines_of(stream + b"\n\n"):
        size = size + len(line) + 1 if line else 0
        sizes.append(size - 1)
    if b"\r\n" in stream:  # the slow sum above counts every line end as one byte
        assert outcome(reads) == outcome([stream]) == outcome(pieces(stream))
    else:
        expected = stream if max(sizes) <= cap else None
        assert outcome(reads) == outcome([stream]) == outcome(pieces(stream)) == expected


def test_an_event_of_exactly_the_cap_passes_and_one_byte_more_does_not() -> None:
    assert EventSplitter(max_event=10).feed(b"data: 1234\n\n") == b"data: 1234\n\n"
    with pytest.raises(EventTooLarge, match="larger than 10 bytes"):
        EventSplitter(max_event=10).feed(b"data: 12345\n\n")


def test_many_small_events_in_one_read_are_not_taken_for_a_large_one() -> None:
    read = b"data: 1\n\n" * 100
    assert EventSplitter(max_event=16).feed(read) == read


def test_events_of_a_megabyte_pass_by_default_and_endless_ones_are_stopped() -> None:
    megabyte = b"data: " + b"x" * 1_000_000 + b"\n\n"
    assert EventSplitter().feed(megabyte) is megabyte
    splitter = EventSplitter()
    assert [splitter.feed(b"x" * 65536) for _ in range(16)] == [b""] * 16
    with pytest.raises(EventTooLarge):
        splitter.feed(b"xxx")


def test_an_event_in_very_many_pieces_costs_linear_time() -> None:

    def feed(count: int) -> None:
        splitter = EventSplitter(max_event=1 << 30)
        for _ in range(count):
            splitter.feed(b"data: some of it\n")
        splitter.flush()

    assert_linear(feed, int, 50_000)


# -- reading --


@settings(deadline=None, max_examples=300)
@given(st.one_of(streams, st.binary(max_size=80)))
def test_parsing_agrees_with_the_slow_reader(stream: bytes) -> None:
    assert parse(stream) == events_of(stream)


@pytest.mark.parametrize(
    ("block", "events"),
    [
        (b"", []),
        (b"data: a\n\n", [Event(None, b"a")]),
        (b"data:a\n\n", [Event(None, b"a")]),
        (b"data:  a\n\n", [Event(None, b" a")]),
        (b"data\n\n", [Event(None, b"")]),
        (b"data: a\ndata: b\n\n", [Event(None, b"a\nb")]),
        (b"data: a\ndata: \n\n", [Event(None, b"a\n")]),
        (b"event: ping\ndata: {}\n\n", [Event("ping", b"{}")]),
        (b"event: ping\n\ndata: {}\n\n", [Event(None, b"{}")]),
        (b"event:\ndata: {}\n\n", [Event(None, b"{}")]),
        (b"event: a\nevent: b\ndata: 1\n\ndata: 2\n\n", [Event("b", b"1"), Event(None, b"2")]),
        (b": ping\n\n", []),
        (b": ping\ndata: a\n:\n\n", [Event(None, b"a")]),
        (b"id: 7\nretry: 10\nfoo: bar\ndata: a\n\n", [Event(None, b"a")]),
        (b"datax: a\nDATA: b\n data: c\n\n", []),
        (BOM + b"data: a\n\n", [Event(None, b"a")]),
        (b"data: a\n\n" + BOM + b"data: b\n\n", [Event(None, b"a")]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [Event(None, b"a"), Event(None, b"b"), Event(None, b"c")]),
        (b"event: \xff\ndata: a\n\n", [Event("\ufffd", b"a")]),
        (b"data: a: b\n\n", [Event(None, b"a: b")]),
    ],
)
def test_the_rules_of_the_format(block: bytes, events: list[Event]) -> None:
    assert parse(block) == events


@settings(deadline=None, max_examples=300)
@given(st.one_of(streams, st.text("\r\nda:", max_size=40).map(str.encode)))
def test_blocks_are_the_single_events_and_nothing_is_lost(stream: bytes) -> None:
    """Fed to a splitter first, as everything is: a stream's complete events."""
    splitter = EventSplitter()
    for raw in (splitter.feed(stream), splitter.flush()):
        found = blocks(raw)
        assert b"".join(found) == raw
        assert all(found)
        assert all(len(parse(block)) <= 1 for block in found)
        assert [event for at, block in enumerate(found) for event in parse(block, at_start=at == 0)] == parse(raw)


@pytest.mark.parametrize(
    ("block", "whole"),
    [
        (b"data: a\r\n\r", b"data: a\r\n\r\n"),
        (b"data: a\r\n\r\n", b"data: a\r\n\r\n"),
        (b"data: a\r\r", b"data: a\r\r"),
        (b"data: a\n\n", b"data: a\n\n"),
        (b"data: a\n\r", b"data: a\n\r"),
    ],
)
def test_the_last_block_gets_the_end_of_its_last_line(block: bytes, whole: bytes) -> None:
    assert closed(block) == whole
    assert parse(closed(block)) == parse(block)


@pytest.mark.parametrize("rest", [b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r", b"data: [DONE]\r\n"])
def test_a_last_event_without_its_blank_line_is_given_all_the_same(rest: bytes) -> None:
    assert parse(b"data: a\n\n" + rest) == [Event(None, b"a"), Event(None, b"[DONE]")]


def test_a_byte_order_mark_counts_only_where_the_stream_begins() -> None:
    assert parse(BOM + b"data: a\n\n", at_start=False) == []


def test_events_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Event(None, b"a").data = b"b"  # type: ignore[misc]  # frozen is what is being shown


# -- writing --


def test_encoding_one_line_without_and_with_a_name() -> None:
    assert encode(b'{"a":1}') == b'data: {"a":1}\n\n'
    assert encode(b"{}", "message_stop") == b"event: message_stop\ndata: {}\n\n"


def test_data_with_line_ends_becomes_several_data_lines() -> None:
    assert encode(b"a\nb\r\nc\rd\n") == b"data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"


@pytest.mark.parametrize("name", ["a\nb", "a\rdata: x"])
def test_a_name_cannot_smuggle_in_other_fields(name: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        encode(b"{}", name)


@settings(deadline=None)
@given(st.binary(max_size=60), st.none() | st.text(min_size=1, max_size=8))
def test_what_is_encoded_is_read_back(data: bytes, name: str | None) -> None:
    """Line ends inside become LF, which is all that the format can carry."""
    try:
        block = encode(data, name)
    except ValueError:
        assert name is not None
        return
    assert EventSplitter().feed(block) is block
    assert parse(block) == [Event(name, data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))]
