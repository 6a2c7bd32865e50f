"""Kept answers: found under their key while young enough, within their room, oldest use first to go."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrain.errors import GuardFailed
from membrain.records import Tokens
from membrain.stores.answers import OVERHEAD, USED_SECONDS, SqliteAnswers, _clear, _expire, _keep, _use
from membrain.stores.base import KeptAnswer
from membrain.stores.database import answers as migration
from membrain.stores.writer import Writer

pytestmark = pytest.mark.anyio

NOON = 1_790_000_000.0
ROOM = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "audit.db"


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    writer = Writer(path)
    yield writer
    writer.close()


@pytest.fixture
def answers(writer: Writer, path: Path) -> Iterator[SqliteAnswers]:
    answers = SqliteAnswers(writer, path)
    yield answers
    answers.close()


def an_answer(at: float = NOON, size: int = 20, **fields: Any) -> KeptAnswer:
    return KeptAnswer(**{"project": "web", "body": b"x" * size, "at": at, "used": at, **fields})


def key(name: str) -> bytes:
    return name.encode().ljust(32, b".")


async def kept(answers: SqliteAnswers, name: str, answer: KeptAnswer, *, room: int = ROOM, since: float = 0.0) -> bool:
    return await answers.keep(key(name), answer, room=room, since=since)


async def names(answers: SqliteAnswers, *among: str) -> set[str]:
    return {name for name in among if await answers.get(key(name), 0.0) is not None}


async def settled(answers: SqliteAnswers) -> None:
    """Once all that was posted is written."""
    await answers.clear("nobody's project")


# -- what comes back


async def test_an_answer_comes_back_as_it_was_kept(answers: SqliteAnswers) -> None:
    full = KeptAnswer(
        project="web",
        body=b'{"id":"c1","text":"EMAIL_abc"}',
        at=NOON + 0.25,
        used=NOON + 0.5,
        streamed=True,
        model="gpt-4o-2024-08-06",
        tokens=Tokens(10, 5, cached=4, reasoning=2, estimated=True, written=1, cost_micros=77),
        cost_micros=1234,
    )
    assert await kept(answers, "full", full)
    assert await kept(answers, "bare", an_answer())
    assert await answers.get(key("full"), 0.0) == full
    assert await answers.get(key("bare"), 0.0) == an_answer()
    assert await answers.get(key("another"), 0.0) is None


async def test_what_it_says_is_in_no_repr() -> None:
    assert "secret" not in repr(an_answer(body=b"secret"))


async def test_an_answer_is_too_old_from_the_moment_that_is_asked_for(answers: SqliteAnswers) -> None:
    await kept(answers, "a", an_answer(NOON))
    assert await answers.get(key("a"), NOON) is not None
    assert await answers.get(key("a"), NOON + 0.001) is None


async def test_a_new_answer_takes_the_place_of_the_old_one(answers: SqliteAnswers) -> None:
    await kept(answers, "a", an_answer(NOON, size=500))
    await kept(answers, "a", an_answer(NOON + 1, size=30))
    found = await answers.get(key("a"), 0.0)
    assert found is not None
    assert (found.at, len(found.body)) == (NOON + 1, 30)
    held = await answers.held()
    assert held.entries == 1
    assert held.bytes < OVERHEAD + 100
    assert held.oldest == NOON + 1


async def test_a_row_that_nobody_of_ours_wrote_is_not_there(answers: SqliteAnswers, path: Path) -> None:
    await kept(answers, "a", an_answer())
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE answers SET facts = '[]'")
        database.commit()
    assert await answers.get(key("a"), 0.0) is None


# -- bounds


async def test_what_was_not_used_for_longest_goes_first(answers: SqliteAnswers) -> None:
    room = 3 * (OVERHEAD + 150)
    for at, name in enumerate("abc"):
        assert await kept(answers, name, an_answer(NOON + at, size=100), room=room)
    first = await answers.get(key("a"), 0.0)
    assert first is not None
    answers.use(key("a"), first, NOON + 100)
    await kept(answers, "d", an_answer(NOON + 101, size=100), room=room)
    assert await names(answers, *"abcd") == {"a", "c", "d"}
    assert (await answers.held()).bytes <= room


async def test_an_answer_that_fits_nowhere_is_not_kept_and_costs_no_other_its_place(answers: SqliteAnswers) -> None:
    await kept(answers, "a", an_answer())
    assert not await kept(answers, "b", an_answer(size=2000), room=1000)
    assert await names(answers, "a", "b") == {"a"}


async def test_one_that_no_longer_fits_leaves_no_old_answer_behind(answers: SqliteAnswers) -> None:
    await kept(answers, "a", an_answer())
    assert not await kept(answers, "a", an_answer(size=2000), room=1000)
    assert await names(answers, "a") == set()


async def test_what_is_too_old_goes_when_something_is_kept_or_when_told_so(answers: SqliteAnswers) -> None:
    await kept(answers, "a", an_answer(NOON))
    await kept(answers, "b", an_answer(NOON + 10), since=NOON + 5)
    assert await names(answers, "a", "b") == {"b"}
    answers.expire(NOON + 11)
    await settled(answers)
    assert await names(answers, "b") == set()
    assert (await answers.held()).bytes == 0


async def test_uses_close_together_are_noted_once_and_never_backwards(answers: SqliteAnswers) -> None:
    await kept(answers, "a", an_answer(NOON))

    async def used(at: float) -> float:
        found = await answers.get(key("a"), 0.0)
        assert found is not None
        answers.use(key("a"), found, at)
        await settled(answers)
        again = await answers.get(key("a"), 0.0)
        assert again is not None
        return again.used - NOON

    assert await used(NOON + USED_SECONDS - 1) == 0
    assert await used(NOON + USED_SECONDS) == USED_SECONDS
    assert await used(NOON) == USED_SECONDS


async def test_a_project_is_cleared_alone_or_all_at_once(answers: SqliteAnswers) -> None:
    for name, project in (("a", "web"), ("b", "web"), ("c", "shop")):
        await kept(answers, name, an_answer(project=project))
    assert await answers.clear("web") == 2
    assert await names(answers, *"abc") == {"c"}
    await kept(answers, "a", an_answer())
    assert await answers.clear() == 2
    assert (await answers.held()).to_dict() == {"entries": 0, "bytes": 0, "oldest": None}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), st.integers(0, 5), st.integers(0, 900), st.integers(400, 3000)),
        st.tuples(st.just("use"), st.integers(0, 5)),
        st.tuples(st.just("expire"), st.integers(0, 30)),
        st.tuples(st.just("clear"), st.sampled_from(["web", "shop"])),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_the_count_of_bytes_is_true_and_within_bounds_whatever_happens(steps: list[tuple[Any, ...]]) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        migration(database)
        for now, step in enumerate(steps):
            at = NOON + now
            match step:
                case "keep", name, size, room:
                    made = an_answer(at, size, project="web" if name % 2 else "shop")
                    _keep(database, (key(str(name)), made, room, int((at - 20) * 1000)))
                    assert database.execute("SELECT bytes FROM answers_held").fetchone()[0] <= room
                case "use", name:
                    _use(database, (int(at * 1000), key(str(name))))
                case "expire", age:
                    _expire(database, int((at - age) * 1000))
                case "clear", project:
                    _clear(database, project)
            (held,) = database.execute("SELECT bytes FROM answers_held").fetchone()
            assert held == database.execute("SELECT coalesce(sum(size), 0) FROM answers").fetchone()[0]


async def test_two_gateways_of_one_file_see_each_others_answers_and_one_bound(
    answers: SqliteAnswers, path: Path
) -> None:
    room = 20 * (OVERHEAD + 150)
    second = Writer(path)
    others = SqliteAnswers(second, path)
    try:
        await kept(answers, "mine", an_answer())
        assert await others.get(key("mine"), 0.0) is not None
        one = [kept(answers, f"a{at}", an_answer(NOON + at, size=100), room=room) for at in range(40)]
        other = [kept(others, f"b{at}", an_answer(NOON + at, size=100), room=room) for at in range(40)]
        assert all(await asyncio.gather(*one, *other))
        held = await answers.held()
        assert room - OVERHEAD - 150 < held.bytes <= room
        assert held.entries >= 20
    finally:
        others.close()
        await asyncio.to_thread(second.close)


# -- faults


async def test_a_file_that_is_gone_or_another_is_told_in_words_and_found_again(
    answers: SqliteAnswers, writer: Writer, path: Path
) -> None:
    await kept(answers, "a", an_answer())
    assert await names(answers, "a") == {"a"}
    for each in path.parent.iterdir():
        each.rename(each.with_name(f"{each.name}.away"))
    with pytest.raises(GuardFailed, match="The kept answers cannot be read"):
        await answers.get(key("a"), 0.0)
    await kept(answers, "b", an_answer())  # the writer makes a new one
    assert await names(answers, "a", "b") == {"b"}


async def test_a_file_that_is_none_of_ours_is_told_in_words(tmp_path: Path, writer: Writer) -> None:
    stray = tmp_path / "stray.db"
    stray.write_bytes(os.urandom(4096))
    with pytest.raises(GuardFailed, match="The kept answers cannot be read") as told:
        await SqliteAnswers(writer, stray).get(key("a"), 0.0)
    assert told.value.__cause__ is None


async def test_after_closing_nothing_is_kept_any_more(answers: SqliteAnswers, writer: Writer) -> None:
    await asyncio.to_thread(writer.close)
    with pytest.raises(GuardFailed, match="The kept answers cannot be written"):
        await kept(answers, "a", an_answer())


async def test_a_known_answer_does_not_wait_for_who_writes(answers: SqliteAnswers, path: Path) -> None:
    await kept(answers, "a", replace(an_answer(), body=b"here"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(1):
            found = await answers.get(key("a"), 0.0)
        other.execute("ROLLBACK")
    assert found is not None
    assert found.body == b"here"
