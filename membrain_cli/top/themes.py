"""Themes as data: names for what a colour means, never for where it stands. Textual's own come behind ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from textual.theme import BUILTIN_THEMES, Theme

MEMBRANE, PAPER, MONO = "membrane", "paper", "mono"

THEMES = (
    Theme(
        name=MEMBRANE,
        primary="#3aa6a0",
        secondary="#2b6f77",
        accent="#5fd3c4",
        success="#6cc48b",
        warning="#e0b050",
        error="#e87168",
        foreground="#d5e3e3",
        background="#0e1c20",
        surface="#13262b",
        panel="#1b363c",
        variables={"border": "#2b6f77"},
    ),
    Theme(
        name=PAPER,
        primary="#24706c",
        secondary="#8a9a94",
        accent="#0f6a7a",
        success="#2f7040",
        warning="#8a5a00",
        error="#a8302a",
        foreground="#22292b",
        background="#f6f3ea",
        surface="#efeade",
        panel="#e2dccb",
        dark=False,
        variables={"border": "#8a9a94"},
    ),
    # The terminal's own colours, of which the app lets none through.
    replace(BUILTIN_THEMES["ansi-dark"], name=MONO),
)


def after(name: str, known: Iterable[str]) -> str:
    """The theme that comes after *name*: ours first, then the others of *known* by name."""
    ours = [theme.name for theme in THEMES]
    order = [*ours, *sorted(set(known) - set(ours))]
    return order[(order.index(name) + 1) % len(order)] if name in order else ours[0]
