"""An exchange is seen from both ends, and a gateway that cannot be asked is told from one that fails."""

from __future__ import annotations

import pytest

from membrain_cli.conform import bench as room
from membrain_cli.conform.anthropic_scripts import MESSAGES
from membrain_cli.conform.bench import Differs, NotApplicable
from membrain_cli.conform.openai_scripts import CHAT, COMPLETIONS
from membrain_cli.conform.upstream import GREETING, Play, token, whole
from tests.cli.conform.relay import KEY, Fault, bench_before

pytestmark = pytest.mark.anyio


async def test_an_exchange_is_seen_from_both_ends() -> None:
    async with bench_before() as bench:
        made = await bench.exchange(CHAT, query="a=b", headers=[("x-more", "1")], more={"seed": 7})
    assert (made.got.status, made.last.target, made.last.head.get("x-more")) == (200, "/v1/chat/completions?a=b", "1")
    assert (made.last.body, made.sent.body) == (made.asked.body, made.got.body)
    assert GREETING.encode() in made.got.body
    assert token(made.asked.number).encode() in made.asked.body


async def test_each_vendors_key_is_said_its_way() -> None:
    async with bench_before() as bench:
        chat, messages = (dict(bench.target.headers_for(each)) for each in (CHAT, MESSAGES))
    assert (chat["authorization"], "x-api-key" in chat) == (f"Bearer {KEY}", False)
    assert (messages["x-api-key"], messages["anthropic-version"]) == (KEY, "2023-06-01")
    assert KEY not in repr(bench.target)


@pytest.mark.parametrize("status", sorted(room.ABSENT))
async def test_a_dialect_that_is_not_spoken_is_not_applicable(status: int) -> None:
    async with bench_before(Fault(refuses=status)) as bench:
        with pytest.raises(NotApplicable, match=f"{status} at /v1/chat/completions"):
            await bench.speaks(CHAT)


async def test_a_dialect_that_is_translated_is_not_applicable() -> None:
    async with bench_before(Fault(elsewhere="/v1/chat/completions")) as bench:
        with pytest.raises(NotApplicable, match="asked the upstream at /v1/chat/completions instead"):
            await bench.speaks(COMPLETIONS)


async def test_a_gateway_that_refuses_differs_and_is_asked_once() -> None:
    async with bench_before(Fault(refuses=401)) as bench:
        for _ in range(2):
            with pytest.raises(Differs, match="401 at /v1/chat/completions, and the upstream was not asked"):
                await bench.speaks(CHAT)
        assert len(bench.upstream.scripts) == 1


async def test_a_gateway_that_says_nothing_differs() -> None:
    async with bench_before(Fault(plain_errors=True)) as bench:
        with pytest.raises(Differs, match="without an answer"):
            await bench.exchange(CHAT, lambda _: Play(end="reset", head=False))


async def test_a_gateway_that_rests_its_provider_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "RECOVERY_PAUSE", 0.01)
    async with bench_before() as bench:
        await bench.recovered(CHAT)
    async with bench_before(Fault(refuses=503)) as bench:
        with pytest.raises(NotApplicable, match="not asked any more"):
            await bench.recovered(CHAT)
        assert len(bench.upstream.scripts) == room.RECOVERY_TRIES


async def test_a_request_that_never_arrives_is_told() -> None:
    async with bench_before(seconds=0.1) as bench:
        with pytest.raises(Differs, match="was not asked"):
            await bench.until_heard(bench.prepare(CHAT, lambda _: whole({})))
