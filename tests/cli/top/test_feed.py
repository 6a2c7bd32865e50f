"""The feed before a real gateway: what is told, in which order, and what becomes of it when the gateway goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from membrain_cli import console, daemon
from membrain_cli.console import CommandError, Console
from membrain_cli.top.app import Top
from membrain_cli.top.feed import Feed
from tests.cli.shell import environment
from tests.cli.top.happenings import Screen
from tests.cli.top.screens import settle, text_of
from tests.served import Served
from tests.sink import Sink

pytestmark = pytest.mark.anyio

PATIENCE = 20.0
"""Seconds that anything here may take on a busy machine."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, shared_sink: Sink) -> Iterator[Served]:
    """A gateway that asks a person about what is private."""
    home = tmp_path_factory.mktemp("top")
    with Served(home, shared_sink, MEMBRAIN_ROUTING_ATTEMPTS="1", MEMBRAIN_PII_ON_FIND="confirm") as served:
        yield served


def console_of(home: Path, **more: str) -> Console:
    """A console of who uses that gateway; from now on the current one."""
    made = Console(Screen(), Screen(), Screen(), environment(home, **more))
    console.use(made)
    return made


class Ear:
    """A feed that runs, and what it told until now."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.heard: list[tuple[str, Any]] = []

    def until(self, name: str, is_it: Callable[[Any], bool] = lambda _: True) -> Any:
        """What the next event called *name* brings, if it is the one; earlier ones are forgotten."""
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            self.heard += self.feed.drain()
            while self.heard:
                heard, data = self.heard.pop(0)
                if heard == name and is_it(data):
                    return data
            time.sleep(0.01)
        raise AssertionError(f"{name} was not told")


@pytest.fixture
def ear(gateway: Served) -> Iterator[Ear]:
    feed = Feed(console_of(gateway.home))
    feed.start()
    yield Ear(feed)
    feed.stop()


def test_what_is_known_comes_first_and_then_each_exchange_as_it_ends(gateway: Served, ear: Ear) -> None:
    start = ear.until("up")
    assert start.health["url"] == gateway.url
    assert {each["name"] for each in start.health["providers"]} >= {"openai", "anthropic"}
    assert {"budgets", "saved_micros"} <= start.usage.keys()
    assert start.holds == []
    assert ear.until("snapshot")["up_seconds"] >= 0
    gateway.chat("Hello")
    record = ear.until("exchange")
    assert (record["model"], record["outcome"]) == ("gpt-4o", "answered")
    assert record["steps"]
    again = Feed(console_of(gateway.home))
    again.start()
    assert Ear(again).until("up").recent[0]["id"] == record["id"]
    again.stop(PATIENCE)
    assert not again._thread.is_alive()


def test_a_hold_is_told_looked_at_and_decided(gateway: Served, ear: Ear) -> None:
    ear.until("snapshot")
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(gateway.chat("Write to ada@example.org").status))
    asking.start()
    held = ear.until("hold")
    assert held["labels"] == {"EMAIL": 1}
    shown = ear.feed.hold(held["id"])
    assert shown["contexts"][0]["tail"] == "rg"
    assert "ada@example" not in str(shown)
    ear.feed.decide(held["id"], "approve", always=False)
    assert ear.until("held")["decision"] == "approved"
    asking.join(PATIENCE)
    assert answers == [200]
    for ask in (lambda: ear.feed.hold(held["id"]), lambda: ear.feed.decide("ffffffff", "deny", always=False)):
        with pytest.raises(CommandError):
            ask()


def test_without_a_gateway_it_says_so_once(tmp_path: Path) -> None:
    feed = Feed(console_of(tmp_path / "nobody"))
    feed.start()
    assert Ear(feed).until("down") == ""
    time.sleep(0.05)
    assert [*feed.drain()] == []
    feed.stop(PATIENCE)


def test_a_gateway_that_will_not_tell_us_is_down_with_its_reason(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "machine_key", lambda places: "ck_live_nobody")
    feed = Feed(console_of(gateway.home))
    feed.start()
    ear = Ear(feed)
    assert "key" in ear.until("down")
    feed.bring_up()  # it is up, so that is all that can be said
    assert ear.until("starting") is None
    assert "key" in ear.until("down")
    feed.stop(PATIENCE)


def test_a_fault_of_the_thread_is_not_lost(gateway: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ArithmeticError

    monkeypatch.setattr("membrain_cli.top.feed.begun", broken)
    feed = Feed(console_of(gateway.home))
    feed.start()
    assert isinstance(Ear(feed).until("fault"), ArithmeticError)
    feed.stop(PATIENCE)


def test_it_can_start_the_gateway_and_tells_when_it_cannot(environ: dict[str, str]) -> None:
    broken = Feed(Console(Screen(), Screen(), Screen(), {**environ, "MEMBRAIN_TIER": "fastest"}))
    broken.bring_up()
    told = [*broken.drain()]
    assert [name for name, _ in told] == ["starting", "down"]
    assert "fast, balanced, best" in told[1][1]
    feed = Feed(Console(Screen(), Screen(), Screen(), environ))
    feed.start()
    ear = Ear(feed)
    ear.until("down")
    feed.bring_up()
    assert ear.until("starting") is None
    assert ear.until("up").health["status"] == "ok"
    feed.stop()


async def test_on_the_dashboard_an_exchange_is_seen_and_the_gateway_may_go_and_come(served: Served) -> None:
    made = console_of(served.home)
    app = Top(made, Feed(made))
    async with app.run_test(size=(100, 30)) as pilot:

        async def seen(words: str) -> None:
            limit = time.monotonic() + PATIENCE
            while words not in text_of(app):
                assert time.monotonic() < limit, text_of(app)
                await settle(pilot)
                await pilot.pause(0.02)

        await seen("▶ live")
        served.chat("Hello", "gpt-4o-mini")
        await seen("gpt-4o-mini")
        served.stop()
        await seen("○ down")
        served.start()
        await seen("▶ live")
        served.chat("Hello", "gpt-4.1-nano")
        await seen("gpt-4.1-nano")
        assert "gpt-4o-mini" in text_of(app)
        served.stop()
    served.assert_sound()
