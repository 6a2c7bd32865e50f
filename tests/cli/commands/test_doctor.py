"""`doctor`: each check finds what it is there for, and says what mends it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from membrain.heads import head_file
from membrain.places import Places
from membrain_cli import daemon
from membrain_cli.commands import doctor
from membrain_cli.commands.doctor import Finding, Patient
from membrain_cli.console import Console, Exit
from tests.cli.shell import Screen, invoke, membrain
from tests.cli.trails import exchange, tampered, written
from tests.served import Served
from tests.sink import Reply, Sink


def patient(environ: dict[str, str], now: datetime | None = None) -> Patient:
    shell = Console(Screen(), Screen(), Screen(), environ)
    if now is not None:
        shell.clock = lambda: now
    return Patient(shell)


def found(check: doctor.Check, environ: dict[str, str], now: datetime | None = None) -> list[Finding]:
    return list(check(patient(environ, now)))


def only(check: doctor.Check, environ: dict[str, str], now: datetime | None = None) -> Finding:
    (finding,) = found(check, environ, now)
    return finding


# --- the whole ---------------------------------------------------------------------------------------------


def test_a_healthy_machine_is_told_so(served: Served, beside: dict[str, str], sink: Sink) -> None:
    keys = {"OPENAI_API_KEY": "sk-canary-0123456789", "ANTHROPIC_API_KEY": "sk-ant-canary-0123456789"}
    ran = invoke(["doctor"], {**beside, **keys}, tty=True)
    assert ran.status == 0
    lines = ran.out.splitlines()
    assert any(
        line.startswith("  ✓ gateway      up ") and line.endswith("same version as this command") for line in lines
    )
    assert any(line.startswith("  ✓ openai       key works, ") for line in lines)
    assert ran.err.endswith("\nAll is well.\n")
    assert "canary" not in ran.out


def test_what_is_wrong_is_told_with_what_mends_it_and_fails(environ: dict[str, str]) -> None:
    config = Places.find(environ).create().config_file
    config.write_text('[limits]\ndepth = "five"\n')
    config.chmod(0o600)
    ran = invoke(["doctor"], environ, tty=True)
    assert ran.status == Exit.FAILED
    lines = ran.out.splitlines()
    broken = next(number for number, line in enumerate(lines) if line.startswith("  ✗ config"))
    assert 'config.toml line 2: limits.depth is "five"' in lines[broken]
    assert lines[broken + 1] == f"{' ' * 19}membrain config edit"
    assert ran.err.splitlines()[-1] == "1 broken, 1 to look at."


def test_what_is_only_to_be_looked_at_does_not_fail(environ: dict[str, str]) -> None:
    ran = invoke(["doctor"], environ)
    assert ran.status == 0
    assert ran.err.splitlines()[-1].endswith(" to look at.")


def test_a_pipe_gets_a_finding_a_line(environ: dict[str, str]) -> None:
    lines = [line.split("\t") for line in membrain("doctor", environ=environ).out.splitlines()]
    assert ["look", "gateway", "down", "membrain up"] in lines
    assert {line[0] for line in lines} <= {"fine", "look", "broken", "none"}


def test_json_gets_a_finding_a_line(environ: dict[str, str]) -> None:
    rows = [json.loads(line) for line in invoke(["doctor", "--json"], environ).out.splitlines()]
    assert {"state": "look", "name": "gateway", "words": "down", "remedy": "membrain up"} in rows


@pytest.mark.parametrize("check", doctor.CHECKS, ids=lambda check: check.__name__)
def test_no_check_fails_on_an_empty_machine(check: doctor.Check, environ: dict[str, str]) -> None:
    assert {finding.state for finding in found(check, environ)} <= {"fine", "look", "none"}


@pytest.mark.parametrize("check", doctor.CHECKS, ids=lambda check: check.__name__)
def test_no_check_stumbles_over_broken_settings(check: doctor.Check, environ: dict[str, str]) -> None:
    path = Places.find(environ).create().config_file
    path.write_text("nonsense")
    found(check, environ)


# --- the machine -------------------------------------------------------------------------------------------


def test_an_old_python_is_broken(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OLDEST", (4, 0))
    assert only(doctor.python, environ).state == "broken"


def test_the_linked_sqlite_is_told(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 51, 2))
    assert "cannot happen" in only(doctor.sqlite, environ).words
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 51, 3))
    assert "cannot happen" not in only(doctor.sqlite, environ).words


def test_a_clock_behind_the_record_is_told(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    assert only(doctor.clock, beside).state == "fine"
    finding = only(doctor.clock, beside, datetime.now(UTC) - timedelta(hours=2))
    assert (finding.state, "in the future" in finding.words) == ("look", True)


def test_a_clock_that_was_never_set_is_told(environ: dict[str, str]) -> None:
    assert only(doctor.clock, environ, datetime(1970, 1, 1, tzinfo=UTC)).state == "look"


# --- the files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_file_that_others_may_open_is_broken(mode: int, environ: dict[str, str]) -> None:
    places = Places.find(environ).create()
    path = places.data / "membrain.db"
    path.touch()
    path.chmod(mode)
    finding = only(doctor.folders, environ)
    assert (finding.state, finding.remedy) == ("broken", f"chmod go= {path}")
    subprocess.run(finding.remedy.split(), check=True)
    assert only(doctor.folders, environ).state == "fine"


def test_a_machine_without_a_keyring_is_told(environ: dict[str, str]) -> None:
    bare = {**environ, "MEMBRAIN_SECRETS_BACKEND": "keyring"}
    ran = membrain("doctor", "--json", environ=bare)
    assert '"name": "keyring", "words": "this machine has none"' in ran.out


@pytest.fixture
def path(environ: dict[str, str]) -> Path:
    """A store with something on record."""
    written(environ, exchange(), exchange())
    return Places.find(environ).database


def test_a_damaged_store_is_broken(path: Path, environ: dict[str, str]) -> None:
    assert only(doctor.store, environ).state == "fine"
    path.write_bytes(path.read_bytes()[:100] + os.urandom(4000))
    finding = only(doctor.store, environ)
    assert (finding.state, finding.words[:8]) == ("broken", "damaged:")
    assert finding.remedy == f"mv {path} {path}.damaged && membrain restart"


@pytest.mark.usefixtures("path")
def test_a_store_in_use_is_fine(served: Served, beside: dict[str, str]) -> None:
    served.chat("one")
    assert only(doctor.store, beside).state == "fine"


def test_a_locked_store_is_broken(path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PATIENCE", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        finding = only(doctor.store, environ)
    assert (finding.state, finding.remedy) == ("broken", f"lsof {path}")
    assert finding.words.startswith("another program has held it")
    assert only(doctor.store, environ).state == "fine"


def test_a_read_only_store_is_broken(path: Path, environ: dict[str, str]) -> None:
    """In a process that no longer may what root may."""
    path.chmod(0o400)
    path.parent.chmod(0o500)
    with as_somebody(path):
        finding = only(doctor.store, environ)
    assert (finding.state, finding.words) == ("broken", "its file is read-only, so nothing is let out")
    assert finding.remedy == f"chmod u+w {path}"


@contextmanager
def as_somebody(path: Path) -> Iterator[None]:
    """This process, and the folder of *path*, belong to an ordinary user; for root, who may write everything."""
    if os.geteuid() != 0:
        yield
        return
    for each in (path.parent, *path.parent.iterdir()):
        os.chown(each, 1234, 1234)
    shut = {each: mode for each in path.parent.parents if (mode := each.stat().st_mode) & 0o011 != 0o011}
    for folder, mode in shut.items():
        folder.chmod(mode | 0o011)
    os.seteuid(1234)
    try:
        yield
    finally:
        os.seteuid(0)
        for folder, mode in shut.items():
            folder.chmod(mode)


@pytest.mark.parametrize(
    ("free", "state", "words"),
    [
        (0, "broken", "the disk is full, so nothing is let out"),
        (12_000_000, "look", "only 12 MB are left on its disk"),
        (10**12, "fine", "0.1 MB, sound"),
    ],
)
def test_a_disk_with_no_room_is_told(
    free: int, state: str, words: str, path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    finding = only(doctor.store, environ)
    assert (finding.state, finding.words) == (state, words)


@pytest.mark.usefixtures("path")
def test_a_gateway_that_cannot_write_says_why(environ: dict[str, str]) -> None:
    someone = patient(environ)
    said = {"store": "The audit cannot be written: the disk is full."}
    someone.reach.running = daemon.Running(1, "127.0.0.1", 1, "", "", "", said)
    (finding,) = doctor.store(someone)
    assert finding == Finding("broken", "store", "The audit cannot be written: the disk is full", "membrain logs")


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR | 1 << 8, sqlite3.SQLITE_CANTOPEN, 9999])
def test_every_fault_of_a_store_has_words_and_a_remedy(code: int, path: Path) -> None:
    finding = doctor.unusable(path, code, "it said so")
    assert finding.state == "broken"
    assert finding.words
    assert str(path.parent) in finding.remedy


# --- the chain ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("path")
def test_a_sound_chain_is_fine(environ: dict[str, str]) -> None:
    assert only(doctor.trail, environ) == Finding("fine", "audit", "the last 2 records fit their seals")


@pytest.mark.usefixtures("path")
def test_a_chain_that_was_tampered_with_is_broken(environ: dict[str, str]) -> None:
    tampered(environ, "UPDATE entries SET at = 0 WHERE seq = 2")
    finding = only(doctor.trail, environ)
    assert finding == Finding("broken", "audit", "Record 2 does not match its seal", "membrain audit verify")


@pytest.mark.usefixtures("path")
def test_a_chain_that_was_cut_off_is_broken(environ: dict[str, str]) -> None:
    tampered(environ, "DELETE FROM entries WHERE seq = 2")
    assert "record 2 was noted elsewhere" in only(doctor.trail, environ).words


@pytest.mark.usefixtures("path")
def test_a_chain_of_which_no_head_is_known_is_to_be_looked_at(environ: dict[str, str]) -> None:
    head_file(Places.find(environ)).unlink()
    assert only(doctor.trail, environ).state == "look"


@pytest.mark.usefixtures("path")
def test_a_chain_without_its_key_is_broken(environ: dict[str, str]) -> None:
    places = Places.find(environ)
    for each in (places.keys_file, places.data / "seal_key"):
        each.unlink(missing_ok=True)
    finding = only(doctor.trail, environ)
    assert (finding.state, "key" in finding.words) == ("broken", True)


def test_a_chain_that_cannot_be_read_is_broken(path: Path, environ: dict[str, str]) -> None:
    path.write_bytes(b"no database" * 100)
    assert only(doctor.trail, environ).state == "broken"


# --- the gateway -------------------------------------------------------------------------------------------


def test_a_gateway_of_another_version_is_told(
    served: Served, beside: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "__version__", "9.9.9")
    assert only(doctor.gateway, beside) == Finding(
        "look", "gateway", "is v0.1.0, this command is v9.9.9", "membrain restart"
    )


def test_a_port_that_somebody_else_has_is_broken(served: Served, environ: dict[str, str]) -> None:
    finding = only(doctor.port, {**environ, "MEMBRAIN_PORT": str(served.port)})
    assert finding.state == "broken"
    assert "another Membrain" in finding.words
    assert finding.remedy == f"membrain config set port {served.port + 1}"


def test_the_port_is_told_while_it_is_ours(served: Served, beside: dict[str, str]) -> None:
    assert only(doctor.port, beside) == Finding("fine", "port", str(served.port))


def test_a_gateway_that_was_pointed_at_itself_is_told(tmp_path: Path, served: Served, beside: dict[str, str]) -> None:
    assert found(doctor.surroundings, beside) == []
    served.stop()
    pointed = {"OPENAI_BASE_URL": f"http://127.0.0.1:{served.port}/v1"}
    with Served(served.home, port=served.port, **pointed):
        finding = only(doctor.surroundings, beside)
    assert (finding.state, finding.remedy) == ("look", "unset OPENAI_BASE_URL && membrain restart")


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, False),
        ({"HTTP_PROXY": "http://proxy:3128"}, True),
        ({"http_proxy": "http://proxy:3128", "NO_PROXY": "localhost, 127.0.0.1"}, False),
        ({"ALL_PROXY": "http://proxy:3128", "no_proxy": "*"}, False),
        ({"HTTPS_PROXY": "http://proxy:3128"}, False),
    ],
)
def test_a_proxy_that_would_be_asked_for_this_machine_is_told(
    variables: dict[str, str], told: bool, environ: dict[str, str]
) -> None:
    assert bool(found(doctor.proxies, {**environ, **variables})) is told


# --- who answers -------------------------------------------------------------------------------------------


def test_a_key_that_does_not_work_is_broken(served: Served, beside: dict[str, str], sink: Sink) -> None:
    sink.script("/v1/models", Reply(401, {"error": {"message": "no"}}), forever=True)
    findings = found(doctor.keys, {**beside, "OPENAI_API_KEY": "sk-canary-0123456789"})
    assert [(each.state, each.name, each.remedy) for each in findings] == [
        ("broken", "openai", "membrain keys set openai"),
        ("look", "anthropic", "membrain keys set anthropic"),
    ]


def test_a_key_that_is_none_is_told_without_it(environ: dict[str, str]) -> None:
    finding = found(doctor.keys, {**environ, "OPENAI_API_KEY": "ck_live_canary_0123456789"})[0]
    assert (finding.state, "canary" in finding.words) == ("look", False)


def test_providers_without_a_key_are_told_as_the_gateway_sees_them(
    served: Served, beside: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def state(name: str, up: bool, **more: Any) -> dict[str, Any]:
        return {"name": name, "up": up, "where": "localhost:11434", "note": "", "remedy": "", **more}

    providers = [
        state("openai", True),
        state("ollama", True),
        state("litellm", False, note="not installed"),
        state("local", False, note="not installed", remedy="membrain local install"),
    ]
    running = daemon.Running(1, "127.0.0.1", 1, "", "", "", {"providers": providers})
    someone = patient(beside)
    someone.reach.running = running
    assert list(doctor.others(someone)) == [
        Finding("fine", "ollama", "localhost:11434"),
        Finding("none", "litellm", "not installed (optional)"),
        Finding("look", "local", "not installed", "membrain local install"),
    ]


def test_a_provider_that_cannot_be_asked_is_broken_and_no_traceback(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from membrain.errors import NotFound

    def missing(*_: object) -> None:
        raise NotFound("openai is not set up.")

    monkeypatch.setattr("membrain_cli.reach.Reach.test", missing)
    finding = found(doctor.keys, {**environ, "OPENAI_API_KEY": "sk-canary-0123456789"})[0]
    assert (finding.state, finding.words) == ("broken", "openai is not set up.")


def test_every_check_is_in_the_list() -> None:
    checks: set[Callable[..., Any]] = {
        each
        for each in vars(doctor).values()
        if callable(each) and getattr(each, "__annotations__", {}).get("return") == "Iterator[Finding]"
    }
    assert checks == set(doctor.CHECKS)
