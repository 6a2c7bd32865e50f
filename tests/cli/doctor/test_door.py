"""Checks of the gateway: its version, its port, who may come in, what leaves, and what it was started with."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from pathlib import Path

import pytest

from membrain.places import Places, write_private
from membrain_cli import daemon
from membrain_cli.doctor import door
from membrain_cli.doctor.finding import Finding
from tests.cli.patients import found, only, patient
from tests.served import Served

EVERYWHERE = "0.0.0.0"  # noqa: S104  # a setting, not a socket


def test_a_gateway_of_another_version_is_told(near: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "__version__", "9.9.9")
    assert only(door.gateway, near) == Finding(
        "look", "gateway", "is v0.1.0, this command is v9.9.9", "membrain restart"
    )


def test_somebody_at_its_port_who_does_not_prove_to_be_it_is_broken(environ: dict[str, str]) -> None:
    places = Places.find(environ).create()
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=hung_up_on, args=(server,), daemon=True).start()
        texts = dict.fromkeys(daemon.TEXTS, "00")
        claim = {**texts, "host": "127.0.0.1", "port": server.getsockname()[1], "pid": os.getpid()}
        write_private(places.state_file, json.dumps(claim).encode())
        finding = only(door.gateway, environ)
    assert (finding.state, finding.remedy) == ("broken", "membrain logs")
    assert finding.words.endswith(" is at its port, but does not prove to be it")
    assert only(door.gateway, environ) == Finding("look", "gateway", "down", "membrain up")


def hung_up_on(server: socket.socket) -> None:
    """Whoever calls *server*, until it is closed."""
    with contextlib.suppress(OSError):
        while True:
            server.accept()[0].close()


def test_a_port_that_somebody_else_has_is_broken(shared_gateway: Served, environ: dict[str, str]) -> None:
    finding = only(door.port, {**environ, "MEMBRAIN_PORT": str(shared_gateway.port)})
    assert finding.state == "broken"
    assert "another Membrain" in finding.words
    assert finding.remedy == f"membrain config set port {shared_gateway.port + 1}"


def test_the_port_is_told_while_it_is_ours(shared_gateway: Served, near: dict[str, str]) -> None:
    assert only(door.port, near) == Finding("fine", "port", str(shared_gateway.port))


def test_a_gateway_that_was_pointed_at_itself_is_told(tmp_path: Path, served: Served, beside: dict[str, str]) -> None:
    assert found(door.surroundings, beside) == []
    served.stop()
    with Served(served.home, port=served.port, OPENAI_BASE_URL=f"{served.url}/v1"):
        finding = only(door.surroundings, beside)
    assert (finding.state, finding.remedy) == ("look", "unset OPENAI_BASE_URL && membrain restart")


@pytest.mark.parametrize(("host", "state"), [("127.0.0.1", "fine"), ("::1", "fine"), (EVERYWHERE, "look")])
def test_an_address_that_others_can_reach_is_told(host: str, state: str, environ: dict[str, str]) -> None:
    finding = only(door.address, {**environ, "MEMBRAIN_HOST": host})
    assert (finding.state, finding.words.split(",")[0].split(":  ")[0].startswith(host)) == (state, True)
    assert bool(finding.remedy) is (state == "look")


@pytest.mark.parametrize(
    ("mode", "host", "state", "words"),
    [
        ("local", "127.0.0.1", "fine", "this user's programs need no client key, everyone else does"),
        ("token", "127.0.0.1", "fine", "everyone needs a client key"),
        ("off", "127.0.0.1", "look", "nobody needs a client key: every user of this machine may ask"),
        ("off", EVERYWHERE, "fine", "everyone needs a client key"),
    ],
)
def test_who_needs_a_key_is_told(mode: str, host: str, state: str, words: str, environ: dict[str, str]) -> None:
    finding = only(door.callers, {**environ, "MEMBRAIN_AUTH_MODE": mode, "MEMBRAIN_HOST": host})
    assert (finding.state, finding.words) == (state, words)


def test_a_running_gateway_says_itself_who_needs_a_key(environ: dict[str, str]) -> None:
    someone = patient({**environ, "MEMBRAIN_AUTH_MODE": "local"})
    someone.reach.running = daemon.Running(1, "127.0.0.1", 1, "", "", "", {"auth": "off"})
    (finding,) = door.callers(someone)
    assert (finding.state, finding.remedy) == ("look", "membrain config set auth.mode local && membrain restart")


@pytest.mark.parametrize(
    ("mode", "state"), [("redact", "fine"), ("block", "fine"), ("pass", "look"), ("log", "look"), ("alert", "look")]
)
def test_a_mode_in_which_values_leave_is_told(mode: str, state: str, environ: dict[str, str]) -> None:
    finding = only(door.masking, {**environ, "MEMBRAIN_PII_ON_FIND": mode})
    assert finding.state == state
    assert bool(finding.remedy) is (state == "look")


def test_a_rule_by_which_values_leave_is_told(environ: dict[str, str]) -> None:
    rules = {"MEMBRAIN_PII_RULES": "SECRET=block,acme:EMAIL=pass"}
    findings = found(door.masking, {**environ, **rules})
    assert [(each.state, each.words) for each in findings] == [
        ("fine", "redact, standard"),
        ("look", "by the rule acme:EMAIL=pass, that leaves as it is"),
    ]


@pytest.mark.parametrize(
    ("variable", "setting"),
    [
        ("HTTPS_PROXY", "egress.proxy"),
        ("all_proxy", "egress.proxy"),
        ("SSL_CERT_FILE", "egress.ca_file"),
        ("NODE_EXTRA_CA_CERTS", "egress.ca_file"),
    ],
)
def test_a_way_out_that_only_the_shell_knows_is_told_and_not_shown(
    variable: str, setting: str, environ: dict[str, str], tmp_path: Path
) -> None:
    certificates = tmp_path / "canary.pem"
    certificates.touch()
    given = {"egress.proxy": "http://canary:3128", "egress.ca_file": str(certificates)}[setting]
    finding = only(door.network, {**environ, variable: given})
    assert (finding.state, finding.remedy) == (
        "look",
        f'membrain config set {setting} "${variable}" && membrain restart',
    )
    assert "canary" not in str(finding)
    own = f"MEMBRAIN_{setting.upper().replace('.', '_')}"
    assert found(door.network, {**environ, variable: given, own: given}) == []


def test_without_such_a_variable_nothing_is_said(environ: dict[str, str]) -> None:
    assert found(door.network, environ) == []
