"""`conform`: what is needed is asked for, keys never stand on the command line, and Membrain passes all of it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from membrain_cli.console import Exit
from membrain_cli.reach import Reach
from tests.cli.conform.relay import FAULTS, KEY, Fault, Relay
from tests.cli.shell import environment, invoke
from tests.served import Served, free_port


@contextmanager
def relay_before(port: int, fault: Fault | None = None) -> Iterator[str]:
    """A small gateway before the provider at *port*, in a thread of its own; gives its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    relay = Relay(port, fault or Fault())
    try:
        yield f"http://127.0.0.1:{asyncio.run_coroutine_threadsafe(relay.start(), loop).result(5)}"
    finally:
        asyncio.run_coroutine_threadsafe(relay.stop(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_it_tells_a_person_what_came_through(environ: dict[str, str]) -> None:
    port = free_port()
    with relay_before(port) as url:
        ran = invoke(["conform", url, "--upstream", str(port), "--only", "chat.whole"], environ, tty=True)
    assert ran.status == Exit.OK
    assert ran.out.splitlines()[:2] == ["chat", "  ok     a whole answer, equal as JSON"]
    assert ran.err == "6 ok.\n"


def test_it_fails_where_something_arrives_changed(environ: dict[str, str]) -> None:
    port = free_port()
    with relay_before(port, FAULTS["reads numbers as floats"]) as url:
        ran = invoke(["conform", url, "--upstream", str(port), "--only", "chat.whole", "--json"], environ)
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert ran.status == Exit.FAILED
    assert {row["check"] for row in rows if row["state"] == "FAIL"} == {"whole.bytes", "whole.numbers"}
    assert {*rows[0]} == {"group", "check", "title", "why", "state", "instead", "ms"}


def test_without_a_port_it_says_what_the_gateway_must_be_pointed_at(environ: dict[str, str]) -> None:
    ran = invoke(["conform", "http://127.0.0.1:4000"], environ)
    assert ran.status == Exit.USAGE
    assert "membrain conform http://127.0.0.1:4000 --upstream 9100" in ran.err
    assert "http://127.0.0.1:PORT/v1" in ran.err
    assert "claude-sonnet-4-20250514" in ran.err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["ftp://x", "--upstream", "1"], "no address of a gateway"),
        (["http://x", "--upstream", "1", "--header", "nothing"], "NAME:VALUE"),
        (["http://x", "--upstream", "1", "--header", "Authorization: Bearer sk-canary"], "A key on the command line"),
        (["http://x", "--upstream", "1", "--only", "mesages"], "Did you mean messages?"),
        (["http://x", "--upstream", "70000"], "--upstream"),
        (["http://x", "--upstream", "1", "--timeout", "0"], "--timeout"),
    ],
)
def test_a_command_line_that_cannot_be_is_refused(argv: list[str], told: str, environ: dict[str, str]) -> None:
    ran = invoke(["conform", *argv], environ)
    assert (ran.status, ran.out) == (Exit.USAGE, "")
    assert told in ran.err
    assert "sk-canary" not in ran.err


def test_nobody_at_the_address_is_told(environ: dict[str, str]) -> None:
    port = free_port()
    ran = invoke(["conform", f"127.0.0.1:{free_port()}", "--upstream", str(port)], environ)
    assert (ran.status, ran.out) == (Exit.DOWN, "")
    assert "Nobody answers at 127.0.0.1:" in ran.err


def test_a_taken_port_is_told(environ: dict[str, str]) -> None:
    port = free_port()
    with relay_before(port) as url:
        taken = url.rpartition(":")[2]
        ran = invoke(["conform", url, "--upstream", taken], environ)
    assert ran.status == Exit.DOWN
    assert f"127.0.0.1:{taken} is taken" in ran.err


def test_a_gateway_that_asks_somebody_else_is_told(environ: dict[str, str]) -> None:
    with relay_before(free_port()) as url:
        ran = invoke(["conform", url, "--upstream", str(free_port()), "--only", "embeddings.whole"], environ)
    assert ran.status == Exit.DOWN
    assert "never asked the fake provider" in ran.err


@pytest.mark.parametrize(
    ("more", "stdin", "flags"),
    [({"MEMBRAIN_CONFORM_KEY": KEY}, "", []), ({}, f"{KEY}\n", ["--key"])],
    ids=["environment", "stdin"],
)
def test_a_key_is_never_an_argument_and_never_shown(
    more: dict[str, str], stdin: str, flags: list[str], environ: dict[str, str]
) -> None:
    port = free_port()
    argv = ["conform", "--upstream", str(port), "--only", "chat.request.key", *flags]
    with relay_before(port, FAULTS["hands the key on"]) as url:
        ran = invoke([*argv, url], {**environ, **more}, stdin=stdin)
    assert ran.status == Exit.FAILED
    assert "the provider was sent it as authorization" in ran.out
    assert KEY not in ran.out + ran.err


def test_an_empty_key_is_refused(environ: dict[str, str]) -> None:
    ran = invoke(["conform", "http://127.0.0.1:1", "--upstream", "1", "--key"], environ, stdin="\n")
    assert (ran.status, ran.err) == (Exit.USAGE, "✗ No key was given.\n  How it goes     membrain conform --help\n")


def test_headers_and_models_are_said_as_given(environ: dict[str, str]) -> None:
    port = free_port()
    argv = ["conform", "--upstream", str(port), "--header", "x-odd: 1", "--model-openai", "odd", "--json"]
    with relay_before(port, FAULTS["writes requests anew"]) as url:
        ran = invoke([*argv, url, "--only", "chat.request.bytes"], environ)
        none = invoke([*argv, url, "--only", "gateway.models"], environ)
    assert json.loads(ran.out)["state"] == "FAIL"
    assert "odd is none of them" in none.out


@pytest.mark.slow
def test_membrain_itself_passes_every_check(tmp_path: Path) -> None:
    port = free_port()
    provider = {
        "OPENAI_API_KEY": "sk-canary-openai-0123456789",
        "ANTHROPIC_API_KEY": "sk-ant-canary-0123456789",
        "UPSTREAM_OPENAI_URL": f"http://127.0.0.1:{port}/v1",
        "UPSTREAM_ANTHROPIC_URL": f"http://127.0.0.1:{port}",
        "MEMBRAIN_ROUTING_ATTEMPTS": "1",
    }
    with Served(tmp_path / "served", None, port=None, **provider) as served:
        beside = environment(served.home, MEMBRAIN_PORT=str(served.port))
        key, _ = Reach(beside).issue("conform", "default")
        ran = invoke(["conform", served.url, "--upstream", str(port), "--key", "--json"], beside, stdin=key)
        served.assert_sound()
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [row for row in rows if row["state"] != "ok"] == []
    assert len(rows) > 250
    assert ran.status == Exit.OK
