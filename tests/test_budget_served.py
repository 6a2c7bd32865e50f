"""Budgets through a real gateway: what is refused, what is cut, what is charged, and what a kill leaves."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.served import Served
from tests.sink import Recorded, Sink


@contextmanager
def limited(folder: Path, sink: Sink, **environ: str) -> Iterator[Served]:
    """A gateway with a budget. Prices are given, so that nobody else's change them: a dollar for a million tokens."""
    names = ("gpt-4o", "gpt-chunks-5000", "gpt-chunks-200-slow-20", "gpt-status-400", "gpt-reset", "gpt-slow-300")
    prices = ",".join(f"{name}=1/1" for name in names)
    with Served(folder / "home", sink, MEMBRAIN_ROUTING_ATTEMPTS="1", MEMBRAIN_PRICES=prices, **environ) as served:
        yield served
        served.assert_sound()


def ledger(served: Served) -> tuple[int, int, int]:
    """What is spent, held, and how many holds there are."""
    file = next(served.home.rglob("*.db"))
    with closing(sqlite3.connect(file)) as database:
        spent, reserved = database.execute("SELECT sum(spent), sum(reserved) FROM spends").fetchone()
        (holds,) = database.execute("SELECT count(*) FROM reservations").fetchone()
    return spent or 0, reserved or 0, holds


def posted(sink: Sink) -> list[Recorded]:
    """The questions that arrived."""
    return [each for each in list(sink.requests) if each.method == "POST"]


def at_once(number: int, ask: Callable[[], Any]) -> list[Any]:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(ask())) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_a_hundred_at_once_cannot_spend_more_than_the_budget(tmp_path: Path, sink: Sink) -> None:
    with limited(tmp_path, sink, MEMBRAIN_BUDGET_TOTAL="0.02") as served:
        answers = at_once(100, lambda: served.chat(model="gpt-slow-300", max_tokens=1000))
        told = Counter(each.status for each in answers)
        assert set(told) == {200, 402}
        assert told[200] == len(posted(sink))
        hold = next(each["reserved_micros"] for each in served.audit(limit=200) if each["reserved_micros"])
        assert told[200] >= 20_000 // hold > 1
        refused = next(each for each in answers if each.status == 402)
        assert refused.json()["error"]["code"] == "budget_exceeded"
        assert refused.headers["x-should-retry"] == "false"
        spent, reserved, holds = ledger(served)
        assert 0 < spent <= 20_000
        assert spent == sum(each["cost_micros"] or 0 for each in served.audit(limit=200))
        assert (reserved, holds) == (0, 0)
        assert served.chat(max_tokens=1000).status == 200, "what was held is free again"


def test_an_answer_that_runs_over_is_cut_with_a_proper_end(tmp_path: Path, sink: Sink) -> None:
    with limited(tmp_path, sink, MEMBRAIN_BUDGET_DAY="0.01") as served:
        answer = served.chat(model="gpt-chunks-5000", max_tokens=100, stream=True)
        assert answer.status == 200
        events = [each.removeprefix(b"data: ") for each in answer.body.split(b"\n\n") if each]
        assert events[-1] == b"[DONE]"
        last = json.loads(events[-2])
        assert last["choices"][0]["finish_reason"] == "length"
        assert last["membrain"] == {"reason": "budget_exceeded"}
        (record,) = served.audit(limit=1)
        assert (record["outcome"], record["error"]) == ("failed", "budget_exceeded")
        spent, reserved, holds = ledger(served)
        assert spent >= record["reserved_micros"] > 0
        assert (reserved, holds) == (0, 0)


def test_a_model_without_a_price_is_refused_and_nothing_is_sent(tmp_path: Path, sink: Sink) -> None:
    with limited(tmp_path, sink, MEMBRAIN_BUDGET_DAY="1") as served:
        answer = served.chat(model="gpt-unheard-of")
        assert answer.status == 402
        assert answer.json()["error"]["code"] == "price_unknown"
        assert "membrain config set prices.gpt-unheard-of INPUT,OUTPUT" in answer.json()["error"]["message"]
        assert not posted(sink)


def test_a_shorter_answer_is_asked_for_where_the_request_leaves_it_open(tmp_path: Path, sink: Sink) -> None:
    with limited(tmp_path, sink, MEMBRAIN_BUDGET_DAY="0.002") as served:
        assert served.chat().status == 200
        assert 256 <= posted(sink)[-1].json()["max_completion_tokens"] < 2000


@pytest.mark.parametrize(("model", "billed"), [("gpt-status-400", False), ("gpt-reset", True)])
def test_a_failure_is_charged_only_if_the_model_may_have_been_at_work(
    tmp_path: Path, sink: Sink, model: str, billed: bool
) -> None:
    with limited(tmp_path, sink, MEMBRAIN_BUDGET_DAY="1") as served:
        assert served.chat(model=model, max_tokens=100).status >= 400
        (record,) = served.audit(limit=1)
        assert ledger(served) == (record["reserved_micros"] if billed else 0, 0, 0)


def test_a_kill_leaves_nothing_held_and_what_was_held_is_charged(tmp_path: Path, sink: Sink) -> None:
    with limited(tmp_path, sink, MEMBRAIN_BUDGET_DAY="1") as served:
        thread = threading.Thread(
            target=lambda: _ignoring(lambda: served.chat(model="gpt-chunks-200-slow-20", stream=True))
        )
        thread.start()
        limit = time.monotonic() + 10
        while not posted(sink) and time.monotonic() < limit:
            time.sleep(0.01)
        spent, reserved, holds = ledger(served)
        assert (spent, holds) == (0, 1)
        assert reserved
        served.kill()
        thread.join(10)
        served.start()
        assert ledger(served) == (reserved, 0, 0)


def _ignoring(ask: Callable[[], Any]) -> None:
    try:
        ask()
    except (OSError, HTTPException):  # it was killed meanwhile
        return


def test_when_half_of_a_budget_is_spent_it_is_told_once(tmp_path: Path, sink: Sink) -> None:
    with limited(tmp_path, sink, MEMBRAIN_BUDGET_DAY="0.0006") as served:
        assert served.chat(model="gpt-reset", max_tokens=100).status >= 400, "charged in full, since it may be billed"
        spent, _, _ = ledger(served)
        assert 300 <= spent < 480
        assert served.chat(model="gpt-chunks-5000", max_tokens=2000).status == 402
        told = [line for line in served.log.read_text().splitlines() if "% of the budget" in line]
        assert len(told) == 1
        assert "50 % of the budget of a machine (" in told[0]


def test_a_callers_label_that_is_private_is_nowhere_in_the_ledger(tmp_path: Path, sink: Sink) -> None:
    label = "ada.lovelace@corp-mail.net"
    with limited(tmp_path, sink, MEMBRAIN_BUDGET_RULES="user:*:total=0.0006") as served:
        body = {"model": "gpt-reset", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}
        asked = [
            served.post("/v1/chat/completions", body, **{"x-membrain-user-id": each}) for each in (label, label, "bob")
        ]
        assert [each.status == 402 for each in asked] == [False, True, False], "each label has a purse of its own"
        with closing(sqlite3.connect(next(served.home.rglob("*.db")))) as database:
            owners = [owner for (owner,) in database.execute("SELECT owner FROM spends ORDER BY owner")]
        assert owners[0] == "user:default:bob"
        assert owners[1].startswith("user:default:~")
        for file in served.home.rglob("*.db*"):
            assert label.encode() not in file.read_bytes()
