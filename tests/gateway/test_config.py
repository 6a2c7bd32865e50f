"""Default, file, environment: who wins, what is refused and with which words, and that the file is left as it was."""

from __future__ import annotations

import os
import stat
import tomllib
import traceback
from pathlib import Path
from typing import Any

import pytest

from membrain.config import load, ollama_url, save, settings_table, unset, variable
from membrain.errors import Misconfigured
from membrain.places import Places

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
    "secrets.backend": ("file", "file"),
    "providers.openai.url": ("https://one.example/v1", "https://one.example/v1"),
    "providers.anthropic.url": ("https://two.example", "https://two.example"),
    "providers.ollama.url": ("http://127.0.0.1:1234", "http://127.0.0.1:1234"),
    "providers.NAME.url": ("https://own.example/v1", "https://own.example/v1"),
    "providers.NAME.models": ("a,b/c", ("a", "b/c")),
    "providers.NAME.local": ("yes", True),
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
    environ = {variable(name.replace("NAME", "my-box")): text}
    if name.startswith("providers.") and name.endswith((".models", ".local")):
        environ["MEMBRAIN_PROVIDERS_MY_BOX_URL"] = "https://own.example"
    settings = load(environ, places)
    name = name.replace("NAME", "my-box")
    assert settings.value(name) == value
    assert settings.origin(name) == variable(name)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_setting_can_be_saved_to_the_file_and_taken_out_again(places: Places, name: str) -> None:
    text, value = SAMPLES[name]
    name = name.replace("NAME", "my-box")
    if name.startswith("providers.") and name.endswith((".models", ".local")):
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
