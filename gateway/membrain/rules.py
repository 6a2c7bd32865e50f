"""What a setting's value must be: numbers, words, addresses, and how a text from outside becomes one.

Each function gives a `Rule`. A rule knows no setting by name and prints nothing; what it refuses, it refuses with the
words that end the sentence "it must be …". Imports nothing of ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """What a setting's value must be."""

    kind: str
    """For people, as "whole number"."""
    check: Callable[[Any], Any]
    """The value as it will be used; raises `ValueError` saying what it must be."""
    parse: Callable[[str], Any]
    """What a text means, from the environment or the command line; `check` comes after."""


def whole(low: int, high: int, like: int) -> Rule:
    """A whole number from *low* to *high*."""

    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"a whole number, like {like}")
        if not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}, like {like}")
        return value

    return Rule("whole number", check, _or_text(int))


def seconds(like: int) -> Rule:
    """A span of time above zero, of a day at most."""

    def check(value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 86_400:
            raise ValueError(f"a number of seconds above 0, like {like}")
        return value

    return Rule("seconds", check, _or_text(lambda text: int(text) if text.strip().isdigit() else float(text)))


def one_of(*names: str, **also: str) -> Rule:
    """One of *names*; *also* are other spellings, understood and turned into ours."""

    def check(value: Any) -> str:
        value = also.get(value, value) if isinstance(value, str) else value
        if value not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return str(value)

    return Rule(" | ".join(names), check, lambda text: text.strip().lower())


def switch() -> Rule:
    """True or false."""

    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError("true or false")
        return value

    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    return Rule("true or false", check, lambda text: words.get(text.strip().lower(), text))


def names() -> Rule:
    """A list of texts; with commas between them where lists cannot be written."""

    def check(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) and each.strip() for each in value):
            raise ValueError('a list of names, like ["llama-3.3-70b"]')
        return tuple(each.strip() for each in value)

    return Rule("list", check, lambda text: [each for each in map(str.strip, text.split(",")) if each])


def word(pattern: str, must: str) -> Rule:
    """A text that matches *pattern*; *must* says what it is, for people."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(must)
        return value

    return Rule("text", check, str.strip)


def listed(pattern: str, must: str) -> Rule:
    """A list of words that each match *pattern*; *must* says what they are, for people."""

    def check(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise ValueError(must)
        words = tuple(each.strip() for each in value)
        if not all(re.fullmatch(pattern, word) for word in words):
            raise ValueError(must)
        return words

    return Rule("list", check, lambda text: [each for each in map(str.strip, text.split(",")) if each])


def address() -> Rule:
    """A name or number that a server can listen on."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not _is_host(value):
            raise ValueError("an address of this machine, like 127.0.0.1")
        return value

    return Rule("address", check, str.strip)


def url(*, optional: bool = False, any_host: bool = False) -> Rule:
    """The front of a URL, without the slash at its end.

    Plain http goes to this machine only (unless *any_host*, for a proxy: what passes it is sealed on its own).
    *optional* allows an empty text.
    """

    def check(value: Any) -> str:
        if value == "" and optional:
            return ""
        like = "http://127.0.0.1:3128" if any_host else "https://api.example.com/v1"
        scheme, host = _parts(value, like)
        if scheme == "http" and not any_host and not is_loopback(host):
            raise ValueError("https, because plain http is for this machine only")
        return str(value).rstrip("/")

    return Rule("URL", check, str.strip)


def existing_file() -> Rule:
    """The full path of a file that is there, or nothing."""

    def check(value: Any) -> str:
        if value == "":
            return ""
        path = _expanded(value) if isinstance(value, str) else Path()
        if not path.is_absolute() or not path.is_file():
            raise ValueError("the full path of a file that is there")
        return str(path)

    return Rule("path", check, str.strip)


def is_loopback(host: str) -> bool:
    """Whether *host* (a name or a number, without brackets) is this machine itself, whatever a resolver says."""
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _parts(value: Any, like: str) -> tuple[str, str]:
    """Scheme and host of a URL that has nothing behind its path and nobody's name in front."""
    from urllib.parse import urlsplit

    must = f"a URL, like {like}"
    if not isinstance(value, str) or not re.fullmatch(r"[!-\[\]-~]+", value):
        raise ValueError(must)
    try:
        split = urlsplit(value)
        host, port = split.hostname, split.port
    except ValueError:
        raise ValueError(must) from None
    if "@" in split.netloc:
        raise ValueError(f"{must}, without a user name or password in it")
    if split.scheme not in {"http", "https"} or not _is_host(host or "") or port == 0 or set("?#") & set(value):
        raise ValueError(must)
    return split.scheme, host or ""


def _is_host(text: str) -> bool:
    from ipaddress import ip_address

    try:
        return bool(re.fullmatch(r"[A-Za-z0-9_.-]+", text) or ip_address(text))
    except ValueError:
        return False


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~somebody who is not known here
        return Path()


def _or_text(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """*convert*, or the text itself where it cannot: then `check` says what it must be."""

    def parse(text: str) -> Any:
        try:
            return convert(text)
        except ValueError:
            return text

    return parse
