"""`keys`: in hidden, out once, and never in between."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from membrain_cli.console import Exit
from membrain_cli.reach import Reach
from tests.cli.shell import command, invoke, membrain
from tests.cli.terminal import Terminal
from tests.served import Served
from tests.sink import Reply, Sink

KEY = "sk-canary-4711-abcdefghij4f2a"
REFUSAL = Reply(
    401, {"error": {"message": "Incorrect API key.", "type": "authentication_error", "code": "invalid_api_key"}}
)
"""How a provider refuses a key."""


@pytest.fixture
def at_sink(beside: dict[str, str], sink: Sink) -> dict[str, str]:
    """The environment of somebody whose providers are the sink, with a gateway that runs."""
    return {**beside, "UPSTREAM_OPENAI_URL": f"{sink.url}/v1", "UPSTREAM_ANTHROPIC_URL": sink.url}


@pytest.fixture
def keyless(tmp_path: Path, sink: Sink, environ: dict[str, str]) -> dict[str, str]:
    """The same, with the gateway down and no key anywhere."""
    return {**environ, "UPSTREAM_OPENAI_URL": f"{sink.url}/v1", "UPSTREAM_ANTHROPIC_URL": sink.url}


def file_of(environ: dict[str, str]) -> Path:
    return Path(environ["MEMBRAIN_HOME"]) / "config" / "keys.json"


# --- setting -----------------------------------------------------------------------------------------------


def test_a_key_is_typed_hidden_tried_and_kept(keyless: dict[str, str]) -> None:
    with Terminal(command("keys", "set", "openai"), keyless) as terminal:
        terminal.expect("Paste the key for openai (hidden): ")
        terminal.type(f"{KEY}\r")
        told = terminal.expect("read")
        assert "✓ openai works (" in told
        assert "kept in a file only you can read" in terminal.text
        assert terminal.finish() == 0
        assert "canary" not in terminal.text
    assert json.loads(file_of(keyless).read_text()) == {"openai": KEY}


def test_a_key_comes_through_stdin(keyless: dict[str, str], sink: Sink) -> None:
    ran = membrain("keys", "set", "anthropic", "--stdin", environ=keyless, stdin=f"{KEY}\n")
    assert (ran.status, ran.out) == (0, "")
    assert ran.err.startswith("✓ anthropic works (")
    assert "canary" not in ran.err
    assert KEY.encode() in sink.bytes_seen()


def test_the_running_gateway_has_it_at_once(served: Served, at_sink: dict[str, str], sink: Sink) -> None:
    """Without a restart: the next question goes out with the new key."""
    served.stop()
    with Served(served.home, sink, port=served.port, OPENAI_API_KEY="", MEMBRAIN_SECRETS_BACKEND="file") as fresh:
        assert fresh.chat("Hello").status == 503
        ran = invoke(["keys", "set", "openai", "--stdin"], at_sink, stdin=KEY)
        assert ran.err.endswith("The running gateway has it now.\n"), ran.err
        assert fresh.chat("Hello").status == 200
    assert f"Bearer {KEY}".encode() in sink.bytes_seen()


def test_a_key_as_an_argument_is_not_read_and_not_repeated(environ: dict[str, str]) -> None:
    ran = invoke(["keys", "set", "openai", KEY], environ)
    assert (ran.status, ran.out) == (Exit.USAGE, "")
    assert ran.err.splitlines() == [
        "✗ A key on the command line stays in your shell history. I did not read it.",
        "  Type it hidden     membrain keys set openai",
        "  From a program     … | membrain keys set openai --stdin",
    ]
    assert not file_of(environ).exists()


@pytest.mark.parametrize(
    "argv",
    [
        ["keys", "set", KEY],
        ["keys", "set", KEY, KEY],
        ["keys", "set", "openai", KEY, KEY],
        ["keys", "set", "openai", "--stdin", KEY],
        ["keys", "set", "opnai", KEY],
        ["keys", "rm", KEY],
        ["keys", "test", KEY],
        ["keys", "rm", "openai", KEY],
    ],
)
def test_a_key_in_any_wrong_place_is_not_repeated(argv: list[str], environ: dict[str, str]) -> None:
    ran = invoke(argv, environ)
    assert ran.status == Exit.USAGE
    assert "canary" not in ran.out + ran.err


def test_a_provider_nobody_knows_is_refused_with_those_there_are(environ: dict[str, str]) -> None:
    ran = invoke(["keys", "set", "opnai", "--stdin"], environ, stdin=KEY)
    assert ran.status == Exit.USAGE
    assert "These do: openai, anthropic. Did you mean openai?" in ran.err


def test_a_provider_of_the_user_s_own_takes_a_key(keyless: dict[str, str], sink: Sink) -> None:
    own = {**keyless, "MEMBRAIN_PROVIDERS_GROQ_URL": f"{sink.url}/v1"}
    assert invoke(["keys", "set", "groq", "--stdin"], own, stdin=KEY).status == 0


@pytest.mark.parametrize("typed", ["", "\n", "   "])
def test_no_key_is_no_key(typed: str, environ: dict[str, str]) -> None:
    ran = invoke(["keys", "set", "openai", "--stdin"], environ, stdin=typed)
    said = "✗ No key was given.\n  From a program     … | membrain keys set openai --stdin\n"
    assert (ran.status, ran.err) == (Exit.USAGE, said)


@pytest.mark.parametrize("text", ["ck_live_0123456789abcdef", "sk-...", "shrt", "with a space in it"])
def test_what_is_no_key_is_not_kept(text: str, environ: dict[str, str]) -> None:
    ran = invoke(["keys", "set", "openai", "--stdin"], environ, stdin=text)
    assert ran.status == Exit.FAILED
    assert text not in ran.err
    assert not file_of(environ).exists()


def test_a_key_that_the_provider_refuses_is_told(keyless: dict[str, str], sink: Sink) -> None:
    sink.script("/v1/models", REFUSAL, forever=True)
    ran = invoke(["keys", "set", "openai", "--stdin"], keyless, stdin=KEY)
    assert ran.status == Exit.KEY
    assert "openai refused it" in ran.err


def test_a_key_that_cannot_be_tried_is_kept_all_the_same(environ: dict[str, str]) -> None:
    away = {**environ, "UPSTREAM_OPENAI_URL": "http://127.0.0.1:9/v1"}
    ran = invoke(["keys", "set", "openai", "--stdin"], away, stdin=KEY)
    assert ran.status == Exit.UPSTREAM
    assert ran.err.startswith("! The key for openai is kept in")
    assert "membrain keys test openai" in ran.err
    assert file_of(environ).exists()


def test_a_key_in_the_environment_goes_before_it_and_that_is_told(keyless: dict[str, str]) -> None:
    ran = invoke(["keys", "set", "openai", "--stdin"], {**keyless, "OPENAI_API_KEY": "sk-other-0123456789"}, stdin=KEY)
    assert "OPENAI_API_KEY is set in this shell and goes before it." in ran.err


def test_without_a_keyring_it_says_what_to_do(environ: dict[str, str]) -> None:
    bare = {name: value for name, value in environ.items() if name != "MEMBRAIN_SECRETS_BACKEND"}
    ran = membrain("keys", "set", "openai", "--stdin", environ=bare, stdin=KEY)
    assert ran.status == Exit.FAILED
    assert ran.err.splitlines() == [
        "✗ This machine has no keyring.",
        "  For one session    export OPENAI_API_KEY=…          (read by `membrain up`)",
        "  For good           membrain config set secrets.backend file   (a file only you can read)",
    ]


def test_without_a_terminal_it_names_the_flag(environ: dict[str, str]) -> None:
    ran = invoke(["keys", "set", "openai"], environ)
    assert ran.status == Exit.USAGE
    assert "--stdin" in ran.err


def test_set_as_json_tells_how_it_went(keyless: dict[str, str]) -> None:
    ran = invoke(["keys", "set", "openai", "--stdin", "--json"], keyless, stdin=KEY)
    told = json.loads(ran.out)
    assert (told["name"], told["ok"], told["running_gateway_has_it"]) == ("openai", True, False)
    assert "canary" not in ran.out


# --- removing, testing -------------------------------------------------------------------------------------


@pytest.fixture
def with_key(keyless: dict[str, str]) -> dict[str, str]:
    assert invoke(["keys", "set", "openai", "--stdin"], keyless, stdin=KEY).status == 0
    return keyless


def test_removing_asks_first(with_key: dict[str, str]) -> None:
    with Terminal(command("keys", "rm", "openai"), with_key) as terminal:
        terminal.expect("Remove the key for openai? [y/N] ")
        terminal.type("\r")
        terminal.expect("Nothing was removed.")
        assert terminal.finish() == Exit.FAILED
    assert "openai" in file_of(with_key).read_text()


def test_removing_takes_yes_as_a_flag(with_key: dict[str, str]) -> None:
    assert invoke(["keys", "rm", "openai"], with_key).status == Exit.USAGE
    assert invoke(["keys", "rm", "openai", "--yes"], with_key).err.startswith("✓ Removed.")
    assert invoke(["keys", "rm", "openai", "--yes"], with_key).err == "· No key for openai was kept.\n"
    assert json.loads(invoke(["keys", "rm", "openai", "-y", "--json"], with_key).out) == {
        "name": "openai",
        "removed": False,
    }


def test_keys_are_tried(with_key: dict[str, str]) -> None:
    ran = invoke(["keys", "test"], with_key, tty=True)
    assert ran.status == 0
    assert ran.out.split()[:4] == ["✓", "openai", "key", "works,"]


def test_a_key_that_does_not_work_fails_the_test(with_key: dict[str, str], sink: Sink) -> None:
    sink.script("/v1/models", REFUSAL, forever=True)
    ran = invoke(["keys", "test", "openai"], with_key)
    assert ran.status == Exit.KEY
    assert ran.out.startswith("false\topenai\t")


def test_no_key_to_try_is_told(environ: dict[str, str]) -> None:
    ran = invoke(["keys", "test"], environ)
    assert ran.status == Exit.KEY
    assert "membrain keys set openai" in ran.err


# --- issuing, revoking -------------------------------------------------------------------------------------


def test_an_issued_key_is_alone_on_stdout(served: Served, beside: dict[str, str]) -> None:
    ran = membrain("keys", "issue", "aider", "--project", "web", environ=beside)
    assert ran.err == "Issued to aider. It will not be shown again.\n"
    assert served.get("/v1/models", **{"x-membrain-api-key": ran.out.strip()}).status == 200


def test_an_issued_key_as_json(beside: dict[str, str], served: Served) -> None:
    told = json.loads(invoke(["keys", "issue", "aider", "--json"], beside).out)
    assert told["key"].startswith("ck_live_")
    assert "digest" not in told


def test_a_name_can_be_had_once(served: Served, beside: dict[str, str]) -> None:
    assert invoke(["keys", "issue", "aider"], beside).status == 0
    ran = invoke(["keys", "issue", "aider"], beside)
    assert ran.status == Exit.FAILED
    assert "aider" in ran.err


def test_revoking_asks_and_tells_whom_it_meets(served: Served, beside: dict[str, str]) -> None:
    key = invoke(["keys", "issue", "aider"], beside).out.strip()
    with Terminal(command("keys", "revoke", "aider"), beside) as terminal:
        terminal.expect(f"Revoke ck_live_…{key[-4:]} (aider, never used)? [y/N] ")
        terminal.type("y\r")
        terminal.expect("✓ Revoked. Requests with it are refused from now on.")
        assert terminal.finish() == 0
    assert served.get("/v1/models", **{"x-membrain-api-key": key}).status == 401


def test_revoking_what_is_not_there_is_told(served: Served, beside: dict[str, str]) -> None:
    ran = invoke(["keys", "revoke", "nobody", "--yes"], beside)
    assert (ran.status, ran.err.splitlines()[0]) == (Exit.FAILED, "✗ There is no such client key.")


def test_revoking_without_an_answer_changes_nothing(served: Served, beside: dict[str, str]) -> None:
    invoke(["keys", "issue", "aider"], beside)
    assert invoke(["keys", "revoke", "aider"], beside).status == Exit.USAGE
    ran = invoke(["keys", "revoke", "aider"], beside, tty=True, stdin="n\n")
    assert ran.status == Exit.FAILED
    assert [key.name for key in Reach(beside).client_keys()] == ["this machine", "aider"]


def test_revoking_as_json(served: Served, beside: dict[str, str]) -> None:
    invoke(["keys", "issue", "aider"], beside)
    assert json.loads(invoke(["keys", "revoke", "aider", "--yes", "--json"], beside).out)["name"] == "aider"


# --- limits, rotation --------------------------------------------------------------------------------------

NARROW = [
    *("--project", "web", "--scope", "ask", "--expires", "30d", "--model", "gpt-4o*", "--model", "claude-*"),
    *("--budget-day", "2.00", "--budget-month", "$50", "--budget-total", "99.5", "--rpm", "60", "--tpm", "100000"),
    *("--tier", "speed", "--private"),
]


@pytest.fixture(params=["beside", "environ"], ids=["up", "down"])
def either(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of somebody whose gateway runs, or does not."""
    found: dict[str, str] = request.getfixturevalue(request.param)
    return found


def test_a_key_is_issued_with_limits(either: dict[str, str]) -> None:
    told = json.loads(invoke(["keys", "issue", "aider", *NARROW, "--json"], either).out)
    days = datetime.fromisoformat(told["rights"].pop("expires")) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < days < timedelta(days=30)
    assert told["rights"] == {
        "scopes": ["ask"],
        "models": ["gpt-4o*", "claude-*"],
        "budget": {"day": 2_000_000, "month": 50_000_000, "total": 99_500_000},
        "rate": {"requests": 60, "tokens": 100_000},
        "tier": "fast",
        "private": True,
    }
    assert told["expired"] is False
    (row,) = [key for key in Reach(either).client_keys() if key.name == "aider"]
    assert row.rights.budget.day == 2_000_000


def test_limits_and_ends_are_shown(environ: dict[str, str]) -> None:
    invoke(["keys", "issue", "aider", *NARROW], environ)
    invoke(["keys", "issue", "ci"], environ)
    invoke(["keys", "issue", "old", "--expires", "1d"], environ)
    later = datetime.now(UTC) + timedelta(days=2)
    page = invoke(["keys"], {**environ, "COLUMNS": "200"}, tty=True, now=later).out.splitlines()
    aider, limits, ci, old, over = page[-5:]
    assert aider.endswith("   aider    project web      never used")
    assert limits == (
        " " * 18 + "$2.00 a day · $50.00 a month · $99.50 in all · 60 requests a minute · 100,000 tokens a minute"
        " · only gpt-4o*, claude-* · tier fast · private · may ask · 27 days left"
    )
    assert ci.endswith("   ci       project default  never used")
    assert old.endswith("   old      project default  never used")
    assert over == " " * 18 + "expired"


def test_limits_are_wrapped_where_the_terminal_is_narrow(environ: dict[str, str]) -> None:
    invoke(["keys", "issue", "aider", *NARROW], environ)
    page = invoke(["keys"], {**environ, "COLUMNS": "60"}, tty=True).out.splitlines()
    limits = [line for line in page if line.startswith(" " * 18)]
    assert len(limits) > 3
    assert max(map(len, limits)) <= 60


def test_programs_are_told_limits_too(environ: dict[str, str]) -> None:
    invoke(["keys", "issue", "aider", "--expires", "2096-01-01T00:00:00Z"], environ)
    (key,) = json.loads(invoke(["keys", "--json"], environ).out)["client_keys"]
    assert (key["rights"]["expires"], key["expired"]) == ("2096-01-01T00:00:00Z", False)
    line = invoke(["keys", "list"], environ).out.splitlines()[-1]
    assert line.split("\t")[-1] == "2096-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--budget-day", "free"], "--budget-day must be dollars above 0"),
        (["--budget-total", "0"], "--budget-total must be dollars above 0"),
        (["--expires", "soon"], '"soon" is no time'),
        (["--expires", "2020-01-01"], "a time to come"),
        (["--scope", "root"], "No scope root. There are ask, read, admin."),
        (["--tier", "turbo"], "No tier turbo."),
        (["--rpm", "0"], "rpm"),
        (["--tpm", "many"], "tpm"),
    ],
)
def test_a_limit_that_is_none_makes_no_key(environ: dict[str, str], words: list[str], told: str) -> None:
    ran = invoke(["keys", "issue", "aider", *words], environ)
    assert (ran.status, ran.out) == (Exit.USAGE, "")
    assert told in ran.err
    assert Reach(environ).client_keys() == []


def test_a_rotated_key_is_alone_on_stdout(either: dict[str, str]) -> None:
    old = invoke(["keys", "issue", "aider", *NARROW], either).out
    ran = invoke(["keys", "rotate", "aider"], either)
    assert ran.err == ("This is aider's new key. It will not be shown again. The old one is refused from now on.\n")
    assert ran.out.startswith("ck_live_")
    assert ran.out != old
    told = json.loads(invoke(["keys", "rotate", "aider", "--grace", "10m", "--json"], either).out)
    assert told["key"].startswith("ck_live_")
    assert told["rights"]["models"] == ["gpt-4o*", "claude-*"]
    assert "digest" not in told


def test_what_cannot_be_rotated_is_told(served: Served, beside: dict[str, str]) -> None:
    for words, said in (
        (["nobody"], "There is no such client key."),
        (["this machine"], "This machine's own key stays as it is."),
        (["nobody", "--grace", "ten"], '"ten" is no time'),
    ):
        ran = invoke(["keys", "rotate", *words], beside)
        assert (bool(ran.status), ran.out) == (True, "")
        assert said in ran.err


def test_a_running_gateway_refuses_the_old_key_at_once(served: Served, beside: dict[str, str]) -> None:
    """While others go on asking: no request that begins afterwards gets through."""

    def verdict(key: str) -> int:
        return served.post("/v1/chat/completions", ASKED, **{"x-api-key": key}).status

    first = invoke(["keys", "issue", "aider"], beside).out.strip()
    assert verdict(first) == 200
    second = invoke(["keys", "rotate", "aider"], beside).out.strip()
    assert (verdict(first), verdict(second)) == (401, 200)
    third = invoke(["keys", "rotate", "aider", "--grace", "1h"], beside).out.strip()
    assert (verdict(second), verdict(third)) == (200, 200)
    assert invoke(["keys", "revoke", "aider", "--yes"], beside).status == 0
    assert [verdict(key) for key in (first, second, third)] == [401, 401, 401]
    log = served.assert_sound()
    assert not any(key[8:] in log for key in (first, second, third))


def test_what_happened_while_it_was_down_holds_when_it_is_up(served: Served, beside: dict[str, str]) -> None:
    served.stop()
    first = invoke(["keys", "issue", "aider", "--scope", "read"], beside).out.strip()
    second = invoke(["keys", "rotate", "aider", "--grace", "1h"], beside).out.strip()
    other = invoke(["keys", "issue", "other"], beside).out.strip()
    third = invoke(["keys", "rotate", "other"], beside).out.strip()
    served.start()
    asked = [served.post("/v1/chat/completions", ASKED, **{"x-api-key": key}) for key in (first, second, other, third)]
    assert [answer.status for answer in asked] == [403, 403, 401, 200]
    assert asked[0].json()["error"]["code"] == "scope_missing"


ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}


def test_what_a_key_cost_today_is_told(served: Served, beside: dict[str, str]) -> None:
    key = invoke(["keys", "issue", "aider"], beside).out.strip()
    assert served.post("/v1/chat/completions", ASKED, **{"x-api-key": key}).status == 200
    lines = invoke(["keys"], beside, tty=True).out.splitlines()
    (aider,) = [line for line in lines if "aider" in line]
    assert aider.endswith(" today")
    assert "     $" in aider
    tomorrow = invoke(["keys"], beside, tty=True, now=datetime.now(UTC) + timedelta(days=1)).out
    assert " today" not in tomorrow


def test_no_key_is_an_argument_of_any_process_or_in_the_database(served: Served, beside: dict[str, str]) -> None:
    """The commands take names; what they make goes to stdout alone."""
    ran = [
        membrain("keys", *words, environ=beside) for words in (["issue", "aider"], ["rotate", "aider", "--grace", "1h"])
    ]
    strings = [each.out.strip()[8:] for each in ran]
    assert [len(each) for each in strings] == [32, 32]
    assert not any(string in each.err for string in strings for each in ran)
    kept = [path for path in Path(beside["MEMBRAIN_HOME"]).rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in kept)
    for string in strings:
        assert not any(string.encode() in path.read_bytes() for path in kept)
        assert string not in served.assert_sound()


# --- showing -----------------------------------------------------------------------------------------------


def test_a_person_sees_both_kinds(served: Served, beside: dict[str, str]) -> None:
    here = {**beside, "OPENAI_API_KEY": KEY, "COLUMNS": "300"}
    key = invoke(["keys", "issue", "aider", "--project", "web"], beside).out.strip()
    served.get("/v1/models", **{"x-membrain-api-key": key})
    ran = invoke(["keys"], here, tty=True)
    lines = ran.out.splitlines()
    assert lines[0].split("  ")[0] == "Provider keys"
    assert lines[0].endswith("keys.json)")
    assert lines[1].split() == ["openai", "sk-…4f2a", "from", "the", "environment", "✓", "works"]
    assert lines[2].split() == ["anthropic", "not", "set", "membrain", "keys", "set", "anthropic"]
    assert lines[4] == f"{'Client keys':<43}programs of yours on this machine need none"
    assert lines[5].endswith("this machine             made by `membrain up`; used by env, run and chat")
    assert lines[6].startswith(f"  ck_live_…{key[-4:]}   aider    project web ")
    assert "canary" not in ran.out


def test_when_a_key_was_last_used_is_told(served: Served, beside: dict[str, str]) -> None:
    key = invoke(["keys", "issue", "aider"], beside).out.strip()
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    assert served.post("/v1/chat/completions", body, **{"x-membrain-api-key": key}).status == 200
    later = datetime.now(UTC) + timedelta(minutes=4)
    served.stop()
    assert "last used 4 min ago" in invoke(["keys"], beside, tty=True, now=later).out


def test_a_pipe_gets_one_table(served: Served, beside: dict[str, str]) -> None:
    kinds = [line.split("\t")[0] for line in invoke(["keys", "list"], beside).out.splitlines()]
    assert kinds == ["provider", "provider", "client"]


def test_json_holds_neither_keys_nor_digests(served: Served, beside: dict[str, str]) -> None:
    ran = invoke(["keys", "--json"], {**beside, "OPENAI_API_KEY": KEY})
    told = json.loads(ran.out)
    assert told["provider_keys"][0]["key"] == "sk-…4f2a"
    assert told["client_keys"][0]["name"] == "this machine"
    assert "canary" not in ran.out
    assert "digest" not in ran.out


def test_before_the_first_start_there_are_no_client_keys(environ: dict[str, str]) -> None:
    assert "none yet" in invoke(["keys"], environ, tty=True).out


def test_providers_are_completed(environ: dict[str, str]) -> None:
    from membrain_cli.commands.keys import providers

    invoke(["--version"], environ)
    assert providers("op") == ["openai"]
