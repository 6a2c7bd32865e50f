"""An answer as Markdown on a terminal, while it is still being written.

What is closed is printed once, for good, into the scrollback; only the block that is still open is drawn again.
`Page` decides what is closed and knows no terminal; `Live` draws, in a thread of its own, so that a quick stream
costs no more frames than a slow one and nothing waits undrawn. Imports Rich, and is therefore imported only when a
terminal wants Markdown. Plain streaming is not done here.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import ClassVar, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich import box
from rich.color import ColorSystem
from rich.console import Console as Canvas
from rich.console import ConsoleOptions, RenderResult
from rich.markdown import (
    BlockQuote,
    CodeBlock,
    Heading,
    ListItem,
    Markdown,
    MarkdownElement,
    TableElement,
)
from rich.segment import Segment
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from membrain_cli.console import Console, Filter, clean

WIDEST = 100
"""Columns of prose; longer lines are hard to read, however wide the terminal."""
NARROWEST = 8
"""Columns that nested lists and quotes keep, even where they run out of the terminal."""
FRAME = 1 / 30
"""Seconds between two drawings at the least."""

# --- Markdown, read ------------------------------------------------------------------------------------------

# HTML and link definitions would vanish when drawn, so they are read as the plain text they are.
PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("reference")


@dataclass
class Block:
    """A top-level block: its tokens, and the line of the source it begins on."""

    tokens: list[Token]
    start: int

    @property
    def kind(self) -> str:
        return self.tokens[0].type


def blocks_of(source: str) -> list[Block]:
    """The top-level blocks of *source*, in order."""
    blocks: list[Block] = []
    for token in PARSER.parse(source):
        if token.level == 0 and token.nesting >= 0:
            blocks.append(Block([], token.map[0] if token.map else 0))
        if token.children:
            token.children = list(plainer(token.children))
        blocks[-1].tokens.append(token)
    return blocks


def plainer(tokens: Iterable[Token]) -> Iterable[Token]:
    """Inline *tokens* with line breaks kept and links and images written out, so that nothing is hidden.

    A terminal link could show one address and open another.
    """
    address, label = "", ""
    for token in tokens:
        if token.type == "softbreak":
            yield Token("hardbreak", "br", 0)
        elif token.type == "image":
            yield written(f"{token.content} ({token.attrs.get('src', '')})")
        elif token.type == "link_open":
            address, label = str(token.attrs.get("href", "")), ""
        elif token.type == "link_close":
            if address not in {label, f"mailto:{label}"}:
                yield written(f" ({address})")
        else:
            label += token.content
            yield token


def written(text: str) -> Token:
    return Token("text", "", 0, content=text)


# --- Markdown, drawn -----------------------------------------------------------------------------------------

THEME = Theme(
    {
        "markdown.h1": "bold underline",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.h4": "bold",
        "markdown.h5": "italic",
        "markdown.h6": "italic",
        "markdown.code": "cyan",
        "markdown.code_block": "none",
        "markdown.item.bullet": "dim",
        "markdown.item.number": "dim",
        "markdown.block_quote": "italic",
        "markdown.hr": "dim",
        "markdown.table.border": "dim",
        "markdown.table.header": "bold",
    }
)
CODE_THEME = "ansi_dark"
"""Uses the terminal's own sixteen colours, so it follows the user's scheme."""


class LeftHeading(Heading):
    """A heading that stands on the left at every level."""

    def __rich_console__(self, console: Canvas, options: ConsoleOptions) -> RenderResult:  # Rich's
        yield self.text


class NestedCode(CodeBlock):
    """Code inside a list or a quote: folded, because whatever is too long there would be cut off."""

    def __rich_console__(self, console: Canvas, options: ConsoleOptions) -> RenderResult:  # Rich's
        text = highlighted(str(self.text).rstrip("\n"), self.lexer_name)
        text.no_wrap, text.overflow = False, "fold"
        yield text


class Quote(BlockQuote):
    """A quote behind a thin bar."""

    def __rich_console__(self, console: Canvas, options: ConsoleOptions) -> RenderResult:
        yield from hanging(console, options, self, Segment("│ ", console.get_style("dim")), repeat=True)


class Item(ListItem):
    """An item behind its bullet or number. Numbers take the same room in every piece of a list."""

    def render_bullet(self, console: Canvas, options: ConsoleOptions) -> RenderResult:
        yield from hanging(console, options, self, Segment(" • ", console.get_style("markdown.item.bullet")))

    def render_number(
        self,
        console: Canvas,
        options: ConsoleOptions,
        number: int,
        last_number: int,  # noqa: ARG002  # Rich's
    ) -> RenderResult:
        mark = Segment(f"{number}.".rjust(3) + " ", console.get_style("markdown.item.number"))
        yield from hanging(console, options, self, mark)


def hanging(
    canvas: Canvas, options: ConsoleOptions, body: Item | Quote, mark: Segment, *, repeat: bool = False
) -> RenderResult:
    """The lines of *body* behind *mark*, which stands before the first line or is repeated before each."""
    room = options.update(width=max(NARROWEST, options.max_width - len(mark.text)))
    after = mark if repeat else Segment(" " * len(mark.text))
    lines = canvas.render_lines(body.elements, room, style=body.style, pad=False)
    while lines and not "".join(segment.text for segment in lines[-1]).strip():
        lines.pop()
    for number, line in enumerate(lines or [[]]):
        yield after if number else mark
        yield from line
        yield Segment.line()


class Grid(TableElement):
    """A table whose cells are folded and never cut off."""

    def __rich_console__(self, console: Canvas, options: ConsoleOptions) -> RenderResult:  # Rich's
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, border_style="markdown.table.border")
        header = self.header.row.cells if self.header and self.header.row else []
        for cell in header:
            title = cell.content.copy()
            title.stylize("markdown.table.header")
            table.add_column(title, overflow="fold", min_width=1)
        for row in self.body.rows if self.body else []:
            table.add_row(*(cell.content for cell in row.cells))
        yield table


class Prose(Markdown):
    """Rich's Markdown with our elements, over tokens that are read already."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": LeftHeading,
        "fence": NestedCode,
        "code_block": NestedCode,
        "blockquote_open": Quote,
        "list_item_open": Item,
        "table_open": Grid,
    }

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__("", hyperlinks=False)
        self.parsed = tokens


def highlighted(code: str, language: str) -> Text:
    """*code*, which ends without a line break, in the colours of its language, if that is one Pygments knows."""
    text = Syntax("", language or "text", theme=CODE_THEME).highlight(code)
    text.right_crop(len(text.plain) - len(text.plain.removesuffix("\n")))
    return text


class Line(NamedTuple):
    """One line for the terminal, cleaned and without trailing blanks."""

    segments: tuple[Segment, ...]
    cells: int
    """The columns it takes."""

    def __str__(self) -> str:
        """The line with its colours."""
        return "".join(
            segment.style.render(segment.text, color_system=ColorSystem.STANDARD) if segment.style else segment.text
            for segment in self.segments
        )

    def cut(self, columns: int) -> Line:
        """The line, at most *columns* wide."""
        if self.cells <= columns:
            return self
        return line_of(Segment.adjust_line_length(list(self.segments), columns, pad=False))


BLANK = Line((), 0)


def line_of(segments: Iterable[Segment]) -> Line:
    """The line that *segments* make. They are cleaned here, as a character reference may have become a control byte."""
    kept = [Segment(shown(segment.text), segment.style) for segment in segments if not segment.control]
    while kept and not kept[-1].text.rstrip():
        kept.pop()
    if kept:
        kept[-1] = Segment(kept[-1].text.rstrip(), kept[-1].style)
    simple = tuple(Segment.simplify(kept))
    return Line(simple, Segment.get_line_length(list(simple)))


def shown(text: str) -> str:
    return clean(text).replace("\t", " ").replace("\n", " ")


# --- what is closed ------------------------------------------------------------------------------------------


BREAKS = {0x2028: "\n", 0x2029: "\n"}
"""What Unicode calls a line's end; terminals do not agree on it."""


class Page:
    """The text so far. Gives each line away for good as soon as nothing that follows can change it.

    Closed are: a block, when the next one has begun on a line that is complete; an item of a list, when the next
    one has; a line of a fenced code block, when it is complete. However the text is cut into pieces, the lines
    given away are in the end the same.
    """

    def __init__(self) -> None:
        self._source = ""
        self._canvas = Canvas(file=StringIO(), width=WIDEST, theme=THEME, legacy_windows=False)
        self._begun = False
        """Something was given away already, so the next block wants a blank line before it."""
        self._within = False
        """The first block of the source is one whose beginning was given away."""
        self._number: int | None = None
        """The number of the next item, within a numbered list."""
        self._code = 0
        """How many lines of the code block were given away, within one."""

    def add(self, text: str) -> None:
        """More text, which has been through a `Filter`."""
        self._source += text.translate(BREAKS)

    def take(self, width: int, *, final: bool = False) -> tuple[list[Line], list[Line]]:
        """The lines that closed since the last call, and those still open, both for *width* columns.

        With *final* everything closes.
        """
        blocks = blocks_of(self._source)
        complete = self._source.count("\n")
        begun = [place for place, block in enumerate(blocks) if block.start < complete]
        ripe = len(blocks) if final else max(begun, default=0)
        closed = [line for block in blocks[:ripe] for line in self._close(block, width)]
        rest = blocks[ripe:]
        if rest:
            closed += self._advance(rest[0], complete, width)
            self._source = "\n".join(self._source.split("\n")[rest[0].start :])
        elif final:
            self._source = ""
        return closed, self._look(rest, width)

    def _close(self, block: Block, width: int) -> list[Line]:
        """All of *block* that was not given away yet, for good."""
        lines = self._lines(block, width)
        self._begun = self._begun or bool(lines)
        self._within, self._number, self._code = False, None, 0
        return lines

    def _advance(self, block: Block, complete: int, width: int) -> list[Line]:
        """The closed beginning of *block*, which is still open itself."""
        if block.kind == "fence":
            return self._advance_code(block, complete)
        if block.kind in {"bullet_list_open", "ordered_list_open"}:
            return self._advance_list(block, complete, width)
        return []

    def _advance_code(self, block: Block, complete: int) -> list[Line]:
        whole = max(0, complete - block.start - 1)
        fresh = code_lines(block, self._code)[: max(0, whole - self._code)]
        lines = self._spaced(fresh)
        if fresh:
            self._begun = self._within = True
            self._code += len(fresh)
        return lines

    def _advance_list(self, block: Block, complete: int, width: int) -> list[Line]:
        tokens = block.tokens
        items = [
            place
            for place, token in enumerate(tokens)
            if token.type == "list_item_open" and token.level == 1 and token.map and token.map[0] < complete
        ]
        if len(items) < 2:
            return []
        number = self._first_number(block)
        lines = self._lines(Block([*tokens[: items[-1]], tokens[-1]], block.start), width)
        self._begun = self._within = True
        self._number = number + len(items) - 1
        block.tokens = [tokens[0], *tokens[items[-1] :]]
        block.start = (tokens[items[-1]].map or [block.start])[0]
        return lines

    def _first_number(self, block: Block) -> int:
        return int(block.tokens[0].attrs.get("start", 1)) if self._number is None else self._number

    def _look(self, blocks: Sequence[Block], width: int) -> list[Line]:
        """How *blocks* look now, without giving anything away."""
        kept = self._begun, self._within, self._number, self._code
        lines = [line for block in blocks for line in self._close(block, width)]
        self._begun, self._within, self._number, self._code = kept
        return lines

    def _lines(self, block: Block, width: int) -> list[Line]:
        """*block*, as far as it was not given away, with the blank line before it."""
        if block.kind == "fence":
            return self._spaced(code_lines(block, self._code))
        if block.kind == "ordered_list_open":
            block.tokens[0].attrs["start"] = self._first_number(block)
        options = self._canvas.options.update(width=max(width, NARROWEST), height=None)
        drawn = Segment.split_lines(self._canvas.render(Prose(block.tokens), options))
        return self._spaced(stripped([line_of(line) for line in drawn]))

    def _spaced(self, lines: list[Line]) -> list[Line]:
        return [BLANK, *lines] if lines and self._begun and not self._within else lines


CONTEXT = 100
"""Lines of code before the wanted ones that are read for their colours, so that long code stays cheap."""


def code_lines(block: Block, first: int) -> list[Line]:
    """The lines of a fenced code block from number *first* on. A long one is left whole, for the terminal to wrap."""
    fence = block.tokens[0]
    lines = fence.content.removesuffix("\n").split("\n") if fence.content else []
    before = max(0, first - CONTEXT)
    text = highlighted("\n".join(lines[before:]), fence.info.partition(" ")[0])
    text.expand_tabs(4)
    canvas = Canvas(file=StringIO(), legacy_windows=False)
    drawn = text.split("\n", allow_blank=True)[first - before :] if lines[first:] else []
    return [line_of(line.render(canvas)) for line in drawn]


def stripped(lines: list[Line]) -> list[Line]:
    """*lines* without blank ones at the ends."""
    full = [place for place, line in enumerate(lines) if line.cells]
    return lines[full[0] : full[-1] + 1] if full else []


# --- drawing -------------------------------------------------------------------------------------------------


class Area:
    """The open lines at the end of a terminal, and what to write so that others stand in their place.

    The cursor is at the end of the last open line, or, if none is open, at the beginning of an empty one.
    """

    def __init__(self) -> None:
        self._drawn: list[Line] = []
        self._columns = 0
        """How wide the terminal was when they were drawn."""

    def change(self, closed: list[Line], still_open: list[Line], columns: int) -> str:
        """What to write so that *closed*, for good, and then *still_open* stand where the open lines were."""
        wanted, drawn = [*closed, *still_open], self._drawn
        same = self._same(wanted, columns)
        if still_open and same == len(wanted) < len(drawn):
            same -= 1  # so that the cursor comes to stand at the end of a line
        self._drawn, self._columns = still_open, columns
        fresh = "\r\n".join(str(line) for line in wanted[same:])
        end = "\r\n" if not still_open and (len(wanted) > same or same == len(drawn) > 0) else ""
        if same == len(drawn):
            return ("\r\n" if drawn and wanted[same:] else "") + fresh + end
        if same == len(drawn) - 1 and wanted[same:] and fresh.startswith(last := str(drawn[same])):
            return fresh.removeprefix(last) + end  # the last line has only grown
        # All at once, by terminals that can.
        return f"\x1b[?2026h{wiped(drawn[same:], columns)}{fresh}{end}\x1b[?2026l"

    def _same(self, wanted: list[Line], columns: int) -> int:
        """How many lines from the top stand there already; none, if the window's width has changed."""
        if columns != self._columns:
            return 0
        pairs = zip(wanted, self._drawn, strict=False)
        return next((place for place, (new, old) in enumerate(pairs) if new != old), min(len(wanted), len(self._drawn)))


def wiped(lines: list[Line], columns: int) -> str:
    """From the end of *lines* to their beginning, wiping them. A window that was made narrower has folded them.

    Each is wiped for itself: what is wiped as a whole screen, some terminals keep in their scrollback.
    """
    rows = sum(max(1, -(-line.cells // columns)) for line in lines)
    up = f"\x1b[{rows - 1}A" if rows > 1 else ""
    return f"\r{up}\x1b[K" + "\x1b[B\x1b[K" * (rows - 1) + up


class Live:
    """Shows a text as Markdown while it grows. `add` pieces, then `close`, which leaves the cursor on a new line."""

    def __init__(self, console: Console) -> None:
        self._out = console.stdout
        self._page, self._area, self._filter = Page(), Area(), Filter()
        self._news = threading.Condition()
        self._coming: list[str] = []
        self._over = False
        self._painter = threading.Thread(target=self._paint, name="painter", daemon=True)
        self._painter.start()

    def add(self, piece: str) -> None:
        """More text, as the model wrote it."""
        with self._news:
            self._coming.append(self._filter(piece))
            self._news.notify()

    def close(self) -> None:
        """The text is over: draw the rest for good."""
        with self._news:
            self._over = True
            self._news.notify()
        self._painter.join()
        self._draw(final=True)

    def _paint(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._coming or self._over)
                if self._over:
                    return
            began = time.monotonic()
            try:
                self._draw()
            except OSError:
                return  # the terminal is gone; `close` meets the same, where it can be reported
            pause = max(FRAME, 2 * (time.monotonic() - began))
            with self._news:
                self._news.wait_for(lambda: self._over, pause)

    def _draw(self, *, final: bool = False) -> None:
        with self._news:
            self._page.add("".join(self._coming))
            self._coming.clear()
        columns, rows = self._size()
        closed, still_open = self._page.take(min(columns - 1, WIDEST), final=final)
        # What is drawn over must be within reach of the cursor.
        reachable = [line.cut(columns - 1) for line in still_open[1 - rows :]]
        self._out.write(self._area.change(closed, reachable, columns))
        self._out.flush()

    def _size(self) -> tuple[int, int]:
        try:
            columns, rows = os.get_terminal_size(self._out.fileno())
        except (OSError, ValueError):
            columns, rows = 80, 24
        return max(columns, 2) if columns else 80, max(rows, 2) if rows else 24
