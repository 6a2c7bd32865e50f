"""What every store must do, run over each that there is."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from membrain.errors import BadRequest, GuardFailed, NotFound
from membrain.records import AuditRecord, Outcome
from membrain.stores.base import ANY, AuditQuery, Stores, Tally, Totals
from membrain.stores.open import open_reader, open_stores
from tests.gateway.stores.made import DAWN, KEY, a_key, an_intent, an_outcome, moment

pytestmark = pytest.mark.anyio

ADDRESSES: dict[str, Callable[[Path], str]] = {"sqlite": lambda folder: f"sqlite://{folder}/data/audit.db"}
"""An address for each kind of store, in a folder of the test's own."""


@pytest.fixture(params=ADDRESSES)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return ADDRESSES[request.param](tmp_path)


@pytest.fixture
async def stores(address: str) -> AsyncIterator[Stores]:
    stores = open_stores(address, instance="this-run", key=KEY)
    yield stores
    await stores.close()


async def keep(stores: Stores, *records: AuditRecord) -> None:
    """Write outcomes, each behind its intent."""
    for record in records:
        await stores.audit.intend(an_intent(record.id))
        await stores.audit.conclude(record)


async def ids(stores: Stores, **query: Any) -> list[str]:
    return [record.id for record in await stores.audit.list(AuditQuery(**query))]


# Writing


async def test_an_outcome_comes_back_with_every_field_as_it_was_written(stores: Stores) -> None:
    intent = an_intent("whole", key_id="k1", project="web", error="provider_failed")
    outcome = an_outcome(intent)
    await stores.audit.intend(intent)
    await stores.audit.conclude(outcome)
    assert await stores.audit.get("whole") == outcome
    assert await stores.audit.list() == [outcome]


async def test_an_intent_comes_back_as_it_was_written_and_open(stores: Stores) -> None:
    intent = an_intent("half", stream=True, private=True, tier="best", user="somebody", key_id="k1", project="web")
    await stores.audit.intend(intent)
    assert await stores.audit.get("half") == intent
    assert intent.outcome == Outcome.OPEN


async def test_a_record_of_defaults_alone_comes_back_too(stores: Stores) -> None:
    bare = AuditRecord(id="bare", time=moment(0), dialect="chat", path="/", model="")
    await stores.audit.conclude(bare)
    assert await stores.audit.get("bare") == bare


async def test_an_outcome_without_its_intent_is_written_all_the_same(stores: Stores) -> None:
    outcome = an_outcome(an_intent("alone"))
    await stores.audit.conclude(outcome)
    assert await stores.audit.get("alone") == outcome


async def test_a_later_outcome_replaces_the_earlier_one_fully(stores: Stores) -> None:
    intent = an_intent("twice")
    await keep(stores, an_outcome(intent))
    bare = replace(intent, outcome=Outcome.FAILED, status=502)
    await stores.audit.conclude(bare)
    assert await stores.audit.list() == [bare]


async def test_a_second_intent_of_the_same_id_is_refused_and_changes_nothing(stores: Stores) -> None:
    intent = an_intent("same")
    await stores.audit.intend(intent)
    with pytest.raises(GuardFailed, match="audit cannot be written"):
        await stores.audit.intend(replace(intent, model="another"))
    assert await stores.audit.list() == [intent]


async def test_writes_are_handed_over_in_order_without_being_awaited(stores: Stores) -> None:
    intents = [an_intent(f"n{number:03}") for number in range(100)]
    futures = [stores.audit.intend(intent) for intent in intents]
    futures += [stores.audit.conclude(an_outcome(intent)) for intent in intents]
    await asyncio.gather(*futures)
    found = await stores.audit.list(AuditQuery(limit=1000))
    assert [record.id for record in found] == [intent.id for intent in reversed(intents)]
    assert {record.outcome for record in found} == {"answered"}


async def test_a_record_that_cannot_be_written_fails_alone(stores: Stores) -> None:
    """Neither its neighbours in the batch suffer, nor does its content show."""
    good = [an_intent(f"good{number}") for number in range(20)]
    bad = [
        an_intent("canary1", model="\ud800 canary"),
        replace(an_intent("canary2"), time="no time, canary"),
        replace(an_intent("canary3"), prompt_tokens=2**80),
        an_intent("canary4", user="\udfff canary"),
    ]
    futures = [stores.audit.intend(record) for record in [*good[:10], *bad, *good[10:]]]
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    failed = outcomes[10:14]
    assert all(isinstance(error, GuardFailed) for error in failed)
    for error in failed:
        assert isinstance(error, GuardFailed)
        assert "canary" not in f"{error!r} {error.sentence} {error.__cause__!r} {error.__context__!r}"
    assert outcomes[:10] + outcomes[14:] == [None] * 20
    assert len(await ids(stores, limit=100)) == 20
    assert stores.audit.fault is None


async def test_after_closing_nothing_is_taken_and_closing_again_is_harmless(address: str) -> None:
    stores = open_stores(address, instance="this-run", key=KEY)
    waiting = [stores.audit.intend(an_intent()) for _ in range(50)]
    await stores.close()
    assert all(future.done() and future.exception() is None for future in waiting)
    with pytest.raises(GuardFailed):
        await stores.audit.intend(an_intent())
    await stores.close()
    assert len(open_reader(address).list()) == 50


async def test_the_digest_of_what_left_is_part_of_the_record(stores: Stores) -> None:
    outcome = an_outcome(an_intent("left"))
    await stores.audit.conclude(outcome, sent=b"masked")
    digest = hashlib.sha256(b"masked").hexdigest()
    assert await stores.audit.get("left") == replace(outcome, sent_sha256=digest)


# Reading


async def test_the_newest_come_first_and_no_more_than_asked_for(stores: Stores) -> None:
    await keep(stores, *(an_outcome(an_intent(id)) for id in ("first", "second", "third")))
    assert await ids(stores) == ["third", "second", "first"]
    assert await ids(stores, limit=2) == ["third", "second"]


async def test_pages_follow_one_another_backwards_and_forwards(stores: Stores) -> None:
    await keep(stores, *(an_outcome(an_intent(f"p{number}")) for number in range(6)))
    assert await ids(stores, before="p4", limit=2) == ["p3", "p2"]
    assert await ids(stores, before="p0") == []
    assert await ids(stores, after="p1", limit=2) == ["p3", "p2"]
    assert await ids(stores, after="p3", limit=2) == ["p5", "p4"]
    assert await ids(stores, after="p0", before="p4") == ["p3", "p2", "p1"]
    with pytest.raises(NotFound):
        await ids(stores, after="nobody")


async def test_one_is_found_by_the_start_of_its_id(stores: Stores) -> None:
    await keep(stores, *(an_outcome(an_intent(id)) for id in ("7f3a9c", "7f3b00", "a_1", "ab1", "7f")))
    assert (await stores.audit.get("7f3a")).id == "7f3a9c"
    assert (await stores.audit.get("7f")).id == "7f", "a whole id is never ambiguous"
    assert (await stores.audit.get("a_")).id == "a_1", "an underscore is no wildcard"
    with pytest.raises(BadRequest, match="2 exchanges"):
        await stores.audit.get("7f3")
    for nobody in ("zz", "%", "7f3a9c0", "\U0010ffff"):
        with pytest.raises(NotFound):
            await stores.audit.get(nobody)
    with pytest.raises(BadRequest):
        await stores.audit.get("")


CROWD = {
    "plain": an_outcome(
        an_intent(seconds=10), provider="openai", pii_findings_count=0, pii_labels=(), answered_model=None
    ),
    "dear": an_outcome(an_intent(seconds=20, model="o1"), cost_micros=50_000, ms=2_000.0),
    "free": an_outcome(an_intent(seconds=30, model="ollama/llama3"), cost_micros=None, project="notes"),
    "kept": an_outcome(
        an_intent(seconds=40, caller="codex"), user="ada", cached=True, pii_labels=("email",), cost_micros=0
    ),
    "gone": an_outcome(an_intent(seconds=50, model="gpt%4_o"), outcome="aborted", key_id="k9", ms=None),
}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"since": DAWN + timedelta(seconds=30)}, "free kept gone"),
        ({"until": DAWN + timedelta(seconds=30)}, "plain dear"),
        ({"since": DAWN + timedelta(seconds=20), "until": DAWN + timedelta(seconds=21)}, "dear"),
        ({"since": DAWN + timedelta(days=1)}, ""),
        ({"until": DAWN - timedelta(days=1)}, ""),
        ({"model": "o1"}, "dear"),
        ({"model": "O1"}, "dear"),
        ({"model": "gpt-4o*"}, "plain kept"),
        ({"model": "*llama?"}, "free"),
        ({"model": "claude-haiku*"}, "dear free kept gone"),
        ({"model": "gpt%4_o"}, "gone"),
        ({"model": "%"}, ""),
        ({"model": "gpt_4o_mini"}, ""),
        ({"model": ""}, ""),
        ({"model": "***"}, "plain dear free kept gone"),
        ({"provider": "openai"}, "plain"),
        ({"caller": "codex"}, "kept"),
        ({"project": "notes"}, "free"),
        ({"outcome": "aborted"}, "gone"),
        ({"key_id": "k9"}, "gone"),
        ({"pii": ANY}, "dear free kept gone"),
        ({"pii": "phone"}, "dear free gone"),
        ({"pii": "email"}, "dear free kept gone"),
        ({"pii": "mail"}, ""),
        ({"pii": ","}, ""),
        ({"user": "ada"}, "kept"),
        ({"user": ""}, ""),
        ({"cached": True}, "kept"),
        ({"cached": False}, "plain dear free gone"),
        ({"min_cost_micros": 901}, "dear"),
        ({"min_cost_micros": 0}, "plain dear kept gone"),
        ({"slower_ms": 412.5}, "dear"),
        ({"slower_ms": 0}, "plain dear free kept"),
        ({"model": "gpt*", "cached": True, "pii": "email", "caller": "codex", "min_cost_micros": 0}, "kept"),
        ({"model": "o1", "cached": True}, ""),
    ],
)
async def test_each_filter_keeps_what_it_says(stores: Stores, query: dict[str, Any], names: str) -> None:
    await keep(stores, *(replace(record, id=name) for name, record in CROWD.items()))
    assert await ids(stores, **query) == names.split()[::-1]


HOSTILE = [
    *("'", '"', "' OR '1'='1", "' OR 1=1 --", "x'; DROP TABLE exchanges; --", "') UNION SELECT * FROM client_keys --"),
    *(
        "%",
        "_",
        "\\",
        "\\%",
        "%%%%",
        "a" * 5_000,
        "\x00",
        "x\x00' OR 1=1",
        "é",
        "\u202e",
        "\U0001f600",
        "NULL",
        ":model",
    ),
    *("?1", "$(id)", "${x}", "{0}", "%s", "[a-z]", "1 OR 1=1", "0x27", "char(39)", "/**/", "\n", "\r\n; SELECT 1"),
]


@pytest.mark.parametrize("name", ["model", "provider", "caller", "project", "outcome", "pii", "key_id", "user"])
async def test_hostile_words_find_exactly_what_bears_them(stores: Stores, name: str) -> None:
    """Each is looked for among records that have such words themselves, and nothing is lost by it."""
    fields = {"pii": "pii_labels"}.get(name, name)
    records = [
        an_outcome(an_intent(), answered_model=None, **{fields: (word,) if name == "pii" else word}) for word in HOSTILE
    ]
    await keep(stores, *records)
    for word in HOSTILE:
        if (name == "model" and len(word) > 200) or (name == "pii" and "\0" in word):
            continue  # the first is refused, see below; no detector bears the second, and SQLite's JSON ends there
        found = await ids(stores, limit=1_000, **{name: word})
        assert found == [record.id for record in reversed(records) if is_asked_for(record, name, word)], word
    assert len(await ids(stores, limit=1_000)) == len(records)


def is_asked_for(record: AuditRecord, name: str, word: str) -> bool:
    """The same question in Python."""
    if name == "pii":
        return word in record.pii_labels
    if name != "model":
        return bool(getattr(record, name) == word)
    pattern = "".join({"*": ".*", "?": "."}.get(sign, re.escape(sign)) for sign in word)
    return re.fullmatch(pattern, record.model, re.DOTALL) is not None


@pytest.mark.parametrize("name", ["id", "before", "after"])
async def test_hostile_ids_find_nobody(stores: Stores, name: str) -> None:
    await keep(stores, an_outcome(an_intent("honest")))
    for word in HOSTILE:
        with pytest.raises((NotFound, BadRequest)):
            await (stores.audit.get(word) if name == "id" else ids(stores, **{name: word}))


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": -1},
        {"limit": 10_001},
        {"since": DAWN.replace(tzinfo=None)},
        {"until": DAWN.replace(tzinfo=None)},
        {"model": "a" * 201},
        {"caller": "\ud800"},
        {"model": "\ud800"},
        {"min_cost_micros": 2**63},
        {"before": ""},
    ],
    ids=repr,
)
async def test_a_question_that_makes_no_sense_is_a_bad_request(stores: Stores, query: dict[str, Any]) -> None:
    await keep(stores, an_outcome(an_intent()))
    with pytest.raises(BadRequest):
        await ids(stores, **query)


async def test_totals_add_up_over_all_and_for_each_provider(stores: Stores) -> None:
    await keep(stores, *(replace(record, id=name) for name, record in CROWD.items()))
    await stores.audit.intend(an_intent(seconds=60))
    assert await stores.audit.totals() == Totals(
        exchanges=6,
        prompt_tokens=5 * 310,
        completion_tokens=5 * 160,
        cost_micros=900 + 50_000 + 900,
        unpriced=1,
        masked=4 * 3,
        cached=1,
        slowest_ms=2000,
        by_provider=(
            Tally("anthropic", 4, 4 * 310, 4 * 160, 50_900, unpriced=1, masked=12, cached=1, slowest_ms=2000),
            Tally("", 1),
            Tally("openai", 1, 310, 160, 900, slowest_ms=412.5),
        ),
    )
    assert (await stores.audit.totals(DAWN + timedelta(seconds=50))).exchanges == 2
    assert (await stores.audit.totals(key_id="k9")).exchanges == 1
    assert (await stores.audit.totals(DAWN + timedelta(seconds=51), "k9")) == Totals()
    assert await stores.audit.totals(DAWN + timedelta(days=1)) == Totals()


async def test_totals_survive_absurd_counts(stores: Stores) -> None:
    """Two upstreams that claim nearly as many tokens as a number can hold must not end all sums."""
    absurd = [an_outcome(an_intent(), prompt_tokens=2**63 - 1) for _ in range(3)]
    await keep(stores, *absurd)
    assert (await stores.audit.totals()).exchanges == 3


async def test_the_reader_without_a_gateway_says_the_same(stores: Stores, address: str) -> None:
    await keep(stores, *(replace(record, id=name) for name, record in CROWD.items()))
    reader = open_reader(address)
    query = AuditQuery(pii="phone", limit=2)
    assert reader.list() == await stores.audit.list()
    assert reader.list(query) == await stores.audit.list(query)
    assert reader.get("dea") == await stores.audit.get("dea")
    assert reader.totals() == await stores.audit.totals()


# What a dead gateway left


async def test_only_open_intents_of_other_runs_become_interrupted(address: str) -> None:
    earlier = open_stores(address, instance="run-before", key=KEY)
    lost = an_intent("lost", stream=True)
    await earlier.audit.intend(lost)
    await keep(earlier, an_outcome(an_intent("fine")))
    await earlier.close()
    stores = open_stores(address, instance="this-run", key=KEY)
    await stores.audit.intend(an_intent("mine"))
    assert await stores.audit.interrupt("this-run") == 1
    assert await stores.audit.interrupt("this-run") == 0
    assert await stores.audit.get("lost") == replace(lost, outcome="interrupted")
    assert [record.outcome for record in await stores.audit.list()] == ["open", "answered", "interrupted"]
    await stores.close()


# Client keys


async def test_keys_come_back_as_they_were_added_oldest_first(stores: Stores) -> None:
    young, old = a_key("young", created=moment(9)), a_key("old", last_used=moment(5))
    await stores.keys.add(young)
    await stores.keys.add(old)
    assert await stores.keys.all() == [old, young]


async def test_a_key_that_is_there_already_is_refused(stores: Stores) -> None:
    await stores.keys.add(a_key("k1"))
    for clash in (a_key("k1", digest="another"), a_key("k2", digest="digest-of-k1")):
        with pytest.raises(BadRequest, match="already"):
            await stores.keys.add(clash)
    assert await stores.keys.all() == [a_key("k1")]


async def test_a_key_is_revoked_once_and_keeps_the_first_moment(stores: Stores) -> None:
    await stores.keys.add(a_key("k1"))
    await stores.keys.revoke("k1", moment(1))
    await stores.keys.revoke("k1", moment(2))
    assert [key.revoked for key in await stores.keys.all()] == [moment(1)]
    with pytest.raises(NotFound):
        await stores.keys.revoke("nobody", moment(1))


async def test_a_use_is_noted_at_most_once_a_minute_and_never_backwards(stores: Stores) -> None:
    await stores.keys.add(a_key("k1"))

    async def used(seconds: float) -> str | None:
        stores.keys.touch("k1", moment(seconds))
        await stores.audit.intend(an_intent())  # behind it in the same queue
        (key,) = await stores.keys.all()
        return key.last_used

    assert await used(1) == moment(1)
    assert await used(59) == moment(1)
    assert await used(60) == moment(60)
    assert await used(1) == moment(60)
    stores.keys.touch("nobody", moment(1))
    await stores.audit.intend(an_intent())
    assert stores.audit.fault is None
