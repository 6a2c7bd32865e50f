"""The chain: sealed in order, checked to its last bit, erased without a break, and what it costs to look."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import threading
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from membrain.errors import AuditUnavailable, GuardFailed, Misconfigured, NotFound
from membrain.records import AuditRecord
from membrain.stores import chain
from membrain.stores import database as file
from membrain.stores.base import AuditQuery, Stores
from membrain.stores.chain import Chain, Head, Verdict, entries, erase, head_of, make_ready, prune, verify, wire
from membrain.stores.database import connect
from membrain.stores.open import open_reader, open_stores
from tests.gateway.stores.made import DAWN, KEY, an_intent, an_outcome, ask_child, moment
from tests.tampering import KINDS, Target, seed

ROUNDS = 50
"""Changes of each kind. The 10,000 of each are in tests/bench_chain.py."""


def keep(path: Path, *records: AuditRecord) -> None:
    """Write outcomes behind their intents, by the real store."""

    async def write() -> None:
        stores = open_stores(path, instance="i", key=KEY)
        await keep_in(stores, *records)
        await stores.close()

    asyncio.run(write())


async def keep_in(stores: Stores, *records: AuditRecord, sent: bytes | None = None) -> None:
    for record in records:
        await stores.audit.intend(replace(an_intent(record.id, user=record.user), time=record.time))
        await stores.audit.conclude(record, sent=sent, keep=sent is not None)


def people(number: int = 12) -> list[AuditRecord]:
    """Exchanges of three people in turn, a second apart."""
    return [
        replace(an_outcome(an_intent(f"{n:03}", seconds=n)), user=("ada", "bert", "cleo")[n % 3]) for n in range(number)
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


def change(path: Path, sql: str, *values: object) -> None:
    """Tamper."""
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute(sql, values).rowcount


# Sealed


def test_every_record_is_sealed_in_the_order_of_writing(path: Path) -> None:
    keep(path, *people(3))
    verdict = verify(path, KEY)
    assert verdict == Verdict(6, 0, moment(0), moment(2), head_of(path, KEY))
    assert verdict.sound
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT seq, kind, id FROM entries ORDER BY seq").fetchall()
    assert rows == [(n + 1, ("intent", "outcome")[n % 2], f"{n // 2:03}") for n in range(6)]


def test_what_people_are_shown_is_the_sealed_text(path: Path) -> None:
    keep(path, *people(1))
    change(path, "UPDATE exchanges SET model = 'another', cost_micros = 1")
    record = open_reader(path).get("000")
    assert (record.model, record.cost_micros) == ("gpt-4o-mini", 900)


def test_several_processes_make_one_chain(path: Path) -> None:
    """Each reads the end anew in its own transaction."""

    def live(name: str) -> None:
        keep(path, *(an_outcome(an_intent(f"{name}{n}")) for n in range(40)))

    threads = [threading.Thread(target=live, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert verify(path, KEY).records == 3 * 2 * 40
    assert verify(path, KEY).sound


def test_a_record_that_is_taken_back_leaves_no_gap(path: Path) -> None:
    async def write() -> None:
        stores = open_stores(path, instance="i", key=KEY)
        intents = [an_intent("same"), an_intent("a"), an_intent("same"), an_intent("b")]
        *_, refused, last = await asyncio.gather(*map(stores.audit.intend, intents), return_exceptions=True)
        assert isinstance(refused, GuardFailed)
        assert last is None
        await stores.close()

    asyncio.run(write())
    assert verify(path, KEY).records == 3
    assert verify(path, KEY).sound


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Chain(b"short")


@pytest.mark.parametrize(
    "text", ["", "\x00", "a\x00b", "\u2028", '"', "\\", "\x7f", "\x01\x1f", "é", "\U0001f600", "a b"]
)
def test_no_text_in_a_record_looks_like_tampering(path: Path, text: str) -> None:
    """The check of the index is quick first and exact where that is too strict."""
    odd = an_outcome(an_intent("odd " + text), model=text, user=text, project=text, provider=text, pii_labels=(text,))
    keep(path, replace(odd, ms=0.1 + 0.2, prompt_tokens=2**62 + 1, cached=True, cost_micros=None))
    verdict = verify(path, KEY)
    assert verdict.reason is None
    change(path, "UPDATE exchanges SET model = model || 'x'")
    assert verify(path, KEY).reason == "The index of record 2 does not match."


# Found


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return Target.make(tmp_path_factory.mktemp("tampered"))


def found(database: sqlite3.Connection, heads: dict[int, set[bytes]]) -> tuple[int, str] | None:
    database.text_factory, database.row_factory = str, None
    walk = chain._Walk(database, KEY, heads)
    return walk.chain() or walk.end() or walk.index()


def test_the_audit_that_is_tampered_with_is_sound_and_has_all_that_can_be_in_one(target: Target) -> None:
    assert found(target.database, target.heads) is None
    kinds = {kind for (kind,) in target.database.execute("SELECT DISTINCT kind FROM entries")}
    assert kinds == {"intent", "outcome", "interrupted", "erased"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_change_is_found_and_its_first_record_named(target: Target, kind: str) -> None:
    random = Random(number := seed())
    for _ in range(ROUNDS):
        with target.tampered(KINDS[kind], random) as expected:
            wrong = found(target.database, target.heads)
        assert wrong is not None, f"seed {number}"
        assert wrong[0] in expected, f"{wrong}, seed {number}"
        assert wrong[1].endswith((".", "off.")), wrong


def test_an_older_copy_is_found_by_the_head_that_was_noted(target: Target) -> None:
    random = Random(seed())
    for _ in range(ROUNDS):
        database, expected = target.rolled_back(random)
        with closing(database):
            wrong = found(database, target.heads)
            assert wrong is not None
            assert wrong[0] in expected
            assert found(database, {}) is None, "without a head, nobody can see it"


def test_an_older_copy_that_went_on_past_the_head_is_found_too(path: Path, tmp_path: Path) -> None:
    keep(path, *people(3))
    older = path.read_bytes()
    keep(path, an_outcome(an_intent("more")))
    noted = head_of(path, KEY)
    assert noted is not None
    path.write_bytes(older)
    keep(path, *(an_outcome(an_intent(f"else{n}")) for n in range(5)))
    assert verify(path, KEY).sound
    verdict = verify(path, KEY, [noted])
    assert (verdict.bad, verdict.checked_head) == (noted.seq, True)
    assert verdict.reason == "Record 8 is not the one that was noted elsewhere: the audit was replaced."


def test_a_verdict_tells_where_and_what(path: Path) -> None:
    keep(path, *people(3))
    change(path, "UPDATE entries SET body = replace(body, 'gpt-4o-mini', 'gpt-4o') WHERE seq = 4")
    verdict = verify(path, KEY)
    assert (verdict.sound, verdict.bad, verdict.bad_id, verdict.bad_time) == (False, 4, "001", moment(1))
    assert verdict.reason == "The text of record 4 was changed."
    assert (verdict.records, verdict.last) == (3, moment(1))
    assert not verdict.checked_head


@pytest.mark.parametrize(
    ("sql", "bad", "reason"),
    [
        ("DELETE FROM entries WHERE seq = 2", 2, "Record 2 is missing."),
        ("UPDATE entries SET seq = -1 WHERE seq = 1", -1, "Record -1 stands where no record can be."),
        ("UPDATE entries SET seal = NULL WHERE seq = 3", 3, "Record 3 was never sealed."),
        ("UPDATE entries SET digest = NULL WHERE seq = 3", 3, "Record 3 does not match its seal."),
        ("UPDATE entries SET salt = NULL WHERE seq = 3", 3, "Record 3 does not match its seal."),
        ("UPDATE entries SET kind = 'outcome' WHERE seq = 3", 3, "Record 3 does not match its seal."),
        ("UPDATE entries SET at = 'noon' WHERE seq = 3", 3, "Record 3 does not match its seal."),
        (
            "UPDATE entries SET salt = substr(salt, 1, 15), body = char(substr(salt, 16)) || body WHERE seq = 3",
            3,
            "The text of record 3 was changed.",
        ),
        (
            "UPDATE entries SET salt = NULL, body = NULL, erased = 6 WHERE seq = 3",
            3,
            "The text of record 3 is gone, and no later record says that it was erased.",
        ),
        ("DELETE FROM entries", 1, "The audit is empty, but record 6 was noted elsewhere: the end was cut off."),
        (
            "DELETE FROM entries WHERE seq > 4",
            5,
            "The audit ends with record 4, but record 6 was noted elsewhere: the end was cut off.",
        ),
        ("UPDATE exchanges SET pii_labels = 'no list'", 2, "The index of record 2 does not match."),
        ("UPDATE exchanges SET pii_labels = CAST(x'ff' AS TEXT)", 2, "The index of record 2 does not match."),
        ("UPDATE exchanges SET ms = ms + 0.001 WHERE seq = 3", 4, "The index of record 4 does not match."),
        ("DELETE FROM exchanges WHERE seq = 3", 3, "The index of record 3 does not match."),
    ],
)
def test_each_damage_has_its_sentence(path: Path, sql: str, bad: int, reason: str) -> None:
    keep(path, *people(3))
    head = head_of(path, KEY)
    assert head is not None
    change(path, sql)
    verdict = verify(path, KEY, [head])
    assert (verdict.bad, verdict.reason) == (bad, reason)


def test_an_index_row_of_no_record_is_found(path: Path) -> None:
    keep(path, *people(2))
    columns = "at, instance, outcome, model, caller, project, user, cached, pii_findings_count, pii_labels"
    change(
        path,
        f"INSERT INTO exchanges (seq, entry, id, {columns}) SELECT 9, 9, 'forged', {columns} FROM exchanges LIMIT 1",  # noqa: S608  # names of ours
    )
    assert verify(path, KEY).reason == "The index of record 9 does not match."


def test_with_another_key_the_first_record_is_bad(path: Path) -> None:
    keep(path, *people(2))
    assert verify(path, b"x" * 32).bad == 1


def test_a_clean_audit_of_thousands_raises_no_alarm_in_constant_memory(tmp_path: Path) -> None:
    """The figures for 100,000 are printed by tests/bench_chain.py."""
    peaks = []
    for size in (500, 4_000):
        path = tmp_path / f"{size}.db"
        with closing(connect(path)) as database:
            database.execute("BEGIN IMMEDIATE")
            for n in range(size):
                Chain(KEY).append(database, "note", f"{n}", n, '{"x":"' + "y" * 1000 + '"}')
            database.execute("COMMIT")
        script = (
            "import json, tracemalloc\nfrom pathlib import Path\nfrom membrain.stores.chain import verify\n"
            "tracemalloc.start()\nverdict = verify(Path(sys.argv[1]), b'k' * 32)\n"
            "print(json.dumps([verdict.records, verdict.bad, tracemalloc.get_traced_memory()[1]]))"
        )
        records, bad, peak = ask_child(script, path)
        assert (records, bad) == (size, None)
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 50_000


# The head


def test_there_is_no_head_before_the_first_record(path: Path) -> None:
    with pytest.raises(NotFound, match="no audit yet"):
        head_of(path, KEY)
    keep(path)
    assert head_of(path, KEY) is None
    assert verify(path, KEY) == Verdict(0, 0, None, None, None)


def test_a_head_that_does_not_match_its_seal_is_told(path: Path) -> None:
    keep(path, *people(2))
    head = head_of(path, KEY)
    assert head is not None
    assert (head.seq, head.at) == (4, moment(1))
    for key, sql in ((b"x" * 32, None), (KEY, "UPDATE entries SET id = 'x' WHERE seq = 4")):
        if sql:
            change(path, sql)
        with pytest.raises(AuditUnavailable, match="does not match its seal"):
            head_of(path, key)


def test_a_head_with_a_part_missing_is_told(path: Path) -> None:
    keep(path, *people(2))
    change(path, "UPDATE entries SET digest = NULL WHERE seq = 4")
    with pytest.raises(AuditUnavailable, match="does not match its seal"):
        head_of(path, KEY)


def test_a_time_that_is_none_is_not_told(path: Path) -> None:
    keep(path, *people(2))
    change(path, "UPDATE entries SET at = ? WHERE seq = 2", 2**62)
    verdict = verify(path, KEY)
    assert (verdict.bad, verdict.bad_time) == (2, None)


def test_a_damaged_file_cannot_be_verified_and_that_is_told(path: Path) -> None:
    keep(path, *people(40))
    content = path.read_bytes()
    path.write_bytes(content[: 16 * 1024] + b"\x55" * (len(content) - 16 * 1024))
    with pytest.raises(AuditUnavailable, match="its file is damaged"):
        verify(path, KEY)


# Erased


def test_a_persons_records_go_and_the_chain_stays_whole(path: Path) -> None:
    keep(path, *people())
    before = head_of(path, KEY)
    assert before is not None
    assert erase(path, KEY, AuditQuery(user="ada", limit=1), moment(99)) == 4, "the limit does not count"
    assert {record.user for record in open_reader(path).list()} == {"bert", "cleo"}
    with pytest.raises(NotFound):
        open_reader(path).get("000")
    verdict = verify(path, KEY, [before])
    assert (verdict.reason, verdict.records, verdict.erased) == (None, 25, 8)
    assert (verdict.head, verdict.last) == (head_of(path, KEY), moment(99))
    assert erase(path, KEY, AuditQuery(user="ada"), moment(99)) == 0, "once is enough, and leaves no second entry"
    assert verify(path, KEY).records == 25


def test_prune_takes_what_is_older_and_nothing_else(path: Path) -> None:
    keep(path, *people())
    assert prune(path, KEY, DAWN + timedelta(seconds=5), moment(99)) == 5
    assert [record.id for record in open_reader(path).list()] == [f"{n:03}" for n in range(11, 4, -1)]
    verdict = verify(path, KEY)
    assert (verdict.reason, verdict.erased, verdict.first) == (None, 10, moment(0))


def test_erasing_in_many_steps_says_all_of_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "CHUNK", 2)
    monkeypatch.setattr(chain, "BREATH", 0.0)
    keep(path, *people(30))
    heads = Noted()
    assert erase(path, KEY, AuditQuery(user="bert"), moment(99), heads) == 10
    assert prune(path, KEY, DAWN + timedelta(seconds=20), moment(99), heads) == 13
    verdict = verify(path, KEY, heads.noted)
    assert (verdict.reason, verdict.erased, verdict.checked_head) == (None, 46, True)
    assert len(heads.noted) == 5 + 7
    assert heads.noted[-1] == head_of(path, KEY)


def test_a_later_erasure_may_be_erased_of_nothing(path: Path) -> None:
    """The entries that tell of erasures hold numbers only, and stay."""
    keep(path, *people())
    erase(path, KEY, AuditQuery(user="ada"), moment(50))
    assert prune(path, KEY, DAWN + timedelta(days=1), moment(99)) == 8
    assert open_reader(path).list() == []
    assert verify(path, KEY).sound


def test_not_a_byte_of_an_erased_record_is_left_in_any_file(path: Path) -> None:
    """Not in freed pages, not in the log, also while a gateway has the file open and has just written to it."""
    canary = "zanzibar"
    mixed = [replace(each, user=canary, caller=canary) if n % 3 == 0 else each for n, each in enumerate(people(240))]

    async def live() -> None:
        stores = open_stores(path, instance="i", key=KEY)
        for begin in range(0, 240, 40):  # intents first, so that rows grow among others
            some = mixed[begin : begin + 40]
            await asyncio.gather(*(stores.audit.intend(an_intent(r.id, user=r.user, caller=r.caller)) for r in some))
            await asyncio.gather(*(stores.audit.conclude(r, sent=r.user.encode() * 9, keep=True) for r in some))
        assert canary.encode() in everything(path)
        assert await asyncio.to_thread(erase, path, KEY, AuditQuery(user=canary), moment(99)) == 80
        assert canary.encode() not in everything(path)
        assert b"cleo" in everything(path)
        await keep_in(stores, an_outcome(an_intent("after")))
        await stores.close()

    asyncio.run(live())
    assert canary.encode() not in everything(path)
    assert verify(path, KEY).reason is None


def everything(path: Path) -> bytes:
    return b"".join(each.read_bytes() for each in path.parent.iterdir() if each.is_file())


def test_a_log_that_somebody_reads_cannot_be_emptied_and_that_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "PATIENCE", 0.1)
    keep(path, *people())
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entries").fetchone()
        with pytest.raises(AuditUnavailable, match="may still be in the audit's log"):
            erase(path, KEY, AuditQuery(user="ada"), moment(99))
    assert verify(path, KEY).sound


def test_erasing_beside_a_running_gateway_disturbs_neither(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "CHUNK", 5)
    keep(path, *people(60))

    async def live() -> None:
        stores = open_stores(path, instance="i", key=KEY)
        erasing = asyncio.create_task(asyncio.to_thread(erase, path, KEY, AuditQuery(user="ada"), moment(99)))
        n = 0
        while not erasing.done():
            await keep_in(stores, an_outcome(an_intent(f"n{(n := n + 1)}"), user="dora"))
        assert await erasing == 20
        assert n > 5
        await stores.close()

    asyncio.run(live())
    assert verify(path, KEY).reason is None


def test_erasing_while_another_program_holds_the_file_is_told_and_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "PATIENCE", 0.1)
    keep(path, *people())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(AuditUnavailable, match="another program has held it"):
            erase(path, KEY, AuditQuery(user="ada"), moment(99))
    assert verify(path, KEY).erased == 0


def test_an_erasure_that_breaks_off_is_taken_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(path, *people())
    with monkeypatch.context() as broken:
        broken.setattr(chain, "ranges", lambda seqs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            erase(path, KEY, AuditQuery(user="ada"), moment(99))
    assert verify(path, KEY).erased == 0
    assert erase(path, KEY, AuditQuery(user="ada"), moment(99)) == 4


def test_erasing_with_another_key_changes_nothing(path: Path) -> None:
    keep(path, *people())
    with pytest.raises(AuditUnavailable, match="does not match its seal"):
        erase(path, b"x" * 32, AuditQuery(user="ada"), moment(99))
    assert verify(path, KEY).erased == 0
    with pytest.raises(NotFound, match="no audit yet"):
        erase(path.with_name("none"), KEY, AuditQuery(), moment(99))


def test_an_outcome_after_its_erasure_is_a_record_of_its_own(path: Path) -> None:
    async def live() -> None:
        stores = open_stores(path, instance="i", key=KEY)
        await stores.audit.intend(an_intent("late", user="ada"))
        assert await asyncio.to_thread(erase, path, KEY, AuditQuery(user="ada"), moment(99)) == 1
        await stores.audit.conclude(an_outcome(an_intent("late"), user="ada"))
        assert (await stores.audit.get("late")).outcome == "answered"
        await stores.close()

    asyncio.run(live())
    assert verify(path, KEY).reason is None
    assert erase(path, KEY, AuditQuery(user="ada"), moment(99)) == 1
    assert verify(path, KEY).reason is None


@pytest.mark.parametrize(
    ("seqs", "runs"), [([], []), ([3], [[3, 3]]), ([1, 2, 3, 7, 9, 10], [[1, 3], [7, 7], [9, 10]])]
)
def test_numbers_are_told_as_runs(seqs: list[int], runs: list[list[int]]) -> None:
    assert chain.ranges(seqs) == runs


# Handed out


def test_the_export_has_every_field_oldest_first(path: Path) -> None:
    kept = people()
    keep(path, *kept)
    rows = list(entries(path, AuditQuery(user="ada", limit=1)))
    assert [row["id"] for row in rows] == ["000", "003", "006", "009"]
    assert [row["seq"] for row in rows] == [2, 8, 14, 20]
    last = list(entries(path, AuditQuery()))[-1]
    head = head_of(path, KEY)
    assert head is not None
    assert (last.pop("seq"), last.pop("seal")) == (head.seq, head.seal)
    assert last == kept[-1].to_dict()


def test_an_export_of_a_record_that_lost_its_text_fails_instead_of_leaving_it_out(path: Path) -> None:
    keep(path, *people(3))
    change(path, "DELETE FROM entries WHERE seq = 4")
    with pytest.raises(AuditUnavailable, match="entry is missing") as caught:
        list(entries(path, AuditQuery()))
    assert "membrain audit verify" in caught.value.sentence
    for ask in (lambda: open_reader(path).list(), lambda: open_reader(path).get("001")):
        with pytest.raises(AuditUnavailable, match="entry is missing"):
            ask()


def test_an_open_exchange_that_lost_its_text_is_told_at_the_next_start(path: Path) -> None:
    async def live(instance: str) -> None:
        stores = open_stores(path, instance=instance, key=KEY)
        try:
            await stores.audit.interrupt(instance)
            await stores.audit.intend(an_intent())
        finally:
            await stores.close()

    asyncio.run(live("before"))
    change(path, "UPDATE entries SET body = NULL, salt = NULL")
    with pytest.raises(AuditUnavailable, match="entry is missing"):
        asyncio.run(live("now"))


def with_wire(path: Path, sent: bytes) -> None:
    async def live() -> None:
        stores = open_stores(path, instance="i", key=KEY)
        await keep_in(stores, an_outcome(an_intent("one"), user="ada"), sent=sent)
        await stores.close()

    asyncio.run(live())


def test_what_left_comes_back_byte_for_byte_until_it_is_erased(path: Path) -> None:
    sent = b'{"messages":"[EMAIL_1]"}' * 100
    with_wire(path, sent)
    assert wire(path, "one") == sent
    assert open_reader(path).get("one").sent_sha256 == hashlib.sha256(sent).hexdigest()
    with pytest.raises(NotFound, match="Nothing is kept") as caught:
        wire(path, "another")
    assert "audit.content masked" in caught.value.sentence
    erase(path, KEY, AuditQuery(user="ada"), moment(99))
    with pytest.raises(NotFound):
        wire(path, "one")


UNMASKED = zlib.compress(b"unmasked").hex()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE wires SET body = x'00'",
        f"UPDATE wires SET body = x'{UNMASKED}'",  # noqa: S608  # ours
        "DELETE FROM exchanges",
    ],
)
def test_what_is_kept_must_be_what_the_record_tells_of(path: Path, sql: str) -> None:
    with_wire(path, b"masked")
    change(path, sql)
    with pytest.raises(AuditUnavailable, match="not what the record tells of"):
        wire(path, "one")


# Older files


def older_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit as it was before there was a chain."""
    with monkeypatch.context() as past:
        past.setattr(file, "MIGRATIONS", file.MIGRATIONS[:6])
        with closing(connect(path)) as database:
            assert "opening" in str(
                database.execute("SELECT sql FROM sqlite_master WHERE name = 'exchanges'").fetchone()
            )
            row = (
                "INSERT INTO exchanges (seq, id, at, instance, outcome, model, caller, project, cached, ms,"
                " cost_micros, pii_findings_count, pii_labels, opening)"
                " VALUES (?, ?, ?, 'before', ?, 'gpt-4o', 'aider', 'web', ?,"
                ' 12.5, ?, 2, \'["email","a\\"b"]\', ?)'
            )
            rest = {
                "time": moment(0),
                "dialect": "chat",
                "path": "/",
                "user": "ada",
                "steps": [{"room": "pii", "ms": 1}],
            }
            at = int(DAWN.timestamp()) * 1_000_000
            for seq, id, outcome in ((1, "answered", "answered"), (2, "stopped", "interrupted"), (5, "open", "open")):
                database.execute(row, (seq, id, at, outcome, seq == 1, 7 if seq == 1 else None, json.dumps(rest)))
            detail = json.dumps(rest | {"status": 200, "saved_micros": 3})
            database.execute("INSERT INTO details VALUES (1, ?)", (detail,))


def test_what_an_older_membrain_wrote_is_carried_over_and_sealed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older_file(path, monkeypatch)
    with closing(connect(path)):
        pass
    with pytest.raises(Misconfigured, match="not sealed yet") as caught:
        verify(path, KEY)
    assert "membrain up" in caught.value.sentence
    assert verify(path, KEY, [Head(1, "ab" * 32, moment(0))]).reason == "Record 1 was never sealed.", "it was, once"
    make_ready(path, KEY)
    verdict = verify(path, KEY)
    assert (verdict.reason, verdict.records) == (None, 3)
    record = open_reader(path).get("answered")
    assert (record.status, record.saved_micros, record.user, record.cached) == (200, 3, "ada", True)
    assert (record.pii_labels, record.provider, record.ms, record.steps[0].room) == (
        ("email", 'a"b'),
        None,
        12.5,
        "pii",
    )
    assert [each.id for each in open_reader(path).list(AuditQuery(user="ada"))] == ["open", "stopped", "answered"]

    async def goes_on() -> None:
        stores = open_stores(path, instance="i", key=KEY)
        assert await stores.audit.interrupt("i") == 1
        await keep_in(stores, an_outcome(an_intent("new")))
        await stores.close()

    asyncio.run(goes_on())
    assert verify(path, KEY).reason is None
    assert open_reader(path).get("open").outcome == "interrupted"


def test_what_an_older_membrain_wrote_can_be_erased_before_the_first_start(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older_file(path, monkeypatch)
    assert erase(path, KEY, AuditQuery(user="ada"), moment(99)) == 3
    verdict = verify(path, KEY)
    assert (verdict.reason, verdict.erased) == (None, 3)
    assert b"ada" not in everything(path)


def test_a_row_put_behind_the_chain_is_never_sealed_by_us(path: Path) -> None:
    """Only what was there before the first seal is sealed at a start."""
    keep(path, *people(2))
    change(path, "INSERT INTO entries (seq, kind, id, at, body) VALUES (5, 'outcome', 'forged', 0, '{}')")
    make_ready(path, KEY)
    assert verify(path, KEY).reason == "Record 5 was never sealed."

    async def goes_on() -> None:
        stores = open_stores(path, instance="i", key=KEY)
        with pytest.raises(AuditUnavailable, match="last entry has no seal"):
            await stores.audit.intend(an_intent("new"))
        await stores.close()

    asyncio.run(goes_on())


def test_a_chain_of_another_key_is_not_gone_on_with(path: Path) -> None:
    keep(path, *people(2))
    with pytest.raises(Misconfigured, match="does not match its seal") as caught:
        open_stores(path, instance="i", key=b"x" * 32)
    assert "membrain audit verify" in caught.value.sentence


# Noted


class Noted:
    """A keeper in memory."""

    def __init__(self, *before: Head) -> None:
        self.before = list(before)
        self.noted: list[Head] = []
        self.against: list[Head] = []
        self.closed = False

    def append(self, head: Head) -> None:
        self.noted.append(head)

    def doubtful(self) -> list[Head]:
        given, self.before = self.before, []
        return given

    def contradicted(self, head: Head) -> None:
        self.against.append(head)

    def close(self) -> None:
        self.closed = True


def live_with(path: Path, heads: Noted, *acts: Callable[[], object], records: int = 3) -> None:
    async def live() -> None:
        stores = open_stores(path, instance="i", key=KEY, heads=heads)
        for n, act in enumerate((*acts, lambda: None)):
            await asyncio.to_thread(act)
            await keep_in(stores, *(an_outcome(an_intent(f"{len(heads.noted)}-{n}-{m}")) for m in range(records)))
        await stores.close()

    asyncio.run(live())


def test_the_head_is_noted_with_every_commit_before_anybody_is_told(path: Path) -> None:
    heads = Noted()

    async def live() -> None:
        stores = open_stores(path, instance="i", key=KEY, heads=heads)
        for number in range(1, 6):
            await stores.audit.intend(an_intent())
            assert [head.seq for head in heads.noted] == list(range(1, number + 1))
        stores.keys.touch("nobody", moment(1))
        await stores.audit.list()
        await stores.close()

    asyncio.run(live())
    assert heads.noted[-1] == head_of(path, KEY)
    assert len(heads.noted) == 5, "what does not change the chain is not noted"
    assert heads.closed
    assert heads.against == []


def test_a_head_from_before_that_the_database_does_not_hold_is_told(path: Path) -> None:
    keep(path, *people(2))
    held = head_of(path, KEY)
    assert held is not None
    cut, other = Head(10**6, "ab" * 32, moment(0)), replace(held, seal="cd" * 32)
    heads = Noted(held, cut, other)
    live_with(path, heads, records=1)
    assert heads.against == [cut, other]


def test_a_database_that_is_swapped_for_an_older_copy_while_it_runs_is_told(path: Path) -> None:
    keep(path, *people(2))
    older = path.read_bytes()
    heads = Noted()

    def swap() -> None:
        for each in path.parent.iterdir():
            each.unlink()
        path.write_bytes(older)

    live_with(path, heads, lambda: None, swap)
    assert len(heads.against) == 1
    assert verify(path, KEY, heads.noted).bad is not None
    assert verify(path, KEY).sound, "what the older copy went on to is sound in itself"


def test_a_head_that_cannot_be_noted_fails_those_who_wait(path: Path) -> None:
    class Full(Noted):
        def append(self, head: Head) -> None:
            raise AuditUnavailable("The audit's head cannot be noted: No space left on device.")

    async def live() -> None:
        stores = open_stores(path, instance="i", key=KEY, heads=Full())
        with pytest.raises(AuditUnavailable, match="head cannot be noted"):
            await stores.audit.intend(an_intent())
        assert stores.audit.fault == "The audit's head cannot be noted: No space left on device."
        await stores.close()

    asyncio.run(live())
