"""Screens as text, to be looked at and compared: what stands there, and beside it how it looks in each theme.

Kept in `snapshots/`. When a screen is meant to change, `MEMBRAIN_TEST_RENEW=1 pytest tests/cli/top` writes them
anew; then read the diff as you would read code.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from string import ascii_letters
from time import monotonic
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.events import Resize
from textual.geometry import Size

from membrain_cli.top.app import Top

FOLDER = Path(__file__).parent / "snapshots"
RENEW = "MEMBRAIN_TEST_RENEW"


def lines_of(app: Top) -> list[list[Segment]]:
    """What the terminal would be given, line by line, after all filters."""
    found = []
    for strip in app.screen._compositor.render_strips():
        segments = list(strip)
        for each in app.get_line_filters():
            segments = each.apply(segments, app.screen.background_colors[1])
        found.append(segments)
    return found


def text_of(app: Top) -> str:
    """What stands on the screen."""
    return text(lines_of(app))


def text(lines: Sequence[Sequence[Segment]]) -> str:
    """What stands on *lines*."""
    return "\n".join("".join(segment.text for segment in line).rstrip() for line in lines)


def looks(lines: Sequence[Sequence[Segment]]) -> str:
    """How each cell looks: a letter for each style, a point for the commonest, and what they stand for."""
    rows = [
        [(look_of(each.style, bool(each.text.strip())), len(each.text)) for each in line if each.text] for line in lines
    ]
    counted = Counter[str]()
    for look, cells in chain(*rows):
        counted[look] += cells
    order = sorted(counted, key=lambda look: (-counted[look], look))
    letters = dict(zip(order, "." + ascii_letters, strict=False))
    runs = [[(look, sum(cells for _, cells in run)) for look, run in groupby(row, itemgetter(0))] for row in rows]
    drawn = [" ".join(f"{letters[look]}{cells}" for look, cells in row) for row in runs]
    return "\n".join([*(f"{letters[look]} = {look}" for look in order), *drawn])


@cache
def look_of(style: Style | None, written: bool) -> str:
    """A style in words; where nothing is *written*, only what is seen of it."""
    if style is None:
        return "on default"
    ground = f"on {style.bgcolor.name if style.bgcolor else 'default'}"
    if not written:
        return f"reverse {ground}" if style.reverse else ground
    shown = [name for name in ("bold", "dim", "italic", "underline", "reverse", "strike") if getattr(style, name)]
    return " ".join([*shown, style.color.name if style.color else "default", ground])


async def still(pilot: Any, seconds: float = 20.0) -> tuple[str, str]:
    """Wait until nothing moves any more; what is to be seen then, and how it looks."""
    before, limit = None, monotonic() + seconds
    while monotonic() < limit:
        await settle(pilot)
        lines = lines_of(pilot.app)
        if before == (now := (text(lines), looks(lines))):
            return now
        before = now
        await pilot.pause(0.02)
    raise AssertionError("it does not come to rest")


def compared(name: str, shown: str) -> tuple[str, str]:
    """What is shown and what was kept under *name*; with `MEMBRAIN_TEST_RENEW`, it is kept now."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get(RENEW):
        path.write_text(shown + "\n", encoding="utf-8")
    return shown, path.read_text(encoding="utf-8").removesuffix("\n")


async def settle(pilot: Any) -> None:
    """Wait until all is drawn that was to be: the app's next look at its feed, and what that causes.

    Not until the process idles, as `Pilot` does by itself: on a busy machine that is long.
    """
    await pilot.pause(0)
    pilot.app.beat()
    for _ in range(3):
        await pilot.pause(0)


async def resize(pilot: Any, width: int, height: int) -> None:
    """Give the terminal another size."""
    size = Size(width, height)
    pilot.app._driver._size = size
    pilot.app.post_message(Resize(size, size))
    while any(screen.size != size for screen in pilot.app.screen_stack):
        await pilot.pause(0.01)


def styles_of(app: Top) -> Iterator[Style]:
    """Every style on the screen."""
    return (segment.style for line in lines_of(app) for segment in line if segment.style is not None)


def texts_of(app: Top) -> Iterable[str]:
    """Every text that goes to the terminal."""
    return (segment.text for line in lines_of(app) for segment in line)
