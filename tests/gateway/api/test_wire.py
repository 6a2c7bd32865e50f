"""The little ASGI that the doors share: bodies in, bodies out, and noticing that a caller hung up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping
from typing import Any

import pytest

from membrain.api.guard import Guard
from membrain.api.wire import Body, HangUp, Told, Watch, error_headers, new_id, place_of, send_body
from membrain.errors import (
    BadRequest,
    Forbidden,
    MembrainError,
    NotConfigured,
    ProviderFailed,
    ShuttingDown,
    TooLarge,
    Unauthorized,
)

pytestmark = pytest.mark.anyio
GUARD = Guard({"127.0.0.1"}, 8001, body_bytes=100)
GONE = {"type": "http.disconnect"}


def piece(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


class Caller:
    """Sends *messages*, then is silent for ever, as a caller who waits for the answer."""

    def __init__(self, messages: Iterable[dict[str, Any]]) -> None:
        self.messages = list(messages)
        self.hung_up = asyncio.Event()

    async def __call__(self) -> dict[str, Any]:
        if self.messages:
            return self.messages.pop(0)
        await self.hung_up.wait()
        return GONE


def body_of(*messages: dict[str, Any]) -> Body:
    return Body(Caller(messages), GUARD)


# --- bodies in


async def test_a_body_in_one_piece_is_that_piece() -> None:
    whole = b"x" * 100
    assert await body_of(piece(whole)).read() is whole


async def test_a_body_in_pieces_is_put_together() -> None:
    body = body_of(piece(b"ab", more=True), piece(b"", more=True), piece(b"c", more=True), piece(b""))
    assert await body.read() == b"abc"
    assert not body.more


async def test_no_body_is_an_empty_one() -> None:
    assert await body_of(piece(b"")).read() == b""
    assert await body_of({"type": "http.request"}).read() == b""


@pytest.mark.parametrize("before", [[], [piece(b"ab", more=True)]])
async def test_a_caller_who_leaves_while_sending_has_asked_nothing(before: list[dict[str, Any]]) -> None:
    with pytest.raises(HangUp):
        await body_of(*before, GONE).read()


@pytest.mark.parametrize(
    "messages",
    [[piece(b"x" * 101)], [piece(b"x" * 60, more=True), piece(b"x" * 60)], [piece(b"x" * 200, more=True)]],
)
async def test_a_body_over_the_cap_is_refused_as_soon_as_it_is(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(TooLarge):
        await body_of(*messages).read()


async def test_the_cap_also_holds_for_who_reads_message_by_message() -> None:
    body = body_of(piece(b"x" * 60, more=True), piece(b"x" * 60, more=True))
    await body.receive()
    with pytest.raises(TooLarge):
        await body.receive()


async def test_a_body_that_was_read_leaves_nothing_to_wait_for() -> None:
    """The caller is silent now, and every refusal would take seconds."""
    body = body_of(piece(b"{bad"))
    await body.read()
    await asyncio.wait_for(body.drain(), 0.05)


async def test_what_is_left_is_read_and_forgotten() -> None:
    body = body_of(piece(b"x" * 200, more=True), piece(b"x", more=True), piece(b"x"))
    with pytest.raises(TooLarge):
        await body.read()
    await asyncio.wait_for(body.drain(), 0.05)
    assert not body.more


async def test_a_caller_who_never_ends_is_not_read_for_ever() -> None:
    class Endless(Caller):
        async def __call__(self) -> dict[str, Any]:
            return piece(b"x" * 10, more=True)

    body = Body(Endless([]), GUARD)
    await asyncio.wait_for(body.drain(), 0.5)
    assert body.more


async def test_a_caller_who_leaves_ends_the_draining() -> None:
    body = body_of(piece(b"x", more=True), GONE)
    await asyncio.wait_for(body.drain(), 0.05)
    assert not body.more


# --- bodies out


class Heard(list[dict[str, Any]]):
    """A `send` that keeps what it is given."""

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        self.append(dict(message))


async def test_a_whole_answer_says_how_long_it_is() -> None:
    heard = Heard()
    await send_body(heard, 418, b"short", [(b"x-odd", b"1")])
    assert heard[0]["status"] == 418
    assert (b"content-length", b"5") in heard[0]["headers"]
    assert (b"content-type", b"application/json") in heard[0]["headers"]
    assert (b"x-odd", b"1") in heard[0]["headers"]
    assert heard[1]["body"] == b"short"


async def test_what_was_told_is_remembered() -> None:
    told = Told(Heard())
    assert not told.anything
    await told({"type": "http.response.start"})
    assert told.anything


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (BadRequest("x"), {"x-should-retry": "false"}),
        (Unauthorized("x"), {"x-should-retry": "false"}),
        (Forbidden("x"), {"x-should-retry": "false"}),
        (NotConfigured("x"), {"x-should-retry": "false"}),
        (ShuttingDown("x", headers={"retry-after": "2"}), {"retry-after": "2", "x-should-retry": "true"}),
        (ProviderFailed("x", status=503), {}),
        (ProviderFailed("x", headers={"x-should-retry": "true"}), {"x-should-retry": "true"}),
        (MembrainError("x"), {}),
        (BadRequest("x", headers={"allow": "é\u2028"}), {"allow": "é?", "x-should-retry": "false"}),
    ],
)
def test_callers_are_told_whether_asking_again_helps(error: MembrainError, headers: dict[str, str]) -> None:
    assert {name.decode(): value.decode("latin-1") for name, value in error_headers(error)} == headers


def test_ids_are_short_and_their_own() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(id) == 24 and int(id, 16) >= 0 for id in ids)


def test_a_place_is_a_file_and_a_line_and_never_a_word_of_the_error() -> None:
    try:
        raise ValueError("canary-7f3a")
    except ValueError as error:
        place = place_of(error)
    assert place.startswith(__file__)
    assert "canary" not in place
    assert place_of(ValueError("x")) == "nowhere"


# --- watching


async def watched(caller: Caller, seconds: float, ends: MembrainError | None = None) -> tuple[str, Watch]:
    """How a task ends that waits for *seconds* under a watch."""
    made: list[Watch] = []

    async def work() -> str:
        watch = Watch(caller)
        made.append(watch)
        watch.begin()
        try:
            if ends is not None:
                asyncio.get_running_loop().call_later(0.01, watch.end, ends)
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            return "cancelled"
        finally:
            watch.stop()
        return "done"

    return await asyncio.ensure_future(work()), made[0]


async def test_a_hang_up_ends_the_work() -> None:
    caller = Caller([])
    asyncio.get_running_loop().call_later(0.1, caller.hung_up.set)
    ended, watch = await watched(caller, 10)
    assert (ended, watch.gone, watch.reason) == ("cancelled", True, None)


async def test_a_hang_up_before_the_watch_listens_is_noticed_too() -> None:
    caller = Caller([])
    caller.hung_up.set()
    ended, watch = await watched(caller, 10)
    assert (ended, watch.gone) == ("cancelled", True)


async def test_work_that_is_quick_is_not_listened_for() -> None:
    caller = Caller([])
    ended, watch = await watched(caller, 0.01)
    assert (ended, watch.gone) == ("done", False)
    assert watch._listener is None
    caller.hung_up.set()
    await asyncio.sleep(0.1)
    assert not watch.gone


async def test_work_that_is_done_is_not_cancelled_later() -> None:
    caller = Caller([])
    ended, watch = await watched(caller, 0.1)
    caller.hung_up.set()
    await asyncio.sleep(0.05)
    assert (ended, watch.gone) == ("done", False)
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one


async def test_work_can_be_ended_with_a_reason() -> None:
    reason = ShuttingDown("Bye.")
    ended, watch = await watched(Caller([]), 10, reason)
    assert (ended, watch.gone) == ("cancelled", False)
    assert watch.reason is reason


async def test_who_still_sends_is_not_listened_to() -> None:
    """Before `begin` the body is being read, and nobody else may take its pieces."""
    caller = Caller([piece(b"a", more=True)])
    watch = Watch(caller)
    await asyncio.sleep(0.1)
    assert len(caller.messages) == 1
    watch.stop()
