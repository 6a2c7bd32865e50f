"""The bench of `make bench-pii`: its texts, its tables, and what it says when something is not there."""

from __future__ import annotations

import json
import re
import sys

import pytest

from tests import bench_pii
from tests.bench_pii import Contender


def test_a_prompt_has_its_size_and_no_two_rounds_share_one():
    one, two = bench_pii.speed_job(1), bench_pii.speed_job(2)
    assert {len(text) for text in one["prompts"]} == {bench_pii.MESSAGES * bench_pii.LETTERS}
    assert len({*one["prompts"], *two["prompts"]}) == len(one["prompts"]) + len(two["prompts"])
    assert sum(map(len, one["turns"])) == (bench_pii.MESSAGES + 1) * bench_pii.LETTERS
    assert one == bench_pii.speed_job(1)


def test_every_kind_has_its_worst_texts():
    from membrain.pii.detectors import KINDS

    assert {kind.name for kind in KINDS} < set(bench_pii.fills(quick=True))
    assert all(bench_pii.fills(quick=False).values())


def test_a_peer_that_cannot_be_had_says_so_in_its_column(capsys):
    us = Contender("membrain", sys.executable, rounds=[{what: 2.0 for what, *_ in bench_pii.COSTS}])
    slow = Contender("presidio", sys.executable, rounds=[{what: 400.0 for what, *_ in bench_pii.COSTS}])
    gone = Contender("datafog-core", sys.executable, absent="not installed: no such thing")
    rows = list(bench_pii.cost_rows([us, slow, gone]))
    assert rows[0] == ["start, added to a gateway, CPU s", "0.15", "2.000", "400.000  (200x)", "-"]
    assert rows[-1][-2:] == ["400  (200x)", "-"]
    bench_pii.Paper().table("costs", ["", "aim", "membrain", "presidio", "datafog-core"], rows)
    assert "400.000" in capsys.readouterr().out


def test_a_child_that_fails_is_absent_and_not_silent():
    stranger = Contender("datafog-core", sys.executable)
    assert bench_pii.apart(stranger, "datafog-core", {}) is None
    assert stranger.absent == "failed: ModuleNotFoundError"


def test_growth_shows_the_steepest_and_the_refused():
    rows = list(bench_pii.growth_rows({"flat": [10.0, 20.0], "steep": [10.0, 40.0], "late": []}, 50_000, most=1))
    assert rows[0][:2] == ["late", "refused as too late"]
    assert rows[1] == ["steep", "10.0", "40.0", "4.00"]
    assert rows[-1][0] == "3 fills, 1 over 2.5"
    assert "40 per 100 KB" in rows[-1][2]


def test_the_bench_is_where_one_says_or_nowhere(tmp_path, monkeypatch):
    monkeypatch.delenv("MEMBRAIN_BENCH", raising=False)
    monkeypatch.setattr(bench_pii, "ROOT", tmp_path / "here")
    assert bench_pii.bench_at(None) is None
    (tmp_path / "next" / "bench" / "pii").mkdir(parents=True)
    (tmp_path / "next" / "bench" / "pii" / "evaluate.py").touch()
    assert bench_pii.bench_at(None) == tmp_path / "next" / "bench" / "pii"
    monkeypatch.setenv("MEMBRAIN_BENCH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"no evaluate\.py"):
        bench_pii.bench_at(None)


def test_no_value_is_printed(capsys):
    bench_pii.everyday(bench_pii.Paper())
    said = capsys.readouterr().out
    from tests.gateway.pii.test_everyday import texts

    values = {each.text[start:end] for each in texts("everyday_private.txt") for start, end in each.values}
    assert re.search(r"public questions that leave unchanged.* 200", said)
    assert not [value for value in values if value in said]


def test_what_a_child_is_given_can_be_written_as_json():
    assert json.loads(json.dumps(bench_pii.speed_job(0)))["prompts"]


def test_an_error_is_named_and_not_quoted():
    assert bench_pii._error("Traceback\n  ...\nValueError: jane@example.com is none\n") == "ValueError"
