"""The suite passes a gateway that does all right, sees each fault, and runs failures last."""

from __future__ import annotations

import json

import pytest

from membrain_cli.conform.bench import Bench
from membrain_cli.conform.client import Address
from membrain_cli.conform.suite import CHECKS, GROUPS, Row, planned, rows
from membrain_cli.conform.upstream import Upstream
from tests.cli.conform.relay import FAULTS, KEY, Fault, bench_before, failing
from tests.cli.shell import ROOT
from tests.served import free_port

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_a_gateway_that_does_all_right_passes_every_check() -> None:
    async with bench_before() as bench:
        found = [row async for row in rows(bench)]
    assert [row for row in found if row.state != "ok"] == []
    assert len(found) == len([*planned()])


def test_every_check_is_seen_to_fail() -> None:
    assert {check.name for check in CHECKS} == {name for fault in FAULTS.values() for name in fault.seen}


def test_no_two_rows_have_one_name() -> None:
    names = [(group, check.name) for group, check in planned()]
    assert len(names) == len(set(names))
    assert {group for group, _ in names} == set(GROUPS)


def test_every_row_says_why_in_words() -> None:
    for check in CHECKS:
        assert check.why
        assert not check.why.endswith(".")
        assert len(check.title) <= 70


def test_what_makes_the_provider_fail_comes_last() -> None:
    late = [check.late for _, check in planned()]
    assert late == sorted(late)


@pytest.mark.parametrize(
    ("only", "count"),
    [
        (["gateway"], 3),
        (["chat.stream.bom"], 1),
        (["chat.whole", "gateway.head"], 7),
        (["cha"], 0),
        (["chat.stream.b"], 0),
    ],
)
def test_only_names_groups_or_the_beginnings_of_checks(only: list[str], count: int) -> None:
    assert len([*planned(only)]) == count


async def test_a_dialect_that_is_not_spoken_fails_nowhere() -> None:
    async with bench_before(Fault(refuses=404)) as bench:
        found = [row async for row in rows(bench, ["completions"])]
    assert {row.state for row in found} == {"n.a."}
    assert {row.instead[:28] for row in found} == {"404 at /v1/completions, and "}


async def test_what_arrived_instead_is_on_one_line() -> None:
    async with bench_before(Fault(answer=lambda raw: b"\n\n <html>\n</html>\n")) as bench:
        told = await failing(bench, "chat.whole")
    assert told
    assert not any("\n" in each for each in told.values())


async def test_a_gateway_that_is_not_there_is_no_row() -> None:
    async with bench_before() as bench, Upstream(0) as upstream:
        nobody = Address("127.0.0.1", free_port(), tls=False, prefix="")
        target = type(bench.target)(nobody, bench.target.models)
        with pytest.raises(OSError, match=r"refused|failed"):
            [row async for row in rows(Bench(target, upstream), ["chat.whole.json"])]


async def test_a_key_that_a_gateway_repeats_is_not_shown() -> None:
    async with bench_before(Fault(answer=lambda _: KEY.encode())) as bench:
        told = await failing(bench, "chat.whole.json")
    assert "(the key)" in told["whole.json"]
    assert KEY not in told["whole.json"]


def test_a_row_is_json() -> None:
    row = Row("chat", "whole.json", "title", "why", "FAIL", "instead", 7)
    assert json.loads(json.dumps(row.to_dict()))["state"] == "FAIL"


def test_the_page_on_conformance_lists_every_check() -> None:
    page = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    assert [check.name for check in CHECKS if f"| `{check.name}` | {check.title} |" not in page] == []
