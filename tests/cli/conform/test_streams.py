"""Checks of streams see what gateways do to them."""

from __future__ import annotations

import json

import pytest

from membrain_cli.conform.compare import events_differ, events_of
from membrain_cli.conform.dialects import blocks
from membrain_cli.conform.openai_scripts import stream_chat
from membrain_cli.conform.streams import ARGUMENTS, CHECKS, CUTS, PIECES, WRITTEN, Wire, fragments
from tests.cli.conform.relay import Fault, bench_before, failing, faults_of, seen

pytestmark = pytest.mark.anyio

CHAT_EVENTS = stream_chat({"model": "m"}, PIECES)


@pytest.mark.parametrize("fault", faults_of(CHECKS))
async def test_a_fault_is_seen_by_its_checks(fault: str) -> None:
    wanted, found = await seen(fault)
    assert set(found) == wanted
    assert all("\n" not in told and told for told in found.values())


@pytest.mark.parametrize("wire", CUTS)
def test_a_cut_loses_nothing(wire: Wire) -> None:
    made = blocks(CHAT_EVENTS)
    assert b"".join(wire(made)) == b"".join(made)
    assert len(wire(made)) > len(made)


@pytest.mark.parametrize(("name", "wire"), [(row[0], row[3]) for row in WRITTEN])
def test_what_is_written_otherwise_says_the_same(name: str, wire: Wire) -> None:
    made = blocks(CHAT_EVENTS)
    assert b"".join(wire(made)) != b"".join(made), name
    assert events_differ(events_of(b"".join(made)), events_of(b"".join(wire(made)))) == ""


async def test_who_writes_all_events_anew_is_not_blamed_for_it_everywhere() -> None:
    changed = Fault(("stream.events",), answer=lambda raw: raw.replace(b'"created":1700000000', b'"created":1'))
    async with bench_before(changed) as bench:
        found = await failing(bench, *(f"chat.stream.{row[0]}" for row in WRITTEN), "chat.stream.events")
    assert set(found) == {"stream.events"}


async def test_who_writes_all_events_anew_and_loses_words_is_blamed() -> None:
    def lossy(raw: bytes) -> bytes:
        return raw.replace(b'"created":1700000000', b'"created":1').replace("\u2028".encode(), b"")

    async with bench_before(Fault(answer=lossy)) as bench:
        found = await failing(bench, "chat.stream.u2028", "chat.stream.crlf")
    assert set(found) == {"stream.u2028"}
    assert found["stream.u2028"].startswith("words: ")


async def test_a_stream_that_is_cut_is_not_called_the_same() -> None:
    async with bench_before(Fault(answer=lambda raw: raw.replace(b"data: [DONE]\n\n", b""))) as bench:
        assert (await failing(bench, "chat.stream.end"))["stream.end"] == "0 ends, and the body ends"


def test_arguments_are_cut_within_their_escapes() -> None:
    made = fragments(ARGUMENTS)
    assert "".join(made) == ARGUMENTS
    assert any(piece.endswith("\\") for piece in made)
    assert json.loads(ARGUMENTS)["path"] == "C:\\dir\\é.txt"
