"""The whole way, in a terminal that others wrote: up, a talk, the dashboard under a load, the record, down.

The screens are kept in `in_the_hand/`, as they were, to be looked at; what differs from run to run (times, ids, ports,
curves, and the blanks that make up for them) is not compared. `MEMBRAIN_TEST_RENEW=1 pytest tests/test_in_the_hand.py`
writes those anew that have changed. Then read the difference as you would read code.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.in_the_hand.pane import CHAT, PATIENCE, PROMPT, Pane, found, last_of
from tests.in_the_hand.scene import ADDRESS, LOAD, PLACEHOLDER, PRIVATE, QUESTION, cast, ended, surroundings
from tests.served import free_port
from tests.sink import Sink

KEPT = Path(__file__).parent / "in_the_hand"
RENEW = bool(os.environ.get("MEMBRAIN_TEST_RENEW"))
REST = 1.5
"""Seconds without a change after which a new screen is kept: figures move once a second."""

CHANGING = (
    (r"(?<=127\.0\.0\.1:)\d+", "…"),
    (r"\bEMAIL_[a-z0-9]+", "EMAIL_…"),
    (r"\bgenai-prices \S+ [\d-]+", "genai-prices …"),
    (r"\d\d:\d\d:\d\d", "…"),
    (r"\b[\d.]+ /min", "…"),
    (r"<?\b\d[\d.,]* ?(?:ms|s|m|h)\b(?: ago)?", "…"),
    (r"\b[0-9a-f]{6}\b", "…"),
    (r"[▁-▏░]", " "),
    (r" {2,}", "  "),
    (r"(?m) +$", ""),
    (r" *… *", "…"),
)
"""What differs between two runs, and what stands for it where they are compared; in this order."""


def lasting(screen: str) -> str:
    """What of *screen* is the same in every run."""
    for pattern, instead in CHANGING:
        screen = re.sub(pattern, instead, screen)
    return screen


@dataclass(frozen=True)
class Visit:
    """One person's terminal, and what is before it."""

    pane: Pane
    sink: Sink
    port: int

    def compare(self, name: str) -> str:
        """Wait until the screen is the one kept as *name*, or fail with both; the screen."""
        path = KEPT / f"{name}.txt"
        if RENEW:
            renew(path, self.still())
        kept = lasting(path.read_text(encoding="utf-8").removesuffix("\n"))
        limit = time.monotonic() + PATIENCE / 2
        while lasting(screen := self.pane.text) != kept and time.monotonic() < limit:
            time.sleep(0.05)
        assert lasting(screen) == kept, f"{name}:\n{screen}"
        return screen

    def still(self) -> str:
        """The screen, once it has come to rest."""
        since, before = time.monotonic(), ""
        while time.monotonic() - since < REST:
            screen = self.pane.text
            if lasting(screen) != before:
                since, before = time.monotonic(), lasting(screen)
            time.sleep(0.05)
        return screen


def renew(path: Path, screen: str) -> None:
    """Keep *screen*, unless what is kept differs only in what always does."""
    if not path.exists() or lasting(path.read_text(encoding="utf-8").removesuffix("\n")) != lasting(screen):
        path.write_text(re.sub(r"(?<=127\.0\.0\.1:)\d+", "8001", screen) + "\n", encoding="utf-8")


def waits(*wanted: str) -> Callable[[str], bool]:
    """Whether the chat has said all of *wanted* and waits for the next line."""
    return lambda screen: last_of(screen) == CHAT and all(each in screen for each in wanted)


@pytest.mark.slow
@pytest.mark.skipif(not found() and os.environ.get("CI") != "true", reason="it needs tmux")
def test_the_whole_way_in_a_real_terminal(tmp_path: Path) -> None:
    port, home = free_port(), tmp_path / "home"
    with cast() as sink, ended(home):
        environ = surroundings(home, sink, port)
        with Pane(environ, tmp_path) as pane:
            visit = Visit(pane, sink, port)
            pane.run("membrain up", "Talk to it")
            visit.compare("up")
            talk(visit)
            watch(visit)
            for name, command in (("audit", "membrain audit"), ("route-explain", "membrain route explain")):
                pane.run(command, "gpt-4o")
                visit.compare(name)
            pane.run("membrain down", "is down")
            visit.compare("down")
    assert not [each for each in (ADDRESS, *PRIVATE) if each.encode() in sink.bytes_seen()]


def talk(visit: Visit) -> None:
    """Ask about an address, and look at what left."""
    pane = visit.pane
    pane.clear()
    pane.enter("membrain chat")
    pane.wait(waits("ctrl-d to leave"))
    pane.enter(QUESTION)
    answered = pane.wait(waits("1 masked"), "an answer")
    assert answered.count(ADDRESS) == 2, "in the question, and in the answer"
    pane.enter("/sent")
    shown = pane.wait(waits("What left this machine"), "what was sent")
    left = PLACEHOLDER.findall(visit.sink.requests[-1].body)
    assert len(left) == 1
    assert f"reply to {left[0].decode()} about" in shown
    pane.type("\x04")
    pane.wait(lambda screen: last_of(screen) == PROMPT)
    visit.compare("chat")


def watch(visit: Visit) -> None:
    """The dashboard while others ask; one exchange, its decision, and back to the shell as it was."""
    pane = visit.pane
    pane.clear()
    pane.enter("membrain top")
    pane.see("▶ live", "1 of 1")
    others = threading.Thread(target=lambda: [ask.put(visit.port) for ask in LOAD])
    others.start()
    pane.see("credit card 1", f"{len(LOAD) + 1} of {len(LOAD) + 1}")
    others.join()
    framed(visit.compare("top"))
    pane.type("\x1b[B")
    pane.type("\r")
    pane.see("esc back", "dispatch")
    framed(visit.compare("top-open"))
    pane.type("r")
    framed(visit.compare("top-why"))
    pane.type("\x1b")
    framed(visit.compare("top-back"))
    pane.type("q")
    pane.wait(lambda screen: last_of(screen) == PROMPT)
    visit.compare("top-left")


def framed(screen: str) -> None:
    """All between the head and the keys reaches from edge to edge."""
    assert {len(line) for line in screen.splitlines()[1:-1]} == {120}


@pytest.mark.parametrize("name", ["top", "chat"])
def test_the_pictures_of_it_are_small_and_need_nothing_from_elsewhere(name: str) -> None:
    """`make screens` draws them anew."""
    svg = (Path(__file__).parents[1] / "docs" / f"{name}.svg").read_text(encoding="utf-8")
    assert ET.fromstring(svg).tag.endswith("svg")
    assert len(svg.encode()) < 150_000
    assert re.findall(r"@font-face|@import|href|<image|<script|url\((?!#)", svg) == []
    assert re.findall(r"/(?:home|root|tmp|Users|var)\b", svg) == []
