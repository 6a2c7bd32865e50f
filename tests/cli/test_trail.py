"""What `audit` says of the chain, on real files that were really tampered with."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from membrain.heads import head_file
from membrain.places import Places
from membrain.records import Finding
from membrain_cli.console import Exit
from membrain_cli.trail import masked
from tests.cli.shell import ROOT, environment, invoke, membrain
from tests.cli.trails import DAWN, exchange, tampered, written
from tests.served import Served

DAY = f"{DAWN.astimezone():%Y-%m-%d}"

# --- verify --------------------------------------------------------------------------------------------------


def test_a_whole_chain_is_told_with_its_days(environ: dict[str, str]) -> None:
    written(environ, *(exchange(minutes=number) for number in range(3)))
    ran = invoke(["audit", "verify"], environ)
    assert (ran.status, ran.out, ran.err) == (0, f"✓ 3 records, unbroken from {DAY} to {DAY}.\n", "")


def test_a_chain_that_goes_on_today_is_unbroken_to_now(environ: dict[str, str]) -> None:
    written(environ, exchange())
    assert invoke(["audit", "verify"], environ, now=DAWN).out == f"✓ 1 record, unbroken from {DAY} to now.\n"


def test_as_json_the_verdict_has_all_that_was_found(environ: dict[str, str]) -> None:
    written(environ, exchange(), exchange())
    verdict = json.loads(invoke(["audit", "verify", "--json"], environ).out)
    assert (verdict["sound"], verdict["records"], verdict["checked_head"], verdict["bad"]) == (True, 2, True, None)


def test_a_changed_record_is_named_with_what_to_do(environ: dict[str, str]) -> None:
    made = written(environ, *(exchange(minutes=number) for number in range(5)))
    tampered(environ, "UPDATE entries SET digest = zeroblob(32) WHERE seq = 3")
    ran = invoke(["audit", "verify"], environ)
    then = DAWN.replace(minute=DAWN.minute + 2).astimezone()
    assert (ran.status, ran.out) == (Exit.CHAIN, "")
    assert ran.err.splitlines() == [
        f"✗ Record 3 ({made[2].id[:6]}, {then:%-d %b %H:%M}) does not match its seal.",
        "  2 records before it are sound; 2 after it cannot be vouched for.",
        f"  Look            membrain audit show {made[2].id[:6]}",
        f"  Keep a copy     membrain audit export --since {DAY} > evidence.jsonl",
    ]


@pytest.mark.parametrize(
    ("done", "said"),
    [
        ("UPDATE entries SET body = replace(body, 'gpt-4o', 'gpt-4x') WHERE seq = 2", "The text of record 2 "),
        ("UPDATE entries SET id = 'other' WHERE seq = 2", "Record 2 "),
        ("UPDATE entries SET body = NULL, salt = NULL WHERE seq = 2", "The text of record 2 "),
        ("DELETE FROM entries WHERE seq = 2", "Record 2 is missing."),
        ("DELETE FROM entries WHERE seq = 3", "Record 3 "),
        ("UPDATE exchanges SET cost_micros = 1 WHERE seq = 2", "The index of record 2 "),
        ("DELETE FROM exchanges WHERE seq = 2", "The index of record 2 "),
    ],
)
def test_whatever_is_changed_is_found(done: str, said: str, environ: dict[str, str]) -> None:
    written(environ, exchange(), exchange(), exchange())
    tampered(environ, done)
    ran = invoke(["audit", "verify"], environ)
    assert ran.status == Exit.CHAIN
    told = re.sub(r" \([^)]*\)", "", ran.err.splitlines()[0])
    assert said in told or said.replace("Record 3 ", "ends with record 2") in told
    assert json.loads(invoke(["audit", "verify", "--json"], environ).out)["sound"] is False


def test_an_index_that_was_changed_is_not_the_chain(environ: dict[str, str]) -> None:
    written(environ, exchange(), exchange())
    tampered(environ, "UPDATE exchanges SET model = 'o1' WHERE seq = 1")
    told = invoke(["audit", "verify"], environ).err.splitlines()
    assert told[1] == "  The chain itself is whole, 2 records; lists and sums are wrong."


def test_an_id_that_somebody_wrote_is_not_put_into_a_command(environ: dict[str, str]) -> None:
    written(environ, exchange())
    tampered(environ, "UPDATE entries SET id = ';reboot'", "UPDATE exchanges SET id = ';reboot'")
    assert "audit show" not in invoke(["audit", "verify"], environ).err


def test_a_record_that_is_no_exchange_any_more_is_not_to_be_looked_at(environ: dict[str, str]) -> None:
    written(environ, exchange(), exchange())
    tampered(environ, "DELETE FROM entries WHERE seq = 1")
    assert "Look" not in invoke(["audit", "verify"], environ).err


def test_an_older_copy_is_found_by_the_noted_head_and_by_one_that_was_kept(environ: dict[str, str]) -> None:
    written(environ, exchange(), exchange())
    path = Places.find(environ).database
    older = path.read_bytes()
    written(environ, exchange())
    kept = invoke(["audit", "head"], environ).out
    path.write_bytes(older)
    assert "cut off" in invoke(["audit", "verify"], environ).err
    head_file(Places.find(environ)).unlink()
    unaware = invoke(["audit", "verify"], environ)
    assert unaware.status == 0
    assert "Truncation not checked" in unaware.err
    assert invoke(["audit", "verify", "--head", "-"], environ, stdin=kept).status == Exit.CHAIN


def test_a_head_that_was_kept_in_a_file_is_held_against_the_chain(environ: dict[str, str], tmp_path: Path) -> None:
    written(environ, exchange())
    kept = tmp_path / "head.txt"
    kept.write_text(invoke(["audit", "head"], environ).out)
    written(environ, exchange())
    assert invoke(["audit", "verify", "--head", str(kept)], environ).status == 0


@pytest.mark.parametrize("text", ["", "\n \n", "1 00 2026-11-18T09:12:00.000Z 00", "what is this"])
def test_what_is_no_head_of_ours_checks_nothing(text: str, environ: dict[str, str]) -> None:
    written(environ, exchange())
    ran = invoke(["audit", "verify", "--head", "-"], environ, stdin=text)
    assert (ran.status, ran.out) == (2, "")


def test_a_noted_line_that_is_not_ours_is_told(environ: dict[str, str]) -> None:
    written(environ, exchange())
    with head_file(Places.find(environ)).open("a") as file:
        file.write("9 00 2026-11-18T09:12:00.000Z 00\n")
    ran = invoke(["audit", "verify"], environ)
    assert (ran.status, "1 of the noted heads cannot be read" in ran.err) == (0, True)


def test_without_a_record_nobody_can_tell(environ: dict[str, str]) -> None:
    for command in ("verify", "head"):
        ran = invoke(["audit", command], environ)
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.startswith("✗ There is no audit yet.\n")
    assert not Places.find(environ).data.exists()


def test_without_the_key_nobody_can_tell_and_no_new_one_is_made(environ: dict[str, str]) -> None:
    written(environ, exchange())
    assert invoke(["audit", "verify", "--head", "/nowhere/at/all"], environ).status == 2
    kept = [path for path in Places.find(environ).config.parent.rglob("*") if path.name in {"keys.json", "seal_key"}]
    assert kept
    for path in kept:
        path.unlink()
    for _ in range(2):
        ran = invoke(["audit", "verify"], environ)
        assert (ran.status, "key" in ran.err, "Put it back" in ran.err) == (2, True, True)


def test_a_file_that_is_damaged_checks_nothing(environ: dict[str, str]) -> None:
    written(environ, exchange())
    Places.find(environ).database.write_bytes(b"no database" * 100)
    assert invoke(["audit", "verify"], environ).status == 2


def test_a_running_gateway_s_chain_is_verified_too(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    ran = membrain("audit", "verify", environ=beside)
    assert (ran.status, ran.out.startswith("✓ 2 records, unbroken")) == (0, True)


# --- the head ------------------------------------------------------------------------------------------------


def test_the_head_is_one_line_and_its_words_are_elsewhere(environ: dict[str, str]) -> None:
    written(environ, exchange(), exchange())
    ran = invoke(["audit", "head"], environ)
    seq, seal, at, mac = ran.out.removesuffix("\n").split(" ")
    assert (seq, len(seal), at, len(mac)) == ("2", 64, "2026-11-18T09:12:00.000Z", 64)
    assert "membrain audit verify --head FILE" in ran.err
    assert json.loads(invoke(["audit", "head", "--json"], environ).out)["line"] == ran.out.removesuffix("\n")


def test_the_key_is_shown_only_to_who_says_so(environ: dict[str, str]) -> None:
    written(environ, exchange())
    plain, silent = invoke(["audit", "head"], environ), invoke(["audit", "head", "--show-key"], environ)
    assert (silent.status, silent.out) == (Exit.USAGE, "")
    assert "--confirm=show" in silent.err
    wrong = invoke(["audit", "head", "--show-key"], environ, tty=True, stdin="yes\n")
    assert (wrong.status, wrong.out) == (Exit.USAGE, "")
    shown = invoke(["audit", "head", "--show-key", "--confirm=show"], environ)
    assert re.fullmatch("[0-9a-f]{64}\n", shown.out)
    assert shown.out.strip() not in plain.out + plain.err + shown.err
    assert invoke(["audit", "head", "--show-key"], environ, tty=True, stdin="show\n").out == shown.out


def test_somebody_else_s_verifier_is_handed_all_it_needs(environ: dict[str, str], tmp_path: Path) -> None:
    """As docs/audit.md says it is run."""
    written(environ, exchange("ada"), exchange("bob"))
    key, head = tmp_path / "key.hex", tmp_path / "head.txt"
    key.write_text(invoke(["audit", "head", "--show-key", "--confirm=show"], environ).out)
    head.write_text(invoke(["audit", "head"], environ).out)
    database = Places.find(environ).database
    given = [
        sys.executable,
        str(ROOT / "docs" / "verify_audit.py"),
        str(database),
        "--key",
        str(key),
        "--head",
        str(head),
    ]

    def run() -> int:
        return subprocess.run(given, capture_output=True, timeout=30, check=False).returncode

    assert run() == 0
    assert invoke(["audit", "erase", "--user", "ada", "--confirm=ada"], environ).status == 0
    assert run() == 0
    tampered(environ, "UPDATE entries SET at = at + 1 WHERE seq = 2")
    assert run() == 1


# --- what left -----------------------------------------------------------------------------------------------

LEFT = b'{"model": "gpt-4o",  "messages": [{"role": "user", "content": "EMAIL_k7f2m9x4q1w8z739 \\u00e4"}]}'


def test_what_was_kept_on_the_disk_comes_out_byte_for_byte(environ: dict[str, str]) -> None:
    (made,) = written(environ, exchange(), sent=LEFT)
    ran = membrain("audit", "show", made.id[:6], "--wire", environ=environ)
    assert (ran.status, ran.out.encode()) == (0, LEFT)
    told = json.loads(invoke(["audit", "show", made.id, "--wire", "--json"], environ).out)
    assert (told["sha256"], told["bytes"]) == (hashlib.sha256(LEFT).hexdigest(), len(LEFT))
    assert "what left, masked (--wire)" in invoke(["audit", "show", made.id], environ).out


def test_what_was_kept_is_laid_out_for_a_person(environ: dict[str, str]) -> None:
    (made,) = written(environ, exchange(), sent=LEFT)
    ran = invoke(["audit", "show", made.id, "--wire"], environ, tty=True)
    assert ran.out == json.dumps(json.loads(LEFT), indent=2, ensure_ascii=False) + "\n"
    assert f"{len(LEFT)} bytes   sha256 {hashlib.sha256(LEFT).hexdigest()}" in ran.err


def test_what_is_not_what_left_is_not_shown(environ: dict[str, str]) -> None:
    (made,) = written(environ, exchange(), sent=LEFT)
    tampered(environ, "UPDATE wires SET body = x'00'")
    ran = invoke(["audit", "show", made.id, "--wire"], environ)
    assert (ran.status != 0, ran.out) == (True, "")


@pytest.mark.parametrize(("content", "remedy"), [("none", "audit.content masked"), ("masked", "audit.keep_days 365")])
def test_what_is_not_kept_is_told_with_the_setting_that_keeps_it(
    content: str, remedy: str, environ: dict[str, str]
) -> None:
    (made,) = written(environ, exchange())
    ran = invoke(["audit", "show", made.id, "--wire"], {**environ, "MEMBRAIN_AUDIT_CONTENT": content})
    assert (ran.status, ran.out, remedy in ran.err) == (Exit.DOWN, "", True)


@pytest.mark.parametrize(
    ("actions", "told"),
    [([], 3), (["redact"], 3), (["redact", "confirm"], 3), (["log"], 0), (["redact", "log"], None)],
)
def test_how_many_were_masked_is_told_only_where_it_is_known(actions: list[str], told: int | None) -> None:
    findings = tuple(Finding("EMAIL", "messages[0].content", action) for action in actions)
    assert masked(exchange(findings=findings, pii_findings_count=3)) == told


# --- one exchange's place ------------------------------------------------------------------------------------


def test_an_exchange_is_shown_with_its_place_in_the_chain(environ: dict[str, str]) -> None:
    made = written(environ, exchange(), exchange())
    line = invoke(["audit", "show", made[1].id], environ, tty=True).out.splitlines()[-1]
    assert re.fullmatch(r"  chain      record 2   seal [0-9a-f]{4}…[0-9a-f]{4} ← [0-9a-f]{4}…[0-9a-f]{4}   ✓", line)
    tampered(environ, "UPDATE entries SET seal = zeroblob(32) WHERE seq = 1")
    assert invoke(["audit", "show", made[1].id], environ, tty=True).out.rstrip().endswith("✗")


# --- erasing -------------------------------------------------------------------------------------------------


def left(environ: dict[str, str]) -> list[str]:
    """The users of the exchanges that are still on record, oldest first."""
    return [json.loads(line)["user"] for line in invoke(["audit", "export"], environ).out.splitlines()]


def test_a_user_is_erased_after_asking_and_the_chain_stays_whole(environ: dict[str, str]) -> None:
    written(environ, *(exchange(user) for user in ("ada", "bob", "ada")), sent=LEFT)
    dry = invoke(["audit", "erase", "--user", "ada", "--dry-run"], environ)
    assert (dry.status, dry.out) == (0, "2 exchanges of user ada would be erased.\n")
    assert left(environ) == ["ada", "bob", "ada"]
    ran = invoke(["audit", "erase", "--user", "ada"], environ, tty=True, stdin="ada\n")
    assert (ran.status, ran.err.splitlines()) == (
        0,
        [
            "2 exchanges of user ada would be erased for good.",
            'Type "ada" to erase them:',
            "✓ 2 exchanges of user ada erased.  Check:  membrain audit verify",
        ],
    )
    assert left(environ) == ["bob"]
    checked = invoke(["audit", "verify"], environ)
    assert (checked.status, checked.err) == (0, "  2 records were erased since; the chain says so itself.\n")
    files = [path for path in Places.find(environ).data.iterdir() if path.name.startswith("membrain.db")]
    assert b'"ada"' not in b"".join(path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("argv", "word", "stay"),
    [
        (["--project", "web"], "web", ["bob"]),
        (["--caller", "cline"], "cline", ["ada"]),
        (["--user", "ada", "--project", "web"], "ada", ["bob"]),
        (["--user", "ada", "--project", "other"], "ada", ["ada", "bob"]),
    ],
)
def test_whose_exchanges_are_erased_can_be_said_in_several_ways(
    argv: list[str], word: str, stay: list[str], environ: dict[str, str]
) -> None:
    written(environ, exchange("ada", project="web"), exchange("bob", caller="cline"))
    assert invoke(["audit", "erase", *argv, f"--confirm={word}"], environ).status == 0
    assert left(environ) == stay


def test_single_exchanges_are_erased_by_the_beginning_of_their_ids(environ: dict[str, str]) -> None:
    made = written(environ, exchange("ada"), exchange("bob"), exchange("eve"))
    ids = [made[0].id[:8], made[2].id, made[0].id]
    ran = invoke(["audit", "erase", *ids, "--confirm=erase", "--json"], environ)
    assert (ran.status, json.loads(ran.out)) == (0, {"exchanges": 2, "erased": True})
    assert left(environ) == ["bob"]


@pytest.mark.parametrize("argv", [[], ["--confirm=x"], ["--user", "ada", "000001"]])
def test_nobody_is_erased_by_saying_nothing_or_two_things(argv: list[str], environ: dict[str, str]) -> None:
    written(environ, exchange("ada"))
    assert invoke(["audit", "erase", *argv], environ).status == Exit.USAGE
    assert left(environ) == ["ada"]


@pytest.mark.parametrize("flags", [[], ["--confirm=bob"], ["--no-input"]])
def test_without_the_right_word_nothing_is_erased(flags: list[str], environ: dict[str, str]) -> None:
    written(environ, exchange("ada"))
    ran = invoke(["audit", "erase", "--user", "ada", *flags], environ)
    assert (ran.status, left(environ)) == (Exit.USAGE, ["ada"])


def test_an_id_that_is_not_there_stops_it_before_anything_is_erased(environ: dict[str, str]) -> None:
    made = written(environ, exchange("ada"))
    ran = invoke(["audit", "erase", made[0].id, "zzz", "--confirm=erase"], environ)
    assert (ran.status, left(environ)) == (Exit.FAILED, ["ada"])


def test_older_exchanges_are_pruned(environ: dict[str, str]) -> None:
    written(environ, exchange("old"), exchange("new", minutes=60))
    before = (DAWN.replace(minute=30)).isoformat()
    dry = invoke(["audit", "prune", "--before", before, "--dry-run"], environ)
    assert dry.out == f"1 exchange before {DAY} would be erased.\n"
    assert invoke(["audit", "prune", "--before", before], environ).status == Exit.USAGE
    assert invoke(["audit", "prune", "--before", before, "--confirm=prune"], environ).status == 0
    assert left(environ) == ["new"]
    assert invoke(["audit", "verify"], environ).status == 0


def test_what_nobody_asked_for_needs_no_answer(environ: dict[str, str]) -> None:
    written(environ, exchange("ada"))
    ran = invoke(["audit", "prune", "--before", "2000-01-01"], environ)
    assert (ran.status, ran.out) == (0, "0 exchanges before 2000-01-01 would be erased.\n")


def test_a_user_is_erased_while_the_gateway_goes_on(served: Served, beside: dict[str, str]) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    for user in ("ada", "bob"):
        served.post("/v1/chat/completions", body, **{"x-membrain-user-id": user})
    assert invoke(["audit", "erase", "--user", "ada", "--confirm=ada"], beside).status == 0
    assert served.chat("more").status == 200
    assert [row["user"] for row in served.audit()] == ["", "bob"]
    assert invoke(["audit", "verify"], beside).status == 0


def test_nothing_here_needs_a_home_that_is_not_there(tmp_path: Path) -> None:
    environ = environment(tmp_path / "nowhere")
    for argv in (["export"], ["erase", "--user", "ada"], ["prune", "--before", "1d"], ["head"], ["verify"]):
        assert invoke(["audit", *argv], environ).err.startswith("✗ There is no audit yet.\n")
    assert not (tmp_path / "nowhere").exists()
