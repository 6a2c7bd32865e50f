"""What a setting's value must be: numbers, words, addresses, and how a text from outside becomes one.

Each function gives a `Rule`. A rule knows no setting by name and prints nothing; what it refuses, it refuses with the
words that end the sentence "it must be …". Imports nothing of ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

NOTHING: Mapping[str, Any] = MappingProxyType({})
LONGEST_NAME = 256
"""Signs of a model's name, as in a request."""


class Rule(NamedTuple):
    """What a setting's value must be."""

    kind: str
    """For people, as "whole number"."""
    check: Callable[[Any], Any]
    """The value as it will be used; raises `ValueError` saying what it must be."""
    parse: Callable[[str], Any]
    """What a text means, from the environment or the command line; `check` comes after."""
    members: Mapping[str, Rule] = NOTHING
    """Where the value may be a table: what stands in it."""


class Named(NamedTuple):
    """A table whose names are the user's own, as `[aliases]`."""

    rule: Rule
    """What each value must be."""
    like: str
    """One entry as the environment has it, as "fast-code=gpt-4o-mini"."""
    taken: frozenset[str] = frozenset()
    """Names that cannot be given."""

    def refusal(self, name: str) -> str:
        """Why *name* cannot be given; empty if it can."""
        if not is_model(name) or set(name) & {'"', "'"}:
            return f"it must be printable, without quotes, and have {LONGEST_NAME} signs at most"
        return f"{' and '.join(sorted(self.taken))} have a meaning already" if name in self.taken else ""


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

    return Rule("list", check, _pieces)


def word(pattern: str, must: str) -> Rule:
    """A text that matches *pattern*; *must* says what it is, for people."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(must)
        return value

    return Rule("text", check, str.strip)


def listed(pattern: str, must: str, also: Mapping[str, str] = NOTHING) -> Rule:
    """A list of words that each match *pattern*; *must* says what they are, for people.

    *also* are other spellings, understood and turned into ours.
    """

    def check(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise ValueError(must)
        words = tuple(also.get(each.strip(), each.strip()) for each in value)
        if not all(re.fullmatch(pattern, word) for word in words):
            raise ValueError(must)
        return words

    return Rule("list", check, _pieces)


def is_model(value: Any) -> bool:
    """Whether *value* can be a model's name: printable, as long as a request's may be, and not like an option."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME:
        return False
    return value.isprintable() and value == value.strip() and not value.startswith("-")


def model() -> Rule:
    """A model's name."""

    def check(value: Any) -> str:
        if not is_model(value := value.strip() if isinstance(value, str) else value):
            raise ValueError("a model's name, like gpt-4o-mini")
        return str(value)

    return Rule("model", check, str.strip)


def models(taken: frozenset[str]) -> Rule:
    """A list of models' names, none of them *taken*."""

    def check(value: Any) -> tuple[str, ...]:
        found = [each.strip() if isinstance(each, str) else each for each in value] if _is_list(value) else [None]
        if not all(map(is_model, found)):
            raise ValueError('a list of models, like ["gpt-4o", "claude-sonnet-4-5"]')
        if taken.intersection(found):
            raise ValueError(f"a list of models other than {' and '.join(sorted(taken))}")
        return tuple(map(str, found))

    return Rule("list", check, _pieces)


def dollars() -> Rule:
    """An amount of US dollars, of a million at most."""

    def check(value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1_000_000:
            raise ValueError("a number of US dollars from 0 on, like 2.5")
        return float(value)

    return Rule("US dollars", check, _or_text(float))


def price(make: type, members: Mapping[str, Rule]) -> Rule:
    """What *make* makes of the numbers that *members* names: as a table, or as a list in that order.

    The first two must be there. As a text they have commas or slashes between them.
    """
    front = list(members)[:2]
    must = "US dollars for a million tokens of input and of output, like 2.5,10 or [2.5, 10.0]"

    def check(value: Any) -> Any:
        if isinstance(value, make):
            return value
        parts = value if isinstance(value, dict) else _by_name(value, list(members))
        if not set(front) <= set(parts) <= set(members):
            raise ValueError(must)
        try:
            return make(**{name: members[name].check(each) for name, each in parts.items()})
        except ValueError:
            raise ValueError(must) from None

    def parse(text: str) -> Any:
        return [float(each) if each.strip() else None for each in re.split("[,/]", text)]

    return Rule("US dollars", check, _or_text(parse), members)


def program() -> Rule:
    """A program: by its name, to be looked for on PATH, or by its full path. It need not be there yet."""

    def check(value: Any) -> str:
        text = value if isinstance(value, str) and value.isprintable() else ""
        if re.fullmatch(r"\w[\w.+-]*", text):
            return text
        if not (path := _expanded(text)).is_absolute():
            raise ValueError("a program's name, like claude, or its full path")
        return str(path)

    return Rule("program", check, str.strip)


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


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _pieces(text: str) -> list[str]:
    """What stands between the commas of *text*."""
    return [each for each in map(str.strip, text.split(",")) if each]


def _by_name(value: Any, names: list[str]) -> dict[str, Any]:
    """A list's members by *names*, without those that are None; nothing if it is no list, or too long."""
    if not _is_list(value) or len(value) > len(names):
        return {}
    return {name: each for name, each in zip(names, value, strict=False) if each is not None}


def _or_text(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """*convert*, or the text itself where it cannot: then `check` says what it must be."""

    def parse(text: str) -> Any:
        try:
            return convert(text)
        except ValueError:
            return text

    return parse
