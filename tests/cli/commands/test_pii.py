"""`pii`: what would leave, what is on one's own lists, and what waits; without a value where none belongs."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import re
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

from membrain.api import holds as api
from membrain.errors import MembrainError, Misconfigured
from membrain.holds import Context, Hold, Holds, Verdict
from membrain.pii import lists
from membrain.pii.detector import Detector
from membrain.pii.lists import Lists
from membrain.pii.scan import DetectionFailed
from membrain.pii.vault import Vault
from membrain.places import Places, write_private
from membrain_cli.commands import pii as module
from membrain_cli.console import Exit
from tests.cli.shell import Ran, command, environment, invoke, membrain
from tests.cli.terminal import Terminal
from tests.served import Served
from tests.sink import Sink

CODE = r"[0-9a-z]{13}739"
CALL = "call +44 20 7946 0018 or mail bob@x.io\n"
CANARY = "Project Canary"
BIRTH = "Date of birth: June 26, 2000\n"


def file_of(environ: dict[str, str]) -> Path:
    return Path(environ["MEMBRAIN_HOME"]) / "config" / "pii.toml"


def kept(environ: dict[str, str]) -> Lists:
    return lists.load(file_of(environ))


def scanned(text: str, environ: dict[str, str], *flags: str) -> Ran:
    return invoke(["pii", "scan", *flags], environ, stdin=text)


# --- scanning ------------------------------------------------------------------------------------------------


def test_a_text_is_printed_as_it_would_leave(environ: dict[str, str]) -> None:
    ran = membrain("pii", "scan", environ=environ, stdin=CALL)
    assert re.fullmatch(f"call PHONE_{CODE} or mail EMAIL_{CODE}\n", ran.out)
    assert (ran.status, ran.err) == (0, "2 found: phone 1, email 1\n")


def test_a_text_with_nothing_in_it_stays_as_it_is(environ: dict[str, str]) -> None:
    assert scanned("for i in range(10): total += i\n", environ, "--fail") == Ran(
        0, "for i in range(10): total += i\n", "Nothing found.\n"
    )


def test_equal_values_have_equal_placeholders(environ: dict[str, str]) -> None:
    one, two, other = scanned("bob@x.io bob@x.io eve@x.io", environ).out.split()
    assert one == two != other


def test_nothing_but_the_values_is_touched_in_a_pipe(environ: dict[str, str]) -> None:
    """Line ends, tabs, escape sequences, other scripts, and a last line without an end."""
    text = "\ufeffa\r\nb\tж\x1b[1m \x0b\u202e bob@x.io\r\n\r\nend"
    done = subprocess.run(
        command("pii", "scan", "-q"), env=environ, input=text.encode(), capture_output=True, check=True
    )
    assert re.fullmatch(re.escape(text).replace("bob@x\\.io", f"EMAIL_{CODE}"), done.stdout.decode())
    assert done.stderr == b""


def test_a_terminal_is_not_driven_by_a_text(environ: dict[str, str]) -> None:
    ran = invoke(["pii", "scan"], environ, stdin="\x1b]0;evil\x07bob@x.io", tty=True)
    assert re.fullmatch(f"EMAIL_{CODE}\n", ran.out)


def test_a_person_is_told_how_to_end_a_text(environ: dict[str, str]) -> None:
    with Terminal(command("pii", "scan"), environ) as terminal:
        terminal.expect("ctrl-d on a line of its own ends it.")
        terminal.type("mail bob@x.io\r\x04")
        terminal.expect("1 found: email 1")
        assert terminal.finish() == 0
        assert re.search(f"^mail EMAIL_{CODE}$", terminal.screen.text, re.MULTILINE)


def test_a_person_who_wants_no_questions_is_asked_none(environ: dict[str, str]) -> None:
    ran = invoke(["--no-input", "pii", "scan"], environ, tty=True)
    assert (ran.status, ran.out) == (Exit.USAGE, "")


@pytest.mark.parametrize(("text", "status"), [(CALL, Exit.REFUSED), ("nothing here", Exit.OK)])
def test_a_script_can_go_by_the_status(text: str, status: Exit, environ: dict[str, str]) -> None:
    assert scanned(text, environ, "--fail").status == status
    assert scanned(text, environ, "--fail", "--json").status == status
    assert scanned(text, environ).status == Exit.OK


def test_json_tells_places_and_labels_and_no_values(environ: dict[str, str]) -> None:
    ran = scanned(CALL, environ, "--json")
    told = json.loads(ran.out)
    assert (told["found"], told["labels"], ran.err) == (2, {"PHONE": 1, "EMAIL": 1}, "")
    assert [CALL[each["start"] : each["end"]] for each in told["spans"]] == ["+44 20 7946 0018", "bob@x.io"]
    assert [set(each) for each in told["spans"]] == [{"start", "end", "label"}] * 2
    assert "bob" not in ran.out


def test_a_file_is_read(environ: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "a text.txt"
    path.write_text(CALL)
    assert invoke(["pii", "scan", str(path)], environ).err == "2 found: phone 1, email 1\n"


def test_a_file_that_is_not_there_is_told(environ: dict[str, str], tmp_path: Path) -> None:
    for path, why in ((tmp_path / "gone", "No such file"), (tmp_path, "Is a directory")):
        ran = invoke(["pii", "scan", str(path)], environ)
        assert (ran.status, ran.out) == (Exit.FAILED, "")
        assert ran.err.startswith(f"✗ {path}: {why}")


@pytest.mark.parametrize("data", [b"bob@x.io \xff\xfe", b"bob@x.io\x00", "bob@x.io ä".encode("latin-1")])
def test_what_is_no_text_is_refused_and_not_half_masked(data: bytes, environ: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(data)
    from_file = invoke(["pii", "scan", str(path)], environ)
    piped = subprocess.run(command("pii", "scan"), env=environ, input=data, capture_output=True)
    assert (from_file.status, from_file.out) == (piped.returncode, piped.stdout.decode()) == (Exit.FAILED, "")
    for told in (from_file.err, piped.stderr.decode()):
        assert "is not text (UTF-8), so nothing was looked for in it." in told
        assert "bob" not in told


def test_a_large_text_is_looked_through_whole(environ: dict[str, str]) -> None:
    text = "the quick brown fox jumps over the lazy dog\n" * 50_000 + CALL
    ran = scanned(text, environ)
    assert ran.err == "2 found: phone 1, email 1\n"
    assert ran.out.startswith(text[: -len(CALL)])


def test_a_detector_that_fails_lets_nothing_out(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Detector, text: str) -> None:
        raise DetectionFailed("A detector failed (ValueError), so nothing was sent.")

    monkeypatch.setattr(Detector, "scan", broken)
    ran = scanned(CALL, environ)
    assert (ran.status, ran.out) == (Exit.REFUSED, "")
    assert "A detector failed" in ran.err


def test_the_gateway_need_not_run_and_nothing_is_left_behind(environ: dict[str, str]) -> None:
    assert scanned(CALL, environ).status == 0
    assert not Path(environ["MEMBRAIN_HOME"]).exists()


# --- what the policy says ------------------------------------------------------------------------------------


def test_the_level_decides_and_a_flag_goes_before_it(environ: dict[str, str]) -> None:
    basic = {**environ, "MEMBRAIN_PII_LEVEL": "basic"}
    assert scanned(BIRTH, environ).err == "1 found: date of birth 1\n"
    assert scanned(BIRTH, basic) == Ran(0, BIRTH, "Nothing found.\n")
    assert scanned(BIRTH, basic, "--level", "standard").err == "1 found: date of birth 1\n"
    assert scanned(BIRTH, environ, "--level", "basic").err == "Nothing found.\n"


def test_the_flag_goes_before_a_rule_about_levels_too(environ: dict[str, str]) -> None:
    ruled = {**environ, "MEMBRAIN_PII_RULES": "level=basic"}
    assert scanned(BIRTH, ruled).err == "Nothing found.\n"
    assert scanned(BIRTH, ruled, "--level", "strict").err == "1 found: date of birth 1\n"


def test_a_level_that_is_none_is_told(environ: dict[str, str]) -> None:
    ran = scanned(CALL, environ, "--level", "high")
    assert (ran.status, ran.out) == (Exit.USAGE, "")
    assert "There are basic, standard, strict." in ran.err


def test_a_project_has_its_own_rules_and_placeholders(environ: dict[str, str]) -> None:
    ruled = {**environ, "MEMBRAIN_PII_RULES": "acme:EMAIL=pass"}
    assert scanned("bob@x.io", ruled, "--project", "acme").out == "bob@x.io"
    assert scanned("bob@x.io", ruled).out.startswith("EMAIL_")


@pytest.mark.parametrize(
    ("mode", "out", "told"),
    [
        ("pass", "bob@x.io", "Nothing found.\n"),
        ("log", "bob@x.io", "1 found: email 1\n! email 1: let through, and noted\n"),
        ("alert", "bob@x.io", "1 found: email 1\n! email 1: let through, and told\n"),
        ("redact", "EMAIL", "1 found: email 1\n"),
        ("local", "EMAIL", "1 found: email 1\n! email 1: kept on this machine\n"),
        ("confirm", "EMAIL", "1 found: email 1\n! email 1: masked once you agree\n"),
        ("block", "EMAIL", "1 found: email 1\n! email 1: refused\n"),
    ],
)
def test_each_mode_is_told(mode: str, out: str, told: str, environ: dict[str, str]) -> None:
    ran = scanned("bob@x.io", {**environ, "MEMBRAIN_PII_RULES": f"EMAIL={mode}"})
    assert ran.out.partition("_")[0] == out
    assert ran.err == told


def test_placeholders_are_those_of_the_gateway_once_it_has_a_key(environ: dict[str, str]) -> None:
    assert scanned("bob@x.io", environ).out != scanned("bob@x.io", environ).out
    key = bytes(range(32))
    write_private(Places.find(environ).create().placeholder_key_file, key.hex().encode() + b"\n")
    wanted = Vault(key, "acme").placeholder("EMAIL", "bob@x.io")
    assert scanned("bob@x.io", environ, "--project", "acme").out == wanted
    assert scanned("bob@x.io", environ).out not in {wanted, "bob@x.io"}


def test_without_a_key_that_is_sound_a_text_can_be_tried_all_the_same(environ: dict[str, str]) -> None:
    write_private(Places.find(environ).create().placeholder_key_file, b"damaged")
    assert scanned("bob@x.io", environ).out.startswith("EMAIL_")


def test_a_secret_of_this_shell_is_private_wherever_it_stands(environ: dict[str, str]) -> None:
    ran = scanned("see the-quiet-brown-fox there", {**environ, "TEAM_TOKEN": "the-quiet-brown-fox"})
    assert re.fullmatch(f"see SECRET_{CODE} there", ran.out)


OWN_ENGINE = """
def find(text):
    place = text.find("walrus")
    return [(place, place + 6, "CUSTOM")] if place >= 0 else []
"""


def test_the_detector_that_was_chosen_is_asked_too(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "own_detector.py").write_text(OWN_ENGINE)
    own = {**environ, "PYTHONPATH": f"{environ['PYTHONPATH']}{os.pathsep}{tmp_path}"}
    ran = membrain("pii", "scan", environ={**own, "MEMBRAIN_PII_ENGINE": "own_detector:find"}, stdin="a walrus")
    assert re.fullmatch(f"a CUSTOM_{CODE}", ran.out), ran.err


def test_a_provider_s_key_is_private_wherever_it_stands(environ: dict[str, str]) -> None:
    ran = scanned("see the-quiet-brown-fox there", {**environ, "OPENAI_API_KEY": "the-quiet-brown-fox"})
    assert re.fullmatch(f"see SECRET_{CODE} there", ran.out)


# --- testing -------------------------------------------------------------------------------------------------


def test_each_finding_is_shown_with_what_becomes_of_it(environ: dict[str, str]) -> None:
    ran = invoke(["pii", "test", f"one\n{CALL}"], environ, tty=True)
    head, phone, email = (re.split(r" {3,}", line.strip()) for line in ran.out.splitlines())
    assert head == ["place", "label", "kind", "severity", "what becomes of it", "value"]
    assert [phone[0], phone[1], *phone[3:]] == ["2:6", "PHONE", "medium", "masked", "…18"]
    assert [email[0], email[1], *email[4:]] == ["2:31", "EMAIL", "masked", "…io"]
    assert "bob" not in ran.out


def test_what_is_let_through_is_shown_too(environ: dict[str, str]) -> None:
    ran = invoke(["pii", "test", BIRTH, "--level", "basic"], environ)
    assert ran.out.split("\t")[1::3] == ["DATE_OF_BIRTH", "pass"]


def test_findings_as_json_hold_no_values(environ: dict[str, str]) -> None:
    ran = invoke(["pii", "test", "--json"], environ, stdin=CALL)
    phone, email = map(json.loads, ran.out.splitlines())
    assert (phone["line"], phone["column"], phone["mode"]) == (1, 6, "redact")
    assert {*email} == {"start", "end", "label", "kind", "severity", "line", "column", "mode", "tail"}
    assert email["tail"] == "…io"
    assert "bob" not in ran.out


def test_of_a_short_value_nothing_is_shown(environ: dict[str, str]) -> None:
    assert module.ending("12345") == "…"
    assert module.ending("123456") == "…56"


def test_a_text_without_findings_is_told(environ: dict[str, str]) -> None:
    assert invoke(["pii", "test", "nothing here"], environ) == Ran(0, "", "Nothing found.\n")


def test_bytes_on_the_command_line_that_are_no_text_are_refused(environ: dict[str, str]) -> None:
    done = subprocess.run(
        [*command("pii", "test"), b"bob@x.io \xff"], env=environ, capture_output=True, stdin=subprocess.DEVNULL
    )
    assert (done.returncode, done.stdout) == (Exit.FAILED, b"")
    assert b"is not text" in done.stderr


# --- lists of one's own --------------------------------------------------------------------------------------


def test_a_value_that_was_added_is_found(environ: dict[str, str]) -> None:
    ran = membrain("pii", "add", CANARY, environ=environ)
    assert (ran.status, ran.out, ran.err) == (0, "", "✓ Private from now on, as CUSTOM.\n")
    assert kept(environ) == Lists({CANARY: "CUSTOM"})
    assert stat.S_IMODE(file_of(environ).stat().st_mode) == 0o600
    assert re.fullmatch(f"we ship CUSTOM_{CODE}, soon", scanned("we ship PROJECT canary, soon", environ).out)


def test_a_value_has_the_label_it_was_given(environ: dict[str, str]) -> None:
    assert invoke(["pii", "add", CANARY, "--label", "project-name"], environ).err.endswith("as PROJECT_NAME.\n")
    assert scanned(CANARY, environ).err == "1 found: project name 1\n"


def test_values_come_through_stdin_one_a_line(environ: dict[str, str]) -> None:
    ran = invoke(["pii", "add", "-", "-l", "PROJECT"], environ, stdin="Falcon Heavy\r\n\n  Eagle Two \nÄrger\n")
    assert ran.err == "✓ 3 values are private from now on, as PROJECT.\n"
    assert kept(environ) == Lists(dict.fromkeys(["Falcon Heavy", "Eagle Two", "Ärger"], "PROJECT"))


def test_a_person_types_a_value_hidden(environ: dict[str, str]) -> None:
    with Terminal(command("pii", "add", "-"), environ) as terminal:
        terminal.expect("The value (hidden): ")
        terminal.type(f"{CANARY}\r")
        terminal.expect("✓ Private from now on, as CUSTOM.")
        assert terminal.finish() == 0
        assert "Canary" not in terminal.text
    assert kept(environ).known == {CANARY: "CUSTOM"}


def test_what_is_there_already_is_told(environ: dict[str, str]) -> None:
    invoke(["pii", "add", CANARY], environ)
    assert invoke(["pii", "add", CANARY], environ) == Ran(0, "", "· It was private already.\n")


def test_a_value_is_taken_off_the_list(environ: dict[str, str]) -> None:
    invoke(["pii", "add", CANARY], environ)
    assert invoke(["pii", "rm", CANARY.upper()], environ) == Ran(0, "", "✓ It is off the list.\n")
    assert invoke(["pii", "rm", CANARY], environ) == Ran(0, "", "· It was not on the list.\n")
    assert scanned(f"on {CANARY}", environ).out == f"on {CANARY}"


def test_an_allowed_value_is_not_masked_until_that_is_taken_back(environ: dict[str, str]) -> None:
    assert invoke(["pii", "allow", "bob@x.io"], environ).err == "✓ Never masked from now on.\n"
    assert scanned("bob@x.io", environ) == Ran(0, "bob@x.io", "Nothing found.\n")
    assert invoke(["pii", "allow", "--rm", "bob@x.io"], environ).err == "✓ Masked again, where it is found.\n"
    assert scanned("bob@x.io", environ).out.startswith("EMAIL_")
    assert invoke(["pii", "allow", "bob@x.io", "--rm"], environ).err == "· It was not allowed.\n"


def test_the_last_word_about_a_value_holds(environ: dict[str, str]) -> None:
    invoke(["pii", "add", CANARY], environ)
    invoke(["pii", "allow", CANARY], environ)
    assert kept(environ) == Lists({}, [CANARY])


def test_a_change_as_json_holds_no_value(environ: dict[str, str]) -> None:
    ran = invoke(["pii", "add", CANARY, "--json"], environ)
    assert json.loads(ran.out) == {"changed": 1, "running_gateway_has_it": False}


@pytest.mark.parametrize(
    ("argv", "stdin"),
    [
        (["add", f"{CANARY}\n{CANARY}"], ""),
        (["add", CANARY * 50], ""),
        (["allow", f"{CANARY}\x07"], ""),
        (["add", "-"], f"fine\n{CANARY}\x07"),
        (["add", CANARY, "--label", f"{CANARY} 7"], ""),
        (["add", CANARY, CANARY], ""),
        (["rm", CANARY, CANARY], ""),
        (["list", CANARY], ""),
        (["test", CANARY, CANARY], ""),
        (["add", "ab"], ""),
        (["add", "-"], "\n \n"),
        (["add", "-"], "x" * (module.MOST_TYPED + 1)),
        (["add"], ""),
    ],
)
def test_what_cannot_be_a_value_changes_nothing_and_is_not_repeated(
    argv: list[str], stdin: str, environ: dict[str, str]
) -> None:
    ran = invoke(["pii", *argv], environ, stdin=stdin)
    assert (ran.status, ran.out) == (Exit.USAGE, "")
    assert "Canary" not in ran.err
    assert not file_of(environ).exists()


def test_the_line_that_was_wrong_is_told(environ: dict[str, str]) -> None:
    ran = invoke(["pii", "add", "-"], environ, stdin="fine\nab\n")
    assert ran.err.startswith("✗ Line 2: A value has 3 to 500 characters; this one has 2.")


def test_a_damaged_file_is_refused_by_every_command(environ: dict[str, str]) -> None:
    """Above all by `scan`: without the lists it would tell less than there is."""
    invoke(["pii", "add", "Something"], environ)
    file_of(environ).write_text(f'"{CANARY}"\n')
    for argv in (["add", "Other"], ["list"], ["scan"], ["test", "x"], []):
        ran = invoke(["pii", *argv], environ, stdin=CALL)
        assert (ran.status, ran.out) == (Exit.FAILED, "")
        assert "pii.toml line 1 cannot be read as TOML" in ran.err
        assert "Canary" not in ran.err
    assert file_of(environ).read_text() == f'"{CANARY}"\n'


# --- showing the lists ---------------------------------------------------------------------------------------


@pytest.fixture
def listed(environ: dict[str, str]) -> dict[str, str]:
    invoke(["pii", "add", CANARY, "--label", "PROJECT"], environ)
    invoke(["pii", "add", "Hugo"], environ)
    invoke(["pii", "allow", "bob@x.io"], environ)
    return environ


def test_a_list_shows_how_values_end(listed: dict[str, str]) -> None:
    ran = invoke(["pii", "list"], listed, tty=True)
    assert [re.split(r" {3,}", line.strip()) for line in ran.out.splitlines()] == [
        ["private", "CUSTOM", "…", "4 characters"],
        ["private", "PROJECT", "…ry", "14 characters"],
        ["never masked", "…io", "8 characters"],
    ]
    assert invoke(["pii", "list"], listed).out == ("known\tCUSTOM\t…\t4\nknown\tPROJECT\t…ry\t14\nallowed\t\t…io\t8\n")


def test_values_are_shown_to_who_asks_for_them(listed: dict[str, str]) -> None:
    for ran in (invoke(["pii", "list", "--reveal"], listed, tty=True), invoke(["pii", "list", "--reveal"], listed)):
        assert (CANARY in ran.out, "bob@x.io" in ran.out) == (True, True)


def test_a_list_as_json(listed: dict[str, str]) -> None:
    hidden = [json.loads(line) for line in invoke(["pii", "list", "--json"], listed).out.splitlines()]
    assert hidden[1] == {"list": "known", "label": "PROJECT", "tail": "…ry", "characters": 14}
    shown = [json.loads(line) for line in invoke(["pii", "list", "--json", "--reveal"], listed).out.splitlines()]
    assert [row["value"] for row in shown] == ["Hugo", CANARY, "bob@x.io"]


def test_an_empty_list_says_how_to_begin(environ: dict[str, str]) -> None:
    ran = invoke(["pii", "list"], environ)
    assert (ran.status, ran.out) == (0, "")
    assert "Nothing on the list yet." in ran.err
    assert "membrain pii add" in ran.err


def test_alone_it_tells_how_masking_is_set(listed: dict[str, str]) -> None:
    ran = invoke(["pii"], listed, tty=True)
    assert ran.out == "  level      standard: what is found is masked\n  lists      2 private, 1 never masked\n"
    assert "membrain pii scan" in ran.err
    told = json.loads(invoke(["pii", "--json"], listed).out)
    assert told == {"level": "standard", "on_find": "redact", "known": 2, "allowed": 1, "waiting": None}


# --- the running gateway -------------------------------------------------------------------------------------


def test_the_running_gateway_is_told_of_a_change(served: Served, beside: dict[str, str]) -> None:
    ran = invoke(["pii", "add", CANARY], beside)
    assert (ran.status, ran.err) == (0, "✓ Private from now on, as CUSTOM.  The running gateway has it now.\n")
    assert json.loads(invoke(["pii", "rm", CANARY, "--json"], beside).out)["running_gateway_has_it"] is True
    assert "Canary" not in served.assert_sound()


def test_the_running_gateway_masks_what_was_added_from_then_on(
    served: Served, beside: dict[str, str], sink: Sink
) -> None:
    assert served.chat(f"About {CANARY}.").status == 200
    assert b"Canary" in sink.bytes_seen()
    seen = len(sink.bytes_seen())
    invoke(["pii", "add", CANARY], beside)
    answer = served.chat(f"More about {CANARY}.")
    assert answer.status == 200
    assert b"CUSTOM_" in sink.bytes_seen()[seen:]
    assert b"Canary" not in sink.bytes_seen()[seen:]


def test_a_request_goes_on_masked_once_a_person_let_it(tmp_path: Path, sink: Sink) -> None:
    with Served(tmp_path / "served", sink, MEMBRAIN_PII_RULES="EMAIL=confirm") as served:
        beside = environment(served.home, MEMBRAIN_PORT=str(served.port))
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(served.chat, "Write to bob@x.io now.")
            (id,) = eventually(lambda: invoke(["pii", "holds"], beside).out.split("\t")[:1])
            shown = invoke(["pii", "holds", id[:6]], beside, tty=True).out
            assert ("…io now." in shown, "bob" in shown) == (True, False)
            assert invoke(["pii", "approve", id[:6]], beside).err == f"✓ {id[:6]} goes on, masked.\n"
            assert asked.result(10).status == 200
    assert b"EMAIL_" in sink.bytes_seen()
    assert b"bob@" not in sink.bytes_seen()


def eventually(look: Callable[[], list[str]]) -> list[str]:
    """What *look* gives as soon as it is something."""
    limit = time.monotonic() + 10
    while not any(found := look()):
        assert time.monotonic() < limit, "it never came"
        time.sleep(0.05)
    return found


ID, OTHER = "a91f04c2", "a91f77c2"
CONTEXTS = (
    Context("messages[0].content", "EMAIL", "write to ", " at\x1b[2J once", "io"),
    Context("tools[1].name", "CARD", "", ".", "11"),
)


def hold(id: str = ID, project: str = "default") -> Hold:
    """A request that waits since 12.3 seconds."""
    places = ("messages[0].content", "tools[1].name")
    return Hold(id, "aider", project, {"CARD": 1, "EMAIL": 2}, "gpt-4o", places, CONTEXTS, since=0.0)


class Waiting:
    """The gateway's own holds, behind a server that proves to be this instance's gateway and knows nothing else."""

    def __init__(self) -> None:
        self.secret = os.urandom(32)
        self.asked: list[str] = []
        self.tasks: dict[str, asyncio.Task[Verdict]] = {}
        self.loop = asyncio.new_event_loop()
        self.holds = Holds(monotonic=lambda: 12.3)
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def park(self, *each: Hold) -> None:
        """Let requests wait."""

        async def begin() -> None:
            self.tasks |= {one.id: asyncio.ensure_future(self.holds.wait(one, 60)) for one in each}
            await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(begin(), self.loop).result(5)

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """How the requests ended that wait no longer."""

        async def over() -> dict[str, Verdict]:
            await asyncio.sleep(0.02)  # whoever was woken up before has run by then
            return {id: task.result() for id, task in self.tasks.items() if task.done()}

        return asyncio.run_coroutine_threadsafe(over(), self.loop).result(5)

    def answer(self, method: str, path: str, query: str, data: Any) -> tuple[int, Any]:
        """What the gateway says; its errors as the wire has them."""
        self.asked.append(f"{method} {path}")
        if path == "/health":
            challenge = parse_qs(query)["challenge"][0]
            proof = hmac.digest(self.secret, challenge.encode(), "sha256").hex()
            return 200, {"status": "ok", "instance": "standin", "providers": [], "proof": proof}
        try:
            return 200, asyncio.run_coroutine_threadsafe(self._held(method, path, data), self.loop).result(5)
        except MembrainError as error:
            return error.status, {"error": {"message": error.sentence, "code": error.code}}

    async def _held(self, method: str, path: str, data: Any) -> Any:
        which = unquote(path.removeprefix("/api/holds").removeprefix("/"))
        if not path.startswith("/api/holds"):
            raise Misconfigured("pii.toml cannot be read.")
        if method == "POST":
            return api.decided(self.holds, which, data)
        return api.shown(self.holds, which) if which else api.listed(self.holds)

    def end(self) -> None:
        """Let nobody wait any longer."""

        async def close() -> None:
            self.holds.close()
            await asyncio.gather(*self.tasks.values(), return_exceptions=True)

        asyncio.run_coroutine_threadsafe(close(), self.loop).result(5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()


def door(waiting: Waiting) -> type[BaseHTTPRequestHandler]:
    """The wire before *waiting*."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            path, _, query = self.path.partition("?")
            status, data = waiting.answer(
                self.command, path, query, json.loads(self.rfile.read(length)) if length else None
            )
            body = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Door


@pytest.fixture
def waiting(environ: dict[str, str]) -> Iterator[Waiting]:
    """The gateway of *environ*, in which one request waits."""
    waiting = Waiting()
    waiting.park(hold())
    server = ThreadingHTTPServer(("127.0.0.1", 0), door(waiting))
    port = server.server_address[1]
    claim = {
        "pid": os.getpid(), "port": port, "host": "127.0.0.1", "url": f"http://127.0.0.1:{port}", "version": "0.1.0",
        "started": "2026-11-21T09:48:00+00:00", "instance": "standin", "secret": waiting.secret.hex(),
    }  # fmt: skip
    places = Places.find(environ).create()
    write_private(places.state_file, json.dumps(claim).encode())
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield waiting
    places.state_file.unlink()  # or whoever cleans up would end this very process
    server.shutdown()
    server.server_close()
    thread.join()
    waiting.end()


def test_a_change_that_the_running_gateway_cannot_take_is_told(waiting: Waiting, environ: dict[str, str]) -> None:
    ran = invoke(["pii", "add", CANARY], environ)
    assert ran.status == Exit.FAILED
    assert ran.err.splitlines() == [
        "✗ It is kept, but the running gateway did not take it: pii.toml cannot be read.",
        "  Restart it      membrain restart",
    ]
    assert kept(environ).known == {CANARY: "CUSTOM"}


def test_nothing_is_handed_on_when_nothing_changed(waiting: Waiting, environ: dict[str, str]) -> None:
    assert invoke(["pii", "rm", CANARY], environ).status == 0
    assert waiting.asked == []


# --- what waits ----------------------------------------------------------------------------------------------


def test_a_person_sees_what_waits_and_what_to_do(waiting: Waiting, environ: dict[str, str]) -> None:
    ran = invoke(["pii", "holds"], environ, tty=True)
    assert ran.out == "  a91f04   aider   12 s   1 card, 2 email   would go to gpt-4o\n"
    assert ran.err.splitlines() == [
        "  See it          membrain pii holds a91f04",
        "  Let it go on    membrain pii approve a91f04",
        "  Refuse it       membrain pii deny a91f04",
    ]
    assert "  waiting    1\n" in invoke(["pii"], environ, tty=True).out


def test_programs_see_what_waits(waiting: Waiting, environ: dict[str, str]) -> None:
    assert invoke(["pii", "holds"], environ) == Ran(0, "a91f04c2\taider\t12.3\tCARD=1,EMAIL=2\tgpt-4o\tdefault\n", "")
    told = json.loads(invoke(["pii", "holds", "--json"], environ).out)
    assert (told["id"], told["labels"], "contexts" in told) == (ID, {"CARD": 1, "EMAIL": 2}, False)


def test_another_project_is_named(waiting: Waiting, environ: dict[str, str]) -> None:
    waiting.park(hold("b0b0b0b0", "web"))
    lines = invoke(["pii", "holds"], environ, tty=True).out.splitlines()
    assert lines[1].startswith("  b0b0b0   aider, project web   12 s ")


def test_nothing_waits(waiting: Waiting, environ: dict[str, str]) -> None:
    invoke(["pii", "deny", ID], environ)
    assert invoke(["pii", "holds"], environ, tty=True) == Ran(0, "", "Nothing waits.\n")


def test_one_hold_shows_each_place_and_how_the_value_ends(waiting: Waiting, environ: dict[str, str]) -> None:
    ran = invoke(["pii", "holds", "a91f"], environ, tty=True)
    assert ran.out.splitlines() == [
        "  a91f04   aider   12 s   1 card, 2 email   would go to gpt-4o",
        "",
        "  messages[0].content   email   write to …io at once",
        "  tools[1].name         card    …11.",
    ]
    told = json.loads(invoke(["pii", "holds", "a91f", "--json"], environ).out)
    assert [context["tail"] for context in told["contexts"]] == ["io", "11"]
    assert invoke(["pii", "holds", "a91f"], environ).out.splitlines()[1] == "tools[1].name\tCARD\t…11."


def test_a_request_is_let_go_on(waiting: Waiting, environ: dict[str, str]) -> None:
    assert invoke(["pii", "approve", "a91f"], environ) == Ran(0, "", "✓ a91f04 goes on, masked.\n")
    assert waiting.verdicts == {ID: Verdict.APPROVED}
    assert not waiting.holds.is_approved("default", "CARD")


def test_a_person_who_is_asked_too_often_says_so(waiting: Waiting, environ: dict[str, str]) -> None:
    ran = invoke(["pii", "approve", "a91f", "--always"], environ)
    assert "is not asked again about these, until the gateway stops." in ran.err
    assert waiting.holds.is_approved("default", "CARD")


def test_a_request_is_refused(waiting: Waiting, environ: dict[str, str]) -> None:
    assert invoke(["pii", "deny", "a91f"], environ) == Ran(0, "", "○ a91f04 is refused. Nothing of it left.\n")
    assert waiting.verdicts == {ID: Verdict.DENIED}


def test_a_decision_as_json(waiting: Waiting, environ: dict[str, str]) -> None:
    told = json.loads(invoke(["pii", "approve", "a91f", "--json"], environ).out)
    assert told == {"id": ID, "decision": "approved", "always": False}


@pytest.mark.parametrize("verb", ["holds", "approve", "deny"])
@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("ffff", "No such request waits"),
        ("a91", "No such request waits"),
        ("a91f", "Several holds begin like that."),
        ("over", "This request waits no longer"),
    ],
)
def test_an_id_that_names_no_hold_is_told(
    verb: str, which: str, said: str, waiting: Waiting, environ: dict[str, str]
) -> None:
    waiting.park(hold(OTHER), hold("over"))
    invoke(["pii", "deny", "over"], environ)
    ran = invoke(["pii", verb, which], environ)
    assert (ran.status, ran.out) == (Exit.FAILED, "")
    assert ran.err.startswith(f"✗ {said}")
    assert waiting.verdicts == {"over": Verdict.DENIED}


def test_an_id_cannot_lead_elsewhere(waiting: Waiting, environ: dict[str, str]) -> None:
    invoke(["pii", "deny", "../reload?x=1"], environ)
    assert waiting.asked[-1] == "POST /api/holds/..%2Freload%3Fx%3D1"


@pytest.mark.parametrize("argv", [["holds"], ["holds", "a91f"], ["approve", "a91f"], ["deny", "a91f"]])
def test_deciding_needs_a_gateway(argv: list[str], environ: dict[str, str]) -> None:
    ran = invoke(["pii", *argv], environ)
    assert (ran.status, ran.out) == (Exit.DOWN, "")
    assert ran.err.splitlines() == ["✗ The gateway is not running.", "  Start it        membrain up"]


def test_ids_of_what_waits_are_completed(waiting: Waiting, environ: dict[str, str]) -> None:
    invoke(["--version"], environ)
    assert module.waiting("a9") == [(ID, "1 card, 2 email")]
    assert module.waiting("b") == []


def test_nothing_is_completed_without_a_gateway(environ: dict[str, str]) -> None:
    invoke(["--version"], environ)
    assert module.waiting("") == []


def test_a_level_that_is_none_is_refused_before_anything_is_read(environ: dict[str, str]) -> None:
    for argv in (["pii", "scan", "/nowhere", "--level", "strct"], ["pii", "test", "--level", "strct"]):
        ran = invoke(argv, environ, stdin="anything")
        assert ran.status == Exit.USAGE
        assert ran.err.splitlines()[0].endswith("Did you mean strict?")
