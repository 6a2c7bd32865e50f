"""What lies over the dashboard: its words, and that nothing counts before one could read them."""

from __future__ import annotations

import pytest
from textual.app import App

from membrain_cli.console import visible
from membrain_cli.top.dialogs import ANSWERS, MOST_SHOWN, Answer, HoldScreen, choices, held_lines
from membrain_cli.top.keys import HOLD_KEYS
from tests.cli.top.happenings import HOLD, Ascii, shell

pytestmark = pytest.mark.anyio


def told(hold: dict[str, object]) -> list[str]:
    return [visible(line) for line in held_lines(shell(), hold)]


def test_a_request_that_waits_is_told_with_each_place_and_what_stands_around() -> None:
    assert told(HOLD) == [
        "aider, project web: 1 credit card, 2 email; would go to gpt-4o.",
        "",
        "messages[0].content  email        mail to …rg about it",
        "messages[2].content  credit card  the card …42, please",
        "",
        "Send it masked?",
    ]


def test_of_very_many_places_the_first_are_shown_and_the_others_counted() -> None:
    many = {**HOLD, "contexts": HOLD["contexts"] * 20}  # type: ignore[operator]  # a list
    assert len(told(many)) == MOST_SHOWN + 5
    assert told(many)[-3] == "28 more: membrain pii holds a91f04"


def test_nobody_in_particular_may_ask_too() -> None:
    assert told({**HOLD, "caller": "", "project": "default"})[0].startswith("Somebody: ")


def test_every_answer_has_its_key_and_comes_to_a_decision() -> None:
    assert {*ANSWERS, "later"} == {key.id for key in HOLD_KEYS}
    assert choices(shell(), ready=True).plain == choices(shell(), ready=False).plain
    assert choices(shell(), ready=True).spans != choices(shell(), ready=False).spans


def test_without_utf8_it_is_ascii() -> None:
    made = shell(kind=Ascii)
    assert all(visible(line).isascii() for line in held_lines(made, HOLD))
    assert choices(made, ready=True).plain.isascii()


async def test_what_was_typed_before_one_could_read_is_no_answer() -> None:
    answers: list[Answer | None] = []
    app = App[None]()
    async with app.run_test() as pilot:
        screen = HoldScreen(shell(), HOLD)
        await app.push_screen(screen, answers.append)
        for key in ("y", "a", "n"):
            app.simulate_key(key)
            await pilot.pause(0)
        assert answers == []
        screen.listen()
        app.simulate_key("n")
        await pilot.pause(0)
        await pilot.pause(0)
        assert answers == [("deny", False)]


async def test_later_counts_at_once() -> None:
    answers: list[Answer | None] = []
    app = App[None]()
    async with app.run_test() as pilot:
        await app.push_screen(HoldScreen(shell(), HOLD), answers.append)
        app.simulate_key("escape")
        await pilot.pause(0)
        await pilot.pause(0)
        assert answers == [None]
