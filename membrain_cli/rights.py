"""What a client key may, as it is typed and as it is told: `--budget-day 2.00 --expires 30d`, "$2.00 a day".

What makes sense of it is decided where the key is made. Asks nobody and prints nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from membrain.records import DEFAULT_SCOPES, SCOPES, Allowance, Rate, Rights
from membrain_cli.asking import seconds
from membrain_cli.console import Exit, current, moment, money

TIERS = ("fast", "balanced", "best", "speed", "quality")
MICROS = 1_000_000
"""In a dollar."""


# --- as it is typed ------------------------------------------------------------------------------------------


def dollars(text: str | None, option: str) -> int | None:
    """Dollars ("2", "2.00", "$2") in micro-dollars; None if none are given."""
    if text is None:
        return None
    found = re.fullmatch(r"\$?([0-9]{1,9})(?:\.([0-9]{1,6}))?", text.strip())
    amount = int(found[1]) * MICROS + int((found[2] or "").ljust(6, "0")) if found else 0
    if not amount:
        current().fail(f"{option} must be dollars above 0, with at most six decimals, like 2.00.", code=Exit.USAGE)
    return amount


def until(text: str | None) -> str | None:
    """A span from now ("30d"), a last day ("2027-01-31") or a moment, as RFC 3339 in UTC; None if none is given."""
    if text is None:
        return None
    now = current().clock()
    try:
        found = now + timedelta(seconds=span) if (span := seconds(text)) is not None else _day_or_moment(text)
    except (ValueError, OverflowError):
        current().fail(f'"{text}" is no time; it must be like 30d, 12h, or the last day, 2027-01-31.', code=Exit.USAGE)
    if found <= now:
        current().fail("--expires must be a time to come, like 30d.", code=Exit.USAGE)
    return found.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _day_or_moment(text: str) -> datetime:
    """A moment, or the end of a day; without a zone they are this machine's."""
    found = datetime.fromisoformat(text)
    return (found + timedelta(days=len(text) == len("2027-01-31"))).astimezone()


def grace(text: str | None) -> float:
    """A span like "10m" in seconds."""
    if text is None:
        return 0
    if (found := seconds(text)) is None:
        current().fail(f'"{text}" is no time; it must be like 10m or 1d.', code=Exit.USAGE)
    return found


def scopes(given: list[str] | None) -> tuple[str, ...]:
    """What a key is issued for."""
    for each in given or ():
        if each not in SCOPES:
            current().fail(f"No scope {each}. There are {', '.join(SCOPES)}.", code=Exit.USAGE)
    return tuple(given) if given else DEFAULT_SCOPES


def tier(given: str | None) -> str | None:
    """A tier, if it is one."""
    if given is not None and given not in TIERS:
        current().fail(f"No tier {given}. There are fast, balanced and best.", code=Exit.USAGE)
    return given


# --- as it is told -------------------------------------------------------------------------------------------


def told(rights: Rights, now: datetime) -> list[str]:
    """What is narrower than what any key may, in a few words each."""
    return [
        *_budget(rights.budget),
        *_rate(rights.rate),
        *([f"only {', '.join(rights.models)}"] if rights.models else []),
        *([f"tier {rights.tier}"] if rights.tier else []),
        *(["private"] if rights.private else []),
        *([f"may {' and '.join(rights.scopes)}"] if rights.scopes != DEFAULT_SCOPES else []),
        *([_end(rights.expires, now)] if rights.expires else []),
    ]


def over(rights: Rights, now: datetime) -> bool:
    """Whether a key's time is over. What cannot be read as a time is over, as it is for the gateway."""
    end = moment(rights.expires) if rights.expires else None
    return rights.expires is not None and (end is None or end <= now)


def _budget(budget: Allowance) -> Iterator[str]:
    for amount, span in ((budget.day, "a day"), (budget.month, "a month"), (budget.total, "in all")):
        if amount is not None:
            yield f"{money(amount)} {span}"


def _rate(rate: Rate) -> Iterator[str]:
    for amount, what in ((rate.requests, "requests"), (rate.tokens, "tokens")):
        if amount is not None:
            yield f"{amount:,} {what} a minute"


def _end(expires: str, now: datetime) -> str:
    end = moment(expires)
    if end is None or end <= now:
        return "expired"
    days = (end - now).days
    if days >= 2:
        return f"until {end.astimezone():%Y-%m-%d}" if days >= 100 else f"{days} days left"
    hours, minutes = divmod(int((end - now).total_seconds()) // 60, 60)
    return f"{hours} h left" if hours else f"{minutes} min left"
