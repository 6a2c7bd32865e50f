"""When to try again, and how long to wait before: decisions only, nothing is sent and nobody waits here.

Used when `max_retries` is above 0, and only until an answer has begun.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime

import httpx

STATUSES = frozenset({429, 500, 502, 503, 504, 529})
"""Worth another try, unless `x-should-retry` says otherwise. 402 never is: a spent budget stays spent."""

ERRORS = (httpx.ConnectError, httpx.TimeoutException)
"""Failures before any answer."""

FIRST_WAIT, LONGEST_WAIT, LONGEST_ASKED = 0.5, 8.0, 60.0
"""Seconds: the first wait of ours, our longest, and the longest that a gateway may ask for."""


def is_worth_it(response: httpx.Response) -> bool:
    """Whether the same request may do better later."""
    if response.is_success or response.status_code == 402:
        return False
    said = response.headers.get("x-should-retry", "").lower()
    return said == "true" or (said != "false" and response.status_code in STATUSES)


def wait_before(attempt: int, headers: Mapping[str, str] | None = None) -> float:
    """Seconds to wait before attempt number `attempt` (the first repetition is 1).

    As long as the headers ask (at most a minute), else doubling from half a second to eight, less up to a
    quarter by chance, so that many callers do not come back all at once.
    """
    asked = asked_for(headers or {}, time.time())
    if asked is not None:
        return min(asked, LONGEST_ASKED)
    wait = min(FIRST_WAIT * 2.0 ** min(attempt - 1, 10), LONGEST_WAIT)
    return wait * (1 - random.random() / 4)  # noqa: S311 - spreads callers in time, guards nothing


def asked_for(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds asked for by `retry-after-ms` or `Retry-After` (seconds or an HTTP date), None if by neither.

    What makes no sense is passed over. `headers` must not care about case; `now` is Unix time.
    """
    exact = _seconds(headers.get("retry-after-ms", ""))
    if exact is not None:
        return exact / 1000
    said = headers.get("retry-after", "")
    seconds = _seconds(said)
    return seconds if seconds is not None else _until(said, now)


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _until(text: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:  # "-0000" is read as a time without a zone, and means UTC
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, moment.timestamp() - now)
