"""The one way from text to Textual: the console's marks become colours of the theme, everything foreign is cleaned.

Textual's and Rich's markup is never read from a text: what is made here is content with spans. `Outgoing` is the last
gate, for what Textual draws by itself, such as what is typed or pasted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.segment import Segment
from textual.color import Color
from textual.content import Content
from textual.filter import LineFilter

from membrain_cli.console import CONTROLS, MARKS, clean

STYLES = {
    "good": "$success",
    "warn": "$warning",
    "bad": "$error",
    "dim": "dim",
    "accent": "$accent",
    "bold": "bold",
}
"""What each of the console's styles is in Textual; the colours are the theme's."""


def painted(text: str) -> Content:
    """A text with the console's marks, on one line."""
    return Content.assemble(*pieces(text.replace("\n", " ").replace("\t", " ")))


def pieces(text: str) -> Iterable[tuple[str, str]]:
    """The pieces of a text with the console's marks, cleaned, each with its style."""
    style, end = "", 0
    for mark in MARKS.finditer(text):
        yield clean(text[end : mark.start()]), style
        style, end = STYLES.get(mark[1], ""), mark.end()
    yield clean(text[end:]), style


def fitted(text: str, width: int, *, right: bool = False) -> Content:
    """A text with marks as *width* columns exactly: cut with an ellipsis, or filled."""
    content = painted(text)
    if content.cell_length > width:
        return cut(content, width)
    gap = width - content.cell_length
    return content.pad_left(gap) if right else content.pad_right(gap)


def cut(content: Content, width: int) -> Content:
    """The beginning of a content, and that there is more, as *width* columns."""
    return content.truncate(width, ellipsis=True).truncate(width, pad=True)


def spread(left: str, right: str, width: int) -> Content:
    """Two texts at both ends of a line of *width* columns; where both do not fit, the left one gives way."""
    end = painted(right)
    if end.cell_length + 2 > width:
        return fitted(left, width)
    return Content.assemble(fitted(left, width - end.cell_length - 1), " ", end)


def stacked(lines: Iterable[Content]) -> Content:
    """Lines below each other."""
    return Content("\n").join(lines)


# --- the last gate -------------------------------------------------------------------------------------------

TWINS = str.maketrans(
    {
        **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼", "+"),
        **dict.fromkeys("─━╌╍▔▁▂▃▄▀═", "-"),
        **dict.fromkeys("│┃▏▎▍▌▐▕║", "|"),
        **dict.fromkeys("█▉▊▋▅▆▇■", "#"),
        **dict.fromkeys("·∙—\u2013", "-"),
        **dict.fromkeys("░▒▓…", "."),
        "●": "*",
        "○": "o",
        "◐": "~",
        "→": ">",
        "↷": ">",
        "↵": "<",
        "▶": ">",
        "\xa0": " ",
    }
)
"""Signs of one column, and what stands for them where the terminal is not UTF-8; for all others a question mark."""
FOREIGN = re.compile(r"[^\x20-\x7e]")


class Outgoing(LineFilter):
    """Lets no control byte of a text through, and where *ascii* is wanted nothing else but ASCII."""

    def __init__(self, *, ascii: bool) -> None:
        super().__init__()
        self._ascii = ascii

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002  # Textual's own shape
        """The segments as they may be drawn; Textual's own sequences are no text and pass."""
        return [self._one(segment) for segment in segments]

    def _one(self, segment: Segment) -> Segment:
        text = segment.text
        if segment.control or (text.isascii() and text.isprintable()):
            return segment
        if CONTROLS.search(text):
            text = CONTROLS.sub("", text)
        if self._ascii:
            text = FOREIGN.sub(question, text.translate(TWINS))
        return Segment(text, segment.style)


def question(sign: re.Match[str]) -> str:
    """Question marks for a sign, as many as it takes columns."""
    from rich.cells import cell_len

    return "?" * cell_len(sign[0])
