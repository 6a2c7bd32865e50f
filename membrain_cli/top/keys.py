"""Every key of the dashboard in one table: its id, what to press, what it is called, and where it works.

Bindings, the line at the bottom, the page of keys and the command palette are read from here. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

Place = Literal["list", "detail", "hold", "down"]
"""Where a key works: over the list, with an exchange open, while one decides on a hold, while the gateway is down."""

EVERYWHERE: tuple[Place, ...] = ("list", "detail", "down")
OPEN: tuple[Place, ...] = ("detail",)
LISTED: tuple[Place, ...] = ("list", "down")


class Key(NamedTuple):
    """One thing that can be done, and the keys that do it. `id` names the app's action, and never changes."""

    id: str
    keys: str
    """As Textual names them, several with commas between."""
    shown: str
    """As a person is told."""
    words: str
    places: tuple[Place, ...] = EVERYWHERE
    footer: bool = True
    """Whether the line at the bottom tells of it."""
    ascii: str = ""
    """What is told instead where the terminal is not UTF-8."""


KEYS = (
    Key("start", "u", "u", "start the gateway", ("down",)),
    Key("start", "u", "u", "start the gateway", ("list", "detail"), footer=False),
    Key("back", "escape", "esc", "back", OPEN),
    Key("filter", "slash", "/", "filter", LISTED),
    Key("open", "enter,l,right", "↵", "open", LISTED, ascii="enter"),
    Key("pause", "space", "space", "pause", LISTED),
    Key("window", "w", "w", "window", LISTED),
    Key("private", "p", "p", "pii only", LISTED),
    Key("next", "down,j", "↑↓", "next exchange", OPEN, ascii="j k"),
    Key("why", "r", "r", "why"),
    Key("copy_id", "y", "y", "copy id", OPEN),
    Key("copy_curl", "c", "c", "copy as curl", OPEN),
    Key("side", "tab", "tab", "providers, budgets", LISTED, footer=False),
    Key("holds", "a", "a", "answer what waits", footer=False),
    Key("down", "down,j", "↓ j", "down", LISTED, footer=False, ascii="j"),
    Key("up", "up,k", "↑ k", "up", EVERYWHERE, footer=False, ascii="k"),
    Key("page_down", "pagedown,ctrl+f", "pgdn", "a page down", footer=False),
    Key("page_up", "pageup,ctrl+b", "pgup", "a page up", footer=False),
    Key("top", "home,g", "g", "to the newest, and follow", LISTED, footer=False),
    Key("bottom", "end,G", "G", "to the oldest", LISTED, footer=False),
    Key("close", "h,left", "← h", "back", OPEN, footer=False, ascii="h"),
    Key("theme", "t", "t", "theme", LISTED),
    Key("palette", "colon", ":", "all commands", footer=False),
    Key("keys", "question_mark", "?", "keys"),
    Key("quit", "q", "q", "quit"),
    Key("leave", "ctrl+c", "ctrl-c", "leave at once", footer=False),
)


def chosen(keys: Mapping[str, str]) -> tuple[Key, ...]:
    """The table with the first key of each thing replaced by the one in *keys*, by its id; empty changes nothing."""
    return tuple(_with(key, keys.get(key.id, "")) for key in KEYS)


def first_of(key: Key) -> str:
    """The key that is named first, which is the one that may be chosen."""
    return key.keys.partition(",")[0]


def _with(key: Key, name: str) -> Key:
    if not name:
        return key
    _, comma, others = key.keys.partition(",")
    return key._replace(keys=name + comma + others, shown=SIGNS.get(name, name), ascii="")


SIGNS: Mapping[str, str] = {
    "slash": "/", "colon": ":", "question_mark": "?", "escape": "esc", "minus": "-", "full_stop": ".",
}  # fmt: skip
"""Keys that a person calls otherwise than Textual does."""

HOLD_KEYS = (
    Key("approve", "y", "y", "send masked", ("hold",)),
    Key("deny", "n", "n", "refuse", ("hold",)),
    Key("always", "a", "a", "always, for this project", ("hold",)),
    Key("later", "escape", "esc", "later", ("hold",)),
)
"""What one may answer to a request that waits."""

LAST = ("keys", "quit")
"""What the line at the bottom tells of however narrow it is."""


def presses(table: tuple[Key, ...] = KEYS) -> dict[str, list[Key]]:
    """What each key does, by its name in Textual: one thing, or several in different places."""
    found: dict[str, list[Key]] = {}
    for key in table:
        for name in key.keys.split(","):
            found.setdefault(name, []).append(key)
    return found


def named(key: Key, *, unicode: bool) -> str:
    """A key as a person is told."""
    return key.shown if unicode or not key.ascii else key.ascii


def footer(place: Place, width: int, *, unicode: bool = True, table: tuple[Key, ...] = KEYS) -> list[tuple[str, str]]:
    """The keys that apply in *place*, as (key, words), as many as fit into *width* columns; help and the end always."""
    told = [key for key in table if key.footer and place in key.places]
    first = [key for key in told if key.id not in LAST]
    while first and width_of(first + [key for key in told if key.id in LAST], unicode=unicode) > width:
        first.pop()
    return [(named(key, unicode=unicode), key.words) for key in (*first, *(key for key in told if key.id in LAST))]


def width_of(keys: list[Key], *, unicode: bool) -> int:
    """Columns that a line of *keys* takes."""
    return 1 + sum(len(named(key, unicode=unicode)) + len(key.words) + 1 + len(GAP) for key in keys)


GAP = "   "
"""Between two keys of the line."""


def page(*, unicode: bool = True, table: tuple[Key, ...] = KEYS) -> Iterator[tuple[str, str]]:
    """Every key and its words, in the order of the table; keys that do the same in two places once."""
    told = set[str]()
    for key in table:
        if key.id not in told:
            told.add(key.id)
            yield named(key, unicode=unicode), f"{key.words}{WHERE.get(key.places, '')}"


WHERE: dict[tuple[Place, ...], str] = {OPEN: " (of an open exchange)", ("down",): " (while it is down)"}
"""What is added to the words of a key that does not work everywhere."""
