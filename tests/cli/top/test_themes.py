"""Themes: ours first, readable, and one without any colour."""

from __future__ import annotations

import pytest
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from membrain_cli.top.themes import MONO, THEMES, after

OURS = [theme.name for theme in THEMES]


def test_ours_come_first_and_textuals_own_behind_them() -> None:
    known = [*BUILTIN_THEMES, *OURS]
    seen, name = [], OURS[0]
    for _ in range(len(set(known))):
        seen.append(name)
        name = after(name, known)
    assert seen[:3] == ["membrane", "paper", "mono"]
    assert sorted(seen) == sorted(set(known))
    assert name == OURS[0]


def test_a_theme_that_nobody_knows_any_more_is_followed_by_our_first() -> None:
    assert after("gone", BUILTIN_THEMES) == OURS[0]


@pytest.mark.parametrize("theme", [each for each in THEMES if each.name != MONO], ids=lambda each: each.name)
@pytest.mark.parametrize("what", ["foreground", "accent", "success", "warning", "error"])
@pytest.mark.parametrize("on", ["background", "surface", "panel"])
def test_what_is_to_be_read_stands_out(theme: Theme, what: str, on: str) -> None:
    """4.5 to 1 for words, 3 to 1 for signs and bars, as WCAG asks."""
    shown, behind = (Color.parse(getattr(theme, name)) for name in (what, on))
    assert contrast(shown, behind) >= (4.5 if what == "foreground" else 3.0)


def contrast(one: Color, other: Color) -> float:
    """By WCAG 2: from 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: Color) -> float:
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color.normalized]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_mono_leaves_the_terminal_its_own_colours() -> None:
    mono = next(theme for theme in THEMES if theme.name == MONO)
    assert mono.ansi
    assert mono.background == mono.foreground == "ansi_default"
