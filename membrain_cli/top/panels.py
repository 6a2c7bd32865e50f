"""The panels: head, tiles, exchanges, providers, budgets, an open exchange, keys. They know a view, not the network.

Each draws what it was last given and nothing else; words come from `lines` and `detail`, colours from the theme.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from rich.style import Style as RichStyle
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Click, MouseScrollDown, MouseScrollUp, Resize
from textual.message import Message
from textual.strip import Strip
from textual.style import Style as VisualStyle
from textual.visual import Visual
from textual.widget import Widget
from textual.widgets import Static

from membrain.records import AuditRecord
from membrain_cli.console import Console, Style
from membrain_cli.top import detail, lines
from membrain_cli.top.curves import Bucket, drawn
from membrain_cli.top.keys import GAP, Key, Place, footer
from membrain_cli.top.paint import fitted, painted, spread, stacked
from membrain_cli.top.state import Row, View

REVERSED = RichStyle(reverse=True)
CURVE_LINES = 3
"""Lines of a tile's curve."""


class Panel(Static):
    """What is as wide as there is room, and says when that changes: what it shows has to be told anew."""

    _told = Content("")

    class Resized(Message):
        """There is another width."""

    def show(self, content: Content, *, layout: bool = False) -> None:
        """Draw *content*, unless it is there already; with *layout* it may have another height."""
        if not content.is_same(self._told):
            self._told = content
            self.update(content, layout=layout)

    def on_resize(self, _event: Resize) -> None:
        """Say so."""
        self.post_message(self.Resized())


class Line(Panel):
    """One line of text with both ends."""

    def tell(self, left: str, right: str = "") -> None:
        """Show *left*, and *right* at the other end."""
        self.show(spread(left, right, max(1, self.size.width or self.app.size.width)))


class Tile(Panel):
    """One of the four answers: a number, its curve over the window, and what else there is to it."""

    def __init__(self, shell: Console, tile: lines.Tile) -> None:
        super().__init__(classes="panel")
        self._shell, self._tile = shell, tile
        self.border_title = tile.title

    @property
    def columns(self) -> int:
        """Columns of the curve."""
        return max(1, self.content_size.width - 2)

    def tell(self, view: View, pieces: list[Bucket]) -> None:
        """Show *view*, its curve being of *pieces*, as many as there are columns."""
        width = self.columns
        curve = drawn(self._tile.curve(pieces), CURVE_LINES, unicode=self._shell.unicode)
        figures = view.figures
        told = [
            self._shell.style(self._tile.above(figures), "bold"),
            *(self._shell.style(line, "accent") for line in curve),
            self._shell.style(lines.below(self._tile, figures, width), "dim"),
        ]
        self.show(stacked(fitted(f" {line}", width + 2) for line in told))


class Exchanges(Widget, can_focus=True):
    """The list. The cursor keeps its row while others arrive on top, unless it follows the newest."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"exchanges--cursor"}

    class Opened(Message):
        """The exchange under the cursor is to be opened."""

    def __init__(self, shell: Console) -> None:
        super().__init__(classes="panel")
        self._shell = shell
        self._rows: Sequence[Row] = ()
        self._drawn: dict[tuple[int, bool], Strip] = {}
        self._emptiness = self._note = ""
        self._cursor = self._offset = 0
        self.following = True
        self.border_title = "exchanges"

    # what is there

    def tell(self, rows: Sequence[Row], emptiness: str = "") -> None:
        """Show *rows*, the newest first; *emptiness* is said if there are none."""
        if rows == self._rows and rows:
            return
        kept = self.row
        self._rows, self._emptiness = rows, emptiness
        self._cursor = 0 if self.following or kept is None else place_of(kept, rows)
        self._bring_into_sight()

    def note(self, words: str) -> None:
        """Say *words* at the bottom."""
        if words != self._note:
            self._note = words
            self.border_subtitle = painted(words)

    @property
    def row(self) -> Row | None:
        """The exchange under the cursor."""
        return self._rows[self._cursor] if self._cursor < len(self._rows) else None

    @property
    def count(self) -> int:
        """Rows there are."""
        return len(self._rows)

    @property
    def page(self) -> int:
        """Rows that are in sight."""
        return max(1, self.content_size.height - self.headed)

    @property
    def headed(self) -> int:
        """Lines of the columns' titles: none where there is little room."""
        return int(self.content_size.height > 8)

    def jump(self, *, newest: bool) -> None:
        """To one of both ends; at the newest it follows."""
        self.move(-len(self._rows) - 1 if newest else len(self._rows))

    def move(self, by: int) -> None:
        """Move the cursor; it holds its row from then on, but at the very top it follows again if one moved up."""
        self._cursor = min(max(0, self._cursor + by), max(0, len(self._rows) - 1))
        self.following = by < 0 and self._cursor == 0
        self._bring_into_sight()

    def hold(self) -> None:
        """Keep the row under the cursor."""
        self.following = False

    def forget(self) -> None:
        """Draw everything anew, as after a change of the theme."""
        self._drawn.clear()
        self.refresh()

    def _bring_into_sight(self) -> None:
        self._offset = min(max(self._offset, self._cursor - self.page + 1), self._cursor)
        self._offset = max(0, min(self._offset, len(self._rows) - self.page))
        self.refresh()

    # drawing

    def render_line(self, y: int) -> Strip:
        """One line: the titles, an exchange, or nothing."""
        width, place = self.content_size.width, self._offset + y - self.headed
        if y < self.headed:
            return self._strip(self._titles(width))
        if place < len(self._rows):
            return self._row_strip(self._rows[place], width, chosen=place == self._cursor)
        told = f" {self._emptiness}" if not self._rows and y == self.headed else ""
        return self._strip(fitted(told, width))

    def _row_strip(self, row: Row, width: int, *, chosen: bool) -> Strip:
        key = (row.number, chosen)
        if key not in self._drawn:
            if len(self._drawn) > 4 * self.page:
                self._drawn.clear()
            self._drawn[key] = self._chosen(row, width) if chosen else self._strip(self._row(row, width))
        return self._drawn[key]

    def _chosen(self, row: Row, width: int) -> Strip:
        """The row under the cursor: on another ground, or reversed where the terminal's own colours are used."""
        strip = self._strip(self._row(row, width), self.get_visual_style("exchanges--cursor"))
        return strip.apply_style(REVERSED) if self.app.current_theme.ansi else strip

    def _strip(self, content: Content, style: VisualStyle | None = None) -> Strip:
        return Visual.to_strips(self, content, self.content_size.width, 1, style or self.visual_style, pad=True)[0]

    def _titles(self, width: int) -> Content:
        titles = [fitted(cell.title, size, right=cell.right) for cell, size in lines.layout(width - 2)]
        return Content(" ").join([Content(""), *titles]).stylize("dim")

    def _row(self, row: Row, width: int) -> Content:
        cells = lines.row_cells(self._shell, row, lines.layout(width - 2))
        return Content(" ").join([Content(""), *(fitted(text, size, right=right) for text, size, right in cells)])

    def on_resize(self, _event: Resize) -> None:
        """Rows are as wide as we are."""
        self._drawn.clear()
        self._bring_into_sight()

    # the mouse

    def on_click(self, event: Click) -> None:
        """A click chooses a row, another one opens it."""
        place = self._offset + event.get_content_offset_capture(self).y - self.headed
        if not 0 <= place < len(self._rows):
            return
        self.move(place - self._cursor)
        self.hold()
        if event.chain > 1:
            self.post_message(self.Opened())

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """The wheel moves the cursor, as its row is what is kept in sight."""
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """As down."""
        event.stop()
        self.move(-3)


def place_of(row: Row, rows: Sequence[Row]) -> int:
    """Where *row* is now, or the row that is next to where it was: their numbers fall from the newest on."""
    older = (place for place, each in enumerate(rows) if each.number <= row.number)
    return next(older, max(0, len(rows) - 1))


class Providers(Panel):
    """Who answers, how fast, and how reliably."""

    def __init__(self, shell: Console) -> None:
        super().__init__(classes="panel")
        self._shell = shell
        self.border_title = "providers"

    def tell(self, view: View) -> None:
        """Show those of *view*."""
        width = max(20, self.content_size.width)
        told = [lines.provider(self._shell, each) for each in view.providers]
        self.show(stacked(self._line(each, width) for each in told))

    def _line(self, told: tuple[str, str, str], width: int) -> Content:
        name, took, words = told
        left = fitted(f" {name}", width - 15)
        if not took:
            return Content.assemble(left, " ", fitted(words, 14))
        return Content.assemble(left, fitted(took, 7, right=True), "  ", fitted(words, 6))


class Budgets(Panel):
    """What may be spent, and what is."""

    def __init__(self, shell: Console) -> None:
        super().__init__(classes="panel")
        self._shell = shell
        self.border_title = "budgets"
        self._lines = 0

    def tell(self, view: View) -> None:
        """Show those of *view*."""
        width = max(16, self.content_size.width - 2)
        told = [line for each in view.budgets for line in lines.budget(self._shell, each, width)]
        told = told or lines.no_budget(self._shell)
        self.show(stacked(fitted(f" {line}", width + 1) for line in told), layout=len(told) != self._lines)
        self._lines = len(told)


class Detail(VerticalScroll, can_focus=False):
    """An open exchange: its waterfall, or the decision behind it. It can be scrolled where there is little room."""

    def __init__(self, shell: Console) -> None:
        super().__init__(classes="panel")
        self._shell = shell
        self._record: AuditRecord | None = None
        self.deciding = False
        """Whether the decision is shown, and not the waterfall."""

    def compose(self) -> ComposeResult:
        """Its lines."""
        yield Static()

    @property
    def record(self) -> AuditRecord | None:
        """The exchange that is open."""
        return self._record

    def tell(self, row: Row) -> None:
        """Show *row*; nothing to do if it is shown already."""
        if self._record is None or row.record["id"] != self._record.id:
            self._record = AuditRecord.from_dict(dict(row.record))
            self.scroll_home(animate=False)
            self.draw()

    def draw(self) -> None:
        """Draw it as wide as there is room."""
        if self._record is None:
            return
        shell, width = self._shell, max(10, self.content_size.width - 2)
        told = detail.decided(shell, self._record) if self.deciding else detail.page(shell, self._record, width)
        self.query_one(Static).update(stacked(line for left, right in told for line in ends(left, right, width)))
        self.border_title = painted(detail.title(shell, self._record))
        self.border_subtitle = painted("decision" if self.deciding else self._record.outcome)

    def on_resize(self, _event: Resize) -> None:
        """Another width, another waterfall."""
        self.draw()


def ends(left: str, right: str, width: int) -> Iterator[Content]:
    """Two texts at both ends of a line, or below each other where that is too narrow."""
    whole = painted(left)
    if right and whole.cell_length + painted(right).cell_length + 2 <= width:
        yield Content.assemble(" ", spread(left, right, width))
        return
    for text in (whole, painted(right)) if right else (whole,):
        yield from (Content.assemble(" ", line) for line in text.wrap(width) or [Content("")])


class Keys(Panel):
    """The keys of *table* that apply, on one line."""

    def __init__(self, shell: Console, table: tuple[Key, ...]) -> None:
        super().__init__()
        self._shell, self._table = shell, table

    def tell(self, place: Place, width: int) -> None:
        """Show those of *place*."""
        accent: Style = "accent"
        told = footer(place, width, unicode=self._shell.unicode, table=self._table)
        line = GAP.join(f"{self._shell.style(key, accent)} {words}" for key, words in told)
        self.show(painted(f" {line}"))
