"""Provider keys: from the environment, the OS keyring or, if asked for, a file only the user can read.

A key leaves this module as a `Secret`, which shows itself to nobody who prints, logs, formats or pickles it. Keys are
read when asked for and stored nowhere else; the gateway asks once at its start. Client keys (`ck_…`) are not kept
here: they are ours, and refused as provider keys, because the gateway would be calling itself.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, TypeVar

from membrain.errors import Misconfigured
from membrain.places import Places, read_private, write_private

if TYPE_CHECKING:
    import logging

T = TypeVar("T")

SERVICE = "membrain"
"""The name under which keyrings keep our entries."""

HIDDEN = "[hidden]"

KEYRINGS: Mapping[str, str] = {
    "keyring.backends.SecretService": "GNOME keyring / Secret Service",
    "keyring.backends.libsecret": "GNOME keyring / Secret Service",
    "keyring.backends.kwallet": "KWallet",
    "keyring.backends.macOS": "macOS Keychain",
    "keyring.backends.Windows": "Windows Credential Manager",
}
"""The keyrings we trust, by module, and their names for people. Others may keep keys as plain text, or nowhere."""

_FOREIGN_TROUBLES = (
    ("secretstorage.exceptions", "SecretStorageException"),
    ("jeepney.wrappers", "DBusErrorResponse"),
    ("dbus.exceptions", "DBusException"),
)
"""Errors of the libraries under `keyring` that it lets through."""

_LOCKED = frozenset({"KeyringLocked", "InitError", "LockedException", "PromptDismissedException"})

# Compiled when first needed: the command line imports this module at every call.
_PROVIDER = r"[a-z][a-z0-9_-]*"
_CLIENT_KEY = r"\bck_[a-z]+_[A-Za-z0-9_-]{8,}"


class Secret:
    """A text that is shown to nobody; only `reveal` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the header it goes into."""
        return self._text

    @property
    def hint(self) -> str:
        """Enough to recognise it by, as `sk-…4f2a`; less of a short one."""
        if len(self._text) < 20:
            return f"…{self._text[-2:]}"
        front = re.match(r"[A-Za-z]{1,4}[-_]", self._text)
        return f"{front.group() if front else ''}…{self._text[-4:]}"

    def __repr__(self) -> str:
        return "Secret(…)"

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __eq__(self, other: object) -> bool:
        from hmac import compare_digest

        return isinstance(other, Secret) and compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


class Lookup(NamedTuple):
    """What was found when a provider's key was looked for."""

    secret: Secret | None = None
    where: str | None = None
    """`environment`, `keyring` or `file`."""
    reason: str | None = None
    """Why there is none, if it is not simply that none was set; never holds the key."""
    hint: str | None = None


class Vault(Protocol):
    """The part of a keyring that is used here."""

    def get_password(self, service: str, username: str, /) -> str | None:
        """The password, or None."""

    def set_password(self, service: str, username: str, password: str, /) -> None:
        """Keep it."""

    def delete_password(self, service: str, username: str, /) -> None:
        """Forget it."""


def unusable(text: str) -> str | None:
    """Why *text* cannot be a provider's key, as "is too short to be a key"; None if it may be one."""
    if text.startswith("ck_"):
        return "is one of Membrain's own client keys: the gateway would be calling itself"
    if len(text) <= 10:
        return "is too short to be a key"
    if "..." in text:
        return 'holds "...", so it is an example and no key'
    if not (text.isascii() and text.isprintable()) or " " in text:
        return "holds a sign that no key has"
    return None


def variable(provider: str) -> str:
    """The environment variable that holds a provider's key: `openai` → `OPENAI_API_KEY`."""
    return f"{provider.upper().replace('-', '_')}_API_KEY"


def find_keyring() -> Vault | None:
    """This machine's keyring, if it is one that we trust.

    When several answer, `keyring` chains them; the first trusted one is taken out of the chain and used alone.
    """
    import configparser

    import keyring

    misnamed = (ImportError, AttributeError, TypeError, ValueError, RuntimeError, configparser.Error)
    expected: tuple[type[Exception], ...] = (*misnamed, *_troubles())
    try:
        chosen = keyring.get_keyring()
        chain = getattr(chosen, "backends", []) if _module(chosen) == "keyring.backends.chainer" else [chosen]
    except expected:
        return None  # PYTHON_KEYRING_BACKEND or keyringrc.cfg name something that cannot be used here
    return next((each for each in chain if _module(each) in KEYRINGS), None)


class _Ring:
    """Keys in the OS keyring."""

    where = "keyring"

    def __init__(self, find: Callable[[], Vault | None]) -> None:
        self._find = find
        self._vault: Vault | None = None

    def vault(self) -> Vault | None:
        """The keyring, or None; one that was found is not looked for again."""
        self._vault = self._vault or self._find()
        return self._vault

    def kept_in(self) -> str:
        vault = self.vault()
        return "nowhere: this machine has no keyring" if vault is None else KEYRINGS.get(_module(vault), "a keyring")

    def get(self, provider: str) -> str | None:
        vault = self.vault()
        return None if vault is None else _asked(lambda: vault.get_password(SERVICE, provider))

    def set(self, provider: str, text: str) -> None:
        vault = self.vault()
        if vault is None:
            raise _no_keyring(provider)
        _asked(lambda: vault.set_password(SERVICE, provider, text))
        if _asked(lambda: vault.get_password(SERVICE, provider)) != text:
            raise Misconfigured(
                f"{self.kept_in()} took the key but does not give it back.",
                hint="membrain config set secrets.backend file",
            )

    def remove(self, provider: str) -> bool:
        vault = self.vault()
        if vault is None or self.get(provider) is None:
            return False
        _asked(lambda: vault.delete_password(SERVICE, provider))
        return True


class _KeyFile:
    """Keys in a file of mode 0600, as JSON: one name, one text."""

    where = "file"

    def __init__(self, places: Places) -> None:
        self.places = places
        self.path = places.keys_file

    def kept_in(self) -> str:
        return f"a file only you can read ({self.path})"

    def get(self, provider: str) -> str | None:
        return self._read().get(provider)

    def set(self, provider: str, text: str) -> None:
        self._write({**self._read(), provider: text})

    def remove(self, provider: str) -> bool:
        keys = self._read()
        if provider not in keys:
            return False
        del keys[provider]
        self._write(keys)
        return True

    def _read(self) -> dict[str, str]:
        import json

        try:
            keys = json.loads(read_private(self.path))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise Misconfigured(f"{self.path} cannot be read: {error.strerror}.") from None
        except ValueError:
            keys = None  # and no cause: the error of the parser holds the whole file
        if not isinstance(keys, dict) or not all(isinstance(text, str) for text in keys.values()):
            raise Misconfigured(f"{self.path} is damaged.", hint=f"Remove it and set the keys again:  rm {self.path}")
        return keys

    def _write(self, keys: Mapping[str, str]) -> None:
        import json

        self.places.create()
        try:
            write_private(self.path, json.dumps(keys, indent=2).encode() + b"\n")
        except OSError as error:
            raise Misconfigured(f"{self.path} cannot be written: {error.strerror}.") from error


_OWN = "membrain-"
"""How the names begin under which the gateway's own secrets are kept beside the providers' keys."""


class Secrets:
    """The provider keys of one instance.

    *backend* is `keyring` or `file`: where keys are set, and where they are looked for after the environment. The
    other place is not looked at. *find* gives the keyring; tests hand in their own.
    """

    __slots__ = ("_environ", "_live", "_store", "backend")

    def __init__(
        self,
        backend: str,
        places: Places,
        environ: Mapping[str, str] = os.environ,
        find: Callable[[], Vault | None] = find_keyring,
    ) -> None:
        self.backend = backend
        self._environ = environ
        self._store: _Ring | _KeyFile = _KeyFile(places) if backend == "file" else _Ring(find)
        self._live: set[Secret] = set()

    def __repr__(self) -> str:
        return f"Secrets({self.backend!r})"

    def get(self, provider: str) -> Secret | None:
        """The provider's key, or None; never raises, `find` says why there is none."""
        return self.find(provider).secret

    def where(self, provider: str) -> str | None:
        """`environment`, `keyring` or `file`; None if there is no key."""
        return self.find(provider).where

    def find(self, provider: str) -> Lookup:
        """The provider's key, where it was, or why there is none.

        What does not look like a key counts as none and the next place is asked, so that the client key that
        `membrain env` exports does not hide the real one. A keyring that is locked or gone, or a key file that others
        can read, is a reason and no error: the other providers go on.
        """
        first = self._judged(self._environ.get(variable(provider), "").strip(), provider, "environment")
        if first.secret is not None:
            return first
        try:
            kept = self._store.get(provider) or ""
        except Misconfigured as error:
            return Lookup(reason=error.message, hint=error.hint)
        second = self._judged(kept, provider, self._store.where)
        return first if second.secret is None and second.reason is None else second

    def set(self, provider: str, text: str) -> None:
        """Keep *text* as the provider's key.

        Raises `Misconfigured` if it does not look like one, if there is no keyring, or if the keyring or the file
        cannot be written.
        """
        text = text.strip()
        if not re.fullmatch(_PROVIDER, provider):
            raise Misconfigured("That is no name of a provider: small letters, digits and dashes only.")
        if reason := unusable(text):
            raise Misconfigured(f"That {reason}.", hint=f"Give the key that {provider} gave you.")
        self._store.set(provider, text)
        self._live.add(Secret(text))

    def remove(self, provider: str) -> bool:
        """Forget the provider's key; says whether one was kept. A key in the environment stays there."""
        return self._store.remove(provider)

    def own(self, name: str) -> str | None:
        """A secret of the gateway itself, from where keys are kept; None if there is none. Raises as `set` does."""
        return self._store.get(_OWN + name)

    def keep_own(self, name: str, text: str) -> None:
        """Keep a secret of the gateway itself. Raises as `set` does."""
        self._store.set(_OWN + name, text)

    def kept_in(self) -> str:
        """Where keys are kept, for people."""
        return self._store.kept_in()

    def live(self) -> tuple[Secret, ...]:
        """Every key that was found or set so far, replaced ones too: what `redact` hides."""
        return tuple(self._live)

    def __deepcopy__(self, memo: dict[int, Any]) -> Secrets:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are not pickled")

    def _judged(self, text: str, provider: str, where: str) -> Lookup:
        """What a text found in one place comes to."""
        if not text:
            return Lookup()
        if reason := unusable(text):
            place = variable(provider) if where == "environment" else f"the key kept for {provider}"
            return Lookup(reason=f"{place} {reason}", hint=f"membrain keys set {provider}")
        secret = Secret(text)
        self._live.add(secret)
        return Lookup(secret, where)


def redact(text: str, secrets: Iterable[Secret]) -> str:
    """*text* with every one of *secrets*, and whatever has the form of a client key, replaced by `[hidden]`."""
    # The longest first: one key may be the front of another.
    for value in sorted((secret.reveal() for secret in secrets), key=len, reverse=True):
        if value in text:
            text = text.replace(value, HIDDEN)
        if "%" in text:
            from urllib.parse import quote

            text = text.replace(quote(value, safe=""), HIDDEN)
    return re.sub(_CLIENT_KEY, HIDDEN, text) if "ck_" in text else text


class HideSecrets:
    """A logging filter that hides live keys in messages, tracebacks and extra texts.

    Add it to *handlers*: a filter on a logger does not see what its children say. (No subclass of `logging.Filter`,
    which asks for none: the command line imports this module and does without `logging`.)
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite *record* in place; it always passes."""
        live = self._secrets.live()
        record.msg, record.args = redact(_message(record), live), ()
        if record.exc_info and not record.exc_text:
            import logging

            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_info = None  # the formatters after us take the text instead
        for name, value in vars(record).items():
            if isinstance(value, str):
                setattr(record, name, redact(value, live))
        return True


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # Left alone, `logging` would print the arguments as they are.
        return f"{record.msg} (with arguments that do not fit)"


def _module(backend: object) -> str:
    return type(backend).__module__


def _asked(question: Callable[[], T]) -> T:
    """The keyring's answer; whatever it raises becomes a `Misconfigured` that names no key."""
    try:
        return question()
    except _troubles() as error:
        kind = type(error).__name__
    if kind in _LOCKED:
        raise Misconfigured(
            "The keyring is locked.",
            hint="Unlock it and try again, or do without:  membrain config set secrets.backend file",
        )
    raise Misconfigured(
        f"The keyring cannot be reached ({kind}): the session that it belongs to may have ended.",
        hint="From a session that has one:  membrain restart",
    )


def _troubles() -> tuple[type[Exception], ...]:
    """What a keyring may raise: its own errors, a session bus that is gone, and what its libraries let through."""
    from keyring.errors import KeyringError

    loaded = [(sys.modules[module], name) for module, name in _FOREIGN_TROUBLES if module in sys.modules]
    return (KeyringError, OSError, *(getattr(module, name) for module, name in loaded))


def _no_keyring(provider: str) -> Misconfigured:
    return Misconfigured(
        "This machine has no keyring.",
        hint=f"For one session    export {variable(provider)}=…          (read by `membrain up`)\n"
        "For good           membrain config set secrets.backend file   (a file only you can read)",
    )
