"""`chat` as it is typed: alone, in pipes, on a terminal, with a gateway that is up, down, or breaks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from membrain_cli import daemon
from membrain_cli.commands.chat import masking
from membrain_cli.console import Exit
from tests.cli.shell import command, environment, invoke, membrain
from tests.cli.standin import put_in_place
from tests.cli.terminal import Terminal
from tests.served import Served
from tests.sink import Sink

PROMPT = "› "  # noqa: RUF001  # as it is drawn


def asked(sink: Sink) -> list[dict[str, Any]]:
    """What was posted to the upstream."""
    return [request.json() for request in sink.requests if request.method == "POST"]


# --- once ----------------------------------------------------------------------------------------------------


def test_only_the_answer_is_on_stdout(beside: dict[str, str]) -> None:
    ran = membrain("chat", "-m", "echo", "Hello there", environ=beside)
    assert (ran.status, ran.out, ran.err) == (0, "Hello there\n", "")


def test_words_need_no_quotes(beside: dict[str, str], sink: Sink) -> None:
    assert invoke(["chat", "-m", "echo", "capital", "of", "France?"], beside).out == "capital of France?\n"


@pytest.mark.parametrize(
    ("words", "pipe", "message"),
    [
        ([], "from the pipe\n", "from the pipe"),
        (["a commit message"], "diff --git\n+ü\n", "a commit message\n\ndiff --git\n+ü"),
        (["alone"], "", "alone"),
        ([], "  indented\n\n  text", "  indented\n\n  text"),
    ],
)
def test_a_pipe_is_the_message_or_is_added_to_it(
    beside: dict[str, str], sink: Sink, words: list[str], pipe: str, message: str
) -> None:
    ran = membrain("chat", "-m", "echo", *words, environ=beside, stdin=pipe)
    assert ran.status == 0
    assert asked(sink)[0]["messages"] == [{"role": "user", "content": message}]


def test_a_pipe_that_is_not_utf8_still_arrives(beside: dict[str, str], sink: Sink) -> None:
    done = subprocess.run(command("chat", "-m", "echo"), env=beside, input=b"caf\xe9", capture_output=True, timeout=60)
    assert (done.returncode, done.stdout.decode()) == (0, "caf\ufffd\n")


def test_nothing_to_ask_is_used_wrongly(beside: dict[str, str]) -> None:
    ran = invoke(["chat"], beside)
    assert (ran.status, ran.out) == (Exit.USAGE, "")
    assert 'membrain chat "…"' in ran.err


def test_flags_reach_the_gateway(beside: dict[str, str], sink: Sink, served: Served) -> None:
    flags = ["--tier", "fast", "--max-cost", "0.5", "-s", "Be brief.", "--temp", "0", "--max-tokens", "9"]
    invoke(["chat", *flags, "Hi"], beside)
    sent = asked(sink)[0]
    assert (sent["temperature"], sent["max_tokens"]) == (0, 9)
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert served.audit()[0]["tier"] == "fast"


def test_private_is_asked_of_the_gateway(beside: dict[str, str], sink: Sink) -> None:
    ran = invoke(["chat", "--private", "-m", "gpt-4o", "Hi"], beside)
    assert (ran.status, asked(sink)) == (Exit.REFUSED, [])
    assert "private" in ran.err


def test_an_unknown_tier_is_used_wrongly(beside: dict[str, str]) -> None:
    ran = invoke(["chat", "--tier", "cheap", "Hi"], beside)
    assert (ran.status, ran.out) == (Exit.USAGE, "")
    assert ran.err.splitlines()[0] == "✗ No tier cheap. There are fast, balanced and best."
    assert "Did you mean balanced?" in invoke(["chat", "--tier", "balancd", "Hi"], beside).err


def test_json_prints_the_whole_completion(beside: dict[str, str]) -> None:
    ran = membrain("chat", "--json", "-m", "echo", "Say\x1b[31m it", environ=beside)
    whole = json.loads(ran.out)
    assert whole["choices"][0]["message"]["content"] == "Say\x1b[31m it"
    assert whole["x_unknown"] == {"kept": True}
    assert "\x1b" not in ran.out


def test_the_machines_own_key_is_used(beside: dict[str, str], served: Served) -> None:
    invoke(["chat", "-m", "echo", "Hi"], beside)
    assert served.audit()[0]["key_id"]


def test_what_the_model_says_cannot_drive_the_terminal(beside: dict[str, str]) -> None:
    ran = membrain("chat", "-m", "echo", "a\x1b]52;c;aGk=\x07b\x1b[31mc\u202ed", environ=beside)
    assert ran.out == "abcd\n"


@pytest.mark.parametrize(
    ("model", "status", "words"),
    [
        ("gpt-4o-status-401", Exit.KEY, "membrain keys set openai"),
        ("gpt-4o-status-429", Exit.UPSTREAM, "openai said: "),
        ("gpt-4o-status-500", Exit.UPSTREAM, "✗ "),
        ("gpt-4o-reset", Exit.UPSTREAM, "membrain doctor"),
        ("gpt-4o-garbage", Exit.UPSTREAM, "✗ "),
    ],
)
def test_an_upstream_that_fails_says_so_and_has_its_status(
    beside: dict[str, str], model: str, status: Exit, words: str
) -> None:
    ran = invoke(["chat", "-m", model, "Hi"], beside)
    assert (ran.status, ran.out) == (status, "")
    assert words in ran.err


def test_an_answer_that_breaks_off_shows_its_part_and_fails(beside: dict[str, str]) -> None:
    ran = invoke(["chat", "-m", "gpt-4o-reset-mid", "Hi"], beside)
    assert ran.status == Exit.UPSTREAM
    assert "The sink hears you and answers".startswith(ran.out.strip())
    assert ran.out.endswith("\n")


def test_a_reader_that_leaves_ends_it_quietly(beside: dict[str, str], sink: Sink) -> None:
    """`membrain chat … | head -1`."""
    process = subprocess.Popen(
        command("chat", "-m", "gpt-4o-slow-20-chunks-300", "Hi"), env=beside, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(2)
    process.stdout.close()
    with process.stderr as stderr:
        assert (process.wait(20), stderr.read()) == (0, b"")
    assert sink.requests[-1].closed.wait(2)


# --- on a terminal -------------------------------------------------------------------------------------------


def test_a_person_sees_the_receipt_under_the_answer(beside: dict[str, str]) -> None:
    with Terminal(command("chat", "-m", "echo", "Some **bold** words"), beside) as terminal:
        assert terminal.finish() == 0
    first, second = terminal.screen.text.splitlines()
    assert first == "Some bold words"
    assert second.startswith("echo · openai · ")
    assert second.endswith(" tokens · cost unknown")


def test_ctrl_c_stops_the_answer_with_its_own_status(beside: dict[str, str], sink: Sink) -> None:
    with Terminal(command("chat", "-m", "gpt-4o-slow-50-chunks-300", "Go on"), beside) as terminal:
        terminal.expect("w3")
        terminal.type("\x03")
        terminal.expect("stopped · ", seconds=2)
        assert terminal.finish() == Exit.INTERRUPTED
    assert sink.requests[-1].closed.wait(2)


def test_an_answer_in_the_background_does_not_wait_for_the_terminal(beside: dict[str, str]) -> None:
    """A job that changes the terminal's modes would be stopped by the system."""
    script = f"set -m; {' '.join(command('chat', '-m', 'echo', 'Hello'))} & wait %1; echo status $?"
    with Terminal(["/bin/bash", "-c", script], beside) as terminal:
        terminal.expect("Hello\n")
        terminal.expect("status 0")


def test_a_conversation_opens_on_a_terminal(beside: dict[str, str], served: Served) -> None:
    with Terminal(command("chat", "-m", "echo", "--no-history"), beside) as terminal:
        terminal.expect("membrain · echo, balanced · masking · /help, ctrl-d to leave\n")
        terminal.expect(PROMPT)
        terminal.type("Hello you\r")
        terminal.expect("echo · openai · ")
        terminal.expect(PROMPT)
        terminal.type("/private on\r")
        terminal.expect("Private: only models on this machine.  (ollama/llama3:latest)")
        terminal.expect(PROMPT)
        terminal.type("And now?\r")
        terminal.expect("This request is private, and ")
        terminal.expect(PROMPT)
        terminal.type("\x04")
        terminal.expect("1 exchange · 1 of unknown cost")
        assert terminal.finish() == 0
    assert not (served.home / "state" / "history").exists()


def test_what_left_is_shown_as_drawn(beside: dict[str, str], served: Served, sink: Sink) -> None:
    """The values are in the answer, and nowhere in what left."""
    question = "Draft a short reply to ada@corp-mail.net about invoice 4411. Her number is +44 20 7946 0018."
    with Terminal(command("chat", "-m", "gpt-4o-echo", "--no-history"), beside, columns=160) as terminal:
        terminal.expect(PROMPT)
        terminal.type(f"{question}\r")
        terminal.expect(" · 2 masked\n")
        terminal.expect(PROMPT)
        terminal.type("/sent\r")
        terminal.expect("What left this machine:\n")
        terminal.expect(PROMPT)
        terminal.type("\x04")
        terminal.expect(" · 2 masked\n")
        assert terminal.finish() == 0
    (got,) = [message["content"] for message in asked(sink)[0]["messages"]]
    mail, phone = re.findall(r"EMAIL_\w{16}|PHONE_\w{16}", got)
    assert got == question.replace("ada@corp-mail.net", mail).replace("+44 20 7946 0018", phone)
    lines = terminal.screen.text.splitlines()
    assert lines.count(question) == 1
    assert lines[lines.index("What left this machine:") + 1] == f"  user   {got}"
    assert f"\x1b[1m{mail}\x1b[0m".encode() in terminal.raw


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [("LEVEL", "strict", "masking strict"), ("LEVEL", "basic", "masking basic"), ("ON_FIND", "pass", "not masking")],
)
def test_the_head_says_how_much_is_masked(tmp_path: Path, sink: Sink, variable: str, value: str, words: str) -> None:
    with Served(tmp_path / "home", sink, **{f"MEMBRAIN_PII_{variable}": value}) as served:
        environ = environment(served.home, MEMBRAIN_PORT=str(served.port))
        with Terminal(command("chat", "-m", "echo", "--no-history"), environ) as terminal:
            terminal.expect(f"membrain · echo, balanced · {words} · /help, ctrl-d to leave\n")
            terminal.expect(PROMPT)
            terminal.type("\x04")
            assert terminal.finish() == 0


@pytest.mark.parametrize("health", [{}, {"masking": None}, {"masking": 7}])
def test_of_masking_nothing_is_said_that_the_gateway_did_not_say(health: dict[str, object]) -> None:
    assert masking(health) == ""


def test_a_conversation_keeps_its_history_for_this_user_alone(beside: dict[str, str], served: Served) -> None:
    with Terminal(command("chat", "-m", "echo"), beside) as terminal:
        terminal.expect(PROMPT)
        terminal.type("/quit\r")
        assert terminal.finish() == 0
    history = served.home / "state" / "history"
    assert (history.read_text(), history.stat().st_mode & 0o777) == ('"/quit"\n', 0o600)


def test_no_conversation_without_input(beside: dict[str, str]) -> None:
    ran = invoke(["chat", "--no-input"], beside, tty=True)
    assert ran.status == Exit.USAGE


# --- a gateway that is down ----------------------------------------------------------------------------------


def test_a_gateway_that_is_down_is_started(environ: dict[str, str], sink: Sink) -> None:
    """On a fresh machine the first answer needs one command."""
    upstream = {"OPENAI_API_KEY": "sk-canary-0123456789", "UPSTREAM_OPENAI_URL": f"{sink.url}/v1"}
    ran = membrain("chat", "-m", "gpt-4o-echo", "Hello", environ={**environ, **upstream})
    assert (ran.status, ran.out) == (0, "Hello\n")
    assert ran.err.startswith("● membrain is up   http://127.0.0.1:")
    assert daemon.is_up(environ)


def test_without_any_model_it_says_how_to_get_one(environ: dict[str, str]) -> None:
    ran = membrain("chat", "Hello", environ={**environ, "MEMBRAIN_LOCAL_ENABLED": "true"})
    assert (ran.status, ran.out) == (1, "")
    assert "membrain local install" in ran.err


def test_a_gateway_that_does_not_start_says_why(environ: dict[str, str], tmp_path: Path) -> None:
    ran = invoke(["chat", "Hello"], put_in_place(tmp_path, environ, "dies"))
    assert (ran.status, ran.out) == (Exit.DOWN, "")
    assert ran.err.splitlines()[0] == "✗ The gateway did not start."
    assert "connection refused" in ran.err
    assert "membrain up" in ran.err


# --- what it costs to start ----------------------------------------------------------------------------------

HEAVY = ("httpx", "rich", "asyncio", "markdown_it", "pygments", "starlette", "readline", "membrain_client", "msgspec")


def test_help_imports_nothing_heavy(beside: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "membrain_cli", "chat", "--help"], env=beside, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "Ask once, or hold a conversation." in done.stdout
    assert not imported & set(HEAVY)


def test_an_answer_in_a_pipe_does_not_import_what_draws(beside: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "membrain_cli", "chat", "-m", "echo", "Hi"], env=beside,
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.stdout == "Hi\n"
    assert not imported & {"membrain_cli.chat.render", "markdown_it", "readline"}
