"""What a client key may, as it is typed and as it is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest

from membrain.records import Allowance, Rate, Rights
from membrain_cli import rights as typed
from membrain_cli.console import CommandError, Console, Exit, use

NOW = datetime(2026, 11, 21, 14, 2, 11, 500_000, tzinfo=UTC)


@pytest.fixture(autouse=True)
def console() -> Console:
    console = Console(StringIO(), StringIO(), StringIO(), {})
    console.clock = lambda: NOW
    use(console)
    return console


# --- typed


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        (None, None),
        ("2", 2_000_000),
        ("2.00", 2_000_000),
        ("$2", 2_000_000),
        (" $0.25 ", 250_000),
        ("0.000001", 1),
        ("0.1", 100_000),
        ("19.99", 19_990_000),
        ("999999999", 999_999_999_000_000),
    ],
)
def test_dollars_are_read_to_the_micro_dollar(text: str | None, micros: int | None) -> None:
    assert typed.dollars(text, "--budget-day") == micros


@pytest.mark.parametrize(
    "text",
    ["", "0", "0.00", "-1", "two", "1e3", "1,000", "2.", ".5", "2.0000001", "nan", "inf", "2 3", "٢", "1000000000"],
)
def test_what_is_no_amount_is_told_with_its_option(text: str) -> None:
    with pytest.raises(CommandError, match="--budget-day must be dollars above 0") as told:
        typed.dollars(text, "--budget-day")
    assert told.value.code == Exit.USAGE


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (None, None),
        ("30d", "2026-12-21T14:02:11Z"),
        ("12h", "2026-11-22T02:02:11Z"),
        ("1.5h", "2026-11-21T15:32:11Z"),
        ("2w", "2026-12-05T14:02:11Z"),
        ("2027-01-31T08:00:00+01:00", "2027-01-31T07:00:00Z"),
        ("2027-01-31T08:00:00Z", "2027-01-31T08:00:00Z"),
    ],
)
def test_an_end_is_a_span_or_a_moment(text: str | None, moment: str | None) -> None:
    assert typed.until(text) == moment


@pytest.mark.parametrize("text", ["2027-01-31", "2026-11-21", "2026-11-30"])
def test_a_date_is_the_last_day(text: str) -> None:
    after = (datetime.fromisoformat(text) + timedelta(days=1)).astimezone(UTC)
    assert typed.until(text) == after.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    "text", ["", "soon", "30", "d", "-5d", "2026-11-20", "2026-11-21T14:02:11Z", "0d", "9999-12-31", "99999999999999d"]
)
def test_an_end_that_is_none_or_was_is_told(text: str) -> None:
    with pytest.raises(CommandError, match=r"is no time|must be a time to come") as told:
        typed.until(text)
    assert told.value.code == Exit.USAGE


def test_a_grace_is_a_span() -> None:
    assert [typed.grace(text) for text in (None, "10m", "1d", "90s")] == [0, 600, 86_400, 90]
    for text in ("", "10", "ten", "-1m"):
        with pytest.raises(CommandError, match="is no time"):
            typed.grace(text)


def test_scopes_and_tiers_are_those_that_there_are() -> None:
    assert typed.scopes(None) == typed.scopes([]) == ("ask", "read")
    assert typed.scopes(["admin", "ask"]) == ("admin", "ask")
    assert [typed.tier(each) for each in (None, "fast", "quality")] == [None, "fast", "quality"]
    for wrong in (lambda: typed.scopes(["ask", "root"]), lambda: typed.tier("turbo")):
        with pytest.raises(CommandError, match=r"No (scope root|tier turbo)\. There are") as told:
            wrong()
        assert told.value.code == Exit.USAGE


# --- told


def test_of_a_key_that_may_what_any_may_nothing_is_told() -> None:
    assert typed.told(Rights(), NOW) == []


def test_every_limit_is_told() -> None:
    rights = Rights(
        scopes=("ask", "admin"),
        expires="2026-12-21T14:02:12Z",
        models=("gpt-4o*", "claude-*"),
        budget=Allowance(2_000_000, 50_000_000, 100_000_000),
        rate=Rate(60, 100_000),
        tier="fast",
        private=True,
    )
    assert typed.told(rights, NOW) == [
        "$2.00 a day",
        "$50.00 a month",
        "$100.00 in all",
        "60 requests a minute",
        "100,000 tokens a minute",
        "only gpt-4o*, claude-*",
        "tier fast",
        "private",
        "may ask and admin",
        "30 days left",
    ]


@pytest.mark.parametrize(
    ("expires", "told"),
    [
        ("2026-11-21T14:02:11Z", "expired"),
        ("2020-01-01T00:00:00Z", "expired"),
        ("nonsense", "expired"),
        ("2026-11-21T14:03:00Z", "0 min left"),
        ("2026-11-21T14:32:30Z", "30 min left"),
        ("2026-11-21T16:02:30Z", "2 h left"),
        ("2026-11-23T14:00:00Z", "47 h left"),
        ("2026-11-24T14:00:00Z", "2 days left"),
        ("2027-06-15T12:00:00Z", "until 2027-06-15"),
    ],
)
def test_an_end_is_told_as_one_would_say_it(expires: str, told: str) -> None:
    rights = Rights(expires=expires)
    assert typed.told(rights, NOW) == [told]
    assert typed.over(rights, NOW) is (told == "expired")
