"""The dashboard itself: it takes the feed's events, lets the panels draw, and does what the keys say.

Events are drawn together, ten times a second at most, and the curves once a second. All it knows of the gateway it has
from the feed; what may take time is done in threads.
"""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

from textual import events, on
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.filter import LineFilter, NoColor
from textual.screen import Screen
from textual.widgets import Input

from membrain_cli.console import CommandError, Console, Exit, columns_of
from membrain_cli.top import lines
from membrain_cli.top.dialogs import Answer, FilterLine, HoldScreen, KeysScreen
from membrain_cli.top.feed import Event
from membrain_cli.top.keys import KEYS, Place, chosen, first_of, named, presses
from membrain_cli.top.paint import Outgoing
from membrain_cli.top.panels import Budgets, Detail, Exchanges, Keys, Line, Panel, Providers, Tile
from membrain_cli.top.state import WINDOWS, State, View
from membrain_cli.top.themes import MEMBRANE, MONO, THEMES, after

TURNS = {"up", "down", "snapshot"}
"""Events after which the figures are others."""
BEAT = 0.1
"""Seconds between two looks at what came."""
SHORT_OF, LOW_OF = 20, 32
"""Lines under which the tiles are one line of numbers, and under which they give way to an open exchange."""


class Source(Protocol):
    """What the app needs of its feed."""

    def start(self) -> None:
        """Begin to listen."""

    def stop(self, seconds: float = 0.0) -> None:
        """Listen no more."""

    def drain(self) -> Iterable[Event]:
        """All that came since the last time."""

    def bring_up(self) -> None:
        """Start the gateway."""

    def hold(self, id: str) -> Any:
        """A request that waits."""

    def decide(self, id: str, decision: str, *, always: bool) -> Any:
        """Decide on it."""


NOTHING: Mapping[str, str] = MappingProxyType({})


class Top(App[int]):
    """`membrain top`."""

    CSS_PATH = "top.tcss"
    TITLE = "membrain"
    HORIZONTAL_BREAKPOINTS = [(0, "-w40"), (60, "-w60"), (80, "-w80"), (100, "-w100")]  # noqa: RUF012  # as Textual has it
    VERTICAL_BREAKPOINTS = [(0, "-short"), (SHORT_OF, "-low"), (LOW_OF, "-tall")]  # noqa: RUF012  # likewise
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(name, f"press('{name}')", keys[0].words, show=False, priority=name == "tab", id=f"{keys[0].id}.{name}")
        for name, keys in presses().items()
        if name != "ctrl+c"
    ]

    def __init__(self, shell: Console, feed: Source, keys: Mapping[str, str] = NOTHING) -> None:
        """*keys* are the user's own, by the ids of the table."""
        super().__init__()
        self._shell, self._feed = shell, feed
        self._table = chosen(keys)
        self.set_keymap(
            {
                f"{old.id}.{first_of(old)}": first_of(new)
                for old, new in zip(KEYS, self._table, strict=True)
                if old != new
            }
        )
        self.state = State()
        self.shown: View | None = None
        self.paused = False
        self._drawn_second = 0
        self._fitting = False
        self._asked: set[str] = set()
        """Requests that the person here has been asked about."""
        self._outgoing: list[LineFilter] = [Outgoing(ascii=not shell.unicode)]
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = MEMBRANE if shell.coloured(shell.stdout) else MONO

    # --- the frame ---------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """The panels, each in its place."""
        shell = self._shell
        yield Line(id="head")
        with Horizontal(id="tiles"):
            yield from (Tile(shell, tile) for tile in lines.TILES)
        yield Line(id="numbers")
        yield Line(id="waits")
        with Vertical(id="body"):
            with Horizontal(id="main"):
                yield Exchanges(shell)
                with Vertical(id="side"):
                    yield Providers(shell)
                    yield Budgets(shell)
            yield Detail(shell)
        yield FilterLine(placeholder="words that must be there; -word must not", id="filter", compact=True)
        yield Keys(shell, self._table)

    def on_mount(self) -> None:
        """Listen, and draw what comes."""
        self.query_one(Exchanges).focus()
        self.theme_changed_signal.subscribe(self, lambda _theme: self.query_one(Exchanges).forget())
        if sys.platform != "win32":
            self._end_with(signal.SIGTERM, signal.SIGHUP)
        self.draw()
        self._feed.start()
        self.set_interval(BEAT, self.beat)

    def on_unmount(self) -> None:
        """Listen no more."""
        self._feed.stop()

    @property
    def fault(self) -> Exception | None:
        """What went wrong inside, if something did; for the caller to raise once the terminal is a terminal again."""
        return self._exception

    def _fatal_error(self) -> None:
        """End without Textual's own traceback: it shows the values of variables."""
        self._close_messages_no_wait()

    def _end_with(self, *numbers: int) -> None:
        """Leave the terminal as it was, also when a signal ends us."""
        loop = asyncio.get_running_loop()
        for number in numbers:
            loop.add_signal_handler(number, partial(self.exit, return_code=128 + number))

    def get_line_filters(self) -> list[LineFilter]:
        """Textual's own, and ours behind them."""
        colourless: list[LineFilter] = [NoColor()] if self.theme == MONO else []
        return [*super().get_line_filters(), *colourless, *self._outgoing]

    # --- drawing -----------------------------------------------------------------------------------------------

    def beat(self) -> None:
        """Take what came; draw if that changed anything, or a second has passed."""
        came = set[str]()
        for name, data in self._feed.drain():
            if name == "fault":
                raise data
            self.state.take(name, data)
            came.add(name)
        if came & TURNS:
            self._drawn_second = 0
        if came or (int(self._now()) != self._drawn_second and self.state.linked):
            self.draw()
        self._ask_about_holds()

    def draw(self) -> None:
        """Show what there is now, or what there was when it was paused."""
        now = self._now()
        if not self.paused or self.shown is None:
            self.shown = self.state.view(now)
            self._draw_rows(self.shown)
        self._draw_head(self.shown)
        if not self.paused and int(now) != self._drawn_second:
            self.draw_figures()

    def redraw(self) -> None:
        """Draw all of it, as after a key that changes what is to be seen."""
        self.draw()
        if self.shown is not None:
            self._draw_rows(self.shown)
            self.draw_figures()

    def _draw_rows(self, view: View) -> None:
        rows = self.state.passing(view.rows)
        self.query_one(Exchanges).tell(rows, lines.emptiness(self._shell, view, filtered=self.state.filtered))
        self._draw_open()

    def draw_figures(self) -> None:
        """What moves once a second: tiles, providers, budgets."""
        if (view := self.shown) is None:
            return
        self._drawn_second = int(view.now)
        tiles = [tile for tile in self.query(Tile) if tile.display and tile.size.width]
        pieces = self.state.series.columns(tiles[0].columns, self.state.window, view.now) if tiles else []
        for tile in tiles:
            tile.tell(view, pieces)
        self.query_one("#numbers", Line).tell(lines.numbers(self._shell, view.figures, self.size.width))
        self.query_one(Providers).tell(view)
        self.query_one(Budgets).tell(view)

    def _draw_head(self, view: View) -> None:
        waiting = self.state.seen - view.seen if self.paused else None
        width = self.size.width
        right = lines.motion(self._shell, view, self.state.window, waiting, width // 3)
        room = width - columns_of(right) - 3
        self.query_one("#head", Line).tell(lines.head(self._shell, view, room), f"{right} ")
        waits = self.query_one("#waits", Line)
        waits.set_class(bool(view.holds), "-shown")
        waits.tell(lines.waits(self._shell, view))
        self.screen_stack[0].set_class(view.link != "up", "-down")
        self._draw_keys()
        listed, filtered = self.query_one(Exchanges), self.state.filtered
        following, room = listed.following and not self.paused, listed.size.width - 6
        listed.note(lines.tally(self._shell, view, listed.count, room, following=following, filtered=filtered))

    def _draw_open(self) -> None:
        row = self.query_one(Exchanges).row
        if self.place == "detail" and row is not None:
            self.query_one(Detail).tell(row)

    def _draw_keys(self) -> None:
        self.query_one(Keys).tell(self.place, self.size.width)

    @on(Panel.Resized)
    def fit(self) -> None:
        """Another size: everything anew, once for all panels."""
        if not self._fitting:
            self._fitting = True
            self.call_after_refresh(self._fit)

    def _fit(self) -> None:
        self._fitting = False
        self.redraw()

    def _now(self) -> float:
        return self._shell.clock().timestamp()

    # --- keys --------------------------------------------------------------------------------------------------

    @property
    def place(self) -> Place:
        """Where keys are pressed."""
        if self.screen_stack and self.screen_stack[0].query_one(Detail).has_class("-shown"):
            return "detail"
        return "down" if self.shown is not None and self.shown.link == "down" else "list"

    async def on_event(self, event: events.Event) -> None:
        """ctrl-c leaves, whatever lies on top."""
        if isinstance(event, events.Key) and event.key == "ctrl+c":
            self.exit(return_code=Exit.INTERRUPTED)
            return
        await super().on_event(event)

    def action_press(self, name: str) -> None:
        """Do what a key does here."""
        for key in presses()[name]:
            if self.place in key.places:
                self.do(key.id)
                return

    def do(self, id: str) -> None:
        """Do one thing of the table."""
        getattr(self, f"do_{id}")()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:  # noqa: ARG002  # Textual's own shape
        """The command palette: the table of keys, and the themes."""
        for key in self._table:
            if self.place in key.places and key.id not in PALETTE_OMITS:
                words = key.words[0].upper() + key.words[1:]
                yield SystemCommand(words, named(key, unicode=self._shell.unicode), partial(self.do, key.id))
        yield SystemCommand("Choose a theme", "ours and Textual's own", self.search_themes)

    def do_quit(self) -> None:
        """Leave."""
        self.exit(return_code=0)

    def do_leave(self) -> None:
        """Leave at once."""
        self.exit(return_code=Exit.INTERRUPTED)

    def do_palette(self) -> None:
        """Everything one may do, to be searched."""
        self.action_command_palette()

    def do_keys(self) -> None:
        """Every key."""
        self.push_screen(KeysScreen(self._shell, self._table))

    def do_theme(self) -> None:
        """The next theme."""
        self.theme = after(self.theme, self.available_themes)
        self.redraw()

    def do_pause(self) -> None:
        """Freeze what is seen, or go on."""
        self.paused = not self.paused
        self.redraw()

    def do_window(self) -> None:
        """Look back further, or less far."""
        self.state.window = WINDOWS[(WINDOWS.index(self.state.window) + 1) % len(WINDOWS)]
        if self.paused and self.shown is not None:
            self.shown = self.state.widened(self.shown)
        self.redraw()

    def do_private(self) -> None:
        """Only exchanges in which something private was found, or all."""
        self.state.private_only = not self.state.private_only
        self.redraw()

    def do_side(self) -> None:
        """Bring the right column, or put it away."""
        self.screen.toggle_class("-sided")
        self.call_after_refresh(self.redraw)

    def do_start(self) -> None:
        """Start the gateway, if it is down."""
        if self.shown is None or self.shown.link != "down":
            return
        self.run_worker(self._feed.bring_up, thread=True, exclusive=True, group="start")

    # --- the list ----------------------------------------------------------------------------------------------

    def move(self, by: int) -> None:
        """Move the cursor."""
        self.query_one(Exchanges).move(by)
        self._draw_open()
        self.draw()

    def do_down(self) -> None:
        """The next older exchange."""
        self.move(1)

    def do_up(self) -> None:
        """The next newer exchange."""
        self.move(-1)
        if self.place == "detail":
            self.query_one(Exchanges).hold()

    def do_next(self) -> None:
        """The next older exchange, open."""
        self.move(1)

    def do_page_down(self) -> None:
        """A screenful down."""
        self._page(1)

    def do_page_up(self) -> None:
        """A screenful up."""
        self._page(-1)

    def _page(self, way: int) -> None:
        if self.place == "detail":
            opened = self.query_one(Detail)
            (opened.scroll_page_down if way > 0 else opened.scroll_page_up)(animate=False)
        else:
            self.move(way * self.query_one(Exchanges).page)

    def do_top(self) -> None:
        """The newest, and follow."""
        self.query_one(Exchanges).jump(newest=True)
        self.draw()

    def do_bottom(self) -> None:
        """The oldest that is kept."""
        self.query_one(Exchanges).jump(newest=False)
        self.draw()

    @on(Exchanges.Opened)
    def do_open(self) -> None:
        """Open the exchange under the cursor."""
        listed = self.query_one(Exchanges)
        if listed.row is None:
            return
        listed.hold()
        self._show_open(True)
        self._draw_open()

    def do_back(self) -> None:
        """Back to the list."""
        self.query_one(Detail).deciding = False
        self._show_open(False)

    do_close = do_back

    def _show_open(self, shown: bool) -> None:
        self.query_one(Detail).set_class(shown, "-shown")
        self.screen_stack[0].set_class(shown, "-opened")
        self._draw_keys()
        self.draw()

    def do_why(self) -> None:
        """The decision behind an exchange, or its waterfall again."""
        shown = self.query_one(Detail)
        shown.deciding = not shown.deciding if self.place == "detail" else True
        self.do_open()
        shown.draw()

    def do_copy_id(self) -> None:
        """Put the exchange's id on the clipboard, as terminals let us."""
        if (record := self.query_one(Detail).record) is not None:
            self.copy_to_clipboard(record.id)
            self.notify("Its id is on the clipboard.", timeout=2, markup=False)

    def do_copy_curl(self) -> None:
        """Put a command on the clipboard that asks the gateway for the record; the request itself nobody keeps."""
        record, view = self.query_one(Detail).record, self.shown
        if record is not None and view is not None:
            url = shlex.quote(f"{view.health.get('url', '')}/api/audit/{record.id}")
            self.copy_to_clipboard(f'curl -s -H "x-membrain-api-key: $OPENAI_API_KEY" {url}')
            self.notify("Asks for its record, with the key that `membrain env` gives.", timeout=3, markup=False)

    # --- the filter --------------------------------------------------------------------------------------------

    def do_filter(self) -> None:
        """Type a filter."""
        typed = self.query_one(FilterLine)
        typed.add_class("-shown")
        self.query_one(Keys).display = False
        typed.focus()

    @on(Input.Changed)
    def typed(self, event: Input.Changed) -> None:
        """It holds while one types."""
        if event.input is self.query_one(FilterLine):
            self.state.filter = event.value
            self.redraw()

    @on(Input.Submitted)
    @on(FilterLine.Left)
    def leave_filter(self) -> None:
        """Back to the list."""
        self.query_one(FilterLine).remove_class("-shown")
        self.query_one(Keys).display = True
        self.query_one(Exchanges).focus()

    # --- what waits --------------------------------------------------------------------------------------------

    def _ask_about_holds(self) -> None:
        """Put a request that waits to the person here, unless they are busy; once it waits no longer, take it away."""
        waiting = self.state.waiting
        if isinstance(self.screen, HoldScreen):
            if self.screen.hold["id"] not in waiting:
                self.screen.dismiss(None)
        elif (fresh := [id for id in waiting if id not in self._asked]) and self.is_idle:
            self._show_hold(fresh[0])

    @property
    def is_idle(self) -> bool:
        """Whether the person here does nothing that a question would break into."""
        return len(self.screen_stack) == 1 and not self.query_one(FilterLine).has_class("-shown")

    def do_holds(self) -> None:
        """Ask again about what waits."""
        for id in [*self.state.waiting][:1]:
            self._show_hold(id)

    def _show_hold(self, id: str) -> None:
        self._asked.add(id)
        self.run_worker(partial(self._fetch_hold, id), thread=True, group="hold")

    def _fetch_hold(self, id: str) -> None:
        """In a thread: ask for the contexts, and have them shown."""
        try:
            hold = self._feed.hold(id)
        except CommandError:  # it waits no longer
            return
        self.call_from_thread(self._put, hold)

    def _put(self, hold: Any) -> None:
        if self.is_idle and hold["id"] in self.state.waiting:
            self.push_screen(HoldScreen(self._shell, hold), partial(self._answered, hold["id"]))
        else:
            self._asked.discard(hold["id"])

    def _answered(self, id: str, answer: Answer | None) -> None:
        if answer is not None:
            self.run_worker(partial(self._decide, id, *answer), thread=True, group="decide")

    def _decide(self, id: str, decision: str, always: bool) -> None:
        """In a thread: tell the gateway."""
        try:
            self._feed.decide(id, decision, always=always)
        except CommandError as error:
            self.call_from_thread(partial(self.notify, error.message, severity="error", markup=False))


PALETTE_OMITS = {"palette", "leave", "close", "next", "down", "up", "page_down", "page_up"}
"""What the command palette need not offer."""
