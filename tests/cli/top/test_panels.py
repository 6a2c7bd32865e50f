"""Each panel draws what it is given, in its own columns."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult

from membrain_cli.top import lines
from membrain_cli.top.curves import Bucket
from membrain_cli.top.keys import KEYS
from membrain_cli.top.panels import Exchanges, Keys, Line, Tile, ends, place_of
from membrain_cli.top.state import Row, State, View
from tests.cli.top.happenings import NOW, SNAPSHOT, exchange, shell, start

pytestmark = pytest.mark.anyio


def row(number: int) -> Row:
    return Row(number, exchange(f"{number:02}", 1), "")


@given(st.sets(st.integers(0, 40)), st.integers(0, 40))
def test_a_row_is_found_again_or_the_next_older_one(numbers: set[int], number: int) -> None:
    rows: Sequence[Row] = [row(each) for each in sorted(numbers, reverse=True)]
    place = place_of(row(number), rows)
    if number in numbers:
        assert rows[place].number == number
    elif rows:
        older = [each for each in numbers if each < number]
        assert rows[place].number == (max(older) if older else min(numbers))
    else:
        assert place == 0


class Stage(App[None]):
    """One panel alone."""

    def __init__(self, *panels: Line | Tile | Exchanges | Keys) -> None:
        super().__init__()
        self._panels = panels

    def compose(self) -> ComposeResult:
        yield from self._panels


def view() -> View:
    state = State()
    state.take("up", start())
    state.take("snapshot", SNAPSHOT)
    return state.view(NOW.timestamp())


def plain(widget: Exchanges, y: int) -> str:
    return widget.render_line(y).text


async def test_every_line_of_the_list_is_as_wide_as_the_list() -> None:
    listed = Exchanges(shell())
    async with Stage(listed).run_test(size=(83, 20)) as pilot:
        listed.tell(view().rows)
        await pilot.pause(0)
        width, height = listed.content_size
        assert [cell_len(plain(listed, y)) for y in range(height)] == [width] * height
        assert plain(listed, 0).split()[:3] == ["time", "model", "by"]


async def test_the_cursor_stays_in_sight_however_far_one_goes() -> None:
    listed = Exchanges(shell())
    async with Stage(listed).run_test(size=(83, 14)) as pilot:
        rows = view().rows
        listed.tell(rows)
        for by in (1, 30, -7, 1000, -3, -1000):
            listed.move(by)
            await pilot.pause(0)
            assert listed.row is not None
            clock = lines.clock(shell(), listed.row.record)
            assert any(clock in plain(listed, y) for y in range(listed.content_size.height))
        assert listed.following


async def test_the_cursor_keeps_its_place_when_its_row_is_filtered_away() -> None:
    listed = Exchanges(shell())
    async with Stage(listed).run_test(size=(83, 14)):
        rows = view().rows
        listed.tell(rows)
        listed.move(5)
        listed.tell(rows[:5] + rows[6:])
        assert listed.row is rows[6]
        listed.tell(())
        assert listed.row is None


async def test_an_empty_list_says_why() -> None:
    listed = Exchanges(shell())
    async with Stage(listed).run_test(size=(83, 14)) as pilot:
        listed.tell((), "Nothing was asked yet.")
        await pilot.pause(0)
        assert plain(listed, 1).strip() == "Nothing was asked yet."


@pytest.mark.parametrize("width", [12, 20, 30, 60])
async def test_a_tile_has_a_curve_as_wide_as_itself(width: int) -> None:
    tile = Tile(shell(), lines.TILES[0])
    tile.styles.width = width
    async with Stage(tile).run_test(size=(80, 12)) as pilot:
        await pilot.pause(0)
        tile.tell(view(), [Bucket(count=number) for number in range(tile.columns)])
        shown = str(tile.render())
        assert [cell_len(line) for line in shown.split("\n")] == [tile.columns + 2] * 5
        assert shown.split("\n")[1].rstrip().endswith("█")


async def test_a_line_has_two_ends() -> None:
    line = Line()
    async with Stage(line).run_test(size=(30, 3)) as pilot:
        await pilot.pause(0)
        line.tell("left", "right")
        assert str(line.render()) == f"left{'right':>26}"


def test_where_two_ends_do_not_fit_they_stand_below_each_other() -> None:
    assert [line.plain for line in ends("left", "right", 20)] == [f" left{'right':>16}"]
    assert [line.plain for line in ends("left", "right", 8)] == [" left", " right"]
    assert [line.plain for line in ends("", "", 8)] == [" "]
    assert [line.plain for line in ends("a few words", "", 8)] == [" a few", " words"]


async def test_the_line_of_keys_is_of_the_place() -> None:
    keys = Keys(shell(), KEYS)
    async with Stage(keys).run_test(size=(100, 3)):
        keys.tell("detail", 100)
        assert str(keys.render()).startswith(" esc back   ↑↓ next exchange")
