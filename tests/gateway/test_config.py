"""Default, file, environment: who wins, what is refused and with which words, and that the file is left as it was."""

from __future__ import annotations

import os
import re
import stat
import tomllib
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from membrain.config import load, ollama_url, save, settings_table, spell, unset, variable
from membrain.errors import Misconfigured
from membrain.places import Places
from membrain.settings import NAMED, ModelPrice, Settings

SAMPLES: dict[str, tuple[str, Any]] = {
    "host": ("::1", "::1"),
    "port": ("9000", 9000),
    "tier": ("fast", "fast"),
    "auth.mode": ("token", "token"),
    "audit.durability": ("full", "full"),
    "pii.level": ("strict", "strict"),
    "pii.on_find": ("block", "block"),
    "pii.rules": ("SECRET=block,acme:EMAIL=pass", ("SECRET=block", "acme:EMAIL=pass")),
    "pii.answers": ("block", "block"),
    "pii.mask_local": ("on", True),
    "pii.url_tools": ("fetch,browser_*", ("fetch", "browser_*")),
    "pii.engine": ("presidio", "presidio"),
    "pii.scan_seconds": ("3", 3),
    "pii.hold_seconds": ("30", 30),
    "audit.content": ("masked", "masked"),
    "audit.keep_days": ("7", 7),
    "budget.day": ("2.5", 2.5),
    "budget.month": ("60", 60.0),
    "budget.total": ("0", 0.0),
    "budget.rules": ("project:web:day=5.00,user:*:total=1", ("project:web:day=5.00", "user:*:total=1")),
    "rate.requests": ("60", 60),
    "rate.tokens": ("100000", 100_000),
    "rate.rules": ("project:web:requests=60", ("project:web:requests=60",)),
    "cache.mode": ("on", "on"),
    "cache.max_mb": ("8", 8),
    "cache.answer_kb": ("16", 16),
    "cache.keep_hours": ("1", 1),
    "otel.endpoint": ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
    "secrets.backend": ("file", "file"),
    "providers.openai.url": ("https://one.example/v1", "https://one.example/v1"),
    "providers.anthropic.url": ("https://two.example", "https://two.example"),
    "providers.ollama.url": ("http://127.0.0.1:1234", "http://127.0.0.1:1234"),
    "providers.claude-cli.enabled": ("off", False),
    "providers.claude-cli.path": ("/opt/claude code/claude", "/opt/claude code/claude"),
    "providers.claude-cli.model": ("opus", "opus"),
    "providers.litellm.enabled": ("no", False),
    "providers.NAME.url": ("https://own.example/v1", "https://own.example/v1"),
    "providers.NAME.models": ("a,b/c", ("a", "b/c")),
    "providers.NAME.local": ("yes", True),
    "providers.NAME.speaks": ("responses,messages", ("responses", "messages")),
    "local.enabled": ("off", False),
    "local.threads": ("2", 2),
    "local.context": ("2048", 2048),
    "local.slots": ("3", 3),
    "local.idle_seconds": ("10", 10),
    "limits.body_mb": ("5", 5),
    "limits.depth": ("50", 50),
    "limits.connect_seconds": ("0.5", 0.5),
    "limits.first_byte_seconds": ("6", 6),
    "limits.whole_seconds": ("60", 60),
    "limits.idle_seconds": ("7", 7),
    "limits.answer_mb": ("8", 8),
    "limits.event_mb": ("2", 2),
    "limits.drain_seconds": ("1", 1),
    "egress.proxy": ("http://proxy.corp:3128", "http://proxy.corp:3128"),
    "egress.ca_file": (__file__, __file__),
    "log.level": ("debug", "debug"),
    **{name: ("ctrl+f", "ctrl+f") for name in dict(Settings().items()) if name.startswith("tui.keys.")},
    "tiers.fast": ("gpt-4o-mini,ollama/llama3", ("gpt-4o-mini", "ollama/llama3")),
    "tiers.balanced": ("gpt-4o", ("gpt-4o",)),
    "tiers.best": ("o1, o3", ("o1", "o3")),
    "routing.prefer": ("ollama,claude-cli,groq", ("ollama", "claude_cli", "groq")),
    "routing.fallback": ("off", False),
    "routing.breaker": ("off", False),
    "routing.attempts": ("5", 5),
    "aliases.NAME": ("gpt-4o-mini", "gpt-4o-mini"),
    "prices.NAME": ("1/2.5", ModelPrice(1.0, 2.5)),
}
"""For each setting a text and its value, other than the default; a new setting needs a line here."""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places.find({"MEMBRAIN_HOME": str(tmp_path / "home")}).create()


def written(places: Places, text: str) -> Places:
    places.config_file.write_text(text, encoding="utf-8")
    return places


def refused(places: Places, text: str) -> Misconfigured:
    """What `load` says about a settings file with this text."""
    with pytest.raises(Misconfigured) as caught:
        load({}, written(places, text))
    return caught.value


# ---------------------------------------------------------------- who wins


def test_there_is_a_sample_of_every_setting() -> None:
    assert set(SAMPLES) == {row.name for row in settings_table()}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_setting_can_be_set_in_the_environment(places: Places, name: str) -> None:
    text, value = SAMPLES[name]
    front = "my-box=" if name.partition(".")[0] in NAMED else ""
    environ = {variable(name.replace("NAME", "my-box")): front + text}
    if name.startswith("providers.") and name.endswith((".models", ".local", ".speaks")):
        environ["MEMBRAIN_PROVIDERS_MY_BOX_URL"] = "https://own.example"
    settings = load(environ, places)
    name = name.replace("NAME", "my-box")
    assert settings.value(name) == value
    assert settings.origin(name) == variable(name)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_setting_can_be_saved_to_the_file_and_taken_out_again(places: Places, name: str) -> None:
    text, value = SAMPLES[name]
    name = name.replace("NAME", "my-box")
    if name.startswith("providers.") and name.endswith((".models", ".local", ".speaks")):
        save(places, "providers.my-box.url", "https://own.example")
    assert save(places, name, text) == value
    settings = load({}, places)
    assert settings.value(name) == value
    assert settings.origin(name) == "config.toml"
    assert save(places, name, value) == value, "as a value too"
    assert unset(places, name) is True
    assert name not in load({}, places).origins
    assert unset(places, name) is False


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(places: Places) -> None:
    written(places, "port = 1\ntier = 'fast'\n")
    settings = load({"MEMBRAIN_PORT": "2"}, places)
    assert [settings.port, settings.tier, settings.host] == [2, "fast", "127.0.0.1"]
    assert [settings.origin(name) for name in ("port", "tier", "host")] == ["MEMBRAIN_PORT", "config.toml", "default"]


def test_without_places_the_environment_says_where_the_file_is(places: Places) -> None:
    written(places, "port = 1\n")
    assert load({"MEMBRAIN_HOME": str(places.home)}).port == 1


def test_loading_writes_nothing(tmp_path: Path) -> None:
    load({"MEMBRAIN_HOME": str(tmp_path / "home")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("well_known", "name"),
    [
        ("OLLAMA_URL", "providers.ollama.url"),
        ("UPSTREAM_ANTHROPIC_URL", "providers.anthropic.url"),
        ("UPSTREAM_OPENAI_URL", "providers.openai.url"),
    ],
)
def test_well_known_variables_win_over_the_file_and_lose_to_our_own(places: Places, well_known: str, name: str) -> None:
    save(places, name, "https://file.example")
    environ = {well_known: "https://known.example/"}
    assert load(environ, places).value(name) == "https://known.example"
    assert load(environ, places).origin(name) == well_known
    environ[variable(name)] = "https://ours.example"
    assert load(environ, places).value(name) == "https://ours.example"


def test_ollamas_own_variable_is_the_weakest(places: Places) -> None:
    environ = {"OLLAMA_HOST": "0.0.0.0:5000"}
    settings = load(environ, places)
    assert settings.ollama_url == "http://127.0.0.1:5000"
    assert settings.origin("providers.ollama.url") == "OLLAMA_HOST"
    assert load({**environ, "OLLAMA_URL": "http://127.0.0.1:1"}, places).ollama_url == "http://127.0.0.1:1"
    save(places, "providers.ollama.url", "http://127.0.0.1:2")
    assert load({"OLLAMA_HOST": "gpu-box"}, places).ollama_url == "http://127.0.0.1:2", "and not even judged"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        (":5000", "http://127.0.0.1:5000"),
        ("0.0.0.0", "http://127.0.0.1:11434"),  # noqa: S104  # read, not bound
        ("[::]:5000", "http://[::1]:5000"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ('"localhost"', "http://localhost:11434"),
        ("http://localhost", "http://localhost"),
        ("https://ollama.example/prefix/", "https://ollama.example/prefix/"),
        ("https://ollama.example:8443", "https://ollama.example:8443"),
    ],
)
def test_ollamas_own_spelling_is_understood(text: str, url: str) -> None:
    assert ollama_url(text) == url


def test_base_urls_are_never_read(places: Places) -> None:
    """`membrain env` exports them, and they lead to this gateway itself."""
    loop = {"OPENAI_BASE_URL": "http://127.0.0.1:8001/v1", "ANTHROPIC_BASE_URL": "http://127.0.0.1:8001"}
    assert load({**loop, "OPENAI_API_BASE": loop["OPENAI_BASE_URL"]}, places) == load({}, places)


def test_an_empty_variable_sets_nothing(places: Places) -> None:
    settings = load({"MEMBRAIN_PORT": "", "OLLAMA_URL": " ", "OLLAMA_HOST": ""}, places)
    assert settings.origins == {}


def test_other_spellings_of_a_tier_are_understood(places: Places) -> None:
    assert load({}, written(places, "tier = 'quality'\n")).tier == "best"
    assert load({"MEMBRAIN_TIER": "Speed"}, places).tier == "fast"
    assert save(places, "tier", "speed") == "fast"
    assert places.config_file.read_text() == 'tier = "fast"\n'


def test_nothing_is_read_from_the_working_directory(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cloned repository must not redirect anything."""
    for name in ("config.toml", "membrain.toml", ".membrain.toml", ".env", "pyproject.toml"):
        (tmp_path / name).write_text("port = 666\nMEMBRAIN_PORT=666\n[tool.membrain]\nport = 666\n")
    monkeypatch.chdir(tmp_path)
    assert load({"MEMBRAIN_HOME": str(places.home)}).origins == {}


def test_keys_come_with_the_settings_and_only_when_asked_for(places: Places) -> None:
    settings = load({"OPENAI_API_KEY": "sk-canary-0123456789", "MEMBRAIN_SECRETS_BACKEND": "file"}, places)
    assert settings.openai_api_key == "sk-canary-0123456789"
    assert settings.anthropic_api_key is None
    assert settings.keys is not None
    settings.keys.set("anthropic", "sk-ant-0123456789")
    assert settings.anthropic_api_key == "sk-ant-0123456789"


# ---------------------------------------------------------------- what is refused, and how


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '# mine\n\n[limits]\n\n\n# how large\nbody_mb = "five"\n',
            'config.toml line 7: limits.body_mb is "five"; it must be a whole number, like 20',
        ),
        ("port = 99999\n", "config.toml line 1: port is 99999; it must be a whole number from 1 to 65535, like 8001"),
        ("\nport = true\n", "config.toml line 2: port is true; it must be a whole number, like 8001"),
        ("[port]\n", "config.toml line 1: port is a table; it must be a whole number, like 8001"),
        ("port = [1]\n", "config.toml line 1: port is a list; it must be a whole number, like 8001"),
        (
            f"port = {'9' * 30}\n",
            "config.toml line 1: port is far too large; it must be a whole number from 1 to 65535, like 8001",
        ),
        ("port = 1979-05-27\n", "config.toml line 1: port is 1979-05-27; it must be a whole number, like 8001"),
        ("auth.mode = 'on'\n", 'config.toml line 1: auth.mode is "on"; it must be one of local, token, off'),
        ("auth = 'token'\n", "config.toml line 1: auth is a table; write [auth] and its settings below it"),
        ("prot = 1\n", 'config.toml line 1: "prot" is no setting. Did you mean port?'),
        ("tier = 'fast'\n\n[auht]\nmode = 'off'\n", 'config.toml line 3: "auht" is no setting.'),
        ("[auth]\nmoed = 1\n", 'config.toml line 2: "auth.moed" is no setting. Did you mean auth.mode?'),
        ("body_mb = 1\n", 'config.toml line 1: "body_mb" is no setting. Did you mean limits.body_mb?'),
        (
            "providers.ollama.url = 'http://gpu-box:11434'\n",
            'config.toml line 1: providers.ollama.url is "http://gpu-box:11434"; it must be https, because plain http',
        ),
        (
            "[providers.groq]\nmodels = ['a']\n",
            "config.toml line 2: providers.groq.models is set, but providers.groq has no url; it must be where its API",
        ),
        (
            "[providers.local]\nurl = 'https://x.example'\n",
            'config.toml line 1: "local" cannot be the name of a provider of yours; small letters, digits and dashes',
        ),
        (
            "[providers.claude_cli]\nenabled = false\n",
            'config.toml line 1: "providers.claude_cli" is no setting. Did you mean providers.claude-cli.',
        ),
        (
            "[providers.claude-cli]\n\npath = './claude'\n",
            'config.toml line 3: providers.claude-cli.path is "./claude"; it must be a program\'s name, like claude',
        ),
        ("[tiers]\nfats = ['a']\n", 'config.toml line 2: "tiers.fats" is no setting. Did you mean tiers.fast?'),
        (
            "[tiers]\nfast = ['auto']\n",
            "config.toml line 2: tiers.fast is a list; it must be a list of models other than auto and default",
        ),
        (
            "[routing]\nattempts = 6\n",
            "config.toml line 2: routing.attempts is 6; it must be a whole number from 1 to 5, like 3",
        ),
        (
            "[routing]\nprefer = ['Anthropic, Inc.']\n",
            'config.toml line 2: routing.prefer is a list; it must be a list of providers, like ["anthropic"',
        ),
        (
            "[aliases]\na = 'x'\n\nb = 7\n",
            "config.toml line 4: aliases.b is 7; it must be a model's name, like gpt-4o-mini",
        ),
        (
            '[aliases]\na = "x\\r\\nhost: y"\n',
            "config.toml line 2: aliases.a cannot be used as it is; it must be a model's name",
        ),
        ("aliases = 'x'\n", "config.toml line 1: aliases is a table; write [aliases] and its settings below it"),
        (
            "[aliases]\ndefault = 'x'\n",
            'config.toml line 2: "default" cannot be a name in [aliases]; auto and default have a meaning already',
        ),
        (
            '[aliases]\n"a\\nb" = "x"\n',
            'config.toml line 2: "…" cannot be a name in [aliases]; it must be printable, without quotes, and have 256',
        ),
        (
            "[aliases]\ngpt-4.1 = 'x'\n",
            'config.toml line 2: aliases.gpt-4 has nothing named 1. A name with dots needs quotes, like "gpt-4.1".',
        ),
        (
            "[aliases]\nx = 'gpt-4o'\na = 'b'\nb = 'c'\nc = 'a'\n",
            "config.toml line 3: aliases.a goes in a circle: a → b → c → a",
        ),
        ("[aliases]\na = 'a'\n", "config.toml line 2: aliases.a goes in a circle: a → a"),
        (
            "[prices]\n\nm = [1, -2]\n",
            "config.toml line 3: prices.m is a list; it must be US dollars for a million tokens of input and of output",
        ),
        ("[prices.m]\ninput = 1\n", "config.toml line 1: prices.m is a table; it must be US dollars for a million"),
        (
            "[prices.m]\ninput = 1\n# and\noutput = 'two'\n",
            'config.toml line 4: prices.m.output is "two"; it must be a number of US dollars from 0 on, like 2.5',
        ),
        (
            "[prices.m]\ninput = 1\noutptu = 2\n",
            "config.toml line 3: prices.m has nothing named outptu. Did you mean output?",
        ),
        (
            "[prices]\ngpt-4.1 = [1, 2]\n",
            'config.toml line 2: prices.gpt-4 has nothing named 1. A name with dots needs quotes, like "gpt-4.1".',
        ),
        ("[providers.openai]\nmodels = []\n", 'config.toml line 2: "providers.openai.models" is no setting.'),
        ("port = 1\nport = 2\n", "config.toml line 2 is not TOML: Cannot overwrite a value"),
        ("[auth]\nmode = \n", "config.toml line 2 is not TOML: Invalid value"),
        ("a = '''\n\n", "config.toml line 2 is not TOML: Expected \"'''\""),
        (f"a = {'[' * 5000}\n", "config.toml holds a value that is too large, or too deep, to be read."),
        (f"a = {'9' * 5000}\n", "config.toml holds a value that is too large, or too deep, to be read."),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(places: Places, text: str, message: str) -> None:
    error = refused(places, text)
    assert error.message.startswith(message)
    assert error.hint is not None
    assert error.hint.startswith("membrain config ")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("MEMBRAIN_PORT", "five", 'MEMBRAIN_PORT is "five"; it must be a whole number, like 8001'),
        ("MEMBRAIN_LOCAL_ENABLED", "maybe", 'MEMBRAIN_LOCAL_ENABLED is "maybe"; it must be true or false'),
        ("OLLAMA_URL", "gpu-box", 'OLLAMA_URL is "gpu-box"; it must be a URL, like https://api.example.com/v1'),
        ("MEMBRAIN_PROT", "1", "MEMBRAIN_PROT sets nothing. Did you mean MEMBRAIN_PORT?"),
        ("MEMBRAIN_LIMITS_BODYMB", "1", "MEMBRAIN_LIMITS_BODYMB sets nothing. Did you mean MEMBRAIN_LIMITS_BODY_MB?"),
        ("MEMBRAIN_XYZZY", "", "MEMBRAIN_XYZZY sets nothing."),
        (
            "MEMBRAIN_PROVIDERS_OPENAI_MODELS",
            "a",
            "MEMBRAIN_PROVIDERS_OPENAI_MODELS sets nothing. Did you mean MEMBRAIN_PROVIDERS_OPENAI_URL?",
        ),
        ("MEMBRAIN_PROVIDERS_LOCAL_URL", "https://x.example", "MEMBRAIN_PROVIDERS_LOCAL_URL sets nothing."),
        (
            "MEMBRAIN_ALIASES",
            "a=b,c",
            "MEMBRAIN_ALIASES must be entries like fast-code=gpt-4o-mini, with commas between them",
        ),
        ("MEMBRAIN_ALIASES", "auto=b", 'MEMBRAIN_ALIASES: "auto" cannot be a name in [aliases]; auto and default have'),
        ("MEMBRAIN_ALIASES", "=b", 'MEMBRAIN_ALIASES: "" cannot be a name in [aliases]; it must be printable'),
        ("MEMBRAIN_ALIASES", "a=", 'MEMBRAIN_ALIASES: aliases.a is ""; it must be a model\'s name'),
        ("MEMBRAIN_ALIASES", "a=b, a=c", "MEMBRAIN_ALIASES sets aliases.a twice"),
        ("MEMBRAIN_ALIASES", "a=b,b=a", "MEMBRAIN_ALIASES: aliases.a goes in a circle: a → b → a"),
        ("MEMBRAIN_ALIASES_FAST", "a", "MEMBRAIN_ALIASES_FAST sets nothing. Did you mean MEMBRAIN_ALIASES?"),
        ("MEMBRAIN_PRICES", "a=1", "MEMBRAIN_PRICES: prices.a is a list; it must be US dollars for a million tokens"),
        ("MEMBRAIN_PRICES", "a=b/c", 'MEMBRAIN_PRICES: prices.a is "b/c"; it must be US dollars for a million tokens'),
        (
            "MEMBRAIN_PROVIDERS_GROQ_MODELS",
            "a",
            "MEMBRAIN_PROVIDERS_GROQ_MODELS is set, but providers.groq has no url;",
        ),
    ],
)
def test_a_mistake_in_the_environment_is_named(places: Places, name: str, text: str, message: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        load({name: text}, places)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


def test_an_ollama_host_that_cannot_be_used_says_how_to_overrule_it(places: Places) -> None:
    with pytest.raises(Misconfigured, match="OLLAMA_HOST") as caught:
        load({"OLLAMA_HOST": "gpu-box"}, places)
    assert caught.value.hint == "membrain config set providers.ollama.url http://localhost:11434"


def test_variables_that_are_no_settings_are_left_alone(places: Places) -> None:
    names = ["MEMBRAIN_HOME", "MEMBRAIN_DEBUG", "MEMBRAIN_API_KEY", "MEMBRAIN_URL", "MEMBRAIN_TEST_SLOW"]
    others = ["_MEMBRAIN_COMPLETE", "MEMBRAINPORT", "membrain_prot", "XMEMBRAIN_PROT"]
    assert load(dict.fromkeys(names + others, "x"), places).origins == {}


CANARY = "sk-canary-7f3a9c0b11d24e88"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (f"[providers.groq]\nurl = 'https://x.example'\nkey = '{CANARY}'\n", "membrain keys set groq"),
        (f"[providers.openai]\napi_key = '{CANARY}'\n", "membrain keys set openai"),
        (f"openai_api_key = '{CANARY}'\n", "membrain keys set openai"),
        (f"[secrets]\nanthropic_token = '{CANARY}'\n", "membrain keys set anthropic"),
        (f"[providers.openai]\nurl = '{CANARY}'\n", "membrain config edit"),
        (f"[providers.openai]\nurl = 'https://user:{CANARY}@x.example'\n", "membrain config edit"),
        (f"port = '{CANARY}'\n", "membrain config edit"),
        (f"tier = '{CANARY}'\n", "membrain config edit"),
        (f'"{CANARY}" = 1\n', "membrain config edit"),
        (f'aliases."{CANARY}" = 1\n', "membrain config edit"),
        (f"[aliases]\n'{CANARY}' = '{CANARY}'\n", "membrain config edit"),
        (f"[aliases]\n'a\"b' = '{CANARY}'\n", "membrain config edit"),
        (f"prices.'{CANARY}' = ['{CANARY}']\n", "membrain config edit"),
        (f"prices.m = {{ input = '{CANARY}' }}\n", "membrain config edit"),
        (f"prices.m = {{ {CANARY} = 1 }}\n", "membrain config edit"),
        (f"routing.prefer = ['{CANARY}!']\n", "membrain config edit"),
        (f"{CANARY}\n", "membrain config edit"),
        (f"port = {CANARY}\n", "membrain config edit"),
    ],
)
def test_a_key_in_the_file_is_refused_and_never_shown(places: Places, text: str, hint: str) -> None:
    """Not in the message, and not in what a traceback would print."""
    error = refused(places, text)
    assert error.hint == hint
    assert CANARY not in "".join(traceback.format_exception(error)) + error.sentence + repr(vars(error))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("MEMBRAIN_OPENAI_API_KEY", "membrain keys set openai"),
        ("MEMBRAIN_PROVIDERS_ANTHROPIC_KEY", "membrain keys set anthropic"),
        ("MEMBRAIN_PROVIDERS_GROQ_API_KEY", "membrain keys set NAME"),
        ("MEMBRAIN_PORT", "unset MEMBRAIN_PORT"),
        ("MEMBRAIN_ALIASES", "unset MEMBRAIN_ALIASES"),
        ("MEMBRAIN_PRICES", "unset MEMBRAIN_PRICES"),
        ("MEMBRAIN_PROVIDERS_OPENAI_URL", "unset MEMBRAIN_PROVIDERS_OPENAI_URL"),
        ("UPSTREAM_OPENAI_URL", "unset UPSTREAM_OPENAI_URL"),
    ],
)
def test_a_key_in_the_wrong_variable_is_refused_and_never_shown(places: Places, name: str, hint: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        load({name: CANARY}, places)
    assert caught.value.hint == hint
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_is_no_utf8_is_refused(places: Places) -> None:
    places.config_file.write_bytes(b"port = 1 # \xff\n")
    with pytest.raises(Misconfigured, match="is not UTF-8 text"):
        load({}, places)


def test_the_mark_that_some_editors_put_in_front_is_passed_over(places: Places) -> None:
    places.config_file.write_bytes(b"\xef\xbb\xbfport = 9\r\n")
    assert load({}, places).port == 9


def test_a_file_that_cannot_be_read_is_refused(places: Places) -> None:
    places.config_file.mkdir()
    with pytest.raises(Misconfigured, match="cannot be read: Is a directory"):
        load({}, places)


def test_a_file_that_others_can_change_is_refused(places: Places) -> None:
    """Whoever can change it can say where the keys are sent."""
    written(places, "port = 1\n").config_file.chmod(0o666)
    with pytest.raises(Misconfigured, match="can be changed by another user"):
        load({}, places)


def test_a_file_of_another_user_is_refused(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    written(places, "port = 1\n")
    if os.getuid() == 0:
        os.chown(places.config_file, 1, 1)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 2)
    with pytest.raises(Misconfigured, match="can be changed by another user"):
        load({}, places)


# ---------------------------------------------------------------- names of the user's own

MANY = """\
[aliases]
fast = "code"
"code" = "gpt-4o-mini"
"writing/v1.5" = 'fast'   # two steps
any = "auto"

[prices]
short = [1, 2.5]
cached = [1, 2, 0.1]
all = [1, 2, 0.1, 1.25]
inline = { input = 1, output = 2, written = 3 }
[prices."gpt-4.1"]
input = 2
output = 8.0
"""


def test_chains_of_aliases_lead_to_their_end(places: Places) -> None:
    settings = load({}, written(places, MANY))
    assert settings.aliases == {
        "fast": "gpt-4o-mini", "code": "gpt-4o-mini", "writing/v1.5": "gpt-4o-mini", "any": "auto",
    }  # fmt: skip


def test_a_price_may_be_a_list_or_a_table(places: Places) -> None:
    assert load({}, written(places, MANY)).prices == {
        "short": ModelPrice(1.0, 2.5),
        "cached": ModelPrice(1.0, 2.0, 0.1),
        "all": ModelPrice(1.0, 2.0, 0.1, 1.25),
        "inline": ModelPrice(1.0, 2.0, written=3.0),
        "gpt-4.1": ModelPrice(2.0, 8.0),
    }


def test_the_environment_adds_to_the_file_and_wins_name_by_name(places: Places) -> None:
    environ = {
        "MEMBRAIN_ALIASES": " code = o3 , azure=azure/gpt-4?a=b,, ",
        "MEMBRAIN_PRICES": "short=3/4,x/y.z=1/2//0",
    }
    settings = load(environ, written(places, MANY))
    assert settings.aliases["fast"] == settings.aliases["code"] == "o3", "a chain goes on through the environment"
    assert settings.aliases["azure"] == "azure/gpt-4?a=b"
    assert settings.prices["short"] == ModelPrice(3.0, 4.0)
    assert settings.prices["x/y.z"] == ModelPrice(1.0, 2.0, None, 0.0)
    assert len(settings.prices) == 6
    told = [settings.origin(name) for name in ("aliases.code", "aliases.fast", "prices.short", "prices.gpt-4.1")]
    assert told == ["MEMBRAIN_ALIASES", "config.toml", "MEMBRAIN_PRICES", "config.toml"]


def test_a_circle_through_file_and_environment_is_refused(places: Places) -> None:
    written(places, "[aliases]\na = 'b'\n")
    with pytest.raises(Misconfigured, match=r"goes in a circle: a → b → a") as caught:
        load({"MEMBRAIN_ALIASES": "b=a"}, places)
    assert caught.value.hint == "membrain config edit"


def test_a_circle_is_not_saved(places: Places) -> None:
    written(places, MANY)
    with pytest.raises(Misconfigured, match=r"fast → code → writing/v1\.5 → fast"):
        save(places, "aliases.code", "writing/v1.5")
    assert places.config_file.read_text() == MANY


def test_an_alias_is_no_half_of_a_provider(places: Places) -> None:
    """Their names may end like the settings of a provider."""
    save(places, "aliases.my.models", "gpt-4o")
    save(places, "prices.my.local", "1,2")
    assert load({}, places).aliases == {"my.models": "gpt-4o"}


def test_a_price_is_changed_where_it_stands(places: Places) -> None:
    written(places, f"# mine\n{MANY}# theirs\n")
    save(places, "prices.gpt-4.1", "3,9,0.5")
    save(places, "prices.short", "7,8")
    after = places.config_file.read_text()
    assert '[prices."gpt-4.1"]\ninput = 3.0\noutput = 9.0\n' in after
    assert "short = { input = 7.0, output = 8.0 }\n" in after
    assert after.startswith("# mine\n")
    assert load({}, places).prices["gpt-4.1"] == ModelPrice(3.0, 9.0, 0.5)
    assert unset(places, "prices.gpt-4.1")
    assert "gpt-4.1" not in places.config_file.read_text()
    assert "# theirs\n" in places.config_file.read_text()


OWN_NAMES = st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="\"'"), min_size=1, max_size=12)
AMOUNTS = st.floats(0, 1_000_000)
CHANGES = st.lists(
    st.tuples(st.just("aliases"), OWN_NAMES, OWN_NAMES)
    | st.tuples(
        st.just("prices"), OWN_NAMES, st.builds(ModelPrice, AMOUNTS, AMOUNTS, st.none() | AMOUNTS, st.none() | AMOUNTS)
    ),
    max_size=6,
)


@pytest.mark.parametrize("front", ["", "# mine\n", MANY, "[aliases] # x\n\n[prices]\n", "aliases.q = 'r' # x\n"])
@examples(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES)
def test_what_is_set_as_a_text_is_read_back_equal(
    places: Places, front: str, changes: list[tuple[str, str, Any]]
) -> None:
    """Whatever the names, in whichever order, next to whatever stood there."""
    settings = load({}, written(places, front))
    expected = dict(settings.items())
    for table, own, value in changes:
        name = f"{table}.{own}"
        try:
            kept = save(places, name, spell(value))
        except Misconfigured as error:
            assert re.search("circle|cannot be a name|cannot be used|it must be a model", error.message)  # noqa: PT017
            continue
        assert kept == value
        expected[name] = value
    found = dict(load({}, places).items())
    steps = {name: value for name, value in expected.items() if name.startswith("aliases.")}
    for name, end in expected.items():
        while name in steps and f"aliases.{end}" in steps:
            end = steps[f"aliases.{end}"]  # noqa: PLW2901  # one step on
        assert found[name] == end
    assert found.keys() == expected.keys()
    assert "# " not in front or "# " in places.config_file.read_text()
    for table, own, _ in changes:
        unset(places, f"{table}.{own}")
    assert not {f"{table}.{own}" for table, own, _ in changes} & load({}, places).origins.keys()


def test_the_examples_of_the_page_work(places: Places) -> None:
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    shown = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    settings = load({}, written(places, "\n".join(shown)))
    assert settings.aliases["writing/v1.5"] == "gpt-4o-mini"
    assert settings.prices["gpt-4.1"] == ModelPrice(2.0, 8.0, 0.5)
    for name, value in re.findall(r"`membrain config set (\S+) (\S+)`", page):
        save(places, name, value)
    variables = dict(re.findall(r'`(MEMBRAIN_[A-Z]+)="(.*?)"`', page))
    assert set(variables) == {"MEMBRAIN_ALIASES", "MEMBRAIN_PRICES"}
    assert load(variables, places).aliases["any"] == "auto"


# ---------------------------------------------------------------- writing


MINE = """\
# My settings, with care.
port = 8001       # the usual

[limits]          # what we let in
# small bodies only
body_mb = 20      # MiB

[providers.groq]
url = "https://api.groq.com/openai/v1"
"""


def test_saving_keeps_every_comment_and_every_other_line(places: Places) -> None:
    written(places, MINE)
    save(places, "limits.body_mb", "5")
    assert places.config_file.read_text() == MINE.replace("body_mb = 20 ", "body_mb = 5 ")
    save(places, "limits.body_mb", 20)
    save(places, "limits.depth", "50")
    save(places, "tier", "fast")
    save(places, "log.level", "debug")
    mine = [line for line in MINE.splitlines() if line]
    after = places.config_file.read_text()
    assert [line for line in after.splitlines() if line in mine] == mine
    settings = load({}, places)
    assert (settings.limits.depth, settings.tier, settings.log.level) == (50, "fast", "debug")


def test_taking_a_setting_out_keeps_the_rest(places: Places) -> None:
    written(places, MINE)
    assert unset(places, "port") is True
    assert places.config_file.read_text() == MINE.replace("port = 8001       # the usual\n", "")


def test_the_file_is_for_its_owner_alone_whatever_the_umask(places: Places) -> None:
    before = os.umask(0)
    try:
        save(places, "port", 9)
    finally:
        os.umask(before)
    assert stat.S_IMODE(places.config_file.stat().st_mode) == 0o600
    assert list(places.config.iterdir()) == [places.config_file]


def test_saving_makes_the_folders_it_needs(tmp_path: Path) -> None:
    places = Places.find({"MEMBRAIN_HOME": str(tmp_path / "new")})
    save(places, "port", 9)
    assert load({}, places).port == 9


def test_a_file_that_is_kept_elsewhere_stays_there(places: Places, tmp_path: Path) -> None:
    """Some keep their settings in a repository and link to them."""
    kept = tmp_path / "dotfiles.toml"
    kept.write_text("port = 1 # mine\n")
    places.config_file.symlink_to(kept)
    save(places, "port", 2)
    assert places.config_file.is_symlink()
    assert kept.read_text() == "port = 2 # mine\n"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("port", "five", 'port is "five"; it must be a whole number, like 8001'),
        ("prot", "1", '"prot" is no setting. Did you mean port?'),
        ("limits", "1", "limits is a table; write [limits] and its settings below it"),
        ("providers.My_Box.url", "https://x.example", '"My_Box" cannot be the name of a provider of yours'),
        ("providers.openai.key", CANARY, "providers.openai.key: a key does not belong there"),
        ("providers.new.models", "a", "config.toml line 12: providers.new.models is set, but providers.new has no url"),
    ],
)
def test_what_cannot_work_is_not_saved(places: Places, name: str, value: str, message: str) -> None:
    written(places, MINE)
    with pytest.raises(Misconfigured) as caught:
        save(places, name, value)
    assert caught.value.message.startswith(message)
    assert CANARY not in caught.value.sentence
    assert places.config_file.read_text() == MINE


def test_a_provider_keeps_its_url_as_long_as_it_has_models(places: Places) -> None:
    save(places, "providers.groq.url", "https://x.example")
    save(places, "providers.groq.models", "a")
    with pytest.raises(Misconfigured, match=r"providers\.groq has no url"):
        unset(places, "providers.groq.url")
    assert load({}, places).key_names == ("openai", "anthropic", "groq")
    assert unset(places, "providers.groq.models")
    assert unset(places, "providers.groq.url")
    assert load({}, places).key_names == ("openai", "anthropic")


def test_another_mistake_in_the_file_does_not_hinder_mending_it(places: Places) -> None:
    written(places, "port = 'x'\nprot = 1\n")
    save(places, "port", 2)
    assert tomllib.loads(places.config_file.read_text()) == {"port": 2, "prot": 1}
    with pytest.raises(Misconfigured, match="prot"):
        load({}, places)


def test_a_file_that_cannot_be_written_is_said_to_be(places: Places, tmp_path: Path) -> None:
    """The link to it leads into a folder that is not there."""
    places.config_file.symlink_to(tmp_path / "not-there" / "config.toml")
    with pytest.raises(Misconfigured, match="cannot be written: No such file or directory"):
        save(places, "port", 2)


def test_a_file_that_is_no_toml_is_not_written_over(places: Places) -> None:
    written(places, "port = \n")
    for change in (lambda: save(places, "port", 2), lambda: unset(places, "port")):
        with pytest.raises(Misconfigured, match="line 1 is not TOML"):
            change()
    assert places.config_file.read_text() == "port = \n"


def test_a_change_that_would_cost_comments_is_left_to_the_user(places: Places) -> None:
    written(places, "limits = { depth = 50 }  # mine\n")
    with pytest.raises(Misconfigured, match="without losing its comments") as caught:
        save(places, "limits.body_mb", 5)
    assert caught.value.hint == "membrain config edit"
    assert places.config_file.read_text() == "limits = { depth = 50 }  # mine\n"
