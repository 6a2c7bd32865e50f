"""Provider keys: where they are found and kept, what is refused, and that they show nowhere.

Against the real Secret Service where `gnome-keyring-daemon` is installed, each time in a session of its own.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import os
import pickle
import shutil
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keyring.core
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from keyring.backend import KeyringBackend
from keyring.backends import SecretService
from keyring.backends.chainer import ChainerBackend
from keyring.errors import KeyringLocked

from membrain import secrets
from membrain.config import Settings, load
from membrain.errors import Misconfigured
from membrain.places import Places, write_private
from membrain.secrets import HideSecrets, Secret, Secrets, Vault, find_keyring, redact, unusable, variable

unhurried = examples(deadline=None)
CANARY = "sk-canary-7f3a9c0b11d24e88"
OTHER = "sk-other-00000000004f2a"


class Memory:
    """A keyring for tests."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str, /) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str, /) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str, /) -> None:
        del self.kept[service, username]


class Broken(Memory):
    """A keyring that raises."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def get_password(self, service: str, username: str, /) -> str | None:
        raise self.error

    def set_password(self, service: str, username: str, password: str, /) -> None:
        raise self.error


class Forgetful(Memory):
    """A keyring that takes everything and keeps nothing, as `keyring.backends.null` does."""

    def set_password(self, service: str, username: str, password: str, /) -> None:
        return None


class PlainText(KeyringBackend):
    """A backend as keyrings.alt has them: it works, and writes keys where everyone can read them."""

    priority = 9

    def get_password(self, service: str, username: str) -> str | None:
        raise AssertionError("it must not be asked")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise AssertionError("it must not be given a key")


KeyringBackend._classes.discard(PlainText)  # only this file knows it


def plain() -> Any:
    kind: Any = PlainText
    return kind()


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places.find({"MEMBRAIN_HOME": str(tmp_path / "home")})


Make = Callable[..., Secrets]


@pytest.fixture
def make(places: Places) -> Make:
    """`make(vault, **environ)`: secrets over that keyring, `make(file=True)`: over a file."""

    def made(vault: Vault | None = None, *, file: bool = False, **environ: str) -> Secrets:
        return Secrets("file" if file else "keyring", places, environ, lambda: vault)

    return made


# ---------------------------------------------------------------- one secret


def test_a_secret_is_given_only_to_who_asks_for_it() -> None:
    assert Secret(CANARY).reveal() == CANARY


@unhurried
@given(st.from_regex(r"[a-z]{2}-[A-Za-z0-9]{16,40}", fullmatch=True))
def test_a_secret_shows_in_no_telling(text: str) -> None:
    secret = Secret(text)
    tellings = [repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{secret:>60}", "%s %r" % (secret, secret)]  # noqa: UP031
    tellings += [repr({"key": secret}), json.dumps({"key": secret}, default=str), repr(copy.deepcopy([secret]))]
    assert all(text not in telling for telling in tellings)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_neither_a_secret_nor_what_holds_it_is_pickled(make: Make, protocol: int) -> None:
    held = make(OPENAI_API_KEY=CANARY)
    assert held.get("openai")
    for each in (Secret(CANARY), [Secret(CANARY)], held, Settings(keys=held)):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(each, protocol)


def test_secrets_are_compared_and_copied_by_what_they_hold() -> None:
    secret = Secret(CANARY)
    assert secret == Secret(CANARY)
    assert secret != Secret(OTHER)
    assert secret != CANARY
    assert len({secret, Secret(CANARY), copy.copy(secret)}) == 1


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("sk-live-0000000000004f2a", "sk-…4f2a"),
        ("gsk_0000000000000000abcd", "gsk_…abcd"),
        ("0123456789abcdef01234567", "…4567"),
        ("sk-12345678", "…78"),
    ],
)
def test_the_hint_is_enough_to_recognise_a_key_by(text: str, hint: str) -> None:
    assert Secret(text).hint == hint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "too short"),
        ("0123456789", "too short"),
        ("sk-your-key-...", "example"),
        ("sk-" + "x" * 40 + "...", "example"),
        ("ck_live_7Qm2abcdefgh", "client keys"),
        ("ck_", "client keys"),
        ("sk-with a space", "a sign that no key has"),
        ("sk-with\r\na-header: x", "a sign that no key has"),
        ("sk-wïth-an-accent", "a sign that no key has"),
    ],
)
def test_what_does_not_look_like_a_key_is_none(make: Make, text: str, reason: str) -> None:
    assert reason in str(unusable(text))
    held = make(Memory(), OPENAI_API_KEY=text)
    found = held.find("openai")
    assert (found.secret, found.where) == (None, None)
    if text:
        assert found.reason is not None
        assert found.reason.startswith("OPENAI_API_KEY ")
        assert reason in found.reason
        assert found.hint == "membrain keys set openai"
    with pytest.raises(Misconfigured, match=reason) as caught:
        held.set("openai", text)
    assert text == "" or text not in caught.value.sentence


def test_a_key_of_eleven_signs_may_be_one() -> None:
    assert unusable("0123456789a") is None


@pytest.mark.parametrize(
    ("provider", "name"),
    [("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY"), ("my-box", "MY_BOX_API_KEY")],
)
def test_every_provider_has_a_variable(make: Make, provider: str, name: str) -> None:
    assert variable(provider) == name
    assert make(**{name: CANARY}).get(provider) == Secret(CANARY)


# ---------------------------------------------------------------- where keys are found and kept


@pytest.mark.parametrize("file", [False, True])
def test_a_key_is_kept_found_and_removed(make: Make, file: bool) -> None:
    held = make(Memory(), file=file)
    assert (held.get("openai"), held.where("openai")) == (None, None)
    held.set("openai", f"  {CANARY}\n")
    assert (held.get("openai"), held.where("openai")) == (Secret(CANARY), "file" if file else "keyring")
    assert held.get("anthropic") is None
    held.set("openai", OTHER)
    assert held.get("openai") == Secret(OTHER)
    assert held.remove("openai") is True
    assert held.remove("openai") is False
    assert held.get("openai") is None


@pytest.mark.parametrize("file", [False, True])
def test_the_environment_wins_over_what_is_kept(make: Make, file: bool) -> None:
    vault = Memory()
    make(vault, file=file).set("openai", OTHER)
    held = make(vault, file=file, OPENAI_API_KEY=CANARY)
    assert (held.get("openai"), held.where("openai")) == (Secret(CANARY), "environment")
    assert held.remove("openai") is True
    assert held.where("openai") == "environment"


@pytest.mark.parametrize("text", ["ck_live_7Qm2abcdefgh", "sk-...", " "])
def test_what_is_no_key_in_the_environment_does_not_hide_the_one_that_is_kept(make: Make, text: str) -> None:
    """`membrain env` exports a client key under this name; it must not become the provider's."""
    vault = Memory()
    make(vault).set("openai", CANARY)
    assert make(vault, OPENAI_API_KEY=text).find("openai") == (Secret(CANARY), "keyring", None, None)


def test_the_place_that_is_not_chosen_is_not_looked_at(make: Make) -> None:
    vault = Memory()
    make(vault).set("openai", CANARY)
    assert make(vault, file=True).get("openai") is None
    make(file=True).set("anthropic", CANARY)
    assert make(vault).get("anthropic") is None


def test_what_somebody_else_put_in_the_keyring_is_judged_too(make: Make) -> None:
    vault = Memory()
    vault.kept["membrain", "openai"] = "ck_live_7Qm2abcdefgh"
    found = make(vault).find("openai")
    assert found.secret is None
    assert found.reason is not None
    assert found.reason.startswith("the key kept for openai is one of Membrain's own client keys")


@pytest.mark.parametrize("name", ["", "Open AI", "../openai", "OPENAI", "open.ai", "1st"])
def test_a_name_that_is_no_providers_is_refused(make: Make, name: str) -> None:
    with pytest.raises(Misconfigured, match="no name of a provider"):
        make(Memory()).set(name, CANARY)


def test_without_a_keyring_nothing_is_kept_and_both_remedies_are_told(make: Make, places: Places) -> None:
    held = make(None)
    with pytest.raises(Misconfigured, match=r"^This machine has no keyring\.$") as caught:
        held.set("openai", CANARY)
    assert "export OPENAI_API_KEY=" in (caught.value.hint or "")
    assert "membrain config set secrets.backend file" in (caught.value.hint or "")
    assert held.find("openai") == (None, None, None, None), "it is simply not set"
    assert held.remove("openai") is False
    assert held.kept_in() == "nowhere: this machine has no keyring"
    assert places.home is not None
    assert not places.home.exists(), "never silently in a file"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyringLocked("Failed to unlock the collection!"), "The keyring is locked."),
        (FileNotFoundError(2, "No such file or directory"), "The keyring cannot be reached (FileNotFoundError)"),
        (ConnectionResetError(), "The keyring cannot be reached (ConnectionResetError)"),
    ],
)
def test_a_keyring_that_fails_is_a_reason_and_the_other_providers_go_on(
    make: Make, error: Exception, said: str
) -> None:
    held = make(Broken(error), ANTHROPIC_API_KEY=CANARY)
    found = held.find("openai")
    assert found.secret is None
    assert found.reason is not None
    assert found.reason.startswith(said)
    assert found.hint
    assert held.get("anthropic") == Secret(CANARY)
    for change in (lambda: held.set("openai", CANARY), lambda: held.remove("openai")):
        with pytest.raises(Misconfigured) as caught:
            change()
        assert caught.value.message.startswith(said)
        assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_an_error_that_is_none_of_a_keyrings_is_not_hidden(make: Make) -> None:
    with pytest.raises(ZeroDivisionError):
        make(Broken(ZeroDivisionError())).get("openai")


def test_a_keyring_that_forgets_is_found_out(make: Make) -> None:
    with pytest.raises(Misconfigured, match="does not give it back"):
        make(Forgetful()).set("openai", CANARY)


def test_where_keys_are_kept_is_told_in_words(make: Make, places: Places) -> None:
    assert make(Memory()).kept_in() == "a keyring"
    assert make(file=True).kept_in() == f"a file only you can read ({places.keys_file})"


# ---------------------------------------------------------------- the file


def test_the_key_file_is_for_its_owner_alone_whatever_the_umask(make: Make, places: Places) -> None:
    before = os.umask(0)
    try:
        make(file=True).set("openai", CANARY)
    finally:
        os.umask(before)
    assert stat.S_IMODE(places.keys_file.stat().st_mode) == 0o600
    assert json.loads(places.keys_file.read_text()) == {"openai": CANARY}
    assert list(places.config.iterdir()) == [places.keys_file]


def test_a_key_file_that_others_can_read_is_refused(make: Make, places: Places) -> None:
    held = make(file=True, ANTHROPIC_API_KEY=OTHER)
    held.set("openai", CANARY)
    places.keys_file.chmod(0o644)
    found = held.find("openai")
    assert found == (None, None, f"{places.keys_file} can be read by other users.", f"chmod 600 {places.keys_file}")
    assert held.get("anthropic") == Secret(OTHER)
    for change in (lambda: held.set("openai", OTHER), lambda: held.remove("openai")):
        with pytest.raises(Misconfigured, match="can be read by other users"):
            change()
    assert json.loads(places.keys_file.read_text()) == {"openai": CANARY}


@pytest.mark.parametrize("content", [f'{{"openai": "{CANARY}"', f'["{CANARY}"]', '{"openai": 1}', "\udcff", ""])
def test_a_damaged_key_file_is_refused_and_not_shown(make: Make, places: Places, content: str) -> None:
    places.create()
    write_private(places.keys_file, content.encode("utf-8", "surrogateescape"))
    with pytest.raises(Misconfigured, match="is damaged") as caught:
        make(file=True).set("openai", CANARY)
    telling = "".join(traceback.format_exception(caught.value))
    assert CANARY not in telling
    chain: BaseException | None = caught.value
    while chain is not None:
        assert CANARY not in repr(vars(chain))
        chain = chain.__cause__ or chain.__context__


def test_a_key_file_that_cannot_be_written_is_said_to_be(
    make: Make, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    make(file=True).set("openai", OTHER)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Misconfigured, match=r"cannot be written: No space left on device\.$"):
        make(file=True).set("openai", CANARY)
    assert json.loads(places.keys_file.read_text()) == {"openai": OTHER}, "the old one is whole"
    assert list(places.config.iterdir()) == [places.keys_file], "and no half of the new one is left"


def test_a_key_file_that_cannot_be_read_is_a_reason(make: Make, places: Places) -> None:
    places.create().keys_file.mkdir()
    reason = make(file=True).find("openai").reason
    assert reason is not None
    assert reason.startswith(f"{places.keys_file} ")


# ---------------------------------------------------------------- which keyrings are trusted


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes `keyring` choose anew, with the backend of that name in the environment."""

    def choose(name: str) -> None:
        monkeypatch.setattr(keyring.core, "_keyring_backend", None)
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", name)

    return choose


@pytest.mark.parametrize(
    "name",
    [
        "keyring.backends.null.Keyring",
        "keyring.backends.fail.Keyring",
        "keyring.backends.chainer.ChainerBackend",
        "keyrings.alt.file.PlaintextKeyring",
        "keyring.backends.null.NoSuchClass",
        "no_dots",
        "",
    ],
)
def test_a_keyring_that_is_none_or_not_there_counts_as_no_keyring(
    chosen: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(ChainerBackend, "backends", [])
    chosen(name)
    assert find_keyring() is None


def test_a_keyring_that_writes_plain_text_counts_as_no_keyring(
    make: Make, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring.core, "_keyring_backend", plain())
    held = Secrets("keyring", places, {})
    with pytest.raises(Misconfigured, match="no keyring"):
        held.set("openai", CANARY)
    assert held.get("openai") is None


def trusted() -> Any:
    """A backend of a kind that we trust; making one touches no bus."""
    kind: Any = SecretService.Keyring
    return kind()


def test_a_trusted_keyring_is_taken_out_of_its_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that puts keys in plain text may stand before it or behind it; neither is asked."""
    real = trusted()
    monkeypatch.setattr(ChainerBackend, "backends", [plain(), real, plain()])
    chain: Any = ChainerBackend
    monkeypatch.setattr(keyring.core, "_keyring_backend", chain())
    assert find_keyring() is real
    monkeypatch.setattr(ChainerBackend, "backends", [plain()])
    assert find_keyring() is None


def test_a_kind_that_only_comes_from_a_trusted_one_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lookalike(SecretService.Keyring):
        """What another package may have made of it."""

    KeyringBackend._classes.discard(Lookalike)
    kind: Any = Lookalike
    monkeypatch.setattr(keyring.core, "_keyring_backend", kind())
    assert find_keyring() is None


def test_the_trusted_keyrings_are_those_that_keyring_has() -> None:
    """A name that is spelled wrong would silently trust nobody."""
    here = Path(keyring.backends.__path__[0])
    files = [here / f"{name.removeprefix('keyring.backends.')}" for name in secrets.KEYRINGS]
    assert all(file.with_suffix(".py").is_file() or (file / "__init__.py").is_file() for file in files)


def test_neither_importing_nor_asking_the_environment_loads_keyring() -> None:
    script = (
        "import sys; from membrain.config import load\n"
        f"settings = load({{'MEMBRAIN_HOME': '/nowhere', 'OPENAI_API_KEY': {CANARY!r}}})\n"
        "assert settings.openai_api_key\n"
        "print([name for name in ('keyring', 'logging') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


# ---------------------------------------------------------------- a machine without a session


def elsewhere(script: str, home: Path, *, wrap: tuple[str, ...] = (), **environ: str) -> Any:
    """What *script* prints (one JSON value), run apart from this session, with a home of its own."""
    (home / "run").mkdir(parents=True, mode=0o700)
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environ = {**kept, "HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), **environ}
    command = [*wrap, sys.executable, "-c", SAY + script]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert CANARY not in ran.stdout + ran.stderr
    return json.loads(ran.stdout)


SAY = f"""
import json, os, subprocess, time
from membrain.config import load
from membrain.errors import Misconfigured
held = load(os.environ).keys
KEY = "{CANARY[:6]}" + "{CANARY[6:]}"

def tried(call, *arguments):
    try:
        return call(*arguments)
    except Misconfigured as error:
        return error.message

def found(provider):
    secret, where, reason, hint = held.find(provider)
    return [secret.reveal() == KEY if secret else None, where, reason]
"""

if sys.platform == "linux":

    def test_a_linux_machine_without_a_session_has_no_keyring(tmp_path: Path) -> None:
        script = 'print(json.dumps([held.kept_in(), found("openai"), tried(held.set, "openai", KEY)]))'
        assert elsewhere(script, tmp_path) == [
            "nowhere: this machine has no keyring",
            [None, None, None],
            "This machine has no keyring.",
        ]

    def test_a_session_bus_that_is_not_there_is_no_keyring(tmp_path: Path) -> None:
        script = 'print(json.dumps([held.kept_in(), found("openai"), tried(held.set, "openai", KEY)]))'
        gone = f"unix:path={tmp_path}/no-such-bus"
        assert elsewhere(script, tmp_path / "home", DBUS_SESSION_BUS_ADDRESS=gone)[2] == "This machine has no keyring."


# ---------------------------------------------------------------- the real Secret Service

UNLOCK = """
subprocess.run(["gnome-keyring-daemon", "--unlock", "--components=secrets"], input=b"test-pass", check=True,
               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
"""

BUS = """
bus = subprocess.Popen(["dbus-daemon", "--session", "--nofork", "--print-address=1", f"--address=unix:path={HOME}/bus"],
                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
os.environ["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().strip()
""".replace("{HOME}", "{os.environ['HOME']}")

LOCK = """
import secretstorage
with __import__("contextlib").closing(secretstorage.dbus_init()) as connection:
    secretstorage.get_default_collection(connection).lock()
"""

if shutil.which("gnome-keyring-daemon") and shutil.which("dbus-run-session"):
    SESSION = ("dbus-run-session", "--")

    def test_the_secret_service_keeps_a_key_and_gives_it_back(tmp_path: Path) -> None:
        script = """
told = [held.kept_in(), tried(held.set, "openai", KEY), found("openai"), found("anthropic")]
told += [held.remove("openai"), held.remove("openai"), found("openai")]
print(json.dumps(told))
"""
        assert elsewhere(UNLOCK + script, tmp_path, wrap=SESSION) == [
            "GNOME keyring / Secret Service",
            None,
            [True, "keyring", None],
            [None, None, None],
            True,
            False,
            [None, None, None],
        ]
        kept = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert kept, "the keyring wrote its own files"
        assert not any(CANARY.encode() in file.read_bytes() for file in kept)

    def test_a_locked_collection_is_a_reason_at_once(tmp_path: Path) -> None:
        script = """
tried(held.set, "openai", KEY)
began = time.monotonic()
told = [found("openai"), tried(held.set, "openai", KEY), tried(held.remove, "openai")]
print(json.dumps([*told, time.monotonic() - began < 5]))
"""
        locked = "The keyring is locked."
        told = elsewhere(UNLOCK + script.replace("began =", f"{LOCK}\nbegan ="), tmp_path, wrap=SESSION)
        assert told == [[None, None, locked], locked, locked, True]

    def test_a_keyring_that_was_never_unlocked_is_a_reason_too(tmp_path: Path) -> None:
        script = 'print(json.dumps([tried(held.set, "openai", KEY), found("openai")]))'
        locked = "The keyring is locked."
        assert elsewhere(script, tmp_path, wrap=SESSION) == [locked, [None, None, locked]]

    @pytest.mark.parametrize("signal", ["terminate", "kill"])
    def test_a_session_that_ends_under_a_running_gateway_is_a_reason(tmp_path: Path, signal: str) -> None:
        """Ended in order, the bus takes its socket along; killed, it leaves it: two different errors."""
        script = f"""
told = [tried(held.set, "openai", KEY), found("openai")]
bus.{signal}(); bus.wait(); bus.stdout.close()
told += [found("openai"), tried(held.set, "openai", KEY)]
os.environ["ANTHROPIC_API_KEY"] = KEY
print(json.dumps([*told, found("anthropic")]))
"""
        before, first, after, set_again, other = elsewhere(BUS + UNLOCK + script, tmp_path)
        assert (before, first) == (None, [True, "keyring", None])
        assert after[:2] == [None, None]
        assert after[2].startswith("The keyring cannot be reached (")
        assert set_again == after[2]
        assert other == [True, "environment", None]


# ---------------------------------------------------------------- logs


@pytest.fixture
def log(make: Make) -> Iterator[tuple[logging.Logger, io.StringIO, Secrets]]:
    """A logger of its own that writes to a text, with the filter on its handler."""
    held = make(Memory(), OPENAI_API_KEY=CANARY)
    held.get("openai")
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(note)s", defaults={"note": ""}))
    handler.addFilter(HideSecrets(held))
    logger = logging.getLogger("tried")
    logger.propagate, logger.level = False, logging.INFO
    logger.addHandler(handler)
    yield logger, written, held
    logger.removeHandler(handler)


def test_every_live_key_is_hidden_wherever_it_is_logged(log: tuple[logging.Logger, io.StringIO, Secrets]) -> None:
    logger, written, held = log
    held.set("anthropic", OTHER)
    held.set("anthropic", f"{OTHER}-new")  # the one it replaces may still be on its way
    logger.info("plain %s and %s", CANARY, OTHER)
    logger.info(f"Bearer {CANARY}")  # as others may do it
    logger.info({"authorization": CANARY})
    logger.info("with a note", extra={"note": CANARY})
    logger.getChild("child").info("from a child: %s", CANARY)
    logger.info("too many", CANARY)  # noqa: PLE1205  # a mistake must not print the arguments
    logger.info("%d", CANARY)
    try:
        raise ValueError(CANARY)
    except ValueError:
        logger.exception("failed with %s", CANARY)
    text = written.getvalue()
    assert CANARY not in text
    assert OTHER not in text
    assert "plain [hidden] and [hidden]" in text
    assert "tried.child from a child: [hidden]" in text
    assert "ValueError: [hidden]" in text
    assert text.count("\n") > 8


def test_a_formatter_that_writes_errors_itself_finds_none_to_write(make: Make) -> None:
    """It gets the traceback as a text, with the key hidden, and not the error that holds it."""
    held = make(OPENAI_API_KEY=CANARY)
    held.get("openai")
    error = ValueError(CANARY)
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "failed", (), (ValueError, error, None))
    assert HideSecrets(held).filter(record) is True
    assert record.exc_info is None
    assert record.exc_text == "ValueError: [hidden]"


def test_what_is_no_secret_is_logged_as_it_is(log: tuple[logging.Logger, io.StringIO, Secrets]) -> None:
    logger, written, _ = log
    logger.info("up on %s, pid %d", "http://127.0.0.1:8001", 7)
    assert written.getvalue() == "tried up on http://127.0.0.1:8001, pid 7 \n"


def test_a_mistaken_log_line_prints_nothing_to_stderr(
    log: tuple[logging.Logger, io.StringIO, Secrets], capsys: pytest.CaptureFixture[str]
) -> None:
    """`logging` itself would print the arguments that did not fit."""
    log[0].info("%d", CANARY)
    assert capsys.readouterr().err == ""


@unhurried
@given(st.text(), st.text(), st.lists(st.from_regex(r"[a-z]{2}-[A-Za-z0-9%/+]{12,30}", fullmatch=True), min_size=1))
def test_no_redacted_text_holds_a_key(before: str, after: str, texts: list[str]) -> None:
    secret = [Secret(text) for text in texts]
    told = redact(before + after.join([*texts, texts[0]]) + before, secret)
    assert all(text not in told for text in texts)


def test_one_key_that_is_the_front_of_another_leaves_no_rest() -> None:
    assert redact(CANARY + "tail", [Secret(CANARY), Secret(CANARY + "tail")]) == "[hidden]"


def test_a_key_inside_a_url_is_hidden_too() -> None:
    assert redact("GET /?key=sk%2Fcanary%2B0123 1", [Secret("sk/canary+0123")]) == "GET /?key=[hidden] 1"


def test_client_keys_are_hidden_by_their_form_but_not_their_short_form() -> None:
    told = redact("x-api-key: ck_live_7Qm2abcdefgh, shown as ck_live_…9c1e", [])
    assert told == "x-api-key: [hidden], shown as ck_live_…9c1e"


# ---------------------------------------------------------------- and nowhere else


@unhurried
@given(st.from_regex(r"sk-[A-Za-z0-9]{20,40}", fullmatch=True))
def test_nothing_that_holds_a_key_tells_it(text: str) -> None:
    """`repr`, `str`, `format`, `asdict` and copies of the settings, the secrets and what they found."""
    places = Places(Path("/c"), Path("/d"), Path("/s"))
    settings = load({"OPENAI_API_KEY": text, "ANTHROPIC_API_KEY": text[::-1]}, places)
    held = settings.keys
    assert held is not None
    found = held.find("openai")
    assert settings.openai_api_key == text
    objects = [settings, held, found, held.live(), asdict(settings), copy.deepcopy(settings), copy.deepcopy(held)]
    tellings = [telling(each) for each in objects for telling in (repr, str, "{}".format, "{!r:>9}".format)]
    tellings += [repr(dict(settings.items())), repr(sorted(settings.origins.items()))]
    assert all(text not in telling and text[::-1] not in telling for telling in tellings)
