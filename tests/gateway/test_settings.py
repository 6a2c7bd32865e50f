"""What there is to set, and that the settings themselves give nothing away."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, replace
from pathlib import Path
from typing import Any

import pytest

from membrain.errors import Misconfigured
from membrain.places import Places
from membrain.secrets import Secrets
from membrain.settings import (
    Auth,
    ClaudeCli,
    Compatible,
    ModelPrice,
    Providers,
    Settings,
    path_of,
    settings_table,
    spell,
    variable,
)

ISSUED = {
    "host": "127.0.0.1",
    "port": 8001,
    "tier": "balanced",
    "auth.mode": "local",
    "audit.durability": "process",
    "audit.content": "none",
    "audit.keep_days": 30,
    "pii.level": "standard",
    "pii.on_find": "redact",
    "pii.rules": (),
    "pii.answers": "flag",
    "pii.mask_local": False,
    "pii.url_tools": (),
    "pii.engine": "builtin",
    "pii.scan_seconds": 10,
    "pii.hold_seconds": 600,
    "budget.day": None,
    "budget.month": None,
    "budget.total": None,
    "budget.rules": (),
    "rate.requests": None,
    "rate.tokens": None,
    "rate.rules": (),
    "cache.mode": "deterministic",
    "cache.max_mb": 64,
    "cache.answer_kb": 512,
    "cache.keep_hours": 24,
    "secrets.backend": "keyring",
    "providers.openai.url": "https://api.openai.com/v1",
    "providers.anthropic.url": "https://api.anthropic.com",
    "providers.claude-cli.enabled": True,
    "providers.claude-cli.path": "claude",
    "providers.claude-cli.model": "sonnet",
    "providers.ollama.url": "http://localhost:11434",
    "providers.litellm.enabled": True,
    "tiers.fast": (),
    "tiers.balanced": (),
    "tiers.best": (),
    "routing.prefer": (),
    "routing.fallback": True,
    "routing.breaker": True,
    "routing.attempts": 3,
    "local.enabled": True,
    "local.threads": 1,
    "local.context": 4096,
    "local.slots": 2,
    "local.idle_seconds": 300,
    "limits.body_mb": 20,
    "limits.depth": 100,
    "limits.connect_seconds": 2.5,
    "limits.first_byte_seconds": 60,
    "limits.whole_seconds": 600,
    "limits.idle_seconds": 90,
    "limits.answer_mb": 64,
    "limits.event_mb": 1,
    "limits.drain_seconds": 5,
    "egress.proxy": "",
    "egress.ca_file": "",
    "otel.endpoint": "",
    "log.level": "info",
    **{
        f"tui.keys.{name}": ""
        for name in (
            "filter",
            "open",
            "back",
            "pause",
            "window",
            "private",
            "why",
            "theme",
            "side",
            "holds",
            "copy_id",
            "copy_curl",
            "start",
            "palette",
            "keys",
            "quit",
        )
    },
}


def test_the_defaults_are_those_that_are_documented() -> None:
    assert dict(Settings().items()) == ISSUED


def test_every_setting_has_a_type_a_variable_and_a_sentence() -> None:
    for row in settings_table():
        assert row.type
        assert row.env == variable(row.name)
        assert row.doc.endswith(".")
        assert row.doc[0].isupper()


def test_the_table_has_every_setting_and_a_provider_of_ones_own() -> None:
    names = [row.name for row in settings_table()]
    assert len(set(names)) == len(names)
    own = {f"providers.NAME.{each}" for each in ("url", "models", "local", "speaks")}
    assert set(names) == {*ISSUED, *own, "aliases.NAME", "prices.NAME"}
    assert names.index("providers.NAME.url") == names.index("providers.litellm.enabled") + 1


def test_the_table_names_the_variables_that_others_know_too() -> None:
    also = {row.name: row.also for row in settings_table() if row.also}
    assert also == {
        "providers.openai.url": ("UPSTREAM_OPENAI_URL",),
        "providers.anthropic.url": ("UPSTREAM_ANTHROPIC_URL",),
        "providers.ollama.url": ("OLLAMA_URL",),
    }


def test_the_names_of_the_provider_guide_are_there() -> None:
    """As documented: `openai_api_key`, `anthropic_api_key`, `ollama_url`, `default_provider`, `default_model`."""
    settings = Settings()
    assert settings.openai_api_key is None
    assert settings.anthropic_api_key is None
    assert settings.ollama_url == "http://localhost:11434"
    assert settings.default_provider == "claude_cli"
    assert settings.default_model == "sonnet" == ClaudeCli().model


def test_settings_cannot_be_changed_but_replaced() -> None:
    settings = Settings()
    with pytest.raises(FrozenInstanceError):
        settings.port = 1  # type: ignore[misc]  # that is the point
    assert replace(settings, port=9).port == 9


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
@pytest.mark.parametrize("mode", ["local", "token", "off"])
def test_on_this_machine_the_mode_is_the_one_that_is_set(host: str, mode: Any) -> None:
    assert Settings(host=host, auth=Auth(mode)).effective_auth_mode == mode


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "box.lan", "0"])  # noqa: S104  # never bound
@pytest.mark.parametrize("mode", ["local", "off"])
def test_beyond_this_machine_a_key_is_always_needed(host: str, mode: Any) -> None:
    assert Settings(host=host, auth=Auth(mode)).effective_auth_mode == "token"


def test_a_provider_of_ones_own_has_settings_and_a_key() -> None:
    groq = Compatible("groq", "https://api.groq.com/openai/v1", ("llama-3.3-70b",))
    settings = Settings(providers=Providers(others=(groq,)))
    assert settings.value("providers.groq.url") == groq.url
    assert settings.value("providers.groq.models") == ("llama-3.3-70b",)
    assert settings.key_names == ("openai", "anthropic", "groq")


def test_aliases_and_prices_are_settings_by_the_users_own_names() -> None:
    price = ModelPrice(1.0, 2.0)
    settings = Settings(aliases={"a.b/c": "gpt-4o"}, prices={"gpt-4.1": price}, origins={"prices.gpt-4.1": "x"})
    own = [(name, value) for name, value in settings.items() if name not in ISSUED]
    assert own == [("aliases.a.b/c", "gpt-4o"), ("prices.gpt-4.1", price)]
    assert settings.value("aliases.a.b/c") == settings.value('aliases."a.b/c"') == "gpt-4o"
    assert settings.origin("prices.'gpt-4.1'") == "x"
    assert variable("aliases.a.b/c") == "MEMBRAIN_ALIASES"
    assert hash(settings) == hash(replace(settings, aliases={})), "settings may still be members of sets"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("port", ("port",)),
        ("limits.body_mb", ("limits", "body_mb")),
        ("aliases.gpt-4.1", ("aliases", "gpt-4.1")),
        ("prices.a/b.c", ("prices", "a/b.c")),
        ('aliases."a.b"', ("aliases", "a.b")),
        ("aliases.'a.b'", ("aliases", "a.b")),
        ("aliases.\"a'", ("aliases", "\"a'")),
        ('aliases."', ("aliases", '"')),
        ("aliases", ("aliases",)),
        ("aliases.", ("aliases", "")),
    ],
)
def test_behind_aliases_and_prices_stands_one_name(name: str, path: tuple[str, ...]) -> None:
    assert path_of(name) == path


def test_a_price_tells_what_was_given() -> None:
    assert ModelPrice(1.0, 2.0).to_dict() == {"input": 1.0, "output": 2.0}
    assert ModelPrice(1.0, 2.0, written=3.0).to_dict() == {"input": 1.0, "output": 2.0, "written": 3.0}


def test_one_value_and_its_origin_are_asked_for_by_name() -> None:
    settings = Settings(origins={"port": "MEMBRAIN_PORT"})
    assert settings.value("limits.body_mb") == 20
    assert settings.origin("limits.body_mb") == "default"
    assert settings.origin("port") == "MEMBRAIN_PORT"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("prot", "port"), ("body_mb", "limits.body_mb"), ("limits.bodymb", "limits.body_mb"), ("auth.moed", "auth.mode")],
)
def test_a_name_that_is_no_setting_is_refused_with_the_nearest(name: str, meant: str) -> None:
    for ask in (Settings().value, Settings().origin):
        with pytest.raises(Misconfigured) as caught:
            ask(name)
        assert caught.value.message == f'"{name}" is no setting. Did you mean {meant}?'
        assert caught.value.hint == "membrain config list"


def test_nothing_is_guessed_where_nothing_is_near() -> None:
    with pytest.raises(Misconfigured, match=r"^\"xyzzy\" is no setting\.$"):
        Settings().value("xyzzy")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (8001, "8001"),
        (0.5, "0.5"),
        (5.0, "5"),
        (("a", "b"), "a,b"),
        ("x", "x"),
        (ModelPrice(1.0, 2.5), "1,2.5"),
        (ModelPrice(0.123456789, 0.0, 0.1), "0.123456789,0,0.1"),
        (ModelPrice(3.0, 15.0, written=3.75), "3,15,,3.75"),
    ],
)
def test_a_value_is_spelled_as_one_would_type_it(value: Any, text: str) -> None:
    assert spell(value) == text


def test_a_key_shows_in_no_telling_of_the_settings(tmp_path: Path) -> None:
    canary = "sk-canary-7f3a9c0b11d24e"
    places = Places.find({"MEMBRAIN_HOME": str(tmp_path)})
    keys = Secrets("file", places, {"OPENAI_API_KEY": canary})
    settings = Settings(keys=keys)
    assert settings.openai_api_key == canary
    tellings = [repr(settings), str(settings), f"{settings}", f"{settings!r:>10}", repr(asdict(settings))]
    tellings += [repr(dict(settings.items())), repr(replace(settings, port=1))]
    assert all(canary not in telling for telling in tellings)
    assert "keys" not in dict(settings.items())
    assert replace(settings, port=1).openai_api_key == canary, "and still it is there"


def test_importing_the_settings_loads_nothing_heavy() -> None:
    """The command line imports them at every call, and each of these costs tens of milliseconds."""
    lazy = [
        "keyring",
        "platformdirs",
        "tomllib",
        "tomli_w",
        "difflib",
        "logging",
        "asyncio",
        "json",
        "membrain.toml_text",
    ]
    script = f"import sys, membrain.config; print([name for name in {lazy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
