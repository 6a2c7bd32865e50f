"""What lies over the dashboard: a request that waits for a person, the page of keys, the line where one types a filter.

They ask and say what was answered; what becomes of that is the app's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from membrain_cli.commands.pii import SHORT, counts, plain, whose
from membrain_cli.console import Console, clean_cell, columns_of, padded
from membrain_cli.top.keys import GAP, HOLD_KEYS, Key, named, page, presses
from membrain_cli.top.paint import painted, stacked

Json = Mapping[str, Any]

GRACE = 0.8
"""Seconds in which nothing is taken for an answer: what was typed until then was meant for something else."""
MOST_SHOWN = 12
"""Places that are shown; of more, only how many there are."""

ANSWERS = {"approve": ("approve", False), "deny": ("deny", False), "always": ("approve", True)}
"""What each answer comes to: the decision, and whether for good."""

Answer = tuple[str, bool]


def held_lines(shell: Console, hold: Json) -> Iterator[str]:
    """Who waits with what, where it would go, and each place with what stands around the value, which ends as shown."""
    yield f"{shell.style(whose(hold) or 'Somebody', 'bold')}: {counts(hold)}; would go to {hold['model']}."
    yield ""
    contexts = hold.get("contexts", ())
    rows = [(clean_cell(each["place"]), plain(each["label"]), around(shell, each)) for each in contexts[:MOST_SHOWN]]
    first, second = (max((columns_of(row[at]) for row in rows), default=0) + 2 for at in (0, 1))
    for place, label, words in rows:
        yield f"{shell.style(padded(place, first), 'dim')}{padded(label, second)}{words}"
    if more := len(contexts) - len(rows):
        yield f"{more} more: membrain pii holds {hold['id'][:SHORT]}"
    yield ""
    yield "Send it masked?"


def around(shell: Console, context: Json) -> str:
    """A value's surroundings, and of itself how it ends."""
    value = shell.style(f"{'…' if shell.unicode else '...'}{context['tail']}", "dim")
    return f"{context['before']}{value}{context['after']}"


def choices(shell: Console, *, ready: bool) -> Content:
    """What one may answer; dim until it counts."""
    told = [f"{shell.style(named(key, unicode=shell.unicode), 'accent')} {key.words}" for key in HOLD_KEYS]
    return painted(GAP.join(told)) if ready else painted(shell.style(GAP.join(map(strip_marks, told)), "dim"))


def strip_marks(text: str) -> str:
    """A text without its styles."""
    return painted(text).plain


class HoldScreen(ModalScreen[Answer | None]):
    """One request that waits. Gives the answer, None for "later" or once it waits no longer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(name, f"answer('{keys[0].id}')", keys[0].words, show=False) for name, keys in presses(HOLD_KEYS).items()
    ]

    def __init__(self, shell: Console, hold: Json) -> None:
        super().__init__()
        self._shell, self.hold = shell, hold
        self._ready = False

    def compose(self) -> ComposeResult:
        """The box with its lines."""
        with VerticalScroll(classes="box", id="hold", can_focus=False) as box:
            box.border_title = painted(f"{self.hold['id'][:SHORT]} waits for you")
            yield Static(stacked(painted(line) for line in held_lines(self._shell, self.hold)))
            yield Static(choices(self._shell, ready=False), id="choices")

    def on_mount(self) -> None:
        """From a moment later on, keys count."""
        self.set_timer(GRACE, self.listen)

    def listen(self) -> None:
        """Take answers from now on."""
        self._ready = True
        self.query_one("#choices", Static).update(choices(self._shell, ready=True))

    def action_answer(self, id: str) -> None:
        """Close with an answer; "later" counts at once."""
        if id == "later":
            self.dismiss(None)
        elif self._ready:
            self.dismiss(ANSWERS[id])


class KeysScreen(ModalScreen[None]):
    """Every key there is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(name, "dismiss", "back", show=False) for name in ("escape", "question_mark", "q", "enter", "left", "h")
    ]

    def __init__(self, shell: Console, table: tuple[Key, ...]) -> None:
        super().__init__()
        self._shell, self._table = shell, table

    def compose(self) -> ComposeResult:
        """The box with a line for each key; it can be scrolled where there is little room."""
        told = [*page(unicode=self._shell.unicode, table=self._table)]
        width = max(columns_of(key) for key, _ in told) + 3
        lines = (painted(f"{self._shell.style(padded(key, width), 'accent')}{words}") for key, words in told)
        with VerticalScroll(classes="box", id="all-keys") as box:
            box.border_title = painted("keys")
            yield Static(stacked(lines))


class FilterLine(Input):
    """Where a filter is typed; it holds while one types."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "clear", "clear", show=False)]

    class Left(Message):
        """Nothing more is typed."""

    def action_clear(self) -> None:
        """No filter, and back to the list."""
        self.value = ""
        self.post_message(self.Left())
