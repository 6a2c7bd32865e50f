"""Draws the README's two pictures from a real run: `make screens`, or `python -m docs.screens` from the checkout.

A gateway of its own is started in a terminal (tmux), talked to, and watched while others ask. Only what answers behind
it is a fake, the one of the tests. It takes three minutes; two runs differ in times, ids and curves.
"""

from __future__ import annotations

import asyncio
import io
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from html import escape, unescape
from itertools import count, cycle
from pathlib import Path

from rich.console import Console as Canvas
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from membrain_cli import console
from membrain_cli.top.app import Top
from membrain_cli.top.feed import Feed
from tests.cli.shell import Screen
from tests.cli.top.screens import settle, text_of
from tests.in_the_hand.pane import CHAT, PROMPT, Pane, last_of
from tests.in_the_hand.scene import LOAD, QUESTION, Ask, Correspondent, ended, surroundings
from tests.served import free_port
from tests.sink import Recorded, Reply

HERE = Path(__file__).parent
PLAY_SECONDS = 170.0
"""How long others ask before the dashboard is drawn: more than half of its shortest window."""
PAUSES = (0.3,) * 9 + (0.1,) * 22 + (0.9, 1.4, 2.6, 3.1, 1.9) + (0.6,) * 7
"""Seconds between two questions, over and over: now calm, now hurried."""
FIRST_BYTE_MS = {"gpt-4o-mini": 290, "gpt-4o": 480, "claude-haiku-4-5": 410, "llama3.2:3b": 980}
"""How long the models take at their quickest; others take `LONGEST_MS`."""
LONGEST_MS = 890
UNEVEN = (1.0, 1.1, 1.6, 1.0, 1.3, 1.0, 2.4, 1.2)
"""How many times as long, in turn."""
PAPER = " ".join(["The harbour was rebuilt in stages, and each stage was paid for by the one before it."] * 400)
KNOCK = "Who is there?"
"""Fails at OpenAI's every other time, so that the answer is another's."""
ASKED = (
    *LOAD,
    Ask("gpt-4o", f"Summarise: {PAPER}"),
    Ask("gpt-4o-mini", "Translate 'tide' into Welsh.", more={"temperature": 0}),
    Ask("auto", KNOCK),
    Ask("claude-sonnet-4", f"What is missing here? {PAPER}"),
    Ask("gpt-4o-mini", "Answer dora@example.org, and copy erik@example.net."),
)
BUDGETS = {"MEMBRAIN_BUDGET_DAY": "2", "MEMBRAIN_BUDGET_MONTH": "20"}
INK = ("#0e1c20", "#d5e3e3")
"""Behind the text and of the text, as in the dashboard's own theme."""
DARK = ["#13262b", "#e87168", "#6cc48b", "#e0b050", "#3aa6a0", "#b58fd0", "#5fd3c4", "#d5e3e3"]
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"

CELL, LINE, BASE = 12.2, 24.4, 18.5
"""Rich's picture: a cell's width and height, and where in it letters stand."""
CELLS = re.compile(
    r'<text class="([\w-]+)" x="([\d.]+)" y="([\d.]+)" textLength="[\d.]+" clip-path="([^"]+)">([^<]*)</text>'
)
PHRASES = re.compile(r"([▁-▏])\1*|[^\s▁-▏]+(?:\s[^\s▁-▏]+)*")


class Upstream(Correspondent):
    """Models that take their time, each its own, and one that is away when somebody knocks."""

    def __init__(self) -> None:
        super().__init__(ollama=["llama3.2:3b"])
        self._turns = cycle(UNEVEN)
        self._knocks = cycle((True, False))
        self._behave = ""

    def record(self, request: Recorded) -> None:
        """Keep the request, and settle how it will be answered."""
        said = request.json() if request.body else {}
        pace = FIRST_BYTE_MS.get(str(said.get("model")), LONGEST_MS) * next(self._turns)
        knocked = KNOCK.encode() in request.body and "anthropic-version" not in request.header
        away = knocked and next(self._knocks)
        self._behave = "status-503" if away else f"slow-{60 if said.get('stream') else round(pace)}"
        super().record(request)

    def next_reply(self, path: str) -> Reply | None:
        """As settled, where models answer."""
        return Reply(behave=self._behave) if path in {"/v1/messages", "/v1/chat/completions"} else None


def main() -> None:
    """Draw both."""
    with tempfile.TemporaryDirectory() as place, Upstream() as upstream:
        folder, port = Path(place), usual_port()
        environ = {**surroundings(folder / "home", upstream, port), **BUDGETS}
        with ended(folder / "home"), Pane(environ, folder, columns=100, rows=24) as pane:
            pane.run("membrain up", "Talk to it")
            keep("chat", drawn(talked(pane)))
            keep("top", asyncio.run(watched({**environ, "COLORTERM": "truecolor", "TERM": "xterm-256color"}, port)))
            pane.run("membrain down", "is down")


def talked(pane: Pane) -> str:
    """A question with an address in it, what left, and good-bye: the screen then, with its colours."""
    pane.clear()
    pane.enter("membrain chat")
    for line, sign in ((QUESTION, "1 masked"), ("/sent", "What left this machine")):
        pane.wait(lambda screen: last_of(screen) == CHAT)
        pane.enter(line)
        pane.see(sign)
    pane.wait(lambda screen: last_of(screen) == CHAT)
    pane.type("\x04")
    pane.wait(lambda screen: last_of(screen) == PROMPT)
    return pane.painted.rpartition("\n")[0]


def drawn(painted: str) -> str:
    """A terminal's lines as SVG."""
    canvas = Canvas(width=100, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    canvas.print(Text.from_ansi(painted))
    ground, ink = (_rgb(colour) for colour in INK)
    theme = TerminalTheme(ground, ink, [_rgb(colour) for colour in DARK])
    return canvas.export_svg(title="membrain chat", theme=theme)


async def watched(environ: dict[str, str], port: int) -> str:
    """The dashboard after it was watched while others asked, as SVG."""
    shell = console.Console(Screen(), Screen(), Screen(), environ)
    console.use(shell)
    others = threading.Thread(target=ask, args=(port,))
    others.start()
    app = Top(shell, Feed(shell))
    async with app.run_test(size=(120, 34)) as pilot:
        await pilot.press("w", "w")
        while others.is_alive():
            await pilot.pause(0.5)
        await pilot.pause(2)
        await settle(pilot)
        assert "▶ live" in text_of(app), text_of(app)
        return app.export_screenshot(title="membrain top")


def ask(port: int) -> None:
    """Ask one after the other, for as long as it takes."""
    limit = time.monotonic() + PLAY_SECONDS
    for each, pause in zip(questions(), cycle(PAUSES)):
        each.put(port)
        time.sleep(pause)
        if time.monotonic() > limit:
            return


def questions() -> Iterator[Ask]:
    """What others ask, without end; each is asked again later."""
    for turn in count():
        yield from (each for place, each in enumerate(ASKED) if (place + turn) % 4)


def keep(name: str, svg: str) -> None:
    """Write the picture so that it needs nothing from elsewhere, and looks the same in any monospaced font."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"terminal-\d+", name, svg).replace("Fira Code, monospace", FONTS)
    svg = CELLS.sub(placed, svg)
    svg = "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"
    (HERE / f"{name}.svg").write_text(svg, encoding="utf-8")


def placed(cells: re.Match[str]) -> str:
    """Each phrase where it stands, without the blanks around it; blocks as rectangles, which leave no seams."""
    look, left, base, clip, text = cells.groups()
    x, y = float(left), float(base)
    drawn = []
    for part in PHRASES.finditer(unescape(text)):
        at, long = x + CELL * part.start(), CELL * len(part[0])
        if part[1]:
            drawn.append(block(look, part[1], at, y - BASE, long))
        else:
            place = f'x="{at:.6g}" y="{base}" textLength="{long:.6g}" clip-path="{clip}"'
            drawn.append(f'<text class="{look}" {place}>{escape(part[0])}</text>')
    return "".join(drawn)


def block(look: str, sign: str, x: float, y: float, width: float) -> str:
    """A run of one block character from *x*, *y*: so many eighths of a line's height, or of a cell's width."""
    eighths = ord(sign) - 0x2580
    if eighths > 8:
        width, height = CELL * (16 - eighths) / 8, LINE
    else:
        height = LINE * eighths / 8
    size = f'x="{x:.6g}" y="{y + LINE - height:.6g}" width="{width:.6g}" height="{height:.6g}"'
    return f'<rect class="{look}" {size} shape-rendering="crispEdges"/>'


def usual_port() -> int:
    """Membrain's own, if nobody has it."""
    with socket.socket() as probe:
        return free_port() if probe.connect_ex(("127.0.0.1", 8001)) == 0 else 8001


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


if __name__ == "__main__":
    main()
