"""The dashboard as one sees and uses it, on a screen that is not there; feeds are invented."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from membrain_cli.console import CONTROLS, Exit
from membrain_cli.top.app import Top
from membrain_cli.top.dialogs import HoldScreen, KeysScreen
from membrain_cli.top.panels import Exchanges
from membrain_cli.top.themes import MEMBRANE, MONO
from tests.cli.top.happenings import (
    BUDGETS,
    HEALTH,
    HOLD,
    LATELY,
    SNAPSHOT,
    Ascii,
    Screen,
    Told,
    exchange,
    found,
    shell,
    start,
)
from tests.cli.top.screens import compared, resize, settle, still, styles_of, text_of, texts_of
from tests.cli.top.test_paint import MARKUP, NASTY

pytestmark = pytest.mark.anyio

SIZES = ((40, 12), (80, 24), (120, 40), (200, 60))
UP = (("up", start()), ("snapshot", SNAPSHOT))
HELD = ("hold", {name: HOLD[name] for name in ("id", "caller", "project", "labels")})


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clocks in rows are this machine's own."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@asynccontextmanager
async def shown(
    *events: tuple[str, Any],
    size: tuple[int, int] = (100, 24),
    environ: dict[str, str] | None = None,
    kind: type[Screen] = Screen,
    keys: dict[str, str] | None = None,
) -> AsyncIterator[tuple[Pilot[int], Top, Told]]:
    """The dashboard with *events* told."""
    feed = Told(*(events or UP))
    app = Top(shell(environ, kind=kind), feed, keys or {})
    async with app.run_test(size=size, notifications=True) as pilot:
        await settle(pilot)
        yield pilot, app, feed


async def press(pilot: Pilot[int], *keys: str) -> str:
    """Press keys, and give what is to be seen then."""
    for key in keys:
        pilot.app.simulate_key(key)
        await pilot.pause(0)
    await settle(pilot)
    return text_of(pilot.app)  # type: ignore[arg-type]  # it is ours


# --- how it looks --------------------------------------------------------------------------------------------

SCREENS: dict[str, tuple[str, ...]] = {
    "list": (),
    "open": ("enter",),
    "decision": ("r",),
    "hold": (),
    "keys": ("question_mark",),
}
"""Each screen, and the keys that lead there."""


@pytest.mark.parametrize("name", SCREENS)
async def test_each_screen_is_as_it_was_looked_at(name: str) -> None:
    """At three sizes, the first at four, and in two themes. If it is meant to be otherwise: see `screens`."""
    async with shown(*UP, *([HELD] if name == "hold" else []), size=SIZES[0]) as (pilot, app, _):
        await press(pilot, *SCREENS[name])
        if name == "hold":
            await until(pilot, lambda: isinstance(app.screen, HoldScreen))
            app.screen.listen()  # type: ignore[attr-defined]  # as after the moment in which nothing counts
        sizes = SIZES if name == "list" else SIZES[:3]
        told: dict[tuple[int, int], list[str]] = {size: [] for size in sizes}
        for theme in (MEMBRANE, MONO):
            app.theme = theme
            for size in sizes:
                await resize(pilot, *size)
                text, look = await still(pilot)
                told[size] += [*([text] if theme == MEMBRANE else []), f"--- {theme}", look]
    for (width, height), parts in told.items():
        now, kept = compared(f"{name}-{width}x{height}", "\n".join(parts))
        assert now == kept


async def until(pilot: Pilot[int], true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    for _ in range(200):
        if true():
            return
        await settle(pilot)
    raise AssertionError("it did not come to that")


async def test_without_colour_it_starts_in_mono_and_draws_none() -> None:
    async with shown(environ={"NO_COLOR": "1"}) as (pilot, app, _):
        assert app.theme == MONO
        await press(pilot, "j")
        assert not [style for style in styles_of(app) if style.color and not style.color.is_default]
        assert not [style for style in styles_of(app) if style.bgcolor and not style.bgcolor.is_default]
        assert [style for style in styles_of(app) if style.reverse]  # the cursor is seen all the same


async def test_where_the_terminal_is_not_utf8_all_is_ascii() -> None:
    nasty = exchange("ab", 1, "modèle-日本")
    async with shown(*UP, ("exchange", nasty), HELD, kind=Ascii) as (pilot, app, _):
        for keys in ((), ("escape",), ("enter",), ("r",), ("question_mark",), ("escape", "colon")):
            await press(pilot, *keys)
            assert [text for text in texts_of(app) if not text.isascii()] == []


async def test_themes_follow_each_other() -> None:
    """Textual's own too, one of each kind: their names for colours must be enough for us."""
    async with shown() as (pilot, app, _):
        seen = [app.theme]
        for _ in range(4):
            assert "gpt-4o-mini" in await press(pilot, "t")
            seen.append(app.theme)
        assert seen == ["membrane", "paper", "mono", "ansi-dark", "ansi-light"]
        app.theme = "nord"
        assert "gpt-4o-mini" in await press(pilot)


# --- what is foreign -----------------------------------------------------------------------------------------


def hostile(text: str) -> list[tuple[str, Any]]:
    """*text* in every place that comes from elsewhere."""
    row = exchange(
        "ab", 1, text, provider=text, caller=text, project=text, outcome="failed", error=text, answered_model=text,
        attempts=(), **{**found("EMAIL"), "pii_labels": (text,)},
    )  # fmt: skip
    row["attempts"] = [{"provider": text, "model": text, "ms": 5.0, "error": text}]
    row["steps"] = [{"room": text, "ms": 1.0, "note": text}]
    row["findings"] = [{"label": text, "place": text, "action": text}]
    candidate = {"model": text, "provider": text, "kept": True, "reason": text, "local": False}
    row["decision"] = {"asked": text, "tier": None, "private": False, "candidates": [candidate], "max_cost": None}
    provider = {"name": text, "up": False, "where": text, "note": text}
    health = {**HEALTH, "url": text, "auth": text, "masking": text, "providers": [provider]}
    budget = {**BUDGETS[0], "owner": f"project:{text}", "period": text}
    begun = start(health=health, recent=[row], usage={"saved_micros": 0, "budgets": [budget]})
    return [("up", begun), ("snapshot", SNAPSHOT)]


def held(text: str) -> dict[str, Any]:
    """A request that waits, made of *text*."""
    around = {"place": text, "label": text, "before": text, "after": text, "tail": text}
    return {**HOLD, "caller": text, "project": text, "labels": {text: 1}, "model": text, "contexts": [around]}


@pytest.mark.parametrize("text", [" ".join(NASTY.values()), " ".join(MARKUP)], ids=["bytes", "markup"])
async def test_foreign_text_reaches_the_terminal_as_text(text: str) -> None:
    async with shown(*hostile(text), size=(160, 40)) as (pilot, app, feed):
        feed.holds[HOLD["id"]] = held(text)
        screens = [text_of(app)]
        screens += [await press(pilot, *keys) for keys in (("enter",), ("r",), ("escape",))]
        feed.tell(("hold", held(text)))
        await until(pilot, lambda: isinstance(app.screen, HoldScreen))
        screens.append(await press(pilot))
        feed.tell(("down", text))
        screens.append(await press(pilot, "escape"))
        for screen in screens:
            assert not CONTROLS.search(screen.replace("\n", ""))
            assert "evil" not in screen or text.startswith("[red]")
        assert not [style for style in styles_of(app) if style.link or style.meta.get("@click")]
        if text.startswith("[red]"):
            assert all("[red]x[/red]" in screen for screen in screens[:3])


async def test_what_is_pasted_into_the_filter_is_text_too() -> None:
    async with shown() as (pilot, app, _):
        await press(pilot, "slash")
        for text in NASTY.values():
            app.query_one(Input).value = text
            await settle(pilot)
            assert not [each for each in texts_of(app) if CONTROLS.search(each)]


async def test_no_masked_value_is_ever_shown() -> None:
    """There is none in what the gateway tells; of a value that waits, its last two signs are."""
    async with shown(*UP, HELD) as (pilot, app, _):
        await until(pilot, lambda: isinstance(app.screen, HoldScreen))
        assert "mail to …rg about it" in text_of(app)


# --- the list ------------------------------------------------------------------------------------------------


def chosen(app: Top) -> str:
    row = app.screen_stack[0].query_one(Exchanges).row
    return "" if row is None else str(row.record["id"]).rstrip("0")


async def test_the_newest_is_followed_until_one_moves() -> None:
    async with shown() as (pilot, app, feed):
        feed.tell(("exchange", exchange("aa", 2)))
        assert "following" in await press(pilot)
        assert chosen(app) == "aa"
        assert "holding" in await press(pilot, "j")
        feed.tell(*(("exchange", exchange(f"b{n}", 1)) for n in range(100)))
        await settle(pilot)
        assert chosen(app) == "7f3a9c"
        assert "following" in await press(pilot, "g")
        assert chosen(app) == "b99"


async def test_one_moves_with_arrows_letters_and_pages() -> None:
    async with shown() as (pilot, app, _):
        for down, up in (("down", "up"), ("j", "k"), ("pagedown", "pageup"), ("G", "g")):
            await press(pilot, down)
            assert chosen(app) != "7f3a9c"
            await press(pilot, up)
            assert chosen(app) == "7f3a9c"
        await press(pilot, "end")
        assert chosen(app) == str(LATELY[-1]["id"]).rstrip("0")


async def test_a_click_chooses_and_another_opens() -> None:
    async with shown() as (pilot, app, _):
        await pilot.click(Exchanges, offset=(10, 4))
        await settle(pilot)
        assert chosen(app) == "5d10ee"
        await pilot.click(Exchanges, offset=(10, 4), times=2)
        await settle(pilot)
        assert "5d10ee ·" in text_of(app)


async def test_it_can_be_frozen_and_counts_what_waits() -> None:
    async with shown() as (pilot, app, feed):
        before = await press(pilot, "space")
        assert "paused, 0 new" in before
        feed.tell(
            *(("exchange", exchange(f"b{n:02}", 1)) for n in range(12)), ("snapshot", {**SNAPSHOT, "today": 9999})
        )
        frozen = await press(pilot)
        assert "paused, 12 new" in frozen
        assert frozen.replace("12 new", "0 new").split() == before.split()
        gone_on = await press(pilot, "space")
        assert "live" in gone_on
        assert "9,999 today" in gone_on
        assert chosen(app) == "b11"


async def test_the_window_goes_round() -> None:
    async with shown() as (pilot, _, _):
        assert "last hour" in await press(pilot, "w")
        assert "last 5 min" in await press(pilot, "w")
        assert "last 15 min" in await press(pilot, "w")


async def test_a_frozen_screen_can_be_filtered_and_looked_at_through_another_window() -> None:
    async with shown() as (pilot, _, feed):
        await press(pilot, "space")
        feed.tell(("exchange", exchange("b1", 1, "claude-haiku-9")))
        await press(pilot, "w", "slash", *"haiku")
        told = await press(pilot, "enter")
        assert "1 of 1,204" in told
        assert "claude-haiku-9" not in told
        assert "paused, 1 new" in told


async def test_a_filter_holds_while_one_types_and_can_be_cleared() -> None:
    async with shown() as (pilot, app, _):
        told = await press(pilot, "slash", *"haiku q")
        assert "0 of 1,204" in told
        assert "Nothing passes the filter." in told
        assert "1 of 1,204" in await press(pilot, "backspace", "backspace")
        assert "filtered" in await press(pilot, "enter")
        assert app.focused is app.query_one(Exchanges)
        assert f"{len(LATELY)} of 1,204" in await press(pilot, "slash", "escape")


async def test_only_what_held_something_private_is_listed() -> None:
    async with shown() as (pilot, _, _):
        assert "4 of 1,204" in await press(pilot, "p")
        assert f"{len(LATELY)} of 1,204" in await press(pilot, "p")


# --- an open exchange ----------------------------------------------------------------------------------------


async def test_an_exchange_opens_and_closes() -> None:
    async with shown() as (pilot, _, _):
        for opens, closes in (("enter", "escape"), ("l", "h"), ("right", "left")):
            told = await press(pilot, opens)
            assert "Why this model" in told
            assert "esc back" in told
            assert "Why this model" not in await press(pilot, closes)


async def test_the_next_one_can_be_read_without_closing() -> None:
    async with shown() as (pilot, _, feed):
        await press(pilot, "enter", "down")
        feed.tell(("exchange", exchange("aa", 2)))
        assert "c02b11 ·" in await press(pilot)
        assert "5d10ee ·" in await press(pilot, "j")
        assert "7f3a9c ·" in await press(pilot, "k", "k")
        feed.tell(("exchange", exchange("bb", 1)))
        assert "7f3a9c ·" in await press(pilot)


async def test_r_shows_why_and_again_how() -> None:
    async with shown() as (pilot, _, _):
        assert "in no tier; by name or" in await press(pilot, "r")
        assert "Why this model" in await press(pilot, "r")
        assert "Why this model" in await press(pilot, "escape", "enter")


async def test_its_id_and_a_command_can_be_copied() -> None:
    async with shown() as (pilot, app, _):
        await press(pilot, "enter", "y")
        assert app.clipboard == LATELY[0]["id"]
        await press(pilot, "c")
        assert app.clipboard.startswith("curl ")
        assert f"/api/audit/{LATELY[0]['id']}" in app.clipboard
        assert "ck_" not in app.clipboard


async def test_with_nothing_to_open_nothing_opens() -> None:
    async with shown(("up", start(recent=())), ("snapshot", SNAPSHOT)) as (pilot, _, _):
        assert "Why this model" not in await press(pilot, "enter", "r", "j", "G", "g")


# --- narrow --------------------------------------------------------------------------------------------------


NARROW: tuple[tuple[int, tuple[str, ...], tuple[str, ...]], ...] = (
    (100, ("requests", "providers", "exchanges"), ()),
    (99, ("requests", "exchanges"), ("providers",)),
    (79, ("18.4 /min ·", "exchanges"), ("requests", "providers")),
    (59, ("exchanges",), ("18.4 /min", "providers")),
)
"""Columns, and what is to be seen then and what not."""


async def test_where_it_is_narrow_the_least_goes_first_and_tab_brings_the_right_column() -> None:
    async with shown() as (pilot, _, _):
        for width, seen, hidden in NARROW:
            await resize(pilot, width, 24)
            told, _look = await still(pilot)
            assert [word for word in seen if word not in told] == []
            assert [word for word in hidden if word in told] == []
            for _ in range(2):
                assert ("providers" in await press(pilot, "tab")) != ("providers" in told)
                told, _look = await still(pilot)


async def test_no_size_is_too_small_or_too_large() -> None:
    async with shown(*UP, HELD) as (pilot, _, _):
        for size in ((1, 1), (10, 3), (20, 5), (240, 70)):
            await resize(pilot, *size)
            await press(pilot, "escape", "enter", "r", "escape", "tab", "question_mark", "escape")


# --- the gateway goes and comes ------------------------------------------------------------------------------


async def test_down_is_a_line_in_the_same_frame() -> None:
    async with shown(*UP, ("down", "")) as (_, app, _):
        told = text_of(app)
        assert "○ down – press u to start it" in told  # noqa: RUF001  # the longer dash
        assert "claude-haiku" in told
        assert "requests" in told


async def test_u_starts_it_and_only_when_it_is_down() -> None:
    async with shown() as (pilot, app, feed):
        await press(pilot, "u")
        assert feed.asked == []
        feed.tell(("down", "Port 8001 is taken."))
        assert "✗ Port 8001 is taken." in await press(pilot)
        await press(pilot, "u")
        await until(pilot, lambda: "live" in text_of(app))
        assert feed.asked == [("start",)]


# --- what waits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "decided"), [("y", ("approve", False)), ("n", ("deny", False)), ("a", ("approve", True))]
)
async def test_a_hold_is_answered_on_the_spot(key: str, decided: tuple[str, bool]) -> None:
    async with shown(*UP, HELD) as (pilot, app, feed):
        await until(pilot, lambda: isinstance(app.screen, HoldScreen))
        await press(pilot, key)
        assert feed.asked == []  # what was typed until then was meant for something else
        app.screen.listen()  # type: ignore[attr-defined]  # as a moment later
        await press(pilot, key)
        await until(pilot, lambda: bool(feed.asked))
        assert feed.asked == [(HOLD["id"], *decided)]
        await until(pilot, lambda: "waits for you" not in text_of(app))


async def test_later_leaves_it_waiting_and_a_asks_again() -> None:
    async with shown(*UP, HELD) as (pilot, app, feed):
        await until(pilot, lambda: isinstance(app.screen, HoldScreen))
        assert "a to answer" in await press(pilot, "escape")
        await press(pilot, "a")
        await until(pilot, lambda: isinstance(app.screen, HoldScreen))
        assert feed.asked == []


async def test_it_goes_when_somebody_else_has_answered() -> None:
    async with shown(*UP, HELD) as (pilot, app, feed):
        await until(pilot, lambda: isinstance(app.screen, HoldScreen))
        feed.tell(("held", {"id": HOLD["id"], "decision": "denied"}))
        await until(pilot, lambda: not isinstance(app.screen, HoldScreen))
        assert "waits for you" not in text_of(app)


async def test_nobody_is_interrupted_while_they_type() -> None:
    async with shown() as (pilot, app, feed):
        await press(pilot, "slash", "y")
        feed.tell(HELD)
        assert "waits for you" in await press(pilot)
        assert not isinstance(app.screen, HoldScreen)
        await press(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, HoldScreen))


async def test_an_answer_that_came_too_late_is_said_to() -> None:
    async with shown(*UP, HELD) as (pilot, app, feed):
        await until(pilot, lambda: isinstance(app.screen, HoldScreen))
        feed.holds.clear()
        app._feed = Late()
        app.screen.listen()  # type: ignore[attr-defined]  # as a moment later
        await press(pilot, "y")
        await until(pilot, lambda: "waits no longer: [approved]" in text_of(app))


class Late(Told):
    """A feed at which everybody is too late."""

    def decide(self, id: str, decision: str, *, always: bool) -> Any:
        from membrain_cli.console import CommandError

        raise CommandError("This request waits no longer: [approved].", [], 1)


# --- help, commands, the end ---------------------------------------------------------------------------------


async def test_help_shows_every_key_and_goes() -> None:
    async with shown() as (pilot, app, _):
        assert "answer what waits" in await press(pilot, "question_mark")
        assert isinstance(app.screen, KeysScreen)
        await press(pilot, "escape")
        assert not isinstance(app.screen, KeysScreen)


async def test_the_command_palette_knows_the_table_of_keys() -> None:
    async with shown() as (pilot, app, _):
        await press(pilot, "colon", *"pause")
        await until(pilot, lambda: "Pause" in text_of(app))
        await press(pilot, "enter")
        await until(pilot, lambda: app.paused)


async def test_a_fault_of_the_feed_ends_it() -> None:
    async def faulty() -> None:
        async with shown() as (pilot, _, feed):
            feed.tell(("fault", ArithmeticError()))
            await settle(pilot)

    with pytest.raises(ArithmeticError):
        await faulty()


async def test_q_leaves_with_a_good_status() -> None:
    async with shown() as (pilot, app, _):
        await press(pilot, "q")
    assert app.return_code == 0


@pytest.mark.parametrize("before", [(), ("slash",), ("question_mark",), ("colon",)])
async def test_ctrl_c_leaves_from_everywhere(before: tuple[str, ...]) -> None:
    async with shown() as (pilot, app, _):
        await press(pilot, *before, "ctrl+c")
    assert app.return_code == Exit.INTERRUPTED


async def test_keys_are_those_that_the_settings_choose() -> None:
    async with shown(size=(120, 40), keys={"pause": "f5", "keys": "f1"}) as (pilot, app, _):
        await press(pilot, "space")
        assert not app.paused
        assert "f5 pause" in await press(pilot, "f5")
        assert app.paused
        assert "f5" in await press(pilot, "f1")
        assert app.screen.query("#all-keys")
