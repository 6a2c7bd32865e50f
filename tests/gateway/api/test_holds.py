"""What waits for a person, over the network: who may see it and decide, and that a mistake decides nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from membrain.api.app import create_app
from membrain.api.guard import Guard
from membrain.errors import BadRequest, Unauthorized
from membrain.holds import Context, Hold, HoldAmbiguous, HoldDecided, HoldNotFound, Holds, Verdict
from membrain.records import Caller
from membrain.stages.auth import demand

pytestmark = pytest.mark.anyio

CONTEXT = Context("messages[0].content", "EMAIL", "write to ", ", please", "rg")
GUARD = Guard({"127.0.0.1"}, 8001, body_bytes=1000)
PEOPLE = {
    b"Bearer admin": Caller(name="local", admin=True),
    b"Bearer red": Caller("k1", "red-key", "red"),
}
"""Who may speak, by what they send."""


class Hall:
    """As much of a gateway as these routes touch."""

    def __init__(self) -> None:
        self.now = 100.0
        self.holds = Holds(monotonic=lambda: self.now)

    def identify(self, credential: str | None, _: object, project: str, scopes: tuple[str, ...]) -> Caller:
        known = PEOPLE.get(f"Bearer {credential}".encode())
        if known is None:
            raise Unauthorized("This client key is not known here.")
        demand(known, *scopes)
        return known

    @asynccontextmanager
    async def holding(self, *ids: str) -> AsyncIterator[list[asyncio.Task[Verdict]]]:
        """Exchanges of these ids, waiting since twelve seconds."""
        tasks = [asyncio.create_task(self.holds.wait(a_hold(id, self.now), 60.0)) for id in ids]
        await asyncio.sleep(0)
        self.now += 12.04
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(self, method: str, path: str, data: Any = None, key: bytes = b"Bearer admin") -> tuple[int, Any]:
        """The status and the body of one request; *data* as bytes goes as it is."""
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        given = [{"type": "http.request", "body": body, "more_body": False}]
        told: list[Any] = []

        async def receive() -> dict[str, Any]:
            return given.pop() if given else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            told.append(message)

        app = create_app(self, GUARD)  # type: ignore[arg-type]  # as much of it as is touched
        headers = [(b"host", b"127.0.0.1:8001"), (b"content-type", b"application/json"), (b"authorization", key)]
        where = {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8001), "query_string": b""}
        await app({"type": "http", "method": method, "path": path, "headers": headers, **where}, receive, send)
        return told[0]["status"], json.loads(told[1]["body"])


def a_hold(id: str, since: float) -> Hold:
    labels = {"EMAIL": 2, "CREDIT_CARD": 1}
    return Hold(id, "aider", "red", labels, "gpt-4o", ("messages[0].content",), (CONTEXT,), since)


ROW = {
    "id": "a91f04",
    "caller": "aider",
    "project": "red",
    "seconds": 12.0,
    "labels": {"EMAIL": 2, "CREDIT_CARD": 1},
    "model": "gpt-4o",
    "places": ["messages[0].content"],
}


@pytest.fixture
def hall() -> Hall:
    return Hall()


# --- seeing


async def test_what_waits_is_listed_oldest_first_without_contexts(hall: Hall) -> None:
    assert await hall.ask("GET", "/api/holds") == (200, [])
    async with hall.holding("a91f04", "000001"):
        status, rows = await hall.ask("GET", "/api/holds")
        assert (status, rows) == (200, [ROW, {**ROW, "id": "000001"}])


async def test_one_is_shown_with_its_contexts_and_no_more_of_a_value_than_its_tail(hall: Hall) -> None:
    context = {"place": "messages[0].content", "label": "EMAIL", "before": "write to ", "after": ", please"}
    async with hall.holding("a91f04"):
        for which in ("a91f", "a91f04"):
            assert await hall.ask("GET", f"/api/holds/{which}") == (
                200,
                {**ROW, "contexts": [{**context, "tail": "rg"}]},
            )


async def test_what_is_decided_is_not_shown_any_more(hall: Hall) -> None:
    async with hall.holding("a91f04"):
        await hall.ask("POST", "/api/holds/a91f04", {"decision": "deny"})
        assert await hall.ask("GET", "/api/holds") == (200, [])
        status, told = await hall.ask("GET", "/api/holds/a91f04")
        assert (status, told["error"]["code"]) == (409, "hold_decided")
        assert "write to" not in str(told)


# --- deciding


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        ({"decision": "approve"}, Verdict.APPROVED),
        ({"decision": "approve", "always": False}, Verdict.APPROVED),
        ({"decision": "deny"}, Verdict.DENIED),
        ({"decision": "deny", "always": False}, Verdict.DENIED),
    ],
)
async def test_a_decision_reaches_the_request(hall: Hall, data: dict[str, Any], verdict: Verdict) -> None:
    async with hall.holding("a91f04", "000001") as [first, second]:
        told = {"id": "a91f04", "decision": verdict.value, "always": False}
        assert await hall.ask("POST", "/api/holds/a91f", data) == (200, told)
        assert await first is verdict
        assert not second.done()
        assert not hall.holds.is_approved("red", "EMAIL")


async def test_an_approval_for_good_says_for_how_long(hall: Hall) -> None:
    async with hall.holding("a91f04"):
        status, told = await hall.ask("POST", "/api/holds/a91f04", {"decision": "approve", "always": True})
        assert (status, told["always"], told["until"]) == (200, True, "the gateway stops")
    assert hall.holds.is_approved("red", "CREDIT_CARD")
    assert not hall.holds.is_approved("blue", "CREDIT_CARD")


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({}, "decision"),
        ({"decision": "Approve"}, "decision"),
        ({"decision": "approved"}, "decision"),
        ({"decision": True}, "decision"),
        ({"decision": None}, "decision"),
        ({"decision": ["approve"]}, "decision"),
        ({"decision": "approve", "always": "false"}, "always"),
        ({"decision": "approve", "always": 1}, "always"),
        ({"decision": "approve", "always": None}, "always"),
        ({"decision": "deny", "always": True}, "always"),
        ({"decision": "approve", "allways": True}, "allways"),
        ([], None),
        ("approve", None),
        (b"", None),
        (b"{", None),
        (b"[" * 900, None),
    ],
)
async def test_a_body_that_makes_no_sense_decides_nothing(hall: Hall, data: Any, param: str | None) -> None:
    async with hall.holding("a91f04") as [parked]:
        status, told = await hall.ask("POST", "/api/holds/a91f04", data)
        assert (status, told["error"]["code"], told["error"]["param"]) == (400, BadRequest.code, param)
        assert not parked.done()
        assert not hall.holds.is_approved("red", "EMAIL")


@pytest.mark.parametrize(
    ("which", "error"),
    [
        ("nobody", HoldNotFound),
        ("a9", HoldNotFound),
        ("%00", HoldNotFound),
        ("a91f", HoldAmbiguous),
        ("0000ff", HoldDecided),
        ("0000", HoldDecided),
    ],
)
@pytest.mark.parametrize(("method", "data"), [("GET", None), ("POST", {"decision": "approve"})])
async def test_a_hold_that_is_not_the_one_is_an_error_of_its_own(
    hall: Hall, which: str, error: type[BadRequest], method: str, data: Any
) -> None:
    async with hall.holding("a91f04", "a91f05", "0000ff") as parked:
        hall.holds.decide("0000ff", approve=False)
        status, told = await hall.ask(method, f"/api/holds/{which}", data)
        assert (status, told["error"]["code"]) == (error.status, error.code)
        assert len(hall.holds.all()) == 2
        assert await parked[2] is Verdict.DENIED


# --- who may


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/holds"), ("GET", "/api/holds/a91f04"), ("POST", "/api/holds/a91f04")]
)
@pytest.mark.parametrize(
    ("key", "status", "code"),
    [(b"Bearer red", 403, "scope_missing"), (b"Bearer wrong", 401, "invalid_api_key"), (b"", 401, "invalid_api_key")],
)
async def test_a_projects_key_neither_sees_nor_decides_even_what_is_its_own(
    hall: Hall, method: str, path: str, key: bytes, status: int, code: str
) -> None:
    """A tool that may approve its own requests need not ask."""
    async with hall.holding("a91f04") as [parked]:
        told = await hall.ask(method, path, {"decision": "approve"}, key)
        assert (told[0], told[1]["error"]["code"]) == (status, code)
        assert "EMAIL" not in str(told)
        assert not parked.done()


@pytest.mark.parametrize("which", ["a91f04", "nobody"])
async def test_a_projects_key_cannot_tell_what_waits_from_what_does_not(hall: Hall, which: str) -> None:
    async with hall.holding("a91f04"):
        status, _ = await hall.ask("GET", f"/api/holds/{which}", None, b"Bearer red")
        assert status == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_nothing_is_decided_in_another_way(hall: Hall, method: str) -> None:
    async with hall.holding("a91f04") as [parked]:
        status, told = await hall.ask(method, "/api/holds/a91f04", {"decision": "approve"})
        assert (status, told["error"]["code"]) == (405, "method_not_allowed")
        assert not parked.done()
